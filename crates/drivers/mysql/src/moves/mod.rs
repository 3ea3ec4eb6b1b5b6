//! Moves: the database as a source, under one snapshot, and as a target.
//!
//! A source's snapshot is InnoDB's: rows of tables with another engine are read as they are at that
//! moment. While it is open, nobody can change the definition of a table that it has read.
//!
//! A target has one connection that writes. A second one is opened for the numbers of
//! `AUTO_INCREMENT` columns, since changing them would commit the transaction.

mod catalogue;
mod decode;
mod delete;
mod encode;
mod kind;
mod moment;
mod normalise;
mod numbers;
mod read;
mod refused;
mod source;
mod spelling;
mod store;
mod table;
mod target;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use dunlin_engine::moves::{MoveConnector, MoveTarget, Source};
use dunlin_engine::{ErrorKind, Purpose, TargetError};

use crate::connector::MysqlConnector;
use crate::dial::Dialler;
use crate::facts::{Facts, Role, set_up};
use crate::session::Session;

/// What every session of a move has beside the ledger's settings. Instants travel as UTC. A client
/// that waits for the other side of the move does not read: the server has to wait with it. Texts
/// are sorted by so many bytes, more than a key can have.
const SETTINGS: &str = "SET SESSION time_zone = '+00:00', \
     sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,NO_ZERO_DATE,\
NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO', \
     sql_notes = 1, foreign_key_checks = 1, unique_checks = 1, net_write_timeout = 28800, \
     max_sort_length = 16384\
     /*M!100300 , check_constraint_checks = 1, idle_transaction_timeout = 0 */\
     /*!80000 , information_schema_stats_expiry = 0, max_execution_time = 0 */";

#[async_trait]
impl MoveConnector for MysqlConnector {
    async fn source(&self) -> Result<Box<dyn Source>, TargetError> {
        let dialler = Arc::clone(self.dialler(Purpose::Run));
        Ok(Box::new(source::MysqlSource::open(dialler).await?))
    }

    async fn move_target(&self) -> Result<Box<dyn MoveTarget>, TargetError> {
        let dialler = Arc::clone(self.dialler(Purpose::Run));
        Ok(Box::new(target::MysqlMoveTarget::open(dialler).await?))
    }
}

/// A session with a move's settings.
async fn open(dialler: &Dialler) -> Result<(Session, Facts), TargetError> {
    let mut session = Session::new(dialler.open(true).await?);
    let facts = set_up(&mut session, Role::Ledger, &dialler.url).await?;
    session.run(SETTINGS).await?;
    Ok((session, facts))
}

fn bug(message: impl Into<String>) -> TargetError {
    TargetError::new(ErrorKind::Bug, message)
}
