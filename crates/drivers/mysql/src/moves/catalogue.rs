//! What the database looks like to a move: six questions, whatever the number of tables.

use std::collections::{BTreeMap, HashSet};

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::{Catalogue, Field, ForeignKey, Numbering, Relation, TableName};

use super::kind;
use crate::failure::During;
use crate::literal;
use crate::session::{Answer, Cells, Session};

use mysql_async::prelude::Queryable as _;

/// The connection's database, without what is ours. MariaDB's sequences are no tables.
const TABLES: &str = "SELECT table_name, table_type, table_rows FROM information_schema.tables \
     WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED') \
     AND table_name NOT LIKE 'dunlin\\_%'";

const COLUMNS: &str = "SELECT table_name, column_name, column_type, is_nullable, column_default, \
     extra, numeric_scale, character_maximum_length, generation_expression FROM information_schema.columns \
     WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position";

const UNIQUE: &str = "SELECT table_name, index_name, column_name, sub_part \
     FROM information_schema.statistics WHERE table_schema = DATABASE() AND non_unique = 0 \
     ORDER BY table_name, index_name <> 'PRIMARY', index_name, seq_in_index";

const REFERENCES: &str = "SELECT k.table_name, k.constraint_name, k.column_name, \
     k.referenced_table_schema = DATABASE(), k.referenced_table_schema, k.referenced_table_name, \
     k.referenced_column_name, r.delete_rule FROM information_schema.key_column_usage k \
     JOIN information_schema.referential_constraints r \
     ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name \
     AND r.table_name = k.table_name WHERE k.table_schema = DATABASE() \
     AND r.constraint_schema = DATABASE() \
     AND k.referenced_table_name IS NOT NULL \
     ORDER BY k.table_name, k.constraint_name, k.ordinal_position";

/// MariaDB's JSON is a text with a check. Its other servers have no column for the table.
const CHECKS: &str = "SELECT table_name, check_clause FROM information_schema.check_constraints \
     WHERE constraint_schema = DATABASE() AND check_clause LIKE 'json\\_valid(%'";

/// The tables and views.
pub(super) async fn read(
    session: &mut Session,
    is_mariadb: bool,
) -> Result<Catalogue, TargetError> {
    let checks = if is_mariadb { CHECKS } else { "DO 0" };
    let packet = [TABLES, COLUMNS, UNIQUE, REFERENCES, checks].join("; ");
    // Reading what stands of many tables may take longer than a packet of the ledger's.
    let answers = session.run_rows(&packet).await?;
    let [tables, columns, unique, references, checks] = answers.as_slice() else {
        return Err(super::bug("the server answered too little"));
    };
    let json: HashSet<(String, String)> =
        checks.rows.iter().filter_map(|row| Some((row.text(0), checked(&row.text(1))?))).collect();
    let mut fields: BTreeMap<String, Vec<Field>> = BTreeMap::new();
    for row in &columns.rows {
        let is_json = json.contains(&(row.text(0), row.text(1)));
        fields.entry(row.text(0)).or_default().push(field(row, is_json, is_mariadb));
    }
    let made: Vec<(String, String, String)> =
        columns.rows.iter().map(|row| (row.text(0), row.text(1), row.text(8))).collect();
    let mut in_part = uniques_in_part(unique, &made);
    let mut unique = uniques(unique);
    let mut references = foreign_keys(references);
    let mut relations: Vec<Relation> = tables
        .rows
        .iter()
        .map(|row| {
            let name = row.text(0);
            let fields = fields.remove(&name).unwrap_or_default();
            let (primary, unique) = unique.remove(&name).unwrap_or_default();
            let is_table = row.text(1) != "VIEW";
            Relation {
                key: primary.unwrap_or_else(|| best_of(&unique, &fields)),
                foreign_keys: references.remove(&name).unwrap_or_default(),
                row_count_estimate: if is_table { row.number(2) } else { None },
                unique_in_part: in_part.remove(&name).unwrap_or_default(),
                name: TableName::of(name),
                query: None,
                fields,
                unique,
                is_table,
            }
        })
        .collect();
    relations.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Catalogue { relations, files: None, scales_hold: true })
}

/// The columns of a query's result.
pub(super) async fn describe(
    session: &mut Session,
    name: &TableName,
    query: &str,
) -> Result<Vec<Field>, TargetError> {
    let sql = format!("SELECT * FROM {} LIMIT 0", derived(query));
    session.require_fit(&sql)?;
    let mut conn = session.take()?;
    let columns = async {
        let result = conn.query_iter(sql.as_str()).await?;
        let columns = result.columns();
        result.drop_result().await?;
        Ok(columns)
    }
    .await;
    let columns = session.keep(conn, columns, During::Rows).map_err(|error| TargetError {
        message: format!("the query of {name}: {}", error.message),
        ..error
    })?;
    let fields: Vec<Field> = columns.iter().flat_map(|c| c.iter()).map(kind::described).collect();
    if fields.is_empty() {
        let message = format!("the query of {name} is no SELECT");
        return Err(TargetError::new(ErrorKind::Refused, message));
    }
    Ok(fields)
}

/// A query where a table's name stands. On lines of its own, since it may end in a comment.
pub(super) fn derived(query: &str) -> String {
    format!("(\n{}\n) AS dunlin_query", query.trim_end().trim_end_matches(';'))
}

/// A table's name as SQL has it. Other databases than the connection's have no part in a move.
pub(super) fn qualified(table: &TableName, database: &str) -> Result<String, TargetError> {
    match table.schema.as_deref() {
        Some(schema) if schema != database => {
            let message = format!("{table} is in another database than the connection's");
            Err(TargetError::new(ErrorKind::Refused, message)
                .help("name the table alone, and its database in the URL"))
        }
        _ => Ok(format!("{}.{}", literal::name(database), literal::name(&table.name))),
    }
}

/// The column out of a clause that checks for JSON.
fn checked(clause: &str) -> Option<String> {
    let inner = clause.strip_prefix("json_valid(")?.strip_suffix(')')?;
    match literal::name_parts(inner)?.as_slice() {
        [name] => Some(name.clone()),
        _ => None,
    }
}

fn field(row: &Cells, is_json: bool, is_mariadb: bool) -> Field {
    let type_name = row.text(2);
    let extra = row.text(5);
    let numbered = extra.contains("auto_increment");
    let sized = matches!(kind::base(&type_name).as_str(), "char" | "varchar");
    // MariaDB writes a default of NULL as that word, and texts in quotes.
    let default = row.optional(4).filter(|default| !(is_mariadb && default == "NULL"));
    Field {
        name: row.text(1),
        value_type: kind::value_type(&type_name, row.number(6), is_json),
        nullable: row.text(3) == "YES",
        has_default: numbered || default.is_some(),
        numbering: if numbered { Numbering::Counter } else { Numbering::None },
        generated: extra.contains("VIRTUAL") || extra.contains("STORED") || is_period(&extra),
        max_chars: if sized { row.number(7) } else { None },
        limit: kind::limit(&type_name),
        type_name,
    }
}

/// Columns that MariaDB fills for system versioning.
fn is_period(extra: &str) -> bool {
    extra.contains("PERSISTENT") || extra.contains("ROW START") || extra.contains("ROW END")
}

type Uniques = (Option<Vec<String>>, Vec<Vec<String>>);

/// By table: the primary key, and all that is unique. Indexes over expressions or over the first
/// letters of a text are left out.
fn uniques(answer: &Answer) -> BTreeMap<String, Uniques> {
    let mut indexes: Vec<(String, String, Vec<Option<String>>)> = Vec::new();
    for row in &answer.rows {
        let (table, index) = (row.text(0), row.text(1));
        let column = if row.optional(3).is_none() { row.optional(2) } else { None };
        match indexes.last_mut() {
            Some((of, last, columns)) if *of == table && *last == index => columns.push(column),
            _ => indexes.push((table, index, vec![column])),
        }
    }
    let mut found: BTreeMap<String, Uniques> = BTreeMap::new();
    for (table, index, columns) in indexes {
        let Some(columns) = columns.into_iter().collect::<Option<Vec<String>>>() else { continue };
        let (primary, all) = found.entry(table).or_default();
        if index == "PRIMARY" {
            *primary = Some(columns.clone());
        }
        if !all.contains(&columns) {
            all.push(columns);
        }
    }
    found
}

/// By table: the columns of unique indexes over the first letters of a text, and those which the
/// generated columns of unique indexes are made of. `made` has table, column and expression, in which
/// names stand in backticks. Indexes of MySQL over expressions are left out.
fn uniques_in_part(
    answer: &Answer,
    made: &[(String, String, String)],
) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut indexes: BTreeMap<(String, String), (bool, Vec<String>)> = BTreeMap::new();
    for row in &answer.rows {
        let (in_part, columns) = indexes.entry((row.text(0), row.text(1))).or_default();
        let Some(column) = row.optional(2) else { continue };
        let is_it = |one: &&(String, String, String)| one.0 == row.text(0) && one.1 == column;
        let expression = made.iter().find(is_it).map_or("", |one| &one.2);
        *in_part |= row.optional(3).is_some() || !expression.is_empty();
        columns.push(column);
        let names = expression.split('`').skip(1).step_by(2).map(str::to_owned);
        columns.extend(names);
    }
    let mut found: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for ((table, _), (in_part, columns)) in indexes {
        if in_part {
            found.entry(table).or_default().push(columns);
        }
    }
    found
}

/// Of the unique indexes that leave no NULL the one of the fewest columns.
fn best_of(unique: &[Vec<String>], fields: &[Field]) -> Vec<String> {
    let solid = |name: &String| fields.iter().any(|field| field.name == *name && !field.nullable);
    let fit = unique.iter().filter(|names| names.iter().all(solid));
    fit.min_by_key(|names| names.len()).cloned().unwrap_or_default()
}

fn foreign_keys(answer: &Answer) -> BTreeMap<String, Vec<ForeignKey>> {
    let mut found: BTreeMap<String, Vec<ForeignKey>> = BTreeMap::new();
    for row in &answer.rows {
        let keys = found.entry(row.text(0)).or_default();
        let name = row.optional(1);
        if keys.last().is_none_or(|last| last.name != name) {
            let schema = if row.text(3) == "1" { None } else { row.optional(4) };
            keys.push(ForeignKey {
                name,
                columns: Vec::new(),
                to: TableName { schema, name: row.text(5) },
                to_columns: Vec::new(),
                on_delete: row.text(7),
            });
        }
        if let Some(key) = keys.last_mut() {
            key.columns.push(row.text(2));
            key.to_columns.push(row.text(6));
        }
    }
    found
}
