//! What a file sets: for the rest of the file, and not beyond it.

use dunlin_engine::ErrorKind;
use dunlin_model::{ObjectKind, StepState};

use crate::support::{
    World, claimed, ddl, dml, owner, run_step, run_steps, schema, set, view, work,
};

#[tokio::test]
async fn settings_last_for_the_file_and_no_longer() {
    let world = World::new("settings").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE seen (fk int, mode varchar(999), db varchar(99), x varchar(9))").await;
    let look = format!(
        "INSERT INTO `{}`.seen SELECT @@foreign_key_checks, @@sql_mode, DATABASE(), @x",
        world.name
    );
    let file = work(
        1,
        vec![
            set("SET FOREIGN_KEY_CHECKS = 0"),
            set("SET SESSION sql_mode = 'ANSI_QUOTES'"),
            set("SET NAMES latin1"),
            set("SET @x = 'set'"),
            set("SET autocommit = 0"),
            set("USE information_schema"),
            dml(&look),
        ],
    );
    let mut lease = claimed(&mut target, &owner(1)).await;
    run_steps(&mut target, &mut lease, &file).await;
    assert_eq!(
        eyes.one("SELECT CONCAT_WS('|', fk, mode, db, x) FROM seen").await,
        "0|ANSI_QUOTES|information_schema|set"
    );
    eyes.run("DELETE FROM seen").await;
    target.commit(&mut lease, &work(2, vec![dml(&look)])).await.expect("committed");
    let expected = eyes.one("SELECT CONCAT_WS('|', 1, @@global.sql_mode, DATABASE())").await;
    assert_eq!(eyes.one("SELECT CONCAT_WS('|', fk, mode, db, x) FROM seen").await, expected);
}

#[tokio::test]
async fn a_successor_has_the_settings_of_the_first_part() {
    let world = World::new("successor").await;
    let mut first = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE parent (id int primary key)").await;
    eyes.run("CREATE TABLE child (id int, FOREIGN KEY (id) REFERENCES parent (id))").await;
    let file = work(
        1,
        vec![
            set("SET FOREIGN_KEY_CHECKS = 0"),
            ddl("ALTER TABLE child ADD note int", &[(ObjectKind::Table, "child")]),
            dml("INSERT INTO child (id) VALUES (1)"),
        ],
    );
    let mut lease = claimed(&mut first, &owner(1)).await;
    for ordinal in 0..2 {
        run_step(&mut first, &mut lease, &file, ordinal).await;
    }
    drop(first);
    let mut second = world.target().await;
    let mut lease = claimed(&mut second, &owner(1)).await;
    second.commit_step(&mut lease, &file, 2, None).await.expect("without the foreign key");
    assert!(view(&mut second).await.steps.is_empty());
}

#[tokio::test]
async fn locked_tables_do_not_lock_the_ledger_out() {
    let world = World::new("locktables").await;
    let mut target = world.with_ledger().await;
    world.eyes().await.run("CREATE TABLE n (v int)").await;
    let file = work(
        1,
        vec![
            set("LOCK TABLES n WRITE"),
            ddl("/*!40000 ALTER TABLE n DISABLE KEYS */", &[(ObjectKind::Table, "n")]),
            dml("INSERT INTO n VALUES (1)"),
            set("UNLOCK TABLES"),
        ],
    );
    let mut lease = claimed(&mut target, &owner(1)).await;
    run_steps(&mut target, &mut lease, &file).await;
    assert_eq!(world.eyes().await.one("SELECT COUNT(*) FROM n").await, "1");
}

#[tokio::test]
async fn a_statement_that_commits_by_itself_is_found_out() {
    let world = World::new("hidden").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE n (v int)").await;
    eyes.run("CREATE PROCEDURE p() BEGIN COMMIT; START TRANSACTION; END").await;
    let mut lease = claimed(&mut target, &owner(1)).await;
    for (version, text, index) in
        [(1, "/*!50000 CREATE TABLE hidden (v int) */", Some(1)), (2, "CALL p()", None)]
    {
        let file = work(version, vec![dml("INSERT INTO n VALUES (1)"), dml(text)]);
        let error = target.commit(&mut lease, &file).await.expect_err("found out");
        assert_eq!((error.kind, error.statement), (ErrorKind::Refused, index), "{error:?}");
        assert!(error.may_be_kept, "{error:?}");
        assert!(!view(&mut target).await.entries.contains_key(&schema(version)));
    }
    // The lease knows which checkpoint stands, so that it can go on.
    target
        .commit(&mut lease, &work(3, vec![dml("INSERT INTO n VALUES (1)")]))
        .await
        .expect("goes on");
}

#[tokio::test]
async fn a_rehearsal_leaves_nothing() {
    let world = World::new("rehearsal").await;
    let mut target = world.target().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE n (v int)").await;
    let file = work(
        1,
        vec![
            dml("INSERT INTO n VALUES (1), (2)"),
            dml("SELECT * FROM n"),
            dml("DELETE FROM n WHERE v = 1"),
        ],
    );
    assert_eq!(target.rehearse(&file).await.expect("rehearsed"), [Some(2), None, Some(1)]);
    assert_eq!(eyes.one("SELECT COUNT(*) FROM n").await, "0");
    let ddl = work(1, vec![ddl("DROP TABLE n", &[(ObjectKind::Table, "n")])]);
    assert_eq!(target.rehearse(&ddl).await.expect_err("refused").kind, ErrorKind::Refused);
}

#[tokio::test]
async fn a_cancelled_call_leaves_no_connection_to_go_on_with() {
    let world = World::new("cancelled").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE n (v int)").await;
    let mut lease = claimed(&mut target, &owner(1)).await;
    let file = work(1, vec![dml("INSERT INTO n VALUES (1)"), dml("SELECT SLEEP(3000)")]);
    {
        let commit = target.commit(&mut lease, &file);
        tokio::pin!(commit);
        let at_work = format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{}' AND info = 'SELECT SLEEP(3000)' AND command = 'Query'",
            world.name
        );
        tokio::select! {
            result = &mut commit => panic!("{result:?}"),
            () = eyes.until(&at_work, "1") => {}
        }
    }
    // The call is given up; its statement goes on until a successor claims the lease.
    let mut lease = claimed(&mut target, &owner(1)).await;
    target.commit(&mut lease, &work(1, vec![dml("INSERT INTO n VALUES (1)")])).await.expect("anew");
    assert_eq!(eyes.one("SELECT COUNT(*) FROM n").await, "1");
}

#[tokio::test]
async fn a_stopped_target_is_lost() {
    let world = World::new("stopped").await;
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, &owner(1)).await;
    let stopper = target.stopper();
    let file = work(1, vec![dml("SELECT SLEEP(3000)")]);
    let running = tokio::spawn(async move {
        let error = target.commit(&mut lease, &file).await.expect_err("stopped");
        let after = target.close_step(&mut lease, &file, 0, StepState::Done).await;
        (error.kind, after.expect_err("lost").kind)
    });
    let mut eyes = world.eyes().await;
    eyes.until(&format!("SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{}' AND info = 'SELECT SLEEP(3000)' AND command = 'Query'", world.name), "1").await;
    stopper.stop().await;
    assert_eq!(running.await.expect("joined"), (ErrorKind::Lost, ErrorKind::Lost));
}
