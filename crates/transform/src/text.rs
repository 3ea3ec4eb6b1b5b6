//! Days, times, numbers and UUIDs as texts say them. Strict: what isn't wholly one is none.

use dunlin_model::calendar;

use crate::zone::{DAY, Zone};

/// What a text is that should be a time.
const NO_TIME: &str = "is not a time";
const NO_DAY: &str = "is not a day";

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

/// `2024-05-01`, and `20240501` where a time follows it.
fn scan_day(scan: &mut Scan<'_>) -> Option<i64> {
    let length = scan.run();
    let basic = length == 8 && matches!(scan.0.get(8), Some(b'T' | b't'));
    if !(basic || (4..=6).contains(&length)) {
        return None;
    }
    let year = scan.digits(if basic { 4 } else { length })?;
    let mut part = || (basic || scan.take(b'-')).then(|| scan.digits(2))?;
    let (month, day) = (part()?, part()?);
    calendar::days(year, month, day).filter(|_| year > 0)
}

/// Microseconds of a time of day; 24:00 is one. `basic`: it may have no colons.
fn scan_clock(scan: &mut Scan<'_>, basic: bool) -> Result<i64, &'static str> {
    let two = |scan: &mut Scan<'_>| scan.digits(2).ok_or(NO_TIME);
    let hour = two(scan)?;
    let colons = scan.take(b':');
    if !colons && !basic {
        return Err(NO_TIME);
    }
    let minute = two(scan)?;
    let (mut second, mut micros) = (0, 0);
    if if colons { scan.take(b':') } else { scan.run() > 0 } {
        second = two(scan)?;
        if scan.take(b'.') || scan.take(b',') {
            micros = scan_fraction(scan)?;
        }
    }
    let clock = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
    if minute > 59 || second > 59 || clock > DAY { Err(NO_TIME) } else { Ok(clock) }
}

/// Microseconds of any number of digits of a second, rounded as PostgreSQL rounds them.
fn scan_fraction(scan: &mut Scan<'_>) -> Result<i64, &'static str> {
    let length = scan.run();
    let (digits, rest) = scan.0.split_at(length);
    scan.0 = rest;
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0'));
    }
    let finer = digits.get(6..).unwrap_or_default();
    let more = finer.iter().skip(1).any(|digit| *digit != b'0');
    let up = match finer.first() {
        Some(b'5') => more || micros % 2 == 1,
        Some(digit) => *digit > b'5',
        None => false,
    };
    if length == 0 { Err(NO_TIME) } else { Ok(micros + i64::from(up)) }
}

/// What a text says of its zone.
enum Place {
    Unsaid,
    /// Microseconds east of UTC.
    Offset(i64),
    Named(Zone),
}

fn scan_place(scan: &mut Scan<'_>) -> Result<Place, &'static str> {
    if scan.0.is_empty() {
        return Ok(Place::Unsaid);
    }
    if scan.take(b'Z') || scan.take(b'z') {
        return Ok(Place::Offset(0));
    }
    let blank = scan.take(b' ');
    if let Some(rest) = scan.0.strip_prefix(b"UTC").or_else(|| scan.0.strip_prefix(b"GMT")) {
        scan.0 = rest;
        return Ok(Place::Offset(0));
    }
    // Abbreviations say different things to different databases: CET has a summer time in some.
    if blank && scan.0.contains(&b'/') {
        let name = std::str::from_utf8(scan.0).ok();
        let zone = name.and_then(Zone::of).ok_or(NO_TIME)?;
        scan.0 = &[];
        return Ok(Place::Named(zone));
    }
    scan_offset(scan).map(Place::Offset)
}

/// Microseconds east of UTC.
fn scan_offset(scan: &mut Scan<'_>) -> Result<i64, &'static str> {
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
    Ok(sign * ((hours * 60 + minutes) * 60 + seconds) * 1_000_000)
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
    let clock = scan_clock(&mut scan, false)?;
    if scan.0.is_empty() { Ok(clock) } else { Err(NO_TIME) }
}

/// A local time, and where it is one.
fn moment(text: &str) -> Result<(i64, Place), &'static str> {
    let mut scan = Scan(text.as_bytes());
    let days = scan_day(&mut scan).ok_or(NO_TIME)?;
    if scan.0.is_empty() {
        return Ok((days * DAY, Place::Unsaid));
    }
    let basic = scan.take(b'T') || scan.take(b't');
    if !(basic || scan.take(b' ')) {
        return Err(NO_TIME);
    }
    let clock = scan_clock(&mut scan, basic)?;
    let place = scan_place(&mut scan)?;
    if scan.0.is_empty() { Ok((days * DAY + clock, place)) } else { Err(NO_TIME) }
}

/// An instant; a text without a zone is a local time.
pub(crate) fn instant(text: &str, zone: &Zone) -> Result<i64, &'static str> {
    match moment(text)? {
        (local, Place::Offset(offset)) => Ok(local - offset),
        (local, Place::Named(of)) => of.instant(local),
        (local, Place::Unsaid) => zone.instant(local),
    }
}

/// A local time; a text with a zone is an instant, told in ours.
pub(crate) fn local(text: &str, zone: &Zone) -> Result<i64, &'static str> {
    match moment(text)? {
        (local, Place::Offset(offset)) => zone.local(local - offset),
        (local, Place::Named(of)) => zone.local(of.instant(local)?),
        (local, Place::Unsaid) => Ok(local),
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
