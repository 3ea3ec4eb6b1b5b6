//! What must be true of a walk, whatever the key: every row exactly once, in the server's order.

use dunlin_engine::Target;
use dunlin_model::{Backfill, Bound, Key, KeyRange};

use super::super::World;
use super::{planned, with_columns};
use crate::servers::Product;

/// A table with a key of some type.
pub(super) struct KeyedTable<'a> {
    /// The key's columns with their types.
    pub(super) columns: &'a str,
    /// The statement that makes the index on table `t`.
    pub(super) index: &'a str,
    /// The key's columns.
    pub(super) key: &'a [&'a str],
    /// The order of the walk, after ORDER BY.
    pub(super) order: &'a str,
    /// The key of each row, as SQL; those that are equal to an earlier one are left out.
    pub(super) rows: Vec<String>,
}

/// Makes the table and walks it.
pub(super) async fn covers_every_row_in_order(world: &World, table: &KeyedTable<'_>) {
    world
        .sql(&format!(
            "DROP TABLE IF EXISTS t;\nCREATE TABLE t (label integer NOT NULL, {});\n{};",
            table.columns, table.index
        ))
        .await;
    let (ignore, conflict) = match world.product {
        Product::Postgres | Product::Pgbouncer => ("INSERT", " ON CONFLICT DO NOTHING"),
        Product::Mysql => ("INSERT IGNORE", ""),
        Product::Sqlite => ("INSERT OR IGNORE", ""),
    };
    let inserts: Vec<String> = table
        .rows
        .iter()
        .enumerate()
        .map(|(label, key)| format!("{ignore} INTO t VALUES ({label}, {key}){conflict};"))
        .collect();
    world.sql(&inserts.join("\n")).await;
    let first = table.key[0];
    let expected = labels_of(
        &world
            .sql(&format!("SELECT label FROM t WHERE {first} IS NOT NULL ORDER BY {}", table.order))
            .await,
    );
    let nulls = world.sql(&format!("SELECT count(*) FROM t WHERE {first} IS NULL")).await;
    assert!(expected.len() > 3, "too few rows make no test: {expected:?}");

    let mut target = world.target().await;
    let work = planned(&mut target, "t", table.key, &[]).await;
    let work = with_columns(&mut target, &work, &["label"]).await;
    let extent = target.extent(&work).await.unwrap();
    assert_eq!(extent.nulls, nulls != "0", "{nulls} rows have no key");
    let hi = extent.hi.unwrap();
    let whole = KeyRange::Between { after: Bound::Start, upto: hi.clone() };
    assert_eq!(read(&mut target, &work, &whole).await, expected, "the order of {}", table.order);

    every_key_finds_its_row(&mut target, &work, &whole).await;

    let mut random = fastrand::Rng::with_seed(4711);
    let length = expected.len() as u64;
    for spacing in [1, 2, length, length + 1, random.u64(1..=length), random.u64(1..=length)] {
        let count = random.u32(1..=5);
        let found = walked(&mut target, &work, &hi, spacing, count).await;
        assert_eq!(found, expected, "spacing {spacing}, {count} marks at a time");
    }
    pieces_are_in_order(&mut target, &work, &hi, &expected).await;
}

/// Walks from the start and reads the rows of each stretch between two marks.
async fn walked(
    target: &mut Box<dyn Target>,
    work: &Backfill,
    hi: &Key,
    spacing: u64,
    count: u32,
) -> Vec<u32> {
    let mut found = Vec::new();
    let mut after = Bound::Start;
    loop {
        let marks = target.walk(work, &after, hi, spacing, count).await.unwrap();
        assert!(!marks.is_empty() && marks.len() <= count as usize, "{marks:?}");
        let last = marks.len() - 1;
        for (place, mark) in marks.into_iter().enumerate() {
            let range = KeyRange::Between { after: after.clone(), upto: mark.key.clone() };
            let rows = read(target, work, &range).await;
            assert_eq!(rows.len() as u64, mark.rows, "spacing {spacing}");
            let ended = mark.key == *hi;
            assert!(ended || mark.rows == spacing, "only the last mark may have fewer rows");
            assert!(!ended || place == last, "nothing comes after the end");
            found.extend(rows);
            after = Bound::Key(mark.key);
            if ended {
                return found;
            }
        }
        assert!(found.len() < 10_000, "the walk never ends");
    }
}

/// Cuts are strictly inside, in order, and cover everything.
async fn pieces_are_in_order(
    target: &mut Box<dyn Target>,
    work: &Backfill,
    hi: &Key,
    expected: &[u32],
) {
    let mut cuts = target.split(work, &Bound::Start, hi, 4).await.unwrap();
    assert!(cuts.len() <= 3, "{cuts:?}");
    assert!(!cuts.contains(hi), "{cuts:?}");
    cuts.push(hi.clone());
    let mut after = Bound::Start;
    let mut found = Vec::new();
    for upto in cuts {
        let range = KeyRange::Between { after, upto: upto.clone() };
        found.extend(read(target, work, &range).await);
        after = Bound::Key(upto);
    }
    assert_eq!(found, expected);
    // A guess, and none is a good answer; but it must be one for every key.
    target.estimate(work, &Bound::Start, hi).await.unwrap();
}

async fn read(target: &mut Box<dyn Target>, work: &Backfill, range: &KeyRange) -> Vec<u32> {
    let rows = target.read_rows(work, range).await.unwrap();
    rows.into_iter().map(|row| row.values[0].as_ref().unwrap().parse().unwrap()).collect()
}

/// Each row is found by its key alone.
async fn every_key_finds_its_row(target: &mut Box<dyn Target>, work: &Backfill, whole: &KeyRange) {
    for row in target.read_rows(work, whole).await.unwrap() {
        let found = target.read_rows(work, &KeyRange::Exactly(row.key.clone())).await.unwrap();
        assert_eq!(found, [row]);
    }
}

fn labels_of(lines: &str) -> Vec<u32> {
    lines.lines().map(|line| line.trim().parse().unwrap()).collect()
}
