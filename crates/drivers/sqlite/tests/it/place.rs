//! The file itself: made, dropped, and not to be had.

use dunlin_engine::{Connector, ErrorKind, Purpose};
use dunlin_sqlite::SqliteConnector;

use super::{LONG, Scratch, ledger};

#[tokio::test]
async fn a_run_creates_the_file_unless_the_url_forbids_it() {
    let scratch = Scratch::new();
    let at = |url: &str| SqliteConnector::new(url, scratch.folder.path(), LONG).unwrap();
    let error = at("sqlite:app.db?mode=rw").connect(Purpose::Run).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::NoSuchDatabase);
    assert_eq!(scratch.files(), []);
    let error = at("sqlite:no/such/app.db").connect(Purpose::Run).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::NoSuchDatabase);
    assert!(error.message.contains("folder"), "{error}");
    let error = at("sqlite:no/such/app.db").create_database().await.unwrap_err();
    assert!(error.help.unwrap().contains("mkdir"));
    let mut target = at("sqlite:app.db").connect(Purpose::Run).await.unwrap();
    target.create_ledger(super::LEDGER).await.unwrap();
    assert_eq!(ledger(&mut target).await.id, super::LEDGER);
}

#[tokio::test]
async fn paths_with_odd_characters_work() {
    let scratch = Scratch::new();
    let folder = scratch.folder.path().join("a b#c%41?");
    std::fs::create_dir(&folder).unwrap();
    let url = "sqlite:na%C3%AFve%20%3F.db";
    let connector = SqliteConnector::new(url, &folder, LONG).unwrap();
    let mut target = connector.connect(Purpose::Run).await.unwrap();
    target.create_ledger(super::LEDGER).await.unwrap();
    drop(target);
    assert_eq!(super::files(&folder)[0].0, "naïve ?.db");
    let mut target = connector.connect(Purpose::Look).await.unwrap();
    assert!(target.probe(&[]).await.unwrap().ledger);
    assert!(connector.drop_database().await.unwrap());
}

#[tokio::test]
async fn dropping_takes_everything_beside_it() {
    let scratch = Scratch::new();
    scratch.sql("PRAGMA journal_mode = WAL");
    drop(scratch.with_ledger().await);
    assert!(scratch.connector().drop_database().await.unwrap());
    assert_eq!(scratch.files(), []);
    assert!(!scratch.connector().drop_database().await.unwrap());
}

#[tokio::test]
async fn a_database_in_use_is_not_dropped() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (a)");
    let impatient = scratch.waiting(std::time::Duration::from_millis(20));
    let user = scratch.raw();
    for using in ["BEGIN IMMEDIATE", "ROLLBACK; PRAGMA journal_mode = WAL; SELECT * FROM t"] {
        user.execute_batch(using).unwrap();
        let error = impatient.drop_database().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
        assert!(error.message.contains("in use"), "{error}");
    }
    drop(user);
    assert!(impatient.drop_database().await.unwrap());
}
