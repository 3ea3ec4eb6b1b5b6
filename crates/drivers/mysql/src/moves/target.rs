//! The database as a target.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use dunlin_engine::moves::{
    Batches, Extract, LedgerUse, MoveTarget, ReadRows, Refused, Stored, Written,
};
use dunlin_engine::{ErrorKind, TargetError, failpoint};
use dunlin_model::Lease;
use dunlin_model::moves::{Catalogue, Field, TableName};

use super::table::Table;
use super::{bug, catalogue, delete, normalise, numbers, open, read, refused, store, write};
use crate::dial::Dialler;
use crate::facts::{Facts, LEDGER_LOCK_WAIT, require_writable};
use crate::ledger::{BEGIN, Ledger};
use crate::session::Session;
use crate::target::fence_failure;
use crate::transaction::{SAVEPOINT, transaction_is_gone};
use crate::work::lock_timeout;

/// A transaction of ours is open.
struct Open {
    lock_timeout: Duration,
    /// Tables that it has written or locked rows of.
    touched: HashSet<TableName>,
}

/// One connection that writes for moves.
pub(super) struct MysqlMoveTarget {
    dialler: Arc<Dialler>,
    ledger: Ledger,
    facts: Facts,
    session: Session,
    open: Option<Open>,
    /// Tables as they are in this transaction.
    tables: HashMap<TableName, Arc<Table>>,
    /// The ledger's tables that are locked.
    held: Vec<&'static str>,
}

impl MysqlMoveTarget {
    pub(super) async fn open(dialler: Arc<Dialler>) -> Result<Self, TargetError> {
        let (session, facts) = open(&dialler).await?;
        Ok(Self {
            ledger: Ledger::new(&dialler.url.database),
            dialler,
            facts,
            session,
            open: None,
            tables: HashMap::new(),
            held: Vec::new(),
        })
    }

    /// Ends a call: after an error nothing of the transaction remains.
    async fn ended<T>(&mut self, result: Result<T, TargetError>) -> Result<T, TargetError> {
        let Err(error) = result else { return result };
        if self.open.take().is_none() {
            return Err(error);
        }
        self.tables.clear();
        // A lock timeout ends its statement only.
        let error = self.session.rolled_back(error).await;
        if error.kind != ErrorKind::LockTimeout || self.session.is_lost() {
            return Err(error);
        }
        let own = [self.session.id];
        Err(crate::blockers::noted(error, &mut self.session, &own).await)
    }

    async fn table(&mut self, name: &TableName) -> Result<Arc<Table>, TargetError> {
        if let Some(known) = self.tables.get(name) {
            return Ok(Arc::clone(known));
        }
        let read = Table::read(&mut self.session, name, self.ledger.database()).await?;
        let made = Arc::new(read);
        if self.open.is_some() {
            self.tables.insert(name.clone(), Arc::clone(&made));
        }
        Ok(made)
    }

    /// Ready to write.
    async fn ready(&mut self, into: &Written) -> Result<Arc<Table>, TargetError> {
        let Some(open) = &mut self.open else {
            return Err(bug("rows are written outside of a transaction"));
        };
        open.touched.insert(into.table.clone());
        let table = self.table(&into.table).await?;
        table.check_triggers(into)?;
        Ok(table)
    }

    async fn start(&mut self, lease: &Lease, wait: Duration) -> Result<(), TargetError> {
        require_writable(&self.facts)?;
        let packet = format!(
            "{LEDGER_LOCK_WAIT}; {BEGIN}{}SAVEPOINT {SAVEPOINT}; {}",
            self.ledger.fence(lease),
            lock_timeout(wait)
        );
        self.open = Some(Open { lock_timeout: wait, touched: HashSet::new() });
        self.session.run(&packet).await.map_err(|error| fence_failure(error, lease))?;
        failpoint("move.begun");
        Ok(())
    }

    async fn send_commit(&mut self) -> Result<(), TargetError> {
        // Without the savepoint the transaction isn't the one that the fence stands in.
        let packet = format!("RELEASE SAVEPOINT {SAVEPOINT}; COMMIT");
        let sent = self.session.run_noting(&packet, || failpoint("move.sent")).await;
        sent.map(drop).map_err(|error| {
            if transaction_is_gone(&error) {
                return TargetError::new(
                    ErrorKind::Refused,
                    "the transaction was ended by somebody else: nothing is known of its rows",
                )
                .help("a trigger's procedure may not commit; run the move again");
            }
            error
        })
    }

    async fn take(
        &mut self,
        table: &TableName,
        column: &str,
        count: u32,
        above: i64,
    ) -> Result<Vec<i64>, TargetError> {
        let wait = self.wait();
        if !self.has_touched(table)
            && let Some(numbers) =
                numbers::reserve(&self.dialler, wait, table, column, (count, above)).await?
        {
            return Ok(numbers);
        }
        let database = self.ledger.database();
        numbers::from_here(&mut self.session, database, table, column, (count, above)).await
    }

    fn wait(&self) -> Duration {
        self.open.as_ref().map_or(Duration::from_secs(20), |open| open.lock_timeout)
    }

    fn has_touched(&self, table: &TableName) -> bool {
        self.open.as_ref().is_some_and(|open| open.touched.contains(table))
    }
}

/// Runs something of a call's, and ends the call.
macro_rules! call {
    ($self:ident, $call:expr) => {{
        let result = async { $call }.await;
        $self.ended(result).await
    }};
}

#[async_trait]
impl MoveTarget for MysqlMoveTarget {
    async fn catalogue(&mut self) -> Result<Catalogue, TargetError> {
        call!(self, catalogue::read(&mut self.session, self.facts.is_mariadb).await)
    }

    async fn may_write(&mut self, into: &Written) -> Result<(), TargetError> {
        require_writable(&self.facts)?;
        self.table(&into.table).await?.check_triggers(into)
    }

    async fn create_store(&mut self) -> Result<(), TargetError> {
        if self.open.is_some() {
            return Err(bug("the store is created in a transaction"));
        }
        require_writable(&self.facts)?;
        self.session.run(&store::create(&self.ledger)).await.map(drop)
    }

    async fn moves(&mut self) -> Result<Vec<String>, TargetError> {
        call!(self, store::names(&mut self.session, &self.ledger).await)
    }

    async fn hold_ledger(&mut self, lease: &Lease) -> Result<LedgerUse, TargetError> {
        if self.open.is_none() {
            return Err(bug("the ledger is held outside of a transaction"));
        }
        call!(self, {
            let (held, used) = store::hold_ledger(&mut self.session, &self.ledger, lease).await?;
            self.held = held;
            Ok(used)
        })
    }

    async fn drop_ledger(&mut self) -> Result<(), TargetError> {
        if self.held.is_empty() {
            return Err(bug("a ledger is dropped that is not held"));
        }
        let sql = store::drop_ledger(&self.ledger, &self.held);
        call!(self, self.session.run(&sql).await.map(drop))?;
        self.held.clear();
        self.open = None;
        self.tables.clear();
        Ok(())
    }

    async fn stored(
        &mut self,
        name: &str,
        area: &str,
        from: i64,
        limit: u32,
    ) -> Result<Vec<Stored>, TargetError> {
        call!(self, store::stored(&mut self.session, &self.ledger, name, area, from, limit).await)
    }

    async fn begin(&mut self, lease: &Lease, lock_timeout: Duration) -> Result<(), TargetError> {
        if self.open.is_some() {
            return self.ended(Err(bug("a transaction is begun in another one"))).await;
        }
        self.tables.clear();
        call!(self, self.start(lease, lock_timeout).await)
    }

    async fn load(&mut self, into: &Written, rows: &RecordBatch) -> Result<(), TargetError> {
        call!(self, {
            let table = self.ready(into).await?;
            write::load(&mut self.session, &table, into, rows).await
        })
    }

    async fn insert(&mut self, into: &Written, rows: &RecordBatch) -> Result<Refused, TargetError> {
        call!(self, {
            let table = self.ready(into).await?;
            write::insert(&mut self.session, &table, into, rows).await
        })
    }

    async fn update(&mut self, into: &Written, rows: &RecordBatch) -> Result<Refused, TargetError> {
        call!(self, {
            let table = self.ready(into).await?;
            write::update(&mut self.session, &table, into, rows).await
        })
    }

    async fn delete(&mut self, from: &Written, keys: &RecordBatch) -> Result<Refused, TargetError> {
        call!(self, {
            let table = self.ready(from).await?;
            delete::delete(&mut self.session, &table, from, keys).await
        })
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
        call!(self, {
            if let Some(open) = &mut self.open {
                open.touched.insert(from.table.clone());
            }
            let table = self.table(&from.table).await?;
            write::fetch(&mut self.session, &table, from, keys, lock).await
        })
    }

    async fn find(
        &mut self,
        from: &Written,
        values: &RecordBatch,
    ) -> Result<(Vec<u32>, RecordBatch), TargetError> {
        call!(self, {
            let table = self.table(&from.table).await?;
            write::find(&mut self.session, &table, from, values).await
        })
    }

    async fn normalise(
        &mut self,
        field: &Field,
        values: &[Option<String>],
    ) -> Result<Vec<Option<String>>, TargetError> {
        call!(self, normalise::normalise(&mut self.session, field, values).await)
    }

    async fn put(&mut self, name: &str, entries: &[Stored]) -> Result<(), TargetError> {
        if self.open.is_none() {
            return Err(bug("entries are put outside of a transaction"));
        }
        let statements = store::put(&self.ledger, name, entries);
        call!(self, refused::asked(&mut self.session, statements).await.map(drop))
    }

    async fn number_above(
        &mut self,
        table: &TableName,
        column: &str,
        above: i64,
    ) -> Result<(), TargetError> {
        call!(self, {
            if self.has_touched(table) {
                let message = format!("numbers of {table} are moved while its rows are written");
                return Err(bug(message));
            }
            numbers::above(&self.dialler, self.wait(), table, column, above).await
        })
    }

    async fn take_numbers(
        &mut self,
        table: &TableName,
        column: &str,
        count: u32,
        above: i64,
    ) -> Result<Vec<i64>, TargetError> {
        call!(self, self.take(table, column, count, above).await)
    }

    async fn commit(&mut self, lease: &mut Lease) -> Result<(), TargetError> {
        if self.open.is_none() {
            return Err(bug("nothing was begun that could be committed"));
        }
        failpoint("move.commit");
        call!(self, self.send_commit().await)?;
        self.open = None;
        self.tables.clear();
        lease.commits += 1;
        Ok(())
    }

    async fn rollback(&mut self) -> Result<(), TargetError> {
        let was_open = self.open.take().is_some();
        self.tables.clear();
        if !std::mem::take(&mut self.held).is_empty() {
            return self.session.run(store::UNHOLD).await.map(drop);
        }
        if was_open { self.session.run("ROLLBACK").await.map(drop) } else { Ok(()) }
    }

    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError> {
        if self.open.is_some() {
            return Err(bug("a table is read for comparing in a transaction that writes"));
        }
        read::read(&mut self.session, &self.dialler, extract, true, batches).await
    }
}
