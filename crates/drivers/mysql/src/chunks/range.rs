//! Ranges of keys as SQL conditions.
//!
//! Both bounds are nested comparisons, column by column: the server walks the whole key for those,
//! where a comparison of row values would scan the index (measured on MariaDB: 3,303 handler reads
//! against 300,001).

use dunlin_engine::TargetError;
use dunlin_model::{Backfill, Bound, Key, KeyColumn, KeyRange};

use super::kind::{Kind, no_key};
use crate::literal;

/// The key of a table that is walked.
#[derive(Debug, Clone)]
pub(crate) struct KeySql {
    columns: Vec<(KeyColumn, Kind)>,
}

impl KeySql {
    pub(crate) fn of(work: &Backfill) -> Self {
        let kind = |column: &KeyColumn| (column.clone(), Kind::of(&column.type_name));
        Self { columns: work.key.iter().map(kind).collect() }
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.columns.iter().map(|(_, kind)| kind)
    }

    pub(crate) fn columns(&self) -> &[(KeyColumn, Kind)] {
        &self.columns
    }

    /// A column's name, qualified.
    fn name(alias: Option<&str>, column: &KeyColumn) -> String {
        let name = literal::name(&column.name);
        alias.map_or_else(|| name.clone(), |alias| format!("{alias}.{name}"))
    }

    /// The texts of a row's key, a column each.
    pub(crate) fn texts(&self, alias: Option<&str>) -> Vec<String> {
        self.columns.iter().map(|(column, kind)| kind.exact(&Self::name(alias, column))).collect()
    }

    /// A row's key as the ledger stores it: what [`Key::encode`] writes.
    pub(crate) fn encoded(&self, alias: Option<&str>) -> String {
        // No text of a key holds anything that JSON escapes.
        format!("CONCAT('[\"', {}, '\"]')", self.texts(alias).join(", '\",\"', "))
    }

    /// `ORDER BY` for the order of the walk, or against it.
    pub(crate) fn order(&self, backwards: bool) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|(column, _)| {
                let down = column.descending != backwards;
                format!("{}{}", literal::name(&column.name), if down { " DESC" } else { "" })
            })
            .collect();
        columns.join(", ")
    }

    /// The rows of a range.
    pub(crate) fn range(
        &self,
        alias: Option<&str>,
        range: &KeyRange,
    ) -> Result<String, TargetError> {
        match range {
            KeyRange::Between { after, upto } => {
                let end = self.side(alias, upto, false, true)?;
                Ok(match after {
                    Bound::Key(key) => format!("{} AND {end}", self.side(alias, key, true, false)?),
                    Bound::Start => end,
                    Bound::Nulls => return Err(no_key()),
                })
            }
            KeyRange::Exactly(key) => self.exactly(alias, key),
            KeyRange::Keys(keys) if keys.is_empty() => Ok("1 = 0".to_owned()),
            KeyRange::Keys(keys) => {
                let each =
                    keys.iter().map(|key| self.exactly(alias, key).map(|one| format!("({one})")));
                Ok(each.collect::<Result<Vec<_>, _>>()?.join(" OR "))
            }
            KeyRange::Nulls => Ok(self.nulls(alias)),
        }
    }

    /// After a place and before a key.
    pub(crate) fn inside(&self, after: &Bound, before: &Key) -> Result<String, TargetError> {
        let end = self.side(None, before, false, false)?;
        Ok(match after {
            Bound::Key(key) => format!("{} AND {end}", self.side(None, key, true, false)?),
            Bound::Start | Bound::Nulls => end,
        })
    }

    /// The rows whose key is NULL.
    pub(crate) fn nulls(&self, alias: Option<&str>) -> String {
        let nulls: Vec<String> = self
            .columns
            .iter()
            .map(|(column, _)| format!("{} IS NULL", Self::name(alias, column)))
            .collect();
        nulls.join(" OR ")
    }

    /// Keys that are no NULL.
    pub(crate) fn not_null(&self) -> String {
        let nullable = self.columns.iter().filter(|(column, _)| column.nullable);
        let conditions: Vec<String> = nullable
            .map(|(column, _)| format!("{} IS NOT NULL", literal::name(&column.name)))
            .collect();
        if conditions.is_empty() { "1 = 1".to_owned() } else { conditions.join(" AND ") }
    }

    fn exactly(&self, alias: Option<&str>, key: &Key) -> Result<String, TargetError> {
        let mut equal = Vec::new();
        for (column, kind, text) in self.parts(key)? {
            equal.push(format!("{} = {}", Self::name(alias, column), kind.key_literal(text)?));
        }
        Ok(equal.join(" AND "))
    }

    /// The rows on one side of a key, in the order of the walk. Comparisons of the leading columns
    /// that follow from the rest are written out, as some versions find the range only by them.
    pub(crate) fn side(
        &self,
        alias: Option<&str>,
        key: &Key,
        beyond: bool,
        itself: bool,
    ) -> Result<String, TargetError> {
        let mut sql = String::new();
        let parts = self.parts(key)?;
        let mut first = String::new();
        for (index, (column, kind, text)) in parts.iter().enumerate().rev() {
            let name = Self::name(alias, column);
            let literal = kind.key_literal(text)?;
            let more = column.descending != beyond;
            let sign = if more { ">" } else { "<" };
            let last = index + 1 == parts.len();
            sql = match (last, itself) {
                (true, true) => format!("{name} {sign}= {literal}"),
                (true, false) => format!("{name} {sign} {literal}"),
                (false, _) => {
                    format!("({name} {sign} {literal} OR ({name} = {literal} AND {sql}))")
                }
            };
            if index == 0 && !last {
                first = format!("{name} {sign}= {literal} AND ");
            }
        }
        Ok(format!("{first}{sql}"))
    }

    fn parts<'a>(
        &'a self,
        key: &'a Key,
    ) -> Result<Vec<(&'a KeyColumn, &'a Kind, &'a str)>, TargetError> {
        if key.0.len() != self.columns.len() {
            return Err(no_key());
        }
        let parts = self.columns.iter().zip(&key.0);
        Ok(parts.map(|((column, kind), text)| (column, kind, text.as_str())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(descending: [bool; 2]) -> KeySql {
        let column = |name: &str, descending| KeyColumn {
            name: name.to_owned(),
            type_name: "int".to_owned(),
            descending,
            nullable: false,
        };
        let columns = [column("a", descending[0]), column("b", descending[1])];
        KeySql { columns: columns.map(|c| (c.clone(), Kind::of(&c.type_name))).to_vec() }
    }

    #[test]
    fn bounds_follow_each_columns_direction() {
        let key = Key(vec!["1".to_owned(), "2".to_owned()]);
        assert_eq!(
            sql([false, true]).side(Some("p"), &key, true, false).expect("a side"),
            "p.`a` >= 1 AND (p.`a` > 1 OR (p.`a` = 1 AND p.`b` < 2))"
        );
        assert_eq!(
            sql([true, false]).side(None, &key, false, true).expect("a side"),
            "`a` >= 1 AND (`a` > 1 OR (`a` = 1 AND `b` <= 2))"
        );
        assert!(sql([false, false]).side(None, &Key(vec!["1".into()]), true, true).is_err());
    }
}
