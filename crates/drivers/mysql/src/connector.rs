//! Connects to one database, and creates and drops it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_engine::{Connector, ErrorKind, Purpose, Target, TargetError};
use dunlin_model::Dialect;

use crate::dial::{Dialler, Opened};
use crate::literal;
use crate::session::Session;
use crate::target::MysqlTarget;
use crate::url::ServerUrl;

/// Makes connections to one MySQL or MariaDB database.
#[derive(Debug)]
pub struct MysqlConnector {
    main: Arc<Dialler>,
    direct: Option<Arc<Dialler>>,
    replicas: Vec<Arc<Dialler>>,
}

impl MysqlConnector {
    /// A connector to the database of a URL (`mysql://` or `mariadb://`). `direct_url`, where
    /// there is one, is used to run migrations; `replica_urls` are the servers whose lag
    /// backfills mind.
    ///
    /// # Errors
    /// What is wrong with a URL. Nothing is connected to yet.
    pub fn new(
        url: &str,
        direct_url: Option<&str>,
        replica_urls: &[String],
        connect_timeout: Duration,
    ) -> Result<Self, TargetError> {
        let opened = Opened::default();
        let dialler = |url: &str| -> Result<Arc<Dialler>, TargetError> {
            let url = ServerUrl::parse(url)?;
            Ok(Arc::new(Dialler::new(url, connect_timeout, Arc::clone(&opened))))
        };
        Ok(Self {
            main: dialler(url)?,
            direct: direct_url.map(dialler).transpose()?,
            replicas: replica_urls.iter().map(|url| dialler(url)).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn dialler(&self, purpose: Purpose) -> &Arc<Dialler> {
        match (purpose, &self.direct) {
            (Purpose::Run, Some(direct)) => direct,
            _ => &self.main,
        }
    }

    /// A session of the server that is in no database.
    async fn outside(&self) -> Result<Session, TargetError> {
        let dialler = self.direct.as_ref().unwrap_or(&self.main);
        Ok(Session::new(dialler.open(false).await?))
    }

    fn database(&self) -> String {
        literal::name(&self.main.url.database)
    }
}

/// `false` where the server says that there is nothing to do.
fn done(result: Result<(), TargetError>, nothing_to_do: &str) -> Result<bool, TargetError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.code.as_deref() == Some(nothing_to_do) => Ok(false),
        // The statement is ours, but what it fails for is the user's to mend.
        Err(error) if error.kind == ErrorKind::Bug => {
            Err(TargetError { kind: ErrorKind::Statement, ..error })
        }
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Connector for MysqlConnector {
    fn dialect(&self) -> Dialect {
        Dialect::Mysql
    }

    fn describe(&self) -> String {
        let url = &self.main.url;
        let product = if url.mariadb { "MariaDB" } else { "MySQL/MariaDB" };
        format!("{product} at {}, database {}, user {}", url.place(), url.database, url.user)
    }

    fn url(&self) -> String {
        self.main.url.text.clone()
    }

    fn secrets(&self) -> Vec<String> {
        let diallers = std::iter::once(&self.main).chain(&self.direct).chain(&self.replicas);
        let mut secrets: Vec<String> = diallers
            .flat_map(|dialler| [&dialler.url.password, &dialler.url.encoded_password])
            .flatten()
            .filter(|secret| !secret.is_empty())
            .cloned()
            .collect();
        secrets.sort();
        secrets.dedup();
        secrets
    }

    async fn connect(&self, purpose: Purpose) -> Result<Box<dyn Target>, TargetError> {
        Ok(Box::new(MysqlTarget::connect(Arc::clone(self.dialler(purpose))).await?))
    }

    fn replica_count(&self) -> usize {
        self.replicas.len()
    }

    async fn replica(&self, number: usize) -> Result<Box<dyn Target>, TargetError> {
        let mut target = MysqlTarget::connect(Arc::clone(&self.replicas[number])).await?;
        target.replica = true;
        Ok(Box::new(target))
    }

    async fn create_database(&self) -> Result<bool, TargetError> {
        let statement = format!("CREATE DATABASE {}", self.database());
        done(self.outside().await?.run(&statement).await.map(drop), "1007")
    }

    async fn drop_database(&self) -> Result<bool, TargetError> {
        // Whoever still holds a table of it keeps the statement waiting; the time is the ledger
        // session's, since the session is new.
        let statement = format!("SET lock_wait_timeout = 20; DROP DATABASE {}", self.database());
        done(self.outside().await?.run(&statement).await.map(drop), "1008")
    }
}
