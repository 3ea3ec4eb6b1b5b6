//! `finite(x)`: NULL for infinities and for what is no number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::cast::is_infinite;
use crate::reason::carry;
use crate::zone::DAYS;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Finite {
    or_fail: bool,
    signature: Signature,
}

impl Finite {
    /// NULL for what isn't finite.
    pub(crate) fn new() -> Self {
        Self { or_fail: false, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// NULL for the digits of what isn't finite.
    pub(crate) fn of_digits() -> Self {
        Self { or_fail: false, signature: Signature::any(1, Volatility::Immutable) }
    }

    /// What isn't finite fails.
    pub(crate) fn or_fail() -> Self {
        Self { or_fail: true, ..Self::new() }
    }
}

impl ScalarUDFImpl for Finite {
    fn name(&self) -> &'static str {
        "finite"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [
                DataType::Date32
                | DataType::Timestamp(TimeUnit::Microsecond, _)
                | DataType::Float32
                | DataType::Float64
                | DataType::Decimal256(..)
                | DataType::Null,
            ] => Ok(arg_types.to_vec()),
            _ => plan_err!("finite takes one day, time, instant or number"),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(arg) = args.args.first() else {
            return Err(carry("the expression fails"));
        };
        let is_scalar = matches!(arg, ColumnarValue::Scalar(_));
        let array = arg.to_array(if is_scalar { 1 } else { args.number_rows })?;
        let finite: ArrayRef = match array.data_type() {
            DataType::Date32 => keep::<Date32Type>(&array, |day| !DAYS.contains(&day)),
            DataType::Timestamp(..) => {
                keep::<TimestampMicrosecondType>(&array, |time| !is_infinite(time))
            }
            DataType::Float32 => keep::<Float32Type>(&array, f32::is_finite),
            DataType::Float64 => keep::<Float64Type>(&array, f64::is_finite),
            // The digits of a decimal.
            DataType::Utf8 => {
                let endless = |text: &str| matches!(text, "NaN" | "Infinity" | "-Infinity");
                let texts = array.as_string::<i32>().iter();
                let texts: StringArray =
                    texts.map(|text| text.filter(|text| !endless(text))).collect();
                Arc::new(texts)
            }
            _ => Arc::clone(&array),
        };
        if self.or_fail && finite.null_count() > array.null_count() {
            return Err(carry("is infinite"));
        }
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&finite, 0)?));
        }
        Ok(ColumnarValue::Array(finite))
    }
}

fn keep<T: ArrowPrimitiveType>(array: &ArrayRef, wanted: impl Fn(T::Native) -> bool) -> ArrayRef {
    let values: &PrimitiveArray<T> = array.as_primitive();
    if values.values().iter().all(|value| wanted(*value)) {
        return Arc::clone(array);
    }
    let out: BooleanArray = values.values().iter().map(|value| Some(!wanted(*value))).collect();
    arrow::compute::nullif(values, &out).unwrap_or_else(|_| Arc::clone(array))
}
