//! Real programs: shell for what they may do wrong, the examples' own code for what they do right.

use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use dunlin_model::{Column, Dialect, Directives, KeyColumn, Owner, Program, ValueForm, Version};
use dunlin_project::folder::Folder;

use super::*;
use crate::{Connector, ErrorKind, Purpose, Target, TargetError};

/// Nothing to connect to: a row program knows no database.
struct Nowhere;

#[async_trait]
impl Connector for Nowhere {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn describe(&self) -> String {
        "nowhere".to_owned()
    }

    fn url(&self) -> String {
        String::new()
    }

    fn secrets(&self) -> Vec<String> {
        vec!["hunter2".to_owned()]
    }

    async fn connect(&self, _purpose: Purpose) -> Result<Box<dyn Target>, TargetError> {
        Err(TargetError::new(ErrorKind::Unreachable, "nowhere"))
    }

    async fn create_database(&self) -> Result<bool, TargetError> {
        Ok(false)
    }

    async fn drop_database(&self) -> Result<bool, TargetError> {
        Ok(false)
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: Event<'_>) {
        if let Event::ProgramOutput { line, .. } = event {
            self.0.lock().unwrap().push(line.to_owned());
        }
    }
}

impl Heard {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn job(heard: &Arc<Heard>, interrupt: Interrupt) -> Job {
    Job {
        database: "app".to_owned(),
        connector: Arc::new(Nowhere),
        folder: Folder::default().into(),
        schema_history: None,
        ignore_history: true,
        policy: dunlin_project::plan::Policy::default(),
        limits: crate::job::Limits::default(),
        owner: Owner { id: String::new(), host: String::new(), pid: 0, identity: String::new() },
        command: "data run".to_owned(),
        program: String::new(),
        observer: heard.clone(),
        interrupt,
    }
}

fn code(command: &[&str]) -> RowCode {
    RowCode {
        program: Program {
            file: PathBuf::from("1_rows.toml"),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            directives: Directives::default(),
        },
        columns: Vec::new(),
        lock: false,
    }
}

fn column(name: &str, type_name: &str, form: ValueForm) -> Column {
    Column {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        form,
        nullable: true,
        generated: name == "slug",
        identity: false,
    }
}

fn backfill_of(columns: Vec<Column>) -> Backfill {
    Backfill {
        id: MigrationId::data(Version::new(1).unwrap()),
        pass: 1,
        table: "posts".to_owned(),
        shape: String::new(),
        key: vec![KeyColumn {
            name: "id".to_owned(),
            type_name: "bigint".to_owned(),
            descending: false,
            nullable: false,
        }],
        index: "posts_pkey".to_owned(),
        filter: None,
        finder: None,
        statements: Vec::new(),
        table_columns: columns.clone(),
        columns,
        capture: None,
        in_order: false,
        lock_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(600),
    }
}

/// A table with a column of each form.
pub(super) fn backfill() -> Backfill {
    backfill_of(vec![
        column("title", "text", ValueForm::Text),
        column("views", "bigint", ValueForm::Text),
        column("small", "integer", ValueForm::Integer),
        column("ratio", "double precision", ValueForm::Float),
        column("shown", "boolean", ValueForm::Boolean),
        column("raw", "bytea", ValueForm::Bytes),
        column("slug", "text", ValueForm::Text),
    ])
}

/// A row of that table, with version `v` and its key.
pub(super) fn row(key: &str) -> Row {
    Row {
        key: Key(vec![key.to_owned()]),
        version: format!("v{key}"),
        values: [
            Some("zażółć \"x\""),
            Some("9007199254740993"),
            Some("-5"),
            Some("1.5e-07"),
            Some("true"),
            Some("00ff10"),
            None,
        ]
        .map(|value| value.map(str::to_owned))
        .to_vec(),
    }
}

async fn start(command: &[&str]) -> (Result<RowProgram, ProgramError>, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let job = job(&heard, Interrupt::never());
    let root = Path::new(".");
    (RowProgram::start(&job, &backfill(), &code(command), root, &[]).await, heard)
}

async fn shell(script: &str) -> (RowProgram, Arc<Heard>) {
    let (program, heard) = start(&["sh", "-c", script]).await;
    (program.unwrap(), heard)
}

/// What a program's error says, without the program's own name.
async fn error_of(script: &str, rows: &[Row]) -> (ProgramErrorKind, String) {
    let (mut program, _) = shell(script).await;
    let error = program.transform(rows).await.unwrap_err();
    let told = error.message.strip_prefix(&format!("`sh -c {script}`: ")).unwrap();
    (error.kind, told.to_owned())
}

/// Reads the header and all lines of a chunk, and gives the chunk's line back.
const SILENT: &str =
    r#"while read -r line; do case $line in '{"chunk"'*) echo "$line";; esac; done"#;

#[tokio::test]
async fn rows_that_are_not_answered_stay_as_they_are() {
    let (mut program, _) = shell(SILENT).await;
    for _ in 0..3 {
        let answers = program.transform(&[row("1"), row("2")]).await.unwrap();
        assert_eq!(answers.changes, []);
        assert_eq!(answers.rejected, []);
        assert!(answers.bytes > 0);
    }
    assert!(program.transform(&[]).await.unwrap().changes.is_empty());
    program.end().await;
}

#[tokio::test]
async fn a_program_sees_the_header_and_the_rows_and_its_words_are_told() {
    let script = r#"read -r header; echo "$header" >&2; echo "password hunter2" >&2
        read -r row; echo "$row" >&2; read -r end; echo "$end"; read -r rest; echo "$rest" >&2"#;
    let (mut program, heard) = shell(script).await;
    program.transform(&[row("17")]).await.unwrap();
    program.end().await;
    let lines = heard.lines();
    assert!(lines[0].starts_with(r#"{"dunlin":1,"table":"posts","#), "{lines:?}");
    assert_eq!(lines[1], "password ***");
    assert_eq!(
        lines[2],
        r#"{"key":["17"],"row":{"title":"zażółć \"x\"","views":"9007199254740993","small":-5,"ratio":1.5e-07,"shown":true,"raw":"AP8Q","slug":null}}"#
    );
    assert_eq!(lines[3..], [""]);
}

#[tokio::test]
async fn answers_may_come_while_rows_are_still_sent_or_all_at_the_end() {
    let rows: Vec<Row> = (0..20_000).map(|key| row(&key.to_string())).collect();
    // Far more than pipes hold, both ways.
    let at_once = r#"exec sed -u -n -e 's/^\({"key":\[[^]]*\],\)"row":\({.*\),"slug":null}}$/\1"set":\2}}/p' -e '/^{"chunk"/p'"#;
    let (mut program, _) = shell(at_once).await;
    for _ in 0..2 {
        let answers = program.transform(&rows).await.unwrap();
        assert_eq!(answers.changes.len(), rows.len());
        for (change, row) in answers.changes.iter().zip(&rows) {
            assert_eq!((&change.key, &change.version), (&row.key, &row.version));
            let values: Vec<_> = change.set.iter().map(|(_, value)| value.clone()).collect();
            assert_eq!(values, row.values[..6]);
        }
    }
    program.end().await;

    let mut large = row("1");
    large.values[0] = Some("ä\n\"".repeat(1_000_000));
    let rows_of_one = [large];
    let answers = shell(at_once).await.0.transform(&rows_of_one).await.unwrap();
    assert_eq!(answers.changes[0].set[0].1, rows_of_one[0].values[0]);

    let at_the_end = r#"exec awk '/^{"chunk"/ { for (i = n; i > 0; i--) print kept[i]; n = 0; print; fflush(); next }
        /^{"key"/ { sub(/"row":.*/, "\"reject\":\"password hunter2\"}"); kept[++n] = $0 }'"#;
    let (mut program, _) = shell(at_the_end).await;
    let answers = program.transform(&rows).await.unwrap();
    assert_eq!(answers.rejected.len(), rows.len());
    assert_eq!(answers.rejected[0], (Key(vec!["19999".to_owned()]), "password ***".to_owned()));
    program.end().await;
}

#[tokio::test]
async fn a_program_that_does_not_start_is_told() {
    let (program, _) = start(&["no-such-program-hunter2"]).await;
    let error = program.err().unwrap();
    assert_eq!(error.kind, ProgramErrorKind::Start);
    assert!(error.message.starts_with("`no-such-program-***` could not be started"), "{error}");
}

#[tokio::test]
async fn an_end_in_the_middle_is_told_with_its_place_and_its_last_words() {
    let (mut program, heard) = shell(
        r#"read -r header; read -r row; echo '{"key":["1"],"set":{}}'; echo "no memory" >&2; exit 3"#,
    )
    .await;
    let rows: Vec<Row> = (0..20_000).map(|key| row(&key.to_string())).collect();
    let error = program.transform(&rows).await.unwrap_err();
    assert_eq!(error.kind, ProgramErrorKind::Died);
    assert!(
        error.message.ends_with(
            "it ended with exit code 3 in the middle of chunk 1, after line 1 of its output"
        ),
        "{error}"
    );
    assert_eq!(heard.lines(), ["no memory"]);
    let error = program.transform(&rows).await.unwrap_err();
    assert_eq!(error.kind, ProgramErrorKind::Died);
}

#[tokio::test]
async fn ends_of_other_kinds_are_told() {
    for (script, told) in [
        ("exit 0", "it ended (exit code 0) in the middle of chunk 1, before it wrote a line"),
        (
            "kill -9 $$",
            "it was killed by signal 9 in the middle of chunk 1, before it wrote a line",
        ),
        (
            "read -r header; exec >&-; exec sleep 600",
            "it closed its standard output, and did not end, in the middle of chunk 1, before it \
             wrote a line",
        ),
    ] {
        let error = error_of(script, &[row("1")]).await;
        assert_eq!(error, (ProgramErrorKind::Died, told.to_owned()));
    }
    let rows: Vec<Row> = (0..20_000).map(|key| row(&key.to_string())).collect();
    let error = error_of("exec <&-; exec sleep 600", &rows).await;
    assert_eq!(error.0, ProgramErrorKind::Died);
    assert!(error.1.starts_with("it closed its standard input, and did not end"), "{}", error.1);
}

#[tokio::test]
async fn wrong_answers_are_told_with_their_line() {
    let answering = |answer: &str| format!("read -r h; read -r r; read -r c; {answer}; cat");
    for (answer, told) in [
        (r#"echo Hello"#, "line 1 of its output is not JSON, at byte 1; standard output is for"),
        (
            r#"echo '{"key":["1"],"set":{}}'; echo '{"key":["1"],"set":{}}'"#,
            "line 2 of its output is a second answer for one row",
        ),
        (
            r#"echo '{"key":["3"],"set":{}}'"#,
            "line 1 of its output has a key that no row of chunk 1 has",
        ),
        (
            r#"printf '{"chunk":1}\n{"key":["1"],"set":{}}\n'"#,
            "line 2 of its output belongs to no chunk",
        ),
        (r#"head -c 70000000 /dev/zero"#, "line 1 of its output is longer than 64 MiB"),
    ] {
        let (kind, error) = error_of(&answering(answer), &[row("1")]).await;
        assert_eq!(kind, ProgramErrorKind::Protocol);
        assert!(error.starts_with(told), "{error}");
    }
}

#[tokio::test]
async fn an_end_before_its_time_is_told() {
    let rows: Vec<Row> = (0..20_000).map(|key| row(&key.to_string())).collect();
    let (kind, error) =
        error_of(r#"read -r h; read -r r; echo '{"chunk":1}'; exec sleep 600"#, &rows).await;
    assert_eq!(kind, ProgramErrorKind::Protocol);
    assert_eq!(error, "line 1 of its output ends a chunk whose end it had not been given yet");
}

#[tokio::test]
async fn a_late_answer_is_not_taken_for_the_next_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let script = format!(
        r#"read -r h; read -r r; read -r c; echo "$c"; read -r go < {0}
        echo '{{"key":["1"],"set":{{}}}}'; echo done > {0}; cat"#,
        told.display()
    );
    let made = std::process::Command::new("mkfifo").arg(&told).status().unwrap();
    assert!(made.success());
    let (mut program, _) = shell(&script).await;
    program.transform(&[row("1")]).await.unwrap();
    let written = tokio::task::spawn_blocking(move || {
        std::fs::write(&told, "go\n").unwrap();
        std::fs::read_to_string(&told).unwrap()
    });
    assert_eq!(written.await.unwrap(), "done\n");
    let error = program.transform(&[row("1")]).await.unwrap_err();
    assert!(error.message.contains("line 2 of its output belongs to no chunk"), "{error}");
}

#[tokio::test]
async fn a_program_that_says_nothing_is_ended_after_its_time() {
    let heard = Arc::new(Heard::default());
    let job = job(&heard, Interrupt::never());
    let mut code = code(&["sh", "-c", "exec sleep 600"]);
    code.program.directives.statement_timeout = Some(Duration::from_millis(50));
    let program = RowProgram::start(&job, &backfill(), &code, Path::new("."), &[]).await;
    let error = program.unwrap().transform(&[row("1")]).await.unwrap_err();
    assert_eq!(error.kind, ProgramErrorKind::TimedOut);
    assert!(
        error.message.ends_with(
            "it took longer than its statement-timeout of 50ms in chunk 1, before it wrote a line"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_second_ctrl_c_ends_it_at_once() {
    let heard = Arc::new(Heard::default());
    let (urgency, interrupt) = Interrupt::channel();
    let job = job(&heard, interrupt);
    let code = code(&["sh", "-c", "echo ready >&2; exec sleep 600"]);
    let program = RowProgram::start(&job, &backfill(), &code, Path::new("."), &[]).await;
    let mut program = program.unwrap();
    urgency.send(Urgency::Finish).unwrap();
    let rows = [row("1")];
    let (error, ()) = tokio::join!(program.transform(&rows), async {
        while heard.lines().is_empty() {
            tokio::task::yield_now().await;
        }
        urgency.send(Urgency::Abort).unwrap();
    });
    assert_eq!(error.unwrap_err().kind, ProgramErrorKind::Interrupted);
}

#[tokio::test]
async fn what_it_started_ends_with_it() {
    // The grandchild holds the fifo open for as long as it lives.
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("alive");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let script = format!("sleep 600 > {} & {SILENT}", fifo.display());
    let (mut program, _) = shell(&script).await;
    let open = tokio::task::spawn_blocking(move || std::fs::File::open(fifo).unwrap());
    let alive = open.await.unwrap();
    program.transform(&[row("1")]).await.unwrap();
    drop(program);
    let ended = tokio::task::spawn_blocking(move || std::io::read_to_string(alive).unwrap());
    assert_eq!(ended.await.unwrap(), "");
}

#[tokio::test]
async fn a_program_that_does_not_end_is_ended() {
    let heard = Arc::new(Heard::default());
    let mut job = job(&heard, Interrupt::never());
    job.limits.grace = Duration::from_millis(50);
    let script = format!("trap '' TERM; {SILENT}; while :; do sleep 600; done");
    let code = code(&["sh", "-c", &script]);
    let program = RowProgram::start(&job, &backfill(), &code, Path::new("."), &[]).await;
    let mut program = program.unwrap();
    program.transform(&[row("1")]).await.unwrap();
    let leader = program.child.id().unwrap();
    program.end().await;
    assert!(!Path::new(&format!("/proc/{leader}")).exists());
}

mod examples;
