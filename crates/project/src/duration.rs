//! Durations as people write them: `2s`, `10min`, `500ms`.

use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;

/// The shortest timeout. PostgreSQL counts in whole milliseconds and takes 0 for "no limit", so
/// anything shorter would silently become no limit at all.
const SHORTEST: Duration = Duration::from_millis(1);

/// The longest timeout. PostgreSQL keeps milliseconds in 31 bits, which is a little over 24 days.
const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);

/// Parses a duration with its unit.
///
/// # Errors
/// A sentence for a person, without a full stop.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a duration such as `2s`, `10min` or `500ms` is missing".to_owned());
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(format!(
            "`{text}` has no unit; write `{text}s` for seconds, or use `ms`, `min`, `h`"
        ));
    }
    // The parser takes hours and smaller units only: a day or a month has no fixed length.
    let duration = SpanParser::new().parse_unsigned_duration(text).map_err(|_| {
        format!("`{text}` is not a duration; write it like `500ms`, `2s`, `10min` or `1h 30min`")
    })?;
    if duration < SHORTEST {
        return Err(format!("`{text}` is too short; the shortest is `1ms`"));
    }
    if duration > LONGEST {
        return Err(format!("`{text}` is too long; the longest is `576h` (24 days)"));
    }
    Ok(duration)
}

/// The longest time that something is kept: ten years, so that a slip of the keyboard isn't for ever.
const KEPT_LONGEST: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Parses how long something is kept: days of 24 hours and weeks as well.
///
/// # Errors
/// A sentence for a person, without a full stop.
pub(crate) fn parse_long(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("how long is missing: `14 days`, `36h`".to_owned());
    }
    let span = SpanParser::new().parse_span(text).ok();
    // A month or a year has no fixed length.
    let fixed = span.filter(|span| span.get_months() == 0 && span.get_years() == 0);
    let duration = fixed
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| format!("`{text}` is no time; write it like `14 days`, `14d` or `36h`"))?;
    if duration < Duration::from_secs(1) {
        return Err(format!("`{text}` is too short; the shortest is `1s`"));
    }
    if duration > KEPT_LONGEST {
        return Err(format!("`{text}` is too long; the longest is `3650 days`"));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_limits() {
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("10min"), Ok(Duration::from_secs(600)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1h 30min"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "2", "1.5", "0s", "0ms", "10us", "-2s", "2 apples", "577h", "1 month"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let day = 24 * 60 * 60;
        for (text, seconds) in
            [("14 days", 14 * day), ("14d", 14 * day), ("2 weeks", 14 * day), ("36h", 36 * 3600)]
        {
            assert_eq!(parse_long(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "14", "-1d", "0s", "1 month", "4000 days", "99999999999 weeks", "a day"] {
            assert!(parse_long(wrong).is_err(), "{wrong}");
        }
        assert!(parse("20").is_err_and(|e| e.contains("`20s`")));
    }
}
