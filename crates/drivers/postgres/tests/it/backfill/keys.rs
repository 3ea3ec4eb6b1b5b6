//! Every type of key: a walk meets every row once, in the server's order, and ranges are disjoint
//! and complete.

use dunlin_model::{Bound, Key, KeyRange};

use super::plan::{chunk, planned, started};
use crate::world::World;

/// Walks in small steps and runs every chunk; each row must have been touched exactly once.
async fn every_row_once(world: &World, definition: &str, index: Option<&str>) {
    world.sql("DROP TABLE IF EXISTS t CASCADE").await;
    world.sql(definition).await;
    world.sql("ALTER TABLE t ADD COLUMN touched integer NOT NULL DEFAULT 0").await;
    let rows: u64 = world.sql("SELECT count(*) FROM t").await.parse().expect("a count");
    assert!(rows > 20, "{definition}");
    let mut target = world.target().await;
    let work =
        planned(&mut target, "t", index, &["UPDATE t SET touched = touched + 1 WHERE :chunk"])
            .await;
    let access = target.explain(&work).await.unwrap_or_else(|e| panic!("{definition}: {e:?}"));
    assert_eq!(access.len(), 2);
    assert!(access.iter().all(|a| a.complaint.is_none()), "{definition}: {access:?}");
    let (lease, mut segment) = started(&mut target, &work).await;
    let Bound::Key(hi) = segment.hi.clone() else { panic!("no end") };
    let cuts = target.split(&work, &Bound::Start, &hi, 4).await.expect("cuts");
    assert!(cuts.len() <= 3 && !cuts.contains(&hi), "{definition}: {cuts:?}");
    let mut total = 0;
    let mut steps = 0;
    while !segment.is_done() {
        let marks = target.walk(&work, &segment.upto, &hi, 7, 3).await.expect("marks");
        assert!(!marks.is_empty() && marks.len() <= 4, "{definition}: {marks:?}");
        // Some rows by a list of their keys, in no order that means anything.
        let list: Vec<Key> = marks.iter().rev().map(|mark| mark.key.clone()).collect();
        let rehearsal = target.rehearse_chunk(&work, &KeyRange::Keys(list.clone())).await;
        let rehearsal = rehearsal.unwrap_or_else(|error| panic!("{definition}: {error:?}"));
        assert_eq!(rehearsal.rows, [Some(list.len() as u64)], "{definition}");
        for mark in marks {
            let chunk = chunk(&segment, &mark.key);
            let done = target.commit_chunk(&lease, &work, &chunk).await;
            let done = done.unwrap_or_else(|error| panic!("{definition}: {error:?}"));
            assert_eq!(done.rows, [Some(mark.rows)], "{definition}: {mark:?}");
            total += mark.rows;
            segment.upto = Bound::Key(mark.key);
        }
        steps += 1;
        assert!(steps < 1000, "{definition} does not end");
    }
    assert_eq!(total, rows, "{definition}");
    let nulls = target.extent(&work).await.expect("an extent").nulls;
    let untouched: u64 =
        world.sql("SELECT count(*) FROM t WHERE touched <> 1").await.parse().expect("a count");
    assert_eq!((untouched, nulls), (0, false), "{definition}");
    // A single row is reached by its key alone.
    let exactly = KeyRange::Exactly(hi);
    let rehearsal = target.rehearse_chunk(&work, &exactly).await.expect("a rehearsal");
    assert_eq!(rehearsal.rows, [Some(1)], "{definition}");
    let none = target.rehearse_chunk(&work, &KeyRange::Keys(Vec::new())).await;
    assert_eq!(none.expect("a rehearsal").rows, [Some(0)], "{definition}");
    drop(target);
    world.sql("TRUNCATE dunlin.segments, dunlin.leases, dunlin.backfills").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_key_is_walked() {
    let world = World::new("backfill_keys").await;
    drop(world.with_ledger().await);
    world
        .sql(
            "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; \
             CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); \
             CREATE DOMAIN label AS varchar(40) CHECK (VALUE <> ''); \
             CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', \
             deterministic = false)",
        )
        .await;
    for (type_name, value) in [
        ("smallint", "(g - 30)::smallint"),
        ("integer", "g * 1000"),
        ("bigint", "g::bigint * -9007199254740993"),
        ("numeric", "g / 7.0"),
        (
            "double precision",
            "CASE g WHEN 1 THEN 'NaN' WHEN 2 THEN '-Infinity' ELSE g / 3.0::float8 END",
        ),
        ("uuid", "md5(g::text)::uuid"),
        ("text", "'it''s \\ \"' || g || 'ä'"),
        ("text COLLATE \"C\"", "chr(60 + g) || g"),
        ("text COLLATE \"en-x-icu\"", "chr(60 + g) || g"),
        ("text COLLATE folded", "'Käse' || g"),
        ("varchar(10)", "'v' || g"),
        ("char(8)", "'c' || g"),
        ("\"char\"", "chr(40 + g)::\"char\""),
        ("name", "('n' || g)::name"),
        ("bytea", "decode(md5(g::text), 'hex')"),
        (
            "boolean[]",
            "ARRAY[g % 2 = 0, g % 3 = 0, g % 5 = 0, g % 7 = 0, NULL] || array_fill(true, ARRAY[g])",
        ),
        (
            "timestamp",
            "CASE g WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' WHEN 3 THEN '0044-03-15 BC' ELSE timestamp '2026-01-01 00:00:00.000001' + g * interval '1 hour' END",
        ),
        (
            "timestamptz",
            "CASE g WHEN 3 THEN '0044-03-15 12:00:00+00 BC' ELSE timestamptz '2026-01-01 00:00:00.123456Z' + g * interval '1 day' END",
        ),
        ("date", "CASE g WHEN 3 THEN '0044-03-15 BC' ELSE date '2026-01-01' + g END"),
        ("time", "time '00:00' + g * interval '1 minute'"),
        ("interval", "g * interval '1 day -02:03:04.5'"),
        ("inet", "inet '10.0.0.0/8' + g"),
        ("bit(8)", "g::bit(8)"),
        ("ext.citext", "'Mail' || g"),
        ("label", "'label' || g"),
        ("int8range", "int8range(g, g + 5)"),
    ] {
        let definition = format!(
            "CREATE TABLE t (k {type_name} PRIMARY KEY, v text); \
             INSERT INTO t SELECT {value}, 'x' FROM generate_series(1, 61) AS g; ANALYZE t"
        );
        every_row_once(&world, &definition, None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn composite_descending_and_peculiar_indexes_are_walked() {
    let world = World::new("backfill_composite").await;
    drop(world.with_ledger().await);
    world.sql("CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext").await;
    let rows = "INSERT INTO t SELECT g % 5, 'tx' || g % 3, g FROM generate_series(1, 83) AS g";
    for (columns, key) in [
        ("a integer NOT NULL, b text NOT NULL, c bigint NOT NULL", "a, b, c"),
        ("a integer NOT NULL, b text NOT NULL, c bigint NOT NULL", "a DESC, b DESC, c DESC"),
        ("a integer NOT NULL, b text NOT NULL, c bigint NOT NULL", "a, b DESC, c"),
        ("a integer NOT NULL, b text NOT NULL, c bigint NOT NULL", "c DESC"),
        ("a integer NOT NULL, b text NOT NULL, c bigint NOT NULL", "b text_pattern_ops, c"),
        ("a integer NOT NULL, b text NOT NULL, c bigint NOT NULL", "b COLLATE \"C\", c DESC"),
        ("a integer NOT NULL, b ext.citext NOT NULL, c bigint NOT NULL", "b, c"),
        ("a integer NOT NULL, b ext.citext NOT NULL, c bigint NOT NULL", "a, b DESC, c DESC"),
        ("a integer NOT NULL, b text NOT NULL, c bigint", "c NULLS FIRST"),
    ] {
        let definition = format!(
            "CREATE TABLE t ({columns}); {rows}; CREATE UNIQUE INDEX walked ON t ({key}); ANALYZE t"
        );
        every_row_once(&world, &definition, Some("walked")).await;
    }
    let partitioned = "CREATE TABLE t (id bigint PRIMARY KEY, v text) PARTITION BY RANGE (id); \
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (40); \
         CREATE TABLE t2 PARTITION OF t DEFAULT; \
         INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) AS g; ANALYZE t";
    every_row_once(&world, partitioned, None).await;
    let quoted = "CREATE TABLE t (\"Key \"\"x\"\"\" integer PRIMARY KEY, v text); \
         INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) AS g; ANALYZE t";
    every_row_once(&world, quoted, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_are_a_chunk_of_their_own() {
    let world = World::new("backfill_nulls").await;
    world
        .sql(
            "CREATE TABLE t (k integer UNIQUE, v integer DEFAULT 0); INSERT INTO t SELECT \
             CASE WHEN g % 10 > 0 THEN g END FROM generate_series(1, 50) AS g",
        )
        .await;
    let mut target = world.with_ledger().await;
    let work = planned(&mut target, "t", None, &["UPDATE t SET v = v + 1 WHERE :chunk"]).await;
    assert!(work.key[0].nullable);
    let extent = target.extent(&work).await.expect("an extent");
    assert!(extent.nulls);
    assert_eq!(extent.hi, Some(Key(vec!["49".into()])));
    let rehearsal = target.rehearse_chunk(&work, &KeyRange::Nulls).await.expect("a rehearsal");
    assert_eq!(rehearsal.rows, [Some(5)]);
}
