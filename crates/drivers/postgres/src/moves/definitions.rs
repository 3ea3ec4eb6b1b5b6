//! Indexes and foreign keys as the catalogue has them: each with the statements that make it again,
//! and why it has to stay where it could not be made again exactly, or safely.

use std::collections::HashMap;

use dunlin_engine::TargetError;
use dunlin_engine::moves::{Definition, DefinitionKind, TableDefinitions};
use dunlin_model::moves::TableName;

use super::catalogue::names_of;
use super::table_sql;
use super::value_types::texts;
use crate::quote;
use crate::rows::{boolean, bug, field, number, optional_number, required, single};
use crate::session::Session;

/// The trigger that keeps others from writing a table.
pub(super) const KEEPER: &str = "dunlin_loading";

/// Why nothing of the table `c` may be dropped.
const TABLE_STAYS: &str = "CASE WHEN c.relkind <> 'r' THEN 'it is no plain table' \
     WHEN c.relispartition OR EXISTS (SELECT FROM pg_catalog.pg_inherits AS h \
     WHERE c.oid IN (h.inhrelid, h.inhparent)) THEN 'it is part of a hierarchy of tables' \
     WHEN NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN 'this login does not own it' \
     WHEN NOT pg_catalog.has_schema_privilege(c.relnamespace, 'CREATE') \
     THEN 'this login may create nothing in its schema' \
     WHEN NOT pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('dunlin'), 'CREATE') \
     THEN 'this login may create nothing in the schema dunlin' \
     WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_language AS l WHERE l.lanname = 'plpgsql' \
     AND pg_catalog.has_language_privilege(l.oid, 'USAGE')) \
     THEN 'others are kept out of it by a function in PL/pgSQL, which this login may not use' END";

/// Why the index `i`, with its relation `c`, stays.
const INDEX_STAYS: &str = "CASE WHEN i.indisunique OR i.indisexclusion OR EXISTS (SELECT FROM \
     pg_catalog.pg_constraint AS u WHERE u.conindid = i.indexrelid AND u.contype <> 'f') \
     THEN 'it tells rows apart' \
     WHEN NOT (i.indisvalid AND i.indisready AND i.indislive) THEN 'it is not valid' \
     WHEN i.indisreplident THEN 'it is the replica identity' \
     WHEN EXISTS (SELECT FROM pg_catalog.pg_depend AS d \
     WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = i.indexrelid \
     OR d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid \
     AND d.deptype IN ('e', 'x')) THEN 'something else depends on it, or it on an extension' \
     WHEN c.reltablespace <> 0 AND NOT pg_catalog.has_tablespace_privilege(c.reltablespace, \
     'CREATE') THEN 'this login may create nothing in its tablespace' END";

/// Why the foreign key `f` stays, if it refers to one of the tables.
const KEY_STAYS: &str = "CASE WHEN NOT f.convalidated THEN 'it was never validated' \
     WHEN f.conparentid <> 0 THEN 'it is that of a partitioned table' \
     WHEN f.confmatchtype = 'f' AND pg_catalog.cardinality(f.conkey) > 1 THEN 'it is MATCH FULL' \
     WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger AS t WHERE t.tgconstraint = f.oid \
     AND t.tgenabled <> 'O') THEN 'it is switched off, or always on' \
     WHEN EXISTS (SELECT FROM pg_catalog.pg_depend AS d \
     WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = f.oid \
     AND d.deptype IN ('e', 'x')) THEN 'it belongs to an extension' \
     WHEN NOT pg_catalog.has_table_privilege(f.confrelid, 'REFERENCES') \
     THEN 'this login may not refer to that table' END";

/// Reads those of some tables; of foreign keys, those between two of them may go. The session's
/// search path is emptied meanwhile, so that every name is written out.
pub(super) async fn read(
    session: &Session,
    tables: &[TableName],
) -> Result<Vec<TableDefinitions>, TargetError> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let numbers = numbers(session, tables).await?;
    let listed = numbers.keys().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let listed = if listed.is_empty() { "0".to_owned() } else { listed };
    let path = session.ask("SELECT pg_catalog.current_setting('search_path')").await?;
    let path = quote::text(required(single(&path, 0)?, 0)?);
    let sql = format!(
        "SET LOCAL search_path TO '';{tables};{indexes};{keys};\
         SELECT pg_catalog.set_config('search_path', {path}, true)",
        tables = tables_sql(&listed),
        indexes = indexes_sql(&listed),
        keys = keys_sql(&listed),
    );
    let answers = session.ask(&sql).await?;
    let [_, of_tables, indexes, keys, _] = answers.as_slice() else {
        return Err(bug("the catalogue's answer has another number of parts than its question"));
    };
    let mut found: HashMap<u32, TableDefinitions> = HashMap::new();
    for row in &of_tables.rows {
        let oid = number(row, 0)?;
        let Some(table) = numbers.get(&oid) else { continue };
        let stays = field(row, 1)?.map(str::to_owned);
        let made = TableDefinitions {
            table: table.clone(),
            stays,
            referred_by: texts(field(row, 2)?)?,
            definitions: Vec::new(),
        };
        found.insert(oid, made);
    }
    for row in &keys.rows {
        if let Some(table) = found.get_mut(&number(row, 0)?) {
            table.definitions.push(key(row, &table.table)?);
        }
    }
    for row in &indexes.rows {
        if let Some(table) = found.get_mut(&number(row, 0)?) {
            table.definitions.push(index(row, &table.table)?);
        }
    }
    let mut all: Vec<TableDefinitions> = found.into_values().collect();
    all.sort_by(|a, b| a.table.cmp(&b.table));
    Ok(all)
}

/// The tables by their numbers; one that isn't there is left out.
async fn numbers(
    session: &Session,
    tables: &[TableName],
) -> Result<HashMap<u32, TableName>, TargetError> {
    let values: Vec<String> = tables
        .iter()
        .map(|table| format!("pg_catalog.to_regclass({})::oid", quote::text(&table_sql(table))))
        .collect();
    let answers = session.ask(&format!("SELECT {}", values.join(", "))).await?;
    let row = single(&answers, 0)?;
    let mut numbers = HashMap::new();
    for (place, table) in tables.iter().enumerate() {
        if let Some(oid) = optional_number(row, place)? {
            numbers.insert(oid, table.clone());
        }
    }
    Ok(numbers)
}

fn tables_sql(listed: &str) -> String {
    format!(
        "SELECT c.oid, {TABLE_STAYS}, (SELECT pg_catalog.json_agg(DISTINCT \
         f.conrelid::pg_catalog.regclass::pg_catalog.text) FROM pg_catalog.pg_constraint AS f \
         WHERE f.contype = 'f' AND f.confrelid = c.oid AND f.conrelid NOT IN ({listed})) \
         FROM pg_catalog.pg_class AS c WHERE c.oid IN ({listed})"
    )
}

fn indexes_sql(listed: &str) -> String {
    format!(
        "SELECT i.indrelid, n.nspname, c.relname, pg_catalog.pg_get_indexdef(i.indexrelid), \
         pg_catalog.obj_description(i.indexrelid, 'pg_class'), i.indisclustered, \
         (SELECT s.spcname FROM pg_catalog.pg_tablespace AS s WHERE s.oid = c.reltablespace), \
         (SELECT pg_catalog.json_agg(pg_catalog.concat(a.attnum, ' ', a.attstattarget) \
         ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = i.indexrelid \
         AND a.attstattarget >= 0), \
         i.indrelid::pg_catalog.regclass::pg_catalog.text, {INDEX_STAYS} \
         FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE i.indrelid IN ({listed}) AND NOT i.indisprimary ORDER BY i.indexrelid"
    )
}

fn keys_sql(listed: &str) -> String {
    format!(
        "SELECT f.conrelid, f.conname, f.conrelid::pg_catalog.regclass::pg_catalog.text, {columns}, \
         f.confrelid::pg_catalog.regclass::pg_catalog.text, {to_columns}, \
         pg_catalog.pg_get_constraintdef(f.oid), \
         pg_catalog.obj_description(f.oid, 'pg_constraint'), CASE WHEN f.confrelid NOT IN ({listed}) \
         THEN 'the table that it refers to is not loaded with it' ELSE {KEY_STAYS} END \
         FROM pg_catalog.pg_constraint AS f WHERE f.contype = 'f' AND f.conrelid IN ({listed}) \
         ORDER BY f.oid",
        columns = names_of("f.conrelid", "f.conkey"),
        to_columns = names_of("f.confrelid", "f.confkey"),
    )
}

fn index(
    row: &tokio_postgres::SimpleQueryRow,
    table: &TableName,
) -> Result<Definition, TargetError> {
    let name = required(row, 2)?;
    let full = format!("{}.{}", quote::name(required(row, 1)?), quote::name(name));
    let space = quote::text(field(row, 6)?.unwrap_or_default());
    let mut restore =
        vec![format!("SET LOCAL default_tablespace TO {space}"), required(row, 3)?.to_owned()];
    if let Some(comment) = field(row, 4)? {
        restore.push(format!("COMMENT ON INDEX {full} IS {}", quote::text(comment)));
    }
    for target in texts(field(row, 7)?)? {
        let (column, target) = target.split_once(' ').unwrap_or_default();
        restore.push(format!("ALTER INDEX {full} ALTER COLUMN {column} SET STATISTICS {target}"));
    }
    if boolean(row, 5)? {
        restore.push(format!("ALTER TABLE {} CLUSTER ON {}", required(row, 8)?, quote::name(name)));
    }
    Ok(Definition {
        kind: DefinitionKind::Index,
        name: name.to_owned(),
        table: table.clone(),
        columns: Vec::new(),
        to: None,
        to_columns: Vec::new(),
        drop: format!("DROP INDEX {full}"),
        restore,
        stays: field(row, 9)?.map(str::to_owned),
    })
}

fn key(row: &tokio_postgres::SimpleQueryRow, table: &TableName) -> Result<Definition, TargetError> {
    let (name, of) = (required(row, 1)?, required(row, 2)?);
    let quoted = quote::name(name);
    let mut restore =
        vec![format!("ALTER TABLE {of} ADD CONSTRAINT {quoted} {}", required(row, 6)?)];
    if let Some(comment) = field(row, 7)? {
        restore.push(format!("COMMENT ON CONSTRAINT {quoted} ON {of} IS {}", quote::text(comment)));
    }
    Ok(Definition {
        kind: DefinitionKind::ForeignKey,
        name: name.to_owned(),
        table: table.clone(),
        columns: texts(field(row, 3)?)?,
        to: Some(required(row, 4)?.to_owned()),
        to_columns: texts(field(row, 5)?)?,
        drop: format!("ALTER TABLE {of} DROP CONSTRAINT {quoted}"),
        restore,
        stays: field(row, 8)?.map(str::to_owned),
    })
}
