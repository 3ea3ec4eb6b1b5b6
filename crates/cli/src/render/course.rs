//! How the run of one backfill is told: live lines on a terminal, a line now and then elsewhere, an
//! object a line for programs.

use std::time::{Duration, Instant};

use dunlin::engine::events::BackfillNews;
use dunlin::model::{Backfill, BackfillRecord, BackfillState, Wish};
use serde_json::{Value, json};

use super::backfill::{View, Worker, block, grouped, line, to_json};
use super::{BAD, FAINT, WAITING, live, styled};

/// How often a log has a line about a run that goes on.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The same while it is paused: nothing happens then.
const LOG_PAUSED_EVERY: Duration = Duration::from_secs(600);

/// How often programs get an object.
const JSON_EVERY: Duration = Duration::from_secs(1);

/// So many times at most a log says that rows went into quarantine; then they are counted alone.
const SET_ASIDE_TOLD_MAX: u32 = 10;

/// How a course is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lines of a log.
    Log,
    /// One live line.
    Line,
    /// A live table.
    Table,
    /// A JSON object a line.
    Json,
}

/// One backfill's run.
pub(crate) struct Course {
    form: Form,
    name: String,
    view: Option<View>,
    told_at: Instant,
    /// What was told last, without numbers: a change is told at once.
    told: Option<(BackfillState, Wish)>,
    /// The last line of a log.
    last: String,
    /// Rows when it was told last.
    rows_told: u64,
    /// How often rows went into quarantine.
    set_aside: u32,
}

impl Course {
    pub(crate) fn new(form: Form, name: String) -> Self {
        Self {
            form,
            name,
            view: None,
            told_at: Instant::now(),
            told: None,
            last: String::new(),
            rows_told: 0,
            set_aside: 0,
        }
    }

    /// Takes news in.
    pub(crate) fn hear(&mut self, news: &BackfillNews<'_>) {
        match news {
            BackfillNews::Began { work, record, rows_done } => {
                self.note(record, *rows_done);
                self.say(&began(work, record, *rows_done), "began", json!({}));
                self.told_at = Instant::now();
                self.rows_told = *rows_done;
            }
            BackfillNews::Progress { record, rows_done } => {
                self.note(record, *rows_done);
                self.progress();
            }
            BackfillNews::Found { count } => {
                let rows = super::count(*count as usize, "row");
                let text = format!("{rows} to be done, found by one search");
                self.say(&text, "found", json!({ "rows": count }));
            }
            BackfillNews::HeldBefore => {
                self.say("what it is to make true is true already", "held-before", json!({}));
            }
            BackfillNews::WaitingFor { who } => {
                let text = "waits for transactions that began before it and may hold rows that \
                            can't be seen yet:";
                self.say(text, "waiting", json!({ "who": who }));
                for one in *who {
                    self.add(one);
                }
            }
            BackfillNews::SetAside { error, count } => {
                self.set_aside += 1;
                if self.form != Form::Json && self.set_aside > SET_ASIDE_TOLD_MAX {
                    return;
                }
                let rows = if *count == 1 { "a row".to_owned() } else { format!("{count} rows") };
                let text = format!("{} {rows}: {error}", styled(BAD, "quarantine"));
                self.say(&text, "set-aside", json!({ "count": count, "error": error.to_string() }));
                if self.set_aside == SET_ASIDE_TOLD_MAX {
                    self.add(
                        "further ones are counted, and are all in `dunlin data quarantine list`",
                    );
                }
            }
            BackfillNews::Absent { name, help } => {
                let text = format!("can't see {name}, so it does not slow down for that: {help}");
                self.say(&styled(FAINT, &text), "absent", json!({ "name": name, "help": help }));
            }
            BackfillNews::Unread { name, why } => {
                let text = format!("can't read {name}, which counts as bad until it can: {why}");
                self.say(&styled(FAINT, &text), "unread", json!({ "name": name, "why": why }));
            }
            BackfillNews::Advice { text } => {
                let shown = format!("{} {text}", styled(WAITING, "advice"));
                self.say(&shown, "advice", json!({ "text": text }));
            }
            BackfillNews::Again { round, most } => {
                let text = format!(
                    "every row was walked over and done-when does not hold yet: walk {round} of at \
                     most {most}"
                );
                self.say(&text, "again", json!({ "round": round, "most": most }));
            }
            BackfillNews::Reshaped => {
                let text = "the table's shape changed; planned again, and it goes on";
                self.say(text, "reshaped", json!({}));
            }
        }
    }

    fn note(&mut self, record: &BackfillRecord, rows_done: u64) {
        self.view = Some(View {
            record: record.clone(),
            name: self.name.clone(),
            rows_done,
            segments: None,
            worker: Worker::Ourselves,
            silent: None,
            skipped: false,
        });
    }

    fn progress(&mut self) {
        let Some(view) = &self.view else { return };
        let stands = (view.record.state, view.record.intent.wish);
        // One that is paused from the start says so, or it would seem to do nothing.
        let before = self.told.unwrap_or((BackfillState::Running, Wish::Run));
        let changed = before != stands && (self.told.is_some() || is_held(view));
        match self.form {
            Form::Line => live::events(&[format!("{}  {}", view.title(), line(view))]),
            Form::Table => live::events(&table(view)),
            Form::Log if changed || self.is_due(view) => self.log(),
            Form::Json if changed || self.told_at.elapsed() >= JSON_EVERY => {
                self.told_at = Instant::now();
                self.object("progress", json!({}));
            }
            Form::Log | Form::Json => {}
        }
        self.told = Some(stands);
    }

    /// Whether a log has another line by now.
    fn is_due(&self, view: &View) -> bool {
        let same = is_held(view) && log_line(view) == self.last;
        self.told_at.elapsed() >= if same { LOG_PAUSED_EVERY } else { LOG_EVERY }
    }

    fn log(&mut self) {
        let Some(view) = &self.view else { return };
        self.last = log_line(view);
        super::line(&format!("           {}", self.last));
        self.told_at = Instant::now();
        self.rows_told = view.rows_done;
    }

    /// The run of it is over: a log's last line.
    pub(crate) fn end(mut self) {
        let open = self.view.as_ref().is_some_and(|view| view.rows_done != self.rows_told);
        if self.form == Form::Log && open {
            self.log();
        }
    }

    fn say(&self, text: &str, event: &str, more: Value) {
        match self.form {
            Form::Json => self.object(event, more),
            Form::Log | Form::Line | Form::Table => self.add(text),
        }
    }

    fn add(&self, text: &str) {
        if self.form != Form::Json {
            super::line(&format!("           {text}"));
        }
    }

    fn object(&self, event: &str, more: Value) {
        let backfill = self.view.as_ref().map(to_json);
        let mut object = json!({ "event": event, "backfill": backfill });
        if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
            object.extend(more);
        }
        super::json_line(&object);
    }
}

/// Whether it waits for a person to let it go on.
fn is_held(view: &View) -> bool {
    view.record.state == BackfillState::Paused && view.record.intent.wish == Wish::Pause
}

/// A line of a log: with what it waits for, where it waits for a person.
fn log_line(view: &View) -> String {
    let text = line(view);
    if is_held(view) {
        let version = view.record.id.version;
        return format!("{text}; waits for `dunlin data resume {version}`");
    }
    text
}

fn table(view: &View) -> Vec<String> {
    let mut lines = block(view, &|words| format!("dunlin {words}"));
    if let Some(first) = lines.first_mut() {
        // The spinner stands before it.
        *first = first.trim_start().to_owned();
    }
    lines
}

fn began(work: &Backfill, record: &BackfillRecord, rows_done: u64) -> String {
    let all = match record.row_count_estimate {
        Some(rows) => format!(", about {} rows", grouped(rows)),
        None => String::new(),
    };
    let before = if rows_done > 0 {
        format!("; goes on after {} rows", grouped(rows_done))
    } else {
        String::new()
    };
    let key = super::backfill::key(record);
    let text = format!("over {} by {key} (index {}){all}{before}", work.table, work.index);
    styled(FAINT, &text)
}
