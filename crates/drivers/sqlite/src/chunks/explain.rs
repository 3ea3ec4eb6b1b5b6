//! How SQLite would reach the rows of a chunk.

use dunlin_model::{Access, Backfill, Bound, Key, KeyRange};
use rusqlite::Connection;

use super::range::{Order, Ranged};
use super::table::ROWID;
use super::walk;
use super::{known, name};
use crate::control::Control;
use crate::fault::{Fault, Outcome};

/// How the walk and each statement reach the rows of a range.
pub(super) fn explain(
    connection: &Connection,
    control: &Control,
    work: &Backfill,
    ranged: &mut Vec<Ranged>,
) -> Outcome<Vec<Access>> {
    let order = known::order(connection, work)?;
    // The plan depends on the kind of range, not on its keys.
    let empty = || Key(vec!["0".to_owned(); order.columns.len()]);
    let low = walk::end(connection, &order, work, false)?.unwrap_or_else(empty);
    let high = walk::end(connection, &order, work, true)?.unwrap_or_else(empty);
    let after = Bound::Key(low);
    let mut found = vec![of_walk(connection, work, &order, &after, &high)?];
    let range = KeyRange::Between { after, upto: high };
    *ranged = Ranged::all(work, &order, &range)?;
    for (index, statement) in ranged.iter().enumerate() {
        let plan = control
            .as_user(None, || control.preparing(|| plan(connection, &statement.text)))
            .map_err(|error| Fault::Statement { index, error, running: false })?;
        let mut names = vec![name::table_in_main(&work.table).unwrap_or_default()];
        let places = work.statements.get(index).map(|s| s.facts.chunk_places.as_slice());
        for place in places.unwrap_or_default() {
            names.extend(place.alias.as_deref().map(name::bare));
        }
        found.push(of_statement(index, &plan, &names, &order));
    }
    for access in &mut found {
        // SQLite names a table's own order by what it is.
        if order.by == "NOT INDEXED" && access.index.as_deref() == Some(ROWID) {
            access.index = Some(work.index.clone());
        }
    }
    Ok(found)
}

fn of_walk(
    connection: &Connection,
    work: &Backfill,
    order: &Order,
    after: &Bound,
    upto: &Key,
) -> Outcome<Access> {
    let plan = plan(connection, &walk::step(order, after, upto, 1)?)?;
    let names = [name::table_in_main(&work.table).unwrap_or_default()];
    let mut access = reached(&plan, &names, order);
    "the walk".clone_into(&mut access.what);
    if plan.iter().any(|line| line.contains("TEMP B-TREE")) {
        access.complaint = Some(format!("SQLite would sort the rows of {}", work.table));
    }
    Ok(access)
}

fn of_statement(index: usize, plan: &[String], names: &[String], order: &Order) -> Access {
    Access { what: format!("statement {}", index + 1), ..reached(plan, names, order) }
}

fn plan(connection: &Connection, text: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}"))?;
    let mut rows = statement.raw_query();
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        lines.push(row.get(3)?);
    }
    Ok(lines)
}

/// How the table of these names is reached: at best once by the range of its keys.
fn reached(plan: &[String], names: &[String], order: &Order) -> Access {
    let mut access = Access { what: String::new(), index: None, complaint: None };
    for line in plan {
        let Some(search) = names.iter().find_map(|name| of_table(line, name)) else { continue };
        let index = index_of(search);
        if by_range(search, order) {
            return Access { index, complaint: None, ..access };
        }
        let how = match &index {
            Some(index) => format!("by its index {index}"),
            None => "from its beginning to its end".to_owned(),
        };
        access.complaint = Some(format!(
            "SQLite would read {} {how} and not by the range of its key, so it would read rows \
             outside the chunk",
            order.table
        ));
        access.index = index;
    }
    if access.complaint.is_none() {
        access.complaint = Some(format!("SQLite would not read {} at all", order.table));
    }
    access
}

/// What a line says of how a table is read.
fn of_table<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix("SEARCH ").or_else(|| line.strip_prefix("SCAN "))?;
    // A table that is written with its schema is shown with it.
    let rest = rest.strip_prefix("main.").unwrap_or(rest);
    let (start, after) = rest.split_at_checked(name.len())?;
    let whole = after.is_empty() || after.starts_with(' ');
    (start.eq_ignore_ascii_case(name) && whole).then_some(after)
}

/// `… USING [COVERING] INDEX name (…)`.
fn index_of(search: &str) -> Option<String> {
    if search.contains("PRIMARY KEY") {
        return Some(ROWID.to_owned());
    }
    let (_, after) = search.split_once("INDEX ")?;
    Some(after.split(" (").next().unwrap_or(after).to_owned())
}

/// Whether the search has a range on the first column of the order.
fn by_range(search: &str, order: &Order) -> bool {
    let Some((_, terms)) = search.split_once('(') else { return false };
    let Some(first) = order.columns.first() else { return false };
    let terms = terms.trim_end_matches(')');
    terms.split(" AND ").any(|term| {
        let term = term.trim_start_matches('(');
        let of_column = |name: &str| {
            term.strip_prefix(name).is_some_and(|rest| rest.starts_with(['>', '<', '=', ',']))
        };
        of_column(&first.name) || (search.contains("INTEGER PRIMARY KEY") && of_column(ROWID))
    })
}

#[cfg(test)]
mod tests {
    use super::super::range::OrderColumn;
    use super::*;

    fn access(lines: &[&str], names: &[&str]) -> Access {
        let order = Order {
            table: "main.\"posts\"".to_owned(),
            by: String::new(),
            columns: vec![OrderColumn {
                name: "id".to_owned(),
                descending: false,
                collation: None,
            }],
        };
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        reached(&owned(lines), &owned(names), &order)
    }

    #[test]
    fn ranges_are_told_from_scans() {
        let good = access(
            &["SEARCH p USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", "SCAN other"],
            &["posts", "p"],
        );
        assert_eq!((good.index.as_deref(), good.complaint), (Some("rowid"), None));
        let good =
            access(&["SEARCH posts USING INDEX i ((id,x)>(?,?) AND (id,x)<(?,?))"], &["posts"]);
        assert_eq!((good.index.as_deref(), good.complaint), (Some("i"), None));
        let other = access(&["SEARCH posts USING INDEX by_date (at=?)"], &["posts"]);
        assert!(other.complaint.unwrap().contains("by_date"));
        assert!(access(&["SCAN posts"], &["posts"]).complaint.is_some());
        assert!(access(&["SCAN postscript"], &["posts"]).complaint.is_some());
    }
}
