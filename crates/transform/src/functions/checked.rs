//! Functions that fail where they have no result, or no finite one: `ln(0)`, `sqrt(-1)`, the month of
//! an infinite day.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use super::floating::endless;
use crate::reason::carry;

/// Another function, checked.
#[derive(Debug)]
pub(crate) struct Checked(Arc<ScalarUDF>);

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Checked {
    /// That one.
    pub(crate) fn new(function: Arc<ScalarUDF>) -> Self {
        Self(function)
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.0.coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.0.return_type(arg_types)
    }

    fn return_field_from_args(
        &self,
        args: datafusion_expr::ReturnFieldArgs,
    ) -> Result<arrow::datatypes::FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let given =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let why = match self.0.name() {
            "to_date" => "is not a day",
            "to_time" => "is not a time",
            _ => "is out of range",
        };
        let result = self.0.invoke_with_args(args);
        let values = result.map_err(|_| carry(why))?.to_array(rows)?;
        let lost =
            |row: &usize| values.is_null(*row) && given.iter().all(|array| array.is_valid(*row));
        if endless(&values, &given).is_some()
            || (values.null_count() > 0 && (0..values.len()).any(|row| lost(&row)))
        {
            return Err(carry(why));
        }
        Ok(ColumnarValue::Array(values))
    }
}
