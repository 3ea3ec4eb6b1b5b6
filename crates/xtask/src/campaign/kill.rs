//! Killed again and again, and started again until it is done.

use std::time::Duration;

use super::{End, Failure, Ground, Round, Sabotage, Tally};

/// Every failpoint of a development build, in the order of a migration.
const FAILPOINTS: [&str; 10] = [
    "claim.granted",
    "commit.begun",
    "commit.executed",
    "commit.sent",
    "commit.done",
    "step.opened",
    "step.sending",
    "step.executed",
    "step.closed",
    "record.done",
];

/// How often a round is killed at most before it is let through.
const KILLS_MAX: usize = 8;

/// After so many runs that fail by themselves, one after the other, a person would be asked.
const ERRORS_MAX: usize = 3;

pub(super) async fn round(ground: &Ground, number: usize, seed: u64) -> Result<Tally, Failure> {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) ^ number as u64);
    let round = Round::new(ground, "kill")?;
    let runner = round.runner("log", None);
    let mut tally = Tally::default();
    let kills = random.usize(1..=KILLS_MAX);
    let mut errors = 0;
    for attempt in 0.. {
        let sabotage = if tally.kills < kills && attempt < 3 * KILLS_MAX {
            choose(&mut random, number + attempt, ground.run_time)
        } else {
            Sabotage::Nothing
        };
        tally.runs += 1;
        let (end, _) = runner.run(&sabotage).await?;
        match end {
            End::Exited(0) => break,
            End::Killed => {
                tally.kills += 1;
                errors = 0;
                if let Sabotage::KillAt { failpoint, .. } = sabotage {
                    *tally.by_failpoint.entry(failpoint).or_default() += 1;
                }
            }
            End::Exited(code) | End::Crashed(code) => {
                errors += 1;
                tally.errors += 1;
                if errors >= ERRORS_MAX {
                    println!("-- round {number}: stays at exit code {code}");
                    tally.human += 1;
                    break;
                }
            }
            End::Hung => {
                println!("-- round {number}: hangs");
                tally.human += 1;
                break;
            }
        }
    }
    tally.close(round, &format!("round {number} of seed {seed}"), "log")?;
    Ok(tally)
}

/// Half of the kills come at any moment, half at failpoints, each in its turn.
fn choose(random: &mut fastrand::Rng, turn: usize, run_time: Duration) -> Sabotage {
    if random.bool() {
        return Sabotage::KillAfter(run_time.mul_f64(random.f64()));
    }
    let failpoint = FAILPOINTS[turn % FAILPOINTS.len()];
    // A lease is claimed about once a migration, steps and commits as often as there are any:
    // low numbers are always reached, high ones only by runs that get far.
    let nth = if random.bool() { 1 } else { random.usize(1..=12) };
    Sabotage::KillAt { failpoint, nth }
}
