//! From TOML to a mapping, with every mistake along the way.

use std::path::Path;

use dunlin_model::Diagnostic;
use dunlin_model::moves::{
    Changed, Conflicts, Deleted, Gone, IdKind, IdSpec, LeaveOut, Mapping, MoveMode, Placed,
    SourceSpec, TableName,
};
use toml::de::{DeTable, DeValue};

use super::document::{Document, Item, Key, Scope, is_key, is_plain};
use super::{files, look_up, rule};
use crate::directive::is_name;
use crate::folder::toml_error;

/// The zone of timestamps that carry none, where nothing is said.
const DEFAULT_TIME_ZONE: &str = "UTC";

const MODES: &[(&str, MoveMode)] =
    &[("sync", MoveMode::Sync), ("reload", MoveMode::Reload), ("swap", MoveMode::Swap)];

const KINDS: &[(&str, IdKind)] = &[
    ("keep", IdKind::Keep),
    ("derived", IdKind::Derived),
    ("assigned", IdKind::Assigned),
    ("matched", IdKind::Matched),
];

const CHANGED: &[(&str, Changed)] = &[
    ("keep theirs", Changed::KeepTheirs),
    ("overwrite", Changed::Overwrite),
    ("stop", Changed::Stop),
];

const DELETED: &[(&str, Deleted)] = &[
    ("leave deleted", Deleted::LeaveDeleted),
    ("restore", Deleted::Restore),
    ("stop", Deleted::Stop),
];

const GONE: &[(&str, Gone)] = &[("delete", Gone::Delete), ("keep", Gone::Keep)];

/// Reads the text of a mapping; `file` is for messages.
///
/// # Errors
/// Unknown keys and words, wrong types, what is missing: all of them, with line and column.
pub fn parse_mapping(name: &str, file: &Path, text: &str) -> Result<Mapping, Vec<Diagnostic>> {
    let text = text.trim_start_matches('\u{feff}');
    let (table, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        return Err(syntax.iter().map(|error| toml_error(file, text, error)).collect());
    }
    let mut document = Document::new(file, text);
    let nowhere = || Placed { value: String::new(), line: 1 };
    let mut mapping = Mapping {
        name: name.to_owned(),
        file: file.to_owned(),
        source: nowhere(),
        target: nowhere(),
        mode: MoveMode::default(),
        time_zone: DEFAULT_TIME_ZONE.to_owned(),
        id_key: None,
        ids: Vec::new(),
        conflicts: Conflicts::default(),
        files: None,
        sources: Vec::new(),
        rules: Vec::new(),
        leave_out: Vec::new(),
        finished: None,
    };
    read(&mut document, table.get_ref(), &mut mapping);
    if document.errors.is_empty() {
        return Ok(mapping);
    }
    let place = |error: &Diagnostic| error.place.as_ref().map(|place| (place.line, place.column));
    document.errors.sort_by_key(place);
    Err(document.errors)
}

fn read(document: &mut Document<'_>, table: &DeTable<'_>, mapping: &mut Mapping) {
    for (key, value) in table {
        match key.get_ref().as_ref() {
            path @ "source" => {
                mapping.source = document.name(path, value, "\"old\"").unwrap_or_else(said);
            }
            path @ "target" => {
                mapping.target = document.name(path, value, "\"app\"").unwrap_or_else(said);
            }
            path @ "mode" => {
                mapping.mode = document.word(path, value, MODES).unwrap_or_default();
            }
            path @ "time_zone" => {
                let zone = document.text(path, value, "\"Europe/Berlin\"");
                mapping.time_zone = zone.unwrap_or_default().to_owned();
            }
            path @ "id_key" => {
                mapping.id_key = document.text(path, value, "\"design-queue\"").map(str::to_owned);
            }
            path @ "finished" => {
                mapping.finished = document.name(path, value, "\"2026-01-31\"");
            }
            path @ "ids" => {
                if let Some(names) = document.table(path, value) {
                    mapping.ids =
                        names.iter().filter_map(|(key, value)| id(document, key, value)).collect();
                }
            }
            path @ "conflicts" => {
                if let Some(table) = document.table(path, value) {
                    mapping.conflicts = conflicts(document, table);
                }
            }
            path @ "files" => mapping.files = files::options(document, path, value),
            path @ "from" => {
                for (key, table) in document.tables(path, value) {
                    mapping.sources.push(source(document, key, table));
                }
            }
            path @ "into" => {
                for (key, table) in document.tables(path, value) {
                    mapping.rules.extend(rule::read(document, key, table));
                }
            }
            "leave_out" => mapping.leave_out = leave_outs(document, value),
            _ => document.unknown(key, "", Scope::Top),
        }
    }
    for (key, example) in [("source", "old"), ("target", "app")] {
        if !table.contains_key(key) {
            let message = format!("the mapping names no {key}");
            let example = format!("{key} = \"{example}\", a database in dunlin.toml");
            document.missing(0, &message, &example);
        }
    }
}

/// What stands for a value that is wrong: the error is there already.
fn said() -> Placed<String> {
    Placed { value: String::new(), line: 1 }
}

/// `NAME = "derived"`, or `NAME = { kind = "keep", headroom = 1000 }`.
fn id(document: &mut Document<'_>, key: &Key<'_>, value: Item<'_, '_>) -> Option<IdSpec> {
    let name = key.get_ref().as_ref();
    let path = format!("ids.{name}");
    if !is_name(name) {
        let help = "a name has letters, digits, `-` and `_`";
        document.error("wrong-name", key.span().start, format!("`{name}` is no name"), help);
        return None;
    }
    let line = document.line(key.span().start);
    let mut spec = IdSpec {
        name: name.to_owned(),
        kind: IdKind::Keep,
        headroom: None,
        table: None,
        by: Vec::new(),
        by_values: Vec::new(),
        from: None,
        line,
    };
    let Some(table) = value.get_ref().as_table() else {
        spec.kind = document.word(&path, value, KINDS)?;
        if spec.kind == IdKind::Matched {
            let help =
                format!("{name} = {{ kind = \"matched\", table = \"users\", by = \"email\" }}");
            let message = format!("`{path}`: it isn't said which rows are matched, and by what");
            document.missing(value.span().start, &message, &help);
        }
        return Some(spec);
    };
    let kind = table.iter().find(|(key, _)| key.get_ref() == "kind");
    match kind {
        Some((_, value)) => spec.kind = document.word(&format!("{path}.kind"), value, KINDS)?,
        None => {
            let message = format!("`{path}` has no kind");
            document.missing(
                value.span().start,
                &message,
                &format!("{name} = {{ kind = \"keep\" }}"),
            );
            return None;
        }
    }
    for (key, value) in table {
        id_key(document, &mut spec, &path, (key, value));
    }
    if spec.kind == IdKind::Matched && !(table.contains_key("table") && table.contains_key("by")) {
        let help = format!("{name} = {{ kind = \"matched\", table = \"users\", by = \"email\" }}");
        let message = format!("`{path}`: `matched` needs `table` and `by`");
        document.missing(key.span().start, &message, &help);
    }
    if spec.kind == IdKind::Matched && spec.from.is_some() == spec.by_values.is_empty() {
        let message = format!("`{path}`: `from` and the values of `by` belong together");
        let help = format!(
            "{name} = {{ kind = \"matched\", table = \"countries\", from = \"lands\", by = {{ code = \"upper(iso)\" }} }}"
        );
        document.missing(key.span().start, &message, &help);
    }
    Some(spec)
}

fn id_key(
    document: &mut Document<'_>,
    spec: &mut IdSpec,
    path: &str,
    (key, value): (&Key<'_>, Item<'_, '_>),
) {
    let name = key.get_ref().as_ref();
    let inner = format!("{path}.{name}");
    match name {
        "kind" => return,
        "headroom" => {
            let number = value.get_ref().as_integer().and_then(|n| n.to_string().parse().ok());
            // Numbers of columns are signed.
            spec.headroom = number.filter(|number: &u64| i64::try_from(*number).is_ok());
            if spec.headroom.is_none() {
                let help = "for example: headroom = 1000";
                document.wrong(&inner, value, "it takes a whole number that isn't negative", help);
            }
        }
        "table" => {
            spec.table = document.text(&inner, value, "\"users\"").map(TableName::parse);
        }
        "from" => spec.from = document.name(&inner, value, "\"old_countries\""),
        "by" => match value.get_ref().as_table() {
            Some(values) => {
                for (column, value) in values {
                    let column = column.get_ref().as_ref();
                    let expression = document.expression(&format!("{inner}.{column}"), value);
                    spec.by.push(column.to_owned());
                    spec.by_values.extend(expression);
                }
            }
            None => {
                let names = document.names(&inner, value, "[\"email\"]");
                spec.by = names.into_iter().map(|name| name.value).collect();
            }
        },
        _ => return document.unknown(key, &format!("{path}."), Scope::Ids),
    }
    let belongs = if name == "headroom" { IdKind::Keep } else { IdKind::Matched };
    if spec.kind != belongs {
        let kind = if name == "headroom" { "keep" } else { "matched" };
        let help = format!("take it away, or write kind = \"{kind}\"");
        let message = format!("`{inner}` means something for `{kind}` only");
        document.error("wrong-value", key.span().start, message, help);
    }
}

fn conflicts(document: &mut Document<'_>, table: &DeTable<'_>) -> Conflicts {
    let mut conflicts = Conflicts::default();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let path = format!("conflicts.{name}");
        match name {
            "changed_there" => {
                conflicts.changed_there = document.word(&path, value, CHANGED).unwrap_or_default();
            }
            "deleted_there" => {
                conflicts.deleted_there = document.word(&path, value, DELETED).unwrap_or_default();
            }
            "gone_here" => {
                conflicts.gone_here = document.word(&path, value, GONE).unwrap_or_default();
            }
            "max_deleted" => {
                conflicts.max_deleted_percent = value.get_ref().as_str().and_then(percent);
                if conflicts.max_deleted_percent.is_none() {
                    let message = "it takes a share of a table's rows from 0% to 100%";
                    document.wrong(&path, value, message, "for example: max_deleted = \"10%\"");
                }
            }
            _ => document.unknown(key, "conflicts.", Scope::Conflicts),
        }
    }
    conflicts
}

/// A share from `0%` to `100%`, in hundredths.
#[must_use]
pub fn percent(text: &str) -> Option<u8> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|percent: &u8| digits && *percent <= 100)
}

fn source(document: &mut Document<'_>, key: &Key<'_>, table: &DeTable<'_>) -> SourceSpec {
    let name = key.get_ref().as_ref();
    let mut spec = SourceSpec::of(name, document.line(key.span().start));
    let path = format!("from.{name}");
    for (key, value) in table {
        let inner = format!("{path}.{}", key.get_ref());
        match key.get_ref().as_ref() {
            "table" => {
                spec.table = document.text(&inner, value, "\"legacy_users\"").map(TableName::parse);
            }
            "query" => {
                let text = document.text(&inner, value, "\"SELECT id, email FROM users\"");
                let line = document.line(value.span().start);
                spec.query = text.map(|text| Placed { value: text.to_owned(), line });
            }
            "key" => spec.key = key_columns(document, &inner, value),
            "unused" => spec.unused = document.names(&inner, value, "[\"flavor\"]"),
            "types" => spec.types = files::types(document, &inner, value),
            "file" => spec.file = files::options(document, &inner, value),
            "look_up" => {
                if let Some(table) = document.table(&inner, value) {
                    spec.look_ups = look_up::read(document, &inner, table);
                }
            }
            "let" => {
                if let Some(table) = document.table(&inner, value) {
                    lets(document, &inner, table, &mut spec);
                }
            }
            written if value.get_ref().is_table() && !is_key(written) => {
                schema_without_quotes(document, "from", name, key)
            }
            _ => document.unknown(key, &format!("{path}."), Scope::From),
        }
    }
    if table.contains_key("table") && table.contains_key("query") {
        let message = format!("`{path}` has a table and a query");
        document.error("wrong-value", key.span().start, message, "take one of them away");
    }
    spec
}

/// `[from.sales.orders]` is a table `orders` in the table `sales` of `from`.
pub(super) fn schema_without_quotes(
    document: &mut Document<'_>,
    within: &str,
    name: &str,
    key: &Key<'_>,
) {
    let written = key.get_ref();
    let message = format!("unknown key `{within}.{name}.{written}`");
    let help = format!("a table of another schema is quoted: [{within}.\"{name}.{written}\"]");
    document.error("unknown-key", key.span().start, message, help);
}

/// `["tenant_id", "id"]`, or `"tenant_id, id"`.
pub(super) fn key_columns(
    document: &mut Document<'_>,
    path: &str,
    value: Item<'_, '_>,
) -> Vec<String> {
    let names = document.names(path, value, "[\"id\"]");
    match value.get_ref() {
        DeValue::String(_) => names
            .iter()
            .flat_map(|name| name.value.split(','))
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
        _ => names.into_iter().map(|name| name.value).collect(),
    }
}

fn lets(document: &mut Document<'_>, path: &str, table: &DeTable<'_>, spec: &mut SourceSpec) {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        if expression_name(document, key) {
            let expression = document.expression(&format!("{path}.{name}"), value);
            spec.lets.extend(expression.map(|expression| (name.to_owned(), expression)));
        }
    }
}

/// Whether a key can be a name in expressions; if not, that is an error.
pub(super) fn expression_name(document: &mut Document<'_>, key: &Key<'_>) -> bool {
    let name = key.get_ref().as_ref();
    let fits = is_plain(name) && name != "new";
    if !fits {
        let message = format!("`{name}` can't be a name in expressions");
        let help = if name == "new" {
            "`new.` stands for the new row's columns: take another name"
        } else {
            "it has letters, digits and `_`, and begins with a letter"
        };
        document.error("wrong-name", key.span().start, message, help);
    }
    fits
}

fn leave_outs(document: &mut Document<'_>, value: Item<'_, '_>) -> Vec<LeaveOut> {
    let help = "write [[leave_out]] on a line of its own, once for each";
    let Some(items) = value.get_ref().as_array() else {
        document.error("wrong-type", value.span().start, "`leave_out` is not a list", help);
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        match item.get_ref().as_table() {
            Some(table) => found.extend(leave_out(document, item.span().start, table)),
            None => {
                let message = "`leave_out` is not a list of tables";
                document.error("wrong-type", item.span().start, message, help);
            }
        }
    }
    found
}

fn leave_out(document: &mut Document<'_>, offset: usize, table: &DeTable<'_>) -> Option<LeaveOut> {
    let (mut from, mut filter, mut because) = (None, None, None);
    for (key, value) in table {
        let path = format!("leave_out.{}", key.get_ref());
        match key.get_ref().as_ref() {
            "from" => from = document.name(&path, value, "\"comments\""),
            "where" => filter = document.expression(&path, value),
            "because" => because = document.text(&path, value, "\"an empty comment\""),
            _ => document.unknown(key, "leave_out.", Scope::LeaveOut),
        }
    }
    for (key, what, example) in [
        ("from", "[[leave_out]] names no old table", "from = \"comments\""),
        ("because", "[[leave_out]] gives no reason", "because = \"an empty comment\""),
    ] {
        if !table.contains_key(key) {
            document.missing(offset, what, example);
        }
    }
    let line = document.line(offset);
    Some(LeaveOut { from: from?, filter, because: because?.to_owned(), line })
}
