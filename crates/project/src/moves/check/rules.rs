//! Rules and the tables that they fill.

use std::collections::BTreeSet;

use dunlin_model::moves::{
    Field, IdKind, Missing, NewReference, OnRowError, Relation, Rule, Setting, Value,
};

use super::ids::{column, same_ids};
use super::{Check, can_be_key, help_columns, help_tables, ids};
use crate::suggestion;

pub(super) fn check(check: &mut Check<'_>, rule: &Rule) {
    let database = &check.mapping.target.value;
    let Some(relation) = check.target.relation(&rule.table) else {
        let message = format!("`{database}` has no table `{}`", rule.table);
        let help = help_tables(&rule.table.to_string(), check.target);
        check.error("unknown-table", rule.line, message, help);
        for setting in &rule.set {
            namespace(check, setting);
        }
        return;
    };
    if !relation.is_table {
        let message = format!("`{}` of `{database}` is a view, and can't be filled", rule.table);
        check.error("not-a-table", rule.line, message, "name the table behind it");
    }
    let mut seen = BTreeSet::new();
    for setting in &rule.set {
        if !seen.insert(setting.column.as_str()) {
            let message = format!("`{}.{}` is set twice", rule.table, setting.column);
            check.error("set-twice", setting.line, message, "take one of them away");
        }
        namespace(check, setting);
        match relation.field(&setting.column) {
            Some(field) => set(check, rule, relation, (field, setting)),
            None => check.error(
                "unknown-column",
                setting.line,
                format!("`{}` has no column `{}`", rule.table, setting.column),
                help_columns(&setting.column, relation),
            ),
        }
    }
    key(check, rule, relation);
    not_set(check, rule, relation);
}

/// Whether [ids] has what a reference names.
fn namespace(check: &mut Check<'_>, setting: &Setting) {
    if let Value::Reference(reference) = &setting.value
        && check.ids(&reference.new).is_none()
    {
        ids::unknown(check, &reference.new, setting.line, "new");
    }
}

fn set(check: &mut Check<'_>, rule: &Rule, relation: &Relation, at: (&Field, &Setting)) {
    let (field, setting) = at;
    let name = column(relation, field);
    if field.generated {
        let message = format!("`{name}` is computed by the database, and can't be set");
        let help = format!("take set.{} away", setting.column);
        check.error("generated-column", setting.line, message, help);
    }
    match &setting.value {
        Value::Reference(reference) => {
            refer(check, relation, at, reference);
        }
        Value::Expression { expression, on_error } => {
            if *on_error == OnRowError::Null && !field.nullable {
                let message = format!("`{name}` is NOT NULL, so `on_error` can't make it NULL");
                check.error(
                    "null-in-not-null",
                    setting.line,
                    message,
                    "write \"leave out\" or \"error\"",
                );
            }
            copied(check, rule, relation, at, &expression.text);
        }
    }
}

/// `{ new = … }` into a column.
fn refer(
    check: &mut Check<'_>,
    relation: &Relation,
    (field, setting): (&Field, &Setting),
    reference: &NewReference,
) {
    let name = column(relation, field);
    if reference.missing == Missing::Null && !field.nullable {
        let message = format!("`{name}` is NOT NULL, so `missing` can't make it NULL");
        check.error("null-in-not-null", setting.line, message, "write \"leave out\" or \"error\"");
    }
    if reference.when.is_some() && !field.nullable {
        let message = format!("`{name}` is NOT NULL, and is NULL where `when` doesn't hold");
        let help = "put the condition into the rule's `where`";
        check.warning("null-in-not-null", setting.line, message, help);
    }
    let Some(spec) = check.ids(&reference.new) else { return };
    let maker = check.maker(spec);
    if let Some(maker) = maker.filter(|maker| check.old_key(&maker.from.value).len() > 1) {
        let message = format!(
            "`of` gives one value, and rows of `{}` are told apart by {}",
            maker.from.value,
            suggestion::list(check.old_key(&maker.from.value).iter().map(String::as_str))
        );
        let help =
            format!("name one column that does: key = \"…\" under [from.{}]", maker.from.value);
        check.error("composite-reference", reference.of.line, message, help);
    }
    let Some((made_in, id)) = check.id_column(spec) else { return };
    if !same_ids(id, field) {
        let message = format!(
            "`{name}` is {}, and ids of `{}` are {}",
            field.type_name, reference.new, id.type_name
        );
        let help = format!("it takes an id like `{}`", column(made_in, id));
        check.error("id-type", setting.line, message, help);
        return;
    }
    let key = foreign_key(relation, field);
    if let Some(to) = key.filter(|to| **to != made_in.name) {
        let to = to.to_string();
        let message = format!(
            "`{name}` refers to `{to}`, and ids of `{}` are those of `{}`",
            reference.new, made_in.name
        );
        let made = check.mapping.rules.iter().find(|rule| rule.table.to_string() == to);
        let help = match made.and_then(|rule| rule.makes.as_ref()) {
            Some(makes) => format!("did you mean new = \"{}\"?", makes.value),
            None => "make sure that both tables share their ids".to_owned(),
        };
        check.warning("refers-elsewhere", setting.line, message, help);
    }
}

/// The table that a column refers to.
fn foreign_key<'r>(
    relation: &'r Relation,
    field: &Field,
) -> Option<&'r dunlin_model::moves::TableName> {
    let of = |columns: &[String]| matches!(columns, [only] if *only == field.name);
    relation.foreign_keys.iter().find(|key| of(&key.columns)).map(|key| &key.to)
}

/// An old reference that is copied as it is, into a column that refers to rows with new ids.
fn copied(
    check: &mut Check<'_>,
    rule: &Rule,
    relation: &Relation,
    (field, setting): (&Field, &Setting),
    text: &str,
) {
    let Some(to) = foreign_key(relation, field) else { return };
    let is_column = check.old(&rule.from.value).is_some_and(|old| old.field(text).is_some());
    let maker = check.mapping.rules.iter().find(|rule| rule.table == *to);
    let Some(makes) = maker.and_then(|rule| rule.makes.as_ref()) else { return };
    let changes = check.ids(&makes.value).is_some_and(|spec| spec.kind != IdKind::Keep);
    if is_column && changes {
        check.warning(
            "old-reference",
            setting.line,
            format!(
                "`{}` refers to `{to}`, whose rows get new ids, and is set to an old one",
                column(relation, field)
            ),
            format!("write {{ new = \"{}\", of = \"{text}\" }}", makes.value),
        );
    }
}

/// Whether each row's key is known before it is written.
fn key(check: &mut Check<'_>, rule: &Rule, relation: &Relation) {
    if relation.key.is_empty() {
        check.error(
            "target-without-key",
            rule.line,
            format!("`{}` has no primary key, so its rows can't be found again", rule.table),
            "give it a primary key, or a unique index over NOT NULL columns",
        );
        return;
    }
    let fields = relation.key.iter().filter_map(|column| relation.field(column));
    for field in fields.filter(|field| !can_be_key(&field.value_type)) {
        let setting = rule.set.iter().find(|setting| setting.column == field.name);
        check.error(
            "key-type",
            setting.map_or(rule.line, |setting| setting.line),
            format!(
                "`{}` is {}, and part of the key: rows can't be found again by it",
                column(relation, field),
                field.type_name
            ),
            "give the table a key of another type: numeric, or text",
        );
    }
    if rule.makes.is_some() && relation.key.len() == 1 {
        return;
    }
    let missing: Vec<&str> =
        relation.key.iter().filter(|column| !is_set(rule, column)).map(String::as_str).collect();
    if missing.is_empty() {
        return;
    }
    let (message, help) = match &relation.key[..] {
        [only] => (
            format!("nothing sets `{}.{only}`, the primary key", rule.table),
            format!("add makes = \"…\", with a line under [ids], or set.{only} = \"…\""),
        ),
        _ => (
            format!(
                "nothing sets {} of the primary key of `{}`",
                suggestion::list(missing.iter().copied()),
                rule.table
            ),
            format!("add set.{} = \"…\"", missing.join(" = \"…\" and set.")),
        ),
    };
    check.error("key-not-set", rule.line, message, help);
}

/// NOT NULL columns without a default; those of the key are told of already.
fn not_set(check: &mut Check<'_>, rule: &Rule, relation: &Relation) {
    for field in &relation.fields {
        let filled = field.nullable || field.has_default || field.is_numbered() || field.generated;
        if filled || relation.key.contains(&field.name) || is_set(rule, &field.name) {
            continue;
        }
        let name = column(relation, field);
        check.error(
            "column-not-set",
            rule.line,
            format!("nothing sets `{name}`, which is NOT NULL and has no default"),
            format!("add set.{} = \"…\" to [into.{}]", field.name, rule.name),
        );
    }
}

fn is_set(rule: &Rule, column: &str) -> bool {
    rule.set.iter().any(|setting| setting.column == column)
}
