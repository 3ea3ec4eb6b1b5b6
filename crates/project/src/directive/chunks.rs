//! The words about chunks: their values, and how they go together with the others.

use std::time::Duration;

use dunlin_model::{Diagnostic, OnError, Place};

use super::words::{Sets, Word, find};
use super::{Reader, Subject, Token};
use crate::duration;

/// The largest chunk that can be asked for: beyond it a chunk's locks and its log are felt,
/// whatever its time.
const CHUNK_ROWS_MAX: u64 = 1_000_000;

/// The smallest budget of bytes: about one row of an ordinary table.
const CHUNK_BYTES_MIN: u64 = 1_000;

/// The largest budget of bytes: what one transaction can write without filling a log.
const CHUNK_BYTES_MAX: u64 = 1 << 30;

/// The longest chunk that can be asked for: its locks are held so long.
pub(crate) const CHUNK_TIME_MAX: Duration = Duration::from_secs(10 * 60);

/// The most workers: each is a connection, and servers have about a hundred.
const WORKERS_MAX: u64 = 64;

/// The highest rate that means anything.
const RATE_MAX: u64 = 1_000_000_000;

/// The most walks over a table: what is not done by then never will be.
const ROUNDS_MAX: u64 = 100;

impl Reader<'_> {
    /// Sets what a word about chunks says.
    pub(super) fn set_chunks(&mut self, known: &'static Word, word: &Token, values: &[Token]) {
        match known.sets {
            Sets::ChunkBy => {
                if let Some(table) = self.sql(known, word, values) {
                    self.chunking.table = table;
                }
            }
            Sets::ChunkKey => self.chunk_key(known, word, values),
            Sets::ChunkWhere => self.chunking.filter = self.sql(known, word, values),
            Sets::ChunkRows => {
                self.chunking.rows = self.number(known, word, values, 1, CHUNK_ROWS_MAX);
            }
            Sets::ChunkBytes => self.chunk_bytes(known, word, values),
            Sets::ChunkTime => {
                self.chunking.time = self.duration(known, word, values);
                if self.chunking.time.is_some_and(|time| time > CHUNK_TIME_MAX) {
                    self.malformed(known, values.first().unwrap_or(word), "the longest is `10min`");
                }
            }
            Sets::Workers => {
                let count = self.number(known, word, values, 1, WORKERS_MAX);
                self.chunking.workers = count.and_then(|count| u32::try_from(count).ok());
            }
            Sets::Rate => self.rate(known, word, values),
            Sets::OnError => match values {
                [one] if one.text == "stop" => self.chunking.on_error = OnError::Stop,
                [one] if one.text == "quarantine" => self.chunking.on_error = OnError::Quarantine,
                _ => {
                    let at = values.first().unwrap_or(word);
                    self.malformed(known, at, "it takes `stop` or `quarantine`");
                }
            },
            Sets::Undo => self.undo(known, word, values),
            Sets::Repeat => self.repeat(known, word, values),
            _ => {}
        }
    }

    /// SQL as it is written.
    pub(super) fn sql(&mut self, known: &Word, word: &Token, values: &[Token]) -> Option<String> {
        match values {
            [sql] if !sql.text.trim().is_empty() => Some(sql.text.trim().to_owned()),
            _ => {
                let missing = match known.sets {
                    Sets::ChunkBy => "a table is missing",
                    Sets::ChunkKey => "a column is missing",
                    Sets::ChunkWhere => "a condition is missing",
                    _ => "a query is missing",
                };
                self.malformed(known, values.first().unwrap_or(word), missing);
                None
            }
        }
    }

    fn chunk_key(&mut self, known: &Word, word: &Token, values: &[Token]) {
        let Some(written) = self.sql(known, word, values) else { return };
        match key_columns(&written) {
            Ok(key) => self.chunking.key = key,
            Err(message) => self.malformed(known, values.first().unwrap_or(word), message),
        }
    }

    fn number(
        &mut self,
        known: &Word,
        word: &Token,
        values: &[Token],
        least: u64,
        most: u64,
    ) -> Option<u64> {
        let number = match values {
            [one] => one.text.parse().ok().filter(|number| (least..=most).contains(number)),
            _ => None,
        };
        if number.is_none() {
            let message = format!("it takes a number from {least} to {most}");
            self.malformed(known, values.first().unwrap_or(word), &message);
        }
        number
    }

    fn chunk_bytes(&mut self, known: &Word, word: &Token, values: &[Token]) {
        match bytes(&joined(values)) {
            Some(bytes) if (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&bytes) => {
                self.chunking.bytes = Some(bytes);
            }
            found => {
                let message = match found {
                    Some(_) => "it takes a size from `1KB` to `1GB`",
                    None => "it takes a size with its unit, such as `512KiB` or `16MB`",
                };
                self.malformed(known, values.first().unwrap_or(word), message);
            }
        }
    }

    fn rate(&mut self, known: &Word, word: &Token, values: &[Token]) {
        let written = joined(values);
        let number = written.strip_suffix("/s").map(|rest| {
            let rest = rest.trim_end();
            rest.strip_suffix("rows").or(rest.strip_suffix("row")).unwrap_or(rest).trim_end()
        });
        let rate = number.and_then(|number| number.parse().ok());
        match rate.filter(|rate| (1..=RATE_MAX).contains(rate)) {
            Some(rate) => self.chunking.rate = Some(rate),
            None => self.malformed(
                known,
                values.first().unwrap_or(word),
                "it takes a number of rows a second, such as `5000 rows/s` or `5000/s`",
            ),
        }
    }

    fn undo(&mut self, known: &Word, word: &Token, values: &[Token]) {
        match values {
            [capture, until, rest @ ..] if capture.text == "capture" && until.text == "for" => {
                match duration::parse_long(&joined(rest)) {
                    Ok(keep) => self.chunking.undo = Some(keep),
                    Err(message) => {
                        self.malformed(known, rest.first().unwrap_or(until), &message);
                    }
                }
            }
            _ => self.malformed(
                known,
                values.first().unwrap_or(word),
                "it takes `capture for` and how long",
            ),
        }
    }

    fn repeat(&mut self, known: &Word, word: &Token, values: &[Token]) {
        match values {
            [until, most, count] if until.text == "until-done" && most.text == "max" => {
                let count = std::slice::from_ref(count);
                if let Some(rounds) = self.number(known, word, count, 2, ROUNDS_MAX) {
                    self.chunking.rounds = u32::try_from(rounds).unwrap_or(1);
                }
            }
            _ => self.malformed(
                known,
                values.first().unwrap_or(word),
                "it takes `until-done max` and a number",
            ),
        }
    }

    /// What all words together mean: chunks or none, and what does not go together.
    pub(super) fn bring_together(&mut self) {
        let by_rows = self.subject == Subject::Rows;
        let chunk_by = self.places.iter().find(|(name, _)| *name == "chunk-by").cloned();
        let lacking: Vec<(&'static str, Place)> = self
            .places
            .iter()
            .filter(|(name, _)| find(name).is_some_and(Word::needs_chunks))
            .filter(|_| chunk_by.is_none() && !by_rows)
            .cloned()
            .collect();
        for (name, place) in lacking {
            self.errors.push(
                Diagnostic::error("needs-chunk-by", format!("`{name}` means nothing without `chunk-by`"))
                    .at(place)
                    .help("add `-- dunlin: chunk-by TABLE` and a `:chunk` to each statement, or remove this line"),
            );
        }
        if let Some((_, place)) = &chunk_by {
            self.refuse_conflicts(place);
        }
        let said = |name| self.places.iter().find(|(known, _)| *known == name);
        if let (Some((_, place)), None) = (said("repeat"), said("done-when")) {
            self.errors.push(
                Diagnostic::error(
                    "needs-done-when",
                    "`repeat until-done` has no `done-when` to ask",
                )
                .at(place.clone())
                .help("add `done-when` with a query that is true once all is done"),
            );
        }
        if chunk_by.is_some() || by_rows {
            self.directives.chunking = Some(Box::new(self.chunking.clone()));
        }
    }

    fn refuse_conflicts(&mut self, chunk_by: &Place) {
        let conflicts = [
            (
                self.directives.no_transaction,
                "no-transaction",
                "a chunk is one transaction with its checkpoint: remove `no-transaction`, and put \
                 what cannot run in a transaction into a migration of its own",
            ),
            (
                self.directives.foreign_keys_off,
                "foreign-keys",
                "it checks all of the file before the commit, which each chunk would have to; a \
                 chunk enforces no foreign keys anyhow, as the `sqlite3` program doesn't: remove \
                 `foreign-keys off`",
            ),
        ];
        for (_, name, help) in conflicts.into_iter().filter(|(said, ..)| *said) {
            let place = self.places.iter().find(|(known, _)| *known == name);
            let place = place.map_or_else(|| chunk_by.clone(), |(_, place)| place.clone());
            self.errors.push(
                Diagnostic::error(
                    "conflicting-directives",
                    format!("`chunk-by` does not go together with `{name}`"),
                )
                .at(place)
                .help(help),
            );
        }
    }
}

fn joined(values: &[Token]) -> String {
    let written: Vec<&str> = values.iter().map(|value| value.text.as_str()).collect();
    written.join(" ")
}

/// A size with its unit.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Names as they are written, quotes included, with commas or white space between them.
///
/// # Errors
/// A sentence for a person, without a full stop.
pub(crate) fn key_columns(text: &str) -> Result<Vec<String>, &'static str> {
    let mut names: Vec<String> = Vec::new();
    let mut name = String::new();
    let mut closing = None;
    for c in text.chars() {
        match (closing, c) {
            (Some(quote), c) => {
                name.push(c);
                closing = (c != quote).then_some(quote);
            }
            (None, '"' | '`') => {
                name.push(c);
                closing = Some(c);
            }
            (None, '[') => {
                name.push(c);
                closing = Some(']');
            }
            (None, c) if c == ',' || c.is_whitespace() => {
                names.extend(Some(std::mem::take(&mut name)).filter(|name| !name.is_empty()));
            }
            (None, c) => name.push(c),
        }
    }
    if closing.is_some() {
        return Err("a quoted name is never closed");
    }
    names.extend(Some(name).filter(|name| !name.is_empty()));
    if names.is_empty() {
        return Err("a column is missing");
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(bytes("16MB"), Some(16_000_000));
        assert_eq!(bytes("16 mb"), Some(16_000_000));
        assert_eq!(bytes("512KiB"), Some(524_288));
        assert_eq!(bytes("1GB"), Some(1_000_000_000));
        for wrong in ["", "16", "MB", "16 M", "-1MB", "99999999999999999999GB", "1.5MB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn columns_are_separated_by_commas_or_spaces() {
        assert_eq!(key_columns("tenant_id, id"), Ok(vec!["tenant_id".into(), "id".into()]));
        assert_eq!(key_columns("tenant_id id"), Ok(vec!["tenant_id".into(), "id".into()]));
        assert_eq!(
            key_columns("\"a, b\",`c d`\n[e]"),
            Ok(vec!["\"a, b\"".into(), "`c d`".into(), "[e]".into()])
        );
        assert!(key_columns(",").is_err());
        assert!(key_columns("\"a").is_err());
    }
}
