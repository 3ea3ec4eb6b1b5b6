//! Rows on their way through a user's program.

use dunlin_engine::{Chunk, RowsOutcome};
use dunlin_model::{Bound, KeyRange, Row, RowChange};

use super::super::World;
use super::{UnderWay, chunk_of, planned, resource, text_literal, with_columns};
use crate::servers::Product;

/// The types of the columns `i`, `d`, `t`, `b` and `f`.
fn columns(world: &World) -> &'static str {
    match world.product {
        Product::Postgres | Product::Pgbouncer => {
            "i bigint, d numeric(40, 15), t text, b bytea, f double precision"
        }
        Product::Mysql => "i bigint, d decimal(40, 15), t text, b varbinary(100), f double",
        Product::Sqlite => "i integer, d numeric, t text, b blob, f double precision",
    }
}

fn bytes(world: &World, hex: &str) -> String {
    match world.product {
        Product::Postgres | Product::Pgbouncer => format!("decode('{hex}', 'hex')"),
        Product::Mysql | Product::Sqlite => format!("X'{hex}'"),
    }
}

/// A change of all the columns that were read.
fn change(row: &Row, names: &[&str], values: &[Option<String>]) -> RowChange {
    let set = names.iter().zip(values).map(|(&name, value)| (name.to_owned(), value.clone()));
    RowChange { key: row.key.clone(), version: row.version.clone(), set: set.collect() }
}

/// All rows as one chunk.
fn whole(under_way: &UnderWay) -> (Chunk, KeyRange) {
    let chunk = chunk_of(1, &Bound::Start, &under_way.hi, &under_way.hi);
    let range = chunk.range.clone();
    (chunk, range)
}

/// Table `v` with rows of extremes, and `w` with rows of the same numbers that hold nothing.
async fn make_values(world: &World) {
    let text = |text: &str| text_literal(world, text);
    let rows = [
        format!(
            "9223372036854775807, 0.1, {}, {}, 0.1",
            text("it's \"quoted\" \\ 鸟 🐦\n\t"),
            bytes(world, "00ff275c0a")
        ),
        format!(
            "-9223372036854775808, -99999999999999999999.5, {}, {}, 1e300",
            text("NULL"),
            bytes(world, "c3a9")
        ),
        format!("9007199254740993, 12345.678, {}, {}, -5e-300", text("a  "), bytes(world, "00")),
        format!("0, 0, {}, {}, 0.30000000000000004", text(" "), bytes(world, "ff")),
        format!("-1, 1, '', {}, 3", bytes(world, "")),
        "NULL, NULL, NULL, NULL, NULL".to_owned(),
    ];
    let inserts: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(id, row)| {
            format!("INSERT INTO v VALUES ({id}, {row});\nINSERT INTO w (id) VALUES ({id});")
        })
        .collect();
    let columns = columns(world);
    world
        .sql(&format!(
            "CREATE TABLE v (id integer NOT NULL PRIMARY KEY, {columns});\n\
             CREATE TABLE w (id integer NOT NULL PRIMARY KEY, {columns});\n{}",
            inserts.join("\n")
        ))
        .await;
}

pub(in super::super) async fn values_travel_exactly(world: World) {
    let names = ["i", "d", "t", "b", "f"];
    make_values(&world).await;
    let mut under_way = UnderWay::on(&world, "w", &["id"], &[]).await;
    let source = planned(&mut under_way.target, "v", &["id"], &[]).await;
    let source = with_columns(&mut under_way.target, &source, &names).await;
    let (chunk, range) = whole(&under_way);
    let read = under_way.target.read_rows(&source, &range).await.unwrap();
    let first: Vec<Option<&str>> = read[0].values.iter().map(Option::as_deref).collect();
    assert_eq!(first[0], Some("9223372036854775807"));
    assert_eq!(first[2], Some("it's \"quoted\" \\ 鸟 🐦\n\t"));
    assert_eq!(first[3], Some("00ff275c0a"));
    assert_eq!(first[4].unwrap().parse::<f64>().unwrap(), 0.1);
    assert_eq!(read[4].values[2].as_deref(), Some(""), "empty is not NULL");
    assert_eq!(read[5].values, vec![None; 5]);

    under_way.work = with_columns(&mut under_way.target, &under_way.work, &names).await;
    let there = under_way.target.read_rows(&under_way.work, &range).await.unwrap();
    let changes: Vec<RowChange> =
        there.iter().zip(&read).map(|(row, source)| change(row, &names, &source.values)).collect();
    let outcome = under_way
        .target
        .commit_rows(&under_way.lease, &under_way.work, &chunk, &changes, &[])
        .await
        .unwrap();
    assert!(matches!(outcome, RowsOutcome::Committed(_)), "{outcome:?}");
    let same = match world.product {
        Product::Postgres | Product::Pgbouncer => "IS NOT DISTINCT FROM",
        Product::Mysql => "<=>",
        Product::Sqlite => "IS",
    };
    for name in names {
        let differ = format!(
            "SELECT count(*) FROM v JOIN w ON v.id = w.id WHERE NOT (v.{name} {same} w.{name})"
        );
        assert_eq!(world.sql(&differ).await, "0", "column {name}");
    }
    let again = under_way.target.read_rows(&under_way.work, &range).await.unwrap();
    for (row, source) in again.iter().zip(&read) {
        assert_eq!(row.values, source.values);
    }
    assert!(under_way.segment().await.is_done());
}

pub(in super::super) async fn changed_rows_are_not_overwritten(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[]).await;
    under_way.work = with_columns(&mut under_way.target, &under_way.work, &["title"]).await;
    let chunk = under_way.next(5).await;
    let rows = under_way.target.read_rows(&under_way.work, &chunk.range).await.unwrap();
    let changes: Vec<RowChange> = rows
        .iter()
        .map(|row| change(row, &["title", "note"], &[Some("new".to_owned()), None]))
        .collect();
    // A column that was not read, and a row that is gone.
    world.sql("UPDATE posts SET n = n + 1 WHERE id = 2; DELETE FROM posts WHERE id = 4;").await;
    let outcome = under_way
        .target
        .commit_rows(&under_way.lease, &under_way.work, &chunk, &changes, &[])
        .await
        .unwrap();
    let RowsOutcome::Missed(mut missed) = outcome else { panic!("{outcome:?}") };
    let mut expected = vec![rows[1].key.clone(), rows[3].key.clone()];
    missed.sort();
    expected.sort();
    assert_eq!(missed, expected);
    assert_eq!(world.sql("SELECT count(*) FROM posts WHERE title = 'new'").await, "0");
    assert_eq!(under_way.segment().await.upto, Bound::Start);

    let rows = under_way.target.read_rows(&under_way.work, &chunk.range).await.unwrap();
    let changes: Vec<RowChange> =
        rows.iter().map(|row| change(row, &["title"], &[Some("it's \\ new".to_owned())])).collect();
    let outcome = under_way
        .target
        .commit_rows(&under_way.lease, &under_way.work, &chunk, &changes, &[])
        .await
        .unwrap();
    assert!(matches!(outcome, RowsOutcome::Committed(_)), "{outcome:?}");
    let new = text_literal(&world, "it's \\ new");
    assert_eq!(world.sql(&format!("SELECT count(*) FROM posts WHERE title = {new}")).await, "4");
    let again = under_way
        .target
        .commit_rows(&under_way.lease, &under_way.work, &chunk, &[], &[])
        .await
        .unwrap_err();
    assert_eq!(again.kind, dunlin_engine::ErrorKind::Fenced, "{again:?}");
}

pub(in super::super) async fn rejected_rows_are_set_aside(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[]).await;
    under_way.work = with_columns(&mut under_way.target, &under_way.work, &["title"]).await;
    let chunk = under_way.next(5).await;
    let rows = under_way.target.read_rows(&under_way.work, &chunk.range).await.unwrap();
    // Sets of columns differ from row to row, and a row may stay as it is.
    let changes = [
        change(&rows[0], &["title"], &[Some("new".to_owned())]),
        change(&rows[1], &["note", "title"], &[Some("noted".to_owned()), None]),
    ];
    let rejected = [(rows[2].key.clone(), "no name in it".to_owned())];
    under_way
        .target
        .commit_rows(&under_way.lease, &under_way.work, &chunk, &changes, &rejected)
        .await
        .unwrap();
    let aside = under_way.target.quarantine(&resource(), 10).await.unwrap();
    let [row] = &aside[..] else { panic!("{aside:?}") };
    assert_eq!((&row.key, row.error.as_str()), (&rows[2].key, "no name in it"));
    assert_eq!(world.sql("SELECT title FROM posts WHERE id = 1").await, "new");
    assert_eq!(world.sql("SELECT note FROM posts WHERE id = 2 AND title IS NULL").await, "noted");
    assert_eq!(world.sql("SELECT title FROM posts WHERE id = 3").await, "title 3");
    let to = under_way.segment().await.upto;
    assert_eq!(to, Bound::Key(rows[4].key.clone()));
}

pub(in super::super) async fn locked_rows_are_written_or_let_go(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[]).await;
    under_way.work = with_columns(&mut under_way.target, &under_way.work, &["title"]).await;
    let chunk = under_way.next(5).await;
    let (lease, work) = (under_way.lease.clone(), under_way.work.clone());
    let rows = under_way.target.lock_rows(&lease, &work, &chunk).await.unwrap();
    assert_eq!(rows.len(), 5);
    // Any other call gives them up, and nothing has happened.
    assert_eq!(under_way.segment().await.upto, Bound::Start);
    world.sql("UPDATE posts SET note = 'free again' WHERE id = 1").await;

    let rows = under_way.target.lock_rows(&lease, &work, &chunk).await.unwrap();
    let changes: Vec<RowChange> =
        rows.iter().map(|row| change(row, &["title"], &[Some("new".to_owned())])).collect();
    let outcome = under_way.target.commit_rows(&lease, &work, &chunk, &changes, &[]).await.unwrap();
    assert!(matches!(outcome, RowsOutcome::Committed(_)), "{outcome:?}");
    assert_eq!(world.sql("SELECT count(*) FROM posts WHERE title = 'new'").await, "5");
    assert_eq!(under_way.segment().await.upto, Bound::Key(rows[4].key.clone()));
    let error = under_way.target.lock_rows(&lease, &work, &chunk).await.unwrap_err();
    assert_eq!(error.kind, dunlin_engine::ErrorKind::Fenced, "{error:?}");
    // Nothing of that stays open.
    world.sql("UPDATE posts SET note = 'free' WHERE id = 1").await;
}

pub(in super::super) async fn a_filter_chooses_the_rows(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[]).await;
    let (_, range) = whole(&under_way);
    under_way.work = with_columns(&mut under_way.target, &under_way.work, &["title"]).await;
    under_way.work.filter = Some("n > 100 AND n < 150 OR n = 10 -- a comment".to_owned());
    let rows = under_way.target.read_rows(&under_way.work, &range).await.unwrap();
    let titles: Vec<&str> = rows.iter().map(|row| row.values[0].as_deref().unwrap()).collect();
    assert_eq!(titles, ["title 1", "title 11", "title 12", "title 13", "title 14"]);
}
