//! The backend's process number as the handshake announced it, which tells a pooler apart.
//!
//! A server announces the process that will serve the connection; a pooler makes a number up, so
//! it differs from `pg_backend_pid()`. (Comparing ports with `inet_client_port()` would also take
//! every NAT for a pooler, and cannot see one behind a Unix socket.) tokio-postgres keeps that
//! number to itself, but writes it into the cancel request that it makes: one is written here
//! into memory, and never reaches any server.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Client;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// A cancel request: length, code, process number, key, four bytes each.
const CANCEL_REQUEST_BYTES: usize = 16;

/// The process number that the other end announced when this connection was made.
pub(crate) async fn announced_pid(client: &Client) -> Option<i32> {
    let recorder = Recorder::default();
    let written = Arc::clone(&recorder.written);
    client.cancel_token().cancel_query_raw(recorder, Unwrapped).await.ok()?;
    let bytes = written.lock().unwrap_or_else(PoisonError::into_inner);
    let request = bytes.get(bytes.len().checked_sub(CANCEL_REQUEST_BYTES)?..)?;
    let pid: [u8; 4] = request.get(8..12)?.try_into().ok()?;
    Some(i32::from_be_bytes(pid))
}

/// Keeps what is written, and says yes to a request for TLS.
#[derive(Default)]
struct Recorder {
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recorder {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(&b"S"[..buffer.remaining().min(1)]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl TlsStream for Recorder {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

/// Takes a recorder for a TLS stream as it is.
struct Unwrapped;

impl TlsConnect<Recorder> for Unwrapped {
    type Stream = Recorder;
    type Error = io::Error;
    type Future = Ready<io::Result<Recorder>>;

    fn connect(self, stream: Recorder) -> Self::Future {
        ready(Ok(stream))
    }
}
