//! Old values, kept in the chunk's transaction. `undo` puts them back.
//!
//! Invariants: what is kept was read under locks that last until the COMMIT; rows that the
//! statements did not change are not kept.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Backfill, Capture, Column, KeyRange, RowChange};

use super::commit::key_hash;
use super::derived::Derived;
use super::kind::Kind;
use super::range::KeySql;
use super::walk::{first_number, too_little};
use crate::literal::{self, text};
use crate::target::MysqlTarget;
use crate::work::WorkSession;

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

/// Exact texts by the names of their columns, as JSON in the order of the names; under the empty one
/// the tag of their types. The texts hold nothing that JSON escapes.
pub(super) fn object(columns: &[(&Column, Kind)], alias: &str, tag: &str) -> String {
    let mut parts: Vec<(&str, String)> = columns
        .iter()
        .map(|(column, kind)| {
            let exact = kind.exact(&format!("{alias}.{}", literal::name(&column.name)));
            (column.name.as_str(), format!("IFNULL(CONCAT('\"', {exact}, '\"'), 'null')"))
        })
        .collect();
    parts.sort_unstable();
    let mut sql = format!("CONCAT({}", text(&format!("{{\"\":\"{tag}\"")));
    for (name, value) in parts {
        let name = serde_json::Value::from(name);
        sql.push_str(&format!(", {}, {value}", text(&format!(",{name}:"))));
    }
    sql.push_str(", '}')");
    sql
}

/// The same as a list, as older programs kept it.
pub(super) fn list(columns: &[(&Column, Kind)], alias: &str) -> String {
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
    kept_of(work, columns, work.capture.as_ref().map_or(&[], |capture| &capture.columns))
}

/// Columns by their names, with how their values become texts.
pub(super) fn kept_of<'a>(
    work: &Backfill,
    columns: &'a [Column],
    names: &[String],
) -> Result<Vec<(&'a Column, Kind)>, TargetError> {
    names
        .iter()
        .map(|name| {
            let column = columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
            column.map(|column| (column, Kind::of(&column.type_name))).ok_or_else(|| {
                TargetError::new(ErrorKind::Bug, format!("{} has no column {name}", work.table))
            })
        })
        .collect()
}

impl MysqlTarget {
    /// The tag of these columns, and of the key, as they are by now; `None`: there is no such column.
    pub(super) fn tag(&self, work: &Backfill, columns: &[String]) -> Option<String> {
        let known = self.known.as_ref()?;
        let with_form = |name| Some((String::as_str(name), known.form(name)?));
        let key: Option<Vec<_>> = work.key.iter().map(|column| with_form(&column.name)).collect();
        let columns: Option<Vec<_>> = columns.iter().map(with_form).collect();
        Some(Capture::tag(key?, columns?))
    }

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
        let names = work.capture.as_ref().map_or(&[][..], |capture| &capture.columns);
        let tag = self.tag(work, names).unwrap_or_default();
        let values = object(&kept, "t", &tag);
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
        let mut given = Derived::new(work, self.facts.is_mariadb, &[]);
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
