//! What can be said of expressions without compiling them.

use dunlin_model::moves::{Each, Expression, Rule, Value};

use super::super::identifiers::mentioned;
use super::{Check, help_columns};

/// An expression of a rule.
pub(super) struct Used<'a> {
    pub(super) expression: &'a Expression,
    /// The key that it stands behind.
    key: &'static str,
    /// The column that it is for; only such may use `new.`.
    column: Option<&'a str>,
}

/// Every expression of a rule.
pub(super) fn of_rule(rule: &Rule) -> Vec<Used<'_>> {
    let plain = |key, expression| Used { expression, key, column: None };
    let mut found: Vec<Used<'_>> = Vec::new();
    found.extend(rule.filter.iter().map(|filter| plain("where", filter)));
    found.extend(rule.one_per.iter().map(|one_per| plain("one_per", one_per)));
    match rule.each.as_ref().map(|each| &each.value) {
        Some(Each::Element { list, .. }) => found.push(plain("each", list)),
        Some(Each::Case(cases)) => {
            found.extend(cases.iter().flatten().map(|(_, expression)| plain("each", expression)));
        }
        None => {}
    }
    for setting in &rule.set {
        match &setting.value {
            Value::Expression { expression, .. } => {
                found.push(Used { expression, key: "set", column: Some(&setting.column) });
            }
            Value::Reference(reference) => {
                found.push(plain("of", &reference.of));
                found.extend(reference.when.iter().map(|when| plain("when", when)));
            }
        }
    }
    found
}

/// Checks the names that a rule gives, and what stands behind `new.`.
pub(super) fn check(check: &mut Check<'_>, rule: &Rule) {
    each_names(check, rule);
    for used in of_rule(rule) {
        for column in mentioned(&used.expression.text).new {
            new_column(check, rule, &used, &column);
        }
    }
}

fn new_column(check: &mut Check<'_>, rule: &Rule, used: &Used<'_>, column: &str) {
    let line = used.expression.line;
    let Some(for_column) = used.column else {
        let message = format!("`new.{column}` can't be used in `{}`", used.key);
        let help = "new ids are known when columns are set: `new.` stands in `set` alone";
        return check.error("new-too-early", line, message, help);
    };
    let Some(relation) = check.target.relation(&rule.table) else { return };
    if relation.field(column).is_none() {
        let message =
            format!("`{}` has no column `{column}`, so there is no `new.{column}`", rule.table);
        return check.error("unknown-column", line, message, help_columns(column, relation));
    }
    let made = rule.makes.is_some() && relation.key == [column];
    let is_late = rule.set.iter().any(|setting| {
        setting.column == column
            && matches!(&setting.value, Value::Expression { expression, .. }
                if !mentioned(&expression.text).new.is_empty())
    });
    if column == for_column {
        let message = format!("`set.{column}` uses itself");
        check.error("used-before", line, message, "write what it stands for");
    } else if is_late {
        let message = format!("`set.{for_column}` uses `new.{column}`, which uses `new.` itself");
        let help = format!("write what `set.{column}` says");
        check.error("used-before", line, message, help);
    } else if !made && !rule.set.iter().any(|setting| setting.column == column) {
        let message = format!("nothing sets `new.{column}`");
        check.error("used-before", line, message, format!("add set.{column} = \"…\""));
    }
}

/// The names that `each` gives must be its own.
fn each_names(check: &mut Check<'_>, rule: &Rule) {
    let Some(each) = &rule.each else { return };
    let names: Vec<&str> = match &each.value {
        Each::Element { name, .. } => vec![name],
        Each::Case(cases) => {
            cases.first().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
        }
    };
    let source = &rule.from.value;
    let old = check.old(source);
    let lets = check.spec(source).map(|spec| &spec.lets[..]).unwrap_or_default();
    for name in names {
        let what = if old.is_some_and(|old| old.field(name).is_some()) {
            "a column"
        } else if lets.iter().any(|(of_let, _)| of_let == name) {
            "a `let`"
        } else {
            continue;
        };
        let message = format!("`each` calls something `{name}`, which is {what} of `{source}`");
        check.error("name-taken", each.line, message, "give it a name of its own");
    }
}
