//! What a run will do, from a mapping and two catalogues: which sources are read, by which rules,
//! in which order. Pure, but for the compiler of expressions.

use std::path::Path;

use dunlin_model::moves::{
    Catalogue, Each, Expression, Field, IdSpec, Mapping, Missing, OnRowError, Relation, Rule,
    SourceSpec, TableName, Value, ValueType,
};
use dunlin_model::{Diagnostic, Place};

use super::ids::Tag;
use super::ports::{Compiled, Compiler, EachSpec, ExpressionError, Expressions, Output, Written};

/// A namespace of ids.
pub(super) struct Namespace {
    pub(super) spec: IdSpec,
    pub(super) tag: Tag,
    /// The rule that makes its ids.
    pub(super) maker: usize,
    /// Some rule refers to it.
    pub(super) is_referred_to: bool,
}

/// A source table with what is said about it.
pub(super) struct PlannedSource {
    pub(super) name: String,
    pub(super) relation: Relation,
    /// The key's columns, as places in `relation.fields`.
    pub(super) key: Vec<usize>,
    pub(super) leave_out: Vec<PlannedLeaveOut>,
    /// Rules that read it.
    pub(super) rules: Vec<usize>,
}

/// Old rows that go nowhere.
pub(super) struct PlannedLeaveOut {
    pub(super) because: String,
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
    pub(super) deciding: Option<(Box<dyn Compiled>, Layout)>,
    /// All columns of the table.
    pub(super) table_fields: Vec<Field>,
    /// Fields that are NULL at first, since they refer to rows that come later.
    pub(super) deferred: Vec<usize>,
    /// The tables of `written.table`'s foreign keys that must be there before.
    pub(super) after: Vec<TableName>,
}

/// Rules of one source that are done while it is read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) source: usize,
    pub(super) rules: Vec<usize>,
}

/// Everything a run needs to know beforehand.
pub struct MovePlan {
    pub(super) mapping: Mapping,
    pub(super) sources: Vec<PlannedSource>,
    pub(super) rules: Vec<PlannedRule>,
    pub(super) namespaces: Vec<Namespace>,
    /// In the order of their execution.
    pub(super) passes: Vec<Pass>,
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

struct Planner<'a> {
    mapping: &'a Mapping,
    source: &'a Catalogue,
    target: &'a Catalogue,
    compiler: &'a dyn Compiler,
    wrong: Vec<Diagnostic>,
}

/// The table or query that rules know by a name.
pub(super) fn source_spec(mapping: &Mapping, name: &str) -> SourceSpec {
    mapping.sources.iter().find(|spec| spec.name == name).cloned().unwrap_or_else(|| SourceSpec {
        name: name.to_owned(),
        table: None,
        query: None,
        key: Vec::new(),
        unused: Vec::new(),
        lets: Vec::new(),
        line: 1,
    })
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
            if let Some(maker) = maker {
                let is_referred_to = self.mapping.rules.iter().any(|rule| refers(rule, &spec.name));
                let tag = Tag::of(&spec.name);
                namespaces.push(Namespace { spec: spec.clone(), tag, maker, is_referred_to });
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
        let passes = order(&mut rules, self.target);
        Some(MovePlan { mapping: self.mapping.clone(), sources, rules, namespaces, passes })
    }

    fn error(&mut self, rule: &'static str, line: usize, message: impl Into<String>) {
        let mut diagnostic = Diagnostic::error(rule, message);
        diagnostic.place = Some(self.place(line));
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
        for rule in &self.mapping.rules {
            if !names.iter().any(|(name, _)| *name == rule.from.value) {
                names.push((&rule.from.value, rule.from.line));
            }
        }
        names.into_iter().filter_map(|(name, line)| self.source(name, line)).collect()
    }

    fn source(&mut self, name: &str, line: usize) -> Option<PlannedSource> {
        let spec = source_spec(self.mapping, name);
        let table = match &spec.query {
            Some(_) => TableName::of(name),
            None => spec.table.clone().unwrap_or_else(|| TableName::parse(name)),
        };
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
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            self.error("no-key", line, format!("`{table}` has no key: name one by `key`"));
            return None;
        };
        let mut leave_out = Vec::new();
        for one in self.mapping.leave_out.iter().filter(|one| one.from.value == name) {
            let expressions =
                Expressions { filter: one.filter.clone(), ..self.about(&relation, &spec) };
            match self.compiler.compile(&expressions) {
                Ok(compiled) => {
                    leave_out.push(PlannedLeaveOut { because: one.because.clone(), compiled });
                }
                Err(errors) => self.failed(errors),
            }
        }
        Some(PlannedSource { name: name.to_owned(), relation, key, leave_out, rules: Vec::new() })
    }

    fn about(&self, relation: &Relation, spec: &SourceSpec) -> Expressions {
        Expressions {
            fields: relation.fields.clone(),
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
        }) || rule.one_per.is_some()
            || rule.duplicates == dunlin_model::moves::Duplicates::KeepTheFirst;
        let deciding = if decides {
            let only = Expressions {
                outputs: deciding_plain,
                late: Vec::new(),
                new: Vec::new(),
                ..expressions
            };
            Some((self.compile(&only)?, deciding_layout))
        } else {
            None
        };
        let rule = rule.clone();
        let (deferred, after) = (Vec::new(), Vec::new());
        let table_fields = target.fields.clone();
        Some(PlannedRule {
            rule,
            source,
            written,
            makes,
            id_field,
            layout,
            compiled,
            deciding,
            table_fields,
            deferred,
            after,
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

struct Outputs<'a, 'p> {
    planner: &'a mut Planner<'p>,
    sources: &'a [PlannedSource],
    namespaces: &'a [Namespace],
    rule: &'a Rule,
    written: &'a Written,
}

impl Outputs<'_, '_> {
    fn all(&mut self) -> Option<(Layout, Vec<Output>, Vec<Output>)> {
        let mut layout = Layout::default();
        let (mut plain, mut late) = (Vec::new(), Vec::new());
        for setting in &self.rule.set {
            let field =
                self.written.fields.iter().position(|field| field.name == setting.column)?;
            match &setting.value {
                Value::Expression { expression, on_error } => {
                    let output = Output {
                        name: setting.column.clone(),
                        expression: expression.clone(),
                        column: Some(self.written.fields[field].clone()),
                        condition: false,
                        on_error: *on_error,
                    };
                    let (outputs, places) = if uses_new(&expression.text) {
                        (&mut late, &mut layout.late)
                    } else {
                        (&mut plain, &mut layout.plain)
                    };
                    places.push((field, outputs.len()));
                    outputs.push(output);
                }
                Value::Reference(reference) => {
                    let namespace = self
                        .namespaces
                        .iter()
                        .position(|namespace| namespace.spec.name == reference.new);
                    let Some(namespace) = namespace else {
                        let message = format!("no rule makes `{}`", reference.new);
                        self.planner.error("unknown-namespace", setting.line, message);
                        return None;
                    };
                    let column = self.old_key(namespace, setting.line)?;
                    let of = plain.len();
                    plain.push(Output {
                        name: format!("{}: of", setting.column),
                        expression: reference.of.clone(),
                        column: Some(column),
                        condition: false,
                        on_error: OnRowError::Error,
                    });
                    let when = reference.when.as_ref().map(|when| {
                        plain.push(condition(format!("{}: when", setting.column), when));
                        plain.len() - 1
                    });
                    let missing = reference.missing;
                    layout.references.push(PlannedReference {
                        field,
                        namespace,
                        missing,
                        of,
                        when,
                    });
                }
            }
        }
        if let Some(expression) = &self.rule.one_per {
            layout.one_per = Some(plain.len());
            plain.push(Output {
                name: "one_per".to_owned(),
                expression: expression.clone(),
                column: None,
                condition: false,
                on_error: OnRowError::Error,
            });
        }
        Some((layout, plain, late))
    }

    /// The old key that a reference must give, as a column.
    fn old_key(&mut self, namespace: usize, line: usize) -> Option<Field> {
        let maker = &self.planner.mapping.rules[self.namespaces[namespace].maker];
        let source = self.sources.iter().find(|source| source.name == maker.from.value)?;
        let [key] = source.key.as_slice() else {
            let message = format!(
                "`{}` has a key of several columns: nothing can refer to it by one",
                source.name
            );
            self.planner.error("composite-reference", line, message);
            return None;
        };
        let field = &source.relation.fields[*key];
        let value_type = match &field.value_type {
            ValueType::Int16 | ValueType::Int32 | ValueType::Int64 => ValueType::Int64,
            ValueType::Uuid | ValueType::Enum(_) | ValueType::Other => {
                ValueType::Text { padded: false }
            }
            other => other.clone(),
        };
        Some(Field {
            nullable: true,
            value_type,
            max_chars: None,
            generated: false,
            ..field.clone()
        })
    }

    /// What decides which rows there are: references for which rows are left out, values for which
    /// they are, what merges, and the key where duplicates are dropped.
    fn deciding(&self, layout: &Layout, plain: &[Output]) -> (Layout, Vec<Output>) {
        let mut outputs = Vec::new();
        let mut keep = |place: usize| {
            outputs.push(plain[place].clone());
            outputs.len() - 1
        };
        let drops = self.rule.duplicates == dunlin_model::moves::Duplicates::KeepTheFirst;
        let in_key = |field: usize| drops && self.written.key.contains(&field);
        let mut only = Layout::default();
        for &(field, output) in &layout.plain {
            if in_key(field) || plain[output].on_error == OnRowError::LeaveOut {
                only.plain.push((field, keep(output)));
            }
        }
        for reference in &layout.references {
            if in_key(reference.field) || reference.missing == Missing::LeaveOut {
                let of = keep(reference.of);
                let when = reference.when.map(&mut keep);
                only.references.push(PlannedReference { of, when, ..reference.clone() });
            }
        }
        only.one_per = layout.one_per.map(&mut keep);
        (only, outputs)
    }
}

fn condition(name: String, expression: &Expression) -> Output {
    Output {
        name,
        expression: expression.clone(),
        column: None,
        condition: true,
        on_error: OnRowError::Error,
    }
}

/// Whether an expression speaks of the new row: `new.` outside of texts.
pub(super) fn uses_new(text: &str) -> bool {
    let mut quote = None;
    let mut before = ' ';
    for (place, c) in text.char_indices() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if text[place..].starts_with("new.")
                && !(before.is_alphanumeric() || before == '_' || before == '.') =>
            {
                return true;
            }
            None => {}
        }
        before = c;
    }
    false
}

/// Orders rules by the target's foreign keys, and puts those of one source that can be done together
/// into one pass. Where they refer in a circle, columns that may be NULL wait.
fn order(rules: &mut [PlannedRule], target: &Catalogue) -> Vec<Pass> {
    link(rules, target);
    let mut done: Vec<TableName> = Vec::new();
    let mut open: Vec<usize> = (0..rules.len()).collect();
    let mut passes = Vec::new();
    while !open.is_empty() {
        let left: Vec<TableName> =
            open.iter().map(|&rule| rules[rule].written.table.clone()).collect();
        let ready: Vec<usize> = open
            .iter()
            .copied()
            .filter(|&rule| rules[rule].after.iter().all(|table| !left.contains(table)))
            .collect();
        let Some(&first) = ready.first() else {
            // A circle: somebody has to begin, and what may be NULL is filled in later.
            let first = pick_for_circle(rules, &open, target);
            defer(&mut rules[first], &left, target);
            continue;
        };
        let source = rules[first].source;
        let together: Vec<usize> =
            ready.into_iter().filter(|&rule| rules[rule].source == source).collect();
        open.retain(|rule| !together.contains(rule));
        done.extend(together.iter().map(|&rule| rules[rule].written.table.clone()));
        passes.push(Pass { source, rules: together });
    }
    passes
}

fn link(rules: &mut [PlannedRule], target: &Catalogue) {
    let tables: Vec<TableName> = rules.iter().map(|rule| rule.written.table.clone()).collect();
    for rule in rules.iter_mut() {
        let Some(relation) = target.relation(&rule.written.table) else { continue };
        for key in &relation.foreign_keys {
            let places: Vec<usize> = (0..rule.written.fields.len())
                .filter(|&place| key.columns.contains(&rule.written.fields[place].name))
                .collect();
            if places.is_empty() {
                continue;
            }
            if key.to == rule.written.table {
                let nullable = places.iter().copied().filter(|&p| rule.written.fields[p].nullable);
                rule.deferred.extend(nullable);
            } else if tables.contains(&key.to) && !rule.after.contains(&key.to) {
                rule.after.push(key.to.clone());
            }
        }
    }
}

/// The rule of a circle with the most columns that may wait.
fn pick_for_circle(rules: &[PlannedRule], open: &[usize], target: &Catalogue) -> usize {
    let left: Vec<TableName> = open.iter().map(|&rule| rules[rule].written.table.clone()).collect();
    let must = |rule: &PlannedRule| {
        let Some(relation) = target.relation(&rule.written.table) else { return 0 };
        let keys = relation
            .foreign_keys
            .iter()
            .filter(|key| left.contains(&key.to) && rule.after.contains(&key.to));
        keys.filter(|key| {
            let fields = rule.written.fields.iter();
            fields.filter(|field| key.columns.contains(&field.name)).all(|field| !field.nullable)
        })
        .count()
    };
    open.iter().copied().min_by_key(|&rule| must(&rules[rule])).unwrap_or(open[0])
}

fn defer(rule: &mut PlannedRule, left: &[TableName], target: &Catalogue) {
    if let Some(relation) = target.relation(&rule.written.table) {
        for key in relation.foreign_keys.iter().filter(|key| left.contains(&key.to)) {
            for (place, field) in rule.written.fields.iter().enumerate() {
                if field.nullable
                    && key.columns.contains(&field.name)
                    && !rule.deferred.contains(&place)
                {
                    rule.deferred.push(place);
                }
            }
        }
    }
    rule.after.retain(|table| !left.contains(table));
}

/// One source that is read, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OutlineStep {
    /// The source.
    pub source: String,
    /// About how many rows it has.
    pub rows: Option<u64>,
    /// What is made of them.
    pub rules: Vec<OutlineRule>,
}

/// One rule, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OutlineRule {
    /// Its name.
    pub rule: String,
    /// The target's table.
    pub table: String,
    /// Which ids it makes, and how.
    pub id: Option<String>,
    /// The namespaces that it refers to.
    pub refers_to: Vec<String>,
    /// Columns that are filled in once the rows that they refer to are there.
    pub later: Vec<String>,
}

impl MovePlan {
    /// What a run does, in its order.
    #[must_use]
    pub fn outline(&self) -> Vec<OutlineStep> {
        let step = |pass: &Pass| OutlineStep {
            source: self.sources[pass.source].name.clone(),
            rows: self.sources[pass.source].relation.row_count_estimate,
            rules: pass.rules.iter().map(|&rule| self.outline_of(&self.rules[rule])).collect(),
        };
        self.passes.iter().map(step).collect()
    }

    fn outline_of(&self, rule: &PlannedRule) -> OutlineRule {
        let mut refers_to: Vec<String> = Vec::new();
        for reference in &rule.layout.references {
            let name = &self.namespaces[reference.namespace].spec.name;
            if !refers_to.contains(name) {
                refers_to.push(name.clone());
            }
        }
        let id = rule.makes.map(|makes| {
            let spec = &self.namespaces[makes].spec;
            let kind = format!("{:?}", spec.kind).to_lowercase();
            format!("makes {} ids ({kind})", spec.name)
        });
        let later = rule.deferred.iter().map(|place| rule.written.fields[*place].name.clone());
        OutlineRule {
            rule: rule.rule.name.clone(),
            table: rule.written.table.to_string(),
            id,
            refers_to,
            later: later.collect(),
        }
    }
}
