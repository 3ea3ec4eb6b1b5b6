//! The port: each call, on its session.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dunlin_engine::{
    Chunk, Claim, ErrorKind, Probe, ReadAnswer, ReadRequest, RunRecord, Settled, Stopper, Target,
    TargetError, Work,
};
use dunlin_model::{
    EntryWrite, Lease, LedgerView, MigrationId, Owner, Resource, StepRecord, StepState, TableQuery,
    TableShape,
};

use crate::chunks::Known;
use crate::dial::Dialler;
use crate::facts::{Facts, Role, require_writable, set_up};
use crate::ledger::{self, Ledger};
use crate::literal;
use crate::session::{Answer, Cells, Session};
use crate::stopper::MysqlStopper;
use crate::work::WorkSession;

/// How often a statement of ours that lost a deadlock is tried again.
pub(crate) const CONFLICTS_MAX: u32 = 8;

const COMMIT: &str = "COMMIT";

/// A connection to a database.
pub(crate) struct MysqlTarget {
    pub(crate) dialler: Arc<Dialler>,
    pub(crate) ledger: Ledger,
    pub(crate) facts: Facts,
    /// For ledger statements; no statement of the user's ever runs on it.
    pub(crate) session: Session,
    /// For the user's statements.
    pub(crate) work: Option<WorkSession>,
    /// The chunk whose rows are locked in a transaction that is open on the work session.
    pub(crate) locked: Option<Chunk>,
    /// Columns of the table that was asked for last.
    pub(crate) known: Option<Known>,
    /// It was connected to as a replica, to see how far behind it is.
    pub(crate) replica: bool,
    connections: Arc<Connections>,
}

/// The server's numbers for a target's connections; 0 where there is none.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) ledger: AtomicU64,
    pub(crate) work: AtomicU64,
}

impl MysqlTarget {
    pub(crate) async fn connect(dialler: Arc<Dialler>) -> Result<Self, TargetError> {
        let mut session = Session::new(dialler.open(true).await?);
        let facts = set_up(&mut session, Role::Ledger, &dialler.url).await?;
        let connections = Connections::default();
        connections.ledger.store(session.id, Ordering::Relaxed);
        Ok(Self {
            ledger: Ledger::new(&dialler.url.database),
            dialler,
            facts,
            session,
            work: None,
            locked: None,
            known: None,
            replica: false,
            connections: Arc::new(connections),
        })
    }

    /// The session for the user's statements, opened if it is not. It is taken out for the time
    /// of a call and put back by [`MysqlTarget::put_back`], so that a call that is given up
    /// takes it with it.
    pub(crate) async fn take_work(&mut self) -> Result<WorkSession, TargetError> {
        if self.session.is_lost() {
            return Err(crate::failure::lost("the connection to the server was lost"));
        }
        self.let_go().await?;
        if let Some(work) = self.work.take() {
            return Ok(work);
        }
        let opened = WorkSession::open(Arc::clone(&self.dialler)).await;
        // There was a connection a moment ago: what is unreachable now was lost.
        let work = opened.map_err(|error| match error.kind {
            ErrorKind::Unreachable => TargetError { kind: ErrorKind::Lost, ..error },
            _ => error,
        })?;
        self.connections.work.store(work.session.id, Ordering::Relaxed);
        Ok(work)
    }

    /// Gives up rows that are locked for a program.
    pub(crate) async fn let_go(&mut self) -> Result<(), TargetError> {
        if self.locked.take().is_none() {
            return Ok(());
        }
        let Some(mut work) = self.work.take() else {
            return Ok(());
        };
        let result = work.session.run("ROLLBACK").await.map(drop);
        self.put_back(work, result)
    }

    /// Puts the session back, or breaks both: a target whose one connection is lost is lost.
    pub(crate) fn put_back<T>(
        &mut self,
        work: WorkSession,
        result: Result<T, TargetError>,
    ) -> Result<T, TargetError> {
        let lost = matches!(&result, Err(error) if error.kind == ErrorKind::Lost);
        if lost || work.session.is_lost() {
            self.session.abandon();
        } else {
            self.work = Some(work);
        }
        result
    }

    /// Sends progress: a whole transaction that begins with the fence, in one packet unless it
    /// is more than the server takes.
    pub(crate) async fn fenced(
        &mut self,
        lease: &mut Lease,
        writes: &[String],
    ) -> Result<(), TargetError> {
        require_writable(&self.facts)?;
        self.let_go().await?;
        let mut packet = format!("{}{}", ledger::BEGIN, self.ledger.fence(lease));
        for write in writes {
            if packet.len() + write.len() + COMMIT.len() >= self.session.packet_bytes_max {
                self.fenced_packet(lease, &packet).await?;
                packet.clear();
            }
            packet.push_str(write);
        }
        packet.push_str(COMMIT);
        self.fenced_packet(lease, &packet).await?;
        lease.count_commit();
        Ok(())
    }

    async fn fenced_packet(&mut self, lease: &Lease, packet: &str) -> Result<(), TargetError> {
        match self.session.run(packet).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = fence_failure(error, lease);
                Err(self.session.rolled_back(error).await)
            }
        }
    }

    /// Runs a statement that stands alone, again where it lost a deadlock.
    pub(crate) async fn repeated(&mut self, packet: &str) -> Result<Vec<Answer>, TargetError> {
        for _ in 0..CONFLICTS_MAX {
            match self.session.run(packet).await {
                Err(error) if error.kind == ErrorKind::Conflict => {
                    let error = self.session.rolled_back(error).await;
                    if error.kind == ErrorKind::Lost {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
        self.session.run(packet).await
    }

    /// Adds who may hold the lock, where that is why it failed.
    pub(crate) async fn explained(&mut self, error: TargetError, work_id: u64) -> TargetError {
        if error.kind != ErrorKind::LockTimeout || self.session.is_lost() {
            return error;
        }
        let ours = [self.session.id, work_id];
        crate::blockers::noted(error, &mut self.session, &ours).await
    }

    /// Brings `segments` up to the present format where it is of an older one. Others may do so at
    /// the same time: 1060 is a column that is there by now.
    async fn upgrade_segments(&mut self) -> Result<(), TargetError> {
        let answers = self.session.run(&self.ledger.select_segments_age()).await?;
        let row = answers.first().and_then(|answer| answer.rows.first());
        if row.and_then(|row| row.number::<u32>(0)) == Some(1) {
            return Ok(());
        }
        match self.repeated(&self.ledger.alter_segments()).await {
            Err(error) if error.code.as_deref() == Some("1060") => Ok(()),
            result => result.map(drop),
        }
    }

    async fn meta(&mut self) -> Result<Option<ledger::Meta>, TargetError> {
        let answers = self.session.run(&self.ledger.select_meta()).await?;
        let meta = answers.first().map(ledger::meta).transpose()?;
        Ok(meta.flatten())
    }
}

/// 1690 in a packet that begins with a fence is the fence.
pub(crate) fn fence_failure(error: TargetError, lease: &Lease) -> TargetError {
    if error.code.as_deref() == Some("1690") { fenced(lease) } else { error }
}

/// The lease, or one of those that go with it, is lost.
pub(crate) fn fenced(lease: &Lease) -> TargetError {
    let whose: Vec<_> = lease.each().map(|one| one.resource.to_string()).collect();
    let whose = match whose.as_slice() {
        [one] => format!("the lease on {one}"),
        several => format!("one of the leases on {}", several.join(", ")),
    };
    TargetError::new(ErrorKind::Fenced, format!("{whose} was taken over by another process"))
}

#[async_trait]
impl Target for MysqlTarget {
    async fn probe(&mut self, tables: &[&str]) -> Result<Probe, TargetError> {
        // One look-up by exact name for each: a list of names would make MariaDB open every
        // table of the database.
        let columns = |table: &str| {
            format!(
                "SELECT table_name, column_name, data_type, ordinal_position \
                 FROM information_schema.columns WHERE table_schema = {} AND table_name = {}",
                literal::text(self.ledger.database()),
                literal::text(table)
            )
        };
        let wanted = std::iter::once("dunlin_meta").chain(tables.iter().copied());
        let queries: Vec<String> = wanted.map(columns).collect();
        let answers = self.session.run(&queries.join("; ")).await?;
        let mut shapes = answers.iter().map(|answer| self.shape(answer));
        let ledger = shapes.next().flatten().is_some();
        let tables = shapes.flatten().collect();
        Ok(Probe { server: self.facts.server.clone(), ledger, tables })
    }

    async fn read(&mut self, request: &ReadRequest) -> Result<ReadAnswer, TargetError> {
        // One snapshot for all of it, so that a commit in between cannot show half of itself.
        let mut packet = String::from(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
             START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY; ",
        );
        if request.ledger {
            packet.push_str(&self.ledger.select_all());
            packet.push_str("; ");
        }
        if let Some(query) = &request.foreign {
            packet.push_str(&foreign_query(query));
            packet.push_str("; ");
        }
        packet.push_str("COMMIT");
        let answers = match self.repeated(&packet).await {
            Ok(answers) => answers,
            Err(error) => return Err(self.session.rolled_back(error).await),
        };
        // The first two answers and the last are of the transaction itself.
        let read = answers.get(2..answers.len().saturating_sub(1)).unwrap_or_default();
        let ledger = if request.ledger { view(read)? } else { LedgerView::default() };
        let foreign = read.get(if request.ledger { 4 } else { 0 });
        let rows = match (&request.foreign, foreign) {
            (Some(_), Some(answer)) => answer.rows.iter().map(texts).collect(),
            _ => Vec::new(),
        };
        Ok(ReadAnswer { ledger, rows })
    }

    async fn text(&mut self, id: MigrationId) -> Result<Option<String>, TargetError> {
        let answers = self.session.run(&self.ledger.select_text(id)).await?;
        let row = answers.first().and_then(|answer| answer.rows.first());
        Ok(row.and_then(|row| row.optional(0)))
    }

    async fn create_ledger(&mut self, id: &str) -> Result<(), TargetError> {
        require_writable(&self.facts)?;
        for statement in self.ledger.create_tables() {
            self.repeated(&statement).await?;
        }
        self.upgrade_segments().await?;
        match self.repeated(&self.ledger.create_view()).await {
            // The view is for other tools; a login that may not create one can migrate.
            Err(error) if error.kind == ErrorKind::Permission => {}
            result => drop(result?),
        }
        self.repeated(&self.ledger.create_meta(id)).await?;
        self.repeated(&self.ledger.raise_format()).await?;
        let meta = self.meta().await?;
        meta.as_ref().map_or(Ok(()), ledger::refuse_older_writer)
    }

    async fn begin_run(&mut self, run: &RunRecord) -> Result<(), TargetError> {
        require_writable(&self.facts)?;
        let statement = format!(
            "INSERT INTO {} (id, owner, host, pid, command, program, started_at) \
             VALUES ({}, {}, {}, {}, {}, {}, UTC_TIMESTAMP(6))",
            self.ledger.table("runs"),
            literal::text(&run.id),
            literal::text(&run.owner.id),
            literal::text(&run.owner.host),
            run.owner.pid,
            literal::text(&run.command),
            literal::text(&run.program),
        );
        self.repeated(&statement).await?;
        for (id, name) in &run.passed_over {
            let statement = format!(
                "INSERT INTO {} (kind, version, name, state, pass, baseline, by_environment) \
                 VALUES ({}, {}, {}, 'pending', 1, FALSE, FALSE) \
                 ON DUPLICATE KEY UPDATE version = VALUES(version)",
                self.ledger.table("migrations"),
                literal::text(id.kind.as_str()),
                id.version,
                literal::text(name),
            );
            self.repeated(&statement).await?;
        }
        Ok(())
    }

    async fn finish_run(&mut self, id: &str, outcome: &str) -> Result<(), TargetError> {
        let statement = format!(
            "UPDATE {} SET finished_at = UTC_TIMESTAMP(6), outcome = {} WHERE id = {}",
            self.ledger.table("runs"),
            literal::text(outcome),
            literal::text(id)
        );
        self.repeated(&statement).await.map(drop)
    }

    async fn claim(
        &mut self,
        resource: &Resource,
        owner: &Owner,
        ttl: Duration,
        displace: Option<&str>,
    ) -> Result<Claim, TargetError> {
        self.let_go().await?;
        self.claim_lease(resource, owner, ttl, displace).await
    }

    async fn keep(&mut self, lease: &Lease, ttl: Duration) -> Result<bool, TargetError> {
        self.keep_lease(lease, ttl).await
    }

    async fn release(&mut self, lease: &Lease) -> Result<(), TargetError> {
        self.release_lease(lease).await
    }

    async fn preflight(&mut self, work: &Work) -> Result<(), TargetError> {
        self.look_ahead(work).await
    }

    async fn commit(
        &mut self,
        lease: &mut Lease,
        work: &Work,
    ) -> Result<Vec<Option<u64>>, TargetError> {
        self.commit_work(lease, work).await
    }

    async fn rehearse(&mut self, work: &Work) -> Result<Vec<Option<u64>>, TargetError> {
        self.rehearse_work(work).await
    }

    async fn record(
        &mut self,
        lease: &mut Lease,
        writes: &[EntryWrite],
    ) -> Result<(), TargetError> {
        let rows: Vec<String> =
            writes.iter().map(|write| self.ledger.entry(write, Duration::ZERO)).collect();
        self.fenced(lease, &rows).await?;
        dunlin_engine::failpoint("record.done");
        Ok(())
    }

    async fn open_step(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        closes: Option<u32>,
    ) -> Result<bool, TargetError> {
        self.journal_open(lease, work, ordinal, closes).await
    }

    async fn send_step(
        &mut self,
        lease: &Lease,
        work: &Work,
        ordinal: u32,
    ) -> Result<Option<u64>, TargetError> {
        self.send(lease, work, ordinal).await
    }

    async fn close_step(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        state: StepState,
    ) -> Result<(), TargetError> {
        self.journal_closed(lease, work, ordinal, state).await
    }

    async fn commit_step(
        &mut self,
        lease: &mut Lease,
        work: &Work,
        ordinal: u32,
        closes: Option<u32>,
    ) -> Result<Option<u64>, TargetError> {
        self.commit_one(lease, work, ordinal, closes).await
    }

    async fn settle_step(
        &mut self,
        _lease: &Lease,
        work: &Work,
        step: &StepRecord,
    ) -> Result<Settled, TargetError> {
        self.settle(work, step).await
    }

    fn stopper(&self) -> Arc<dyn Stopper> {
        Arc::new(MysqlStopper {
            dialler: Arc::clone(&self.dialler),
            connections: Arc::clone(&self.connections),
        })
    }
}

impl MysqlTarget {
    fn shape(&self, answer: &Answer) -> Option<TableShape> {
        let name = answer.rows.first()?.text(0);
        let mut columns: Vec<&Cells> = answer.rows.iter().collect();
        columns.sort_by_key(|row| row.number::<u64>(3));
        let table = format!("{}.{}", literal::name(self.ledger.database()), literal::name(&name));
        let columns =
            columns.into_iter().map(|row| (row.text(1), row.text(2).to_lowercase())).collect();
        Some(TableShape { table, name, columns })
    }
}

fn foreign_query(query: &TableQuery) -> String {
    let names = |names: &[String]| {
        names.iter().map(|name| literal::name(name)).collect::<Vec<_>>().join(", ")
    };
    let columns = if query.columns.is_empty() { "NULL".to_owned() } else { names(&query.columns) };
    let mut sql = format!("SELECT {columns} FROM {}", query.table);
    if !query.order_by.is_empty() {
        sql.push_str(" ORDER BY ");
        sql.push_str(&names(&query.order_by));
    }
    sql
}

/// A row as texts; bytes that are none are written in hex.
fn texts(row: &Cells) -> Vec<Option<String>> {
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    (0..row.width()).map(|column| row.bytes(column).map(text)).collect()
}

fn view(read: &[Answer]) -> Result<LedgerView, TargetError> {
    let [meta, entries, steps, leases, ..] = read else {
        return Err(TargetError::new(ErrorKind::Bug, "the server answered too little"));
    };
    // Its tables are there, its row is not yet: for a reader there is no ledger yet.
    let Some(meta) = ledger::meta(meta)? else {
        return Ok(LedgerView::default());
    };
    Ok(LedgerView {
        id: meta.id,
        format: meta.format,
        min_reader: meta.min_reader,
        min_writer: meta.min_writer,
        entries: ledger::entries(entries)?,
        steps: ledger::steps(steps)?,
        leases: ledger::leases(leases),
    })
}
