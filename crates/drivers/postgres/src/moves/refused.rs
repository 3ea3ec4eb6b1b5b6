//! Rows that the database refuses: found by halving, so that the rest goes in.

use dunlin_engine::TargetError;
use dunlin_engine::moves::Refused;

use super::write::Deed;
use crate::backfill::is_by_row;
use crate::session::Session;

/// A row that refers to one that is not there (yet), or is referred to by one that is there (still).
const FOREIGN_KEY: [&str; 2] = ["23503", "23001"];

/// What a statement did with its rows.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// See [`Refused`].
    pub(super) absent_or_there: Vec<u32>,
    /// Rows that refer to nothing, where the server was told not to look: all is taken back.
    pub(super) orphans: Vec<(u32, String)>,
}

/// Marks an error that a row is to blame for.
pub(super) fn blamed(mut error: TargetError) -> TargetError {
    error.by_row = error.code.as_deref().is_some_and(is_by_row);
    if error.by_row && error.code.as_deref().is_some_and(|code| code.starts_with("P0")) {
        // A trigger's own words may quote values.
        error.message = "a trigger raised an exception".to_owned();
        error.help = None;
    }
    error
}

/// Why, in one line.
fn reason(error: &TargetError) -> String {
    match error.notes.first() {
        Some(place) => format!("{} ({place})", error.message),
        None => error.message.clone(),
    }
}

/// Does it with all rows; where one is to blame, with each half of them. Rows that a foreign key
/// refuses are tried again when the others are in, without those that refer to nothing at all: they
/// may refer to each other, in a circle too.
pub(super) async fn halved(
    session: &Session,
    deed: &Deed<'_>,
    rows: Vec<u32>,
) -> Result<Refused, TargetError> {
    let mut refused = Refused::default();
    let mut open = rows;
    loop {
        let count = open.len();
        let again = pass(session, deed, open, &mut refused).await?;
        let orphans = deed.orphans(session, again.iter().map(|(row, _)| *row).collect()).await?;
        let (gone, again): (Vec<_>, Vec<_>) =
            again.into_iter().partition(|(row, _)| orphans.contains(row));
        refused.rejected.extend(gone);
        // Where nothing went in and nothing was left out there is nothing new that could help.
        if again.is_empty() || again.len() == count {
            refused.rejected.extend(again);
            break;
        }
        open = again.into_iter().map(|(row, _)| row).collect();
        open.sort_unstable();
    }
    refused.absent_or_there.sort_unstable();
    refused.rejected.sort_unstable();
    Ok(refused)
}

/// One pass over rows; those that a foreign key refuses are returned.
async fn pass(
    session: &Session,
    deed: &Deed<'_>,
    rows: Vec<u32>,
    refused: &mut Refused,
) -> Result<Vec<(u32, String)>, TargetError> {
    let mut again = Vec::new();
    // The first rows on top, so that they go in first.
    let mut parts = vec![rows];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        session.ask("SAVEPOINT dunlin_rows").await?;
        match deed.attempt(session, &part).await.map_err(blamed) {
            Ok(outcome) if outcome.orphans.is_empty() => {
                session.ask("RELEASE dunlin_rows").await?;
                refused.absent_or_there.extend(outcome.absent_or_there);
            }
            Ok(outcome) => {
                back(session).await?;
                part.retain(|row| outcome.orphans.iter().all(|(orphan, _)| orphan != row));
                again.extend(outcome.orphans);
                parts.push(part);
            }
            Err(error) if error.by_row && part.len() == 1 => {
                back(session).await?;
                let refers = error.code.as_deref().is_some_and(|code| FOREIGN_KEY.contains(&code));
                let told = (part[0], reason(&error));
                if refers { again.push(told) } else { refused.rejected.push(told) }
            }
            Err(error) if error.by_row => {
                back(session).await?;
                let right = part.split_off(part.len() / 2);
                parts.push(right);
                parts.push(part);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(again)
}

async fn back(session: &Session) -> Result<(), TargetError> {
    session.ask("ROLLBACK TO dunlin_rows;RELEASE dunlin_rows").await.map(|_| ())
}
