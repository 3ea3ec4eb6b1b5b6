//! How a file is, as far as one of its users can tell.

use std::time::{Duration, Instant};

use dunlin_engine::{Health, Signal, TargetError};

use crate::header::{self, Header};
use crate::session::Session;

/// How large the write-ahead log may become. SQLite starts it over at 4 MB unless a reader keeps it
/// from doing so, and every reader searches all of it: at 64 MiB that is felt.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// The share of the time that our writers may wait for the application's. At half of it, both get
/// as much as the other.
const WAITING_MAX: f64 = 0.5;

/// The shortest time over which a share is told.
const READING_MIN: Duration = Duration::from_millis(100);

/// How long our connections had waited for locks at some moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    at: Instant,
    waited: Duration,
    share: f64,
}

/// What can be told without opening the file.
pub(super) fn health(session: &mut Session) -> Result<Health, TargetError> {
    let mut signals = Vec::new();
    let path = session.file.path.clone();
    let log_bytes =
        session.file.beside("-wal").metadata().map(|facts| facts.len()).unwrap_or_default();
    let logged = header::read(&path).is_ok_and(|header| header == Header::Wal);
    if logged {
        signals.push(Signal {
            name: "log size",
            load: ratio(log_bytes, LOG_BYTES_MAX),
            shown: format!("{} of {} MiB of write-ahead log", log_bytes >> 20, LOG_BYTES_MAX >> 20),
        });
    }
    if let Some(share) = waiting(session) {
        signals.push(Signal {
            name: "waiting for locks",
            load: share / WAITING_MAX,
            shown: format!(
                "{:.0}% of the time waiting for other writers, of {:.0}%",
                share * 100.0,
                WAITING_MAX * 100.0
            ),
        });
    }
    let mut advice = Vec::new();
    if logged && log_bytes > LOG_BYTES_MAX {
        advice.push(
            "the write-ahead log can't be started over: a reader has been in a transaction for \
             long"
                .to_owned(),
        );
    }
    // Who else has the file open can't be told.
    Ok(Health { others: None, signals, absent: Vec::new(), advice })
}

/// The share of the time since the reading before; `None` at the first.
fn waiting(session: &mut Session) -> Option<f64> {
    let (at, waited) = (Instant::now(), session.control.waited());
    let Some(before) = session.reading else {
        session.reading = Some(Reading { at, waited, share: 0.0 });
        return None;
    };
    let elapsed = at.saturating_duration_since(before.at);
    if elapsed < READING_MIN {
        return Some(before.share);
    }
    let share = waited.saturating_sub(before.waited).as_secs_f64() / elapsed.as_secs_f64();
    session.reading = Some(Reading { at, waited, share });
    Some(share)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
