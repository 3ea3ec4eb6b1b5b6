//! Names that were chosen to break out of quotes.

use dunlin_testkit::servers::{Database, Product};

use super::world::World;

/// What a name may hold, of everything that quoting could get wrong.
const NAME: &str = "we'ird\"na`me\\;-- 鸟";

/// As an identifier.
fn quoted(product: Product, name: &str) -> String {
    match product {
        Product::Mysql => format!("`{}`", name.replace('`', "``")),
        _ => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn percent_encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A world whose runs work on a database of that name beside the one that was made.
fn world_named(product: Product) -> (World, Database) {
    let mut world = World::new(product, "names");
    let url = match product {
        Product::Sqlite => world.database.url.replace("names.db", &format!("{NAME}.db")),
        _ => {
            let (server, own) = world.database.url.rsplit_once('/').expect("a URL");
            format!("{server}/{}", percent_encoded(&format!("{NAME} {own}")))
        }
    };
    world.url.clone_from(&url);
    (world, Database { product, url, direct_url: None })
}

/// (69) A database, schemas, tables, columns and indexes with such names: made, changed with a
/// death in the middle (so that they are looked up in the catalogue), undone and dropped; and
/// nothing of it touches anything else.
fn hostile_names_are_names(product: Product) {
    let (world, database) = world_named(product);
    let name = |part: &str| quoted(product, &format!("{part} {NAME}"));
    let (table, column, index) = (name("table"), name("column"), name("index"));
    world.run("create").exits(0);
    let (schema, table) = match product {
        Product::Postgres => {
            (format!("CREATE SCHEMA {};\n", name("schema")), format!("{}.{table}", name("schema")))
        }
        _ => (String::new(), table),
    };
    world.schema(
        1,
        &format!(
            "{schema}CREATE TABLE {table} (id integer PRIMARY KEY, {column} bigint);\n\
             INSERT INTO {table} VALUES (1, 1);\n"
        ),
    );
    world.run("migrate").exits(0);
    let (directive, concurrently) = match product {
        Product::Postgres => ("-- dunlin: no-transaction\n", "CONCURRENTLY "),
        _ => ("", ""),
    };
    world.write(
        "migrations/2_index.up.sql",
        &format!("{directive}CREATE INDEX {concurrently}{index} ON {table} ({column});\n"),
    );
    let drop = match product {
        Product::Mysql => format!("DROP INDEX {index} ON {table};\n"),
        Product::Postgres => format!("DROP INDEX {}.{index};\n", name("schema")),
        _ => format!("DROP INDEX {index};\n"),
    };
    world.write("migrations/2_index.down.sql", &drop);
    world.die_at(if product == Product::Sqlite { "commit.done" } else { "step.executed" });
    world.run("migrate").exits(0);
    world.run("rollback --database app --step 1 --yes").exits(0);
    world.run("migrate").exits(0);
    world.data(3, &format!("UPDATE {table} SET {column} = {column} * 2 + 1;\n"));
    world.run("migrate").exits(0);
    let sum = database.sql(&format!("SELECT sum({column}) FROM {table}")).expect("it is there");
    assert_eq!(sum.trim(), "3");
    world.run("status --json").exits(0);
    world.run("drop --yes").exits(0);
    assert!(database.sql("SELECT 1 FROM t").is_err(), "it is gone");
    world.run("check").exits(if product == Product::Sqlite { 3 } else { 1 });
}
super::world::on_each!(hostile_names_are_names: postgres, mysql, sqlite);

/// (69) A failure that quotes such a name shows it as it is, on its own line.
#[test]
fn a_hostile_name_in_an_error_is_shown() {
    let world = World::new(Product::Postgres, "names_error");
    world.schema(1, &format!("DROP TABLE {};\n", quoted(Product::Postgres, NAME)));
    world.run("migrate").exits(1).says(NAME);
}
