//! Binary COPY to Arrow: rows out of a stream of bytes, and their values into builders.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, FixedSizeBinaryBuilder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, ListArray, MapBuilder, MapFieldNames,
    NullBufferBuilder, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
    UInt64Builder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use dunlin_engine::moves::{ReadRows, Unreadable, arrow_schema, arrow_type};
use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Field, ValueType};

use super::binary::{Fields, SIGNATURE};
use super::{calendar, numeric, room};
use crate::rows::bug;

/// A value that we can't take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// Not what the type looks like on the wire.
    Form,
    /// Text that is no UTF-8: the server holds bytes in no encoding.
    Encoding,
    /// A list of another number of dimensions than one, or that doesn't begin at 1.
    Dimensions,
    /// A time after the year 294246.
    TooLate,
    /// No further bytes fit into one batch.
    TooLarge,
}

impl Flaw {
    /// Why a value has no place in memory; an error, where that is no row's fault.
    fn why(self, table: &str, field: &Field) -> Result<&'static str, TargetError> {
        let column = &field.name;
        match self {
            Self::Form => Err(bug(&format!(
                "the server sent a value of {table}.{column} in another form than {} has",
                field.type_name
            ))),
            Self::Encoding => Ok("holds text that is no UTF-8"),
            Self::Dimensions => {
                Ok("holds an array of more than one dimension, or one whose first place is not 1")
            }
            Self::TooLate => Ok("holds a time after the year 294246"),
            Self::TooLarge => {
                let message =
                    format!("{table}.{column} holds values that don't fit into one batch");
                Err(TargetError::new(ErrorKind::Refused, message)
                    .help("leave the column out, or lower the size of a batch"))
            }
        }
    }
}

/// Lists of one column.
pub(super) struct Lists {
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    items: Column,
    /// Items of all lists; those of a list that was given up belong to the NULL that stands for it.
    count: i32,
    field: FieldRef,
}

/// One column under way.
pub(super) enum Column {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Numeric(StringBuilder),
    Text(StringBuilder),
    UuidText(StringBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Map(Box<MapBuilder<StringBuilder, StringBuilder>>),
    List(Box<Lists>),
}

impl Column {
    fn new(of: &ValueType, target: bool) -> Self {
        match of {
            ValueType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ValueType::Int16 => Self::Int16(Int16Builder::new()),
            ValueType::Int32 => Self::Int32(Int32Builder::new()),
            ValueType::Int64 => Self::Int64(Int64Builder::new()),
            ValueType::UInt64 => Self::UInt64(UInt64Builder::new()),
            ValueType::Float32 => Self::Float32(Float32Builder::new()),
            ValueType::Float64 => Self::Float64(Float64Builder::new()),
            ValueType::Numeric { .. } => Self::Numeric(StringBuilder::new()),
            ValueType::Bytes => Self::Bytes(BinaryBuilder::new()),
            ValueType::Date => Self::Date(Date32Builder::new()),
            ValueType::Time => Self::Time(Time64MicrosecondBuilder::new()),
            ValueType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            ValueType::TimestampTz => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            ValueType::Uuid if target => Self::Uuid(FixedSizeBinaryBuilder::new(16)),
            ValueType::Uuid => Self::UuidText(StringBuilder::new()),
            ValueType::Map => {
                let names = MapFieldNames {
                    entry: "entries".to_owned(),
                    key: "keys".to_owned(),
                    value: "values".to_owned(),
                };
                let texts = StringBuilder::new;
                Self::Map(Box::new(MapBuilder::new(Some(names), texts(), texts())))
            }
            ValueType::List(item) => Self::List(Box::new(Lists {
                offsets: vec![0],
                nulls: NullBufferBuilder::new(0),
                items: Self::new(item, target),
                count: 0,
                field: Arc::new(arrow::datatypes::Field::new(
                    "item",
                    arrow_type(item, target),
                    true,
                )),
            })),
            ValueType::Text { .. }
            | ValueType::Json { .. }
            | ValueType::Enum(_)
            | ValueType::Other => Self::Text(StringBuilder::new()),
        }
    }

    fn append_null(&mut self) -> Result<(), Flaw> {
        match self {
            Self::Boolean(to) => to.append_null(),
            Self::Int16(to) => to.append_null(),
            Self::Int32(to) => to.append_null(),
            Self::Int64(to) => to.append_null(),
            Self::UInt64(to) => to.append_null(),
            Self::Float32(to) => to.append_null(),
            Self::Float64(to) => to.append_null(),
            Self::Numeric(to) | Self::Text(to) | Self::UuidText(to) => to.append_null(),
            Self::Uuid(to) => to.append_null(),
            Self::Bytes(to) => to.append_null(),
            Self::Date(to) => to.append_null(),
            Self::Time(to) => to.append_null(),
            Self::Timestamp(to) => to.append_null(),
            Self::Map(to) => to.append(false).map_err(|_| Flaw::Form)?,
            Self::List(lists) => {
                lists.offsets.push(lists.count);
                lists.nulls.append_null();
            }
        }
        Ok(())
    }

    fn append(&mut self, raw: &[u8]) -> Result<(), Flaw> {
        match self {
            Self::Boolean(to) => to.append_value(fixed::<1>(raw)?[0] != 0),
            Self::Int16(to) => to.append_value(i16::from_be_bytes(fixed(raw)?)),
            Self::Int32(to) => to.append_value(i32::from_be_bytes(fixed(raw)?)),
            Self::Int64(to) => to.append_value(i64::from_be_bytes(fixed(raw)?)),
            Self::UInt64(to) => to.append_value(u64::from_be_bytes(fixed(raw)?)),
            Self::Float32(to) => to.append_value(f32::from_be_bytes(fixed(raw)?)),
            Self::Float64(to) => to.append_value(f64::from_be_bytes(fixed(raw)?)),
            Self::Numeric(to) => to.append_value(numeric::text(raw).ok_or(Flaw::Form)?),
            Self::Text(to) => to.append_value(utf8(raw)?),
            Self::UuidText(to) => to.append_value(uuid_text(fixed(raw)?)),
            Self::Uuid(to) => to.append_value(raw).map_err(|_| Flaw::Form)?,
            Self::Bytes(to) => to.append_value(raw),
            Self::Date(to) => {
                let days = calendar::day_of_server(i32::from_be_bytes(fixed(raw)?));
                to.append_value(days.ok_or(Flaw::TooLate)?);
            }
            Self::Time(to) => to.append_value(i64::from_be_bytes(fixed(raw)?)),
            Self::Timestamp(to) => {
                let micros = calendar::instant_of_server(i64::from_be_bytes(fixed(raw)?));
                to.append_value(micros.ok_or(Flaw::TooLate)?);
            }
            Self::Map(to) => append_map(to, raw)?,
            Self::List(lists) => append_list(lists, raw)?,
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, arrow::error::ArrowError> {
        Ok(match self {
            Self::Boolean(from) => Arc::new(from.finish()),
            Self::Int16(from) => Arc::new(from.finish()),
            Self::Int32(from) => Arc::new(from.finish()),
            Self::Int64(from) => Arc::new(from.finish()),
            Self::UInt64(from) => Arc::new(from.finish()),
            Self::Float32(from) => Arc::new(from.finish()),
            Self::Float64(from) => Arc::new(from.finish()),
            Self::Numeric(from) | Self::Text(from) | Self::UuidText(from) => {
                Arc::new(from.finish())
            }
            Self::Uuid(from) => Arc::new(from.finish()),
            Self::Bytes(from) => Arc::new(from.finish()),
            Self::Date(from) => Arc::new(from.finish()),
            Self::Time(from) => Arc::new(from.finish()),
            Self::Timestamp(from) => Arc::new(from.finish()),
            Self::Map(from) => Arc::new(from.finish()),
            Self::List(lists) => {
                let offsets = std::mem::replace(&mut lists.offsets, vec![0]);
                lists.count = 0;
                Arc::new(ListArray::try_new(
                    Arc::clone(&lists.field),
                    OffsetBuffer::new(offsets.into()),
                    lists.items.finish()?,
                    lists.nulls.finish(),
                )?)
            }
        })
    }
}

fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], Flaw> {
    raw.try_into().map_err(|_| Flaw::Form)
}

fn utf8(raw: &[u8]) -> Result<&str, Flaw> {
    std::str::from_utf8(raw).map_err(|_| Flaw::Encoding)
}

/// `8-4-4-4-12` digits.
pub(super) fn uuid_text(raw: [u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (place, byte) in raw.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// `hstore`: a count, then keys and values, each behind its length.
fn append_map(to: &mut MapBuilder<StringBuilder, StringBuilder>, raw: &[u8]) -> Result<(), Flaw> {
    let mut fields = Fields::of(raw);
    let count = fields.int32().filter(|count| *count >= 0).ok_or(Flaw::Form)?;
    for _ in 0..count {
        let key = fields.value().flatten().ok_or(Flaw::Form)?;
        let key = utf8(key)?;
        let value = fields.value().ok_or(Flaw::Form)?.map(utf8).transpose()?;
        // Both or none: what was begun belongs to the NULL that stands for it.
        to.keys().append_value(key);
        to.values().append_option(value);
    }
    if !fields.is_empty() {
        return Err(Flaw::Form);
    }
    to.append(true).map_err(|_| Flaw::Form)
}

/// An array: dimensions, whether it has NULLs, the type, then length and first place of each
/// dimension, then the elements.
fn append_list(lists: &mut Lists, raw: &[u8]) -> Result<(), Flaw> {
    let mut fields = Fields::of(raw);
    let dimensions = fields.int32().ok_or(Flaw::Form)?;
    fields.int32().and_then(|_| fields.int32()).ok_or(Flaw::Form)?;
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = fields.int32().filter(|count| *count >= 0).ok_or(Flaw::Form)?;
            // `[0:1]={…}`: the places would be lost.
            if fields.int32().ok_or(Flaw::Form)? != 1 {
                return Err(Flaw::Dimensions);
            }
            count
        }
        _ => return Err(Flaw::Dimensions),
    };
    for _ in 0..count {
        match fields.value().ok_or(Flaw::Form)? {
            Some(item) => lists.items.append(item)?,
            None => lists.items.append_null()?,
        }
        lists.count = lists.count.checked_add(1).ok_or(Flaw::TooLarge)?;
    }
    lists.offsets.push(lists.count);
    lists.nulls.append_non_null();
    Ok(())
}

/// Reads a stream of binary COPY into batches.
pub(super) struct Decoder {
    table: String,
    fields: Vec<Field>,
    schema: SchemaRef,
    columns: Vec<Column>,
    unreadable: Vec<Unreadable>,
    rows: usize,
    bytes: usize,
    /// Where a row's values are; kept so that not every row needs memory of its own.
    places: Vec<Option<Range<usize>>>,
    /// What came of a row whose end has not come yet.
    carry: Vec<u8>,
    /// The stream's header has been read.
    begun: bool,
    /// Its end has been read.
    pub(super) ended: bool,
}

impl Decoder {
    /// For rows of these columns; `target`: in the form that rows for a target have.
    pub(super) fn new(table: String, fields: &[Field], target: bool) -> Self {
        let columns = fields.iter().map(|field| Column::new(&field.value_type, target)).collect();
        Self {
            table,
            fields: fields.to_vec(),
            schema: Arc::new(arrow_schema(fields, target)),
            columns,
            unreadable: Vec::new(),
            rows: 0,
            bytes: 0,
            places: Vec::new(),
            carry: Vec::new(),
            begun: false,
            ended: false,
        }
    }

    /// How many bytes the rows that are held came in.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the next bytes, which begin and end anywhere.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), TargetError> {
        if self.carry.is_empty() {
            let used = self.rows_of(piece)?;
            self.carry.extend_from_slice(&piece[used..]);
        } else {
            let mut whole = std::mem::take(&mut self.carry);
            whole.extend_from_slice(piece);
            let used = self.rows_of(&whole)?;
            whole.drain(..used);
            self.carry = whole;
        }
        Ok(())
    }

    /// Reads whole rows; how many bytes they had.
    fn rows_of(&mut self, piece: &[u8]) -> Result<usize, TargetError> {
        let mut at = 0;
        if !self.begun {
            let Some(size) = header(piece)? else { return Ok(0) };
            at = size;
            self.begun = true;
        }
        let places = &mut self.places;
        while !self.ended {
            let mut fields = Fields::of(&piece[at..]);
            let Some(count) = fields.int16() else { break };
            if count == -1 {
                self.ended = true;
                return Ok(at + 2);
            }
            if usize::try_from(count).ok() != Some(self.columns.len()) {
                return Err(bug("the server sent rows of another number of columns"));
            }
            places.clear();
            if !fields.places(self.columns.len(), places) {
                break;
            }
            let row = &piece[at..];
            let columns = self.columns.iter_mut().zip(&*places).zip(&self.fields);
            for (number, ((column, place), field)) in columns.enumerate() {
                let done = match place {
                    Some(place) => column.append(&row[place.clone()]),
                    None => column.append_null(),
                };
                if let Err(flaw) = done {
                    let why = flaw.why(&self.table, field)?;
                    column
                        .append_null()
                        .or_else(|flaw| flaw.why(&self.table, field).map(|_| ()))?;
                    let row = u32::try_from(self.rows).unwrap_or(u32::MAX);
                    self.unreadable.push(Unreadable { row, column: number, why });
                }
            }
            at += fields.at();
            self.rows += 1;
            self.bytes += fields.at();
        }
        Ok(at)
    }

    /// The rows that are held, as a batch; `None`: none.
    pub(super) fn batch(&mut self) -> Result<Option<ReadRows>, TargetError> {
        if self.rows == 0 { Ok(None) } else { self.finish().map(Some) }
    }

    /// The rows that are held, also if there are none.
    pub(super) fn finish(&mut self) -> Result<ReadRows, TargetError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let unreadable = std::mem::take(&mut self.unreadable);
        let columns = self.columns.iter_mut().zip(self.schema.fields());
        let columns: Result<Vec<_>, _> = columns
            .map(|(column, field)| {
                let next = room::like(column, field.data_type());
                let array = column.finish()?;
                if let Some(next) = next {
                    *column = next;
                }
                Ok(array)
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        columns
            .and_then(|columns| {
                RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            })
            .map(|rows| ReadRows::new(rows, unreadable))
            .map_err(|error| bug(&format!("rows of {} make no batch: {error}", self.table)))
    }
}

/// The size of a stream's header; `None`: more bytes are needed.
fn header(piece: &[u8]) -> Result<Option<usize>, TargetError> {
    let fixed = SIGNATURE.len() + 8;
    if piece.len() < fixed {
        return Ok(None);
    }
    let (signature, rest) = piece.split_at(SIGNATURE.len());
    if signature != SIGNATURE {
        return Err(bug("the server's rows don't begin as binary COPY does"));
    }
    let mut words = Fields::of(rest);
    let extension = words.int32().and_then(|_| words.int32());
    let extension = extension.and_then(|size| usize::try_from(size).ok());
    let size = fixed + extension.ok_or_else(|| bug("a header of binary COPY has no size"))?;
    Ok((piece.len() >= size).then_some(size))
}

#[cfg(test)]
mod tests {
    use dunlin_engine::moves::arrow_field;

    use super::*;

    fn field(name: &str, value_type: ValueType) -> Field {
        Field {
            name: name.to_owned(),
            type_name: String::new(),
            value_type,
            nullable: true,
            has_default: false,
            numbering: dunlin_model::moves::Numbering::None,
            generated: false,
            max_chars: None,
            limit: None,
        }
    }

    #[test]
    fn pieces_of_any_size() {
        let fields = [field("a", ValueType::Int32), field("b", ValueType::Text { padded: false })];
        let mut stream = SIGNATURE.to_vec();
        stream.extend([0; 8]);
        for row in 0..3_i32 {
            stream.extend(2_i16.to_be_bytes());
            stream.extend(4_i32.to_be_bytes());
            stream.extend(row.to_be_bytes());
            stream.extend(2_i32.to_be_bytes());
            stream.extend(b"ab");
        }
        stream.extend((-1_i16).to_be_bytes());
        for size in 1..stream.len() {
            let mut decoder = Decoder::new("t".to_owned(), &fields, false);
            for piece in stream.chunks(size) {
                decoder.take(piece).expect("rows");
            }
            assert!(decoder.ended);
            assert_eq!(decoder.finish().expect("a batch").count(), 3);
        }
        assert!(Decoder::new("t".to_owned(), &fields, false).take(&[1; 40]).is_err());
    }

    /// A list of one dimension and -1 elements.
    const NEGATIVE: [u8; 20] =
        [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 255, 255, 255, 255, 0, 0, 0, 1];

    #[test]
    fn bytes_that_are_nothing() {
        for value_type in [
            ValueType::Int32,
            ValueType::Map,
            ValueType::List(Box::new(ValueType::Int32)),
            ValueType::Numeric { scale: None },
            ValueType::Uuid,
        ] {
            let mut column = Column::new(&value_type, false);
            for raw in [&[1, 2, 3][..], &[255; 12], &[0, 0, 0, 1, 0, 0, 0, 9, 9], &NEGATIVE] {
                assert!(column.append(raw).is_err(), "{value_type:?}");
            }
        }
        let named = arrow_field(&field("a", ValueType::Map), false);
        let mut column = Column::new(&ValueType::Map, false);
        column.append(&[0, 0, 0, 0]).expect("an empty one");
        assert_eq!(column.finish().expect("an array").data_type(), named.data_type());
    }
}
