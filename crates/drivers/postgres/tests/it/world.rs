//! A database with a ledger, and work made by hand.

use std::sync::Arc;
use std::time::Duration;

use dunlin_engine::{Claim, Connector, Purpose, ReadRequest, Target, Work};
use dunlin_model::{
    After, Facts, ImageObject, Lease, LedgerView, ObjectKind, Resource, Restart, Statement, Trace,
    TraceKind,
};
use dunlin_postgres::PostgresConnector;
use dunlin_testkit::conformance::{data_version, data_work, owner, statement};
use dunlin_testkit::servers::{self, TestDatabase};

/// Longer than any test takes.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A database of a test's own.
pub(crate) struct World {
    database: Arc<TestDatabase>,
    pub(crate) connector: Arc<PostgresConnector>,
}

pub(crate) fn connector(url: &str) -> PostgresConnector {
    PostgresConnector::new(url, None, Duration::from_secs(10)).expect("a URL that is right")
}

/// The URL with another login.
pub(crate) fn with_login(url: &str, user: &str, password: &str) -> String {
    let (_, place) = url.split_once('@').expect("a URL with a login");
    format!("postgres://{user}:{password}@{place}")
}

impl World {
    pub(crate) async fn new(name: &'static str) -> Self {
        Self::on(name, servers::postgres).await
    }

    pub(crate) async fn behind_pgbouncer(name: &'static str) -> Self {
        Self::on(name, servers::pgbouncer).await
    }

    async fn on(name: &'static str, server: fn() -> &'static servers::Server) -> Self {
        let made = tokio::task::spawn_blocking(move || server().database(name));
        let database = made.await.expect("a database");
        let connector = Arc::new(connector(&database.url));
        Self { database: Arc::new(database), connector }
    }

    pub(crate) fn url(&self) -> &str {
        &self.database.url
    }

    pub(crate) fn name(&self) -> &str {
        &self.database.name
    }

    /// A login of the test's own; roles belong to the whole server.
    pub(crate) async fn login(&self, role: &str) -> PostgresConnector {
        let database = self.name();
        self.sql(&format!(
            "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD 'pw'; \
             GRANT CONNECT ON DATABASE \"{database}\" TO {role}"
        ))
        .await;
        connector(&with_login(self.url(), role, "pw"))
    }

    /// What psql says.
    pub(crate) async fn sql(&self, sql: &str) -> String {
        let (database, sql) = (Arc::clone(&self.database), sql.to_owned());
        let asked = tokio::task::spawn_blocking(move || database.sql(&sql).expect("SQL that runs"));
        asked.await.expect("psql").trim_end().to_owned()
    }

    /// Waits until psql says that.
    pub(crate) async fn until(&self, sql: &str, answer: &str) {
        let looking = async {
            while self.sql(sql).await != answer {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), looking).await;
        waited.unwrap_or_else(|_| panic!("never {answer}: {sql}"));
    }

    pub(crate) async fn target(&self) -> Box<dyn Target> {
        self.connector.connect(Purpose::Run).await.expect("a connection")
    }

    pub(crate) async fn with_ledger(&self) -> Box<dyn Target> {
        let mut target = self.target().await;
        target.create_ledger("11111111-1111-4111-8111-111111111111").await.expect("a ledger");
        target
    }

    /// Another session, for standing in the way.
    pub(crate) async fn bystander(&self) -> tokio_postgres::Client {
        let made = tokio_postgres::connect(self.url(), tokio_postgres::NoTls).await;
        let (client, connection) = made.expect("a connection");
        tokio::spawn(connection);
        client
    }
}

pub(crate) async fn claimed(target: &mut Box<dyn Target>, number: u32) -> Lease {
    let before = format!("00000000-0000-4000-8000-{:012}", number - 1);
    match target.claim(&Resource::Schema, &owner(number), LONG, Some(&before)).await {
        Ok(Claim::Granted(lease)) => lease,
        other => panic!("not granted: {other:?}"),
    }
}

pub(crate) async fn ledger(target: &mut Box<dyn Target>) -> LedgerView {
    let request = ReadRequest { ledger: true, foreign: None };
    target.read(&request).await.expect("a ledger that can be read").ledger
}

/// A data migration's work, with statements that are already made.
pub(crate) fn work(version: i64, statements: Vec<Statement>) -> Work {
    let mut work = data_work(version, &[]);
    work.statements = statements;
    work.lock_timeout = Duration::from_secs(5);
    work
}

/// A statement that cannot run in a transaction, settled by its table's definition.
pub(crate) fn outside(verb: &str, text: &str, table: &str) -> Statement {
    let objects = vec![ImageObject { kind: ObjectKind::Table, name: table.to_owned() }];
    let mut made = statement(text);
    made.facts = Facts {
        outside_transaction: Some(format!("{verb} cannot run inside a transaction")),
        restart: Restart::ByImage { objects },
        tables: Some([table.to_owned()].into()),
        traces: traces(verb, text),
        ..Facts::opaque(verb)
    };
    made
}

/// What reading the statement would tell: the name of what it builds or detaches.
fn traces(verb: &str, text: &str) -> Vec<Trace> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let behind = |word: &str| {
        words
            .iter()
            .skip_while(|one| **one != word)
            .skip(1)
            .find(|one| !["IF", "NOT", "EXISTS"].contains(one))
    };
    let (kind, name, after) = if verb.starts_with("CREATE") {
        (TraceKind::Index, behind("CONCURRENTLY"), After::There)
    } else {
        (TraceKind::Partition, behind("PARTITION"), After::Gone)
    };
    name.map(|name| Trace { kind, name: (*name).to_owned(), after }).into_iter().collect()
}

/// A setting of the session.
pub(crate) fn setting(text: &str) -> Statement {
    let mut made = statement(text);
    made.facts.changes_session = true;
    made
}

pub(crate) fn id(version: i64) -> dunlin_model::MigrationId {
    data_version(version)
}
