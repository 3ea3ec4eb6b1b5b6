//! A user who may read but not write.
//!
//! Rights mean nothing to root, so what is tried is tried by this test program again, as nobody.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use dunlin_engine::{Connector, Purpose, RunRecord, Target, TargetError};
use dunlin_sqlite::SqliteConnector;
use dunlin_testkit::conformance::{data_work, owner};
use rustix::process::geteuid;

use super::{LONG, Scratch, granted, ledger};

const FOLDER: &str = "DUNLIN_SQLITE_STRANGER";
const NOBODY: u32 = 65534;

/// Does nothing unless it is started as a stranger.
#[tokio::test]
async fn stranger() {
    #[expect(clippy::disallowed_methods, reason = "how the parent says that this is a stranger")]
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let connector = SqliteConnector::new("sqlite:app.db", Path::new(&folder), LONG).unwrap();
    let looked = match connector.connect(Purpose::Look).await {
        Ok(mut target) => Ok(ledger(&mut target).await.entries.len()),
        Err(error) => Err(error),
    };
    match looked {
        Ok(entries) => println!("looked {entries}"),
        Err(error) => println!("looked {:?}", error.kind),
    }
    let wrote = match connector.connect(Purpose::Run).await {
        Ok(mut target) => write(&mut target).await,
        Err(error) => Err(error),
    };
    let error = wrote.unwrap_err();
    assert!(error.help.is_some(), "{error:?}");
    println!("wrote {:?}", error.kind);
    println!("dropped {:?}", connector.drop_database().await.map_err(|error| error.kind));
}

async fn write(target: &mut Box<dyn Target>) -> Result<(), TargetError> {
    println!("told {:?}", target.probe(&[]).await?.server.read_only.is_some());
    let run = RunRecord {
        id: "1".to_owned(),
        owner: owner(1),
        command: "migrate".to_owned(),
        program: "0".to_owned(),
        passed_over: Vec::new(),
    };
    target.begin_run(&run).await
}

/// What a stranger says of a database under these rights.
fn asked(scratch: &Scratch, folder: u32, file: u32) -> Vec<String> {
    // Where the program is built, a stranger may not come.
    let place = tempfile::tempdir().unwrap();
    set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("stranger");
    // By another process: a program can't be started while one that was forked off meanwhile still
    // has our copy of it open for writing.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
    assert!(copied.unwrap().success());
    set_permissions(scratch.path(), Permissions::from_mode(file)).unwrap();
    set_permissions(scratch.folder.path(), Permissions::from_mode(folder)).unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", "rights::stranger", "--nocapture"]);
    command.env(FOLDER, scratch.folder.path()).current_dir("/");
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let outcome = command.output().unwrap();
    set_permissions(scratch.folder.path(), Permissions::from_mode(0o755)).unwrap();
    let said = String::from_utf8(outcome.stdout).unwrap();
    assert!(outcome.status.success(), "{said}{}", String::from_utf8_lossy(&outcome.stderr));
    let words = ["looked", "told", "wrote", "dropped"];
    said.lines()
        .filter(|line| words.iter().any(|word| line.starts_with(word)))
        .map(str::to_owned)
        .collect()
}

async fn with_one_entry(journal: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.sql(&format!("PRAGMA journal_mode = {journal}; CREATE TABLE t (a)"));
    let mut target = scratch.with_ledger().await;
    let mut lease = granted(&mut target, 1).await;
    target.commit(&mut lease, &data_work(1, &["INSERT INTO t VALUES (1)"])).await.unwrap();
    target.release(&lease).await.unwrap();
    scratch
}

#[tokio::test]
async fn a_read_only_file_in_a_read_only_folder_is_looked_at() {
    for journal in ["DELETE", "WAL"] {
        let scratch = with_one_entry(journal).await;
        let before = scratch.files();
        let said = asked(&scratch, 0o555, 0o444);
        assert_eq!(said[0], "looked 1", "{journal}: {said:?}");
        assert!(said.iter().any(|line| line == "wrote ReadOnly"), "{journal}: {said:?}");
        assert!(said.last().unwrap().starts_with("dropped Err"), "{journal}: {said:?}");
        assert_eq!(scratch.files(), before);
    }
}

#[tokio::test]
async fn a_writable_file_in_a_read_only_folder_is_said_so() {
    for journal in ["DELETE", "WAL"] {
        let scratch = with_one_entry(journal).await;
        let said = asked(&scratch, 0o555, 0o666);
        assert_eq!(said[0], "looked 1", "{journal}: {said:?}");
        assert!(
            said.iter().any(|line| line == "wrote ReadOnly" || line == "wrote Permission"),
            "{journal}: {said:?}"
        );
        assert_eq!(scratch.number("SELECT count(*) FROM t"), 1);
    }
}

#[tokio::test]
async fn a_file_without_rights_is_said_so() {
    let scratch = with_one_entry("DELETE").await;
    let said = asked(&scratch, 0o755, 0o000);
    assert_eq!(said[0], "looked Permission", "{said:?}");
    assert!(said.iter().any(|line| line == "wrote Permission"), "{said:?}");
}
