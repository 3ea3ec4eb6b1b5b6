//! Old values: kept in the chunk's transaction, with the new ones beside them. `undo` puts them back.
//!
//! A captured row knows the columns that were kept as they were before the chunk and after it. What
//! an undo finds with the new values is as the chunk left it, also after the table was written anew
//! or restored from a dump, which give every row another `xmin`. That one only spares the comparison
//! within the chunk, for rows that its statements left alone. Beside the columns stands, under the
//! empty name, a tag of their types and of the key's: texts of other types are not compared.

use std::time::Duration;

use dunlin_engine::{Chunk, Kept, TargetError};
use dunlin_model::{Backfill, Capture, Lease, Resource};

use super::chunk::{job, push_text_forms};
use super::layout::Layout;
use super::ledger::is_older_ledger;
use super::script::{Part, Script};
use super::undo::Group;
use super::walk::{alias, filter};
use crate::fence::{Access, as_ledger_error};
use crate::quote;
use crate::rows::{boolean, number};
use crate::session::Session;

/// This transaction, as `xmin` shows it.
const OURS: &str = "(pg_catalog.txid_current() % 4294967296)::text";

/// What is captured stands behind this number.
const FIRST: &str = "pg_catalog.current_setting('dunlin.captured')::bigint";

/// Rows that a chunk deleted have this in place of an `xmin`.
pub(super) const DELETED: &str = "'deleted'";

/// Of a captured row `f`: the tag, empty where an older program kept it, and its columns' names as a
/// list in JSON.
pub(super) const TAG_AND_NAMES: &str = "COALESCE(f.old_values ->> '', ''), \
     (SELECT COALESCE(pg_catalog.jsonb_agg(k), '[]')::text \
     FROM pg_catalog.jsonb_object_keys(f.old_values) AS k WHERE k <> '')";

/// The tag of columns as they are by now, and of the key; `None`: there is no such column any more.
pub(super) fn tag(layout: &Layout, work: &Backfill, columns: &[String]) -> Option<String> {
    let form = |name: &'_ String| layout.columns.get(name).map(|column| column.form.as_str());
    let with_form = |name| Some((String::as_str(name), form(name)?));
    let key: Option<Vec<_>> = work.key.iter().map(|column| with_form(&column.name)).collect();
    let columns: Option<Vec<_>> = columns.iter().map(with_form).collect();
    Some(Capture::tag(key?, columns?))
}

/// An expression: columns of the row `t` as they are kept, with their tag.
pub(super) fn kept_values(t: &str, tag: &str, columns: &[String]) -> String {
    let names: Vec<String> = columns.iter().map(|column| quote::text(column)).collect();
    let values: Vec<String> =
        columns.iter().map(|column| format!("{t}.{}::text", quote::name(column))).collect();
    format!(
        "pg_catalog.jsonb_object(ARRAY['', {names}]::text[], ARRAY[{tag}, {values}]::text[])",
        names = names.join(", "),
        tag = quote::text(tag),
        values = values.join(", "),
    )
}

/// Keeps the values as they are before the statements.
pub(super) fn push_before(
    script: &mut Script,
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    chunk: &Chunk,
    capture: &Capture,
) {
    let t = alias(work);
    push_text_forms(script, true);
    let rows = format!(
        "FROM {table} AS {t} WHERE {range}{filter} ORDER BY {order}",
        table = work.table,
        range = layout.range(&chunk.range, Some(t)),
        filter = filter(work),
        order = layout.order(t, false),
    );
    push_kept(script, layout, lease, work, capture, t, &rows);
    push_text_forms(script, false);
}

/// Keeps the values of rows `t`, which `rows` (from its FROM on) chooses. Values and keys are as
/// exact as the settings that make them into texts.
pub(super) fn push_kept(
    script: &mut Script,
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    capture: &Capture,
    t: &str,
    rows: &str,
) {
    let tag = tag(layout, work, &capture.columns).unwrap_or_default();
    script.push(
        Part::Ledger,
        "SELECT pg_catalog.set_config('dunlin.captured', pg_catalog.nextval(\
         pg_catalog.pg_get_serial_sequence('dunlin.captured', 'number'))::text, true)",
    );
    script.push(
        Part::Ledger,
        &format!(
            "INSERT INTO dunlin.captured (job, pass, key, old_values, xmin_before, xmin_after, \
             forget_at) SELECT {job}, {pass}, {key}, {values}, {t}.xmin::text, {OURS}, pg_catalog.clock_timestamp() + \
             {keep} * interval '1 second' {rows}",
            job = job(lease),
            pass = work.pass,
            key = layout.encoded(t),
            values = kept_values(t, &tag, &capture.columns),
            keep = capture.keep.as_secs(),
        ),
    );
}

/// Forgets rows that the statements left alone, and keeps the new values of the others.
pub(super) fn push_after(
    script: &mut Script,
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    chunk: &Chunk,
    capture: &Capture,
) {
    push_text_forms(script, true);
    let of_chunk = |c: &str| {
        format!("{c}.job = {} AND {c}.pass = {} AND {c}.number > {FIRST}", job(lease), work.pass)
    };
    let (these, those) = (of_chunk("c"), of_chunk("d"));
    let now = format!(
        "(SELECT {key} AS key, t.xmin::text AS version, {kept} AS kept FROM {table} AS t \
         WHERE {range}) AS n",
        key = layout.encoded("t"),
        kept = kept_values(
            "t",
            &tag(layout, work, &capture.columns).unwrap_or_default(),
            &capture.columns
        ),
        table = work.table,
        range = layout.range(&chunk.range, Some("t")),
    );
    // What is kept of this pass is unknown to the planner's statistics until the next ANALYZE: it would
    // take it for one row, and go through the chunk's rows once for each.
    script.push(Part::Ledger, "SET LOCAL enable_nestloop TO off");
    // Other lanes capture at the same time: theirs are told apart by their transaction.
    script.push(
        Part::Ledger,
        &format!(
            "DELETE FROM dunlin.captured AS c USING {now} WHERE {these} AND c.xmin_after = {OURS} \
             AND n.key = c.key AND (n.version = c.xmin_before OR n.kept = c.old_values)"
        ),
    );
    script.push(
        Part::Ledger,
        &format!(
            "UPDATE dunlin.captured AS c SET xmin_after = COALESCE(n.version, {DELETED}), \
             new_values = n.kept FROM dunlin.captured AS d LEFT JOIN {now} ON n.key = d.key \
             WHERE {these} AND c.xmin_after = {OURS} AND {those} AND d.number = c.number"
        ),
    );
    script.push(Part::Ledger, "SET LOCAL enable_nestloop TO DEFAULT");
    push_text_forms(script, false);
}

/// What is left to undo with.
pub(super) async fn kept(
    session: &mut Session,
    layout: &Layout,
    work: &Backfill,
) -> Result<Kept, TargetError> {
    session.clean().await?;
    let job = quote::text(&Resource::Data(work.id.version).to_string());
    let of = |which: &str| {
        format!(
            "SELECT c.number FROM dunlin.captured AS c WHERE c.job = {job} \
             ORDER BY c.pass {which}, c.number {which} LIMIT 1"
        )
    };
    let sql = format!(
        "SELECT EXISTS (SELECT FROM dunlin.captured AS c WHERE c.job = b.job), \
         pg_catalog.floor(pg_catalog.date_part('epoch', \
         pg_catalog.clock_timestamp() - b.started_at))::bigint \
         FROM dunlin.backfills AS b WHERE b.job = {job};\
         SELECT {TAG_AND_NAMES} FROM dunlin.captured AS f WHERE f.number IN (({}), ({}))",
        of("ASC"),
        of("DESC"),
    );
    let asked = session.ask(&sql).await;
    let answers = asked.map_err(|error| as_ledger_error(session, error, Access::Read))?;
    let Some(row) = answers.first().and_then(|answer| answer.rows.first()) else {
        return Ok(Kept::default());
    };
    for row in answers.get(1).map(|answer| answer.rows.as_slice()).unwrap_or_default() {
        Group::read(layout, work, row)?;
    }
    let seconds = number::<i64>(row, 1)?.max(0).unsigned_abs();
    Ok(Kept { any: boolean(row, 0)?, age: Duration::from_secs(seconds) })
}

/// Forgets what is over, but not from under an undo that has begun: it would take what is gone for
/// done.
pub(super) async fn forget(session: &mut Session, count_max: u64) -> Result<u64, TargetError> {
    session.clean().await?;
    let sql = format!(
        "DELETE FROM dunlin.captured WHERE number IN (SELECT number FROM dunlin.captured \
         WHERE forget_at < pg_catalog.clock_timestamp() AND job NOT IN \
         (SELECT job FROM dunlin.backfills WHERE phase = 'undo' AND state <> 'undone') \
         ORDER BY forget_at LIMIT {} FOR UPDATE SKIP LOCKED)",
        count_max.min(i64::MAX.unsigned_abs())
    );
    match session.ask(&sql).await {
        Ok(answers) => Ok(answers.first().map_or(0, |answer| answer.count)),
        Err(error) if is_older_ledger(&error) => Ok(0),
        Err(error) => Err(as_ledger_error(session, error, Access::Write)),
    }
}
