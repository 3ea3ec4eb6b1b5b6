//! Backfills as they stand in the ledger, with who is at work on them, for people and programs.

use std::time::Duration;

use dunlin::engine::backfill;
use dunlin::engine::job::Job;
use dunlin::engine::owner::is_known_dead;
use dunlin::engine::report::EngineError;
use dunlin::engine::standing::look;
use dunlin::model::{
    BackfillRecord, BackfillState, EntryState, LeaseHolder, Resource, Segment, Version,
};

use super::name_of;
use crate::render::backfill::{View, Worker};

/// Who of these holders is at work on a data migration.
pub(super) fn worker(leases: &[LeaseHolder], version: Version) -> Worker {
    let resource = Resource::Data(version).to_string();
    let at_work = leases.iter().find(|holder| {
        holder.resource == resource && holder.remaining_ms > 0 && !is_known_dead(&holder.owner)
    });
    match at_work {
        Some(holder) => Worker::At { host: holder.owner.host.clone(), pid: holder.owner.pid },
        None => Worker::Nobody,
    }
}

/// One backfill as it is shown.
pub(super) fn view(
    job: &Job,
    record: BackfillRecord,
    segments: &[Segment],
    leases: &[LeaseHolder],
    skipped: bool,
) -> View {
    let version = record.id.version;
    let done = segments.iter().filter(|segment| segment.is_done()).count();
    View {
        name: name_of(job, version),
        rows_done: backfill::rows_done(&record, segments),
        segments: Some((done, segments.len())),
        worker: worker(leases, version),
        silent: record.updated_at.and_then(silent),
        skipped,
        record,
    }
}

/// How long ago that was, if this machine's clock and the server's agree about it.
fn silent(updated_at: i64) -> Option<Duration> {
    let now = jiff::Timestamp::now().as_microsecond();
    u64::try_from(now.saturating_sub(updated_at)).ok().map(Duration::from_micros)
}

/// All backfills of a database, or one.
pub(super) async fn read(job: &Job, of: Option<Version>) -> Result<Vec<View>, EngineError> {
    let found = backfill::standing(job, of).await?;
    // Whose lease it is, and whether it was given up, matters only until it is over.
    let over = |record: &BackfillRecord| {
        matches!(record.state, BackfillState::Done | BackfillState::Undone)
    };
    if found.iter().all(|(record, _)| over(record)) {
        let shown = |(record, segments): (BackfillRecord, Vec<Segment>)| {
            view(job, record, &segments, &[], false)
        };
        return Ok(found.into_iter().map(shown).collect());
    }
    let ledger = look(job).await?.ledger;
    let shown = |(record, segments): (BackfillRecord, Vec<Segment>)| {
        let entry = ledger.entries.get(&record.id);
        let skipped = entry.is_some_and(|entry| entry.state == EntryState::Skipped);
        view(job, record, &segments, &ledger.leases, skipped)
    };
    Ok(found.into_iter().map(shown).collect())
}
