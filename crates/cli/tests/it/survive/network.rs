//! The network fails at the worst moment; the run settles it by itself.

use dunlin_testkit::proxy::{Trap, Weather};
use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::beside::Beside;
use super::world::{DOUBLE, ONE_NUMBER, World, doubled, on_each};

/// Runs with a trap for each COMMIT of a run in its turn; each run must end well by itself.
fn every_commit_is_trapped(product: Product, name: &str, trap: impl Fn(usize) -> Trap) {
    let mut world = World::new(product, name);
    world.schema(1, ONE_NUMBER);
    world.run("migrate").exits(0);
    let beside = Beside::of(&mut world);
    let mut sprung = 0;
    for nth in 1.. {
        world.data(i64::try_from(nth).expect("few") + 1, DOUBLE);
        beside.arm(trap(nth));
        let ended = world.run("migrate").exits(0);
        assert_eq!(world.sql("SELECT n FROM t"), doubled(nth), "{}", ended.all());
        if beside.proxy.disarm() {
            break;
        }
        sprung += 1;
    }
    assert!(sprung > 0, "no COMMIT went by in plain text");
    assert!(world.times_up().iter().all(|(_, count)| *count == 1), "{:?}", world.times_up());
}

/// (13) A COMMIT arrives and its answer is lost: it is looked up in the ledger, never sent again.
fn a_lost_answer_to_commit_is_looked_up(product: Product) {
    every_commit_is_trapped(product, "reply_lost", |nth| Trap::ReplyLost {
        pattern: "COMMIT".to_owned(),
        nth,
    });
}
on_each!(a_lost_answer_to_commit_is_looked_up: postgres, pgbouncer, mysql);

/// (14) A COMMIT is lost on its way: the transaction is gone, and done again.
fn a_lost_commit_is_done_again(product: Product) {
    every_commit_is_trapped(product, "not_delivered", |nth| Trap::NotDelivered {
        pattern: "COMMIT".to_owned(),
        nth,
    });
}
on_each!(a_lost_commit_is_done_again: postgres, pgbouncer, mysql);

/// (16) The connection stays open and nothing passes any more: the run gives it up after half a
/// minute, connects again once it can, and looks up what was done. What was held back arrives
/// afterwards, too late to count.
#[test]
fn a_silent_connection_is_given_up() {
    // Both at once, since both wait.
    let silent: Vec<_> = [Product::Postgres, Product::Mysql]
        .into_iter()
        .map(|product| {
            let mut world = World::new(product, "silent");
            world.schema(1, ONE_NUMBER);
            world.run("migrate").exits(0);
            world.data(2, DOUBLE);
            let beside = Beside::of(&mut world);
            let run = world
                .command("migrate")
                .variable("DUNLIN_FAILPOINT", "claim.granted@2")
                .variable("DUNLIN_FAILPOINT_ACTION", "stop")
                .start();
            run.until_stopped();
            beside.proxy.weather(Weather { blackhole: true, ..Weather::default() });
            run.signal(Signal::CONT);
            (world, beside, run)
        })
        .collect();
    for (world, beside, run) in silent {
        run.until_says("connecting again");
        beside.proxy.weather(Weather::default());
        run.end().exits(0);
        assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
        assert_eq!(world.times_up(), [(1, 1), (2, 1)]);
    }
}
