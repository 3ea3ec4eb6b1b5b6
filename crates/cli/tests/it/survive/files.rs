//! Files and ledgers that must stop a run before it changes anything, on every product.

use dunlin_testkit::servers::Product;

use super::world::{DOUBLE, ONE_NUMBER, World, doubled, on_each};

/// (55) A file was edited after it was applied: the run stops with exit code 4 and changes
/// nothing, not even what is pending.
fn an_edited_file_stops_the_run(product: Product) {
    let world = World::new(product, "edited");
    world.schema(1, ONE_NUMBER);
    world.data(2, DOUBLE);
    world.run("migrate").exits(0);
    world.data(2, "UPDATE t SET n = 1000;\n");
    world.data(3, DOUBLE);
    world.run("migrate").exits(4);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
    world.data(2, DOUBLE);
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(2));
}
on_each!(an_edited_file_stops_the_run: postgres, pgbouncer, mysql, sqlite);

/// (56) Two files of one version, and a down without its up, are refused before anything runs; a
/// late file is, where that is asked for.
fn versions_that_clash_are_refused(product: Product) {
    let world = World::new(product, "versions");
    world.schema(1, ONE_NUMBER);
    let second = world.write("migrations/1_other.sql", "CREATE TABLE other (id integer);\n");
    world.run("migrate").exits(2).says("1_other.sql");
    std::fs::remove_file(second).expect("removed");
    let down = world.write("migrations/2_lonely.down.sql", "DROP TABLE t;\n");
    world.run("migrate").exits(2).says("2_lonely.down.sql");
    std::fs::remove_file(down).expect("removed");
    world.schema(5, "CREATE TABLE five (id integer);\n");
    world.run("migrate").exits(0);
    world.schema(3, "CREATE TABLE three (id integer);\n");
    let settings = std::fs::read_to_string(world.root().join("dunlin.toml")).expect("read");
    world.write("dunlin.toml", &format!("out_of_order = \"error\"\n{settings}"));
    world.run("migrate").exits(2).says("3");
    assert_eq!(world.times_up(), [(1, 1), (5, 1)]);
    world.write("dunlin.toml", &settings);
    world.run("migrate").exits(0);
    assert_eq!(world.times_up(), [(1, 1), (3, 1), (5, 1)]);
}
on_each!(versions_that_clash_are_refused: postgres, mysql, sqlite);

/// (57) A way back that lacks one down is refused before the first step of it.
fn a_missing_down_is_refused(product: Product) {
    let world = World::new(product, "no_down");
    world.schema(1, ONE_NUMBER);
    world.write("migrations/2_more.up.sql", "CREATE TABLE two (id integer);\n");
    world.write("migrations/2_more.down.sql", "DROP TABLE two;\n");
    world.run("migrate").exits(0);
    world.run("rollback --database app --to 0 --yes").exits(2).says("1_change.sql");
    assert_eq!(world.sql("SELECT count(*) FROM two"), "0", "it is still there");
    world.run("rollback --database app --step 1 --yes").exits(0);
    world.run("check").exits(3);
}
on_each!(a_missing_down_is_refused: postgres, mysql, sqlite);

/// (59) A statement that can't run in a transaction, in a file that is one: refused before
/// anything runs, with the directive to add.
fn a_statement_for_outside_transactions_is_refused_inside(product: Product) {
    let world = World::new(product, "outside");
    world.schema(1, ONE_NUMBER);
    let statement = match product {
        Product::Sqlite => "VACUUM;\n",
        _ => "CREATE INDEX CONCURRENTLY t_n ON t (n);\n",
    };
    world.schema(2, statement);
    world.run("migrate").exits(2).says("no-transaction");
    assert!(world.database.sql("SELECT n FROM t").is_err(), "nothing was run");
    world.schema(2, &format!("-- dunlin: no-transaction\n{statement}"));
    world.run("migrate").exits(0);
}
on_each!(a_statement_for_outside_transactions_is_refused_inside: postgres, sqlite);

/// (32) A newer program has raised `min_writer`: an older one changes nothing and says why, but
/// still looks. A newer format alone is no reason to stop.
fn a_ledger_for_newer_writers_is_only_read(product: Product) {
    let world = World::new(product, "newer");
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    let meta = world.ledger("meta");
    world.sql(&format!("UPDATE {meta} SET format = 99"));
    world.data(2, DOUBLE);
    world.run("migrate").exits(0);
    world.sql(&format!("UPDATE {meta} SET min_writer = 99"));
    world.data(3, DOUBLE);
    let refused = world.run("migrate");
    assert_ne!(refused.code, Some(0), "{}", refused.all());
    refused.says("newer");
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
    world.run("check").exits(3);
    world.run("status").exits(0);
}
on_each!(a_ledger_for_newer_writers_is_only_read: postgres, pgbouncer, mysql, sqlite);
