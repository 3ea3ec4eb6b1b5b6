//! Looking: what the server is, what the ledger says, what another tool's history says. One round
//! trip each, nothing written, and a read-only login will do.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use dunlin_engine::{ErrorKind, Probe, ReadAnswer, ReadRequest, ServerFacts, TargetError};
use dunlin_model::{
    Checksums, Direction, Entry, EntryState, Kind, MigrationId, StepRecord, StepState, TableQuery,
    TableShape, Version,
};
use futures_util::StreamExt;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use crate::create::LEDGER;
use crate::error::sent_error;
use crate::fence::{Access, as_ledger_error, may_read};
use crate::lease;
use crate::quote;
use crate::rows::{Answer, boolean, bug, field, number, optional_number, required, single};
use crate::session::{PATH_HAZARD, Session};

/// The oldest server that is tried in earnest; all before it are out of support.
const VERSION_MIN: u32 = 12;

/// A ledger of tens of thousands of migrations over a slow line takes seconds; minutes mean that
/// nobody answers any more.
const READ_MAX: Duration = Duration::from_secs(60);

/// Facts, and which tables exist.
pub(crate) async fn probe(session: &mut Session, tables: &[&str]) -> Result<Probe, TargetError> {
    let names: Vec<String> = tables.iter().map(|table| quote::text(table)).collect();
    let tables_sql = if names.is_empty() {
        String::new()
    } else {
        format!(
            // The first on the search path, as an unqualified name finds it; ours are never meant.
            ";SELECT pg_catalog.quote_ident(t.nspname) || '.' || pg_catalog.quote_ident(t.relname), \
             t.relname, a.attname, pg_catalog.lower(pg_catalog.format_type(a.atttypid, a.atttypmod)) \
             FROM (SELECT DISTINCT ON (c.relname) c.oid, c.relname, n.nspname \
             FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS p(s, o) \
             JOIN pg_catalog.pg_namespace n ON n.nspname = p.s \
             JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid \
             WHERE p.s <> 'dunlin' AND c.relname IN ({}) AND c.relkind IN ('r', 'p', 'v', 'f', 'm') \
             ORDER BY c.relname, p.o) AS t \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid \
             WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY t.relname, a.attnum",
            names.join(", ")
        )
    };
    let sql = format!(
        "SELECT pg_catalog.current_setting('server_version'), \
         pg_catalog.current_setting('server_version_num')::integer, \
         pg_catalog.current_database(), SESSION_USER, pg_catalog.pg_backend_pid(), \
         pg_catalog.pg_is_in_recovery(), \
         pg_catalog.current_setting('default_transaction_read_only')::boolean, {LEDGER}, \
         {PATH_HAZARD}{tables_sql}"
    );
    let answers = session.ask(&sql).await?;
    let row = single(&answers, 0)?;
    let version: u32 = number(row, 1)?;
    let words = required(row, 0)?;
    if version / 10_000 < VERSION_MIN {
        return Err(TargetError::new(
            ErrorKind::Unsupported,
            format!("the server is PostgreSQL {words}; Dunlin needs {VERSION_MIN} or newer"),
        )
        .help("upgrade the server: this version gets no security fixes any more"));
    }
    let pooled = session.learn_backend(number(row, 4)?, boolean(row, 8)?);
    let read_only = if boolean(row, 5)? {
        Some("the server is a standby; connect to the primary".to_owned())
    } else if boolean(row, 6)? {
        Some("default_transaction_read_only is on for this login or database".to_owned())
    } else {
        None
    };
    let number_only = words.split(' ').next().unwrap_or(words);
    Ok(Probe {
        server: ServerFacts {
            product: format!("PostgreSQL {number_only}"),
            database: required(row, 2)?.to_owned(),
            user: required(row, 3)?.to_owned(),
            pooled,
            read_only,
        },
        ledger: boolean(row, 7)?,
        tables: shapes(answers.get(1))?,
    })
}

fn shapes(answer: Option<&Answer>) -> Result<Vec<TableShape>, TargetError> {
    let mut tables: Vec<TableShape> = Vec::new();
    for row in answer.into_iter().flat_map(|answer| &answer.rows) {
        let (table, name) = (required(row, 0)?, required(row, 1)?);
        let column = (required(row, 2)?.to_owned(), required(row, 3)?.to_owned());
        match tables.last_mut().filter(|last| last.table == table) {
            Some(last) => last.columns.push(column),
            None => tables.push(TableShape {
                table: table.to_owned(),
                name: name.to_owned(),
                columns: vec![column],
            }),
        }
    }
    Ok(tables)
}

/// Microseconds since 1970 of a column, or NULL.
fn microseconds(column: &str) -> String {
    format!("pg_catalog.round(pg_catalog.date_part('epoch', {column}) * 1000000)::bigint")
}

fn ledger_sql() -> String {
    format!(
        "SELECT id, format, min_reader, min_writer FROM dunlin.meta;\
         SELECT kind, version, name, state, pass, text_checksum, statements_checksum, baseline, \
         by_environment, reason, error, {started}, {finished}, duration_ms FROM dunlin.migrations;\
         SELECT kind, version, direction, pass, ordinal, checksum, state, token, connection, image \
         FROM dunlin.steps ORDER BY version, kind, direction, pass, ordinal;{leases}",
        started = microseconds("started_at"),
        finished = microseconds("finished_at"),
        leases = lease::all_sql(),
    )
}

fn foreign_sql(query: &TableQuery) -> String {
    let columns: Vec<String> =
        query.columns.iter().map(|column| format!("h.{}::text", quote::name(column))).collect();
    let columns = if columns.is_empty() { "NULL".to_owned() } else { columns.join(", ") };
    // Qualified, or it would order by the text that is selected under the same name.
    let order: Vec<String> =
        query.order_by.iter().map(|column| format!("h.{}", quote::name(column))).collect();
    let order =
        if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    // The table's name comes from the probe, quoted and qualified by the server itself.
    format!("SELECT {columns} FROM {} AS h{order}", query.table)
}

/// The ledger and another tool's history, under one snapshot.
pub(crate) async fn read(
    session: &mut Session,
    request: &ReadRequest,
) -> Result<ReadAnswer, TargetError> {
    let mut parts = Vec::new();
    if request.ledger {
        parts.push(ledger_sql());
    }
    if let Some(query) = &request.foreign {
        parts.push(foreign_sql(query));
    }
    if parts.is_empty() {
        return Ok(ReadAnswer::default());
    }
    session.clean().await?;
    let sql =
        format!("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;{};COMMIT", parts.join(";"));
    let mut reading = Reading { request, statement: 0, answer: ReadAnswer::default() };
    let outcome = tokio::time::timeout(READ_MAX, fill(session, &sql, &mut reading)).await;
    let error = match outcome {
        Ok(Ok(())) => return Ok(reading.answer),
        Ok(Err(error)) => error,
        Err(_) => TargetError::new(ErrorKind::Lost, "the server did not send the ledger in time"),
    };
    session.rollback().await;
    Err(if reading.in_foreign() {
        foreign_error(session, error, request)
    } else {
        as_ledger_error(session, error, Access::Read)
    })
}

async fn fill(session: &Session, sql: &str, reading: &mut Reading<'_>) -> Result<(), TargetError> {
    let mut stream = pin!(session.send(sql).await?);
    while let Some(message) = stream.next().await {
        match message.map_err(|error| sent_error(&error))? {
            SimpleQueryMessage::Row(row) => reading.take(&row)?,
            SimpleQueryMessage::CommandComplete(_) => reading.statement += 1,
            _ => {}
        }
    }
    Ok(())
}

/// The answer as it comes in: statement 0 is BEGIN, then the four of the ledger, then the foreign.
struct Reading<'a> {
    request: &'a ReadRequest,
    statement: usize,
    answer: ReadAnswer,
}

impl Reading<'_> {
    fn in_foreign(&self) -> bool {
        self.request.foreign.is_some() && self.statement > if self.request.ledger { 4 } else { 0 }
    }

    fn take(&mut self, row: &SimpleQueryRow) -> Result<(), TargetError> {
        let ledger = &mut self.answer.ledger;
        match (self.request.ledger, self.statement) {
            (true, 1) => {
                required(row, 0)?.clone_into(&mut ledger.id);
                ledger.format = number(row, 1)?;
                ledger.min_reader = number(row, 2)?;
                ledger.min_writer = number(row, 3)?;
                // Checked before anything else is read, which a newer format may store otherwise.
                may_read(ledger.min_reader)?;
            }
            (true, 2) => take_entry(row, &mut ledger.entries)?,
            (true, 3) => ledger.steps.push(step(row)?),
            (true, 4) => ledger.leases.push(lease::decode(row)?),
            _ => {
                let values = (0..row.len()).map(|i| Ok(field(row, i)?.map(str::to_owned)));
                self.answer.rows.push(values.collect::<Result<_, TargetError>>()?);
            }
        }
        Ok(())
    }
}

fn foreign_error(session: &Session, error: TargetError, request: &ReadRequest) -> TargetError {
    let Some(query) = request.foreign.as_ref().filter(|_| error.kind == ErrorKind::Permission)
    else {
        return error;
    };
    let user = quote::name(&session.endpoint.user_name());
    TargetError {
        message: format!("this login may not read {}: {}", query.table, error.message),
        ..error
    }
    .help(format!("as its owner: GRANT SELECT ON {} TO {user};", query.table))
}

fn migration_id(row: &SimpleQueryRow) -> Result<MigrationId, TargetError> {
    let kind: Kind =
        required(row, 0)?.parse().map_err(|_| bug("the ledger has a kind that is none"))?;
    let version =
        Version::new(number(row, 1)?).ok_or_else(|| bug("the ledger has a version below 0"))?;
    Ok(MigrationId { version, kind })
}

fn take_entry(
    row: &SimpleQueryRow,
    entries: &mut BTreeMap<MigrationId, Entry>,
) -> Result<(), TargetError> {
    let owned = |index| Ok::<_, TargetError>(field(row, index)?.map(str::to_owned));
    let checksums = match (owned(5)?, owned(6)?) {
        (Some(text), Some(statements)) => Some(Checksums { text, statements }),
        _ => None,
    };
    let state = EntryState::parse(required(row, 3)?)
        .ok_or_else(|| bug("the ledger has a migration in a state that is none"))?;
    let entry = Entry {
        name: required(row, 2)?.to_owned(),
        state,
        pass: number(row, 4)?,
        checksums,
        baseline: boolean(row, 7)?,
        by_environment: boolean(row, 8)?,
        reason: owned(9)?,
        error: owned(10)?,
        started_at: optional_number(row, 11)?,
        finished_at: optional_number(row, 12)?,
        duration_ms: optional_number(row, 13)?,
    };
    entries.insert(migration_id(row)?, entry);
    Ok(())
}

fn step(row: &SimpleQueryRow) -> Result<StepRecord, TargetError> {
    let direction = match required(row, 2)? {
        "down" => Direction::Down,
        _ => Direction::Up,
    };
    Ok(StepRecord {
        id: migration_id(row)?,
        direction,
        pass: number(row, 3)?,
        ordinal: number(row, 4)?,
        checksum: required(row, 5)?.to_owned(),
        state: StepState::parse(required(row, 6)?)
            .ok_or_else(|| bug("the ledger has a step in a state that is none"))?,
        token: number(row, 7)?,
        connection: optional_number(row, 8)?,
        image: field(row, 9)?.map(str::to_owned),
    })
}

/// The recorded text of a migration.
pub(crate) async fn text(
    session: &mut Session,
    id: MigrationId,
) -> Result<Option<String>, TargetError> {
    session.clean().await?;
    let sql = format!(
        "SELECT text FROM dunlin.migrations WHERE kind = '{}' AND version = {}",
        id.kind, id.version
    );
    let answers =
        session.ask(&sql).await.map_err(|error| as_ledger_error(session, error, Access::Read))?;
    match answers.first().and_then(|answer| answer.rows.first()) {
        Some(row) => Ok(field(row, 0)?.map(str::to_owned)),
        None => Ok(None),
    }
}
