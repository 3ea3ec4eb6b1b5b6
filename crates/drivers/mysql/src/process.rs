//! Other connections of the server: seen and ended.

use dunlin_engine::TargetError;

use crate::session::Session;

/// A connection as `PROCESSLIST` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: u64,
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) command: String,
    /// For how many seconds it has been doing that.
    pub(crate) seconds: i64,
    pub(crate) state: String,
    pub(crate) statement: Option<String>,
}

/// The columns of a [`Process`], in its order.
pub(crate) const COLUMNS: &str = "p.id, p.user, p.host, p.command, p.time, p.state, p.info";

/// Reads a row of [`COLUMNS`].
pub(crate) fn process(row: &crate::session::Cells) -> Process {
    Process {
        id: row.number(0).unwrap_or_default(),
        user: row.text(1),
        host: row.text(2),
        command: row.text(3),
        seconds: row.number(4).unwrap_or_default(),
        state: row.text(5),
        statement: row.optional(6),
    }
}

/// The connection of that number, if it is there. Those of our own user are always visible.
pub(crate) async fn find(session: &mut Session, id: u64) -> Result<Option<Process>, TargetError> {
    let query = format!("SELECT {COLUMNS} FROM information_schema.processlist p WHERE p.id = {id}");
    let answers = session.run(&query).await?;
    Ok(answers.first().and_then(|answer| answer.rows.first()).map(process))
}

/// Ends a connection: the server rolls back what it has open. One that is gone is no error.
pub(crate) async fn kill(session: &mut Session, id: u64) -> Result<(), TargetError> {
    match session.run(&format!("KILL CONNECTION {id}")).await {
        Ok(_) => Ok(()),
        Err(error) if error.code.as_deref() == Some("1094") => Ok(()),
        Err(error) => Err(error),
    }
}
