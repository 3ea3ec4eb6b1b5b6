//! Writing: what goes in and comes back, the fence, the store, numbers.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::record_batch::RecordBatch;
use dunlin_engine::moves::{MoveConnector as _, Refused, Stored, Written, arrow_schema};
use dunlin_engine::{Connector as _, ErrorKind, Purpose};
use dunlin_model::moves::TableName;

use super::{Moving, WAIT, batch, claimed, collected, extract, keys, people, shown};

pub(super) const PEOPLE: [&str; 3] = [
    "CREATE TABLE teams (id int PRIMARY KEY, name varchar(9) NOT NULL UNIQUE)",
    "CREATE TABLE people (id int PRIMARY KEY, name varchar(5) NOT NULL CHECK (name <> 'bad'), \
     team_id int, UNIQUE one_name (name), FOREIGN KEY (team_id) REFERENCES teams (id) \
     ON DELETE CASCADE)",
    "INSERT INTO teams VALUES (1, 'one'), (2, 'two')",
];

const NAMES: &str = "SELECT GROUP_CONCAT(CONCAT(id, name, IFNULL(team_id, '-')) ORDER BY id \
     SEPARATOR ' ') FROM people";

#[tokio::test]
async fn every_type_is_stored_and_comes_back() {
    let mut moving = Moving::new(
        "m_stored",
        &["CREATE TABLE t (id bigint unsigned PRIMARY KEY, flag tinyint(1), y year, n bigint, \
           f float, r double, d decimal(9,2), s varchar(9) CHARACTER SET utf8mb4, c char(5), b longblob, day date, \
           clock time(6), at datetime(6), instant timestamp(6) NULL, e enum('a','it''s'), \
           st set('x','y'), bits bit(12), j json, g point)"],
    )
    .await;
    let into = moving.written("t").await;
    let micros = 1_420_074_000_000_001;
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let rows = batch(
        &into,
        vec![
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            Arc::new(BooleanArray::from(vec![true])),
            Arc::new(Int16Array::from(vec![2155])),
            Arc::new(Int64Array::from(vec![i64::MIN])),
            Arc::new(Float32Array::from(vec![0.1])),
            Arc::new(Float64Array::from(vec![0.1 + 0.2])),
            text("-12.50"),
            text("0'\\ \u{0}é "),
            text("x"),
            Arc::new(BinaryArray::from(vec![&b"\0'\\\xff"[..]])),
            Arc::new(Date32Array::from(vec![-1])),
            Arc::new(Time64MicrosecondArray::from(vec![86_400_000_000])),
            Arc::new(TimestampMicrosecondArray::from(vec![-1])),
            Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")),
            text("it's"),
            text("x,y"),
            text("100000000001"),
            text("{\"a\": 1.50}"),
            text("POINT(1 2.5)"),
        ],
    );
    moving.begin().await;
    moving.target.load(&into, &rows).await.unwrap();
    let ids = rows.project(&[0]).unwrap();
    assert_eq!(moving.target.fetch(&into, &ids, true).await.unwrap().rows, rows);
    moving.commit().await;
    let catalogue = moving.target.catalogue().await.unwrap();
    let extract = extract(catalogue.relation(&into.table).unwrap(), &[]);
    let target = &mut moving.target;
    let read = collected(&extract.fields, true, |batches| async {
        let batches = batches;
        target.read(&extract, &batches).await
    });
    assert_eq!(read.await.unwrap(), rows);
    let stored = moving
        .one(
            "SELECT CONCAT_WS('|', flag, f, n, d, HEX(s), HEX(b), day, clock, at, \
             UNIX_TIMESTAMP(instant), e + 0, st + 0, bits + 0, ST_X(g)) FROM t",
        )
        .await;
    assert_eq!(
        stored,
        "1|0.1|-9223372036854775808|-12.50|30275C2000C3A920|00275CFF|1969-12-31|24:00:00.000000|\
         1969-12-31 23:59:59.999999|1420074000.000001|2|3|2049|1"
    );
}

#[tokio::test]
async fn uuids_and_addresses_of_mariadb_come_back() {
    let mut moving =
        Moving::new("m_uuid", &["CREATE TABLE t (id uuid PRIMARY KEY, ip inet6)"]).await;
    let into = moving.written("t").await;
    let id = [0xab; 16];
    let ids = FixedSizeBinaryArray::try_from_iter([id].into_iter()).unwrap();
    let ips = StringArray::from(vec!["::1"]);
    let rows = batch(&into, vec![Arc::new(ids), Arc::new(ips)]);
    moving.begin().await;
    assert_eq!(moving.target.insert(&into, &rows).await.unwrap(), Refused::default());
    let ids = rows.project(&[0]).unwrap();
    assert_eq!(moving.target.fetch(&into, &ids, false).await.unwrap().rows, rows);
    moving.commit().await;
    assert_eq!(moving.one("SELECT id FROM t").await, "abababab-abab-abab-abab-abababababab");
    let texts = [Some("0:0::1".to_owned()), None];
    let forms = moving.target.normalise(&into.fields[1], &texts).await.unwrap();
    assert_eq!(forms, [Some("::1".to_owned()), None]);
    let error =
        moving.target.normalise(&into.fields[1], &[Some("secret".into())]).await.unwrap_err();
    assert!(error.by_row && !error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn rows_are_inserted_updated_and_deleted_by_key() {
    let mut moving = Moving::new("m_by_key", &PEOPLE).await;
    let into = moving.written("people").await;
    let rows = people(
        &into,
        &[(Some(1), Some("a"), Some(1)), (Some(2), Some("b"), None), (Some(3), Some("c"), None)],
    );
    moving.begin().await;
    assert_eq!(moving.target.insert(&into, &rows).await.unwrap(), Refused::default());
    moving.commit().await;
    moving.begin().await;
    let rows = people(
        &into,
        &[(Some(1), Some("a"), Some(1)), (Some(2), Some("B"), Some(2)), (Some(9), Some("x"), None)],
    );
    let refused = moving.target.update(&into, &rows).await.unwrap();
    assert_eq!(refused, Refused { absent_or_there: vec![2], rejected: Vec::new() });
    let refused = moving.target.delete(&into, &keys(&into, &[3, 8])).await.unwrap();
    assert_eq!(refused, Refused { absent_or_there: vec![1], rejected: Vec::new() });
    let found = moving.target.fetch(&into, &keys(&into, &[2, 3, 1]), true).await.unwrap().rows;
    assert_eq!(shown(&found), ["2|B|2", "1|a|1"]);
    assert_eq!(moving.one(NAMES).await, "1a1 2b- 3c-", "nobody sees it before the commit");
    moving.commit().await;
    assert_eq!(moving.one(NAMES).await, "1a1 2B2");
}

#[tokio::test]
async fn nothing_remains_after_a_rollback_or_an_error() {
    let mut moving = Moving::new("m_rollback", &PEOPLE).await;
    let into = moving.written("people").await;
    moving.begin().await;
    moving.target.load(&into, &people(&into, &[(Some(1), Some("a"), None)])).await.unwrap();
    moving.target.rollback().await.unwrap();
    moving.begin().await;
    moving.target.load(&into, &people(&into, &[(Some(1), Some("a"), None)])).await.unwrap();
    let twice = people(&into, &[(Some(2), Some("b"), None), (Some(1), Some("c"), None)]);
    let error = moving.target.load(&into, &twice).await.unwrap_err();
    assert!(error.by_row, "{error}");
    assert_eq!(moving.one("SELECT COUNT(*) FROM people").await, "0");
    moving.begin().await;
    moving.target.load(&into, &people(&into, &[(Some(2), Some("b"), None)])).await.unwrap();
    moving.commit().await;
    assert_eq!(moving.one(NAMES).await, "2b-");
}

#[tokio::test]
async fn a_lease_that_was_taken_over_writes_nothing() {
    let mut moving = Moving::new("m_fence", &PEOPLE).await;
    let into = moving.written("people").await;
    let mut other = moving.world.connector().connect(Purpose::Run).await.unwrap();
    moving.begin().await;
    moving.target.load(&into, &people(&into, &[(Some(1), Some("a"), None)])).await.unwrap();
    // The takeover ends the connection whose transaction holds the fence.
    let lease = claimed(&mut other, 2).await;
    let error = moving.target.commit(&mut moving.lease).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Lost, "{error}");
    assert_eq!(moving.one("SELECT COUNT(*) FROM people").await, "0");
    assert_eq!(moving.lease.commits, 0);

    let mut late = moving.world.connector().move_target().await.unwrap();
    let error = late.begin(&moving.lease, WAIT).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
    moving.target = late;
    moving.lease = lease;
    moving.begin().await;
    moving.target.load(&into, &people(&into, &[(Some(1), Some("a"), None)])).await.unwrap();
    moving.commit().await;
    assert_eq!(moving.lease.commits, 1);
    assert_eq!(moving.one(NAMES).await, "1a-");
    drop(moving.run);
}

#[tokio::test]
async fn a_lost_connection_is_told_and_leaves_nothing() {
    let mut moving = Moving::new("m_lost", &PEOPLE).await;
    let into = moving.written("people").await;
    moving.begin().await;
    moving.target.load(&into, &people(&into, &[(Some(1), Some("a"), None)])).await.unwrap();
    let mut eyes = moving.world.eyes().await;
    // What it wrote with the fence, and has not committed.
    eyes.run("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED").await;
    let id = eyes
        .one("SELECT connection FROM dunlin_segments WHERE seg = 0 AND job LIKE 'move/%'")
        .await;
    eyes.run(&format!("KILL CONNECTION {id}")).await;
    let rows = people(&into, &[(Some(2), Some("b"), None)]);
    let error = moving.target.insert(&into, &rows).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Lost, "{error}");
    let error = moving.target.commit(&mut moving.lease).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Bug, "nothing is open: {error}");
    // The server ends the transaction by itself, if not at once.
    eyes.until("SELECT COUNT(*) FROM people", "0").await;
    assert_eq!(eyes.one("SELECT COUNT(*) FROM people").await, "0");
}

#[tokio::test]
async fn a_lock_that_is_not_given_ends_the_transaction() {
    let mut moving = Moving::new("m_lock", &PEOPLE).await;
    let into = moving.written("people").await;
    let mut eyes = moving.world.eyes().await;
    eyes.run("INSERT INTO people VALUES (1, 'a', NULL)").await;
    eyes.run("BEGIN").await;
    eyes.run("UPDATE people SET name = 'x' WHERE id = 1").await;
    moving.target.begin(&moving.lease, std::time::Duration::from_secs(1)).await.unwrap();
    let rows = people(&into, &[(Some(2), Some("b"), None)]);
    moving.target.load(&into, &rows).await.unwrap();
    let rows = people(&into, &[(Some(1), Some("b"), None)]);
    let error = moving.target.update(&into, &rows).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::LockTimeout, "{error}");
    eyes.run("ROLLBACK").await;
    assert_eq!(eyes.one(NAMES).await, "1a-");
    moving.begin().await;
    moving.target.update(&into, &rows).await.unwrap();
    moving.commit().await;
    assert_eq!(eyes.one(NAMES).await, "1b-");
}

#[tokio::test]
async fn the_store_keeps_entries_by_area_and_number() {
    let mut moving = Moving::new("m_store", &[]).await;
    let entry = |area: &str, number, value: Option<&[u8]>| Stored {
        area: area.to_owned(),
        number,
        value: value.map(<[u8]>::to_vec),
    };
    moving.begin().await;
    let entries =
        [entry("a", -1, Some(b"\0\xff")), entry("a", 2, Some(b"")), entry("A", 2, Some(b"other"))];
    moving.target.put("m", &entries).await.unwrap();
    moving.commit().await;
    let found = moving.target.stored("m", "a", i64::MIN, 9).await.unwrap();
    assert_eq!(found, entries[..2]);
    moving.begin().await;
    moving.target.put("m", &[entry("a", -1, None), entry("a", 2, Some(b"new"))]).await.unwrap();
    moving.commit().await;
    let found = moving.target.stored("m", "a", i64::MIN, 1).await.unwrap();
    assert_eq!(found, [entry("a", 2, Some(b"new"))]);
    assert!(moving.target.stored("M", "a", i64::MIN, 9).await.unwrap().is_empty());
    moving.world.eyes().await.run("DROP TABLE dunlin_moves_store").await;
    assert!(moving.target.stored("m", "a", i64::MIN, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn numbers_are_taken_so_that_nobody_else_gets_them() {
    let mut moving = Moving::new(
        "m_numbers",
        &[
            "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, s int)",
            "INSERT INTO t VALUES (7, 1)",
        ],
    )
    .await;
    let table = TableName::of("t");
    moving.begin().await;
    assert_eq!(moving.target.take_numbers(&table, "id", 3, 0).await.unwrap(), [8, 9, 10]);
    let mut eyes = moving.world.eyes().await;
    eyes.run("INSERT INTO t (s) VALUES (2)").await;
    assert_eq!(eyes.one("SELECT MAX(id) FROM t").await, "11");
    assert_eq!(moving.target.take_numbers(&table, "id", 1, 9).await.unwrap(), [12]);
    assert_eq!(moving.target.take_numbers(&table, "id", 1, 20).await.unwrap(), [21]);
    moving.commit().await;
    moving.begin().await;
    moving.target.number_above(&table, "id", 1000).await.unwrap();
    moving.target.number_above(&table, "id", 5).await.unwrap();
    moving.commit().await;
    eyes.run("INSERT INTO t (s) VALUES (3)").await;
    assert_eq!(eyes.one("SELECT MAX(id) FROM t").await, "1001");
    moving.begin().await;
    let error = moving.target.take_numbers(&table, "s", 1, 0).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
}

#[tokio::test]
async fn rows_are_found_by_what_the_collation_takes_for_the_same() {
    let mut moving = Moving::new(
        "m_find",
        &[
            "CREATE TABLE c (id int PRIMARY KEY, code varchar(5) COLLATE utf8mb4_general_ci, year int)",
            "INSERT INTO c VALUES (1, 'DE', 1), (2, 'fr', 1), (3, 'FR', 1), (4, NULL, 1)",
        ],
    )
    .await;
    let from = Written { key: vec![1, 2], ..moving.written("c").await };
    let codes: StringArray = [Some("de"), Some("Fr"), None, Some("xx")].into_iter().collect();
    let years = Int32Array::from(vec![1, 1, 1, 1]);
    let fields = from.fields[1..].to_vec();
    let schema = Arc::new(arrow_schema(&fields, true));
    let values = RecordBatch::try_new(schema, vec![Arc::new(codes), Arc::new(years)]).unwrap();
    let (places, rows) = moving.target.find(&from, &values).await.unwrap();
    assert_eq!(places, [0, 1, 1]);
    assert_eq!(shown(&rows), ["1|DE|1", "2|fr|1", "3|FR|1"]);
}
