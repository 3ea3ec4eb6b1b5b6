//! What another tool's history means for a plan.

use std::path::PathBuf;

use dunlin_model::{
    Diagnostic, ForeignHistory, HistoryTool, Migration, MigrationId, Place, Reference,
};

/// One finding for migrations that the other tool applied, however many, with the version that
/// takes over from it.
pub(super) fn refuse(
    foreign: Option<&ForeignHistory>,
    applied: &[(MigrationId, PathBuf)],
) -> Option<Diagnostic> {
    let tool = foreign?.tool;
    let ((first, file), (last, _)) = (applied.first()?, applied.last()?);
    let newest = last.version;
    let message = match applied.len() {
        1 => format!("{first} is not in our ledger, but {tool}'s history has it"),
        count => format!(
            "{count} migrations from {first} to {newest} are not in our ledger, but {tool}'s \
             history has them"
        ),
    };
    let help = format!(
        "to take over from {tool}, run `dunlin baseline --to {newest}` once; to keep {tool}, \
         remove `migrations` from this database's settings; schema_history = \"none\" ignores its \
         history"
    );
    Some(Diagnostic::error("applied-elsewhere", message).at(Place::file(file)).help(help))
}

/// One finding for migrations of which the other tool may have run a part, or all.
pub(super) fn stopped(
    foreign: Option<&ForeignHistory>,
    begun: &[(MigrationId, PathBuf)],
) -> Option<Diagnostic> {
    let foreign = foreign?;
    let tool = foreign.tool;
    let ((first, file), (last, _)) = (begun.first()?, begun.last()?);
    let which = match begun.len() {
        1 => format!("{first}"),
        count => format!("{count} migrations from {first} to {}", last.version),
    };
    let message = format!(
        "{tool} stopped half-way at {}, so how much of {which} has run is not known",
        foreign.half_way().join(", ")
    );
    let help = format!(
        "finish it with {tool} first, or repair what it left and set its history right (what \
         {tool} calls force, repair or resolve); schema_history = \"none\" ignores its history"
    );
    Some(Diagnostic::error("half-way-elsewhere", message).at(Place::file(file)).help(help))
}

/// Alembic's table keeps only the heads of its graph. A revision that is applied but has been
/// built upon looks like one that never ran, so whoever waits for it is told.
pub(super) fn unseen(
    foreign: Option<&ForeignHistory>,
    reference: &Reference,
    migration: &Migration,
) -> Option<Diagnostic> {
    let history = foreign.filter(|history| history.tool == HistoryTool::Alembic)?;
    if history.entries.is_empty() || reference.kind.is_some() {
        return None;
    }
    let heads: Vec<&str> = history.entries.iter().map(|entry| entry.version.as_str()).collect();
    let message = format!(
        "whether alembic's {} is applied cannot be told: its table keeps only the newest revision, \
         {}",
        reference.text,
        heads.join(", ")
    );
    let help = "if `alembic history` shows it below that one, name the newest in `after` or remove \
                the directive";
    Some(Diagnostic::notice("alembic-heads", message).at(Place::file(migration.file())).help(help))
}

#[cfg(test)]
mod tests {
    use dunlin_model::{ForeignEntry, Version};

    use super::*;

    fn history(tool: HistoryTool, versions: &[&str]) -> ForeignHistory {
        let entries = versions.iter().map(|version| ForeignEntry {
            version: (*version).to_owned(),
            name: None,
            applied: true,
            at: None,
        });
        ForeignHistory {
            tool,
            table: "t".to_owned(),
            entries: entries.collect(),
            applied_up_to: None,
            dirty: false,
        }
    }

    #[test]
    fn a_long_history_is_one_finding_with_the_version_to_take_over_at() {
        let sqlx = history(HistoryTool::Sqlx, &["1", "2", "3"]);
        let applied: Vec<(MigrationId, PathBuf)> = [1, 2, 3]
            .into_iter()
            .filter_map(Version::new)
            .map(|version| (MigrationId::schema(version), format!("{version}_a.sql").into()))
            .collect();
        assert_eq!(refuse(Some(&sqlx), &[]), None);
        let found = refuse(Some(&sqlx), &applied).map(|found| found.to_string());
        let text = found.unwrap_or_default();
        assert!(text.starts_with("1_a.sql: 3 migrations from schema 1 to 3 are"), "{text}");
        assert!(text.contains("`dunlin baseline --to 3` once"), "{text}");
        let one = refuse(Some(&sqlx), &applied[..1]).map(|found| found.message);
        assert_eq!(
            one.as_deref(),
            Some("schema 1 is not in our ledger, but sqlx's history has it")
        );
    }
}
