//! Many runners started together; some are killed, some stopped past the end of their lease.

use std::time::Duration;

use super::{End, Failure, Ground, Round, Sabotage, Tally};

/// Short, so that a stopped runner's lease ends soon: 1 s is ten heartbeats of 100 ms.
const LEASE_TTL: Duration = Duration::from_secs(1);

/// How long a stopped runner is stopped: well past its lease.
const PAUSE: Duration = Duration::from_millis(2_500);

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
    for _ in 0..runners {
        let runner = round.runner(Some(LEASE_TTL));
        let sabotage = choose(&mut random, ground.run_time);
        running.spawn(async move { runner.run(&sabotage).await });
    }
    while let Some(run) = running.join_next().await {
        let (end, stopped) =
            run.map_err(|error| Failure::because("a runner's task ended in a panic", &error))??;
        count(&mut tally, end, stopped, number);
    }
    // If all were killed nobody is left to finish; otherwise this one finds nothing to do.
    let (end, _) = round.runner(Some(LEASE_TTL)).run(&Sabotage::Nothing).await?;
    count(&mut tally, end, false, number);
    if end != End::Exited(0) {
        tally.human += 1;
    }
    tally.close(&round, &format!("round {number} of seed {seed}"))?;
    Ok(tally)
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
