//! What the program says of itself.

use crate::project::{Project, snapshot, story};

#[test]
fn no_arguments_and_each_command() {
    let project = Project::empty();
    let mut runs = vec![project.run("").exits(2), project.run("--help").exits(0)];
    for words in [
        "init",
        "new",
        "new schema",
        "new data",
        "status",
        "plan",
        "check",
        "wait",
        "migrate",
        "rollback",
        "redo",
        "data",
        "data run",
        "data status",
        "data plan",
        "data pause",
        "data resume",
        "data cancel",
        "data set",
        "data quarantine",
        "data quarantine list",
        "data quarantine retry",
        "data quarantine discard",
        "data undo",
        "data skip",
        "data rerun",
        "data retire",
        "baseline",
        "accept",
        "settle",
        "create",
        "drop",
        "reset",
        "demo",
        "completions",
    ] {
        runs.push(project.run(&format!("{words} --help")).exits(0));
    }
    snapshot!("help", project, story(&runs));
}

#[test]
fn a_completion_script_for_every_shell() {
    let project = Project::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = project.run(&format!("completions {shell}")).exits(0).stdout();
        for word in ["rollback", "lease-wait", "retire"] {
            assert!(script.contains(word), "{shell} completes {word}");
        }
    }
    let wrong = project.run("completions tcsh").exits(2);
    assert!(wrong.stderr().contains("possible values"), "{}", wrong.stderr());
}

#[test]
fn the_reference_is_what_the_program_says() {
    let project = Project::empty();
    project.run("reference pages").exits(0);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    for page in project.list("pages") {
        let written = std::fs::read_to_string(folder.join(&page)).unwrap_or_default();
        let fresh = project.read(&format!("pages/{page}"));
        assert!(
            written == fresh,
            "docs/reference/{page} is old: cargo run -- reference docs/reference"
        );
    }
    assert_eq!(project.list("pages").len(), 5);
}

#[test]
fn a_closed_pipe_is_no_panic() {
    use std::process::{Command, Stdio};
    let project = Project::with_posts();
    let mut child = Command::new(env!("CARGO_BIN_EXE_dunlin"))
        .arg("status")
        .current_dir(project.path(""))
        .env_remove("DATABASE_URL")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ended");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.code().is_some());
}
