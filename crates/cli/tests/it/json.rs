//! `--json`: one document on stdout, whatever happens.

use serde_json::Value;

use crate::project::{Project, Ran, snapshot, story};

fn document(run: &Ran) -> Value {
    serde_json::from_str(&run.stdout()).unwrap_or_else(|error| panic!("{error}\n{}", run.all()))
}

#[test]
fn each_command_prints_one_document_with_its_exit_code() {
    let project = Project::with_posts();
    let mut runs = Vec::new();
    for words in [
        "status",
        "plan",
        "check",
        "check --data 3",
        "migrate --dry-run",
        "migrate",
        "migrate",
        "status",
        "check",
        "rollback --step 1 --dry-run",
        "rollback --step 1 --yes",
        "data run --dry-run",
        "redo --yes",
        "migrate",
        "data status",
        "data rerun 3",
        "data retire 3",
        "baseline --to 2 --yes",
        "wait --timeout 1s",
        "create",
        "accept 99 --because x",
        "rollback --step 1",
        "status --env nope",
        "drop --yes",
        "reset --yes",
    ] {
        let run = project.run(&format!("{words} --json"));
        let document = document(&run);
        assert_eq!(document["exit_code"], run.code(), "{}", run.all());
        let plan = &document["databases"][0]["plan"];
        if plan.is_null() {
            runs.push(run);
        } else {
            // A plan holds all that planning knows: its text would change with every bit of it.
            assert!(plan["steps"].is_array() && plan["held"].is_array(), "{}", run.all());
        }
    }
    snapshot!("json", project, story(&runs));
}

#[test]
fn failures_are_in_the_document() {
    let project = Project::with_posts();
    project.write("migrations/4_more.up.sql", "ALTER TABLE postz ADD COLUMN x text;\n");
    let failed = project.run("migrate --json").exits(1);
    assert_eq!(document(&failed)["exit_code"], 1);
    project.write("migrations/2_add_slug.up.sql", "ALTER TABLE posts ADD COLUMN y text;\n");
    let drift = project.run("migrate --json").exits(4);
    let check = project.run("check --json").exits(4);
    snapshot!("json_failures", project, story(&[failed, drift, check]));
}
