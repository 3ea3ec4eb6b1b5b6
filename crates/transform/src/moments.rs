//! Functions of days, times and intervals that are ours, by the types that they are given.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{Cast, Expr};

use crate::functions::{AtTimeZone, DatePart, DateTrunc, Finite, Octets, Part, Times};
use crate::reason::carry;
use crate::rewrite::{call, constant};
use crate::words::type_name;

pub(crate) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// An interval, or what two times are apart.
pub(crate) fn is_interval(of: &DataType) -> bool {
    matches!(of, DataType::Interval(_) | DataType::Duration(_))
}

/// What an interval, or the text of one, is compared by.
pub(crate) fn length(part: Expr, of: &DataType) -> Expr {
    let interval = if of.is_string() { cast(part, &INTERVAL) } else { in_micros(part, of) };
    call(DatePart::new(Part::Length), vec![interval])
}

/// A day beside an interval that may have hours becomes a time: a day would lose them. What is
/// infinite, nothing is added to. `None`: there is nothing to do.
pub(crate) fn beside_interval(
    left: (&Expr, &DataType),
    right: (&Expr, &DataType),
) -> Option<(Expr, Expr)> {
    if is_interval(right.1) {
        return Some((reached(left, right)?, right.0.clone()));
    }
    is_interval(left.1).then(|| Some((left.0.clone(), reached(right, left)?)))?
}

/// The day or time that an interval is added to.
fn reached(
    (moment, of): (&Expr, &DataType),
    (interval, apart): (&Expr, &DataType),
) -> Option<Expr> {
    let finite = |moment: Expr| Some(call(Finite::or_fail(), vec![moment]));
    let local = DataType::Timestamp(TimeUnit::Microsecond, None);
    match (of, apart) {
        (DataType::Date32, _) if has_hours(interval) => finite(cast(moment.clone(), &local)),
        (DataType::Timestamp(TimeUnit::Microsecond, _), DataType::Duration(_)) => {
            finite(moment.clone())
        }
        _ => None,
    }
}

/// Constants alone are known to have none: `INTERVAL '1 day'`, and so many times it.
fn has_hours(interval: &Expr) -> bool {
    match interval {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(value), _) => {
            value.is_some_and(|value| value.nanoseconds != 0)
        }
        Expr::Cast(cast) => has_hours(&cast.expr),
        Expr::Negative(inner) => has_hours(inner),
        Expr::ScalarFunction(function) if function.func.inner().is::<Times>() => {
            function.args.first().is_none_or(has_hours)
        }
        _ => true,
    }
}

/// One of our functions, if this is one. The arguments come back otherwise.
pub(crate) fn ours(
    name: &str,
    args: Vec<Expr>,
    types: &[DataType],
) -> Result<std::result::Result<Expr, Vec<Expr>>> {
    let expr = match name {
        "date_part" => date_part(args, types)?,
        "date_trunc" => date_trunc(args, types)?,
        "timezone" => at_time_zone(args, types)?,
        "character_length" | "octet_length"
            if matches!(types, [DataType::Binary | DataType::FixedSizeBinary(_)]) =>
        {
            let bytes = args.into_iter().map(|arg| cast(arg, &DataType::Binary));
            call(Octets::new(), bytes.collect())
        }
        "greatest" | "least" if types.iter().any(is_interval) => {
            return Err(carry(format!(
                "{name} takes no intervals; write CASE WHEN a > b THEN a ELSE b END"
            )));
        }
        _ => return Ok(Err(args)),
    };
    Ok(Ok(expr))
}

fn cast(expr: Expr, to: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to.clone()))
}

/// In the one form of its kind.
fn in_micros(expr: Expr, of: &DataType) -> Expr {
    let micros = TimeUnit::Microsecond;
    let to = match of {
        DataType::Timestamp(_, zone) => DataType::Timestamp(micros, zone.clone()),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(micros),
        DataType::Duration(_) => DataType::Duration(micros),
        DataType::Interval(_) => INTERVAL,
        DataType::Null => DataType::Timestamp(micros, None),
        _ => return expr,
    };
    if *of == to { expr } else { cast(expr, &to) }
}

/// A function's constant first argument and its second.
fn named(name: &str, args: Vec<Expr>, types: &[DataType]) -> Result<(Part, Expr, DataType)> {
    let ([part, _], [_, of]) = (args.as_slice(), types) else {
        let more = match (name, args.len()) {
            ("date_trunc", 3) => {
                "; write date_trunc('day', x AT TIME ZONE 'Europe/Berlin'), and AT TIME ZONE \
                 behind it for an instant"
            }
            _ => "",
        };
        return Err(carry(format!("{name} takes the name of a part, and a time{more}")));
    };
    let part = constant(part).ok_or_else(|| {
        carry(format!("the part is a constant: {name}('month', x); CASE chooses among several"))
    })?;
    let part = Part::of(part).ok_or_else(|| {
        carry(format!(
            "{name} knows no part `{part}`: there are millennium, century, decade, year, quarter, \
             month, week, day, hour, minute, second, millisecond and microsecond, and to extract \
             also epoch, isoyear, doy, dow and isodow"
        ))
    })?;
    let value = args.into_iter().nth(1).unwrap_or_default();
    Ok((part, value, of.clone()))
}

fn date_part(args: Vec<Expr>, types: &[DataType]) -> Result<Expr> {
    let (part, value, of) = named("date_part", args, types)?;
    let has = match &of {
        of if is_interval(of) => part.of_intervals(),
        DataType::Time32(_) | DataType::Time64(_) => part.of_clocks(),
        DataType::Date32 | DataType::Timestamp(..) | DataType::Null => true,
        _ => return Err(no_moment("extract", &of)),
    };
    if !has {
        return Err(carry(format!("{} has no such part", type_name(&of))));
    }
    Ok(call(DatePart::new(part), vec![in_micros(value, &of)]))
}

fn date_trunc(args: Vec<Expr>, types: &[DataType]) -> Result<Expr> {
    let (part, value, of) = named("date_trunc", args, types)?;
    let is_clock = matches!(of, DataType::Time32(_) | DataType::Time64(_));
    let unit = DateTrunc::new(part).filter(|_| !is_clock || part.of_clocks());
    let Some(unit) = unit else {
        return Err(carry(format!("{} can't be cut off there", type_name(&of))));
    };
    match of {
        DataType::Date32 => {
            let time = DataType::Timestamp(TimeUnit::Microsecond, None);
            Ok(call(unit, vec![cast(value, &time)]))
        }
        DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) | DataType::Null => {
            Ok(call(unit, vec![in_micros(value, &of)]))
        }
        of => Err(no_moment("date_trunc", &of)),
    }
}

fn no_moment(name: &str, of: &DataType) -> datafusion_common::DataFusionError {
    let what = type_name(of);
    carry(match (name, of) {
        ("extract", of) if of.is_string() => format!(
            "{name} takes a time, and this is {what}: write CAST(x AS TIMESTAMP), CAST(x AS \
             INTERVAL) for what a column of intervals holds, or CAST(x AS TIME)"
        ),
        _ => format!("{name} takes a time, and this is {what}: write CAST(x AS TIMESTAMP)"),
    })
}

fn at_time_zone(args: Vec<Expr>, types: &[DataType]) -> Result<Expr> {
    let ([zone, _], [of_zone, of]) = (args.as_slice(), types) else {
        return Err(carry("timezone takes the name of a zone, and a time"));
    };
    if !matches!(of, DataType::Timestamp(..) | DataType::Null) {
        return Err(carry(format!(
            "AT TIME ZONE takes a time, and this is {}: write CAST(x AS TIMESTAMP) AT TIME ZONE … \
             for a local time there, or CAST(x AS TIMESTAMPTZ) AT TIME ZONE … for an instant",
            type_name(of)
        )));
    }
    match constant(zone) {
        Some(name) => drop(AtTimeZone::zone(name).map_err(carry)?),
        None if of_zone.is_string() || of_zone.is_null() => {}
        None => return Err(carry("AT TIME ZONE takes a zone's name: 'Europe/Berlin'")),
    }
    let mut args = args.into_iter();
    let (Some(zone), Some(time)) = (args.next(), args.next()) else {
        return Err(carry("timezone takes the name of a zone, and a time"));
    };
    let time = match of {
        DataType::Null => {
            cast(time, &DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))))
        }
        of => in_micros(time, of),
    };
    Ok(call(AtTimeZone::new(), vec![cast(zone, &DataType::Utf8), time]))
}
