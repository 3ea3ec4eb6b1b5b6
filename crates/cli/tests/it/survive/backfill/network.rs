//! The network fails in the middle of a backfill; the same run settles it by itself.

use std::time::Duration;

use dunlin_testkit::proxy::{Trap, Way, Weather};
use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::super::beside::Beside;
use super::super::world::on_each;
use super::{
    DOUBLE_EACH, IN_CHUNKS, accounts, assert_each_once, data_run, doubling, halted, reset,
};

/// Few chunks, for runs are many.
const FEW: u32 = 40;

/// Runs a backfill with a trap for one COMMIT after the other, every third beginning with that one;
/// each run must end well by itself.
fn commits_are_trapped(product: Product, first: usize, trap: impl Fn(usize) -> Trap) {
    let mut world = accounts(product, "chunk_trap", FEW);
    let beside = Beside::of(&mut world);
    let mut sprung = 0;
    for nth in (first..).step_by(3) {
        doubling(&world, i64::try_from(nth).expect("few"), "");
        beside.arm(trap(nth));
        let ended = world.run("data run").exits(0);
        assert_each_once(&world, FEW, &format!("COMMIT number {nth}\n{}", ended.all()));
        if beside.proxy.disarm() {
            break;
        }
        sprung += 1;
        reset(&world);
    }
    assert!(sprung > 3, "only {sprung} COMMITs went by in plain text");
    assert!(world.times_up().iter().all(|(_, count)| *count == 1), "{:?}", world.times_up());
}

/// (13) A chunk's COMMIT arrives and its answer is lost: its checkpoint tells, and it is never run
/// again.
fn a_chunk_whose_answer_is_lost_counts(product: Product) {
    commits_are_trapped(product, 1, |nth| Trap::ReplyLost { pattern: "COMMIT".to_owned(), nth });
}
on_each!(a_chunk_whose_answer_is_lost_counts: postgres, pgbouncer, mysql);

/// (14) A chunk's COMMIT is lost on its way: it is gone, and done again.
fn a_chunk_whose_commit_is_lost_is_done_again(product: Product) {
    commits_are_trapped(product, 2, |nth| Trap::NotDelivered { pattern: "COMMIT".to_owned(), nth });
}
on_each!(a_chunk_whose_commit_is_lost_is_done_again: postgres, pgbouncer, mysql);

/// (15, 20) Every connection is cut in the middle of something, calls that are under way included,
/// again and again: the run goes on.
fn connections_that_are_cut_anywhere_are_made_again(product: Product) {
    let mut world = accounts(product, "chunk_cut_off", FEW);
    let beside = Beside::of(&mut world);
    for (number, bytes) in (2_000..40_000).step_by(6_511).enumerate() {
        let version = i64::try_from(number).expect("few") + 1;
        doubling(&world, version, "-- dunlin: workers 2\n");
        let way = if number % 2 == 0 { Way::ToServer } else { Way::ToClient };
        beside.arm(Trap::CutAfter { way, bytes });
        let ended = world.run("data run --lease-wait 60s").exits(0);
        assert_each_once(&world, FEW, &format!("{bytes} bytes\n{}", ended.all()));
        beside.proxy.disarm();
        reset(&world);
    }
    // All at once, in the middle of a chunk.
    doubling(&world, 1_000, "");
    let run = halted(&world, "chunk.executed@3");
    beside.proxy.cut();
    run.signal(Signal::CONT);
    run.until_says("connecting again");
    run.end().exits(0);
    assert_each_once(&world, FEW, "all at once");
}
on_each!(connections_that_are_cut_anywhere_are_made_again: postgres, pgbouncer, mysql);

/// (17) A network that is slow, and hands bytes on a few at a time, makes nothing happen twice.
fn a_slow_network_does_nothing_twice(product: Product) {
    let mut world = accounts(product, "chunk_slow", FEW);
    let beside = Beside::of(&mut world);
    beside.proxy.weather(Weather {
        latency: Some(Duration::from_millis(5)),
        slice: Some(7),
        ..Weather::default()
    });
    world.data(1, &format!("{IN_CHUNKS}-- dunlin: workers 2\n{DOUBLE_EACH}"));
    world.run("data run").exits(0);
    assert_each_once(&world, FEW, "slowly");
}
on_each!(a_slow_network_does_nothing_twice: postgres, mysql);

/// (16) Connections stay open and nothing passes any more: the run gives them up, connects again
/// once it can, and goes on. What was held back arrives afterwards, too late to count.
#[test]
fn silent_connections_are_given_up() {
    // Both at once, since both wait.
    let silent: Vec<_> = [Product::Postgres, Product::Mysql]
        .into_iter()
        .map(|product| {
            let mut world = accounts(product, "chunk_silent", FEW);
            doubling(&world, 1, "");
            let beside = Beside::of(&mut world);
            let run = halted(&world, "chunk.sending@3");
            beside.proxy.weather(Weather { blackhole: true, ..Weather::default() });
            run.signal(Signal::CONT);
            (world, beside, run)
        })
        .collect();
    for (world, beside, run) in silent {
        run.until_says("connecting again");
        beside.proxy.weather(Weather::default());
        run.end().exits(0);
        assert_each_once(&world, FEW, "after silence");
        assert_eq!(world.times_up(), [(1, 1)]);
    }
}

/// (22) Through pgbouncer in transaction mode, with more than one worker.
#[test]
fn a_pooler_is_no_trouble() {
    let world = accounts(Product::Pgbouncer, "chunk_pooled", 1_000);
    world.sql("ANALYZE accounts");
    doubling(&world, 1, "-- dunlin: workers 3\n-- dunlin: undo capture for 1 day\n");
    data_run(&world).start().end().exits(0);
    assert_each_once(&world, 1_000, "through a pooler");
    world.run("data undo 1 --yes").exits(0).says("1,000 rows");
    assert_eq!(super::changed(&world), 0);
}
