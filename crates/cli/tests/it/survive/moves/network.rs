//! The network fails on either side of a move; the same run settles it by itself.

use dunlin_testkit::proxy::{Proxy, Trap, Way};
use dunlin_testkit::servers::Product;

use super::super::beside::Beside;
use super::super::world::on_each;
use super::Shop;

/// Runs a night with a trap for some of its COMMITs, one after the other, until there are no more; each
/// run must end well by itself.
fn commits_are_trapped(product: Product, which: &[usize], trap: impl Fn(usize) -> Trap) {
    let mut shop = Shop::at_work(product, "move_trap");
    let beside = Beside::of(&mut shop.new);
    let mut sprung = 0;
    for &nth in which {
        shop.a_day_goes_by();
        beside.arm(trap(nth));
        let ended = shop.run().exits(0);
        shop.assert_moved(&format!("COMMIT number {nth}\n{}", ended.all()));
        if beside.proxy.disarm() {
            break;
        }
        sprung += 1;
    }
    assert!(sprung > 1, "only {sprung} COMMITs went by in plain text");
}

/// (13) A COMMIT arrives and its answer is lost: what it wrote is found, and nothing is written twice.
fn a_chunk_whose_answer_is_lost_counts(product: Product) {
    commits_are_trapped(product, &[2, 4, 5], |nth| Trap::ReplyLost {
        pattern: "COMMIT".to_owned(),
        nth,
    });
}
on_each!(a_chunk_whose_answer_is_lost_counts: postgres, mysql);

/// (14) A COMMIT is lost on its way: what it would have written is written again.
fn a_chunk_whose_commit_is_lost_is_done_again(product: Product) {
    commits_are_trapped(product, &[1, 3, 6], |nth| Trap::NotDelivered {
        pattern: "COMMIT".to_owned(),
        nth,
    });
}
on_each!(a_chunk_whose_commit_is_lost_is_done_again: postgres, mysql);

/// (15, 20) Connections to the new database are cut in the middle of anything, then those to the old
/// one, whose snapshot goes with them: the run begins again under a new one.
fn connections_that_are_cut_anywhere_are_made_again(product: Product) {
    let mut shop = Shop::at_work(product, "move_cut");
    let beside = Beside::of(&mut shop.new);
    let source =
        beside.runtime.block_on(Proxy::in_front_of(&shop.old.url)).expect("a second proxy");
    shop.old_url = format!("{}?sslmode=disable", source.through(&shop.old.url));
    for (number, bytes) in [9_000, 21_000, 60_000].into_iter().enumerate() {
        let way = if number % 2 == 0 { Way::ToServer } else { Way::ToClient };
        shop.a_day_goes_by();
        beside.arm(Trap::CutAfter { way, bytes });
        let ended = shop.run().exits(0);
        shop.assert_moved(&format!("{bytes} bytes to the target\n{}", ended.all()));
        beside.proxy.disarm();
    }
    for bytes in [3_000, 40_000] {
        shop.a_day_goes_by();
        {
            let _guard = beside.runtime.enter();
            source.arm(Trap::CutAfter { way: Way::ToClient, bytes });
        }
        let ended = shop.run().exits(0);
        shop.assert_moved(&format!("{bytes} bytes of the source\n{}", ended.all()));
        source.disarm();
    }
}
on_each!(connections_that_are_cut_anywhere_are_made_again: postgres, mysql);

/// (22) Both databases behind pgbouncer in transaction mode.
#[test]
fn poolers_on_both_sides_are_no_trouble() {
    let mut shop = Shop::at_work(Product::Pgbouncer, "move_pooled");
    for mode in ["sync", "swap", "reload"] {
        shop = shop.in_mode(mode);
        shop.a_day_goes_by();
        shop.run().exits(0);
        shop.assert_moved(mode);
    }
}
