//! Transactions that were under way at a moment, and who of them still is.

use dunlin_engine::{Barrier, TargetError};

use crate::quote;
use crate::rows::{field, required, single};
use crate::session::Session;

/// This moment: a number of our own, which is higher than that of every transaction that has one
/// by now. A snapshot alone would not do: its `xmax` is one behind the last that *ended*, so that a
/// writer with a higher number that is still at work would pass unseen.
pub(super) async fn now(session: &mut Session) -> Result<Barrier, TargetError> {
    session.clean().await?;
    let answers = session.ask("SELECT pg_catalog.txid_current()").await?;
    Ok(Barrier(required(single(&answers, 0)?, 0)?.to_owned()))
}

/// Who is still at work. The snapshot says which transactions are; who they are is looked up, and
/// only those that are known to be in another database are left out, where our rows are not.
pub(super) async fn behind(
    session: &mut Session,
    barrier: &Barrier,
) -> Result<Vec<String>, TargetError> {
    session.clean().await?;
    let sql = format!(
        "SELECT x.id, COALESCE(a.pid::text, ''), a.usename, a.application_name, \
         pg_catalog.to_char(COALESCE(a.xact_start, p.prepared), 'YYYY-MM-DD HH24:MI:SS TZ'), p.gid \
         FROM pg_catalog.txid_snapshot_xip(pg_catalog.txid_current_snapshot()) AS x (id) \
         LEFT JOIN pg_catalog.pg_locks l ON l.locktype = 'transactionid' \
         AND l.mode = 'ExclusiveLock' AND l.granted \
         AND l.transactionid::text = (x.id % 4294967296)::text \
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         LEFT JOIN pg_catalog.pg_prepared_xacts p \
         ON p.transaction::text = (x.id % 4294967296)::text \
         WHERE x.id < {}::bigint AND COALESCE(a.datname, p.database, \
         pg_catalog.current_database()) = pg_catalog.current_database() ORDER BY x.id",
        quote::text(&barrier.0)
    );
    let answers = session.ask(&sql).await?;
    let rows = answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default();
    rows.iter()
        .map(|row| {
            let pid = required(row, 1)?;
            let mut line = match field(row, 5)? {
                Some(name) => format!("prepared transaction `{name}`"),
                None if pid.is_empty() => format!("transaction {}", required(row, 0)?),
                None => format!("pid {pid}"),
            };
            if let Some(user) = field(row, 2)? {
                line.push_str(&format!(", user {user}"));
            }
            if let Some(name) = field(row, 3)?.filter(|name| !name.is_empty()) {
                line.push_str(&format!(", application {name}"));
            }
            if let Some(since) = field(row, 4)? {
                line.push_str(&format!(", since {since}"));
            }
            Ok(line)
        })
        .collect()
}
