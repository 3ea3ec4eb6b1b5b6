//! What a run tells while it runs: a spinner on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dunlin::engine::ErrorKind;
use dunlin::engine::events::{Event, Observer};
use dunlin::model::{Action, Direction, Kind, Mode, PlannedStep};
use indicatif::{ProgressBar, ProgressStyle};

use super::{BAD, FAINT, GOOD, WAITING, count, duration, line, migration, styled};

/// Prints events of one database's run.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// The last message of a kind that may come several times in a row and is told once.
    told: Mutex<Option<String>>,
}

impl Progress {
    /// For stderr as it is.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} {elapsed:.dim}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, told: Mutex::new(None) }
    }

    fn tell(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| line(text)),
            None => line(text),
        }
    }

    /// Clears the spinner away.
    fn rest(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn started(&self, step: &PlannedStep, number: usize, all: usize) {
        let title = title(step);
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_message(format!("[{number}/{all}] {title}"));
            bar.enable_steady_tick(Duration::from_millis(100));
        } else if step.mode != Mode::OneTransaction {
            // What can take long is named in a log before it is done.
            self.tell(&format!("  start    {title}"));
        }
    }

    fn finished(&self, step: &PlannedStep, took: Duration, rows: &[Option<u64>]) {
        self.rest();
        let word = match (&step.action, step.migration.id.kind) {
            (Action::Skip { .. }, _) => styled(WAITING, "skipped"),
            (Action::Down { .. }, _) => styled(GOOD, "down   "),
            (Action::Up, Kind::Schema) => styled(GOOD, "up     "),
            (Action::Up, Kind::Data) => styled(GOOD, "done   "),
        };
        let mut text = format!("  {word}  {}", title(step));
        match &step.action {
            Action::Skip { reason } => text.push_str(&styled(FAINT, &format!("  {reason}"))),
            Action::Up | Action::Down { .. } => {
                let mut details = duration(took);
                if step.migration.id.kind == Kind::Data && step.direction() == Direction::Up {
                    let touched: u64 = rows.iter().flatten().sum();
                    if rows.iter().any(Option::is_some) {
                        details.push_str(&format!(", {}", count(touched as usize, "row")));
                    }
                }
                text.push_str(&styled(FAINT, &format!("  {details}")));
            }
        }
        self.tell(&text);
        if let Action::Down { resets } = &step.action {
            for id in resets {
                self.tell(&format!("           {id} is pending again"));
            }
        }
    }

    fn once(&self, text: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref() != Some(&text) {
            self.tell(&text);
            *told = Some(text);
        }
    }
}

fn title(step: &PlannedStep) -> String {
    let id = step.migration.id;
    migration(id.kind, id.version, &step.migration.name)
}

impl Observer for Progress {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::WaitingForLease { holder, waited } => {
                self.tell(&format!(
                    "  {}  {} (process {}) is at work on {}{}",
                    styled(WAITING, "waiting"),
                    holder.owner.host,
                    holder.owner.pid,
                    holder.resource,
                    if waited.as_secs() == 0 {
                        String::new()
                    } else {
                        format!("; {} so far", duration(waited))
                    }
                ));
            }
            // A dead runner may have held several leases.
            Event::TookOver { holder } => self.once(format!(
                "  took over from process {} of this machine, which died",
                holder.owner.pid
            )),
            Event::StepStarted { step, number, count } => self.started(step, number, count),
            Event::StatementDone { id, number, count } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("{id}: {number} of {count} statements"));
                }
            }
            Event::StepSettled { id, number, took_effect } => {
                let what = if took_effect { "had taken effect" } else { "had not taken effect" };
                self.tell(&format!(
                    "  looked up {id}, statement {number}: it {what} when its runner died"
                ));
            }
            Event::StepFinished { step, took, rows } => self.finished(step, took, rows),
            Event::Retrying { id, error, attempt, pause } => {
                self.tell(&format!(
                    "  {}    {id}: {error}; try {attempt} in {}",
                    styled(WAITING, "retry"),
                    duration(pause)
                ));
                for note in &error.notes {
                    self.tell(&format!("           {note}"));
                }
            }
            Event::Reconnecting { error, .. } => {
                let word = if error.kind == ErrorKind::Exhausted {
                    styled(WAITING, "busy")
                } else {
                    styled(BAD, "lost")
                };
                self.once(format!(
                    "  {word}     {error}; connecting again, then reading the ledger"
                ));
            }
            Event::ProgramAgain { id, key } => self.tell(&format!(
                "  {id} was started before and its outcome is not known: it runs again with the same key, {key}"
            )),
            Event::ProgramOutput { id, line } => {
                let _ = id;
                self.tell(&format!("  {}{line}", styled(FAINT, "| ")));
            }
            Event::DataFailed { id, name } => {
                self.rest();
                self.tell(&format!("  {}   {}", styled(BAD, "failed"), migration(id.kind, id.version, name)));
            }
        }
    }
}
