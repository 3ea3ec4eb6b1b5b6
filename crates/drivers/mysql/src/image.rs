//! Definitions of objects, as they were before a statement and as they are.
//!
//! Invariant: a definition does not change by DML, so counters are taken out of it; and it is
//! read in the ledger's session, so a file's `sql_mode` does not change how it is written.

use dunlin_engine::{TargetError, Work};
use dunlin_model::{ImageObject, ObjectKind, Restart, Statement};
use serde_json::{Value, json};

use crate::literal;
use crate::session::Session;

/// Numbers that say that the object, or its database, is not there.
const ABSENT: &[&str] = &["1049", "1051", "1146", "1305", "1347", "1360", "1539", "4091", "4092"];

/// Numbers that say that we may not see it.
const HIDDEN: &[&str] = &["1044", "1142", "1143", "1227", "1370"];

/// One object's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    /// Kind and name, for people.
    pub(crate) object: String,
    pub(crate) state: State,
}

/// Whether and how it is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    Hidden,
    Defined(String),
}

impl State {
    /// For evidence.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Absent => "not there",
            Self::Hidden => "not to be seen by this user",
            Self::Defined(_) => "there",
        }
    }
}

/// What the journal keeps with an open step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// When the server was started that the step's connection was one of.
    pub(crate) started: i64,
    pub(crate) definitions: Vec<Definition>,
}

impl Image {
    pub(crate) fn to_text(&self) -> String {
        let definitions: Vec<Value> = self
            .definitions
            .iter()
            .map(|definition| match &definition.state {
                State::Absent => json!({ "object": definition.object, "state": "absent" }),
                State::Hidden => json!({ "object": definition.object, "state": "hidden" }),
                State::Defined(text) => {
                    json!({ "object": definition.object, "state": "defined", "text": text })
                }
            })
            .collect();
        json!({ "server_started": self.started, "definitions": definitions }).to_string()
    }

    /// Whether the catalogue will tell for certain that a statement took effect after it was
    /// noted. It does for what is created or dropped and can be seen; a definition that is altered
    /// may read the same after as before.
    pub(crate) fn will_tell(&self, verb: &str) -> bool {
        let word = verb.split(' ').next().unwrap_or_default();
        matches!(word, "CREATE" | "DROP")
            && !self.definitions.is_empty()
            && self.definitions.iter().all(|one| one.state != State::Hidden)
    }

    /// `None` for what is no image of ours.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let definitions = value.get("definitions")?.as_array()?.iter().map(definition).collect();
        Some(Self {
            started: value.get("server_started")?.as_i64()?,
            definitions: Option::<Vec<Definition>>::from_iter::<Vec<_>>(definitions)?,
        })
    }
}

fn definition(value: &Value) -> Option<Definition> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let state = match text("state")?.as_str() {
        "absent" => State::Absent,
        "hidden" => State::Hidden,
        "defined" => State::Defined(text("text")?),
        _ => return None,
    };
    Some(Definition { object: text("object")?, state })
}

/// The objects that decide a statement's outcome.
pub(crate) fn objects(statement: &Statement) -> &[ImageObject] {
    match &statement.facts.restart {
        Restart::ByImage { objects } => objects,
        Restart::Transactional | Restart::Repeatable | Restart::Unknowable { .. } => &[],
    }
}

/// The database that unqualified names of a statement mean: that of the last USE before it.
pub(crate) fn database_at(work: &Work, ordinal: u32, default: &str) -> String {
    let before = work.statements.iter().take(ordinal as usize).rev();
    before
        .filter(|statement| statement.facts.verb.split(' ').next() == Some("USE"))
        .find_map(|statement| {
            let (_, name) = statement.text.split_once(char::is_whitespace)?;
            literal::name_parts(name)?.pop()
        })
        .unwrap_or_else(|| default.to_owned())
}

/// Reads definitions, in the order of the objects.
pub(crate) async fn read(
    session: &mut Session,
    objects: &[ImageObject],
    database: &str,
) -> Result<Vec<Definition>, TargetError> {
    let mut definitions = Vec::with_capacity(objects.len());
    for object in objects {
        let state = match query(object, database) {
            Some(query) => state(session, &query).await?,
            None => State::Hidden,
        };
        let object = format!("{} {}", noun(object.kind), object.name);
        definitions.push(Definition { object, state });
    }
    Ok(definitions)
}

async fn state(session: &mut Session, query: &str) -> Result<State, TargetError> {
    let answers = match session.run(query).await {
        Ok(answers) => answers,
        Err(error) => {
            let is_one_of = |codes: &[&str]| codes.contains(&error.code.as_deref().unwrap_or(""));
            return match () {
                () if is_one_of(ABSENT) => Ok(State::Absent),
                () if is_one_of(HIDDEN) => Ok(State::Hidden),
                () => Err(error),
            };
        }
    };
    let Some(answer) = answers.first().filter(|answer| !answer.rows.is_empty()) else {
        return Ok(State::Absent);
    };
    let mut text = String::new();
    for row in &answer.rows {
        for column in 0..row.width() {
            match row.optional(column) {
                Some(cell) => text.push_str(&without_counter(&cell)),
                // The body of a routine that this user may call, but not see.
                None => return Ok(State::Hidden),
            }
            text.push('\n');
        }
    }
    Ok(State::Defined(text))
}

fn query(object: &ImageObject, database: &str) -> Option<String> {
    let parts = literal::name_parts(&object.name)?;
    let name = match (object.kind, parts.as_slice()) {
        (ObjectKind::Database, [name]) => literal::name(name),
        (_, [name]) => format!("{}.{}", literal::name(database), literal::name(name)),
        (_, [schema, name]) => format!("{}.{}", literal::name(schema), literal::name(name)),
        _ => return None,
    };
    let noun = match object.kind {
        ObjectKind::Table => "TABLE",
        ObjectKind::View => "VIEW",
        ObjectKind::Function => "FUNCTION",
        ObjectKind::Procedure => "PROCEDURE",
        ObjectKind::Trigger => "TRIGGER",
        ObjectKind::Event => "EVENT",
        ObjectKind::Sequence => "SEQUENCE",
        ObjectKind::Database => "DATABASE",
        ObjectKind::Index => return index_query(&parts, database),
        ObjectKind::Type => return None,
    };
    Some(format!("SHOW CREATE {noun} {name}"))
}

fn index_query(parts: &[String], database: &str) -> Option<String> {
    let (schema, name) = match parts {
        [name] => (database, name),
        [schema, name] => (schema.as_str(), name),
        _ => return None,
    };
    Some(format!(
        "SELECT table_name, seq_in_index, column_name, non_unique, index_type \
         FROM information_schema.statistics WHERE table_schema = {} AND index_name = {} \
         ORDER BY table_name, seq_in_index",
        literal::text(schema),
        literal::text(name)
    ))
}

fn noun(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Table => "table",
        ObjectKind::View => "view",
        ObjectKind::Function => "function",
        ObjectKind::Procedure => "procedure",
        ObjectKind::Trigger => "trigger",
        ObjectKind::Event => "event",
        ObjectKind::Sequence => "sequence",
        ObjectKind::Index => "index",
        ObjectKind::Type => "type",
        ObjectKind::Database => "database",
    }
}

/// Without ` AUTO_INCREMENT=7`, which every INSERT changes. (A column's own AUTO_INCREMENT has no
/// number.)
fn without_counter(definition: &str) -> String {
    const COUNTER: &str = " AUTO_INCREMENT=";
    let mut kept = String::with_capacity(definition.len());
    let mut rest = definition;
    while let Some((before, after)) = rest.split_once(COUNTER) {
        kept.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_no_part_of_a_definition() {
        assert_eq!(
            without_counter("`id` int AUTO_INCREMENT,\n) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT"),
            "`id` int AUTO_INCREMENT,\n) ENGINE=InnoDB DEFAULT"
        );
    }

    #[test]
    fn an_image_is_read_back() {
        let image = Image {
            started: 1_795_000_000,
            definitions: vec![
                Definition { object: "table `a`".to_owned(), state: State::Absent },
                Definition {
                    object: "view b".to_owned(),
                    state: State::Defined("CREATE \"VIEW\"\n".to_owned()),
                },
                Definition { object: "procedure c".to_owned(), state: State::Hidden },
            ],
        };
        assert_eq!(Image::from_text(&image.to_text()), Some(image));
        assert_eq!(Image::from_text("{}"), None);
        assert_eq!(Image::from_text("what"), None);
    }
}
