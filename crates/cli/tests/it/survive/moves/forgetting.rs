//! The ends of a move, while others are at work on the same ledger.

use dunlin_testkit::servers::{Product, TestDatabase};
use rustix::process::Signal;

use super::super::world::{Ended, Run, World, on_each};

const MAPPING: &str = r#"source = "old"
target = "app"
id_key = "people"

[ids]
person = "derived"

[into.people]
from  = "people"
makes = "person"
set.name = "name"
"#;

/// Another move, into a table of its own.
const OTHER: &str = r#"source = "old"
target = "app"
id_key = "others"

[ids]
other = "derived"

[into.others]
from  = "people"
makes = "other"
set.name = "name"
"#;

/// A finished move, whose ledger nobody else needs yet.
struct Finished {
    old: TestDatabase,
    new: World,
}

impl Finished {
    fn new(product: Product, name: &str) -> Self {
        let old = World::new(product, &format!("{name}_old")).database;
        let new = World::new(product, &format!("{name}_new"));
        new.write(
            "dunlin.toml",
            "[databases.old]\nurl = \"${OLD_URL}\"\nconnect_timeout = \"60s\"\n\n\
             [databases.app]\nurl = \"${DATABASE_URL}\"\nconnect_timeout = \"60s\"\n",
        );
        std::fs::create_dir(new.root().join("moves")).expect("a folder");
        new.write("moves/shop.toml", MAPPING);
        new.write("moves/other.toml", OTHER);
        old.sql(
            "CREATE TABLE people (id integer PRIMARY KEY, name varchar(40));
             INSERT INTO people VALUES (1, 'Ada'), (2, 'Alan');",
        )
        .expect("the client can do it");
        new.sql(
            "CREATE TABLE people (id char(36) PRIMARY KEY, name varchar(40) NOT NULL);
             CREATE TABLE others (id char(36) PRIMARY KEY, name varchar(40) NOT NULL);",
        );
        let finished = Self { old, new };
        finished.run("move finish shop").exits(0);
        finished
    }

    /// A command that halts where that is given.
    fn begin(&self, words: &str, failpoint: Option<&str>) -> Run {
        let start = self
            .new
            .command(words)
            .variable("OLD_URL", &self.old.url)
            .variable("DUNLIN_MOVE_KEY", super::KEY);
        let Some(failpoint) = failpoint else { return start.start() };
        let run = start
            .variable("DUNLIN_FAILPOINT", failpoint)
            .variable("DUNLIN_FAILPOINT_ACTION", "stop")
            .start();
        run.until_stopped();
        run
    }

    fn run(&self, words: &str) -> Ended {
        self.begin(words, None).end()
    }

    /// The drop of the ledger, which has halted there.
    fn forgetting(&self, failpoint: &str) -> Run {
        self.begin("move finish shop --drop-ledger --yes", Some(failpoint))
    }

    fn migrate(&self) -> Ended {
        self.run("migrate --database app --migrations migrations")
    }

    fn is_marked(&self) -> bool {
        let text = std::fs::read_to_string(self.new.root().join("moves/shop.toml"));
        text.expect("a mapping").starts_with("finished")
    }
}

fn goes_on(run: Run) -> Ended {
    run.signal(Signal::CONT);
    run.end()
}

/// A migration that is recorded while a ledger is about to be dropped keeps it: also behind the last
/// look at who needs it.
fn a_ledger_stays_with_a_migration_that_came_meanwhile(product: Product) {
    let places: &[&str] = match product {
        // It has the only right to write from there on.
        Product::Sqlite => &["lease.claiming", "move.forgets"],
        _ => &["lease.claiming", "move.forgets", "move.forgetting"],
    };
    for (number, place) in (1..).zip(places) {
        let name = format!("forget_migrated_{number}");
        let shop = Finished::new(product, &name);
        let forgetting = shop.forgetting(place);
        shop.new.schema(1, "CREATE TABLE shelves (id integer);\n");
        shop.migrate().exits(0);
        let refused = goes_on(forgetting);
        assert_ne!(refused.code, Some(0), "{place}: {}", refused.all());
        assert_eq!(shop.new.times_up(), [(1, 1)], "{place}: {}", refused.all());
        shop.migrate().exits(0);
        assert!(!shop.is_marked(), "the mapping says that a ledger is gone which is there");
        shop.run("move finish shop --drop-ledger --yes").exits(2).says("migrations, too (1)");
    }
}
on_each!(a_ledger_stays_with_a_migration_that_came_meanwhile: postgres, mysql, sqlite);

/// Another move that ran meanwhile keeps what it knows of its rows.
fn a_ledger_stays_with_a_move_that_ran_meanwhile(product: Product) {
    let shop = Finished::new(product, "forget_moved");
    let forgetting = shop.forgetting("move.forgets");
    shop.run("move run other").exits(0);
    let refused = goes_on(forgetting).exits(2);
    refused.says("other moves, too: other");
    shop.run("move run other").exits(0);
    assert_eq!(shop.new.sql("SELECT count(*) FROM others"), "2");
    let stored = shop.new.ledger("moves_store");
    let packs = format!("SELECT count(*) > 1 FROM {stored} WHERE name = 'other'");
    assert!(["1", "t"].contains(&shop.new.sql(&packs).as_str()));
}
on_each!(a_ledger_stays_with_a_move_that_ran_meanwhile: postgres, mysql, sqlite);

/// A move that was opened again meanwhile keeps its ledger, and its state is that of its last run.
fn what_was_read_before_the_lease_is_read_again(product: Product) {
    let shop = Finished::new(product, "forget_reopened");
    let forgetting = shop.forgetting("lease.claiming");
    let reopening = shop.begin("move reopen shop --because first", Some("lease.claiming"));
    shop.run("move reopen shop --because second").exits(0);
    shop.run("move run shop").exits(0);
    let stored = shop.new.ledger("moves_store");
    let state = format!("SELECT value FROM {stored} WHERE name = 'shop' AND area = 'state'");
    let before = shop.new.sql(&state);
    goes_on(reopening).exits(2).says("is not finished");
    assert_eq!(shop.new.sql(&state), before, "the state of the run before is written back");
    goes_on(forgetting).exits(2).says("is not finished");
    assert_eq!(shop.new.sql(&state), before);
    assert!(!shop.is_marked());
    shop.run("move run shop").exits(0);
}
on_each!(what_was_read_before_the_lease_is_read_again: postgres, mysql, sqlite);

/// What is kept of a ledger is all that was in it when it went: also what a run wrote that came between.
fn the_ids_that_are_kept_are_the_last(product: Product) {
    let shop = Finished::new(product, "forget_ids");
    let words = "move finish shop --drop-ledger --export-ids ids --yes";
    let forgetting = shop.begin(words, Some("lease.claiming"));
    shop.old.sql("INSERT INTO people VALUES (3, 'Grace')").expect("the client can do it");
    shop.run("move reopen shop --because late").exits(0);
    shop.run("move finish shop").exits(0);
    goes_on(forgetting).exits(0);
    let ids = std::fs::read_to_string(shop.new.root().join("ids/person.csv")).expect("the ids");
    assert_eq!(ids.lines().count(), 4, "{ids}");
    for id in ids.lines().skip(1).filter_map(|line| line.split(',').nth(1)) {
        let there = format!("SELECT count(*) FROM people WHERE id = '{id}'");
        assert_eq!(shop.new.sql(&there), "1", "{id}");
    }
    assert!(shop.is_marked());
}
on_each!(the_ids_that_are_kept_are_the_last: postgres, mysql, sqlite);

/// Who comes while the ledger goes is told, or makes another; the tables are gone for good.
fn whoever_comes_while_a_ledger_goes_can_go_on(product: Product) {
    let shop = Finished::new(product, "forget_late");
    shop.new.schema(1, "CREATE TABLE shelves (id integer);\n");
    let late = shop.begin("migrate --database app --migrations migrations", Some("lease.claiming"));
    shop.run("move finish shop --drop-ledger --yes").exits(0);
    assert!(shop.is_marked());
    let late = goes_on(late);
    if late.code != Some(0) {
        assert!(late.all().contains("ledger"), "{}", late.all());
        shop.migrate().exits(0);
    }
    assert_eq!(shop.new.times_up(), [(1, 1)]);
}
on_each!(whoever_comes_while_a_ledger_goes_can_go_on: postgres, mysql, sqlite);
