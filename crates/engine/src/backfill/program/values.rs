//! What a column is set to, from a program's JSON to the driver's form.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use dunlin_model::{Affinity, Column, Tagged, ValueForm};
use serde::Deserialize;

use super::wire::is_whole;

/// Base64 as programs write it: some leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A value in its driver's form, from what the program wrote. Numbers keep their digits.
pub(super) fn read_value(column: &Column, raw: &str) -> Result<Option<String>, String> {
    let wrong = |what: &str| wrong(column, what);
    let form = column.form.plain();
    match raw.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b't' | b'f') if form == ValueForm::Boolean => Ok(Some(raw.to_owned())),
        Some(b't' | b'f') => Err(wrong("a boolean")),
        Some(b'"') => read_string(column, raw).map(Some),
        Some(b'{') if is_loose(column) => read_tagged(column, raw).map(Some),
        Some(b'{') => Err(wrong("an object (JSON is set as a string that holds it)")),
        Some(b'[') => Err(wrong("a list (JSON is set as a string that holds it)")),
        _ => match form {
            // Nothing else says that it is to be a number.
            ValueForm::Text if column.form == ValueForm::Loose(Affinity::None) => {
                number(raw).map(Some).ok_or_else(|| wrong("a number that is too large"))
            }
            ValueForm::Integer if !is_whole(raw) => {
                Err(wrong("a number with a fraction or an exponent"))
            }
            ValueForm::Boolean | ValueForm::Bytes => Err(wrong("a number")),
            _ => Ok(Some(raw.to_owned())),
        },
    }
}

fn wrong(column: &Column, what: &str) -> String {
    let wanted = match column.form.plain() {
        ValueForm::Integer => "a whole number",
        ValueForm::Float => "a number, or a string such as \"NaN\"",
        ValueForm::Boolean => "true or false",
        ValueForm::Bytes => "a string of base64",
        ValueForm::Text | ValueForm::Loose(_) => "a string or a number",
    };
    let tagged = if is_loose(column) { ", or {\"sqlite\": class, \"value\": …}" } else { "" };
    let (name, type_name) = (&column.name, &column.type_name);
    format!("sets `{name}` ({type_name}) to {what}: it takes {wanted}{tagged}, or null")
}

fn is_loose(column: &Column) -> bool {
    matches!(column.form, ValueForm::Loose(_))
}

fn read_string(column: &Column, raw: &str) -> Result<String, String> {
    let text: String =
        serde_json::from_str(raw).map_err(|_| wrong(column, "a string with a broken escape"))?;
    match column.form.plain() {
        // What begins so stands for something else in the driver's form.
        _ if is_loose(column) && text.starts_with('\0') => Ok(Tagged::Text(&text).write()),
        ValueForm::Integer if !is_whole(&text) => Err(wrong(column, "a string that is none")),
        ValueForm::Boolean => Err(wrong(column, "a string")),
        ValueForm::Bytes => match BASE64.decode(&text) {
            Ok(bytes) => Ok(hex::encode(bytes)),
            Err(_) => Err(wrong(column, "a string that is none")),
        },
        _ => Ok(text),
    }
}

/// A value with its class, as the program got it or made it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithClass {
    sqlite: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    base64: Option<String>,
}

fn read_tagged(column: &Column, raw: &str) -> Result<String, String> {
    let wrong = || {
        wrong(
            column,
            "an object that is no value (one is {\"sqlite\": \"integer\", \"real\" or \"text\", \
             \"value\": a string}, or {\"sqlite\": \"blob\" or \"text\", \"base64\": a string})",
        )
    };
    let given: WithClass = serde_json::from_str(raw).map_err(|_| wrong())?;
    let bytes = |text: &str| BASE64.decode(text).map(hex::encode).map_err(|_| wrong());
    Ok(match (given.sqlite.as_str(), &given.value, &given.base64) {
        ("integer", Some(value), None) if value.parse::<i64>().is_ok() => {
            Tagged::Integer(value).write()
        }
        ("real", Some(value), None) if is_real(value) => Tagged::Real(value).write(),
        ("text", Some(value), None) => Tagged::Text(value).write(),
        ("text", None, Some(digits)) => Tagged::TextBytes(&bytes(digits)?).write(),
        ("blob", None, Some(digits)) => Tagged::Blob(&bytes(digits)?).write(),
        _ => return Err(wrong()),
    })
}

/// A number of JSON's with its class.
fn number(raw: &str) -> Option<String> {
    if raw.parse::<i64>().is_ok() {
        return Some(Tagged::Integer(raw).write());
    }
    (!is_whole(raw) && is_real(raw)).then(|| Tagged::Real(raw).write())
}

/// Whether it is a floating point number, or an infinity by its name.
fn is_real(text: &str) -> bool {
    matches!(text, "Infinity" | "-Infinity") || text.parse().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(affinity: Affinity) -> Column {
        Column {
            name: "c".to_owned(),
            type_name: "numeric".to_owned(),
            form: ValueForm::Loose(affinity),
            nullable: true,
            generated: false,
            identity: false,
        }
    }

    fn read(affinity: Affinity, raw: &str) -> Result<Option<String>, String> {
        read_value(&column(affinity), raw)
    }

    #[test]
    fn a_value_may_say_its_class() {
        for (raw, tagged) in [
            (r#"{"sqlite":"integer","value":"-5"}"#, Tagged::Integer("-5")),
            (r#"{"sqlite":"real","value":"1e300"}"#, Tagged::Real("1e300")),
            (r#"{"sqlite":"real","value":"-Infinity"}"#, Tagged::Real("-Infinity")),
            (r#"{"sqlite":"text","value":"\u0000é"}"#, Tagged::Text("\0é")),
            (r#"{"sqlite":"text","base64":"/w"}"#, Tagged::TextBytes("ff")),
            (r#"{"sqlite":"blob","base64":"AP8="}"#, Tagged::Blob("00ff")),
        ] {
            let given = read(Affinity::Numeric, raw).unwrap().unwrap();
            assert_eq!(Tagged::read(&given), Some(tagged), "{raw}");
        }
        for wrong in [
            r#"{"sqlite":"integer","value":"5.0"}"#,
            r#"{"sqlite":"integer","value":"9223372036854775808"}"#,
            r#"{"sqlite":"real","value":"NaN"}"#,
            r#"{"sqlite":"real","value":"1e400"}"#,
            r#"{"sqlite":"blob","value":"secret"}"#,
            r#"{"sqlite":"blob","base64":"secret!"}"#,
            r#"{"sqlite":"text","value":"a","base64":"AP8="}"#,
            r#"{"sqlite":"null"}"#,
            r#"{"secret":"text","value":"a"}"#,
        ] {
            let error = read(Affinity::Numeric, wrong).unwrap_err();
            assert!(
                error.starts_with("sets `c` (numeric) to an object that is no value"),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_number_stays_one_where_no_type_is_declared() {
        let number = |raw| read(Affinity::None, raw).unwrap().unwrap();
        assert_eq!(Tagged::read(&number("5")), Some(Tagged::Integer("5")));
        assert_eq!(Tagged::read(&number("5.0")), Some(Tagged::Real("5.0")));
        assert_eq!(read(Affinity::None, "\"5\"").unwrap().as_deref(), Some("5"));
        assert!(read(Affinity::None, "9223372036854775808").is_err(), "no number that it has");
        assert_eq!(read(Affinity::Text, "0.10").unwrap().as_deref(), Some("0.10"), "digits");
    }

    #[test]
    fn a_text_that_looks_tagged_is_a_text() {
        for affinity in [Affinity::Text, Affinity::Numeric, Affinity::Real, Affinity::None] {
            let given = read(affinity, "\"\\u0000i5\"").unwrap().unwrap();
            assert_eq!(Tagged::read(&given), Some(Tagged::Text("\0i5")));
        }
    }
}
