//! Chunks of backfills: keys of every type, fences, quarantine, programs' rows, undo, health.

mod commits;
mod keys;
mod ledger;
mod rows;
mod undo;

use std::time::Duration;

use dunlin_engine::{Checkpoint, Chunk, Claim, Committed, Deed, Target, TargetError};
use dunlin_model::{
    Backfill, BackfillRecord, BackfillState, Bound, ChunkPlace, Intent, Key, KeyColumn, KeyRange,
    Lease, MigrationId, Phase, Resource, Segment, Statement, Table, Verb, Version, Wish, Write,
};

use crate::support::{World, dml, owner};

pub(crate) fn resource() -> Resource {
    Resource::Data(Version::new(7).expect("a version"))
}

/// A statement with its places for the range, as the splitter finds them.
pub(crate) fn chunked(text: &str, writes: Option<(Verb, &str)>) -> Statement {
    let mut statement = dml(text);
    let mut from = 0;
    while let Some(at) = text[from..].find(":chunk") {
        let start = from + at;
        let mut end = start + ":chunk".len();
        let mut alias = None;
        if text[end..].starts_with('(') {
            let close = end + text[end..].find(')').expect("closed");
            alias = Some(text[end + 1..close].to_owned());
            end = close + 1;
        }
        statement.facts.chunk_places.push(ChunkPlace { start, end, alias });
        from = end;
    }
    statement.facts.writes = writes.map(|(verb, table)| Write {
        verb,
        table: table.to_owned(),
        columns: std::collections::BTreeSet::new(),
    });
    statement
}

pub(crate) fn update(text: &str) -> Statement {
    chunked(text, Some((Verb::Update, "t")))
}

/// A backfill over a table, by its first unique index that can be walked.
pub(crate) async fn planned(target: &mut Box<dyn Target>, statements: Vec<Statement>) -> Backfill {
    let table = target.table("t").await.expect("looked").expect("a table");
    plan(&table, statements)
}

pub(crate) fn plan(table: &Table, statements: Vec<Statement>) -> Backfill {
    let index = table
        .indexes
        .iter()
        .find(|index| index.unique && index.unusable.is_none())
        .expect("a unique index");
    let key = index.columns.iter().map(|part| {
        let name = part.name.clone().expect("a column");
        let column = table.column(&name).expect("a column");
        KeyColumn {
            name,
            type_name: column.type_name.clone(),
            descending: part.descending,
            nullable: column.nullable,
        }
    });
    Backfill {
        id: MigrationId::data(Version::new(7).expect("a version")),
        pass: 1,
        table: table.name.clone(),
        shape: table.shape.clone(),
        key: key.collect(),
        index: index.name.clone(),
        filter: None,
        finder: None,
        statements,
        columns: Vec::new(),
        table_columns: Vec::new(),
        capture: None,
        in_order: false,
        lock_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(60),
    }
}

pub(crate) async fn data_lease(target: &mut Box<dyn Target>, number: u32) -> Lease {
    let before = owner(number.saturating_sub(1)).id;
    let ttl = Duration::from_secs(600);
    let claim = target.claim(&resource(), &owner(number), ttl, Some(&before)).await;
    match claim.expect("a claim") {
        Claim::Granted(lease) => lease,
        Claim::Held(holder) => panic!("held by {holder:?}"),
    }
}

pub(crate) fn record(work: &Backfill) -> BackfillRecord {
    BackfillRecord {
        id: work.id,
        pass: work.pass,
        phase: Phase::Forward,
        round: 1,
        table: work.table.clone(),
        key: work.key.clone(),
        shape: work.shape.clone(),
        state: BackfillState::Running,
        reason: Some("nothing".to_owned()),
        row_count_estimate: Some(10),
        rows_before: 3,
        workers: 2,
        chunk_rows: 100,
        chunk_ms: 50,
        rows_per_second: 2000,
        seconds_left: (1, 2),
        intent: Intent::default(),
        quarantined: 0,
        started_at: None,
        updated_at: None,
    }
}

pub(crate) fn number(value: i64) -> Key {
    Key(vec![value.to_string()])
}

pub(crate) fn segment(seg: i64, lo: Bound, hi: Bound) -> Segment {
    Segment { seg, upto: lo.clone(), lo, hi, rows: 0, attempts: 0 }
}

/// A ledger with the backfill and one segment over everything up to a key.
pub(crate) async fn begun(target: &mut Box<dyn Target>, work: &Backfill, hi: Key) -> Lease {
    let mut lease = data_lease(target, 1).await;
    let segments = [segment(1, Bound::Start, Bound::Key(hi))];
    target
        .write_backfill(&mut lease, &record(work), Some(&segments), Some(Wish::Run), None)
        .await
        .expect("written");
    lease
}

/// A chunk of segment 1.
pub(crate) fn chunk(from: Bound, to: &Key, hi: &Key) -> Chunk {
    Chunk {
        checkpoint: Checkpoint::Segment {
            seg: 1,
            from: from.clone(),
            to: Bound::Key(to.clone()),
            hi: Bound::Key(hi.clone()),
        },
        range: KeyRange::Between { after: from, upto: to.clone() },
        deed: Deed::Statements,
        lock_first: false,
    }
}

/// Runs all chunks of so many rows.
pub(crate) async fn run_all(
    target: &mut Box<dyn Target>,
    lease: &Lease,
    work: &Backfill,
    hi: &Key,
    spacing: u64,
) -> Result<Vec<Committed>, TargetError> {
    let mut from = Bound::Start;
    let mut done = Vec::new();
    while from != Bound::Key(hi.clone()) {
        let marks = target.walk(work, &from, hi, spacing, 8).await?;
        for mark in marks {
            let next = chunk(from, &mark.key, hi);
            done.push(target.commit_chunk(lease, work, &next).await?);
            from = Bound::Key(mark.key);
        }
    }
    Ok(done)
}

/// A world with a table of numbers and a ledger.
pub(crate) async fn numbers(test: &str, count: u32) -> (World, Box<dyn Target>) {
    let world = World::new(test).await;
    let target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v INT NOT NULL, s VARCHAR(20))").await;
    eyes.run(&format!("INSERT INTO t SELECT n * 10, n, NULL FROM ({}) q", series(count))).await;
    (world, target)
}

/// A query for the numbers from 1, on every server.
pub(crate) fn series(count: u32) -> String {
    let digits = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 \
         UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 \
         UNION ALL SELECT 8 UNION ALL SELECT 9)";
    format!(
        "SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d n FROM {digits} a, {digits} b, \
         {digits} c, {digits} e WHERE a.d + 10 * b.d + 100 * c.d + 1000 * e.d < {count}"
    )
}
