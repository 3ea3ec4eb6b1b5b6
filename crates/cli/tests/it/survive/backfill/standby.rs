//! A real standby, an archive and a slot: what stands behind the log that a backfill writes.

use dunlin_testkit::servers::{Durability, Server, Visitor, run_sql};

use super::super::world::{World, wait_for};
use super::{CHANGED, assert_each_once, data_run, doubling, fill};

/// Rows enough that none of these runs is done before its end is asked for.
const MANY: u32 = 1_500;

/// What all of them begin with: slow enough to be looked at, and chunks of a few rows.
const SLOWLY: &str = "-- dunlin: rate 5 rows/s\n";

/// Looks at the ledger, over one session: these tests look often.
struct Look(Visitor);

impl Look {
    fn at(world: &World) -> Self {
        Self(world.visitor())
    }

    /// What slows the run, as `data status` shows it.
    fn reason(&mut self) -> String {
        let there = self.one("SELECT to_regclass('dunlin.backfills') IS NOT NULL;");
        if there != "t" {
            return String::new();
        }
        self.one("SELECT reason FROM dunlin.backfills WHERE version = 1;")
    }

    /// Rows that are done.
    fn done(&mut self) -> u32 {
        self.one(&format!("{CHANGED};")).parse().expect("a number")
    }

    fn one(&mut self, sql: &str) -> String {
        self.0.ask(sql).expect("the server answers").trim().to_owned()
    }

    #[track_caller]
    fn until(&mut self, reason: &str) {
        wait_for(&format!("the reason is {reason}"), || self.reason().starts_with(reason));
    }

    /// How far behind it says that a replica is, in seconds.
    fn seconds_behind(&mut self) -> Option<f64> {
        self.reason().strip_prefix("replica lag: ")?.split_once(" of ")?.0.parse().ok()
    }
}

/// A standby that stops replaying slows the run down and then holds it, and the reason is shown; once
/// it goes on, so does the run.
#[test]
fn a_standby_that_falls_behind_holds_the_run() {
    let primary = Server::postgres(Durability::Relaxed, &[]).expect("a primary");
    let world = fill(World::on(primary.database("behind")), MANY);
    let standby = primary.standby(Durability::Relaxed).expect("a standby");
    let ask = |sql: &str| run_sql(standby.url(), sql).expect("the standby answers");
    ask("SELECT pg_wal_replay_pause()");
    wait_for("it is paused", || ask("SELECT pg_get_wal_replay_pause_state()").trim() == "paused");
    let settings = std::fs::read_to_string(world.root().join("dunlin.toml")).expect("settings");
    let replicas = format!("replica_urls = [\"{}\"]\n", standby.url());
    world.write("dunlin.toml", &format!("{settings}{replicas}"));
    doubling(&world, 1, SLOWLY);
    let run = data_run(&world).start();
    // Rows are done while it is not too far behind, and none once it is: a hold is seen by a lag
    // that grows by seconds while nothing is changed.
    let mut look = Look::at(&world);
    let mut since: Option<(f64, u32)> = None;
    wait_for("it holds", || {
        let (Some(lag), done) = (look.seconds_behind(), look.done()) else { return false };
        match since {
            Some((from, before)) if before == done && from >= 20.0 => lag > from + 2.0,
            _ => {
                since = Some((lag, done));
                false
            }
        }
    });
    assert!(look.done() < MANY);
    ask("SELECT pg_wal_replay_resume()");
    look.until("rate 5 rows/s");
    // Who looks so often is company, which it would make room for.
    drop(look);
    world.run("data set 1 rate=off").exits(0);
    run.end().exits(0);
    assert_each_once(&world, MANY, "behind a standby");
}

/// A replica that nobody reaches is told of once and counts as one that lags; what is known of the server
/// itself is minded all the same.
#[test]
fn a_replica_that_cannot_be_reached_is_named() {
    let primary = Server::postgres(Durability::Relaxed, &[]).expect("a primary");
    let world = fill(World::on(primary.database("unreached")), MANY);
    let settings = std::fs::read_to_string(world.root().join("dunlin.toml")).expect("settings");
    // Nobody listens there.
    let replicas = "replica_urls = [\"postgres://nobody@127.0.0.1:1/none\"]\n";
    world.write("dunlin.toml", &format!("{settings}{replicas}"));
    doubling(&world, 1, SLOWLY);
    let run = data_run(&world).start();
    let mut look = Look::at(&world);
    look.until("replica lag: replica 1 can't be read");
    let ended = run.kill();
    let told = "can't read replica 1 of `replica_urls`";
    assert_eq!(ended.all().matches(told).count(), 1, "{}", ended.all());
}

/// An archive that fails and a slot that nobody reads slow the run down, each with its reason, until
/// somebody sees to it.
#[test]
fn an_archive_that_fails_and_a_forgotten_slot_are_minded() {
    let settings = [
        ("archive_mode", "on"),
        ("max_slot_wal_keep_size", "64MB"),
        // No checkpoint in between, which would give the slot up.
        ("max_wal_size", "4GB"),
    ];
    let server = Server::postgres(Durability::Relaxed, &settings).expect("a server");
    let world = fill(World::on(server.database("archived")), MANY);
    let archive = |command: &str| {
        let sql =
            format!("ALTER SYSTEM SET archive_command = '{command}'; SELECT pg_reload_conf()");
        for one in sql.split("; ") {
            world.sql(one);
        }
        world.sql("SELECT pg_switch_wal()");
    };
    archive("false");
    doubling(&world, 1, SLOWLY);
    let run = data_run(&world).start();
    let mut look = Look::at(&world);
    look.until("archive: the last try to archive WAL failed");
    archive("true");
    look.until("rate 5 rows/s");

    world.sql("SELECT pg_create_physical_replication_slot('forgotten', true)");
    world.sql(
        "SELECT count(pg_logical_emit_message(false, 'x', repeat('x', 1000000))) \
         FROM generate_series(1, 160)",
    );
    look.until("slots: ");
    assert!(look.done() < MANY);
    world.sql("SELECT pg_drop_replication_slot('forgotten')");
    look.until("rate 5 rows/s");
    // Who looks so often is company, which it would make room for.
    drop(look);
    world.run("data set 1 rate=off").exits(0);
    run.end().exits(0);
    assert_each_once(&world, MANY, "in spite of the archive");
}
