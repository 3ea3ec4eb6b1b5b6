//! Rows that the database refuses: found by halving, so that the rest goes in.

use dunlin_engine::moves::Refused;
use dunlin_engine::{ErrorKind, TargetError};
use mysql_async::ServerError;

use super::bug;
use super::write::Given;
use crate::failure::{During, of_server};
use crate::session::{Answer, Session};

/// A row that refers to one that is not there (yet), or is referred to by one that is there (still).
const FOREIGN_KEY: [&str; 4] = ["1216", "1217", "1451", "1452"];

const DUPLICATE: &str = "1062";

/// So many statements go out together at most.
const STATEMENTS_MAX: usize = 1_000;

/// A packet has at most so many bytes, where it need not have more.
const PACKET_BYTES: usize = 1 << 20;

/// What a packet has beside its statements.
const FRAME_BYTES: usize = 256;

/// What is done with rows.
#[derive(Clone, Copy)]
pub(super) enum Deed<'a> {
    Insert(&'a Given<'a>),
    Update(&'a Given<'a>),
    Delete(&'a Given<'a>),
}

impl Deed<'_> {
    fn statements(&self, rows: &[u32]) -> Vec<String> {
        match self {
            Self::Insert(given) => vec![given.insert(rows)],
            Self::Update(given) => rows.iter().map(|row| given.update(*row)).collect(),
            Self::Delete(given) => rows.iter().map(|row| given.delete(*row)).collect(),
        }
    }

    fn bytes(&self, row: u32) -> usize {
        match self {
            Self::Insert(given) => given.bytes(row),
            // Names, and the key once more to compare its bytes.
            Self::Update(given) | Self::Delete(given) => given.bytes(row) * 2 + given.head_bytes(),
        }
    }

    /// Rows in parts that fit into a packet each, and those that fit into none.
    fn parts(&self, session: &Session, rows: Vec<u32>) -> (Vec<Vec<u32>>, Vec<u32>) {
        let most = session.packet_bytes_max.saturating_sub(FRAME_BYTES + self.head_bytes());
        let (mut parts, mut large) = (Vec::new(), Vec::new());
        let (mut part, mut bytes) = (Vec::new(), 0);
        for row in rows {
            let more = self.bytes(row);
            if more > most {
                large.push(row);
                continue;
            }
            let full = bytes + more > PACKET_BYTES.min(most) || part.len() == STATEMENTS_MAX;
            if full && !part.is_empty() {
                parts.push(std::mem::take(&mut part));
                bytes = 0;
            }
            part.push(row);
            bytes += more;
        }
        if !part.is_empty() {
            parts.push(part);
        }
        (parts, large)
    }

    fn head_bytes(&self) -> usize {
        match self {
            Self::Insert(given) | Self::Update(given) | Self::Delete(given) => given.head_bytes(),
        }
    }

    /// Does it with these rows, all or none; those that it left as they were are returned. What the
    /// server only warns of is an error.
    async fn attempt(&self, session: &mut Session, rows: &[u32]) -> Result<Vec<u32>, TargetError> {
        let mut packet = String::from("SAVEPOINT dunlin_rows");
        for statement in self.statements(rows) {
            packet.push_str("; ");
            packet.push_str(&statement);
        }
        let answers = session.run_rows(&packet).await.map_err(told)?;
        let answers = answers.get(1..).unwrap_or_default();
        if answers.iter().any(|answer| answer.warnings > 0) {
            return Err(warned(session, rows.len()).await?);
        }
        let same = rows.iter().zip(answers).filter(|(_, answer)| answer.affected == 0);
        Ok(same.map(|(row, _)| *row).collect())
    }
}

/// What the server warned of. It can be asked for its last statement only.
async fn warned(session: &mut Session, rows: usize) -> Result<TargetError, TargetError> {
    let answers = if rows == 1 { session.run("SHOW WARNINGS").await? } else { Vec::new() };
    let mut error = match answers.iter().find_map(|answer| answer.rows.first()) {
        Some(warning) => {
            let error = ServerError {
                code: warning.number(1).unwrap_or_default(),
                message: warning.text(2),
                state: "01000".to_owned(),
            };
            told(of_server(&error, During::Rows))
        }
        None => TargetError::new(ErrorKind::Statement, "the server warned of a value"),
    };
    error.by_row = true;
    Ok(error)
}

/// A trigger's own words may quote values; a statement's have a row's number that means nothing.
fn told(mut error: TargetError) -> TargetError {
    if error.code.as_deref() == Some("1644") {
        error.message = "a trigger raised an error".to_owned();
    }
    if let Some((message, _)) = error.message.rsplit_once(" at row ") {
        error.message = message.to_owned();
    }
    error
}

/// Does it with all rows, or fails.
pub(super) async fn whole(
    session: &mut Session,
    deed: Deed<'_>,
    rows: Vec<u32>,
) -> Result<(), TargetError> {
    let (parts, large) = deed.parts(session, rows);
    if !large.is_empty() {
        let mut error = TargetError::new(ErrorKind::Statement, too_large());
        error.by_row = true;
        return Err(error);
    }
    for part in parts {
        deed.attempt(session, &part).await?;
    }
    Ok(())
}

fn too_large() -> String {
    "the row is larger than the server takes (max_allowed_packet; bytes and texts count twice)"
        .to_owned()
}

/// Does it with all rows; where one is to blame, with each half of them. Rows that a foreign key
/// refuses are tried again when the others are in: they may refer to each other.
pub(super) async fn halved(
    session: &mut Session,
    deed: Deed<'_>,
    rows: Vec<u32>,
) -> Result<Refused, TargetError> {
    let mut refused = Refused::default();
    let mut open = rows;
    loop {
        let count = open.len();
        let again = pass(session, deed, open, &mut refused).await?;
        // Where nothing went in there is nothing new that could help.
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
    session: &mut Session,
    deed: Deed<'_>,
    rows: Vec<u32>,
    refused: &mut Refused,
) -> Result<Vec<(u32, String)>, TargetError> {
    let mut again = Vec::new();
    let (mut parts, large) = deed.parts(session, rows);
    refused.rejected.extend(large.into_iter().map(|row| (row, too_large())));
    // The first rows on top, so that they go in first.
    parts.reverse();
    while let Some(mut part) = parts.pop() {
        let error = match deed.attempt(session, &part).await {
            Ok(same) => {
                // An update that finds its row as it should be looks like one that finds none.
                if let Deed::Update(given) = deed {
                    let there = given.there(session, &same, true).await?;
                    let absent = same.into_iter().filter(|row| there.binary_search(row).is_err());
                    refused.absent_or_there.extend(absent);
                }
                continue;
            }
            Err(error) if error.by_row => error,
            Err(error) => return Err(error),
        };
        session.run("ROLLBACK TO SAVEPOINT dunlin_rows").await?;
        let is = |codes: &[&str]| error.code.as_deref().is_some_and(|code| codes.contains(&code));
        if part.len() > 1 {
            let right = part.split_off(part.len() / 2);
            parts.push(right);
            parts.push(part);
        } else if is(&FOREIGN_KEY) {
            again.extend(part.into_iter().map(|row| (row, error.message.clone())));
        } else {
            // Somebody may have inserted it meanwhile, or a row before it has the same key.
            let there = match deed {
                Deed::Insert(given) if is(&[DUPLICATE]) => {
                    given.there(session, &part, false).await?
                }
                _ => Vec::new(),
            };
            if there.is_empty() {
                refused.rejected.extend(part.into_iter().map(|row| (row, error.message.clone())));
            } else {
                refused.absent_or_there.extend(there);
            }
        }
    }
    Ok(again)
}

/// Asks a question for each row, many in a packet.
pub(super) async fn asked(
    session: &mut Session,
    statements: Vec<String>,
) -> Result<Vec<Answer>, TargetError> {
    let wanted = statements.len();
    let mut answers = Vec::with_capacity(wanted);
    let (mut packet, mut count) = (String::new(), 0);
    for statement in statements {
        let full = packet.len() + statement.len() > PACKET_BYTES.min(session.packet_bytes_max / 2);
        if count > 0 && (full || count == STATEMENTS_MAX) {
            answers.extend(session.run_rows(&packet).await?);
            packet.clear();
            count = 0;
        }
        if count > 0 {
            packet.push_str("; ");
        }
        packet.push_str(&statement);
        count += 1;
    }
    if count > 0 {
        answers.extend(session.run_rows(&packet).await?);
    }
    if answers.len() == wanted {
        Ok(answers)
    } else {
        Err(bug("the server answered another number of questions than it was asked"))
    }
}
