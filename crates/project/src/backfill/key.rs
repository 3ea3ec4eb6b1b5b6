//! By which columns a table is walked.

use std::collections::BTreeSet;

use dunlin_model::{Column, Dialect, Index, KeyColumn, TableKind, ValueForm};

use super::{Planner, column};

/// The most columns of a key: conditions on more become too long for a server to plan well.
const KEY_COLUMNS_MAX: usize = 4;

/// The name under which a table's own row number is listed as an index.
const ROWID: &str = "rowid";

/// A key, and the name of the index that holds its order.
type Walk = (Vec<KeyColumn>, String);

/// Why an index can't be walked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unfit(String);

fn is_direction(word: &str) -> bool {
    ["asc", "desc"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

impl Planner<'_> {
    /// The key: the one that is named, or the best that there is.
    pub(super) fn key(&mut self) -> Option<Walk> {
        if self.chunking.key.is_empty() { self.best_key() } else { self.named_key() }
    }

    /// The columns of an index as a key, whether or not it is unique.
    fn columns_of(&self, index: &Index) -> Result<Vec<KeyColumn>, Unfit> {
        let unfit = |why: String| Err(Unfit(why));
        if let Some(why) = &index.unusable {
            return unfit(format!("{} can't be used: {why}", index.name));
        }
        let mut key = Vec::new();
        for part in &index.columns {
            let Some(name) = &part.name else {
                return unfit(format!("{} is on an expression", index.name));
            };
            if part.prefix {
                return unfit(format!(
                    "{} holds only the beginning of `{name}`, which does not tell rows apart",
                    index.name
                ));
            }
            let column = match self.table.column(name) {
                Some(column) => column.clone(),
                None if self.is_hidden_rowid(index) => rowid(name),
                None => return unfit(format!("{} is on the unknown column `{name}`", index.name)),
            };
            if is_float(&column) {
                return unfit(format!(
                    "`{name}` is a floating point number, whose text need not be its value"
                ));
            }
            key.push(KeyColumn {
                name: column.name,
                type_name: column.type_name,
                descending: part.descending,
                nullable: column.nullable,
            });
        }
        if key.is_empty() { unfit(format!("{} has no columns", index.name)) } else { Ok(key) }
    }

    /// SQLite's row number where no column stands for it: VACUUM numbers rows anew.
    fn is_hidden_rowid(&self, index: &Index) -> bool {
        self.dialect == Dialect::Sqlite && self.table.is_row_number(index)
    }

    /// An index as a key: unique, with an order that leaves out no row.
    fn walk(&self, index: &Index) -> Result<Walk, Unfit> {
        let key = self.columns_of(index)?;
        if !index.unique {
            return Err(Unfit(format!(
                "{} is not unique: rows that share a key could be cut apart",
                index.name
            )));
        }
        if key.len() > KEY_COLUMNS_MAX {
            return Err(Unfit(format!(
                "{} has {} columns, and a key has at most {KEY_COLUMNS_MAX}",
                index.name,
                key.len()
            )));
        }
        if key.len() > 1
            && let Some(column) = key.iter().find(|column| column.nullable)
        {
            return Err(Unfit(format!(
                "`{}` of {} may be NULL, and rows with a NULL are not told apart",
                column.name, index.name
            )));
        }
        Ok((key, index.name.clone()))
    }

    fn best_key(&mut self) -> Option<Walk> {
        let indexes = || self.table.indexes.iter().filter(|index| !self.is_hidden_rowid(index));
        let walks = || indexes().filter_map(|index| Some((index, self.walk(index).ok()?)));
        let best = walks()
            .min_by_key(|(index, (key, _))| {
                let nullable = key.iter().any(|column| column.nullable);
                let integers = key.iter().all(|column| is_integer(&column.type_name));
                (nullable, !index.primary, key.len(), !integers)
            })
            .map(|(_, walk)| walk);
        if best.is_some() {
            return best;
        }
        let reasons: Vec<String> = indexes()
            .filter(|index| index.unique)
            .filter_map(|index| self.walk(index).err())
            .map(|unfit| unfit.0)
            .collect();
        let why = if reasons.is_empty() {
            "it has no unique index".to_owned()
        } else {
            reasons.join("; ")
        };
        let mut help = self.index_to_make(&[]);
        if self.table.indexes.iter().any(|index| self.is_hidden_rowid(index)) {
            help.push_str(
                "; or walk it by its row numbers with `chunk-key rowid`, and see that nobody runs \
                 VACUUM meanwhile, which numbers rows anew",
            );
        }
        let message = format!("{} can't be walked in an order of its own: {why}", self.table.name);
        self.error("no-key", message, help);
        None
    }

    fn named_key(&mut self) -> Option<Walk> {
        let names = self.named_columns()?;
        if names.len() > KEY_COLUMNS_MAX {
            let message = format!(
                "`chunk-key` names {} columns, and a key has at most {KEY_COLUMNS_MAX}",
                names.len()
            );
            self.error("no-key", message, self.index_to_make(&[]));
            return None;
        }
        let set: BTreeSet<&String> = names.iter().collect();
        let columns = |index: &Index| -> Vec<String> {
            index.columns.iter().filter_map(|part| part.name.clone()).collect()
        };
        let same_order = self.table.indexes.iter().filter(|index| columns(index) == names);
        let same_set = self.table.indexes.iter().filter(|index| {
            index.columns.len() == names.len()
                && columns(index).iter().collect::<BTreeSet<_>>() == set
        });
        let mut why: Vec<String> = Vec::new();
        for index in same_order.chain(same_set) {
            match self.walk(index) {
                Ok(walk) => return Some(walk),
                Err(Unfit(reason)) if !why.contains(&reason) => why.push(reason),
                Err(_) => {}
            }
        }
        match self.led_by(&names) {
            Ok(walk) => return Some(walk),
            Err(Some(Unfit(reason))) if why.is_empty() => why.push(reason),
            Err(_) => {}
        }
        if why.is_empty() {
            why.push("no index begins with them".to_owned());
        }
        let message = format!(
            "{} can't be walked by `chunk-key {}`: {}",
            self.table.name,
            names.join(", "),
            why.join("; ")
        );
        let help = self.index_to_make(&names);
        self.error("no-key", message, help);
        None
    }

    /// The columns that `chunk-key` names, as the catalogue spells them.
    fn named_columns(&mut self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        let mut complete = true;
        let chunking = self.chunking;
        for written in &chunking.key {
            let hidden = written.eq_ignore_ascii_case(ROWID)
                && self.table.indexes.iter().any(|index| self.is_hidden_rowid(index));
            let found = column::find(self.dialect, self.table, written);
            let name = match found {
                Some(column) => column.name.clone(),
                None if hidden => self.hidden_name(),
                None if self.dialect == Dialect::Sqlite && is_row_number(written) => {
                    self.refuse_row_number(written);
                    complete = false;
                    continue;
                }
                None if is_direction(written) => {
                    self.error(
                        "malformed-directive",
                        format!("`chunk-key` takes columns alone, and no `{written}`"),
                        "leave it out: the direction of each column comes from its index alone",
                    );
                    complete = false;
                    continue;
                }
                None => {
                    let help = column::help(self.table, written);
                    let message =
                        format!("`chunk-key`: {} has no column `{written}`", self.table.name);
                    self.error("unknown-column", message, help);
                    complete = false;
                    continue;
                }
            };
            if names.contains(&name) {
                let message = format!("`chunk-key` names `{name}` twice");
                self.error("duplicate-column", message, "keep one of the two");
                complete = false;
            }
            names.push(name);
        }
        complete.then_some(names)
    }

    /// VACUUM numbers rows anew, so that numbers are no key where there is a better one.
    fn refuse_row_number(&mut self, written: &str) {
        let walk = self.table.indexes.iter().filter_map(|index| self.walk(index).ok()).max_by_key(
            |(_, index)| self.table.indexes.iter().any(|i| i.primary && i.name == *index),
        );
        let help = match walk {
            Some((key, _)) => {
                let names: Vec<&str> = key.iter().map(|column| column.name.as_str()).collect();
                format!("leave `chunk-key` out, or name {}", names.join(", "))
            }
            None => self.index_to_make(&[]),
        };
        let message = format!(
            "`chunk-key {written}`: rows of {} are walked by their row numbers only where no unique \
             index tells them apart, since VACUUM numbers them anew",
            self.table.name
        );
        self.error("no-key", message, help);
    }

    fn hidden_name(&self) -> String {
        let hidden = self.table.indexes.iter().find(|index| self.is_hidden_rowid(index));
        let name = hidden.and_then(|index| index.columns.first()?.name.clone());
        name.unwrap_or_else(|| ROWID.to_owned())
    }

    /// A longer or not unique index that begins with these columns, where another index makes them
    /// unique: `(tenant_id, id)` beside a primary key on `id`.
    ///
    /// # Errors
    /// Why the index that came nearest does not do.
    fn led_by(&self, names: &[String]) -> Result<Walk, Option<Unfit>> {
        let mut nearest = None;
        let unique = self.table.indexes.iter().any(|index| {
            let own = |part: &dunlin_model::IndexColumn| {
                part.name.as_ref().is_some_and(|name| names.contains(name))
            };
            index.columns.iter().all(own)
                && self.walk(index).is_ok_and(|(key, _)| key.iter().all(|one| !one.nullable))
        });
        for index in &self.table.indexes {
            let leads = index.columns.len() >= names.len()
                && index
                    .columns
                    .iter()
                    .zip(names)
                    .all(|(part, name)| part.name.as_ref() == Some(name));
            if !leads {
                continue;
            }
            let mut leading = index.clone();
            leading.columns.truncate(names.len());
            match self.columns_of(&leading) {
                Err(unfit) => nearest = Some(unfit),
                Ok(_) if !unique => {
                    nearest = Some(Unfit(format!(
                        "rows can share these columns and could be cut apart: a tie-break is \
                         needed, a unique index on them and a column that tells those rows apart \
                         (only {} begins with them)",
                        index.name
                    )));
                }
                Ok(key) => match key.iter().find(|column| column.nullable) {
                    Some(column) => {
                        nearest = Some(Unfit(format!("`{}` may be NULL", column.name)));
                    }
                    None => return Ok((key, index.name.clone())),
                },
            }
        }
        Err(nearest)
    }

    /// The statement that makes a fitting index.
    fn index_to_make(&self, names: &[String]) -> String {
        let (dialect, table) = (self.dialect, &self.table.name);
        let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
        if columns.is_empty() {
            columns.extend(self.likely_key());
        }
        let listed: Vec<String> =
            columns.iter().map(|name| column::quoted(dialect, name)).collect();
        let listed = if listed.is_empty() { "…".to_owned() } else { listed.join(", ") };
        let own = crate::sql::table_key(dialect, table).unwrap_or_default();
        let own = own.rsplit('.').next().unwrap_or_default();
        let index = column::quoted(dialect, &format!("{own}_chunk_key"));
        let (concurrently, remark) = match (dialect, self.table.kind) {
            // PostgreSQL makes one over all partitions in one go, and only with what they are made by.
            (Dialect::Postgres, TableKind::Partitioned) => {
                ("", " (with the columns of PARTITION BY among them; nobody writes meanwhile)")
            }
            (Dialect::Postgres, _) => {
                (" CONCURRENTLY", " (in a migration with `-- dunlin: no-transaction`)")
            }
            (Dialect::Mysql | Dialect::Sqlite, _) => ("", ""),
        };
        let nullable = self.nullable_among(names).join(" and ");
        let is_on = |index: &&Index| {
            let columns = index.columns.iter().map(|part| part.name.as_ref());
            index.unique && columns.eq(names.iter().map(Some))
        };
        let first = match self.table.indexes.iter().find(is_on) {
            _ if nullable.is_empty() => String::new(),
            Some(index) => return format!("make {nullable} NOT NULL: then {} will do", index.name),
            None => format!("make {nullable} NOT NULL, and then "),
        };
        format!(
            "{first}make a unique index on NOT NULL columns that no two rows share: CREATE UNIQUE \
             INDEX{concurrently} {index} ON {table} ({listed}){remark}"
        )
    }

    /// Those of these columns that may be NULL, as they are shown.
    fn nullable_among(&self, names: &[String]) -> Vec<String> {
        let columns = self.table.columns.iter().filter(|column| column.nullable);
        let named = columns.filter(|column| names.contains(&column.name));
        named.map(|column| format!("`{}`", column.name)).collect()
    }

    /// A column that tells rows apart by its name, or since the server numbers it; any other may well
    /// have a value twice.
    fn likely_key(&self) -> Option<&str> {
        let number =
            |name: &str| {
                let hidden = |index: &&Index| self.is_hidden_rowid(index);
                self.table.indexes.iter().filter(hidden).any(|index| {
                    index.columns.iter().any(|part| part.name.as_deref() == Some(name))
                })
            };
        let fit = |column: &&Column| !column.nullable && !is_float(column) && !number(&column.name);
        let columns = || self.table.columns.iter().filter(fit);
        let named = columns().find(|column| column.name.eq_ignore_ascii_case("id"));
        named
            .or_else(|| columns().find(|column| column.identity))
            .map(|column| column.name.as_str())
    }
}

fn rowid(name: &str) -> Column {
    Column {
        name: name.to_owned(),
        type_name: "INTEGER".to_owned(),
        form: ValueForm::Text,
        nullable: false,
        generated: true,
        identity: false,
    }
}

/// Whether it is one of the names that SQLite has for the number of a row.
fn is_row_number(name: &str) -> bool {
    ["rowid", "_rowid_", "oid"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn is_float(column: &Column) -> bool {
    const WORDS: [&str; 5] = ["float", "float4", "float8", "double", "real"];
    column.form.plain() == ValueForm::Float
        || WORDS.contains(&first_word(&column.type_name).as_str())
}

/// Whether a type is a whole number, by the words of the three servers.
fn is_integer(type_name: &str) -> bool {
    const WORDS: [&str; 9] =
        ["bigint", "integer", "int", "smallint", "mediumint", "tinyint", "int8", "int4", "serial"];
    WORDS.contains(&first_word(type_name).as_str())
}

fn first_word(type_name: &str) -> String {
    let name = type_name.to_ascii_lowercase();
    name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}
