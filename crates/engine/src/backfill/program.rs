//! Row code: a program of the user's that gets rows and gives rows.
//!
//! One process serves many chunks. Rows are sent and answers are read at the same time, so a
//! program may answer whenever it likes; it may leave rows out, and gives the chunk's own last line
//! back when it has nothing more to say about it. Its standard error is told line by line. Nothing
//! here knows a database, and nothing is written to one: answers are values, and a program that
//! fails in the middle of a chunk has changed nothing.

mod answers;
mod output;
mod values;
mod wire;

use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use dunlin_model::{Backfill, Key, MigrationId, Row, RowChange, RowCode};
use futures_util::future::BoxFuture;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::answers::Collector;
use self::output::Output;
use self::wire::Shape;
use crate::events::{Event, Observer};
use crate::job::{Interrupt, Job, Urgency};
use crate::program::{Group, judge, mask, read_lines, spawn, stop};

/// How long a program may take over a chunk where no `statement-timeout` says so: a chunk of the
/// usual thousands of rows takes seconds, also with a call to a service for each of them.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// How many bytes of rows are gathered before they are sent: what a pipe takes at once.
const SEND_BYTES: usize = 64 * 1024;

/// What its pipes are to hold: a chunk of the usual size, so that neither side waits for the other in
/// the middle of one. It is the most that Linux gives everybody.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1024 * 1024;

/// How long a program that closed its output is given to end, before it is said to live on.
const ENDING_MAX: Duration = Duration::from_secs(2);

/// How many characters of a program's last line on standard error go into an error.
const LAST_WORDS_MAX: usize = 300;

/// Why a program gave no answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ProgramError {
    /// What is to be done about it.
    pub(crate) kind: ProgramErrorKind,
    /// For a person: the program, what was wrong, where; never a row's value.
    pub(crate) message: String,
    /// The last line on its standard error, if it wrote any: the program's own words.
    pub(crate) last_words: Option<String>,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramErrorKind {
    /// It could not be started.
    Start,
    /// It ended, or closed its input or output, in the middle: another process may fare better.
    Died,
    /// It took longer over the chunk than it may.
    TimedOut,
    /// It wrote something that is no answer: it would do so again.
    Protocol,
    /// The rows can't be given to a program.
    Rows,
    /// A person wants the run to end at once.
    Interrupted,
}

/// What a program made of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Rows with new values, in the order of the answers.
    pub(crate) changes: Vec<RowChange>,
    /// Rows that it wants set aside, with its reasons, masked.
    pub(crate) rejected: Vec<(Key, String)>,
    /// Bytes that went to it and came back.
    pub(crate) bytes: u64,
    /// How long it took for them.
    pub(crate) took: Duration,
}

/// A program that runs, and waits for rows. Dropped, it is killed with all that it started.
pub(crate) struct RowProgram {
    name: String,
    child: Child,
    group: Group,
    /// `None` once it has been closed.
    input: Option<ChildStdin>,
    output: Output,
    log: Log,
    shape: Shape,
    /// The chunk that was begun last, counted for each process from 1.
    chunk: u64,
    buffer: Vec<u8>,
    time_limit: Duration,
    grace: Duration,
    interrupt: Interrupt,
}

/// What went wrong with a chunk, before it is told who did it.
enum Fault {
    OutputClosed,
    InputClosed,
    Wrong(String),
    Rows(String),
    Pipe(io::Error),
    TimedOut,
    Interrupted,
}

impl RowProgram {
    /// Starts it (a process group of its own, which ends with us) and sends the header line.
    pub(crate) async fn start(
        job: &Job,
        backfill: &Backfill,
        code: &RowCode,
        root: &Path,
        variables: &[(&str, String)],
    ) -> Result<Self, ProgramError> {
        let secrets = job.connector.secrets();
        let name = mask(&code.program.command.join(" "), &secrets);
        let failed = |message: String| ProgramError {
            kind: ProgramErrorKind::Start,
            message,
            last_words: None,
        };
        let mut child = spawn(&code.program, root, variables, Stdio::piped())
            .map_err(|message| failed(mask(&message, &secrets)))?;
        let group = Group::of(&child);
        let (input, Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(format!("`{name}` was started without its pipes")));
        };
        widen(&output);
        input.iter().for_each(widen);
        let log = Log::of(&mut child, backfill.id, job.observer.clone(), secrets);
        let mut program = Self {
            name,
            child,
            group,
            input,
            output: Output::new(output),
            log,
            shape: Shape::of(backfill),
            chunk: 0,
            buffer: Vec::new(),
            time_limit: (code.program.directives.statement_timeout)
                .or(job.limits.statement_timeout)
                .unwrap_or(TIME_LIMIT),
            grace: job.limits.grace,
            interrupt: job.interrupt.clone(),
        };
        match program.greet(&wire::header(backfill)).await {
            Ok(()) => Ok(program),
            Err(fault) => Err(program.give_up(fault).await),
        }
    }

    /// Sends the rows and collects answers until the program has answered the chunk's end. After
    /// an error the program is gone, and every further chunk fails.
    pub(crate) async fn transform(&mut self, rows: &[Row]) -> Result<Answers, ProgramError> {
        self.chunk += 1;
        let began = Instant::now();
        match self.exchange(rows).await {
            Ok(mut answers) => {
                answers.took = began.elapsed();
                for (_, reason) in &mut answers.rejected {
                    *reason = mask(reason, &self.log.secrets);
                }
                Ok(answers)
            }
            Err(fault) => Err(self.give_up(fault).await),
        }
    }

    /// Tells it that no more rows come, and sees to it that it ends.
    pub(crate) async fn end(mut self) {
        if self.input.take().is_none() {
            // It has been given up, and killed.
            return;
        }
        let Self { log, child, output, interrupt, grace, .. } = &mut self;
        let ended = async {
            // What it still writes is of no use, but it must not wait for a reader. How it ends
            // now does not matter either: every chunk has been answered.
            let _ = tokio::join!(child.wait(), log.follow(), output.drain()).0;
        };
        let in_time = tokio::select! {
            () = ended => true,
            () = tokio::time::sleep(*grace) => false,
            () = interrupt.reached(Urgency::Abort) => false,
        };
        if !in_time {
            stop(child, *grace, interrupt).await;
        }
    }

    async fn greet(&mut self, header: &[u8]) -> Result<(), Fault> {
        let Self { input, log, interrupt, time_limit, .. } = self;
        let Some(input) = input else { return Err(Fault::InputClosed) };
        let mut sent = pin!(input.write_all(header));
        let mut limit = pin!(tokio::time::sleep(*time_limit));
        loop {
            tokio::select! {
                sent = &mut sent => return match sent.map_err(fault_of_input) {
                    // It has ended already, perhaps: the first chunk tells how, in any case.
                    Err(Fault::InputClosed) => Ok(()),
                    sent => sent,
                },
                () = log.follow(), if !log.ended => {}
                () = &mut limit => return Err(Fault::TimedOut),
                () = interrupt.reached(Urgency::Abort) => return Err(Fault::Interrupted),
            }
        }
    }

    async fn exchange(&mut self, rows: &[Row]) -> Result<Answers, Fault> {
        let Self { input, output, log, shape, chunk, buffer, interrupt, .. } = self;
        let Some(input) = input else { return Err(Fault::InputClosed) };
        output.begin().map_err(Fault::Wrong)?;
        let mut collector = Collector::new(shape, *chunk, rows).map_err(Fault::Rows)?;
        let mut limit = pin!(tokio::time::sleep(self.time_limit));
        let mut fed = None;
        let heard = {
            let mut feeding = pin!(feed(input, shape, *chunk, rows, buffer));
            let mut hearing = pin!(output.hear(&mut collector));
            loop {
                tokio::select! {
                    sent = &mut feeding, if fed.is_none() => {
                        if matches!(sent, Err(Fault::Rows(_))) {
                            break sent.map(drop);
                        }
                        if sent.is_err() {
                            // Most likely it is ending, which its output will tell.
                            limit.as_mut().reset(Instant::now() + ENDING_MAX);
                        }
                        fed = Some(sent);
                    }
                    heard = &mut hearing => break heard,
                    () = log.follow(), if !log.ended => {}
                    () = &mut limit => break Err(Fault::TimedOut),
                    () = interrupt.reached(Urgency::Abort) => break Err(Fault::Interrupted),
                }
            }
        };
        match (heard, fed) {
            (Ok(()), Some(Ok(sent))) => Ok(Answers {
                bytes: sent + output.chunk_bytes(),
                changes: collector.changes,
                rejected: collector.rejected,
                took: Duration::ZERO,
            }),
            (Ok(()), None) => Err(Fault::Wrong(format!(
                "line {} of its output ends a chunk whose end it had not been given yet",
                output.line_number()
            ))),
            // A program that closed its input is told of by that, not by the wait that followed.
            (Ok(()) | Err(Fault::TimedOut), Some(Err(fault))) => Err(fault),
            (Err(fault), _) => Err(fault),
        }
    }

    /// Ends the program, and says what went wrong.
    async fn give_up(&mut self, fault: Fault) -> ProgramError {
        let (kind, what) = match fault {
            Fault::Wrong(what) => (ProgramErrorKind::Protocol, what),
            Fault::Rows(what) => (ProgramErrorKind::Rows, what),
            Fault::Interrupted => (ProgramErrorKind::Interrupted, "it was interrupted".to_owned()),
            Fault::TimedOut => (
                ProgramErrorKind::TimedOut,
                format!(
                    "it took longer than its statement-timeout of {:?} in {}",
                    self.time_limit,
                    self.place()
                ),
            ),
            Fault::OutputClosed => (ProgramErrorKind::Died, self.ending("output").await),
            Fault::InputClosed => (ProgramErrorKind::Died, self.ending("input").await),
            Fault::Pipe(error) => (
                ProgramErrorKind::Died,
                format!("talking to it failed in {}: {error}", self.place()),
            ),
        };
        drop(self.input.take());
        self.group.signal(Signal::KILL);
        // It has been killed; there is nothing to learn from its status.
        let _ = self.child.wait().await;
        ProgramError {
            kind,
            message: format!("`{}`: {what}", self.name),
            last_words: self.log.last.take(),
        }
    }

    /// How it ended, once one of its pipes was closed; its last words are told first.
    async fn ending(&mut self, pipe: &str) -> String {
        let last = async {
            let (status, ()) = tokio::join!(self.child.wait(), self.log.follow());
            status
        };
        // A grandchild may hold standard error open for ever, so the status is asked for again.
        let status = match tokio::time::timeout(ENDING_MAX, last).await {
            Ok(status) => Some(status),
            Err(_) => self.child.try_wait().transpose(),
        };
        let how = match status.map(judge) {
            None => format!("it closed its standard {pipe}, and did not end,"),
            Some(Ok(())) => "it ended (exit code 0)".to_owned(),
            Some(Err(how)) => how,
        };
        format!("{how} in the middle of {}", self.place())
    }

    fn place(&self) -> String {
        match (self.chunk, self.output.line_number()) {
            (0, _) => "reading the header".to_owned(),
            (chunk, 0) => format!("chunk {chunk}, before it wrote a line"),
            (chunk, line) => format!("chunk {chunk}, after line {line} of its output"),
        }
    }
}

impl Drop for RowProgram {
    fn drop(&mut self) {
        self.group.signal(Signal::KILL);
    }
}

/// Sends a chunk: its rows, and its end. Returns how many bytes it took.
async fn feed(
    input: &mut ChildStdin,
    shape: &Shape,
    chunk: u64,
    rows: &[Row],
    buffer: &mut Vec<u8>,
) -> Result<u64, Fault> {
    let mut sent = 0;
    buffer.clear();
    for row in rows {
        shape.write_row(buffer, row).map_err(Fault::Rows)?;
        if buffer.len() >= SEND_BYTES {
            input.write_all(buffer).await.map_err(fault_of_input)?;
            sent += buffer.len() as u64;
            buffer.clear();
            // A long row's room is wanted for its answer.
            buffer.shrink_to(2 * SEND_BYTES);
        }
    }
    wire::write_end(buffer, chunk);
    // The last write is the last thing done here: an end that comes back before was made up.
    input.write_all(buffer).await.map_err(fault_of_input)?;
    Ok(sent + buffer.len() as u64)
}

/// Makes a pipe larger, if the system lets us: it works as it is, only slower.
#[cfg(target_os = "linux")]
fn widen(pipe: &impl std::os::fd::AsFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
}

#[cfg(not(target_os = "linux"))]
fn widen<P>(_pipe: &P) {}

fn fault_of_input(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Fault::InputClosed,
        _ => Fault::Pipe(error),
    }
}

/// A program's standard error, on its way to the observer.
struct Log {
    reading: BoxFuture<'static, ()>,
    lines: mpsc::Receiver<String>,
    is_read: bool,
    /// The last line that was not empty, cut.
    last: Option<String>,
    /// Nothing more comes.
    ended: bool,
    id: MigrationId,
    observer: Arc<dyn Observer>,
    secrets: Vec<String>,
}

impl Log {
    fn of(
        child: &mut Child,
        id: MigrationId,
        observer: Arc<dyn Observer>,
        secrets: Vec<String>,
    ) -> Self {
        let (sender, lines) = mpsc::channel(64);
        let (stream, masked) = (child.stderr.take(), secrets.clone());
        let reading = Box::pin(async move { read_lines(stream, &masked, sender).await });
        Self { reading, lines, is_read: false, last: None, ended: false, id, observer, secrets }
    }

    /// Tells lines as they come, until there are no more. May be dropped at any time.
    async fn follow(&mut self) {
        while !self.ended {
            tokio::select! {
                line = self.lines.recv() => match line {
                    Some(line) => {
                        let line = mask(&line, &self.secrets);
                        self.observer.event(Event::ProgramOutput { id: self.id, line: &line });
                        if !line.trim().is_empty() {
                            self.last = Some(line.trim().chars().take(LAST_WORDS_MAX).collect());
                        }
                    }
                    None => self.ended = true,
                },
                () = &mut self.reading, if !self.is_read => self.is_read = true,
            }
        }
    }
}

#[cfg(test)]
mod tests;
