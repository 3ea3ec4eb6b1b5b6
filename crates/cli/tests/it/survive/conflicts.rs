//! Others at work in the same tables: deadlocks, lock waits, long readers.

use dunlin_testkit::servers::Product;

use super::world::{ONE_NUMBER, World, on_each};

/// How many sessions are at the second row of the migration below.
fn at_the_second_row(product: Product) -> &'static str {
    match product {
        // Not `innodb_trx`: who reads that more often than ten times a second sees it stand still.
        Product::Mysql => {
            "SELECT count(*) FROM information_schema.processlist \
             WHERE db = DATABASE() AND info LIKE 'UPDATE t SET n = n * 2 + 1 WHERE id = 2%'"
        }
        _ => {
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'"
        }
    }
}

/// A table with two rows, and a data migration that changes one after the other.
fn two_rows(product: Product, name: &str) -> World {
    let world = World::new(product, name);
    world.schema(1, &format!("{ONE_NUMBER}INSERT INTO t VALUES (2, 1);\n"));
    world.run("migrate").exits(0);
    world.data(
        2,
        "-- dunlin: lock-timeout 2s\nUPDATE t SET n = n * 2 + 1 WHERE id = 1;\n\
         UPDATE t SET n = n * 2 + 1 WHERE id = 2;\n",
    );
    world
}

/// (23) A deadlock with another session: the whole transaction is tried again, and each row is
/// changed once.
fn a_deadlock_is_tried_again(product: Product) {
    let world = two_rows(product, "deadlock");
    let mut other = world.visitor();
    // Who wrote more, or is slower to look, survives: the migration is the one that gives way.
    other
        .ask(match product {
            Product::Mysql => {
                "BEGIN; INSERT INTO t SELECT seq, 0 FROM seq_100_to_200; \
                 UPDATE t SET n = n + 100 WHERE id = 2;"
            }
            _ => "SET deadlock_timeout = '60s'; BEGIN; UPDATE t SET n = n + 100 WHERE id = 2;",
        })
        .expect("it has the second row");
    let run = world.command("migrate").start();
    world.until(at_the_second_row(product), "1");
    // Now each waits for the other.
    other.say("UPDATE t SET n = n + 100 WHERE id = 1;");
    run.until_says("retry");
    other.ask("COMMIT;").expect("it survives");
    run.end().exits(0);
    let rows = world.sql("SELECT n FROM t WHERE id < 100 ORDER BY id");
    assert_eq!(rows, "203\n203", "each row is changed once by both");
}
on_each!(a_deadlock_is_tried_again: postgres, mysql);

/// (24) A lock is not had in time: MySQL undoes only that statement (error 1205), so all of the
/// transaction is rolled back before it is tried again.
fn a_lock_timeout_rolls_all_of_it_back(product: Product) {
    let world = two_rows(product, "lock_wait");
    let mut other = world.visitor();
    other.ask("BEGIN; UPDATE t SET n = n + 100 WHERE id = 2;").expect("it has the second row");
    let run = world.command("migrate").start();
    run.until_says("retry");
    // Between two tries nothing of the first is there, and nobody is kept from the first row.
    other.ask("COMMIT;").expect("it ends");
    run.end().exits(0);
    assert_eq!(world.sql("SELECT n FROM t ORDER BY id"), "3\n203");
    assert!(world.times_up().iter().all(|(_, count)| *count == 1), "{:?}", world.times_up());
}
on_each!(a_lock_timeout_rolls_all_of_it_back: postgres, mysql);

/// (25) A definition changes behind a long reader: it gives up soon, so that others don't queue up
/// behind it, says who is in the way, and tries again until the reader is done.
#[test]
fn a_long_reader_is_named_and_holds_up_nobody_else() {
    let world = World::new(Product::Postgres, "long_reader");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    let mut reader = world.visitor();
    reader.ask("SET application_name = 'nightly report'; BEGIN; SELECT n FROM t;").expect("reads");
    let pid = reader.ask("SELECT pg_backend_pid();").expect("its number").trim().to_owned();
    world.schema(2, "-- dunlin: lock-timeout 500ms\nALTER TABLE t ADD COLUMN c integer;\n");
    let run = world.command("migrate").start();
    run.until_says("retry");
    run.until_says(&pid);
    run.until_says("nightly report");
    assert_eq!(world.sql("SELECT n FROM t"), "1", "others get through");
    reader.ask("COMMIT;").expect("done");
    run.end().exits(0);
    assert_eq!(world.sql("SELECT count(c) FROM t"), "0");
}

/// (25) The same on MySQL, where a reader holds a metadata lock.
#[test]
fn a_long_reader_on_mysql_holds_up_nobody_else() {
    let world = World::new(Product::Mysql, "long_reader");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    let mut reader = world.visitor();
    let id = reader.ask("SELECT CONNECTION_ID();").expect("its number").trim().to_owned();
    reader.ask("BEGIN; SELECT n FROM t;").expect("reads");
    world.schema(2, "-- dunlin: lock-timeout 1s\nALTER TABLE t ADD COLUMN c integer;\n");
    let run = world.command("migrate").start();
    run.until_says("retry");
    run.until_says(&id);
    assert_eq!(world.sql("SELECT n FROM t"), "1", "others get through");
    reader.ask("COMMIT;").expect("done");
    run.end().exits(0);
    assert_eq!(world.sql("SELECT count(c) FROM t"), "0");
}

/// (28) A second runner waits while the first builds an index concurrently: it waits without a
/// transaction, so the build does not wait for it in turn.
#[test]
fn a_waiting_runner_is_not_in_the_way_of_a_concurrent_index() {
    let world = World::new(Product::Postgres, "waiting_runner");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    let mut older = world.visitor();
    older.ask("BEGIN; INSERT INTO t VALUES (2, 2);").expect("an older transaction");
    world.schema(
        2,
        "-- dunlin: no-transaction\n-- dunlin: lock-timeout 2min\n\
         CREATE INDEX CONCURRENTLY t_n ON t (n);\n",
    );
    let first = world.command("migrate").start();
    let building = "SELECT count(*) FROM pg_stat_progress_create_index \
         WHERE datname = current_database() AND phase LIKE 'waiting for%'";
    world.until(building, "1");
    let second = world.command("migrate").start();
    second.until_says("waiting");
    older.ask("COMMIT;").expect("done");
    first.end().exits(0);
    second.end().exits(0);
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 't_n'::regclass";
    assert_eq!(world.sql(valid), "t");
}
