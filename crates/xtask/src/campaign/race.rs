//! Many runners started together; some are killed, some stopped past the end of their lease:
//! some at any moment, and again and again the one that holds the lease.

use std::collections::BTreeMap;
use std::time::Duration;

use dunlin_testkit::servers::{Database, Product};
use tokio::sync::mpsc;

use super::runner::Order;
use super::{End, Failure, Ground, Round, Sabotage, Tally};

/// Short, so that a stopped runner's lease ends soon.
const LEASE_TTL: Duration = Duration::from_secs(1);

/// How long a stopped runner is stopped: well past its lease.
const PAUSE: Duration = Duration::from_millis(2_500);

/// How many holders of the lease are killed or stopped in a round; the others finish.
const HOLDERS_MAX: usize = 6;

pub(super) async fn round(
    ground: &Ground,
    number: usize,
    seed: u64,
    runners: usize,
) -> Result<Tally, Failure> {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) ^ number as u64);
    let round = Round::new(ground, "race")?;
    let mut tally = Tally::default();
    let mut running = tokio::task::JoinSet::new();
    let mut orders = BTreeMap::new();
    for number in 0..runners {
        let sabotage = choose(&mut random, ground.run_time);
        let run = round.runner(&format!("runner-{number}"), Some(LEASE_TTL)).start(&sabotage)?;
        if sabotage == Sabotage::Nothing {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            orders.extend(run.pid().map(|pid| (pid, sender)));
            running.spawn(async move { run.finish_under(&mut receiver).await });
        } else {
            running.spawn(async move { run.finish(&sabotage).await });
        }
    }
    let mut left = HOLDERS_MAX;
    while !running.is_empty() {
        // Until all have ended, or until it is time to look who holds the lease.
        let moment = ground.run_time.mul_f64(random.f64() / 4.0);
        match tokio::time::timeout(moment, running.join_next()).await {
            Ok(Some(run)) => {
                let run =
                    run.map_err(|error| Failure::because("a runner's task panicked", &error))?;
                let (end, stopped) = run?;
                count(&mut tally, end, stopped, number);
            }
            Ok(None) => {}
            Err(_) if left > 0 => {
                let order = if random.bool() { Order::Kill } else { Order::Stop(PAUSE) };
                // At least two are spared, so that the work is done in the race.
                if orders.len() > 2 && strike(&round, &mut orders, order).await {
                    left -= 1;
                }
            }
            Err(_) => {}
        }
    }
    // If all were killed nobody is left to finish; otherwise this one finds nothing to do.
    let (end, _) = round.runner("last", Some(LEASE_TTL)).run(&Sabotage::Nothing).await?;
    count(&mut tally, end, false, number);
    tally.close(round, &format!("round {number} of seed {seed}"), "last")?;
    Ok(tally)
}

/// Gives an order to the runner that holds a lease now, if it is one of these, and spares it
/// from then on. Says whether it did.
async fn strike(
    round: &Round<'_>,
    orders: &mut BTreeMap<u32, mpsc::UnboundedSender<Order>>,
    order: Order,
) -> bool {
    let table = match round.ground.product {
        Product::Postgres | Product::Pgbouncer => "dunlin.leases",
        Product::Mysql | Product::Sqlite => "dunlin_leases",
    };
    let database = Database::clone(&round.database);
    let query = format!("SELECT pid FROM {table} WHERE owner IS NOT NULL");
    let look = tokio::task::spawn_blocking(move || database.sql(&query));
    // There may be no ledger yet, or SQLite may be busy: then nobody is struck this time.
    let Ok(Ok(pids)) = look.await else { return false };
    let holders = pids.lines().filter_map(|pid| pid.trim().parse::<u32>().ok());
    let struck = holders.filter_map(|pid| orders.remove(&pid)).next();
    struck.is_some_and(|sender| sender.send(order).is_ok())
}

fn count(tally: &mut Tally, end: End, stopped: bool, number: usize) {
    tally.runs += 1;
    tally.stops += usize::from(stopped);
    match end {
        End::Exited(0) => {}
        End::Killed => tally.kills += 1,
        // Losing a race is never an error, and neither is having been stopped.
        End::Exited(code) | End::Crashed(code) => {
            println!("-- round {number}: a runner ended with {code}");
            tally.errors += 1;
            tally.human += 1;
        }
        End::Hung => {
            println!("-- round {number}: a runner hangs");
            tally.human += 1;
        }
    }
}

/// A quarter is killed, a quarter stopped. Sixteen starting together take their time, so the
/// moments are spread over several uninterrupted runs.
fn choose(random: &mut fastrand::Rng, run_time: Duration) -> Sabotage {
    let after = run_time.mul_f64(4.0 * random.f64());
    match random.u8(0..4) {
        0 => Sabotage::KillAfter(after),
        1 => Sabotage::StopAfter { after, pause: PAUSE },
        _ => Sabotage::Nothing,
    }
}
