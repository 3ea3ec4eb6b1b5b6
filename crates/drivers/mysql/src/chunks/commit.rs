//! A chunk's transaction: fence, statements, checks, COMMIT.
//!
//! Invariants: the fence is the first statement; COMMIT is only reached in the transaction that
//! the fence stands in, with the table's shape as planned; after any error the transaction is
//! rolled back explicitly.
//!
//! One statement runs at READ COMMITTED, where no gap is locked and the application's inserts
//! go through. UPDATE and DELETE of the walked table lock the rows that they read, so they wait
//! for rows whose insertion is in doubt. Statements that only read it (INSERT … SELECT) would read
//! a snapshot at that level and pass over such rows, so the range is locked first by a read FOR
//! SHARE: that waits too, and locks rows but no gaps, as REPEATABLE READ would. Two statements or
//! more run at REPEATABLE READ, whose gap locks keep out rows that one of them would not see; so does
//! one whose old values are kept, or a row that is inserted between the two is changed and not kept.

use dunlin_engine::{
    Checkpoint, Chunk, Committed, Deed, ErrorKind, Rehearsal, TargetError, failpoint,
};
use dunlin_model::{Backfill, Intent, KeyRange, Lease, Statement, Verb};
use tokio::time::Instant;

use super::capture::Capturing;
use super::catalogue::require_shape;
use super::range::KeySql;
use super::record::intent_of;
use super::walk::{first_number, too_little};
use crate::facts::require_writable;
use crate::ledger::{BEGIN, ONE_ROW};
use crate::literal::{self, text};
use crate::session::Answer;
use crate::target::{MysqlTarget, fence_failure};
use crate::transaction::{SAVEPOINT, ended_within, transaction_is_gone};
use crate::work::{WorkSession, lock_timeout};

impl MysqlTarget {
    /// Compares and moves a chunk's checkpoint, or fails with 1690.
    pub(crate) fn chunk_fence(&self, lease: &Lease, pass: u32, checkpoint: &Checkpoint) -> String {
        let (table, job) = (self.ledger.table("segments"), text(&lease.resource.to_string()));
        let token = lease.token;
        match checkpoint {
            Checkpoint::Segment { seg, from, to, hi } => format!(
                "UPDATE {table} SET upto = {}, attempts = 0, connection = CONNECTION_ID() \
                 WHERE job = {job} AND seg = {seg} AND token = {token} AND upto = {} AND hi = {}; \
                 {ONE_ROW}",
                text(&to.encode()),
                text(&from.encode()),
                text(&hi.encode()),
            ),
            // The row must change, so that a successor sees whose change it is. A row that is not
            // in quarantine any more was released before.
            Checkpoint::Released { key } => format!(
                "UPDATE {table} SET rows_done = rows_done + 1, connection = CONNECTION_ID() \
                 WHERE job = {job} AND seg = 0 AND token = {token}; {ONE_ROW}\
                 DELETE FROM {} WHERE job = {job} AND pass = {pass} AND key_hash = {}; {ONE_ROW}",
                self.ledger.table("quarantine"),
                key_hash(&text(&key.encode()))
            ),
        }
    }

    /// What is written for a checkpoint once the rows are done.
    pub(crate) fn chunk_counted(
        &self,
        lease: &Lease,
        checkpoint: &Checkpoint,
        rows: u64,
    ) -> String {
        let job = text(&lease.resource.to_string());
        match checkpoint {
            Checkpoint::Segment { seg, .. } => format!(
                "UPDATE {} SET rows_done = rows_done + {rows} WHERE job = {job} AND seg = {seg}; ",
                self.ledger.table("segments")
            ),
            // Its fence has done all.
            Checkpoint::Released { .. } => String::new(),
        }
    }

    pub(crate) async fn run_chunk(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
    ) -> Result<Committed, TargetError> {
        require_writable(&self.facts)?;
        let mut session = self.take_work().await?;
        let result = self.chunk_on(&mut session, lease, work, chunk).await;
        let result = self.concluded(session, result).await;
        match result {
            Err(error) => Err(self.or_another_shape(work, error).await),
            done => done,
        }
    }

    /// A statement may fail because the table is another one by now.
    pub(crate) async fn or_another_shape(
        &mut self,
        work: &Backfill,
        error: TargetError,
    ) -> TargetError {
        if error.kind != ErrorKind::Statement || error.by_row || self.session.is_lost() {
            return error;
        }
        self.known = None;
        match self.columns(work).await {
            Err(changed) if changed.kind == ErrorKind::ShapeChanged => {
                changed.note(error.to_string())
            }
            _ => error,
        }
    }

    async fn chunk_on(
        &mut self,
        session: &mut WorkSession,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
    ) -> Result<Committed, TargetError> {
        session.prepare_chunk().await?;
        let fence = self.chunk_fence(lease, work.pass, &chunk.checkpoint);
        let capturing = match (&chunk.deed, &work.capture) {
            (Deed::Statements, Some(_)) => Some(self.capturing(work, &chunk.range).await?),
            _ => None,
        };
        self.begin_chunk(session, work, &fence, lease).await?;
        failpoint("chunk.begun");
        match self.deeds(session, lease, work, chunk, capturing).await {
            Ok((rows, intent)) => {
                failpoint("chunk.executed");
                let commit = commit(session).await?;
                failpoint("chunk.done");
                Ok(Committed { rows, commit, bytes: None, held: None, intent })
            }
            Err(error) => Err(session.session.rolled_back(error).await),
        }
    }

    pub(crate) async fn begin_chunk(
        &self,
        session: &mut WorkSession,
        work: &Backfill,
        fence: &str,
        lease: &Lease,
    ) -> Result<(), TargetError> {
        let packet = format!(
            "{}; {}; SET TRANSACTION ISOLATION LEVEL {}; {BEGIN}{fence}SAVEPOINT {SAVEPOINT}",
            lock_timeout(work.lock_timeout),
            session.statement_timeout(None),
            isolation(work),
        );
        match session.session.run(&packet).await {
            Ok(_) => Ok(()),
            Err(error) => Err(session.session.rolled_back(fence_failure(error, lease)).await),
        }
    }

    /// All between the fence and COMMIT.
    async fn deeds(
        &mut self,
        session: &mut WorkSession,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
        capturing: Option<Capturing>,
    ) -> Result<(Vec<Option<u64>>, Intent), TargetError> {
        let rows = match &chunk.deed {
            Deed::Statements => {
                lock_range(session, work, &chunk.range, chunk.lock_first).await?;
                let began = match &capturing {
                    Some(capturing) => Some(capturing.before(session).await?),
                    None => None,
                };
                let rows = statements(session, work, &chunk.range).await?;
                if let (Some(capturing), Some(began)) = (&capturing, began) {
                    capturing.after(session, began).await?;
                }
                rows
            }
            Deed::SetAside { error } => {
                let packet = self.set_aside(lease, work, &chunk.range, error)?;
                session.session.run_rows(&packet).await?;
                Vec::new()
            }
        };
        let touched = rows.first().copied().flatten().unwrap_or_default();
        let counted = self.chunk_counted(lease, &chunk.checkpoint, touched);
        let intent = self.finish_chunk(session, lease, work, &counted).await?;
        Ok((rows, intent))
    }

    /// Writes what goes with the chunk, and looks whether all is as it should be.
    pub(crate) async fn finish_chunk(
        &self,
        session: &mut WorkSession,
        lease: &Lease,
        work: &Backfill,
        writes: &str,
    ) -> Result<Intent, TargetError> {
        // The statements hold the table's metadata lock: its shape stays until the COMMIT.
        let packet = format!(
            "{}; RELEASE SAVEPOINT {SAVEPOINT}; {writes}{}; {}; {}",
            session.statement_timeout(None),
            self.metadata_lock(work),
            self.shape_queries(work)?,
            self.ledger.select_intent(&lease.resource),
        );
        let answers = session.session.run(&packet).await.map_err(|error| {
            if transaction_is_gone(&error) { ended_within(None) } else { error }
        })?;
        let [.., columns, statistics, intent] = answers.as_slice() else {
            return Err(too_little());
        };
        require_shape(work, columns, statistics)?;
        Ok(intent_of(intent))
    }

    /// A statement that opens the walked table in this transaction, whatever the user's name.
    pub(crate) fn metadata_lock(&self, work: &Backfill) -> String {
        format!("SELECT 1 FROM {} LIMIT 0", work.table)
    }

    fn set_aside(
        &self,
        lease: &Lease,
        work: &Backfill,
        range: &KeyRange,
        error: &str,
    ) -> Result<String, TargetError> {
        if *range == KeyRange::Nulls {
            return Err(TargetError::new(
                ErrorKind::Refused,
                "rows without a key cannot be set aside: nothing tells them apart",
            )
            .help("repair them by hand, or give the key a NOT NULL constraint"));
        }
        let key = KeySql::of(work);
        let encoded = key.encoded(None);
        Ok(format!(
            "INSERT INTO {} (job, pass, `key`, key_hash, error, at) \
             SELECT {}, {}, {encoded}, {}, {error}, UTC_TIMESTAMP(6) FROM {} WHERE {} \
             LOCK IN SHARE MODE \
             ON DUPLICATE KEY UPDATE error = {error}, at = UTC_TIMESTAMP(6)",
            self.ledger.table("quarantine"),
            text(&lease.resource.to_string()),
            work.pass,
            key_hash(&encoded),
            Self::walked(work),
            key.range(None, range)?,
            error = text(error),
        ))
    }

    pub(crate) async fn try_chunk(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
    ) -> Result<Rehearsal, TargetError> {
        require_writable(&self.facts)?;
        self.require_transactional_chunks(work).await?;
        let triggers = self.triggers(work).await?;
        let before = self.log_bytes().await;
        let mut session = self.take_work().await?;
        let began = Instant::now();
        let result = rehearse_on(&mut session, work, range).await;
        let took = began.elapsed();
        let (rows, locks) = self.concluded(session, result).await?;
        let after = self.log_bytes().await;
        let log_bytes = after.zip(before).and_then(|(after, before)| after.checked_sub(before));
        Ok(Rehearsal { rows, took, log_bytes, locks, triggers, hot_ratio: None })
    }

    async fn log_bytes(&mut self) -> Option<u64> {
        let query = "SHOW GLOBAL STATUS LIKE 'Innodb_os_log_written'";
        let answers = self.session.run(query).await.ok()?;
        answers.first()?.rows.first()?.number(1)
    }

    /// Triggers on the tables that the statements write.
    async fn triggers(&mut self, work: &Backfill) -> Result<Vec<String>, TargetError> {
        let writes = work.statements.iter().filter_map(|statement| statement.facts.writes.as_ref());
        let mut found: Vec<String> = Vec::new();
        for write in writes {
            let Some((schema, table)) = self.located(&write.table) else { continue };
            let event = match write.verb {
                Verb::Insert => "INSERT",
                Verb::Update => "UPDATE",
                Verb::Delete => "DELETE",
            };
            let query = format!(
                "SELECT CONCAT(trigger_name, ' (', LOWER(action_timing), ' ', \
                 LOWER(event_manipulation), ' on ', event_object_table, ')') \
                 FROM information_schema.triggers WHERE event_object_schema = {} \
                 AND event_object_table = {} AND event_manipulation = '{event}' \
                 ORDER BY action_timing, action_order",
                text(&schema),
                text(&table)
            );
            let answers = self.session.run(&query).await?;
            found.extend(answers.iter().flat_map(|a| &a.rows).map(|row| row.text(0)));
        }
        found.dedup();
        Ok(found)
    }

    /// Refuses tables whose engine cannot roll back.
    pub(crate) async fn require_transactional_chunks(
        &mut self,
        work: &Backfill,
    ) -> Result<(), TargetError> {
        if work.statements.is_empty() {
            return self.require_transactional_updates(&work.table).await;
        }
        self.require_transactional_statements(&work.statements).await
    }
}

/// The hash of a key's text, given SQL for the text.
pub(crate) fn key_hash(encoded: &str) -> String {
    format!("UNHEX(SHA2({encoded}, 256))")
}

fn isolation(work: &Backfill) -> &'static str {
    let statements = work.statements.len();
    let reads_before = statements > 1 || (statements > 0 && work.capture.is_some());
    if reads_before { "REPEATABLE READ" } else { "READ COMMITTED" }
}

/// COMMIT alone, timed.
pub(crate) async fn commit(session: &mut WorkSession) -> Result<std::time::Duration, TargetError> {
    let began = Instant::now();
    match session.session.run_noting("COMMIT", || failpoint("chunk.sent")).await {
        Ok(_) => Ok(began.elapsed()),
        Err(error) => Err(session.session.rolled_back(error).await),
    }
}

/// Locks the rows of a range before the statements, where that is asked for or needed.
async fn lock_range(
    session: &mut WorkSession,
    work: &Backfill,
    range: &KeyRange,
    at_once: bool,
) -> Result<(), TargetError> {
    let how = if at_once {
        "FOR UPDATE NOWAIT"
    } else if reads_only(work) {
        "LOCK IN SHARE MODE"
    } else if updates_alone(work) {
        "FOR UPDATE"
    } else {
        return Ok(());
    };
    // The index is forced: its rows are locked in the order of the walk.
    let query = format!(
        "{}; SELECT COUNT(*) FROM {} WHERE {} {how}",
        session.statement_timeout(Some(work.statement_timeout)),
        MysqlTarget::walked(work),
        KeySql::of(work).range(None, range)?
    );
    session.session.run_rows(&query).await.map(drop)
}

/// The walked table is read by a statement that does not lock what it reads. At REPEATABLE READ
/// all do.
fn reads_only(work: &Backfill) -> bool {
    let [statement] = work.statements.as_slice() else {
        return false;
    };
    let writes_it = statement.facts.writes.as_ref().is_some_and(|write| {
        write.verb != Verb::Insert && is_same_table(&write.table, &work.table)
    });
    !writes_it
}

/// A single UPDATE, at READ COMMITTED: it reads what it can't lock as it was when it was last
/// committed (a semi-consistent read), so it passes over a row whose insertion is in doubt. Locking
/// reads wait for such a row.
fn updates_alone(work: &Backfill) -> bool {
    let [statement] = work.statements.as_slice() else {
        return false;
    };
    statement.facts.writes.as_ref().is_some_and(|write| write.verb == Verb::Update)
}

/// Whether a name as a statement has it is that of a table as the catalogue has it.
pub(crate) fn is_same_table(written: &str, table: &str) -> bool {
    let (Some(written), Some(table)) = (literal::name_parts(written), literal::name_parts(table))
    else {
        return false;
    };
    let ends: Vec<&String> = table.iter().rev().take(written.len()).rev().collect();
    ends.len() == written.len() && ends.iter().zip(&written).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

/// The text of a statement over a range.
pub(crate) fn statement_text(
    work: &Backfill,
    statement: &Statement,
    range: &KeyRange,
) -> Result<String, TargetError> {
    let key = KeySql::of(work);
    // A range that is good without an alias is good with any.
    key.range(None, range)?;
    Ok(statement.with_chunk(|alias| key.range(alias, range).unwrap_or_default()))
}

async fn statements(
    session: &mut WorkSession,
    work: &Backfill,
    range: &KeyRange,
) -> Result<Vec<Option<u64>>, TargetError> {
    let limit = Some(work.statement_timeout);
    session.session.run(&session.statement_timeout(limit)).await?;
    let mut counts = Vec::with_capacity(work.statements.len());
    for (index, statement) in work.statements.iter().enumerate() {
        let sql = statement_text(work, statement, range)?;
        let effect = session.execute_as(statement, index, &sql, limit).await.map_err(|mut e| {
            // Places in the text that was sent are not places in the file.
            e.offset = None;
            e
        })?;
        if !effect.in_transaction {
            return Err(ended_within(Some(index)));
        }
        counts.push(effect.rows);
    }
    Ok(counts)
}

async fn rehearse_on(
    session: &mut WorkSession,
    work: &Backfill,
    range: &KeyRange,
) -> Result<(Vec<Option<u64>>, Vec<String>), TargetError> {
    session.prepare_chunk().await?;
    let packet = format!(
        "{}; SET TRANSACTION ISOLATION LEVEL {}; {BEGIN}SAVEPOINT {SAVEPOINT}",
        lock_timeout(work.lock_timeout),
        isolation(work)
    );
    session.session.run(&packet).await?;
    let rows = async {
        lock_range(session, work, range, false).await?;
        statements(session, work, range).await
    };
    let rows = match rows.await {
        Ok(rows) => rows,
        Err(error) => return Err(session.session.rolled_back(error).await),
    };
    // Only with the PROCESS privilege; without it there is nothing to tell.
    let query = "SELECT trx_rows_locked, trx_tables_locked FROM information_schema.innodb_trx \
                 WHERE trx_mysql_thread_id = CONNECTION_ID()";
    let locks = match session.session.run(query).await {
        Ok(answers) => locks_of(&answers),
        Err(error) if error.kind == ErrorKind::Lost => return Err(error),
        Err(_) => Vec::new(),
    };
    let check =
        format!("{}; RELEASE SAVEPOINT {SAVEPOINT}; ROLLBACK", session.statement_timeout(None));
    match session.session.run(&check).await {
        Ok(_) => Ok((rows, locks)),
        Err(error) if transaction_is_gone(&error) => {
            Err(session.session.rolled_back(ended_within(None)).await)
        }
        Err(error) => Err(session.session.rolled_back(error).await),
    }
}

fn locks_of(answers: &[Answer]) -> Vec<String> {
    let tables = answers.first().and_then(|a| a.rows.first()?.number::<u64>(1));
    match (first_number(answers), tables) {
        (Some(rows), Some(tables)) => vec![format!("about {rows} row locks in {tables} tables")],
        _ => Vec::new(),
    }
}
