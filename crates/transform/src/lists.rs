//! Lists, item by item: a list fails where one of its items does.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::compute::{is_null, nullif};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;

use crate::cast::{Cast, by_arrow, cast as cast_values, merged};
use crate::reason::Failures;
use crate::zone::Zone;

/// What a list is of.
pub(crate) fn item(of: &DataType) -> Option<&FieldRef> {
    match of {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// Casts lists, or values that become lists of one, to lists of `items`.
pub(crate) fn cast(
    array: &ArrayRef,
    items: &FieldRef,
    to: &DataType,
    zone: &Zone,
) -> Result<Cast, ArrowError> {
    let (values, failures) = match item(array.data_type()) {
        None => {
            let (values, failures) = cast_values(array, items.data_type(), zone)?;
            let (lists, more) = by_arrow(&values, to)?;
            // Arrow makes a list of one NULL of NULL.
            let lists = nullif(&lists, &is_null(array)?)?;
            return Ok((lists, merged(failures, more)));
        }
        Some(from) => {
            let (lists, failures) = by_arrow(array, &DataType::List(Arc::clone(from)))?;
            let cast_items = |values: &ArrayRef| cast_values(values, items.data_type(), zone);
            let (lists, more) = each(lists.as_list(), items, cast_items)?;
            (lists, merged(failures, more))
        }
    };
    let (values, more) = by_arrow(&values, to)?;
    Ok((values, merged(failures, more)))
}

/// The lists of what `of` makes of all their items. What fails in a list is its row's failure.
pub(crate) fn each(
    lists: &ListArray,
    items: &FieldRef,
    of: impl FnOnce(&ArrayRef) -> Result<Cast, ArrowError>,
) -> Result<Cast, ArrowError> {
    let (values, wrong) = of(lists.values())?;
    let mut failures = Failures::new();
    for (at, reason) in wrong {
        let at = i32::try_from(at).unwrap_or(i32::MAX);
        let row = lists.value_offsets().partition_point(|offset| *offset <= at);
        // Rows that were cut off leave their items there.
        let row = row.checked_sub(1).filter(|row| *row < lists.len() && lists.is_valid(*row));
        failures.extend(row.map(|row| (row, reason)));
    }
    failures.dedup_by_key(|(row, _)| *row);
    let offsets = lists.offsets().clone();
    let lists = ListArray::try_new(Arc::clone(items), offsets, values, lists.nulls().cloned())?;
    Ok((Arc::new(lists), failures))
}
