//! Proof: what stands in the target, row by row, is what this run found that there should be.
//!
//! The first half was done while loading: each row that the source gives has, in its pack, the hash
//! of what it becomes. Here every row of the target is read and compared with that.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use dunlin_model::Capabilities;
use dunlin_model::moves::{Changed, Deleted};
use tokio::sync::mpsc;

use super::key::{KeyColumns, RowKey};
use super::key_set::{column_key_hash, key_hash, written_key_hash};
use super::pack::{Pack, each_entry};
use super::plan::{MovePlan, PlannedRule};
use super::ports::Extract;
use super::report::{Note, NoteKind};
use super::row_hash::RowHash;
use super::session::Session;
use super::update::theirs;
use super::writer::{RuleWriter, pack_area};
use crate::{ErrorKind, TargetError};

/// Rows that are compared at once, by what their hashes take in memory: about 64 MiB. Larger tables
/// are compared in shares, by their keys' hashes, and read once for each.
const SHARE_ROWS: u64 = 1_000_000;

/// Bytes of rows in one batch.
const BATCH_BYTES: usize = 1 << 20;

/// What is told of a row that this run wrote and that is another.
pub(super) const NOT_AS_WRITTEN: &str = "it is not what was written";
/// Values by a key's hash, which is not hashed once more.
type ByHash<T> = HashMap<u128, T, BuildHasherDefault<FirstBits>>;

/// The first bits of a hash.
#[derive(Default)]
struct FirstBits(u64);

impl Hasher for FirstBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `write_u128` is called; this is right for anything else.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = (hash >> 64) as u64;
    }
}

struct Expected {
    hash: RowHash,
    run: u32,
}

/// What is wrong with a row.
struct Finding {
    /// It isn't there; otherwise it is another.
    is_missing: bool,
    /// This run wrote it, so nobody else is to blame.
    is_ours: bool,
}

impl Finding {
    fn of(expected: &Expected, run: u32, is_missing: bool) -> Self {
        Self { is_missing, is_ours: expected.run == run || expected.hash == 0 }
    }
}

/// Rows that the application changed or deleted, and that the mapping wants back: by the hash of
/// their key in the target.
pub(super) type WantedBack = HashSet<u128>;

/// Compares one rule's rows.
pub(super) async fn verify(
    plan: &MovePlan,
    number: usize,
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
) -> Result<WantedBack, TargetError> {
    let rule = &plan.rules[number];
    let mut back = WantedBack::new();
    let told = writer.notes.len();
    let shares = u128::from(writer.report.rows.div_ceil(SHARE_ROWS).max(1));
    for share in 0..shares {
        let rows = usize::try_from(writer.report.rows / shares as u64).unwrap_or_default();
        let name = &rule.rule.name;
        let mut expected = expected(session, name, share, shares, rows).await?;
        let mut found = compare(rule, session, writer, &mut expected, share, shares).await?;
        // What is left was not there.
        let run = session.run;
        found.extend(expected.iter().map(|(key, one)| (*key, Finding::of(one, run, true))));
        drop(expected);
        judge(rule, session, writer, &found, &mut back).await?;
    }
    tell_once(&mut writer.notes, told);
    Ok(back)
}

/// Tells of the rows that are not as they should be, in the order of their old keys.
async fn judge(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
    found: &ByHash<Finding>,
    back: &mut WantedBack,
) -> Result<(), TargetError> {
    if found.is_empty() {
        return Ok(());
    }
    let conflicts = writer.conflicts;
    let area = pack_area(&rule.rule.name);
    let mut from = i64::MIN;
    loop {
        let stored = session.stored(&area, from).await?;
        let Some(last) = stored.last() else { return Ok(()) };
        from = last.number + 1;
        for entry in &stored {
            for entry in Pack::read(entry)?.entries {
                let key = key_hash(&entry.new);
                let Some(finding) = found.get(&key) else { continue };
                let theirs = theirs(entry.run);
                let (kind, reason) = match (finding.is_ours, finding.is_missing) {
                    (true, true) => (NoteKind::Differs, "it is not there"),
                    (true, false) => (NoteKind::Differs, NOT_AS_WRITTEN),
                    (false, true) => match conflicts.deleted_there {
                        Deleted::LeaveDeleted => (NoteKind::DeletedThere, theirs),
                        Deleted::Stop => return Err(stop("deleted", rule)),
                        Deleted::Restore => {
                            back.insert(key);
                            continue;
                        }
                    },
                    (false, false) => match conflicts.changed_there {
                        Changed::KeepTheirs => (NoteKind::ChangedThere, theirs),
                        Changed::Stop => return Err(stop("changed", rule)),
                        Changed::Overwrite => {
                            back.insert(key);
                            continue;
                        }
                    },
                };
                writer.notes.push(Note { old: entry.old, kind, reason: reason.to_owned() });
            }
        }
    }
}

/// A row that was kept as theirs while loading is found to be so once more.
fn tell_once(notes: &mut Vec<Note>, from: usize) {
    let found = notes.split_off(from);
    let known: HashSet<(NoteKind, RowKey)> =
        notes.iter().map(|note| (note.kind, note.old.clone())).collect();
    notes.extend(found.into_iter().filter(|note| !known.contains(&(note.kind, note.old.clone()))));
}

fn stop(what: &str, rule: &PlannedRule) -> TargetError {
    TargetError::new(
        ErrorKind::Statement,
        format!("the application {what} a row of {} that the move wrote", rule.written.table),
    )
    .help("the mapping says `stop`: look at it, or choose another word under [conflicts]")
}

/// Marks rows as not all written, so that the next look at them writes them.
pub(super) async fn forget(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    back: &WantedBack,
) -> Result<(), TargetError> {
    let area = pack_area(&rule.rule.name);
    let mut from = i64::MIN;
    loop {
        let stored = session.stored(&area, from).await?;
        let Some(last) = stored.last() else { return Ok(()) };
        from = last.number + 1;
        let mut changed = Vec::new();
        for entry in &stored {
            let mut pack = Pack::read(entry)?;
            let mut is_changed = false;
            for entry in &mut pack.entries {
                if back.contains(&key_hash(&entry.new)) {
                    entry.hash = 0;
                    is_changed = true;
                }
            }
            if is_changed {
                changed.push(pack.store(&area));
            }
        }
        session.put(&changed).await?;
    }
}

async fn expected(
    session: &mut Session<'_>,
    rule: &str,
    share: u128,
    shares: u128,
    rows: usize,
) -> Result<ByHash<Expected>, TargetError> {
    let area = pack_area(rule);
    let mut all = ByHash::with_capacity_and_hasher(rows, BuildHasherDefault::default());
    let mut buffer = Vec::new();
    let mut from = i64::MIN;
    loop {
        let stored = session.stored(&area, from).await?;
        let Some(last) = stored.last() else { return Ok(all) };
        from = last.number + 1;
        for entry in &stored {
            each_entry(entry, |entry| {
                let hash = written_key_hash(entry.new, &mut buffer);
                if hash % shares == share {
                    all.insert(hash, Expected { hash: entry.hash, run: entry.run });
                }
            })?;
        }
    }
}

async fn compare(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
    expected: &mut ByHash<Expected>,
    share: u128,
    shares: u128,
) -> Result<ByHash<Finding>, TargetError> {
    let extract = Extract {
        table: rule.written.table.clone(),
        query: None,
        fields: rule.written.fields.clone(),
        order: Vec::new(),
        only: Vec::new(),
        batch_bytes: BATCH_BYTES,
    };
    let run = session.run;
    let (gate, table) = (session.gate.clone(), rule.written.table.to_string());
    let all = writer.report.rows;
    gate.pass().await?;
    let is_in_the_way = Capabilities::of(session.job.connector.dialect()).one_writer;
    let (batches, mut received) = mpsc::channel(4);
    let target = &mut session.target;
    let reading = async move {
        let read = target.read(&extract, &batches).await;
        drop(batches);
        read
    };
    let comparing = async move {
        let mut found = ByHash::default();
        let mut buffer = Vec::new();
        while let Some(batch) = received.recv().await {
            let batch = batch?;
            // Where readers are in writers' way, nobody is held up while the run is held.
            if is_in_the_way {
                gate.check()?
            } else {
                gate.pass().await?
            }
            gate.read(&table, batch.count() as u64, Some(all));
            let columns: Vec<_> =
                rule.written.key.iter().map(|place| batch.rows.column(*place).clone()).collect();
            let keys = KeyColumns::of(&columns)?;
            let hashes = batch.hashes(&rule.written.fields)?;
            for (row, there) in hashes.into_iter().enumerate() {
                let key = column_key_hash(&keys, row, &mut buffer);
                if key % shares != share {
                    continue;
                }
                // What nothing is expected for is the application's own.
                let Some(one) = expected.remove(&key) else { continue };
                if one.hash == there {
                    writer.report.verified += 1;
                } else {
                    found.insert(key, Finding::of(&one, run, false));
                }
            }
        }
        Ok::<_, TargetError>(found)
    };
    let (read, compared) = tokio::join!(reading, comparing);
    let found = compared?;
    read.map(|()| found)
}
