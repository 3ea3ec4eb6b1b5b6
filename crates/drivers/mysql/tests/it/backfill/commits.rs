//! What a chunk's transaction holds and refuses.

use dunlin_engine::{Checkpoint, Deed, ErrorKind};
use dunlin_model::{Bound, KeyRange, Verb};

use super::{begun, chunk, chunked, data_lease, number, numbers, planned, segment, update};
use crate::support::World;

const TWICE: &str = "UPDATE t SET v = v * 2 + 1 WHERE :chunk";

#[tokio::test]
async fn a_chunk_moves_its_segment_and_no_other() {
    let (world, mut target) = numbers("move", 100).await;
    let mut eyes = world.eyes().await;
    let work = planned(&mut target, vec![update(TWICE)]).await;
    let hi = number(1000);
    let lease = begun(&mut target, &work, hi.clone()).await;
    let first = chunk(Bound::Start, &number(400), &hi);
    let done = target.commit_chunk(&lease, &work, &first).await.expect("committed");
    assert_eq!(done.rows, [Some(40)]);
    // Again from the same place: it stands elsewhere by now.
    let error = target.commit_chunk(&lease, &work, &first).await.expect_err("fenced");
    assert_eq!(error.kind, ErrorKind::Fenced);
    let wrong_end = chunk(Bound::Key(number(400)), &number(500), &number(500));
    let error = target.commit_chunk(&lease, &work, &wrong_end).await.expect_err("fenced");
    assert_eq!(error.kind, ErrorKind::Fenced);
    assert_eq!(eyes.one("SELECT COUNT(*) FROM t WHERE v = id / 10").await, "60");
    let (_, segments) = target.backfills(None).await.expect("read").remove(0);
    assert_eq!((segments[0].rows, &segments[0].upto), (40, &Bound::Key(number(400))));
}

#[tokio::test]
async fn a_takeover_raises_every_segment_and_ends_an_open_chunk() {
    let (world, mut old) = numbers("raise", 100).await;
    let mut eyes = world.eyes().await;
    let slow = "UPDATE t SET v = v + 1 + SLEEP(3000) WHERE :chunk";
    let work = planned(&mut old, vec![update(slow)]).await;
    let hi = number(500);
    let mut lease = data_lease(&mut old, 1).await;
    let segments = [
        segment(1, Bound::Start, Bound::Key(hi.clone())),
        segment(2, Bound::Key(hi.clone()), Bound::Key(number(1000))),
    ];
    old.write_backfill(&mut lease, &super::record(&work), Some(&segments), None, None)
        .await
        .expect("written");
    let (under_way, stale) = (work.clone(), lease.clone());
    let first = chunk(Bound::Start, &hi, &hi);
    let running = tokio::spawn(async move { old.commit_chunk(&stale, &under_way, &first).await });
    let at_work = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{}' \
         AND info LIKE '%SLEEP(3000)%' AND info NOT LIKE '%processlist%' AND command = 'Query'",
        world.name
    );
    eyes.until(&at_work, "1").await;
    let mut new = world.target().await;
    let lease = data_lease(&mut new, 2).await;
    let error = running.await.expect("joined").expect_err("ended");
    assert_eq!(error.kind, ErrorKind::Lost, "{error:?}");
    assert_eq!(eyes.one("SELECT SUM(v) FROM t").await, "5050");
    let tokens = format!(
        "SELECT GROUP_CONCAT(token = {} AND attempts = (seg > 0) ORDER BY seg) \
         FROM dunlin_segments WHERE job = 'data/7'",
        lease.token
    );
    assert_eq!(eyes.one(&tokens).await, "1,1,1");
}

#[tokio::test]
async fn another_shape_stops_a_chunk() {
    let (world, mut target) = numbers("shape", 50).await;
    let mut eyes = world.eyes().await;
    let work = planned(&mut target, vec![update(TWICE)]).await;
    let hi = number(500);
    let lease = begun(&mut target, &work, hi.clone()).await;
    eyes.run("ALTER TABLE t ADD COLUMN w INT").await;
    let whole = chunk(Bound::Start, &hi, &hi);
    let error = target.commit_chunk(&lease, &work, &whole).await.expect_err("another");
    assert_eq!(error.kind, ErrorKind::ShapeChanged);
    eyes.run("ALTER TABLE t DROP COLUMN v").await;
    let error = target.commit_chunk(&lease, &work, &whole).await.expect_err("another");
    assert_eq!(error.kind, ErrorKind::ShapeChanged);
    let (_, segments) = target.backfills(None).await.expect("read").remove(0);
    assert_eq!(segments[0].upto, Bound::Start);
}

#[tokio::test]
async fn rows_that_fail_are_told_set_aside_and_released() {
    let (world, mut target) = numbers("aside", 20).await;
    let mut eyes = world.eyes().await;
    eyes.run("ALTER TABLE t ADD CONSTRAINT low CHECK (v < 100)").await;
    eyes.run("UPDATE t SET v = 60 WHERE id = 50").await;
    let work = planned(&mut target, vec![update(TWICE)]).await;
    let hi = number(200);
    let lease = begun(&mut target, &work, hi.clone()).await;
    let mut whole = chunk(Bound::Start, &hi, &hi);
    let error = target.commit_chunk(&lease, &work, &whole).await.expect_err("a check");
    assert_eq!((error.kind, error.by_row), (ErrorKind::Statement, true), "{error:?}");
    whole.deed = Deed::SetAside { error: "a check".to_owned() };
    let mut alone = chunk(Bound::Start, &number(50), &hi);
    alone.range = KeyRange::Exactly(number(50));
    alone.deed = whole.deed.clone();
    target.commit_chunk(&lease, &work, &alone).await.expect("set aside");
    let aside = target.quarantine(&lease.resource, 10).await.expect("read");
    assert_eq!((aside.len(), &aside[0].key), (1, &number(50)));
    assert_eq!(target.backfills(None).await.expect("read")[0].0.quarantined, 1);
    let mut release = alone.clone();
    release.checkpoint = Checkpoint::Released { key: number(50) };
    release.deed = Deed::Statements;
    let error = target.commit_chunk(&lease, &work, &release).await.expect_err("still");
    assert!(error.by_row, "{error:?}");
    eyes.run("UPDATE t SET v = 5 WHERE id = 50").await;
    target.commit_chunk(&lease, &work, &release).await.expect("released");
    assert!(target.quarantine(&lease.resource, 10).await.expect("read").is_empty());
    assert_eq!(eyes.one("SELECT v FROM t WHERE id = 50").await, "11");
    let mut stale = lease.clone();
    stale.token -= 1;
    let error = target.commit_chunk(&stale, &work, &release).await.expect_err("fenced");
    assert_eq!(error.kind, ErrorKind::Fenced);
    let mut lease = lease;
    assert_eq!(target.discard(&mut lease, None).await.expect("discarded"), 0);
}

#[tokio::test]
async fn one_statement_leaves_gaps_free_and_waits_for_rows_in_doubt() {
    let (world, mut target) = numbers("gaps", 50).await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE copy LIKE t").await;
    let copy = "INSERT INTO copy SELECT * FROM t WHERE :chunk";
    let work = planned(&mut target, vec![chunked(copy, Some((Verb::Insert, "copy")))]).await;
    let hi = number(500);
    let lease = begun(&mut target, &work, hi.clone()).await;
    let mut writer = world.eyes().await;
    writer.run("BEGIN").await;
    writer.run("INSERT INTO t VALUES (5, 1, 'in doubt')").await;
    let (work_too, lease_too) = (work.clone(), lease.clone());
    let running = tokio::spawn(async move {
        let whole = chunk(Bound::Start, &hi, &hi);
        target.commit_chunk(&lease_too, &work_too, &whole).await
    });
    let waiting = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{}' \
         AND info LIKE '%SHARE MODE%' AND info NOT LIKE '%processlist%' AND command = 'Query'",
        world.name
    );
    eyes.until(&waiting, "1").await;
    // Beside and inside the chunk, while it waits with its locks.
    eyes.run("SET SESSION innodb_lock_wait_timeout = 1").await;
    eyes.run("INSERT INTO t VALUES (505, 1, 'beside')").await;
    writer.run("COMMIT").await;
    running.await.expect("joined").expect("committed");
    assert_eq!(eyes.one("SELECT COUNT(*) FROM copy WHERE s = 'in doubt'").await, "1");
}

#[tokio::test]
async fn locks_are_not_waited_for_where_that_is_asked() {
    let (world, mut target) = numbers("nowait", 50).await;
    let mut writer = world.eyes().await;
    let work = planned(&mut target, vec![update(TWICE)]).await;
    let hi = number(500);
    let lease = begun(&mut target, &work, hi.clone()).await;
    writer.run("BEGIN").await;
    writer.run("UPDATE t SET v = 0 WHERE id = 300").await;
    let mut whole = chunk(Bound::Start, &hi, &hi);
    whole.lock_first = true;
    let error = target.commit_chunk(&lease, &work, &whole).await.expect_err("locked");
    assert_eq!(error.kind, ErrorKind::LockTimeout, "{error:?}");
    writer.run("COMMIT").await;
    target.commit_chunk(&lease, &work, &whole).await.expect("committed");
    let health = target.health(&work).await.expect("health");
    assert!(health.signals.iter().any(|signal| signal.name == "lock waits"), "{health:?}");
    assert!(target.holds("SELECT 1 = 1").await.expect("held"));
    assert!(!target.holds("SELECT NULL").await.expect("held"));
    let error = target.holds("SELECT 1 UNION SELECT 2").await.expect_err("two rows");
    assert_eq!(error.kind, ErrorKind::Refused);
}

#[tokio::test]
async fn two_statements_are_one_chunk() {
    let (world, mut target) = numbers("two", 50).await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE gone LIKE t").await;
    let statements = vec![
        chunked(
            "INSERT INTO gone SELECT p.* FROM t AS p WHERE :chunk(p)",
            Some((Verb::Insert, "gone")),
        ),
        chunked("DELETE FROM t WHERE :chunk", Some((Verb::Delete, "t"))),
    ];
    let work = planned(&mut target, statements).await;
    for access in target.explain(&work).await.expect("explained") {
        assert!(access.index.is_some() || access.complaint.is_some(), "{access:?}");
    }
    let hi = number(500);
    let lease = begun(&mut target, &work, hi.clone()).await;
    let done = super::run_all(&mut target, &lease, &work, &hi, 20).await.expect("done");
    assert_eq!(done.len(), 3);
    assert_eq!(eyes.one("SELECT COUNT(*) FROM gone").await, "50");
    assert_eq!(eyes.one("SELECT COUNT(*) FROM t").await, "0");
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let (world, _) = numbers("rights", 50).await;
    let mut eyes = world.eyes().await;
    let user = format!("walker{}", std::process::id());
    eyes.run(&format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'pass-word'")).await;
    eyes.run(&format!("GRANT SELECT ON `{}`.* TO '{user}'@'%'", world.name)).await;
    let mut url = url::Url::parse(&world.url).expect("a URL");
    url.set_username(&user).expect("set");
    url.set_password(Some("pass-word")).expect("set");
    let reader = World { name: world.name.clone(), url: url.into() };
    let mut looking = reader.target().await;
    let work = planned(&mut looking, vec![update(TWICE)]).await;
    let denied = looking.explain(&work).await.expect_err("denied");
    assert_eq!(denied.kind, ErrorKind::Permission, "{denied:?}");
    let help = denied.help.unwrap_or_default();
    assert!(help.contains("GRANT SELECT, UPDATE ON") && help.contains(&user), "{help}");
    eyes.run(&format!("DROP USER '{user}'@'%'")).await;
}
