//! Which old table and column a new one most likely comes from.

use std::collections::BTreeSet;

use dunlin_model::moves::{Catalogue, Field, IdKind, Numbering, Relation, TableName, ValueType};

use super::super::check::{can_keep, holds_uuids, is_integer};
use super::words::{expression_of, fold, id_name, parts, plain, singular};

/// Columns that frameworks call differently and mean alike.
const ALIKE: &[&[&str]] = &[
    &["createdat", "insertedat", "createdon", "datecreated", "creationdate", "created"],
    &["updatedat", "modifiedat", "updatedon", "datemodified", "modificationdate", "modified"],
];

/// More labels than this are not listed in a comment.
const LABELS_MAX: usize = 8;

/// A new table, and where its rows come from.
pub(super) struct Pair<'a> {
    pub(super) new: &'a Relation,
    pub(super) old: Option<&'a Relation>,
    pub(super) ids: Option<Ids>,
}

/// The ids of a table's rows.
pub(super) struct Ids {
    pub(super) name: String,
    pub(super) kind: IdKind,
    /// The database numbers the column.
    pub(super) has_counter: bool,
    /// From what to what.
    pub(super) note: String,
}

/// Every new table, parents first.
pub(super) fn pairs<'a>(source: &'a Catalogue, target: &'a Catalogue) -> Vec<Pair<'a>> {
    let new = parents_first(target);
    let old: Vec<&Relation> = source.relations.iter().filter(|old| old.is_table).collect();
    let mut found: Vec<Option<&Relation>> = vec![None; new.len()];
    // What is the same goes before what is only alike.
    let likenesses: [fn(&TableName) -> String; 3] = [
        |name| name.name.clone(),
        |name| fold(&name.name),
        |name| fold(&singular(&name.name.to_lowercase())),
    ];
    for likeness in likenesses {
        for (at, new) in new.iter().enumerate() {
            let like = |old: &&&Relation| {
                likeness(&old.name) == likeness(&new.name)
                    && !found.iter().flatten().any(|taken| taken.name == old.name)
            };
            if found[at].is_none()
                && let Some(old) = old.iter().find(like)
            {
                found[at] = Some(old);
            }
        }
    }
    let mut names = BTreeSet::new();
    new.into_iter()
        .zip(found)
        .map(|(new, old)| Pair { new, old, ids: old.and_then(|old| ids(old, new, &mut names)) })
        .collect()
}

fn parents_first(target: &Catalogue) -> Vec<&Relation> {
    let mut left: Vec<&Relation> =
        target.relations.iter().filter(|relation| relation.is_table).collect();
    let mut sorted: Vec<&Relation> = Vec::new();
    while !left.is_empty() {
        let waits = |relation: &Relation| {
            relation
                .foreign_keys
                .iter()
                .any(|key| key.to != relation.name && left.iter().any(|other| other.name == key.to))
        };
        // In a circle anyone may be first.
        let at = left.iter().position(|relation| !waits(relation)).unwrap_or(0);
        sorted.push(left.remove(at));
    }
    sorted
}

/// The column that a rule's `makes` fills: the only one of the key, unless it refers to another row.
pub(super) fn id_column(new: &Relation) -> Option<&Field> {
    let [column] = &new.key[..] else { return None };
    let field = new.field(column)?;
    reference(new, field).is_none().then_some(field)
}

fn ids(old: &Relation, new: &Relation, names: &mut BTreeSet<String>) -> Option<Ids> {
    let field = id_column(new)?;
    let old_field = match &old.key[..] {
        [column] => old.field(column),
        _ => None,
    };
    let kind = id_kind(old_field, field)?;
    let mut name = id_name(&new.name.name);
    if names.contains(&name) {
        name = id_name(&new.name.to_string());
    }
    let base = name.clone();
    let mut number = 2;
    while !names.insert(name.clone()) {
        name = format!("{base}_{number}");
        number += 1;
    }
    let from = old_field.map_or_else(|| "several columns".to_owned(), |old| plain(&old.type_name));
    let note = format!("{from} to {}", plain(&field.type_name));
    Some(Ids { name, kind, has_counter: field.numbering == Numbering::Counter, note })
}

fn id_kind(old: Option<&Field>, new: &Field) -> Option<IdKind> {
    let fits = old.is_some_and(|old| {
        // Text of any length is most likely no UUID.
        let guess = new.value_type == ValueType::Uuid
            && old.value_type != ValueType::Uuid
            && old.max_chars != Some(36);
        can_keep(old, new) && !guess && width(&old.value_type) <= width(&new.value_type)
    });
    if fits {
        Some(IdKind::Keep)
    } else if holds_uuids(new) {
        Some(IdKind::Derived)
    } else if is_integer(&new.value_type) && new.is_numbered() {
        Some(IdKind::Assigned)
    } else {
        old.filter(|old| can_keep(old, new)).map(|_| IdKind::Keep)
    }
}

fn width(of: &ValueType) -> u8 {
    match of {
        ValueType::Int16 => 1,
        ValueType::Int32 => 2,
        ValueType::Int64 => 3,
        ValueType::UInt64 => 4,
        _ => 5,
    }
}

/// The ids of a table's rows, where a rule makes them.
pub(super) fn ids_of<'p>(pairs: &'p [Pair<'_>], table: &TableName) -> Option<&'p Ids> {
    pairs.iter().find(|pair| pair.new.name == *table)?.ids.as_ref()
}

/// The table that a column alone refers to.
pub(super) fn reference<'r>(new: &'r Relation, field: &Field) -> Option<&'r TableName> {
    let of = |columns: &[String]| matches!(columns, [only] if *only == field.name);
    new.foreign_keys.iter().find(|key| of(&key.columns)).map(|key| &key.to)
}

/// The old column of the same name, or of one that is alike.
pub(super) fn old_column<'o>(old: &'o Relation, field: &Field) -> Option<&'o Field> {
    let folded = fold(&field.name);
    let alike = ALIKE.iter().find(|names| names.contains(&folded.as_str()));
    old.field(&field.name)
        .or_else(|| old.fields.iter().find(|old| fold(&old.name) == folded))
        .or_else(|| {
            let names = alike?;
            old.fields.iter().find(|old| names.contains(&fold(&old.name).as_str()))
        })
}

/// The old column that refers to such rows by its name: `user_id` for `users`.
pub(super) fn guess_reference<'o>(old: &'o Relation, to: &TableName) -> Option<&'o Field> {
    let name = format!("{}id", fold(&singular(&to.name.to_lowercase())));
    old.fields.iter().find(|field| fold(&field.name) == name)
}

/// The old columns whose names share the most words with a new one's.
pub(super) fn sounding_like<'o>(old: &'o Relation, field: &Field) -> Vec<&'o str> {
    // Words that stand in too many names to say anything.
    let telling = |part: &String| !["id", "is", "at", "of", "the"].contains(&part.as_str());
    let wanted: Vec<String> = parts(&field.name).into_iter().filter(telling).collect();
    let shared = |name: &str| parts(name).iter().filter(|part| wanted.contains(part)).count();
    let most = old.fields.iter().map(|old| shared(&old.name)).max().unwrap_or(0);
    let near = old.fields.iter().map(|old| old.name.as_str());
    near.filter(|name| most > 0 && shared(name) == most).collect()
}

/// The old table that has the most of a new one's columns, where it has enough of them to be more
/// than chance: half of them, or three.
pub(super) fn supposed<'o>(source: &'o Catalogue, new: &Relation) -> Option<&'o Relation> {
    let says_nothing = |name: &str| {
        let folded = fold(name);
        folded == "id" || ALIKE.iter().any(|names| names.contains(&folded.as_str()))
    };
    let telling: Vec<&Field> =
        new.fields.iter().filter(|field| !says_nothing(&field.name)).collect();
    let shared =
        |old: &Relation| telling.iter().filter(|field| old_column(old, field).is_some()).count();
    let mut best: Option<(usize, &Relation)> = None;
    for old in source.relations.iter().filter(|old| old.is_table) {
        let count = shared(old);
        // Of two that have as many, the one with fewer others says more.
        let better =
            best.is_none_or(|(most, best)| (count, best.fields.len()) > (most, old.fields.len()));
        if count > 0 && (count >= 3 || count * 2 >= telling.len()) && better {
            best = Some((count, old));
        }
    }
    best.map(|(_, old)| old)
}

/// How an old column is copied, and what to look at.
pub(super) fn copy(old: &Field, new: &Field) -> (String, Option<String>) {
    let column = expression_of(&old.name);
    let mut notes = Vec::new();
    let value = match (&old.value_type, &new.value_type) {
        (ValueType::Map, ValueType::Json { .. }) => format!("to_json({column})"),
        (old_type, ValueType::Enum(labels)) => {
            if !matches!(old_type, ValueType::Enum(old) if old.iter().all(|one| labels.contains(one)))
                && labels.len() <= LABELS_MAX
            {
                let labels: Vec<String> = labels.iter().map(|label| plain(label)).collect();
                notes.push(format!("one of {}", labels.join(", ")));
            }
            column
        }
        (old_type, new_type) => {
            if !goes_into(old_type, new_type) {
                notes.push(format!(
                    "{} in the old table, {} in the new one",
                    plain(&old.type_name),
                    plain(&new.type_name)
                ));
            }
            column
        }
    };
    if let Some(most) = new.max_chars
        && old.max_chars.is_none_or(|old| old > most)
    {
        notes.push(format!("at most {most} characters"));
    }
    if old.nullable && !new.nullable {
        notes.push("may be NULL in the old table, and not in the new one".to_owned());
    }
    (value, (!notes.is_empty()).then(|| notes.join("; ")))
}

/// Whether values go from one type into another without a thought.
fn goes_into(old: &ValueType, new: &ValueType) -> bool {
    use ValueType::{Date, Float32, Float64, Json, Numeric, Text, Timestamp, TimestampTz};
    if is_integer(old) && is_integer(new) {
        return width(old) <= width(new);
    }
    match (old, new) {
        (Text { .. } | ValueType::Enum(_), Text { .. })
        | (Date, Timestamp | TimestampTz)
        | (Timestamp, TimestampTz)
        | (TimestampTz, Timestamp)
        | (Float32, Float64)
        | (Json { .. }, Json { .. })
        | (Numeric { .. }, Numeric { scale: None }) => true,
        (old, Numeric { .. }) if is_integer(old) => true,
        (old, new) => old == new,
    }
}
