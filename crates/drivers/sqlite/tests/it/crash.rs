//! Runners that are killed, at every failpoint and anywhere: each migration runs once.
//!
//! A runner is this test program again, which is told by its environment to be one.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dunlin_engine::{Claim, Connector, Purpose, Work};
use dunlin_model::{EntryState, Resource, Restart, StepState};
use dunlin_sqlite::SqliteConnector;
use dunlin_testkit::conformance::{data_version, data_work, owner};

use super::{Scratch, ledger};

const FOLDER: &str = "DUNLIN_SQLITE_RUNNER";
/// Set where others run at the same time, and live.
const BESIDE_OTHERS: &str = "DUNLIN_SQLITE_BESIDE_OTHERS";
const MIGRATIONS: i64 = 12;
const STEPS: i64 = 3;
/// Three statements, of which none can be run twice.
const ROWS: i64 = 40;

fn works() -> Vec<Work> {
    let mut works: Vec<Work> = (1..=MIGRATIONS)
        .map(|version| {
            let create = format!("CREATE TABLE t{version} (a)");
            let fill = format!(
                "INSERT INTO t{version} WITH RECURSIVE c(x) AS
                 (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {ROWS}) SELECT x FROM c"
            );
            data_work(version, &[&create, &fill, "UPDATE counter SET n = n * 2 + 1"])
        })
        .collect();
    let stepwise = ["VACUUM", "UPDATE counter SET steps = steps + 1", "PRAGMA user_version = 7"];
    let mut stepwise = data_work(MIGRATIONS + 1, &stepwise);
    for index in [0, 2] {
        stepwise.statements[index].facts.restart = Restart::Repeatable;
    }
    works.push(stepwise);
    works
}

/// Runs what is pending, as the run loop does; prints a line after each migration.
async fn run(folder: &Path, beside_others: bool) {
    let wait = Duration::from_secs(60);
    let connector = SqliteConnector::new("sqlite:app.db", folder, wait).unwrap();
    let mut target = connector.connect(Purpose::Run).await.unwrap();
    target.create_ledger(super::LEDGER).await.unwrap();
    let me = owner(std::process::id());
    let mut lease = loop {
        // Where runners come one after the other, whoever had it before is dead.
        let holder = ledger(&mut target).await.leases.pop().map(|holder| holder.owner.id);
        let dead = holder.filter(|_| !beside_others);
        match target.claim(&Resource::Schema, &me, wait, dead.as_deref()).await.unwrap() {
            Claim::Granted(lease) => break lease,
            Claim::Held(_) => tokio::task::yield_now().await,
        }
    };
    for work in works() {
        if ledger(&mut target).await.state(work.entry.id) == Some(EntryState::Applied) {
            continue;
        }
        if work.statements.len() == 3 && work.statements[0].text == "VACUUM" {
            run_steps(&mut target, &mut lease, &work).await;
        } else {
            target.commit(&mut lease, &work).await.unwrap();
        }
        println!("applied {}", work.entry.id.version);
    }
    target.record(&mut lease, &[]).await.unwrap();
    target.release(&lease).await.unwrap();
}

async fn run_steps(
    target: &mut Box<dyn dunlin_engine::Target>,
    lease: &mut dunlin_model::Lease,
    work: &Work,
) {
    let done = ledger(target).await.steps;
    for (ordinal, statement) in work.statements.iter().enumerate() {
        let ordinal = u32::try_from(ordinal).unwrap();
        if done.iter().any(|step| step.ordinal == ordinal && step.state == StepState::Done) {
            continue;
        }
        if statement.facts.restart == Restart::Transactional {
            target.commit_step(lease, work, ordinal, None).await.unwrap();
        } else {
            target.open_step(lease, work, ordinal, None).await.unwrap();
            target.send_step(lease, work, ordinal).await.unwrap();
            target.close_step(lease, work, ordinal, StepState::Done).await.unwrap();
        }
    }
}

/// Does nothing unless it is started as a runner.
#[tokio::test]
async fn runner() {
    #[expect(clippy::disallowed_methods, reason = "how the parent says that this is a runner")]
    if let Ok(folder) = std::env::var(FOLDER) {
        run(Path::new(&folder), std::env::var(BESIDE_OTHERS).is_ok()).await;
    }
}

fn command(scratch: &Scratch) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::runner", "--nocapture"]).env(FOLDER, scratch.folder.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(scratch: &Scratch, failpoint: Option<&str>) -> Child {
    let mut command = command(scratch);
    if let Some(failpoint) = failpoint {
        command.env("DUNLIN_FAILPOINT", failpoint);
    }
    command.spawn().unwrap()
}

/// Runs once more, without a kill.
fn finish(scratch: &Scratch) {
    let outcome = start(scratch, None).wait_with_output().unwrap();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
}

async fn prove(scratch: &Scratch, what: &str) {
    let raw = scratch.raw();
    let check: String = raw.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok", "{what}");
    // n = 2n + 1 from 0, twelve times.
    assert_eq!(scratch.number("SELECT n FROM counter"), (1 << MIGRATIONS) - 1, "{what}");
    assert_eq!(scratch.number("SELECT steps FROM counter"), 1, "{what}");
    assert_eq!(scratch.number("PRAGMA user_version"), 7, "{what}");
    for version in 1..=MIGRATIONS {
        let count = scratch.number(&format!("SELECT count(*) FROM t{version}"));
        assert_eq!(count, ROWS, "{what}: t{version}");
    }
    let ups = "SELECT count(*) FROM dunlin_history WHERE event = 'up'";
    assert_eq!(scratch.number(ups), MIGRATIONS + 1, "{what}");
    let starts = "SELECT count(*) FROM dunlin_history WHERE event = 'start'";
    assert_eq!(scratch.number(starts), 1, "{what}");
    let mut target = scratch.connector().connect(Purpose::Look).await.unwrap();
    let view = ledger(&mut target).await;
    assert!(view.entries.values().all(|entry| entry.state == EntryState::Applied), "{what}");
    assert!(view.entries.contains_key(&data_version(MIGRATIONS + 1)));
    assert_eq!((view.steps.len(), view.leases.len()), (0, 0), "{what}");
}

fn prepared(journal: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.sql(&format!(
        "PRAGMA journal_mode = {journal}; CREATE TABLE counter (n, steps);
         INSERT INTO counter VALUES (0, 0)"
    ));
    scratch
}

#[tokio::test]
async fn a_kill_at_any_failpoint_loses_and_doubles_nothing() {
    let points = [
        "claim.granted",
        "commit.begun",
        "commit.begun@5",
        "commit.executed",
        "commit.executed@7",
        "commit.done",
        "commit.done@12",
        "step.opened",
        "step.opened@2",
        "step.sending",
        "step.sending@2",
        "step.executed",
        "step.executed@2",
        "step.executed@3",
        "step.closed",
        "step.closed@2",
        "step.closed@3",
        "record.done",
    ];
    assert_eq!(STEPS, 3, "each step's points are killed at");
    for journal in ["DELETE", "WAL"] {
        for point in points {
            let scratch = prepared(journal);
            let outcome = start(&scratch, Some(point)).wait_with_output().unwrap();
            assert_eq!(outcome.status.signal(), Some(9), "{point} was not reached");
            finish(&scratch);
            prove(&scratch, &format!("killed at {point}, journal mode {journal}")).await;
        }
    }
}

#[tokio::test]
async fn kills_anywhere_lose_and_double_nothing() {
    for round in 0..8 {
        let scratch = prepared(if round % 2 == 0 { "DELETE" } else { "WAL" });
        // Each runner is killed as soon as it says that it has done one more: it is in the middle
        // of the next by then.
        for _ in 0..4 {
            let mut runner = start(&scratch, None);
            let said = BufReader::new(runner.stdout.take().unwrap());
            let _ = said.lines().map_while(Result::ok).find(|line| line.starts_with("applied"));
            // It may have ended already.
            let _ = runner.kill();
            runner.wait().unwrap();
        }
        finish(&scratch);
        prove(&scratch, &format!("round {round}")).await;
    }
}

#[tokio::test]
async fn runners_at_once_run_each_migration_once() {
    for journal in ["DELETE", "WAL"] {
        let scratch = prepared(journal);
        let runner = || {
            let mut command = command(&scratch);
            command.env(BESIDE_OTHERS, "").spawn().unwrap()
        };
        let runners: Vec<Child> = (0..6).map(|_| runner()).collect();
        for runner in runners {
            let outcome = runner.wait_with_output().unwrap();
            assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
        }
        prove(&scratch, &format!("six runners, journal mode {journal}")).await;
    }
}

#[tokio::test]
async fn a_killed_writer_is_looked_at_without_a_trace() {
    for journal in ["DELETE", "WAL"] {
        let scratch = prepared(journal);
        let outcome = start(&scratch, Some("commit.executed@3")).wait_with_output().unwrap();
        assert_eq!(outcome.status.signal(), Some(9));
        let before = scratch.files();
        let mut target = scratch.connector().connect(Purpose::Look).await.unwrap();
        assert_eq!(ledger(&mut target).await.entries.len(), 2);
        assert_eq!(scratch.files(), before);
    }
}
