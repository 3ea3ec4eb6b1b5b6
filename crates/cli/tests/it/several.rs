//! Several databases: what one of them does not take from the others.

use serde_json::Value;

use crate::project::{CREATE_POSTS, Project, Ran, snapshot, story};
use crate::survive::world::wait_for;

/// Three databases: one that is there, one that nothing listens for, one that is there.
fn with_one_unreachable() -> Project {
    let project = Project::empty();
    project.write(
        "dunlin.toml",
        "data = \"auto\"\n\
         [databases.one]\nurl = \"sqlite:one.db\"\n\
         [databases.two]\nurl = \"postgres://nobody@127.0.0.1:1/two\"\n\
         [databases.three]\nurl = \"sqlite:three.db\"\n",
    );
    for name in ["one", "two", "three"] {
        project.write(&format!("migrations/{name}/1_create_posts.sql"), CREATE_POSTS);
        project.write(
            &format!("data_migrations/{name}/2_double.sql"),
            "UPDATE posts SET views = views * 2;\n",
        );
    }
    project
}

fn document(run: &Ran) -> Value {
    serde_json::from_str(&run.stdout()).unwrap_or_else(|error| panic!("{error}\n{}", run.all()))
}

fn names(document: &Value) -> Vec<&str> {
    let databases = document["databases"].as_array().expect("databases");
    databases.iter().filter_map(|one| one["database"].as_str()).collect()
}

#[test]
fn what_was_done_before_one_fails_is_told() {
    let project = with_one_unreachable();
    let run = project.run("migrate --json").exits(1);
    let document = document(&run);
    assert_eq!(names(&document), ["one", "two"], "{document:#}");
    assert_eq!(document["exit_code"], 1);
    let [one, two] = [&document["databases"][0], &document["databases"][1]];
    assert_eq!(one["finished"].as_array().map(Vec::len), Some(2), "{document:#}");
    assert!(one.get("error").is_none(), "{document:#}");
    assert_eq!(two["finished"].as_array().map(Vec::len), Some(0), "{document:#}");
    assert_eq!(two["error"]["kind"], "database");
    assert!(two["error"]["message"].is_string() && two["error"].get("code").is_some());
    assert_eq!(document["error"], two["error"]);

    let again = project.run("migrate").exits(1);
    snapshot!("several_unreachable", project, story(&[again]));
    let data = project.run("data run --json").exits(1);
    assert_eq!(names(&self::document(&data)), ["one", "two"]);
}

/// A program that says that it is at work, and goes on when it is told to.
const PATIENT: &str = "#!/bin/sh\n# dunlin: after 1\n: > at_work\n\
     until test -e go_on; do sleep 0.05; done\n";

#[test]
fn what_was_done_before_a_person_stops_it_is_told() {
    let project = Project::empty();
    project.write(
        "dunlin.toml",
        "data = \"auto\"\n[databases.one]\nurl = \"sqlite:one.db\"\n\
         [databases.two]\nurl = \"sqlite:two.db\"\n",
    );
    for name in ["one", "two"] {
        project.write(&format!("migrations/{name}/1_create_posts.sql"), CREATE_POSTS);
    }
    project.write_program("data_migrations/two/2_patient.sh", PATIENT);
    let run = project.start("migrate --json");
    wait_for("the program is at work", || project.path("at_work").exists());
    run.terminate();
    let run = run.end().exits(7);
    let document = document(&run);
    assert_eq!(names(&document), ["one", "two"], "{document:#}");
    let finished = |index: usize| document["databases"][index]["finished"].as_array().map(Vec::len);
    assert_eq!((finished(0), finished(1)), (Some(1), Some(1)), "{document:#}");
    assert_eq!(document["databases"][1]["interrupted"], true);
    assert_eq!(document["exit_code"], 7);
}

#[test]
fn what_was_done_before_a_lease_was_held_is_told() {
    let project = Project::new();
    project.write("migrations/1_create_posts.sql", CREATE_POSTS);
    project.run("migrate").exits(0);
    project.write_program("data_migrations/3_patient.sh", PATIENT);
    let at_work = project.start("data run");
    wait_for("the program is at work", || project.path("at_work").exists());
    project.write("migrations/2_more.sql", "CREATE TABLE more (id integer);\n");
    let run = project.run("migrate --lease-wait 1ms --json").exits(5);
    let document = document(&run);
    let database = &document["databases"][0];
    assert_eq!(database["finished"][0]["version"], 2, "{document:#}");
    assert_eq!(database["error"]["kind"], "lease-held", "{document:#}");
    let again = project.run("migrate --lease-wait 1ms").exits(5);
    assert!(again.stderr().contains("nothing was changed"), "{}", again.all());
    project.write("go_on", "");
    at_work.end().exits(0);
    project.run("migrate").exits(0);
    project.run("check").exits(0);
}

#[test]
fn looking_creates_no_database() {
    let project = Project::with_posts();
    for (words, code) in [
        ("data run --dry-run", 0),
        ("data run 3 --dry-run", 0),
        ("rollback --to 1 --dry-run", 2),
        ("rollback --step 1 --yes", 0),
        ("redo --yes", 0),
        ("data skip 99 --because x", 2),
        ("data rerun 99", 2),
        ("data retire 3", 2),
        ("accept 2 --because x", 2),
        ("settle 2 did-not", 2),
        ("baseline --to 99 --yes", 2),
        ("baseline --to 2", 2),
        ("data status", 0),
        ("wait --timeout 1ms", 1),
    ] {
        project.run(words).exits(code);
        assert!(!project.path("app.db").exists(), "{words}");
    }
}

#[test]
fn retiring_again_changes_the_reason() {
    let project = Project::with_posts();
    project.run("migrate").exits(0);
    project.run("data retire 3 --because old").exits(0);
    project.run("data retire 3 --because new").exits(0);
    project.run("data retire 3").exits(0);
    let file = project.read("data_migrations/retired.toml");
    assert!(file.contains("because = \"new\"") && !file.contains("old"), "{file}");
    assert!(project.run("data status").exits(0).stdout().contains("new"));
}

#[test]
fn commands_that_look_look_at_all() {
    let project = with_one_unreachable();
    for (words, worst) in [
        ("status", 1),
        ("plan", 1),
        ("check", 1),
        ("check --data 2", 1),
        ("migrate --dry-run", 1),
        ("data run --dry-run", 1),
        ("wait --timeout 1ms", 1),
        ("wait --timeout 1ms --migrated", 1),
    ] {
        let run = project.run(&format!("{words} --json")).exits(worst);
        let document = document(&run);
        assert_eq!(document["exit_code"], worst, "{words}: {document:#}");
        assert_eq!(names(&document), ["one", "two", "three"], "{words}: {document:#}");
    }
    let text = project.run("check").exits(1).stderr();
    assert!(text.contains("one: schema 1") && text.contains("three: schema 1"), "{text}");
    project.run("check --database one").exits(3);
}

#[test]
fn the_worst_of_all_decides() {
    let project = Project::empty();
    project.write(
        "dunlin.toml",
        "[databases.drifted]\nurl = \"sqlite:a.db\"\n[databases.pending]\nurl = \"sqlite:b.db\"\n\
         [databases.refused]\nurl = \"sqlite:c.db\"\n",
    );
    for name in ["drifted", "pending", "refused"] {
        project.write(&format!("migrations/{name}/1_create_posts.sql"), CREATE_POSTS);
    }
    project.run("migrate").exits(0);
    project.write("migrations/pending/2_more.sql", "CREATE TABLE more (id integer);\n");
    project.run("check").exits(3);
    project.write("migrations/drifted/1_create_posts.sql", "CREATE TABLE others (id integer);\n");
    project.run("check").exits(4);
    project.write("migrations/refused/2_more.sql", "-- dunlin: after 77\nSELECT 1;\n");
    let run = project.run("check --json").exits(2);
    let document = document(&run);
    assert_eq!(names(&document), ["drifted", "pending", "refused"]);
    assert_eq!(document["databases"][2]["error"]["kind"], "diagnostics");
    assert_eq!(document["error"], document["databases"][2]["error"]);
    project.run("status").exits(2);
}

#[test]
fn waiting_does_not_wait_for_what_no_run_would_do() {
    let project = Project::with_posts();
    project.write("migrations/4_more.up.sql", "-- dunlin: after 77\nSELECT 1;\n");
    // An hour: were it waited for, the test would not end.
    let run = project.run("wait --migrated --timeout 60min").exits(2);
    project.run("check").exits(2);
    project.write("migrations/4_more.up.sql", "-- dunlin: aftr 3\nSELECT 1;\n");
    let word = project.run("wait --migrated --timeout 60min --json").exits(2);
    assert_eq!(document(&word)["databases"][0]["ready"], false);
    project.remove("migrations/4_more.up.sql");
    project.run("migrate").exits(0);
    project.write("migrations/2_add_slug.up.sql", "ALTER TABLE posts ADD COLUMN y text;\n");
    let drifted = project.run("wait --migrated --timeout 60min").exits(4);
    // The database itself is fine.
    project.run("wait --timeout 60min").exits(0);
    snapshot!("wait_refused", project, story(&[run, word, drifted]));
}
