//! `date_trunc('unit', x)`, over all that microseconds hold.

use std::sync::Arc;

use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use dunlin_model::calendar;

use super::date_part::Part;
use crate::cast::is_infinite;
use crate::reason::carry;
use crate::zone::DAY;

/// The function, of one unit.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct DateTrunc {
    unit: Part,
    signature: Signature,
}

impl DateTrunc {
    /// Takes times, instants and times of day, all in microseconds. `None`: it is no unit.
    pub(crate) fn new(unit: Part) -> Option<Self> {
        let named = match unit {
            Part::IsoYear
            | Part::DayOfYear
            | Part::DayOfWeek
            | Part::IsoDayOfWeek
            | Part::Epoch
            | Part::Length => None,
            unit => Some(unit),
        };
        let signature = Signature::any(1, Volatility::Immutable);
        named.map(|unit| Self { unit, signature })
    }

    fn of(&self, time: i64) -> Option<i64> {
        let length = match self.unit {
            Part::Microsecond => 1,
            Part::Millisecond => 1_000,
            Part::Second => 1_000_000,
            Part::Minute => 60_000_000,
            Part::Hour => 3_600_000_000,
            Part::Day => DAY,
            _ => return self.first_day(time.div_euclid(DAY)).checked_mul(DAY),
        };
        time.checked_sub(time.rem_euclid(length))
    }

    fn first_day(&self, day: i64) -> i64 {
        let (year, month, _) = calendar::date(day);
        // Centuries and millennia end with the year that is called after them.
        let begun = |years: i64| (year - 1).div_euclid(years) * years + 1;
        match self.unit {
            Part::Week => day - calendar::weekday(day) + 1,
            Part::Month => calendar::first(year, month),
            Part::Quarter => calendar::first(year, (month - 1) / 3 * 3 + 1),
            Part::Decade => calendar::first(year.div_euclid(10) * 10, 1),
            Part::Century => calendar::first(begun(100), 1),
            Part::Millennium => calendar::first(begun(1_000), 1),
            _ => calendar::first(year, 1),
        }
    }

    fn of_all<T: ArrowPrimitiveType<Native = i64>>(
        &self,
        times: &PrimitiveArray<T>,
    ) -> Result<ColumnarValue> {
        let of = |time: i64| match self.of(time) {
            _ if is_infinite(time) => Err(carry("is infinite")),
            Some(time) => Ok(time),
            None => Err(carry("is out of range")),
        };
        let cut = times.iter().map(|time| time.map(of).transpose());
        let cut = cut.collect::<Result<PrimitiveArray<T>>>()?;
        Ok(ColumnarValue::Array(Arc::new(cut.with_data_type(times.data_type().clone()))))
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &'static str {
        "date_trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args.first().map(|arg| arg.to_array(args.number_rows)).transpose()?;
        let Some(array) = array else { return Err(carry("the expression fails")) };
        if let Some(clocks) = array.as_primitive_opt::<Time64MicrosecondType>() {
            return self.of_all(clocks);
        }
        match array.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(times) => self.of_all(times),
            None => Err(carry("the expression fails")),
        }
    }
}
