use dunlin_model::Dialect::{self, Mysql, Postgres, Sqlite};
use dunlin_model::{ImageObject, ObjectKind, Restart};

use super::{facts, parse};

fn destroys(dialect: Dialect, text: &str) -> Vec<String> {
    facts(dialect, text)
        .destroys
        .into_iter()
        .map(|d| format!("{} {}", d.kind.verb(), d.object))
        .collect()
}

#[test]
fn postgres_destruction() {
    for (text, expected) in [
        ("DROP TABLE IF EXISTS a, s.\"B\" CASCADE", vec!["drops table a", "drops table s.B"]),
        (
            "ALTER TABLE IF EXISTS ONLY public.a DROP COLUMN IF EXISTS b CASCADE, DROP \"C\", ADD d int",
            vec!["drops column a.b", "drops column a.C"],
        ),
        ("ALTER TABLE a RENAME COLUMN b TO c", vec!["renames column a.b"]),
        ("ALTER TABLE a RENAME b TO c", vec!["renames column a.b"]),
        ("ALTER TABLE a RENAME TO b", vec!["renames table a"]),
        ("ALTER TABLE a SET SCHEMA s", vec!["renames table a"]),
        (
            "ALTER TABLE a ALTER COLUMN b TYPE numeric(3, 2) USING b::numeric, ALTER c SET DATA TYPE text",
            vec!["retypes column a.b", "retypes column a.c"],
        ),
        (
            "TRUNCATE TABLE ONLY a, b RESTART IDENTITY",
            vec!["truncates table a", "truncates table b"],
        ),
        ("DELETE FROM a", vec!["truncates table a"]),
        (
            "WITH x AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM x WHERE c",
            vec!["truncates table a"],
        ),
        ("DROP SCHEMA s", vec!["drops schema s"]),
        ("ALTER SCHEMA s RENAME TO t", vec!["renames schema s"]),
        ("DROP TYPE t", vec!["drops type t"]),
        ("DROP EXTENSION e CASCADE", vec!["drops extension e"]),
        (
            "ALTER TYPE t DROP ATTRIBUTE IF EXISTS a, ALTER ATTRIBUTE b TYPE int",
            vec!["drops attribute t.a", "retypes attribute t.b"],
        ),
        ("DROP DATABASE d", vec!["drops database d"]),
        (
            "DO $$ BEGIN EXECUTE format('DROP TABLE %I', x); END $$",
            vec!["drops something in a DO block"],
        ),
        (
            "DO $$ BEGIN ALTER TABLE a ALTER COLUMN b TYPE int; END $$",
            vec!["drops something in a DO block"],
        ),
    ] {
        assert_eq!(destroys(Postgres, text), expected, "{text}");
    }
}

#[test]
fn postgres_no_destruction() {
    for text in [
        "ALTER TABLE a DROP CONSTRAINT IF EXISTS c, ALTER b DROP NOT NULL, ALTER COLUMN b DROP DEFAULT, ALTER b DROP IDENTITY",
        "ALTER TABLE a RENAME CONSTRAINT b TO c",
        "ALTER TABLE a ADD COLUMN b int DEFAULT (1), ALTER b SET NOT NULL",
        "DROP INDEX i",
        "DROP VIEW v",
        "DROP MATERIALIZED VIEW v",
        "DROP FUNCTION f(int, text), g()",
        "DROP TRIGGER t ON a",
        "DROP EXTENSION e",
        "DELETE FROM a WHERE b",
        "DELETE FROM a USING b WHERE a.i = b.i",
        "UPDATE a SET b = NULL",
        "DO $$ BEGIN ALTER TABLE a DROP CONSTRAINT IF EXISTS c; CREATE TYPE t AS ENUM ('x'); END $$",
        "ALTER INDEX i RENAME TO j",
    ] {
        assert!(destroys(Postgres, text).is_empty(), "{text}");
    }
}

#[test]
fn mysql_and_sqlite_destruction() {
    for (text, expected) in [
        (
            "ALTER TABLE `a` DROP COLUMN `b`, DROP c, ADD d INT",
            vec!["drops column a.b", "drops column a.c"],
        ),
        ("ALTER TABLE a DROP `index`", vec!["drops column a.index"]),
        ("ALTER TABLE a CHANGE COLUMN b c INT", vec!["renames column a.b", "retypes column a.b"]),
        ("ALTER TABLE a CHANGE `b` `b` BIGINT", vec!["retypes column a.b"]),
        ("ALTER TABLE a MODIFY b ENUM('x', 'y') NOT NULL", vec!["retypes column a.b"]),
        ("ALTER TABLE a RENAME b", vec!["renames table a"]),
        ("ALTER TABLE a RENAME COLUMN b TO c", vec!["renames column a.b"]),
        ("ALTER TABLE a DROP PARTITION p", vec!["drops partition p of a"]),
        ("ALTER TABLE a CONVERT TO CHARACTER SET utf8mb4", vec!["retypes the text columns of a"]),
        ("RENAME TABLE a TO b, c TO d", vec!["renames table a", "renames table c"]),
        ("CREATE OR REPLACE TABLE a (b INT)", vec!["drops table a"]),
        ("/*!40000 DROP TABLE IF EXISTS `a` */", vec!["drops table a"]),
        ("SET @s = 'ALTER TABLE a DROP COLUMN b'", vec!["drops something in dynamic SQL"]),
    ] {
        assert_eq!(destroys(Mysql, text), expected, "{text}");
    }
    for text in [
        "ALTER TABLE a DROP INDEX b, DROP FOREIGN KEY c, DROP PRIMARY KEY, DROP CHECK d, DROP CONSTRAINT e",
        "ALTER TABLE a RENAME INDEX b TO c",
        "ALTER TABLE a RENAME KEY b TO c, ALTER b SET DEFAULT 1, ALTER INDEX i INVISIBLE",
        "DROP TEMPORARY TABLE a",
        "SET @s = 'ALTER TABLE a DROP INDEX b'",
        "DELETE a FROM a JOIN b ON a.i = b.i",
    ] {
        assert!(destroys(Mysql, text).is_empty(), "{text}");
    }
    assert_eq!(destroys(Sqlite, "ALTER TABLE [A] RENAME b TO c"), ["renames column a.b"]);
    assert_eq!(destroys(Sqlite, "ALTER TABLE a DROP COLUMN b"), ["drops column a.b"]);
    assert_eq!(destroys(Sqlite, "ALTER TABLE a RENAME TO b"), ["renames table a"]);
    assert!(destroys(Sqlite, "DROP VIEW v").is_empty());
}

#[test]
fn a_call_does_what_the_routine_of_the_file_does() {
    let text = "CREATE FUNCTION tidy() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE a; END $$;\
                SELECT tidy();DROP FUNCTION tidy();";
    let script = parse(Postgres, text).unwrap();
    assert!(script.statements[0].facts.destroys.is_empty());
    assert_eq!(script.statements[1].facts.tables, None);
    assert_eq!(script.statements[1].facts.destroys[0].object, "something in the routine tidy");
    assert!(script.statements[2].facts.destroys.is_empty());
    let text = "CREATE PROCEDURE p() BEGIN UPDATE a SET b = 1; END; CALL p; SELECT f();";
    let script = parse(Mysql, text).unwrap();
    assert_eq!(script.statements[1].facts.tables, None);
    assert!(script.statements[1].facts.destroys.is_empty());
    assert!(script.statements[2].facts.tables.is_some());
}

#[test]
fn postgres_restarts() {
    let image = |kind, name: &str| Restart::ByImage {
        objects: vec![ImageObject { kind, name: name.to_owned() }],
    };
    for (text, expected) in [
        ("CREATE INDEX CONCURRENTLY i ON s.\"T\" (a)", image(ObjectKind::Table, "s.\"T\"")),
        ("DROP INDEX CONCURRENTLY s.i", image(ObjectKind::Index, "s.i")),
        ("ALTER TYPE mood ADD VALUE 'x'", image(ObjectKind::Type, "mood")),
        ("CREATE DATABASE d", image(ObjectKind::Database, "d")),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", image(ObjectKind::Table, "t")),
        ("VACUUM t", Restart::Repeatable),
        ("REINDEX TABLE CONCURRENTLY t", Restart::Repeatable),
        ("ALTER SYSTEM SET a = 1", Restart::Repeatable),
        ("ALTER TABLE t ADD a int", Restart::Transactional),
        ("UPDATE t SET a = a + 1", Restart::Transactional),
        ("DO $$ BEGIN NULL; END $$", Restart::Transactional),
    ] {
        assert_eq!(facts(Postgres, text).restart, expected, "{text}");
    }
    for text in ["CALL p()", "DO $$ BEGIN UPDATE a SET b = 1; COMMIT; END $$"] {
        assert!(matches!(facts(Postgres, text).restart, Restart::Unknowable { .. }), "{text}");
    }
    for header in ["PRAGMA user_version = 1", "PRAGMA main.application_id(7)"] {
        assert_eq!(facts(Sqlite, header).restart, Restart::Transactional, "{header}");
    }
    assert_eq!(facts(Sqlite, "PRAGMA journal_mode = wal").restart, Restart::Repeatable);
    assert_eq!(facts(Sqlite, "DROP TABLE a").restart, Restart::Transactional);
}

#[test]
fn locks() {
    for (text, expected) in [
        ("ALTER TABLE a ADD b int", "ACCESS EXCLUSIVE on a"),
        ("ALTER TABLE a VALIDATE CONSTRAINT c", "SHARE UPDATE EXCLUSIVE on a"),
        (
            "ALTER TABLE a ALTER b SET STATISTICS 100, SET (fillfactor = 70)",
            "SHARE UPDATE EXCLUSIVE on a",
        ),
        ("ALTER TABLE a VALIDATE CONSTRAINT c, ALTER b SET NOT NULL", "ACCESS EXCLUSIVE on a"),
        (
            "ALTER TABLE a ADD CONSTRAINT c FOREIGN KEY (x) REFERENCES b (y) NOT VALID",
            "SHARE ROW EXCLUSIVE on a, b",
        ),
        ("ALTER TABLE a DISABLE TRIGGER ALL", "SHARE ROW EXCLUSIVE on a"),
        ("CREATE INDEX i ON a (b)", "SHARE on a"),
        ("CREATE INDEX CONCURRENTLY i ON a (b)", "SHARE UPDATE EXCLUSIVE on a"),
        ("DROP INDEX i", "ACCESS EXCLUSIVE on the table of i"),
        ("CREATE TABLE a (b int REFERENCES c)", "SHARE ROW EXCLUSIVE on c"),
        (
            "CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()",
            "SHARE ROW EXCLUSIVE on a",
        ),
        ("INSERT INTO s.a SELECT * FROM b", "ROW EXCLUSIVE on s.a"),
        ("TRUNCATE a, b", "ACCESS EXCLUSIVE on a, b"),
        ("LOCK TABLE a IN SHARE ROW EXCLUSIVE MODE NOWAIT", "SHARE ROW EXCLUSIVE on a"),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "EXCLUSIVE on v"),
        ("VACUUM FULL a", "ACCESS EXCLUSIVE on a"),
        ("COMMENT ON TABLE a IS 'x'", "SHARE UPDATE EXCLUSIVE on a"),
    ] {
        assert_eq!(facts(Postgres, text).lock.as_deref(), Some(expected), "{text}");
    }
    for text in ["SELECT * FROM a", "CREATE TABLE a (b int)", "CREATE TYPE t AS ENUM ()"] {
        assert_eq!(facts(Postgres, text).lock, None, "{text}");
    }
    let mysql = facts(Mysql, "ALTER TABLE `a` ADD b INT").lock;
    assert_eq!(mysql.as_deref(), Some("metadata lock (exclusive) on `a`"));
    assert_eq!(
        facts(Sqlite, "UPDATE a SET b = 1").lock.as_deref(),
        Some("the whole database, for writing")
    );
    assert_eq!(facts(Sqlite, "SELECT 1").lock, None);
}

#[test]
fn verbs() {
    for (text, expected) in [
        ("create or replace view v as select 1", "CREATE VIEW"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON a (b)", "CREATE INDEX"),
        (
            "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()",
            "CREATE TRIGGER",
        ),
        ("DROP MATERIALIZED VIEW v", "DROP MATERIALIZED VIEW"),
        ("update a set b = 1", "UPDATE"),
        ("(SELECT 1)", "SELECT"),
        ("COMMENT ON TABLE a IS 'x'", "COMMENT ON TABLE"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "WITH"),
    ] {
        assert_eq!(facts(Postgres, text).verb, expected, "{text}");
    }
    let definer = "CREATE DEFINER=`event`@`%` PROCEDURE p() SELECT 1";
    assert_eq!(facts(Mysql, definer).verb, "CREATE PROCEDURE");
}

#[test]
fn settings_of_the_session() {
    for (dialect, text, expected) in [
        (Postgres, "SET search_path = a", true),
        (Postgres, "SET LOCAL search_path = a", false),
        (Postgres, "SET CONSTRAINTS ALL DEFERRED", false),
        (Postgres, "SELECT pg_catalog.set_config('search_path', '', false)", true),
        (Postgres, "SELECT 1", false),
        (Mysql, "SET @a = 1", true),
        (Mysql, "USE d", true),
        (Mysql, "SELECT a INTO @x FROM b", true),
        (Mysql, "/*!40101 SET NAMES utf8 */", true),
        (Sqlite, "PRAGMA recursive_triggers = ON", true),
        (Sqlite, "PRAGMA user_version = 2", false),
        (Sqlite, "PRAGMA foreign_keys", false),
    ] {
        assert_eq!(facts(dialect, text).changes_session, expected, "{text}");
    }
}
