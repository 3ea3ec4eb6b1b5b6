//! Which statements a migration may hold.
//!
//! A migration and its ledger row are one transaction, so a file cannot begin or end one in its
//! middle, and what cannot run inside one must say so in the header. All of it is refused before
//! anything runs.

use std::path::Path;

use dunlin_model::{Control, Diagnostic, Dialect, Directives, Place, Statement};

use super::chunked;

/// Applies the rules; gives the statements to run.
///
/// # Errors
/// Every statement that the file may not hold.
pub(super) fn apply(
    dialect: Dialect,
    file: &Path,
    mut statements: Vec<Statement>,
    directives: &Directives,
) -> Result<Vec<Statement>, Vec<Diagnostic>> {
    if let Some(chunking) = &directives.chunking {
        return chunked::admit(dialect, file, &chunking.table, statements);
    }
    if directives.foreign_keys_off {
        // The directive does what these ask for, around the transaction.
        statements.retain(|statement| !sets_foreign_keys(dialect, statement));
    }
    let mut found = chunked::refuse_places(file, &statements);
    if encloses(&statements) && !directives.no_transaction {
        statements.pop();
        statements.remove(0);
    }
    for statement in &statements {
        if let Some(control) = statement.facts.control {
            let enclosed = encloses(&statements);
            found.push(refused(dialect, file, statement, control, enclosed));
        }
    }
    if !directives.no_transaction && dialect != Dialect::Mysql {
        note_values(dialect, &mut statements);
        found.extend(statements.iter().filter_map(|s| needs_no_transaction(dialect, file, s)));
    }
    if found.is_empty() { Ok(statements) } else { Err(found) }
}

/// Whether a BEGIN and a COMMIT stand around all of it, with no other control in between.
fn encloses(statements: &[Statement]) -> bool {
    let [first, between @ .., last] = statements else {
        return false;
    };
    first.facts.control == Some(Control::Begin)
        && last.facts.control == Some(Control::Commit)
        && between.iter().all(|statement| statement.facts.control.is_none())
}

fn sets_foreign_keys(dialect: Dialect, statement: &Statement) -> bool {
    dialect == Dialect::Sqlite
        && statement.facts.verb == "PRAGMA"
        && statement
            .facts
            .outside_transaction
            .as_deref()
            .is_some_and(|why| why.starts_with("PRAGMA foreign_keys "))
}

fn refused(
    dialect: Dialect,
    file: &Path,
    statement: &Statement,
    control: Control,
    enclosed: bool,
) -> Diagnostic {
    let words = statement.summary(40);
    let help = match control {
        Control::Begin | Control::Commit if enclosed => {
            "remove BEGIN and COMMIT: under `no-transaction` every statement runs alone"
        }
        Control::Begin | Control::Commit if dialect == Dialect::Sqlite => {
            "one BEGIN … COMMIT may stand around all of the file, and a PRAGMA foreign_keys outside \
             of it only with the header line `-- dunlin: foreign-keys off`"
        }
        Control::Begin | Control::Commit => {
            "one BEGIN … COMMIT may stand around all of the file; to commit in between, make two \
             migrations of it"
        }
        Control::Rollback => "remove it: what fails is rolled back as a whole",
        Control::Other => {
            "remove it: the file runs as one transaction, or with `-- dunlin: no-transaction` \
             statement by statement"
        }
    };
    let message =
        format!("`{words}` controls a transaction, which belongs to the migration as a whole");
    Diagnostic::error("transaction-control", message)
        .at(Place::at(file, statement.line, statement.column))
        .help(help)
}

fn needs_no_transaction(
    dialect: Dialect,
    file: &Path,
    statement: &Statement,
) -> Option<Diagnostic> {
    let why = statement.facts.outside_transaction.as_deref()?;
    let help = if sets_foreign_keys(dialect, statement) {
        "add the header line `-- dunlin: foreign-keys off`: it does what the PRAGMA asks for, \
         around the transaction, and checks the keys before the commit"
    } else {
        "add the header line `-- dunlin: no-transaction`, in a migration of its own if others in \
         the file belong together"
    };
    Some(
        Diagnostic::error("needs-no-transaction", why)
            .at(Place::at(file, statement.line, statement.column))
            .help(help),
    )
}

/// PostgreSQL refuses to use an enum's value in the transaction that added it, unless the type is
/// as new.
fn note_values(dialect: Dialect, statements: &mut [Statement]) {
    if dialect != Dialect::Postgres {
        return;
    }
    let mut created: Vec<String> = Vec::new();
    for index in 0..statements.len() {
        match statements[index].facts.verb.as_str() {
            "CREATE TYPE" => {
                created.extend(super::facts::defined_name(dialect, &statements[index].text))
            }
            "ALTER TYPE" => {
                let Some((name, label)) = super::facts::added_value(&statements[index].text) else {
                    continue;
                };
                let used = !created.contains(&name)
                    && statements[index + 1..].iter().any(|later| uses(later, &label));
                if used {
                    statements[index].facts.outside_transaction = Some(format!(
                        "ALTER TYPE … ADD VALUE {label} cannot share a transaction with a statement \
                         that uses the value"
                    ));
                }
            }
            _ => {}
        }
    }
}

/// Whether a statement can use a label when it runs. A PL/pgSQL body is only stored.
fn uses(statement: &Statement, label: &str) -> bool {
    let stored = matches!(statement.facts.verb.as_str(), "CREATE FUNCTION" | "CREATE PROCEDURE")
        && statement.text.to_ascii_lowercase().contains("plpgsql");
    let only_names = matches!(statement.facts.verb.as_str(), "ALTER TYPE" | "COMMENT ON TYPE");
    !stored && !only_names && statement.text.contains(label)
}
