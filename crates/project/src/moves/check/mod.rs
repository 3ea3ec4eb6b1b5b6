//! What two catalogues tell about a mapping.

mod expressions;
mod ids;
mod look_ups;
mod rules;
mod sources;

use dunlin_model::moves::{
    Catalogue, Field, IdSpec, Mapping, Relation, Rule, SourceSpec, TableName, ValueType,
};
use dunlin_model::{Diagnostic, Place};

use crate::suggestion;

pub(super) use ids::{can_keep, holds_uuids, is_integer};
pub use look_ups::LOOK_UP;

/// Checks a mapping against both databases: tables, columns, keys, ids, and what nothing uses. The
/// findings are in the order of the file; nothing runs while an error is among them.
///
/// A source with a `query` is in `source` as a relation of the mapping's name for it, with its
/// query; while it isn't, its columns are not checked.
#[must_use]
pub fn check_mapping(mapping: &Mapping, source: &Catalogue, target: &Catalogue) -> Vec<Diagnostic> {
    let mut check = Check { mapping, source, target, findings: Vec::new() };
    if mapping.rules.is_empty() {
        check.findings.push(
            Diagnostic::error("moves-nothing", "the mapping has no rule, so it moves nothing")
                .at(Place::file(&mapping.file))
                .help("add [into.TABLE] with from = \"…\" for each table that is to be filled"),
        );
    }
    sources::check(&mut check);
    ids::check(&mut check);
    for rule in &mapping.rules {
        rules::check(&mut check, rule);
        expressions::check(&mut check, rule);
    }
    let line = |finding: &Diagnostic| finding.place.as_ref().and_then(|place| place.line);
    check.findings.sort_by_key(line);
    check.findings
}

/// A check under way.
struct Check<'a> {
    mapping: &'a Mapping,
    source: &'a Catalogue,
    target: &'a Catalogue,
    findings: Vec<Diagnostic>,
}

impl<'a> Check<'a> {
    fn place(&self, line: usize) -> Place {
        Place::line(&self.mapping.file, line)
    }

    fn error(
        &mut self,
        rule: &'static str,
        line: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.place(line);
        self.findings.push(Diagnostic::error(rule, message).at(place).help(help));
    }

    fn warning(
        &mut self,
        rule: &'static str,
        line: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.place(line);
        self.findings.push(Diagnostic::warning(rule, message).at(place).help(help));
    }

    fn notice(
        &mut self,
        rule: &'static str,
        line: usize,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = self.place(line);
        self.findings.push(Diagnostic::notice(rule, message).at(place).help(help));
    }

    /// What the file says about a source.
    fn spec(&self, name: &str) -> Option<&'a SourceSpec> {
        self.mapping.sources.iter().find(|spec| spec.name == name)
    }

    /// A source's table, as the database has it.
    fn old(&self, name: &str) -> Option<&'a Relation> {
        let spec = self.spec(name);
        if spec.is_some_and(|spec| spec.query.is_some()) {
            let named = |relation: &&Relation| {
                relation.query.is_some() && relation.name.to_string() == name
            };
            return self.source.relations.iter().find(named);
        }
        let table = spec.and_then(|spec| spec.table.clone());
        self.source.relation(&table.unwrap_or_else(|| TableName::parse(name)))
    }

    /// The columns that tell a source's rows apart.
    fn old_key(&self, name: &str) -> Vec<String> {
        match self.spec(name) {
            Some(spec) if !spec.key.is_empty() => spec.key.clone(),
            _ => self.old(name).map(|relation| relation.key.clone()).unwrap_or_default(),
        }
    }

    fn ids(&self, name: &str) -> Option<&'a IdSpec> {
        self.mapping.ids.iter().find(|spec| spec.name == name)
    }

    /// The rule that makes a namespace.
    fn maker(&self, spec: &IdSpec) -> Option<&'a Rule> {
        let makes =
            |rule: &&Rule| rule.makes.as_ref().is_some_and(|makes| makes.value == spec.name);
        self.mapping.rules.iter().find(makes)
    }

    /// The table and the column that a namespace's new ids stand in.
    fn id_column(&self, spec: &IdSpec) -> Option<(&'a Relation, &'a Field)> {
        let table = self.maker(spec).map(|rule| &rule.table).or(spec.table.as_ref())?;
        let relation = self.target.relation(table)?;
        let [column] = &relation.key[..] else { return None };
        Some((relation, relation.field(column)?))
    }
}

/// Whether values tell rows apart for sure, and are always in the same order: floating point isn't, and
/// nor are lists.
fn can_be_key(of: &ValueType) -> bool {
    !matches!(of, ValueType::Float32 | ValueType::Float64 | ValueType::List(_) | ValueType::Map)
}

/// `did you mean …`, or else what there is where that is a short list.
fn help_names<'n>(written: &str, known: impl IntoIterator<Item = &'n str>, what: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match suggestion::nearest(written, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("there are no {what}"),
        // Nobody reads more than that in a message.
        None if known.len() > 30 => format!("there are {} {what}", known.len()),
        None => format!("{what} are {}", suggestion::list(known)),
    }
}

fn help_tables(written: &str, catalogue: &Catalogue) -> String {
    let names: Vec<String> =
        catalogue.relations.iter().map(|relation| relation.name.to_string()).collect();
    help_names(written, names.iter().map(String::as_str), "tables")
}

fn help_columns(written: &str, relation: &Relation) -> String {
    let names = relation.fields.iter().map(|field| field.name.as_str());
    help_names(written, names, "its columns")
}
