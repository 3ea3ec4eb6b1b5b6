//! Campaigns: the real program, killed, stopped and raced on real databases until it is done;
//! what is in the database then is compared, by the database's own tools, with an uninterrupted
//! run's. `kill` and `race` differ in what they do to the runs; everything else is here.

mod backfill;
mod folder;
mod kill;
mod moves;
mod oracle;
mod race;
mod runner;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use dunlin_testkit::servers::{self, Database, Durability, Product, Server, TestDatabase};
use futures_util::StreamExt as _;

use crate::servers::runtime;
use crate::{Failure, cargo, install};
use folder::Folder;
use oracle::{Snapshot, Verdict};
use runner::{End, Runner, Sabotage};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Kill a run again and again, at random moments and at failpoints, until it is done.
    Kill {
        /// What is killed.
        #[arg(long, value_enum, default_value_t = What::Migrate)]
        what: What,
        #[command(flatten)]
        options: Options,
    },
    /// Move values of every type from each database into each, and compare them.
    Values {
        /// How many in all, about.
        #[arg(long, default_value_t = 20_000)]
        values: usize,
        #[command(flatten)]
        options: Options,
    },
    /// Start many runners together; kill some, stop some for longer than their lease.
    Race {
        /// How many start together.
        #[arg(long, default_value_t = 16)]
        runners: usize,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// On which database.
    #[arg(long, value_enum, default_value_t = On::All)]
    database: On,
    /// How many rounds on each, every one on a fresh database.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Repeats a campaign's choices (not the machine's timing).
    #[arg(long)]
    seed: Option<u64>,
    /// How many rounds at once.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// A program to run instead of a development build of this repository.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Force every commit to the disk, as servers do by themselves.
    #[arg(long)]
    durable: bool,
}

/// What a kill campaign is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// A folder of mixed migrations.
    Migrate,
    /// A backfill, beside a live writer.
    Backfill,
    /// A move, night after night, beside an application that uses the new database.
    Move,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    Postgres,
    Mysql,
    Sqlite,
    Pgbouncer,
    All,
}

impl On {
    fn products(self) -> Vec<Product> {
        match self {
            Self::Postgres => vec![Product::Postgres],
            Self::Mysql => vec![Product::Mysql],
            Self::Sqlite => vec![Product::Sqlite],
            Self::Pgbouncer => vec![Product::Pgbouncer],
            Self::All => Product::ALL.to_vec(),
        }
    }
}

/// `cargo xtask campaign …`
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    let (options, style, what, values) = match command {
        Command::Kill { what, options } => (options, Style::Kill, what, None),
        Command::Race { runners, options } => {
            (options, Style::Race { runners }, What::Migrate, None)
        }
        Command::Values { values, options } => (options, Style::Kill, What::Move, Some(values)),
    };
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000));
    install::missing_servers()?;
    let binary = match &options.binary {
        Some(binary) => std::path::absolute(binary)
            .map_err(|error| Failure::because("cannot find the program", &error))?,
        None => {
            cargo::run(&mut cargo::cargo(&["build", "--quiet", "-p", "dunlin-cli"]))?;
            cargo::target_folder().join("debug").join("dunlin")
        }
    };
    println!("seed {seed}");
    if let Some(count) = values {
        return values::run(&options, count, &binary, seed);
    }
    match what {
        What::Migrate => {}
        What::Backfill => return backfill::run(&options, &binary, seed),
        What::Move => return moves::run(&options, &binary, seed),
    }
    let mut failed = false;
    for product in options.database.products() {
        let ground = Arc::new(Ground::prepare(product, &binary, &options)?);
        let tally = runtime()?.block_on(rounds(ground, &options, style, seed))?;
        tally.print(product, style);
        failed |= !tally.is_clean();
    }
    if failed {
        Err(Failure::new("something was lost, doubled, or left to a person"))
    } else {
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Style {
    Kill,
    Race { runners: usize },
}

/// What all rounds on one product share.
#[derive(Debug)]
struct Ground {
    product: Product,
    server: Option<Server>,
    binary: PathBuf,
    folder: Folder,
    project: tempfile::TempDir,
    reference: Snapshot,
    /// How long an uninterrupted run takes.
    run_time: Duration,
}

impl Ground {
    fn prepare(product: Product, binary: &Path, options: &Options) -> Result<Self, Failure> {
        let durability = if options.durable { Durability::Full } else { Durability::Relaxed };
        let start = |server: Result<Server, servers::ServerError>| {
            server.map_err(|error| Failure::because("no server", &error))
        };
        let server = match product {
            Product::Postgres => Some(start(Server::postgres(durability, &[]))?),
            Product::Mysql => Some(start(Server::mysql(durability, &[]))?),
            Product::Pgbouncer => {
                let behind = start(Server::postgres(durability, &[]))?;
                Some(start(Server::pgbouncer(&behind))?)
            }
            Product::Sqlite => None,
        };
        let project = tempfile::tempdir()
            .map_err(|error| Failure::because("cannot make a folder", &error))?;
        let folder = Folder::of(product);
        folder.write(project.path())?;
        let reference = by_the_client(product, server.as_ref(), &folder)?;
        let mut ground = Self {
            product,
            server,
            binary: binary.to_owned(),
            folder,
            project,
            reference,
            run_time: Duration::ZERO,
        };
        ground.run_time = ground.uninterrupted()?;
        Ok(ground)
    }

    /// Runs uninterrupted a few times, which must give what the client gave; how long it took.
    fn uninterrupted(&self) -> Result<Duration, Failure> {
        let mut times = Vec::new();
        for number in 0..3 {
            let round = Round::new(self, &format!("reference {number}"))?;
            let started = Instant::now();
            let (end, _) =
                runtime()?.block_on(round.runner("log", None).run(&Sabotage::Nothing))?;
            times.push(started.elapsed());
            let verdict = round.judge()?;
            if end != End::Exited(0) || verdict != Verdict::default() {
                return Err(Failure::new(format!(
                    "on {} an uninterrupted run ended with {end:?}, not with what the database's \
                     own client makes of the same files:\n{}\n{}",
                    self.product.as_str(),
                    verdict.complaints.join("\n"),
                    round.log_tail("log")
                )));
            }
        }
        times.sort_unstable();
        println!(
            "{}: an uninterrupted run takes {} ms and leaves {} rows",
            self.product.as_str(),
            times[1].as_millis(),
            self.reference.row_count()
        );
        Ok(times[1])
    }
}

fn fresh(product: Product, server: Option<&Server>, name: &str) -> TestDatabase {
    match server {
        Some(server) => server.database(name),
        None => {
            debug_assert!(product == Product::Sqlite);
            servers::sqlite(name)
        }
    }
}

/// What the database's own client makes of the same files.
fn by_the_client(
    product: Product,
    server: Option<&Server>,
    folder: &Folder,
) -> Result<Snapshot, Failure> {
    let database = fresh(product, server, "by the client");
    let failed = |error| Failure::because("the database's own client fails at the folder", &error);
    database.sql(&folder.as_one_script()).map_err(failed)?;
    Snapshot::of(&database).map_err(failed)
}

/// One round: a fresh database, and a place for logs and effects.
struct Round<'a> {
    ground: &'a Ground,
    database: TestDatabase,
    folder: tempfile::TempDir,
}

impl<'a> Round<'a> {
    fn new(ground: &'a Ground, name: &str) -> Result<Self, Failure> {
        let database = fresh(ground.product, ground.server.as_ref(), name);
        let folder = tempfile::Builder::new()
            .prefix("dunlin-campaign-")
            .tempdir()
            .map_err(|error| Failure::because("cannot make a folder", &error))?;
        Ok(Self { ground, database, folder })
    }

    /// A runner with a log of its own name.
    fn runner(&self, log: &str, lease_ttl: Option<Duration>) -> Runner {
        Runner {
            binary: self.ground.binary.clone(),
            root: self.ground.project.path().to_owned(),
            url: Some(self.database.url.clone()),
            effects: self.effects(),
            log: self.folder.path().join(log),
            lease_ttl,
            arguments: ["migrate", "--with-data", "--lease-wait", "2min"]
                .map(str::to_owned)
                .to_vec(),
        }
    }

    fn effects(&self) -> PathBuf {
        self.folder.path().join("effects")
    }

    fn judge(&self) -> Result<Verdict, Failure> {
        let database: &Database = &self.database;
        oracle::judge(database, &self.ground.reference, &self.ground.folder, &self.effects())
            .map_err(|error| Failure::because("cannot look at the database afterwards", &error))
    }

    /// The end of a log.
    fn log_tail(&self, log: &str) -> String {
        let text = std::fs::read_to_string(self.folder.path().join(log)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// What happened in one or many rounds.
#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    runs: usize,
    kills: usize,
    stops: usize,
    /// Runs that ended with an error by themselves, after which the next went on.
    errors: usize,
    lost: usize,
    doubled: usize,
    human: usize,
    wrong: usize,
    by_failpoint: BTreeMap<&'static str, usize>,
    time: Duration,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.rounds += other.rounds;
        self.runs += other.runs;
        self.kills += other.kills;
        self.stops += other.stops;
        self.errors += other.errors;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.human += other.human;
        self.wrong += other.wrong;
        for (failpoint, count) in other.by_failpoint {
            *self.by_failpoint.entry(failpoint).or_default() += count;
        }
    }

    /// Closes a round: judges the database, shows what is wrong with it, and keeps its logs then.
    fn close(&mut self, round: Round<'_>, name: &str, log: &str) -> Result<(), Failure> {
        self.rounds += 1;
        let verdict = round.judge()?;
        self.lost += verdict.lost;
        self.doubled += verdict.doubled;
        if verdict == Verdict::default() && self.human == 0 {
            return Ok(());
        }
        self.wrong += 1;
        println!("-- {name} is wrong\n{}", verdict.complaints.join("\n"));
        println!("-- the end of its last log\n{}", round.log_tail(log));
        println!("-- all of its logs: {}", round.folder.keep().display());
        Ok(())
    }

    fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.human + self.wrong == 0
    }

    fn print(&self, product: Product, style: Style) {
        let style = match style {
            Style::Kill => "kill".to_owned(),
            Style::Race { runners } => format!("race of {runners}"),
        };
        println!(
            "{:<10} {style}: {} rounds, {} runs, {} kills, {} stops, {} errors retried | \
             lost {}, doubled {}, human steps {}, wrong rounds {} | {:.0} s",
            product.as_str(),
            self.rounds,
            self.runs,
            self.kills,
            self.stops,
            self.errors,
            self.lost,
            self.doubled,
            self.human,
            self.wrong,
            self.time.as_secs_f64()
        );
        if !self.by_failpoint.is_empty() {
            let counts = self.by_failpoint.iter().map(|(name, count)| format!("{name} {count}"));
            println!("{:<10} killed at: {}", "", counts.collect::<Vec<_>>().join(", "));
        }
    }
}

async fn rounds(
    ground: Arc<Ground>,
    options: &Options,
    style: Style,
    seed: u64,
) -> Result<Tally, Failure> {
    let started = Instant::now();
    let mut outcomes = futures_util::stream::iter(0..options.runs)
        .map(|number| {
            let ground = Arc::clone(&ground);
            tokio::spawn(async move {
                match style {
                    Style::Kill => kill::round(&ground, number, seed).await,
                    Style::Race { runners } => race::round(&ground, number, seed, runners).await,
                }
            })
        })
        .buffer_unordered(options.jobs.max(1));
    let mut tally = Tally::default();
    while let Some(outcome) = outcomes.next().await {
        let round =
            outcome.map_err(|error| Failure::because("a round ended in a panic", &error))??;
        tally.add(round);
        if tally.rounds.is_multiple_of(50) {
            eprintln!("{} rounds, {} kills so far", tally.rounds, tally.kills);
        }
    }
    tally.time = started.elapsed();
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The folder is sound, and two databases made from it are equal to the dump tools.
    fn the_client_accepts_the_folder(product: Product, server: Option<&Server>) {
        let folder = Folder::of(product);
        let first = by_the_client(product, server, &folder).unwrap();
        let second = by_the_client(product, server, &folder).unwrap();
        assert!(first.row_count() > 500, "{} rows", first.row_count());
        assert_eq!(first, second);
    }

    #[test]
    fn psql_accepts_the_folder() {
        the_client_accepts_the_folder(Product::Postgres, Some(servers::postgres()));
        the_client_accepts_the_folder(Product::Pgbouncer, Some(servers::pgbouncer()));
    }

    #[test]
    fn mariadb_accepts_the_folder() {
        the_client_accepts_the_folder(Product::Mysql, Some(servers::mysql()));
    }

    #[test]
    fn sqlite3_accepts_the_folder() {
        the_client_accepts_the_folder(Product::Sqlite, None);
    }
}
