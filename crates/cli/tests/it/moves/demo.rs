use crate::project::{Project, snapshot, story};

#[test]
fn the_demo_tells_its_story_and_can_be_played_with() {
    let project = Project::empty();
    let told = project.run("demo move").exits(0);
    let text = told.stdout();
    assert_eq!(text.matches("  right  ").count(), 3, "{text}");
    assert!(text.lines().count() <= 48, "{text}");
    let text = text.replace(env!("CARGO_BIN_EXE_dunlin"), "[PROGRAM]");
    snapshot!("demo_move", project, text);
    // Again, over what it left.
    project.run("demo move").exits(0);
    project.run("demo move --folder elsewhere").exits(0);
    let config = "--config elsewhere/dunlin.toml";
    project.run(&format!("move ids show shop customer 500 {config}")).exits(0);
    project.run(&format!("move finish shop {config}")).exits(0);
    project.run(&format!("move run shop {config}")).exits(2);
}

#[test]
fn the_demo_keeps_away_from_what_is_not_its_own() {
    let project = Project::new();
    let refused = project.run("demo move --folder .").exits(2);
    let json = project.run("demo move --json").exits(2);
    assert_eq!(project.list(""), ["data_migrations", "dunlin.toml", "migrations"]);
    snapshot!("demo_move_refused", project, story(&[refused, json]));
}
