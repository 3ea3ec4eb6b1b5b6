//! What `information_schema` tells of a table.

use std::sync::Arc;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Backfill, Checksums, Column, Index, IndexColumn, Table, TableKind};

use super::kind::{Kind, type_name};
use crate::literal;
use crate::session::{Answer, Cells};
use crate::target::MysqlTarget;

/// The columns of a table as they were when its backfill was planned.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    table: String,
    shape: String,
    pub(crate) columns: Arc<Vec<Column>>,
    /// What the exact text of each column's values depends on, in their order.
    forms: Arc<Vec<String>>,
}

impl Known {
    /// What the exact text of a column's values depends on; `None`: there is no such column.
    pub(crate) fn form(&self, column: &str) -> Option<&str> {
        let is_it = |one: &&Column| one.name.eq_ignore_ascii_case(column);
        let at = self.columns.iter().position(|one| is_it(&one))?;
        self.forms.get(at).map(String::as_str)
    }
}

impl MysqlTarget {
    pub(crate) async fn look_up(&mut self, name: &str) -> Result<Option<Table>, TargetError> {
        let Some((schema, table)) = self.located(name) else {
            return Ok(None);
        };
        // MySQL caches estimates for a day unless told otherwise.
        let fresh = if self.facts.is_mariadb {
            "DO 0"
        } else {
            "SET SESSION information_schema_stats_expiry = 0"
        };
        let packet = format!(
            "{fresh}; {}; {}; SELECT @@SESSION.time_zone, @@system_time_zone",
            self.select_table(&schema, &table),
            self.select_shape(&schema, &table),
        );
        let answers = self.session.run(&packet).await?;
        let [_, facts, columns, statistics, zone] = answers.as_slice() else {
            return Err(TargetError::new(ErrorKind::Bug, "the server answered too little"));
        };
        let Some(facts) = facts.rows.first() else {
            return Ok(None);
        };
        let plain = zone.rows.first().is_some_and(|row| is_fixed(&row.text(0), &row.text(1)));
        let read: Vec<Column> = columns.rows.iter().map(column).collect();
        let kind = match facts.text(2).as_str() {
            "BASE TABLE" | "SYSTEM VERSIONED" if facts.text(6).contains("partitioned") => {
                TableKind::Partitioned
            }
            "BASE TABLE" | "SYSTEM VERSIONED" => TableKind::Table,
            "VIEW" | "SYSTEM VIEW" => TableKind::View,
            _ => TableKind::Other,
        };
        Ok(Some(Table {
            name: format!("{}.{}", literal::name(&facts.text(0)), literal::name(&facts.text(1))),
            kind,
            indexes: indexes(statistics, &read, plain),
            columns: read,
            row_count_estimate: facts.number(3),
            row_bytes_estimate: facts.number(4),
            transactional: facts.text(5) == "YES",
            hides_rows: false,
            computed: columns.rows.iter().filter_map(computed).collect(),
            family: None,
            next_number: numbered(columns)
                .zip(facts.number::<u64>(7))
                .map(|(name, next)| (name, i64::try_from(next).unwrap_or(i64::MAX))),
            shape: shape(columns, statistics),
        }))
    }

    /// Database and table of a name as a user writes it, or as [`Table::name`] has it.
    pub(crate) fn located(&self, name: &str) -> Option<(String, String)> {
        match literal::name_parts(name)?.as_slice() {
            [table] => Some((self.ledger.database().to_owned(), table.clone())),
            [schema, table] => Some((schema.clone(), table.clone())),
            _ => None,
        }
    }

    fn select_table(&self, schema: &str, table: &str) -> String {
        format!(
            "SELECT t.table_schema, t.table_name, t.table_type, t.table_rows, t.avg_row_length, \
             e.transactions, LOWER(COALESCE(t.create_options, '')), t.auto_increment \
             FROM information_schema.tables t \
             LEFT JOIN information_schema.engines e ON e.engine = t.engine \
             WHERE t.table_schema = {} AND t.table_name = {}",
            literal::text(schema),
            literal::text(table)
        )
    }

    /// Two queries: the columns, the indexes.
    fn select_shape(&self, schema: &str, table: &str) -> String {
        let (schema, table) = (literal::text(schema), literal::text(table));
        let usable = if self.facts.is_mariadb { "IGNORED = 'NO'" } else { "IS_VISIBLE = 'YES'" };
        format!(
            "SELECT column_name, data_type, column_type, is_nullable, character_set_name, \
             collation_name, extra, generation_expression \
             FROM information_schema.columns \
             WHERE table_schema = {schema} AND table_name = {table} ORDER BY ordinal_position; \
             SELECT index_name, non_unique, column_name, collation, sub_part, index_type, {usable} \
             FROM information_schema.statistics \
             WHERE table_schema = {schema} AND table_name = {table} \
             ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index"
        )
    }

    /// The two queries of a table that is walked; see [`shape`].
    pub(crate) fn shape_queries(&self, work: &Backfill) -> Result<String, TargetError> {
        let (schema, table) = self.located(&work.table).ok_or_else(|| no_table(work))?;
        Ok(self.select_shape(&schema, &table))
    }

    /// The columns of the table that is walked, which must have the shape it was planned for.
    pub(crate) async fn columns(
        &mut self,
        work: &Backfill,
    ) -> Result<Arc<Vec<Column>>, TargetError> {
        if let Some(known) = &self.known
            && known.table == work.table
            && known.shape == work.shape
        {
            return Ok(Arc::clone(&known.columns));
        }
        let answers = self.session.run(&self.shape_queries(work)?).await?;
        let [columns, statistics] = answers.as_slice() else {
            return Err(TargetError::new(ErrorKind::Bug, "the server answered too little"));
        };
        require_shape(work, columns, statistics)?;
        let forms = Arc::new(columns.rows.iter().map(form).collect());
        let columns = Arc::new(columns.rows.iter().map(column).collect::<Vec<_>>());
        self.known = Some(Known {
            table: work.table.clone(),
            shape: work.shape.clone(),
            columns: Arc::clone(&columns),
            forms,
        });
        Ok(columns)
    }
}

/// Compares with what was planned.
pub(crate) fn require_shape(
    work: &Backfill,
    columns: &Answer,
    statistics: &Answer,
) -> Result<(), TargetError> {
    if shape(columns, statistics) == work.shape {
        return Ok(());
    }
    Err(TargetError::new(
        ErrorKind::ShapeChanged,
        format!("columns or keys of {} are others than when this was planned", work.table),
    )
    .help("it must be planned again"))
}

fn no_table(work: &Backfill) -> TargetError {
    TargetError::new(ErrorKind::Bug, format!("{} is no table's name", work.table))
}

/// A clock that never goes back, so that two moments never print alike.
fn is_fixed(zone: &str, system: &str) -> bool {
    let zone = if zone.eq_ignore_ascii_case("SYSTEM") { system } else { zone };
    zone.starts_with(['+', '-'])
        || ["UTC", "GMT", "Etc/UTC", "Zulu", "UCT"].iter().any(|utc| zone.eq_ignore_ascii_case(utc))
}

/// A column that the server makes itself, and from what.
fn computed(row: &Cells) -> Option<(String, String)> {
    let expression = row.optional(7).filter(|expression| !expression.is_empty());
    // ON UPDATE CURRENT_TIMESTAMP
    let touched = row.text(6).to_ascii_uppercase().contains("ON UPDATE");
    let made_from = expression.or(touched.then(String::new))?;
    Some((row.text(0), made_from))
}

/// The column with AUTO_INCREMENT.
fn numbered(columns: &Answer) -> Option<String> {
    let is_it = |row: &&Cells| row.text(6).to_ascii_uppercase().contains("AUTO_INCREMENT");
    columns.rows.iter().find(is_it).map(|row| row.text(0))
}

fn column(row: &Cells) -> Column {
    let (data_type, extra) = (row.text(1).to_ascii_lowercase(), row.text(6).to_ascii_uppercase());
    // ENUM and SET have a character set of their labels, but are walked by number.
    let collation = match (row.optional(4), row.optional(5)) {
        (Some(charset), Some(collation)) if !matches!(data_type.as_str(), "enum" | "set") => {
            Some((charset, collation))
        }
        _ => None,
    };
    let collation = collation.as_ref().map(|(charset, name)| (charset.as_str(), name.as_str()));
    let type_name = type_name(&data_type, &row.text(2), collation);
    Column {
        name: row.text(0),
        form: Kind::of(&type_name).form(&data_type),
        type_name,
        nullable: row.text(3) == "YES",
        generated: row.optional(7).is_some_and(|expression| !expression.is_empty())
            || extra.contains("GENERATED ALWAYS")
            || extra.contains("VIRTUAL")
            || extra.contains("STORED"),
        identity: false,
    }
}

/// Its type in full, but where its length or width leave texts as they are.
fn form(row: &Cells) -> String {
    let (data_type, in_full) = (row.text(1).to_ascii_lowercase(), row.text(2).to_ascii_lowercase());
    match Kind::of(&column(row).type_name) {
        Kind::Integer { .. } => "whole number".to_owned(),
        Kind::Text { charset, .. } => format!("text {charset}"),
        Kind::Bytes if data_type != "binary" => "bytes".to_owned(),
        _ => in_full,
    }
}

fn indexes(statistics: &Answer, columns: &[Column], moments_are_plain: bool) -> Vec<Index> {
    let mut indexes: Vec<Index> = Vec::new();
    for row in &statistics.rows {
        let name = row.text(0);
        let column = IndexColumn {
            name: row.optional(2),
            descending: row.text(3) == "D",
            prefix: row.optional(4).is_some(),
        };
        let unusable = unusable(row, column.name.as_deref(), columns, moments_are_plain);
        match indexes.last_mut().filter(|index| index.name == name) {
            Some(index) => {
                index.columns.push(column);
                index.unusable = index.unusable.take().or(unusable);
            }
            None => indexes.push(Index {
                primary: name == "PRIMARY",
                name,
                columns: vec![column],
                unique: row.text(1) == "0",
                unusable,
            }),
        }
    }
    indexes
}

fn unusable(
    row: &Cells,
    name: Option<&str>,
    columns: &[Column],
    moments_are_plain: bool,
) -> Option<String> {
    let kind = row.text(5);
    if kind != "BTREE" {
        return Some(format!("it is of the kind {kind}, which has no order"));
    }
    if row.text(6) != "1" {
        return Some("the server was told to ignore it".to_owned());
    }
    let column = columns.iter().find(|column| Some(column.name.as_str()) == name)?;
    let reason = Kind::of(&column.type_name).unusable(moments_are_plain)?;
    Some(format!("its column {} {reason}", column.name))
}

/// A hash of columns, types and unique keys. Other indexes come and go without harm.
pub(crate) fn shape(columns: &Answer, statistics: &Answer) -> String {
    let mut text = String::new();
    let mut add = |row: &Cells, width: usize| {
        for cell in 0..width {
            let value = row.optional(cell);
            text.push_str(&value.map_or_else(|| "-".to_owned(), |v| format!("{}:{v}", v.len())));
            text.push(',');
        }
        text.push('\n');
    };
    for row in &columns.rows {
        add(row, 8);
    }
    for row in statistics.rows.iter().filter(|row| row.text(1) == "0") {
        add(row, 6);
    }
    Checksums::of_bytes(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::is_fixed;

    #[test]
    fn clocks_that_go_back_are_told() {
        assert!(is_fixed("SYSTEM", "UTC"));
        assert!(is_fixed("+02:00", "CEST"));
        assert!(!is_fixed("SYSTEM", "CEST"));
        assert!(!is_fixed("Europe/Berlin", "UTC"));
    }
}
