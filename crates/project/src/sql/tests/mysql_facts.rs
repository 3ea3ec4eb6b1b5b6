use dunlin_model::Dialect::Mysql;
use dunlin_model::{After, ObjectKind, Restart};

use super::{facts, parse, texts};

/// The objects whose definitions decide.
#[track_caller]
fn image(text: &str) -> Vec<(ObjectKind, String)> {
    match facts(Mysql, text).restart {
        Restart::ByImage { objects } => objects.into_iter().map(|o| (o.kind, o.name)).collect(),
        other => panic!("{other:?}: {text}"),
    }
}

#[test]
fn rows_commit_with_their_journal() {
    for text in [
        "INSERT INTO a VALUES (1)",
        "UPDATE a SET b = b + 1",
        "DELETE FROM a WHERE b",
        "REPLACE INTO a VALUES (1)",
        "LOAD DATA INFILE 'x' INTO TABLE a",
        "WITH x AS (SELECT 1) SELECT * FROM x",
    ] {
        assert_eq!(facts(Mysql, text).restart, Restart::Transactional, "{text}");
    }
}

#[test]
fn the_catalogue_decides() {
    use ObjectKind::{Database, Event, Function, Procedure, Table, Trigger, View};
    for (text, kind, name) in [
        ("CREATE TABLE `a` (b INT)", Table, "`a`"),
        ("CREATE TABLE a SELECT * FROM b", Table, "a"),
        ("ALTER TABLE d.`a` ADD b INT", Table, "d.`a`"),
        ("CREATE INDEX i ON a (b)", Table, "a"),
        ("DROP INDEX i ON a", Table, "a"),
        ("DROP TABLE a", Table, "a"),
        ("CREATE VIEW v AS SELECT 1", View, "v"),
        ("CREATE FUNCTION f() RETURNS INT RETURN 1", Function, "f"),
        ("CREATE DEFINER=a@b PROCEDURE p() SELECT 1", Procedure, "p"),
        ("CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.b = 1", Trigger, "t"),
        ("DROP EVENT e", Event, "e"),
        ("CREATE SCHEMA d", Database, "d"),
        ("/*!50003 CREATE VIEW v AS SELECT 1 */", View, "v"),
        ("ALTER TABLE a ADD COLUMN IF NOT EXISTS b INT, ADD c INT", Table, "a"),
    ] {
        assert_eq!(image(text), [(kind, name.to_owned())], "{text}");
    }
    assert_eq!(image("RENAME TABLE a TO b").len(), 2);
    assert_eq!(image("RENAME TABLE a TO old_a, new_a TO a").len(), 3);
    assert_eq!(image("ALTER TABLE a ADD c INT, RENAME TO b").len(), 2);
}

#[test]
fn what_can_be_run_again() {
    for text in [
        "CREATE TABLE IF NOT EXISTS a (b INT)",
        "DROP TABLE IF EXISTS a, b",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "CREATE OR REPLACE PROCEDURE p() SELECT 1",
        "ALTER TABLE a ADD COLUMN IF NOT EXISTS b INT, DROP COLUMN IF EXISTS c, ALGORITHM=INPLACE",
        "CREATE INDEX IF NOT EXISTS i ON a (b)",
        "DROP PROCEDURE IF EXISTS p",
        "TRUNCATE a",
        "SET @a = 1",
        "ANALYZE TABLE a",
        "ANALYZE LOCAL TABLE a PERSISTENT FOR ALL",
        "EXPLAIN UPDATE a SET b = b + 1",
        "EXPLAIN FORMAT=JSON DELETE FROM a",
        "OPTIMIZE TABLE a",
        "GRANT SELECT ON a TO b",
        "USE d",
        "ALTER EVENT e DISABLE",
        "/*!40000 ALTER TABLE a DISABLE KEYS */",
        "ALTER TABLE a ENABLE KEYS",
    ] {
        assert_eq!(facts(Mysql, text).restart, Restart::Repeatable, "{text}");
    }
}

/// MariaDB's ANALYZE, and MySQL's EXPLAIN ANALYZE, run what they tell of.
#[test]
fn what_is_analyzed_is_run() {
    for text in [
        "ANALYZE UPDATE a SET b = b + 1",
        "ANALYZE FORMAT=JSON DELETE FROM a WHERE b = 1",
        "ANALYZE INSERT INTO a SELECT * FROM c",
        "SET STATEMENT max_statement_time = 1 FOR ANALYZE REPLACE INTO a VALUES (1)",
        "EXPLAIN ANALYZE UPDATE a, c SET a.b = c.b",
        "desc analyze format=tree delete a from a join c",
        "ANALYZE SELECT 1",
    ] {
        assert_eq!(facts(Mysql, text).restart, Restart::Transactional, "{text}");
    }
    let update = facts(Mysql, "ANALYZE UPDATE a SET b = b + 1");
    assert_eq!(update.tables, facts(Mysql, "UPDATE a SET b = b + 1").tables);
    assert_eq!(update.destroys, facts(Mysql, "UPDATE a SET b = b + 1").destroys);
}

#[test]
fn what_commits_nothing_shares_a_transaction_with_its_journal() {
    for text in [
        "CREATE TEMPORARY TABLE a (b INT)",
        "CREATE TEMPORARY TABLE IF NOT EXISTS a SELECT 1",
        "DROP TEMPORARY TABLE IF EXISTS a",
        "SET @id = make_role('admin')",
        "SET @id = app.now()",
        "SET @n = NEXT VALUE FOR s",
        "DO `make_role`('admin')",
    ] {
        assert_eq!(facts(Mysql, text).restart, Restart::Transactional, "{text}");
    }
    for (text, acts) in [
        ("SET @id = make_role('admin')", true),
        ("SELECT make_role(1) INTO @id", true),
        ("SET @n = (SELECT COUNT(*) FROM t WHERE a IN (1, 2))", false),
        ("SET @s = CONCAT('a', IF(@x > 0, JSON_ARRAY(1), NOW()))", false),
        ("SET SESSION sql_mode = (SELECT REPLACE(@@sql_mode, 'ANSI', ''))", false),
        ("SET @a = CAST('1' AS DECIMAL(10, 2)), @b = (1 + 2)", false),
    ] {
        assert_eq!(facts(Mysql, text).may_act, acts, "{text}");
    }
}

#[test]
fn what_cannot_be_known() {
    for text in [
        "CALL p()",
        "EXECUTE s",
        "RENAME TABLE a TO tmp, b TO a, tmp TO b",
        "ALTER TABLE a EXCHANGE PARTITION p WITH TABLE b",
        "ALTER TABLE a DROP COLUMN b, ADD COLUMN b INT",
        "CREATE OR REPLACE TABLE a (b INT)",
        "SELECT 1 INTO OUTFILE '/x'",
        "BEGIN NOT ATOMIC SELECT 1; END",
        "CREATE USER u",
        "FROBNICATE",
    ] {
        let restart = facts(Mysql, text).restart;
        assert!(matches!(restart, Restart::Unknowable { .. }), "{restart:?}: {text}");
    }
}

#[test]
fn a_drop_of_several_tables_becomes_steps() {
    let script = parse(Mysql, "\n  DROP TABLE a, `b c`, d.e;").unwrap();
    let found: Vec<_> = script.statements.iter().map(|s| (s.text.as_str(), s.line)).collect();
    assert_eq!(found, [("DROP TABLE a", 2), ("DROP TABLE `b c`", 2), ("DROP TABLE d.e", 2)]);
    assert_eq!(script.statements[1].facts.destroys[0].object, "table b c");
    assert!(script.statements.iter().all(|s| matches!(s.facts.restart, Restart::ByImage { .. })));
    assert_eq!(texts(Mysql, "DROP TABLE IF EXISTS a, b"), ["DROP TABLE IF EXISTS a, b"]);
    assert_eq!(texts(Mysql, "DROP FUNCTION a"), ["DROP FUNCTION a"]);
}

/// What is left in the definition, as `+column a`.
fn traces(text: &str) -> Vec<String> {
    let traces = facts(Mysql, text).traces.into_iter().map(|trace| {
        let sign = match trace.after {
            After::There => '+',
            After::Gone => '-',
            After::Changed => '~',
        };
        format!("{sign}{:?} {}", trace.kind, trace.name).trim_end().to_owned()
    });
    traces.collect()
}

#[test]
fn clauses_are_known_by_what_they_name() {
    for (text, expected) in [
        ("CREATE UNIQUE INDEX `I` ON a (b)", &["+Index I"][..]),
        ("DROP INDEX i ON a", &["-Index i"]),
        ("DROP INDEX `PRIMARY` ON a", &["-PrimaryKey"]),
        ("ALTER TABLE a ADD COLUMN b INT, DROP c", &["+Column b", "-Column c"]),
        ("ALTER TABLE a ADD b INT NOT NULL FIRST, ALGORITHM=COPY", &["+Column b"]),
        ("ALTER TABLE a ADD INDEX i (b), ADD KEY (b, `c`)", &["+Index i", "+IndexOn b,c"]),
        ("ALTER TABLE a ADD UNIQUE (b), ADD FULLTEXT KEY f (b)", &["+IndexOn b", "+Index f"]),
        ("ALTER TABLE a ADD INDEX (b(7))", &[]),
        ("ALTER TABLE a ADD CONSTRAINT k UNIQUE (b)", &["+Index k"]),
        ("ALTER TABLE a ADD CONSTRAINT k CHECK (b > 0)", &["+Constraint k"]),
        ("ALTER TABLE a ADD CONSTRAINT k FOREIGN KEY (b) REFERENCES c (d)", &["+Constraint k"]),
        ("ALTER TABLE a ADD CONSTRAINT FOREIGN KEY (b) REFERENCES c (d)", &["+ForeignKeyOn b"]),
        ("ALTER TABLE a ADD PRIMARY KEY (b), DROP PRIMARY KEY", &["+PrimaryKey", "-PrimaryKey"]),
        ("ALTER TABLE a DROP FOREIGN KEY f, DROP KEY i", &["-Constraint f", "-Index i"]),
        ("ALTER TABLE a RENAME COLUMN b TO c", &["-Column b", "+Column c"]),
        ("ALTER TABLE a RENAME INDEX i TO j, RENAME TO b", &["-Index i", "+Index j"]),
        ("ALTER TABLE a CHANGE b c INT, CHANGE d D INT", &["-Column b", "+Column c", "~Column D"]),
        ("ALTER TABLE a MODIFY b INT, ALTER c SET DEFAULT 1", &["~Column b", "~Column c"]),
        ("ALTER TABLE a ENGINE = InnoDB", &["~Options"]),
        ("ALTER TABLE a ADD PARTITION (PARTITION p VALUES LESS THAN (9))", &["+Partition p"]),
        ("ALTER TABLE a ADD COLUMN IF NOT EXISTS b INT, ADD c INT", &["+Column c"]),
    ] {
        let found = traces(text);
        let expected: Vec<&str> = expected.to_vec();
        assert!(
            found
                .iter()
                .map(|one| one.to_lowercase())
                .eq(expected.iter().map(|one| one.to_lowercase())),
            "{found:?}: {text}"
        );
    }
}

#[test]
fn variables_of_a_session_are_found() {
    for (query, variable) in [
        ("SELECT @row := @row + 1 AS id FROM a", Some("@row")),
        ("SELECT a, (SELECT @`my row`) FROM b", Some("@`my row`")),
        ("SELECT /*!50000 @x */ FROM b", Some("@x")),
        ("SELECT @ 'x'", Some("@'x'")),
        ("SELECT @@sql_mode, @@session.sql_mode", None),
        ("SELECT '@a', \"@b\", `@c` FROM d -- @e\n/* @f */ # @g", None),
        ("SELECT a FROM b", None),
    ] {
        let found = crate::sql::user_variable(query);
        assert_eq!(found.as_deref(), variable, "{query}");
    }
}
