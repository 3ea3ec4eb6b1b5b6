//! Numbered values in the store, written anew: those that stand there already are left alone.

use std::collections::VecDeque;

use super::ports::Stored;
use super::session::Session;
use crate::TargetError;

/// Values that are put at once.
const VALUES_AT_ONCE: usize = 32;

/// The values of one area, from the first on.
pub(super) struct Values {
    area: String,
    /// The number of the next.
    number: i64,
    /// What stands in the store from that number on, as far as it was read.
    stored: VecDeque<Stored>,
    changed: Vec<Stored>,
}

impl Values {
    pub(super) fn new(area: &str) -> Self {
        Self { area: area.to_owned(), number: 0, stored: VecDeque::new(), changed: Vec::new() }
    }

    /// The next value. Within a transaction it is part of that; else of one of its own, with others.
    pub(super) async fn push(
        &mut self,
        session: &mut Session<'_>,
        value: Vec<u8>,
    ) -> Result<(), TargetError> {
        let entry = Stored { area: self.area.clone(), number: self.number, value: Some(value) };
        self.read(session).await?;
        self.number += 1;
        let stood = self.stored.front().is_some_and(|stored| stored.number == entry.number);
        let stood = stood.then(|| self.stored.pop_front()).flatten();
        if stood.as_ref() != Some(&entry) {
            self.changed.push(entry);
        }
        if self.changed.len() < VALUES_AT_ONCE { Ok(()) } else { self.put(session).await }
    }

    /// Has what stands in the store from the next number on.
    async fn read(&mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        if self.stored.is_empty() {
            self.stored = session.stored(&self.area, self.number).await?.into();
        }
        Ok(())
    }

    async fn put(&mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        session.put(&std::mem::take(&mut self.changed)).await
    }

    /// There are no more: what stands in the store beyond is of an earlier run.
    pub(super) async fn end(mut self, session: &mut Session<'_>) -> Result<(), TargetError> {
        loop {
            self.read(session).await?;
            if self.stored.is_empty() {
                return self.put(session).await;
            }
            for stored in std::mem::take(&mut self.stored) {
                self.number = stored.number + 1;
                self.changed.push(Stored { value: None, ..stored });
            }
            self.put(session).await?;
        }
    }
}
