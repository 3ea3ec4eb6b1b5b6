//! The demo's folder: a small shop, as it was before a release, and the release.

use std::fs;
use std::path::Path;

use crate::exit::CliError;
use crate::new_file::write_new;

/// The release's migrations come after this version: up to it the shop is as it was.
pub(super) const BEFORE_THE_RELEASE: &str = "20260105090000";

/// How many offices get a letter.
pub(super) const OFFICES: usize = 100;

/// The first line of a `dunlin.toml` that shows that the folder is ours.
fn mark() -> &'static str {
    CONFIGURATION.lines().next().unwrap_or_default()
}

const CONFIGURATION: &str = include_str!("../../templates/demo/dunlin.toml");

/// A file of the project: its path, its text, and whether it is a program.
type File = (&'static str, &'static str, bool);

const FILES: &[File] = &[
    ("dunlin.toml", CONFIGURATION, false),
    (
        "migrations/20260105090000_create_customers.up.sql",
        include_str!("../../templates/demo/create_customers.up.sql"),
        false,
    ),
    (
        "migrations/20260105090000_create_customers.down.sql",
        include_str!("../../templates/demo/create_customers.down.sql"),
        false,
    ),
    (
        "migrations/20260112100000_add_first_and_last_name.up.sql",
        include_str!("../../templates/demo/add_first_and_last_name.up.sql"),
        false,
    ),
    (
        "migrations/20260112100000_add_first_and_last_name.down.sql",
        include_str!("../../templates/demo/add_first_and_last_name.down.sql"),
        false,
    ),
    (
        "data_migrations/20260112101000_split_names.sql",
        include_str!("../../templates/demo/split_names.sql"),
        false,
    ),
    (
        "data_migrations/20260112102000_double_points.sql",
        include_str!("../../templates/demo/double_points.sql"),
        false,
    ),
    (
        "data_migrations/20260112103000_send_letters.sh",
        include_str!("../../templates/demo/send_letters.sh"),
        true,
    ),
    (
        "migrations/20260119090000_drop_name.up.sql",
        include_str!("../../templates/demo/drop_name.up.sql"),
        false,
    ),
    (
        "migrations/20260119090000_drop_name.down.sql",
        include_str!("../../templates/demo/drop_name.down.sql"),
        false,
    ),
];

/// What a demo leaves behind, besides its `dunlin.toml`.
const FOLDERS: &[&str] = &["migrations", "data_migrations", "post"];
const DATABASE: &[&str] = &["shop.db", "shop.db-journal", "shop.db-wal", "shop.db-shm"];

/// Makes the project in a new or empty folder, or afresh where an earlier demo was.
pub(super) fn make(folder: &Path) -> Result<(), CliError> {
    clear(folder)?;
    for (file, text, executable) in FILES {
        write(folder, file, text, *executable)?;
    }
    let offices: String = (1..=OFFICES).map(|number| format!("office {number}\n")).collect();
    write(folder, "post/offices.txt", &offices, false)
}

/// Puts the stamps there that the letters wait for.
pub(super) fn bring_stamps(folder: &Path) -> Result<(), CliError> {
    write(folder, "post/stamps", "plenty\n", false)
}

/// The letters that were sent, a line each.
pub(super) fn letters_sent(folder: &Path) -> Result<Vec<String>, CliError> {
    let file = folder.join("post/sent.txt");
    let text = fs::read_to_string(&file).map_err(|error| CliError::file("read", &file, &error))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn write(folder: &Path, file: &str, text: &str, executable: bool) -> Result<(), CliError> {
    write_new(&folder.join(file), text, executable).map(|_| ())
}

/// Takes away what an earlier demo left, and refuses a folder that holds anything else's project.
fn clear(folder: &Path) -> Result<(), CliError> {
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(CliError::file("read", folder, &error)),
    };
    let ours = fs::read_to_string(folder.join("dunlin.toml"))
        .is_ok_and(|text| text.lines().next() == Some(mark()));
    if !ours {
        if entries.next().is_none() {
            return Ok(());
        }
        return Err(CliError::usage(
            format!("the folder {} holds something that no demo made", folder.display()),
            "name another: dunlin demo FOLDER",
        ));
    }
    for name in FOLDERS {
        gone(&folder.join(name), |path| fs::remove_dir_all(path))?;
    }
    // Its configuration last: whatever goes wrong before, the folder is still known as ours.
    for name in DATABASE.iter().chain(&["dunlin.toml"]) {
        gone(&folder.join(name), |path| fs::remove_file(path))?;
    }
    Ok(())
}

fn gone(path: &Path, remove: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), CliError> {
    match remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CliError::file("remove", path, &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_folder_is_begun_afresh() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("shop");
        make(&folder).expect("a new folder");
        fs::write(folder.join("post/sent.txt"), "a letter").expect("written");
        fs::write(folder.join("notes.txt"), "mine").expect("written");
        make(&folder).expect("afresh");
        assert!(!folder.join("post/sent.txt").exists());
        assert!(folder.join("notes.txt").exists());
        fs::write(folder.join("dunlin.toml"), "# mine").expect("written");
        let error = make(&folder).expect_err("refused");
        assert!(matches!(error, CliError::Usage { .. }));
        assert!(folder.join("migrations").exists());
    }
}
