//! Numbers as people and programs write them.

use std::str::FromStr;

use crate::value::Why;

/// Digits that a number with an exponent may come to: more is a mistake.
const EXPONENT_MAX: i32 = 1_000;

/// A whole number, with a sign if it likes.
pub(crate) fn whole<N: FromStr>(text: &str) -> Result<N, Why> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("holds no whole number");
    }
    text.parse().map_err(|_| "holds a number that is out of range")
}

/// A binary floating-point number.
pub(crate) fn float(text: &str, comma: bool) -> Result<f64, Why> {
    let special = ["nan", "inf", "-inf", "infinity", "-infinity"];
    if special.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return text.parse().map_err(|_| "holds no number");
    }
    let digits = decimal(text, comma)?;
    let number: f64 = digits.parse().map_err(|_| "holds no number")?;
    // So small a number would become none at all.
    let is_lost = number == 0.0 && digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if number.is_finite() && !is_lost {
        Ok(number)
    } else {
        Err("holds a number that is out of range")
    }
}

/// A decimal's digits: no plus sign, no zeros before them, no exponent.
pub(crate) fn decimal(text: &str, comma: bool) -> Result<String, Why> {
    let no = || "holds no number";
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, whole::<i32>(exponent).map_err(|_| no())?),
        None => (rest, 0),
    };
    if exponent.abs() > EXPONENT_MAX {
        return Err("holds a number that is out of range");
    }
    let (before, after) =
        mantissa.split_once(if comma { ',' } else { '.' }).unwrap_or((mantissa, ""));
    let before = if comma { ungrouped(before)? } else { before.to_owned() };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if before.len() + after.len() == 0 || !digits(&before) || !digits(after) {
        return Err(no());
    }
    let (before, after) = shifted(before, after.to_owned(), exponent);
    let whole = before.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let is_zero = whole == "0" && after.bytes().all(|byte| byte == b'0');
    let sign = if is_zero { "" } else { sign };
    Ok(if after.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{after}") })
}

/// `1.234.567`: points between groups of three, where a comma stands before the fraction.
fn ungrouped(text: &str) -> Result<String, Why> {
    let mut groups = text.split('.');
    let first = groups.next().unwrap_or_default();
    let is_plain = !text.contains('.');
    let fits = is_plain || ((1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3));
    if fits { Ok(text.replace('.', "")) } else { Err("holds no number") }
}

/// Moves the point.
fn shifted(mut before: String, mut after: String, exponent: i32) -> (String, String) {
    let by = exponent.unsigned_abs() as usize;
    if exponent > 0 {
        while after.len() < by {
            after.push('0');
        }
        let rest = after.split_off(by);
        before.push_str(&after);
        (before, rest)
    } else {
        while before.len() < by {
            before.insert(0, '0');
        }
        let moved = before.split_off(before.len() - by);
        (before, moved + &after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_lose_no_number() {
        for (text, number) in [("1e-300", 1e-300), ("0e5", 0.0), ("-0.0", 0.0), ("5e-324", 5e-324)]
        {
            assert_eq!(float(text, false), Ok(number), "{text}");
        }
        for text in ["1e-400", "-1e-400", "1e400", "0.3e-330"] {
            assert_eq!(float(text, false), Err("holds a number that is out of range"), "{text}");
        }
        assert_eq!(float("-Infinity", false), Ok(f64::NEG_INFINITY));
    }

    #[test]
    fn decimals_keep_their_digits() {
        for (text, digits) in [
            ("0", "0"),
            ("-0.00", "0.00"),
            ("-12.50", "-12.50"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1.25E-3", "0.00125"),
            ("12.345e2", "1234.5"),
            ("00012345678901234567890.1", "12345678901234567890.1"),
        ] {
            assert_eq!(decimal(text, false).as_deref(), Ok(digits), "{text}");
        }
        for (text, digits) in [("1.234,56", "1234.56"), ("1.234", "1234"), ("-7,5", "-7.5")] {
            assert_eq!(decimal(text, true).as_deref(), Ok(digits), "{text}");
        }
        for text in ["1.23", "1.2345,6", ".123", "1,2,3", "1234.567,8"] {
            assert!(decimal(text, true).is_err(), "{text}");
        }
    }
}
