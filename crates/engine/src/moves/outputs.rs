//! What is wanted of each old row: the expressions of a rule, and where their results go.

use dunlin_model::moves::{
    Duplicates, Expression, Field, Missing, OnRowError, Rule, Value, ValueType,
};

use super::expressions::Output;
use super::plan::{Layout, Namespace, PlannedReference, PlannedSource, Planner};
use super::ports::Written;

pub(super) struct Outputs<'a, 'p> {
    pub(super) planner: &'a mut Planner<'p>,
    pub(super) sources: &'a [PlannedSource],
    pub(super) namespaces: &'a [Namespace],
    pub(super) rule: &'a Rule,
    pub(super) written: &'a Written,
}

impl Outputs<'_, '_> {
    pub(super) fn all(&mut self) -> Option<(Layout, Vec<Output>, Vec<Output>)> {
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
                    let is_late = uses_new(&expression.text);
                    if is_late && *on_error == OnRowError::LeaveOut {
                        self.check_late(&setting.column, setting.line);
                    }
                    let (outputs, places) = if is_late {
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

    /// What an expression over the new row leaves out is known only once that is made: too late where
    /// other rows depend on it.
    fn check_late(&mut self, column: &str, line: usize) {
        let (rule, name) = (self.rule, &self.rule.name);
        let makes = rule.makes.as_ref().map(|makes| &makes.value);
        let referred_to = self
            .namespaces
            .iter()
            .find(|namespace| Some(&namespace.spec.name) == makes && namespace.is_referred_to);
        let why = if rule.one_per.is_some() {
            format!("`one_per` of [into.{name}] may merge others into such a row")
        } else if rule.duplicates == Duplicates::KeepTheFirst {
            format!("`duplicates` of [into.{name}] may leave others out for such a row")
        } else if let Some(namespace) = referred_to {
            format!("a reference to `{}` may go to such a row", namespace.spec.name)
        } else {
            return;
        };
        let message = format!(
            "`{column}` leaves rows out by an expression over the new row, which fails too late: {why}"
        );
        let help = "write it over the old row, without `new.`; or on_error = \"error\" or \"null\"";
        self.planner.refuse("late-leave-out", line, message, help);
    }

    /// The old key that a reference must give, as a column.
    fn old_key(&mut self, namespace: usize, line: usize) -> Option<Field> {
        let (namespace, mapping) = (&self.namespaces[namespace], self.planner.mapping);
        let maker = namespace.maker.map(|maker| &mapping.rules[maker].from);
        let Some(from) = maker.or(namespace.spec.from.as_ref()) else {
            // What refers to a row names its natural key.
            let by = namespace.matching.as_ref()?.written.fields.get(1)?;
            return Some(Field { nullable: true, generated: false, ..by.clone() });
        };
        let source = self.sources.iter().find(|source| source.name == from.value)?;
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
            limit: None,
            generated: false,
            ..field.clone()
        })
    }

    /// The columns that the rule's new rows are looked for by.
    fn natural(&self) -> &[String] {
        let makes = self.rule.makes.as_ref();
        let of = |namespace: &&Namespace| makes.is_some_and(|m| m.value == namespace.spec.name);
        match self.namespaces.iter().find(of) {
            Some(namespace) if namespace.matching.is_some() => &namespace.spec.by,
            _ => &[],
        }
    }

    /// What decides which rows there are: references for which rows are left out, values for which
    /// they are, what merges, and the key where duplicates are dropped.
    pub(super) fn deciding(&self, layout: &Layout, plain: &[Output]) -> (Layout, Vec<Output>) {
        let mut outputs = Vec::new();
        let mut keep = |place: usize| {
            outputs.push(plain[place].clone());
            outputs.len() - 1
        };
        let drops = self.rule.duplicates == Duplicates::KeepTheFirst;
        let in_key = |field: usize| drops && self.written.key.contains(&field);
        let is_natural = |namespace: usize| self.namespaces[namespace].maker.is_none();
        let mut only = Layout::default();
        for name in self.natural() {
            let field = self.written.fields.iter().position(|field| field.name == *name);
            let output = layout.plain.iter().find(|(place, _)| Some(*place) == field);
            only.natural.extend(output.map(|(_, output)| keep(*output)));
        }
        for &(field, output) in &layout.plain {
            if in_key(field) || plain[output].on_error == OnRowError::LeaveOut {
                only.plain.push((field, keep(output)));
            }
        }
        for reference in &layout.references {
            let decides = in_key(reference.field)
                || reference.missing == Missing::LeaveOut
                || is_natural(reference.namespace);
            if decides {
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
fn uses_new(text: &str) -> bool {
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
