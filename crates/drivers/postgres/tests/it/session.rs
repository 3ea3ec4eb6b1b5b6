//! What files do to their session, COPY, and constraints that are checked late.

use dunlin_engine::{Connector, ErrorKind, Purpose};
use dunlin_model::{EntryState, StepState};
use dunlin_testkit::conformance::{data_work, statement};

use crate::world::{World, claimed, connector, id, ledger, outside, setting, with_login, work};

/// One transaction that does to its session whatever it can.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_file_reaches_the_next_one() {
    let world = World::new("session_nothing_leaks").await;
    world.sql("CREATE SCHEMA app; CREATE TABLE app.t (n integer)").await;
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    let nasty = data_work(
        1,
        &[
            "CREATE TEMPORARY TABLE leak (n integer)",
            "SELECT pg_catalog.set_config('search_path', 'app', false)",
            "SET standard_conforming_strings = off",
            "SET client_encoding = 'LATIN1'",
            "SET application_name = 'mine'",
            "PREPARE leaked AS SELECT 1",
            "SELECT pg_advisory_lock(77)",
            "CREATE ROLE session_nobody",
            "GRANT ALL ON SCHEMA app TO session_nobody",
            "GRANT ALL ON app.t TO session_nobody",
            "SET ROLE session_nobody",
            "INSERT INTO t VALUES (1)",
        ],
    );
    target.commit(&mut lease, &nasty).await.expect("the nasty file");
    let innocent = data_work(
        2,
        &["CREATE TABLE proof AS SELECT current_setting('search_path') LIKE '%app%' AS path, \
             current_setting('standard_conforming_strings') AS strings, \
             current_user = session_user AS login, to_regclass('leak') IS NULL AS no_temp, \
             (SELECT count(*) FROM pg_prepared_statements) AS prepared, \
             (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) \
             AS locks"],
    );
    target.commit(&mut lease, &innocent).await.expect("the next file");
    let proof = world.sql("SELECT * FROM public.proof").await;
    assert_eq!(proof, "f|on|t|t|0|0");
    assert_eq!(world.sql("SELECT count(*) FROM app.t").await, "1");
    world.sql("DROP OWNED BY session_nobody; DROP ROLE session_nobody").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_holds_for_the_steps_that_follow_also_in_another_session() {
    let world = World::new("session_steps").await;
    world.sql("CREATE SCHEMA app; CREATE TABLE app.t (a integer)").await;
    let work = work(
        1,
        vec![
            setting("SET search_path = app"),
            outside("CREATE INDEX", "CREATE INDEX CONCURRENTLY one ON t (a)", "t"),
            outside("CREATE INDEX", "CREATE INDEX CONCURRENTLY two ON t (a)", "t"),
        ],
    );
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    target.commit_step(&mut lease, &work, 0, None).await.expect("the setting");
    target.open_step(&mut lease, &work, 1, None).await.expect("journal");
    target.send_step(&lease, &work, 1).await.expect("the first index");
    target.close_step(&mut lease, &work, 1, StepState::Done).await.expect("journal");
    drop(target);
    let mut target = world.target().await;
    let mut lease = claimed(&mut target, 2).await;
    target.open_step(&mut lease, &work, 2, None).await.expect("journal");
    target.send_step(&lease, &work, 2).await.expect("the second index");
    target.close_step(&mut lease, &work, 2, StepState::Done).await.expect("journal");
    let view = ledger(&mut target).await;
    assert_eq!(view.state(id(1)), Some(EntryState::Applied));
    assert!(view.steps.is_empty());
    let indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'app'";
    assert_eq!(world.sql(indexes).await, "2");
    // The next file starts afresh.
    let next = data_work(
        2,
        &["CREATE TABLE here AS SELECT current_setting('search_path') LIKE '%app%' AS p"],
    );
    target.commit(&mut lease, &next).await.expect("the next file");
    assert_eq!(world.sql("SELECT p FROM public.here").await, "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_data_is_loaded_among_other_statements() {
    let world = World::new("session_copy").await;
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    let mut copy = statement("COPY t (n, v) FROM stdin");
    let lines: Vec<String> = (1..=20_000).map(|n| format!("{n}\tvalue \\\\ {n}\n")).collect();
    copy.copy_data = Some(lines.concat());
    let load = work(
        1,
        vec![
            statement("CREATE TABLE t (n integer, v text)"),
            copy.clone(),
            statement("UPDATE t SET n = n + 1"),
        ],
    );
    let counts = target.commit(&mut lease, &load).await.expect("the load");
    assert_eq!(counts, [None, Some(20_000), Some(20_000)]);
    assert_eq!(world.sql("SELECT v FROM t WHERE n = 2").await, "value \\ 1");

    copy.copy_data = Some("1\tgood\nsecret\tbad\n".to_owned());
    let bad = work(2, vec![statement("DELETE FROM t"), copy]);
    let error = target.commit(&mut lease, &bad).await.expect_err("a row that is no number");
    assert_eq!((error.kind, error.statement), (ErrorKind::Statement, Some(1)));
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    assert!(error.notes.iter().any(|note| note.contains("COPY t, line 2")), "{error:?}");
    assert_eq!(world.sql("SELECT count(*) FROM t").await, "20000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_constraint_fails_the_whole_migration() {
    let world = World::new("session_deferred").await;
    world
        .sql(
            "CREATE TABLE parent (id integer PRIMARY KEY); CREATE TABLE child (parent integer \
             REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        )
        .await;
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    let orphan = data_work(1, &["INSERT INTO child VALUES (4711)"]);
    let error = target.commit(&mut lease, &orphan).await.expect_err("an orphan");
    assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Statement, Some("23503")));
    assert!(error.notes.iter().any(|note| note.contains("deferred")), "{error:?}");
    assert!(!format!("{error:?}").contains("4711"), "a value: {error:?}");
    let fine = data_work(1, &["INSERT INTO child VALUES (1)", "INSERT INTO parent VALUES (1)"]);
    assert_eq!(target.commit(&mut lease, &fine).await, Ok(vec![Some(1), Some(1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_shows_where_and_what_next() {
    let world = World::new("session_error").await;
    world.sql("CREATE TABLE posts (title text)").await;
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    let wrong = data_work(1, &["SELECT 1", "UPDATE posts SET ttitle = 'ä'"]);
    let error = target.commit(&mut lease, &wrong).await.expect_err("no such column");
    assert_eq!((error.statement, error.offset), (Some(1), Some(17)), "{error:?}");
    assert_eq!(error.code.as_deref(), Some("42703"));

    for text in ["COMMIT", "COPY posts TO STDOUT", "COPY posts FROM STDIN"] {
        let mut refused = data_work(1, &["SELECT 1", text]);
        if text == "COMMIT" {
            refused.statements[1].facts.control = Some(dunlin_model::Control::Commit);
        }
        let error = target.commit(&mut lease, &refused).await.expect_err(text);
        assert_eq!((error.kind, error.statement), (ErrorKind::Refused, Some(1)), "{text}");
    }
    // The connection is none the worse for it.
    let fine = data_work(1, &["UPDATE posts SET title = 'ä'"]);
    assert_eq!(target.commit(&mut lease, &fine).await, Ok(vec![Some(0)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_timeout_is_named_so() {
    let world = World::new("session_statement_timeout").await;
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, 1).await;
    let mut slow = data_work(1, &["SELECT pg_sleep(60)"]);
    slow.statement_timeout = Some(std::time::Duration::from_millis(50));
    let error = target.commit(&mut lease, &slow).await.expect_err("too slow");
    assert_eq!((error.kind, error.statement), (ErrorKind::StatementTimeout, Some(0)));
    assert!(error.help.is_some());
}

/// A deploy's login may well be named like the tool, and `"$user"` comes first on the search path.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_our_name_keeps_its_tables_apart_from_ours() {
    let world = World::new("session_own_name").await;
    let name = world.name();
    world
        .sql(&format!(
            "CREATE ROLE dunlin LOGIN SUPERUSER PASSWORD 'pw'; ALTER DATABASE \"{name}\" OWNER TO \
             dunlin"
        ))
        .await;
    let connector = connector(&with_login(world.url(), "dunlin", "pw"));
    let mut target = connector.connect(Purpose::Run).await.expect("a connection");
    target.create_ledger("id").await.expect("a ledger");
    let mut lease = claimed(&mut target, 1).await;
    let file =
        data_work(1, &["CREATE TABLE history (n integer)", "INSERT INTO history VALUES (1)"]);
    assert_eq!(target.commit(&mut lease, &file).await, Ok(vec![None, Some(1)]));
    assert_eq!(world.sql("SELECT count(*) FROM public.history").await, "1");
    assert_eq!(target.probe(&["history"]).await.expect("facts").tables[0].table, "public.history");
    let index = outside("CREATE INDEX", "CREATE INDEX CONCURRENTLY i ON history (n)", "history");
    let steps = work(2, vec![index]);
    target.open_step(&mut lease, &steps, 0, None).await.expect("journal");
    target.send_step(&lease, &steps, 0).await.expect("the index");
    target.close_step(&mut lease, &steps, 0, StepState::Done).await.expect("journal");
    let table = "SELECT tablename FROM pg_indexes WHERE indexname = 'i' AND schemaname = 'public'";
    assert_eq!(world.sql(table).await, "history");
    drop(target);
    let give_back =
        "REASSIGN OWNED BY dunlin TO CURRENT_USER; DROP OWNED BY dunlin; DROP ROLE dunlin";
    world.sql(give_back).await;
}
