//! Plans with chunked and background migrations.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use dunlin_model::{Capabilities, DataMode, Deferral, Dialect, LedgerView, Mode, Plan, Version};
use dunlin_project::folder;
use dunlin_project::plan::{Inputs, Parsed, Policy, Scope, parse, plan};

const FILES: [(&str, &str); 4] = [
    ("1_plain.sql", "UPDATE a SET b = 1;"),
    ("2_chunked.sql", "-- dunlin: chunk-by a\nUPDATE a SET b = 1 WHERE :chunk;"),
    (
        "3_quiet.sql",
        "-- dunlin: chunk-by a\n-- dunlin: background\nUPDATE a SET b = 2 WHERE :chunk;",
    ),
    ("4_rows.toml", "migration.background = true\nrows.table = \"a\"\nprogram.command = [\"x\"]"),
];

fn planned(dialect: Dialect, policy: &Policy, scope: &Scope) -> Plan {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in FILES {
        fs::write(root.path().join(name), text).expect("fresh");
    }
    let folder = folder::read(root.path(), None, Some(Path::new("."))).expect("valid");
    let ledger = LedgerView::default();
    let mut parsed = Parsed::new();
    parse(&folder, &ledger, dialect, &mut parsed).expect("valid");
    let inputs = Inputs {
        capabilities: &Capabilities::of(dialect),
        folder: &folder,
        parsed: &parsed,
        ledger: &ledger,
        foreign: None,
        policy,
        failed: &BTreeSet::new(),
    };
    plan(&inputs, scope).expect("nothing is wrong")
}

fn modes(plan: &Plan) -> Vec<(i64, Mode)> {
    plan.steps.iter().map(|step| (number(step.migration.id.version), step.mode)).collect()
}

fn deferred(plan: &Plan) -> Vec<(i64, Deferral)> {
    plan.deferred.iter().map(|one| (number(one.id.version), one.why.clone())).collect()
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

#[test]
fn chunked_migrations_are_chunked_on_every_database() {
    let scope = Scope::Data { versions: Vec::new(), step_count: None, background_only: false };
    for dialect in [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite] {
        let plan = planned(dialect, &Policy::default(), &scope);
        assert_eq!(
            modes(&plan),
            [(1, Mode::OneTransaction), (2, Mode::Chunked), (3, Mode::Chunked), (4, Mode::Chunked)]
        );
        assert!(plan.steps.iter().all(|step| step.resume_at == 0));
    }
}

#[test]
fn migrate_leaves_background_migrations_alone() {
    let scope = Scope::Migrate { to: None, step_count: None };
    let policy = Policy { with_data: true, ..Policy::default() };
    let plan = planned(Dialect::Postgres, &policy, &scope);
    assert_eq!(modes(&plan).len(), 2);
    assert_eq!(deferred(&plan), [(3, Deferral::Background), (4, Deferral::Background)]);
    let plan = planned(Dialect::Postgres, &Policy::default(), &scope);
    assert_eq!(
        deferred(&plan),
        [
            (1, Deferral::DataManual),
            (2, Deferral::DataManual),
            (3, Deferral::Background),
            (4, Deferral::Background)
        ]
    );
    let auto = Policy { data: DataMode::Auto, ..Policy::default() };
    assert_eq!(modes(&planned(Dialect::Postgres, &auto, &scope)).len(), 4);
}

#[test]
fn a_background_run_takes_only_those() {
    let scope = Scope::Data { versions: Vec::new(), step_count: None, background_only: true };
    let plan = planned(Dialect::Postgres, &Policy::default(), &scope);
    assert_eq!(modes(&plan), [(3, Mode::Chunked), (4, Mode::Chunked)]);
    assert_eq!(deferred(&plan), [(1, Deferral::OutOfScope), (2, Deferral::OutOfScope)]);
    let scope =
        Scope::Data { versions: vec![version("3")], step_count: None, background_only: true };
    let plan = planned(Dialect::Postgres, &Policy::default(), &scope);
    assert_eq!(modes(&plan), [(3, Mode::Chunked)]);
}

fn number(version: Version) -> i64 {
    version.to_string().parse().expect("a number")
}
