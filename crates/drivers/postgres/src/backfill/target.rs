//! [`Chunks`] for PostgreSQL: each call handed to the module that does it.

use async_trait::async_trait;
use dunlin_engine::{
    Barrier, Chunk, Chunks, Committed, Extent, Health, Kept, Mark, Quarantined, Rehearsal,
    RowsOutcome, Search, TargetError, UndoSlice, Undone,
};
use dunlin_model::{
    Access, Backfill, BackfillRecord, Beside, Bound, EntryWrite, Intent, IntentChange, Key,
    KeyRange, Lease, Resource, Row, RowChange, Segment, Table, Wish,
};

use super::{
    barrier, beside, captured, catalogue, chunk, explain, find, health, holds, layout, ledger,
    rehearse, rejected, row_code, undo, walk,
};
use crate::target::{PostgresTarget, call};

#[async_trait]
impl Chunks for PostgresTarget {
    async fn table(&mut self, name: &str) -> Result<Option<Table>, TargetError> {
        call!(self, catalogue::table(&mut self.session, name))
    }

    async fn explain(&mut self, work: &Backfill) -> Result<Vec<Access>, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            explain::explain(&mut self.session, &layout, work).await
        })
    }

    async fn extent(&mut self, work: &Backfill) -> Result<Extent, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            walk::extent(&mut self.session, &layout, work).await
        })
    }

    async fn barrier(&mut self) -> Result<Option<Barrier>, TargetError> {
        call!(self, barrier::now(&mut self.session)).map(Some)
    }

    async fn behind(&mut self, barrier: &Barrier) -> Result<Vec<String>, TargetError> {
        call!(self, barrier::behind(&mut self.session, barrier))
    }

    async fn split(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
        parts: u32,
    ) -> Result<Vec<Key>, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            walk::split(&mut self.session, &layout, work, (after, upto), parts, walk::SAMPLE_PAGES)
                .await
        })
    }

    async fn estimate(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
    ) -> Result<Option<u64>, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            walk::estimate(&mut self.session, &layout, work, after, upto).await
        })
    }

    async fn walk(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
        spacing: u64,
        count: u32,
    ) -> Result<Vec<Mark>, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            walk::walk(&mut self.session, &layout, work, (after, upto), spacing, count).await
        })
    }

    async fn find(
        &mut self,
        work: &Backfill,
        stretches: &[(Bound, Key)],
        search: Search,
    ) -> Result<Option<Vec<Vec<Key>>>, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            find::find(&mut self.session, &layout, work, stretches, search).await
        })
    }

    async fn backfills(
        &mut self,
        of: Option<&Resource>,
    ) -> Result<Vec<(BackfillRecord, Vec<Segment>)>, TargetError> {
        call!(self, ledger::all(&mut self.session, of))
    }

    async fn write_backfill(
        &mut self,
        lease: &mut Lease,
        record: &BackfillRecord,
        segments: Option<&[Segment]>,
        wish: Option<Wish>,
        entry: Option<&EntryWrite>,
    ) -> Result<(), TargetError> {
        call!(self, ledger::write(&mut self.session, lease, record, segments, wish, entry))
    }

    async fn report_backfill(
        &mut self,
        lease: &Lease,
        record: &BackfillRecord,
    ) -> Result<Intent, TargetError> {
        call!(self, ledger::report(&mut self.session, lease, record))
    }

    async fn wish(&mut self, of: &Resource, change: &IntentChange) -> Result<bool, TargetError> {
        call!(self, ledger::wish(&mut self.session, of, change))
    }

    async fn cut_segment(
        &mut self,
        lease: &Lease,
        left: &Segment,
        right: &Segment,
    ) -> Result<bool, TargetError> {
        call!(self, ledger::cut(&mut self.session, lease, left, right))
    }

    async fn commit_chunk(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
    ) -> Result<Committed, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            chunk::commit(&mut self.session, &layout, lease, work, chunk).await
        })
    }

    async fn rehearse_chunk(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
    ) -> Result<Rehearsal, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            rehearse::rehearse(&mut self.session, &layout, work, range).await
        })
    }

    async fn read_rows(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
    ) -> Result<Vec<Row>, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            row_code::read(&mut self.session, &layout, work, range).await
        })
    }

    async fn lock_rows(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
    ) -> Result<Vec<Row>, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            let (rows, locked) =
                row_code::lock(&mut self.session, &layout, lease, work, chunk).await?;
            self.memory.locked = Some(locked);
            Ok(rows)
        })
    }

    async fn commit_rows(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
        changes: &[RowChange],
        rejected: &[(Key, String)],
    ) -> Result<RowsOutcome, TargetError> {
        // The transaction that `lock_rows` left open is this call's.
        self.session.enter()?;
        let locked = self.memory.locked.take();
        let result = async {
            // It is known: `lock_rows` has read it. Reading it now would need a transaction.
            if locked.is_some() && self.memory.layout.is_none() {
                return Err(crate::rows::bug("rows are locked of a table that is not known"));
            }
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            row_code::commit(
                &mut self.session,
                &layout,
                locked,
                lease,
                work,
                chunk,
                changes,
                rejected,
            )
            .await
        }
        .await;
        self.session.leave();
        result
    }

    async fn holds(&mut self, query: &str) -> Result<bool, TargetError> {
        call!(self, holds::ask(&mut self.session, query))
    }

    async fn quarantine(
        &mut self,
        of: &Resource,
        count_max: u64,
    ) -> Result<Vec<Quarantined>, TargetError> {
        call!(self, rejected::list(&mut self.session, of, count_max))
    }

    async fn discard(&mut self, lease: &mut Lease, key: Option<&Key>) -> Result<u64, TargetError> {
        call!(self, rejected::discard(&mut self.session, lease, key))
    }

    async fn undo_chunk(
        &mut self,
        lease: &mut Lease,
        work: &Backfill,
        slice: UndoSlice,
    ) -> Result<Undone, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            undo::undo(&mut self.session, &layout, lease, work, slice).await
        })
    }

    async fn kept(&mut self, work: &Backfill) -> Result<Kept, TargetError> {
        call!(self, async {
            let layout = layout::of(&mut self.session, &mut self.memory.layout, work).await?;
            captured::kept(&mut self.session, &layout, work).await
        })
    }

    async fn beside(&mut self, work: &Backfill) -> Result<Vec<Beside>, TargetError> {
        call!(self, beside::look(&mut self.session, work))
    }

    async fn forget_captured(&mut self, count_max: u64) -> Result<u64, TargetError> {
        call!(self, captured::forget(&mut self.session, count_max))
    }

    async fn health(&mut self, work: &Backfill) -> Result<Health, TargetError> {
        call!(self, health::look(&mut self.session, &mut self.memory.reading, work))
    }
}
