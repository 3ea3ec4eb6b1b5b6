//! What is looked up in other sources.

use dunlin_model::moves::{Field, LookUp, Relation, SourceSpec, ValueType};

use super::ids::is_integer;
use super::{Check, help_columns, help_tables};
use crate::suggestion;

/// The rule that all these errors are of. Where there is one, the look-up is no column, and errors of
/// what uses it say nothing more.
pub const LOOK_UP: &str = "look-up";

/// Checks the look-ups of a source, whose columns are `relation`'s, theirs among them.
pub(super) fn check(check: &mut Check<'_>, spec: &SourceSpec, relation: &Relation) {
    for (place, look_up) in spec.look_ups.iter().enumerate() {
        let (earlier, later) = spec.look_ups.split_at(place);
        let line = look_up.line;
        let what = format!("`look_up.{}`", look_up.name);
        let named = relation.fields.iter().filter(|field| field.name == look_up.name).count();
        let is_twice = earlier.iter().any(|one| one.name == look_up.name);
        if named > 1 || is_twice || spec.lets.iter().any(|(name, _)| *name == look_up.name) {
            let message = format!("{what} has the name of a column or a `let` of `{}`", spec.name);
            check.error(LOOK_UP, line, message, "give it a name of its own");
        }
        if check.old_key(&spec.name).contains(&look_up.name) {
            let message = format!("the key of `{}` names {what}", spec.name);
            check.error(LOOK_UP, line, message, "only columns of its own tell its rows apart");
        }
        let of: Vec<&Field> = look_up
            .of
            .iter()
            .filter_map(|name| {
                if later.iter().any(|one| one.name == *name) {
                    let message =
                        format!("{what} goes by `{name}`, which is it, or stands below it");
                    check.error(LOOK_UP, line, message, format!("put `{name}` above it"));
                    return None;
                }
                let field = relation.field(name);
                let is_told = earlier.iter().any(|one| one.name == *name);
                if field.is_none() && !is_told {
                    let message = format!(
                        "{what} goes by `{name}`, a column that `{}` doesn't have",
                        spec.name
                    );
                    check.error(LOOK_UP, line, message, help_columns(name, relation));
                }
                field
            })
            .collect();
        within(check, look_up, &of);
    }
}

/// Where it looks.
fn within(check: &mut Check<'_>, look_up: &LookUp, of: &[&Field]) {
    let (name, line) = (&look_up.within, look_up.line);
    let what = format!("`look_up.{}`", look_up.name);
    let Some(there) = check.old(name) else {
        let message = format!("{what} looks in `{name}`, which isn't there");
        let specs = check.mapping.sources.iter().map(|spec| spec.name.as_str());
        let help = match suggestion::nearest(name, specs) {
            Some(near) => format!("did you mean `{near}`?"),
            None => help_tables(name, check.source),
        };
        return check.error(LOOK_UP, line, message, help);
    };
    let taken = look_up.taken();
    if there.field(taken).is_none() {
        let message = format!("{what} takes `{taken}`, a column that `{name}` doesn't have");
        let help = match &look_up.take {
            Some(_) => help_columns(taken, there),
            None => format!("say which: take = \"…\"; {}", help_columns(taken, there)),
        };
        check.error(LOOK_UP, line, message, help);
    }
    let by = if look_up.by.is_empty() { check.old_key(name) } else { look_up.by.clone() };
    if by.is_empty() {
        let message = format!("{what}: `{name}` has no key that is known");
        return check.error(LOOK_UP, line, message, "say by which column: by = \"…\"");
    }
    if by.len() != look_up.of.len() {
        let message = format!(
            "{what} goes by {}, and `{name}` is told apart by {}",
            suggestion::list(look_up.of.iter().map(String::as_str)),
            suggestion::list(by.iter().map(String::as_str)),
        );
        let help = "name as many columns in `of` as in `by`, in the same order";
        return check.error(LOOK_UP, line, message, help);
    }
    for (place, column) in by.iter().enumerate() {
        let Some(field) = there.field(column) else {
            let message = format!("{what} goes by `{name}.{column}`, which doesn't exist");
            check.error(LOOK_UP, line, message, help_columns(column, there));
            continue;
        };
        // Where one of `of` is wrong, that has been told.
        let Some(of) = of.get(place).filter(|_| of.len() == by.len()) else { continue };
        if !can_equal(&of.value_type, &field.value_type) {
            let message = format!(
                "{what} compares `{}` ({}) with `{name}.{column}` ({})",
                of.name, of.type_name, field.type_name
            );
            let help = "only columns of one type can be compared here: whole numbers, texts, days, \
                 times, UUIDs, bytes. Files: say what the columns hold, by `types`. Databases: a \
                 `query` may look up anything";
            check.error(LOOK_UP, line, message, help);
        }
    }
}

/// Whether values of two types are the same in memory where they are equal.
fn can_equal(one: &ValueType, other: &ValueType) -> bool {
    let is_text = |of: &ValueType| matches!(of, ValueType::Text { .. } | ValueType::Enum(_));
    match (one, other) {
        (one, other) if is_integer(one) => is_integer(other),
        (one, other) if is_text(one) => is_text(other),
        (ValueType::Numeric { scale }, ValueType::Numeric { scale: others }) => {
            scale.is_some() && scale == others
        }
        (
            ValueType::Boolean
            | ValueType::Bytes
            | ValueType::Date
            | ValueType::Time
            | ValueType::Timestamp
            | ValueType::TimestampTz
            | ValueType::Uuid,
            other,
        ) => one == other,
        _ => false,
    }
}
