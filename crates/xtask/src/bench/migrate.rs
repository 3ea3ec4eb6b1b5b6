//! 1,000 files of three statements, as fast as the database's own client?
//!
//! The floor is the client fed all files on one connection, at the server's own durability.
//! On PostgreSQL and SQLite it is printed twice: each file in a transaction, as a migrator runs
//! it, and as the client does by itself, each statement in its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dunlin_testkit::servers::{self, Durability, Product, Server, TestDatabase};

use super::{median, timed};
use crate::{Failure, cargo, install};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// How many files of three statements.
    #[arg(long, default_value_t = 1_000)]
    files: usize,
    /// How many files when nothing is pending.
    #[arg(long, default_value_t = 10_000)]
    pending_files: usize,
    /// How often each is measured, in turn with the others.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Only on these databases.
    #[arg(long, value_delimiter = ',', default_value = "postgres,mysql,sqlite")]
    database: Vec<String>,
    /// A program to measure instead of a release build of this repository.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// The first version of the folder.
const FIRST_VERSION: usize = 1_000_000;

/// Ways to get the files into a database.
#[derive(Debug, Clone)]
enum Way {
    /// The client, with a script.
    Client {
        name: &'static str,
        script: String,
    },
    Ours,
    Sqlx(PathBuf),
}

impl Way {
    fn name(&self) -> &str {
        match self {
            Self::Client { name, .. } => name,
            Self::Ours => "dunlin",
            Self::Sqlx(_) => "sqlx-cli",
        }
    }
}

/// `cargo xtask bench migrate`
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    install::missing_servers()?;
    let binary = match &options.binary {
        Some(binary) => std::path::absolute(binary)
            .map_err(|error| Failure::because("cannot find the program", &error))?,
        None => build_release(&[], "target")?,
    };
    start_time(&binary)?;
    if options.binary.is_none() {
        sizes(&binary)?;
    }
    let sqlx = sqlx();
    if sqlx.is_none() {
        println!("sqlx-cli is neither on PATH nor at $SQLX: left out");
    }
    for product in Product::ALL {
        if options.database.iter().any(|name| name == product.as_str()) {
            product_times(product, &binary, sqlx.as_ref(), options)?;
        }
    }
    Ok(())
}

pub(super) fn build_release(features: &[&str], folder: &str) -> Result<PathBuf, Failure> {
    let target = match folder {
        "target" => cargo::target_folder(),
        other => cargo::target_folder().join(other),
    };
    let mut build = cargo::cargo(&["build", "--quiet", "--release", "-p", "dunlin-cli"]);
    cargo::run(build.args(features).arg("--target-dir").arg(&target))?;
    Ok(target.join("release").join("dunlin"))
}

fn sizes(full: &Path) -> Result<(), Failure> {
    let smallest = build_release(&["--no-default-features", "--features", "postgres"], "smallest")?;
    for (name, path) in [("full", full), ("smallest", &smallest)] {
        let size = std::fs::metadata(path)
            .map_err(|error| Failure::because(format!("cannot see {}", path.display()), &error))?
            .len();
        println!("size of the {name} binary: {:.2} MB", size as f64 / 1e6);
    }
    Ok(())
}

fn start_time(binary: &Path) -> Result<(), Failure> {
    let mut times = Vec::new();
    // 21: it is short, and an odd number has a middle.
    for _ in 0..21 {
        times.push(timed(Command::new(binary).arg("--version"))?);
    }
    println!("dunlin --version: {:.1} ms", median(times).as_secs_f64() * 1e3);
    Ok(())
}

fn sqlx() -> Option<PathBuf> {
    let given = cargo::environment("SQLX").map(PathBuf::from);
    given.or_else(|| cargo::is_there("sqlx", &["--version"]).then(|| PathBuf::from("sqlx")))
}

fn product_times(
    product: Product,
    binary: &Path,
    sqlx: Option<&PathBuf>,
    options: &Options,
) -> Result<(), Failure> {
    let server = server(product)?;
    let project = folder(options.files)?;
    let mut ways = clients(product, options.files);
    ways.push(Way::Ours);
    if let Some(sqlx) = sqlx.cloned().map(Way::Sqlx) {
        // It is built for some databases only.
        match measure(&sqlx, &fresh(server.as_ref()), project.path(), binary) {
            Ok(_) => ways.push(sqlx),
            Err(_) => println!("sqlx-cli cannot run {}: left out", product.as_str()),
        }
    }
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); ways.len()];
    for _ in 0..options.repeats {
        for (way, times) in ways.iter().zip(&mut times) {
            let database = fresh(server.as_ref());
            times.push(measure(way, &database, project.path(), binary)?);
            check(&database, options.files, way)?;
        }
    }
    println!("\n{}: {} files of 3 statements", product.as_str(), options.files);
    let floor = median(times[0].clone());
    for (way, times) in ways.iter().zip(times) {
        let (best, middle) = (times.iter().min().copied().unwrap_or_default(), median(times));
        println!(
            "  {:<34} {:>8.0} ms  (best {:>6.0} ms)  {:.2} x the floor",
            way.name(),
            middle.as_secs_f64() * 1e3,
            best.as_secs_f64() * 1e3,
            middle.as_secs_f64() / floor.as_secs_f64()
        );
    }
    nothing_pending(binary, server.as_ref(), options)
}

fn server(product: Product) -> Result<Option<Server>, Failure> {
    let started = match product {
        Product::Postgres => Server::postgres(Durability::Full, &[]).map(Some),
        Product::Mysql => Server::mysql(Durability::Full, &[]).map(Some),
        Product::Pgbouncer => Server::postgres(Durability::Full, &[])
            .and_then(|behind| Server::pgbouncer(&behind).map(Some)),
        Product::Sqlite => Ok(None),
    };
    started.map_err(|error| Failure::because("no server", &error))
}

fn fresh(server: Option<&Server>) -> TestDatabase {
    server.map_or_else(|| servers::sqlite("bench"), |server| server.database("bench"))
}

/// The three statements of a file.
fn file(number: usize) -> String {
    format!(
        "CREATE TABLE t_{number} (id integer PRIMARY KEY, name varchar(40), n integer);\n\
         CREATE INDEX t_{number}_name ON t_{number} (name);\n\
         INSERT INTO t_{number} VALUES (1, 'one', 1), (2, 'two', 2);\n"
    )
}

fn folder(files: usize) -> Result<tempfile::TempDir, Failure> {
    let failed = |error: std::io::Error| Failure::because("cannot write the files", &error);
    let root = tempfile::tempdir().map_err(failed)?;
    let folder = root.path().join("migrations");
    std::fs::create_dir(&folder).map_err(failed)?;
    for number in 0..files {
        let name = format!("{}_make_t_{number}.sql", FIRST_VERSION + number);
        std::fs::write(folder.join(name), file(number)).map_err(failed)?;
    }
    Ok(root)
}

/// What the client is fed; the first is the floor.
fn clients(product: Product, files: usize) -> Vec<Way> {
    let plain: String = (0..files).map(file).collect();
    let own = Way::Client { name: "client, as it comes", script: plain };
    if product == Product::Mysql {
        // Definitions commit by themselves.
        return vec![own];
    }
    let script = (0..files).map(|number| format!("BEGIN;\n{}COMMIT;\n", file(number))).collect();
    vec![Way::Client { name: "client, a transaction a file", script }, own]
}

fn measure(
    way: &Way,
    database: &TestDatabase,
    root: &Path,
    binary: &Path,
) -> Result<Duration, Failure> {
    match way {
        Way::Client { script, .. } => {
            let started = Instant::now();
            database.sql(script).map_err(|error| Failure::because("the client fails", &error))?;
            Ok(started.elapsed())
        }
        Way::Ours => timed(&mut migrate(binary, root, &database.url)),
        Way::Sqlx(sqlx) => {
            let mut create = Command::new(sqlx);
            // It doesn't make a file by itself; elsewhere the database is there.
            timed(create.args(["database", "create", "--database-url", &database.url]))?;
            let mut run = Command::new(sqlx);
            run.args(["migrate", "run", "--database-url", &database.url]);
            timed(run.arg("--source").arg(root.join("migrations")))
        }
    }
}

fn migrate(binary: &Path, root: &Path, url: &str) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(root).env_remove("DATABASE_URL").env_remove("DUNLIN_ENV");
    command.args(["migrate", "--database-url", url, "--migrations", "migrations"]);
    command
}

/// A run that did less than all is no measurement.
fn check(database: &TestDatabase, files: usize, way: &Way) -> Result<(), Failure> {
    let last = format!("SELECT sum(n) FROM t_{}", files.saturating_sub(1));
    let sum = database.sql(&last).map_err(|error| Failure::because("no last table", &error))?;
    if sum.trim() == "3" {
        return Ok(());
    }
    Err(Failure::new(format!("{} did not run all files", way.name())))
}

/// All files are declared applied; then how long it takes to find that nothing is to do.
fn nothing_pending(
    binary: &Path,
    server: Option<&Server>,
    options: &Options,
) -> Result<(), Failure> {
    let project = folder(options.pending_files)?;
    let database = fresh(server);
    if server.is_none() {
        database.sql("VACUUM;").map_err(|error| Failure::because("no file", &error))?;
    }
    let last = FIRST_VERSION + options.pending_files - 1;
    let mut baseline = Command::new(binary);
    baseline.current_dir(project.path()).args(["baseline", "--yes", "--to", &last.to_string()]);
    baseline.args(["--database-url", &database.url, "--migrations", "migrations"]);
    timed(&mut baseline)?;
    let mut times = Vec::new();
    // 11: the first finds a cold cache; the middle does not mind.
    for _ in 0..11 {
        times.push(timed(&mut migrate(binary, project.path(), &database.url))?);
    }
    println!(
        "  nothing pending, {} files          {:>8.1} ms",
        options.pending_files,
        median(times).as_secs_f64() * 1e3
    );
    Ok(())
}
