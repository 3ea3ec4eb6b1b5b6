//! Rows that are found before the walk: where few match, the server is asked for them once, by
//! whatever plan it has for that, and chunks are made of their keys.
//!
//! What it rests on: a walk looks at each row once, some time after the barrier, and so does the
//! search. What it finds is looked at again by the chunk; what it does not find would not have been
//! taken at that time. The search is a reading of the whole rest of the table at the server's full
//! speed, so it is done only where chunks would have all of their time. Its outcome is kept in memory
//! alone: a run that takes over searches, or walks, what is left of each segment.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use dunlin_model::{Bound, Key, KeyRange, Segment, Wish};

use super::board::Stretch;
use super::pace::Pace;
use super::prepare::{Prepared, SMALL_TABLE_ROWS};
use crate::job::{Job, Urgency};
use crate::{Purpose, Remedy, Search, Target, TargetError};

/// At most so many rows: a few megabytes of keys, and seconds' worth of chunks, so that what was found
/// does not grow old.
const FOUND_MAX: u64 = 20_000;

/// So many keys make a chunk at most: a server plans a list of them in a few milliseconds.
const LIST_MAX: usize = 1_000;

/// How long a search may take: a reading of some gigabytes. Tables that take longer are walked, and
/// then this was lost once.
const SEARCH_MAX: Duration = Duration::from_secs(15);

/// After so many claims in a row without a commit, what kills workers is looked for by walking.
const CALM_CLAIMS: u32 = 2;

/// What is left to be done of a segment: the keys of its rows, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    keys: VecDeque<Key>,
    /// So many of them are in the chunk under way.
    under_way: usize,
}

impl Found {
    fn new(keys: Vec<Key>) -> Self {
        Self { keys: keys.into(), under_way: 0 }
    }

    /// A chunk of about so many rows behind the one under way. The last one goes to the segment's
    /// end, and there is one also where no row was found. `None`: the one under way is the last.
    pub(crate) fn next_chunk(&self, want: u64, hi: &Bound) -> Option<Stretch> {
        if self.under_way > 0 && self.under_way == self.keys.len() {
            return None;
        }
        let want = usize::try_from(want).unwrap_or(LIST_MAX).clamp(1, LIST_MAX);
        let keys: Vec<Key> = self.keys.iter().skip(self.under_way).take(want).cloned().collect();
        let is_last = self.under_way + keys.len() == self.keys.len();
        let to = match keys.last() {
            Some(last) if !is_last => Bound::Key(last.clone()),
            _ => hi.clone(),
        };
        Some(Stretch { to, rows: keys.len() as u64, range: KeyRange::Keys(keys) })
    }

    /// A chunk is under way.
    pub(crate) fn begin(&mut self, range: &KeyRange) {
        self.under_way = if let KeyRange::Keys(keys) = range { keys.len() } else { 0 };
    }

    /// A chunk was committed, or its rows were set aside.
    pub(crate) fn done(&mut self, range: &KeyRange) {
        if let KeyRange::Keys(keys) = range {
            self.keys.drain(..keys.len().min(self.keys.len()));
        }
        self.under_way = 0;
    }

    /// It was rolled back.
    pub(crate) fn again(&mut self) {
        self.under_way = 0;
    }

    /// Rows that are left.
    pub(crate) fn len(&self) -> u64 {
        self.keys.len() as u64
    }

    /// The key that ends the near half. `None`: there are too few to be cut.
    pub(crate) fn middle(&self) -> Option<Key> {
        self.keys.get((self.keys.len() / 2).checked_sub(1)?).cloned()
    }

    /// Takes away what is behind a key. `None`: that key was not found, so nobody here can tell.
    pub(crate) fn cut_behind(&mut self, key: &Key) -> Option<Self> {
        let at = self.keys.iter().position(|one| one == key)?;
        Some(Self { keys: self.keys.split_off(at + 1), under_way: 0 })
    }
}

/// The rows of each open segment, and the connection that found them, which a lane may have.
pub(crate) type Finding = (BTreeMap<i64, Found>, Box<dyn Target>);

/// Searches, if that is likely to be better than walking. `None`: it is not.
pub(crate) async fn search(
    job: &Job,
    prepared: &Prepared,
    pace: &Pace,
) -> Result<Option<Finding>, TargetError> {
    let Prepared { work, record, segments, table_rows, .. } = prepared;
    let open: Vec<&Segment> = segments.iter().filter(|one| !one.is_done()).collect();
    let stretches: Vec<(Bound, Key)> = open
        .iter()
        .filter_map(|one| match &one.hi {
            Bound::Key(hi) => Some((one.upto.clone(), hi.clone())),
            Bound::Start | Bound::Nulls => None,
        })
        .collect();
    if work.finder.is_none()
        || stretches.is_empty()
        || record.intent.wish != Wish::Run
        || record.intent.rate.or(pace.rate()).is_some_and(|rate| rate > 0)
        || table_rows.is_some_and(|rows| rows < SMALL_TABLE_ROWS)
        || open.iter().any(|one| one.attempts > CALM_CLAIMS)
    {
        return Ok(None);
    }
    let searching = async {
        let mut target = job.connector.connect(Purpose::Lane).await?;
        if !pace.takes_full_time() {
            let health = target.health(work).await?;
            if !Pace::is_alone(&health) {
                return Ok(None);
            }
        }
        let search = Search { count_max: FOUND_MAX, list_max: LIST_MAX, time_max: SEARCH_MAX };
        let found = target.find(work, &stretches, search).await?;
        Ok::<_, TargetError>(found.map(|found| (found, target)))
    };
    let searched = tokio::select! {
        searched = searching => searched,
        // The walk sees it as well, and ends in good order.
        () = job.interrupt.reached(Urgency::Finish) => return Ok(None),
    };
    let (found, target) = match searched {
        Ok(Some(searched)) => searched,
        Ok(None) => return Ok(None),
        // No connection is left, say: the walk makes do with what there is.
        Err(error) if error.kind.remedy() != Remedy::ReportBug => return Ok(None),
        Err(error) => return Err(error),
    };
    let numbers = open.iter().filter(|one| one.hi != Bound::Nulls).map(|one| one.seg);
    Ok(Some((numbers.zip(found.into_iter().map(Found::new)).collect(), target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key(vec![number.to_string()])
    }

    fn found(count: usize) -> Found {
        Found::new((1..=count).map(key).collect())
    }

    fn keys(stretch: &Stretch) -> Vec<Key> {
        let KeyRange::Keys(keys) = &stretch.range else { panic!("{stretch:?}") };
        keys.clone()
    }

    #[test]
    fn chunks_end_at_their_last_key_and_the_last_one_at_the_end() {
        let hi = Bound::Key(key(100));
        let mut found = found(5);
        let first = found.next_chunk(2, &hi).unwrap();
        assert_eq!((&first.to, first.rows), (&Bound::Key(key(2)), 2));
        found.begin(&first.range);
        let second = found.next_chunk(9, &hi).unwrap();
        assert_eq!(keys(&second), [key(3), key(4), key(5)]);
        assert_eq!(second.to, hi);
        // Rolled back: the same again, as small as is wanted.
        found.again();
        let again = found.next_chunk(1, &hi).unwrap();
        assert_eq!(keys(&again), [key(1)]);
        found.begin(&again.range);
        found.done(&again.range);
        assert_eq!(found.len(), 4);
        // Set aside after it was rolled back: it is done all the same.
        let aside = found.next_chunk(1, &hi).unwrap();
        found.begin(&aside.range);
        found.again();
        found.done(&aside.range);
        let rest = found.next_chunk(50, &hi).unwrap();
        assert_eq!(keys(&rest), [key(3), key(4), key(5)]);
        found.begin(&rest.range);
        assert_eq!(found.next_chunk(50, &hi), None);
    }

    #[test]
    fn a_segment_without_rows_takes_one_chunk_to_its_end() {
        let hi = Bound::Key(key(100));
        let stretch = found(0).next_chunk(10, &hi).unwrap();
        assert_eq!((stretch.to, stretch.rows), (hi, 0));
    }

    #[test]
    fn a_list_is_no_longer_than_a_server_plans_in_no_time() {
        let stretch = found(3_000).next_chunk(2_000_000, &Bound::Key(key(3_000))).unwrap();
        assert_eq!(stretch.rows, LIST_MAX as u64);
    }

    #[test]
    fn half_of_it_is_given_away() {
        let mut near = found(5);
        let middle = near.middle().unwrap();
        assert_eq!(near.cut_behind(&key(7)).map(|far| far.len()), None);
        let far = near.cut_behind(&middle).unwrap();
        assert_eq!((middle, near.len(), far.len()), (key(2), 2, 3));
        assert_eq!(found(1).middle(), None);
    }
}
