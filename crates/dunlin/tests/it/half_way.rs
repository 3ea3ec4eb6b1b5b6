//! Files that change after a run stopped in the middle of them.

use dunlin::project::plan::RollbackScope;

use crate::world::{World, finished, rules};

const STEPWISE: &str = "-- dunlin: no-transaction\n";

/// One table, and a data migration that kept its first statement and failed at its second.
async fn stopped() -> World {
    let world = World::auto();
    world.schema("1_t.sql", "CREATE TABLE t (n INTEGER);").data(
        "2_two.sql",
        &format!("{STEPWISE}INSERT INTO t VALUES (1);\nINSERT INTO nope VALUES (2);"),
    );
    let report = world.migrate().await;
    assert_eq!((report.failed.len(), report.failed[0].kept), (1, 1));
    assert_eq!(rows(&world), "1");
    world
}

fn rows(world: &World) -> String {
    world.value("SELECT group_concat(n) FROM (SELECT n FROM t ORDER BY n)")
}

#[tokio::test]
async fn where_its_bad_end_is_taken_out_it_is_done_once() {
    let world = stopped().await;
    world.data("2_two.sql", &format!("{STEPWISE}INSERT INTO t VALUES (1);"));
    assert_eq!(finished(&world.migrate().await), ["data 2"]);
    assert_eq!(world.status().await, ["schema 1 up", "data 2 done"]);
    assert_eq!(world.value("SELECT count(*) FROM dunlin_steps"), "0");
    assert_eq!(finished(&world.migrate().await), [""; 0]);
    assert_eq!(rows(&world), "1");
    let ups = "SELECT count(*) FROM dunlin_history WHERE kind = 'data' AND event = 'up'";
    assert_eq!(world.value(ups), "1");
}

#[tokio::test]
async fn the_same_on_the_way_down() {
    let world = World::auto();
    world
        .schema("1_t.up.sql", "CREATE TABLE t1 (id INTEGER);")
        .schema("1_t.down.sql", &format!("{STEPWISE}DROP TABLE t1;\nDROP TABLE nowhere;"));
    world.migrate().await;
    world.rollback(RollbackScope::Steps(1)).await.unwrap();
    world.schema("1_t.down.sql", "DROP TABLE t1;");
    let report = world.rollback(RollbackScope::Steps(1)).await.unwrap();
    assert_eq!(finished(&report), ["schema 1"], "{:?}", report.failed);
    assert_eq!(world.status().await, ["schema 1 down"]);
    assert_eq!(finished(&world.migrate().await), ["schema 1"]);
}

#[tokio::test]
async fn what_was_begun_in_steps_goes_on_in_steps() {
    let world = stopped().await;
    world.data("2_two.sql", "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);");
    assert_eq!(finished(&world.migrate().await), ["data 2"]);
    assert_eq!(rows(&world), "1,2");
    assert_eq!(world.value("SELECT count(*) FROM dunlin_steps"), "0");
}

#[tokio::test]
async fn what_ran_over_all_rows_is_not_run_in_chunks() {
    let world = World::auto();
    world.schema("1_t.sql", "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER);").data(
        "2_two.sql",
        &format!("{STEPWISE}UPDATE t SET n = n + 1 WHERE id > 0;\nUPDATE nope SET n = 1;"),
    );
    world.migrate().await;
    world.data(
        "2_two.sql",
        "-- dunlin: chunk-by t\nUPDATE t SET n = n + 1 WHERE id > 0 AND :chunk;",
    );
    assert_eq!(rules(world.try_migrate().await.unwrap_err()), ["edited-half-way"]);
}

#[tokio::test]
async fn an_empty_file_does_not_pass_for_what_was_begun() {
    let world = stopped().await;
    world.data("2_two.sql", "-- Nothing is left of it.\n");
    assert_eq!(rules(world.try_migrate().await.unwrap_err()), ["edited-half-way"]);
    assert_eq!(rows(&world), "1");
}
