//! Tests of the whole: text in, statements and facts out.

mod carried;
mod destruction;
mod facts;
mod mysql_facts;
mod policy;
mod properties;
mod relations;
mod split;
mod writes;

use std::path::Path;

use dunlin_model::{Diagnostic, Dialect, Facts, Script};

use crate::directive::Subject;

use super::parse_script;

fn parse(dialect: Dialect, text: &str) -> Result<Script, Vec<Diagnostic>> {
    parse_script(dialect, Path::new("m/1_a.up.sql"), text.as_bytes(), Subject::SchemaUp)
}

/// The statements' texts; panics where the file is refused.
fn texts(dialect: Dialect, text: &str) -> Vec<String> {
    match parse(dialect, text) {
        Ok(script) => script.statements.into_iter().map(|s| s.text).collect(),
        Err(found) => panic!("refused: {}", found[0]),
    }
}

/// The rules and lines of what is refused.
fn refused(dialect: Dialect, text: &str) -> Vec<(&'static str, usize)> {
    match parse(dialect, text) {
        Ok(_) => Vec::new(),
        Err(found) => found
            .into_iter()
            .map(|d| (d.rule, d.place.and_then(|p| p.line).unwrap_or_default()))
            .collect(),
    }
}

/// The facts of one statement, whatever the policy says of it.
fn facts(dialect: Dialect, text: &str) -> Facts {
    let mut statements =
        super::read(dialect, text).unwrap_or_else(|found| panic!("{found}: {text}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0).facts
}
