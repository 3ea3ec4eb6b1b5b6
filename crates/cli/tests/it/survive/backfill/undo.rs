//! Old values that were kept, and go back.

use dunlin_testkit::servers::Product;

use super::super::world::on_each;
use super::{ROWS, accounts, armed, assert_each_once, changed, dies, doubling, json};

/// Rows have their old values again, also after a worker and an undo that were killed; those that
/// changed since, or are gone, stay as they are and are counted.
fn old_values_go_back_except_where_rows_changed_since(product: Product) {
    let world = accounts(product, "chunk_undo", ROWS);
    doubling(&world, 1, "-- dunlin: undo capture for 1 day\n");
    dies(armed(&world, "chunk.done@4", "kill"), "chunk.done@4");
    world.run("data run --lease-wait 60s").exits(0);
    assert_each_once(&world, ROWS, "before the undo");
    world.sql("UPDATE accounts SET balance = 5000 WHERE id IN (3, 44); DELETE FROM accounts WHERE id = 70");
    let killed = world.command("data undo 1 --yes").variable("DUNLIN_FAILPOINT", "undo.chunk");
    dies(killed, "undo.chunk");
    // Some rows have their old values and some have not: it counts as neither done nor undone.
    world.run("check --data 1").exits(3);
    world.run("data run 1").exits(1).says("data undo 1");
    let undone = json(&world.run("data undo 1 --yes --json").exits(0));
    assert_eq!(undone["interrupted"], false);
    assert_eq!(
        world.sql("SELECT count(*) FROM accounts WHERE id NOT IN (3, 44) AND balance <> was"),
        "0"
    );
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE balance = 5000"), "2");
    assert_eq!(world.sql("SELECT count(*) FROM accounts"), "99");
    world.run("data rerun 1").exits(0);
    assert_eq!(changed(&world), 99);
}
on_each!(old_values_go_back_except_where_rows_changed_since: postgres, mysql, sqlite);

/// What was put back and what was not is counted.
fn what_goes_back_is_counted(product: Product) {
    let world = accounts(product, "chunk_undo_count", ROWS);
    doubling(&world, 1, "-- dunlin: undo capture for 1 day\n");
    world.run("data run").exits(0);
    world.sql("UPDATE accounts SET balance = 5000 WHERE id IN (3, 44); DELETE FROM accounts WHERE id = 70");
    let undone = json(&world.run("data undo 1 --yes --json").exits(0));
    assert_eq!((&undone["restored"], &undone["changed_since"]), (&97.into(), &3.into()));
}
on_each!(what_goes_back_is_counted: postgres, mysql, sqlite);

/// Without `undo capture` there is nothing to put back, and that is said.
#[test]
fn what_was_not_kept_is_refused() {
    let world = accounts(Product::Sqlite, "chunk_undo_none", ROWS);
    doubling(&world, 1, "");
    world.run("data run").exits(0);
    world.run("data undo 1 --yes").exits(2).says("undo capture");
    assert_each_once(&world, ROWS, "as it was");
}
