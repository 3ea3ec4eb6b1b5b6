//! Logins without rights, servers that take no writes, and what they are told.

use std::time::Duration;

use dunlin_engine::{Claim, Connector, ErrorKind, Purpose, ReadRequest, Settled};
use dunlin_model::{EntryState, Resource, StepState};
use dunlin_postgres::PostgresConnector;
use dunlin_testkit::conformance::{data_work, owner, statement};

use crate::world::{LONG, World, claimed, id, ledger, outside, setting, work};

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_not_create_a_schema_is_told_what_to_run() {
    let world = World::new("login_no_create").await;
    let poor = world.login("login_poor").await;
    let mut target = poor.connect(Purpose::Run).await.expect("a connection");
    let error = target.create_ledger("id").await.expect_err("no right to");
    assert_eq!(error.kind, ErrorKind::Permission);
    let help = error.help.expect("help");
    let command = "CREATE SCHEMA dunlin AUTHORIZATION \"login_poor\";";
    assert!(help.contains(command), "{help}");
    world.sql(command).await;
    target.create_ledger("id").await.expect("now it may");
    drop(target);
    world.sql("DROP OWNED BY login_poor; DROP ROLE login_poor").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_which_grant_it_needs_and_needs_no_more() {
    let world = World::new("login_reader").await;
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    target.commit(&mut lease, &data_work(1, &["SELECT 1"])).await.expect("a migration");
    let reader = world.login("login_reader").await;
    let mut looking = reader.connect(Purpose::Look).await.expect("a connection");
    assert!(looking.probe(&[]).await.expect("facts").ledger, "it is seen without any right");
    let request = ReadRequest { ledger: true, foreign: None };
    let error = looking.read(&request).await.expect_err("no right to");
    assert_eq!(error.kind, ErrorKind::Permission);
    let help = error.help.expect("help");
    let grants = help.split_once(": ").expect("who, then what").1;
    world.sql(grants).await;
    let view = looking.read(&request).await.expect("now it may").ledger;
    assert_eq!(view.entries.len(), 1);

    let error = looking.claim(&Resource::Schema, &owner(2), LONG, None).await;
    let error = error.expect_err("it may not write");
    assert_eq!(error.kind, ErrorKind::Permission);
    assert!(error.help.expect("help").contains("GRANT SELECT, INSERT, UPDATE, DELETE"));
    drop(looking);
    world.sql("DROP OWNED BY login_reader; DROP ROLE login_reader").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_is_named_so() {
    let world = World::new("login_read_only").await;
    drop(world.with_ledger().await);
    let name = world.name();
    world.sql(&format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on")).await;
    let mut target = world.target().await;
    assert!(target.probe(&[]).await.expect("facts").server.read_only.is_some());
    let claim = target.claim(&Resource::Schema, &owner(1), LONG, None).await;
    assert_eq!(claim.expect_err("no writes").kind, ErrorKind::ReadOnly);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_transaction_that_hangs_is_ended_by_the_next_owner() {
    let world = World::new("login_takeover").await;
    world.sql("CREATE TABLE t (n integer); INSERT INTO t VALUES (1)").await;
    let mut first = world.with_ledger().await;
    let mut lease = claimed(&mut first, 1).await;
    // It has passed its fence and hangs in the file's statement, holding its row.
    let hanging = data_work(1, &["UPDATE t SET n = n + 1", "SELECT pg_sleep(600)"]);
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' \
         AND pid <> pg_backend_pid() AND datname = current_database()";
    let hung = tokio::spawn(async move {
        let outcome = first.commit(&mut lease, &hanging).await;
        (outcome, first, lease)
    });
    world.until(asleep, "1").await;
    let mut second = world.target().await;
    let mut lease = claimed(&mut second, 2).await;
    let (outcome, _, _) = hung.await.expect("a result");
    assert_eq!(outcome.expect_err("ended").kind, ErrorKind::Lost);
    second.commit(&mut lease, &data_work(1, &["UPDATE t SET n = n + 1"])).await.expect("ours");
    assert_eq!(world.sql("SELECT n FROM t").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_login_can_do_everything() {
    let world = World::new("login_plain").await;
    let plain = world.login("login_plain").await;
    let name = world.name();
    world
        .sql(&format!(
            "CREATE ROLE login_team; GRANT login_team TO login_plain; \
             GRANT CREATE ON DATABASE \"{name}\" TO login_plain; \
             CREATE SCHEMA app AUTHORIZATION login_team; \
             ALTER ROLE login_plain SET search_path = app"
        ))
        .await;
    let mut target = plain.connect(Purpose::Run).await.expect("a connection");
    target.create_ledger("id").await.expect("a ledger");
    let mut lease = claimed(&mut target, 1).await;
    let as_team =
        work(1, vec![setting("SET ROLE login_team"), statement("CREATE TABLE t (a int)")]);
    target.commit(&mut lease, &as_team).await.expect("as the team");
    let owner = "SELECT tableowner FROM pg_tables WHERE schemaname = 'app'";
    assert_eq!(world.sql(owner).await, "login_team");
    let index = outside("CREATE INDEX", "CREATE INDEX CONCURRENTLY i ON t (a)", "t");
    let steps = work(2, vec![setting("SET ROLE login_team"), index, statement("DELETE FROM t")]);
    target.commit_step(&mut lease, &steps, 0, None).await.expect("the role");
    target.open_step(&mut lease, &steps, 1, None).await.expect("journal, as the login");
    drop(target);
    let mut target = plain.connect(Purpose::Run).await.expect("a connection");
    let mut lease = claimed(&mut target, 2).await;
    let open = ledger(&mut target).await.steps;
    let settled = target.settle_step(&lease, &steps, &open[1]).await.expect("an answer");
    assert_eq!(settled, Settled::DidNot);
    target.open_step(&mut lease, &steps, 1, None).await.expect("journal");
    target.send_step(&lease, &steps, 1).await.expect("the index, as the team");
    target.close_step(&mut lease, &steps, 1, StepState::Done).await.expect("journal");
    target.commit_step(&mut lease, &steps, 2, None).await.expect("the last, as the team");
    assert_eq!(ledger(&mut target).await.state(id(2)), Some(EntryState::Applied));
    drop(target);
    world
        .sql("DROP OWNED BY login_plain, login_team; DROP ROLE login_plain; DROP ROLE login_team")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serializable_database_makes_no_difference_to_claims() {
    let world = World::new("login_serializable").await;
    drop(world.with_ledger().await);
    let name = world.name();
    let default = "default_transaction_isolation = 'serializable'";
    world.sql(&format!("ALTER DATABASE \"{name}\" SET {default}")).await;
    let claims = (1..=8).map(|number| {
        let connector = world.connector.clone();
        tokio::spawn(async move {
            let mut target = connector.connect(Purpose::Run).await.expect("a connection");
            target.claim(&Resource::Schema, &owner(number), LONG, None).await.expect("an answer")
        })
    });
    let mut granted = 0;
    for claim in claims.collect::<Vec<_>>() {
        granted += usize::from(matches!(claim.await.expect("a result"), Claim::Granted(_)));
    }
    assert_eq!(granted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_use_is_not_dropped() {
    let world = World::new("login_in_use").await;
    let user = world.bystander().await;
    let error = world.connector.drop_database().await.expect_err("somebody is there");
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.notes.iter().any(|note| note.contains("connected: pid")), "{error:?}");
    drop(user);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_there_is_named() {
    let timeout = Duration::from_secs(5);
    for (url, part) in [
        ("postgres://u:hunter2@no-such-host.invalid/db", "no-such-host.invalid"),
        ("postgres://u:hunter2@/db?host=/no/such/folder", "/no/such/folder/.s.PGSQL.5432"),
    ] {
        let connector = PostgresConnector::new(url, None, timeout).expect("a URL");
        let Err(error) = connector.connect(Purpose::Look).await else { panic!("{url} answered") };
        assert_eq!(error.kind, ErrorKind::Unreachable);
        let all = format!("{error:?}");
        assert!(all.contains(part) && !all.contains("hunter2"), "{all}");
    }
}
