//! SIGTERM, as a deploy tool or a container's end sends it.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::world::{
    DOUBLE, ONE_NUMBER, PAUSE, Run, World, doubled, on_each, pausing, pausing_now, wait_for,
};

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

/// A program that notes its key, and on its first run a child of its own, for which it waits.
const LONG_PROGRAM: &str = "echo \"$DUNLIN_IDEMPOTENCY_KEY\" >> keys\n\
     test -e children && exit 0\n\
     sleep 9000 &\necho $! > children.new && mv children.new children\nwait\n";

/// The same without a child: `children` has its own number.
const PROGRAM_WITHOUT_CHILDREN: &str = "echo \"$DUNLIN_IDEMPOTENCY_KEY\" >> keys\n\
     test -e children && exit 0\n\
     echo $$ > children.new && mv children.new children\nexec sleep 9000\n";

fn process_is_there(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// (9) A program is under way: the signal ends it with all its children, exit code 7, and the
/// next start runs it again with the same key.
#[test]
fn a_signal_ends_a_programs_whole_group() {
    let world = World::new(Product::Sqlite, "signal_program");
    world.schema(1, ONE_NUMBER);
    world.program(2, LONG_PROGRAM);
    let run = world.command("migrate").start();
    wait_for("the program is at work", || world.root().join("children").exists());
    terminate(&run);
    run.end().exits(7);
    let child = std::fs::read_to_string(world.root().join("children")).expect("its number");
    wait_for("its child has ended", || !process_is_there(&child));
    world.run("migrate").exits(0);
    assert_same_key_twice(&world);
}

/// (1, 9) The runner is killed while a program is under way: the program goes with it, and the
/// next start says so and runs it again with the same key.
#[test]
fn a_killed_runners_program_is_run_again_with_its_key() {
    let world = World::new(Product::Sqlite, "kill_program");
    world.schema(1, ONE_NUMBER);
    world.program(2, PROGRAM_WITHOUT_CHILDREN);
    let run = world.command("migrate").start();
    wait_for("the program is at work", || world.root().join("children").exists());
    run.kill();
    let program = std::fs::read_to_string(world.root().join("children")).expect("its number");
    wait_for("the program has ended", || !process_is_there(&program));
    world.run("migrate").exits(0).says("again with the same key");
    assert_same_key_twice(&world);
}

fn assert_same_key_twice(world: &World) {
    let keys = std::fs::read_to_string(world.root().join("keys")).expect("they were noted");
    let keys: Vec<&str> = keys.lines().collect();
    assert!(keys.len() == 2 && keys[0] == keys[1] && keys[0].starts_with("dunlin:"), "{keys:?}");
}
