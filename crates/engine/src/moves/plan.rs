//! What a run will do, from a mapping and two catalogues: which sources are read, by which rules,
//! in which order. Pure, but for the compiler of expressions.

use std::path::Path;
use std::sync::Arc;

use dunlin_model::moves::{
    Catalogue, Changed, Deleted, Each, Field, GuessedColumn, IdSpec, Mapping, Missing, MoveMode,
    OnRowError, Relation, Rule, SourceSpec, TableName, Value,
};
use dunlin_model::{Diagnostic, Place};

use super::expressions::{Compiled, Compiler, EachSpec, ExpressionError, Expressions, Output};
use super::ids::Tag;
use super::order::order;
use super::outputs::Outputs;
use super::ports::Written;

/// A namespace of ids.
pub(super) struct Namespace {
    pub(super) spec: IdSpec,
    pub(super) tag: Tag,
    /// The rule that makes its ids. `None`: they are those of rows that are there.
    pub(super) maker: Option<usize>,
    /// Some rule refers to it.
    pub(super) is_referred_to: bool,
    /// How rows that are there are found, where its ids are matched.
    pub(super) matching: Option<Matching>,
}

/// How rows of the target are found by a natural key.
pub(super) struct Matching {
    /// The table with the id, first, and the natural key, which is its `key` here.
    pub(super) written: Written,
    /// The old table whose rows are looked for, and what their natural keys are.
    pub(super) seeker: Option<(usize, Arc<dyn Compiled>)>,
}

/// A source table with what is said about it.
pub(super) struct PlannedSource {
    pub(super) name: String,
    pub(super) relation: Relation,
    /// The key's columns, as places in `relation.fields`.
    pub(super) key: Vec<usize>,
    pub(super) leave_out: Arc<Vec<PlannedLeaveOut>>,
    /// Rules that read it.
    pub(super) rules: Vec<usize>,
}

/// Old rows that go nowhere.
pub(super) struct PlannedLeaveOut {
    pub(super) because: String,
    /// It has no `where`: it names what no rule takes.
    pub(super) is_rest: bool,
    pub(super) compiled: Box<dyn Compiled>,
}

/// A reference that becomes a new id.
#[derive(Debug, Clone)]
pub(super) struct PlannedReference {
    /// The column, as a place in `written.fields`.
    pub(super) field: usize,
    pub(super) namespace: usize,
    pub(super) missing: Missing,
    /// The output that is the old key.
    pub(super) of: usize,
    /// The output that says whether it counts.
    pub(super) when: Option<usize>,
}

/// What comes of a row, as places among the outputs.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    /// (place in `written.fields`, output).
    pub(super) plain: Vec<(usize, usize)>,
    pub(super) references: Vec<PlannedReference>,
    pub(super) one_per: Option<usize>,
    /// The natural key that the new row is looked for by.
    pub(super) natural: Vec<usize>,
    /// (place in `written.fields`, late output).
    pub(super) late: Vec<(usize, usize)>,
}

/// A rule that is ready to run.
pub(super) struct PlannedRule {
    pub(super) rule: Rule,
    pub(super) source: usize,
    pub(super) written: Written,
    pub(super) makes: Option<usize>,
    /// Where the id goes, as a place in `written.fields`.
    pub(super) id_field: Option<usize>,
    pub(super) layout: Layout,
    pub(super) compiled: Box<dyn Compiled>,
    /// Only what decides which rows there are, where that must be known before.
    pub(super) deciding: Option<(Arc<dyn Compiled>, Layout)>,
    /// Of each unique index but the key, the columns that are written and not the key's, as places in
    /// `written.fields`.
    pub(super) unique: Vec<Vec<usize>>,
    /// All columns of the table.
    pub(super) table_fields: Vec<Field>,
    /// Fields that are NULL at first, since they refer to rows that come later.
    pub(super) deferred: Vec<usize>,
    /// The tables of `written.table`'s foreign keys that must be there before.
    pub(super) after: Vec<TableName>,
    /// Its rows refer to earlier rows of its own table in a column that can't wait.
    pub(super) in_order: bool,
}

/// Rules of one source that are done while it is read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) source: usize,
    /// Those that write as they go, and then those whose rows refer to theirs, and are written behind.
    pub(super) rules: Vec<usize>,
    /// How many of them write as they go.
    pub(super) first: usize,
}

impl Pass {
    /// The same with some of its rules; `None`: it has none of them.
    pub(super) fn only(&self, is_wanted: impl Fn(usize) -> bool) -> Option<Self> {
        let wanted = |rules: &[usize]| -> Vec<usize> {
            rules.iter().copied().filter(|rule| is_wanted(*rule)).collect()
        };
        let (first, behind) = self.rules.split_at(self.first);
        let (mut rules, behind) = (wanted(first), wanted(behind));
        // Those behind refer to none of each other's rows.
        let first = if rules.is_empty() { behind.len() } else { rules.len() };
        rules.extend(behind);
        (!rules.is_empty()).then_some(Self { source: self.source, rules, first })
    }
}

/// Everything a run needs to know beforehand.
pub struct MovePlan {
    pub(super) mapping: Mapping,
    pub(super) sources: Vec<PlannedSource>,
    pub(super) rules: Vec<Arc<PlannedRule>>,
    pub(super) namespaces: Vec<Namespace>,
    /// In the order of their execution.
    pub(super) passes: Vec<Pass>,
    /// What columns of files were taken to hold.
    pub(super) guessed: Vec<GuessedColumn>,
}

/// Plans.
///
/// # Errors
/// Everything about the mapping that does not fit the catalogues, each with its line.
pub fn plan(
    mapping: &Mapping,
    source: &Catalogue,
    target: &Catalogue,
    compiler: &dyn Compiler,
) -> Result<MovePlan, Vec<Diagnostic>> {
    let mut planner = Planner { mapping, source, target, compiler, wrong: Vec::new() };
    let plan = planner.plan();
    if planner.wrong.is_empty() { plan.ok_or_else(Vec::new) } else { Err(planner.wrong) }
}

pub(super) struct Planner<'a> {
    pub(super) mapping: &'a Mapping,
    source: &'a Catalogue,
    target: &'a Catalogue,
    compiler: &'a dyn Compiler,
    wrong: Vec<Diagnostic>,
}

/// The table or query that rules know by a name.
pub(super) fn source_spec(mapping: &Mapping, name: &str) -> SourceSpec {
    let said = mapping.sources.iter().find(|spec| spec.name == name);
    said.cloned().unwrap_or_else(|| SourceSpec::of(name, 1))
}

impl Planner<'_> {
    fn plan(&mut self) -> Option<MovePlan> {
        let sources = self.sources();
        let mut namespaces = Vec::new();
        for spec in &self.mapping.ids {
            let maker =
                self.mapping.rules.iter().position(|rule| {
                    rule.makes.as_ref().is_some_and(|makes| makes.value == spec.name)
                });
            let matching = self.matching(spec, &sources);
            if maker.is_some() || matching.is_some() {
                let is_referred_to = self.mapping.rules.iter().any(|rule| refers(rule, &spec.name));
                namespaces.push(Namespace {
                    spec: spec.clone(),
                    tag: Tag::of(&spec.name),
                    maker,
                    is_referred_to,
                    matching,
                });
            }
        }
        let mut rules = Vec::with_capacity(self.mapping.rules.len());
        for rule in &self.mapping.rules {
            rules.extend(self.rule(rule, &sources, &namespaces));
        }
        if !self.wrong.is_empty() || rules.len() < self.mapping.rules.len() {
            return None;
        }
        let mut sources = sources;
        for (place, rule) in rules.iter().enumerate() {
            sources[rule.source].rules.push(place);
        }
        let mut passes = order(&mut rules, self.target);
        // Tables of which nothing is taken are read as well, so that their rows are counted.
        let idle = |source: &usize| {
            sources[*source].rules.is_empty() && !sources[*source].leave_out.is_empty()
        };
        let idle = (0..sources.len()).filter(idle);
        passes.extend(idle.map(|source| Pass { source, rules: Vec::new(), first: 0 }));
        let rules = rules.into_iter().map(Arc::new).collect();
        let mut mapping = self.mapping.clone();
        if mapping.mode == MoveMode::Reload {
            // Whatever the application did to the move's rows: they are loaded again.
            mapping.conflicts.changed_there = Changed::Overwrite;
            mapping.conflicts.deleted_there = Deleted::Restore;
        }
        Some(MovePlan { mapping, sources, rules, namespaces, passes, guessed: Vec::new() })
    }

    /// How rows that a namespace's ids are of are found.
    fn matching(&mut self, spec: &IdSpec, sources: &[PlannedSource]) -> Option<Matching> {
        let target = self.target.relation(spec.table.as_ref()?)?;
        let [id] = target.key.as_slice() else { return None };
        let names = std::iter::once(id).chain(&spec.by);
        let fields: Option<Vec<Field>> = names.map(|name| target.field(name).cloned()).collect();
        let written = Written {
            table: target.name.clone(),
            fields: fields?,
            key: (1..=spec.by.len()).collect(),
            triggers: true,
        };
        let Some(from) = &spec.from else { return Some(Matching { written, seeker: None }) };
        let source = sources.iter().position(|source| source.name == from.value)?;
        let outputs = spec.by_values.iter().zip(&written.fields[1..]);
        let outputs = outputs.map(|(value, field)| Output {
            name: field.name.clone(),
            expression: value.clone(),
            column: Some(Field { nullable: true, ..field.clone() }),
            condition: false,
            on_error: OnRowError::Error,
        });
        let about = self.about(&sources[source].relation, &source_spec(self.mapping, &from.value));
        let of = format!("`{}` of [ids]", spec.name);
        let compiled = self.compile(&Expressions { of, outputs: outputs.collect(), ..about })?;
        Some(Matching { written, seeker: Some((source, compiled.into())) })
    }

    pub(super) fn error(&mut self, rule: &'static str, line: usize, message: impl Into<String>) {
        let mut diagnostic = Diagnostic::error(rule, message);
        diagnostic.place = Some(self.place(line));
        self.wrong.push(diagnostic);
    }

    /// With what to do.
    pub(super) fn refuse(
        &mut self,
        rule: &'static str,
        line: usize,
        message: impl Into<String>,
        help: &str,
    ) {
        let mut diagnostic = Diagnostic::error(rule, message);
        diagnostic.place = Some(self.place(line));
        diagnostic.help = Some(help.to_owned());
        self.wrong.push(diagnostic);
    }

    fn place(&self, line: usize) -> Place {
        Place::line(Path::new(&self.mapping.file), line)
    }

    fn failed(&mut self, errors: Vec<ExpressionError>) {
        for error in errors {
            let mut diagnostic = Diagnostic::error("expression", error.message);
            diagnostic.place = Some(self.place(error.line));
            diagnostic.help = error.help;
            if !self.wrong.contains(&diagnostic) {
                self.wrong.push(diagnostic);
            }
        }
    }

    fn sources(&mut self) -> Vec<PlannedSource> {
        let mut names: Vec<(&str, usize)> = Vec::new();
        let rules = self.mapping.rules.iter().map(|rule| &rule.from);
        let left_out = self.mapping.leave_out.iter().map(|one| &one.from);
        let looked_for = self.mapping.ids.iter().filter_map(|spec| spec.from.as_ref());
        for from in rules.chain(left_out).chain(looked_for) {
            if !names.iter().any(|(name, _)| *name == from.value) {
                names.push((&from.value, from.line));
            }
        }
        names.into_iter().filter_map(|(name, line)| self.source(name, line)).collect()
    }

    fn source(&mut self, name: &str, line: usize) -> Option<PlannedSource> {
        let spec = source_spec(self.mapping, name);
        let table = spec.relation();
        let Some(relation) = self.source.relation(&table).cloned() else {
            self.error("unknown-source", line, format!("the source has no table `{table}`"));
            return None;
        };
        let names = if spec.key.is_empty() { relation.key.clone() } else { spec.key.clone() };
        let places: Vec<Option<usize>> = names
            .iter()
            .map(|name| relation.fields.iter().position(|field| field.name == *name))
            .collect();
        let key: Option<Vec<usize>> = places.into_iter().collect();
        // Rows that all go nowhere are only counted.
        let is_moved = self.mapping.rules.iter().any(|rule| rule.from.value == name)
            || self
                .mapping
                .ids
                .iter()
                .filter_map(|spec| spec.from.as_ref())
                .any(|f| f.value == name);
        let Some(key) = key.filter(|key| !key.is_empty() || !is_moved) else {
            self.error("no-key", line, format!("`{table}` has no key: name one by `key`"));
            return None;
        };
        let mut leave_out = Vec::new();
        for one in self.mapping.leave_out.iter().filter(|one| one.from.value == name) {
            let expressions = Expressions {
                of: format!("[[leave_out]] of `{name}`"),
                filter: one.filter.clone(),
                ..self.about(&relation, &spec)
            };
            match self.compiler.compile(&expressions) {
                Ok(compiled) => {
                    let (because, is_rest) = (one.because.clone(), one.filter.is_none());
                    leave_out.push(PlannedLeaveOut { because, is_rest, compiled });
                }
                Err(errors) => self.failed(errors),
            }
        }
        let leave_out = Arc::new(leave_out);
        Some(PlannedSource { name: name.to_owned(), relation, key, leave_out, rules: Vec::new() })
    }

    fn about(&self, relation: &Relation, spec: &SourceSpec) -> Expressions {
        Expressions {
            fields: relation.fields.clone(),
            scales_hold: self.source.scales_hold,
            lets: spec.lets.clone(),
            time_zone: self.mapping.time_zone.clone(),
            ..Expressions::default()
        }
    }

    fn rule(
        &mut self,
        rule: &Rule,
        sources: &[PlannedSource],
        namespaces: &[Namespace],
    ) -> Option<PlannedRule> {
        let source = sources.iter().position(|source| source.name == rule.from.value)?;
        let Some(target) = self.target.relation(&rule.table) else {
            let message = format!("the target has no table `{}`", rule.table);
            self.error("unknown-target", rule.line, message);
            return None;
        };
        let makes = rule.makes.as_ref().and_then(|makes| {
            namespaces.iter().position(|namespace| namespace.spec.name == makes.value)
        });
        if makes.is_some() && rule.each.is_some() {
            self.error(
                "makes-each",
                rule.line,
                "a rule with `each` can't make ids: which of its rows would a reference mean?",
            );
        }
        let written = self.written(rule, target, makes)?;
        let id_field = makes.map(|_| written.key[0]).filter(|place| {
            rule.set.iter().all(|setting| setting.column != written.fields[*place].name)
        });
        let mut outputs = Outputs { planner: self, sources, namespaces, rule, written: &written };
        let (layout, plain, late) = outputs.all()?;
        let (deciding_layout, deciding_plain) = outputs.deciding(&layout, &plain);
        let spec = source_spec(self.mapping, &rule.from.value);
        let new = rule_fields_before_late(&written, &layout);
        let expressions = Expressions {
            of: format!("[into.{}]", rule.name),
            each: rule.each.as_ref().map(|each| each_of(&each.value)),
            filter: rule.filter.clone(),
            outputs: plain,
            late,
            new,
            ..self.about(&sources[source].relation, &spec)
        };
        let compiled = self.compile(&expressions)?;
        let decides = makes.is_some_and(|makes| {
            namespaces[makes].is_referred_to || needs_all_keys(&namespaces[makes].spec)
        }) || namespaces
            .iter()
            .any(|namespace| namespace.maker.is_none() && refers(rule, &namespace.spec.name))
            || rule.one_per.is_some()
            || rule.duplicates == dunlin_model::moves::Duplicates::KeepTheFirst;
        let deciding = if decides {
            let only = Expressions {
                outputs: deciding_plain,
                late: Vec::new(),
                new: Vec::new(),
                ..expressions
            };
            Some((self.compile(&only)?.into(), deciding_layout))
        } else {
            None
        };
        let rule = rule.clone();
        let (deferred, after) = (Vec::new(), Vec::new());
        let table_fields = target.fields.clone();
        let unique = unique(&written, target);
        Some(PlannedRule {
            rule,
            source,
            written,
            makes,
            id_field,
            layout,
            compiled,
            deciding,
            unique,
            table_fields,
            deferred,
            after,
            in_order: false,
        })
    }

    fn compile(&mut self, expressions: &Expressions) -> Option<Box<dyn Compiled>> {
        match self.compiler.compile(expressions) {
            Ok(compiled) => Some(compiled),
            Err(errors) => {
                self.failed(errors);
                None
            }
        }
    }

    fn written(&mut self, rule: &Rule, target: &Relation, makes: Option<usize>) -> Option<Written> {
        let mut fields: Vec<Field> = Vec::with_capacity(rule.set.len() + 1);
        if makes.is_some()
            && let [id] = target.key.as_slice()
            && rule.set.iter().all(|setting| setting.column != *id)
        {
            fields.extend(target.field(id).cloned());
        }
        for setting in &rule.set {
            match target.field(&setting.column) {
                Some(field) => fields.push(field.clone()),
                None => {
                    let message = format!("`{}` has no column `{}`", rule.table, setting.column);
                    self.error("unknown-column", setting.line, message);
                }
            }
        }
        let places: Option<Vec<usize>> = target
            .key
            .iter()
            .map(|name| fields.iter().position(|field| field.name == *name))
            .collect();
        let Some(key) = places.filter(|key| !key.is_empty()) else {
            let message = format!("nothing sets the key of `{}`", rule.table);
            self.error("key-not-set", rule.line, message);
            return None;
        };
        let triggers = rule.triggers.unwrap_or(true);
        Some(Written { table: rule.table.clone(), fields, key, triggers })
    }
}

/// See [`PlannedRule::unique`].
fn unique(written: &Written, target: &Relation) -> Vec<Vec<usize>> {
    let place = |name: &String| {
        let place = written.fields.iter().position(|field| field.name == *name)?;
        (!written.key.contains(&place)).then_some(place)
    };
    let indexes = target.unique.iter().filter(|index| **index != target.key);
    let indexes = indexes.chain(&target.unique_in_part);
    let places = indexes.map(|index| index.iter().filter_map(place).collect());
    places.filter(|index: &Vec<usize>| !index.is_empty()).collect()
}

/// All keys must be known before the first row is written.
fn needs_all_keys(spec: &IdSpec) -> bool {
    use dunlin_model::moves::IdKind;
    matches!(spec.kind, IdKind::Assigned | IdKind::Matched | IdKind::Keep)
}

fn refers(rule: &Rule, namespace: &str) -> bool {
    rule.set.iter().any(|setting| match &setting.value {
        Value::Reference(reference) => reference.new == namespace,
        Value::Expression { .. } => false,
    })
}

fn each_of(each: &Each) -> EachSpec {
    match each {
        Each::Element { name, list } => EachSpec::Element(name.clone(), list.clone()),
        Each::Case(cases) => EachSpec::Case(cases.clone()),
    }
}

/// What stands behind `new.`: everything but what is itself late.
fn rule_fields_before_late(written: &Written, layout: &Layout) -> Vec<Field> {
    let is_late = |place: usize| layout.late.iter().any(|(field, _)| *field == place);
    let fields = written.fields.iter().enumerate();
    fields.filter(|(place, _)| !is_late(*place)).map(|(_, field)| field.clone()).collect()
}
