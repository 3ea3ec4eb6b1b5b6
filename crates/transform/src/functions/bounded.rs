//! Functions whose one result may be as large as a number in a row says, `repeat('a', n)`: what would be
//! too large isn't made.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Date32Type, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use crate::reason::carry;

/// One result may have so many bytes.
const MOST: u64 = 64 << 20;
/// Those of one batch may have so many together.
const MOST_TOGETHER: u64 = 1 << 30;

/// By name: how many bytes at least a row's result has, by its arguments.
const BOUNDED: &[(&str, Size)] = &[
    ("array_repeat", array_repeat),
    ("array_resize", array_resize),
    ("generate_series", series),
    ("lpad", pad),
    ("range", series),
    ("repeat", repeat),
    ("replace", replace),
    ("rpad", pad),
];

/// The error: why there is no such result at all.
type Size = fn(&[ArrayRef], usize) -> Result<u64, &'static str>;

/// Another function, within bounds.
#[derive(Debug)]
pub(crate) struct Bounded {
    function: Arc<ScalarUDF>,
    size: Size,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl Bounded {
    /// That one, if it needs bounds.
    pub(crate) fn of(function: &Arc<ScalarUDF>) -> Option<Self> {
        if function.inner().downcast_ref::<Self>().is_some() {
            return None;
        }
        let (_, size) = BOUNDED.iter().find(|(name, _)| *name == function.name())?;
        Some(Self { function: Arc::clone(function), size: *size })
    }

    fn check(&self, args: &[ArrayRef], rows: usize) -> Result<()> {
        let mut together = 0_u64;
        // A list may be of NULL; else nothing comes of NULL.
        let of_null = self.function.name() == "array_repeat";
        for row in 0..rows {
            if !of_null && args.iter().any(|array| array.is_null(row)) {
                continue;
            }
            let size = (self.size)(args, row).map_err(carry)?;
            if size > MOST {
                return Err(carry(format!("would be larger than {} MiB", MOST >> 20)));
            }
            together = together.saturating_add(size);
        }
        if together > MOST_TOGETHER {
            let most = MOST_TOGETHER >> 20;
            let name = self.function.name();
            return Err(DataFusionError::ResourcesExhausted(format!(
                "what `{name}` gives for {rows} rows would be larger than {most} MiB"
            )));
        }
        Ok(())
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.function.return_type(arg_types)
    }

    fn return_field_from_args(
        &self,
        args: datafusion_expr::ReturnFieldArgs,
    ) -> Result<arrow::datatypes::FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let given =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        self.check(&given, rows)?;
        if matches!(self.function.name(), "lpad" | "rpad")
            && let Some(slot) = args.args.get_mut(1)
        {
            *slot = ColumnarValue::Array(Arc::new(lengths(&given, rows)));
        }
        self.function.invoke_with_args(args)
    }
}

/// The lengths that texts are padded to: room is made for so much, also where nothing is padded.
fn lengths(args: &[ArrayRef], rows: usize) -> Int64Array {
    let length = |row: usize| {
        if args.iter().any(|array| array.is_null(row)) {
            return None;
        }
        let length = i64::try_from(times(args, 1, row)).unwrap_or(i64::MAX);
        let is_cut = args.len() > 2 && text(args, 2, row).is_empty();
        let most = || i64::try_from(text(args, 0, row).chars().count()).unwrap_or(i64::MAX);
        Some(if is_cut { length.min(most()) } else { length })
    };
    (0..rows).map(length).collect()
}

/// A text; none where it has another form, which the function refuses itself.
fn text(args: &[ArrayRef], place: usize, row: usize) -> &str {
    let texts = args.get(place).and_then(|array| array.as_string_opt::<i32>());
    texts.filter(|texts: &&StringArray| texts.is_valid(row)).map_or("", |texts| texts.value(row))
}

/// How often; never less than not at all.
fn times(args: &[ArrayRef], place: usize, row: usize) -> u64 {
    let counts = args.get(place).and_then(|array| array.as_primitive_opt::<Int64Type>());
    let count = counts.filter(|counts: &&Int64Array| counts.is_valid(row));
    count.map_or(0, |counts| u64::try_from(counts.value(row)).unwrap_or_default())
}

/// The bytes of one value.
fn bytes(array: &ArrayRef, row: usize) -> u64 {
    if array.is_null(row) {
        return 1;
    }
    let size = array.slice(row, 1).to_data().get_slice_memory_size();
    size.map_or(8, |size| size as u64).max(1)
}

fn repeat(args: &[ArrayRef], row: usize) -> Result<u64, &'static str> {
    let size = text(args, 0, row).len() as u64;
    Ok(size.saturating_mul(times(args, 1, row)))
}

/// Whole fills.
fn pad(args: &[ArrayRef], row: usize) -> Result<u64, &'static str> {
    let length = times(args, 1, row);
    let of = text(args, 0, row);
    let fill = if args.len() > 2 { text(args, 2, row) } else { " " };
    if length <= of.len() as u64 && length < MOST || fill.is_empty() {
        return Ok(of.len() as u64);
    }
    let missing = length.saturating_sub(of.chars().count() as u64);
    let fills = missing / fill.chars().count() as u64;
    Ok((of.len() as u64).saturating_add(fills.saturating_mul(fill.len() as u64)))
}

fn replace(args: &[ArrayRef], row: usize) -> Result<u64, &'static str> {
    let (of, from, to) = (text(args, 0, row), text(args, 1, row), text(args, 2, row));
    let size = of.len() as u64;
    if from.is_empty() {
        return Ok(size);
    }
    let most = size / from.len() as u64;
    if size.saturating_add(most.saturating_mul(to.len() as u64)) <= MOST {
        return Ok(size);
    }
    let found = of.matches(from).count() as u64;
    let gone = found.saturating_mul(from.len() as u64);
    Ok(size.saturating_sub(gone).saturating_add(found.saturating_mul(to.len() as u64)))
}

fn array_repeat(args: &[ArrayRef], row: usize) -> Result<u64, &'static str> {
    let Some(of) = args.first() else { return Ok(0) };
    Ok(bytes(of, row).saturating_mul(times(args, 1, row)))
}

fn array_resize(args: &[ArrayRef], row: usize) -> Result<u64, &'static str> {
    let width = |array: &ArrayRef| array.data_type().primitive_width().unwrap_or(1) as u64;
    let items = args.first().and_then(|array| array.as_list_opt::<i32>());
    let item = items.map_or(1, |lists| width(lists.values()));
    let item = args.get(2).map_or(item, |fill| bytes(fill, row)).max(item);
    Ok(item.saturating_mul(times(args, 1, row)))
}

/// `range` and `generate_series`, of numbers, days and times.
fn series(args: &[ArrayRef], row: usize) -> Result<u64, &'static str> {
    let Some((from, to)) = ends(args, row) else { return Ok(0) };
    let step = match args.get(2) {
        None => 1,
        Some(step) if step.is_null(row) => return Ok(0),
        Some(step) => self::step(step, args, row)?,
    };
    if step == 0 || (to > from) != (step > 0) {
        return Ok(0);
    }
    let count = to.abs_diff(from) / step.unsigned_abs();
    Ok(u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(8))
}

/// Both ends, as numbers.
fn ends(args: &[ArrayRef], row: usize) -> Option<(i128, i128)> {
    let number = |array: &ArrayRef| match array.data_type() {
        DataType::Date32 => {
            Some(i128::from(array.as_primitive_opt::<Date32Type>()?.value(row)) * DAY)
        }
        DataType::Timestamp(unit, _) => {
            let ticks = arrow::compute::cast(&array.slice(row, 1), &DataType::Int64).ok()?;
            let ticks = i128::from(ticks.as_primitive_opt::<Int64Type>()?.value(0));
            Some(match unit {
                TimeUnit::Second => ticks * 1_000_000_000,
                TimeUnit::Millisecond => ticks * 1_000_000,
                TimeUnit::Microsecond => ticks * 1_000,
                TimeUnit::Nanosecond => ticks,
            })
        }
        _ => Some(i128::from(array.as_primitive_opt::<Int64Type>()?.value(row))),
    };
    match args {
        [to] => Some((0, number(to)?)),
        [from, to, ..] => Some((number(from)?, number(to)?)),
        [] => None,
    }
}

/// Nanoseconds of a day.
const DAY: i128 = 86_400_000_000_000;

/// A step; of an interval its nanoseconds, with months as long as they may be.
fn step(step: &ArrayRef, args: &[ArrayRef], row: usize) -> Result<i128, &'static str> {
    if let Some(numbers) = step.as_primitive_opt::<Int64Type>() {
        return Ok(numbers.value(row).into());
    }
    let Some(steps) = step.as_primitive_opt::<IntervalMonthDayNanoType>() else { return Ok(0) };
    let step = steps.value(row);
    // It would go to and fro for ever.
    let ways = [i64::from(step.months), i64::from(step.days), step.nanoseconds].map(i64::signum);
    if ways.contains(&1) && ways.contains(&-1) {
        return Err("has a step that goes both ways");
    }
    let nanoseconds = i128::from(step.nanoseconds);
    // A day takes whole days alone.
    let days = args.first().is_some_and(|from| *from.data_type() == DataType::Date32);
    let nanoseconds = if days { nanoseconds / DAY * DAY } else { nanoseconds };
    if days && nanoseconds == 0 && step.days == 0 && step.months == 0 && step.nanoseconds != 0 {
        return Err("has a step that is shorter than a day");
    }
    Ok(i128::from(step.months) * 31 * DAY + i128::from(step.days) * DAY + nanoseconds)
}
