//! Rows that a backfill would take, found by the server's own plan instead of a walk.
//!
//! The statement's condition is asked as the statement would ask it: under the login's own settings,
//! over the table as the statement names it. Only then are the rows that it gives those that the
//! statement takes. What can't be had in that way is not had at all, and the table is walked.

use dunlin_engine::{Remedy, Search, TargetError};
use dunlin_model::{Backfill, Bound, Finder, Key, KeyRange};

use super::explain::{plan, reaches};
use super::layout::Layout;
use super::script::{Part, Script};
use super::walk::{TEXT_FORMS, key};
use crate::fence::Limits;
use crate::quote;
use crate::rows::{Answer, number};
use crate::session::{APPLICATION_NAME, Session};

/// The planner's guess may be off by so many times before it is believed that rows are too many.
const GUESS_SPARE: f64 = 10.0;

/// Searches; `None` where walking is better, or as good.
pub(super) async fn find(
    session: &mut Session,
    layout: &Layout,
    work: &Backfill,
    stretches: &[(Bound, Key)],
    search: Search,
) -> Result<Option<Vec<Vec<Key>>>, TargetError> {
    let (Some(finder), false) = (&work.finder, stretches.is_empty()) else { return Ok(None) };
    session.clean().await?;
    let query = Query { layout, work, finder, stretches, search };
    if !query.is_promising(session).await? {
        return Ok(None);
    }
    let Some(found) = query.rows(session).await? else { return Ok(None) };
    let all: Vec<Key> = found.iter().flatten().take(search.list_max).cloned().collect();
    if all.len() > 1 && !reaches(session, layout, work, &KeyRange::Keys(all)).await? {
        return Ok(None);
    }
    Ok(Some(found))
}

struct Query<'a> {
    layout: &'a Layout,
    work: &'a Backfill,
    finder: &'a Finder,
    stretches: &'a [(Bound, Key)],
    search: Search,
}

impl Query<'_> {
    /// Whether the condition may be asked beforehand, and the planner does not hold that it takes
    /// far too many rows.
    async fn is_promising(&self, session: &Session) -> Result<bool, TargetError> {
        let mut script = self.begin(session);
        script.push(Part::Plain, &self.trust());
        let asked = script.push(Part::Plain, &format!("EXPLAIN (FORMAT JSON) {}", self.inner()));
        let Some(answers) = run(session, &script).await? else { return Ok(false) };
        let plan = plan(answers.get(asked).unwrap_or(&Answer::default()))?;
        // Above it stands the limit; below it, what there is to be limited.
        let guess = plan["Plan"]["Plans"][0]["Plan Rows"].as_f64().unwrap_or(0.0);
        Ok(guess <= self.search.count_max as f64 * GUESS_SPARE)
    }

    async fn rows(&self, session: &Session) -> Result<Option<Vec<Vec<Key>>>, TargetError> {
        let mut script = self.begin(session);
        let asked = script.push(Part::Plain, &self.sql());
        let Some(answers) = run(session, &script).await? else { return Ok(None) };
        let rows = answers.get(asked).map(|answer| answer.rows.as_slice()).unwrap_or_default();
        if rows.len() as u64 > self.search.count_max {
            return Ok(None);
        }
        let mut found = vec![Vec::new(); self.stretches.len()];
        for row in rows {
            let stretch: usize = number(row, 0)?;
            if let Some(keys) = found.get_mut(stretch) {
                keys.push(key(row, 1, self.layout.parts.len())?);
            }
        }
        Ok(Some(found))
    }

    fn begin(&self, session: &Session) -> Script {
        let mut script = Script::default();
        script.push(Part::Plain, "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY");
        let limits = Limits {
            lock: self.work.lock_timeout,
            statement: Some(self.work.statement_timeout.min(self.search.time_max)),
        };
        for setting in limits.settings(APPLICATION_NAME, true) {
            script.push(Part::Plain, &setting);
        }
        if self.work.statements.is_empty() {
            // Row code's condition is always asked under these.
            for setting in TEXT_FORMS.split_terminator(';') {
                script.push(Part::Plain, setting);
            }
        }
        script.push(Part::Plain, "SET LOCAL jit TO off");
        script.push(Part::Plain, &session.backend_sql(true));
        script
    }

    /// Fails where the condition may give something else the next time, or reads what chunks write:
    /// by a function that is volatile, or one of the user's own that is not immutable. Names of
    /// columns are asked for as well, since `posts.title` may be a function, too. And it fails where
    /// the login's settings would give keys as texts that don't read back exactly: the condition is
    /// asked under those settings, as the statement is.
    fn trust(&self) -> String {
        let names: Vec<String> = self.finder.names.iter().map(|name| quote::text(name)).collect();
        format!(
            "SELECT 1 / (CASE WHEN pg_catalog.current_setting('datestyle') LIKE 'ISO,%' \
             AND pg_catalog.current_setting('intervalstyle') = 'postgres' \
             AND pg_catalog.current_setting('extra_float_digits')::int >= 1 \
             AND pg_catalog.current_setting('bytea_output') = 'hex' \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.proname = \
             ANY (ARRAY[{}]::pg_catalog.name[]) AND (p.provolatile = 'v' OR p.provolatile = 's' \
             AND p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace)) THEN 1 ELSE 0 END)",
            names.join(",")
        )
    }

    /// The keys of the rows, in no order, and no more of them than show that there are too many.
    fn inner(&self) -> String {
        let condition = self.finder.within(|alias| {
            let each: Vec<String> = self
                .stretches
                .iter()
                .map(|(after, upto)| format!("({})", self.layout.between(after, upto, alias)))
                .collect();
            each.join(" OR ")
        });
        format!(
            "SELECT {columns} FROM {source} WHERE {condition}\n LIMIT {most}",
            columns = self.layout.columns(&quote::name(&self.finder.alias)),
            source = self.finder.source,
            most = self.search.count_max + 1,
        )
    }

    fn sql(&self) -> String {
        let whens: Vec<String> = self
            .stretches
            .iter()
            .enumerate()
            .map(|(number, (after, upto))| {
                format!("WHEN {} THEN {number}", self.layout.between(after, upto, Some("f")))
            })
            .collect();
        format!(
            "SELECT CASE {whens} ELSE {none} END, {texts} FROM ({inner}) AS f ORDER BY {order}",
            whens = whens.join(" "),
            none = self.stretches.len(),
            texts = self.layout.texts("f"),
            inner = self.inner(),
            order = self.layout.order("f", false),
        )
    }
}

/// Runs it in a transaction that is rolled back. `None`: something in it failed, for which the
/// connection is as good as before.
async fn run(session: &Session, script: &Script) -> Result<Option<Vec<Answer>>, TargetError> {
    let result = script.run(session).await;
    session.rollback().await;
    match result {
        Ok(answers) => Ok(Some(answers)),
        Err(failure) if failure.error.kind.remedy() == Remedy::Reconnect => Err(failure.error),
        Err(_) => Ok(None),
    }
}
