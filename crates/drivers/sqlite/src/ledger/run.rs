//! Attempts to execute a plan.

use dunlin_engine::RunRecord;
use rusqlite::{Connection, params};

use super::{NOW, fence};
use crate::fault::Outcome;

pub(crate) fn begin_run(connection: &Connection, run: &RunRecord) -> Outcome<()> {
    fence::writable(connection)?;
    let sql = format!(
        "INSERT INTO dunlin_runs (id, owner, host, pid, command, program, started_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, {NOW})"
    );
    connection.prepare_cached(&sql)?.execute(params![
        run.id,
        run.owner.id,
        run.owner.host,
        run.owner.pid,
        run.command,
        run.program,
    ])?;
    for (id, name) in &run.passed_over {
        let sql = "INSERT INTO dunlin_migrations
                   (kind, version, name, state, pass, baseline, by_environment)
                   VALUES (?1, ?2, ?3, 'pending', 1, 0, 0)
                   ON CONFLICT (kind, version) DO NOTHING";
        let key = params![id.kind.as_str(), id.version.get(), name];
        connection.prepare_cached(sql)?.execute(key)?;
    }
    Ok(())
}

pub(crate) fn finish_run(connection: &Connection, id: &str, outcome: &str) -> Outcome<()> {
    let sql = format!("UPDATE dunlin_runs SET finished_at = {NOW}, outcome = ?2 WHERE id = ?1");
    connection.prepare_cached(&sql)?.execute(params![id, outcome])?;
    Ok(())
}
