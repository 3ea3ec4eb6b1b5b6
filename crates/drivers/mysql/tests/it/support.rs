//! A database for each test, a second pair of eyes, and works made by hand.

use std::sync::Arc;
use std::time::Duration;

use dunlin_engine::{Claim, Connector, Purpose, ReadRequest, Target, Work};
use dunlin_model::{
    After, Checksums, Direction, EntryState, EntryWrite, Facts, ImageObject, Lease, LedgerEvent,
    LedgerView, MigrationId, ObjectKind, Owner, Resource, Restart, Statement, Trace, TraceKind,
    Version,
};
use dunlin_mysql::MysqlConnector;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder};

pub(crate) const LEDGER_ID: &str = "11111111-1111-4111-8111-111111111111";
pub(crate) const RUN: &str = "22222222-2222-4222-8222-222222222222";

/// The server to test on; its login may do everything.
pub(crate) fn server_url() -> String {
    dunlin_testkit::servers::mysql().url().to_owned()
}

/// One test's database.
pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) url: String,
}

impl World {
    /// A new, empty database.
    pub(crate) async fn new(test: &str) -> Self {
        let name = format!("dunlin_it_{test}_{}", std::process::id());
        let mut url = url::Url::parse(&server_url()).expect("DUNLIN_TEST_MYSQL_URL is a URL");
        url.set_path(&name);
        let world = Self { name, url: url.into() };
        world.connector().drop_database().await.expect("dropped");
        assert!(world.connector().create_database().await.expect("created"));
        world
    }

    pub(crate) fn connector(&self) -> MysqlConnector {
        MysqlConnector::new(&self.url, None, &[], Duration::from_secs(10)).expect("a URL")
    }

    pub(crate) async fn target(&self) -> Box<dyn Target> {
        self.connector().connect(Purpose::Run).await.expect("connected")
    }

    pub(crate) async fn with_ledger(&self) -> Box<dyn Target> {
        let mut target = self.target().await;
        target.create_ledger(LEDGER_ID).await.expect("a ledger");
        target
    }

    /// A connection of the test's own.
    pub(crate) async fn eyes(&self) -> Eyes {
        let mut url = url::Url::parse(&self.url).expect("a URL");
        url.set_query(None);
        let options = Opts::from_url(url.as_str()).expect("options");
        // Through the same door as the driver, so that both are the same user.
        let options = OptsBuilder::from_opts(options).prefer_socket(false);
        Eyes(Conn::new(options).await.expect("connected"))
    }
}

/// A connection that is not the driver's.
pub(crate) struct Eyes(pub(crate) Conn);

impl Eyes {
    pub(crate) async fn run(&mut self, sql: &str) {
        self.0.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The first column of the first row, as text; empty where there is none.
    pub(crate) async fn one(&mut self, sql: &str) -> String {
        let row: Option<Option<String>> =
            self.0.query_first(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        row.flatten().unwrap_or_default()
    }

    /// Waits until a query answers something.
    pub(crate) async fn until(&mut self, sql: &str, answer: &str) {
        while self.one(sql).await != answer {
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn owner(number: u32) -> Owner {
    Owner {
        id: format!("00000000-0000-4000-8000-{number:012}"),
        host: "pod".to_owned(),
        pid: number,
        identity: format!("boot/{number}"),
    }
}

pub(crate) async fn claimed(target: &mut Box<dyn Target>, owner: &Owner) -> Lease {
    claimed_from(target, owner, None).await
}

pub(crate) async fn claimed_from(
    target: &mut Box<dyn Target>,
    owner: &Owner,
    displace: Option<&Owner>,
) -> Lease {
    let displace = displace.map(|owner| owner.id.as_str());
    let ttl = Duration::from_secs(600);
    match target.claim(&Resource::Schema, owner, ttl, displace).await.expect("a claim") {
        Claim::Granted(lease) => lease,
        Claim::Held(holder) => panic!("held by {holder:?}"),
    }
}

pub(crate) async fn view(target: &mut Box<dyn Target>) -> LedgerView {
    target.read(&ReadRequest { ledger: true, foreign: None }).await.expect("read").ledger
}

/// A statement whose facts are its leading words.
pub(crate) fn dml(text: &str) -> Statement {
    let verb = text.split_whitespace().next().unwrap_or_default().to_uppercase();
    Statement {
        text: text.to_owned(),
        line: 1,
        column: 1,
        copy_data: None,
        facts: Facts::opaque(verb),
    }
}

/// A statement that changes rows of known tables.
pub(crate) fn dml_on(text: &str, tables: &[&str]) -> Statement {
    let mut statement = dml(text);
    statement.facts.tables = Some(tables.iter().map(|&table| table.to_owned()).collect());
    statement
}

/// A statement that is settled by looking at objects.
pub(crate) fn ddl(text: &str, objects: &[(ObjectKind, &str)]) -> Statement {
    let mut statement = dml(text);
    statement.facts.restart = Restart::ByImage {
        objects: objects
            .iter()
            .map(|&(kind, name)| ImageObject { kind, name: name.to_owned() })
            .collect(),
    };
    statement.facts.verb = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    // What reading it would tell.
    let words: Vec<&str> = text.split_whitespace().collect();
    let (kind, name) = match words[..] {
        ["ALTER", "TABLE", _, "ADD", column, ..] => (TraceKind::Column, column),
        ["CREATE", "INDEX", index, ..] => (TraceKind::Index, index),
        _ => return statement,
    };
    statement.facts.traces.push(Trace { kind, name: name.to_owned(), after: After::There });
    statement
}

/// A statement that sets something in the session.
pub(crate) fn set(text: &str) -> Statement {
    let mut statement = dml(text);
    statement.facts.restart = Restart::Repeatable;
    statement.facts.changes_session = true;
    statement
}

pub(crate) fn schema(version: i64) -> MigrationId {
    MigrationId::schema(Version::new(version).expect("a version"))
}

pub(crate) fn applied(id: MigrationId) -> EntryWrite {
    let text = format!("-- text of {id}\n");
    let checksums = Checksums {
        text: Checksums::of_bytes(text.as_bytes()),
        statements: Checksums::of_statements([text.as_str()]),
    };
    EntryWrite {
        id,
        name: "name".to_owned(),
        state: EntryState::Applied,
        pass: 1,
        content: Some((checksums, text)),
        baseline: false,
        by_environment: false,
        reason: None,
        error: None,
        output: None,
        event: LedgerEvent::Up,
        run: RUN.to_owned(),
    }
}

pub(crate) fn work(version: i64, statements: Vec<Statement>) -> Work {
    Work {
        direction: Direction::Up,
        statements,
        entry: applied(schema(version)),
        resets: Vec::new(),
        lock_timeout: Duration::from_secs(20),
        statement_timeout: None,
        foreign_keys_off: false,
    }
}

/// Runs all statements as journalled steps, as the run loop does.
pub(crate) async fn run_steps(target: &mut Box<dyn Target>, lease: &mut Lease, work: &Work) {
    for ordinal in 0..u32::try_from(work.statements.len()).expect("few") {
        run_step(target, lease, work, ordinal).await;
    }
}

pub(crate) async fn run_step(
    target: &mut Box<dyn Target>,
    lease: &mut Lease,
    work: &Work,
    ordinal: u32,
) {
    let statement = &work.statements[ordinal as usize];
    if statement.facts.restart == Restart::Transactional {
        target.commit_step(lease, work, ordinal, None).await.expect(&statement.text);
    } else {
        target.open_step(lease, work, ordinal, None).await.expect(&statement.text);
        target.send_step(lease, work, ordinal).await.expect(&statement.text);
        let done = dunlin_model::StepState::Done;
        target.close_step(lease, work, ordinal, done).await.expect(&statement.text);
    }
}

/// Many at once.
pub(crate) async fn all<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let handles: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut done = Vec::new();
    for handle in handles {
        done.push(handle.await.expect("no panic"));
    }
    done
}

/// A world that tasks share.
pub(crate) fn shared(world: World) -> Arc<World> {
    Arc::new(world)
}
