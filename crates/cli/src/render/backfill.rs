//! How far a backfill is, as a line, as a few lines and as JSON. Texts alone: whoever calls prints.

use std::time::Duration;

use dunlin::model::{BackfillRecord, BackfillState, Phase, Wish};
use serde_json::{Value, json};

use super::{BAD, FAINT, GOOD, WAITING, duration, styled};

/// How many characters a bar has.
const BAR_WIDTH: usize = 24;

/// A worker tells every two seconds how far it is: silence of this length is worth a word.
const SILENCE: Duration = Duration::from_secs(10);

/// Who is at work on a backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Worker {
    /// This process.
    Ourselves,
    /// Somebody else.
    At {
        /// The host.
        host: String,
        /// The process on it.
        pid: u32,
    },
    /// Nobody.
    Nobody,
}

/// A backfill as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) record: BackfillRecord,
    pub(crate) name: String,
    pub(crate) rows_done: u64,
    /// Segments that are done, and all of them, where that is known.
    pub(crate) segments: Option<(usize, usize)>,
    pub(crate) worker: Worker,
    /// How long ago its worker last said something.
    pub(crate) silent: Option<Duration>,
    /// A person gave the migration up.
    pub(crate) skipped: bool,
}

impl View {
    /// Given up before its end, with nobody at work on it.
    fn is_given_up(&self) -> bool {
        let over = matches!(self.record.state, BackfillState::Done | BackfillState::Undone);
        self.skipped && !over && self.worker == Worker::Nobody
    }

    /// Whether somebody is at work on it, or holds it.
    pub(crate) fn is_at_work(&self) -> bool {
        self.worker != Worker::Nobody
            && matches!(self.record.state, BackfillState::Running | BackfillState::Paused)
    }

    /// Its migration: `data 20260110094500 split_names`.
    pub(crate) fn title(&self) -> String {
        super::migration(self.record.id.kind, self.record.id.version, &self.name)
    }

    /// How much of it is done; the server's estimate may be too low, so 100 is kept for the end.
    pub(crate) fn percent(&self) -> Option<u64> {
        if matches!(self.record.state, BackfillState::Done | BackfillState::Quarantined) {
            return Some(100);
        }
        if self.record.phase == Phase::Undo {
            return None;
        }
        let all = self.record.row_count_estimate.filter(|all| *all > 0)?;
        let in_this_walk = self.rows_done.saturating_sub(self.record.rows_before);
        let come_to = in_this_walk.max(self.walked().unwrap_or(0));
        Some((u128::from(come_to) * 100 / u128::from(all)).min(99) as u64)
    }

    /// About how many rows the walk has come past, by what is left: where few of them are changed,
    /// those that are tell little.
    fn walked(&self) -> Option<u64> {
        let record = &self.record;
        let (least, most) = record.seconds_left;
        if !self.is_moving() || most == 0 || record.rows_per_second == 0 {
            return None;
        }
        let left = record.rows_per_second.saturating_mul(least.saturating_add(most)) / 2;
        record.row_count_estimate.map(|all| all.saturating_sub(left))
    }

    fn rows(&self) -> String {
        let done = grouped(self.rows_done);
        if let Some(changed) = self.record.changed_since() {
            return match changed {
                0 => format!("{done} rows put back"),
                _ => {
                    format!("{done} rows put back, {} left as they changed since", grouped(changed))
                }
            };
        }
        let open = self.record.state != BackfillState::Done;
        if let (Some(walked), Some(all)) = (self.walked(), self.record.row_count_estimate)
            && walked > self.rows_done.saturating_add(all / 10)
        {
            return format!("{done} rows changed, of about {} looked at", grouped(walked));
        }
        match self.record.row_count_estimate.filter(|all| open && *all >= self.rows_done) {
            Some(all) => format!("{done} of about {} rows", grouped(all)),
            None => format!("{done} rows"),
        }
    }

    fn chunks(&self) -> Option<String> {
        let record = &self.record;
        (record.chunk_rows > 0).then(|| {
            format!("chunks of {} rows in {} ms", grouped(record.chunk_rows), record.chunk_ms)
        })
    }

    fn is_moving(&self) -> bool {
        self.record.state == BackfillState::Running && self.worker != Worker::Nobody
    }

    /// What holds it back, or why it stands where it stands.
    fn why(&self) -> Option<String> {
        let reason = self.record.reason.as_ref().filter(|_| !self.is_given_up())?;
        match self.record.state {
            BackfillState::Running if self.is_moving() => Some(format!("slowed by {reason}")),
            BackfillState::Running => None,
            // How many rows that were is out of date by the next try; how many they are stands in
            // the line below.
            BackfillState::Quarantined => None,
            _ => Some(reason.clone()),
        }
    }

    /// What it does, in a few words.
    pub(crate) fn state(&self) -> String {
        if self.record.is_half_undone() {
            return self.undo_state();
        }
        if self.is_given_up() {
            return styled(WAITING, "skipped: the rest of its rows stays as it is");
        }
        let wish = self.record.intent.wish;
        let text = match self.record.state {
            BackfillState::Running | BackfillState::Paused if self.worker == Worker::Nobody => {
                return styled(BAD, "its worker is gone");
            }
            BackfillState::Running => match wish {
                Wish::Pause => "running, and told to pause",
                Wish::Cancel => "running, and told to stop",
                Wish::Run => "running",
            },
            BackfillState::Paused if wish == Wish::Run => "paused, and told to go on",
            BackfillState::Paused => "paused",
            BackfillState::Stopped if wish == Wish::Pause => "stopped, and told to pause",
            BackfillState::Stopped => "stopped: it goes on where it was",
            BackfillState::Failed => return styled(BAD, "failed"),
            BackfillState::Cancelled if wish == Wish::Run => "cancelled, and told to go on",
            BackfillState::Cancelled => "cancelled",
            BackfillState::Quarantined => return styled(BAD, "done but for quarantine"),
            BackfillState::Done => return styled(GOOD, "done"),
            BackfillState::Undone => "undone",
        };
        let moving = self.record.state == BackfillState::Running && wish == Wish::Run;
        styled(if moving { GOOD } else { WAITING }, text)
    }

    /// The same of an undo that is not done.
    fn undo_state(&self) -> String {
        let wish = self.record.intent.wish;
        let text = match self.record.state {
            BackfillState::Running | BackfillState::Paused if self.worker == Worker::Nobody => {
                return styled(BAD, "its undo is not done, and its worker is gone");
            }
            BackfillState::Running => match wish {
                Wish::Pause => "putting old values back, and told to pause",
                Wish::Cancel => "putting old values back, and told to stop",
                Wish::Run => return styled(GOOD, "putting old values back"),
            },
            BackfillState::Paused if wish == Wish::Run => "its undo is paused, and told to go on",
            BackfillState::Paused => "its undo is paused",
            _ => "its undo stopped, and is not done",
        };
        styled(WAITING, text)
    }
}

/// How far it is, in one line, without its title.
pub(crate) fn line(view: &View) -> String {
    let record = &view.record;
    let mut parts = Vec::new();
    if !(view.is_moving() && record.intent.wish == Wish::Run) {
        parts.push(view.state());
    }
    if record.phase == Phase::Forward
        && let Some(percent) = view.percent()
    {
        parts.push(format!("{percent}%"));
    }
    parts.push(view.rows());
    if view.is_moving() {
        if record.rows_per_second > 0 {
            parts.push(format!("{} rows/s", grouped(record.rows_per_second)));
        }
        parts.extend(view.chunks());
        if record.workers > 1 {
            parts.push(format!("{} workers", record.workers));
        }
        parts.extend(left(record.seconds_left).map(|left| format!("{left} left")));
    }
    if record.round > 1 && record.phase == Phase::Forward {
        parts.push(format!("walk {}", record.round));
    }
    if record.quarantined > 0 {
        parts.push(format!("{} in quarantine", grouped(record.quarantined)));
    }
    parts.extend(view.why());
    parts.join(", ")
}

/// Everything about it, a few lines.
pub(crate) fn block(view: &View, command: &dyn Fn(&str) -> String) -> Vec<String> {
    let record = &view.record;
    let version = record.id.version;
    let mut lines = vec![format!("  {}: {}", view.title(), view.state())];
    let mut field = |name: &str, text: String| {
        lines.push(format!("    {} {text}", styled(FAINT, &format!("{name:<10}"))));
    };
    let percent = view.percent();
    let bar = percent.map(|percent| format!("{} {percent}%  ", bar(percent)));
    field("rows", format!("{}{}", bar.unwrap_or_default(), view.rows()));
    if record.round > 1 && record.phase == Phase::Forward {
        field("walk", format!("number {} over the table", record.round));
    }
    if view.is_moving() {
        let mut pace = vec![format!("{} rows/s", grouped(record.rows_per_second))];
        pace.extend(view.chunks());
        pace.extend(
            record
                .intent
                .rate
                .filter(|rate| *rate > 0)
                .map(|rate| format!("at most {} rows/s, as set by hand", grouped(rate))),
        );
        field("pace", pace.join(", "));
        if let Some(left) = left(record.seconds_left) {
            field("left", left);
        }
    }
    field("table", format!("{}, by {}", record.table, key(record)));
    let segments = view.segments.filter(|(_, all)| *all > 0 && record.phase == Phase::Forward);
    if let Some((done, all)) = segments {
        field("segments", format!("{done} of {all} done"));
    }
    match &view.worker {
        Worker::At { host, pid } if record.workers > 0 => {
            field("workers", format!("{} on {host} (process {pid})", record.workers));
        }
        Worker::At { host, pid } => field("worker", format!("on {host} (process {pid})")),
        Worker::Ourselves => field("workers", record.workers.to_string()),
        Worker::Nobody => {}
    }
    if let Some(why) = view.why() {
        field("why", why);
    }
    let wanted = record.intent.wish != Wish::Run && !view.is_given_up();
    if let (true, Some(by)) = (wanted, &record.intent.by) {
        field("wanted", format!("{} by {by}", record.intent.wish.as_str()));
    }
    if record.quarantined > 0 {
        let list = command(&format!("data quarantine list {version}"));
        field("quarantine", format!("{} rows: `{list}`", grouped(record.quarantined)));
    }
    if let Some(silent) = view.silent.filter(|silent| view.is_at_work() && *silent >= SILENCE) {
        field("last word", format!("{} ago", duration(silent)));
    }
    if let Some(next) = next(view) {
        field("go on", command(&next));
    }
    lines
}

/// The command that takes it further, where nobody is at work on it.
fn next(view: &View) -> Option<String> {
    let version = view.record.id.version;
    let wish = view.record.intent.wish;
    match view.record.state {
        BackfillState::Done | BackfillState::Undone => None,
        // Told to stop, an undo goes on when it is asked for again.
        _ if view.record.phase == Phase::Undo && !view.is_at_work() && wish != Wish::Pause => {
            Some(format!("data undo {version}"))
        }
        _ if view.is_given_up() => Some(format!("data rerun {version}")),
        _ if wish != Wish::Run => Some(format!("data resume {version}")),
        _ if view.is_at_work() => None,
        BackfillState::Quarantined if view.record.quarantined > 0 => {
            Some(format!("data quarantine retry {version}"))
        }
        _ => Some(format!("data run {version}")),
    }
}

/// The columns that a table is walked by.
pub(crate) fn key(record: &BackfillRecord) -> String {
    let names = record.key.iter().map(|column| {
        if column.descending { format!("{} DESC", column.name) } else { column.name.clone() }
    });
    names.collect::<Vec<_>>().join(", ")
}

fn bar(percent: u64) -> String {
    let full = (percent.min(100) as usize * BAR_WIDTH).div_ceil(100);
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR_WIDTH - full))
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What is left, as an interval; `None`: nobody knows yet.
pub(crate) fn left((least, most): (u64, u64)) -> Option<String> {
    if most == 0 {
        return None;
    }
    // A unit in which the longer one is a number that can be read.
    let (unit, seconds) = match most {
        0..=119 => ("s", 1),
        120..=7_199 => ("min", 60),
        7_200..=172_799 => ("h", 3_600),
        _ => ("days", 86_400),
    };
    let (least, most) = (least / seconds, most.div_ceil(seconds));
    Some(if least >= most {
        format!("about {most} {unit}")
    } else if least == 0 {
        format!("up to {most} {unit}")
    } else {
        format!("{least} to {most} {unit}")
    })
}

/// For programs. Keys of rows are in none of it.
pub(crate) fn to_json(view: &View) -> Value {
    let record = &view.record;
    let (least, most) = record.seconds_left;
    let worker = match &view.worker {
        Worker::Ourselves => json!({ "host": null, "pid": std::process::id() }),
        Worker::At { host, pid } => json!({ "host": host, "pid": pid }),
        Worker::Nobody => Value::Null,
    };
    json!({
        "kind": record.id.kind, "version": record.id.version, "name": view.name,
        "pass": record.pass, "phase": record.phase, "round": record.round,
        "table": record.table,
        "key": record.key.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
        "state": record.state, "reason": record.reason, "intent": record.intent,
        "worker": worker,
        "rows_done": view.rows_done, "changed_since": record.changed_since(),
        "row_count_estimate": record.row_count_estimate.filter(|_| record.phase == Phase::Forward),
        "percent": view.percent(), "rows_per_second": record.rows_per_second,
        "seconds_left": (most > 0).then_some([least, most]),
        "workers": record.workers, "chunk_rows": record.chunk_rows, "chunk_ms": record.chunk_ms,
        "segments": view.segments.map(|(done, all)| json!({ "done": done, "all": all })),
        "quarantined": record.quarantined,
        "started_at": record.started_at, "updated_at": record.updated_at,
    })
}

#[cfg(test)]
mod tests;
