//! Somebody else at work on a database: one open session of the product's own client, which holds
//! locks, transactions and connections for as long as a test wants.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::client::sql_client;

/// What ends the answer to what was said.
const MARK: &str = "visitor has spoken";

/// An open session. Dropped, it is closed, and the server rolls back what it left open.
#[derive(Debug)]
pub struct Visitor {
    client: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Visitor {
    /// Connects to the database of a URL.
    ///
    /// # Panics
    /// If the client is not installed or cannot be started.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let (program, mut command) = match sql_client(url) {
            Ok(found) => found,
            Err(error) => panic!("{error}"),
        };
        if url.starts_with("mysql:") {
            command.arg("--unbuffered");
        }
        let spawned =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut client = match spawned {
            Ok(client) => client,
            Err(error) => panic!("cannot start {}: {error}", program.display()),
        };
        let (Some(input), Some(output)) = (client.stdin.take(), client.stdout.take()) else {
            panic!("both were asked for");
        };
        Self { client, input, output: BufReader::new(output) }
    }

    /// Sends statements and does not wait for them.
    ///
    /// # Panics
    /// If the client has ended.
    pub fn say(&mut self, sql: &str) {
        if let Err(error) = writeln!(self.input, "{sql}").and_then(|()| self.input.flush()) {
            panic!("the client has ended: {error}");
        }
    }

    /// Sends statements and waits until they are done; returns what they print. `None`: the
    /// client stopped, since one of them failed or the session was ended.
    pub fn ask(&mut self, sql: &str) -> Option<String> {
        writeln!(self.input, "{sql}\nSELECT '{MARK}';").and_then(|()| self.input.flush()).ok()?;
        self.answer()
    }

    fn answer(&mut self) -> Option<String> {
        let mut answer = String::new();
        loop {
            let mut line = String::new();
            match self.output.read_line(&mut line) {
                Ok(1..) if line.trim_end() == MARK => return Some(answer),
                Ok(1..) => answer.push_str(&line),
                Ok(0) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        // It may have ended by itself. Killed, its socket is closed, which the server notices as
        // soon as nothing of it runs there any more.
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
