//! Ctrl-C and SIGTERM: the first finishes the step under way, the second rolls back at once.

use dunlin::engine::job::{Interrupt, Urgency};
use tokio::signal::unix::{SignalKind, signal};

use crate::render;

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
