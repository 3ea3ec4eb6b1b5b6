//! Values on their way to and from a user's program.
//!
//! A column's declared type says how its own values travel. SQLite lets a column hold other values
//! too; such a one is tagged with its storage class, so that it comes back as what it was.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Affinity, Column, Tagged, ValueForm};

use super::exact::{Exact, hex, unhex};
use crate::fault::Outcome;

/// How the values of a column of this declared type travel, by SQLite's own rules of affinity.
pub(crate) fn form_of(declared: &str) -> ValueForm {
    ValueForm::Loose(match affinity_of(declared) {
        "text" => Affinity::Text,
        "real" => Affinity::Real,
        "blob" if declared.is_empty() => Affinity::None,
        "blob" => Affinity::Blob,
        "any" => Affinity::None,
        _ => Affinity::Numeric,
    })
}

/// The affinity of a column of this declared type: what SQLite makes of values that are put there.
pub(super) fn affinity_of(declared: &str) -> &'static str {
    let has = |part: &str| declared.to_ascii_lowercase().contains(part);
    if has("int") {
        "integer"
    } else if has("char") || has("clob") || has("text") {
        "text"
    } else if has("blob") || declared.is_empty() {
        "blob"
    } else if has("real") || has("floa") || has("doub") {
        "real"
    } else if declared.eq_ignore_ascii_case("any") {
        "any"
    } else {
        "numeric"
    }
}

/// A value as text.
pub(crate) fn to_text(column: &Column, value: &Exact) -> Option<String> {
    let affinity = affinity(column);
    Some(match value {
        Exact::Null => return None,
        Exact::Integer(number) => match affinity {
            Affinity::Numeric => number.to_string(),
            _ => Tagged::Integer(&number.to_string()).write(),
        },
        Exact::Real(number) => match affinity {
            Affinity::Real => real_text(*number),
            Affinity::Numeric if number.is_finite() => real_text(*number),
            _ => Tagged::Real(&real_text(*number)).write(),
        },
        Exact::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if is_plain(affinity, text) => text.to_owned(),
            Ok(text) => Tagged::Text(text).write(),
            Err(_) => Tagged::TextBytes(&hex(bytes)).write(),
        },
        Exact::Blob(bytes) => match affinity {
            Affinity::Blob => hex(bytes),
            _ => Tagged::Blob(&hex(bytes)).write(),
        },
    })
}

/// Whether a text is one of such a column's own, and would be taken for nothing else.
fn is_plain(affinity: Affinity, text: &str) -> bool {
    let fits = match affinity {
        Affinity::Text | Affinity::None => true,
        Affinity::Numeric => number(text).is_none(),
        Affinity::Real | Affinity::Blob => false,
    };
    fits && !text.starts_with('\0')
}

/// The value that a text stands for.
pub(crate) fn from_text(column: &Column, text: Option<&str>) -> Outcome<Exact> {
    let Some(given) = text else { return Ok(Exact::Null) };
    let none = || no_value(column);
    let as_text = || Exact::Text(given.as_bytes().to_vec());
    Ok(match Tagged::read(given) {
        Some(Tagged::Integer(digits)) => Exact::Integer(digits.parse().map_err(|_| none())?),
        Some(Tagged::Real(digits)) => Exact::Real(real(digits).ok_or_else(none)?),
        Some(Tagged::Text(text)) => Exact::Text(text.as_bytes().to_vec()),
        Some(Tagged::TextBytes(digits)) => Exact::Text(unhex(digits).ok_or_else(none)?),
        Some(Tagged::Blob(digits)) => Exact::Blob(unhex(digits).ok_or_else(none)?),
        None => match affinity(column) {
            Affinity::Blob => Exact::Blob(unhex(given).ok_or_else(none)?),
            Affinity::Real => real(given).map_or_else(as_text, Exact::Real),
            Affinity::Numeric => number(given).unwrap_or_else(as_text),
            Affinity::Text | Affinity::None => as_text(),
        },
    })
}

fn affinity(column: &Column) -> Affinity {
    match column.form {
        ValueForm::Loose(affinity) => affinity,
        _ => Affinity::None,
    }
}

fn real_text(number: f64) -> String {
    if number == f64::INFINITY {
        "Infinity".to_owned()
    } else if number == f64::NEG_INFINITY {
        "-Infinity".to_owned()
    } else {
        format!("{number:?}")
    }
}

/// SQLite has no NaN.
fn real(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| !number.is_nan())
}

/// The number that a text is. SQLite would find the same, but not to the last digit in all versions.
fn number(text: &str) -> Option<Exact> {
    let whole = || text.parse().ok().map(Exact::Integer);
    whole().or_else(|| real(text).filter(|real| real.is_finite()).map(Exact::Real))
}

fn no_value(column: &Column) -> TargetError {
    TargetError::new(
        ErrorKind::Bug,
        format!("a value for column {} has none of the forms that it may have", column.name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(declared: &str) -> Column {
        Column {
            name: "c".to_owned(),
            type_name: declared.to_owned(),
            form: form_of(declared),
            nullable: true,
            generated: false,
            identity: false,
        }
    }

    #[test]
    fn forms_follow_affinity() {
        assert_eq!(form_of("BIGINT"), ValueForm::Loose(Affinity::Numeric));
        assert_eq!(form_of("charint"), ValueForm::Loose(Affinity::Numeric));
        assert_eq!(form_of("varchar(3)"), ValueForm::Loose(Affinity::Text));
        assert_eq!(form_of("double precision"), ValueForm::Loose(Affinity::Real));
        assert_eq!(form_of("BLOB"), ValueForm::Loose(Affinity::Blob));
        assert_eq!(form_of("decimal(10,2)"), ValueForm::Loose(Affinity::Numeric));
        assert_eq!(form_of(""), ValueForm::Loose(Affinity::None));
        assert_eq!(form_of("any"), ValueForm::Loose(Affinity::None));
    }

    #[test]
    fn values_come_back_as_they_went() {
        let values = [
            Exact::Null,
            Exact::Integer(5),
            Exact::Integer(i64::MIN),
            Exact::Real(3.0),
            Exact::Real(0.1 + 0.2),
            Exact::Real(f64::NEG_INFINITY),
            Exact::Text(Vec::new()),
            Exact::Text(b"5".to_vec()),
            Exact::Text(b"1.50".to_vec()),
            Exact::Text(b"00ff".to_vec()),
            Exact::Text(b"Infinity".to_vec()),
            Exact::Text("é'\0".into()),
            Exact::Text(b"\0i5".to_vec()),
            Exact::Text(vec![0xff, 0]),
            Exact::Blob(Vec::new()),
            Exact::Blob(b"31".to_vec()),
            Exact::Blob(vec![0, 255]),
        ];
        for declared in ["", "any", "integer", "real", "text", "blob", "uuid", "decimal(3,1)"] {
            let column = column(declared);
            for value in &values {
                let text = to_text(&column, value);
                let back = from_text(&column, text.as_deref()).unwrap();
                assert_eq!(back, *value, "{declared}");
            }
        }
    }

    #[test]
    fn a_columns_own_values_are_not_tagged() {
        for (declared, value, text) in [
            ("integer", Exact::Integer(5), "5"),
            ("datetime", Exact::Text(b"2026-01-02 03:04:05".to_vec()), "2026-01-02 03:04:05"),
            ("datetime", Exact::Integer(1_700_000_000), "1700000000"),
            ("decimal(10,2)", Exact::Real(0.25), "0.25"),
            ("real", Exact::Real(f64::INFINITY), "Infinity"),
            ("text", Exact::Text(b"5".to_vec()), "5"),
            ("", Exact::Text(b"5".to_vec()), "5"),
            ("blob", Exact::Blob(vec![0, 255]), "00ff"),
        ] {
            assert_eq!(to_text(&column(declared), &value).as_deref(), Some(text), "{declared}");
        }
    }
}
