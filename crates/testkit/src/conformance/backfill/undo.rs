//! Old values: kept with the chunk, put back where nothing changed since.

use std::time::Duration;

use dunlin_engine::UndoSlice;
use dunlin_model::{Bound, Capture, RowChange, Verb, Write};

use super::super::World;
use super::{UnderWay, chunk_of, with_columns};

const KEEP: Duration = Duration::from_secs(14 * 86_400);

/// A backfill under way that keeps columns of what its one statement changes.
async fn capturing(
    world: &World,
    statement: &str,
    verb: Verb,
    columns: &[&str],
    keep: Duration,
) -> UnderWay {
    let mut under_way = UnderWay::on_posts(world, &[statement]).await;
    let names = columns.iter().map(|&name| name.to_owned());
    under_way.work.capture = Some(Capture { columns: names.clone().collect(), keep });
    under_way.work.statements[0].facts.writes = Some(Write {
        verb,
        table: "posts".to_owned(),
        columns: if verb == Verb::Update { names.collect() } else { Default::default() },
    });
    under_way
}

async fn commit_all(under_way: &mut UnderWay, rows: u64) {
    while !under_way.segment().await.is_done() {
        let chunk = under_way.next(rows).await;
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    }
}

fn slice(below: Option<u64>, count_max: u64) -> UndoSlice {
    UndoSlice { below, count_max, singly: false }
}

/// Undoes everything, so many rows at a time; returns how many were restored and how many not.
async fn undo_all(under_way: &mut UnderWay, rows: u64) -> (u64, u64) {
    let (mut restored, mut passed, mut below) = (0, 0, None);
    loop {
        let commits = under_way.lease.commits;
        let (target, lease) = (&mut under_way.target, &mut under_way.lease);
        let undone = target.undo_chunk(lease, &under_way.work, slice(below, rows)).await.unwrap();
        assert_eq!(under_way.lease.commits, commits + 1);
        assert!(undone.met() <= rows, "{undone:?}");
        restored += undone.restored;
        passed += undone.passed;
        below = undone.lowest;
        if !undone.left {
            return (restored, passed);
        }
    }
}

async fn captured(world: &World) -> String {
    world.sql(&format!("SELECT count(*) FROM {}", world.ledger_table("captured"))).await
}

pub(in super::super) async fn updates_are_undone_where_nothing_changed_since(world: World) {
    let statement = "UPDATE posts SET n = n * 2 + 1, title = NULL WHERE id <> 4 AND :chunk";
    let mut under_way = capturing(&world, statement, Verb::Update, &["n", "title"], KEEP).await;
    commit_all(&mut under_way, 7).await;
    assert_eq!(captured(&world).await, "19", "row 4 was not changed");
    world.sql("UPDATE posts SET n = 777 WHERE id = 2; DELETE FROM posts WHERE id = 3;").await;
    let mut stale = under_way.lease.clone();
    stale.token -= 1;
    let error =
        under_way.target.undo_chunk(&mut stale, &under_way.work, slice(None, 5)).await.unwrap_err();
    assert_eq!(error.kind, dunlin_engine::ErrorKind::Fenced, "{error:?}");
    let counts = async || {
        let sql = "SELECT rows_before, COALESCE(row_count_estimate, 0) FROM";
        let row = world.sql(&format!("{sql} {}", world.ledger_table("backfills"))).await;
        let counts = row.split(['|', '\t']).map(|one| one.trim().parse().expect("a count"));
        counts.collect::<Vec<u64>>()
    };
    let before = counts().await;
    assert_eq!(undo_all(&mut under_way, 4).await, (17, 2));
    let after: Vec<u64> = before.iter().zip([17, 0]).map(|(count, more)| count + more).collect();
    assert_eq!(counts().await, after, "counted with what was done");
    assert_eq!(captured(&world).await, "2", "what did not go back is still kept");
    assert_eq!(world.sql("SELECT n FROM posts WHERE id = 2 AND title IS NULL").await, "777");
    assert_eq!(
        world.sql("SELECT sum(n) FROM posts WHERE id <> 2").await,
        (2100 - 20 - 30).to_string()
    );
    assert_eq!(world.sql("SELECT count(*) FROM posts WHERE title IS NOT NULL").await, "18");
    assert_eq!(undo_all(&mut under_way, 4).await, (0, 2), "and stays so");
    world.sql("UPDATE posts SET n = 41 WHERE id = 2").await;
    assert_eq!(undo_all(&mut under_way, 4).await, (1, 1), "but where it is as the chunk left it");
}

pub(in super::super) async fn deleted_rows_come_back(world: World) {
    let statement = "DELETE FROM posts WHERE :chunk AND n > 50";
    let columns = ["id", "n", "title", "note"];
    let mut under_way = capturing(&world, statement, Verb::Delete, &columns, KEEP).await;
    world.sql("UPDATE posts SET title = 'it''s', note = '' WHERE id = 9").await;
    commit_all(&mut under_way, 6).await;
    assert_eq!(world.sql("SELECT count(*) FROM posts").await, "5");
    assert_eq!(captured(&world).await, "15");
    world.sql("INSERT INTO posts VALUES (10, 1, 'another', NULL)").await;
    assert_eq!(undo_all(&mut under_way, 100).await, (14, 1));
    assert_eq!(world.sql("SELECT count(*) FROM posts").await, "20");
    assert_eq!(world.sql("SELECT sum(n) FROM posts").await, (2100 - 100 + 1).to_string());
    let kept = "SELECT count(*) FROM posts WHERE id = 9 AND title = 'it''s' AND note = ''";
    assert_eq!(world.sql(kept).await, "1");
    assert_eq!(world.sql("SELECT title FROM posts WHERE id = 10").await, "another");
}

pub(in super::super) async fn program_changes_are_undone(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[]).await;
    under_way.work = with_columns(&mut under_way.target, &under_way.work, &["title"]).await;
    under_way.work.capture = Some(Capture { columns: vec!["title".to_owned()], keep: KEEP });
    let chunk = chunk_of(1, &Bound::Start, &under_way.hi, &under_way.hi);
    let rows = under_way.target.read_rows(&under_way.work, &chunk.range).await.unwrap();
    let changes: Vec<RowChange> = rows
        .iter()
        .take(6)
        .map(|row| RowChange {
            key: row.key.clone(),
            version: row.version.clone(),
            set: vec![("title".to_owned(), Some("new".to_owned()))],
        })
        .collect();
    under_way
        .target
        .commit_rows(&under_way.lease, &under_way.work, &chunk, &changes, &[])
        .await
        .unwrap();
    assert_eq!(captured(&world).await, "6");
    world.sql("UPDATE posts SET title = 'newer' WHERE id = 1").await;
    assert_eq!(undo_all(&mut under_way, 4).await, (5, 1));
    assert_eq!(world.sql("SELECT count(*) FROM posts WHERE title = 'new'").await, "0");
    assert_eq!(world.sql("SELECT title FROM posts WHERE id = 6").await, "title 6");
}

pub(in super::super) async fn captured_values_are_forgotten_in_time(world: World) {
    let statement = "UPDATE posts SET n = n + 1 WHERE :chunk";
    let mut under_way = capturing(&world, statement, Verb::Update, &["n"], KEEP).await;
    let chunk = under_way.next(5).await;
    under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    under_way.work.capture.as_mut().unwrap().keep = Duration::ZERO;
    let chunk = under_way.next(5).await;
    under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    assert_eq!(captured(&world).await, "10");
    assert_eq!(under_way.target.forget_captured(2).await.unwrap(), 2);
    assert_eq!(under_way.target.forget_captured(100).await.unwrap(), 3);
    assert_eq!(under_way.target.forget_captured(100).await.unwrap(), 0);
    assert_eq!(captured(&world).await, "5");
    assert_eq!(undo_all(&mut under_way, 100).await, (5, 0));
}
