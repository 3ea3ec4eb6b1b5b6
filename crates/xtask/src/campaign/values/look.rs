//! How values are looked at on either side: by the server's own text of them, through its own client,
//! and by nothing that moves them.

use dunlin_testkit::servers::Product;
use serde_json::Value;

/// What two values must have in common to be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// The text that the server makes of it.
    Text,
    /// The text, and what it is: for SQLite's columns of any type.
    Bytes,
    /// True or false.
    Truth,
    /// The number, whatever zeros stand around it.
    Number,
    /// The floating-point number of 32 bits; zero has no sign.
    Real32,
    /// Of 64 bits.
    Real64,
    /// A text without the blanks at its end.
    Padded,
    /// A time, without zeros at the end of its fraction, and in UTC.
    Time,
    /// The value that JSON stands for.
    Json,
    /// This expression, whose text counts.
    By(&'static str),
    /// This expression; the value of the JSON that it gives counts.
    JsonBy(&'static str),
}

impl View {
    /// The SQL that gives hexadecimal digits, or NULL.
    pub(super) fn sql(self, product: Product) -> String {
        let postgres = matches!(product, Product::Postgres | Product::Pgbouncer);
        let plain = match self {
            Self::By(expression) | Self::JsonBy(expression) => expression.to_owned(),
            Self::Bytes if postgres => return "encode(v, 'hex')".to_owned(),
            Self::Bytes => return "CASE WHEN v IS NOT NULL THEN hex(v) END".to_owned(),
            Self::Truth if postgres => "v::int".to_owned(),
            Self::Real32 | Self::Real64 if product == Product::Mysql => {
                "CAST(v AS double)".to_owned()
            }
            Self::Number | Self::Real32 | Self::Real64 if product == Product::Sqlite => {
                "CASE typeof(v) WHEN 'real' THEN printf('%!.20g', v) ELSE v END".to_owned()
            }
            // As the type's own output has it: a cast of an `inet` would add its mask.
            _ if postgres => "format('%s', v)".to_owned(),
            _ => "v".to_owned(),
        };
        match product {
            Product::Mysql => format!("hex(CONVERT(CAST({plain} AS char) USING utf8mb4))"),
            Product::Sqlite => {
                format!("CASE WHEN v IS NOT NULL THEN hex(CAST({plain} AS text)) END")
            }
            Product::Postgres | Product::Pgbouncer => {
                format!(
                    "CASE WHEN v IS NOT NULL THEN encode(convert_to(({plain})::text, 'UTF8'), 'hex') END"
                )
            }
        }
    }

    /// One form of what means the same, of a text that was read.
    pub(super) fn same(self, product: Product, text: &str) -> String {
        match self {
            Self::Number if product == Product::Sqlite && text.contains(['.', 'e']) => {
                // SQLite's own text of a real number, with more digits than it has.
                text.parse::<f64>()
                    .map_or_else(|_| text.to_owned(), |real| number(&real.to_string()))
            }
            Self::Number => number(text),
            Self::Real32 => real(text, |text| {
                text.parse::<f32>().ok().map(|real| (f64::from(real), real.is_nan()))
            }),
            Self::Real64 => {
                real(text, |text| text.parse::<f64>().ok().map(|real| (real, real.is_nan())))
            }
            Self::Padded => text.trim_end_matches(' ').to_owned(),
            Self::Time => time(text),
            Self::Json | Self::JsonBy(_) => {
                serde_json::from_str(text).map_or_else(|_| text.to_owned(), |value| json(&value))
            }
            Self::Text | Self::Bytes | Self::Truth | Self::By(_) => text.to_owned(),
        }
    }
}

fn real(text: &str, parsed: impl Fn(&str) -> Option<(f64, bool)>) -> String {
    match parsed(text) {
        Some((_, true)) => "NaN".to_owned(),
        Some((0.0, _)) => "0".to_owned(),
        Some((real, _)) => format!("{:016x} {real:e}", real.to_bits()),
        None => text.to_owned(),
    }
}

/// JSON with its members in order, and one zero.
fn json(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut all: Vec<(&String, &Value)> = members.iter().collect();
            all.sort_by_key(|(name, _)| *name);
            let all: Vec<String> = all
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), json(value)))
                .collect();
            format!("{{{}}}", all.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(","))
        }
        Value::Number(number) if number.as_f64() == Some(0.0) => "0".to_owned(),
        value => value.to_string(),
    }
}

fn number(text: &str) -> String {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    if !rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return text.to_owned();
    }
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    match (whole, fraction) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    }
}

fn time(text: &str) -> String {
    let (text, era) = match text.strip_suffix(" BC") {
        Some(text) => (text, " BC"),
        None => (text, ""),
    };
    let text = text.strip_suffix("+00:00").or_else(|| text.strip_suffix("+00")).unwrap_or(text);
    let text = match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.'),
        None => text,
    };
    // The year before year 1, as ISO 8601 counts.
    match text.strip_prefix("0000-") {
        Some(rest) => format!("0001-{rest} BC"),
        None => format!("{text}{era}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_the_same() {
        let (pg, lite) = (Product::Postgres, Product::Sqlite);
        assert_eq!(View::Number.same(pg, "-00.50"), View::Number.same(lite, "-0.5"));
        assert_eq!(View::Number.same(pg, "-0.00"), "0");
        assert_ne!(View::Number.same(pg, "100"), View::Number.same(pg, "1"));
        assert_eq!(View::Real64.same(pg, "-0"), View::Real64.same(lite, "0.0"));
        assert_ne!(View::Real64.same(pg, "0.1"), View::Real64.same(lite, "0.10000000000000002"));
        assert_eq!(View::Real32.same(pg, "1.1"), View::Real32.same(lite, "1.10000002384185791016"));
        assert_eq!(View::Time.same(pg, "2024-01-01 10:00:00.500+00"), "2024-01-01 10:00:00.5");
        assert_eq!(View::Time.same(pg, "0044-03-15 10:00:00+00 BC"), "0044-03-15 10:00:00 BC");
        assert_eq!(View::Time.same(lite, "0000-12-31"), View::Time.same(pg, "0001-12-31 BC"));
        assert_eq!(
            View::Json.same(pg, "{\"b\": 1, \"a\":[]}"),
            View::Json.same(pg, "{\"a\":[],\"b\":1}")
        );
        assert_ne!(View::Text.same(pg, "a"), View::Text.same(pg, "a "));
    }
}
