//! Arrow to COPY: binary where every column has a form of ours, else the server's texts.

use std::net::IpAddr;

use arrow::array::{
    Array, AsArray, FixedSizeBinaryArray, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
};
use arrow::record_batch::RecordBatch;
use dunlin_engine::TargetError;

use super::binary::SIGNATURE;
use super::value_types::Types;
use super::{calendar, numeric, text_form};

/// The server's numbers for the families of addresses.
const INET: u8 = 2;
const INET6: u8 = 3;

/// What a type looks like on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Jsonb,
    Uuid,
    Bytea,
    Date,
    Time,
    Timestamp,
    Hstore,
    /// `inet`, or (`true`) `cidr`.
    Inet(bool),
    /// Of that type's number.
    Array(u32, Box<Wire>),
}

impl Wire {
    /// That of a type; `None`: the server reads its text.
    pub(super) fn of(types: &Types, oid: u32) -> Option<Self> {
        let (_, base, _, _) = types.base(oid, -1)?;
        if base.element != 0 {
            return Self::of(types, base.element)
                .map(|item| Self::Array(base.element, Box::new(item)));
        }
        if base.kind == "e" {
            return Some(Self::Text);
        }
        if !base.builtin {
            return match base.name.as_str() {
                "hstore" if base.kind == "b" => Some(Self::Hstore),
                "citext" if base.kind == "b" => Some(Self::Text),
                _ => None,
            };
        }
        Some(match base.name.as_str() {
            "bool" => Self::Bool,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "int8" => Self::Int8,
            "oid" => Self::Oid,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            "numeric" => Self::Numeric,
            "text" | "varchar" | "bpchar" | "name" | "json" | "xml" => Self::Text,
            "jsonb" => Self::Jsonb,
            "uuid" => Self::Uuid,
            "bytea" => Self::Bytea,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" | "timestamptz" => Self::Timestamp,
            "inet" => Self::Inet(false),
            "cidr" => Self::Inet(true),
            _ => return None,
        })
    }
}

/// A batch as binary COPY; `None`: a value has a form that only the server may judge, or that the
/// type on the wire can't hold.
pub(super) fn binary(rows: &RecordBatch, wires: &[Wire]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(rows.get_array_memory_size() + 32);
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0; 8]);
    let count = i16::try_from(wires.len()).ok()?;
    let columns: Vec<Values<'_>> = rows
        .columns()
        .iter()
        .zip(wires)
        .map(|(column, wire)| Values::of(column.as_ref(), wire))
        .collect();
    for row in 0..rows.num_rows() {
        out.extend_from_slice(&count.to_be_bytes());
        for column in &columns {
            column.push(row, &mut out)?;
        }
    }
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    Some(out)
}

/// A column whose form is looked at once, and not for each value.
enum Values<'a> {
    Int4(&'a Int32Array),
    Int8(&'a Int64Array),
    Text(&'a StringArray),
    Uuid(&'a FixedSizeBinaryArray),
    Timestamp(&'a TimestampMicrosecondArray),
    Other(&'a dyn Array, &'a Wire),
}

impl<'a> Values<'a> {
    fn of(column: &'a dyn Array, wire: &'a Wire) -> Self {
        let known = match wire {
            Wire::Int4 => column.as_primitive_opt().map(Self::Int4),
            Wire::Int8 => column.as_primitive_opt().map(Self::Int8),
            Wire::Text => column.as_string_opt().map(Self::Text),
            Wire::Uuid => column
                .as_fixed_size_binary_opt()
                .filter(|values| values.value_length() == 16)
                .map(Self::Uuid),
            Wire::Timestamp => column.as_primitive_opt().map(Self::Timestamp),
            _ => None,
        };
        known.unwrap_or(Self::Other(column, wire))
    }

    /// As [`push_sized`] does.
    #[inline]
    fn push(&self, row: usize, out: &mut Vec<u8>) -> Option<()> {
        fn sized<const N: usize>(out: &mut Vec<u8>, value: Option<[u8; N]>) {
            match value {
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(value) => {
                    out.extend_from_slice(&(N as i32).to_be_bytes());
                    out.extend_from_slice(&value);
                }
            }
        }
        match self {
            Self::Int4(values) => {
                sized(out, values.is_valid(row).then(|| values.value(row).to_be_bytes()));
            }
            Self::Int8(values) => {
                sized(out, values.is_valid(row).then(|| values.value(row).to_be_bytes()));
            }
            Self::Timestamp(values) if values.is_valid(row) => {
                let value = calendar::instant_for_server(values.value(row))?;
                sized(out, Some(value.to_be_bytes()));
            }
            Self::Uuid(values) if values.is_valid(row) => {
                sized(out, Some(<[u8; 16]>::try_from(values.value(row)).ok()?));
            }
            Self::Text(values) if values.is_valid(row) => {
                let value = values.value(row).as_bytes();
                out.extend_from_slice(&i32::try_from(value.len()).ok()?.to_be_bytes());
                out.extend_from_slice(value);
            }
            Self::Timestamp(_) | Self::Uuid(_) | Self::Text(_) => sized::<0>(out, None),
            Self::Other(column, wire) => push_sized(*column, row, wire, out)?,
        }
        Some(())
    }
}

/// A value behind its length.
fn push_sized(column: &dyn Array, row: usize, wire: &Wire, out: &mut Vec<u8>) -> Option<()> {
    if column.is_null(row) {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return Some(());
    }
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    push(column, row, wire, out)?;
    let size = i32::try_from(out.len() - at - 4).ok()?;
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
    Some(())
}

fn push(column: &dyn Array, row: usize, wire: &Wire, out: &mut Vec<u8>) -> Option<()> {
    match wire {
        Wire::Bool => out.push(u8::from(column.as_boolean_opt()?.value(row))),
        Wire::Int2 => {
            out.extend_from_slice(&i16::try_from(integer(column, row)?).ok()?.to_be_bytes());
        }
        Wire::Int4 => {
            out.extend_from_slice(&i32::try_from(integer(column, row)?).ok()?.to_be_bytes());
        }
        Wire::Int8 => out.extend_from_slice(&integer(column, row)?.to_be_bytes()),
        Wire::Oid => {
            out.extend_from_slice(&u32::try_from(integer(column, row)?).ok()?.to_be_bytes());
        }
        Wire::Float4 => {
            let value = column.as_primitive_opt::<Float32Type>()?.value(row);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Wire::Float8 => {
            let value = column.as_primitive_opt::<Float64Type>()?.value(row);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Wire::Numeric => numeric::wire(string(column, row)?, out)?,
        Wire::Text => out.extend_from_slice(string(column, row)?.as_bytes()),
        Wire::Jsonb => {
            // The version of the form.
            out.push(1);
            out.extend_from_slice(string(column, row)?.as_bytes());
        }
        Wire::Uuid => {
            let value = column.as_fixed_size_binary_opt()?.value(row);
            out.extend_from_slice(<&[u8; 16]>::try_from(value).ok()?);
        }
        Wire::Bytea => out.extend_from_slice(column.as_binary_opt::<i32>()?.value(row)),
        Wire::Date => {
            let days = column.as_primitive_opt::<Date32Type>()?.value(row);
            out.extend_from_slice(&calendar::day_for_server(days)?.to_be_bytes());
        }
        Wire::Time => {
            let micros = column.as_primitive_opt::<Time64MicrosecondType>()?.value(row);
            out.extend_from_slice(&micros.to_be_bytes());
        }
        Wire::Timestamp => {
            let micros = column.as_primitive_opt::<TimestampMicrosecondType>()?.value(row);
            out.extend_from_slice(&calendar::instant_for_server(micros)?.to_be_bytes());
        }
        Wire::Hstore => push_map(column, row, out)?,
        Wire::Inet(cidr) => push_address(string(column, row)?, *cidr, out)?,
        Wire::Array(oid, item) => push_list(column, row, *oid, item, out)?,
    }
    Some(())
}

fn integer(column: &dyn Array, row: usize) -> Option<i64> {
    match column.data_type() {
        DataType::Int16 => Some(column.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Some(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).try_into().ok(),
        _ => None,
    }
}

fn string(column: &dyn Array, row: usize) -> Option<&str> {
    Some(column.as_string_opt::<i32>()?.value(row))
}

fn push_map(column: &dyn Array, row: usize, out: &mut Vec<u8>) -> Option<()> {
    let entries = column.as_map_opt()?.value(row);
    out.extend_from_slice(&i32::try_from(entries.len()).ok()?.to_be_bytes());
    for entry in 0..entries.len() {
        push_sized(entries.column(0).as_ref(), entry, &Wire::Text, out)?;
        push_sized(entries.column(1).as_ref(), entry, &Wire::Text, out)?;
    }
    Some(())
}

fn push_list(
    column: &dyn Array,
    row: usize,
    oid: u32,
    item: &Wire,
    out: &mut Vec<u8>,
) -> Option<()> {
    let items = column.as_list_opt::<i32>()?.value(row);
    let dimensions = i32::from(!items.is_empty());
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&i32::from(items.null_count() > 0).to_be_bytes());
    out.extend_from_slice(&oid.to_be_bytes());
    if dimensions == 1 {
        out.extend_from_slice(&i32::try_from(items.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&1_i32.to_be_bytes());
    }
    for place in 0..items.len() {
        push_sized(items.as_ref(), place, item, out)?;
    }
    Some(())
}

fn push_address(text: &str, cidr: bool, out: &mut Vec<u8>) -> Option<()> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let (family, bytes) = match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => (INET, address.octets().to_vec()),
        IpAddr::V6(address) => (INET6, address.octets().to_vec()),
    };
    let size = u8::try_from(bytes.len()).ok()?;
    out.extend_from_slice(&[family, bits.unwrap_or(size * 8), u8::from(cidr), size]);
    out.extend_from_slice(&bytes);
    Some(())
}

/// A batch as COPY's text.
pub(super) fn text(rows: &RecordBatch) -> Result<Vec<u8>, TargetError> {
    let mut out = Vec::with_capacity(rows.get_array_memory_size());
    for row in 0..rows.num_rows() {
        for (place, column) in rows.columns().iter().enumerate() {
            if place > 0 {
                out.push(b'\t');
            }
            match text_form::text(column.as_ref(), row)? {
                None => out.extend_from_slice(b"\\N"),
                Some(value) => push_escaped(&value, &mut out),
            }
        }
        out.push(b'\n');
    }
    Ok(out)
}

fn push_escaped(value: &str, out: &mut Vec<u8>) {
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => out.push(other),
        }
    }
}
