//! Backfills that are not idempotent, killed and stopped at random beside a live writer, until they
//! are done. Every row must be as an uninterrupted run leaves it, and no write of the writer's may be
//! gone. Where old values are kept it is undone afterwards, killed and stopped as well: every row must
//! be as it was before.

mod world;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dunlin_testkit::servers::{Durability, Product, Server, TestDatabase};

use super::runner::{End, Runner, Sabotage};
use super::{Failure, Options, fresh};
use crate::servers::runtime;
use world::{Body, Shape, World};
use writer::Writer;

/// Failpoints of a backfill, in its order.
const FAILPOINTS: [&str; 10] = [
    "claim.granted",
    "backfill.barrier",
    "backfill.begun",
    "chunk.sending",
    "chunk.begun",
    "chunk.executed",
    "chunk.committed",
    "segment.cut",
    "backfill.walked",
    "backfill.done",
];

/// Those of an undo.
const FAILPOINTS_OF_UNDO: [&str; 4] = ["claim.granted", "undo.executed", "undo.done", "undo.chunk"];

/// How often a round is killed or stopped at most before it is let through.
const BLOWS_MAX: usize = 16;

/// After so many runs that fail by themselves, one after the other, a person would be asked.
const ERRORS_MAX: usize = 3;

/// A lease that the campaign can wait for.
const LEASE: Duration = Duration::from_millis(1_500);

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    /// Of those, with an undo in the end.
    undone: usize,
    runs: usize,
    kills: usize,
    stops: usize,
    errors: usize,
    human: usize,
    /// By what is wrong: rows.
    wrong: BTreeMap<&'static str, u64>,
    wrong_rounds: usize,
    writes: u64,
    by_failpoint: BTreeMap<&'static str, usize>,
}

/// All rounds on all products.
pub(super) fn run(options: &Options, binary: &Path, seed: u64) -> Result<(), Failure> {
    let mut failed = false;
    for product in options.database.products() {
        let started = Instant::now();
        let server = start(product, options)?;
        let mut tally = Tally::default();
        for number in 0..options.runs {
            round(product, server.as_ref(), binary, seed, number, &mut tally)?;
            if tally.rounds.is_multiple_of(25) {
                eprintln!("{} rounds, {} kills so far", tally.rounds, tally.kills);
            }
        }
        tally.print(product, started.elapsed());
        failed |= tally.human > 0 || tally.wrong_rounds > 0;
    }
    if failed {
        Err(Failure::new("rows are wrong, or something was left to a person"))
    } else {
        Ok(())
    }
}

pub(super) fn start(product: Product, options: &Options) -> Result<Option<Server>, Failure> {
    let durability = if options.durable { Durability::Full } else { Durability::Relaxed };
    let started = match product {
        Product::Postgres => Server::postgres(durability, &[]).map(Some),
        Product::Mysql => Server::mysql(durability, &[]).map(Some),
        Product::Pgbouncer => Server::postgres(durability, &[])
            .and_then(|behind| Server::pgbouncer(&behind).map(Some)),
        Product::Sqlite => Ok(None),
    };
    started.map_err(|error| Failure::because("no server", &error))
}

fn round(
    product: Product,
    server: Option<&Server>,
    binary: &Path,
    seed: u64,
    number: usize,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) ^ number as u64);
    // Throttled it is at work for a tenth of the time: a few rounds are enough.
    let throttled = random.u8(0..5) == 0;
    let shapes = Shape::of(product);
    let shape = &shapes[number % shapes.len()];
    // One round in three goes back.
    let undo = number % 3 == 2 && !shape.is_nullable();
    let body = Body::of_round(shape, number + number / shapes.len(), undo);
    let workers = [1, 2, 4][random.usize(0..3)];
    let (chunk_rows, rows) = match (body, [25, 100, 400][random.usize(0..3)]) {
        (_, _) if throttled => (400, 3_000),
        // An undo minds whoever else is at work.
        (_, chunk_rows) if undo => (chunk_rows / 4, 5_000),
        // Fifty rows of so many that a server reaches them by lists of keys. The others walk.
        (Body::Few, chunk_rows) if matches!(product, Product::Postgres | Product::Pgbouncer) => {
            (chunk_rows / 10 + 5, 20_000)
        }
        (_, chunk_rows) => (chunk_rows, 20_000),
    };
    let world = World { product, shape: shape.clone(), body, workers, chunk_rows, rows, undo };
    let name = format!("round {number} of seed {seed} ({})", world.describe());
    let database = fresh(product, server, "backfill");
    let project = tempfile::Builder::new()
        .prefix("dunlin-campaign-")
        .tempdir()
        .map_err(|error| Failure::because("cannot make a folder", &error))?;
    world.make(&database, project.path())?;
    let writer = Writer::start(&world, &database, random.u64(..));
    let mut struck = |command| {
        let (project, random) = (project.path(), &mut random);
        let blows = Blows { database: &database, binary, project, throttled, command, random };
        blows.until_done(number, tally)
    };
    let mut human = struck(Order::Run)?;
    if undo && !human {
        human = struck(Order::Undo)?;
    }
    tally.undone += usize::from(undo);
    tally.writes += writer.stop();
    tally.rounds += 1;
    let complaints = world.judge(&database)?;
    if !complaints.is_empty() || human {
        tally.wrong_rounds += 1;
        println!("-- {name} is wrong");
        for (what, count) in complaints {
            println!("   {count} {what}");
            *tally.wrong.entry(what).or_default() += count;
        }
        println!("-- the end of its last log\n{}", tail(&project.path().join("log")));
        println!(
            "-- its files and logs: {}; its database: {}",
            project.keep().display(),
            database.name
        );
        std::mem::forget(database);
    }
    Ok(())
}

pub(super) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// What is to be done until it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Run,
    Undo,
}

impl Order {
    fn failpoints(self) -> &'static [&'static str] {
        match self {
            Self::Run => &FAILPOINTS,
            Self::Undo => &FAILPOINTS_OF_UNDO,
        }
    }

    fn arguments(self, throttled: bool) -> Vec<&'static str> {
        match self {
            Self::Undo => vec!["data", "undo", world::VERSION, "--yes"],
            Self::Run if throttled => vec!["data", "run", "--lease-wait", "2min"],
            Self::Run => vec!["data", "run", "--lease-wait", "2min", "--no-throttle"],
        }
    }
}

/// What is done to the runs of one round.
struct Blows<'a> {
    database: &'a TestDatabase,
    binary: &'a Path,
    project: &'a Path,
    throttled: bool,
    command: Order,
    random: &'a mut fastrand::Rng,
}

impl Blows<'_> {
    /// Runs, strikes, and runs again until it is done. `true`: a person would have been asked.
    fn until_done(self, number: usize, tally: &mut Tally) -> Result<bool, Failure> {
        let runtime = runtime()?;
        let wanted = self.random.usize(1..=BLOWS_MAX);
        let (mut blows, mut errors) = (0, 0);
        for attempt in 0..100 {
            let sabotage = if blows < wanted && attempt < 3 * BLOWS_MAX {
                choose(self.random, number + attempt, self.command.failpoints())
            } else {
                Sabotage::Nothing
            };
            tally.runs += 1;
            let end = if let Sabotage::StopAfter { after, .. } = sabotage {
                blows += 1;
                tally.stops += 1;
                tally.runs += 1;
                runtime.block_on(self.overtaken(after))?
            } else {
                runtime.block_on(self.runner("log").run(&sabotage))?.0
            };
            match end {
                End::Exited(0) if sabotage == Sabotage::Nothing => return Ok(false),
                // What was undone is not undone again.
                End::Exited(0) if self.command == Order::Undo => return Ok(false),
                // It may have been done before the blow came: let it be found done.
                End::Exited(0) => blows = wanted,
                End::Killed => {
                    blows += 1;
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
                        return Ok(true);
                    }
                }
                End::Hung => {
                    println!("-- round {number}: hangs");
                    tally.human += 1;
                    return Ok(true);
                }
            }
        }
        tally.human += 1;
        Ok(true)
    }

    fn runner(&self, log: &str) -> Runner {
        let arguments = self.command.arguments(self.throttled);
        Runner {
            binary: self.binary.to_owned(),
            root: self.project.to_owned(),
            url: Some(self.database.url.clone()),
            effects: PathBuf::new(),
            log: self.project.join(log),
            lease_ttl: Some(LEASE),
            arguments: arguments.into_iter().map(str::to_owned).collect(),
        }
    }

    /// One runner is stopped past its lease, another takes over, and the first wakes up beside it.
    async fn overtaken(&self, after: Duration) -> Result<End, Failure> {
        let pause = LEASE + Duration::from_millis(700);
        let sabotage = Sabotage::StopAfter { after, pause };
        let sleeper = self.runner("log-of-the-sleeper").start(&sabotage)?;
        let second = self.runner("log");
        let taking_over = async {
            // Not for a state: only so that the first has the lease by then.
            tokio::time::sleep(after + Duration::from_millis(50)).await;
            second.run(&Sabotage::Nothing).await
        };
        let (slept, took_over) = tokio::join!(sleeper.finish(&sabotage), taking_over);
        let (end, _) = took_over?;
        // How the sleeper ends is its own matter, as long as it ends.
        if slept?.0 == End::Hung { Ok(End::Hung) } else { Ok(end) }
    }
}

/// Half of the kills come at any moment, most others at failpoints, some runs are stopped past their
/// lease.
fn choose(random: &mut fastrand::Rng, turn: usize, failpoints: &[&'static str]) -> Sabotage {
    match random.u8(0..10) {
        0 => Sabotage::StopAfter {
            after: Duration::from_millis(random.u64(30..600)),
            pause: Duration::ZERO,
        },
        1..=5 => Sabotage::KillAfter(Duration::from_millis(random.u64(5..500))),
        _ => Sabotage::KillAt {
            failpoint: failpoints[turn % failpoints.len()],
            nth: if random.bool() { 1 } else { random.usize(2..=12) },
        },
    }
}

impl Tally {
    fn print(&self, product: Product, time: Duration) {
        let rows: u64 = self.wrong.values().sum();
        println!(
            "{:<10} backfill: {} rounds, {} of them undone, {} runs, {} kills, {} stops, {} errors retried, {} batches \
             of the live writer's | wrong rows {rows}, wrong rounds {}, human steps {} | {:.0} s",
            product.as_str(),
            self.rounds,
            self.undone,
            self.runs,
            self.kills,
            self.stops,
            self.errors,
            self.writes,
            self.wrong_rounds,
            self.human,
            time.as_secs_f64()
        );
        if !self.by_failpoint.is_empty() {
            let counts = self.by_failpoint.iter().map(|(name, count)| format!("{name} {count}"));
            println!("{:<10} killed at: {}", "", counts.collect::<Vec<_>>().join(", "));
        }
    }
}
