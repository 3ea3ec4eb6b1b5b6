//! Documentation that is made from the code, and links that lead somewhere.

use std::path::{Path, PathBuf};

use crate::{Failure, cargo};

/// The folder of generated pages, from the repository's root. Pages that are written by hand stand
/// in it, too.
const REFERENCE: &str = "docs/reference";

/// `cargo xtask docs`
pub(crate) fn run(check: bool) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for (path, fresh) in generated()? {
        let file = cargo::root().join(&path);
        if std::fs::read_to_string(&file).is_ok_and(|there| there == fresh) {
            continue;
        }
        if check {
            let path = path.display();
            wrong.push(format!("{path} is not what the program says: run `cargo xtask docs`"));
        } else {
            std::fs::write(&file, fresh).map_err(|error| {
                Failure::because(format!("cannot write {}", path.display()), &error)
            })?;
            println!("wrote {}", path.display());
        }
    }
    for file in markdown_files()? {
        let text = std::fs::read_to_string(cargo::root().join(&file))
            .map_err(|error| Failure::because(format!("cannot read {}", file.display()), &error))?;
        wrong.extend(broken_links(&cargo::root(), &file, &text));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(wrong.join("\n"))) }
}

/// The pages that the program writes of itself, by their paths from the repository's root.
fn generated() -> Result<Vec<(PathBuf, String)>, Failure> {
    let folder = cargo::target_folder().join("reference");
    let unreadable = |error: std::io::Error| {
        Failure::because(format!("cannot read {}", folder.display()), &error)
    };
    // Pages of an earlier time may have other names.
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(unreadable)?;
    }
    let mut command =
        cargo::cargo(&["run", "--quiet", "--package", "dunlin-cli", "--", "reference"]);
    cargo::output(command.arg(&folder))?;
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let text = std::fs::read_to_string(entry.path()).map_err(unreadable)?;
        pages.push((Path::new(REFERENCE).join(entry.file_name()), text));
    }
    pages.sort();
    Ok(pages)
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
