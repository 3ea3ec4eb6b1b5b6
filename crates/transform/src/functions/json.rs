//! `to_json(x)`, and `json_text`, `json_get` and `json_list` of `(j, path…)`.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use serde::de::IgnoredAny;

use crate::cast::{cast, uuid_texts};
use crate::holds::Holds;
use crate::reason::carry;
use crate::zone::Zone;

/// JSON of any value: a map's keys are sorted and its values texts; what is JSON stays as it is.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ToJson {
    holds: Holds,
    signature: Signature,
}

impl ToJson {
    /// Of values that hold such texts.
    pub(crate) fn of(holds: Holds) -> Self {
        Self { holds, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToJson {
    fn name(&self) -> &'static str {
        "to_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(arg) = args.args.first() else {
            return Err(carry("the expression fails"));
        };
        let array = arg.to_array(args.number_rows)?;
        let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 16);
        let mut text = String::new();
        let writer = Writer::of(&array, &self.holds)?;
        for row in 0..array.len() {
            if array.is_null(row) {
                texts.append_null();
                continue;
            }
            text.clear();
            writer.write(row, &mut text)?;
            texts.append_value(&text);
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}

/// Writes the JSON of an array's values.
enum Writer {
    Null,
    Text(StringArray),
    /// Texts that are JSON.
    Json(StringArray),
    /// Whole numbers, decimals, true and false: their text is JSON.
    Plain(ArrayRef),
    /// Floating point, which may be no number at all.
    Float(ArrayRef),
    /// Their text, in quotes.
    Quoted(ArrayRef),
    List(arrow::array::ListArray, Box<Self>),
    Record(arrow::array::StructArray, Vec<(String, Self)>),
    Map(arrow::array::MapArray, StringArray, Box<Self>),
}

impl Writer {
    fn of(array: &ArrayRef, holds: &Holds) -> Result<Self> {
        let text = |array: &ArrayRef| -> Result<StringArray> {
            Ok(arrow::compute::cast(array, &DataType::Utf8)?.as_string::<i32>().clone())
        };
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            of if of.is_string() && *holds == Holds::Json => Self::Json(text(array)?),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text(text(array)?),
            of if of.is_floating() => Self::Float(Arc::clone(array)),
            of if of.is_decimal() => Self::Plain(cast(array, &DataType::Utf8, &Zone::utc())?.0),
            of if of.is_numeric() || *of == DataType::Boolean => Self::Plain(Arc::clone(array)),
            DataType::FixedSizeBinary(16) => Self::Quoted(uuid_texts(array.as_fixed_size_binary())),
            DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..) => {
                Self::Quoted(Arc::clone(array))
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let holds = match holds {
                    Holds::List(item) => item.as_ref(),
                    _ => &Holds::Text,
                };
                Self::List(list.clone(), Box::new(Self::of(list.values(), holds)?))
            }
            DataType::Struct(_) => {
                let record = array.as_struct();
                let fields = record.column_names().into_iter().zip(record.columns());
                let part = |name: &str| match holds {
                    Holds::Record(parts) => parts.iter().find(|(part, _)| part == name),
                    _ => None,
                };
                let fields = fields
                    .map(|(name, column)| {
                        let holds = part(name).map_or(&Holds::Text, |(_, holds)| holds);
                        Ok((name.to_owned(), Self::of(column, holds)?))
                    })
                    .collect::<Result<Vec<_>>>()?;
                Self::Record(record.clone(), fields)
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let values = Self::of(map.values(), &Holds::Text)?;
                Self::Map(map.clone(), text(map.keys())?, Box::new(values))
            }
            _ => return Err(carry("has no form in JSON")),
        })
    }

    fn write(&self, row: usize, into: &mut String) -> Result<()> {
        match self {
            Self::Null => into.push_str("null"),
            Self::Text(texts) | Self::Json(texts) if texts.is_null(row) => into.push_str("null"),
            Self::Json(texts) if is_json(texts.value(row)) => into.push_str(texts.value(row)),
            Self::Json(_) => return Err(carry("is not JSON")),
            Self::Text(texts) => quote(texts.value(row), into),
            Self::Plain(array) => write_shown(array, row, into)?,
            Self::Float(array) => {
                let finite = match array.data_type() {
                    DataType::Float64 => array.as_primitive::<Float64Type>().value(row).is_finite(),
                    DataType::Float32 => array.as_primitive::<Float32Type>().value(row).is_finite(),
                    _ => true,
                };
                if !finite && array.is_valid(row) {
                    return Err(carry("is no number in JSON"));
                }
                write_shown(array, row, into)?;
            }
            Self::Quoted(array) if array.is_null(row) => into.push_str("null"),
            Self::Quoted(array) => {
                let mut shown = String::new();
                write_shown(array, row, &mut shown)?;
                quote(&shown, into);
            }
            Self::List(list, _) if list.is_null(row) => into.push_str("null"),
            Self::List(list, items) => {
                into.push('[');
                for (count, place) in range(list.value_offsets(), row).enumerate() {
                    if count > 0 {
                        into.push(',');
                    }
                    items.write(place, into)?;
                }
                into.push(']');
            }
            Self::Record(record, _) if record.is_null(row) => into.push_str("null"),
            Self::Record(_, fields) => {
                into.push('{');
                for (count, (name, field)) in fields.iter().enumerate() {
                    if count > 0 {
                        into.push(',');
                    }
                    quote(name, into);
                    into.push(':');
                    field.write(row, into)?;
                }
                into.push('}');
            }
            Self::Map(map, _, _) if map.is_null(row) => into.push_str("null"),
            Self::Map(map, keys, values) => {
                let mut places: Vec<usize> = range(map.value_offsets(), row).collect();
                places.sort_by_key(|place| keys.value(*place));
                into.push('{');
                for (count, place) in places.into_iter().enumerate() {
                    if count > 0 {
                        into.push(',');
                    }
                    quote(keys.value(place), into);
                    into.push(':');
                    values.write(place, into)?;
                }
                into.push('}');
            }
        }
        Ok(())
    }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |place: usize| {
        offsets.get(place).and_then(|at| usize::try_from(*at).ok()).unwrap_or_default()
    };
    at(row)..at(row + 1)
}

fn write_shown(array: &ArrayRef, row: usize, into: &mut String) -> Result<()> {
    if array.is_null(row) {
        into.push_str("null");
        return Ok(());
    }
    let options = FormatOptions::default().with_display_error(false);
    let shown = ArrayFormatter::try_new(array, &options)?;
    shown.value(row).write(into).map_err(|_| carry("has no form in JSON"))
}

/// A JSON string.
fn quote(text: &str, into: &mut String) {
    match serde_json::to_string(text) {
        Ok(quoted) => into.push_str(&quoted),
        // Text always has a form.
        Err(_) => into.push_str("null"),
    }
}

/// What a path into JSON gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Gives {
    /// The value's text; NULL where it is null.
    Text,
    /// The value as JSON.
    Json,
    /// The texts of an array's values.
    List,
}

/// A value in JSON, by keys and places from 0, or from -1 backwards; NULL where it isn't there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct JsonPath {
    gives: Gives,
    signature: Signature,
}

impl JsonPath {
    pub(crate) fn new(gives: Gives) -> Self {
        Self { gives, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for JsonPath {
    fn name(&self) -> &'static str {
        match self.gives {
            Gives::Text => "json_text",
            Gives::Json => "json_get",
            Gives::List => "json_list",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let wrong = || plan_err!("{name} takes JSON and then keys ('name') and places (0)");
        let Some((json, path)) = arg_types.split_first() else { return wrong() };
        if !(json.is_string() || json.is_null()) {
            return wrong();
        }
        let mut types = vec![DataType::Utf8];
        for step in path {
            match step {
                of if of.is_string() => types.push(DataType::Utf8),
                of if of.is_integer() => types.push(DataType::Int64),
                _ => return wrong(),
            }
        }
        Ok(types)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.gives {
            Gives::Text | Gives::Json => DataType::Utf8,
            Gives::List => DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let Some((json, path)) = arrays.split_first() else {
            return Err(carry("the expression fails"));
        };
        let mut texts = StringBuilder::with_capacity(rows, rows * 8);
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in 0..json.len() {
            let value = if arrays.iter().any(|array| array.is_null(row)) {
                None
            } else {
                found(json.as_string::<i32>().value(row), path, row)?
            };
            match self.gives {
                Gives::Json => texts.append_option(value),
                Gives::Text => texts.append_option(value.map(plain_text).transpose()?.flatten()),
                Gives::List => append_list(value, &mut lists)?,
            }
        }
        Ok(ColumnarValue::Array(match self.gives {
            Gives::Text | Gives::Json => Arc::new(texts.finish()),
            Gives::List => Arc::new(lists.finish()),
        }))
    }
}

/// The value at the end of a path.
fn found<'a>(json: &'a str, path: &[ArrayRef], row: usize) -> Result<Option<&'a str>> {
    if !is_json(json) {
        return Err(carry("is not JSON"));
    }
    let mut value = Some(json.trim_ascii());
    for step in path {
        value = value.and_then(|value| match step.as_string_opt::<i32>() {
            // In a path as a text, places are texts too: '{tags,0}'.
            Some(keys) if value.starts_with('[') => element(value, keys.value(row).parse().ok()?),
            Some(keys) => member(value, keys.value(row)),
            None => {
                let places = step.as_primitive::<arrow::datatypes::Int64Type>();
                element(value, places.value(row))
            }
        });
    }
    Ok(value)
}

/// A value's text: a string's own, and the JSON of others.
fn plain_text(value: &str) -> Result<Option<Cow<'_, str>>> {
    match value {
        "null" => Ok(None),
        text if text.starts_with('"') => {
            let text: String =
                serde_json::from_str(text).map_err(|_| carry("is no text that can be kept"))?;
            Ok(Some(Cow::Owned(text)))
        }
        text => Ok(Some(Cow::Borrowed(text))),
    }
}

fn append_list(value: Option<&str>, lists: &mut ListBuilder<StringBuilder>) -> Result<()> {
    let Some(value) = value.filter(|value| *value != "null") else {
        lists.append_null();
        return Ok(());
    };
    let Some(parts) = parts(value, '[', ']') else { return Err(carry("is no array in JSON")) };
    for part in parts {
        lists.values().append_option(plain_text(part)?);
    }
    lists.append(true);
    Ok(())
}

/// Whether a text is JSON.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Where the value that begins here ends. The text is known to be JSON, so this need not check.
fn value_end(json: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (place, byte) in json.bytes().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return place,
            b'}' | b']' => depth -= 1,
            b',' | b':' if depth == 0 => return place,
            _ => {}
        }
    }
    json.len()
}

/// The parts of an object or array, between commas and colons.
fn parts(json: &str, open: char, close: char) -> Option<impl Iterator<Item = &str>> {
    let mut rest = json.strip_prefix(open)?.strip_suffix(close)?;
    Some(std::iter::from_fn(move || {
        let end = value_end(rest);
        let (part, after) = rest.split_at_checked(end)?;
        rest = after.get(1..).unwrap_or_default();
        let part = part.trim_ascii();
        (!part.is_empty()).then_some(part)
    }))
}

/// The last one counts of keys that stand twice, as in PostgreSQL's `jsonb`.
fn member<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let mut parts = parts(json, '{', '}')?;
    let mut found = None;
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        let plain = name.get(1..name.len().saturating_sub(1)).unwrap_or_default();
        let same = if plain.contains('\\') {
            serde_json::from_str::<String>(name).is_ok_and(|name| name == key)
        } else {
            plain == key
        };
        if same {
            found = Some(value);
        }
    }
    found
}

fn element(json: &str, place: i64) -> Option<&str> {
    let all = || parts(json, '[', ']');
    match usize::try_from(place) {
        Ok(place) => all()?.nth(place),
        Err(_) => {
            let behind = usize::try_from(place.unsigned_abs()).ok()?;
            all()?.nth(all()?.count().checked_sub(behind)?)
        }
    }
}
