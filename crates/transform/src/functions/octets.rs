//! `length(x)` and `octet_length(x)` of bytes.

use arrow::compute::kernels::length::length;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::reason::carry;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Octets(Signature);

impl Octets {
    /// Takes bytes in their one form.
    pub(crate) fn new() -> Self {
        Self(Signature::any(1, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Octets {
    fn name(&self) -> &'static str {
        "octet_length"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args.first().map(|arg| arg.to_array(args.number_rows)).transpose()?;
        let Some(array) = array else { return Err(carry("the expression fails")) };
        Ok(ColumnarValue::Array(length(&array)?))
    }
}
