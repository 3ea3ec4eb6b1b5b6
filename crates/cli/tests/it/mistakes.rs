//! Wrong on purpose: each a message one would be glad to get.

use crate::project::{Project, snapshot, story};

#[test]
fn on_the_command_line() {
    let project = Project::with_posts();
    let mut runs = Vec::new();
    for words in [
        "migarte",
        "migrate --stpe 1",
        "migrate --to abc",
        "migrate --to 99999999999999999999",
        "migrate --step -1",
        "migrate --lease-wait 5",
        "migrate --lease-wait=-5s",
        "check --schema-only --data 3",
        "wait --schema-only",
        "check --data 77",
        "settle 1 maybe",
        "settle 1 took-effect",
        "accept 99 --because x",
        "data retire 99",
        "data rerun 3",
        "rollback --through 99 --yes",
        "baseline --to 99 --yes",
        "migrate --to 99",
        "--config nowhere.toml status",
    ] {
        runs.push(project.run(words));
    }
    snapshot!("mistakes_arguments", project, story(&runs));
    for run in runs {
        assert!(!run.stderr().contains("panicked"), "{}", run.stderr());
    }
}

#[test]
fn in_the_settings() {
    let project = Project::new();
    let mut runs = Vec::new();
    for text in [
        "[databases.app]\nurl = \"sqlite:app.db\"\nlock_timout = \"5s\"\n",
        "data = \"automatic\"\n[databases.app]\nurl = \"sqlite:app.db\"\n",
        "[databases.app]\nurl = \"${NOT_SET_ANYWHERE}\"\n",
        "[databases.app]\nurl = \"postgress://u:hunter2@h/d\"\n",
        "[databases.app\n",
        "[databases.app]\nurl = \"sqlite:app.db\"\nmigrations = \"nowhere\"\n",
        "[databases.app]\nlock_timeout = 5\n",
        "[databases.app]\nurl = \"sqlite:no/such/folder/app.db\"\n",
    ] {
        project.write("dunlin.toml", text);
        runs.push(project.run("status"));
        runs.push(project.run("migrate"));
    }
    let text = story(&runs);
    assert!(!text.contains("hunter2"));
    snapshot!("mistakes_settings", project, text);
}

#[test]
fn no_settings_at_all() {
    let project = Project::empty();
    let runs = [
        project.run("status").exits(2),
        project.run("migrate --database-url app.db").exits(2),
        project.run("migrate --database-url sqlite:app.db --migrations nowhere").exits(2),
        project.run("wait --timeout 0s --database-url sqlite:no/such/app.db").exits(1),
    ];
    snapshot!("mistakes_none", project, story(&runs));
}

#[test]
fn in_the_folders() {
    let project = Project::new();
    let clean = |files: &[&str]| files.iter().for_each(|file| project.remove(file));
    let mut runs = Vec::new();
    for files in [
        &[("migrations/nonsense.sql", "")][..],
        &[("migrations/1_a.sql", ""), ("migrations/1_b.sql", "")],
        &[("migrations/1_a.down.sql", "")],
        &[("migrations/1_a.py", "")],
        &[("data_migrations/1_a.py", "#!/usr/bin/env python3\n")],
        &[("migrations/1_a.sql", "-- dunlin: no-transction\nSELECT 1;\n")],
        &[("migrations/1_a.sql", "VACUUM;\n")],
        &[("migrations/1_a.sql", "BEGIN;\nSELECT 1;\n")],
        &[("migrations/1_a.sql", "SELECT 'never closed;\n")],
        &[("data_migrations/1_a.sql", "-- dunlin: after 9\nSELECT 1;\n")],
        &[("data_migrations/1_a.toml", "[program]\ncomand = [\"x\"]\n")],
    ] {
        for (file, text) in files {
            project.write(file, text);
        }
        runs.push(project.run("migrate"));
        clean(&files.iter().map(|(file, _)| *file).collect::<Vec<_>>());
    }
    snapshot!("mistakes_folders", project, story(&runs));
    for run in runs {
        assert!(run.code() == 2 || run.stderr().contains("held"), "{}", run.all());
    }
}

#[test]
fn a_file_that_is_no_database() {
    let project = Project::with_posts();
    project
        .write("app.db", "this is a text, and a rather long one, which no database begins with: ");
    let runs = [project.run("status").exits(1), project.run("migrate").exits(1)];
    snapshot!("mistakes_database", project, story(&runs));
}

/// What a reset would run is read before anything is dropped.
#[test]
fn a_reset_drops_nothing_for_files_that_are_wrong() {
    let project = Project::with_posts();
    project.run("migrate").exits(0);
    let before = project.run("status").exits(0).stdout();
    project.run("reset --yes --migrations nope").exits(2);
    project.write("migrations/20260109000000_text.up.sql", "INSERT INTO posts VALUES ('open;\n");
    project.run("reset --yes").exits(2);
    project.remove("migrations/20260109000000_text.up.sql");
    assert_eq!(project.run("status").exits(0).stdout(), before);
    project.run("reset --yes").exits(0);
}

#[test]
fn one_folder_is_not_for_both_kinds() {
    let project = Project::with_posts();
    let run = project.run("migrate --data-migrations ./migrations/../migrations").exits(2);
    assert!(run.stderr().contains("each of its files would run twice"), "{}", run.all());
}

/// A name that is no UTF-8 is told as well as it can be, also in documents.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_are_told() {
    use std::os::unix::ffi::OsStrExt;

    let project = Project::with_posts();
    let name = std::ffi::OsStr::from_bytes(b"migrations/20260109000000_\xff.up.sql");
    std::fs::write(project.path("").join(name), "SELECT 1;\n").expect("a file");
    for words in ["status", "status --json", "migrate --json", "plan --json"] {
        let run = project.run(words).exits(2);
        assert!(!run.stderr().contains("panicked"), "{}", run.all());
    }
}
