//! The expressions of a real mapping: an old queue of design requests.

use arrow::array::{Date32Array, Int32Array, StringArray, TimestampMicrosecondArray};
use dunlin_model::moves::{OnRowError, ValueType};

use crate::copies::map;
use crate::stage::{Stage, TEXT, shown, told};

fn comments() -> Stage {
    let messages = [
        Some("Status changed from Open to Done."),
        Some("Claimed by Ann Lee."),
        Some("Approved as student."),
        Some("hello"),
        Some("Approved as student.\nand more"),
        None,
    ];
    Stage::new()
        .texts("message", &messages)
        .given(
            "state_before",
            r"regexp_match(message, '^Status changed from (\w+) to (\w+)\.$')[1]",
        )
        .given("state_after", r"regexp_match(message, '^Status changed from (\w+) to (\w+)\.$')[2]")
        .given("claimed_by", r"regexp_match(message, '^Claimed by ([^\n]+)\.$')[1]")
        .given("approved_as", r"regexp_match(message, '^Approved as (student|advisor)\.$')[1]")
        .given("is_audit", "coalesce(state_before, claimed_by, approved_as) IS NOT NULL")
        .given("has_words", "coalesce(message, '') <> ''")
}

#[test]
fn audit_lines() {
    let action = "CASE WHEN state_before IS NOT NULL THEN 'state_changed' WHEN claimed_by IS NOT NULL THEN 'claimed' ELSE 'approved' END";
    let stage = comments()
        .filter("is_audit")
        .set("action", action, TEXT)
        .set("from_value", "state_before", TEXT)
        .set("to_value", "coalesce(state_after, claimed_by, approved_as)", TEXT);
    let applied = stage.apply();
    assert_eq!(applied.failures, []);
    assert_eq!(applied.of.values(), &[0, 1, 2]);
    assert_eq!(shown(applied.rows.column(0)), ["state_changed", "claimed", "approved"]);
    assert_eq!(shown(applied.rows.column(1)), ["Open", "NULL", "NULL"]);
    assert_eq!(shown(applied.rows.column(2)), ["Done", "Ann Lee", "student"]);
    let rest =
        comments().filter("NOT is_audit AND has_words").set("body", "coalesce(message, '')", TEXT);
    assert_eq!(rest.values(), ["hello", "Approved as student.\nand more"]);
}

#[test]
fn orders() {
    let states = ["draft", "open", "claimed"].map(str::to_owned).to_vec();
    let kinds = ["graphic", "web"].map(str::to_owned).to_vec();
    let stage = Stage::new()
        .texts("status", &[Some("Unapproved"), Some("Claimed"), Some("Unclaimed")])
        .texts("type", &[Some("GraphicOrder"), Some("WebOrder"), Some("WebOrder")])
        .texts("name", &[Some(""), Some("Flyer"), None])
        .column("due", ValueType::Date, Date32Array::from(vec![Some(i32::MAX), Some(0), None]))
        .column("event", ValueType::Map, map(&[&[("starts_at", Some("TBD"))], &[("starts_at", Some("2015-01-01T03:00:00Z"))], &[]]))
        .column("needs", ValueType::Map, map(&[&[("b", Some("2")), ("a", Some("1"))], &[], &[]]))
        .column("created_at", ValueType::Timestamp, TimestampMicrosecondArray::from(vec![0, 1, 2]))
        .column("id", ValueType::Int32, Int32Array::from(vec![1, 2, 3]))
        .column("ip", TEXT, StringArray::from(vec!["", "10.0.0.1", "10.0.0.2"]))
        .set("kind", "replace(lower(type), 'order', '')", ValueType::Enum(kinds))
        .set("state", "CASE status WHEN 'Unapproved' THEN 'draft' WHEN 'Unclaimed' THEN 'open' ELSE lower(status) END", ValueType::Enum(states))
        .set("title", "coalesce(nullif(name, ''), 'Untitled')", TEXT)
        .set("due", "finite(due)", ValueType::Date)
        .set("starts", "CAST(event['starts_at'] AS TIMESTAMPTZ)", ValueType::TimestampTz)
        .on_error(OnRowError::Null)
        .set("needs", "to_json(needs)", ValueType::Json { binary: true })
        .set("inserted_at", "created_at", ValueType::TimestampTz)
        .set("ip", "nullif(ip, '')", ValueType::Other)
        .any("of", "id");
    let applied = stage.apply();
    assert_eq!(told(&applied), ["0 starts: is not a time"]);
    let column = |name: &str| shown(applied.rows.column_by_name(name).unwrap());
    assert_eq!(column("kind"), ["graphic", "web", "web"]);
    assert_eq!(column("state"), ["draft", "claimed", "open"]);
    assert_eq!(column("title"), ["Untitled", "Flyer", "Untitled"]);
    assert_eq!(column("due"), ["NULL", "1970-01-01", "NULL"]);
    assert_eq!(column("starts"), ["NULL", "2015-01-01T03:00:00Z", "NULL"]);
    assert_eq!(column("needs"), [r#"{"a":"1","b":"2"}"#, "{}", "{}"]);
    assert_eq!(column("ip"), ["NULL", "10.0.0.1", "10.0.0.2"]);
    assert_eq!(column("inserted_at")[0], "1970-01-01T00:00:00Z");
}
