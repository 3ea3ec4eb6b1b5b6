//! Leases: one holder at a time, by the server's clock, under a token that grows.

use dunlin_engine::{Claim, Purpose};
use dunlin_model::{Owner, Resource, Version};

use super::work::{applied, data_version, owner};
use super::world::{LONG, SHORT, World, granted, granted_after_expiry, granted_on, ledger};

pub(super) async fn a_free_lease_is_granted_and_a_held_one_is_not(world: World) {
    let mut first = world.with_ledger().await;
    let mut second = world.target().await;
    let lease = granted(&mut first, &owner(1), LONG).await;
    assert_eq!(lease.owner, owner(1));
    match second.claim(&Resource::Schema, &owner(2), LONG, None).await.unwrap() {
        Claim::Granted(lease) => panic!("two hold it: {lease:?}"),
        Claim::Held(holder) => {
            assert_eq!(holder.owner, owner(1));
            assert_eq!(holder.resource, "schema");
            assert_eq!(holder.token, lease.token);
            assert!((1..=600_000).contains(&holder.remaining_ms), "{holder:?}");
        }
    }
    let view = ledger(&mut second).await;
    let [holder] = &view.leases[..] else { panic!("{:?}", view.leases) };
    assert_eq!(holder.owner, owner(1));
}

pub(super) async fn sixteen_claims_have_one_winner(world: World) {
    drop(world.with_ledger().await);
    let runners: Vec<_> = (1..=16)
        .map(|number| {
            let connector = world.connector();
            tokio::spawn(async move {
                let mut target = connector.connect(Purpose::Run).await.unwrap();
                let claim = target.claim(&Resource::Schema, &owner(number), LONG, None).await;
                matches!(claim.unwrap(), Claim::Granted(_))
            })
        })
        .collect();
    let mut winners = 0;
    for runner in runners {
        winners += usize::from(runner.await.unwrap());
    }
    assert_eq!(winners, 1);
}

pub(super) async fn resources_are_apart(world: World) {
    let mut target = world.with_ledger().await;
    let data = |number| Resource::Data(Version::new(number).unwrap());
    let mut schema = granted_on(&mut target, &Resource::Schema, &owner(1), LONG).await;
    let mut first = granted_on(&mut target, &data(1), &owner(2), LONG).await;
    let mut second = granted_on(&mut target, &data(i64::MAX), &owner(3), LONG).await;
    for (lease, version) in [(&mut schema, 1), (&mut first, 2), (&mut second, 3)] {
        target.record(lease, &[applied(data_version(version))]).await.unwrap();
    }
    let names: Vec<String> =
        ledger(&mut target).await.leases.into_iter().map(|holder| holder.resource).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&"data/1".to_owned()), "{names:?}");
}

pub(super) async fn an_owner_claims_again(world: World) {
    let mut target = world.with_ledger().await;
    let first = granted(&mut target, &owner(1), LONG).await;
    // After an unknown COMMIT: by another connection of the same process.
    let mut target = world.target().await;
    let mut again = granted(&mut target, &owner(1), LONG).await;
    assert!(again.token >= first.token);
    target.record(&mut again, &[applied(data_version(1))]).await.unwrap();
}

pub(super) async fn an_expired_lease_changes_hands_and_the_token_grows(world: World) {
    let mut target = world.with_ledger().await;
    let mut token = granted(&mut target, &owner(1), SHORT).await.token;
    for number in 2..6 {
        let lease = granted_after_expiry(&mut target, &owner(number), SHORT).await;
        assert!(lease.token > token, "{} after {token}", lease.token);
        token = lease.token;
    }
}

pub(super) async fn a_dead_owner_is_displaced(world: World) {
    let mut target = world.with_ledger().await;
    let dead = granted(&mut target, &owner(1), LONG).await;
    let somebody = owner(9).id;
    let claim = target.claim(&Resource::Schema, &owner(2), LONG, Some(&somebody)).await.unwrap();
    assert!(matches!(claim, Claim::Held(_)), "only the one named is displaced");
    let claim =
        target.claim(&Resource::Schema, &owner(2), LONG, Some(&dead.owner.id)).await.unwrap();
    let Claim::Granted(lease) = claim else { panic!("{claim:?}") };
    assert!(lease.token > dead.token);
    assert!(!target.keep(&dead, LONG).await.unwrap());
}

pub(super) async fn a_kept_lease_does_not_expire(world: World) {
    let mut target = world.with_ledger().await;
    let lease = granted(&mut target, &owner(1), SHORT).await;
    // On a connection of its own, as a heartbeat is.
    let mut beside = world.connector().connect(Purpose::Lease).await.unwrap();
    assert!(beside.keep(&lease, LONG).await.unwrap());
    let claim = target.claim(&Resource::Schema, &owner(2), LONG, None).await.unwrap();
    let Claim::Held(holder) = claim else { panic!("{claim:?}") };
    assert!(holder.remaining_ms > 1_000, "{holder:?}");
}

pub(super) async fn a_released_lease_is_free(world: World) {
    let mut target = world.with_ledger().await;
    let first = granted(&mut target, &owner(1), LONG).await;
    target.release(&first).await.unwrap();
    assert!(ledger(&mut target).await.leases.is_empty(), "it has no owner");
    let second = granted(&mut target, &owner(2), LONG).await;
    assert!(second.token > first.token);
    assert!(!target.keep(&first, LONG).await.unwrap());
}

pub(super) async fn a_late_release_takes_nothing_from_the_next_owner(world: World) {
    let mut target = world.with_ledger().await;
    let late = granted(&mut target, &owner(1), SHORT).await;
    let next = granted_after_expiry(&mut target, &owner(2), LONG).await;
    target.release(&late).await.unwrap();
    assert!(target.keep(&next, LONG).await.unwrap());
    let claim = target.claim(&Resource::Schema, &owner(3), LONG, None).await.unwrap();
    assert!(matches!(claim, Claim::Held(_)), "{claim:?}");
}

pub(super) async fn hostile_owners_are_read_back(world: World) {
    let mut target = world.with_ledger().await;
    let hostile = Owner {
        host: "pod'\"`\\; DROP TABLE x; -- 鸟 🐦".to_owned(),
        identity: "b'oo\"t/\n1\\' OR 1=1".to_owned(),
        pid: u32::MAX,
        ..owner(1)
    };
    let mut lease = granted(&mut target, &hostile, LONG).await;
    assert_eq!(ledger(&mut target).await.leases[0].owner, hostile);
    target.record(&mut lease, &[applied(data_version(1))]).await.unwrap();
    assert!(target.keep(&lease, LONG).await.unwrap());
    target.release(&lease).await.unwrap();
}
