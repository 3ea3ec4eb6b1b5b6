//! One connection to a server, as we use it.
//!
//! Invariants: a call whose future is dropped, or that breaks, leaves no connection behind to be
//! used in an unknown state; no call of ours waits for ever; results of user statements are
//! thrown away as they come, never collected.

use std::task::Poll;
use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError};
use mysql_async::consts::StatusFlags;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row, Value};

use crate::failure::{During, lost, of_client};

/// How long a packet of our own may take, lock waits included (they are bounded below this by
/// the ledger session's lock timeouts): beyond it the server or the network is taken for dead.
pub(crate) const OURS_SECONDS_MAX: u64 = 60;

/// How long after its statement timeout a statement that was told to stop may take to answer.
const STOP_SECONDS_MAX: u64 = 30;

/// What one statement of a packet answered.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<Cells>,
    pub(crate) affected: u64,
    /// How many warnings a statement without rows gave.
    #[cfg(feature = "move")]
    pub(crate) warnings: u16,
}

/// One row of texts.
#[derive(Debug)]
pub(crate) struct Cells(Vec<Option<Vec<u8>>>);

impl Cells {
    fn of(row: Row) -> Self {
        let cells = row.unwrap_raw().into_iter().map(|value| match value {
            Some(Value::Bytes(bytes)) => Some(bytes),
            None | Some(Value::NULL) => None,
            // The text protocol sends bytes only; anything else is shown as it would be written.
            Some(other) => Some(other.as_sql(true).into_bytes()),
        });
        Self(cells.collect())
    }

    /// The bytes of a cell; `None` for NULL, and for a column that is not there.
    pub(crate) fn bytes(&self, column: usize) -> Option<&[u8]> {
        self.0.get(column)?.as_deref()
    }

    /// The text of a cell; empty for NULL.
    pub(crate) fn text(&self, column: usize) -> String {
        self.optional(column).unwrap_or_default()
    }

    /// The text of a cell.
    pub(crate) fn optional(&self, column: usize) -> Option<String> {
        self.bytes(column).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The number in a cell; `None` for NULL and for what is none.
    pub(crate) fn number<T: std::str::FromStr>(&self, column: usize) -> Option<T> {
        std::str::from_utf8(self.bytes(column)?).ok()?.parse().ok()
    }

    /// How many cells it has.
    pub(crate) fn width(&self) -> usize {
        self.0.len()
    }
}

/// One row with the names of its columns.
#[derive(Debug)]
pub(crate) struct Named(Vec<(String, Option<String>)>);

impl Named {
    /// The text in the column of that name.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let cell = self.0.iter().find(|(column, _)| column.eq_ignore_ascii_case(name));
        cell.and_then(|(_, text)| text.clone())
    }

    /// The number in the column of that name.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}

/// What a user's statement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effect {
    /// How many rows it touched; `None` where it returned rows instead.
    pub(crate) rows: Option<u64>,
    /// Whether the session is in a transaction after it.
    pub(crate) in_transaction: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// `None` once it broke. It is taken out for the time of each call, so that a call that is
    /// given up takes the connection with it.
    conn: Option<Conn>,
    /// The server's number for it.
    pub(crate) id: u64,
    /// The largest packet that the server takes; beyond it, it would drop the connection.
    pub(crate) packet_bytes_max: usize,
}

impl Session {
    pub(crate) fn new(conn: Conn) -> Self {
        Self { id: u64::from(conn.id()), conn: Some(conn), packet_bytes_max: usize::MAX }
    }

    /// Whether it broke.
    pub(crate) fn is_lost(&self) -> bool {
        self.conn.is_none()
    }

    /// Closes the connection without a word: the server rolls back what was open.
    pub(crate) fn abandon(&mut self) {
        self.conn = None;
    }

    /// The connection itself, for what takes rows as they come; [`Session::keep`] puts it back.
    pub(crate) fn take(&mut self) -> Result<Conn, TargetError> {
        self.conn.take().ok_or_else(|| lost("the connection to the server was lost"))
    }

    /// Sends statements of our own in one packet; the server stops at the first that fails.
    pub(crate) async fn run(&mut self, packet: &str) -> Result<Vec<Answer>, TargetError> {
        self.run_noting(packet, || ()).await
    }

    /// As [`Session::run`]; `sent` is called once the packet is on its way.
    pub(crate) async fn run_noting(
        &mut self,
        packet: &str,
        sent: impl FnOnce() + Send,
    ) -> Result<Vec<Answer>, TargetError> {
        self.require_fit(packet)?;
        let mut conn = self.take()?;
        let limit = Duration::from_secs(OURS_SECONDS_MAX);
        let answered = {
            let answering = tokio::time::timeout(limit, collected(&mut conn, packet));
            tokio::pin!(answering);
            // The first poll writes the packet as far as the socket takes it.
            let first = std::future::poll_fn(|context| {
                Poll::Ready(match answering.as_mut().poll(context) {
                    Poll::Ready(answered) => Some(answered),
                    Poll::Pending => None,
                })
            })
            .await;
            sent();
            match first {
                Some(answered) => answered,
                None => answering.await,
            }
        };
        match answered {
            Ok(result) => self.keep(conn, result, During::Ours),
            Err(_) => Err(lost(format!("the server did not answer for {OURS_SECONDS_MAX} s"))),
        }
    }

    /// Sends one query of our own whose columns differ between servers.
    pub(crate) async fn run_named(&mut self, query: &str) -> Result<Vec<Named>, TargetError> {
        self.named(query, During::Ours).await
    }

    /// Asks how the server would run a statement of the user's.
    pub(crate) async fn explain(
        &mut self,
        text: &str,
        index: usize,
    ) -> Result<Vec<Named>, TargetError> {
        self.named(&format!("EXPLAIN {text}"), During::Users(index)).await
    }

    async fn named(&mut self, query: &str, during: During) -> Result<Vec<Named>, TargetError> {
        self.require_fit(query)?;
        let mut conn = self.take()?;
        let limit = Duration::from_secs(OURS_SECONDS_MAX);
        match tokio::time::timeout(limit, named(&mut conn, query)).await {
            Ok(result) => self.keep(conn, result, during),
            Err(_) => Err(lost(format!("the server did not answer for {OURS_SECONDS_MAX} s"))),
        }
    }

    /// Sends statements that read or write the user's rows, however long they take: an error can be
    /// one of values.
    pub(crate) async fn run_rows(&mut self, packet: &str) -> Result<Vec<Answer>, TargetError> {
        self.require_fit(packet)?;
        let mut conn = self.take()?;
        let result = collected(&mut conn, packet).await;
        self.keep(conn, result, During::Rows)
    }

    /// Sends one query of the user's rows and gives each row as it comes.
    pub(crate) async fn each_row(
        &mut self,
        query: &str,
        take: impl FnMut(Cells),
    ) -> Result<(), TargetError> {
        self.require_fit(query)?;
        let mut conn = self.take()?;
        let result = each(&mut conn, query, take).await;
        self.keep(conn, result, During::Rows)
    }

    pub(crate) fn require_fit(&self, packet: &str) -> Result<(), TargetError> {
        // The packet has one byte more, for its command.
        if packet.len() < self.packet_bytes_max {
            return Ok(());
        }
        let message = format!(
            "a packet of {} bytes is more than the server takes (max_allowed_packet = {})",
            packet.len() + 1,
            self.packet_bytes_max
        );
        Err(TargetError::new(ErrorKind::Refused, message)
            .help("raise max_allowed_packet on the server, or split the statement or file"))
    }

    /// Sends one statement of the user's, byte by byte as it is. Once `limit` is over, `stop` is
    /// awaited, which must make the server end the statement.
    pub(crate) async fn execute(
        &mut self,
        text: &str,
        index: usize,
        limit: Option<Duration>,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<Effect, TargetError> {
        self.require_fit(text).map_err(|error| error.in_statement(index))?;
        let mut conn = self.take()?;
        let Some(limit) = limit else {
            let result = executed(&mut conn, text).await;
            return self.keep(conn, result, During::Users(index));
        };
        let mut timed_out = false;
        let result = {
            let statement = executed(&mut conn, text);
            tokio::pin!(statement);
            tokio::select! {
                result = &mut statement => Some(result),
                () = tokio::time::sleep(limit) => {
                    timed_out = true;
                    stop.await;
                    let grace = Duration::from_secs(STOP_SECONDS_MAX);
                    tokio::time::timeout(grace, statement).await.ok()
                }
            }
        };
        let Some(result) = result else {
            return Err(
                lost("the server did not answer after its statement timeout").in_statement(index)
            );
        };
        let effect = self.keep(conn, result, During::Users(index));
        effect.map_err(|error| if timed_out { stopped(error, limit) } else { error })
    }

    /// Puts all session settings back to the server's defaults, and ends whatever is open.
    pub(crate) async fn reset(&mut self) -> Result<(), TargetError> {
        let mut conn = self.take()?;
        let limit = Duration::from_secs(OURS_SECONDS_MAX);
        match tokio::time::timeout(limit, conn.reset()).await {
            Ok(Ok(true)) => {
                self.conn = Some(conn);
                Ok(())
            }
            Ok(Ok(false)) => {
                Err(TargetError::new(ErrorKind::Unsupported, "the server cannot reset a session"))
            }
            Ok(Err(error)) => self.keep(conn, Err(error), During::Ours),
            Err(_) => Err(lost(format!("the server did not answer for {OURS_SECONDS_MAX} s"))),
        }
    }

    /// Ends the transaction that failed, since the server may have rolled back one statement
    /// only (1205). Returns the failure, or `Lost` if the connection went meanwhile.
    pub(crate) async fn rolled_back(&mut self, failure: TargetError) -> TargetError {
        if self.is_lost() {
            return failure;
        }
        match self.run("ROLLBACK").await {
            Ok(_) => failure,
            Err(error) => {
                self.abandon();
                let failure = failure.note(format!("and ROLLBACK failed: {error}"));
                TargetError { kind: ErrorKind::Lost, ..failure }
            }
        }
    }

    /// Puts the connection back unless the failure means that it is gone.
    pub(crate) fn keep<T>(
        &mut self,
        conn: Conn,
        result: Result<T, mysql_async::Error>,
        during: During,
    ) -> Result<T, TargetError> {
        match result {
            Ok(value) => {
                self.conn = Some(conn);
                Ok(value)
            }
            Err(error) => {
                let fatal = error.is_fatal();
                let failure = of_client(error, during);
                if !fatal && failure.kind != ErrorKind::Lost {
                    self.conn = Some(conn);
                }
                Err(failure)
            }
        }
    }
}

/// 1317 is what KILL QUERY leaves behind: our own stop, so it is the timeout.
fn stopped(error: TargetError, limit: Duration) -> TargetError {
    if error.code.as_deref() != Some("1317") {
        return error;
    }
    let message =
        format!("the statement took longer than {} ms and was stopped", limit.as_millis());
    TargetError { kind: ErrorKind::StatementTimeout, message, ..error }
        .help("raise statement-timeout, or do the work in smaller steps")
}

async fn collected(conn: &mut Conn, packet: &str) -> Result<Vec<Answer>, mysql_async::Error> {
    let mut result = conn.query_iter(packet).await?;
    let mut answers = Vec::new();
    // `columns` is `None` once there are no more results; a statement without rows has none in it.
    while result.columns().is_some() {
        let affected = result.affected_rows();
        #[cfg(feature = "move")]
        let warnings = result.warnings();
        let rows = result.collect::<Row>().await?;
        answers.push(Answer {
            rows: rows.into_iter().map(Cells::of).collect(),
            affected,
            #[cfg(feature = "move")]
            warnings,
        });
    }
    // The client keeps the error of a second or later statement back until it is asked for more.
    result.drop_result().await?;
    Ok(answers)
}

async fn each(
    conn: &mut Conn,
    query: &str,
    mut take: impl FnMut(Cells),
) -> Result<(), mysql_async::Error> {
    let mut result = conn.query_iter(query).await?;
    while let Some(row) = result.next().await? {
        take(Cells::of(row));
    }
    result.drop_result().await
}

async fn named(conn: &mut Conn, query: &str) -> Result<Vec<Named>, mysql_async::Error> {
    let rows: Vec<Row> = conn.query(query).await?;
    let text = |value: Option<Value>| match value {
        Some(Value::Bytes(bytes)) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    };
    let named = rows.into_iter().map(|row| {
        let columns = row.columns();
        let names = columns.iter().map(|column| column.name_str().into_owned());
        Named(names.zip(row.unwrap_raw().into_iter().map(text)).collect())
    });
    Ok(named.collect())
}

async fn executed(conn: &mut Conn, text: &str) -> Result<Effect, mysql_async::Error> {
    let result = conn.query_iter(text).await?;
    let has_rows = !result.columns_ref().is_empty();
    result.drop_result().await?;
    let status = conn.last_ok_packet().map(|ok| ok.status_flags());
    let in_transaction =
        status.is_some_and(|status| status.contains(StatusFlags::SERVER_STATUS_IN_TRANS));
    Ok(Effect { rows: (!has_rows).then(|| conn.affected_rows()), in_transaction })
}
