//! How the server is.
//!
//! The limits are mild: a backfill alone on an idle machine of two cores stays well below all.

use dunlin_engine::{Absent, Health, REPLICA_LAG, Signal, TargetError};
use dunlin_model::Backfill;

use crate::literal::text;
use crate::session::{Answer, Named};
use crate::target::MysqlTarget;

/// So many threads may run for each core before others wait for their turn; ours are among them.
const THREADS_PER_CORE: u64 = 4;

/// The least limit of threads, and the one where the server does not tell its cores.
const THREADS_MIN: u64 = 16;

/// So many waits for row locks at a time.
const LOCK_WAITS_MAX: u64 = 4;

/// So many transactions that purge has yet to clear away: busy servers have some ten thousand;
/// beyond some hundred thousand every read gets slower.
const HISTORY_MAX: u64 = 200_000;

/// Below this share of its maximum the age of the last checkpoint means nothing: InnoDB begins to
/// write pages for its sake at seven eighths, and keeps it about there under any load that lasts. At
/// the upper one it makes writers wait.
const CHECKPOINT_SHARE: (f64, f64) = (0.9, 1.0);

/// So many seconds a replica may be behind.
const LAG_SECONDS_MAX: f64 = 10.0;

const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_running', \
     'Threads_connected', \
     'Innodb_row_lock_current_waits', 'Innodb_history_list_length', 'Innodb_checkpoint_age', \
     'Innodb_checkpoint_max_age')";

fn signal(name: &'static str, load: f64, shown: String) -> Signal {
    Signal { name, load: load.max(0.0), shown }
}

/// A count with its limit. Counts are far below where floating point numbers have gaps.
fn counted(name: &'static str, count: u64, limit: u64, what: &str) -> Signal {
    let load = count as f64 / limit.max(1) as f64;
    signal(name, load, format!("{count} of {limit} {what}"))
}

impl MysqlTarget {
    pub(crate) async fn take_pulse(&mut self, work: &Backfill) -> Result<Health, TargetError> {
        let packet = format!(
            "{STATUS}; SHOW GLOBAL VARIABLES WHERE Variable_name = 'thread_pool_size'; {}",
            self.sessions()
        );
        let answers = self.session.run(&packet).await?;
        let [status, variables, sessions] = answers.as_slice() else {
            return Err(super::walk::too_little());
        };
        let mut health = Health::default();
        let value = |answer: &Answer, name: &str| {
            let row = answer.rows.iter().find(|row| row.text(0).eq_ignore_ascii_case(name));
            row.and_then(|row| row.number::<u64>(1))
        };
        health.others = others(sessions, value(status, "Threads_connected"));
        let mut history = value(status, "Innodb_history_list_length");
        if history.is_none() {
            history = self.history(&mut health).await?;
        }
        if let Some(running) = value(status, "Threads_running") {
            // MariaDB sets its pool to the machine's cores.
            let cores = value(variables, "thread_pool_size").unwrap_or_default();
            let limit = (cores * THREADS_PER_CORE).max(THREADS_MIN);
            health.signals.push(counted("threads running", running, limit, "threads running"));
        }
        if let Some(waits) = value(status, "Innodb_row_lock_current_waits") {
            let what = "waits for row locks";
            health.signals.push(counted("lock waits", waits, LOCK_WAITS_MAX, what));
        }
        if let Some(length) = history {
            let what = "transactions to be purged";
            health.signals.push(counted("history list", length, HISTORY_MAX, what));
        }
        let age = value(status, "Innodb_checkpoint_age");
        let most = value(status, "Innodb_checkpoint_max_age").filter(|most| *most > 0);
        if let (Some(age), Some(most)) = (age, most) {
            health.signals.push(checkpoint(age, most));
        }
        if self.replica {
            self.lag(work, &mut health).await?;
        }
        Ok(health)
    }

    /// How many sessions of others were at work within the last second, and how many of all can be
    /// seen.
    fn sessions(&self) -> String {
        let ours: Vec<String> = self.dialler.opened().iter().map(u32::to_string).collect();
        format!(
            "SELECT COALESCE(SUM(id NOT IN ({}) AND (command NOT IN ('Sleep', 'Daemon', \
             'Binlog Dump', 'Binlog Dump GTID') OR command = 'Sleep' AND time < 1)), 0), COUNT(*) \
             FROM information_schema.processlist WHERE user NOT IN ('system user', \
             'event_scheduler')",
            ours.join(", ")
        )
    }

    /// MySQL tells it to those who may see all processes.
    async fn history(&mut self, health: &mut Health) -> Result<Option<u64>, TargetError> {
        let query = "SELECT `count` FROM information_schema.innodb_metrics \
                     WHERE name = 'trx_rseg_history_len'";
        match self.session.run(query).await {
            Ok(answers) => Ok(super::walk::first_number(&answers)),
            Err(error) if self.session.is_lost() => Err(error),
            Err(_) => {
                health.absent.push(Absent {
                    name: "history list",
                    help: format!("GRANT PROCESS ON *.* TO {}", self.grantee()),
                });
                Ok(None)
            }
        }
    }

    async fn lag(&mut self, work: &Backfill, health: &mut Health) -> Result<(), TargetError> {
        let show =
            if self.facts.is_mariadb { "SHOW ALL SLAVES STATUS" } else { "SHOW REPLICA STATUS" };
        match self.session.run_named(show).await {
            Ok(rows) if !rows.is_empty() => {
                let mut behind = rows.iter().map(seconds_behind);
                let behind = behind.try_fold(0.0_f64, |most, each| Some(most.max(each?)));
                health.signals.push(match behind {
                    Some(seconds) => lag_of(seconds),
                    None => signal(REPLICA_LAG, 2.0, "replication does not run".to_owned()),
                });
                return Ok(());
            }
            Ok(_) => {}
            Err(error) if self.session.is_lost() => return Err(error),
            Err(_) => health.absent.push(Absent {
                name: REPLICA_LAG,
                help: if self.facts.is_mariadb {
                    format!("GRANT SLAVE MONITOR ON *.* TO {}", self.grantee())
                } else {
                    format!("GRANT REPLICATION CLIENT ON *.* TO {}", self.grantee())
                },
            }),
        }
        // Else by the row that the worker writes all along: it comes with everything before it.
        let query = format!(
            "SELECT TIMESTAMPDIFF(MICROSECOND, updated_at, UTC_TIMESTAMP(6)) / 1e6 FROM {} \
             WHERE job = {} AND state = 'running'",
            self.ledger.table("backfills"),
            text(&format!("data/{}", work.id.version))
        );
        if let Ok(answers) = self.session.run(&query).await {
            let row = answers.first().and_then(|answer| answer.rows.first());
            let seconds = row.and_then(|row| row.number::<f64>(0));
            health.signals.extend(seconds.map(lag_of));
        }
        Ok(())
    }
}

/// Sessions of others at work; `None` where this login sees fewer sessions than there are.
fn others(sessions: &Answer, connected: Option<u64>) -> Option<u64> {
    let row = sessions.rows.first()?;
    let (at_work, seen) = (row.number::<u64>(0)?, row.number::<u64>(1)?);
    (at_work > 0 || seen >= connected?).then_some(at_work)
}

fn seconds_behind(row: &Named) -> Option<f64> {
    ["Seconds_Behind_Source", "Seconds_Behind_Master"]
        .into_iter()
        .find_map(|name| row.text(name))
        .and_then(|text| text.parse().ok())
}

fn lag_of(seconds: f64) -> Signal {
    let shown = format!("{seconds:.1} of {LAG_SECONDS_MAX:.0} s behind");
    signal(REPLICA_LAG, seconds / LAG_SECONDS_MAX, shown)
}

fn checkpoint(age: u64, most: u64) -> Signal {
    let share = age as f64 / most as f64;
    let (low, high) = CHECKPOINT_SHARE;
    let shown = format!("checkpoint age at {:.0}% of its maximum", share * 100.0);
    signal("checkpoint age", (share - low) / (high - low), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_values_are_no_load() {
        assert!(checkpoint(50, 100).load < f64::EPSILON);
        assert!(checkpoint(89, 100).load < f64::EPSILON);
        assert!(checkpoint(100, 100).load > 0.99);
        assert!(counted("threads running", 7, 16, "threads running").load < 0.5);
        assert!(lag_of(20.0).load > 1.9);
    }
}
