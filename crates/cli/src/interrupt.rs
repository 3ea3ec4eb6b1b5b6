//! Ctrl-C and SIGTERM: the first finishes the step under way, the second rolls back at once.

use std::sync::atomic::{AtomicBool, Ordering};

use dunlin::engine::job::{Interrupt, Urgency};
use tokio::signal::unix::{SignalKind, signal};

use crate::render;

/// Nothing is under way that a signal could stop in its middle.
static ONLY_LOOKING: AtomicBool = AtomicBool::new(false);

/// This process changes nothing: a signal ends it, and there is nothing to say about that.
pub(crate) fn only_looking() {
    ONLY_LOOKING.store(true, Ordering::Relaxed);
}

/// Begins to listen. Where signals can't be listened for, they keep their usual meaning.
pub(crate) fn listen() -> Interrupt {
    let (sender, interrupt) = Interrupt::channel();
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut ctrl_c), Ok(mut terminate)) = signals else { return interrupt };
    tokio::spawn(async move {
        let mut asked = Urgency::None;
        loop {
            tokio::select! {
                _ = ctrl_c.recv() => {}
                _ = terminate.recv() => {}
            }
            if ONLY_LOOKING.load(Ordering::Relaxed) {
                sender.send_replace(Urgency::Finish);
                continue;
            }
            asked = match asked {
                Urgency::None => {
                    render::line(
                        "stopping after the step under way; once more rolls it back at once",
                    );
                    Urgency::Finish
                }
                Urgency::Finish | Urgency::Abort => {
                    render::line("rolling back");
                    Urgency::Abort
                }
            };
            sender.send_replace(asked);
        }
    });
    interrupt
}
