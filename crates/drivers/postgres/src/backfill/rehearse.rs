//! A chunk that is run and rolled back, and what it told.

use std::time::Instant;

use dunlin_engine::{Rehearsal, TargetError};
use dunlin_model::{Backfill, KeyRange};
use serde_json::Value;

use super::chunk::{is_by_row, may_run};
use super::explain::{is_explained, plan};
use super::layout::Layout;
use super::script::{Part, Script};
use super::walk::regclass;
use crate::fence::Limits;
use crate::rows::{Answer, number, required, single};
use crate::session::{APPLICATION_NAME, Session, leaves_traces};
use crate::statements::touched;

/// Objects of the user's own; all below are the server's.
const FIRST_OWN_OID: u32 = 16_384;

/// Runs a chunk's statements and rolls back.
pub(super) async fn rehearse(
    session: &mut Session,
    layout: &Layout,
    work: &Backfill,
    range: &KeyRange,
) -> Result<Rehearsal, TargetError> {
    session.clean().await?;
    may_run(work)?;
    let level = if work.statements.len() > 1 { "REPEATABLE READ" } else { "READ COMMITTED" };
    let mut script = Script::default();
    script.push(Part::Plain, &format!("BEGIN ISOLATION LEVEL {level}"));
    let limits = Limits { lock: work.lock_timeout, statement: Some(work.statement_timeout) };
    for setting in limits.settings(APPLICATION_NAME, true) {
        script.push(Part::Plain, &setting);
    }
    let backend = format!("{}, pg_catalog.pg_current_wal_insert_lsn()", session.backend_sql(true));
    let started = script.push(Part::Plain, &backend);
    let mut users = Vec::new();
    for (index, statement) in work.statements.iter().enumerate() {
        // Its own plan counts triggers; clocks for each row would cost more than the rows.
        let explained = is_explained(&statement.facts.verb);
        let prefix = if explained { "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " } else { "" };
        users.push((
            script.push_user(index, statement, prefix, |alias| layout.range(range, alias)),
            explained,
        ));
    }
    script.push(Part::Constraints, "SET CONSTRAINTS ALL IMMEDIATE");
    let ended = script.push(Part::Plain, &end_sql(work));
    let locks = script.push(Part::Plain, &locks_sql());
    session.dirty = work.statements.iter().any(leaves_traces);
    let began = Instant::now();
    let result = script.run(session).await;
    let took = began.elapsed();
    session.rollback().await;
    let answers = result.map_err(|failure| {
        let mut error = failure.error;
        let by_row = matches!(failure.part, Part::User(_) | Part::Constraints);
        error.by_row = by_row && error.code.as_deref().is_some_and(is_by_row);
        error
    })?;
    let mut rehearsal = Rehearsal { took, ..Rehearsal::default() };
    for (statement, (at, explained)) in work.statements.iter().zip(users) {
        let Some(answer) = answers.get(at) else { continue };
        if explained {
            let plan = plan(answer)?;
            rehearsal.rows.push(changed_rows(&plan["Plan"]));
            rehearsal.triggers.extend(triggers(&plan));
        } else {
            rehearsal.rows.push(touched(statement, answer.count));
        }
    }
    read_end(&answers, started, ended, &mut rehearsal)?;
    for row in answers.get(locks).map(|answer| answer.rows.as_slice()).unwrap_or_default() {
        rehearsal.locks.push(required(row, 0)?.to_owned());
    }
    Ok(rehearsal)
}

fn read_end(
    answers: &[Answer],
    started: usize,
    ended: usize,
    rehearsal: &mut Rehearsal,
) -> Result<(), TargetError> {
    let start = single(answers, started)?;
    let end = single(answers, ended)?;
    let from = log_place(required(start, start.len().saturating_sub(1))?);
    let to = log_place(required(end, 0)?);
    rehearsal.log_bytes = from.zip(to).map(|(from, to)| to.saturating_sub(from));
    let updates: u64 = number(end, 1)?;
    let hot: u64 = number(end, 2)?;
    if updates > 0 {
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let ratio = hot as f64 / updates as f64;
        rehearsal.hot_ratio = Some(ratio);
    }
    Ok(())
}

/// A place in the server's log as a number of bytes.
pub(super) fn log_place(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some((u64::from_str_radix(high, 16).ok()? << 32) | u64::from_str_radix(low, 16).ok()?)
}

/// Where the log is, updates of the table and its partitions and how many of them were HOT.
fn end_sql(work: &Backfill) -> String {
    format!(
        "SELECT pg_catalog.pg_current_wal_insert_lsn(), COALESCE(pg_catalog.sum(n_tup_upd), 0), \
         COALESCE(pg_catalog.sum(n_tup_hot_upd), 0) \
         FROM pg_catalog.pg_stat_xact_user_tables WHERE relid = {table} OR relid IN \
         (SELECT relid FROM pg_catalog.pg_partition_tree({table}))",
        table = regclass(work),
    )
}

fn locks_sql() -> String {
    format!(
        "SELECT DISTINCT mode || ' on ' || relation::pg_catalog.regclass::text \
         FROM pg_catalog.pg_locks WHERE pid = pg_catalog.pg_backend_pid() AND granted \
         AND locktype = 'relation' AND relation >= {FIRST_OWN_OID} ORDER BY 1"
    )
}

/// Rows that a statement changed: those that its plan handed to the change.
fn changed_rows(plan: &Value) -> Option<u64> {
    if plan["Node Type"].as_str() != Some("ModifyTable") {
        return None;
    }
    if let Some(inserted) = plan["Tuples Inserted"].as_f64() {
        return Some(whole(inserted + plan["Conflicting Tuples"].as_f64().unwrap_or(0.0)));
    }
    let sources = plan["Plans"].as_array()?;
    let rows = sources
        .iter()
        .filter(|source| {
            source["Parent Relationship"].as_str() == Some("Outer")
                || source["Parent Relationship"].as_str() == Some("Member")
        })
        .map(|source| {
            source["Actual Rows"].as_f64().unwrap_or(0.0)
                * source["Actual Loops"].as_f64().unwrap_or(1.0)
        })
        .sum();
    Some(whole(rows))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of rows; a float only in JSON"
)]
fn whole(rows: f64) -> u64 {
    rows.round().max(0.0) as u64
}

/// "posts_touch on posts: 5000 times".
fn triggers(plan: &Value) -> Vec<String> {
    let all = plan["Triggers"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter()
        .filter_map(|trigger| {
            let calls = trigger["Calls"].as_f64().filter(|calls| *calls > 0.0)?;
            let name = trigger["Constraint Name"]
                .as_str()
                .map(|name| format!("constraint {name}"))
                .or_else(|| trigger["Trigger Name"].as_str().map(str::to_owned))?;
            let table = trigger["Relation"].as_str().unwrap_or_default();
            Some(format!("{name} on {table}: {} times", whole(calls)))
        })
        .collect()
}
