//! The header of a migration: `-- dunlin: word value`, one a line, before the first statement.

use std::path::Path;

use dunlin_model::{Diagnostic, Directives};

/// What a header belongs to: some words make sense only for some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A schema migration's up file.
    SchemaUp,
    /// A schema migration's down file.
    SchemaDown,
    /// A data migration in SQL.
    DataSql,
    /// A data migration that is a program.
    Program,
}

/// Reads the header of a SQL file: comments before the first statement.
///
/// # Errors
/// Every unknown or malformed directive, with file, line and a suggestion.
pub fn of_sql(_file: &Path, _text: &str, _subject: Subject) -> Result<Directives, Vec<Diagnostic>> {
    Ok(Directives::default())
}
