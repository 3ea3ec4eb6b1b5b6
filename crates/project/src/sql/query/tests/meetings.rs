//! Where statements meet, and what is told apart.

use dunlin_model::Dialect;

use super::{fine, rule};

#[test]
fn what_two_statements_write_is_one_chunks() {
    let postgres = |statement: &str| rule(Dialect::Postgres, statement);
    for statement in [
        "UPDATE o SET s = 1 FROM posts p WHERE o.a = p.a AND :chunk(p); \
         UPDATE o SET s = 2 FROM posts p WHERE o.a = p.b AND :chunk(p)",
        "UPDATE o SET s = p.b FROM posts p WHERE o.x = p.id AND :chunk(p); \
         UPDATE o SET s = p.b FROM posts p WHERE o.y = p.id AND :chunk(p)",
        "UPDATE posts SET n = 0 WHERE :chunk; \
         UPDATE posts c SET n = 1 FROM posts p WHERE c.a = p.id AND :chunk(p)",
        "WITH x AS (UPDATE o SET s = 1 FROM posts p WHERE o.x = p.id AND :chunk(p)) \
         UPDATE o SET r = 2 FROM posts p WHERE o.y = p.id AND :chunk(p)",
    ] {
        let found = postgres(statement);
        assert!(
            matches!(found, Some("chunk-writes-written" | "chunk-overlap")),
            "{found:?}: {statement}"
        );
    }
    for statement in [
        "INSERT INTO x (a, v) SELECT a, 1 FROM posts WHERE n = 1 AND :chunk ON CONFLICT (a) DO NOTHING; \
         INSERT INTO x (a, v) SELECT a, 2 FROM posts WHERE :chunk ON CONFLICT (a) DO NOTHING",
        "INSERT INTO x (a, v) SELECT a, 1 FROM posts WHERE :chunk; \
         INSERT INTO x (a, v) SELECT a, 2 FROM posts WHERE :chunk ON CONFLICT (a) DO UPDATE SET v = excluded.v",
        // What is constant moves rows onto the column by which they are tied.
        "UPDATE o SET c = 1 FROM posts p WHERE o.c = p.id AND :chunk(p); \
         UPDATE posts p SET n = (SELECT count(*) FROM o WHERE o.c = p.id) WHERE :chunk(p)",
        // Rows that are added come behind the walk: the second statement would not do them.
        "INSERT INTO posts (n) SELECT n FROM posts WHERE :chunk; UPDATE posts SET n = 1 WHERE :chunk",
        "INSERT INTO posts (slug, n) SELECT parent, n FROM posts WHERE :chunk \
         ON CONFLICT (slug) DO UPDATE SET n = posts.n + excluded.n",
    ] {
        assert_eq!(postgres(statement), Some("chunk-reads-written"), "{statement}");
    }
    for statement in [
        "UPDATE o SET s = 1 FROM posts p WHERE o.x = p.id AND :chunk(p); \
         UPDATE o SET s = 2 FROM posts p WHERE o.x = p.id AND p.b = 1 AND :chunk(p)",
        "UPDATE posts SET n = 0 WHERE :chunk; UPDATE posts SET n = 1 WHERE b = 2 AND :chunk",
        "INSERT INTO x (a) SELECT a FROM posts WHERE :chunk; INSERT INTO x (a) SELECT b FROM posts WHERE :chunk",
        "INSERT INTO x (a, n) SELECT a, count(*) FROM posts WHERE b = 1 AND :chunk GROUP BY a \
         ON CONFLICT (a) DO UPDATE SET n = x.n + excluded.n; \
         INSERT INTO x (a, n) SELECT n, count(*) FROM posts WHERE b = 2 AND :chunk GROUP BY n \
         ON CONFLICT (a) DO UPDATE SET n = x.n + excluded.n",
        "INSERT INTO posts (id, n) SELECT id, n + 1 FROM posts WHERE :chunk \
         ON CONFLICT (id) DO UPDATE SET n = excluded.n",
    ] {
        assert_eq!(postgres(statement), None, "{statement}");
    }
    let tables = "UPDATE o a JOIN o b ON b.x = a.x JOIN posts p ON p.id = a.p SET a.s = 1, b.s = 2 WHERE :chunk(p)";
    assert!(rule(Dialect::Mysql, tables).is_some());
    let replaces = "UPDATE OR REPLACE posts SET slug = 'a' WHERE :chunk";
    assert_eq!(rule(Dialect::Sqlite, replaces), Some("chunk-replaces"));
}

#[test]
fn a_read_of_all_columns_is_one_of_each() {
    for statement in [
        "UPDATE posts p SET n = (SELECT x.n FROM (SELECT DISTINCT ON (b.a) * FROM posts b WHERE b.a = p.a \
         ORDER BY b.a) x) WHERE :chunk(p)",
        "UPDATE posts p SET n = (SELECT sum(x.n) FROM (TABLE posts) x WHERE x.a = p.a) WHERE :chunk(p)",
        "UPDATE posts p SET n = (SELECT count(x.b) FROM (SELECT b FROM posts b WHERE b.a = p.a) x) WHERE :chunk(p)",
        "UPDATE posts p SET n = (SELECT max(x.t) FROM (SELECT b::text AS t FROM posts b) x) WHERE :chunk(p)",
        "UPDATE posts p SET done = true, n = (SELECT sum(coalesce(NULL, done = true)::int) FROM posts \
         WHERE a = p.a) WHERE :chunk(p)",
        "UPDATE posts p SET s = 'b', n = (SELECT count(*) FROM posts b NATURAL JOIN (SELECT 'a' AS s) w \
         WHERE b.a = p.a) WHERE :chunk(p)",
        "UPDATE posts p SET n = (SELECT sum(z.n) FROM z LEFT JOIN posts y ON y.id = z.id AND z.p = p.id) \
         WHERE :chunk(p); UPDATE z SET n = n + 1 FROM posts p WHERE z.p = p.id AND :chunk(p)",
    ] {
        assert_eq!(rule(Dialect::Postgres, statement), Some("chunk-reads-written"), "{statement}");
    }
    fine(&[
        "UPDATE posts p SET n = (SELECT sum(b.a * b.b) FROM posts b WHERE b.a = p.a) WHERE :chunk(p)",
        "UPDATE posts p SET n = (SELECT count(*) FROM posts b WHERE b.a = p.a) WHERE :chunk(p)",
    ]);
    // `:chunk(p)` is no read of the row.
    let children = "UPDATE posts c SET n = p.id FROM posts p WHERE c.a = p.id AND :chunk(p)";
    assert_eq!(rule(Dialect::Postgres, children), None);
    let all = "WITH x AS (SELECT a, n FROM posts WHERE :chunk) INSERT INTO t2 TABLE x";
    assert_eq!(rule(Dialect::Postgres, all), None);
}

#[test]
fn what_is_told_apart_is_not_counted() {
    for statement in [
        "UPDATE u SET n = u.n + s.c FROM (SELECT a, count(*) AS c FROM (SELECT DISTINCT a, b FROM posts \
         WHERE :chunk) x GROUP BY a) s WHERE s.a = u.id",
        "WITH x AS (SELECT a, b FROM posts WHERE :chunk GROUP BY a, b), s AS (SELECT a, count(*) AS c \
         FROM x GROUP BY a) UPDATE u SET n = u.n + s.c FROM s WHERE s.a = u.id",
        "UPDATE u SET n = u.n + s.c FROM (SELECT a, count(*) AS c FROM (SELECT a, b FROM posts WHERE :chunk \
         UNION SELECT a, n FROM posts WHERE :chunk) x GROUP BY a) s WHERE s.a = u.id",
        "MERGE INTO t USING (SELECT a, count(*) AS n FROM (SELECT DISTINCT a, b FROM posts WHERE :chunk) x \
         GROUP BY a) s ON s.a = t.a WHEN MATCHED THEN UPDATE SET n = t.n + s.n \
         WHEN NOT MATCHED THEN INSERT (a, n) VALUES (s.a, s.n)",
        "INSERT INTO t2 (a) SELECT DISTINCT a FROM posts WHERE :chunk ON CONFLICT (a) DO UPDATE SET old = true",
        "INSERT INTO t2 (a, v) SELECT DISTINCT a, 1 FROM posts WHERE :chunk ON CONFLICT (a) DO UPDATE SET w = excluded.v",
    ] {
        assert_eq!(rule(Dialect::Postgres, statement), Some("chunk-distinct"), "{statement}");
    }
    for statement in [
        // What a sum returns is returned once for each chunk.
        "WITH x AS (INSERT INTO t2 AS t (a, n) SELECT a, count(*) FROM posts WHERE :chunk GROUP BY a \
         ON CONFLICT (a) DO UPDATE SET n = t.n + excluded.n RETURNING a) INSERT INTO log SELECT a FROM x",
        "INSERT INTO t2 AS t (a, n) SELECT a, count(*) FROM posts WHERE :chunk GROUP BY a, b \
         ON CONFLICT (a) DO UPDATE SET n = t.n + excluded.n",
        "INSERT INTO t2 AS t (a, n) SELECT a, count(*) FROM posts WHERE :chunk GROUP BY a \
         ON CONFLICT (a) WHERE open DO UPDATE SET n = t.n + excluded.n",
        "SELECT note(a, count(*)) FROM posts WHERE :chunk GROUP BY a",
        "INSERT INTO t2 SELECT jsonb_agg_strict(a) FROM posts WHERE :chunk",
    ] {
        assert_eq!(rule(Dialect::Postgres, statement), Some("chunk-group"), "{statement}");
    }
    for statement in [
        "INSERT INTO x (a) SELECT p.a FROM posts p WHERE :chunk(p) AND NOT EXISTS (SELECT 1 FROM x \
         WHERE x.a = p.a) GROUP BY p.a, p.b",
        "INSERT INTO x (a) SELECT DISTINCT a FROM posts WHERE :chunk EXCEPT SELECT a FROM x GROUP BY a HAVING count(*) > 1",
    ] {
        assert!(rule(Dialect::Postgres, statement).is_some(), "{statement}");
    }
    let constant = "INSERT INTO t2 (a, v) SELECT DISTINCT a, 'x' FROM posts WHERE :chunk \
                    ON CONFLICT (a) DO UPDATE SET v = 'x'";
    assert_eq!(rule(Dialect::Postgres, constant), None);
}

/// MySQL's names are the same in capitals, in every alphabet.
#[test]
fn names_are_folded_as_the_server_does() {
    let accents = "UPDATE posts SET `Été` = 1, n = (SELECT sum(b.`été`) FROM posts b WHERE b.a = posts.a) \
                   WHERE :chunk";
    assert_eq!(rule(Dialect::Mysql, accents), Some("chunk-reads-written"));
    assert_eq!(rule(Dialect::Sqlite, accents), None);
}

#[test]
fn sums_that_people_write_otherwise_are_added() {
    let upsert = |list: &str, group: &str| {
        let text = format!(
            "INSERT INTO t2 (a, v) SELECT {list} FROM posts WHERE :chunk GROUP BY {group} \
             ON CONFLICT (a) DO UPDATE SET v = t2.v + excluded.v"
        );
        rule(Dialect::Postgres, &text)
    };
    for (list, group) in [
        ("a, count(*)::int", "a"),
        ("a, count(*) FILTER (WHERE b = 1)", "a"),
        ("a, count(b) FILTER (WHERE b > 1)::bigint AS n", "a"),
        ("n::date, count(*)", "n::date"),
        ("date_trunc('day', n), count(*)", "date_trunc('day', n)"),
        ("date_trunc('day', n) AS day, count(*)", "day"),
        ("date_trunc('day', n), count(*)", "1"),
    ] {
        assert_eq!(upsert(list, group), None, "{list} by {group}");
    }
    for (list, group) in [
        ("a, count(*)::numeric(3)", "a"),
        ("a, count(*)::smallint", "a"),
        ("a, sum(n)::int", "a"),
        ("a, count(*) + 1", "a"),
        ("n::date, count(*)", "n::text"),
        ("date_trunc('day', n) AS n, count(*)", "n"),
    ] {
        assert_eq!(upsert(list, group), Some("chunk-group"), "{list} by {group}");
    }
}

#[test]
fn a_constant_tells_no_rows_apart() {
    let insert = |list: &str| {
        let text = format!(
            "INSERT INTO x (a, v) SELECT DISTINCT {list} FROM posts p WHERE :chunk(p) \
             AND NOT EXISTS (SELECT 1 FROM x WHERE x.a = p.a)"
        );
        rule(Dialect::Postgres, &text)
    };
    assert_eq!(insert("p.a, 'new'"), None);
    assert_eq!(insert("p.a, true"), None);
    assert_eq!(insert("p.a, p.b"), Some("chunk-reads-written"));
    assert_eq!(insert("'new', p.a"), Some("chunk-reads-written"));
}
