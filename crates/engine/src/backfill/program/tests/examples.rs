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
