//! Servers that crash, and sessions that are ended, under a move: those of both databases.

use dunlin_testkit::servers::{Durability, Product, Server};
use rustix::process::Signal;

use super::super::world::on_each;
use super::Shop;

/// Everything decided, rows written and not committed, all compared.
const PLACES: [&str; 3] = ["move.decided", "move.written@2", "move.verified"];

/// (18) The server of both databases is killed with -9 in each phase, and comes back: the same run
/// goes on.
fn a_server_comes_and_goes_under_a_move(product: Product) {
    let started = match product {
        Product::Mysql => Server::mysql(Durability::Full, &[]),
        // What is committed without waiting for the disk is lost for certain (19).
        _ => Server::postgres(Durability::Full, &[("wal_writer_delay", "10s")]),
    };
    let server = started.expect("a server");
    let mut shop = Shop::on(&server, "move_crash");
    // In the middle of the first load already.
    let first = shop.halted("move.committed@3");
    server.crash();
    server.start_again();
    first.signal(Signal::CONT);
    first.until_says("beginning again");
    let ended = first.end().exits(0);
    shop.assert_moved(&format!("the first load\n{}", ended.all()));
    for place in PLACES {
        shop.a_day_goes_by();
        let run = shop.halted(place);
        server.crash();
        server.start_again();
        run.signal(Signal::CONT);
        // Once all is compared, nothing may be left to ask the server for but the end of it.
        let ended = run.end().exits(0);
        shop.assert_moved(&format!("{place}\n{}", ended.all()));
    }
}
on_each!(a_server_comes_and_goes_under_a_move: postgres, mysql);

/// (19) Somebody ends all sessions of both databases, as a failover does, the holder of the source's
/// snapshot among them: the run connects, reads under a new snapshot and goes on.
fn sessions_that_are_ended_are_made_again(product: Product) {
    let mut shop = Shop::at_work(product, "move_ended");
    for place in PLACES {
        shop.a_day_goes_by();
        let run = shop.halted(place);
        end_sessions(&shop);
        // What the old shop does meanwhile is seen by the new snapshot.
        shop.a_day_goes_by();
        run.signal(Signal::CONT);
        let ended = run.end().exits(0);
        if place == "move.verified" {
            // It was over but for its end.
            shop.run().exits(0);
        }
        shop.assert_moved(&format!("{place}\n{}", ended.all()));
    }
}
on_each!(sessions_that_are_ended_are_made_again: postgres, mysql);

fn end_sessions(shop: &Shop) {
    match shop.new.product {
        Product::Mysql => {
            for database in [&shop.old.name, &shop.new.database.name] {
                let all = shop.new.sql(&format!(
                    "SELECT id FROM information_schema.processlist WHERE db = '{database}' AND id <> CONNECTION_ID()"
                ));
                for id in all.lines() {
                    // One that is gone by itself meanwhile is as well.
                    let _ = shop.new.database.sql(&format!("KILL {id}"));
                }
            }
        }
        _ => {
            let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            shop.old(end);
            shop.new.sql(end);
        }
    }
}
