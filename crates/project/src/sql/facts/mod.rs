//! What is known of a statement by reading it: see [`Facts`].
//!
//! Leading words and names are enough for that, so a statement that is new to us is still
//! recognised by its first words. What is left out: whether it is correct, which is the server's.

mod alter;
mod carried;
mod destruction;
mod head;
mod later;
mod lock;
mod own_functions;
pub(super) mod places;
mod relations;
mod restart;
mod restart_mysql;
mod routines;
pub(super) mod source;
mod tables;
mod traces;
mod transaction;
mod unread;
mod writes;

use dunlin_model::{Control, Dialect, Facts};

use self::alter::Action;
use self::head::{Act, Head};
use self::relations::Relations;
use self::source::Source;
use super::lex::{Kind, Token};

pub use self::carried::{Lost, asks_of_previous, lost};
pub(super) use self::later::{Routines, added_value, defined_name, is_routine_definition};
pub(crate) use self::routines::Destroyers;
pub(crate) use self::writes::Deed;

/// A statement, read as far as all facts need it.
#[derive(Debug)]
struct Reading<'a> {
    source: Source<'a>,
    /// The first word in upper case; `SELECT` for a query in parentheses.
    first: String,
    head: Option<Head>,
    /// Of an ALTER TABLE.
    actions: Vec<Action>,
    /// Of a query, or of a statement that changes rows.
    relations: Option<Relations>,
}

impl<'a> Reading<'a> {
    fn new(source: Source<'a>) -> Self {
        let first = if source.punct(0, b'(') {
            "SELECT".to_owned()
        } else {
            source.word(0).unwrap_or_default().to_ascii_uppercase()
        };
        let head = Head::read(source);
        let actions = match &head {
            Some(head) if head.act == Act::Alter && is_table(head.object) => {
                alter::actions(source, head.rest)
            }
            _ => Vec::new(),
        };
        let mut reading = Self { source, first, head, actions, relations: None };
        reading.relations = reading.query_from().map(|at| relations::read(source, at));
        reading
    }

    /// Where a query, or a statement that changes rows, begins.
    fn query_from(&self) -> Option<usize> {
        let source = self.source;
        if let Some(head) = &self.head {
            let has_query = match (head.act, head.object) {
                (Act::Create, "TABLE") => source.has("SELECT") || source.has("TABLE"),
                (Act::Create | Act::Alter, "VIEW" | "MATERIALIZED VIEW") => source.has("SELECT"),
                (Act::Create, "RULE" | "STATISTICS") => true,
                _ => false,
            };
            return has_query.then_some(head.rest);
        }
        match self.first.as_str() {
            "SELECT" | "WITH" | "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "MERGE" | "VALUES"
            | "TABLE" | "DECLARE" => Some(0),
            "EXPLAIN" | "DESCRIBE" | "DESC" => Some(1),
            "LOAD" => Some(1),
            "COPY" if source.punct(1, b'(') => Some(1),
            "DO" if source.dialect == Dialect::Mysql => Some(1),
            "PREPARE" if source.dialect == Dialect::Postgres => Some(1),
            // SET @x = (SELECT …)
            "SET" if source.has("SELECT") => Some(1),
            _ => None,
        }
    }

    fn dialect(&self) -> Dialect {
        self.source.dialect
    }
}

fn is_table(object: &str) -> bool {
    matches!(object, "TABLE" | "FOREIGN TABLE")
}

/// Reads a statement. `text` is the file that the tokens are of.
pub(super) fn read(dialect: Dialect, text: &str, tokens: &[Token]) -> Facts {
    let reading = Reading::new(Source { dialect, text, tokens }.behind_settings());
    Facts {
        verb: verb(&reading),
        control: control(reading.source),
        outside_transaction: transaction::outside(&reading),
        destroys: destruction::read(&reading),
        tables: tables::read(&reading),
        restart: restart::read(&reading),
        traces: traces::read(&reading),
        lock: lock::read(&reading),
        changes_session: changes_session(&reading),
        may_act: may_act(&reading),
        chunk_places: Vec::new(),
        writes: writes::only(reading.source),
    }
}

/// Every write of a statement.
pub(super) fn deeds(dialect: Dialect, text: &str, tokens: &[Token]) -> Vec<Deed> {
    writes::read(Source { dialect, text, tokens }.behind_settings())
}

/// How a table is known in [`Facts::tables`], from its name as it is written; `None` where that
/// is no name.
pub(super) fn table_key(dialect: Dialect, text: &str, tokens: &[Token]) -> Option<String> {
    let source = Source { dialect, text, tokens };
    let mut cursor = source.cursor(0);
    let name = cursor.name()?;
    (cursor.at == source.len()).then(|| name.key(dialect))
}

/// The parts of a table's name, folded, from how it is written; none where that is no name.
pub(super) fn table_parts(dialect: Dialect, text: &str, tokens: &[Token]) -> Vec<String> {
    let source = Source { dialect, text, tokens };
    let mut cursor = source.cursor(0);
    let name = cursor.name().filter(|_| cursor.at == source.len());
    let mut parts = name.map(|name| name.parts).unwrap_or_default();
    if dialect == Dialect::Sqlite && parts.len() == 2 {
        // There is one database, whatever it is called.
        parts.drain(..1);
    }
    parts
}

/// A column's name, folded, from how it is written; `None` where that is no plain name.
pub(super) fn column_key(dialect: Dialect, text: &str, tokens: &[Token]) -> Option<String> {
    let source = Source { dialect, text, tokens };
    let mut cursor = source.cursor(0);
    let mut name = cursor.name()?;
    if name.parts.len() != 1 || cursor.at != source.len() {
        return None;
    }
    name.parts.pop()
}

/// Whether a query writes its rows somewhere: `SELECT … INTO t`.
pub(super) fn selects_into(dialect: Dialect, text: &str, tokens: &[Token]) -> bool {
    let source = Source { dialect, text, tokens };
    let inserts = (0..source.len()).any(|at| source.is_any(at, &["INSERT", "REPLACE", "MERGE"]));
    !inserts && source.find_outside(0, "INTO").is_some()
}

/// Where a DROP lists several, each of which would be dropped on its own: a statement for each.
pub(super) fn dropped_one_by_one(dialect: Dialect, text: &str, tokens: &[Token]) -> Vec<String> {
    let whole = Source { dialect, text, tokens };
    let source = whole.behind_settings();
    let Some(head) = Head::read(source) else {
        return Vec::new();
    };
    // With IF EXISTS the whole can simply be run again.
    let splits = head.act == Act::Drop
        && matches!(head.object, "TABLE" | "VIEW" | "SEQUENCE")
        && !head.conditional
        && !head.temporary
        && head.names.len() > 1;
    if !splits {
        return Vec::new();
    }
    let settings = match (tokens.first(), source.tokens.first()) {
        (Some(first), Some(drop)) => text.get(first.start()..drop.start()).unwrap_or_default(),
        _ => "",
    };
    let object = head.object;
    head.names.into_iter().map(|name| format!("{settings}DROP {object} {}", name.written)).collect()
}

fn verb(reading: &Reading<'_>) -> String {
    if let Some(head) = &reading.head {
        return format!("{} {}", reading.first, head.object);
    }
    let source = reading.source;
    let second = source.word(1).map(str::to_ascii_uppercase);
    let third = source.word(2).map(str::to_ascii_uppercase);
    match (reading.first.as_str(), second.as_deref(), third.as_deref()) {
        ("REFRESH", Some("MATERIALIZED"), _) => "REFRESH MATERIALIZED VIEW".to_owned(),
        ("COMMENT", Some("ON"), Some(object)) => format!("COMMENT ON {object}"),
        (
            "START" | "RENAME" | "LOCK" | "UNLOCK" | "LOAD" | "OPTIMIZE" | "CHECK" | "REPAIR"
            | "REINDEX" | "XA" | "IMPORT" | "SECURITY" | "CREATE" | "ALTER" | "DROP",
            Some(second),
            _,
        ) => format!("{} {second}", reading.first),
        ("", ..) => source.token_text(0).to_owned(),
        (first, ..) => first.to_owned(),
    }
}

/// Whether a statement controls transactions, by each server's own words.
fn control(source: Source<'_>) -> Option<Control> {
    let dialect = source.dialect;
    let first = source.word(0)?.to_ascii_uppercase();
    let chains = source.contains(1..source.len(), &["AND", "CHAIN"]);
    match first.as_str() {
        // MariaDB's compound statement.
        "BEGIN" if source.is(1, "NOT") => None,
        "BEGIN" => Some(begin(source, 1)),
        "START" if source.is(1, "TRANSACTION") => Some(begin(source, 2)),
        "COMMIT" if source.is(1, "PREPARED") || chains => Some(Control::Other),
        "COMMIT" => Some(Control::Commit),
        "END" if dialect != Dialect::Mysql && chains => Some(Control::Other),
        "END" if dialect != Dialect::Mysql => Some(Control::Commit),
        "ROLLBACK" if source.has("TO") || source.is(1, "PREPARED") || chains => {
            Some(Control::Other)
        }
        "ROLLBACK" => Some(Control::Rollback),
        "ABORT" if dialect == Dialect::Postgres => Some(Control::Rollback),
        "SAVEPOINT" | "RELEASE" | "XA" => Some(Control::Other),
        "PREPARE" if source.is(1, "TRANSACTION") => Some(Control::Other),
        "SET" if dialect == Dialect::Mysql && source.has("AUTOCOMMIT") => Some(Control::Other),
        _ => None,
    }
}

/// A BEGIN that says no more than that a transaction begins, or one that says more.
fn begin(source: Source<'_>, from: usize) -> Control {
    const PLAIN: [&str; 7] =
        ["WORK", "TRANSACTION", "DEFERRED", "IMMEDIATE", "EXCLUSIVE", "READ", "WRITE"];
    let plain = (from..source.len()).all(|i| source.is_any(i, &PLAIN));
    if plain { Control::Begin } else { Control::Other }
}

/// Whether settings of the session outlast the statement.
fn changes_session(reading: &Reading<'_>) -> bool {
    let source = reading.source;
    match (reading.first.as_str(), reading.dialect()) {
        ("SET", Dialect::Postgres) => !source.is_any(1, &["LOCAL", "CONSTRAINTS", "TRANSACTION"]),
        ("SET", Dialect::Mysql) => {
            // `SET GLOBAL a = 1, SESSION b = 2` is rare enough to be reset for nothing.
            !source.is_any(1, &["PASSWORD", "DEFAULT"])
        }
        ("PRAGMA", _) => {
            let assigns = (1..source.len()).any(|i| source.punct(i, b'=') || source.punct(i, b'('));
            assigns && !source.is_any(1, &["USER_VERSION", "APPLICATION_ID", "FOREIGN_KEY_CHECK"])
        }
        ("USE" | "LOCK" | "UNLOCK" | "PREPARE" | "DEALLOCATE", Dialect::Mysql) => true,
        ("ATTACH" | "DETACH", Dialect::Sqlite) => true,
        (
            "RESET" | "LISTEN" | "UNLISTEN" | "DISCARD" | "PREPARE" | "DEALLOCATE" | "LOAD",
            Dialect::Postgres,
        ) => true,
        ("SELECT" | "WITH", Dialect::Postgres) => source.has("SET_CONFIG"),
        // `SELECT … INTO @x`, `SELECT @x := 1`
        ("SELECT" | "WITH", Dialect::Mysql) => (1..source.len()).any(|i| {
            source.punct(i, b'@') && (source.is(i - 1, "INTO") || source.punct(i + 2, b':'))
        }),
        _ => false,
    }
}

/// Whether a statement that sets something may change rows as well: it calls somebody's function.
fn may_act(reading: &Reading<'_>) -> bool {
    reading.dialect() == Dialect::Mysql
        && matches!(reading.first.as_str(), "SET" | "SELECT" | "WITH")
        && changes_session(reading)
        && own_functions::calls(reading.source, 1).unknown
}

/// Whether a token is a string.
fn is_string(kind: Option<Kind>) -> bool {
    kind == Some(Kind::Str)
}
