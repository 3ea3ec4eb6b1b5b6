//! Makes connections to one database, and the database itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_engine::{Connector, ErrorKind, Purpose, Target, TargetError};
use dunlin_model::Dialect;

use crate::dial::SharedEndpoint;
use crate::quote;
use crate::rows::required;
use crate::session::Session;
use crate::target::PostgresTarget;
use crate::url::Endpoint;

/// Databases that are there to connect to while another one is created or dropped.
const MAINTENANCE_DATABASES: [&str; 2] = ["postgres", "template1"];

/// Other sessions that are named when a database cannot be dropped.
const SESSIONS_MAX: usize = 5;

/// Connections to one PostgreSQL database.
pub struct PostgresConnector {
    url: String,
    endpoint: SharedEndpoint,
    direct: Option<SharedEndpoint>,
    replicas: Vec<SharedEndpoint>,
}

impl PostgresConnector {
    /// Reads the URLs; nothing is connected yet. `direct_url` leads to the server itself where
    /// `url` leads to a pooler. `connect_timeout` counts where a URL has none of its own.
    ///
    /// # Errors
    /// What a URL says that is not understood; never with a password in the message.
    pub fn new(
        url: &str,
        direct_url: Option<&str>,
        connect_timeout: Duration,
    ) -> Result<Self, TargetError> {
        let endpoint = Endpoint::parse(url, connect_timeout)?;
        let direct = direct_url
            .map(|url| Endpoint::parse(url, connect_timeout).map_err(|e| e.note("in `direct_url`")))
            .transpose()?;
        Ok(Self {
            url: url.to_owned(),
            endpoint: Arc::new(endpoint),
            direct: direct.map(Arc::new),
            replicas: Vec::new(),
        })
    }

    /// The same with the replicas whose lag a backfill must mind.
    ///
    /// # Errors
    /// What a URL says that is not understood; never with a password in the message.
    pub fn with_replicas(
        mut self,
        urls: &[String],
        connect_timeout: Duration,
    ) -> Result<Self, TargetError> {
        for url in urls {
            let endpoint = Endpoint::parse(url, connect_timeout)
                .map_err(|error| error.note("in `replica_urls`"))?;
            self.replicas.push(Arc::new(endpoint));
        }
        Ok(self)
    }

    /// The server itself where it is known, else whatever answers.
    pub(crate) fn server(&self) -> &SharedEndpoint {
        self.direct.as_ref().unwrap_or(&self.endpoint)
    }

    /// Connects to a database that is sure to be there.
    async fn maintenance(&self) -> Result<Session, TargetError> {
        let mut last = None;
        for database in MAINTENANCE_DATABASES {
            let endpoint = Arc::new(self.server().with_database(database));
            match Session::open(endpoint).await {
                Ok(session) => return Ok(session),
                Err(error)
                    if matches!(error.kind, ErrorKind::NoSuchDatabase | ErrorKind::Permission) =>
                {
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            TargetError::new(ErrorKind::NoSuchDatabase, "there is no database to connect to")
        }))
    }
}

#[async_trait]
impl Connector for PostgresConnector {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn describe(&self) -> String {
        self.endpoint.describe()
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn secrets(&self) -> Vec<String> {
        let others = self.direct.iter().chain(&self.replicas);
        let others = others.flat_map(|endpoint| &endpoint.secrets);
        let mut all: Vec<String> = self.endpoint.secrets.iter().chain(others).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    async fn connect(&self, purpose: Purpose) -> Result<Box<dyn Target>, TargetError> {
        let endpoint = match purpose {
            Purpose::Run => self.server(),
            Purpose::Look | Purpose::Lease | Purpose::Lane => &self.endpoint,
        };
        let session = Session::open(Arc::clone(endpoint)).await?;
        Ok(Box::new(PostgresTarget::new(session)))
    }

    fn replica_count(&self) -> usize {
        self.replicas.len()
    }

    async fn replica(&self, number: usize) -> Result<Box<dyn Target>, TargetError> {
        let session = Session::open(Arc::clone(&self.replicas[number])).await?;
        Ok(Box::new(PostgresTarget::new(session)))
    }

    async fn create_database(&self) -> Result<bool, TargetError> {
        let name = self.server().database_name();
        let session = self.maintenance().await?;
        match session.run(&format!("CREATE DATABASE {}", quote::name(&name))).await {
            Ok(_) => Ok(true),
            Err(error) if error.code.as_deref() == Some("42P04") => Ok(false),
            Err(error) if error.kind == ErrorKind::Permission => Err(error.help(format!(
                "as a superuser: ALTER ROLE {} CREATEDB; or: CREATE DATABASE {} OWNER {};",
                quote::name(&self.server().user_name()),
                quote::name(&name),
                quote::name(&self.server().user_name()),
            ))),
            Err(error) => Err(error),
        }
    }

    /// Never by force: while anybody is connected the drop is refused, and who is connected is
    /// said. An application that is at work on a database is the best sign of a wrong URL.
    async fn drop_database(&self) -> Result<bool, TargetError> {
        let name = self.server().database_name();
        let session = self.maintenance().await?;
        match session.run(&format!("DROP DATABASE {}", quote::name(&name))).await {
            Ok(_) => Ok(true),
            Err(error) if error.code.as_deref() == Some("3D000") => Ok(false),
            Err(error) if error.code.as_deref() == Some("55006") => {
                let mut refused = TargetError::new(
                    ErrorKind::Refused,
                    format!("the database `{name}` cannot be dropped while others are connected"),
                )
                .code("55006")
                .help("stop the application and close other clients, then try again");
                refused.notes = connected(&session, &name).await;
                Err(refused)
            }
            Err(error) if error.kind == ErrorKind::Permission => Err(error.help(format!(
                "only its owner or a superuser may drop it; as one of them: DROP DATABASE {};",
                quote::name(&name)
            ))),
            Err(error) => Err(error),
        }
    }
}

/// Who is connected to a database, a line each; best effort.
async fn connected(session: &Session, database: &str) -> Vec<String> {
    let sql = format!(
        "SELECT 'connected: pid ' || pid || ', user ' || COALESCE(usename, '?') || \
         COALESCE(', application ' || NULLIF(application_name, ''), '') || \
         ', since ' || pg_catalog.to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') \
         FROM pg_catalog.pg_stat_activity WHERE datname = {} ORDER BY backend_start \
         LIMIT {SESSIONS_MAX}",
        quote::text(database)
    );
    let Ok(answers) = session.ask(&sql).await else {
        return Vec::new();
    };
    let rows = answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default();
    rows.iter().filter_map(|row| required(row, 0).ok().map(str::to_owned)).collect()
}
