//! Every type of key: walked in order, every row in exactly one chunk.

use dunlin_engine::Target;
use dunlin_model::{Bound, TableKind};

use super::{begun, planned, run_all, series, update};
use crate::support::World;

const COUNT: u32 = 300;

/// Columns of the table, its key, and an expression for each row's key from `n`.
const KEYS: &[(&str, &str, &str, &str)] = &[
    ("int", "k INT", "k", "n * 7 - 1000"),
    ("ubig", "k BIGINT UNSIGNED", "k", "18446744073709551615 - n * 3"),
    ("big", "k BIGINT", "k", "-9223372036854775807 + n"),
    ("tiny", "k SMALLINT ZEROFILL", "k", "n"),
    ("down", "k INT", "k DESC", "n * 7"),
    ("decimal", "k DECIMAL(20,4)", "k", "n / 7 - 20"),
    ("date", "k DATE", "k", "DATE'2020-02-20' + INTERVAL n DAY"),
    (
        "datetime",
        "k DATETIME(6)",
        "k",
        "TIMESTAMP'2020-02-20 00:00:00' + INTERVAL n * 1000001 MICROSECOND",
    ),
    ("time", "k TIME(3)", "k", "SEC_TO_TIME(n * 1.5 - 200)"),
    ("year", "k YEAR, j INT", "k, j", "1950 + n MOD 50, n"),
    ("moment", "k TIMESTAMP(6)", "k", "TIMESTAMP'2024-02-20 00:00:00' + INTERVAL n HOUR"),
    ("bits", "k BIT(20)", "k", "n * 3"),
    ("enum", "k ENUM('z', 'a', 'm'), j INT", "k, j", "1 + n MOD 3, n"),
    (
        "latin",
        "k VARCHAR(30) CHARACTER SET latin1",
        "k",
        "CONCAT('k', CHAR(200 + n MOD 50 USING latin1), n)",
    ),
    (
        "folded",
        "k VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        "k",
        "CONCAT(IF(n MOD 2, 'Ä', 'a'), '''\\\\', n)",
    ),
    (
        "unicode",
        "k VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        "k",
        "CONCAT(IF(n MOD 2, 'ß', 'ss'), '😀', n)",
    ),
    (
        "bytewise",
        "k VARCHAR(30) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "k",
        "CONCAT(IF(n MOD 2, 'Z', 'a'), n)",
    ),
    ("padded", "k CHAR(12) CHARACTER SET latin1 COLLATE latin1_german1_ci", "k", "n"),
    ("binary", "k BINARY(6)", "k", "UNHEX(LPAD(HEX(n * 99991), 12, '0'))"),
    ("varbinary", "k VARBINARY(40)", "k", "UNHEX(MD5(n))"),
    (
        "three",
        "k VARCHAR(10) CHARACTER SET latin1, j VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, i VARBINARY(10)",
        "k, j, i",
        "CONCAT('t', n MOD 3), CONCAT('G', n MOD 11), n",
    ),
    (
        "four",
        "k INT, j DATE, i VARCHAR(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, h BIGINT UNSIGNED",
        "k, j, i, h",
        "n MOD 2, DATE'2020-01-01' + INTERVAL n MOD 3 DAY, n MOD 5, n",
    ),
    ("mixed", "k INT, j INT, i INT", "k DESC, j, i DESC", "n MOD 3, n MOD 7, n"),
];

const UUID: (&str, &str, &str, &str) =
    ("uuid", "k UUID", "k", "INSERT(UUID(), 1, 4, LPAD(HEX(n), 4, '0'))");

#[tokio::test]
async fn every_type_of_key_is_walked_whole_and_in_order() {
    let world = World::new("keys").await;
    let mut target = world.with_ledger().await;
    let mariadb = world.eyes().await.one("SELECT VERSION()").await.contains("MariaDB");
    for case in KEYS.iter().chain(mariadb.then_some(&UUID)) {
        walked(&world, &mut target, case).await;
    }
}

async fn walked(world: &World, target: &mut Box<dyn Target>, case: &(&str, &str, &str, &str)) {
    let (name, columns, key, values) = *case;
    let mut eyes = world.eyes().await;
    eyes.run("DROP TABLE IF EXISTS t").await;
    eyes.run(&format!("CREATE TABLE t ({columns}, v INT NOT NULL DEFAULT 0, PRIMARY KEY ({key}))"))
        .await;
    let names: Vec<&str> =
        key.split(", ").map(|part| part.split(' ').next().expect("a name")).collect();
    eyes.run(&format!(
        "INSERT INTO t ({}) SELECT {values} FROM ({}) q",
        names.join(", "),
        series(COUNT)
    ))
    .await;
    let work = planned(target, vec![update("UPDATE t SET v = v * 2 + 1 WHERE :chunk")]).await;
    let hi = target.extent(&work).await.expect("an extent").hi.expect(name);
    let lease = begun(target, &work, hi.clone()).await;
    let done = run_all(target, &lease, &work, &hi, 7).await.expect(name);
    assert!(done.iter().take(done.len() - 1).all(|each| each.rows == [Some(7)]), "{name} {done:?}");
    // Once for each row, no row twice.
    assert_eq!(eyes.one("SELECT COUNT(*) FROM t WHERE v = 1").await, COUNT.to_string(), "{name}");

    let few = target.walk(&work, &Bound::Start, &hi, 5, 100).await.expect(name);
    assert_eq!(few.iter().map(|mark| mark.rows).sum::<u64>(), u64::from(COUNT), "{name}");
    assert_eq!(few.last().map(|mark| &mark.key), Some(&hi), "{name}");
    let cuts = target.split(&work, &Bound::Start, &hi, 4).await.expect(name);
    assert!(cuts.len() <= 3, "{name} {cuts:?}");
    // The server finds each cut between its neighbours.
    let mut from = Bound::Start;
    for cut in cuts.iter().chain([&hi]) {
        let marks = target.walk(&work, &from, cut, 1000, 1).await.expect(name);
        assert!(marks.iter().all(|mark| mark.rows > 0), "{name} {marks:?}");
        from = Bound::Key(cut.clone());
    }
    target.explain(&work).await.expect(name);
    target.release(&lease).await.expect("released");
}

#[tokio::test]
async fn far_marks_and_splits_of_many_rows_agree_with_near_ones() {
    let (world, mut target) = super::numbers("far", 10_000).await;
    let work = planned(&mut target, Vec::new()).await;
    let hi = target.extent(&work).await.expect("an extent").hi.expect("rows");
    let marks = target.walk(&work, &Bound::Start, &hi, 3000, 10).await.expect("marks");
    let rows: Vec<u64> = marks.iter().map(|mark| mark.rows).collect();
    assert_eq!(rows, [3000, 3000, 3000, 1000]);
    assert_eq!(marks[0].key, super::number(30_000));
    assert_eq!(marks[3].key, hi);
    let mut eyes = world.eyes().await;
    // 160,000 rows, so that they are estimated, with a gap in which nothing is.
    for shift in [1, 2, 5, 1_000_000_000] {
        eyes.run(&format!("INSERT INTO t SELECT id + {shift}, v, s FROM t")).await;
    }
    eyes.run("ANALYZE TABLE t").await;
    let work = planned(&mut target, Vec::new()).await;
    let hi = target.extent(&work).await.expect("an extent").hi.expect("rows");
    let cuts = target.split(&work, &Bound::Start, &hi, 4).await.expect("cuts");
    assert_eq!(cuts.len(), 3, "{cuts:?}");
    let estimate = target.estimate(&work, &Bound::Start, &hi).await.expect("an estimate");
    assert!((80_000..320_000).contains(&estimate.expect("known")), "{estimate:?}");
    let mut from = Bound::Start;
    for cut in cuts.iter().chain([&hi]) {
        let marks = target.walk(&work, &from, cut, 200_000, 1).await.expect("marks");
        assert!((15_000..80_000).contains(&marks[0].rows), "{marks:?}");
        from = Bound::Key(cut.clone());
    }
}

#[tokio::test]
async fn null_keys_are_a_chunk_of_their_own() {
    let world = World::new("nulls").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE t (k INT NULL UNIQUE, v INT NOT NULL DEFAULT 0)").await;
    eyes.run("INSERT INTO t (k) VALUES (1), (NULL), (2), (NULL)").await;
    let work = planned(&mut target, vec![update("UPDATE t SET v = v + 1 WHERE :chunk")]).await;
    let extent = target.extent(&work).await.expect("an extent");
    assert_eq!((extent.hi, extent.nulls), (Some(super::number(2)), true));
    let rehearsed =
        target.rehearse_chunk(&work, &dunlin_model::KeyRange::Nulls).await.expect("rehearsed");
    assert_eq!(rehearsed.rows, [Some(2)]);
    assert_eq!(eyes.one("SELECT SUM(v) FROM t").await, "0");
}

#[tokio::test]
async fn the_catalogue_tells_what_can_be_walked() {
    let world = World::new("catalogue").await;
    let mut target = world.target().await;
    let mut eyes = world.eyes().await;
    eyes.run(
        "CREATE TABLE t (id INT PRIMARY KEY, f DOUBLE UNIQUE, s VARCHAR(200), \
         g INT GENERATED ALWAYS AS (id + 1) STORED, UNIQUE KEY p (s(10)), FULLTEXT KEY w (s))",
    )
    .await;
    let table = target.table("t").await.expect("looked").expect("a table");
    assert_eq!(table.kind, TableKind::Table);
    assert!(table.transactional && table.indexes[0].primary);
    let index = |name: &str| table.indexes.iter().find(|index| index.name == name).expect(name);
    assert!(index("f").unusable.is_some() && index("w").unusable.is_some());
    assert!(index("p").columns[0].prefix);
    assert!(table.column("g").expect("g").generated);
    eyes.run("CREATE INDEX other ON t (g)").await;
    let same = target.table("t").await.expect("looked").expect("a table");
    assert_eq!(same.shape, table.shape);
    eyes.run("ALTER TABLE t MODIFY s VARCHAR(300)").await;
    let other = target.table("t").await.expect("looked").expect("a table");
    assert_ne!(other.shape, table.shape);
    eyes.run("CREATE VIEW seen AS SELECT * FROM t").await;
    eyes.run("CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3").await;
    eyes.run("CREATE TABLE old (id INT PRIMARY KEY) ENGINE = MyISAM").await;
    let kind = |table: Option<dunlin_model::Table>| table.map(|t| (t.kind, t.transactional));
    let looked = target.table("seen").await.expect("looked");
    assert_eq!(kind(looked).map(|(kind, _)| kind), Some(TableKind::View));
    let looked = target.table("parts").await.expect("looked");
    assert_eq!(kind(looked), Some((TableKind::Partitioned, true)));
    let looked = target.table("`old`").await.expect("looked");
    assert_eq!(kind(looked), Some((TableKind::Table, false)));
    assert!(target.table("nothing").await.expect("looked").is_none());
}

#[tokio::test]
async fn what_moves_a_key_and_what_numbers_rows_is_told() {
    let world = World::new("made").await;
    let mut eyes = world.eyes().await;
    eyes.run(
        "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, a INT, g INT AS (a + 1) STORED UNIQUE, \
         at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)",
    )
    .await;
    eyes.run("INSERT INTO t (id, a) VALUES (41, 1)").await;
    eyes.run("CREATE TABLE plain (id BIGINT PRIMARY KEY)").await;
    let mut target = world.with_ledger().await;
    let table = target.table("t").await.expect("looked").expect("a table");
    assert_eq!(table.next_number, Some(("id".to_owned(), 42)));
    let names: Vec<&str> = table.computed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["g", "at"]);
    assert!(table.computed[0].1.contains("`a`") && table.computed[1].1.is_empty());
    let plain = target.table("plain").await.expect("looked").expect("a table");
    assert_eq!((plain.next_number, plain.computed), (None, Vec::new()));
}
