//! The version of a new migration: the time in UTC, and above every other.

use dunlin::model::{Kind, Version};
use dunlin::project::folder::Folder;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::exit::CliError;

/// A timestamp above every version of the folder: `now`, or the second after the newest.
pub(super) fn next(folder: &Folder, now: Timestamp) -> Result<Version, CliError> {
    let now = number(now.to_zoned(TimeZone::UTC).datetime());
    let taken = folder.files.keys().map(|id| id.version);
    let newest = taken.chain(folder.retired.keys().copied()).max().map_or(-1, Version::get);
    let next = if newest < now { Some(now) } else { following(newest) };
    next.and_then(Version::new).ok_or_else(|| {
        CliError::usage(
            format!("no version is left above {newest}"),
            "name the file by hand, with a version of its own",
        )
    })
}

/// The newest schema migration there is a file of.
pub(super) fn newest_schema(folder: &Folder) -> Option<Version> {
    folder.files.keys().filter(|id| id.kind == Kind::Schema).map(|id| id.version).max()
}

/// The second after a version that is a timestamp, else the number after it.
fn following(newest: i64) -> Option<i64> {
    let second_later = date_time(newest).and_then(|at| at.checked_add(1.second()).ok()).map(number);
    second_later.filter(|next| *next > newest).or_else(|| newest.checked_add(1))
}

fn number(at: DateTime) -> i64 {
    let date = i64::from(at.year()) * 10_000 + i64::from(at.month()) * 100 + i64::from(at.day());
    let time =
        i64::from(at.hour()) * 10_000 + i64::from(at.minute()) * 100 + i64::from(at.second());
    date * 1_000_000 + time
}

fn date_time(version: i64) -> Option<DateTime> {
    let part = |divisor: i64, modulus: i64| i8::try_from(version / divisor % modulus).ok();
    let year = i16::try_from(version / 10_000_000_000).ok().filter(|year| *year >= 1_000)?;
    DateTime::new(
        year,
        part(100_000_000, 100)?,
        part(1_000_000, 100)?,
        part(10_000, 100)?,
        part(100, 100)?,
        part(1, 100)?,
        0,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dunlin::project::folder;

    use super::*;

    fn folder_with(versions: &[&str]) -> Folder {
        let root = tempfile::tempdir().expect("a folder");
        for version in versions {
            std::fs::write(root.path().join(format!("{version}_a.sql")), "").expect("written");
        }
        folder::read(root.path(), Some(Path::new(".")), None).expect("read")
    }

    fn after(versions: &[&str]) -> Option<i64> {
        let now: Timestamp = "2026-01-10T09:30:00.9Z".parse().expect("a time");
        next(&folder_with(versions), now).ok().map(Version::get)
    }

    #[test]
    fn versions_grow() {
        assert_eq!(after(&[]), Some(20_260_110_093_000));
        assert_eq!(after(&["7", "20260110092959"]), Some(20_260_110_093_000));
        assert_eq!(after(&["20260110093000"]), Some(20_260_110_093_001));
        assert_eq!(after(&["20261231235959"]), Some(20_270_101_000_000));
        assert_eq!(after(&["99999999999999"]), Some(100_000_000_000_000));
        assert_eq!(after(&["9223372036854775807"]), None);
    }
}
