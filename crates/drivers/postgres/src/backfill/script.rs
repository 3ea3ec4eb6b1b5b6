//! Several statements as one message, ours and the user's, and which of them failed.
//!
//! One message is one round trip, and nothing of it runs behind a failure. What it costs is that
//! the server counts positions from the message's beginning: they are mapped back here.

use std::pin::pin;

use dunlin_engine::TargetError;
use dunlin_model::Statement;
use futures_util::StreamExt;
use tokio_postgres::SimpleQueryMessage;

use crate::error::sent_error;
use crate::rows::Answer;
use crate::session::Session;

/// Whose a statement is, and what its failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Settings, locks: a failure is what the server says it is.
    Plain,
    /// The shape's check.
    Shape,
    /// The fence.
    Fence,
    /// Other statements on the ledger.
    Ledger,
    /// Deferred constraints.
    Constraints,
    /// The user's, by its index.
    User(usize),
}

/// A stretch of a sent text that comes from the user's, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    sent: usize,
    length: usize,
    original: usize,
    /// It is the range of a chunk, which the user wrote as `:chunk`.
    replaced: bool,
}

#[derive(Debug)]
struct Placed {
    part: Part,
    start: usize,
    pieces: Vec<Piece>,
}

/// The message.
#[derive(Debug, Default)]
pub(super) struct Script {
    text: String,
    characters: usize,
    parts: Vec<Placed>,
}

/// A statement of the script failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// Which.
    pub(super) part: Part,
    /// How; its offset, where it has one, is within that part.
    pub(super) error: TargetError,
}

impl Script {
    /// Adds a statement.
    pub(super) fn push(&mut self, part: Part, sql: &str) -> usize {
        self.place(part, sql, Vec::new())
    }

    /// Adds a statement of the user's with the range in its places, behind a prefix of ours.
    pub(super) fn push_user(
        &mut self,
        index: usize,
        statement: &Statement,
        prefix: &str,
        predicate: impl Fn(Option<&str>) -> String,
    ) -> usize {
        let pieces = pieces(statement, prefix.chars().count(), &predicate);
        let text = format!("{prefix}{}", statement.with_chunk(predicate));
        self.place(Part::User(index), &text, pieces)
    }

    /// Adds a statement of rows' values, which may be long: it is written where it is sent from.
    pub(super) fn push_written(&mut self, part: Part, write: impl FnOnce(&mut String)) -> usize {
        self.place_written(part, write, Vec::new())
    }

    fn place(&mut self, part: Part, sql: &str, pieces: Vec<Piece>) -> usize {
        self.place_written(part, |text| text.push_str(sql), pieces)
    }

    fn place_written(
        &mut self,
        part: Part,
        write: impl FnOnce(&mut String),
        pieces: Vec<Piece>,
    ) -> usize {
        self.parts.push(Placed { part, start: self.characters, pieces });
        let begin = self.text.len();
        write(&mut self.text);
        self.characters += self.text[begin..].chars().count() + 2;
        // A line end, so that a comment at the end of a statement takes nothing of ours with it.
        self.text.push_str("\n;");
        self.parts.len() - 1
    }

    /// Sends it and waits as long as it takes: the answers, one for each statement.
    pub(super) async fn run(&self, session: &Session) -> Result<Vec<Answer>, Failure> {
        let mut done = Vec::with_capacity(self.parts.len());
        let stream = session.send(&self.text).await.map_err(|error| self.failure(0, error))?;
        let mut stream = pin!(stream);
        let mut current = Answer::default();
        while let Some(message) = stream.next().await {
            match message.map_err(|e| self.failure(done.len(), sent_error(&e)))? {
                SimpleQueryMessage::Row(row) => current.rows.push(row),
                SimpleQueryMessage::CommandComplete(count) => {
                    current.count = count;
                    done.push(std::mem::take(&mut current));
                }
                _ => {}
            }
        }
        Ok(done)
    }

    /// A position tells more than a count: a message that can't be parsed fails before its first
    /// statement has run.
    fn failure(&self, done: usize, mut error: TargetError) -> Failure {
        let pointed = error
            .offset
            .and_then(|offset| self.parts.iter().rposition(|placed| placed.start <= offset));
        let Some(placed) = self.parts.get(pointed.unwrap_or(done)) else {
            return Failure { part: Part::Plain, error };
        };
        error.offset =
            error.offset.map(|offset| placed.original(offset - placed.start.min(offset)));
        if let Part::User(index) = placed.part {
            error = error.in_statement(index);
        } else {
            // It points into a text that nobody has seen.
            error.offset = None;
        }
        Failure { part: placed.part, error }
    }
}

impl Placed {
    fn original(&self, offset: usize) -> usize {
        let piece = self.pieces.iter().rev().find(|piece| piece.sent <= offset);
        piece.map_or(0, |piece| {
            let within = offset - piece.sent;
            piece.original + if piece.replaced { 0 } else { within.min(piece.length) }
        })
    }
}

fn pieces(
    statement: &Statement,
    prefix: usize,
    predicate: &impl Fn(Option<&str>) -> String,
) -> Vec<Piece> {
    let mut all = Vec::new();
    let (mut sent, mut original, mut from) = (prefix, 0, 0);
    let count = |start: usize, end: usize| {
        statement.text.get(start..end).map_or(0, |text| text.chars().count())
    };
    for place in &statement.facts.chunk_places {
        let length = count(from, place.start);
        all.push(Piece { sent, length, original, replaced: false });
        sent += length;
        original += length;
        // Two more for the parentheses around it.
        let length = predicate(place.alias.as_deref()).chars().count() + 2;
        all.push(Piece { sent, length, original, replaced: true });
        sent += length;
        original += count(place.start, place.end);
        from = place.end;
    }
    all.push(Piece { sent, length: count(from, statement.text.len()), original, replaced: false });
    all
}

#[cfg(test)]
mod tests {
    use dunlin_engine::ErrorKind;
    use dunlin_model::{ChunkPlace, Facts};

    use super::*;

    #[test]
    fn positions_point_into_the_users_text() {
        let text = "UPDATE ä SET x = 1 WHERE :chunk AND y = 2";
        let start = text.find(":chunk").unwrap();
        let mut facts = Facts::opaque("UPDATE");
        facts.chunk_places = vec![ChunkPlace { start, end: start + 6, alias: None }];
        let statement = Statement { text: text.into(), line: 1, column: 1, copy_data: None, facts };
        let mut script = Script::default();
        script.push(Part::Plain, "BEGIN");
        script.push_user(0, &statement, "EXPLAIN ", |_| "id > 12345 AND id <= 67890".into());
        let sent: Vec<char> = script.text.chars().collect();
        let whole: String = sent.iter().collect();
        let at = |needle: &str| whole[..whole.find(needle).unwrap()].chars().count();
        let original = |offset: usize| {
            let mut error = TargetError::new(ErrorKind::Statement, "x");
            error.offset = Some(offset);
            let failure = script.failure(0, error);
            (failure.part, failure.error.offset)
        };
        let of = |needle: &str| Some(text[..text.find(needle).unwrap()].chars().count());
        assert_eq!(original(at("ä")), (Part::User(0), of("ä")));
        assert_eq!(original(at("67890")), (Part::User(0), of(":chunk")));
        assert_eq!(original(at("y = 2")), (Part::User(0), of("y = 2")));
        assert_eq!(original(1), (Part::Plain, None));
    }
}
