//! Data migrations by hand: run, rerun, retire, after, manual, environments.

use dunlin::engine::amend::Amendment;
use dunlin::engine::report::Cause;
use dunlin::model::{Deferral, WaitsFor};
use dunlin::project::plan::Scope;

use crate::world::{World, data, finished, held, rules, schema, version};

const TABLE: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL DEFAULT 1);\
    INSERT INTO t (n) VALUES (1), (2), (3);";
const DOUBLE: &str = "UPDATE t SET n = n * 2 + 1;";

#[tokio::test]
async fn each_runs_exactly_once() {
    let world = World::auto();
    world.schema("1_t.sql", TABLE).data("2_double.sql", DOUBLE);
    world.migrate().await;
    world.migrate().await;
    world.run_data(&[]).await.unwrap();
    assert_eq!(world.value("SELECT group_concat(n) FROM t"), "3,5,7");
}

#[tokio::test]
async fn rows_are_counted() {
    let world = World::auto();
    world.schema("1_t.sql", TABLE).data("2_double.sql", DOUBLE);
    let report = world.migrate().await;
    assert_eq!(report.finished[1].rows, [Some(3)]);
}

#[tokio::test]
async fn rerun_is_its_next_pass() {
    let world = World::auto();
    world.schema("1_t.sql", TABLE).data("2_double.sql", DOUBLE);
    world.migrate().await;
    world.amend(Amendment::Rerun { version: version(2) }).await.unwrap();
    assert_eq!(world.status().await[1], "data 2 pending");
    world.run_data(&[2]).await.unwrap();
    assert_eq!(world.value("SELECT group_concat(n) FROM t"), "7,11,15");
    assert_eq!(world.rows().await[1].pass, 2);
}

#[tokio::test]
async fn after_waits_for_what_it_names() {
    let world = World::manual();
    world
        .schema("1_t.sql", TABLE)
        .schema("5_more.sql", "CREATE TABLE u (id INTEGER);")
        .data("3_double.sql", &format!("-- dunlin: after 5\n{DOUBLE}"));
    let report = world.run_data(&[3]).await.unwrap();
    assert_eq!(held(&report), ["data 3"]);
    assert!(matches!(&report.held[0].waits_for[..], [WaitsFor::After { .. }]));
    world.migrate().await;
    assert_eq!(finished(&world.run_data(&[3]).await.unwrap()), ["data 3"]);
}

#[tokio::test]
async fn after_nothing_that_exists_is_a_typo() {
    let world = World::auto();
    world
        .schema("20260110_t.sql", TABLE)
        .data("20260111_d.sql", "-- dunlin: after 20260101\nDELETE FROM t;");
    let error = world.try_migrate().await.unwrap_err();
    assert!(error.to_string().contains("did you mean 20260110?"), "{error}");
    assert_eq!(rules(error), ["unknown-version"]);
}

#[tokio::test]
async fn without_after_lower_schema_comes_first() {
    let world = World::manual();
    world.schema("1_t.sql", TABLE).data("2_double.sql", DOUBLE);
    let report = world.run_data(&[]).await.unwrap();
    assert!(matches!(
        &report.held[0].waits_for[..],
        [WaitsFor::PendingSchema { schema: id }] if *id == schema(1)
    ));
}

#[tokio::test]
async fn one_that_fails_stops_only_what_comes_after_it() {
    let world = World::auto();
    world
        .schema("1_t.sql", TABLE)
        .data("2_bad.sql", "UPDATE t SET n = NULL;")
        .data("3_good.sql", DOUBLE)
        .data("4_after.sql", "-- dunlin: after data 2\nDELETE FROM t;");
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1", "data 3"]);
    assert_eq!(report.failed[0].id, data(2));
    assert_eq!(held(&report), ["data 4"]);
    assert_eq!(world.status().await[1], "data 2 failed");
    world.data("2_bad.sql", "UPDATE t SET n = 0;");
    assert_eq!(finished(&world.migrate().await), ["data 2", "data 4"]);
}

#[tokio::test]
async fn manual_runs_only_by_name() {
    let world = World::auto();
    world.schema("1_t.sql", TABLE).data("2_clean.sql", "-- dunlin: manual\nDELETE FROM t;");
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1"]);
    assert_eq!(report.deferred[0].why, Deferral::ByName);
    assert_eq!(finished(&world.run_data(&[]).await.unwrap()), Vec::<String>::new());
    assert_eq!(finished(&world.run_data(&[2]).await.unwrap()), ["data 2"]);
}

#[tokio::test]
async fn disabled_is_said() {
    let world = World::auto();
    world
        .schema("1_t.sql", TABLE)
        .data("2_no.sql", "-- dunlin: disabled \"too slow\"\nDELETE FROM t;");
    let report = world.migrate().await;
    assert_eq!(report.deferred[0].why, Deferral::Disabled { reason: "too slow".into() });
    assert_eq!(world.status().await[1], "data 2 disabled");
}

#[tokio::test]
async fn environments_skip_elsewhere_and_say_so() {
    let mut world = World::auto();
    world
        .schema("1_t.sql", TABLE)
        .data("2_p.sql", "-- dunlin: environments production\nDELETE FROM t;");
    world.policy.environment = Some("staging".into());
    let report = world.migrate().await;
    assert_eq!(report.finished[1].skipped.as_deref(), Some("only for production; this is staging"));
    assert_eq!(world.value("SELECT count(*) FROM t"), "3");
}

#[tokio::test]
async fn step_counts_what_runs() {
    let world = World::auto();
    world
        .schema("1_t.sql", TABLE)
        .schema("2_u.sql", "CREATE TABLE u (id INTEGER);")
        .data("3_d.sql", DOUBLE);
    let scope = Scope::Migrate { to: None, step_count: Some(2) };
    assert_eq!(finished(&world.forward(scope).await.unwrap()), ["schema 1", "schema 2"]);
    let scope = Scope::Migrate { to: Some(version(3)), step_count: None };
    assert_eq!(finished(&world.forward(scope).await.unwrap()), ["data 3"]);
}

#[tokio::test]
async fn retired_never_runs_on_a_new_laptop() {
    let world = World::auto();
    world.schema("1_t.sql", TABLE).data("2_double.sql", DOUBLE).data(
        "retired.toml",
        "[[retired]]\nversion = 2\nname = \"double\"\nbecause = \"done everywhere\"\n",
    );
    assert_eq!(finished(&world.migrate().await), ["schema 1"]);
    assert_eq!(world.status().await[1], "data 2 retired");
}

#[tokio::test]
async fn retiring_what_is_pending_needs_a_reason() {
    let world = World::manual();
    world.schema("1_t.sql", TABLE).data("2_double.sql", DOUBLE);
    world.migrate().await;
    let retire = Amendment::Retire { version: version(2), because: None };
    assert_eq!(rules(world.amend(retire).await.unwrap_err()), ["pending"]);
}

#[tokio::test]
async fn an_unknown_version_is_refused_before_anything_runs() {
    let world = World::manual();
    world.schema("1_t.sql", TABLE).data("2_double.sql", DOUBLE);
    world.migrate().await;
    assert_eq!(rules(world.run_data(&[2, 7]).await.unwrap_err()), ["unknown-version"]);
    assert_eq!(world.value("SELECT group_concat(n) FROM t"), "1,2,3");
}

#[tokio::test]
async fn without_an_environment_one_that_names_some_is_held_not_skipped() {
    let mut world = World::auto();
    world
        .schema("1_t.sql", TABLE)
        .data("2_p.sql", "-- dunlin: environments production\nUPDATE t SET n = 0;");
    let report = world.migrate().await;
    assert_eq!(held(&report), ["data 2"]);
    assert!(matches!(&report.held[0].waits_for[..], [WaitsFor::Environment { .. }]));
    world.policy.environment = Some("staging".into());
    assert!(world.migrate().await.finished[0].skipped.is_some());
    world.policy.environment = Some("production".into());
    assert_eq!(finished(&world.migrate().await), ["data 2"]);
    assert_eq!(world.value("SELECT sum(n) FROM t"), "0");
}

#[tokio::test]
async fn what_is_not_proved_is_rolled_back() {
    let world = World::auto();
    world.schema("1_t.sql", TABLE).data(
        "2_double.sql",
        &format!("-- dunlin: done-when SELECT NOT EXISTS (SELECT 1 FROM t WHERE n < 4)\n{DOUBLE}"),
    );
    let report = world.migrate().await;
    assert!(matches!(report.failed[0].cause, Cause::NotProved { .. }), "{:?}", report.failed);
    assert_eq!(world.value("SELECT group_concat(n) FROM t"), "1,2,3");
    assert_eq!(world.status().await[1], "data 2 failed");
    world.value("UPDATE t SET n = n + 10 RETURNING n");
    // What is to be true already is: nothing is done to the rows.
    assert_eq!(finished(&world.run_data(&[2]).await.unwrap()), ["data 2"]);
    assert_eq!(world.value("SELECT group_concat(n) FROM t"), "11,12,13");
}

#[tokio::test]
async fn a_program_proves_itself_too() {
    let world = World::auto();
    world.schema("1_t.sql", TABLE).program(
        "2_nothing.sh",
        "#!/bin/sh\n# dunlin: done-when SELECT count(*) = 0 FROM t\nexit 0\n",
    );
    let report = world.migrate().await;
    assert!(matches!(report.failed[0].cause, Cause::NotProved { .. }), "{:?}", report.failed);
}

#[tokio::test]
async fn done_when_asks_what_the_migration_brings_about() {
    let world = World::auto();
    world
        .schema("1_t.sql", TABLE)
        .data("2_double.sql", &format!("-- dunlin: done-when SELECT sum(n) = 15 FROM t\n{DOUBLE}"));
    assert_eq!(world.migrate().await.finished[1].rows, [Some(3)]);
    assert_eq!(world.value("SELECT group_concat(n) FROM t"), "3,5,7");
}
