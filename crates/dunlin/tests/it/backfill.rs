//! Backfills that stop half-way, and what a person does about them.

use dunlin::engine::amend::Amendment;
use dunlin::engine::report::Cause;

use crate::world::{World, finished, version};

/// One row of 5000 fails: doubled, it is more than its check allows.
const TABLE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL CHECK (n < 1000000));\
    WITH RECURSIVE one(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM one WHERE id < 5000)\
    INSERT INTO t SELECT id, CASE id WHEN 3000 THEN 999999 ELSE id END FROM one;";
const DOUBLE: &str = "-- dunlin: chunk-by t\nUPDATE t SET n = n * 2 + 1 WHERE :chunk;";
const MEND: &str = "UPDATE t SET n = 3000 WHERE id = 3000";
const WRONG: &str = "SELECT count(*) FROM t WHERE n <> id * 2 + 1";

/// Rows before the 3000th are done; that one fails.
async fn half_way() -> World {
    let world = World::manual();
    world.schema("1_t.sql", TABLE).data("2_double.sql", DOUBLE);
    world.migrate().await;
    let report = world.run_data(&[2]).await.unwrap();
    let Cause::Chunk { key: Some(key), .. } = &report.failed[0].cause else {
        panic!("{:?}", report.failed)
    };
    assert_eq!(key.0, ["3000"]);
    assert_eq!(world.value("SELECT count(*) FROM t WHERE n = id * 2 + 1"), "2999");
    world
}

async fn why(world: &World) -> String {
    let report = world.run_data(&[2]).await.unwrap();
    match &report.failed[0].cause {
        Cause::Target(error) | Cause::Chunk { error, .. } => error.message.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn goes_on_where_it_stopped() {
    let world = half_way().await;
    world.execute(MEND);
    assert_eq!(finished(&world.run_data(&[2]).await.unwrap()), ["data 2"]);
    assert_eq!(world.value(WRONG), "0");
}

#[tokio::test]
async fn a_segment_that_nobody_came_to_while_the_lease_was_claimed_is_tried() {
    let world = half_way().await;
    world.execute(MEND);
    // Its workers died or lost their connections again and again, at other segments.
    world.execute("UPDATE dunlin_segments SET attempts = 40 WHERE seg > 0");
    world.execute("UPDATE dunlin_backfills SET state = 'running'");
    assert_eq!(finished(&world.run_data(&[2]).await.unwrap()), ["data 2"]);
    assert_eq!(world.value(WRONG), "0");
}

#[tokio::test]
async fn a_row_that_was_given_up_is_tried_again_when_somebody_asks() {
    let world = half_way().await;
    world.execute(MEND);
    world.execute("UPDATE dunlin_segments SET attempts = 40, hi = '[\"3000\"]' WHERE seg > 0");
    world.execute("UPDATE dunlin_backfills SET state = 'running'");
    let report = world.run_data(&[2]).await.unwrap();
    let cause = report.failed[0].cause.to_string();
    assert!(cause.contains("its worker died"), "{cause}");
    assert_eq!(finished(&world.run_data(&[2]).await.unwrap()), ["data 2"]);
    assert_eq!(world.value("SELECT count(*) FROM t WHERE n = id * 2 + 1"), "3000");
}

#[tokio::test]
async fn other_statements_do_not_do_the_rest_unasked() {
    let world = half_way().await;
    world.execute(MEND);
    world.data("2_double.sql", &DOUBLE.replace("* 2 + 1", "* 3"));
    for _ in 0..2 {
        assert!(why(&world).await.contains("statements are others"));
    }
    assert_eq!(world.value("SELECT n FROM t WHERE id = 5000"), "5000");
    // What is no statement may change.
    world.data("2_double.sql", &format!("-- dunlin: chunk-rows 100\n{DOUBLE}"));
    assert_eq!(finished(&world.run_data(&[2]).await.unwrap()), ["data 2"]);
    assert_eq!(world.value(WRONG), "0");
}

#[tokio::test]
async fn other_statements_do_the_rest_once_they_are_accepted() {
    let world = half_way().await;
    world.data("2_double.sql", &DOUBLE.replace("* 2 + 1", "* 0"));
    assert!(why(&world).await.contains("statements are others"));
    let because = "the row is too large".to_owned();
    world.amend(Amendment::Accept { version: version(2), because }).await.unwrap();
    assert_eq!(finished(&world.run_data(&[2]).await.unwrap()), ["data 2"]);
    assert_eq!(world.value("SELECT count(*) FROM t WHERE n = id * 2 + 1"), "2999");
    assert_eq!(world.value("SELECT count(*) FROM t WHERE n = 0"), "2001");
}

#[tokio::test]
async fn a_rerun_begins_anew_over_all_rows_also_half_way_and_after_a_cancel() {
    let world = half_way().await;
    world.execute("UPDATE dunlin_backfills SET intent = 'cancel'");
    let report = world.run_data(&[2]).await.unwrap();
    assert!(matches!(report.failed[0].cause, Cause::Cancelled { .. }));
    world.data("2_double.sql", &DOUBLE.replace("* 2 + 1", "* 0"));
    world.amend(Amendment::Rerun { version: version(2) }).await.unwrap();
    assert_eq!(finished(&world.run_data(&[2]).await.unwrap()), ["data 2"]);
    assert_eq!(world.value("SELECT count(*) FROM t WHERE n = 0"), "5000");
    assert_eq!(world.rows().await[1].pass, 2);
}

#[tokio::test]
async fn what_was_walked_and_not_proved_is_not_done_twice() {
    let world = World::manual();
    let proved = "-- dunlin: done-when SELECT EXISTS (SELECT 1 FROM t WHERE id = 6000)\n";
    world
        .schema("1_t.sql", &TABLE.replace("999999", "id"))
        .data("2_double.sql", &format!("{proved}{DOUBLE}"));
    world.migrate().await;
    for _ in 0..3 {
        let report = world.run_data(&[2]).await.unwrap();
        assert!(matches!(report.failed[0].cause, Cause::NotProved { .. }), "{:?}", report.failed);
        assert_eq!(world.value(WRONG), "0");
    }
    world.execute("INSERT INTO t VALUES (6000, 1)");
    assert_eq!(finished(&world.run_data(&[2]).await.unwrap()), ["data 2"]);
    assert_eq!(world.value("SELECT count(*) FROM t WHERE n = id * 2 + 1"), "5000");
}

#[tokio::test]
async fn repeated_walks_are_counted_over_all_runs() {
    let world = World::manual();
    let proved = "-- dunlin: done-when SELECT EXISTS (SELECT 1 FROM t WHERE id = 6000)\n\
                  -- dunlin: repeat until-done max 3\n";
    let counting = "-- dunlin: chunk-by t\nUPDATE t SET n = n + 1 WHERE :chunk;\n";
    world
        .schema("1_t.sql", &TABLE.replace("999999", "id"))
        .data("2_count.sql", &format!("{proved}{counting}"));
    world.migrate().await;
    let walked = |from: &str| format!("SELECT count(*) FROM t WHERE n <> {from} + 3");
    for _ in 0..3 {
        let report = world.run_data(&[2]).await.unwrap();
        assert!(matches!(report.failed[0].cause, Cause::NotProved { rounds: 3 }));
        assert_eq!(world.value(&walked("id")), "0");
    }
    world.execute("INSERT INTO t VALUES (6000, 6003)");
    assert_eq!(finished(&world.run_data(&[2]).await.unwrap()), ["data 2"]);
    assert_eq!(world.value(&walked("id")), "0");
}
