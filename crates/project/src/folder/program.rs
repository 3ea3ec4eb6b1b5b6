//! Data migrations that are programs: an executable file, or a `.toml` that names a command.

use std::path::{MAIN_SEPARATOR, Path};

use dunlin_model::{Body, Checksums, Diagnostic, Dialect, Migration, Place, Program, RowCode};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::MigrationFile;
use super::rows::{self, Rows};
use crate::directive::{Said, Subject};
use crate::position::line_and_column;
use crate::{directive, sql, suggestion};

/// How much of a program's text the ledger keeps: it is there for people to read.
const LEDGER_TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Reads a program's header, or its `.toml`.
pub(super) fn parse(file: &MigrationFile, dialect: Dialect) -> Result<Migration, Vec<Diagnostic>> {
    let is_toml = file.up.extension().is_some_and(|ending| ending == "toml");
    let is_binary = file.bytes.contains(&0);
    let Read { command, said, rows } = if is_toml {
        parse_toml(&file.up, &file.bytes)?
    } else {
        let path = file.root.join(&file.up);
        let Some(path) = path.to_str() else {
            return Err(vec![
                Diagnostic::error("file-fits-no-rule", "the path of the program is not UTF-8")
                    .at(Place::file(&file.up)),
            ]);
        };
        let said = if is_binary {
            Said::default()
        } else {
            directive::read_program(&file.up, &String::from_utf8_lossy(&file.bytes))?
        };
        Read { command: vec![path.to_owned()], said, rows: None }
    };
    let command = from_root(&file.root, command);
    let directives = sql::settle(dialect, &file.up, said)?;
    let program = Program { file: file.up.clone(), command, directives };
    Ok(Migration {
        id: file.id,
        name: file.name.clone(),
        body: match rows {
            Some(Rows { columns, lock, .. }) => Body::Rows(RowCode { program, columns, lock }),
            None => Body::Program(program),
        },
        down: None,
        checksums: Checksums { text: file.checksum.clone(), statements: file.checksum.clone() },
        text: if is_binary {
            format!("(a binary program of {} bytes, SHA-256 {})", file.bytes.len(), file.checksum)
        } else {
            ledger_text(&file.bytes)
        },
    })
}

/// A program that is named by a path is looked for from the root: where a relative one would be
/// looked for otherwise differs between systems.
fn from_root(root: &Path, mut command: Vec<String>) -> Vec<String> {
    if let Some(program) = command.first_mut()
        && program.contains(['/', MAIN_SEPARATOR])
        && let Some(path) = root.join(&*program).to_str()
    {
        *program = path.to_owned();
    }
    command
}

fn ledger_text(bytes: &[u8]) -> String {
    if bytes.len() <= LEDGER_TEXT_BYTES_MAX {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let start = String::from_utf8_lossy(&bytes[..LEDGER_TEXT_BYTES_MAX]).into_owned();
    format!("{start}\n(the first {LEDGER_TEXT_BYTES_MAX} of {} bytes)\n", bytes.len())
}

/// What a program's file says.
struct Read {
    command: Vec<String>,
    said: Said,
    rows: Option<Rows>,
}

/// Errors of one `.toml`.
pub(super) struct Toml<'a> {
    file: &'a Path,
    text: &'a str,
    errors: Vec<Diagnostic>,
}

impl Toml<'_> {
    /// The place of an offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        let (line, column) = line_and_column(self.text, offset);
        Place::at(self.file, line, column)
    }

    pub(super) fn error(
        &mut self,
        offset: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.place(offset);
        self.errors.push(Diagnostic::error("malformed-program", message).at(place).help(help));
    }
}

const COMMAND_HELP: &str =
    "write [program] command = [\"bin/rails\", \"runner\", \"…\"]: the program, then its arguments";

fn parse_toml(file: &Path, bytes: &[u8]) -> Result<Read, Vec<Diagnostic>> {
    let at = Place::file(file);
    let text = std::str::from_utf8(bytes).map_err(|_| {
        vec![Diagnostic::error("malformed-program", "the file is not UTF-8").at(at)]
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let document = DeTable::parse(text).map_err(|error| vec![toml_error(file, text, &error)])?;
    let mut toml = Toml { file, text, errors: Vec::new() };
    directive::refuse_in_toml(file, text, &mut toml.errors);
    let has_rows = document.get_ref().iter().any(|(key, _)| key.get_ref() == "rows");
    let subject = if has_rows { Subject::Rows } else { Subject::Program };
    let (mut command, mut rows, mut said) = (None, None, Said::default());
    for (key, value) in document.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("program", DeValue::Table(table)) => command = read_program(&mut toml, table),
            ("rows", DeValue::Table(table)) => {
                rows = rows::read(&mut toml, key.span().start, table);
            }
            ("migration", DeValue::Table(table)) => {
                match directive::of_table(file, text, table, subject) {
                    Ok(read) => said = read,
                    Err(errors) => toml.errors.extend(errors),
                }
            }
            (name @ ("program" | "rows" | "migration"), _) => {
                toml.error(
                    value.span().start,
                    format!("`{name}` is not a table"),
                    format!("write [{name}] on a line of its own"),
                );
            }
            (name, _) => {
                let help = suggestion::help(name, ["migration", "program", "rows"]);
                toml.error(key.span().start, format!("unknown key `{name}`"), help);
            }
        }
    }
    match command {
        Some(command) if toml.errors.is_empty() => {
            if let Some(rows) = &rows {
                rows.direct(&mut said);
            }
            Ok(Read { command, said, rows })
        }
        None if toml.errors.is_empty() => {
            toml.error(0, "the file names no program to run", COMMAND_HELP);
            Err(toml.errors)
        }
        _ => Err(toml.errors),
    }
}

fn read_program(toml: &mut Toml<'_>, table: &DeTable<'_>) -> Option<Vec<String>> {
    let mut command = None;
    for (key, value) in table {
        if key.get_ref().as_ref() == "command" {
            command = read_command(toml, value);
        } else {
            let name = key.get_ref();
            let help =
                match suggestion::nearest(name, directive::WORDS.iter().map(|word| word.name)) {
                    Some(word) => format!("`{word}` belongs under [migration]"),
                    None => suggestion::help(name, ["command"]),
                };
            toml.error(key.span().start, format!("unknown key `program.{name}`"), help);
        }
    }
    command
}

fn read_command(toml: &mut Toml<'_>, value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
    let parts: Option<Vec<String>> = value.get_ref().as_array().and_then(|items| {
        items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
    });
    match parts {
        Some(parts) if parts.iter().any(|part| part.contains('\0')) => {
            toml.error(value.span().start, "`command` holds a NUL character", COMMAND_HELP);
        }
        Some(parts) if parts.first().is_some_and(|program| !program.is_empty()) => {
            return Some(parts);
        }
        Some(_) => toml.error(value.span().start, "`command` is empty", COMMAND_HELP),
        None => toml.error(value.span().start, "`command` is not a list of strings", COMMAND_HELP),
    }
    None
}

/// A syntax error. Only its message: the library's own rendering quotes the line, which may hold a
/// secret.
pub(crate) fn toml_error(file: &Path, text: &str, error: &toml::de::Error) -> Diagnostic {
    let place = match error.span() {
        Some(span) => {
            let (line, column) = line_and_column(text, span.start);
            Place::at(file, line, column)
        }
        None => Place::file(file),
    };
    Diagnostic::error("malformed-toml", format!("not valid TOML: {}", error.message())).at(place)
}
