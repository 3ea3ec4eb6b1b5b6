//! Runs in the ledger: that one began, and how it ended.

use dunlin_engine::{RunRecord, TargetError};
use dunlin_model::FORMAT;

use crate::fence::{Access, as_ledger_error, check_writer};
use crate::quote;
use crate::session::Session;

/// Notes that a run began.
pub(crate) async fn begin(session: &mut Session, run: &RunRecord) -> Result<(), TargetError> {
    session.clean().await?;
    let sql = format!(
        "INSERT INTO dunlin.runs (id, owner, host, pid, command, program) \
         SELECT {}, {}, {}, {}, {}, {} WHERE (SELECT min_writer FROM dunlin.meta) <= {FORMAT} \
         ON CONFLICT (id) DO NOTHING",
        quote::text(&run.id),
        quote::text(&run.owner.id),
        quote::text(&run.owner.host),
        run.owner.pid,
        quote::text(&run.command),
        quote::text(&run.program),
    );
    let answers =
        session.ask(&sql).await.map_err(|error| as_ledger_error(session, error, Access::Write))?;
    if answers.first().is_none_or(|answer| answer.count != 1) {
        check_writer(session).await?;
    }
    for (id, name) in &run.passed_over {
        let sql = format!(
            "INSERT INTO dunlin.migrations (kind, version, name, state, pass, baseline, \
             by_environment) VALUES ('{}', {}, {}, 'pending', 1, false, false) \
             ON CONFLICT (kind, version) DO NOTHING",
            id.kind,
            id.version,
            quote::text(name),
        );
        session.ask(&sql).await.map_err(|error| as_ledger_error(session, error, Access::Write))?;
    }
    Ok(())
}

/// Notes how a run ended.
pub(crate) async fn finish(
    session: &mut Session,
    id: &str,
    outcome: &str,
) -> Result<(), TargetError> {
    session.clean().await?;
    let sql = format!(
        "UPDATE dunlin.runs SET finished_at = pg_catalog.clock_timestamp(), outcome = {} \
         WHERE id = {} AND (SELECT min_writer FROM dunlin.meta) <= {FORMAT}",
        quote::text(outcome),
        quote::text(id),
    );
    session
        .ask(&sql)
        .await
        .map(|_| ())
        .map_err(|error| as_ledger_error(session, error, Access::Write))
}
