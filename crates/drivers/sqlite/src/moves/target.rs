//! A file as a target.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use dunlin_engine::moves::{
    Batches, Extract, LedgerUse, MoveTarget, ReadRows, Refused, Stored, Written,
};
use dunlin_engine::{ErrorKind, Purpose, TargetError, failpoint};
use dunlin_model::Lease;
use dunlin_model::moves::{Catalogue, Field, TableName};
use rusqlite::Connection;

use super::numbers;
use super::write::{self, Place};
use super::{catalogue, normalise, read, store};
use crate::address::DatabaseFile;
use crate::control::Control;
use crate::fault::Outcome;
use crate::ledger;
use crate::look;
use crate::session::Session;
use crate::target::LeaseLength;
use crate::worker::Worker;

/// One connection that writes.
pub(super) struct SqliteMoveTarget {
    length: Arc<LeaseLength>,
    worker: Worker<Writer>,
}

/// The connection with its transaction.
struct Writer {
    session: Session,
    /// The rows that the open transaction has written; `None`: none is open.
    open: Option<u64>,
}

impl Writer {
    /// Looks, in the transaction if one is open.
    fn look<T>(
        &mut self,
        mut job: impl FnMut(&Connection, &Control) -> Outcome<T>,
    ) -> Result<T, TargetError> {
        if self.open.is_some() {
            return self.within(|place| job(place.connection, place.control));
        }
        let control = Arc::clone(&self.session.control);
        self.session.read(|connection| job(connection, &control))
    }

    /// Works in the transaction, of which an error leaves nothing.
    fn within<T>(&mut self, job: impl FnOnce(Place<'_>) -> Outcome<T>) -> Result<T, TargetError> {
        if self.open.is_none() {
            return Err(TargetError::new(ErrorKind::Bug, "no transaction of the move is open"));
        }
        let file = Arc::clone(&self.session.file);
        let answer = self.session.within(|connection, control| {
            if connection.is_autocommit() {
                return Err(crate::fault::gone().into());
            }
            job(Place { connection, control, file: &file })
        });
        if answer.is_err() {
            self.end();
        }
        answer
    }

    /// Works in the transaction, or in one of its own where none is open.
    fn anywhere<T>(
        &mut self,
        job: impl FnOnce(&Connection) -> Outcome<T>,
    ) -> Result<T, TargetError> {
        if self.open.is_some() {
            return self.within(|place| job(place.connection));
        }
        let wait = self.session.file.busy_timeout;
        self.session.write(wait, |connection, _| job(connection))
    }

    fn begin(&mut self, lease: &Lease, wait: Duration) -> Result<(), TargetError> {
        if self.open.is_some() {
            self.end();
            return Err(TargetError::new(ErrorKind::Bug, "a transaction of the move is open"));
        }
        // Within a transaction the pragma would do nothing, and say nothing.
        self.session.alone(wait, |connection, _| {
            Ok(connection.execute_batch("PRAGMA foreign_keys = ON")?)
        })?;
        let begun = self.session.begin_and(wait, |connection, _| ledger::enter(connection, lease));
        match begun {
            Ok(()) => self.open = Some(0),
            Err(_) => self.end(),
        }
        begun
    }

    fn commit(&mut self, lease: &Lease, ttl: Duration) -> Result<(), TargetError> {
        let rows = self.open.unwrap_or(0);
        self.within(|place| ledger::leave(place.connection, lease, ttl, rows))?;
        failpoint("move.written");
        let ended = self.session.commit();
        self.end();
        ended.map_err(|error| match error.message.as_str() {
            "FOREIGN KEY constraint failed" => error.help(
                "a deferred foreign key was still broken at the end of the transaction: rows were \
                 written that refer to none",
            ),
            _ => error,
        })
    }

    fn end(&mut self) {
        self.open = None;
        self.session.leave_transaction();
    }

    /// Writes, and counts the rows that were.
    fn write(
        &mut self,
        rows: usize,
        job: impl FnOnce(Place<'_>) -> Outcome<Refused>,
    ) -> Result<Refused, TargetError> {
        let refused = self.within(job)?;
        let left = refused.absent_or_there.len() + refused.rejected.len();
        if let Some(written) = &mut self.open {
            *written += rows.saturating_sub(left) as u64;
        }
        Ok(refused)
    }
}

impl SqliteMoveTarget {
    pub(super) async fn open(
        file: Arc<DatabaseFile>,
        length: Arc<LeaseLength>,
    ) -> Result<Self, TargetError> {
        let control = Arc::new(Control::default());
        control.wait_for_locks(file.busy_timeout);
        let session = Session::new(Arc::clone(&file), Arc::clone(&control), Purpose::Run);
        let writer = Writer { session, open: None };
        let mut target = Self { length, worker: Worker::new(control, writer) };
        target
            .worker
            .call(move |writer| {
                // A database that is not there has no tables to move into: it is not made here.
                look::identify(&file)?;
                writer.session.check()
            })
            .await?;
        Ok(target)
    }
}

#[async_trait]
impl MoveTarget for SqliteMoveTarget {
    async fn catalogue(&mut self) -> Result<Catalogue, TargetError> {
        self.worker.call(|writer| writer.look(|c, _| catalogue::catalogue(c))).await
    }

    async fn may_write(&mut self, into: &Written) -> Result<(), TargetError> {
        let into = into.clone();
        let look = move |writer: &mut Writer| {
            writer.look(|connection, _| write::check_triggers(connection, &into).map(drop))
        };
        self.worker.call(look).await
    }

    async fn create_store(&mut self) -> Result<(), TargetError> {
        self.worker.call(|writer| writer.anywhere(store::create)).await
    }

    async fn moves(&mut self) -> Result<Vec<String>, TargetError> {
        self.worker.call(|writer| writer.look(|c, _| store::names(c))).await
    }

    async fn hold_ledger(&mut self, _: &Lease) -> Result<LedgerUse, TargetError> {
        self.worker.call(|writer| writer.within(|place| store::hold_ledger(place.connection))).await
    }

    async fn drop_ledger(&mut self) -> Result<(), TargetError> {
        self.worker
            .call(|writer| {
                writer.within(|place| store::drop_ledger(place.connection))?;
                let ended = writer.session.commit();
                writer.end();
                ended
            })
            .await
    }

    async fn stored(
        &mut self,
        name: &str,
        area: &str,
        from: i64,
        limit: u32,
    ) -> Result<Vec<Stored>, TargetError> {
        let (name, area) = (name.to_owned(), area.to_owned());
        self.worker
            .call(move |writer| writer.look(|c, _| store::stored(c, &name, &area, from, limit)))
            .await
    }

    async fn begin(&mut self, lease: &Lease, lock_timeout: Duration) -> Result<(), TargetError> {
        let lease = lease.clone();
        self.worker.call(move |writer| writer.begin(&lease, lock_timeout)).await
    }

    async fn load(&mut self, into: &Written, rows: &RecordBatch) -> Result<(), TargetError> {
        let (into, rows) = (into.clone(), rows.clone());
        self.worker
            .call(move |writer| {
                let load = |place: Place<'_>| {
                    write::load(place, &into, &rows).map(|()| Refused::default())
                };
                writer.write(rows.num_rows(), load).map(|_| ())
            })
            .await
    }

    async fn insert(&mut self, into: &Written, rows: &RecordBatch) -> Result<Refused, TargetError> {
        let (into, rows) = (into.clone(), rows.clone());
        self.worker
            .call(move |writer| {
                writer.write(rows.num_rows(), |place| write::insert(place, &into, &rows))
            })
            .await
    }

    async fn update(&mut self, into: &Written, rows: &RecordBatch) -> Result<Refused, TargetError> {
        let (into, rows) = (into.clone(), rows.clone());
        self.worker
            .call(move |writer| {
                writer.write(rows.num_rows(), |place| write::update(place, &into, &rows))
            })
            .await
    }

    async fn delete(&mut self, from: &Written, keys: &RecordBatch) -> Result<Refused, TargetError> {
        let (from, keys) = (from.clone(), keys.clone());
        self.worker
            .call(move |writer| {
                writer.write(keys.num_rows(), |place| write::delete(place, &from, &keys))
            })
            .await
    }

    async fn fetch(
        &mut self,
        from: &Written,
        keys: &RecordBatch,
        lock: bool,
    ) -> Result<ReadRows, TargetError> {
        let (from, keys) = (from.clone(), keys.clone());
        self.worker
            .call(move |writer| {
                // An open transaction is the only one that may write: its rows are locked.
                if lock && writer.open.is_none() {
                    let message = "rows are to be locked outside a transaction";
                    return Err(TargetError::new(ErrorKind::Bug, message));
                }
                writer.look(|connection, _| write::fetch(connection, &from, &keys))
            })
            .await
    }

    async fn find(
        &mut self,
        from: &Written,
        values: &RecordBatch,
    ) -> Result<(Vec<u32>, RecordBatch), TargetError> {
        let (from, values) = (from.clone(), values.clone());
        self.worker
            .call(move |writer| {
                writer.look(|connection, _| write::find(connection, &from, &values))
            })
            .await
    }

    async fn normalise(
        &mut self,
        field: &Field,
        values: &[Option<String>],
    ) -> Result<Vec<Option<String>>, TargetError> {
        normalise::normalise(field, values)
    }

    async fn put(&mut self, name: &str, entries: &[Stored]) -> Result<(), TargetError> {
        let (name, entries) = (name.to_owned(), entries.to_vec());
        self.worker
            .call(move |writer| {
                writer.within(|place| store::put(place.connection, &name, &entries))
            })
            .await
    }

    async fn number_above(
        &mut self,
        table: &TableName,
        column: &str,
        above: i64,
    ) -> Result<(), TargetError> {
        let (table, column) = (table.clone(), column.to_owned());
        self.worker
            .call(move |writer| {
                writer.anywhere(|connection| numbers::above(connection, &table, &column, above))
            })
            .await
    }

    async fn take_numbers(
        &mut self,
        table: &TableName,
        column: &str,
        count: u32,
        above: i64,
    ) -> Result<Vec<i64>, TargetError> {
        let (table, column) = (table.clone(), column.to_owned());
        self.worker
            .call(move |writer| {
                writer
                    .anywhere(|connection| numbers::take(connection, &table, &column, count, above))
            })
            .await
    }

    async fn commit(&mut self, lease: &mut Lease) -> Result<(), TargetError> {
        let (held, ttl) = (lease.clone(), self.length.get());
        self.worker.call(move |writer| writer.commit(&held, ttl)).await?;
        lease.commits += 1;
        Ok(())
    }

    async fn rollback(&mut self) -> Result<(), TargetError> {
        self.worker
            .call(|writer| {
                writer.end();
                Ok(())
            })
            .await
    }

    async fn read(&mut self, extract: &Extract, batches: &Batches) -> Result<(), TargetError> {
        let (extract, batches) = (extract.clone(), batches.clone());
        self.worker
            .call(move |writer| {
                writer.look(|connection, control| {
                    let put = |batch| batches.blocking_send(Ok(batch)).is_ok();
                    read::read(connection, control, &extract, true, put)
                })
            })
            .await
    }
}
