//! What a database looks like to a move.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{
    Catalogue, Field, ForeignKey, Numbering, Relation, TableName, ValueType,
};
use rusqlite::{Connection, OptionalExtension as _};

use super::declared::value_type;
use super::numbers::has_sequence;
use crate::chunks::estimated_rows;
use crate::control::Control;
use crate::fault::{Fault, Outcome};
use crate::ledger::quoted;

/// A table or view.
struct Found {
    name: String,
    is_table: bool,
    without_rowid: bool,
}

/// A column, with its place in the primary key (from 1; 0: it isn't in it).
struct Column {
    field: Field,
    place: i64,
}

/// All tables and views but SQLite's and ours. Virtual tables are left out: what is in them belongs
/// to their modules. So are views that can't be compiled, which nobody can read.
pub(super) fn catalogue(connection: &Connection) -> Outcome<Catalogue> {
    let sql = "SELECT name, type = 'table', wr FROM pragma_table_list
               WHERE schema = 'main' AND type IN ('table', 'view')
                 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'dunlin\\_%' ESCAPE '\\'
               ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let found = statement.query_map([], |row| {
        Ok(Found { name: row.get(0)?, is_table: row.get(1)?, without_rowid: row.get(2)? })
    })?;
    let found: Vec<Found> = found.collect::<rusqlite::Result<_>>()?;
    let mut relations = Vec::with_capacity(found.len());
    for found in &found {
        match relation(connection, found) {
            Ok(relation) => relations.push(relation),
            Err(Fault::Sqlite(_)) if !found.is_table => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(Catalogue { relations, files: None, scales_hold: false })
}

/// The columns of a query's result. One that is no column of a table has no declared type: its
/// values travel as text.
pub(super) fn describe(
    connection: &Connection,
    control: &Control,
    name: &TableName,
    query: &str,
) -> Outcome<Vec<Field>> {
    control.as_user(None, || {
        let prepared = control.preparing(|| connection.prepare(query));
        let statement = prepared.map_err(Fault::Query)?;
        if statement.parameter_count() > 0 {
            let first = statement.parameter_name(1).unwrap_or("?");
            let message = format!(
                "the query of {name} has a parameter, {first}, and nothing gives it a value"
            );
            return Err(TargetError::new(ErrorKind::Refused, message)
                .help("write the value: as a parameter it would be NULL")
                .into());
        }
        if !statement.readonly() || statement.column_count() == 0 {
            let message = format!("the query of {name} is no SELECT");
            return Err(TargetError::new(ErrorKind::Refused, message).into());
        }
        let mut fields: Vec<Field> = Vec::with_capacity(statement.column_count());
        for column in statement.columns() {
            if fields.iter().any(|field| field.name.eq_ignore_ascii_case(column.name())) {
                let message =
                    format!("the query of {name} has two columns called {}", column.name());
                return Err(TargetError::new(ErrorKind::Refused, message)
                    .help("name them apart: SELECT a.id AS a_id, b.id AS b_id …")
                    .into());
            }
            fields.push(field(column.name(), column.decl_type().unwrap_or_default()));
        }
        Ok(fields)
    })
}

/// A name by which each row of a table can be told; `None`: it has no rowid, or is no table.
fn rowid_name(connection: &Connection, table: &str) -> Outcome<Option<&'static str>> {
    let sql = "SELECT 1 FROM pragma_table_list
               WHERE schema = 'main' AND type = 'table' AND wr = 0 AND name = ?1 COLLATE NOCASE";
    if !connection.prepare_cached(sql)?.exists([table])? {
        return Ok(None);
    }
    let sql = "SELECT 1 FROM pragma_table_xinfo(?1, 'main') WHERE name = ?2 COLLATE NOCASE";
    let mut taken = connection.prepare_cached(sql)?;
    for name in ["rowid", "_rowid_", "oid"] {
        if !taken.exists([table, name])? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// A table's name as SQL has it. Other databases than the file's own have no part in a move.
pub(super) fn qualified(table: &TableName) -> Result<String, TargetError> {
    match table.schema.as_deref() {
        None => {}
        Some(schema) if schema.eq_ignore_ascii_case("main") => {}
        Some(_) => {
            let message = format!("{table} is in no schema that an SQLite file has");
            return Err(TargetError::new(ErrorKind::Refused, message).help("name the table alone"));
        }
    }
    Ok(in_main(&table.name))
}

/// The same for a table of the file's own.
pub(super) fn in_main(table: &str) -> String {
    format!("main.{}", quoted(table))
}

/// The columns of a table's primary key, in its order.
pub(super) fn primary_key(connection: &Connection, table: &str) -> Outcome<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE pk > 0 ORDER BY pk";
    let mut statement = connection.prepare_cached(sql)?;
    let names = statement.query_map([table], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// Whether a column is a table's rowid, which SQLite numbers.
pub(super) fn is_numbered(connection: &Connection, table: &str, column: &str) -> Outcome<bool> {
    let key = primary_key(connection, table)?;
    let alone = matches!(&key[..], [only] if only.eq_ignore_ascii_case(column));
    Ok(alone && rowid_name(connection, table)?.is_some() && !has_own_index(connection, table)?)
}

fn relation(connection: &Connection, found: &Found) -> Outcome<Relation> {
    let columns = columns(connection, found)?;
    let mut unique = unique(connection, &found.name)?;
    let declared = primary_key(connection, &found.name)?;
    if !declared.is_empty() && !unique.contains(&declared) {
        // The rowid itself, or a WITHOUT ROWID table.
        unique.insert(0, declared.clone());
    }
    let key = if declared.is_empty() { best_of(&unique, &columns) } else { declared };
    let unique_in_part = unique_in_part(connection, &found.name, &columns)?;
    let row_count_estimate =
        if found.is_table { estimated_rows(connection, &found.name)? } else { None };
    Ok(Relation {
        name: TableName::of(&found.name),
        query: None,
        fields: columns.into_iter().map(|column| column.field).collect(),
        key,
        unique,
        unique_in_part,
        foreign_keys: foreign_keys(connection, &found.name)?,
        row_count_estimate,
        is_table: found.is_table,
    })
}

fn field(name: &str, declared: &str) -> Field {
    Field {
        name: name.to_owned(),
        type_name: declared.to_owned(),
        value_type: value_type(declared),
        nullable: true,
        has_default: false,
        numbering: Numbering::None,
        generated: false,
        // SQLite takes longer texts than a type says.
        max_chars: None,
        limit: None,
    }
}

fn columns(connection: &Connection, found: &Found) -> Outcome<Vec<Column>> {
    let sql = "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden
               FROM pragma_table_xinfo(?1, 'main') WHERE hidden <> 1 ORDER BY cid";
    let mut statement = connection.prepare_cached(sql)?;
    let columns = statement.query_map([&found.name], |row| {
        let (name, declared): (String, String) = (row.get(0)?, row.get(1)?);
        let mut field = field(&name, &declared);
        let place: i64 = row.get(4)?;
        // Elsewhere SQLite lets the columns of a primary key be NULL.
        field.nullable = !(row.get::<_, bool>(2)? || found.without_rowid && place > 0);
        field.has_default = row.get(3)?;
        field.generated = row.get::<_, i64>(5)? > 1;
        Ok(Column { field, place })
    })?;
    let mut columns: Vec<Column> = columns.collect::<rusqlite::Result<_>>()?;
    let one = columns.iter().filter(|column| column.place > 0).count() == 1;
    if found.is_table && !found.without_rowid && one && !has_own_index(connection, &found.name)? {
        for column in columns.iter_mut().filter(|column| column.place > 0) {
            column.field.nullable = false;
            column.field.has_default = true;
            let table = TableName::of(&found.name);
            let counts = has_sequence(connection, &table, &column.field.name)?;
            column.field.numbering =
                if counts { Numbering::Counter } else { Numbering::LargestThere };
            column.field.value_type = ValueType::Int64;
        }
    }
    Ok(columns)
}

/// Whether the primary key is an index of its own, and not the rowid.
fn has_own_index(connection: &Connection, table: &str) -> Outcome<bool> {
    let sql = "SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk'";
    Ok(connection.prepare_cached(sql)?.exists([table])?)
}

fn unique(connection: &Connection, table: &str) -> Outcome<Vec<Vec<String>>> {
    let sql = "SELECT l.name, c.name FROM pragma_index_list(?1, 'main') AS l,
                 pragma_index_xinfo(l.name, 'main') AS c
               WHERE l.\"unique\" AND NOT l.partial AND c.\"key\" ORDER BY l.name, c.seqno";
    let mut statement = connection.prepare_cached(sql)?;
    let parts = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut found: Vec<(String, Vec<Option<String>>)> = Vec::new();
    for part in parts {
        let (index, column): (String, Option<String>) = part?;
        match found.last_mut() {
            Some((last, columns)) if *last == index => columns.push(column),
            _ => found.push((index, vec![column])),
        }
    }
    // An expression has no name.
    let mut unique: Vec<Vec<String>> =
        found.into_iter().filter_map(|(_, columns)| columns.into_iter().collect()).collect();
    unique.sort();
    unique.dedup();
    Ok(unique)
}

/// The columns that occur in the definition of each unique index over expressions or some of the rows.
/// SQLite says no more of an expression than its text; a name too many does no harm.
fn unique_in_part(
    connection: &Connection,
    table: &str,
    columns: &[Column],
) -> Outcome<Vec<Vec<String>>> {
    let sql = "SELECT s.sql FROM pragma_index_list(?1, 'main') AS l
                 JOIN main.sqlite_schema AS s ON s.type = 'index' AND s.name = l.name
               WHERE l.\"unique\" AND (l.partial OR EXISTS (SELECT 1
                 FROM pragma_index_xinfo(l.name, 'main') AS c WHERE c.\"key\" AND c.name IS NULL))
               ORDER BY l.name";
    let mut statement = connection.prepare_cached(sql)?;
    let definitions = statement.query_map([table], |row| row.get::<_, String>(0))?;
    let mut found = Vec::new();
    for definition in definitions {
        let definition = definition?;
        let columns_and_on = definition.split_once('(').map_or("", |(_, after)| after);
        let words = columns_and_on.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let words: Vec<&str> =
            words.take_while(|word| !word.eq_ignore_ascii_case("where")).collect();
        let is_read = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
        let read = columns.iter().map(|column| column.field.name.clone());
        found.push(read.filter(|name| is_read(name)).collect());
    }
    Ok(found)
}

/// Of the unique indexes that leave no NULL the one of the fewest columns.
fn best_of(unique: &[Vec<String>], columns: &[Column]) -> Vec<String> {
    let solid = |name: &String| {
        columns.iter().any(|column| column.field.name == *name && !column.field.nullable)
    };
    let fit = unique.iter().filter(|names| names.iter().all(solid));
    fit.min_by_key(|names| names.len()).cloned().unwrap_or_default()
}

/// What a table refers to.
pub(super) fn foreign_keys(connection: &Connection, table: &str) -> Outcome<Vec<ForeignKey>> {
    let sql = "SELECT id, \"table\", \"from\", \"to\", on_delete
               FROM pragma_foreign_key_list(?1, 'main') ORDER BY id, seq";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([table])?;
    let mut found: Vec<(i64, ForeignKey)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, to): (i64, String) = (row.get(0)?, row.get(1)?);
        let own = spelt(connection, table, &row.get::<_, String>(2)?)?;
        let other: Option<String> = row.get(3)?;
        if found.last().is_none_or(|(last, _)| *last != id) {
            let to = table_spelt(connection, &to)?;
            let to_columns =
                if other.is_none() { primary_key(connection, &to)? } else { Vec::new() };
            let key = ForeignKey {
                name: None,
                columns: Vec::new(),
                to: TableName::of(to),
                to_columns,
                on_delete: row.get(4)?,
            };
            found.push((id, key));
        }
        if let Some((_, key)) = found.last_mut() {
            key.columns.push(own);
            if let Some(other) = other {
                key.to_columns.push(spelt(connection, &key.to.name, &other)?);
            }
        }
    }
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// A column's name as its table spells it.
fn spelt(connection: &Connection, table: &str, column: &str) -> Outcome<String> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE name = ?2 COLLATE NOCASE";
    let found =
        connection.prepare_cached(sql)?.query_row([table, column], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or_else(|| column.to_owned()))
}

fn table_spelt(connection: &Connection, table: &str) -> Outcome<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
    let found = connection.prepare_cached(sql)?.query_row([table], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or_else(|| table.to_owned()))
}
