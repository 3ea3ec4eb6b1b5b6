//! How a run ended, in a few lines, and as JSON.

use std::time::Duration;

use dunlin::engine::report::{Cause, Failure, Report};
use dunlin::model::{Deferral, Direction, Held, Kind};
use serde_json::{Value, json};

use super::{BOLD, WAITING, count, duration, line, migration, styled, waits_for};

/// The last lines of a run.
pub(crate) fn show(report: &Report, took: Duration, command: &dyn Fn(&str) -> String) {
    super::live::clear();
    super::failure::diagnostics(&report.notices);
    held(&report.held, command);
    deferred(report, command);
    for failure in &report.failed {
        super::failure::migration_failed(failure, command);
    }
    line(&styled(BOLD, &summary(report, took)));
}

/// What waits, and for what.
pub(crate) fn held(held: &[Held], command: &dyn Fn(&str) -> String) {
    for one in held {
        let title = migration(one.id.kind, one.id.version, &one.name);
        line(&format!("  {}     {title}", styled(WAITING, "held")));
        for wait in &one.waits_for {
            line(&format!("           {}", waits_for(wait, command)));
        }
    }
}

fn deferred(report: &Report, command: &dyn Fn(&str) -> String) {
    let manual: Vec<_> =
        report.deferred.iter().filter(|one| one.why == Deferral::DataManual).collect();
    for one in &manual {
        let title = migration(one.id.kind, one.id.version, &one.name);
        line(&format!("  {}  {title}", styled(WAITING, "pending")));
    }
    if !manual.is_empty() {
        line(&format!(
            "           data migrations run when asked for here: `{}`, or `{}`",
            command("data run"),
            command("migrate --with-data")
        ));
    }
    for one in &report.deferred {
        let title = migration(one.id.kind, one.id.version, &one.name);
        match &one.why {
            Deferral::ByName => line(&format!(
                "  {}   {title}: only by name: `{}`",
                styled(WAITING, "manual"),
                command(&format!("data run {}", one.id.version))
            )),
            Deferral::Background => line(&format!(
                "  {}  {title}: in the background: `{}`",
                styled(WAITING, "pending"),
                command("data run --background --until-idle")
            )),
            Deferral::Disabled { reason } => {
                line(&format!("  {} {title}: {reason}", styled(WAITING, "disabled")));
            }
            Deferral::DataManual | Deferral::OutOfScope => {}
        }
    }
}

fn summary(report: &Report, took: Duration) -> String {
    let number = |kind, direction| {
        report
            .finished
            .iter()
            .filter(|f| f.skipped.is_none() && f.id.kind == kind && f.direction == direction)
            .count()
    };
    let mut parts = Vec::new();
    let up = number(Kind::Schema, Direction::Up);
    let data = number(Kind::Data, Direction::Up);
    let down = number(Kind::Schema, Direction::Down);
    if up > 0 {
        parts.push(format!("{} applied", count(up, "schema migration")));
    }
    if data > 0 {
        parts.push(format!("{} done", count(data, "data migration")));
    }
    if down > 0 {
        parts.push(format!("{} undone", count(down, "schema migration")));
    }
    let skipped = report.finished.iter().filter(|f| f.skipped.is_some()).count();
    if skipped > 0 {
        parts.push(format!("{skipped} skipped"));
    }
    if !report.failed.is_empty() {
        parts.push(format!("{} failed", report.failed.len()));
    }
    if !report.held.is_empty() {
        parts.push(format!("{} held", report.held.len()));
    }
    let pending = report.deferred.len();
    if pending > 0 {
        parts.push(format!("{pending} left pending"));
    }
    if report.interrupted {
        parts.push("stopped by a person".to_owned());
    }
    if parts.is_empty() {
        return "nothing to do".to_owned();
    }
    format!("{}; {}", parts.join(", "), duration(took))
}

/// A run's report as JSON.
pub(crate) fn to_json(database: &str, server: &str, report: &Report) -> Value {
    let finished: Vec<Value> = report
        .finished
        .iter()
        .map(|one| {
            json!({
                "kind": one.id.kind, "version": one.id.version, "name": one.name,
                "direction": one.direction, "skipped": one.skipped,
                "duration_ms": one.took.as_millis() as u64, "rows": one.rows,
                "resets": one.resets,
            })
        })
        .collect();
    json!({
        "database": database,
        "server": server,
        "finished": finished,
        "failed": report.failed.iter().map(failure_json).collect::<Vec<_>>(),
        "held": report.held,
        "deferred": report.deferred,
        "notices": report.notices,
        "interrupted": report.interrupted,
    })
}

fn failure_json(failure: &Failure) -> Value {
    let cause = match &failure.cause {
        Cause::Target(error) => json!({
            "kind": "database", "message": error.message, "code": error.code,
            "help": error.help, "notes": error.notes,
        }),
        Cause::Program { ending } => json!({ "kind": "program", "message": ending }),
        Cause::Unknown { evidence } => json!({ "kind": "unknown", "evidence": evidence }),
        Cause::Interrupted => json!({ "kind": "interrupted" }),
        Cause::Refused { diagnostics } => {
            json!({ "kind": "diagnostics", "diagnostics": diagnostics })
        }
        Cause::Chunk { error, key } => json!({
            "kind": "chunk", "message": error.message, "code": error.code, "help": error.help,
            "notes": error.notes, "key": key,
        }),
        Cause::RowsRemain { count } => json!({ "kind": "rows-remain", "quarantined": count }),
        Cause::NotProved { rounds } => json!({ "kind": "not-proved", "walks": rounds }),
        Cause::Paused { by } => json!({ "kind": "paused", "by": by }),
        Cause::Cancelled { by } => json!({ "kind": "cancelled", "by": by }),
    };
    json!({
        "kind": failure.id.kind, "version": failure.id.version, "name": failure.name,
        "direction": failure.direction, "file": failure.file.display().to_string(),
        "line": failure.statement.as_ref().map(|s| s.line),
        "statement": failure.number, "cause": cause, "statements_kept": failure.kept,
    })
}
