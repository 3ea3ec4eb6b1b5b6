//! Which old values an undo needs.

use std::collections::BTreeSet;

use dunlin_model::{Body, Capture, KeyColumn, Statement, Verb, Write};

use super::{Planner, beside, column};

impl Planner<'_> {
    /// What is kept for an undo, if one is asked for. It is refused where something would be
    /// written that could not be put back.
    pub(super) fn capture(&mut self, key: Option<&[KeyColumn]>) -> Option<Capture> {
        let keep = self.chunking.undo?;
        if let Some(column) = key.and_then(|key| key.iter().find(|column| column.nullable)) {
            let message = format!(
                "`undo capture` finds rows by their key, and `{}` of {} may be NULL",
                column.name, self.table.name
            );
            let help = "name a key without NULLs with `chunk-key`, make the column NOT NULL, or \
                        remove `undo capture`";
            self.error("no-undo", message, help);
        }
        let migration = self.migration;
        let mut columns = BTreeSet::new();
        let mut all = matches!(migration.body, Body::Rows(_));
        let mut deletes = false;
        let names = self.names(true);
        for statement in migration.statements() {
            if !beside::heeds(self.dialect, &statement.text, self.chunking.filter.as_deref()) {
                self.refuse_undo(
                    statement,
                    "of rows that `chunk-where` leaves out nothing is kept, and it may change them",
                    "repeat the condition of `chunk-where` in its WHERE, word for word, or leave \
                     `chunk-where` out",
                );
            }
            match &statement.facts.writes {
                Some(write) if names.contains(&write.table) => match write.verb {
                    Verb::Delete => (all, deletes) = (true, true),
                    Verb::Update if !write.columns.is_empty() => {
                        self.assigned(statement, write, &mut columns);
                    }
                    Verb::Update => self.refuse_undo(
                        statement,
                        "which columns of which table it assigns can't be told from it",
                        "qualify each assigned column with its table or alias",
                    ),
                    Verb::Insert => self.refuse_undo(
                        statement,
                        "the rows that an INSERT adds have no old values",
                        "undo such a migration with one of your own, and remove `undo capture`",
                    ),
                },
                _ if statement.facts.verb == "SELECT" => self.refuse_undo(
                    statement,
                    "what a SELECT changes by the functions that it calls is not known",
                    "write an UPDATE or a DELETE, or remove `undo capture`",
                ),
                Some(write) => {
                    let why = format!("it writes `{}`, not only {}", write.table, self.table.name);
                    let help = "remove `undo capture`, or put that statement into a migration of \
                                its own";
                    self.refuse_undo(statement, &why, help);
                }
                None => self.refuse_undo(
                    statement,
                    "it is not one UPDATE or one DELETE of the table that is walked",
                    "write it as such, or remove `undo capture`",
                ),
            }
        }
        // What comes back by an INSERT may have its identity's number again; an UPDATE can't set it.
        let columns_of = self.table.columns.iter();
        let writable = columns_of.filter(|column| !column.generated || column.identity && deletes);
        let kept = writable.filter(|column| all || columns.contains(&column.name));
        let columns: Vec<String> = kept.map(|column| column.name.clone()).collect();
        (!columns.is_empty()).then_some(Capture { columns, keep })
    }

    fn assigned(&mut self, statement: &Statement, write: &Write, columns: &mut BTreeSet<String>) {
        for folded in &write.columns {
            match column::by_folded(self.dialect, self.table, folded) {
                Some(column) => {
                    columns.insert(column.name.clone());
                }
                None => {
                    let message = format!("{} has no column `{folded}`", self.table.name);
                    let help = column::help(self.table, folded);
                    self.error_in(statement, "unknown-column", message, help);
                }
            }
        }
    }

    fn refuse_undo(&mut self, statement: &Statement, why: &str, help: &str) {
        let message = format!("`undo capture` can't keep what this statement changes: {why}");
        self.error_in(statement, "no-undo", message, help);
    }
}
