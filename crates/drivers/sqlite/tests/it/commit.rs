//! Statements as the `sqlite3` program would run them, and what must not reach the next file.

use std::time::Duration;

use dunlin_engine::{Connector, ErrorKind, Purpose, Settled, Work};
use dunlin_model::{Control, EntryState, Restart, StepState};
use dunlin_testkit::conformance::{data_version, data_work};

use super::{Scratch, granted, ledger};

fn quick(mut work: Work) -> Work {
    work.lock_timeout = Duration::from_millis(20);
    work
}

#[tokio::test]
async fn foreign_keys_are_not_enforced_unless_the_file_says_so() {
    let scratch = Scratch::new();
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    let work = data_work(
        1,
        &[
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "CREATE TABLE child (parent REFERENCES parent)",
            "INSERT INTO child VALUES (7)",
        ],
    );
    target.commit(&mut lease, &work).await.unwrap();
    assert_eq!(scratch.number("SELECT count(*) FROM child"), 1);
}

#[tokio::test]
async fn broken_foreign_keys_are_found_before_the_commit() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY); INSERT INTO parent VALUES (1);
        CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent);
        INSERT INTO child VALUES (10, 1)",
    );
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    let rebuild = [
        "CREATE TABLE new_parent (id INTEGER PRIMARY KEY, name TEXT)",
        "INSERT INTO new_parent (id) SELECT id FROM parent",
        "DROP TABLE parent",
        "ALTER TABLE new_parent RENAME TO parent",
    ];
    let mut good = data_work(1, &rebuild);
    good.foreign_keys_off = true;
    target.commit(&mut lease, &good).await.unwrap();
    assert_eq!(scratch.number("SELECT count(*) FROM child JOIN parent ON parent.id = parent"), 1);

    let mut bad = data_work(2, &["DELETE FROM parent"]);
    bad.foreign_keys_off = true;
    let error = target.commit(&mut lease, &bad).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Statement, "{error}");
    assert_eq!(error.notes, ["1 rows of child refer to rows of parent that do not exist"]);
    assert_eq!(scratch.number("SELECT count(*) FROM parent"), 1);
    assert_eq!(target.rehearse(&bad).await.unwrap_err().notes, error.notes);
}

#[tokio::test]
async fn nothing_of_a_file_is_seen_by_the_next() {
    let scratch = Scratch::new();
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    let other = scratch.folder.path().join("other.db");
    let touching = [
        "PRAGMA case_sensitive_like = ON".to_owned(),
        format!("ATTACH '{}' AS other", other.display()),
        "CREATE TEMP TABLE left_over (a)".to_owned(),
        "CREATE TABLE t AS SELECT 'A' LIKE 'a' AS alike".to_owned(),
    ];
    let touching: Vec<&str> = touching.iter().map(String::as_str).collect();
    target.commit(&mut lease, &data_work(1, &touching)).await.unwrap();
    assert_eq!(scratch.number("SELECT alike FROM t"), 0);

    for gone in ["SELECT * FROM left_over", "SELECT * FROM other.sqlite_schema"] {
        let error = target.commit(&mut lease, &data_work(2, &[gone])).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Statement, "{gone}: {error}");
    }
    let work = data_work(2, &["CREATE TABLE u AS SELECT 'A' LIKE 'a' AS alike"]);
    target.commit(&mut lease, &work).await.unwrap();
    assert_eq!(scratch.number("SELECT alike FROM u"), 1);
}

#[tokio::test]
async fn queries_are_run_to_their_end_and_rows_are_counted() {
    let scratch = Scratch::new();
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    let work = data_work(
        1,
        &[
            "CREATE TABLE t (a, b)",
            "INSERT INTO t VALUES (1, ?), (2, :x), (3, NULL)",
            "SELECT a FROM t",
            "PRAGMA table_info(t)",
            "WITH few AS (SELECT 1 AS a) DELETE FROM t WHERE a IN (SELECT a FROM few)",
            "UPDATE t SET b = 1 WHERE a > 100",
            "INSERT INTO t VALUES (4, 4) RETURNING a",
        ],
    );
    let touched = target.commit(&mut lease, &work).await.unwrap();
    assert_eq!(touched, [None, Some(3), None, None, Some(1), Some(0), Some(1)]);
}

#[tokio::test]
async fn our_own_rows_do_not_change_the_last_row_id() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE seen (id)");
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    let insert = "INSERT INTO t VALUES (4711)";
    let work = data_work(1, &[insert, "INSERT INTO seen SELECT last_insert_rowid()"]);
    for ordinal in 0..2 {
        target.commit_step(&mut lease, &work, ordinal, None).await.unwrap();
    }
    assert_eq!(scratch.number("SELECT id FROM seen"), 4711);
}

#[tokio::test]
async fn transaction_control_is_refused_by_the_database_itself() {
    let scratch = Scratch::new();
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    for control in ["COMMIT", "END", "ROLLBACK", "SAVEPOINT s", "BEGIN"] {
        let mut work = data_work(1, &["CREATE TABLE t (a)", control]);
        let error = target.commit(&mut lease, &work).await.unwrap_err();
        assert_eq!((error.kind, error.statement), (ErrorKind::Refused, Some(1)), "{control}");
        work.statements[1].facts.control = Some(Control::Other);
        assert_eq!(target.preflight(&work).await.unwrap_err().kind, ErrorKind::Refused);
    }
    assert_eq!(scratch.number("SELECT count(*) FROM sqlite_schema WHERE name = 't'"), 0);
}

#[tokio::test]
async fn a_statement_that_rolls_back_leaves_nothing() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (1)");
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    let work = data_work(
        1,
        &["INSERT INTO t VALUES (2)", "INSERT OR ROLLBACK INTO t VALUES (1)", "DELETE FROM t"],
    );
    let error = target.commit(&mut lease, &work).await.unwrap_err();
    assert_eq!((error.kind, error.statement), (ErrorKind::Statement, Some(1)));
    assert_eq!(error.code.as_deref(), Some("2067"));
    assert_eq!(error.message, "UNIQUE constraint failed: t.a");
    assert_eq!(scratch.number("SELECT count(*) FROM t"), 1);
    assert_eq!(ledger(&mut target).await.state(data_version(1)), None);
}

#[tokio::test]
async fn errors_point_into_the_statement() {
    let scratch = Scratch::new();
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    let work = data_work(1, &["SELECT 'é', no_such_column"]);
    let error = target.commit(&mut lease, &work).await.unwrap_err();
    assert_eq!((error.statement, error.offset), (Some(0), Some(12)), "{error:?}");
    assert!(!error.message.contains("SELECT"), "{error}");
}

#[tokio::test]
async fn a_long_statement_is_stopped_at_its_limit() {
    let scratch = Scratch::new();
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)
        SELECT count(*) FROM c";
    let mut work = data_work(1, &["CREATE TABLE t (a)", endless]);
    work.statement_timeout = Some(Duration::from_millis(50));
    let error = target.commit(&mut lease, &work).await.unwrap_err();
    assert_eq!((error.kind, error.statement), (ErrorKind::StatementTimeout, Some(1)), "{error}");
    assert_eq!(scratch.number("SELECT count(*) FROM sqlite_schema WHERE name = 't'"), 0);
    target.commit(&mut lease, &data_work(1, &["CREATE TABLE t (a)"])).await.unwrap();
}

#[tokio::test]
async fn another_writer_is_waited_for_within_the_lock_timeout() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (a)");
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    let writer = scratch.raw();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let work = data_work(1, &["INSERT INTO t VALUES (1)"]);
    let before = lease.clone();
    let error = target.commit(&mut lease, &quick(work.clone())).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::LockTimeout, "{error}");
    assert_eq!(lease, before);
    // A reader is in the way of the commit itself, in rollback mode.
    writer.execute_batch("ROLLBACK; BEGIN; SELECT * FROM t").unwrap();
    let error = target.commit(&mut lease, &quick(work.clone())).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::LockTimeout, "{error}");
    writer.execute_batch("ROLLBACK").unwrap();
    target.commit(&mut lease, &quick(work)).await.unwrap();
    assert_eq!(scratch.number("SELECT count(*) FROM t"), 1);
}

#[tokio::test]
async fn vacuum_and_pragmas_run_as_steps() {
    let scratch = Scratch::new();
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    let mut work = data_work(1, &["PRAGMA journal_mode = WAL", "VACUUM"]);
    for statement in &mut work.statements {
        statement.facts.restart = Restart::Repeatable;
    }
    for ordinal in 0..2 {
        target.open_step(&mut lease, &work, ordinal, None).await.unwrap();
        let open = ledger(&mut target).await.steps.pop().unwrap();
        assert_eq!(target.settle_step(&lease, &work, &open).await.unwrap(), Settled::DidNot);
        target.send_step(&lease, &work, ordinal).await.unwrap();
        target.close_step(&mut lease, &work, ordinal, StepState::Done).await.unwrap();
    }
    assert_eq!(ledger(&mut target).await.state(data_version(1)), Some(EntryState::Applied));
    let mode: String =
        scratch.raw().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn leaving_the_log_is_not_hindered_by_the_connection_that_keeps_leases() {
    let scratch = Scratch::new();
    scratch.sql("PRAGMA journal_mode = WAL");
    let mut keeper = scratch.connector().connect(Purpose::Lease).await.unwrap();
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    assert!(keeper.keep(&lease, super::LONG).await.unwrap());
    let work = quick(data_work(1, &["PRAGMA journal_mode = DELETE"]));
    target.open_step(&mut lease, &work, 0, None).await.unwrap();
    target.send_step(&lease, &work, 0).await.unwrap();
    let mode: String =
        scratch.raw().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
}

#[tokio::test]
async fn a_resumed_file_has_the_settings_of_its_earlier_steps() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE child (parent REFERENCES parent)",
    );
    let mut work = data_work(1, &["PRAGMA foreign_keys = ON", "INSERT INTO child VALUES (7)"]);
    work.statements[0].facts.changes_session = true;
    let mut first = scratch.with_ledger().await;
    let mut lease = granted(&mut first, 1).await;
    first.open_step(&mut lease, &work, 0, None).await.unwrap();
    first.send_step(&lease, &work, 0).await.unwrap();
    first.close_step(&mut lease, &work, 0, StepState::Done).await.unwrap();
    drop(first);
    let mut second = scratch.target().await;
    let mut lease = granted(&mut second, 1).await;
    let error = second.commit_step(&mut lease, &work, 1, None).await.unwrap_err();
    assert_eq!(error.message, "FOREIGN KEY constraint failed");
    // Another file, on the same connection, does not have them.
    second.commit(&mut lease, &data_work(2, &["INSERT INTO child VALUES (8)"])).await.unwrap();
}

#[tokio::test]
async fn a_dropped_call_leaves_nothing_and_no_usable_connection() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (a)");
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)
        SELECT count(*) FROM c";
    let work = data_work(1, &["INSERT INTO t VALUES (1)", endless]);
    tokio::select! {
        biased;
        outcome = target.commit(&mut lease, &work) => panic!("{outcome:?}"),
        () = tokio::task::yield_now() => {}
    }
    let error = target.probe(&[]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Lost, "{error}");
    // The next one waits for it to have ended.
    let mut next = scratch.target().await;
    let mut lease = granted(&mut next, 1).await;
    assert_eq!(ledger(&mut next).await.state(data_version(1)), None);
    next.commit(&mut lease, &data_work(1, &["INSERT INTO t VALUES (2)"])).await.unwrap();
    assert_eq!(scratch.number("SELECT sum(a) FROM t"), 2);
}

#[tokio::test]
async fn a_replaced_file_is_noticed() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (a)");
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    std::fs::remove_file(scratch.path()).unwrap();
    let error =
        target.commit(&mut lease, &data_work(1, &["INSERT INTO t VALUES (1)"])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Lost, "{error}");
}
