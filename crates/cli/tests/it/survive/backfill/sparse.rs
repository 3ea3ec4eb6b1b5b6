//! Few rows match: they are found by one search, and chunks are lists of their keys. Whatever
//! happens, each of them is done once, and no other row is touched.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::super::world::{Start, World, on_each};
use super::poison::quarantined;
use super::{IN_CHUNKS, accounts, dies, status};

/// Rows of the table, of which one in 400 matches: five chunks of ten.
const MANY: u32 = 20_000;
const FEW: u32 = 50;

const DOUBLE_FEW: &str = "UPDATE accounts SET balance = balance * 2 + 1 WHERE due AND :chunk;\n";

/// Accounts of which few are due.
fn few(product: Product, name: &str) -> World {
    let world = accounts(product, name, MANY);
    world.sql(
        "ALTER TABLE accounts ADD COLUMN due boolean; UPDATE accounts SET due = id % 400 = 0; \
         VACUUM ANALYZE accounts;",
    );
    world
}

fn doubling_few(world: &World, header: &str) {
    world.data(1, &format!("{IN_CHUNKS}{header}{DOUBLE_FEW}"));
}

/// Others use the server of these tests, which would make it walk.
fn run(world: &World) -> Start {
    world.command("data run --no-throttle --lease-wait 60s")
}

fn armed(world: &World, failpoint: &str, action: &str) -> Start {
    run(world).variable("DUNLIN_FAILPOINT", failpoint).variable("DUNLIN_FAILPOINT_ACTION", action)
}

/// Each that was due is done once, and the others not at all.
#[track_caller]
fn assert_few_once(world: &World, when: &str) {
    let wrong = "SELECT count(*) FROM accounts WHERE balance <> \
                 CASE WHEN id % 400 = 0 THEN was * 2 + 1 ELSE was END AND id > 0";
    assert_eq!(world.sql(wrong), "0", "{when}");
}

/// (1, 2, 13) Killed around a chunk, it searches for what is left.
fn a_search_is_made_again_after_a_death(product: Product) {
    let world = few(product, "sparse_death");
    for (failpoint, left) in [
        ("backfill.begun", 50),
        ("chunk.sending@3", 30),
        ("chunk.executed@3", 30),
        ("commit.sent@5", 0),
        ("chunk.committed@5", 0),
    ] {
        doubling_few(&world, "");
        if failpoint.starts_with("commit") {
            // Which commit it was, and whether it took place, nobody can tell.
            let ended = armed(&world, failpoint, "kill").start().end();
            assert_eq!(ended.signal, Some(9), "{}", ended.all());
            run(&world).start().end().exits(0);
        } else {
            dies(armed(&world, failpoint, "kill"), failpoint);
            let ended = run(&world).start().end().exits(0);
            if left > 0 {
                ended.says(&format!("{left} rows to be done, found by one search"));
            }
        }
        assert_few_once(&world, failpoint);
        assert_eq!(status(&world, 1)["rows_done"], FEW, "{failpoint}");
        world.sql("UPDATE accounts SET balance = was; DROP SCHEMA dunlin CASCADE; VACUUM ANALYZE accounts;");
    }
}
on_each!(a_search_is_made_again_after_a_death: postgres, pgbouncer);

/// (16, 39) What was found is looked at again when its turn comes, and may be gone by then.
#[test]
fn rows_that_were_found_are_looked_at_again() {
    let world = few(Product::Postgres, "sparse_changed");
    doubling_few(&world, "");
    let halted = armed(&world, "chunk.sending@2", "stop").start();
    halted.until_stopped();
    world.sql(
        "UPDATE accounts SET due = false WHERE id = 8000; DELETE FROM accounts WHERE id = 8400; \
         UPDATE accounts SET balance = 1000, was = 1000 WHERE id = 8800;",
    );
    halted.signal(Signal::CONT);
    halted.end().exits(0);
    assert_eq!(world.sql("SELECT balance = was FROM accounts WHERE id = 8000"), "t");
    assert_eq!(world.sql("SELECT balance FROM accounts WHERE id = 8800"), "2001");
    assert_eq!(status(&world, 1)["rows_done"], FEW - 2);
}

/// (36) A row that fails among those that were found stands alone after some halvings.
#[test]
fn a_row_that_fails_is_set_aside() {
    let world = few(Product::Postgres, "sparse_poison");
    world.sql(
        "UPDATE accounts SET balance = 900, was = 900 WHERE id = 6800; \
         ALTER TABLE accounts ADD CONSTRAINT small CHECK (balance < 1000);",
    );
    doubling_few(&world, "-- dunlin: on-error quarantine\n");
    run(&world).start().end().exits(6).says("found by one search");
    assert_eq!(quarantined(&world), ["6800"]);
    world.sql("UPDATE accounts SET balance = 9, was = 9 WHERE id = 6800");
    world.run("data quarantine retry 1").exits(0);
    run(&world).start().end().exits(0);
    assert_few_once(&world, "repaired");
}

/// Two workers share what was found, and rows without a key are done as ever.
#[test]
fn workers_share_what_was_found() {
    let world = few(Product::Postgres, "sparse_workers");
    world.sql(
        "ALTER TABLE accounts DROP CONSTRAINT accounts_pkey, ALTER COLUMN id DROP NOT NULL, \
         ADD UNIQUE (id); INSERT INTO accounts SELECT NULL, 5, 5, true FROM generate_series(1, 3); \
         ANALYZE accounts;",
    );
    doubling_few(&world, "-- dunlin: workers 2\n-- dunlin: chunk-key id\n");
    run(&world).start().end().exits(0).says("50 rows to be done, found by one search");
    assert_few_once(&world, "two workers");
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE id IS NULL AND balance = 11"), "3");
    assert_eq!(status(&world, 1)["rows_done"], FEW + 3);
}

/// Row code gets the rows that its `where` takes, and only those are read.
#[test]
fn row_codes_rows_are_found_as_well() {
    let world = few(Product::Postgres, "sparse_rows");
    super::poison::doubling_program(&world, "", ":");
    let file = world.root().join("data_migrations/1_double.toml");
    let text = std::fs::read_to_string(&file).expect("it is there");
    let text = text.replace("[rows]\n", "[rows]\nwhere = \"due\"\n");
    world.write("data_migrations/1_double.toml", &text);
    run(&world).start().end().exits(0).says("50 rows to be done, found by one search");
    assert_few_once(&world, "row code");
}

/// Whoever says how fast it may go does not want the whole table read at once.
#[test]
fn a_rate_means_a_walk() {
    let world = few(Product::Postgres, "sparse_rate");
    let header = "-- dunlin: chunk-by accounts\n-- dunlin: rate 1000000 rows/s\n";
    world.data(1, &format!("{header}{DOUBLE_FEW}"));
    let ended = run(&world).start().end().exits(0);
    assert!(!ended.all().contains("found by one search"), "{}", ended.all());
    assert_few_once(&world, "walked");
}
