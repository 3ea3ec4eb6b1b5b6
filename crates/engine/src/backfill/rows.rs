//! Row code: a chunk's rows go to a program, and what it makes of them is written with the checkpoint.
//!
//! Optimistic by default: rows are read unlocked, the program thinks, and only rows that are still as
//! they were read are written. Others are read and sent again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use dunlin_model::{Key, KeyRange, OnError, Row, RowCode};

use super::doer::Done;
use super::program::{Answers, ProgramError, ProgramErrorKind, RowProgram};
use super::shared::{News, Shared};
use crate::{Chunk, ErrorKind, RowsOutcome, Target, TargetError};

/// How often rows that change under the program are read again before the chunk is made smaller.
const MISSES_MAX: u32 = 10;

/// Up to so many missed rows are read one by one; more are read with their whole range.
const READ_SINGLY_MAX: usize = 50;

/// How often a program that died is started again for one chunk before a row is held to be at fault.
const DEATHS_MAX: u32 = 3;

/// One lane's program.
pub(crate) struct Rows {
    code: RowCode,
    variables: Vec<(String, String)>,
    program: Option<RowProgram>,
    /// It has answered a chunk: if it dies later, a row may be at fault.
    has_answered: bool,
}

impl Rows {
    pub(crate) fn new(code: RowCode, variables: Vec<(String, String)>) -> Self {
        Self { code, variables, program: None, has_answered: false }
    }

    pub(crate) async fn end(&mut self) {
        if let Some(program) = self.program.take() {
            program.end().await;
        }
    }

    /// Does a chunk.
    pub(crate) async fn commit(
        &mut self,
        shared: &Shared,
        target: &mut dyn Target,
        chunk: &Chunk,
    ) -> Result<Done, TargetError> {
        let rows = if self.code.lock {
            target.lock_rows(&shared.lease, &shared.work, chunk).await?
        } else {
            target.read_rows(&shared.work, &chunk.range).await?
        };
        let mut answers = self.transform(shared, &rows).await?;
        let mut misses = 0;
        loop {
            self.judge(shared, &answers)?;
            let outcome = target
                .commit_rows(
                    &shared.lease,
                    &shared.work,
                    chunk,
                    &answers.changes,
                    &answers.rejected,
                )
                .await?;
            let missed = match outcome {
                RowsOutcome::Committed(committed) => {
                    return Ok(self.done(shared, committed, &answers));
                }
                RowsOutcome::Missed(keys) => keys,
            };
            misses += 1;
            if misses > MISSES_MAX {
                return Err(TargetError::new(
                    ErrorKind::Conflict,
                    "rows change faster than the program can handle them",
                )
                .help("set `lock = true` under [rows], or fewer chunk-rows"));
            }
            let again = read_again(target, shared, chunk, &missed).await?;
            let missed: BTreeSet<&Key> = missed.iter().collect();
            answers.changes.retain(|change| !missed.contains(&change.key));
            answers.rejected.retain(|(key, _)| !missed.contains(key));
            let more = self.transform(shared, &again).await?;
            answers.changes.extend(more.changes);
            answers.rejected.extend(more.rejected);
            answers.bytes += more.bytes;
        }
    }

    fn done(&self, shared: &Shared, committed: crate::Committed, answers: &Answers) -> Done {
        let count = answers.rejected.len() as u64;
        if let Some((_, reason)) = answers.rejected.first() {
            shared.quarantined.fetch_add(count, Ordering::Relaxed);
            shared.tell(News::SetAside { error: rejection(reason), count });
        }
        let committed = crate::Committed { bytes: Some(answers.bytes), ..committed };
        Done { committed, written: Some(answers.changes.len() as u64) }
    }

    /// Rejected rows are set aside where the file says so, and end the run elsewhere.
    fn judge(&self, shared: &Shared, answers: &Answers) -> Result<(), TargetError> {
        let Some((_, reason)) = answers.rejected.first() else { return Ok(()) };
        let room =
            shared.quarantine_max().saturating_sub(shared.quarantined.load(Ordering::Relaxed));
        if shared.on_error == OnError::Quarantine && answers.rejected.len() as u64 <= room {
            return Ok(());
        }
        // Chunks are halved until the row stands alone, so that its key can be told.
        Err(rejection(reason))
    }

    /// Sends rows through the program, which is started if it isn't there.
    async fn transform(&mut self, shared: &Shared, rows: &[Row]) -> Result<Answers, TargetError> {
        let mut deaths = 0;
        loop {
            if rows.is_empty() {
                return Ok(Answers::default());
            }
            let program = match self.program.as_mut() {
                Some(program) => program,
                None => {
                    let started = start(&self.code, &self.variables, shared)
                        .await
                        .map_err(|error| failed(&error))?;
                    self.program.insert(started)
                }
            };
            match program.transform(rows).await {
                Ok(answers) => {
                    self.has_answered = true;
                    return Ok(answers);
                }
                Err(error) => {
                    self.end().await;
                    deaths += 1;
                    if error.kind != ProgramErrorKind::Died {
                        return Err(failed(&error));
                    }
                    if deaths >= DEATHS_MAX {
                        // It may be one of the rows that kills it: the chunk is halved to find out.
                        // One that never answered anything is at fault itself.
                        return Err(TargetError { by_row: self.has_answered, ..failed(&error) });
                    }
                }
            }
        }
    }
}

async fn start(
    code: &RowCode,
    variables: &[(String, String)],
    shared: &Shared,
) -> Result<RowProgram, ProgramError> {
    let files = &shared.job.folder.files;
    let root: PathBuf =
        files.get(&shared.work.id).map(|file| file.root.clone()).unwrap_or_default();
    let variables: Vec<(&str, String)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    RowProgram::start(&shared.job, &shared.work, code, &root, &variables).await
}

fn rejection(reason: &str) -> TargetError {
    let error =
        TargetError::new(ErrorKind::Statement, format!("the program rejected it: {reason}"));
    TargetError { by_row: true, ..error }
}

fn failed(error: &ProgramError) -> TargetError {
    let kind = match error.kind {
        // Nothing failed: the lane looks at what it is told before it tries again.
        ProgramErrorKind::Interrupted => ErrorKind::Conflict,
        _ => ErrorKind::Statement,
    };
    TargetError::new(kind, error.to_string())
}

/// Reads rows that changed under the program once more.
async fn read_again(
    target: &mut dyn Target,
    shared: &Shared,
    chunk: &Chunk,
    missed: &[Key],
) -> Result<Vec<Row>, TargetError> {
    if missed.len() > READ_SINGLY_MAX {
        let missed: BTreeSet<&Key> = missed.iter().collect();
        let rows = target.read_rows(&shared.work, &chunk.range).await?;
        return Ok(rows.into_iter().filter(|row| missed.contains(&row.key)).collect());
    }
    let mut rows: Vec<Row> = Vec::new();
    for key in missed {
        rows.extend(target.read_rows(&shared.work, &KeyRange::Exactly(key.clone())).await?);
    }
    Ok(rows)
}
