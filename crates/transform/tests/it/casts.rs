//! Casts: what is told of a row and what is written of it are the same, wherever a cast stands.

use std::sync::Arc;

use arrow::array::{
    Array, Date32Array, Float32Array, Float64Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Schema};
use dunlin_engine::moves::{Applied, arrow_field};
use dunlin_model::moves::{OnRowError, ValueType};

use crate::stage::{Stage, output, shown};

/// A row for each place in the lists below; the last one is NULL.
fn rows() -> Stage {
    let moments = || vec![Some(1_500_000), Some(-1), Some(0), Some(253_402_300_799_999_999), None];
    let floats = vec![Some(2.0), Some(2.7), Some(-0.5), Some(1e300), None];
    Stage::new()
        .column("f", ValueType::Float64, Float64Array::from(floats))
        .column(
            "g",
            ValueType::Float32,
            Float32Array::from(vec![Some(2.0), Some(2.5), Some(-0.5), Some(3e38), None]),
        )
        .column(
            "b",
            ValueType::Int64,
            Int64Array::from(vec![Some(7), Some(-1), Some(300), Some(5_000_000_000), None]),
        )
        .column(
            "u",
            ValueType::UInt64,
            UInt64Array::from(vec![Some(7), Some(255), Some(40_000), Some(u64::MAX), None]),
        )
        .column(
            "n",
            ValueType::Numeric { scale: Some(3) },
            StringArray::from(vec![
                Some("2.000"),
                Some("12.345"),
                Some("-0.500"),
                Some("5000000000.000"),
                None,
            ]),
        )
        .texts("s", &[Some("2"), Some("99.5"), Some("x"), Some("5000000000"), None])
        .texts("d", &[Some("2020-02-03"), Some("2020-13-01"), Some(""), Some("12:30"), None])
        .column("t", ValueType::Timestamp, TimestampMicrosecondArray::from(moments()))
        .column(
            "z",
            ValueType::TimestampTz,
            TimestampMicrosecondArray::from(moments()).with_timezone("UTC"),
        )
        .column(
            "e",
            ValueType::Date,
            Date32Array::from(vec![Some(0), Some(40_000), Some(-1), Some(i32::MAX), None]),
        )
}

const NULL: &str = "NULL";

/// A value, the type that it is cast to, and what the five rows then hold. Where a row with a value
/// holds NULL, the cast fails.
const CASTS: &[(&str, &str, [&str; 5])] = &[
    ("f", "SMALLINT", ["2", NULL, NULL, NULL, NULL]),
    ("f", "INT", ["2", NULL, NULL, NULL, NULL]),
    ("f", "BIGINT", ["2", NULL, NULL, NULL, NULL]),
    ("f", "BIGINT UNSIGNED", ["2", NULL, NULL, NULL, NULL]),
    ("f", "DECIMAL(5,0)", ["2", NULL, NULL, NULL, NULL]),
    ("f", "DECIMAL(5,1)", ["2.0", "2.7", "-0.5", NULL, NULL]),
    ("f", "REAL", ["2.0", "2.7", "-0.5", NULL, NULL]),
    (
        "f",
        "TIMESTAMP",
        ["1970-01-01T00:00:02", "1970-01-01T00:00:02.700", "1969-12-31T23:59:59.500", NULL, NULL],
    ),
    ("g", "INT", ["2", NULL, NULL, NULL, NULL]),
    ("g", "BIGINT", ["2", NULL, NULL, NULL, NULL]),
    ("g", "BIGINT UNSIGNED", ["2", NULL, NULL, NULL, NULL]),
    ("g", "DECIMAL(5,0)", ["2", NULL, NULL, NULL, NULL]),
    ("b", "TINYINT", ["7", "-1", NULL, NULL, NULL]),
    ("b", "SMALLINT", ["7", "-1", "300", NULL, NULL]),
    ("b", "INT", ["7", "-1", "300", NULL, NULL]),
    ("b", "BIGINT UNSIGNED", ["7", NULL, "300", "5000000000", NULL]),
    ("b", "DECIMAL(3,0)", ["7", "-1", "300", NULL, NULL]),
    ("b", "DECIMAL(3,2)", ["7.00", "-1.00", NULL, NULL, NULL]),
    ("u", "SMALLINT", ["7", "255", NULL, NULL, NULL]),
    ("u", "INT", ["7", "255", "40000", NULL, NULL]),
    ("u", "BIGINT", ["7", "255", "40000", NULL, NULL]),
    ("u", "DECIMAL(5,0)", ["7", "255", "40000", NULL, NULL]),
    ("n", "INT", ["2", NULL, NULL, NULL, NULL]),
    ("n", "BIGINT", ["2", NULL, NULL, "5000000000", NULL]),
    ("n", "BIGINT UNSIGNED", ["2", NULL, NULL, "5000000000", NULL]),
    ("n", "DECIMAL(6,1)", ["2.0", NULL, "-0.5", NULL, NULL]),
    ("s", "INT", ["2", NULL, NULL, NULL, NULL]),
    ("s", "BIGINT", ["2", NULL, NULL, "5000000000", NULL]),
    ("s", "BIGINT UNSIGNED", ["2", NULL, NULL, "5000000000", NULL]),
    ("s", "DECIMAL(5,0)", ["2", NULL, NULL, NULL, NULL]),
    ("s", "DOUBLE", ["2.0", "99.5", NULL, "5000000000.0", NULL]),
    ("s", "BOOLEAN", [NULL, NULL, NULL, NULL, NULL]),
    ("d", "DATE", ["2020-02-03", NULL, NULL, NULL, NULL]),
    ("d", "TIMESTAMP", ["2020-02-03T00:00:00", NULL, NULL, NULL, NULL]),
    ("d", "TIMESTAMPTZ", ["2020-02-03T00:00:00Z", NULL, NULL, NULL, NULL]),
    ("d", "TIME", [NULL, NULL, NULL, "12:30:00", NULL]),
    ("t", "DATE", ["1970-01-01", "1969-12-31", "1970-01-01", "9999-12-31", NULL]),
    ("z", "DATE", ["1970-01-01", "1969-12-31", "1970-01-01", "9999-12-31", NULL]),
    ("e", "TEXT", ["1970-01-01", "2079-07-08", "1969-12-31", NULL, NULL]),
];

/// Where a cast may stand, `@` being it.
const PLACES: &[(&str, Option<&str>)] = &[
    ("@", None),
    ("named", Some("@")),
    ("coalesce(@, @)", None),
    ("CASE WHEN true THEN @ END", None),
    ("make_array(@)[1]", None),
    ("coalesce(named, named)", Some("@")),
];

fn stage(cast: &str, (place, named): (&str, Option<&str>), on_error: OnRowError) -> Stage {
    let mut stage = rows();
    if let Some(named) = named {
        stage = stage.given("named", &named.replace('@', cast));
    }
    stage.any("x", &place.replace('@', cast)).on_error(on_error)
}

/// The rows that are told of, in order.
fn told_rows(applied: &Applied) -> Vec<usize> {
    applied.failures.iter().map(|failure| failure.row as usize).collect()
}

#[test]
fn what_is_told_of_a_cast_is_what_is_written() {
    for (of, to, wanted) in CASTS {
        let lost: Vec<usize> = (0..4).filter(|row| wanted[*row] == NULL).collect();
        let kept: Vec<&str> =
            (0..5).filter(|row| !lost.contains(row)).map(|row| wanted[row]).collect();
        for place in PLACES {
            let cast = format!("CAST({of} AS {to})");
            let case = format!("{cast} in {place:?}");
            let nulled = stage(&cast, *place, OnRowError::Null).apply();
            assert_eq!(shown(nulled.rows.column(0)), *wanted, "{case}");
            assert_eq!(told_rows(&nulled), lost, "{case}");
            for on_error in [OnRowError::Error, OnRowError::LeaveOut] {
                let without = stage(&cast, *place, on_error).apply();
                assert_eq!(shown(without.rows.column(0)), kept, "{case}");
                assert_eq!(told_rows(&without), lost, "{case}");
            }
            let tried = stage(&format!("TRY_{cast}"), *place, OnRowError::Error).apply();
            assert_eq!(shown(tried.rows.column(0)), *wanted, "TRY_{case}");
            assert_eq!(tried.failures, [], "TRY_{case}");
        }
    }
}

#[test]
fn a_cast_that_fails_in_a_filter_takes_no_row() {
    for (of, to, wanted) in CASTS {
        let lost: Vec<usize> = (0..4).filter(|row| wanted[*row] == NULL).collect();
        let kept: Vec<u32> = (0..4).filter(|row| wanted[*row as usize] != NULL).collect();
        let stage = rows().filter(&format!("CAST({of} AS {to}) IS NOT NULL")).any("x", "f");
        let applied = stage.apply();
        assert_eq!(applied.of.values(), kept.as_slice(), "{of} {to}");
        assert_eq!(told_rows(&applied), lost, "{of} {to}");
        let tried = rows().filter(&format!("TRY_CAST({of} AS {to}) IS NOT NULL")).any("x", "f");
        let tried = tried.apply();
        assert_eq!(tried.of.values(), kept.as_slice(), "TRY {of} {to}");
        assert_eq!(tried.failures, [], "TRY {of} {to}");
    }
}

#[test]
fn a_cast_of_a_new_rows_column_writes_what_it_tells() {
    for (name, to, wanted) in CASTS {
        let mut stage = rows().any("x", "f");
        let place = stage.asked.fields.iter().position(|field| field.name == *name).unwrap();
        stage.asked.new.push(stage.asked.fields[place].clone());
        let values = Arc::clone(&stage.columns[place]);
        for (cast, fails) in [("CAST", true), ("TRY_CAST", false)] {
            let mut late = output("y", &format!("{cast}(new.{name} AS {to})"), None);
            late.on_error = OnRowError::Null;
            stage.asked.late = vec![late];
            let compiled = stage.compiled().unwrap();
            let batch = stage.batch(compiled.as_ref()).into();
            let applied = compiled.apply(&batch).unwrap();
            let field = arrow_field(&stage.asked.new[0], true);
            let options = RecordBatchOptions::new().with_row_count(Some(values.len()));
            let schema = Arc::new(Schema::new(vec![field]));
            let columns = vec![Arc::clone(&values)];
            let new = RecordBatch::try_new_with_options(schema, columns, &options).unwrap();
            let (late, failures) = compiled.late(&batch, &applied, &new).unwrap();
            assert_eq!(shown(late.column(0)), *wanted, "{cast} {name} {to}");
            let lost = (0..4).filter(|row| fails && wanted[*row] == NULL);
            let told: Vec<_> = failures.iter().map(|failure| failure.row as usize).collect();
            assert_eq!(told, lost.collect::<Vec<_>>(), "{cast} {name} {to}");
        }
    }
}

#[test]
fn a_list_fails_where_an_item_does() {
    for (cast, wanted) in [
        ("(make_array(f) AS INT[])", ["[2]", NULL, NULL, NULL, "[NULL]"]),
        (
            "(make_array(s, '1') AS BIGINT[])",
            ["[2, 1]", NULL, NULL, "[5000000000, 1]", "[NULL, 1]"],
        ),
        ("(s AS BIGINT[])", ["[2]", NULL, NULL, "[5000000000]", NULL]),
    ] {
        let lost: Vec<usize> = (0..4).filter(|row| wanted[*row] == NULL).collect();
        let nulled = rows().any("x", &format!("CAST{cast}")).on_error(OnRowError::Null).apply();
        assert_eq!(shown(nulled.rows.column(0)), wanted, "{cast}");
        assert_eq!(told_rows(&nulled), lost, "{cast}");
        let tried = rows().any("x", &format!("TRY_CAST{cast}")).apply();
        assert_eq!(shown(tried.rows.column(0)), wanted, "{cast}");
        assert_eq!(tried.failures, [], "{cast}");
    }
}

#[test]
fn a_text_that_is_another_number_is_told_apart_from_no_number() {
    let stage = rows().any("x", "CAST(s AS INT)");
    let why = "has a fraction, or is too large";
    let wanted = [format!("1 x: {why}"), "2 x: is not a number".to_owned(), format!("3 x: {why}")];
    assert_eq!(stage.failures(), wanted);
    let exponent = Stage::new().texts("s", &[Some("1e3")]).any("x", "CAST(s AS INT)");
    assert_eq!(exponent.failures(), ["0 x: has an exponent"]);
}

#[test]
fn float_is_double_precision_as_in_postgresql() {
    let wide = |cast: &str| {
        let text = Stage::new().texts("s", &[Some("99999999.99")]);
        text.any("x", cast).apply().rows.schema().field(0).data_type().clone()
    };
    for cast in [
        "s::float",
        "s::float8",
        "s::double precision",
        "CAST(s AS FLOAT)",
        "CAST(s AS FLOAT(25))",
        "CAST(s AS FLOAT(53))",
        "TRY_CAST(s AS FLOAT)",
        "FLOAT '1.5'",
        "CAST(make_array(s) AS FLOAT[])[1]",
    ] {
        assert_eq!(wide(cast), DataType::Float64, "{cast}");
    }
    for cast in ["s::real", "s::float4", "CAST(s AS FLOAT(1))", "CAST(s AS FLOAT(24))"] {
        assert_eq!(wide(cast), DataType::Float32, "{cast}");
    }
    let exact = Stage::new().texts("s", &[Some("99999999.99")]).any("x", "s::float");
    assert_eq!(exact.values(), ["99999999.99"]);
    for cast in ["CAST(s AS FLOAT(54))", "CAST(s AS FLOAT(0))", "CAST(s AS FLOAT(10, 2))"] {
        let refused = Stage::new().texts("s", &[Some("1")]).any("x", cast).refused();
        assert!(refused.starts_with("FLOAT(n) has 1 to 53 binary digits"), "{refused}");
    }
    let numbers = Stage::new().texts("s", &[Some("1.234567890123")]);
    let numbers = numbers.any("x", "CAST(make_array(s) AS NUMERIC[])[1]");
    assert_eq!(numbers.values(), ["1.234567890123"]);
}
