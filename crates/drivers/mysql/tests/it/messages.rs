//! What a person reads when something is wrong.

use std::time::Duration;

use dunlin_engine::{Connector as _, ErrorKind, Purpose};
use dunlin_model::{Verb, Write};
use dunlin_mysql::MysqlConnector;

use crate::support::{World, claimed, dml, dml_on, owner, work};

async fn failure(url: &str) -> dunlin_engine::TargetError {
    let connector = MysqlConnector::new(url, None, &[], Duration::from_secs(10)).expect("a URL");
    let error = match connector.connect(Purpose::Look).await {
        Ok(_) => panic!("{url} connected"),
        Err(error) => error,
    };
    assert!(!format!("{error:?}{}", connector.describe()).contains("canary"), "{error:?}");
    error
}

#[tokio::test]
async fn connections_that_fail_say_why() {
    let world = World::new("connect").await;
    let url = url::Url::parse(&world.url).expect("a URL");
    let with = |change: &dyn Fn(&mut url::Url)| {
        let mut url = url.clone();
        change(&mut url);
        url.to_string()
    };
    let wrong = with(&|url| url.set_password(Some("canary")).expect("set"));
    assert_eq!(failure(&wrong).await.kind, ErrorKind::Authentication);
    let missing = with(&|url| url.set_path("dunlin_not_there"));
    assert_eq!(failure(&missing).await.kind, ErrorKind::NoSuchDatabase);
    let closed = with(&|url| url.set_port(Some(9)).expect("set"));
    assert_eq!(failure(&closed).await.kind, ErrorKind::Unreachable);
    let secrets =
        MysqlConnector::new(&wrong, None, &[], Duration::from_secs(1)).expect("a URL").secrets();
    assert_eq!(secrets, ["canary"]);
}

#[tokio::test]
async fn tls_that_is_required_and_not_had_is_refused() {
    let world = World::new("tls").await;
    if world.eyes().await.one("SELECT @@have_ssl").await == "YES" {
        return;
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let url = format!("{}?sslmode={mode}", world.url.split('?').next().expect("a URL"));
        let error = failure(&url).await;
        assert_eq!(error.kind, ErrorKind::Tls, "{error:?}");
    }
}

#[tokio::test]
async fn values_of_rows_are_not_shown() {
    let world = World::new("values").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE u (email varchar(99) UNIQUE, n int, d date)").await;
    eyes.run("INSERT INTO u VALUES ('canary''s', 1, NULL)").await;
    let mut lease = claimed(&mut target, &owner(1)).await;
    for (text, code) in [
        ("INSERT INTO u SELECT email, 2, NULL FROM u", "1062"),
        ("UPDATE u SET n = CONCAT('canary', n)", "1366"),
        ("UPDATE u SET d = CONCAT(email, '-')", "1292"),
    ] {
        let error = target.commit(&mut lease, &work(1, vec![dml(text)])).await.expect_err(text);
        assert_eq!(error.code.as_deref(), Some(code), "{text}: {error:?}");
        assert_eq!((error.kind, error.statement), (ErrorKind::Statement, Some(0)));
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    assert_eq!(eyes.one("SELECT COUNT(*) FROM u").await, "1");
}

#[tokio::test]
async fn a_syntax_error_has_its_place() {
    let world = World::new("syntax").await;
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, &owner(1)).await;
    let works = work(1, vec![dml("SELECT 1"), dml("UPDATE é\nSETT x = 1")]);
    let error = target.commit(&mut lease, &works).await.expect_err("refused");
    assert_eq!((error.statement, error.offset), (Some(1), Some(14)), "{error:?}");
}

#[tokio::test]
async fn a_lock_timeout_rolls_back_all_of_it_and_names_who_holds_the_lock() {
    let world = World::new("lock").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE n (id int primary key, v int)").await;
    eyes.run("INSERT INTO n VALUES (1, 0), (2, 0)").await;
    eyes.run("BEGIN").await;
    eyes.run("UPDATE n SET v = 7777777 WHERE id = 2").await;
    let mut lease = claimed(&mut target, &owner(1)).await;
    let mut works = work(
        1,
        vec![dml("UPDATE n SET v = 1 WHERE id = 1"), dml("UPDATE n SET v = 1 WHERE id = 2")],
    );
    works.lock_timeout = Duration::from_millis(200);
    let error = target.commit(&mut lease, &works).await.expect_err("blocked");
    assert_eq!((error.kind, error.statement), (ErrorKind::LockTimeout, Some(1)), "{error:?}");
    let blocker = format!("connection {} ", eyes.0.id());
    assert!(error.notes.iter().any(|note| note.contains(&blocker)), "{error:?}");
    assert!(!format!("{:?}", error.notes).contains("7777777"), "{error:?}");
    // 1205 ends one statement only; the first must be undone too, before anything else commits.
    assert_eq!(eyes.one("SELECT v FROM n WHERE id = 1").await, "0");
    eyes.run("ROLLBACK").await;
    target.commit(&mut lease, &works).await.expect("on the same connection");
    assert_eq!(eyes.one("SELECT SUM(v) FROM n").await, "2");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_stopped() {
    let world = World::new("slow").await;
    let mut target = world.with_ledger().await;
    let mut lease = claimed(&mut target, &owner(1)).await;
    let mut works = work(1, vec![dml("SELECT SLEEP(3000)")]);
    works.statement_timeout = Some(Duration::from_millis(100));
    let error = target.commit(&mut lease, &works).await.expect_err("stopped");
    assert_eq!((error.kind, error.statement), (ErrorKind::StatementTimeout, Some(0)), "{error:?}");
    works.statements = vec![dml("SELECT 1")];
    target.commit(&mut lease, &works).await.expect("on the same connection");
}

#[tokio::test]
async fn tables_without_transactions_are_refused() {
    let world = World::new("myisam").await;
    let mut target = world.with_ledger().await;
    world.eyes().await.run("CREATE TABLE old (n int) ENGINE = MyISAM").await;
    let works = work(1, vec![dml("SELECT 1"), dml_on("INSERT INTO old VALUES (1)", &["old"])]);
    let mut lease = claimed(&mut target, &owner(1)).await;
    for error in [
        target.preflight(&works).await.expect_err("refused"),
        target.commit(&mut lease, &works).await.expect_err("refused"),
        target.commit_step(&mut lease, &works, 1, None).await.expect_err("refused"),
        target.rehearse(&works).await.expect_err("refused"),
    ] {
        assert_eq!((error.kind, error.statement), (ErrorKind::Refused, Some(1)), "{error:?}");
        assert!(error.message.contains("old") && error.message.contains("MyISAM"), "{error:?}");
    }
}

/// Also where only a trigger writes them, or a routine that a trigger calls.
#[tokio::test]
async fn triggers_that_write_tables_without_transactions_are_refused() {
    let world = World::new("myisam_trigger").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    for sql in [
        "CREATE TABLE `old log` (n int) ENGINE = MyISAM",
        "CREATE TABLE t (n int)",
        "CREATE TABLE u (n int)",
        "CREATE TABLE v (n int)",
        "CREATE PROCEDURE logs() INSERT INTO `old log` VALUES (1)",
        "CREATE TRIGGER far AFTER INSERT ON u FOR EACH ROW CALL logs()",
        "CREATE TRIGGER near AFTER UPDATE ON t FOR EACH ROW INSERT INTO u VALUES (NEW.n)",
        "CREATE TRIGGER fine AFTER INSERT ON v FOR EACH ROW INSERT INTO t VALUES (NEW.n)",
    ] {
        eyes.run(sql).await;
    }
    let written = |verb: Verb, sql: &str, table: &str| {
        let mut statement = dml_on(sql, &[table]);
        let columns = Default::default();
        statement.facts.writes = Some(Write { verb, table: table.to_owned(), columns });
        statement
    };
    for (verb, sql, table) in
        [(Verb::Insert, "INSERT INTO u VALUES (1)", "u"), (Verb::Update, "UPDATE t SET n = 2", "t")]
    {
        let works = work(1, vec![dml("SELECT 1"), written(verb, sql, table)]);
        let error = target.preflight(&works).await.expect_err(sql);
        assert_eq!((error.kind, error.statement), (ErrorKind::Refused, Some(1)), "{error:?}");
        for part in ["old log", "MyISAM", "trigger far"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }
    let works = work(1, vec![written(Verb::Delete, "DELETE FROM t", "t")]);
    target.preflight(&works).await.expect("no trigger fires");
}

#[tokio::test]
async fn local_files_are_not_sent() {
    let world = World::new("infile").await;
    let mut target = world.with_ledger().await;
    world.eyes().await.run("CREATE TABLE n (v text)").await;
    let mut lease = claimed(&mut target, &owner(1)).await;
    for (verb, text) in [
        ("LOAD DATA", "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE n"),
        // What the check does not see, the client still has no way to do.
        ("INSERT", "/* x */ LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE n"),
    ] {
        let mut statement = dml(text);
        statement.facts.verb = verb.to_owned();
        let result = target.commit(&mut lease, &work(1, vec![statement])).await;
        let error = result.expect_err("refused");
        assert!(matches!(error.kind, ErrorKind::Refused | ErrorKind::Statement), "{error:?}");
    }
    assert_eq!(world.eyes().await.one("SELECT COUNT(*) FROM n").await, "0");
}
