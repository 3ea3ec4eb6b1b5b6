//! Rows: filters, `each`, names, what becomes of rows that fail, and what comes after the ids.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryArray, Int32Array, Int64Array, ListArray, RecordBatch,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use dunlin_engine::moves::{EachSpec, ReadRows, WorkedOut, arrow_field};
use dunlin_model::moves::{OnRowError, ValueType};

use crate::stage::{Stage, TEXT, expression, field, output, shown, told};

fn lists() -> Stage {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(3), None, Some(4)]),
        None,
        Some(vec![]),
        Some(vec![Some(5)]),
    ]);
    Stage::new().column("id", ValueType::Int32, Int32Array::from(vec![10, 11, 12, 13])).column(
        "list",
        ValueType::List(Box::new(ValueType::Int32)),
        list,
    )
}

#[test]
fn one_row_for_each_element() {
    let mut stage = lists().any("x", "who").any("y", "id");
    stage.asked.each = Some(EachSpec::Element("who".to_owned(), expression("list")));
    let applied = stage.apply();
    assert_eq!(shown(applied.rows.column(0)), ["3", "NULL", "4", "5"]);
    assert_eq!(shown(applied.rows.column(1)), ["10", "10", "10", "13"]);
    assert_eq!(applied.of.values(), &[0, 0, 0, 3]);
    assert_eq!(applied.taken.iter().flatten().collect::<Vec<_>>(), [true, false, false, true]);
    let mut stage = stage.filter("who IS NOT NULL AND who > 4");
    stage.asked.each = Some(EachSpec::Element("who".to_owned(), expression("list")));
    let applied = stage.apply();
    assert_eq!(applied.of.values(), &[3]);
    assert_eq!(applied.taken.iter().flatten().collect::<Vec<_>>(), [false, false, false, true]);
}

fn cases(of: &[(&str, &str)]) -> Option<EachSpec> {
    let case = |(stage, who): &(&str, &str)| {
        vec![("stage".to_owned(), expression(stage)), ("who".to_owned(), expression(who))]
    };
    Some(EachSpec::Case(of.iter().map(case).collect()))
}

#[test]
fn one_row_for_each_case() {
    let labels = ValueType::Enum(vec!["student".to_owned(), "advisor".to_owned()]);
    let mut stage = Stage::new()
        .column("a", ValueType::Int32, Int32Array::from(vec![Some(1), None]))
        .column("b", ValueType::Int64, Int64Array::from(vec![Some(2), Some(3)]))
        .column("unused", ValueType::Int64, Int64Array::from(vec![0, 0]))
        .filter("who IS NOT NULL")
        .set("stage", "stage", labels)
        .set("who", "who", ValueType::Int64);
    stage.asked.each = cases(&[("'student'", "a"), ("'advisor'", "b")]);
    let applied = stage.apply();
    assert_eq!(shown(applied.rows.column(0)), ["student", "advisor", "advisor"]);
    assert_eq!(shown(applied.rows.column(1)), ["1", "2", "3"]);
    assert_eq!(applied.of.values(), &[0, 0, 1]);
    assert_eq!(stage.compiled().map(|compiled| compiled.used().to_vec()).ok(), Some(vec![0, 1]));
}

#[test]
fn names_use_earlier_names_and_only_what_is_used_is_read() {
    let stage = Stage::new()
        .texts("z", &[Some("z"), Some("z")])
        .texts("t", &[Some("A b"), None])
        .given("low", "lower(t)")
        .given("unread", "z || z")
        .given("first", "split_part(low, ' ', 1)")
        .filter("first IS NOT NULL")
        .any("x", "first || '/' || low");
    assert_eq!(stage.values(), ["a/a b"]);
    assert_eq!(stage.compiled().map(|compiled| compiled.used().to_vec()).ok(), Some(vec![1]));
}

#[test]
fn a_name_that_fails_harms_only_who_reaches_it() {
    let stage = Stage::new()
        .texts("kind", &[Some("n"), Some("t"), Some("n")])
        .texts("t", &[Some("1"), Some("x"), Some("y")])
        .given("number", "CAST(t AS BIGINT)")
        .given("twice", "number * 2")
        .set("x", "CASE WHEN kind = 'n' THEN twice ELSE 0 END", ValueType::Int64)
        .set("y", "t", TEXT);
    let applied = stage.apply();
    assert_eq!(told(&applied), ["2 x: is not a number"]);
    assert_eq!(shown(applied.rows.column(0)), ["2", "0"]);
    assert_eq!(applied.of.values(), &[0, 1]);
}

#[test]
fn what_becomes_of_a_row_that_fails() {
    let make = |on_error| {
        Stage::new()
            .texts("t", &[Some("1"), Some("x")])
            .set("x", "CAST(t AS BIGINT)", ValueType::Int64)
            .on_error(on_error)
    };
    for (on_error, wanted) in [
        (OnRowError::Error, vec!["1"]),
        (OnRowError::LeaveOut, vec!["1"]),
        (OnRowError::Null, vec!["1", "NULL"]),
    ] {
        let applied = make(on_error).apply();
        assert_eq!(shown(applied.rows.column(0)), wanted);
        assert_eq!(told(&applied), ["1 x: is not a number"]);
        assert_eq!(applied.failures[0].on_error, on_error);
        assert_eq!(applied.taken.true_count(), 2);
    }
    // An error hides that another output would have left the row out.
    let both = make(OnRowError::LeaveOut).set("y", "CAST(t AS DATE)", ValueType::Date);
    assert_eq!(both.failures(), ["0 y: is not a day", "1 y: is not a day"]);
}

#[test]
fn a_filter_that_fails_is_told_and_null_is_false() {
    let stage = Stage::new()
        .texts("t", &[Some("1"), Some("x"), None, Some("0")])
        .filter("CAST(t AS BIGINT) > 0")
        .any("x", "t");
    let applied = stage.apply();
    assert_eq!(told(&applied), ["1 where: is not a number"]);
    assert_eq!(applied.of.values(), &[0]);
    assert_eq!(applied.taken.iter().flatten().collect::<Vec<_>>(), [true, true, false, false]);
}

#[test]
fn a_condition_is_true_or_false() {
    let mut stage = Stage::new().texts("t", &[Some("a"), None]).any("x", "t = 'a'");
    stage.asked.outputs[0].condition = true;
    assert_eq!(stage.values(), ["true", "false"]);
    let mut stage = Stage::new().texts("t", &[Some("a")]).any("x", "t");
    stage.asked.outputs[0].condition = true;
    assert!(stage.refused().contains("must be true or false"));
}

fn new_rows(ids: &[[u8; 16]]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(ids.iter()).unwrap());
    let fields: Vec<Field> = vec![arrow_field(&field("request_id", ValueType::Uuid), true)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![ids]).unwrap()
}

#[test]
fn a_new_id_is_seen_as_text() {
    let mut stage = Stage::new()
        .column("id", ValueType::Int32, Int32Array::from(vec![1, 2, 3]))
        .texts("name", &[Some("a/b"), Some("c"), Some("d")])
        .filter("id <> 2")
        .set("id", "id", ValueType::Int32);
    let key = "'requests/' || new.request_id || '/' || id || '-' || replace(name, '/', '_')";
    stage.asked.late.push(output("key", key, Some(TEXT)));
    stage.asked.new.push(field("request_id", ValueType::Uuid));
    let compiled = stage.compiled().map_err(|errors| format!("{errors:?}")).unwrap();
    let batch = stage.batch(compiled.as_ref()).into();
    let applied = compiled.apply(&batch).unwrap();
    let (rows, failures) =
        compiled.late(&batch, &applied, &new_rows(&[[0x1a; 16], [0xff; 16]])).unwrap();
    assert_eq!(failures, []);
    assert_eq!(
        shown(rows.column(0)),
        [
            "requests/1a1a1a1a-1a1a-1a1a-1a1a-1a1a1a1a1a1a/1-a_b",
            "requests/ffffffff-ffff-ffff-ffff-ffffffffffff/3-d",
        ]
    );
}

#[test]
fn late_outputs_know_their_element() {
    let mut stage =
        lists().filter("who IS NOT NULL").set("x", "CAST(who AS INT)", ValueType::Int32);
    stage.asked.each = Some(EachSpec::Element("who".to_owned(), expression("list")));
    stage.asked.late.push(output(
        "key",
        "CAST(who AS TEXT) || '-' || left(new.request_id, 2)",
        Some(TEXT),
    ));
    stage.asked.late.push(output("bad", "CAST(new.request_id AS BIGINT)", Some(ValueType::Int64)));
    stage.asked.new.push(field("request_id", ValueType::Uuid));
    let compiled = stage.compiled().map_err(|errors| format!("{errors:?}")).unwrap();
    let batch = stage.batch(compiled.as_ref()).into();
    let applied = compiled.apply(&batch).unwrap();
    let (rows, failures) =
        compiled.late(&batch, &applied, &new_rows(&[[1; 16], [0x2b; 16], [3; 16]])).unwrap();
    assert_eq!(shown(rows.column(0)), ["3-01", "4-2b", "5-03"]);
    assert_eq!(shown(rows.column(1)), ["NULL", "NULL", "NULL"]);
    assert_eq!(failures.iter().map(|failure| failure.row).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(compiled.late(&batch, &applied, &new_rows(&[[1; 16]])).is_err());
}

#[test]
fn no_rows_and_no_columns() {
    let empty: [Option<&str>; 0] = [];
    let stage = Stage::new().texts("t", &empty).set("x", "CAST(t AS BIGINT) + 1", ValueType::Int64);
    assert_eq!(stage.apply().rows.num_rows(), 0);
    let constant = Stage::new().texts("t", &[None, None]).set("x", "'a'", TEXT);
    assert_eq!(constant.values(), ["a", "a"]);
}

/// Rules of one source share what was worked out of its rows: with the same results, and the same rows
/// failing, as if each of them worked it out by itself.
#[test]
fn names_that_one_rule_works_out_are_there_for_the_next() {
    let stage = || {
        Stage::new()
            .texts("x", &[Some("1"), Some("zwei"), None, Some("4")])
            .texts("y", &[None, Some("2"), Some("3"), Some("4")])
            .given("n", "CAST(x AS BIGINT)")
            .given("twice", "n * 2")
    };
    let rules = [
        stage().filter("twice > 2").any("a", "twice"),
        stage()
            .any("a", "coalesce(CAST(y AS BIGINT), n)")
            .any("b", "CASE WHEN y IS NULL THEN twice END"),
        stage().filter("y IS NOT NULL").any("a", "y || CAST(n AS TEXT)"),
        // The same name for something else.
        Stage::new()
            .texts("x", &[Some("1"), Some("zwei"), None, Some("4")])
            .given("n", "coalesce(x, 'none')")
            .any("a", "n"),
    ];
    let results = |share: bool| -> Vec<_> {
        let worked_out = WorkedOut::default();
        let result = |rule: &Stage| {
            let compiled = rule.compiled().unwrap();
            let mut rows = ReadRows::from(rule.batch(compiled.as_ref()));
            if share {
                rows.worked_out = worked_out.clone();
            }
            let applied = compiled.apply(&rows).unwrap();
            let columns: Vec<_> = applied.rows.columns().iter().map(shown).collect();
            (columns, applied.of.clone(), told(&applied))
        };
        rules.iter().chain(rules.iter().rev()).map(result).collect()
    };
    assert_eq!(results(true), results(false));
    let (columns, of, failures) = &results(true)[0];
    assert_eq!(
        (columns[0].as_slice(), of.values().as_ref()),
        (&["8".to_owned()][..], &[3_u32][..])
    );
    assert_eq!(failures.len(), 1);
}
