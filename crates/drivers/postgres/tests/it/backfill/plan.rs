//! Backfills made by hand, as the engine would plan and start them.

use std::time::Duration;

use dunlin_engine::{Checkpoint, Chunk, Claim, Deed, Target};
use dunlin_model::{
    Backfill, BackfillRecord, BackfillState, Bound, Capture, ChunkPlace, Intent, Key, KeyColumn,
    KeyRange, Lease, Phase, Resource, Segment, Statement, Version,
};
use dunlin_testkit::conformance::{data_version, owner, statement};

use crate::world::LONG;

pub(super) const VERSION: i64 = 7;

pub(super) fn resource() -> Resource {
    Resource::Data(Version::new(VERSION).expect("a version"))
}

/// A statement with `:chunk`, or `:chunk(alias)`, in its places.
pub(super) fn chunked(text: &str) -> Statement {
    let mut made = statement(text);
    for (start, _) in text.match_indices(":chunk") {
        let rest = &text[start + 6..];
        let alias = rest.strip_prefix('(').and_then(|r| r.split_once(')')).map(|(a, _)| a);
        let end = start + 6 + alias.map_or(0, |alias| alias.len() + 2);
        made.facts.chunk_places.push(ChunkPlace { start, end, alias: alias.map(str::to_owned) });
    }
    made
}

/// A plan over a table's own index: its first usable one, or the one of that name.
pub(super) async fn planned(
    target: &mut Box<dyn Target>,
    table: &str,
    index: Option<&str>,
    statements: &[&str],
) -> Backfill {
    let table = target.table(table).await.expect("a catalogue").expect("a table");
    let mut usable = table.indexes.iter().filter(|known| known.unusable.is_none() && known.unique);
    let index = usable.find(|known| index.is_none_or(|name| name == known.name)).expect("an index");
    let key = index.columns.iter().map(|part| {
        let column = table.column(part.name.as_deref().expect("no expression")).expect("a column");
        KeyColumn {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
            descending: part.descending,
            nullable: column.nullable,
        }
    });
    Backfill {
        id: data_version(VERSION),
        pass: 1,
        table: table.name.clone(),
        shape: table.shape.clone(),
        key: key.collect(),
        index: index.name.clone(),
        filter: None,
        finder: None,
        statements: statements.iter().map(|text| chunked(text)).collect(),
        columns: Vec::new(),
        table_columns: Vec::new(),
        capture: None,
        in_order: false,
        lock_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(60),
    }
}

pub(super) fn capturing(mut work: Backfill, columns: &[&str]) -> Backfill {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    work.capture = Some(Capture { columns, keep: Duration::from_secs(3600) });
    work
}

pub(super) async fn claimed(target: &mut Box<dyn Target>, number: u32) -> Lease {
    let before = format!("00000000-0000-4000-8000-{:012}", number - 1);
    match target.claim(&resource(), &owner(number), LONG, Some(&before)).await {
        Ok(Claim::Granted(lease)) => lease,
        other => panic!("not granted: {other:?}"),
    }
}

pub(super) fn record(work: &Backfill) -> BackfillRecord {
    BackfillRecord {
        id: work.id,
        pass: work.pass,
        phase: Phase::Forward,
        round: 1,
        table: work.table.clone(),
        key: work.key.clone(),
        shape: work.shape.clone(),
        state: BackfillState::Running,
        reason: None,
        row_count_estimate: Some(100),
        rows_before: 0,
        workers: 1,
        chunk_rows: 1000,
        chunk_ms: 10,
        rows_per_second: 0,
        seconds_left: (0, 0),
        intent: Intent::default(),
        quarantined: 0,
        started_at: None,
        updated_at: None,
    }
}

pub(super) fn key(parts: &[&str]) -> Key {
    Key(parts.iter().map(|part| (*part).to_owned()).collect())
}

/// A segment from one place to another that stands at its beginning.
pub(super) fn segment(seg: i64, lo: Bound, hi: Bound) -> Segment {
    Segment { seg, upto: lo.clone(), lo, hi, rows: 0, attempts: 0 }
}

/// The chunk that moves a segment from one place to a key.
pub(super) fn chunk(segment: &Segment, to: &Key) -> Chunk {
    Chunk {
        checkpoint: Checkpoint::Segment {
            seg: segment.seg,
            from: segment.upto.clone(),
            to: Bound::Key(to.clone()),
            hi: segment.hi.clone(),
        },
        range: KeyRange::Between { after: segment.upto.clone(), upto: to.clone() },
        deed: Deed::Statements,
        lock_first: false,
    }
}

/// A ledger with one segment over the whole table, and the lease.
pub(super) async fn started(target: &mut Box<dyn Target>, work: &Backfill) -> (Lease, Segment) {
    let mut lease = claimed(target, 1).await;
    let hi = target.extent(work).await.expect("an extent").hi.expect("rows");
    let whole = segment(1, Bound::Start, Bound::Key(hi));
    let segments = [whole.clone()];
    let record = record(work);
    target.write_backfill(&mut lease, &record, Some(&segments), None, None).await.expect("a row");
    (lease, whole)
}
