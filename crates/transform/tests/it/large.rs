//! Values that would be too large: their rows' failures, and nobody else's.

use arrow::array::{Array, Date32Array, Int64Array, StringArray};
use dunlin_model::moves::{OnRowError, ValueType};

use crate::stage::{Stage, shown, told};

fn rows(counts: &[i64]) -> Stage {
    let texts: Vec<Option<&str>> = counts.iter().map(|_| Some("ab")).collect();
    Stage::new().texts("s", &texts).column("k", ValueType::Int64, Int64Array::from(counts.to_vec()))
}

#[test]
fn a_value_that_would_be_too_large_is_its_rows_failure() {
    let far = i64::from(i32::MAX);
    for (text, small) in [
        ("repeat(s, k)", "ababab"),
        ("lpad(s, k, '0')", "0ab"),
        ("rpad(s, k)", "ab "),
        ("rpad(s, k, 'äö')", "abä"),
        ("replace(repeat('a', 20000 * least(k, 3)), 'a', repeat('b', 100 * k))", ""),
        ("array_repeat(s, k)", "[ab, ab, ab]"),
        ("array_repeat(make_array(s, s), k)", "[[ab, ab], [ab, ab], [ab, ab]]"),
        ("array_resize(make_array(s), k, 'x')", "[ab, x, x]"),
        ("range(k)", "[0, 1, 2]"),
        ("generate_series(1, k)", "[1, 2, 3]"),
        ("upper(repeat(s, k))", "ABABAB"),
    ] {
        for counts in [[3, far, 3], [3, 70_000_000, 3]] {
            let stage = rows(&counts).any("x", text).on_error(OnRowError::Null);
            let applied = stage.apply();
            let values = applied.rows.column(0);
            assert_eq!(told(&applied), ["1 x: would be larger than 64 MiB"], "{text}");
            let nulls: Vec<bool> = (0..3).map(|row| values.is_null(row)).collect();
            assert_eq!(nulls, [false, true, false], "{text}");
            if !small.is_empty() {
                assert_eq!(shown(values), [small, "NULL", small], "{text}");
            }
        }
    }
}

#[test]
fn a_constant_that_is_too_large_fails_every_row() {
    let stage = rows(&[1, 2]).any("x", "repeat('x', 100000000)");
    let why = "would be larger than 64 MiB";
    assert_eq!(stage.failures(), [format!("0 x: {why}"), format!("1 x: {why}")]);
}

#[test]
fn what_is_short_is_as_before() {
    let texts = StringArray::from(vec![Some("äb"), None]);
    let stage = || {
        let of = ValueType::Text { padded: false };
        Stage::new().column("s", of, texts.clone()).column(
            "k",
            ValueType::Int64,
            Int64Array::from(vec![Some(4), Some(-1)]),
        )
    };
    for (text, wanted) in [
        ("lpad(s, k, '*')", "**äb"),
        ("lpad(s, 1)", "ä"),
        ("lpad(s, 9, '')", "äb"),
        ("rpad(s, 0 - k)", ""),
        ("lpad(s, 2000000000, '')", "äb"),
        ("lpad(NULL, 2000000000)", "NULL"),
        ("repeat(s, 0 - k)", ""),
        ("replace(s, '', '-')", "äb"),
        ("replace(s, 'b', 'xyz')", "äxyz"),
        ("array_repeat(NULL, 2)", "[NULL, NULL]"),
    ] {
        assert_eq!(stage().any("x", text).values()[0], wanted, "{text}");
    }
}

#[test]
fn days_up_to_infinity_are_too_many() {
    let days = Date32Array::from(vec![1, i32::MAX]);
    let stage = Stage::new().column("d", ValueType::Date, days);
    let stage = stage.any("x", "generate_series(DATE '1970-01-01', d, INTERVAL '1 day')");
    assert_eq!(stage.failures(), ["1 x: would be larger than 64 MiB"]);
    assert_eq!(stage.values(), ["[1970-01-01, 1970-01-02]"]);
}

#[test]
fn a_series_that_goes_both_ways_fails() {
    let text = "generate_series(DATE '2021-01-01', DATE '2021-03-01', INTERVAL '1 month -31 days')";
    assert_eq!(rows(&[1]).any("x", text).failures(), ["0 x: has a step that goes both ways"]);
    let text = "generate_series(DATE '2021-01-01', DATE '2021-03-01', INTERVAL '1 month')";
    assert_eq!(rows(&[1]).any("x", text).values(), ["[2021-01-01, 2021-02-01, 2021-03-01]"]);
}

#[test]
fn too_large_a_batch_is_an_error_that_names_the_rule() {
    let stage = rows(&[30_000_000; 40]).any("x", "repeat(s, k)").on_error(OnRowError::Null);
    let compiled = stage.compiled().unwrap();
    let error = compiled.apply(&stage.batch(compiled.as_ref()).into()).unwrap_err();
    assert_eq!(
        error.message,
        "expressions of [into.x] can't be evaluated: what `repeat` gives for 40 rows would be \
         larger than 1024 MiB"
    );
    assert!(error.help.is_some());
}
