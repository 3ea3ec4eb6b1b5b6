//! `extract(part FROM x)` and `date_part('part', x)`, as PostgreSQL means them: seconds have their
//! fraction.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal256Array, Int32Array, Int64Array};
use arrow::datatypes::{
    DataType, Date32Type, DurationMicrosecondType, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, i256,
};
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use dunlin_model::calendar;

use crate::cast::is_infinite;
use crate::decimal::of_scale;
use crate::interval::Span;
use crate::reason::{Reason, carry};
use crate::zone::{DAY, DAYS};

/// A part of a day, time or interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Millennium,
    Century,
    Decade,
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    Day,
    DayOfYear,
    DayOfWeek,
    IsoDayOfWeek,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Epoch,
    /// What intervals are compared by, in microseconds; it has no name.
    Length,
}

impl Part {
    /// By its name in PostgreSQL.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name.trim_matches(['\'', '"']).to_ascii_lowercase().as_str() {
            "millennium" | "millennia" | "millenniums" => Self::Millennium,
            "century" | "centuries" => Self::Century,
            "decade" | "decades" => Self::Decade,
            "year" | "years" => Self::Year,
            "isoyear" => Self::IsoYear,
            "quarter" | "qtr" => Self::Quarter,
            "month" | "months" | "mon" | "mons" => Self::Month,
            "week" | "weeks" => Self::Week,
            "day" | "days" => Self::Day,
            "doy" => Self::DayOfYear,
            "dow" => Self::DayOfWeek,
            "isodow" => Self::IsoDayOfWeek,
            "hour" | "hours" | "hr" | "hrs" => Self::Hour,
            "minute" | "minutes" | "min" | "mins" => Self::Minute,
            "second" | "seconds" | "sec" | "secs" => Self::Second,
            "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => Self::Millisecond,
            "microsecond" | "microseconds" | "usec" | "usecs" | "us" => Self::Microsecond,
            "epoch" => Self::Epoch,
            _ => return None,
        })
    }

    /// Whether an interval has it.
    pub(crate) fn of_intervals(self) -> bool {
        !matches!(
            self,
            Self::IsoYear | Self::Week | Self::DayOfYear | Self::DayOfWeek | Self::IsoDayOfWeek
        )
    }

    /// Whether a time of day has it.
    pub(crate) fn of_clocks(self) -> bool {
        self.in_seconds() || matches!(self, Self::Hour | Self::Minute | Self::Epoch)
    }

    fn in_seconds(self) -> bool {
        matches!(self, Self::Second | Self::Millisecond | Self::Microsecond)
    }

    fn data_type(self, from: &DataType) -> DataType {
        match self {
            Self::Epoch if *from == DataType::Date32 => DataType::Int64,
            Self::Epoch | Self::Second => of_scale(6),
            Self::Millisecond => of_scale(3),
            Self::Length => of_scale(0),
            _ => DataType::Int32,
        }
    }

    fn of_date(self, days: i64) -> i64 {
        let (year, month, day) = calendar::date(days);
        // There was no year 0: the one before 1 is -1.
        let told = |year: i64| if year > 0 { year } else { year - 1 };
        match self {
            Self::Millennium if year > 0 => (year + 999) / 1_000,
            Self::Millennium => (year - 1_000) / 1_000,
            Self::Century if year > 0 => (year + 99) / 100,
            Self::Century => (year - 100) / 100,
            Self::Decade => year.div_euclid(10),
            Self::Year => told(year),
            Self::IsoYear => told(calendar::week(days).0),
            Self::Quarter => (month - 1) / 3 + 1,
            Self::Month => month,
            Self::Week => calendar::week(days).1,
            Self::DayOfYear => days - calendar::first(year, 1) + 1,
            Self::DayOfWeek => calendar::weekday(days) % 7,
            Self::IsoDayOfWeek => calendar::weekday(days),
            _ => day,
        }
    }

    fn of_clock(self, micros: i64) -> i64 {
        match self {
            Self::Hour => micros / 3_600_000_000,
            Self::Minute => micros / 60_000_000 % 60,
            _ => micros % 60_000_000,
        }
    }

    /// Of microseconds since 1970.
    fn of_time(self, micros: i64) -> Option<i128> {
        if is_infinite(micros) {
            return None;
        }
        Some(i128::from(match self {
            Self::Epoch => micros,
            _ if self.of_clocks() => self.of_clock(micros.rem_euclid(DAY)),
            _ => self.of_date(micros.div_euclid(DAY)),
        }))
    }

    fn of_span(self, span: Span) -> i128 {
        match self {
            Self::Millennium => span.months / 12_000,
            Self::Century => span.months / 1_200,
            Self::Decade => span.months / 120,
            Self::Year => span.months / 12,
            Self::Quarter => span.months % 12 / 3 + 1,
            Self::Month => span.months % 12,
            Self::Day => span.days,
            Self::Hour => span.micros / 3_600_000_000,
            Self::Minute => span.micros / 60_000_000 % 60,
            Self::Epoch => span.epoch(),
            Self::Length => span.length(),
            _ => span.micros % 60_000_000,
        }
    }

    fn of_array(self, array: &ArrayRef) -> Option<Result<Vec<Option<i128>>, Reason>> {
        const INFINITE: Reason = Reason::Borrowed("is infinite");
        let time = |micros| self.of_time(micros).ok_or(INFINITE);
        let span = |span| Ok(self.of_span(span));
        Some(match array.data_type() {
            DataType::Date32 => of_each(array.as_primitive_opt::<Date32Type>()?, |day| {
                match (DAYS.contains(&day), self) {
                    (true, _) => Err(INFINITE),
                    (false, Self::Epoch) => Ok(i128::from(day) * 86_400),
                    (false, _) => time(i64::from(day) * DAY),
                }
            }),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                of_each(array.as_primitive_opt::<TimestampMicrosecondType>()?, time)
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                of_each(array.as_primitive_opt::<Time64MicrosecondType>()?, |clock| {
                    // 24:00 is one.
                    Ok(match self {
                        Self::Epoch => clock.into(),
                        _ => self.of_clock(clock).into(),
                    })
                })
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                of_each(array.as_primitive_opt::<IntervalMonthDayNanoType>()?, |interval| {
                    span(Span::of(interval))
                })
            }
            DataType::Duration(TimeUnit::Microsecond) => {
                of_each(array.as_primitive_opt::<DurationMicrosecondType>()?, |micros| {
                    span(Span::between(micros))
                })
            }
            _ => return None,
        })
    }
}

fn of_each<T: arrow::datatypes::ArrowPrimitiveType>(
    array: &arrow::array::PrimitiveArray<T>,
    of: impl Fn(T::Native) -> Result<i128, Reason>,
) -> Result<Vec<Option<i128>>, Reason> {
    array.iter().map(|value| value.map(&of).transpose()).collect()
}

/// The function, of one part.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct DatePart {
    part: Part,
    signature: Signature,
}

impl DatePart {
    /// Takes days, times, instants, times of day and intervals, all in microseconds.
    pub(crate) fn new(part: Part) -> Self {
        Self { part, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &'static str {
        "date_part"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.part.data_type(arg_types.first().unwrap_or(&DataType::Null)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args.first().map(|arg| arg.to_array(args.number_rows)).transpose()?;
        let Some(array) = array else { return Err(carry("the expression fails")) };
        let parts = self.part.of_array(&array);
        let parts = parts.ok_or_else(|| carry("the expression fails"))?.map_err(carry)?;
        let out = || carry("is out of range");
        let to = self.part.data_type(array.data_type());
        Ok(ColumnarValue::Array(match to {
            DataType::Int32 => {
                let of = |part: i128| i32::try_from(part).map_err(|_| out());
                let parts = parts.into_iter().map(|part| part.map(of).transpose());
                Arc::new(parts.collect::<Result<Int32Array>>()?)
            }
            DataType::Int64 => {
                let of = |part: i128| i64::try_from(part).map_err(|_| out());
                let parts = parts.into_iter().map(|part| part.map(of).transpose());
                Arc::new(parts.collect::<Result<Int64Array>>()?)
            }
            to => {
                let parts: Decimal256Array =
                    parts.into_iter().map(|part| part.map(i256::from_i128)).collect();
                Arc::new(parts.with_data_type(to))
            }
        }))
    }
}
