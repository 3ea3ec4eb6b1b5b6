//! Intervals: their texts as PostgreSQL reads and prints them, and how long they are.

use arrow::datatypes::IntervalMonthDayNano;

use crate::zone::DAY;

const NO_INTERVAL: &str = "is not an interval";
const OUT: &str = "is out of range";
/// Digits after the point of an amount are millionths of it.
const WHOLE: i128 = 1_000_000;
const DAY_LONG: i128 = DAY as i128;

/// Months, days and microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// Twelve are a year.
    pub(crate) months: i128,
    /// Of any length: clocks change.
    pub(crate) days: i128,
    /// Of a clock.
    pub(crate) micros: i128,
}

impl Span {
    /// Of an interval; what is finer than a microsecond is cut off.
    pub(crate) fn of(interval: IntervalMonthDayNano) -> Self {
        Self {
            months: interval.months.into(),
            days: interval.days.into(),
            micros: i128::from(interval.nanoseconds) / 1_000,
        }
    }

    /// Between two times: days of 24 hours, and what is left.
    pub(crate) fn between(micros: i64) -> Self {
        let (days, micros) = (i128::from(micros / DAY), i128::from(micros % DAY));
        Self { months: 0, days, micros }
    }

    /// In microseconds, a day being 24 hours, a month 30 days, and a year as many as given for it,
    /// in quarters of a day.
    fn with_years(self, quarters: i128) -> i128 {
        let quarters = self.months / 12 * quarters + self.months % 12 * 120;
        quarters * (DAY_LONG / 4) + self.days * DAY_LONG + self.micros
    }

    /// Its epoch in microseconds, with years of 365.25 days.
    pub(crate) fn epoch(self) -> i128 {
        self.with_years(1_461)
    }

    /// What it is compared by.
    pub(crate) fn length(self) -> i128 {
        self.with_years(1_440)
    }

    fn interval(self) -> Result<IntervalMonthDayNano, &'static str> {
        let part = |value: i128| i32::try_from(value).map_err(|_| OUT);
        let nanoseconds = self.micros.checked_mul(1_000).and_then(|all| i64::try_from(all).ok());
        let nanoseconds = nanoseconds.ok_or(OUT)?;
        Ok(IntervalMonthDayNano::new(part(self.months)?, part(self.days)?, nanoseconds))
    }

    /// An amount of a unit, in millionths.
    fn add(&mut self, amount: i128, unit: Unit) -> Result<(), &'static str> {
        match unit {
            Unit::Months(count) if amount * count % WHOLE == 0 => {
                self.months += amount * count / WHOLE;
            }
            Unit::Months(_) => return Err(NO_INTERVAL),
            Unit::Days(count) => {
                self.days += amount * count / WHOLE;
                self.micros += amount * count % WHOLE * (DAY_LONG / WHOLE);
            }
            Unit::Micros(count) => self.micros += amount * count / WHOLE,
        }
        Ok(())
    }

    /// As PostgreSQL prints it: `1 mon 2 days 03:00:00`.
    pub(crate) fn text(self) -> String {
        let mut text = String::new();
        let mut before = false;
        let parts = [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")];
        for (value, unit) in parts.into_iter().filter(|(value, _)| *value != 0) {
            let plus = if before && value > 0 { "+" } else { "" };
            let many = if value == 1 { "" } else { "s" };
            text += &format!("{plus}{value} {unit}{many} ");
            before = value < 0;
        }
        if self.micros != 0 || text.is_empty() {
            let sign = match self.micros {
                ..0 => "-",
                _ if before => "+",
                _ => "",
            };
            let micros = self.micros.unsigned_abs();
            let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
            let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
            text += &format!("{sign}{hours:02}:{minutes:02}:{:02}", seconds % 60);
            if fraction != 0 {
                text += format!(".{fraction:06}").trim_end_matches('0');
            }
        }
        text.truncate(text.trim_end().len());
        text
    }
}

#[derive(Clone, Copy)]
enum Unit {
    Months(i128),
    Days(i128),
    Micros(i128),
}

fn unit(name: &str) -> Option<Unit> {
    Some(match name {
        "century" | "centuries" | "cent" | "c" => Unit::Months(1_200),
        "decade" | "decades" | "dec" | "decs" => Unit::Months(120),
        "year" | "years" | "yr" | "yrs" | "y" => Unit::Months(12),
        "month" | "months" | "mon" | "mons" => Unit::Months(1),
        "week" | "weeks" | "w" => Unit::Days(7),
        "day" | "days" | "d" => Unit::Days(1),
        "hour" | "hours" | "hr" | "hrs" | "h" => Unit::Micros(3_600_000_000),
        "minute" | "minutes" | "min" | "mins" | "m" => Unit::Micros(60_000_000),
        "second" | "seconds" | "sec" | "secs" | "s" => Unit::Micros(1_000_000),
        "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => Unit::Micros(1_000),
        "microsecond" | "microseconds" | "usec" | "usecs" | "us" => Unit::Micros(1),
        _ => return None,
    })
}

/// A text: `1 mon 2 days 03:00:00`, `@ 1 day ago`, `90 minutes`, `P1M2DT3H`.
pub(crate) fn parse(text: &str) -> Result<IntervalMonthDayNano, &'static str> {
    let text = text.trim().to_ascii_lowercase();
    if let Some(parts) = text.strip_prefix('p') {
        return iso(parts)?.interval();
    }
    let text = text.strip_prefix('@').unwrap_or(&text);
    let (text, ago) = text.strip_suffix(" ago").map_or((text, false), |text| (text, true));
    let mut span = Span::default();
    let mut words = text.split_ascii_whitespace().peekable();
    words.peek().ok_or(NO_INTERVAL)?;
    while let Some(word) = words.next() {
        if word.contains(':') {
            span.micros += clock(word)?;
            continue;
        }
        let end = word.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(word.len());
        let (number, name) = word.split_at(end);
        let name = if name.is_empty() { words.next().unwrap_or_default() } else { name };
        span.add(amount(number)?, unit(name).ok_or(NO_INTERVAL)?)?;
    }
    if ago {
        span = Span { months: -span.months, days: -span.days, micros: -span.micros };
    }
    span.interval()
}

/// ISO 8601, behind its `P`.
fn iso(text: &str) -> Result<Span, &'static str> {
    let mut span = Span::default();
    let (mut rest, mut of_clock) = (text, false);
    if text.is_empty() || text.ends_with('t') {
        return Err(NO_INTERVAL);
    }
    while !rest.is_empty() {
        if let Some(clock) = rest.strip_prefix('t').filter(|_| !of_clock) {
            (rest, of_clock) = (clock, true);
        }
        let end = rest.find(|letter: char| letter.is_ascii_alphabetic()).ok_or(NO_INTERVAL)?;
        let (number, name) = rest.split_at(end);
        let (name, after) = name.split_at(1);
        let unit = match (name, of_clock) {
            ("m", false) => Unit::Months(1),
            ("y" | "w" | "d", false) | ("h" | "m" | "s", true) => unit(name).ok_or(NO_INTERVAL)?,
            _ => return Err(NO_INTERVAL),
        };
        span.add(amount(number)?, unit)?;
        rest = after;
    }
    Ok(span)
}

/// `-04:05:06.789`: microseconds.
fn clock(text: &str) -> Result<i128, &'static str> {
    let (sign, text) = signed(text);
    let mut parts = text.split(':');
    let mut micros = 0;
    for (place, length) in [3_600_000_000, 60_000_000, 1_000_000].into_iter().enumerate() {
        let Some(part) = parts.next().or((place == 2).then_some("0")) else {
            return Err(NO_INTERVAL);
        };
        let value = amount(part).ok().filter(|_| !part.starts_with(['+', '-']));
        let value = value.filter(|value| place == 2 || value % WHOLE == 0).ok_or(NO_INTERVAL)?;
        if place > 0 && value >= 60 * WHOLE {
            return Err(NO_INTERVAL);
        }
        micros += value * length / WHOLE;
    }
    if parts.next().is_some() { Err(NO_INTERVAL) } else { Ok(sign * micros) }
}

fn signed(text: &str) -> (i128, &str) {
    match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// A number, in millionths.
fn amount(text: &str) -> Result<i128, &'static str> {
    let (sign, text) = signed(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(NO_INTERVAL);
    }
    // So long that it is out of range in any unit; and finer than a microsecond in any.
    if whole.len() > 18 || fraction.len() > 6 {
        return Err(OUT);
    }
    let number = format!("{whole}{fraction:0<6}").parse::<i128>();
    number.map(|number| sign * number).map_err(|_| NO_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_printed() {
        // What PostgreSQL 15 prints of each.
        for (text, printed) in [
            ("0", None),
            ("00:00:00", Some("00:00:00")),
            ("1 mon 2 days 03:00:00", Some("1 mon 2 days 03:00:00")),
            ("1 mon 2 days 03:00", Some("1 mon 2 days 03:00:00")),
            ("-1 years -2 mons +3 days -04:05:06.5", Some("-1 years -2 mons +3 days -04:05:06.5")),
            ("-1 days +02:03:00", Some("-1 days +02:03:00")),
            ("-00:00:00.000001", Some("-00:00:00.000001")),
            ("14 mons", Some("1 year 2 mons")),
            ("100:00:00", Some("100:00:00")),
            ("1.5 hours", Some("01:30:00")),
            ("1.5 days", Some("1 day 12:00:00")),
            ("2 weeks", Some("14 days")),
            ("3days", Some("3 days")),
            ("@ 1 day 2 hours ago", Some("-1 days -02:00:00")),
            ("P1Y2M3DT4H5M6.789S", Some("1 year 2 mons 3 days 04:05:06.789")),
            ("P-1DT2H", Some("-1 days +02:00:00")),
            ("PT0S", Some("00:00:00")),
            ("", None),
            ("@", None),
            ("1", None),
            ("day", None),
            ("1 apple", None),
            ("1:60", None),
            ("1:2:3:4", None),
            ("P", None),
            ("PT", None),
            ("P1H", None),
            ("3000000000 days", None),
            ("10000000000 hours", None),
            ("1.5.5 days", None),
            ("٣ days", None),
        ] {
            let read = parse(text).ok().map(|interval| Span::of(interval).text());
            assert_eq!(read.as_deref(), printed, "{text}");
        }
    }
}
