//! Death by `kill -9` around commits, and what the next start finds.

use dunlin_testkit::servers::Product;

use super::world::{DOUBLE, ONE_NUMBER, PAUSE, World, doubled, on_each, pausing, pausing_now};

/// Where a data migration dies: the failpoint, and whether the migration is done by then, where
/// that is certain.
const DEATHS: [(&str, Option<bool>); 5] = [
    // The lease of `schema` is the first, that of the data migration the second.
    ("claim.granted@2", Some(false)),
    ("commit.begun", Some(false)),
    ("commit.executed", Some(false)),
    // The server may or may not have received it.
    ("commit.sent", None),
    ("commit.done", Some(true)),
];

/// (1, 2, 3, 4, 10) Killed before BEGIN, with rows written, and after COMMIT before anybody heard
/// of it, and started again from a fresh copy of the files somewhere else: all that is known is in
/// the database, and each change is made once.
fn a_death_around_a_commit_loses_and_doubles_nothing(product: Product) {
    let mut world = World::new(product, "death_commit");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    let mut times = 0;
    for (failpoint, done) in DEATHS {
        if product == Product::Sqlite && failpoint == "commit.sent" {
            // Nothing is sent: the process itself commits.
            continue;
        }
        times += 1;
        let version = 1 + i64::try_from(times).expect("few");
        world.data(version, DOUBLE);
        world.die_at(failpoint);
        if let Some(done) = done {
            let code = if done { 0 } else { 3 };
            world.run(&format!("check --data {version}")).exits(code);
        }
        if product == Product::Sqlite {
            assert_eq!(world.sql("PRAGMA integrity_check"), "ok", "after {failpoint}");
        }
        world.move_elsewhere();
        world.run("migrate").exits(0);
        assert_eq!(world.sql("SELECT n FROM t"), doubled(times), "after {failpoint}");
    }
    assert!(world.times_up().iter().all(|(_, count)| *count == 1), "{:?}", world.times_up());
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(times));
}
on_each!(a_death_around_a_commit_loses_and_doubles_nothing: postgres, pgbouncer, mysql, sqlite);

/// (5, 10) Where definitions are transactional, they and their ledger row are there together or not
/// at all, wherever the runner died.
fn definitions_and_their_row_are_one(product: Product) {
    let mut world = World::new(product, "death_ddl");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    for (number, failpoint) in
        ["commit.begun", "commit.executed", "commit.sent", "commit.done"].into_iter().enumerate()
    {
        if product == Product::Sqlite && failpoint == "commit.sent" {
            continue;
        }
        let version = 2 + number;
        world.schema(
            i64::try_from(version).expect("small"),
            &format!(
                "CREATE TABLE made{version} (id integer);\nALTER TABLE t ADD COLUMN c{version} \
                 integer;\nINSERT INTO made{version} VALUES (1);\n"
            ),
        );
        world.die_at(failpoint);
        let catalogue = match product {
            Product::Sqlite => format!("SELECT 1 FROM sqlite_master WHERE name = 'made{version}'"),
            _ => format!("SELECT 1 FROM pg_class WHERE relname = 'made{version}'"),
        };
        let together = format!(
            "SELECT CASE WHEN EXISTS ({catalogue}) = EXISTS (SELECT 1 FROM {} \
             WHERE version = {version} AND state = 'applied') THEN 'both or none' END",
            world.ledger("migrations")
        );
        assert_eq!(world.sql(&together), "both or none", "after {failpoint}");
        world.move_elsewhere();
        world.run("migrate").exits(0);
        assert_eq!(world.sql(&format!("SELECT count(*) FROM made{version}")), "1", "{failpoint}");
    }
    if product == Product::Sqlite {
        assert_eq!(world.sql("PRAGMA integrity_check"), "ok");
    }
}
on_each!(definitions_and_their_row_are_one: postgres, sqlite);

/// (8) The runner is killed inside a long statement, which goes on running on the server. The next
/// start ends it before it makes the change itself.
fn an_orphan_on_the_server_is_ended_first(product: Product) {
    let world = World::new(product, "orphan");
    world.schema(1, &format!("{ONE_NUMBER}{PAUSE}"));
    world.run("migrate").exits(0);
    world.data(2, &format!("{DOUBLE}{}", pausing(product)));
    let run = world.command("migrate").start();
    world.until(pausing_now(product), "1");
    run.kill();
    world.sql("UPDATE pause SET seconds = 0");
    assert_eq!(world.sql(pausing_now(product)), "1", "the orphan has no reason to end by itself");
    world.run("migrate").exits(0);
    world.until(pausing_now(product), "0");
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
}
on_each!(an_orphan_on_the_server_is_ended_first: postgres, mysql);

/// (8) Through a pooler too, which closes the server's connection when its client dies, without
/// the server noticing.
#[test]
fn an_orphan_behind_a_pooler_makes_no_second_change() {
    let world = World::new(Product::Pgbouncer, "orphan_pooled");
    world.schema(1, &format!("{ONE_NUMBER}{PAUSE}"));
    world.run("migrate").exits(0);
    world.data(2, &format!("{DOUBLE}{}", pausing(Product::Pgbouncer)));
    let run = world.command("migrate").start();
    world.until(pausing_now(Product::Pgbouncer), "1");
    run.kill();
    world.sql("UPDATE pause SET seconds = 0");
    world.run("migrate").exits(0);
    world.until(pausing_now(Product::Pgbouncer), "0");
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
}

/// (31) The lease of a runner that was killed is free once it expires, without any command, also
/// for a runner that can't know whether the other one lives (on another host, say).
fn a_dead_strangers_lease_is_free_after_its_time(product: Product) {
    let world = World::new(product, "stranger");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    world.data(2, DOUBLE);
    let ended = world
        .command("migrate")
        .lease(2000)
        .variable("DUNLIN_FAILPOINT", "claim.granted@2")
        .start()
        .end();
    assert_eq!(ended.signal, Some(9), "{}", ended.all());
    world.sql(&format!(
        "UPDATE {} SET host = 'elsewhere', identity = 'another-boot/pid:[1]#1@1'",
        world.ledger("leases")
    ));
    let ended = world.run("migrate --lease-wait 60s").exits(0);
    assert!(!ended.stderr.contains("which is gone"), "it can't know that:\n{}", ended.all());
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
}
on_each!(a_dead_strangers_lease_is_free_after_its_time: postgres, mysql, sqlite);

/// (31) On the same machine the next start knows that the old process is gone, and waits for
/// nothing: not for the end of the lease, which is much longer than any wait here.
fn a_dead_neighbours_lease_is_free_at_once(product: Product) {
    let world = World::new(product, "neighbour");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    world.data(2, DOUBLE);
    let ended = world
        .command("migrate")
        .lease(3_600_000)
        .variable("DUNLIN_FAILPOINT", "claim.granted")
        .start()
        .end();
    assert_eq!(ended.signal, Some(9), "{}", ended.all());
    world.run("migrate --lease-wait 1s").exits(0).says("which is gone");
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
}
on_each!(a_dead_neighbours_lease_is_free_at_once: postgres, pgbouncer, mysql, sqlite);
