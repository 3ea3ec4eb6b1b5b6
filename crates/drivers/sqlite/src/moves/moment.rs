//! Days and times as texts: the forms that SQLite's own date functions read.
//!
//! Written are `2015-01-31`, `03:00:00`, `2015-01-31 03:00:00` and, for instants,
//! `2015-01-31 03:00:00+00:00`, each with six digits after the seconds where there is a fraction.
//! Read are besides: `T` between day and time, a time without seconds, a day alone, any number of
//! digits up to microseconds (and zeros after those), and for instants `Z`, an offset `+02:00`, or
//! nothing, which is UTC, as `CURRENT_TIMESTAMP` writes it.

use dunlin_model::calendar;

const DAY: i64 = 86_400_000_000;
const MINUTE: i64 = 60_000_000;
const SECOND: i64 = 1_000_000;

/// What is wrong with a text.
pub(super) type Why = &'static str;

const NO_DAY: Why = "holds no day of the form 2015-01-31";
const NO_TIME: Why = "holds no time of day of the form 03:00:00";
const NO_TIMESTAMP: Why = "holds no time of the form 2015-01-31 03:00:00";
const NO_INSTANT: Why = "holds no time of the form 2015-01-31 03:00:00+00:00";
const ZONE: Why = "holds a time with a zone, where the declared type has none";
const TOO_FINE: Why = "holds a time that is finer than a microsecond";
/// Why a day or a time can't be written.
pub(super) const OUT_OF_RANGE: Why = "SQLite's days go from year 0 to year 9999, without infinity";
/// Why a time of day can't be written.
pub(super) const NO_TIME_OF_DAY: Why = "it is no time of day";

pub(super) fn parse_date(text: &str) -> Result<i32, Why> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return Err(NO_DAY);
    }
    let (Some(year), Some(month), Some(day)) =
        (number(&bytes[..4]), number(&bytes[5..7]), number(&bytes[8..]))
    else {
        return Err(NO_DAY);
    };
    let days = calendar::days(year, month, day).and_then(|days| i32::try_from(days).ok());
    days.ok_or(NO_DAY)
}

pub(super) fn parse_time(text: &str) -> Result<i64, Why> {
    match clock(text).map_err(|why| if why == TOO_FINE { why } else { NO_TIME })? {
        micros if micros <= DAY => Ok(micros),
        _ => Err(NO_TIME),
    }
}

pub(super) fn parse_timestamp(text: &str) -> Result<i64, Why> {
    let zoned = text.len() > 10 && split_zone(text).is_some_and(|(_, zone)| zone.is_some());
    if zoned { Err(ZONE) } else { day_and_time(text).map_err(|why| of(why, NO_TIMESTAMP)) }
}

pub(super) fn parse_instant(text: &str) -> Result<i64, Why> {
    let (local, offset) = split_zone(text).ok_or(NO_INSTANT)?;
    if offset.is_some() && local.len() <= 10 {
        return Err(NO_INSTANT);
    }
    let micros = day_and_time(local).map_err(|why| of(why, NO_INSTANT))?;
    Ok(micros - offset.unwrap_or(0))
}

pub(super) fn date_text(days: i32) -> Result<String, Why> {
    let (year, month, day) = calendar::date(i64::from(days));
    if (0..=9999).contains(&year) {
        Ok(format!("{year:04}-{month:02}-{day:02}"))
    } else {
        Err(OUT_OF_RANGE)
    }
}

pub(super) fn time_text(micros: i64) -> Result<String, Why> {
    if !(0..=DAY).contains(&micros) {
        return Err(NO_TIME_OF_DAY);
    }
    let seconds = micros / SECOND;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Ok(match micros % SECOND {
        0 => format!("{hour:02}:{minute:02}:{second:02}"),
        fraction => format!("{hour:02}:{minute:02}:{second:02}.{fraction:06}"),
    })
}

pub(super) fn timestamp_text(micros: i64) -> Result<String, Why> {
    let days = i32::try_from(micros.div_euclid(DAY)).map_err(|_| OUT_OF_RANGE)?;
    Ok(format!("{} {}", date_text(days)?, time_text(micros.rem_euclid(DAY))?))
}

pub(super) fn instant_text(micros: i64) -> Result<String, Why> {
    Ok(format!("{}+00:00", timestamp_text(micros)?))
}

/// What the texts of a column of timestamps are ordered by, in SQL: their values.
pub(super) fn timestamp_order(column: &str) -> String {
    let even = format!("replace({column}, 'T', ' ')");
    format!(
        "CASE WHEN instr({column}, '.') > 0 THEN rtrim(rtrim({even}, '0'), '.')
         ELSE {even} || substr('0000-00-00 00:00:00', length({column}) + 1) END"
    )
}

/// The same for times of day.
pub(super) fn time_order(column: &str) -> String {
    format!(
        "CASE WHEN instr({column}, '.') > 0 THEN rtrim(rtrim({column}, '0'), '.')
         ELSE {column} || substr('00:00:00', length({column}) + 1) END"
    )
}

/// The same for instants: seconds, then what comes after them.
pub(super) fn instant_order(column: &str) -> [String; 2] {
    let zone = format!(
        "CASE WHEN substr({column}, -1) = 'Z' THEN 1
         WHEN length({column}) > 16 AND substr({column}, -6, 1) IN ('+', '-') THEN 6 ELSE 0 END"
    );
    let point = format!("instr({column}, '.')");
    let whole = format!(
        "substr({column}, 1, {point} - 1) || substr({column}, length({column}) + 1 - ({zone}))"
    );
    let fraction = format!("substr({column}, {point} + 1, length({column}) - {point} - ({zone}))");
    [
        format!("unixepoch(CASE WHEN {point} > 0 THEN {whole} ELSE {column} END)"),
        format!("CASE WHEN {point} > 0 THEN rtrim({fraction}, '0') ELSE '' END"),
    ]
}

fn of(why: Why, form: Why) -> Why {
    if why == TOO_FINE { why } else { form }
}

fn day_and_time(text: &str) -> Result<i64, Why> {
    let day = text.get(..10).ok_or(NO_DAY)?;
    let days = i64::from(parse_date(day)?);
    let micros = match text.as_bytes().get(10) {
        None => 0,
        Some(b' ' | b'T') => clock(text.get(11..).ok_or(NO_TIME)?)?,
        Some(_) => return Err(NO_TIME),
    };
    // Midnight at the end of a day is written as the next day's.
    if micros >= DAY { Err(NO_TIME) } else { Ok(days * DAY + micros) }
}

/// The text before the zone, and the zone's offset in microseconds where it has one.
fn split_zone(text: &str) -> Option<(&str, Option<i64>)> {
    if let Some(local) = text.strip_suffix('Z') {
        return Some((local, Some(0)));
    }
    let Some(at) = text.len().checked_sub(6).filter(|at| *at > 10) else {
        return Some((text, None));
    };
    let zone = text.get(at..)?.as_bytes();
    let sign = match zone[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return Some((text, None)),
    };
    let (hours, minutes) = (number(&zone[1..3])?, number(&zone[4..])?);
    // SQLite knows no offsets beyond these.
    (zone[3] == b':' && hours <= 14 && minutes <= 59)
        .then(|| (&text[..at], Some(sign * (hours * 60 + minutes) * MINUTE)))
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.f`, in microseconds.
fn clock(text: &str) -> Result<i64, Why> {
    let bytes = text.as_bytes();
    let part = |from: usize| bytes.get(from..from + 2).and_then(number).ok_or(NO_TIME);
    let (hour, minute) = (part(0)?, part(3)?);
    let second = if bytes.len() > 5 { part(6)? } else { 0 };
    let colons = bytes[2] == b':' && (bytes.len() == 5 || bytes[5] == b':');
    if !colons || hour > 24 || minute > 59 || second > 59 {
        return Err(NO_TIME);
    }
    let fraction = match bytes.get(8) {
        None => 0,
        Some(b'.') => micros_of(&bytes[9..])?,
        Some(_) => return Err(NO_TIME),
    };
    Ok((hour * 60 + minute) * MINUTE + second * SECOND + fraction)
}

fn micros_of(digits: &[u8]) -> Result<i64, Why> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NO_TIME);
    }
    if digits.iter().skip(6).any(|digit| *digit != b'0') {
        return Err(TOO_FINE);
    }
    let six = digits.iter().copied().chain(std::iter::repeat(b'0')).take(6);
    Ok(six.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_sqlite() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let mut julian = connection
            .prepare("SELECT date(?1 + 2440587.5), CAST(unixepoch(?2) / 86400 AS INTEGER)")
            .unwrap();
        for days in (-719_528..2_932_896).step_by(97) {
            let text = date_text(days).unwrap();
            let (theirs, back): (String, i32) =
                julian.query_row((days, &text), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            assert_eq!(theirs, text);
            assert_eq!(back, days);
            assert_eq!(parse_date(&text), Ok(days));
        }
        assert_eq!(date_text(i32::MAX), Err(OUT_OF_RANGE));
        assert_eq!(date_text(2_932_897), Err(OUT_OF_RANGE));
    }

    #[test]
    fn texts_are_read() {
        assert_eq!(parse_timestamp("1970-01-02"), Ok(DAY));
        assert_eq!(parse_timestamp("1970-01-01T00:01"), Ok(MINUTE));
        assert_eq!(parse_timestamp("1970-01-01 00:00:01.50"), Ok(1_500_000));
        assert_eq!(parse_timestamp("1969-12-31 23:59:59.999999000"), Ok(-1));
        assert_eq!(parse_timestamp("1970-01-01 00:00:00Z"), Err(ZONE));
        assert_eq!(parse_timestamp("1970-01-01 00:00:00.0000001"), Err(TOO_FINE));
        assert_eq!(parse_instant("1970-01-01 02:00:00+02:00"), Ok(0));
        assert_eq!(parse_instant("1969-12-31T23:30-00:30"), Ok(0));
        assert_eq!(parse_instant("1970-01-01 00:00:00"), Ok(0));
        assert_eq!(parse_instant("1970-01-01T00:00:00.25Z"), Ok(250_000));
        assert_eq!(parse_time("24:00:00"), Ok(DAY));
        for bad in ["", "é", "1970-02-29", "1970-1-1", "1420070400", "infinity", "1970-01-01x"] {
            assert!(parse_timestamp(bad).is_err(), "{bad}");
            assert!(parse_instant(bad).is_err(), "{bad}");
        }
        for bad in ["1970-01-01Z", "1970-01-01 00:00+0000", "1970-01-01 00:00:00+99:00"] {
            assert!(parse_instant(bad).is_err(), "{bad}");
        }
        for bad in ["24:00:01", "12", "12:60", "12:00:0", "12:00:00.", "1é:00", "12:00é"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_come_back() {
        for micros in [0, 1, -1, DAY - 1, 253_402_300_799_999_999, -62_167_219_200_000_000] {
            assert_eq!(parse_timestamp(&timestamp_text(micros).unwrap()), Ok(micros));
            assert_eq!(parse_instant(&instant_text(micros).unwrap()), Ok(micros));
        }
        assert_eq!(timestamp_text(i64::MAX), Err(OUT_OF_RANGE));
        assert_eq!(timestamp_text(i64::MIN), Err(OUT_OF_RANGE));
        assert_eq!(time_text(DAY).unwrap(), "24:00:00");
    }
}
