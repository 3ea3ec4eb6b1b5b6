//! `init` and `new`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use crate::project::{Project, snapshot, story};

#[test]
fn init_writes_a_project_that_runs_and_overwrites_nothing() {
    let project = Project::empty();
    project.write("data_migrations/README.md", "ours\n");
    let first = project.run("init").exits(0);
    let again = project.run("init").exits(0);
    assert_eq!(project.read("data_migrations/README.md"), "ours\n");
    snapshot!("init", project, story(&[first, again]));
    snapshot!("init_toml", project, project.read("dunlin.toml"));
    project.run("new schema create_posts").exits(0);
    project.run("new data fill_posts").exits(0);
    let url = [("DATABASE_URL", "sqlite:app.db")];
    project.run_with("migrate --env development", &url).exits(0);
    project.run_with("check --env development", &url).exits(0);
    let refused = project.run_with("drop --yes --env production", &url).exits(2);
    assert!(refused.stderr().contains("protected"), "{}", refused.stderr());
}

#[test]
fn init_elsewhere_and_with_a_url() {
    let project = Project::empty();
    let runs = [
        project.run("init shop --database-url sqlite:shop.db --database shop").exits(0),
        project.run("init other --database-url postgres://u:secret@h/d").exits(2),
        project.run("init other --database-url postgress://h/d").exits(2),
        project.run("init other --migrations db").exits(2),
        project.run("init json --json").exits(0),
    ];
    let toml = project.read("shop/dunlin.toml");
    assert!(
        toml.contains("[databases.shop]") && toml.contains("url = \"sqlite:shop.db\""),
        "{toml}"
    );
    assert!(!project.path("other").exists());
    snapshot!("init_elsewhere", project, story(&runs));
}

#[test]
fn init_beside_rails_leaves_the_schema_to_it() {
    let project = Project::empty();
    project.write("config/application.rb", "");
    project.write("db/migrate/20260101000000_create_posts.rb", "");
    let ran = project.run("init").exits(0);
    assert!(project.read("dunlin.toml").contains("\nschema_history = \"rails\"\n"));
    assert!(!project.path("migrations").exists());
    let refused = project.run("new schema add_slug").exits(2);
    let data = project.run("new data fill_slug --program rails").exits(0);
    assert!(data.stdout().ends_with("_fill_slug.toml\n"));
    snapshot!("init_rails", project, story(&[ran, refused]));
}

#[test]
fn new_prints_paths_of_files_that_run_as_they_are() {
    let project = Project::new();
    let runs = [
        project.run("new schema create_posts").exits(0),
        project.run_words(&["new", "data", "fill in slugs"], &[]).exits(0),
        project.run("new data send_mail --program sh").exits(0),
        project.run("new data sync --program python").exits(0),
    ];
    snapshot!("new", project, story(&runs));
    let paths: Vec<String> = runs
        .iter()
        .flat_map(|run| run.stdout().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for path in &paths {
        let mode = project.path(path).metadata().expect(path).permissions().mode();
        let program = !path.ends_with(".sql");
        assert_eq!(mode & 0o100 != 0, program, "{path}");
    }
    let data = project.read(&paths[2]);
    let schema_version = paths[0].trim_start_matches("migrations/").split('_').next().expect("one");
    assert!(data.contains(&format!("-- dunlin: after {schema_version}\n")), "{data}");
    project.run("migrate").exits(0);
    project.run("check").exits(0);
    project.run("rollback --step 1 --yes").exits(0);
    let versions: BTreeSet<&str> = paths
        .iter()
        .filter_map(|path| path.split(['/', '_']).find(|part| part.starts_with('2')))
        .collect();
    assert_eq!((paths.len(), versions.len()), (5, 4), "up and down share a version: {paths:?}");
}

#[test]
fn new_versions_are_above_every_other() {
    let project = Project::new();
    project.write("migrations/29991231235959_far.sql", "");
    let path = project.run("new data next").exits(0).stdout();
    assert_eq!(path, "data_migrations/30000101000000_next.sql\n");
    let document = project.run("new schema more --json").exits(0).stdout();
    let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(document["version"], 30_000_101_000_001_i64);
    assert_eq!(document["files"].as_array().map(Vec::len), Some(2));
}

#[test]
fn new_needs_neither_settings_nor_a_database() {
    let project = Project::empty();
    let path = project.run("new schema a --migrations db/schema").exits(0).stdout();
    assert!(path.starts_with("db/schema/"), "{path}");
    project.run("new data b").exits(0);
    assert_eq!(project.list("data_migrations").len(), 1);
    project.write("dunlin.toml", "[databases.one]\nurl = \"${NOT_SET}\"\n[databases.two]\n");
    project.run("new schema c --database one").exits(0);
    assert_eq!(project.list("migrations/one").len(), 2);
}

#[test]
fn new_refuses_what_is_no_name() {
    let project = Project::new();
    let mut runs = Vec::new();
    for name in ["AddPublishedAt", "../escape", "naïve", "", "a;b"] {
        runs.push(project.run_words(&["new", "schema", name], &[]).exits(2));
    }
    runs.push(project.run("new data x --program cobol").exits(2));
    runs.push(project.run("new move x").exits(2));
    project.write("dunlin.toml", "[databases.one]\n[databases.two]\n");
    runs.push(project.run("new schema x").exits(2));
    runs.push(project.run("new schema x --database three").exits(2));
    snapshot!("new_refused", project, story(&runs));
    assert_eq!(project.list("migrations"), ["README.md"]);
}
