//! PostgreSQL's types, as the catalogue tells of them, and what a move makes of each.

use std::collections::HashMap;

use dunlin_engine::TargetError;
use dunlin_model::moves::{Limit, ValueType};

use crate::rows::{Answer, boolean, bug, field, number, required};

/// A domain over a domain over …: PostgreSQL has no limit, a catalogue without circles ends sooner.
const NESTING_MAX: usize = 64;

/// A type of the catalogue.
#[derive(Debug, Clone)]
pub(super) struct PgType {
    /// Its name in its schema.
    pub(super) name: String,
    /// `b`, `c`, `d`, `e`, `p`, `r`, `m`.
    pub(super) kind: String,
    /// It is one of PostgreSQL's own.
    pub(super) builtin: bool,
    /// What a domain is over; 0.
    base: u32,
    /// What an array is of; 0.
    pub(super) element: u32,
    /// A domain's limit of its base type.
    typmod: i32,
    /// A domain that refuses NULL.
    not_null: bool,
    /// An enum's labels in order.
    labels: Vec<String>,
}

/// Types by their number.
#[derive(Debug, Clone, Default)]
pub(super) struct Types(HashMap<u32, PgType>);

/// The query for all types that a seed (a SELECT of type numbers) leads to.
pub(super) fn types_sql(seed: &str) -> String {
    format!(
        "WITH RECURSIVE used(oid) AS ({seed} UNION SELECT x.o FROM used AS u \
         JOIN pg_catalog.pg_type AS t ON t.oid = u.oid \
         CROSS JOIN LATERAL (VALUES (t.typbasetype), (t.typelem)) AS x(o) WHERE x.o <> 0) \
         SELECT t.oid, t.typname, t.typtype, n.nspname = 'pg_catalog', t.typbasetype, \
         CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_type AS e WHERE e.oid = t.typelem \
         AND e.typarray = t.oid) THEN t.typelem ELSE 0 END, t.typtypmod, t.typnotnull, \
         (SELECT pg_catalog.json_agg(l.enumlabel ORDER BY l.enumsortorder) \
         FROM pg_catalog.pg_enum AS l WHERE l.enumtypid = t.oid) \
         FROM used AS u JOIN pg_catalog.pg_type AS t ON t.oid = u.oid \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace"
    )
}

/// A list of texts, as `json_agg` gives it; NULL is none.
pub(super) fn texts(json: Option<&str>) -> Result<Vec<String>, TargetError> {
    let Some(json) = json else { return Ok(Vec::new()) };
    serde_json::from_str(json).map_err(|_| bug("the catalogue's answer is no list of names"))
}

impl Types {
    /// Reads the answer to [`types_sql`].
    pub(super) fn read(answer: &Answer) -> Result<Self, TargetError> {
        let mut all = HashMap::with_capacity(answer.rows.len());
        for row in &answer.rows {
            let made = PgType {
                name: required(row, 1)?.to_owned(),
                kind: required(row, 2)?.to_owned(),
                builtin: boolean(row, 3)?,
                base: number(row, 4)?,
                element: number(row, 5)?,
                typmod: number(row, 6)?,
                not_null: boolean(row, 7)?,
                labels: texts(field(row, 8)?)?,
            };
            all.insert(number(row, 0)?, made);
        }
        Ok(Self(all))
    }

    /// What stands under all domains: its number, its type, the limit that counts, and whether a
    /// domain on the way refuses NULL.
    pub(super) fn base(&self, oid: u32, typmod: i32) -> Option<(u32, &PgType, i32, bool)> {
        let (mut oid, mut typmod, mut not_null) = (oid, typmod, false);
        for _ in 0..NESTING_MAX {
            let known = self.0.get(&oid)?;
            if known.kind != "d" {
                return Some((oid, known, typmod, not_null));
            }
            not_null |= known.not_null;
            (oid, typmod) = (known.base, known.typmod);
        }
        None
    }

    /// What a column of the type holds.
    pub(super) fn value_type(&self, oid: u32, typmod: i32) -> ValueType {
        let Some((_, base, typmod, _)) = self.base(oid, typmod) else { return ValueType::Other };
        if base.element != 0 {
            return ValueType::List(Box::new(self.value_type(base.element, typmod)));
        }
        if base.kind == "e" {
            return ValueType::Enum(base.labels.clone());
        }
        if !base.builtin {
            // Types of extensions, which may be in any schema.
            return match base.name.as_str() {
                "hstore" if base.kind == "b" => ValueType::Map,
                "citext" if base.kind == "b" => ValueType::Text { padded: false },
                _ => ValueType::Other,
            };
        }
        builtin(&base.name, typmod)
    }

    /// At most so many characters.
    pub(super) fn max_chars(&self, oid: u32, typmod: i32) -> Option<u32> {
        let (_, base, typmod, _) = self.base(oid, typmod)?;
        let limited = base.builtin && matches!(base.name.as_str(), "varchar" | "bpchar");
        // The limit counts the length word of the value, 4 bytes.
        if limited { u32::try_from(typmod.checked_sub(4)?).ok() } else { None }
    }

    /// What it takes beyond that, of a list's items where it is one.
    pub(super) fn limit(&self, oid: u32, typmod: i32) -> Option<Limit> {
        let (_, base, typmod, _) = self.base(oid, typmod)?;
        if base.element != 0 {
            return self.limit(base.element, typmod);
        }
        let bits = || u32::try_from(typmod).ok();
        match base.name.as_str() {
            _ if !base.builtin => None,
            "numeric" => {
                let digits = typmod.checked_sub(4).filter(|packed| *packed >= 0)? >> 16;
                Some(Limit::Below(i16::try_from(digits).ok()?.checked_sub(scale(typmod)?)?))
            }
            "inet" => Some(Limit::Inet),
            "cidr" => Some(Limit::Cidr),
            "macaddr" => Some(Limit::MacAddress),
            "macaddr8" => Some(Limit::MacAddress8),
            "bit" => Some(Limit::Bits(bits())),
            "varbit" => Some(Limit::BitsUpTo(bits())),
            _ => None,
        }
    }
}

fn builtin(name: &str, typmod: i32) -> ValueType {
    match name {
        "bool" => ValueType::Boolean,
        "int2" => ValueType::Int16,
        "int4" => ValueType::Int32,
        "int8" | "oid" => ValueType::Int64,
        "float4" => ValueType::Float32,
        "float8" => ValueType::Float64,
        "numeric" => ValueType::Numeric { scale: scale(typmod) },
        "text" | "varchar" | "name" => ValueType::Text { padded: false },
        "bpchar" => ValueType::Text { padded: true },
        "bytea" => ValueType::Bytes,
        "date" => ValueType::Date,
        "time" => ValueType::Time,
        "timestamp" => ValueType::Timestamp,
        "timestamptz" => ValueType::TimestampTz,
        "uuid" => ValueType::Uuid,
        "json" => ValueType::Json { binary: false },
        "jsonb" => ValueType::Json { binary: true },
        _ => ValueType::Other,
    }
}

/// The scale is the lower 11 bits, with a sign since PostgreSQL 15.
fn scale(typmod: i32) -> Option<i16> {
    let packed = typmod.checked_sub(4).filter(|packed| *packed >= 0)?;
    i16::try_from(((packed & 0x7ff) ^ 1024) - 1024).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales() {
        assert_eq!(scale(-1), None);
        assert_eq!(scale(((10 << 16) | 2) + 4), Some(2));
        assert_eq!(scale(((3 << 16) | (-3 & 0x7ff)) + 4), Some(-3));
    }
}
