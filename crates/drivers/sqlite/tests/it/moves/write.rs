//! Writing: what goes in, what is refused, and the fence.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float64Array,
    Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::record_batch::RecordBatch;
use dunlin_engine::moves::{Refused, Stored, Written, arrow_schema};
use dunlin_engine::{Connector as _, ErrorKind, Purpose};
use dunlin_model::moves::TableName;

use super::{Moving, claimed, extract, read_target, shown};

const PEOPLE: &str = "
    CREATE TABLE groups (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (name <> ''),
      group_id INTEGER REFERENCES groups ON DELETE CASCADE);
    INSERT INTO groups VALUES (1, 'one'), (2, 'two')";

async fn written(moving: &mut Moving, table: &str) -> Written {
    let relation = moving.relation(table).await;
    let place = |name: &String| relation.fields.iter().position(|f| f.name == *name).unwrap();
    Written {
        key: relation.key.iter().map(place).collect(),
        table: relation.name.clone(),
        fields: relation.fields,
        triggers: true,
    }
}

fn batch(written: &Written, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(Arc::new(arrow_schema(&written.fields, true)), columns).unwrap()
}

fn keys(written: &Written, ids: &[i64]) -> RecordBatch {
    let key = [written.fields[written.key[0]].clone()];
    RecordBatch::try_new(
        Arc::new(arrow_schema(&key, true)),
        vec![Arc::new(Int64Array::from(ids.to_vec()))],
    )
    .unwrap()
}

type Person<'a> = (Option<i64>, Option<&'a str>, Option<i64>);

fn people(written: &Written, rows: &[Person<'_>]) -> RecordBatch {
    batch(
        written,
        vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        ],
    )
}

fn names(moving: &Moving) -> String {
    moving
        .scratch
        .raw()
        .query_row(
            "SELECT ifnull(group_concat(id || name || ifnull(group_id, '-'), ' '), '')
             FROM (SELECT * FROM people ORDER BY id)",
            [],
            |row| row.get(0),
        )
        .unwrap()
}

#[tokio::test]
async fn every_type_is_stored_and_comes_back() {
    let mut moving = Moving::new(
        "CREATE TABLE t (id UUID PRIMARY KEY, flag BOOLEAN, n BIGINT, r REAL, d DECIMAL(9,2),
           s TEXT, b BLOB, day DATE, clock TIME, at DATETIME, instant TIMESTAMPTZ, j JSON, a)",
    )
    .await;
    let into = written(&mut moving, "t").await;
    let nothing = vec![Some([0xab; 16]), None].into_iter();
    let ids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(nothing.take(1), 16).unwrap();
    let micros = 1_420_074_000_000_001;
    let rows = batch(
        &into,
        vec![
            Arc::new(ids),
            Arc::new(BooleanArray::from(vec![true])),
            Arc::new(Int64Array::from(vec![i64::MIN])),
            Arc::new(Float64Array::from(vec![0.1 + 0.2])),
            Arc::new(StringArray::from(vec!["-12.50"])),
            Arc::new(StringArray::from(vec!["007 \u{0}é"])),
            Arc::new(BinaryArray::from(vec![&b""[..]])),
            Arc::new(Date32Array::from(vec![-1])),
            Arc::new(Time64MicrosecondArray::from(vec![1])),
            Arc::new(TimestampMicrosecondArray::from(vec![micros])),
            Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")),
            Arc::new(StringArray::from(vec!["{\"a\": 1.50}"])),
            Arc::new(StringArray::from(vec!["007"])),
        ],
    );
    moving.begin().await;
    moving.target.load(&into, &rows).await.unwrap();
    let ids = rows.project(&[0]).unwrap();
    assert_eq!(moving.target.fetch(&into, &ids, true).await.unwrap().rows, rows);
    moving.commit().await;
    let relation = moving.relation("t").await;
    let extract = extract(&relation, &[]);
    assert_eq!(read_target(&mut moving.target, &extract).await.unwrap(), rows);
    let stored: String = moving
        .scratch
        .raw()
        .query_row(
            "SELECT concat_ws('|', id, flag, typeof(d), d, day, clock, at, instant, typeof(b), a,
               datetime(instant), date(day), time(clock)) FROM t",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(
        stored,
        "abababab-abab-abab-abab-abababababab|1|real|-12.5|1969-12-31|00:00:00.000001|\
         2015-01-01 01:00:00.000001|2015-01-01 01:00:00.000001+00:00|blob|007|\
         2015-01-01 01:00:00|1969-12-31|00:00:00"
    );
}

#[tokio::test]
async fn values_that_sqlite_would_change_are_refused() {
    let mut moving = Moving::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, r REAL, d NUMERIC, day DATE, at DATETIME)",
    )
    .await;
    let into = written(&mut moving, "t").await;
    let days = [None, None, None, None, Some(i32::MAX), None];
    let times = [None, None, None, None, None, Some(i64::MIN)];
    let digits = [Some("12.5"), None, Some("0.12345678901234567890"), Some("NaN"), None, None];
    let rows = batch(
        &into,
        vec![
            Arc::new(Int64Array::from_iter_values(0..6)),
            Arc::new(Float64Array::from(vec![f64::INFINITY, f64::NAN, 0.0, 0.0, 0.0, 0.0])),
            Arc::new(digits.into_iter().collect::<StringArray>()),
            Arc::new(days.into_iter().collect::<Date32Array>()),
            Arc::new(times.into_iter().collect::<TimestampMicrosecondArray>()),
        ],
    );
    moving.begin().await;
    let refused = moving.target.insert(&into, &rows).await.unwrap();
    let places: Vec<u32> = refused.rejected.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [1, 2, 3, 4, 5]);
    for ((_, why), column) in refused.rejected.iter().zip(["r", "d", "d", "day", "at"]) {
        assert!(why.starts_with(&format!("column {column}: ")), "{why}");
        assert!(!why.contains("1234"), "{why}");
    }
    moving.commit().await;
    assert_eq!(moving.scratch.number("SELECT count(*) FROM t"), 1);

    moving.begin().await;
    let error = moving.target.load(&into, &rows.slice(1, 1)).await.unwrap_err();
    assert!(error.by_row && error.kind == ErrorKind::Statement, "{error:?}");
    // Nothing of that transaction remains.
    assert_eq!(moving.target.commit(&mut moving.lease).await.unwrap_err().kind, ErrorKind::Bug);
}

#[tokio::test]
async fn rows_are_inserted_one_by_one_and_refused_one_by_one() {
    let mut moving = Moving::new(PEOPLE).await;
    let into = written(&mut moving, "people").await;
    moving.begin().await;
    let first = people(&into, &[(Some(1), Some("Ada"), Some(1))]);
    moving.target.load(&into, &first).await.unwrap();
    let rows = [
        (Some(1), Some("Other"), None),
        (Some(2), None, None),
        (Some(3), Some(""), None),
        (Some(4), Some("Bob"), Some(99)),
        (None, Some("Nobody"), None),
        (Some(5), Some("Eve"), Some(2)),
    ];
    let refused = moving.target.insert(&into, &people(&into, &rows)).await.unwrap();
    let expected = Refused {
        absent_or_there: vec![0],
        rejected: vec![
            (1, "NOT NULL constraint failed: people.name".to_owned()),
            (2, "CHECK constraint failed: name <> ''".to_owned()),
            (3, "group_id refers to no row of groups".to_owned()),
            (4, "column id: it is in the key and has no value".to_owned()),
        ],
    };
    assert_eq!(refused, expected);
    moving.commit().await;
    assert_eq!(names(&moving), "1Ada1 5Eve2");
    assert_eq!(moving.lease.commits, 1);
}

#[tokio::test]
async fn rows_are_updated_by_their_key() {
    let mut moving = Moving::new(PEOPLE).await;
    moving.scratch.sql("INSERT INTO people VALUES (1, 'Ada', 1), (2, 'Bob', 1)");
    let into = written(&mut moving, "people").await;
    let rows = [
        (Some(1), Some("Ada L."), None),
        (Some(3), Some("Nobody"), None),
        (Some(2), Some("Bob"), Some(99)),
    ];
    moving.begin().await;
    let refused = moving.target.update(&into, &people(&into, &rows)).await.unwrap();
    assert_eq!(refused.absent_or_there, [1]);
    assert_eq!(refused.rejected, [(2, "group_id refers to no row of groups".to_owned())]);
    moving.commit().await;
    assert_eq!(names(&moving), "1Ada L.- 2Bob1");
}

#[tokio::test]
async fn nothing_is_cascaded() {
    let mut moving = Moving::new(PEOPLE).await;
    moving.scratch.sql(
        "INSERT INTO people VALUES (1, 'Ada', 1);
         CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree ON DELETE SET NULL);
         INSERT INTO tree VALUES (1, 1), (2, NULL), (3, 2)",
    );
    let groups = written(&mut moving, "groups").await;
    let tree = written(&mut moving, "tree").await;
    moving.begin().await;
    let refused = moving.target.delete(&groups, &keys(&groups, &[1, 2, 3])).await.unwrap();
    assert_eq!(refused.absent_or_there, [2]);
    assert_eq!(refused.rejected, [(0, "rows of people still refer to it".to_owned())]);
    let refused = moving.target.delete(&tree, &keys(&tree, &[1, 2, 3])).await.unwrap();
    assert_eq!(refused.rejected, [(1, "rows of tree still refer to it".to_owned())]);
    moving.commit().await;
    assert_eq!(names(&moving), "1Ada1");
    assert_eq!(moving.scratch.number("SELECT CAST(group_concat(id, '') AS INTEGER) FROM tree"), 2);
}

#[tokio::test]
async fn a_tables_own_conflict_clauses_do_not_hide_rows() {
    let mut moving = Moving::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE ON CONFLICT REPLACE,
           b TEXT UNIQUE ON CONFLICT IGNORE, c TEXT UNIQUE ON CONFLICT ROLLBACK);
         INSERT INTO t VALUES (1, 'a', 'b', 'c')",
    )
    .await;
    let into = written(&mut moving, "t").await;
    let text = |values: [&str; 3]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let rows = batch(
        &into,
        vec![
            Arc::new(Int64Array::from(vec![2, 3, 4])),
            text(["a", "x", "y"]),
            text(["x", "b", "y"]),
            text(["x", "y", "c"]),
        ],
    );
    moving.begin().await;
    let refused = moving.target.insert(&into, &rows).await.unwrap();
    let unique = |column| format!("UNIQUE constraint failed: t.{column}");
    assert_eq!(refused.rejected, [(0, unique("a")), (1, unique("b")), (2, unique("c"))]);
    moving.commit().await;
    assert_eq!(moving.scratch.number("SELECT count(*) FROM t WHERE id = 1"), 1);
}

#[tokio::test]
async fn triggers_fire_or_stop_the_move() {
    let mut moving = Moving::new(PEOPLE).await;
    moving.scratch.sql(
        "CREATE TABLE seen (id);
         CREATE TRIGGER watch AFTER INSERT ON people BEGIN
           INSERT INTO seen VALUES (new.id);
           SELECT raise(FAIL, 'not him') WHERE new.name = 'Bob';
           SELECT raise(ROLLBACK, 'nothing at all') WHERE new.name = 'Eve';
         END",
    );
    let mut into = written(&mut moving, "people").await;
    let rows = [(Some(1), Some("Ada"), None), (Some(2), Some("Bob"), None)];
    moving.begin().await;
    let refused = moving.target.insert(&into, &people(&into, &rows)).await.unwrap();
    assert_eq!(refused.rejected, [(1, "not him".to_owned())]);
    moving.commit().await;
    // RAISE(FAIL) leaves nothing behind either.
    assert_eq!(
        (names(&moving), moving.scratch.number("SELECT count(*) FROM seen")),
        ("1Ada-".to_owned(), 1)
    );

    moving.begin().await;
    let rows = people(&into, &[(Some(3), Some("Cid"), None), (Some(4), Some("Eve"), None)]);
    let error = moving.target.insert(&into, &rows).await.unwrap_err();
    assert!(error.by_row, "{error:?}");
    assert_eq!(moving.target.commit(&mut moving.lease).await.unwrap_err().kind, ErrorKind::Bug);
    assert_eq!(names(&moving), "1Ada-");

    into.triggers = false;
    moving.begin().await;
    let error = moving.target.load(&into, &rows).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn deferred_keys_are_checked_by_the_commit() {
    let mut moving = Moving::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, up INTEGER
           REFERENCES t DEFERRABLE INITIALLY DEFERRED)",
    )
    .await;
    let into = written(&mut moving, "t").await;
    let pair = |id: i64, up: i64| {
        batch(
            &into,
            vec![Arc::new(Int64Array::from(vec![id])), Arc::new(Int64Array::from(vec![up]))],
        )
    };
    moving.begin().await;
    moving.target.load(&into, &pair(1, 2)).await.unwrap();
    moving.target.load(&into, &pair(2, 1)).await.unwrap();
    moving.commit().await;
    let before = moving.lease.clone();
    moving.begin().await;
    moving.target.load(&into, &pair(3, 4)).await.unwrap();
    let error = moving.target.commit(&mut moving.lease).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Statement, "{error}");
    assert_eq!(moving.lease, before);
    moving.begin().await;
    moving.commit().await;
    assert_eq!(moving.scratch.number("SELECT count(*) FROM t"), 2);
}

#[tokio::test]
async fn values_are_told_as_they_are_stored() {
    let mut moving = Moving::new(
        "CREATE TABLE t (d DECIMAL(9,2), n NUMERIC, x STRING, j JSON,
        s TEXT, u UUID)",
    )
    .await;
    let relation = moving.relation("t").await;
    let texts = ["12.5", "007", "1e2", "12.000"];
    let values: Vec<Option<String>> =
        texts.iter().map(|text| Some((*text).to_owned())).chain([None]).collect();
    // JSON that is a number alone is refused where the column would change its form.
    let json = relation.field("j").unwrap();
    assert!(moving.target.normalise(json, &values).await.unwrap_err().by_row);
    for field in relation.fields.iter().filter(|field| !["u", "j"].contains(&&*field.name)) {
        let told = moving.target.normalise(field, &values).await.unwrap();
        // What the column really makes of them.
        let raw = moving.scratch.raw();
        raw.execute("DELETE FROM t", []).unwrap();
        for value in &values {
            let sql = format!("INSERT INTO t ({}) VALUES (?1)", field.name);
            raw.execute(&sql, [value]).unwrap();
        }
        let mut extract = extract(&relation, &[]);
        extract.fields = vec![field.clone()];
        let read = read_target(&mut moving.target, &extract).await.unwrap();
        let told: Vec<String> = told.into_iter().map(|t| t.unwrap_or("NULL".to_owned())).collect();
        assert_eq!(shown(&read), told, "{}", field.type_name);
    }
    let uuid = relation.field("u").unwrap();
    let upper = Some("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11".to_owned());
    let told = moving.target.normalise(uuid, &[upper]).await.unwrap();
    assert_eq!(told[0].as_deref(), Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
    let lost = Some("0.12345678901234567890".to_owned());
    let error = moving.target.normalise(relation.field("n").unwrap(), &[lost]).await.unwrap_err();
    assert!(error.by_row && !error.message.contains("1234"), "{error}");
}

#[tokio::test]
async fn the_store_keeps_entries() {
    let mut moving = Moving::new("").await;
    let entry = |area: &str, number, value: Option<&[u8]>| Stored {
        area: area.to_owned(),
        number,
        value: value.map(<[u8]>::to_vec),
    };
    moving.begin().await;
    let put = [entry("a", 1, Some(b"x")), entry("a", 3, Some(b"")), entry("b", 2, Some(b"z"))];
    moving.target.put("m", &put).await.unwrap();
    moving.target.put("other", &put[..1]).await.unwrap();
    moving.commit().await;
    moving.begin().await;
    let put = [entry("a", 1, Some(b"y")), entry("a", 3, None), entry("a", 4, Some(b"w"))];
    moving.target.put("m", &put).await.unwrap();
    let expected = [entry("a", 1, Some(b"y")), entry("a", 4, Some(b"w"))];
    assert_eq!(moving.target.stored("m", "a", i64::MIN, 10).await.unwrap(), expected);
    assert_eq!(moving.target.stored("m", "a", i64::MIN, 1).await.unwrap(), expected[..1]);
    assert_eq!(moving.target.stored("m", "a", 2, 10).await.unwrap(), expected[1..]);
    moving.target.rollback().await.unwrap();
    let kept = moving.target.stored("m", "a", 0, 10).await.unwrap();
    assert_eq!(kept, [entry("a", 1, Some(b"x")), entry("a", 3, Some(b""))]);
    moving.target.create_store().await.unwrap();
}

#[tokio::test]
async fn numbers_are_taken() {
    let mut moving = Moving::new(
        "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT);
         CREATE TABLE plain (id INTEGER PRIMARY KEY);
         CREATE TABLE other (id TEXT PRIMARY KEY);
         INSERT INTO counted VALUES (7); INSERT INTO plain VALUES (7)",
    )
    .await;
    let (counted, plain) = (TableName::of("counted"), TableName::of("plain"));
    moving.begin().await;
    assert_eq!(moving.target.take_numbers(&counted, "id", 2, 0).await.unwrap(), [8, 9]);
    assert_eq!(moving.target.take_numbers(&plain, "id", 2, 3).await.unwrap(), [8, 9]);
    assert_eq!(moving.target.take_numbers(&plain, "id", 1, 9).await.unwrap(), [10]);
    moving.target.number_above(&plain, "id", 1000).await.unwrap();
    moving.commit().await;
    moving.scratch.sql("INSERT INTO counted DEFAULT VALUES");
    assert_eq!(moving.scratch.number("SELECT max(id) FROM counted"), 10);
    moving.begin().await;
    moving.target.number_above(&counted, "id", 1000).await.unwrap();
    moving.target.number_above(&counted, "id", 500).await.unwrap();
    moving.commit().await;
    moving.scratch.sql("INSERT INTO counted DEFAULT VALUES");
    assert_eq!(moving.scratch.number("SELECT max(id) FROM counted"), 1001);
    let other = TableName::of("other");
    let error = moving.target.take_numbers(&other, "id", 1, 0).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
}

#[tokio::test]
async fn a_lease_that_was_taken_over_writes_nothing() {
    let mut moving = Moving::new(PEOPLE).await;
    let into = written(&mut moving, "people").await;
    let mut other = moving.scratch.connector().connect(Purpose::Run).await.unwrap();
    claimed(&mut other, 2).await;
    let error = moving.target.begin(&moving.lease, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
    let row = people(&into, &[(Some(1), Some("Ada"), None)]);
    assert_eq!(moving.target.load(&into, &row).await.unwrap_err().kind, ErrorKind::Bug);
    assert_eq!(names(&moving), "");
    // An old checkpoint is refused as well.
    let mut lease = claimed(&mut moving.run, 1).await;
    lease.commits += 1;
    let error = moving.target.begin(&lease, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
}

#[tokio::test]
async fn another_writer_is_waited_for_within_the_limit() {
    let mut moving = Moving::new(PEOPLE).await;
    let writer = moving.scratch.raw();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let wait = Duration::from_millis(20);
    let error = moving.target.begin(&moving.lease, wait).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::LockTimeout, "{error}");
    writer.execute_batch("ROLLBACK").unwrap();
    moving.begin().await;
    assert!(writer.execute_batch("BEGIN IMMEDIATE").is_err(), "one writer at a time");
    moving.target.rollback().await.unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_and_no_usable_connection() {
    let mut moving = Moving::new(PEOPLE).await;
    let into = written(&mut moving, "people").await;
    let relation = moving.relation("groups").await;
    moving.begin().await;
    let row = people(&into, &[(Some(1), Some("Ada"), None)]);
    moving.target.load(&into, &row).await.unwrap();
    let mut extract = extract(&relation, &[]);
    extract.batch_bytes = 1;
    let (batches, mut queue) = tokio::sync::mpsc::channel(1);
    tokio::select! {
        biased;
        _ = queue.recv() => {}
        answer = moving.target.read(&extract, &batches) => panic!("{answer:?}"),
    }
    drop(queue);
    let error = moving.target.commit(&mut moving.lease).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Lost, "{error}");
    // The thread that had the connection has closed it once this one may write.
    let other = moving.scratch.raw();
    other.busy_timeout(Duration::from_secs(20)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").unwrap();
    assert_eq!(names(&moving), "");
}

#[tokio::test]
async fn rows_are_found_by_what_the_collation_takes_for_the_same() {
    let mut moving = Moving::new(
        "CREATE TABLE c (id INTEGER PRIMARY KEY, code TEXT COLLATE NOCASE, year INTEGER);
         INSERT INTO c VALUES (1, 'DE', 1), (2, 'fr', 1), (3, 'FR', 1), (4, NULL, 1)",
    )
    .await;
    let from = Written { key: vec![1, 2], ..written(&mut moving, "c").await };
    let codes: StringArray = [Some("de"), Some("Fr"), None, Some("xx")].into_iter().collect();
    let years = Int64Array::from(vec![1, 1, 1, 1]);
    let fields = from.fields[1..].to_vec();
    let schema = Arc::new(arrow_schema(&fields, true));
    let values = RecordBatch::try_new(schema, vec![Arc::new(codes), Arc::new(years)]).unwrap();
    let (places, rows) = moving.target.find(&from, &values).await.unwrap();
    assert_eq!(places, [0, 1, 1]);
    assert_eq!(shown(&rows), ["1|DE|1", "2|fr|1", "3|FR|1"]);
}
