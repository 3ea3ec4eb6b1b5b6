//! What a command has to say about each of its databases: one JSON document, one exit code.

use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;

/// Collects what was done or found in one database after the other. A database that fails does
/// not take with it what is known of the others.
pub(crate) struct Answer {
    as_json: bool,
    /// The document is one line, for it comes among others.
    on_a_line: bool,
    databases: Vec<Value>,
    exit: Exit,
    /// The error that decided the exit code.
    error: Option<Value>,
}

impl Answer {
    pub(crate) fn new(context: &Context) -> Self {
        let as_json = context.global.json;
        Self { as_json, on_a_line: false, databases: Vec::new(), exit: Exit::Done, error: None }
    }

    /// The same, with its document on one line.
    pub(crate) fn on_a_line(self) -> Self {
        Self { on_a_line: true, ..self }
    }

    /// The worst so far.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Adds what was done or found in a database.
    pub(crate) fn add(&mut self, document: Value) {
        self.databases.push(document);
    }

    /// Takes back what was added last: it is about to be done again.
    pub(crate) fn retract(&mut self) {
        self.databases.pop();
    }

    /// Makes one object of the last two, which are of one database: it went down, and up again. What
    /// was done is there in order; everything else is as it is in the end.
    pub(crate) fn join_last(&mut self) {
        if self.databases.len() < 2 {
            return;
        }
        let (Some(last), Some(first)) = (self.databases.pop(), self.databases.last_mut()) else {
            return;
        };
        let Value::Object(last) = last else { return };
        for (name, value) in last {
            let adds = matches!(name.as_str(), "finished" | "failed" | "notices");
            match (first.get_mut(&name).and_then(Value::as_array_mut).filter(|_| adds), value) {
                (Some(before), Value::Array(more)) => before.extend(more),
                (_, value) => {
                    if let Some(first) = first.as_object_mut() {
                        first.insert(name, value);
                    }
                }
            }
        }
    }

    /// Ends with this, unless something worse comes.
    pub(crate) fn end_with(&mut self, exit: Exit) {
        self.exit = self.exit.worse(exit);
    }

    /// Tells an error of a database at once, and keeps it with what is known of that database.
    pub(crate) fn fail(&mut self, database: &str, error: &CliError) {
        render::failure::tell(error);
        let document = render::failure::to_json(error);
        if error.exit().worse(self.exit) != self.exit || self.error.is_none() {
            self.error = Some(document.clone());
        }
        self.end_with(error.exit());
        match self.databases.last_mut() {
            Some(last) if last["database"] == database && last.get("error").is_none() => {
                last["error"] = document;
            }
            _ => self.databases.push(json!({ "database": database, "error": document })),
        }
    }

    /// Prints the document, if one is wanted.
    pub(crate) fn finish(self) -> Exit {
        if self.as_json {
            let mut document = json!({ "databases": self.databases });
            if let Some(error) = self.error {
                document["error"] = error;
            }
            document["exit_code"] = self.exit.code().into();
            if self.on_a_line {
                render::json_line(&document);
            } else {
                render::json(&document);
            }
        }
        self.exit
    }
}
