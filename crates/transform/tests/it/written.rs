//! What people write in mappings, over a row with values and one without.

use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, ListBuilder,
    StringArray, StringBuilder, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use dunlin_model::moves::ValueType;

use crate::stage::{Stage, TEXT, told};

const JSON: &str = r#"{"a": {"b": [1, 2.50, "x"]}, "n": 12.5, "t": "hi", "ok": true}"#;
const NOON: i64 = 1_609_502_400_123_456;

fn stage() -> Stage {
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("x"), Some("y"), None]);
    tags.append(false);
    let instants = TimestampMicrosecondArray::from(vec![Some(NOON), None]).with_timezone("UTC");
    Stage::new()
        .texts("t", &[Some("Ann-Marie O'Neil"), None])
        .texts("csv", &[Some("a, b,c"), Some("")])
        .column("j", ValueType::Json { binary: true }, StringArray::from(vec![JSON, "{}"]))
        .column("ts", ValueType::Timestamp, TimestampMicrosecondArray::from(vec![Some(NOON), None]))
        .column("at", ValueType::TimestampTz, instants)
        .column("d", ValueType::Date, Date32Array::from(vec![18_628, i32::MAX]))
        .column(
            "clock",
            ValueType::Time,
            Time64MicrosecondArray::from(vec![Some(45_000_000_000), None]),
        )
        .column("n", ValueType::Int32, Int32Array::from(vec![Some(90), None]))
        .column("epoch", ValueType::Int64, Int64Array::from(vec![Some(1_609_502_400_123), None]))
        .column(
            "price",
            ValueType::Numeric { scale: Some(2) },
            StringArray::from(vec![Some("12.50"), None]),
        )
        .column("flag", ValueType::Boolean, BooleanArray::from(vec![Some(true), None]))
        .column("f", ValueType::Float64, Float64Array::from(vec![Some(0.1), None]))
        .column("tags", ValueType::List(Box::new(TEXT)), tags.finish())
}

/// Values and failures, or why it is refused.
fn given(text: &str) -> String {
    let stage = stage().any("x", text);
    if stage.compiled().is_err() {
        return stage.refused();
    }
    let mut all = stage.values();
    all.extend(told(&stage.apply()));
    all.join("; ")
}

fn table(rows: &[(&str, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .map(|(text, wanted)| (text, given(text), wanted))
        .filter(|(_, given, wanted)| given != *wanted)
        .map(|(text, given, wanted)| format!("{text}: {given}, and not {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn days_and_times() {
    table(&[
        ("extract(epoch FROM at)", "1609502400.123456; NULL"),
        ("extract(hour FROM at AT TIME ZONE 'Europe/Berlin')", "13; NULL"),
        ("extract(epoch FROM d)", "1609459200; 1 x: is infinite"),
        ("date_trunc('week', d)", "2020-12-28T00:00:00; 1 x: is infinite"),
        ("date_trunc('day', at)", "2021-01-01T00:00:00Z; NULL"),
        ("d - DATE '2020-12-31'", "1; 1 x: is infinite"),
        ("CAST(d AS TIMESTAMP) - TIMESTAMP '2021-01-01'", "P0D; 1 x: is infinite"),
        ("d < DATE '2022-01-01'", "true; false"),
        ("to_char(d, '%d.%m.%Y')", "01.01.2021; 1 x: is infinite"),
        ("to_date('01.02.2021', '%d.%m.%Y')", "2021-02-01; 2021-02-01"),
        ("to_date(t)", "NULL; 0 x: is not a day"),
        ("CAST(epoch / 1000.0 AS TIMESTAMPTZ)", "2021-01-01T12:00:00.123Z; NULL"),
        ("CAST(n + 0.1234567 AS TIMESTAMP)", "NULL; 0 x: is finer than a microsecond"),
        ("CAST(f AS TIMESTAMP)", "1970-01-01T00:00:00.100; NULL"),
        ("ts + n * INTERVAL '1 second'", "2021-01-01T12:01:30.123456; NULL"),
        ("ts - INTERVAL '1 day' * n", "2020-10-03T12:00:00.123456; NULL"),
        ("ts + CAST(epoch AS BIGINT) * INTERVAL '1 month'", "NULL; 0 x: is out of range"),
        ("extract(epoch FROM ts - TIMESTAMP '2021-01-01')", "43200.123456; NULL"),
        (
            "date_bin(INTERVAL '15 minutes', ts, TIMESTAMP '2001-01-01')",
            "2021-01-01T12:00:00; NULL",
        ),
        ("clock + INTERVAL '1 hour'", "13:30:00; NULL"),
        ("make_date(2021, n / 30, 1)", "2021-03-01; NULL"),
        ("make_date(2021, n, 1)", "NULL; 0 x: is out of range"),
    ]);
}

#[test]
fn json() {
    table(&[
        ("j -> 'a'", r#"{"b": [1, 2.50, "x"]}; NULL"#),
        ("j ->> 't'", "hi; NULL"),
        ("j -> 't'", "\"hi\"; NULL"),
        ("j -> 'a' -> 'b' ->> -1", "x; NULL"),
        ("j -> 'a' -> 'b' ->> -4", "NULL; NULL"),
        ("j #>> '{a,b,1}'", "2.50; NULL"),
        ("j #> '{a,b}'", "[1, 2.50, \"x\"]; NULL"),
        ("j ->> 'n' = '12.5'", "true; NULL"),
        ("(j ->> 'n')::decimal(10,2) * 2", "25.00; NULL"),
        ("json_text(j, 'n')::numeric", "12.5; NULL"),
        ("CAST(j ->> 'ok' AS BOOLEAN)", "true; NULL"),
        ("json_list(j, 'a', 'b')", "[1, 2.50, x]; NULL"),
        ("json_list(j)", "0 x: is no array in JSON; 1 x: is no array in JSON"),
        ("array_length(json_list(j, 'a', 'b'))", "3; NULL"),
    ]);
}

#[test]
fn texts_and_lists() {
    table(&[
        ("array_length(string_to_array(csv, ','))", "3; 0"),
        ("array_to_string(tags, '|')", "x|y; NULL"),
        ("'x' = ANY(tags)", "true; NULL"),
        ("tags[2] || '!'", "y!; NULL"),
        ("split_part(t, '-', -1)", "Marie O'Neil; NULL"),
        ("regexp_replace(t, '[^a-z]', '', 'gi')", "AnnMarieONeil; NULL"),
        (r"regexp_replace(t, '(\w+)-(\w+)', '\2 \1')", "Marie Ann O'Neil; NULL"),
        ("initcap(lower(t))", "Ann-Marie O'Neil; NULL"),
        ("md5(t)", "8d412dd34c6b58dd1d85f8612dd8c2d0; NULL"),
        (
            "encode(sha256('a'), 'hex')",
            "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb; \
             ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        ),
        ("lpad(n, 5, '0')", "00090; NULL"),
        ("t LIKE 'Ann!-%' ESCAPE '!'", "true; NULL"),
        ("t LIKE 'Ann!_%' ESCAPE '!'", "false; NULL"),
        ("t LIKE '%O''N___' ", "true; NULL"),
    ]);
}

#[test]
fn choices() {
    table(&[
        ("if(n > 5, price, 0)", "12.50; 0.00"),
        ("ifnull(n, 0)", "90; 0"),
        ("CASE WHEN flag THEN 'yes' ELSE 'no' END", "yes; no"),
        (
            "CASE WHEN price > 10 THEN 'dear' WHEN price > 5 THEN 'fair' ELSE 'cheap' END",
            "dear; cheap",
        ),
        ("CAST(flag AS INT)", "1; NULL"),
        ("n::numeric / 7", "12.857142857142857142857142857143; NULL"),
        ("mod(n + 1, 7 + 1)", "3; NULL"),
        (
            "to_json(named_struct('at', at, 'f', f, 'p', price, 'ok', flag))",
            r#"{"at":"2021-01-01T12:00:00.123456Z","f":0.1,"p":12.50,"ok":true}; {"at":null,"f":null,"p":null,"ok":null}"#,
        ),
    ]);
}

#[test]
fn what_is_spelled_otherwise_here_says_how() {
    for (text, help) in [
        ("to_timestamp(epoch)", "ms / 1000.0"),
        ("isnull(n)", "write x IS NULL"),
        ("unnest(tags)", "use `each`"),
        ("make_interval(0, 0, 0, n)", "n * INTERVAL '1 second'"),
        ("str_to_date(t, '%d')", "to_date(x, '%d.%m.%Y')"),
        ("datediff(d, d)", "write a - b"),
        ("to_char(ts, 'YYYY-MM-DD')", "formats are as in strftime"),
        ("json_extract(j, '$.a')", "json_text(j, 'key', 0)"),
        ("jsonb_array_elements(j)", "json_list(j, 'key')"),
        ("t SIMILAR TO 'A%'", "write LIKE"),
        ("group_concat(t)", "a query of the source"),
        ("t COLLATE \"C\" = t", "SQL that isn't offered"),
        ("json_text(j, 'n') * 2", "write CAST(x AS TYPE)"),
    ] {
        let refused = stage().any("x", text).refused();
        assert!(refused.contains(help), "{text}: {refused}");
    }
}

#[test]
fn letters_become_single_letters() {
    for (text, lower, upper) in [
        ("ΑΣ@x.edu", "ασ@x.edu", "ΑΣ@X.EDU"),
        ("ας", "ας", "ΑΣ"),
        ("Straße", "straße", "STRAßE"),
        ("İI", "ii", "İI"),
        ("Émile ﬁ", "émile ﬁ", "ÉMILE ﬁ"),
        ("", "", ""),
    ] {
        let stage = || Stage::new().texts("t", &[Some(text), None]);
        assert_eq!(stage().any("x", "lower(t)").values(), [lower, "NULL"]);
        assert_eq!(stage().any("x", "ucase(t)").values(), [upper, "NULL"]);
    }
}

#[test]
fn lengths_of_bytes_are_octets() {
    let bytes = BinaryArray::from(vec![Some(b"\xc3\xa9\xff".as_slice()), None]);
    let stage = Stage::new().column("b", ValueType::Bytes, bytes).texts("t", &[Some("é"), None]);
    for (text, wanted) in [("length(b)", "3"), ("octet_length(b)", "3"), ("octet_length(t)", "2")] {
        let stage = Stage { asked: stage.asked.clone(), columns: stage.columns.clone() };
        assert_eq!(stage.any("x", text).values(), [wanted, "NULL"], "{text}");
    }
}

/// The table "What gives something else than PostgreSQL" of docs/reference/moves.md.
#[test]
fn what_differs_from_postgresql() {
    table(&[
        (r"regexp_replace(E'a\nb', 'a.b', 'x') = 'x'", "false; false"),
        (r"regexp_replace(E'a\nb', '(?s)a.b', 'x') = 'x'", "true; true"),
        (r"E'a\u00a0b' ~ 'a\sb'", "true; true"),
        (r"regexp_replace('abc', 'b', '[\&]')", r"a[\&]c; a[\&]c"),
        (r"regexp_replace('abc', '(b)', '[\1]')", "a[b]c; a[b]c"),
        ("round(CAST(2.5 AS DOUBLE PRECISION))", "3.0; 3.0"),
        ("round(2.5)", "3; 3"),
        ("upper('ᾳ')", "ᾳ; ᾳ"),
    ]);
}
