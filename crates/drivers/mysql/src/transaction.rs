//! Works and steps that run in one transaction with their ledger rows.
//!
//! Invariants: the fence is checked before the user's first statement is sent; COMMIT is only
//! reached in the transaction that the fence stands in; after any error the transaction is
//! rolled back explicitly, since 1205 ends one statement only.

use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError, Work, failpoint};
use dunlin_model::{Lease, Restart, Statement};
use tokio::time::Instant;

use crate::facts::require_writable;
use crate::ledger;
use crate::session::Effect;
use crate::target::{MysqlTarget, fence_failure};
use crate::work::{StepKey, WorkSession, lock_timeouts, no_such_statement};

/// Set after the fence and released before the ledger's rows. It goes with its transaction, so
/// a transaction that a statement has ended (DDL, or COMMIT within a procedure) cannot pass for
/// the one that began, not even where the statement has begun another.
pub(crate) const SAVEPOINT: &str = "dunlin_work";

impl MysqlTarget {
    pub(crate) async fn commit_work(
        &mut self,
        lease: &mut Lease,
        work: &Work,
    ) -> Result<Vec<Option<u64>>, TargetError> {
        require_writable(&self.facts)?;
        let mut session = self.take_work().await?;
        let result = self.commit_on(&mut session, lease, work).await;
        session.finish();
        self.concluded(session, result).await
    }

    async fn commit_on(
        &mut self,
        session: &mut WorkSession,
        lease: &mut Lease,
        work: &Work,
    ) -> Result<Vec<Option<u64>>, TargetError> {
        session.prepare(work, 0).await?;
        self.require_transactional(work, &work.statements).await?;
        let began = Instant::now();
        self.begin(session, Some(lease), work, work.statements.len(), "").await?;
        failpoint("commit.begun");
        let mut counts = Vec::with_capacity(work.statements.len());
        for index in 0..work.statements.len() {
            match statement_in_transaction(session, work, index).await {
                Ok(effect) => counts.push(effect.rows),
                Err(error) => return Err(self.undone(session, lease, error).await),
            }
        }
        failpoint("commit.executed");
        let rows = self.finished_rows(work, began.elapsed());
        self.end(session, lease, &rows).await?;
        failpoint("commit.done");
        Ok(counts)
    }

    /// The rows that say that all of a work has taken effect.
    pub(crate) fn finished_rows(&self, work: &Work, elapsed: Duration) -> Vec<String> {
        let mut rows =
            vec![self.ledger.delete_steps(work.entry.id), self.ledger.entry(&work.entry, elapsed)];
        rows.extend(work.resets.iter().map(|reset| self.ledger.entry(reset, Duration::ZERO)));
        rows
    }

    pub(crate) async fn commit_one(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        closes: Option<u32>,
    ) -> Result<Option<u64>, TargetError> {
        require_writable(&self.facts)?;
        let mut session = self.take_work().await?;
        let result = self.commit_one_on(&mut session, lease, work, ordinal, closes).await;
        if is_last(work, ordinal) && result.is_ok() {
            session.finish();
        }
        self.concluded(session, result).await
    }

    async fn commit_one_on(
        &mut self,
        session: &mut WorkSession,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        closes: Option<u32>,
    ) -> Result<Option<u64>, TargetError> {
        let index = ordinal as usize;
        let statement = work.statements.get(index).ok_or_else(|| no_such_statement(index))?;
        session.prepare(work, ordinal).await?;
        self.require_transactional(work, std::slice::from_ref(statement)).await.map_err(
            |error| {
                if error.statement.is_some() { error.in_statement(index) } else { error }
            },
        )?;
        let began = Instant::now();
        let key = StepKey::new(work, ordinal, lease.token);
        // Its row of history takes a number, which LAST_INSERT_ID() would say from then on: so it
        // stands before the user's statement, and what the next one asks for is the user's own.
        let (before, after) = match closes {
            _ if is_last(work, ordinal) => (String::new(), None),
            Some(closes) => (String::new(), Some(self.closed_row(lease, work, closes))),
            None if ordinal == 0 => {
                (format!("{}SET last_insert_id = 0; ", self.ledger.running(&work.entry)), None)
            }
            None => (self.ledger.running(&work.entry), None),
        };
        self.begin(session, Some(lease), work, 1, &before).await?;
        failpoint("commit.begun");
        let effect = match statement_in_transaction(session, work, index).await {
            Ok(effect) => effect,
            Err(error) => return Err(self.undone(session, lease, error).await),
        };
        failpoint("commit.executed");
        let rows = if is_last(work, ordinal) {
            self.finished_rows(work, began.elapsed())
        } else {
            after.into_iter().chain([self.ledger.done_step(&key)]).collect()
        };
        self.end(session, lease, &rows).await?;
        failpoint("commit.done");
        Ok(effect.rows)
    }

    pub(crate) async fn rehearse_work(
        &mut self,
        work: &Work,
    ) -> Result<Vec<Option<u64>>, TargetError> {
        if let Some(index) = work.statements.iter().position(commits_by_itself) {
            return Err(TargetError::new(
                ErrorKind::Refused,
                "this statement commits by itself on this server, so it cannot be tried and rolled back",
            )
            .help("try the migration on a copy of the database")
            .in_statement(index));
        }
        let mut session = self.take_work().await?;
        let result = self.rehearse_on(&mut session, work).await;
        session.finish();
        self.concluded(session, result).await
    }

    async fn rehearse_on(
        &mut self,
        session: &mut WorkSession,
        work: &Work,
    ) -> Result<Vec<Option<u64>>, TargetError> {
        session.prepare(work, 0).await?;
        self.require_transactional(work, &work.statements).await?;
        self.begin(session, None, work, work.statements.len(), "").await?;
        let mut counts = Vec::with_capacity(work.statements.len());
        for index in 0..work.statements.len() {
            match statement_in_transaction(session, work, index).await {
                Ok(effect) => counts.push(effect.rows),
                Err(error) => return Err(session.session.rolled_back(error).await),
            }
        }
        let check = format!("RELEASE SAVEPOINT {SAVEPOINT}; ROLLBACK");
        match session.session.run(&check).await {
            Ok(_) => Ok(counts),
            Err(error) if transaction_is_gone(&error) => {
                Err(session.session.rolled_back(ended_within(None)).await)
            }
            Err(error) => Err(session.session.rolled_back(error).await),
        }
    }

    /// Begins a transaction of `statements` user statements, with rows of the ledger's before them.
    async fn begin(
        &mut self,
        session: &mut WorkSession,
        lease: Option<&Lease>,
        work: &Work,
        statements: usize,
        rows: &str,
    ) -> Result<(), TargetError> {
        // With two statements or more, rows that appear between them could be lost to one of
        // them: INSERT … SELECT, then DELETE.
        let isolation =
            if statements > 1 { "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; " } else { "" };
        let fence = lease.map(|lease| self.ledger.fence(lease)).unwrap_or_default();
        let packet = format!(
            "{}; {}; {isolation}{}{fence}{rows}SAVEPOINT {SAVEPOINT}; {}",
            lock_timeouts(work),
            session.statement_timeout(None),
            ledger::BEGIN,
            session.statement_timeout(work.statement_timeout),
        );
        match session.session.run(&packet).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = lease
                    .map_or_else(|| error.clone(), |lease| fence_failure(error.clone(), lease));
                Err(session.session.rolled_back(error).await)
            }
        }
    }

    /// Writes the ledger's rows and commits.
    async fn end(
        &mut self,
        session: &mut WorkSession,
        lease: &mut Lease,
        rows: &[String],
    ) -> Result<(), TargetError> {
        let rows = rows.concat();
        let packet = format!(
            "{}; RELEASE SAVEPOINT {SAVEPOINT}; {rows}COMMIT",
            session.statement_timeout(None)
        );
        match session.session.run_noting(&packet, || failpoint("commit.sent")).await {
            Ok(_) => {
                lease.count_commit();
                Ok(())
            }
            Err(error) if transaction_is_gone(&error) => {
                Err(self.undone(session, lease, ended_within(None)).await)
            }
            Err(error) => Err(session.session.rolled_back(error).await),
        }
    }

    /// Rolls back. Where a statement had committed by itself, the fence's change went with it:
    /// the lease then takes over the checkpoint that stands in the database.
    async fn undone(
        &mut self,
        session: &mut WorkSession,
        lease: &mut Lease,
        error: TargetError,
    ) -> TargetError {
        let error = session.session.rolled_back(error).await;
        if error.kind != ErrorKind::Refused || session.session.is_lost() {
            return error;
        }
        let beside =
            lease.beside.iter_mut().map(|one| (&one.resource, one.token, &mut one.commits));
        let own = (&lease.resource, lease.token, &mut lease.commits);
        for (resource, token, stands) in std::iter::once(own).chain(beside) {
            let query = self.ledger.checkpoint(resource, token);
            match self.session.run(&query).await {
                Ok(answers) => {
                    let row = answers.first().and_then(|answer| answer.rows.first());
                    if let Some(commits) = row.and_then(|row| row.number(0)) {
                        *stands = commits;
                    }
                }
                Err(failure) => return failure,
            }
        }
        error
    }

    /// Puts the session back and says who blocks.
    pub(crate) async fn concluded<T>(
        &mut self,
        session: WorkSession,
        result: Result<T, TargetError>,
    ) -> Result<T, TargetError> {
        let id = session.session.id;
        match self.put_back(session, result) {
            Ok(value) => Ok(value),
            Err(error) => Err(self.explained(error, id).await),
        }
    }
}

pub(crate) fn is_last(work: &Work, ordinal: u32) -> bool {
    ordinal as usize + 1 >= work.statements.len()
}

fn commits_by_itself(statement: &Statement) -> bool {
    match statement.facts.restart {
        Restart::Transactional => false,
        Restart::Repeatable => !statement.facts.changes_session,
        Restart::ByImage { .. } | Restart::Unknowable { .. } => true,
    }
}

async fn statement_in_transaction(
    session: &mut WorkSession,
    work: &Work,
    index: usize,
) -> Result<Effect, TargetError> {
    let statement = work.statements.get(index).ok_or_else(|| no_such_statement(index))?;
    let effect = session.execute(work, index, &statement.text).await?;
    if effect.in_transaction { Ok(effect) } else { Err(ended_within(Some(index))) }
}

/// 1305: the savepoint does not exist.
pub(crate) fn transaction_is_gone(error: &TargetError) -> bool {
    error.code.as_deref() == Some("1305")
}

pub(crate) fn ended_within(statement: Option<usize>) -> TargetError {
    let (subject, which) = match statement {
        Some(_) => ("this statement", "it and those before it"),
        None => ("a statement", "it and those before it"),
    };
    let mut error = TargetError::new(
        ErrorKind::Refused,
        format!(
            "{subject} ended the transaction that the migration ran in: what {which} changed \
             may be committed, and the migration is not recorded as run"
        ),
    )
    .help(
        "a procedure with COMMIT or DDL in it cannot be part of a transaction: undo by hand what \
         took effect, then put `-- dunlin: no-transaction` at the top of the file",
    );
    error.may_be_kept = true;
    match statement {
        Some(index) => error.in_statement(index),
        None => error,
    }
}
