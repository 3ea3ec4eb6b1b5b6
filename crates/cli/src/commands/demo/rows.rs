//! The demo's proof: every row, before and after, compared here rather than believed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use dunlin::engine::{Purpose, ReadRequest, Target, TargetError};
use dunlin::model::TableQuery;
use dunlin::{ConnectOptions, connector};

use crate::context::target_error;
use crate::exit::CliError;

/// The database's name in the demo's `dunlin.toml`.
pub(super) const DATABASE: &str = "shop";

/// Rows by their id, without it.
pub(super) type Rows = BTreeMap<String, Vec<String>>;

const TABLE: &str = "customers";

/// Reads columns of every customer.
pub(super) async fn read(folder: &Path, columns: &[&str]) -> Result<Rows, CliError> {
    let columns: Vec<&str> = std::iter::once("id").chain(columns.iter().copied()).collect();
    let rows = all(folder, DATABASE, TABLE, &columns).await?.into_iter().filter_map(|row| {
        let mut values = row.into_iter();
        Some((values.next()?, values.collect()))
    });
    Ok(rows.collect())
}

/// Reads columns of every row of a table, in the order of the first. NULL is the empty text.
pub(super) async fn all(
    folder: &Path,
    database: &str,
    table: &str,
    columns: &[&str],
) -> Result<Vec<Vec<String>>, CliError> {
    let query = TableQuery {
        table: table.to_owned(),
        columns: columns.iter().map(|&name| name.to_owned()).collect(),
        order_by: columns.iter().take(1).map(|&name| name.to_owned()).collect(),
    };
    let request = ReadRequest { ledger: false, foreign: Some(query) };
    let read = async { connect(folder, database).await?.read(&request).await };
    let answer = read.await.map_err(|error| target_error(database, error))?;
    let row = |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect();
    Ok(answer.rows.into_iter().map(row).collect())
}

/// Whether customers have that column.
pub(super) async fn has_column(folder: &Path, column: &str) -> Result<bool, CliError> {
    let probe = async { connect(folder, DATABASE).await?.probe(&[TABLE]).await };
    let found = probe.await.map_err(|error| target_error(DATABASE, error))?;
    Ok(found.tables.iter().any(|table| table.columns.iter().any(|(name, _)| name == column)))
}

/// Connects to the file `NAME.db`.
async fn connect(folder: &Path, name: &str) -> Result<Box<dyn Target>, TargetError> {
    let options = ConnectOptions {
        url: format!("sqlite:{name}.db"),
        direct_url: None,
        replica_urls: Vec::new(),
        root: folder.to_owned(),
        connect_timeout: Duration::from_secs(10),
    };
    connector(&options)?.connect(Purpose::Look).await
}

/// What a comparison found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Proof {
    /// Rows that were there before and are as they should be.
    pub(super) right: usize,
    /// Rows that are not.
    pub(super) wrong: usize,
    /// Rows that are gone, or came from nowhere.
    pub(super) lost_or_new: usize,
}

impl Proof {
    pub(super) fn holds(&self) -> bool {
        self.wrong == 0 && self.lost_or_new == 0 && self.right > 0
    }
}

/// Compares (name, points) before with (first name, last name, points) after: each name split,
/// each number of points doubled plus one, once.
pub(super) fn compare(before: &Rows, after: &Rows) -> Proof {
    let mut proof = Proof::default();
    for id in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        match (before.get(id).map(Vec::as_slice), after.get(id).map(Vec::as_slice)) {
            (Some([name, points]), Some([first, last, now])) => {
                let expected = points.parse::<i64>().ok().map(|points| points * 2 + 1);
                let doubled = expected.is_some() && now.parse().ok() == expected;
                if doubled && *name == format!("{first} {last}") {
                    proof.right += 1;
                } else {
                    proof.wrong += 1;
                }
            }
            _ => proof.lost_or_new += 1,
        }
    }
    proof
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, &[&str])]) -> Rows {
        rows.iter()
            .map(|(id, values)| ((*id).to_owned(), values.iter().map(|&v| v.to_owned()).collect()))
            .collect()
    }

    #[test]
    fn a_row_that_was_doubled_twice_or_not_at_all_is_wrong() {
        let before = rows(&[("1", &["Ada L", "3"]), ("2", &["Tony H", "0"])]);
        let good = rows(&[("1", &["Ada", "L", "7"]), ("2", &["Tony", "H", "1"])]);
        assert!(compare(&before, &good).holds());
        let twice = rows(&[("1", &["Ada", "L", "15"]), ("2", &["Tony", "H", "0"])]);
        assert_eq!(compare(&before, &twice), Proof { right: 0, wrong: 2, lost_or_new: 0 });
        let lost = rows(&[("1", &["Ada", "L", "7"]), ("3", &["Tony", "H", "1"])]);
        assert_eq!(compare(&before, &lost), Proof { right: 1, wrong: 0, lost_or_new: 2 });
        assert!(!compare(&rows(&[]), &rows(&[])).holds());
    }
}
