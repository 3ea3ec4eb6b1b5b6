//! The move's own store: a table of the ledger.

use std::collections::BTreeMap;

use dunlin_engine::moves::{LedgerUse, Stored};
use dunlin_engine::{ErrorKind, TargetError};
use tokio_postgres::types::{ToSql, Type};

use crate::error::sent_error;
use crate::fence::{Access, as_ledger_error};
use crate::lease;
use crate::ledger::BOOTSTRAP_LOCK;
use crate::quote;
use crate::rows::{boolean, bug, number, required, single};
use crate::session::Session;

/// So many bytes of values go into one statement.
const PUT_BYTES: usize = 8 * 1024 * 1024;

/// An expression: whether the table is there. It needs no right on the schema.
const THERE: &str = "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
     ON n.oid = c.relnamespace WHERE n.nspname = 'dunlin' AND c.relname = 'moves_store')";

/// Values are packed already, so the server need not try to.
const TABLE: &str = r#"CREATE TABLE IF NOT EXISTS dunlin.moves_store (
    name   text COLLATE "C" NOT NULL,
    area   text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    value  bytea NOT NULL,
    PRIMARY KEY (name, area, number)
);
ALTER TABLE dunlin.moves_store ALTER value SET STORAGE EXTERNAL;
COMMENT ON TABLE dunlin.moves_store IS 'What moves remember: their state, ids, and a hash of each row that they wrote.';
COMMENT ON COLUMN dunlin.moves_store.name IS 'Of which move.';
COMMENT ON COLUMN dunlin.moves_store.area IS 'What it is about: state, ids, a table''s rows.';
COMMENT ON COLUMN dunlin.moves_store.number IS 'The place in the area.';
COMMENT ON COLUMN dunlin.moves_store.value IS 'Packed, in a form of Dunlin''s own.'"#;

/// Whether the table is there.
pub(super) async fn is_there(session: &Session) -> Result<bool, TargetError> {
    let answers = session.ask(&format!("SELECT {THERE}")).await?;
    boolean(single(&answers, 0)?, 0)
}

/// Creates the table.
pub(super) async fn create(session: &Session) -> Result<(), TargetError> {
    if is_there(session).await? {
        return Ok(());
    }
    // The lock of the ledger's own creation: of two that create, one waits and finds it there.
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;SET LOCAL lock_timeout = '20s';\
         SET LOCAL idle_in_transaction_session_timeout = '30s';\
         SELECT pg_catalog.pg_advisory_xact_lock({BOOTSTRAP_LOCK});{TABLE}"
    );
    if let Err(error) = session.ask(&sql).await {
        session.rollback().await;
        return Err(may_not(session, error));
    }
    session.commit().await
}

fn may_not(session: &Session, error: TargetError) -> TargetError {
    match error.kind {
        ErrorKind::Permission => TargetError {
            message: format!(
                "this login may not create the table of moves in the schema `dunlin`: {}",
                error.message
            ),
            ..error
        }
        .help(format!(
            "as the schema's owner, once: GRANT USAGE, CREATE ON SCHEMA dunlin TO {};",
            quote::name(&session.endpoint.user_name())
        )),
        _ => as_ledger_error(session, error, Access::Write),
    }
}

/// Drops the ledger: its view, its tables, and the schema, if nothing of anybody else is in it.
const DROP: &str = "DROP VIEW IF EXISTS dunlin.data_migrations;\
     DROP TABLE IF EXISTS dunlin.moves_store, dunlin.captured, dunlin.quarantine, \
     dunlin.backfills, dunlin.runs, dunlin.segments, dunlin.leases, dunlin.steps, \
     dunlin.history, dunlin.migrations, dunlin.meta;\
     DROP SCHEMA dunlin RESTRICT";

/// The moves that have entries.
pub(super) async fn names(session: &Session) -> Result<Vec<String>, TargetError> {
    let sql = "SELECT DISTINCT name FROM dunlin.moves_store ORDER BY name";
    if !is_there(session).await? {
        return Ok(Vec::new());
    }
    let answers =
        session.ask(sql).await.map_err(|error| as_ledger_error(session, error, Access::Read))?;
    let rows = answers.iter().flat_map(|answer| &answer.rows);
    rows.map(|row| Ok(required(row, 0)?.to_owned())).collect()
}

/// The tables of the ledger that are there, those first that every writer of the ledger begins with: of
/// two that lock in this order, neither holds what the other is waiting for.
const TABLES: &str = "SELECT pg_catalog.string_agg(pg_catalog.quote_ident(c.relname), ' ' \
     ORDER BY c.relname <> 'segments', c.relname <> 'leases', c.relname) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = 'dunlin' AND c.relkind = 'r'";

/// Locks the ledger in the transaction that is open, against its creation too, and tells who needs it.
pub(super) async fn hold_ledger(session: &Session) -> Result<LedgerUse, TargetError> {
    let failed = |error| as_ledger_error(session, error, Access::Write);
    let lock = format!("SELECT pg_catalog.pg_advisory_xact_lock({BOOTSTRAP_LOCK});{TABLES}");
    let answers = session.ask(&lock).await.map_err(failed)?;
    let names = required(single(&answers, 1)?, 0)?;
    let tables: Vec<String> = names.split(' ').map(|name| format!("dunlin.{name}")).collect();
    let read = format!(
        "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE;SELECT pg_catalog.count(*) FROM dunlin.migrations;{}",
        tables.join(", "),
        lease::all_sql()
    );
    let answers = session.ask(&read).await.map_err(failed)?;
    let leases = answers.get(2).map(|answer| answer.rows.as_slice()).unwrap_or_default();
    Ok(LedgerUse {
        migrations: number(single(&answers, 1)?, 0)?,
        leases: leases.iter().map(lease::decode).collect::<Result<_, _>>()?,
    })
}

/// Drops the ledger, and commits the transaction that is open.
pub(super) async fn drop_ledger(session: &Session) -> Result<(), TargetError> {
    session.ask(DROP).await?;
    session.commit().await
}

/// Entries of an area, in order.
pub(super) async fn read(
    session: &Session,
    name: &str,
    area: &str,
    from: i64,
    limit: u32,
) -> Result<Vec<Stored>, TargetError> {
    let limit = i64::from(limit);
    let parameters: [(&(dyn ToSql + Sync), Type); 4] =
        [(&name, Type::TEXT), (&area, Type::TEXT), (&from, Type::INT8), (&limit, Type::INT8)];
    let rows = session
        .client()
        .query_typed(
            "SELECT number, value FROM dunlin.moves_store WHERE name = $1 AND area = $2 \
             AND number >= $3 ORDER BY number LIMIT $4",
            &parameters,
        )
        .await
        .map_err(|error| as_ledger_error(session, sent_error(&error), Access::Read))?;
    rows.iter()
        .map(|row| {
            let other = |_| bug("an entry of the store has another form");
            Ok(Stored {
                area: area.to_owned(),
                number: row.try_get(0).map_err(other)?,
                value: Some(row.try_get(1).map_err(other)?),
            })
        })
        .collect()
}

/// Puts entries; the last one of a place counts.
pub(super) async fn put(
    session: &Session,
    name: &str,
    entries: &[Stored],
) -> Result<(), TargetError> {
    let mut last: BTreeMap<(&str, i64), Option<&[u8]>> = BTreeMap::new();
    for entry in entries {
        last.insert((&entry.area, entry.number), entry.value.as_deref());
    }
    let mut gone = Part::default();
    let mut part = Part::default();
    for ((area, number), value) in last {
        match value {
            Some(value) => {
                part.push(area, number, value);
                if part.bytes >= PUT_BYTES {
                    part.send(session, name, PUT).await?;
                    part = Part::default();
                }
            }
            None => gone.push(area, number, &[]),
        }
    }
    part.send(session, name, PUT).await?;
    gone.send(session, name, DELETE).await
}

const PUT: &str = "INSERT INTO dunlin.moves_store (name, area, number, value) \
     SELECT $1, u.area, u.number, u.value FROM ROWS FROM (pg_catalog.unnest($2), \
     pg_catalog.unnest($3), pg_catalog.unnest($4)) AS u(area, number, value) \
     ON CONFLICT (name, area, number) DO UPDATE SET value = excluded.value";

/// The values are all empty, and only there so that both have the same parameters.
const DELETE: &str = "DELETE FROM dunlin.moves_store AS m USING ROWS FROM (pg_catalog.unnest($2), \
     pg_catalog.unnest($3), pg_catalog.unnest($4)) AS u(area, number, value) \
     WHERE m.name = $1 AND m.area = u.area AND m.number = u.number";

/// Entries of one statement.
#[derive(Default)]
struct Part<'a> {
    areas: Vec<&'a str>,
    numbers: Vec<i64>,
    values: Vec<&'a [u8]>,
    bytes: usize,
}

impl<'a> Part<'a> {
    fn push(&mut self, area: &'a str, number: i64, value: &'a [u8]) {
        self.areas.push(area);
        self.numbers.push(number);
        self.values.push(value);
        self.bytes += area.len() + value.len() + 16;
    }

    async fn send(&self, session: &Session, name: &str, sql: &str) -> Result<(), TargetError> {
        if self.areas.is_empty() {
            return Ok(());
        }
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&name, Type::TEXT),
            (&self.areas, Type::TEXT_ARRAY),
            (&self.numbers, Type::INT8_ARRAY),
            (&self.values, Type::BYTEA_ARRAY),
        ];
        let sent = session.client().query_typed(sql, &parameters).await;
        sent.map(|_| ())
            .map_err(|error| as_ledger_error(session, sent_error(&error), Access::Write))
    }
}
