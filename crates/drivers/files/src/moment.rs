//! Days and times, by ISO 8601 or by a format.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;

use crate::value::Why;

const EPOCH: Date = Date::constant(1970, 1, 1);
const NO_DAY: Why = "holds no day";
const NO_TIME: Why = "holds no time of day";
const NO_TIMESTAMP: Why = "holds no day and time";
const NO_INSTANT: Why = "holds no day and time with an offset from UTC";
const TOO_FINE: Why = "holds a time finer than microseconds";

/// Days from 1970-01-01.
pub(crate) fn day(text: &str, format: Option<&str>) -> Result<i64, Why> {
    let day = match format {
        Some(format) => parts(format, text, NO_DAY)?.to_date().map_err(|_| NO_DAY)?,
        None => iso_day(text.as_bytes()).ok_or(NO_DAY)?,
    };
    Ok(days(day))
}

/// Microseconds from midnight.
pub(crate) fn time(text: &str, format: Option<&str>) -> Result<i64, Why> {
    let time = match format {
        Some(format) => parts(format, text, NO_TIME)?.to_time().map_err(|_| NO_TIME)?,
        None => iso_time(text, NO_TIME)?,
    };
    of_day(time)
}

/// Microseconds from 1970-01-01 00:00, wherever that is.
pub(crate) fn timestamp(text: &str, format: Option<&str>) -> Result<i64, Why> {
    match format {
        Some(format) => {
            let parts = parts(format, text, NO_TIMESTAMP)?;
            micros(parts.to_datetime().map_err(|_| NO_TIMESTAMP)?)
        }
        None => iso_timestamp(text, NO_TIMESTAMP).and_then(micros),
    }
}

/// Microseconds from 1970-01-01 00:00 UTC.
pub(crate) fn instant(text: &str, format: Option<&str>) -> Result<i64, Why> {
    if let Some(format) = format {
        let found = parts(format, text, NO_INSTANT)?.to_timestamp().map_err(|_| NO_INSTANT)?;
        return micros(TimeZone::UTC.to_datetime(found));
    }
    let (civil, offset) = split_offset(text).ok_or(NO_INSTANT)?;
    let local = iso_timestamp(civil, NO_INSTANT).and_then(micros)?;
    Ok(local - offset * 1_000_000)
}

fn parts(format: &str, text: &str, why: Why) -> Result<BrokenDownTime, Why> {
    strtime::parse(format, text).map_err(|_| why)
}

fn days(day: Date) -> i64 {
    day.duration_since(EPOCH).as_secs() / 86_400
}

fn of_day(time: Time) -> Result<i64, Why> {
    let since = time.duration_since(Time::midnight());
    if since.subsec_nanos() % 1_000 == 0 {
        Ok(since.as_secs() * 1_000_000 + i64::from(since.subsec_micros()))
    } else {
        Err(TOO_FINE)
    }
}

fn micros(at: DateTime) -> Result<i64, Why> {
    Ok(days(at.date()) * 86_400_000_000 + of_day(at.time())?)
}

/// `2026-01-31`.
fn iso_day(text: &[u8]) -> Option<Date> {
    let &[a, b, c, d, b'-', e, f, b'-', g, h] = text else { return None };
    let year = i16::try_from(digits(&[a, b, c, d])?).ok()?;
    let month = i8::try_from(digits(&[e, f])?).ok()?;
    let day = i8::try_from(digits(&[g, h])?).ok()?;
    Date::new(year, month, day).ok()
}

/// `23:59`, `23:59:59`, `23:59:59.999999`.
fn iso_time(text: &str, why: Why) -> Result<Time, Why> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let clock = clock.as_bytes();
    let (hour, minute, second) = match *clock {
        [a, b, b':', c, d] if fraction.is_empty() => ([a, b], [c, d], *b"00"),
        [a, b, b':', c, d, b':', e, f] => ([a, b], [c, d], [e, f]),
        _ => return Err(why),
    };
    let two = |two: &[u8]| digits(two).and_then(|n| i8::try_from(n).ok()).ok_or(why);
    if text.ends_with('.') || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(why);
    }
    let (fine, too_fine) = fraction.split_at(fraction.len().min(6));
    if too_fine.bytes().any(|byte| byte != b'0') {
        return Err(TOO_FINE);
    }
    let nanoseconds = format!("{fine:0<6}").parse::<i32>().map_err(|_| why)? * 1_000;
    Time::new(two(&hour)?, two(&minute)?, two(&second)?, nanoseconds).map_err(|_| why)
}

fn iso_timestamp(text: &str, why: Why) -> Result<DateTime, Why> {
    let day = text.as_bytes().get(..10).and_then(iso_day).ok_or(why)?;
    // The first ten bytes are ASCII.
    let rest = &text[10..];
    if rest.is_empty() {
        return Ok(day.to_datetime(Time::midnight()));
    }
    let time = rest.strip_prefix(['T', 't', ' ']).ok_or(why)?;
    Ok(day.to_datetime(iso_time(time, why)?))
}

/// The part before an offset, and the offset in seconds: `Z`, `+02`, `-03:30`, ` +0200`.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(civil) = text.strip_suffix(['Z', 'z']).or_else(|| text.strip_suffix(" UTC")) {
        return Some((civil.trim_end(), 0));
    }
    let at = 10 + text.get(10..)?.rfind(['+', '-'])?;
    let (civil, offset) = text.split_at(at);
    let minus = offset.starts_with('-');
    let (hours, minutes) = match &offset.as_bytes()[1..] {
        &[a, b] => (digits(&[a, b])?, 0),
        &[a, b, c, d] | &[a, b, b':', c, d] => (digits(&[a, b])?, digits(&[c, d])?),
        _ => return None,
    };
    if hours > 25 || minutes > 59 {
        return None;
    }
    let seconds = i64::from(hours * 3_600 + minutes * 60);
    Some((civil.trim_end(), if minus { -seconds } else { seconds }))
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso() {
        assert_eq!(day("1970-01-02", None), Ok(1));
        assert_eq!(day("0001-01-01", None), Ok(-719_162));
        assert_eq!(day("9999-12-31", None), Ok(2_932_896));
        assert_eq!(time("23:59", None), Ok(86_340_000_000));
        assert_eq!(time("00:00:00.0000010", None), Ok(1));
        assert_eq!(timestamp("1970-01-01 00:00:01.5", None), Ok(1_500_000));
        assert_eq!(timestamp("1969-12-31T23:59:59", None), Ok(-1_000_000));
        assert_eq!(timestamp("1970-01-02", None), Ok(86_400_000_000));
        for text in ["1970-01-01T01:00:00+01", "1969-12-31 20:30 -0330", "1970-01-01T00:00:00Z"] {
            assert_eq!(instant(text, None), Ok(0), "{text}");
        }
    }

    #[test]
    fn formats() {
        assert_eq!(day("31.01.1970", Some("%d.%m.%Y")), Ok(30));
        assert_eq!(time("9:05 PM", Some("%I:%M %p")), Ok(75_900_000_000));
        assert_eq!(timestamp("01/02/1970 00:00", Some("%m/%d/%Y %H:%M")), Ok(86_400_000_000));
        assert_eq!(instant("01.01.1970 01:00 +0100", Some("%d.%m.%Y %H:%M %z")), Ok(0));
    }

    #[test]
    fn what_is_no_moment() {
        for text in ["", "1970-1-1", "1970-02-30", "01.02.1970", "1970-01-01T00:00", "0000-00-00"] {
            assert!(day(text, None).is_err(), "{text}");
        }
        for text in ["", "1:00", "24:00", "12:00:60", "12:00.5", "12:00:00.", "12:00:00.0000001"] {
            assert!(time(text, None).is_err(), "{text}");
        }
        for text in ["", "1970-01-01T", "1970-01-01x00:00", "1970-01-01T00:00Z", "éééééé00:00"]
        {
            assert!(timestamp(text, None).is_err(), "{text}");
        }
        for text in
            ["", "1970-01-01", "1970-01-01T00:00", "1970-01-01T00:00+1", "1970-01-01T00:00+01:99"]
        {
            assert!(instant(text, None).is_err(), "{text}");
        }
        assert!(day("32.01.1970", Some("%d.%m.%Y")).is_err());
        assert!(day("31.01.1970 x", Some("%d.%m.%Y")).is_err());
    }
}
