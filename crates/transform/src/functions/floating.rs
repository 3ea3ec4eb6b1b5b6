//! Arithmetic of floating point that fails where it has no finite result: `1.5 / 0`.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{
    ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::reason::carry;

/// An operation of two numbers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Floating {
    operator: Operator,
    signature: Signature,
}

impl Floating {
    /// `+`, `-`, `*`, `/` or `%`.
    pub(crate) fn new(operator: Operator) -> Self {
        Self { operator, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Floating {
    fn name(&self) -> &'static str {
        "floating"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [left, right] if left == right && left.is_floating() => Ok(left.clone()),
            _ => plan_err!("two numbers of one type are needed"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let [left, right] = arrays.as_slice() else { return Err(carry("the expression fails")) };
        let values = match self.operator {
            Operator::Plus => numeric::add(left, right),
            Operator::Minus => numeric::sub(left, right),
            Operator::Multiply => numeric::mul(left, right),
            Operator::Divide => numeric::div(left, right),
            _ => numeric::rem(left, right),
        }?;
        if let Some(row) = endless(&values, &arrays) {
            let divides = matches!(self.operator, Operator::Divide | Operator::Modulo);
            let by_zero = divides && is_zero(right, row);
            return Err(carry(if by_zero { "division by zero" } else { "is out of range" }));
        }
        Ok(ColumnarValue::Array(values))
    }
}

/// The first row whose result isn't finite though all that it is of is.
pub(crate) fn endless(values: &ArrayRef, given: &[ArrayRef]) -> Option<usize> {
    let quick = match values.data_type() {
        DataType::Float64 => {
            values.as_primitive::<Float64Type>().values().iter().all(|value| value.is_finite())
        }
        DataType::Float32 => {
            values.as_primitive::<Float32Type>().values().iter().all(|value| value.is_finite())
        }
        _ => true,
    };
    if quick {
        return None;
    }
    (0..values.len())
        .find(|row| !finite(values, *row) && given.iter().all(|array| finite(array, *row)))
}

/// NULL and what is no floating point count as finite.
fn finite(array: &ArrayRef, row: usize) -> bool {
    if array.is_null(row) {
        return true;
    }
    match array.data_type() {
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).is_finite(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).is_finite(),
        _ => true,
    }
}

fn is_zero(array: &ArrayRef, row: usize) -> bool {
    match array.data_type() {
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row) == 0.0,
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row) == 0.0,
        _ => false,
    }
}
