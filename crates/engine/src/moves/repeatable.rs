//! Queries whose rows would not be the same each time that a run reads them.

use dunlin_model::{Diagnostic, Dialect, Place};
use dunlin_project::sql::user_variable;

use super::run::MoveJob;
use crate::report::EngineError;

/// A query with a variable gives other rows each time that it is asked, and a run asks several times.
pub(super) fn repeatable(move_job: &MoveJob) -> Result<(), EngineError> {
    if move_job.source.dialect() != Some(Dialect::Mysql) {
        return Ok(());
    }
    let mapping = &move_job.mapping;
    let found = mapping.sources.iter().filter_map(|spec| {
        let query = spec.query.as_ref()?;
        let variable = user_variable(&query.value)?;
        let message = format!(
            "the query of {} uses `{variable}`: its rows would not be the same each time that they are \
             read",
            spec.name
        );
        let place = Place::line(mapping.file.clone(), query.line);
        Some(Diagnostic::error("variable", message).at(place).help(
            "write the value itself; ROW_NUMBER() OVER (ORDER BY …) numbers rows in an order that holds",
        ))
    });
    let found: Vec<Diagnostic> = found.collect();
    if found.is_empty() { Ok(()) } else { Err(EngineError::Refused(found)) }
}
