//! A plan for people.

use super::plan::{MovePlan, Pass, PlannedRule};

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
