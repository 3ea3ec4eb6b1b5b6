//! What the application feels of a backfill that is throttled as it is by default.
//!
//! Four sessions (of pgbench on PostgreSQL, of the database's own client elsewhere) read and update
//! single rows of the same table at a fixed rate, before and during. A request that comes late because
//! the one before was slow counts from when it was due, so that a stall is not hidden by the requests
//! that it kept from being made.
//!
//! A backfill's first two seconds are left out: it makes its ledger, plans and samples then, which it
//! does once, whether it goes on for a minute or for a night.
//!
//! With several rates they take turns, so that a machine's mood is shared by all; and so do a time
//! without a backfill, which says what two equal times differ by, and a time in which one more session
//! asks for nothing but `SELECT 1`, which says what any third party costs on so few processors.

#![expect(clippy::disallowed_methods, reason = "an application's requests come at their times")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use dunlin_testkit::servers::Product;
use rustix::process::{Pid, Signal, kill_process};

use super::backfill::table::{Ground, Keys};
use crate::{Failure, install};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Rows of the table.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Requests a second, of all sessions.
    #[arg(long, default_value_t = 200)]
    requests: u32,
    /// How long the time before is measured, in seconds.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// How long a backfill goes on at most, in seconds; what is left of it is left undone.
    #[arg(long, default_value_t = 20)]
    during: u64,
    /// Rows a second that a backfill is told to do, in turn; 0: as it does by itself.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    rate: Vec<u64>,
    /// How often a second the bystander asks for `SELECT 1`.
    #[arg(long, default_value_t = 50)]
    bystander: u32,
    /// How often all of it is measured.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Only on these databases.
    #[arg(long, value_delimiter = ',', default_value = "postgres,mysql")]
    database: Vec<String>,
    /// A directive for the migration, besides `chunk-by posts`: `--line 'rate 5000 rows/s'`.
    #[arg(long)]
    line: Vec<String>,
    /// A program to measure instead of a release build of this repository.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Sessions of the application.
const SESSIONS: u32 = 4;

/// What is cold at first is no measure of what comes later.
const COLD: Duration = Duration::from_secs(3);

/// How long a backfill's start is not measured.
const START: Duration = Duration::from_secs(2);

/// What p99 may be at most, of what it was before.
const AIM: f64 = 1.25;

/// `cargo xtask bench impact`
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    install::missing_servers()?;
    let binary = super::program(options.binary.as_ref())?;
    for product in [Product::Postgres, Product::Mysql] {
        if !options.database.iter().any(|name| name == product.as_str()) {
            continue;
        }
        let ground = Ground::new(product, Keys::Integer, options.rows, false)?;
        let ways: Vec<Way> = [Way::Nothing, Way::Bystander(options.bystander)]
            .into_iter()
            .chain(options.rate.iter().copied().map(Way::of))
            .collect();
        let mut all: Vec<Vec<Once>> = ways.iter().map(|_| Vec::new()).collect();
        for _ in 0..options.repeats {
            for (way, measured) in ways.iter().zip(&mut all) {
                ground.reset()?;
                measured.push(once(&ground, &binary, *way, options)?);
            }
        }
        println!(
            "\n{}: {} rows, {} requests a second of the application, {} times",
            product.as_str(),
            options.rows,
            options.requests,
            options.repeats
        );
        for (way, measured) in ways.iter().zip(&all) {
            report(*way, measured);
        }
    }
    Ok(())
}

/// What goes on while the application is measured for the second time.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Nothing: how much two equal times differ.
    Nothing,
    /// Somebody who asks for `SELECT 1` so often a second.
    Bystander(u32),
    /// A backfill at the pace that it chooses.
    Unasked,
    /// A backfill at a rate, in rows a second.
    Rate(u64),
}

impl Way {
    fn of(rate: u64) -> Self {
        if rate == 0 { Self::Unasked } else { Self::Rate(rate) }
    }

    fn is_backfill(self) -> bool {
        matches!(self, Self::Unasked | Self::Rate(_))
    }
}

fn report(way: Way, all: &[Once]) {
    let rate = middle(all.iter().map(|one| one.rows as f64 / one.took.as_secs_f64()).collect());
    match way {
        Way::Nothing => println!("  without a backfill"),
        Way::Bystander(asked) => println!("  beside `SELECT 1`, {asked} times a second"),
        Way::Unasked => println!("  with a backfill that does {rate:.0} rows/s"),
        Way::Rate(asked) => {
            println!("  with a backfill at {asked} rows/s that does {rate:.0} rows/s")
        }
    }
    for (name, share) in [("median", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let of = |times: &[Duration]| percentile(times, share).as_secs_f64() * 1e3;
        let before = middle(all.iter().map(|one| of(&one.before)).collect());
        let during = middle(all.iter().map(|one| of(&one.during)).collect());
        // Each with the time right before it: the machine is another one a minute later.
        let times = middle(all.iter().map(|one| of(&one.during) / of(&one.before)).collect());
        let aimed = name == "p99" && way.is_backfill();
        let said = match times <= AIM {
            _ if !aimed => "",
            true => "  (aim 1.25: reached)",
            false => "  (aim 1.25: missed)",
        };
        println!(
            "    {name:<8} before {before:>8.2} ms   during {during:>8.2} ms   {times:.2} x{said}"
        );
    }
}

struct Once {
    before: Vec<Duration>,
    during: Vec<Duration>,
    /// Rows that the backfill did, and in what time.
    rows: u64,
    took: Duration,
}

fn once(ground: &Ground, binary: &Path, way: Way, options: &Options) -> Result<Once, Failure> {
    let application = Application::start(ground, options)?;
    std::thread::sleep(COLD);
    let began = SystemTime::now();
    std::thread::sleep(Duration::from_secs(options.seconds));
    let asked = SystemTime::now();
    let longest = Duration::from_secs(options.during);
    let took = match way {
        Way::Nothing => {
            std::thread::sleep(longest);
            longest
        }
        Way::Bystander(asked) => {
            bystander(ground, asked, longest);
            longest
        }
        Way::Unasked => backfill(ground, binary, &options.line, longest)?,
        Way::Rate(rate) => {
            let mut lines = options.line.clone();
            lines.push(format!("rate {rate} rows/s"));
            backfill(ground, binary, &lines, longest)?
        }
    };
    let ended = SystemTime::now();
    let all = application.stop()?;
    let between = |from: SystemTime, until: SystemTime| {
        all.iter().filter(|(at, _)| (from..until).contains(at)).map(|(_, took)| *took).collect()
    };
    let before = between(began, asked);
    let settled = if way.is_backfill() { asked + START } else { asked };
    let during = between(settled, ended);
    let done = ground
        .database
        .sql("SELECT count(*) FROM posts WHERE published_at IS NOT NULL")
        .map_err(|error| Failure::because("cannot look at the rows", &error))?;
    let rows = done.trim().parse().map_err(|error| Failure::because("no count", &error))?;
    if rows == 0 && way.is_backfill() {
        return Err(Failure::new("the backfill did nothing"));
    }
    Ok(Once { before, during, rows, took })
}

/// Asks for `SELECT 1` for so long.
fn bystander(ground: &Ground, asked: u32, longest: Duration) {
    let mut visitor = ground.database.visitor();
    let period = Duration::from_secs_f64(1.0 / f64::from(asked.max(1)));
    let started = Instant::now();
    let mut due = started;
    while started.elapsed() < longest {
        due += period;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if visitor.ask("SELECT 1;").is_none() {
            return;
        }
    }
}

/// Runs until it is done, or for so long at most; how long it took.
fn backfill(
    ground: &Ground,
    binary: &Path,
    lines: &[String],
    longest: Duration,
) -> Result<Duration, Failure> {
    let failed = |error: std::io::Error| Failure::because("cannot write the files", &error);
    let project = tempfile::tempdir().map_err(failed)?;
    let folder = project.path().join("data_migrations");
    std::fs::create_dir(&folder).map_err(failed)?;
    let lines: String = lines.iter().map(|line| format!("-- dunlin: {line}\n")).collect();
    let text = format!(
        "-- dunlin: chunk-by posts\n{lines}UPDATE posts SET published_at = inserted_at WHERE \
         published_at IS NULL AND :chunk;\n"
    );
    std::fs::write(folder.join("20260101000000_fill.sql"), text).map_err(failed)?;
    let mut command = Command::new(binary);
    command.current_dir(project.path()).env_remove("DATABASE_URL").env_remove("DUNLIN_ENV");
    command.args(["data", "run", "--database-url", &ground.database.url]);
    command.args(["--data-migrations", "data_migrations"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let failed = |error: std::io::Error| Failure::because("cannot run the program", &error);
    let started = Instant::now();
    let mut child = command.spawn().map_err(failed)?;
    while started.elapsed() < longest + START {
        if let Some(status) = child.try_wait().map_err(failed)? {
            let took = started.elapsed();
            return if status.success() {
                Ok(took)
            } else {
                Err(Failure::new(format!("the backfill: {status}")))
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // As Ctrl-C: it finishes its chunk.
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        kill_process(pid, Signal::INT).map_err(|error| failed(error.into()))?;
    }
    child.wait().map_err(failed)?;
    Ok(started.elapsed())
}

/// Requests: when each ended, and how long it took.
type Requests = Vec<(SystemTime, Duration)>;

/// The application's sessions.
enum Application {
    /// pgbench's, which writes down each request in its folder and ends by itself.
    Pgbench { child: Child, folder: tempfile::TempDir },
    /// The database's own client, a thread for each.
    Clients {
        stop: Arc<AtomicBool>,
        requests: Arc<std::sync::Mutex<Requests>>,
        threads: Vec<std::thread::JoinHandle<()>>,
    },
}

impl Application {
    fn start(ground: &Ground, options: &Options) -> Result<Self, Failure> {
        match ground.product {
            Product::Postgres => Self::pgbench(ground, options),
            _ => Ok(Self::clients(ground, options)),
        }
    }

    fn pgbench(ground: &Ground, options: &Options) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::because("cannot run pgbench", &error);
        let folder = tempfile::tempdir().map_err(failed)?;
        let script = format!(
            "\\set id random(1, {rows})\nSELECT title FROM posts WHERE id = :id;\nUPDATE posts SET \
             title = 'a title that the application has changed' WHERE id = :id;\n",
            rows = options.rows
        );
        std::fs::write(folder.path().join("request.sql"), script).map_err(failed)?;
        let longest = COLD + START + Duration::from_secs(options.seconds + options.during + 1);
        let mut command = Command::new("pgbench");
        command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["--no-vacuum", "--log", "--jobs", "1", "--file", "request.sql"]);
        command.args(["--client", &SESSIONS.to_string(), "--rate", &options.requests.to_string()]);
        command.args(["--time", &longest.as_secs().to_string(), &ground.database.url]);
        let child = command.spawn().map_err(failed)?;
        Ok(Self::Pgbench { child, folder })
    }

    fn clients(ground: &Ground, options: &Options) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(std::sync::Mutex::new(Requests::new()));
        let period = Duration::from_secs_f64(f64::from(SESSIONS) / f64::from(options.requests));
        let rows = options.rows;
        let threads = (0..SESSIONS)
            .map(|number| {
                let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
                let mut visitor = ground.database.visitor();
                std::thread::spawn(move || {
                    let mut random = fastrand::Rng::with_seed(u64::from(number));
                    let mut due = Instant::now();
                    while !stop.load(Ordering::Relaxed) {
                        due += period;
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        let id = random.u64(1..=rows);
                        let request = format!(
                            "SELECT title FROM posts WHERE id = {id}; UPDATE posts SET title = \
                             'a title that the application has changed' WHERE id = {id};"
                        );
                        if visitor.ask(&request).is_none() {
                            return;
                        }
                        if let Ok(mut requests) = requests.lock() {
                            requests.push((SystemTime::now(), due.elapsed()));
                        }
                    }
                })
            })
            .collect();
        Self::Clients { stop, requests, threads }
    }

    /// Ends it, and gives all that was measured.
    fn stop(self) -> Result<Requests, Failure> {
        match self {
            Self::Pgbench { mut child, folder } => {
                let failed = |error: std::io::Error| Failure::because("pgbench is lost", &error);
                let status = child.wait().map_err(failed)?;
                if !status.success() {
                    return Err(Failure::new(format!("pgbench: {status}")));
                }
                logged(folder.path())
            }
            Self::Clients { stop, requests, threads } => {
                stop.store(true, Ordering::Relaxed);
                for thread in threads {
                    // A panic there has been printed.
                    let _ = thread.join();
                }
                Ok(requests.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default())
            }
        }
    }
}

/// What pgbench wrote down: of each request its session, number, microseconds since it was due,
/// script, and when it ended, in seconds and microseconds.
fn logged(folder: &Path) -> Result<Requests, Failure> {
    let failed = |error: std::io::Error| Failure::because("cannot read pgbench's log", &error);
    let mut all = Requests::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pgbench_log")) {
            continue;
        }
        for line in std::fs::read_to_string(path).map_err(failed)?.lines() {
            let numbers: Vec<u64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
            let [_, _, took, _, seconds, micros, ..] = numbers[..] else {
                return Err(Failure::new(format!("a line of pgbench's log: {line}")));
            };
            let at = Duration::from_secs(seconds) + Duration::from_micros(micros);
            all.push((SystemTime::UNIX_EPOCH + at, Duration::from_micros(took)));
        }
    }
    Ok(all)
}

fn percentile(times: &[Duration], share: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
