//! From TOML to layers of values, with every error along the way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_model::{DataMode, Diagnostic, HistoryTool, OutOfOrder, Place};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Throttle;
use super::keys::{self, Key, Scope, Sets, Takes};
use super::layer::{Document, Environment, History, Layer};
use super::variable::{self, Expanded};
use crate::directive::{CHUNK_TIME_MAX, is_name};
use crate::folder::toml_error;
use crate::position::line_and_column;
use crate::{duration, suggestion};

/// Reads the text of a `dunlin.toml`.
pub(super) fn read(
    file: &Path,
    text: &str,
    variables: &BTreeMap<String, String>,
) -> Result<Document, Vec<Diagnostic>> {
    let (table, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        return Err(syntax.iter().map(|error| toml_error(file, text, error)).collect());
    }
    let mut reader = Reader { file, text, variables, errors: Vec::new() };
    let document = reader.document(table.get_ref());
    if reader.errors.is_empty() { Ok(document) } else { Err(reader.errors) }
}

type Item<'a, 'i> = &'a Spanned<DeValue<'i>>;

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    variables: &'a BTreeMap<String, String>,
    errors: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn document(&mut self, table: &DeTable<'_>) -> Document {
        let mut document =
            Document { top: self.layer(table, Scope::Top, ""), ..Document::default() };
        self.named(table, "databases", "", |reader, name, table, path| {
            document.databases.push((name, reader.layer(table, Scope::Database, path)));
        });
        let known: Vec<String> = document.databases.iter().map(|(name, _)| name.clone()).collect();
        self.named(table, "environments", "", |reader, name, table, path| {
            let environment = reader.environment(table, path, &known);
            document.environments.push((name, environment));
        });
        document
    }

    fn environment(&mut self, table: &DeTable<'_>, path: &str, known: &[String]) -> Environment {
        let mut environment = Environment {
            all: self.layer(table, Scope::Environment, path),
            ..Environment::default()
        };
        self.named(table, "databases", path, |reader, name, inner, path| {
            if known.contains(&name) {
                environment.databases.insert(name, reader.layer(inner, Scope::Database, path));
                return;
            }
            let offset = key_offset(table, &name);
            let names = known.iter().map(String::as_str);
            let help = if known.is_empty() {
                format!("add [databases.{name}] first")
            } else {
                suggestion::help(&name, names)
            };
            reader.error("unknown-database", offset, format!("unknown database `{name}`"), help);
        });
        environment
    }

    /// Visits the tables of a table of names, such as `[databases.NAME]`.
    fn named<'i>(
        &mut self,
        table: &DeTable<'i>,
        key: &str,
        path: &str,
        mut visit: impl FnMut(&mut Self, String, &DeTable<'i>, &str),
    ) {
        let Some((_, value)) = table.iter().find(|(name, _)| name.get_ref() == key) else { return };
        let Some(inner) = value.get_ref().as_table() else {
            let message = format!("`{path}{key}` is not a table");
            self.error(
                "wrong-type",
                value.span().start,
                message,
                format!("write [{path}{key}.NAME]"),
            );
            return;
        };
        for (name, value) in inner {
            let path = format!("{path}{key}.{}", name.get_ref());
            let Some(table) = value.get_ref().as_table() else {
                let message = format!("`{path}` is not a table");
                let help = format!("`{key}` holds one table for each name: [{path}.NAME]");
                self.error("wrong-type", value.span().start, message, help);
                continue;
            };
            if !is_name(name.get_ref()) {
                let message = format!("`{}` is no name", name.get_ref());
                let help = "a name has letters, digits, `-` and `_`".to_owned();
                self.error("wrong-name", name.span().start, message, help);
                continue;
            }
            visit(self, name.get_ref().to_string(), table, &format!("{path}."));
        }
    }

    /// The values of one table.
    fn layer(&mut self, table: &DeTable<'_>, scope: Scope, path: &str) -> Layer {
        let mut layer = Layer::default();
        for (name, value) in table {
            if name.get_ref() == "backfill" && scope != Scope::Backfill {
                let Some(inner) = value.get_ref().as_table() else {
                    let message = format!("`{path}backfill` is not a table");
                    let help = format!("write [{path}backfill] on a line of its own");
                    self.error("wrong-type", value.span().start, message, help);
                    continue;
                };
                layer =
                    self.layer(inner, Scope::Backfill, &format!("{path}backfill.")).over(&layer);
                continue;
            }
            if keys::tables(scope).contains(&name.get_ref().as_ref()) {
                continue;
            }
            match keys::find(name.get_ref()).filter(|key| key.scopes.contains(&scope)) {
                Some(key) => self.set(&mut layer, key, value),
                None => self.unknown(name, scope, path),
            }
        }
        layer
    }

    fn unknown(&mut self, name: &Spanned<std::borrow::Cow<'_, str>>, scope: Scope, path: &str) {
        let written = name.get_ref().as_ref();
        let help = if let Some(key) = keys::find(written) {
            let places: Vec<&str> = key.scopes.iter().map(|scope| place_of(*scope)).collect();
            format!("`{written}` belongs {}", places.join(" or "))
        } else {
            suggestion::help(written, keys::names(scope))
        };
        let message = format!("unknown key `{path}{written}`");
        self.error("unknown-key", name.span().start, message, help);
    }

    fn set(&mut self, layer: &mut Layer, key: &'static Key, value: Item<'_, '_>) {
        match key.sets {
            Sets::Url => layer.url = self.url(key, value),
            Sets::DirectUrl => layer.direct_url = self.url(key, value),
            Sets::Migrations => layer.migrations = self.folder(key, value),
            Sets::DataMigrations => layer.data_migrations = self.folder(key, value),
            Sets::SchemaHistory => {
                layer.schema_history = self.word(key, value).map(|word| {
                    HistoryTool::ALL
                        .into_iter()
                        .find(|tool| tool.as_str() == word)
                        .map_or(History::Ignored, History::Of)
                });
            }
            Sets::Data => {
                layer.data = self.word(key, value).map(|word| match word {
                    "auto" => DataMode::Auto,
                    "skip" => DataMode::Skip,
                    _ => DataMode::Manual,
                });
            }
            Sets::OutOfOrder => {
                layer.out_of_order = self.word(key, value).map(|word| match word {
                    "error" => OutOfOrder::Error,
                    _ => OutOfOrder::Allow,
                });
            }
            Sets::LockTimeout => layer.lock_timeout = self.duration(key, value),
            Sets::StatementTimeout => layer.statement_timeout = self.duration(key, value),
            Sets::ConnectTimeout => layer.connect_timeout = self.duration(key, value),
            Sets::ReplicaUrls => layer.replica_urls = self.urls(key, value),
            Sets::Throttle => {
                layer.throttle = self.word(key, value).map(|word| match word {
                    "off" => Throttle::Off,
                    _ => Throttle::Mild,
                });
            }
            Sets::ChunkTime => {
                layer.chunk_time = self.duration(key, value);
                if layer.chunk_time.is_some_and(|time| time > CHUNK_TIME_MAX) {
                    self.wrong(key, value, "the longest is `10min`");
                }
            }
            Sets::Workers => layer.workers = self.number(key, value),
            Sets::Protected => match value.get_ref().as_bool() {
                Some(said) => layer.protected = Some(said),
                None => self.wrong(key, value, "it takes `true` or `false`"),
            },
        }
    }

    fn url(&mut self, key: &Key, value: Item<'_, '_>) -> Option<Expanded> {
        let text = self.string(key, value)?;
        match variable::expand(text, self.variables) {
            Ok(expanded) => Some(expanded),
            Err(message) => {
                self.wrong(key, value, &message);
                None
            }
        }
    }

    fn urls(&mut self, key: &Key, value: Item<'_, '_>) -> Option<Vec<Expanded>> {
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, value, "it takes a list of URLs");
            return None;
        };
        Some(items.iter().filter_map(|item| self.url(key, item)).collect())
    }

    fn number(&mut self, key: &Key, value: Item<'_, '_>) -> Option<u32> {
        let Takes::Number(least, most) = key.takes else { return None };
        let number =
            value.get_ref().as_integer().and_then(|written| written.to_string().parse().ok());
        let within = number.filter(|number| (least..=most).contains(number));
        if within.is_none() {
            self.wrong(key, value, &format!("it takes a number from {least} to {most}"));
        }
        within
    }

    fn folder(&mut self, key: &Key, value: Item<'_, '_>) -> Option<PathBuf> {
        let text = self.string(key, value)?;
        if text.is_empty() || text.contains('\0') {
            self.wrong(key, value, "it takes the path of a folder");
            return None;
        }
        if text.contains("${") {
            self.wrong(
                key,
                value,
                "variables stand only in `url`, `direct_url` and `replica_urls`",
            );
            return None;
        }
        Some(PathBuf::from(text))
    }

    fn duration(&mut self, key: &Key, value: Item<'_, '_>) -> Option<Duration> {
        let text = self.string(key, value)?;
        match duration::parse(text) {
            Ok(duration) => Some(duration),
            Err(message) => {
                self.wrong(key, value, &message);
                None
            }
        }
    }

    fn word(&mut self, key: &Key, value: Item<'_, '_>) -> Option<&'static str> {
        let text = self.string(key, value)?;
        let Takes::OneOf(words) = key.takes else { return None };
        let words = words();
        let found = words.iter().copied().find(|word| *word == text);
        if found.is_none() {
            let message = match suggestion::nearest(text, words.iter().copied()) {
                Some(near) => format!("`{text}` is not a choice; did you mean `{near}`?"),
                None => format!("`{text}` is not a choice; it takes {}", suggestion::list(words)),
            };
            self.wrong(key, value, &message);
        }
        found
    }

    fn string<'v>(&mut self, key: &Key, value: &'v Spanned<DeValue<'_>>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong(key, value, "it takes a string in quotes");
        }
        text
    }

    fn wrong(&mut self, key: &Key, value: Item<'_, '_>, message: &str) {
        let help = format!("for example: {} = {}", key.name, key.example);
        self.error("wrong-value", value.span().start, format!("`{}`: {message}", key.name), help);
    }

    fn error(&mut self, rule: &'static str, offset: usize, message: String, help: String) {
        let (line, column) = line_and_column(self.text, offset);
        self.errors.push(
            Diagnostic::error(rule, message).at(Place::at(self.file, line, column)).help(help),
        );
    }
}

/// Where the name of an environment's database stands.
fn key_offset(environment: &DeTable<'_>, database: &str) -> usize {
    environment
        .iter()
        .find(|(name, _)| name.get_ref() == "databases")
        .and_then(|(_, value)| value.get_ref().as_table())
        .and_then(|inner| inner.iter().find(|(name, _)| name.get_ref() == database))
        .map_or(0, |(name, _)| name.span().start)
}

fn place_of(scope: Scope) -> &'static str {
    match scope {
        Scope::Top => "at the top, before any [table]",
        Scope::Database => "under [databases.NAME]",
        Scope::Environment => "under [environments.NAME]",
        Scope::Backfill => "under [backfill]",
    }
}
