//! Baseline: to declare that a database is already at a version.

use dunlin_model::{Diagnostic, EntryState, Kind, MigrationId, Version};

use super::Inputs;

/// The migrations, schema and data, that `baseline --to V` declares applied: those up to the
/// version that the ledger does not know as applied.
///
/// # Errors
/// There is no migration of that version.
pub fn baseline(inputs: &Inputs<'_>, to: Version) -> Result<Vec<MigrationId>, Vec<Diagnostic>> {
    let exists = inputs.folder.files.keys().any(|id| id.version == to);
    if !exists {
        let versions = inputs.folder.files.keys().map(|id| id.version.to_string());
        let near = super::check::nearest(&to.to_string(), versions);
        let error =
            Diagnostic::error("unknown-version", format!("there is no migration of version {to}"));
        return Err(vec![match near {
            Some(near) => error.help(format!("did you mean {near}?")),
            None => error.help("`dunlin status` lists the versions that there are"),
        }]);
    }
    Ok(inputs
        .folder
        .files
        .keys()
        .filter(|id| id.version <= to)
        .filter(|id| {
            !matches!(
                inputs.ledger.state(**id),
                Some(EntryState::Applied | EntryState::Retired | EntryState::Skipped)
            )
        })
        .filter(|id| id.kind == Kind::Schema || !inputs.folder.retired.contains_key(&id.version))
        .copied()
        .collect())
}
