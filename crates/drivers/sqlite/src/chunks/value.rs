//! Values on their way to and from a user's program.
//!
//! A column's declared type says how its values travel. SQLite lets a column hold other values
//! too; such a one travels as text as well as it can, and is kept as it is unless the program
//! gives another.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Column, ValueForm};

use super::exact::{Exact, hex, unhex};
use crate::fault::Outcome;

/// How the values of a column of this declared type travel, by SQLite's own rules of affinity.
pub(crate) fn form_of(declared: &str) -> ValueForm {
    let has = |part: &str| declared.to_ascii_lowercase().contains(part);
    if has("int") || has("char") || has("clob") || has("text") {
        ValueForm::Text
    } else if has("blob") {
        ValueForm::Bytes
    } else if has("real") || has("floa") || has("doub") {
        ValueForm::Float
    } else {
        ValueForm::Text
    }
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
pub(crate) fn to_text(column: &Column, value: &Exact) -> Outcome<Option<String>> {
    let text = match value {
        Exact::Null => return Ok(None),
        Exact::Integer(number) => number.to_string(),
        Exact::Real(number) => real_text(*number),
        Exact::Text(bytes) => match String::from_utf8(bytes.clone()) {
            Ok(text) => text,
            Err(_) if column.form == ValueForm::Bytes => return Ok(Some(hex(bytes))),
            Err(_) => {
                return Err(TargetError::new(
                    ErrorKind::Refused,
                    format!("a value of column {} is text that is not UTF-8", column.name),
                )
                .help("repair such rows first, or leave the column out of `columns`")
                .into());
            }
        },
        Exact::Blob(bytes) => return Ok(Some(hex(bytes))),
    };
    Ok(Some(match column.form {
        ValueForm::Bytes => hex(text.as_bytes()),
        _ => text,
    }))
}

/// The value that a text stands for, where a row has `now` in that column.
pub(crate) fn from_text(column: &Column, now: &Exact, text: Option<&str>) -> Outcome<Exact> {
    let Some(given) = text else { return Ok(Exact::Null) };
    if to_text(column, now)?.as_deref() == Some(given) {
        return Ok(now.clone());
    }
    let as_text = || Exact::Text(given.as_bytes().to_vec());
    Ok(match column.form {
        ValueForm::Bytes => Exact::Blob(unhex(given).ok_or_else(|| not_hexadecimal(column))?),
        ValueForm::Float => real(given).map_or_else(as_text, Exact::Real),
        _ if untyped(&column.type_name) => match now {
            Exact::Integer(_) => given.parse().map_or_else(|_| as_text(), Exact::Integer),
            Exact::Real(_) => real(given).map_or_else(as_text, Exact::Real),
            Exact::Blob(_) => unhex(given).map_or_else(as_text, Exact::Blob),
            Exact::Null | Exact::Text(_) => as_text(),
        },
        // The column's affinity makes a number of it, where it is one.
        _ => as_text(),
    })
}

/// Nothing in the declaration tells what its values are.
fn untyped(declared: &str) -> bool {
    declared.is_empty() || declared.eq_ignore_ascii_case("any")
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

fn not_hexadecimal(column: &Column) -> TargetError {
    TargetError::new(
        ErrorKind::Bug,
        format!("a value for column {} is not hexadecimal", column.name),
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
        assert_eq!(form_of("BIGINT"), ValueForm::Text);
        assert_eq!(form_of("charint"), ValueForm::Text);
        assert_eq!(form_of("double precision"), ValueForm::Float);
        assert_eq!(form_of("BLOB"), ValueForm::Bytes);
        assert_eq!(form_of("decimal(10,2)"), ValueForm::Text);
        assert_eq!(form_of(""), ValueForm::Text);
    }

    #[test]
    fn values_come_back_as_they_went() {
        let values = [
            Exact::Null,
            Exact::Integer(i64::MIN),
            Exact::Real(0.1 + 0.2),
            Exact::Real(f64::NEG_INFINITY),
            Exact::Text("é'\0".into()),
            Exact::Blob(vec![0, 255]),
        ];
        for declared in ["", "integer", "real", "text", "blob", "decimal(3,1)"] {
            let column = column(declared);
            for value in &values {
                let text = to_text(&column, value).unwrap();
                let back = from_text(&column, value, text.as_deref()).unwrap();
                assert_eq!(back, *value, "{declared}");
            }
        }
    }

    #[test]
    fn new_values_take_the_class_that_was_there() {
        let any = column("");
        let changed = |now: Exact, text: &str| from_text(&any, &now, Some(text)).unwrap();
        assert_eq!(changed(Exact::Integer(1), "2"), Exact::Integer(2));
        assert_eq!(changed(Exact::Integer(1), "x"), Exact::Text(b"x".to_vec()));
        assert_eq!(changed(Exact::Null, "2"), Exact::Text(b"2".to_vec()));
        let blob = from_text(&column("blob"), &Exact::Null, Some("00ff")).unwrap();
        assert_eq!(blob, Exact::Blob(vec![0, 255]));
    }
}
