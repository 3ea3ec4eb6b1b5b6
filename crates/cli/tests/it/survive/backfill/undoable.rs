//! What an undo takes back, whatever became of the table since; and what it could not, which is
//! refused before the first chunk.

use dunlin_testkit::servers::Product;
use serde_json::json as value;

use super::super::world::{World, on_each};
use super::{IN_CHUNKS, ROWS, accounts, changed, doubling, json, numbers};

pub(super) const CAPTURE: &str = "-- dunlin: undo capture for 1 day\n";

/// Undoes migration 1: how many rows were put back, and how many had changed since.
#[track_caller]
pub(super) fn undone(world: &World) -> (serde_json::Value, serde_json::Value) {
    let undone = json(&world.run("data undo 1 --yes --json").exits(0));
    (undone["restored"].clone(), undone["changed_since"].clone())
}

/// A table that is written anew, a column more, and what the application writes into other columns
/// change nothing of what was kept.
fn a_table_that_is_written_anew_is_undone(product: Product) {
    let world = accounts(product, "undoable_anew", ROWS);
    world.sql("ALTER TABLE accounts ADD COLUMN note varchar(20)");
    doubling(&world, 1, CAPTURE);
    world.run("data run").exits(0);
    world.sql(match product {
        Product::Postgres | Product::Pgbouncer => {
            "ALTER TABLE accounts ALTER COLUMN was TYPE numeric, ALTER COLUMN id TYPE bigint; \
             ALTER TABLE accounts ADD COLUMN r double precision DEFAULT random(); \
             ALTER TABLE accounts SET UNLOGGED; CLUSTER accounts USING accounts_pkey"
        }
        Product::Mysql => {
            "ALTER TABLE accounts MODIFY was decimal(20, 2) NOT NULL, MODIFY id bigint NOT NULL, \
             ADD COLUMN r double NOT NULL DEFAULT 0, ENGINE = InnoDB; OPTIMIZE TABLE accounts"
        }
        Product::Sqlite => {
            "ALTER TABLE accounts ADD COLUMN r real; UPDATE accounts SET r = random(); VACUUM"
        }
    });
    world.sql("UPDATE accounts SET note = 'mine' WHERE id <= 50");
    world.sql("UPDATE accounts SET balance = -5 WHERE id = 7");
    assert_eq!(undone(&world), (value!(ROWS - 1), value!(1)));
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE balance = -5"), "1");
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE note = 'mine'"), "50");
    assert_eq!(changed(&world), 1);
}
on_each!(a_table_that_is_written_anew_is_undone: postgres, mysql, sqlite);

/// Values of another type are neither compared nor forgotten: it is said before anything is undone.
fn columns_of_another_type_are_refused(product: Product) {
    let world = accounts(product, "undoable_types", ROWS);
    doubling(&world, 1, CAPTURE);
    world.run("data run").exits(0);
    let captured = format!("SELECT count(*) FROM {}", world.ledger("captured"));
    let retype = |to: &str| {
        world.sql(&match product {
            Product::Postgres | Product::Pgbouncer => {
                format!("ALTER TABLE accounts ALTER COLUMN balance TYPE {to}")
            }
            Product::Mysql => format!("ALTER TABLE accounts MODIFY balance {to} NOT NULL"),
            Product::Sqlite => format!(
                "CREATE TABLE other (id integer NOT NULL PRIMARY KEY, balance {to} NOT NULL, was \
                 bigint NOT NULL); INSERT INTO other SELECT * FROM accounts; DROP TABLE accounts; \
                 ALTER TABLE other RENAME TO accounts"
            ),
        });
    };
    retype(if product == Product::Sqlite { "text" } else { "decimal(20, 2)" });
    let refused = world.run("data undo 1 --yes").exits(2);
    refused.says("another type").says("nothing forgotten");
    assert_eq!(world.sql(&captured), ROWS.to_string());
    world.run("check --data 1").exits(0);
    retype("bigint");
    assert_eq!(undone(&world), (value!(ROWS), value!(0)));
    assert_eq!(changed(&world), 0);
}
on_each!(columns_of_another_type_are_refused: postgres, mysql, sqlite);

/// By another key, old values would go to other rows.
fn another_key_is_refused(product: Product) {
    let world = accounts(product, "undoable_key", ROWS);
    doubling(&world, 1, CAPTURE);
    world.run("data run").exits(0);
    world.sql("ALTER TABLE accounts ADD COLUMN n integer");
    world.sql(&format!("UPDATE accounts SET n = {ROWS} - id"));
    match product {
        Product::Postgres | Product::Pgbouncer => world.sql(
            "ALTER TABLE accounts DROP CONSTRAINT accounts_pkey; ALTER TABLE accounts ADD PRIMARY KEY (n)",
        ),
        Product::Mysql => {
            world.sql("ALTER TABLE accounts MODIFY n int NOT NULL, DROP PRIMARY KEY, ADD PRIMARY KEY (n)")
        }
        Product::Sqlite => world.sql(
            "CREATE TABLE other (id integer NOT NULL, balance bigint NOT NULL, was bigint NOT NULL, \
             n integer PRIMARY KEY); INSERT INTO other SELECT * FROM accounts; DROP TABLE accounts; \
             ALTER TABLE other RENAME TO accounts",
        ),
    };
    world.run("data undo 1 --yes").exits(2).says("or its key, is another").says("by n");
    assert_eq!(changed(&world), ROWS);
}
on_each!(another_key_is_refused: postgres, mysql, sqlite);

/// Rows that were deleted have the numbers that they had, also where only the database gives them.
fn deleted_rows_have_their_numbers_again(product: Product) {
    let world = World::new(product, "undoable_numbers");
    let number = match product {
        Product::Postgres | Product::Pgbouncer => {
            "integer GENERATED ALWAYS AS IDENTITY (MINVALUE 0 START 0)"
        }
        Product::Mysql => "integer AUTO_INCREMENT",
        Product::Sqlite => "integer",
    };
    world.sql(&format!(
        "CREATE TABLE items (id {number} PRIMARY KEY, name varchar(20) NOT NULL, twice {});",
        if product == Product::Mysql {
            "varchar(40) AS (CONCAT(name, name)) STORED"
        } else {
            "varchar(40) GENERATED ALWAYS AS (name || name) STORED"
        }
    ));
    let name = if product == Product::Mysql { "CONCAT('i', n)" } else { "'i' || n" };
    let items = numbers(product, 60);
    world.sql(&match product {
        Product::Postgres | Product::Pgbouncer => {
            format!("INSERT INTO items (name) SELECT {name} FROM {items} ORDER BY n")
        }
        Product::Mysql => format!(
            "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'; \
             INSERT INTO items (id, name) SELECT n - 1, {name} FROM {items}"
        ),
        Product::Sqlite => {
            format!("INSERT INTO items (id, name) SELECT n - 1, {name} FROM {items}")
        }
    });
    let all = "SELECT count(*), sum(id), min(id), max(twice) FROM items WHERE twice IS NOT NULL";
    let before = world.sql(all);
    world.data(
        1,
        &format!(
            "-- dunlin: chunk-by items\n-- dunlin: chunk-rows 10\n{CAPTURE}\
             DELETE FROM items WHERE id % 3 = 0 AND :chunk;\n"
        ),
    );
    world.run("data run").exits(0);
    assert_eq!(world.sql("SELECT count(*) FROM items"), "40");
    world.sql("ALTER TABLE items ADD COLUMN kind integer NOT NULL DEFAULT 5");
    assert_eq!(undone(&world), (value!(20), value!(0)));
    assert_eq!(world.sql(all), before);
    assert_eq!(world.sql("SELECT count(*) FROM items WHERE kind = 5"), "60");
    assert_eq!(world.sql("SELECT id FROM items WHERE name = 'i1'"), "0");
}
on_each!(deleted_rows_have_their_numbers_again: postgres, mysql, sqlite);

/// Values of any length go back whole, beside short ones.
fn long_values_go_back_whole(product: Product) {
    let world = World::new(product, "undoable_long");
    let (repeat, text) = match product {
        Product::Mysql => ("REPEAT('aé', n)", "longtext"),
        Product::Sqlite => ("replace(hex(zeroblob(n)), '00', 'aé')", "text"),
        _ => ("repeat('aé', n)", "text"),
    };
    world.sql(&format!(
        "CREATE TABLE items (id integer NOT NULL PRIMARY KEY, body {text}); \
         CREATE TABLE lengths (n integer); \
         INSERT INTO lengths VALUES (0), (1), (20000), (21846), (40000), (65536), (100001), (700000); \
         INSERT INTO items SELECT n, {repeat} FROM lengths; \
         INSERT INTO items VALUES (2, NULL); \
         CREATE TABLE saved AS SELECT * FROM items"
    ));
    let different = "SELECT count(*) FROM saved AS s LEFT JOIN items AS i ON i.id = s.id \
         WHERE i.id IS NULL OR COALESCE(i.body, 'none') <> COALESCE(s.body, 'none')";
    for (version, statement) in [
        (1, "UPDATE items SET body = replace(body, 'a', 'x') WHERE :chunk"),
        (2, "DELETE FROM items WHERE :chunk"),
    ] {
        world.data(version, &format!("-- dunlin: chunk-by items\n{CAPTURE}{statement};\n"));
        world.run("data run").exits(0);
        assert_ne!(world.sql(different), "0");
        let undone = json(&world.run(&format!("data undo {version} --yes --json")).exits(0));
        assert_eq!(undone["changed_since"], 0, "{statement}");
        assert_eq!(world.sql(different), "0", "{statement}");
    }
}
on_each!(long_values_go_back_whole: postgres, mysql, sqlite);

/// A row whose old value another one has taken stays as it is and is counted; all others go back.
fn what_stands_in_its_way_is_counted(product: Product) {
    let world = accounts(product, "undoable_way", ROWS);
    world.sql("ALTER TABLE accounts ADD COLUMN code integer");
    world.sql("UPDATE accounts SET code = id");
    world.sql("CREATE UNIQUE INDEX accounts_code ON accounts (code)");
    world.data(
        1,
        &format!("{IN_CHUNKS}{CAPTURE}UPDATE accounts SET code = code + 1000 WHERE :chunk;\n"),
    );
    world.run("data run").exits(0);
    world.sql("INSERT INTO accounts VALUES (5000, 1, 1, 33), (5001, 1, 1, 34)");
    assert_eq!(undone(&world), (value!(ROWS - 2), value!(2)));
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE code = id"), (ROWS - 2).to_string());
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE code > 1000"), "2");
}
on_each!(what_stands_in_its_way_is_counted: postgres, mysql, sqlite);

/// What changes more than the rows that are kept is refused before the first chunk, with its name; what
/// only sets columns of the row itself, or is about other changes, is not.
fn what_an_undo_would_leave_is_refused(product: Product) {
    let world = accounts(product, "undoable_beside", ROWS);
    world.sql("CREATE TABLE log (n integer); ALTER TABLE accounts ADD COLUMN at varchar(40)");
    let delete = "DELETE FROM accounts WHERE id > 90 AND :chunk;\n";
    let refused = |text: &str, parts: &[&str]| {
        world.data(1, &format!("{IN_CHUNKS}{CAPTURE}{text}"));
        let mut plan = world.run("data plan 1").exits(2);
        for part in parts {
            plan = plan.says(part);
        }
        world.run("data run 1").exits(1).says(parts[0]);
        assert_eq!(changed(&world), 0);
    };
    let (fires, sets, drops) = match product {
        Product::Postgres | Product::Pgbouncer => (
            "CREATE FUNCTION logs() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN INSERT INTO log VALUES (OLD.id); RETURN NULL; END$$; \
             CREATE TRIGGER audit AFTER UPDATE OF balance ON accounts FOR EACH ROW EXECUTE FUNCTION logs()",
            "CREATE FUNCTION sets() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN NEW.at := now(); RETURN NEW; END$$; \
             CREATE TRIGGER stamp BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION sets()",
            "DROP TRIGGER audit ON accounts",
        ),
        Product::Mysql => (
            "CREATE TRIGGER audit AFTER UPDATE ON accounts FOR EACH ROW INSERT INTO log VALUES (OLD.id)",
            "CREATE TRIGGER stamp BEFORE UPDATE ON accounts FOR EACH ROW SET NEW.at = NOW()",
            "DROP TRIGGER audit",
        ),
        Product::Sqlite => (
            "CREATE TRIGGER audit AFTER UPDATE ON accounts BEGIN INSERT INTO log VALUES (old.id); END",
            "CREATE TRIGGER stamp BEFORE UPDATE ON accounts WHEN new.balance < 0 \
             BEGIN SELECT raise(ABORT, 'no'); END",
            "DROP TRIGGER audit",
        ),
    };
    world.sql(fires);
    world.sql(sets);
    refused(super::DOUBLE_EACH, &["trigger audit", "undo capture", "disable"]);
    // It is about updates.
    world.data(1, &format!("{IN_CHUNKS}{CAPTURE}{delete}"));
    world.run("data plan 1").exits(0);
    world.sql(drops);
    if product == Product::Sqlite {
        let replaces = "UPDATE OR REPLACE accounts SET balance = 1 WHERE :chunk;\n";
        world.data(1, &format!("{IN_CHUNKS}{CAPTURE}{replaces}"));
        world.run("data run 1").exits(2).says("OR REPLACE");
    } else {
        world.sql(
            "CREATE TABLE notes (account integer, CONSTRAINT notes_account FOREIGN KEY (account) \
             REFERENCES accounts (id) ON DELETE CASCADE ON UPDATE SET NULL)",
        );
        refused(delete, &["notes_account", "ON DELETE CASCADE"]);
    }
    world.sql("ALTER TABLE accounts ADD COLUMN k integer");
    world.sql("CREATE UNIQUE INDEX accounts_k ON accounts (k)");
    let by_k = format!("-- dunlin: chunk-key k\n{}", super::DOUBLE_EACH);
    refused(&by_k, &["`k`", "may be NULL"]);
    doubling(&world, 1, CAPTURE);
    world.run("data run 1").exits(0);
    assert_eq!(undone(&world), (value!(ROWS), value!(0)));
}
on_each!(what_an_undo_would_leave_is_refused: postgres, mysql, sqlite);

/// SQLite enforces foreign keys where a connection asks for it, and no migration's does: in chunks as
/// in one go, rows that refer to a deleted one stay. With its undo they refer to it again.
#[test]
fn sqlite_deletes_the_same_in_chunks_as_in_one_go() {
    let orphans = "SELECT count(*) FROM pragma_foreign_key_check";
    let kept = "SELECT count(*) FROM notes WHERE account IS NOT NULL";
    let delete = "DELETE FROM accounts WHERE id > 90";
    for rule in ["CASCADE", "SET NULL", "RESTRICT"] {
        let make = |name: &str| {
            let world = accounts(Product::Sqlite, name, ROWS);
            world.sql(&format!(
                "CREATE TABLE notes (account integer REFERENCES accounts (id) ON DELETE {rule}); \
                 INSERT INTO notes SELECT id FROM accounts"
            ));
            world
        };
        let (whole, chunked) = (make("undoable_fk_whole"), make("undoable_fk_chunks"));
        whole.data(1, &format!("{delete};\n"));
        chunked.data(1, &format!("{IN_CHUNKS}{CAPTURE}{delete} AND :chunk;\n"));
        for world in [&whole, &chunked] {
            world.run("data run").exits(0);
            assert_eq!(world.sql(orphans), "10", "{rule}");
            assert_eq!(world.sql(kept), ROWS.to_string(), "{rule}");
        }
        assert_eq!(undone(&chunked), (value!(10), value!(0)), "{rule}");
        assert_eq!(chunked.sql(orphans), "0", "{rule}");
    }
}
