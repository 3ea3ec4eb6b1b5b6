//! One old row, and each new row that it becomes.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dunlin_model::moves::{Value, ValueType};
use serde::Serialize;

use super::columns::{Columns, bug, read_all};
use super::decide::decide;
use super::gate::Gate;
use super::ids::IdCipher;
use super::pass::NOT_TAKEN;
use super::plan::{MovePlan, PlannedRule, PlannedSource};
use super::planned::planned;
use super::produce::{Decided, produce, with_article};
use super::read_rows::ReadRows;
use super::report::NoteKind;
use super::run::{MoveJob, SOURCE_NOTE, no_lease, state};
use super::session::Session;
use super::spill::Room;
use crate::report::EngineError;
use crate::{ErrorKind, TargetError};

/// A column with its value, and where that comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SampledValue {
    /// The column.
    pub column: String,
    /// Its value as text; `None`: NULL.
    pub value: Option<String>,
    /// The expression, or the reference, that it comes from.
    pub from: String,
}

/// A new row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SampledRow {
    /// The rule.
    pub rule: String,
    /// The target's table.
    pub table: String,
    /// Its columns.
    pub values: Vec<SampledValue>,
}

/// What becomes of one old row.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Sample {
    /// The old row's columns.
    pub old: Vec<SampledValue>,
    /// The new rows.
    pub rows: Vec<SampledRow>,
    /// What else was done with it, and why: rule, what, reason.
    pub notes: Vec<(String, NoteKind, String)>,
}

/// Shows what becomes of the row of a source with that key (its columns' texts with commas between
/// them). It looks only.
///
/// # Errors
/// There is no such source or row; the mapping's; the databases'.
pub async fn sample(move_job: &MoveJob, source: &str, key: &str) -> Result<Sample, EngineError> {
    let mut reader = move_job.open_source().await?;
    let mut target = move_job.target.move_target().await?;
    let (plan, _) = planned(move_job, reader.as_mut(), target.as_mut()).await?;
    let place = plan.sources.iter().position(|one| one.name == source);
    let Some(place) = place else {
        let names: Vec<&str> = plan.sources.iter().map(|one| one.name.as_str()).collect();
        return Err(TargetError::new(ErrorKind::Refused, format!("no rule reads `{source}`"))
            .help(format!("rules read: {}", names.join(", ")))
            .note(SOURCE_NOTE)
            .into());
    };
    let (state, secret) = state(move_job, target.as_mut()).await?;
    let name = &move_job.mapping.name;
    let lease = no_lease(&move_job.job, name);
    let gate = Gate::new(&move_job.job, None);
    let mut session = Session::new(&move_job.job, target, lease, name, state.runs, true, gate);
    let cipher = IdCipher::new(&secret, &plan.mapping.id_key.clone().unwrap_or_default());
    let from = &plan.sources[place];
    let everything: Vec<usize> = (0..from.relation.fields.len()).collect();
    let columns = Columns::of(from, std::iter::once(everything.as_slice()));
    let mut extract = columns.extract(from, false);
    extract.only = key_texts(from, key)?;
    let mut found: Option<ReadRows> = None;
    read_all(reader.as_mut(), &extract, |batch| {
        if batch.count() > 0 && found.is_none() {
            found = Some(batch.slice(0, 1));
        }
        Ok(())
    })
    .await?;
    let Some(batch) = found else {
        return Err(TargetError::new(
            ErrorKind::Refused,
            format!("{source} has no row with the key {key}"),
        )
        .note(SOURCE_NOTE)
        .into());
    };
    let room = Room::new(move_job.memory_bytes);
    let decided = decide(&plan, reader.as_mut(), &mut session, cipher, &room).await?;
    Ok(explain(&plan, from, &columns, &batch, &decided)?)
}

fn key_texts(source: &PlannedSource, key: &str) -> Result<Vec<(String, String)>, TargetError> {
    let names = source.key.iter().map(|place| source.relation.fields[*place].name.clone());
    let parts = if source.key.len() == 1 { vec![key.to_owned()] } else { key_parts(key) };
    if parts.len() == source.key.len() {
        Ok(names.zip(parts).collect())
    } else {
        let names: Vec<String> = names.collect();
        Err(TargetError::new(
            ErrorKind::Refused,
            format!("the key of {} has {} columns: {}", source.name, names.len(), names.join(", ")),
        )
        .help(r#"give their values with commas between them; one that has a comma in quotes: "a,b",1"#)
        .note(SOURCE_NOTE))
    }
}

/// The values of a key of several columns: as in a line of CSV.
fn key_parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut in_quotes = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let Some(part) = parts.last_mut() else { break };
        match letter {
            '"' if in_quotes && letters.peek() == Some(&'"') => part.extend(letters.next()),
            '"' if in_quotes => in_quotes = false,
            // Within a value it means itself.
            '"' if part.is_empty() => in_quotes = true,
            ',' if !in_quotes => parts.push(String::new()),
            letter => part.push(letter),
        }
    }
    parts
}

fn explain(
    plan: &MovePlan,
    from: &PlannedSource,
    columns: &Columns,
    batch: &ReadRows,
    decided: &Decided,
) -> Result<Sample, TargetError> {
    let mut sample = Sample::default();
    for one in &batch.unreadable {
        let field = &from.relation.fields[one.column];
        let told = (from.name.clone(), NoteKind::Rejected, format!("`{}` {}", field.name, one.why));
        sample.notes.push(told);
    }
    let (batch, keys, _) = columns.keyed(batch.clone())?;
    if batch.count() == 0 {
        return Ok(sample);
    }
    for (field, column) in from.relation.fields.iter().zip(batch.rows.columns()) {
        sample.old.push(SampledValue {
            column: field.name.clone(),
            value: shown(column, &field.value_type, 0)?,
            from: field.type_name.clone(),
        });
    }
    let mut is_taken = false;
    for &number in &from.rules {
        let rule = &plan.rules[number];
        let produced = produce(rule, decided, number, columns, (&batch, &keys))?;
        let name = &rule.rule.name;
        is_taken |= produced.taken.value(0);
        sample
            .notes
            .extend(produced.notes.into_iter().map(|note| (name.clone(), note.kind, note.reason)));
        for row in 0..produced.rows.num_rows() {
            sample.rows.push(SampledRow {
                rule: name.clone(),
                table: rule.written.table.to_string(),
                values: values(plan, rule, &produced.rows, row)?,
            });
        }
    }
    if is_taken {
        return Ok(sample);
    }
    for one in from.leave_out.iter() {
        let given = columns.project(&batch, one.compiled.used())?;
        if one.named(&given)?.first() == Some(&true) {
            // The first that names it says why it goes nowhere.
            sample.notes.push((from.name.clone(), NoteKind::LeftOut, one.because.clone()));
            return Ok(sample);
        }
    }
    let why = format!("{NOT_TAKEN}, and no [[leave_out]] says why");
    sample.notes.push((from.name.clone(), NoteKind::NotTaken, why));
    Ok(sample)
}

fn values(
    plan: &MovePlan,
    rule: &PlannedRule,
    rows: &RecordBatch,
    row: usize,
) -> Result<Vec<SampledValue>, TargetError> {
    let fields = rule.written.fields.iter().zip(rows.columns()).enumerate();
    fields
        .map(|(place, (field, column))| {
            let setting = rule.rule.set.iter().find(|setting| setting.column == field.name);
            let from = match setting.map(|setting| &setting.value) {
                Some(Value::Expression { expression, .. }) => expression.text.clone(),
                Some(Value::Reference(reference)) => {
                    format!("the new {} of {}", reference.new, reference.of.text)
                }
                None => match rule.makes.filter(|_| rule.id_field == Some(place)) {
                    Some(makes) => {
                        format!("its id as {}", with_article(&plan.namespaces[makes].spec.name))
                    }
                    None => String::new(),
                },
            };
            let value = shown(column, &field.value_type, row)?;
            Ok(SampledValue { column: field.name.clone(), value, from })
        })
        .collect()
}

/// A value as text, for people; `None`: NULL.
pub(super) fn shown(
    column: &ArrayRef,
    of: &ValueType,
    row: usize,
) -> Result<Option<String>, TargetError> {
    if column.is_null(row) {
        return Ok(None);
    }
    if let (ValueType::Uuid, DataType::FixedSizeBinary(16)) = (of, column.data_type())
        && let Ok(id) = uuid::Uuid::from_slice(column.as_fixed_size_binary().value(row))
    {
        return Ok(Some(id.to_string()));
    }
    // Beyond what a calendar knows, infinities above all, the number is shown.
    let options = FormatOptions::default().with_display_error(true);
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(|e| bug(&e))?;
    Ok(Some(formatter.value(row).to_string()))
}

#[cfg(test)]
mod tests {
    use super::key_parts;

    #[test]
    fn keys_of_several_columns() {
        for (text, parts) in [
            ("a,1", &["a", "1"][..]),
            ("\"a,b\",1", &["a,b", "1"]),
            ("\"say \"\"hi\"\"\",1", &["say \"hi\"", "1"]),
            ("5\",1", &["5\"", "1"]),
            (",", &["", ""]),
            ("\"\",1,", &["", "1", ""]),
        ] {
            assert_eq!(key_parts(text), parts, "{text}");
        }
    }
}
