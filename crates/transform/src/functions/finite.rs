//! `finite(x)`: NULL for infinities and for what is no number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::cast::is_infinite;
use crate::reason::carry;
use crate::zone::DAYS;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Finite(Signature);

impl Finite {
    pub(crate) fn new() -> Self {
        Self(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Finite {
    fn name(&self) -> &'static str {
        "finite"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [
                DataType::Date32
                | DataType::Timestamp(TimeUnit::Microsecond, _)
                | DataType::Float32
                | DataType::Float64
                | DataType::Null,
            ] => Ok(arg_types.to_vec()),
            _ => plan_err!("finite takes one day, time, instant or floating-point number"),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(arg) = args.args.first() else {
            return Err(carry("the expression fails"));
        };
        let array = arg.to_array(args.number_rows)?;
        let finite: ArrayRef = match array.data_type() {
            DataType::Date32 => keep::<Date32Type>(&array, |day| !DAYS.contains(&day)),
            DataType::Timestamp(..) => {
                keep::<TimestampMicrosecondType>(&array, |time| !is_infinite(time))
            }
            DataType::Float32 => keep::<Float32Type>(&array, f32::is_finite),
            DataType::Float64 => keep::<Float64Type>(&array, f64::is_finite),
            _ => array,
        };
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
