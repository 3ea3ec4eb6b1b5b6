//! Which files of a folder make which tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::moves::TableName;

use crate::fault::{reading, unusable};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Fields with something between them.
    Csv,
    /// The same with tabs.
    Tsv,
    /// A JSON object on each line.
    Ndjson,
    /// Columns, typed.
    Parquet,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// What tells whether a file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) bytes: u64,
    pub(crate) modified: Option<SystemTime>,
}

impl Stamp {
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// One file of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableFile {
    pub(crate) path: PathBuf,
    /// As people see it: below the folder.
    pub(crate) shown: String,
    pub(crate) packing: Packing,
    /// As it was when the folder was looked at.
    pub(crate) stamp: Stamp,
}

/// A file, or a folder of files of one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableFiles {
    pub(crate) name: TableName,
    pub(crate) format: Format,
    /// In the order of their names; at least one.
    pub(crate) files: Vec<TableFile>,
}

/// The tables of a folder, by name.
pub(crate) fn tables(folder: &Path) -> Result<Vec<TableFiles>, TargetError> {
    let mut found: BTreeMap<String, (String, TableFiles)> = BTreeMap::new();
    let place = folder.display().to_string();
    for (path, name) in entries(folder, &place)? {
        let metadata = fs::metadata(&path).map_err(|error| reading(&name, &error))?;
        let (stem, table) = if metadata.is_dir() {
            match of_folder(&path, &name)? {
                Some(table) => (name.clone(), table),
                None => continue,
            }
        } else {
            let Some((stem, format, packing)) = ending(&name) else { continue };
            let stamp = Stamp::of(&metadata);
            let file = TableFile { path, shown: name.clone(), packing, stamp };
            (
                stem.to_owned(),
                TableFiles { name: TableName::parse(stem), format, files: vec![file] },
            )
        };
        if let Some((other, _)) = found.get(&stem) {
            return Err(unusable(other, format!("and {name} both make a table `{stem}`"))
                .help("take one of them away, or put files of one shape into a folder"));
        }
        found.insert(stem, (name, table));
    }
    Ok(found.into_values().map(|(_, table)| table).collect())
}

/// The entries of a folder with their names, sorted; hidden ones are left out.
fn entries(folder: &Path, shown: &str) -> Result<Vec<(PathBuf, String)>, TargetError> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            TargetError::new(ErrorKind::NoSuchDatabase, format!("there is no folder {shown}"))
                .help("a relative path begins at the folder of dunlin.toml")
        }
        std::io::ErrorKind::NotADirectory => {
            TargetError::new(ErrorKind::NoSuchDatabase, format!("{shown} is no folder"))
                .help("name the folder that the file is in: each of its files is a table")
        }
        _ => reading(shown, &error),
    };
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            all.push((entry.path(), name));
        }
    }
    all.sort();
    Ok(all)
}

/// A folder in the folder: one table, if it has files of one format.
fn of_folder(path: &Path, name: &str) -> Result<Option<TableFiles>, TargetError> {
    let mut table: Option<TableFiles> = None;
    for (path, file) in entries(path, name)? {
        let shown = format!("{name}/{file}");
        let metadata = fs::metadata(&path).map_err(|error| reading(&shown, &error))?;
        let Some((_, format, packing)) = ending(&file).filter(|_| metadata.is_file()) else {
            continue;
        };
        let stamp = Stamp::of(&metadata);
        let file = TableFile { path, shown, packing, stamp };
        match &mut table {
            None => {
                table =
                    Some(TableFiles { name: TableName::parse(name), format, files: vec![file] });
            }
            Some(table) if table.format == format => table.files.push(file),
            Some(table) => {
                let first = &table.files[0].shown;
                return Err(unusable(first, format!("and {} are not alike", file.shown))
                    .help("a folder in the folder is one table, so its files are of one format"));
            }
        }
    }
    Ok(table)
}

/// The table's name, the format and the compression, by a file's name. `None`: it is no table.
fn ending(name: &str) -> Option<(&str, Format, Packing)> {
    let cut = |name: &str, end: &str| {
        let at = name.len().checked_sub(end.len()).filter(|at| name.is_char_boundary(*at))?;
        name[at..].eq_ignore_ascii_case(end).then_some(at)
    };
    let (rest, packing) = match (cut(name, ".gz"), cut(name, ".zst")) {
        (Some(at), _) => (&name[..at], Packing::Gzip),
        (None, Some(at)) => (&name[..at], Packing::Zstd),
        (None, None) => (name, Packing::Plain),
    };
    let formats = [
        (".csv", Format::Csv),
        (".tsv", Format::Tsv),
        (".ndjson", Format::Ndjson),
        (".jsonl", Format::Ndjson),
        (".parquet", Format::Parquet),
    ];
    let (stem, format) =
        formats.iter().find_map(|(end, format)| Some((&rest[..cut(rest, end)?], *format)))?;
    // Parquet compresses by itself, and is read from its end.
    let packed_parquet = format == Format::Parquet && packing != Packing::Plain;
    (!stem.is_empty() && !packed_parquet).then_some((stem, format, packing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_tables_and_formats() {
        assert_eq!(ending("orders.csv"), Some(("orders", Format::Csv, Packing::Plain)));
        assert_eq!(ending("Orders.CSV.GZ"), Some(("Orders", Format::Csv, Packing::Gzip)));
        assert_eq!(ending("a.b.jsonl.zst"), Some(("a.b", Format::Ndjson, Packing::Zstd)));
        assert_eq!(ending("x.tsv"), Some(("x", Format::Tsv, Packing::Plain)));
        assert_eq!(ending("x.parquet"), Some(("x", Format::Parquet, Packing::Plain)));
        for none in ["README.md", ".csv", "csv", "x.parquet.gz", "x.gz", "ü", "x.json"] {
            assert_eq!(ending(none), None, "{none}");
        }
    }
}
