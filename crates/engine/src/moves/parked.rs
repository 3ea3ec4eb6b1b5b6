//! Values that rows give up for a moment, so that others can take them: NULL, or such as nobody else
//! has.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, Int16Array, Int32Array, Int64Array,
    StringArray, new_null_array,
};
use dunlin_model::moves::{Field, ValueType};

use super::arrow_type::arrow_type;

/// A text shorter than this has no room for a value of nobody's.
const CHARS_MIN: u32 = 6;

/// Letters that make a text one of nobody's: small ones, which most checks let pass.
const MARK_CHARS: usize = 16;

/// How a value is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// NULL takes its place.
    Null,
    /// It gets a mark behind it. A check of its form most often lets that pass.
    Longer,
    /// A mark takes the place of its last letters. A check of its length lets that pass.
    AsLong,
    /// Any value of nobody's.
    Any,
}

/// The ways that a column has, the most harmless first.
pub(super) fn ways(field: &Field) -> Vec<Way> {
    let mut ways = Vec::new();
    if field.nullable {
        ways.push(Way::Null);
    }
    match field.value_type {
        // Again, where somebody has that very value.
        ValueType::Text { .. } => ways.extend([Way::Longer, Way::AsLong, Way::AsLong]),
        ValueType::Int16 | ValueType::Int32 | ValueType::Int64 => {
            ways.extend([Way::Any, Way::Any]);
        }
        ValueType::Uuid => ways.push(Way::Any),
        _ => {}
    }
    ways
}

/// Whether a NOT NULL column has values that nobody else is likely to have.
pub(super) fn holds_any(field: &Field) -> bool {
    match field.value_type {
        ValueType::Text { .. } => field.max_chars.is_none_or(|most| most >= CHARS_MIN),
        ValueType::Uuid | ValueType::Int16 | ValueType::Int32 | ValueType::Int64 => true,
        _ => false,
    }
}

/// Values for rows that give theirs up.
pub(super) fn parked_values(field: &Field, way: Way, were: &ArrayRef) -> ArrayRef {
    let rows = were.len();
    let numbers = || (0..rows).map(|_| fastrand::i64(..));
    match (way, &field.value_type) {
        (Way::Null, _) => new_null_array(&arrow_type(&field.value_type, true), rows),
        // The upper half: what counts from 1 is not there yet.
        (_, ValueType::Int16) => {
            let half = |number: i64| (number as i16 & i16::MAX) | (1 << 14);
            Arc::new(numbers().map(half).collect::<Int16Array>())
        }
        (_, ValueType::Int32) => {
            let half = |number: i64| (number as i32 & i32::MAX) | (1 << 30);
            Arc::new(numbers().map(half).collect::<Int32Array>())
        }
        (_, ValueType::Int64) => {
            let half = |number: i64| (number & i64::MAX) | (1 << 62);
            Arc::new(numbers().map(half).collect::<Int64Array>())
        }
        (_, ValueType::Uuid) => {
            let mut ids = FixedSizeBinaryBuilder::with_capacity(rows, 16);
            for _ in 0..rows {
                // The builder's only error is another width.
                if ids.append_value(uuid::Uuid::new_v4().into_bytes()).is_err() {
                    ids.append_null();
                }
            }
            Arc::new(ids.finish())
        }
        _ => {
            let were = were.as_string_opt::<i32>();
            let text = |row: usize| {
                let was = were.filter(|were| were.is_valid(row)).map_or("", |were| were.value(row));
                Some(marked(was, way, field.max_chars))
            };
            Arc::new((0..rows).map(text).collect::<StringArray>())
        }
    }
}

/// A text that nobody else has.
fn marked(was: &str, way: Way, max_chars: Option<u32>) -> String {
    let most = max_chars.map_or(usize::MAX, |most| most as usize);
    let letter = || fastrand::char('a'..='z');
    let mark: String = std::iter::repeat_with(letter).take(MARK_CHARS).collect();
    let count = was.chars().count();
    let keep = match way {
        Way::Longer => count.min(most.saturating_sub(MARK_CHARS)),
        Way::AsLong => count.saturating_sub(MARK_CHARS),
        Way::Null | Way::Any => 0,
    };
    let wanted = match way {
        Way::AsLong if count > 0 => count,
        _ => keep + MARK_CHARS,
    };
    was.chars().take(keep).chain(mark.chars()).take(wanted.min(most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_keeps_the_form_or_the_length() {
        let long = marked("ann@example.org", Way::Longer, None);
        assert!(long.starts_with("ann@example.org"), "{long}");
        assert_eq!(long.chars().count(), 15 + MARK_CHARS);
        let cut = marked("ann@example.org", Way::Longer, Some(20));
        assert!(cut.starts_with("ann@") && cut.chars().count() == 20, "{cut}");
        assert_eq!(marked("Zoë-0123456789-abcdef", Way::AsLong, None).chars().count(), 21);
        assert_eq!(marked("abcdefgh", Way::AsLong, Some(8)).chars().count(), 8);
        assert_eq!(marked("abc", Way::AsLong, None).chars().count(), 3);
        assert_eq!(marked("", Way::AsLong, Some(8)).chars().count(), 8);
        assert_ne!(marked("a", Way::Longer, Some(6)), marked("a", Way::Longer, Some(6)));
    }
}
