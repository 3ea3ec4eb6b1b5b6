//! A server that ends with the process that started it.
//!
//! A shell starts the server, says `ready PID` once it answers, and then reads its standard
//! input, which is a pipe that only we hold: it ends when we drop it and when we die, however we
//! die. The shell then stops the server and removes its folder. (A parent-death signal would need
//! `unsafe`, and is Linux only.)

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ServerError;

/// `$1`: its folder, `$2`: the signal that stops it, `$3`: a command that succeeds once it
/// answers; the rest: the server. Then an order a line: `crash`, `start`.
const SCRIPT: &str = r#"
folder=$1 signal=$2 answers=$3
shift 3
start() {
    "$@" </dev/null >>"$folder/server.log" 2>&1 &
    server=$!
    tries=0
    until sh -c "$answers" </dev/null >"$folder/answers.log" 2>&1; do
        tries=$((tries + 1))
        if ! kill -0 "$server" 2>/dev/null || [ "$tries" -gt 600 ]; then
            kill -KILL "$server" 2>/dev/null
            return 1
        fi
        sleep 0.05
    done
}
again() {
    # Right after a crash its own processes may still hold what the next start needs.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        start "$@" && return
        sleep 0.1
    done
    return 1
}
start "$@" || exit 1
echo "ready $server"
while read -r order; do
    case $order in
    crash) kill -KILL "$server"; wait "$server" 2>/dev/null; echo crashed ;;
    start) if again "$@"; then echo "ready $server"; else echo failed; fi ;;
    esac
done
kill "-$signal" "$server" 2>/dev/null
kill -CONT "$server" 2>/dev/null
wait "$server"
cd /
rm -rf "$folder"
"#;

/// A user to run a server as, where we are root and it must not be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Login {
    uid: u32,
    gid: u32,
}

impl Login {
    /// The first of these users that exists; `None` where we are not root.
    pub(super) fn instead_of_root(names: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = std::fs::read_to_string("/etc/passwd").ok()?;
        names.iter().find_map(|name| {
            users.lines().find_map(|line| {
                let mut fields = line.split(':');
                let matches = fields.next() == Some(name);
                let uid = fields.nth(1)?.parse().ok()?;
                let gid = fields.next()?.parse().ok()?;
                matches.then_some(Self { uid, gid })
            })
        })
    }
}

/// A new folder in the system's temporary folder that a login may use.
pub(super) fn new_folder(
    what: &'static str,
    login: Option<Login>,
) -> Result<tempfile::TempDir, ServerError> {
    let io = |path: &Path, source| ServerError::Io { what, path: path.to_owned(), source };
    let parent = std::env::temp_dir();
    let folder = tempfile::Builder::new()
        .prefix(&format!("dunlin-{what}-"))
        .tempdir_in(&parent)
        .map_err(|source| io(&parent, source))?;
    if let Some(login) = login {
        chown(folder.path(), Some(login.uid), Some(login.gid))
            .map_err(|source| io(folder.path(), source))?;
    }
    Ok(folder)
}

/// A command that runs in a folder as a login, with nothing of our environment that would make
/// it another server's.
pub(super) fn command(program: &Path, folder: &Path, login: Option<Login>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    for variable in ["PGDATA", "PGHOST", "PGPORT", "PGOPTIONS", "MYSQL_HOME", "MYSQL_TCP_PORT"] {
        command.env_remove(variable);
    }
    command.env("HOME", folder).env("LC_ALL", "C");
    if let Some(login) = login {
        // The standard library also drops supplementary groups here.
        command.uid(login.uid).gid(login.gid);
    }
    command
}

/// Runs a command to its end.
pub(super) fn run(what: &'static str, mut command: Command) -> Result<(), ServerError> {
    let path = PathBuf::from(command.get_program());
    let output =
        command.output().map_err(|source| ServerError::Io { what, path: path.clone(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    let why = format!("{} ended with {}:\n{}", path.display(), output.status, tail(&said));
    Err(ServerError::Start { what, why })
}

/// A server and the shell that watches over it.
#[derive(Debug)]
pub(super) struct Supervised {
    folder: PathBuf,
    server: AtomicU32,
    shell: Mutex<Shell>,
}

/// The shell, its orders and its answers.
#[derive(Debug)]
struct Shell {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Shell {
    /// One line of its answers; empty when it has ended.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        // An unreadable answer is no answer: the line stays empty and is judged by its reader.
        let _ = self.answers.read_line(&mut line);
        line.trim().to_owned()
    }

    fn order(&mut self, order: &str) -> String {
        let written = self.process.stdin.as_mut().map(|orders| writeln!(orders, "{order}"));
        match written {
            Some(Ok(())) => self.answer(),
            _ => String::new(),
        }
    }
}

/// The process number in `ready PID`.
fn ready(answer: &str) -> Option<u32> {
    answer.strip_prefix("ready ").and_then(|pid| pid.parse().ok())
}

/// How a server is started and stopped.
pub(super) struct Start<'a> {
    /// For messages.
    pub what: &'static str,
    /// The server and its arguments.
    pub server: &'a [String],
    /// A shell command that succeeds once the server answers.
    pub answers: &'a str,
    /// The signal that stops it without ado.
    pub signal: &'a str,
    /// Whom to run it as.
    pub login: Option<Login>,
    /// More environment.
    pub environment: &'a [(&'a str, &'a str)],
}

impl Start<'_> {
    fn failed(&self, why: String) -> ServerError {
        ServerError::Start { what: self.what, why }
    }
}

impl Supervised {
    /// Starts a server in a folder, which it owns from then on, and waits until it answers.
    pub(super) fn start(folder: tempfile::TempDir, start: &Start<'_>) -> Result<Self, ServerError> {
        let path = folder.path().to_owned();
        let mut shell = command(Path::new("/bin/sh"), &path, start.login);
        shell
            .args(["-c", SCRIPT, "sh"])
            .arg(&path)
            .args([start.signal, start.answers])
            .args(start.server)
            .envs(start.environment.iter().copied())
            // Its own group: Ctrl-C on a terminal must not stop the server before the tests.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut shell = shell.spawn().map_err(|source| ServerError::Io {
            what: start.what,
            path: PathBuf::from("/bin/sh"),
            source,
        })?;
        let answers = match shell.stdout.take() {
            Some(stdout) => BufReader::new(stdout),
            None => return Err(start.failed(String::new())),
        };
        let mut shell = Shell { process: shell, answers };
        let Some(server) = ready(&shell.answer()) else {
            drop(shell.process.stdin.take());
            // It has ended already, or ends now; how does not matter.
            let _ = shell.process.wait();
            return Err(start.failed(log(&path, "server.log") + &log(&path, "answers.log")));
        };
        // From here on the shell removes the folder.
        let folder = folder.keep();
        Ok(Self { folder, server: AtomicU32::new(server), shell: Mutex::new(shell) })
    }

    /// Kills the server and waits until it is gone.
    pub(super) fn crash(&self) {
        self.shell().order("crash");
    }

    /// Starts it again after a crash; `Err`: the end of its log.
    pub(super) fn start_again(&self) -> Result<(), String> {
        match ready(&self.shell().order("start")) {
            Some(server) => {
                self.server.store(server, Ordering::SeqCst);
                Ok(())
            }
            None => Err(log(&self.folder, "server.log")),
        }
    }

    fn shell(&self) -> MutexGuard<'_, Shell> {
        self.shell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn server_pid(&self) -> u32 {
        self.server.load(Ordering::SeqCst)
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let shell = self.shell.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(shell.process.stdin.take());
        // Nothing can be done about a shell that cannot be waited for.
        let _ = shell.process.wait();
    }
}

fn log(folder: &Path, name: &str) -> String {
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(folder.join(name)) {
        // A log that cannot be read is left out of the message.
        let _ = file.read_to_string(&mut text);
    }
    tail(&text)
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(20);
    lines[start..].iter().flat_map(|line| [line, "\n"]).collect()
}
