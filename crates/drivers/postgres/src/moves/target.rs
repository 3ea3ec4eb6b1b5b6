//! [`MoveTarget`]: the transaction behind the fence, and what is done in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use dunlin_engine::moves::{
    BareTarget, Batches, Doing, Extract, LackedRight, LedgerUse, MoveTarget, ReadRows, Refused,
    Stored, Written,
};
use dunlin_engine::{ErrorKind, TargetError, failpoint};
use dunlin_model::Lease;
use dunlin_model::moves::{Catalogue, Field, TableName};

use super::layout::Layout;
use super::source::{in_table, of_table};
use super::{
    FORMS, bare, catalogue, delete, extract, fetch, normalise, rights, sequence, store, write,
};
use crate::fence::{Limits, begin_fenced_at, commit_fenced, make_lane};
use crate::quote;
use crate::rows::bug;
use crate::session::{APPLICATION_NAME, Session};
use crate::watcher::Watcher;

/// A lane doesn't wait until its commit is on the disk: its rows and the packs that tell of them are
/// one transaction, so what a crash of the server loses is done again; what was committed later is
/// lost with it, never without it. The run's own session waits, and with its last commit for all.
const LANES_COMMIT: &str = "SET LOCAL synchronous_commit TO off;";

/// A transaction of ours is open.
struct Open {
    lock_timeout: Duration,
    /// Triggers are off.
    replica: bool,
}

/// One connection that writes for moves.
pub(super) struct PostgresMoveTarget {
    pub(super) session: Session,
    open: Option<Open>,
    /// Tables as they are in this transaction.
    layouts: HashMap<TableName, Arc<Layout>>,
}

impl PostgresMoveTarget {
    /// Over a session.
    pub(super) fn new(session: Session) -> Self {
        Self { session, open: None, layouts: HashMap::new() }
    }

    fn lock_timeout(&self) -> Duration {
        self.open.as_ref().map_or(Limits::LEDGER.lock, |open| open.lock_timeout)
    }

    /// Ends a call: after an error nothing of the transaction remains.
    pub(super) async fn ended<T>(
        &mut self,
        result: Result<T, TargetError>,
    ) -> Result<T, TargetError> {
        if let Err(error) = &result
            && self.open.take().is_some()
        {
            self.layouts.clear();
            if error.kind != ErrorKind::Lost {
                self.session.rollback().await;
            }
        }
        self.session.leave();
        result
    }

    /// Looks, in the open transaction or in one of its own; its end is `looked`.
    pub(super) async fn look(&mut self) -> Result<bool, TargetError> {
        if self.open.is_some() {
            return Ok(false);
        }
        let settings = Limits::LEDGER.sql(&self.session, APPLICATION_NAME, true);
        // The backend's number comes last.
        let sql = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;{FORMS};\
             {settings}"
        );
        let answers = match self.session.ask(&sql).await {
            Ok(answers) => answers,
            Err(error) => {
                self.session.rollback().await;
                return Err(error);
            }
        };
        if let Some(row) = answers.last().and_then(|answer| answer.rows.first()) {
            let pid = crate::rows::number(row, 0)?;
            self.session.backend.store(pid, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(true)
    }

    pub(super) async fn looked(&mut self, own: bool) {
        if own {
            self.layouts.clear();
            self.session.rollback().await;
        }
    }

    /// An error outside of a transaction of ours; and tables are no longer what they were known as.
    pub(super) fn within(&mut self) -> Result<(), TargetError> {
        self.layouts.clear();
        match self.open {
            Some(_) => Ok(()),
            None => Err(bug("a table is changed outside of a transaction")),
        }
    }

    async fn layout(&mut self, table: &TableName) -> Result<Arc<Layout>, TargetError> {
        if let Some(known) = self.layouts.get(table) {
            return Ok(Arc::clone(known));
        }
        let read = Layout::read(&self.session, table).await;
        let made = Arc::new(read.map_err(|error| of_table(error, table))?);
        self.layouts.insert(table.clone(), Arc::clone(&made));
        Ok(made)
    }

    /// Ready to write: in a transaction, with triggers as they are asked for.
    async fn ready(&mut self, into: &Written) -> Result<Arc<Layout>, TargetError> {
        let Some(open) = &mut self.open else {
            return Err(bug("rows are written outside of a transaction"));
        };
        if open.replica == into.triggers {
            let role = if into.triggers { "origin" } else { "replica" };
            let set =
                self.session.ask(&format!("SET LOCAL session_replication_role TO {role}")).await;
            set.map_err(|error| no_triggers(&self.session, error))?;
            open.replica = !into.triggers;
        }
        self.layout(&into.table).await
    }
}

fn no_triggers(session: &Session, error: TargetError) -> TargetError {
    if error.kind != ErrorKind::Permission {
        return error;
    }
    let user = quote::name(&session.endpoint.user_name());
    TargetError {
        message: format!("this login may not switch triggers off: {}", error.message),
        ..error
    }
    .help(format!(
        "leave the triggers on; or as a superuser, from PostgreSQL 15 on: GRANT SET ON PARAMETER \
         session_replication_role TO {user};"
    ))
}

/// Runs a call between `enter` and `ended`.
macro_rules! call {
    ($self:ident, $call:expr) => {{
        $self.session.enter()?;
        let result = $call.await;
        $self.ended(result).await
    }};
}

/// Runs one that writes rows.
macro_rules! write_call {
    ($self:ident, $into:ident, $with:expr, $rows:ident) => {{
        $self.session.enter()?;
        let result = async {
            let layout = $self.ready($into).await?;
            let watcher = Watcher::start(&$self.session, $self.lock_timeout());
            $with(&$self.session, &layout, $into, $rows)
                .await
                .map_err(|error| in_table(watcher.explain(error), &$into.table))
        }
        .await;
        $self.ended(result).await
    }};
}

#[async_trait]
impl MoveTarget for PostgresMoveTarget {
    async fn catalogue(&mut self) -> Result<Catalogue, TargetError> {
        call!(self, async {
            let own = self.look().await?;
            let read = catalogue::read(&self.session).await;
            self.looked(own).await;
            read
        })
    }

    async fn may_write(&mut self, into: &Written) -> Result<(), TargetError> {
        if into.triggers {
            return Ok(());
        }
        call!(self, async {
            let own = self.look().await?;
            let set = self.session.ask("SET LOCAL session_replication_role TO replica").await;
            self.looked(own).await;
            set.map(|_| ()).map_err(|error| no_triggers(&self.session, error))
        })
    }

    async fn create_store(&mut self) -> Result<(), TargetError> {
        if self.open.is_some() {
            return Err(bug("the store is created in a transaction"));
        }
        call!(self, store::create(&self.session))
    }

    async fn moves(&mut self) -> Result<Vec<String>, TargetError> {
        call!(self, store::names(&self.session))
    }

    async fn hold_ledger(&mut self, _: &Lease) -> Result<LedgerUse, TargetError> {
        if self.open.is_none() {
            return Err(bug("the ledger is held outside of a transaction"));
        }
        call!(self, async {
            let watcher = Watcher::start(&self.session, self.lock_timeout());
            store::hold_ledger(&self.session).await.map_err(|error| watcher.explain(error))
        })
    }

    async fn drop_ledger(&mut self) -> Result<(), TargetError> {
        if self.open.is_none() {
            return Err(bug("the ledger is dropped outside of a transaction"));
        }
        call!(self, store::drop_ledger(&self.session))?;
        self.open = None;
        Ok(())
    }

    async fn stored(
        &mut self,
        name: &str,
        area: &str,
        from: i64,
        limit: u32,
    ) -> Result<Vec<Stored>, TargetError> {
        call!(self, async {
            if store::is_there(&self.session).await? {
                store::read(&self.session, name, area, from, limit).await
            } else {
                Ok(Vec::new())
            }
        })
    }

    async fn lane(&mut self, lease: &Lease, number: u32) -> Result<Option<Lease>, TargetError> {
        if self.open.is_some() {
            return Err(bug("a lane is made in a transaction"));
        }
        call!(self, make_lane(&self.session, lease, number)).map(Some)
    }

    async fn begin(&mut self, lease: &Lease, lock_timeout: Duration) -> Result<(), TargetError> {
        if self.open.is_some() {
            return Err(bug("a transaction is begun in another one"));
        }
        self.layouts.clear();
        call!(self, async {
            let limits = Limits { lock: lock_timeout, statement: None };
            // Each statement sees what was committed before it: rows are locked first and looked at
            // then. Constraints that could wait until COMMIT are checked at once, where their row
            // can still be told.
            let relaxed = if lease.seg > 0 { LANES_COMMIT } else { "" };
            let pass = bare::pass_sql(lease);
            let settings = format!("{FORMS}{pass};{relaxed}SET CONSTRAINTS ALL IMMEDIATE");
            let level = " ISOLATION LEVEL READ COMMITTED";
            begin_fenced_at(&self.session, lease, limits, level, &settings).await?;
            self.open = Some(Open { lock_timeout, replica: false });
            failpoint("move.begun");
            Ok(())
        })
    }

    async fn load(&mut self, into: &Written, rows: &RecordBatch) -> Result<(), TargetError> {
        write_call!(self, into, write::load, rows)
    }

    async fn insert(&mut self, into: &Written, rows: &RecordBatch) -> Result<Refused, TargetError> {
        write_call!(self, into, write::insert, rows)
    }

    async fn update(&mut self, into: &Written, rows: &RecordBatch) -> Result<Refused, TargetError> {
        write_call!(self, into, write::update, rows)
    }

    async fn delete(&mut self, from: &Written, keys: &RecordBatch) -> Result<Refused, TargetError> {
        write_call!(self, from, delete::delete, keys)
    }

    async fn fetch(
        &mut self,
        from: &Written,
        keys: &RecordBatch,
        lock: bool,
    ) -> Result<ReadRows, TargetError> {
        if lock && self.open.is_none() {
            return Err(bug("rows are locked outside of a transaction"));
        }
        call!(self, async {
            let own = self.look().await?;
            let fetched = async {
                let layout = self.layout(&from.table).await?;
                let watcher = Watcher::start(&self.session, self.lock_timeout());
                fetch::fetch(&self.session, &layout, from, keys, lock)
                    .await
                    .map_err(|error| of_table(watcher.explain(error), &from.table))
            }
            .await;
            self.looked(own).await;
            fetched
        })
    }

    async fn find(
        &mut self,
        from: &Written,
        values: &RecordBatch,
    ) -> Result<(Vec<u32>, RecordBatch), TargetError> {
        call!(self, async {
            let own = self.look().await?;
            let found = async {
                let layout = self.layout(&from.table).await?;
                fetch::find(&self.session, &layout, from, values)
                    .await
                    .map_err(|error| of_table(error, &from.table))
            }
            .await;
            self.looked(own).await;
            found
        })
    }

    async fn normalise(
        &mut self,
        field: &Field,
        values: &[Option<String>],
    ) -> Result<Vec<Option<String>>, TargetError> {
        call!(self, async {
            let own = self.look().await?;
            let texts = normalise::normalise(&self.session, field, values).await;
            self.looked(own).await;
            texts
        })
    }

    async fn put(&mut self, name: &str, entries: &[Stored]) -> Result<(), TargetError> {
        if self.open.is_none() {
            return Err(bug("entries are put outside of a transaction"));
        }
        call!(self, store::put(&self.session, name, entries))
    }

    async fn lacked_rights(&mut self, doing: Doing<'_>) -> Result<Vec<LackedRight>, TargetError> {
        rights::lacked(&self.session, doing).await
    }

    async fn lacked_for_ledger(&mut self) -> Result<Option<LackedRight>, TargetError> {
        rights::lacked_for_ledger(&self.session).await
    }

    async fn number_above(
        &mut self,
        table: &TableName,
        column: &str,
        above: i64,
    ) -> Result<(), TargetError> {
        call!(self, sequence::above(&self.session, table, column, above))
    }

    async fn take_numbers(
        &mut self,
        table: &TableName,
        column: &str,
        count: u32,
        above: i64,
    ) -> Result<Vec<i64>, TargetError> {
        call!(self, sequence::take(&self.session, table, column, count, above))
    }

    async fn commit(&mut self, lease: &mut Lease) -> Result<(), TargetError> {
        if self.open.take().is_none() {
            return Err(bug("nothing was begun that could be committed"));
        }
        self.layouts.clear();
        call!(self, async {
            failpoint("move.commit");
            commit_fenced(&self.session, lease).await
        })
    }

    async fn rollback(&mut self) -> Result<(), TargetError> {
        if self.open.take().is_none() {
            return Ok(());
        }
        self.layouts.clear();
        call!(self, async {
            self.session.rollback().await;
            Ok(())
        })
    }

    fn bare(&mut self) -> Option<&mut dyn BareTarget> {
        Some(self)
    }

    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError> {
        if self.open.is_some() {
            return Err(bug("a table is read for comparing in a transaction that writes"));
        }
        call!(self, async {
            let own = self.look().await?;
            let read = extract::read(&self.session, extract, true, batches).await;
            self.looked(own).await;
            read.map(|_| ()).map_err(|error| of_table(error, &extract.table))
        })
    }
}
