//! What DataFusion does without a word, and we don't: one test each.

use arrow::array::{
    AsArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use dunlin_model::moves::{OnRowError, ValueType};

use crate::stage::{Stage, TEXT};

fn whole(values: Vec<i64>) -> Stage {
    Stage::new().column("n", ValueType::Int64, Int64Array::from(values))
}

#[test]
fn whole_numbers_never_wrap() {
    for text in ["n + 1", "n * 2", "n - -1", "-(n * -1 - 1) + n"] {
        let stage = whole(vec![1, i64::MAX, 3]).set("x", text, ValueType::Int64);
        assert_eq!(stage.failures(), ["1 x: is out of range"], "{text}");
        assert_eq!(stage.apply().of.values(), &[0, 2], "{text}");
    }
    let stage = whole(vec![i64::MIN, 5]).set("x", "-n", ValueType::Int64);
    assert_eq!(stage.failures(), ["0 x: is out of range"]);
    assert_eq!(stage.values(), ["-5"]);
}

#[test]
fn constants_are_not_folded_into_wrong_ones() {
    let stage = whole(vec![1]).set("x", "9223372036854775807 + 1", ValueType::Int64);
    assert_eq!(stage.failures(), ["0 x: is out of range"]);
    let guarded = "CASE WHEN n = 1 THEN 5 ELSE 1 / 0 END";
    assert_eq!(whole(vec![1]).set("x", guarded, ValueType::Int64).values(), ["5"]);
    let guarded = "CASE WHEN n = 1 THEN 5 ELSE CAST('x' AS BIGINT) END";
    assert_eq!(whole(vec![1]).set("x", guarded, ValueType::Int64).values(), ["5"]);
}

#[test]
fn division_by_zero_is_one_rows() {
    for text in ["10 / n", "10 % n"] {
        let stage = whole(vec![1, 0, 5]).set("x", text, ValueType::Int64);
        assert_eq!(stage.failures(), ["1 x: division by zero"], "{text}");
    }
    let guarded = whole(vec![1, 0, 5]).any("x", "n <> 0 AND 10 / n > 1");
    assert_eq!(guarded.values(), ["true", "false", "true"]);
}

#[test]
fn years_1_and_9999_are_times() {
    for target in ["TIMESTAMP", "TIMESTAMPTZ"] {
        let text = format!("CAST(t AS {target})");
        let of = if target == "TIMESTAMP" { ValueType::Timestamp } else { ValueType::TimestampTz };
        let stage = Stage::new()
            .texts("t", &[Some("0001-01-01 00:00:00"), Some("9999-12-31T23:59:59.999999")])
            .set("x", &text, of);
        let applied = stage.apply();
        assert_eq!(applied.failures, []);
        let times = applied.rows.column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.values(), &[-62_135_596_800_000_000, 253_402_300_799_999_999]);
    }
    let literal = Stage::new().any("x", "TIMESTAMP '9999-12-31 00:00:00' > TIMESTAMP '0001-01-01'");
    assert_eq!(literal.values(), ["true"]);
    let day = Stage::new()
        .column("d", ValueType::Date, Date32Array::from(vec![2_932_896]))
        .any("x", "d < TIMESTAMP '9999-12-31 12:00:00'");
    assert_eq!(day.values(), ["true"]);
}

#[test]
fn one_bad_row_fails_alone_among_ten_thousand() {
    let mut texts: Vec<String> = (0..10_000).map(|row| row.to_string()).collect();
    texts[7_345] = "TBD".to_owned();
    // Once as the cast at the root, once within.
    for text in ["CAST(t AS BIGINT)", "CAST(t AS BIGINT) + 0"] {
        let stage = Stage::new().column("t", TEXT, StringArray::from(texts.clone())).set(
            "x",
            text,
            ValueType::Int64,
        );
        let applied = stage.apply();
        assert_eq!(crate::stage::told(&applied), ["7345 x: is not a number"]);
        assert_eq!(applied.rows.num_rows(), 9_999);
        let values = applied.rows.column(0).as_primitive::<Int64Type>();
        for (of, value) in applied.of.values().iter().zip(values.values()) {
            assert_eq!(i64::from(*of), *value);
        }
    }
}

#[test]
fn concat_leaves_null_out_and_bars_do_not() {
    let stage = Stage::new().texts("t", &[Some("a"), None]);
    assert_eq!(stage.any("x", "concat(t, '!')").values(), ["a!", "!"]);
    let stage = Stage::new().texts("t", &[Some("a"), None]);
    assert_eq!(stage.any("x", "t || '!'").values(), ["a!", "NULL"]);
}

#[test]
fn finite_is_null_for_infinities() {
    let days = Stage::new()
        .column(
            "d",
            ValueType::Date,
            Date32Array::from(vec![Some(i32::MAX), Some(1), Some(i32::MIN), None]),
        )
        .set("x", "finite(d)", ValueType::Date);
    assert_eq!(days.values(), ["NULL", "1970-01-02", "NULL", "NULL"]);
    let times = Stage::new()
        .column(
            "d",
            ValueType::Timestamp,
            TimestampMicrosecondArray::from(vec![i64::MAX, 0, i64::MIN]),
        )
        .set("x", "finite(d)", ValueType::Timestamp);
    assert_eq!(times.values(), ["NULL", "1970-01-01T00:00:00", "NULL"]);
    let floats = Stage::new()
        .column("d", ValueType::Float64, Float64Array::from(vec![f64::NAN, 1.5, f64::INFINITY]))
        .set("x", "finite(d)", ValueType::Float64);
    assert_eq!(floats.values(), ["NULL", "1.5", "NULL"]);
}

#[test]
fn infinities_survive() {
    let days = || Date32Array::from(vec![i32::MAX, i32::MIN, 1]);
    for zone in ["UTC", "Europe/Berlin"] {
        let stage = Stage::new()
            .column("d", ValueType::Date, days())
            .zone(zone)
            .set("date", "d", ValueType::Date)
            .set("local", "d", ValueType::Timestamp)
            .set("instant", "d", ValueType::TimestampTz)
            .set("there", "CAST(CAST(d AS TIMESTAMPTZ) AS DATE)", ValueType::Date);
        let applied = stage.apply();
        assert_eq!(applied.failures, []);
        for name in ["date", "there"] {
            let column = applied.rows.column_by_name(name).unwrap();
            assert_eq!(column.as_primitive::<Date32Type>().values(), days().values(), "{name}");
        }
        for name in ["local", "instant"] {
            let column = applied.rows.column_by_name(name).unwrap();
            let column = column.as_primitive::<TimestampMicrosecondType>();
            assert_eq!(column.values()[..2], [i64::MAX, i64::MIN], "{name}");
        }
    }
}

#[test]
fn arithmetic_with_infinities_fails_and_never_panics() {
    let stage = Stage::new()
        .column("d", ValueType::Date, Date32Array::from(vec![i32::MAX, 1]))
        .set("x", "d + INTERVAL '1 month'", ValueType::Date);
    assert_eq!(stage.apply().of.values(), &[1]);
    let stage = Stage::new()
        .column(
            "t",
            ValueType::Timestamp,
            TimestampMicrosecondArray::from(vec![i64::MAX, i64::MIN, 1]),
        )
        .set("x", "t - INTERVAL '1 day'", ValueType::Timestamp);
    assert_eq!(stage.apply().of.values(), &[2]);
}

#[test]
fn only_what_begins_with_a_date_is_a_time() {
    for text in [
        "TBD",
        "",
        "2015-13-01",
        "2015-02-29",
        "2015-1-1",
        "12:00",
        "infinity",
        "now",
        " 2015-01-01",
        "2015-01-01 25:00",
        "2015-01-01T10:00:00+99:00",
        "2015-01-01 10:00:00.",
        "2015-01-01T10",
        "2015-01-01 100000",
        "2015-01-01T1000:00",
        "2015-01-01T10:0000",
        "20150101",
        "2015-01-01 10:00:00 CET",
        "2015-01-01 10:00:00 Mars/Base",
        "2015-03-29 02:30:00 Europe/Berlin",
    ] {
        for cast in ["CAST(t AS TIMESTAMPTZ)", "CAST(t AS TIMESTAMP)"] {
            let stage = Stage::new().texts("t", &[Some(text)]).any("x", cast);
            assert_eq!(stage.failures().len(), 1, "{text} {cast}");
        }
    }
    let stage = Stage::new().texts("t", &[Some("2015-13-01")]).any("x", "CAST(t AS DATE)");
    assert_eq!(stage.failures(), ["0 x: is not a day"]);
}

#[test]
fn a_text_with_a_zone_is_that_instant() {
    let texts = [
        (Some("2015-01-01T03:00:00Z"), 1_420_081_200_000_000),
        (Some("2015-01-01 03:00:00+02"), 1_420_074_000_000_000),
        (Some("2015-01-01T03:00:00.5-05:30"), 1_420_101_000_500_000),
        (Some("2015-01-01"), 1_420_070_400_000_000),
        (Some("2015-01-01 24:00"), 1_420_156_800_000_000),
        (Some("2015-01-01T03:00:00.1234567Z"), 1_420_081_200_123_457),
        (Some("2015-01-01T03:00:00.1234565Z"), 1_420_081_200_123_456),
        (Some("2015-01-01T03:00:00.12345650001Z"), 1_420_081_200_123_457),
        (Some("2015-01-01T03:00:00.9999999Z"), 1_420_081_201_000_000),
        (Some("2015-01-01T030000Z"), 1_420_081_200_000_000),
        (Some("2015-01-01T0300+0200"), 1_420_074_000_000_000),
        (Some("20150101T030000.5-0530"), 1_420_101_000_500_000),
        (Some("2015-01-01 03:00:00 America/New_York"), 1_420_099_200_000_000),
        (Some("2015-01-01 03:00:00 GMT"), 1_420_081_200_000_000),
    ];
    let given: Vec<_> = texts.iter().map(|(text, _)| *text).collect();
    let stage =
        Stage::new().texts("t", &given).set("x", "CAST(t AS TIMESTAMPTZ)", ValueType::TimestampTz);
    let applied = stage.apply();
    assert_eq!(applied.failures, []);
    let times = applied.rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let wanted: Vec<_> = texts.iter().map(|(_, micros)| *micros).collect();
    assert_eq!(times.values().to_vec(), wanted);
}

#[test]
fn local_times_go_through_the_zone() {
    // In Berlin clocks skipped 2021-03-28 02:00 to 03:00, and had 2021-10-31 02:30 twice.
    let texts =
        [Some("2021-01-01 12:00:00"), Some("2021-03-28 02:30:00"), Some("2021-10-31 02:30:00")];
    let stage = Stage::new().texts("t", &texts).zone("Europe/Berlin").set(
        "x",
        "CAST(t AS TIMESTAMPTZ)",
        ValueType::TimestampTz,
    );
    assert_eq!(stage.failures(), ["1 x: is a local time that clocks skipped"]);
    assert_eq!(stage.values(), ["2021-01-01T11:00:00Z", "2021-10-31T01:30:00Z"]);
    // The same for a column, and back.
    let local = TimestampMicrosecondArray::from(vec![1_609_502_400_000_000]);
    let stage = Stage::new().column("t", ValueType::Timestamp, local).zone("Europe/Berlin");
    let stage = stage.set("x", "t", ValueType::TimestampTz);
    assert_eq!(stage.values(), ["2021-01-01T11:00:00Z"]);
    let instant = TimestampMicrosecondArray::from(vec![1_609_502_400_000_000]).with_timezone("UTC");
    let stage = Stage::new().column("t", ValueType::TimestampTz, instant).zone("Europe/Berlin");
    let stage = stage.set("x", "t", ValueType::Timestamp);
    assert_eq!(stage.values(), ["2021-01-01T13:00:00"]);
}

#[test]
fn whole_seconds_become_times() {
    let stage = Stage::new()
        .column("n", ValueType::Int32, Int32Array::from(vec![1_420_081_200]))
        .set("x", "CAST(n AS TIMESTAMPTZ)", ValueType::TimestampTz);
    assert_eq!(stage.values(), ["2015-01-01T03:00:00Z"]);
    let stage =
        whole(vec![1_420_081_200, i64::MAX]).set("x", "CAST(n AS TIMESTAMP)", ValueType::Timestamp);
    assert_eq!(stage.values(), ["2015-01-01T03:00:00"]);
    assert_eq!(stage.failures(), ["1 x: is out of range"]);
}

#[test]
fn a_group_that_took_no_part_does_not_move_the_others() {
    let stage = Stage::new().texts("t", &[Some("b"), Some("ab"), Some("c"), None]);
    let stage =
        stage.any("x", "regexp_match(t, '(a)?(b)')[2]").any("y", "regexp_match(t, '(a)?(b)')[1]");
    assert_eq!(stage.values(), ["b", "b", "NULL", "NULL"]);
    assert_eq!(crate::stage::shown(stage.apply().rows.column(1)), ["NULL", "a", "NULL", "NULL"]);
    let stage = Stage::new().texts("t", &[Some("b")]).any("x", "regexp_match(t, '(a)?(b)')");
    assert_eq!(stage.values(), ["[NULL, b]"]);
}

#[test]
fn a_lossy_cast_to_a_whole_number_fails() {
    let stage = Stage::new()
        .column("f", ValueType::Float64, Float64Array::from(vec![2.0, 2.5, f64::NAN, 1e300]))
        .set("x", "CAST(f AS BIGINT)", ValueType::Int64);
    assert_eq!(stage.apply().of.values(), &[0]);
    assert_eq!(stage.failures().len(), 3);
}

#[test]
fn what_differs_in_another_run_is_refused() {
    for text in
        ["now()", "random()", "uuid()", "current_date()", "CURRENT_TIMESTAMP", "current_date"]
    {
        let refused = Stage::new().any("x", text).refused();
        assert!(refused.contains("isn't offered | it gives another result"), "{text}: {refused}");
    }
}

#[test]
fn reasons_hold_no_values() {
    let stage = Stage::new().texts("t", &[Some("secret-2015")]);
    for text in [
        "CAST(t AS BIGINT)",
        "CAST(t AS BIGINT) + 1",
        "CAST(t AS DECIMAL(5, 2))",
        "CAST(t AS TIMESTAMP)",
        "CAST(t AS BOOLEAN)",
        "decode(t, 'hex')",
        "json_text(t, 'a')",
        "chr(CAST(t AS BIGINT))",
    ] {
        let stage = Stage { asked: stage.asked.clone(), columns: stage.columns.clone() };
        let failures = stage.any("x", text).failures();
        assert_eq!(failures.len(), 1, "{text}");
        assert!(!failures[0].contains("secret"), "{text}: {}", failures[0]);
    }
    let left = Stage::new()
        .texts("t", &[Some("x"), Some("1")])
        .set("x", "CAST(t AS BIGINT)", ValueType::Int64)
        .on_error(OnRowError::Null);
    assert_eq!(left.values(), ["NULL", "1"]);
}

#[test]
fn another_zone_than_the_rules_is_that_zone() {
    for zone in ["UTC", "Europe/Berlin"] {
        for (text, wanted) in [
            ("CAST(t AS TIMESTAMP) AT TIME ZONE 'America/New_York'", "2021-01-01T17:00:00Z"),
            ("CAST(t AS TIMESTAMP) AT TIME ZONE 'UTC'", "2021-01-01T12:00:00Z"),
            (
                "CAST(t || 'Z' AS TIMESTAMPTZ) AT TIME ZONE 'America/New_York'",
                "2021-01-01T07:00:00",
            ),
            ("CAST(t || 'Z' AS TIMESTAMPTZ) AT TIME ZONE 'UTC'", "2021-01-01T12:00:00"),
        ] {
            let stage = Stage::new().texts("t", &[Some("2021-01-01 12:00:00")]).zone(zone);
            assert_eq!(stage.any("x", text).values(), [wanted], "{text} in {zone}");
        }
    }
    let refused =
        Stage::new().any("x", "TIMESTAMP '2021-01-01' AT TIME ZONE 'Mars/Base'").refused();
    assert!(refused.contains("no time zone `Mars/Base`"), "{refused}");
}

#[test]
fn long_chains_fit_into_a_threads_stack() {
    let text = format!("n{}", " + 1".repeat(199));
    assert_eq!(whole(vec![1]).set("x", &text, ValueType::Int64).values(), ["200"]);
}
