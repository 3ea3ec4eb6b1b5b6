//! From words and their values to [`Directives`], with every error along the way.

use std::path::Path;
use std::time::Duration;

use dunlin_model::{Chunking, Diagnostic, Directives, Kind, Place, Reference, Version};

use super::words::{Sets, WORDS, Word, find};
use super::{Said, Subject, Token, tokens};
use crate::{duration, suggestion};

/// Gathers the directives of one file.
pub(crate) struct Reader<'a> {
    pub(super) file: &'a Path,
    pub(super) subject: Subject,
    pub(super) directives: Directives,
    /// What was said of chunks, whether or not there are any.
    pub(super) chunking: Chunking,
    pub(super) errors: Vec<Diagnostic>,
    /// Words that stood already, with their lines.
    seen: Vec<(&'static str, usize)>,
    /// Words, with the places of their values.
    pub(super) places: Vec<(&'static str, Place)>,
}

impl<'a> Reader<'a> {
    /// A reader that has seen nothing yet.
    pub(crate) fn new(file: &'a Path, subject: Subject) -> Self {
        let (directives, errors, seen, places) = Default::default();
        Self { file, subject, directives, chunking: Chunking::by(""), errors, seen, places }
    }

    /// The directives, or everything that was wrong.
    pub(crate) fn finish(mut self) -> Result<Said, Vec<Diagnostic>> {
        self.bring_together();
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        Ok(Said { directives: self.directives, places: self.places })
    }

    /// Cuts a value into tokens; `None` and an error where it can't be.
    pub(crate) fn tokens(&mut self, value: &str, line: usize, column: usize) -> Option<Vec<Token>> {
        match tokens(value, line, column) {
            Ok(tokens) => Some(tokens),
            Err((column, message)) => {
                self.errors.push(
                    Diagnostic::error("malformed-directive", message)
                        .at(Place::at(self.file, line, column)),
                );
                None
            }
        }
    }

    /// Takes one directive that starts on a line: a word and its values.
    pub(crate) fn directive(&mut self, tokens: &[Token], line: usize) {
        match tokens.split_first() {
            Some((word, values)) => {
                if let Some(known) = self.admit(word) {
                    self.set(known, word, values);
                }
            }
            None => {
                let known = suggestion::list(WORDS.iter().map(|word| word.name));
                self.errors.push(
                    Diagnostic::error("malformed-directive", "a directive without a word")
                        .at(Place::line(self.file, line))
                        .help(format!("known are {known}")),
                );
            }
        }
    }

    /// The word's entry, if it is known, belongs here and is no duplicate.
    pub(crate) fn admit(&mut self, word: &Token) -> Option<&'static Word> {
        let here = WORDS.iter().filter(|known| known.subjects.contains(&self.subject));
        let Some(known) = find(&word.text).filter(|_| !word.quoted) else {
            let help = suggestion::nearest(&word.text, WORDS.iter().map(|known| known.name))
                .map_or_else(
                    || format!("known here are {}", suggestion::list(here.map(|known| known.name))),
                    |near| format!("did you mean `{near}`?"),
                );
            self.error(
                "unknown-directive",
                word,
                format!("unknown directive `{}`", word.text),
                help,
            );
            return None;
        };
        if !known.subjects.contains(&self.subject) {
            let belongs: Vec<&str> = known.subjects.iter().map(|subject| subject.title()).collect();
            self.error(
                "directive-not-here",
                word,
                format!("`{}` does not apply to {}", known.name, self.subject.title()),
                match known.sets {
                    Sets::ChunkBy | Sets::ChunkKey | Sets::ChunkWhere
                        if self.subject == Subject::Rows =>
                    {
                        "it belongs in a data migration in SQL; here `table`, `key` and `where` \
                         under [rows] say it"
                            .to_owned()
                    }
                    _ => format!("it belongs in {}", belongs.join(", or ")),
                },
            );
            return None;
        }
        if let Some((_, line)) = self.seen.iter().find(|(name, _)| *name == known.name) {
            if !known.repeats {
                let message = format!("`{}` was already said on line {line}", known.name);
                self.error("duplicate-directive", word, message, "keep one of the two".to_owned());
                return None;
            }
        } else {
            self.seen.push((known.name, word.line));
        }
        Some(known)
    }

    /// Sets what a word says.
    pub(crate) fn set(&mut self, known: &'static Word, word: &Token, values: &[Token]) {
        let at = values.first().unwrap_or(word);
        self.places.push((known.name, Place::at(self.file, at.line, at.column)));
        match known.sets {
            Sets::NoTransaction => self.directives.no_transaction |= self.flag(known, values),
            Sets::Manual => self.directives.manual |= self.flag(known, values),
            Sets::KeepOutput => self.directives.keep_output |= self.flag(known, values),
            Sets::LockTimeout => self.directives.lock_timeout = self.duration(known, word, values),
            Sets::StatementTimeout => {
                self.directives.statement_timeout = self.duration(known, word, values);
            }
            Sets::After => {
                let found = self.references(known, word, values);
                extend(&mut self.directives.after, found);
            }
            Sets::Requires => {
                let found = self.references(known, word, values);
                extend(&mut self.directives.requires, found);
            }
            Sets::IndependentOf => {
                let found = self.references(known, word, values);
                extend(&mut self.directives.independent_of, found);
            }
            Sets::Environments => self.environments(known, word, values),
            Sets::Background => self.directives.background |= self.flag(known, values),
            Sets::DoneWhen => self.directives.done_when = self.sql(known, word, values),
            Sets::ChunkBy
            | Sets::ChunkKey
            | Sets::ChunkWhere
            | Sets::ChunkRows
            | Sets::ChunkBytes
            | Sets::ChunkTime
            | Sets::Workers
            | Sets::Rate
            | Sets::OnError
            | Sets::Undo
            | Sets::Repeat => self.set_chunks(known, word, values),
            Sets::Disabled => match values {
                [reason] if reason.quoted && !reason.text.trim().is_empty() => {
                    self.directives.disabled = Some(reason.text.clone());
                }
                _ => self.malformed(
                    known,
                    values.first().unwrap_or(word),
                    "it takes its reason in double quotes",
                ),
            },
            Sets::ForeignKeys => match values {
                [off] if off.text == "off" && !off.quoted => {
                    self.directives.foreign_keys_off = true
                }
                _ => {
                    self.malformed(known, values.first().unwrap_or(word), "it takes the word `off`")
                }
            },
        }
    }

    fn flag(&mut self, known: &Word, values: &[Token]) -> bool {
        if let Some(first) = values.first() {
            self.malformed(known, first, "it takes no value");
        }
        values.is_empty()
    }

    pub(super) fn duration(
        &mut self,
        known: &Word,
        word: &Token,
        values: &[Token],
    ) -> Option<Duration> {
        let written: Vec<&str> = values.iter().map(|value| value.text.as_str()).collect();
        match duration::parse(&written.join(" ")) {
            Ok(duration) => Some(duration),
            Err(message) => {
                self.malformed(known, values.first().unwrap_or(word), &message);
                None
            }
        }
    }

    fn environments(&mut self, known: &Word, word: &Token, values: &[Token]) {
        if values.is_empty() {
            self.malformed(known, word, "it takes one environment or more");
        }
        for value in values {
            if is_name(&value.text) {
                if !self.directives.environments.contains(&value.text) {
                    self.directives.environments.push(value.text.clone());
                }
            } else {
                self.malformed(
                    known,
                    value,
                    "an environment's name has letters, digits, `-` and `_`; several are separated by spaces",
                );
            }
        }
    }

    fn references(&mut self, known: &Word, word: &Token, values: &[Token]) -> Vec<Reference> {
        let mut kind = None;
        let mut found = Vec::new();
        let mut kind_is_last = None;
        for value in values {
            kind_is_last = None;
            if !value.quoted
                && let Ok(said) = value.text.parse::<Kind>()
            {
                kind = Some(said);
                kind_is_last = Some(value);
                continue;
            }
            if let Err(message) = self.check_reference(known, kind, value) {
                self.malformed(known, value, &message);
                continue;
            }
            found.push(Reference { kind, text: value.text.clone() });
        }
        if let Some(lonely) = kind_is_last {
            self.malformed(known, lonely, &format!("a version is missing after `{}`", lonely.text));
        } else if values.is_empty() {
            self.malformed(known, word, "a version is missing");
        }
        found
    }

    fn check_reference(
        &self,
        known: &Word,
        kind: Option<Kind>,
        value: &Token,
    ) -> Result<(), String> {
        let text = value.text.as_str();
        if known.sets != Sets::After && kind != Some(Kind::Data) {
            return Err(format!("write `{} data {text}`: it is about data migrations", known.name));
        }
        if !value.quoted && text.ends_with(',') {
            return Err("several versions are separated by spaces, without commas".to_owned());
        }
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err("a version must not be empty or hold control characters".to_owned());
        }
        let is_number = text.bytes().all(|b| b.is_ascii_digit());
        if is_number || kind == Some(Kind::Data) {
            return text.parse::<Version>().map(|_| ()).map_err(|error| error.to_string());
        }
        let is_foreign = |c: char| c.is_alphanumeric() || "._-".contains(c);
        if !value.quoted && !text.chars().all(is_foreign) {
            return Err(format!(
                "`{text}` is not a version: write a number such as 20260110093000, or the other \
                 tool's name for a migration (in double quotes if it has unusual characters)"
            ));
        }
        Ok(())
    }

    pub(super) fn refuse_near(&mut self, line: usize, column: usize, right: &str) {
        self.errors.push(
            Diagnostic::error("malformed-directive", "nearly a directive, but not written as one")
                .at(Place::at(self.file, line, column))
                .help(format!("write `{}`, or reword the comment if it is none", right.trim())),
        );
    }

    pub(super) fn refuse_continuation(&mut self, line: usize, column: usize, marker: &str) {
        self.errors.push(
            Diagnostic::error("malformed-directive", "this line continues no directive")
                .at(Place::at(self.file, line, column))
                .help(format!(
                    "put it right below the `{marker} dunlin: …` line that it continues"
                )),
        );
    }

    pub(super) fn malformed(&mut self, known: &Word, at: &Token, message: &str) {
        let help = format!("for example: {}", known.example);
        self.error("malformed-directive", at, format!("`{}`: {message}", known.name), help);
    }

    pub(crate) fn error(&mut self, rule: &'static str, at: &Token, message: String, help: String) {
        let place = Place::at(self.file, at.line, at.column);
        self.errors.push(Diagnostic::error(rule, message).at(place).help(help));
    }
}

/// Letters, digits, `-` and `_`, and not empty: what an environment or a database may be called.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
}

fn extend(all: &mut Vec<Reference>, found: Vec<Reference>) {
    for reference in found {
        if !all.contains(&reference) {
            all.push(reference);
        }
    }
}
