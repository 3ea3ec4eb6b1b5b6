//! Casts, row by row: what can't be cast is its row's failure, and never a NULL or another value.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, FixedSizeBinaryArray, PrimitiveArray,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, nullif};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, DurationMicrosecondType, IntervalMonthDayNanoType,
    IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use crate::decimal::{self, NOT_WHOLE, Number};
use crate::floating;
use crate::interval::{self, Span};
use crate::lists;
use crate::moments::{INTERVAL, is_interval};
use crate::reason::{Failures, Reason};
use crate::text;
use crate::zone::{DAY, DAYS, TIMES, Zone};

/// An array with what failed; there it is NULL.
pub(crate) type Cast = (ArrayRef, Failures);

/// Microseconds, with a zone or without.
fn micros(data_type: &DataType) -> Option<bool> {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => Some(zone.is_some()),
        _ => None,
    }
}

/// Whether values of a type can be cast to another.
pub(crate) fn can_cast(from: &DataType, to: &DataType) -> bool {
    match (lists::item(from), lists::item(to)) {
        (Some(from), Some(to)) => return from == to || can_cast(from.data_type(), to.data_type()),
        (None, Some(to)) if !from.is_null() => return can_cast(from, to.data_type()),
        _ => {}
    }
    match (from, to) {
        (DataType::FixedSizeBinary(16), DataType::Utf8) => true,
        (DataType::Boolean, DataType::Timestamp(..) | DataType::Date32 | DataType::Time64(_)) => {
            false
        }
        (from, DataType::Timestamp(..)) if from.is_numeric() => true,
        (from, DataType::Date32) if from.is_numeric() => false,
        (DataType::Boolean, DataType::Decimal128(..) | DataType::Decimal256(..)) => false,
        (from, to) => decimal::is_ours(from, to) || can_cast_types(from, to),
    }
}

/// Casts. Times without a zone are in `zone`.
pub(crate) fn cast(array: &ArrayRef, to: &DataType, zone: &Zone) -> Result<Cast, ArrowError> {
    if array.data_type() == to {
        return Ok((Arc::clone(array), Vec::new()));
    }
    let (values, mut failures) = by_type(array, to, zone)?;
    let mut values = void(values, &failures)?;
    if to.is_floating() {
        let (without, more) = floating::without_lost(array, values)?;
        values = without;
        failures = merged(failures, more);
    }
    Ok((values, failures))
}

/// What failed is NULL.
pub(crate) fn void(values: ArrayRef, failures: &Failures) -> Result<ArrayRef, ArrowError> {
    if failures.iter().all(|(row, _)| values.is_null(*row)) {
        return Ok(values);
    }
    let mut failed = vec![false; values.len()];
    for (row, _) in failures {
        if let Some(slot) = failed.get_mut(*row) {
            *slot = true;
        }
    }
    nullif(&values, &BooleanArray::from(failed))
}

fn by_type(array: &ArrayRef, to: &DataType, zone: &Zone) -> Result<Cast, ArrowError> {
    let from = array.data_type();
    if let Some(item) = lists::item(to).filter(|_| !from.is_null()) {
        return lists::cast(array, item, to, zone);
    }
    if decimal::is_ours(from, to) {
        return decimal::cast(array, to);
    }
    if let DataType::Timestamp(unit, to_zone) = to
        && *unit != TimeUnit::Microsecond
    {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, to_zone.clone());
        let (array, failures) = cast(array, &micros, zone)?;
        let (array, more) = by_arrow(&array, to)?;
        return Ok((array, merged(failures, more)));
    }
    match (from, to) {
        (DataType::Utf8, DataType::Timestamp(TimeUnit::Microsecond, to_zone)) => {
            let of = |text: &str| match to_zone {
                Some(_) => text::instant(text, zone),
                None => text::local(text, zone),
            };
            Ok(from_text::<TimestampMicrosecondType>(array, to, of))
        }
        (DataType::Utf8, DataType::Date32) => Ok(from_text::<Date32Type>(array, to, text::day)),
        (DataType::Utf8, DataType::Time64(TimeUnit::Microsecond)) => {
            Ok(from_text::<Time64MicrosecondType>(array, to, text::clock))
        }
        (DataType::Date32, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            Ok(from_day(array.as_primitive(), to, zone))
        }
        (DataType::Timestamp(..), DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            let (array, failures) = to_micros(array)?;
            let (array, more) = between(array, to, zone);
            Ok((array, merged(failures, more)))
        }
        (DataType::Timestamp(..), DataType::Date32 | DataType::Time64(_)) => {
            let (array, failures) = to_micros(array)?;
            let local = DataType::Timestamp(TimeUnit::Microsecond, None);
            let (array, more) = between(array, &local, zone);
            let failures = merged(failures, more);
            let (array, more) = match to {
                DataType::Date32 => to_day(array.as_primitive()),
                _ => by_arrow(&array, to)?,
            };
            Ok((array, merged(failures, more)))
        }
        (from, DataType::Timestamp(..)) if from.is_numeric() => {
            let (array, failures) = from_seconds(array)?;
            let (array, more) = between(array, to, zone);
            Ok((array, merged(failures, more)))
        }
        (DataType::Utf8, DataType::Interval(IntervalUnit::MonthDayNano)) => {
            Ok(from_text::<IntervalMonthDayNanoType>(array, to, interval::parse))
        }
        (from, DataType::Utf8) if is_interval(from) => interval_texts(array),
        (DataType::FixedSizeBinary(16), DataType::Utf8) => {
            Ok((uuid_texts(array.as_fixed_size_binary()), Vec::new()))
        }
        _ => by_arrow(array, to),
    }
}

/// One failure for each row, in order.
pub(crate) fn merged(mut first: Failures, second: Failures) -> Failures {
    if second.is_empty() {
        return first;
    }
    first.extend(second);
    first.sort_by_key(|(row, _)| *row);
    first.dedup_by_key(|(row, _)| *row);
    first
}

fn from_text<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    to: &DataType,
    of: impl Fn(&str) -> Result<T::Native, &'static str>,
) -> Cast {
    let texts = array.as_string::<i32>();
    each::<T, _>(texts.iter(), to, of)
}

/// A primitive array of values, each cast on its own.
fn each<T: ArrowPrimitiveType, V>(
    values: impl Iterator<Item = Option<V>>,
    to: &DataType,
    of: impl Fn(V) -> Result<T::Native, &'static str>,
) -> Cast {
    let mut failures = Failures::new();
    let array: PrimitiveArray<T> = values
        .enumerate()
        .map(|(row, value)| match of(value?) {
            Ok(value) => Some(value),
            Err(reason) => {
                failures.push((row, Reason::Borrowed(reason)));
                None
            }
        })
        .collect();
    (Arc::new(array.with_data_type(to.clone())), failures)
}

fn from_day(days: &Date32Array, to: &DataType, zone: &Zone) -> Cast {
    let with_zone = micros(to).unwrap_or(false);
    each::<TimestampMicrosecondType, _>(days.iter(), to, |day| {
        let local = match day {
            i32::MIN => return Ok(i64::MIN),
            i32::MAX => return Ok(i64::MAX),
            day => i64::from(day).checked_mul(DAY).ok_or("is out of range")?,
        };
        if with_zone { zone.instant(local) } else { Ok(local) }
    })
}

fn to_day(times: &TimestampMicrosecondArray) -> Cast {
    each::<Date32Type, _>(times.iter(), &DataType::Date32, |time| match time {
        i64::MIN => Ok(DAYS[0]),
        i64::MAX => Ok(DAYS[1]),
        time => i32::try_from(time.div_euclid(DAY)).map_err(|_| "is out of range"),
    })
}

/// Instants of seconds since 1970, as everywhere else in SQL.
fn from_seconds(array: &ArrayRef) -> Result<Cast, ArrowError> {
    let (seconds, failures) = decimal::cast(array, &decimal::of_scale(6))?;
    let failures = failures.into_iter().map(|(row, reason)| {
        let finer = reason.starts_with("has more than");
        (row, if finer { Reason::Borrowed("is finer than a microsecond") } else { reason })
    });
    let failures = failures.collect();
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")));
    let micros: &arrow::array::Decimal256Array = seconds.as_primitive();
    let (array, more) = each::<TimestampMicrosecondType, _>(micros.iter(), &instant, |micros| {
        let micros = micros.to_i128().and_then(|micros| i64::try_from(micros).ok());
        micros.filter(|micros| !is_infinite(*micros)).ok_or("is out of range")
    });
    Ok((array, merged(failures, more)))
}

/// Times of any unit in microseconds; none is lost or rounded.
fn to_micros(array: &ArrayRef) -> Result<Cast, ArrowError> {
    let DataType::Timestamp(unit, zone) = array.data_type() else {
        return Ok((Arc::clone(array), Vec::new()));
    };
    let factor = match unit {
        TimeUnit::Microsecond => return Ok((Arc::clone(array), Vec::new())),
        TimeUnit::Second => 1_000_000,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Nanosecond => 0,
    };
    let (counts, _) = by_arrow(array, &DataType::Int64)?;
    let to = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
    let counts: &arrow::array::Int64Array = counts.as_primitive();
    Ok(each::<TimestampMicrosecondType, _>(counts.iter(), &to, |count| {
        if factor == 0 {
            return if count % 1_000 == 0 {
                Ok(count / 1_000)
            } else {
                Err("is finer than a microsecond")
            };
        }
        count.checked_mul(factor).ok_or("is out of range")
    }))
}

/// Between local times and instants.
fn between(array: ArrayRef, to: &DataType, zone: &Zone) -> Cast {
    let (Some(from_zone), Some(to_zone)) = (micros(array.data_type()), micros(to)) else {
        return (array, Vec::new());
    };
    let times: &TimestampMicrosecondArray = array.as_primitive();
    if from_zone == to_zone || zone.is_utc() {
        return (Arc::new(times.clone().with_data_type(to.clone())), Vec::new());
    }
    each::<TimestampMicrosecondType, _>(times.iter(), to, |time| {
        if to_zone { zone.instant(time) } else { zone.local(time) }
    })
}

/// Intervals as PostgreSQL prints them.
fn interval_texts(array: &ArrayRef) -> Result<Cast, ArrowError> {
    let (texts, failures): (StringArray, _) = match array.data_type() {
        DataType::Duration(_) => {
            let (array, failures) = by_arrow(array, &DataType::Duration(TimeUnit::Microsecond))?;
            let apart = array.as_primitive::<DurationMicrosecondType>().iter();
            (apart.map(|micros| Some(Span::between(micros?).text())).collect(), failures)
        }
        _ => {
            let (array, failures) = by_arrow(array, &INTERVAL)?;
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>().iter();
            (intervals.map(|interval| Some(Span::of(interval?).text())).collect(), failures)
        }
    };
    Ok((Arc::new(texts), failures))
}

/// The texts of UUIDs.
pub(crate) fn uuid_texts(values: &FixedSizeBinaryArray) -> ArrayRef {
    let mut texts = StringBuilder::with_capacity(values.len(), values.len() * 36);
    let mut text = String::with_capacity(36);
    for value in values {
        text.clear();
        match value {
            Some(bytes) => {
                text::uuid_text(bytes, &mut text);
                texts.append_value(&text);
            }
            None => texts.append_null(),
        }
    }
    Arc::new(texts.finish())
}

/// Arrow's cast gives NULL for what it can't cast: those rows failed.
pub(crate) fn by_arrow(array: &ArrayRef, to: &DataType) -> Result<Cast, ArrowError> {
    let from = array.data_type();
    if *from == DataType::Null {
        return Ok((arrow::array::new_null_array(to, array.len()), Vec::new()));
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let values = match cast_with_options(array, to, &options) {
        Ok(values) => values,
        // Some casts fail as a whole for one value: the text of a time after the year 262142, of an
        // infinite day, of 24:00.
        Err(_) if array.len() > 1 => return by_halves(array, to),
        Err(_) if can_cast_types(from, to) && !array.is_empty() => {
            let failures = vec![(0, Reason::Borrowed("is out of range"))];
            return Ok((arrow::array::new_null_array(to, 1), failures));
        }
        Err(error) => return Err(error),
    };
    let reason = match (from, to) {
        (DataType::Utf8, to) if to.is_numeric() => "is not a number",
        (DataType::Utf8, DataType::Boolean) => "is not true or false",
        (from, DataType::Utf8) if from.is_binary() => "is not UTF-8 text",
        _ => "is out of range",
    };
    let mut failures = Failures::new();
    if values.null_count() > array.null_count() {
        for row in 0..array.len() {
            if values.is_null(row) && array.is_valid(row) {
                let texts = array.as_string_opt::<i32>().filter(|_| to.is_integer());
                let another = texts.and_then(|texts| another_number(texts.value(row)));
                failures.push((row, Reason::Borrowed(another.unwrap_or(reason))));
            }
        }
    }
    if to.is_integer() && from.is_floating() {
        let back = cast_with_options(&values, from, &options)?;
        let same = arrow::compute::kernels::cmp::not_distinct(&back, array)?;
        let lost = (0..array.len())
            .filter(|row| values.is_valid(*row) && !same.value(*row))
            .map(|row| (row, Reason::Borrowed(NOT_WHOLE)))
            .collect();
        failures = merged(failures, lost);
    }
    Ok((values, failures))
}

/// Why a text that is a number is no whole one.
fn another_number(text: &str) -> Option<&'static str> {
    let is_whole = Number::parse(text).ok()?.exactly(0).is_ok();
    Some(if is_whole && text.contains(['e', 'E']) { "has an exponent" } else { NOT_WHOLE })
}

/// Casts each half of the rows on its own.
fn by_halves(array: &ArrayRef, to: &DataType) -> Result<Cast, ArrowError> {
    let half = array.len() / 2;
    let (first, mut failures) = by_arrow(&array.slice(0, half), to)?;
    let (second, more) = by_arrow(&array.slice(half, array.len() - half), to)?;
    failures.extend(more.into_iter().map(|(row, reason)| (row + half, reason)));
    Ok((arrow::compute::concat(&[first.as_ref(), second.as_ref()])?, failures))
}

/// Whether a time is one of the infinities.
pub(crate) fn is_infinite(time: i64) -> bool {
    TIMES.contains(&time)
}

#[cfg(test)]
mod tests {
    use arrow::array::Time64MicrosecondArray;

    use super::*;

    #[test]
    fn a_day_or_time_without_a_text_is_its_rows_failure() {
        let zone = Zone::of("UTC").unwrap();
        let days: ArrayRef = Arc::new(Date32Array::from(vec![0, i32::MAX, 1, i32::MIN, 2]));
        let (texts, failures) = cast(&days, &DataType::Utf8, &zone).unwrap();
        assert_eq!(failures.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 3]);
        let texts: Vec<_> = texts.as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some("1970-01-01"), None, Some("1970-01-02"), None, Some("1970-01-03")]);
        let times: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX, 0, i64::MIN]));
        let (_, failures) = cast(&times, &DataType::Utf8, &zone).unwrap();
        assert_eq!(failures.len(), 2);
        let clocks: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![DAY, 0]));
        let (_, failures) = cast(&clocks, &DataType::Utf8, &zone).unwrap();
        assert_eq!(failures.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0]);
    }
}
