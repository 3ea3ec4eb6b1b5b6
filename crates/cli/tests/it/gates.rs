//! What is held, for what, and what opens it.

use crate::project::{Project, snapshot, story};

fn with_a_drop() -> Project {
    let project = Project::with_posts();
    project.write("dunlin.toml", "[databases.app]\nurl = \"sqlite:app.db\"\n");
    project.write("migrations/4_drop_title.sql", "ALTER TABLE posts DROP COLUMN title;\n");
    project.write("migrations/5_add_to_posts.sql", "ALTER TABLE posts ADD COLUMN x text;\n");
    project.write("migrations/6_tags.sql", "CREATE TABLE tags (id integer);\n");
    project
}

#[test]
fn a_drop_is_held_until_the_data_is_moved() {
    let project = with_a_drop();
    let runs = [
        project.run("plan").exits(0),
        project.run("migrate").exits(0),
        project.run("status").exits(0),
        project.run("migrate --fail-if-held").exits(3),
        project.run("check").exits(3),
        project.run("data run 3").exits(0),
        project.run("migrate").exits(0),
        project.run("check").exits(0),
    ];
    snapshot!("held", project, story(&runs));
}

#[test]
fn skipped_by_a_person_opens_no_gate() {
    let project = with_a_drop();
    project.run("migrate").exits(0);
    let runs = [
        project.run_words(&["data", "skip", "3", "--because", "later"], &[]).exits(0),
        project.run("migrate").exits(0),
        project.run("data retire 3").exits(0),
        project.run("migrate").exits(0),
    ];
    snapshot!("held_skipped", project, story(&runs));
}

#[test]
fn a_requirement_and_its_independence() {
    let project = with_a_drop();
    project.write(
        "migrations/4_drop_title.sql",
        "-- dunlin: independent-of data 3\nALTER TABLE posts DROP COLUMN views;\n",
    );
    project.write(
        "migrations/6_tags.sql",
        "-- dunlin: requires data 3\nCREATE TABLE tags (id integer);\n",
    );
    snapshot!("held_requires", project, project.run("migrate").exits(0).all());
}

#[test]
fn environments_and_their_modes() {
    let project = Project::with_posts();
    project.write(
        "dunlin.toml",
        "[databases.app]\nurl = \"sqlite:app.db\"\n[environments.dev]\ndata = \"skip\"\n[environments.live]\n",
    );
    project.write("data_migrations/4_live.sql", "-- dunlin: environments live\nSELECT 1;\n");
    project.write(
        "data_migrations/5_off.sql",
        "-- dunlin: disabled \"the API is not there yet\"\nSELECT 1;\n",
    );
    let runs = [
        project.run("migrate --env live").exits(0),
        project.run("migrate --env dev").exits(0),
        project.run("status --env dev").exits(0),
        project.run("status --env prod").exits(2),
    ];
    snapshot!("environments", project, story(&runs));
}
