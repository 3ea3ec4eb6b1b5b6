//! Rows that are set aside: noted in quarantine, with their error.

use dunlin_engine::{Chunk, Quarantined, TargetError, failpoint};
use dunlin_model::{Backfill, Key, Lease, Resource};

use super::chunk::{job, push_text_forms};
use super::layout::Layout;
use super::ledger::is_older_ledger;
use super::script::{Part, Script};
use crate::fence::{Access, Limits, as_ledger_error, begin_fenced, commit_fenced};
use crate::quote;
use crate::rows::{bug, number, required};
use crate::session::Session;

const AGAIN: &str = "ON CONFLICT (job, pass, key) DO UPDATE SET error = EXCLUDED.error, \
     at = pg_catalog.clock_timestamp()";

/// Notes the rows of a range.
pub(super) fn push_range(
    script: &mut Script,
    layout: &Layout,
    lease: &Lease,
    work: &Backfill,
    chunk: &Chunk,
    error: &str,
) -> usize {
    push_text_forms(script, true);
    script.push(
        Part::Ledger,
        &format!(
            "INSERT INTO dunlin.quarantine (job, pass, key, error) SELECT {}, {}, {}, {} \
             FROM {} AS t WHERE {} ORDER BY {} {AGAIN}",
            job(lease),
            work.pass,
            layout.encoded("t"),
            quote::text(error),
            work.table,
            layout.range(&chunk.range, Some("t")),
            layout.order("t", false),
        ),
    )
}

/// Notes rows by their keys.
pub(super) fn push_keys(
    script: &mut Script,
    lease: &Lease,
    work: &Backfill,
    rejected: &[(Key, String)],
) {
    if rejected.is_empty() {
        return;
    }
    let (job, pass) = (job(lease), work.pass);
    let values = rejected.iter().map(|(key, error)| {
        format!("({job}, {pass}, {}, {})", quote::text(&key.encode()), quote::text(error))
    });
    script.push(
        Part::Ledger,
        &format!(
            "INSERT INTO dunlin.quarantine (job, pass, key, error) VALUES {} {AGAIN}",
            values.collect::<Vec<_>>().join(", ")
        ),
    );
}

/// Rows in quarantine.
pub(super) async fn list(
    session: &mut Session,
    of: &Resource,
    count_max: u64,
) -> Result<Vec<Quarantined>, TargetError> {
    session.clean().await?;
    let sql = format!(
        "SELECT q.key, q.error, pg_catalog.round(pg_catalog.date_part('epoch', q.at) * 1000000)\
         ::bigint FROM dunlin.quarantine q JOIN dunlin.backfills b ON b.job = q.job \
         AND b.pass = q.pass WHERE q.job = {} ORDER BY q.number LIMIT {}",
        quote::text(&of.to_string()),
        count_max.min(i64::MAX.unsigned_abs())
    );
    let answers = match session.ask(&sql).await {
        Ok(answers) => answers,
        Err(error) if is_older_ledger(&error) => return Ok(Vec::new()),
        Err(error) => return Err(as_ledger_error(session, error, Access::Read)),
    };
    let rows = answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default();
    rows.iter()
        .map(|row| {
            Ok(Quarantined {
                key: Key::decode(required(row, 0)?)
                    .ok_or_else(|| bug("the quarantine has a key that is none"))?,
                error: required(row, 1)?.to_owned(),
                at: number(row, 2)?,
            })
        })
        .collect()
}

/// Takes rows out of quarantine.
pub(super) async fn discard(
    session: &mut Session,
    lease: &mut Lease,
    key: Option<&Key>,
) -> Result<u64, TargetError> {
    session.clean().await?;
    begin_fenced(session, lease, Limits::LEDGER, "").await?;
    let only =
        key.map_or_else(String::new, |key| format!(" AND key = {}", quote::text(&key.encode())));
    let sql = format!("DELETE FROM dunlin.quarantine WHERE job = {}{only}", job(lease));
    let count = match session.ask(&sql).await {
        Ok(answers) => answers.first().map_or(0, |answer| answer.count),
        Err(error) => {
            session.rollback().await;
            return Err(as_ledger_error(session, error, Access::Write));
        }
    };
    commit_fenced(session, lease).await?;
    failpoint("discard.done");
    Ok(count)
}
