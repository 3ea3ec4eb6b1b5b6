//! `CAST` and `TRY_CAST`, as we mean them.

use arrow::datatypes::DataType;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::cast::cast;
use crate::reason::carry;
use crate::zone::Zone;

/// Casts to one type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CastTo {
    /// The type.
    pub(crate) to: DataType,
    /// What can't be cast is NULL.
    pub(crate) or_null: bool,
    /// Of times that carry no zone.
    pub(crate) zone: Zone,
    signature: Signature,
}

impl CastTo {
    /// A cast.
    pub(crate) fn new(to: DataType, or_null: bool, zone: Zone) -> Self {
        Self { to, or_null, zone, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for CastTo {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(arg) = args.args.first() else {
            return Err(carry("the expression fails"));
        };
        let is_scalar = matches!(arg, ColumnarValue::Scalar(_));
        let array = arg.to_array(if is_scalar { 1 } else { args.number_rows })?;
        let (array, failures) = cast(&array, &self.to, &self.zone)?;
        if let Some((_, reason)) = failures.into_iter().next().filter(|_| !self.or_null) {
            return Err(carry(reason));
        }
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}
