//! The ledger's tables in the target database, and the SQL that writes and reads them.
//!
//! Invariants: every table is qualified with the database's name, because a user's file may have
//! left the session in another one; every write of progress stands behind [`Ledger::fence`] in
//! its transaction.

mod read;
mod tables;
mod write;

pub(crate) use read::{Meta, entries, holder, leases, meta, refuse_older_writer, steps};
pub(crate) use write::{BEGIN, ONE_ROW};

use crate::literal;

/// The ledger of one database.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    database: String,
}

impl Ledger {
    pub(crate) fn new(database: &str) -> Self {
        Self { database: database.to_owned() }
    }

    /// A table of the ledger, qualified and quoted.
    pub(crate) fn table(&self, table: &str) -> String {
        format!("{}.{}", literal::name(&self.database), literal::name(&format!("dunlin_{table}")))
    }

    /// The database's name.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }
}
