//! Which migrations wait, and which never could come in turn.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use dunlin_model::{Capabilities, DataMode, Dialect, LedgerView, MigrationId, Plan};
use dunlin_project::folder;
use dunlin_project::plan::{Inputs, Parsed, Policy, Refusal, Scope, parse, plan};

fn planned(dialect: Dialect, files: &[(&str, &str)]) -> Result<Plan, Refusal> {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("fresh");
        fs::write(path, text).expect("fresh");
    }
    for kind in ["m", "d"] {
        fs::create_dir_all(root.path().join(kind)).expect("fresh");
    }
    let (schema, data) = (Path::new("m"), Path::new("d"));
    let folder = folder::read(root.path(), Some(schema), Some(data)).expect("valid");
    let ledger = LedgerView::default();
    let mut parsed = Parsed::new();
    parse(&folder, &ledger, dialect, &mut parsed).expect("valid");
    let inputs = Inputs {
        capabilities: &Capabilities::of(dialect),
        folder: &folder,
        parsed: &parsed,
        ledger: &ledger,
        foreign: None,
        policy: &Policy { data: DataMode::Manual, ..Policy::default() },
        failed: &BTreeSet::new(),
    };
    plan(&inputs, &Scope::Migrate { to: None, step_count: None })
}

fn held(dialect: Dialect, files: &[(&str, &str)]) -> Vec<String> {
    let plan = planned(dialect, files).expect("nothing is wrong");
    plan.held.iter().map(|held| held.id.to_string()).collect()
}

fn refused(files: &[(&str, &str)]) -> Vec<String> {
    match planned(Dialect::Sqlite, files) {
        Ok(plan) => panic!("{plan:?}"),
        Err(Refusal::Diagnostics(found)) => {
            found.into_iter().map(|found| format!("{}: {}", found.rule, found.message)).collect()
        }
        Err(Refusal::Drift(drift)) => panic!("{drift:?}"),
    }
}

/// What an unqualified name is depends on the search path of the moment.
#[test]
fn an_unqualified_table_may_be_that_of_any_schema() {
    let files = |later: &'static str| {
        [("d/1_fill.sql", "UPDATE a SET b = 1;"), ("m/2_empty.sql", "TRUNCATE app.settings;")]
            .into_iter()
            .chain([("m/3_later.sql", later)])
            .collect::<Vec<_>>()
    };
    for later in [
        "SET search_path = app; INSERT INTO settings VALUES ('fresh');",
        "INSERT INTO app.settings VALUES ('fresh');",
    ] {
        assert_eq!(held(Dialect::Postgres, &files(later)), ["schema 2", "schema 3"], "{later}");
    }
    for later in [
        "INSERT INTO other.settings VALUES ('fresh');",
        "INSERT INTO app.others SELECT 1 FROM information_schema.settings;",
    ] {
        assert_eq!(held(Dialect::Postgres, &files(later)), ["schema 2"], "{later}");
    }
    let unqualified = [
        ("d/1_fill.sql", "UPDATE a SET b = 1;"),
        ("m/2_empty.sql", "TRUNCATE settings;"),
        ("m/3_later.sql", "INSERT INTO app.settings VALUES ('fresh');"),
    ];
    assert_eq!(held(Dialect::Postgres, &unqualified), ["schema 2", "schema 3"]);
}

/// Whoever calls a routine that takes data away takes data away, in whatever file it is defined.
#[test]
fn calls_of_routines_that_destroy_wait_too() {
    let define = "CREATE FUNCTION app.drop_old() RETURNS void LANGUAGE plpgsql AS $$\n\
         BEGIN EXECUTE 'ALTER TABLE a DROP COLUMN old'; END $$;\n\
         CREATE FUNCTION tidy() RETURNS void LANGUAGE sql AS 'SELECT drop_old(); SELECT 1';\n\
         CREATE FUNCTION harmless() RETURNS int LANGUAGE sql AS 'SELECT 1';";
    let data = ("d/2_fill.sql", "UPDATE a SET b = 1;");
    for (call, waits) in [
        ("SELECT drop_old();", true),
        ("SELECT app.\"drop_old\" ();", true),
        ("SELECT tidy();", true),
        ("INSERT INTO log SELECT 1 FROM tidy() AS t;", true),
        ("DO $$ BEGIN PERFORM tidy(); END $$;", true),
        ("SELECT harmless();", false),
        ("SELECT count(*) FROM drop_old;", false),
        ("COMMENT ON FUNCTION tidy() IS 'tidies';", false),
        ("CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION tidy();", false),
    ] {
        let files = [("m/1_define.sql", define), data, ("m/3_call.sql", call)];
        let expected: &[&str] = if waits { &["schema 3"] } else { &[] };
        assert_eq!(held(Dialect::Postgres, &files), expected, "{call}");
        // It is not there yet.
        let files = [("m/1_call.sql", "SELECT tidy();"), ("m/4_define.sql", define)];
        assert!(held(Dialect::Postgres, &files).is_empty());
    }
    let mysql = "CREATE FUNCTION drop_old() RETURNS int BEGIN DELETE FROM a; RETURN 1; END;";
    let files = [("m/1_define.sql", mysql), data, ("m/3_call.sql", "SET @x = `drop_old`();")];
    assert_eq!(held(Dialect::Mysql, &files), ["schema 3"]);
}

#[test]
fn what_could_never_come_in_turn_is_refused() {
    let own = "-- dunlin: after 1\nSELECT 1;";
    assert_eq!(refused(&[("m/1_a.sql", own)]), ["circle: `after` names schema 1 itself"]);
    let typo = "-- dunlin: after 2026O110\nSELECT 1;";
    let found = refused(&[("d/20260110_a.sql", typo)]);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("unknown-version: `after 2026O110` is no version"), "{found:?}");
    // With a data migration of that version it is that one which is meant.
    let both = [("m/1_a.sql", own), ("d/1_a.sql", "UPDATE a SET b = 1;")];
    assert_eq!(held(Dialect::Sqlite, &both), [MigrationId::schema(version("1")).to_string()]);
}

fn version(text: &str) -> dunlin_model::Version {
    text.parse().expect("a version")
}
