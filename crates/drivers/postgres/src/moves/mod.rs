//! Moves: PostgreSQL as a source under one snapshot, and as a target behind the fence.
//!
//! Rows travel as binary COPY where every type has a binary form of ours, and as text that the
//! server parses elsewhere. Whatever is asked for single rows goes through unnamed statements with
//! arrays of texts, so nothing of it is left behind in a pooled session.

mod bare;
mod binary;
mod calendar;
mod catalogue;
mod decode;
mod definitions;
mod delete;
mod encode;
mod extract;
mod fetch;
mod layout;
mod normalise;
mod numeric;
mod refused;
mod rights;
mod room;
mod sequence;
mod source;
mod spelling;
mod store;
mod target;
mod text_form;
mod value_types;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use dunlin_engine::TargetError;
use dunlin_engine::moves::{MoveConnector, MoveTarget, Source};
use dunlin_model::moves::TableName;

use crate::connector::PostgresConnector;
use crate::quote;
use crate::session::Session;

/// How values are written as text, and read from it, whatever the database's own settings are: the
/// same for source and target. Hidden rows are an error rather than missing.
const FORMS: &str = "SET LOCAL datestyle TO 'ISO, YMD';SET LOCAL intervalstyle TO postgres;\
     SET LOCAL timezone TO 'UTC';SET LOCAL extra_float_digits TO 3;SET LOCAL bytea_output TO hex;\
     SET LOCAL lc_monetary TO 'C';SET LOCAL xmloption TO content;\
     SET LOCAL row_security TO off";

/// A table's name as SQL: under its schema, or as the search path finds it.
fn table_sql(table: &TableName) -> String {
    match &table.schema {
        Some(schema) => format!("{}.{}", quote::name(schema), quote::name(&table.name)),
        None => quote::name(&table.name),
    }
}

#[async_trait]
impl MoveConnector for PostgresConnector {
    async fn source(&self) -> Result<Box<dyn Source>, TargetError> {
        let session = Session::open(Arc::clone(self.server())).await?;
        Ok(Box::new(source::PostgresSource::open(session, None).await?))
    }

    async fn move_target(&self) -> Result<Box<dyn MoveTarget>, TargetError> {
        let session = Session::open(Arc::clone(self.server())).await?;
        Ok(Box::new(target::PostgresMoveTarget::new(session)))
    }
}
