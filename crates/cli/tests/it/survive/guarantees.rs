//! The page that lists the guarantees names tests that exist.

use std::fs;
use std::path::Path;

/// The tests that a page names, as `path.rs::function` between backticks.
fn named_tests(page: &str) -> Vec<(&str, &str)> {
    page.split('`').filter_map(|part| part.split_once(".rs::")).collect()
}

#[test]
fn every_test_that_is_named_exists() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is among others");
    let page = crates.join("../docs/reference/guarantees.md");
    let page = fs::read_to_string(page).expect("the page");
    let named = named_tests(&page);
    assert!(named.len() > 50, "the page is read right: {named:?}");
    let missing: Vec<_> = named
        .into_iter()
        .filter(|(file, function)| {
            let text = fs::read_to_string(crates.join(format!("{file}.rs"))).unwrap_or_default();
            !text.contains(&format!("fn {function}("))
        })
        .collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}
