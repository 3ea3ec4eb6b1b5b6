//! Runs that are killed, stopped and held, in each mode.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::super::world::{on_each, wait_for};
use super::Shop;

/// (1, 2, 3) Killed in each phase of each mode, and brought to its end by the next run.
fn a_death_in_any_mode_moves_each_row_once(product: Product) {
    let mut shop = Shop::new(product, "move_killed");
    for (mode, places) in [
        ("sync", ["move.written", "move.sending@3"]),
        ("reload", ["move.kept", "move.written@2"]),
        ("swap", ["move.swapping", "move.committed@2"]),
    ] {
        shop = shop.in_mode(mode);
        for place in places {
            shop.a_day_goes_by();
            let died = shop.armed(place, "kill").start().end();
            // A reload of what is in place has no such place.
            assert!(
                died.signal == Some(9) || place == "move.kept",
                "{mode}, {place}\n{}",
                died.all()
            );
            let ended = shop.run().exits(0);
            shop.assert_moved(&format!("{mode}, {place}\n{}", ended.all()));
        }
    }
}
on_each!(a_death_in_any_mode_moves_each_row_once: postgres, mysql);

/// (9) Ctrl-C: what is under way is finished, or taken back where it is all or nothing; the next run
/// does the rest.
#[test]
fn a_signal_in_any_mode_leaves_what_can_be_gone_on_with() {
    let mut shop = Shop::at_work(Product::Postgres, "move_signal");
    for (mode, place) in
        [("sync", "move.written"), ("reload", "move.written@2"), ("swap", "move.swapping")]
    {
        shop = shop.in_mode(mode);
        shop.a_day_goes_by();
        let run = shop.halted(place);
        run.signal(Signal::INT);
        run.signal(Signal::CONT);
        let stopped = run.end();
        // What was all written already is committed.
        assert!(matches!(stopped.code, Some(0 | 7)), "{mode}: {}", stopped.all());
        assert_eq!(shop.parts_now(), shop.parts, "{mode}\n{}", stopped.all());
        shop.run().exits(0);
        shop.assert_moved(mode);
    }
}

/// (9) Twice: at once, also while the server is busy for us; nothing of it stays.
#[test]
fn two_signals_in_any_mode_end_it_at_once() {
    let mut shop = Shop::at_work(Product::Postgres, "move_signals");
    for mode in ["sync", "reload", "swap"] {
        shop = shop.in_mode(mode);
        shop.a_day_goes_by();
        let mut other = shop.new.visitor();
        other
            .ask("BEGIN;\nSELECT count(*) FROM (SELECT id FROM posts FOR UPDATE) AS all_of_them;")
            .expect("it has them");
        let run = shop.move_run().start();
        let waiting = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        wait_for("it waits for the lock", || shop.new.sql(waiting) != "0");
        run.signal(Signal::INT);
        run.until_says("stopping");
        run.signal(Signal::INT);
        run.end().exits(7);
        wait_for("its session ends", || shop.new.sql(waiting) == "0");
        other.ask("ROLLBACK;").expect("it lets them go");
        shop.run().exits(0);
        shop.assert_moved(mode);
    }
}

/// A reload and a swap that are paused hold nobody up for longer than what is under way, and go on.
#[test]
fn a_pause_in_any_mode_is_a_pause() {
    let mut shop = Shop::at_work(Product::Postgres, "move_paused");
    for (mode, place) in
        [("sync", "move.written"), ("reload", "move.written@2"), ("swap", "move.swapping")]
    {
        shop = shop.in_mode(mode);
        shop.a_day_goes_by();
        let run = shop.halted(place);
        shop.command("move pause shop").start().end().exits(0);
        run.signal(Signal::CONT);
        let state = || {
            let status = shop.command("move status shop --json").start().end().stdout;
            serde_json::from_str::<serde_json::Value>(&status)
                .map(|all| all["run"]["state"].clone())
        };
        wait_for("it is paused, or was over", || {
            state().is_ok_and(|state| state == "paused" || state == "done")
        });
        shop.command("move resume shop").start().end();
        let ended = run.end().exits(0);
        shop.assert_moved(&format!("{mode}\n{}", ended.all()));
    }
}
