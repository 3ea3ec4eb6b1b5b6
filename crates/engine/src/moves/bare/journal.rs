//! What of the target's definitions a move has dropped: its entries in the store.

use dunlin_model::moves::TableName;
use serde::{Deserialize, Serialize};

use super::super::ports::{MoveTarget, Stored};
use super::super::session::Session;
use super::port::{Definition, DefinitionKind};
use crate::{ErrorKind, TargetError};

/// The area: number 0 says which tables are kept, each other one is something that was dropped.
const AREA: &str = "bare";

const FORMAT: u32 = 1;

/// Entries that are read at once.
const AT_ONCE: u32 = 64;

/// A table that is kept, with the rules that fill it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptTable {
    pub(super) table: TableName,
    /// The rules' names, which their packs go by.
    pub(super) rules: Vec<String>,
}

/// The tables that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: u32,
    tables: Vec<KeptTable>,
}

/// What is dropped and not restored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Journal {
    pub(super) tables: Vec<KeptTable>,
    /// In the order in which they were made, by their numbers.
    pub(super) definitions: Vec<(i64, Definition)>,
}

impl Journal {
    /// Out of the store; `None`: nothing is dropped.
    pub(super) async fn read(session: &mut Session<'_>) -> Result<Option<Self>, TargetError> {
        let name = session.name.clone();
        read(session.target.as_mut(), &name).await
    }

    pub(super) fn names(&self) -> Vec<TableName> {
        self.tables.iter().map(|kept| kept.table.clone()).collect()
    }

    /// The rules that fill a table.
    pub(super) fn rules(&self, table: &TableName) -> &[String] {
        let found = self.tables.iter().find(|kept| kept.table == *table);
        found.map_or(&[], |kept| kept.rules.as_slice())
    }

    /// Which tables are kept, as an entry.
    pub(super) fn head(&self) -> Result<Stored, TargetError> {
        put(0, &Head { format: FORMAT, tables: self.tables.clone() })
    }

    /// All entries.
    pub(super) fn entries(&self) -> Result<Vec<Stored>, TargetError> {
        let mut all = vec![self.head()?];
        for (number, definition) in &self.definitions {
            all.push(put(*number, definition)?);
        }
        Ok(all)
    }
}

/// The entry of something that is no longer so.
pub(super) fn gone(number: i64) -> Stored {
    Stored { area: AREA.to_owned(), number, value: None }
}

fn put(number: i64, what: &impl Serialize) -> Result<Stored, TargetError> {
    let value = serde_json::to_vec(what)
        .map_err(|error| TargetError::new(ErrorKind::Bug, format!("no entry: {error}")))?;
    Ok(Stored { area: AREA.to_owned(), number, value: Some(value) })
}

async fn read(target: &mut dyn MoveTarget, name: &str) -> Result<Option<Journal>, TargetError> {
    let mut journal: Option<Journal> = None;
    let mut from = 0;
    loop {
        let stored = target.stored(name, AREA, from, AT_ONCE).await?;
        let Some(last) = stored.last() else { return Ok(journal) };
        from = last.number + 1;
        for entry in stored {
            let value = entry.value.as_deref().unwrap_or_default();
            match &mut journal {
                None => {
                    let head: Head = serde_json::from_slice(value).map_err(|_| unreadable())?;
                    if entry.number != 0 || head.format != FORMAT {
                        return Err(unreadable());
                    }
                    journal = Some(Journal { tables: head.tables, definitions: Vec::new() });
                }
                Some(journal) => {
                    let made = serde_json::from_slice(value).map_err(|_| unreadable())?;
                    journal.definitions.push((entry.number, made));
                }
            }
        }
    }
}

fn unreadable() -> TargetError {
    TargetError::new(ErrorKind::LedgerFormat, "the list of what was dropped can't be read")
        .help("a newer version of Dunlin may have written it: use that one")
}

/// What a run that did not come to its end has left dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Tables that nobody else may write.
    pub tables: Vec<String>,
    /// Indexes.
    pub indexes: Vec<String>,
    /// Foreign keys.
    pub foreign_keys: Vec<String>,
}

/// What is dropped now; `None`: nothing.
///
/// # Errors
/// The database's.
pub async fn dropped(
    target: &mut dyn MoveTarget,
    name: &str,
) -> Result<Option<Dropped>, TargetError> {
    let Some(journal) = read(target, name).await? else { return Ok(None) };
    let of = |kind: DefinitionKind| {
        let all = journal.definitions.iter().filter(|(_, definition)| definition.kind == kind);
        all.map(|(_, definition)| format!("{} of {}", definition.name, definition.table)).collect()
    };
    Ok(Some(Dropped {
        tables: journal.tables.iter().map(|kept| kept.table.to_string()).collect(),
        indexes: of(DefinitionKind::Index),
        foreign_keys: of(DefinitionKind::ForeignKey),
    }))
}
