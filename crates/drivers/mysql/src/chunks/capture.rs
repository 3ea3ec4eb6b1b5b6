//! Old values, kept in the chunk's transaction, and put back.
//!
//! Invariants: what is kept was read under locks that last until the COMMIT; rows that the
//! statements did not change are not kept; a row is put back only where it is exactly as the chunk
//! left it.

use std::collections::BTreeSet;

use dunlin_engine::{ErrorKind, TargetError, Undone, failpoint};
use dunlin_model::{Backfill, Column, Key, KeyRange, Lease, RowChange};

use super::commit::key_hash;
use super::derived::Derived;
use super::kind::Kind;
use super::range::KeySql;
use super::walk::{first_number, too_little};
use crate::facts::require_writable;
use crate::ledger::BEGIN;
use crate::literal::{self, text};
use crate::session::Cells;
use crate::target::{MysqlTarget, fence_failure};
use crate::work::{WorkSession, lock_timeout};

/// SQL that keeps the old values of one chunk.
#[derive(Debug)]
pub(crate) struct Capturing {
    /// The INSERT, up to the rows `t` that it takes.
    insert: String,
    /// Which rows are taken where a statement of the user's may change any of the range.
    rows: String,
    /// What is done afterwards; `FIRST` stands for the number of the first row kept.
    after: String,
}

/// The number of the first row kept; 0: none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct First(u64);

const FIRST: &str = "/*first*/";

/// Statements of ours are strict, whatever the user's run under.
const STRICT: &str = "SET @dunlin_sql_mode = @@SESSION.sql_mode, \
     @dunlin_safe_updates = @@SESSION.sql_safe_updates; \
     SET SESSION sql_mode = 'STRICT_ALL_TABLES', sql_safe_updates = 0";

const BACK: &str =
    "SET SESSION sql_mode = @dunlin_sql_mode, sql_safe_updates = @dunlin_safe_updates";

/// A list of exact texts as JSON. They hold nothing that JSON escapes.
fn list(columns: &[(&Column, Kind)], alias: &str) -> String {
    let texts: Vec<String> = columns
        .iter()
        .map(|(column, kind)| {
            let exact = kind.exact(&format!("{alias}.{}", literal::name(&column.name)));
            format!("IFNULL(CONCAT('\"', {exact}, '\"'), 'null')")
        })
        .collect();
    format!("CONCAT('[', CONCAT_WS(',', {}), ']')", texts.join(", "))
}

fn kept<'a>(
    work: &Backfill,
    columns: &'a [Column],
) -> Result<Vec<(&'a Column, Kind)>, TargetError> {
    let names = work.capture.iter().flat_map(|capture| &capture.columns);
    names
        .map(|name| {
            let column = columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
            column.map(|column| (column, Kind::of(&column.type_name))).ok_or_else(|| {
                TargetError::new(ErrorKind::Bug, format!("{} has no column {name}", work.table))
            })
        })
        .collect()
}

impl MysqlTarget {
    pub(crate) async fn capturing(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
    ) -> Result<Capturing, TargetError> {
        let columns = self.columns(work).await?;
        self.capturing_of(work, &columns, range)
    }

    fn capturing_of(
        &self,
        work: &Backfill,
        columns: &[Column],
        range: &KeyRange,
    ) -> Result<Capturing, TargetError> {
        let kept = kept(work, columns)?;
        let key = KeySql::of(work);
        let keep = work.capture.as_ref().map(|capture| capture.keep).unwrap_or_default();
        let (job, pass) = (text(&format!("data/{}", work.id.version)), work.pass);
        let table = self.ledger.table("captured");
        let encoded = key.encoded(Some("t"));
        let values = list(&kept, "t");
        let condition = key.range(Some("t"), range)?;
        let filter = work.filter.as_ref().map(|f| format!(" AND ({f}\n)")).unwrap_or_default();
        let walked = format!("{} t FORCE INDEX ({})", work.table, literal::name(&work.index));
        let insert = format!(
            "INSERT INTO {table} (job, pass, `key`, key_hash, old_values, forget_at) \
             SELECT {job}, {pass}, {encoded}, {}, {values}, UTC_TIMESTAMP(6) + INTERVAL {} SECOND",
            key_hash(&encoded),
            keep.as_secs(),
        );
        let rows = format!("FROM {walked} WHERE {condition}{filter} FOR UPDATE");
        // The key may not change, so the range still holds every row that is left. Other lanes keep
        // rows at the same time, so ours are told by their keys, and from those of earlier walks by
        // their numbers.
        let joined = format!(
            "{walked} STRAIGHT_JOIN {table} c ON c.job = {job} AND c.pass = {pass} \
             AND c.key_hash = {} AND c.number >= {FIRST}",
            key_hash(&encoded)
        );
        let after = format!(
            "{STRICT}; UPDATE {joined} SET c.new_values = {values} WHERE {condition}; \
             DELETE c FROM {joined} WHERE {condition} AND c.new_values = c.old_values; {BACK}",
        );
        Ok(Capturing { insert, rows, after })
    }
}

impl Capturing {
    pub(crate) async fn before(&self, session: &mut WorkSession) -> Result<First, TargetError> {
        self.keep(session, &self.rows).await
    }

    async fn keep(&self, session: &mut WorkSession, rows: &str) -> Result<First, TargetError> {
        let packet = format!("{STRICT}; {} {rows}; SELECT LAST_INSERT_ID(); {BACK}", self.insert);
        let answers = session.session.run_rows(&packet).await?;
        let [_, _, inserted, number, _] = answers.as_slice() else {
            return Err(too_little());
        };
        let first = first_number(std::slice::from_ref(number)).unwrap_or_default();
        Ok(First(if inserted.affected == 0 { 0 } else { first }))
    }

    pub(crate) async fn after(
        &self,
        session: &mut WorkSession,
        first: First,
    ) -> Result<(), TargetError> {
        if first.0 == 0 {
            return Ok(());
        }
        let packet = self.after.replace(FIRST, &first.0.to_string());
        session.session.run_rows(&packet).await.map(drop)
    }
}

impl MysqlTarget {
    /// Keeps the old values of the rows that are about to be set, which are locked; what is to be
    /// done afterwards, and from which number on. Rows that are left alone are not kept.
    pub(crate) async fn keep_rows(
        &self,
        session: &mut WorkSession,
        work: &Backfill,
        columns: &[Column],
        range: &KeyRange,
        changes: &[RowChange],
    ) -> Result<Option<(Capturing, First)>, TargetError> {
        if work.capture.is_none() {
            return Ok(None);
        }
        let mut given = Derived::new(work, self.facts.is_mariadb, 0);
        for (number, change) in changes.iter().enumerate().filter(|(_, one)| !one.set.is_empty()) {
            given.push(number, &change.key, &[])?;
        }
        let capturing = self.capturing_of(work, columns, range)?;
        let rest = format!("STRAIGHT_JOIN {} t ON {} FOR UPDATE", work.table, given.joined());
        let room = capturing.insert.len() + rest.len();
        let mut first = First(0);
        for table in given.tables(session.session.packet_bytes_max, room) {
            let kept = capturing.keep(session, &format!("FROM {table} {rest}")).await?;
            // Numbers grow, so those of the later ones are behind the first.
            if first.0 == 0 {
                first = kept;
            }
        }
        Ok(Some((capturing, first)))
    }
}

/// One captured row.
#[derive(Debug)]
struct Captured {
    number: u64,
    key: Key,
    old: Vec<Option<String>>,
    new: Option<String>,
}

impl Captured {
    fn read(row: &Cells) -> Option<Self> {
        Some(Self {
            number: row.number(0)?,
            key: Key::decode(&row.text(1))?,
            old: serde_json::from_str(&row.text(2)).ok()?,
            new: row.optional(3),
        })
    }
}

impl MysqlTarget {
    pub(crate) async fn undo(
        &mut self,
        lease: &mut Lease,
        work: &Backfill,
        count_max: u64,
    ) -> Result<Undone, TargetError> {
        require_writable(&self.facts)?;
        let columns = self.columns(work).await?;
        let mut session = self.take_work().await?;
        let result = self.undo_on(&mut session, lease, work, &columns, count_max).await;
        let undone = self.concluded(session, result).await?;
        lease.count_commit();
        Ok(undone)
    }

    async fn undo_on(
        &self,
        session: &mut WorkSession,
        lease: &Lease,
        work: &Backfill,
        columns: &[Column],
        count_max: u64,
    ) -> Result<Undone, TargetError> {
        session.prepare_rows().await?;
        let packet =
            format!("{}; {BEGIN}{}DO 0", lock_timeout(work.lock_timeout), self.ledger.fence(lease));
        if let Err(error) = session.session.run(&packet).await {
            return Err(session.session.rolled_back(fence_failure(error, lease)).await);
        }
        match self.put_values_back(session, work, columns, count_max).await {
            Ok(undone) => {
                failpoint("undo.executed");
                super::commit::commit(session).await?;
                failpoint("undo.done");
                Ok(undone)
            }
            Err(error) => Err(session.session.rolled_back(error).await),
        }
    }

    async fn put_values_back(
        &self,
        session: &mut WorkSession,
        work: &Backfill,
        columns: &[Column],
        count_max: u64,
    ) -> Result<Undone, TargetError> {
        let table = self.ledger.table("captured");
        let of = format!(
            "job = {} AND pass = {}",
            text(&format!("data/{}", work.id.version)),
            work.pass
        );
        let query = format!(
            "SELECT number, `key`, old_values, new_values FROM {table} WHERE {of} \
             ORDER BY number DESC LIMIT {count_max}"
        );
        let answers = session.session.run_rows(&query).await?;
        let read = answers.iter().flat_map(|answer| &answer.rows).map(Captured::read);
        let read: Option<Vec<Captured>> = read.collect();
        // A row that was kept twice goes back step by step.
        let mut keys = BTreeSet::new();
        let rows: Vec<Captured> = read
            .ok_or_else(super::kind::no_key)?
            .into_iter()
            .take_while(|row| keys.insert(row.key.clone()))
            .collect();
        let mut undone = Undone::default();
        if rows.is_empty() {
            return Ok(undone);
        }
        undone.restored = self.restore(session, work, columns, &rows).await?;
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        undone.changed_since = count.saturating_sub(undone.restored);
        let numbers: Vec<String> = rows.iter().map(|row| row.number.to_string()).collect();
        // How far the undo is, in the transaction of what it did: a death can't make the two differ.
        let counted = format!(
            "UPDATE {} SET rows_before = rows_before + {}, row_count_estimate = \
             COALESCE(row_count_estimate, 0) + {count} WHERE job = {}",
            self.ledger.table("backfills"),
            undone.restored,
            text(&format!("data/{}", work.id.version)),
        );
        let packet = format!(
            "{counted}; DELETE FROM {table} WHERE number IN ({}); SELECT EXISTS (SELECT 1 FROM \
             {table} WHERE {of})",
            numbers.join(", ")
        );
        let answers = session.session.run_rows(&packet).await?;
        undone.left = answers.get(2..).and_then(first_number) == Some(1);
        Ok(undone)
    }

    /// Writes the old values of rows that are as the chunk left them; how many.
    async fn restore(
        &self,
        session: &mut WorkSession,
        work: &Backfill,
        columns: &[Column],
        rows: &[Captured],
    ) -> Result<u64, TargetError> {
        let kept = kept(work, columns)?;
        let mut changed = Derived::new(work, self.facts.is_mariadb, kept.len() + 1);
        let mut deleted = Derived::new(work, self.facts.is_mariadb, kept.len() + 1);
        for (number, row) in rows.iter().enumerate() {
            if row.old.len() != kept.len() {
                return Err(super::kind::no_key());
            }
            let mut literals = vec![literal::optional_text(row.new.as_deref())];
            for ((_, kind), value) in kept.iter().zip(&row.old) {
                literals.push(match value {
                    Some(value) => kind.exact_literal(value)?,
                    None => "NULL".to_owned(),
                });
            }
            let into = if row.new.is_some() { &mut changed } else { &mut deleted };
            into.push(number, &row.key, &literals)?;
        }
        let written: Vec<(usize, &(&Column, Kind))> =
            kept.iter().enumerate().filter(|(_, (column, _))| !column.generated).collect();
        let mut restored = 0;
        let limit = session.session.packet_bytes_max;
        let sets: Vec<String> = written
            .iter()
            .map(|(at, (column, kind))| {
                let value = kind.restored(&format!("d.c{}", at + 1));
                format!("t.{} = {value}", literal::name(&column.name))
            })
            .collect();
        let (sets, now) = (sets.join(", "), list(&kept, "t"));
        for table in changed.tables(limit, sets.len() + now.len()) {
            let update = format!(
                "UPDATE {table} STRAIGHT_JOIN {} t ON {} SET {sets} \
                 WHERE BINARY {now} = BINARY d.c0",
                work.table,
                changed.joined()
            );
            restored += affected(&session.session.run_rows(&update).await?);
        }
        let insert = reinsertion(work, &written, &deleted);
        for table in deleted.tables(limit, insert.len()) {
            let insert = insert.replace(DERIVED, &table);
            restored += affected(&session.session.run_rows(&insert).await?);
        }
        Ok(restored)
    }
}

const DERIVED: &str = "/*derived*/";

/// Inserts deleted rows whose keys nobody has taken since.
fn reinsertion(
    work: &Backfill,
    written: &[(usize, &(&Column, Kind))],
    deleted: &Derived,
) -> String {
    let mut names: Vec<String> = Vec::new();
    let mut values: Vec<String> = Vec::new();
    for (at, (column, kind)) in written {
        names.push(literal::name(&column.name));
        values.push(kind.restored(&format!("d.c{}", at + 1)));
    }
    for (number, (column, kind)) in KeySql::of(work).columns().iter().enumerate() {
        let name = literal::name(&column.name);
        if !names.contains(&name) {
            names.push(name);
            values.push(kind.joined_key(&format!("d.k{number}")));
        }
    }
    format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {DERIVED} \
         WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {})",
        names.join(", "),
        values.join(", "),
        deleted.joined(),
        table = work.table,
    )
}

fn affected(answers: &[crate::session::Answer]) -> u64 {
    answers.iter().map(|answer| answer.affected).sum()
}
