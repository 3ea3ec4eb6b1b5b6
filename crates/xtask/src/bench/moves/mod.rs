//! A move against what only copies: `psql | psql`, `pg_restore`, `pgloader`.
//!
//! Comments with an integer key and three integer references become comments with four UUIDs, a text
//! of 45 bytes and two timestamps beside them. What copies gets the translated rows, made beforehand.

mod ground;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dunlin_testkit::servers::Product;

use super::backfill::{Measured, watched, watched_to};
use super::median;
use crate::{Failure, cargo, install};
use ground::{Ground, Shape};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Comments.
    #[arg(long, default_value_t = 3_000_000)]
    rows: u64,
    /// How often each way is measured, in turn with the others.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Only these parts: keyed, whole, again, plain, mysql, sqlite, ids.
    #[arg(long, value_delimiter = ',', default_value = "keyed,whole,again,plain,mysql,sqlite,ids")]
    part: Vec<String>,
    /// A program to measure instead of a release build of this repository.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// How rows get into the target.
enum Way {
    /// `dunlin move run`; in the end every row is compared, or not.
    Ours { verify: bool },
    /// COPY TO into COPY FROM, of rows that are translated.
    Pipe,
    /// `pg_restore -j2` of a dump of the target's tables.
    Restore(PathBuf),
    /// pgloader, with its load file.
    Pgloader(PathBuf),
}

impl Way {
    fn name(&self) -> &'static str {
        match self {
            Self::Ours { verify: true } => "dunlin, each row verified",
            Self::Ours { verify: false } => "dunlin, --no-verify",
            Self::Pipe => "psql | psql, binary",
            Self::Restore(_) => "pg_restore -j2",
            Self::Pgloader(_) => "pgloader",
        }
    }
}

/// What is measured with.
struct Bench<'a> {
    ground: Ground,
    binary: &'a Path,
    folder: tempfile::TempDir,
    repeats: usize,
}

/// `cargo xtask bench move`
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    install::missing_servers()?;
    let binary = super::program(options.binary.as_ref())?;
    let asked = |part: &str| options.part.iter().any(|name| name == part);
    if ["keyed", "whole", "again", "plain"].into_iter().any(asked) {
        let bench = Bench::new(Product::Postgres, &binary, options)?;
        if asked("keyed") {
            bench.translated(Shape::Keyed)?;
            let ours = [false, true].map(|verify| Way::Ours { verify });
            let ways: Vec<Way> = std::iter::once(Way::Pipe).chain(ours).collect();
            bench.compare(Shape::Keyed, "new ids, primary key only", &ways)?;
        }
        if asked("whole") {
            bench.translated(Shape::Whole)?;
            let ways = [Way::Restore(bench.dump()?), Way::Ours { verify: false }];
            bench.compare(Shape::Whole, "new ids, three indexes, four foreign keys", &ways)?;
        }
        if asked("again") {
            bench.again()?;
        }
        if asked("plain") {
            bench.against_pgloader(Product::Postgres)?;
        }
    }
    for (part, product) in [("mysql", Product::Mysql), ("sqlite", Product::Sqlite)] {
        if asked(part) {
            Bench::new(product, &binary, options)?.against_pgloader(product)?;
        }
    }
    if asked("ids") {
        ids()?;
    }
    Ok(())
}

/// A loop over the translation alone; it lives beside what it measures.
fn ids() -> Result<(), Failure> {
    let mut test = cargo::cargo(&["test", "--quiet", "--release", "-p", "dunlin-engine"]);
    test.args(["--features", "move", "--lib", "how_long_an_id_takes", "--"]);
    cargo::run(test.args(["--ignored", "--nocapture"]))
}

impl<'a> Bench<'a> {
    fn new(from: Product, binary: &'a Path, options: &Options) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::because("no folder", &error);
        Ok(Self {
            ground: Ground::new(from, options.rows)?,
            binary,
            folder: tempfile::tempdir().map_err(failed)?,
            repeats: options.repeats.max(1),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the move once, and keeps what came of it.
    fn translated(&self, shape: Shape) -> Result<(), Failure> {
        self.ground.empty(shape)?;
        self.ground.project(shape, self.folder.path())?;
        self.measure(&Way::Ours { verify: false })?;
        self.ground.keep_translated()
    }

    fn dump(&self) -> Result<PathBuf, Failure> {
        let file = self.path("app.dump");
        let mut dump = Command::new("pg_dump");
        dump.args(["-Fc", "-Z0", "-t", "users", "-t", "orders", "-t", "comments", "-f"]);
        watched(dump.arg(&file).arg(&self.ground.app.url))?;
        Ok(file)
    }

    fn compare(&self, shape: Shape, title: &str, ways: &[Way]) -> Result<(), Failure> {
        self.ground.project(shape, self.folder.path())?;
        let mut all: Vec<Vec<Measured>> = ways.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.repeats {
            for (way, measured) in ways.iter().zip(&mut all) {
                self.ground.empty(shape)?;
                if let Way::Restore(_) = way {
                    let drop = "DROP TABLE comments, orders, users CASCADE";
                    let dropped = self.ground.app.sql(drop);
                    dropped.map_err(|error| Failure::because("no drop", &error))?;
                }
                measured.push(self.measure(way)?);
                self.ground.check(way.name())?;
            }
        }
        println!("\n{title}: {} rows", self.ground.rows);
        let first = median(all[0].iter().map(|one| one.time).collect());
        for (way, measured) in ways.iter().zip(&all) {
            self.print(way.name(), measured, first, matches!(way, Way::Ours { .. }));
        }
        Ok(())
    }

    fn print(&self, name: &str, measured: &[Measured], first: Duration, ours: bool) {
        let middle = |of: fn(&Measured) -> Duration| median(measured.iter().map(of).collect());
        let time = middle(|one| one.time);
        let best = measured.iter().map(|one| one.time).min().unwrap_or_default();
        let client = if ours {
            let memory = measured.iter().map(|one| one.memory).max().unwrap_or_default();
            let each = middle(|one| one.processor).as_secs_f64() * 1e6 / self.ground.rows as f64;
            format!("  {each:.2} us of client a row, {} MiB", memory >> 20)
        } else {
            String::new()
        };
        println!(
            "  {name:<28} {:>8.2} s  (best {:>7.2} s)  {:.2} x{client}",
            time.as_secs_f64(),
            best.as_secs_f64(),
            time.as_secs_f64() / first.as_secs_f64(),
        );
    }

    /// The night after: nothing changed, and one row in a hundred.
    fn again(&self) -> Result<(), Failure> {
        self.ground.empty(Shape::Whole)?;
        self.ground.project(Shape::Whole, self.folder.path())?;
        let ours = |verify| self.measure(&Way::Ours { verify });
        let first = ours(false)?;
        let mut same = Vec::new();
        let mut proved = Vec::new();
        let mut changed = Vec::new();
        for _ in 0..self.repeats {
            same.push(ours(false)?);
            proved.push(ours(true)?);
            self.ground.change_one_in_a_hundred()?;
            changed.push(ours(false)?);
            self.ground.check("a later run")?;
        }
        println!("\nagain, with indexes and keys: {} rows", self.ground.rows);
        self.print("the first run", &[first], first.time, true);
        self.print("nothing changed", &same, first.time, true);
        self.print("nothing changed, verified", &proved, first.time, true);
        self.print("1% changed", &changed, first.time, true);
        Ok(())
    }

    fn against_pgloader(&self, from: Product) -> Result<(), Failure> {
        let mut ways = vec![Way::Ours { verify: false }];
        if cargo::is_there("pgloader", &["--version"]) {
            let file = self.path("load");
            let written = std::fs::write(&file, self.load_file(from));
            written.map_err(|error| Failure::because("cannot write a file", &error))?;
            ways.push(Way::Pgloader(file));
        } else {
            println!("pgloader is not on PATH: left out");
        }
        self.compare(Shape::Plain, &format!("a plain copy from {}", from.as_str()), &ways)
    }

    fn load_file(&self, from: Product) -> String {
        let Ground { old, app, .. } = &self.ground;
        let (url, tables) = match from {
            Product::Mysql => (
                old.url.clone(),
                format!(
                    "INCLUDING ONLY TABLE NAMES MATCHING 'comments'\n\
                     ALTER SCHEMA '{}' RENAME TO 'public'",
                    old.name
                ),
            ),
            Product::Sqlite => {
                (old.url.clone(), "INCLUDING ONLY TABLE NAMES LIKE 'comments'".to_owned())
            }
            _ => (
                old.url.replacen("postgres://", "pgsql://", 1),
                "INCLUDING ONLY TABLE NAMES MATCHING 'comments' IN SCHEMA 'public'".to_owned(),
            ),
        };
        format!(
            "LOAD DATABASE\n FROM {url}\n INTO {app}\n WITH data only, create no tables, \
             create no indexes, no foreign keys, reset no sequences\n{tables};\n",
            app = app.url.replacen("postgres://", "pgsql://", 1),
        )
    }

    fn measure(&self, way: &Way) -> Result<Measured, Failure> {
        let Ground { old, app, .. } = &self.ground;
        match way {
            Way::Ours { verify } => {
                let mut command = Command::new(self.binary);
                command.current_dir(self.folder.path()).env_remove("DUNLIN_ENV");
                command.env("OLD_URL", &old.url).env("APP_URL", &app.url);
                command.args(["move", "run", "bench", "--json"]);
                if *verify {
                    return watched(&mut command);
                }
                // Rows that were not compared are told by another code than 0.
                command.arg("--no-verify");
                watched_to(&mut command, &[0, 6])
            }
            Way::Pipe => {
                let mut shell = Command::new("sh");
                shell.args([
                    "-c",
                    "psql -qX \"$0\" -c 'COPY translated TO STDOUT (FORMAT binary)' | \
                     psql -qX \"$0\" -c 'COPY comments FROM STDIN (FORMAT binary)'",
                ]);
                watched(shell.arg(&app.url))
            }
            Way::Restore(dump) => {
                let mut restore = Command::new("pg_restore");
                watched(restore.args(["-j2", "--no-owner", "-d", &app.url]).arg(dump))
            }
            Way::Pgloader(file) => watched(Command::new("pgloader").arg(file)),
        }
    }
}
