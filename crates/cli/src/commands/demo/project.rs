//! A demo's folder. The first demo's: a small shop, as it was before a release, and the release.

use std::fs;
use std::path::Path;

use crate::exit::CliError;
use crate::new_file::write_new;

/// The release's migrations come after this version: up to it the shop is as it was.
pub(super) const BEFORE_THE_RELEASE: &str = "20260105090000";

/// How many offices get a letter.
pub(super) const OFFICES: usize = 100;

/// A file of a project: its path, its text, and whether it is a program.
type File = (&'static str, &'static str, bool);

/// A demo's project.
pub(super) struct Kit {
    /// Its `dunlin.toml`. Its first line shows that the folder is ours.
    pub(super) configuration: &'static str,
    /// All other files.
    pub(super) files: &'static [File],
    /// What a demo leaves behind, besides its `dunlin.toml`.
    pub(super) folders: &'static [&'static str],
    /// Its databases.
    pub(super) databases: &'static [&'static str],
    /// How to name another folder.
    pub(super) elsewhere: &'static str,
}

/// The shop and its release.
const SHOP: Kit = Kit {
    configuration: include_str!("../../templates/demo/dunlin.toml"),
    files: FILES,
    folders: &["migrations", "data_migrations", "post"],
    databases: &["shop.db"],
    elsewhere: "dunlin demo FOLDER",
};

const FILES: &[File] = &[
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

/// Makes the project in a new or empty folder, or afresh where an earlier demo was.
pub(super) fn make(folder: &Path) -> Result<(), CliError> {
    lay_out(folder, &SHOP)?;
    let offices: String = (1..=OFFICES).map(|number| format!("office {number}\n")).collect();
    write(folder, "post/offices.txt", &offices, false)
}

/// Writes a demo's files, where nothing is or what an earlier demo left.
pub(super) fn lay_out(folder: &Path, kit: &Kit) -> Result<(), CliError> {
    clear(folder, kit)?;
    write(folder, "dunlin.toml", kit.configuration, false)?;
    for (file, text, executable) in kit.files {
        write(folder, file, text, *executable)?;
    }
    Ok(())
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
fn clear(folder: &Path, kit: &Kit) -> Result<(), CliError> {
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(CliError::file("read", folder, &error)),
    };
    let ours = fs::read_to_string(folder.join("dunlin.toml"))
        .is_ok_and(|text| text.lines().next() == kit.configuration.lines().next());
    if !ours {
        if entries.next().is_none() {
            return Ok(());
        }
        return Err(CliError::usage(
            format!("the folder {} holds something that no demo made", folder.display()),
            format!("name another: {}", kit.elsewhere),
        ));
    }
    for name in kit.folders {
        gone(&folder.join(name), |path| fs::remove_dir_all(path))?;
    }
    // Its configuration last: whatever goes wrong before, the folder is still known as ours.
    for database in kit.databases {
        for ending in ["", "-journal", "-wal", "-shm"] {
            gone(&folder.join(format!("{database}{ending}")), |path| fs::remove_file(path))?;
        }
    }
    gone(&folder.join("dunlin.toml"), |path| fs::remove_file(path))
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
