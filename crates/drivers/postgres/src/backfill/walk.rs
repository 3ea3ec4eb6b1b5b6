//! Keys in order: where a table ends, where chunks end, where it can be cut.

use dunlin_engine::{ErrorKind, Extent, Mark, TargetError};
use dunlin_model::{Backfill, Bound, Key};
use tokio_postgres::SimpleQueryRow;

use super::layout::Layout;
use super::predicate::Side;
use crate::rows::{Answer, boolean, field, number, required, single};
use crate::session::Session;

/// A walk is a scan of the index in its order that stops early; the planner is told so, since it
/// may know less of the table than we do. Times and numbers as texts that read back exactly.
const IN_ORDER: &str = "SET LOCAL enable_seqscan TO off;SET LOCAL enable_sort TO off;\
     SET LOCAL enable_bitmapscan TO off;SET LOCAL jit TO off;\
     SET LOCAL max_parallel_workers_per_gather TO 0;";

/// How values become text and text becomes values, whatever the login's settings are.
pub(super) const TEXT_FORMS: &str = "SET LOCAL datestyle TO 'ISO, YMD';\
     SET LOCAL intervalstyle TO postgres;SET LOCAL extra_float_digits TO 3;\
     SET LOCAL bytea_output TO hex;SET LOCAL timezone TO 'UTC';";

/// Takes the zone of [`TEXT_FORMS`] away again, from triggers that note the time of day. Texts of
/// moments say theirs.
pub(super) const OWN_ZONE: &str = "SET LOCAL timezone TO DEFAULT";

/// Pages that are sampled to cut a stretch: its middle is found to about 2%, in a moment even on a slow
/// disk.
pub(super) const SAMPLE_PAGES: u32 = 500;

/// How long a question waits for a table that somebody has locked as a whole (ALTER TABLE): no
/// longer than a chunk would, so that whoever asks can look up meanwhile.
fn patience(work: &Backfill) -> String {
    let limit = work.lock_timeout.as_millis().clamp(1, i32::MAX as u128);
    format!("SET LOCAL lock_timeout TO {limit};")
}

/// Asks one question in a transaction of its own, under settings that hold for it alone.
pub(super) async fn ask(
    session: &mut Session,
    settings: &str,
    question: &str,
) -> Result<Answer, TargetError> {
    session.clean().await?;
    match session.ask(&alone(settings, question)).await {
        Ok(mut answers) => {
            answers.pop();
            Ok(answers.pop().unwrap_or_default())
        }
        Err(error) => {
            session.rollback().await;
            Err(error)
        }
    }
}

/// As [`ask`], with each row as it comes.
pub(super) async fn ask_each(
    session: &mut Session,
    settings: &str,
    question: &str,
    take: impl FnMut(SimpleQueryRow),
) -> Result<(), TargetError> {
    session.clean().await?;
    let asked = session.each_row(&alone(settings, question), take).await;
    if asked.is_err() {
        session.rollback().await;
    }
    asked
}

/// The whole message is one round trip, also through a pooler. A question of ours is bounded, but on a
/// busy server it may take long all the same.
fn alone(settings: &str, question: &str) -> String {
    format!("BEGIN READ ONLY;{TEXT_FORMS}{settings}{question};COMMIT")
}

/// A key from so many columns of a row.
pub(super) fn key(row: &SimpleQueryRow, from: usize, count: usize) -> Result<Key, TargetError> {
    let parts = (from..from + count).map(|index| Ok(required(row, index)?.to_owned()));
    parts.collect::<Result<_, TargetError>>().map(Key)
}

/// The end of the keys.
pub(super) async fn extent(
    session: &mut Session,
    layout: &Layout,
    work: &Backfill,
) -> Result<Extent, TargetError> {
    let keys: Vec<String> =
        layout.parts.iter().map(|part| format!("t.{} IS NOT NULL", part.name)).collect();
    let sql = format!(
        "SELECT e.*, EXISTS (SELECT FROM {table} AS t WHERE {nulls}) FROM (SELECT) AS one \
         LEFT JOIN (SELECT true AS found, {texts} FROM (SELECT {columns} FROM {table} AS t \
         WHERE {keys} ORDER BY {order} LIMIT 1) AS t) AS e ON true",
        table = work.table,
        nulls = layout.nulls(Some("t")),
        texts = layout.texts("t"),
        columns = layout.columns("t"),
        keys = keys.join(" AND "),
        order = layout.order("t", true),
    );
    let answer = ask(session, &format!("{IN_ORDER}{}", patience(work)), &sql).await;
    let answers = [answer.map_err(|error| with_grant(error, "reading the keys of", work))?];
    let row = single(&answers, 0)?;
    let count = layout.parts.len();
    let found = field(row, 0)?.is_some();
    Ok(Extent {
        hi: if found { Some(key(row, 1, count)?) } else { None },
        nulls: boolean(row, 1 + count)?,
    })
}

/// The statement of a walk. It hops: each mark is the `spacing`-th key behind the one before, by
/// OFFSET in an index-only scan. Over three million rows that took 50 ns a row; numbering them
/// with `row_number()` took 190.
pub(super) fn walk_sql(
    layout: &Layout,
    work: &Backfill,
    after: &Bound,
    upto: &Key,
    spacing: u64,
    count: u32,
) -> String {
    let names: Vec<String> = (1..=layout.parts.len()).map(|n| format!("k{n}")).collect();
    let names_of = |alias: &str| -> Vec<String> {
        names.iter().map(|name| format!("{alias}.{name}")).collect()
    };
    let named: Vec<String> = layout
        .parts
        .iter()
        .zip(&names)
        .map(|(part, name)| format!("t.{} AS {name}", part.name))
        .collect();
    let texts: Vec<String> = names.iter().map(|name| format!("m.{name}::text")).collect();
    let whole = layout.between(after, upto, Some("t"));
    let rest_of = |alias: &str| {
        format!(
            "{} AND {}",
            layout.side(Side::After, &names_of(alias), Some("t")),
            layout.side(Side::Upto, &layout.literals(upto), Some("t"))
        )
    };
    let hop = |condition: &str| {
        format!(
            "SELECT {} FROM {} AS t WHERE {condition} ORDER BY {} OFFSET {} LIMIT 1",
            named.join(", "),
            work.table,
            layout.order("t", false),
            spacing.saturating_sub(1)
        )
    };
    format!(
        "WITH RECURSIVE marks AS ((SELECT 1 AS n, h.* FROM ({first}) AS h) UNION ALL \
         (SELECT w.n + 1, h.* FROM marks AS w CROSS JOIN LATERAL ({next}) AS h \
         WHERE w.n < {count})), last AS (SELECT * FROM marks ORDER BY n DESC LIMIT 1) \
         SELECT m.n, NULL::bigint AS rest, {texts} FROM marks AS m UNION ALL \
         SELECT {past}, CASE WHEN EXISTS (SELECT FROM last) THEN (SELECT r.c FROM last AS l \
         CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS c FROM (SELECT FROM {table} AS t WHERE \
         {rest} LIMIT {spacing}) AS x) AS r) ELSE (SELECT pg_catalog.count(*) FROM (SELECT FROM \
         {table} AS t WHERE {whole} LIMIT {spacing}) AS x) END, {nothing} \
         WHERE (SELECT pg_catalog.count(*) FROM marks) < {count} ORDER BY 1",
        first = hop(&whole),
        next = hop(&rest_of("w")),
        texts = texts.join(", "),
        past = i64::from(count) + 1,
        table = work.table,
        rest = rest_of("l"),
        nothing = vec!["NULL"; names.len()].join(", "),
    )
}

/// Walks keys in order.
pub(super) async fn walk(
    session: &mut Session,
    layout: &Layout,
    work: &Backfill,
    stretch: (&Bound, &Key),
    spacing: u64,
    count: u32,
) -> Result<Vec<Mark>, TargetError> {
    let (after, upto) = stretch;
    let (spacing, count) = (spacing.max(1), count.max(1));
    let sql = walk_sql(layout, work, after, upto, spacing, count);
    let answer = ask(session, &format!("{IN_ORDER}{}", patience(work)), &sql).await?;
    let mut marks = Vec::with_capacity(answer.rows.len());
    for row in &answer.rows {
        if field(row, 2)?.is_some() {
            marks.push(Mark { key: key(row, 2, layout.parts.len())?, rows: spacing });
        } else {
            let rows = number(row, 1)?;
            // The walk may have hit upon the end exactly.
            if rows > 0 || marks.last().is_none_or(|mark: &Mark| mark.key != *upto) {
                marks.push(Mark { key: upto.clone(), rows });
            }
        }
    }
    Ok(marks)
}

/// Keys that cut a stretch, from a sample of so many pages.
pub(super) async fn split(
    session: &mut Session,
    layout: &Layout,
    work: &Backfill,
    stretch: (&Bound, &Key),
    parts: u32,
    sample_pages: u32,
) -> Result<Vec<Key>, TargetError> {
    let (after, upto) = stretch;
    if parts < 2 {
        return Ok(Vec::new());
    }
    let sized = format!(
        "SELECT pg_catalog.sum(pg_catalog.pg_relation_size(c.oid)) / \
         pg_catalog.current_setting('block_size')::bigint FROM pg_catalog.pg_class c \
         WHERE c.oid = {table} OR c.oid IN (SELECT relid FROM \
         pg_catalog.pg_partition_tree({table}))",
        table = regclass(work),
    );
    let answers = [ask(session, "", &sized).await?];
    let pages: f64 = number(single(&answers, 0)?, 0)?;
    let percent = (f64::from(sample_pages) * 100.0 / pages.max(1.0)).min(100.0);
    let sql = format!(
        "SELECT {texts} FROM (SELECT {columns}, pg_catalog.row_number() OVER (ORDER BY {order}) \
         AS dunlin_n, pg_catalog.count(*) OVER () AS dunlin_c FROM {table} AS t \
         TABLESAMPLE SYSTEM ({percent}) WHERE {range} AND NOT ({end})) AS t \
         WHERE dunlin_n * {parts} / (dunlin_c + 1) > (dunlin_n - 1) * {parts} / (dunlin_c + 1) \
         ORDER BY dunlin_n LIMIT {most}",
        texts = layout.texts("t"),
        columns = layout.columns("t"),
        order = layout.order("t", false),
        table = work.table,
        range = layout.between(after, upto, Some("t")),
        end = layout.exactly(upto, Some("t")),
        most = parts - 1,
    );
    let settings = format!("SET LOCAL jit TO off;{}", patience(work));
    let answer = ask(session, &settings, &sql).await?;
    answer.rows.iter().map(|row| key(row, 0, layout.parts.len())).collect()
}

/// An error of rights, with what was asked and what gives them.
pub(super) fn with_grant(error: TargetError, what: &str, work: &Backfill) -> TargetError {
    if error.kind != ErrorKind::Permission {
        return error;
    }
    let table = &work.table;
    let mut rights = std::collections::BTreeSet::from(["SELECT"]);
    for statement in &work.statements {
        match statement.facts.verb.as_str() {
            "UPDATE" => rights.insert("UPDATE"),
            "DELETE" => rights.insert("DELETE"),
            _ => false,
        };
    }
    let rights: Vec<&str> = rights.into_iter().collect();
    let help = format!(
        "a login with the right to must give it: GRANT {} ON {table} TO the login of this run",
        rights.join(", ")
    );
    let message = format!("{what} {table}: {}", error.message);
    TargetError { message, ..error }.help(help)
}

/// What the table is called in queries with a condition of the user's, who may have written its name
/// before a column.
pub(super) fn alias(work: &Backfill) -> &str {
    crate::image::last_part(&work.table)
}

/// The table as a value of the catalogue.
pub(super) fn regclass(work: &Backfill) -> String {
    format!("pg_catalog.to_regclass({})", crate::quote::text(&work.table))
}

/// About how many rows that matter are in a stretch.
pub(super) async fn estimate(
    session: &mut Session,
    layout: &Layout,
    work: &Backfill,
    after: &Bound,
    upto: &Key,
) -> Result<Option<u64>, TargetError> {
    let t = alias(work);
    let sql = format!(
        "EXPLAIN (FORMAT JSON) SELECT FROM {} AS {t} WHERE {}{}",
        work.table,
        layout.between(after, upto, Some(t)),
        filter(work)
    );
    let answer = ask(session, &patience(work), &sql).await?;
    let plan = super::explain::plan(&answer)?;
    let Some(rows) = plan["Plan"]["Plan Rows"].as_f64() else { return Ok(None) };
    // The planner takes every page for as full of rows as it was when they were counted, so that
    // what updates leave behind counts again.
    let answers = [ask(session, "", &live_share_sql(work)).await?];
    let share: f64 = number(single(&answers, 0)?, 0)?;
    Ok(Some((rows * share).round() as u64))
}

/// Which share of the rows that the planner sees in a table are there.
fn live_share_sql(work: &Backfill) -> String {
    format!(
        "SELECT LEAST(pg_catalog.sum(s.live) / NULLIF(pg_catalog.sum(s.planned), 0), 1) FROM \
         (SELECT {planned} AS planned, {live} AS live FROM pg_catalog.pg_class l \
         WHERE l.relkind = 'r' AND (l.oid = {table} OR l.oid IN (SELECT relid FROM \
         pg_catalog.pg_partition_tree({table})))) AS s",
        planned = super::catalogue::PLANNED_ROWS,
        live = super::catalogue::live_rows(),
        table = regclass(work),
    )
}

/// The user's condition on rows, with ` AND ` before it. It names columns without an alias.
pub(super) fn filter(work: &Backfill) -> String {
    work.filter.as_ref().map_or_else(String::new, |filter| format!(" AND ({filter}\n)"))
}
