//! What statements take over from those before them in their session.

use dunlin_model::Dialect::{self, Mysql, Postgres, Sqlite};

use super::super::{asks_of_previous, lost};

/// What is missing where `done` statements ran in a session that is gone: reader, what, from.
fn missing(dialect: Dialect, done: usize, text: &str) -> Option<(usize, String, usize)> {
    let statements = super::super::read(dialect, text).expect("readable");
    lost(dialect, &statements, done).map(|lost| (lost.reader, lost.what, lost.from))
}

#[test]
fn what_is_written_in_the_file_is_set_again() {
    for (done, text) in [
        (2, "SET @n = 5; CREATE TABLE a (b int); UPDATE t SET n = @n;"),
        (
            2,
            "SET @n := CONCAT('a', IF(1 > 2, 'b', @@version)), @m = @n; CREATE TABLE a (b int); UPDATE t SET n = @m;",
        ),
        (2, "SELECT 5 INTO @n; CREATE TABLE a (b int); UPDATE t SET n = @n;"),
        (
            3,
            "SET @old = @@foreign_key_checks, foreign_key_checks = 0; DROP TABLE a; INSERT INTO b VALUES (1); SET foreign_key_checks = @old;",
        ),
        (
            2,
            "SET sql_mode = (SELECT REPLACE(@@sql_mode, 'ANSI', '')); CREATE TABLE a (b int); INSERT INTO a VALUES (1);",
        ),
        // After the last statement that changed anything: it is as if it had stopped before it.
        (2, "CREATE TABLE a (b int); SET @n = (SELECT COUNT(*) FROM t); UPDATE t SET n = @n;"),
        (
            4,
            "CREATE TABLE a (b int); SET @n = NOW(); PREPARE s FROM 'UPDATE t SET n = ?'; SELECT 1; EXECUTE s USING @n;",
        ),
        (2, "PREPARE s FROM 'DELETE FROM t LIMIT 1'; EXECUTE s; EXECUTE s;"),
        // Set once more before it is read.
        (
            2,
            "SET @n = (SELECT COUNT(*) FROM t); CREATE TABLE a (b int); SET @n = UUID(); UPDATE t SET n = @n;",
        ),
        (2, "SET @n = UUID(); CREATE TABLE a (b int); UPDATE t SET email = 'x@n';"),
        (
            1,
            "CREATE TEMPORARY TABLE x (a int); DROP TEMPORARY TABLE x; CREATE TEMPORARY TABLE x (a int); INSERT INTO x VALUES (1);",
        ),
        (2, "CREATE TABLE a (b int); SET @n = 1, @m = IF(@n = 1, 2, 3); UPDATE t SET n = @m;"),
        (1, "INSERT INTO a VALUES (1); CREATE TABLE b (c int); INSERT INTO b VALUES (1);"),
    ] {
        let found =
            missing(Mysql, done, text).filter(|(_, what, _)| !what.starts_with("the temporary"));
        assert_eq!(found, None, "{text}");
    }
}

#[test]
fn what_would_be_another_value_is_told() {
    for (done, text, reader, what, from) in [
        (
            2,
            "SET @n = (SELECT COUNT(*) FROM t); CREATE TABLE a (b int); UPDATE t SET n = @n;",
            2,
            "@n",
            0,
        ),
        (
            2,
            "SET @n = NOW(); CREATE TABLE a (b int); SET @m = @n; UPDATE t SET n = @m;",
            2,
            "@n",
            0,
        ),
        (
            3,
            "SET @n = UUID(); SET @m = @n; CREATE TABLE a (b int); UPDATE t SET n = @m;",
            3,
            "@m",
            1,
        ),
        (
            2,
            "SELECT MAX(n) INTO @`The N` FROM t; CREATE TABLE a (b int); UPDATE t SET n = @'the n';",
            2,
            "@the n",
            0,
        ),
        (2, "SET @n = make_role('x'); CREATE TABLE a (b int); UPDATE t SET n = @n;", 2, "@n", 0),
        (1, "SET @n = make_role('x'); UPDATE t SET n = @n;", 1, "@n", 0),
        (
            2,
            "SET @n = 0; UPDATE t SET n = (@n := @n + 1); UPDATE u SET n = (@n := @n + 1);",
            2,
            "@n",
            1,
        ),
        (2, "SET @n = @@timestamp; CREATE TABLE a (b int); UPDATE t SET n = @n;", 2, "@n", 0),
        (
            2,
            "INSERT INTO a VALUES (1); SET @id = LAST_INSERT_ID(); INSERT INTO b VALUES (@id);",
            2,
            "@id",
            1,
        ),
        (
            2,
            "INSERT INTO a VALUES (1); CREATE TABLE c (d int); INSERT INTO b VALUES (LAST_INSERT_ID());",
            2,
            "LAST_INSERT_ID()",
            0,
        ),
        (
            1,
            "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); SELECT @@identity INTO @x;",
            2,
            "LAST_INSERT_ID()",
            0,
        ),
        (
            3,
            "SET @n = UUID(); SET @s = 'UPDATE t SET n = @n'; CREATE TABLE a (b int); PREPARE x FROM @s; EXECUTE x;",
            4,
            "@n",
            0,
        ),
        (
            3,
            "PREPARE x FROM 'SELECT COUNT(*) INTO @n FROM t'; EXECUTE x; CREATE TABLE a (b int); UPDATE t SET n = @n;",
            3,
            "@n",
            1,
        ),
        (2, "CALL count_them(@n); CREATE TABLE a (b int); UPDATE t SET n = @n;", 2, "@n", 0),
        (2, "SET @n = RAND(); CREATE TABLE a (b int); CALL uses_it();", 2, "@n", 0),
        (
            2,
            "SET SESSION auto_increment_increment = (SELECT n FROM t); CREATE TABLE a (b int); INSERT INTO a VALUES (1);",
            2,
            "a setting of the session",
            0,
        ),
        (
            2,
            "CREATE TEMPORARY TABLE x (a int); CREATE TABLE a (b int); INSERT INTO a SELECT a FROM x;",
            2,
            "the temporary table x",
            0,
        ),
    ] {
        let expected = Some((reader, what.to_owned(), from));
        assert_eq!(missing(Mysql, done, text), expected, "{text}");
        assert_eq!(missing(Mysql, 0, text), None, "{text}");
    }
    let text = "CREATE TEMP TABLE x AS SELECT 1; VACUUM; INSERT INTO a SELECT * FROM x;";
    for dialect in [Postgres, Sqlite] {
        assert_eq!(missing(dialect, 2, text), Some((2, "the temporary table x".to_owned(), 0)));
    }
}

#[test]
fn what_asks_of_the_statement_before_is_recognised() {
    let asks = |dialect, text: &str| {
        let statements = super::super::read(dialect, text).expect("readable");
        asks_of_previous(dialect, &statements[0])
    };
    for (text, what) in [
        ("INSERT INTO a VALUES (ROW_COUNT())", Some("ROW_COUNT()")),
        ("SET @n = found_rows()", Some("FOUND_ROWS()")),
        ("SELECT @@warning_count INTO @n", Some("@@warning_count")),
        ("SELECT @n := @@session.error_count", Some("@@error_count")),
        ("GET DIAGNOSTICS @n = ROW_COUNT", Some("GET DIAGNOSTICS")),
        ("SELECT ROW_COUNT()", None),
        ("SELECT row_count FROM t", None),
        ("SHOW WARNINGS", None),
        ("CREATE PROCEDURE p() BEGIN SELECT ROW_COUNT() INTO @n; END", None),
    ] {
        assert_eq!(asks(Mysql, text), what, "{text}");
    }
    assert_eq!(
        asks(Sqlite, "INSERT INTO a VALUES (last_insert_rowid())"),
        Some("last_insert_rowid()")
    );
    assert_eq!(asks(Sqlite, "UPDATE a SET n = changes()"), Some("changes()"));
    assert_eq!(asks(Postgres, "INSERT INTO a VALUES (lastval())"), None);
}
