//! A network that fails at the worst moment: the ledger tells what became of a commit.

use dunlin_engine::{Connector, ErrorKind, Purpose, Target, TargetError};
use dunlin_model::{EntryState, Lease};

use super::work::{data_version, data_work, owner};
use super::world::{LONG, World, granted, ledger};
use crate::proxy::{Proxy, Trap, Way, Weather};
use crate::servers::Product;

/// More traps than any commit needs before none springs.
const TRAPS_MAX: u64 = 2_000;

/// A commit's bytes between two cuts. A prime, so that cuts fall all over the messages.
const CUT_STEP: u64 = 83;

/// A value that tells how often it was changed, and in which order.
fn changed(value: i64) -> i64 {
    (value * 2 + 1) % 1_000_003
}

/// A database behind a proxy, with one value in it, changed by each version.
struct Behind {
    world: World,
    proxy: Proxy,
    connector: std::sync::Arc<dyn Connector>,
    version: i64,
    expected: i64,
}

impl Behind {
    async fn new(world: World) -> Self {
        world.sql("CREATE TABLE t (n bigint); INSERT INTO t VALUES (1);").await;
        drop(world.with_ledger().await);
        let proxy = Proxy::in_front_of(&world.database().url).await.unwrap();
        // What is searched for has to be readable.
        let url = format!("{}?sslmode=disable", proxy.through(&world.database().url));
        let connector = world.connector_to(url);
        Self { world, proxy, connector, version: 0, expected: 1 }
    }

    async fn connected(&self) -> (Box<dyn Target>, Lease) {
        let mut target = self.connector.connect(Purpose::Run).await.unwrap();
        let lease = granted(&mut target, &owner(1), LONG).await;
        (target, lease)
    }

    /// Commits the next version with a trap on its way. `None`: the trap did not spring.
    async fn commit_into(&mut self, trap: Trap) -> Option<Result<(), TargetError>> {
        self.version += 1;
        let (mut target, mut lease) = self.connected().await;
        let sprung = self.proxy.sprung();
        self.proxy.arm(trap);
        let outcome = target.commit(&mut lease, &self.work()).await.map(|_| ());
        if self.proxy.disarm() {
            assert_eq!(outcome, Ok(()), "nothing was in its way");
            self.expected = changed(self.expected);
            return None;
        }
        self.proxy.until_sprung(sprung + 1).await;
        Some(outcome)
    }

    fn work(&self) -> dunlin_engine::Work {
        data_work(self.version, &["UPDATE t SET n = (n * 2 + 1) % 1000003"])
    }

    /// Connects again, looks, and commits only what is not there. Says whether it was.
    async fn look_up_and_finish(&mut self) -> bool {
        let (mut target, mut lease) = self.connected().await;
        let state = ledger(&mut target).await.state(data_version(self.version));
        let done = state == Some(EntryState::Applied);
        if !done {
            target.commit(&mut lease, &self.work()).await.unwrap();
        }
        self.expected = changed(self.expected);
        done
    }

    async fn assert_changed_once_each(&self) {
        assert_eq!(self.world.sql("SELECT n FROM t").await, self.expected.to_string());
    }
}

/// An error that a run loop answers by connecting again and looking.
fn assert_lost(outcome: Result<(), TargetError>) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Lost, "{error:?}");
}

pub(super) async fn a_commit_whose_reply_is_lost_is_looked_up(world: World) {
    let mut behind = Behind::new(world).await;
    let mut found = 0;
    // The word may be there more than once (in the name of a column): each in its turn.
    for nth in 1.. {
        let trap = Trap::ReplyLost { pattern: "COMMIT".to_owned(), nth };
        let Some(outcome) = behind.commit_into(trap).await else { break };
        assert_lost(outcome);
        found += usize::from(behind.look_up_and_finish().await);
        behind.assert_changed_once_each().await;
    }
    assert!(found > 0, "no COMMIT was delivered in plain text");
}

pub(super) async fn a_commit_that_is_not_delivered_is_redone(world: World) {
    let mut behind = Behind::new(world).await;
    let mut redone = 0;
    for nth in 1.. {
        let trap = Trap::NotDelivered { pattern: "COMMIT".to_owned(), nth };
        let Some(outcome) = behind.commit_into(trap).await else { break };
        assert_lost(outcome);
        let found = behind.look_up_and_finish().await;
        assert!(!found, "it was committed without a COMMIT");
        redone += 1;
        behind.assert_changed_once_each().await;
    }
    assert!(redone > 0, "no COMMIT was sent in plain text");
}

pub(super) async fn a_cut_at_any_byte_loses_and_doubles_nothing(world: World) {
    let mut behind = Behind::new(world).await;
    for way in [Way::ToServer, Way::ToClient] {
        let mut cuts = 0;
        loop {
            let trap = Trap::CutAfter { way, bytes: cuts * CUT_STEP };
            let Some(outcome) = behind.commit_into(trap).await else { break };
            // Cut exactly after the last byte of the answer, it may have been heard.
            if outcome.is_ok() {
                behind.expected = changed(behind.expected);
            } else {
                assert_lost(outcome);
                behind.look_up_and_finish().await;
            }
            cuts += 1;
            assert!(cuts < TRAPS_MAX, "the commit never ends");
        }
        assert!(cuts > 1, "it was cut only {cuts} times");
        behind.assert_changed_once_each().await;
    }
}

pub(super) async fn slow_and_sliced_bytes_change_nothing(world: World) {
    let mut behind = Behind::new(world).await;
    let latency = Some(std::time::Duration::from_millis(1));
    let weather = Weather { slice: Some(3), latency, ..Weather::default() };
    if behind.world.product != Product::Pgbouncer {
        // pgbouncer closes a connection whose first header comes in pieces.
        behind.proxy.weather(weather);
    }
    for version in 1..=3 {
        behind.version = version;
        let (mut target, mut lease) = behind.connected().await;
        behind.proxy.weather(weather);
        target.commit(&mut lease, &behind.work()).await.unwrap();
        let state = ledger(&mut target).await.state(data_version(version));
        assert_eq!(state, Some(EntryState::Applied));
        behind.expected = changed(behind.expected);
        if behind.world.product == Product::Pgbouncer {
            behind.proxy.weather(Weather::default());
        }
    }
    behind.assert_changed_once_each().await;
}
