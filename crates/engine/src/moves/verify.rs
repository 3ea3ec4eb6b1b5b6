//! Proof: what stands in the target, row by row, is what this run found that there should be.
//!
//! The first half was done while loading: each row that the source gives has, in its pack, the hash
//! of what it becomes. Here every row of the target is read and compared with that.

use std::collections::HashSet;

use dunlin_model::Capabilities;
use dunlin_model::moves::{Changed, Deleted};
use tokio::sync::mpsc;

use super::ahead::Ahead;
use super::columns::QUEUE;
use super::key::RowKey;
use super::key_set::key_hash;
use super::pack::{ADOPTED, Pack, each_entry};
use super::plan::{MovePlan, PlannedRule};
use super::ports::{Extract, Stored};
use super::report::{Note, NoteKind};
use super::session::Session;
use super::spread::Spread;
use super::suspects::{Findings, Suspects};
use super::update::theirs;
use super::writer::{RuleWriter, pack_area};
use crate::{ErrorKind, TargetError};

/// Rows that are compared at once: their hashes, as they should be and as they are, take 32 bytes each.
/// Larger tables are compared in shares, and read once for each.
pub(super) const SHARE_ROWS: u64 = 2_000_000;

/// Bytes of rows in one batch.
const BATCH_BYTES: usize = 1 << 20;

/// What is told of a row that this run wrote and that is another.
pub(super) const NOT_AS_WRITTEN: &str = "it is not what was written";

/// Rows that the application changed or deleted, and that the mapping wants back: by the hash of
/// their key in the target.
pub(super) type WantedBack = HashSet<u128>;

/// Compares one rule's rows.
///
/// A row's hash is over all of its columns, the key's among them: where the target has a row of that
/// hash, the row is there, and is as it should be. Rows whose hash nothing has are looked for by their
/// keys then, to tell whether they are missing or others.
pub(super) async fn verify(
    plan: &MovePlan,
    number: usize,
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
) -> Result<WantedBack, TargetError> {
    let rule = &plan.rules[number];
    let mut back = WantedBack::new();
    let told = writer.notes.len();
    let shares = writer.report.rows.div_ceil(SHARE_ROWS).max(1);
    for number in 0..shares {
        let share = Share { number, of: shares, rows: writer.report.rows };
        let (wanted, there) = share.both(rule, session).await?;
        let (proved, unproved) = wanted.without(there);
        writer.report.verified += proved as u64;
        if unproved.is_empty() {
            continue;
        }
        let suspects = Suspects::of(rule, session, &unproved).await?;
        drop(unproved);
        let (found, proved) = suspects.look(rule, session).await?;
        writer.report.verified += proved;
        judge(rule, session, writer, &found, &mut back).await?;
        // By the next run nobody would know that it was not the application.
        let ours = found.iter().filter(|(_, finding)| finding.is_ours);
        let ours: WantedBack = ours.map(|(key, _)| *key).collect();
        if !ours.is_empty() {
            forget(rule, session, &ours).await?;
        }
    }
    tell_once(&mut writer.notes, told);
    Ok(back)
}

/// Rows that are compared at once.
pub(super) struct Share {
    pub(super) number: u64,
    pub(super) of: u64,
    /// Of all shares.
    pub(super) rows: u64,
}

impl Share {
    fn has(&self, hash: u128) -> bool {
        (hash >> 64) as u64 % self.of == self.number
    }

    fn spread(&self) -> Spread {
        Spread::with_room(usize::try_from(self.rows / self.of).unwrap_or_default())
    }

    /// The hashes of the rows that there should be, and of those that there are: read side by side
    /// where there is a lane, none of which has anything to write by now.
    async fn both(
        &self,
        rule: &PlannedRule,
        session: &mut Session<'_>,
    ) -> Result<(Spread, Spread), TargetError> {
        let Some(mut lanes) = session.lanes.take() else {
            let wanted = self.wanted(rule, session, |_| true).await?;
            return Ok((wanted, self.there(rule, session).await?));
        };
        let mut lane = lanes.lend().await?;
        let both = tokio::join!(self.wanted(rule, &mut lane, |_| true), self.there(rule, session));
        lanes.give_back(lane);
        session.lanes = Some(lanes);
        Ok((both.0?, both.1?))
    }

    /// The hashes of the rows that there should be, of those that some runs wrote.
    pub(super) async fn wanted(
        &self,
        rule: &PlannedRule,
        session: &mut Session<'_>,
        is_of: impl Fn(u32) -> bool,
    ) -> Result<Spread, TargetError> {
        let mut wanted = self.spread();
        each_stored(session, &pack_area(&rule.rule.name), |stored| {
            each_entry(stored, |entry| {
                if self.has(entry.hash) && is_of(entry.run) {
                    wanted.push(entry.hash);
                }
            })
        })
        .await?;
        Ok(wanted)
    }

    /// The hashes of the rows that there are.
    pub(super) async fn there(
        &self,
        rule: &PlannedRule,
        session: &mut Session<'_>,
    ) -> Result<Spread, TargetError> {
        let mut there = self.spread();
        let fields = rule.written.fields.clone();
        let extract = table_of(rule);
        let (gate, table) = (session.gate.clone(), rule.written.table.to_string());
        gate.pass().await?;
        let is_in_the_way = Capabilities::of(session.job.connector.dialect()).one_writer;
        let (batches, received) = mpsc::channel(QUEUE);
        let target = &mut session.target;
        let reading = async move {
            let read = target.read(&extract, &batches).await;
            drop(batches);
            read
        };
        let taking = async move {
            let mut ahead = Ahead::new(received, move |read| read.hashes(&fields));
            while let Some(hashes) = ahead.next().await? {
                // Where readers are in writers' way, nobody is held up while the run is held.
                if is_in_the_way {
                    gate.check()?
                } else {
                    gate.pass().await?
                }
                gate.read(&table, hashes.len() as u64, Some(self.rows));
                // What nothing is expected for is the application's own.
                // A row that can't be read whole has no hash.
                let known = hashes.into_iter().filter(|hash| *hash != 0 && self.has(*hash));
                known.for_each(|hash| there.push(hash));
            }
            Ok::<_, TargetError>(there)
        };
        let (read, there) = tokio::join!(reading, taking);
        let there = there?;
        read.map(|()| there)
    }
}

/// All rows of a rule's table, the columns that are written.
pub(super) fn table_of(rule: &PlannedRule) -> Extract {
    Extract {
        table: rule.written.table.clone(),
        query: None,
        fields: rule.written.fields.clone(),
        order: Vec::new(),
        only: Vec::new(),
        batch_bytes: BATCH_BYTES,
    }
}

/// Reads an area of the store, entry by entry.
pub(super) async fn each_stored(
    session: &mut Session<'_>,
    area: &str,
    mut each: impl FnMut(&Stored) -> Result<(), TargetError>,
) -> Result<(), TargetError> {
    let mut from = i64::MIN;
    loop {
        let stored = session.stored(area, from).await?;
        let Some(last) = stored.last() else { return Ok(()) };
        from = last.number + 1;
        stored.iter().try_for_each(&mut each)?;
    }
}

/// Tells of the rows that are not as they should be, in the order of their old keys.
async fn judge(
    rule: &PlannedRule,
    session: &mut Session<'_>,
    writer: &mut RuleWriter<'_>,
    found: &Findings,
    back: &mut WantedBack,
) -> Result<(), TargetError> {
    if found.is_empty() {
        return Ok(());
    }
    let conflicts = writer.conflicts;
    let kept = writer.notes.iter().filter(|note| note.kind == NoteKind::Kept);
    let kept: HashSet<RowKey> = kept.map(|note| note.old.clone()).collect();
    each_stored(session, &pack_area(&rule.rule.name), |stored| {
        for entry in Pack::read(stored)?.entries {
            let key = key_hash(&entry.new);
            let Some(finding) = found.get(&key) else { continue };
            // Kept from before an edit of the mapping, since its old row is gone or can't be read: it was
            // written with other columns, over which it can't be compared any more. One that was there
            // before the move is told of, unless it has been as kept.
            let is_told = entry.run == ADOPTED && !kept.contains(&entry.old);
            let is_kept = !finding.is_ours && !is_told && !writer.shapes.is_current(entry.run);
            if is_kept && !finding.is_missing {
                continue;
            }
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
        Ok(())
    })
    .await
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
