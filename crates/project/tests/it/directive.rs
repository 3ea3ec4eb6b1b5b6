//! The grammar of `docs/reference/directives.md`, word by word.

use std::fs;
use std::path::Path;
use std::time::Duration;

use dunlin_model::{
    Chunking, Diagnostic, Dialect, Directives, Kind, MigrationId, OnError, Reference,
};
use dunlin_project::directive::{Subject, WORDS, of_program, of_sql, reference};
use dunlin_project::folder::MigrationFile;

const EVERY: [Subject; 5] =
    [Subject::SchemaUp, Subject::SchemaDown, Subject::DataSql, Subject::Program, Subject::Rows];

fn read(text: &str, subject: Subject) -> Result<Directives, Vec<Diagnostic>> {
    match subject {
        Subject::Program => of_program(Path::new("d/1_a.rb"), text),
        _ => of_sql(Path::new("m/1_a.sql"), text, subject),
    }
}

/// One directive, in the subject's own form, with what it needs.
fn one(directive: &str, subject: Subject) -> Result<Directives, Vec<Diagnostic>> {
    let name = directive.split(' ').next().unwrap_or_default();
    let repeats = name == "repeat";
    if subject == Subject::Rows {
        let rest = directive[name.len()..].trim();
        let value = match rest {
            "" => "true".to_owned(),
            quoted if quoted.starts_with('"') => quoted.to_owned(),
            rest => format!("\"{rest}\""),
        };
        let more = if repeats { "done-when = \"SELECT 1\"\n" } else { "" };
        return rows(&format!("[migration]\n{name} = {value}\n{more}"));
    }
    let needs_chunks = WORDS.iter().any(|word| word.name == name && word.needs_chunks());
    if subject == Subject::DataSql && needs_chunks {
        let more = if repeats { "-- dunlin: done-when SELECT 1\n" } else { "" };
        let text = format!("-- dunlin: chunk-by posts\n{more}-- dunlin: {directive}\nSELECT 1;\n");
        return read(&text, subject);
    }
    let marker = if subject == Subject::Program { "#" } else { "--" };
    read(&format!("{marker} dunlin: {directive}\nSELECT 1;\n"), subject)
}

/// The header of row code, from its `.toml` beside `[rows]` and `[program]`.
fn rows(text: &str) -> Result<Directives, Vec<Diagnostic>> {
    let text = format!("{text}\n[rows]\ntable = \"posts\"\n[program]\ncommand = [\"a\"]\n");
    let file = MigrationFile {
        id: MigrationId::data("1".parse().expect("a version")),
        name: "a".into(),
        up: "d/1_a.toml".into(),
        bytes: text.into_bytes(),
        checksum: String::new(),
        down: None,
        program: true,
        root: "/srv/app".into(),
    };
    file.parse(Dialect::Postgres).map(|migration| migration.directives().clone())
}

fn data_sql(text: &str) -> Directives {
    read(text, Subject::DataSql).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

/// What is said of chunks beside `chunk-by posts`.
fn chunking(words: &str) -> Chunking {
    let text = format!("-- dunlin: chunk-by posts\n-- dunlin: {words}\nSELECT 1;");
    *data_sql(&text).chunking.expect("chunks")
}

fn up(text: &str) -> Directives {
    read(text, Subject::SchemaUp).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
}

/// The single error of a schema migration.
fn error(text: &str) -> Diagnostic {
    let mut errors = read(text, Subject::SchemaUp).expect_err(text);
    assert_eq!(errors.len(), 1, "{text}: {errors:?}");
    errors.remove(0)
}

fn version(text: &str) -> Reference {
    Reference { kind: None, text: text.to_owned() }
}

fn data(text: &str) -> Reference {
    Reference { kind: Some(Kind::Data), text: text.to_owned() }
}

#[test]
fn every_word_reads_its_example_where_it_belongs_and_nowhere_else() {
    for word in WORDS {
        for subject in EVERY {
            let read = one(word.example, subject);
            if word.subjects.contains(&subject) {
                let read = read.unwrap_or_else(|errors| panic!("{}: {errors:?}", word.name));
                let without = match subject {
                    Subject::Rows => rows("").expect("valid"),
                    Subject::DataSql if word.needs_chunks() => {
                        data_sql("-- dunlin: chunk-by posts\n-- dunlin: done-when SELECT 1")
                    }
                    _ => Directives::default(),
                };
                // The default, said aloud, is the one value that sets nothing.
                assert_ne!(read, without, "{} sets nothing", word.name);
            } else {
                let errors = read.expect_err(word.name);
                assert_eq!(errors[0].rule, "directive-not-here");
                assert!(errors[0].message.contains(subject.title()), "{}", errors[0]);
                assert!(errors[0].help.as_ref().is_some_and(|help| help.contains("it belongs in")));
            }
        }
    }
}

#[test]
fn the_pages_are_what_the_program_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let mut old = Vec::new();
    for (name, page) in [
        ("directives.md", reference()),
        ("configuration.md", dunlin_project::settings::reference()),
        ("dunlin.schema.json", format!("{:#}\n", dunlin_project::settings::json_schema())),
    ] {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&fresh, &page).expect("the target folder can be written");
        let written = fs::read_to_string(folder.join(name)).unwrap_or_default();
        if written != page {
            old.push(format!("docs/reference/{name} is old; the new one is {}", fresh.display()));
        }
    }
    assert!(old.is_empty(), "{old:#?}");
    for word in WORDS {
        assert!(reference().contains(&format!("### `{}", word.name)));
        assert!(reference().contains(&format!("`dunlin: {}`", word.example)));
    }
}

#[test]
fn flags_and_durations() {
    let read = up("-- dunlin: no-transaction\n-- dunlin: lock-timeout 2s\n\n-- why\n\
                   -- dunlin: statement-timeout 1h 30min\nSELECT 1;");
    assert!(read.no_transaction);
    assert_eq!(read.lock_timeout, Some(Duration::from_secs(2)));
    assert_eq!(read.statement_timeout, Some(Duration::from_secs(5400)));
    assert!(up("-- dunlin: foreign-keys off").foreign_keys_off);
    for wrong in [
        "no-transaction please",
        "lock-timeout",
        "lock-timeout 2",
        "lock-timeout 0s",
        "lock-timeout soon",
        "foreign-keys",
        "foreign-keys on",
        "environments",
        "environments a,b",
        "disabled",
        "disabled reason",
        "disabled \"\"",
        "disabled \"open",
    ] {
        let found = error(&format!("-- dunlin: {wrong}\nSELECT 1;"));
        assert_eq!(found.rule, "malformed-directive", "{wrong}");
        assert_eq!(found.place.and_then(|place| place.line), Some(1), "{wrong}");
    }
}

#[test]
fn references_of_every_form() {
    let read = up("-- dunlin: after 20260110093000 blog.0003_split_names\n\
                   -- dunlin+ data 7 8\n-- dunlin: after \"odd name\"\n-- dunlin: after 0009");
    let expected =
        [version("20260110093000"), version("blog.0003_split_names"), data("7"), data("8")];
    assert_eq!(read.after[..4], expected);
    assert_eq!(read.after[4..], [version("odd name"), version("0009")]);
    let read = up("-- dunlin: requires data 1 2\n-- dunlin: requires data 3 1\n\
                   -- dunlin: independent-of data 4");
    assert_eq!(read.requires, [data("1"), data("2"), data("3")]);
    assert_eq!(read.independent_of, [data("4")]);
    for (wrong, message) in [
        ("after", "a version is missing"),
        ("after data", "missing after `data`"),
        ("after 1, 2", "without commas"),
        ("after data ae1027a6acf", "is not a version"),
        ("after 99999999999999999999", "too large"),
        ("after a;b", "is not a version"),
        ("requires 3", "requires data 3"),
        ("requires schema 3", "requires data 3"),
        ("independent-of 3", "independent-of data 3"),
    ] {
        let found = error(&format!("-- dunlin: {wrong}"));
        assert!(found.message.contains(message), "{wrong}: {found}");
    }
}

#[test]
fn names_reasons_and_programs() {
    let read = of_program(
        Path::new("d/1_a.js"),
        "#!/usr/bin/env node\n\n// dunlin: environments production staging\n// dunlin: manual\n\
         // dunlin: disabled \"not \\\"yet\\\"\"\n// dunlin: keep-output\nrun();\n",
    )
    .expect("valid");
    assert_eq!(read.environments, ["production", "staging"]);
    assert_eq!(read.disabled.as_deref(), Some("not \"yet\""));
    assert!(read.manual && read.keep_output);
    let errors =
        of_program(Path::new("d/1_a.rb"), "puts 1\n# dunlin: manual\n").expect_err("below");
    assert_eq!(errors[0].rule, "misplaced-directive");
    assert_eq!(
        of_program(Path::new("d/1_a.rb"), "puts 1\n# Dunlin: prose\n"),
        Ok(Directives::default())
    );
}

#[test]
fn unknown_and_repeated_words() {
    let found = error("-- dunlin: lock-timout 2s");
    assert_eq!(found.rule, "unknown-directive");
    assert_eq!(found.help.as_deref(), Some("did you mean `lock-timeout`?"));
    assert_eq!(found.place.and_then(|place| place.column), Some(12));
    assert!(
        error("-- dunlin: Lock-Timeout 2s").help.is_some_and(|help| help.contains("lock-timeout"))
    );
    assert!(error("-- dunlin: bananas").help.is_some_and(|help| help.contains("`no-transaction`")));
    assert_eq!(error("-- dunlin:").message, "a directive without a word");
    let found = error("-- dunlin: lock-timeout 2s\n-- dunlin: lock-timeout 3s");
    assert_eq!(found.rule, "duplicate-directive");
    assert!(found.message.contains("line 1"), "{found}");
}

#[test]
fn every_error_is_found_at_once() {
    let errors = read(
        "-- dunlin: a\n-- dunlin: manual\n--dunlin: b\nSELECT 1;\n-- dunlin: c",
        Subject::SchemaUp,
    )
    .expect_err("four errors");
    let rules: Vec<&str> = errors.iter().map(|error| error.rule).collect();
    assert_eq!(
        rules,
        ["unknown-directive", "directive-not-here", "malformed-directive", "misplaced-directive"]
    );
}

#[test]
fn nearly_a_directive_is_refused_with_the_right_form() {
    for near in [
        "--dunlin: no-transaction",
        "-- Dunlin: no-transaction",
        "-- dunlin:no-transaction",
        "-- dunlin no-transaction",
        "-- dunlni: no-transaction",
        "--- dunlin: no-transaction",
        "# dunlin: no-transaction",
        "#dunlin: no-transaction",
        "/* dunlin: no-transaction */",
        "/*\n * dunlin: no-transaction\n */",
    ] {
        let found = error(&format!("{near}\nSELECT 1;"));
        assert_eq!(found.rule, "malformed-directive", "{near}");
        assert!(
            found.help.as_ref().is_some_and(|help| help.contains("`-- dunlin: no-transaction`")),
            "{near}: {found}"
        );
    }
    for prose in ["-- Dunlin runs this at night", "/* -- dunlin: manual */", "-- see dunlin"] {
        assert_eq!(up(prose), Directives::default(), "{prose}");
    }
}

#[test]
fn continuations_must_adjoin() {
    let read = up("-- dunlin: after\n-- dunlin+ 3\n-- dunlin+ 4");
    assert_eq!(read.after, [version("3"), version("4")]);
    for text in [
        "-- dunlin+ 3",
        "-- dunlin: after 3\n-- prose\n-- dunlin+ 4",
        "-- dunlin: after 3\n\n-- dunlin+ 4",
    ] {
        assert!(error(text).message.contains("continues no directive"), "{text}");
    }
}

#[test]
fn below_the_first_statement() {
    for text in [
        "SELECT 1;\n-- dunlin: no-transaction\n",
        "SELECT 1; -- dunlin: no-transaction",
        "CREATE TABLE a (\n  -- dunlin: no-transaction\n  b int);",
        "SELECT 'it''s';\n--dunlin: no-transaction",
    ] {
        assert_eq!(error(text).rule, "misplaced-directive", "{text}");
    }
    for text in [
        "INSERT INTO a VALUES ('\n-- dunlin: no-transaction\n');",
        "DO $x$ BEGIN\n-- dunlin: no-transaction\nEND $x$;",
        "SELECT 1; /*\n-- dunlin: no-transaction\n*/",
    ] {
        assert_eq!(up(text), Directives::default(), "{text}");
    }
}

#[test]
fn windows_files_and_odd_white_space() {
    let read = up(
        "\u{feff}\r\n\t-- dunlin:\tlock-timeout   2s\r\n-- dunlin: no-transaction\r\nSELECT 1;\r\n",
    );
    assert_eq!(read.lock_timeout, Some(Duration::from_secs(2)));
    assert!(read.no_transaction);
}

#[test]
fn sqlx_says_no_transaction_in_its_own_way() {
    assert!(up("-- no-transaction\nCREATE INDEX CONCURRENTLY a ON b (c);").no_transaction);
    assert!(up("-- no-transaction\n-- dunlin: no-transaction\nSELECT 1").no_transaction);
    assert!(!up("-- no-transactions here\nSELECT 1").no_transaction);
    assert!(!up("-- why\n-- no-transaction\nSELECT 1").no_transaction);
}

#[test]
fn two_way_files_of_other_tools_are_refused() {
    for (text, tool) in [
        ("-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 2;", "goose"),
        ("-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;", "dbmate"),
        ("SELECT 1;\n---- create above / drop below ----\nSELECT 2;", "tern"),
        ("-- Up Migration\nSELECT 1;\n-- Down Migration\nSELECT 2;", "node-pg-migrate"),
    ] {
        let found = error(text);
        assert_eq!(found.rule, "other-tool-format");
        assert!(found.message.contains(tool), "{found}");
    }
}

#[test]
fn sizes_times_and_counts_of_chunks() {
    let read = data_sql(
        "-- dunlin: chunk-by app.\"Posts\"\n-- dunlin: chunk-key tenant_id, id\n\
         -- dunlin: chunk-rows 5000\n-- dunlin: chunk-bytes 16MB\n-- dunlin: chunk-time 500ms\n\
         -- dunlin: workers 2\n-- dunlin: rate 5000 rows/s\n-- dunlin: on-error quarantine\n\
         -- dunlin: undo capture for 14 days\n-- dunlin: repeat until-done max 5\n\
         -- dunlin: background\n-- dunlin: done-when SELECT 1\nSELECT 1;",
    );
    assert!(read.background);
    assert_eq!(read.done_when.as_deref(), Some("SELECT 1"));
    let expected = Chunking {
        key: vec!["tenant_id".into(), "id".into()],
        rows: Some(5000),
        bytes: Some(16_000_000),
        time: Some(Duration::from_millis(500)),
        workers: Some(2),
        rate: Some(5000),
        on_error: OnError::Quarantine,
        undo: Some(Duration::from_secs(14 * 24 * 60 * 60)),
        rounds: 5,
        ..Chunking::by("app.\"Posts\"")
    };
    assert_eq!(read.chunking.as_deref(), Some(&expected));
    assert_eq!(chunking("chunk-key tenant_id id").key, ["tenant_id", "id"]);
    assert_eq!(chunking("chunk-bytes 512 KiB").bytes, Some(524_288));
    assert_eq!(chunking("rate 10/s").rate, Some(10));
    assert_eq!(chunking("rate 10 /s").rate, Some(10));
    assert_eq!(chunking("undo capture for 36h").undo, Some(Duration::from_secs(129_600)));
    assert_eq!(chunking("on-error stop"), Chunking::by("posts"));
    for wrong in [
        "chunk-by",
        "chunk-key",
        "chunk-key \"a",
        "chunk-where",
        "chunk-rows 0",
        "chunk-rows 1000001",
        "chunk-rows many",
        "chunk-rows 1 2",
        "chunk-bytes 16",
        "chunk-bytes 2TB",
        "chunk-bytes 999GB",
        "chunk-time 500",
        "chunk-time 11min",
        "workers",
        "workers 0",
        "workers 65",
        "workers two",
        "rate 5000",
        "rate fast",
        "rate 0/s",
        "rate 5 bytes/s",
        "on-error",
        "on-error skip",
        "undo",
        "undo capture",
        "undo capture for",
        "undo capture for ever",
        "undo capture for 2 months",
        "undo keep for 2 days",
        "repeat 5",
        "repeat until-done",
        "repeat until-done max 1",
        "repeat until-done max 101",
        "background now",
        "done-when",
    ] {
        let by = if wrong == "chunk-by" { "" } else { "-- dunlin: chunk-by posts\n" };
        let more = if wrong.starts_with("repeat") { "-- dunlin: done-when SELECT 1\n" } else { "" };
        let text = format!("{by}{more}-- dunlin: {wrong}\nSELECT 1;");
        let errors = read_data(&text).expect_err(wrong);
        assert_eq!(errors.len(), 1, "{wrong}: {errors:?}");
        assert_eq!(errors[0].rule, "malformed-directive", "{wrong}");
        assert!(errors[0].help.is_some(), "{wrong}");
        let line = 1 + text[..text.find(wrong).expect("there")].matches('\n').count();
        assert_eq!(errors[0].place.as_ref().and_then(|place| place.line), Some(line), "{wrong}");
    }
}

fn read_data(text: &str) -> Result<Directives, Vec<Diagnostic>> {
    read(text, Subject::DataSql)
}

#[test]
fn sql_in_a_header_is_taken_as_it_is_written() {
    let chunks = chunking(
        "chunk-where  note = 'it''s \"x\"' -- why\n-- dunlin+ AND \"Odd\" IS NULL /* \\ */",
    );
    assert_eq!(
        chunks.filter.as_deref(),
        Some("note = 'it''s \"x\"' -- why\nAND \"Odd\" IS NULL /* \\ */")
    );
    let read = data_sql("-- dunlin: done-when\n-- dunlin+ SELECT\n-- dunlin+   1\nSELECT 1;");
    assert_eq!(read.done_when.as_deref(), Some("SELECT\n1"));
    let program = of_program(Path::new("d/1_a.rb"), "# dunlin: done-when SELECT 'a' = \"b\"\nrun")
        .expect("valid");
    assert_eq!(program.done_when.as_deref(), Some("SELECT 'a' = \"b\""));
}

#[test]
fn words_about_chunks_need_chunks() {
    for word in WORDS.iter().filter(|word| word.needs_chunks()) {
        let done = "-- dunlin: done-when SELECT 1\n";
        let errors = read_data(&format!("{done}-- dunlin: {}\nSELECT 1;", word.example))
            .expect_err(word.name);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].rule, "needs-chunk-by");
        assert!(errors[0].message.contains(word.name));
        assert_eq!(errors[0].place.as_ref().and_then(|place| place.line), Some(2));
    }
    let errors = read_data("-- dunlin: chunk-by a\n-- dunlin: repeat until-done max 3")
        .expect_err("no done-when");
    assert_eq!(errors[0].rule, "needs-done-when");
    let errors = read_data("-- dunlin: chunk-bye posts").expect_err("a typo");
    assert_eq!(errors[0].help.as_deref(), Some("did you mean `chunk-by`?"));
    let errors = read_data("-- dunlin: wrokers 2").expect_err("a typo");
    assert_eq!(errors[0].help.as_deref(), Some("did you mean `workers`?"));
}

#[test]
fn what_does_not_go_together() {
    for (text, line, name) in [
        ("-- dunlin: chunk-by a\n-- dunlin: no-transaction\n", 2, "no-transaction"),
        ("-- no-transaction\n-- dunlin: chunk-by a\n", 2, "no-transaction"),
        ("-- dunlin: foreign-keys off\n-- dunlin: chunk-by a\n", 1, "foreign-keys"),
    ] {
        let errors = read_data(text).expect_err(text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].rule, "conflicting-directives");
        assert!(errors[0].message.contains(name) && errors[0].help.is_some(), "{}", errors[0]);
        assert_eq!(errors[0].place.as_ref().and_then(|place| place.line), Some(line), "{text}");
    }
}

#[test]
fn near_directives_about_chunks() {
    for (near, right) in [
        ("-- dunlin chunk-by posts", "-- dunlin: chunk-by posts"),
        ("-- dunlin background", "-- dunlin: background"),
        ("-- dunlin workers 2", "-- dunlin: workers 2"),
        ("--dunlin: done-when SELECT 1", "-- dunlin: done-when SELECT 1"),
    ] {
        let errors = read_data(near).expect_err(near);
        assert!(errors[0].help.as_ref().is_some_and(|help| help.contains(right)), "{}", errors[0]);
    }
    assert_eq!(data_sql("-- dunlin workers do this at night"), Directives::default());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(?s)(-- |--|#|//|/\\*|\\*/|dunlin[:+]|\"|'|\\$|\\$a\\$|\n|\r|after|data|é|.){0,40}") {
        for subject in EVERY {
            let _ = read(&text, subject);
        }
        let _ = rows(&text);
        for word in WORDS {
            let _ = one(&format!("{} {text}", word.name), Subject::DataSql);
        }
    }
}
