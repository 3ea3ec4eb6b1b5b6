//! Drift: a file that is no longer what was applied.

use std::path::PathBuf;

use dunlin_model::{Checksums, EntryState, Kind, MigrationId};
use serde::Serialize;

use super::Inputs;

/// An applied migration whose file was edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Which.
    pub id: MigrationId,
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// What was applied.
    pub recorded: Checksums,
    /// What is there now.
    pub found: Checksums,
}

/// Finds every drifted file. Only files whose bytes differ are parsed; one that no longer parses
/// has drifted.
#[must_use]
pub fn drift(inputs: &Inputs<'_>) -> Vec<Drift> {
    let mut drifted = Vec::new();
    for (id, file) in &inputs.folder.files {
        let Some(entry) = inputs.ledger.entries.get(id) else { continue };
        let Some(recorded) = &entry.checksums else { continue };
        if entry.state != EntryState::Applied || recorded.text == file.checksum {
            continue;
        }
        let statements = match file.parse(inputs.dialect()) {
            Ok(migration) => migration.checksums.statements,
            Err(_) => file.checksum.clone(),
        };
        let found = Checksums { text: file.checksum.clone(), statements };
        // A data migration that ran as a program has no statements: its bytes decide alone.
        if !found.agrees_with(recorded) || (id.kind == Kind::Data && file.program) {
            drifted.push(Drift {
                id: *id,
                name: file.name.clone(),
                file: file.up.clone(),
                recorded: recorded.clone(),
                found,
            });
        }
    }
    drifted
}
