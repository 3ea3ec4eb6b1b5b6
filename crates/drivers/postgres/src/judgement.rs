//! Whether a statement took effect that was sent alone, by the definitions from before it and what
//! the catalogue says now.
//!
//! Invariant: what somebody else changed is never taken for the statement's own effect. It is told
//! by what it names; another difference proves nothing, and then the answer is that nobody knows.

use dunlin_engine::{Settled, TargetError};
use dunlin_model::{ImageObject, Statement, StepRecord, Trace, TraceKind};

use crate::image::{builds_index_concurrently, expression, mentions_index, objects};
use crate::quote;
use crate::rows::{boolean, number, required, single};
use crate::session::Session;

/// Compares.
pub(crate) async fn judge(
    session: &Session,
    statement: &Statement,
    step: &StepRecord,
) -> Result<Settled, TargetError> {
    let Some(before) = step.image.as_deref() else {
        return Ok(unknown("the journal has no definitions from before it was sent"));
    };
    let objects = objects(statement);
    let trace = statement.facts.traces.first();
    if let (true, Some(table)) = (builds_index_concurrently(statement), objects.first()) {
        return built(session, table, trace, before).await;
    }
    match (statement.facts.verb.as_str(), objects.first(), trace) {
        ("ALTER TYPE", Some(of), Some(label)) => labelled(session, of, label, before).await,
        ("ALTER TABLE", Some(parent), Some(partition)) => {
            detached(session, parent, partition, before).await
        }
        _ => whole(session, statement, before).await,
    }
}

fn unknown(evidence: impl Into<String>) -> Settled {
    Settled::Unknown { evidence: vec![evidence.into()] }
}

fn told(took_effect: bool) -> Settled {
    if took_effect { Settled::TookEffect } else { Settled::DidNot }
}

/// CREATE INDEX CONCURRENTLY: there is a valid index that was not there before, and it is this one.
async fn built(
    session: &Session,
    table: &ImageObject,
    trace: Option<&Trace>,
    before: &str,
) -> Result<Settled, TargetError> {
    let sql = format!(
        "SELECT i.indexrelid, c.relname, pg_catalog.pg_get_indexdef(i.indexrelid) \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         WHERE i.indrelid = pg_catalog.to_regclass({}) AND i.indisvalid",
        quote::text(&table.name)
    );
    let answers = session.ask(&sql).await?;
    let mut new = Vec::new();
    for row in answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default() {
        if !mentions_index(before, number(row, 0)?) {
            new.push((required(row, 1)?, required(row, 2)?));
        }
    }
    let is_it = |(name, definition): &(&str, &str)| match trace {
        Some(Trace { kind: TraceKind::Index, name: own, .. }) => name == own,
        Some(Trace { kind: TraceKind::IndexOn, name: written, .. }) => fits(definition, written),
        _ => false,
    };
    if new.iter().any(is_it) {
        return Ok(Settled::TookEffect);
    }
    let named = trace.is_some_and(|trace| trace.kind == TraceKind::Index);
    Ok(match new.first() {
        Some((name, _)) if !named => unknown(format!(
            "index {name} was built on {} since then; the statement gives its index no name, so it \
             may be this one or another",
            table.name
        )),
        _ => Settled::DidNot,
    })
}

/// Whether a definition is what a file has written behind the table's name, but for spaces, case
/// and quotes: what else the server writes in another way is not recognised.
fn fits(definition: &str, written: &str) -> bool {
    let plain = |text: &str| {
        text.chars().filter(|c| !c.is_whitespace() && *c != '"').collect::<String>().to_lowercase()
    };
    let Some((_, definition)) = definition.split_once(" USING ") else { return false };
    let written = plain(written);
    let method =
        written.strip_prefix("using").map_or_else(|| format!("btree{written}"), str::to_owned);
    plain(definition) == method
}

/// ALTER TYPE … ADD VALUE: the label is there, and was not.
async fn labelled(
    session: &Session,
    of: &ImageObject,
    label: &Trace,
    before: &str,
) -> Result<Settled, TargetError> {
    let sql = format!(
        "SELECT pg_catalog.quote_literal(label), EXISTS (SELECT FROM pg_catalog.pg_enum e \
         WHERE e.enumtypid = pg_catalog.to_regtype({}) AND e.enumlabel = label) \
         FROM (SELECT CAST({} AS text) AS label) AS one",
        quote::text(&of.name),
        label.name
    );
    let answers = session.ask(&sql).await?;
    let row = single(&answers, 0)?;
    let label = required(row, 0)?;
    let was = before.contains(&format!(" {label}")) || before.contains(&format!(",{label}"));
    Ok(told(boolean(row, 1)? && !was))
}

/// DETACH PARTITION … CONCURRENTLY: it was one, and is none.
async fn detached(
    session: &Session,
    parent: &ImageObject,
    partition: &Trace,
    before: &str,
) -> Result<Settled, TargetError> {
    let sql = format!(
        "SELECT 'partition ' || c.oid, EXISTS (SELECT FROM pg_catalog.pg_inherits h \
         WHERE h.inhparent = pg_catalog.to_regclass({}) AND h.inhrelid = c.oid) \
         FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass({})",
        quote::text(&parent.name),
        quote::text(&partition.name)
    );
    let answers = session.ask(&sql).await?;
    let Some(row) = answers.first().and_then(|answer| answer.rows.first()) else {
        return Ok(unknown(format!("there is no table {} any more", partition.name)));
    };
    let line = required(row, 0)?;
    Ok(told(before.lines().any(|one| one == line) && !boolean(row, 1)?))
}

/// Something is created or dropped: it is there, or not, and was the other way round.
async fn whole(
    session: &Session,
    statement: &Statement,
    before: &str,
) -> Result<Settled, TargetError> {
    let answers = session.ask(&format!("SELECT {}", expression(&objects(statement)))).await?;
    let now = required(single(&answers, 0)?, 0)?;
    let is_absent = |image: &str| image.ends_with(": absent");
    let (was, is) = (!is_absent(before), !is_absent(now));
    Ok(match statement.facts.verb.split(' ').next() {
        Some("CREATE") => told(!was && is),
        Some("DROP") if was && is && number_of(before) != number_of(now) => {
            unknown("something else of that name is there by now")
        }
        Some("DROP") => told(was && !is),
        _ if before == now => Settled::DidNot,
        _ => unknown("its definition is another one, but that may be somebody else's doing"),
    })
}

/// `index 17` of an image: kind and number of what it describes.
fn number_of(image: &str) -> Option<String> {
    let (_, described) = image.split_once(": ")?;
    Some(described.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unnamed_index_is_known_by_its_definition() {
        let definition = "CREATE INDEX t_a_idx ON public.t USING btree (a, \"B\") WHERE (a > 0)";
        assert!(fits(definition, "(a, \"B\")\n  where (a > 0)"));
        assert!(fits(definition, "USING BTREE (a,b) WHERE (a>0)"));
        assert!(!fits(definition, "(a)"));
        assert!(!fits(definition, "USING hash (a, b) WHERE (a > 0)"));
    }

    #[test]
    fn an_index_is_known_by_its_number() {
        let image = "Index i: index 17 CREATE INDEX i ON public.t USING btree (a)";
        assert_eq!(number_of(image).as_deref(), Some("index 17"));
        assert_eq!(number_of(&format!("{image} INVALID")), number_of(image));
    }
}
