//! `[into.NAME]`: what goes into one target table.

use dunlin_model::moves::{
    Duplicates, Each, Expression, Missing, NewReference, OnRowError, Placed, Rule, Setting,
    TableName, Value,
};
use toml::de::{DeTable, DeValue};

use super::document::{Document, Item, Key, Scope, is_key, is_plain};
use super::reader::{expression_name, schema_without_quotes};
use crate::suggestion;

const DUPLICATES: &[(&str, Duplicates)] =
    &[("refuse", Duplicates::Refuse), ("keep the first", Duplicates::KeepTheFirst)];

const TRIGGERS: &[(&str, bool)] = &[("fire", true), ("off", false)];

const MISSING: &[(&str, Missing)] =
    &[("error", Missing::Error), ("null", Missing::Null), ("leave out", Missing::LeaveOut)];

const ON_ERROR: &[(&str, OnRowError)] = &[
    ("error", OnRowError::Error),
    ("null", OnRowError::Null),
    ("leave out", OnRowError::LeaveOut),
];

/// Reads a rule. `None`: it is of no use, and the error is there.
pub(super) fn read(
    document: &mut Document<'_>,
    key: &Key<'_>,
    table: &DeTable<'_>,
) -> Option<Rule> {
    let name = key.get_ref().as_ref();
    let path = format!("into.{name}");
    let nothing = Placed { value: String::new(), line: 1 };
    let mut rule = Rule {
        name: name.to_owned(),
        table: TableName::parse(name),
        from: nothing,
        makes: None,
        filter: None,
        each: None,
        one_per: None,
        duplicates: Duplicates::default(),
        set: Vec::new(),
        triggers: None,
        line: document.line(key.span().start),
    };
    for (key, value) in table {
        rule_key(document, &mut rule, &path, (key, value));
    }
    if !table.contains_key("from") {
        // A table that only holds tables is most likely a schema.
        let schema = !table.is_empty() && table.iter().all(|(_, value)| value.get_ref().is_table());
        if !schema || table.contains_key("set") {
            let message = format!("[{path}] names no old table that it comes from");
            document.missing(key.span().start, &message, "from = \"users\"");
        }
        return None;
    }
    Some(rule)
}

fn rule_key(
    document: &mut Document<'_>,
    rule: &mut Rule,
    path: &str,
    (key, value): (&Key<'_>, Item<'_, '_>),
) {
    let inner = format!("{path}.{}", key.get_ref());
    match key.get_ref().as_ref() {
        "table" => {
            if let Some(table) = document.text(&inner, value, "\"users\"") {
                rule.table = TableName::parse(table);
            }
        }
        "from" => {
            if let Some(from) = document.name(&inner, value, "\"users\"") {
                rule.from = from;
            }
        }
        "makes" => rule.makes = document.name(&inner, value, "\"user\""),
        "where" => rule.filter = document.expression(&inner, value),
        "each" => {
            let each = each(document, &inner, value);
            rule.each = each.map(|each| document.placed(each, value.span().start));
        }
        "one_per" => rule.one_per = document.expression(&inner, value),
        "duplicates" => {
            rule.duplicates = document.word(&inner, value, DUPLICATES).unwrap_or_default();
        }
        "triggers" => rule.triggers = document.word(&inner, value, TRIGGERS),
        "set" => settings(document, rule, &inner, value),
        written if value.get_ref().is_table() && !is_key(written) => {
            schema_without_quotes(document, "into", &rule.name, key);
        }
        _ => document.unknown(key, &format!("{path}."), Scope::Into),
    }
}

fn settings(document: &mut Document<'_>, rule: &mut Rule, path: &str, value: Item<'_, '_>) {
    let Some(table) = value.get_ref().as_table() else {
        let help = "write a line for each column: set.email = \"lower(email)\"";
        return document.wrong(path, value, "it takes columns", help);
    };
    for (key, value) in table {
        let column = key.get_ref().as_ref();
        let inner = format!("{path}.{column}");
        if column.trim().is_empty() {
            let help = "write set.COLUMN = …";
            document.error("wrong-name", key.span().start, "the column has no name", help);
            continue;
        }
        let read = match value.get_ref() {
            DeValue::Table(table) if table.contains_key("new") => {
                reference(document, &inner, key, table)
            }
            DeValue::Table(table) => valued(document, &inner, key, table),
            _ => document
                .expression(&inner, value)
                .map(|expression| Value::Expression { expression, on_error: OnRowError::Error }),
        };
        let line = document.line(key.span().start);
        rule.set.extend(read.map(|value| Setting { column: column.to_owned(), value, line }));
    }
}

/// `{ new = "user", of = "user_id", when = "…", missing = "null" }`.
fn reference(
    document: &mut Document<'_>,
    path: &str,
    at: &Key<'_>,
    table: &DeTable<'_>,
) -> Option<Value> {
    let (mut new, mut of, mut when, mut missing) = (None, None, None, Missing::default());
    for (key, value) in table {
        let inner = format!("{path}.{}", key.get_ref());
        match key.get_ref().as_ref() {
            "new" => new = document.text(&inner, value, "\"user\"").map(str::to_owned),
            "of" => of = document.expression(&inner, value),
            "when" => when = document.expression(&inner, value),
            "missing" => {
                missing = document.word(&inner, value, MISSING).unwrap_or_default();
            }
            _ => document.unknown(key, &format!("{path}."), Scope::Reference),
        }
    }
    if !table.contains_key("of") {
        let message = format!("`{path}` doesn't say which old row's new id is meant");
        document.missing(at.span().start, &message, "{ new = \"user\", of = \"user_id\" }");
    }
    Some(Value::Reference(NewReference { new: new?, of: of?, when, missing }))
}

/// `{ value = "…", on_error = "null" }`.
fn valued(
    document: &mut Document<'_>,
    path: &str,
    at: &Key<'_>,
    table: &DeTable<'_>,
) -> Option<Value> {
    let (mut expression, mut on_error) = (None, OnRowError::default());
    let is_reference = ["of", "when", "missing"].iter().any(|key| table.contains_key(*key));
    for (key, value) in table {
        let inner = format!("{path}.{}", key.get_ref());
        match key.get_ref().as_ref() {
            "value" => expression = document.expression(&inner, value),
            "on_error" => {
                on_error = document.word(&inner, value, ON_ERROR).unwrap_or_default();
            }
            "of" | "when" | "missing" if !table.contains_key("value") => {}
            written => {
                let known = ["value", "on_error", "new", "of", "when", "missing"];
                if suggestion::nearest(written, known).is_none() && value.get_ref().is_table() {
                    let message = format!("unknown key `{inner}`");
                    let help = "a column whose name has a dot is quoted: set.\"a.b\" = \"…\"";
                    document.error("unknown-key", key.span().start, message, help);
                } else if is_reference || suggestion::nearest(written, ["new"]).is_some() {
                    document.unknown(key, &format!("{path}."), Scope::Reference);
                } else {
                    document.unknown(key, &format!("{path}."), Scope::Set);
                }
            }
        }
    }
    if !table.contains_key("value") {
        let example = if is_reference {
            "{ new = \"user\", of = \"user_id\" }"
        } else {
            "{ value = \"lower(email)\", on_error = \"null\" }"
        };
        document.missing(
            at.span().start,
            &format!("`{path}` has neither `value` nor `new`"),
            example,
        );
    }
    Some(Value::Expression { expression: expression?, on_error })
}

const EACH_HELP: &str = "for example: each = \"who IN subscriptions\", or \
                         each = [{ stage = \"'student'\", who = \"student_id\" }, …]";

fn each(document: &mut Document<'_>, path: &str, value: Item<'_, '_>) -> Option<Each> {
    match value.get_ref() {
        DeValue::String(_) => element(document, path, value),
        DeValue::Array(items) if !items.is_empty() => cases(document, path, items),
        _ => {
            document.wrong(path, value, "it takes `NAME IN LIST`, or a list of tables", EACH_HELP);
            None
        }
    }
}

/// `who IN subscriptions`.
fn element(document: &mut Document<'_>, path: &str, value: Item<'_, '_>) -> Option<Each> {
    let whole = document.expression(path, value)?;
    let mut words = whole.text.splitn(2, char::is_whitespace);
    let name = words.next().unwrap_or_default();
    let rest = words.next().unwrap_or_default().trim_start();
    let list = rest.get(2..).filter(|list| {
        rest.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("in"))
            && list.starts_with(|c: char| c.is_whitespace() || c == '(')
            && !list.trim().is_empty()
    });
    let Some(list) = list else {
        document.wrong(path, value, "it isn't `NAME IN LIST`", EACH_HELP);
        return None;
    };
    if !is_plain(name) || name == "new" {
        let message = format!("`{name}` can't be a name in expressions");
        document.wrong(path, value, &message, EACH_HELP);
        return None;
    }
    let list = Expression { text: list.trim().to_owned(), line: whole.line };
    Some(Each::Element { name: name.to_owned(), list })
}

fn cases(
    document: &mut Document<'_>,
    path: &str,
    items: &[toml::Spanned<DeValue<'_>>],
) -> Option<Each> {
    let mut cases: Vec<Vec<(String, Expression)>> = Vec::new();
    let mut first: Option<Vec<&str>> = None;
    let mut whole = true;
    for item in items {
        let Some(table) = item.get_ref().as_table().filter(|table| !table.is_empty()) else {
            document.wrong(path, item, "it takes `NAME IN LIST`, or a list of tables", EACH_HELP);
            return None;
        };
        let mut case = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let expression = expression_name(document, key)
                .then(|| document.expression(&format!("{path}.{name}"), value))
                .flatten();
            whole &= expression.is_some();
            case.extend(expression.map(|expression| (name.to_owned(), expression)));
        }
        let names: Vec<&str> = table.keys().map(|key| key.get_ref().as_ref()).collect();
        let expected = first.get_or_insert_with(|| names.clone());
        let equal =
            expected.len() == names.len() && expected.iter().all(|name| names.contains(name));
        if !equal {
            let message = format!(
                "it sets {}, and the first one {}",
                suggestion::list(names.iter().copied()),
                suggestion::list(expected.iter().copied())
            );
            document.wrong(path, item, &message, "give each of them the same names");
            whole = false;
        }
        // Rows have their columns in one order.
        case.sort_by_key(|(name, _)| expected.iter().position(|first| first == name));
        cases.push(case);
    }
    whole.then_some(Each::Case(cases))
}
