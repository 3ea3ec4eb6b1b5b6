//! What destroys waits for what moves; the rest goes on.

use dunlin::engine::amend::Amendment;
use dunlin::model::{DataMode, WaitsFor};
use dunlin::project::plan::Scope;

use crate::world::{World, data, finished, held, rules, schema, version};

const POSTS: &str = "CREATE TABLE posts (id INTEGER PRIMARY KEY, old TEXT, new TEXT);\
    INSERT INTO posts (old) VALUES ('a'), ('b');\
    CREATE TABLE tags (id INTEGER PRIMARY KEY, name TEXT);";
const FILL: &str = "UPDATE posts SET new = old WHERE new IS NULL;";
const DROP: &str = "ALTER TABLE posts DROP COLUMN old;";

fn contract(world: &World) -> &World {
    world.schema("1_posts.sql", POSTS).data("2_fill.sql", FILL).schema("3_drop.sql", DROP)
}

#[tokio::test]
async fn in_one_order_nothing_is_held() {
    let world = World::auto();
    contract(&world);
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1", "data 2", "schema 3"]);
    assert_eq!(world.value("SELECT group_concat(new) FROM posts"), "a,b");
}

#[tokio::test]
async fn a_drop_is_held_until_its_data_is_moved() {
    let world = World::manual();
    contract(&world);
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1"]);
    assert_eq!(held(&report), ["schema 3"]);
    assert!(matches!(
        &report.held[0].waits_for[..],
        [WaitsFor::DataBeforeDestruction { data: id, what, skipped_by_person: false }]
            if *id == data(2) && what == "drops column posts.old"
    ));
    world.run_data(&[]).await.unwrap();
    assert_eq!(finished(&world.migrate().await), ["schema 3"]);
}

#[tokio::test]
async fn what_touches_a_held_table_is_passed_over_and_the_rest_runs() {
    let world = World::manual();
    contract(&world)
        .schema("4_same.sql", "ALTER TABLE posts ADD COLUMN n INTEGER;")
        .schema("5_other.sql", "ALTER TABLE tags ADD COLUMN n INTEGER;");
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1", "schema 5"]);
    assert_eq!(held(&report), ["schema 3", "schema 4"]);
    assert!(matches!(
        &report.held[1].waits_for[..],
        [WaitsFor::SameTable { held, table }] if *held == schema(3) && table == "posts"
    ));
}

#[tokio::test]
async fn a_failed_data_migration_keeps_its_gate_shut_in_the_same_run() {
    let world = World::auto();
    world
        .schema("1_posts.sql", POSTS)
        .data("2_fill.sql", "UPDATE posts SET nowhere = 1;")
        .schema("3_drop.sql", DROP)
        .schema("4_other.sql", "ALTER TABLE tags ADD COLUMN n INTEGER;");
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1", "schema 4"]);
    assert_eq!(report.failed[0].id, data(2));
    assert_eq!(held(&report), ["schema 3"]);
    assert_eq!(world.value("SELECT count(old) FROM posts"), "2");
}

#[tokio::test]
async fn a_data_migration_that_drops_is_held_too() {
    let world = World::auto();
    world
        .schema("1_posts.sql", POSTS)
        .data("2_fill.sql", "UPDATE posts SET nowhere = 1;")
        .data("3_clean.sql", "DROP TABLE posts;")
        .data("4_named.sql", "-- dunlin: independent-of data 2 3\nDROP TABLE tags;")
        .data("5_rows.sql", "DELETE FROM posts;");
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1", "data 4", "data 5"]);
    assert_eq!(held(&report), ["data 3"]);
    assert_eq!(held(&world.run_data(&[3]).await.unwrap()), ["data 3"]);
    world.data("2_fill.sql", FILL);
    assert_eq!(finished(&world.migrate().await), ["data 2", "data 3"]);
}

#[tokio::test]
async fn independent_of_lets_it_run() {
    let world = World::manual();
    world
        .schema("1_posts.sql", POSTS)
        .data("2_fill.sql", FILL)
        .schema("3_drop.sql", "-- dunlin: independent-of data 2 3\nDROP TABLE tags;");
    assert_eq!(finished(&world.migrate().await), ["schema 1", "schema 3"]);
}

#[tokio::test]
async fn requires_holds_what_destroys_nothing() {
    let world = World::manual();
    world
        .schema("1_posts.sql", POSTS)
        .data("2_fill.sql", FILL)
        .schema("3_more.sql", "-- dunlin: requires data 2\nALTER TABLE tags ADD COLUMN n INTEGER;");
    let report = world.migrate().await;
    assert_eq!(held(&report), ["schema 3"]);
    world.run_data(&[2]).await.unwrap();
    assert_eq!(finished(&world.migrate().await), ["schema 3"]);
}

#[tokio::test]
async fn a_required_data_migration_of_a_higher_version_can_run() {
    let world = World::manual();
    world
        .schema("1_posts.sql", POSTS)
        .schema("2_drop.sql", "-- dunlin: requires data 3\nALTER TABLE posts DROP COLUMN old;")
        .data("3_fill.sql", FILL);
    assert_eq!(held(&world.migrate().await), ["schema 2"]);
    let report = world.run_data(&[3]).await.unwrap();
    assert_eq!(finished(&report), ["data 3"]);
    assert_eq!(finished(&world.migrate().await), ["schema 2"]);
}

#[tokio::test]
async fn what_waits_for_a_higher_version_runs_right_after_it() {
    let world = World::auto();
    world
        .schema("1_posts.sql", POSTS)
        .schema("2_drop.sql", "-- dunlin: requires data 6\nALTER TABLE posts DROP COLUMN old;")
        .schema("3_same.sql", "ALTER TABLE posts ADD COLUMN n INTEGER;")
        .schema("4_other.sql", "ALTER TABLE tags ADD COLUMN n INTEGER;")
        .data("5_late.sql", "-- dunlin: after data 6\nUPDATE posts SET new = upper(new);")
        .data("6_fill.sql", FILL)
        .schema("7_last.sql", "CREATE TABLE last (id INTEGER PRIMARY KEY);");
    let plan = world.plan().await;
    let planned: Vec<String> =
        plan.steps.iter().map(|step| step.migration.id.to_string()).collect();
    let order = ["schema 1", "schema 4", "data 6", "schema 2", "schema 3", "data 5", "schema 7"];
    assert_eq!(planned, order);
    let report = world.migrate().await;
    assert_eq!(finished(&report), order);
    assert_eq!(held(&report), [] as [&str; 0]);
    assert_eq!(world.value("SELECT group_concat(new) FROM posts"), "A,B");
}

#[tokio::test]
async fn a_long_chain_backwards_is_one_plan() {
    let world = World::auto();
    for number in 1..200 {
        let text = format!("-- dunlin: after data {}\nSELECT {number};", number + 1);
        world.data(&format!("{number}_x.sql"), &text);
    }
    world.data("200_x.sql", "SELECT 200;");
    let steps = world.plan().await.steps;
    let versions: Vec<i64> = steps.iter().map(|step| step.migration.id.version.get()).collect();
    assert_eq!(versions, (1..=200).rev().collect::<Vec<i64>>());
    let scope = Scope::Migrate { to: None, step_count: Some(3) };
    let report = world.forward(scope).await.unwrap();
    assert_eq!(finished(&report), ["data 200", "data 199", "data 198"]);
    let scope = Scope::Data {
        versions: vec![version(197), version(196)],
        step_count: None,
        background_only: false,
    };
    assert_eq!(finished(&world.forward(scope).await.unwrap()), ["data 197", "data 196"]);
}

#[tokio::test]
async fn what_a_failure_passes_over_is_not_late_when_its_gate_opens() {
    let mut world = World::auto();
    world.policy.out_of_order = dunlin::model::OutOfOrder::Error;
    world
        .schema("1_posts.sql", POSTS)
        .data("2_above.sql", "-- dunlin: after data 4\nSELECT 1;")
        .data("3_after.sql", "-- dunlin: after data 2\nSELECT 1;")
        .data("4_fill.sql", "UPDATE posts SET nowhere = 1;")
        .data("5_more.sql", "-- dunlin: after 1\nDELETE FROM tags;");
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1", "data 5"]);
    assert_eq!(held(&report), ["data 2", "data 3"]);
    world.data("4_fill.sql", FILL);
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["data 4", "data 2", "data 3"]);
    assert!(report.notices.is_empty());
}

#[tokio::test]
async fn a_person_s_skip_opens_no_gate_and_retiring_does() {
    let world = World::manual();
    contract(&world);
    world.migrate().await;
    let skip = Amendment::Skip { version: version(2), because: "late".into() };
    world.amend(skip).await.unwrap();
    let report = world.migrate().await;
    assert!(matches!(
        &report.held[0].waits_for[..],
        [WaitsFor::DataBeforeDestruction { skipped_by_person: true, .. }]
    ));
    let retire = Amendment::Retire { version: version(2), because: Some("by hand".into()) };
    world.amend(retire).await.unwrap();
    assert_eq!(finished(&world.migrate().await), ["schema 3"]);
}

#[tokio::test]
async fn skipped_by_environment_opens_the_gate() {
    let mut world = World::auto();
    world.policy.data = DataMode::Skip;
    world.policy.environment = Some("ci".into());
    contract(&world);
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 1", "data 2", "schema 3"]);
    assert_eq!(report.finished[1].skipped.as_deref(), Some("data = \"skip\" in ci"));
    assert_eq!(world.status().await[1], "data 2 skipped");
}

#[tokio::test]
async fn what_one_environment_skips_is_not_done_for_another() {
    let mut world = World::auto();
    world.policy.data = DataMode::Skip;
    world.policy.environment = Some("ci".into());
    contract(&world);
    world.remove("migrations/3_drop.sql");
    world.migrate().await;
    assert_eq!(world.status().await[1], "data 2 skipped");
    world.schema("3_drop.sql", DROP);

    world.policy.data = DataMode::Manual;
    world.policy.environment = Some("staging".into());
    assert_eq!(world.status().await[1], "data 2 pending");
    let report = world.migrate().await;
    assert_eq!((finished(&report), held(&report)), (Vec::new(), vec!["schema 3".to_owned()]));
    let waits = &report.held[0].waits_for[0];
    assert!(
        matches!(waits, WaitsFor::DataBeforeDestruction { skipped_by_person: false, .. }),
        "{waits:?}"
    );
    world.policy.data = DataMode::Auto;
    assert_eq!(finished(&world.migrate().await), ["data 2", "schema 3"]);
    assert_eq!(world.status().await[1], "data 2 done");
}

#[tokio::test]
async fn a_program_after_something_held_is_held_too() {
    let world = World::manual();
    contract(&world).program("4_tool.sh", "#!/bin/sh\ntrue\n");
    let report = world.migrate().await;
    assert_eq!(held(&report), ["schema 3", "data 4"]);
    let waits = &report.held[1].waits_for;
    assert!(matches!(&waits[..], [WaitsFor::Unparsed { held }] if *held == schema(3)));
}

#[tokio::test]
async fn the_printed_plan_is_the_executed_plan() {
    let world = World::auto();
    contract(&world).data("4_more.sql", "DELETE FROM tags;");
    let plan = world.plan().await;
    let planned: Vec<String> =
        plan.steps.iter().map(|step| step.migration.id.to_string()).collect();
    assert_eq!(planned, finished(&world.migrate().await));
}

#[tokio::test]
async fn what_was_passed_over_is_not_late_when_its_gate_opens() {
    let mut world = World::manual();
    world.policy.out_of_order = dunlin::model::OutOfOrder::Error;
    contract(&world).schema("5_other.sql", "ALTER TABLE tags ADD COLUMN n INTEGER;");
    assert_eq!(finished(&world.migrate().await), ["schema 1", "schema 5"]);
    world.run_data(&[]).await.unwrap();
    let report = world.migrate().await;
    assert_eq!(finished(&report), ["schema 3"]);
    assert!(report.notices.is_empty());
}

#[tokio::test]
async fn a_passed_over_file_that_goes_away_holds_nothing() {
    let world = World::manual();
    world
        .schema("1_posts.sql", POSTS)
        .data("2_fill.sql", FILL)
        .data("3_more.sql", "-- dunlin: after 1\nDELETE FROM tags;");
    world.migrate().await;
    world.run_data(&[3]).await.unwrap();
    world.remove("data_migrations/2_fill.sql").schema("4_drop.sql", DROP);
    assert_eq!(finished(&world.migrate().await), ["schema 4"]);
    assert_eq!(world.status().await, ["schema 1 up", "data 3 done", "schema 4 up"]);
}

#[tokio::test]
async fn an_environment_that_does_not_exist_opens_no_gate() {
    let mut world = World::auto();
    world.policy.environment = Some("production".to_owned());
    world.policy.environments = vec!["production".to_owned(), "staging".to_owned()];
    world
        .schema("1_posts.sql", POSTS)
        .data("2_fill.sql", &format!("-- dunlin: environments prodution\n{FILL}"))
        .schema("3_drop.sql", DROP);
    assert_eq!(rules(world.try_migrate().await.unwrap_err()), ["unknown-environment"]);
    world.data("2_fill.sql", &format!("-- dunlin: environments production\n{FILL}"));
    assert_eq!(finished(&world.migrate().await), ["schema 1", "data 2", "schema 3"]);
}

#[tokio::test]
async fn what_waits_for_itself_is_refused() {
    let one = World::auto();
    one.data("2_x.sql", "-- dunlin: after data 2\nSELECT 1;");
    assert_eq!(rules(one.try_migrate().await.unwrap_err()), ["circle"]);
    let two = World::auto();
    two.data("2_x.sql", "-- dunlin: after 3\nSELECT 1;")
        .data("3_x.sql", "-- dunlin: after data 2\nSELECT 1;")
        .data("4_x.sql", "-- dunlin: after data 3\nSELECT 1;");
    assert_eq!(rules(two.try_migrate().await.unwrap_err()), ["circle"]);
    let gate = World::auto();
    contract(&gate).data("2_fill.sql", &format!("-- dunlin: after 3\n{FILL}"));
    assert_eq!(rules(gate.try_migrate().await.unwrap_err()), ["circle"]);
}

#[tokio::test]
async fn one_that_a_person_skipped_is_not_silently_left_out_when_named() {
    let world = World::manual();
    contract(&world);
    world.migrate().await;
    let skip = Amendment::Skip { version: version(2), because: "no".to_owned() };
    world.amend(skip).await.unwrap();
    assert_eq!(rules(world.run_data(&[2]).await.unwrap_err()), ["skipped"]);
}
