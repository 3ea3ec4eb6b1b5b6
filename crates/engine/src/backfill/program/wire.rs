//! What a row program reads: the header, rows, the end of a chunk; one JSON value a line.
//!
//! Written by hand into one buffer, since this is done for every row of a table: names are escaped
//! once, and numbers go out as the text that the server gave.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dunlin_model::{Backfill, Column, Row, Tagged, ValueForm};
use serde_json::json;

/// The version of the protocol: the first member of the header line.
const PROTOCOL: u32 = 1;

/// What of a table the program and we speak about.
pub(super) struct Shape {
    pub(super) columns: Vec<Column>,
    /// All columns of the table.
    pub(super) known: Vec<Column>,
    pub(super) key_names: Vec<String>,
    /// `"name":` of each column, after its comma.
    labels: Vec<Vec<u8>>,
}

impl Shape {
    pub(super) fn of(backfill: &Backfill) -> Self {
        let labels = backfill
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                let mut label = Vec::new();
                if place > 0 {
                    label.push(b',');
                }
                write_text(&mut label, &column.name);
                label.push(b':');
                label
            })
            .collect();
        Self {
            columns: backfill.columns.clone(),
            known: backfill.table_columns.clone(),
            key_names: backfill.key.iter().map(|column| column.name.clone()).collect(),
            labels,
        }
    }

    /// Appends a row's line. The error says what can't be told to a program; it holds no value.
    pub(super) fn write_row(&self, buffer: &mut Vec<u8>, row: &Row) -> Result<(), String> {
        if row.values.len() != self.columns.len() {
            let (got, wanted) = (row.values.len(), self.columns.len());
            return Err(format!("a row was read with {got} values for {wanted} columns"));
        }
        buffer.extend_from_slice(b"{\"key\":[");
        for (place, part) in row.key.0.iter().enumerate() {
            if place > 0 {
                buffer.push(b',');
            }
            write_text(buffer, part);
        }
        buffer.extend_from_slice(b"],\"row\":{");
        for ((column, label), value) in self.columns.iter().zip(&self.labels).zip(&row.values) {
            buffer.extend_from_slice(label);
            match value {
                Some(value) => write_value(buffer, column, value)?,
                None => buffer.extend_from_slice(b"null"),
            }
        }
        buffer.extend_from_slice(b"}}\n");
        Ok(())
    }
}

/// The first line: which table, how its keys and columns travel.
pub(super) fn header(backfill: &Backfill) -> Vec<u8> {
    let key: Vec<_> = backfill
        .key
        .iter()
        .map(|column| json!({ "name": column.name, "type": column.type_name }))
        .collect();
    let columns: Vec<_> = backfill
        .columns
        .iter()
        .map(|column| {
            json!({ "name": column.name, "type": column.type_name, "json": json_kind(column.form) })
        })
        .collect();
    let header =
        json!({ "dunlin": PROTOCOL, "table": backfill.table, "key": key, "columns": columns });
    format!("{header}\n").into_bytes()
}

/// Appends the line that ends a chunk, which the program gives back.
pub(super) fn write_end(buffer: &mut Vec<u8>, chunk: u64) {
    buffer.extend_from_slice(format!("{{\"chunk\":{chunk}}}\n").as_bytes());
}

/// How a column's values look in JSON, in the header's words.
fn json_kind(form: ValueForm) -> &'static str {
    match form.plain() {
        ValueForm::Integer | ValueForm::Float => "number",
        ValueForm::Boolean => "boolean",
        ValueForm::Bytes => "base64",
        ValueForm::Text | ValueForm::Loose(_) => "string",
    }
}

fn write_value(buffer: &mut Vec<u8>, column: &Column, value: &str) -> Result<(), String> {
    if let (ValueForm::Loose(_), Some(tagged)) = (column.form, Tagged::read(value)) {
        return write_tagged(buffer, column, tagged);
    }
    match column.form.plain() {
        // As a whole number it loses its sign in most languages.
        ValueForm::Float if value == "-0" => buffer.extend_from_slice(b"-0.0"),
        // A number that JSON can't write (`NaN`, MySQL's zero-filled `007`) is a string.
        ValueForm::Integer | ValueForm::Float if is_number(value) => {
            buffer.extend_from_slice(value.as_bytes());
        }
        ValueForm::Boolean if matches!(value, "true" | "false") => {
            buffer.extend_from_slice(value.as_bytes());
        }
        ValueForm::Bytes => write_bytes(buffer, column, value)?,
        _ => write_text(buffer, value),
    }
    Ok(())
}

/// A value of another class than the column's type says.
fn write_tagged(buffer: &mut Vec<u8>, column: &Column, tagged: Tagged<'_>) -> Result<(), String> {
    let (class, member) = match tagged {
        Tagged::Integer(_) => ("integer", "value"),
        Tagged::Real(_) => ("real", "value"),
        Tagged::Text(_) => ("text", "value"),
        Tagged::TextBytes(_) => ("text", "base64"),
        Tagged::Blob(_) => ("blob", "base64"),
    };
    buffer.extend_from_slice(format!("{{\"sqlite\":\"{class}\",\"{member}\":").as_bytes());
    match tagged {
        Tagged::Integer(value) | Tagged::Real(value) | Tagged::Text(value) => {
            write_text(buffer, value);
        }
        Tagged::TextBytes(digits) | Tagged::Blob(digits) => write_bytes(buffer, column, digits)?,
    }
    buffer.push(b'}');
    Ok(())
}

fn write_bytes(buffer: &mut Vec<u8>, column: &Column, digits: &str) -> Result<(), String> {
    let bytes = hex::decode(digits)
        .map_err(|_| format!("`{}` was read as something other than bytes", column.name))?;
    buffer.push(b'"');
    buffer.extend_from_slice(BASE64.encode(bytes).as_bytes());
    buffer.push(b'"');
    Ok(())
}

fn write_text(buffer: &mut Vec<u8>, text: &str) {
    // Writing a text into memory has no way to fail.
    let _ = serde_json::to_writer(buffer, text);
}

/// Whether a text is a number by JSON's grammar.
pub(super) fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let (whole, rest) = split_digits(unsigned);
    if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
        return false;
    }
    let rest = match rest {
        [b'.', fraction @ ..] => match split_digits(fraction) {
            ([], _) => return false,
            (_, rest) => rest,
        },
        rest => rest,
    };
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            matches!(split_digits(exponent), ([_, ..], []))
        }
        _ => false,
    }
}

/// Whether a text is a whole number, written as such.
pub(super) fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    matches!(split_digits(digits), ([_, ..], []))
}

fn split_digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

#[cfg(test)]
mod tests {
    use dunlin_model::Key;

    use super::super::tests::backfill;
    use super::*;

    #[test]
    fn numbers_are_those_of_json() {
        for number in ["0", "-0", "17", "-1.5", "1e+20", "1.5e-07", "9E9", "0.10"] {
            assert!(is_number(number), "{number}");
        }
        for other in
            ["", "-", "007", "1.", ".5", "+1", "NaN", "-Infinity", "1e", "1e+", "1 ", "0x1"]
        {
            assert!(!is_number(other), "{other}");
        }
    }

    #[test]
    fn the_header_says_what_travels_how() {
        let header = String::from_utf8(header(&backfill())).unwrap();
        assert!(header.starts_with(
            r#"{"dunlin":1,"table":"posts","key":[{"name":"id","type":"bigint"}],"columns":[{"name":"title","type":"text","json":"string"},"#
        ));
        assert!(header.ends_with("]}\n"));
    }

    #[test]
    fn every_value_keeps_its_text() {
        let row = Row {
            key: Key(vec!["a\"\\\u{1}ä".into()]),
            version: "1".into(),
            values: [
                Some("line\nend \u{2028}"),
                Some("9007199254740993"),
                Some("-5"),
                Some("NaN"),
                Some("true"),
                Some("00ff10"),
                None,
            ]
            .map(|value| value.map(str::to_owned))
            .to_vec(),
        };
        let mut buffer = Vec::new();
        Shape::of(&backfill()).write_row(&mut buffer, &row).unwrap();
        assert_eq!(
            String::from_utf8(buffer).unwrap(),
            concat!(
                r#"{"key":["a\"\\\u0001ä"],"row":{"title":"line\nend "#,
                "\u{2028}",
                r#"","views":"9007199254740993","small":-5,"ratio":"NaN","shown":true,"#,
                r#""raw":"AP8Q","slug":null}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_value_of_another_class_says_its_class() {
        let mut backfill = backfill();
        backfill.columns.truncate(1);
        backfill.columns[0].form = ValueForm::Loose(dunlin_model::Affinity::Numeric);
        let shape = Shape::of(&backfill);
        for (value, json) in [
            ("5".to_owned(), r#""5""#),
            (Tagged::Blob("00ff10").write(), r#"{"sqlite":"blob","base64":"AP8Q"}"#),
            (Tagged::TextBytes("ff").write(), r#"{"sqlite":"text","base64":"/w=="}"#),
            (Tagged::Text("5\"").write(), r#"{"sqlite":"text","value":"5\""}"#),
            (Tagged::Real("1.5").write(), r#"{"sqlite":"real","value":"1.5"}"#),
        ] {
            let row = Row { key: Key(vec![]), version: String::new(), values: vec![Some(value)] };
            let mut buffer = Vec::new();
            shape.write_row(&mut buffer, &row).unwrap();
            let line = format!("{{\"key\":[],\"row\":{{\"title\":{json}}}}}\n");
            assert_eq!(String::from_utf8(buffer).unwrap(), line);
        }
    }

    #[test]
    fn a_row_of_another_shape_is_refused_without_its_values() {
        let row = Row { key: Key(vec!["1".into()]), version: String::new(), values: vec![] };
        let error = Shape::of(&backfill()).write_row(&mut Vec::new(), &row).unwrap_err();
        assert_eq!(error, "a row was read with 0 values for 7 columns");
    }
}
