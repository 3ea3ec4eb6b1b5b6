//! The way back: what nobody was shown is not undone, and what a migration's undoing takes away is
//! done again in full, whatever happens meanwhile.

use dunlin_testkit::proxy::Trap;
use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::beside::Beside;
use super::world::{Ended, Run, World, on_each};

/// A schema migration with its way back.
fn both_ways(world: &World, version: i64, up: &str, down: &str) {
    world.write(&format!("migrations/{version}_change.up.sql"), up);
    world.write(&format!("migrations/{version}_change.down.sql"), down);
}

/// Two tables, a migration each, with a row in the first; and a third migration that is pending.
fn two_tables(world: &World) {
    both_ways(world, 1, "CREATE TABLE one (id integer);\n", "DROP TABLE one;\n");
    both_ways(world, 2, "CREATE TABLE two (id integer);\n", "DROP TABLE two;\n");
    world.run("migrate").exits(0);
    world.sql("INSERT INTO one VALUES (1)");
    both_ways(world, 3, "CREATE TABLE three (id integer);\n", "DROP TABLE three;\n");
}

/// Which of the three are there, or rather which versions are applied.
fn applied(world: &World) -> String {
    let answer = world.sql(&format!(
        "SELECT version FROM {} WHERE state = 'applied' ORDER BY version",
        world.ledger("migrations")
    ));
    answer.lines().collect::<Vec<_>>().join(" ")
}

/// (13) The answer to any COMMIT of a run that goes so many steps is lost: it goes no step further,
/// and what nobody was shown keeps its rows.
fn a_lost_answer_takes_no_step_more(product: Product) {
    let mut world = World::new(product, "back_reply_lost");
    two_tables(&world);
    let beside = Beside::of(&mut world);
    for nth in 1.. {
        let mut sprung = false;
        for (words, left) in [("rollback --step 1 --yes", "1"), ("migrate --step 1", "1 2")] {
            beside.arm(Trap::ReplyLost { pattern: "COMMIT".to_owned(), nth });
            let before = applied(&world);
            let mut ended = world.run(words);
            sprung |= !beside.proxy.disarm();
            if ended.code == Some(1) {
                // It was looking at what to show, and has not asked yet.
                assert_eq!(applied(&world), before, "{words}, COMMIT {nth}\n{}", ended.all());
                ended = world.run(words);
            }
            let ended = ended.exits(0);
            assert_eq!(applied(&world), left, "{words}, COMMIT {nth}\n{}", ended.all());
            assert_eq!(world.sql("SELECT id FROM one"), "1", "{words}, COMMIT {nth}");
        }
        if !sprung {
            assert!(nth > 1, "no COMMIT went by in plain text");
            break;
        }
    }
}
on_each!(a_lost_answer_takes_no_step_more: postgres, mysql);

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

/// Wakes it up, to its end.
fn awake(sleeper: Run) -> Ended {
    sleeper.signal(Signal::CONT);
    sleeper.end()
}

/// (30) Two ask for the same step back; the first sleeps past its lease and the second does it. The
/// first goes no step further, and says that it was done already.
fn who_slept_takes_no_step_back_more(product: Product) {
    let world = World::new(product, "back_sleeper");
    two_tables(&world);
    let within = match product {
        Product::Mysql => "step.opened",
        // Inside its transaction it would hold the file.
        Product::Sqlite => "claim.granted",
        Product::Postgres | Product::Pgbouncer => "commit.begun",
    };
    for (words, failpoint, left) in
        [("redo --yes", "claim.granted", "1 2"), ("rollback --step 1 --yes", within, "1")]
    {
        let sleeper = asleep(&world, words, failpoint);
        world.run("rollback --step 1 --yes").exits(0);
        awake(sleeper).exits(0).says("undone already");
        assert_eq!(applied(&world), left, "{words} at {failpoint}");
        assert_eq!(world.sql("SELECT id FROM one"), "1", "{words} at {failpoint}");
    }
}
on_each!(who_slept_takes_no_step_back_more: postgres, pgbouncer, mysql, sqlite);

/// What was applied on top of it since is not left without what it stands on.
#[test]
fn what_was_applied_meanwhile_is_not_pulled_from_under() {
    let world = World::new(Product::Sqlite, "back_meanwhile");
    two_tables(&world);
    let sleeper = asleep(&world, "rollback --step 1 --yes", "claim.granted");
    world.run("migrate").exits(0);
    awake(sleeper).exits(2).says("schema 3 was applied meanwhile");
    assert_eq!(applied(&world), "1 2 3");
}

/// Rows of the table `t` below: several chunks.
const ROWS: usize = 60;

/// A table with rows, a migration that adds a column and one above it; and how to fill the column.
fn a_column(product: Product, name: &str) -> World {
    let world = World::new(product, name);
    let rows = (1..=ROWS).map(|id| format!("({id})")).collect::<Vec<_>>().join(", ");
    let table = "CREATE TABLE t (id integer PRIMARY KEY);\nCREATE TABLE marks (id integer);\n";
    world.schema(1, &format!("{table}INSERT INTO t VALUES {rows};\n"));
    both_ways(&world, 2, "ALTER TABLE t ADD COLUMN c integer;\n", "ALTER TABLE t DROP COLUMN c;\n");
    both_ways(&world, 4, "INSERT INTO marks VALUES (4);\n", "DELETE FROM marks WHERE id = 4;\n");
    world.run("migrate").exits(0);
    world
}

/// Fills the column in chunks.
fn filled_in_chunks(world: &World) {
    world.data(
        3,
        "-- dunlin: chunk-by t\n-- dunlin: chunk-rows 10\n-- dunlin: workers 1\n\
         UPDATE t SET c = id WHERE :chunk;\n",
    );
}

/// Whether the column is filled, once everything is applied again.
#[track_caller]
fn is_filled_in_the_end(world: &World, when: &str) {
    world.run("migrate --lease-wait 60s").exits(0);
    assert_eq!(world.sql("SELECT count(c) FROM t"), ROWS.to_string(), "{when}");
}

/// A backfill was stopped half-way and holds no lease any more; what it fills is taken away and made
/// again: it begins anew, and does not go on where it stopped.
fn a_half_done_backfill_begins_anew(product: Product) {
    let world = a_column(product, "back_half_done");
    filled_in_chunks(&world);
    let stopped = world
        .command("data run 3")
        .variable("DUNLIN_FAILPOINT", "chunk.committed@2")
        .variable("DUNLIN_FAILPOINT_ACTION", "stop")
        .start();
    stopped.until_stopped();
    stopped.signal(Signal::INT);
    awake(stopped).exits(7);
    world.run("rollback --to 1 --yes").exits(0);
    is_filled_in_the_end(&world, "after a stop half-way");
}
on_each!(a_half_done_backfill_begins_anew: postgres, mysql, sqlite);

/// A way back sleeps between two migrations, and what comes after the second is run meanwhile for the
/// first time: it is pending again afterwards.
fn what_ran_beside_a_way_back_runs_again(product: Product) {
    let world = a_column(product, "back_beside");
    world.data(3, "UPDATE t SET c = id;\n");
    let sleeper = asleep(&world, "rollback --to 1 --yes", "commit.done");
    world.run("data run 3 --lease-wait 60s").exits(0);
    awake(sleeper).exits(0);
    assert_eq!(applied(&world), "1");
    is_filled_in_the_end(&world, "after it ran beside");
}
on_each!(what_ran_beside_a_way_back_runs_again: postgres, mysql, sqlite);

/// The same of one that is run once more: the next pass is not taken for that one.
fn what_was_rerun_beside_a_way_back_runs_again(product: Product) {
    let world = a_column(product, "back_rerun");
    filled_in_chunks(&world);
    world.run("data run 3").exits(0);
    let sleeper = asleep(&world, "rollback --to 1 --yes", "commit.done");
    world.run("data rerun 3 --lease-wait 60s").exits(0);
    awake(sleeper).exits(0);
    assert_eq!(applied(&world), "1");
    is_filled_in_the_end(&world, "after it was rerun beside");
}
on_each!(what_was_rerun_beside_a_way_back_runs_again: postgres, mysql, sqlite);

/// (30) A way back sleeps with everything in hand, past its leases; a data migration is run meanwhile:
/// the lease on the schema is still good, and the one on the data is not.
fn each_lease_of_a_way_back_is_a_fence(product: Product) {
    let world = a_column(product, "back_fences");
    filled_in_chunks(&world);
    let sleeper = asleep(&world, "rollback --step 2 --yes", "rollback.held@2");
    world.run("data run 3 --lease-wait 60s").exits(0);
    awake(sleeper).exits(0);
    assert_eq!(applied(&world), "1");
    is_filled_in_the_end(&world, "after it slept with all leases");
}
on_each!(each_lease_of_a_way_back_is_a_fence: postgres, mysql, sqlite);
