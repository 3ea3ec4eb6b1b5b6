//! Whose errors are: the header's, or the file's; and `done-when` of a migration that is one
//! transaction: its last statement fails where it does not hold, so that nothing of what was done
//! remains and nothing is recorded as done.

use dunlin_model::{Body, Chunking, Dialect, Directives, Facts, Migration, Statement};

use crate::{ErrorKind, TargetError};

/// The statement that fails unless a query's only value is true.
pub(crate) fn statement(dialect: Dialect, query: &str) -> Statement {
    // Each server fails in its own way when a value is computed that there can't be; CASE and IF
    // compute only the branch that they take.
    let text = match dialect {
        Dialect::Postgres => {
            format!("SELECT 1 / CASE WHEN (\n{query}\n) THEN 1 ELSE 0 END AS done_when")
        }
        Dialect::Mysql => {
            format!("SELECT IF((\n{query}\n), 1, (SELECT 1 UNION SELECT 2)) AS done_when")
        }
        Dialect::Sqlite => format!(
            "SELECT CASE WHEN (\n{query}\n) THEN 1 ELSE abs(-9223372036854775807 - 1) END AS done_when"
        ),
    };
    Statement { text, line: 1, column: 1, copy_data: None, facts: Facts::opaque("SELECT") }
}

/// Whether an error is that statement's own, and not the query's.
pub(crate) fn is_refusal(dialect: Dialect, error: &TargetError, index: usize) -> bool {
    let code = error.code.as_deref().unwrap_or_default();
    let own = match dialect {
        Dialect::Postgres => code == "22012",
        Dialect::Mysql => code == "1242",
        Dialect::Sqlite => error.message.contains("integer overflow"),
    };
    own && error.statement == Some(index)
}

/// An error of one of a file's statements, with its place; where nothing else shows it.
pub(crate) fn of_file(migration: &Migration, error: TargetError) -> TargetError {
    let Body::Sql(script) = &migration.body else { return error };
    let statement = error.statement.and_then(|index| script.statements.get(index));
    let Some(statement) = statement else { return error };
    let (line, column) = statement.position(error.offset.unwrap_or(0));
    let message = format!("{}:{line}:{column}: {}", script.file.display(), error.message);
    TargetError { message, ..error }
}

/// An error of `done-when`: no statement of the file is to blame for it.
pub(crate) fn of_proof(directives: &Directives, error: TargetError) -> TargetError {
    of_header("done-when", directives.done_when_line, error)
}

/// An error of a question with `chunk-where` in it.
pub(crate) fn of_filter(chunking: &Chunking, error: TargetError) -> TargetError {
    if chunking.filter.is_none() || error.kind != ErrorKind::Statement {
        return error;
    }
    of_header("chunk-where", chunking.filter_line, error)
}

fn of_header(directive: &str, line: Option<usize>, error: TargetError) -> TargetError {
    let its_own = matches!(
        error.kind,
        ErrorKind::Statement
            | ErrorKind::StatementTimeout
            | ErrorKind::Permission
            | ErrorKind::Refused
    );
    if !its_own {
        return error;
    }
    let place = line.map_or_else(String::new, |line| format!(" on line {line}"));
    let message = format!("`{directive}`{place}: {}", error.message);
    TargetError { message, statement: None, offset: None, ..error }
}
