//! Rows that fail, and rows that kill whoever touches them.

use dunlin_testkit::servers::Product;
use serde_json::json;

use super::super::world::{World, on_each};
use super::{
    DOUBLE_EACH, IN_CHUNKS, ROWS, accounts, assert_each_once, changed, data_run, doubling, json,
    status,
};

/// Keys in quarantine, in order.
pub(super) fn quarantined(world: &World) -> Vec<String> {
    let listed = json(&world.run("data quarantine list 1 --json").exits(0));
    let rows = listed["rows"].as_array().expect("rows");
    let mut keys: Vec<String> =
        rows.iter().map(|row| row["key"][0].as_str().expect("a text").to_owned()).collect();
    keys.sort_unstable();
    keys
}

/// (36, 37) Three of 2,000 rows break a constraint: exactly they are set aside, the others are done,
/// and the migration is not, until the three are repaired and tried again.
fn rows_that_break_a_constraint_are_set_aside(product: Product) {
    const MANY: u32 = 2_000;
    let world = accounts(product, "chunk_constraint", MANY);
    world.sql(
        "CREATE TABLE limited (id integer NOT NULL PRIMARY KEY, balance bigint NOT NULL, \
         was bigint NOT NULL, CONSTRAINT small CHECK (balance < 100000000)); \
         INSERT INTO limited SELECT * FROM accounts; DROP TABLE accounts; \
         UPDATE limited SET balance = 90012345, was = 90012345 WHERE id IN (17, 1234, 2000); \
         ALTER TABLE limited RENAME TO accounts;",
    );
    world.data(
        1,
        &format!(
            "-- dunlin: chunk-by accounts\n-- dunlin: chunk-rows 200\n-- dunlin: on-error quarantine\n{DOUBLE_EACH}"
        ),
    );
    world.schema(2, "-- dunlin: requires data 1\nCREATE TABLE later (id integer);\n");
    let ended = world.run("data run").exits(6).says("data quarantine list 1");
    for value in ["90012345", "180024691"] {
        assert!(!ended.stderr.contains(value), "no values:\n{}", ended.all());
    }
    assert_eq!(quarantined(&world), ["1234", "17", "2000"]);
    assert_eq!(changed(&world), MANY - 3);
    assert_eq!(status(&world, 1)["state"], "quarantined");
    not_done(&world);
    world.run("data quarantine retry 1").exits(6);
    assert_eq!(quarantined(&world).len(), 3);
    world.sql("UPDATE accounts SET balance = 9, was = 9 WHERE id IN (17, 1234)");
    world.run("data quarantine retry 1").exits(6).says("2 rows went through, 1 left");
    assert_eq!(quarantined(&world), ["2000"]);
    not_done(&world);
    world.sql("UPDATE accounts SET balance = 9, was = 9 WHERE id = 2000");
    world.run("data quarantine retry 1").exits(0);
    world.run("migrate").exits(0);
    assert_each_once(&world, MANY, "repaired");
    assert_eq!(world.sql("SELECT count(*) FROM later"), "0", "its gate is open");
}
on_each!(rows_that_break_a_constraint_are_set_aside: postgres, mysql, sqlite);

/// (37) Nothing that waits for it goes on, and nothing says that it is done.
fn not_done(world: &World) {
    world.run("check --data 1").exits(3);
    let later = world.run("migrate --fail-if-held");
    assert_ne!(later.code, Some(0), "{}", later.all());
    assert!(world.times_up().is_empty(), "{:?}", world.times_up());
}

/// (36, 37) Without quarantine the run stops at the row and names its key; it is not done, and goes
/// on there once the row is repaired.
fn a_row_that_fails_stops_the_run_with_its_key(product: Product) {
    let world = accounts(product, "chunk_stop", ROWS);
    world.data(
        1,
        &format!("{IN_CHUNKS}UPDATE accounts SET balance = balance * 2 + 1, was = CASE WHEN id = 57 AND was < 90 \
         THEN NULL ELSE was END WHERE :chunk;\n"),
    );
    let ended = world.run("data run").exits(1).says("[\"57\"]").says("data run 1");
    assert_eq!(changed(&world), 56, "all before it are done\n{}", ended.all());
    world.run("check --data 1").exits(3);
    assert_eq!(status(&world, 1)["state"], "failed");
    world.run("data run").exits(1).says("[\"57\"]");
    world.sql("UPDATE accounts SET balance = 90, was = 90 WHERE id = 57");
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "repaired");
}
on_each!(a_row_that_fails_stops_the_run_with_its_key: postgres, mysql, sqlite);

/// (36) The key that is named is the row's, also where all rows between it and the end of its chunk
/// are gone meanwhile.
fn the_last_row_that_is_left_is_named(product: Product) {
    let world = accounts(product, "chunk_stop_last", ROWS);
    world.data(
        1,
        &format!("{IN_CHUNKS}UPDATE accounts SET was = CASE WHEN id = 57 THEN NULL ELSE was END WHERE :chunk;\n"),
    );
    world.run("data run").exits(1).says("[\"57\"]");
    world.sql("DELETE FROM accounts WHERE id > 57");
    world.run("data run").exits(1).says("[\"57\"]");
}
on_each!(the_last_row_that_is_left_is_named: postgres, mysql, sqlite);

/// (36) What is given up is no longer in the way.
#[test]
fn rows_that_are_given_up_are_no_longer_in_the_way() {
    let world = accounts(Product::Sqlite, "chunk_discard", ROWS);
    world.sql("CREATE UNIQUE INDEX once ON accounts (balance, id); \
               CREATE TRIGGER no BEFORE UPDATE ON accounts WHEN NEW.id = 5 BEGIN SELECT RAISE(ABORT, 'not this one'); END");
    doubling(&world, 1, "-- dunlin: on-error quarantine\n");
    world.run("data run").exits(6);
    assert_eq!(quarantined(&world), ["5"]);
    world.run("data quarantine discard 1 --all --yes").exits(0);
    world.run("data run").exits(0);
    world.run("check --data 1").exits(0);
    assert_eq!(changed(&world), ROWS - 1);
}

/// (36) More rows fail than a quarantine is for: it is not about rows, and the run stops.
#[test]
fn a_quarantine_has_an_end() {
    const MANY: u32 = 1_200;
    let world = accounts(Product::Sqlite, "chunk_cap", MANY);
    world.sql("CREATE TRIGGER no BEFORE UPDATE ON accounts BEGIN SELECT RAISE(ABORT, 'none'); END");
    doubling(&world, 1, "-- dunlin: on-error quarantine\n");
    world.run("data run").exits(1).says("the quarantine is full");
    assert_eq!(status(&world, 1)["quarantined"], json!(1_000));
}

/// Makes the row with id 57 end the connection of whoever changes it.
fn deadly_row(world: &World) {
    world.sql(match world.product {
        // The client ends a statement at its first semicolon, unless told otherwise.
        Product::Mysql => {
            "DELIMITER //\nCREATE TRIGGER deadly BEFORE UPDATE ON accounts FOR EACH ROW \
             IF NEW.id = 57 THEN KILL CONNECTION_ID(); END IF//\n"
        }
        _ => {
            "CREATE FUNCTION deadly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.id = 57 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; \
             RETURN NEW; END $$; \
             CREATE TRIGGER deadly BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION deadly()"
        }
    });
}

/// (35) One row ends every connection that touches it: it is found by halving, and set aside after
/// some tries; all others are done.
fn a_row_that_kills_connections_is_set_aside(product: Product) {
    let world = accounts(product, "chunk_deadly", ROWS);
    deadly_row(&world);
    doubling(&world, 1, "-- dunlin: on-error quarantine\n");
    world.run("data run --no-throttle").exits(6);
    assert_eq!(quarantined(&world), ["57"]);
    assert_eq!(changed(&world), ROWS - 1);
    world.run("check --data 1").exits(3);
}
on_each!(a_row_that_kills_connections_is_set_aside: postgres, mysql);

/// (35) Without quarantine the run stops, and names the row.
#[test]
fn a_row_that_kills_connections_is_named() {
    let world = accounts(Product::Postgres, "chunk_deadly_stop", ROWS);
    deadly_row(&world);
    doubling(&world, 1, "");
    world.run("data run --no-throttle").exits(1).says("[\"57\"]").says("died");
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE id = 57 AND balance <> was"), "0");
    world.sql("DROP TRIGGER deadly ON accounts");
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "without the trigger");
}

/// A program that doubles, with something else to do at the row with key 57.
pub(super) fn doubling_program(world: &World, header: &str, at_57: &str) {
    world.write(
        "double.sh",
        &format!(
            "#!/bin/sh\nread -r header\nwhile read -r line; do\n  case $line in\n    \
             '{{\"chunk\"'*) printf '%s\\n' \"$line\" ;;\n    *)\n      \
             key=${{line#*\\\"key\\\":}} key=${{key%%,\\\"row\\\"*}}\n      \
             was=${{line#*\\\"balance\\\":\\\"}} was=${{was%%\\\"*}}\n      \
             if [ \"$key\" = '[\"57\"]' ]; then {at_57}; fi\n      \
             printf '{{\"key\":%s,\"set\":{{\"balance\":%s}}}}\\n' \"$key\" $((was * 2 + 1)) ;;\n  \
             esac\ndone\n"
        ),
    );
    world.write(
        "data_migrations/1_double.toml",
        &format!(
            "[migration]\nchunk-rows = 10\n{header}\n[rows]\ntable = \"accounts\"\n\
             columns = [\"balance\"]\n\n[program]\ncommand = [\"/bin/sh\", \"double.sh\"]\n"
        ),
    );
}

/// (35) A program ends at one row, each time: the row is found, and set aside.
fn a_row_that_kills_the_program_is_set_aside(product: Product) {
    let world = accounts(product, "chunk_program", ROWS);
    doubling_program(&world, "on-error = \"quarantine\"\n", "exit 3");
    world.run("data run --no-throttle").exits(6);
    assert_eq!(quarantined(&world), ["57"]);
    assert_eq!(changed(&world), ROWS - 1);
    doubling_program(&world, "on-error = \"quarantine\"\n", ":");
    world.run("data quarantine retry 1").exits(0);
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "with a better program");
}
on_each!(a_row_that_kills_the_program_is_set_aside: postgres, mysql, sqlite);

/// (35) The program ends at the very first row that it gets, before it has answered any: the others
/// show that the row is at fault.
fn a_row_that_kills_the_program_at_its_start_is_set_aside(product: Product) {
    let world = accounts(product, "chunk_program_first", ROWS);
    world.sql("DELETE FROM accounts WHERE id < 57");
    doubling_program(&world, "on-error = \"quarantine\"\n", "exit 3");
    world.run("data run --no-throttle").exits(6);
    assert_eq!(quarantined(&world), ["57"]);
    assert_eq!(changed(&world), ROWS - 57);
}
on_each!(a_row_that_kills_the_program_at_its_start_is_set_aside: postgres, mysql, sqlite);

/// (35) Where the run stops at such a row it names it, also when it begins again there, and also where
/// no other row is left to show that the program works.
#[test]
fn a_row_that_kills_the_program_at_its_start_is_named() {
    let world = accounts(Product::Postgres, "chunk_program_stop", ROWS);
    doubling_program(&world, "", "exit 3");
    world.run("data run --no-throttle").exits(1).says("[\"57\"]").says("exit code 3");
    assert_eq!(changed(&world), 56);
    for _ in 0..5 {
        world.run("data run --no-throttle").exits(1).says("[\"57\"]");
    }
    doubling_program(&world, "", ":");
    world.run("data run --no-throttle").exits(0);
    assert_each_once(&world, ROWS, "with a better program");

    let world = accounts(Product::Sqlite, "chunk_program_only", ROWS);
    world.sql("DELETE FROM accounts WHERE id <> 57");
    doubling_program(&world, "", "exit 3");
    world.run("data run --no-throttle").exits(1).says("[\"57\"]");
}

/// (35) A program that never answers is told from a row that it can't do: nothing is set aside, and its
/// own last words are shown.
#[test]
fn a_program_that_never_works_is_no_rows_fault() {
    let works_not = "echo 'no such module' >&2; exit 3";
    for (name, before, at_each) in [("start", works_not, ":"), ("row", ":", works_not)] {
        let world = accounts(Product::Sqlite, &format!("chunk_program_broken_{name}"), ROWS);
        doubling_program(&world, "on-error = \"quarantine\"\n", ":");
        let script = format!(
            "#!/bin/sh\n{before}\nread -r header\nwhile read -r line; do\n  case $line in\n    \
             '{{\"chunk\"'*) printf '%s\\n' \"$line\" ;;\n    *) {at_each} ;;\n  esac\ndone\n"
        );
        world.write("double.sh", &script);
        for _ in 0..2 {
            let ended = world.run("data run --no-throttle").exits(1);
            let told = ended.says("it is the program that fails");
            told.says("its standard error ends with: no such module");
            assert!(quarantined(&world).is_empty());
        }
        // One row a chunk: there is no other to compare it with.
        world.sql("DELETE FROM accounts WHERE id > 1");
        let ended = world.run("data run --no-throttle");
        assert_eq!(ended.code, Some(if name == "start" { 1 } else { 6 }), "{}", ended.all());
    }
}

/// (35) A row kills the whole worker, process and all, whenever one comes to it; something starts it
/// again each time, as Kubernetes would. In the end the row is set aside.
fn a_row_that_kills_its_worker_is_set_aside(product: Product) {
    let world = accounts(product, "chunk_killer", ROWS);
    doubling_program(&world, "on-error = \"quarantine\"\n", "kill -9 $PPID; exit 3");
    let mut starts = 0;
    let ended = loop {
        starts += 1;
        assert!(starts < 60, "it never ends");
        let ended = data_run(&world).start().end();
        if ended.signal != Some(9) {
            break ended;
        }
    };
    ended.exits(6);
    assert!(starts > 2, "the row killed nobody");
    assert_eq!(quarantined(&world), ["57"]);
    assert_eq!(changed(&world), ROWS - 1);
}
on_each!(a_row_that_kills_its_worker_is_set_aside: postgres, sqlite);
