//! What a declared type says about a column's values.

use dunlin_model::moves::ValueType;

/// SQLite's affinities: what it makes of a value before it stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

/// By SQLite's own rules, which look for parts of the name, in this order.
pub(super) fn affinity(declared: &str) -> Affinity {
    let name = declared.to_ascii_lowercase();
    let has = |part: &str| name.contains(part);
    if has("int") {
        Affinity::Integer
    } else if has("char") || has("clob") || has("text") {
        Affinity::Text
    } else if has("blob") || name.trim().is_empty() {
        Affinity::Blob
    } else if has("real") || has("floa") || has("doub") {
        Affinity::Real
    } else {
        Affinity::Numeric
    }
}

/// What a column holds. Names that mean something to people come first; SQLite's affinity decides
/// the rest. A name that tells nothing (`STRING`, `money`), or none at all, can hold any value: it
/// travels as text.
pub(super) fn value_type(declared: &str) -> ValueType {
    let (name, arguments) = parts(declared);
    match name.as_str() {
        "boolean" | "bool" => return ValueType::Boolean,
        "date" => return ValueType::Date,
        "datetime" | "timestamp" | "timestamp without time zone" => return ValueType::Timestamp,
        "timestamptz" | "timestamp with time zone" => return ValueType::TimestampTz,
        "time" | "time without time zone" => return ValueType::Time,
        "uuid" => return ValueType::Uuid,
        "json" | "jsonb" => return ValueType::Json { binary: false },
        "numeric" | "decimal" => {
            let scale = arguments.split_once(',').and_then(|(_, scale)| scale.trim().parse().ok());
            return ValueType::Numeric { scale };
        }
        _ => {}
    }
    match affinity(declared) {
        Affinity::Integer => ValueType::Int64,
        Affinity::Text => ValueType::Text { padded: false },
        Affinity::Real => ValueType::Float64,
        Affinity::Blob if !name.is_empty() => ValueType::Bytes,
        Affinity::Blob | Affinity::Numeric => ValueType::Other,
    }
}

/// The name in lower case with single blanks, and what stands in parentheses in it.
fn parts(declared: &str) -> (String, String) {
    let lower = declared.to_ascii_lowercase();
    let (before, rest) = lower.split_once('(').unwrap_or((&lower, ""));
    let (arguments, after) = rest.split_once(')').unwrap_or((rest, ""));
    let words: Vec<&str> = before.split_whitespace().chain(after.split_whitespace()).collect();
    (words.join(" "), arguments.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types() {
        let text = ValueType::Text { padded: false };
        let cases = [
            ("INTEGER", ValueType::Int64),
            ("unsigned big int", ValueType::Int64),
            ("boolean", ValueType::Boolean),
            ("varchar(80)", text.clone()),
            ("TEXT", text),
            ("double precision", ValueType::Float64),
            ("BLOB", ValueType::Bytes),
            ("", ValueType::Other),
            ("decimal(10, 2)", ValueType::Numeric { scale: Some(2) }),
            ("NUMERIC", ValueType::Numeric { scale: None }),
            ("datetime(6)", ValueType::Timestamp),
            ("TIMESTAMP (6) WITH TIME ZONE", ValueType::TimestampTz),
            ("DATE", ValueType::Date),
            ("inet", ValueType::Other),
            ("STRING", ValueType::Other),
        ];
        for (declared, expected) in cases {
            assert_eq!(value_type(declared), expected, "{declared}");
        }
    }
}
