//! Chunks: data and checkpoint move together, once, and only under the lease.

use dunlin_engine::{Checkpoint, Chunk, Claim, Deed, ErrorKind};
use dunlin_model::{Bound, KeyRange, Wish};

use super::super::World;
use super::super::work::owner;
use super::super::world::LONG;
use super::{POSTS, UnderWay, make_posts, record_of, resource, with_columns};
use crate::servers::Product;

const DOUBLE: &str = "UPDATE posts SET n = n * 2 + 1 WHERE :chunk";

/// The sum of `n` before anything.
const SUM: &str = "2100";

async fn sum(world: &World) -> String {
    world.sql("SELECT sum(n) FROM posts").await
}

pub(in super::super) async fn chunks_move_rows_and_checkpoint_together(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[DOUBLE]).await;
    let mut done = 0;
    while !under_way.segment().await.is_done() {
        let chunk = under_way.next(7).await;
        let committed =
            under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
        let [Some(rows)] = committed.rows[..] else { panic!("{committed:?}") };
        done += rows;
        assert_eq!(committed.intent.wish, Wish::Run);
        let segment = under_way.segment().await;
        assert_eq!(segment.rows, done);
        assert_eq!(segment.attempts, 0);
    }
    assert_eq!(done, POSTS);
    assert_eq!(sum(&world).await, "4220", "each row exactly once");
}

pub(in super::super) async fn a_chunk_through_an_alias_moves_its_rows(world: World) {
    make_posts(&world).await;
    world
        .sql(
            "CREATE TABLE names (id integer NOT NULL PRIMARY KEY, name varchar(40));\n\
              INSERT INTO names SELECT id, 'named' FROM posts;",
        )
        .await;
    let statement = match world.product {
        Product::Mysql => {
            "UPDATE posts p JOIN names u ON u.id = p.id SET p.note = u.name WHERE :chunk(p)"
        }
        _ => "UPDATE posts AS p SET note = u.name FROM names AS u WHERE u.id = p.id AND :chunk(p)",
    };
    let mut under_way = UnderWay::on(&world, "posts", &["id"], &[statement]).await;
    let chunk = under_way.next(7).await;
    let rows = under_way
        .target
        .commit_chunk(&under_way.lease, &under_way.work, &chunk)
        .await
        .unwrap()
        .rows;
    assert_eq!(rows, [Some(7)]);
    assert_eq!(world.sql("SELECT max(id) FROM posts WHERE note = 'named'").await, "7");
}

pub(in super::super) async fn a_chunk_of_listed_keys_moves_no_other_rows(world: World) {
    let rows: Vec<String> = (0..20).map(|n| format!("({}, 'it''s {n}', 0)", n % 4)).collect();
    world
        .sql(&format!(
            "CREATE TABLE parts (a integer NOT NULL, b varchar(20) NOT NULL, n integer NOT NULL, \
              PRIMARY KEY (a, b));\nINSERT INTO parts VALUES {};",
            rows.join(", ")
        ))
        .await;
    let statement = "UPDATE parts SET n = -1 WHERE :chunk";
    let mut under_way = UnderWay::on(&world, "parts", &["a", "b"], &[statement]).await;
    let first = under_way.key_after(&Bound::Start, 3).await;
    let second = under_way.key_after(&Bound::Key(first.clone()), 4).await;
    let listed = KeyRange::Keys(vec![first.clone(), second.clone()]);
    let chunk = Chunk { range: listed.clone(), ..under_way.next(10).await };
    let UnderWay { target, lease, work, .. } = &mut under_way;
    let committed = target.commit_chunk(lease, work, &chunk).await.unwrap();
    assert_eq!(committed.rows, [Some(2)]);
    assert_eq!(world.sql("SELECT count(*) FROM parts WHERE n = -1").await, "2");
    let read = with_columns(target, work, &["n"]).await;
    let rows = target.read_rows(&read, &listed).await.unwrap();
    let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    assert_eq!(keys, [first, second]);
    assert!(rows.iter().all(|row| row.values == [Some("-1".to_owned())]), "{rows:?}");
    let none = target.read_rows(&read, &KeyRange::Keys(Vec::new())).await.unwrap();
    assert!(none.is_empty(), "{none:?}");
    // The checkpoint goes to where the chunk says, whatever rows it has.
    let Checkpoint::Segment { to, .. } = chunk.checkpoint else { panic!("{chunk:?}") };
    assert_eq!(under_way.segment().await.upto, to);
}

pub(in super::super) async fn several_statements_are_one_chunk(world: World) {
    make_posts(&world).await;
    world.sql("CREATE TABLE moved (id integer NOT NULL PRIMARY KEY, n bigint)").await;
    let statements = [
        "INSERT INTO moved SELECT id, n FROM posts WHERE :chunk",
        "DELETE FROM posts WHERE :chunk AND id % 2 = 0",
    ];
    let mut under_way = UnderWay::on(&world, "posts", &["id"], &statements).await;
    let chunk = under_way.next(10).await;
    let committed =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    assert_eq!(committed.rows, [Some(10), Some(5)]);
    assert_eq!(world.sql("SELECT count(*) FROM moved").await, "10");
    assert_eq!(world.sql("SELECT count(*) FROM posts").await, "15");
    assert_eq!(under_way.segment().await.rows, 10);
}

pub(in super::super) async fn what_is_not_as_thought_is_fenced(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[DOUBLE]).await;
    let good = under_way.next(5).await;
    let first = under_way.key_after(&Bound::Start, 1).await;
    let other = Bound::Key(first.clone());
    let Checkpoint::Segment { from, to, hi, .. } = good.checkpoint.clone() else {
        panic!("{good:?}")
    };
    let with = |checkpoint: Checkpoint| Chunk { checkpoint, ..good.clone() };
    let mut wrong = vec![
        with(Checkpoint::Segment { seg: 1, from: other.clone(), to: to.clone(), hi: hi.clone() }),
        with(Checkpoint::Segment { seg: 1, from: from.clone(), to: to.clone(), hi: other }),
        with(Checkpoint::Segment { seg: 2, from, to, hi }),
    ];
    wrong.push(with(Checkpoint::Released { key: first }));
    for chunk in wrong {
        let error = under_way
            .target
            .commit_chunk(&under_way.lease, &under_way.work, &chunk)
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Fenced, "{chunk:?}: {error:?}");
    }
    let mut stale = under_way.lease.clone();
    stale.token -= 1;
    let error = under_way.target.commit_chunk(&stale, &under_way.work, &good).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
    assert_eq!(sum(&world).await, SUM);
    assert_eq!(under_way.segment().await.upto, Bound::Start);
    under_way.target.commit_chunk(&under_way.lease, &under_way.work, &good).await.unwrap();
    let again =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &good).await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::Fenced, "twice: {again:?}");
}

pub(in super::super) async fn a_takeover_fences_every_segment(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[DOUBLE]).await;
    let chunk = under_way.next(5).await;
    let mut second = world.target().await;
    let dead = under_way.lease.owner.id.clone();
    let claim = second.claim(&resource(), &owner(2), LONG, Some(&dead)).await.unwrap();
    let Claim::Granted(lease) = claim else { panic!("{claim:?}") };
    assert_eq!(under_way.segment().await.attempts, 1);
    let error =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
    assert_eq!(sum(&world).await, SUM);
    second.commit_chunk(&lease, &under_way.work, &chunk).await.unwrap();
    assert_eq!(under_way.segment().await.attempts, 0, "a committed chunk starts the count over");
}

pub(in super::super) async fn a_takeover_ends_an_open_chunk(world: World) {
    let endless = format!("{} AND :chunk", sleeping_update(&world));
    let mut under_way = UnderWay::on_posts(&world, &[DOUBLE, &endless]).await;
    let chunk = under_way.next(5).await;
    let (mut first, lease, work) = (under_way.target, under_way.lease, under_way.work);
    let (old, slow, open) = (lease.clone(), work.clone(), chunk.clone());
    let running = tokio::spawn(async move { first.commit_chunk(&old, &slow, &open).await });
    world.until_asleep().await;

    let mut second = world.target().await;
    let claim = second.claim(&resource(), &owner(2), LONG, Some(&lease.owner.id)).await.unwrap();
    let Claim::Granted(lease) = claim else { panic!("{claim:?}") };
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Lost | ErrorKind::Fenced), "{error:?}");
    assert_eq!(sum(&world).await, SUM);
    let mut quick = work;
    quick.statements.truncate(1);
    second.commit_chunk(&lease, &quick, &chunk).await.unwrap();
    assert_eq!(world.sql("SELECT sum(n) FROM posts WHERE id <= 5").await, "305");
}

/// A statement that sleeps at its first row until it is ended, up to its last condition.
fn sleeping_update(world: &World) -> String {
    let wait = match world.product {
        Product::Mysql => "SLEEP(900) = 0",
        _ => "pg_sleep(900) IS NULL",
    };
    format!("UPDATE posts SET note = 'slow' WHERE {wait}")
}

pub(in super::super) async fn a_failing_row_is_named_so_and_leaves_nothing(world: World) {
    make_posts(&world).await;
    world
        .sql("CREATE TABLE seen (n bigint NOT NULL PRIMARY KEY);\nINSERT INTO seen VALUES (30);")
        .await;
    let statements = [DOUBLE, "INSERT INTO seen SELECT (n - 1) / 2 FROM posts WHERE :chunk"];
    let mut under_way = UnderWay::on(&world, "posts", &["id"], &statements).await;
    let chunk = under_way.next(5).await;
    let error =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap_err();
    assert_eq!((error.kind, error.statement), (ErrorKind::Statement, Some(1)), "{error:?}");
    assert!(error.by_row, "{error:?}");
    assert!(!error.message.contains("30"), "it shows a row's value: {error:?}");
    assert_eq!(sum(&world).await, SUM);
    assert_eq!(under_way.segment().await.upto, Bound::Start);
    // The rows beside it pass, on the same connection.
    let chunk = under_way.next(2).await;
    under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();

    under_way.work.statements = vec![super::chunked("UPDATE posts SET missing = 1 WHERE :chunk")];
    let chunk = under_way.next(2).await;
    let error =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap_err();
    assert_eq!((error.kind, error.by_row), (ErrorKind::Statement, false), "{error:?}");
}

pub(in super::super) async fn another_shape_stops_the_chunk(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[DOUBLE]).await;
    let chunk = under_way.next(5).await;
    under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    let before = sum(&world).await;
    world.sql("ALTER TABLE posts ADD COLUMN extra integer").await;
    let stood = under_way.segment().await;
    let chunk = under_way.next(5).await;
    let error =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ShapeChanged, "{error:?}");
    assert_eq!(sum(&world).await, before);
    assert_eq!(under_way.segment().await, stood);
    // Planned again, it goes on where it was.
    under_way.work = super::planned(&mut under_way.target, "posts", &["id"], &[DOUBLE]).await;
    under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
}

pub(in super::super) async fn rows_with_a_null_key_are_done_once(world: World) {
    world
        .sql(
            "CREATE TABLE loose (k integer, n integer NOT NULL);\n\
              CREATE UNIQUE INDEX by_k ON loose (k);\n\
              INSERT INTO loose VALUES (NULL, 1), (1, 1), (NULL, 1), (2, 1);",
        )
        .await;
    let statement = "UPDATE loose SET n = n * 2 + 1 WHERE :chunk";
    let mut under_way = UnderWay::on(&world, "loose", &["k"], &[statement]).await;
    let nulls = dunlin_model::Segment {
        seg: 2,
        lo: Bound::Nulls,
        upto: Bound::Start,
        hi: Bound::Nulls,
        rows: 0,
        attempts: 0,
    };
    let segments = [super::segment(1, Bound::Start, &under_way.hi), nulls];
    let record = record_of(&under_way.work);
    under_way
        .target
        .write_backfill(&mut under_way.lease, &record, Some(&segments), None, None)
        .await
        .unwrap();
    let chunk = Chunk {
        checkpoint: Checkpoint::Segment {
            seg: 2,
            from: Bound::Start,
            to: Bound::Nulls,
            hi: Bound::Nulls,
        },
        range: KeyRange::Nulls,
        deed: Deed::Statements,
        lock_first: false,
    };
    let committed =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    assert_eq!(committed.rows, [Some(2)]);
    let again =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::Fenced, "{again:?}");
    let (_, segments) = under_way.stored().await;
    assert!(segments[1].is_done() && !segments[0].is_done(), "{segments:?}");
    assert_eq!(world.sql("SELECT sum(n) FROM loose WHERE k IS NULL").await, "6");
    assert_eq!(world.sql("SELECT sum(n) FROM loose WHERE k IS NOT NULL").await, "2");
}

pub(in super::super) async fn a_row_is_set_aside_released_and_discarded(world: World) {
    let mut under_way = UnderWay::on_posts(&world, &[DOUBLE]).await;
    let resource = resource();
    let mut keys = Vec::new();
    for _ in 0..3 {
        let mut chunk = under_way.next(1).await;
        let KeyRange::Between { upto, .. } = &chunk.range else { panic!("{chunk:?}") };
        keys.push(upto.clone());
        chunk.deed = Deed::SetAside { error: "it failed".to_owned() };
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    }
    let aside = under_way.target.quarantine(&resource, 100).await.unwrap();
    let found: Vec<_> = aside.iter().map(|row| row.key.clone()).collect();
    assert_eq!(found, keys);
    assert!(aside.iter().all(|row| row.error == "it failed" && row.at > 0), "{aside:?}");
    assert_eq!(under_way.target.quarantine(&resource, 2).await.unwrap().len(), 2);
    assert_eq!(under_way.stored().await.0.quarantined, 3);
    assert_eq!(sum(&world).await, SUM, "nothing was done to them");

    let release = |key: &dunlin_model::Key| Chunk {
        checkpoint: Checkpoint::Released { key: key.clone() },
        range: KeyRange::Exactly(key.clone()),
        deed: Deed::Statements,
        lock_first: false,
    };
    let chunk = release(&keys[0]);
    let committed =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    assert_eq!(committed.rows, [Some(1)]);
    assert_eq!(world.sql("SELECT n FROM posts WHERE id = 1").await, "21");
    let error =
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "released twice: {error:?}");
    assert_eq!(under_way.stored().await.0.quarantined, 2);

    let mut again = release(&keys[1]);
    again.deed = Deed::SetAside { error: "once more".to_owned() };
    under_way.target.commit_chunk(&under_way.lease, &under_way.work, &again).await.unwrap();
    let aside = under_way.target.quarantine(&resource, 100).await.unwrap();
    assert!(aside.iter().any(|row| row.key == keys[1] && row.error == "once more"), "{aside:?}");

    let commits = under_way.lease.commits;
    let mut stale = under_way.lease.clone();
    stale.token -= 1;
    let error = under_way.target.discard(&mut stale, None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
    let gone = under_way.target.discard(&mut under_way.lease, Some(&keys[2])).await.unwrap();
    assert_eq!(gone, 1);
    assert_eq!(under_way.target.discard(&mut under_way.lease, None).await.unwrap(), 1);
    assert_eq!(under_way.lease.commits, commits + 2);
    assert!(under_way.target.quarantine(&resource, 100).await.unwrap().is_empty());
    assert_eq!(sum(&world).await, "2111", "only the released one was done");
}
