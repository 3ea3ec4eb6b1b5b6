//! A query of its own for the rows that a backfill's statement would take.

use std::collections::BTreeSet;

use crate::ChunkPlace;

/// How the rows that a backfill would do can be found without walking the table: the table as the
/// statement names it, and the statement's own condition. Whatever rows it gives, each row that the
/// statement would take is among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finder {
    /// What stands in the FROM, as it is written: `ONLY blog.posts AS p`.
    pub source: String,
    /// What the table's columns are known by there, without quotes.
    pub alias: String,
    /// The condition, as it is written.
    pub condition: String,
    /// Where the range of keys stands in it, in bytes.
    pub place: ChunkPlace,
    /// Every name in it, folded: functions may be among them, of which only the catalogue knows
    /// whether they give the same when they are asked twice.
    pub names: BTreeSet<String>,
}

impl Finder {
    /// The condition with a range of keys in its place. `range` gets the alias that stands there.
    #[must_use]
    pub fn within(&self, range: impl FnOnce(Option<&str>) -> String) -> String {
        let before = self.condition.get(..self.place.start).unwrap_or_default();
        let behind = self.condition.get(self.place.end..).unwrap_or_default();
        format!("{before}({}){behind}", range(self.place.alias.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_takes_its_place() {
        let condition = "p.a IS NULL AND :chunk(p) -- so";
        let start = condition.find(":chunk").unwrap();
        let finder = Finder {
            source: "posts AS p".into(),
            alias: "p".into(),
            condition: condition.into(),
            place: ChunkPlace { start, end: start + 9, alias: Some("p".into()) },
            names: BTreeSet::new(),
        };
        let text = finder.within(|alias| format!("{}.id <= 7", alias.unwrap()));
        assert_eq!(text, "p.a IS NULL AND (p.id <= 7) -- so");
    }
}
