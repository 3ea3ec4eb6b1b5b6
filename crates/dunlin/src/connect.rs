//! From a URL to a database's driver.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dunlin_engine::{Connector, ErrorKind, TargetError};
use dunlin_model::Dialect;
use dunlin_project::settings::check_url;

/// How to reach a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// `sqlite:…`, `postgres://…`, `mysql://…`.
    pub url: String,
    /// Where runs go if `url` is a pooler's.
    pub direct_url: Option<String>,
    /// Replicas whose lag a backfill must mind.
    pub replica_urls: Vec<String>,
    /// The folder that relative SQLite paths start from.
    pub root: PathBuf,
    /// How long making a connection may take; for SQLite how long a busy database is waited for.
    pub connect_timeout: Duration,
}

/// The driver for a URL.
///
/// # Errors
/// The URL is malformed, or its driver was left out when this program was built.
pub fn connector(options: &ConnectOptions) -> Result<Arc<dyn Connector>, TargetError> {
    let dialect =
        check_url(&options.url).map_err(|message| TargetError::new(ErrorKind::Refused, message))?;
    match dialect {
        #[cfg(feature = "postgres")]
        Dialect::Postgres => Ok(Arc::new(
            dunlin_postgres::PostgresConnector::new(
                &options.url,
                options.direct_url.as_deref(),
                options.connect_timeout,
            )?
            .with_replicas(&options.replica_urls, options.connect_timeout)?,
        )),
        #[cfg(feature = "mysql")]
        Dialect::Mysql => Ok(Arc::new(dunlin_mysql::MysqlConnector::new(
            &options.url,
            options.direct_url.as_deref(),
            &options.replica_urls,
            options.connect_timeout,
        )?)),
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => Ok(Arc::new(dunlin_sqlite::SqliteConnector::new(
            &options.url,
            &options.root,
            options.connect_timeout,
        )?)),
        #[cfg(not(all(feature = "postgres", feature = "mysql", feature = "sqlite")))]
        left_out => Err(TargetError::new(
            ErrorKind::Refused,
            format!("this program was built without {left_out}"),
        )
        .help("use a build that has it: the default features do")),
    }
}

/// The driver for a URL, as a source or a target of moves.
///
/// # Errors
/// The URL is malformed, or its driver was left out when this program was built.
#[cfg(feature = "move")]
pub fn move_connector(
    options: &ConnectOptions,
) -> Result<Arc<dyn dunlin_engine::moves::MoveConnector>, TargetError> {
    let dialect =
        check_url(&options.url).map_err(|message| TargetError::new(ErrorKind::Refused, message))?;
    match dialect {
        #[cfg(feature = "postgres")]
        Dialect::Postgres => Ok(Arc::new(dunlin_postgres::PostgresConnector::new(
            &options.url,
            options.direct_url.as_deref(),
            options.connect_timeout,
        )?)),
        #[cfg(feature = "mysql")]
        Dialect::Mysql => Ok(Arc::new(dunlin_mysql::MysqlConnector::new(
            &options.url,
            options.direct_url.as_deref(),
            &options.replica_urls,
            options.connect_timeout,
        )?)),
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => Ok(Arc::new(dunlin_sqlite::SqliteConnector::new(
            &options.url,
            &options.root,
            options.connect_timeout,
        )?)),
        #[cfg(not(all(feature = "postgres", feature = "mysql", feature = "sqlite")))]
        left_out => Err(TargetError::new(
            ErrorKind::Refused,
            format!("this program was built without {left_out}"),
        )
        .help("use a build that has it: the default features do")),
    }
}
