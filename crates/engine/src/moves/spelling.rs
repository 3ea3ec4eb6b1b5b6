//! References by a text whose key the source compares otherwise than by its bytes.
//!
//! A move compares bytes: what such a database takes for `de` it takes for another key, `DE`, that isn't
//! there. Where a missing row makes a column NULL, or leaves the row out, that would be silent. So the
//! database itself is asked, under the snapshot that is moved, whether there are such references.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use dunlin_model::moves::{Field, Missing, NewReference, Numbering, TableName, Value, ValueType};
use dunlin_model::{Diagnostic, Place, Severity};

use super::columns::read_all;
use super::plan::{MovePlan, PlannedRule, PlannedSource, source_spec};
use super::ports::{Extract, SPELT_OTHERWISE, Source, Spelling};
use crate::TargetError;
use crate::report::EngineError;

const RULE: &str = "key-spelling";

/// Warnings about references of which nobody can tell; refuses those that would be lost.
pub(super) async fn check(
    plan: &MovePlan,
    source: &mut dyn Source,
) -> Result<Vec<Diagnostic>, EngineError> {
    let mut found = Vec::new();
    for rule in &plan.rules {
        for setting in &rule.rule.set {
            let Value::Reference(reference) = &setting.value else { continue };
            // By default such a row is rejected, and told of by itself.
            if reference.missing != Missing::Error {
                found.extend(look_at(plan, rule, reference, source).await?);
            }
        }
    }
    let (errors, warnings): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|one| one.severity == Severity::Error);
    if errors.is_empty() { Ok(warnings) } else { Err(EngineError::Refused(errors)) }
}

async fn look_at(
    plan: &MovePlan,
    rule: &PlannedRule,
    reference: &NewReference,
    source: &mut dyn Source,
) -> Result<Option<Diagnostic>, TargetError> {
    let Some((to, key)) = referred_to(plan, reference) else { return Ok(None) };
    let from = &plan.sources[rule.source];
    if is_key_looked_up(plan, from, (to, key), &reference.of.text) {
        return Ok(None);
    }
    let column = column_of(plan, from, &reference.of.text);
    let spelling = Spelling {
        to: to.relation.name.clone(),
        key: key.name.clone(),
        from: from.relation.name.clone(),
        query: from.relation.query.clone(),
        // Where an expression refers, only the key is asked about.
        column: column.map_or_else(|| from.relation.fields[0].name.clone(), str::to_owned),
    };
    let Some(query) = source.spelt_otherwise(&spelling).await? else { return Ok(None) };
    let place = Place::line(plan.mapping.file.clone(), reference.of.line);
    let Some(column) = column else {
        let message = format!(
            "`{}` compares `{}.{}` otherwise than by its bytes, as a move does: where `of` gives \
             another spelling, the row is missing",
            plan.mapping.source.value, to.name, key.name
        );
        let help = "make sure that it gives the key's own spelling, or write missing = \"error\"";
        return Ok(Some(Diagnostic::warning(RULE, message).at(place).help(help)));
    };
    let rows = count(source, query).await?;
    if rows == 0 {
        return Ok(None);
    }
    let refer = if rows == 1 { "row of" } else { "rows of" };
    let verb = if rows == 1 { "refers" } else { "refer" };
    let message = format!(
        "{rows} {refer} `{}` {verb} to `{}` by a text that `{}.{}` spells otherwise: `{}` takes them \
         for the same, and a move, which compares bytes, for missing",
        from.name, to.name, to.name, key.name, plan.mapping.source.value
    );
    let help = format!(
        "take the key's own spelling: under [from.{from}], look_up.{column}_key = {{ in = \"{to}\", \
         of = \"{column}\", by = \"{key}\", take = \"{key}\" }}, and of = \"{column}_key\"; or write \
         missing = \"error\", which rejects such rows alone",
        from = from.name,
        key = key.name,
        to = to.name,
    );
    Ok(Some(Diagnostic::error(RULE, message).at(place).help(help)))
}

/// The old table whose rows a reference means, and its key, where that is a text.
fn referred_to<'p>(
    plan: &'p MovePlan,
    reference: &NewReference,
) -> Option<(&'p PlannedSource, &'p Field)> {
    let namespace = plan.namespaces.iter().find(|one| one.spec.name == reference.new)?;
    let seeker = namespace.matching.as_ref().and_then(|matching| matching.seeker.as_ref());
    let made = namespace.maker.map(|rule| plan.rules[rule].source);
    let to = &plan.sources[made.or(seeker.map(|(source, _)| *source))?];
    let [key] = to.key[..] else { return None };
    let key = &to.relation.fields[key];
    // What a query's columns are compared by isn't known; who writes one can say it there.
    (to.relation.query.is_none() && is_text(key)).then_some((to, key))
}

fn is_text(field: &Field) -> bool {
    matches!(field.value_type, ValueType::Text { .. })
}

/// Whether an expression is a look-up that takes this very key: then it gives the key's own spelling.
fn is_key_looked_up(
    plan: &MovePlan,
    from: &PlannedSource,
    (to, key): (&PlannedSource, &Field),
    text: &str,
) -> bool {
    let spec = plan.mapping.sources.iter().find(|spec| spec.name == from.name);
    let mut look_ups = spec.into_iter().flat_map(|spec| &spec.look_ups);
    look_ups.any(|one| {
        one.name == named(text)
            && one.taken() == key.name
            && source_spec(&plan.mapping, &one.within).relation() == to.relation.name
    })
}

/// A name, without the quotes that it may stand in.
fn named(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// The column that an expression names, if it does nothing else.
fn column_of<'p>(plan: &MovePlan, from: &'p PlannedSource, text: &str) -> Option<&'p str> {
    let field = from.relation.field(named(text)).filter(|field| is_text(field))?;
    let spec = plan.mapping.sources.iter().find(|spec| spec.name == from.name);
    // What is looked up elsewhere is no column that the database knows.
    let is_looked_up =
        spec.is_some_and(|spec| spec.look_ups.iter().any(|one| one.name == field.name));
    (!is_looked_up).then_some(field.name.as_str())
}

async fn count(source: &mut dyn Source, query: String) -> Result<i64, TargetError> {
    let field = Field {
        name: SPELT_OTHERWISE.to_owned(),
        type_name: "bigint".to_owned(),
        value_type: ValueType::Int64,
        nullable: false,
        has_default: false,
        numbering: Numbering::None,
        generated: false,
        max_chars: None,
        limit: None,
    };
    let extract = Extract {
        table: TableName::of(SPELT_OTHERWISE),
        query: Some(query),
        fields: vec![field],
        order: Vec::new(),
        only: Vec::new(),
        batch_bytes: 1,
    };
    let mut rows = 0;
    read_all(source, &extract, |batch| {
        let counts = batch.rows.column(0).as_primitive_opt::<Int64Type>();
        rows += counts.map_or(0, |counts| counts.iter().flatten().sum::<i64>());
        Ok(())
    })
    .await?;
    Ok(rows)
}
