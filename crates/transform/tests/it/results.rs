//! Expressions and what they give, by type.

use arrow::array::{Int32Array, Int64Array, StringArray, UInt64Array};
use dunlin_model::moves::{Limit, ValueType};

use crate::copies::map;
use crate::stage::{Stage, TEXT, field};

/// An expression, the values of `t`, and what it gives.
type Row<'a> = (&'a str, &'a [Option<&'a str>], &'a [&'a str]);

/// One text column `t`; what an expression gives for each row.
fn table(rows: &[Row<'_>]) {
    for (text, given, wanted) in rows {
        let stage = Stage::new().texts("t", given).any("x", text);
        let applied = stage.apply();
        assert_eq!(applied.failures, [], "{text}");
        assert_eq!(stage.values(), *wanted, "{text}");
    }
}

#[test]
fn texts() {
    table(&[
        ("lower(t)", &[Some("ÄB"), None], &["äb", "NULL"]),
        ("concat_ws(' ', nullif(t, ''), 'x')", &[Some("a"), Some(""), None], &["a x", "x", "x"]),
        (
            "coalesce(nullif(t, ''), 'Untitled')",
            &[Some(""), None, Some("a")],
            &["Untitled", "Untitled", "a"],
        ),
        (
            "CASE t WHEN 'Unapproved' THEN 'pending' ELSE lower(t) END",
            &[Some("Unapproved"), Some("Admin"), None],
            &["pending", "admin", "NULL"],
        ),
        ("replace(lower(t), 'order', '')", &[Some("WebOrder")], &["web"]),
        (
            "regexp_match(t, '^Status changed from (\\w+) to (\\w+)\\.$')[2]",
            &[Some("Status changed from A to Bé."), Some("Status changed from A to B.\n"), None],
            &["Bé", "NULL", "NULL"],
        ),
        ("regexp_match(t, 'b+')[1]", &[Some("abbb"), Some("x")], &["bbb", "NULL"]),
        ("regexp_match(t, 'B+', 'i')[1]", &[Some("abbb")], &["bbb"]),
        ("regexp_match(t, t)[1]", &[Some("a.c"), Some("b")], &["a.c", "b"]),
        ("t ~ '^a'", &[Some("ab"), Some("b"), None], &["true", "false", "NULL"]),
        ("t !~* '^A'", &[Some("ab"), Some("b"), None], &["false", "true", "NULL"]),
        ("t LIKE 'a%'", &[Some("ab"), Some("b")], &["true", "false"]),
        (
            "t IN ('Order', 'Comment')",
            &[Some("Order"), Some("x"), None],
            &["true", "false", "NULL"],
        ),
        ("t BETWEEN 'a' AND 'c'", &[Some("b"), Some("d")], &["true", "false"]),
        ("substr(t, 1, 2) || '…' || split_part(t, '-', 2)", &[Some("ab-cd")], &["ab…cd"]),
        ("substring(t FROM 2 FOR 1)", &[Some("äbc")], &["b"]),
        ("trim(t)", &[Some(" a ")], &["a"]),
        ("t::BIGINT * 2", &[Some("21")], &["42"]),
        ("CAST(t AS DECIMAL(12,2))", &[Some("12.5")], &["12.50"]),
        ("TRY_CAST(t AS INT)", &[Some("x"), Some("1")], &["NULL", "1"]),
        (
            "TRY_CAST(t AS TIMESTAMP)",
            &[Some("x"), Some("0001-01-01")],
            &["NULL", "0001-01-01T00:00:00"],
        ),
        ("CAST(t AS TIME)", &[Some("12:30")], &["12:30:00"]),
        ("character_length(t)", &[Some("äö")], &["2"]),
    ]);
}

#[test]
fn json() {
    table(&[
        (
            "json_text(t, 'a')",
            &[Some(r#"{"a": "x\u00e4\n"}"#), Some(r#"{"b": 1}"#), Some(r#"{"a": null}"#), None],
            &["xä\n", "NULL", "NULL", "NULL"],
        ),
        (
            "json_text(t, 'a', 1, 'b')",
            &[Some(r#"{"a": [0, {"b": {"c": [1, 2]}}]}"#), Some("[]")],
            &[r#"{"c": [1, 2]}"#, "NULL"],
        ),
        (
            "json_text(t, 'n')",
            &[Some(r#"{"n": 12345678901234567890123.10}"#)],
            &["12345678901234567890123.10"],
        ),
        ("json_text(t, 'a')", &[Some(r#"{"a": 1, "x": "a,]}:", "a" : 2 }"#)], &["2"]),
        ("json_text(t, 'k\"')", &[Some(r#"{"k\"": true}"#)], &["true"]),
        ("json_text(t)", &[Some(" [1] ")], &["[1]"]),
        ("to_json(t)", &[Some("a\"b"), None], &[r#""a\"b""#, "NULL"]),
        ("to_json(make_array(t, 'x'))", &[Some("a"), None], &[r#"["a","x"]"#, r#"[null,"x"]"#]),
        ("to_json(named_struct('k', t, 'n', 1))", &[Some("a")], &[r#"{"k":"a","n":1}"#]),
    ]);
    let maps = map(&[&[("z", Some("1")), ("a", None), ("é\"", Some("t"))], &[]]);
    let stage = Stage::new().column("m", ValueType::Map, maps);
    let stage = stage.set("x", "to_json(m)", ValueType::Json { binary: true });
    assert_eq!(stage.values(), [r#"{"a":null,"z":"1","é\"":"t"}"#, "{}"]);
    let broken = Stage::new().texts("t", &[Some("{"), Some("1")]);
    let broken = broken.set("x", "t", ValueType::Json { binary: false });
    assert_eq!(broken.failures(), ["0 x: is not JSON"]);
}

#[test]
fn json_of_json_is_that_json() {
    let json = ValueType::Json { binary: true };
    let object = r#"{"a": {"b": 1}, "s": "x"}"#;
    let stage = || {
        Stage::new()
            .column("j", json.clone(), StringArray::from(vec![object]))
            .column("m", ValueType::Numeric { scale: Some(1) }, StringArray::from(vec!["1.5"]))
            .texts("t", &[Some("[1]")])
            .given("inner", "j -> 'a'")
            .given("plain", "CAST(j AS TEXT)")
    };
    let text_of_object = r#""{\"a\": {\"b\": 1}, \"s\": \"x\"}""#;
    for (text, wanted) in [
        ("to_json(j)", object),
        ("to_json(j -> 'a')", r#"{"b": 1}"#),
        ("to_json(json_get(j, 'a', 'b'))", "1"),
        ("to_json(inner)", r#"{"b": 1}"#),
        ("to_json(to_json(t))", r#""[1]""#),
        ("to_json(coalesce(j -> 'x', '{}'))", "{}"),
        ("to_json(coalesce(j -> 'x', NULL, j -> 's'))", r#""x""#),
        ("to_json(CASE WHEN t = '' THEN NULL ELSE j -> 'a' END)", r#"{"b": 1}"#),
        ("to_json(nullif(j -> 'a', '{}'))", r#"{"b": 1}"#),
        ("to_json(make_array(j -> 'a', NULL))", r#"[{"b": 1},null]"#),
        ("to_json(make_array(j -> 'a')[1])", r#"{"b": 1}"#),
        ("to_json(named_struct('k', inner, 't', t))", r#"{"k":{"b": 1},"t":"[1]"}"#),
        ("to_json(named_struct('k', inner)['k'])", r#"{"b": 1}"#),
        ("to_json(CASE WHEN t = '' THEN to_json(t) ELSE j END)", object),
        // Texts, even where they look like JSON.
        ("to_json(t)", r#""[1]""#),
        ("to_json('[1]')", r#""[1]""#),
        ("to_json(j ->> 's')", r#""x""#),
        ("to_json(json_text(j, 'a'))", r#""{\"b\": 1}""#),
        ("to_json(CAST(j AS TEXT))", text_of_object),
        ("to_json(j::text)", text_of_object),
        ("to_json(plain)", text_of_object),
        ("to_json(lower(j))", text_of_object),
        ("to_json(m)", "1.5"),
    ] {
        assert_eq!(stage().set("x", text, json.clone()).values(), [wanted], "{text}");
    }
    let mixed = stage().set("x", "to_json(coalesce(j, t))", json.clone()).refused();
    assert!(mixed.starts_with("to_json gets JSON in one row and text in another"), "{mixed}");
    let wrong = stage().set("x", "to_json(coalesce(j -> 'x', 'none'))", json.clone());
    assert_eq!(wrong.failures(), ["0 x: is not JSON"]);
    let mut each = stage().set("x", "to_json(one)", json);
    let elements = dunlin_engine::moves::EachSpec::Element;
    let list = crate::stage::expression("make_array(j -> 'a', j -> 's')");
    each.asked.each = Some(elements("one".to_owned(), list));
    assert_eq!(each.values(), [r#"{"b": 1}"#, r#""x""#]);
}

#[test]
fn values_of_a_map() {
    let maps = map(&[
        &[("name", Some("x")), ("at", Some("TBD"))],
        &[("name", None)],
        &[("at", Some("2015-01-01T03:00:00Z"))],
    ]);
    let stage = Stage::new()
        .column("event", ValueType::Map, maps)
        .set("name", "event['name']", TEXT)
        .set("at", "CAST(event['at'] AS TIMESTAMPTZ)", ValueType::TimestampTz)
        .on_error(dunlin_model::moves::OnRowError::Null);
    let applied = stage.apply();
    assert_eq!(crate::stage::shown(applied.rows.column(0)), ["x", "NULL", "NULL"]);
    assert_eq!(
        crate::stage::shown(applied.rows.column(1)),
        ["NULL", "NULL", "2015-01-01T03:00:00Z"]
    );
    assert_eq!(crate::stage::told(&applied), ["0 at: is not a time"]);
}

#[test]
fn whole_numbers_and_decimals_fit_exactly_or_fail() {
    let stage = Stage::new().column("n", ValueType::Int64, Int64Array::from(vec![1, 40_000, -5]));
    let asked = stage.set("a", "n", ValueType::Int16).set("b", "n", ValueType::UInt64);
    assert_eq!(asked.failures(), ["1 a: is out of range", "2 b: is out of range"]);
    let wide = Stage::new().column("n", ValueType::Int32, Int32Array::from(vec![7]));
    assert_eq!(wide.set("a", "n", ValueType::Int64).values(), ["7"]);
    let wide = Stage::new().column("n", ValueType::UInt64, UInt64Array::from(vec![u64::MAX]));
    assert_eq!(
        wide.set("a", "n", ValueType::Numeric { scale: Some(0) }).values(),
        ["18446744073709551615"]
    );
    let float =
        Stage::new().column("n", ValueType::Int64, Int64Array::from(vec![1 << 53, (1 << 53) + 1]));
    assert_eq!(float.set("a", "n", ValueType::Float64).failures(), ["1 a: is out of range"]);
    let money = Stage::new().texts("t", &[Some("1.50"), Some("1.505"), Some("x"), Some("15e-1")]);
    let money = money.set("a", "t", ValueType::Numeric { scale: Some(2) });
    assert_eq!(
        money.failures(),
        ["1 a: has more than 2 digits after the point", "2 a: is not a number"]
    );
    let cast = Stage::new().texts("t", &[Some("1.5")]);
    let cast = cast.set("a", "CAST(t AS DECIMAL(12,4)) * 2", ValueType::Numeric { scale: Some(1) });
    assert_eq!(cast.values(), ["3.0000"]);
}

#[test]
fn texts_fit_or_fail() {
    let mut stage = Stage::new().texts("t", &[Some("äöü"), Some("äöü!"), Some("a\0"), None]);
    let mut column = field("x", TEXT);
    column.max_chars = Some(3);
    column.nullable = false;
    stage = stage.set("x", "t", TEXT);
    stage.asked.outputs[0].column = Some(column);
    assert_eq!(
        stage.failures(),
        ["1 x: is longer than 3 characters", "2 x: holds the character U+0000", "3 x: is NULL"]
    );
    assert_eq!(stage.values(), ["äöü"]);
    let labels = ValueType::Enum(vec!["web".to_owned(), "video".to_owned()]);
    let stage = Stage::new().texts("t", &[Some("web"), Some("fax")]).set("x", "t", labels);
    assert_eq!(stage.failures(), ["1 x: is none of the type's labels"]);
}

#[test]
fn what_a_columns_type_refuses_is_the_rows_failure() {
    let texts = [Some("1.2.3.4"), Some("12345"), Some("101"), None];
    for (limit, of, wanted) in [
        (Limit::Inet, ValueType::Other, ["1.2.3.4", "NULL", "NULL"]),
        (Limit::Bits(Some(3)), ValueType::Other, ["NULL", "NULL", "101"]),
        (Limit::MacAddress, ValueType::Other, ["NULL", "NULL", "NULL"]),
        (Limit::Below(3), ValueType::Numeric { scale: Some(1) }, ["NULL", "NULL", "101"]),
    ] {
        let stage = |text: &str, of: ValueType| {
            let mut stage = Stage::new().texts("t", &texts).set("x", text, of);
            stage.asked.outputs[0].column.as_mut().unwrap().limit = Some(limit);
            stage.on_error(dunlin_model::moves::OnRowError::Null)
        };
        let asked = stage("t", of.clone());
        let told: Vec<u32> = asked.apply().failures.iter().map(|failure| failure.row).collect();
        let lost = (0..3).filter(|row| wanted[*row as usize] == "NULL");
        assert_eq!(told, lost.collect::<Vec<_>>(), "{limit:?}");
        assert_eq!(asked.values()[..3], wanted, "{limit:?}");
        assert_eq!(asked.values()[3], "NULL");
        let lists = stage("make_array(t)", ValueType::List(Box::new(of)));
        let told_of_lists: Vec<u32> =
            lists.apply().failures.iter().map(|failure| failure.row).collect();
        assert_eq!(told_of_lists, told, "{limit:?}");
    }
    let number = StringArray::from(vec!["99.9", "-100", "1e2", "-99.9"]);
    let mut stage = Stage::new().column("n", ValueType::Numeric { scale: None }, number).set(
        "x",
        "n * 1",
        ValueType::Numeric { scale: Some(1) },
    );
    stage.asked.outputs[0].column.as_mut().unwrap().limit = Some(Limit::Below(2));
    assert_eq!(stage.failures(), ["1 x: is out of range", "2 x: is out of range"]);
}

#[test]
fn lists_fit_item_by_item() {
    let stage = Stage::new().texts("t", &[Some("1"), Some("70000")]).set(
        "x",
        "make_array(CAST(t AS BIGINT), 2)",
        ValueType::List(Box::new(ValueType::Int16)),
    );
    assert_eq!(stage.values(), ["[1, 2]"]);
    assert_eq!(stage.failures(), ["1 x: is out of range"]);
}

#[test]
fn a_numeric_text_column_is_not_compared_as_text() {
    let money = StringArray::from(vec!["10", "9"]);
    let stage =
        Stage::new().column("m", ValueType::Numeric { scale: None }, money).any("x", "m > 9");
    assert_eq!(stage.values(), ["true", "false"]);
}
