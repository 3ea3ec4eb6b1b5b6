//! `column['key']` of a map.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::reason::carry;

/// The value of one key; NULL where the key isn't there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct MapValue {
    key: String,
    signature: Signature,
}

impl MapValue {
    /// Of that key.
    pub(crate) fn new(key: String) -> Self {
        Self { key, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for MapValue {
    fn name(&self) -> &'static str {
        "map_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args.first().map(|arg| arg.to_array(args.number_rows)).transpose()?;
        let Some(map) = array.as_ref().and_then(|array| array.as_map_opt()) else {
            return Err(carry("the expression fails"));
        };
        Ok(ColumnarValue::Array(values(map, &self.key)))
    }
}

fn values(map: &MapArray, key: &str) -> ArrayRef {
    let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
    let mut found = StringBuilder::with_capacity(map.len(), map.len() * 16);
    for (row, ends) in map.value_offsets().windows(2).enumerate() {
        let place = (ends[0]..ends[1])
            .filter_map(|place| usize::try_from(place).ok())
            .find(|place| map.is_valid(row) && keys.value(*place) == key);
        match place {
            Some(place) if values.is_valid(place) => found.append_value(values.value(place)),
            _ => found.append_null(),
        }
    }
    Arc::new(found.finish())
}
