//! A plan for people.

use dunlin_model::moves::{Duplicates, IdKind, ValueType};

use super::decide::is_one_by_one;
use super::plan::{MovePlan, Pass, PlannedRule};

/// What a key that is no number takes.
const HASH_BYTES: u64 = 16;

/// What a row takes in a list, about: its key, and what is said of it.
const LISTED_BYTES: u64 = 24;

/// One source that is read, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OutlineStep {
    /// The source.
    pub source: String,
    /// About how many rows it has.
    pub rows: Option<u64>,
    /// What is made of them.
    pub rules: Vec<OutlineRule>,
}

/// One rule, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OutlineRule {
    /// Its name.
    pub rule: String,
    /// The target's table.
    pub table: String,
    /// Which ids it makes, and how.
    pub id: Option<String>,
    /// The namespaces that it refers to.
    pub refers_to: Vec<String>,
    /// Columns that are filled in once the rows that they refer to are there.
    pub later: Vec<String>,
}

impl MovePlan {
    /// What a run does, in its order.
    #[must_use]
    pub fn outline(&self) -> Vec<OutlineStep> {
        let step = |pass: &Pass| OutlineStep {
            source: self.sources[pass.source].name.clone(),
            rows: self.sources[pass.source].relation.row_count_estimate,
            rules: pass.rules.iter().map(|&rule| self.outline_of(&self.rules[rule])).collect(),
        };
        self.passes.iter().map(step).collect()
    }

    /// About how many bytes a run remembers of keys, in memory and in temporary files together.
    /// `None`: it isn't known how many rows the sources have.
    #[must_use]
    pub fn key_set_bytes(&self) -> Option<u64> {
        let decides = self.rules.iter().filter(|rule| rule.deciding.is_some());
        decides.map(|rule| self.key_set_bytes_of(rule)).sum()
    }

    fn key_set_bytes_of(&self, rule: &PlannedRule) -> Option<u64> {
        let source = &self.sources[rule.source];
        let rows = source.relation.row_count_estimate?;
        let is_number = matches!(source.key[..], [place] if matches!(
            source.relation.fields[place].value_type,
            ValueType::Int16 | ValueType::Int32 | ValueType::Int64 | ValueType::UInt64
        ));
        let kind = rule.makes.map(|makes| self.namespaces[makes].spec.kind);
        // Dense numbers are a bit each; with gaps two bytes at most.
        let mut bytes = if is_number { rows / 4 } else { rows * HASH_BYTES };
        bytes += match kind {
            Some(IdKind::Assigned) => rows * 2 * HASH_BYTES,
            Some(IdKind::Matched) => rows * 6 * HASH_BYTES,
            _ => 0,
        };
        if is_one_by_one(self, rule) {
            bytes += rows * LISTED_BYTES;
        }
        if rule.rule.one_per.is_some() || rule.rule.duplicates == Duplicates::KeepTheFirst {
            bytes += rows * (HASH_BYTES + LISTED_BYTES);
        }
        Some(bytes)
    }

    fn outline_of(&self, rule: &PlannedRule) -> OutlineRule {
        let mut refers_to: Vec<String> = Vec::new();
        for reference in &rule.layout.references {
            let name = &self.namespaces[reference.namespace].spec.name;
            if !refers_to.contains(name) {
                refers_to.push(name.clone());
            }
        }
        let id = rule.makes.map(|makes| {
            let spec = &self.namespaces[makes].spec;
            let kind = format!("{:?}", spec.kind).to_lowercase();
            format!("makes {} ids ({kind})", spec.name)
        });
        let later = rule.deferred.iter().map(|place| rule.written.fields[*place].name.clone());
        OutlineRule {
            rule: rule.rule.name.clone(),
            table: rule.written.table.to_string(),
            id,
            refers_to,
            later: later.collect(),
        }
    }
}
