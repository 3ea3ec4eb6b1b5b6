//! Data migrations in chunks, as a person meets them.

use serde_json::Value;

use crate::project::{Project, Ran};

/// A table of 300 rows, and migrations over it; nothing of it has run but the table.
fn project() -> Project {
    let project = Project::new();
    project.write("dunlin.toml", "data = \"manual\"\n\n[databases.app]\nurl = \"sqlite:app.db\"\n");
    project.write(
        "migrations/1_posts.sql",
        "CREATE TABLE posts (id integer PRIMARY KEY, title text, slug text, \
         views integer CHECK (views < 5000));\n\
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)\n\
         INSERT INTO posts SELECT i, 'Title ' || i, NULL, i FROM n;\n",
    );
    project.write(
        "data_migrations/2_slugs.sql",
        "-- dunlin: chunk-by posts\n-- dunlin: background\n\
         -- dunlin: undo capture for 14 days\n\
         -- dunlin: done-when SELECT NOT EXISTS (SELECT 1 FROM posts WHERE slug IS NULL)\n\
         UPDATE posts SET slug = lower(title) WHERE slug IS NULL AND :chunk;\n",
    );
    project.write(
        "data_migrations/3_views.sql",
        "-- dunlin: chunk-by posts\n-- dunlin: on-error quarantine\n\
         UPDATE posts SET views = CASE WHEN id IN (7, 250) AND title = 'Title ' || id THEN 9999 \
         ELSE views * 2 END WHERE :chunk;\n",
    );
    project.write(
        "data_migrations/4_stops.sql",
        "-- dunlin: chunk-by posts\n\
         UPDATE posts SET views = CASE WHEN id = 123 THEN 9999 ELSE views END WHERE :chunk;\n",
    );
    project.write(
        "data_migrations/5_unproved.sql",
        "-- dunlin: chunk-by posts\n\
         -- dunlin: done-when SELECT count(*) = 0 FROM posts\n\
         UPDATE posts SET title = title WHERE :chunk;\n",
    );
    project.write("data_migrations/6_whole.sql", "UPDATE posts SET title = title;\n");
    project.run("migrate").exits(0);
    project
}

fn document(run: &Ran) -> Value {
    serde_json::from_str(&run.stdout()).unwrap_or_else(|error| panic!("{error}\n{}", run.all()))
}

#[track_caller]
fn says(run: &Ran, words: &str) {
    let text = format!("{}{}", run.stdout(), run.stderr());
    assert!(text.contains(words), "`{words}` is not in\n{}", run.all());
}

#[test]
fn background_is_left_to_its_worker_which_ends_when_nothing_is_left() {
    let project = project();
    let migrated = project.run("migrate --with-data --step 1").exits(6);
    says(&migrated, "in the background: `dunlin data run --background --until-idle`");
    says(&project.run("plan --with-data"), "in chunks over posts");
    let ran = project.run("data run --background --until-idle").exits(0);
    says(&ran, "over main.\"posts\" by id (index rowid), about 300 rows");
    says(&ran, "done     data 2 slugs");
    says(&ran, "300 rows");
    says(&project.run("data run --background --until-idle").exits(0), "left pending");
    let status = project.run("data status 2").exits(0);
    says(&status, "data 2 slugs: done");
    says(&status, "100%  300 rows");
    let json = document(&project.run("data status --json").exits(0));
    let backfill = &json["databases"][0]["backfills"][0];
    assert_eq!(backfill["state"], "done", "{backfill:#}");
    assert_eq!((&backfill["rows_done"], &backfill["percent"]), (&300.into(), &100.into()));
    assert_eq!(backfill["key"][0], "id");
}

#[test]
fn rows_in_quarantine_are_listed_tried_again_and_given_up() {
    let project = project();
    let ran = project.run("data run 3 --no-throttle").exits(6);
    says(&ran, "not done: data 3 views");
    says(&ran, "then: dunlin data quarantine retry 3");
    assert!(!ran.stderr().contains("[\"7\"]"), "keys are in no log:\n{}", ran.stderr());
    says(&project.run("data status 3"), "2 rows: `dunlin data quarantine list 3`");
    let listed = project.run("data quarantine list 3").exits(0);
    assert!(listed.stdout().starts_with("[\"7\"]  "), "{}", listed.all());
    assert_eq!(listed.stdout().lines().count(), 2);
    let json = document(&project.run("data quarantine list 3 --json").exits(0));
    assert_eq!(json["rows"][1]["key"], serde_json::json!(["250"]));

    says(&project.run("data quarantine retry 3").exits(6), "failed row with key [\"7\"]");
    project.run("data quarantine discard 3").exits(2);
    project.run("data quarantine discard 3 --all").exits(2);
    project.run("data quarantine discard 3 --key 7 --yes").exits(2);
    project
        .run_words(&["data", "quarantine", "discard", "3", "--key", "[\"8\"]", "--yes"], &[])
        .exits(2);
    project.run_words(&["data", "quarantine", "retry", "3", "--key", "[\"8\"]"], &[]).exits(2);
    let status = project.run("data status 3");
    says(&status, "quarantine 2 rows");
    assert!(!status.stdout().contains("why "), "{}", status.all());
    let words = ["data", "quarantine", "discard", "3", "--key", "[\"7\"]", "--yes"];
    says(&project.run_words(&words, &[]).exits(0), "1 row given up, 1 left");

    project.write("migrations/9_mend.sql", "UPDATE posts SET title = 'x' WHERE id = 250;\n");
    project.run("migrate").exits(0);
    let json = document(&project.run("data quarantine retry 3 --json").exits(0));
    assert_eq!((&json["released"], &json["left"]), (&1.into(), &0.into()), "{json:#}");
    project.run("data run 3").exits(0);
    project.run("check --data 3").exits(0);
    let nothing = project.run("data quarantine retry 3").exits(0);
    says(&nothing, "0 rows went through, 0 left");
    assert!(!nothing.stderr().contains("finishes it"), "{}", nothing.all());
}

#[test]
fn the_row_that_stops_a_run_is_named_at_the_terminal_alone() {
    let project = project();
    let ran = project.run("data run 4").exits(1);
    says(&ran, "row with key [\"123\"]");
    says(&ran, "every chunk that is done");
    let json = document(&project.run("data run 4 --json").exits(1));
    let cause = &json["databases"][0]["failed"][0]["cause"];
    assert_eq!(cause["kind"], "chunk", "{cause:#}");
    assert_eq!(cause["key"], serde_json::json!(["123"]));
    assert!(!cause["message"].as_str().expect("a message").contains("123"), "{cause:#}");
    says(&project.run("data status 4"), "data 4 stops: failed");
    says(&project.run("data run 5").exits(6), "done-when does not hold");
}

#[test]
fn a_table_that_goes_away_in_the_middle_leaves_what_was_done() {
    let project = project();
    project.run("data run 4").exits(1);
    // It is killed, so it has no exit code.
    let _ = project.run_with("data run 2", &[("DUNLIN_FAILPOINT", "backfill.begun")]);
    project.write(
        "migrations/9_away.sql",
        "-- dunlin: independent-of data 2 3 4 5 6\nALTER TABLE posts RENAME TO posts2;\n",
    );
    project.run("migrate").exits(0);
    for version in ["2", "4"] {
        let ran = project.run(&format!("data run {version}")).exits(1);
        says(&ran, "there is no table `posts` any more");
        says(&ran, "this backfill began on main.\"posts\"");
        says(&ran, "every chunk that is done; the next run goes on after them");
        assert!(!ran.stderr().contains("rolled back"), "{}", ran.all());
        let status = project.run(&format!("data status {version}"));
        says(&status, ": failed");
        says(&status, "why        there is no table `posts` any more");
        assert!(!status.stdout().contains("worker is gone"), "{}", status.all());
    }
    project.write(
        "migrations/10_back.sql",
        "-- dunlin: independent-of data 2 3 4 5 6\nALTER TABLE posts2 RENAME TO posts;\n",
    );
    project.run("migrate").exits(0);
    project.run("data run 2").exits(0);
}

#[test]
fn sql_in_a_header_is_blamed_for_its_own_errors() {
    let project = project();
    let stands = "UPDATE posts SET title = 'changed' WHERE :chunk;\n";
    for (header, words) in [
        ("done-when SELECT nosuch = 1 FROM posts", "`done-when` on line 2: no such column"),
        ("done-when SELECT id > 0 FROM posts", "`done-when` on line 2: "),
        ("done-when SELECT 'x'", "`done-when` on line 2: "),
        ("done-when SELECT count(*) FROM posts", "`done-when` on line 2: "),
        ("chunk-where nosuch IS NULL", "`chunk-where` on line 2: no such column"),
    ] {
        let text = format!("-- dunlin: chunk-by posts\n-- dunlin: {header}\n{stands}");
        project.write("data_migrations/6_whole.sql", &text);
        let ran = project.run("data run 6").exits(1);
        says(&ran, words);
        assert!(!ran.stderr().contains("statement 1"), "{}", ran.all());
        assert!(!ran.stderr().contains("over main"), "nothing has begun: {}", ran.all());
    }
    project.write(
        "data_migrations/6_whole.sql",
        "-- dunlin: done-when SELECT 'x'\nUPDATE posts SET title = 'changed';\n",
    );
    says(&project.run("data run 6").exits(1), "`done-when` on line 1: ");
    // NULL is an answer: not yet.
    project.write(
        "data_migrations/6_whole.sql",
        &format!("-- dunlin: chunk-by posts\n-- dunlin: done-when SELECT NULL\n{stands}"),
    );
    says(&project.run("data run 6").exits(6), "done-when does not hold");
}

#[test]
fn what_is_paused_says_what_it_waits_for_once() {
    let project = project();
    // It is killed, so it has no exit code.
    let _ = project.run_with("data run 2", &[("DUNLIN_FAILPOINT", "backfill.begun")]);
    project.run("data pause 2").exits(0);
    let worker = project.start("data run --background --until-idle");
    let held = || project.run("data status 2").stdout().contains("data 2 slugs: paused");
    assert!((0..1_000).any(|_| held()), "it is never paused");
    worker.terminate();
    let ended = worker.end();
    assert_eq!(ended.stderr().matches("waits for `dunlin data resume 2`").count(), 1);
}

#[test]
fn what_was_skipped_half_way_says_so() {
    let project = project();
    project.run("data run 4").exits(1);
    project.run("data pause 4").exits(0);
    project.run_words(&["data", "skip", "4", "--because", "not worth it"], &[]).exits(0);
    let status = project.run("data status 4");
    says(&status, "data 4 stops: skipped: the rest of its rows stays as it is");
    says(&status, "go on      dunlin data rerun 4");
    assert!(!status.stdout().contains("pause"), "{}", status.all());
}

#[test]
fn words_that_are_nearly_right_are_recognised() {
    let project = project();
    for (text, words) in [
        (
            "-- dunlin: chunk-by posts\nUPDATE posts SET title = '' WHERE :CHUNK;\n",
            "did you mean `:chunk` where it says `:CHUNK`?",
        ),
        (
            "-- dunlin: chunk-by posts\nUPDATE posts SET title = '' WHERE :chunks;\n",
            "did you mean `:chunk` where it says `:chunks`?",
        ),
        (
            "-- dunlin: chunk-by posts\n-- dunlin: chunk-key id desc\n\
             UPDATE posts SET title = '' WHERE :chunk;\n",
            "the direction of each column comes from its index alone",
        ),
    ] {
        project.write("data_migrations/6_whole.sql", text);
        says(&project.run("data plan 6").exits(2), words);
    }
}

#[test]
fn watching_for_programs_is_an_object_a_line() {
    let project = project();
    let ran = project.run("data run 2 --watch --json").exits(0);
    let lines: Vec<Value> = ran
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    assert_eq!(lines[0]["event"], "began", "{}", ran.all());
    assert_eq!(lines[0]["backfill"]["row_count_estimate"], 300);
    assert_eq!(lines.last().expect("a last line")["exit_code"], 0);
    // Nobody is at work: there is nothing to wait for.
    says(&project.run("data status --watch").exits(0), "no data migration in chunks is under way");
    let watched = project.run("data status 2 --watch --json").exits(0);
    assert_eq!(document(&watched)["databases"][0]["backfills"][0]["state"], "done");
}

#[test]
fn what_people_want_is_kept_and_obeyed() {
    let project = project();
    for words in ["data pause 2", "data cancel 2", "data undo 2 --yes", "data quarantine list 2"] {
        says(&project.run(words).exits(1), "data 2 has never run in chunks here");
    }
    says(&project.run("data pause 6").exits(1), "it does not run in chunks");
    says(&project.run("data pause 77").exits(2), "there is no data migration 77");
    says(&project.run("data status 77").exits(2), "there is no data migration 77");
    project.run("data set 2 speed=4").exits(2);

    project.run("data run 4").exits(1);
    let who = [("USER", "ada")];
    let paused = project.run_with("data pause 4", &who).exits(0);
    says(&paused, "data 4 stops is to pause; nobody is at work on it");
    says(&project.run("data run 4").exits(7), "paused by ada@");
    says(&project.run("data status 4"), "go on      dunlin data resume 4");
    let set = document(&project.run("data set 4 workers=2 rate=2000 rows/s --json").exits(0));
    let intent = &set["backfill"]["intent"];
    assert_eq!(
        (&intent["wish"], &intent["workers"], &intent["rate"]),
        (&"pause".into(), &2.into(), &2000.into())
    );
    project.run("data cancel 4").exits(0);
    // What is over is not made a pause of, from which a worker would go on.
    says(&project.run("data pause 4").exits(1), "data resume 4");
    says(&project.run("data run 4").exits(7), "cancelled");
    says(&project.run("data resume 4").exits(0), "`dunlin data run 4` goes on with it");
    project.run("data run 4").exits(1);

    project.run("data run 2").exits(0);
    says(&project.run("data pause 2").exits(1), "data 2 is done");
}

#[test]
fn undo_puts_old_values_back() {
    let project = project();
    project.run("data run 2").exits(0);
    project.run("data undo 2").exits(2);
    project.write("migrations/9_change.sql", "UPDATE posts SET slug = 'ours' WHERE id = 5;\n");
    project.run("migrate").exits(0);
    let undone = document(&project.run("data undo 2 --yes --json").exits(0));
    assert_eq!(
        (&undone["restored"], &undone["changed_since"]),
        (&299.into(), &1.into()),
        "{undone:#}"
    );
    says(&project.run("data status 2"), "data 2 slugs: undone");
    project.run("data run 3").exits(6);
    says(&project.run("data undo 3 --yes").exits(2), "undo capture for 14 days");
}

#[test]
fn the_plan_of_chunks_changes_nothing() {
    let project = project();
    let planned = project.run("data plan 2").exits(0);
    says(&planned, "about 300");
    says(&planned, "index      rowid");
    says(&planned, "does not hold yet");
    let sampled = document(&project.run("data plan 2 --sample 2 --json").exits(0));
    assert_eq!(sampled["tried"][0]["touched"][0], 300, "{sampled:#}");
    says(&project.run("data plan 4 --sample").exits(1), "CHECK constraint failed");
    says(&project.run("data plan 6").exits(2), "does not run in chunks");
    says(&project.run("data run 2 --dry-run").exits(0), "data plan VERSION --sample");
    project.write(
        "data_migrations/20_whose.sql",
        "-- dunlin: chunk-by posts\nUPDATE posts SET slug = 'x'\nFROM (SELECT 1 AS id) AS o WHERE \
         o.id = posts.id AND :chunk;\n",
    );
    let whose = project.run("data plan 20").exits(1);
    says(&whose, "data_migrations/20_whose.sql:3:");
    says(&whose, "`:chunk(p)`");
    assert!(document(&project.run("data status --json"))["databases"][0]["backfills"][0].is_null());
}

#[test]
fn new_files_over_chunks_run_as_they_are() {
    let project = project();
    let mut versions = Vec::new();
    for words in [
        "new data one --chunk-by posts",
        "new data two --chunk-by posts --program sh",
        "new data three --chunk-by posts --program python",
    ] {
        let path = project.run(words).exits(0).stdout();
        versions.push(path.split(['/', '_']).nth(2).expect("a version").to_owned());
    }
    project.run_words(&["new", "data", "x", "--chunk-by", "posts; DROP"], &[]).exits(2);
    for version in versions {
        project.run(&format!("data run {version}")).exits(0);
    }
}
