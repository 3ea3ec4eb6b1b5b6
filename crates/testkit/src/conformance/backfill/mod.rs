//! Backfills: the meaning of the calls in `dunlin_engine::Chunks`.
//!
//! Most cases work on a small table `posts` under a lease on `data/1`. What the cases expect of
//! rows they ask the product's own client; keys go from one call of the driver to the next unread.

pub(super) mod chunk;
pub(super) mod facts;
pub(super) mod keys;
pub(super) mod record;
pub(super) mod rows;
pub(super) mod undo;
mod walk;

use std::time::Duration;

use dunlin_engine::{Checkpoint, Chunk, Deed, Target};
use dunlin_model::{
    Backfill, BackfillRecord, BackfillState, Bound, ChunkPlace, Column, Intent, Key, KeyColumn,
    KeyRange, Lease, Phase, Resource, Segment, Statement, Version,
};

use super::work::{data_version, owner, statement};
use super::world::{LONG, World, granted_on};

/// How many rows `posts` has.
pub(super) const POSTS: u64 = 20;

/// What every backfill of the suite is under.
pub(super) fn resource() -> Resource {
    Resource::Data(Version::new(1).unwrap())
}

/// A table of 20 rows: `id` from 1, `n` ten times that, `title`, and `note` that is NULL.
pub(super) async fn make_posts(world: &World) {
    let rows: Vec<String> =
        (1..=POSTS).map(|id| format!("({id}, {}, 'title {id}', NULL)", id * 10)).collect();
    world
        .sql(&format!(
            "CREATE TABLE posts (id integer NOT NULL PRIMARY KEY, n bigint NOT NULL, \
             title varchar(100), note varchar(100));\n\
             INSERT INTO posts VALUES {};",
            rows.join(", ")
        ))
        .await;
}

/// A statement with its places for the range of a chunk: `:chunk` or `:chunk(alias)`.
pub(super) fn chunked(text: &str) -> Statement {
    let mut made = statement(text);
    let mut from = 0;
    while let Some(found) = text[from..].find(":chunk") {
        let start = from + found;
        let mut end = start + ":chunk".len();
        let mut alias = None;
        if let Some((name, _)) = text[end..].strip_prefix('(').and_then(|rest| rest.split_once(')'))
        {
            alias = Some(name.to_owned());
            end += name.len() + 2;
        }
        made.facts.chunk_places.push(ChunkPlace { start, end, alias });
        from = end;
    }
    made
}

/// A backfill over a table by a key, as planning makes it from the driver's facts.
pub(super) async fn planned(
    target: &mut Box<dyn Target>,
    table: &str,
    key: &[&str],
    statements: &[&str],
) -> Backfill {
    let table = target.table(table).await.unwrap().unwrap();
    let index = table
        .indexes
        .iter()
        .find(|index| {
            let names = index.columns.iter().map(|column| column.name.as_deref());
            index.unique
                && index.unusable.is_none()
                && index.columns.len() == key.len()
                && names.eq(key.iter().map(|&name| Some(name)))
        })
        .unwrap_or_else(|| panic!("no index on {key:?}: {:?}", table.indexes));
    let key = index
        .columns
        .iter()
        .map(|of_index| {
            let column = table.column(of_index.name.as_deref().unwrap()).unwrap();
            KeyColumn {
                name: column.name.clone(),
                type_name: column.type_name.clone(),
                descending: of_index.descending,
                nullable: column.nullable,
            }
        })
        .collect();
    Backfill {
        id: data_version(1),
        pass: 1,
        table: table.name.clone(),
        shape: table.shape.clone(),
        key,
        index: index.name.clone(),
        filter: None,
        finder: None,
        statements: statements.iter().map(|text| chunked(text)).collect(),
        columns: Vec::new(),
        table_columns: Vec::new(),
        capture: None,
        in_order: false,
        // Cases run beside each other on few processors.
        lock_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(60),
    }
}

/// The same backfill as row code over some columns.
pub(super) async fn with_columns(
    target: &mut Box<dyn Target>,
    work: &Backfill,
    names: &[&str],
) -> Backfill {
    let table = target.table(&work.table).await.unwrap().unwrap();
    let column = |name: &&str| -> Column { table.column(name).unwrap().clone() };
    Backfill { columns: names.iter().map(column).collect(), ..work.clone() }
}

/// A backfill's row as its worker writes it first.
pub(super) fn record_of(work: &Backfill) -> BackfillRecord {
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
        row_count_estimate: Some(POSTS),
        rows_before: 0,
        workers: 1,
        chunk_rows: 5,
        chunk_ms: 0,
        rows_per_second: 0,
        seconds_left: (0, 0),
        intent: Intent::default(),
        quarantined: 0,
        started_at: None,
        updated_at: None,
    }
}

/// A segment that nothing is done of.
pub(super) fn segment(seg: i64, lo: Bound, hi: &Key) -> Segment {
    Segment { seg, upto: lo.clone(), lo, hi: Bound::Key(hi.clone()), rows: 0, attempts: 0 }
}

/// A backfill under way: one segment over all keys.
pub(super) struct UnderWay {
    pub(super) target: Box<dyn Target>,
    pub(super) lease: Lease,
    pub(super) work: Backfill,
    /// The last key.
    pub(super) hi: Key,
}

impl UnderWay {
    /// On `posts`, with statements.
    pub(super) async fn on_posts(world: &World, statements: &[&str]) -> Self {
        make_posts(world).await;
        Self::on(world, "posts", &["id"], statements).await
    }

    /// On a table that is there.
    pub(super) async fn on(world: &World, table: &str, key: &[&str], statements: &[&str]) -> Self {
        let mut target = world.with_ledger().await;
        let work = planned(&mut target, table, key, statements).await;
        let mut lease = granted_on(&mut target, &resource(), &owner(1), LONG).await;
        let hi = target.extent(&work).await.unwrap().hi.unwrap();
        let segments = [segment(1, Bound::Start, &hi)];
        let record = record_of(&work);
        target.write_backfill(&mut lease, &record, Some(&segments), None, None).await.unwrap();
        Self { target, lease, work, hi }
    }

    /// The segment as the ledger has it.
    pub(super) async fn segment(&mut self) -> Segment {
        let (_, segments) = self.stored().await;
        segments.into_iter().next().unwrap()
    }

    /// The backfill's row and its segments.
    pub(super) async fn stored(&mut self) -> (BackfillRecord, Vec<Segment>) {
        let mut all = self.target.backfills(Some(&resource())).await.unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// The key that so many rows further on stands.
    pub(super) async fn key_after(&mut self, after: &Bound, rows: u64) -> Key {
        let hi = self.hi.clone();
        let marks = self.target.walk(&self.work, after, &hi, rows, 1).await.unwrap();
        marks.into_iter().next().unwrap().key
    }

    /// The next chunk of segment 1, of so many rows.
    pub(super) async fn next(&mut self, rows: u64) -> Chunk {
        let from = self.segment().await.upto;
        let upto = self.key_after(&from, rows).await;
        chunk_of(1, &from, &upto, &self.hi)
    }
}

/// The statements over the keys after a place up to one.
pub(super) fn chunk_of(seg: i64, from: &Bound, upto: &Key, hi: &Key) -> Chunk {
    Chunk {
        checkpoint: Checkpoint::Segment {
            seg,
            from: from.clone(),
            to: Bound::Key(upto.clone()),
            hi: Bound::Key(hi.clone()),
        },
        range: KeyRange::Between { after: from.clone(), upto: upto.clone() },
        deed: Deed::Statements,
        lock_first: false,
    }
}

/// A text as SQL that has no backslash or quote in it, whose meanings differ.
pub(super) fn text_literal(world: &World, text: &str) -> String {
    use crate::servers::Product;
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    match world.product {
        Product::Postgres | Product::Pgbouncer => {
            format!("convert_from(decode('{hex}', 'hex'), 'UTF8')")
        }
        Product::Mysql => format!("CONVERT(X'{hex}' USING utf8mb4)"),
        Product::Sqlite => format!("CAST(X'{hex}' AS TEXT)"),
    }
}
