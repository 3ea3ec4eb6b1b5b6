use crate::job::Job;
use dunlin_model::*;
use std::path::Path;
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) changes: Vec<RowChange>,
    pub(crate) rejected: Vec<(Key, String)>,
    pub(crate) bytes: u64,
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub(crate) struct ProgramError;
impl ProgramError {
    pub(crate) fn died(&self) -> bool {
        true
    }
}
pub(crate) struct RowProgram;
impl RowProgram {
    pub(crate) async fn start(
        _: &Job,
        _: &Backfill,
        _: &RowCode,
        _: &Path,
        _: &[(&str, String)],
    ) -> Result<Self, ProgramError> {
        Err(ProgramError)
    }
    pub(crate) async fn transform(&mut self, _: &[Row]) -> Result<Answers, ProgramError> {
        Err(ProgramError)
    }
    pub(crate) async fn end(self) {}
}
