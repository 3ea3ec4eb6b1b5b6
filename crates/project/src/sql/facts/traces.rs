//! What a statement leaves in a definition, by name: see [`Trace`].

use std::ops::Range;

use dunlin_model::{After, Dialect, Trace, TraceKind};

use super::Reading;
use super::alter::split;
use super::head::{Act, Head};
use super::source::{Cursor, Source};

/// Reads the traces; those of clauses with IF [NOT] EXISTS are left out, since they may leave none.
pub(super) fn read(reading: &Reading<'_>) -> Vec<Trace> {
    let Some(head) = &reading.head else { return Vec::new() };
    // An index that is there under that name is there, whoever made it.
    if head.conditional && (head.act, head.object) != (Act::Create, "INDEX") {
        return Vec::new();
    }
    match (reading.dialect(), head.act, head.object) {
        (Dialect::Sqlite, ..) => Vec::new(),
        (_, Act::Create, "INDEX") => index(reading.source, head, After::There),
        (Dialect::Mysql, Act::Drop, "INDEX") => index(reading.source, head, After::Gone),
        (Dialect::Mysql, Act::Alter, "TABLE") => {
            let ranges = split(reading.source, head.rest).into_iter();
            ranges.flat_map(|range| clause(reading.source, range)).collect()
        }
        (Dialect::Postgres, Act::Alter, "TYPE") => label(reading.source, head),
        (Dialect::Postgres, Act::Alter, "TABLE") => detached(reading),
        _ => Vec::new(),
    }
}

fn trace(kind: TraceKind, name: &str, after: After) -> Vec<Trace> {
    vec![Trace { kind, name: name.to_owned(), after }]
}

fn index(source: Source<'_>, head: &Head, after: After) -> Vec<Trace> {
    match head.names.first() {
        Some(name) if name.last().eq_ignore_ascii_case("PRIMARY") => {
            trace(TraceKind::PrimaryKey, "", after)
        }
        Some(name) => trace(TraceKind::Index, name.last(), after),
        None => {
            let start = source.tokens.get(head.rest).map(|token| token.start());
            let end = source.tokens.last().map(|token| token.end());
            let rest = start.zip(end).and_then(|(start, end)| source.text.get(start..end));
            rest.map_or_else(Vec::new, |rest| trace(TraceKind::IndexOn, rest, after))
        }
    }
}

/// ALTER TYPE … ADD VALUE 'x': the label, as written.
fn label(source: Source<'_>, head: &Head) -> Vec<Trace> {
    let mut cursor = source.cursor(head.rest);
    if !cursor.eat_all(&["ADD", "VALUE"]) || cursor.eat_condition() {
        return Vec::new();
    }
    trace(TraceKind::Label, source.token_text(cursor.at), After::There)
}

fn detached(reading: &Reading<'_>) -> Vec<Trace> {
    let partition = reading.actions.iter().find_map(|action| match &action.change {
        super::alter::Change::Detach { partition, concurrently: true } => partition.as_ref(),
        _ => None,
    });
    partition.map_or_else(Vec::new, |name| trace(TraceKind::Partition, &name.written, After::Gone))
}

/// One clause of MySQL's ALTER TABLE.
fn clause(source: Source<'_>, range: Range<usize>) -> Vec<Trace> {
    let conditional = source.contains(range.clone(), &["IF", "EXISTS"])
        || source.contains(range.clone(), &["IF", "NOT", "EXISTS"]);
    if conditional || range.is_empty() {
        return Vec::new();
    }
    let mut cursor = source.cursor(range.start + 1);
    let traces = match source.word(range.start).unwrap_or_default().to_ascii_uppercase().as_str() {
        "ADD" => added(cursor, range),
        "DROP" => dropped(cursor),
        "RENAME" => renamed(cursor),
        "CHANGE" => {
            cursor.eat("COLUMN");
            cursor.name().zip(cursor.name()).map(|(from, to)| {
                if from.last().eq_ignore_ascii_case(to.last()) {
                    return trace(TraceKind::Column, to.last(), After::Changed);
                }
                both(TraceKind::Column, from.last(), to.last())
            })
        }
        "MODIFY" => {
            cursor.eat("COLUMN");
            cursor.name().map(|name| trace(TraceKind::Column, name.last(), After::Changed))
        }
        "ALTER" => {
            let kind = match () {
                () if cursor.eat("INDEX") || cursor.eat("KEY") => TraceKind::Index,
                () if cursor.eat("CONSTRAINT") || cursor.eat("CHECK") => TraceKind::Constraint,
                () => {
                    cursor.eat("COLUMN");
                    TraceKind::Column
                }
            };
            cursor.name().map(|name| trace(kind, name.last(), After::Changed))
        }
        "ALGORITHM" | "LOCK" | "WAIT" | "NOWAIT" | "FORCE" | "ORDER" => None,
        _ => Some(trace(TraceKind::Options, "", After::Changed)),
    };
    traces.unwrap_or_default()
}

fn both(kind: TraceKind, from: &str, to: &str) -> Vec<Trace> {
    let mut traces = trace(kind, from, After::Gone);
    traces.extend(trace(kind, to, After::There));
    traces
}

fn added(mut cursor: Cursor<'_>, range: Range<usize>) -> Option<Vec<Trace>> {
    let there = |kind, name: &str| Some(trace(kind, name, After::There));
    let source = cursor.source;
    let named = if cursor.eat("CONSTRAINT") && !source.is_any(cursor.at, &KINDS_OF_CONSTRAINT) {
        Some(cursor.name()?)
    } else {
        None
    };
    let named = named.as_ref().map(|name| name.last());
    if cursor.eat_all(&["PRIMARY", "KEY"]) {
        return there(TraceKind::PrimaryKey, "");
    }
    if cursor.eat_all(&["FOREIGN", "KEY"]) {
        let own = if source.punct(cursor.at, b'(') { None } else { cursor.name() };
        let name = named.or(own.as_ref().map(|name| name.last()));
        return match name {
            Some(name) => there(TraceKind::Constraint, name),
            None => there(TraceKind::ForeignKeyOn, &columns(source, &range)?),
        };
    }
    if cursor.eat("CHECK") {
        return named.and_then(|name| there(TraceKind::Constraint, name));
    }
    if cursor.eat("PARTITION") {
        cursor.eat_punct(b'(');
        return (cursor.eat("PARTITION"))
            .then(|| cursor.name())
            .flatten()
            .and_then(|name| there(TraceKind::Partition, name.last()));
    }
    if source.is_any(cursor.at, &["UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR", "INDEX", "KEY"]) {
        cursor.skip(&["UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR"]);
        cursor.skip(&["INDEX", "KEY"]);
        let bare = source.punct(cursor.at, b'(') || source.is(cursor.at, "USING");
        let own = if bare { None } else { cursor.name() };
        return match own.as_ref().map(|name| name.last()).or(named) {
            Some(name) => there(TraceKind::Index, name),
            None => there(TraceKind::IndexOn, &columns(source, &range)?),
        };
    }
    if source.is_any(cursor.at, &["SYSTEM", "PERIOD"]) {
        return Some(trace(TraceKind::Options, "", After::Changed));
    }
    cursor.eat("COLUMN");
    there(TraceKind::Column, cursor.name()?.last())
}

const KINDS_OF_CONSTRAINT: [&str; 4] = ["PRIMARY", "FOREIGN", "UNIQUE", "CHECK"];

fn dropped(mut cursor: Cursor<'_>) -> Option<Vec<Trace>> {
    let gone = |kind, name: &str| Some(trace(kind, name, After::Gone));
    if cursor.eat_all(&["PRIMARY", "KEY"]) {
        return gone(TraceKind::PrimaryKey, "");
    }
    let kind = match () {
        () if cursor.eat("INDEX") || cursor.eat("KEY") => TraceKind::Index,
        () if cursor.eat_all(&["FOREIGN", "KEY"]) => TraceKind::Constraint,
        () if cursor.eat("CONSTRAINT") || cursor.eat("CHECK") => TraceKind::Constraint,
        () if cursor.eat("PARTITION") => TraceKind::Partition,
        () if cursor.is("SYSTEM") || cursor.is("PERIOD") => {
            return Some(trace(TraceKind::Options, "", After::Changed));
        }
        () => {
            cursor.eat("COLUMN");
            TraceKind::Column
        }
    };
    let name = cursor.name()?;
    if kind == TraceKind::Index && name.last().eq_ignore_ascii_case("PRIMARY") {
        return gone(TraceKind::PrimaryKey, "");
    }
    gone(kind, name.last())
}

/// RENAME of a column or an index; of the table itself the names of tables tell.
fn renamed(mut cursor: Cursor<'_>) -> Option<Vec<Trace>> {
    let kind = match () {
        () if cursor.eat("COLUMN") => TraceKind::Column,
        () if !cursor.source.is(cursor.at + 1, "TO")
            && (cursor.eat("INDEX") || cursor.eat("KEY")) =>
        {
            TraceKind::Index
        }
        () => return None,
    };
    let from = cursor.name()?;
    let to = cursor.eat("TO").then(|| cursor.name()).flatten()?;
    Some(both(kind, from.last(), to.last()))
}

/// The names in the first parentheses: `(a, b)` as `a,b`; `None` where something else is in them.
fn columns(source: Source<'_>, range: &Range<usize>) -> Option<String> {
    let open = range.clone().find(|&at| source.punct(at, b'('))?;
    let mut cursor = source.cursor(open + 1);
    let names = cursor.names();
    let names: Vec<&str> = names.iter().map(|name| name.last()).collect();
    (cursor.eat_punct(b')') && !names.is_empty()).then(|| names.join(","))
}
