//! The order that a table is walked in, ranges of it in SQL, and statements with such a range.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Backfill, Bound, Key, KeyRange, Statement};

use super::exact;
use crate::fault::Outcome;

/// A name in back quotes. In double quotes SQLite would take a name that it doesn't find for a
/// text, and the range for a comparison of texts.
pub(crate) fn named(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// One column of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderColumn {
    pub(crate) name: String,
    pub(crate) descending: bool,
    /// The index's collation, where the column has another one.
    pub(crate) collation: Option<String>,
}

/// The order that an index gives to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// The table, qualified and quoted.
    pub(crate) table: String,
    /// `INDEXED BY x` or `NOT INDEXED`: the walk takes this index and no other.
    pub(crate) by: String,
    pub(crate) columns: Vec<OrderColumn>,
}

/// From where rows are compared with a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    After,
    Upto,
}

impl Order {
    /// Its columns, as a list of results.
    pub(crate) fn list(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| named(&column.name)).collect();
        names.join(", ")
    }

    /// `ORDER BY …`, or the same backwards.
    pub(crate) fn order_by(&self, backwards: bool) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let way = if column.descending == backwards { "ASC" } else { "DESC" };
                format!("{} {way}", self.compared(column, None))
            })
            .collect();
        format!("ORDER BY {}", columns.join(", "))
    }

    /// The condition for the rows of a range.
    pub(crate) fn range(&self, alias: Option<&str>, range: &KeyRange) -> Outcome<String> {
        match range {
            KeyRange::Nulls => {
                let [column] = &self.columns[..] else {
                    return Err(TargetError::new(
                        ErrorKind::Bug,
                        "a key of several columns has no rows without a key",
                    )
                    .into());
                };
                Ok(format!("{} IS NULL", qualified(alias, &column.name)))
            }
            KeyRange::Keys(keys) if keys.is_empty() => Ok("1 = 0".to_owned()),
            KeyRange::Keys(keys) => {
                let each =
                    keys.iter().map(|key| self.exactly(alias, key).map(|one| format!("({one})")));
                Ok(each.collect::<Outcome<Vec<_>>>()?.join(" OR "))
            }
            KeyRange::Exactly(key) => self.exactly(alias, key),
            KeyRange::Between { after, upto } => self.between(alias, after, upto),
        }
    }

    fn exactly(&self, alias: Option<&str>, key: &Key) -> Outcome<String> {
        let values = exact::checked(key, self.columns.len())?;
        let equal: Vec<String> = self
            .columns
            .iter()
            .zip(values)
            // `=` keeps to the index where `IS` might not; NULL needs the latter.
            .map(|(column, value)| match value.as_str() {
                "NULL" => format!("{} IS NULL", qualified(alias, &column.name)),
                value => format!("{} = {value}", self.compared(column, alias)),
            })
            .collect();
        Ok(equal.join(" AND "))
    }

    fn between(&self, alias: Option<&str>, after: &Bound, upto: &Key) -> Outcome<String> {
        let upto = exact::checked(upto, self.columns.len())?;
        let after = match after {
            Bound::Start => return Ok(self.one_side(alias, &self.columns, upto, Side::Upto)),
            Bound::Key(key) => exact::checked(key, self.columns.len())?,
            Bound::Nulls => {
                return Err(TargetError::new(
                    ErrorKind::Bug,
                    "a range of keys begins at the rows without a key",
                )
                .into());
            }
        };
        // Where both ends agree on the leading columns, equality keeps the search within them also
        // for orders that row values can't express.
        let common = self.common(after, upto);
        let mut parts = self.equal(alias, after, common);
        let rest = &self.columns[common..];
        parts.push(self.one_side(alias, rest, &after[common..], Side::After));
        parts.push(self.one_side(alias, rest, &upto[common..], Side::Upto));
        Ok(parts.join(" AND "))
    }

    /// The rows of a range as conditions of which each is one stretch of the index, in order. One
    /// condition for an order that row values can't express is a range of its first column alone:
    /// each step of a walk would begin at the first row with the same value there.
    pub(crate) fn stretches(&self, range: &KeyRange) -> Outcome<Vec<String>> {
        let width = self.columns.len();
        let KeyRange::Between { after, upto } = range else {
            return Ok(vec![self.range(None, range)?]);
        };
        if width == 1 || are_alike(&self.columns) || *after == Bound::Nulls {
            return Ok(vec![self.range(None, range)?]);
        }
        let upto = exact::checked(upto, width)?;
        let after = match after {
            Bound::Key(key) => Some(exact::checked(key, width)?),
            Bound::Start | Bound::Nulls => None,
        };
        let common = after.map_or(0, |after| self.common(after, upto));
        let mut stretches = Vec::with_capacity(2 * width - 1);
        if let Some(after) = after {
            // Values that differ may be equal to a collation: this is all there is then.
            let end = self.one_side(None, &self.columns[common..], &upto[common..], Side::Upto);
            for place in (common + 1..width).rev() {
                let mut parts = self.equal(None, after, place);
                parts.push(self.beyond(place, after, Side::After));
                parts.push(end.clone());
                stretches.push(parts.join(" AND "));
            }
        }
        let begin = after.map(|after| self.beyond(common, after, Side::After));
        for place in common..width {
            let mut parts = self.equal(None, upto, place);
            parts.extend(begin.clone());
            parts.push(if place + 1 == width {
                self.one_side(None, &self.columns[place..], &upto[place..], Side::Upto)
            } else {
                self.beyond(place, upto, Side::Upto)
            });
            stretches.push(parts.join(" AND "));
        }
        Ok(stretches)
    }

    /// In how many leading columns two keys agree, the last one apart.
    fn common(&self, after: &[String], upto: &[String]) -> usize {
        (0..self.columns.len() - 1).take_while(|&place| after[place] == upto[place]).count()
    }

    /// The leading columns, up to that place, are those of a key.
    fn equal(&self, alias: Option<&str>, values: &[String], place: usize) -> Vec<String> {
        let columns = self.columns.iter().zip(values).take(place);
        columns
            .map(|(column, value)| format!("{} = {value}", self.compared(column, alias)))
            .collect()
    }

    /// The column at that place is beyond a key's, on that side of it.
    fn beyond(&self, place: usize, values: &[String], side: Side) -> String {
        let column = &self.columns[place];
        format!(
            "{} {} {}",
            self.compared(column, None),
            sign(column.descending, side),
            values[place]
        )
    }

    fn one_side(
        &self,
        alias: Option<&str>,
        columns: &[OrderColumn],
        values: &[String],
        side: Side,
    ) -> String {
        let Some(first) = columns.first() else { return "1".to_owned() };
        if columns.len() > 1 && are_alike(columns) {
            let names: Vec<String> =
                columns.iter().map(|column| qualified(alias, &column.name)).collect();
            let sign = sign(first.descending, side);
            let equal = if side == Side::Upto { "=" } else { "" };
            return format!("({}) {sign}{equal} ({})", names.join(", "), values.join(", "));
        }
        self.nested(alias, columns, values, side)
    }

    /// `a >= x AND (a > x OR (a = x AND …))`: the first part is a range of the index.
    fn nested(
        &self,
        alias: Option<&str>,
        columns: &[OrderColumn],
        values: &[String],
        side: Side,
    ) -> String {
        let (Some((column, rest)), Some((value, later))) =
            (columns.split_first(), values.split_first())
        else {
            return "1".to_owned();
        };
        let name = self.compared(column, alias);
        let sign = sign(column.descending, side);
        if rest.is_empty() {
            let equal = if side == Side::Upto { "=" } else { "" };
            return format!("{name} {sign}{equal} {value}");
        }
        let inner = self.nested(alias, rest, later, side);
        format!(
            "{name} {sign}= {value} AND ({name} {sign} {value} OR ({name} = {value} AND ({inner})))"
        )
    }

    fn compared(&self, column: &OrderColumn, alias: Option<&str>) -> String {
        let name = qualified(alias, &column.name);
        match &column.collation {
            Some(collation) => format!("{name} COLLATE {}", named(collation)),
            None => name,
        }
    }
}

/// Whether row values compare as these columns are ordered.
fn are_alike(columns: &[OrderColumn]) -> bool {
    columns
        .iter()
        .all(|column| column.descending == columns[0].descending && column.collation.is_none())
}

fn qualified(alias: Option<&str>, name: &str) -> String {
    match alias {
        Some(alias) => format!("{alias}.{}", named(name)),
        None => named(name),
    }
}

fn sign(descending: bool, side: Side) -> char {
    if descending == (side == Side::After) { '<' } else { '>' }
}

/// A statement with the range of a chunk in its places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ranged {
    pub(crate) text: String,
    /// For each place: where it begins and ends here, and in the file's text, in characters.
    places: Vec<(usize, usize, usize, usize)>,
}

impl Ranged {
    pub(crate) fn of(statement: &Statement, order: &Order, range: &KeyRange) -> Outcome<Self> {
        let mut text = String::with_capacity(statement.text.len() + 64);
        let mut places = Vec::new();
        let (mut from, mut here, mut there) = (0, 0, 0);
        for place in &statement.facts.chunk_places {
            let before = statement.text.get(from..place.start).unwrap_or_default();
            let word = statement.text.get(place.start..place.end).unwrap_or_default();
            let condition = format!("({})", order.range(place.alias.as_deref(), range)?);
            text.push_str(before);
            text.push_str(&condition);
            here += before.chars().count();
            there += before.chars().count();
            let (here_end, there_end) =
                (here + condition.chars().count(), there + word.chars().count());
            places.push((here, here_end, there, there_end));
            (here, there, from) = (here_end, there_end, place.end);
        }
        text.push_str(statement.text.get(from..).unwrap_or_default());
        Ok(Self { text, places })
    }

    /// All statements of a backfill over a range.
    pub(crate) fn all(work: &Backfill, order: &Order, range: &KeyRange) -> Outcome<Vec<Self>> {
        work.statements.iter().map(|statement| Self::of(statement, order, range)).collect()
    }

    /// Where in the file's text SQLite points to. Within a range, that is its place.
    fn offset_in_file(&self, offset: usize) -> usize {
        let mut behind = (0, 0);
        for &(here, here_end, there, there_end) in &self.places {
            if offset < here {
                break;
            }
            if offset < here_end {
                return there;
            }
            behind = (here_end, there_end);
        }
        offset - behind.0 + behind.1
    }
}

/// Makes an error point into the file's text.
pub(crate) fn in_file(mut error: TargetError, ranged: &[Ranged]) -> TargetError {
    if let Some(statement) = error.statement.and_then(|index| ranged.get(index)) {
        error.offset = error.offset.map(|offset| statement.offset_in_file(offset));
    }
    error
}

#[cfg(test)]
mod tests {
    use dunlin_model::{ChunkPlace, Facts};

    use super::*;

    fn order(columns: &[(&str, bool)]) -> Order {
        Order {
            table: "main.\"t\"".to_owned(),
            by: String::new(),
            columns: columns
                .iter()
                .map(|&(name, descending)| OrderColumn {
                    name: name.to_owned(),
                    descending,
                    collation: None,
                })
                .collect(),
        }
    }

    fn key(parts: &[&str]) -> Key {
        Key(parts.iter().map(|&part| part.to_owned()).collect())
    }

    fn between(order: &Order, after: &[&str], upto: &[&str]) -> String {
        let range = KeyRange::Between { after: Bound::Key(key(after)), upto: key(upto) };
        order.range(None, &range).unwrap()
    }

    #[test]
    fn ranges_follow_the_directions() {
        assert_eq!(between(&order(&[("a", false)]), &["1"], &["2"]), "`a` > 1 AND `a` <= 2");
        assert_eq!(between(&order(&[("a", true)]), &["2"], &["1"]), "`a` < 2 AND `a` >= 1");
        assert_eq!(
            between(&order(&[("a", true), ("b", true)]), &["2", "2"], &["1", "1"]),
            "(`a`, `b`) < (2, 2) AND (`a`, `b`) >= (1, 1)"
        );
        assert_eq!(
            between(&order(&[("a", false), ("b", true)]), &["1", "5"], &["1", "3"]),
            "`a` = 1 AND `b` < 5 AND `b` >= 3"
        );
        assert_eq!(
            between(&order(&[("a", false), ("b", true)]), &["1", "5"], &["2", "3"]),
            "`a` >= 1 AND (`a` > 1 OR (`a` = 1 AND (`b` < 5))) AND \
             `a` <= 2 AND (`a` < 2 OR (`a` = 2 AND (`b` >= 3)))"
        );
    }

    #[test]
    fn hostile_keys_are_refused() {
        let order = order(&[("a", false)]);
        let range = KeyRange::Between { after: Bound::Start, upto: key(&["1 OR 1"]) };
        assert!(order.range(None, &range).is_err());
        assert!(order.range(None, &KeyRange::Exactly(key(&["1", "2"]))).is_err());
    }

    #[test]
    fn offsets_are_those_of_the_file() {
        let text = "UPDATE t SET é = 1 WHERE :chunk AND x";
        let start = text.find(':').unwrap();
        let mut facts = Facts::opaque("UPDATE");
        facts.chunk_places.push(ChunkPlace { start, end: start + 6, alias: None });
        let statement =
            Statement { text: text.to_owned(), line: 1, column: 1, copy_data: None, facts };
        let range = KeyRange::Exactly(key(&["17"]));
        let ranged = Ranged::of(&statement, &order(&[("a", false)]), &range).unwrap();
        assert_eq!(ranged.text, "UPDATE t SET é = 1 WHERE (`a` = 17) AND x");
        assert_eq!(ranged.offset_in_file(3), 3);
        assert_eq!(ranged.offset_in_file(27), 25);
        let x = ranged.text.chars().count() - 1;
        assert_eq!(ranged.offset_in_file(x), text.chars().count() - 1);
    }
}
