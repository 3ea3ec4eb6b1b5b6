//! What people record, and gates that they close by it, while a run that planned without it sleeps.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::world::{DOUBLE, ONE_NUMBER, Run, World, doubled, on_each};

/// A run that stops itself at a failpoint, with a lease that is soon over.
fn asleep(world: &World, words: &str, failpoint: &str) -> Run {
    let sleeper = world
        .command(words)
        .lease(700)
        .variable("DUNLIN_FAILPOINT", failpoint)
        .variable("DUNLIN_FAILPOINT_ACTION", "stop")
        .start();
    sleeper.until_stopped();
    sleeper
}

/// (30) What was declared applied while a `migrate` slept just before it is not run by it.
fn what_a_baseline_recorded_is_not_run_late(product: Product) {
    let world = World::new(product, "recorded_baseline");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    world.schema(2, "INSERT INTO t VALUES (2, 2);\n");
    world.data(3, DOUBLE);
    let sleeper = asleep(&world, "migrate", "commit.done");
    world.run("baseline --to 3 --yes").exits(0);
    sleeper.signal(Signal::CONT);
    sleeper.end().exits(0);
    assert_eq!(world.sql("SELECT n FROM t WHERE id = 1"), doubled(0));
    assert_eq!(world.times_up(), [(1, 1), (2, 1)]);
}
on_each!(what_a_baseline_recorded_is_not_run_late: postgres, mysql, sqlite);

/// (30) And the other way round: a `baseline` that slept past its leases records nothing, where one
/// of several changed hands.
fn a_baseline_that_slept_records_nothing(product: Product) {
    let world = World::new(product, "recorded_late");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    world.data(2, DOUBLE);
    world.data(3, DOUBLE);
    let sleeper = asleep(&world, "baseline --to 3 --yes", "amend.held");
    world.run("data run 3 --lease-wait 60s").exits(0);
    sleeper.signal(Signal::CONT);
    sleeper.end().exits(1);
    let rows = format!("SELECT count(*) FROM {} WHERE baseline", world.ledger("migrations"));
    assert_eq!(world.sql(&rows), "0");
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(2));
}
on_each!(a_baseline_that_slept_records_nothing: postgres, mysql, sqlite);

/// A column that a backfill reads and a later migration drops; the backfill is done, and the drop
/// comes after another migration at whose end `migrate` sleeps.
fn before_the_drop(product: Product, name: &str) -> (World, Run) {
    let world = World::new(product, name);
    world.schema(
        1,
        "CREATE TABLE t (id integer PRIMARY KEY, n integer, old integer);\n\
         INSERT INTO t VALUES (1, 0, 5), (2, 0, 5);\n",
    );
    world.data(
        2,
        "-- dunlin: chunk-by t\n-- dunlin: undo capture for 1 day\n\
         UPDATE t SET n = n + old WHERE :chunk;\n",
    );
    world.run("migrate").exits(0);
    world.schema(3, "INSERT INTO t VALUES (3, 0, 0);\n");
    world.schema(4, "ALTER TABLE t DROP COLUMN old;\n");
    let sleeper = asleep(&world, "migrate", "commit.done");
    (world, sleeper)
}

/// (30) A data migration is to run once more, and has begun to, while a `migrate` sleeps before it
/// drops what that reads: it drops it only once the data migration is done again.
fn a_rerun_closes_the_gate_before_a_late_drop(product: Product) {
    let (world, sleeper) = before_the_drop(product, "recorded_rerun");
    let died = world
        .command("data rerun 2 --lease-wait 60s")
        .variable("DUNLIN_FAILPOINT", "backfill.begun")
        .start()
        .end();
    assert_eq!(died.signal, Some(9), "it has begun:\n{}", died.all());
    sleeper.signal(Signal::CONT);
    sleeper.end().exits(0);
    assert_eq!(world.sql("SELECT n FROM t ORDER BY id"), "10\n10\n0");
}
on_each!(a_rerun_closes_the_gate_before_a_late_drop: postgres, mysql, sqlite);

/// (30) The same where its changes were undone.
fn an_undo_closes_the_gate_before_a_late_drop(product: Product) {
    let (world, sleeper) = before_the_drop(product, "recorded_undo");
    world.run("data undo 2 --yes").exits(0);
    sleeper.signal(Signal::CONT);
    sleeper.end().exits(0);
    assert_eq!(world.sql("SELECT n, old FROM t WHERE id = 1").replace('\t', "|"), "0|5");
}
on_each!(an_undo_closes_the_gate_before_a_late_drop: postgres, mysql, sqlite);

/// A gate is not closed beneath a migration that stopped half-way and may count on it.
#[test]
fn a_gate_stays_open_beneath_what_stopped_half_way() {
    let world = World::new(Product::Mysql, "recorded_half_way");
    world.schema(1, "CREATE TABLE t (id integer PRIMARY KEY, n integer, old integer);\n");
    world.data(
        2,
        "-- dunlin: chunk-by t\n-- dunlin: undo capture for 1 day\n\
         UPDATE t SET n = old WHERE :chunk;\n",
    );
    world.run("migrate").exits(0);
    world.schema(3, "ALTER TABLE t DROP COLUMN old;\n");
    world.die_at("step.executed");
    for words in ["data rerun 2", "data undo 2 --yes"] {
        world.run(words).exits(2).says("schema 3 stopped half-way");
    }
    world.run("migrate").exits(0);
}
