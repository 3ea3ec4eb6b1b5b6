//! How the server would walk and reach rows, by its own plans.

use std::collections::BTreeSet;

use dunlin_engine::{Remedy, TargetError};
use dunlin_model::{Access, Backfill, Bound, Key, KeyRange};
use serde_json::Value;

use super::chunk::{is_by_row, may_run};
use super::layout::Layout;
use super::script::{Part, Script};
use super::walk::{extent, regclass, split, walk_sql, with_grant};
use crate::fence::Limits;
use crate::rows::{Answer, bug, required};
use crate::session::{APPLICATION_NAME, Session};

/// The walk that is explained: as a scout would do it.
const SPACING: u64 = 1_000;
const COUNT: u32 = 10;

/// Pages that are sampled to find a range in the middle: any one near it will do.
const MIDDLE_PAGES: u32 = 50;

/// A sort of so many rows takes no time that matters, whatever the chunk's size.
const SORTED_ROWS_MAX: f64 = 10_000.0;

/// Estimates are off by some, above all for small ranges.
const ROWS_SPARE: f64 = 1_000.0;

/// The plan that EXPLAIN (FORMAT JSON) gave.
pub(super) fn plan(answer: &Answer) -> Result<Value, TargetError> {
    let row = answer.rows.first().ok_or_else(|| bug("EXPLAIN gave no plan"))?;
    let mut plans: Value = serde_json::from_str(required(row, 0)?)
        .map_err(|_| bug("EXPLAIN gave a plan that can't be read"))?;
    Ok(plans.get_mut(0).map(Value::take).unwrap_or_default())
}

/// A range in the middle of the table; `None`: the table has no keys.
async fn middle(
    session: &mut Session,
    layout: &Layout,
    work: &Backfill,
) -> Result<Option<(Bound, Key)>, TargetError> {
    let Some(hi) = extent(session, layout, work).await?.hi else {
        return Ok(None);
    };
    let cuts = split(session, layout, work, (&Bound::Start, &hi), 1_000, MIDDLE_PAGES).await?;
    let half = cuts.len() / 2;
    Ok(match (cuts.get(half), cuts.get(half + 1)) {
        (Some(from), Some(to)) => Some((Bound::Key(from.clone()), to.clone())),
        (Some(from), None) => Some((Bound::Key(from.clone()), hi)),
        (None, _) => Some((Bound::Start, hi)),
    })
}

/// Explains the walk and every statement.
pub(super) async fn explain(
    session: &mut Session,
    layout: &Layout,
    work: &Backfill,
) -> Result<Vec<Access>, TargetError> {
    session.clean().await?;
    may_run(work)?;
    let range = middle(session, layout, work).await?;
    let mut script = Script::default();
    script.push(Part::Plain, "BEGIN");
    for setting in limits(work).settings(APPLICATION_NAME, true) {
        script.push(Part::Plain, &setting);
    }
    script.push(Part::Plain, &session.backend_sql(true));
    let relations = script.push(Part::Plain, &relations_sql(work));
    script.push(Part::Plain, "SET LOCAL enable_seqscan TO off");
    // What is turned off costs so much that the server would get ready to compile it.
    script.push(Part::Plain, "SET LOCAL jit TO off");
    let bare = range.as_ref().map(|(after, upto)| {
        let condition = layout.between(after, upto, Some("t"));
        let sql =
            format!("EXPLAIN (FORMAT JSON) SELECT FROM {} AS t WHERE {condition}", work.table);
        script.push(Part::Plain, &sql)
    });
    let mut asked = Vec::new();
    for (index, statement) in work.statements.iter().enumerate() {
        let explained = is_explained(&statement.facts.verb);
        let prefix = "EXPLAIN (VERBOSE, FORMAT JSON) ";
        if explained {
            let at = script.push_user(index, statement, prefix, |alias| match &range {
                Some((after, upto)) => layout.between(after, upto, alias),
                // Only the server's opinion of the text is asked for.
                None => layout.side(super::predicate::Side::Upto, &nothing(layout), alias),
            });
            asked.push((format!("statement {}", index + 1), at));
        }
    }
    if let Some((after, upto)) = &range {
        for setting in ["enable_sort", "enable_bitmapscan"] {
            script.push(Part::Plain, &format!("SET LOCAL {setting} TO off"));
        }
        let walk = walk_sql(layout, work, after, upto, SPACING, COUNT);
        let sql = format!("EXPLAIN (VERBOSE, FORMAT JSON) {walk}");
        asked.insert(0, ("the walk".to_owned(), script.push(Part::Plain, &sql)));
    }
    let result = script.run(session).await;
    session.rollback().await;
    let answers = result.map_err(|failure| {
        let mut error = failure.error;
        error.by_row =
            matches!(failure.part, Part::User(_)) && error.code.as_deref().is_some_and(is_by_row);
        match failure.part {
            Part::User(_) => with_grant(error, "asking how the statement would run on", work),
            _ => with_grant(error, "asking how chunks would be reached of", work),
        }
    })?;
    let known = names(answers.get(relations))?;
    let in_range = match bare.and_then(|at| answers.get(at)) {
        Some(answer) => plan(answer)?["Plan"]["Plan Rows"].as_f64().unwrap_or(0.0),
        None => 0.0,
    };
    let mut all = Vec::new();
    for (what, at) in asked {
        let plan = plan(answers.get(at).unwrap_or(&Answer::default()))?;
        if range.is_none() {
            all.push(Access { what, index: None, complaint: None });
            continue;
        }
        let reads_in_range =
            what == "the walk" || places(work, &what).is_some_and(|places| places > 0);
        if !reads_in_range {
            all.push(Access { what, index: None, complaint: None });
            continue;
        }
        let mut seen = Seen { cost: cost(&plan["Plan"]), ..Seen::default() };
        look(&plan["Plan"], &known, layout, &mut seen);
        let rows_max = if what == "the walk" { f64::INFINITY } else { in_range * 2.0 + ROWS_SPARE };
        all.push(judge(&what, seen, rows_max, work));
    }
    Ok(all)
}

/// Whether the server would reach the rows of a list of keys by the key's index, in each statement,
/// or where a program is to have them.
pub(super) async fn reaches(
    session: &mut Session,
    layout: &Layout,
    work: &Backfill,
    range: &KeyRange,
) -> Result<bool, TargetError> {
    let KeyRange::Keys(keys) = range else { return Ok(true) };
    let mut script = Script::default();
    script.push(Part::Plain, "BEGIN");
    for setting in limits(work).settings(APPLICATION_NAME, true) {
        script.push(Part::Plain, &setting);
    }
    script.push(Part::Plain, &session.backend_sql(true));
    script.push(Part::Plain, "SET LOCAL jit TO off");
    let relations = script.push(Part::Plain, &relations_sql(work));
    let prefix = "EXPLAIN (VERBOSE, FORMAT JSON) ";
    let mut asked = Vec::new();
    for (index, statement) in work.statements.iter().enumerate() {
        asked.push(script.push_user(index, statement, prefix, |alias| layout.range(range, alias)));
    }
    if work.statements.is_empty() {
        let read = super::row_code::read_sql(layout, work, range);
        asked.push(script.push(Part::Plain, &format!("{prefix}{read}")));
    }
    let result = script.run(session).await;
    session.rollback().await;
    let answers = match result {
        Ok(answers) => answers,
        Err(failure) if failure.error.kind.remedy() == Remedy::Reconnect => {
            return Err(failure.error);
        }
        Err(_) => return Ok(false),
    };
    let known = names(answers.get(relations))?;
    let rows_max = keys.len() as f64 * 2.0 + ROWS_SPARE;
    for at in asked {
        let plan = plan(answers.get(at).unwrap_or(&Answer::default()))?;
        let mut seen = Seen { cost: cost(&plan["Plan"]), ..Seen::default() };
        look(&plan["Plan"], &known, layout, &mut seen);
        if judge("a list of keys", seen, rows_max, work).complaint.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn limits(work: &Backfill) -> Limits {
    Limits { lock: work.lock_timeout, statement: Some(work.statement_timeout) }
}

fn nothing(layout: &Layout) -> Vec<String> {
    layout.parts.iter().map(|part| format!("NULL::{}", part.type_name)).collect()
}

fn places(work: &Backfill, what: &str) -> Option<usize> {
    let number: usize = what.strip_prefix("statement ")?.parse().ok()?;
    work.statements.get(number.checked_sub(1)?).map(|s| s.facts.chunk_places.len())
}

/// Whether EXPLAIN takes such a statement.
pub(super) fn is_explained(verb: &str) -> bool {
    let first = verb.split(' ').next().unwrap_or_default();
    matches!(first, "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "WITH" | "MERGE" | "VALUES")
}

/// The table and its partitions, as plans name them.
fn relations_sql(work: &Backfill) -> String {
    format!(
        "WITH RECURSIVE all_of AS (SELECT {table}::pg_catalog.oid AS id UNION SELECT h.inhrelid \
         FROM all_of JOIN pg_catalog.pg_inherits h ON h.inhparent = all_of.id) \
         SELECT n.nspname, c.relname FROM all_of JOIN pg_catalog.pg_class c ON c.oid = all_of.id \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
        table = regclass(work),
    )
}

type Names = BTreeSet<(String, String)>;

fn names(answer: Option<&Answer>) -> Result<Names, TargetError> {
    let rows = answer.map(|answer| answer.rows.as_slice()).unwrap_or_default();
    rows.iter()
        .map(|row| Ok((required(row, 0)?.to_owned(), required(row, 1)?.to_owned())))
        .collect()
}

/// What was seen of one plan.
#[derive(Default)]
struct Seen {
    /// What the whole plan costs.
    cost: f64,
    /// The index that bounds the table's rows by the key.
    index: Option<String>,
    /// The server would look at every row of the table.
    whole: bool,
    /// The most rows that are expected of a scan of it by the key.
    rows: f64,
    /// The most rows that a sort takes.
    sorted: f64,
}

/// What a node costs when it is run to its end.
fn cost(node: &Value) -> f64 {
    node["Total Cost"].as_f64().unwrap_or(0.0)
}

fn judge(what: &str, seen: Seen, rows_max: f64, work: &Backfill) -> Access {
    let complaint = if seen.index.is_none() {
        Some(format!("the server does not reach rows of {} by their range of keys", work.table))
    } else if seen.whole {
        Some(format!("the server would read all of {} for each chunk", work.table))
    } else if seen.rows > rows_max {
        Some(format!("the server expects about {} rows outside the range of a chunk", seen.rows))
    } else if what == "the walk" && seen.sorted > 0.0 || seen.sorted > SORTED_ROWS_MAX {
        Some(format!("the server would sort about {} rows for each chunk", seen.sorted))
    } else {
        None
    };
    Access { what: what.to_owned(), index: seen.index, complaint }
}

/// Looks at a node and all below it; whether its rows come from the table.
fn look(node: &Value, known: &Names, layout: &Layout, seen: &mut Seen) -> bool {
    let text = |name: &str| node[name].as_str().unwrap_or_default();
    let named = known.contains(&(text("Schema").to_owned(), text("Relation Name").to_owned()));
    // A merge join with another reference to the table stops as soon as the chunk's own rows are
    // matched: a node that costs more than the whole plan is not run to its end.
    let ours = named && cost(node) <= seen.cost;
    match text("Node Type") {
        "Index Scan" | "Index Only Scan" if ours => {
            if bounds_key(text("Index Cond"), layout) {
                seen.index = Some(text("Index Name").to_owned());
            } else if text("Index Cond").is_empty() {
                seen.whole = true;
            }
        }
        "Bitmap Heap Scan" if ours => look_at_bitmap(node, layout, seen),
        "Seq Scan" if ours => seen.whole = true,
        _ => {}
    }
    if ours && text("Node Type").ends_with("Scan") && seen.index.is_some() {
        seen.rows = seen.rows.max(node["Plan Rows"].as_f64().unwrap_or(0.0));
    }
    let mut from_table = named;
    for child in node["Plans"].as_array().into_iter().flatten() {
        let below = look(child, known, layout, seen);
        // What a sub-query counts or a CTE holds is not what this node sorts.
        let apart = matches!(child["Parent Relationship"].as_str(), Some("InitPlan" | "SubPlan"));
        from_table |= below && !apart;
    }
    if from_table && matches!(text("Node Type"), "Sort" | "Incremental Sort") {
        seen.sorted = seen.sorted.max(node["Plan Rows"].as_f64().unwrap_or(0.0));
    }
    from_table
}

/// Below a bitmap scan of the table stand scans of its indexes, which name no table.
fn look_at_bitmap(node: &Value, layout: &Layout, seen: &mut Seen) {
    for child in node["Plans"].as_array().into_iter().flatten() {
        if bounds_key(child["Index Cond"].as_str().unwrap_or_default(), layout) {
            seen.index = child["Index Name"].as_str().map(str::to_owned);
        }
        look_at_bitmap(child, layout, seen);
    }
}

/// Whether an index is searched by the key's first column.
fn bounds_key(condition: &str, layout: &Layout) -> bool {
    let Some(part) = layout.parts.first() else {
        return false;
    };
    // A plan quotes a name only where it must.
    if condition.contains(&part.name) {
        return true;
    }
    let bare = part.name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    let bare = bare.unwrap_or(&part.name);
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    condition.match_indices(bare).any(|(at, found)| {
        let before = condition[..at].chars().next_back();
        let after = condition[at + found.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}
