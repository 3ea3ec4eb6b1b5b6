//! Reading: one snapshot for all readers, the order, and readers that nobody waits for.

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use dunlin_engine::ErrorKind;
use dunlin_engine::moves::{MoveConnector, Source};
use tokio::sync::mpsc;

use super::{all, extract, read, relation};
use crate::world::{World, connector, with_login};

async fn numbers(source: &mut Box<dyn Source>, table: &str, column: &str) -> Vec<i32> {
    let from = relation(&source.catalogue().await.expect("a catalogue"), table);
    let rows = read(source, &extract(&from, &[column])).await;
    let ids = |batch: &RecordBatch| {
        let column = batch.column_by_name("id").expect("ids").as_primitive::<Int32Type>().clone();
        column.values().to_vec()
    };
    rows.iter().flat_map(ids).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_readers_see_one_snapshot_while_others_write() {
    for world in
        [World::new("moves_snapshot").await, World::behind_pgbouncer("moves_snapshot_p").await]
    {
        world.sql("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
        let mut first = world.connector.source().await.expect("a snapshot");
        assert_eq!(numbers(&mut first, "t", "id").await, [1, 2]);
        world.sql("INSERT INTO t VALUES (3); DELETE FROM t WHERE id = 1").await;
        let mut second = first.reader().await.expect("a reader").expect("another one");
        let mut third = second.reader().await.expect("a reader").expect("one of a reader's");
        drop(first);
        for reader in [&mut second, &mut third] {
            assert_eq!(numbers(reader, "t", "id").await, [1, 2]);
        }
        let mut later = world.connector.source().await.expect("a snapshot");
        assert_eq!(numbers(&mut later, "t", "id").await, [2, 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_is_that_of_values_or_of_bytes() {
    let world = World::new("moves_order").await;
    world
        .sql(
            "CREATE TABLE t (id integer PRIMARY KEY, i bigint, n numeric, s text, d date, u uuid, \
             y bytea, b boolean);\
             INSERT INTO t VALUES \
             (1, 10, 10, 'b', 'infinity', 'b0000000-0000-0000-0000-000000000000', '\\x10', true), \
             (2, 9, 9, 'B', '2024-01-01', 'a0000000-0000-0000-0000-000000000000', '\\x09ff', false), \
             (3, -1, -1, 'ä', '-infinity', '0a000000-0000-0000-0000-000000000000', '\\x', NULL), \
             (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
             (5, 100, 100, 'a', '1999-01-01', 'f0000000-0000-0000-0000-000000000000', '\\xff', true)",
        )
        .await;
    let mut source = world.connector.source().await.expect("a snapshot");
    for (column, order) in [
        ("i", [3, 2, 1, 5, 4]),
        ("n", [3, 1, 5, 2, 4]),
        ("s", [2, 5, 1, 3, 4]),
        ("d", [3, 5, 2, 1, 4]),
        ("u", [3, 2, 1, 5, 4]),
        ("y", [3, 2, 1, 5, 4]),
    ] {
        assert_eq!(numbers(&mut source, "t", column).await, order, "{column}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_ends_it_at_once_and_the_snapshot_stays() {
    let world = World::new("moves_gone").await;
    world
        .sql(
            "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1);\
             CREATE VIEW endless AS SELECT generate_series(1, 2000000000) AS id",
        )
        .await;
    let mut source = world.connector.source().await.expect("a snapshot");
    let from = relation(&source.catalogue().await.expect("a catalogue"), "endless");
    let extract = extract(&from, &[]);
    let (sender, mut receiver) = mpsc::channel(1);
    let (read, ()) = tokio::join!(source.read(&extract, &sender), async move {
        let first = receiver.recv().await.expect("a batch").expect("rows");
        assert!(first.count() >= 1);
    });
    read.expect("no error");
    assert_eq!(numbers(&mut source, "t", "id").await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_an_error_that_says_where() {
    let world = World::new("moves_flaws").await;
    world
        .sql(
            "CREATE TABLE grid (id integer PRIMARY KEY, cells integer[]); \
             INSERT INTO grid VALUES (1, '{{1,2},{3,4}}'); \
             CREATE TABLE late (id integer PRIMARY KEY, at timestamp); \
             INSERT INTO late VALUES (1, '294276-12-31'); \
             CREATE TABLE fails (id integer PRIMARY KEY, n integer); \
             INSERT INTO fails VALUES (1, 0); \
             CREATE VIEW failing AS SELECT id, 1 / n AS n FROM fails; \
             CREATE TABLE plain (id integer PRIMARY KEY); INSERT INTO plain VALUES (1)",
        )
        .await;
    let mut source = world.connector.source().await.expect("a snapshot");
    let catalogue = source.catalogue().await.expect("a catalogue");
    for (table, words) in [("grid", "cells holds"), ("late", "at holds"), ("failing", "division")] {
        let extract = extract(&relation(&catalogue, table), &[]);
        let error = all(async |batches| source.read(&extract, batches).await).await;
        let error = error.expect_err(table);
        assert!(error.message.contains(words), "{error:?}");
    }
    assert_eq!(numbers(&mut source, "plain", "id").await, [1], "the snapshot stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_login_is_enough_and_hidden_rows_are_an_error() {
    let world = World::new("moves_reader").await;
    let name = world.name().to_owned();
    world
        .sql(&format!(
            "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1);\
             CREATE TABLE hidden (id integer PRIMARY KEY); INSERT INTO hidden VALUES (1);\
             ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;\
             CREATE TABLE closed (id integer PRIMARY KEY);\
             CREATE ROLE {name}_r LOGIN PASSWORD 'r'; ALTER ROLE {name}_r SET \
             default_transaction_read_only = on; GRANT SELECT ON t, hidden TO {name}_r"
        ))
        .await;
    let reader = connector(&with_login(world.url(), &format!("{name}_r"), "r"));
    let mut source = reader.source().await.expect("a snapshot");
    assert_eq!(numbers(&mut source, "t", "id").await, [1]);
    let catalogue = source.catalogue().await.expect("a catalogue");
    for table in ["hidden", "closed"] {
        let extract = extract(&relation(&catalogue, table), &[]);
        let read = all(async |batches| source.read(&extract, batches).await).await;
        let error = read.expect_err(table);
        assert_eq!(error.kind, ErrorKind::Permission, "{error:?}");
        assert!(error.help.is_some());
    }
    drop(source);
    world.sql(&format!("DROP OWNED BY {name}_r; DROP ROLE {name}_r")).await;
}
