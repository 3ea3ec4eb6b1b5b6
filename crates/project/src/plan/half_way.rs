//! A migration of which an earlier attempt kept some of its statements.

use std::path::Path;

use dunlin_model::{
    Checksums, Diagnostic, Dialect, Direction, MigrationId, Mode, Place, Statement, StepRecord,
    StepState,
};

use crate::sql::asks_of_previous;

/// How far an earlier attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HalfWay {
    /// So many leading statements are known to be done.
    pub(crate) resume_at: u32,
    /// A statement of the present pass is done, or may be.
    pub(crate) begun: bool,
}

impl HalfWay {
    /// How the rest is run: what was begun step by step goes on so, whatever the file says of it
    /// now, for a transaction of the whole file would hold what is already done.
    pub(crate) fn mode(self, mode: Mode) -> Mode {
        match mode {
            Mode::OneTransaction if self.begun => Mode::Stepwise,
            other => other,
        }
    }
}

/// One pass over a migration's statements in one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) id: MigrationId,
    pub(crate) direction: Direction,
    pub(crate) pass: u32,
    /// How it would run if nothing of it had run before.
    pub(crate) mode: Mode,
    pub(crate) statements: &'a [Statement],
    pub(crate) file: &'a Path,
}

impl Pass<'_> {
    /// What the journal knows of it.
    ///
    /// # Errors
    /// The file was edited above the place where the earlier attempt stopped.
    pub(crate) fn half_way(&self, steps: &[StepRecord]) -> Result<HalfWay, Diagnostic> {
        let mut kept: Vec<&StepRecord> = steps
            .iter()
            .filter(|step| (step.id, step.direction) == (self.id, self.direction))
            .filter(|step| step.pass == self.pass && step.state != StepState::Failed)
            .collect();
        kept.sort_by_key(|step| step.ordinal);
        let mut half_way = HalfWay { resume_at: 0, begun: !kept.is_empty() };
        for step in kept {
            let index = step.ordinal as usize;
            // A program's journal has one step and no statement to compare.
            if self.mode == Mode::Program && index == 0 && step.state == StepState::Open {
                continue;
            }
            // In chunks its statement runs over all rows, also where it is the same.
            let same = self.mode != Mode::Chunked
                && self
                    .statements
                    .get(index)
                    .is_some_and(|s| Checksums::of_bytes(s.text.as_bytes()) == step.checksum);
            if !same {
                return Err(self.edited(index));
            }
            if step.state == StepState::Done && step.ordinal == half_way.resume_at {
                half_way.resume_at += 1;
            }
        }
        Ok(half_way)
    }

    /// What cannot run statement by statement: those that ask something of the one before them, which
    /// is one of the journal's then.
    ///
    /// # Errors
    /// The first of them that is still to run.
    pub(crate) fn check_asks(&self, dialect: Dialect, half_way: HalfWay) -> Result<(), Diagnostic> {
        if half_way.mode(self.mode) != Mode::Stepwise {
            return Ok(());
        }
        let from = (half_way.resume_at as usize).max(1);
        let rest = self.statements.iter().skip(from);
        let Some((statement, what)) =
            rest.filter_map(|one| asks_of_previous(dialect, one).map(|what| (one, what))).next()
        else {
            return Ok(());
        };
        let message = format!(
            "{what} tells of the statement before it, and this file runs statement by statement, with \
             the journal in between"
        );
        let help = "get it by a query of its own (SELECT COUNT(*) …), or put the statements that \
                    belong together into a migration without definitions: that is one transaction";
        let place = Place::at(self.file, statement.line, statement.column);
        Err(Diagnostic::error("asks-of-previous", message).at(place).help(help))
    }

    fn edited(&self, index: usize) -> Diagnostic {
        let place = match self.statements.get(index) {
            Some(statement) => Place::at(self.file, statement.line, statement.column),
            None => Place::file(self.file),
        };
        let number = index + 1;
        let (what, help) = if self.mode == Mode::Chunked {
            (
                format!("its statement {number} was run over all rows, not in chunks"),
                "take `chunk-by` out again until it is done (`dunlin status` shows how far it got)",
            )
        } else {
            (
                format!("its statement {number} is not the one that was run"),
                "restore the statements that were already run (`dunlin status` shows how far it got); change only those after them",
            )
        };
        let message = format!("{} stopped half-way, and {what}", self.id);
        Diagnostic::error("edited-half-way", message).at(place).help(help)
    }
}
