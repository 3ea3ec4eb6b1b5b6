//! Commits: all of it or nothing, once, and only by the holder of the lease.

use std::future::Future;
use std::task::Poll;

use dunlin_engine::{Claim, ErrorKind, Purpose, Remedy};
use dunlin_model::{Capabilities, EntryState, LedgerEvent, Resource};

use super::work::{applied, data_version, data_work, entry, owner};
use super::world::{LONG, SHORT, World, granted, granted_after_expiry, ledger};
use crate::servers::Product;

const TABLE: &str = "CREATE TABLE t (id integer PRIMARY KEY, n integer)";

pub(super) async fn rows_and_ledger_commit_together(world: World) {
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let commits = lease.commits;
    let work = data_work(
        1,
        &["INSERT INTO t VALUES (1, 10), (2, 20)", "UPDATE t SET n = n + 1 WHERE id = 2"],
    );
    target.preflight(&work).await.unwrap();
    assert_eq!(target.commit(&mut lease, &work).await.unwrap(), [Some(2), Some(1)]);
    assert_eq!(lease.commits, commits + 1);
    assert_eq!(world.sql("SELECT sum(n) FROM t").await, "31");
    let entry = ledger(&mut target).await.entries[&data_version(1)].clone();
    assert_eq!(entry.state, EntryState::Applied);
    assert!(entry.started_at.is_some() && entry.finished_at.is_some(), "{entry:?}");
    assert!(entry.duration_ms.is_some_and(|duration| duration >= 0), "{entry:?}");
    let text = target.text(data_version(1)).await.unwrap();
    assert_eq!(text, work.entry.content.map(|(_, text)| text));
}

pub(super) async fn a_failing_statement_leaves_nothing_and_is_named(world: World) {
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let before = lease.clone();
    let work = data_work(
        1,
        &[
            "INSERT INTO t VALUES (1, 1)",
            "INSERT INTO no_such_table VALUES (1)",
            "INSERT INTO t VALUES (2, 2)",
        ],
    );
    let error = target.commit(&mut lease, &work).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Statement, "{error:?}");
    assert_eq!(error.statement, Some(1), "{error:?}");
    assert!(error.message.contains("no_such_table"), "{error:?}");
    assert_eq!(lease, before);
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "0");
    assert_eq!(ledger(&mut target).await.state(data_version(1)), None);
}

pub(super) async fn a_failed_commit_can_be_tried_again_on_its_connection(world: World) {
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let bad = data_work(1, &["INSERT INTO t VALUES (1, 1)", "INSERT INTO t VALUES (1, 1)"]);
    let good = data_work(1, &["INSERT INTO t VALUES (1, 1)"]);
    for _ in 0..3 {
        let error = target.commit(&mut lease, &bad).await.unwrap_err();
        assert_eq!((error.kind, error.statement), (ErrorKind::Statement, Some(1)), "{error:?}");
    }
    target.commit(&mut lease, &good).await.unwrap();
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "1");
}

pub(super) async fn errors_quote_no_row_values(world: World) {
    let secret = "hunter2-in-a-row";
    world
        .sql(&format!(
            "CREATE TABLE t (v varchar(100) PRIMARY KEY, n integer);\n\
             INSERT INTO t VALUES ('{secret}', 1);\n\
             CREATE TABLE u (v varchar(100) PRIMARY KEY);"
        ))
        .await;
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let mut statements = vec!["INSERT INTO u SELECT v FROM t UNION ALL SELECT v FROM t"];
    match world.product {
        // SQLite makes 0 of it.
        Product::Sqlite => {}
        Product::Mysql => statements.push("UPDATE t SET n = CAST(v AS signed)"),
        _ => statements.push("UPDATE t SET n = CAST(v AS integer)"),
    }
    for statement in statements {
        let error = target.commit(&mut lease, &data_work(1, &[statement])).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Statement, "{error:?}");
        let shown = format!("{error:?}");
        assert!(!shown.contains("hunter2"), "`{statement}` shows a row's value: {shown}");
    }
}

pub(super) async fn definitions_are_part_of_the_transaction(world: World) {
    if !Capabilities::of(world.connector().dialect()).transactional_ddl {
        return;
    }
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let before = world.tables().await;
    let create = "CREATE TABLE made (id integer)";
    let bad = data_work(1, &[create, "INSERT INTO made VALUES (1)", "SELECT * FROM nowhere"]);
    let error = target.commit(&mut lease, &bad).await.unwrap_err();
    assert_eq!(error.statement, Some(2), "{error:?}");
    assert_eq!(world.tables().await, before);
    let good = data_work(1, &[create, "INSERT INTO made VALUES (1)"]);
    target.commit(&mut lease, &good).await.unwrap();
    assert_eq!(world.sql("SELECT count(*) FROM made").await, "1");
}

pub(super) async fn resets_are_written_with_it(world: World) {
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    target.record(&mut lease, &[applied(data_version(2)), applied(data_version(3))]).await.unwrap();
    let mut work = data_work(1, &["INSERT INTO t VALUES (1, 1)"]);
    for version in [2, 3] {
        let mut reset = entry(data_version(version), EntryState::Pending, LedgerEvent::Reset);
        reset.content = None;
        reset.pass = 2;
        work.resets.push(reset);
    }
    target.commit(&mut lease, &work).await.unwrap();
    let view = ledger(&mut target).await;
    assert_eq!(view.state(data_version(1)), Some(EntryState::Applied));
    for version in [2, 3] {
        let entry = &view.entries[&data_version(version)];
        assert_eq!((entry.state, entry.pass), (EntryState::Pending, 2));
        assert!(entry.checksums.is_some());
    }
}

pub(super) async fn commits_after_each_other_count_up(world: World) {
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let first = lease.commits;
    for version in 1..=5 {
        let insert = format!("INSERT INTO t VALUES ({version}, {version})");
        target.commit(&mut lease, &data_work(version, &[&insert])).await.unwrap();
    }
    assert_eq!(lease.commits, first + 5);
    // A copy of the lease from before those commits can do nothing.
    let mut stale = lease.clone();
    stale.commits = first;
    let late = data_work(6, &["INSERT INTO t VALUES (6, 6)"]);
    let error = target.commit(&mut stale, &late).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "5");
}

pub(super) async fn a_fenced_owner_writes_nothing(world: World) {
    world.sql(TABLE).await;
    let mut first = world.with_ledger().await;
    let mut second = world.target().await;
    let mut old = granted(&mut first, &owner(1), SHORT).await;
    let mut new = granted_after_expiry(&mut second, &owner(2), LONG).await;
    let before = old.clone();
    let work = data_work(1, &["INSERT INTO t VALUES (1, 1)"]);
    let error = first.commit(&mut old, &work).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
    let error = first.record(&mut old, &[applied(data_version(2))]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
    assert_eq!(old, before);
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "0");
    assert!(ledger(&mut second).await.entries.is_empty());
    second.commit(&mut new, &work).await.unwrap();
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "1");
}

pub(super) async fn sixteen_runners_commit_once(world: World) {
    world.sql("CREATE TABLE t (n integer); INSERT INTO t VALUES (1);").await;
    drop(world.with_ledger().await);
    let runners: Vec<_> =
        (1..=16).map(|number| tokio::spawn(run_once(world.connector(), number))).collect();
    let mut applied = 0;
    for runner in runners {
        applied += usize::from(runner.await.unwrap());
    }
    assert_eq!(applied, 1);
    assert_eq!(world.sql("SELECT n FROM t").await, "3");
}

/// Waits for the lease, then applies version 1 unless somebody has. Says whether it did.
async fn run_once(connector: std::sync::Arc<dyn dunlin_engine::Connector>, number: u32) -> bool {
    let mut target = connector.connect(Purpose::Run).await.unwrap();
    let work = data_work(1, &["UPDATE t SET n = n * 2 + 1"]);
    loop {
        match target.claim(&Resource::Schema, &owner(number), LONG, None).await {
            Err(error) if error.kind.remedy() == Remedy::RetryTransaction => {}
            claim => match claim.unwrap() {
                Claim::Held(_) => tokio::task::yield_now().await,
                Claim::Granted(mut lease) => {
                    let done = ledger(&mut target).await.state(data_version(1)).is_some();
                    if !done {
                        target.commit(&mut lease, &work).await.unwrap();
                    }
                    target.release(&lease).await.unwrap();
                    return !done;
                }
            },
        }
    }
}

pub(super) async fn a_takeover_ends_the_open_transaction(world: World) {
    world.sql(TABLE).await;
    let mut first = world.with_ledger().await;
    let mut old = granted(&mut first, &owner(1), SHORT).await;
    let endless = world.endless("taken over");
    let work = data_work(1, &["INSERT INTO t VALUES (1, 1)", &endless]);
    let running = tokio::spawn(async move { first.commit(&mut old, &work).await });
    world.until_at_work("taken over").await;

    let mut second = world.target().await;
    let mut new = granted_after_expiry(&mut second, &owner(2), LONG).await;
    let work = data_work(1, &["INSERT INTO t VALUES (1, 2)"]);
    second.commit(&mut new, &work).await.unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Lost | ErrorKind::Fenced), "{error:?}");
    assert_eq!(world.sql("SELECT n FROM t").await, "2");
}

pub(super) async fn a_stopped_commit_leaves_nothing(world: World) {
    world.sql(TABLE).await;
    let mut first = world.with_ledger().await;
    let mut lease = granted(&mut first, &owner(1), LONG).await;
    let stopper = first.stopper();
    let endless = world.endless("stopped");
    let work = data_work(1, &["INSERT INTO t VALUES (1, 1)", &endless]);
    let running = tokio::spawn(async move { first.commit(&mut lease, &work).await });
    if world.product != Product::Sqlite {
        world.until_at_work("stopped").await;
    }
    // A file's statement cannot be seen at work, so it is stopped until it has stopped.
    while !running.is_finished() {
        stopper.stop().await;
        tokio::task::yield_now().await;
    }
    assert!(running.await.unwrap().is_err());
    commits_afterwards(&world).await;
}

pub(super) async fn a_cancelled_commit_leaves_nothing(world: World) {
    world.sql(TABLE).await;
    let mut first = world.with_ledger().await;
    let mut lease = granted(&mut first, &owner(1), LONG).await;
    let endless = world.endless("cancelled");
    let work = data_work(1, &["INSERT INTO t VALUES (1, 1)", &endless]);
    tokio::select! {
        outcome = first.commit(&mut lease, &work) => panic!("{outcome:?}"),
        () = world.until_at_work("cancelled") => {}
    }
    // Dropped while its statement runs: the server may not know yet.
    drop(first);
    commits_afterwards(&world).await;
}

/// More polls than a commit needs.
const POLLS_MAX: i64 = 2_000;

/// A call that is dropped at whatever await it stands, as when its task is cancelled.
pub(super) async fn a_commit_dropped_at_any_await_is_made_once(world: World) {
    world.sql("CREATE TABLE t (n bigint); INSERT INTO t VALUES (1);").await;
    drop(world.with_ledger().await);
    let mut expected: i64 = 1;
    for polls in 1.. {
        let work = data_work(polls, &["UPDATE t SET n = (n * 2 + 1) % 1000003"]);
        let mut target = world.target().await;
        let mut lease = granted(&mut target, &owner(1), LONG).await;
        let finished = cut_off_after(polls, target.commit(&mut lease, &work)).await;
        drop(target);
        let mut target = world.target().await;
        let mut lease = granted(&mut target, &owner(1), LONG).await;
        if ledger(&mut target).await.state(data_version(polls)) != Some(EntryState::Applied) {
            assert_eq!(finished, None, "it said that it was done");
            target.commit(&mut lease, &work).await.unwrap();
        }
        expected = (expected * 2 + 1) % 1_000_003;
        assert_eq!(world.sql("SELECT n FROM t").await, expected.to_string(), "after {polls}");
        if let Some(outcome) = finished {
            outcome.unwrap();
            return;
        }
        assert!(polls < POLLS_MAX, "the commit never ends");
    }
}

/// Polls a call so many times and drops it unless it is done by then.
async fn cut_off_after<T>(polls: i64, call: impl Future<Output = T>) -> Option<T> {
    let mut call = std::pin::pin!(call);
    let mut left = polls;
    std::future::poll_fn(|context| {
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The same owner connects again, finds nothing of version 1, and applies it.
async fn commits_afterwards(world: &World) {
    let mut target = world.target().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    assert_eq!(ledger(&mut target).await.state(data_version(1)), None);
    let work = data_work(1, &["INSERT INTO t VALUES (1, 2)"]);
    target.commit(&mut lease, &work).await.unwrap();
    assert_eq!(world.sql("SELECT n FROM t").await, "2");
}

pub(super) async fn a_session_change_does_not_reach_the_next_migration(world: World) {
    world
        .sql(
            "CREATE TABLE parent (id integer PRIMARY KEY);\n\
             CREATE TABLE child (id integer PRIMARY KEY, parent integer,\n\
             FOREIGN KEY (parent) REFERENCES parent (id));",
        )
        .await;
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let change = match world.product {
        Product::Mysql => "SET SESSION foreign_key_checks = 0",
        _ => "SET search_path = pg_catalog",
    };
    let mut work = data_work(1, &[change]);
    work.statements[0].facts.changes_session = true;
    target.commit(&mut lease, &work).await.unwrap();

    let orphan = data_work(2, &["INSERT INTO child VALUES (1, 404)"]);
    let error = target.commit(&mut lease, &orphan).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Statement, "{error:?}");
    let good = data_work(2, &["INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (1, 1)"]);
    target.commit(&mut lease, &good).await.unwrap();
}

pub(super) async fn a_rehearsal_counts_rows_and_leaves_nothing(world: World) {
    world.sql(TABLE).await;
    let before = world.tables().await;
    let mut target = world.target().await;
    let work = data_work(
        1,
        &[
            "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
            "UPDATE t SET n = 0 WHERE id > 1",
            "DELETE FROM t WHERE id = 1",
        ],
    );
    for _ in 0..2 {
        let rows = target.rehearse(&work).await.unwrap();
        assert_eq!(rows, [Some(3), Some(2), Some(1)]);
    }
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "0");
    assert_eq!(world.tables().await, before, "a rehearsal needs no ledger");
}

pub(super) async fn a_failing_rehearsal_names_its_statement(world: World) {
    world.sql(TABLE).await;
    let mut target = world.target().await;
    let bad = data_work(1, &["INSERT INTO t VALUES (1, 1)", "UPDATE t SET missing = 1"]);
    let error = target.rehearse(&bad).await.unwrap_err();
    assert_eq!((error.kind, error.statement), (ErrorKind::Statement, Some(1)), "{error:?}");
    let good = data_work(1, &["INSERT INTO t VALUES (1, 1)"]);
    assert_eq!(target.rehearse(&good).await.unwrap(), [Some(1)]);
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "0");
}
