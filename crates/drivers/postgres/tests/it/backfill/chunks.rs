//! What a chunk's transaction does and refuses.

use dunlin_engine::{Checkpoint, Chunk, Deed, ErrorKind};
use dunlin_model::{Bound, KeyRange, Wish};

use super::plan::{chunk, claimed, key, planned, resource, segment, started};
use crate::world::World;

const TABLE: &str = "CREATE TABLE posts (id bigint PRIMARY KEY, n integer NOT NULL DEFAULT 1, \
     CHECK (n < 100)); INSERT INTO posts (id) SELECT g FROM generate_series(1, 100) AS g; \
     ANALYZE posts";

const DOUBLE: &str = "UPDATE posts SET n = n * 2 + 1 WHERE :chunk";

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_checkpoint_commit_together_and_count() {
    let world = World::new("chunk_commit").await;
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let work = planned(&mut target, "posts", None, &[DOUBLE]).await;
    let (lease, segment) = started(&mut target, &work).await;
    let first = chunk(&segment, &key(&["40"]));
    let done = target.commit_chunk(&lease, &work, &first).await.expect("a chunk");
    assert_eq!(done.rows, [Some(40)]);
    assert!(done.bytes.is_some_and(|bytes| bytes > 0));
    assert_eq!(done.intent.wish, Wish::Run);
    let (_, segments) = target.backfills(Some(&resource())).await.expect("a ledger").remove(0);
    assert_eq!(segments[0].upto, Bound::Key(key(&["40"])));
    assert_eq!((segments[0].rows, segments[0].attempts), (40, 0));
    // The same chunk again has lost its place.
    let error = target.commit_chunk(&lease, &work, &first).await.expect_err("it is done");
    assert_eq!(error.kind, ErrorKind::Fenced);
    assert_eq!(world.sql("SELECT sum(n) FROM posts").await, (40 * 3 + 60).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_pooler_too_and_nothing_leaks() {
    let world = World::behind_pgbouncer("chunk_pooled").await;
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let work = planned(&mut target, "posts", None, &[DOUBLE]).await;
    let (lease, segment) = started(&mut target, &work).await;
    let hi = key(&["100"]);
    let marks = target.walk(&work, &Bound::Start, &hi, 30, 10).await.expect("marks");
    assert_eq!(marks.iter().map(|mark| mark.rows).collect::<Vec<_>>(), [30, 30, 30, 10]);
    target.commit_chunk(&lease, &work, &chunk(&segment, &hi)).await.expect("a chunk");
    assert!(
        target
            .holds(
                "SELECT current_setting('synchronous_commit') = reset_val FROM pg_settings \
         WHERE name = 'synchronous_commit'; "
            )
            .await
            .expect("a query")
    );
    assert!(!target.holds("SELECT EXISTS (SELECT FROM posts WHERE n = 1)").await.expect("a query"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_raises_all_tokens_and_the_old_holder_has_lost() {
    let world = World::new("chunk_takeover").await;
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let work = planned(&mut target, "posts", None, &[DOUBLE]).await;
    let mut lease = claimed(&mut target, 1).await;
    let middle = Bound::Key(key(&["50"]));
    let segments =
        [segment(1, Bound::Start, middle.clone()), segment(2, middle, Bound::Key(key(&["100"])))];
    let record = super::plan::record(&work);
    target.write_backfill(&mut lease, &record, Some(&segments), None, None).await.expect("rows");
    let mut other = world.target().await;
    let next = claimed(&mut other, 2).await;
    assert!(next.token > lease.token);
    let tokens = "SELECT count(DISTINCT token) || ' ' || string_agg(attempts::text, ',' ORDER BY seg) \
         FROM dunlin.segments WHERE job = 'data/7'";
    assert_eq!(world.sql(tokens).await, "1 0,1,1");
    let chunk = chunk(&segments[1], &key(&["60"]));
    let error = target.commit_chunk(&lease, &work, &chunk).await.expect_err("it is lost");
    assert_eq!(error.kind, ErrorKind::Fenced);
    other.commit_chunk(&next, &work, &chunk).await.expect("the new holder's");
    assert_eq!(world.sql(tokens).await, "1 0,1,0");
    assert_eq!(world.sql("SELECT count(*) FROM posts WHERE n = 3").await, "10");
    // Rows of the ledger that are gone are no licence.
    world.sql("DELETE FROM dunlin.segments WHERE seg = 1").await;
    let gone = super::plan::chunk(&segments[0], &key(&["10"]));
    let error = other.commit_chunk(&next, &work, &gone).await.expect_err("no segment");
    assert_eq!(error.kind, ErrorKind::Fenced);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_shape_stops_the_next_chunk() {
    let world = World::new("chunk_shape").await;
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let work = planned(&mut target, "posts", None, &[DOUBLE]).await;
    let (lease, segment) = started(&mut target, &work).await;
    let chunk = chunk(&segment, &key(&["10"]));
    world.sql("CREATE INDEX by_n ON posts (n)").await;
    target.commit_chunk(&lease, &work, &chunk).await.expect("an index is no other shape");
    let mut next = segment.clone();
    next.upto = Bound::Key(key(&["10"]));
    for change in ["ALTER TABLE posts ALTER n TYPE bigint", "DROP TABLE posts"] {
        world.sql(change).await;
        let chunk = super::plan::chunk(&next, &key(&["20"]));
        let error = target.commit_chunk(&lease, &work, &chunk).await.expect_err(change);
        assert_eq!(error.kind, ErrorKind::ShapeChanged, "{change}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_its_statement_and_place_and_leaves_nothing() {
    let world = World::new("chunk_failure").await;
    world.sql(TABLE).await;
    world.sql("UPDATE posts SET n = 60 WHERE id = 7").await;
    let mut target = world.with_ledger().await;
    let work =
        planned(&mut target, "posts", None, &["SELECT count(*) FROM posts WHERE :chunk", DOUBLE])
            .await;
    let (lease, segment) = started(&mut target, &work).await;
    let error = target
        .commit_chunk(&lease, &work, &chunk(&segment, &key(&["10"])))
        .await
        .expect_err("a check fails");
    assert_eq!((error.kind, error.statement, error.by_row), (ErrorKind::Statement, Some(1), true));
    assert_eq!(error.code.as_deref(), Some("23514"));
    assert_eq!(world.sql("SELECT count(*) FROM posts WHERE n = 3").await, "0");
    // Set aside, the row stays as it is and the rest goes on.
    let aside = |from: &str, to: &str, error: Option<&str>| {
        let mut made = chunk(&segment, &key(&[to]));
        if let Checkpoint::Segment { from: at, .. } = &mut made.checkpoint {
            *at = if from.is_empty() { Bound::Start } else { Bound::Key(key(&[from])) };
            made.range = KeyRange::Between { after: at.clone(), upto: key(&[to]) };
        }
        if let Some(error) = error {
            made.deed = Deed::SetAside { error: error.to_owned() };
        }
        made
    };
    target.commit_chunk(&lease, &work, &aside("", "6", None)).await.expect("rows before");
    let noted = aside("6", "7", Some("too much"));
    assert_eq!(target.commit_chunk(&lease, &work, &noted).await.expect("noted").rows, [Some(1)]);
    let rows = target.quarantine(&resource(), 10).await.expect("a list");
    assert_eq!((rows.len(), &rows[0].key, rows[0].error.as_str()), (1, &key(&["7"]), "too much"));
    world.sql("UPDATE posts SET n = 1 WHERE id = 7").await;
    let again = Chunk {
        checkpoint: Checkpoint::Released { key: key(&["7"]) },
        range: KeyRange::Exactly(key(&["7"])),
        deed: Deed::Statements,
        lock_first: true,
    };
    target.commit_chunk(&lease, &work, &again).await.expect("released");
    assert_eq!(world.sql("SELECT n FROM posts WHERE id = 7").await, "3");
    let twice = target.commit_chunk(&lease, &work, &again).await.expect_err("it is out");
    assert_eq!(twice.kind, ErrorKind::Fenced);

    for (text, place) in [
        ("UPDATE posts SET ä = 1 WHERE :chunk AND true", "ä"),
        ("UPDATE posts SET n = 1 WHERE :chunk AND wrong = 1", "wrong"),
        ("UPDATE posts SET n = 1 WHERE :chunk AND AND", "AND AND"),
    ] {
        let mut wrong = work.clone();
        wrong.statements = vec![super::plan::chunked("SELECT 1"), super::plan::chunked(text)];
        let chunk = aside("7", "8", None);
        let error = target.commit_chunk(&lease, &wrong, &chunk).await.expect_err(text);
        let offset = text[..text.find(place).expect("a place")].chars().count();
        assert_eq!(error.statement, Some(1), "{error:?}");
        assert!(error.offset == Some(offset) || error.offset == Some(offset + 4), "{error:?}");
        let error = target.explain(&wrong).await.expect_err(text);
        assert_eq!(error.statement, Some(1), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_refused_at_once_where_asked() {
    let world = World::new("chunk_locks").await;
    world.sql(TABLE).await;
    let mut target = world.with_ledger().await;
    let work = planned(&mut target, "posts", None, &[DOUBLE]).await;
    let (lease, segment) = started(&mut target, &work).await;
    let other = world.bystander().await;
    other.batch_execute("BEGIN; UPDATE posts SET n = n WHERE id = 3").await.expect("a lock");
    let mut chunk = chunk(&segment, &key(&["10"]));
    chunk.lock_first = true;
    let error = target.commit_chunk(&lease, &work, &chunk).await.expect_err("it is locked");
    assert_eq!((error.kind, error.by_row), (ErrorKind::LockTimeout, false), "{error:?}");
    other.batch_execute("ROLLBACK").await.expect("the end of it");
    target.commit_chunk(&lease, &work, &chunk).await.expect("now it can");
}
