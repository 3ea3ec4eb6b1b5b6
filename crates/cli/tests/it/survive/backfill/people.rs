//! What people do to a backfill from another terminal: hold it, let it go on, give it up, ask what
//! it would do, let a worker look for it.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;
use serde_json::json;

use super::super::world::{World, on_each, wait_for};
use super::{
    DOUBLE_EACH, IN_CHUNKS, ROWS, accounts, assert_each_once, changed, data_run, doubling, halted,
    status, until_status,
};

/// A pause reaches the worker within the chunk under way, which keeps its process and its lease;
/// `resume` lets it go on. Nobody starts anything.
fn a_pause_holds_and_a_resume_lets_go(product: Product) {
    let world = accounts(product, "chunk_pause", ROWS);
    doubling(&world, 1, "");
    let run = halted(&world, "chunk.sending@4");
    let before = changed(&world);
    world.run("data pause 1").exits(0);
    run.signal(Signal::CONT);
    until_status(&world, 1, "state", &json!("paused"));
    let held = changed(&world);
    assert!(held > before && held <= before + 10, "one chunk: {before} and then {held}");
    world.run("data resume 1").exits(0);
    run.end().exits(0);
    assert_each_once(&world, ROWS, "let go");
}
on_each!(a_pause_holds_and_a_resume_lets_go: postgres, mysql, sqlite);

/// The documented switch, in SQL, for somebody who has no Dunlin at hand.
#[test]
fn a_pause_by_sql_holds_it_too() {
    let world = accounts(Product::Postgres, "chunk_switch", ROWS);
    doubling(&world, 1, "");
    let run = halted(&world, "chunk.sending@4");
    world.sql("UPDATE dunlin.backfills SET intent = 'pause'");
    run.signal(Signal::CONT);
    until_status(&world, 1, "state", &json!("paused"));
    assert!(changed(&world) < ROWS);
    world.sql("UPDATE dunlin.backfills SET intent = 'run'");
    run.end().exits(0);
    assert_each_once(&world, ROWS, "let go");
}

/// Given up, it stops after the chunk under way with exit code 7, and does not begin by itself again;
/// `resume` takes that back.
fn a_cancel_stops_it_for_good(product: Product) {
    let world = accounts(product, "chunk_cancel", ROWS);
    doubling(&world, 1, "");
    let run = halted(&world, "chunk.sending@4");
    let before = changed(&world);
    world.run("data cancel 1").exits(0);
    run.signal(Signal::CONT);
    run.end().exits(7);
    let held = changed(&world);
    assert!(held > before && held <= before + 10, "one chunk: {before} and then {held}");
    world.run("data run 1").exits(7);
    assert_eq!(changed(&world), held);
    world.run("check --data 1").exits(3);
    world.run("data resume 1").exits(0);
    world.run("data run 1").exits(0);
    assert_each_once(&world, ROWS, "taken back");
}
on_each!(a_cancel_stops_it_for_good: postgres, mysql, sqlite);

/// `data set` changes the pace of a worker that is at work.
#[test]
fn a_pace_that_is_set_reaches_the_worker() {
    const MANY: u32 = 3_000;
    let world = accounts(Product::Postgres, "chunk_set", MANY);
    world.sql("ANALYZE accounts");
    doubling(&world, 1, "-- dunlin: rate 1 rows/s\n");
    let run = data_run(&world).start();
    wait_for("it has begun", || changed(&world) > 0);
    world.run("data set 1 rate=off workers=2").exits(0);
    let wanted = &status(&world, 1)["intent"];
    assert_eq!((&wanted["workers"], &wanted["rate"]), (&json!(2), &json!(0)));
    // At the old rate it would take most of an hour.
    run.end().exits(0);
    assert_each_once(&world, MANY, "at another pace");
}

/// `data plan` says what there is to do and does nothing, not even a ledger; with `--sample` it tries,
/// and leaves every row as it was.
fn a_plan_changes_nothing(product: Product) {
    let world = accounts(product, "chunk_plan", ROWS);
    doubling(&world, 1, "");
    let before = world.database.rows_dump().expect("a dump");
    let ledger = |world: &World| world.database.schema_dump().expect("a dump");
    let tables = ledger(&world);
    world.run("data plan 1").exits(0);
    assert_eq!(world.database.rows_dump().expect("a dump"), before);
    assert!(world.run("data status --json").exits(0).stdout.contains("1"), "no ledger needed");
    world.run("data plan 1 --sample").exits(0);
    assert_eq!(world.database.rows_dump().expect("a dump"), before);
    assert_eq!(ledger(&world), tables);
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "after plans");
}
on_each!(a_plan_changes_nothing: postgres, mysql, sqlite);

/// What is to be true is true already, as on a fresh laptop: done at once, and nothing is walked.
fn what_holds_before_the_start_is_done_at_once(product: Product) {
    let world = accounts(product, "chunk_holds", ROWS);
    doubling(
        &world,
        1,
        "-- dunlin: done-when SELECT NOT EXISTS (SELECT 1 FROM accounts WHERE id < 0)\n",
    );
    world.run("data run").exits(0).says("true already");
    assert_eq!(changed(&world), 0);
    world.run("check --data 1").exits(0);
}
on_each!(what_holds_before_the_start_is_done_at_once: postgres, mysql, sqlite);

/// (37) Every chunk is done and the proof fails: exit code 6, and what requires it stays held until
/// it holds.
fn what_does_not_hold_in_the_end_is_not_done(product: Product) {
    let world = accounts(product, "chunk_unproved", ROWS);
    world.sql("CREATE TABLE proof (id integer)");
    doubling(&world, 1, "-- dunlin: done-when SELECT EXISTS (SELECT 1 FROM proof)\n");
    world.schema(2, "-- dunlin: requires data 1\nCREATE TABLE later (id integer);\n");
    world.run("data run").exits(6);
    assert_each_once(&world, ROWS, "every chunk is done");
    world.run("check --data 1").exits(3);
    let held = world.run("migrate");
    assert_eq!(held.code, Some(6), "{}", held.all());
    assert!(world.times_up().is_empty(), "{:?}", world.times_up());
    world.sql("INSERT INTO proof VALUES (1)");
    world.run("migrate").exits(0);
    assert_each_once(&world, ROWS, "nothing is walked twice");
    assert_eq!(world.sql("SELECT count(*) FROM later"), "0");
}
on_each!(what_does_not_hold_in_the_end_is_not_done: postgres, mysql, sqlite);

/// A worker for what no deploy waits for: it runs those with `background` and no others, and ends
/// when nothing is left.
fn a_background_worker_ends_when_nothing_is_left(product: Product) {
    let world = accounts(product, "chunk_background", ROWS);
    world.sql("CREATE TABLE other (id integer); INSERT INTO other VALUES (1)");
    doubling(&world, 1, "-- dunlin: background\n");
    world.data(2, "UPDATE other SET id = id + 1;\n");
    world.run("data run --background --until-idle").exits(0);
    assert_each_once(&world, ROWS, "in the background");
    assert_eq!(world.sql("SELECT id FROM other"), "1");
    world.run("data run --background --until-idle").exits(0);
    assert_each_once(&world, ROWS, "once");
}
on_each!(a_background_worker_ends_when_nothing_is_left: postgres, mysql, sqlite);

/// Two workers start at once for the same: one waits for the other and finds it done.
#[test]
fn two_who_start_at_once_are_one() {
    let world = accounts(Product::Postgres, "chunk_both", ROWS);
    world.data(1, &format!("{IN_CHUNKS}{DOUBLE_EACH}"));
    let runs: Vec<_> = (0..6).map(|_| data_run(&world).start()).collect();
    for run in runs {
        run.end().exits(0);
    }
    assert_each_once(&world, ROWS, "by one of them");
    assert_eq!(status(&world, 1)["state"], "done");
    assert_eq!(world.times_up(), [(1, 1)]);
}
