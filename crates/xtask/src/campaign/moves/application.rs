//! The new application, which is used while rows still come from the old one.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_testkit::servers::Product;
use serde_json::Value;

use super::oracle::{At, Row, Snapshot, referred, snapshot};
use super::source::WORDS;
use super::world::World;
use crate::Failure;

/// What is the application's, by tables and their own keys.
#[derive(Debug, Default)]
pub(super) struct Theirs {
    /// Rows that it added, with their columns.
    pub(super) added: BTreeMap<At, Value>,
    /// Moved rows that it changed, with their columns.
    pub(super) changed: BTreeMap<At, Value>,
    /// Moved rows that it deleted.
    pub(super) deleted: BTreeSet<At>,
    /// What it wrote into a column that the mapping doesn't name.
    pub(super) captions: BTreeMap<At, String>,
}

impl Theirs {
    /// All rows that are there before the move begins.
    pub(super) fn before(there: Snapshot) -> Self {
        let rows = there.into_iter().map(|(at, row)| ((at.0, row.key), row.columns));
        Self { added: rows.collect(), ..Self::default() }
    }

    /// Addresses of accounts that its rows stand on, directly or by rows that were kept for it.
    pub(super) fn pinned(&self, there: &Snapshot, kept: &BTreeSet<At>) -> BTreeSet<String> {
        let mut accounts: BTreeSet<At> = BTreeSet::new();
        for (at, row) in there {
            let own = (at.0.clone(), row.key.clone());
            if self.is_theirs(&own) || kept.contains(at) {
                accounts.extend(referred(row));
                accounts.insert(own);
            }
        }
        there
            .iter()
            .filter(|(at, row)| {
                at.0 == "accounts" && accounts.contains(&(at.0.clone(), row.key.clone()))
            })
            .map(|(at, _)| at.1.clone())
            .collect()
    }

    fn is_theirs(&self, own: &At) -> bool {
        self.added.contains_key(own) || self.changed.contains_key(own)
    }
}

/// What the application may add, where the old one may add the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adds {
    /// No numbers are kept free for it yet.
    Rows,
    /// Teams, whose numbers the database gives.
    Teams,
    /// Tags as well, of words that old labels may get.
    Tags,
}

/// The application's users at work.
pub(super) struct Application {
    random: fastrand::Rng,
    number: u32,
}

/// What its users change in a row: table, column.
const EDITED: [(&str, &str); 7] = [
    ("teams", "title"),
    ("accounts", "phone"),
    ("memberships", "standing"),
    ("tasks", "title"),
    ("tasks", "stage"),
    ("notes", "body"),
    ("notices", "words"),
];

/// Tables whose rows nothing refers to.
const DELETED: [&str; 5] = ["memberships", "signoffs", "events", "files", "notices"];

impl Application {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), number: 0 }
    }

    /// Adds, changes and deletes some rows.
    pub(super) fn work(
        &mut self,
        world: &World,
        theirs: &mut Theirs,
        adds: Adds,
    ) -> Result<(), Failure> {
        let (before, _) = snapshot(&world.actual()?)?;
        let mut sql = "BEGIN;\n".to_owned();
        let mut touched: BTreeSet<At> = BTreeSet::new();
        for _ in 0..self.random.u32(1..=12) {
            let statement = match self.random.u8(0..10) {
                0..=3 => self.edit(&before, &mut touched),
                4 => self.delete(&before, theirs, &mut touched),
                5 => self.caption(&before, theirs, &mut touched),
                _ => self.add(&before, world.product, adds),
            };
            sql.push_str(&statement.unwrap_or_default());
        }
        sql.push_str("COMMIT;\n");
        world
            .new
            .sql(&sql)
            .map_err(|error| Failure::because("the new application cannot write", &error))?;
        let (after, _) = snapshot(&world.actual()?)?;
        let known: BTreeSet<At> =
            before.iter().map(|(at, row)| (at.0.clone(), row.key.clone())).collect();
        for (at, row) in after {
            let own = (at.0, row.key);
            if !known.contains(&own) || theirs.added.contains_key(&own) {
                theirs.added.insert(own, row.columns);
            } else if touched.contains(&own) {
                theirs.changed.insert(own, row.columns);
            }
        }
        Ok(())
    }

    fn pick<'s>(&mut self, there: &'s Snapshot, table: &str) -> Option<&'s Row> {
        let all: Vec<&Row> =
            there.iter().filter(|(at, _)| at.0 == table).map(|(_, row)| row).collect();
        (!all.is_empty()).then(|| all[self.random.usize(0..all.len())])
    }

    fn edit(&mut self, there: &Snapshot, touched: &mut BTreeSet<At>) -> Option<String> {
        let (table, column) = EDITED[self.random.usize(0..EDITED.len())];
        let row = self.pick(there, table)?;
        self.number += 1;
        touched.insert((table.to_owned(), row.key.clone()));
        let number = self.number;
        Some(format!(
            "UPDATE {table} SET {column} = 'theirs {number}' WHERE {};\n",
            itself(table, row)
        ))
    }

    fn delete(
        &mut self,
        there: &Snapshot,
        theirs: &mut Theirs,
        touched: &mut BTreeSet<At>,
    ) -> Option<String> {
        let table = DELETED[self.random.usize(0..DELETED.len())];
        let row = self.pick(there, table)?;
        let own = (table.to_owned(), row.key.clone());
        if theirs.added.contains_key(&own) {
            return None;
        }
        theirs.changed.remove(&own);
        theirs.captions.remove(&own);
        touched.remove(&own);
        theirs.deleted.insert(own);
        Some(format!("DELETE FROM {table} WHERE {};\n", itself(table, row)))
    }

    fn caption(
        &mut self,
        there: &Snapshot,
        theirs: &mut Theirs,
        touched: &mut BTreeSet<At>,
    ) -> Option<String> {
        let row = self.pick(there, "files")?;
        let own = ("files".to_owned(), row.key.clone());
        if theirs.deleted.contains(&own) || theirs.is_theirs(&own) || touched.contains(&own) {
            return None;
        }
        self.number += 1;
        let caption = format!("Caption {}", self.number);
        let sql =
            format!("UPDATE files SET caption = '{caption}' WHERE {};\n", itself("files", row));
        theirs.captions.insert(own, caption);
        Some(sql)
    }

    /// A row of its own, most of the time one that stands on a moved row.
    fn add(&mut self, there: &Snapshot, product: Product, adds: Adds) -> Option<String> {
        self.number += 1;
        let number = self.number;
        let id = self.id();
        let moment = "'2030-01-02 03:04:05'";
        Some(match self.random.u8(0..7) {
            0 if adds != Adds::Rows => {
                format!("INSERT INTO teams (title, made) VALUES ('Own {number}', {moment});\n")
            }
            0 | 1 => format!(
                "INSERT INTO accounts (id, code, mail, name, standing, joined) VALUES ('{id}', \
                 'x{number}', 'own{number}@example.org', 'Own', 'member', {moment});\n"
            ),
            6 if adds == Adds::Tags => {
                let word = format!("w{}", self.random.u8(1..=WORDS));
                if there.contains_key(&("tags".to_owned(), word.clone())) {
                    return None;
                }
                format!("INSERT INTO tags (word) VALUES ('{word}');\n")
            }
            2 => {
                let owner = self.pick(there, "accounts")?.key.clone();
                let team = self.pick(there, "teams")?.key.clone();
                let copy = self.pick(there, "tasks")?.key.clone();
                let (more, none) = match product {
                    Product::Sqlite | Product::Mysql => ("", ""),
                    _ => (", wants", ", '{}'"),
                };
                format!(
                    "INSERT INTO tasks (id, code, title, kind, stage, owner_id, team_id, \
                     copy_of_id, made{more}) VALUES ('{id}', 'x{number}', 'Own', 'film', 'open', \
                     '{owner}', {team}, '{copy}', {moment}{none});\n"
                )
            }
            3 => {
                let task = self.pick(there, "tasks")?.key.clone();
                format!(
                    "INSERT INTO files (code, task_id, name, size, place) VALUES ('x{number}', \
                     '{task}', 'own.txt', 1, 'own/{number}');\n"
                )
            }
            4 => {
                let (account, note) = (self.pick(there, "accounts")?, self.pick(there, "notes")?);
                format!(
                    "INSERT INTO notices (id, code, account_id, note_id, words, seen) VALUES \
                     ('{id}', 'x{number}', '{}', '{}', 'Own', false);\n",
                    account.key, note.key
                )
            }
            _ => {
                let (account, task) = (self.pick(there, "accounts")?, self.pick(there, "tasks")?);
                format!(
                    "INSERT INTO notes (id, code, task_id, author_id, body, made) VALUES ('{id}', \
                     'x{number}', '{}', '{}', 'Own', {moment});\n",
                    task.key, account.key
                )
            }
        })
    }

    fn id(&mut self) -> String {
        let hex = format!("{:032x}", self.random.u128(..));
        format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }
}

/// The condition that a row is this one.
fn itself(table: &str, row: &Row) -> String {
    let columns: &[&str] = match table {
        "memberships" => &["account_id", "team_id"],
        "signoffs" => &["task_id", "step"],
        _ => &["id"],
    };
    let parts: Vec<&str> = row.key.split(' ').collect();
    let equal = columns.iter().zip(parts).map(|(column, part)| format!("{column} = '{part}'"));
    equal.collect::<Vec<_>>().join(" AND ")
}
