//! Chunks of backfills.
//!
//! `kind` and `range` turn keys into SQL, `catalogue` reads tables, `walk`, `split` and `position`
//! find where chunks end, `commit` runs them, `rows` and `derived` write what programs answer,
//! `capture` keeps old values and `undo` puts them back, `beside` finds what else would change, `record` is the ledger's part, `health` the server's.

mod beside;
mod capture;
mod catalogue;
mod commit;
mod derived;
mod grant;
mod health;
mod kind;
mod position;
mod range;
mod record;
mod rows;
mod split;
mod undo;
mod walk;

use async_trait::async_trait;
use dunlin_engine::{
    Barrier, Chunk, Chunks, Committed, Extent, Health, Kept, Mark, Quarantined, Rehearsal,
    RowsOutcome, Search, TargetError, UndoSlice, Undone,
};
use dunlin_model::{
    Access, Backfill, BackfillRecord, Beside, Bound, EntryWrite, Intent, IntentChange, Key,
    KeyRange, Lease, Resource, Row, RowChange, Segment, Table, Wish,
};

pub(crate) use catalogue::Known;

use crate::target::MysqlTarget;

#[async_trait]
impl Chunks for MysqlTarget {
    async fn table(&mut self, name: &str) -> Result<Option<Table>, TargetError> {
        self.let_go().await?;
        self.look_up(name).await
    }

    async fn explain(&mut self, work: &Backfill) -> Result<Vec<Access>, TargetError> {
        self.let_go().await?;
        let access = self.explain_access(work).await;
        access
            .map_err(|error| self.with_grant(error, "asking how chunks would reach rows of", work))
    }

    async fn extent(&mut self, work: &Backfill) -> Result<Extent, TargetError> {
        self.let_go().await?;
        let extent = self.find_extent(work).await;
        extent.map_err(|error| self.with_grant(error, "reading the keys of", work))
    }

    /// None is needed: chunks read their rows by locking reads, which wait for rows whose insertion
    /// is in doubt.
    async fn barrier(&mut self) -> Result<Option<Barrier>, TargetError> {
        self.let_go().await?;
        Ok(None)
    }

    async fn behind(&mut self, _barrier: &Barrier) -> Result<Vec<String>, TargetError> {
        self.let_go().await?;
        Ok(Vec::new())
    }

    async fn split(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
        parts: u32,
    ) -> Result<Vec<Key>, TargetError> {
        self.let_go().await?;
        self.split_keys(work, after, upto, parts).await
    }

    async fn estimate(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
    ) -> Result<Option<u64>, TargetError> {
        self.let_go().await?;
        self.estimate_rows(work, after, upto).await
    }

    async fn walk(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
        spacing: u64,
        count: u32,
    ) -> Result<Vec<Mark>, TargetError> {
        self.let_go().await?;
        self.walk_keys(work, after, upto, spacing, count).await
    }

    /// There is no barrier: rows whose insertion is in doubt are waited for by the statements that
    /// come to them, and a query that locks nothing would pass over them.
    async fn find(
        &mut self,
        _work: &Backfill,
        _stretches: &[(Bound, Key)],
        _search: Search,
    ) -> Result<Option<Vec<Vec<Key>>>, TargetError> {
        self.let_go().await?;
        Ok(None)
    }

    async fn backfills(
        &mut self,
        of: Option<&Resource>,
    ) -> Result<Vec<(BackfillRecord, Vec<Segment>)>, TargetError> {
        self.let_go().await?;
        self.read_backfills(of).await
    }

    async fn write_backfill(
        &mut self,
        lease: &mut Lease,
        record: &BackfillRecord,
        segments: Option<&[Segment]>,
        wish: Option<Wish>,
        entry: Option<&EntryWrite>,
    ) -> Result<(), TargetError> {
        self.let_go().await?;
        self.save_backfill(lease, record, segments, wish, entry).await
    }

    async fn report_backfill(
        &mut self,
        lease: &Lease,
        record: &BackfillRecord,
    ) -> Result<Intent, TargetError> {
        self.let_go().await?;
        self.say(lease, record).await
    }

    async fn wish(&mut self, of: &Resource, change: &IntentChange) -> Result<bool, TargetError> {
        self.let_go().await?;
        self.write_wish(of, change).await
    }

    async fn cut_segment(
        &mut self,
        lease: &Lease,
        left: &Segment,
        right: &Segment,
    ) -> Result<bool, TargetError> {
        self.let_go().await?;
        self.cut(lease, left, right).await
    }

    async fn commit_chunk(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
    ) -> Result<Committed, TargetError> {
        self.let_go().await?;
        self.run_chunk(lease, work, chunk).await
    }

    async fn rehearse_chunk(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
    ) -> Result<Rehearsal, TargetError> {
        self.let_go().await?;
        self.try_chunk(work, range).await
    }

    async fn read_rows(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
    ) -> Result<Vec<Row>, TargetError> {
        self.let_go().await?;
        self.read_range(work, range).await
    }

    async fn lock_rows(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
    ) -> Result<Vec<Row>, TargetError> {
        self.let_go().await?;
        self.lock_range_rows(lease, work, chunk).await
    }

    async fn commit_rows(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
        changes: &[RowChange],
        rejected: &[(Key, String)],
    ) -> Result<RowsOutcome, TargetError> {
        self.write_rows(lease, work, chunk, changes, rejected).await
    }

    async fn holds(&mut self, query: &str) -> Result<bool, TargetError> {
        self.let_go().await?;
        self.is_true(query).await
    }

    async fn quarantine(
        &mut self,
        of: &Resource,
        count_max: u64,
    ) -> Result<Vec<Quarantined>, TargetError> {
        self.let_go().await?;
        self.read_quarantine(of, count_max).await
    }

    async fn discard(&mut self, lease: &mut Lease, key: Option<&Key>) -> Result<u64, TargetError> {
        self.let_go().await?;
        self.forget_quarantined(lease, key).await
    }

    async fn undo_chunk(
        &mut self,
        lease: &mut Lease,
        work: &Backfill,
        slice: UndoSlice,
    ) -> Result<Undone, TargetError> {
        self.let_go().await?;
        self.undo(lease, work, slice).await
    }

    async fn kept(&mut self, work: &Backfill) -> Result<Kept, TargetError> {
        self.let_go().await?;
        self.kept_values(work).await
    }

    async fn beside(&mut self, work: &Backfill) -> Result<Vec<Beside>, TargetError> {
        self.let_go().await?;
        self.changes_beside(work).await
    }

    async fn forget_captured(&mut self, count_max: u64) -> Result<u64, TargetError> {
        self.let_go().await?;
        self.forget_old_values(count_max).await
    }

    async fn health(&mut self, work: &Backfill) -> Result<Health, TargetError> {
        self.let_go().await?;
        self.take_pulse(work).await
    }
}
