//! Whether a statement took effect, by the definitions from before it and those of now.
//!
//! Invariant: what somebody else changed is never taken for the statement's own effect. A statement
//! is told by what it names: the object that it creates, drops or renames, or the columns, indexes
//! and constraints in its clauses. Another difference proves nothing, and then the answer is that
//! nobody knows.

use dunlin_engine::Settled;
use dunlin_model::{After, Statement, Trace, TraceKind};

use crate::image::{Definition, State};

/// What the comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    TookEffect,
    DidNot,
    /// Nothing of it can be seen.
    Unknown,
}

/// Compares. `evidence` is what a person gets to see where it can't be told.
pub(crate) fn judge(
    statement: &Statement,
    before: &[Definition],
    now: &[Definition],
    mut evidence: Vec<String>,
) -> Settled {
    for (old, new) in before.iter().zip(now) {
        let difference = match (&old.state, &new.state) {
            (State::Hidden, _) | (_, State::Hidden) => "cannot be compared",
            (old, new) if old == new => "unchanged",
            _ => "changed",
        };
        evidence.push(format!(
            "{}: was {}, is {}: {difference}",
            new.object,
            old.state.describe(),
            new.state.describe()
        ));
    }
    if before.len() != now.len() {
        evidence.push("the journal does not hold the definitions from before it".to_owned());
    }
    match verdict(statement, before, now) {
        Verdict::TookEffect => Settled::TookEffect,
        Verdict::DidNot => Settled::DidNot,
        Verdict::Unknown => {
            let changed = before.len() == now.len() && before != now;
            if changed && !statement.facts.traces.is_empty() {
                evidence.push(
                    "what changed is not, or not all, what the statement says: somebody else may \
                     have changed it"
                        .to_owned(),
                );
            }
            Settled::Unknown { evidence }
        }
    }
}

fn verdict(statement: &Statement, before: &[Definition], now: &[Definition]) -> Verdict {
    if now.is_empty() || before.len() != now.len() {
        return Verdict::Unknown;
    }
    let is_hidden = |one: &Definition| one.state == State::Hidden;
    let hidden = before.iter().chain(now).any(is_hidden);
    let presence = || before.iter().zip(now).map(|(old, new)| (&old.state, &new.state));
    let appeared = presence().any(|pair| matches!(pair, (State::Absent, State::Defined(_))));
    let vanished = presence().any(|pair| matches!(pair, (State::Defined(_), State::Absent)));
    let several = before.len() > 1;
    let word = statement.facts.verb.split(' ').next().unwrap_or_default();
    // An index is a part of its table's definition.
    let on_a_table = statement.facts.verb.ends_with(" INDEX");
    match word {
        "CREATE" | "DROP" if !on_a_table => {
            let flipped = if word == "CREATE" { appeared } else { vanished };
            match (flipped, hidden) {
                (true, _) => Verdict::TookEffect,
                (false, true) => Verdict::Unknown,
                (false, false) => Verdict::DidNot,
            }
        }
        _ if hidden => Verdict::Unknown,
        // A table of one name is gone, and one of another name is there: it was renamed.
        _ if several && appeared && vanished => Verdict::TookEffect,
        "ALTER" if !several && vanished && statement.facts.verb == "ALTER EVENT" => {
            Verdict::TookEffect
        }
        _ if appeared || vanished => Verdict::Unknown,
        "RENAME" => Verdict::DidNot,
        // What it would alter was never there.
        _ if presence().all(|(old, new)| *old == State::Absent && *new == State::Absent) => {
            Verdict::DidNot
        }
        _ => by_traces(&statement.facts.traces, before, now),
    }
}

/// An ALTER of one table, or a definition or end of one of its indexes: all of it takes effect, or
/// nothing.
fn by_traces(traces: &[Trace], before: &[Definition], now: &[Definition]) -> Verdict {
    if before == now {
        return Verdict::DidNot;
    }
    let (Some(State::Defined(old)), Some(State::Defined(new))) =
        (before.first().map(|one| &one.state), now.first().map(|one| &one.state))
    else {
        return Verdict::Unknown;
    };
    let (mut done, mut not_done, mut told) = (false, false, false);
    for trace in traces.iter().filter(|trace| trace.after != After::Changed) {
        let (was, is) = (lines(trace, old).len(), lines(trace, new).len());
        let (flipped, stayed) = match trace.after {
            After::There => (is > was, was == 0 && is == 0),
            _ => (is < was, was > 0 && is >= was),
        };
        told = true;
        done |= flipped;
        not_done |= stayed;
    }
    match (done, not_done) {
        (true, true) => return Verdict::Unknown,
        (true, false) => return Verdict::TookEffect,
        (false, true) => return Verdict::DidNot,
        // It was as the statement wants it before: the server says so when it is sent.
        (false, false) if told => return Verdict::DidNot,
        (false, false) => {}
    }
    let changes = || traces.iter().filter(|trace| trace.after == After::Changed);
    let differs = changes().any(|trace| lines(trace, old) != lines(trace, new));
    match (differs, changes().next().is_some()) {
        (true, _) => Verdict::TookEffect,
        (false, true) => Verdict::DidNot,
        (false, false) => Verdict::Unknown,
    }
}

/// The lines of a table's definition that a trace is about.
fn lines<'a>(trace: &Trace, definition: &'a str) -> Vec<&'a str> {
    let fits = |line: &str| match trace.kind {
        TraceKind::Column => names(line, "", &trace.name),
        TraceKind::Index => is_index(line, &trace.name),
        TraceKind::IndexOn => is_key(line) && on_columns(line, &trace.name),
        TraceKind::PrimaryKey => line.starts_with("PRIMARY KEY "),
        TraceKind::Constraint => {
            names(line, "CONSTRAINT ", &trace.name) || is_index(line, &trace.name)
        }
        TraceKind::ForeignKeyOn => {
            line.split_once(" FOREIGN KEY ").is_some_and(|(_, rest)| on_columns(rest, &trace.name))
        }
        TraceKind::Partition => names(line.trim_start_matches('('), "PARTITION ", &trace.name),
        TraceKind::Options => {
            !line.starts_with('`') && !is_key(line) && !line.starts_with("CONSTRAINT ")
        }
        TraceKind::Label => false,
    };
    definition
        .lines()
        .map(|line| line.trim().trim_end_matches(','))
        .filter(|line| fits(line))
        .collect()
}

/// Whether a name in backquotes follows some words at a line's beginning.
fn names(line: &str, words: &str, name: &str) -> bool {
    line.strip_prefix(words).and_then(first_name).is_some_and(|(found, _)| same(&found, name))
}

/// The server takes names of columns, indexes and constraints for the same in any case.
fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn is_key(line: &str) -> bool {
    let (words, _) = line.split_once('`').unwrap_or((line, ""));
    words.split_whitespace().any(|word| word == "KEY") && !line.starts_with("CONSTRAINT ")
}

fn is_index(line: &str, name: &str) -> bool {
    is_key(line) && line.find("KEY ").is_some_and(|at| names(&line[at..], "KEY ", name))
}

/// Whether the first parentheses hold these columns, whole.
fn on_columns(line: &str, columns: &str) -> bool {
    let Some((_, mut rest)) = line.split_once('(') else { return false };
    let mut found = Vec::new();
    while let Some((name, after)) = first_name(rest) {
        found.push(name);
        rest = after.trim_start_matches(',');
    }
    rest.starts_with(')') && same(&found.join(","), columns)
}

/// A name in backquotes at the beginning, and what follows it.
fn first_name(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('`')?;
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('`')?;
        name.push_str(part);
        match after.strip_prefix('`') {
            Some(more) => {
                name.push('`');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use dunlin_model::Facts;

    use super::*;

    const T: &str = "t\nCREATE TABLE `t` (\n  `a` int(11) NOT NULL,\n  `B` text,\n  \
        PRIMARY KEY (`a`),\n  UNIQUE KEY `u` (`B`(9)),\n  KEY `i` (`a`,`B`),\n  \
        CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `p` (`id`)\n) ENGINE=InnoDB\n";

    fn statement(verb: &str, traces: &[(TraceKind, &str, After)]) -> Statement {
        let mut facts = Facts::opaque(verb);
        facts.traces = traces
            .iter()
            .map(|&(kind, name, after)| Trace { kind, name: name.to_owned(), after })
            .collect();
        Statement { text: verb.to_owned(), line: 1, column: 1, copy_data: None, facts }
    }

    fn table(text: &str) -> Vec<Definition> {
        let state = State::Defined(text.to_owned());
        vec![Definition { object: "table t".to_owned(), state }]
    }

    fn one(state: State) -> Vec<Definition> {
        vec![Definition { object: "table t".to_owned(), state }]
    }

    #[test]
    fn presence_tells_of_what_is_created_and_dropped() {
        let (create, drop) = (statement("CREATE TABLE", &[]), statement("DROP TABLE", &[]));
        let (absent, there) = (one(State::Absent), table(T));
        assert_eq!(verdict(&create, &absent, &there), Verdict::TookEffect);
        assert_eq!(verdict(&create, &absent, &absent), Verdict::DidNot);
        assert_eq!(verdict(&create, &there, &table("another")), Verdict::DidNot);
        assert_eq!(verdict(&drop, &there, &absent), Verdict::TookEffect);
        assert_eq!(verdict(&drop, &there, &table("another")), Verdict::DidNot);
        for (before, now) in [(one(State::Hidden), absent.clone()), (Vec::new(), absent)] {
            assert_eq!(verdict(&create, &before, &now), Verdict::Unknown);
        }
    }

    #[test]
    fn a_clause_is_told_by_what_it_names() {
        use TraceKind::{Column, Constraint, ForeignKeyOn, Index, IndexOn, PrimaryKey};
        let without = |line: &str| table(&T.replace(line, ""));
        for (kind, name, line) in [
            (Column, "b", "  `B` text,\n"),
            (Index, "U", "  UNIQUE KEY `u` (`B`(9)),\n"),
            (IndexOn, "a,b", "  KEY `i` (`a`,`B`),\n"),
            (PrimaryKey, "", "  PRIMARY KEY (`a`),\n"),
            (Constraint, "f", "  CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `p` (`id`)\n"),
            (ForeignKeyOn, "a", "  CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `p` (`id`)\n"),
        ] {
            assert!(T.contains(line), "{line}");
            let (add, drop) = (
                statement("ALTER TABLE", &[(kind, name, After::There)]),
                statement("ALTER TABLE", &[(kind, name, After::Gone)]),
            );
            let (less, more) = (without(line), table(T));
            assert_eq!(verdict(&add, &less, &more), Verdict::TookEffect, "{kind:?}");
            assert_eq!(verdict(&drop, &more, &less), Verdict::TookEffect, "{kind:?}");
            // Somebody else changed the table meanwhile.
            let comment = |one: &[Definition]| match &one[0].state {
                State::Defined(text) => table(&text.replace("InnoDB", "InnoDB COMMENT='x'")),
                _ => unreachable!(),
            };
            assert_eq!(verdict(&add, &less, &comment(&less)), Verdict::DidNot, "{kind:?}");
            assert_eq!(verdict(&drop, &more, &comment(&more)), Verdict::DidNot, "{kind:?}");
        }
    }

    #[test]
    fn one_half_of_a_statement_proves_nothing() {
        let both = [(TraceKind::Column, "c", After::There), (TraceKind::Index, "i", After::Gone)];
        let now = table(&T.replace("  KEY `i` (`a`,`B`),\n", ""));
        assert_eq!(verdict(&statement("ALTER TABLE", &both), &table(T), &now), Verdict::Unknown);
        let unread = statement("ALTER TABLE", &[]);
        assert_eq!(verdict(&unread, &table(T), &table(T)), Verdict::DidNot);
        assert_eq!(verdict(&unread, &table(T), &now), Verdict::Unknown);
    }

    #[test]
    fn what_may_stay_the_same_is_told_by_its_own_line() {
        let modify = statement("ALTER TABLE", &[(TraceKind::Column, "b", After::Changed)]);
        let changed = table(&T.replace("`B` text", "`B` longtext"));
        assert_eq!(verdict(&modify, &table(T), &changed), Verdict::TookEffect);
        let other = table(&T.replace("`a` int(11)", "`a` bigint"));
        assert_eq!(verdict(&modify, &table(T), &other), Verdict::DidNot);
    }

    #[test]
    fn a_rename_needs_both_names() {
        let rename = statement("RENAME TABLE", &[]);
        let pair = |a: State, b: State| {
            let of = |object: &str, state| Definition { object: object.to_owned(), state };
            vec![of("table a", a), of("table b", b)]
        };
        let there = || State::Defined("x".to_owned());
        let before = pair(there(), State::Absent);
        let done = pair(State::Absent, there());
        assert_eq!(verdict(&rename, &before, &done), Verdict::TookEffect);
        assert_eq!(verdict(&rename, &before, &before), Verdict::DidNot);
        let gone = pair(State::Absent, State::Absent);
        assert_eq!(verdict(&rename, &before, &gone), Verdict::Unknown);
    }
}
