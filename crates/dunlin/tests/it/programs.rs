//! Data migrations that are programs.

use dunlin::engine::report::Cause;

use crate::world::{World, finished};

#[tokio::test]
async fn a_program_gets_its_variables_and_the_project_s_root() {
    let world = World::auto();
    world.schema("1_t.sql", "CREATE TABLE t (id INTEGER);").program(
        "2_tool.sh",
        "#!/bin/sh\necho \"$DUNLIN_VERSION $DUNLIN_FENCE $DUNLIN_IDEMPOTENCY_KEY\"\n\
         test -n \"$DUNLIN_DATABASE_URL\" && test -d migrations\n",
    );
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1", "data 2"]);
    let ledger = world.value("SELECT id FROM dunlin_meta");
    let lines = world.output.lock().unwrap().clone();
    assert_eq!(lines, [format!("2 1 dunlin:{ledger}:none:data/2:1")]);
}

#[tokio::test]
async fn a_failed_one_is_tried_again_with_the_same_key_and_a_rerun_gets_another() {
    let world = World::auto();
    world.schema("1_t.sql", "CREATE TABLE t (id INTEGER);").program(
        "2_tool.sh",
        "#!/bin/sh\necho \"$DUNLIN_IDEMPOTENCY_KEY\" >> keys\ntest -e allowed\n",
    );
    let report = world.migrate().await;
    assert!(
        matches!(&report.failed[0].cause, Cause::Program { ending } if ending == "it ended with exit code 1")
    );
    std::fs::write(world.path().join("allowed"), "").unwrap();
    assert_eq!(finished(&world.migrate().await), ["data 2"]);
    let rerun = dunlin::engine::amend::Amendment::Rerun { version: crate::world::version(2) };
    world.amend(rerun).await.unwrap();
    world.run_data(&[2]).await.unwrap();
    let keys = std::fs::read_to_string(world.path().join("keys")).unwrap();
    let keys: Vec<&str> = keys.lines().collect();
    assert_eq!(keys.len(), 3);
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0].ends_with(":1") && keys[2].ends_with(":2"));
}

#[tokio::test]
async fn output_is_kept_where_it_is_asked_for() {
    let world = World::auto();
    world
        .schema("1_t.sql", "CREATE TABLE t (id INTEGER);")
        .program("2_tool.sh", "#!/bin/sh\n# dunlin: keep-output\necho moved 7\necho warned >&2\n");
    world.migrate().await;
    let output = world.value("SELECT output FROM dunlin_migrations WHERE version = 2");
    assert!(output.contains("moved 7\n") && output.contains("warned\n"), "{output}");
}

#[tokio::test]
async fn a_time_limit_ends_its_whole_process_group() {
    let world = World::auto();
    world.schema("1_t.sql", "CREATE TABLE t (id INTEGER);").program(
        "2_tool.sh",
        "#!/bin/sh\n# dunlin: statement-timeout 200ms\nsleep 600 &\necho $! > child\nwait\n",
    );
    let report = world.migrate().await;
    assert!(
        matches!(&report.failed[0].cause, Cause::Program { ending } if ending.contains("statement-timeout"))
    );
    let child = std::fs::read_to_string(world.path().join("child")).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim().chars().next());
    assert!(matches!(state, None | Some(Some('Z'))), "the child still lives: {stat}");
}

#[tokio::test]
async fn one_that_cannot_be_started_says_why() {
    let world = World::auto();
    world
        .schema("1_t.sql", "CREATE TABLE t (id INTEGER);")
        .data("2_tool.toml", "[program]\ncommand = [\"no-such-program-here\"]\n");
    let report = world.migrate().await;
    assert!(
        matches!(&report.failed[0].cause, Cause::Program { ending } if ending.contains("on the PATH"))
    );
}
