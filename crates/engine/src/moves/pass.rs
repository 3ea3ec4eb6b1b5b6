//! Reads one source once, in the order of its keys, and feeds all rules of a pass.

use arrow::array::BooleanArray;
use arrow::record_batch::RecordBatch;
use tokio::sync::mpsc;

use super::columns::Columns;
use super::plan::{MovePlan, Pass};
use super::ports::Source;
use super::produce::{Decided, produce};
use super::report::{Note, NoteKind, SourceReport};
use super::session::Session;
use super::writer::{RuleWriter, untaken};
use crate::TargetError;

/// Batches that wait to be transformed.
const QUEUE: usize = 4;

/// Rows of a source that no rule takes are looked for while it is read for the first time.
pub(super) struct Coverage<'a> {
    pub(super) report: &'a mut SourceReport,
    pub(super) notes: &'a mut Vec<Note>,
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
            let batch = batch?;
            let keys = columns.keys(&batch)?;
            if batch.num_rows() == 0 {
                continue;
            }
            let upto = keys.key(batch.num_rows() - 1);
            let mut taken = Vec::new();
            for (writer, &rule) in writers.iter_mut().zip(&pass.rules) {
                let produced = produce(&plan.rules[rule], decided, rule, &columns, &batch)?;
                writer.notes.extend(produced.notes);
                taken.push(produced.taken);
                writer.take(session, produced.rows, produced.old, &upto).await?;
            }
            if let Some(coverage) = &mut coverage {
                for &rule in &others {
                    let compiled = &plan.rules[rule].compiled;
                    let given = columns.project(&batch, compiled.used())?;
                    taken.push(compiled.apply(&given)?.taken);
                }
                cover(plan, pass, &columns, &batch, &taken, coverage)?;
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
    batch: &RecordBatch,
    taken: &[BooleanArray],
    coverage: &mut Coverage<'_>,
) -> Result<(), TargetError> {
    coverage.report.rows += batch.num_rows() as u64;
    let mut rest = untaken(taken, batch.num_rows());
    if rest.is_empty() {
        return Ok(());
    }
    let keys = columns.keys(batch)?;
    // A table of which nothing is taken may have no key to tell its rows by.
    let has_key = !plan.sources[pass.source].key.is_empty();
    for one in &plan.sources[pass.source].leave_out {
        let given = columns.project(batch, one.compiled.used())?;
        let applied = one.compiled.apply(&given)?;
        let mut stay = Vec::with_capacity(rest.len());
        for row in rest {
            if applied.taken.value(row) {
                *coverage.report.left_out.entry(one.because.clone()).or_default() += 1;
                let (kind, reason) = (NoteKind::LeftOut, one.because.clone());
                if has_key {
                    coverage.notes.push(Note { old: keys.key(row), kind, reason });
                }
            } else {
                stay.push(row);
            }
        }
        rest = stay;
    }
    coverage.report.not_taken += rest.len() as u64;
    coverage.notes.extend(rest.into_iter().filter(|_| has_key).map(|row| Note {
        old: keys.key(row),
        kind: NoteKind::NotTaken,
        reason: "no rule takes it".to_owned(),
    }));
    Ok(())
}
