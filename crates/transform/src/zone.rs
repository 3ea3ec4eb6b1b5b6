//! Local times and instants.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Days from 1970-01-01 that PostgreSQL means as infinities.
pub(crate) const DAYS: [i32; 2] = [i32::MIN, i32::MAX];
/// Microseconds that it means as infinities.
pub(crate) const TIMES: [i64; 2] = [i64::MIN, i64::MAX];
/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400_000_000;

/// The zone of times that carry none. UTC costs nothing: a local time is its instant.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    name: Arc<str>,
    other: Option<TimeZone>,
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Zone {
    /// The zone of that name in the IANA database. `None`: there is none.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let other = match name {
            "UTC" | "" | "Etc/UTC" | "Z" => None,
            _ => Some(TimeZone::get(name).ok()?),
        };
        Some(Self { name: Arc::from(name), other })
    }

    /// UTC.
    pub(crate) fn utc() -> Self {
        Self { name: Arc::from("UTC"), other: None }
    }

    /// Local times are their instants.
    pub(crate) fn is_utc(&self) -> bool {
        self.other.is_none()
    }

    /// The instant of a local time. Of two, where clocks went back, the later: standard time, as
    /// PostgreSQL takes it. Infinities stay.
    pub(crate) fn instant(&self, local: i64) -> Result<i64, &'static str> {
        let Some(zone) = self.other.as_ref().filter(|_| !TIMES.contains(&local)) else {
            return Ok(local);
        };
        let utc = Timestamp::from_microsecond(within(local)).map_err(|_| OUT)?;
        let civil = TimeZone::UTC.to_datetime(utc);
        let offset = match zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Fold { after, .. } => after,
            AmbiguousOffset::Gap { .. } => {
                return Err("is a local time that clocks skipped");
            }
        };
        local.checked_sub(i64::from(offset.seconds()) * 1_000_000).ok_or(OUT)
    }

    /// The local time of an instant. Infinities stay.
    pub(crate) fn local(&self, instant: i64) -> Result<i64, &'static str> {
        let Some(zone) = self.other.as_ref().filter(|_| !TIMES.contains(&instant)) else {
            return Ok(instant);
        };
        let utc = Timestamp::from_microsecond(within(instant)).map_err(|_| OUT)?;
        let offset = i64::from(zone.to_offset(utc).seconds()) * 1_000_000;
        instant.checked_add(offset).ok_or(OUT)
    }
}

const OUT: &str = "is out of range of the time zone's rules";

/// The calendar repeats itself after so long, and a zone's last rule with it.
const CYCLE: i64 = 146_097 * DAY;
/// 9900-01-01.
const LATE: i64 = 250_246_627_200_000_000;

/// The same time of the same day of a year that time zones are known for: jiff's end within the last
/// day of 9999.
fn within(time: i64) -> i64 {
    if time < LATE { time } else { time - ((time - LATE) / CYCLE + 1) * CYCLE }
}
