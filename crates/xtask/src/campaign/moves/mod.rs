//! A move from one application's database into another's, night after night: each night the old
//! application has been used, in some rounds the new one as well, the mapping is edited now and then,
//! and runs are killed at random until one ends by itself. Then every row must be what it should, ids
//! must be those of the night before, and one more run must find nothing to write.

mod application;
mod oracle;
mod source;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dunlin_testkit::servers::{Product, Server};

use super::runner::{End, Runner, Sabotage};
use super::{Failure, On, Options, backfill};
use crate::servers::runtime;
use application::{Adds, Application, Theirs};
use oracle::{At, Ids, ideal, judge, snapshot};
use source::Old;
use world::{NAME, World};

/// Failpoints of a move, in its order.
const FAILPOINTS: [&str; 14] = [
    "claim.granted",
    "move.decided",
    "move.kept",
    "move.stripped",
    "move.written",
    "move.sending",
    "move.committed",
    "move.rebuilt",
    "move.opened",
    "move.swapping",
    "move.untied",
    "move.rejected",
    "move.loaded",
    "move.verified",
];

/// How often a night's run is killed at most before it is let through.
const KILLS_MAX: usize = 4;

/// After so many runs that fail by themselves, one after the other, a person would be asked.
const ERRORS_MAX: usize = 3;

/// A lease that the campaign can wait for.
const LEASE: Duration = Duration::from_millis(1_500);

/// Complaints that are shown of a night: enough to see what kind of thing is wrong.
const SHOWN_MAX: usize = 8;

/// Runs that fail and of which the end of the log is shown.
const ERRORS_SHOWN_MAX: usize = 3;

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    nights: usize,
    runs: usize,
    kills: usize,
    /// Runs that ended by themselves with something else than "done", after which the next went on.
    errors: usize,
    human: usize,
    wrong_rows: usize,
    wrong_rounds: usize,
    by_failpoint: BTreeMap<&'static str, usize>,
}

/// All rounds on all products.
pub(super) fn run(options: &Options, binary: &Path, seed: u64) -> Result<(), Failure> {
    let products = match options.database {
        On::All => vec![Product::Postgres, Product::Mysql, Product::Sqlite],
        On::Pgbouncer => {
            return Err(Failure::new("a move's target is PostgreSQL itself: name that"));
        }
        on => on.products(),
    };
    let mut failed = false;
    for product in products {
        let started = Instant::now();
        let server = backfill::start(product, options)?;
        let mut tally = Tally::default();
        for number in 0..options.runs {
            let mut round = Round::begin(product, server.as_ref(), binary, seed, number)?;
            let complaints = round.nights(&mut tally)?;
            tally.rounds += 1;
            if !complaints.is_empty() {
                tally.wrong_rounds += 1;
                round.show(&complaints, seed, number);
            }
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

/// How a round is used.
#[derive(Debug, Clone, Copy)]
struct Circumstances {
    /// How many hundreds of rows the old database begins with.
    scale: u32,
    /// The new application is used between the nights.
    used: bool,
    /// And between a run that was killed and the next.
    used_meanwhile: bool,
    /// The mapping's mode. A reload writes over what the application did, so then it does nothing.
    mode: &'static str,
}

/// One round: two databases, and what has become of them.
struct Round {
    circumstances: Circumstances,
    world: World,
    project: tempfile::TempDir,
    binary: PathBuf,
    random: fastrand::Rng,
    turn: usize,
    old: Old,
    /// The new database's indexes and constraints.
    definitions: String,
    application: Application,
    theirs: Theirs,
    ids: Ids,
    kept: BTreeSet<At>,
    /// How long a run takes about.
    run_time: Duration,
}

impl Round {
    fn begin(
        product: Product,
        server: Option<&Server>,
        binary: &Path,
        seed: u64,
        number: usize,
    ) -> Result<Self, Failure> {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) ^ number as u64);
        let project = tempfile::Builder::new()
            .prefix("dunlin-campaign-")
            .tempdir()
            .map_err(|error| Failure::because("cannot make a folder", &error))?;
        let use_of_it = random.u8(0..3);
        let mode = ["sync", "sync", "reload", "swap"][random.usize(0..4)];
        let circumstances = Circumstances {
            // Large enough for several packs of a thousand, one round in six.
            scale: if random.u8(0..6) == 0 { 20 } else { random.u32(1..=2) },
            used: mode != "reload" && use_of_it > 0,
            used_meanwhile: mode != "reload" && use_of_it > 1,
            mode,
        };
        let world = World::make(product, server, project.path(), circumstances.mode)?;
        let has_labels = world.has_tags();
        let theirs = Theirs::before(snapshot(&world.actual()?)?.0);
        let mut round = Self {
            circumstances,
            definitions: world.definitions()?,
            world,
            project,
            binary: binary.to_owned(),
            turn: number,
            old: Old::new(product, has_labels, random.u64(..)),
            application: Application::new(random.u64(..)),
            random,
            theirs,
            ids: Ids::default(),
            kept: BTreeSet::new(),
            run_time: Duration::from_millis(1_500),
        };
        let years = round.old.years(circumstances.scale);
        round.day(&years)?;
        Ok(round)
    }

    fn day(&self, sql: &str) -> Result<(), Failure> {
        let failed = |error| Failure::because("the old application cannot write", &error);
        self.world.old.sql(sql).map_err(failed).map(drop)
    }

    /// Goes from night to night; what is wrong, after the first night with which something is.
    fn nights(&mut self, tally: &mut Tally) -> Result<Vec<String>, Failure> {
        for night in 0..self.random.usize(3..=5) {
            if night > 0 {
                self.between_nights()?;
            }
            tally.nights += 1;
            let mut complaints = self.night(night, tally)?;
            if !complaints.is_empty() {
                tally.wrong_rows += complaints.len();
                complaints.insert(0, format!("night {}, {:?}", night + 1, self.circumstances));
                return Ok(complaints);
            }
        }
        Ok(Vec::new())
    }

    fn between_nights(&mut self) -> Result<(), Failure> {
        let Circumstances { used, used_meanwhile, .. } = self.circumstances;
        if used {
            self.application.work(&self.world, &mut self.theirs, Adds::Tags)?;
        }
        let pinned = if used_meanwhile {
            // Somebody may come to stand on any account before the night is over.
            self.world
                .people()?
                .lines()
                .filter_map(|line| line.split_once(' '))
                .map(|(_, mail)| mail.to_owned())
                .collect()
        } else {
            let (there, _) = snapshot(&self.world.actual()?)?;
            self.theirs.pinned(&there, &self.kept)
        };
        let day = self.old.day(&pinned);
        self.day(&day)?;
        if self.random.u8(0..4) == 0 {
            self.world.edit_mapping(self.project.path())?;
        }
        Ok(())
    }

    fn night(&mut self, night: usize, tally: &mut Tally) -> Result<Vec<String>, Failure> {
        let (before, _) = snapshot(&self.world.actual()?)?;
        if let Some(complaint) = self.until_done(night, tally)? {
            tally.human += 1;
            return Ok(vec![complaint]);
        }
        let (there, mut complaints) = snapshot(&self.world.actual()?)?;
        if self.world.definitions()? != self.definitions {
            complaints.push("indexes or constraints are not what they were".to_owned());
        }
        complaints.extend(self.ids.compare(&there, &self.world.people()?));
        let ideal = ideal(&self.world.expected()?)?;
        let judgement = judge(&ideal, &there, &before, &mut self.theirs, &self.ids);
        complaints.extend(judgement.complaints);
        self.kept = judgement.kept;
        if complaints.is_empty() {
            complaints.extend(self.once_more(tally)?);
            let (after, _) = snapshot(&self.world.actual()?)?;
            let changed = after.iter().filter(|(at, row)| there.get(at) != Some(row));
            complaints.extend(changed.map(|(at, _)| format!("changed by one run more: {at:?}")));
        }
        Ok(complaints)
    }

    /// Runs, kills, and runs again until a run ends by itself. A complaint: a person would be asked.
    fn until_done(&mut self, night: usize, tally: &mut Tally) -> Result<Option<String>, Failure> {
        let runtime = runtime()?;
        let wanted = self.random.usize(0..=KILLS_MAX);
        let (mut kills, mut errors) = (0, 0);
        loop {
            let sabotage = if kills < wanted { self.choose() } else { Sabotage::Nothing };
            tally.runs += 1;
            let began = Instant::now();
            let (end, _) = runtime.block_on(self.runner("log", &[]).run(&sabotage))?;
            match end {
                End::Exited(0) => {
                    self.run_time = began.elapsed();
                    return Ok(None);
                }
                End::Killed => {
                    kills += 1;
                    tally.kills += 1;
                    errors = 0;
                    if let Sabotage::KillAt { failpoint, .. } = sabotage {
                        *tally.by_failpoint.entry(failpoint).or_default() += 1;
                    }
                    if self.circumstances.used_meanwhile
                        && self.random.bool()
                        && !self.world.is_kept()?
                    {
                        let (there, _) = snapshot(&self.world.actual()?)?;
                        if let Some(complaint) = self.ids.see(&there).pop() {
                            return Ok(Some(complaint));
                        }
                        // Before the first run is done, no numbers are kept free for its teams.
                        let adds = if night > 0 { Adds::Teams } else { Adds::Rows };
                        self.application.work(&self.world, &mut self.theirs, adds)?;
                    }
                }
                End::Exited(code) | End::Crashed(code) => {
                    errors += 1;
                    tally.errors += 1;
                    if tally.errors <= ERRORS_SHOWN_MAX {
                        println!(
                            "-- night {}, {:?}: exit code {code}",
                            night + 1,
                            self.circumstances
                        );
                        println!("{}", self.log_tail());
                    }
                    if errors >= ERRORS_MAX {
                        return Ok(Some(format!("stays at exit code {code}")));
                    }
                }
                End::Hung => return Ok(Some("hangs".to_owned())),
            }
        }
    }

    /// One more run, after which nothing has changed: it writes nothing.
    fn once_more(&self, tally: &mut Tally) -> Result<Vec<String>, Failure> {
        let log = format!("log-of-one-more-{}", tally.runs);
        tally.runs += 1;
        let (end, _) =
            runtime()?.block_on(self.runner(&log, &["--json"]).run(&Sabotage::Nothing))?;
        let mut complaints = Vec::new();
        if end != End::Exited(0) {
            complaints.push(format!("one run more: {end:?}"));
        }
        let text = std::fs::read_to_string(self.project.path().join(&log)).unwrap_or_default();
        let document = text.find("\n{").map_or(text.as_str(), |at| &text[at..]);
        let report: serde_json::Value = serde_json::from_str(document)
            .map_err(|error| Failure::because(format!("no report in {log}"), &error))?;
        for rule in report["rules"].as_array().into_iter().flatten() {
            for what in ["inserted", "updated", "deleted"] {
                // A reload writes everything again.
                let is_usual = self.circumstances.mode == "reload" && what == "inserted";
                if rule[what] != 0 && !is_usual {
                    complaints
                        .push(format!("one run more: {} {what} {}", rule["rule"], rule[what]));
                }
            }
        }
        Ok(complaints)
    }

    fn log_tail(&self) -> String {
        backfill::tail(&self.project.path().join("log"))
    }

    fn runner(&self, log: &str, more: &[&str]) -> Runner {
        let arguments = ["move", "run", NAME, "--lease-wait", "2min"];
        Runner {
            binary: self.binary.clone(),
            root: self.project.path().to_owned(),
            url: None,
            effects: PathBuf::new(),
            log: self.project.path().join(log),
            lease_ttl: Some(LEASE),
            arguments: arguments.iter().chain(more).map(|&part| part.to_owned()).collect(),
        }
    }

    /// Half of the kills come at any moment, half at failpoints, each in its turn.
    fn choose(&mut self) -> Sabotage {
        self.turn += 1;
        if self.random.bool() {
            return Sabotage::KillAfter(self.run_time.mul_f64(self.random.f64()));
        }
        let nth = if self.random.bool() { 1 } else { self.random.usize(2..=12) };
        Sabotage::KillAt { failpoint: FAILPOINTS[self.turn % FAILPOINTS.len()], nth }
    }

    /// Shows what is wrong, and keeps all there is.
    fn show(self, complaints: &[String], seed: u64, number: usize) {
        println!("-- round {number} of seed {seed} is wrong: {} rows", complaints.len() - 1);
        complaints.iter().take(SHOWN_MAX + 1).for_each(|complaint| println!("   {complaint}"));
        println!("-- the end of its last log\n{}", self.log_tail());
        println!(
            "-- its files and logs: {}; its databases: {}, {}",
            self.project.keep().display(),
            self.world.old.name,
            self.world.new.name
        );
        std::mem::forget(self.world);
    }
}

impl Tally {
    fn print(&self, product: Product, time: Duration) {
        println!(
            "{:<10} move: {} rounds, {} nights, {} runs, {} kills, {} errors retried | wrong rows \
             {}, wrong rounds {}, human steps {} | {:.0} s",
            product.as_str(),
            self.rounds,
            self.nights,
            self.runs,
            self.kills,
            self.errors,
            self.wrong_rows,
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

#[cfg(test)]
mod tests {
    use dunlin_testkit::servers;

    use super::*;

    /// The clients take the tables, the rows and the questions, and without a move all rows are lost.
    fn the_world_is_sound(product: Product, server: Option<&Server>) {
        let project = tempfile::tempdir().unwrap();
        let world = World::make(product, server, project.path(), "sync").unwrap();
        let mut old = Old::new(product, true, 7);
        world.old.sql(&old.years(2)).unwrap();
        for _ in 0..20 {
            world.old.sql(&old.day(&BTreeSet::new())).unwrap();
        }
        let ideal = ideal(&world.expected().unwrap()).unwrap();
        let (there, doubled) = snapshot(&world.actual().unwrap()).unwrap();
        assert_eq!((there.len(), doubled.len()), (3, 0));
        for table in
            ["teams", "accounts", "memberships", "tasks", "notes", "events", "files", "tags"]
        {
            assert!(ideal.keys().any(|at| at.0 == table), "{table}");
        }
        let mut theirs = Theirs::before(there.clone());
        let judgement = judge(&ideal, &there, &there, &mut theirs, &Ids::default());
        let lost = ideal.keys().filter(|at| !there.contains_key(at)).count();
        assert_eq!(judgement.complaints.len(), lost);
        Application::new(7).work(&world, &mut theirs, Adds::Tags).unwrap();
    }

    #[test]
    fn psql_accepts_the_world() {
        the_world_is_sound(Product::Postgres, Some(servers::postgres()));
    }

    #[test]
    fn mariadb_accepts_the_world() {
        the_world_is_sound(Product::Mysql, Some(servers::mysql()));
    }

    #[test]
    fn sqlite3_accepts_the_world() {
        the_world_is_sound(Product::Sqlite, None);
    }
}
