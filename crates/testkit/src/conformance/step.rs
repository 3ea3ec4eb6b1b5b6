//! Journalled steps: what cannot be part of a transaction is written down before and after.

use std::collections::BTreeSet;

use dunlin_engine::{Claim, ErrorKind, Settled, Target, Work};
use dunlin_model::{
    After, Direction, EntryState, ImageObject, Lease, ObjectKind, Resource, Restart, StepRecord,
    StepState, Trace, TraceKind,
};

use super::work::{data_version, data_work, owner, statement_with, work_of};
use super::world::{LONG, SHORT, World, granted, granted_after_expiry, ledger};
use crate::servers::Product;

const TABLE: &str = "CREATE TABLE t (id integer PRIMARY KEY, n integer)";

/// A definition of a table that runs as a step of its own.
fn definition(world: &World, text: &str, table: &str) -> dunlin_model::Statement {
    let restart = match world.product {
        // A file has nothing that must run outside a transaction and can't be repeated.
        Product::Sqlite => Restart::Repeatable,
        _ => Restart::ByImage {
            objects: vec![ImageObject { kind: ObjectKind::Table, name: table.to_owned() }],
        },
    };
    let mut statement = statement_with(text, restart);
    statement.facts.tables = Some(BTreeSet::from([table.to_owned()]));
    statement
}

async fn steps(target: &mut Box<dyn Target>) -> Vec<StepRecord> {
    let mut steps = ledger(target).await.steps;
    steps.sort_by_key(|step| step.ordinal);
    steps
}

async fn state(target: &mut Box<dyn Target>) -> Option<EntryState> {
    ledger(target).await.state(data_version(1))
}

/// The next runner, which knows that the one before it is dead.
async fn successor(world: &World, number: u32) -> (Box<dyn Target>, Lease) {
    let mut target = world.target().await;
    let dead = owner(number - 1).id;
    let claim = target.claim(&Resource::Schema, &owner(number), LONG, Some(&dead)).await.unwrap();
    let Claim::Granted(lease) = claim else { panic!("{claim:?}") };
    (target, lease)
}

async fn settled(target: &mut Box<dyn Target>, lease: &Lease, work: &Work) -> Settled {
    let open: Vec<StepRecord> =
        steps(target).await.into_iter().filter(|step| step.state == StepState::Open).collect();
    let [step] = &open[..] else { panic!("one step is open: {open:?}") };
    target.settle_step(lease, work, step).await.unwrap()
}

pub(super) async fn a_program_is_journalled_before_and_after(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let commits = lease.commits;
    let work = data_work(1, &[]);
    target.open_step(&mut lease, &work, 0, None).await.unwrap();
    assert_eq!(lease.commits, commits + 1);
    assert_eq!(state(&mut target).await, Some(EntryState::Running));
    let open = steps(&mut target).await;
    let [step] = &open[..] else { panic!("{open:?}") };
    assert_eq!(step.id, data_version(1));
    assert_eq!((step.direction, step.pass, step.ordinal), (Direction::Up, 1, 0));
    assert_eq!((step.state, step.token), (StepState::Open, lease.token));
    // If the program's text changed since, the next runner must be able to tell.
    let text = work.entry.content.clone().map(|(_, text)| text);
    assert_eq!(target.text(data_version(1)).await.unwrap(), text);
    target.close_step(&mut lease, &work, 0, StepState::Done).await.unwrap();
    assert_eq!(lease.commits, commits + 2);
    assert_eq!(state(&mut target).await, Some(EntryState::Applied));
    assert!(steps(&mut target).await.is_empty());
    let history = world.ledger_table("history");
    let events = format!("SELECT event FROM {history} ORDER BY event");
    assert_eq!(world.sql(&events).await, "start\nup");
}

pub(super) async fn steps_are_journalled_one_by_one(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let statements = vec![
        definition(&world, "CREATE TABLE one (id integer)", "one"),
        definition(&world, "CREATE TABLE two (id integer)", "two"),
    ];
    let work = work_of(data_version(1), statements);
    for ordinal in 0..2_u32 {
        target.open_step(&mut lease, &work, ordinal, None).await.unwrap();
        let before = steps(&mut target).await;
        assert_eq!(before.len(), ordinal as usize + 1, "{before:?}");
        assert_eq!(before[ordinal as usize].state, StepState::Open);
        target.send_step(&lease, &work, ordinal).await.unwrap();
        assert_eq!(state(&mut target).await, Some(EntryState::Running));
        target.close_step(&mut lease, &work, ordinal, StepState::Done).await.unwrap();
        if ordinal == 0 {
            let after = steps(&mut target).await;
            assert_eq!(after[0].state, StepState::Done);
            assert_eq!(state(&mut target).await, Some(EntryState::Running));
        }
    }
    assert_eq!(state(&mut target).await, Some(EntryState::Applied));
    assert!(steps(&mut target).await.is_empty());
    assert_eq!(world.sql("SELECT count(*) FROM one").await, "0");
    assert_eq!(world.sql("SELECT count(*) FROM two").await, "0");
}

pub(super) async fn the_next_journal_closes_a_step(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let statements = vec![
        definition(&world, "CREATE TABLE one (id integer PRIMARY KEY)", "one"),
        definition(&world, "CREATE TABLE two (id integer)", "two"),
        statement_with("INSERT INTO one VALUES (1), (1)", Restart::Transactional),
        statement_with("INSERT INTO two VALUES (1)", Restart::Transactional),
    ];
    let mut work = work_of(data_version(1), statements);
    let states = async |target: &mut Box<dyn Target>| -> Vec<StepState> {
        steps(target).await.into_iter().map(|step| step.state).collect()
    };
    target.open_step(&mut lease, &work, 0, None).await.unwrap();
    target.send_step(&lease, &work, 0).await.unwrap();
    let commits = lease.commits;
    target.open_step(&mut lease, &work, 1, Some(0)).await.unwrap();
    assert_eq!(lease.commits, commits + 1);
    assert_eq!(states(&mut target).await, [StepState::Done, StepState::Open]);
    assert_eq!(state(&mut target).await, Some(EntryState::Running));
    target.send_step(&lease, &work, 1).await.unwrap();
    // It fails, and closes nothing.
    target.commit_step(&mut lease, &work, 2, Some(1)).await.unwrap_err();
    assert_eq!(states(&mut target).await, [StepState::Done, StepState::Open]);
    work.statements[2].text = "INSERT INTO one VALUES (1), (2)".to_owned();
    assert_eq!(target.commit_step(&mut lease, &work, 2, Some(1)).await.unwrap(), Some(2));
    assert_eq!(lease.commits, commits + 2);
    assert_eq!(states(&mut target).await, [StepState::Done; 3]);
    target.commit_step(&mut lease, &work, 3, None).await.unwrap();
    assert_eq!(state(&mut target).await, Some(EntryState::Applied));
    assert!(steps(&mut target).await.is_empty());
}

pub(super) async fn a_failed_step_is_opened_anew(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let bad = definition(&world, "CREATE TABLE one (id no_such_type_at_all(1,2,3) 4)", "one");
    let bad = work_of(data_version(1), vec![bad]);
    target.open_step(&mut lease, &bad, 0, None).await.unwrap();
    let error = target.send_step(&lease, &bad, 0).await.unwrap_err();
    assert_eq!((error.kind, error.statement), (ErrorKind::Statement, Some(0)), "{error:?}");
    target.close_step(&mut lease, &bad, 0, StepState::Failed).await.unwrap();
    assert_eq!(steps(&mut target).await[0].state, StepState::Failed);
    assert_ne!(state(&mut target).await, Some(EntryState::Applied));

    let good = definition(&world, "CREATE TABLE one (id integer)", "one");
    let good = work_of(data_version(1), vec![good]);
    target.open_step(&mut lease, &good, 0, None).await.unwrap();
    let open = steps(&mut target).await;
    let [step] = &open[..] else { panic!("{open:?}") };
    assert_eq!(step.state, StepState::Open);
    target.send_step(&lease, &good, 0).await.unwrap();
    target.close_step(&mut lease, &good, 0, StepState::Done).await.unwrap();
    assert_eq!(state(&mut target).await, Some(EntryState::Applied));
}

pub(super) async fn a_transactional_step_commits_with_its_journal(world: World) {
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let work = data_work(1, &["INSERT INTO t VALUES (1, 1)", "UPDATE t SET n = n * 2 + 1"]);
    assert_eq!(target.commit_step(&mut lease, &work, 0, None).await.unwrap(), Some(1));
    let done = steps(&mut target).await;
    let [step] = &done[..] else { panic!("{done:?}") };
    assert_eq!((step.ordinal, step.state), (0, StepState::Done));
    assert_ne!(state(&mut target).await, Some(EntryState::Applied));
    assert_eq!(target.commit_step(&mut lease, &work, 1, None).await.unwrap(), Some(1));
    assert_eq!(state(&mut target).await, Some(EntryState::Applied));
    assert!(steps(&mut target).await.is_empty());
    assert_eq!(world.sql("SELECT n FROM t").await, "3");
}

pub(super) async fn a_failing_transactional_step_leaves_nothing(world: World) {
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let work = data_work(1, &["INSERT INTO t VALUES (1, 1)", "INSERT INTO t VALUES (1, 2)"]);
    target.commit_step(&mut lease, &work, 0, None).await.unwrap();
    let before = lease.clone();
    let error = target.commit_step(&mut lease, &work, 1, None).await.unwrap_err();
    assert_eq!((error.kind, error.statement), (ErrorKind::Statement, Some(1)), "{error:?}");
    assert_eq!(lease, before);
    let left = steps(&mut target).await;
    let done = left.iter().filter(|step| step.state == StepState::Done).count();
    assert_eq!(done, 1, "{left:?}");
    assert_ne!(state(&mut target).await, Some(EntryState::Applied));
}

pub(super) async fn an_open_step_is_settled(world: World) {
    drop(world.with_ledger().await);
    let work = work_of(
        data_version(1),
        vec![definition(&world, "CREATE TABLE one (id integer)", "one"), second_definition(&world)],
    );
    let mut number = 1;
    for ordinal in 0..2 {
        // Dies before it sends.
        let (mut target, mut lease) = successor(&world, number).await;
        target.open_step(&mut lease, &work, ordinal, None).await.unwrap();
        drop(target);
        // Finds that out, sends, and dies before it journals that.
        let (mut target, mut lease) = successor(&world, number + 1).await;
        assert_eq!(settled(&mut target, &lease, &work).await, Settled::DidNot);
        target.open_step(&mut lease, &work, ordinal, None).await.unwrap();
        target.send_step(&lease, &work, ordinal).await.unwrap();
        drop(target);
        // Finds that out, and goes on.
        let (mut target, mut lease) = successor(&world, number + 2).await;
        assert_eq!(settled(&mut target, &lease, &work).await, Settled::TookEffect);
        target.close_step(&mut lease, &work, ordinal, StepState::Done).await.unwrap();
        number += 3;
    }
    assert_eq!(state(&mut world.target().await).await, Some(EntryState::Applied));
    let table = if world.product == Product::Mysql { "one" } else { "two" };
    assert_eq!(world.sql(&format!("SELECT count(n) FROM {table}")).await, "0");
}

/// On MySQL a table's alteration is a step of its own, known by the column that it names.
fn second_definition(world: &World) -> dunlin_model::Statement {
    if world.product != Product::Mysql {
        return definition(world, "CREATE TABLE two (n integer)", "two");
    }
    let mut alter = definition(world, "ALTER TABLE one ADD COLUMN n integer", "one");
    let (kind, name) = (TraceKind::Column, "n".to_owned());
    alter.facts.traces.push(Trace { kind, name, after: After::There });
    alter
}

pub(super) async fn a_step_that_cannot_be_known_is_said_so(world: World) {
    world.sql(TABLE).await;
    drop(world.with_ledger().await);
    let restart = Restart::Unknowable { reason: "it commits inside".to_owned() };
    let statement = statement_with("INSERT INTO t VALUES (1, 1)", restart);
    let work = work_of(data_version(1), vec![statement]);
    let (mut target, mut lease) = successor(&world, 1).await;
    if world.product == Product::Pgbouncer {
        // Nobody could end its session there, so that it might come late.
        let error = target.open_step(&mut lease, &work, 0, None).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{error:?}");
        return;
    }
    target.open_step(&mut lease, &work, 0, None).await.unwrap();
    target.send_step(&lease, &work, 0).await.unwrap();
    drop(target);
    let (mut target, lease) = successor(&world, 2).await;
    match settled(&mut target, &lease, &work).await {
        Settled::Unknown { evidence } => assert!(!evidence.is_empty()),
        guess => panic!("it guessed: {guess:?}"),
    }
}

pub(super) async fn settling_ends_the_old_statement(world: World) {
    world.sql(TABLE).await;
    let mut first = world.with_ledger().await;
    let mut lease = granted(&mut first, &owner(1), LONG).await;
    let mut statement = definition(&world, &world.endless("orphaned"), "t");
    // As which it may go through a pooler.
    statement.facts.verb = "CREATE TABLE".to_owned();
    let work = work_of(data_version(1), vec![statement]);
    first.open_step(&mut lease, &work, 0, None).await.unwrap();
    tokio::select! {
        outcome = first.send_step(&lease, &work, 0) => panic!("{outcome:?}"),
        () = world.until_at_work("orphaned") => {}
    }
    // The client is gone; its statement runs on.
    drop(first);
    let (mut second, lease) = successor(&world, 2).await;
    assert_eq!(settled(&mut second, &lease, &work).await, Settled::DidNot);
    let still = match world.product {
        Product::Mysql => {
            "SELECT count(*) FROM information_schema.processlist \
             WHERE db = DATABASE() AND info LIKE '%SLEEP(900)%orphaned%' \
             AND id <> CONNECTION_ID()"
        }
        _ => {
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND query LIKE '%pg_sleep%orphaned%' AND state = 'active' \
             AND pid <> pg_backend_pid()"
        }
    };
    assert_eq!(world.sql(still).await, "0", "the old statement still runs");
}

pub(super) async fn a_repeatable_step_is_settled_as_not_run(world: World) {
    world.sql(TABLE).await;
    drop(world.with_ledger().await);
    let text = match world.product {
        Product::Mysql => "ANALYZE TABLE t",
        _ => "ANALYZE t",
    };
    let work = work_of(data_version(1), vec![statement_with(text, Restart::Repeatable)]);
    let (mut target, mut lease) = successor(&world, 1).await;
    target.open_step(&mut lease, &work, 0, None).await.unwrap();
    target.send_step(&lease, &work, 0).await.unwrap();
    drop(target);
    let (mut target, mut lease) = successor(&world, 2).await;
    assert_eq!(settled(&mut target, &lease, &work).await, Settled::DidNot);
    target.open_step(&mut lease, &work, 0, None).await.unwrap();
    target.send_step(&lease, &work, 0).await.unwrap();
    target.close_step(&mut lease, &work, 0, StepState::Done).await.unwrap();
    assert_eq!(state(&mut target).await, Some(EntryState::Applied));
}

pub(super) async fn steps_are_fenced(world: World) {
    world.sql(TABLE).await;
    let mut first = world.with_ledger().await;
    let mut second = world.target().await;
    let work = data_work(1, &["INSERT INTO t VALUES (1, 1)"]);
    let mut old = granted(&mut first, &owner(1), SHORT).await;
    first.open_step(&mut old, &work, 0, None).await.unwrap();
    granted_after_expiry(&mut second, &owner(2), LONG).await;
    let errors = [
        first.open_step(&mut old, &work, 0, None).await.unwrap_err(),
        first.close_step(&mut old, &work, 0, StepState::Done).await.unwrap_err(),
        first.commit_step(&mut old, &work, 0, None).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
    }
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "0");
    assert_eq!(state(&mut second).await, Some(EntryState::Running));
}

pub(super) async fn another_pass_has_steps_of_its_own(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let mut work = data_work(1, &[]);
    target.open_step(&mut lease, &work, 0, None).await.unwrap();
    target.close_step(&mut lease, &work, 0, StepState::Done).await.unwrap();
    work.entry.pass = 2;
    target.open_step(&mut lease, &work, 0, None).await.unwrap();
    let open = steps(&mut target).await;
    let [step] = &open[..] else { panic!("{open:?}") };
    assert_eq!((step.pass, step.state), (2, StepState::Open));
    let view = ledger(&mut target).await;
    assert_eq!(view.entries[&data_version(1)].pass, 2);
    assert_eq!(view.state(data_version(1)), Some(EntryState::Running));
    target.close_step(&mut lease, &work, 0, StepState::Done).await.unwrap();
    assert!(steps(&mut target).await.is_empty());
}
