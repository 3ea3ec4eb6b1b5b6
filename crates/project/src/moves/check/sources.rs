//! What is read: tables, keys, and columns that nothing uses.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_model::Diagnostic;
use dunlin_model::moves::{Field, IdSpec, Relation, SourceSpec, ValueType};

use super::super::identifiers::mentioned;
use super::expressions::of_rule;
use super::{Check, can_be_key, help_columns, help_names, help_tables, look_ups};
use crate::suggestion;

pub(super) fn check(check: &mut Check<'_>) {
    let mapping = check.mapping;
    let mentions = mapping.rules.iter().map(|rule| &rule.from);
    let mut seen = BTreeSet::new();
    let looked_for = mapping.ids.iter().filter_map(|spec| spec.from.as_ref());
    let left_out = mapping.leave_out.iter().map(|leave_out| &leave_out.from);
    for from in mentions.chain(left_out).chain(looked_for) {
        if seen.insert(from.value.as_str()) {
            source(check, &from.value, from.line);
        }
    }
    let looked_in = |name: &str| {
        let mut look_ups = mapping.sources.iter().flat_map(|spec| &spec.look_ups);
        look_ups.any(|look_up| look_up.within == name)
    };
    for spec in &mapping.sources {
        if !seen.contains(spec.name.as_str()) && !looked_in(&spec.name) {
            check.notice(
                "source-not-used",
                spec.line,
                format!("no rule takes anything from `{}`", spec.name),
                "take [from] away, add a rule, or say in [[leave_out]] why nothing is taken",
            );
        }
    }
    not_mentioned(check, &seen);
}

/// A source that a rule names in this line.
fn source(check: &mut Check<'_>, name: &str, line: usize) {
    let spec = check.spec(name);
    let relation = check.old(name);
    if relation.is_none() && spec.is_none_or(|spec| spec.query.is_none()) {
        unknown(check, name, spec, line);
        return;
    }
    let line = spec.map_or(line, |spec| spec.line);
    let key = check.old_key(name);
    let is_moved = check.mapping.rules.iter().any(|rule| rule.from.value == name);
    // Rows that all go nowhere are only counted.
    if key.is_empty() && is_moved {
        let is_of_files = check.source.files.is_some();
        let what = match relation {
            _ if is_of_files => "is a file",
            Some(relation) if relation.query.is_none() => {
                "has no primary key and no unique index over NOT NULL columns"
            }
            _ => "is a query",
        };
        check.error(
            "source-without-key",
            line,
            format!("`{name}` {what}: it isn't known which columns tell its rows apart"),
            if is_of_files {
                format!(
                    "name them: key = [\"…\"] under [from.{name}]; key = \"line\" goes by the \
                     number of the line, for files that only grow"
                )
            } else {
                format!("name them: key = [\"…\"] under [from.{name}]")
            },
        );
    }
    let Some(relation) = relation else { return };
    for column in &key {
        if relation.field(column).is_none() {
            check.error(
                "unknown-column",
                line,
                format!("the key of `{name}` names `{column}`, a column that it doesn't have"),
                help_columns(column, relation),
            );
        }
    }
    key_types(check, name, relation, (&key, line));
    if let Some(spec) = spec {
        said_columns(check, spec, relation);
        look_ups::check(check, spec, relation);
    }
    if is_moved {
        left_over(check, name, relation, line);
    }
}

/// Whether rows can be put in order by these columns, and told apart.
fn key_types(
    check: &mut Check<'_>,
    name: &str,
    relation: &Relation,
    (key, line): (&[String], usize),
) {
    // Where its columns' types promise nothing, a decimal may be floating point.
    let may_float = |field: &Field| {
        !check.source.scales_hold
            && matches!(field.value_type, ValueType::Numeric { scale: Some(1..) })
    };
    let fields = key.iter().filter_map(|column| relation.field(column));
    let unfit: Vec<&Field> =
        fields.filter(|field| !can_be_key(&field.value_type) || may_float(field)).collect();
    for field in unfit {
        check.error(
            "key-type",
            line,
            format!(
                "the rows of `{name}` can't be told apart by `{}`: it is {}, and no key",
                field.name, field.type_name
            ),
            format!(
                "name other columns, key = [\"…\"] under [from.{name}], or a query that has it as \
                 text"
            ),
        );
    }
}

fn unknown(check: &mut Check<'_>, name: &str, spec: Option<&SourceSpec>, line: usize) {
    let table = spec.and_then(|spec| Some((spec.table.as_ref()?.to_string(), spec.line)));
    let database = &check.mapping.source.value;
    let (written, line) = table.unwrap_or_else(|| (name.to_owned(), line));
    let message = format!("`{database}` has no table `{written}`");
    let specs = check.mapping.sources.iter().map(|spec| spec.name.as_str());
    let help = match suggestion::nearest(&written, specs.filter(|spec| *spec != written)) {
        // A name that the file gives itself is nearer than any table.
        Some(near) => format!("did you mean `{near}`?"),
        None => help_tables(&written, check.source),
    };
    check.error("unknown-table", line, message, help);
}

/// `unused` and the names under `let`.
fn said_columns(check: &mut Check<'_>, spec: &SourceSpec, relation: &Relation) {
    for unused in &spec.unused {
        if relation.field(&unused.value).is_none() {
            check.error(
                "unknown-column",
                unused.line,
                format!("`unused` names `{}.{}`, which doesn't exist", spec.name, unused.value),
                help_columns(&unused.value, relation),
            );
        }
    }
    for declared in &spec.types {
        if relation.field(&declared.column).is_none() {
            check.error(
                "unknown-column",
                declared.line,
                format!("`types` names `{}.{}`, which doesn't exist", spec.name, declared.column),
                help_columns(&declared.column, relation),
            );
        }
    }
    for (name, expression) in &spec.lets {
        if relation.field(name).is_some() {
            check.error(
                "name-taken",
                expression.line,
                format!("`let.{name}` has the name of a column of `{}`", spec.name),
                "give it a name of its own",
            );
        }
    }
    later_lets(check, spec, relation);
}

/// A `let` uses those above it, and not those below.
fn later_lets(check: &mut Check<'_>, spec: &SourceSpec, relation: &Relation) {
    let places: BTreeMap<&str, usize> =
        spec.lets.iter().enumerate().map(|(at, (name, _))| (name.as_str(), at)).collect();
    for (at, (name, expression)) in spec.lets.iter().enumerate() {
        for used in mentioned(&expression.text).names {
            let above = places.get(used.as_str()).is_none_or(|place| *place < at);
            if above || relation.field(&used).is_some() {
                continue;
            }
            let (message, help) = if used == *name {
                (format!("`let.{name}` uses itself"), "write what it stands for".to_owned())
            } else {
                let message = format!("`let.{name}` uses `{used}`, which stands below it");
                (message, format!("put `{used}` above `{name}`"))
            };
            check.error("used-before", expression.line, message, help);
        }
    }
}

/// Columns and names that nothing uses, and columns that are said to be unused and aren't.
fn left_over(check: &mut Check<'_>, name: &str, relation: &Relation, line: usize) {
    let spec = check.spec(name);
    let used = used_names(check, name);
    let key = check.old_key(name);
    let unused = spec.map(|spec| &spec.unused[..]).unwrap_or_default();
    let left: Vec<&str> = relation
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .filter(|field| !used.contains(*field) && !key.iter().any(|column| column == field))
        .filter(|field| !unused.iter().any(|unused| unused.value == *field))
        .collect();
    if !left.is_empty() {
        let quoted: Vec<String> = left.iter().map(|column| format!("{column:?}")).collect();
        check.warning(
            "source-column-unused",
            line,
            format!("no rule uses {} of `{name}`", suggestion::list(left)),
            format!(
                "use what is wanted, and say what isn't: unused = [{}] under [from.{name}]",
                quoted.join(", ")
            ),
        );
    }
    for unused in unused.iter().filter(|unused| used.contains(&unused.value)) {
        check.notice(
            "unused-is-used",
            unused.line,
            format!("`{name}.{}` is said to be unused, and an expression uses it", unused.value),
            "take it out of `unused`",
        );
    }
    for (name, expression) in spec.iter().flat_map(|spec| &spec.lets) {
        if !used.contains(name) {
            check.notice(
                "let-unused",
                expression.line,
                format!("nothing uses `let.{name}`"),
                "take it away",
            );
        }
    }
}

/// Every name that an expression over a source mentions.
fn used_names(check: &Check<'_>, name: &str) -> BTreeSet<String> {
    let mapping = check.mapping;
    let of_rules = mapping.rules.iter().filter(|rule| rule.from.value == name).flat_map(of_rule);
    let of_lets = check.spec(name).into_iter().flat_map(|spec| &spec.lets);
    let of_rest = mapping.leave_out.iter().filter(|leave_out| leave_out.from.value == name);
    let is_from = |spec: &&IdSpec| spec.from.as_ref().is_some_and(|from| from.value == name);
    let of_ids = mapping.ids.iter().filter(is_from).flat_map(|spec| &spec.by_values);
    let of_look_ups = check.spec(name).into_iter().flat_map(|spec| &spec.look_ups);
    let of_look_ups = of_look_ups.flat_map(|look_up| look_up.of.iter().cloned());
    of_rules
        .map(|used| used.expression)
        .chain(of_lets.map(|(_, expression)| expression))
        .chain(of_rest.filter_map(|leave_out| leave_out.filter.as_ref()))
        .chain(of_ids)
        .flat_map(|expression| mentioned(&expression.text).names)
        .chain(of_look_ups)
        .collect()
}

/// Old tables that the mapping doesn't speak of: nothing vanishes silently.
fn not_mentioned(check: &mut Check<'_>, seen: &BTreeSet<&str>) {
    let look_ups = check.mapping.sources.iter().flat_map(|spec| &spec.look_ups);
    let looked_in = look_ups.map(|look_up| look_up.within.as_str());
    let spoken: Vec<&Relation> = seen
        .iter()
        .copied()
        .chain(check.mapping.sources.iter().map(|spec| spec.name.as_str()))
        .chain(looked_in)
        .filter_map(|name| check.old(name))
        .collect();
    // A query may read any of them.
    if check.mapping.sources.iter().any(|spec| spec.query.is_some()) {
        return;
    }
    let left: Vec<String> = check
        .source
        .relations
        .iter()
        .filter(|relation| relation.is_table && relation.query.is_none())
        .filter(|relation| !spoken.iter().any(|spoken| spoken.name == relation.name))
        .map(|relation| relation.name.to_string())
        .collect();
    if left.is_empty() {
        return;
    }
    let database = &check.mapping.source.value;
    let names = help_names("", left.iter().map(String::as_str), "they");
    let (message, names) = match &left[..] {
        [only] => (
            format!("1 table of `{database}` is not mentioned: nothing is taken from it"),
            format!("it is `{only}`"),
        ),
        _ => (
            format!(
                "{} tables of `{database}` are not mentioned: nothing is taken from them",
                left.len()
            ),
            names,
        ),
    };
    check.findings.push(
        Diagnostic::notice("table-not-mentioned", message)
            .at(dunlin_model::Place::file(&check.mapping.file))
            .help(format!("{names}; say why in [[leave_out]], or add a rule")),
    );
}
