//! A backfill against what people write by hand: one UPDATE, a procedure on the server, a script.
//!
//! One table (id, text of 45 bytes, two timestamps), made anew before each measurement by copying a
//! seed, vacuumed and checkpointed where there is such a thing. All ways take turns.

#![expect(clippy::disallowed_methods, reason = "memory is looked at from time to time")]

mod aims;
mod scripts;
pub(super) mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dunlin_testkit::servers::Product;

use super::median;
use crate::{Failure, install};
use table::{Ground, Keys};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Rows of the table.
    #[arg(long, default_value_t = 3_000_000)]
    rows: u64,
    /// Rows for the script that goes row by row: it is scaled up, or it would take half an hour.
    #[arg(long, default_value_t = 100_000)]
    rows_one_by_one: u64,
    /// How often each way is measured, in turn with the others.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Only on these databases.
    #[arg(long, value_delimiter = ',', default_value = "postgres,mysql,sqlite")]
    database: Vec<String>,
    /// Only these parts: set, code, sparse, keys.
    #[arg(long, value_delimiter = ',', default_value = "set,code,sparse,keys")]
    part: Vec<String>,
    /// A program to measure instead of a release build of this repository.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// A Python with psycopg2, for the scripts that row code is compared with.
    #[arg(long, default_value = "python3")]
    python: String,
}

/// How a table gets its new column's values.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// Some SQL, by the database's own client: by one for each text, side by side.
    Clients { name: String, sqls: Vec<String> },
    /// A Python script with a driver of its own; its time is for so many of all rows.
    Script { name: String, script: &'static str, rows: u64 },
    /// A data migration of ours. `after_another`: an earlier one has made the ledger.
    Ours { name: String, file: String, text: String, after_another: bool },
}

impl Way {
    fn name(&self) -> &str {
        match self {
            Self::Clients { name, .. } | Self::Script { name, .. } | Self::Ours { name, .. } => {
                name
            }
        }
    }
}

impl Way {
    /// The same where a migration was run before it, so that it need not make the ledger.
    fn after_another(self) -> Self {
        match self {
            Self::Ours { name, file, text, .. } => Self::Ours {
                name: format!("{name}, not the first"),
                file,
                text,
                after_another: true,
            },
            other => other,
        }
    }
}

/// The parts' names.
const SET: &str = "set a column on all rows";
const CODE: &str = "row code in Python";
const SPARSE: &str = "300 rows match";

/// The median of a part's way, and the most memory that we had in it, in bytes.
type Medians = BTreeMap<(&'static str, String), (Duration, u64)>;

/// What a measurement gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) time: Duration,
    /// The most memory that our process had, in bytes.
    pub(super) memory: u64,
    /// Its processor's time, user's and system's, to a hundredth of a second.
    pub(super) processor: Duration,
}

/// `cargo xtask bench backfill`
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    install::missing_servers()?;
    let binary = super::program(options.binary.as_ref())?;
    for product in [Product::Postgres, Product::Mysql, Product::Sqlite] {
        if !options.database.iter().any(|name| name == product.as_str()) {
            continue;
        }
        let asked = |part: &str| options.part.iter().any(|name| name == part);
        let mut medians = Medians::new();
        if asked("set") {
            let ground = Ground::new(product, Keys::Integer, options.rows, false)?;
            let ways = set_ways(&ground);
            medians.extend(compare(&ground, &binary, options, SET, &ways)?);
        }
        if asked("code") && product == Product::Postgres {
            let ground = Ground::new(product, Keys::Integer, options.rows, false)?;
            let ways = code_ways(&ground, options);
            medians.extend(compare(&ground, &binary, options, CODE, &ways)?);
        }
        if asked("sparse") {
            let ground = Ground::new(product, Keys::Integer, options.rows, true)?;
            let ways = sparse_ways(&ground);
            medians.extend(compare(&ground, &binary, options, SPARSE, &ways)?);
        }
        if asked("keys") {
            for keys in [Keys::Integer, Keys::Uuid, Keys::ThreeTexts] {
                let ground = Ground::new(product, keys, options.rows, false)?;
                let ways = vec![ground.one_update(), ground.ours(1)];
                medians.extend(compare(&ground, &binary, options, keys.name(), &ways)?);
            }
        }
        aims::judge(product, &medians);
    }
    Ok(())
}

fn set_ways(ground: &Ground) -> Vec<Way> {
    let mut ways = vec![ground.one_update()];
    ways.extend(ground.procedures(1));
    ways.push(ground.ours(1));
    ways.extend(ground.procedures(2));
    if ground.product != Product::Sqlite {
        ways.push(ground.ours(2));
    }
    ways
}

fn sparse_ways(ground: &Ground) -> Vec<Way> {
    let mut ways = vec![ground.one_scan(true)];
    if ground.product == Product::Postgres {
        ways.push(ground.one_scan(false));
    }
    ways.extend([ground.one_update(), ground.ours(1), ground.ours(1).after_another()]);
    if ground.product != Product::Sqlite {
        ways.push(ground.ours(2));
    }
    ways
}

fn code_ways(ground: &Ground, options: &Options) -> Vec<Way> {
    let mut ways = Vec::new();
    let mut probe = Command::new(&options.python);
    let probe = probe.args(["-c", "import psycopg2"]).stderr(Stdio::null()).status();
    if probe.is_ok_and(|status| status.success()) {
        ways.push(Way::Script {
            name: "Python, execute_values of 10,000".to_owned(),
            script: scripts::BATCHES,
            rows: options.rows,
        });
        ways.push(Way::Script {
            name: "Python, row by row (scaled)".to_owned(),
            script: scripts::ONE_BY_ONE,
            rows: options.rows_one_by_one.min(options.rows),
        });
    } else {
        println!("{} has no psycopg2: the scripts are left out", options.python);
    }
    ways.push(ground.row_code(1));
    ways.push(ground.row_code(2));
    ways
}

fn compare(
    ground: &Ground,
    binary: &Path,
    options: &Options,
    title: &'static str,
    ways: &[Way],
) -> Result<Medians, Failure> {
    let mut all: Vec<Vec<Measured>> = vec![Vec::new(); ways.len()];
    for _ in 0..options.repeats {
        for (way, measured) in ways.iter().zip(&mut all) {
            ground.reset()?;
            measured.push(measure(way, ground, binary, options)?);
            let partial = matches!(way, Way::Script { rows, .. } if *rows < ground.rows);
            if !partial {
                ground.check(way.name())?;
            }
        }
    }
    println!("\n{}, {}: {} rows", ground.product.as_str(), title, ground.rows);
    let middle = |measured: &[Measured]| median(measured.iter().map(|one| one.time).collect());
    let floor = middle(&all[0]);
    let mut medians = Medians::new();
    for (way, measured) in ways.iter().zip(&all) {
        let best = measured.iter().map(|one| one.time).min().unwrap_or_default();
        let memory = measured.iter().map(|one| one.memory).max().unwrap_or_default();
        medians.insert((title, way.name().to_owned()), (middle(measured), memory));
        let memory = if memory > 0 { format!("  {} MiB", memory >> 20) } else { String::new() };
        println!(
            "  {:<36} {:>8.2} s  (best {:>7.2} s)  {:.2} x{memory}",
            way.name(),
            middle(measured).as_secs_f64(),
            best.as_secs_f64(),
            middle(measured).as_secs_f64() / floor.as_secs_f64(),
        );
    }
    Ok(medians)
}

fn measure(
    way: &Way,
    ground: &Ground,
    binary: &Path,
    options: &Options,
) -> Result<Measured, Failure> {
    match way {
        Way::Clients { sqls, .. } => {
            let started = Instant::now();
            std::thread::scope(|scope| {
                let clients: Vec<_> = sqls
                    .iter()
                    .map(|sql| scope.spawn(move || ground.database.sql(sql).map(drop)))
                    .collect();
                clients.into_iter().try_for_each(|client| match client.join() {
                    Ok(answer) => answer.map_err(|e| Failure::because("the client fails", &e)),
                    Err(_) => Err(Failure::new("a client's thread panicked")),
                })
            })?;
            Ok(Measured { time: started.elapsed(), memory: 0, processor: Duration::ZERO })
        }
        Way::Script { script, rows, .. } => {
            let mut command = Command::new(&options.python);
            command.args(["-c", script, &ground.database.url, &rows.to_string()]);
            let mut measured = watched(&mut command)?;
            measured.time = measured.time.mul_f64(ground.rows as f64 / *rows as f64);
            measured.memory = 0;
            Ok(measured)
        }
        Way::Ours { file, text, after_another, .. } => {
            let nothing = ("20250101000000_nothing.sql", "SELECT 1;\n");
            let file = (file.as_str(), text.as_str());
            if *after_another {
                ours(ground, binary, &[nothing])?;
                ours(ground, binary, &[nothing, file])
            } else {
                ours(ground, binary, &[file])
            }
        }
    }
}

/// Runs the data migrations of ours that are pending, which must succeed.
fn ours(ground: &Ground, binary: &Path, files: &[(&str, &str)]) -> Result<Measured, Failure> {
    let failed = |error: std::io::Error| Failure::because("cannot write the files", &error);
    let project = tempfile::tempdir().map_err(failed)?;
    for folder in ["migrations", "data_migrations"] {
        std::fs::create_dir(project.path().join(folder)).map_err(failed)?;
    }
    for (file, text) in files {
        std::fs::write(project.path().join("data_migrations").join(file), text).map_err(failed)?;
    }
    std::fs::write(project.path().join("fill.py"), scripts::ROW_CODE).map_err(failed)?;
    let mut command = Command::new(binary);
    command.current_dir(project.path()).env_remove("DATABASE_URL").env_remove("DUNLIN_ENV");
    command.args(["data", "run", "--no-throttle", "--database-url", &ground.database.url]);
    command.args(["--migrations", "migrations", "--data-migrations", "data_migrations"]);
    watched(&mut command)
}

/// Runs a program that must succeed, and watches its memory.
pub(super) fn watched(command: &mut Command) -> Result<Measured, Failure> {
    watched_to(command, &[0])
}

/// The same for one that may end with these codes.
pub(super) fn watched_to(command: &mut Command, codes: &[i32]) -> Result<Measured, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| Failure::because(format!("cannot run {program}"), &error);
    let errors = tempfile::NamedTempFile::new().map_err(failed)?;
    // Set in many images, it makes a system call or two of every line that Python prints.
    command.env_remove("PYTHONUNBUFFERED");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(errors.reopen().map_err(failed)?);
    let started = Instant::now();
    let mut child = command.spawn().map_err(failed)?;
    let (mut memory, mut ticks) = (0, 0);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        memory = memory.max(peak(child.id()));
        ticks = ticks.max(processor_ticks(child.id()));
        std::thread::sleep(Duration::from_millis(5));
    };
    let time = started.elapsed();
    if status.code().is_some_and(|code| codes.contains(&code)) {
        return Ok(Measured { time, memory, processor: Duration::from_millis(ticks * 10) });
    }
    let said = std::fs::read_to_string(errors.path()).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    let end = lines[lines.len().saturating_sub(15)..].join("\n");
    Err(Failure::new(format!("{program}: {status}\n{end}")))
}

/// The processor's time that a process has had, in hundredths of a second, where the system tells.
fn processor_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: the 12th and 13th.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// The most resident memory that a process has had, where the system tells.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or_default() << 10
}
