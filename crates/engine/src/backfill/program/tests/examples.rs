//! The programs of `docs/guides/row-code.md`, as they stand in `examples/row-code`.

use dunlin_model::Body;
use dunlin_project::folder;

use super::*;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/row-code")
}

/// Runs an example, unless what it needs is not on this machine.
async fn splits_names(command: &[&str], needs: &[&str]) {
    let found = std::process::Command::new(needs[0])
        .args(&needs[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("left out: `{}` does not run here", needs.join(" "));
        return;
    }
    let heard = Arc::new(Heard::default());
    let people = backfill_of(vec![
        column("name", "text", ValueForm::Text),
        column("first_name", "text", ValueForm::Text),
        column("last_name", "text", ValueForm::Text),
    ]);
    let person = |key: &str, name: Option<&str>| Row {
        key: Key(vec![key.to_owned()]),
        version: format!("v{key}"),
        values: vec![name.map(str::to_owned), None, None],
    };
    let job = job(&heard, Interrupt::never());
    let program = RowProgram::start(&job, &people, &code(command), &project(), &[]).await;
    let mut program = program.unwrap();
    let rows = [
        person("9007199254740993", Some("Ada Lovelace")),
        person("2", None),
        person("3", Some("Plato")),
        person("4", Some("Óscar de la Hoya 😀")),
        person("5", Some("\"Q\\ \t\u{1}\u{2028}z  ")),
    ];
    for _ in 0..2 {
        let mut answers = program.transform(&rows).await.unwrap();
        // Answers may come in any order, and so may the columns of one.
        answers.changes.sort_by(|a, b| a.key.cmp(&b.key));
        let changes: Vec<_> = answers
            .changes
            .iter_mut()
            .map(|change| {
                change.set.sort();
                let values: Vec<_> = change.set.iter().map(|(_, value)| value.as_deref()).collect();
                (change.key.0[0].as_str(), change.version.as_str(), values)
            })
            .collect();
        assert_eq!(
            changes,
            [
                ("4", "v4", vec![Some("Óscar"), Some("de la Hoya 😀")]),
                ("5", "v5", vec![Some("\"Q\\"), Some("\t\u{1}\u{2028}z  ")]),
                ("9007199254740993", "v9007199254740993", vec![Some("Ada"), Some("Lovelace")]),
            ]
        );
        let reason = "the name has no space".to_owned();
        assert_eq!(answers.rejected, [(Key(vec!["3".to_owned()]), reason)]);
    }
    program.end().await;
}

#[tokio::test]
async fn python() {
    splits_names(&["python3", "scripts/split_names.py"], &["python3", "--version"]).await;
}

#[tokio::test]
async fn ruby() {
    splits_names(&["ruby", "scripts/split_names.rb"], &["ruby", "-e", "require 'json'"]).await;
}

#[tokio::test]
async fn elixir() {
    splits_names(&["elixir", "scripts/split_names.exs"], &["elixir", "-e", "JSON.decode!(~s({}))"])
        .await;
}

#[tokio::test]
async fn jq() {
    splits_names(&["scripts/split_names.sh"], &["jq", "--version"]).await;
}

#[test]
fn the_migration_is_read_as_it_stands() {
    let folder = folder::read(&project(), None, Some(Path::new("data_migrations"))).unwrap();
    let file = folder.files.values().next().unwrap();
    let migration = file.parse(Dialect::Postgres).unwrap();
    let Body::Rows(rows) = migration.body else { panic!("no row code: {:?}", migration.body) };
    assert_eq!(rows.program.command[0], "python3");
    assert_eq!(rows.columns, ["name"]);
}

#[test]
fn the_guide_shows_them_word_for_word() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/row-code.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    for name in [
        "data_migrations/20260110094500_split_names.toml",
        "scripts/split_names.py",
        "scripts/split_names.rb",
        "scripts/split_names.exs",
        "scripts/split_names.sh",
    ] {
        let text = std::fs::read_to_string(project().join(name)).unwrap();
        assert!(guide.contains(&text), "docs/guides/row-code.md: {name} has changed");
    }
}

/// `cargo test --release -p dunlin-engine -- --ignored --nocapture a_million_rows`
#[tokio::test]
#[ignore = "a benchmark: it tells what a row costs us, and fails for nothing"]
async fn a_million_rows_cost_little() {
    const ECHO: &str = r#"
import sys
sys.stdin.buffer.readline()
write = sys.stdout.buffer.write
for line in sys.stdin.buffer:
    if line.startswith(b'{"chunk"'):
        write(line)
        sys.stdout.buffer.flush()
    else:
        write(line.replace(b'"row":', b'"set":', 1))
"#;
    let heard = Arc::new(Heard::default());
    let job = job(&heard, Interrupt::never());
    let table = backfill_of(vec![
        column("body", "text", ValueForm::Text),
        column("inserted_at", "timestamp without time zone", ValueForm::Text),
        column("published_at", "timestamp without time zone", ValueForm::Text),
    ]);
    let rows: Vec<Row> = (0..10_000)
        .map(|key| Row {
            key: Key(vec![key.to_string()]),
            version: "748".to_owned(),
            values: vec![
                Some("It is a truth universally acknowledged, that a".to_owned()),
                Some("2026-01-10 09:30:00.123456".to_owned()),
                None,
            ],
        })
        .collect();
    let program = code(&["python3", "-c", ECHO]);
    let program = RowProgram::start(&job, &table, &program, Path::new("."), &[]).await;
    let mut program = program.unwrap();
    let (began, cpu) = (Instant::now(), own_cpu_ticks());
    for _ in 0..100 {
        assert_eq!(program.transform(&rows).await.unwrap().changes.len(), rows.len());
    }
    let (took, cpu) = (began.elapsed(), own_cpu_ticks() - cpu);
    // A tick is 10 ms on every Linux there is: over a million rows 0.01 µs each.
    println!(
        "1,000,000 rows in {took:.2?}: {:.2} µs a row, {}.{:02} µs of our own CPU",
        took.as_secs_f64(),
        cpu / 100,
        cpu % 100
    );
    program.end().await;
}

/// User and system time of this process, without its children's.
fn own_cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    [11, 12].iter().filter_map(|&place| fields.get(place)?.parse::<u64>().ok()).sum()
}
