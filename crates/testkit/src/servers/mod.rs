//! Throwaway servers on free ports with folders of their own, and a database for each test.
//!
//! A server lives as long as the process that started it, also when that process is killed: a
//! supervising shell waits for the end of a pipe that we hold, then stops the server and removes
//! its folder. Where `DUNLIN_TEST_POSTGRES_URL`, `DUNLIN_TEST_PGBOUNCER_URL` or
//! `DUNLIN_TEST_MYSQL_URL` is set, that server is used instead (`cargo xtask test` sets all
//! three, so that a whole test run shares them); nothing but databases of our own making is ever
//! touched there.

mod binaries;
mod client;
mod database;
mod dump;
mod mariadb;
mod pgbouncer;
mod postgres;
mod supervised;
mod visitor;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

pub use binaries::{Missing, missing};
pub use client::{ClientError, run_sql};
pub use database::{Database, TestDatabase, sqlite};
pub use visitor::Visitor;

use supervised::Supervised;

/// The environment variable with the URL of a PostgreSQL to use for tests.
pub const POSTGRES_URL: &str = "DUNLIN_TEST_POSTGRES_URL";
/// The environment variable with the URL of a pgbouncer in front of that PostgreSQL.
pub const PGBOUNCER_URL: &str = "DUNLIN_TEST_PGBOUNCER_URL";
/// The environment variable with the URL of a MySQL or MariaDB to use for tests.
pub const MYSQL_URL: &str = "DUNLIN_TEST_MYSQL_URL";

/// The login that throwaway servers are made with; it may do everything.
///
/// Not `dunlin`: PostgreSQL's default search path begins with a schema of the login's name, which
/// would be the ledger's. Tests that want that name make the login themselves.
pub const USER: &str = "wader";
/// Its password. Servers listen on the loopback interface only.
pub const PASSWORD: &str = "quiet-wader";

/// What a throwaway server does for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Nothing is forced to the disk: for tests, which lose the server with the machine anyway.
    #[default]
    Relaxed,
    /// As the server comes: for benchmarks.
    Full,
}

/// Which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Product {
    /// PostgreSQL.
    Postgres,
    /// pgbouncer in transaction mode, in front of PostgreSQL.
    Pgbouncer,
    /// MariaDB, or MySQL where that is what is installed.
    Mysql,
    /// SQLite: no server, a file.
    Sqlite,
}

impl Product {
    /// Every product, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Postgres, Self::Mysql, Self::Sqlite, Self::Pgbouncer];

    /// One lower-case word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Pgbouncer => "pgbouncer",
            Self::Mysql => "mysql",
            Self::Sqlite => "sqlite",
        }
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A program is not installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A step of the start failed.
    #[error("cannot start {what}: {why}")]
    Start {
        /// The server.
        what: &'static str,
        /// What went wrong, with the end of its log.
        why: String,
    },
    /// An operating system error.
    #[error("cannot start {what}: {path}")]
    Io {
        /// The server.
        what: &'static str,
        /// The file or program.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The client could not do what was asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A URL in the environment cannot be read.
    #[error("`{variable}` is not a URL of the form postgres://user:password@host:port/database")]
    Url {
        /// The environment variable.
        variable: &'static str,
    },
}

/// A running server. Clones are the same server, which stops with the last of them.
#[derive(Debug, Clone)]
pub struct Server {
    product: Product,
    url: String,
    direct_url: Option<String>,
    /// Its own process, then those that it stands in front of; none if we did not start it.
    processes: Vec<Arc<Supervised>>,
}

impl Server {
    /// Starts a PostgreSQL. `settings` are put after its own (`("ssl", "on")`).
    pub fn postgres(
        durability: Durability,
        settings: &[(&str, &str)],
    ) -> Result<Self, ServerError> {
        retried(|| postgres::start(durability, settings))
    }

    /// Starts a streaming standby of this PostgreSQL, with a copy of all that it has now.
    ///
    /// # Errors
    /// A server that we did not start may not let anybody replicate it.
    pub fn standby(&self, durability: Durability) -> Result<Self, ServerError> {
        retried(|| postgres::standby(self, durability))
    }

    /// Starts a MariaDB (or MySQL). `settings` are options without their dashes
    /// (`("read-only", "1")`).
    pub fn mysql(durability: Durability, settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        retried(|| mariadb::start(durability, settings))
    }

    /// Starts a pgbouncer in transaction mode in front of a PostgreSQL.
    pub fn pgbouncer(behind: &Server) -> Result<Self, ServerError> {
        retried(|| pgbouncer::start(behind))
    }

    /// Which server it is.
    #[must_use]
    pub fn product(&self) -> Product {
        self.product
    }

    /// The URL of its maintenance database, with the password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder with its data and `server.log`; `None` for one that we did not start.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        self.processes.first().map(|process| process.folder().to_owned())
    }

    /// The process number of the server itself, to stop or kill it; `None` for one that we did
    /// not start.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.processes.first().map(|process| process.server_pid())
    }

    /// Kills the server itself with `kill -9`, as a crash does, and waits until it is gone. What
    /// was sent to it is answered by nobody until [`Server::start_again`].
    ///
    /// # Panics
    /// For a server that we did not start.
    pub fn crash(&self) {
        self.own_process().crash();
    }

    /// Starts a crashed server again, on its port and its data, and waits until it answers.
    ///
    /// # Panics
    /// For a server that we did not start, or if it does not come up.
    pub fn start_again(&self) {
        if let Err(why) = self.own_process().start_again() {
            panic!("{} did not start again: {why}", self.product.as_str());
        }
    }

    fn own_process(&self) -> &Supervised {
        match self.processes.first() {
            Some(process) => process,
            None => panic!("a server that is shared with others is not crashed"),
        }
    }

    /// A new empty database, dropped with the value.
    ///
    /// # Panics
    /// If the server refuses: a test can do nothing without it.
    #[must_use]
    pub fn database(&self, name: &str) -> TestDatabase {
        match TestDatabase::create(self, name) {
            Ok(database) => database,
            Err(error) => panic!("{error}"),
        }
    }

    fn given(
        product: Product,
        variable: &'static str,
        direct_url: Option<String>,
    ) -> Result<Option<Self>, ServerError> {
        let Some(url) = environment(variable) else { return Ok(None) };
        let host = url::Url::parse(&url).ok().and_then(|url| url.host_str().map(str::to_owned));
        host.ok_or(ServerError::Url { variable })?;
        Ok(Some(Self { product, url, direct_url, processes: Vec::new() }))
    }
}

/// The PostgreSQL of this test run.
///
/// # Panics
/// If it is not installed, with the command that installs it, or does not start.
#[must_use]
pub fn postgres() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        or_panic(match Server::given(Product::Postgres, POSTGRES_URL, None) {
            Ok(Some(given)) => Ok(given),
            Ok(None) => Server::postgres(Durability::Relaxed, &[]),
            Err(error) => Err(error),
        })
    })
}

/// The MariaDB (or MySQL) of this test run.
///
/// # Panics
/// If it is not installed, with the command that installs it, or does not start.
#[must_use]
pub fn mysql() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        or_panic(match Server::given(Product::Mysql, MYSQL_URL, None) {
            Ok(Some(given)) => Ok(given),
            Ok(None) => Server::mysql(Durability::Relaxed, &[]),
            Err(error) => Err(error),
        })
    })
}

/// The pgbouncer of this test run, in transaction mode in front of [`postgres()`].
///
/// # Panics
/// If it is not installed, with the command that installs it, or does not start.
#[must_use]
pub fn pgbouncer() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let direct = postgres();
        let direct_url = Some(direct.url.clone());
        or_panic(match Server::given(Product::Pgbouncer, PGBOUNCER_URL, direct_url) {
            Ok(Some(given)) => Ok(given),
            Ok(None) => Server::pgbouncer(direct),
            Err(error) => Err(error),
        })
    })
}

fn or_panic(server: Result<Server, ServerError>) -> Server {
    match server {
        Ok(server) => server,
        Err(error) => panic!("{}", with_causes(&error)),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A free port is only free until somebody else takes it, so a start is tried with three.
fn retried(mut start: impl FnMut() -> Result<Server, ServerError>) -> Result<Server, ServerError> {
    for _ in 0..2 {
        match start() {
            Err(ServerError::Start { .. }) => {}
            done => return done,
        }
    }
    start()
}

/// A port of the loopback interface that nobody listens on.
pub fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[expect(clippy::disallowed_methods, reason = "test settings, which the CLI must not know")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
