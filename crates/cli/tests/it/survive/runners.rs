//! Many runners at once, and runners that wake up too late.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::world::{DOUBLE, ONE_NUMBER, Run, World, doubled, on_each};

/// (27) Sixty-four are started at the same moment on a database without a ledger, as many pods
/// might be: all end well, and each migration was run once.
fn sixty_four_run_each_migration_once(product: Product) {
    let world = World::new(product, "sixty_four");
    world.schema(1, ONE_NUMBER);
    for version in 2..=5 {
        world.data(version, DOUBLE);
    }
    world.schema(6, "CREATE TABLE last (id integer);\n");
    let runs: Vec<Run> =
        (0..64).map(|_| world.command("migrate --lease-wait 2min").start()).collect();
    for run in runs {
        run.end().exits(0);
    }
    assert_eq!(world.sql("SELECT n FROM t"), doubled(4));
    assert_eq!(world.times_up(), [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)]);
}
on_each!(sixty_four_run_each_migration_once: postgres, pgbouncer, mysql, sqlite);

/// Stops a run at a failpoint, lets another one take over, and wakes it up.
fn asleep_at(world: &World, failpoint: &str) {
    let sleeper = world
        .command("migrate")
        .lease(700)
        .variable("DUNLIN_FAILPOINT", failpoint)
        .variable("DUNLIN_FAILPOINT_ACTION", "stop")
        .start();
    sleeper.until_stopped();
    world.run("migrate --lease-wait 60s").exits(0);
    sleeper.signal(Signal::CONT);
    sleeper.end().exits(0);
}

/// (30) A runner is stopped past the end of its lease (a suspended machine, a frozen container)
/// and wakes up in the middle of its work: what it sends is refused, it looks again, and finds
/// nothing to do.
fn who_slept_past_its_lease_changes_nothing(product: Product) {
    let world = World::new(product, "sleeper");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    let commits = ["commit.begun", "commit.executed", "commit.sent", "commit.done"];
    let mut failpoints = vec!["claim.granted@2"];
    // A process that sleeps inside a transaction on a file holds the file: nobody can work then.
    if product != Product::Sqlite {
        failpoints.extend(commits);
    }
    for (number, failpoint) in failpoints.iter().enumerate() {
        world.data(2 + i64::try_from(number).expect("few"), DOUBLE);
        asleep_at(&world, failpoint);
        assert_eq!(world.sql("SELECT n FROM t"), doubled(number + 1), "after {failpoint}");
    }
    assert!(world.times_up().iter().all(|(_, count)| *count == 1), "{:?}", world.times_up());
}
on_each!(who_slept_past_its_lease_changes_nothing: postgres, pgbouncer, mysql, sqlite);

/// (30) The same around a statement that is sent alone: one that was about to be sent is not sent
/// any more.
fn who_slept_around_a_step_changes_nothing(product: Product) {
    let world = World::new(product, "sleeper_step");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    for (number, failpoint) in
        ["step.opened", "step.sending", "step.executed", "step.closed"].into_iter().enumerate()
    {
        let version = 2 + i64::try_from(number).expect("few");
        let text = match product {
            Product::Mysql => {
                format!("ALTER TABLE t ADD COLUMN c{version} integer;\n{DOUBLE}")
            }
            _ => format!(
                "-- dunlin: no-transaction\nRESET ALL;\nCREATE INDEX CONCURRENTLY i{version} ON t (n);\n\
                 {DOUBLE}"
            ),
        };
        world.schema(version, &text);
        asleep_at(&world, failpoint);
        assert_eq!(world.sql("SELECT n FROM t"), doubled(number + 1), "after {failpoint}");
    }
    assert!(world.times_up().iter().all(|(_, count)| *count == 1), "{:?}", world.times_up());
}
on_each!(who_slept_around_a_step_changes_nothing: postgres, mysql);
