//! Documentation that is made from the code, and links that lead somewhere.

use std::path::{Path, PathBuf};

use crate::{Failure, cargo};

/// Where the generated pages are.
const REFERENCE: &str = "docs/reference";

/// What cargo runs to write all of them into a folder, which comes last.
const GENERATOR: &[&str] = &["run", "--quiet", "-p", "dunlin-cli", "--", "reference"];

/// `cargo xtask docs`
pub(crate) fn run(check: bool) -> Result<(), Failure> {
    let mut wrong = stale_pages(check)?;
    for file in markdown_files()? {
        let text = std::fs::read_to_string(cargo::root().join(&file))
            .map_err(|error| Failure::because(format!("cannot read {}", file.display()), &error))?;
        wrong.extend(broken_links(&cargo::root(), &file, &text));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(wrong.join("\n"))) }
}

/// Generates the pages; writes those that differ, or names them.
fn stale_pages(check: bool) -> Result<Vec<String>, Failure> {
    let failed = |what: &Path, error: std::io::Error| {
        Failure::because(format!("cannot use {}", what.display()), &error)
    };
    let folder = tempfile::tempdir().map_err(|error| failed(Path::new("a new folder"), error))?;
    cargo::output(cargo::cargo(GENERATOR).arg(folder.path()))?;
    let pages = std::fs::read_dir(folder.path()).map_err(|error| failed(folder.path(), error))?;
    let mut stale = Vec::new();
    for page in pages.flatten() {
        let path = Path::new(REFERENCE).join(page.file_name());
        let fresh = std::fs::read(page.path()).map_err(|error| failed(&page.path(), error))?;
        let there = cargo::root().join(&path);
        if std::fs::read(&there).is_ok_and(|there| there == fresh) {
            continue;
        }
        if check {
            let name = path.display();
            stale.push(format!("{name} is not what the code says: run `cargo xtask docs`"));
        } else {
            std::fs::write(&there, fresh).map_err(|error| failed(&there, error))?;
            println!("wrote {}", path.display());
        }
    }
    Ok(stale)
}

fn markdown_files() -> Result<Vec<PathBuf>, Failure> {
    let mut git = std::process::Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "*.md"]);
    let files = cargo::output(git.current_dir(cargo::root()))?;
    let there = |path: &PathBuf| cargo::root().join(path).is_file();
    Ok(files.lines().map(PathBuf::from).filter(there).collect())
}

/// Relative links of a page to files that are not there.
fn broken_links(root: &Path, file: &Path, text: &str) -> Vec<String> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut broken = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for after in line.split("](").skip(1) {
            let Some((link, _)) = after.split_once(')') else { continue };
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains(':') || path.contains(' ') {
                continue;
            }
            if !root.join(folder).join(path).exists() {
                broken.push(format!("{}:{}: {path} is not there", file.display(), number + 1));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_nowhere_are_found() {
        let text = "[a](https://example.org) [b](deps.rs) [c](#part)\n[d](nowhere.md#part)\n";
        let found = broken_links(&cargo::root(), Path::new("crates/xtask/src/page.md"), text);
        assert_eq!(found, ["crates/xtask/src/page.md:2: nowhere.md is not there"]);
    }
}
