//! Values of every type, from each database into each: moved by the real program, then compared by
//! what the servers' own clients print on either side. A value arrives equal, or its row is rejected
//! where the lane says that it can't be moved; a second run writes nothing.

mod draw;
mod lanes;
mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use dunlin_testkit::servers::{Database, Product, Server, TestDatabase};

use super::runner::{End, Runner, Sabotage};
use super::{Failure, Options, backfill, fresh};
use crate::servers::runtime;
use lanes::{Fate, Lane, lanes};

const NAME: &str = "values";

/// Rows in one INSERT: far below any server's largest packet.
const ROWS: usize = 200;

/// Wrong values that are shown of a lane.
const SHOWN_MAX: usize = 5;

/// What differs between products before the tables are made.
const POSTGRES_TYPES: &str = "CREATE EXTENSION IF NOT EXISTS hstore; \
    CREATE EXTENSION IF NOT EXISTS citext; \
    CREATE TYPE colour AS ENUM ('red', 'it''s', 'grün', '', 'two words'); \
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);";

/// What happened on a pair.
#[derive(Debug, Default)]
struct Tally {
    values: usize,
    equal: usize,
    rejected: usize,
    wrong: usize,
}

/// All pairs of the products.
pub(super) fn run(
    options: &Options,
    count: usize,
    binary: &Path,
    seed: u64,
) -> Result<(), Failure> {
    let products: Vec<Product> = options
        .database
        .products()
        .into_iter()
        .filter(|product| *product != Product::Pgbouncer)
        .collect();
    let mut servers = BTreeMap::new();
    for product in &products {
        servers.insert(product.as_str(), backfill::start(*product, options)?);
    }
    let pairs: Vec<(Product, Product)> =
        products.iter().flat_map(|from| products.iter().map(move |to| (*from, *to))).collect();
    let all: usize = pairs.iter().map(|(from, to)| lanes(*from, *to).len()).sum();
    let each = count.div_ceil(all.max(1));
    let mut wrong = 0;
    for (from, to) in pairs {
        let server = |product: Product| servers.get(product.as_str()).and_then(Option::as_ref);
        let started = Instant::now();
        let round = Round::begin((from, server(from)), (to, server(to)), binary, seed, each)?;
        let tally = round.judge()?;
        println!(
            "{:>8} to {:<8} values: {} moved between {} types, {} equal, {} rejected as they must \
             be, {} wrong | {:.0} s",
            from.as_str(),
            to.as_str(),
            tally.values,
            lanes(from, to).len(),
            tally.equal,
            tally.rejected,
            tally.wrong,
            started.elapsed().as_secs_f64()
        );
        wrong += tally.wrong;
    }
    if wrong > 0 { Err(Failure::new("values were changed, lost, or left out")) } else { Ok(()) }
}

/// Two databases with a table for each lane.
struct Round {
    lanes: &'static [Lane],
    from: TestDatabase,
    to: TestDatabase,
    project: tempfile::TempDir,
    binary: PathBuf,
}

impl Round {
    fn begin(
        from: (Product, Option<&Server>),
        to: (Product, Option<&Server>),
        binary: &Path,
        seed: u64,
        each: usize,
    ) -> Result<Self, Failure> {
        let round = Self {
            lanes: lanes(from.0, to.0),
            from: fresh(from.0, from.1, "values old"),
            to: fresh(to.0, to.1, "values new"),
            project: tempfile::Builder::new()
                .prefix("dunlin-values-")
                .tempdir()
                .map_err(|error| Failure::because("cannot make a folder", &error))?,
            binary: binary.to_owned(),
        };
        round.tables()?;
        round.fill(seed, each)?;
        round.files()?;
        Ok(round)
    }

    fn tables(&self) -> Result<(), Failure> {
        for (database, old) in [(&self.from, true), (&self.to, false)] {
            let mut sql = String::new();
            if database.product == Product::Postgres {
                sql.push_str(POSTGRES_TYPES);
            }
            for (number, lane) in self.lanes.iter().enumerate() {
                let of = if old { lane.from } else { lane.to };
                // MariaDB gives the first `timestamp` a default, and refuses NULL in it.
                let null = if of.starts_with("timestamp") { "NULL" } else { "" };
                // Writing to a String cannot fail.
                let _ = writeln!(
                    sql,
                    "CREATE TABLE l{number} (id integer PRIMARY KEY, v {of} {null});"
                );
            }
            run_sql(database, &sql, "cannot make the tables")?;
        }
        Ok(())
    }

    fn fill(&self, seed: u64, each: usize) -> Result<(), Failure> {
        let product = self.from.product;
        let mut sql = "BEGIN;\n".to_owned();
        for (number, lane) in self.lanes.iter().enumerate() {
            let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) ^ number as u64);
            let mut values = vec!["NULL".to_owned()];
            values.extend(lane.values.edges(product));
            while values.len() < each {
                values.push(lane.values.one(product, &mut random));
            }
            let cast = match product {
                Product::Postgres => format!("::{}", lane.from),
                _ => String::new(),
            };
            for (part, rows) in values.chunks(ROWS).enumerate() {
                let rows: Vec<String> = rows
                    .iter()
                    .enumerate()
                    .map(|(place, value)| format!("({}, ({value}){cast})", part * ROWS + place))
                    .collect();
                let _ = writeln!(sql, "INSERT INTO l{number} VALUES {};", rows.join(",\n"));
            }
        }
        sql.push_str("COMMIT;\n");
        run_sql(&self.from, &sql, "cannot write the values").map(drop)
    }

    fn files(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::because("cannot write the files", &error);
        let project = self.project.path();
        std::fs::create_dir(project.join("moves")).map_err(failed)?;
        let databases = format!(
            "[databases.old]\nurl = \"{}\"\n\n[databases.app]\nurl = \"{}\"\n",
            self.from.url, self.to.url
        );
        std::fs::write(project.join("dunlin.toml"), databases).map_err(failed)?;
        let mut mapping = "source = \"old\"\ntarget = \"app\"\n".to_owned();
        for (number, lane) in self.lanes.iter().enumerate() {
            let _ = writeln!(
                mapping,
                "\n[into.l{number}]\nfrom = \"l{number}\"\nset.id = \"id\"\nset.v = \"{}\"",
                lane.set
            );
        }
        std::fs::write(project.join("moves").join(format!("{NAME}.toml")), mapping).map_err(failed)
    }

    /// Runs the program; what it printed.
    fn program(&self, log: &str, arguments: &[&str], codes: &[i32]) -> Result<String, Failure> {
        let runner = Runner {
            binary: self.binary.clone(),
            root: self.project.path().to_owned(),
            url: None,
            effects: PathBuf::new(),
            log: self.project.path().join(log),
            lease_ttl: None,
            arguments: arguments.iter().map(|&part| part.to_owned()).collect(),
        };
        let (end, _) = runtime()?.block_on(runner.run(&Sabotage::Nothing))?;
        let said = std::fs::read_to_string(self.project.path().join(log)).unwrap_or_default();
        if codes.iter().any(|code| end == End::Exited(*code)) {
            return Ok(said);
        }
        let tail = said.len().saturating_sub(6_000);
        let tail = said.get(tail..).unwrap_or(&said);
        Err(Failure::new(format!(
            "{} to {}: {arguments:?} ended with {end:?}:\n{tail}",
            self.from.product.as_str(),
            self.to.product.as_str()
        )))
    }

    fn judge(&self) -> Result<Tally, Failure> {
        // 6: rows are rejected, as some must be.
        self.program("first", &["move", "run", NAME], &[0, 6])?;
        let mut rejected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut tally = Tally::default();
        for line in self.program("rejects", &["move", "rejects", NAME, "--json"], &[0])?.lines() {
            let Ok(row) = serde_json::from_str::<serde_json::Value>(line) else { continue };
            let part = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            if part("what") == "rejected" {
                rejected.entry(part("rule")).or_default().insert(part("key"));
            } else {
                tally.wrong += 1;
                println!(
                    "-- {}: {} {}: {}",
                    part("rule"),
                    part("key"),
                    part("what"),
                    part("reason")
                );
            }
        }
        let old = seen(&self.from, self.lanes.iter().map(|lane| lane.old))?;
        let new = seen(&self.to, self.lanes.iter().map(|lane| lane.new))?;
        for (number, lane) in self.lanes.iter().enumerate() {
            let none = BTreeSet::new();
            let rejected = rejected.get(&format!("l{number}")).unwrap_or(&none);
            self.lane((number, lane), (&old[number], &new[number]), rejected, &mut tally);
        }
        let again = self.program("second", &["move", "run", NAME, "--json"], &[0, 6])?;
        let document = again.find("\n{").map_or(again.as_str(), |at| &again[at..]);
        let report: serde_json::Value = serde_json::from_str(document)
            .map_err(|error| Failure::because("a second run has no report", &error))?;
        for rule in report["rules"].as_array().into_iter().flatten() {
            for what in ["inserted", "updated", "deleted"] {
                if rule[what] != 0 {
                    tally.wrong += 1;
                    println!("-- one run more: {} {what} {}", rule["rule"], rule[what]);
                }
            }
        }
        Ok(tally)
    }

    fn lane(
        &self,
        (number, lane): (usize, &Lane),
        (old, new): (&Seen, &Seen),
        rejected: &BTreeSet<String>,
        tally: &mut Tally,
    ) {
        let mut wrong = Vec::new();
        for (id, value) in old {
            tally.values += 1;
            let fate = value.as_deref().map_or(Fate::Moved, lane.fate);
            let outcome = match (new.get(id), rejected.contains(id)) {
                (Some(there), false) if fate != Fate::Rejected && there == value => {
                    tally.equal += 1;
                    continue;
                }
                (None, true) if fate != Fate::Moved => {
                    tally.rejected += 1;
                    continue;
                }
                (Some(there), _) => format!("became {there:?}"),
                (None, true) => "was rejected".to_owned(),
                (None, false) => "is lost".to_owned(),
            };
            wrong.push(format!("   {id}: {value:?} {outcome}"));
        }
        wrong.extend(
            new.keys().filter(|id| !old.contains_key(*id)).map(|id| format!("   {id}: new")),
        );
        if !wrong.is_empty() {
            tally.wrong += wrong.len();
            println!(
                "-- {} {} to {} {} (l{number}): {} wrong",
                self.from.product.as_str(),
                lane.from,
                self.to.product.as_str(),
                lane.to,
                wrong.len()
            );
            wrong.iter().take(SHOWN_MAX).for_each(|line| println!("{}", shortened(line)));
        }
    }
}

fn shortened(line: &str) -> String {
    line.chars().take(300).collect()
}

fn run_sql(database: &Database, sql: &str, what: &str) -> Result<String, Failure> {
    let settings = match database.product {
        Product::Mysql => "SET time_zone = '+00:00';\nSET NAMES utf8mb4;\n",
        Product::Sqlite => "",
        Product::Postgres | Product::Pgbouncer => {
            "SET TIME ZONE 'UTC';\nSET client_min_messages = warning;\n"
        }
    };
    database
        .sql(&format!("{settings}{sql}"))
        // A client repeats the statement, however long it is.
        .map_err(|error| {
            let said = error.to_string();
            let from = said.char_indices().rev().nth(800).map_or(0, |(at, _)| at);
            Failure::new(format!("{what}: …{}", &said[from..]))
        })
}

/// Values of a table by their keys, in the form that is compared.
type Seen = BTreeMap<String, Option<String>>;

/// All tables.
fn seen(
    database: &Database,
    views: impl Iterator<Item = look::View>,
) -> Result<Vec<Seen>, Failure> {
    let views: Vec<look::View> = views.collect();
    let mut sql = String::new();
    for (number, view) in views.iter().enumerate() {
        let digits = view.sql(database.product);
        let line = match database.product {
            Product::Mysql => format!("concat('{number} ', id, ' ', coalesce({digits}, '-'))"),
            _ => format!("'{number} ' || id || ' ' || coalesce({digits}, '-')"),
        };
        let _ = writeln!(sql, "SELECT {line} FROM l{number};");
    }
    let printed = run_sql(database, &sql, "cannot look at the tables")?;
    let mut tables = vec![Seen::new(); views.len()];
    for line in printed.lines() {
        let bad = || Failure::new("a client printed another line than two numbers and digits");
        let parts: Vec<&str> = line.splitn(3, ' ').collect();
        let [number, id, digits] = parts[..] else { return Err(bad()) };
        let number: usize = number.parse().map_err(|_| bad())?;
        let (Some(view), Some(table)) = (views.get(number), tables.get_mut(number)) else {
            return Err(bad());
        };
        let value = match digits {
            "-" => None,
            // Already digits of what counts.
            digits if *view == look::View::Bytes => Some(digits.to_lowercase()),
            digits => {
                let text =
                    String::from_utf8(unhexed(digits).ok_or_else(bad)?).map_err(|_| bad())?;
                Some(view.same(database.product, &text))
            }
        };
        table.insert(id.to_owned(), value);
    }
    Ok(tables)
}

fn unhexed(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}
