//! The session that the user's statements run on.
//!
//! Invariants: a work begins with a session as new; what its file sets stays set for the rest of
//! the file, also where its first part was run by an earlier runner; nothing of it reaches the
//! next work.

use std::sync::Arc;
use std::time::Duration;

use dunlin_engine::{TargetError, Work};
use dunlin_model::{Checksums, Direction, MigrationId, Statement};

use crate::dial::Dialler;
use crate::facts::{Facts, Role, set_up, settings};
use crate::failure::local_infile;
use crate::session::{Effect, Session};

/// By how much the client's patience is longer than the timeout that the server keeps by itself.
const SERVER_FIRST: Duration = Duration::from_secs(2);

/// One step of one migration's pass, as the journal knows it.
#[derive(Debug, Clone)]
pub(crate) struct StepKey {
    pub(crate) id: MigrationId,
    pub(crate) direction: Direction,
    pub(crate) pass: u32,
    pub(crate) ordinal: u32,
    pub(crate) checksum: String,
    pub(crate) token: i64,
}

impl StepKey {
    pub(crate) fn new(work: &Work, ordinal: u32, token: i64) -> Self {
        let text = work.statements.get(ordinal as usize).map(|statement| statement.text.as_str());
        Self {
            id: work.entry.id,
            direction: work.direction,
            pass: work.entry.pass,
            ordinal,
            checksum: Checksums::of_bytes(text.unwrap_or_default().as_bytes()),
            token,
        }
    }
}

/// Whose settings a session has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    id: MigrationId,
    direction: Direction,
    pass: u32,
    run: String,
}

/// The session for works.
#[derive(Debug)]
pub(crate) struct WorkSession {
    pub(crate) session: Session,
    pub(crate) facts: Facts,
    dialler: Arc<Dialler>,
    owner: Option<Owner>,
    /// It has our settings, for rows that are read and written for programs.
    ours: bool,
    /// How many of its statements have had their say in this session.
    heard: usize,
    /// A statement ran that may have left something behind.
    used: bool,
    /// The timeouts of single statements that were set last.
    timeouts: String,
}

impl WorkSession {
    pub(crate) async fn open(dialler: Arc<Dialler>) -> Result<Self, TargetError> {
        let mut session = Session::new(dialler.open(true).await?);
        let facts = set_up(&mut session, Role::Work, &dialler.url).await?;
        Ok(Self {
            session,
            facts,
            dialler,
            owner: None,
            ours: false,
            heard: 0,
            used: false,
            timeouts: String::new(),
        })
    }

    /// Makes the session that of a work whose statements before `ordinal` have run, here or
    /// in a session that is gone: then those that set something are run again.
    pub(crate) async fn prepare(&mut self, work: &Work, ordinal: u32) -> Result<(), TargetError> {
        let owner = Owner {
            id: work.entry.id,
            direction: work.direction,
            pass: work.entry.pass,
            run: work.entry.run.clone(),
        };
        let ordinal = ordinal as usize;
        // A work that begins anew must not find what its last attempt has set.
        if ordinal == 0 || self.owner.as_ref() != Some(&owner) {
            self.begin_anew().await?;
            self.owner = Some(owner);
        }
        let before = work.statements.iter().enumerate().take(ordinal).skip(self.heard);
        for (index, statement) in before.filter(|(_, statement)| sets_up_the_session(statement)) {
            self.execute(work, index, &statement.text).await?;
        }
        self.heard = self.heard.max(ordinal);
        Ok(())
    }

    /// Makes the session one as new, for statements that all belong to no file's session.
    pub(crate) async fn prepare_chunk(&mut self) -> Result<(), TargetError> {
        if self.used || self.owner.is_some() {
            self.begin_anew().await?;
        }
        Ok(())
    }

    /// Gives the session our settings. Moments print in UTC, so that each is another text.
    pub(crate) async fn prepare_rows(&mut self) -> Result<(), TargetError> {
        if self.ours {
            return Ok(());
        }
        self.prepare_chunk().await?;
        self.used = true;
        let settings = settings(Role::Ledger, &self.dialler.url.database);
        self.session.run(&format!("{settings}SET SESSION time_zone = '+00:00'")).await?;
        self.ours = true;
        Ok(())
    }

    /// Something ran on it of which nobody knows what it leaves behind.
    pub(crate) fn mark_used(&mut self) {
        self.used = true;
    }

    async fn begin_anew(&mut self) -> Result<(), TargetError> {
        self.owner = None;
        self.ours = false;
        self.heard = 0;
        if self.used {
            self.session.reset().await?;
            let settings = settings(Role::Work, &self.dialler.url.database);
            self.session.run(&settings).await?;
            self.used = false;
            self.timeouts.clear();
        }
        Ok(())
    }

    /// Sets the timeouts of a statement that is sent alone.
    pub(crate) async fn set_timeouts(&mut self, work: &Work) -> Result<(), TargetError> {
        let timeouts =
            format!("{}; {}", lock_timeouts(work), self.statement_timeout(work.statement_timeout));
        if self.timeouts != timeouts {
            self.session.run(&timeouts).await?;
            self.timeouts = timeouts;
        }
        Ok(())
    }

    /// Sets how long the server lets a statement run. Only MariaDB can stop any statement by
    /// itself: MySQL's `max_execution_time` knows SELECT only, so there the client counts.
    pub(crate) fn statement_timeout(&self, limit: Option<Duration>) -> String {
        if !self.facts.is_mariadb {
            return "DO 0".to_owned();
        }
        let seconds = limit.map_or(0.0, |limit| limit.as_secs_f64().max(0.001));
        format!("SET SESSION max_statement_time = {seconds:.6}")
    }

    /// Sends a statement's text. `index` is its place in the work.
    pub(crate) async fn execute(
        &mut self,
        work: &Work,
        index: usize,
        text: &str,
    ) -> Result<Effect, TargetError> {
        let Some(statement) = work.statements.get(index) else {
            return Err(no_such_statement(index));
        };
        self.execute_as(statement, index, text, work.statement_timeout).await
    }

    /// Sends a text that stands for a statement.
    pub(crate) async fn execute_as(
        &mut self,
        statement: &Statement,
        index: usize,
        text: &str,
        limit: Option<Duration>,
    ) -> Result<Effect, TargetError> {
        if loads_a_local_file(statement) {
            return Err(local_infile().in_statement(index));
        }
        self.used |= !leaves_no_trace(statement);
        let (dialler, id) = (Arc::clone(&self.dialler), self.session.id);
        let stop = async move {
            let Ok(conn) = dialler.open(false).await else {
                return;
            };
            // It may just have ended by itself, which is no error; nothing else can be done here.
            let _ = Session::new(conn).run(&format!("KILL QUERY {id}")).await;
        };
        let patience =
            limit.map(|limit| if self.facts.is_mariadb { limit + SERVER_FIRST } else { limit });
        let effect = self.session.execute(text, index, patience, stop).await;
        self.heard = self.heard.max(index + 1);
        effect.map_err(|error| located(error, statement))
    }

    /// The work is over: the next one, or its next attempt, begins anew.
    pub(crate) fn finish(&mut self) {
        self.owner = None;
    }

    /// Whether another connection is this one.
    pub(crate) fn is(&self, id: u64) -> bool {
        self.session.id == id
    }
}

pub(crate) fn no_such_statement(index: usize) -> TargetError {
    TargetError::new(dunlin_engine::ErrorKind::Bug, format!("the work has no statement {index}"))
}

/// How long a work's statements wait for locks; both kinds count whole seconds.
pub(crate) fn lock_timeouts(work: &Work) -> String {
    lock_timeout(work.lock_timeout)
}

/// Sets how long locks are waited for.
pub(crate) fn lock_timeout(limit: Duration) -> String {
    let seconds = limit.as_millis().div_ceil(1000).clamp(1, 31_536_000);
    format!("SET SESSION lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}")
}

/// Whether a later part of the file may count on what this statement leaves in the session, and it
/// does nothing else. What it then leaves may be another value: the engine does not go on with a
/// statement that reads one of those.
fn sets_up_the_session(statement: &Statement) -> bool {
    let word = statement.facts.verb.split(' ').next().unwrap_or_default();
    let sets = matches!(word, "SET" | "USE" | "PREPARE" | "DEALLOCATE");
    (statement.facts.changes_session || sets) && !statement.facts.may_act
}

/// Whether nothing that this statement does can be found in its session afterwards. In doubt not:
/// a conditional comment, a variable or a temporary table is enough.
fn leaves_no_trace(statement: &Statement) -> bool {
    const PLAIN: &[&str] =
        &["CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE", "INSERT", "UPDATE", "DELETE", "REPLACE"];
    let word = statement.facts.verb.split(' ').next().unwrap_or_default();
    let text = statement.text.as_bytes();
    let holds = |part: &[u8]| text.windows(part.len()).any(|at| at.eq_ignore_ascii_case(part));
    PLAIN.contains(&word)
        && !statement.facts.changes_session
        && !holds(b"/*!")
        && !holds(b"/*M!")
        && !holds(b"@")
        && !holds(b"TEMPORARY")
}

/// `LOAD DATA LOCAL INFILE` and `LOAD XML LOCAL INFILE`.
pub(crate) fn loads_a_local_file(statement: &Statement) -> bool {
    let words = statement
        .text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .skip_while(|word| !word.eq_ignore_ascii_case("LOAD"))
        // After INFILE comes the file's own name.
        .take_while(|word| !word.eq_ignore_ascii_case("INFILE"));
    statement.facts.verb.starts_with("LOAD")
        && words.into_iter().any(|word| word.eq_ignore_ascii_case("LOCAL"))
}

/// Where in the statement a syntax error is: the server quotes what it stopped at, and its line.
fn located(mut error: TargetError, statement: &Statement) -> TargetError {
    if error.code.as_deref() == Some("1064") {
        error.offset = syntax_offset(&error.message, &statement.text);
    }
    error
}

fn syntax_offset(message: &str, text: &str) -> Option<usize> {
    let (_, rest) = message.split_once(" near '")?;
    let (near, line) = rest.rsplit_once("' at line ")?;
    if near.is_empty() {
        return Some(text.chars().count());
    }
    let line: usize = line.trim().parse().ok()?;
    let line_at: usize =
        text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let at = line_at + text.get(line_at..)?.find(near)?;
    Some(text.get(..at)?.chars().count())
}

#[cfg(test)]
mod tests {
    use dunlin_model::Facts as StatementFacts;

    use super::*;

    fn statement(verb: &str, text: &str) -> Statement {
        Statement {
            text: text.to_owned(),
            line: 1,
            column: 1,
            copy_data: None,
            facts: StatementFacts::opaque(verb),
        }
    }

    #[test]
    fn local_files_are_recognised() {
        for refused in [
            "LOAD DATA LOCAL INFILE 'a' INTO TABLE t",
            "load  data concurrent\nlocal infile 'a'",
            "LOAD /* x */ XML LOCAL INFILE 'a'",
            "/*!40000 LOAD DATA LOCAL INFILE 'a' INTO TABLE t */",
        ] {
            assert!(loads_a_local_file(&statement("LOAD DATA", refused)), "{refused}");
        }
        assert!(!loads_a_local_file(&statement(
            "LOAD DATA",
            "LOAD DATA INFILE 'local' INTO TABLE t"
        )));
        assert!(!loads_a_local_file(&statement(
            "INSERT",
            "INSERT INTO t VALUES ('load data local')"
        )));
    }

    #[test]
    fn only_plain_statements_leave_no_trace() {
        assert!(leaves_no_trace(&statement("ALTER TABLE", "ALTER TABLE t ADD c int")));
        for trace in [
            "INSERT INTO t SELECT @x := 1",
            "/*!40101 SET NAMES utf8 */",
            "create temporary table t (a int)",
        ] {
            assert!(!leaves_no_trace(&statement("INSERT", trace)), "{trace}");
        }
        assert!(!leaves_no_trace(&statement("CALL", "CALL p()")));
    }

    #[test]
    fn a_syntax_error_is_located() {
        let text = "CREATE TABLE t (\n  é int,\n  b itn\n)";
        let message = "You have an error; check the manual to use near 'itn\n)' at line 3";
        assert_eq!(syntax_offset(message, text), Some(30));
        assert_eq!(syntax_offset("x near '' at line 4", text), Some(text.chars().count()));
        assert_eq!(syntax_offset("x near 'gone' at line 99", text), None);
    }
}
