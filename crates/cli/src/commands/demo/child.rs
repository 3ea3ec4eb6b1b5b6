//! The demo's commands: this very program, started as a person would start it.

#[cfg(feature = "move")]
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::exit::CliError;
use crate::render;

/// Variables that belong to other projects of whoever runs the demo.
const FOREIGN_VARIABLES: &[&str] = &["DATABASE_URL", "DUNLIN_ENV"];

/// Starts commands in the demo's folder.
pub(super) struct Shell {
    program: PathBuf,
    folder: PathBuf,
}

/// What of a command's lines the story needs; the rest can be seen by playing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// What is done, and who was taken over from.
    Steps,
    /// The rows of a table.
    Table,
}

impl Show {
    fn shows(self, line: &str) -> bool {
        let tells = |word: &str| line.contains(word);
        match self {
            Self::Steps => {
                !tells(": SQLite ") && ["up     ", "done   ", "took over"].into_iter().any(tells)
            }
            Self::Table => !tells(": SQLite "),
        }
    }
}

/// How a command was ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself, and well.
    Well,
    /// By `kill -9`.
    Killed,
}

impl Shell {
    pub(super) fn new(folder: &Path) -> Result<Self, CliError> {
        let program = std::env::current_exe()
            .map_err(|error| CliError::file("find", Path::new("this program"), &error))?;
        Ok(Self { program, folder: folder.to_owned() })
    }

    /// Runs a command to its end and prints nothing of it unless it fails.
    pub(super) async fn quietly(&self, words: &[&str]) -> Result<(), CliError> {
        let output = self.command(words).output().await.map_err(|error| self.failed(&error))?;
        if output.status.success() {
            return Ok(());
        }
        render::data(&String::from_utf8_lossy(&output.stderr));
        Err(unexpected(words))
    }

    /// Runs a command and prints its data, then what it says in the end: through two pipes the one
    /// could overtake the other. Reasons that are told already are not told again.
    #[cfg(feature = "move")]
    pub(super) async fn in_order(
        &self,
        words: &[&str],
        told: &mut BTreeSet<String>,
    ) -> Result<(), CliError> {
        let output = self.command(words).output().await.map_err(|error| self.failed(&error))?;
        let (data, said) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let well = output.status.success();
        for line in data.lines() {
            if !line.starts_with("  ") || told.insert(line.to_owned()) {
                render::data(&format!("  {line}"));
            }
        }
        let steps = |line: &&str| line.contains(": SQLite ") || line.starts_with("  ");
        for line in said.lines().filter(|line| !well || !steps(line)) {
            render::data(&format!("  {line}"));
        }
        if well { Ok(()) } else { Err(unexpected(words)) }
    }

    /// Runs a command and prints what it prints and the story needs; `kill -9`s it at the first line that holds
    /// `until`.
    pub(super) async fn aloud(
        &self,
        words: &[&str],
        show: Show,
        until: Option<&str>,
    ) -> Result<Ended, CliError> {
        let mut child = self.command(words).spawn().map_err(|error| self.failed(&error))?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let (sender, mut lines) = tokio::sync::mpsc::channel(16);
        let (one, other) = (read(output, sender.clone()), read(errors, sender));
        let reading = async { tokio::join!(one, other) };
        let telling = async {
            let (mut killed, mut hidden) = (false, Vec::new());
            while let Some(line) = lines.recv().await {
                if show.shows(&line) {
                    render::data(&format!("  {line}"));
                } else {
                    hidden.push(line.clone());
                }
                if !killed && until.is_some_and(|until| line.contains(until)) {
                    kill(&mut child).await?;
                    killed = true;
                }
            }
            Ok((killed, hidden))
        };
        let (_, killed) = tokio::join!(reading, telling);
        let (killed, hidden) = killed.map_err(|error| self.failed(&error))?;
        if killed {
            return Ok(Ended::Killed);
        }
        let status = child.wait().await.map_err(|error| self.failed(&error))?;
        if status.success() {
            return Ok(Ended::Well);
        }
        for line in hidden {
            render::data(&format!("  {line}"));
        }
        Err(unexpected(words))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for name in FOREIGN_VARIABLES {
            command.env_remove(name);
        }
        // What it prints goes through us to where we print.
        if render::colours() {
            command.env("CLICOLOR_FORCE", "1");
        } else {
            command.env("NO_COLOR", "1").env_remove("CLICOLOR_FORCE");
        }
        command
    }

    fn failed(&self, error: &std::io::Error) -> CliError {
        CliError::file("run", &self.program, error)
    }
}

/// SIGKILL, which no process can catch.
async fn kill(child: &mut Child) -> std::io::Result<()> {
    child.start_kill()?;
    child.wait().await.map(|_| ())
}

async fn read(stream: Option<impl AsyncRead + Unpin>, lines: tokio::sync::mpsc::Sender<String>) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

fn unexpected(words: &[&str]) -> CliError {
    CliError::File { message: format!("the demo's `dunlin {}` failed", words.join(" ")) }
}
