//! Rows that the target does not have as they should be: looked for by their keys, to tell whether
//! they are missing or others.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use tokio::sync::mpsc;

use super::chunk::new_keys;
use super::columns::QUEUE;
use super::key::RowKey;
use super::key_set::{column_key_hash, written_key_hash};
use super::pack::each_entry;
use super::plan::PlannedRule;
use super::read_rows::ReadRows;
use super::row_hash::RowHash;
use super::session::Session;
use super::settle::key_batch;
use super::spread::{Hashes, LastBits};
use super::verify::{each_stored, table_of};
use super::writer::pack_area;
use crate::TargetError;

/// So many are fetched by their keys; for more the table is read once more. In development builds so
/// few that tests and campaigns do both.
const FETCHED_MAX: usize = if cfg!(debug_assertions) { 20 } else { 1_000 };

/// Rows that are fetched at once, in one batch, however large they are.
const AT_ONCE: usize = 50;

/// Values by a key's hash, which is not hashed once more.
type ByHash<T> = HashMap<u128, T, BuildHasherDefault<LastBits>>;

/// What is wrong, by the hash of the row's key in the target.
pub(super) type Findings = ByHash<Finding>;

struct Expected {
    hash: RowHash,
    run: u32,
}

/// What is wrong with a row.
pub(super) struct Finding {
    /// It isn't there; otherwise it is another.
    pub(super) is_missing: bool,
    /// This run wrote it, so nobody else is to blame.
    pub(super) is_ours: bool,
}

impl Finding {
    fn of(expected: &Expected, run: u32, is_missing: bool) -> Self {
        Self { is_missing, is_ours: expected.run == run || expected.hash == 0 }
    }
}

/// Rows that are looked for.
pub(super) struct Suspects {
    /// By the hash of their key.
    rows: ByHash<Expected>,
    /// Their keys, while they are few.
    keys: Vec<RowKey>,
    found: Findings,
    /// Of them, how many are as they should be after all.
    proved: u64,
}

impl Suspects {
    /// The rows that have these hashes. Of several entries of one key, the last counts.
    pub(super) async fn of(
        rule: &PlannedRule,
        session: &mut Session<'_>,
        unproved: &Hashes,
    ) -> Result<Self, TargetError> {
        let mut rows = ByHash::default();
        let mut keys = Vec::new();
        let mut buffer = Vec::new();
        let parts = rule.written.key.len();
        each_stored(session, &pack_area(&rule.rule.name), |stored| {
            each_entry(stored, |entry| {
                let is_suspect = unproved.contains(&entry.hash);
                if !is_suspect && rows.is_empty() {
                    return;
                }
                let key = written_key_hash(entry.new, &mut buffer);
                if !is_suspect {
                    rows.remove(&key);
                    return;
                }
                rows.insert(key, Expected { hash: entry.hash, run: entry.run });
                if keys.len() <= FETCHED_MAX {
                    keys.extend(RowKey::read(&mut &*entry.new, parts));
                }
            })
        })
        .await?;
        Ok(Self { rows, keys, found: Findings::default(), proved: 0 })
    }

    /// Looks for them, and tells what is wrong with which, and how many are right by now.
    pub(super) async fn look(
        mut self,
        rule: &PlannedRule,
        session: &mut Session<'_>,
    ) -> Result<(Findings, u64), TargetError> {
        if self.rows.is_empty() {
            return Ok((self.found, 0));
        }
        if self.keys.len() <= FETCHED_MAX {
            for keys in std::mem::take(&mut self.keys).chunks(AT_ONCE) {
                session.gate.pass().await?;
                let keys = key_batch(rule, keys.iter())?;
                let rows = session.target.fetch(&rule.written, &keys, false).await?;
                self.see(rule, &rows, session.run)?;
            }
        } else {
            self.read(rule, session).await?;
        }
        // What is left was not there.
        let missing =
            self.rows.iter().map(|(key, one)| (*key, Finding::of(one, session.run, true)));
        self.found.extend(missing);
        Ok((self.found, self.proved))
    }

    async fn read(
        &mut self,
        rule: &PlannedRule,
        session: &mut Session<'_>,
    ) -> Result<(), TargetError> {
        let (extract, gate, run) = (table_of(rule), session.gate.clone(), session.run);
        let (batches, mut received) = mpsc::channel(QUEUE);
        let target = &mut session.target;
        let reading = async move {
            let read = target.read(&extract, &batches).await;
            drop(batches);
            read
        };
        let suspects = &mut *self;
        // It owns the queue's end: where it fails, the reader finds nobody there and ends.
        let taking = async move {
            while let Some(batch) = received.recv().await {
                gate.check()?;
                suspects.see(rule, &batch?, run)?;
            }
            Ok::<(), TargetError>(())
        };
        let (read, taken) = tokio::join!(reading, taking);
        taken.and(read)
    }

    /// Compares rows of the target with those that are looked for.
    fn see(&mut self, rule: &PlannedRule, read: &ReadRows, run: u32) -> Result<(), TargetError> {
        let keys = new_keys(rule, &read.rows)?;
        let mut buffer = Vec::new();
        let hashes = read.hashes(&rule.written.fields)?;
        for (row, there) in hashes.into_iter().enumerate() {
            let key = column_key_hash(&keys, row, &mut buffer);
            // What nothing is expected for is the application's own, or was found before.
            let Some(one) = self.rows.remove(&key) else { continue };
            if one.hash == there && there != 0 {
                self.proved += 1;
            } else {
                self.found.insert(key, Finding::of(&one, run, false));
            }
        }
        Ok(())
    }
}
