//! Old values that were kept, and go back.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;
use serde_json::json as value;

use super::super::world::{World, on_each, wait_for};
use super::{
    ROWS, accounts, armed, assert_each_once, changed, dies, doubling, json, status, until_status,
};

/// Rows have their old values again, also after a worker and an undo that were killed; those that
/// changed since, or are gone, stay as they are and are counted.
fn old_values_go_back_except_where_rows_changed_since(product: Product) {
    let world = accounts(product, "chunk_undo", ROWS);
    doubling(&world, 1, "-- dunlin: undo capture for 1 day\n");
    dies(armed(&world, "chunk.done@4", "kill"), "chunk.done@4");
    world.run("data run --lease-wait 60s").exits(0);
    assert_each_once(&world, ROWS, "before the undo");
    world.sql("UPDATE accounts SET balance = 5000 WHERE id IN (3, 44); DELETE FROM accounts WHERE id = 70");
    // Committed, and nobody was told.
    let killed = world.command("data undo 1 --yes").variable("DUNLIN_FAILPOINT", "undo.done");
    dies(killed, "undo.done");
    // Some rows have their old values and some have not: it counts as neither done nor undone.
    world.run("check --data 1").exits(3);
    world.run("data run 1").exits(1).says("data undo 1");
    let undone = json(&world.run("data undo 1 --yes --json").exits(0));
    assert_eq!(undone["interrupted"], false);
    assert_eq!((&undone["restored"], &undone["changed_since"]), (&97.into(), &3.into()));
    assert_eq!(
        world.sql("SELECT count(*) FROM accounts WHERE id NOT IN (3, 44) AND balance <> was"),
        "0"
    );
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE balance = 5000"), "2");
    assert_eq!(world.sql("SELECT count(*) FROM accounts"), "99");
    world.run("data rerun 1").exits(0);
    assert_eq!(changed(&world), 99);
}
on_each!(old_values_go_back_except_where_rows_changed_since: postgres, mysql, sqlite);

/// What was put back and what was not is counted.
fn what_goes_back_is_counted(product: Product) {
    let world = accounts(product, "chunk_undo_count", ROWS);
    doubling(&world, 1, "-- dunlin: undo capture for 1 day\n");
    world.run("data run").exits(0);
    world.sql("UPDATE accounts SET balance = 5000 WHERE id IN (3, 44); DELETE FROM accounts WHERE id = 70");
    let undone = json(&world.run("data undo 1 --yes --json").exits(0));
    assert_eq!((&undone["restored"], &undone["changed_since"]), (&97.into(), &3.into()));
}
on_each!(what_goes_back_is_counted: postgres, mysql, sqlite);

/// What `data status` shows, which has these in it.
#[track_caller]
fn shows(world: &World, parts: &[&str]) -> String {
    let shown = world.run("data status 1").stdout;
    for part in parts {
        assert!(shown.contains(part), "`{part}` is not shown:\n{shown}");
    }
    shown
}

/// An undo heeds what people want as a run does: the switch in SQL holds it after the chunk under way,
/// a rate is kept, a cancel ends it; and all the while it says how far it is, and what goes on with it.
fn an_undo_heeds_what_people_want(product: Product) {
    const MANY: u32 = 3_000;
    let world = accounts(product, "chunk_undo_heeds", MANY);
    doubling(&world, 1, "-- dunlin: undo capture for 1 day\n");
    world.run("data run --no-throttle").exits(0);
    world.sql(&format!("UPDATE accounts SET balance = -1 WHERE id = {MANY}"));
    let undo = world
        .command("data undo 1 --yes")
        .variable("DUNLIN_FAILPOINT", "undo.chunk")
        .variable("DUNLIN_FAILPOINT_ACTION", "stop")
        .start();
    undo.until_stopped();
    let backfills = world.ledger("backfills");
    world.sql(&format!("UPDATE {backfills} SET intent = 'pause'"));
    undo.signal(Signal::CONT);
    until_status(&world, 1, "state", &value!("paused"));
    let held = status(&world, 1);
    let count = |field: &str| status(&world, 1)[field].as_u64().expect("a number");
    let back = count("rows_done");
    assert_eq!((&held["phase"], &held["workers"]), (&value!("undo"), &value!(0)));
    assert_eq!(back + count("changed_since"), 500, "one chunk");
    assert_eq!(u64::from(changed(&world)), u64::from(MANY) - back);
    let said = format!("{back} rows put back");
    shows(&world, &["its undo is paused", &said, "data resume 1"]);

    world.run("data set 1 rate=1").exits(0);
    world.run("data resume 1").exits(0);
    until_status(&world, 1, "reason", &value!("rate 1 rows/s"));
    wait_for("it goes on", || status(&world, 1)["rows_done"].as_u64() > Some(back));
    shows(&world, &["putting old values back", "chunks of 1 rows"]);
    world.run("data cancel 1").exits(0);
    undo.end().exits(7).says("cancelled").says("data undo 1");
    assert!(changed(&world) > 1_000, "at the rate it would take most of an hour");

    let half_way = "its undo has begun and is not done";
    let stopped =
        shows(&world, &[half_way, "its undo stopped, and is not done", "cancelled", "data undo 1"]);
    assert!(!stopped.contains("rows/s"), "{stopped}");
    world.run("data resume 1").exits(0).says("data undo 1");
    world.run("data set 1 rate=off").exits(0);

    let before = world.run("data status 1 --json").stdout;
    let refused = world.run("data rerun 1");
    assert_ne!(refused.code, Some(0), "{}", refused.all());
    refused.says(half_way).says("data undo 1");
    assert_eq!(world.run("data status 1 --json").stdout, before, "and nothing was changed");

    let undone = json(&world.run("data undo 1 --yes --json").exits(0));
    let all = u64::from(MANY);
    assert_eq!((&undone["restored"], &undone["changed_since"]), (&value!(all - 1), &value!(1)));
    assert_eq!(changed(&world), 1);
    world.run("data rerun 1").exits(0);
}
on_each!(an_undo_heeds_what_people_want: postgres, mysql, sqlite);

/// Old values that an undo is at work on are not forgotten from under it, whoever runs meanwhile; and
/// once their time is over, an undo says so before and after.
fn an_undo_keeps_what_it_is_at_work_on(product: Product) {
    const MANY: u32 = 1_200;
    let world = accounts(product, "chunk_undo_kept", MANY);
    doubling(&world, 1, "-- dunlin: undo capture for 1 day\n");
    world.run("data run --no-throttle").exits(0);
    let undo = world
        .command("data undo 1 --yes --json")
        .variable("DUNLIN_FAILPOINT", "undo.chunk")
        .variable("DUNLIN_FAILPOINT_ACTION", "stop")
        .start();
    undo.until_stopped();
    let captured = world.ledger("captured");
    let over = if product == Product::Sqlite { "1" } else { "'2001-02-03'" };
    world.sql(&format!("UPDATE {captured} SET forget_at = {over}"));
    let count = format!("SELECT count(*) FROM {captured}");
    let left = world.sql(&count);
    world.sql("CREATE TABLE others (id integer NOT NULL PRIMARY KEY, n integer); INSERT INTO others VALUES (1, 1)");
    world.data(2, "-- dunlin: chunk-by others\nUPDATE others SET n = 2 WHERE :chunk;\n");
    world.run("data run 2").exits(0);
    assert_eq!(world.sql(&count), left, "{left} are not undone yet");
    undo.signal(Signal::CONT);
    let undone = json(&undo.end().exits(0));
    assert_eq!((&undone["restored"], &undone["changed_since"]), (&MANY.into(), &0.into()));
    assert_eq!(changed(&world), 0);
}
on_each!(an_undo_keeps_what_it_is_at_work_on: postgres, mysql, sqlite);

/// An undo that begins when old values were forgotten says so, in the end too, and also after a death;
/// where nothing is left at all, it is refused, and the migration stays done.
fn a_late_undo_says_so(product: Product) {
    let world = accounts(product, "chunk_undo_late", ROWS);
    doubling(&world, 1, "-- dunlin: undo capture for 1 day\n");
    world.run("data run --no-throttle").exits(0);
    let long_ago = if product == Product::Sqlite { "1" } else { "'2001-02-03'" };
    let (captured, backfills) = (world.ledger("captured"), world.ledger("backfills"));
    world.sql(&format!("UPDATE {backfills} SET started_at = {long_ago}"));
    world.sql(&format!("UPDATE {captured} SET forget_at = {long_ago} WHERE number % 2 = 0"));
    world.sql("CREATE TABLE others (id integer NOT NULL PRIMARY KEY, n integer); INSERT INTO others VALUES (1, 1)");
    let others = "-- dunlin: chunk-by others\nUPDATE others SET n = 2 WHERE :chunk;\n";
    world.data(2, others);
    world.run("data run 2").exits(0);
    let half: u32 =
        world.sql(&format!("SELECT count(*) FROM {captured}")).parse().expect("a number");
    assert!(half > 0 && half < ROWS, "{half}");
    let killed = world.command("data undo 1 --yes").variable("DUNLIN_FAILPOINT", "undo.done");
    dies(killed, "undo.done");
    let undone = world.run("data undo 1 --yes").exits(0);
    undone.says("rows whose values were forgotten stay");
    assert_eq!(changed(&world), ROWS - half);
    let reason = format!(
        "SELECT reason FROM {} WHERE kind = 'data' AND version = 1",
        world.ledger("migrations")
    );
    assert!(world.sql(&reason).contains("had not been forgotten"), "{}", world.sql(&reason));

    world.sql("UPDATE accounts SET balance = was");
    world.run("data rerun 1").exits(0);
    world.sql(&format!("UPDATE {backfills} SET started_at = {long_ago}"));
    world.sql(&format!("UPDATE {captured} SET forget_at = {long_ago}"));
    world.data(3, others);
    world.run("data run 3").exits(0);
    assert_eq!(world.sql(&format!("SELECT count(*) FROM {captured}")), "0");
    world.run("data undo 1 --yes").exits(2).says("its old values are forgotten");
    world.run("check --data 1").exits(0);
    assert_each_once(&world, ROWS, "nothing was undone");
}
on_each!(a_late_undo_says_so: postgres, mysql, sqlite);

/// Without `undo capture` there is nothing to put back, and that is said.
#[test]
fn what_was_not_kept_is_refused() {
    let world = accounts(Product::Sqlite, "chunk_undo_none", ROWS);
    doubling(&world, 1, "");
    world.run("data run").exits(0);
    world.run("data undo 1 --yes").exits(2).says("undo capture");
    assert_each_once(&world, ROWS, "as it was");
}
