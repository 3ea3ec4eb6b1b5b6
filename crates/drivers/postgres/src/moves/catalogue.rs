//! All tables and views that a login sees.

use std::collections::HashMap;

use dunlin_engine::TargetError;
use dunlin_model::moves::{Catalogue, Field, ForeignKey, Numbering, Relation, TableName};

use super::value_types::{Types, texts, types_sql};
use crate::rows::{Answer, boolean, bug, field, number, optional_number, required};
use crate::session::Session;

/// The relations `c` in the namespaces `n` that are listed: partitions are read through their
/// table, and the ledger is ours.
const LISTED: &str = "c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition \
     AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', \
     'pg_toast', 'dunlin')";

const FROM_RELATIONS: &str = "pg_catalog.pg_class AS c \
     JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace";

/// A relation's schema where its bare name does not lead to it.
const SCHEMA: &str = "CASE WHEN NOT pg_catalog.pg_table_is_visible(c.oid) THEN n.nspname END";

fn relations_sql() -> String {
    // Since PostgreSQL 14 a table that was never counted has -1 rows; before, 0 in 0 pages.
    format!(
        "SELECT c.oid, {SCHEMA}, c.relname, c.relkind, CASE \
         WHEN c.relkind IN ('v', 'f') AND c.reltuples <= 0 THEN NULL \
         WHEN c.relkind = 'p' THEN (SELECT pg_catalog.sum(l.reltuples) FROM \
         pg_catalog.pg_partition_tree(c.oid) AS p JOIN pg_catalog.pg_class AS l ON l.oid = p.relid \
         WHERE p.isleaf AND l.reltuples >= 0) \
         WHEN c.reltuples < 0 OR c.reltuples = 0 AND c.relpages = 0 THEN NULL \
         ELSE c.reltuples END::bigint FROM {FROM_RELATIONS} WHERE {LISTED}"
    )
}

fn columns_sql() -> String {
    format!(
        "SELECT a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \
         a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef, a.attidentity <> '', \
         a.attgenerated <> '', COALESCE(pg_catalog.pg_get_expr(d.adbin, d.adrelid) \
         LIKE 'nextval(%', false) FROM {FROM_RELATIONS} \
         JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid \
         LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE {LISTED} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum"
    )
}

/// An expression: the names of a relation's columns by their numbers.
pub(super) fn names_of(relation: &str, numbers: &str) -> String {
    format!(
        "(SELECT pg_catalog.json_agg(a.attname ORDER BY k.o) FROM \
         pg_catalog.unnest({numbers}) WITH ORDINALITY AS k(n, o) JOIN pg_catalog.pg_attribute AS a \
         ON a.attrelid = {relation} AND a.attnum = k.n)"
    )
}

/// A unique index without conditions and expressions: `i`.
pub(super) const PLAIN_UNIQUE: &str = "i.indisunique AND i.indisvalid AND i.indpred IS NULL \
     AND i.indexprs IS NULL";

/// Its key columns.
pub(super) fn index_columns() -> String {
    names_of("i.indrelid", "(i.indkey::smallint[])[0:i.indnkeyatts - 1]")
}

fn unique_sql() -> String {
    format!(
        "SELECT i.indrelid, {columns}, i.indisprimary, i.indimmediate FROM {FROM_RELATIONS} \
         JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid WHERE {LISTED} AND {PLAIN_UNIQUE} \
         ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, i.indexrelid",
        columns = index_columns(),
    )
}

/// The columns that each other unique index reads, and what a generated one among them is made of.
/// Expressions are stored as trees, in which a column is a `Var` with its number.
fn unique_in_part_sql() -> String {
    let read = |tree: &str| {
        format!(
            "SELECT (pg_catalog.regexp_matches({tree}::pg_catalog.text, ':varattno ([0-9]+)', 'g'))[1]\
             ::smallint"
        )
    };
    let generated = format!(
        "{} FROM pg_catalog.pg_attrdef AS d JOIN pg_catalog.pg_attribute AS g \
             ON g.attrelid = d.adrelid AND g.attnum = d.adnum WHERE d.adrelid = i.indrelid \
             AND g.attgenerated <> '' AND g.attnum = ANY (i.indkey)",
        read("d.adbin")
    );
    format!(
        "SELECT i.indrelid, (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) \
         FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = i.indrelid AND NOT a.attisdropped \
         AND a.attnum IN (SELECT n FROM pg_catalog.unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1]) AS k(n) \
         UNION {expressions} UNION {generated})) FROM {FROM_RELATIONS} \
         JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid WHERE {LISTED} AND i.indisunique \
         AND i.indisvalid AND (NOT ({PLAIN_UNIQUE}) OR EXISTS (SELECT FROM pg_catalog.pg_attribute \
         AS g WHERE g.attrelid = c.oid AND g.attgenerated <> '' AND g.attnum = ANY (i.indkey))) \
         ORDER BY i.indrelid, i.indexrelid",
        expressions = read("i.indexprs"),
    )
}

/// `confdeltype` in words.
pub(super) const ON_DELETE: &str = "CASE f.confdeltype WHEN 'r' THEN 'RESTRICT' \
     WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' \
     ELSE 'NO ACTION' END";

fn foreign_keys_sql() -> String {
    format!(
        "SELECT f.conrelid, f.conname, {columns}, CASE WHEN NOT \
         pg_catalog.pg_table_is_visible(r.oid) THEN rn.nspname END, r.relname, {to_columns}, \
         {ON_DELETE} FROM {FROM_RELATIONS} JOIN pg_catalog.pg_constraint AS f \
         ON f.conrelid = c.oid AND f.contype = 'f' JOIN pg_catalog.pg_class AS r \
         ON r.oid = f.confrelid JOIN pg_catalog.pg_namespace AS rn ON rn.oid = r.relnamespace \
         WHERE {LISTED} AND (f.conparentid = 0 OR NOT EXISTS (SELECT FROM \
         pg_catalog.pg_constraint AS whole WHERE whole.oid = f.conparentid \
         AND whole.conrelid = f.conrelid)) ORDER BY f.conrelid, f.conname",
        columns = names_of("f.conrelid", "f.conkey"),
        to_columns = names_of("f.confrelid", "f.confkey"),
    )
}

/// Reads it, in the transaction that is open.
pub(super) async fn read(session: &Session) -> Result<Catalogue, TargetError> {
    let seed = format!(
        "SELECT a.atttypid FROM {FROM_RELATIONS} JOIN pg_catalog.pg_attribute AS a \
         ON a.attrelid = c.oid WHERE {LISTED} AND a.attnum > 0 AND NOT a.attisdropped"
    );
    let sql = [
        relations_sql(),
        columns_sql(),
        types_sql(&seed),
        unique_sql(),
        unique_in_part_sql(),
        foreign_keys_sql(),
    ];
    let answers = session.ask(&sql.join(";")).await?;
    let [relations, columns, types, unique, in_part, foreign_keys] = answers.as_slice() else {
        return Err(bug("the catalogue's answer has another number of parts than its question"));
    };
    let types = Types::read(types)?;
    let mut found = Found::default();
    found.relations(relations)?;
    found.columns(columns, &types)?;
    found.unique(unique)?;
    found.unique_in_part(in_part)?;
    found.foreign_keys(foreign_keys)?;
    let mut relations = found.relations;
    relations.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Catalogue { relations, files: None, scales_hold: true })
}

/// Relations under way, with their places by number.
#[derive(Default)]
struct Found {
    relations: Vec<Relation>,
    places: HashMap<u32, usize>,
}

impl Found {
    /// Between two statements of one message a table may come or go: what fits nowhere is left out.
    fn of(&mut self, oid: u32) -> Option<&mut Relation> {
        let place = *self.places.get(&oid)?;
        self.relations.get_mut(place)
    }

    fn relations(&mut self, answer: &Answer) -> Result<(), TargetError> {
        for row in &answer.rows {
            self.places.insert(number(row, 0)?, self.relations.len());
            self.relations.push(Relation {
                name: TableName {
                    schema: field(row, 1)?.map(str::to_owned),
                    name: required(row, 2)?.to_owned(),
                },
                query: None,
                fields: Vec::new(),
                key: Vec::new(),
                unique: Vec::new(),
                unique_in_part: Vec::new(),
                foreign_keys: Vec::new(),
                row_count_estimate: optional_number(row, 4)?,
                is_table: matches!(required(row, 3)?, "r" | "p" | "f"),
            });
        }
        Ok(())
    }

    fn columns(&mut self, answer: &Answer, types: &Types) -> Result<(), TargetError> {
        for row in &answer.rows {
            let Some(relation) = self.of(number(row, 0)?) else { continue };
            let (oid, typmod) = (number(row, 3)?, number(row, 4)?);
            let refuses_null = types.base(oid, typmod).is_some_and(|base| base.3);
            let (identity, sequence) = (boolean(row, 7)?, boolean(row, 9)?);
            relation.fields.push(Field {
                name: required(row, 1)?.to_owned(),
                type_name: required(row, 2)?.to_owned(),
                value_type: types.value_type(oid, typmod),
                nullable: !boolean(row, 5)? && !refuses_null,
                has_default: boolean(row, 6)? || identity,
                numbering: if identity || sequence { Numbering::Counter } else { Numbering::None },
                generated: boolean(row, 8)?,
                max_chars: types.max_chars(oid, typmod),
                limit: types.limit(oid, typmod),
            });
        }
        Ok(())
    }

    fn unique(&mut self, answer: &Answer) -> Result<(), TargetError> {
        for row in &answer.rows {
            let columns = texts(field(row, 1)?)?;
            let (primary, immediate) = (boolean(row, 2)?, boolean(row, 3)?);
            let Some(relation) = self.of(number(row, 0)?) else { continue };
            let never_null = |name: &String| relation.field(name).is_some_and(|f| !f.nullable);
            // They come best first: the primary key, then those of the fewest columns.
            if relation.key.is_empty() && (primary || immediate && columns.iter().all(never_null)) {
                relation.key.clone_from(&columns);
            }
            if !columns.is_empty() && !relation.unique.contains(&columns) {
                relation.unique.push(columns);
            }
        }
        Ok(())
    }

    fn unique_in_part(&mut self, answer: &Answer) -> Result<(), TargetError> {
        for row in &answer.rows {
            let columns = texts(field(row, 1)?)?;
            let Some(relation) = self.of(number(row, 0)?) else { continue };
            if !columns.is_empty() && !relation.unique_in_part.contains(&columns) {
                relation.unique_in_part.push(columns);
            }
        }
        Ok(())
    }

    fn foreign_keys(&mut self, answer: &Answer) -> Result<(), TargetError> {
        for row in &answer.rows {
            let made = ForeignKey {
                name: field(row, 1)?.map(str::to_owned),
                columns: texts(field(row, 2)?)?,
                to: TableName {
                    schema: field(row, 3)?.map(str::to_owned),
                    name: required(row, 4)?.to_owned(),
                },
                to_columns: texts(field(row, 5)?)?,
                on_delete: required(row, 6)?.to_owned(),
            };
            let Some(relation) = self.of(number(row, 0)?) else { continue };
            relation.foreign_keys.push(made);
        }
        Ok(())
    }
}
