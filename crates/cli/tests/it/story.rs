//! `demo`.

use crate::project::{Project, snapshot, story};

#[test]
fn the_demo_tells_its_story_and_can_be_played_with() {
    let project = Project::empty();
    let told = project.run("demo").exits(0);
    let text = told.stdout();
    assert_eq!(text.matches("  right  ").count(), 2, "{text}");
    assert!(text.lines().count() <= 32, "{text}");
    // Three leases or two: who died is told once.
    let program = env!("CARGO_BIN_EXE_dunlin");
    let text = text.replace(program, "[PROGRAM]");
    let text: String = text
        .lines()
        .map(|line| match line.split_once("took over from process ") {
            Some((start, _)) => format!("{start}took over from process [PID]\n"),
            None => format!("{line}\n"),
        })
        .collect();
    snapshot!("demo", project, text);
    project.run("demo").exits(0);
    let folder = project.path("demo-app/dunlin.toml");
    let config = folder.to_str().expect("UTF-8");
    let play = [
        project.run(&format!("rollback --to 20260105090000 --dry-run --config {config}")).exits(0),
        project.run(&format!("data rerun 20260112102000 --config {config}")).exits(0),
        project.run(&format!("check --config {config}")).exits(0),
    ];
    snapshot!("demo_play", project, story(&play));
}

#[test]
fn the_demo_keeps_away_from_what_is_not_its_own() {
    let project = Project::new();
    let refused = project.run("demo .").exits(2);
    let json = project.run("demo --json").exits(2);
    assert_eq!(project.list(""), ["data_migrations", "dunlin.toml", "migrations"]);
    snapshot!("demo_refused", project, story(&[refused, json]));
}
