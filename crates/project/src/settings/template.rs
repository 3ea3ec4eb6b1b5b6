//! The `dunlin.toml` that `dunlin init` writes.

/// A commented `dunlin.toml` for one database. `url` is written as the value of `url`, so it may
/// hold `${VARIABLE}`s.
#[must_use]
pub fn template(database: &str, url: &str) -> String {
    // TOML's own rules for keys and strings.
    let name = toml::Value::from(database).to_string();
    let name =
        if crate::directive::is_name(database) && database.is_ascii() { database } else { &name };
    let url = toml::Value::from(url).to_string();
    format!(
        r#"# Settings of Dunlin. Every key: docs/reference/configuration.md.
# What stands above the first [table] holds for every database and environment.

# How long a statement waits for a lock before the attempt is given up and made again later.
lock_timeout = "5s"

# How long one statement may take. Without it: as long as it takes.
# statement_timeout = "10min"

# A late-merged file, with a version lower than the newest applied one, runs with a notice;
# "error" forbids it.
# out_of_order = "error"

[databases.{name}]
# ${{VARIABLE}} and ${{VARIABLE:-default}} come from the environment: no password in this file.
url = {url}

# The server itself, if `url` is a pooler's (pgbouncer).
# direct_url = "${{DIRECT_DATABASE_URL}}"

# migrations = "migrations"
# data_migrations = "data_migrations"

# The tool that migrates the schema, if it isn't Dunlin: "rails", "ecto", "django", "sqlx", …
# Found by itself when there is one.
# schema_history = "rails"

# An environment is chosen with --env or DUNLIN_ENV; there is no default.
[environments.development]
# `migrate` runs schema and data migrations in one order.
data = "auto"

[environments.production]
# Data migrations run only with --with-data, or by `dunlin data run`.
data = "manual"
# `dunlin drop` and `dunlin reset` are refused.
protected = true
"#
    )
}
