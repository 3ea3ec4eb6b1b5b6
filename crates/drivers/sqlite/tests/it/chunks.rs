//! Keys and rows as only SQLite has them.

use std::time::{Duration, Instant};

use dunlin_engine::{
    Checkpoint, Chunk, Claim, Connector, Deed, ErrorKind, Purpose, RowsOutcome, Target,
};
use dunlin_model::{
    Backfill, BackfillRecord, BackfillState, Bound, ChunkPlace, Index, Intent, Key, KeyColumn,
    KeyRange, Lease, Phase, Resource, Row, RowChange, Segment, Table, TableKind, Version,
};
use dunlin_testkit::conformance::{data_version, owner, statement};

use super::{LONG, Scratch};

fn resource() -> Resource {
    Resource::Data(Version::new(1).unwrap())
}

fn usable<'a>(table: &'a Table, name: &str) -> &'a Index {
    let index = table.indexes.iter().find(|index| index.name == name).unwrap();
    assert_eq!(index.unusable, None);
    index
}

/// A backfill by an index, with one statement that holds `:chunk`.
async fn planned(target: &mut Box<dyn Target>, table: &str, index: &str, text: &str) -> Backfill {
    let table = target.table(table).await.unwrap().unwrap();
    let key = usable(&table, index)
        .columns
        .iter()
        .map(|of_index| {
            let column = table.column(of_index.name.as_deref().unwrap()).unwrap();
            KeyColumn {
                name: column.name.clone(),
                type_name: column.type_name.clone(),
                descending: of_index.descending,
                nullable: column.nullable,
            }
        })
        .collect();
    let mut one = statement(text);
    let start = text.find(":chunk").unwrap();
    one.facts.chunk_places.push(ChunkPlace { start, end: start + 6, alias: None });
    Backfill {
        id: data_version(1),
        pass: 1,
        table: table.name.clone(),
        shape: table.shape.clone(),
        key,
        index: index.to_owned(),
        filter: None,
        finder: None,
        statements: vec![one],
        columns: Vec::new(),
        table_columns: Vec::new(),
        capture: None,
        in_order: false,
        lock_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(60),
    }
}

async fn begun(target: &mut Box<dyn Target>, work: &Backfill) -> (Lease, Key) {
    let claim = target.claim(&resource(), &owner(1), LONG, None).await.unwrap();
    let Claim::Granted(mut lease) = claim else { panic!("{claim:?}") };
    let hi = target.extent(work).await.unwrap().hi.unwrap();
    let record = BackfillRecord {
        id: work.id,
        pass: 1,
        phase: Phase::Forward,
        round: 1,
        table: work.table.clone(),
        key: work.key.clone(),
        shape: work.shape.clone(),
        state: BackfillState::Running,
        reason: None,
        row_count_estimate: None,
        rows_before: 0,
        workers: 1,
        chunk_rows: 1,
        chunk_ms: 0,
        rows_per_second: 0,
        seconds_left: (0, 0),
        intent: Intent::default(),
        quarantined: 0,
        started_at: None,
        updated_at: None,
    };
    let segment = Segment {
        seg: 1,
        lo: Bound::Start,
        upto: Bound::Start,
        hi: Bound::Key(hi.clone()),
        rows: 0,
        attempts: 0,
    };
    target.write_backfill(&mut lease, &record, Some(&[segment]), None, None).await.unwrap();
    (lease, hi)
}

/// Commits chunk after chunk of so many rows; returns how many rows they touched.
async fn commit_all(
    target: &mut Box<dyn Target>,
    lease: &Lease,
    work: &Backfill,
    hi: &Key,
    rows: u64,
) -> u64 {
    let mut from = Bound::Start;
    let mut touched = 0;
    while from != Bound::Key(hi.clone()) {
        let upto = target.walk(work, &from, hi, rows, 1).await.unwrap().remove(0).key;
        let chunk = Chunk {
            checkpoint: Checkpoint::Segment {
                seg: 1,
                from: from.clone(),
                to: Bound::Key(upto.clone()),
                hi: Bound::Key(hi.clone()),
            },
            range: KeyRange::Between { after: from, upto: upto.clone() },
            deed: Deed::Statements,
            lock_first: false,
        };
        let committed = target.commit_chunk(lease, work, &chunk).await.unwrap();
        touched += committed.rows[0].unwrap();
        from = Bound::Key(upto);
    }
    touched
}

#[tokio::test]
async fn one_column_holds_every_class_of_values() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE t (k NOT NULL UNIQUE, n INTEGER NOT NULL DEFAULT 1);
         INSERT INTO t (k) VALUES (1), (1.5), (-9223372036854775808), (9e999), (-9e999), (''),
          ('12'), ('a' || char(0) || 'b'), ('it''s'), (CAST(X'ff27' AS TEXT)), (X''), (X'00'),
          ('12 '), (0.1 + 0.2), (X'6974'), (4.9e-324), ('鸟'), (9007199254740993)",
    );
    let mut target = scratch.with_ledger().await;
    let update = "UPDATE t SET n = n * 2 + 1 WHERE :chunk";
    let work = planned(&mut target, "t", "sqlite_autoindex_t_1", update).await;
    let access = target.explain(&work).await.unwrap();
    assert!(access.iter().all(|access| access.complaint.is_none()), "{access:?}");
    let (lease, hi) = begun(&mut target, &work).await;
    assert_eq!(commit_all(&mut target, &lease, &work, &hi, 1).await, 18);
    assert_eq!(scratch.number("SELECT count(*) FROM t WHERE n = 3"), 18);
}

#[tokio::test]
async fn tables_are_walked_by_the_key_that_they_have() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE plain (id INTEGER PRIMARY KEY, n DEFAULT 1);
         CREATE TABLE packed (a TEXT COLLATE NOCASE, b INTEGER, n DEFAULT 1, PRIMARY KEY (a, b DESC))
          WITHOUT ROWID;
         CREATE TABLE folded (name TEXT NOT NULL, n DEFAULT 1);
         CREATE UNIQUE INDEX by_name ON folded (name COLLATE NOCASE DESC);
         CREATE TABLE bare (n DEFAULT 1);
         INSERT INTO plain (id) VALUES (-5), (1), (2), (9223372036854775807);
         INSERT INTO packed (a, b) VALUES ('x', 1), ('x', 2), ('Y', 1), ('y', 3);
         INSERT INTO folded (name) VALUES ('b'), ('A'), ('C'), ('d');
         INSERT INTO bare (n) VALUES (1), (1), (1), (1)",
    );
    let mut target = scratch.with_ledger().await;
    let indexes = [
        ("plain", "rowid"),
        ("packed", "sqlite_autoindex_packed_1"),
        ("folded", "by_name"),
        ("bare", "rowid"),
    ];
    for (table, index) in indexes {
        let update = format!("UPDATE {table} SET n = n * 2 + 1 WHERE :chunk");
        let work = planned(&mut target, table, index, &update).await;
        assert!(work.key.iter().all(|column| !column.nullable), "{table}: {:?}", work.key);
        let access = target.explain(&work).await.unwrap();
        assert!(access.iter().all(|access| access.complaint.is_none()), "{table}: {access:?}");
        let (lease, hi) = begun(&mut target, &work).await;
        assert_eq!(commit_all(&mut target, &lease, &work, &hi, 3).await, 4, "{table}");
        assert_eq!(scratch.number(&format!("SELECT min(n) + max(n) FROM {table}")), 6, "{table}");
        target.release(&lease).await.unwrap();
        scratch.sql("DELETE FROM dunlin_segments");
    }
}

#[tokio::test]
async fn what_cannot_be_walked_is_told() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE t (id TEXT PRIMARY KEY, a NOT NULL, b NOT NULL, c AS (a + 1));
         CREATE UNIQUE INDEX some ON t (a) WHERE a > 0;
         CREATE UNIQUE INDEX lowered ON t (lower(b));
         CREATE VIEW v AS SELECT * FROM t;
         CREATE VIRTUAL TABLE words USING fts5 (word)",
    );
    let mut target = scratch.target().await;
    let table = target.table("MAIN.[T]").await.unwrap().unwrap();
    assert!(table.column("id").unwrap().nullable, "SQLite lets it be NULL");
    assert!(table.column("c").unwrap().generated);
    for index in ["some", "lowered"] {
        let index = table.indexes.iter().find(|known| known.name == index).unwrap();
        assert!(index.unusable.is_some(), "{index:?}");
    }
    assert!(table.column("rowid").is_none(), "it has a key, with rows without one apart");
    assert_eq!(target.table("v").await.unwrap().unwrap().kind, TableKind::View);
    assert_eq!(target.table("words").await.unwrap().unwrap().kind, TableKind::Other);
    assert_eq!(target.table("temp.t").await.unwrap(), None);
}

#[tokio::test]
async fn what_moves_a_key_and_what_numbers_rows_is_told() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, g INT AS (a + 1), h INT AS (a + 2) STORED);
         INSERT INTO t VALUES (41, 1);
         CREATE TABLE loose (n INT);
         CREATE TABLE plain (id INT PRIMARY KEY);
         CREATE TABLE full (id INTEGER PRIMARY KEY);
         INSERT INTO full VALUES (9223372036854775807)",
    );
    let mut target = scratch.with_ledger().await;
    let mut look = async |name: &str| target.table(name).await.unwrap().unwrap();
    let table = look("t").await;
    assert_eq!(table.next_number, Some(("id".to_owned(), 42)));
    let computed = |name: &str| (name.to_owned(), String::new());
    assert_eq!(table.computed, [computed("g"), computed("h")]);
    for name in ["loose", "plain", "full"] {
        let table = look(name).await;
        assert_eq!((table.next_number, table.computed), (None, Vec::new()), "{name}");
    }
}

#[tokio::test]
async fn new_numbers_of_rows_are_another_shape() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE bare (n); CREATE TABLE keyed (id INTEGER PRIMARY KEY)");
    let mut target = scratch.target().await;
    let bare = target.table("bare").await.unwrap().unwrap().shape;
    let keyed = target.table("keyed").await.unwrap().unwrap().shape;
    scratch.sql("VACUUM");
    assert_ne!(target.table("bare").await.unwrap().unwrap().shape, bare);
    assert_eq!(target.table("keyed").await.unwrap().unwrap().shape, keyed);
}

#[tokio::test]
async fn an_index_that_would_read_too_much_is_told() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE t (k TEXT NOT NULL UNIQUE, done);
         CREATE INDEX by_done ON t (done)",
    );
    let mut target = scratch.target().await;
    for (condition, complains) in [("done = 0", true), ("+done = 0", false)] {
        let update = format!("UPDATE t SET done = 1 WHERE {condition} AND :chunk");
        let work = planned(&mut target, "t", "sqlite_autoindex_t_1", &update).await;
        let access = target.explain(&work).await.unwrap();
        assert_eq!(access[1].complaint.is_some(), complains, "{access:?}");
    }
}

#[tokio::test]
async fn what_a_trigger_or_a_function_refuses_is_the_rows_fault() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, j TEXT, n INTEGER);
         INSERT INTO t VALUES (1, '{\"a\": 1}', 1), (2, 'secret', 2);
         CREATE TRIGGER guard BEFORE UPDATE ON t WHEN new.n = 99
         BEGIN SELECT raise(ABORT, 'not 99'); END",
    );
    let mut target = scratch.with_ledger().await;
    let updates = [
        "UPDATE t SET n = json_extract(j, '$.a') WHERE :chunk",
        "UPDATE t SET n = 99 WHERE :chunk",
        "UPDATE t SET id = 1 WHERE id = 2 AND :chunk",
        "UPDATE t SET n = abs(-9223372036854775808) WHERE :chunk",
    ];
    let hi = Key(vec!["2".to_owned()]);
    let range = KeyRange::Between { after: Bound::Start, upto: hi };
    for update in updates {
        let work = planned(&mut target, "t", "rowid", update).await;
        let error = target.rehearse_chunk(&work, &range).await.unwrap_err();
        assert_eq!((error.kind, error.by_row), (ErrorKind::Statement, true), "{update}: {error:?}");
        assert!(!error.message.contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_lane_keeps_its_connection_after_a_lock() {
    let scratch = Scratch::new();
    scratch.sql(
        "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, n);
         INSERT INTO t VALUES (1, 1), (2, 1)",
    );
    let mut target = scratch.with_ledger().await;
    let update = "UPDATE t SET n = n * 2 + 1 WHERE :chunk";
    let mut work = planned(&mut target, "t", "rowid", update).await;
    let (lease, hi) = begun(&mut target, &work).await;
    work.lock_timeout = Duration::from_millis(20);
    let connector = scratch.connector();
    let mut lane = connector.connect(Purpose::Lane).await.unwrap();
    let writer = scratch.raw();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let chunk = Chunk {
        checkpoint: Checkpoint::Segment {
            seg: 1,
            from: Bound::Start,
            to: Bound::Key(hi.clone()),
            hi: Bound::Key(hi.clone()),
        },
        range: KeyRange::Between { after: Bound::Start, upto: hi },
        deed: Deed::Statements,
        lock_first: false,
    };
    let error = lane.commit_chunk(&lease, &work, &chunk).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::LockTimeout, "{error:?}");
    writer.execute_batch("ROLLBACK").unwrap();
    lane.commit_chunk(&lease, &work, &chunk).await.unwrap();
    assert_eq!(scratch.number("SELECT sum(n) FROM t"), 6);
}

#[tokio::test]
async fn row_code_is_told_how_long_it_kept_others_from_writing() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 1)");
    let mut target = scratch.with_ledger().await;
    let mut work = planned(&mut target, "t", "rowid", "UPDATE t SET n = 1 WHERE :chunk").await;
    let table = target.table("t").await.unwrap().unwrap();
    work.columns = vec![table.column("n").unwrap().clone()];
    let (lease, hi) = begun(&mut target, &work).await;
    let mut chunk = Chunk {
        checkpoint: Checkpoint::Segment {
            seg: 1,
            from: Bound::Start,
            to: Bound::Start,
            hi: Bound::Key(hi.clone()),
        },
        range: KeyRange::Between { after: Bound::Start, upto: hi.clone() },
        deed: Deed::Statements,
        lock_first: false,
    };
    let change = |row: &Row, n: &str| RowChange {
        key: row.key.clone(),
        version: row.version.clone(),
        set: vec![("n".to_owned(), Some(n.to_owned()))],
    };

    // It waits for another writer: that is no part of it.
    let rows = target.read_rows(&work, &chunk.range).await.unwrap();
    let writer = scratch.raw();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let changes = [change(&rows[0], "2")];
    let (outcome, free) =
        tokio::join!(target.commit_rows(&lease, &work, &chunk, &changes, &[]), async {
            let free = Instant::now();
            writer.execute_batch("ROLLBACK").unwrap();
            free
        });
    assert!(held(outcome.unwrap()) <= free.elapsed());

    // Rows that are locked first are locked while the program has them.
    let Checkpoint::Segment { to, .. } = &mut chunk.checkpoint else { panic!() };
    *to = Bound::Key(hi);
    let rows = target.lock_rows(&lease, &work, &chunk).await.unwrap();
    let locked = Instant::now();
    let changes = [change(&rows[0], "3")];
    let thought = locked.elapsed();
    let outcome = target.commit_rows(&lease, &work, &chunk, &changes, &[]).await.unwrap();
    assert!(held(outcome) > thought);
    assert_eq!(scratch.number("SELECT n FROM t"), 3);
}

fn held(outcome: RowsOutcome) -> Duration {
    let RowsOutcome::Committed(committed) = outcome else { panic!("{outcome:?}") };
    committed.held.unwrap()
}

#[tokio::test]
async fn a_look_waits_for_whoever_commits() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    let patience = Duration::from_millis(100);
    let connector = scratch.waiting(patience);
    let mut target = connector.connect(Purpose::Look).await.unwrap();
    let writer = scratch.raw();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let began = std::time::Instant::now();
    let error = target.table("t").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::LockTimeout, "{error:?}");
    assert!(began.elapsed() >= patience, "it gave up at once");
    writer.execute_batch("COMMIT").unwrap();
    assert!(target.table("t").await.unwrap().is_some());
}
