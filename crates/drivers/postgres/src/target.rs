//! [`Target`] for PostgreSQL: each call handed to the module that does it, one at a time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_engine::{
    Claim, Probe, ReadAnswer, ReadRequest, RunRecord, Settled, Stopper, Target, TargetError, Work,
};
use dunlin_model::{EntryWrite, Lease, MigrationId, Owner, Resource, StepRecord, StepState};

use crate::backfill::Memory;
use crate::session::Session;
use crate::stopper::BackendStopper;
use crate::{commit, create, lease, read, run, settle, step};

/// One connection.
pub(crate) struct PostgresTarget {
    pub(crate) session: Session,
    /// What backfills remember.
    pub(crate) memory: Memory,
}

impl PostgresTarget {
    /// Over a session.
    pub(crate) fn new(session: Session) -> Self {
        Self { session, memory: Memory::default() }
    }

    /// Begins a call. A transaction that an earlier one left open is rolled back.
    pub(crate) async fn enter(&mut self) -> Result<(), TargetError> {
        self.session.enter()?;
        if self.memory.locked.take().is_some() {
            self.session.rollback().await;
        }
        Ok(())
    }
}

/// Runs a call between `enter` and `leave`, so that one that is dropped half-way is noticed.
macro_rules! call {
    ($self:ident, $call:expr) => {{
        $self.enter().await?;
        let result = $call.await;
        $self.session.leave();
        result
    }};
}

pub(crate) use call;

#[async_trait]
impl Target for PostgresTarget {
    async fn probe(&mut self, tables: &[&str]) -> Result<Probe, TargetError> {
        call!(self, read::probe(&mut self.session, tables))
    }

    async fn read(&mut self, request: &ReadRequest) -> Result<ReadAnswer, TargetError> {
        call!(self, read::read(&mut self.session, request))
    }

    async fn text(&mut self, id: MigrationId) -> Result<Option<String>, TargetError> {
        call!(self, read::text(&mut self.session, id))
    }

    async fn create_ledger(&mut self, id: &str) -> Result<(), TargetError> {
        call!(self, create::create_ledger(&mut self.session, id))
    }

    async fn begin_run(&mut self, record: &RunRecord) -> Result<(), TargetError> {
        call!(self, run::begin(&mut self.session, record))
    }

    async fn finish_run(&mut self, id: &str, outcome: &str) -> Result<(), TargetError> {
        call!(self, run::finish(&mut self.session, id, outcome))
    }

    async fn claim(
        &mut self,
        resource: &Resource,
        owner: &Owner,
        ttl: Duration,
        displace: Option<&str>,
    ) -> Result<Claim, TargetError> {
        call!(self, lease::claim(&mut self.session, resource, owner, ttl, displace))
    }

    async fn keep(&mut self, held: &Lease, ttl: Duration) -> Result<bool, TargetError> {
        call!(self, lease::keep(&mut self.session, held, ttl))
    }

    async fn release(&mut self, held: &Lease) -> Result<(), TargetError> {
        call!(self, lease::release(&mut self.session, held))
    }

    async fn preflight(&mut self, work: &Work) -> Result<(), TargetError> {
        call!(self, step::preflight(&mut self.session, work))
    }

    async fn commit(
        &mut self,
        held: &mut Lease,
        work: &Work,
    ) -> Result<Vec<Option<u64>>, TargetError> {
        call!(self, commit::commit(&mut self.session, held, work))
    }

    async fn rehearse(&mut self, work: &Work) -> Result<Vec<Option<u64>>, TargetError> {
        call!(self, commit::rehearse(&mut self.session, work))
    }

    async fn record(&mut self, held: &mut Lease, writes: &[EntryWrite]) -> Result<(), TargetError> {
        call!(self, commit::record(&mut self.session, held, writes))
    }

    async fn open_step(
        &mut self,
        held: &mut Lease,
        work: &Work,
        ordinal: u32,
        closes: Option<u32>,
    ) -> Result<bool, TargetError> {
        call!(self, step::open_step(&mut self.session, held, work, ordinal, closes))
    }

    async fn send_step(
        &mut self,
        held: &Lease,
        work: &Work,
        ordinal: u32,
    ) -> Result<Option<u64>, TargetError> {
        call!(self, step::send_step(&mut self.session, held, work, ordinal))
    }

    async fn close_step(
        &mut self,
        held: &mut Lease,
        work: &Work,
        ordinal: u32,
        state: StepState,
    ) -> Result<(), TargetError> {
        call!(self, step::close_step(&mut self.session, held, work, ordinal, state))
    }

    async fn commit_step(
        &mut self,
        held: &mut Lease,
        work: &Work,
        ordinal: u32,
        closes: Option<u32>,
    ) -> Result<Option<u64>, TargetError> {
        call!(self, step::commit_step(&mut self.session, held, work, ordinal, closes))
    }

    async fn settle_step(
        &mut self,
        held: &Lease,
        work: &Work,
        record: &StepRecord,
    ) -> Result<Settled, TargetError> {
        call!(self, settle::settle_step(&mut self.session, held, work, record))
    }

    fn stopper(&self) -> Arc<dyn Stopper> {
        Arc::new(BackendStopper {
            endpoint: Arc::clone(&self.session.endpoint),
            backend: Arc::clone(&self.session.backend),
        })
    }
}
