//! Chunked data migrations, worked through.

#[cfg_attr(not(test), expect(dead_code, reason = "the chunk loop that drives it is not here yet"))]
mod program;
