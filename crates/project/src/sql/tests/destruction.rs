use dunlin_model::Dialect::{self, Mysql, Postgres};

use super::{facts, parse, texts};

fn destroys(dialect: Dialect, text: &str) -> Vec<String> {
    facts(dialect, text)
        .destroys
        .into_iter()
        .map(|d| format!("{} {}", d.kind.verb(), d.object))
        .collect()
}

#[test]
fn mariadb_spellings_destroy_too() {
    for (text, expected) in [
        ("DROP TABLES old", "drops table old"),
        ("EXECUTE IMMEDIATE 'DROP TABLE old2'", "drops something in dynamic SQL"),
        ("SET STATEMENT lock_wait_timeout=1 FOR DROP TABLE old", "drops table old"),
        ("SET STATEMENT a = 1, b = (SELECT 2) FOR ALTER TABLE a DROP b", "drops column a.b"),
        ("ALTER TABLE p CONVERT PARTITION p0 TO TABLE p_old", "drops partition p_old of p"),
        ("ALTER TABLE a WAIT 5 DROP COLUMN b", "drops column a.b"),
        ("ALTER TABLE a NOWAIT DROP b", "drops column a.b"),
        (
            "WITH x AS (SELECT 1) SELECT 'DROP TABLE t' INTO @s FROM x",
            "drops something in dynamic SQL",
        ),
        ("CALL run('DROP TABLE t')", "drops something in dynamic SQL"),
    ] {
        assert_eq!(destroys(Mysql, text), [expected], "{text}");
    }
    let detach = "ALTER TABLE a DETACH PARTITION s.p";
    assert_eq!(destroys(Postgres, detach), ["drops partition p of a"]);
    assert!(destroys(Mysql, "ALTER TABLE a CONVERT TABLE b TO PARTITION p").is_empty());
}

#[test]
fn a_statement_with_settings_of_its_own_is_that_statement() {
    let settings = "SET STATEMENT max_statement_time = 60 FOR ";
    for text in [
        "ALTER TABLE t ADD COLUMN c INT",
        "UPDATE t SET a = 1",
        "SELECT 1",
        "CALL p()",
        "DROP TABLE a",
    ] {
        assert_eq!(facts(Mysql, &format!("{settings}{text}")), facts(Mysql, text), "{text}");
    }
    let several = texts(Mysql, "SET STATEMENT a = 1 FOR DROP TABLES b, c");
    assert_eq!(
        several,
        ["SET STATEMENT a = 1 FOR DROP TABLE b", "SET STATEMENT a = 1 FOR DROP TABLE c"]
    );
}

#[test]
fn bodies_and_dynamic_sql_that_destroy() {
    for inner in [
        "IF EXISTS (SELECT 1) THEN ALTER TABLE users DROP role; END IF",
        "ALTER TABLE users DROP \"user\"",
        "ALTER TABLE users RENAME role TO kind",
        "ALTER TABLE users RENAME key TO k",
        "ALTER TABLE users ADD a int, DROP index",
        "ALTER TABLE users DROP IDENTITY",
        "ALTER TABLE users DROP IF EXISTS view",
        "ALTER TABLE a ALTER COLUMN \"my col\" TYPE text",
        "ALTER TABLE a ALTER type TYPE text",
        "ALTER TABLE a ALTER b SET DATA TYPE text",
        "ALTER TABLE a SET SCHEMA b",
        "ALTER TABLE a DETACH PARTITION p",
        "ALTER SCHEMA a RENAME TO b",
        "ALTER TYPE t RENAME ATTRIBUTE a TO b",
        "DROP FOREIGN TABLE a",
        "DROP /* index */ TABLE users",
        "DELETE FROM a",
        "WITH x AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM x WHERE c",
        "EXECUTE format('DELETE FROM %I', 'a')",
        "TRUNCATE a",
        "EXECUTE 'ALTER TABLE ' || quote_ident(t) || ' DROP ' || quote_ident(c)",
        "EXECUTE concat('ALTER TABLE a ALTER COLUMN ', c, ' TYPE int')",
        "EXECUTE 'it''s open; DROP TABLE a'",
    ] {
        let text = format!("DO $$ BEGIN {inner}; END $$");
        assert_eq!(destroys(Postgres, &text), ["drops something in a DO block"], "{text}");
    }
    let escaped = r"DO E'BEGIN\nDROP TABLE a; END'";
    assert_eq!(destroys(Postgres, escaped), ["drops something in a DO block"]);
    for text in [
        "BEGIN NOT ATOMIC ALTER TABLE users DROP role; END",
        "SET @s = 'ALTER TABLE users DROP `key`'",
        "SET @s = 'ALTER TABLE users DROP event'",
        "SET @s = CONCAT('ALTER TABLE ', @t, ' RENAME event TO e')",
        "SET @s = 'ALTER TABLE users MODIFY a INT'",
        "SET @s = 'CREATE OR REPLACE TABLE a (b INT)'",
        "SET @s = 'DELETE FROM a'",
    ] {
        assert_eq!(destroys(Mysql, text).len(), 1, "{text}");
    }
    let text = "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'ALTER TABLE users DROP role';\
                SELECT f();";
    let script = parse(Postgres, text).unwrap();
    assert_eq!(script.statements[1].facts.destroys[0].object, "something in the routine f");
}

#[test]
fn bodies_and_dynamic_sql_that_destroy_nothing() {
    for inner in [
        "ALTER TABLE a DROP CONSTRAINT IF EXISTS c, ALTER b DROP NOT NULL",
        "ALTER TABLE a ALTER COLUMN d DROP DEFAULT, ALTER e DROP IDENTITY IF EXISTS",
        "ALTER TABLE a RENAME CONSTRAINT b TO c",
        "ALTER TABLE a ADD COLUMN type text, ALTER COLUMN type SET NOT NULL",
        "ALTER TABLE a ADD b int; DROP INDEX i; DROP FUNCTION f(); DROP TRIGGER t ON a",
        "CREATE TEMP TABLE x ON COMMIT DROP AS SELECT 1",
        "ALTER INDEX i RENAME TO j; ALTER ROLE r RENAME TO s",
        "DELETE FROM a WHERE b",
        "EXECUTE format('DELETE FROM %I WHERE a = $1', t) USING 1",
        "EXECUTE 'DELETE FROM ' || quote_ident(t) || ' WHERE a'",
        "CREATE TYPE t AS ENUM ('x'); ALTER TYPE t ADD VALUE 'y'",
        "CREATE TRIGGER t BEFORE DELETE OR TRUNCATE ON a EXECUTE FUNCTION f()",
        "GRANT SELECT, TRUNCATE ON a TO b",
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES d ON DELETE CASCADE",
        "/* DROP TABLE a */ NULL; -- and TRUNCATE b\n",
    ] {
        let text = format!("DO $$ BEGIN {inner}; END $$");
        assert!(destroys(Postgres, &text).is_empty(), "{text}");
    }
    for text in [
        "SET @s = IF(@c > 0, 'ALTER TABLE a DROP FOREIGN KEY k', 'SELECT 1')",
        "SET @s = CONCAT('ALTER TABLE ', @t, ' DROP INDEX i, DROP PRIMARY KEY, RENAME KEY a TO b')",
        "SET @s = (SELECT TRUNCATE(1.5, 0))",
        "EXECUTE p",
        "EXECUTE IMMEDIATE 'ALTER TABLE a ADD COLUMN b INT'",
        "BEGIN NOT ATOMIC SELECT TRUNCATE(1.5, 0); DROP PROCEDURE p; END",
    ] {
        assert!(destroys(Mysql, text).is_empty(), "{text}");
    }
}

/// Nesting and open quotes without end are told in bounded time, in doubt for destruction.
#[test]
fn odd_bodies_are_in_doubt() {
    let nested = (0..40).fold(String::new(), |inner, i| format!("$a{i}$ {inner} $a{i}$"));
    assert_eq!(destroys(Postgres, &format!("DO {nested}")).len(), 1);
    let open: String = (0..100).map(|i| format!("$b{i}$ ")).collect();
    assert_eq!(destroys(Postgres, &format!("DO $a$ {open} $a$")).len(), 1);
    assert!(destroys(Mysql, "SET @a = 'it /*! is'").is_empty());
}

#[test]
fn a_loop_is_a_procedures_body() {
    for text in [
        "CREATE PROCEDURE p() FOR i IN 1..3 DO SELECT i; END FOR",
        "CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW FOR i IN 1..3 DO SET @a = i; END FOR",
        "CREATE PROCEDURE p() SELECT a FROM t WHERE b IN (1) FOR UPDATE",
        "CREATE TRIGGER t AFTER UPDATE ON data FOR EACH ROW SET @a = 1",
    ] {
        assert_eq!(texts(Mysql, &format!("{text}; SELECT 2")), [text, "SELECT 2"]);
    }
}

#[test]
fn a_procedure_of_another_file_is_in_doubt() {
    for (dialect, text) in [
        (Postgres, "CALL drop_col('users', 'role')"),
        (Mysql, "SET STATEMENT max_statement_time = 1 FOR CALL drop_col()"),
    ] {
        let script = parse(dialect, text).unwrap();
        let expected = "perhaps something in the routine drop_col, defined elsewhere";
        assert_eq!(script.statements[0].facts.destroys[0].object, expected);
    }
}
