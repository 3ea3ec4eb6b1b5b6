//! The server's types: what they hold, and how their values are asked for.

use dunlin_model::moves::{Field, Limit, Numbering, ValueType};
use mysql_async::Column;
use mysql_async::consts::{ColumnFlags, ColumnType};

use crate::literal;

/// The collation whose texts are bytes.
const BINARY: u16 = 63;

/// What a table's column holds. `type_name` is the whole of it: `int(10) unsigned`.
pub(super) fn value_type(type_name: &str, scale: Option<i16>, is_json: bool) -> ValueType {
    let unsigned = type_name.contains("unsigned");
    match base(type_name).as_str() {
        "tinyint" if type_name.starts_with("tinyint(1)") && !unsigned => ValueType::Boolean,
        "smallint" if unsigned => ValueType::Int32,
        "tinyint" | "smallint" | "year" => ValueType::Int16,
        "int" if unsigned => ValueType::Int64,
        "mediumint" | "int" => ValueType::Int32,
        "bigint" if unsigned => ValueType::UInt64,
        "bigint" => ValueType::Int64,
        "float" => ValueType::Float32,
        "double" => ValueType::Float64,
        "decimal" => ValueType::Numeric { scale },
        "json" => ValueType::Json { binary: true },
        "longtext" if is_json => ValueType::Json { binary: false },
        "char" => ValueType::Text { padded: true },
        "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            ValueType::Text { padded: false }
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            ValueType::Bytes
        }
        "date" => ValueType::Date,
        "time" => ValueType::Time,
        "datetime" => ValueType::Timestamp,
        "timestamp" => ValueType::TimestampTz,
        "enum" => ValueType::Enum(labels(type_name)),
        "uuid" => ValueType::Uuid,
        _ => ValueType::Other,
    }
}

/// A column of a query's result.
pub(super) fn described(column: &Column) -> Field {
    let unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    let bytes = column.character_set() == BINARY;
    let sign = if unsigned { " unsigned" } else { "" };
    let (name, value_type) = match column.column_type() {
        ColumnType::MYSQL_TYPE_TINY if column.column_length() == 1 && !unsigned => {
            ("tinyint(1)".to_owned(), ValueType::Boolean)
        }
        ColumnType::MYSQL_TYPE_TINY => (format!("tinyint{sign}"), ValueType::Int16),
        ColumnType::MYSQL_TYPE_SHORT if unsigned => (format!("smallint{sign}"), ValueType::Int32),
        ColumnType::MYSQL_TYPE_SHORT => ("smallint".to_owned(), ValueType::Int16),
        ColumnType::MYSQL_TYPE_INT24 => (format!("mediumint{sign}"), ValueType::Int32),
        ColumnType::MYSQL_TYPE_LONG if unsigned => (format!("int{sign}"), ValueType::Int64),
        ColumnType::MYSQL_TYPE_LONG => ("int".to_owned(), ValueType::Int32),
        ColumnType::MYSQL_TYPE_LONGLONG if unsigned => (format!("bigint{sign}"), ValueType::UInt64),
        ColumnType::MYSQL_TYPE_LONGLONG => ("bigint".to_owned(), ValueType::Int64),
        ColumnType::MYSQL_TYPE_YEAR => ("year".to_owned(), ValueType::Int16),
        ColumnType::MYSQL_TYPE_FLOAT => ("float".to_owned(), ValueType::Float32),
        ColumnType::MYSQL_TYPE_DOUBLE => ("double".to_owned(), ValueType::Float64),
        ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => {
            // 31 and more: it is not fixed.
            let scale = Some(i16::from(column.decimals())).filter(|scale| *scale <= 38);
            ("decimal".to_owned(), ValueType::Numeric { scale })
        }
        ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => {
            ("date".to_owned(), ValueType::Date)
        }
        ColumnType::MYSQL_TYPE_TIME | ColumnType::MYSQL_TYPE_TIME2 => {
            ("time(6)".to_owned(), ValueType::Time)
        }
        ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_DATETIME2 => {
            ("datetime(6)".to_owned(), ValueType::Timestamp)
        }
        ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2 => {
            ("timestamp(6)".to_owned(), ValueType::TimestampTz)
        }
        ColumnType::MYSQL_TYPE_BIT => {
            (format!("bit({})", column.column_length()), ValueType::Other)
        }
        ColumnType::MYSQL_TYPE_JSON => ("json".to_owned(), ValueType::Json { binary: true }),
        ColumnType::MYSQL_TYPE_GEOMETRY => ("geometry".to_owned(), ValueType::Other),
        _ if bytes && !column.flags().contains(ColumnFlags::ENUM_FLAG) => {
            ("blob".to_owned(), ValueType::Bytes)
        }
        _ => ("text".to_owned(), ValueType::Text { padded: false }),
    };
    Field {
        name: column.name_str().into_owned(),
        type_name: name,
        value_type,
        nullable: !column.flags().contains(ColumnFlags::NOT_NULL_FLAG),
        has_default: false,
        numbering: Numbering::None,
        generated: false,
        max_chars: None,
        limit: None,
    }
}

/// The type's own name: `int` of `int(10) unsigned`.
pub(super) fn base(type_name: &str) -> String {
    let end = type_name.find(['(', ' ']).unwrap_or(type_name.len());
    type_name[..end].to_ascii_lowercase()
}

/// The number in a type's brackets.
pub(super) fn size(type_name: &str) -> Option<u32> {
    let (_, rest) = type_name.split_once('(')?;
    rest.split([')', ',']).next()?.trim().parse().ok()
}

/// How large a decimal may be.
pub(super) fn limit(type_name: &str) -> Option<Limit> {
    let (_, rest) = type_name.split_once("decimal(")?;
    let (digits, scale) = rest.split_once(')')?.0.split_once(',')?;
    let (digits, scale) = (digits.trim().parse::<i16>().ok()?, scale.trim().parse::<i16>().ok()?);
    Some(Limit::Below(digits.checked_sub(scale)?))
}

/// The labels of an `enum` or a `set`.
pub(super) fn labels(type_name: &str) -> Vec<String> {
    let mut labels = Vec::new();
    let mut rest = type_name;
    while let Some(begin) = rest.find('\'') {
        let mut label = String::new();
        let mut letters = rest[begin + 1..].char_indices().peekable();
        let mut end = rest.len();
        while let Some((at, letter)) = letters.next() {
            if letter != '\'' {
                label.push(letter);
            } else if letters.peek().is_some_and(|(_, next)| *next == '\'') {
                label.push('\'');
                letters.next();
            } else {
                end = begin + 1 + at + 1;
                break;
            }
        }
        labels.push(label);
        rest = &rest[end..];
    }
    labels
}

/// Whether it is one of the types of shapes.
pub(super) fn is_shape(base: &str) -> bool {
    matches!(
        base,
        "geometry"
            | "point"
            | "linestring"
            | "polygon"
            | "multipoint"
            | "multilinestring"
            | "multipolygon"
            | "geometrycollection"
            | "geomcollection"
    )
}

/// A column as it is selected.
pub(super) fn selected(field: &Field) -> String {
    let name = literal::name(&field.name);
    match &field.value_type {
        // Alone it would come with six digits only.
        ValueType::Float32 => format!("{name} + 0e0"),
        ValueType::Other => match base(&field.type_name).as_str() {
            // Its digits, as PostgreSQL has them: a number would be read there as other bits.
            "bit" => {
                format!("LPAD(BIN({name} + 0), {}, '0')", size(&field.type_name).unwrap_or(1))
            }
            shape if is_shape(shape) => format!("ST_AsText({name})"),
            _ => name,
        },
        _ => name,
    }
}

/// What rows are ordered by for a column; `None`: there is no such order.
pub(super) fn ordered(field: &Field) -> Option<String> {
    let name = literal::name(&field.name);
    let by = match &field.value_type {
        ValueType::Float32 | ValueType::Float64 => return None,
        ValueType::Boolean
        | ValueType::Int16
        | ValueType::Int32
        | ValueType::Int64
        | ValueType::UInt64
        | ValueType::Date
        | ValueType::Time
        | ValueType::Timestamp
        | ValueType::TimestampTz
        | ValueType::Bytes => name,
        ValueType::Text { .. } => bytes_of(&name),
        _ => format!("CAST(CAST({} AS CHAR) AS BINARY)", selected(field)),
    };
    // Said where it is needed only: it keeps the server from walking an index.
    let null = literal::name(&field.name);
    Some(if field.nullable { format!("{null} IS NULL, {by}") } else { by })
}

/// The bytes of a text in the form in which we know it.
pub(super) fn bytes_of(name: &str) -> String {
    format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told() {
        let of = |name: &str| value_type(name, Some(2), false);
        assert_eq!(of("tinyint(1)"), ValueType::Boolean);
        assert_eq!(of("tinyint(1) unsigned"), ValueType::Int16);
        assert_eq!(of("tinyint(4)"), ValueType::Int16);
        assert_eq!(of("int(10) unsigned zerofill"), ValueType::Int64);
        assert_eq!(of("bigint unsigned"), ValueType::UInt64);
        assert_eq!(of("decimal(9,2)"), ValueType::Numeric { scale: Some(2) });
        assert_eq!(of("char(3)"), ValueType::Text { padded: true });
        assert_eq!(of("set('a','b')"), ValueType::Other);
        assert_eq!(of("inet6"), ValueType::Other);
        assert_eq!(value_type("longtext", None, true), ValueType::Json { binary: false });
    }

    #[test]
    fn limits_are_digits_before_the_point() {
        assert_eq!(limit("decimal(9,2)"), Some(Limit::Below(7)));
        assert_eq!(limit("decimal(3, 3) unsigned"), Some(Limit::Below(0)));
        assert_eq!(limit("int(10)"), None);
    }

    #[test]
    fn labels_are_taken_apart() {
        assert_eq!(labels("enum('a','it''s','','x,y')"), ["a", "it's", "", "x,y"]);
        assert_eq!(labels("int(4)"), [""; 0]);
        assert_eq!(
            (size("datetime(3)"), size("datetime"), size("decimal(9,2)")),
            (Some(3), None, Some(9))
        );
    }
}
