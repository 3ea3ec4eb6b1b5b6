//! Files that were edited, came late, or are gone.

use crate::project::{Project, snapshot, story};

#[test]
fn an_edited_file_stops_everything_until_it_is_accepted() {
    let project = Project::with_posts();
    project.run("migrate").exits(0);
    project.write("migrations/2_add_slug.up.sql", "ALTER TABLE posts ADD COLUMN slug varchar;\n");
    let runs = [
        project.run("status").exits(4),
        project.run("check").exits(4),
        project.run("migrate").exits(4),
        project.run("accept 2").exits(2),
        project.run_words(&["accept", "2", "--because", "same type"], &[]).exits(0),
        project.run("migrate").exits(0),
        project.run("status").exits(0),
    ];
    snapshot!("drift", project, story(&runs));
}

#[test]
fn comments_and_line_ends_are_no_drift() {
    let project = Project::with_posts();
    project.run("migrate").exits(0);
    project.write(
        "migrations/2_add_slug.up.sql",
        "-- Why.\r\nALTER TABLE posts ADD COLUMN slug text;\r\n",
    );
    project.run("check").exits(0);
}

#[test]
fn a_late_file_runs_with_a_notice_or_not_at_all() {
    let project = Project::with_posts();
    project.write("migrations/7_new.sql", "CREATE TABLE new (id integer);\n");
    project.run("migrate").exits(0);
    project.write("migrations/5_late.sql", "CREATE TABLE late (id integer);\n");
    let settings = project.read("dunlin.toml");
    project.write("dunlin.toml", &format!("out_of_order = \"error\"\n{settings}"));
    let refused = project.run("migrate").exits(2);
    project.write("dunlin.toml", &settings);
    let ran = project.run("migrate").exits(0);
    project.remove("migrations/5_late.sql");
    let missing = project.run("status").exits(0);
    snapshot!("late", project, story(&[refused, ran, missing]));
}
