//! Marks along a segment's keys: walking ahead, and taking marks for a chunk.

use dunlin_model::{Backfill, Bound, Capabilities, Key, KeyRange};

use super::board::{Seat, Stretch};
use super::shared::Shared;
use crate::{ErrorKind, Mark, Target, TargetError};

/// Marks in one walk, and how many of them make a chunk: three chunks ahead.
const MARKS: u32 = 24;
const MARKS_PER_CHUNK: u64 = 8;

/// From so many rows between marks on they are taken from a sample of the table: chunks become that
/// large where a filter takes few of their rows, and then counting keys would cost as much again as
/// looking for those rows.
const SAMPLED_FROM: u64 = 25_000;

/// At most so many marks are taken from one sample: it has some ten rows for each then.
const SAMPLED_MAX: u64 = 2_000;

/// Rows between marks for chunks of that size.
pub(super) fn spacing(want: u64) -> u64 {
    (want / MARKS_PER_CHUNK).max(1)
}

/// Walks ahead of a segment once.
pub(super) async fn walk(
    target: &mut dyn Target,
    shared: &Shared,
    seat: &mut Seat,
    spacing: u64,
) -> Result<(), TargetError> {
    let Bound::Key(hi) = &seat.segment.hi else { return Ok(()) };
    let samples_pages = Capabilities::of(shared.job.connector.dialect()).samples_pages;
    if spacing >= SAMPLED_FROM && samples_pages {
        let marks = sample(target, &shared.work, &seat.walked, hi, spacing).await?;
        if !marks.is_empty() {
            seat.walked = Bound::Key(hi.clone());
            seat.ahead.extend(marks);
            return Ok(());
        }
    }
    let marks = target.walk(&shared.work, &seat.walked, hi, spacing, MARKS).await?;
    let Some(last) = marks.last() else {
        return Err(TargetError::new(
            ErrorKind::Bug,
            "a walk that marked nothing, not even its end",
        ));
    };
    seat.walked = Bound::Key(last.key.clone());
    seat.ahead.extend(marks);
    Ok(())
}

/// Marks up to the end about so many rows apart, where the server can tell from statistics and a
/// sample; none where it can't. That they are no exact count does no harm: chunks are sized by the
/// time that they take.
async fn sample(
    target: &mut dyn Target,
    work: &Backfill,
    after: &Bound,
    hi: &Key,
    spacing: u64,
) -> Result<Vec<Mark>, TargetError> {
    // Rows that don't matter are walked over as well.
    let all = Backfill { filter: None, ..work.clone() };
    let Some(rows) = target.estimate(&all, after, hi).await? else { return Ok(Vec::new()) };
    let parts = rows / spacing;
    if !(2..=SAMPLED_MAX).contains(&parts) {
        return Ok(Vec::new());
    }
    let cuts = target.split(work, after, hi, u32::try_from(parts).unwrap_or(1)).await?;
    // So few that it knows little of this stretch.
    if (cuts.len() as u64) < parts / 2 {
        return Ok(Vec::new());
    }
    // Never one row, which would be held to be the row that failed.
    let rows = (rows / (cuts.len() as u64 + 1)).max(2);
    Ok(cuts.into_iter().chain([hi.clone()]).map(|key| Mark { key, rows }).collect())
}

/// Takes marks for a chunk of about that many rows that begins there.
pub(super) fn next_chunk(seat: &mut Seat, after: &Bound, want: u64) -> Option<Stretch> {
    if seat.segment.hi == Bound::Nulls {
        return Some(Stretch { to: Bound::Nulls, range: KeyRange::Nulls, rows: 1 });
    }
    if let Some(found) = &seat.found {
        return found.next_chunk(want, &seat.segment.hi);
    }
    let mut taken: Option<Key> = None;
    let mut rows = 0;
    while let Some(mark) = seat.ahead.front() {
        if taken.is_some() && rows + mark.rows > want {
            break;
        }
        rows += mark.rows;
        taken = seat.ahead.pop_front().map(|mark| mark.key);
    }
    let key = taken?;
    let range = KeyRange::Between { after: after.clone(), upto: key.clone() };
    Some(Stretch { to: Bound::Key(key), range, rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_model::Segment;
    use std::collections::VecDeque;

    fn key(number: u64) -> Key {
        Key(vec![number.to_string()])
    }

    fn seat(marks: &[u64], hi: u64) -> Seat {
        let mut before = 0;
        let ahead: VecDeque<Mark> = marks
            .iter()
            .map(|at| {
                let mark = Mark { key: key(*at), rows: at - before };
                before = *at;
                mark
            })
            .collect();
        let segment = Segment {
            seg: 1,
            lo: Bound::Start,
            upto: Bound::Start,
            hi: Bound::Key(key(hi)),
            rows: 0,
            attempts: 0,
        };
        Seat { walked: Bound::Key(key(before)), segment, next: None, ahead, found: None }
    }

    #[test]
    fn chunks_take_marks_up_to_their_size_and_at_least_one() {
        let mut one = seat(&[10, 20, 30, 40], 40);
        let stretch = next_chunk(&mut one, &Bound::Start, 25).unwrap();
        assert_eq!((&stretch.to, stretch.rows), (&Bound::Key(key(20)), 20));
        let range = KeyRange::Between { after: Bound::Start, upto: key(20) };
        assert_eq!(stretch.range, range);
        assert_eq!(next_chunk(&mut one, &stretch.to, 1).unwrap().rows, 10);
        assert_eq!(next_chunk(&mut one, &stretch.to, 100).unwrap().rows, 10);
        assert!(next_chunk(&mut one, &stretch.to, 100).is_none());
        assert!(one.walked_all());
    }
}
