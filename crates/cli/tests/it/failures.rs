//! A migration that fails: what, where, what is kept, and what goes on.

use crate::project::{Project, snapshot, story};

#[test]
fn a_statement_fails_and_its_file_is_rolled_back() {
    let project = Project::with_posts();
    project.write(
        "migrations/4_more.up.sql",
        "CREATE TABLE tags (id integer);\n\n-- A typo.\nALTER TABLE postz\n  ADD COLUMN x text;\n",
    );
    let failed = project.run("migrate").exits(1);
    let status = project.run("status").exits(0);
    project.write("migrations/4_more.up.sql", "ALTER TABLE posts ADD COLUMN x text;\n");
    let again = project.run("migrate").exits(0);
    snapshot!("failed", project, story(&[failed, status, again]));
}

#[test]
fn a_syntax_error_points_to_its_column() {
    let project = Project::with_posts();
    project.write("data_migrations/4_typo.sql", "UPDATE posts\n  SET slug = 'x'\n  WHER id = 1;\n");
    project.write("data_migrations/5_after.sql", "-- dunlin: after data 4\nSELECT 1;\n");
    project.write("data_migrations/6_free.sql", "UPDATE posts SET views = 0;\n");
    snapshot!("failed_data", project, project.run("migrate").exits(1).all());
}

#[test]
fn row_values_are_not_told() {
    let project = Project::with_posts();
    project.write(
        "data_migrations/4_unique.sql",
        "INSERT INTO posts (id, title) SELECT id, 'secret-value' FROM posts;\n",
    );
    let failed = project.run("migrate").exits(1);
    let server: Vec<String> =
        failed.stderr().lines().filter(|line| line.contains("server")).map(str::to_owned).collect();
    assert!(!server.is_empty() && !server.join("").contains("secret"), "{server:?}");
}

#[test]
fn one_statement_after_the_other_goes_on_where_it_stopped() {
    let project = Project::new();
    let text = "-- dunlin: no-transaction\nCREATE TABLE a (id integer);\nCREATE TABLE b (id integr primary key) strict;\nCREATE TABLE c (id integer);\n";
    project.write("migrations/1_steps.sql", text);
    let failed = project.run("migrate").exits(1);
    let status = project.run("status").exits(0);
    project.write("migrations/1_steps.sql", &text.replace("integr ", "integer "));
    let plan = project.run("plan").exits(0);
    let again = project.run("migrate").exits(0);
    snapshot!("failed_steps", project, story(&[failed, status, plan, again]));
}

#[test]
fn a_rehearsal_that_fails_exits_so() {
    let project = Project::with_posts();
    project.run("migrate").exits(0);
    project.write("data_migrations/4_bad.sql", "UPDATE nowhere SET x = 1;\n");
    project.run("data run --dry-run").exits(1);
}

#[test]
fn a_redo_that_is_held_half_way_is_not_done() {
    let project = Project::with_posts();
    project.write("dunlin.toml", "[databases.app]\nurl = \"sqlite:app.db\"\n");
    project.write("migrations/4_x.up.sql", "ALTER TABLE posts DROP COLUMN title;\n");
    project.write("migrations/4_x.down.sql", "ALTER TABLE posts ADD COLUMN title text;\n");
    project.run("migrate --with-data").exits(0);
    project.run("redo --yes").exits(0);
    project.write("data_migrations/2_late.sql", "UPDATE posts SET views = 0;\n");
    let held = project.run("redo --yes").exits(3);
    assert!(held.stderr().contains("schema 4 is undone and not redone"), "{}", held.stderr());
}
