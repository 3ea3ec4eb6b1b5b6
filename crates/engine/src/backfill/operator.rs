//! Who works a lane's program: starts it, gives it rows, and starts it again where it died.

use std::path::PathBuf;
use std::sync::Arc;

use dunlin_model::{KeyRange, Row, RowCode};
use tokio::task::JoinSet;

use super::program::{Answers, ProgramError, ProgramErrorKind, RowProgram};
use super::shared::Shared;
use crate::{ErrorKind, TargetError};

/// How often a program that died is started again for one chunk before a row is held to be at fault.
const DEATHS_MAX: u32 = 3;

/// One lane's program, and what is needed to start another.
pub(super) struct Operator {
    code: RowCode,
    variables: Vec<(String, String)>,
    program: Option<RowProgram>,
    /// It has answered a chunk: if it dies later, a row may be at fault.
    has_answered: bool,
}

impl Operator {
    pub(super) fn new(code: RowCode, variables: Vec<(String, String)>) -> Self {
        Self { code, variables, program: None, has_answered: false }
    }

    /// Ends the program.
    pub(super) async fn end(&mut self) {
        if let Some(program) = self.program.take() {
            program.end().await;
        }
    }

    /// Sends rows through the program, which is started if it isn't there.
    pub(super) async fn transform(
        &mut self,
        shared: &Shared,
        rows: &[Row],
    ) -> Result<Answers, TargetError> {
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

/// What the program makes of a range's rows, while the lane does something else.
pub(super) struct Errand {
    /// Which rows it has.
    pub(super) range: KeyRange,
    /// A set of one: dropped, it ends its task, and the program with it.
    task: JoinSet<(Operator, Result<Answers, TargetError>)>,
}

impl Errand {
    /// Sends the operator off with rows.
    pub(super) fn begin(
        mut operator: Operator,
        shared: &Arc<Shared>,
        range: KeyRange,
        rows: Vec<Row>,
    ) -> Self {
        let shared = Arc::clone(shared);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let answers = operator.transform(&shared, &rows).await;
            (operator, answers)
        });
        Self { range, task }
    }

    /// Waits until the operator is back. May be dropped at any time, and asked for again. `None`:
    /// it does not come back.
    pub(super) async fn ended(&mut self) -> Option<(Operator, Result<Answers, TargetError>)> {
        self.task.join_next().await?.ok()
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

fn failed(error: &ProgramError) -> TargetError {
    let kind = match error.kind {
        // Nothing failed: the lane looks at what it is told before it tries again.
        ProgramErrorKind::Interrupted => ErrorKind::Conflict,
        _ => ErrorKind::Statement,
    };
    TargetError::new(kind, error.to_string())
}
