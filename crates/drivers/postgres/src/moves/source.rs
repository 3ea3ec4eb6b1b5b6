//! [`Source`]: one transaction, one snapshot, which others can take up.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use dunlin_engine::moves::{Batches, ColumnOf, Extract, Source, Spelling};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Catalogue, Field, Numbering, TableName};
use tokio_postgres::SimpleQueryMessage;

use super::value_types::{Types, types_sql};
use super::{FORMS, catalogue, extract, spelling};
use crate::error::sent_error;
use crate::quote;
use crate::rows::{bug, number, required, single};
use crate::session::{APPLICATION_NAME, Session};

/// How long reading waits for a table that somebody has locked as a whole (ALTER TABLE). A source
/// stays open for as long as the run lasts, so it must not queue up in front of an application.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout TO '10s'";

/// A snapshot is held for as long as the run lasts, idle or not. The settings are set where the
/// server has them: `transaction_timeout` came with PostgreSQL 17.
const NO_LIMITS: &str = "SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings \
     WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout', \
     'statement_timeout')";

/// A cancellation may come after what it was meant for, and hit what comes next; once.
const BACK_TRIES: usize = 3;

/// One reader of a snapshot.
pub(super) struct PostgresSource {
    session: Session,
    /// What the snapshot is called, once it was asked for.
    snapshot: Option<String>,
}

impl PostgresSource {
    /// Begins the transaction, under a snapshot of its own or somebody else's.
    pub(super) async fn open(
        session: Session,
        snapshot: Option<String>,
    ) -> Result<Self, TargetError> {
        let take_up = snapshot.as_deref().map_or_else(String::new, |name| {
            format!("SET TRANSACTION SNAPSHOT {};", quote::text(name))
        });
        let name = quote::text(APPLICATION_NAME);
        // The snapshot comes before any query; so settings that need one come behind it.
        let sql = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;{take_up}\
             SET LOCAL application_name TO {name};{LOCK_TIMEOUT};{FORMS};{pid};{NO_LIMITS}",
            pid = session.backend_sql(true),
        );
        let answers = session.ask(&sql).await.map_err(|error| match error.code.as_deref() {
            Some("22023") if snapshot.is_some() => gone(error),
            _ => error,
        })?;
        let pid = answers.iter().find(|answer| !answer.rows.is_empty());
        if let Some(row) = pid.and_then(|answer| answer.rows.first()) {
            session.backend.store(number(row, 0)?, Ordering::Relaxed);
        }
        Ok(Self { session, snapshot: None })
    }

    /// Does something that may fail without losing the snapshot: an error would end the transaction.
    async fn apart<T>(
        &mut self,
        call: impl AsyncFnOnce(&Session) -> Result<T, TargetError>,
    ) -> Result<T, TargetError> {
        self.session.enter()?;
        let result = async {
            self.session.ask("SAVEPOINT dunlin_reading").await?;
            let done = call(&self.session).await;
            if !matches!(&done, Err(error) if error.kind == ErrorKind::Lost) {
                self.back().await?;
            }
            done
        }
        .await;
        self.session.leave();
        result
    }

    async fn back(&self) -> Result<(), TargetError> {
        let mut left = BACK_TRIES;
        loop {
            left -= 1;
            match self.session.ask("ROLLBACK TO dunlin_reading;RELEASE dunlin_reading").await {
                Err(error) if left > 0 && error.code.as_deref() == Some("57014") => {}
                other => return other.map(|_| ()),
            }
        }
    }
}

/// The connection whose snapshot it was is closed.
fn gone(error: TargetError) -> TargetError {
    TargetError {
        kind: ErrorKind::Lost,
        message: "the snapshot is gone: the connection that held it was closed".to_owned(),
        ..error
    }
    .help("run the same command again: it reads under a new snapshot")
}

#[async_trait]
impl Source for PostgresSource {
    async fn catalogue(&mut self) -> Result<Catalogue, TargetError> {
        self.apart(catalogue::read).await
    }

    async fn describe(&mut self, name: &TableName, query: &str) -> Result<Vec<Field>, TargetError> {
        let described = self.apart(async |session| describe(session, query).await).await;
        described.map_err(|error| TargetError {
            message: format!("the query `{name}`: {}", error.message),
            ..error
        })
    }

    async fn spelt_otherwise(
        &mut self,
        spelling: &Spelling,
    ) -> Result<Option<String>, TargetError> {
        self.apart(async |session| spelling::otherwise(session, spelling).await).await
    }

    async fn compared(
        &mut self,
        key: &ColumnOf,
        values: &ColumnOf,
    ) -> Result<Option<String>, TargetError> {
        self.apart(async |session| spelling::compared(session, key, values).await).await
    }

    async fn reader(&mut self) -> Result<Option<Box<dyn Source>>, TargetError> {
        if self.snapshot.is_none() {
            self.session.enter()?;
            let asked = self.session.ask("SELECT pg_catalog.pg_export_snapshot()").await;
            self.session.leave();
            self.snapshot = Some(required(single(&asked?, 0)?, 0)?.to_owned());
        }
        let session = self.session.second().await?;
        let made = Self::open(session, self.snapshot.clone()).await?;
        Ok(Some(Box::new(made)))
    }

    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError> {
        let read =
            self.apart(async |session| extract::read(session, extract, false, batches).await).await;
        read.map(|_| ()).map_err(|error| of_table(error, &extract.table))
    }
}

/// Says what was being read.
pub(super) fn of_table(error: TargetError, table: &TableName) -> TargetError {
    explained(error, table, "reading", "SELECT")
}

/// Says what was being written.
pub(super) fn in_table(error: TargetError, table: &TableName) -> TargetError {
    explained(error, table, "writing", "SELECT, INSERT, UPDATE, DELETE")
}

fn explained(error: TargetError, table: &TableName, doing: &str, rights: &str) -> TargetError {
    match error.kind {
        ErrorKind::Permission if error.code.as_deref() == Some("42501") => {
            let help = if error.message.contains("row-level security") {
                format!(
                    "row security hides rows of {table} from this login: connect as the table's \
                     owner, or as a role with BYPASSRLS"
                )
            } else {
                format!("as the owner of {table}: GRANT {rights} ON {table} TO this login")
            };
            error.help(help)
        }
        ErrorKind::Statement | ErrorKind::StatementTimeout => {
            error.note(format!("{doing} {table}"))
        }
        _ => error,
    }
}

/// The columns of a query. It is asked for no rows, joined to a row of nothing so that the types
/// of its columns can be told.
async fn describe(session: &Session, query: &str) -> Result<Vec<Field>, TargetError> {
    let rows = format!("({}\n) AS q LIMIT 0", extract::bare(query));
    let messages = session
        .client()
        .simple_query(&format!("SELECT q.* FROM {rows}"))
        .await
        .map_err(|error| sent_error(&error))?;
    let names: Vec<String> = messages
        .iter()
        .find_map(|message| match message {
            SimpleQueryMessage::RowDescription(columns) => {
                Some(columns.iter().map(|column| column.name().to_owned()).collect())
            }
            _ => None,
        })
        .ok_or_else(|| bug("the server doesn't tell a query's columns"))?;
    for (place, name) in names.iter().enumerate() {
        if names[..place].contains(name) {
            return Err(TargetError::new(
                ErrorKind::Refused,
                format!("two columns are called `{name}`"),
            )
            .help("give each column a name of its own with AS"));
        }
    }
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let types: Vec<String> =
        names.iter().map(|name| format!("pg_catalog.pg_typeof(q.{})", quote::name(name))).collect();
    let one = format!("FROM (SELECT) AS one LEFT JOIN (SELECT q.* FROM {rows}) AS q ON true");
    let seed = format!(
        "SELECT x.o FROM (SELECT ARRAY[{}]::pg_catalog.oid[] AS all_types {one}) AS a, \
         LATERAL pg_catalog.unnest(a.all_types) AS x(o)",
        types.join(", ")
    );
    let each: Vec<String> =
        types.iter().map(|of| format!("{of}::pg_catalog.oid, {of}::pg_catalog.text")).collect();
    let answers =
        session.ask(&format!("{};SELECT {} {one}", types_sql(&seed), each.join(", "))).await?;
    let known = Types::read(answers.first().ok_or_else(|| bug("no types were told"))?)?;
    let row = single(&answers, 1)?;
    let mut fields = Vec::with_capacity(names.len());
    for (place, name) in names.into_iter().enumerate() {
        fields.push(Field {
            name,
            type_name: required(row, 2 * place + 1)?.to_owned(),
            value_type: known.value_type(number(row, 2 * place)?, -1),
            nullable: true,
            has_default: false,
            numbering: Numbering::None,
            generated: false,
            max_chars: None,
            limit: None,
        });
    }
    Ok(fields)
}
