//! What people want of a run that is under way: to hold, to go on, to stop, to be slow.

use serde_json::Value;

use super::Library;
use crate::project::{Started, snapshot, story};
use crate::survive::world::wait_for;

impl Library {
    /// With a first run behind it, and so much to do that another takes long at a row a second.
    fn with_much_to_do() -> Self {
        let library = Self::new();
        library.run("move run library").exits(0);
        library.old(
            "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 1300)
             INSERT INTO books SELECT i, 'Book ' || i FROM n;",
        );
        library
    }

    fn start(&self, words: &str) -> Started {
        self.project.start_with(words, &[super::KEY])
    }

    fn standing(&self) -> Value {
        let ran = self.run("move status library --json").exits(0);
        serde_json::from_str(&ran.stdout()).expect("JSON")
    }

    /// Waits until the ledger says so. A file that is written all the time may be locked for once.
    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        wait_for(what, || {
            let ran = self.run("move status library --json");
            let standing: Option<Value> = serde_json::from_str(&ran.stdout()).ok();
            ran.code() == 0 && standing.is_some_and(|standing| is_so(&standing["run"]))
        });
    }

    fn new_books(&self) -> u64 {
        self.new_one("SELECT count(*) FROM books WHERE id >= 1000").parse().expect("a count")
    }

    /// Waits until the run that was started has written a new row.
    #[track_caller]
    fn until_something_is_written(&self) {
        wait_for("a new row is written", || self.new_books() > 0);
    }
}

#[test]
fn a_run_is_paused_resumed_and_hurried() {
    let library = Library::with_much_to_do();
    let started = library.start("move run library --rate 1/s");
    library.until_something_is_written();
    let pause = library.run("move pause library").exits(0);
    assert!(pause.stderr().contains("takes it within a chunk"), "{}", pause.all());
    library.until("paused", |run| run["state"] == "paused");
    let held = library.new_books();
    assert!(held < 300, "at a row a second: {held}");
    library.run("move set library rate=off workers=2").exits(0);
    library.until("told", |run| run["intent"]["rate"] == 0 && run["state"] == "paused");
    assert_eq!(library.new_books(), held, "nothing is written while it is paused");
    library.run("move resume library").exits(0);
    let ran = started.end().exits(0);
    assert_eq!(library.new_books(), 301);
    assert!(
        ran.stderr().contains("paused by") && ran.stderr().contains("goes on"),
        "{}",
        ran.all()
    );
    assert_eq!(library.standing()["run"]["state"], "done");
}

#[test]
fn a_cancelled_move_does_not_run_until_it_is_resumed() {
    let library = Library::with_much_to_do();
    let started = library.start("move run library --rate 1/s");
    library.until_something_is_written();
    library.run("move cancel library").exits(0);
    let ran = started.end().exits(7);
    let written = library.new_books();
    assert!((1..301).contains(&written), "what is written stays: {written}");
    assert!(ran.stderr().contains("cancelled by"), "{}", ran.all());
    library.run("move run library").exits(7);
    library.run("move pause library").exits(1);
    library.run("move resume library").exits(0);
    library.run("move run library").exits(0);
    assert_eq!(library.new_books(), 301);
}

#[test]
fn the_kill_switch_holds_moves_too() {
    let library = Library::new();
    let never = library.run("move pause library").exits(1);
    library.run("move run library").exits(0);
    library.new_one("UPDATE dunlin_backfills SET intent = 'pause'");
    let held = library.run("move run library").exits(7);
    let json = library.run("move run library --json").exits(7);
    let status = library.run("move status library").exits(0);
    let data = library.run("data status --database app --json").exits(0);
    assert!(!data.stdout().contains("move/"), "{}", data.all());
    let wrong = library.run("move set library speed=4").exits(2);
    library.run("move resume library").exits(0);
    library.run("move run library").exits(0);
    snapshot!("move_held", library.project, story(&[never, held, json, status, wrong]));
}

#[test]
fn a_run_that_is_stopped_keeps_what_it_has_written() {
    let library = Library::with_much_to_do();
    let started = library.start("move run library --rate 1/s");
    library.until_something_is_written();
    started.terminate();
    let ran = started.end().exits(7);
    assert!(ran.stderr().contains("stopped"), "{}", ran.all());
    assert!((1..301).contains(&library.new_books()));
    assert_eq!(library.standing()["run"]["state"], "stopped");
    library.run("move run library").exits(0);
    assert_eq!(library.new_books(), 301);
}
