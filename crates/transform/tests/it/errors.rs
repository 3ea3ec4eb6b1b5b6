//! What can't be compiled, in words that help.

use arrow::array::{Float64Array, Int32Array};
use dunlin_model::moves::ValueType;
use proptest::prelude::*;

use crate::copies::map;
use crate::stage::{Stage, TEXT, expression, field, output};

fn refused(text: &str) -> String {
    let stage = Stage::new()
        .texts("first_name", &[None])
        .column("id", ValueType::Int32, Int32Array::from(vec![1]))
        .given("is_audit", "id = 1");
    stage.any("x", text).refused()
}

#[test]
fn names() {
    assert_eq!(
        refused("frist_name"),
        "there is no column `frist_name` | did you mean `first_name`?"
    );
    assert_eq!(refused("NOT is_adit"), "there is no column `is_adit` | did you mean `is_audit`?");
    assert_eq!(refused("lowr(first_name)"), "there is no function `lowr` | did you mean `lower`?");
    assert_eq!(
        refused("\"Untitled\""),
        "there is no column `Untitled` | a text stands in single quotes: 'Untitled'"
    );
    assert!(refused("new.id || 'x'").contains("a new row's columns"));
    assert!(refused("count(id)").contains("one row"));
    assert!(refused("(SELECT 1)").contains("one row"));
    assert!(refused("id = $1").contains("$1"));
    assert!(refused("to_timestamp(first_name)").contains("CAST"));
}

#[test]
fn syntax_is_told_at_its_line() {
    let stage = Stage::new().any("x", "lower('a'\n  || ");
    let Err(errors) = stage.compiled() else { panic!("it compiles") };
    assert_eq!(errors.len(), 1);
    assert!(errors[0].message.starts_with("the expression can't be read"), "{}", errors[0].message);
    assert!(refused("").contains("empty"));
    assert!(refused("1 2").contains("the end of the expression"), "{}", refused("1 2"));
    assert!(refused("first_name ~ '('").contains("not a regular expression"));
    assert!(refused(&"(".repeat(5_000)).contains("|"));
    assert!(refused(&format!("id {}", "+ 1 ".repeat(20_000))).contains("operators"));
    assert!(refused(&format!("{}id", "- ".repeat(20_000))).contains("operators"));
}

#[test]
fn everything_wrong_is_told_at_once() {
    let stage =
        Stage::new().any("x", "nope").any("y", "neither").filter("1 +").given("l", "lowr('a')");
    let Err(errors) = stage.compiled() else { panic!("it compiles") };
    assert_eq!(errors.len(), 4, "{errors:?}");
}

#[test]
fn types_that_do_not_fit_say_what_to_write() {
    let stage = |text: &str, of| {
        let stage = Stage::new()
            .texts("t", &[None])
            .column("f", ValueType::Float64, Float64Array::from(vec![1.0]))
            .column("id", ValueType::Int32, Int32Array::from(vec![1]))
            .column("m", ValueType::Map, map(&[&[]]));
        stage.set("x", text, of).refused()
    };
    assert_eq!(
        stage("t", ValueType::Int64),
        "it gives text, and `x` is a whole number | write CAST(… AS BIGINT)"
    );
    assert!(stage("id", TEXT).contains("write CAST(… AS TEXT)"));
    assert!(stage("t", ValueType::TimestampTz).contains("write CAST(… AS TIMESTAMPTZ)"));
    assert!(
        stage("f", ValueType::Numeric { scale: Some(2) })
            .contains("write CAST(… AS DECIMAL(38, 2))")
    );
    assert!(stage("m", ValueType::Json { binary: true }).contains("to_json"));
    assert!(stage("id", ValueType::Boolean).contains("<> 0"));
    assert!(stage("t", ValueType::Float64).contains("DOUBLE PRECISION"));
    let labels = ValueType::Enum(vec!["draft".to_owned(), "open".to_owned()]);
    let wrong = "CASE t WHEN 'Unapproved' THEN 'darft' ELSE lower(t) END";
    assert_eq!(stage(wrong, labels), "'darft' is no label of `x` | did you mean 'draft'?");
    assert!(stage("t + id", ValueType::Int64).contains("can't be compiled"));
}

#[test]
fn names_hide_nothing() {
    let stage = Stage::new().texts("t", &[None]).given("t", "'x'").any("x", "t");
    assert!(stage.refused().contains("`t` is there already"));
}

#[test]
fn a_zone_must_exist() {
    let stage = Stage::new().texts("t", &[None]).zone("Mars/Base").any("x", "t");
    assert!(stage.refused().contains("there is no time zone `Mars/Base`"));
}

#[test]
fn a_column_that_must_not_be_null_is_not_set_to_null() {
    let mut stage = Stage::new().texts("t", &[None]).set("x", "CAST(t AS INT)", ValueType::Int32);
    let output = &mut stage.asked.outputs[0];
    output.on_error = dunlin_model::moves::OnRowError::Null;
    output.column.as_mut().unwrap().nullable = false;
    assert!(stage.refused().contains("`x` can't be NULL where this fails"));
}

fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "id",
        "first_name",
        "m",
        "list",
        "'x'",
        "1",
        "NULL",
        "(",
        ")",
        "[",
        "]",
        ",",
        "+",
        "-",
        "*",
        "/",
        "%",
        "||",
        "~",
        "=",
        "<",
        "AND",
        "OR",
        "NOT",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "CAST",
        "AS",
        "DATE",
        "TIMESTAMPTZ",
        "INTERVAL",
        "'1 day'",
        "IN",
        "BETWEEN",
        "LIKE",
        "IS",
        "lower",
        "coalesce",
        "regexp_match",
        "to_json",
        "json_text",
        "finite",
        "make_array",
        "new.id",
        "::",
        "BIGINT",
        "'name'",
        "EXTRACT",
        "FROM",
        "year",
        "-1",
        "0",
        "1e400",
        "?",
        "@@x",
        "*",
        "greatest",
        "array_element",
        "substr",
        "position",
        "ARRAY",
        "ANY",
        "concat_ws",
        "date_part",
    ]);
    prop::collection::vec(word, 0..14).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Whatever stands there, compiling gives a result, and so does what it compiles to.
    #[test]
    fn nothing_panics(text in prop_oneof!["\\PC{0,40}", words()], of in prop::sample::select(vec![TEXT, ValueType::Int64])) {
        let mut stage = Stage::new()
            .texts("first_name", &[None, Some("a")])
            .column("id", ValueType::Int32, Int32Array::from(vec![1, 0]))
            .column("m", ValueType::Map, map(&[&[("name", None)], &[]]))
            .given("named", &text)
            .any("x", &text);
        stage.asked.outputs.push(output("y", &text, Some(of)));
        stage.asked.late.push(output("z", &text, None));
        stage.asked.new.push(field("id", ValueType::Uuid));
        let with_name = stage.compiled();
        if let Err(errors) = with_name {
            prop_assert!(errors.iter().all(|error| !error.message.contains("failed on them")), "{errors:?}");
        }
        stage.asked.lets.clear();
        stage.asked.late.clear();
        stage.asked.outputs.truncate(1);
        stage.asked.filter = Some(expression("id < 5"));
        if let Ok(compiled) = stage.compiled() {
            let applied = compiled.apply(&stage.batch(compiled.as_ref()).into());
            prop_assert!(applied.is_ok(), "{applied:?}");
        }
    }
}
