//! Days, times, numbers and UUIDs as texts say them. Strict: what isn't wholly one is none.

use crate::zone::{DAY, Zone};

/// What a text is that should be a time.
const NO_TIME: &str = "is not a time";
const NO_DAY: &str = "is not a day";
const TOO_FINE: &str = "is finer than a microsecond";

struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let there = self.0.first() == Some(&byte);
        if there {
            self.0 = &self.0[1..];
        }
        there
    }

    /// Exactly so many digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut number = 0;
        for digit in digits {
            number = number * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        }
        self.0 = rest;
        Some(number)
    }

    fn run(&self) -> usize {
        self.0.iter().take_while(|byte| byte.is_ascii_digit()).count()
    }
}

/// Days from 1970-01-01 of a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if year < 1 || !(1..=length).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the day that leaps is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let of_era = year - era * 400;
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

fn scan_day(scan: &mut Scan<'_>) -> Option<i64> {
    let length = scan.run();
    if !(4..=6).contains(&length) {
        return None;
    }
    let year = scan.digits(length)?;
    let month = scan.take(b'-').then(|| scan.digits(2))??;
    let day = scan.take(b'-').then(|| scan.digits(2))??;
    days(year, month, day)
}

/// Microseconds of a time of day; 24:00 is one.
fn scan_clock(scan: &mut Scan<'_>) -> Result<i64, &'static str> {
    let two = |scan: &mut Scan<'_>| scan.digits(2).ok_or(NO_TIME);
    let hour = two(scan)?;
    if !scan.take(b':') {
        return Err(NO_TIME);
    }
    let minute = two(scan)?;
    let (mut second, mut micros) = (0, 0);
    if scan.take(b':') {
        second = two(scan)?;
        if scan.take(b'.') || scan.take(b',') {
            let length = scan.run();
            if length == 0 {
                return Err(NO_TIME);
            }
            let (fraction, rest) = scan.0.split_at(length);
            for place in 0..length.max(6) {
                let digit = fraction.get(place).map_or(0, |byte| i64::from(byte - b'0'));
                match place {
                    0..6 => micros = micros * 10 + digit,
                    _ if digit != 0 => return Err(TOO_FINE),
                    _ => {}
                }
            }
            scan.0 = rest;
        }
    }
    let clock = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
    if minute > 59 || second > 59 || clock > DAY { Err(NO_TIME) } else { Ok(clock) }
}

/// Microseconds east of UTC, where a zone is given.
fn scan_offset(scan: &mut Scan<'_>) -> Result<Option<i64>, &'static str> {
    if scan.0.is_empty() {
        return Ok(None);
    }
    if scan.take(b'Z') || scan.take(b'z') {
        return Ok(Some(0));
    }
    scan.take(b' ');
    if let Some(rest) = scan.0.strip_prefix(b"UTC") {
        scan.0 = rest;
        return Ok(Some(0));
    }
    let sign = if scan.take(b'+') {
        1
    } else if scan.take(b'-') {
        -1
    } else {
        return Err(NO_TIME);
    };
    let hours = scan.digits(2).ok_or(NO_TIME)?;
    let colon = scan.take(b':');
    let minutes = match scan.digits(2) {
        Some(minutes) => minutes,
        None if colon => return Err(NO_TIME),
        None => 0,
    };
    let seconds = if scan.take(b':') { scan.digits(2).ok_or(NO_TIME)? } else { 0 };
    // The same bounds as PostgreSQL's.
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(NO_TIME);
    }
    Ok(Some(sign * ((hours * 60 + minutes) * 60 + seconds) * 1_000_000))
}

/// A day.
pub(crate) fn day(text: &str) -> Result<i32, &'static str> {
    let mut scan = Scan(text.as_bytes());
    let days = scan_day(&mut scan).filter(|_| scan.0.is_empty()).ok_or(NO_DAY)?;
    i32::try_from(days).map_err(|_| NO_DAY)
}

/// A time of day.
pub(crate) fn clock(text: &str) -> Result<i64, &'static str> {
    let mut scan = Scan(text.as_bytes());
    let clock = scan_clock(&mut scan)?;
    if scan.0.is_empty() { Ok(clock) } else { Err(NO_TIME) }
}

/// A local time, or an instant where the text says its zone.
fn moment(text: &str) -> Result<(i64, Option<i64>), &'static str> {
    let mut scan = Scan(text.as_bytes());
    let days = scan_day(&mut scan).ok_or(NO_TIME)?;
    if scan.0.is_empty() {
        return Ok((days * DAY, None));
    }
    if !(scan.take(b'T') || scan.take(b't') || scan.take(b' ')) {
        return Err(NO_TIME);
    }
    let clock = scan_clock(&mut scan)?;
    let offset = scan_offset(&mut scan)?;
    if scan.0.is_empty() { Ok((days * DAY + clock, offset)) } else { Err(NO_TIME) }
}

/// An instant; a text without a zone is a local time.
pub(crate) fn instant(text: &str, zone: &Zone) -> Result<i64, &'static str> {
    match moment(text)? {
        (local, Some(offset)) => Ok(local - offset),
        (local, None) => zone.instant(local),
    }
}

/// A local time; a text with a zone is an instant, told in ours.
pub(crate) fn local(text: &str, zone: &Zone) -> Result<i64, &'static str> {
    match moment(text)? {
        (local, Some(offset)) => zone.local(local - offset),
        (local, None) => Ok(local),
    }
}

/// Whether a text is a number, and how many digits it needs after the point.
pub(crate) fn numeric_scale(text: &str) -> Option<i64> {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text == "NaN" || body == "Infinity" {
        return Some(0);
    }
    let (digits, exponent) = match body.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i16>().ok()?),
        None => (body, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all(whole) || !all(fraction) {
        return None;
    }
    let significant = fraction.trim_end_matches('0').len();
    Some((i64::try_from(significant).ok()? - i64::from(exponent)).max(0))
}

/// A UUID: 8-4-4-4-12 digits, or 32.
pub(crate) fn uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    let dashes = match bytes.len() {
        36 => true,
        32 => false,
        _ => return None,
    };
    let mut into = [0_u8; 16];
    let mut count = 0;
    for (place, byte) in bytes.iter().enumerate() {
        if dashes && matches!(place, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = u8::try_from(char::from(*byte).to_digit(16)?).ok()?;
        let slot: &mut u8 = into.get_mut(count / 2)?;
        *slot = *slot << 4 | digit;
        count += 1;
    }
    Some(into)
}

/// The text of a UUID.
pub(crate) fn uuid_text(bytes: &[u8], into: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            into.push('-');
        }
        into.push(char::from(DIGITS[usize::from(byte >> 4)]));
        into.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}
