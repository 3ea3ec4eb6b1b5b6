use dunlin_model::Dialect::{self, Mysql, Postgres, Sqlite};
use dunlin_model::Verb;

use super::facts;

fn writes(dialect: Dialect, text: &str) -> Option<(Verb, String, Vec<String>)> {
    let write = facts(dialect, text).writes?;
    Some((write.verb, write.table, write.columns.into_iter().collect()))
}

#[track_caller]
fn is(dialect: Dialect, text: &str, verb: Verb, table: &str, columns: &[&str]) {
    let found = writes(dialect, text).unwrap_or_else(|| panic!("nothing is told of {text}"));
    assert_eq!((found.0, found.1.as_str()), (verb, table), "{text}");
    assert_eq!(found.2, columns, "{text}");
}

#[test]
fn updates_assign_columns() {
    is(
        Postgres,
        "UPDATE posts SET A = 1, \"B\" = c, d = (SELECT max(e) FROM f) WHERE g = 1",
        Verb::Update,
        "posts",
        &["B", "a", "d"],
    );
    is(
        Postgres,
        "UPDATE ONLY public.posts * AS p SET (a, b) = (SELECT 1, x FROM y WHERE z = p.z), c[1] = 2, d.e = 3",
        Verb::Update,
        "posts",
        &["a", "b", "c", "d"],
    );
    is(
        Postgres,
        "UPDATE s.posts p SET a = b IS DISTINCT FROM c, id = 3 FROM d, e WHERE p.i = d.i",
        Verb::Update,
        "s.posts",
        &["a", "id"],
    );
    is(
        Postgres,
        "UPDATE posts SET a = CASE WHEN b THEN 1 ELSE 2 END, c = 1 RETURNING d",
        Verb::Update,
        "posts",
        &["a", "c"],
    );
    is(
        Postgres,
        "WITH x AS (SELECT 1 FROM y FOR UPDATE) UPDATE posts SET a = 1 FROM x",
        Verb::Update,
        "posts",
        &["a"],
    );
    is(
        Sqlite,
        "UPDATE OR IGNORE [Posts] AS p INDEXED BY i SET `A` = 1, b = 2 FROM c WHERE d",
        Verb::Update,
        "posts",
        &["a", "b"],
    );
    is(
        Mysql,
        "UPDATE LOW_PRIORITY IGNORE `posts` SET `A` = 1, posts.b = 2 ORDER BY c LIMIT 3",
        Verb::Update,
        "posts",
        &["a", "b"],
    );
    is(
        Mysql,
        "UPDATE posts p JOIN users AS u ON u.id = p.user_id LEFT JOIN (SELECT 1 FROM v) w USING (id) SET p.a = u.a, p.b = IF(w.c, 1, 2) WHERE d",
        Verb::Update,
        "posts",
        &["a", "b"],
    );
    is(
        Mysql,
        "UPDATE app.posts, users SET posts.a = 1 WHERE users.id = posts.user_id",
        Verb::Update,
        "posts",
        &["a"],
    );
    // Whose column it is only the catalogue tells.
    assert_eq!(writes(Mysql, "UPDATE posts p JOIN users u ON u.id = p.user_id SET a = 1"), None);
    // Two tables at once.
    assert_eq!(writes(Mysql, "UPDATE posts p JOIN users u ON 1 SET p.a = 1, u.b = 2"), None);
}

#[test]
fn deletes_and_inserts() {
    is(
        Postgres,
        "DELETE FROM ONLY posts p USING users u WHERE u.id = p.user_id",
        Verb::Delete,
        "posts",
        &[],
    );
    is(
        Postgres,
        "WITH a AS (SELECT 1) DELETE FROM posts WHERE id IN (TABLE a)",
        Verb::Delete,
        "posts",
        &[],
    );
    is(
        Mysql,
        "DELETE QUICK p FROM posts p JOIN users u ON u.id = p.user_id WHERE u.gone",
        Verb::Delete,
        "posts",
        &[],
    );
    is(Mysql, "DELETE FROM p USING posts AS p JOIN users u ON 1", Verb::Delete, "posts", &[]);
    is(Mysql, "DELETE p.* FROM posts p", Verb::Delete, "posts", &[]);
    assert_eq!(writes(Mysql, "DELETE p, u FROM posts p JOIN users u ON 1"), None);
    is(
        Postgres,
        "INSERT INTO a (b, c) SELECT d, e FROM f ON CONFLICT (b) DO UPDATE SET c = 1",
        Verb::Insert,
        "a",
        &[],
    );
    is(Mysql, "INSERT IGNORE a SET b = 1 ON DUPLICATE KEY UPDATE b = 2", Verb::Insert, "a", &[]);
    is(Mysql, "REPLACE a SELECT REPLACE(b, 'x', 'y') FROM c", Verb::Insert, "a", &[]);
    is(Sqlite, "INSERT OR REPLACE INTO a VALUES (1)", Verb::Insert, "a", &[]);
    is(Sqlite, "REPLACE INTO main.a SELECT 1", Verb::Insert, "a", &[]);
    // Two writes, or one of several kinds.
    assert_eq!(
        writes(Postgres, "WITH x AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM x"),
        None
    );
    assert_eq!(
        writes(Postgres, "MERGE INTO a USING b ON a.i = b.i WHEN MATCHED THEN UPDATE SET c = 1"),
        None
    );
    for text in [
        "SELECT 1 FROM a FOR UPDATE",
        "SELECT replace(a, 'b', 'c') FROM d",
        "CREATE TABLE a (b int)",
        "VALUES (1)",
        "CREATE TRIGGER t BEFORE UPDATE ON a EXECUTE FUNCTION f()",
        "GRANT UPDATE ON a TO b",
    ] {
        assert_eq!(writes(Postgres, text), None, "{text}");
    }
}

#[test]
fn every_write_is_found_for_keys() {
    let columns = |dialect, text: &str| -> Vec<(String, Vec<String>)> {
        let script = super::super::read(dialect, text).expect("read");
        let deeds = crate::sql::deeds(dialect, &script[0]);
        deeds.into_iter().map(|deed| (deed.table, deed.columns.into_iter().collect())).collect()
    };
    let both = |table: &str, names: &[&str]| {
        (table.to_owned(), names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(
        columns(
            Postgres,
            "WITH x AS (UPDATE posts SET id = 1, a = 2 RETURNING *), y AS MATERIALIZED (SELECT 1) UPDATE b SET c = 1"
        ),
        [both("posts", &["a", "id"]), both("b", &["c"])]
    );
    assert_eq!(
        columns(
            Postgres,
            "INSERT INTO posts SELECT 1 ON CONFLICT (id) DO UPDATE SET id = excluded.id, (a, b) = (1, 2) WHERE c"
        ),
        [both("posts", &["a", "b", "id"])]
    );
    assert_eq!(
        columns(Mysql, "INSERT INTO posts VALUES (1) ON DUPLICATE KEY UPDATE id = id + 1"),
        [both("posts", &["id"])]
    );
    assert_eq!(
        columns(
            Postgres,
            "MERGE INTO posts p USING b ON p.i = b.i WHEN MATCHED AND b.x THEN UPDATE SET id = 1, a = 2 WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (c) VALUES (1)"
        ),
        [both("posts", &["a", "id"])]
    );
    assert_eq!(
        columns(Mysql, "UPDATE posts p JOIN users u ON 1 SET id = 1, u.b = 2"),
        [both("posts", &["id"]), both("users", &["b", "id"])]
    );
}
