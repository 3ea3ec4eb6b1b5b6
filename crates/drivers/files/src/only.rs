//! Rows of given values alone.

use arrow::array::{BooleanArray, Scalar};
use arrow::compute::kernels::cmp;
use arrow::compute::{and_kleene, filter_record_batch};
use arrow::record_batch::RecordBatch;
use dunlin_engine::TargetError;
use dunlin_model::moves::{Field, FileType, ValueType};

use crate::cells::Cells;
use crate::fault::bug;
use crate::value::{self, Value};

/// Those rows whose columns have these texts. Columns are places in the batch.
pub(crate) fn only(
    batch: &RecordBatch,
    wanted: &[(usize, &Field, &str)],
) -> Result<RecordBatch, TargetError> {
    let mut keep: Option<BooleanArray> = None;
    for (place, field, text) in wanted {
        let Ok(value) = value::parse(&read_as(&field.value_type), text, false) else {
            return Ok(batch.slice(0, 0));
        };
        if value == Value::Null {
            return Ok(batch.slice(0, 0));
        }
        let mut cells = Cells::new(&field.value_type);
        cells.push(&value);
        let same = cmp::eq(batch.column(*place), &Scalar::new(cells.finish()))
            .map_err(|error| bug(&error))?;
        keep = Some(match keep {
            Some(keep) => and_kleene(&keep, &same).map_err(|error| bug(&error))?,
            None => same,
        });
    }
    match keep {
        Some(keep) => filter_record_batch(batch, &keep).map_err(|error| bug(&error)),
        None => Ok(batch.clone()),
    }
}

/// How a person writes a value of a type.
fn read_as(of: &ValueType) -> FileType {
    match of {
        ValueType::Boolean => FileType::Boolean,
        ValueType::Int16 => FileType::Int16,
        ValueType::Int32 => FileType::Int32,
        ValueType::Int64 => FileType::Int64,
        ValueType::UInt64 => FileType::UInt64,
        ValueType::Bytes => FileType::Hex,
        ValueType::Date => FileType::Date(None),
        ValueType::Time => FileType::Time(None),
        ValueType::Timestamp => FileType::Timestamp(None),
        ValueType::TimestampTz => FileType::TimestampTz(None),
        ValueType::Uuid => FileType::Uuid,
        _ => FileType::Text,
    }
}
