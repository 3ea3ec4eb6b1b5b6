//! First loads into empty tables: what is dropped for speed comes back exactly, whatever happens.

use std::process::Command;

use dunlin_testkit::servers::{self, TestDatabase};

use super::KEY;
use crate::project::{Project, Ran};

const OLD: &str = "
CREATE TABLE people (id integer PRIMARY KEY, name text NOT NULL, boss integer);
INSERT INTO people SELECT n, 'Person ' || n, nullif((n * 7) % 301, 0) FROM generate_series(1, 300) n;
CREATE TABLE jobs (id integer PRIMARY KEY, title text, who integer, twin integer);
INSERT INTO jobs SELECT n, 'Job ' || n, n % 300 + 1, 1201 - n FROM generate_series(1, 1200) n;
";

/// With everything about indexes and foreign keys that a dump shows.
const NEW: &str = r#"
CREATE TABLE people (
  id uuid PRIMARY KEY, name text NOT NULL CONSTRAINT named CHECK (name <> ''), boss_id uuid,
  code text UNIQUE
);
CREATE TABLE jobs (
  id uuid PRIMARY KEY, title text, who_id uuid NOT NULL, twin_id uuid,
  CONSTRAINT "who's" FOREIGN KEY (who_id) REFERENCES people ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT twins FOREIGN KEY (twin_id) REFERENCES jobs (id) ON DELETE SET NULL ON UPDATE CASCADE
);
ALTER TABLE people ADD CONSTRAINT bosses FOREIGN KEY (boss_id) REFERENCES people;
ALTER TABLE people ADD CONSTRAINT hoped FOREIGN KEY (boss_id) REFERENCES people NOT VALID;
COMMENT ON CONSTRAINT "who's" ON jobs IS 'It''s theirs';
CREATE INDEX ON jobs (who_id);
CREATE INDEX "By Title" ON jobs (lower(title) COLLATE "C" DESC NULLS LAST) WITH (fillfactor = 70) WHERE title <> '';
CREATE INDEX brin_ids ON jobs USING brin (id) WITH (pages_per_range = 16);
CREATE INDEX people_name ON people (name, (length(name)));
ALTER INDEX people_name ALTER COLUMN 2 SET STATISTICS 700;
COMMENT ON INDEX people_name IS 'By name';
ALTER TABLE people CLUSTER ON people_name;
CREATE TABLE badges (person_id uuid REFERENCES people, of text);
CREATE INDEX ON badges (of);
"#;

const MAPPING: &str = r#"source = "old"
target = "app"
id_key = "staff"

[ids]
person = "derived"
job    = "derived"

[into.people]
from  = "people"
makes = "person"
set.name    = "name"
set.boss_id = { new = "person", of = "boss", missing = "null" }

[into.jobs]
from  = "jobs"
makes = "job"
set.title   = "title"
set.who_id  = { new = "person", of = "who" }
set.twin_id = { new = "job", of = "twin", missing = "null" }
"#;

/// What everybody must be able to see in the end, by who refers to whom.
const ROWS: &str = "SELECT count(*), count(b.id), (SELECT count(*) FROM jobs JOIN people w ON w.id = who_id
     JOIN jobs t ON t.id = jobs.twin_id AND t.twin_id = jobs.id) FROM people p LEFT JOIN people b ON b.id = p.boss_id";

pub(super) struct Staff {
    pub(super) project: Project,
    pub(super) old: TestDatabase,
    pub(super) new: TestDatabase,
}

impl Staff {
    pub(super) fn new(name: &str) -> Self {
        let server = servers::postgres();
        let staff = Self {
            project: Project::empty(),
            old: server.database(&format!("{name}_old")),
            new: server.database(&format!("{name}_new")),
        };
        staff.old.sql(OLD).expect("the old database");
        staff.new.sql(NEW).expect("the new database");
        staff.point_at(&staff.new.url);
        staff.project.write("moves/staff.toml", MAPPING);
        staff
    }

    fn point_at(&self, url: &str) {
        let text = format!(
            "[databases.old]\nurl = \"{}\"\n\n[databases.app]\nurl = \"{url}\"\n",
            self.old.url
        );
        self.project.write("dunlin.toml", &text);
    }

    pub(super) fn run(&self, words: &str) -> Ran {
        self.project.run_with(words, &[KEY])
    }

    /// Runs and dies at a failpoint.
    pub(super) fn die_at(&self, failpoint: &str) -> Ran {
        let lease = ("DUNLIN_LEASE_TTL_MS", "1500");
        self.project.run_with("move run staff", &[KEY, lease, ("DUNLIN_FAILPOINT", failpoint)])
    }

    #[track_caller]
    pub(super) fn sql(&self, sql: &str) -> String {
        self.new.sql(sql).expect("the client can do it").trim_end().to_owned()
    }

    /// The application's schema as pg_dump tells it.
    pub(super) fn dump(&self) -> String {
        let made = Command::new("pg_dump")
            .args(["--schema-only", "--schema=public", "--no-owner", "--no-privileges"])
            .arg(&self.new.url)
            .output()
            .expect("pg_dump starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Newer ones print a random word around everything.
        let text = String::from_utf8_lossy(&made.stdout).into_owned();
        text.lines().filter(|line| !line.starts_with('\\')).collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    fn is_whole(&self, before: &str) {
        assert_eq!(self.dump(), before);
        assert_eq!(self.sql(ROWS), "300|294|1200");
        let ours = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'dunlin'::regnamespace";
        assert_eq!(self.sql(ours), "0", "nothing of ours is left");
    }
}

#[test]
fn what_is_dropped_for_a_first_load_is_restored_exactly() {
    let staff = Staff::new("bare");
    let before = staff.dump();
    let plan = staff.run("move plan staff").exits(0).stdout();
    assert!(plan.contains("By Title"), "{plan}");
    assert!(plan.contains("hoped: it was never validated"), "{plan}");
    assert!(!staff.run("move run staff --dry-run").exits(0).all().contains("baring"));
    let ran = staff.run("move run staff").exits(0);
    assert!(ran.stderr().contains("7 indexes and foreign keys"), "{}", ran.all());
    staff.is_whole(&before);
    let again = staff.run("move run staff").exits(0);
    assert!(!again.stderr().contains("baring"), "they aren't empty any more: {}", again.all());
    assert!(staff.run("move plan staff").exits(0).stdout().contains("it has rows"));
    staff.run("move restore staff").exits(0);
    staff.is_whole(&before);
}

#[test]
fn wherever_it_dies_the_next_run_restores_everything() {
    let staff = Staff::new("bare_dies");
    let before = staff.dump();
    let empty = "TRUNCATE people, jobs, badges; DROP SCHEMA dunlin CASCADE";
    let places =
        ["move.stripped", "move.written@1", "move.rebuilt@4", "move.rebuilt@7", "move.opened"];
    for place in places {
        staff.die_at(place).was_killed();
        let status = staff.run("move status staff").exits(0).stdout();
        if place == "move.stripped" {
            let refused =
                staff.new.sql("INSERT INTO people (id, name) VALUES (gen_random_uuid(), 'X')");
            let message = format!("{:?}", refused.expect_err("the table is kept"));
            assert!(message.contains("being loaded by the move"), "{message}");
            assert!(status.contains("nobody else can write people, jobs"), "{status}");
        }
        if place == "move.rebuilt@4" {
            staff.run("move restore staff").exits(0);
            assert_eq!(staff.dump(), before);
            assert!(!staff.run("move status staff").exits(0).stdout().contains("dropped"));
        }
        staff.run("move run staff").exits(0);
        staff.is_whole(&before);
        staff.sql(empty);
    }
}

/// Rows whose parents are refused are found when the foreign key comes back, with all that refer to
/// them.
#[test]
fn rows_that_refer_to_nothing_are_rejected_in_the_end() {
    let staff = Staff::new("bare_orphans");
    let before = staff.dump();
    staff.old.sql("UPDATE people SET name = '' WHERE id = 5").expect("changed");
    let ran = staff.run("move run staff").exits(6);
    // As many again refer to those, and could do without.
    assert!(ran.stderr().contains("jobs: 4 rows rejected"), "{}", ran.all());
    assert!(ran.all().contains("jobs: 4 rows nulled"), "{}", ran.all());
    assert_eq!(staff.dump(), before);
    staff.old.sql("UPDATE people SET name = 'Five' WHERE id = 5").expect("changed");
    staff.run("move run staff").exits(0);
    staff.is_whole(&before);
}

#[test]
fn a_login_that_owns_nothing_drops_nothing() {
    let staff = Staff::new("bare_guest");
    let before = staff.dump();
    let role = format!("guest_{}", staff.new.name);
    staff.sql(&format!(
        "CREATE ROLE \"{role}\" LOGIN PASSWORD 'guest'; GRANT CREATE ON DATABASE \"{name}\" TO \"{role}\";
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO \"{role}\"",
        name = staff.new.name
    ));
    let (_, place) = staff.new.url.split_once('@').expect("a login");
    staff.point_at(&format!("postgres://{role}:guest@{place}"));
    let plan = staff.run("move plan staff").exits(0).stdout();
    assert!(plan.contains("this login does not own it"), "{plan}");
    let ran = staff.run("move run staff").exits(0);
    assert!(!ran.stderr().contains("baring"), "{}", ran.all());
    staff.is_whole(&before);
    staff.sql(&format!("DROP OWNED BY \"{role}\" CASCADE; DROP ROLE \"{role}\""));
}
