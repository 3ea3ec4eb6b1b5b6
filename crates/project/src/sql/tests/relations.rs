use dunlin_model::Dialect::{self, Mysql, Postgres, Sqlite};

use super::facts;

fn tables(dialect: Dialect, text: &str) -> Option<Vec<String>> {
    facts(dialect, text).tables.map(|tables| tables.into_iter().collect())
}

#[track_caller]
fn has(dialect: Dialect, text: &str, expected: &[&str]) {
    let found = tables(dialect, text).unwrap_or_else(|| panic!("opaque: {text}"));
    assert_eq!(found, expected, "{text}");
}

#[test]
fn queries_and_changes_of_rows() {
    has(
        Postgres,
        "SELECT * FROM a, public.b x, \"C d\" JOIN s.e ON a.i = e.i LEFT JOIN f USING (i)",
        &["C d", "a", "b", "f", "s.e"],
    );
    has(
        Postgres,
        "INSERT INTO T (a, b) SELECT c, d FROM U WHERE c IN (SELECT x FROM v)",
        &["t", "u", "v"],
    );
    has(
        Postgres,
        "UPDATE ONLY a SET b = c.d FROM c, e WHERE EXISTS (TABLE f)",
        &["a", "c", "e", "f"],
    );
    has(Postgres, "DELETE FROM a USING b, c WHERE a.i = b.i", &["a", "b", "c"]);
    has(
        Postgres,
        "MERGE INTO a USING b ON a.i = b.i WHEN MATCHED THEN UPDATE SET c = 1 \
                   WHEN NOT MATCHED THEN INSERT (c) VALUES (1)",
        &["a", "b"],
    );
    has(
        Postgres,
        "SELECT extract(year FROM d), substring(e FROM 2), trim(both FROM f) FROM a \
                   WHERE x IS DISTINCT FROM y",
        &["a"],
    );
    has(
        Postgres,
        "SELECT * FROM generate_series(1, 2) g, LATERAL (SELECT 1 FROM a) b, unnest(c) d",
        &["a"],
    );
    has(Postgres, "SELECT 1 FROM (a JOIN b ON true), c FOR UPDATE OF a", &["a", "b", "c"]);
    has(Postgres, "INSERT INTO a VALUES (1) ON CONFLICT (i) DO UPDATE SET b = 1", &["a"]);
    has(Postgres, "SELECT a INTO TEMP b FROM c", &["b", "c"]);
    has(Postgres, "EXPLAIN ANALYZE DELETE FROM a WHERE 1 = 1", &["a"]);
    has(Mysql, "UPDATE LOW_PRIORITY a, `db`.`B` SET a.x = 1", &["a", "b"]);
    has(Mysql, "DELETE a, b FROM a INNER JOIN b STRAIGHT_JOIN c WHERE 1", &["a", "b", "c"]);
    has(Mysql, "REPLACE INTO a SELECT REPLACE(x, 'a', 'b') FROM b, c", &["a", "b", "c"]);
    has(Mysql, "INSERT IGNORE a SET b = 1 ON DUPLICATE KEY UPDATE b = VALUES(b)", &["a"]);
    has(Mysql, "LOAD DATA LOCAL INFILE 'x' INTO TABLE a", &["a"]);
    has(
        Mysql,
        "SELECT 1 FROM 2fa_codes, information_schema.tables",
        &["2fa_codes", "information_schema.tables"],
    );
    has(Mysql, "SELECT count(*) INTO @n FROM a", &["a"]);
    has(Mysql, "SET @x = (SELECT max(i) FROM a)", &["a"]);
    has(Sqlite, "INSERT OR REPLACE INTO [A b] SELECT * FROM main.c", &["a b", "c"]);
    has(Sqlite, "UPDATE OR IGNORE a SET b = 1", &["a"]);
}

#[test]
fn common_table_expressions_are_no_tables() {
    has(
        Postgres,
        "WITH x AS (SELECT * FROM a), y (i) AS MATERIALIZED (SELECT * FROM x) \
                   UPDATE b SET c = y.i FROM y",
        &["a", "b"],
    );
    has(
        Postgres,
        "WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT n FROM t, a) SELECT * FROM t",
        &["a"],
    );
    // Inside its own body the name is still the table's, and so it is outside of its query.
    has(Postgres, "WITH posts AS (SELECT * FROM posts) SELECT * FROM posts", &["posts"]);
    has(Postgres, "SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) x JOIN t ON true", &["t"]);
    has(
        Postgres,
        "WITH t AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM t",
        &["a", "b"],
    );
}

#[test]
fn definitions() {
    has(
        Postgres,
        "CREATE TABLE a (i int REFERENCES b (i), LIKE c) INHERITS (d, e)",
        &["a", "b", "c", "d", "e"],
    );
    has(
        Postgres,
        "CREATE TABLE IF NOT EXISTS p1 PARTITION OF p FOR VALUES FROM (1) TO (2)",
        &["p", "p1"],
    );
    has(Postgres, "CREATE TABLE a AS SELECT * FROM b WITH NO DATA", &["a", "b"]);
    has(Postgres, "CREATE UNIQUE INDEX CONCURRENTLY i ON ONLY s.a USING btree (b)", &["i", "s.a"]);
    has(Postgres, "CREATE INDEX ON a (b)", &["a"]);
    has(Postgres, "DROP INDEX IF EXISTS i, s.j", &["i", "s.j"]);
    has(Postgres, "CREATE OR REPLACE VIEW v AS SELECT * FROM a", &["a", "v"]);
    has(
        Postgres,
        "CREATE TRIGGER t AFTER INSERT OR UPDATE OF b ON a FOR EACH ROW EXECUTE FUNCTION f()",
        &["a"],
    );
    has(Postgres, "DROP TRIGGER IF EXISTS t ON a", &["a"]);
    has(Postgres, "CREATE POLICY p ON a USING (b = 1)", &["a"]);
    has(Postgres, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 FROM a $$", &[]);
    has(Postgres, "CREATE EXTENSION IF NOT EXISTS pgcrypto", &[]);
    has(Postgres, "CREATE TYPE t AS ENUM ('a')", &[]);
    has(Postgres, "COMMENT ON COLUMN s.a.b IS 'x'", &["s.a"]);
    has(Postgres, "COMMENT ON CONSTRAINT c ON a IS 'x'", &["a"]);
    has(Postgres, "GRANT SELECT, UPDATE (b) ON TABLE a, c TO r", &["a", "c"]);
    has(Postgres, "GRANT r TO s", &[]);
    has(Postgres, "GRANT USAGE ON SCHEMA s TO r", &[]);
    has(Postgres, "ALTER TABLE s.a RENAME TO b", &["s.a", "s.b"]);
    has(Postgres, "ALTER TABLE a SET SCHEMA t", &["a", "t.a"]);
    has(
        Postgres,
        "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c, ATTACH PARTITION d DEFAULT",
        &["a", "c", "d"],
    );
    has(Postgres, "CREATE SEQUENCE s OWNED BY a.b", &["a", "s"]);
    has(Postgres, "REFRESH MATERIALIZED VIEW CONCURRENTLY v", &["v"]);
    has(Postgres, "LOCK TABLE a, ONLY b IN SHARE MODE", &["a", "b"]);
    has(Postgres, "VACUUM (ANALYZE, VERBOSE) a (x), b", &["a", "b"]);
    has(Postgres, "COPY a (b) FROM stdin", &["a"]);
    has(Mysql, "RENAME TABLE a TO b, c TO d.e", &["a", "b", "c", "e"]);
    has(
        Mysql,
        "CREATE DEFINER=`x`@`%` SQL SECURITY INVOKER VIEW v AS SELECT 1 FROM a",
        &["a", "v"],
    );
    has(Mysql, "DROP INDEX i ON a", &["a"]);
    has(Mysql, "LOCK TABLES a AS x READ, b WRITE", &["a", "b"]);
    has(Sqlite, "CREATE VIRTUAL TABLE a USING fts5(b)", &["a"]);
}

#[test]
fn what_cannot_be_told_is_none() {
    for text in [
        "DO $$ BEGIN NULL; END $$",
        "CALL p()",
        "EXECUTE x",
        "DROP SCHEMA s CASCADE",
        "DROP TYPE t CASCADE",
        "GRANT SELECT ON ALL TABLES IN SCHEMA s TO r",
        "TRUNCATE a CASCADE",
        "FROBNICATE a",
    ] {
        assert_eq!(tables(Postgres, text), None, "{text}");
    }
    assert_eq!(tables(Sqlite, "DROP TRIGGER t"), None);
    assert_eq!(tables(Mysql, "CALL p()"), None);
}

/// What the `sqlparser` crate finds, this must find too.
#[test]
fn nothing_that_a_parser_finds_is_missing() {
    use sqlparser::dialect::PostgreSqlDialect;
    let texts = [
        "SELECT a.x, (SELECT max(y) FROM b WHERE b.i = a.i) FROM a, c AS d CROSS JOIN e NATURAL JOIN f",
        "SELECT * FROM a WHERE i IN (SELECT i FROM b UNION SELECT i FROM c EXCEPT SELECT i FROM d) ORDER BY (SELECT 1 FROM e)",
        "SELECT * FROM ((SELECT 1 FROM a) UNION ALL (SELECT 2 FROM b)) x, c",
        "UPDATE a SET b = (SELECT c FROM d WHERE d.i = a.i), e = 1 WHERE f IN (SELECT g FROM h)",
        "INSERT INTO a (b) WITH x AS (SELECT 1 FROM c) SELECT * FROM x, d",
        "DELETE FROM a WHERE i IN (SELECT i FROM b JOIN c ON b.i = c.i)",
        "WITH a1 AS (SELECT 1 FROM a), b1 AS (SELECT 2 FROM b) SELECT * FROM a1, b1, c LEFT JOIN LATERAL (SELECT 1 FROM d) e ON true",
        "SELECT CASE WHEN EXISTS (SELECT FROM a) THEN (SELECT 1 FROM b) ELSE (SELECT 2 FROM c) END",
        "SELECT count(*) FILTER (WHERE x) OVER (PARTITION BY y ORDER BY z) FROM a GROUP BY GROUPING SETS ((b), (c)) HAVING 1 > (SELECT 1 FROM d)",
    ];
    for text in texts {
        let parsed = sqlparser::parser::Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap();
        let found = tables(Postgres, text).unwrap();
        let mut count = 0;
        let _ = sqlparser::ast::visit_relations(&parsed, |relation| {
            let name = relation.to_string();
            // It does not tell common table expressions from tables.
            if !text.contains(&format!("{name} AS (")) {
                assert!(found.contains(&name), "{name} is missing in {text}");
                count += 1;
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
        assert!(count > 0, "{text}");
    }
}
