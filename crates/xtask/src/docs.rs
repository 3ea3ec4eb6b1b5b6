//! Documentation that is made from the code, and links that lead somewhere.

use std::path::{Path, PathBuf};

use crate::{Failure, cargo};

/// A page that is what a command prints.
struct Page {
    /// Where it is, from the repository's root.
    path: &'static str,
    /// What cargo runs to print it.
    command: &'static [&'static str],
}

/// Every generated page.
const PAGES: &[Page] = &[];

/// `cargo xtask docs`
pub(crate) fn run(check: bool) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for page in PAGES {
        let fresh = cargo::output(&mut cargo::cargo(page.command))?;
        let path = cargo::root().join(page.path);
        if std::fs::read_to_string(&path).is_ok_and(|there| there == fresh) {
            continue;
        }
        if check {
            wrong.push(format!("{} is not what the code says: run `cargo xtask docs`", page.path));
        } else {
            std::fs::write(&path, fresh)
                .map_err(|error| Failure::because(format!("cannot write {}", page.path), &error))?;
            println!("wrote {}", page.path);
        }
    }
    for file in markdown_files()? {
        let text = std::fs::read_to_string(cargo::root().join(&file))
            .map_err(|error| Failure::because(format!("cannot read {}", file.display()), &error))?;
        wrong.extend(broken_links(&cargo::root(), &file, &text));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(wrong.join("\n"))) }
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
