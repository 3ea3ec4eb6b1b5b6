//! What the first run of a rule or a namespace fixes: of which rows it is, by which key, where they
//! go, and whose ids they have.
//!
//! Packs and stored ids are by old key, and rows are found again by their key in the target. Of other
//! rows, or by another key, every id would be another one, and what was written would be nobody's. So
//! that is refused, unless nothing is left of what was written.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_model::moves::{Field, GuessedColumn, IdKind, ValueType};
use serde::{Deserialize, Serialize};

use super::pack::StoredPack;
use super::plan::{MovePlan, Namespace, PlannedRule, PlannedSource};
use super::ports::{MoveTarget, Stored};
use super::state::MoveState;
use super::writer::pack_area;
use crate::{ErrorKind, TargetError};

/// Entries that are read from the store at once.
const AT_ONCE: u32 = 16;

/// How the rows of a rule are to be deleted, so that nothing is left to be fixed.
const EMPTY_FIRST: &str = "let one run delete its rows first (`where = \"false\"`, \
                           `[[leave_out]]` for the old ones, and `--max-deleted 100%` if they are many)";

/// A key: its columns, each with what it is compared as.
type KeyShape = Vec<(String, String)>;

/// Old rows, and the key that tells them apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OldRows {
    /// What rules call them.
    name: String,
    /// The table, where it has another name.
    table: String,
    key: KeyShape,
}

impl OldRows {
    fn of(source: &PlannedSource) -> Self {
        let fields = source.key.iter().map(|place| &source.relation.fields[*place]);
        Self {
            name: source.name.clone(),
            table: source.relation.name.to_string(),
            key: fields.map(part).collect(),
        }
    }

    /// By its name or by its table, which may each get another name.
    fn are_those_of(&self, before: &Self) -> bool {
        self.name == before.name || self.table == before.table
    }

    fn kinds(&self) -> impl Iterator<Item = &str> {
        self.key.iter().map(|(_, kind)| kind.as_str())
    }
}

/// Where a rule's rows come from, and where they go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Way {
    from: OldRows,
    table: String,
    key: KeyShape,
    /// The namespace of the ids that it makes.
    #[serde(default)]
    makes: Makes,
}

/// What a rule makes ids of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Makes {
    /// An older state doesn't say.
    #[default]
    Unknown,
    /// Its keys are what its columns are set to.
    Nothing,
    /// Ids of a namespace, and whether those are the old keys as they are.
    Ids { namespace: String, kept: bool },
}

impl Makes {
    fn of(plan: &MovePlan, rule: &PlannedRule) -> Self {
        let Some(makes) = rule.makes else { return Self::Nothing };
        let spec = &plan.namespaces[makes].spec;
        Self::Ids { namespace: spec.name.clone(), kept: spec.kind == IdKind::Keep }
    }

    /// Whether ids stay as they were. Old keys that are kept as ids are as good as a column that is
    /// set to them; what is set otherwise is an edit like any other.
    fn are_as(&self, before: &Self) -> bool {
        match (before, self) {
            (Self::Unknown, _) | (Self::Nothing, Self::Nothing) => true,
            (Self::Ids { namespace: was, .. }, Self::Ids { namespace: is, .. }) => was == is,
            (Self::Ids { kept, .. }, Self::Nothing) | (Self::Nothing, Self::Ids { kept, .. }) => {
                *kept
            }
            (_, Self::Unknown) => false,
        }
    }
}

impl Way {
    fn of(plan: &MovePlan, rule: &PlannedRule) -> Self {
        let fields = rule.written.key.iter().map(|place| &rule.written.fields[*place]);
        Self {
            from: OldRows::of(&plan.sources[rule.source]),
            table: rule.written.table.to_string(),
            key: fields.map(part).collect(),
            makes: Makes::of(plan, rule),
        }
    }

    /// Whether rows that were written so are found again. Which old rows a rule takes is its own
    /// affair: those that make ids are told apart by their namespace.
    fn leads_to(&self, before: &Self) -> bool {
        self.table == before.table
            && self.key == before.key
            && self.from.kinds().eq(before.from.kinds())
    }
}

/// All that was fixed; an older state has none of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Fixed {
    #[serde(default)]
    namespaces: BTreeMap<String, OldRows>,
    #[serde(default)]
    rules: BTreeMap<String, Way>,
    /// What columns of files hold that nobody declared: another guess would change every row.
    #[serde(default)]
    pub(super) guessed: Vec<GuessedColumn>,
}

fn part(field: &Field) -> (String, String) {
    (field.name.clone(), kind_of(&field.value_type))
}

/// What values of a type are as keys: types whose values make the same keys are one.
fn kind_of(of: &ValueType) -> String {
    let word = match of {
        ValueType::Int16 | ValueType::Int32 | ValueType::Int64 | ValueType::UInt64 => "number",
        ValueType::Boolean => "boolean",
        ValueType::Float32 | ValueType::Float64 => "floating point",
        // Its digits: with others after the point they are others.
        ValueType::Numeric { scale: Some(scale) } => return format!("decimal({scale})"),
        ValueType::Numeric { scale: None } => "decimal",
        ValueType::Text { .. } | ValueType::Enum(_) => "text",
        ValueType::Bytes => "bytes",
        ValueType::Date => "date",
        ValueType::Time => "time",
        ValueType::Timestamp => "timestamp",
        ValueType::TimestampTz => "timestamptz",
        ValueType::Uuid => "uuid",
        ValueType::Json { .. } => "json",
        ValueType::Map | ValueType::List(_) | ValueType::Other => "other",
    };
    word.to_owned()
}

fn told(key: &KeyShape) -> String {
    let parts: Vec<String> =
        key.iter().map(|(column, kind)| format!("`{column}` ({kind})")).collect();
    parts.join(", ")
}

fn columns(key: &KeyShape) -> String {
    let names: Vec<&str> = key.iter().map(|(column, _)| column.as_str()).collect();
    names.join(", ")
}

/// Refuses a mapping, or tables, under which ids would be others or rows be left behind; remembers
/// what is new. Looks only, and returns what is to be put into the store together with the state.
pub(super) async fn fix(
    state: &mut MoveState,
    plan: &MovePlan,
    target: &mut dyn MoveTarget,
) -> Result<Vec<Stored>, TargetError> {
    state.fixed.guessed.clone_from(&plan.guessed);
    namespaces(&mut state.fixed, plan, target).await?;
    let mut emptied = Vec::new();
    for rule in &plan.rules {
        let (name, now) = (&rule.rule.name, Way::of(plan, rule));
        let before = state.fixed.rules.get(name);
        if before != Some(&now) {
            let left = Left::of(plan, name, target).await?;
            let parts = (now.from.key.len(), now.key.len());
            match before {
                Some(before) if left.has_rows && !now.leads_to(before) => {
                    return Err(other_way(plan, rule, before, &now));
                }
                Some(before) if left.has_rows && !now.makes.are_as(&before.makes) => {
                    return Err(other_ids(plan, rule, &before.makes));
                }
                // Of an older state nothing more is known.
                None if left.has_rows && left.parts != Some(parts) => {
                    return Err(other_parts(rule, &now));
                }
                _ => {}
            }
            if !left.has_rows {
                emptied.extend(left.areas);
            }
            state.fixed.rules.insert(name.clone(), now);
        }
    }
    for name in state.rules().difference(&names(plan)) {
        if Left::of(plan, name, target).await?.has_rows {
            return Err(no_rule(state, plan, name));
        }
        state.fixed.rules.remove(name);
    }
    Ok(emptied)
}

fn names(plan: &MovePlan) -> BTreeSet<String> {
    plan.rules.iter().map(|rule| rule.rule.name.clone()).collect()
}

async fn namespaces(
    fixed: &mut Fixed,
    plan: &MovePlan,
    target: &mut dyn MoveTarget,
) -> Result<(), TargetError> {
    for namespace in &plan.namespaces {
        let seeker = namespace.matching.as_ref().and_then(|matching| matching.seeker.as_ref());
        let source = match (namespace.maker, seeker) {
            (Some(maker), _) => plan.rules[maker].source,
            (None, Some((source, _))) => *source,
            (None, None) => continue,
        };
        let (name, now) = (&namespace.spec.name, OldRows::of(&plan.sources[source]));
        let line = match (namespace.maker, &namespace.spec.from) {
            (Some(maker), _) => plan.rules[maker].rule.from.line,
            (None, Some(from)) => from.line,
            (None, None) => namespace.spec.line,
        };
        if let Some(before) = fixed.namespaces.get(name)
            && !(now.are_those_of(before) && now.key == before.key)
            && has_ids(plan, namespace, target).await?
        {
            return Err(other_rows(plan, (name, line), before, &now));
        }
        fixed.namespaces.insert(name.clone(), now);
    }
    Ok(())
}

/// Whether ids of a namespace were given out.
async fn has_ids(
    plan: &MovePlan,
    namespace: &Namespace,
    target: &mut dyn MoveTarget,
) -> Result<bool, TargetError> {
    for list in ["ids", "matched", "leaders"] {
        let area = format!("{list}/{}", namespace.spec.name);
        if !target.stored(&plan.mapping.name, &area, i64::MIN, 1).await?.is_empty() {
            return Ok(true);
        }
    }
    match namespace.maker {
        Some(maker) => Ok(Left::of(plan, &plan.rules[maker].rule.name, target).await?.has_rows),
        None => Ok(false),
    }
}

/// A namespace of other rows, or by another key.
fn other_rows(
    plan: &MovePlan,
    (name, line): (&str, usize),
    before: &OldRows,
    now: &OldRows,
) -> TargetError {
    let (message, help) = if now.are_those_of(before) {
        let (was, is, of) = (told(&before.key), told(&now.key), &now.name);
        (
            format!(
                "ids of `{name}` were made of {was} of `{of}` at the first run, and would be of {is} now: every one of them would change"
            ),
            format!(
                "put it back by `[from.{of}] key = \"{}\"`, a type by `types` or by a query that casts",
                columns(&before.key)
            ),
        )
    } else {
        let (was, is) = (&before.name, &now.name);
        (
            format!(
                "ids of `{name}` were those of `{was}` at the first run, and are those of `{is}` now: they would mean other rows"
            ),
            format!(
                "put `from = \"{was}\"` back, with `[from.{was}] table = \"{is}\"` where only the table's name is another"
            ),
        )
    };
    let file = plan.mapping.file.display();
    TargetError::new(ErrorKind::Refused, message).help(format!(
        "{file}:{line}: {help}; or give the namespace another name, whose ids are new, after a run that has deleted its rows (`where = \"false\"`)"
    ))
}

/// A rule whose rows can't be found again.
fn other_way(plan: &MovePlan, rule: &PlannedRule, before: &Way, now: &Way) -> TargetError {
    let (name, file, line) = (&rule.rule.name, plan.mapping.file.display(), rule.rule.line);
    let of = &now.from.name;
    let (message, help) = if now.table != before.table {
        let (was, is) = (&before.table, &now.table);
        (
            format!(
                "rows of `{name}` were written to {was}, and are to go to {is} now: those in {was} would be left behind"
            ),
            format!("put `table = \"{was}\"` back; to go over to {is}, {EMPTY_FIRST}"),
        )
    } else if now.key == before.key {
        let (was, is) = (told(&before.from.key), told(&now.from.key));
        (
            format!(
                "rows of `{name}` were told apart by {was} of `{of}` when they were written, and are by {is} now"
            ),
            format!(
                "put it back by `[from.{of}] key = \"{}\"`; to go over to the other, {EMPTY_FIRST}",
                columns(&before.from.key)
            ),
        )
    } else {
        let (was, is, table) = (told(&before.key), told(&now.key), &now.table);
        (
            format!(
                "the key of {table} was {was} when rows of `{name}` were written, and is {is} now: they can't be found by it"
            ),
            format!("give the table its key back; before it gets another, {EMPTY_FIRST}"),
        )
    };
    TargetError::new(ErrorKind::Refused, message).help(format!("{file}:{line}: {help}"))
}

/// A rule whose rows would get ids of another namespace, or of none.
fn other_ids(plan: &MovePlan, rule: &PlannedRule, before: &Makes) -> TargetError {
    let (name, file) = (&rule.rule.name, plan.mapping.file.display());
    let makes = rule.rule.makes.as_ref();
    let line = makes.map_or(rule.rule.line, |makes| makes.line);
    let now = makes.map(|makes| &makes.value);
    let (message, help) = match (before, now) {
        (Makes::Ids { namespace: was, .. }, Some(is)) => (
            format!(
                "rows of `{name}` have ids of the namespace `{was}`, and would get ids of `{is}`: every one of them would change"
            ),
            format!(
                "put the name `{was}` back, in `makes`, under [ids] and where it is referred to"
            ),
        ),
        (Makes::Ids { namespace: was, .. }, None) => (
            format!(
                "rows of `{name}` have ids of the namespace `{was}`, and would have none: every one of them would change"
            ),
            format!("put `makes = \"{was}\"` back"),
        ),
        (_, is) => {
            let is = is.map_or("", String::as_str);
            (
                format!(
                    "rows of `{name}` were written before it made ids, and would get ids of `{is}`: the key of every one would change"
                ),
                format!("take `makes = \"{is}\"` away again"),
            )
        }
    };
    TargetError::new(ErrorKind::Refused, message)
        .help(format!("{file}:{line}: {help}; for new ids, {EMPTY_FIRST}"))
}

/// A rule whose packs have keys of another number of columns.
fn other_parts(rule: &PlannedRule, now: &Way) -> TargetError {
    let (name, of, table) = (&rule.rule.name, &now.from.name, &now.table);
    let (old, new) = (told(&now.from.key), told(&now.key));
    TargetError::new(
        ErrorKind::Refused,
        format!("rows of `{name}` were written by other keys than those of now: {old} of `{of}`, {new} of {table}"),
    )
    .help(format!("put the key of `{of}` or of {table} back: one of them had another number of columns"))
}

/// A rule that is gone from the mapping, and whose rows aren't gone from the target.
fn no_rule(state: &MoveState, plan: &MovePlan, name: &str) -> TargetError {
    let before = state.fixed.rules.get(name);
    let table = before.map(|before| before.table.as_str());
    let known = state.rules();
    let heirs = plan.rules.iter().filter(|rule| {
        let table = table.is_some_and(|table| table == rule.written.table.to_string());
        table && !known.contains(&rule.rule.name)
    });
    let heirs: Vec<String> = heirs.map(|rule| format!("`{}`", rule.rule.name)).collect();
    let renamed = match heirs.as_slice() {
        [] => String::new(),
        heirs => format!(
            "if it was renamed to {}, give it its name back: `[into.{name}]` with `table`; ",
            heirs.join(" or ")
        ),
    };
    let place = table.map_or_else(|| "its table".to_owned(), str::to_owned);
    TargetError::new(
        ErrorKind::Refused,
        format!("the mapping has no rule `{name}` any more, and rows that it wrote are still in {place}: nobody would look after them"),
    )
    .help(format!(
        "{}: {renamed}if it is to go, put it back and {EMPTY_FIRST}",
        plan.mapping.file.display()
    ))
}

/// What the store has of a rule.
#[derive(Default)]
struct Left {
    /// At least one row that was written.
    has_rows: bool,
    /// How many columns its keys have, old and new.
    parts: Option<(usize, usize)>,
    /// Its packs, all without rows: to be taken away.
    areas: Vec<Stored>,
}

impl Left {
    async fn of(
        plan: &MovePlan,
        rule: &str,
        target: &mut dyn MoveTarget,
    ) -> Result<Self, TargetError> {
        let area = pack_area(rule);
        let mut left = Self::default();
        let mut from = i64::MIN;
        loop {
            let stored = target.stored(&plan.mapping.name, &area, from, AT_ONCE).await?;
            let Some(last) = stored.last() else { return Ok(left) };
            from = last.number + 1;
            for entry in stored {
                let (area, number) = (area.clone(), entry.number);
                let pack = StoredPack::read(entry)?;
                if pack.count > 0 {
                    return Ok(Self { has_rows: true, parts: pack.parts(), areas: Vec::new() });
                }
                left.areas.push(Stored { area, number, value: None });
            }
        }
    }
}
