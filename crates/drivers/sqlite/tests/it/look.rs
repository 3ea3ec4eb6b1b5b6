//! Looking leaves no trace, in whatever state the file is.

use dunlin_engine::{Connector, ErrorKind, Purpose, ReadRequest};
use dunlin_testkit::conformance::{data_version, data_work};

use super::{Scratch, granted, ledger};

async fn versions_seen(scratch: &Scratch) -> usize {
    let mut target = scratch.connector().connect(Purpose::Look).await.unwrap();
    assert!(target.probe(&["t"]).await.unwrap().ledger);
    ledger(&mut target).await.entries.len()
}

async fn apply(scratch: &Scratch, version: i64, sql: &str) {
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    target.commit(&mut lease, &data_work(version, &[sql])).await.unwrap();
    target.release(&lease).await.unwrap();
}

#[tokio::test]
async fn a_missing_file_is_not_created() {
    let scratch = Scratch::new();
    let error = scratch.connector().connect(Purpose::Look).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::NoSuchDatabase);
    assert!(error.help.is_some());
    assert_eq!(scratch.files(), []);
}

#[tokio::test]
async fn an_empty_file_is_an_empty_database() {
    let scratch = Scratch::new();
    assert!(scratch.connector().create_database().await.unwrap());
    let mut target = scratch.connector().connect(Purpose::Look).await.unwrap();
    assert!(!target.probe(&[]).await.unwrap().ledger);
    assert_eq!(scratch.files(), [("app.db".to_owned(), 0)]);
}

#[tokio::test]
async fn a_write_ahead_log_is_not_created() {
    let scratch = Scratch::new();
    scratch.sql("PRAGMA journal_mode = WAL; CREATE TABLE t (a)");
    apply(&scratch, 1, "INSERT INTO t VALUES (1)").await;
    let before = scratch.files();
    assert_eq!(before.len(), 1, "the last connection removed the log: {before:?}");
    assert_eq!(versions_seen(&scratch).await, 1);
    assert_eq!(scratch.files(), before);
}

#[tokio::test]
async fn what_stands_in_the_log_of_a_living_writer_is_seen() {
    let scratch = Scratch::new();
    let writer = scratch.raw();
    writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a)").unwrap();
    apply(&scratch, 1, "INSERT INTO t VALUES (1)").await;
    let names =
        |scratch: &Scratch| scratch.files().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let before = names(&scratch);
    assert_eq!(before, ["app.db", "app.db-shm", "app.db-wal"]);
    assert_eq!(versions_seen(&scratch).await, 1);
    apply(&scratch, 2, "INSERT INTO t VALUES (2)").await;
    assert_eq!(versions_seen(&scratch).await, 2);
    assert_eq!(names(&scratch), before);
    drop(writer);
}

#[tokio::test]
async fn one_connection_sees_what_is_committed_after_it() {
    let scratch = Scratch::new();
    scratch.sql("PRAGMA journal_mode = WAL; CREATE TABLE t (a)");
    apply(&scratch, 1, "INSERT INTO t VALUES (1)").await;
    let mut looking = scratch.connector().connect(Purpose::Look).await.unwrap();
    assert_eq!(ledger(&mut looking).await.entries.len(), 1);
    apply(&scratch, 2, "INSERT INTO t VALUES (2)").await;
    assert_eq!(ledger(&mut looking).await.entries.len(), 2);
}

/// The files as a writer that is killed now would leave them, in another folder.
fn as_if_killed(scratch: &Scratch) -> Scratch {
    let killed = Scratch::new();
    for (name, _) in scratch.files() {
        std::fs::copy(scratch.folder.path().join(&name), killed.folder.path().join(&name)).unwrap();
    }
    killed
}

#[tokio::test]
async fn a_hot_journal_is_read_over_and_left_alone() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (a)");
    apply(&scratch, 1, "INSERT INTO t VALUES (1)").await;
    // Large enough to be written to the file before its commit.
    let writer = scratch.raw();
    writer
        .execute_batch(
            "PRAGMA cache_size = 5; BEGIN IMMEDIATE; DELETE FROM dunlin_migrations;
        INSERT INTO t SELECT hex(randomblob(500)) FROM (
          WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000)
          SELECT x FROM c)",
        )
        .unwrap();
    let killed = as_if_killed(&scratch);
    let before = killed.files();
    assert!(before.iter().any(|(name, length)| name == "app.db-journal" && *length > 0));
    assert_eq!(versions_seen(&killed).await, 1);
    assert_eq!(killed.files(), before);
    drop(writer);
    // Whoever writes next repairs it.
    let mut target = killed.target().await;
    assert_eq!(ledger(&mut target).await.entries.len(), 1);
    assert_eq!(killed.number("SELECT count(*) FROM t"), 1);
}

#[tokio::test]
async fn a_log_without_its_index_is_read_and_left_alone() {
    let scratch = Scratch::new();
    let writer = scratch.raw();
    writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a)").unwrap();
    apply(&scratch, 1, "INSERT INTO t VALUES (1)").await;
    let killed = as_if_killed(&scratch);
    std::fs::remove_file(killed.folder.path().join("app.db-shm")).unwrap();
    let before = killed.files();
    assert_eq!(versions_seen(&killed).await, 1);
    assert_eq!(killed.files(), before);
    drop(writer);
}

#[tokio::test]
async fn a_log_and_index_of_a_dead_writer_stay() {
    let scratch = Scratch::new();
    let writer = scratch.raw();
    writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a)").unwrap();
    apply(&scratch, 1, "INSERT INTO t VALUES (1)").await;
    let killed = as_if_killed(&scratch);
    let before = killed.files();
    assert_eq!(before.len(), 3);
    assert_eq!(versions_seen(&killed).await, 1);
    assert_eq!(killed.files(), before);
    drop(writer);
}

#[tokio::test]
async fn a_look_does_not_give_up_the_locks_of_its_own_process() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (a)");
    apply(&scratch, 1, "INSERT INTO t VALUES (1)").await;
    let writer = scratch.raw();
    writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(versions_seen(&scratch).await, 1);
    // Another process must still be kept out: this one's sqlite3 is asked.
    let outcome = std::process::Command::new("sqlite3")
        .arg(scratch.path())
        .arg("BEGIN IMMEDIATE")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(said.contains("locked"), "{said}");
    writer.execute_batch("COMMIT").unwrap();
}

#[tokio::test]
async fn a_url_that_only_reads_looks_and_does_not_run() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (a)");
    apply(&scratch, 1, "INSERT INTO t VALUES (1)").await;
    let connector = dunlin_sqlite::SqliteConnector::new(
        "sqlite://app.db?mode=ro",
        scratch.folder.path(),
        super::LONG,
    )
    .unwrap();
    let mut target = connector.connect(Purpose::Look).await.unwrap();
    let probe = target.probe(&[]).await.unwrap();
    assert!(probe.server.read_only.unwrap().contains("mode=ro"));
    assert_eq!(ledger(&mut target).await.entries.len(), 1);
    assert!(ledger(&mut target).await.entries.contains_key(&data_version(1)));
    let error = connector.connect(Purpose::Run).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::ReadOnly);
    let error = connector.drop_database().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ReadOnly);
}

#[tokio::test]
async fn what_is_no_database_is_named_so() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path(), "a letter to the reader, longer than a header").unwrap();
    for purpose in [Purpose::Look, Purpose::Run] {
        let error = scratch.connector().connect(purpose).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
        assert!(error.message.contains("not an SQLite database"));
    }
    assert!(scratch.connector().drop_database().await.is_err());
    assert!(scratch.path().exists());
}

#[tokio::test]
async fn a_folder_is_named_so() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path()).unwrap();
    for purpose in [Purpose::Look, Purpose::Run] {
        let error = scratch.connector().connect(purpose).await.err().unwrap();
        assert!(error.message.contains("is a folder"), "{error}");
    }
}

#[tokio::test]
async fn a_busy_database_is_waited_for_and_then_said_so() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (a)");
    apply(&scratch, 1, "INSERT INTO t VALUES (1)").await;
    let writer = scratch.raw();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let impatient = scratch.waiting(std::time::Duration::from_millis(20));
    let error = impatient.connect(Purpose::Look).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::LockTimeout, "{error}");
    assert!(error.help.unwrap().contains("fuser"));
    writer.execute_batch("COMMIT").unwrap();
    let mut target = impatient.connect(Purpose::Look).await.unwrap();
    target.read(&ReadRequest { ledger: true, foreign: None }).await.unwrap();
}
