//! NDJSON and Parquet.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, DictionaryArray, Int32Array, Int64Array,
    ListBuilder, StringArray, StringBuilder, StructArray, TimestampMillisecondArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type};
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::ValueType;
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::{Folder, relation, told};

#[tokio::test]
async fn ndjson_has_types_lists_and_json() {
    let text = r#"{"id": 2, "name": "B\u00e9", "price": 1.50, "tags": ["x", null], "n": [1, 2], "more": {"a": [1,  {"b": null}]}}
{"name": null, "id": 1, "price": 12345678901234567890.123, "mixed": "1"}

{"id": 3, "mixed": 1, "ok": true}
"#;
    let folder = Folder::with(&[("t.ndjson", text.as_bytes())]);
    let says = "[from.t]\nkey = \"id\"\n";
    let mut source = folder.opened(says).await;
    let fields = relation(source.as_mut(), "t").await.fields;
    let types: Vec<(&str, &str)> =
        fields.iter().map(|field| (field.name.as_str(), field.type_name.as_str())).collect();
    assert_eq!(
        types,
        [
            ("id", "int64"),
            ("name", "text"),
            ("price", "decimal"),
            ("tags", "list of text"),
            ("n", "list of int64"),
            ("more", "json"),
            ("mixed", "text"),
            ("ok", "bool"),
        ]
    );
    let (rows, unread) = folder.read("t", says).await;
    let n = "NULL";
    assert_eq!(
        rows,
        [
            ["1", n, "12345678901234567890.123", n, n, n, "1", n],
            ["2", "Bé", "1.50", "[x, NULL]", "[1, 2]", r#"{"a": [1,  {"b": null}]}"#, n, n],
            ["3", n, n, n, n, n, "1", "true"],
        ]
    );
    assert_eq!(unread.count, 0);
}

/// Another type would be another key, and another id, for every row.
#[tokio::test]
async fn one_odd_number_changes_no_key() {
    let text = "{\"id\": 1, \"n\": 1}\n{\"id\": 2, \"n\": 2.5}\n{\"id\": 3.0, \"n\": 3}\n";
    let folder = Folder::with(&[("t.ndjson", text.as_bytes())]);
    let says = "[from.t]\nkey = \"id\"\n";
    let mut source = folder.opened(says).await;
    let fields = relation(source.as_mut(), "t").await.fields;
    let types: Vec<&str> = fields.iter().map(|field| field.type_name.as_str()).collect();
    assert_eq!(types, ["int64", "decimal"]);
    let (rows, unread) = folder.read("t", says).await;
    assert_eq!(rows, [["1", "1"], ["2", "2.5"]]);
    assert_eq!(told(&unread), ["t.ndjson:3 `id` holds no whole number"]);
}

#[tokio::test]
async fn lines_of_ndjson_that_are_no_rows_are_told() {
    let mut text = String::from("{\"id\": 1, \"n\": 1}\r\n");
    // Enough that what follows is not looked at for the columns.
    let wide = "x".repeat(2_000);
    for id in 2..9_000 {
        text.push_str(&format!("{{\"id\": {id}, \"n\": 5, \"wide\": \"{wide}\"}}\n"));
    }
    text.push_str("{\"id\": 1000000, \"n\": \"six\"}\n[1]\n{\"id\": 1000001, \"late\": 1}\n");
    text.push_str("{\"id\": 7, \"n\": 7, \"n\": 8}\n{\"n\": 1}\n{\"id\": 1000002, \"n\"");
    let folder = Folder::with(&[("t.jsonl", text.as_bytes())]);
    let (rows, unread) = folder.read("t", "[from.t]\nkey = \"id\"\n").await;
    assert_eq!(rows.len(), 9_000);
    let why = "(holds something else than a number, as most records have: give its type under \
               `types`)";
    assert!(rows[8_999].iter().any(|cell| cell == why), "{:?}", rows[8_999]);
    assert_eq!(
        told(&unread),
        [
            "t.jsonl:9001 is no JSON object, or has a name twice",
            "t.jsonl:9002 has a name that the first records hadn't: give all that there may be a \
             type under `types`",
            "t.jsonl:9003 is no JSON object, or has a name twice",
            "t.jsonl:9004 has no key: `id` is NULL",
            "t.jsonl:9005 ends in the middle of its JSON",
        ]
    );
    // With types there is nothing to guess.
    let says =
        "[from.t]\nkey = \"id\"\ntypes = { id = \"int64\", n = \"text\", late = \"int16\" }\n";
    let (rows, unread) = folder.read("t", says).await;
    assert_eq!((rows.len(), unread.count), (9_001, 4));
    assert_eq!(rows[8_999][..2], ["1000000", "six"]);
}

fn parquet(columns: Vec<(&str, ArrayRef)>, compression: Compression) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .expect("a batch");
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("written")
}

fn all_types() -> Vec<(&'static str, ArrayRef)> {
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("a"), None]);
    tags.append_null();
    tags.append_value([] as [Option<&str>; 0]);
    let inner = Field::new("n", DataType::Int32, true);
    let inside: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let amounts = Decimal128Array::from(vec![Some(1250), Some(-1), None]);
    let words: DictionaryArray<Int32Type> = vec![Some("x"), None, Some("x")].into_iter().collect();
    vec![
        ("id", Arc::new(Int64Array::from(vec![3, 1, 2]))),
        ("amount", Arc::new(amounts.with_precision_and_scale(20, 2).expect("a scale"))),
        ("day", Arc::new(Date32Array::from(vec![Some(0), Some(-719_162), None]))),
        (
            "at",
            Arc::new(
                TimestampMillisecondArray::from(vec![Some(1_500), Some(-1), None])
                    .with_timezone("Europe/Berlin"),
            ),
        ),
        ("local", Arc::new(TimestampNanosecondArray::from(vec![Some(1_000), Some(0), None]))),
        ("raw", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\xff\x00"), Some(b""), None]))),
        ("word", Arc::new(words)),
        ("tags", Arc::new(tags.finish())),
        ("nested", Arc::new(StructArray::from(vec![(Arc::new(inner), inside)]))),
    ]
}

#[tokio::test]
async fn parquet_keeps_its_types() {
    for compression in [
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
    ] {
        let folder = Folder::with(&[("t.parquet", &parquet(all_types(), compression))]);
        let says = "[from.t]\nkey = \"id\"\n";
        let mut source = folder.opened(says).await;
        let relation = relation(source.as_mut(), "t").await;
        assert_eq!(relation.row_count_estimate, Some(3));
        let types: Vec<ValueType> =
            relation.fields.iter().map(|field| field.value_type.clone()).collect();
        let text = ValueType::Text { padded: false };
        assert_eq!(
            types,
            [
                ValueType::Int64,
                ValueType::Numeric { scale: Some(2) },
                ValueType::Date,
                ValueType::TimestampTz,
                ValueType::Timestamp,
                ValueType::Bytes,
                text.clone(),
                ValueType::List(Box::new(text)),
                ValueType::Json { binary: false },
            ]
        );
        let (rows, unread) = folder.read("t", says).await;
        assert_eq!(unread.count, 0);
        let n = "NULL";
        assert_eq!(
            rows,
            [
                [
                    "1",
                    "-0.01",
                    "0001-01-01",
                    "1969-12-31T23:59:59.999",
                    "1970-01-01T00:00:00",
                    "",
                    n,
                    n,
                    "{}"
                ],
                ["2", n, n, n, n, n, "x", "[]", "{\"n\":3}"],
                [
                    "3",
                    "12.50",
                    "1970-01-01",
                    "1970-01-01T00:00:01.500",
                    "1970-01-01T00:00:00.000001",
                    "ff00",
                    "x",
                    "[a, NULL]",
                    "{\"n\":1}"
                ],
            ]
        );
    }
}

#[tokio::test]
async fn what_a_move_can_not_hold_is_told() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("a"), Some("c")]))),
        ("at", Arc::new(TimestampNanosecondArray::from(vec![1_001, 2_000, 0, 0, i64::MAX]))),
    ];
    let bytes = parquet(columns, Compression::UNCOMPRESSED);
    let folder = Folder::with(&[("t.parquet", &bytes)]);
    let (rows, unread) = folder.read("t", "[from.t]\nkey = \"id\"\n").await;
    let fine = "(holds a time finer than microseconds)";
    let bad = rows.iter().filter(|row| row.iter().any(|cell| cell == fine)).count();
    assert_eq!((rows.len(), bad), (3, 2), "{rows:?}");
    assert_eq!(
        told(&unread),
        ["t.parquet:3 has no key: `id` is NULL", "t.parquet:4 has the key of t.parquet:1"]
    );
    let wrong = folder.mistakes("[from.t]\nkey = \"id\"\ntypes = { id = \"int64\" }\n").await;
    assert_eq!(wrong[0].message, "t.parquet says itself what its columns hold");
}
