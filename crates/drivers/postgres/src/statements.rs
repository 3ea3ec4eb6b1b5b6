//! Sends a file's statements exactly as they are, all behind each other, and tells which failed.

use std::pin::pin;

use bytes::Bytes;
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::Statement;
use futures_util::SinkExt;
use tokio_postgres::{CopyInSink, SimpleQueryStream};

use crate::error::sent_error;
use crate::session::{Session, finish};

/// COPY data goes out in pieces of this size, so that a large file is not copied once more.
const COPY_PIECE_BYTES: usize = 64 * 1024;

/// Statements that were sent and whose answers are still to be read.
pub(crate) struct Pipeline<'a> {
    session: &'a Session,
    waiting: Vec<(usize, SimpleQueryStream)>,
    counts: Vec<Option<u64>>,
}

impl<'a> Pipeline<'a> {
    /// With nothing sent yet.
    pub(crate) fn new(session: &'a Session) -> Self {
        Self { session, waiting: Vec::new(), counts: Vec::new() }
    }

    /// Sends statements, numbered from where the last ones ended. Inside a transaction a failure
    /// makes the server refuse all that was sent behind it, so nothing is lost by not waiting.
    pub(crate) async fn send(&mut self, statements: &[Statement]) -> Result<(), TargetError> {
        for statement in statements {
            let index = self.counts.len();
            self.counts.push(None);
            if let Some(data) = &statement.copy_data {
                self.settle(statements).await?;
                let count = copy_in(self.session, &statement.text, data)
                    .await
                    .map_err(|error| error.in_statement(index))?;
                self.counts[index] = Some(count);
            } else {
                self.waiting.push((index, self.session.send(&statement.text).await?));
            }
        }
        Ok(())
    }

    /// Waits for everything that was sent. How many rows each statement touched.
    pub(crate) async fn finish(
        mut self,
        statements: &[Statement],
    ) -> Result<Vec<Option<u64>>, TargetError> {
        self.settle(statements).await?;
        Ok(self.counts)
    }

    async fn settle(&mut self, statements: &[Statement]) -> Result<(), TargetError> {
        for (index, stream) in std::mem::take(&mut self.waiting) {
            let count = finish(stream).await.map_err(|error| error.in_statement(index))?;
            self.counts[index] = statements.get(index).and_then(|s| touched(s, count));
        }
        Ok(())
    }
}

/// Sends one statement and waits for it.
pub(crate) async fn run_alone(
    session: &Session,
    statement: &Statement,
    index: usize,
) -> Result<Option<u64>, TargetError> {
    let result = match &statement.copy_data {
        Some(data) => copy_in(session, &statement.text, data).await.map(Some),
        None => match session.send(&statement.text).await {
            Ok(stream) => {
                dunlin_engine::failpoint("step.sent");
                finish(stream).await.map(|count| touched(statement, count))
            }
            Err(error) => Err(error),
        },
    };
    result.map_err(|error| error.in_statement(index))
}

/// The server counts rows for SELECT too, and 0 for what touches no rows at all.
pub(crate) fn touched(statement: &Statement, count: u64) -> Option<u64> {
    let verb = statement.facts.verb.split(' ').next().unwrap_or_default();
    match verb {
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY" | "WITH" => Some(count),
        "SELECT" | "TABLE" | "VALUES" | "SHOW" | "EXPLAIN" | "FETCH" => None,
        _ => (count > 0).then_some(count),
    }
}

async fn copy_in(session: &Session, text: &str, data: &str) -> Result<u64, TargetError> {
    let sink: CopyInSink<Bytes> =
        session.client().copy_in(text).await.map_err(|error| sent_error(&error))?;
    let mut sink = pin!(sink);
    let data = Bytes::copy_from_slice(data.as_bytes());
    let mut at = 0;
    while at < data.len() {
        let end = data.len().min(at + COPY_PIECE_BYTES);
        // A closed sink means that the server refused a row: `finish` says which.
        if sink.send(data.slice(at..end)).await.is_err() {
            break;
        }
        at = end;
    }
    sink.finish().await.map_err(|error| sent_error(&error))
}

/// Refuses what cannot be sent over this connection, before anything runs.
pub(crate) fn check(statements: &[Statement], pooled: bool) -> Result<(), TargetError> {
    for (index, statement) in statements.iter().enumerate() {
        check_one(statement, pooled).map_err(|error| error.in_statement(index))?;
    }
    Ok(())
}

fn check_one(statement: &Statement, pooled: bool) -> Result<(), TargetError> {
    let refused = |message: &str| TargetError::new(ErrorKind::Refused, message);
    if statement.facts.control.is_some() {
        return Err(refused("a statement inside a migration may not begin or end a transaction")
            .help("leave BEGIN, COMMIT, ROLLBACK and SAVEPOINT out of the file"));
    }
    if statement.copy_data.is_some() {
        if pooled {
            return Err(refused("COPY … FROM stdin does not work through a pooler")
                .help("set `direct_url` to an address of the server itself"));
        }
    } else if is_client_copy(&statement.text) {
        return Err(refused(
            "this COPY reads from or writes to the client, which has nothing there",
        )
        .help(
            "end the data of COPY … FROM stdin with a line `\\.`; COPY … TO stdout has no \
                   place in a migration",
        ));
    }
    Ok(())
}

/// COPY that speaks to the client: it would leave the connection waiting for data.
fn is_client_copy(text: &str) -> bool {
    let mut words = text.split_whitespace().map(str::to_ascii_lowercase);
    words.next().is_some_and(|first| first == "copy")
        && words.any(|word| matches!(word.trim_end_matches([';', '(']), "stdin" | "stdout"))
}

#[cfg(test)]
mod tests {
    use dunlin_model::Facts;

    use super::*;

    fn statement(verb: &str, text: &str) -> Statement {
        let facts = Facts::opaque(verb);
        Statement { text: text.into(), line: 1, column: 1, copy_data: None, facts }
    }

    #[test]
    fn rows_are_counted_where_they_are_touched() {
        assert_eq!(touched(&statement("UPDATE", ""), 0), Some(0));
        assert_eq!(touched(&statement("CREATE TABLE", ""), 0), None);
        assert_eq!(touched(&statement("CREATE TABLE", ""), 3), Some(3));
        assert_eq!(touched(&statement("SELECT", ""), 3), None);
    }

    #[test]
    fn copy_with_the_client_is_refused() {
        assert!(check(&[statement("COPY", "COPY t TO STDOUT")], false).is_err());
        assert!(check(&[statement("COPY", "copy t from\n stdin;")], false).is_err());
        assert!(check(&[statement("COPY", "COPY t FROM '/tmp/x'")], false).is_ok());
        assert!(check(&[statement("INSERT", "INSERT INTO t VALUES ('stdin')")], false).is_ok());
    }
}
