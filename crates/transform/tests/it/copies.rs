//! What is merely copied arrives unchanged, bit for bit.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, ListArray, MapBuilder, MapFieldNames, StringArray,
    StringBuilder, Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::Int32Type;
use dunlin_model::moves::ValueType;

use crate::stage::{Stage, TEXT, field, shown};

pub(crate) fn map(rows: &[&[(&str, Option<&str>)]]) -> arrow::array::MapArray {
    let names = MapFieldNames {
        entry: "entries".to_owned(),
        key: "keys".to_owned(),
        value: "values".to_owned(),
    };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in *row {
            maps.keys().append_value(key);
            maps.values().append_option(*value);
        }
        maps.append(true).unwrap();
    }
    maps.finish()
}

fn all() -> Vec<(ValueType, ArrayRef)> {
    let text = |values: &[&str]| -> ArrayRef {
        Arc::new(StringArray::from_iter(values.iter().copied().map(Some).chain([None])))
    };
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    vec![
        (ValueType::Boolean, Arc::new(BooleanArray::from(vec![Some(true), None]))),
        (ValueType::Int16, Arc::new(Int16Array::from(vec![i16::MIN, i16::MAX]))),
        (ValueType::Int32, Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX]))),
        (ValueType::Int64, Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]))),
        (ValueType::UInt64, Arc::new(UInt64Array::from(vec![0, u64::MAX]))),
        (ValueType::Float32, Arc::new(Float32Array::from(vec![-0.0, f32::MIN_POSITIVE]))),
        (ValueType::Float64, Arc::new(Float64Array::from(vec![-0.0, 0.1, f64::INFINITY]))),
        (ValueType::Numeric { scale: Some(2) }, text(&["12.50", "0.1", "NaN", "-7", "1.500"])),
        (ValueType::Numeric { scale: None }, text(&["1e-9", "123456789012345678901234567890.5"])),
        (TEXT, text(&["", "ä\u{1F600}", " x "])),
        (ValueType::Text { padded: true }, text(&["a   "])),
        (ValueType::Bytes, Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b""]))),
        (ValueType::Date, Arc::new(Date32Array::from(vec![i32::MIN, i32::MAX, -719_162]))),
        (ValueType::Time, Arc::new(Time64MicrosecondArray::from(vec![0, 86_400_000_000]))),
        (
            ValueType::Timestamp,
            Arc::new(TimestampMicrosecondArray::from(vec![
                i64::MIN,
                i64::MAX,
                9_223_371_331_199_999_999,
            ])),
        ),
        (
            ValueType::TimestampTz,
            Arc::new(
                TimestampMicrosecondArray::from(vec![i64::MIN, 1, i64::MAX]).with_timezone("UTC"),
            ),
        ),
        (ValueType::Json { binary: true }, text(&[r#"{"b":1, "a":12345678901234567890123}"#])),
        (ValueType::Map, Arc::new(map(&[&[("b", None), ("a", Some("1"))], &[]]))),
        (ValueType::List(Box::new(ValueType::Int32)), Arc::new(list)),
        (ValueType::Enum(vec!["a".to_owned(), "b".to_owned()]), text(&["a", "b"])),
        (ValueType::Other, text(&["10.0.0.1", "[1,2)"])),
    ]
}

#[test]
fn every_type_merely_copied() {
    for zone in ["UTC", "Europe/Berlin"] {
        for (of, values) in all() {
            let mut stage = Stage::new().zone(zone).set("x", "\"The Col\"", of.clone());
            stage.asked.fields.push(field("The Col", of.clone()));
            stage.columns.push(Arc::clone(&values));
            let applied = stage.apply();
            assert_eq!(applied.failures, [], "{of:?}");
            assert_eq!(applied.rows.column(0).to_data(), values.to_data(), "{of:?}");
        }
    }
}

#[test]
fn a_uuid_becomes_its_bytes_and_its_text_again() {
    let text = "01234567-89ab-cdef-0123-456789abcdef";
    let stage = Stage::new()
        .column("u", ValueType::Uuid, StringArray::from(vec![text, "nope"]))
        .set("x", "u", ValueType::Uuid);
    assert_eq!(stage.values(), ["0123456789abcdef0123456789abcdef"]);
    assert_eq!(stage.failures(), ["1 x: is not a UUID"]);
    let texts = Stage::new().column("u", ValueType::Uuid, StringArray::from(vec![text]));
    assert_eq!(shown(texts.set("x", "u", TEXT).apply().rows.column(0)), [text]);
}

#[test]
fn a_copy_shares_its_memory() {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let mut stage = Stage::new().set("x", "n", ValueType::Int64);
    stage.asked.fields.push(field("n", ValueType::Int64));
    stage.columns.push(Arc::clone(&values));
    assert!(Arc::ptr_eq(stage.apply().rows.column(0), &values));
}
