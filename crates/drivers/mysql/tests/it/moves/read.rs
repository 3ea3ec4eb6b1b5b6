//! Reading: catalogue, types, order, snapshot.

use dunlin_engine::ErrorKind;
use dunlin_engine::moves::{Extract, MoveConnector as _, ReadRows, Source};
use dunlin_model::moves::{TableName, ValueType};

use super::{extract, read_all, relation, shown};
use crate::support::World;

async fn source(world: &World) -> Box<dyn Source> {
    world.connector().source().await.unwrap()
}

async fn world(test: &str, sql: &[&str]) -> World {
    let world = World::new(test).await;
    let mut eyes = world.eyes().await;
    for statement in sql {
        eyes.run(statement).await;
    }
    world
}

const TYPES: &str = "CREATE TABLE t (id bigint unsigned PRIMARY KEY, flag tinyint(1), tiny tinyint \
     unsigned, small smallint unsigned, medium mediumint, u int unsigned zerofill, f float, \
     d double, n decimal(9,2), s varchar(20) CHARACTER SET latin1, c char(5), b varbinary(9), \
     day date, at datetime(6), instant timestamp(3) NULL, clock time(6), y year, \
     e enum('it''s','b'), st set('x','y'), bits bit(12), j json, g point)";

#[tokio::test]
async fn every_type_is_read() {
    let world = world("m_types", &[TYPES]).await;
    let mut eyes = world.eyes().await;
    eyes.run("SET time_zone = '+02:00'").await;
    eyes.run(
        "INSERT INTO t VALUES (18446744073709551615, 1, 255, 65535, -8388608, 42, 16777217, \
         0.1 + 0.2e0, -12.5, 'é', 'a  ', x'00ff', '0001-01-31', '9999-12-31 23:59:59.999999', \
         '2015-01-31 03:00:00.5', '24:00:00', 1901, 'it''s', 'y,x', b'100000000001', \
         '{\"a\": 1.50}', POINT(1, 2.5))",
    )
    .await;
    eyes.run("INSERT INTO t (id) VALUES (1)").await;
    let mut source = source(&world).await;
    let table = relation(&mut source, "t").await;
    let found = read_all(&mut source, &extract(&table, &["id"])).await.unwrap();
    let nulls = ["NULL"; 21].join("|");
    let all = "18446744073709551615|true|255|65535|-8388608|42|16777216.0|0.30000000000000004|\
         -12.50|é|a|00ff|0001-01-31|9999-12-31T23:59:59.999999|2015-01-31T01:00:00.500Z|\
         24:00|1901|it's|x,y|100000000001|{\"a\": 1.50}|POINT(1 2.5)";
    let found = shown(&found);
    assert_eq!(found[0], format!("1|{nulls}"));
    let (found, all): (Vec<_>, Vec<_>) = (found[1].split('|').collect(), all.split('|').collect());
    for (place, field) in table.fields.iter().enumerate() {
        // The formatter has no word for the end of a day.
        if field.name != "clock" {
            assert_eq!(found[place], all[place], "{}", field.name);
        }
    }
    let of = |name: &str| table.field(name).unwrap().value_type.clone();
    assert_eq!(of("e"), ValueType::Enum(vec!["it's".to_owned(), "b".to_owned()]));
    assert_eq!(of("n"), ValueType::Numeric { scale: Some(2) });
    assert!(matches!(of("j"), ValueType::Json { .. }), "{:?}", of("j"));
    assert_eq!(table.field("s").unwrap().max_chars, Some(20));
}

#[tokio::test]
async fn the_catalogue_tells_keys_and_what_is_numbered() {
    let world = world(
        "m_catalogue",
        &[
            "CREATE TABLE a (id int AUTO_INCREMENT PRIMARY KEY, n int, twice int AS (n * 2) STORED, \
             s varchar(9) NOT NULL DEFAULT 'x', t text, UNIQUE (s), UNIQUE (t(5)), UNIQUE (twice))",
            "CREATE TABLE b (x int NOT NULL, y int NULL, z int NOT NULL, UNIQUE (x, z), UNIQUE (y), \
             CONSTRAINT of_a FOREIGN KEY (y) REFERENCES a (id) ON DELETE SET NULL)",
            "CREATE VIEW v AS SELECT id, s FROM a",
            "CREATE TABLE dunlin_x (id int PRIMARY KEY)",
        ],
    )
    .await;
    let mut source = source(&world).await;
    let catalogue = source.catalogue().await.unwrap();
    let names: Vec<String> = catalogue.relations.iter().map(|r| r.name.to_string()).collect();
    assert_eq!(names, ["a", "b", "v"]);
    let [a, b, v] = catalogue.relations.as_slice() else { panic!("three") };
    assert_eq!((a.key.join(","), a.is_table, v.is_table), ("id".to_owned(), true, false));
    assert_eq!(a.unique, [vec!["id"], vec!["s"], vec!["twice"]]);
    assert_eq!(a.unique_in_part, [vec!["t"], vec!["twice", "n"]]);
    let id = a.field("id").unwrap();
    assert!(id.is_numbered() && id.has_default && !id.nullable);
    assert!(a.field("twice").unwrap().generated);
    assert!(a.field("s").unwrap().has_default && !a.field("t").unwrap().has_default);
    assert_eq!(b.key, ["x", "z"], "one without NULL");
    let key = &b.foreign_keys[0];
    assert_eq!((key.name.as_deref(), key.on_delete.as_str()), (Some("of_a"), "SET NULL"));
    assert_eq!((key.to.to_string(), &key.to_columns), ("a".to_owned(), &vec!["id".to_owned()]));
    assert!(v.key.is_empty());
}

#[tokio::test]
async fn rows_come_in_the_order_of_their_bytes_or_values() {
    let world = world(
        "m_order",
        &[
            "CREATE TABLE t (s varchar(9) CHARACTER SET latin1, n int)",
            "INSERT INTO t VALUES ('b', 10), ('B', 9), ('a', -1), ('é', 100), (NULL, NULL), ('a ', 2)",
        ],
    )
    .await;
    let mut source = source(&world).await;
    let table = relation(&mut source, "t").await;
    let by_text = read_all(&mut source, &extract(&table, &["s"])).await.unwrap();
    assert_eq!(shown(&by_text), ["B|9", "a|-1", "a |2", "b|10", "é|100", "NULL|NULL"]);
    let by_number = read_all(&mut source, &extract(&table, &["n"])).await.unwrap();
    assert_eq!(shown(&by_number), ["a|-1", "a |2", "B|9", "b|10", "é|100", "NULL|NULL"]);
}

#[tokio::test]
async fn values_that_have_no_place_are_errors_that_name_their_column() {
    for (test, column, value, word) in [
        ("m_zero", "a datetime", "'0000-00-00'", "zero date"),
        ("m_day0", "a date", "'2015-00-31'", "zero date"),
        ("m_long", "a time", "'25:00:00'", "length of time"),
        ("m_negative", "a time", "'-01:00:00'", "length of time"),
        ("m_flag", "a tinyint(1)", "2", "truth"),
    ] {
        let world = World::new(test).await;
        let mut eyes = world.eyes().await;
        eyes.run("SET sql_mode = ''").await;
        eyes.run(&format!("CREATE TABLE t ({column})")).await;
        eyes.run(&format!("INSERT INTO t VALUES (NULL), ({value}), (NULL)")).await;
        let mut source = source(&world).await;
        let table = relation(&mut source, "t").await;
        let error = read_all(&mut source, &extract(&table, &[])).await.unwrap_err();
        assert!(error.by_row && error.kind == ErrorKind::Refused, "{error}");
        let words = error.to_string();
        assert!(words.contains("t.a") && words.contains(word), "{words}");
        // The snapshot is still there.
        assert!(source.catalogue().await.is_ok());
    }
}

#[tokio::test]
async fn a_source_sees_one_moment_and_nobody_waits_for_it() {
    let world = world(
        "m_moment",
        &["CREATE TABLE t (id int PRIMARY KEY, a text)", "INSERT INTO t VALUES (1, 'old')"],
    )
    .await;
    let mut source = source(&world).await;
    let mut eyes = world.eyes().await;
    eyes.run("UPDATE t SET a = 'new'").await;
    eyes.run("INSERT INTO t VALUES (2, 'newer')").await;
    let table = relation(&mut source, "t").await;
    let extract = extract(&table, &["id"]);
    for _ in 0..2 {
        assert_eq!(shown(&read_all(&mut source, &extract).await.unwrap()), ["1|old"]);
    }
    assert!(source.reader().await.unwrap().is_none());
    drop(source);
    let mut source = self::source(&world).await;
    assert_eq!(shown(&read_all(&mut source, &extract).await.unwrap()), ["1|new", "2|newer"]);
}

#[tokio::test]
async fn a_receiver_that_is_gone_ends_the_reading_and_not_the_snapshot() {
    let world = world(
        "m_gone",
        &[
            "CREATE TABLE d (n int)",
            "INSERT INTO d VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
            "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, s text)",
            "INSERT INTO t (s) SELECT REPEAT('x', 5000) FROM d a, d b, d c, d e",
        ],
    )
    .await;
    let mut source = source(&world).await;
    let table = relation(&mut source, "t").await;
    let mut extract = extract(&table, &["id"]);
    extract.batch_bytes = 100_000;
    let (batches, queue) = tokio::sync::mpsc::channel(1);
    drop(queue);
    source.read(&extract, &batches).await.unwrap();
    world.eyes().await.run("DELETE FROM t").await;
    let (batches, mut queue) = tokio::sync::mpsc::channel(1);
    let gather = async {
        let mut sizes = Vec::new();
        while let Some(batch) = queue.recv().await {
            let batch: Result<ReadRows, _> = batch;
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
    assert_eq!(sizes.iter().sum::<usize>(), 10_000);
    assert!(sizes.iter().all(|rows| *rows <= 21), "{sizes:?}");
}

#[tokio::test]
async fn queries_are_described_and_read() {
    let world = world(
        "m_query",
        &[
            "CREATE TABLE t (id int PRIMARY KEY, s varchar(9), b blob, n decimal(9,2), d date)",
            "INSERT INTO t VALUES (10, 'ten', 'x', 1.5, '2015-01-31'), (9, NULL, NULL, NULL, NULL)",
        ],
    )
    .await;
    let query = "SELECT id, upper(s) AS s, b, n, d, id = 9 AS nine, 0.1e0 AS f FROM t; -- all";
    let query = query.replace("; -- all", " -- all\n;");
    let mut source = source(&world).await;
    let table = TableName::of("q");
    let fields = source.describe(&table, &query).await.unwrap();
    let types: Vec<ValueType> = fields.iter().map(|field| field.value_type.clone()).collect();
    assert_eq!(
        types[..5],
        [
            ValueType::Int32,
            ValueType::Text { padded: false },
            ValueType::Bytes,
            ValueType::Numeric { scale: Some(2) },
            ValueType::Date
        ]
    );
    let mut extract = Extract {
        table,
        query: Some(query),
        fields,
        order: vec!["id".into()],
        only: Vec::new(),
        batch_bytes: 1,
    };
    let found = read_all(&mut source, &extract).await.unwrap();
    assert_eq!(shown(&found), ["9|NULL|NULL|NULL|NULL|1|0.1", "10|TEN|78|1.50|2015-01-31|0|0.1"]);
    extract.only = vec![("s".to_owned(), "TEN".to_owned()), ("id".to_owned(), "10".to_owned())];
    assert_eq!(read_all(&mut source, &extract).await.unwrap().num_rows(), 1);
    extract.only[0].1 = "ten".to_owned();
    assert_eq!(read_all(&mut source, &extract).await.unwrap().num_rows(), 0);
    let table = TableName::of("q");
    let error = source.describe(&table, "SELECT nothing FROM t").await.unwrap_err();
    assert!(error.to_string().contains("the query of q"), "{error}");
    let error = source.describe(&table, "DELETE FROM t").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Statement, "{error}");
}
