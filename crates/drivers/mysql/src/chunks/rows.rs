//! Rows that go through a program of the user's.
//!
//! Invariants: rows are read and compared under the same settings, ours; a row's version is a hash
//! over all of its columns, computed by the server; nothing is written while a row is another than
//! it was read.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_engine::{Chunk, Committed, ErrorKind, Gathered, RowsOutcome, TargetError, failpoint};
use dunlin_model::{Backfill, Column, Key, KeyRange, Lease, Row, RowChange};

use super::commit::{commit, key_hash};
use super::derived::{Derived, Literals};
use super::kind::Kind;
use super::range::KeySql;
use super::walk::key_of;
use crate::facts::require_writable;
use crate::literal::{self, text};
use crate::session::Cells;
use crate::target::MysqlTarget;
use crate::work::WorkSession;

/// SQL for a row's version.
fn version(columns: &[Column], alias: &str) -> String {
    let texts: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = format!("{alias}.{}", literal::name(&column.name));
            format!("IFNULL({}, '-')", Kind::of(&column.type_name).digest(&name))
        })
        .collect();
    format!("SHA2(CONCAT_WS(',', {}), 256)", texts.join(", "))
}

fn select(
    work: &Backfill,
    columns: &[Column],
    range: &KeyRange,
    how: &str,
) -> Result<String, TargetError> {
    let key = KeySql::of(work);
    let mut cells = key.texts(Some("t"));
    cells.push(version(columns, "t"));
    cells.extend(work.columns.iter().map(|column| {
        Kind::of(&column.type_name).value(&format!("t.{}", literal::name(&column.name)))
    }));
    let filter = work.filter.as_ref().map(|f| format!(" AND ({f}\n)")).unwrap_or_default();
    Ok(format!(
        "SELECT {} FROM {} t FORCE INDEX ({}) WHERE {}{filter} ORDER BY {} {how}",
        cells.join(", "),
        work.table,
        literal::name(&work.index),
        key.range(Some("t"), range)?,
        key.order(false),
    ))
}

fn row(cells: &Cells, work: &Backfill) -> Result<Row, TargetError> {
    let width = work.key.len();
    if (0..width).any(|cell| cells.optional(cell).is_none()) {
        return Err(TargetError::new(
            ErrorKind::Refused,
            format!("{} has rows whose key is NULL, which no program can name", work.table),
        )
        .help("name a key without NULLs in `key`, or leave those rows out with `where`"));
    }
    let values = width + 1..width + 1 + work.columns.len();
    Ok(Row {
        key: key_of(cells, 0, work)?,
        version: cells.text(width),
        values: values.map(|cell| cells.optional(cell)).collect(),
    })
}

/// Reads rows one by one, so that what there is no room for is never in memory.
async fn gather(
    session: &mut WorkSession,
    query: &str,
    work: &Backfill,
) -> Result<Gathered, TargetError> {
    let mut gathered = Gathered::default();
    let mut failed = None;
    let take = |cells: Cells| {
        if !gathered.is_over() && failed.is_none() {
            match row(&cells, work) {
                Ok(row) => gathered.push(row),
                Err(error) => failed = Some(error),
            }
        }
    };
    session.session.each_row(query, take).await?;
    failed.map_or(Ok(gathered), Err)
}

impl MysqlTarget {
    pub(crate) async fn read_range(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
    ) -> Result<Vec<Row>, TargetError> {
        let columns = self.columns(work).await?;
        let query = select(work, &columns, range, "")?;
        let mut session = self.take_work().await?;
        let result = match session.prepare_rows().await {
            Ok(()) => gather(&mut session, &query, work).await,
            Err(error) => Err(error),
        };
        self.concluded(session, result).await?.end()
    }

    pub(crate) async fn lock_range_rows(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
    ) -> Result<Vec<Row>, TargetError> {
        require_writable(&self.facts)?;
        let columns = self.columns(work).await?;
        let how = if chunk.lock_first { "FOR UPDATE NOWAIT" } else { "FOR UPDATE" };
        let query = select(work, &columns, &chunk.range, how)?;
        let mut session = self.take_work().await?;
        let fence = self.chunk_fence(lease, work.pass, &chunk.checkpoint);
        let result = async {
            session.prepare_rows().await?;
            self.begin_chunk(&mut session, work, &fence, lease).await?;
            match gather(&mut session, &query, work).await.and_then(Gathered::end) {
                Ok(rows) => Ok(rows),
                Err(error) => Err(session.session.rolled_back(error).await),
            }
        };
        let result = result.await;
        let rows = self.concluded(session, result).await?;
        self.locked = Some(chunk.clone());
        Ok(rows)
    }

    pub(crate) async fn write_rows(
        &mut self,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
        changes: &[RowChange],
        rejected: &[(Key, String)],
    ) -> Result<RowsOutcome, TargetError> {
        require_writable(&self.facts)?;
        let locked = self.locked.as_ref() == Some(chunk);
        if locked {
            self.locked = None;
        }
        let columns = self.columns(work).await?;
        let mut session = self.take_work().await?;
        let result =
            self.rows_on(&mut session, lease, work, chunk, &columns, locked, changes, rejected);
        let result = result.await;
        let result = self.concluded(session, result).await;
        match result {
            Err(error) => Err(self.or_another_shape(work, error).await),
            done => done,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one call, passed on once")]
    async fn rows_on(
        &self,
        session: &mut WorkSession,
        lease: &Lease,
        work: &Backfill,
        chunk: &Chunk,
        columns: &[Column],
        locked: bool,
        changes: &[RowChange],
        rejected: &[(Key, String)],
    ) -> Result<RowsOutcome, TargetError> {
        if !locked {
            session.prepare_rows().await?;
            let fence = self.chunk_fence(lease, work.pass, &chunk.checkpoint);
            self.begin_chunk(session, work, &fence, lease).await?;
        }
        failpoint("chunk.begun");
        let written = async {
            // Locked or not: the same check, since a caller may bring rows of before the lock.
            let missed = self.missed(session, work, chunk, columns, changes).await?;
            if !missed.is_empty() {
                return Ok(Err(missed));
            }
            let kept = self.keep_rows(session, work, columns, &chunk.range, changes).await?;
            self.update_rows(session, work, chunk, columns, changes).await?;
            if let Some((capturing, first)) = kept {
                capturing.after(session, first).await?;
            }
            self.reject(session, lease, work, rejected).await?;
            let count = u64::try_from(changes.len()).unwrap_or(u64::MAX);
            let counted = self.chunk_counted(lease, &chunk.checkpoint, count);
            let intent = self.finish_chunk(session, lease, work, &counted).await?;
            Ok(Ok((count, intent)))
        };
        match written.await {
            Ok(Ok((count, intent))) => {
                failpoint("chunk.executed");
                let commit = commit(session).await?;
                failpoint("chunk.done");
                let rows = vec![Some(count)];
                Ok(RowsOutcome::Committed(Committed {
                    rows,
                    commit,
                    bytes: None,
                    held: None,
                    intent,
                }))
            }
            Ok(Err(missed)) => {
                session.session.run("ROLLBACK").await?;
                Ok(RowsOutcome::Missed(missed))
            }
            Err(error) => Err(session.session.rolled_back(error).await),
        }
    }

    /// Locks the rows that are to change; those that are others than they were read.
    async fn missed(
        &self,
        session: &mut WorkSession,
        work: &Backfill,
        chunk: &Chunk,
        columns: &[Column],
        changes: &[RowChange],
    ) -> Result<Vec<Key>, TargetError> {
        let mut derived = Derived::new(work, self.facts.is_mariadb, &[Literals::Texts]);
        for (number, change) in changes.iter().enumerate() {
            derived.push(number, &change.key, &[text(&change.version)])?;
        }
        let rest = format!(
            "STRAIGHT_JOIN {} t ON {} WHERE {} AND {} = d.c0 COLLATE utf8mb4_bin FOR UPDATE",
            work.table,
            derived.joined(),
            KeySql::of(work).range(Some("t"), &chunk.range)?,
            version(columns, "t"),
        );
        let mut found = BTreeSet::new();
        for table in derived.tables(session.session.packet_bytes_max, rest.len()) {
            let query = format!("SELECT d.i FROM {table} {rest}");
            let answers = session.session.run_rows(&query).await?;
            let numbers = answers.iter().flat_map(|answer| &answer.rows);
            found.extend(numbers.filter_map(|row| row.number::<usize>(0)));
        }
        let missed = changes.iter().enumerate().filter(|(number, _)| !found.contains(number));
        Ok(missed.map(|(_, change)| change.key.clone()).collect())
    }

    /// One statement for all rows that set the same columns.
    async fn update_rows(
        &self,
        session: &mut WorkSession,
        work: &Backfill,
        chunk: &Chunk,
        columns: &[Column],
        changes: &[RowChange],
    ) -> Result<(), TargetError> {
        let mut groups: BTreeMap<Vec<&str>, Vec<&RowChange>> = BTreeMap::new();
        for change in changes.iter().filter(|change| !change.set.is_empty()) {
            let names = change.set.iter().map(|(name, _)| name.as_str()).collect();
            groups.entry(names).or_default().push(change);
        }
        for (names, changes) in groups {
            let kinds = kinds(work, columns, &names)?;
            let literals: Vec<Literals> = kinds.iter().map(Kind::value_literals).collect();
            let mut derived = Derived::new(work, self.facts.is_mariadb, &literals);
            for (number, change) in changes.iter().enumerate() {
                let literals = kinds.iter().zip(&change.set).map(|(kind, (_, value))| {
                    value.as_ref().map_or(Ok("NULL".to_owned()), |value| kind.value_literal(value))
                });
                let literals = literals.collect::<Result<Vec<_>, _>>()?;
                derived.push(number, &change.key, &literals)?;
            }
            let sets: Vec<String> = names
                .iter()
                .enumerate()
                .map(|(number, name)| format!("t.{} = d.c{number}", literal::name(name)))
                .collect();
            let rest = format!(
                "STRAIGHT_JOIN {} t ON {} SET {} WHERE {}",
                work.table,
                derived.joined(),
                sets.join(", "),
                KeySql::of(work).range(Some("t"), &chunk.range)?,
            );
            for table in derived.tables(session.session.packet_bytes_max, rest.len()) {
                session.session.run_rows(&format!("UPDATE {table} {rest}")).await?;
            }
        }
        Ok(())
    }

    async fn reject(
        &self,
        session: &mut WorkSession,
        lease: &Lease,
        work: &Backfill,
        rejected: &[(Key, String)],
    ) -> Result<(), TargetError> {
        for (key, error) in rejected {
            let (key, error) = (text(&key.encode()), text(error));
            let statement = format!(
                "INSERT INTO {} (job, pass, `key`, key_hash, error, at) \
                 VALUES ({}, {}, {key}, {}, {error}, UTC_TIMESTAMP(6)) \
                 ON DUPLICATE KEY UPDATE error = {error}, at = UTC_TIMESTAMP(6)",
                self.ledger.table("quarantine"),
                text(&lease.resource.to_string()),
                work.pass,
                key_hash(&key),
            );
            session.session.run(&statement).await?;
        }
        Ok(())
    }
}

fn kinds(work: &Backfill, columns: &[Column], names: &[&str]) -> Result<Vec<Kind>, TargetError> {
    names
        .iter()
        .map(|name| {
            let column = columns.iter().find(|column| column.name == **name);
            column.map(|column| Kind::of(&column.type_name)).ok_or_else(|| {
                TargetError::new(ErrorKind::Refused, format!("{} has no column {name}", work.table))
            })
        })
        .collect()
}
