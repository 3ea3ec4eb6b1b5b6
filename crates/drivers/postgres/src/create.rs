//! First contact: the ledger is created by whoever comes first, in one transaction.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::FORMAT;

use crate::fence::{Access, as_ledger_error};
use crate::ledger::{BACKFILLS, BOOTSTRAP_LOCK, COMMENTS, TABLES};
use crate::quote;
use crate::rows::{boolean, number, single};
use crate::session::Session;

/// The oldest format whose programs may read and write what we write: later ones only add.
const OLDEST: u32 = 1;

/// Creates the ledger unless it is there. All others that do the same wait on one advisory lock,
/// which belongs to the transaction, so that no pooler can strand it.
pub(crate) async fn create_ledger(session: &mut Session, id: &str) -> Result<(), TargetError> {
    session.clean().await?;
    if exists(session).await? && format(session).await? >= FORMAT {
        return Ok(());
    }
    let begin = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;SET LOCAL lock_timeout = '20s';\
         SET LOCAL idle_in_transaction_session_timeout = '30s';\
         SELECT pg_catalog.pg_advisory_xact_lock({BOOTSTRAP_LOCK});\
         SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'dunlin'), {LEDGER}"
    );
    let result = match session.ask(&begin).await {
        Ok(answers) => {
            let row = single(&answers, 4)?;
            let (schema, ledger) = (boolean(row, 0)?, boolean(row, 1)?);
            if ledger { upgrade(session).await } else { create(session, id, schema).await }
        }
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        session.rollback().await;
        return Err(error);
    }
    session.commit().await
}

/// An expression: whether our ledger is there. It needs no right on the schema.
pub(crate) const LEDGER: &str = "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN \
     pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = 'dunlin' AND c.relname = 'meta')";

async fn exists(session: &Session) -> Result<bool, TargetError> {
    let answers = session.ask(&format!("SELECT {LEDGER}")).await?;
    boolean(single(&answers, 0)?, 0)
}

/// The format that the ledger was last written in.
async fn format(session: &Session) -> Result<u32, TargetError> {
    let answers = session
        .ask("SELECT format FROM dunlin.meta")
        .await
        .map_err(|error| as_ledger_error(session, error, Access::Read))?;
    number(single(&answers, 0)?, 0)
}

/// Adds what an older ledger lacks. Programs of that older format go on working with it.
async fn upgrade(session: &Session) -> Result<(), TargetError> {
    // Somebody else may have been faster.
    if format(session).await? >= FORMAT {
        return Ok(());
    }
    let sql =
        format!("{BACKFILLS}UPDATE dunlin.meta SET format = {FORMAT} WHERE format < {FORMAT}");
    session.ask(&sql).await.map(|_| ()).map_err(|error| {
        if error.kind != ErrorKind::Permission {
            return error;
        }
        TargetError {
            message: format!(
                "this login may not bring the ledger up to format {FORMAT}: {}",
                error.message
            ),
            ..error
        }
        .help("run the same command once as the owner of the tables in the schema `dunlin`")
    })
}

async fn create(session: &Session, id: &str, schema_exists: bool) -> Result<(), TargetError> {
    if !schema_exists {
        session
            .ask("CREATE SCHEMA dunlin")
            .await
            .map_err(|error| may_not_create_schema(session, error))?;
    }
    let tables = format!("{TABLES}{BACKFILLS}");
    session.ask(&tables).await.map_err(|error| may_not_create_tables(session, error))?;
    let (schema_comment, comments) =
        COMMENTS.trim_start().split_once('\n').unwrap_or((COMMENTS, ""));
    // The schema may belong to somebody else, who then says what it is for.
    if !schema_exists {
        session.ask(schema_comment).await?;
    }
    let meta = format!(
        "INSERT INTO dunlin.meta (id, format, min_reader, min_writer) \
         VALUES ({}, {FORMAT}, {OLDEST}, {OLDEST})",
        quote::text(id)
    );
    session
        .ask(&format!("{comments};{meta}"))
        .await
        .map(|_| ())
        .map_err(|error| as_ledger_error(session, error, Access::Write))
}

fn may_not_create_schema(session: &Session, error: TargetError) -> TargetError {
    if error.kind != ErrorKind::Permission {
        return error;
    }
    let user = quote::name(&session.endpoint.user_name());
    let database = quote::name(&session.endpoint.database_name());
    TargetError {
        message: format!(
            "this login may not create the schema `dunlin`, where Dunlin keeps its ledger: {}",
            error.message
        ),
        ..error
    }
    .help(format!(
        "as the database's owner, once: CREATE SCHEMA dunlin AUTHORIZATION {user};\n\
         or: GRANT CREATE ON DATABASE {database} TO {user};"
    ))
}

fn may_not_create_tables(session: &Session, error: TargetError) -> TargetError {
    if error.kind != ErrorKind::Permission {
        return error;
    }
    let user = quote::name(&session.endpoint.user_name());
    TargetError {
        message: format!(
            "this login may not create Dunlin's tables in the schema `dunlin`: {}",
            error.message
        ),
        ..error
    }
    .help(format!("as the schema's owner, once: GRANT USAGE, CREATE ON SCHEMA dunlin TO {user};"))
}
