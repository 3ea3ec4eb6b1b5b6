//! Puts captured values back, in chunks.

use dunlin_engine::{ErrorKind, TargetError, UndoSlice, Undone, failpoint};
use dunlin_model::{Backfill, Lease};
use tokio_postgres::SimpleQueryRow;

use super::captured::{DELETED, TAG_AND_NAMES, kept_values, tag};
use super::catalogue::shape;
use super::chunk::{is_by_row, job};
use super::layout::Layout;
use super::walk::{OWN_ZONE, TEXT_FORMS, regclass};
use crate::fence::{Access, Limits, as_ledger_error, begin_fenced_at, commit_fenced};
use crate::quote;
use crate::rows::{Answer, boolean, bug, field, number, required, single};
use crate::session::Session;

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
    slice: UndoSlice,
) -> Result<Undone, TargetError> {
    session.clean().await?;
    if work.capture.is_none() {
        return Err(TargetError::new(ErrorKind::Refused, "this backfill keeps no old values")
            .help("`-- dunlin: undo capture for 14 days` keeps them"));
    }
    let limits = Limits { lock: work.lock_timeout, statement: Some(work.statement_timeout) };
    begin_fenced_at(session, lease, limits, " ISOLATION LEVEL READ COMMITTED", "").await?;
    let way = Way { session, layout, lease, work };
    let undone = if slice.singly { way.singly(slice).await } else { way.together(slice).await };
    let undone = match undone {
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
        "UPDATE dunlin.backfills SET rows_before = rows_before + {} WHERE job = {}",
        undone.restored,
        job(lease)
    )
}

/// One chunk of an undo, in its transaction.
struct Way<'a> {
    session: &'a Session,
    layout: &'a Layout,
    lease: &'a Lease,
    work: &'a Backfill,
}

impl Way<'_> {
    /// All rows of the slice by one statement each way.
    async fn together(&self, slice: UndoSlice) -> Result<Undone, TargetError> {
        let numbers = numbers(self.lease, self.work, slice);
        let numbers = format!("(SELECT pg_catalog.array_agg(n.number) FROM {numbers} AS n)");
        let query = format!("{}SELECT {LOWEST};{}", pick(&numbers), groups());
        let answers = self.begin(&query).await?;
        let lowest = single(&answers, answers.len().saturating_sub(2))?;
        let Some(lowest) = field(lowest, 0)?.map(str::to_owned) else {
            return Ok(Undone::default());
        };
        let mut sql = String::new();
        for row in answers.last().map(|answer| answer.rows.as_slice()).unwrap_or_default() {
            let group = Group::read(self.layout, self.work, row)?;
            sql.push_str(&self.deed(&group));
        }
        sql.push_str(&self.end(&lowest));
        let answers = self.session.ask(&sql).await.map_err(by_row)?;
        self.undone(&answers, &lowest)
    }

    /// Row by row, each behind a savepoint.
    async fn singly(&self, slice: UndoSlice) -> Result<Undone, TargetError> {
        let listed = format!(
            "SELECT {TAG_AND_NAMES}, f.number FROM dunlin.captured AS f WHERE f.number IN {} \
             ORDER BY f.number DESC",
            numbers(self.lease, self.work, slice)
        );
        let answers = self.begin(&listed).await?;
        let mut rows = Vec::new();
        for row in answers.last().map(|answer| answer.rows.as_slice()).unwrap_or_default() {
            rows.push((required(row, 2)?.to_owned(), Group::read(self.layout, self.work, row)?));
        }
        let Some(lowest) = rows.last().map(|(number, _)| number.clone()) else {
            return Ok(Undone::default());
        };
        let mut undone = Undone { lowest: lowest.parse().ok(), ..Undone::default() };
        // What is in one's way may be gone with another that is further down, so back and forth.
        loop {
            let tried = rows.len();
            let mut stuck = Vec::new();
            for (number, group) in rows {
                if self.alone(&number, &group).await? {
                    undone.restored += 1;
                } else {
                    stuck.push((number, group));
                }
            }
            if stuck.is_empty() || stuck.len() == tried {
                undone.passed = stuck.len() as u64;
                break;
            }
            stuck.reverse();
            rows = stuck;
        }
        let answers = self.session.ask(&self.are_left(&lowest)).await?;
        undone.left = boolean(single(&answers, 0)?, 0)?;
        Ok(undone)
    }

    /// Puts one row back; whether it has its old values.
    async fn alone(&self, number: &str, group: &Group) -> Result<bool, TargetError> {
        let sql = format!(
            "SAVEPOINT dunlin_row;{}{}{}",
            pick(&format!("'{{{number}}}'")),
            self.deed(group),
            self.end(number)
        );
        let restored = match self.session.ask(&sql).await.map_err(by_row) {
            Ok(answers) => self.undone(&answers, number)?.restored > 0,
            Err(error) if error.by_row => false,
            Err(error) => return Err(error),
        };
        let back = if restored { "" } else { "ROLLBACK TO SAVEPOINT dunlin_row;" };
        self.session.ask(&format!("{back}RELEASE SAVEPOINT dunlin_row")).await?;
        Ok(restored)
    }

    /// Settings, locks, and a query; its answers, if the table has its shape.
    async fn begin(&self, query: &str) -> Result<Vec<Answer>, TargetError> {
        let sql = format!(
            // A handful of keys each time, whatever the planner takes them for; the newest of all are
            // the end of an index. Only plain scans of an index skip what earlier chunks deleted. What is
            // turned off costs so much that the server would compile each chunk.
            "LOCK TABLE ONLY {table} IN ACCESS SHARE MODE;SELECT COALESCE({shape} = {planned}, false);\
             {TEXT_FORMS}SET LOCAL enable_seqscan TO off;SET LOCAL enable_hashjoin TO off;\
             SET LOCAL enable_mergejoin TO off;SET LOCAL enable_sort TO off;\
             SET LOCAL enable_bitmapscan TO off;SET LOCAL jit TO off;{query}",
            table = self.work.table,
            shape = shape(&regclass(self.work)),
            planned = quote::text(&self.work.shape),
        );
        let answers = self.session.ask(&sql).await?;
        if !boolean(single(&answers, 1)?, 0)? {
            return Err(TargetError::new(
                ErrorKind::ShapeChanged,
                format!("{} has another shape than when this undo looked at it", self.work.table),
            )
            .help("run the same command again: it goes on with the table as it is now"));
        }
        Ok(answers)
    }

    /// Puts the rows of a group back, and forgets those that have their old values again.
    fn deed(&self, group: &Group) -> String {
        let (layout, work) = (self.layout, self.work);
        // Values are compared in UTC. Triggers that note the time of day get the session's own.
        format!(
            "{}{OWN_ZONE};{}{}SET LOCAL timezone TO 'UTC';{}{OWN_ZONE};",
            compare(layout, work, group),
            update(layout, work, group),
            insert(layout, work, group),
            forget(layout, work, group),
        )
    }

    /// How many were forgotten, and were taken on; whether any are left.
    fn end(&self, lowest: &str) -> String {
        format!(
            // Checked here rather than by COMMIT, so that they are known to be about a row.
            "SET CONSTRAINTS ALL IMMEDIATE;\
             SELECT pg_catalog.current_setting('dunlin.undone')::bigint, \
             pg_catalog.cardinality({NUMBERS}), ({})",
            self.are_left(lowest),
        )
    }

    /// The answer to [`Way::end`].
    fn undone(&self, answers: &[Answer], lowest: &str) -> Result<Undone, TargetError> {
        let row = single(answers, answers.len().saturating_sub(1))?;
        let restored = number(row, 0)?;
        Ok(Undone {
            restored,
            passed: number::<u64>(row, 1)?.saturating_sub(restored),
            lowest: lowest.parse().ok(),
            left: boolean(row, 2)?,
        })
    }

    fn are_left(&self, lowest: &str) -> String {
        format!(
            "SELECT EXISTS (SELECT FROM dunlin.captured AS c WHERE {} AND c.number < {lowest})",
            these(self.lease, self.work)
        )
    }
}

fn by_row(error: TargetError) -> TargetError {
    let by_row = error.code.as_deref().is_some_and(is_by_row);
    TargetError { by_row, ..error }
}

fn these(lease: &Lease, work: &Backfill) -> String {
    format!("c.job = {} AND c.pass = {}", job(lease), work.pass)
}

/// What is taken on.
const NUMBERS: &str = "pg_catalog.current_setting('dunlin.numbers')::bigint[]";

/// The lowest of them.
const LOWEST: &str = "(SELECT pg_catalog.min(n) FROM pg_catalog.unnest(\
     pg_catalog.current_setting('dunlin.numbers')::bigint[]) AS n)";

/// The captured rows `c` that are taken on.
const CHOSEN: &str = "c.number = ANY (pg_catalog.current_setting('dunlin.numbers')::bigint[])";

/// A query of the numbers of a slice, in parentheses. Of a row that was captured twice it ends before
/// the older capture: that row then stands as it left it, exactly if nobody changed it in between.
fn numbers(lease: &Lease, work: &Backfill, slice: UndoSlice) -> String {
    format!(
        "(SELECT s.number FROM (SELECT l.number, max(l.number) FILTER (WHERE l.nth > 1) OVER () AS \
         again FROM (SELECT c.number, pg_catalog.row_number() OVER (PARTITION BY c.key \
         ORDER BY c.number DESC) AS nth FROM (SELECT c.key, c.number FROM dunlin.captured AS c \
         WHERE {these}{below} ORDER BY c.number DESC LIMIT {count_max}) AS c) AS l) AS s \
         WHERE s.again IS NULL OR s.number > s.again)",
        these = these(lease, work),
        below = slice.below.map_or_else(String::new, |number| format!(" AND c.number < {number}")),
        count_max = slice.count_max.clamp(1, 1_000_000),
    )
}

/// Notes what is taken on: an array, or NULL.
fn pick(numbers: &str) -> String {
    format!(
        "SELECT pg_catalog.set_config('dunlin.numbers', COALESCE({numbers}::text, '{{}}'), true), \
         pg_catalog.set_config('dunlin.undone', '0', true);"
    )
}

/// The groups of the rows that are taken on.
fn groups() -> String {
    format!(
        "SELECT {TAG_AND_NAMES} FROM (SELECT max(c.number) AS number FROM dunlin.captured AS c \
         WHERE {CHOSEN} GROUP BY c.old_values ->> '') AS g \
         JOIN dunlin.captured AS f ON f.number = g.number"
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

fn of_group(group: &Group) -> String {
    format!("{CHOSEN} AND COALESCE(c.old_values ->> '', '') = {}", quote::text(&group.tag))
}

/// Locks the rows of a group that are there, as the chunk left them, and notes which those are.
fn compare(layout: &Layout, work: &Backfill, group: &Group) -> String {
    format!(
        // An older program kept no new values: then the row's version tells.
        "SELECT pg_catalog.set_config('dunlin.unchanged', COALESCE(pg_catalog.array_agg(s.number)\
         ::text, '{{}}'), true) FROM (SELECT c.number FROM dunlin.captured AS c, {table} AS t \
         WHERE {of_group} AND c.xmin_after <> {DELETED} AND {same} AND CASE WHEN c.new_values IS NULL \
         THEN t.xmin::text = c.xmin_after ELSE {now} = c.new_values END \
         FOR NO KEY UPDATE OF t) AS s;",
        table = work.table,
        of_group = of_group(group),
        same = same(layout),
        now = kept_values("t", &group.tag, &group.columns),
    )
}

/// Puts old values into the rows that [`compare`] noted.
fn update(layout: &Layout, work: &Backfill, group: &Group) -> String {
    let assigned = assignments(layout, group, |column| !column.computed && !column.identity);
    if assigned.is_empty() {
        return String::new();
    }
    let sets: Vec<String> =
        assigned.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!(
        // The newest first, each into the room that the one before has left.
        "UPDATE {table} AS t SET {sets} FROM (SELECT c.* FROM dunlin.captured AS c \
         WHERE c.number = ANY (pg_catalog.current_setting('dunlin.unchanged')::bigint[]) \
         ORDER BY c.number DESC) AS c WHERE {same};",
        table = work.table,
        sets = sets.join(", "),
        same = same(layout),
    )
}

/// The condition under which a row `t` of the table is the one that `c` was captured of.
fn same(layout: &Layout) -> String {
    let parts = layout.parts.iter().enumerate();
    let key: Vec<String> =
        parts.map(|(at, part)| format!("(c.key::jsonb ->> {at})::{}", part.type_name)).collect();
    layout.equal(&key, Some("t"))
}

/// Inserts rows that the chunk deleted, with the numbers that they had, where their keys are free.
fn insert(layout: &Layout, work: &Backfill, group: &Group) -> String {
    let (names, values): (Vec<String>, Vec<String>) =
        assignments(layout, group, |column| !column.computed).into_iter().unzip();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} \
         FROM dunlin.captured AS c WHERE {of_group} AND c.xmin_after = {DELETED} \
         AND NOT EXISTS (SELECT FROM {table} AS t WHERE {same}) ORDER BY c.number DESC;",
        table = work.table,
        names = names.join(", "),
        values = values.join(", "),
        same = same(layout),
        of_group = of_group(group),
    )
}

/// Forgets the rows that have their old values, and adds their number to those.
fn forget(layout: &Layout, work: &Backfill, group: &Group) -> String {
    // An older program gave its rows no tag.
    let untagged = if group.tag.is_empty() { " - ''" } else { "" };
    format!(
        "WITH gone AS (DELETE FROM dunlin.captured AS c USING {table} AS t WHERE {of_group} \
         AND {same} AND {now}{untagged} = c.old_values RETURNING 1) \
         SELECT pg_catalog.set_config('dunlin.undone', \
         (pg_catalog.current_setting('dunlin.undone')::bigint \
         + (SELECT pg_catalog.count(*) FROM gone))::text, true);",
        table = work.table,
        of_group = of_group(group),
        same = same(layout),
        now = kept_values("t", &group.tag, &group.columns),
    )
}
