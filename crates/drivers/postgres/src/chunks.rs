//! Chunks of backfills.

use async_trait::async_trait;
use dunlin_engine::{
    Barrier, Chunk, Chunks, Committed, ErrorKind, Extent, Health, Mark, Quarantined, Rehearsal,
    RowsOutcome, TargetError, Undone,
};
use dunlin_model::{
    Access, Backfill, BackfillRecord, Bound, EntryWrite, Intent, Key, KeyRange, Lease, Resource,
    Row, RowChange, Segment, Table, Wish,
};

use crate::target::PostgresTarget;

fn unsupported() -> TargetError {
    TargetError::new(ErrorKind::Unsupported, "not built yet")
}

#[async_trait]
impl Chunks for PostgresTarget {
    async fn table(&mut self, _name: &str) -> Result<Option<Table>, TargetError> {
        Err(unsupported())
    }

    async fn explain(&mut self, _work: &Backfill) -> Result<Vec<Access>, TargetError> {
        Err(unsupported())
    }

    async fn extent(&mut self, _work: &Backfill) -> Result<Extent, TargetError> {
        Err(unsupported())
    }

    async fn barrier(&mut self) -> Result<Option<Barrier>, TargetError> {
        Err(unsupported())
    }

    async fn behind(&mut self, _barrier: &Barrier) -> Result<Vec<String>, TargetError> {
        Err(unsupported())
    }

    async fn split(
        &mut self,
        _work: &Backfill,
        _after: &Bound,
        _upto: &Key,
        _parts: u32,
    ) -> Result<Vec<Key>, TargetError> {
        Err(unsupported())
    }

    async fn estimate(
        &mut self,
        _work: &Backfill,
        _after: &Bound,
        _upto: &Key,
    ) -> Result<Option<u64>, TargetError> {
        Err(unsupported())
    }

    async fn walk(
        &mut self,
        _work: &Backfill,
        _after: &Bound,
        _upto: &Key,
        _spacing: u64,
        _count: u32,
    ) -> Result<Vec<Mark>, TargetError> {
        Err(unsupported())
    }

    async fn backfills(
        &mut self,
        _of: Option<&Resource>,
    ) -> Result<Vec<(BackfillRecord, Vec<Segment>)>, TargetError> {
        Err(unsupported())
    }

    async fn write_backfill(
        &mut self,
        _lease: &mut Lease,
        _record: &BackfillRecord,
        _segments: Option<&[Segment]>,
        _wish: Option<Wish>,
        _entry: Option<&EntryWrite>,
    ) -> Result<(), TargetError> {
        Err(unsupported())
    }

    async fn report_backfill(
        &mut self,
        _lease: &Lease,
        _record: &BackfillRecord,
    ) -> Result<Intent, TargetError> {
        Err(unsupported())
    }

    async fn wish(&mut self, _of: &Resource, _intent: &Intent) -> Result<bool, TargetError> {
        Err(unsupported())
    }

    async fn cut_segment(
        &mut self,
        _lease: &Lease,
        _left: &Segment,
        _right: &Segment,
    ) -> Result<bool, TargetError> {
        Err(unsupported())
    }

    async fn commit_chunk(
        &mut self,
        _lease: &Lease,
        _work: &Backfill,
        _chunk: &Chunk,
    ) -> Result<Committed, TargetError> {
        Err(unsupported())
    }

    async fn rehearse_chunk(
        &mut self,
        _work: &Backfill,
        _range: &KeyRange,
    ) -> Result<Rehearsal, TargetError> {
        Err(unsupported())
    }

    async fn read_rows(
        &mut self,
        _work: &Backfill,
        _range: &KeyRange,
    ) -> Result<Vec<Row>, TargetError> {
        Err(unsupported())
    }

    async fn lock_rows(
        &mut self,
        _lease: &Lease,
        _work: &Backfill,
        _chunk: &Chunk,
    ) -> Result<Vec<Row>, TargetError> {
        Err(unsupported())
    }

    async fn commit_rows(
        &mut self,
        _lease: &Lease,
        _work: &Backfill,
        _chunk: &Chunk,
        _changes: &[RowChange],
        _rejected: &[(Key, String)],
    ) -> Result<RowsOutcome, TargetError> {
        Err(unsupported())
    }

    async fn holds(&mut self, _query: &str) -> Result<bool, TargetError> {
        Err(unsupported())
    }

    async fn quarantine(
        &mut self,
        _of: &Resource,
        _count_max: u64,
    ) -> Result<Vec<Quarantined>, TargetError> {
        Err(unsupported())
    }

    async fn discard(
        &mut self,
        _lease: &mut Lease,
        _key: Option<&Key>,
    ) -> Result<u64, TargetError> {
        Err(unsupported())
    }

    async fn undo_chunk(
        &mut self,
        _lease: &mut Lease,
        _work: &Backfill,
        _count_max: u64,
    ) -> Result<Undone, TargetError> {
        Err(unsupported())
    }

    async fn forget_captured(&mut self, _count_max: u64) -> Result<u64, TargetError> {
        Err(unsupported())
    }

    async fn health(&mut self, _work: &Backfill) -> Result<Health, TargetError> {
        Err(unsupported())
    }
}
