//! Where a table's keys end, where chunks end, how many rows there are, how they are reached.

use dunlin_engine::{ErrorKind, Extent, Mark, TargetError};
use dunlin_model::{Access, Backfill, Bound, Key, KeyRange};

use super::range::KeySql;
use crate::literal;
use crate::session::{Answer, Cells};
use crate::target::MysqlTarget;

/// Up to so many keys are read and counted here, in one statement. Beyond it each mark is an
/// OFFSET of its own: 10,000 rows took 1.3 ms that way on MariaDB 10.11, where counting with a user
/// variable took 3 ms and `ROW_NUMBER()` 40 ms.
const KEYS_MAX: u64 = 4_096;

/// How long the end of the table is waited for, in seconds: longer than usual transactions take,
/// below the time that a packet of ours may take.
const EXTENT_SECONDS_MAX: u32 = 20;

/// How wide the range is whose EXPLAIN is looked at, in rows. Wide enough to be a range, narrow
/// enough to be worth an index.
const EXPLAINED_ROWS: u64 = 500;

impl MysqlTarget {
    /// The table with its index forced, so that no other way can be chosen.
    pub(crate) fn walked(work: &Backfill) -> String {
        format!("{} FORCE INDEX ({})", work.table, literal::name(&work.index))
    }

    pub(crate) async fn find_extent(&mut self, work: &Backfill) -> Result<Extent, TargetError> {
        let key = KeySql::of(work);
        let table = Self::walked(work);
        // A locking read: a row at the end whose insertion is in doubt is waited for. It stands
        // alone, so its lock is gone when it has been read.
        let packet = format!(
            "SET SESSION innodb_lock_wait_timeout = {EXTENT_SECONDS_MAX}; \
             SELECT {} FROM {table} WHERE {} ORDER BY {} LIMIT 1 LOCK IN SHARE MODE; \
             SELECT EXISTS (SELECT 1 FROM {table} WHERE {nulls}); {}",
            key.texts(None).join(", "),
            key.not_null(),
            key.order(true),
            crate::facts::LEDGER_LOCK_WAIT,
            nulls = if work.key.iter().any(|column| column.nullable) {
                key.nulls(None)
            } else {
                "1 = 0".to_owned()
            },
        );
        let answers = match self.repeated(&packet).await {
            Ok(answers) => answers,
            Err(error) => {
                let error = self.session.rolled_back(error).await;
                return Err(self.explained(error, 0).await);
            }
        };
        let [_, highest, nulls, _] = answers.as_slice() else {
            return Err(too_little());
        };
        let hi = highest.rows.first().map(|row| key_of(row, 0, work)).transpose()?;
        let nulls = nulls.rows.first().and_then(|row| row.number::<u8>(0)) == Some(1);
        Ok(Extent { hi, nulls })
    }

    pub(crate) async fn walk_keys(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
        spacing: u64,
        count: u32,
    ) -> Result<Vec<Mark>, TargetError> {
        let spacing = spacing.max(1);
        let wanted = spacing.saturating_mul(u64::from(count));
        if wanted <= KEYS_MAX {
            return self.walk_few(work, after, upto, spacing, count).await;
        }
        let mut marks: Vec<Mark> = Vec::new();
        for _ in 0..count {
            let from = marks.last().map_or_else(|| after.clone(), |m| Bound::Key(m.key.clone()));
            let range = KeyRange::Between { after: from, upto: upto.clone() };
            match self.key_at(work, &range, spacing - 1).await? {
                Some(key) => {
                    let ends = key == *upto;
                    marks.push(Mark { key, rows: spacing });
                    if ends {
                        return Ok(marks);
                    }
                }
                None => {
                    let rows = self.rows_in(work, &range, spacing).await?;
                    marks.push(Mark { key: upto.clone(), rows });
                    return Ok(marks);
                }
            }
        }
        Ok(marks)
    }

    async fn walk_few(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
        spacing: u64,
        count: u32,
    ) -> Result<Vec<Mark>, TargetError> {
        let wanted = spacing * u64::from(count);
        let range = KeyRange::Between { after: after.clone(), upto: upto.clone() };
        let keys = self.keys(work, &range, 0, wanted).await?;
        let whole = u64::try_from(keys.len()).unwrap_or(u64::MAX) < wanted;
        let mut marks = Vec::new();
        let mut rows = 0;
        for key in keys {
            rows += 1;
            if rows == spacing || key == *upto {
                marks.push(Mark { key, rows });
                rows = 0;
            }
        }
        if whole && marks.last().is_none_or(|mark| mark.key != *upto) {
            marks.push(Mark { key: upto.clone(), rows });
        }
        Ok(marks)
    }

    /// The key so many rows into a range.
    pub(crate) async fn key_at(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
        offset: u64,
    ) -> Result<Option<Key>, TargetError> {
        Ok(self.keys(work, range, offset, 1).await?.pop())
    }

    async fn keys(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
        offset: u64,
        count: u64,
    ) -> Result<Vec<Key>, TargetError> {
        let condition = KeySql::of(work).range(None, range)?;
        self.keys_where(work, &condition, offset, count).await
    }

    pub(crate) async fn keys_where(
        &mut self,
        work: &Backfill,
        condition: &str,
        offset: u64,
        count: u64,
    ) -> Result<Vec<Key>, TargetError> {
        let key = KeySql::of(work);
        let query = format!(
            "SELECT {} FROM {} WHERE {condition} ORDER BY {} LIMIT {offset}, {count}",
            key.texts(None).join(", "),
            Self::walked(work),
            key.order(false)
        );
        let answers = self.session.run(&query).await?;
        let rows = answers.iter().flat_map(|answer| &answer.rows);
        rows.map(|row| key_of(row, 0, work)).collect()
    }

    async fn rows_in(
        &mut self,
        work: &Backfill,
        range: &KeyRange,
        most: u64,
    ) -> Result<u64, TargetError> {
        let key = KeySql::of(work);
        let query = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM {} WHERE {} ORDER BY {} LIMIT {most}) r",
            Self::walked(work),
            key.range(None, range)?,
            key.order(false)
        );
        let answers = self.session.run(&query).await?;
        Ok(first_number(&answers).unwrap_or_default())
    }

    /// About how many rows a condition takes, by EXPLAIN.
    pub(crate) async fn explained_rows(
        &mut self,
        table: &str,
        condition: &str,
    ) -> Result<Option<u64>, TargetError> {
        let query = format!("EXPLAIN SELECT 1 FROM {table} WHERE {condition}");
        let answers = self.session.run_named(&query).await?;
        Ok(answers.first().and_then(|row| row.number("rows")))
    }

    /// About how many rows a stretch has.
    pub(crate) async fn stretch_rows(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
    ) -> Result<Option<u64>, TargetError> {
        let key = KeySql::of(work);
        let table = Self::walked(work);
        let range = KeyRange::Between { after: after.clone(), upto: upto.clone() };
        let rows = self.explained_rows(&table, &key.range(None, &range)?).await?;
        let all = self.explained_rows(&table, "1 = 1").await?;
        let (Some(rows), Some(all)) = (rows, all) else {
            return Ok(rows.or(all));
        };
        if !is_cut_off(rows, all) {
            return Ok(Some(rows));
        }
        // What lies outside is less than half, and so is told.
        let behind = key.side(None, upto, true, false)?;
        let mut outside = self.explained_rows(&table, &behind).await?.unwrap_or_default();
        if let Bound::Key(after) = after {
            let before = key.side(None, after, false, true)?;
            outside += self.explained_rows(&table, &before).await?.unwrap_or_default();
        }
        Ok(Some(all.saturating_sub(outside).max(rows)))
    }

    pub(crate) async fn estimate_rows(
        &mut self,
        work: &Backfill,
        after: &Bound,
        upto: &Key,
    ) -> Result<Option<u64>, TargetError> {
        let all = self.stretch_rows(work, after, upto).await?;
        let Some(filter) = &work.filter else {
            return Ok(all);
        };
        let range = KeyRange::Between { after: after.clone(), upto: upto.clone() };
        let range = KeySql::of(work).range(None, &range)?;
        let free = self.explained_rows(&work.table, &range).await?;
        // Where an index fits the filter, the server knows better how many rows it takes.
        let condition = format!("({range}) AND ({filter}\n)");
        let few = self.explained_rows(&work.table, &condition).await.map_err(|error| {
            // A column that there is not is the condition's, and no fault of our ledger.
            match error.kind {
                ErrorKind::LedgerFormat => {
                    TargetError { kind: ErrorKind::Statement, help: None, ..error }
                }
                _ => error,
            }
        })?;
        Ok(match (all, free, few) {
            (Some(all), Some(free), Some(few)) if few < free => Some(all.min(few)),
            (all, _, few) => all.or(few),
        })
    }

    pub(crate) async fn explain_access(
        &mut self,
        work: &Backfill,
    ) -> Result<Vec<Access>, TargetError> {
        self.require_transactional_chunks(work).await?;
        let range = self.middle(work).await?;
        let key = KeySql::of(work);
        let condition = match &range {
            Some(range) => key.range(None, range)?,
            None => "1 = 0".to_owned(),
        };
        let walk = format!(
            "EXPLAIN SELECT {} FROM {} WHERE {condition} ORDER BY {} LIMIT 1000",
            key.texts(None).join(", "),
            Self::walked(work),
            key.order(false)
        );
        let rows = self.session.run_named(&walk).await?;
        let (_, table) = self.located(&work.table).ok_or_else(too_little)?;
        let mut accesses = vec![access("the walk", &rows, &table, range.is_some())];
        for (index, statement) in work.statements.iter().enumerate() {
            let text = match &range {
                Some(range) => super::commit::statement_text(work, statement, range)?,
                None => statement.with_chunk(|_| "1 = 0".to_owned()),
            };
            let aliases = statement.facts.chunk_places.iter();
            let alias = aliases.filter_map(|place| place.alias.as_deref()).map(unquoted).next();
            let rows = self.session.explain(&text, index).await.map_err(|mut error| {
                error.offset = None;
                error
            })?;
            let name = alias.unwrap_or_else(|| table.clone());
            accesses.push(access(
                &format!("statement {}", index + 1),
                &rows,
                &name,
                range.is_some(),
            ));
        }
        Ok(accesses)
    }

    /// A range in the middle; `None` where the table has no rows.
    async fn middle(&mut self, work: &Backfill) -> Result<Option<KeyRange>, TargetError> {
        let key = KeySql::of(work);
        let Some(first) = self.keys_where(work, &key.not_null(), 0, 1).await?.pop() else {
            return Ok(None);
        };
        let Some(last) = self.last_key(work, &key.not_null()).await? else {
            return Ok(None);
        };
        let cut = self.split_keys(work, &Bound::Start, &last, 2).await?.pop();
        let from = cut.unwrap_or(first);
        let range = KeyRange::Between { after: Bound::Key(from.clone()), upto: last.clone() };
        let upto = self.key_at(work, &range, EXPLAINED_ROWS - 1).await?.unwrap_or(last);
        Ok(Some(KeyRange::Between { after: Bound::Key(from), upto }))
    }

    pub(crate) async fn last_key(
        &mut self,
        work: &Backfill,
        condition: &str,
    ) -> Result<Option<Key>, TargetError> {
        let key = KeySql::of(work);
        let query = format!(
            "SELECT {} FROM {} WHERE {condition} ORDER BY {} LIMIT 1",
            key.texts(None).join(", "),
            Self::walked(work),
            key.order(true)
        );
        let answers = self.session.run(&query).await?;
        answers.first().and_then(|a| a.rows.first()).map(|row| key_of(row, 0, work)).transpose()
    }
}

/// InnoDB says half of the table for all that is more than half of it.
pub(crate) fn is_cut_off(rows: u64, all: u64) -> bool {
    rows.saturating_mul(20) >= all.saturating_mul(9)
}

/// What EXPLAIN says of one table.
fn access(what: &str, rows: &[crate::session::Named], table: &str, has_rows: bool) -> Access {
    let mut access = Access { what: what.to_owned(), index: None, complaint: None };
    if !has_rows {
        return access;
    }
    let Some(row) = rows
        .iter()
        .find(|row| row.text("table").is_some_and(|name| name.eq_ignore_ascii_case(table)))
    else {
        // It may see at once that there is nothing to do.
        return access;
    };
    access.index = row.text("key");
    let kind = row.text("type").unwrap_or_default();
    let extra = row.text("Extra").unwrap_or_default();
    access.complaint = match kind.as_str() {
        "ALL" => Some(format!("{table} is read as a whole, not by the range of its key")),
        "index" => Some(format!("the whole index of {table} is read, not a range of it")),
        _ if extra.contains("filesort") => Some(format!("the rows of {table} are sorted")),
        _ => None,
    };
    if kind == "ALL" {
        access.index = None;
    }
    access
}

fn unquoted(alias: &str) -> String {
    literal::name_parts(alias).and_then(|mut parts| parts.pop()).unwrap_or_else(|| alias.to_owned())
}

/// The key in a row's cells from `first` on.
pub(crate) fn key_of(row: &Cells, first: usize, work: &Backfill) -> Result<Key, TargetError> {
    let texts: Option<Vec<String>> =
        (first..first + work.key.len()).map(|cell| row.optional(cell)).collect();
    texts.map(Key).ok_or_else(|| {
        TargetError::new(ErrorKind::Bug, format!("a key of {} is NULL in a range", work.table))
    })
}

pub(crate) fn first_number(answers: &[Answer]) -> Option<u64> {
    answers.first()?.rows.first()?.number(0)
}

pub(crate) fn too_little() -> TargetError {
    TargetError::new(ErrorKind::Bug, "the server answered too little")
}
