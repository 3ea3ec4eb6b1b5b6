//! A text file's bytes: unpacked, in UTF-8, and known to be the same until its end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use dunlin_engine::TargetError;
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use flate2::bufread::MultiGzDecoder;

use crate::fault::{reading, unusable};
use crate::folder::{Packing, Stamp, TableFile};

/// What is read from disk at once.
const BUFFER: usize = 256 << 10;

/// The longest byte order mark.
const MARK_BYTES: usize = 3;

/// Stands for bytes that mean nothing in their encoding: no UTF-8 has it.
const MARK: u8 = 0xff;

/// A file, opened as it was when the folder was looked at.
pub(crate) fn open(file: &TableFile) -> Result<File, TargetError> {
    let opened = File::open(&file.path).map_err(|error| reading(&file.shown, &error))?;
    let metadata = opened.metadata().map_err(|error| reading(&file.shown, &error))?;
    if Stamp::of(&metadata) == file.stamp { Ok(opened) } else { Err(changed(file)) }
}

/// Refuses a file that was changed, or replaced, since the folder was looked at.
pub(crate) fn check_unchanged(file: &TableFile) -> Result<(), TargetError> {
    let metadata = std::fs::metadata(&file.path).map_err(|error| reading(&file.shown, &error))?;
    if Stamp::of(&metadata) == file.stamp { Ok(()) } else { Err(changed(file)) }
}

fn changed(file: &TableFile) -> TargetError {
    unusable(&file.shown, "was changed while the move was reading: nothing of it was used")
        .help("run again when it is whole; write to another name first, and rename when done")
}

/// A text file's bytes as UTF-8, where bytes that mean nothing in its encoding are no UTF-8. Without
/// an encoding, and without a byte order mark, it is UTF-8.
pub(crate) fn text(
    file: &TableFile,
    encoding: Option<&str>,
) -> Result<Box<dyn BufRead + Send>, TargetError> {
    let packed = BufReader::with_capacity(BUFFER, open(file)?);
    let mut bytes: Box<dyn BufRead + Send> = match file.packing {
        Packing::Plain => Box::new(packed),
        Packing::Gzip => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(packed))),
        Packing::Zstd => {
            let unpacked = zstd::stream::read::Decoder::with_buffer(packed)
                .map_err(|error| reading(&file.shown, &error))?;
            Box::new(BufReader::with_capacity(BUFFER, unpacked))
        }
    };
    let mut start = Vec::with_capacity(MARK_BYTES);
    bytes
        .by_ref()
        .take(MARK_BYTES as u64)
        .read_to_end(&mut start)
        .map_err(|error| reading(&file.shown, &error))?;
    let encoding = match Encoding::for_bom(&start) {
        Some((found, length)) => {
            start.drain(..length);
            found
        }
        None => encoding_of(encoding.unwrap_or("utf-8")),
    };
    let bytes: Box<dyn BufRead + Send> = Box::new(Cursor::new(start).chain(bytes));
    if encoding == UTF_8 {
        return Ok(bytes);
    }
    let decoder = encoding.new_decoder_without_bom_handling();
    Ok(Box::new(BufReader::with_capacity(BUFFER, Recoded::new(bytes, decoder))))
}

/// An encoding by the name that a mapping gives it.
fn encoding_of(name: &str) -> &'static Encoding {
    match name {
        "utf-16" | "utf-16le" => UTF_16LE,
        "utf-16be" => UTF_16BE,
        other => Encoding::for_label(other.as_bytes()).unwrap_or(UTF_8),
    }
}

/// Bytes of another encoding, as UTF-8.
struct Recoded {
    from: Box<dyn BufRead + Send>,
    decoder: Decoder,
    /// Made and not yet given away: from `given` on.
    ready: Vec<u8>,
    given: usize,
    ended: bool,
}

impl Recoded {
    fn new(from: Box<dyn BufRead + Send>, decoder: Decoder) -> Self {
        Self { from, decoder, ready: Vec::new(), given: 0, ended: false }
    }

    fn more(&mut self) -> io::Result<()> {
        self.given = 0;
        let from = self.from.fill_buf()?;
        let last = from.is_empty();
        let room = self.decoder.max_utf8_buffer_length_without_replacement(from.len());
        self.ready.clear();
        self.ready.resize(room.unwrap_or(from.len() * 4 + 16).max(16), 0);
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(from, &mut self.ready, last);
        self.ready.truncate(written);
        match result {
            DecoderResult::Malformed(_, _) => self.ready.push(MARK),
            DecoderResult::InputEmpty => self.ended = last,
            DecoderResult::OutputFull => {}
        }
        self.from.consume(read);
        Ok(())
    }
}

impl Read for Recoded {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.given == self.ready.len() && !self.ended {
            self.more()?;
        }
        let rest = &self.ready[self.given..];
        let count = rest.len().min(to.len());
        to[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_model::moves::ENCODINGS;

    fn recoded(name: &str, bytes: &[u8]) -> Vec<u8> {
        let decoder = encoding_of(name).new_decoder_without_bom_handling();
        let from = Box::new(io::Cursor::new(bytes.to_vec()));
        let mut all = Vec::new();
        Recoded::new(from, decoder).read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn every_encoding_is_known() {
        for name in ENCODINGS {
            assert_eq!(recoded(name, b"").len(), 0);
            let known = Encoding::for_label(name.as_bytes()).is_some();
            assert!(known, "{name}");
        }
        assert_eq!(recoded("latin1", b"M\xfcller \x80"), "Müller €".as_bytes());
        assert_eq!(recoded("utf-16be", b"\0a\0\xe9"), "aé".as_bytes());
        assert_eq!(recoded("shift_jis", b"\x83\x7c|"), "ポ|".as_bytes());
    }

    #[test]
    fn bytes_that_mean_nothing_stay_no_text() {
        assert_eq!(recoded("shift_jis", b"a\x81"), b"a\xff");
        assert_eq!(recoded("utf-16le", b"a\0\0\xd8b\0"), b"a\xffb");
        assert_eq!(recoded("utf-16le", b"a\0b"), b"a\xff");
    }
}
