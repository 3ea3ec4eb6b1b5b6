//! Files that run chunk by chunk: `:chunk`, the statements they may hold, and row code.

use std::path::Path;
use std::time::Duration;

use dunlin_model::{Body, Diagnostic, Dialect, Migration, MigrationId, OnError, RowCode, Script};
use dunlin_project::directive::Subject;
use dunlin_project::folder::MigrationFile;
use dunlin_project::sql::parse_script;

const DIALECTS: [Dialect; 3] = [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite];

fn parse(dialect: Dialect, text: &str) -> Result<Script, Vec<Diagnostic>> {
    parse_script(dialect, Path::new("d/1_a.sql"), text.as_bytes(), Subject::DataSql)
}

fn chunked(dialect: Dialect, statements: &str) -> Script {
    let text = format!("-- dunlin: chunk-by posts\n{statements}");
    parse(dialect, &text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

fn refused(dialect: Dialect, text: &str) -> Diagnostic {
    let mut errors = parse(dialect, text).expect_err(text);
    assert_eq!(errors.len(), 1, "{text}: {errors:?}");
    let error = errors.remove(0);
    assert!(error.help.is_some(), "{error}");
    error
}

fn line_and_column(error: &Diagnostic) -> (Option<usize>, Option<usize>) {
    let place = error.place.as_ref().expect("placed");
    (place.line, place.column)
}

#[test]
fn the_range_goes_where_chunk_stands() {
    for dialect in DIALECTS {
        let script = chunked(
            dialect,
            "UPDATE posts SET a = 1 WHERE b AND :chunk;\n\
             DELETE FROM posts p WHERE :chunk(p) OR (:chunk);",
        );
        let predicate = |alias: Option<&str>| {
            format!("{}id > 1", alias.map_or(String::new(), |a| format!("{a}.")))
        };
        let texts: Vec<String> =
            script.statements.iter().map(|one| one.with_chunk(predicate)).collect();
        assert_eq!(
            texts,
            [
                "UPDATE posts SET a = 1 WHERE b AND (id > 1)",
                "DELETE FROM posts p WHERE (p.id > 1) OR ((id > 1))"
            ]
        );
    }
    let script = chunked(
        Dialect::Postgres,
        "UPDATE posts AS \"P x\" SET a = ':chunk' || E'\\':chunk' || $x$:chunk$x$ || b::chunk\n\
         -- :chunk\n/* :chunk */ WHERE c = d[1:chunk] AND :chunky AND ä = 1 AND :chunk(\"P x\")",
    );
    let places = &script.statements[0].facts.chunk_places;
    assert_eq!(places.len(), 1, "{places:?}");
    assert_eq!(places[0].alias.as_deref(), Some("\"P x\""));
    let text = &script.statements[0].text;
    assert_eq!(&text[places[0].start..places[0].end], ":chunk(\"P x\")");
    let script = chunked(
        Dialect::Mysql,
        "UPDATE posts AS `p` SET a = \":chunk\", b = @x:=1 # :chunk\n WHERE :chunk(`p`)",
    );
    assert_eq!(script.statements[0].facts.chunk_places.len(), 1);
    let script = chunked(Dialect::Sqlite, "DELETE FROM posts WHERE [:chunk] = `:chunk` AND :chunk");
    assert_eq!(script.statements[0].facts.chunk_places.len(), 1);
}

#[test]
fn a_statement_without_its_range_is_refused() {
    for dialect in DIALECTS {
        let text = "-- dunlin: chunk-by posts\nUPDATE posts SET a = 1 WHERE :chunk;\n  \
                    DELETE FROM posts WHERE a = ':chunk';\n";
        let error = refused(dialect, text);
        assert_eq!(error.rule, "no-chunk-place");
        assert_eq!(line_and_column(&error), (Some(3), Some(3)));
        assert!(error.help.as_ref().is_some_and(|help| help.contains("AND :chunk")));
        let error = refused(dialect, "UPDATE posts SET a = 1\nWHERE b AND :chunk;");
        assert_eq!(error.rule, "needs-chunk-by");
        assert_eq!(line_and_column(&error), (Some(2), Some(13)));
        let error =
            refused(dialect, "-- dunlin: chunk-by posts\nDELETE FROM posts WHERE :chunk(a, b)");
        assert_eq!(error.rule, "malformed-chunk-place");
        assert_eq!(line_and_column(&error), (Some(2), Some(25)));
        assert_eq!(refused(dialect, "-- dunlin: chunk-by posts\n").rule, "no-statement");
    }
}

#[test]
fn a_chunk_that_does_not_bound_its_statement_is_refused() {
    for (statement, rule) in [
        ("UPDATE posts SET a = 1 WHERE b = 1 OR b = 2 AND :chunk", "chunk-or"),
        ("UPDATE posts SET a = 1 WHERE :chunk OR b IS NULL", "chunk-or"),
        ("DELETE FROM posts WHERE b = 1 AND (:chunk OR b IS NULL)", "chunk-or"),
        ("DELETE FROM tags WHERE id IN (SELECT a FROM posts WHERE :chunk) OR a = 1", "chunk-or"),
        ("DELETE FROM posts WHERE b = 1 AND :chunk OR b IN (1, 2)", "chunk-or"),
        ("DELETE FROM tags WHERE id NOT IN (SELECT a FROM posts WHERE :chunk)", "chunk-not"),
        (
            "DELETE FROM tags t WHERE NOT EXISTS (SELECT 1 FROM posts p WHERE p.a = t.id AND :chunk(p))",
            "chunk-not",
        ),
        ("UPDATE posts SET a = 1 WHERE NOT (a = 2 AND :chunk)", "chunk-not"),
        ("DELETE FROM tags WHERE id <> ALL (SELECT a FROM posts WHERE :chunk)", "chunk-not"),
        (
            "INSERT INTO x SELECT p.a FROM posts p LEFT JOIN tags t ON t.id = p.a AND :chunk(p)",
            "chunk-outer-join",
        ),
        (
            "INSERT INTO x SELECT p.a FROM tags t RIGHT OUTER JOIN posts p ON :chunk(p) WHERE t.id > 1",
            "chunk-outer-join",
        ),
        (
            "INSERT INTO x SELECT a FROM posts WHERE :chunk UNION ALL SELECT b FROM posts",
            "chunk-union",
        ),
        ("INSERT INTO x SELECT a FROM posts WHERE :chunk ORDER BY a LIMIT 10", "chunk-limit"),
        ("DELETE FROM tags WHERE id IN (SELECT a FROM posts WHERE :chunk LIMIT 10)", "chunk-limit"),
        (
            "DELETE FROM posts WHERE id IN (SELECT id FROM posts WHERE :chunk FOR UPDATE SKIP LOCKED)",
            "chunk-skip-locked",
        ),
    ] {
        for dialect in DIALECTS {
            let error = refused(dialect, &format!("-- dunlin: chunk-by posts\n{statement};"));
            assert_eq!(error.rule, rule, "{statement}");
            assert_eq!(line_and_column(&error).0, Some(2));
        }
    }
    for fine in [
        "UPDATE posts SET a = 1 WHERE (b = 1 OR b = 2) AND :chunk",
        "UPDATE posts SET a = 1 WHERE (b = 1 AND :chunk) OR (b = 2 AND :chunk)",
        "UPDATE posts SET a = 1 WHERE NOT (b = 1 OR b = 2) AND :chunk",
        "UPDATE posts SET a = b = 1 OR b = 2 WHERE b NOT IN (1, 2) AND (:chunk)",
        "UPDATE posts SET a = CASE WHEN b OR c THEN 1 END WHERE CASE WHEN b OR c THEN 1 END = 1 AND :chunk",
        "UPDATE posts SET a = (SELECT b FROM tags WHERE tags.a = posts.a OR b LIMIT 1) WHERE :chunk",
        "DELETE FROM tags WHERE id IN (SELECT a FROM posts WHERE :chunk) AND b",
        "INSERT INTO x SELECT p.a FROM posts p LEFT JOIN tags t ON t.id = p.a OR t.b = p.b WHERE :chunk(p)",
        "INSERT INTO x SELECT p.a FROM posts p INNER JOIN tags t ON t.id = p.a AND :chunk(p)",
        "INSERT INTO x SELECT a FROM posts WHERE :chunk UNION ALL SELECT b FROM posts WHERE :chunk",
        "INSERT INTO x SELECT a FROM posts WHERE :chunk AND NOT EXISTS (SELECT 1 FROM y WHERE a = 1 OR b = 1)",
        "WITH c AS (SELECT a FROM posts WHERE :chunk) UPDATE tags SET a = 1 WHERE id IN (SELECT a FROM c)",
    ] {
        for dialect in DIALECTS {
            chunked(dialect, fine);
        }
    }
}

#[test]
fn only_changes_of_rows_run_chunk_by_chunk() {
    for (dialect, statement, rule) in [
        (Dialect::Postgres, "CREATE TABLE a AS SELECT * FROM posts WHERE :chunk", "not-in-chunks"),
        (Dialect::Postgres, "ALTER TABLE posts DROP COLUMN a", "not-in-chunks"),
        (Dialect::Postgres, "TRUNCATE posts", "not-in-chunks"),
        (Dialect::Postgres, "COPY (SELECT 1 FROM posts WHERE :chunk) TO '/x'", "not-in-chunks"),
        (Dialect::Postgres, "SET work_mem = '1MB'", "not-in-chunks"),
        (Dialect::Postgres, "SELECT a INTO b FROM posts WHERE :chunk", "not-in-chunks"),
        (Dialect::Postgres, "SELECT set_config('a.b', 'c', false) WHERE :chunk", "not-in-chunks"),
        (Dialect::Postgres, "DO $$ BEGIN END $$", "not-in-chunks"),
        (Dialect::Postgres, "CALL p()", "not-in-chunks"),
        (Dialect::Postgres, "VACUUM posts", "not-in-chunks"),
        (Dialect::Postgres, "COMMIT", "transaction-control"),
        (Dialect::Postgres, "SAVEPOINT a", "transaction-control"),
        (Dialect::Mysql, "SELECT a INTO OUTFILE 'x' FROM posts WHERE :chunk", "not-in-chunks"),
        (Dialect::Mysql, "LOCK TABLES posts WRITE", "not-in-chunks"),
        (Dialect::Sqlite, "PRAGMA user_version = 1", "not-in-chunks"),
    ] {
        let text =
            format!("-- dunlin: chunk-by posts\nDELETE FROM posts WHERE :chunk;\n{statement};");
        let error = refused(dialect, &text);
        assert_eq!(error.rule, rule, "{statement}");
        assert_eq!(line_and_column(&error), (Some(3), Some(1)), "{statement}");
    }
    let errors = parse(
        Dialect::Postgres,
        "-- dunlin: chunk-by posts\nBEGIN;\nDELETE FROM posts WHERE :chunk;\nCOMMIT;",
    )
    .expect_err("each chunk is a transaction");
    assert_eq!(errors.len(), 2);
    for (dialect, statement) in [
        (Dialect::Postgres, "INSERT INTO a (b) SELECT c FROM posts WHERE :chunk"),
        (
            Dialect::Postgres,
            "WITH x AS (DELETE FROM posts WHERE :chunk RETURNING *) INSERT INTO a SELECT * FROM x",
        ),
        (
            Dialect::Postgres,
            "MERGE INTO a USING (SELECT * FROM posts WHERE :chunk) p ON a.id = p.id WHEN MATCHED THEN UPDATE SET b = p.b",
        ),
        (Dialect::Postgres, "SELECT refresh(id) FROM posts WHERE :chunk"),
        (Dialect::Mysql, "REPLACE INTO a SELECT * FROM posts WHERE :chunk"),
        (
            Dialect::Mysql,
            "UPDATE posts p JOIN users u ON u.id = p.user_id SET p.a = u.a WHERE :chunk(p)",
        ),
        (Dialect::Sqlite, "INSERT OR IGNORE INTO a SELECT * FROM posts WHERE :chunk"),
    ] {
        assert_eq!(chunked(dialect, statement).statements.len(), 1, "{statement}");
    }
}

#[test]
fn the_sql_of_a_header_is_read() {
    for dialect in DIALECTS {
        let script = parse(
            dialect,
            "-- dunlin: done-when SELECT NOT EXISTS (SELECT 1 FROM a WHERE b = ';)') ; -- all\n\
             UPDATE a SET b = 1;",
        )
        .expect("valid");
        assert_eq!(
            script.directives.done_when.as_deref(),
            Some("SELECT NOT EXISTS (SELECT 1 FROM a WHERE b = ';)')")
        );
        for (line, message) in [
            ("done-when DELETE FROM a", "one query"),
            ("done-when WITH x AS (DELETE FROM a RETURNING 1) SELECT 1", "one query"),
            ("done-when SELECT 1; SELECT 2", "more than one"),
            ("done-when SELECT (1", "parentheses"),
            ("done-when SELECT 'open", "never closed"),
            ("done-when -- nothing", "empty"),
            ("done-when SELECT 1 WHERE :chunk", "only in statements"),
            ("chunk-where a = 1) OR (1 = 1", "parentheses"),
            ("chunk-where WHERE a = 1", "leave the WHERE out"),
            ("chunk-where a; b", "more than one"),
            ("chunk-where :chunk", "only in statements"),
            ("chunk-key a.b", "not the name of a column"),
            ("chunk-key a+b", "not the name of a column"),
        ] {
            let text = format!(
                "-- dunlin: chunk-by posts\n-- dunlin: {line}\nUPDATE posts SET a = 1 WHERE :chunk;"
            );
            let error = refused(dialect, &text);
            assert_eq!(error.rule, "malformed-directive", "{line}");
            assert!(error.message.contains(message), "{line}: {error}");
            assert_eq!(error.place.as_ref().and_then(|place| place.line), Some(2), "{line}");
        }
        let text = "-- dunlin: chunk-by posts, users\nUPDATE posts SET a = 1 WHERE :chunk;";
        assert!(refused(dialect, text).message.contains("not the name of a table"));
    }
    let script = parse(
        Dialect::Postgres,
        "-- dunlin: chunk-by posts\n-- dunlin: chunk-where a = 'x' -- first\n-- dunlin+ AND b -- last\n\
         UPDATE posts SET a = 1 WHERE :chunk;",
    )
    .expect("valid");
    let filter = script.directives.chunking.and_then(|chunking| chunking.filter);
    assert_eq!(filter.as_deref(), Some("a = 'x' -- first\nAND b"));
}

fn toml(text: &str) -> Result<Migration, Vec<Diagnostic>> {
    let file = MigrationFile {
        id: MigrationId::data("1".parse().expect("a version")),
        name: "a".into(),
        up: "d/1_a.toml".into(),
        bytes: text.as_bytes().to_vec(),
        checksum: String::new(),
        down: None,
        program: true,
        root: "/srv/app".into(),
    };
    file.parse(Dialect::Postgres)
}

#[test]
fn row_code_says_its_table() {
    let migration = toml(
        "[migration]\nworkers = 2\nchunk-rows = \"500\"\non-error = \"quarantine\"\nbackground = true\n\
         done-when = \"SELECT 1; -- all\"\n[rows]\ntable = \"app.people\"\nkey = [\"tenant_id\", \"id\"]\n\
         columns = [\"id\", \"full_name\"]\nwhere = \"first_name IS NULL -- why\"\nlock = true\n\
         [program]\ncommand = [\"python3\", \"split_names.py\"]\n",
    )
    .expect("valid");
    let chunking = migration.chunking().expect("chunks").clone();
    assert_eq!(chunking.table, "app.people");
    assert_eq!(chunking.key, ["tenant_id", "id"]);
    assert_eq!(chunking.filter.as_deref(), Some("first_name IS NULL"));
    assert_eq!((chunking.workers, chunking.rows), (Some(2), Some(500)));
    assert_eq!(chunking.on_error, OnError::Quarantine);
    assert!(migration.directives().background);
    assert_eq!(migration.directives().done_when.as_deref(), Some("SELECT 1"));
    let Body::Rows(RowCode { program, columns, lock }) = migration.body else { panic!("row code") };
    assert_eq!(program.command, ["python3", "split_names.py"]);
    assert_eq!(columns, ["id", "full_name"]);
    assert!(lock);
    let least = toml("rows.table = \"people\"\nprogram.command = [\"a\"]").expect("valid");
    assert_eq!(least.chunking().expect("chunks").table, "people");
    let Body::Rows(RowCode { columns, lock, .. }) = least.body else { panic!("row code") };
    assert!(columns.is_empty() && !lock);
    let plain = toml(
        "[migration]\ndone-when = \"SELECT 1\"\nbackground = true\n[program]\ncommand = [\"a\"]",
    )
    .expect("valid");
    assert!(plain.chunking().is_none() && plain.directives().background);
    assert_eq!(
        toml("[migration]\nundo = \"capture for 14 days\"\n[rows]\ntable = \"a\"\n[program]\ncommand = [\"a\"]")
            .expect("valid")
            .chunking()
            .and_then(|chunking| chunking.undo),
        Some(Duration::from_secs(14 * 86_400))
    );
}

#[test]
fn wrong_row_code_names_line_and_column() {
    let with = |rows: &str| format!("[program]\ncommand = [\"a\"]\n[rows]\n{rows}\n");
    for (text, line, message) in [
        (with(""), 3, "names no table"),
        (with("table = 1"), 4, "`table` is not a string"),
        (with("table = \"a b\""), 4, "not the name of a table"),
        (with("table = \"a\"\nkey = []"), 5, "`key` is not a list"),
        (with("table = \"a\"\nkey = \"\""), 5, "a column is missing"),
        (with("table = \"a\"\ncolumns = \"b\""), 5, "`columns` is not a list"),
        (with("table = \"a\"\nwhere = \"b) OR (c\""), 5, "parentheses"),
        (with("table = \"a\"\nlock = \"yes\""), 5, "`lock` is not"),
        (with("tabel = \"a\"\ntable = \"a\""), 4, "unknown key `rows.tabel`"),
        (with("table = \"a\"\nworkers = 2"), 5, "unknown key `rows.workers`"),
        (with("table = \"a\"\n[migration]\nchunk-by = \"a\""), 6, "does not apply to row code"),
        (with("table = \"a\"\n[migration]\nworkers = 99"), 6, "from 1 to 64"),
        ("[rows]\ntable = \"a\"\n".to_owned(), 1, "names no program"),
        (
            "[program]\ncommand = [\"a\"]\n[migration]\nworkers = 2\n".to_owned(),
            4,
            "does not apply",
        ),
        ("rows = 1\n[program]\ncommand = [\"a\"]\n".to_owned(), 1, "not a table"),
    ] {
        let errors = toml(&text).expect_err(&text);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert!(errors[0].message.contains(message), "{text}: {}", errors[0]);
        assert!(errors[0].help.is_some(), "{text}");
        let place = errors[0].place.as_ref().expect("placed");
        assert_eq!(place.line, Some(line), "{text}");
    }
}
