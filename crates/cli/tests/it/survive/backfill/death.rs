//! Workers that are killed, or sleep past their lease, anywhere in a backfill.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::super::world::{Run, World, on_each, pausing_now};
use super::{
    IN_CHUNKS, ROWS, accounts, armed, assert_each_once, changed, data_run, dies, doubling, halted,
    reset,
};

/// Where a worker can die, in the order of a run. In the middle of the walk where it is a chunk's.
fn failpoints(product: Product) -> Vec<&'static str> {
    let mut all = vec![
        "claim.granted",
        "backfill.written",
        "backfill.begun",
        "chunk.sending",
        "chunk.sending@4",
        "chunk.executed",
        "chunk.executed@4",
        "chunk.done",
        "chunk.done@4",
        "chunk.committed@4",
        "backfill.walked",
        "backfill.done",
    ];
    match product {
        // Every COMMIT that a run sends by itself: some are chunks'.
        Product::Postgres | Product::Pgbouncer => {
            all.extend(["backfill.barrier", "commit.sent", "commit.sent@4", "commit.sent@9"]);
        }
        Product::Mysql => all.extend(["chunk.begun@4", "chunk.sent", "chunk.sent@4"]),
        Product::Sqlite => all.extend(["chunk.begun@4"]),
    }
    all
}

/// Inside a transaction on a file a sleeping process holds the file: nobody can take over then.
fn holds_the_file(failpoint: &str) -> bool {
    ["chunk.begun", "chunk.executed", "backfill.written", "claim.granted"]
        .iter()
        .any(|inside| failpoint.starts_with(inside))
}

/// (1, 2, 3, 4) A worker is killed anywhere, and another one goes on from a copy of the files in
/// another place: every row is changed once.
fn a_death_anywhere_changes_each_row_once(product: Product) {
    let mut world = accounts(product, "chunk_death", ROWS);
    for (failpoint, version) in failpoints(product).into_iter().zip(1..) {
        doubling(&world, version, "");
        dies(armed(&world, failpoint, "kill"), failpoint);
        if product == Product::Sqlite {
            assert_eq!(world.sql("PRAGMA integrity_check"), "ok", "after {failpoint}");
        }
        world.move_elsewhere();
        world.run("data run --lease-wait 60s").exits(0);
        assert_each_once(&world, ROWS, failpoint);
        reset(&world);
    }
    assert!(world.times_up().iter().all(|(_, count)| *count == 1), "{:?}", world.times_up());
}
on_each!(a_death_anywhere_changes_each_row_once: postgres, pgbouncer, mysql, sqlite);

/// (1, 2, 3) One backfill is killed at every chunk in its turn, and goes on each time where it was:
/// what was committed is never walked again.
fn a_death_at_every_chunk_ends_in_the_end(product: Product) {
    let world = accounts(product, "chunk_deaths", ROWS);
    doubling(&world, 1, "");
    let mut before = 0;
    for failpoint in ["chunk.executed@2", "chunk.done", "chunk.sending@2", "chunk.committed"] {
        let ended = dies(armed(&world, failpoint, "kill"), failpoint);
        let now = changed(&world);
        assert!(now > before, "{failpoint}: {before} and then {now} rows\n{}", ended.all());
        before = now;
    }
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "in the end");
}
on_each!(a_death_at_every_chunk_ends_in_the_end: postgres, mysql, sqlite);

/// (1, 3, 31) Two workers share a table that was cut for one: the process is killed in the moment
/// after the cut, when one half has no worker yet.
fn a_death_at_a_cut_loses_neither_half(product: Product) {
    const MANY: u32 = 3_000;
    let world = accounts(product, "chunk_cut", MANY);
    let analyze =
        if product == Product::Mysql { "ANALYZE TABLE accounts" } else { "ANALYZE accounts" };
    world.sql(analyze);
    doubling(&world, 1, "");
    dies(armed(&world, "chunk.committed@2", "kill"), "chunk.committed@2");
    let cut = world
        .command("data run --workers 2 --lease-wait 60s")
        .variable("DUNLIN_FAILPOINT", "segment.cut");
    dies(cut, "segment.cut");
    let segments = format!("SELECT count(*) FROM {} WHERE seg > 0", world.ledger("segments"));
    assert_eq!(world.sql(&segments), "2");
    world.run("data run --workers 2 --no-throttle").exits(0);
    assert_each_once(&world, MANY, "after the cut");
}
on_each!(a_death_at_a_cut_loses_neither_half: postgres, mysql);

/// (30) A worker is stopped past its lease anywhere, another one takes over and finishes, and the
/// first wakes up: nothing of it counts.
fn who_slept_past_its_lease_changes_no_row(product: Product) {
    let world = accounts(product, "chunk_sleeper", ROWS);
    // Each takes the time of a lease: every other one in a chunk's first and a later turn.
    let once = failpoints(product).into_iter().filter(|name| !name.starts_with("commit.sent@9"));
    let once =
        once.filter(|name| !matches!(*name, "chunk.sending" | "chunk.executed@4" | "chunk.done"));
    let mut versions = 1..;
    for failpoint in once {
        if product == Product::Sqlite && holds_the_file(failpoint) {
            continue;
        }
        let sleeper = asleep(&world, failpoint, &mut versions);
        data_run(&world).start().end().exits(0);
        assert_each_once(&world, ROWS, failpoint);
        sleeper.signal(Signal::CONT);
        sleeper.end().exits(0);
        assert_each_once(&world, ROWS, failpoint);
        reset(&world);
    }
    assert!(world.times_up().iter().all(|(_, count)| *count == 1), "{:?}", world.times_up());
}
on_each!(who_slept_past_its_lease_changes_no_row: postgres, mysql, sqlite);

/// A worker that sleeps and holds nothing that others need. On a file its lease may be renewed at the
/// very moment: asleep it holds the file then, and another one is sent to sleep in its place.
fn asleep(world: &World, failpoint: &str, versions: &mut impl Iterator<Item = i64>) -> Run {
    for version in versions {
        doubling(world, version, "");
        let sleeper = armed(world, failpoint, "stop").lease(700).start();
        sleeper.until_stopped();
        if world.can_be_written() {
            return sleeper;
        }
        sleeper.signal(Signal::CONT);
        sleeper.end();
        data_run(world).start().end().exits(0);
        reset(world);
    }
    unreachable!("there is always another version")
}

/// (8) A worker is killed while its chunk's statement is at work on the server, where it goes on:
/// who takes over ends it, or waits for it, before the chunk is run again.
fn an_orphaned_chunk_is_ended_first(product: Product) {
    let world = accounts(product, "chunk_orphan", ROWS);
    let (sleep, pause) = match product {
        Product::Mysql => ("SLEEP(seconds) = 0", "bigint"),
        _ => ("pg_sleep(seconds)::text = ''", "double precision"),
    };
    world.sql(&format!("CREATE TABLE pause (seconds {pause}); INSERT INTO pause VALUES (9000);"));
    world.data(
        1,
        &format!(
            "{IN_CHUNKS}UPDATE accounts SET balance = balance * 2 + 1 WHERE :chunk AND (id <> 35 \
             OR (SELECT {sleep} FROM pause));\n"
        ),
    );
    let run = data_run(&world).start();
    world.until(pausing_now(product), "1");
    run.kill();
    world.sql("UPDATE pause SET seconds = 0");
    assert_eq!(world.sql(pausing_now(product)), "1", "the orphan has no reason to end by itself");
    world.run("data run --lease-wait 60s").exits(0);
    world.until(pausing_now(product), "0");
    assert_each_once(&world, ROWS, "after an orphan");
}
on_each!(an_orphaned_chunk_is_ended_first: postgres, mysql);

/// (31) The lease of a worker that was killed on this machine is free at once, however long it was
/// for; that of one elsewhere once its time is over. Nobody has to type anything.
fn a_dead_workers_lease_is_free(product: Product) {
    let world = accounts(product, "chunk_lease", ROWS);
    doubling(&world, 1, "");
    dies(armed(&world, "chunk.done@2", "kill").lease(3_600_000), "chunk.done@2");
    world.run("data run --lease-wait 1s").exits(0).says("which is gone");
    assert_each_once(&world, ROWS, "a neighbour's");

    reset(&world);
    doubling(&world, 2, "");
    dies(armed(&world, "chunk.done@2", "kill").lease(2_000), "chunk.done@2");
    elsewhere(&world);
    let ended = world.run("data run --lease-wait 60s").exits(0);
    assert!(!ended.stderr.contains("which is gone"), "it can't know that:\n{}", ended.all());
    assert_each_once(&world, ROWS, "a stranger's");
}
on_each!(a_dead_workers_lease_is_free: postgres, mysql, sqlite);

/// Makes the leases those of a runner on another machine.
fn elsewhere(world: &World) {
    world.sql(&format!(
        "UPDATE {} SET host = 'elsewhere', identity = 'another-boot/pid:[1]#1@1'",
        world.ledger("leases")
    ));
}

/// (37) While a worker is dead, or stopped, nothing says that its migration is done.
#[test]
fn half_a_backfill_is_not_done() {
    let world = accounts(Product::Postgres, "chunk_half", ROWS);
    doubling(&world, 1, "");
    world.schema(2, "-- dunlin: requires data 1\nALTER TABLE accounts DROP COLUMN was;\n");
    let run = halted(&world, "chunk.done@3");
    world.run("check --data 1").exits(3);
    run.kill();
    world.run("check --data 1").exits(3);
    assert_eq!(super::status(&world, 1)["worker"], serde_json::Value::Null);
    dies(armed(&world, "backfill.walked", "kill"), "backfill.walked");
    // Every row is changed; nobody has looked whether all is well.
    assert_each_once(&world, ROWS, "walked");
    world.run("check --data 1").exits(3);
    world.run("data run").exits(0);
    world.run("check --data 1").exits(0);
}
