//! Everything that must pass before a change is merged, cheapest first.

use std::time::Instant;

use crate::{Failure, cargo, deps, docs, test};

/// A step's name, and the step.
type Step<'a> = (&'static str, &'a dyn Fn() -> Result<(), Failure>);

/// `cargo xtask ci`
pub(crate) fn run(options: &test::Options) -> Result<(), Failure> {
    let steps: [Step<'_>; 7] = [
        ("format", &|| cargo::run(&mut cargo::cargo(&["fmt", "--all", "--check"]))),
        ("dependencies", &deps::run),
        ("clippy", &clippy),
        ("documentation of the code", &rustdoc),
        ("documentation", &|| docs::run(true)),
        ("advisories and licences", &deny),
        ("tests", &|| test::run(options)),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        let started = Instant::now();
        eprintln!("== {name}");
        if let Err(failure) = step() {
            eprintln!("error: {failure}");
            failed.push(name);
        }
        eprintln!("== {name}: {:.0} s", started.elapsed().as_secs_f64());
    }
    if failed.is_empty() {
        println!("everything passed");
        return Ok(());
    }
    Err(Failure::new(format!("failed: {}", failed.join(", "))))
}

fn clippy() -> Result<(), Failure> {
    let all = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    cargo::run(&mut cargo::cargo(&all))?;
    // The smallest binary that we promise must not only build by accident of another feature.
    let smallest =
        ["clippy", "-p", "dunlin-cli", "--no-default-features", "--features", "postgres"];
    cargo::run(cargo::cargo(&smallest).args(["--", "-D", "warnings"]))
}

fn rustdoc() -> Result<(), Failure> {
    let mut doc = cargo::cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    cargo::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> Result<(), Failure> {
    if !cargo::is_there("cargo-deny", &["--version"]) {
        eprintln!("cargo-deny is not installed: left out");
        return Ok(());
    }
    cargo::run(&mut cargo::cargo(&[
        "deny",
        "--all-features",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}
