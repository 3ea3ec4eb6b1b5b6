//! How the run of a move is told: on a terminal a live line for each table that is read, elsewhere a
//! line of a log for each phase, and one now and then.

use std::time::{Duration, Instant};

use super::backfill::{grouped, left};
use super::{FAINT, WAITING, duration, live, styled};

/// How often a log has a line about a table.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// One move's run.
pub(crate) struct MoveCourse {
    terminal: bool,
    phase: String,
    of: Option<String>,
    began: Instant,
    tables: Vec<Shown>,
    held: Option<String>,
}

/// How far it is with a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableProgress {
    pub(crate) table: String,
    pub(crate) rows: u64,
    pub(crate) estimate: Option<u64>,
    pub(crate) rate: u64,
    pub(crate) seconds_left: (u64, u64),
}

struct Shown {
    progress: TableProgress,
    told: Instant,
}

impl TableProgress {
    fn line(&self) -> String {
        let mut parts = vec![match self.estimate {
            Some(all) => {
                format!("{} of about {} rows", grouped(self.rows), grouped(all.max(self.rows)))
            }
            None => format!("{} rows", grouped(self.rows)),
        }];
        if self.rate > 0 {
            parts.push(format!("{} rows/s", grouped(self.rate)));
        }
        parts.extend(left(self.seconds_left).map(|left| format!("{left} left")));
        format!("{}: {}", self.table, parts.join(", "))
    }
}

impl MoveCourse {
    pub(crate) fn new(terminal: bool) -> Self {
        Self {
            terminal,
            phase: String::new(),
            of: None,
            began: Instant::now(),
            tables: Vec::new(),
            held: None,
        }
    }

    /// Another phase begins.
    pub(crate) fn phase(&mut self, phase: &str, of: Option<&str>) {
        self.end();
        phase.clone_into(&mut self.phase);
        self.of = of.map(str::to_owned);
        self.began = Instant::now();
        if self.terminal {
            self.draw();
        } else {
            super::line(&self.title());
        }
    }

    fn title(&self) -> String {
        match &self.of {
            Some(of) => format!("  {:<9} {of}", self.phase),
            None => format!("  {}", self.phase),
        }
    }

    /// Rows were read.
    pub(crate) fn progress(&mut self, progress: TableProgress) {
        let table = self.tables.iter_mut().find(|one| one.progress.table == progress.table);
        let Some(table) = table else {
            self.tables.push(Shown { progress, told: Instant::now() });
            return self.draw();
        };
        table.progress = progress;
        if self.terminal {
            self.draw();
        } else if table.told.elapsed() >= LOG_EVERY {
            table.told = Instant::now();
            super::line(&format!("            {}", table.progress.line()));
        }
    }

    /// A person holds it, or it goes on.
    pub(crate) fn hold(&mut self, held: Option<String>) {
        self.held = held;
        self.draw();
    }

    fn draw(&self) {
        if !self.terminal {
            return;
        }
        let mut lines = vec![self.title().trim_start().to_owned()];
        lines.extend(self.held.as_ref().map(|held| format!("       {}", styled(WAITING, held))));
        lines.extend(self.tables.iter().map(|one| format!("       {}", one.progress.line())));
        live::events(&lines);
    }

    /// The phase is over: a terminal keeps a line of it.
    pub(crate) fn end(&mut self) {
        let tables = std::mem::take(&mut self.tables);
        if !self.terminal || self.phase.is_empty() {
            return;
        }
        live::clear();
        let rows: u64 = tables.iter().map(|one| one.progress.rows).sum();
        let what = format!("  {} rows, {}", grouped(rows), duration(self.began.elapsed()));
        super::line(&format!("{}{}", self.title(), styled(FAINT, &what)));
        self.phase.clear();
    }
}
