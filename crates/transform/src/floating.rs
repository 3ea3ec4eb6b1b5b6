//! Floating point that a number has no place in: where it would become infinite, or nothing.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::nullif;
use arrow::datatypes::{Float32Type, Float64Type};
use arrow::error::ArrowError;

use crate::cast::Cast;
use crate::reason::Reason;

/// `floats`, which came of `array`, without those that are infinite or 0 where the number was neither.
/// What lies between two floats is rounded, as everywhere; these would be other numbers altogether.
pub(crate) fn without_lost(array: &ArrayRef, floats: ArrayRef) -> Result<Cast, ArrowError> {
    let came_to = |row: usize| -> (bool, bool) {
        if let Some(floats) = floats.as_primitive_opt::<Float64Type>() {
            let float = floats.value(row);
            (float.is_infinite(), float == 0.0)
        } else if let Some(floats) = floats.as_primitive_opt::<Float32Type>() {
            let float = floats.value(row);
            (float.is_infinite(), float == 0.0)
        } else {
            (false, false)
        }
    };
    let lost: Vec<usize> = (0..floats.len())
        .filter(|row| floats.is_valid(*row) && array.is_valid(*row))
        .filter(|row| match came_to(*row) {
            (true, _) => !was_infinite(array, *row),
            (_, true) => !was_zero(array, *row),
            _ => false,
        })
        .collect();
    if lost.is_empty() {
        return Ok((floats, Vec::new()));
    }
    let mut gone = vec![false; floats.len()];
    lost.iter().for_each(|row| gone[*row] = true);
    let floats = nullif(&floats, &BooleanArray::from(gone))?;
    let failures = lost.into_iter().map(|row| (row, Reason::Borrowed("is out of range")));
    Ok((Arc::clone(&floats), failures.collect()))
}

fn was_infinite(array: &ArrayRef, row: usize) -> bool {
    if let Some(texts) = array.as_string_opt::<i32>() {
        let text = texts.value(row).trim();
        let word = text.strip_prefix(['+', '-']).unwrap_or(text);
        return ["inf", "infinity"].iter().any(|known| word.eq_ignore_ascii_case(known));
    }
    array.as_primitive_opt::<Float64Type>().is_some_and(|floats| floats.value(row).is_infinite())
        || array
            .as_primitive_opt::<Float32Type>()
            .is_some_and(|floats| floats.value(row).is_infinite())
}

/// Whole numbers and decimals are never so small that floating point has no place for them.
fn was_zero(array: &ArrayRef, row: usize) -> bool {
    if let Some(texts) = array.as_string_opt::<i32>() {
        let text = texts.value(row);
        let digits = text.split(['e', 'E']).next().unwrap_or(text);
        return !digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    }
    array.as_primitive_opt::<Float64Type>().is_none_or(|floats| floats.value(row) == 0.0)
}
