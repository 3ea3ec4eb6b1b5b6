//! Death in files whose statements run one by one, with a journal before and after each.

use dunlin_testkit::servers::Product;

use rustix::process::Signal;

use super::world::{DOUBLE, ONE_NUMBER, World, doubled, on_each};

/// A file of statements most of which fail or do harm when they are run twice, and how many of
/// them are journalled before and after.
fn stepwise(product: Product, version: i64) -> (String, usize) {
    match product {
        Product::Mysql => (
            format!(
                "ALTER TABLE t ADD COLUMN c{version} integer;\n\
                 CREATE INDEX i{version} ON t (c{version});\n{DOUBLE}\
                 CREATE TABLE u{version} (id integer);\n\
                 RENAME TABLE u{version} TO v{version};\n"
            ),
            4,
        ),
        Product::Sqlite => (
            format!(
                "-- dunlin: no-transaction\nCREATE TABLE u{version} (id integer);\n{DOUBLE}\
                 VACUUM;\nALTER TABLE t ADD COLUMN c{version} integer;\n"
            ),
            1,
        ),
        Product::Postgres | Product::Pgbouncer => (
            format!(
                "-- dunlin: no-transaction\nALTER TABLE t ADD COLUMN c{version} integer;\n\
                 CREATE INDEX CONCURRENTLY i{version} ON t (c{version});\n{DOUBLE}VACUUM t;\n\
                 DROP INDEX CONCURRENTLY i{version};\n"
            ),
            3,
        ),
    }
}

/// Every point around every statement.
fn deaths(product: Product) -> Vec<String> {
    let (_, journalled) = stepwise(product, 0);
    // What is created or dropped on MySQL is closed by the journal of the next statement.
    let closed = if product == Product::Mysql { 2 } else { journalled };
    let mut deaths: Vec<String> = (1..=closed).map(|nth| format!("step.closed@{nth}")).collect();
    for failpoint in ["step.opened", "step.sending", "step.executed"] {
        deaths.extend((1..=journalled).map(|nth| format!("{failpoint}@{nth}")));
    }
    if product == Product::Sqlite {
        // Those that share a transaction with their journal pass the same points.
        let more = ["step.sending", "step.executed", "step.closed"];
        deaths.extend(more.iter().flat_map(|at| (2..=4).map(move |nth| format!("{at}@{nth}"))));
    } else {
        deaths.extend(["commit.begun", "commit.executed", "commit.done"].map(str::to_owned));
    }
    deaths
}

/// (6, and 7 without a wait) Killed at every point around every statement of a file that can't be
/// one transaction: the next start looks up what took effect and goes on there.
fn a_death_around_a_step_is_looked_up(product: Product) {
    let mut world = World::new(product, "death_step");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    let deaths = deaths(product);
    for (number, failpoint) in deaths.iter().enumerate() {
        let version = 2 + i64::try_from(number).expect("small");
        world.schema(version, &stepwise(product, version).0);
        world.die_at(failpoint);
        world.move_elsewhere();
        world.run("migrate").exits(0);
        assert_eq!(world.sql("SELECT n FROM t"), doubled(number + 1), "after {failpoint}");
    }
    assert!(world.times_up().iter().all(|(_, count)| *count == 1), "{:?}", world.times_up());
    assert_eq!(world.sql(&format!("SELECT count(*) FROM {}", world.ledger("steps"))), "0");
}
on_each!(a_death_around_a_step_is_looked_up: postgres, mysql, sqlite);

/// (7) Killed while CREATE INDEX CONCURRENTLY waits for an older transaction: what it left is
/// dropped, and the index built again, although the older transaction is still there at first.
#[test]
fn an_index_whose_build_was_killed_is_built_again() {
    let world = World::new(Product::Postgres, "death_index");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    let mut older = world.visitor();
    older.ask("BEGIN; INSERT INTO t VALUES (2, 2);").expect("an older transaction");
    world.schema(
        2,
        "-- dunlin: no-transaction\n-- dunlin: lock-timeout 1s\n\
         CREATE INDEX CONCURRENTLY t_n ON t (n);\n",
    );
    let waiting = "SELECT count(*) FROM pg_stat_progress_create_index \
         WHERE datname = current_database() AND phase LIKE 'waiting for%'";
    // Its lock timeout ends each try after a second; a try is killed in its middle.
    let run = world.command("migrate").start();
    world.until(waiting, "1");
    run.kill();
    assert_eq!(
        world.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_n'::regclass"),
        "f"
    );
    let run = world.command("migrate").start();
    run.until_says("retry");
    older.ask("COMMIT;").expect("committed");
    run.end().exits(0);
    let indexes = "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid \
         WHERE indrelid = 't'::regclass AND NOT indisprimary";
    assert_eq!(world.sql(indexes), "t_n|t");
}

/// (7, 30) A runner that found a dead build's INVALID index, and slept past its lease before it
/// dropped it: the index that another one has built meanwhile under the same name stays.
fn who_slept_before_dropping_a_leftover_drops_nothing_else(product: Product) {
    let world = World::new(product, "sleeper_leftover");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    world.schema(2, "-- dunlin: no-transaction\nCREATE INDEX CONCURRENTLY t_n ON t (n);\n");
    world.die_at("step.opened");
    // What a server leaves when the builder's backend is killed.
    world.sql(
        "CREATE INDEX t_n ON t (n); \
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_n'::regclass",
    );
    let sleeper = world
        .command("migrate")
        .lease(700)
        .variable("DUNLIN_FAILPOINT", "leftover.renamed")
        .variable("DUNLIN_FAILPOINT_ACTION", "stop")
        .start();
    sleeper.until_stopped();
    world.run("migrate --lease-wait 60s").exits(0);
    sleeper.signal(Signal::CONT);
    sleeper.end().exits(0);
    let indexes = "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid \
         WHERE indrelid = 't'::regclass AND NOT indisprimary";
    assert_eq!(world.sql(indexes), "t_n|t");
}
on_each!(who_slept_before_dropping_a_leftover_drops_nothing_else: postgres, pgbouncer);

/// (59) A file that stopped half-way, and is one transaction since it was put right: what it kept is
/// not run again, and it is recorded once.
fn what_was_begun_in_steps_is_not_begun_again(product: Product) {
    let world = World::new(product, "steps_then_one");
    world.schema(1, ONE_NUMBER);
    let bad = match product {
        Product::Mysql => "ALTER TABLE t ADD COLUM c integer;\n",
        _ => "UPDATE nope SET n = 1;\n",
    };
    let directive = if product == Product::Mysql { "" } else { "-- dunlin: no-transaction\n" };
    world.data(2, &format!("{directive}{DOUBLE}{bad}"));
    world.run("migrate").exits(1);
    world.data(2, DOUBLE);
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
    world.data(3, &format!("{directive}{DOUBLE}{bad}"));
    world.run("migrate").exits(1);
    world.data(3, &format!("{DOUBLE}{DOUBLE}"));
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(3));
    assert_eq!(world.times_up(), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(world.sql(&format!("SELECT count(*) FROM {}", world.ledger("steps"))), "0");
    world.run("check").exits(0);
}
on_each!(what_was_begun_in_steps_is_not_begun_again: postgres, mysql, sqlite);
