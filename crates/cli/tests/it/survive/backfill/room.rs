//! A server that has run out of something.

use dunlin_testkit::servers::Product;
use serde_json::json;

use super::super::world::{World, on_each, wait_for};
use super::{ROWS, accounts, assert_each_once, changed, data_run, doubling, status};

/// From row 41 on the server says that its disk is full, as long as there is a row in `full`.
fn with_a_full_disk(world: &World) {
    world.sql("CREATE TABLE full_disk (id integer)");
    world.sql("INSERT INTO full_disk VALUES (1)");
    world.sql(match world.product {
        Product::Mysql => {
            "DELIMITER //\nCREATE TRIGGER room BEFORE UPDATE ON accounts FOR EACH ROW BEGIN \
             IF NEW.id > 40 AND EXISTS (SELECT 1 FROM full_disk) THEN SIGNAL SQLSTATE 'HY000' \
             SET MYSQL_ERRNO = 1021, MESSAGE_TEXT = 'Disk full'; END IF; END//\n"
        }
        _ => {
            "CREATE FUNCTION room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.id > 40 AND EXISTS (SELECT FROM full_disk) THEN RAISE EXCEPTION 'Disk full' \
             USING ERRCODE = '53100'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER room BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION room()"
        }
    });
}

/// (26) A disk that is full is waited for, and said to be; no row is blamed for it. Once there is
/// room, the same run goes on.
fn a_full_disk_is_waited_for(product: Product) {
    let world = accounts(product, "chunk_room", ROWS);
    with_a_full_disk(&world);
    doubling(&world, 1, "-- dunlin: on-error quarantine\n");
    let run = data_run(&world).start();
    let is_told = || status(&world, 1)["reason"].as_str().is_some_and(|r| r.contains("Disk full"));
    wait_for("it says why it waits", is_told);
    assert_eq!((changed(&world), &status(&world, 1)["state"]), (40, &json!("running")));
    world.sql("DELETE FROM full_disk");
    run.end().exits(0);
    assert_each_once(&world, ROWS, "with room again");
    assert_eq!(world.sql(&format!("SELECT count(*) FROM {}", world.ledger("quarantine"))), "0");
    let whole = json!({ "done": 1, "all": 1 });
    assert_eq!(status(&world, 1)["segments"], whole, "nothing was set apart either");
}
on_each!(a_full_disk_is_waited_for: postgres, mysql);
