//! What writing a table needs to know of it, read in each transaction anew: it is then locked
//! against ALTER TABLE until the transaction ends.

use std::collections::HashMap;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Field, TableName};

use super::catalogue::{ON_DELETE, PLAIN_UNIQUE, index_columns, names_of};
use super::encode::Wire;
use super::table_sql;
use super::value_types::{Types, texts, types_sql};
use crate::quote;
use crate::rows::{boolean, bug, field, number, required};
use crate::session::Session;

/// A column.
#[derive(Debug, Clone)]
struct Column {
    /// Its type without a limit, so that a cast to it never cuts a value off.
    cast: String,
    wire: Option<Wire>,
    /// `GENERATED ALWAYS AS IDENTITY`.
    always: bool,
}

/// A foreign key, from this table or to it.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) name: String,
    /// The other table, as SQL.
    pub(super) other: String,
    /// The columns that refer.
    pub(super) columns: Vec<String>,
    /// Those referred to.
    pub(super) to_columns: Vec<String>,
    /// Deleting the row referred to changes rows that refer to it.
    pub(super) cascades: bool,
    /// The other table may be read.
    pub(super) readable: bool,
    /// Both are the same table.
    pub(super) itself: bool,
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Its name for people.
    pub(super) name: String,
    /// As SQL.
    pub(super) sql: String,
    columns: HashMap<String, Column>,
    unique: Vec<Vec<String>>,
    /// Foreign keys of it.
    pub(super) refers: Vec<Reference>,
    /// Foreign keys to it.
    pub(super) referred: Vec<Reference>,
}

impl Layout {
    /// Reads it in the transaction that is open.
    pub(super) async fn read(session: &Session, table: &TableName) -> Result<Self, TargetError> {
        let sql = table_sql(table);
        let subject = format!("pg_catalog.to_regclass({})", quote::text(&sql));
        let columns = format!(
            "SELECT a.attname, pg_catalog.format_type(a.atttypid, -1), a.atttypid, \
             a.attidentity = 'a' FROM pg_catalog.pg_attribute AS a \
             WHERE a.attrelid = {subject} AND a.attnum > 0 AND NOT a.attisdropped"
        );
        let seed = format!(
            "SELECT a.atttypid FROM pg_catalog.pg_attribute AS a \
             WHERE a.attrelid = {subject} AND a.attnum > 0 AND NOT a.attisdropped"
        );
        let unique = format!(
            "SELECT {} FROM pg_catalog.pg_index AS i WHERE i.indrelid = {subject} \
             AND {PLAIN_UNIQUE} AND i.indimmediate",
            index_columns()
        );
        // The SELECT of nothing locks the table, and fails where there is none.
        let message = format!(
            "SELECT FROM {sql} LIMIT 0;{columns};{types};{unique};{refers};{referred}",
            types = types_sql(&seed),
            refers = references_sql("f.confrelid", &format!("f.conrelid = {subject}")),
            referred = references_sql("f.conrelid", &format!("f.confrelid = {subject}")),
        );
        let answers = session.ask(&message).await?;
        let [_, columns, types, unique, refers, referred] = answers.as_slice() else {
            return Err(bug(
                "the catalogue's answer has another number of parts than its question",
            ));
        };
        let types = Types::read(types)?;
        let mut known = HashMap::with_capacity(columns.rows.len());
        for row in &columns.rows {
            let made = Column {
                cast: required(row, 1)?.to_owned(),
                wire: Wire::of(&types, number(row, 2)?),
                always: boolean(row, 3)?,
            };
            known.insert(required(row, 0)?.to_owned(), made);
        }
        Ok(Self {
            name: table.to_string(),
            sql,
            columns: known,
            unique: unique
                .rows
                .iter()
                .map(|row| texts(field(row, 0)?))
                .collect::<Result<_, _>>()?,
            refers: references(refers)?,
            referred: references(referred)?,
        })
    }

    fn column(&self, name: &str) -> Result<&Column, TargetError> {
        self.columns.get(name).ok_or_else(|| {
            TargetError::new(
                ErrorKind::ShapeChanged,
                format!("{} has no column `{name}` any more", self.name),
            )
            .help("run the same command again: it plans with the table as it is now")
        })
    }

    /// The type that a column's values are cast to.
    pub(super) fn cast(&self, name: &str) -> Result<&str, TargetError> {
        self.column(name).map(|column| column.cast.as_str())
    }

    /// Its identity is the server's alone unless it is told otherwise.
    pub(super) fn is_always(&self, name: &str) -> bool {
        self.columns.get(name).is_some_and(|column| column.always)
    }

    /// What columns look like on the wire; `None`: one of them has no form of ours.
    pub(super) fn wires(&self, fields: &[Field]) -> Result<Option<Vec<Wire>>, TargetError> {
        let mut wires = Vec::with_capacity(fields.len());
        for field in fields {
            match &self.column(&field.name)?.wire {
                Some(wire) => wires.push(wire.clone()),
                None => return Ok(None),
            }
        }
        Ok(Some(wires))
    }

    /// Whether a unique index that is checked at once is over exactly these columns.
    pub(super) fn is_unique(&self, columns: &[&str]) -> bool {
        self.unique.iter().any(|known| {
            known.len() == columns.len()
                && known.iter().all(|name| columns.contains(&name.as_str()))
        })
    }
}

/// Foreign keys with their other end; those that only repeat a partitioned table's are left out.
fn references_sql(other: &str, condition: &str) -> String {
    format!(
        "SELECT f.conname, ({other})::pg_catalog.regclass::pg_catalog.text, {columns}, {to}, \
         {ON_DELETE} NOT IN ('NO ACTION', 'RESTRICT'), \
         pg_catalog.has_table_privilege({other}, 'SELECT'), f.conrelid = f.confrelid \
         FROM pg_catalog.pg_constraint AS f WHERE f.contype = 'f' AND f.conparentid = 0 \
         AND {condition} ORDER BY f.conname",
        columns = names_of("f.conrelid", "f.conkey"),
        to = names_of("f.confrelid", "f.confkey"),
    )
}

fn references(answer: &crate::rows::Answer) -> Result<Vec<Reference>, TargetError> {
    let made = answer.rows.iter().map(|row| {
        Ok(Reference {
            name: required(row, 0)?.to_owned(),
            other: required(row, 1)?.to_owned(),
            columns: texts(field(row, 2)?)?,
            to_columns: texts(field(row, 3)?)?,
            cascades: boolean(row, 4)?,
            readable: boolean(row, 5)?,
            itself: boolean(row, 6)?,
        })
    });
    made.collect()
}
