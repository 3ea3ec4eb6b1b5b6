//! Days and times as the server's texts: `2015-01-31`, `03:00:00`, `2015-01-31 03:00:00.000001`.

use dunlin_model::calendar;

const DAY: i64 = 86_400_000_000;
const SECOND: i64 = 1_000_000;

/// What is wrong with a value.
pub(super) type Why = &'static str;

const ZERO: Why = "holds a zero date, or one whose month or day is 0";
const NO_DAY: Why = "holds what is no day";
const NO_TIME: Why = "holds what is no time of day";
const BEYOND: Why = "holds a length of time, negative or longer than a day, and no time of day";
const OUT_OF_RANGE: Why = "days go from year 1 to year 9999 here, without infinity";

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
    if month == 0 || day == 0 {
        return Err(ZERO);
    }
    // ALLOW_INVALID_DATES lets in the 31st of any month.
    let days = calendar::days(year, month, day).and_then(|days| i32::try_from(days).ok());
    days.ok_or(NO_DAY)
}

/// `HH:MM:SS`, with or without a fraction, in microseconds.
pub(super) fn parse_time(text: &str) -> Result<i64, Why> {
    if text.starts_with('-') {
        return Err(BEYOND);
    }
    let (hours, rest) = text.split_once(':').ok_or(NO_TIME)?;
    let hour = number(hours.as_bytes()).ok_or(NO_TIME)?;
    let bytes = rest.as_bytes();
    if bytes.len() < 5 || bytes[2] != b':' {
        return Err(NO_TIME);
    }
    let (Some(minute), Some(second)) = (number(&bytes[..2]), number(&bytes[3..5])) else {
        return Err(NO_TIME);
    };
    let fraction = match bytes.get(5) {
        None => 0,
        Some(b'.') if (7..=12).contains(&bytes.len()) => {
            let digits = number(&bytes[6..]).ok_or(NO_TIME)?;
            (bytes.len()..12).fold(digits, |digits, _| digits * 10)
        }
        Some(_) => return Err(NO_TIME),
    };
    if minute > 59 || second > 59 || hour > 999 {
        return Err(NO_TIME);
    }
    let micros = (hour * 3600 + minute * 60 + second) * SECOND + fraction;
    if micros > DAY { Err(BEYOND) } else { Ok(micros) }
}

pub(super) fn parse_timestamp(text: &str) -> Result<i64, Why> {
    let (day, time) = text.split_once(' ').ok_or(NO_DAY)?;
    let days = i64::from(parse_date(day)?);
    match parse_time(time)? {
        DAY => Err(NO_TIME),
        micros => Ok(days * DAY + micros),
    }
}

pub(super) fn date_text(days: i32) -> Result<String, Why> {
    let (year, month, day) = calendar::date(i64::from(days));
    if (1..=9999).contains(&year) {
        Ok(format!("{year:04}-{month:02}-{day:02}"))
    } else {
        Err(OUT_OF_RANGE)
    }
}

pub(super) fn time_text(micros: i64, digits: u32) -> Result<String, Why> {
    if !(0..=DAY).contains(&micros) {
        return Err("it is no time of day");
    }
    let fraction = micros % SECOND;
    if fraction % 10_i64.pow(6 - digits.min(6)) != 0 {
        return Err("it is finer than the column keeps: round it in the mapping, or let the \
                    column have more digits after the second");
    }
    let seconds = micros / SECOND;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Ok(match fraction {
        0 => format!("{hour:02}:{minute:02}:{second:02}"),
        _ => format!("{hour:02}:{minute:02}:{second:02}.{fraction:06}"),
    })
}

pub(super) fn timestamp_text(micros: i64, digits: u32) -> Result<String, Why> {
    let days = i32::try_from(micros.div_euclid(DAY)).map_err(|_| OUT_OF_RANGE)?;
    Ok(format!("{} {}", date_text(days)?, time_text(micros.rem_euclid(DAY), digits)?))
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || digits.len() > 6 {
        return None;
    }
    digits.iter().try_fold(0_i64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        for days in (-719_162..2_932_896).step_by(97) {
            assert_eq!(parse_date(&date_text(days).unwrap()), Ok(days));
        }
        for micros in [0, 1, -1, DAY - 1, 253_402_300_799_999_999, -62_135_596_800_000_000] {
            assert_eq!(parse_timestamp(&timestamp_text(micros, 6).unwrap()), Ok(micros));
        }
        assert_eq!(date_text(16_466).unwrap(), "2015-01-31");
        assert_eq!(parse_timestamp("1970-01-01 00:00:01.5"), Ok(1_500_000));
        assert_eq!(parse_time("24:00:00"), Ok(DAY));
        assert_eq!(timestamp_text(i64::MAX, 6), Err(OUT_OF_RANGE));
        assert_eq!(timestamp_text(i64::MIN, 6), Err(OUT_OF_RANGE));
        assert_eq!(time_text(1_500_000, 1).unwrap(), "00:00:01.500000");
        assert!(time_text(1_500_000, 0).is_err());
    }

    #[test]
    fn what_is_none_is_told() {
        for text in ["0000-00-00", "2015-00-10", "2015-01-00"] {
            assert_eq!(parse_date(text), Err(ZERO), "{text}");
        }
        for text in ["", "é", "2015-02-29", "2015-1-1", "2015-13-01"] {
            assert_eq!(parse_date(text), Err(NO_DAY), "{text}");
        }
        for text in ["-01:00:00", "24:00:00.000001", "838:59:59"] {
            assert_eq!(parse_time(text), Err(BEYOND), "{text}");
        }
        for text in ["", "12", "12:00", "12:60:00", "12:00:00.", "1é:00:00", "12:00:00.1234567"] {
            assert_eq!(parse_time(text), Err(NO_TIME), "{text}");
        }
    }
}
