//! Errors, and migrations that failed.

use dunlin::engine::TargetError;
use dunlin::engine::report::{Cause, EngineError, Failure};
use dunlin::model::{Diagnostic, Direction, Severity};
use dunlin::project::plan::Drift;
use serde_json::json;

use super::{BAD, BOLD, FAINT, WAITING, line, migration, styled};
use crate::exit::CliError;

/// An error that ended a command before it came to a database.
pub(crate) fn show(error: &CliError, as_json: bool) {
    if as_json {
        super::json(&json!({
            "error": to_json(error),
            "exit_code": error.exit().code(),
        }));
    }
    tell(error);
}

/// The document of a command whose arguments can't be read; it was told for people already.
pub(crate) fn usage_document(told: &str) {
    let mut parts = told.trim().splitn(2, "\n\n").map(str::trim);
    let message = parts.next().unwrap_or_default();
    let error = CliError::Usage {
        message: message.strip_prefix("error: ").unwrap_or(message).to_owned(),
        help: parts.next().map(str::to_owned),
    };
    super::json(&json!({ "error": to_json(&error), "exit_code": error.exit().code() }));
}

/// An error for people.
pub(crate) fn tell(error: &CliError) {
    super::live::clear();
    match error {
        CliError::Diagnostics(found) => diagnostics(found),
        CliError::Usage { message, help } => {
            problem(message);
            help_line(help.as_deref());
        }
        CliError::NoSuch { message, help } => {
            problem(message);
            help_line(Some(help));
        }
        CliError::File { message } => problem(message),
        CliError::Engine { database, error, changed } => engine(database, error, *changed),
    }
}

/// An error as JSON. Whatever its kind, it has a `message`, and a `code` if a server gave one.
pub(crate) fn to_json(error: &CliError) -> serde_json::Value {
    let mut document = details(error);
    if document.get("message").is_none() {
        document["message"] = match error {
            CliError::Diagnostics(found) => {
                found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into()
            }
            CliError::Engine { error, .. } => error.to_string().into(),
            CliError::Usage { message, .. }
            | CliError::NoSuch { message, .. }
            | CliError::File { message } => message.clone().into(),
        };
    }
    if document.get("code").is_none() {
        document["code"] = serde_json::Value::Null;
    }
    document
}

fn details(error: &CliError) -> serde_json::Value {
    match error {
        CliError::Diagnostics(found) => json!({ "kind": "diagnostics", "diagnostics": found }),
        CliError::Usage { message, help } => {
            json!({ "kind": "usage", "message": message, "help": help })
        }
        CliError::NoSuch { message, help } => {
            json!({ "kind": "no-such", "message": message, "help": help })
        }
        CliError::File { message } => json!({ "kind": "file", "message": message }),
        CliError::Engine { database, error, .. } => match error.as_ref() {
            EngineError::Refused(found) => {
                json!({ "kind": "diagnostics", "database": database, "diagnostics": found })
            }
            EngineError::Drift(drift) => {
                json!({ "kind": "drift", "database": database, "drift": drift })
            }
            EngineError::Target(error) => json!({
                "kind": "database", "database": database, "message": error.message,
                "code": error.code, "help": error.help, "notes": error.notes,
            }),
            EngineError::LeaseHeld(holder) => {
                json!({ "kind": "lease-held", "database": database, "holder": holder })
            }
            EngineError::Interrupted => json!({ "kind": "interrupted", "database": database }),
            EngineError::Told { help, .. } => {
                json!({ "kind": "held", "database": database, "help": help })
            }
        },
    }
}

fn problem(message: &str) {
    line(&format!("{} {message}", styled(BAD, "error:")));
}

fn help_line(help: Option<&str>) {
    if let Some(help) = help {
        line(&format!("  {} {help}", styled(BOLD, "help:")));
    }
}

/// Findings, one after the other.
pub(crate) fn diagnostics(found: &[Diagnostic]) {
    for diagnostic in found {
        let (style, word) = match diagnostic.severity {
            Severity::Error => (BAD, "error:"),
            Severity::Warning => (WAITING, "warning:"),
            Severity::Notice => (FAINT, "notice:"),
        };
        let place = diagnostic.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        line(&format!("{} {place}{}", styled(style, word), diagnostic.message));
        help_line(diagnostic.help.as_deref());
    }
}

fn engine(database: &str, error: &EngineError, changed: bool) {
    let changes = if changed { "what is shown above is kept" } else { "nothing was changed" };
    match error {
        EngineError::Refused(found) => diagnostics(found),
        EngineError::Drift(drift) => drifted(drift),
        EngineError::Target(error) => target(database, error),
        EngineError::LeaseHeld(holder) => {
            problem(&format!(
                "{database}: {} (process {}) is still at work on {}",
                holder.owner.host, holder.owner.pid, holder.resource
            ));
            help_line(Some(&format!(
                "{changes}; wait for it, or give more time with --lease-wait. A runner that died frees its lease by itself"
            )));
        }
        EngineError::Interrupted => line(&format!("{database}: stopped; {changes}")),
        EngineError::Told { cause, help } => {
            line(&format!("{database}: {}", styled(WAITING, &cause.to_string())));
            help_line(Some(help));
        }
    }
}

/// A database's error.
pub(crate) fn target(database: &str, error: &TargetError) {
    problem(&format!("{database}: {error}"));
    for note in &error.notes {
        line(&format!("  {note}"));
    }
    help_line(error.help.as_deref());
}

/// Applied migrations that were edited.
pub(crate) fn drifted(drift: &[Drift]) {
    for one in drift {
        problem(&format!(
            "{}: {} was edited after it was applied",
            one.file.display(),
            migration(one.id.kind, one.id.version, &one.name)
        ));
    }
    if let Some(first) = drift.first() {
        help_line(Some(&format!(
            "nothing was run: restore the file, or take its new text with `dunlin accept {} --because \"…\"`",
            first.id.version
        )));
    }
}

/// A migration that failed: what, where, the server's words, what is kept, and what goes on.
pub(crate) fn migration_failed(failure: &Failure, go_on: &dyn Fn(&str) -> String) {
    if let Cause::Refused { diagnostics: found } = &failure.cause {
        line("");
        diagnostics(found);
        return;
    }
    let title = migration(failure.id.kind, failure.id.version, &failure.name);
    let way = if failure.direction == Direction::Down { " (down)" } else { "" };
    line("");
    let word = match failure.cause {
        Cause::Paused { .. } | Cause::Cancelled { .. } => styled(WAITING, "not run:"),
        Cause::RowsRemain { .. } | Cause::NotProved { .. } => styled(BAD, "not done:"),
        _ => styled(BAD, "failed:"),
    };
    line(&format!("{word} {title}{way}"));
    field("file", &place(failure));
    if let Some(statement) = &failure.statement {
        field("statement", &excerpt(&statement.text));
    }
    cause(&failure.cause);
    field("kept", &kept(failure));
    field("go on", &next(failure, go_on));
}

fn field(name: &str, text: &str) {
    let mut lines = text.lines();
    line(&format!("  {:<10} {}", name, lines.next().unwrap_or_default()));
    for more in lines {
        line(&format!("  {:<10} {more}", ""));
    }
}

fn place(failure: &Failure) -> String {
    let file = failure.file.display();
    match (&failure.statement, failure.number) {
        (Some(statement), Some(number)) => {
            let (line, column) = pointed_at(failure).unwrap_or((statement.line, statement.column));
            format!("{file}:{line}:{column}, statement {number}")
        }
        _ => file.to_string(),
    }
}

/// Line and column that the server points to, within the file.
fn pointed_at(failure: &Failure) -> Option<(usize, usize)> {
    let statement = failure.statement.as_ref()?;
    let (Cause::Target(TargetError { offset: Some(offset), .. })
    | Cause::Chunk { error: TargetError { offset: Some(offset), .. }, .. }) = &failure.cause
    else {
        return None;
    };
    Some(statement.position(*offset))
}

/// The first lines of a statement.
fn excerpt(text: &str) -> String {
    const LINES_MAX: usize = 12;
    let mut lines: Vec<&str> = text.lines().take(LINES_MAX).collect();
    if text.lines().count() > LINES_MAX {
        lines.push("…");
    }
    lines.join("\n")
}

fn cause(cause: &Cause) {
    match cause {
        Cause::Target(error) => server(error),
        Cause::Chunk { error, key } => {
            if let Some(key) = key {
                // For whoever is at this terminal: it is data, and in no log of ours.
                field("row", &format!("row with key {}", key.encode()));
            }
            server(error);
        }
        Cause::Program { ending } => field("program", ending),
        Cause::Unknown { evidence } => {
            field(
                "why",
                "it can't be known whether this statement took effect before its runner died",
            );
            for fact in evidence {
                field("", fact);
            }
        }
        Cause::Refused { .. }
        | Cause::Interrupted
        | Cause::RowsRemain { .. }
        | Cause::NotProved { .. }
        | Cause::Paused { .. }
        | Cause::Cancelled { .. } => field("why", &cause.to_string()),
    }
}

fn server(error: &TargetError) {
    field("server", &error.to_string());
    for note in &error.notes {
        field("", note);
    }
    if let Some(help) = &error.help {
        field("help", help);
    }
}

fn kept(failure: &Failure) -> String {
    match (&failure.cause, failure.kept) {
        (Cause::Target(error), _) if error.may_be_kept => {
            "unknown: what it changed before its transaction ended may be committed".into()
        }
        (Cause::Program { .. }, _) => {
            "what the program did outside transactions of its own; it gets the same key again"
                .into()
        }
        (
            Cause::Chunk { .. }
            | Cause::RowsRemain { .. }
            | Cause::Paused { .. }
            | Cause::Cancelled { .. },
            _,
        ) => "every chunk that is done; the next run goes on after them".into(),
        (Cause::NotProved { rounds: 1.. }, _) => {
            "every chunk; the next run walks over no row again, and only asks done-when".into()
        }
        (Cause::NotProved { rounds: 0 }, _) => {
            "nothing of its SQL: it was rolled back; what a program did stays".into()
        }
        (Cause::Interrupted, 0) => "what was committed; the rest was rolled back".into(),
        (_, 0) => "nothing of it: it was rolled back; earlier migrations stay".into(),
        (_, 1) => "its first statement; the next run goes on after it".into(),
        (_, count) => format!("its first {count} statements; the next run goes on after them"),
    }
}

fn next(failure: &Failure, go_on: &dyn Fn(&str) -> String) -> String {
    let version = failure.id.version;
    match &failure.cause {
        Cause::Unknown { .. } => format!(
            "look at the database, then: {}\nor: {}",
            go_on(&format!("settle {version} took-effect")),
            go_on(&format!("settle {version} did-not"))
        ),
        Cause::Interrupted => go_on(&command(failure)),
        Cause::RowsRemain { .. } => format!(
            "{}\nthen: {}\nor: {}",
            go_on(&format!("data quarantine list {version}")),
            go_on(&format!("data quarantine retry {version}")),
            go_on(&format!("data quarantine discard {version} --all"))
        ),
        Cause::NotProved { rounds: 0 } => format!(
            "look at the rows that are left, put it right, then: {}",
            go_on(&command(failure))
        ),
        Cause::NotProved { .. } => format!(
            "look at the rows that are left, put it right, then: {}\nor over all rows anew: {}",
            go_on(&command(failure)),
            go_on(&format!("data rerun {version}"))
        ),
        Cause::Paused { .. } | Cause::Cancelled { .. } => format!(
            "{}\nthen: {}",
            go_on(&format!("data resume {version}")),
            go_on(&command(failure))
        ),
        _ => format!("put it right, then: {}", go_on(&command(failure))),
    }
}

fn command(failure: &Failure) -> String {
    match (failure.id.kind, failure.direction) {
        (dunlin::model::Kind::Data, _) => format!("data run {}", failure.id.version),
        (dunlin::model::Kind::Schema, Direction::Up) => "migrate".to_owned(),
        (dunlin::model::Kind::Schema, Direction::Down) => {
            format!("rollback --through {}", failure.id.version)
        }
    }
}
