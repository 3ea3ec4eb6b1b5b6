//! Numbers as texts, beside what SQLite's numeric affinity makes of them.

/// What a column of numeric affinity stores for a text that is a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stored {
    /// Exactly this.
    Integer(i64),
    /// This, which reads back as the same digits.
    Real(f64),
    /// A floating-point number of other digits.
    Inexact,
}

/// What a column of numeric affinity makes of a text. `None`: it is no number, and stays a text.
pub(super) fn stored(text: &str) -> Option<Stored> {
    let text = text.trim_ascii();
    let (digits, exponent) = significant(text)?;
    if let Ok(number) = text.parse() {
        return Some(Stored::Integer(number));
    }
    let real: f64 = text.parse().ok()?;
    if !real.is_finite() || significant(&format!("{real:e}")) != Some((digits, exponent)) {
        return Some(Stored::Inexact);
    }
    // As SQLite, which stores a whole number as an integer where that is the same.
    #[expect(clippy::cast_possible_truncation, reason = "only where it comes back the same")]
    let whole = real as i64;
    #[expect(clippy::cast_precision_loss, reason = "only where it comes back the same")]
    let same = whole.unsigned_abs() < 1 << 53 && whole as f64 == real;
    Some(if same { Stored::Integer(whole) } else { Stored::Real(real) })
}

/// Whether a text is a decimal number without an exponent.
pub(super) fn is_plain(text: &str) -> bool {
    significant(text).is_some() && !text.contains(['e', 'E'])
}

/// A real number's digits, without an exponent.
pub(super) fn real_text(number: f64) -> String {
    format!("{number}")
}

/// The same number with as many digits after the point, if it has fewer.
pub(super) fn padded(mut text: String, scale: Option<i16>) -> String {
    let Some(scale) = scale.and_then(|scale| usize::try_from(scale).ok()) else { return text };
    let after = match text.find('.') {
        Some(point) => text.len() - point - 1,
        None if scale == 0 => return text,
        None => {
            text.push('.');
            0
        }
    };
    text.extend(std::iter::repeat_n('0', scale.saturating_sub(after)));
    text
}

/// The digits that count, with their sign, and where the point stands before them. `None`: no
/// number.
fn significant(text: &str) -> Option<(String, i64)> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = || whole.bytes().chain(fraction.bytes());
    if all().next().is_none() || !all().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let joined = format!("{whole}{fraction}");
    let leading = joined.len() - joined.trim_start_matches('0').len();
    let digits = joined.trim_matches('0');
    if digits.is_empty() {
        return Some((String::new(), 0));
    }
    let point = i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()?;
    let sign = if negative { "-" } else { "" };
    Some((format!("{sign}{digits}"), point + i64::from(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stored_as_sqlite_stores_them() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, n NUMERIC)").unwrap();
        let texts = [
            "0",
            "-0",
            "12",
            "007",
            "+5",
            " 7 ",
            "12.50",
            "-12.5",
            ".5",
            "5.",
            "1e3",
            "1E-3",
            "12.0",
            "9223372036854775807",
            "-9223372036854775808",
            "0.1",
            "123456789012.25",
            "1e300",
            "12x",
            "",
            "-",
            ".",
            "1e",
            "0x10",
            "NaN",
            "1_000",
            "1 2",
            "é",
        ];
        for text in texts {
            connection.execute("INSERT INTO t (n) VALUES (?1)", [text]).unwrap();
            let value: rusqlite::types::Value = connection
                .query_row("SELECT n FROM t ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
                .unwrap();
            let expected = match value {
                rusqlite::types::Value::Integer(number) => Some(Stored::Integer(number)),
                rusqlite::types::Value::Real(number) => Some(Stored::Real(number)),
                _ => None,
            };
            assert_eq!(stored(text), expected, "{text}");
        }
    }

    #[test]
    fn lost_digits_are_seen() {
        for lost in ["9223372036854775808", "0.12345678901234567890", "1e400", "1e-400"] {
            assert_eq!(stored(lost), Some(Stored::Inexact), "{lost}");
        }
        assert_eq!(stored("99999999999.99"), Some(Stored::Real(99_999_999_999.99)));
    }

    #[test]
    fn digits_after_the_point() {
        let pad = |text: &str, scale| padded(text.to_owned(), scale);
        assert_eq!(pad("12", Some(2)), "12.00");
        assert_eq!(pad("12.5", Some(2)), "12.50");
        assert_eq!(pad("12.345", Some(2)), "12.345");
        assert_eq!(pad("12", Some(0)), "12");
        assert_eq!(pad("12.5", None), "12.5");
        assert_eq!(real_text(1e20), "100000000000000000000");
    }
}
