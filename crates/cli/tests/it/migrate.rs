//! `status`, `plan`, `migrate`, `check`, `rollback`, `redo`, `data`, `baseline`, `wait`, `create`.

use crate::project::{CREATE_POSTS, Project, snapshot, story};

#[test]
fn from_nothing_to_done_and_nothing_to_do() {
    let project = Project::with_posts();
    let runs = [
        project.run("status").exits(0),
        project.run("plan").exits(0),
        project.run("check").exits(3),
        project.run("check --schema-only").exits(3),
        project.run("check --data 3").exits(3),
        project.run("migrate --dry-run").exits(0),
    ];
    assert!(!project.path("app.db").exists(), "looking creates nothing");
    snapshot!("before", project, story(&runs));
    let runs = [
        project.run("migrate").exits(0),
        project.run("migrate").exits(0),
        project.run("status").exits(0),
        project.run("plan").exits(0),
        project.run("check").exits(0),
        project.run("check --data 3").exits(0),
        project.run("wait --migrated --timeout 1s").exits(0),
    ];
    snapshot!("after", project, story(&runs));
}

#[test]
fn no_configuration_is_needed() {
    let project = Project::empty();
    project.write("db/1_create_posts.sql", CREATE_POSTS);
    let runs = [
        project.run("migrate --database-url sqlite:app.db --migrations db").exits(0),
        project.run_with("status --migrations db", &[("DATABASE_URL", "sqlite:app.db")]).exits(0),
    ];
    snapshot!("no_configuration", project, story(&runs));
}

#[test]
fn a_few_at_a_time() {
    let project = Project::with_posts();
    let runs = [
        project.run("migrate --step 1").exits(0),
        project.run("migrate --to 2").exits(0),
        project.run("migrate --step 0").exits(2),
        project.run("rollback --step 0").exits(2),
        project.run("data run --step 0").exits(2),
        project.run("migrate").exits(0),
    ];
    snapshot!("few", project, story(&runs));
}

#[test]
fn there_and_back() {
    let project = Project::with_posts();
    project.run("migrate").exits(0);
    let runs = [
        project.run("rollback --step 1").exits(2),
        project.run("rollback --to 1 --dry-run").exits(0),
        project.run("rollback --to 1 --yes").exits(0),
        project.run("status").exits(0),
        project.run("migrate").exits(0),
        project.run("redo --yes").exits(0),
        project.run("migrate").exits(0),
        project.run("rollback --through 1 --yes").exits(0),
        project.run("rollback --step 1 --yes").exits(0),
        project.run("rollback").exits(2),
        project.run("rollback --to 1 --step 1").exits(2),
    ];
    snapshot!("rollback", project, story(&runs));
}

#[test]
fn no_way_down_is_refused_before_anything_is_touched() {
    let project = Project::with_posts();
    project.remove("migrations/1_create_posts.down.sql");
    project.run("migrate").exits(0);
    let refused = project.run("rollback --to 0 --yes").exits(2);
    project.run("check").exits(0);
    snapshot!("rollback_no_down", project, refused.all());
}

#[test]
fn data_migrations_by_hand() {
    let project = Project::with_posts();
    project.write("dunlin.toml", "[databases.app]\nurl = \"sqlite:app.db\"\n");
    project.write("data_migrations/4_views.sql", "UPDATE posts SET views = views * 2 + 1;\n");
    project.write("data_migrations/5_old.sql", "-- dunlin: manual\nSELECT 1;\n");
    let runs = [
        project.run("migrate").exits(0),
        project.run("check").exits(3),
        project.run("data run --dry-run").exits(0),
        project.run("data run 4").exits(0),
        project.run("data skip 3").exits(2),
        project.run_words(&["data", "skip", "3", "--because", "not here"], &[]).exits(0),
        project.run("data rerun 4").exits(0),
        project.run("data status").exits(0),
        project.run("data run 9").exits(2),
        project.run("data run x").exits(2),
    ];
    snapshot!("data", project, story(&runs));
    let runs = [
        project.run_words(&["data", "retire", "4", "--because", "long done"], &[]).exits(0),
        project.run("data retire 4").exits(0),
    ];
    let retired = project.read("data_migrations/retired.toml");
    project.remove("data_migrations/4_views.sql");
    let status = project.run("data status").exits(0);
    snapshot!("retire", project, format!("{}\n{retired}\n{}", story(&runs), status.all()));
}

#[test]
fn coming_in_late() {
    let project = Project::with_posts();
    let runs = [
        project.run("baseline --to 2").exits(2),
        project.run("baseline --to 2 --yes").exits(0),
        project.run("status").exits(0),
        project.run("baseline --to 2 --yes").exits(0),
    ];
    snapshot!("baseline", project, story(&runs));
}

#[test]
fn the_database_itself() {
    let project = Project::with_posts();
    let runs = [
        project.run("create").exits(0),
        project.run("create").exits(0),
        project.run("reset").exits(2),
        project.run("reset --yes").exits(0),
        project.run("drop --yes").exits(0),
        project.run("drop --yes").exits(0),
    ];
    assert!(!project.path("app.db").exists());
    snapshot!("database", project, story(&runs));
}

#[test]
fn several_databases() {
    let project = Project::empty();
    project.write(
        "dunlin.toml",
        "[databases.one]\nurl = \"sqlite:one.db\"\n[databases.two]\nurl = \"sqlite:two.db\"\n",
    );
    project.write("migrations/one/1_a.up.sql", "CREATE TABLE a (id integer);\n");
    project.write("migrations/one/1_a.down.sql", "DROP TABLE a;\n");
    project.write("migrations/two/1_b.sql", "CREATE TABLE b (id integer);\n");
    let runs = [
        project.run("migrate --database two").exits(0),
        project.run("check").exits(3),
        project.run("migrate").exits(0),
        project.run("rollback --step 1 --yes").exits(2),
        project.run("rollback --step 1 --yes --database one").exits(0),
        project.run("status --database three").exits(2),
        project.run("status --database-url sqlite:x.db --config dunlin.toml").exits(2),
    ];
    snapshot!("several", project, story(&runs));
}

#[test]
fn programs() {
    let project = Project::with_posts();
    project.write_program(
        "data_migrations/4_hello.sh",
        "#!/bin/sh\n# dunlin: keep-output\necho \"$DUNLIN_VERSION $DUNLIN_ENV $DUNLIN_DATABASE_URL\"\n",
    );
    project.write_program("data_migrations/5_fails.sh", "#!/bin/sh\nexit 7\n");
    project
        .write("data_migrations/6_none.toml", "[program]\ncommand = [\"no-such-program-here\"]\n");
    let runs = [project.run("migrate").exits(1), project.run("data status").exits(0)];
    snapshot!("programs", project, story(&runs));
}
