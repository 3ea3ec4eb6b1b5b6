//! Groups, sets and windows, which a chunk may cut.

use dunlin_model::Dialect;

use super::{by_key, fine, refused, rule};

#[test]
fn groups_that_lie_in_several_chunks_are_refused() {
    refused(
        "chunk-group",
        &[
            "INSERT INTO t2 SELECT customer_id, count(*) FROM posts WHERE :chunk GROUP BY customer_id",
            "INSERT INTO t2 SELECT 1, count(*) FROM posts WHERE :chunk",
            "INSERT INTO t2 SELECT my_sum(n) FILTER (WHERE a > 1) FROM posts WHERE :chunk",
            "INSERT INTO t2 SELECT my_list(DISTINCT a) FROM posts WHERE :chunk",
            "INSERT INTO t2 SELECT my_list(a ORDER BY id) FROM posts WHERE :chunk",
            "INSERT INTO t2 (SELECT sum(n) FROM posts WHERE a = 1 AND :chunk)",
            "INSERT INTO t2 SELECT p.a, count(c.id) FROM posts p JOIN comments c ON c.post_id = p.id \
             WHERE :chunk(p) GROUP BY p.a",
            "INSERT INTO t2 SELECT c.id, count(*) FROM posts p JOIN comments c ON c.post_id = p.id \
             WHERE :chunk(p) GROUP BY c.id",
            "INSERT INTO t2 SELECT lower(a), max(n) FROM posts WHERE :chunk GROUP BY lower(a)",
            "INSERT INTO t2 SELECT a, max(n) FROM posts WHERE :chunk GROUP BY 1",
            "INSERT INTO t2 SELECT id, count(*) FROM posts WHERE :chunk GROUP BY ROLLUP (id)",
            "INSERT INTO t2 SELECT id, count(*) FROM posts WHERE :chunk GROUP BY id WITH ROLLUP",
            "WITH x AS (SELECT * FROM posts WHERE :chunk) INSERT INTO t2 SELECT a, count(*) FROM x GROUP BY a",
            "WITH x AS (DELETE FROM posts WHERE :chunk RETURNING *) INSERT INTO t2 SELECT a, sum(n) FROM x GROUP BY a",
            "INSERT INTO t2 SELECT s.a, count(*) FROM (SELECT a FROM posts WHERE :chunk) s GROUP BY s.a",
            "INSERT INTO t2 SELECT id, n FROM (SELECT a AS id, count(*) AS n FROM posts WHERE :chunk GROUP BY a) s",
            "UPDATE o SET n = s.n FROM (SELECT a, count(*) n FROM posts WHERE :chunk GROUP BY a) s WHERE s.a = o.id",
            "DELETE FROM o WHERE id IN (SELECT a FROM posts WHERE :chunk GROUP BY a HAVING count(*) > 1)",
            "INSERT INTO t2 SELECT p.user_id, count(*) FROM users u JOIN posts p ON p.user_id = u.id \
             WHERE :chunk(p) GROUP BY u.id",
        ],
    );
    let conflict = [
        // The least one is the first that comes only with one worker.
        "INSERT INTO t2 SELECT a, min(id) FROM posts WHERE :chunk GROUP BY a ON CONFLICT DO NOTHING",
        "INSERT INTO t2 SELECT a, count(*) FROM posts WHERE :chunk GROUP BY a ON CONFLICT DO NOTHING",
        "INSERT INTO t2 SELECT a, count(*) AS n FROM posts WHERE :chunk GROUP BY a \
         ON CONFLICT (a) DO UPDATE SET n = excluded.n",
    ];
    for statement in conflict {
        assert_eq!(rule(Dialect::Postgres, statement), Some("chunk-group"), "{statement}");
    }
    let mysql = [
        "REPLACE INTO t2 SELECT a, count(*) FROM posts WHERE :chunk GROUP BY a",
        "INSERT IGNORE INTO t2 SELECT a, count(*) FROM posts WHERE :chunk GROUP BY a",
        "INSERT INTO t2 SELECT a, count(*) FROM posts WHERE :chunk GROUP BY a \
         ON DUPLICATE KEY UPDATE n = VALUES(n)",
        "UPDATE o JOIN (SELECT a, count(*) n FROM posts WHERE :chunk GROUP BY a) s ON s.a = o.id \
         SET o.n = s.n",
    ];
    for statement in mysql {
        assert_eq!(rule(Dialect::Mysql, statement), Some("chunk-group"), "{statement}");
    }
}

#[test]
fn groups_of_one_chunk_pass() {
    fine(&[
        "INSERT INTO t2 SELECT id, count(*) FROM posts WHERE :chunk GROUP BY id",
        "INSERT INTO t2 SELECT p.id, count(c.id) FROM posts p LEFT JOIN comments c ON c.post_id = p.id \
         WHERE :chunk(p) GROUP BY p.id",
        "INSERT INTO t2 SELECT p.id, p.a, count(*) FROM posts p, comments c \
         WHERE c.post_id = p.id AND :chunk(p) GROUP BY p.a, p.id HAVING count(*) > 1",
        "INSERT INTO t2 SELECT c.post_id, count(*) FROM posts p JOIN comments c ON (c.post_id = p.id) \
         WHERE :chunk(p) GROUP BY c.post_id",
        "INSERT INTO t2 SELECT c.id, count(*) FROM posts p JOIN comments c USING (id, a) \
         WHERE :chunk(p) GROUP BY c.id",
        "INSERT INTO t2 SELECT d.post_id, count(*) FROM posts p JOIN c ON c.post_id = p.id \
         JOIN d ON d.post_id = c.post_id WHERE :chunk(p) GROUP BY d.post_id",
        "INSERT INTO t2 SELECT id, count(*) FROM posts WHERE :chunk GROUP BY 1",
        "INSERT INTO t2 SELECT p.id AS post, count(*) FROM posts p WHERE :chunk(p) GROUP BY post",
        "UPDATE posts SET n = s.n FROM (SELECT p.id, count(*) n FROM posts p JOIN comments c \
         ON c.post_id = p.id WHERE :chunk(p) GROUP BY p.id) s WHERE s.id = posts.id AND :chunk(posts)",
        "WITH x AS (SELECT id AS post, a FROM posts WHERE :chunk) \
         INSERT INTO t2 SELECT x.post, count(*) FROM x JOIN comments c ON c.post_id = x.post GROUP BY x.post",
        "WITH x (post, b) AS (SELECT id, a FROM posts WHERE :chunk) \
         INSERT INTO t2 SELECT post, count(*) FROM x GROUP BY post",
        // What has no `:chunk` sees everything.
        "INSERT INTO totals SELECT u.id, (SELECT count(*) FROM posts p WHERE p.user_id = u.id) \
         FROM posts u WHERE :chunk(u)",
        "UPDATE posts SET n = (SELECT count(*) FROM comments c WHERE c.post_id = posts.id) WHERE :chunk",
        "WITH c AS (SELECT post_id, count(*) n FROM comments GROUP BY post_id) \
         UPDATE posts SET n = c.n FROM c WHERE c.post_id = posts.id AND :chunk(posts)",
        "DELETE FROM posts WHERE EXISTS (SELECT 1 FROM comments c WHERE c.a = posts.id GROUP BY c.a \
         HAVING count(*) > 3) AND :chunk",
        "UPDATE posts p SET n = s.a FROM (SELECT b, max(a) a FROM posts GROUP BY b) s \
         WHERE s.b = p.b AND :chunk(p)",
        // One value for each row.
        "INSERT INTO t2 SELECT id, coalesce(count, 0), posts.sum FROM posts WHERE :chunk",
        "SELECT count(*) FROM posts WHERE :chunk",
        "SELECT refresh(array_agg(id)) FROM posts WHERE :chunk",
        // Parts that are brought together, or values once more.
        "UPDATE o SET n = o.n + s.n FROM (SELECT a, count(*) n FROM posts WHERE :chunk GROUP BY a) s WHERE s.a = o.id",
        "UPDATE o SET n = coalesce(n, 0) + s.c FROM (SELECT a, count(*) c FROM posts WHERE :chunk GROUP BY a) s WHERE s.a = o.id",
        "DELETE FROM o WHERE id IN (SELECT a FROM posts WHERE :chunk GROUP BY a)",
        "UPDATE o SET seen = 1 WHERE id IN (SELECT DISTINCT a FROM posts WHERE :chunk)",
        "UPDATE o SET seen = 1 FROM (SELECT a FROM posts WHERE :chunk GROUP BY a) s WHERE s.a = o.id",
    ]);
    for dialect in [Dialect::Postgres, Dialect::Sqlite] {
        for statement in [
            "INSERT INTO t2 AS t SELECT a, count(*) FROM posts WHERE :chunk GROUP BY a \
             ON CONFLICT (a) DO UPDATE SET n = t.n + excluded.n",
            "INSERT INTO t2 SELECT a, max(n) FROM posts WHERE :chunk GROUP BY a \
             ON CONFLICT (a) DO UPDATE SET n = greatest(t2.n, excluded.n)",
        ] {
            assert_eq!(rule(dialect, statement), None, "{statement}");
        }
    }
    let added = "INSERT INTO t2 SELECT a, count(*) FROM posts WHERE :chunk GROUP BY a \
                 ON DUPLICATE KEY UPDATE n = n + VALUES(n)";
    assert_eq!(rule(Dialect::Mysql, added), None);
    let of_one_row = "INSERT INTO t2 SELECT id, max(a, b) FROM posts WHERE :chunk";
    assert_eq!(rule(Dialect::Sqlite, of_one_row), None);
    let composite =
        "INSERT INTO t2 SELECT tenant, id, count(*) FROM posts WHERE :chunk GROUP BY tenant, id";
    assert_eq!(by_key(Dialect::Postgres, composite, &["tenant", "id"]), None);
    let half = "INSERT INTO t2 SELECT tenant, count(*) FROM posts WHERE :chunk GROUP BY tenant";
    assert_eq!(by_key(Dialect::Postgres, half, &["tenant", "id"]), Some("chunk-group"));
}

#[test]
fn values_that_are_told_apart_in_a_chunk_alone_are_refused() {
    refused(
        "chunk-distinct",
        &[
            "INSERT INTO t2 SELECT DISTINCT a FROM posts WHERE :chunk",
            "INSERT INTO t2 SELECT a, b FROM posts WHERE :chunk GROUP BY a, b",
            "INSERT INTO t2 SELECT a FROM posts WHERE :chunk UNION SELECT b FROM posts WHERE :chunk",
            "INSERT INTO t2 SELECT a FROM posts WHERE :chunk EXCEPT SELECT a FROM o",
            "INSERT INTO t2 SELECT x.a FROM (SELECT DISTINCT p.a FROM posts p WHERE :chunk(p)) x",
            "INSERT INTO posts (a) SELECT DISTINCT a FROM posts WHERE :chunk",
            "INSERT INTO t2 SELECT DISTINCT ON (a) id, a FROM posts WHERE :chunk ORDER BY a, id",
            "UPDATE o SET n = s.n FROM (SELECT DISTINCT ON (a) a, n FROM posts WHERE :chunk) s WHERE s.a = o.id",
        ],
    );
    fine(&[
        "INSERT INTO t2 SELECT DISTINCT id, a FROM posts WHERE :chunk",
        "INSERT INTO t2 SELECT DISTINCT * FROM posts WHERE :chunk",
        "INSERT INTO t2 SELECT DISTINCT p.*, c.a FROM posts p JOIN comments c ON c.a = p.a WHERE :chunk(p)",
        "INSERT INTO t2 SELECT DISTINCT ON (id) id, c.a FROM posts JOIN c ON c.b = a WHERE :chunk",
        "INSERT INTO t2 SELECT id, a FROM posts WHERE :chunk UNION SELECT id, b FROM posts WHERE :chunk",
        "INSERT INTO t2 SELECT a FROM posts WHERE :chunk UNION ALL SELECT b FROM posts WHERE :chunk",
        "INSERT INTO t2 SELECT DISTINCT a FROM posts p WHERE :chunk(p) \
         AND NOT EXISTS (SELECT 1 FROM t2 WHERE t2.a = p.a)",
        "INSERT INTO t2 SELECT a FROM posts WHERE :chunk EXCEPT SELECT a FROM t2",
        "INSERT INTO t2 SELECT id, count FROM posts WHERE a IS NOT DISTINCT FROM b AND :chunk",
        "INSERT INTO t2 SELECT id FROM posts WHERE a IN (SELECT DISTINCT a FROM o UNION SELECT 1) AND :chunk",
    ]);
    for (dialect, statement) in [
        (
            Dialect::Postgres,
            "INSERT INTO t2 SELECT DISTINCT a FROM posts WHERE :chunk ON CONFLICT DO NOTHING",
        ),
        (Dialect::Mysql, "INSERT IGNORE INTO t2 SELECT DISTINCT a FROM posts WHERE :chunk"),
        (Dialect::Mysql, "REPLACE INTO t2 SELECT DISTINCT a FROM posts WHERE :chunk"),
        (Dialect::Sqlite, "INSERT OR IGNORE INTO t2 SELECT DISTINCT a FROM posts WHERE :chunk"),
    ] {
        assert_eq!(rule(dialect, statement), None, "{statement}");
    }
}

#[test]
fn each_side_of_a_union_is_a_chunks() {
    refused(
        "chunk-union",
        &[
            "INSERT INTO x SELECT a FROM posts WHERE :chunk UNION ALL SELECT b FROM posts",
            "INSERT INTO x SELECT b FROM posts UNION ALL (SELECT a FROM posts WHERE :chunk)",
            "WITH c AS (SELECT a FROM posts WHERE :chunk) INSERT INTO x SELECT a FROM c UNION ALL SELECT b FROM o",
            "INSERT INTO x SELECT a FROM (SELECT a FROM posts WHERE :chunk UNION ALL SELECT 1) s",
            "WITH RECURSIVE r AS (SELECT id FROM posts WHERE top = 1 UNION ALL SELECT p.id FROM posts p \
             JOIN r ON r.id = p.parent WHERE :chunk(p)) INSERT INTO x SELECT id FROM r",
        ],
    );
    refused(
        "chunk-except",
        &["INSERT INTO x SELECT a FROM o EXCEPT SELECT a FROM posts WHERE :chunk"],
    );
    fine(&[
        "WITH c AS (SELECT a, b FROM posts WHERE :chunk) INSERT INTO x SELECT a FROM c UNION ALL SELECT b FROM c",
        "INSERT INTO x SELECT a FROM o WHERE o IN (SELECT id FROM posts WHERE :chunk) \
         UNION ALL SELECT b FROM posts WHERE :chunk",
        "INSERT INTO x SELECT id FROM posts WHERE :chunk INTERSECT SELECT post_id FROM o",
        "INSERT INTO x SELECT id FROM posts WHERE :chunk AND a IN (SELECT 1 UNION SELECT a FROM o)",
        "WITH RECURSIVE r AS (SELECT id, id AS top FROM posts WHERE :chunk UNION SELECT c.id, r.top \
         FROM comments c JOIN r ON r.id = c.parent) INSERT INTO x SELECT id, top FROM r",
    ]);
}

#[test]
fn windows_over_a_chunk_are_refused() {
    refused(
        "chunk-window",
        &[
            "INSERT INTO t2 SELECT id, row_number() OVER (ORDER BY id) FROM posts WHERE :chunk",
            "INSERT INTO t2 SELECT id, sum(n) OVER (PARTITION BY a ORDER BY id) FROM posts WHERE :chunk",
            "INSERT INTO t2 SELECT id, lag(n) OVER w FROM posts WHERE :chunk WINDOW w AS (ORDER BY id)",
            "UPDATE posts SET n = s.r FROM (SELECT id, rank() OVER (PARTITION BY a) r FROM posts WHERE :chunk) s \
             WHERE s.id = posts.id AND :chunk(posts)",
            "DELETE FROM posts WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY a) r \
             FROM posts WHERE :chunk) s WHERE r > 1)",
        ],
    );
    fine(&[
        "INSERT INTO t2 SELECT p.id, row_number() OVER (PARTITION BY p.id ORDER BY c.id) \
         FROM posts p JOIN comments c ON c.post_id = p.id WHERE :chunk(p)",
        "INSERT INTO t2 SELECT p.id, rank() OVER v FROM posts p JOIN c ON c.p = p.id WHERE :chunk(p) \
         WINDOW w AS (PARTITION BY p.id), v AS (w ORDER BY c.a)",
        "INSERT INTO t2 SELECT id, over FROM posts WHERE :chunk",
        "UPDATE posts p SET n = s.r FROM (SELECT id, row_number() OVER (ORDER BY id) r FROM posts) s \
         WHERE s.id = p.id AND :chunk(p)",
    ]);
    let first = "INSERT INTO t2 SELECT a, id FROM (SELECT a, id, row_number() OVER (PARTITION BY a) r \
                 FROM posts WHERE :chunk) s WHERE r = 1 ON CONFLICT DO NOTHING";
    assert_eq!(rule(Dialect::Postgres, first), Some("chunk-window"));
    let numbered = "INSERT INTO t2 SELECT id, row_number() OVER () FROM posts WHERE :chunk \
                    ON CONFLICT DO NOTHING";
    assert_eq!(rule(Dialect::Postgres, numbered), Some("chunk-window"));
}
