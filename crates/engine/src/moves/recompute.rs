//! New rows computed once more, to look at some of them or at all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use tokio::sync::mpsc;

use super::ahead::Ahead;
use super::chunk::new_keys;
use super::columns::{Columns, QUEUE, bug};
use super::differing::{Beside, names};
use super::key::{KeyColumns, RowKey};
use super::plan::MovePlan;
use super::ports::{Source, Written};
use super::produce::{Decided, Produced, produce};
use super::read_rows::ReadRows;
use super::report::{Note, NoteKind};
use super::session::Session;
use super::verify::NOT_AS_WRITTEN;
use crate::TargetError;

/// Rows whose columns a run names in its own findings.
const EXPLAINED_MAX: usize = 1_000;

/// Reads a source, and gives away the rows of these rules with their keys in the target.
pub(super) async fn each_produced(
    (plan, decided): (&MovePlan, &Arc<Decided>),
    session: &mut Session<'_>,
    source: &mut dyn Source,
    place: usize,
    rules: &[usize],
    mut take: impl FnMut(usize, &Produced, &KeyColumns) -> Result<(), TargetError>,
) -> Result<(), TargetError> {
    let from = &plan.sources[place];
    let used = rules.iter().map(|&rule| plan.rules[rule].compiled.used());
    let columns = Columns::of(from, used);
    let extract = columns.extract(from, false);
    let all: Vec<_> = rules.iter().map(|&rule| (rule, Arc::clone(&plan.rules[rule]))).collect();
    let decided = Arc::clone(decided);
    let work = move |read: ReadRows| {
        let (read, keys, mut nameless) = columns.keyed(read)?;
        let is_any_unread = !nameless.is_empty();
        let made = all.iter().map(|(number, rule)| {
            let mut produced = produce(rule, &decided, *number, &columns, (&read, &keys))?;
            // They may be rows of any rule, and are told of once.
            produced.is_any_unread = is_any_unread;
            produced.notes.append(&mut nameless);
            Ok((*number, produced))
        });
        made.collect::<Result<Vec<_>, TargetError>>()
    };
    let (batches, received) = mpsc::channel(QUEUE);
    let reading = async move {
        let read = source.read(&extract, &batches).await;
        drop(batches);
        read
    };
    let taking = async move {
        let mut ahead = Ahead::new(received, work);
        while let Some(made) = ahead.next().await? {
            for (rule, mut produced) in made {
                let planned = &plan.rules[rule];
                let fields = &planned.written.fields;
                produced.rows = session.normalise(fields, produced.rows).await?;
                take(rule, &produced, &new_keys(planned, &produced.rows)?)?;
            }
        }
        Ok::<(), TargetError>(())
    };
    let (read, taken) = tokio::join!(reading, taking);
    taken.and(read)
}

/// The keys of rows in the target.
pub(super) fn keys_of(written: &Written, rows: &RecordBatch) -> Result<Vec<RowKey>, TargetError> {
    let columns: Vec<_> = written.key.iter().map(|place| rows.column(*place).clone()).collect();
    let keys = KeyColumns::of_target(written.key_fields(), &columns)?;
    Ok((0..keys.len()).map(|row| keys.key(row)).collect())
}

/// Names the columns in a run's own findings. It reads the source once more, which is rarely needed:
/// what a run writes is what is there, unless somebody or something changes it at once.
pub(super) async fn name_columns(
    (plan, decided): (&MovePlan, &Arc<Decided>),
    session: &mut Session<'_>,
    source: &mut dyn Source,
    number: usize,
    notes: &mut [Note],
) -> Result<(), TargetError> {
    let is_other = |note: &Note| note.kind == NoteKind::Differs && note.reason == NOT_AS_WRITTEN;
    let others: HashSet<RowKey> = notes
        .iter()
        .filter(|note| is_other(note))
        .take(EXPLAINED_MAX)
        .map(|note| note.old.clone())
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let rule = &plan.rules[number];
    let mut found = Vec::new();
    let made = (plan, decided);
    each_produced(made, session, source, rule.source, &[number], |_, rows, _| {
        let old: Vec<RowKey> = (0..rows.old.len()).map(|place| rows.old.key(place)).collect();
        let mask: Vec<bool> = old.iter().map(|old| others.contains(old)).collect();
        if mask.iter().any(|other| *other) {
            let old = old.into_iter().zip(&mask).filter(|(_, other)| **other);
            let old: Vec<RowKey> = old.map(|(old, _)| old).collect();
            let mask = BooleanArray::from(mask);
            found.push((filter_record_batch(&rows.rows, &mask).map_err(|e| bug(&e))?, old));
        }
        Ok(())
    })
    .await?;
    let mut named: HashMap<RowKey, String> = HashMap::new();
    for (rows, old) in found {
        let beside = Beside::fetch(&rule.written, session, &rows).await?;
        let keys = keys_of(&rule.written, &rows)?;
        let differs = beside.columns(&rule.written.fields, &rows, &keys, false)?;
        for (old, columns) in old.into_iter().zip(differs) {
            let columns = columns.filter(|columns| !columns.is_empty());
            named.extend(columns.map(|columns| (old, names(&columns))));
        }
    }
    for note in notes.iter_mut().filter(|note| is_other(note)) {
        if let Some(names) = named.get(&note.old) {
            note.reason = format!("{NOT_AS_WRITTEN}: {names}");
        }
    }
    Ok(())
}
