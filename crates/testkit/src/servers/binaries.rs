//! Where a server's programs are installed.

use std::path::{Path, PathBuf};

use super::{Product, environment};

/// A program that is needed and not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{program} is not installed, and this test needs it; install it with `{install}`, \
     or run `cargo xtask test`, which does so as root on Debian"
)]
pub struct Missing {
    /// Its name.
    pub program: String,
    /// The command that installs it here.
    pub install: String,
}

/// The program of that name that belongs to a product.
pub(super) fn find(product: Product, names: &[&str]) -> Result<PathBuf, Missing> {
    let folders = folders(product);
    let found = names.iter().find_map(|name| {
        folders.iter().map(|folder| folder.join(name)).find(|path| is_program(path))
    });
    found.ok_or_else(|| Missing {
        program: names.first().copied().unwrap_or_default().to_owned(),
        install: install_command(product),
    })
}

/// The programs of these products that are not installed.
#[must_use]
pub fn missing(products: &[Product]) -> Vec<Missing> {
    let mut missing = Vec::new();
    for &product in products {
        let needed: &[&[&str]] = match product {
            Product::Postgres => {
                &[&["postgres"], &["initdb"], &["psql"], &["pg_dump"], &["pg_basebackup"]]
            }
            Product::Pgbouncer => &[&["pgbouncer"]],
            Product::Mysql => &[SERVER_NAMES, CLIENT_NAMES, DUMP_NAMES],
            Product::Sqlite => &[&["sqlite3"]],
        };
        missing.extend(needed.iter().filter_map(|names| find(product, names).err()));
    }
    missing
}

pub(super) const SERVER_NAMES: &[&str] = &["mariadbd", "mysqld"];
pub(super) const CLIENT_NAMES: &[&str] = &["mariadb", "mysql"];
pub(super) const DUMP_NAMES: &[&str] = &["mariadb-dump", "mysqldump"];
pub(super) const ADMIN_NAMES: &[&str] = &["mariadb-admin", "mysqladmin"];

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The folders to look in. Debian keeps a PostgreSQL's own programs outside PATH, and what is on
/// PATH there is a slow wrapper, so those come first; the newest version wins.
fn folders(product: Product) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if product == Product::Postgres {
        let mut versions = subfolders(Path::new("/usr/lib/postgresql"));
        versions.extend(subfolders(Path::new("/usr/local/lib/postgresql")));
        versions.sort_by_key(|path| std::cmp::Reverse(trailing_number(path)));
        folders.extend(versions.into_iter().map(|version| version.join("bin")));
    }
    let path = environment("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/usr/local/bin"].map(PathBuf::from));
    for brew in ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"] {
        for formula in subfolders(Path::new(brew)) {
            folders.push(formula.join("bin"));
            folders.push(formula.join("sbin"));
        }
    }
    folders
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

fn trailing_number(path: &Path) -> u32 {
    path.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}

fn install_command(product: Product) -> String {
    let (debian, brew) = match product {
        Product::Postgres => ("postgresql", "postgresql"),
        Product::Pgbouncer => ("pgbouncer", "pgbouncer"),
        Product::Mysql => ("mariadb-server", "mariadb"),
        Product::Sqlite => ("sqlite3", "sqlite"),
    };
    if cfg!(target_os = "macos") {
        format!("brew install {brew}")
    } else {
        format!("apt-get install {debian}")
    }
}
