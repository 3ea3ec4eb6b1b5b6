//! Indexes built beside the application's work, whose builders die or fail.

use dunlin_engine::{Connector, ErrorKind, Purpose, Settled, Target};
use dunlin_model::{EntryState, Restart, StepState};

use crate::world::{World, claimed, id, ledger, outside, work};

const INVALID: &str = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
const BUILDING: &str = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
     AND wait_event_type = 'Lock' AND query LIKE '%INDEX CONCURRENTLY%' \
     AND pid <> pg_backend_pid() AND datname = current_database()";

/// Sends step 0 and dies while the index is being built, behind an old transaction.
async fn die_while_building(world: &World, work: &dunlin_engine::Work) {
    let blocker = world.bystander().await;
    blocker
        .batch_execute("BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE")
        .await
        .expect("a transaction");
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    target.open_step(&mut lease, work, 0, None).await.expect("journal");
    tokio::select! {
        outcome = target.send_step(&lease, work, 0) => panic!("it ended: {outcome:?}"),
        () = world.until(BUILDING, "1") => {}
    }
    drop(target);
    // The client is gone; the server goes on waiting.
    assert_eq!(world.sql(BUILDING).await, "1");
    blocker.batch_execute("ROLLBACK").await.expect("the end of it");
}

async fn settle_and_finish(world: &World, work: &dunlin_engine::Work, expected: Settled) {
    let mut target: Box<dyn Target> = world.target().await;
    let mut lease = claimed(&mut target, 2).await;
    let open = ledger(&mut target).await.steps;
    let [step] = &open[..] else { panic!("{open:?}") };
    let settled = target.settle_step(&lease, work, step).await.expect("an answer");
    assert_eq!(settled, expected);
    assert_eq!(world.sql(BUILDING).await, "0");
    if settled == Settled::DidNot {
        target.open_step(&mut lease, work, 0, None).await.expect("journal");
        target.send_step(&lease, work, 0).await.expect("the index");
    }
    target.close_step(&mut lease, work, 0, StepState::Done).await.expect("journal");
    assert_eq!(ledger(&mut target).await.state(id(1)), Some(EntryState::Applied));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_build_is_cleared_away_and_done_again() {
    let world = World::new("index_killed").await;
    world.sql("CREATE TABLE t (a integer); INSERT INTO t VALUES (1)").await;
    // Somebody else's invalid index is left alone.
    let theirs = "CREATE INDEX theirs ON t (a); \
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'theirs'::regclass";
    world.sql(theirs).await;
    let build = outside("CREATE INDEX", "CREATE INDEX CONCURRENTLY ours ON t (a)", "t");
    let work = work(1, vec![build]);
    die_while_building(&world, &work).await;
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ours')";
    // Either the orphan finished once the old transaction was gone, or it is ended.
    let mut target: Box<dyn Target> = world.target().await;
    let mut lease = claimed(&mut target, 2).await;
    let open = ledger(&mut target).await.steps;
    match target.settle_step(&lease, &work, &open[0]).await.expect("an answer") {
        Settled::TookEffect => assert_eq!(world.sql(valid).await, "t"),
        Settled::DidNot => {
            assert_eq!(world.sql(valid).await, "", "what it left is dropped");
            target.open_step(&mut lease, &work, 0, None).await.expect("journal");
            target.send_step(&lease, &work, 0).await.expect("the index");
        }
        other @ Settled::Unknown { .. } => panic!("{other:?}"),
    }
    target.close_step(&mut lease, &work, 0, StepState::Done).await.expect("journal");
    assert_eq!(world.sql(valid).await, "t");
    assert_eq!(world.sql(INVALID).await, "1", "theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_index_is_never_taken_for_done() {
    let world = World::new("index_invalid").await;
    world.sql("CREATE TABLE t (a integer); INSERT INTO t VALUES (1)").await;
    let text = "CREATE INDEX CONCURRENTLY IF NOT EXISTS ours ON t (a)";
    let mut build = outside("CREATE INDEX", text, "t");
    build.facts.restart = Restart::Repeatable;
    let work = work(1, vec![build]);
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    target.open_step(&mut lease, &work, 0, None).await.expect("journal");
    drop(target);
    // What a server leaves when the builder's backend is killed.
    let left = "CREATE INDEX ours ON t (a); \
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ours'::regclass";
    world.sql(left).await;
    settle_and_finish(&world, &work, Settled::DidNot).await;
    assert_eq!(world.sql(INVALID).await, "0");
    assert_eq!(
        world.sql("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass").await,
        "1"
    );
}

/// It slept past the end of its lease: the session that is at work is its heir's.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_lost_its_lease_ends_no_build() {
    let world = World::new("index_heir").await;
    world.sql("CREATE TABLE t (a integer); INSERT INTO t VALUES (1)").await;
    let build = outside("CREATE INDEX", "CREATE INDEX CONCURRENTLY ours ON t (a)", "t");
    let work = work(1, vec![build]);
    let mut dead = world.with_ledger().await;
    let mut lease = claimed(&mut dead, 1).await;
    dead.open_step(&mut lease, &work, 0, None).await.expect("journal");
    drop(dead);
    let mut sleeper: Box<dyn Target> = world.target().await;
    let lost = claimed(&mut sleeper, 2).await;
    let open = ledger(&mut sleeper).await.steps;
    let blocker = world.bystander().await;
    blocker
        .batch_execute("BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE")
        .await
        .expect("a transaction");
    let mut heir = world.with_ledger().await;
    let mut lease = claimed(&mut heir, 3).await;
    heir.open_step(&mut lease, &work, 0, None).await.expect("journal");
    let building = async {
        heir.send_step(&lease, &work, 0).await.expect("the index");
        heir
    };
    let waking = async {
        world.until(BUILDING, "1").await;
        let error = sleeper.settle_step(&lost, &work, &open[0]).await.expect_err("too late");
        assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
        blocker.batch_execute("ROLLBACK").await.expect("the end of it");
    };
    let (mut heir, ()) = tokio::join!(building, waking);
    heir.close_step(&mut lease, &work, 0, StepState::Done).await.expect("journal");
    assert_eq!(world.sql(INVALID).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_leaves_no_invalid_index() {
    let world = World::new("index_duplicates").await;
    world.sql("CREATE TABLE t (a integer); INSERT INTO t VALUES (1234567), (1234567)").await;
    let text = "CREATE UNIQUE INDEX CONCURRENTLY ours ON t (a)";
    let work = work(1, vec![outside("CREATE UNIQUE INDEX", text, "t")]);
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    target.open_step(&mut lease, &work, 0, None).await.expect("journal");
    let error = target.send_step(&lease, &work, 0).await.expect_err("two of a kind");
    assert_eq!((error.kind, error.statement), (ErrorKind::Statement, Some(0)), "{error:?}");
    assert!(!format!("{error:?}").contains("1234567"), "a value: {error:?}");
    assert_eq!(world.sql(INVALID).await, "0");
    target.close_step(&mut lease, &work, 0, StepState::Failed).await.expect("journal");
    world.sql("DELETE FROM t").await;
    target.open_step(&mut lease, &work, 0, None).await.expect("journal");
    target.send_step(&lease, &work, 0).await.expect("the index");
    target.close_step(&mut lease, &work, 0, StepState::Done).await.expect("journal");
    assert_eq!(
        world.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ours'::regclass").await,
        "t"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_that_died_half_way_is_done_again() {
    let world = World::new("index_drop").await;
    world.sql("CREATE TABLE t (a integer); CREATE INDEX ours ON t (a)").await;
    let work = work(1, vec![outside("DROP INDEX", "DROP INDEX CONCURRENTLY ours", "t")]);
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    target.open_step(&mut lease, &work, 0, None).await.expect("journal");
    drop(target);
    let half = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ours'::regclass";
    world.sql(half).await;
    settle_and_finish(&world, &work, Settled::DidNot).await;
    assert_eq!(world.sql("SELECT to_regclass('ours') IS NULL").await, "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detach_that_died_half_way_is_finished() {
    let world = World::new("index_detach").await;
    world
        .sql(
            "CREATE TABLE t (a integer) PARTITION BY RANGE (a); \
             CREATE TABLE part PARTITION OF t FOR VALUES FROM (1) TO (10)",
        )
        .await;
    let text = "ALTER TABLE t DETACH PARTITION part CONCURRENTLY";
    let work = work(1, vec![outside("ALTER TABLE", text, "t")]);
    let blocker = world.bystander().await;
    blocker.batch_execute("BEGIN; SELECT count(*) FROM t").await.expect("a transaction");
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    target.open_step(&mut lease, &work, 0, None).await.expect("journal");
    let waiting = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending";
    tokio::select! {
        outcome = target.send_step(&lease, &work, 0) => panic!("it ended: {outcome:?}"),
        () = world.until(waiting, "1") => {}
    }
    drop(target);
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE query LIKE 'ALTER TABLE t DETACH%' AND pid <> pg_backend_pid() \
         AND datname = current_database()";
    world.sql(kill).await;
    blocker.batch_execute("ROLLBACK").await.expect("the end of it");
    settle_and_finish(&world, &work, Settled::TookEffect).await;
    assert_eq!(
        world.sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 't'::regclass").await,
        "0"
    );
}

/// To a login without more rights the server's list of builds has no index for another role's.
#[tokio::test(flavor = "multi_thread")]
async fn another_roles_build_is_no_leftover() {
    let world = World::new("index_other_role").await;
    let plain = world.login("login_builder").await;
    world
        .sql(&format!(
            "GRANT CREATE ON DATABASE \"{}\" TO login_builder; \
             CREATE SCHEMA app AUTHORIZATION login_builder; \
             CREATE TABLE app.t (a integer); ALTER TABLE app.t OWNER TO login_builder",
            world.name()
        ))
        .await;
    let mut target = plain.connect(Purpose::Run).await.expect("a connection");
    target.create_ledger("id").await.expect("a ledger");
    let text = "CREATE INDEX CONCURRENTLY ours ON app.t (a)";
    let work = work(1, vec![outside("CREATE INDEX", text, "app.t")]);
    let mut lease = claimed(&mut target, 1).await;
    target.open_step(&mut lease, &work, 0, None).await.expect("journal");
    let blocker = world.bystander().await;
    blocker
        .batch_execute("BEGIN; LOCK TABLE app.t IN ROW EXCLUSIVE MODE")
        .await
        .expect("a transaction");
    let builder = world.bystander().await;
    let building = builder.batch_execute(text);
    let settling = async {
        world.until(BUILDING, "1").await;
        let lease = claimed(&mut target, 2).await;
        let open = ledger(&mut target).await.steps;
        let error = target.settle_step(&lease, &work, &open[0]).await.expect_err("it is at work");
        assert_eq!(error.kind, ErrorKind::LockTimeout, "{error:?}");
        assert!(error.notes.iter().any(|note| note.contains("building")), "{error:?}");
        blocker.batch_execute("ROLLBACK").await.expect("the end of it");
        (lease, open)
    };
    let (built, (lease, open)) = tokio::join!(building, settling);
    built.expect("the index");
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'app.ours'::regclass";
    assert_eq!(world.sql(valid).await, "t");
    let settled = target.settle_step(&lease, &work, &open[0]).await.expect("an answer");
    assert_eq!(settled, Settled::TookEffect);
    drop(target);
    world.sql("DROP OWNED BY login_builder CASCADE; DROP ROLE login_builder").await;
}

/// Somebody else changes the table between the journal and the statement.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_change_is_not_taken_for_its_effect() {
    let world = World::new("index_others").await;
    world
        .sql(
            "CREATE TABLE t (a integer) PARTITION BY RANGE (a); \
             CREATE TABLE part PARTITION OF t FOR VALUES FROM (1) TO (10); \
             CREATE TABLE u (a integer); CREATE INDEX old ON u (a)",
        )
        .await;
    let detach = "ALTER TABLE t DETACH PARTITION part CONCURRENTLY";
    let cases = [
        outside("CREATE INDEX", "CREATE INDEX CONCURRENTLY ours ON u (a)", "u"),
        outside("ALTER TABLE", detach, "t"),
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let work = work(1, vec![case]);
        let mut target = world.with_ledger().await;
        let number = u32::try_from(number).expect("small");
        let mut lease = claimed(&mut target, number * 2 + 1).await;
        target.open_step(&mut lease, &work, 0, None).await.expect("journal");
        drop(target);
        let theirs = "DROP INDEX IF EXISTS theirs; CREATE INDEX theirs ON u (a); \
             DROP TABLE IF EXISTS another; \
             CREATE TABLE another PARTITION OF t FOR VALUES FROM (10) TO (20)";
        world.sql(theirs).await;
        let mut target: Box<dyn Target> = world.target().await;
        let mut lease = claimed(&mut target, number * 2 + 2).await;
        let open = ledger(&mut target).await.steps;
        let settled = target.settle_step(&lease, &work, &open[0]).await.expect("an answer");
        assert_eq!(settled, Settled::DidNot, "{work:?}");
        target.send_step(&lease, &work, 0).await.expect("it is sent");
        target.close_step(&mut lease, &work, 0, StepState::Done).await.expect("journal");
    }
    assert_eq!(world.sql("SELECT to_regclass('ours') IS NOT NULL").await, "t");
    let attached = "SELECT count(*) FROM pg_inherits WHERE inhrelid = 'part'::regclass";
    assert_eq!(world.sql(attached).await, "0");
}
