//! What a run tells while it runs: a spinner on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dunlin::engine::ErrorKind;
use dunlin::engine::events::{BackfillNews, Event, Observer};
use dunlin::model::{Action, Direction, Kind, MigrationId, Mode, PlannedStep};

use super::course::{Course, Form};
use super::move_course::{MoveCourse, TableProgress};
use super::{BAD, FAINT, GOOD, WAITING, count, duration, line, live, migration, styled};

/// Prints events of one database's run.
pub(crate) struct Progress {
    terminal: bool,
    /// How backfills are shown.
    form: Form,
    /// The last message of a kind that may come several times in a row and is told once.
    told: Mutex<Option<String>>,
    /// The backfill under way.
    course: Mutex<Option<Course>>,
    /// The name of the step under way.
    name: Mutex<String>,
    /// The move under way.
    moving: Mutex<MoveCourse>,
}

impl Progress {
    /// For stderr as it is; with `watch` a backfill is a live table.
    pub(crate) fn new(watch: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let form = match (terminal, watch) {
            (true, true) => Form::Table,
            (true, false) => Form::Line,
            (false, _) => Form::Log,
        };
        Self {
            terminal,
            form,
            told: Mutex::new(None),
            course: Mutex::new(None),
            name: Mutex::new(String::new()),
            moving: Mutex::new(MoveCourse::new(terminal)),
        }
    }

    /// What is live is over: what comes goes below.
    #[cfg(feature = "move")]
    pub(crate) fn end(&self) {
        lock(&self.moving).end();
        self.rest();
    }

    fn tell(&self, text: &str) {
        line(text);
    }

    /// Clears what is live away.
    fn rest(&self) {
        live::clear();
        if let Some(course) = lock(&self.course).take() {
            course.end();
        }
    }

    fn started(&self, step: &PlannedStep, number: usize, all: usize) {
        let title = title(step);
        lock(&self.name).clone_from(&step.migration.name);
        if self.terminal {
            live::clear();
            live::events(&[format!("[{number}/{all}] {title}")]);
        } else if step.mode != Mode::OneTransaction {
            // What can take long is named in a log before it is done.
            self.tell(&format!("  start    {title}"));
        }
    }

    fn backfill(&self, news: &BackfillNews<'_>) {
        let mut course = lock(&self.course);
        course.get_or_insert_with(|| Course::new(self.form, lock(&self.name).clone())).hear(news);
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
        let mut told = lock(&self.told);
        if told.as_ref() != Some(&text) {
            self.tell(&text);
            *told = Some(text);
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
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
                "  took over from process {} of this machine, which is gone",
                holder.owner.pid
            )),
            Event::StepStarted { step, number, count } => self.started(step, number, count),
            Event::StatementDone { id, number, count } => {
                if self.terminal {
                    live::events(&[format!("{id}: {number} of {count} statements")]);
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
            Event::MovePhase { phase, of } => lock(&self.moving).phase(phase, of),
            Event::MoveProgress { table, rows, estimate, rate, seconds_left } => {
                let table = table.to_owned();
                let progress = TableProgress { table, rows, estimate, rate, seconds_left };
                lock(&self.moving).progress(progress);
            }
            Event::MovePaused { cause } => {
                lock(&self.moving).hold(Some(cause.to_string()));
                let what = styled(WAITING, &cause.to_string());
                self.tell(&format!("  {what}; it waits to be told to go on"));
            }
            Event::MoveLetGo => self.tell(
                "  let go of the old database's snapshot, which a server can't keep for long; it begins again when it goes on, and what is written stays",
            ),
            Event::MoveResumed => {
                lock(&self.moving).hold(None);
                self.tell("  goes on");
            }
            Event::MoveBroken { error, pause } => {
                lock(&self.moving).end();
                self.tell(&format!(
                    "  {}     {error}; beginning again in {} with a new snapshot of the old database, and what is written stays",
                    styled(BAD, "lost"),
                    duration(pause)
                ));
            }
            Event::Backfill { news, .. } => self.backfill(&news),
            Event::DataFailed { id, name } => {
                self.rest();
                self.tell(&format!("  {}   {}", styled(BAD, "failed"), migration(id.kind, id.version, name)));
            }
        }
    }
}

/// Prints the course of backfills for programs, an object a line.
#[derive(Default)]
pub(crate) struct Objects {
    course: Mutex<Option<(MigrationId, Course)>>,
    name: Mutex<String>,
}

impl Observer for Objects {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::StepStarted { step, .. } => {
                lock(&self.name).clone_from(&step.migration.name);
            }
            Event::Backfill { id, news } => {
                let mut course = lock(&self.course);
                if course.as_ref().is_none_or(|(other, _)| *other != id) {
                    *course = Some((id, Course::new(Form::Json, lock(&self.name).clone())));
                }
                if let Some((_, course)) = course.as_mut() {
                    course.hear(&news);
                }
            }
            _ => {}
        }
    }
}
