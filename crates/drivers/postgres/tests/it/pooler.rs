//! Behind pgbouncer in transaction mode: nothing leaks to its other clients.

use dunlin_engine::{Connector, ErrorKind, Purpose};
use dunlin_model::{Restart, StepState};
use dunlin_testkit::conformance::{data_work, statement};

use crate::world::{World, claimed, outside, setting, work};

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_is_known_and_a_server_is_not_taken_for_one() {
    let pooled = World::behind_pgbouncer("pooler_known").await;
    assert!(pooled.target().await.probe(&[]).await.expect("facts").server.pooled);
    let direct = World::new("pooler_unknown").await;
    assert!(!direct.target().await.probe(&[]).await.expect("facts").server.pooled);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_file_do_not_reach_other_clients() {
    let world = World::behind_pgbouncer("pooler_settings").await;
    world.sql("CREATE SCHEMA app; CREATE TABLE app.t (n integer)").await;
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    let file = work(
        1,
        vec![
            setting("SET search_path = app"),
            setting("SET statement_timeout = '7s'"),
            statement("INSERT INTO t VALUES (1)"),
            statement("SELECT set_config('work_mem', '123kB', false)"),
        ],
    );
    target.commit(&mut lease, &file).await.expect("the file");
    assert_eq!(world.sql("SELECT count(*) FROM app.t").await, "1");
    // The pool has one server connection by now; whoever comes next gets it.
    let mut next = world.connector.connect(Purpose::Run).await.expect("a connection");
    let look = data_work(
        2,
        &[
            "CREATE TABLE public.seen AS SELECT current_setting('search_path') LIKE '%app%' AS path, \
           current_setting('work_mem') <> '123kB' AS memory",
        ],
    );
    let counts = next.rehearse(&look).await.expect("a rehearsal");
    assert_eq!(counts.len(), 1);
    target.commit(&mut lease, &look).await.expect("a look");
    assert_eq!(world.sql("SELECT * FROM public.seen").await, "f|t");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_the_server_itself_is_refused_with_the_way_out() {
    let world = World::behind_pgbouncer("pooler_refused").await;
    let mut target = world.with_ledger().await;
    let mut copy = statement("COPY t FROM stdin");
    copy.copy_data = Some(String::new());
    let index = outside("CREATE INDEX", "CREATE INDEX CONCURRENTLY i ON t (a)", "t");
    for refused in
        [work(1, vec![copy]), work(1, vec![setting("SET search_path = app"), index.clone()])]
    {
        let error = target.preflight(&refused).await.expect_err("it needs the server");
        assert_eq!((error.kind, error.statement), (ErrorKind::Refused, Some(0)));
        assert!(error.help.expect("help").contains("direct_url"));
    }
    world.sql("CREATE TABLE t (a integer)").await;
    let work = work(1, vec![index]);
    target.preflight(&work).await.expect("an index alone can be built");
    let mut lease = claimed(&mut target, 1).await;
    target.open_step(&mut lease, &work, 0, None).await.expect("journal");
    target.send_step(&lease, &work, 0).await.expect("the index");
    target.close_step(&mut lease, &work, 0, StepState::Done).await.expect("journal");
    assert_eq!(world.sql("SELECT count(*) FROM pg_indexes WHERE indexname = 'i'").await, "1");
}

/// What a runner that was stopped would send late, through a session that nobody can end.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_does_harm_when_it_comes_late_is_refused_before_the_first() {
    let world = World::behind_pgbouncer("pooler_late").await;
    world.sql("CREATE TABLE t (a integer); CREATE INDEX i ON t (a)").await;
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    let drop = outside("DROP INDEX", "DROP INDEX CONCURRENTLY i", "t");
    let mut call = statement("CALL p()");
    call.facts.restart = Restart::Unknowable { reason: "it may commit".to_owned() };
    for harmful in [drop, call] {
        let file = work(1, vec![statement("INSERT INTO t VALUES (1)"), harmful]);
        let commits = lease.commits;
        let error = target.commit_step(&mut lease, &file, 0, None).await.expect_err("refused");
        assert_eq!((error.kind, error.statement), (ErrorKind::Refused, Some(1)), "{error:?}");
        assert!(error.help.expect("help").contains("direct_url"));
        let error = target.open_step(&mut lease, &file, 1, None).await.expect_err("refused");
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(lease.commits, commits);
    }
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "0");
}
