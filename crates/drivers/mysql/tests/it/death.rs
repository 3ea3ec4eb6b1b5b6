//! Runners that die in the middle of a statement: the server goes on without them.

use dunlin_engine::Settled;
use dunlin_model::{ObjectKind, StepState};

use crate::support::{World, claimed, claimed_from, ddl, owner, run_steps, schema, view, work};

/// An ALTER whose runner is gone while the server is at work on it: it is waited for or ended,
/// and then the definition is right about it, also where it had not changed yet.
#[tokio::test(flavor = "multi_thread")]
async fn an_alter_that_outlives_its_runner_is_settled_once_it_is_over() {
    let world = World::new("outlive").await;
    let mut old = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE big (id int PRIMARY KEY AUTO_INCREMENT, t text)").await;
    eyes.run("INSERT INTO big (t) VALUES (REPEAT('x', 500)), (REPEAT('y', 500))").await;
    for _ in 0..15 {
        eyes.run("INSERT INTO big (t) SELECT t FROM big").await;
    }
    let alter = "ALTER TABLE big ADD extra int NOT NULL DEFAULT 7, ALGORITHM = COPY";
    let file = work(1, vec![ddl(alter, &[(ObjectKind::Table, "big")])]);
    let mut lease = claimed(&mut old, &owner(1)).await;
    old.open_step(&mut lease, &file, 0, None).await.expect("opened");
    let step = view(&mut old).await.steps.pop().expect("a step");
    assert_eq!(step.state, StepState::Open);
    let sending = {
        let (lease, file) = (lease.clone(), file.clone());
        tokio::spawn(async move { old.send_step(&lease, &file, 0).await })
    };
    let at_work = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE id = {} AND info LIKE '/* dunlin schema 0 %ALTER TABLE%'",
        step.connection.expect("a connection")
    );
    eyes.until(&at_work, "1").await;
    // The runner is gone without a word to the server.
    sending.abort();

    let mut new = world.target().await;
    let mut lease = claimed_from(&mut new, &owner(2), Some(&owner(1))).await;
    let settled = new.settle_step(&lease, &file, &step).await.expect("settled");
    let columns = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'big' AND column_name = 'extra'";
    let there = eyes.one(columns).await == "1";
    assert_eq!(settled == Settled::TookEffect, there, "{settled:?}");
    if there {
        new.close_step(&mut lease, &file, 0, StepState::Done).await.expect("closed");
    } else {
        assert_eq!(settled, Settled::DidNot);
        run_steps(&mut new, &mut lease, &file).await;
    }
    assert_eq!(eyes.one(columns).await, "1");
    assert!(view(&mut new).await.entries.contains_key(&schema(1)));
}

/// The same with an ALTER that cannot get on: its connection is ended, nothing took effect.
#[tokio::test(flavor = "multi_thread")]
async fn an_alter_that_waits_for_a_lock_does_not_run_after_its_step_is_settled() {
    let world = World::new("waits").await;
    let mut old = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE t (a int)").await;
    let mut reader = world.eyes().await;
    reader.run("BEGIN").await;
    reader.run("SELECT * FROM t").await;
    let mut file = work(1, vec![ddl("ALTER TABLE t ADD b int", &[(ObjectKind::Table, "t")])]);
    file.lock_timeout = std::time::Duration::from_secs(600);
    let mut lease = claimed(&mut old, &owner(1)).await;
    old.open_step(&mut lease, &file, 0, None).await.expect("opened");
    let step = view(&mut old).await.steps.pop().expect("a step");
    let sending = {
        let (lease, file) = (lease.clone(), file.clone());
        tokio::spawn(async move { old.send_step(&lease, &file, 0).await })
    };
    let waiting = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE id = {} AND state LIKE 'Waiting%'",
        step.connection.expect("a connection")
    );
    eyes.until(&waiting, "1").await;
    sending.abort();
    let mut new = world.target().await;
    let mut lease = claimed_from(&mut new, &owner(2), Some(&owner(1))).await;
    let settled = new.settle_step(&lease, &file, &step).await.expect("settled");
    assert_eq!(settled, Settled::DidNot);
    reader.run("COMMIT").await;
    run_steps(&mut new, &mut lease, &file).await;
}
