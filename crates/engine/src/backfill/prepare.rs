//! Before the first chunk: the table, the plan, the server's own view of it, and the segments.

use dunlin_model::{
    Access, Backfill, BackfillRecord, BackfillState, Body, Bound, Checksums, Chunking, Dialect,
    EntryState, EntryWrite, KeyRange, Lease, LedgerEvent, Migration, Phase, PlannedStep, Resource,
    Segment, Table, Wish,
};
use dunlin_project::backfill::{
    Timeouts, adds_from, check_written, not_apart, not_kept, plan, without_stamps, written,
};

use super::barrier::wait_behind;
use super::{Halt, half_undone, new_record};
use crate::job::Job;
use crate::proof;
use crate::report::Cause;
use crate::{ErrorKind, Target, TargetError};

/// Tables with fewer rows may be scanned and sorted: it takes milliseconds.
pub(super) const SMALL_TABLE_ROWS: u64 = 10_000;

/// A walk that can begin or go on.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) work: Backfill,
    pub(crate) chunking: Chunking,
    pub(crate) record: BackfillRecord,
    pub(crate) segments: Vec<Segment>,
    pub(crate) row_bytes: Option<u64>,
    /// Rows of the table, by the server's statistics.
    pub(crate) table_rows: Option<u64>,
}

/// Looks at the table, plans, and takes up what the ledger has of this pass, or begins it. `None`:
/// what is to be true already is. `recorded` is the text that it began with.
pub(crate) async fn prepare(
    job: &Job,
    target: &mut dyn Target,
    lease: &mut Lease,
    step: &PlannedStep,
    entry: &EntryWrite,
    recorded: Option<&Checksums>,
) -> Result<Option<Prepared>, Halt> {
    let migration = &step.migration;
    let known = known(target, step).await?;
    if let Some((record, _)) = &known {
        // First: what people want is said of the undo.
        if record.is_half_undone() {
            return Err(half_undone(migration.id.version).into());
        }
        check_wish(job, record, step.pass)?;
    }
    let resumed =
        known.filter(|(record, _)| record.pass == step.pass && record.phase == Phase::Forward);
    if resumed.is_none()
        && let Some(query) = &migration.directives().done_when
        && holds(target, migration, query).await?
    {
        return Ok(None);
    }
    if let Some((_, segments)) = &resumed {
        check_text(migration, recorded, segments)?;
    }
    let began = resumed.as_ref().map(|(record, _)| record);
    let (table, work, chunking) = planned_since(job, target, migration, step.pass, began).await?;
    if let Some((record, segments)) = resumed {
        let mut prepared = resume(migration, record, segments, &work, chunking, &table)?;
        begin(target, lease, entry, &mut prepared, None).await?;
        return Ok(Some(prepared));
    }
    check_access(target, &work, &table).await?;
    if let Some(barrier) = target.barrier().await? {
        crate::failpoint("backfill.barrier");
        wait_behind(job, target, step, &barrier).await?;
    }
    let workers = work.workers(job.limits.workers_for(&chunking));
    let segments = segments(target, &work, workers).await?;
    let planned = (table, work);
    check_added(job, target, migration, &planned, &segments).await?;
    let (table, work) = planned;
    let nulls = segments.iter().any(|segment| segment.hi == Bound::Nulls);
    if nulls && matches!(migration.body, Body::Rows(_)) {
        // Not every database can name such rows to a program, and they come last: better to be told
        // so now than after hours.
        target.read_rows(&work, &KeyRange::Nulls).await?;
    }
    let estimate = estimate(target, &work, &segments)
        .await
        .map_err(|error| proof::of_filter(&chunking, error))?;
    let record = new_record(step, &work, estimate);
    let (row_bytes, table_rows) = (table.row_bytes_estimate, table.row_count_estimate);
    let mut prepared = Prepared { work, chunking, record, segments, row_bytes, table_rows };
    begin(target, lease, entry, &mut prepared, Some(Wish::Run)).await?;
    crate::failpoint("backfill.begun");
    Ok(Some(prepared))
}

async fn holds(
    target: &mut dyn Target,
    migration: &Migration,
    query: &str,
) -> Result<bool, TargetError> {
    target.holds(query).await.map_err(|error| proof::of_proof(migration.directives(), error))
}

/// The ledger's row of this migration's backfill, if there is one.
async fn known(
    target: &mut dyn Target,
    step: &PlannedStep,
) -> Result<Option<(BackfillRecord, Vec<Segment>)>, TargetError> {
    let of = Resource::Data(step.migration.id.version);
    Ok(target.backfills(Some(&of)).await?.into_iter().next())
}

/// Rows that are done were done by the text that it began with: the rest must not be done by
/// another one, or nobody could say afterwards what was done to which row.
fn check_text(
    migration: &Migration,
    recorded: Option<&Checksums>,
    segments: &[Segment],
) -> Result<(), Halt> {
    let half_way =
        segments.iter().any(Segment::has_begun) && !segments.iter().all(Segment::is_done);
    let same = recorded.is_none_or(|recorded| {
        // What a program does is not in its file.
        migration.statements().is_empty() || migration.checksums.agrees_with(recorded)
    });
    if same || !half_way {
        return Ok(());
    }
    let version = migration.id.version;
    Err(TargetError::new(
        ErrorKind::Refused,
        "its statements are others than those that a part of the rows has been through",
    )
    .note(format!("to do the rest as before: put {} back as it was", migration.file().display()))
    .note(format!("to do the rest by the new statements: dunlin accept {version} --because \"…\""))
    .help(format!("dunlin data rerun {version} begins anew with them, over all rows"))
    .into())
}

/// A backfill that a person holds or gave up does not begin by itself.
fn check_wish(job: &Job, record: &BackfillRecord, pass: u32) -> Result<(), Halt> {
    let by = record.intent.by.clone();
    match record.intent.wish {
        Wish::Run => Ok(()),
        Wish::Pause if job.limits.hold_paused => Ok(()),
        Wish::Pause => Err(Cause::Paused { by }.into()),
        // What was given up is an earlier pass; a person asked for another one since.
        Wish::Cancel if record.pass != pass => Ok(()),
        Wish::Cancel => Err(Cause::Cancelled { by }.into()),
    }
}

/// The table and what every chunk does to it.
pub(crate) async fn planned(
    job: &Job,
    target: &mut dyn Target,
    migration: &Migration,
    pass: u32,
) -> Result<(Table, Backfill, Chunking), Halt> {
    planned_since(job, target, migration, pass, None).await
}

/// As [`planned`], of a pass that may have begun.
async fn planned_since(
    job: &Job,
    target: &mut dyn Target,
    migration: &Migration,
    pass: u32,
    began: Option<&BackfillRecord>,
) -> Result<(Table, Backfill, Chunking), Halt> {
    let mut planned = laid_out(job, target, migration, pass, began).await?;
    let (table, work, _) = &mut planned;
    check_others(job, target, migration, table).await?;
    let dialect = job.connector.dialect();
    let others = super::others::look(target, migration, table, work, dialect).await?;
    let diagnostics = not_apart(migration, table, work, dialect, &others);
    if !diagnostics.is_empty() {
        return Err(Cause::Refused { diagnostics }.into());
    }
    if work.capture.is_some() {
        let beside = target.beside(work).await?;
        let diagnostics = not_kept(migration, work, dialect, &beside);
        if !diagnostics.is_empty() {
            return Err(Cause::Refused { diagnostics }.into());
        }
        without_stamps(migration, work, dialect, &beside);
    }
    Ok(planned)
}

/// As [`planned_since`], of a backfill that did what it did: for its undo it no longer matters what
/// the database would do beside it.
pub(super) async fn laid_out(
    job: &Job,
    target: &mut dyn Target,
    migration: &Migration,
    pass: u32,
    began: Option<&BackfillRecord>,
) -> Result<(Table, Backfill, Chunking), Halt> {
    let Some(chunking) = migration.chunking().cloned() else {
        return Err(TargetError::new(ErrorKind::Bug, "a chunked step without chunk-by").into());
    };
    let Some(table) = target.table(&chunking.table).await? else {
        let error = no_table(migration, &chunking, began);
        return Err(match job.connector.dialect() {
            Dialect::Mysql => error.note("this server shows a table only to who has a right to it"),
            Dialect::Postgres | Dialect::Sqlite => error,
        }
        .into());
    };
    let timeouts =
        Timeouts { lock: job.limits.lock_timeout, statement: job.limits.statement_timeout };
    let work = plan(migration, &table, job.connector.dialect(), timeouts, pass)
        .map_err(|diagnostics| Cause::Refused { diagnostics })?;
    Ok((table, work, chunking))
}

/// Other tables that it writes must not hold rows of the one that it walks.
async fn check_others(
    job: &Job,
    target: &mut dyn Target,
    migration: &Migration,
    table: &Table,
) -> Result<(), Halt> {
    let mut diagnostics = Vec::new();
    for (number, name) in written(migration, table, job.connector.dialect()) {
        // One that is not there is the server's to name, with its place.
        if let Some(other) = target.table(&name).await? {
            diagnostics.extend(check_written(migration, table, number, &other));
        }
    }
    if diagnostics.is_empty() { Ok(()) } else { Err(Cause::Refused { diagnostics }.into()) }
}

/// Rows that it adds to the table must get keys behind the end of the walk.
async fn check_added(
    job: &Job,
    target: &mut dyn Target,
    migration: &Migration,
    prepared: &(Table, Backfill),
    segments: &[Segment],
) -> Result<(), Halt> {
    let (table, work) = prepared;
    let dialect = job.connector.dialect();
    let Some(next) = adds_from(migration, table, &work.key, dialect) else { return Ok(()) };
    let end = segments.iter().filter_map(|segment| match &segment.hi {
        Bound::Key(key) => key.0.first(),
        Bound::Start | Bound::Nulls => None,
    });
    // What is no number of 64 bits is above them all.
    let Some(end) = end.map(|text| text.parse().unwrap_or(i64::MAX)).max() else { return Ok(()) };
    if end < next {
        return Ok(());
    }
    // Others may have added rows since the table was looked at; numbers only grow.
    if let Some(now) = target.table(&work.table).await?
        && adds_from(migration, &now, &work.key, dialect).is_some_and(|next| end < next)
    {
        return Ok(());
    }
    Err(TargetError::new(
        ErrorKind::Refused,
        format!(
            "rows that it adds to {} would come to lie ahead of the walk, and be done as well: the \
             database gives them numbers from {next} on, and there are higher ones",
            work.table
        ),
    )
    .help(
        "raise the sequence above the highest key (PostgreSQL: SELECT setval('SEQUENCE', max(id)) FROM \
         the table; MySQL: ALTER TABLE … AUTO_INCREMENT = …), or insert into another table",
    )
    .into())
}

fn no_table(
    migration: &Migration,
    chunking: &Chunking,
    began: Option<&BackfillRecord>,
) -> TargetError {
    let table = &chunking.table;
    let Some(record) = began else {
        return TargetError::new(ErrorKind::Refused, format!("there is no table `{table}`")).help(
            "correct `chunk-by`, or say which migration makes it: `-- dunlin: after VERSION`",
        );
    };
    let version = migration.id.version;
    TargetError::new(ErrorKind::Refused, format!("there is no table `{table}` any more"))
        .note(format!("this backfill began on {}", record.table))
        .help(format!(
            "give the table its name back to go on; or correct `chunk-by`, and dunlin data rerun \
             {version} begins anew, over all rows; dunlin data skip {version} gives it up"
        ))
}

/// Goes on with the segments of the ledger, if they still fit.
fn resume(
    migration: &Migration,
    mut record: BackfillRecord,
    mut segments: Vec<Segment>,
    work: &Backfill,
    chunking: Chunking,
    table: &Table,
) -> Result<Prepared, Halt> {
    let version = migration.id.version;
    let anew = format!(
        "dunlin data rerun {version} begins anew, over all rows; dunlin data skip {version} gives it up"
    );
    if record.table != work.table || record.key != work.key {
        return Err(TargetError::new(
            ErrorKind::Refused,
            "the table that its chunks walk, or its key, is another than when it began",
        )
        .note(format!("it began on {}, by {}", record.table, columns(&record.key)))
        .note(format!("now it is {}, by {}", work.table, columns(&work.key)))
        .help(anew)
        .into());
    }
    check_numbers(&record, work, table)?;
    if record.state == BackfillState::Failed {
        // Somebody has seen why and asks for another try: what a row has done to workers before
        // that must not fail it unseen.
        for segment in &mut segments {
            segment.attempts = 0;
        }
    }
    record.shape.clone_from(&work.shape);
    record.state = BackfillState::Running;
    record.reason = None;
    Ok(Prepared {
        work: work.clone(),
        chunking,
        record,
        segments,
        row_bytes: table.row_bytes_estimate,
        table_rows: table.row_count_estimate,
    })
}

/// Where the database itself has numbered the rows, it may have given them other numbers since the
/// table's shape was another one: then the keys of before name other rows.
pub(crate) fn check_numbers(
    record: &BackfillRecord,
    work: &Backfill,
    table: &Table,
) -> Result<(), TargetError> {
    let numbered =
        table.indexes.iter().any(|index| index.name == work.index && table.is_row_number(index));
    if !numbered || record.shape == work.shape {
        return Ok(());
    }
    let version = work.id.version;
    Err(TargetError::new(
        ErrorKind::Refused,
        format!(
            "the database changed since this backfill began, and it knows the rows of {} by their \
             row numbers alone, which may be others by now",
            work.table
        ),
    )
    .note("a VACUUM numbers rows anew, and can't be told from any other change of the schema")
    .help(format!(
        "find out which rows are done; then dunlin data rerun {version} begins anew, over all rows, \
         and dunlin data skip {version} gives it up. A column `id INTEGER PRIMARY KEY` is a key that \
         stays"
    )))
}

fn columns(key: &[dunlin_model::KeyColumn]) -> String {
    let column = |column: &dunlin_model::KeyColumn| {
        let order = if column.descending { " from high to low" } else { "" };
        let null = if column.nullable { ", which may be NULL" } else { "" };
        format!("{} ({}{order}{null})", column.name, column.type_name)
    };
    key.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// Writes that it runs, with its segments where it begins.
async fn begin(
    target: &mut dyn Target,
    lease: &mut Lease,
    entry: &EntryWrite,
    prepared: &mut Prepared,
    wish: Option<Wish>,
) -> Result<(), Halt> {
    let running =
        EntryWrite { state: EntryState::Running, event: LedgerEvent::Start, ..entry.clone() };
    let segments = wish.is_some().then_some(prepared.segments.as_slice());
    target.write_backfill(lease, &prepared.record, segments, wish, Some(&running)).await?;
    Ok(())
}

/// How the server reaches the rows of a chunk. Where it can't tell whose key `:chunk` means, what to
/// write is said.
pub(super) async fn explain(
    target: &mut dyn Target,
    work: &Backfill,
) -> Result<Vec<Access>, TargetError> {
    let explained = target.explain(work).await;
    explained.map_err(|error| {
        if error.statement.is_none() || !error.message.to_lowercase().contains("ambiguous") {
            return error;
        }
        error.help(
            "where another table has a column of the key's name too, say whose key `:chunk` means: \
             `:chunk(p)`, with the alias that the table has there, or with its name",
        )
    })
}

/// The server must reach a range of keys by the index, or every chunk would cost a whole scan.
async fn check_access(target: &mut dyn Target, work: &Backfill, table: &Table) -> Result<(), Halt> {
    let access = explain(target, work).await?;
    if table.row_count_estimate.is_some_and(|rows| rows < SMALL_TABLE_ROWS) {
        return Ok(());
    }
    let complaints: Vec<String> = access
        .iter()
        .filter_map(|one| one.complaint.as_ref().map(|text| format!("{}: {text}", one.what)))
        .collect();
    if complaints.is_empty() {
        return Ok(());
    }
    let mut error = TargetError::new(
        ErrorKind::Refused,
        format!("the server would not reach a chunk's rows by the index {}", work.index),
    )
    .help(
        "write `:chunk` where the planner can use it (in the WHERE of the table that is chunked), or \
         ANALYZE the table. Where a statement reads that table a second time, in a join or a \
         sub-query, ask for each row of the chunk instead, by an index: AND EXISTS (SELECT 1 FROM \
         posts b WHERE b.link = a.link AND b.id < a.id) AND :chunk(a)",
    );
    error.notes = complaints;
    Err(error.into())
}

/// Cuts what the table holds now into segments, one for each worker where the server can tell where.
pub(crate) async fn segments(
    target: &mut dyn Target,
    work: &Backfill,
    workers: u32,
) -> Result<Vec<Segment>, Halt> {
    let extent = target.extent(work).await?;
    let mut segments = Vec::new();
    let mut push = |lo: Bound, upto: Bound, hi: Bound| {
        let seg = i64::try_from(segments.len()).unwrap_or(i64::MAX).saturating_add(1);
        segments.push(Segment { seg, lo, upto, hi, rows: 0, attempts: 0 });
    };
    if let Some(hi) = extent.hi {
        let cuts = if workers > 1 {
            target.split(work, &Bound::Start, &hi, workers).await?
        } else {
            Vec::new()
        };
        let mut lo = Bound::Start;
        for key in cuts {
            let cut = Bound::Key(key);
            push(lo.clone(), lo, cut.clone());
            lo = cut;
        }
        push(lo.clone(), lo, Bound::Key(hi));
    }
    if extent.nulls {
        push(Bound::Nulls, Bound::Start, Bound::Nulls);
    }
    Ok(segments)
}

/// About how many rows are to be done.
async fn estimate(
    target: &mut dyn Target,
    work: &Backfill,
    segments: &[Segment],
) -> Result<Option<u64>, TargetError> {
    let mut sum = Some(0_u64);
    for segment in segments {
        let Bound::Key(hi) = &segment.hi else { continue };
        let rows = target.estimate(work, &segment.lo, hi).await?;
        sum = sum.zip(rows).map(|(sum, rows)| sum.saturating_add(rows));
    }
    Ok(sum)
}
