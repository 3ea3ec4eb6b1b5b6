//! The database as a source.

use std::sync::Arc;

use async_trait::async_trait;
use dunlin_engine::TargetError;
use dunlin_engine::moves::{Batches, ColumnOf, Extract, Source, Spelling};
use dunlin_model::moves::{Catalogue, Field, TableName};

use super::{catalogue, open, read, spelling};
use crate::dial::Dialler;
use crate::session::Session;

/// The transaction that a source holds all the time.
const BEGIN: &str = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
     START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// A database under one snapshot. It has one reader: two transactions share no snapshot here.
pub(super) struct MysqlSource {
    dialler: Arc<Dialler>,
    session: Session,
    is_mariadb: bool,
}

impl MysqlSource {
    pub(super) async fn open(dialler: Arc<Dialler>) -> Result<Self, TargetError> {
        let (mut session, facts) = open(&dialler).await?;
        session.run(BEGIN).await?;
        Ok(Self { dialler, session, is_mariadb: facts.is_mariadb })
    }
}

#[async_trait]
impl Source for MysqlSource {
    async fn catalogue(&mut self) -> Result<Catalogue, TargetError> {
        catalogue::read(&mut self.session, self.is_mariadb).await
    }

    async fn describe(&mut self, name: &TableName, query: &str) -> Result<Vec<Field>, TargetError> {
        catalogue::describe(&mut self.session, name, query).await
    }

    async fn spelt_otherwise(
        &mut self,
        spelling: &Spelling,
    ) -> Result<Option<String>, TargetError> {
        spelling::otherwise(&mut self.session, spelling, &self.dialler.url.database).await
    }

    async fn compared(
        &mut self,
        key: &ColumnOf,
        values: &ColumnOf,
    ) -> Result<Option<String>, TargetError> {
        spelling::compared(&mut self.session, key, values, &self.dialler.url.database).await
    }

    async fn reader(&mut self) -> Result<Option<Box<dyn Source>>, TargetError> {
        Ok(None)
    }

    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError> {
        read::read(&mut self.session, &self.dialler, extract, false, batches).await.map_err(
            |error| match extract.query {
                Some(_) if error.code.is_some() => {
                    let message = format!("the query of {}: {}", extract.table, error.message);
                    TargetError { message, ..error }
                }
                _ => error,
            },
        )
    }
}
