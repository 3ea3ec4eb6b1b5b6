mod groups;
mod meetings;

use std::collections::BTreeSet;
use std::path::Path;

use dunlin_model::Dialect;
use proptest::prelude::*;

use crate::directive::Subject;
use crate::sql::{Known, Spread, parse_script, spread, table_parts};

const DIALECTS: [Dialect; 3] = [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite];

/// The rule that refuses a statement over `posts`, walked by `id`.
fn rule(dialect: Dialect, statement: &str) -> Option<&'static str> {
    by_key(dialect, statement, &["id"])
}

fn by_key(dialect: Dialect, statement: &str, key: &[&str]) -> Option<&'static str> {
    let file = Path::new("1_a.sql");
    let text = format!("-- dunlin: chunk-by posts\n{statement};");
    let script = match parse_script(dialect, file, text.as_bytes(), Subject::DataSql) {
        Ok(script) => script,
        Err(errors) => {
            assert!(errors[0].place.is_some() && errors[0].help.is_some(), "{}", errors[0]);
            return Some(errors[0].rule);
        }
    };
    // Columns called `a`, `n` and `id` are never NULL.
    let is_fine = |one: &Spread| {
        let solid = |columns: &BTreeSet<String>| {
            columns.iter().all(|one| ["a", "n", "id"].contains(&one.as_str()))
        };
        key.iter().all(|column| one.within.contains(*column))
            || one.solid.as_ref().is_some_and(solid)
    };
    let known = Known::default();
    let found = spread(dialect, file, &["posts".into()], &script.statements, &known, is_fine);
    found.first().map(|one| one.rule)
}

#[track_caller]
fn refused(rule_name: &str, statements: &[&str]) {
    all_are(Some(rule_name), statements);
}

#[track_caller]
fn fine(statements: &[&str]) {
    all_are(None, statements);
}

#[track_caller]
fn all_are(expected: Option<&str>, statements: &[&str]) {
    let each = statements.iter().flat_map(|one| DIALECTS.map(|dialect| (dialect, *one)));
    let found = each.map(|(dialect, one)| (dialect, one, rule(dialect, one)));
    let wrong: Vec<String> = found
        .filter(|(.., rule)| *rule != expected)
        .map(|(dialect, one, rule)| format!("{dialect:?}: {rule:?}: {one}"))
        .collect();
    assert!(wrong.is_empty(), "not {expected:?}:\n{}", wrong.join("\n"));
}

#[test]
fn the_alias_is_the_walked_tables() {
    refused(
        "chunk-other-table",
        &[
            "UPDATE posts p SET a = o.a FROM orders o WHERE o.post_id = p.id AND :chunk(o)",
            "DELETE FROM orders o WHERE :chunk(o)",
            "INSERT INTO t2 SELECT u.id FROM posts p JOIN users u ON u.id = p.user_id WHERE :chunk(u)",
            "INSERT INTO t2 SELECT users.id FROM posts, users WHERE :chunk(users)",
            "UPDATE posts SET a = 1 WHERE EXISTS (SELECT 1 FROM orders o WHERE :chunk(o)) AND :chunk",
            "INSERT INTO t2 SELECT id FROM orders WHERE :chunk",
            "UPDATE orders SET a = 1 WHERE :chunk",
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE :chunk)",
        ],
    );
    fine(&[
        "UPDATE orders o SET a = p.a FROM posts p WHERE o.post_id = p.id AND :chunk(p)",
        "INSERT INTO t2 SELECT p.id FROM posts AS p JOIN users u ON u.id = p.user_id WHERE :chunk(p)",
        "UPDATE posts SET a = 1 WHERE :chunk(posts)",
        "DELETE FROM orders WHERE EXISTS (SELECT 1 FROM posts p WHERE p.o = orders.id AND :chunk(p))",
        "DELETE FROM orders USING posts AS p WHERE p.o = orders.id AND :chunk(p)",
        "INSERT INTO t2 SELECT s.id FROM (SELECT * FROM posts) s WHERE :chunk(s)",
        "WITH x AS (SELECT * FROM posts) INSERT INTO t2 SELECT x.id FROM x WHERE :chunk(x)",
        "INSERT INTO t2 SELECT p.id FROM (posts p JOIN users u ON u.id = p.user_id) WHERE :chunk(p)",
        "INSERT INTO t2 SELECT x.id, f.v FROM json_each('[]') f, posts x WHERE :chunk(x)",
    ]);
    for (dialect, statement) in [
        (Dialect::Postgres, "UPDATE ONLY public.posts AS \"P\" SET a = 1 WHERE :chunk(\"P\")"),
        (Dialect::Postgres, "UPDATE blog.posts p SET a = 1 WHERE :chunk(p)"),
        (
            Dialect::Mysql,
            "UPDATE orders o JOIN `app`.`Posts` P ON o.p = P.id SET o.a = 1 WHERE :chunk(p)",
        ),
        (Dialect::Mysql, "DELETE p FROM posts p JOIN orders o ON o.p = p.id WHERE :chunk(p)"),
        (Dialect::Mysql, "DELETE FROM p USING posts p JOIN orders o ON o.p = p.id WHERE :chunk(p)"),
        (Dialect::Sqlite, "UPDATE OR IGNORE main.posts SET a = 1 WHERE :chunk"),
        (Dialect::Sqlite, "INSERT INTO t2 SELECT p.id FROM posts p INDEXED BY i WHERE :chunk(p)"),
    ] {
        assert_eq!(rule(dialect, statement), None, "{statement}");
    }
    let other = "UPDATE posts p JOIN orders o ON o.p = p.id SET p.a = 1 WHERE :chunk(o)";
    assert_eq!(rule(Dialect::Mysql, other), Some("chunk-other-table"));
    let row = "UPDATE posts SET a = 1 WHERE :chunk(posts) AND EXISTS (SELECT 1 FROM x.posts AS p \
               WHERE p.id = posts.id)";
    assert_eq!(rule(Dialect::Postgres, row), None);
}

#[test]
fn a_merge_is_bound_in_each_of_its_parts() {
    const UPDATE: &str = "WHEN MATCHED THEN UPDATE SET a = s.a";
    const INSERT: &str = "WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)";
    const REST: &str = "WHEN NOT MATCHED BY SOURCE THEN DELETE";
    let of_query = "MERGE INTO o USING (SELECT * FROM posts WHERE :chunk) s ON o.id = s.id";
    let of_with =
        "WITH x AS (SELECT * FROM posts WHERE :chunk) MERGE INTO o USING x s ON o.id = s.id";
    let by_target = "MERGE INTO posts p USING s ON p.id = s.id AND :chunk(p)";
    let by_source = "MERGE INTO o USING posts s ON o.id = s.id AND :chunk(s)";
    for (text, expected) in [
        (format!("{of_query} {UPDATE} {INSERT}"), None),
        (format!("{of_with} {UPDATE} {INSERT}"), None),
        (format!("{by_target} {UPDATE}"), None),
        (format!("{by_target} {UPDATE} WHEN NOT MATCHED THEN DO NOTHING"), None),
        (format!("{by_source} {UPDATE}"), None),
        (
            "MERGE INTO o USING posts s ON o.id = s.id WHEN MATCHED AND :chunk(s) THEN DELETE \
             WHEN NOT MATCHED AND :chunk(s) THEN INSERT (id) VALUES (s.id)"
                .to_owned(),
            None,
        ),
        (
            format!(
                "MERGE INTO posts p USING (SELECT * FROM posts WHERE :chunk) s ON p.id = s.id \
                 {UPDATE} WHEN NOT MATCHED BY SOURCE AND :chunk(p) THEN DELETE"
            ),
            None,
        ),
        (format!("{of_query} {UPDATE} {REST}"), Some("chunk-merge")),
        (format!("{by_target} {UPDATE} {INSERT}"), Some("chunk-merge")),
        (format!("{by_source} {INSERT}"), Some("chunk-merge")),
        (
            format!("MERGE INTO o USING posts s ON o.id = s.id WHEN MATCHED AND :chunk(s) THEN DELETE {INSERT}"),
            Some("chunk-merge"),
        ),
        (
            format!("MERGE INTO posts p USING orders o ON p.id = o.id AND :chunk(o) {UPDATE}"),
            Some("chunk-other-table"),
        ),
        (
            "MERGE INTO o USING (SELECT a, count(*) n FROM posts WHERE :chunk GROUP BY a) s ON o.id = s.a \
             WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.a, s.n)"
                .to_owned(),
            Some("chunk-group"),
        ),
        (
            "MERGE INTO o USING (SELECT a, count(*) n FROM posts WHERE :chunk GROUP BY a) s ON o.id = s.a \
             WHEN MATCHED THEN UPDATE SET n = o.n + s.n WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.a, s.n)"
                .to_owned(),
            None,
        ),
    ] {
        assert_eq!(rule(Dialect::Postgres, &text), expected, "{text}");
    }
}

/// What the guides show is taken as it stands there.
#[test]
fn the_guides_are_accepted() {
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides");
    let mut seen = 0;
    for guide in ["backfills.md", "backfill-recipes.md"] {
        let text = std::fs::read_to_string(guides.join(guide)).expect(guide);
        for block in text.split("```sql\n").skip(1) {
            let sql = block.split("```").next().unwrap_or_default();
            if !sql.contains("chunk-by") || !sql.contains(":chunk") {
                continue;
            }
            seen += 1;
            let file = Path::new("1_a.sql");
            let script = parse_script(Dialect::Postgres, file, sql.as_bytes(), Subject::DataSql)
                .unwrap_or_else(|errors| panic!("{sql}: {errors:?}"));
            let table = script.directives.chunking.expect("chunk-by").table;
            let table = table_parts(Dialect::Postgres, &table);
            let of_key = |one: &Spread| one.within.contains("id") || one.solid.is_some();
            let known = Known::default();
            let found = spread(Dialect::Postgres, file, &table, &script.statements, &known, of_key);
            assert!(found.is_empty(), "{sql}: {found:?}");
        }
    }
    assert!(seen >= 7, "{seen}");
}

#[test]
fn migrations_of_all_kinds_pass() {
    for (dialect, statement) in [
        (
            Dialect::Postgres,
            "UPDATE posts SET tags = (SELECT jsonb_agg(lower(x) ORDER BY x) FROM jsonb_array_elements_text(posts.tags) x) WHERE :chunk",
        ),
        (
            Dialect::Postgres,
            "UPDATE posts SET a = s.a FROM (SELECT p.id, array_agg(u.v) a FROM posts p, unnest(p.list) AS u(v) \
             WHERE :chunk(p) GROUP BY p.id) s WHERE s.id = posts.id",
        ),
        (
            Dialect::Postgres,
            "INSERT INTO tags (name) SELECT DISTINCT t.name FROM posts p CROSS JOIN LATERAL \
             jsonb_array_elements_text(p.tags) AS t(name) WHERE :chunk(p) ON CONFLICT (name) DO NOTHING",
        ),
        (
            Dialect::Postgres,
            "UPDATE posts p SET n = x.n FROM LATERAL (SELECT 1) y, (SELECT post_id, count(*) AS n FROM comments \
             GROUP BY post_id) x WHERE x.post_id = p.id AND :chunk(p)",
        ),
        (
            Dialect::Postgres,
            "INSERT INTO last (post_id, at) SELECT p.id, c.at FROM posts p JOIN LATERAL (SELECT at FROM comments c \
             WHERE c.post_id = p.id ORDER BY at DESC LIMIT 1) c ON true WHERE :chunk(p)",
        ),
        (
            Dialect::Postgres,
            "WITH moved AS (DELETE FROM posts WHERE :chunk RETURNING id, user_id), \
             log AS (INSERT INTO log SELECT id FROM moved RETURNING id) \
             INSERT INTO archive SELECT m.id, u.name FROM moved m JOIN users u ON u.id = m.user_id",
        ),
        (
            Dialect::Mysql,
            "UPDATE posts p JOIN (SELECT post_id, count(*) n FROM comments GROUP BY post_id) c ON c.post_id = p.id \
             SET p.n = c.n WHERE :chunk(p)",
        ),
        (
            Dialect::Mysql,
            "INSERT INTO tags SELECT p.id, j.tag FROM posts p, JSON_TABLE(p.tags, '$[*]' COLUMNS (tag TEXT PATH '$')) j \
             WHERE :chunk(p)",
        ),
        (
            Dialect::Sqlite,
            "UPDATE posts SET tags = (SELECT json_group_array(value) FROM json_each(posts.tags)) WHERE :chunk",
        ),
        (
            Dialect::Sqlite,
            "INSERT INTO words (post, word) SELECT posts.id, j.value FROM posts, json_each(posts.words) AS j WHERE :chunk(posts)",
        ),
    ] {
        assert_eq!(rule(dialect, statement), None, "{statement}");
    }
}

#[test]
fn a_chunk_is_a_condition_of_its_own() {
    refused(
        "chunk-place",
        &[
            "UPDATE posts SET a = 1 WHERE :chunk IS NOT TRUE",
            "UPDATE posts SET a = 1 WHERE b = 2 AND :chunk = false",
            "UPDATE posts SET a = 1 WHERE CASE WHEN :chunk THEN b = 1 ELSE true END",
            "UPDATE posts SET a = 1 WHERE CASE WHEN b = 1 AND :chunk AND c = 2 THEN false ELSE true END",
            "DELETE FROM posts WHERE coalesce(:chunk, true)",
            "DELETE FROM posts WHERE b IN (1, :chunk)",
            "DELETE FROM posts WHERE b BETWEEN 1 AND :chunk",
            "DELETE FROM posts WHERE :chunk IN (true, false)",
            "DELETE FROM posts WHERE f(b = 1 AND :chunk)",
            "INSERT INTO x SELECT a FROM posts GROUP BY a HAVING :chunk",
            "INSERT INTO x SELECT count(*) FILTER (WHERE :chunk) FROM posts",
            "INSERT INTO x SELECT :chunk FROM posts",
            "INSERT INTO x SELECT a FROM posts ORDER BY :chunk",
            "INSERT INTO x SELECT a FROM posts ON CONFLICT (a) DO UPDATE SET b = 1 WHERE :chunk",
        ],
    );
    for (statement, expected) in [
        ("UPDATE posts SET a = 1 WHERE ! :chunk", "chunk-place"),
        ("UPDATE posts SET a = 1 WHERE :chunk || b", "chunk-place"),
        ("UPDATE posts SET a = 1 WHERE b || c AND :chunk", "chunk-place"),
        ("UPDATE posts SET a = 1 WHERE b XOR c AND :chunk", "chunk-or"),
        ("UPDATE posts SET a = 1 WHERE :chunk /*! OR 1=1 */", "chunk-comment"),
        ("UPDATE posts SET a = (@n := @n + 1) WHERE :chunk", "chunk-variable"),
    ] {
        assert_eq!(rule(Dialect::Mysql, statement), Some(expected), "{statement}");
    }
    let joined = "UPDATE posts SET a = b || c WHERE b || c = 'x' AND :chunk";
    assert_eq!(rule(Dialect::Postgres, joined), None);
    fine(&[
        "UPDATE posts SET a = 1 WHERE b BETWEEN 1 AND 2 AND :chunk AND c NOT BETWEEN 2 AND 3",
        "UPDATE posts SET a = 1 WHERE (b = 1 OR c = 2) AND ((:chunk) AND d = 1)",
        "UPDATE posts SET a = 1 WHERE CASE WHEN b = 1 OR c = 2 THEN d ELSE e END = 1 AND :chunk",
        "UPDATE posts SET a = 1 WHERE NOT b = 2 AND :chunk",
        "UPDATE posts SET a = 1 WHERE EXISTS (SELECT 1 FROM o WHERE o.a = posts.a OR o.b = 1) AND :chunk",
    ]);
}

#[test]
fn each_write_is_a_chunks() {
    let postgres = |statement: &str| rule(Dialect::Postgres, statement);
    for statement in [
        "WITH x AS (UPDATE o SET n = n + 1 RETURNING id) UPDATE posts SET a = 1 WHERE :chunk",
        "WITH x AS (INSERT INTO log VALUES (1)) DELETE FROM posts WHERE :chunk",
        "WITH x AS (DELETE FROM posts WHERE :chunk RETURNING id) DELETE FROM o",
        "WITH x AS (SELECT id FROM posts WHERE :chunk) INSERT INTO log SELECT 1",
        "WITH x AS (SELECT id FROM posts WHERE :chunk) SELECT count(*) FROM o",
    ] {
        assert_eq!(postgres(statement), Some("chunk-unbound"), "{statement}");
    }
    for statement in [
        "WITH x AS (DELETE FROM posts WHERE :chunk RETURNING id) INSERT INTO log SELECT id FROM x",
        "WITH x AS (UPDATE o SET n = 1 FROM posts p WHERE p.id = o.post AND :chunk(p)) \
         DELETE FROM posts WHERE :chunk",
        "WITH new AS (INSERT INTO o (post, n) SELECT p.id, 1 FROM posts p WHERE :chunk(p) \
         RETURNING id, post) UPDATE posts SET o = new.id FROM new WHERE new.post = posts.id",
    ] {
        assert_eq!(postgres(statement), None, "{statement}");
    }
}

#[test]
fn the_side_that_may_be_missing_bounds_nothing() {
    refused(
        "chunk-outer-join",
        &[
            "INSERT INTO x SELECT o.id, s.id FROM o LEFT JOIN (SELECT * FROM posts WHERE :chunk) s ON s.a = o.a",
            "WITH s AS (SELECT * FROM posts WHERE :chunk) INSERT INTO x SELECT o.id FROM o LEFT JOIN s ON s.a = o.a",
            "INSERT INTO x SELECT o.id, p.id FROM o LEFT JOIN posts p ON p.a = o.a WHERE :chunk(p)",
            "INSERT INTO x SELECT o.id, p.id FROM posts p RIGHT JOIN o ON p.a = o.a WHERE :chunk(p)",
            "INSERT INTO x SELECT o.id, p.id FROM posts p FULL JOIN o ON p.a = o.a WHERE :chunk(p)",
            "INSERT INTO x SELECT p.id FROM o LEFT JOIN (posts p JOIN c ON c.a = p.a) ON p.a = o.a WHERE :chunk(p)",
        ],
    );
    fine(&[
        "INSERT INTO x SELECT p.id, o.a FROM posts p LEFT JOIN o ON o.a = p.a WHERE :chunk(p)",
        "INSERT INTO x SELECT p.id, o.a FROM o RIGHT JOIN posts p ON o.a = p.a WHERE :chunk(p)",
        "INSERT INTO x SELECT s.id, o.a FROM (SELECT * FROM posts WHERE :chunk) s LEFT JOIN o ON o.a = s.a",
        "INSERT INTO profiles (user_id) SELECT p.id FROM posts p LEFT JOIN profiles o ON o.user_id = p.id \
         WHERE o.user_id IS NULL AND :chunk(p)",
    ]);
}

#[test]
fn a_chunk_is_of_the_table_itself() {
    refused(
        "chunk-sub-query",
        &[
            "INSERT INTO x SELECT s.id FROM (SELECT id + 100 AS id FROM posts) s WHERE :chunk(s)",
            "INSERT INTO x SELECT s.id FROM (SELECT id FROM orders) s WHERE :chunk(s)",
            "INSERT INTO x SELECT id FROM (SELECT max(id) AS id FROM posts GROUP BY a) s WHERE :chunk",
            "WITH c AS (SELECT p.* FROM posts p JOIN o ON o.a = p.a) INSERT INTO x SELECT c.id FROM c WHERE :chunk(c)",
        ],
    );
    let renamed = "INSERT INTO x SELECT p.b FROM posts AS p (b, id) WHERE :chunk(p)";
    assert_eq!(rule(Dialect::Postgres, renamed), Some("chunk-other-table"));
    refused(
        "chunk-other-table",
        &["INSERT INTO x SELECT a.id FROM posts a JOIN posts b ON b.a = a.a WHERE :chunk"],
    );
}

#[test]
fn a_row_that_several_chunks_would_change_is_refused() {
    refused(
        "chunk-overlap",
        &[
            "UPDATE o SET n = n + 1 WHERE id IN (SELECT a FROM posts WHERE :chunk)",
            "UPDATE o SET n = n + 1 WHERE EXISTS (SELECT 1 FROM posts p WHERE p.a = o.id AND :chunk(p))",
            "INSERT INTO x SELECT id FROM o WHERE id IN (SELECT a FROM posts WHERE :chunk)",
        ],
    );
    for statement in [
        "UPDATE o SET n = o.n + p.n FROM posts p WHERE p.a = o.id AND :chunk(p)",
        "UPDATE o SET n = o.n + p.n FROM posts p JOIN c ON c.p = p.id WHERE c.o = o.id AND :chunk(p)",
        "UPDATE o SET post = o.post + 1 FROM posts p WHERE p.id = o.post AND :chunk(p)",
    ] {
        assert_eq!(rule(Dialect::Postgres, statement), Some("chunk-overlap"), "{statement}");
    }
    fine(&[
        "UPDATE o SET n = n + 1 WHERE post IN (SELECT id FROM posts WHERE :chunk)",
        "UPDATE o SET seen = 1 WHERE id IN (SELECT a FROM posts WHERE :chunk)",
        "DELETE FROM o WHERE id IN (SELECT a FROM posts WHERE :chunk)",
        "UPDATE o SET n = o.n + p.n FROM posts p WHERE p.id = o.post AND :chunk(p)",
    ]);
    let both = "DELETE p, o FROM posts p JOIN o ON o.a = p.a WHERE :chunk(p)";
    assert_eq!(rule(Dialect::Mysql, both), Some("chunk-overlap"));
}

#[test]
fn what_other_chunks_write_is_not_read() {
    refused(
        "chunk-reads-written",
        &[
            "UPDATE posts SET n = (SELECT max(n) FROM posts) WHERE :chunk",
            "UPDATE posts SET n = (SELECT q.n FROM posts q WHERE q.id = posts.parent) WHERE :chunk",
            "DELETE FROM posts WHERE parent IN (SELECT id FROM posts WHERE gone) AND :chunk",
            "DELETE FROM posts p WHERE EXISTS (SELECT 1 FROM posts q WHERE q.a = p.a AND q.id <> p.id) AND :chunk(p)",
            "DELETE FROM posts p WHERE NOT EXISTS (SELECT 1 FROM posts q WHERE q.a = p.a AND q.id < p.id) AND :chunk(p)",
            "INSERT INTO x (a) SELECT p.a FROM posts p WHERE NOT EXISTS (SELECT 1 FROM x WHERE x.a = p.a) AND :chunk(p)",
            "UPDATE posts SET a = 1 WHERE :chunk; INSERT INTO x SELECT id, (SELECT sum(a) FROM posts) FROM posts WHERE :chunk",
            "INSERT INTO x SELECT id FROM posts WHERE :chunk; UPDATE posts SET n = (SELECT count(*) FROM x) WHERE :chunk",
            "INSERT INTO x (a) SELECT a FROM posts WHERE a NOT IN (SELECT a FROM x) AND :chunk",
            "DELETE FROM posts WHERE id IN (SELECT parent FROM posts WHERE gone) AND :chunk",
        ],
    );
    fine(&[
        "UPDATE posts SET n = (SELECT count(*) FROM posts q WHERE q.a = posts.a) WHERE :chunk",
        "UPDATE posts SET n = (SELECT q.n FROM posts q WHERE q.id = posts.id) WHERE :chunk",
        "DELETE FROM posts p WHERE EXISTS (SELECT 1 FROM posts q WHERE q.a = p.a AND q.id < p.id AND q.b = 1) AND :chunk(p)",
        "INSERT INTO x (post) SELECT p.id FROM posts p WHERE NOT EXISTS (SELECT 1 FROM x WHERE x.post = p.id) AND :chunk(p)",
        "INSERT INTO x (a) SELECT DISTINCT p.a FROM posts p WHERE NOT EXISTS (SELECT 1 FROM x WHERE x.a = p.a) AND :chunk(p)",
        "INSERT INTO x (b) SELECT DISTINCT p.b FROM posts p WHERE p.b IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM x WHERE x.b = p.b) AND :chunk(p)",
        "INSERT INTO x (post) SELECT id FROM posts WHERE id NOT IN (SELECT post FROM x) AND :chunk",
        "INSERT INTO x (post) SELECT p.id FROM posts p WHERE p.id NOT IN (SELECT x.post FROM x) AND :chunk(p)",
        "UPDATE posts SET boss_name = m.name FROM posts m WHERE m.id = posts.boss AND :chunk(posts)",
        "WITH batch AS (SELECT id FROM posts WHERE :chunk) UPDATE posts SET a = 1 FROM batch \
         WHERE posts.id = batch.id",
        "INSERT INTO x SELECT * FROM posts WHERE :chunk; DELETE FROM posts WHERE :chunk",
        "INSERT INTO x (post, n) SELECT id, n FROM posts WHERE :chunk; \
         UPDATE posts SET x = (SELECT x.id FROM x WHERE x.post = posts.id) WHERE :chunk",
    ]);
    let null = "INSERT INTO x (b) SELECT DISTINCT p.b FROM posts p \
                WHERE NOT EXISTS (SELECT 1 FROM x WHERE x.b = p.b) AND :chunk(p)";
    assert_eq!(rule(Dialect::Postgres, null), Some("chunk-reads-written"));
}

#[test]
fn only_parts_that_can_be_put_together_are_added() {
    let refused_sums = [
        "INSERT INTO t2 (a, v) SELECT a, avg(n) FROM posts WHERE :chunk GROUP BY a ON CONFLICT (a) DO UPDATE SET v = t2.v + excluded.v",
        "INSERT INTO t2 (a, v) SELECT a, count(DISTINCT n) FROM posts WHERE :chunk GROUP BY a ON CONFLICT (a) DO UPDATE SET v = t2.v + excluded.v",
        "INSERT INTO t2 (a, v) SELECT a, sum(b) FROM posts WHERE :chunk GROUP BY a ON CONFLICT (a) DO UPDATE SET v = t2.v + excluded.v",
        "INSERT INTO t2 (a, v) SELECT a, max(n) FROM posts WHERE :chunk GROUP BY a ON CONFLICT (a) DO UPDATE SET v = t2.v + excluded.v",
        "INSERT INTO t2 (a, v, w) SELECT a, count(*), sum(n) FROM posts WHERE :chunk GROUP BY a ON CONFLICT (a) DO UPDATE SET v = t2.v + excluded.v",
        "INSERT INTO t2 (a, v) SELECT a, count(*) FROM posts WHERE :chunk GROUP BY a ON CONFLICT (a) DO UPDATE SET v = t2.v + excluded.v WHERE excluded.v > 1",
        "UPDATE o SET n = o.n + s.c FROM (SELECT a, count(*) c FROM posts WHERE :chunk GROUP BY a) s WHERE s.a = o.id AND s.c > 1",
        "UPDATE o SET n = o.n + s.c FROM (SELECT a, count(*) c FROM posts WHERE :chunk GROUP BY a) s WHERE s.a = o.id AND o.n < 5",
    ];
    for statement in refused_sums {
        let found = rule(Dialect::Postgres, statement);
        assert!(matches!(found, Some("chunk-group" | "chunk-overlap")), "{found:?}: {statement}");
    }
    for statement in [
        "INSERT INTO t2 (a, v) SELECT a, sum(coalesce(b, 0)) FROM posts WHERE :chunk GROUP BY a ON CONFLICT (a) DO UPDATE SET v = t2.v + excluded.v",
        "INSERT INTO t2 (a, v, w) SELECT a, count(*), max(b) FROM posts WHERE :chunk GROUP BY a \
         ON CONFLICT (a) DO UPDATE SET v = t2.v + excluded.v, w = greatest(t2.w, excluded.w)",
    ] {
        assert_eq!(rule(Dialect::Postgres, statement), None, "{statement}");
    }
}

#[test]
fn where_and_what_instead_is_said() {
    let text =
        "-- dunlin: chunk-by posts\nINSERT INTO t2\nSELECT count(*)\n  FROM posts WHERE :chunk;";
    let file = Path::new("1_a.sql");
    let errors = parse_script(Dialect::Postgres, file, text.as_bytes(), Subject::DataSql)
        .expect_err("a count of a chunk");
    let place = errors[0].place.as_ref().expect("a place");
    assert_eq!((place.line, place.column), (Some(3), Some(8)));
    assert!(errors[0].help.as_ref().is_some_and(|help| help.contains("sub-query")));
}

proptest! {
    #[test]
    fn no_statement_makes_it_panic(parts in prop::collection::vec(prop::sample::select(vec![
        "SELECT ", "INSERT INTO t ", "UPDATE t SET a = ", "DELETE FROM t ", "MERGE INTO t ", "USING ",
        "WITH x AS (", "(", ")", ",", ".", "*", "=", "1", "a", "t", "posts ", "FROM ", "WHERE ", "ON ",
        "GROUP BY ", "HAVING ", "ORDER BY ", "WINDOW w AS (", "OVER (", "OVER w ", "PARTITION BY ",
        "UNION ", "ALL ", "DISTINCT ", "DISTINCT ON (", "count(", "AS ", "JOIN ", "WHEN MATCHED ",
        "WHEN NOT MATCHED BY SOURCE ", "THEN ", "UPDATE SET ", "INSERT ", "RETURNING ", ":chunk ",
        ":chunk(t) ", "ON CONFLICT DO UPDATE SET ", "VALUES ", "CASE ", "END ", "AND ", "OR ",
    ]), 0..60)) {
        let text = format!("{} WHERE :chunk", parts.concat());
        for dialect in DIALECTS {
            rule(dialect, &text);
        }
    }
}
