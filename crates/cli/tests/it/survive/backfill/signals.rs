//! Ctrl-C and SIGTERM in the middle of a backfill.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::super::world::{on_each, wait_for};
use super::{ROWS, accounts, assert_each_once, changed, doubling, halted, status};

/// (9) One signal: the chunk under way is finished and committed, nothing more is begun, and how to
/// go on is said. Going on goes on there.
fn one_signal_finishes_the_chunk(product: Product) {
    let world = accounts(product, "chunk_signal", ROWS);
    doubling(&world, 1, "");
    // Inside a transaction on a file nobody else can look.
    let sqlite = product == Product::Sqlite;
    let run = halted(&world, if sqlite { "chunk.sending@3" } else { "chunk.executed@3" });
    let before = changed(&world);
    run.signal(Signal::INT);
    run.signal(Signal::CONT);
    run.until_says("stopping after the step under way");
    let ended = run.end().exits(7).says("data run 1");
    let after = changed(&world);
    assert!(after > before && after < ROWS, "{before} and then {after}\n{}", ended.all());
    assert_eq!(status(&world, 1)["state"], "stopped");
    world.run("check --data 1").exits(3);
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "gone on");
}
on_each!(one_signal_finishes_the_chunk: postgres, pgbouncer, mysql, sqlite);

/// (9) Two signals: the chunk, which waits for somebody's lock, is rolled back at once, also on the
/// server. Going on goes on there.
fn two_signals_roll_the_chunk_back(product: Product) {
    let world = accounts(product, "chunk_signals", ROWS);
    doubling(&world, 1, "-- dunlin: lock-timeout 1h\n");
    let run = halted(&world, "chunk.sending@3");
    let before = changed(&world);
    let mut other = world.visitor();
    let lock = match product {
        Product::Sqlite => "BEGIN IMMEDIATE;",
        _ => "BEGIN; UPDATE accounts SET was = was;",
    };
    other.ask(lock).expect("it has the rows");
    run.signal(Signal::INT);
    run.signal(Signal::CONT);
    run.until_says("stopping after the step under way");
    run.signal(Signal::TERM);
    run.end().exits(7).says("rolling back");
    assert_eq!(changed(&world), before);
    if product == Product::Postgres {
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND application_name LIKE 'dunlin/%' AND wait_event_type = 'Lock'";
        wait_for("its session ends", || world.sql(ours) == "0");
    }
    other.ask("ROLLBACK;").expect("it ends");
    world.run("data run --lease-wait 60s").exits(0);
    assert_each_once(&world, ROWS, "gone on");
}
on_each!(two_signals_roll_the_chunk_back: postgres, mysql, sqlite);

/// (9) Two workers: both finish their chunk.
#[test]
fn one_signal_finishes_the_chunks_of_all_workers() {
    let world = accounts(Product::Postgres, "chunk_signal_two", 1_000);
    world.sql("ANALYZE accounts");
    doubling(&world, 1, "-- dunlin: workers 2\n");
    let run = halted(&world, "chunk.executed@7");
    run.signal(Signal::TERM);
    run.signal(Signal::CONT);
    run.end().exits(7);
    assert!(changed(&world) < 1_000);
    world.run("data run").exits(0);
    assert_each_once(&world, 1_000, "gone on");
}
