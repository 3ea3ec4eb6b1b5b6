//! So many times an interval.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::reason::carry;

/// `n * INTERVAL '1 second'`, of an interval and a whole number of 64 bits.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Times(Signature);

impl Times {
    pub(crate) fn new() -> Self {
        Self(Signature::any(2, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Times {
    fn name(&self) -> &'static str {
        "times"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let typed = match arrays.as_slice() {
            [intervals, counts] => intervals
                .as_primitive_opt::<IntervalMonthDayNanoType>()
                .zip(counts.as_primitive_opt::<Int64Type>()),
            _ => None,
        };
        let Some((intervals, counts)) = typed else { return Err(carry("the expression fails")) };
        let times: Option<IntervalMonthDayNanoArray> = intervals
            .iter()
            .zip(counts)
            .map(|pair| match pair {
                (Some(interval), Some(count)) => times(interval, count).map(Some),
                _ => Some(None),
            })
            .collect();
        match times {
            Some(times) => Ok(ColumnarValue::Array(Arc::new(times))),
            None => Err(carry("is out of range")),
        }
    }
}

fn times(interval: IntervalMonthDayNano, count: i64) -> Option<IntervalMonthDayNano> {
    let of = |part: i32| i32::try_from(i64::from(part).checked_mul(count)?).ok();
    let nanoseconds = interval.nanoseconds.checked_mul(count)?;
    Some(IntervalMonthDayNano::new(of(interval.months)?, of(interval.days)?, nanoseconds))
}
