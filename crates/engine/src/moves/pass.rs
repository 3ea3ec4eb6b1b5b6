//! Reads one source once, in the order of its keys, and feeds all rules of a pass.

use std::collections::HashSet;

use arrow::array::BooleanArray;
use tokio::sync::mpsc;

use super::columns::Columns;
use super::key::KeyColumns;
use super::plan::{MovePlan, Pass};
use super::ports::Source;
use super::produce::{Decided, produce};
use super::read_rows::ReadRows;
use super::report::{Note, NoteKind, SourceReport};
use super::session::Session;
use super::told::Told;
use super::writer::{RuleWriter, untaken};
use crate::TargetError;

/// Batches that wait to be transformed.
const QUEUE: usize = 4;

/// Rows of a source that no rule takes are looked for while it is read for the first time.
pub(super) struct Coverage<'a> {
    pub(super) report: &'a mut SourceReport,
    pub(super) told: &'a mut Told,
}

/// Runs a pass. `writers` are those of the pass's rules, in its order.
pub(super) async fn run(
    plan: &MovePlan,
    pass: &Pass,
    source: &mut dyn Source,
    session: &mut Session<'_>,
    decided: &Decided,
    writers: &mut [&mut RuleWriter<'_>],
    mut coverage: Option<Coverage<'_>>,
) -> Result<(), TargetError> {
    let from = &plan.sources[pass.source];
    let others: Vec<usize> = match &coverage {
        Some(_) => from.rules.iter().copied().filter(|rule| !pass.rules.contains(rule)).collect(),
        None => Vec::new(),
    };
    let rules = pass.rules.iter().chain(&others).map(|&rule| plan.rules[rule].compiled.used());
    let left_out = from.leave_out.iter().map(|one| one.compiled.used());
    let columns = match &coverage {
        Some(_) => Columns::of(from, rules.chain(left_out)),
        None => Columns::of(from, rules),
    };
    let extract = columns.extract(from, true);
    let (batches, mut received) = mpsc::channel(QUEUE);
    let reading = async move {
        let read = source.read(&extract, &batches).await;
        drop(batches);
        read
    };
    let taking = async move {
        while let Some(batch) = received.recv().await {
            let (batch, keys, nameless) = columns.keyed(batch?)?;
            if !nameless.is_empty() {
                // Which rows these are nobody can tell.
                writers.iter_mut().for_each(|writer| writer.unread.add_any());
            }
            if let Some(coverage) = &mut coverage {
                coverage.report.unread += nameless.len() as u64;
                coverage.told.extend(nameless)?;
            }
            if batch.count() == 0 {
                continue;
            }
            let upto = keys.key(batch.count() - 1);
            let mut taken = Vec::new();
            for (writer, &rule) in writers.iter_mut().zip(&pass.rules) {
                let produced =
                    produce(&plan.rules[rule], decided, rule, &columns, (&batch, &keys))?;
                writer.told.extend(produced.notes)?;
                writer.unread.extend(produced.unread);
                taken.push(produced.taken);
                writer.take(session, produced.rows, produced.old, &upto).await?;
            }
            if let Some(coverage) = &mut coverage {
                for &rule in &others {
                    let compiled = &plan.rules[rule].compiled;
                    let given = columns.project(&batch, compiled.used())?;
                    taken.push(compiled.apply(&given)?.taken);
                }
                cover(plan, pass, &columns, (&batch, &keys), &taken, coverage)?;
            }
        }
        for writer in writers.iter_mut() {
            writer.end(session).await?;
        }
        Ok::<(), TargetError>(())
    };
    let (read, taken) = tokio::join!(reading, taking);
    taken.and(read)
}

/// Counts the rows that no rule takes.
fn cover(
    plan: &MovePlan,
    pass: &Pass,
    columns: &Columns,
    (batch, keys): (&ReadRows, &KeyColumns),
    taken: &[BooleanArray],
    coverage: &mut Coverage<'_>,
) -> Result<(), TargetError> {
    coverage.report.rows += batch.count() as u64;
    let mut rest = untaken(taken, batch.count());
    if rest.is_empty() {
        return Ok(());
    }
    // A table of which nothing is taken may have no key to tell its rows by.
    let has_key = !plan.sources[pass.source].key.is_empty();
    for one in &plan.sources[pass.source].leave_out {
        let given = columns.project(batch, one.compiled.used())?;
        let applied = one.compiled.apply(&given)?;
        // Whether it is to be left out, a row that fails doesn't tell.
        let failed: HashSet<u32> = applied.failures.iter().map(|failure| failure.row).collect();
        let mut stay = Vec::with_capacity(rest.len());
        for row in rest {
            if applied.taken.value(row) && !failed.contains(&(row as u32)) {
                *coverage.report.left_out.entry(one.because.clone()).or_default() += 1;
                let (kind, reason) = (NoteKind::LeftOut, one.because.clone());
                if has_key {
                    coverage.told.extend([Note { old: keys.key(row), kind, reason }])?;
                }
            } else {
                stay.push(row);
            }
        }
        rest = stay;
    }
    coverage.report.not_taken += rest.len() as u64;
    coverage.told.extend(rest.into_iter().filter(|_| has_key).map(|row| Note {
        old: keys.key(row),
        kind: NoteKind::NotTaken,
        reason: "no rule takes it".to_owned(),
    }))
}
