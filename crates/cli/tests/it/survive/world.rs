//! A project on a database of any product, and runs of the program that can be stopped anywhere.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dunlin_testkit::servers::{self, Product, TestDatabase, Visitor};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A state that has not come by then will not come: every wait ends earlier on a slow machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// How long to leave the processors to others between two looks at a state.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One database and the files of a project for it.
pub(crate) struct World {
    pub(crate) product: Product,
    pub(crate) database: TestDatabase,
    /// The URL that runs get; another than the database's where something stands in between.
    pub(crate) url: String,
    folder: TempDir,
}

impl World {
    pub(crate) fn new(product: Product, name: &str) -> Self {
        Self::on(match product {
            Product::Postgres => servers::postgres().database(name),
            Product::Pgbouncer => servers::pgbouncer().database(name),
            Product::Mysql => servers::mysql().database(name),
            Product::Sqlite => servers::sqlite(name),
        })
    }

    pub(crate) fn on(database: TestDatabase) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["migrations", "data_migrations"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        fs::write(
            folder.path().join("dunlin.toml"),
            "data = \"auto\"\n\n[databases.app]\nurl = \"${DATABASE_URL}\"\n\
             connect_timeout = \"60s\"\n",
        )
        .expect("written");
        Self { product: database.product, url: database.url.clone(), database, folder }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.root().join(file);
        fs::write(&path, text).expect("written");
        path
    }

    /// A schema migration without a down.
    pub(crate) fn schema(&self, version: i64, text: &str) {
        self.write(&format!("migrations/{version}_change.sql"), text);
    }

    /// A data migration in SQL.
    pub(crate) fn data(&self, version: i64, text: &str) {
        self.write(&format!("data_migrations/{version}_change.sql"), text);
    }

    /// A data migration that is a shell script.
    pub(crate) fn program(&self, version: i64, text: &str) {
        let path = self
            .write(&format!("data_migrations/{version}_program.sh"), &format!("#!/bin/sh\n{text}"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
    }

    /// Takes the project to another folder, as a new machine or image would have it: nothing but
    /// the files comes along.
    pub(crate) fn move_elsewhere(&mut self) {
        let elsewhere = tempfile::tempdir().expect("a temporary folder");
        for name in ["migrations", "data_migrations"] {
            fs::create_dir(elsewhere.path().join(name)).expect("a folder");
            for entry in fs::read_dir(self.root().join(name)).expect("a folder") {
                let entry = entry.expect("an entry");
                let copy = elsewhere.path().join(name).join(entry.file_name());
                fs::copy(entry.path(), copy).expect("copied");
            }
        }
        fs::copy(self.root().join("dunlin.toml"), elsewhere.path().join("dunlin.toml"))
            .expect("copied");
        self.folder = elsewhere;
    }

    /// What SQL answers through the product's own client.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.database.sql(sql).expect("the client can do it").trim_end().to_owned()
    }

    /// Whether nobody holds the file; always so on servers.
    pub(crate) fn can_be_written(&self) -> bool {
        let asked = "PRAGMA busy_timeout = 100; BEGIN EXCLUSIVE; ROLLBACK;";
        self.product != Product::Sqlite || self.database.sql(asked).is_ok()
    }

    /// Waits until SQL answers that.
    #[track_caller]
    pub(crate) fn until(&self, sql: &str, answer: &str) {
        wait_for(&format!("`{sql}` answers {answer}"), || self.sql(sql) == answer);
    }

    /// A table of the ledger.
    pub(crate) fn ledger(&self, table: &str) -> String {
        match self.product {
            Product::Postgres | Product::Pgbouncer => format!("dunlin.{table}"),
            Product::Mysql | Product::Sqlite => format!("dunlin_{table}"),
        }
    }

    /// How often each version went up, in order: exactly once is a line `V 1` each.
    pub(crate) fn times_up(&self) -> Vec<(i64, i64)> {
        let rows = self.sql(&format!(
            "SELECT version, count(*) FROM {} WHERE event = 'up' GROUP BY kind, version ORDER BY 1",
            self.ledger("history")
        ));
        rows.lines()
            .map(|line| {
                let (version, count) = line.split_once(['|', '\t']).expect("two columns");
                (version.parse().expect("a version"), count.parse().expect("a count"))
            })
            .collect()
    }

    /// Somebody else at work on it.
    pub(crate) fn visitor(&self) -> Visitor {
        self.database.visitor()
    }

    /// A run that has not begun.
    pub(crate) fn command(&self, words: &str) -> Start {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(words.split_whitespace()).current_dir(self.root());
        for name in ["DUNLIN_ENV", "DUNLIN_FAILPOINT", "DUNLIN_FAILPOINT_ACTION", "CLICOLOR_FORCE"]
        {
            command.env_remove(name);
        }
        command.env("NO_COLOR", "1").env("DATABASE_URL", &self.url);
        Start { words: words.to_owned(), command }
    }

    /// Runs to the end.
    pub(crate) fn run(&self, words: &str) -> Ended {
        self.command(words).start().end()
    }

    /// Runs `migrate` until it dies at a failpoint.
    #[track_caller]
    pub(crate) fn die_at(&self, failpoint: &str) {
        let ended = self.command("migrate").variable("DUNLIN_FAILPOINT", failpoint).start().end();
        assert_eq!(ended.signal, Some(9), "{failpoint} was not reached\n{}", ended.all());
    }
}

/// Waits for a state.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < PATIENCE, "it never came that {what}");
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

/// A run that has not begun.
pub(crate) struct Start {
    words: String,
    command: Command,
}

impl Start {
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Leases of so many milliseconds, so that a test need not wait for the usual ones.
    pub(crate) fn lease(self, millis: u32) -> Self {
        self.variable("DUNLIN_LEASE_TTL_MS", &millis.to_string())
    }

    pub(crate) fn start(mut self) -> Run {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the program starts");
        let said = Arc::new(Said::default());
        let output = listen(child.stdout.take().expect("asked for"), None);
        let errors = listen(child.stderr.take().expect("asked for"), Some(Arc::clone(&said)));
        Run { words: self.words, child, said, readers: Some((output, errors)) }
    }
}

/// What a run has said on stderr so far.
#[derive(Default)]
struct Said {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

fn listen(stream: impl Read + Send + 'static, said: Option<Arc<Said>>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut all = String::new();
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let read = reader.read_until(b'\n', &mut line).unwrap_or(0);
            let line = String::from_utf8_lossy(&line);
            all.push_str(&line);
            if let Some(said) = &said {
                let mut text = said.text.lock().expect("nobody panics with it");
                text.0.push_str(&line);
                text.1 = read == 0;
                said.more.notify_all();
            }
            if read == 0 {
                return all;
            }
        }
    })
}

/// A run under way. Dropped, it is killed.
pub(crate) struct Run {
    words: String,
    child: Child,
    said: Arc<Said>,
    readers: Option<(JoinHandle<String>, JoinHandle<String>)>,
}

impl Run {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process number");
        kill_process(pid, signal).expect("it still runs");
    }

    /// Waits until it has said that on stderr.
    #[track_caller]
    pub(crate) fn until_says(&self, part: &str) {
        let began = Instant::now();
        let mut text = self.said.text.lock().expect("nobody panics with it");
        while !text.0.contains(part) {
            let ended = text.1;
            let left = PATIENCE.checked_sub(began.elapsed()).filter(|_| !ended);
            let Some(left) = left else {
                panic!("dunlin {} never said `{part}`:\n{}", self.words, text.0);
            };
            text = self.said.more.wait_timeout(text, left).expect("nobody panics with it").0;
        }
    }

    /// Waits until it has stopped itself, or been stopped.
    #[track_caller]
    pub(crate) fn until_stopped(&self) {
        wait_for("the run stops", || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
            let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            assert!(!state.starts_with('Z'), "it ended before it stopped:\n{}", self.said_so_far());
            state.starts_with('T')
        });
    }

    fn said_so_far(&self) -> String {
        self.said.text.lock().expect("nobody panics with it").0.clone()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let began = Instant::now();
        {
            let mut text = self.said.text.lock().expect("nobody panics with it");
            while !text.1 {
                let Some(left) = PATIENCE.checked_sub(began.elapsed()) else {
                    panic!("dunlin {} does not end:\n{}", self.words, text.0);
                };
                text = self.said.more.wait_timeout(text, left).expect("nobody panics with it").0;
            }
        }
        let status = self.child.wait().expect("a status");
        let (output, errors) = self.readers.take().expect("it ends once");
        Ended {
            words: self.words.clone(),
            code: status.code(),
            signal: status.signal(),
            stdout: output.join().expect("a reader"),
            stderr: errors.join().expect("a reader"),
        }
    }

    /// Kills it with `kill -9` and waits for its end.
    #[track_caller]
    pub(crate) fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.end()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Most have ended by themselves and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    words: String,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Stops the test unless it ended with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "dunlin {}\n{}", self.words, self.all());
        self
    }

    /// Stops the test unless it said that.
    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "`{part}` is not said:\n{}", self.all());
        self
    }

    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Makes a test of a function for each of these products, in a module of the function's name.
macro_rules! on_each {
    ($body:ident: $($product:ident),+) => {
        mod $body {
            $(
                #[test]
                fn $product() {
                    super::$body($crate::survive::world::named(stringify!($product)));
                }
            )+
        }
    };
}
pub(crate) use on_each;

/// The product of that name.
pub(crate) fn named(name: &str) -> Product {
    Product::ALL.into_iter().find(|product| product.as_str() == name).expect("a product")
}

/// A table with one number, which each change doubles: a change that is lost or made twice shows.
pub(crate) const ONE_NUMBER: &str =
    "CREATE TABLE t (id integer PRIMARY KEY, n bigint);\nINSERT INTO t VALUES (1, 1);\n";

/// The change. Modulo a prime, so that many of them fit.
pub(crate) const DOUBLE: &str = "UPDATE t SET n = (n * 2 + 1) % 1000003;\n";

/// The number after so many changes.
pub(crate) fn doubled(times: usize) -> String {
    (0..times).fold(1_i64, |n, _| (n * 2 + 1) % 1_000_003).to_string()
}

/// A statement that lasts as long as the table `pause` says when it begins.
pub(crate) fn pausing(product: Product) -> &'static str {
    match product {
        Product::Postgres | Product::Pgbouncer => "SELECT pg_sleep(seconds) FROM pause;\n",
        Product::Mysql => "SELECT SLEEP(seconds) FROM pause;\n",
        Product::Sqlite => {
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL \
             SELECT x + 1 FROM c WHERE x < (SELECT seconds * 1000000 FROM pause)) \
             SELECT max(x) FROM c;\n"
        }
    }
}

/// The table `pause`, which says: very long.
pub(crate) const PAUSE: &str =
    "CREATE TABLE pause (seconds integer);\nINSERT INTO pause VALUES (9000);\n";

/// How many statements made of [`pausing`] are at work.
pub(crate) fn pausing_now(product: Product) -> &'static str {
    match product {
        Product::Mysql => {
            "SELECT count(*) FROM information_schema.processlist \
             WHERE db = DATABASE() AND state = 'User sleep'"
        }
        _ => {
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event = 'PgSleep'"
        }
    }
}
