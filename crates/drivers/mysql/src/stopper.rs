//! Ending a target's connections from outside, when a person wants out at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use dunlin_engine::Stopper;

use crate::dial::Dialler;
use crate::process;
use crate::session::Session;
use crate::target::Connections;

/// Ends a target's connections by a connection of its own.
pub(crate) struct MysqlStopper {
    pub(crate) dialler: Arc<Dialler>,
    pub(crate) connections: Arc<Connections>,
}

#[async_trait]
impl Stopper for MysqlStopper {
    async fn stop(&self) {
        let Ok(conn) = self.dialler.open(false).await else {
            return;
        };
        let mut session = Session::new(conn);
        for connection in [&self.connections.work, &self.connections.ledger] {
            let id = connection.load(Ordering::Relaxed);
            if id != 0 {
                // Best effort: what cannot be ended now ends with its client.
                let _ = process::kill(&mut session, id).await;
            }
        }
    }
}
