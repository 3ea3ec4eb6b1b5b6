//! SIGTERM, as a deploy tool or a container's end sends it.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::world::{DOUBLE, ONE_NUMBER, PAUSE, Run, World, doubled, on_each, pausing, pausing_now};

/// A project whose data migration 2 is long, with another one after it.
fn world_with_a_long_one(product: Product, name: &str) -> World {
    let world = World::new(product, name);
    world.schema(1, &format!("{ONE_NUMBER}{PAUSE}"));
    world.run("migrate").exits(0);
    world.data(2, &format!("{DOUBLE}{}", pausing(product)));
    world.data(3, DOUBLE);
    world
}

/// Starts a run, and returns once its long statement has begun.
fn started(world: &World) -> Run {
    if world.product != Product::Sqlite {
        let run = world.command("migrate").start();
        world.until(pausing_now(world.product), "1");
        return run;
    }
    // A file can't be asked what is at work in it: the run stops itself inside the transaction,
    // and goes on with the signal waiting for it.
    let run = world
        .command("migrate")
        .variable("DUNLIN_FAILPOINT", "commit.begun")
        .variable("DUNLIN_FAILPOINT_ACTION", "stop")
        .start();
    run.until_stopped();
    run
}

fn terminate(run: &Run) {
    run.signal(Signal::TERM);
    run.signal(Signal::CONT);
    run.until_says("stopping after the step under way");
}

/// (9) One signal: the step under way is finished and committed, nothing more is begun, exit code
/// 7; the next start does the rest.
fn one_signal_finishes_the_step(product: Product) {
    let world = world_with_a_long_one(product, "signal_one");
    // Long enough to be met at work; finished by itself.
    world.sql("UPDATE pause SET seconds = 3");
    let run = started(&world);
    terminate(&run);
    run.end().exits(7);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
    world.run("check --data 2").exits(0);
    world.run("check --data 3").exits(3);
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(2));
}
on_each!(one_signal_finishes_the_step: postgres, pgbouncer, mysql, sqlite);

/// (9) Two signals: the statement is ended on the server and all of its migration rolled back
/// (left alone it would last for hours); the next start does it.
fn two_signals_roll_back_at_once(product: Product) {
    let world = world_with_a_long_one(product, "signal_two");
    let run = started(&world);
    terminate(&run);
    run.signal(Signal::TERM);
    run.end().exits(7);
    if product != Product::Sqlite {
        world.until(pausing_now(product), "0");
    }
    assert_eq!(world.sql("SELECT n FROM t"), doubled(0));
    world.sql("UPDATE pause SET seconds = 0");
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(2));
}
on_each!(two_signals_roll_back_at_once: postgres, pgbouncer, mysql, sqlite);
