//! `examples/design_queue`, on PostgreSQL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dunlin_testkit::servers::{self, TestDatabase};
use serde_json::Value;

use crate::project::{Project, Ran};

pub(super) struct Queue {
    project: Project,
    pub(super) old: TestDatabase,
    new: TestDatabase,
}

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/design_queue").join(file)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Queue {
    /// The example's files, with other databases than its own where they are given.
    fn new(name: &str, old: &[&str], new: &str) -> Self {
        let project = Project::empty();
        for file in ["dunlin.toml", "moves/design_queue.toml"] {
            project.write(file, &text(&example(file)));
        }
        let server = servers::postgres();
        let queue = Self {
            project,
            old: server.database(&format!("{name}_old")),
            new: server.database(&format!("{name}_new")),
        };
        for sql in old {
            queue.old.sql(sql).expect("the old database");
        }
        queue.new.sql(new).expect("the new database");
        queue
    }

    /// The example with its own few rows.
    pub(super) fn of_the_example(name: &str) -> Self {
        Self::new(name, &[&text(&example("old.sql"))], &text(&example("new.sql")))
    }

    fn run(&self, words: &str) -> Ran {
        let variables = [("OLD_URL", self.old.url.as_str()), ("APP_URL", self.new.url.as_str())];
        self.project.run_with(words, &variables)
    }

    #[track_caller]
    pub(super) fn report(&self, words: &str) -> Value {
        let run = self.run(&format!("{words} --json")).exits(0);
        serde_json::from_str(&run.stdout()).expect("a document")
    }

    pub(super) fn new_one(&self, sql: &str) -> String {
        self.new.sql(sql).expect("the client can do it").trim_end().to_owned()
    }
}

fn sum(report: &Value, counts: &[&str]) -> u64 {
    let rules = report["rules"].as_array().expect("rules");
    rules.iter().flat_map(|rule| counts.iter().map(|name| rule[name].as_u64().expect(name))).sum()
}

const WRITTEN: &[&str] = &["inserted", "updated", "deleted"];

#[test]
fn the_example_does_what_its_readme_says() {
    let queue = Queue::of_the_example("queue");
    queue.run("move plan design_queue").exits(0);
    let dry = queue.report("move run design_queue --dry-run");
    assert_eq!(sum(&dry, WRITTEN), 26);
    assert_eq!(queue.new_one("SELECT count(*) FROM users"), "0");
    let ran = queue.run("move run design_queue").exits(0);
    // The table and the first reasons stand in the README as they are printed.
    let readme = text(&example("README.md"));
    for line in ran.stdout().lines().take(16) {
        assert!(readme.contains(line), "{line}\n{}", ran.all());
    }
    assert_eq!(
        queue.new_one("SELECT lower(email), full_name, role FROM users ORDER BY 1"),
        "ada@example.edu|Ada Lovelace|admin\nalan@example.edu|Alan Turing|creative\n\
         grace@example.edu|Grace|pending"
    );
    let circle = "SELECT a.title, b.title FROM requests a JOIN requests b ON b.id = a.duplicate_of_id ORDER BY 1";
    assert_eq!(queue.new_one(circle), "Film night|Untitled\nUntitled|Film night");
    let needs = "SELECT needs, due, event_starts_at FROM requests WHERE title = 'Film night'";
    assert_eq!(queue.new_one(needs), "{\"size\": \"web\"}||");
    let key = "SELECT count(*) FROM attachments WHERE storage_key = 'requests/' || request_id || '/3-final_poster.pdf' AND comment_id IS NULL";
    assert_eq!(queue.new_one(key), "1");
    assert_eq!(sum(&queue.report("move run design_queue"), WRITTEN), 0);
    let one = queue.run("move ids show design_queue user 1").exits(0).stdout();
    let three = queue.run("move ids show design_queue user 3").exits(0).stdout();
    assert_eq!(one.replace("user 1", ""), three.replace("user 3", ""));

    let sql = "UPDATE orders SET status = 'Claimed', creative_id = 2 WHERE id = 4; DELETE FROM comments WHERE id = 1";
    queue.old.sql(sql).expect("changed");
    queue.new_one("UPDATE users SET bio = 'Draws' WHERE email = 'alan@example.edu'");
    let report = queue.report("move run design_queue");
    assert_eq!((sum(&report, &["updated"]), sum(&report, &["deleted"])), (1, 2));
    assert_eq!(queue.new_one("SELECT bio FROM users WHERE email LIKE 'alan%'"), "Draws");

    let mapping = text(&example("moves/design_queue.toml"));
    queue.project.write("moves/design_queue.toml", &mapping.replace("'Untitled'", "'(no title)'"));
    assert_eq!(sum(&queue.report("move run design_queue"), WRITTEN), 1);

    queue.old.sql("INSERT INTO organizations (id, name) VALUES (3, 'Radio')").expect("inserted");
    queue.run("move run design_queue").exits(6);
    queue.run("move finish design_queue").exits(6);
    queue.old.sql("UPDATE organizations SET created_at = now(), updated_at = now()").expect("set");
    queue.run("move finish design_queue").exits(0);
    queue.run("move run design_queue").exits(2);
}

/// The rules of the example's real life, judged by a checker that somebody else wrote: it compares
/// every row of both databases.
#[test]
fn a_checker_of_somebody_else_agrees() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/creativeq");
    if !folder.join("check.sql").is_file() {
        eprintln!("skipped: there is no checker beside the project");
        return;
    }
    let old = [text(&folder.join("old_schema.sql")), text(&folder.join("generate.sql"))];
    let scaled = format!("\\set scale 400\n{}", old[1]);
    let queue = Queue::new("checked", &[&old[0], &scaled], &text(&folder.join("new_schema.sql")));
    let check = || check(&queue, &folder.join("check.sql"));
    assert_ne!(check(), "", "the checker can tell that nothing is there");
    queue.run("move run design_queue").exits(0);
    assert_eq!(check(), "");
    assert_eq!(sum(&queue.report("move run design_queue"), WRITTEN), 0);
    let changes = "UPDATE orders SET status = 'Complete', owner_id = 3 WHERE id % 7 = 0;
        DELETE FROM comments WHERE id % 31 = 0; DELETE FROM orders WHERE id IN (5, 50);
        UPDATE users SET email = 'new' || email WHERE id = 7;
        INSERT INTO assignments (id, user_id, organization_id, created_at, updated_at)
        VALUES (100001, 8, 2, now(), now());";
    queue.old.sql(changes).expect("changed");
    assert_ne!(check(), "", "the checker can tell that something changed");
    queue.run("move run design_queue").exits(0);
    assert_eq!(check(), "");
    assert_eq!(sum(&queue.report("move run design_queue"), WRITTEN), 0);
}

/// What the checker prints: nothing where all is as it should be.
fn check(queue: &Queue, file: &Path) -> String {
    // postgres://user:password@host:port/database
    let address = queue.old.url.split("://").nth(1).expect("an address");
    let (login, place) = address.split_once('@').expect("a login");
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (server, database) = place.split_once('/').expect("a database");
    let (host, port) = server.split_once(':').expect("a port");
    // The servers of tests ask for a password.
    let with_password = "(user :'old_user', password :'old_password')";
    let sql = text(file).replace("(user :'old_user')", with_password);
    queue.project.write("check.sql", &sql);
    let script = queue.project.path("check.sql");
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t"])
        .args(["-v", &format!("old_dbname={database}"), "-v", &format!("old_host={host}")])
        .args(["-v", &format!("old_port={port}"), "-v", &format!("old_user={user}")])
        .args(["-v", &format!("old_password={password}")])
        .arg("-f")
        .arg(&script)
        .arg(&queue.new.url)
        .env("PGPASSWORD", password)
        .output()
        .expect("psql starts");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
