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

/// So many rows are given alone to a program that never answered one: if it dies of each of them, it
/// is at fault itself, and no row.
const ALONE_MAX: usize = 3;

/// One lane's program, and what is needed to start another.
pub(super) struct Operator {
    code: RowCode,
    variables: Vec<(String, String)>,
    program: Option<RowProgram>,
    /// It has answered a row: if it dies later, a row may be at fault.
    has_answered: bool,
    /// Rows that it died of alone, before it answered any.
    blamed: usize,
}

impl Operator {
    pub(super) fn new(code: RowCode, variables: Vec<(String, String)>) -> Self {
        Self { code, variables, program: None, has_answered: false, blamed: 0 }
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
        if rows.is_empty() {
            return Ok(Answers::default());
        }
        let mut deaths = 0;
        loop {
            match self.once(shared, rows).await {
                Ok(answers) => {
                    self.has_answered = true;
                    return Ok(answers);
                }
                Err(error) if error.kind == ProgramErrorKind::Died => {
                    deaths += 1;
                    if deaths >= DEATHS_MAX {
                        return Err(self.blame(shared, rows, &error).await);
                    }
                }
                Err(error) => return Err(failed(&error)),
            }
        }
    }

    /// Sends rows through the program once. After an error it is gone.
    async fn once(&mut self, shared: &Shared, rows: &[Row]) -> Result<Answers, ProgramError> {
        let program = match self.program.as_mut() {
            Some(program) => program,
            None => self.program.insert(start(&self.code, &self.variables, shared).await?),
        };
        let answers = program.transform(rows).await;
        if answers.is_err() {
            self.end().await;
        }
        answers
    }

    /// Says whose fault it is that the program keeps dying of a chunk. If it may be a row's, the chunk
    /// is halved to find out which.
    async fn blame(&mut self, shared: &Shared, rows: &[Row], died: &ProgramError) -> TargetError {
        let by_row = match self.has_answered {
            true => Ok(true),
            false => self.lives_without(shared, rows).await,
        };
        match by_row {
            Ok(true) => TargetError { by_row: true, ..failed(died) },
            Ok(false) => {
                let error = failed(died).note(
                    "it has not answered a single row, also where it got one alone: it is the program \
                     that fails, and not a row",
                );
                match &died.last_words {
                    Some(words) => error.note(format!("its standard error ends with: {words}")),
                    None => error,
                }
            }
            Err(error) => failed(&error),
        }
    }

    /// Whether a program that has answered nothing yet can answer at all. Some of the rows that it died
    /// of are given to it alone, and what it makes of them is dropped; where there are only one or two,
    /// it must at least live through a chunk of none.
    async fn lives_without(&mut self, shared: &Shared, rows: &[Row]) -> Result<bool, ProgramError> {
        let alone: &[usize] = match rows.len() {
            // It has just died of that.
            0 | 1 => &[],
            2 => &[0, 1],
            count => &[0, count / 2, count - 1],
        };
        for &place in alone {
            match self.once(shared, &rows[place..=place]).await {
                Ok(_) => {
                    self.has_answered = true;
                    return Ok(true);
                }
                Err(error) if error.kind == ProgramErrorKind::Died => {}
                Err(error) => return Err(error),
            }
        }
        if rows.len() == 1 {
            self.blamed += 1;
        }
        if alone.len() >= ALONE_MAX || self.blamed > ALONE_MAX {
            return Ok(false);
        }
        match self.once(shared, &[]).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ProgramErrorKind::Died => Ok(false),
            Err(error) => Err(error),
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
