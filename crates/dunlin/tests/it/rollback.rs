//! The way back.

use dunlin::engine::amend::Amendment;
use dunlin::project::plan::RollbackScope;

use crate::world::{World, data, finished, rules, version};

fn three(world: &World) -> &World {
    for number in 1..=3 {
        world
            .schema(&format!("{number}_t.up.sql"), &format!("CREATE TABLE t{number} (id INTEGER);"))
            .schema(&format!("{number}_t.down.sql"), &format!("DROP TABLE t{number};"));
    }
    world
}

fn tables(world: &World) -> String {
    world.value(
        "SELECT coalesce(group_concat(name), '') FROM (SELECT name FROM sqlite_master \
         WHERE type = 'table' AND name GLOB 't[0-9]' ORDER BY name)",
    )
}

#[tokio::test]
async fn to_keeps_the_version_and_through_does_not() {
    let world = World::auto();
    three(&world);
    world.migrate().await;
    let report = world.rollback(RollbackScope::To(version(2))).await.unwrap();
    assert_eq!(finished(&report), ["schema 3"]);
    let report = world.rollback(RollbackScope::Through(version(2))).await.unwrap();
    assert_eq!(finished(&report), ["schema 2"]);
    assert_eq!(tables(&world), "t1");
    world.migrate().await;
    world.rollback(RollbackScope::Steps(2)).await.unwrap();
    assert_eq!(tables(&world), "t1");
    world.rollback(RollbackScope::To(version(0))).await.unwrap();
    assert_eq!(tables(&world), "");
}

#[tokio::test]
async fn without_a_down_nothing_is_touched() {
    let world = World::auto();
    three(&world).schema("4_single.sql", "CREATE TABLE t4 (id INTEGER);");
    world.migrate().await;
    assert_eq!(rules(world.rollback(RollbackScope::Steps(2)).await.unwrap_err()), ["no-down"]);
    assert_eq!(tables(&world), "t1,t2,t3,t4");
}

#[tokio::test]
async fn data_that_came_after_becomes_pending_again() {
    let world = World::auto();
    three(&world)
        .data("2_mid.sql", "-- dunlin: after 1\nINSERT INTO t1 VALUES (1);")
        .data("3_late.sql", "INSERT INTO t2 VALUES (1);")
        .data("9_named.sql", "-- dunlin: after 3\nINSERT INTO t3 VALUES (1);");
    world.migrate().await;
    let report = world.rollback(RollbackScope::Steps(1)).await.unwrap();
    assert_eq!(report.finished[0].resets, [data(3), data(9)]);
    assert_eq!(
        world.status().await,
        [
            "schema 1 up",
            "schema 2 up",
            "data 2 done",
            "schema 3 down",
            "data 3 pending",
            "data 9 pending"
        ]
    );
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 3", "data 3", "data 9"]);
    assert_eq!(world.value("SELECT count(*) FROM t2"), "2");
    assert_eq!(world.value("SELECT count(*) FROM t1"), "1");
}

#[tokio::test]
async fn a_failing_down_leaves_it_applied() {
    let world = World::auto();
    world
        .schema("1_t.up.sql", "CREATE TABLE t1 (id INTEGER);")
        .schema("1_t.down.sql", "DROP TABLE nowhere;");
    world.migrate().await;
    let report = world.rollback(RollbackScope::Steps(1)).await.unwrap();
    assert_eq!(report.failed.len(), 1);
    assert_eq!(world.status().await, ["schema 1 up"]);
}

#[tokio::test]
async fn a_version_that_is_not_applied_is_refused() {
    let world = World::auto();
    three(&world);
    world.migrate().await;
    let error = world.rollback(RollbackScope::To(version(4))).await.unwrap_err();
    assert_eq!(rules(error), ["unknown-version"]);
}

#[tokio::test]
async fn one_that_stopped_half_way_down_is_finished_first() {
    let world = World::auto();
    world
        .schema("1_t.up.sql", "CREATE TABLE t1 (id INTEGER);")
        .schema("1_t.down.sql", "-- dunlin: no-transaction\nDROP TABLE t1;\nDROP TABLE nowhere;");
    world.migrate().await;
    let report = world.rollback(RollbackScope::Steps(1)).await.unwrap();
    assert_eq!((report.failed.len(), report.failed[0].kept), (1, 1));
    assert_eq!(world.status().await, ["schema 1 dirty"]);
    world.schema(
        "1_t.down.sql",
        "-- dunlin: no-transaction\nDROP TABLE t1;\nDROP TABLE IF EXISTS nowhere;",
    );
    let report = world.rollback(RollbackScope::Steps(1)).await.unwrap();
    assert_eq!(finished(&report), ["schema 1"], "{:?}", report.failed);
    assert_eq!(world.status().await, ["schema 1 down"]);
    assert_eq!(finished(&world.migrate().await), ["schema 1"]);
}

#[tokio::test]
async fn nothing_goes_forward_while_one_is_half_way_down() {
    let world = World::auto();
    world
        .schema("1_t.up.sql", "CREATE TABLE t1 (id INTEGER);")
        .schema("1_t.down.sql", "-- dunlin: no-transaction\nDROP TABLE t1;\nDROP TABLE nowhere;");
    world.migrate().await;
    world.rollback(RollbackScope::Steps(1)).await.unwrap();
    world.schema("2_t.sql", "CREATE TABLE t2 (id INTEGER);");
    assert_eq!(rules(world.try_migrate().await.unwrap_err()), ["half-way-down"]);
    assert_eq!(tables(&world), "");
}

#[tokio::test]
async fn data_after_data_that_is_reset_is_reset_too() {
    let world = World::auto();
    world
        .schema(
            "1_t.up.sql",
            "CREATE TABLE t1 (a INTEGER, b INTEGER); INSERT INTO t1 VALUES (1, 0);",
        )
        .schema("1_t.down.sql", "DROP TABLE t1;")
        .data("2_first.sql", "UPDATE t1 SET a = a + 1;")
        .data("3_then.sql", "-- dunlin: after data 2\nUPDATE t1 SET b = a;")
        .data("4_last.sql", "-- dunlin: after data 3\nUPDATE t1 SET b = b + 10;");
    world.migrate().await;
    let report = world.rollback(RollbackScope::Steps(1)).await.unwrap();
    assert_eq!(report.finished[0].resets, [data(2), data(3), data(4)]);
    world.migrate().await;
    assert_eq!(world.value("SELECT b FROM t1"), "12");
}

#[tokio::test]
async fn data_that_kept_some_statements_begins_again_after_a_rollback() {
    let world = World::auto();
    world
        .schema("1_t.up.sql", "CREATE TABLE t1 (a INTEGER); INSERT INTO t1 VALUES (0);")
        .schema("1_t.down.sql", "DROP TABLE t1;")
        .data(
            "2_x.sql",
            "-- dunlin: no-transaction\nUPDATE t1 SET a = a + 1;\nUPDATE nowhere SET a = 1;",
        );
    assert_eq!(world.migrate().await.failed[0].kept, 1);
    let report = world.rollback(RollbackScope::Steps(1)).await.unwrap();
    assert_eq!(report.finished[0].resets, [data(2)]);
    assert_eq!(world.status().await, ["schema 1 down", "data 2 pending"]);
    world.data(
        "2_x.sql",
        "-- dunlin: no-transaction\nUPDATE t1 SET a = a + 1;\nUPDATE t1 SET a = a + 10;",
    );
    assert_eq!(finished(&world.migrate().await), ["schema 1", "data 2"]);
    assert_eq!(world.value("SELECT a FROM t1"), "11");
}

#[tokio::test]
async fn settling_the_last_statement_down_resets_what_came_after() {
    let world = World::auto();
    world
        .schema("1_t.up.sql", "CREATE TABLE t1 (id INTEGER);")
        .schema("1_t.down.sql", "-- dunlin: no-transaction\nDROP TABLE t1;")
        .data("2_x.sql", "INSERT INTO t1 VALUES (1);");
    world.migrate().await;
    // As a process that died between the statement and its journal leaves it.
    world.execute(
        "DROP TABLE t1;
         INSERT INTO dunlin_steps
           (kind, version, direction, pass, ordinal, checksum, state, token, opened_at)
         VALUES ('schema', 1, 'down', 1, 0, '', 'open', 1, 0);",
    );
    let settle = Amendment::Settle { version: version(1), took_effect: true };
    world.amend(settle).await.unwrap();
    assert_eq!(world.status().await, ["schema 1 down", "data 2 pending"]);
}
