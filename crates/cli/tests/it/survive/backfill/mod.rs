//! Backfills, which must survive the same and more: each chunk is one commit, and there are many.
//!
//! Each test has a table of accounts, and a statement that must run exactly once for each row:
//! what is lost or done twice shows in the row itself.

mod ahead;
mod apart;
mod conflicts;
mod crashes;
mod death;
mod keys;
mod network;
mod people;
mod poison;
mod room;
mod shapes;
mod signals;
mod sparse;
mod standby;
mod undo;
mod undo_ways;
mod undoable;
mod values;

pub(super) use crashes::SmallDisk;

use dunlin_testkit::servers::Product;
use serde_json::Value;

use super::world::{Ended, Run, Start, World, wait_for};

/// What every chunk does: once for each row, or it shows.
pub(super) const DOUBLE_EACH: &str =
    "UPDATE accounts SET balance = balance * 2 + 1 WHERE :chunk;\n";

/// The header's lines that all of them have: small chunks, so that there are many.
pub(super) const IN_CHUNKS: &str = "-- dunlin: chunk-by accounts\n-- dunlin: chunk-rows 10\n";

/// Rows of most tables: ten chunks.
pub(super) const ROWS: u32 = 100;

/// Something to select from that has a column `n` with the numbers from 1.
pub(super) fn numbers(product: Product, count: u32) -> String {
    match product {
        Product::Postgres | Product::Pgbouncer => {
            format!("(SELECT n FROM generate_series(1, {count}) AS g(n)) AS numbers")
        }
        Product::Mysql => {
            format!("(SELECT CAST(seq AS SIGNED) AS n FROM seq_1_to_{count}) AS numbers")
        }
        Product::Sqlite => format!(
            "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) \
             SELECT n FROM c) AS numbers"
        ),
    }
}

/// A project on a database with the table of accounts.
pub(super) fn accounts(product: Product, name: &str, rows: u32) -> World {
    fill(World::new(product, name), rows)
}

/// Puts the table of accounts into a world.
pub(super) fn fill(world: World, rows: u32) -> World {
    world.sql(&format!(
        "CREATE TABLE accounts (id integer NOT NULL PRIMARY KEY, balance bigint NOT NULL, \
         was bigint NOT NULL);\n\
         INSERT INTO accounts SELECT n, n % 97, n % 97 FROM {};\n",
        numbers(world.product, rows)
    ));
    world
}

/// Gives every account its old balance back.
pub(super) fn reset(world: &World) {
    world.sql("UPDATE accounts SET balance = was");
}

/// A backfill that doubles, with more lines in its header.
pub(super) fn doubling(world: &World, version: i64, header: &str) {
    world.data(version, &format!("{IN_CHUNKS}{header}{DOUBLE_EACH}"));
}

/// Accounts that are not as an uninterrupted run leaves them.
pub(super) const WRONG: &str = "SELECT count(*) FROM accounts WHERE balance <> was * 2 + 1";

/// Accounts that were changed so far.
pub(super) const CHANGED: &str = "SELECT count(*) FROM accounts WHERE balance <> was";

/// Stops the test unless each account was changed exactly once.
#[track_caller]
pub(super) fn assert_each_once(world: &World, rows: u32, when: &str) {
    assert_eq!(world.sql(WRONG), "0", "{when}");
    assert_eq!(world.sql("SELECT count(*) FROM accounts"), rows.to_string(), "{when}");
}

/// How many accounts were changed so far.
#[track_caller]
pub(super) fn changed(world: &World) -> u32 {
    world.sql(CHANGED).parse().expect("a number")
}

/// A run of all data migrations that are pending.
pub(super) fn data_run(world: &World) -> Start {
    world.command("data run --lease-wait 60s")
}

/// The same, which meets its end or halts at a failpoint.
pub(super) fn armed(world: &World, failpoint: &str, action: &str) -> Start {
    data_run(world)
        .variable("DUNLIN_FAILPOINT", failpoint)
        .variable("DUNLIN_FAILPOINT_ACTION", action)
}

/// A run that has halted at a failpoint.
#[track_caller]
pub(super) fn halted(world: &World, failpoint: &str) -> Run {
    let run = armed(world, failpoint, "stop").start();
    run.until_stopped();
    run
}

/// Runs until it dies at a failpoint.
#[track_caller]
pub(super) fn dies(start: Start, failpoint: &str) -> Ended {
    let ended = start.start().end();
    assert_eq!(ended.signal, Some(9), "{failpoint} was not reached\n{}", ended.all());
    ended
}

/// What a command prints with `--json`.
#[track_caller]
pub(super) fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("no JSON:\n{}", ended.all()))
}

/// A backfill as `data status V --json` has it.
#[track_caller]
pub(super) fn status(world: &World, version: i64) -> Value {
    let ended = world.run(&format!("data status {version} --json"));
    json(&ended)["databases"][0]["backfills"][0].clone()
}

/// Waits until `data status` says that about a backfill.
#[track_caller]
pub(super) fn until_status(world: &World, version: i64, field: &str, value: &Value) {
    wait_for(&format!("{field} is {value}"), || status(world, version)[field] == *value);
}
