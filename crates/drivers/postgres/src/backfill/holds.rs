//! Whether a condition of the user's holds.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Facts, Statement};

use super::script::{Part, Script};
use crate::fence::Limits;
use crate::rows::{field, required, single};
use crate::session::{APPLICATION_NAME, Session};

/// A text that happens to be `t` is no answer, so the type is asked for as well.
const TYPED: &str = "SELECT asked.holds, pg_catalog.pg_typeof(asked.holds) FROM (SELECT (";

/// Asks a query for its only value. Within parentheses it can be no more than one query.
pub(super) async fn ask(session: &mut Session, query: &str) -> Result<bool, TargetError> {
    session.clean().await?;
    let statement = Statement {
        text: query.trim().trim_end_matches(';').to_owned(),
        line: 1,
        column: 1,
        copy_data: None,
        facts: Facts::opaque("SELECT"),
    };
    let closed =
        Statement { text: format!("{}\n) AS holds) AS asked", statement.text), ..statement };
    let mut script = Script::default();
    script.push(Part::Plain, "BEGIN READ ONLY");
    // The proof may read the whole table: it takes as long as it takes.
    for setting in Limits::LEDGER.settings(APPLICATION_NAME, true) {
        script.push(Part::Plain, &setting);
    }
    script.push(Part::Plain, &session.backend_sql(true));
    let at = script.push_user(0, &closed, TYPED, |_| "true".to_owned());
    // A query may call functions, and those may set anything.
    session.dirty = true;
    let result = script.run(session).await;
    session.rollback().await;
    let answers = result.map_err(|failure| failure.error)?;
    let row = single(&answers, at)?;
    match (field(row, 0)?, required(row, 1)?) {
        // A bare NULL is of the type text.
        (None, _) => Ok(false),
        (Some(value), "boolean") => Ok(matches!(value, "t" | "true")),
        (Some(_), other) => Err(TargetError::new(
            ErrorKind::Refused,
            format!("the query's value is of the type {other}, and not a boolean"),
        )
        .help("write a SELECT of one value that is true or false: SELECT NOT EXISTS (SELECT …)")),
    }
}
