//! A plan, statement by statement.

use dunlin::model::{Action, Body, Deferral, Kind, Mode, Plan, PlannedStep};

use super::{BOLD, FAINT, WAITING, count, data, migration, styled, waits_for};

/// How wide a statement's line is.
const STATEMENT_WIDTH: usize = 90;

/// The plan, on stdout.
pub(crate) fn show(title: &str, plan: &Plan, command: &dyn Fn(&str) -> String) {
    data(&styled(BOLD, title));
    super::failure::diagnostics(&plan.notices);
    for (index, one) in plan.steps.iter().enumerate() {
        step(index + 1, one);
    }
    for held in &plan.held {
        let title = migration(held.id.kind, held.id.version, &held.name);
        data(&format!("  {}     {title}", styled(WAITING, "held")));
        for wait in &held.waits_for {
            data(&format!("           {}", waits_for(wait, command)));
        }
    }
    for one in &plan.deferred {
        let title = migration(one.id.kind, one.id.version, &one.name);
        let why = match &one.why {
            Deferral::DataManual => {
                format!("only with --with-data, or `{}`", command("data run"))
            }
            Deferral::ByName => {
                format!("only by name: `{}`", command(&format!("data run {}", one.id.version)))
            }
            Deferral::Background => {
                format!("in the background: `{}`", command("data run --background --until-idle"))
            }
            Deferral::Disabled { reason } => format!("disabled: {reason}"),
            Deferral::OutOfScope => "not asked for".to_owned(),
        };
        data(&format!("  {}  {title}  {}", styled(WAITING, "pending"), styled(FAINT, &why)));
    }
    if plan.is_up_to_date() {
        data("  nothing is pending");
    }
}

fn step(number: usize, step: &PlannedStep) {
    let id = step.migration.id;
    let word = match (&step.action, id.kind) {
        (Action::Skip { .. }, _) => "skip",
        (Action::Down { .. }, _) => "down",
        (Action::Up, Kind::Schema) => "up",
        (Action::Up, Kind::Data) => "run",
    };
    let title = migration(id.kind, id.version, &step.migration.name);
    data(&format!("{number:>4}. {word} {}", styled(BOLD, &title)));
    if let Action::Skip { reason } = &step.action {
        return data(&format!("      {}", styled(FAINT, reason)));
    }
    data(&format!("      {}", styled(FAINT, &how(step))));
    for (index, statement) in step.statements().iter().enumerate() {
        let done = index < step.resume_at as usize;
        let mark = if done { styled(FAINT, " (already run)") } else { String::new() };
        data(&format!("      {}{mark}", statement.summary(STATEMENT_WIDTH)));
        if let Some(lock) = &statement.facts.lock {
            data(&format!("        {}", styled(FAINT, &format!("locks: {lock}"))));
        }
    }
    if let Action::Down { resets } = &step.action {
        for reset in resets {
            data(&format!("      {reset} becomes pending again"));
        }
    }
}

fn how(step: &PlannedStep) -> String {
    let file = step.file().display();
    match (&step.mode, &step.migration.body) {
        (Mode::Program, Body::Program(program)) => {
            format!("{file}: program {}", program.command.join(" "))
        }
        (Mode::Chunked, body) => {
            let what = match body {
                Body::Rows(code) => format!("program {}", code.program.command.join(" ")),
                Body::Sql(_) | Body::Program(_) => count(step.statements().len(), "statement"),
            };
            let table = step.migration.chunking().map_or("", |chunking| chunking.table.as_str());
            format!("{file}: {what}, in chunks over {table}")
        }
        (Mode::OneTransaction, _) => {
            format!("{file}: {}, one transaction", count(step.statements().len(), "statement"))
        }
        _ => format!(
            "{file}: {}, each a journalled step of its own",
            count(step.statements().len(), "statement")
        ),
    }
}
