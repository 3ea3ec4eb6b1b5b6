//! The journal, and settling what is open in it.

use dunlin_engine::{Settled, Target};
use dunlin_model::{EntryState, Lease, ObjectKind, Restart, StepRecord, StepState};

use crate::support::{
    Eyes, World, claimed, claimed_from, ddl, dml, owner, run_steps, schema, view, work,
};

/// Opens the step of a one-statement work, lets `outcome` happen, and settles it as a successor.
async fn settled(
    world: &World,
    version: i64,
    statement: dunlin_model::Statement,
    outcome: &str,
) -> Settled {
    let mut old = world.target().await;
    let mut lease = claimed(&mut old, &owner(1)).await;
    let file = work(version, vec![statement, dml("SELECT 1")]);
    old.open_step(&mut lease, &file, 0, None).await.expect("opened");
    if !outcome.is_empty() {
        world.eyes().await.run(outcome).await;
    }
    let mut new = world.target().await;
    let lease = claimed_from(&mut new, &owner(1), None).await;
    settle(&mut new, &lease, &file).await
}

async fn open_step(target: &mut Box<dyn Target>, version: i64) -> StepRecord {
    let ledger = view(target).await;
    assert_eq!(ledger.entries[&schema(version)].state, EntryState::Running);
    let mut steps = ledger.steps.into_iter().filter(|step| step.id == schema(version));
    let step = steps.next().expect("a step");
    assert_eq!(step.state, StepState::Open);
    step
}

async fn settle(
    target: &mut Box<dyn Target>,
    lease: &Lease,
    file: &dunlin_engine::Work,
) -> Settled {
    let step = open_step(target, file.entry.id.version.get()).await;
    target.settle_step(lease, file, &step).await.expect("settled")
}

#[tokio::test]
async fn definitions_tell_what_took_effect() {
    let world = World::new("settle").await;
    world.with_ledger().await;
    let mut eyes: Eyes = world.eyes().await;
    eyes.run("CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, a int)").await;
    let cases: &[(&str, &[(ObjectKind, &str)])] = &[
        ("CREATE TABLE c (a int)", &[(ObjectKind::Table, "c")]),
        ("ALTER TABLE t ADD b int", &[(ObjectKind::Table, "`t`")]),
        ("CREATE INDEX i ON t (a)", &[(ObjectKind::Table, "t")]),
        ("RENAME TABLE c TO d", &[(ObjectKind::Table, "c"), (ObjectKind::Table, "d")]),
        ("DROP TABLE d", &[(ObjectKind::Table, "d")]),
        ("CREATE VIEW v AS SELECT a FROM t", &[(ObjectKind::View, "v")]),
        ("DROP VIEW v", &[(ObjectKind::View, "v")]),
        (
            "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
            &[(ObjectKind::Trigger, "g")],
        ),
        ("DROP TRIGGER g", &[(ObjectKind::Trigger, "g")]),
        ("CREATE PROCEDURE p() SELECT 1", &[(ObjectKind::Procedure, "p")]),
        ("DROP PROCEDURE p", &[(ObjectKind::Procedure, "p")]),
        ("CREATE FUNCTION f() RETURNS int DETERMINISTIC RETURN 1", &[(ObjectKind::Function, "f")]),
        ("DROP FUNCTION f", &[(ObjectKind::Function, "f")]),
        ("CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1", &[(ObjectKind::Event, "e")]),
        ("DROP EVENT e", &[(ObjectKind::Event, "e")]),
    ];
    for (index, (text, objects)) in (0_i64..).zip(cases) {
        let not_run = settled(&world, 2 * index, ddl(text, objects), "").await;
        assert_eq!(not_run, Settled::DidNot, "{text}");
        // Rows that come meanwhile change no definition.
        eyes.run("INSERT INTO t (a) VALUES (1), (2)").await;
        let run = settled(&world, 2 * index + 1, ddl(text, objects), text).await;
        assert_eq!(run, Settled::TookEffect, "{text}");
    }
}

#[tokio::test]
async fn rows_that_come_meanwhile_are_no_change() {
    let world = World::new("counter").await;
    world.with_ledger().await;
    world.eyes().await.run("CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY)").await;
    let alter = ddl("ALTER TABLE t ADD b int", &[(ObjectKind::Table, "t")]);
    let settled = settled(&world, 1, alter, "INSERT INTO t VALUES (), (), ()").await;
    assert_eq!(settled, Settled::DidNot);
}

#[tokio::test]
async fn what_cannot_be_known_comes_with_evidence() {
    let world = World::new("unknown").await;
    world.with_ledger().await;
    let mut call = dml("CALL p('secret')");
    call.facts.restart = Restart::Unknowable { reason: "a procedure may commit within".to_owned() };
    let Settled::Unknown { evidence } = settled(&world, 1, call, "").await else {
        panic!("it cannot be known")
    };
    assert!(evidence.iter().any(|line| line.contains("line 1")), "{evidence:?}");
    assert!(evidence.iter().any(|line| line.contains("connection")), "{evidence:?}");
}

#[tokio::test]
async fn a_runner_that_sleeps_between_journal_and_statement_cannot_send_it_later() {
    let world = World::new("sleeper").await;
    let mut old = world.with_ledger().await;
    world.eyes().await.run("CREATE TABLE t (a int)").await;
    let file = work(1, vec![ddl("ALTER TABLE t ADD b int", &[(ObjectKind::Table, "t")])]);
    let mut stale = claimed(&mut old, &owner(1)).await;
    old.open_step(&mut stale, &file, 0, None).await.expect("opened");

    let mut new = world.target().await;
    let mut lease = claimed_from(&mut new, &owner(2), Some(&owner(1))).await;
    assert_eq!(settle(&mut new, &lease, &file).await, Settled::DidNot);
    run_steps(&mut new, &mut lease, &file).await;
    let error = old.send_step(&stale, &file, 0).await.expect_err("its connection was ended");
    assert_eq!(error.kind, dunlin_engine::ErrorKind::Lost);
    assert_eq!(view(&mut new).await.entries[&schema(1)].state, EntryState::Applied);
}

#[tokio::test]
async fn stored_text_is_what_the_servers_own_client_stores() {
    let world = World::new("stored").await;
    let mut target = world.with_ledger().await;
    let own = World::new("stored_own").await;
    let mut eyes = own.eyes().await;
    eyes.run("SET NAMES utf8mb4").await;
    let texts = [
        ("CREATE TABLE t (a int COMMENT 'é')", ObjectKind::Table, "t", "TABLE"),
        ("/*!50001 CREATE VIEW v AS SELECT a /* in */ FROM t */", ObjectKind::View, "v", "VIEW"),
        (
            "CREATE PROCEDURE p() /* before */ BEGIN\n  -- within\n  SELECT 1;\n END",
            ObjectKind::Procedure,
            "p",
            "PROCEDURE",
        ),
        (
            "CREATE /* a */ TRIGGER g BEFORE INSERT ON t FOR EACH ROW\n SET NEW.a = 1 /* b */",
            ObjectKind::Trigger,
            "g",
            "TRIGGER",
        ),
    ];
    let statements =
        texts.iter().map(|&(text, kind, name, _)| ddl(text, &[(kind, name)])).collect();
    let mut lease = claimed(&mut target, &owner(1)).await;
    run_steps(&mut target, &mut lease, &work(1, statements)).await;
    let mut ours = world.eyes().await;
    ours.run("SET NAMES utf8mb4").await;
    for (text, _, name, noun) in texts {
        eyes.run(text).await;
        let stored = |row: mysql_async::Row| -> Vec<String> {
            let skipped = ["Created"];
            let names: Vec<String> =
                row.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
            let values = row.unwrap().into_iter().map(|value| value.as_sql(false));
            let kept = names.into_iter().zip(values);
            kept.filter(|(name, _)| !skipped.contains(&name.as_str()))
                .map(|(_, value)| value)
                .collect()
        };
        let query = format!("SHOW CREATE {noun} {name}");
        let mut found = Vec::new();
        for eyes in [&mut ours, &mut eyes] {
            use mysql_async::prelude::Queryable as _;
            let row: Option<mysql_async::Row> = eyes.0.query_first(&query).await.expect("shown");
            let mut shown = stored(row.expect("a row"));
            for cell in &mut shown {
                *cell = cell.replace(&own.name, "db").replace(&world.name, "db");
            }
            found.push(shown);
        }
        assert_eq!(found[0], found[1], "{text}");
        assert!(!found[0].join("").contains("dunlin schema"), "{:?}", found[0]);
    }
}

#[tokio::test]
async fn steps_are_kept_until_the_last_and_then_deleted() {
    let world = World::new("journal").await;
    let mut target = world.with_ledger().await;
    let file = work(
        4,
        vec![
            ddl("CREATE TABLE t (a int)", &[(ObjectKind::Table, "t")]),
            dml("INSERT INTO t VALUES (1), (2)"),
            ddl("ALTER TABLE t ADD b int", &[(ObjectKind::Table, "t")]),
        ],
    );
    let mut lease = claimed(&mut target, &owner(1)).await;
    target.open_step(&mut lease, &file, 0, None).await.expect("opened");
    target.send_step(&lease, &file, 0).await.expect("sent");
    target.close_step(&mut lease, &file, 0, StepState::Done).await.expect("closed");
    assert_eq!(target.commit_step(&mut lease, &file, 1, None).await.expect("committed"), Some(2));
    target.open_step(&mut lease, &file, 2, None).await.expect("opened");
    target.close_step(&mut lease, &file, 2, StepState::Failed).await.expect("closed");
    let ledger = view(&mut target).await;
    let states: Vec<StepState> = ledger.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Done, StepState::Done, StepState::Failed]);
    let began = ledger.entries[&schema(4)].started_at;
    target.open_step(&mut lease, &file, 2, None).await.expect("opened anew");
    target.send_step(&lease, &file, 2).await.expect("sent");
    target.close_step(&mut lease, &file, 2, StepState::Done).await.expect("closed");
    let ledger = view(&mut target).await;
    assert!(ledger.steps.is_empty());
    let entry = &ledger.entries[&schema(4)];
    assert_eq!((entry.state, entry.started_at), (EntryState::Applied, began));
    assert!(entry.duration_ms.is_some());
    assert_eq!(lease.commits, 7);
    let events = world.eyes().await;
    let mut events = events;
    assert_eq!(
        events.one("SELECT GROUP_CONCAT(event ORDER BY number) FROM dunlin_history").await,
        "start,up"
    );
}
