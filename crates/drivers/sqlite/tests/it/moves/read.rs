//! Reading: values, order, and one snapshot.

use dunlin_engine::ErrorKind;
use dunlin_engine::moves::{Extract, MoveConnector as _, ReadRows};
use dunlin_model::moves::TableName;

use super::super::{Scratch, files};
use super::{extract, read_all, shown};

async fn relation(scratch: &Scratch, table: &str, order: &[&str]) -> Extract {
    let catalogue = scratch.source().await.catalogue().await.unwrap();
    extract(catalogue.relation(&TableName::of(table)).unwrap(), order)
}

async fn rows(scratch: &Scratch, table: &str, order: &[&str]) -> Vec<String> {
    let extract = relation(scratch, table, order).await;
    shown(&read_all(&mut scratch.source().await, &extract).await.unwrap())
}

#[tokio::test]
async fn every_type_is_read() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, flag BOOLEAN, n BIGINT, r REAL, d DECIMAL(9,2),
           m NUMERIC, s VARCHAR(3), b BLOB, day DATE, clock TIME, at DATETIME,
           instant TIMESTAMPTZ, u UUID, j JSON, any_value);
         INSERT INTO t VALUES
           (1, 1, -9223372036854775808, 0.5, 12.5, '12.50', 'longer than three', x'00ff',
            '2000-02-29', '23:59:59.5', '2015-01-01T03:00', '2015-01-01 03:00:00.000001+02:00',
            'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{\"a\": 1}', 7),
           (2, 'f', 9223372036854775807, 3, 7, 9007199254740993, '', x'', '0000-01-01', '12:00',
            '9999-12-31 23:59:59.999999', '2015-01-01T03:00:00Z',
            x'a0eebc999c0b4ef8bb6d6bb9bd380a11', '12', 'text'),
           (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
           (4, 't', 0, -1e300, -0.05, 1e20, 'é', x'01', '1969-12-31', '00:00', '2015-01-01',
            '2015-01-01 03:00:00', NULL, 'null', 1.5)",
    );
    assert_eq!(
        rows(&scratch, "t", &["id"]).await,
        [
            "1|true|-9223372036854775808|0.5|12.50|12.5|longer than three|00ff|2000-02-29|\
             23:59:59.500|2015-01-01T03:00:00|2015-01-01T01:00:00.000001Z|\
             a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|{\"a\": 1}|7",
            "2|false|9223372036854775807|3.0|7.00|9007199254740993|||0000-01-01|12:00:00|\
             9999-12-31T23:59:59.999999|2015-01-01T03:00:00Z|\
             a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|12|text",
            "3|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
            "4|true|0|-1e300|-0.05|100000000000000000000|é|01|1969-12-31|00:00:00|\
             2015-01-01T00:00:00|2015-01-01T03:00:00Z|NULL|null|1.5",
        ]
    );
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_an_error_with_its_place() {
    let cases = [
        ("INTEGER", "'twelve'", "no whole number"),
        ("INTEGER", "1.5", "no whole number"),
        ("REAL", "'x'", "no floating-point number"),
        ("BOOLEAN", "2", "neither true nor false"),
        ("TEXT", "x'ff'", "bytes"),
        ("TEXT", "CAST(x'ff' AS TEXT)", "not UTF-8"),
        ("BLOB", "'text'", "no bytes"),
        ("DATE", "'2015-02-29'", "no day"),
        ("DATE", "'2015-01-01 00:00:00'", "no day"),
        ("DATETIME", "1420070400", "a number or bytes"),
        ("DATETIME", "'infinity'", "no time"),
        ("DATETIME", "'2015-01-01 00:00:00+02:00'", "with a zone"),
        ("DATETIME", "'2015-01-01 00:00:00.1234567'", "finer than a microsecond"),
        ("TIMESTAMPTZ", "'2015-01-01 00:00:00+25:00'", "no time"),
        ("TIME", "'25:00'", "no time of day"),
        ("DECIMAL(5,2)", "'secret'", "no number"),
        ("UUID", "'secret'", "no UUID"),
    ];
    for (declared, value, words) in cases {
        let scratch = Scratch::new();
        scratch.sql(&format!(
            "CREATE TABLE t (v {declared}); INSERT INTO t (rowid, v) VALUES (41, NULL), (42, {value})"
        ));
        let extract = relation(&scratch, "t", &[]).await;
        let error = read_all(&mut scratch.source().await, &extract).await.unwrap_err();
        assert!(error.by_row && error.kind == ErrorKind::Refused, "{declared} {value}: {error:?}");
        assert!(error.message.starts_with("t.v holds"), "{error}");
        assert!(error.message.contains(words), "{declared} {value}: {error}");
        assert!(!error.message.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn rows_come_in_order() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT COLLATE NOCASE, at DATETIME,
           instant TIMESTAMPTZ, clock TIME, u UUID, f REAL);
         INSERT INTO t VALUES
          (1, 'b', '2015-01-01 00:00:01.5', '2015-01-01 03:00:00+02:00', '10:00:00.50', NULL, 1),
          (2, 'B', '2015-01-01T00:00:01', '2015-01-01 00:59:59.999999Z', '10:00',
           'F0000000-0000-0000-0000-000000000000', 1),
          (3, NULL, '2015-01-01', '2015-01-01T01:00:00.1', '10:00:00.5',
           'a0000000-0000-0000-0000-000000000000', 1),
          (4, 'é', '2014-12-31 23:59', NULL, '09:59:59.999',
           x'b0000000000000000000000000000000', 1),
          (5, 'z', '2015-01-01 00:00:01.50', '2015-01-01', NULL, NULL, 1)",
    );
    let ids = async |order: &[&str]| {
        let rows = rows(&scratch, "t", order).await;
        rows.iter().map(|row| row.split('|').next().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(ids(&["id"]).await, "12345");
    assert_eq!(ids(&["s"]).await, "21543");
    // Equal values in other forms are equal: then the next column counts.
    assert_eq!(ids(&["at", "id"]).await, "43215");
    assert_eq!(ids(&["instant", "id"]).await, "52134");
    assert_eq!(ids(&["clock", "id"]).await, "42135");
    assert_eq!(ids(&["u", "id"]).await, "34215");
    let extract = relation(&scratch, "t", &["f"]).await;
    let error = read_all(&mut scratch.source().await, &extract).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn texts_of_another_encoding_are_read_but_not_put_in_order() {
    let scratch = Scratch::new();
    scratch.sql("PRAGMA encoding = 'UTF-16'; CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('é')");
    assert_eq!(rows(&scratch, "t", &[]).await, ["é"]);
    let extract = relation(&scratch, "t", &["a"]).await;
    let error = read_all(&mut scratch.source().await, &extract).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn queries_are_read_in_order() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER);
         INSERT INTO t VALUES (10, 0), (9, 1420070400), (100, NULL)",
    );
    let query = "SELECT id, datetime(at, 'unixepoch') AS at FROM t -- seconds";
    let mut source = scratch.source().await;
    let table = TableName::of("q");
    let fields = source.describe(&table, query).await.unwrap();
    let query = Some(query.to_owned());
    let mut extract = Extract {
        table,
        query,
        fields,
        order: vec!["id".to_owned()],
        only: Vec::new(),
        batch_bytes: 1,
    };
    let found = read_all(&mut source, &extract).await.unwrap();
    assert_eq!(shown(&found), ["9|2015-01-01 00:00:00", "10|1970-01-01 00:00:00", "100|NULL"]);
    extract.order = vec!["at".to_owned()];
    let found = read_all(&mut source, &extract).await.unwrap();
    assert!(shown(&found)[2].starts_with("100"), "NULL comes last");
}

#[tokio::test]
async fn batches_are_bounded_and_a_receiver_that_is_gone_ends_the_reading() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO t SELECT i, printf('%.*c', 1000, 'x') FROM n",
    );
    let mut extract = relation(&scratch, "t", &["id"]).await;
    extract.batch_bytes = 100_000;
    let mut source = scratch.source().await;
    let (batches, mut queue) = tokio::sync::mpsc::channel::<Result<ReadRows, _>>(1);
    let gather = async {
        let mut sizes = Vec::new();
        while let Some(batch) = queue.recv().await {
            sizes.push(batch.unwrap().count());
        }
        sizes
    };
    let read = async {
        let batches = batches;
        source.read(&extract, &batches).await
    };
    let (answer, sizes) = tokio::join!(read, gather);
    answer.unwrap();
    assert_eq!(sizes.iter().sum::<usize>(), 1000);
    assert!(sizes.len() >= 10 && sizes.iter().all(|rows| *rows <= 100), "{sizes:?}");

    let (batches, queue) = tokio::sync::mpsc::channel(1);
    drop(queue);
    source.read(&extract, &batches).await.unwrap();
}

#[tokio::test]
async fn a_source_sees_one_moment_and_leaves_no_trace() {
    let scratch = Scratch::new();
    scratch.sql("PRAGMA journal_mode = WAL; CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('old')");
    let application = scratch.raw();
    application.query_row("SELECT a FROM t", [], |_| Ok(())).unwrap();
    let before = files(scratch.folder.path());
    let mut source = scratch.source().await;
    let catalogue = source.catalogue().await.unwrap();
    let extract = extract(catalogue.relation(&TableName::of("t")).unwrap(), &[]);
    assert_eq!(files(scratch.folder.path()), before);
    application.execute_batch("UPDATE t SET a = 'new'; INSERT INTO t VALUES ('newer')").unwrap();
    for _ in 0..2 {
        assert_eq!(shown(&read_all(&mut source, &extract).await.unwrap()), ["old"]);
    }
    assert!(source.reader().await.unwrap().is_none());
    drop(source);
    let found = read_all(&mut scratch.source().await, &extract).await.unwrap();
    assert_eq!(shown(&found), ["new", "newer"]);
}

#[tokio::test]
async fn a_file_that_nobody_has_open_is_read_without_a_trace_and_a_change_is_seen() {
    let scratch = Scratch::new();
    scratch.sql("PRAGMA journal_mode = WAL; CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('old')");
    let before = files(scratch.folder.path());
    assert_eq!(before.len(), 1, "{before:?}");
    let mut source = scratch.source().await;
    let catalogue = source.catalogue().await.unwrap();
    let extract = extract(catalogue.relation(&TableName::of("t")).unwrap(), &[]);
    assert_eq!(shown(&read_all(&mut source, &extract).await.unwrap()), ["old"]);
    assert_eq!(files(scratch.folder.path()), before);
    // What is in the log alone doesn't reach us; what is brought into the file would.
    let application = scratch.raw();
    application.execute_batch("UPDATE t SET a = 'new'").unwrap();
    assert_eq!(shown(&read_all(&mut source, &extract).await.unwrap()), ["old"]);
    application.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let error = read_all(&mut source, &extract).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn no_file_is_made() {
    let scratch = Scratch::new();
    let connector = scratch.connector();
    assert_eq!(connector.source().await.err().unwrap().kind, ErrorKind::NoSuchDatabase);
    assert_eq!(connector.move_target().await.err().unwrap().kind, ErrorKind::NoSuchDatabase);
    assert!(scratch.files().is_empty());
}
