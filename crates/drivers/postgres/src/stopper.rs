//! Ends what a connection is doing, from outside. Never by a cancel request, which can bring a
//! pooler down; by `pg_terminate_backend` over a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use async_trait::async_trait;
use dunlin_engine::Stopper;

use crate::dial::SharedEndpoint;
use crate::session::Session;

/// Knows which server process works for one connection.
pub(crate) struct BackendStopper {
    pub(crate) endpoint: SharedEndpoint,
    pub(crate) backend: Arc<AtomicI32>,
}

#[async_trait]
impl Stopper for BackendStopper {
    async fn stop(&self) {
        let pid = self.backend.load(Ordering::Relaxed);
        if pid == 0 {
            return;
        }
        // Best effort: where this fails too, closing the socket and the server's own limits end it.
        if let Ok(session) = Session::open(Arc::clone(&self.endpoint)).await {
            let sql = format!(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
                 WHERE pid = {pid} AND usename = SESSION_USER \
                 AND datname = pg_catalog.current_database()"
            );
            let _ = session.ask(&sql).await;
        }
    }
}
