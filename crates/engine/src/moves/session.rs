//! One run's connection to its target, with the lease that every commit is fenced by.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::record_batch::RecordBatch;
use dunlin_model::Lease;
use dunlin_model::moves::{Field, ValueType};
use std::collections::HashMap;
use std::sync::Arc;

use super::columns::bug;
use super::gate::Gate;
use super::lanes::Lanes;
use super::ports::{MoveTarget, Stored};
use super::read_rows::ReadRows;
use crate::job::{Job, Urgency};
use crate::{ErrorKind, Remedy, TargetError};

/// Entries that are read from the store at once.
const STORED_AT_ONCE: u32 = 64;

/// Texts whose form in the database is remembered, a column: addresses and the like come again.
const FORMS_MAX: usize = 100_000;

/// A run's target.
pub(super) struct Session<'a> {
    pub(super) job: Cow<'a, Job>,
    pub(super) target: Box<dyn MoveTarget>,
    pub(super) lease: Lease,
    /// The move's name.
    pub(super) name: String,
    /// This run's number.
    pub(super) run: u32,
    /// Nothing is written.
    pub(super) dry_run: bool,
    /// Connections that write beside this one.
    pub(super) lanes: Option<Lanes>,
    /// A transaction is open that more belongs to than what begins and commits now.
    pub(super) within: bool,
    /// What was begun is brought to its end, although a person stopped the run.
    pub(super) ending: bool,
    /// What is not written is shown with its values.
    pub(super) show_values: bool,
    /// What it passes before it writes.
    pub(super) gate: Gate,
    /// When the transaction began.
    began: Instant,
    forms: HashMap<String, HashMap<String, String>>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        job: &'a Job,
        target: Box<dyn MoveTarget>,
        lease: Lease,
        name: &str,
        run: u32,
        dry_run: bool,
        gate: Gate,
    ) -> Self {
        Self::of(Cow::Borrowed(job), target, lease, name, run, dry_run, gate)
    }

    pub(super) fn of(
        job: Cow<'a, Job>,
        target: Box<dyn MoveTarget>,
        lease: Lease,
        name: &str,
        run: u32,
        dry_run: bool,
        gate: Gate,
    ) -> Self {
        let (name, began, forms) = (name.to_owned(), Instant::now(), HashMap::new());
        Self {
            job,
            target,
            lease,
            name,
            run,
            dry_run,
            show_values: false,
            lanes: None,
            within: false,
            ending: false,
            gate,
            began,
            forms,
        }
    }

    /// Begins a transaction.
    pub(super) async fn begin(&mut self) -> Result<(), TargetError> {
        if self.ending {
            if self.job.interrupt.urgency() >= Urgency::Abort {
                return Err(interrupted());
            }
        } else if self.within {
            // It holds locks: whoever wants it held waits until it is over.
            self.gate.check()?;
        } else {
            self.gate.before_writing().await?;
        }
        if self.within {
            return Ok(());
        }
        self.began = Instant::now();
        self.target.begin(&self.lease, self.job.limits.lock_timeout).await
    }

    /// How urgent a person's wish must be that it stops.
    fn stopped_by(&self) -> Urgency {
        if self.ending { Urgency::Abort } else { Urgency::Finish }
    }

    /// So many rows were written in the transaction that was committed last.
    pub(super) fn wrote(&self, rows: u64) {
        self.gate.wrote(rows, self.began.elapsed());
    }

    /// Commits it.
    pub(super) async fn commit(&mut self) -> Result<(), TargetError> {
        if self.within {
            return Ok(());
        }
        crate::failpoint("move.sending");
        self.target.commit(&mut self.lease).await?;
        crate::failpoint("move.committed");
        Ok(())
    }

    /// After an error in the middle of a transaction: rolls back, and tells whether to try again.
    pub(super) async fn failed(
        &mut self,
        error: TargetError,
        attempt: u32,
    ) -> Result<(), TargetError> {
        // Of a larger transaction nothing is left: who began it begins again.
        if self.within || error.kind.remedy() == Remedy::Reconnect {
            return Err(error);
        }
        self.target.rollback().await?;
        let may_go_on = error.kind.remedy() == Remedy::RetryTransaction
            && attempt < self.job.limits.attempt_count_max;
        if !may_go_on {
            return Err(error);
        }
        let pause = Duration::from_millis(50 << attempt.min(6));
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.job.interrupt.reached(self.stopped_by()) => Err(interrupted()),
        }
    }

    /// Entries of an area from a number on.
    pub(super) async fn stored(
        &mut self,
        area: &str,
        from: i64,
    ) -> Result<Vec<Stored>, TargetError> {
        self.target.stored(&self.name, area, from, STORED_AT_ONCE).await
    }

    /// Puts entries in a transaction of their own.
    pub(super) async fn put(&mut self, entries: &[Stored]) -> Result<(), TargetError> {
        if entries.is_empty() || self.dry_run {
            return Ok(());
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            let done = self.try_put(entries).await;
            match done {
                Ok(()) => return Ok(()),
                Err(error) => self.failed(error, attempt).await?,
            }
        }
    }

    async fn try_put(&mut self, entries: &[Stored]) -> Result<(), TargetError> {
        self.begin().await?;
        let name = self.name.clone();
        self.target.put(&name, entries).await?;
        self.commit().await
    }

    /// Gives texts the form that the database gives them: without it what was written and what is
    /// read could not be compared. A text that it refuses stays as it is: writing the row will tell.
    pub(super) async fn normalise(
        &mut self,
        fields: &[Field],
        rows: RecordBatch,
    ) -> Result<RecordBatch, TargetError> {
        if rows.num_rows() == 0 || !fields.iter().any(is_foreign) {
            return Ok(rows);
        }
        let mut columns = rows.columns().to_vec();
        for (column, field) in columns.iter_mut().zip(fields) {
            if is_foreign(field) {
                *column = self.normalised(field, column).await?;
            }
        }
        RecordBatch::try_new(rows.schema(), columns).map_err(|error| bug(&error))
    }

    /// The same of rows of the target, whatever of them could be read.
    pub(super) async fn normalised_rows(
        &mut self,
        fields: &[Field],
        read: ReadRows,
    ) -> Result<ReadRows, TargetError> {
        Ok(ReadRows::new(self.normalise(fields, read.rows).await?, read.unreadable))
    }

    async fn normalised(
        &mut self,
        field: &Field,
        column: &ArrayRef,
    ) -> Result<ArrayRef, TargetError> {
        let texts = column.as_string::<i32>();
        let known = self.forms.entry(field.type_name.clone()).or_default();
        let mut unknown: Vec<Option<String>> = Vec::new();
        for text in texts.iter().flatten() {
            if !known.contains_key(text) {
                known.insert(text.to_owned(), text.to_owned());
                unknown.push(Some(text.to_owned()));
            }
        }
        if !unknown.is_empty() {
            let forms = self.forms_of(field, &unknown).await?;
            let known = self.forms.entry(field.type_name.clone()).or_default();
            for (text, form) in unknown.into_iter().zip(forms) {
                if let (Some(text), Some(form)) = (text, form) {
                    known.insert(text, form);
                }
            }
        }
        let known = self.forms.entry(field.type_name.clone()).or_default();
        let of = |text: &str| known.get(text).cloned().unwrap_or_else(|| text.to_owned());
        let result: StringArray = texts.iter().map(|text| text.map(of)).collect();
        if known.len() > FORMS_MAX {
            known.clear();
        }
        Ok(Arc::new(result))
    }

    async fn forms_of(
        &mut self,
        field: &Field,
        texts: &[Option<String>],
    ) -> Result<Vec<Option<String>>, TargetError> {
        match self.target.normalise(field, texts).await {
            Err(error) if error.by_row && texts.len() > 1 => {
                let (left, right) = texts.split_at(texts.len() / 2);
                let mut forms = Box::pin(self.forms_of(field, left)).await?;
                forms.extend(Box::pin(self.forms_of(field, right)).await?);
                Ok(forms)
            }
            Err(error) if error.by_row => Ok(texts.to_vec()),
            other => other,
        }
    }
}

/// Whether only the database knows the form that a column's values have in it.
pub(super) fn is_foreign(field: &Field) -> bool {
    field.value_type == ValueType::Other
}

/// A person stopped it.
pub(super) fn interrupted() -> TargetError {
    TargetError::new(ErrorKind::Refused, "stopped by a person")
        .help("what was committed stays; running again goes on")
}
