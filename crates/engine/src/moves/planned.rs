//! A plan, checked against both catalogues.

use dunlin_model::moves::{Catalogue, IdKind, IdSpec, Mapping, MoveMode, Relation, TableName};
use dunlin_model::{Diagnostic, Place, Severity};
use dunlin_project::moves::{LOOK_UP, check_mapping};

use super::look_up;
use super::plan::{MovePlan, plan, source_spec};
use super::ports::{MoveTarget, Source};
use super::repeatable::repeatable;
use super::run::MoveJob;
use super::state::{AREA, MoveState};
use crate::report::EngineError;
use crate::{ErrorKind, TargetError};

/// Reads both catalogues and plans; what is only doubtful comes beside the plan.
///
/// # Errors
/// What is wrong with the mapping; the databases'.
pub(super) async fn planned(
    move_job: &MoveJob,
    source: &mut dyn Source,
    target: &mut dyn MoveTarget,
) -> Result<(MovePlan, Vec<Diagnostic>), EngineError> {
    if reads_files(&move_job.mapping, source).map_err(EngineError::Refused)? {
        let stored = target.stored(&move_job.mapping.name, AREA, 0, 1).await?;
        if let Some(stored) = stored.first() {
            source.remember(&MoveState::read(stored)?.fixed.guessed);
        }
    }
    one_file(move_job)?;
    repeatable(move_job)?;
    let catalogues = tokio::join!(source_catalogue(&move_job.mapping, source), target.catalogue());
    let (from, to) = (catalogues.0?, catalogues.1?);
    let mapping = &with_names_of(&move_job.mapping, &from, &to);
    let mut found = check_mapping(mapping, &from, &to);
    found.extend(unsupported(mapping));
    let (errors, warnings): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|one| one.severity == Severity::Error);
    if errors.iter().any(|error| error.rule == LOOK_UP) {
        return Err(EngineError::Refused(errors));
    }
    let planned = plan(mapping, &from, &to, move_job.compiler.as_ref());
    match planned {
        Ok(mut plan) if errors.is_empty() => {
            plan.guessed = source.guessed();
            Ok((plan, warnings))
        }
        Ok(_) => Err(EngineError::Refused(errors)),
        Err(more) => {
            let mut all = errors;
            for one in more {
                let is_told = all.iter().any(|told| told.place == one.place);
                if !is_told {
                    all.push(one);
                }
            }
            Err(EngineError::Refused(all))
        }
    }
}

/// A file that is read under one snapshot keeps others from writing it.
fn one_file(move_job: &MoveJob) -> Result<(), EngineError> {
    let (Some(from), Some(to)) = (move_job.source.file(), move_job.target.file()) else {
        return Ok(());
    };
    if from != to {
        return Ok(());
    }
    let mapping = &move_job.mapping;
    let message = format!(
        "`{}` is read, and `{}` written, and both are one SQLite file",
        mapping.source.value, mapping.target.value
    );
    let found = Diagnostic::error("one-file", message)
        .at(Place::line(mapping.file.clone(), mapping.target.line))
        .help("copy the file, and move from the copy: sqlite3 FILE '.backup COPY'");
    Err(EngineError::Refused(vec![found]))
}

/// The mapping with tables named as the catalogues have them: a dot may belong to a table's name.
fn with_names_of(mapping: &Mapping, from: &Catalogue, to: &Catalogue) -> Mapping {
    let mut mapping = mapping.clone();
    let named = |table: &mut TableName, catalogue: &Catalogue| {
        if let Some(relation) = catalogue.relation(table) {
            table.clone_from(&relation.name);
        }
    };
    mapping.rules.iter_mut().for_each(|rule| named(&mut rule.table, to));
    mapping.ids.iter_mut().flat_map(|spec| &mut spec.table).for_each(|table| named(table, to));
    mapping.sources.iter_mut().flat_map(|spec| &mut spec.table).for_each(|one| named(one, from));
    mapping
}

/// Tells a folder of files how it is read, and whether it is one; refuses what means something for
/// files only.
fn reads_files(mapping: &Mapping, source: &mut dyn Source) -> Result<bool, Vec<Diagnostic>> {
    let place = |line| dunlin_model::Place::line(mapping.file.clone(), line);
    match source.files(mapping) {
        Ok(true) => Ok(true),
        Ok(false) => {
            let found = said_of_files(mapping);
            if found.is_empty() { Ok(false) } else { Err(found) }
        }
        Err(mistakes) => Err(mistakes
            .into_iter()
            .map(|wrong| {
                Diagnostic::error("files", wrong.message).at(place(wrong.line)).help(wrong.help)
            })
            .collect()),
    }
}

/// What a mapping says of files.
fn said_of_files(mapping: &Mapping) -> Vec<Diagnostic> {
    let all = mapping.files.iter().map(|files| ("files".to_owned(), files.line));
    let some = mapping.sources.iter().flat_map(|spec| {
        let file = spec.file.iter().map(|file| (format!("from.{}.file", spec.name), file.line));
        let types = spec.types.first().map(|one| (format!("from.{}.types", spec.name), one.line));
        file.chain(types)
    });
    all.chain(some)
        .map(|(what, line)| {
            let database = &mapping.source.value;
            Diagnostic::error("files", format!("`{what}` means something for files only"))
                .at(dunlin_model::Place::line(mapping.file.clone(), line))
                .help(format!("take it away: `{database}` is a database, which knows its types"))
        })
        .collect()
}

/// The source's tables, and the mapping's queries as if they were some; what is looked up elsewhere
/// is among their columns.
///
/// # Errors
/// The database's; what it says of a query, with that query's line.
pub async fn source_catalogue(
    mapping: &Mapping,
    source: &mut dyn Source,
) -> Result<Catalogue, EngineError> {
    let mut catalogue = source.catalogue().await?;
    for spec in &mapping.sources {
        let Some(query) = &spec.query else { continue };
        let name = TableName::of(spec.name.clone());
        let described = source.describe(&name, &query.value).await;
        let fields = described.map_err(|error| of_query(mapping, query.line, error))?;
        catalogue.relations.retain(|relation| relation.name != name);
        let key = source_spec(mapping, &spec.name).key;
        catalogue.relations.push(Relation::of_query(name, &query.value, fields, key));
    }
    look_up::add_fields(mapping, &mut catalogue);
    Ok(catalogue)
}

/// What is wrong with a query is wrong with the mapping. That a database is away, or slow, is not.
fn of_query(mapping: &Mapping, line: usize, error: TargetError) -> EngineError {
    let is_the_querys =
        matches!(error.kind, ErrorKind::Statement | ErrorKind::Refused | ErrorKind::Permission);
    if !is_the_querys {
        return error.into();
    }
    let mut diagnostic =
        Diagnostic::error("query", error.message).at(Place::line(mapping.file.clone(), line));
    diagnostic.help = error.help;
    EngineError::Refused(vec![diagnostic])
}

/// What a mapping may say and this version can't do.
fn unsupported(mapping: &Mapping) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if mapping.mode == MoveMode::Sync {
        return found;
    }
    // Reloading empties tables, and rows that were there before the move are not its own.
    let is_made = |spec: &&IdSpec| {
        let makes = mapping.rules.iter().filter_map(|rule| rule.makes.as_ref());
        spec.kind == IdKind::Matched && makes.into_iter().any(|makes| makes.value == spec.name)
    };
    for spec in mapping.ids.iter().filter(is_made) {
        let message = format!(
            "`{}`: a rule that makes matched ids can't reload or swap its table",
            spec.name
        );
        let mut diagnostic = Diagnostic::error("not-supported", message);
        diagnostic.place = Some(dunlin_model::Place::line(mapping.file.clone(), spec.line));
        diagnostic.help = Some("use mode = \"sync\"".to_owned());
        found.push(diagnostic);
    }
    found
}
