//! From a URL to a database's driver.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dunlin_engine::{Connector, ErrorKind, TargetError};
use dunlin_model::Dialect;
use dunlin_project::settings::check_url;
#[cfg(feature = "move")]
use dunlin_project::settings::files_folder;

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
    match dialect(options)? {
        #[cfg(feature = "postgres")]
        Dialect::Postgres => Ok(Arc::new(options.postgres()?)),
        #[cfg(feature = "mysql")]
        Dialect::Mysql => Ok(Arc::new(options.mysql()?)),
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => Ok(Arc::new(options.sqlite()?)),
        #[cfg(not(all(feature = "postgres", feature = "mysql", feature = "sqlite")))]
        absent => Err(left_out(absent)),
    }
}

/// The driver for a URL, as a target of moves.
///
/// # Errors
/// The URL is malformed, or its driver was left out when this program was built.
#[cfg(feature = "move")]
pub fn move_connector(
    options: &ConnectOptions,
) -> Result<Arc<dyn dunlin_engine::moves::MoveConnector>, TargetError> {
    match dialect(options)? {
        #[cfg(feature = "postgres")]
        Dialect::Postgres => Ok(Arc::new(options.postgres()?)),
        #[cfg(feature = "mysql")]
        Dialect::Mysql => Ok(Arc::new(options.mysql()?)),
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => Ok(Arc::new(options.sqlite()?)),
        #[cfg(not(all(feature = "postgres", feature = "mysql", feature = "sqlite")))]
        absent => Err(left_out(absent)),
    }
}

/// A source of moves: the driver for a URL, or a folder of files.
///
/// # Errors
/// The URL is malformed, or its driver was left out when this program was built.
#[cfg(feature = "move")]
pub fn source_connector(
    options: &ConnectOptions,
) -> Result<Arc<dyn dunlin_engine::moves::SourceConnector>, TargetError> {
    if let Some(folder) = files_folder(&options.url) {
        return files(folder, options);
    }
    match dialect(options)? {
        #[cfg(feature = "postgres")]
        Dialect::Postgres => Ok(Arc::new(options.postgres()?)),
        #[cfg(feature = "mysql")]
        Dialect::Mysql => Ok(Arc::new(options.mysql()?)),
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => Ok(Arc::new(options.sqlite()?)),
        #[cfg(not(all(feature = "postgres", feature = "mysql", feature = "sqlite")))]
        absent => Err(left_out(absent)),
    }
}

#[cfg(feature = "files")]
fn files(
    folder: &str,
    options: &ConnectOptions,
) -> Result<Arc<dyn dunlin_engine::moves::SourceConnector>, TargetError> {
    Ok(Arc::new(dunlin_files::FilesConnector::new(folder, &options.root)))
}

#[cfg(all(feature = "move", not(feature = "files")))]
fn files(
    _folder: &str,
    _options: &ConnectOptions,
) -> Result<Arc<dyn dunlin_engine::moves::SourceConnector>, TargetError> {
    let message = "this program was built without files as sources";
    Err(TargetError::new(ErrorKind::Refused, message)
        .help("use a build that has them: the default features do"))
}

impl ConnectOptions {
    #[cfg(feature = "postgres")]
    fn postgres(&self) -> Result<dunlin_postgres::PostgresConnector, TargetError> {
        dunlin_postgres::PostgresConnector::new(
            &self.url,
            self.direct_url.as_deref(),
            self.connect_timeout,
        )?
        .with_replicas(&self.replica_urls, self.connect_timeout)
    }

    #[cfg(feature = "mysql")]
    fn mysql(&self) -> Result<dunlin_mysql::MysqlConnector, TargetError> {
        dunlin_mysql::MysqlConnector::new(
            &self.url,
            self.direct_url.as_deref(),
            &self.replica_urls,
            self.connect_timeout,
        )
    }

    #[cfg(feature = "sqlite")]
    fn sqlite(&self) -> Result<dunlin_sqlite::SqliteConnector, TargetError> {
        dunlin_sqlite::SqliteConnector::new(&self.url, &self.root, self.connect_timeout)
    }
}

fn dialect(options: &ConnectOptions) -> Result<Dialect, TargetError> {
    check_url(&options.url).map_err(|message| TargetError::new(ErrorKind::Refused, message))
}

#[cfg(not(all(feature = "postgres", feature = "mysql", feature = "sqlite")))]
fn left_out(dialect: Dialect) -> TargetError {
    TargetError::new(ErrorKind::Refused, format!("this program was built without {dialect}"))
        .help("use a build that has it: the default features do")
}
