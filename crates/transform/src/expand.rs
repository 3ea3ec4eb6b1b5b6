//! `each`: several rows of one.

use std::rc::Rc;

use arrow::array::{Array, AsArray, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::error::ArrowError;

use crate::compile::{Each, Rule};
use crate::frame::{Column, Frame, count};
use crate::reason::Failures;

/// The rows after `each`, the row that each came of, and the rows whose list failed.
pub(crate) struct Expanded<'a> {
    pub(crate) rows: Rc<Frame<'a>>,
    /// `None`: the rows are the given ones.
    pub(crate) of: Option<UInt32Array>,
    pub(crate) failures: Failures,
}

/// Expands.
pub(crate) fn expand<'a>(rule: &'a Rule, base: Rc<Frame<'a>>) -> Result<Expanded<'a>, ArrowError> {
    match &rule.each {
        None => Ok(Expanded { rows: base, of: None, failures: Failures::new() }),
        Some(Each::Element(list)) => {
            let lists = base.evaluate(list)?;
            let list = lists.values.as_list::<i32>();
            let (mut of, mut places) = (Vec::new(), Vec::new());
            for (row, ends) in list.value_offsets().windows(2).enumerate() {
                if list.is_null(row) {
                    continue;
                }
                for place in ends[0]..ends[1] {
                    of.push(count(row));
                    places.push(u32::try_from(place).unwrap_or_default());
                }
            }
            let values = take(list.values(), &UInt32Array::from(places), None)?;
            let of = UInt32Array::from(of);
            let rows = Frame::of(&base, of.clone());
            rows.set(rule.each_from, Column { values, failures: Failures::new() });
            Ok(Expanded { rows: Rc::new(rows), of: Some(of), failures: lists.failures })
        }
        Some(Each::Case(cases)) => {
            let all = cases.len();
            let of: Vec<u32> = (0..base.rows).flat_map(|row| vec![count(row); all]).collect();
            let of = UInt32Array::from(of);
            let rows = Frame::of(&base, of.clone());
            let order: Vec<(usize, usize)> =
                (0..base.rows).flat_map(|row| (0..all).map(move |case| (case, row))).collect();
            for name in 0..cases.first().map_or(0, Vec::len) {
                let columns = cases
                    .iter()
                    .filter_map(|case| case.get(name))
                    .map(|program| base.evaluate(program))
                    .collect::<Result<Vec<_>, _>>()?;
                let arrays: Vec<&dyn Array> =
                    columns.iter().map(|column| column.values.as_ref()).collect();
                let values = interleave(&arrays, &order)?;
                let mut failures = Failures::new();
                for (case, column) in columns.into_iter().enumerate() {
                    failures.extend(
                        column.failures.into_iter().map(|(row, why)| (row * all + case, why)),
                    );
                }
                failures.sort_by_key(|(row, _)| *row);
                rows.set(rule.each_from + name, Column { values, failures });
            }
            Ok(Expanded { rows: Rc::new(rows), of: Some(of), failures: Failures::new() })
        }
    }
}
