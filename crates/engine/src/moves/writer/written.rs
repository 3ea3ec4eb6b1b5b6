//! What came of chunks that were written.

use super::super::chunk::{Outcome, Postponed};
use super::super::exchange::EXCHANGE_ROWS_MAX;
use super::super::knot::KNOT_ROWS_MAX;
use super::super::session::Session;
use super::append::{Tail, TailRows};
use super::{KEPT_OUT_BYTES, RuleWriter};
use crate::{ErrorKind, TargetError};

impl RuleWriter<'_> {
    /// Waits until lanes have committed all that they were given of this rule.
    pub(super) async fn finish_tasks(
        &mut self,
        session: &mut Session<'_>,
    ) -> Result<(), TargetError> {
        while let Some(done) = self.tasks.join_next().await {
            self.joined(session, done).await?;
        }
        Ok(())
    }

    pub(super) async fn joined(
        &mut self,
        session: &mut Session<'_>,
        done: Result<Option<Outcome>, tokio::task::JoinError>,
    ) -> Result<(), TargetError> {
        match (done, &mut session.lanes) {
            (Ok(Some(outcome)), _) => {
                self.written(outcome);
                Ok(())
            }
            (Ok(None), Some(lanes)) => Err(lanes.failure().await),
            (Ok(None), None) => Err(TargetError::new(ErrorKind::Bug, "no lane is left")),
            (Err(error), _) => {
                Err(TargetError::new(ErrorKind::Bug, format!("a chunk was not written: {error}")))
            }
        }
    }

    pub(in crate::moves) fn written(&mut self, mut outcome: Outcome) {
        self.report.inserted += outcome.inserted;
        self.report.updated += outcome.updated;
        self.report.unchanged += outcome.unchanged;
        self.postponed.append(&mut outcome.postponed);
        self.notes.append(&mut outcome.notes);
        let room = EXCHANGE_ROWS_MAX.saturating_sub(self.refused.len());
        self.refused.extend(outcome.refused.drain(..).take(room));
        self.keep_out(std::mem::take(&mut outcome.kept_out));
        if let Some(Tail { rows: TailRows::Changed(pack), .. }) = &mut self.tail {
            outcome.correct_entries(&mut pack.entries);
        }
    }

    fn keep_out(&mut self, rows: Vec<Postponed>) {
        let bytes = |one: &Postponed| one.row.get_array_memory_size();
        let mut room: usize = KEPT_OUT_BYTES.saturating_sub(self.kept_out.iter().map(bytes).sum());
        for one in rows {
            match room.checked_sub(bytes(&one)) {
                Some(left) if self.kept_out.len() < KNOT_ROWS_MAX => room = left,
                _ => return,
            }
            self.kept_out.push(one);
        }
    }
}
