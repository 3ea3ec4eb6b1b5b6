//! Puts captured values back, in chunks.

use dunlin_engine::{ErrorKind, TargetError, Undone, failpoint};
use dunlin_model::{Backfill, Lease};
use tokio_postgres::SimpleQueryRow;

use super::captured::{DELETED, TAG_AND_NAMES, kept_values, tag};
use super::catalogue::shape;
use super::chunk::job;
use super::layout::Layout;
use super::walk::{TEXT_FORMS, regclass};
use crate::fence::{Access, Limits, as_ledger_error, begin_fenced_at, commit_fenced};
use crate::quote;
use crate::rows::{boolean, bug, number, required, single};
use crate::session::Session;

/// What becomes of the rows that a chunk takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Their old values are put back, where nobody changed them since.
    PutBack,
    /// They are passed over.
    PassOver,
}

/// Rows of which the same columns were kept, when those had the same types.
pub(super) struct Group {
    tag: String,
    columns: Vec<String>,
}

impl Group {
    /// Of [`TAG_AND_NAMES`]; refused where its values can neither be compared with those of now nor
    /// be put back.
    pub(super) fn read(
        layout: &Layout,
        work: &Backfill,
        row: &SimpleQueryRow,
    ) -> Result<Self, TargetError> {
        let kept = required(row, 0)?.to_owned();
        let columns: Vec<String> = serde_json::from_str(required(row, 1)?)
            .map_err(|_| bug("the ledger has captured values that can't be read"))?;
        let now = tag(layout, work, &columns);
        // An older program gave its rows no tag.
        if now.is_some_and(|now| kept.is_empty() || kept == now) {
            return Ok(Self { tag: kept, columns });
        }
        Err(TargetError::captured_unlike(&work.table, &columns, "dunlin.captured"))
    }
}

/// Takes captured rows on, the newest first, and forgets them.
pub(super) async fn undo(
    session: &mut Session,
    layout: &Layout,
    lease: &mut Lease,
    work: &Backfill,
    deed: Deed,
    count_max: u64,
) -> Result<Undone, TargetError> {
    session.clean().await?;
    if work.capture.is_none() {
        return Err(TargetError::new(ErrorKind::Refused, "this backfill keeps no old values")
            .help("`-- dunlin: undo capture for 14 days` keeps them"));
    }
    let limits = Limits { lock: work.lock_timeout, statement: Some(work.statement_timeout) };
    begin_fenced_at(session, lease, limits, " ISOLATION LEVEL READ COMMITTED", "").await?;
    let undone = match take_on(session, layout, lease, work, deed, count_max).await {
        Ok(undone) => undone,
        Err(error) => {
            session.rollback().await;
            return Err(error);
        }
    };
    let counted = count_undone(lease, undone);
    if let Err(error) = session.ask(&counted).await {
        session.rollback().await;
        return Err(as_ledger_error(session, error, Access::Write));
    }
    failpoint("undo.executed");
    commit_fenced(session, lease).await?;
    failpoint("undo.done");
    Ok(undone)
}

/// How far the undo is, in the transaction of what it did: a death can't make the two differ.
fn count_undone(lease: &Lease, undone: Undone) -> String {
    format!(
        "UPDATE dunlin.backfills SET rows_before = rows_before + {}, \
         row_count_estimate = COALESCE(row_count_estimate, 0) + {} WHERE job = {}",
        undone.restored,
        undone.met(),
        job(lease)
    )
}

async fn take_on(
    session: &Session,
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    deed: Deed,
    count_max: u64,
) -> Result<Undone, TargetError> {
    let answers = session.ask(&choose(lease, work, count_max)).await?;
    if !boolean(single(&answers, answers.len().saturating_sub(2))?, 0)? {
        return Err(TargetError::new(
            ErrorKind::ShapeChanged,
            format!("{} has another shape than when this undo looked at it", work.table),
        )
        .help("run the same command again: it goes on with the table as it is now"));
    }
    let mut sql = String::new();
    for row in answers.last().map(|answer| answer.rows.as_slice()).unwrap_or_default() {
        let group = Group::read(layout, work, row)?;
        if deed == Deed::PutBack {
            sql.push_str(&update(layout, lease, work, &group));
            sql.push_str(&insert(layout, lease, work, &group));
        }
    }
    // Checked here rather than by COMMIT, so that they are known to be about a row.
    sql.push_str("SET CONSTRAINTS ALL IMMEDIATE;");
    sql.push_str(&forget(lease, work));
    let answers = session.ask(&sql).await.map_err(|error| {
        let by_row = error.code.as_deref().is_some_and(|code| code.starts_with("23"));
        TargetError { by_row, ..error }
    })?;
    let row = single(&answers, answers.len().saturating_sub(1))?;
    let restored = number(row, 0)?;
    Ok(Undone {
        restored,
        changed_since: number::<u64>(row, 1)?.saturating_sub(restored),
        left: boolean(row, 2)?,
    })
}

fn these(lease: &Lease, work: &Backfill) -> String {
    format!("c.job = {} AND c.pass = {}", job(lease), work.pass)
}

/// Of a job there are as many rows as the migration has changed, of a time before all time a few:
/// whatever its statistics say, the planner must not take the index by job for those.
fn chosen(lease: &Lease, work: &Backfill) -> String {
    format!(
        "c.job || '' = {} AND c.pass + 0 = {} AND c.forget_at = '-infinity'",
        job(lease),
        work.pass
    )
}

/// Marks what is taken on by `forget_at`, set before all time, which nobody else sees. Of a row that
/// was captured twice only the newest is: it then stands as its older capture left it, exactly if
/// nobody changed it in between. Its last two answers: whether the table has its shape, the groups.
fn choose(lease: &Lease, work: &Backfill, count_max: u64) -> String {
    format!(
        // A handful of keys each time, whatever the planner takes them for; the newest of all are
        // the end of an index. Only plain scans of an index skip what earlier chunks deleted.
        "{TEXT_FORMS}SET LOCAL enable_seqscan TO off;SET LOCAL enable_hashjoin TO off;\
         SET LOCAL enable_mergejoin TO off;SET LOCAL enable_sort TO off;\
         SET LOCAL enable_bitmapscan TO off;LOCK TABLE ONLY {table} IN ACCESS SHARE MODE;\
         UPDATE dunlin.captured AS c SET forget_at = '-infinity' WHERE c.number IN (SELECT DISTINCT \
         ON (l.key) l.number FROM (SELECT c.key, c.number FROM dunlin.captured AS c WHERE {these} \
         ORDER BY c.number DESC LIMIT {count_max}) AS l ORDER BY l.key, l.number DESC);\
         SELECT pg_catalog.set_config('dunlin.undone', '0', true);\
         SELECT COALESCE({shape} = {planned}, false);\
         SELECT {TAG_AND_NAMES} FROM (SELECT max(c.number) AS number FROM dunlin.captured AS c \
         WHERE {chosen} GROUP BY c.old_values ->> '') AS g \
         JOIN dunlin.captured AS f ON f.number = g.number",
        table = work.table,
        these = these(lease, work),
        chosen = chosen(lease, work),
        count_max = count_max.clamp(1, 1_000_000),
        shape = shape(&regclass(work)),
        planned = quote::text(&work.shape),
    )
}

/// The columns of a group that can be written, and what is assigned to each.
fn assignments(
    layout: &Layout,
    group: &Group,
    wanted: impl Fn(&super::layout::ColumnType) -> bool,
) -> Vec<(String, String)> {
    let known = |name| layout.columns.get(name).filter(|column| wanted(column));
    group
        .columns
        .iter()
        .filter_map(|name| Some((name, known(name)?)))
        .map(|(name, column)| {
            let value = format!("(c.old_values ->> {})::{}", quote::text(name), column.type_name);
            (quote::name(name), value)
        })
        .collect()
}

fn of_group(lease: &Lease, work: &Backfill, group: &Group) -> String {
    format!(
        "{} AND COALESCE(c.old_values ->> '', '') = {}",
        chosen(lease, work),
        quote::text(&group.tag)
    )
}

/// Adds so many rows, a query's count, to those that have their old values again.
const COUNT: &str = "SELECT pg_catalog.set_config('dunlin.undone', \
     (pg_catalog.current_setting('dunlin.undone')::bigint + (SELECT pg_catalog.count(*) FROM done))\
     ::text, true);";

/// Puts old values into rows that are there, as the chunk left them.
fn update(layout: &Layout, lease: &Lease, work: &Backfill, group: &Group) -> String {
    let assigned = assignments(layout, group, |column| !column.computed && !column.identity);
    if assigned.is_empty() {
        return String::new();
    }
    let sets: Vec<String> =
        assigned.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let key: Vec<String> = layout
        .parts
        .iter()
        .enumerate()
        .map(|(at, part)| format!("(c.key::jsonb ->> {at})::{}", part.type_name))
        .collect();
    format!(
        // An older program kept no new values: then the row's version tells.
        "WITH done AS (UPDATE {table} AS t SET {sets} FROM dunlin.captured AS c WHERE {of_group} \
         AND c.xmin_after <> {DELETED} AND {same} AND CASE WHEN c.new_values IS NULL \
         THEN t.xmin::text = c.xmin_after ELSE {now} = c.new_values END RETURNING 1) {COUNT}",
        table = work.table,
        sets = sets.join(", "),
        of_group = of_group(lease, work, group),
        same = layout.equal(&key, Some("t")),
        now = kept_values("t", &group.tag, &group.columns),
    )
}

/// Inserts rows that the chunk deleted, with the numbers that they had, where their keys, and their
/// other unique values, are still free.
fn insert(layout: &Layout, lease: &Lease, work: &Backfill, group: &Group) -> String {
    let (names, values): (Vec<String>, Vec<String>) =
        assignments(layout, group, |column| !column.computed).into_iter().unzip();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "WITH done AS (INSERT INTO {table} AS t ({names}) OVERRIDING SYSTEM VALUE SELECT {values} \
         FROM dunlin.captured AS c WHERE {of_group} AND c.xmin_after = {DELETED} \
         ON CONFLICT DO NOTHING RETURNING 1) {COUNT}",
        table = work.table,
        names = names.join(", "),
        values = values.join(", "),
        of_group = of_group(lease, work, group),
    )
}

/// Forgets what was taken on: how many have their old values again, how many there were, and whether
/// any are left.
fn forget(lease: &Lease, work: &Backfill) -> String {
    format!(
        "WITH gone AS (DELETE FROM dunlin.captured AS c WHERE {} RETURNING 1) \
         SELECT pg_catalog.current_setting('dunlin.undone')::bigint, (SELECT pg_catalog.count(*) \
         FROM gone), EXISTS (SELECT FROM dunlin.captured AS c WHERE {} \
         AND c.forget_at <> '-infinity')",
        chosen(lease, work),
        these(lease, work)
    )
}
