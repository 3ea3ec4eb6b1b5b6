//! Who may depend on whom: `model <- project <- engine <- {drivers, …} <- {dunlin, cli}`, arrows
//! only to the left, siblings never meet; and which crate alone names a heavy dependency.

use std::collections::BTreeSet;

use crate::{Failure, cargo};

/// Each crate of ours, with those of ours that it may name outside of tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("dunlin-model", &[]),
    ("dunlin-project", &["dunlin-model"]),
    ("dunlin-engine", &["dunlin-model", "dunlin-project"]),
    ("dunlin-postgres", &["dunlin-model", "dunlin-project", "dunlin-engine"]),
    ("dunlin-mysql", &["dunlin-model", "dunlin-project", "dunlin-engine"]),
    ("dunlin-sqlite", &["dunlin-model", "dunlin-project", "dunlin-engine"]),
    ("dunlin-files", &["dunlin-model", "dunlin-engine"]),
    ("dunlin-transform", &["dunlin-model", "dunlin-engine"]),
    (
        "dunlin",
        &[
            "dunlin-model",
            "dunlin-project",
            "dunlin-engine",
            "dunlin-postgres",
            "dunlin-mysql",
            "dunlin-sqlite",
            "dunlin-files",
            "dunlin-transform",
        ],
    ),
    // The binary is an ordinary client of the library.
    ("dunlin-cli", &["dunlin"]),
    ("dunlin-testkit", &["dunlin-model", "dunlin-project", "dunlin-engine"]),
    ("xtask", &["dunlin-testkit"]),
];

/// Dependencies that only some crates may name, in tests too.
const RESERVED: &[(&str, &[&str])] = &[
    ("tokio-postgres", &["dunlin-postgres"]),
    ("tokio-postgres-rustls", &["dunlin-postgres"]),
    ("postgres", &[]),
    ("mysql_async", &["dunlin-mysql"]),
    ("mysql", &[]),
    ("rusqlite", &["dunlin-sqlite"]),
    ("sqlx", &[]),
    ("parquet", &["dunlin-files"]),
    ("csv", &[]),
    ("encoding_rs", &["dunlin-files"]),
    ("clap", &["dunlin-cli", "xtask"]),
    ("clap_complete", &["dunlin-cli"]),
    ("comfy-table", &["dunlin-cli"]),
    ("indicatif", &["dunlin-cli"]),
    ("datafusion", &[]),
    ("datafusion-common", &["dunlin-transform"]),
    ("datafusion-expr", &["dunlin-transform"]),
    ("datafusion-sql", &["dunlin-transform"]),
    ("datafusion-functions", &["dunlin-transform"]),
    ("datafusion-functions-nested", &["dunlin-transform"]),
    ("datafusion-physical-expr", &["dunlin-transform"]),
    ("datafusion-optimizer", &["dunlin-transform"]),
    ("mlua", &["dunlin-transform"]),
    ("axum", &["dunlin-web"]),
    ("openssl", &[]),
    ("native-tls", &[]),
];

/// What pure crates may not name: no I/O that waits, nothing async.
const PURE: &[&str] = &["dunlin-model", "dunlin-project"];
const ASYNC: &[&str] = &["tokio", "async-trait", "futures-util"];

/// One dependency of one of our crates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
    in_tests_only: bool,
}

/// `cargo xtask deps`
pub(crate) fn run() -> Result<(), Failure> {
    let metadata =
        cargo::output(&mut cargo::cargo(&["metadata", "--format-version", "1", "--no-deps"]))?;
    let edges = edges(&metadata)?;
    let wrong = violations(&edges);
    if wrong.is_empty() {
        println!("{} dependencies, all in the right direction", edges.len());
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}\n(the rules are in crates/xtask/src/deps.rs, the reasons in ARCHITECTURE.md)",
        wrong.join("\n")
    )))
}

fn edges(metadata: &str) -> Result<BTreeSet<Edge>, Failure> {
    let value: serde_json::Value = serde_json::from_str(metadata)
        .map_err(|error| Failure::because("cannot read what `cargo metadata` prints", &error))?;
    let list = |value: &serde_json::Value, key: &str| {
        value.get(key).and_then(serde_json::Value::as_array).cloned().unwrap_or_default()
    };
    let text = |value: &serde_json::Value, key: &str| {
        value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    let mut edges = BTreeSet::new();
    for package in list(&value, "packages") {
        let from = text(&package, "name");
        // So that a crate without dependencies is known too.
        edges.insert(Edge { from: from.clone(), to: String::new(), in_tests_only: true });
        for dependency in list(&package, "dependencies") {
            let in_tests_only = text(&dependency, "kind") == "dev";
            edges.insert(Edge { from: from.clone(), to: text(&dependency, "name"), in_tests_only });
        }
    }
    Ok(edges)
}

fn violations(edges: &BTreeSet<Edge>) -> Vec<String> {
    let mut wrong = Vec::new();
    for Edge { from, to, in_tests_only } in edges {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == from) else {
            wrong.push(format!("{from} is new: say what it may depend on"));
            continue;
        };
        let ours = ARROWS.iter().any(|(name, _)| name == to);
        if ours && !in_tests_only && !allowed.contains(&to.as_str()) {
            wrong.push(format!("{from} must not depend on {to}"));
        }
        if let Some((_, owners)) = RESERVED.iter().find(|(name, _)| name == to)
            && !owners.contains(&from.as_str())
            // A test may look at a database by the client's own library: independent of ours.
            && !in_tests_only
        {
            wrong.push(format!("{from} must not name {to}"));
        }
        if PURE.contains(&from.as_str()) && !in_tests_only && ASYNC.contains(&to.as_str()) {
            wrong.push(format!("{from} is pure and must not name {to}"));
        }
    }
    wrong.dedup();
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, in_tests_only: bool) -> BTreeSet<Edge> {
        BTreeSet::from([Edge { from: from.into(), to: to.into(), in_tests_only }])
    }

    #[test]
    fn arrows_point_left() {
        assert!(violations(&edge("dunlin-engine", "dunlin-model", false)).is_empty());
        assert_eq!(
            violations(&edge("dunlin-model", "dunlin-engine", false)),
            ["dunlin-model must not depend on dunlin-engine"]
        );
        assert_eq!(
            violations(&edge("dunlin-postgres", "dunlin-sqlite", false)),
            ["dunlin-postgres must not depend on dunlin-sqlite"]
        );
        assert!(violations(&edge("dunlin-sqlite", "dunlin-testkit", true)).is_empty());
        assert_eq!(
            violations(&edge("dunlin", "dunlin-testkit", false)),
            ["dunlin must not depend on dunlin-testkit"]
        );
    }

    #[test]
    fn clients_are_named_by_their_driver_alone() {
        assert!(violations(&edge("dunlin-sqlite", "rusqlite", false)).is_empty());
        assert_eq!(
            violations(&edge("dunlin-testkit", "rusqlite", false)),
            ["dunlin-testkit must not name rusqlite"]
        );
        assert_eq!(
            violations(&edge("dunlin-model", "tokio", false)),
            ["dunlin-model is pure and must not name tokio"]
        );
    }

    #[test]
    fn a_new_crate_has_to_be_placed() {
        assert_eq!(
            violations(&edge("dunlin-new", "serde", false)),
            ["dunlin-new is new: say what it may depend on"]
        );
    }

    #[test]
    fn what_cargo_prints_is_read() {
        let printed = r#"{"packages": [{"name": "a", "dependencies":
            [{"name": "b", "kind": null}, {"name": "c", "kind": "dev"}]}]}"#;
        let edges = edges(printed).unwrap();
        assert!(edges.contains(&Edge { from: "a".into(), to: "b".into(), in_tests_only: false }));
        assert!(edges.contains(&Edge { from: "a".into(), to: "c".into(), in_tests_only: true }));
    }
}
