//! What a login may not do, and the GRANT that would help.

use std::collections::BTreeSet;

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::Backfill;

use crate::target::MysqlTarget;

impl MysqlTarget {
    /// The login, as GRANT wants it.
    pub(super) fn grantee(&self) -> String {
        let user = &self.facts.server.user;
        let (name, host) = user.rsplit_once('@').unwrap_or((user, "%"));
        format!("'{name}'@'{host}'")
    }

    /// An error of rights, with what was asked and what gives them.
    pub(super) fn with_grant(
        &self,
        error: TargetError,
        what: &str,
        work: &Backfill,
    ) -> TargetError {
        if error.kind != ErrorKind::Permission {
            return error;
        }
        let mut rights = BTreeSet::from(["SELECT"]);
        for statement in &work.statements {
            match statement.facts.verb.as_str() {
                "UPDATE" => rights.insert("UPDATE"),
                "DELETE" => rights.insert("DELETE"),
                _ => false,
            };
        }
        let rights: Vec<&str> = rights.into_iter().collect();
        let table = &work.table;
        let help = format!(
            "a login with the right to must give it: GRANT {} ON {table} TO {}; and what its \
             statements do to other tables",
            rights.join(", "),
            self.grantee()
        );
        let message = format!("{what} {table}: {}", error.message);
        TargetError { message, ..error }.help(help)
    }
}
