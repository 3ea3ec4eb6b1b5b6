//! Whether a result fits the column that it is for: by its type when compiled, by its values in each
//! row. Nothing is rounded, cut or wrapped.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, StringArray};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use datafusion_expr::Expr;
use dunlin_engine::moves::arrow_type;
use dunlin_model::moves::{Field, Limit, ValueType};

use crate::cast::{Cast, cast, merged, void};
use crate::functions::is_json;
use crate::limits;
use crate::lists;
use crate::reason::{Failures, Reason};
use crate::text;
use crate::words::{cast_target, column_type, nearest, type_name};
use crate::zone::Zone;

/// How a result becomes a column's value.
#[derive(Debug)]
pub(crate) struct Fit {
    how: How,
    no_null: bool,
    max_chars: Option<usize>,
    padded: bool,
    limit: Option<Limit>,
}

#[derive(Debug)]
enum How {
    /// As it is.
    Same,
    /// By a cast that fails where it would lose anything.
    Cast(DataType),
    /// Whole numbers, where floating point holds them exactly.
    Float(DataType),
    /// Digits; at most so many after the point.
    Numeric(Option<i64>),
    Uuid,
    /// Text that must be JSON.
    Json,
    /// One of these.
    Label(HashSet<String>),
    List(FieldRef, Box<Fit>),
}

impl Fit {
    /// How a type fits a column, `copied` being the source column's where it is merely copied. The
    /// error: what is wrong, and what to write.
    pub(crate) fn of(
        from: &DataType,
        column: &Field,
        copied: Option<&ValueType>,
    ) -> Result<Self, (String, Option<String>)> {
        let Some(how) = how(from, &column.value_type, copied, column.limit) else {
            let message = format!(
                "it gives {}, and `{}` is {}",
                type_name(from),
                column.name,
                column_type(column)
            );
            return Err((message, advice(from, &column.value_type)));
        };
        let (padded, is_text) = match column.value_type {
            ValueType::Text { padded } => (padded, true),
            _ => (false, false),
        };
        let max_chars = column.max_chars.filter(|_| is_text).and_then(|max| max.try_into().ok());
        let no_null = !column.nullable && !column.has_default;
        let is_list = matches!(column.value_type, ValueType::List(_));
        let limit = column.limit.filter(|_| !is_list);
        Ok(Self { how, no_null, max_chars, padded, limit })
    }

    /// The column can't be NULL.
    pub(crate) fn refuses_null(&self) -> bool {
        self.no_null
    }

    /// Fits values; NULL where one doesn't.
    pub(crate) fn apply(&self, array: &ArrayRef, zone: &Zone) -> Result<Cast, ArrowError> {
        let (values, mut failures) = self.convert(array, zone)?;
        if let Some(texts) = values.as_string_opt::<i32>() {
            failures = merged(failures, self.check_texts(texts));
        } else if let Some(map) = values.as_map_opt() {
            let zeros = [map.keys(), map.values()]
                .into_iter()
                .filter_map(|part| part.as_string_opt::<i32>())
                .any(has_zero);
            if zeros {
                failures = merged(failures, zeros_in_maps(map));
            }
        }
        if self.no_null && values.null_count() > 0 {
            let nulls = (0..values.len())
                .filter(|row| values.is_null(*row))
                .map(|row| (row, Reason::Borrowed("is NULL")))
                .collect();
            // A failed value is NULL too: its own reason comes first.
            failures = merged(failures, nulls);
        }
        Ok((void(values, &failures)?, failures))
    }

    fn convert(&self, array: &ArrayRef, zone: &Zone) -> Result<Cast, ArrowError> {
        match &self.how {
            How::Same => Ok((Arc::clone(array), Vec::new())),
            How::Cast(to) => cast(array, to, zone),
            How::Float(to) => {
                let (values, failures) = cast(array, to, zone)?;
                let (back, _) = cast(&values, array.data_type(), zone)?;
                let same = arrow::compute::kernels::cmp::not_distinct(&back, array)?;
                let lost = failed_where(array, "is out of range", |row| !same.value(row));
                Ok((values, merged(failures, lost)))
            }
            How::Numeric(scale) => numeric(array, *scale, zone),
            How::Uuid => uuids(array),
            How::Json => {
                let texts = array.as_string::<i32>();
                let wrong = failed_where(array, "is not JSON", |row| !is_json(texts.value(row)));
                Ok((Arc::clone(array), wrong))
            }
            How::Label(labels) => {
                let texts = array.as_string::<i32>();
                let unknown = |row| !labels.contains(texts.value(row));
                let wrong = failed_where(array, "is none of the type's labels", unknown);
                Ok((Arc::clone(array), wrong))
            }
            How::List(item, fit) => {
                lists::each(array.as_list(), item, |items| fit.apply(items, zone))
            }
        }
    }

    fn check_texts(&self, texts: &StringArray) -> Failures {
        let mut failures = Failures::new();
        if has_zero(texts) {
            for row in 0..texts.len() {
                if texts.is_valid(row) && texts.value(row).contains('\0') {
                    failures.push((row, Reason::Borrowed("holds the character U+0000")));
                }
            }
        }
        if let Some(limit) = self.limit {
            let refused = texts.iter().enumerate().filter_map(|(row, text)| {
                Some((row, Reason::Owned(limits::refused(limit, text?)?)))
            });
            failures = merged(failures, refused.collect());
        }
        let Some(max) = self.max_chars else { return failures };
        let mut long = Failures::new();
        for (row, text) in texts.iter().enumerate() {
            let Some(text) = text.filter(|text| text.len() > max) else { continue };
            let text = if self.padded { text.trim_end_matches(' ') } else { text };
            if text.chars().count() > max {
                long.push((row, Reason::Owned(format!("is longer than {max} characters"))));
            }
        }
        merged(failures, long)
    }
}

fn has_zero(texts: &StringArray) -> bool {
    texts.value_data().contains(&0)
}

fn zeros_in_maps(map: &arrow::array::MapArray) -> Failures {
    let mut failures = Failures::new();
    for row in 0..map.len() {
        let entries = map.value(row);
        let zero = map.is_valid(row)
            && entries
                .columns()
                .iter()
                .filter_map(|part| part.as_string_opt::<i32>())
                .any(|part| part.iter().flatten().any(|text| text.contains('\0')));
        if zero {
            failures.push((row, Reason::Borrowed("holds the character U+0000")));
        }
    }
    failures
}

fn failed_where(array: &ArrayRef, reason: &'static str, wrong: impl Fn(usize) -> bool) -> Failures {
    (0..array.len())
        .filter(|row| array.is_valid(*row) && wrong(*row))
        .map(|row| (row, Reason::Borrowed(reason)))
        .collect()
}

fn how(
    from: &DataType,
    to: &ValueType,
    copied: Option<&ValueType>,
    limit: Option<Limit>,
) -> Option<How> {
    let form = arrow_type(to, true);
    if *from == DataType::Null {
        return Some(How::Cast(form));
    }
    let is_text = *from == DataType::Utf8;
    let same = *from == form;
    match to {
        ValueType::Int16 | ValueType::Int32 | ValueType::Int64 | ValueType::UInt64 => {
            if same {
                return Some(How::Same);
            }
            (from.is_integer() || from.is_decimal()).then_some(How::Cast(form))
        }
        ValueType::Float32 | ValueType::Float64 => match from {
            _ if same => Some(How::Same),
            DataType::Float32 => Some(How::Cast(form)),
            // A column's value must be there again; what was computed becomes the nearest.
            from if from.is_decimal() && copied.is_none() => Some(How::Cast(form)),
            from if from.is_decimal() => Some(How::Float(form)),
            from if from.is_integer() => Some(How::Float(form)),
            _ => None,
        },
        ValueType::Numeric { scale } => {
            let exact = from.is_integer()
                || matches!(from, DataType::Decimal128(..) | DataType::Decimal256(..));
            (is_text || exact).then_some(How::Numeric(scale.map(i64::from)))
        }
        ValueType::Timestamp | ValueType::TimestampTz => match from {
            _ if same => Some(How::Same),
            DataType::Date32 | DataType::Timestamp(..) => Some(How::Cast(form)),
            _ => None,
        },
        ValueType::Time => match from {
            _ if same => Some(How::Same),
            DataType::Time32(_) => Some(How::Cast(form)),
            _ => None,
        },
        ValueType::Uuid => match from {
            DataType::Utf8 | DataType::FixedSizeBinary(16) | DataType::Binary => Some(How::Uuid),
            _ => None,
        },
        ValueType::Json { .. } if is_text => match copied {
            Some(ValueType::Json { .. }) => Some(How::Same),
            _ => Some(How::Json),
        },
        ValueType::Enum(labels) if is_text => Some(How::Label(labels.iter().cloned().collect())),
        ValueType::Map => (same || is_map_of_texts(from)).then_some(if same {
            How::Same
        } else {
            How::Cast(form)
        }),
        ValueType::List(item) => match (from, &form) {
            (DataType::List(of), DataType::List(field)) => {
                let inner = how(of.data_type(), item, None, limit)?;
                let limit = limit.filter(|_| !matches!(item.as_ref(), ValueType::List(_)));
                let (no_null, max_chars, padded) = (false, None, false);
                let fit = Fit { how: inner, no_null, max_chars, padded, limit };
                Some(How::List(Arc::clone(field), Box::new(fit)))
            }
            _ => None,
        },
        _ => same.then_some(How::Same),
    }
}

fn is_map_of_texts(of: &DataType) -> bool {
    let DataType::Map(entries, _) = of else { return false };
    match entries.data_type() {
        DataType::Struct(fields) => fields.iter().all(|field| *field.data_type() == DataType::Utf8),
        _ => false,
    }
}

/// What to write instead.
fn advice(from: &DataType, to: &ValueType) -> Option<String> {
    match (from, to) {
        (_, ValueType::Json { .. }) => Some("write to_json(…)".to_owned()),
        (from, ValueType::Boolean) if from.is_integer() => Some("write … <> 0".to_owned()),
        (_, ValueType::List(_)) => Some("write make_array(…) for a list".to_owned()),
        (DataType::Utf8, ValueType::Bytes) => {
            Some("write decode(…, 'hex') or decode(…, 'base64')".to_owned())
        }
        (DataType::List(_) | DataType::Map(..) | DataType::Struct(_), _) => {
            Some("write to_json(…), or take one value out of it: …['key'], …[1]".to_owned())
        }
        (_, to) => cast_target(to).map(|target| format!("write CAST(… AS {target})")),
    }
}

fn numeric(array: &ArrayRef, scale: Option<i64>, zone: &Zone) -> Result<Cast, ArrowError> {
    let (values, failures) = cast(array, &DataType::Utf8, zone)?;
    let is_text = *array.data_type() == DataType::Utf8;
    if array.data_type().is_integer() || (!is_text && scale.is_none()) {
        return Ok((values, failures));
    }
    let texts = values.as_string::<i32>();
    let mut wrong = Failures::new();
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else { continue };
        let reason = match (text::numeric_scale(text), scale) {
            (None, _) => "is not a number".to_owned(),
            (Some(needed), Some(scale)) if needed > scale.max(0) => {
                format!("has more than {} digits after the point", scale.max(0))
            }
            _ => continue,
        };
        wrong.push((row, Reason::Owned(reason)));
    }
    Ok((values, merged(failures, wrong)))
}

fn uuids(array: &ArrayRef) -> Result<Cast, ArrowError> {
    let mut failures = Failures::new();
    if matches!(array.data_type(), DataType::FixedSizeBinary(16)) {
        return Ok((Arc::clone(array), failures));
    }
    let mut ids = FixedSizeBinaryBuilder::with_capacity(array.len(), 16);
    let texts = array.as_string_opt::<i32>();
    let bytes = array.as_binary_opt::<i32>();
    for row in 0..array.len() {
        if array.is_null(row) {
            ids.append_null();
            continue;
        }
        let id = match (texts, bytes) {
            (Some(texts), _) => text::uuid(texts.value(row)),
            (_, Some(bytes)) => <[u8; 16]>::try_from(bytes.value(row)).ok(),
            _ => None,
        };
        match id {
            Some(id) => ids.append_value(id)?,
            None => {
                ids.append_null();
                failures.push((row, Reason::Borrowed("is not a UUID")));
            }
        }
    }
    Ok((Arc::new(ids.finish()), failures))
}

/// A constant that the expression may give and that is no label of the column's type.
pub(crate) fn wrong_label(expr: &Expr, to: &ValueType) -> Option<(String, Option<String>)> {
    let ValueType::Enum(labels) = to else { return None };
    let mut found = Vec::new();
    constants(expr, &mut found);
    let wrong = found.into_iter().find(|label| !labels.contains(label))?;
    let near = nearest(&wrong, labels.iter().map(String::as_str));
    let help = match near {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("its labels are {}", labels.join(", ")),
    };
    Some((wrong, Some(help)))
}

fn constants(expr: &Expr, found: &mut Vec<String>) {
    match expr {
        Expr::Literal(value, _) => found.extend(value.try_as_str().flatten().map(str::to_owned)),
        Expr::Alias(alias) => constants(&alias.expr, found),
        Expr::Case(case) => {
            for (_, then) in &case.when_then_expr {
                constants(then, found);
            }
            if let Some(other) = &case.else_expr {
                constants(other, found);
            }
        }
        _ => {}
    }
}
