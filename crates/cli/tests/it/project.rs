//! A project in a folder of its own, and the real program run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with a `dunlin.toml` for a SQLite database, and migrations as a test wants them.
pub(crate) struct Project {
    folder: TempDir,
}

pub(crate) const CREATE_POSTS: &str = "CREATE TABLE posts (id integer PRIMARY KEY, title text, views integer);\n\
     INSERT INTO posts VALUES (1, 'One', 1), (2, 'Two', 2), (3, 'Three', 3);\n";

impl Project {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// With settings: schema and data migrations in one order.
    pub(crate) fn new() -> Self {
        let project = Self::empty();
        project
            .write("dunlin.toml", "data = \"auto\"\n\n[databases.app]\nurl = \"sqlite:app.db\"\n");
        project.write("migrations/README.md", "");
        project.write("data_migrations/README.md", "");
        project
    }

    /// With three migrations: a table, a column, and a data migration that fills it.
    pub(crate) fn with_posts() -> Self {
        let project = Self::new();
        project.write("migrations/1_create_posts.up.sql", CREATE_POSTS);
        project.write("migrations/1_create_posts.down.sql", "DROP TABLE posts;\n");
        project.write("migrations/2_add_slug.up.sql", "ALTER TABLE posts ADD COLUMN slug text;\n");
        project.write("migrations/2_add_slug.down.sql", "ALTER TABLE posts DROP COLUMN slug;\n");
        project.write(
            "data_migrations/3_fill_slug.sql",
            "-- dunlin: after 2\nUPDATE posts SET slug = lower(title);\n",
        );
        project
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// Writes a program with its run bit.
    pub(crate) fn write_program(&self, file: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.write(file, text);
        let permissions = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(file), permissions).expect("set");
    }

    pub(crate) fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).expect("removed");
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).expect("read")
    }

    /// The files of a folder of the project, sorted.
    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(folder))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Runs the program in the project.
    pub(crate) fn run(&self, words: &str) -> Ran {
        self.run_with(words, &[])
    }

    /// Runs the program in the project with environment variables.
    pub(crate) fn run_with(&self, words: &str, variables: &[(&str, &str)]) -> Ran {
        let words: Vec<&str> = words.split_whitespace().collect();
        self.run_words(&words, variables)
    }

    /// Runs the program with words that may hold spaces.
    pub(crate) fn run_words(&self, words: &[&str], variables: &[(&str, &str)]) -> Ran {
        self.run_in(self.folder.path(), words, variables)
    }

    /// Starts the program and does not wait for it.
    pub(crate) fn start(&self, words: &str) -> Started {
        self.start_with(words, &[])
    }

    /// Starts the program with environment variables and does not wait for it.
    pub(crate) fn start_with(&self, words: &str, variables: &[(&str, &str)]) -> Started {
        let list: Vec<&str> = words.split_whitespace().collect();
        let mut command = Self::command(self.folder.path(), &list, variables);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Started { words: words.to_owned(), child: command.spawn().expect("the program starts") }
    }

    fn run_in(&self, folder: &Path, words: &[&str], variables: &[(&str, &str)]) -> Ran {
        let output = Self::command(folder, words, variables).output().expect("the program starts");
        Ran { words: words.join(" "), output }
    }

    fn command(folder: &Path, words: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(words).current_dir(folder).stdin(Stdio::null());
        for name in ["DATABASE_URL", "DUNLIN_ENV", "DUNLIN_FAILPOINT", "CLICOLOR_FORCE", "NO_COLOR"]
        {
            command.env_remove(name);
        }
        command.env("COLUMNS", "100").envs(variables.iter().copied());
        command
    }
}

/// A program at work.
pub(crate) struct Started {
    words: String,
    child: Child,
}

impl Started {
    /// Asks it to stop, as Ctrl-C and a container's end do.
    pub(crate) fn terminate(&self) {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let id = id.expect("a process id");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it is there");
    }

    pub(crate) fn end(self) -> Ran {
        let output = self.child.wait_with_output().expect("it ends");
        Ran { words: self.words, output }
    }
}

/// What a run printed, and how it ended.
pub(crate) struct Ran {
    words: String,
    output: Output,
}

impl Ran {
    pub(crate) fn code(&self) -> i32 {
        self.output.status.code().expect("it ended by itself")
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).expect("stdout is UTF-8")
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).expect("stderr is UTF-8")
    }

    /// Stops the test unless it ended with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "dunlin {}\n{}{}", self.words, self.stdout(), self.stderr());
        self
    }

    /// Stops the test unless a signal ended it, as at a failpoint.
    #[track_caller]
    pub(crate) fn was_killed(&self) {
        let ended = self.output.status;
        assert!(
            ended.code().is_none(),
            "dunlin {}\n{}{}",
            self.words,
            self.stdout(),
            self.stderr()
        );
    }

    /// Everything, for a snapshot.
    pub(crate) fn all(&self) -> String {
        let mut text = format!("$ dunlin {}\n", self.words);
        for (name, stream) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            if !stream.is_empty() {
                text.push_str(&format!("--- {name}\n{stream}"));
            }
        }
        text + &format!("--- exit code {}\n", self.code())
    }
}

/// Several runs in one snapshot.
pub(crate) fn story(runs: &[Ran]) -> String {
    runs.iter().map(Ran::all).collect::<Vec<_>>().join("\n")
}

/// Compares with the stored text, without what differs from run to run.
macro_rules! snapshot {
    ($name:literal, $project:expr, $text:expr) => {{
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let folder = $project.path("");
        let folder = folder.to_string_lossy();
        let folder = folder.trim_end_matches('/').replace('.', r"\.");
        settings.add_filter(&format!("(/private)?{folder}"), "[PROJECT]");
        settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "[AT]");
        settings.add_filter(r"\b\d+(\.\d)? m?s( {2,})", "[TIME]  ");
        settings.add_filter(r"\b\d+(\.\d)? m?s\b", "[TIME]");
        settings.add_filter(r"SQLite 3\.\d+\.\d+", "SQLite [VERSION]");
        settings.add_filter(r#""(duration_ms|finished_at|remaining_ms)": \d+"#, "\"$1\": [NUMBER]");
        settings.add_filter(r"dunlin:[0-9a-f-]{36}:", "dunlin:[LEDGER]:");
        settings.add_filter(r"\b2\d{13}_", "[VERSION]_");
        // The column of times, where it is empty, is as wide as the longest time.
        settings.add_filter(r"(\S) {26,}", "$1  [NEVER]  ");
        settings.bind(|| insta::assert_snapshot!($name, $text));
    }};
}
pub(crate) use snapshot;
