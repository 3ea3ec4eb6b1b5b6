//! Others at work in the new database: deadlocks, serialization failures, locks.

use dunlin_testkit::servers::Product;

use super::super::world::{on_each, wait_for};
use super::Shop;

/// (23) The server takes a transaction back to end a deadlock, or since it can't be serialised, twice
/// in a row: the whole of it is done again, and no row is blamed.
fn a_transaction_that_is_taken_back_is_done_again(product: Product) {
    let mut shop = Shop::at_work(product, "move_deadlock");
    shop.new.sql(match product {
        // A table that no transaction takes back, and a counter that none does.
        Product::Mysql => {
            "CREATE TABLE turns (n int) ENGINE = MyISAM; INSERT INTO turns VALUES (0);
             DELIMITER //\nCREATE TRIGGER trouble BEFORE UPDATE ON posts FOR EACH ROW BEGIN \
             UPDATE turns SET n = n + 1; IF (SELECT n FROM turns) <= 2 THEN SIGNAL SQLSTATE '40001' \
             SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock found'; END IF; END//\n"
        }
        _ => {
            "CREATE SEQUENCE turns;
             CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('turns') <= 2 THEN RAISE EXCEPTION 'not serializable' USING ERRCODE = '40001'; \
             END IF; RETURN NEW; END $$; \
             CREATE TRIGGER trouble BEFORE UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION trouble();"
        }
    });
    shop.parts = shop.parts_now();
    shop.a_day_goes_by();
    let ended = shop.run().exits(0);
    shop.assert_moved(&ended.all());
    let turns = match product {
        Product::Mysql => "SELECT n > 2 FROM turns",
        _ => "SELECT (last_value > 2)::int FROM turns",
    };
    assert_eq!(shop.new.sql(turns), "1", "it was in trouble");
}
on_each!(a_transaction_that_is_taken_back_is_done_again: postgres, mysql);

/// (24, 25) Somebody holds the lock of a row that is to be changed: it is waited for, and no row is
/// blamed.
fn a_lock_is_waited_for(product: Product) {
    let mut shop = Shop::at_work(product, "move_lock");
    shop.a_day_goes_by();
    let mut other = shop.new.visitor();
    other
        .ask("BEGIN;\nSELECT count(*) FROM (SELECT id FROM posts FOR UPDATE) AS all_of_them;")
        .expect("it has them");
    let run = shop.move_run().start();
    let waiting = match product {
        // Not `innodb_trx`: who reads that more often than ten times a second sees it stand still.
        Product::Mysql => {
            "SELECT count(*) > 0 FROM information_schema.processlist WHERE db = DATABASE() \
             AND id <> CONNECTION_ID() AND command <> 'Sleep' AND time >= 1 AND info LIKE '%posts%'"
        }
        _ => {
            "SELECT (count(*) > 0)::int FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'"
        }
    };
    wait_for("it waits for the lock", || shop.new.sql(waiting) == "1");
    other.ask("ROLLBACK;").expect("it lets them go");
    let ended = run.end().exits(0);
    shop.assert_moved(&ended.all());
}
on_each!(a_lock_is_waited_for: postgres, mysql);
