//! Row code works ahead: while a chunk is written, the program has the rows of the next. Whatever
//! happens in between, each row is changed once, from what it is by then.

use std::fs;

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::super::world::{World, on_each, wait_for};
use super::poison::doubling_program;
use super::{
    ROWS, accounts, armed, assert_each_once, changed, data_run, dies, halted, json, status,
};

/// What a program does that notes when it gets row 57.
const NOTE: &str = "echo 57 >> seen";

/// Which chunk row 57 is in, and how many rows come before that chunk. Where one connection does all,
/// a chunk ends where a walk does.
fn chunk_of_57(product: Product) -> (usize, u32) {
    if product == Product::Sqlite { (7, 48) } else { (6, 50) }
}

/// How often the program got row 57.
fn seen(world: &World) -> usize {
    fs::read_to_string(world.root().join("seen")).unwrap_or_default().lines().count()
}

/// Keys in quarantine.
fn quarantined(world: &World) -> Vec<String> {
    let listed = json(&world.run("data quarantine list 1 --json").exits(0));
    let rows = listed["rows"].as_array().expect("rows");
    rows.iter().map(|row| row["key"][0].as_str().expect("a text").to_owned()).collect()
}

/// (39) A chunk's rows went to the program while the one before was written. Before they are
/// written one changes, and one goes: the one is read and sent again, the other stays away.
fn rows_that_change_after_they_were_read_early_are_sent_again(product: Product) {
    let world = accounts(product, "ahead_changed", ROWS);
    doubling_program(&world, "", NOTE);
    let (turn, before) = chunk_of_57(product);
    let run = halted(&world, &format!("chunk.sending@{turn}"));
    assert_eq!(changed(&world), before);
    world.sql(
        "UPDATE accounts SET balance = 1000, was = 1000 WHERE id = 57; \
         DELETE FROM accounts WHERE id = 58;",
    );
    run.signal(Signal::CONT);
    run.end().exits(0);
    assert_eq!(world.sql("SELECT balance FROM accounts WHERE id = 57"), "2001");
    assert_each_once(&world, ROWS - 1, "beside others");
    assert_eq!(seen(&world), 2, "once early, and once as it was then");
}
on_each!(rows_that_change_after_they_were_read_early_are_sent_again: postgres, pgbouncer, mysql, sqlite);

/// (39) Rows that are locked for the program are locked in their chunk's turn, and not read before.
fn locked_rows_are_not_read_early(product: Product) {
    let world = accounts(product, "ahead_locked", ROWS);
    doubling_program(&world, "", NOTE);
    let file = world.root().join("data_migrations/1_double.toml");
    let text = fs::read_to_string(&file).expect("it is there");
    world
        .write("data_migrations/1_double.toml", &text.replace("[rows]\n", "[rows]\nlock = true\n"));
    let (turn, _) = chunk_of_57(product);
    let run = halted(&world, &format!("chunk.sending@{turn}"));
    world.sql("UPDATE accounts SET balance = 1000, was = 1000 WHERE id = 57");
    run.signal(Signal::CONT);
    run.end().exits(0);
    assert_each_once(&world, ROWS, "with locks");
    assert_eq!(seen(&world), 1);
}
on_each!(locked_rows_are_not_read_early: postgres, mysql, sqlite);

/// (36) A chunk fails while the next one's rows are with the program: it is halved until the row
/// stands alone, and what was begun for the next counts for nothing.
fn a_chunk_that_is_halved_makes_nothing_of_what_was_begun(product: Product) {
    let world = accounts(product, "ahead_halved", ROWS);
    world.sql(
        "CREATE TABLE limited (id integer NOT NULL PRIMARY KEY, balance bigint NOT NULL, \
         was bigint NOT NULL, CONSTRAINT small CHECK (balance < 1000)); \
         INSERT INTO limited SELECT * FROM accounts; DROP TABLE accounts; \
         UPDATE limited SET balance = 900, was = 900 WHERE id = 47; \
         ALTER TABLE limited RENAME TO accounts;",
    );
    doubling_program(&world, "on-error = \"quarantine\"\n", NOTE);
    world.run("data run --no-throttle").exits(6);
    assert_eq!(quarantined(&world), ["47"]);
    assert_eq!(changed(&world), ROWS - 1);
    assert!(seen(&world) > 1, "row 57 was sent early, and then again in its turn");
    world.sql("UPDATE accounts SET balance = 9, was = 9 WHERE id = 47");
    world.run("data quarantine retry 1").exits(0);
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "repaired");
}
on_each!(a_chunk_that_is_halved_makes_nothing_of_what_was_begun: postgres, mysql, sqlite);

/// (36) A row that the program rejects early is set aside with its chunk, and counted once.
fn a_row_that_is_rejected_early_is_set_aside_in_its_turn(product: Product) {
    let world = accounts(product, "ahead_rejected", ROWS);
    doubling_program(
        &world,
        "on-error = \"quarantine\"\n",
        "printf '{\"key\":%s,\"reject\":\"not this one\"}\\n' \"$key\"; continue",
    );
    let (turn, _) = chunk_of_57(product);
    let run = halted(&world, &format!("chunk.sending@{turn}"));
    assert_eq!(status(&world, 1)["quarantined"], 0, "its turn is yet to come");
    run.signal(Signal::CONT);
    run.end().exits(6);
    assert_eq!(quarantined(&world), ["57"]);
    assert_eq!(changed(&world), ROWS - 1);
}
on_each!(a_row_that_is_rejected_early_is_set_aside_in_its_turn: postgres, mysql, sqlite);

/// (35) The program dies at rows that it got early: the chunk before them is written all the same,
/// and the run stops at the row, with its key.
fn a_program_that_dies_early_leaves_the_chunk_before_alone(product: Product) {
    let world = accounts(product, "ahead_dead", ROWS);
    doubling_program(&world, "", "exit 3");
    let ended = world.run("data run --no-throttle").exits(1).says("[\"57\"]").says("exit code 3");
    assert_eq!(changed(&world), 56, "all before it are done\n{}", ended.all());
    doubling_program(&world, "", NOTE);
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "with a better program");
}
on_each!(a_program_that_dies_early_leaves_the_chunk_before_alone: postgres, mysql, sqlite);

/// (1, 8) The worker is killed with the next chunk's rows at the program.
fn what_was_begun_early_dies_with_its_worker(product: Product) {
    let points = ["chunk.sending@6", "chunk.executed@5", "chunk.done@5", "chunk.committed@5"];
    for (number, failpoint) in points.into_iter().enumerate() {
        let world = accounts(product, &format!("ahead_killed_{number}"), ROWS);
        doubling_program(&world, "", NOTE);
        dies(armed(&world, failpoint, "kill"), failpoint);
        world.run("data run --lease-wait 60s").exits(0);
        assert_each_once(&world, ROWS, failpoint);
    }
}
on_each!(what_was_begun_early_dies_with_its_worker: postgres, mysql, sqlite);

/// (9) One signal: the chunk under way is written. Of what was begun for the next nothing is.
fn one_signal_ends_with_the_chunk_under_way(product: Product) {
    let world = accounts(product, "ahead_signal", ROWS);
    doubling_program(&world, "", NOTE);
    let (turn, before) = chunk_of_57(product);
    let run = halted(&world, &format!("chunk.sending@{}", turn - 1));
    run.signal(Signal::INT);
    run.signal(Signal::CONT);
    run.end().exits(7).says("data run 1");
    assert_eq!(changed(&world), before);
    assert_eq!(status(&world, 1)["state"], "stopped");
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "gone on");
}
on_each!(one_signal_ends_with_the_chunk_under_way: postgres, mysql, sqlite);

/// (9) The program never answers for the rows that it got early. The chunk before them is written,
/// and two signals end the run at once, with the program.
fn two_signals_end_a_program_that_was_begun_early(product: Product) {
    let world = accounts(product, "ahead_stuck", ROWS);
    doubling_program(&world, "", "echo 57 >> seen; exec sleep 600");
    let (_, before) = chunk_of_57(product);
    let run = data_run(&world).start();
    wait_for("the program has row 57", || seen(&world) == 1);
    wait_for("the chunk before it is written", || changed(&world) == before);
    run.signal(Signal::INT);
    run.until_says("stopping after the step under way");
    run.signal(Signal::INT);
    run.end().exits(7);
    assert_eq!(changed(&world), before);
    doubling_program(&world, "", NOTE);
    world.run("data run --lease-wait 60s").exits(0);
    assert_each_once(&world, ROWS, "gone on");
}
on_each!(two_signals_end_a_program_that_was_begun_early: postgres, mysql, sqlite);

/// Two workers cut what is left in two while the program has a chunk of it: no row is left out.
#[test]
fn a_segment_is_cut_under_what_was_begun() {
    const MANY: u32 = 1_000;
    let world = accounts(Product::Postgres, "ahead_cut", MANY);
    world.sql("ANALYZE accounts");
    doubling_program(&world, "workers = 3\n", NOTE);
    world.run("data run --no-throttle").exits(0);
    assert_each_once(&world, MANY, "three workers");
}
