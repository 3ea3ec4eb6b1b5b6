//! Rows that are found by a search instead of a walk.

use std::time::Duration;

use dunlin_engine::{Search, Target};
use dunlin_model::{Backfill, Bound, ChunkPlace, Finder, Key};

use super::plan::planned;
use crate::world::World;

const SEARCH: Search = Search { count_max: 200, list_max: 100, time_max: Duration::from_secs(60) };

/// Rows of the tables: so many that a list of keys is not read by a scan.
const ROWS: u32 = 20_000;

/// What the statements of these tests take: every thousandth row.
const FEW: &str = "v IS NULL AND :chunk";

/// A table with a text column `v` that is NULL in every thousandth row.
fn table(key: &str, values: &str, constraint: &str) -> String {
    format!(
        "DROP TABLE IF EXISTS t; CREATE TABLE t ({key}, v text, {constraint}); \
         INSERT INTO t SELECT {values}, CASE WHEN g % 1000 > 0 THEN 'x' END \
         FROM generate_series(1, {ROWS}) AS g; VACUUM ANALYZE t"
    )
}

async fn work(target: &mut Box<dyn Target>, condition: &str) -> Backfill {
    let statement = format!("UPDATE t SET v = 'y' WHERE {condition}");
    let mut work = planned(target, "t", None, &[&statement]).await;
    let start = condition.find(":chunk").expect("a place");
    let words = condition.split(|c: char| !c.is_alphanumeric() && c != '_');
    work.finder = Some(Finder {
        source: "t".into(),
        alias: "t".into(),
        condition: condition.into(),
        place: ChunkPlace { start, end: start + ":chunk".len(), alias: None },
        names: words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect(),
    });
    work
}

/// The whole table as one stretch.
async fn whole(target: &mut Box<dyn Target>, work: &Backfill) -> Vec<(Bound, Key)> {
    let hi = target.extent(work).await.expect("an extent").hi.expect("rows");
    vec![(Bound::Start, hi)]
}

async fn found(target: &mut Box<dyn Target>, work: &Backfill) -> Option<Vec<Vec<Key>>> {
    let stretches = whole(target, work).await;
    target.find(work, &stretches, SEARCH).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind_are_found_in_order() {
    let world = World::new("backfill_find").await;
    drop(world.with_ledger().await);
    for (key, values, constraint) in [
        ("k bigint", "g", "PRIMARY KEY (k)"),
        ("k uuid", "md5(g::text)::uuid", "PRIMARY KEY (k)"),
        ("k text COLLATE \"C\"", "chr(60 + g % 50) || g", "PRIMARY KEY (k)"),
        (
            "k timestamptz",
            "timestamptz '2026-01-01 00:00:00.123456Z' + g * interval '1 hour'",
            "PRIMARY KEY (k)",
        ),
        ("k integer", "CASE WHEN g % 7 > 0 THEN g END", "UNIQUE (k)"),
        ("a text, b integer, c bigint", "'tx' || g % 5, g % 100, g", "PRIMARY KEY (a, b, c)"),
    ] {
        world.sql(&table(key, values, constraint)).await;
        let mut target = world.target().await;
        let work = work(&mut target, FEW).await;
        let [(_, hi)] = &whole(&mut target, &work).await[..] else { panic!("no end") };
        let cuts = target.split(&work, &Bound::Start, hi, 3).await.expect("cuts");
        let mut ends: Vec<Key> = cuts;
        ends.push(hi.clone());
        let starts = std::iter::once(Bound::Start).chain(ends.iter().cloned().map(Bound::Key));
        let stretches: Vec<(Bound, Key)> = starts.zip(ends.iter().cloned()).collect();
        let found = target.find(&work, &stretches, SEARCH).await.expect("an answer");
        let found = found.unwrap_or_else(|| panic!("{key}: nothing was found"));
        assert_eq!(found.len(), stretches.len(), "{key}");
        let order = work.key.iter().map(|part| part.name.clone()).collect::<Vec<_>>().join(", ");
        let texts: Vec<String> =
            work.key.iter().map(|part| format!("{}::text", part.name)).collect();
        let expected = world
            .sql(&format!(
                "SELECT string_agg(concat_ws('|', {}), ';' ORDER BY {order}) FROM t \
                 WHERE v IS NULL AND {} IS NOT NULL",
                texts.join(", "),
                work.key[0].name
            ))
            .await;
        let all: Vec<String> = found.iter().flatten().map(|key| key.0.join("|")).collect();
        assert_eq!(all.join(";"), expected, "{key}");
        drop(target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_change_between_two_looks_is_not_searched_for() {
    let world = World::new("backfill_find_not").await;
    drop(world.with_ledger().await);
    world.sql(&table("k bigint", "g", "PRIMARY KEY (k)")).await;
    world
        .sql(
            "CREATE FUNCTION looks(bigint) RETURNS boolean LANGUAGE sql STABLE \
             AS 'SELECT EXISTS (SELECT FROM t WHERE k = $1)'; \
             CREATE FUNCTION pure(bigint) RETURNS boolean LANGUAGE sql IMMUTABLE \
             AS 'SELECT $1 % 3 > 0'; \
             CREATE FUNCTION dice(t) RETURNS boolean LANGUAGE sql VOLATILE \
             AS 'SELECT random() < 0.5'",
        )
        .await;
    let mut target = world.target().await;
    for (condition, searched) in [
        ("v IS NULL AND now() > '2000-01-01' AND :chunk", true),
        ("v IS NULL AND pure(k) AND :chunk", true),
        ("v IS NULL AND random() < 2 AND :chunk", false),
        ("v IS NULL AND looks(k) AND :chunk", false),
        ("v IS NULL AND t.dice AND :chunk", false),
        // Too many, whether the planner knows it or not.
        ("v IS NOT NULL AND :chunk", false),
        ("v || 'x' = 'xx' AND :chunk", false),
        // A chunk will tell what is wrong with it.
        ("missing IS NULL AND :chunk", false),
        ("1 / (k - 7) > 5 AND :chunk", false),
    ] {
        let work = work(&mut target, condition).await;
        let found = found(&mut target, &work).await;
        assert_eq!(found.is_some(), searched, "{condition}: {found:?}");
    }
    drop(target);
    // Settings of the login under which a text means something else, or is not exact.
    for setting in ["DateStyle = 'German'", "extra_float_digits = 0", "bytea_output = 'escape'"] {
        let name = world.sql("SELECT quote_ident(current_database())").await;
        world.sql(&format!("ALTER DATABASE {name} SET {setting}")).await;
        let mut target = world.target().await;
        let work = work(&mut target, FEW).await;
        assert_eq!(found(&mut target, &work).await, None, "{setting}");
        drop(target);
        world.sql(&format!("ALTER DATABASE {name} RESET ALL")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_takes_too_long_is_given_up() {
    let world = World::new("backfill_find_long").await;
    drop(world.with_ledger().await);
    world.sql(&table("k bigint", "g", "PRIMARY KEY (k)")).await;
    world
        .sql(
            "CREATE FUNCTION slow(bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 1 \
             AS 'BEGIN PERFORM pg_sleep(1); RETURN true; END'",
        )
        .await;
    let mut target = world.target().await;
    let work = work(&mut target, "v IS NULL AND slow(k) AND :chunk").await;
    let stretches = whole(&mut target, &work).await;
    let search = Search { time_max: Duration::from_millis(100), ..SEARCH };
    assert_eq!(target.find(&work, &stretches, search).await.expect("an answer"), None);
    // And the connection is as good as before.
    assert!(target.extent(&work).await.expect("an extent").hi.is_some());
}
