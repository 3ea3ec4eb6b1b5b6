//! Leases, fences and takeovers.

use std::time::Duration;

use dunlin_engine::{Claim, ErrorKind};
use dunlin_model::Resource;

use crate::support::{
    World, all, applied, claimed, claimed_from, dml, owner, schema, shared, work,
};

const TTL: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_claims_have_one_winner() {
    let world = shared(World::new("claims").await);
    world.with_ledger().await;
    let claims = (0..16).map(|number| {
        let world = world.clone();
        async move {
            let mut target = world.target().await;
            target.claim(&Resource::Schema, &owner(number), TTL, None).await.expect("a claim")
        }
    });
    let claims = all(claims).await;
    let granted = claims.iter().filter(|claim| matches!(claim, Claim::Granted(_))).count();
    assert_eq!(granted, 1);
    for claim in claims {
        if let Claim::Held(holder) = claim {
            assert!(holder.remaining_ms > 500_000, "{holder:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_with_one_token_commit_once_each_checkpoint() {
    let world = shared(World::new("fences").await);
    let mut target = world.with_ledger().await;
    world.eyes().await.run("CREATE TABLE n (v int)").await;
    world.eyes().await.run("INSERT INTO n VALUES (0)").await;
    let lease = claimed(&mut target, &owner(1)).await;
    let commits = (0..16).map(|number| {
        let (world, mut lease) = (world.clone(), lease.clone());
        async move {
            let mut target = world.target().await;
            let work = work(number, vec![dml("UPDATE n SET v = v + 1")]);
            target.commit(&mut lease, &work).await.map_err(|error| error.kind)
        }
    });
    let outcomes = all(commits).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    for outcome in outcomes {
        assert!(matches!(outcome, Ok(_) | Err(ErrorKind::Fenced)), "{outcome:?}");
    }
    assert_eq!(world.eyes().await.one("SELECT v FROM n").await, "1");
}

#[tokio::test]
async fn the_fence_holds_under_any_sql_mode() {
    let world = World::new("mode").await;
    let mut old = world.with_ledger().await;
    let mut stale = claimed(&mut old, &owner(1)).await;
    let mut new = world.target().await;
    let mut lease = claimed_from(&mut new, &owner(2), Some(&owner(1))).await;
    assert!(lease.token > stale.token);
    world.eyes().await.run("CREATE TABLE n (v int)").await;
    // The file's own setting stays for its later statements, the fence must not care.
    let work = work(
        1,
        vec![
            crate::support::set("SET SESSION sql_mode = ''"),
            dml("INSERT INTO n VALUES ('no number')"),
        ],
    );
    old.send_step(&stale, &work, 0).await.expect("set");
    let error = old.commit_step(&mut stale, &work, 1, None).await.expect_err("fenced");
    assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
    assert_eq!(stale.commits, 0);
    let error = old.record(&mut stale, &[applied(schema(3))]).await.expect_err("fenced");
    assert_eq!(error.kind, ErrorKind::Fenced, "{error:?}");
    assert!(!old.keep(&stale, TTL).await.expect("keep"));
    old.release(&stale).await.expect("release");
    assert!(new.keep(&lease, TTL).await.expect("keep"));
    new.record(&mut lease, &[applied(schema(3))]).await.expect("recorded");
    assert_eq!(world.eyes().await.one("SELECT COUNT(*) FROM n").await, "0");
}

#[tokio::test]
async fn a_takeover_ends_an_open_transaction_of_the_old_holder() {
    let world = World::new("takeover").await;
    let mut old = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE n (v int)").await;
    let mut stale = claimed(&mut old, &owner(1)).await;
    let slow =
        work(1, vec![dml("INSERT INTO n VALUES (1)"), dml("INSERT INTO n SELECT SLEEP(3000)")]);
    let committing = tokio::spawn(async move { old.commit(&mut stale, &slow).await });
    let at_work = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{}' AND info LIKE '%SLEEP(3000)' AND command = 'Query'",
        world.name
    );
    eyes.until(&at_work, "1").await;

    let mut new = world.target().await;
    let mut lease = claimed_from(&mut new, &owner(2), Some(&owner(1))).await;
    let error = committing.await.expect("joined").expect_err("ended");
    assert_eq!(error.kind, ErrorKind::Lost, "{error:?}");
    assert_eq!(eyes.one("SELECT COUNT(*) FROM n").await, "0");
    let counts = new
        .commit(&mut lease, &work(1, vec![dml("INSERT INTO n VALUES (1)")]))
        .await
        .expect("done");
    assert_eq!(counts, [Some(1)]);
}

#[tokio::test]
async fn an_expired_lease_changes_hands_and_a_live_one_does_not() {
    let world = World::new("expiry").await;
    let mut old = world.with_ledger().await;
    let first = claimed(&mut old, &owner(1)).await;
    let mut new = world.target().await;
    let held = new.claim(&Resource::Schema, &owner(2), TTL, None).await.expect("a claim");
    assert!(matches!(held, Claim::Held(holder) if holder.owner == owner(1)));
    let other = Resource::Data(dunlin_model::Version::new(5).expect("a version"));
    let claim = new.claim(&other, &owner(2), TTL, None).await.expect("a claim");
    assert!(matches!(claim, Claim::Granted(_)));
    assert!(old.keep(&first, Duration::ZERO).await.expect("keep"));
    let second = claimed(&mut new, &owner(2)).await;
    assert!(second.token > first.token);
    new.release(&second).await.expect("released");
    let third = claimed(&mut old, &owner(1)).await;
    assert!(third.token > second.token);
}
