//! Named places where a development build can be made to die.

/// Dies by `kill -9` if the environment asks for it: `DUNLIN_FAILPOINT=NAME` or `NAME@N` (the
/// N-th time that the place is reached, from 1). With `DUNLIN_FAILPOINT_ACTION=stop` it stops
/// itself (SIGSTOP) instead, once.
///
/// Release builds have no failpoints: the call compiles to nothing.
#[inline]
pub fn failpoint(name: &str) {
    #[cfg(all(debug_assertions, unix))]
    armed::reach(name);
    #[cfg(not(all(debug_assertions, unix)))]
    let _ = name;
}

#[cfg(all(debug_assertions, unix))]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    struct Armed {
        name: String,
        turn: usize,
        signal: Signal,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    static REACHED: AtomicUsize = AtomicUsize::new(0);

    fn from_environment() -> Option<Armed> {
        #[expect(clippy::disallowed_methods, reason = "a test door that settings must not know")]
        let asked = std::env::var("DUNLIN_FAILPOINT").ok()?;
        #[expect(clippy::disallowed_methods, reason = "a test door that settings must not know")]
        let stop = std::env::var("DUNLIN_FAILPOINT_ACTION").is_ok_and(|action| action == "stop");
        let (name, turn) = match asked.split_once('@') {
            Some((name, turn)) => (name.to_owned(), turn.parse().unwrap_or(1)),
            None => (asked, 1),
        };
        Some(Armed { name, turn, signal: if stop { Signal::STOP } else { Signal::KILL } })
    }

    pub(super) fn reach(name: &str) {
        let Some(armed) = ARMED.get_or_init(from_environment) else { return };
        if armed.name == name && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == armed.turn {
            // Nothing can be done about a signal to ourselves that fails.
            let _ = kill_process(getpid(), armed.signal);
        }
    }
}
