//! What the catalogue tells of a table.

use dunlin_model::{Checksums, Column, Index, IndexColumn, Table, TableKind};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::name;
use super::range::{Order, OrderColumn, named};
use super::value::form_of;
use crate::fault::Outcome;
use crate::ledger::quoted;

/// The name of a table's own order among its indexes.
pub(crate) const ROWID: &str = "rowid";

/// The collations that every connection has. An index in another one can be read by no program but
/// the one that defines it.
const COLLATIONS: [&str; 3] = ["BINARY", "NOCASE", "RTRIM"];

/// How many rows are looked at for the size of a row.
const ROWS_SAMPLED: u32 = 100;

/// The least that a row takes in a file, in bytes.
const ROW_BYTES_MIN: i64 = 8;

/// A table by its name in the catalogue.
struct Found {
    name: String,
    kind: TableKind,
    without_rowid: bool,
    sql: String,
}

/// All about a table; `None`: there is none of that name.
pub(crate) fn table(connection: &Connection, written: &str) -> Outcome<Option<Table>> {
    let Some(found) = find(connection, written)? else { return Ok(None) };
    let mut columns = columns(connection, &found)?;
    let mut indexes = read_indexes(connection, &found, &columns)?;
    let shape = shape_of(connection, &found, &indexes, &columns)?;
    if let Some(name) = by_rowid_alone(&found, &indexes, &columns) {
        indexes.push(rowid_index(name, false));
        columns.push(Column {
            name: name.to_owned(),
            type_name: "integer".to_owned(),
            form: form_of("integer"),
            nullable: false,
            generated: true,
            identity: false,
        });
    }
    // What such a column is made from is not listed.
    let made = columns.iter().filter(|column| column.generated && !numbered(column, &indexes));
    let computed = made.map(|column| (column.name.clone(), String::new())).collect();
    let next_number = next_number(connection, &found, &indexes)?;
    let (row_count_estimate, row_bytes_estimate) = if found.kind == TableKind::Table {
        (row_count(connection, &found)?, row_bytes(connection, &found, &columns)?)
    } else {
        (None, None)
    };
    Ok(Some(Table {
        name: qualified(&found.name),
        kind: found.kind,
        shape,
        columns,
        indexes,
        row_count_estimate,
        row_bytes_estimate,
        transactional: true,
        hides_rows: false,
        computed,
        family: None,
        next_number,
    }))
}

/// Whether a column stands for the numbers of the rows.
fn numbered(column: &Column, indexes: &[Index]) -> bool {
    let is_it = |part: &IndexColumn| part.name.as_ref() == Some(&column.name);
    indexes.iter().any(|index| index.name == ROWID && index.columns.iter().any(is_it))
}

/// The primary key that is the row's number: a new row's is above all that there are.
fn next_number(
    connection: &Connection,
    table: &Found,
    indexes: &[Index],
) -> Outcome<Option<(String, i64)>> {
    let own = indexes.iter().find(|index| index.name == ROWID && index.primary);
    let name = own.and_then(|index| index.columns.first()?.name.clone());
    let Some(name) = name.filter(|_| table.kind == TableKind::Table) else { return Ok(None) };
    let sql = format!("SELECT max({}) FROM {}", quoted(&name), qualified(&table.name));
    let highest: Option<i64> = connection.query_row(&sql, [], |row| row.get(0))?;
    // Above the highest number that there is, numbers are given at random.
    let next = highest.map_or(Some(1), |highest| highest.checked_add(1));
    Ok(next.map(|next| (name, next)))
}

/// The table's shape by now; `None`: it is gone.
pub(crate) fn shape(connection: &Connection, written: &str) -> Outcome<Option<String>> {
    let Some(found) = find(connection, written)? else { return Ok(None) };
    let columns = columns(connection, &found)?;
    let indexes = read_indexes(connection, &found, &columns)?;
    Ok(Some(shape_of(connection, &found, &indexes, &columns)?))
}

/// The order that an index gives; `None`: there is no such index any more.
pub(crate) fn order(
    connection: &Connection,
    table: &str,
    index: &str,
    key: &[dunlin_model::KeyColumn],
) -> Outcome<Option<Order>> {
    let Some(found) = find(connection, table)? else { return Ok(None) };
    let collations = collations(connection, index)?;
    let own_order =
        index == ROWID || (found.without_rowid && is_primary(connection, &found, index)?);
    if !own_order && collations.is_empty() {
        return Ok(None);
    }
    let mut columns = Vec::with_capacity(key.len());
    for column in key {
        let of_index = collations.iter().find(|(name, _)| name.eq_ignore_ascii_case(&column.name));
        let collation = match of_index {
            Some((_, collation)) => {
                let own = own_collation(connection, &found.name, &column.name)?;
                (!own.eq_ignore_ascii_case(collation)).then(|| collation.clone())
            }
            None => None,
        };
        columns.push(OrderColumn {
            name: column.name.clone(),
            descending: column.descending,
            collation,
        });
    }
    let by =
        if own_order { "NOT INDEXED".to_owned() } else { format!("INDEXED BY {}", named(index)) };
    Ok(Some(Order { table: qualified(&found.name), by, columns }))
}

/// Columns that hold values of their own: what tells one row from another.
pub(crate) fn stored_columns(connection: &Connection, table: &str) -> Outcome<Vec<Column>> {
    match find(connection, table)? {
        Some(found) => {
            let all = columns(connection, &found)?;
            Ok(all.into_iter().filter(|column| !column.generated).collect())
        }
        None => Ok(Vec::new()),
    }
}

/// How many rows ANALYZE counted.
pub(crate) fn analyzed_rows(connection: &Connection, table: &str) -> Outcome<Option<u64>> {
    let there = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'";
    if !connection.prepare_cached(there)?.exists([])? {
        return Ok(None);
    }
    let Some(name) = name::table_in_main(table) else { return Ok(None) };
    // The first number of each row is the count of the index's rows; a partial index has fewer.
    let sql = "SELECT max(CAST(stat AS INTEGER)) FROM sqlite_stat1 WHERE tbl = ?1 COLLATE NOCASE";
    let count: Option<i64> = connection.prepare_cached(sql)?.query_row([name], |row| row.get(0))?;
    Ok(count.and_then(|count| u64::try_from(count).ok()))
}

/// About how many rows a table has.
#[cfg(feature = "move")]
pub(crate) fn estimated_rows(connection: &Connection, table: &str) -> Outcome<Option<u64>> {
    match find(connection, &quoted(table))? {
        Some(found) => row_count(connection, &found),
        None => Ok(None),
    }
}

fn qualified(name: &str) -> String {
    format!("main.{}", quoted(name))
}

fn find(connection: &Connection, written: &str) -> Outcome<Option<Found>> {
    let Some(name) = name::table_in_main(written) else { return Ok(None) };
    let sql = "SELECT l.name, l.type, l.wr, s.sql
               FROM pragma_table_list AS l JOIN sqlite_schema AS s
                 ON s.name = l.name AND s.type IN ('table', 'view')
               WHERE l.schema = 'main' AND l.name = ?1 COLLATE NOCASE";
    let found = connection
        .prepare_cached(sql)?
        .query_row([name], |row| {
            let kind: String = row.get(1)?;
            Ok(Found {
                name: row.get(0)?,
                kind: match kind.as_str() {
                    "table" => TableKind::Table,
                    "view" => TableKind::View,
                    _ => TableKind::Other,
                },
                without_rowid: row.get(2)?,
                sql: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
            })
        })
        .optional()?;
    Ok(found)
}

fn columns(connection: &Connection, table: &Found) -> Outcome<Vec<Column>> {
    // A primary key of a table with rowids may be NULL, unless it is the rowid itself.
    let own_rowid = rowid_alias(connection, table)?;
    let sql = "SELECT name, lower(type), \"notnull\", hidden FROM pragma_table_xinfo(?1, 'main')
               WHERE hidden <> 1 ORDER BY cid";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([&table.name], |row| {
        let (name, declared): (String, String) = (row.get(0)?, row.get(1)?);
        let not_null: bool = row.get(2)?;
        Ok(Column {
            nullable: !not_null && own_rowid.as_ref() != Some(&name),
            generated: row.get::<_, i64>(3)? > 0,
            identity: false,
            form: form_of(&declared),
            type_name: declared.split('(').next().unwrap_or_default().trim().to_owned(),
            name,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The column that is the rowid: the only one of a primary key for which there is no index.
fn rowid_alias(connection: &Connection, table: &Found) -> Outcome<Option<String>> {
    if table.without_rowid || table.kind != TableKind::Table {
        return Ok(None);
    }
    let sql = "SELECT min(name) FROM pragma_table_xinfo(?1, 'main') WHERE pk > 0
               AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk')
               HAVING count(*) = 1";
    let found =
        connection.prepare_cached(sql)?.query_row([&table.name], |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

fn read_indexes(connection: &Connection, table: &Found, columns: &[Column]) -> Outcome<Vec<Index>> {
    let mut indexes: Vec<Index> =
        rowid_alias(connection, table)?.map(|name| rowid_index(&name, true)).into_iter().collect();
    let sql = "SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1, 'main')
               ORDER BY origin <> 'pk', seq DESC";
    let mut statement = connection.prepare_cached(sql)?;
    let listed = statement.query_map([&table.name], |row| {
        let origin: String = row.get(2)?;
        Ok((row.get(0)?, row.get(1)?, origin == "pk", row.get(3)?))
    })?;
    for row in listed {
        let (name, unique, primary, partial): (String, bool, bool, bool) = row?;
        indexes.push(read_index(connection, name, unique, primary, partial, columns)?);
    }
    Ok(indexes)
}

fn read_index(
    connection: &Connection,
    name: String,
    unique: bool,
    primary: bool,
    partial: bool,
    columns: &[Column],
) -> Outcome<Index> {
    let sql = "SELECT name, \"desc\", coll FROM pragma_index_xinfo(?1, 'main') WHERE key = 1
               ORDER BY seqno";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([&name])?;
    let mut index =
        Index { name: name.clone(), columns: Vec::new(), unique, primary, unusable: None };
    if partial {
        index.unusable = Some("it is partial: rows outside its condition are not in it".to_owned());
    }
    while let Some(row) = rows.next()? {
        let column: Option<String> = row.get(0)?;
        let collation: String = row.get::<_, Option<String>>(2)?.unwrap_or_default();
        let known = COLLATIONS.iter().any(|known| known.eq_ignore_ascii_case(&collation));
        if column.as_ref().is_none_or(|name| !columns.iter().any(|column| column.name == *name)) {
            index.unusable.get_or_insert_with(|| "it holds an expression".to_owned());
        } else if !known {
            index.unusable.get_or_insert_with(|| {
                format!("its collation {collation} is known only to the program that defines it")
            });
        }
        index.columns.push(IndexColumn { name: column, descending: row.get(1)?, prefix: false });
    }
    Ok(index)
}

fn rowid_index(column: &str, primary: bool) -> Index {
    Index {
        name: ROWID.to_owned(),
        columns: vec![IndexColumn {
            name: Some(column.to_owned()),
            descending: false,
            prefix: false,
        }],
        unique: true,
        primary,
        unusable: None,
    }
}

/// The rowid's name, where nothing else can tell all rows of a table apart.
fn by_rowid_alone(table: &Found, indexes: &[Index], columns: &[Column]) -> Option<&'static str> {
    let nullable = |name: &Option<String>| {
        let of_name = columns.iter().find(|column| Some(&column.name) == name.as_ref());
        of_name.is_none_or(|column| column.nullable)
    };
    // The rows of one nullable column without a key are a chunk of their own.
    let keyed = indexes.iter().any(|index| {
        index.unique
            && index.unusable.is_none()
            && (index.columns.len() == 1
                || !index.columns.iter().any(|column| nullable(&column.name)))
    });
    let numbered = table.kind == TableKind::Table && !table.without_rowid && !keyed;
    free_rowid_name(columns).filter(|_| numbered)
}

fn free_rowid_name(columns: &[Column]) -> Option<&'static str> {
    ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|free| !columns.iter().any(|column| column.name.eq_ignore_ascii_case(free)))
}

fn shape_of(
    connection: &Connection,
    table: &Found,
    indexes: &[Index],
    columns: &[Column],
) -> Outcome<String> {
    let mut text = table.sql.clone();
    let sql = "SELECT name || ' ' || coalesce(sql, '') FROM sqlite_schema
               WHERE type = 'index' AND tbl_name = ?1 ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([&table.name])?;
    while let Some(row) = rows.next()? {
        let index: String = row.get(0)?;
        let unique = indexes.iter().any(|known| {
            known.unique
                && index.strip_prefix(&known.name).is_some_and(|rest| rest.starts_with(' '))
        });
        if unique {
            text.push('\n');
            text.push_str(&index);
        }
    }
    if by_rowid_alone(table, indexes, columns).is_some() {
        // VACUUM gives such rows new numbers, and says so only here.
        text.push_str(&format!("\nschema_version {}", schema_version(connection)?));
    }
    Ok(Checksums::of_bytes(text.as_bytes()).chars().take(32).collect())
}

/// The counter that every change of the schema, and VACUUM, raises.
pub(crate) fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA main.schema_version")?.query_row([], |row| row.get(0))
}

fn collations(connection: &Connection, index: &str) -> Outcome<Vec<(String, String)>> {
    let sql = "SELECT name, coll FROM pragma_index_xinfo(?1, 'main')
               WHERE key = 1 AND name IS NOT NULL ORDER BY seqno";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([index], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn is_primary(connection: &Connection, table: &Found, index: &str) -> Outcome<bool> {
    let sql = "SELECT 1 FROM pragma_index_list(?1, 'main') WHERE name = ?2 AND origin = 'pk'";
    Ok(connection.prepare_cached(sql)?.exists(params![table.name, index])?)
}

fn own_collation(connection: &Connection, table: &str, column: &str) -> Outcome<String> {
    let (_, collation, ..) = connection.column_metadata(Some("main"), table, column)?;
    Ok(collation.map_or_else(|| "BINARY".to_owned(), |name| name.to_string_lossy().into_owned()))
}

/// As ANALYZE counted, else what the numbers of the rows leave room for.
fn row_count(connection: &Connection, table: &Found) -> Outcome<Option<u64>> {
    if let Some(count) = analyzed_rows(connection, &quoted(&table.name))? {
        return Ok(Some(count));
    }
    if table.without_rowid {
        return Ok(None);
    }
    let columns = columns(connection, table)?;
    let Some(rowid) = free_rowid_name(&columns) else { return Ok(None) };
    // Each end by itself is found at once; both together would be a scan.
    let name = qualified(&table.name);
    let sql = format!(
        "SELECT (SELECT max({rowid}) FROM {name}) - (SELECT min({rowid}) FROM {name}) + 1.0"
    );
    let span: Option<f64> = connection.query_row(&sql, [], |row| row.get(0))?;
    let pages: i64 = connection.query_row("PRAGMA main.page_count", [], |row| row.get(0))?;
    let page_bytes: i64 = connection.query_row("PRAGMA main.page_size", [], |row| row.get(0))?;
    let room = pages.saturating_mul(page_bytes) / ROW_BYTES_MIN;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what a file has room for"
    )]
    let count = span.map(|span| (span.max(0.0) as u64).min(room.max(0) as u64));
    Ok(Some(count.unwrap_or(0)))
}

/// The mean of the first rows. Lengths stand before the values, so none of them is read.
fn row_bytes(connection: &Connection, table: &Found, columns: &[Column]) -> Outcome<Option<u64>> {
    let lengths: Vec<String> = columns
        .iter()
        .filter(|column| !column.generated)
        .map(|column| format!("ifnull(octet_length({}), 0)", named(&column.name)))
        .collect();
    if lengths.is_empty() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT CAST(avg(bytes) AS INTEGER) FROM
         (SELECT {ROW_BYTES_MIN} + {} AS bytes FROM {} LIMIT {ROWS_SAMPLED})",
        lengths.join(" + "),
        qualified(&table.name)
    );
    let mean: Option<i64> = connection.query_row(&sql, [], |row| row.get(0))?;
    Ok(mean.and_then(|mean| u64::try_from(mean).ok()))
}
