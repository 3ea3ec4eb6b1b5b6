//! Namespaces of ids: who makes them, and whether their columns can hold them.

use std::collections::BTreeMap;

use dunlin_model::moves::{
    Field, IdKind, IdSpec, Numbering, Relation, Rule, Value, ValueType, largest_number,
};

use super::super::identifiers::mentioned;
use super::{Check, can_be_key, help_columns, help_names, help_tables};
use crate::suggestion;

pub(super) fn check(check: &mut Check<'_>) {
    let mapping = check.mapping;
    let mut makers: BTreeMap<&str, &Rule> = BTreeMap::new();
    for rule in &mapping.rules {
        let Some(makes) = &rule.makes else { continue };
        if check.ids(&makes.value).is_none() {
            unknown(check, &makes.value, makes.line, "makes");
        }
        match makers.get(makes.value.as_str()) {
            Some(first) => check.error(
                "ids-made-twice",
                makes.line,
                format!("[into.{}] makes `{}` as well", first.name, makes.value),
                "give each rule ids of its own under [ids], or make one rule of both",
            ),
            None => drop(makers.insert(&makes.value, rule)),
        }
    }
    kept_twice(check);
    for spec in &mapping.ids {
        match makers.get(spec.name.as_str()) {
            Some(rule) => made(check, spec, rule),
            None => not_made(check, spec),
        }
        if spec.kind == IdKind::Matched {
            matched(check, spec);
        }
    }
}

/// Two rules that keep old keys in one table: old rows of two tables may well share a number.
fn kept_twice(check: &mut Check<'_>) {
    let mut keepers: BTreeMap<String, &str> = BTreeMap::new();
    for rule in &check.mapping.rules {
        let Some(makes) = &rule.makes else { continue };
        if check.ids(&makes.value).is_none_or(|spec| spec.kind != IdKind::Keep) {
            continue;
        }
        match keepers.get(&rule.table.to_string()) {
            Some(first) => check.warning(
                "ids-kept-twice",
                makes.line,
                format!(
                    "[into.{first}] keeps old keys in `{}` as well: two may be one",
                    rule.table
                ),
                "make sure that no two are, or take another kind under [ids] for one of them",
            ),
            None => drop(keepers.insert(rule.table.to_string(), &rule.name)),
        }
    }
}

/// A namespace that [ids] doesn't have.
pub(super) fn unknown(check: &mut Check<'_>, name: &str, line: usize, key: &str) {
    let known = check.mapping.ids.iter().map(|spec| spec.name.as_str());
    let help = match suggestion::nearest(name, known.clone()) {
        None if check.mapping.ids.is_empty() => {
            format!("say how its ids come about: {name} = \"derived\" under [ids]")
        }
        _ => help_names(name, known, "those of [ids]"),
    };
    let message = format!("`{key}` names `{name}`, which [ids] doesn't have");
    check.error("unknown-ids", line, message, help);
}

fn not_made(check: &mut Check<'_>, spec: &IdSpec) {
    let refers =
        |value: &Value| matches!(value, Value::Reference(reference) if reference.new == spec.name);
    let referred =
        check.mapping.rules.iter().any(|rule| rule.set.iter().any(|set| refers(&set.value)));
    let name = &spec.name;
    match (spec.kind, referred) {
        (IdKind::Matched, true) if spec.from.is_none() && spec.by.len() > 1 => check.error(
            "composite-reference",
            spec.line,
            format!("`of` gives one value, and `{name}` is matched by {}", spec.by.len()),
            "name the old table by `from`, and give `by` a value for each; or let a rule make them",
        ),
        (IdKind::Matched, true) => {}
        (_, true) => check.error(
            "ids-never-made",
            spec.line,
            format!("no rule makes `{name}`, so nothing can refer to it"),
            format!("add makes = \"{name}\" to the rule whose rows have these ids"),
        ),
        (_, false) => check.error(
            "ids-never-made",
            spec.line,
            format!("no rule makes `{name}`, and none refers to it"),
            format!("take it away, or add makes = \"{name}\" to a rule"),
        ),
    }
}

/// A namespace and the rule that makes it.
fn made(check: &mut Check<'_>, spec: &IdSpec, rule: &Rule) {
    if let Some(each) = &rule.each {
        check.error(
            "id-for-several",
            each.line,
            format!(
                "[into.{}] makes one `{}` of each old row, and `each` several rows",
                rule.name, spec.name
            ),
            "take `makes` away and set the whole primary key, or take `each` away",
        );
    }
    let Some(relation) = check.target.relation(&rule.table) else { return };
    let line = rule.makes.as_ref().map_or(rule.line, |makes| makes.line);
    let field = match &relation.key[..] {
        [column] => relation.field(column),
        // That it has none is said of the rule.
        [] => return,
        columns => {
            let message = format!(
                "`makes` fills a primary key of one column, and that of `{}` has {}",
                relation.name,
                suggestion::list(columns.iter().map(String::as_str))
            );
            let help = "take `makes` away and set these columns";
            return check.error("id-type", line, message, help);
        }
    };
    let Some(field) = field else { return };
    if let Some(setting) = rule.set.iter().find(|setting| setting.column == field.name)
        && matches!(spec.kind, IdKind::Derived | IdKind::Assigned | IdKind::Matched)
    {
        let message = format!("`{}` is set, and `makes` fills it as well", column(relation, field));
        let help = format!("take set.{} away, or `makes`", field.name);
        check.error("set-twice", setting.line, message, help);
    }
    match spec.kind {
        IdKind::Keep => keep(check, spec, rule, relation, field),
        IdKind::Derived if !holds_uuids(field) => check.error(
            "id-type",
            spec.line,
            format!(
                "derived ids are UUIDs, and `{}` is {}",
                column(relation, field),
                field.type_name
            ),
            other_kind(spec.kind, field),
        ),
        IdKind::Assigned => assigned(check, spec, relation, field),
        IdKind::Matched if spec.table.as_ref().is_some_and(|table| *table != rule.table) => {
            let table = spec.table.as_ref().map(ToString::to_string).unwrap_or_default();
            let message =
                format!("`{}` is matched in `{table}`, and made in `{}`", spec.name, rule.table);
            check.error("id-type", line, message, "name the same table in both");
        }
        IdKind::Matched => matched_rule(check, spec, rule, relation, field),
        IdKind::Derived => {}
    }
}

/// A rule whose rows are looked for by what it sets their natural key to.
fn matched_rule(
    check: &mut Check<'_>,
    spec: &IdSpec,
    rule: &Rule,
    relation: &Relation,
    id: &Field,
) {
    if let Some(from) = &spec.from {
        let message = format!("`{}` is made by [into.{}], and has a `from`", spec.name, rule.name);
        let help = "take `from` away: the rule says what the columns of `by` are set to";
        return check.error("wrong-value", from.line, message, help);
    }
    for by in spec.by.iter().filter(|by| relation.field(by).is_some()) {
        let is_plain = rule.set.iter().any(|setting| {
            setting.column == **by
                && matches!(&setting.value, Value::Expression { expression, .. }
                    if mentioned(&expression.text).new.is_empty())
        });
        if !is_plain {
            let message = format!(
                "`{}` is matched by `{by}`, and [into.{}] doesn't set it to an expression over the old row",
                spec.name, rule.name
            );
            check.error("matched-not-set", spec.line, message, format!("add set.{by} = \"…\""));
        }
    }
    if !(holds_uuids(id) || is_integer(&id.value_type) && id.is_numbered()) {
        let message = format!(
            "old rows that no row of `{}` matches are rejected: `{}` is neither numbered by the database nor holds UUIDs",
            rule.table,
            column(relation, id)
        );
        let help = "make sure that each has its row, or leave the others out by `where`";
        check.warning("matched-without-id", spec.line, message, help);
    }
}

fn keep(check: &mut Check<'_>, spec: &IdSpec, rule: &Rule, relation: &Relation, field: &Field) {
    headroom(check, spec, relation, field);
    let key = check.old_key(&rule.from.value);
    let old = match &key[..] {
        [only] => check.old(&rule.from.value).and_then(|old| old.field(only)),
        [] => None,
        columns => {
            let message = format!(
                "`{}` can't be kept: the key of `{}` is {}",
                spec.name,
                rule.from.value,
                suggestion::list(columns.iter().map(String::as_str))
            );
            check.error("id-type", spec.line, message, other_kind(spec.kind, field));
            None
        }
    };
    if let Some(old) = old
        && !can_keep(old, field)
    {
        let message = format!(
            "`{}` can't be kept: `{}.{}` is {}, and `{}` is {}",
            spec.name,
            rule.from.value,
            old.name,
            old.type_name,
            column(relation, field),
            field.type_name
        );
        check.error("id-type", spec.line, message, other_kind(spec.kind, field));
    }
}

/// Whether the target's own numbers can go on above the old ones.
fn headroom(check: &mut Check<'_>, spec: &IdSpec, relation: &Relation, field: &Field) {
    let Some(headroom) = spec.headroom else { return };
    let column = column(relation, field);
    let (message, help) = match field.numbering {
        Numbering::Counter => {
            let Some(most) = largest_number(&field.value_type) else { return };
            if headroom < most.unsigned_abs() {
                return;
            }
            let message = format!("`headroom` is more than `{column}` can hold: up to {most}");
            let help = "for example: headroom = 1000";
            return check.error("wrong-value", spec.line, message, help);
        }
        Numbering::LargestThere => (
            format!(
                "`headroom` does nothing: `{column}` is numbered right above the largest number \
                 that is there, and a row of the application's may take an old one's"
            ),
            "declare it INTEGER PRIMARY KEY AUTOINCREMENT, which has a counter; or take headroom away",
        ),
        Numbering::None => (
            format!("`headroom` does nothing: the database doesn't number `{column}`"),
            "take it away",
        ),
    };
    check.warning("headroom-without-numbers", spec.line, message, help);
}

fn assigned(check: &mut Check<'_>, spec: &IdSpec, relation: &Relation, field: &Field) {
    let column = column(relation, field);
    if !is_integer(&field.value_type) {
        check.error(
            "id-type",
            spec.line,
            format!("assigned ids are whole numbers, and `{column}` is {}", field.type_name),
            other_kind(spec.kind, field),
        );
    } else if !field.is_numbered() {
        check.error(
            "id-type",
            spec.line,
            format!("ids can't be assigned: the database doesn't number `{column}`"),
            format!("{} = \"keep\" keeps the old numbers", spec.name),
        );
    }
}

fn matched(check: &mut Check<'_>, spec: &IdSpec) {
    let Some(table) = &spec.table else { return };
    let Some(relation) = check.target.relation(table) else {
        let message = format!("`{}` has no table `{table}`", check.mapping.target.value);
        let help = help_tables(&table.to_string(), check.target);
        return check.error("unknown-table", spec.line, message, help);
    };
    if relation.key.len() != 1 {
        check.error(
            "id-type",
            spec.line,
            format!("`{}`: `{table}` has no primary key of one column to match", spec.name),
            "matched ids need a table whose rows have one id",
        );
    }
    for by in spec.by.iter().filter(|by| relation.field(by).is_none()) {
        let message = format!("`{}` is matched by `{table}.{by}`, which doesn't exist", spec.name);
        check.error("unknown-column", spec.line, message, help_columns(by, relation));
    }
    let fields = spec.by.iter().filter_map(|by| relation.field(by));
    for field in fields.filter(|field| !can_be_key(&field.value_type)) {
        let message = format!(
            "`{}` is matched by `{}`, which is {}, and no key",
            spec.name,
            column(relation, field),
            field.type_name
        );
        check.error("key-type", spec.line, message, "match by columns of another type");
    }
    if let Some(from) = &spec.from
        && check.old_key(&from.value).len() != 1
        && check.old(&from.value).is_some()
    {
        let message = format!("rows of `{}` can't be referred to by one value", from.value);
        let help = format!(
            "name one column that tells them apart: key = \"…\" under [from.{}]",
            from.value
        );
        check.error("composite-reference", from.line, message, help);
    }
    let covers = |unique: &Vec<String>| unique.iter().all(|column| spec.by.contains(column));
    if !relation.unique.iter().any(covers) && spec.by.iter().all(|by| relation.field(by).is_some())
    {
        let by = suggestion::list(spec.by.iter().map(String::as_str));
        let message = format!("no unique index keeps two rows of `{table}` from sharing {by}");
        let help = "make sure that no two do: a key that matches several rows is an error";
        check.warning("matched-not-unique", spec.line, message, help);
    }
}

/// `table.column`.
pub(super) fn column(relation: &Relation, field: &Field) -> String {
    format!("{}.{}", relation.name, field.name)
}

/// How else ids could come into a column.
fn other_kind(kind: IdKind, field: &Field) -> String {
    let integer = is_integer(&field.value_type);
    let fits = [
        ("keep", IdKind::Keep, integer || !holds_uuids(field)),
        ("assigned", IdKind::Assigned, integer && field.is_numbered()),
        ("derived", IdKind::Derived, holds_uuids(field)),
    ];
    let fits: Vec<String> = fits
        .iter()
        .filter(|(_, other, fits)| *fits && *other != kind)
        .map(|(word, _, _)| format!("`{word}`"))
        .collect();
    if fits.is_empty() {
        return format!("take `makes` away, and set the column: set.{} = \"…\"", field.name);
    }
    format!("{} would do for such a column", fits.join(" or "))
}

pub(crate) fn is_integer(of: &ValueType) -> bool {
    matches!(of, ValueType::Int16 | ValueType::Int32 | ValueType::Int64 | ValueType::UInt64)
}

/// Whether a column can hold UUIDs: as such, as 36 characters or as 16 bytes.
pub(crate) fn holds_uuids(field: &Field) -> bool {
    match field.value_type {
        ValueType::Uuid => true,
        ValueType::Text { .. } => field.max_chars.is_none_or(|most| most >= 36),
        ValueType::Bytes => {
            let name = field.type_name.to_lowercase();
            let length = name.split_once('(').and_then(|(_, rest)| rest.split(')').next());
            match length.and_then(|length| length.trim().parse::<u32>().ok()) {
                Some(length) if name.starts_with("var") => length >= 16,
                Some(length) => length == 16,
                None => true,
            }
        }
        _ => false,
    }
}

/// Whether an old key can stand in a new column as it is. Whether each number fits into a smaller
/// type shows row by row.
pub(crate) fn can_keep(old: &Field, new: &Field) -> bool {
    if is_integer(&old.value_type) {
        return is_integer(&new.value_type) || matches!(new.value_type, ValueType::Numeric { .. });
    }
    match (&old.value_type, &new.value_type) {
        (ValueType::Uuid, _) => holds_uuids(new),
        (ValueType::Text { .. } | ValueType::Enum(_), ValueType::Text { .. } | ValueType::Uuid) => {
            true
        }
        (old, new) => old == new,
    }
}

/// Whether two columns hold the same kind of id.
pub(super) fn same_ids(one: &Field, other: &Field) -> bool {
    can_keep(one, other) || can_keep(other, one)
}
