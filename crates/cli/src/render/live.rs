//! The lines on a terminal that are drawn again and again. There is one terminal, so there is one
//! place for them: whatever else is printed meanwhile goes above.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often spinners turn.
const TURN: Duration = Duration::from_millis(100);

static SHOWN: Mutex<Option<Live>> = Mutex::new(None);

struct Live {
    place: MultiProgress,
    lines: Vec<ProgressBar>,
    /// The first line begins with a spinner and the time since.
    spins: bool,
}

impl Live {
    fn on(target: ProgressDrawTarget, spins: bool) -> Self {
        Self { place: MultiProgress::with_draw_target(target), lines: Vec::new(), spins }
    }

    fn show(&mut self, texts: &[String]) {
        while self.lines.len() > texts.len() {
            if let Some(line) = self.lines.pop() {
                line.finish_and_clear();
                self.place.remove(&line);
            }
        }
        while self.lines.len() < texts.len() {
            let line = self.place.add(ProgressBar::no_length());
            let first = self.spins && self.lines.is_empty();
            let template =
                if first { "  {spinner} {elapsed:>4.dim} {wide_msg}" } else { "{wide_msg}" };
            if let Ok(style) = ProgressStyle::with_template(template) {
                line.set_style(style);
            }
            if first {
                line.enable_steady_tick(TURN);
            }
            self.lines.push(line);
        }
        for (line, text) in self.lines.iter().zip(texts) {
            line.set_message(text.clone());
            line.tick();
        }
    }
}

fn shown() -> MutexGuard<'static, Option<Live>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows what happens, on stderr, instead of the lines that are there; the first spins.
pub(crate) fn events(texts: &[String]) {
    shown().get_or_insert_with(|| Live::on(ProgressDrawTarget::stderr(), true)).show(texts);
}

/// Shows data, on stdout, instead of the lines that are there.
pub(crate) fn data(texts: &[String]) {
    shown().get_or_insert_with(|| Live::on(ProgressDrawTarget::stdout(), false)).show(texts);
}

/// Prints above the lines.
pub(super) fn above(print: impl FnOnce()) {
    match shown().as_ref() {
        Some(live) => live.place.suspend(print),
        None => print(),
    }
}

/// Takes the lines away.
pub(crate) fn clear() {
    if let Some(mut live) = shown().take() {
        live.show(&[]);
        // A terminal that is gone is no reason to stop.
        let _ = live.place.clear();
    }
}

/// Leaves the lines as they are; what comes goes below.
pub(crate) fn leave() {
    if let Some(live) = shown().take() {
        for line in &live.lines {
            line.abandon();
        }
    }
}
