//! Foreign keys, of both sides.

use dunlin_engine::moves::Written;
use dunlin_model::moves::TableName;
use rusqlite::{Connection, params_from_iter};

use super::catalogue::{foreign_keys, in_main, primary_key, qualified};
use super::encode::Bound;
use crate::fault::Outcome;
use crate::ledger::quoted;

/// What a row refers to that isn't there. `None`: nothing that could be found.
pub(super) fn missing(
    connection: &Connection,
    into: &Written,
    values: &[Bound<'_>],
) -> Outcome<Option<String>> {
    for key in foreign_keys(connection, &into.table.name)? {
        let value = |name: &String| {
            let place = into.fields.iter().position(|field| field.name == *name)?;
            values.get(place).filter(|value| **value != Bound::Null)
        };
        // A key with a NULL in it refers to nothing, and columns that aren't written are as before.
        let given: Option<Vec<&Bound<'_>>> = key.columns.iter().map(value).collect();
        let Some(given) = given else { continue };
        let own = key.to.name.eq_ignore_ascii_case(&into.table.name);
        let to: Option<Vec<&Bound<'_>>> = key.to_columns.iter().map(value).collect();
        if own && to.as_ref() == Some(&given) {
            continue;
        }
        let terms: Vec<String> = key
            .to_columns
            .iter()
            .zip(1..)
            .map(|(name, at)| format!("{} = ?{at}", quoted(name)))
            .collect();
        if terms.len() != given.len() {
            continue;
        }
        let sql = format!("SELECT 1 FROM {} WHERE {}", in_main(&key.to.name), terms.join(" AND "));
        if !connection.prepare_cached(&sql)?.exists(params_from_iter(given))? {
            return Ok(Some(format!("{} refers to no row of {}", key.columns.join(", "), key.to)));
        }
    }
    Ok(None)
}

/// The tables that refer to this one, each with a query that finds a row that refers to that of a
/// key. A row that refers to itself is in nobody's way.
pub(super) fn referring(
    connection: &Connection,
    to: &TableName,
    key: &[&str],
) -> Outcome<Vec<(String, String)>> {
    let sql = "SELECT t.name, f.id, f.\"from\", f.\"to\"
               FROM sqlite_schema AS t, pragma_foreign_key_list(t.name, 'main') AS f
               WHERE t.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE
               ORDER BY t.name, f.id, f.seq";
    let own = primary_key(connection, &to.name)?;
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([&to.name])?;
    let mut found: Vec<(String, i64, Vec<String>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (child, id): (String, i64) = (row.get(0)?, row.get(1)?);
        let (from, to): (String, Option<String>) = (row.get(2)?, row.get(3)?);
        if found.last().is_none_or(|last| last.0 != child || last.1 != id) {
            found.push((child, id, Vec::new()));
        }
        if let Some((.., terms)) = found.last_mut() {
            let to = to.or_else(|| own.get(terms.len()).cloned()).unwrap_or_default();
            // The parent's side first: its collation is what foreign keys go by.
            terms.push(format!("p.{} = c.{}", quoted(&to), quoted(&from)));
        }
    }
    let parent = qualified(to)?;
    let of_key: Vec<String> =
        key.iter().zip(1..).map(|(name, at)| format!("p.{} = ?{at}", quoted(name))).collect();
    let probe = |(child, _, terms): (String, i64, Vec<String>)| {
        let other = if child.eq_ignore_ascii_case(&to.name) {
            let same: Vec<String> =
                key.iter().map(|name| format!("c.{0} IS p.{0}", quoted(name))).collect();
            format!(" AND NOT ({})", same.join(" AND "))
        } else {
            String::new()
        };
        let sql = format!(
            "SELECT 1 FROM {parent} AS p JOIN {} AS c ON {} WHERE {}{other}",
            in_main(&child),
            terms.join(" AND "),
            of_key.join(" AND ")
        );
        (child, sql)
    };
    Ok(found.into_iter().map(probe).collect())
}
