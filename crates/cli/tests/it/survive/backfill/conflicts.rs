//! Others at work in the table that is walked: locks, deadlocks, rows that are not to be seen yet.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::super::world::{World, on_each};
use super::{DOUBLE_EACH, IN_CHUNKS, ROWS, accounts, assert_each_once, data_run, doubling, halted};

/// Somebody holds a row of a later chunk. The run has not met it yet.
fn row_of_a_later_chunk(world: &World) -> dunlin_testkit::servers::Visitor {
    let mut other = world.visitor();
    other.ask("BEGIN; UPDATE accounts SET was = was WHERE id = 55;").expect("it has the row");
    other
}

/// (24, 25) A chunk doesn't get a lock in time (MySQL's error 1205, which undoes one statement
/// only): all of it is rolled back and tried again, smaller and later, and it has two statements to
/// be half done.
fn a_lock_timeout_rolls_the_chunk_back(product: Product) {
    let world = accounts(product, "chunk_lock", ROWS);
    world.sql("CREATE TABLE seen (id integer NOT NULL)");
    world.data(
        1,
        &format!(
            "{IN_CHUNKS}-- dunlin: lock-timeout 1s\n\
             INSERT INTO seen SELECT id FROM accounts WHERE :chunk;\n{DOUBLE_EACH}"
        ),
    );
    let run = halted(&world, "chunk.sending@2");
    let mut other = row_of_a_later_chunk(&world);
    run.signal(Signal::CONT);
    run.until_says("retry");
    assert_eq!(
        world.sql("SELECT count(*) FROM seen WHERE id NOT IN (SELECT id FROM accounts WHERE balance <> was)"),
        "0",
        "no chunk is half done"
    );
    other.ask("COMMIT;").expect("it ends");
    run.end().exits(0);
    assert_each_once(&world, ROWS, "after waiting");
    assert_eq!(
        world.sql("SELECT count(*), count(DISTINCT id) FROM seen").replace('\t', "|"),
        "100|100"
    );
}
on_each!(a_lock_timeout_rolls_the_chunk_back: postgres, mysql);

/// (23) A deadlock with the application, in which the chunk is the one that gives way: it is tried
/// again, and each row is changed once by both.
fn a_deadlock_makes_the_chunk_give_way(product: Product) {
    let world = accounts(product, "chunk_deadlock", ROWS);
    doubling(&world, 1, "-- dunlin: lock-timeout 1h\n");
    let run = halted(&world, "chunk.sending@5");
    let mut other = world.visitor();
    // Who wrote more, or is slower to look, survives.
    other
        .ask(match product {
            Product::Mysql => {
                "CREATE TABLE more (id integer); BEGIN; INSERT INTO more SELECT seq FROM seq_1_to_500; \
                 UPDATE accounts SET was = was WHERE id = 48;"
            }
            _ => {
                "SET deadlock_timeout = '60s'; BEGIN; UPDATE accounts SET was = was WHERE id = 48;"
            }
        })
        .expect("it has a row of the chunk's end");
    run.signal(Signal::CONT);
    world.until(waiting_for_a_row(product), "1");
    // Now each waits for the other.
    other.say("UPDATE accounts SET was = was WHERE id = 42;");
    run.until_says("retry");
    other.ask("COMMIT;").expect("it survives");
    run.end().exits(0);
    assert_each_once(&world, ROWS, "after a deadlock");
}
on_each!(a_deadlock_makes_the_chunk_give_way: postgres, mysql);

fn waiting_for_a_row(product: Product) -> &'static str {
    match product {
        Product::Mysql => {
            "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() \
             AND (info LIKE 'UPDATE accounts SET balance%' OR info LIKE 'SELECT COUNT(*) FROM%FOR UPDATE')"
        }
        _ => {
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND wait_event_type = 'Lock'"
        }
    }
}

/// (40) A transaction that was open before the start has rows of low keys that nobody sees yet: the
/// run waits for it and says so, and its rows are done too.
#[test]
fn rows_that_are_not_to_be_seen_yet_are_waited_for() {
    let world = accounts(Product::Postgres, "chunk_late", ROWS);
    let mut other = world.visitor();
    other.ask("BEGIN; INSERT INTO accounts VALUES (-7, 5, 5);").expect("inserted");
    doubling(&world, 1, "");
    let run = data_run(&world).start();
    run.until_says("waits for transactions that began before it");
    assert_eq!(super::changed(&world), 0);
    other.ask("COMMIT;").expect("committed");
    run.end().exits(0);
    assert_each_once(&world, ROWS + 1, "with the late row");
}

/// (40) On MySQL the chunk waits for such a row, which its UPDATE alone would pass over.
#[test]
fn rows_in_doubt_are_waited_for_by_the_chunk() {
    let world = accounts(Product::Mysql, "chunk_late", ROWS);
    let mut other = world.visitor();
    other.ask("BEGIN; INSERT INTO accounts VALUES (-7, 5, 5);").expect("inserted");
    doubling(&world, 1, "-- dunlin: lock-timeout 1h\n");
    let run = data_run(&world).start();
    let waiting = "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() \
                   AND info LIKE 'SELECT COUNT(*) FROM%FOR UPDATE'";
    world.until(waiting, "1");
    other.ask("COMMIT;").expect("committed");
    run.end().exits(0);
    assert_each_once(&world, ROWS + 1, "with the late row");
}

/// (39, 40) The application goes on inserting, changing and deleting while a chunk is about to be
/// sent: what it adds beyond the last key seen is its own, what it deletes stays deleted.
fn what_others_do_meanwhile_stays_done(product: Product) {
    let world = accounts(product, "chunk_beside", ROWS);
    doubling(&world, 1, "");
    let run = halted(&world, "chunk.sending@5");
    world.sql(
        "DELETE FROM accounts WHERE id IN (2, 77); \
         UPDATE accounts SET balance = 1000, was = 1000 WHERE id = 88; \
         INSERT INTO accounts VALUES (1000, 6, 6);",
    );
    run.signal(Signal::CONT);
    run.end().exits(0);
    assert_eq!(world.sql("SELECT balance FROM accounts WHERE id = 88"), "2001");
    assert_eq!(world.sql("SELECT balance FROM accounts WHERE id = 1000"), "6");
    world.sql("DELETE FROM accounts WHERE id = 1000");
    assert_each_once(&world, ROWS - 2, "beside others");
}
on_each!(what_others_do_meanwhile_stays_done: postgres, mysql, sqlite);
