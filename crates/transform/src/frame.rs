//! Rows under way: columns that are taken from where they come only when somebody needs them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::error::ArrowError;
use dunlin_engine::moves::WorkedOut;

use crate::program::Program;
use crate::reason::Failures;

/// A column, with the rows where it failed.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// NULL where it failed.
    pub(crate) values: ArrayRef,
    /// In order.
    pub(crate) failures: Failures,
}

/// The named expressions.
#[derive(Debug, Default)]
pub(crate) struct Lets {
    /// Which ones they are: those of a source's rules are the same, and each is worked out once of its
    /// rows.
    pub(crate) id: u64,
    /// Their places among the columns.
    pub(crate) places: Range<usize>,
    /// Compiled.
    pub(crate) programs: Vec<Program>,
}

/// Rows under way.
pub(crate) struct Frame<'a> {
    /// How many.
    pub(crate) rows: usize,
    /// The rows that these came of.
    parent: Option<(Rc<Self>, UInt32Array)>,
    columns: RefCell<Vec<Option<Column>>>,
    lets: &'a Lets,
    /// Where named expressions are kept, if these are the old rows.
    worked_out: Option<&'a WorkedOut>,
}

impl<'a> Frame<'a> {
    /// Rows without parents.
    pub(crate) fn new(rows: usize, width: usize, lets: &'a Lets) -> Self {
        let columns = RefCell::new(vec![None; width]);
        Self { rows, parent: None, columns, lets, worked_out: None }
    }

    /// The old rows. What other rules have worked out of them is there.
    pub(crate) fn of_old(
        rows: usize,
        width: usize,
        lets: &'a Lets,
        worked_out: &'a WorkedOut,
    ) -> Self {
        let frame = Self { worked_out: Some(worked_out), ..Self::new(rows, width, lets) };
        for place in lets.places.clone() {
            if let Some(column) = worked_out.get::<Column>((lets.id, place)) {
                frame.set(place, Column::clone(&column));
            }
        }
        frame
    }

    /// Rows that came of others: for each, which.
    pub(crate) fn of(parent: &Rc<Self>, of: UInt32Array) -> Self {
        Self {
            rows: of.len(),
            columns: RefCell::new(vec![None; parent.columns.borrow().len()]),
            lets: parent.lets,
            parent: Some((Rc::clone(parent), of)),
            worked_out: None,
        }
    }

    /// Sets a column.
    pub(crate) fn set(&self, place: usize, column: Column) {
        if let Some(slot) = self.columns.borrow_mut().get_mut(place) {
            *slot = Some(column);
        }
    }

    fn known(&self, place: usize) -> Option<Column> {
        self.columns.borrow().get(place).cloned().flatten()
    }

    /// A column, taken or computed where it isn't there yet.
    pub(crate) fn column(&self, place: usize) -> Result<Column, ArrowError> {
        if let Some(column) = self.known(place) {
            return Ok(column);
        }
        let is_let = self.lets.places.contains(&place);
        let column = match &self.parent {
            Some((parent, of)) if !is_let || parent.has(place) => {
                taken(&parent.column(place)?, of)?
            }
            _ if is_let => {
                let program = self.lets.programs.get(place - self.lets.places.start);
                let column = self.evaluate(program.ok_or_else(|| absent(place))?)?;
                if let Some(worked_out) = self.worked_out {
                    worked_out.keep((self.lets.id, place), column.clone());
                }
                column
            }
            _ => return Err(absent(place)),
        };
        self.set(place, column.clone());
        Ok(column)
    }

    /// It has the column, or can take it without computing it.
    fn has(&self, place: usize) -> bool {
        self.known(place).is_some()
            || self.parent.as_ref().is_some_and(|(parent, _)| parent.has(place))
    }

    /// Evaluates an expression on all rows.
    pub(crate) fn evaluate(&self, program: &Program) -> Result<Column, ArrowError> {
        let inputs = program
            .inputs
            .iter()
            .map(|place| self.column(*place))
            .collect::<Result<Vec<_>, _>>()?;
        if inputs.iter().all(|column| column.failures.is_empty()) {
            let inputs = inputs.into_iter().map(|column| column.values).collect();
            let (values, failures) = program.run(inputs, self.rows)?;
            return Ok(Column { values, failures });
        }
        self.around(program, &inputs)
    }

    /// Rows with a failed input are evaluated without named expressions: perhaps the failed one
    /// isn't reached there.
    fn around(&self, program: &Program, inputs: &[Column]) -> Result<Column, ArrowError> {
        let mut failed = HashMap::new();
        for (row, reason) in inputs.iter().flat_map(|column| &column.failures) {
            failed.entry(*row).or_insert_with(|| reason.clone());
        }
        let (bad, good): (Vec<u32>, Vec<u32>) =
            (0..count(self.rows)).partition(|row| failed.contains_key(&(*row as usize)));
        let (bad, good) = (UInt32Array::from(bad), UInt32Array::from(good));
        let of_good = inputs
            .iter()
            .map(|column| take(&column.values, &good, None))
            .collect::<Result<Vec<_>, _>>()?;
        let (good_values, good_failures) = program.run(of_good, good.len())?;
        let of_bad = match &program.inlined {
            Some(inlined) => {
                let inner = Self::new(bad.len(), self.columns.borrow().len(), self.lets);
                for place in &inlined.inputs {
                    inner.set(*place, taken(&self.column(*place)?, &bad)?);
                }
                inner.evaluate(inlined)?
            }
            None => Column {
                values: arrow::array::new_null_array(&program.data_type, bad.len()),
                failures: bad
                    .values()
                    .iter()
                    .enumerate()
                    .filter_map(|(at, row)| Some((at, failed.get(&(*row as usize))?.clone())))
                    .collect(),
            },
        };
        let mut from = vec![(0_usize, 0_usize); self.rows];
        for (which, rows) in [&good, &bad].into_iter().enumerate() {
            for (at, row) in rows.values().iter().enumerate() {
                if let Some(slot) = from.get_mut(*row as usize) {
                    *slot = (which, at);
                }
            }
        }
        let values = interleave(&[good_values.as_ref(), of_bad.values.as_ref()], &from)?;
        let mut failures: Failures = Vec::new();
        for (rows, part) in [(&good, good_failures), (&bad, of_bad.failures)] {
            failures.extend(part.into_iter().map(|(at, reason)| (rows.value(at) as usize, reason)));
        }
        failures.sort_by_key(|(row, _)| *row);
        Ok(Column { values, failures })
    }
}

fn absent(place: usize) -> ArrowError {
    ArrowError::ComputeError(format!("column {place} of the rows isn't there"))
}

/// A batch has fewer than 2^32 rows.
pub(crate) fn count(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

fn taken(column: &Column, of: &UInt32Array) -> Result<Column, ArrowError> {
    let values = take(&column.values, of, None)?;
    if column.failures.is_empty() {
        return Ok(Column { values, failures: Vec::new() });
    }
    let failed: HashMap<usize, _> =
        column.failures.iter().map(|(row, reason)| (*row, reason)).collect();
    let failures = of
        .values()
        .iter()
        .enumerate()
        .filter_map(|(at, row)| Some((at, (*failed.get(&(*row as usize))?).clone())))
        .collect();
    Ok(Column { values, failures })
}
