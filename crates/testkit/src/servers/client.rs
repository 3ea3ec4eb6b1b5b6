//! SQL through a database's own command-line client, so that what a test expects does not come
//! from the code under test.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use percent_encoding::percent_decode_str;

use super::{Missing, Product, binaries};

/// Why a client did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is not installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// It could not be started or fed.
    #[error("cannot run {program}")]
    Io {
        /// The client.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It says that something is wrong.
    #[error("{program} failed: {said}")]
    Failed {
        /// The client.
        program: PathBuf,
        /// Its words.
        said: String,
    },
    /// The URL names no server and no file that a client could be given.
    #[error("this is not the URL of a database: it needs a scheme, a host and a database")]
    Url,
}

/// A server's address, as a client wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub scheme: String,
    pub user: String,
    pub password: String,
    pub host: String,
    pub port: u16,
    pub database: String,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, ClientError> {
        let url = url::Url::parse(url).map_err(|_| ClientError::Url)?;
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let default_port = if url.scheme() == "mysql" { 3306 } else { 5432 };
        Ok(Self {
            scheme: url.scheme().to_owned(),
            user: plain(url.username()),
            password: plain(url.password().unwrap_or_default()),
            host: url.host_str().ok_or(ClientError::Url)?.to_owned(),
            port: url.port().unwrap_or(default_port),
            database: plain(url.path().trim_start_matches('/')),
        })
    }

    pub(super) fn at(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    pub(super) fn of_database(mut self, name: &str) -> Self {
        name.clone_into(&mut self.database);
        self
    }

    pub(super) fn url(&self) -> String {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
                .replace("%2D", "-")
                .replace("%5F", "_")
        };
        format!(
            "{}://{}:{}@{}:{}/{}",
            self.scheme,
            encode(&self.user),
            encode(&self.password),
            self.host,
            self.port,
            encode(&self.database)
        )
    }
}

/// The file of a `sqlite://` URL.
pub(super) fn sqlite_file(url: &str) -> Option<&Path> {
    url.strip_prefix("sqlite://").map(|path| Path::new(path.split('?').next().unwrap_or(path)))
}

/// Feeds SQL to the client of a URL's database on one connection and returns what it prints:
/// bare rows, one a line. Stops at the first error.
pub fn run_sql(url: &str, sql: &str) -> Result<String, ClientError> {
    let (program, command) = sql_client(url)?;
    feed(&program, command, sql)
}

/// The client of a URL's database, which reads SQL from its standard input.
pub(super) fn sql_client(url: &str) -> Result<(PathBuf, Command), ClientError> {
    if let Some(file) = sqlite_file(url) {
        let program = binaries::find(Product::Sqlite, &["sqlite3"])?;
        let mut command = Command::new(&program);
        // 30 s: what is looked at may be held by the runner under test.
        command.args(["-batch", "-bail", "-noheader", "-cmd", ".timeout 30000"]).arg(file);
        return Ok((program, command));
    }
    let address = Address::parse(url)?;
    if address.scheme == "mysql" {
        let program = binaries::find(Product::Mysql, binaries::CLIENT_NAMES)?;
        let mut command = mysql_command(&program, &address);
        // The client of MariaDB takes comments out of routines unless told not to.
        command.args(["--batch", "--skip-column-names", "--comments"]);
        command.arg("--default-character-set=utf8mb4");
        command.arg(&address.database);
        return Ok((program, command));
    }
    let program = binaries::find(Product::Postgres, &["psql"])?;
    let mut command = postgres_command(&program, &address);
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
    Ok((program, command))
}

pub(super) fn mysql_command(program: &Path, address: &Address) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--no-defaults", "--protocol=tcp"])
        .arg(format!("--host={}", address.host))
        .arg(format!("--port={}", address.port))
        .arg(format!("--user={}", address.user))
        .env("MYSQL_PWD", &address.password);
    command
}

pub(super) fn postgres_command(program: &Path, address: &Address) -> Command {
    let mut command = Command::new(program);
    command
        .arg(format!("--host={}", address.host))
        .arg(format!("--port={}", address.port))
        .arg(format!("--username={}", address.user))
        .arg(format!("--dbname={}", address.database))
        .env_remove("PGOPTIONS")
        .env("PGPASSWORD", &address.password);
    command
}

pub(super) fn feed(
    program: &Path,
    mut command: impl std::borrow::BorrowMut<Command>,
    input: &str,
) -> Result<String, ClientError> {
    let io = |source| ClientError::Io { program: program.to_owned(), source };
    let mut child = command
        .borrow_mut()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io)?;
    let stdin = child.stdin.take();
    let input = input.to_owned();
    // Written beside the reading, or both sides could wait for each other.
    let writer = std::thread::spawn(move || match stdin {
        Some(mut stdin) => stdin.write_all(input.as_bytes()),
        None => Ok(()),
    });
    let output = child.wait_with_output().map_err(io)?;
    // A client that stops at an error closes its input early: its own words matter then.
    let written = writer.join();
    judge(program, &output)?;
    if let Ok(Err(source)) = written {
        return Err(io(source));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn judge(program: &Path, output: &Output) -> Result<(), ClientError> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ClientError::Failed { program: program.to_owned(), said })
}
