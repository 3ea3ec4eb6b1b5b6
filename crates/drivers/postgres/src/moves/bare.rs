//! [`BareTarget`]: tables that are kept by a trigger of ours, and what is dropped of them meanwhile.
//!
//! The trigger is there for everybody (`ENABLE ALWAYS`: replication too), lets pass who has the
//! move's name in `dunlin.loading`, as each transaction of ours sets it, and outlives us: it goes in
//! the transaction that finds everything restored.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use dunlin_engine::moves::{BareTarget, Definition, TableDefinitions, Written};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::Lease;
use dunlin_model::Resource;
use dunlin_model::moves::TableName;

use super::decode::Decoder;
use super::definitions::{self, KEEPER};
use super::extract::{column_sql, read_all};
use super::refused::blamed;
use super::source::{in_table, of_table};
use super::table_sql;
use super::target::PostgresMoveTarget;
use super::write::{key_of, pairs};
use crate::ledger::BOOTSTRAP_LOCK;
use crate::quote;
use crate::rows::{boolean, bug, field, single};
use crate::session::Session;

/// What a rebuild may use of the server's memory, where it is set lower: an index of a few million
/// rows is then sorted without files.
const MAINTENANCE_MEMORY_KIB: u32 = 256 * 1024;

/// Whoever writes a table that is kept gets this.
const FUNCTION: &str = "CREATE FUNCTION dunlin.keep_out() RETURNS trigger LANGUAGE plpgsql \
     SET search_path TO 'pg_catalog' AS $f$ BEGIN RAISE EXCEPTION USING ERRCODE = 'object_in_use', \
     MESSAGE = format('%I.%I is being loaded by the move \"%s\" and takes no other writes until \
     then', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0]), HINT = format('if no run is under way: \
     dunlin move restore %s', TG_ARGV[0]); END $f$;\
     COMMENT ON FUNCTION dunlin.keep_out() IS 'Refuses writes to tables that a move is loading.'";

/// What our transactions set so that the trigger lets them pass.
pub(super) fn pass_sql(lease: &Lease) -> String {
    match &lease.resource {
        Resource::Move(name) => format!(";SET LOCAL dunlin.loading TO {}", quote::text(name)),
        _ => String::new(),
    }
}

/// An expression: the trigger `t` keeps its table for this move, or did.
fn keeps(name: &str) -> String {
    format!(
        "t.tgname = '{KEEPER}' AND t.tgargs = pg_catalog.convert_to({}, \
         pg_catalog.getdatabaseencoding()) || pg_catalog.decode('00', 'hex')",
        quote::text(name)
    )
}

/// Tables with our trigger: that keeps others out, or any.
async fn kept(
    session: &Session,
    name: &str,
    tables: &[TableName],
    is_shut: bool,
) -> Result<Vec<TableName>, TargetError> {
    let shut = if is_shut { " AND t.tgenabled = 'A'" } else { "" };
    let mut kept = Vec::new();
    for table in tables {
        let answers = session
            .ask(&format!(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = \
                 pg_catalog.to_regclass({}) AND {}{shut})",
                quote::text(&table_sql(table)),
                keeps(name)
            ))
            .await?;
        if boolean(single(&answers, 0)?, 0)? {
            kept.push(table.clone());
        }
    }
    Ok(kept)
}

async fn keep(session: &Session, name: &str, tables: &[TableName]) -> Result<(), TargetError> {
    // In one order, whoever does it; and as strongly as dropping will need it, since who has a weak
    // lock and wants a strong one gets into deadlocks.
    let mut sorted: Vec<String> = tables.iter().map(table_sql).collect();
    sorted.sort();
    session.run(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", sorted.join(", "))).await?;
    session.run(&format!("SELECT pg_catalog.pg_advisory_xact_lock({BOOTSTRAP_LOCK})")).await?;
    let there = session
        .ask("SELECT pg_catalog.to_regprocedure('dunlin.keep_out()') IS DISTINCT FROM NULL")
        .await?;
    if !boolean(single(&there, 0)?, 0)? {
        session.ask(FUNCTION).await?;
    }
    let literal = quote::text(name);
    for table in &sorted {
        session
            .ask(&format!(
                "CREATE TRIGGER {KEEPER} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} \
                 FOR EACH STATEMENT WHEN (pg_catalog.current_setting('dunlin.loading', true) \
                 IS DISTINCT FROM {literal}) EXECUTE FUNCTION dunlin.keep_out({literal});\
                 ALTER TABLE {table} ENABLE ALWAYS TRIGGER {KEEPER}"
            ))
            .await?;
    }
    Ok(())
}

async fn admit(session: &Session, name: &str, tables: &[TableName]) -> Result<(), TargetError> {
    let mut sorted: Vec<String> =
        kept(session, name, tables, true).await?.iter().map(table_sql).collect();
    sorted.sort();
    for table in &sorted {
        session.run(&format!("ALTER TABLE {table} DISABLE TRIGGER {KEEPER}")).await?;
    }
    Ok(())
}

async fn open(session: &Session, name: &str, tables: &[TableName]) -> Result<(), TargetError> {
    let mut sorted: Vec<String> =
        kept(session, name, tables, false).await?.iter().map(table_sql).collect();
    sorted.sort();
    for table in &sorted {
        session.run(&format!("DROP TRIGGER {KEEPER} ON {table}")).await?;
    }
    session.run(&format!("SELECT pg_catalog.pg_advisory_xact_lock({BOOTSTRAP_LOCK})")).await?;
    let unused = session
        .ask(
            "SELECT pg_catalog.count(*) = 1 FROM pg_catalog.pg_proc AS p WHERE p.oid = \
             pg_catalog.to_regprocedure('dunlin.keep_out()') \
             AND pg_catalog.pg_has_role(p.proowner, 'USAGE') \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgfoid = p.oid)",
        )
        .await?;
    if boolean(single(&unused, 0)?, 0)? {
        session.run("DROP FUNCTION dunlin.keep_out()").await?;
    }
    Ok(())
}

/// Runs a definition's statements with every name read as it was written out.
async fn restore(session: &Session, definition: &Definition) -> Result<(), TargetError> {
    let path = session.ask("SELECT pg_catalog.current_setting('search_path')").await?;
    let path = field(single(&path, 0)?, 0)?.unwrap_or_default().to_owned();
    session
        .ask(&format!(
            "SET LOCAL search_path TO '';SELECT pg_catalog.set_config('maintenance_work_mem', \
             '{MAINTENANCE_MEMORY_KIB}', true) FROM pg_catalog.pg_settings WHERE \
             name = 'maintenance_work_mem' AND setting::bigint < {MAINTENANCE_MEMORY_KIB}"
        ))
        .await?;
    for statement in &definition.restore {
        session.run(statement).await.map_err(blamed)?;
    }
    let back = format!("SELECT pg_catalog.set_config('search_path', {}, true)", quote::text(&path));
    session.ask(&back).await.map(|_| ())
}

fn orphans_sql(of: &Written, key: &Definition, limit: u32) -> Result<String, TargetError> {
    let other = key.to.as_deref().ok_or_else(|| bug("a foreign key without its other table"))?;
    let names = key_of(of)?;
    let read: Vec<String> = of
        .fields
        .iter()
        .filter(|field| names.contains(&field.name.as_str()))
        .map(|field| column_sql("t", field))
        .collect();
    let whole: Vec<String> =
        key.columns.iter().map(|name| format!("t.{} IS NOT NULL", quote::name(name))).collect();
    Ok(format!(
        "SELECT {read} FROM {table} AS t WHERE {whole} AND NOT EXISTS (SELECT FROM {other} AS p \
         WHERE {there}) LIMIT {limit}",
        read = read.join(", "),
        table = table_sql(&of.table),
        whole = whole.join(" AND "),
        there = pairs("p", &key.to_columns, "t", &key.columns),
    ))
}

/// Runs a call between `enter` and `ended`.
macro_rules! call {
    ($self:ident, $call:expr) => {{
        $self.session.enter()?;
        let result = $call.await;
        $self.ended(result).await
    }};
}

#[async_trait]
impl BareTarget for PostgresMoveTarget {
    async fn definitions(
        &mut self,
        tables: &[TableName],
    ) -> Result<Vec<TableDefinitions>, TargetError> {
        call!(self, async {
            let own = self.look().await?;
            let found = definitions::read(&self.session, tables).await;
            self.looked(own).await;
            found
        })
    }

    async fn kept(
        &mut self,
        name: &str,
        tables: &[TableName],
    ) -> Result<Vec<TableName>, TargetError> {
        call!(self, async {
            let own = self.look().await?;
            let found = kept(&self.session, name, tables, true).await;
            self.looked(own).await;
            found
        })
    }

    async fn keep(&mut self, name: &str, tables: &[TableName]) -> Result<(), TargetError> {
        self.within()?;
        call!(self, async { explained(keep(&self.session, name, tables).await) })
    }

    async fn admit(&mut self, name: &str, tables: &[TableName]) -> Result<(), TargetError> {
        self.within()?;
        call!(self, async { explained(admit(&self.session, name, tables).await) })
    }

    async fn open(&mut self, name: &str, tables: &[TableName]) -> Result<(), TargetError> {
        self.within()?;
        call!(self, async { explained(open(&self.session, name, tables).await) })
    }

    async fn has_rows(&mut self, table: &TableName) -> Result<bool, TargetError> {
        call!(self, async {
            let own = self.look().await?;
            let sql = format!("SELECT EXISTS (SELECT FROM {})", table_sql(table));
            let found = async { boolean(single(&self.session.ask(&sql).await?, 0)?, 0) }.await;
            self.looked(own).await;
            found.map_err(|error| of_table(error, table))
        })
    }

    async fn empty(&mut self, tables: &[TableName]) -> Result<(), TargetError> {
        self.within()?;
        let names: Vec<String> = tables.iter().map(table_sql).collect();
        let sql = format!("TRUNCATE ONLY {}", names.join(", "));
        call!(self, async { explained(self.session.run(&sql).await.map(|_| ())) })
    }

    async fn drop_definition(&mut self, definition: &Definition) -> Result<(), TargetError> {
        self.within()?;
        call!(self, async { explained(self.session.run(&definition.drop).await.map(|_| ())) })
    }

    async fn restore_definition(&mut self, definition: &Definition) -> Result<(), TargetError> {
        self.within()?;
        call!(self, async { explained(restore(&self.session, definition).await) })
    }

    async fn orphans(
        &mut self,
        of: &Written,
        key: &Definition,
        limit: u32,
    ) -> Result<RecordBatch, TargetError> {
        call!(self, async {
            let sql = orphans_sql(of, key, limit)?;
            let own = self.look().await?;
            let decoder = Decoder::new(of.table.to_string(), &of.fields, true);
            let found = read_all(&self.session, &sql, decoder).await;
            self.looked(own).await;
            let found = found.map_err(|error| of_table(error, &of.table))?;
            found.whole(&of.table.to_string())
        })
    }

    async fn analyse(&mut self, table: &TableName) -> Result<(), TargetError> {
        self.within()?;
        let sql = format!("ANALYZE {}", table_sql(table));
        call!(self, async {
            let done = self.session.run(&sql).await.map(|_| ());
            done.map_err(|error| in_table(error, table))
        })
    }
}

/// A lock that was not had is told in words of its own.
fn explained(result: Result<(), TargetError>) -> Result<(), TargetError> {
    result.map_err(|error| match error.kind {
        ErrorKind::LockTimeout => {
            error.note("somebody reads or writes the tables in a transaction that does not end")
        }
        _ => error,
    })
}
