//! Data migrations that are programs: at least once, under a key that retries keep.
//!
//! A program runs in a process group of its own; its death with us is asked of the kernel where
//! there is such a thing (Linux), and a time limit or Ctrl-C ends the whole group.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use dunlin_model::{MigrationId, Program};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::events::Event;
use crate::job::{Interrupt, Job, Urgency};

/// How much of a program's output is kept for the ledger: enough for a stack trace or two.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// How much of one line is shown: a program that writes without line ends must not fill memory.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// How a program ended.
pub(crate) struct Ran {
    /// `Err`: how it failed, for a person.
    pub(crate) ending: Result<(), Failed>,
    /// Its last output, masked.
    pub(crate) output: String,
}

pub(crate) enum Failed {
    /// It ended by itself, or did not start, or took too long.
    Ended(String),
    /// A person stopped it.
    Interrupted,
}

/// Runs a program to its end.
pub(crate) async fn run(
    job: &Job,
    id: MigrationId,
    program: &Program,
    root: &Path,
    variables: &[(&str, String)],
    time_limit: Option<Duration>,
) -> Ran {
    let mut child = match spawn(program, root, variables, Stdio::null()) {
        Ok(child) => child,
        Err(message) => {
            return Ran { ending: Err(Failed::Ended(message)), output: String::new() };
        }
    };
    let mut tail = Tail::default();
    let secrets = job.connector.secrets();
    let output = child.stdout.take();
    let errors = child.stderr.take();
    let reading = read_both(output, errors, &secrets, |line| {
        let line = mask(line, &secrets);
        job.observer.event(Event::ProgramOutput { id, line: &line });
        tail.push(&line);
    });
    let ending = {
        tokio::pin!(reading);
        let mut read = false;
        let ended = end_of(job, &mut child, time_limit);
        tokio::pin!(ended);
        loop {
            tokio::select! {
                ending = &mut ended => {
                    // A grandchild may hold the pipes open for ever: what is there now is enough.
                    if !read {
                        let rest = tokio::time::timeout(Duration::from_millis(500), &mut reading);
                        // Running into the limit only means that somebody still holds the pipe.
                        let _ = rest.await;
                    }
                    break ending;
                }
                () = &mut reading, if !read => read = true,
            }
        }
    };
    Ran { ending, output: tail.into_text() }
}

/// Starts a program with its output and errors in pipes. The error is for a person.
pub(crate) fn spawn(
    program: &Program,
    root: &Path,
    variables: &[(&str, String)],
    input: Stdio,
) -> Result<Child, String> {
    let Some((name, arguments)) = program.command.split_first() else {
        return Err("its command is empty".to_owned());
    };
    // A relative path is meant from the project's root, whatever our own folder is.
    let path = if name.contains('/') { root.join(name) } else { PathBuf::from(name) };
    let mut command = Command::new(&path);
    command
        .args(arguments)
        .current_dir(root)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    die_with_us(&mut command);
    command.spawn().map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "; is it installed, and on the PATH?",
            std::io::ErrorKind::PermissionDenied => "; is it executable (chmod +x)?",
            _ => "",
        };
        format!("`{name}` could not be started: {error}{help}")
    })
}

/// Asks the kernel to end the program when the thread that started it ends.
#[cfg(target_os = "linux")]
fn die_with_us(command: &mut Command) {
    let ask =
        || rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into);
    #[expect(unsafe_code, reason = "there is no safe way to set a parent-death signal")]
    // SAFETY: between fork and exec only one prctl system call is made; nothing is allocated and
    // no lock is taken.
    unsafe {
        command.pre_exec(ask);
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_us(_command: &mut Command) {}

async fn end_of(job: &Job, child: &mut Child, time_limit: Option<Duration>) -> Result<(), Failed> {
    let limit = async {
        match time_limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let why = tokio::select! {
        status = child.wait() => return judge(status).map_err(Failed::Ended),
        () = limit => {
            let limit = time_limit.unwrap_or_default();
            Failed::Ended(format!("it took longer than its statement-timeout of {limit:?}"))
        }
        () = job.interrupt.reached(Urgency::Finish) => Failed::Interrupted,
    };
    stop(child, job.limits.grace, &job.interrupt).await;
    Err(why)
}

/// Ends a program with all that it started: it is asked to, and killed when its time is over.
pub(crate) async fn stop(child: &mut Child, grace: Duration, interrupt: &Interrupt) {
    let group = Group::of(child);
    group.signal(Signal::TERM);
    tokio::select! {
        // How it ends now does not matter: it was told to.
        _ = child.wait() => {}
        () = tokio::time::sleep(grace) => {}
        () = interrupt.reached(Urgency::Abort) => {}
    }
    group.signal(Signal::KILL);
    // It has been killed; there is nothing to learn from its status.
    let _ = child.wait().await;
}

/// A program and all that it started, to the kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// The group that a program leads; nothing if it has been waited for.
    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.cast_signed())))
    }

    pub(crate) fn signal(self, signal: Signal) {
        if let Some(group) = self.0 {
            // It fails when the group has ended already, which is what we want.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// How a program ended, as `it …`, if not well.
pub(crate) fn judge(status: std::io::Result<ExitStatus>) -> Result<(), String> {
    use std::os::unix::process::ExitStatusExt;
    let status = status.map_err(|error| format!("waiting for it failed: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => format!("it was killed by signal {signal}"),
        (None, None) => format!("it ended with {status}"),
    })
}

async fn read_both(
    output: Option<impl AsyncRead + Unpin>,
    errors: Option<impl AsyncRead + Unpin>,
    secrets: &[String],
    mut tell: impl FnMut(&str),
) {
    let (sender, mut lines) = tokio::sync::mpsc::channel::<String>(64);
    let other = sender.clone();
    let reading = async move {
        tokio::join!(read_lines(output, secrets, sender), read_lines(errors, secrets, other));
    };
    let telling = async {
        while let Some(line) = lines.recv().await {
            tell(&line);
        }
    };
    tokio::join!(reading, telling);
}

/// Hands on each line of a stream, without its end, until the stream ends or nobody listens.
pub(crate) async fn read_lines(
    stream: Option<impl AsyncRead + Unpin>,
    secrets: &[String],
    lines: tokio::sync::mpsc::Sender<String>,
) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::with_capacity(LINE_BYTES_MAX, stream);
    let mut line = Vec::new();
    // A line that is too long is cut; its end stays, because a secret may have begun in it.
    let kept_max = secrets.iter().map(|secret| secret.len()).max().unwrap_or_default();
    loop {
        let (taken, ended) = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(bytes) => match bytes.iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    line.extend_from_slice(&bytes[..end]);
                    (end + 1, true)
                }
                None => {
                    line.extend_from_slice(bytes);
                    (bytes.len(), false)
                }
            },
        };
        reader.consume(taken);
        let mut rest = Vec::new();
        if !ended && line.len() >= LINE_BYTES_MAX + kept_max {
            rest = cut(&mut line, secrets, kept_max);
        } else if !ended {
            continue;
        }
        if send(&mut line, &lines).await.is_err() {
            return;
        }
        line = rest;
    }
    if !line.is_empty() {
        // Nobody listens any more: there is nothing left to do.
        let _ = send(&mut line, &lines).await;
    }
}

/// Cuts the end of a line off, with its whole secrets masked first: what remains of one can only
/// be at the very end.
fn cut(line: &mut Vec<u8>, secrets: &[String], kept_max: usize) -> Vec<u8> {
    for secret in secrets.iter().map(String::as_bytes).filter(|secret| !secret.is_empty()) {
        let mut from = 0;
        while let Some(at) = line[from..].windows(secret.len()).position(|part| part == secret) {
            line.splice(from + at..from + at + secret.len(), *b"***");
            from += at + 3;
        }
    }
    let mut end = line.len().saturating_sub(kept_max);
    // Not within a character.
    while end > 0 && line.get(end).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {
        end -= 1;
    }
    line.split_off(end)
}

async fn send(line: &mut Vec<u8>, lines: &tokio::sync::mpsc::Sender<String>) -> Result<(), ()> {
    let text = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
    line.clear();
    lines.send(text).await.map_err(|_| ())
}

/// Replaces every secret in a text.
pub(crate) fn mask(text: &str, secrets: &[String]) -> String {
    let mut masked = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        masked = masked.replace(secret, "***");
    }
    masked
}

#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    byte_count: usize,
}

impl Tail {
    fn push(&mut self, line: &str) {
        self.byte_count += line.len() + 1;
        self.lines.push_back(line.replace('\0', "\u{fffd}"));
        while self.byte_count > OUTPUT_BYTES_MAX {
            match self.lines.pop_front() {
                Some(line) => self.byte_count -= line.len() + 1,
                None => break,
            }
        }
    }

    fn into_text(self) -> String {
        self.lines.into_iter().map(|line| line + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(text: &[u8], secrets: &[String]) -> Vec<String> {
        let mut lines = Vec::new();
        read_both(Some(text), None::<&[u8]>, secrets, |line| lines.push(mask(line, secrets))).await;
        lines
    }

    #[tokio::test]
    async fn a_secret_is_masked_wherever_a_long_line_is_cut() {
        let secrets = ["hunter2hunter2".to_owned()];
        for before in LINE_BYTES_MAX - 40..LINE_BYTES_MAX + 40 {
            let text =
                format!("{}{}{}\nlast", "é".repeat(before / 2), secrets[0], "x".repeat(9000));
            let lines = lines_of(text.as_bytes(), &secrets).await;
            assert!(lines.len() > 2 && lines.last().is_some_and(|line| line == "last"));
            assert!(lines.iter().all(|line| line.len() < 2 * LINE_BYTES_MAX + 100));
            let all = lines.concat();
            assert!(all.contains("***") && !all.contains("hunter"), "{before}");
            assert!(!all.contains('\u{fffd}'), "{before}");
        }
    }
}
