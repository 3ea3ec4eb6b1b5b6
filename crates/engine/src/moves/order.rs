//! The order in which sources are read and rules are done.
//!
//! A source is read as seldom as foreign keys allow: what refers to rows of the same pass is worked
//! out while the source is read once, and written behind them.

use dunlin_model::moves::{Catalogue, TableName};

use super::plan::{Pass, PlannedRule};

/// Orders rules by the target's foreign keys, and puts those of one source that can be done together
/// into one pass, with those behind them that refer to their rows. Where they refer in a circle,
/// columns that may be NULL wait.
pub(super) fn order(rules: &mut [PlannedRule], target: &Catalogue) -> Vec<Pass> {
    link(rules, target);
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
        let mut together: Vec<usize> =
            ready.into_iter().filter(|&rule| rules[rule].source == source).collect();
        open.retain(|rule| !together.contains(rule));
        let left: Vec<&TableName> = open.iter().map(|&rule| &rules[rule].written.table).collect();
        let follows = |rule: &usize| {
            let rule = &rules[*rule];
            rule.source == source && rule.after.iter().all(|table| !left.contains(&table))
        };
        let behind: Vec<usize> = open.iter().copied().filter(follows).collect();
        open.retain(|rule| !behind.contains(rule));
        let first = together.len();
        together.extend(behind);
        passes.push(Pass { source, rules: together, first });
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
                rule.in_order |= places.iter().any(|&place| !rule.written.fields[place].nullable);
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
