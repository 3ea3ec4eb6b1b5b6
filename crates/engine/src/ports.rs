//! What a database must be able to do for us.
//!
//! Every driver passes the conformance suite of `dunlin-testkit`, which is the meaning of these
//! calls. The protocols behind them (fence, look-up, first contact) are in `ARCHITECTURE.md`.

mod chunks;
mod gathered;

pub use chunks::{
    Absent, Barrier, Checkpoint, Chunk, Chunks, Committed, Deed, Extent, Health, Kept, Mark,
    Quarantined, REPLICA_LAG, Rehearsal, RowsOutcome, Search, Signal, UndoSlice, Undone,
};
pub(crate) use gathered::bytes_of;
pub use gathered::{GATHERED_BYTES_MAX, Gathered};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_model::{
    Dialect, Direction, EntryWrite, Lease, LeaseHolder, LedgerView, MigrationId, Owner, Resource,
    Statement, StepRecord, StepState, TableQuery, TableShape,
};

use crate::{ErrorKind, TargetError};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To look only: it must write nothing, create no file, and work with a read-only login.
    Look,
    /// To run migrations: over `direct_url` where one is set, since steps outside transactions
    /// need their session to themselves.
    Run,
    /// To keep leases alive beside a run.
    Lease,
    /// To commit chunks, and to look at health: transactions only, so it may go through a pooler.
    Lane,
}

/// Makes connections to one database, and the database itself.
#[async_trait]
pub trait Connector: Send + Sync {
    /// The dialect of its files.
    fn dialect(&self) -> Dialect;

    /// Where it is, for people: product, host, database and user; never a password.
    fn describe(&self) -> String;

    /// The URL that programs get as `DUNLIN_DATABASE_URL`. It may hold a password.
    fn url(&self) -> String;

    /// The secrets in its URLs, to be masked wherever foreign text is shown or kept.
    fn secrets(&self) -> Vec<String>;

    /// Connects, within its connect timeout.
    async fn connect(&self, purpose: Purpose) -> Result<Box<dyn Target>, TargetError>;

    /// How many replicas there are whose lag a backfill must mind (`replica_urls`).
    fn replica_count(&self) -> usize {
        0
    }

    /// Connects to one of them, to look only.
    async fn replica(&self, number: usize) -> Result<Box<dyn Target>, TargetError> {
        let text = format!("there is no replica {number} of {}", self.describe());
        Err(TargetError::new(ErrorKind::Unreachable, text))
    }

    /// Creates the database. `false`: it was there.
    async fn create_database(&self) -> Result<bool, TargetError>;

    /// Drops the database with everything in it. `false`: there was none.
    async fn drop_database(&self) -> Result<bool, TargetError>;
}

/// Facts about the server at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Product and version: `PostgreSQL 15.18`, `MariaDB 10.11.19`, `SQLite 3.50.4`.
    pub product: String,
    /// The database, or the file.
    pub database: String,
    /// The login; empty for SQLite.
    pub user: String,
    /// A pooler stands between us and the server.
    pub pooled: bool,
    /// Why nothing can be written, if so: "the server is a standby".
    pub read_only: Option<String>,
}

/// What the first round trip tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// About the server.
    pub server: ServerFacts,
    /// Whether our ledger is there.
    pub ledger: bool,
    /// Those of the tables asked for that exist on the search path.
    pub tables: Vec<TableShape>,
}

/// What the second round trip reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// Read our ledger (only where the probe found one).
    pub ledger: bool,
    /// Read another tool's history.
    pub foreign: Option<TableQuery>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadAnswer {
    /// Empty where none was asked for.
    pub ledger: LedgerView,
    /// One row of texts (`None` for NULL) for each row of the foreign table.
    pub rows: Vec<Vec<Option<String>>>,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is ours, and no older holder can commit any more.
    Granted(Lease),
    /// Somebody else has it.
    Held(LeaseHolder),
}

/// One attempt to execute a plan, for the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// A random UUID.
    pub id: String,
    /// Who.
    pub owner: Owner,
    /// The command: `migrate`, `data run`.
    pub command: String,
    /// The version of this program.
    pub program: String,
    /// Migrations that the run passes over, with their names. Those that the ledger has never
    /// seen get a `pending` row, so that they do not look added later when their gate opens; no
    /// row that is there changes.
    pub passed_over: Vec<(MigrationId, String)>,
}

/// The statements of one migration in one direction, with the ledger rows that belong to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Up or down.
    pub direction: Direction,
    /// All of its statements, in order.
    pub statements: Vec<Statement>,
    /// The migration's row once all of it has taken effect.
    pub entry: EntryWrite,
    /// Rows of other migrations that change with it.
    pub resets: Vec<EntryWrite>,
    /// How long a statement waits for a lock.
    pub lock_timeout: Duration,
    /// How long a statement may take; `None`: as long as it takes.
    pub statement_timeout: Option<Duration>,
    /// SQLite: foreign keys are not enforced meanwhile, and checked before the commit.
    pub foreign_keys_off: bool,
}

/// What became of a journalled step whose runner died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It took effect: go on with the next.
    TookEffect,
    /// It did not, and what was left of it is cleared away: run it.
    DidNot,
    /// It cannot be told; here is what is known, a line each.
    Unknown {
        /// Facts for a person to decide by, without row values.
        evidence: Vec<String>,
    },
}

/// Ends what a connection is doing, from outside it.
#[async_trait]
pub trait Stopper: Send + Sync {
    /// Makes the server roll back what that connection is doing, and end it. Best effort.
    async fn stop(&self);
}

/// One connection to a database that holds, or will hold, a ledger.
///
/// Fencing: `commit`, `record`, `open_step`, `commit_step` and `close_step` begin their
/// transaction by comparing the lease's token and commit count in the resource's segment row and
/// adding one to the count, for the lease and for each beside it ([`Lease::beside`]); where that
/// fails the transaction fails with [`ErrorKind::Fenced`]. On success they count it in the leases
/// too ([`Lease::count_commit`]). After an error other than `Lost` nothing of the
/// transaction remains and the lease is unchanged. After `Lost` its outcome is unknown: connect
/// again, claim the lease again (which waits for the transaction in doubt, or ends it), and read.
///
/// [`ErrorKind::Fenced`]: crate::ErrorKind::Fenced
#[async_trait]
pub trait Target: Chunks {
    /// Facts, and which of these tables exist. One round trip; writes nothing.
    async fn probe(&mut self, tables: &[&str]) -> Result<Probe, TargetError>;

    /// The ledger and another tool's history. One round trip; writes nothing.
    async fn read(&mut self, request: &ReadRequest) -> Result<ReadAnswer, TargetError>;

    /// The recorded text of a migration; `None` where none is recorded.
    async fn text(&mut self, id: MigrationId) -> Result<Option<String>, TargetError>;

    /// Creates the ledger under that id unless there is one, and brings one of an older format up to
    /// ours by adding what it lacks. Safe against any number of others that do the same at once.
    async fn create_ledger(&mut self, id: &str) -> Result<(), TargetError>;

    /// Notes that a run began, and what it passes over. Needs no lease.
    async fn begin_run(&mut self, run: &RunRecord) -> Result<(), TargetError>;

    /// Notes how a run ended: `done`, `failed`, `stopped`.
    async fn finish_run(&mut self, id: &str, outcome: &str) -> Result<(), TargetError>;

    /// Claims a lease for `ttl`. Granted where it is free, has expired by the server's clock, is
    /// already this owner's, or is held by the owner whose id is `displace` (known to be dead).
    /// Before it returns `Granted`, every segment row of the resource carries the new token (and
    /// those of a backfill one more attempt): a transaction of an older holder has ended by then,
    /// and none can commit later.
    async fn claim(
        &mut self,
        resource: &Resource,
        owner: &Owner,
        ttl: Duration,
        displace: Option<&str>,
    ) -> Result<Claim, TargetError>;

    /// Extends a lease. `false`: it is no longer this owner's under this token.
    async fn keep(&mut self, lease: &Lease, ttl: Duration) -> Result<bool, TargetError>;

    /// Gives a lease back, if it is still ours.
    async fn release(&mut self, lease: &Lease) -> Result<(), TargetError>;

    /// Looks before anything of this work runs whether it can run as planned (such as: a table
    /// of a data migration is not transactional). Refusals have [`crate::ErrorKind::Refused`].
    async fn preflight(&mut self, work: &Work) -> Result<(), TargetError>;

    /// Runs all statements and writes all ledger rows in one transaction. Returns how many rows
    /// each statement touched, `None` where the server does not say.
    async fn commit(
        &mut self,
        lease: &mut Lease,
        work: &Work,
    ) -> Result<Vec<Option<u64>>, TargetError>;

    /// Runs all statements in a transaction that is rolled back. Needs no lease and no ledger.
    async fn rehearse(&mut self, work: &Work) -> Result<Vec<Option<u64>>, TargetError>;

    /// Writes ledger rows alone.
    async fn record(&mut self, lease: &mut Lease, writes: &[EntryWrite])
    -> Result<(), TargetError>;

    /// Journals that a step is about to be sent, with the definitions as they are, the token and
    /// the number of the connection it will be sent on. The migration's row becomes `running`
    /// with the entry's pass and content. A step that is open or failed is opened anew.
    ///
    /// `closes` is an open step of this work that was sent and took effect: the same transaction
    /// journals it as done, which saves a commit. It is never the work's last. The definitions are
    /// read before that, so after a death in between it is found open, as after one right behind
    /// its statement, and nothing of a later step has been sent.
    ///
    /// Returns whether the close of this step may in turn wait for the journal of the next one:
    /// `true` promises that `settle_step` will know that it took effect, by the definitions noted
    /// now and however late it is asked.
    async fn open_step(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        closes: Option<u32>,
    ) -> Result<bool, TargetError>;

    /// Sends one statement alone, outside a transaction, with its timeouts where they can apply.
    /// Earlier statements of the work that change the session hold for it: where it runs in another
    /// session than they did, they are sent again first. The same holds for `commit_step`.
    async fn send_step(
        &mut self,
        lease: &Lease,
        work: &Work,
        ordinal: u32,
    ) -> Result<Option<u64>, TargetError>;

    /// Journals how an open step ended. With `Done` for the last statement the migration's row
    /// becomes the work's entry, its resets are written and its steps deleted. For a program
    /// (a work without statements) ordinal 0 is the program.
    async fn close_step(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        state: StepState,
    ) -> Result<(), TargetError>;

    /// Runs one statement and journals it as done, in one transaction; as `close_step` does for
    /// the last one. `closes` is an open step as for `open_step`: it is done if, and only if, this
    /// transaction commits.
    async fn commit_step(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        closes: Option<u32>,
    ) -> Result<Option<u64>, TargetError>;

    /// Finds out what became of an open step of an earlier runner: makes sure that the old
    /// statement no longer runs on the server, then compares definitions.
    async fn settle_step(
        &mut self,
        lease: &Lease,
        work: &Work,
        step: &StepRecord,
    ) -> Result<Settled, TargetError>;

    /// Ends what this connection is doing, from outside; for a second Ctrl-C.
    fn stopper(&self) -> Arc<dyn Stopper>;
}
