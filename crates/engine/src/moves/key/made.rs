//! Arrow's columns out of keys.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, PrimitiveArray, StringBuilder,
};
use arrow::datatypes::{DataType, Int64Type, UInt64Type};

use super::{Part, RowKey};
use crate::{ErrorKind, TargetError};

/// Makes columns of these types out of keys.
pub(in crate::moves) fn columns_of<'a>(
    types: &[DataType],
    keys: impl Iterator<Item = &'a RowKey> + Clone,
) -> Result<Vec<ArrayRef>, TargetError> {
    types.iter().enumerate().map(|(place, of)| column_of(of, keys.clone(), place)).collect()
}

fn column_of<'a>(
    of: &DataType,
    keys: impl Iterator<Item = &'a RowKey>,
    place: usize,
) -> Result<ArrayRef, TargetError> {
    let parts = keys.map(|key| key.0.get(place).unwrap_or(&Part::Null));
    let number = |part: &Part| match part {
        Part::Number(number) => Some(*number),
        _ => None,
    };
    let bytes = |part: &'a Part| match part {
        Part::Bytes(bytes) => Some(bytes.as_ref()),
        _ => None,
    };
    let wrong = || TargetError::new(ErrorKind::Bug, format!("a key is not of type {of}"));
    Ok(match of {
        DataType::Boolean => {
            let mut builder = BooleanBuilder::new();
            parts.for_each(|part| builder.append_option(number(part).map(|n| n != 0)));
            Arc::new(builder.finish())
        }
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            for part in parts {
                let text = bytes(part).map(std::str::from_utf8).transpose().map_err(|_| wrong())?;
                builder.append_option(text);
            }
            Arc::new(builder.finish())
        }
        DataType::Binary => {
            let mut builder = BinaryBuilder::new();
            parts.for_each(|part| builder.append_option(bytes(part)));
            Arc::new(builder.finish())
        }
        DataType::FixedSizeBinary(width) => {
            let mut builder = FixedSizeBinaryBuilder::new(*width);
            for part in parts {
                match bytes(part) {
                    Some(bytes) => builder.append_value(bytes).map_err(|_| wrong())?,
                    None => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        DataType::UInt64 => {
            let digits = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
            let unsigned = |part: &Part| match part {
                Part::Number(number) => u64::try_from(*number).ok(),
                Part::Bytes(bytes) => digits(bytes),
                Part::Null => None,
            };
            Arc::new(parts.map(unsigned).collect::<PrimitiveArray<UInt64Type>>())
        }
        other => {
            let numbers: PrimitiveArray<Int64Type> = parts.map(number).collect();
            // Through numbers of its own width: a day is 32 bits, an instant 64.
            let narrow = match other {
                DataType::Date32 => DataType::Int32,
                _ => DataType::Int64,
            };
            let numbers = arrow::compute::cast(&numbers, &narrow).map_err(|_| wrong())?;
            arrow::compute::cast(&numbers, other).map_err(|_| wrong())?
        }
    })
}
