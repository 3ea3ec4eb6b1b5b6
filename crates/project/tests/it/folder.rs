//! Folders as people have them.

use std::fs;
use std::path::{Path, PathBuf};

use dunlin_model::{Body, Checksums, Diagnostic, Dialect, MigrationId, Version};
use dunlin_project::folder::{Folder, read};
use tempfile::TempDir;

fn project(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(root.path().join("migrations")).expect("fresh");
    fs::create_dir(root.path().join("data_migrations")).expect("fresh");
    for (name, text) in files {
        let file = root.path().join(name);
        fs::create_dir_all(file.parent().expect("below the root")).expect("fresh");
        fs::write(file, text).expect("fresh");
    }
    root
}

fn read_both(root: &TempDir) -> Result<Folder, Vec<Diagnostic>> {
    let path = root.path();
    read(path, Some(&path.join("migrations")), Some(&path.join("data_migrations")))
}

fn schema(version: i64) -> MigrationId {
    MigrationId::schema(Version::new(version).expect("not negative"))
}

fn data(version: i64) -> MigrationId {
    MigrationId::data(Version::new(version).expect("not negative"))
}

#[cfg(unix)]
fn make_executable(root: &TempDir, name: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let file = root.path().join(name);
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("ours");
}

#[test]
fn a_real_mix_of_names() {
    let root = project(&[
        ("migrations/0001.up.sql", "SELECT 1;"),
        ("migrations/0001.down.sql", "SELECT 2;"),
        ("migrations/0002_x_up.sql", "SELECT 3;"),
        ("migrations/20260110093000_add_published_at.up.sql", "SELECT 4;\r\n"),
        ("migrations/README.md", ""),
        ("migrations/.gitkeep", ""),
        ("migrations/..data/1_a.sql", ""),
        ("migrations/atlas.sum", ""),
        ("data_migrations/2_fill.sql", "UPDATE a SET b = 1;"),
        (
            "data_migrations/retired.toml",
            "[[retired]]\nversion = 1\nname = \"old\"\nbecause = \"done\"\n",
        ),
    ]);
    let folder = read_both(&root).expect("valid");
    let ids: Vec<MigrationId> = folder.files.keys().copied().collect();
    assert_eq!(ids, [schema(1), schema(2), data(2), schema(20_260_110_093_000)]);
    let first = &folder.files[&schema(1)];
    assert_eq!(first.up, PathBuf::from("migrations/0001.up.sql"));
    assert_eq!(first.down.as_deref(), Some(Path::new("migrations/0001.down.sql")));
    assert_eq!(first.name, "");
    assert_eq!(first.bytes, b"SELECT 1;");
    assert_eq!(folder.files[&schema(2)].name, "x_up");
    let last = &folder.files[&schema(20_260_110_093_000)];
    assert_eq!(last.checksum, Checksums::of_bytes(b"SELECT 4;\n"), "carriage returns do not count");
    let retired = folder.retired.values().next().expect("one");
    assert_eq!((retired.name.as_str(), retired.because.as_deref()), ("old", Some("done")));
}

#[test]
fn every_error_is_found_and_names_its_files() {
    let root = project(&[
        ("migrations/1_a.sql", ""),
        ("migrations/001_b.up.sql", ""),
        ("migrations/2_c.down.sql", ""),
        ("migrations/notes.txt", ""),
        ("migrations/4_e/up.sql", ""),
        ("migrations/retired.toml", ""),
        ("data_migrations/3_d.py", ""),
        ("data_migrations/5_f.sql", ""),
        ("data_migrations/5_g.toml", ""),
    ]);
    let errors = read_both(&root).expect_err("seven errors");
    let mut found: Vec<String> = errors
        .iter()
        .map(|error| {
            let place = error.place.as_ref().expect("placed");
            assert!(error.help.is_some(), "{error}");
            format!("{} {}", place.file.display(), error.rule)
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "data_migrations/3_d.py not-executable",
            "data_migrations/5_g.toml duplicate-version",
            "migrations/1_a.sql duplicate-version",
            "migrations/2_c.down.sql down-without-up",
            "migrations/4_e file-fits-no-rule",
            "migrations/notes.txt file-fits-no-rule",
            "migrations/retired.toml file-fits-no-rule",
        ]
    );
    let twice = errors.iter().find(|error| error.rule == "duplicate-version").expect("there");
    assert!(twice.message.contains("001_b.up.sql"), "both files are named: {twice}");
    let lonely = errors.iter().find(|error| error.rule == "down-without-up").expect("there");
    assert!(lonely.help.as_ref().is_some_and(|help| help.contains("`2_c.up.sql`")), "{lonely}");
}

#[test]
fn a_missing_folder_is_an_error_and_none_is_empty() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let errors = read(root.path(), Some(Path::new("nowhere")), None).expect_err("missing");
    assert_eq!(errors[0].rule, "missing-folder");
    assert_eq!(read(root.path(), None, None), Ok(Folder::default()));
}

#[cfg(unix)]
#[test]
fn links_are_followed_as_kubernetes_makes_them() {
    let root = project(&[("elsewhere/1_a.sql", "SELECT 1;")]);
    std::os::unix::fs::symlink("../elsewhere/1_a.sql", root.path().join("migrations/1_a.sql"))
        .expect("fresh");
    std::os::unix::fs::symlink("../nowhere", root.path().join("migrations/2_b.sql"))
        .expect("fresh");
    let errors = read_both(&root).expect_err("a broken link");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].rule, "unreadable-file");
    fs::remove_file(root.path().join("migrations/2_b.sql")).expect("ours");
    assert_eq!(read_both(&root).expect("valid").files[&schema(1)].bytes, b"SELECT 1;");
}

#[cfg(unix)]
#[test]
fn programs_and_their_headers() {
    let root = project(&[
        (
            "data_migrations/1_split_names.rb",
            "#!/usr/bin/env ruby\n# dunlin: after schema 1\nputs 1\n",
        ),
        ("data_migrations/2_binary", "\u{7f}ELF\0\0# dunlin: nothing\n"),
        (
            "data_migrations/3_posts.toml",
            "# why\n[migration]\nafter = [\"schema 1\", 7]\nmanual = true\nkeep-output = false\n\
             environments = [\"production\", \"staging\"]\nstatement-timeout = \"10min\"\n\
             disabled = \"not yet\"\n\n[program]\ncommand = [\"bin/rails\", \"runner\", \"Posts.fill\"]\n",
        ),
        ("data_migrations/4_redis.toml", "program.command = [\"redis-cli\", \"ping\"]\n"),
    ]);
    make_executable(&root, "data_migrations/1_split_names.rb");
    make_executable(&root, "data_migrations/2_binary");
    let folder = read_both(&root).expect("valid");
    let parse = |version: i64| {
        let migration = folder.files[&data(version)].parse(Dialect::Postgres).expect("valid");
        let Body::Program(program) = migration.body.clone() else { panic!("a program") };
        (migration, program)
    };
    let (migration, program) = parse(1);
    assert_eq!(migration.name, "split_names");
    assert!(migration.text.starts_with("#!/usr/bin/env ruby"));
    assert_eq!(migration.checksums.text, migration.checksums.statements);
    let path = root.path().join("data_migrations/1_split_names.rb");
    assert_eq!(program.command, [path.to_str().expect("UTF-8")]);
    assert_eq!(program.file, PathBuf::from("data_migrations/1_split_names.rb"));
    assert_eq!(program.directives.after.len(), 1);
    let (migration, _) = parse(2);
    assert!(migration.text.starts_with("(a binary program of "), "{}", migration.text);
    let (_, program) = parse(3);
    let rails = root.path().join("bin/rails");
    assert_eq!(program.command, [rails.to_str().expect("UTF-8"), "runner", "Posts.fill"]);
    let directives = &program.directives;
    assert_eq!(
        directives.after.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["schema 1", "7"]
    );
    assert!(directives.manual && !directives.keep_output);
    assert_eq!(directives.environments, ["production", "staging"]);
    assert_eq!(directives.statement_timeout, Some(std::time::Duration::from_secs(600)));
    assert_eq!(directives.disabled.as_deref(), Some("not yet"));
    assert_eq!(parse(4).1.command, ["redis-cli", "ping"]);
}

#[test]
fn wrong_program_files_name_line_and_column() {
    for (text, line, message) in [
        ("", 1, "names no program"),
        ("[program]\ncommand = []\n", 2, "empty"),
        ("[program]\ncommand = \"a b\"\n", 2, "not a list"),
        ("[program]\ncommand = [\"a\"]\nmanual = true\n", 3, "unknown key `program.manual`"),
        ("[program]\ncommand = [\"a\"]\n[migrations]\n", 3, "unknown key `migrations`"),
        (
            "[program]\ncommand = [\"a\"]\n[migration]\nstatement_timeout = \"2s\"\n",
            4,
            "unknown directive",
        ),
        ("[program]\ncommand = [\"a\"]\n[migration]\nmanual = \"yes\"\n", 4, "`true` or `false`"),
        ("[program]\ncommand = [\"a\"]\n[migration]\nstatement-timeout = 2\n", 4, "a string"),
        (
            "[program]\ncommand = [\"a\"]\n[migration]\nrequires = [\"data 1\"]\n",
            4,
            "does not apply",
        ),
        ("# dunlin: manual\n[program]\ncommand = [\"a\"]\n", 1, "no directives in comments"),
        ("[program\n", 1, "not valid TOML"),
    ] {
        let root = project(&[("data_migrations/1_a.toml", text)]);
        let folder = read_both(&root).expect("names are right");
        let errors = folder.files[&data(1)].parse(Dialect::Sqlite).expect_err(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert!(errors[0].message.contains(message), "{text}: {}", errors[0]);
        let place = errors[0].place.as_ref().expect("placed");
        assert_eq!(place.line, Some(line), "{text}");
    }
}

#[test]
fn sql_is_parsed_up_and_down() {
    let root = project(&[
        (
            "migrations/1_a.up.sql",
            "-- dunlin: lock-timeout 2s\nCREATE TABLE a (id int);\nSELECT 1;\n",
        ),
        ("migrations/1_a.down.sql", "DROP TABLE a;\n"),
        ("migrations/2_b.up.sql", "SELECT 1;\n"),
        ("migrations/2_b.down.sql", "-- dunlin: after 1\nSELECT 1;\n"),
        ("data_migrations/1_c.sql", "-- dunlin: manual\nUPDATE a SET id = 1;\n"),
    ]);
    let folder = read_both(&root).expect("names are right");
    for dialect in [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite] {
        let first = folder.files[&schema(1)].parse_with_down(dialect).expect("valid");
        assert_eq!(first.statements().len(), 2);
        assert_eq!(first.directives().lock_timeout, Some(std::time::Duration::from_secs(2)));
        assert_eq!(first.down.map(|down| down.statements.len()), Some(1));
        assert_ne!(first.checksums.text, first.checksums.statements);
        assert!(folder.files[&data(1)].parse(dialect).expect("valid").directives().manual);
        let second = &folder.files[&schema(2)];
        assert!(second.parse(dialect).is_ok(), "a wrong down keeps no up from running");
        let errors = second.parse_with_down(dialect).expect_err("the down is wrong");
        let rules: Vec<&str> = errors.iter().map(|error| error.rule).collect();
        assert_eq!(rules, ["directive-not-here"]);
    }
}

#[test]
fn a_comment_is_no_drift_and_a_statement_is() {
    let root = project(&[
        ("migrations/1_a.sql", "SELECT 1;\n"),
        ("migrations/2_a.sql", "-- why\nSELECT 1 ;\r\n"),
        ("migrations/3_a.sql", "SELECT 2;\n"),
    ]);
    let folder = read_both(&root).expect("names are right");
    let checksums = |version: i64| {
        folder.files[&schema(version)].parse(Dialect::Postgres).expect("valid").checksums
    };
    assert!(checksums(2).agrees_with(&checksums(1)));
    assert!(!checksums(3).agrees_with(&checksums(1)));
}

#[test]
fn ten_thousand_files_are_read_whole() {
    let root = project(&[]);
    for version in 0..10_000 {
        let file = root.path().join(format!("migrations/{version:05}_a.up.sql"));
        fs::write(file, format!("CREATE TABLE t{version} (id int);\n")).expect("fresh");
    }
    let folder = read_both(&root).expect("valid");
    assert_eq!(folder.files.len(), 10_000);
    for (id, file) in &folder.files {
        let text = format!("CREATE TABLE t{} (id int);\n", id.version);
        assert_eq!(file.bytes, text.as_bytes());
        assert_eq!(file.checksum, Checksums::of_bytes(text.as_bytes()));
    }
}

#[test]
fn large_files_are_read_whole() {
    let text = "-- x\n".repeat(20_000);
    let root = project(&[("migrations/1_a.sql", &text)]);
    assert_eq!(read_both(&root).expect("valid").files[&schema(1)].bytes, text.as_bytes());
}

#[test]
fn a_down_that_cannot_be_read_stops_a_rollback_and_nothing_else() {
    let root = project(&[
        ("migrations/1_a.up.sql", "CREATE TABLE t (id integer);"),
        ("migrations/1_a.down.sql", "BEGIN RAISE 'no way back'; END $$;"),
        ("migrations/2_b.up.sql", "SELECT 'open"),
        ("migrations/2_b.down.sql", "SELECT $x$ open"),
        ("migrations/3_c.up.sql", "CREATE TABLE u (id integer);"),
        ("migrations/3_c.down.sql", "DROP TABLE u;"),
    ]);
    let folder = read_both(&root).expect("the names are fine");
    let file = |version| &folder.files[&schema(version)];

    let up = file(1).parse(Dialect::Postgres).expect("the way up is fine");
    assert_eq!((up.statements().len(), &up.down), (1, &None));
    let problems = file(1).parse_with_down(Dialect::Postgres).expect_err("no way down");
    let place = problems[0].place.as_ref().expect("placed");
    assert_eq!(place.file, Path::new("migrations/1_a.down.sql"));

    assert_eq!(file(2).parse(Dialect::Postgres).expect_err("open quote").len(), 1);

    let both = file(3).parse_with_down(Dialect::Postgres).expect("both are fine");
    assert_eq!(both.down.map(|down| down.statements.len()), Some(1));
}
