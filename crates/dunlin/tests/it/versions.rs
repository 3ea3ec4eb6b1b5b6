//! Versions, late files, baselines, statements that fail (failures 56 to 59).

use std::time::Duration;

use dunlin::engine::amend::Amendment;
use dunlin::engine::owner::this_process;
use dunlin::engine::report::{Cause, EngineError};
use dunlin::engine::{Claim, Purpose};
use dunlin::model::{OutOfOrder, Resource};

use crate::world::{World, finished, rules, version};

#[tokio::test]
async fn a_late_file_runs_with_a_notice() {
    let world = World::auto();
    world.schema("2_b.sql", "CREATE TABLE b (id INTEGER);");
    world.migrate().await;
    world.schema("1_a.sql", "CREATE TABLE a (id INTEGER);");
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1"]);
    assert_eq!(report.notices[0].rule, "late");
}

#[tokio::test]
async fn a_late_file_can_be_forbidden() {
    let mut world = World::auto();
    world.policy.out_of_order = OutOfOrder::Error;
    world.schema("2_b.sql", "CREATE TABLE b (id INTEGER);");
    world.migrate().await;
    world.schema("1_a.sql", "CREATE TABLE a (id INTEGER);");
    assert_eq!(rules(world.try_migrate().await.unwrap_err()), ["late"]);
}

#[tokio::test]
async fn two_files_of_one_version_are_refused_before_anything_runs() {
    let world = World::auto();
    world
        .schema("1_a.sql", "CREATE TABLE a (id INTEGER);")
        .schema("1_b.sql", "CREATE TABLE b (id INTEGER);");
    assert!(matches!(world.try_migrate().await, Err(EngineError::Refused(_))));
    assert!(!world.path().join("app.db").exists());
}

#[tokio::test]
async fn a_missing_file_is_shown_and_no_error() {
    let world = World::auto();
    world
        .schema("1_a.sql", "CREATE TABLE a (id INTEGER);")
        .schema("2_b.sql", "CREATE TABLE b (id INTEGER);");
    world.migrate().await;
    world.remove("migrations/1_a.sql");
    assert!(world.migrate().await.failed.is_empty());
    let rows = world.rows().await;
    assert!(rows[0].missing && !rows[1].missing);
}

#[tokio::test]
async fn a_failed_schema_migration_rolls_back_and_ends_the_run() {
    let world = World::auto();
    world
        .schema("1_a.sql", "CREATE TABLE a (id INTEGER);\nCREATE TABLE a (id INTEGER);")
        .schema("2_b.sql", "CREATE TABLE b (id INTEGER);");
    let report = world.migrate().await;
    assert!(finished(&report).is_empty());
    let failure = &report.failed[0];
    assert_eq!(failure.number, Some(2));
    assert_eq!(failure.statement.as_ref().unwrap().line, 2);
    assert!(
        matches!(&failure.cause, Cause::Target(error) if error.message.contains("already exists"))
    );
    assert_eq!(world.value("SELECT count(*) FROM sqlite_master WHERE name IN ('a', 'b')"), "0");
}

#[tokio::test]
async fn a_file_with_its_own_transaction_runs_as_if_it_had_none() {
    let world = World::auto();
    world.schema("1_a.sql", "BEGIN;\nCREATE TABLE a (id INTEGER);\nCOMMIT;");
    assert_eq!(finished(&world.migrate().await), ["schema 1"]);
}

#[tokio::test]
async fn other_transaction_control_is_refused_before_anything_runs() {
    let world = World::auto();
    world.schema("1_a.sql", "CREATE TABLE a (id INTEGER);\nCOMMIT;\nCREATE TABLE b (id INTEGER);");
    assert_eq!(rules(world.try_migrate().await.unwrap_err()), ["transaction-control"]);
}

#[tokio::test]
async fn what_cannot_run_in_a_transaction_names_the_directive() {
    let world = World::auto();
    world.schema("1_a.sql", "VACUUM;");
    let error = world.try_migrate().await.unwrap_err();
    assert!(error.to_string().contains("no-transaction"), "{error}");
    world.schema("1_a.sql", "-- dunlin: no-transaction\nVACUUM;");
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1"], "{:?}", report.failed);
}

#[tokio::test]
async fn a_baseline_declares_and_runs_nothing() {
    let world = World::auto();
    world
        .schema("1_a.sql", "CREATE TABLE a (id INTEGER);")
        .schema("2_b.sql", "CREATE TABLE b (id INTEGER);")
        .schema("3_c.sql", "CREATE TABLE c (id INTEGER);");
    world.execute("CREATE TABLE a (id INTEGER); CREATE TABLE b (id INTEGER);");
    let amended = world.amend(Amendment::Baseline { to: version(2) }).await.unwrap();
    assert_eq!(amended.changed.len(), 2);
    assert_eq!(finished(&world.migrate().await), ["schema 3"]);
    assert!(world.rows().await[0].baseline);
}

#[tokio::test]
async fn nothing_pending_writes_nothing() {
    let world = World::auto();
    world.schema("1_a.sql", "CREATE TABLE a (id INTEGER);");
    world.migrate().await;
    let before = std::fs::read(world.path().join("app.db")).unwrap();
    world.migrate().await;
    assert_eq!(before, std::fs::read(world.path().join("app.db")).unwrap());
}

#[tokio::test]
async fn our_migrations_that_another_tool_applied_are_not_run_again() {
    let world = World::auto();
    world.execute(
        "CREATE TABLE a (id INTEGER);\
         CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
         checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);\
         INSERT INTO _sqlx_migrations VALUES (1, 'a', '2026-01-01', 1, x'00', 1);",
    );
    world.schema("1_a.sql", "CREATE TABLE a (id INTEGER);");
    assert_eq!(rules(world.try_migrate().await.unwrap_err()), ["applied-elsewhere"]);
    world.amend(Amendment::Baseline { to: version(1) }).await.unwrap();
    assert!(world.migrate().await.finished.is_empty());
}

#[tokio::test]
async fn what_another_tool_began_is_not_run_either() {
    let world = World::auto();
    world.execute(
        "CREATE TABLE a (id INTEGER); CREATE TABLE b (id INTEGER);\
         CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY, dirty BOOLEAN NOT NULL);\
         INSERT INTO schema_migrations VALUES (2, 1);",
    );
    world
        .schema("1_a.sql", "CREATE TABLE IF NOT EXISTS a (id INTEGER);")
        .schema("2_b.sql", "CREATE TABLE IF NOT EXISTS b (id INTEGER);")
        .schema("3_c.sql", "CREATE TABLE c (id INTEGER);");
    let error = world.try_migrate().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("golang-migrate stopped half-way at 2"), "{text}");
    assert_eq!(rules(error), ["half-way-elsewhere"]);
    assert_eq!(world.value("SELECT count(*) FROM sqlite_master WHERE name = 'c'"), "0");
    world.execute("UPDATE schema_migrations SET dirty = 0");
    assert_eq!(rules(world.try_migrate().await.unwrap_err()), ["applied-elsewhere"]);
    world.amend(Amendment::Baseline { to: version(2) }).await.unwrap();
    assert_eq!(finished(&world.migrate().await), ["schema 3"]);
}

#[tokio::test]
async fn what_another_tool_failed_at_is_not_run_after_a_baseline_below_it() {
    let world = World::auto();
    world.execute(
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
         checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);\
         INSERT INTO _sqlx_migrations VALUES (1, 'a', '2026-01-01', 1, x'00', 1), \
         (2, 'b', '2026-01-02', 0, x'00', 1);",
    );
    world
        .schema("1_a.sql", "CREATE TABLE a (id INTEGER);")
        .schema("2_b.sql", "CREATE TABLE b (id INTEGER);");
    world.amend(Amendment::Baseline { to: version(1) }).await.unwrap();
    assert_eq!(rules(world.try_migrate().await.unwrap_err()), ["half-way-elsewhere"]);
    world.execute("DELETE FROM _sqlx_migrations WHERE version = 2");
    assert_eq!(finished(&world.migrate().await), ["schema 2"]);
}

#[tokio::test]
async fn a_baseline_keeps_away_from_data_that_somebody_is_at_work_on() {
    let world = World::manual();
    world.schema("1_a.sql", "CREATE TABLE a (id INTEGER PRIMARY KEY);");
    world.migrate().await;
    world
        .schema("2_b.sql", "CREATE TABLE b (id INTEGER PRIMARY KEY);")
        .data("3_c.sql", "SELECT 1;")
        .data("4_d.sql", "SELECT 1;");
    let mut target = world.job().unwrap().connector.connect(Purpose::Run).await.unwrap();
    let (resource, ttl) = (Resource::Data(version(4)), Duration::from_secs(60));
    let claim = target.claim(&resource, &this_process(), ttl, None).await.unwrap();
    let Claim::Granted(lease) = claim else { panic!("nobody else is there") };
    let refused = world.amend(Amendment::Baseline { to: version(4) }).await.unwrap_err();
    assert!(matches!(refused, EngineError::LeaseHeld(holder) if holder.resource == "data/4"));
    assert_eq!(world.status().await[1], "schema 2 down");
    target.release(&lease).await.unwrap();
    let amended = world.amend(Amendment::Baseline { to: version(4) }).await.unwrap();
    assert_eq!(amended.changed.len(), 3);
    let order = ["schema 1 up", "schema 2 up", "data 3 done", "data 4 done"];
    assert_eq!(world.status().await, order);
}
