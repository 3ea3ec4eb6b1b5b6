//! New rows: those behind the last pack, and what is known of that pack so that they can join it.

use std::ops::Range;

use arrow::array::Array;

use super::super::chunk::{Chunk, Rows};
use super::super::key::RowKey;
use super::super::pack::{Entry, GAP, PACK_ROWS, Pack, StoredPack, cut, packs_of};
use super::super::ports::Stored;
use super::super::row_hash::RowHash;
use super::super::session::Session;
use super::RuleWriter;
use crate::TargetError;

/// The last pack that was compared or made.
pub(super) struct Tail {
    pub(super) number: i64,
    pub(super) hi: RowKey,
    pub(super) rows: TailRows,
}

/// What is known of the rows of the last pack, so that new ones can join it.
pub(super) enum TailRows {
    /// They are as they were stored.
    Stored(StoredPack),
    /// They were changed.
    Changed(Pack),
    /// It is this run's own, and full enough.
    Made,
}
impl RuleWriter<'_> {
    /// A new row's hash. One that refers to rows that come later is not all written yet: its hash is
    /// that of what is, so that it can be told if the application changes it meanwhile.
    pub(super) fn begun_hash(&mut self, rows: &Rows, place: usize) -> RowHash {
        let waits =
            self.rule.deferred.iter().any(|field| rows.batch.column(*field).is_valid(place));
        let first = rows.first_hashes.as_ref().filter(|_| waits);
        self.unfinished += u64::from(first.is_some());
        first.map_or(rows.hashes[place], |hashes| hashes[place])
    }

    /// The last pack that was compared is done: no rows join it any more.
    pub(super) fn settle_tail(&mut self) {
        if let Some(tail) = self.tail.take() {
            self.index.push((tail.hi, tail.number));
        }
    }

    /// Rows after the last pack: all are new.
    pub(super) async fn append(
        &mut self,
        session: &mut Session<'_>,
        rows: &Rows,
        places: Range<usize>,
        chunk: &mut Chunk,
    ) -> Result<(), TargetError> {
        if places.is_empty() {
            return Ok(());
        }
        self.report.rows += places.len() as u64;
        for place in places.clone() {
            match rows.adopted(place) {
                Some(adopted) => chunk.updates.push((place as u32, adopted)),
                None => chunk.inserts.push(place as u32),
            }
        }
        let hashes: Option<Vec<RowHash>> = rows.first_hashes.is_some().then(|| {
            let (before, after) = (&rows.hashes[..places.start], &rows.hashes[places.end..]);
            let begun = places.clone().map(|place| match rows.adopted.as_ref() {
                Some(adopted) if adopted[place] => rows.hashes[place],
                _ => self.begun_hash(rows, place),
            });
            before.iter().copied().chain(begun).chain(after.iter().copied()).collect()
        });
        let hashes = hashes.as_deref().unwrap_or(&rows.hashes);
        // Its rows may still be under way, and come to other entries than were wanted.
        if self.tail.as_ref().is_some_and(|tail| matches!(tail.rows, TailRows::Changed(_))) {
            self.finish_tasks(session).await?;
        }
        let number = match self.tail.take() {
            Some(tail) => {
                let joined = match tail.rows {
                    TailRows::Stored(stored) if stored.count < PACK_ROWS => {
                        Some(stored.open(&self.area)?)
                    }
                    TailRows::Changed(pack) if pack.entries.len() < PACK_ROWS => Some(pack),
                    _ => None,
                };
                if let Some(mut pack) = joined {
                    pack.entries.extend(places.clone().map(|place| Entry {
                        old: rows.old.key(place),
                        new: rows.new.key(place),
                        hash: hashes[place],
                        run: session.run,
                    }));
                    let hi = rows.old.key(places.end - 1);
                    let packs = cut(pack.number, None, &hi, pack.entries);
                    let packs = packs.into_iter().map(|pack| (pack.hi.clone(), pack));
                    self.made(
                        packs.map(|(hi, pack)| (hi, pack.store(&self.area))).collect(),
                        chunk,
                    );
                    return Ok(());
                }
                self.index.push((tail.hi, tail.number));
                tail.number + GAP
            }
            None => self.index.last().map_or(0, |(_, number)| number + GAP),
        };
        let packs = packs_of(&rows.keyed(hashes), places, number, session.run, &self.area);
        self.made(packs, chunk);
        Ok(())
    }

    /// Packs of new rows.
    fn made(&mut self, packs: Vec<(RowKey, Stored)>, chunk: &mut Chunk) {
        for (hi, stored) in packs {
            self.settle_tail();
            self.tail = Some(Tail { number: stored.number, hi, rows: TailRows::Made });
            chunk.put(stored);
        }
    }
}
