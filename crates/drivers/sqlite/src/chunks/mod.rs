//! Chunks of backfills: what the port asks, on a connection that works in threads of its own.
//!
//! SQLite has one writer at a time, and `BEGIN IMMEDIATE` makes each chunk that one from its first
//! statement on. So there are no rows in doubt (no barrier), no deadlocks (no locks to take first),
//! and parallel workers would only wait for each other (no cuts).

mod beside;
mod capture;
mod commit;
mod exact;
mod explain;
mod known;
mod name;
mod query;
mod range;
mod rows;
mod table;
mod undo;
mod value;
mod walk;

use std::sync::Arc;

use async_trait::async_trait;
use dunlin_engine::{
    Barrier, Chunk, Chunks, Committed, ErrorKind, Extent, Health, Kept, Mark, Quarantined,
    Rehearsal, RowsOutcome, Search, TargetError, UndoSlice, Undone, failpoint,
};
use dunlin_model::{
    Access, Backfill, BackfillRecord, Beside, Bound, EntryWrite, Intent, IntentChange, Key,
    KeyRange, Lease, Resource, Row, RowChange, Segment, Table, Wish,
};

pub(crate) use known::Known;
#[cfg(feature = "move")]
pub(crate) use table::estimated_rows;

use crate::ledger;
use crate::target::{KEEP_WAIT, SqliteTarget};

#[async_trait]
impl Chunks for SqliteTarget {
    async fn table(&mut self, name: &str) -> Result<Option<Table>, TargetError> {
        let name = name.to_owned();
        self.call(move |session| session.read(|connection| table::table(connection, &name))).await
    }

    async fn explain(&mut self, work: &Backfill) -> Result<Vec<Access>, TargetError> {
        let work = work.clone();
        self.call(move |session| {
            let control = Arc::clone(&session.control);
            let mut ranged = Vec::new();
            session
                .read(|connection| explain::explain(connection, &control, &work, &mut ranged))
                .map_err(|error| range::in_file(error, &ranged))
        })
        .await
    }

    async fn extent(&mut self, work: &Backfill) -> Result<Extent, TargetError> {
        let work = work.clone();
        self.call(move |session| session.read(|connection| walk::extent(connection, &work))).await
    }

    async fn barrier(&mut self) -> Result<Option<Barrier>, TargetError> {
        Ok(None)
    }

    async fn behind(&mut self, _barrier: &Barrier) -> Result<Vec<String>, TargetError> {
        Ok(Vec::new())
    }

    async fn split(
        &mut self,
        _work: &Backfill,
        _after: &Bound,
        _upto: &Key,
        _parts: u32,
    ) -> Result<Vec<Key>, TargetError> {
        Ok(Vec::new())
    }

    async fn estimate(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
    ) -> Result<Option<u64>, TargetError> {
        let (work, after, upto) = (work.clone(), after.clone(), upto.clone());
        self.call(move |session| {
            session.read(|connection| walk::estimate(connection, &work, &after, &upto))
        })
        .await
    }

    async fn walk(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
        spacing: u64,
        count: u32,
    ) -> Result<Vec<Mark>, TargetError> {
        let (work, after, upto) = (work.clone(), after.clone(), upto.clone());
        self.call(move |session| {
            session.read(|connection| walk::walk(connection, &work, &after, &upto, spacing, count))
        })
        .await
    }

    /// The table is its index here: a walk reads it in order, as a search would.
    async fn find(
        &mut self,
        _work: &Backfill,
        _stretches: &[(Bound, Key)],
        _search: Search,
    ) -> Result<Option<Vec<Vec<Key>>>, TargetError> {
        Ok(None)
    }

    async fn backfills(
        &mut self,
        of: Option<&Resource>,
    ) -> Result<Vec<(BackfillRecord, Vec<Segment>)>, TargetError> {
        let of = of.cloned();
        self.call(move |session| {
            session.read(|connection| ledger::backfills(connection, of.as_ref()))
        })
        .await
    }

    async fn write_backfill(
        &mut self,
        lease: &mut Lease,
        record: &BackfillRecord,
        segments: Option<&[Segment]>,
        wish: Option<Wish>,
        entry: Option<&EntryWrite>,
    ) -> Result<(), TargetError> {
        let (held, ttl, wait) = (lease.clone(), self.length.get(), self.file.busy_timeout);
        let (record, entry) = (record.clone(), entry.cloned());
        let segments = segments.map(<[Segment]>::to_vec);
        self.call(move |session| {
            session.write(wait, |connection, _| {
                ledger::enter(connection, &held)?;
                let (segments, entry) = (segments.as_deref(), entry.as_ref());
                ledger::write_backfill(connection, &held, &record, segments, wish, entry)?;
                ledger::leave(connection, &held, ttl, 0)
            })?;
            failpoint("backfill.written");
            Ok(())
        })
        .await?;
        lease.count_commit();
        Ok(())
    }

    async fn report_backfill(
        &mut self,
        lease: &Lease,
        record: &BackfillRecord,
    ) -> Result<Intent, TargetError> {
        let (lease, record) = (lease.clone(), record.clone());
        self.call(move |session| {
            let reported = session.write(KEEP_WAIT, |connection, _| {
                ledger::report(connection, &lease, &record)?;
                ledger::intent(connection, &lease.resource)
            });
            match reported {
                // A chunk is being written: what it would say is not worth waiting for.
                Err(error) if error.kind == ErrorKind::LockTimeout => {
                    session.read(|connection| ledger::intent(connection, &lease.resource))
                }
                other => other,
            }
        })
        .await
    }

    async fn wish(&mut self, of: &Resource, change: &IntentChange) -> Result<bool, TargetError> {
        let (of, change, wait) = (of.clone(), change.clone(), self.file.busy_timeout);
        self.call(move |session| {
            session.write(wait, |connection, _| ledger::wish(connection, &of, &change))
        })
        .await
    }

    async fn cut_segment(
        &mut self,
        lease: &Lease,
        left: &Segment,
        right: &Segment,
    ) -> Result<bool, TargetError> {
        let (lease, wait) = (lease.clone(), self.file.busy_timeout);
        let (left, right) = (left.clone(), right.clone());
        self.call(move |session| {
            session.write(wait, |connection, _| ledger::cut(connection, &lease, &left, &right))
        })
        .await
    }

    async fn commit_chunk(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
    ) -> Result<Committed, TargetError> {
        let (lease, ttl) = (lease.clone(), self.length.get());
        let (work, chunk) = (work.clone(), chunk.clone());
        self.call(move |session| commit::commit(session, &lease, ttl, &work, &chunk)).await
    }

    async fn rehearse_chunk(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
    ) -> Result<Rehearsal, TargetError> {
        let (work, range) = (work.clone(), range.clone());
        self.call(move |session| commit::rehearse(session, &work, &range)).await
    }

    async fn read_rows(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
    ) -> Result<Vec<Row>, TargetError> {
        let (work, range) = (work.clone(), range.clone());
        self.call(move |session| rows::read(session, &work, &range)).await
    }

    async fn lock_rows(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
    ) -> Result<Vec<Row>, TargetError> {
        let (lease, work, chunk) = (lease.clone(), work.clone(), chunk.clone());
        self.call(move |session| rows::lock(session, &lease, &work, &chunk)).await
    }

    async fn commit_rows(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
        changes: &[RowChange],
        rejected: &[(Key, String)],
    ) -> Result<RowsOutcome, TargetError> {
        let (lease, ttl) = (lease.clone(), self.length.get());
        let (work, chunk) = (work.clone(), chunk.clone());
        let (changes, rejected) = (changes.to_vec(), rejected.to_vec());
        self.call(move |session| {
            rows::commit(session, &lease, ttl, &work, &chunk, &changes, &rejected)
        })
        .await
    }

    async fn holds(&mut self, query: &str) -> Result<bool, TargetError> {
        let query = query.to_owned();
        self.call(move |session| {
            let control = Arc::clone(&session.control);
            session.read(|connection| query::holds(connection, &control, &query))
        })
        .await
    }

    async fn quarantine(
        &mut self,
        of: &Resource,
        count_max: u64,
    ) -> Result<Vec<Quarantined>, TargetError> {
        let of = of.clone();
        self.call(move |session| {
            session.read(|connection| ledger::quarantine(connection, &of, count_max))
        })
        .await
    }

    async fn discard(&mut self, lease: &mut Lease, key: Option<&Key>) -> Result<u64, TargetError> {
        let (held, ttl, wait) = (lease.clone(), self.length.get(), self.file.busy_timeout);
        let key = key.cloned();
        let gone = self
            .call(move |session| {
                session.write(wait, |connection, _| {
                    ledger::enter(connection, &held)?;
                    let gone = ledger::discard(connection, &held.resource, key.as_ref())?;
                    ledger::leave(connection, &held, ttl, 0)?;
                    Ok(gone)
                })
            })
            .await?;
        lease.count_commit();
        Ok(gone)
    }

    async fn undo_chunk(
        &mut self,
        lease: &mut Lease,
        work: &Backfill,
        slice: UndoSlice,
    ) -> Result<Undone, TargetError> {
        let (held, ttl, work) = (lease.clone(), self.length.get(), work.clone());
        let undone =
            self.call(move |session| undo::undo(session, &held, ttl, &work, slice)).await?;
        lease.count_commit();
        Ok(undone)
    }

    async fn kept(&mut self, work: &Backfill) -> Result<Kept, TargetError> {
        let work = work.clone();
        self.call(move |session| session.read(|connection| undo::kept(connection, &work))).await
    }

    async fn beside(&mut self, work: &Backfill) -> Result<Vec<Beside>, TargetError> {
        let work = work.clone();
        self.call(move |session| session.read(|connection| beside::look(connection, &work))).await
    }

    async fn forget_captured(&mut self, count_max: u64) -> Result<u64, TargetError> {
        let wait = self.file.busy_timeout;
        self.call(move |session| {
            session.write(wait, |connection, _| ledger::forget(connection, count_max))
        })
        .await
    }

    /// Nothing that a chunk's own time does not tell: who else has the file open can't be seen, and
    /// whoever waits for it is met by the chunk itself. [`dunlin_model::Capabilities::one_writer`]
    /// says so, and nobody asks.
    async fn health(&mut self, _work: &Backfill) -> Result<Health, TargetError> {
        Ok(Health::default())
    }
}
