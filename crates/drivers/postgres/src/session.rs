//! One open connection and what is known about it: whether a pooler stands in between, whether a
//! file left settings behind, and whether an earlier call was cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Direction, MigrationId, Statement};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow, SimpleQueryStream};

use crate::dial::{Link, SharedEndpoint, connect};
use crate::error::sent_error;
use crate::fence::own_schema_off_the_path;
use crate::rows::{Answer, answers, boolean, number, single};

/// How long the ledger's own statements may take, lock waits (20 s at most) included. A server
/// that stays silent for longer is taken for lost: a lease must be claimed again before it expires.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(30);

/// How long a COMMIT may take: it may wait for a standby or a slow disk. Beyond it the outcome is
/// looked up over another connection.
const COMMIT_MAX: Duration = Duration::from_secs(120);

/// What connections call themselves where nothing more is known.
pub(crate) const APPLICATION_NAME: &str = "dunlin";

/// An expression: whether a login's search path may lead to our schema, by its name or by `"$user"`.
pub(crate) const PATH_HAZARD: &str = "(pg_catalog.strpos(pg_catalog.current_setting('search_path'), 'dunlin') > 0 OR \
     CURRENT_USER = 'dunlin' AND \
     pg_catalog.strpos(pg_catalog.current_setting('search_path'), '$user') > 0)";

/// The migration whose steps a session has begun to run outside transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepSession {
    /// Whose.
    pub(crate) id: MigrationId,
    /// Up or down.
    pub(crate) direction: Direction,
    /// Statements before this one have had their say about the session's settings.
    pub(crate) next: usize,
}

/// One open connection.
pub(crate) struct Session {
    link: Link,
    /// Where it leads, for the second connections that some calls need.
    pub(crate) endpoint: SharedEndpoint,
    /// `None` until it is known.
    pooled: Option<bool>,
    /// Whether [`PATH_HAZARD`] holds; `None` until it is known.
    path_hazard: Option<bool>,
    /// Set while a call is under way; still set at the next call if that one was cut off.
    under_way: bool,
    /// A file may have left settings, temporary tables or a role behind.
    pub(crate) dirty: bool,
    /// The file whose steps run in this session.
    pub(crate) steps: Option<StepSession>,
    /// The server process that is at work for us; 0: unknown. Shared with the stopper.
    pub(crate) backend: Arc<AtomicI32>,
}

impl Session {
    /// Connects.
    pub(crate) async fn open(endpoint: SharedEndpoint) -> Result<Self, TargetError> {
        let name = endpoint.application_name.as_deref().unwrap_or(APPLICATION_NAME);
        let link = connect(&endpoint, name).await?;
        Ok(Self {
            link,
            endpoint,
            pooled: None,
            path_hazard: None,
            under_way: false,
            dirty: false,
            steps: None,
            backend: Arc::new(AtomicI32::new(0)),
        })
    }

    /// Marks the beginning of a call. A call that was dropped half-way may have left a transaction
    /// open, so the connection cannot be used any more.
    pub(crate) fn enter(&mut self) -> Result<(), TargetError> {
        if self.under_way {
            self.link.driver.abort();
            return Err(TargetError::new(
                ErrorKind::Lost,
                "an earlier call on this connection was cut off, so the connection was closed",
            ));
        }
        self.under_way = true;
        Ok(())
    }

    /// Marks the end of a call.
    pub(crate) fn leave(&mut self) {
        self.under_way = false;
    }

    /// Sends one message and waits for its answers, a statement each.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Vec<Answer>, TargetError> {
        self.ask_within(sql, ROUND_TRIP_MAX).await
    }

    async fn ask_within(&self, sql: &str, limit: Duration) -> Result<Vec<Answer>, TargetError> {
        self.within(limit, self.link.client.simple_query(sql)).await.map(answers)
    }

    /// Sends one message with one query in it, and gives each of its rows as it comes.
    pub(crate) async fn each_row(
        &self,
        sql: &str,
        mut take: impl FnMut(SimpleQueryRow),
    ) -> Result<(), TargetError> {
        use futures_util::StreamExt;
        let asked = async {
            let mut stream = std::pin::pin!(self.link.client.simple_query_raw(sql).await?);
            while let Some(message) = stream.next().await {
                if let SimpleQueryMessage::Row(row) = message? {
                    take(row);
                }
            }
            Ok(())
        };
        self.within(ROUND_TRIP_MAX, asked).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, TargetError> {
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(sent_error(&error)),
            Err(_) => {
                self.link.driver.abort();
                Err(TargetError::new(
                    ErrorKind::Lost,
                    format!("the server did not answer within {} s", limit.as_secs()),
                )
                .help("Dunlin connects again and looks up in the ledger what was committed"))
            }
        }
    }

    /// Sends one message and does not wait. What is sent in this way is executed in order.
    pub(crate) async fn send(&self, sql: &str) -> Result<SimpleQueryStream, TargetError> {
        self.link.client.simple_query_raw(sql).await.map_err(|error| sent_error(&error))
    }

    /// Sends one statement and waits for it as long as it takes.
    pub(crate) async fn run(&self, sql: &str) -> Result<u64, TargetError> {
        finish(self.send(sql).await?).await
    }

    /// Closes the socket when it is aborted.
    pub(crate) fn socket(&self) -> tokio::task::AbortHandle {
        self.link.driver.abort_handle()
    }

    /// The client itself, for COPY.
    pub(crate) fn client(&self) -> &tokio_postgres::Client {
        &self.link.client
    }

    /// Sends COMMIT. An error of the server's own means that it rolled back.
    pub(crate) async fn commit(&self) -> Result<(), TargetError> {
        self.commit_with("").await.map(|_| ())
    }

    /// Sends statements (each with its semicolon) and COMMIT as one message.
    pub(crate) async fn commit_with(&self, sql: &str) -> Result<Vec<Answer>, TargetError> {
        use futures_util::TryStreamExt;
        let sent = self.send(&format!("{sql}COMMIT")).await?;
        let answered = async {
            let messages = sent.try_collect().await.map_err(|error| sent_error(&error))?;
            Ok(answers(messages))
        };
        // The failpoint stands for a death after the message left and before the answer came.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        dunlin_engine::failpoint("commit.sent");
        match tokio::time::timeout(COMMIT_MAX, answered).await {
            Ok(result) => result,
            Err(_) => {
                self.link.driver.abort();
                Err(TargetError::new(
                    ErrorKind::Lost,
                    format!("COMMIT was not answered within {} s", COMMIT_MAX.as_secs()),
                )
                .help("its outcome is looked up in the ledger"))
            }
        }
    }

    /// Rolls back after a failure. If even that fails the connection is closed, which makes the
    /// server roll back.
    pub(crate) async fn rollback(&self) {
        if self.ask("ROLLBACK").await.is_err() {
            self.link.driver.abort();
        }
        self.forget_backend();
    }

    /// Between transactions only a direct connection still has its server process.
    pub(crate) fn forget_backend(&self) {
        let direct = self.pooled == Some(false);
        let pid = self.link.announced_pid.filter(|_| direct).unwrap_or(0);
        self.backend.store(pid, Ordering::Relaxed);
    }

    /// Whether a pooler stands between us and the server.
    pub(crate) async fn is_pooled(&mut self) -> Result<bool, TargetError> {
        if let Some(pooled) = self.pooled {
            return Ok(pooled);
        }
        let sql = format!("SELECT pg_catalog.pg_backend_pid(), {PATH_HAZARD}");
        let answers = self.ask(&sql).await?;
        let row = single(&answers, 0)?;
        Ok(self.learn_backend(number(row, 0)?, boolean(row, 1)?))
    }

    /// A SELECT of the number of the backend, which takes our schema off the search path where it
    /// may be on it.
    pub(crate) fn backend_sql(&self, local: bool) -> String {
        let pid = "SELECT pg_catalog.pg_backend_pid()";
        if self.our_schema_may_be_on_the_path() {
            format!("{pid}, {}", own_schema_off_the_path(local))
        } else {
            pid.to_owned()
        }
    }

    /// Whether our schema may be where unqualified names of a file are looked for.
    pub(crate) fn our_schema_may_be_on_the_path(&self) -> bool {
        self.path_hazard != Some(false)
    }

    /// Compares the process that serves us with the one that the handshake announced.
    pub(crate) fn learn_backend(&mut self, pid: i32, path_hazard: bool) -> bool {
        self.path_hazard = Some(path_hazard);
        let pooled = self.link.announced_pid != Some(pid);
        self.pooled = Some(pooled);
        if !pooled {
            self.backend.store(pid, Ordering::Relaxed);
        }
        pooled
    }

    /// Makes the session as new, so that no file sees what another one set. Behind a pooler
    /// nothing is left behind: transactions reset what they set before they commit.
    pub(crate) async fn clean(&mut self) -> Result<(), TargetError> {
        self.steps = None;
        if self.dirty {
            if !self.is_pooled().await? {
                self.ask("DISCARD ALL").await?;
            }
            self.dirty = false;
        }
        Ok(())
    }

    /// Another connection to the same place, for looking at this one from outside.
    pub(crate) async fn second(&self) -> Result<Self, TargetError> {
        Self::open(Arc::clone(&self.endpoint)).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.under_way {
            // A call was cut off: the socket is closed at once, so that the server rolls back
            // rather than finishing in the background.
            self.link.driver.abort();
        }
    }
}

/// Waits for all answers to a message that was sent, and keeps only the last count.
pub(crate) async fn finish(stream: SimpleQueryStream) -> Result<u64, TargetError> {
    use futures_util::StreamExt;
    let mut stream = std::pin::pin!(stream);
    let mut count = 0;
    while let Some(message) = stream.next().await {
        if let tokio_postgres::SimpleQueryMessage::CommandComplete(rows) =
            message.map_err(|error| sent_error(&error))?
        {
            count = rows;
        }
    }
    Ok(count)
}

/// Whether a statement may leave something behind in its session: a setting, a role, a temporary
/// table, a prepared statement, a session lock. Functions and blocks can do all of that.
pub(crate) fn leaves_traces(statement: &Statement) -> bool {
    const VERBS: [&str; 16] = [
        "SET",
        "RESET",
        "DISCARD",
        "SELECT",
        "WITH",
        "VALUES",
        "DO",
        "CALL",
        "EXECUTE",
        "PREPARE",
        "DEALLOCATE",
        "DECLARE",
        "LISTEN",
        "LOAD",
        "CREATE TEMP",
        "CREATE TEMPORARY",
    ];
    let verb = statement.facts.verb.as_str();
    statement.facts.changes_session
        || VERBS.iter().any(|known| {
            verb.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
        || has_words(&statement.text, &["TEMP", "TABLE"])
        || has_words(&statement.text, &["TEMPORARY", "TABLE"])
        || statement.text.to_ascii_lowercase().contains("set_config")
}

/// Whether words follow each other in a text, in any case. It may err on the side of yes.
pub(crate) fn has_words(text: &str, words: &[&str]) -> bool {
    let all: Vec<&str> = text.split_whitespace().collect();
    all.windows(words.len())
        .any(|window| window.iter().zip(words).all(|(a, b)| a.eq_ignore_ascii_case(b)))
}
