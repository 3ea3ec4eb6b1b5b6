//! Rows into a table, and out of it by their keys.
//!
//! No statement here replaces or ignores rows: which keys are there is asked first, by locking
//! reads.

use arrow::record_batch::RecordBatch;
use dunlin_engine::TargetError;
use dunlin_engine::moves::{ReadRows, Refused, Written};
use dunlin_model::moves::{Field, ValueType};

use super::read::Filling;
use super::refused::{Deed, asked, halved, whole};
use super::table::Table;
use super::{bug, encode, kind};
use crate::literal;
use crate::session::Session;

/// A batch's rows as literals.
pub(super) struct Given<'a> {
    table: &'a Table,
    fields: Vec<&'a Field>,
    /// The key's places.
    key: Vec<usize>,
    /// Of each row; or why it can't be stored.
    rows: Vec<Result<Vec<String>, String>>,
}

impl<'a> Given<'a> {
    /// Whole rows.
    pub(super) fn rows(
        table: &'a Table,
        into: &'a Written,
        rows: &RecordBatch,
    ) -> Result<Self, TargetError> {
        Self::new(table, into.fields.iter().collect(), into.key.clone(), rows)
    }

    /// Keys alone.
    pub(super) fn keys(
        table: &'a Table,
        of: &'a Written,
        keys: &RecordBatch,
    ) -> Result<Self, TargetError> {
        let fields: Vec<&Field> = of.key.iter().filter_map(|place| of.fields.get(*place)).collect();
        let key = (0..fields.len()).collect();
        Self::new(table, fields, key, keys)
    }

    fn new(
        table: &'a Table,
        fields: Vec<&'a Field>,
        key: Vec<usize>,
        rows: &RecordBatch,
    ) -> Result<Self, TargetError> {
        if key.is_empty() || key.iter().any(|place| *place >= fields.len()) {
            return Err(bug(format!("{} is written without a key among its columns", table.name)));
        }
        let cells = encode::columns(&fields, rows)?;
        let row = |row: usize| cells.iter().map(|cells| cells.literal(row)).collect();
        let rows = (0..rows.num_rows()).map(row).collect();
        Ok(Self { table, fields, key, rows })
    }

    /// The rows that can be stored, and why the others can't.
    pub(super) fn sorted(&self) -> (Vec<u32>, Vec<(u32, String)>) {
        let (mut open, mut refused) = (Vec::new(), Vec::new());
        for (number, row) in (0..).zip(&self.rows) {
            match row {
                Ok(_) => open.push(number),
                Err(why) => refused.push((number, why.clone())),
            }
        }
        (open, refused)
    }

    fn literals(&self, row: u32) -> &[String] {
        match self.rows.get(row as usize) {
            Some(Ok(literals)) => literals,
            _ => &[],
        }
    }

    /// About how many bytes a row has as SQL.
    pub(super) fn bytes(&self, row: u32) -> usize {
        self.literals(row).iter().map(|literal| literal.len() + 2).sum::<usize>() + 4
    }

    /// About how many bytes a statement has beside its values.
    pub(super) fn head_bytes(&self) -> usize {
        let names: usize = self.fields.iter().map(|field| field.name.len() * 4 + 80).sum();
        names + self.table.sql.len() + 80
    }

    /// What only the row of that key is. `exact`: as we compare keys, and not as the table's
    /// collation does, to which `a` and `A` may be the same.
    pub(super) fn is(&self, row: u32, alias: &str, exact: bool) -> String {
        let literals = self.literals(row);
        let mut terms = Vec::with_capacity(self.key.len());
        for place in &self.key {
            let (Some(field), Some(literal)) = (self.fields.get(*place), literals.get(*place))
            else {
                continue;
            };
            let name = format!("{alias}{}", literal::name(&field.name));
            terms.push(format!("{name} = {literal}"));
            if exact && matches!(field.value_type, ValueType::Text { .. } | ValueType::Enum(_)) {
                terms.push(format!("{} = CAST({literal} AS BINARY)", kind::bytes_of(&name)));
            }
        }
        terms.join(" AND ")
    }

    /// Those of the rows whose key is there. They are locked.
    pub(super) async fn there(
        &self,
        session: &mut Session,
        rows: &[u32],
        exact: bool,
    ) -> Result<Vec<u32>, TargetError> {
        let sql = |row: &u32| {
            format!(
                "SELECT 1 FROM {} WHERE {} FOR UPDATE",
                self.table.sql,
                self.is(*row, "", exact)
            )
        };
        let answers = asked(session, rows.iter().map(sql).collect()).await?;
        let found = rows.iter().zip(answers).filter(|(_, answer)| !answer.rows.is_empty());
        Ok(found.map(|(row, _)| *row).collect())
    }

    pub(super) fn insert(&self, rows: &[u32]) -> String {
        let names: Vec<String> =
            self.fields.iter().map(|field| literal::name(&field.name)).collect();
        let mut sql = format!("INSERT INTO {} ({}) VALUES ", self.table.sql, names.join(", "));
        for (place, row) in rows.iter().enumerate() {
            if place > 0 {
                sql.push_str(", ");
            }
            sql.push('(');
            sql.push_str(&self.literals(*row).join(", "));
            sql.push(')');
        }
        sql
    }

    pub(super) fn update(&self, row: u32) -> String {
        let literals = self.literals(row);
        let others = self.fields.iter().zip(literals).enumerate();
        let set: Vec<String> = others
            .filter(|(place, _)| !self.key.contains(place))
            .map(|(_, (field, literal))| format!("{} = {literal}", literal::name(&field.name)))
            .collect();
        format!("UPDATE {} SET {} WHERE {}", self.table.sql, set.join(", "), self.is(row, "", true))
    }

    pub(super) fn delete(&self, row: u32) -> String {
        format!("DELETE FROM {} WHERE {}", self.table.sql, self.is(row, "", true))
    }
}

/// Inserts rows, all or none.
pub(super) async fn load(
    session: &mut Session,
    table: &Table,
    into: &Written,
    rows: &RecordBatch,
) -> Result<(), TargetError> {
    let given = Given::rows(table, into, rows)?;
    let (open, refused) = given.sorted();
    if let Some((_, why)) = refused.first() {
        let message = format!("a row for {}: {why}", table.name);
        let mut error = TargetError::new(dunlin_engine::ErrorKind::Statement, message);
        error.by_row = true;
        return Err(error);
    }
    whole(session, Deed::Insert(&given), open).await
}

/// Inserts rows whose key isn't there.
pub(super) async fn insert(
    session: &mut Session,
    table: &Table,
    into: &Written,
    rows: &RecordBatch,
) -> Result<Refused, TargetError> {
    let given = Given::rows(table, into, rows)?;
    let (mut open, rejected) = given.sorted();
    let there = given.there(session, &open, false).await?;
    open.retain(|row| there.binary_search(row).is_err());
    let refused = halved(session, Deed::Insert(&given), open).await?;
    Ok(joined(refused, there, rejected))
}

/// Updates rows by their key.
pub(super) async fn update(
    session: &mut Session,
    table: &Table,
    into: &Written,
    rows: &RecordBatch,
) -> Result<Refused, TargetError> {
    let given = Given::rows(table, into, rows)?;
    let (open, rejected) = given.sorted();
    if into.fields.len() > into.key.len() {
        let refused = halved(session, Deed::Update(&given), open).await?;
        return Ok(joined(refused, Vec::new(), rejected));
    }
    // All of the row is its key.
    let there = given.there(session, &open, true).await?;
    let absent = open.into_iter().filter(|row| there.binary_search(row).is_err()).collect();
    Ok(joined(Refused::default(), absent, rejected))
}

/// Reads rows by their key.
pub(super) async fn fetch(
    session: &mut Session,
    table: &Table,
    from: &Written,
    keys: &RecordBatch,
    lock: bool,
) -> Result<ReadRows, TargetError> {
    let given = Given::keys(table, from, keys)?;
    // A key that can't be stored is that of no row.
    let (open, _) = given.sorted();
    let list: Vec<String> = from.fields.iter().map(kind::selected).collect();
    let lock = if lock { " FOR UPDATE" } else { "" };
    let sql = |row: &u32| {
        let key = given.is(*row, "", true);
        format!("SELECT {} FROM {} WHERE {key}{lock}", list.join(", "), table.sql)
    };
    let answers = asked(session, open.iter().map(sql).collect()).await?;
    let mut filling = Filling::new(&from.fields, true)?;
    for row in answers.iter().flat_map(|answer| &answer.rows) {
        filling.push((0..row.width()).map(|place| row.bytes(place)));
    }
    filling.finish()
}

/// Finds rows by columns that need not be unique.
pub(super) async fn find(
    session: &mut Session,
    table: &Table,
    from: &Written,
    values: &RecordBatch,
) -> Result<(Vec<u32>, RecordBatch), TargetError> {
    let given = Given::keys(table, from, values)?;
    // What can't be stored is in no row.
    let (open, _) = given.sorted();
    let list: Vec<String> = from.fields.iter().map(kind::selected).collect();
    let sql = |row: &u32| {
        let by = given.is(*row, "", false);
        format!("SELECT {} FROM {} WHERE {by} LIMIT 2", list.join(", "), table.sql)
    };
    let answers = asked(session, open.iter().map(sql).collect()).await?;
    let mut filling = Filling::new(&from.fields, true)?;
    let mut places = Vec::new();
    for (place, answer) in open.iter().zip(&answers) {
        for row in &answer.rows {
            places.push(*place);
            filling.push((0..row.width()).map(|place| row.bytes(place)));
        }
    }
    Ok((places, filling.finish()?.whole(&table.name.to_string())?))
}

/// All that was refused, in order.
pub(super) fn joined(
    mut refused: Refused,
    absent_or_there: Vec<u32>,
    rejected: Vec<(u32, String)>,
) -> Refused {
    refused.absent_or_there.extend(absent_or_there);
    refused.rejected.extend(rejected);
    refused.absent_or_there.sort_unstable();
    refused.rejected.sort_unstable();
    refused
}
