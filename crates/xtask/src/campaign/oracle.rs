//! What a database must look like afterwards, seen with other eyes than ours.

use std::collections::BTreeMap;
use std::path::Path;

use dunlin_testkit::servers::{ClientError, Database, Product};

use super::folder::{Folder, MIGRATIONS};

/// Definitions and rows, as the database's own tools write them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    schema: String,
    rows: Vec<String>,
}

impl Snapshot {
    pub(super) fn of(database: &Database) -> Result<Self, ClientError> {
        Ok(Self { schema: database.schema_dump()?, rows: database.rows_dump()? })
    }

    /// How many rows it holds.
    pub(super) fn row_count(&self) -> usize {
        self.rows.len()
    }
}

/// What is wrong with a database after a round.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Rows that are missing, and migrations that were never recorded.
    pub(super) lost: usize,
    /// Rows that should not be there, and migrations that were recorded twice.
    pub(super) doubled: usize,
    /// In words, a line each.
    pub(super) complaints: Vec<String>,
}

/// Compares a database with an uninterrupted run's, and reads its ledger.
pub(super) fn judge(
    database: &Database,
    reference: &Snapshot,
    folder: &Folder,
    effects: &Path,
) -> Result<Verdict, ClientError> {
    let mut verdict = Verdict::default();
    let snapshot = Snapshot::of(database)?;
    if let Some(difference) = first_difference(&reference.schema, &snapshot.schema) {
        verdict.complaints.push(format!("the schema differs: {difference}"));
    }
    compare_rows(&reference.rows, &snapshot.rows, &mut verdict);
    // A run that ended before it wrote leaves no ledger.
    if let Err(error) = read_ledger(database, &mut verdict) {
        verdict.complaints.push(format!("there is no ledger to read: {error}"));
    }
    read_effects(folder, effects, &mut verdict);
    Ok(verdict)
}

/// The first line that differs, both ways.
pub(super) fn first_difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let (mut left, mut right) = (expected.lines(), found.lines());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Some("line ends".to_owned()),
            (left, right) if left == right => {}
            (left, right) => {
                let shown = |line: Option<&str>| line.unwrap_or("(nothing)").to_owned();
                return Some(format!("expected `{}`, found `{}`", shown(left), shown(right)));
            }
        }
    }
}

/// Counts both sides of the difference between two multisets.
fn compare_rows(expected: &[String], found: &[String], verdict: &mut Verdict) {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for row in expected {
        *counts.entry(row).or_default() -= 1;
    }
    for row in found {
        *counts.entry(row).or_default() += 1;
    }
    for (row, count) in counts {
        let times = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let (total, word) = match count {
            0 => continue,
            ..0 => (&mut verdict.lost, "lost"),
            1.. => (&mut verdict.doubled, "too many"),
        };
        *total += times;
        // Enough to see what kind of row it is.
        if verdict.complaints.len() < 8 {
            verdict.complaints.push(format!("{word}, {times} times: {row}"));
        }
    }
}

fn read_ledger(database: &Database, verdict: &mut Verdict) -> Result<(), ClientError> {
    let prefix = match database.product {
        Product::Postgres | Product::Pgbouncer => "dunlin.",
        Product::Mysql | Product::Sqlite => "dunlin_",
    };
    let ups = database.sql(&format!(
        "SELECT count(*) FROM {prefix}history WHERE event = 'up' GROUP BY kind, version"
    ))?;
    let ups: Vec<usize> = ups.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let missing = MIGRATIONS.saturating_sub(ups.len());
    let again: usize = ups.iter().map(|count| count - 1).sum();
    if missing > 0 || again > 0 {
        verdict.lost += missing;
        verdict.doubled += again;
        verdict
            .complaints
            .push(format!("the history has {missing} migrations too few and {again} repeated"));
    }
    for (what, query) in [
        ("migrations that are not applied", "migrations WHERE state <> 'applied'"),
        ("steps that were left behind", "steps"),
    ] {
        let count = database.sql(&format!("SELECT count(*) FROM {prefix}{query}"))?;
        if count.trim() != "0" {
            verdict.complaints.push(format!("{} {what}", count.trim()));
        }
    }
    Ok(())
}

/// A program must have run at least once, and always under one key.
fn read_effects(folder: &Folder, effects: &Path, verdict: &mut Verdict) {
    let text = std::fs::read_to_string(effects).unwrap_or_default();
    for version in folder.programs() {
        let mut keys: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(ran, _)| *ran == version)
            .map(|(_, key)| key)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        match keys[..] {
            [] => {
                verdict.lost += 1;
                verdict.complaints.push(format!("program {version} never ran"));
            }
            [key] if !key.is_empty() => {}
            _ => verdict.complaints.push(format!("program {version} ran under several keys")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_compared_as_multisets() {
        let rows = |rows: &[&str]| rows.iter().map(|&row| row.to_owned()).collect::<Vec<_>>();
        let mut verdict = Verdict::default();
        compare_rows(&rows(&["a", "a", "b", "c"]), &rows(&["a", "b", "b", "b", "c"]), &mut verdict);
        assert_eq!((verdict.lost, verdict.doubled), (1, 2));
        assert_eq!(verdict.complaints.len(), 2);
    }

    #[test]
    fn a_difference_is_shown() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        let shown = first_difference("a\nb\n", "a\n").unwrap();
        assert_eq!(shown, "expected `b`, found `(nothing)`");
    }
}
