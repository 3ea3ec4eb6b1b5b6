//! Everything that is printed. Data goes to stdout, what happens to stderr; colour only on a
//! terminal and without `NO_COLOR`.

pub(crate) mod backfill;
#[cfg(feature = "move")]
pub(crate) mod comparison;
pub(crate) mod course;
pub(crate) mod failure;
pub(crate) mod live;
pub(crate) mod move_course;
#[cfg(feature = "move")]
pub(crate) mod moves;
pub(crate) mod plan;
pub(crate) mod preview;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod status;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use dunlin::model::{Kind, Version, WaitsFor};

/// Good news.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Something that waits for a person.
pub(crate) const WAITING: Style = AnsiColor::Yellow.on_default();
/// Bad news.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What may be passed over.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// Headings.
pub(crate) const BOLD: Style = Style::new().bold();

/// A text in a style.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A line of what happens, on stderr.
pub(crate) fn line(text: &str) {
    live::above(|| {
        // Nobody reads any more: that must not stop a run.
        let _ = writeln!(anstream::stderr(), "{text}");
    });
}

/// A line of data, on stdout.
pub(crate) fn data(text: &str) {
    // `… | head` may close the pipe: that is no reason to panic.
    let _ = writeln!(anstream::stdout(), "{text}");
}

/// A text as it is, on stdout.
pub(crate) fn raw(text: &str) {
    // As for `data`.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A JSON document, on stdout.
pub(crate) fn json(value: &serde_json::Value) {
    raw(&format!("{value:#}\n"));
}

/// A JSON document on one line of stdout, for those that read several.
pub(crate) fn json_line(value: &serde_json::Value) {
    raw(&format!("{value}\n"));
}

/// Whether stdout is a terminal.
pub(crate) fn data_is_watched() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether stdout shows colours.
pub(crate) fn colours() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// Whether a person can be asked.
pub(crate) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a question that needs a `y`.
pub(crate) fn ask(question: &str) -> bool {
    anstream::eprint!("{question} [y/N] ");
    let mut answer = String::new();
    // No answer is a no.
    if std::io::stdin().read_line(&mut answer).is_err() {
        return false;
    }
    matches!(answer.trim(), "y" | "Y" | "yes")
}

/// A duration for a person: `12 ms`, `1.3 s`, `2 min 5 s`, `3 h 20 min`, `14 days`.
pub(crate) fn duration(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 1_000 {
        return format!("{millis} ms");
    }
    let seconds = time.as_secs_f64();
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = time.as_secs();
    if whole < 3_600 {
        return format!("{} min {} s", whole / 60, whole % 60);
    }
    if whole < 2 * 86_400 {
        return format!("{} h {} min", whole / 3_600, whole % 3_600 / 60);
    }
    match (whole / 86_400, whole % 86_400 / 3_600) {
        (days, 0) => format!("{days} days"),
        (days, hours) => format!("{days} days {hours} h"),
    }
}

/// `1 row`, `2 rows`, `3,000 rows`.
pub(crate) fn count(number: usize, singular: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {singular}{plural}", backfill::grouped(number as u64))
}

/// A migration for a person: `schema 20260110093000 add_published_at`.
pub(crate) fn migration(kind: Kind, version: Version, name: &str) -> String {
    let mut text = format!("{kind} {version}");
    if !name.is_empty() {
        let _ = write!(text, " {name}");
    }
    text
}

/// What a held migration waits for, and what opens it.
pub(crate) fn waits_for(wait: &WaitsFor, command: &dyn Fn(&str) -> String) -> String {
    match wait {
        WaitsFor::DataBeforeDestruction { data, what, skipped_by_person: false } => format!(
            "it {what}, and {data} is not done: `{}`",
            command(&format!("data run {}", data.version))
        ),
        WaitsFor::DataBeforeDestruction { data, what, skipped_by_person: true } => format!(
            "it {what}, and {data} was skipped by hand, which opens no gate: `{}`, or `{}`",
            command(&format!("data rerun {}", data.version)),
            command(&format!("data retire {} --because \"…\"", data.version))
        ),
        WaitsFor::Required { data, skipped_by_person: false } => {
            format!("it requires {data}: `{}`", command(&format!("data run {}", data.text)))
        }
        WaitsFor::Required { data, skipped_by_person: true } => format!(
            "it requires {data}, which was skipped by hand, which opens no gate: `{}`",
            command(&format!("data rerun {}", data.text))
        ),
        WaitsFor::After { reference } => {
            format!("it comes after {reference}, which is not applied")
        }
        WaitsFor::SameTable { held, table } => {
            format!("{held} is held and touches {table} too: that one first")
        }
        WaitsFor::Unparsed { held } => format!(
            "{held} is held, and this one can't be parsed, so it may touch the same table: that one first"
        ),
        WaitsFor::Environment { names } => format!(
            "it is only for {}, and no environment is set here: say --env or DUNLIN_ENV",
            names.join(", ")
        ),
        WaitsFor::PendingSchema { schema } => {
            format!("{schema} is pending below it: `{}` first", command("migrate"))
        }
    }
}
