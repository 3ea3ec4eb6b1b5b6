//! How a table is ordered by the index that it is walked by, and the types of its columns: read
//! once for a backfill, since all SQL over ranges is built from it.
//!
//! Operators, collations and types are named with their schemas. An index may have an operator
//! class or a collation of its own, and an extension's type may live where no search path leads.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::Backfill;

use crate::quote;
use crate::rows::{boolean, field, number, required};
use crate::session::Session;

/// One column of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyPart {
    /// Its name, quoted.
    pub(super) name: String,
    /// What a literal of it is cast to.
    pub(super) type_name: String,
    /// The index's collation, where it isn't the column's.
    pub(super) collation: Option<String>,
    /// The index's operators for `<`, `<=`, `=`, `>=`, `>`.
    pub(super) operators: [String; 5],
    /// The walk goes from high to low.
    pub(super) descending: bool,
    /// In the order of the walk NULLs come first.
    pub(super) nulls_first: bool,
    /// It may be NULL.
    pub(super) nullable: bool,
}

/// One column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnType {
    /// What a literal of it is cast to.
    pub(super) type_name: String,
    /// It can't be written at all.
    pub(super) computed: bool,
    /// An identity that is always generated: an INSERT may give it its value, an UPDATE may not.
    pub(super) identity: bool,
    /// What the text of its values depends on: its type, with its length and precision but where
    /// those, or the width, leave texts as they are.
    pub(super) form: String,
}

/// A table as one backfill sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    table: String,
    index: String,
    shape: String,
    /// The key, in the order of the walk.
    pub(super) parts: Vec<KeyPart>,
    /// Its columns, by name.
    pub(super) columns: BTreeMap<String, ColumnType>,
}

impl Layout {
    fn fits(&self, work: &Backfill) -> bool {
        self.table == work.table
            && self.index == work.index
            && self.shape == work.shape
            && self.parts.len() == work.key.len()
            && self.parts.iter().zip(&work.key).all(|(part, key)| {
                part.name == quote::name(&key.name) && part.descending == key.descending
            })
    }
}

/// The layout that is known, or that of the catalogue.
pub(super) async fn of(
    session: &mut Session,
    known: &mut Option<Arc<Layout>>,
    work: &Backfill,
) -> Result<Arc<Layout>, TargetError> {
    if let Some(layout) = known.as_ref().filter(|layout| layout.fits(work)) {
        return Ok(Arc::clone(layout));
    }
    let layout = Arc::new(read(session, work).await?);
    *known = Some(Arc::clone(&layout));
    Ok(layout)
}

async fn read(session: &mut Session, work: &Backfill) -> Result<Layout, TargetError> {
    session.clean().await?;
    let table = quote::text(&work.table);
    // With nothing on the search path every type that isn't the server's own comes out qualified.
    let sql = format!(
        "BEGIN READ ONLY;SET LOCAL search_path TO '';\
         SELECT a.attname, pg_catalog.format_type(a.atttypid, -1), \
         CASE WHEN i.indcollation[k] NOT IN (0, a.attcollation) THEN (SELECT \
         pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.collname) \
         FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace \
         WHERE c.oid = i.indcollation[k]) END, \
         (i.indoption[k] & 1) = 1, (i.indoption[k] & 2) = 2, NOT a.attnotnull, \
         o.strategy, o.operator \
         FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid \
         CROSS JOIN LATERAL pg_catalog.generate_series(0, i.indnkeyatts - 1) AS k \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k] \
         JOIN pg_catalog.pg_opclass q ON q.oid = i.indclass[k] \
         CROSS JOIN LATERAL (SELECT m.amopstrategy AS strategy, 'OPERATOR(' || \
         pg_catalog.quote_ident(n.nspname) || '.' || p.oprname || ')' AS operator \
         FROM pg_catalog.pg_amop m JOIN pg_catalog.pg_operator p ON p.oid = m.amopopr \
         JOIN pg_catalog.pg_namespace n ON n.oid = p.oprnamespace \
         WHERE m.amopfamily = q.opcfamily AND m.amoplefttype = q.opcintype \
         AND m.amoprighttype = q.opcintype AND m.amopstrategy BETWEEN 1 AND 5) AS o \
         WHERE i.indrelid = pg_catalog.to_regclass({table}) AND x.relname = {index} \
         ORDER BY k, o.strategy;\
         SELECT a.attname, pg_catalog.format_type(a.atttypid, -1), a.attgenerated <> '', \
         a.attidentity = 'a', CASE WHEN a.atttypid IN (20, 21, 23) THEN 'whole number' \
         WHEN a.atttypid IN (25, 1043) THEN 'text' \
         ELSE pg_catalog.format_type(a.atttypid, a.atttypmod) END \
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = pg_catalog.to_regclass({table}) \
         AND a.attnum > 0 AND NOT a.attisdropped;COMMIT",
        index = quote::text(&work.index),
    );
    let answers = match session.ask(&sql).await {
        Ok(answers) => answers,
        Err(error) => {
            session.rollback().await;
            return Err(error);
        }
    };
    let rows_of = |index: usize| answers.get(index).map(|a| a.rows.as_slice()).unwrap_or_default();
    let mut parts = Vec::new();
    for key in &work.key {
        let mut operators = <[String; 5]>::default();
        let mut found = None;
        for row in rows_of(2) {
            if required(row, 0)? != key.name {
                continue;
            }
            let strategy: usize = number(row, 6)?;
            if let Some(operator) = operators.get_mut(strategy.saturating_sub(1)) {
                required(row, 7)?.clone_into(operator);
            }
            found = Some(row);
        }
        let Some(row) = found.filter(|_| operators.iter().all(|o| !o.is_empty())) else {
            return Err(gone(work));
        };
        let reversed = boolean(row, 3)? != key.descending;
        parts.push(KeyPart {
            name: quote::name(&key.name),
            type_name: required(row, 1)?.to_owned(),
            collation: field(row, 2)?.map(str::to_owned),
            operators,
            descending: key.descending,
            nulls_first: boolean(row, 4)? != reversed,
            nullable: boolean(row, 5)?,
        });
    }
    let mut columns = BTreeMap::new();
    for row in rows_of(3) {
        let column = ColumnType {
            type_name: required(row, 1)?.to_owned(),
            computed: boolean(row, 2)?,
            identity: boolean(row, 3)?,
            form: required(row, 4)?.to_owned(),
        };
        columns.insert(required(row, 0)?.to_owned(), column);
    }
    Ok(Layout {
        table: work.table.clone(),
        index: work.index.clone(),
        shape: work.shape.clone(),
        parts,
        columns,
    })
}

fn gone(work: &Backfill) -> TargetError {
    TargetError::new(
        ErrorKind::ShapeChanged,
        format!("{} has no index `{}` over the key any more", work.table, work.index),
    )
    .help("run the same command again: it plans with the table as it is now")
}
