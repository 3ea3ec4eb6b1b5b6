//! What `move verify` found, and what a dry run would change: rows and columns, for people.

use std::time::Duration;

use dunlin::engine::moves::{
    ColumnDifference, Comparison, Difference, DifferenceKind, RuleComparison,
};

use super::backfill::grouped;
use super::moves::rows;
use super::{BAD, FAINT, GOOD, WAITING, data, duration, line, styled};

/// Prints it. What was found is data; the verdict is what happened.
pub(crate) fn comparison(found: &Comparison) {
    for rule in &found.rules {
        data(&format!("{}: {} of {} equal", rule.rule, grouped(rule.equal), rows(rule.rows)));
        for (kind, count) in &rule.left {
            let what = styled(WAITING, left(*kind));
            data(&format!("  {}: {what}, and left so", rows(*count)));
        }
        for (kind, count) in &rule.differences {
            data(&format!("  {}: {}", rows(*count), styled(BAD, difference(*kind))));
        }
        if rule.rejected > 0 {
            let what = styled(BAD, "can't be moved");
            data(&format!("  {}: {what}", rows(rule.rejected)));
        }
        shown(rule);
    }
    let took = duration(Duration::from_millis(found.total_ms));
    let verdict = if found.equal {
        let all: u64 = found.rules.iter().map(|rule| rule.equal).sum();
        format!("{}: {} compared; {took}", styled(GOOD, "equal"), rows(all))
    } else {
        let differ: u64 = found
            .rules
            .iter()
            .map(|rule| rule.differences.values().sum::<u64>() + rule.rejected)
            .sum();
        format!("{}: {}; {took}", styled(BAD, "not equal"), rows(differ))
    };
    line(&verdict);
}

fn shown(rule: &RuleComparison) {
    for one in &rule.shown {
        row(one);
    }
    let all: u64 = rule.differences.values().sum();
    let more = all.saturating_sub(rule.shown.len() as u64);
    if more > 0 {
        data(&styled(FAINT, &format!("    and {} more: --rows N shows more", grouped(more))));
    }
}

fn row(one: &Difference) {
    let old = one.old.as_ref().map_or_else(String::new, |old| format!("{old} "));
    let what = match one.kind {
        DifferenceKind::OutOfDate | DifferenceKind::ChangedThere | DifferenceKind::AlreadyThere
            if one.columns.is_empty() =>
        {
            "differed, and was changed meanwhile".to_owned()
        }
        DifferenceKind::OutOfDate | DifferenceKind::ChangedThere | DifferenceKind::AlreadyThere => {
            columns(&one.columns)
        }
        kind => difference(kind).to_owned(),
    };
    data(&format!("    {old}-> {}: {what}", one.new));
}

/// `title, owner_id`; with values `title is 'a', should be 'b'`.
fn columns(columns: &[ColumnDifference]) -> String {
    listed(columns, |wanted, there| format!(" is {there}, should be {wanted}"))
}

/// `title, owner_id`; with values `title 'a' -> 'b'`.
pub(crate) fn changes(columns: &[ColumnDifference]) -> String {
    listed(columns, |wanted, there| format!(" {there} -> {wanted}"))
}

fn listed(columns: &[ColumnDifference], values: impl Fn(&str, &str) -> String) -> String {
    let text = |value: &Option<String>| match value {
        Some(text) => format!("'{}'", text.escape_debug()),
        None => "NULL".to_owned(),
    };
    let texts = columns.iter().map(|one| match &one.values {
        Some([wanted, there]) => format!("{}{}", one.column, values(&text(wanted), &text(there))),
        None => one.column.clone(),
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn difference(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::NotWritten => "not there: no run has written it",
        DifferenceKind::OutOfDate => "not what the source and the mapping say now",
        DifferenceKind::Gone => "there, and its old row is gone",
        DifferenceKind::ChangedThere => "changed there",
        DifferenceKind::DeletedThere => "deleted there",
        DifferenceKind::AlreadyThere => "another row with its key is there",
    }
}

fn left(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::ChangedThere => "changed by the application",
        DifferenceKind::DeletedThere => "deleted by the application",
        _ => "their old rows are gone",
    }
}
