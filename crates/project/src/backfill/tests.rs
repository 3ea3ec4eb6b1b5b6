use std::path::Path;
use std::time::Duration;

use dunlin_model::{
    Backfill, Body, Checksums, Chunking, Column, Diagnostic, Dialect, Directives, Index,
    IndexColumn, Migration, MigrationId, Program, RowCode, Table, TableKind, ValueForm,
};

use super::{DEFAULT_STATEMENT_TIMEOUT, Timeouts, adds_from, check_written, plan, written};
use crate::directive::Subject;
use crate::sql::parse_script;

const TIMEOUTS: Timeouts = Timeouts { lock: Duration::from_secs(5), statement: None };

fn migration(dialect: Dialect, header: &str, statements: &str) -> Migration {
    let mut text = String::new();
    for line in std::iter::once("chunk-by posts").chain(header.lines()) {
        text.push_str(&format!("-- dunlin: {line}\n"));
    }
    text.push_str(statements);
    let file = Path::new("d/1_a.sql");
    let script = parse_script(dialect, file, text.as_bytes(), Subject::DataSql)
        .unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    of(Body::Sql(script))
}

fn of(body: Body) -> Migration {
    Migration {
        id: MigrationId::data("1".parse().expect("a version")),
        name: "a".into(),
        body,
        down: None,
        checksums: Checksums { text: String::new(), statements: String::new() },
        text: String::new(),
    }
}

fn row_code(columns: &[&str], chunking: Chunking) -> Migration {
    let directives = Directives { chunking: Some(Box::new(chunking)), ..Directives::default() };
    of(Body::Rows(RowCode {
        program: Program { file: "d/1_a.toml".into(), command: vec!["x".into()], directives },
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        lock: false,
    }))
}

/// `name type`, with `?` behind it where it may be NULL `=` where it can't be written, and `=!`
/// where it is an identity.
fn column(written: &str) -> Column {
    let (name, type_name) = written.split_once(' ').expect("name and type");
    let plain = type_name.trim_end_matches(['?', '=', '!']);
    Column {
        name: name.to_owned(),
        type_name: plain.to_owned(),
        form: if plain == "double precision" { ValueForm::Float } else { ValueForm::Text },
        nullable: type_name.contains('?'),
        generated: type_name.contains('='),
        identity: type_name.ends_with("=!"),
    }
}

/// `primary a, b`, `unique a`, `index a desc`.
fn index(written: &str) -> Index {
    let (kind, columns) = written.split_once(' ').expect("kind and columns");
    let part = |text: &str| IndexColumn {
        name: Some(text.split(' ').next().unwrap_or_default().to_owned()),
        descending: text.ends_with(" desc"),
        prefix: text.ends_with(" prefix"),
    };
    Index {
        name: written.replace([' ', ','], "_"),
        columns: columns.split(", ").map(part).collect(),
        unique: kind != "index",
        primary: kind == "primary",
        unusable: None,
    }
}

fn table(columns: &[&str], indexes: &[&str]) -> Table {
    Table {
        name: "\"public\".\"posts\"".into(),
        kind: TableKind::Table,
        columns: columns.iter().map(|text| column(text)).collect(),
        indexes: indexes.iter().map(|text| index(text)).collect(),
        row_count_estimate: None,
        row_bytes_estimate: None,
        transactional: true,
        hides_rows: false,
        computed: Vec::new(),
        family: None,
        next_number: None,
        shape: "shape".into(),
    }
}

fn posts() -> Table {
    let columns = &["id bigint", "tenant integer", "title text?", "body text?", "length integer?="];
    let next_number = Some(("id".to_owned(), 100));
    Table { next_number, ..table(columns, &["primary id"]) }
}

const UPDATE: &str = "UPDATE posts SET title = 'a' WHERE :chunk;";

fn planned(header: &str, statements: &str, table: &Table) -> Result<Backfill, Vec<Diagnostic>> {
    let dialect = Dialect::Postgres;
    plan(&migration(dialect, header, statements), table, dialect, TIMEOUTS, 2)
}

/// The key's columns, and the index.
fn key(header: &str, table: &Table) -> (Vec<String>, String) {
    let work = planned(header, UPDATE, table).unwrap_or_else(|errors| panic!("{errors:?}"));
    (work.key.into_iter().map(|column| column.name).collect(), work.index)
}

#[track_caller]
fn refused(result: Result<Backfill, Vec<Diagnostic>>, rule: &str, parts: &[&str]) {
    let errors = result.expect_err(rule);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].rule, rule, "{}", errors[0]);
    assert!(errors[0].place.is_some() && errors[0].help.is_some(), "{}", errors[0]);
    let text = errors[0].to_string();
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_plan_holds_what_every_chunk_does() {
    let header = "chunk-where title IS NULL\nlock-timeout 1s\nchunk-time 2min";
    let work = planned(header, UPDATE, &posts()).expect("planned");
    assert_eq!(work.table, "\"public\".\"posts\"");
    assert_eq!((work.pass, work.shape.as_str()), (2, "shape"));
    assert_eq!(work.filter.as_deref(), Some("title IS NULL"));
    assert_eq!(work.statements.len(), 1);
    assert!(work.columns.is_empty() && work.capture.is_none());
    assert_eq!(work.lock_timeout, Duration::from_secs(1));
    assert_eq!(work.statement_timeout, Duration::from_secs(1200));
    let work = planned("", UPDATE, &posts()).expect("planned");
    assert_eq!(work.lock_timeout, TIMEOUTS.lock);
    assert_eq!(work.statement_timeout, DEFAULT_STATEMENT_TIMEOUT);
}

#[test]
fn the_best_key_is_found() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let columns = &["id bigint", "a text", "b integer", "c uuid?", "d double precision"];
    for (indexes, expected) in [
        (&["primary a, b", "unique id"][..], &["a", "b"][..]),
        (&["unique a, b", "unique a", "unique b", "index id"], &["b"]),
        (&["unique a", "unique b, id"], &["a"]),
        (&["unique c", "unique a, b, id"], &["a", "b", "id"]),
        (&["unique c"], &["c"]),
        (&["primary d", "unique a"], &["a"]),
        (&["unique a prefix", "unique b, id"], &["b", "id"]),
    ] {
        assert_eq!(key("", &table(columns, indexes)).0, names(expected), "{indexes:?}");
    }
    let work = planned("", UPDATE, &table(columns, &["unique b desc, a"])).expect("planned");
    assert_eq!((work.key[0].descending, work.key[1].descending), (true, false));
    assert_eq!(work.key[0].type_name, "integer");
    assert!(!work.key[0].nullable);
    let work = planned("", UPDATE, &table(columns, &["unique c"])).expect("planned");
    assert!(work.key[0].nullable, "its NULL rows are a chunk of their own");
    for (indexes, why) in [
        (&["index id"][..], "no unique index"),
        (&["unique a, c"], "`c` of unique_a__c may be NULL"),
        (&["primary d"], "floating point"),
        (&["unique a prefix"], "beginning of `a`"),
        (&["unique id, a, b, c, d"], "floating point"),
    ] {
        let table = table(columns, indexes);
        let make =
            "CREATE UNIQUE INDEX CONCURRENTLY \"posts_chunk_key\" ON \"public\".\"posts\" (\"id\")";
        refused(planned("", UPDATE, &table), "no-key", &[why, make, "no-transaction"]);
    }
    let mut partial = table(columns, &["unique a"]);
    partial.indexes[0].unusable = Some("it is partial".into());
    refused(planned("", UPDATE, &partial), "no-key", &["it is partial"]);
    partial.indexes[0].unusable = None;
    partial.indexes[0].columns[0].name = None;
    refused(planned("", UPDATE, &partial), "no-key", &["expression"]);
}

#[test]
fn a_named_key_is_an_indexs() {
    let columns = &["id bigint", "a text", "b integer", "c uuid?", "Odd text"];
    let all = table(
        columns,
        &["primary id", "unique a, b", "index b, id", "index a, c", "unique b, a, c", "unique Odd"],
    );
    for (named, expected, index) in [
        ("a, b", &["a", "b"][..], "unique_a__b"),
        ("b, a", &["a", "b"], "unique_a__b"),
        ("ID", &["id"], "primary_id"),
        ("b id", &["b", "id"], "index_b__id"),
        ("\"Odd\"", &["Odd"], "unique_Odd"),
        ("Odd", &["Odd"], "unique_Odd"),
    ] {
        let (key, of) = key(&format!("chunk-key {named}"), &all);
        assert_eq!(key, expected, "{named}");
        assert_eq!(of, index, "{named}");
    }
    for (named, rule, why) in [
        ("b", "no-key", "a tie-break is needed"),
        ("a, c", "no-key", "not unique"),
        ("b, a, c", "no-key", "`c` of unique_b__a__c may be NULL"),
        ("c", "no-key", "no index begins with them"),
        ("id, a, b, c, Odd", "no-key", "at most 4"),
        ("idd", "unknown-column", "did you mean `id`?"),
        ("id, ID", "duplicate-column", "twice"),
    ] {
        refused(planned(&format!("chunk-key {named}"), UPDATE, &all), rule, &[why]);
    }
    refused(
        planned("chunk-key b", UPDATE, &all),
        "no-key",
        &["CREATE UNIQUE INDEX CONCURRENTLY \"posts_chunk_key\" ON \"public\".\"posts\" (\"b\")"],
    );
    let floats = table(&["d double precision"], &["primary d"]);
    refused(planned("chunk-key d", UPDATE, &floats), "no-key", &["floating point"]);
}

#[test]
fn indexes_are_suggested_in_the_databases_words() {
    let mut bare = table(&["n text?", "at integer", "id integer"], &[]);
    for (dialect, name, statement) in [
        (
            Dialect::Mysql,
            "`app`.`posts`",
            "CREATE UNIQUE INDEX `posts_chunk_key` ON `app`.`posts` (`id`)",
        ),
        (
            Dialect::Sqlite,
            "\"main\".\"posts\"",
            "CREATE UNIQUE INDEX \"posts_chunk_key\" ON \"main\".\"posts\" (\"id\")",
        ),
    ] {
        bare.name = name.into();
        let found = plan(&migration(dialect, "", UPDATE), &bare, dialect, TIMEOUTS, 1);
        refused(found, "no-key", &[statement]);
    }
    // No column is said to tell rows apart that may not.
    let wide = table(
        &["a integer", "b integer", "c integer", "d integer", "e integer"],
        &["primary a, b, c, d, e"],
    );
    refused(planned("", UPDATE, &wide), "no-key", &["(…) (in a migration"]);
    let mut parts = table(&["id integer"], &[]);
    parts.kind = TableKind::Partitioned;
    let words = "CREATE UNIQUE INDEX \"posts_chunk_key\" ON \"public\".\"posts\" (\"id\") (with the \
                 columns of PARTITION BY";
    refused(planned("", UPDATE, &parts), "no-key", &[words]);
    let two = table(&["k integer?", "id integer"], &["unique k, id"]);
    refused(planned("chunk-key k, id", UPDATE, &two), "no-key", &["help: make `k` NOT NULL: then"]);
    let none = table(&["k integer?", "id integer"], &[]);
    let words = "make `k` NOT NULL, and then make a unique index";
    refused(planned("chunk-key k, id", UPDATE, &none), "no-key", &[words]);
}

#[test]
fn a_hidden_row_number_must_be_named() {
    let dialect = Dialect::Sqlite;
    let mut bare = table(&["n TEXT"], &["unique rowid"]);
    bare.indexes[0].name = "rowid".into();
    let found = plan(&migration(dialect, "", UPDATE), &bare, dialect, TIMEOUTS, 1);
    refused(found, "no-key", &["chunk-key rowid", "VACUUM"]);
    let work = plan(&migration(dialect, "chunk-key rowid", UPDATE), &bare, dialect, TIMEOUTS, 1)
        .expect("named");
    assert_eq!(work.key[0].name, "rowid");
    // As the driver lists it: a column that can't be written.
    let mut listed = table(&["n TEXT", "rowid integer"], &["unique rowid"]);
    listed.indexes[0].name = "rowid".into();
    listed.columns[1].generated = true;
    listed.columns[1].nullable = false;
    let found = plan(&migration(dialect, "", UPDATE), &listed, dialect, TIMEOUTS, 1);
    refused(found, "no-key", &["chunk-key rowid", "VACUUM", "(…)"]);
    // Under a column of its own it is an ordinary key.
    let mut own = table(&["id INTEGER", "n TEXT"], &["primary id"]);
    own.indexes[0].name = "rowid".into();
    let work = plan(&migration(dialect, "", UPDATE), &own, dialect, TIMEOUTS, 1).expect("planned");
    assert_eq!((work.key[0].name.as_str(), work.index.as_str()), ("id", "rowid"));
}

#[test]
fn what_is_no_table_to_walk_is_refused() {
    let with = |change: fn(&mut Table)| {
        let mut table = posts();
        change(&mut table);
        planned("", UPDATE, &table)
    };
    refused(with(|t| t.kind = TableKind::View), "not-a-table", &["view", "table below"]);
    refused(with(|t| t.kind = TableKind::Other), "not-a-table", &["kept elsewhere"]);
    refused(with(|t| t.hides_rows = true), "hidden-rows", &["BYPASSRLS"]);
    refused(with(|t| t.transactional = false), "not-transactional", &["rolled back"]);
    assert!(with(|t| t.kind = TableKind::Partitioned).is_ok());
    let dialect = Dialect::Mysql;
    let mut aria = posts();
    aria.transactional = false;
    let found = plan(&migration(dialect, "", UPDATE), &aria, dialect, TIMEOUTS, 1);
    refused(found, "not-transactional", &["ENGINE = InnoDB"]);
}

#[test]
fn a_key_is_never_assigned() {
    for statement in [
        "UPDATE posts SET title = 'a', ID = id + 1 WHERE :chunk",
        "UPDATE public.posts SET (title, id) = ('a', 1) WHERE :chunk",
        "WITH x AS (UPDATE posts SET id = 1 WHERE :chunk RETURNING *) INSERT INTO log SELECT * FROM x",
        "INSERT INTO posts SELECT * FROM posts WHERE :chunk ON CONFLICT (id) DO UPDATE SET id = 1",
    ] {
        refused(planned("", statement, &posts()), "assigns-key", &["`id`", "chunk-key"]);
    }
    assert!(
        planned("", "UPDATE other SET id = 1 FROM posts WHERE :chunk(posts)", &posts()).is_ok()
    );
    assert!(planned("", "UPDATE posts SET \"ID\" = 1 WHERE :chunk", &posts()).is_ok());
    let dialect = Dialect::Mysql;
    let text = "UPDATE posts p JOIN users u ON u.id = p.tenant SET p.ID = 1 WHERE :chunk(p)";
    refused(
        plan(&migration(dialect, "", text), &posts(), dialect, TIMEOUTS, 1),
        "assigns-key",
        &["`id`"],
    );
}

#[test]
fn rows_are_not_inserted_ahead_of_the_walk() {
    for statement in [
        "INSERT INTO posts SELECT * FROM posts WHERE :chunk",
        "INSERT INTO posts (id, title) SELECT -id, title FROM posts WHERE :chunk",
        "WITH x AS (DELETE FROM posts WHERE :chunk RETURNING *) INSERT INTO posts SELECT * FROM x",
        "INSERT INTO posts (id, title) SELECT id + 301, title FROM posts WHERE :chunk \
         ON CONFLICT (id) DO UPDATE SET title = 'b'",
        "INSERT INTO posts (title, id) SELECT id, title FROM posts WHERE :chunk \
         ON CONFLICT (id) DO UPDATE SET title = 'b'",
        "INSERT INTO posts SELECT id + 1, title FROM posts WHERE :chunk \
         ON CONFLICT (id) DO UPDATE SET title = 'b'",
    ] {
        refused(planned("", statement, &posts()), "inserts-ahead", &["again", "key"]);
    }
    for statement in [
        "INSERT INTO posts (title) SELECT title FROM posts WHERE :chunk",
        "INSERT INTO log SELECT * FROM posts WHERE :chunk",
        "INSERT INTO posts (id, title) SELECT id, 'a' FROM posts WHERE :chunk \
         ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title",
        "INSERT INTO posts (title, id) SELECT lower(p.title, 'x'), p.id FROM posts p \
         WHERE :chunk(p) ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title",
        "INSERT INTO posts SELECT * FROM posts WHERE :chunk ON CONFLICT (id) DO UPDATE SET title = 'c'",
    ] {
        planned("", statement, &posts()).expect(statement);
    }
}

#[test]
fn rows_are_added_only_where_the_database_numbers_them() {
    let add = "INSERT INTO posts (title) SELECT title FROM posts WHERE :chunk";
    let work = planned("", add, &posts()).expect("numbered");
    let of = |statement: &str, table: &Table| {
        adds_from(&migration(Dialect::Postgres, "", statement), table, &work.key, Dialect::Postgres)
    };
    assert_eq!(of(add, &posts()), Some(100));
    assert_eq!(of("INSERT INTO log (title) SELECT title FROM posts WHERE :chunk", &posts()), None);
    let upsert = "INSERT INTO posts SELECT * FROM posts WHERE :chunk \
                  ON CONFLICT (id) DO UPDATE SET title = 'c'";
    assert_eq!(of(upsert, &posts()), None);
    for table in [
        Table { next_number: None, ..posts() },
        Table { next_number: Some(("tenant".into(), 5)), ..posts() },
        table(&["at interval", "title text?"], &["primary at"]),
    ] {
        refused(planned("", add, &table), "inserts-ahead", &["again", "an identity"]);
    }
}

#[test]
fn a_key_that_is_computed_stays() {
    let computed = |from: &str| Table {
        computed: vec![("slug".into(), from.into())],
        ..table(&["tenant integer", "title text", "slug text=", "n integer"], &["primary slug"])
    };
    let by_title = computed("lower(posts.\"title\") || '-' || tenant");
    let update = "UPDATE posts SET n = 1 WHERE :chunk";
    planned("", update, &by_title).expect("another column");
    planned("", "DELETE FROM posts WHERE :chunk", &computed("")).expect("no update");
    for statement in [
        UPDATE,
        "UPDATE posts SET (n, tenant) = (1, 2) WHERE :chunk",
        "WITH x AS (UPDATE posts SET title = 'a' WHERE :chunk RETURNING n) INSERT INTO log SELECT n FROM x",
    ] {
        refused(planned("", statement, &by_title), "assigns-key", &["`slug`", "chunk-key"]);
    }
    refused(planned("", update, &computed("")), "assigns-key", &["`n`", "`slug`"]);
    let planned =
        plan(&row_code(&[], Chunking::by("posts")), &by_title, Dialect::Postgres, TIMEOUTS, 1);
    refused(planned, "assigns-key", &["program", "`slug`"]);
}

#[test]
fn rows_are_written_by_their_own_tables_name() {
    let dialect = Dialect::Postgres;
    let migration = migration(
        dialect,
        "",
        "UPDATE posts SET title = 'a' WHERE :chunk;\n\
         INSERT INTO log SELECT id FROM posts WHERE :chunk;\n\
         UPDATE \"All posts\" AS a SET id = 7 FROM public.posts p WHERE a.id = p.id AND :chunk(p);",
    );
    let walked = Table { family: Some("7".into()), ..posts() };
    let names = written(&migration, &walked, dialect);
    assert_eq!(names, [(1, "log".to_owned()), (2, "\"All posts\"".to_owned())]);
    let other = |kind, family: &str| Table {
        name: "\"All posts\"".into(),
        kind,
        family: Some(family.into()),
        ..posts()
    };
    let found = |table: &Table| check_written(&migration, &walked, 2, table);
    assert_eq!(found(&other(TableKind::Table, "8")), None);
    for (table, why) in [
        (other(TableKind::View, "8"), "is a view"),
        (other(TableKind::Partitioned, "7"), "partition"),
    ] {
        let error = found(&table).expect(why);
        assert_eq!(error.rule, "writes-elsewhere");
        assert_eq!(error.place.as_ref().and_then(|place| place.line), Some(4));
        assert!(error.message.contains(why) && error.help.is_some(), "{error}");
    }
}

#[test]
fn another_schemas_table_is_another_one() {
    let statement = "UPDATE archive.posts SET title = 'a' WHERE :chunk";
    refused(planned("", statement, &posts()), "chunk-other-table", &["chunk-by"]);
    planned("", "UPDATE public.posts SET title = 'a' WHERE :chunk", &posts()).expect("the same");
}

#[test]
fn rows_that_are_taken_together_lie_in_one_chunk() {
    let table = table(
        &["tenant integer", "id bigint", "slug text", "link text?", "n integer"],
        &["primary tenant, id", "unique slug", "unique link", "index n"],
    );
    let insert =
        |by: &str| format!("INSERT INTO t2 SELECT count(*) FROM posts WHERE :chunk GROUP BY {by}");
    for by in ["tenant, id", "id, n, posts.tenant", "slug", "n, slug"] {
        planned("", &insert(by), &table).expect(by);
    }
    for by in ["tenant", "id", "n", "link", "n, lower(slug)"] {
        let parts = ["`tenant`, `id`", "1_a.sql:2:", "sub-query", "ON CONFLICT"];
        refused(planned("", &insert(by), &table), "chunk-group", &parts);
    }
    let distinct = "INSERT INTO t2 SELECT DISTINCT n FROM posts WHERE :chunk";
    refused(planned("", distinct, &table), "chunk-distinct", &["once more", "NOT EXISTS"]);
    let window = "INSERT INTO t2 SELECT id, rank() OVER (PARTITION BY n) FROM posts WHERE :chunk";
    refused(planned("", window, &table), "chunk-window", &["PARTITION BY"]);
    planned("chunk-key slug", &insert("slug"), &table).expect("the key that is named");
}

#[test]
fn a_merge_adds_no_rows_ahead_of_the_walk() {
    let merge = |columns: &str| {
        format!(
            "MERGE INTO posts USING (SELECT * FROM posts WHERE :chunk) s ON posts.tenant = s.id \
             WHEN NOT MATCHED THEN INSERT {columns}"
        )
    };
    let ahead = merge("(id, tenant) VALUES (s.tenant, s.id)");
    refused(planned("", &ahead, &posts()), "inserts-ahead", &["again"]);
    planned("", &merge("(tenant) VALUES (s.id)"), &posts()).expect("the key is given");
}

#[test]
fn row_numbers_are_no_key_beside_a_better_one() {
    let dialect = Dialect::Sqlite;
    let plan = |table: &Table| {
        plan(&migration(dialect, "chunk-key rowid", UPDATE), table, dialect, TIMEOUTS, 1)
    };
    let named = table(&["code TEXT?", "n INTEGER"], &["primary code"]);
    refused(plan(&named), "no-key", &["VACUUM", "leave `chunk-key` out, or name code"]);
    let float = table(&["code REAL?", "id INTEGER"], &["primary code"]);
    refused(plan(&float), "no-key", &["VACUUM", "CREATE UNIQUE INDEX"]);
}

#[test]
fn old_values_are_kept_where_all_that_is_written_is_known() {
    let undo = "undo capture for 14 days";
    let kept = |statements: &str| {
        let capture = planned(undo, statements, &posts()).expect(statements).capture;
        let capture = capture.expect("old values");
        assert_eq!(capture.keep, Duration::from_secs(14 * 86_400));
        capture.columns
    };
    assert_eq!(kept(UPDATE), ["title"]);
    assert_eq!(
        kept(
            "UPDATE posts SET body = 1 WHERE :chunk; UPDATE public.posts SET title = 2 WHERE :chunk"
        ),
        ["title", "body"]
    );
    assert_eq!(kept("DELETE FROM posts WHERE :chunk"), ["id", "tenant", "title", "body"]);
    for (statement, why) in [
        ("INSERT INTO posts (title) SELECT title FROM posts WHERE :chunk", "INSERT"),
        ("UPDATE users SET a = 1 FROM posts WHERE :chunk(posts)", "`users`"),
        ("SELECT f(id) FROM posts WHERE :chunk", "functions"),
        (
            "WITH x AS (DELETE FROM posts WHERE :chunk RETURNING *) INSERT INTO log SELECT * FROM x",
            "not one UPDATE",
        ),
    ] {
        refused(planned(undo, statement, &posts()), "no-undo", &[why]);
    }
    refused(
        planned(undo, "UPDATE posts SET titel = 1 WHERE :chunk", &posts()),
        "unknown-column",
        &["did you mean `title`?"],
    );
}

#[test]
fn what_an_undo_would_miss_is_not_kept() {
    let undo = "undo capture for 14 days";
    // An identity can be inserted again, and never updated.
    let items = table(&["id bigint=!", "name text", "twice text="], &["primary id"]);
    let kept = |statement: &str| {
        planned(undo, statement, &items).expect(statement).capture.expect("old values").columns
    };
    assert_eq!(kept("DELETE FROM posts WHERE :chunk"), ["id", "name"]);
    assert_eq!(kept("UPDATE posts SET name = 'a' WHERE :chunk"), ["name"]);
    let filtered = format!("{undo}\nchunk-where title IS NULL");
    let other = "UPDATE posts SET title = 'a' WHERE body = '' AND :chunk";
    refused(planned(&filtered, other, &posts()), "no-undo", &["`chunk-where` leaves out"]);
    let same = "UPDATE posts SET title = 'a' WHERE title is null AND :chunk";
    assert!(planned(&filtered, same, &posts()).is_ok());
    let nullable = table(&["id bigint?", "title text"], &["unique id"]);
    let by_id = format!("{undo}\nchunk-key id");
    refused(planned(&by_id, UPDATE, &nullable), "no-undo", &["`id`", "may be NULL"]);
}

#[test]
fn row_code_gets_its_columns() {
    let dialect = Dialect::Postgres;
    let planned = |columns: &[&str], chunking: Chunking| {
        plan(&row_code(columns, chunking), &posts(), dialect, TIMEOUTS, 1)
    };
    let names = |work: &Backfill| -> Vec<String> {
        work.columns.iter().map(|column| column.name.clone()).collect()
    };
    let all = planned(&[], Chunking::by("posts")).expect("planned");
    assert_eq!(names(&all), ["id", "tenant", "title", "body", "length"]);
    assert!(all.statements.is_empty());
    let some = planned(&["Title", "id"], Chunking::by("posts")).expect("planned");
    assert_eq!(names(&some), ["title", "id"]);
    let undo = Chunking { undo: Some(Duration::from_secs(60)), ..Chunking::by("posts") };
    let capture = planned(&["title"], undo).expect("planned").capture.expect("old values");
    assert_eq!(capture.columns, ["id", "tenant", "title", "body"]);
    refused(planned(&["titel"], Chunking::by("posts")), "unknown-column", &["`title`"]);
    refused(planned(&["id", "ID"], Chunking::by("posts")), "duplicate-column", &["twice"]);
}
