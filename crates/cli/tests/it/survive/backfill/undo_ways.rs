//! What stands in the way of an undo: other rows of its own, which it moves aside itself, and what
//! only people can take away, until when nothing is forgotten.

use dunlin_testkit::servers::Product;
use serde_json::json as value;

use super::super::world::{World, on_each};
use super::undoable::{CAPTURE, undone};
use super::{IN_CHUNKS, ROWS, accounts, changed, doubling, json, numbers};

/// Fills a table `items (id, …)` with so many rows of these expressions of `n`, and saves them aside.
fn items(world: &World, columns: &str, count: u32, values: &str) {
    world.sql(&format!(
        "CREATE TABLE items (id integer NOT NULL PRIMARY KEY, {columns}); \
         INSERT INTO items SELECT n, {values} FROM {}; \
         CREATE TABLE saved AS SELECT * FROM items",
        numbers(world.product, count)
    ));
}

fn in_items(world: &World, statements: &str) {
    world.data(1, &format!("-- dunlin: chunk-by items\n{CAPTURE}{statements}"));
    world.run("data run --no-throttle").exits(0);
}

/// Rows of `items` that are not as they were saved.
fn different(world: &World, column: &str) -> String {
    world.sql(&format!(
        "SELECT count(*) FROM saved AS s LEFT JOIN items AS i ON i.id = s.id \
         WHERE i.id IS NULL OR COALESCE(i.{column}, -1) <> COALESCE(s.{column}, -1)"
    ))
}

/// Children cannot come back before their parent, which comes back last.
fn children_wait_for_their_parent(product: Product) {
    let world = World::new(product, "ways_tree");
    let parent = "CASE WHEN n BETWEEN 2 AND 700 THEN 1 WHEN n > 800 THEN n - 1 END";
    items(
        &world,
        "parent integer REFERENCES items (id), spam integer",
        900,
        &format!("{parent}, 1"),
    );
    world.sql("CREATE INDEX items_parent ON items (parent)");
    in_items(
        &world,
        "DELETE FROM items WHERE parent = 1 AND :chunk;\n\
         UPDATE items SET parent = NULL WHERE parent IS NOT NULL AND :chunk;\n\
         DELETE FROM items WHERE :chunk;\n",
    );
    assert_eq!(world.sql("SELECT count(*) FROM items"), "0");
    assert_eq!(undone(&world), (value!(900), value!(0)));
    assert_eq!(different(&world, "parent"), "0");
}
on_each!(children_wait_for_their_parent: postgres, mysql);

/// A deleted row whose unique value another row of the same migration has got since.
fn rows_make_room_for_each_other(product: Product) {
    let world = World::new(product, "ways_freed");
    let value = "CASE WHEN n <= 400 THEN n + 10000 WHEN n <= 800 THEN n - 400 ELSE n END";
    items(&world, "code integer NOT NULL UNIQUE", 1200, value);
    in_items(
        &world,
        "DELETE FROM items WHERE id > 400 AND id <= 800 AND :chunk;\n\
         UPDATE items SET code = code - 10000 WHERE code > 10000 AND :chunk;\n",
    );
    assert_eq!(world.sql("SELECT count(*) FROM items WHERE code = id"), "800");
    assert_eq!(undone(&world), (value!(800), value!(0)));
    assert_eq!(different(&world, "code"), "0");
}
on_each!(rows_make_room_for_each_other: postgres, mysql, sqlite);

/// Each row goes back into the room that the one behind it has left.
fn a_shift_goes_back(product: Product) {
    let world = World::new(product, "ways_shift");
    items(&world, "code integer NOT NULL UNIQUE", 2000, "n * 2");
    in_items(&world, "UPDATE items SET code = code - 2 WHERE :chunk;\n");
    assert_eq!(undone(&world), (value!(2000), value!(0)));
    assert_eq!(different(&world, "code"), "0");
}
on_each!(a_shift_goes_back: postgres, mysql, sqlite);

/// Rows that can only go back all at once do, and a deleted one where its uniqueness is deferred.
#[test]
fn deferred_uniqueness_goes_back() {
    let world = World::new(Product::Postgres, "ways_deferred");
    items(&world, "code integer UNIQUE DEFERRABLE INITIALLY DEFERRED", 600, "n");
    in_items(&world, "UPDATE items SET code = 601 - code WHERE :chunk;\n");
    assert_eq!(undone(&world), (value!(600), value!(0)));
    assert_eq!(different(&world, "code"), "0");
    world.data(
        2,
        &format!(
            "-- dunlin: chunk-by items\n{CAPTURE}DELETE FROM items WHERE id % 3 = 0 AND :chunk;\n"
        ),
    );
    world.run("data run").exits(0);
    let back = json(&world.run("data undo 2 --yes --json").exits(0));
    assert_eq!((&back["restored"], &back["changed_since"]), (&value!(200), &value!(0)));
    assert_eq!(different(&world, "code"), "0");
}

/// A trigger that refuses a row keeps no other row from going back; once it is gone, that one goes
/// back too.
fn what_a_trigger_refuses_is_kept(product: Product) {
    let world = accounts(product, "ways_refused", ROWS);
    doubling(&world, 1, CAPTURE);
    world.run("data run").exits(0);
    world.sql(match product {
        Product::Mysql => {
            "DELIMITER //\nCREATE TRIGGER frozen BEFORE UPDATE ON accounts FOR EACH ROW BEGIN \
             IF OLD.id = 44 THEN SIGNAL SQLSTATE '45000'; END IF; END //\nDELIMITER ;"
        }
        Product::Sqlite => {
            "CREATE TRIGGER frozen BEFORE UPDATE ON accounts WHEN old.id = 44 \
             BEGIN SELECT raise(ABORT, 'frozen'); END"
        }
        _ => {
            "CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN IF OLD.id = 44 THEN RAISE 'frozen'; END IF; RETURN NEW; END$$; \
             CREATE TRIGGER frozen BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION refuses()"
        }
    });
    world.run("data undo 1 --yes").exits(0).says("99 rows").says("data undo 1");
    assert_eq!(changed(&world), 1);
    world.sql(if matches!(product, Product::Postgres | Product::Pgbouncer) {
        "DROP TRIGGER frozen ON accounts"
    } else {
        "DROP TRIGGER frozen"
    });
    assert_eq!(undone(&world), (value!(1), value!(0)));
    assert_eq!(changed(&world), 0);
    assert_eq!(undone(&world), (value!(0), value!(0)), "there was nothing to do");
}
on_each!(what_a_trigger_refuses_is_kept: postgres, mysql, sqlite);

/// MariaDB: the old value of a row goes into a packet, with no other that is as long.
#[test]
fn a_value_of_a_packets_size_goes_back() {
    let world = World::new(Product::Mysql, "ways_packet");
    items(&world, "body longtext", 3, "REPEAT('a', 3000000)");
    in_items(&world, "UPDATE items SET body = REPLACE(body, 'a', 'b') WHERE :chunk;\n");
    assert_eq!(undone(&world), (value!(3), value!(0)));
    let same = "SELECT count(*) FROM items JOIN saved USING (id) WHERE items.body = saved.body";
    assert_eq!(world.sql(same), "3");
}

/// After `data rerun`, what the first pass changed goes back behind what the second one did.
fn all_passes_go_back(product: Product) {
    let world = accounts(product, "ways_passes", ROWS);
    let some = "UPDATE accounts SET balance = balance + 1000 WHERE balance < 1500 AND :chunk;\n";
    world.data(1, &format!("{IN_CHUNKS}{CAPTURE}{some}"));
    world.run("data run").exits(0);
    world.sql("UPDATE accounts SET balance = balance - 500 WHERE id = 7");
    world.run("data rerun 1").exits(0);
    world.run("data run").exits(0);
    world.sql("UPDATE accounts SET balance = balance - 500 WHERE id = 8");
    let (restored, left) = undone(&world);
    assert_eq!(changed(&world), 2, "7 and 8 were changed in between");
    let total = restored.as_u64().expect("a count") + left.as_u64().expect("a count");
    assert!(total >= u64::from(ROWS), "{total}");
    world.sql("UPDATE accounts SET balance = was + 1000 WHERE id IN (7, 8)");
    undone(&world);
    assert_eq!(changed(&world), 0);
}
on_each!(all_passes_go_back: postgres, mysql, sqlite);

/// A trigger that would change what comes back is refused before the first chunk: one of INSERT where
/// rows are deleted, one that sets columns to other values than they had.
fn triggers_that_change_what_comes_back_are_refused(product: Product) {
    let world = accounts(product, "ways_triggers", ROWS);
    world.sql("ALTER TABLE accounts ADD COLUMN at varchar(40); CREATE TABLE log (n integer)");
    let (inserts, sets) = match product {
        Product::Mysql => (
            "CREATE TRIGGER first BEFORE INSERT ON accounts FOR EACH ROW SET NEW.at = NOW()",
            "CREATE TRIGGER second BEFORE UPDATE ON accounts FOR EACH ROW SET NEW.at = 'changed'",
        ),
        Product::Sqlite => (
            "CREATE TRIGGER first AFTER INSERT ON accounts BEGIN INSERT INTO log VALUES (new.id); END",
            "CREATE TRIGGER second AFTER UPDATE ON accounts BEGIN INSERT INTO log VALUES (new.id); END",
        ),
        _ => (
            "CREATE FUNCTION first() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN NEW.at := now(); RETURN NEW; END$$; \
             CREATE TRIGGER first BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION first()",
            "CREATE FUNCTION second() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN NEW.at := 'changed'; RETURN NEW; END$$; \
             CREATE TRIGGER second BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION second()",
        ),
    };
    world.sql(inserts);
    let delete = "DELETE FROM accounts WHERE id > 90 AND :chunk;\n";
    world.data(1, &format!("{IN_CHUNKS}{CAPTURE}{delete}"));
    world.run("data plan 1").exits(2).says("trigger first").says("undo capture");
    doubling(&world, 1, CAPTURE);
    world.run("data plan 1").exits(0);
    world.sql(sets);
    world.run("data plan 1").exits(2).says("trigger second");
    world.run("data run 1").exits(1).says("trigger second");
    assert_eq!(changed(&world), 0);
    // It may come later, too.
    let drops = if matches!(product, Product::Postgres | Product::Pgbouncer) {
        "DROP TRIGGER second ON accounts; DROP FUNCTION second"
    } else {
        "DROP TRIGGER second"
    };
    world.sql(drops);
    world.run("data run 1").exits(0);
    world.sql(sets);
    world.run("data undo 1 --yes").exits(2).says("trigger second").says("old values are kept");
    assert_eq!(changed(&world), ROWS);
    world.sql(drops);
    assert_eq!(undone(&world), (value!(ROWS), value!(0)));
    assert_eq!(changed(&world), 0);
}
on_each!(triggers_that_change_what_comes_back_are_refused: postgres, mysql, sqlite);

/// The time zone of all sessions to come.
fn set_zone(world: &World, name: &str) {
    world.sql(&format!(
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO %L', \
         current_database(), '{name}'); END$$"
    ));
}

/// Row code keeps all columns but the one in which a trigger notes the time, which is that of the
/// server's zone, in row code and in an undo, as it is for everybody else.
#[test]
fn a_noted_time_is_not_kept() {
    let world = accounts(Product::Postgres, "ways_stamp", ROWS);
    set_zone(&world, "Asia/Tokyo");
    world.sql(
        "ALTER TABLE accounts ADD COLUMN at timestamp; \
         CREATE FUNCTION stamps() RETURNS trigger LANGUAGE plpgsql AS \
         $$BEGIN NEW.at := clock_timestamp(); RETURN NEW; END$$; \
         CREATE TRIGGER stamp BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION stamps()",
    );
    let noted =
        || world.sql("SELECT count(*) FROM accounts WHERE at > localtimestamp - interval '1 hour'");
    super::poison::doubling_program(&world, "undo = \"capture for 1 day\"\n", ":");
    world.run("data run").exits(0);
    assert_eq!((changed(&world), noted()), (ROWS, ROWS.to_string()));
    world.sql("ALTER TABLE accounts DISABLE TRIGGER stamp");
    world.sql("UPDATE accounts SET at = NULL");
    world.sql("ALTER TABLE accounts ENABLE TRIGGER stamp");
    assert_eq!(undone(&world), (value!(ROWS), value!(0)));
    assert_eq!((changed(&world), noted()), (0, ROWS.to_string()));
}

/// Rows of tables that inherit would come back in their parent.
#[test]
fn tables_that_inherit_are_refused() {
    let world = accounts(Product::Postgres, "ways_inherit", ROWS);
    world.sql("CREATE TABLE special (extra text) INHERITS (accounts)");
    let delete = "DELETE FROM accounts WHERE id > 90 AND :chunk;\n";
    world.data(1, &format!("{IN_CHUNKS}{CAPTURE}{delete}"));
    world.run("data plan 1").exits(2).says("special (inherits)");
}

/// Moments are compared and put back whatever zone a session is in.
#[test]
fn another_time_zone_changes_nothing() {
    let world = accounts(Product::Postgres, "ways_zone", ROWS);
    world.sql("ALTER TABLE accounts ADD COLUMN at timestamptz DEFAULT '2026-07-01 12:00:00+00'");
    world.data(
        1,
        &format!(
            "{IN_CHUNKS}{CAPTURE}UPDATE accounts SET at = at + interval '1 day' WHERE :chunk;\n"
        ),
    );
    set_zone(&world, "Europe/Berlin");
    world.run("data run").exits(0);
    set_zone(&world, "America/New_York");
    assert_eq!(undone(&world), (value!(ROWS), value!(0)));
    let back = "SELECT count(*) FROM accounts WHERE at = '2026-07-01 12:00:00+00'";
    assert_eq!(world.sql(back), ROWS.to_string());
}
