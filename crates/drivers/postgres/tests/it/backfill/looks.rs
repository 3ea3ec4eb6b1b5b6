//! Looking at tables, transactions and the server's health.

use dunlin_engine::{Connector, Purpose};
use dunlin_model::{KeyRange, TableKind, ValueForm};

use super::plan::{key, planned};
use crate::world::{World, connector, with_login};

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_told_as_the_catalogue_has_it() {
    let world = World::new("looks_table").await;
    world
        .sql(
            "CREATE SCHEMA app; CREATE DOMAIN app.amount AS integer; CREATE TABLE app.\"Posts\" (\
             a integer NOT NULL, b app.amount, c bytea, g integer GENERATED ALWAYS AS (a + 1) STORED, \
             i bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY); \
             CREATE UNIQUE INDEX part ON app.\"Posts\" (a) WHERE a > 0; \
             CREATE INDEX expr ON app.\"Posts\" ((a + 1), b DESC); \
             CREATE INDEX hashed ON app.\"Posts\" USING hash (a); \
             ALTER TABLE app.\"Posts\" ADD CONSTRAINT late UNIQUE (a) DEFERRABLE; \
             INSERT INTO app.\"Posts\" (a) SELECT generate_series(1, 1000); ANALYZE app.\"Posts\"; \
             CREATE VIEW v AS SELECT 1 AS one",
        )
        .await;
    let mut target = world.target().await;
    assert_eq!(target.table("posts").await, Ok(None));
    let table = target.table("app.\"Posts\"").await.expect("a look").expect("a table");
    assert_eq!((table.name.as_str(), table.kind), ("app.\"Posts\"", TableKind::Table));
    assert_eq!(table.row_count_estimate, Some(1000));
    let forms: Vec<_> = table.columns.iter().map(|c| (c.form, c.nullable, c.generated)).collect();
    assert_eq!(
        forms,
        [
            (ValueForm::Integer, false, false),
            (ValueForm::Integer, true, false),
            (ValueForm::Bytes, true, false),
            (ValueForm::Integer, true, true),
            (ValueForm::Text, false, true)
        ]
    );
    assert_eq!(table.columns[1].type_name, "app.amount");
    let unusable: Vec<_> =
        table.indexes.iter().map(|i| (i.name.as_str(), i.unusable.is_some())).collect();
    assert_eq!(
        unusable,
        [("Posts_pkey", false), ("late", true), ("part", true), ("expr", false), ("hashed", true)]
    );
    assert_eq!(table.indexes[3].columns[0].name, None);
    assert!(table.indexes[3].columns[1].descending && table.indexes[0].primary);
    assert_eq!(target.table("v").await.expect("a look").expect("a view").kind, TableKind::View);
    assert!(target.table("a.b.c.d").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_security_hides_rows_from_those_that_it_applies_to() {
    let world = World::new("looks_security").await;
    let role = "looks_security_role";
    world
        .sql(&format!(
            "CREATE TABLE t (id integer PRIMARY KEY); ALTER TABLE t ENABLE ROW LEVEL SECURITY; \
             CREATE ROLE {role} LOGIN PASSWORD 'pw'; GRANT SELECT ON t TO {role}"
        ))
        .await;
    assert!(!world.target().await.table("t").await.expect("a look").expect("t").hides_rows);
    let other = connector(&with_login(world.url(), role, "pw"));
    let mut target = other.connect(Purpose::Look).await.expect("a connection");
    assert!(target.table("t").await.expect("a look").expect("t").hides_rows);
    let work = planned(&mut target, "t", None, &[]).await;
    let health = target.health(&work).await.expect("health");
    assert!(health.absent.iter().any(|a| a.help.contains("GRANT pg_read_all_stats")));
    drop(target);
    world.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_waits_for_who_was_at_work() {
    let world = World::new("looks_barrier").await;
    world.sql("CREATE TABLE t (id integer PRIMARY KEY)").await;
    let mut target = world.target().await;
    let writer = world.bystander().await;
    writer
        .batch_execute("SET application_name = 'importer'; BEGIN; INSERT INTO t VALUES (1)")
        .await
        .expect("a transaction");
    let barrier = target.barrier().await.expect("a look").expect("a barrier");
    let behind = target.behind(&barrier).await.expect("a look");
    assert!(behind.iter().any(|line| line.contains("application importer")), "{behind:?}");
    let later = world.bystander().await;
    later
        .batch_execute("SET application_name = 'later'; BEGIN; INSERT INTO t VALUES (2)")
        .await
        .expect("another");
    let behind = target.behind(&barrier).await.expect("a look");
    assert!(!behind.iter().any(|line| line.contains("later")), "{behind:?}");
    writer.batch_execute("COMMIT").await.expect("the end of it");
    assert_eq!(target.behind(&barrier).await, Ok(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_that_read_too_much_are_complained_about() {
    let world = World::new("looks_explain").await;
    world
        .sql(
            "CREATE TABLE t (id integer PRIMARY KEY, v integer); CREATE TABLE log (id integer); \
             INSERT INTO t SELECT g, g FROM generate_series(1, 5000) AS g; ANALYZE t",
        )
        .await;
    let mut target = world.target().await;
    for (text, fine) in [
        ("UPDATE t SET v = 1 WHERE :chunk", true),
        ("UPDATE t AS p SET v = l.id FROM log l WHERE l.id = p.v AND :chunk(p)", true),
        ("INSERT INTO log SELECT id FROM t WHERE :chunk", true),
        ("UPDATE t SET v = 1 WHERE :chunk OR v = 7", false),
        ("UPDATE t SET v = 1 WHERE NOT (:chunk)", false),
    ] {
        let work = planned(&mut target, "t", None, &[text]).await;
        let access = target.explain(&work).await.expect("a plan");
        assert_eq!(access[0].complaint, None, "{access:?}");
        assert_eq!(access[1].complaint.is_none(), fine, "{text}: {access:?}");
        assert!(!fine || access[1].index.as_deref() == Some("t_pkey"), "{access:?}");
    }
    let work = planned(&mut target, "t", None, &["UPDATE t SET v = 1 WHERE :chunk"]).await;
    let estimate = target.estimate(&work, &dunlin_model::Bound::Start, &key(&["2500"])).await;
    let estimate = estimate.expect("an estimate").expect("statistics");
    assert!((2000..3000).contains(&estimate), "{estimate}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_as_a_whole_is_not_waited_for_without_end() {
    let world = World::new("looks_locked").await;
    world
        .sql(
            "CREATE TABLE t (id integer PRIMARY KEY, v integer); \
             INSERT INTO t SELECT g, g FROM generate_series(1, 100) AS g",
        )
        .await;
    let mut target = world.target().await;
    let mut work = planned(&mut target, "t", None, &["UPDATE t SET v = 1 WHERE :chunk"]).await;
    work.lock_timeout = std::time::Duration::from_millis(50);
    let (start, hi) = (dunlin_model::Bound::Start, key(&["100"]));
    target.walk(&work, &start, &hi, 10, 10).await.expect("a walk");
    let other = world.bystander().await;
    other.batch_execute("BEGIN; LOCK TABLE t").await.expect("a lock");
    let refused = target.walk(&work, &start, &hi, 10, 10).await.expect_err("no walk");
    assert_eq!(refused.kind, dunlin_engine::ErrorKind::LockTimeout);
    let refused = target.estimate(&work, &start, &hi).await.expect_err("no estimate");
    assert_eq!(refused.kind, dunlin_engine::ErrorKind::LockTimeout);
    other.batch_execute("COMMIT").await.expect("the end of it");
    target.walk(&work, &start, &hi, 10, 10).await.expect("a walk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_tells_and_leaves_nothing() {
    let world = World::new("looks_rehearsal").await;
    world
        .sql(
            "CREATE TABLE t (id integer PRIMARY KEY, v integer) WITH (fillfactor = 50); \
             INSERT INTO t SELECT g, g FROM generate_series(1, 100) AS g; \
             CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
        )
        .await;
    let mut target = world.target().await;
    let work = planned(&mut target, "t", None, &["UPDATE t SET v = 0 WHERE :chunk"]).await;
    let range = KeyRange::Between { after: dunlin_model::Bound::Start, upto: key(&["10"]) };
    let told = target.rehearse_chunk(&work, &range).await.expect("a rehearsal");
    assert_eq!(told.rows, [Some(10)]);
    assert_eq!(told.triggers, ["touch on t: 10 times"]);
    assert!(told.locks.iter().any(|lock| lock == "RowExclusiveLock on t"), "{:?}", told.locks);
    assert!(told.log_bytes.is_some_and(|bytes| bytes > 0));
    assert_eq!(told.hot_ratio, Some(1.0));
    assert_eq!(world.sql("SELECT count(*) FROM t WHERE v = 0").await, "0");
    assert!(target.holds("SELECT count(*) = 100 FROM t").await.expect("a query"));
    assert!(target.holds("SELECT 1; DROP TABLE t").await.is_err());
    assert!(target.holds("INSERT INTO t VALUES (0) RETURNING true").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_loads_and_who_waits_for_us() {
    let world = World::new("looks_health").await;
    world.sql("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50000); ANALYZE t; DELETE FROM t WHERE id % 3 > 0").await;
    let mut target = world.target().await;
    let work = planned(&mut target, "t", None, &["DELETE FROM t WHERE :chunk"]).await;
    let ours = world.bystander().await;
    ours.batch_execute("SET application_name = 'dunlin/data/7/1'; BEGIN; LOCK TABLE t")
        .await
        .expect("a lock");
    let other = world.bystander().await;
    let (waiting, health) = tokio::join!(other.batch_execute("SELECT count(*) FROM t"), async {
        world
            .until(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass",
                "1",
            )
            .await;
        let health = target.health(&work).await.expect("health");
        ours.batch_execute("ROLLBACK").await.expect("the end of it");
        health
    });
    waiting.expect("it goes on");
    let load = |name: &str| health.signals.iter().find(|s| s.name == name).map(|s| s.load);
    assert_eq!(load("lock waits"), Some(0.5), "{health:?}");
    assert!(load("active sessions").is_some() && load("oldest transaction").is_some());
    assert_eq!(health.absent, []);
    let again = target.health(&work).await.expect("health");
    assert!(again.signals.iter().any(|s| s.name == "log a second"), "{again:?}");
    assert!(again.signals.iter().all(|s| s.load.is_finite()));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_rows_weigh_against_the_catalogues_estimate_where_statistics_were_lost() {
    let world = World::new("looks_lost_statistics").await;
    world
        .sql("CREATE TABLE t (id integer PRIMARY KEY, v integer); INSERT INTO t SELECT generate_series(1, 50000)")
        .await;
    let counted = |column: &str| {
        format!("SELECT {column} FROM pg_stat_user_tables WHERE relid = 't'::regclass")
    };
    world.until(&counted("n_live_tup"), "50000").await;
    // As after a crash, a failover, or in a copy of a database.
    world.sql("ANALYZE t").await;
    world.sql("SELECT pg_stat_reset_single_table_counters('t'::regclass)").await;
    world.sql("UPDATE t SET v = 1").await;
    world.until(&counted("n_dead_tup"), "50000").await;
    assert_eq!(world.sql(&counted("n_live_tup")).await, "0");
    let mut target = world.target().await;
    let work = planned(&mut target, "t", None, &["UPDATE t SET v = 1 WHERE :chunk"]).await;
    let health = target.health(&work).await.expect("health");
    let dead = health.signals.iter().find(|s| s.name == "dead rows").map(|s| s.load);
    assert_eq!(dead, Some(0.25), "{health:?}");
}
