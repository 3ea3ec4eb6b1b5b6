//! Many rows of ours beside the table's, in one statement.
//!
//! 10,000 rows are updated in about 50 ms by one UPDATE that joins a derived table of literals; as
//! many statements of one row each take more than ten times as long.

use dunlin_engine::TargetError;
use dunlin_model::{Backfill, Key};

use super::range::KeySql;

/// So many rows go into one statement at most; the packet's size is the other limit.
const ROWS_MAX: usize = 10_000;

/// What the literals of one column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Literals {
    /// Texts, of any length.
    Texts,
    /// Bytes, of any length.
    Bytes,
    /// Numbers.
    Numbers,
}

impl Literals {
    /// A NULL that gives a column its type. MariaDB takes a plain one for a BLOB of two bytes' length
    /// once a value is long, and keeps of longer ones what is left of their length by 65,536; of a
    /// type with more room it keeps all.
    fn null(self) -> &'static str {
        match self {
            Self::Texts => "CAST(NULL AS CHAR(16777216) CHARACTER SET utf8mb4)",
            Self::Bytes => "CAST(NULL AS BINARY(16777216))",
            Self::Numbers => "NULL",
        }
    }
}

/// Rows of literals: their number, their key, and more columns.
#[derive(Debug)]
pub(crate) struct Derived {
    key: KeySql,
    is_mariadb: bool,
    /// Their names, each behind a NULL of its type.
    names: Vec<String>,
    rows: Vec<String>,
}

impl Derived {
    /// An empty one, with these columns `c0`, `c1` … besides the key.
    pub(crate) fn new(work: &Backfill, is_mariadb: bool, columns: &[Literals]) -> Self {
        let key = KeySql::of(work);
        let mut names = vec!["NULL AS i".to_owned()];
        // No index has keys as long as that.
        names.extend((0..work.key.len()).map(|column| format!("NULL AS k{column}")));
        let columns = columns.iter().enumerate();
        names.extend(columns.map(|(at, literals)| format!("{} AS c{at}", literals.null())));
        Self { key, is_mariadb, names, rows: Vec::new() }
    }

    /// Adds a row; `number` names it in answers.
    pub(crate) fn push(
        &mut self,
        number: usize,
        key: &Key,
        literals: &[String],
    ) -> Result<(), TargetError> {
        let mut values = vec![number.to_string()];
        if key.0.len() != self.key.columns().len() {
            return Err(super::kind::no_key());
        }
        for (kind, text) in self.key.kinds().zip(&key.0) {
            values.push(kind.derived_key(text)?);
        }
        values.extend(literals.iter().cloned());
        self.rows.push(values.join(", "));
        Ok(())
    }

    /// The condition under which a row of the table `t` is a row `d` of ours.
    pub(crate) fn joined(&self) -> String {
        let columns = self.key.columns().iter().enumerate();
        let equal = columns.map(|(number, (column, kind))| {
            format!(
                "t.{} = {}",
                crate::literal::name(&column.name),
                kind.joined_key(&format!("d.k{number}"))
            )
        });
        equal.collect::<Vec<_>>().join(" AND ")
    }

    /// The derived tables, each short enough for a packet with `rest` more bytes.
    pub(crate) fn tables(&self, packet_bytes_max: usize, rest: usize) -> Vec<String> {
        let room = packet_bytes_max.saturating_sub(rest + 4096);
        let mut tables = Vec::new();
        let mut batch: Vec<&str> = Vec::new();
        let mut bytes = 0;
        for row in &self.rows {
            if !batch.is_empty() && (bytes + row.len() + 8 > room || batch.len() >= ROWS_MAX) {
                tables.push(self.table(&batch));
                batch.clear();
                bytes = 0;
            }
            bytes += row.len() + 8;
            batch.push(row);
        }
        if !batch.is_empty() {
            tables.push(self.table(&batch));
        }
        tables
    }

    fn table(&self, rows: &[&str]) -> String {
        // A SELECT that answers nothing gives the columns their names.
        let values: Vec<String> = rows
            .iter()
            .map(|row| if self.is_mariadb { format!("({row})") } else { format!("ROW({row})") })
            .collect();
        format!(
            "(SELECT {} FROM DUAL WHERE 1 = 0 UNION ALL VALUES {}) d",
            self.names.join(", "),
            values.join(", ")
        )
    }
}
