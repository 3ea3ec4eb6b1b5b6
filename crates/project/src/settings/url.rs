//! A first look at a database's URL: whose it is, and the usual mistakes.
//!
//! Invariant: no message quotes more of a URL than its scheme; the rest may hold a password.

use dunlin_model::Dialect;

use crate::suggestion;

/// Schemes that we take.
const SCHEMES: &[(&str, Dialect)] = &[
    ("sqlite", Dialect::Sqlite),
    ("postgres", Dialect::Postgres),
    ("postgresql", Dialect::Postgres),
    ("mysql", Dialect::Mysql),
    ("mariadb", Dialect::Mysql),
];

/// Other tools' names for the same servers.
const ALIASES: &[(&str, &str)] = &[
    ("sqlite3", "sqlite"),
    ("file", "sqlite"),
    ("psql", "postgres"),
    ("pg", "postgres"),
    ("pgsql", "postgres"),
    ("postgis", "postgres"),
    ("ecto", "postgres"),
    ("mysql2", "mysql"),
    ("mysqlx", "mysql"),
    ("trilogy", "mysql"),
    ("maria", "mariadb"),
];

/// Servers that we do not work with.
const OTHERS: &[&str] = &[
    "mssql",
    "sqlserver",
    "oracle",
    "mongodb",
    "redis",
    "rediss",
    "cockroachdb",
    "clickhouse",
    "snowflake",
    "duckdb",
    "cassandra",
    "http",
    "https",
];

/// Tells the dialect by a URL's scheme, and refuses what could never work.
///
/// # Errors
/// A sentence for a person, which quotes nothing of the URL but its scheme.
pub fn check_url(url: &str) -> Result<Dialect, String> {
    let url = url.trim();
    if url.is_empty() {
        return Err("the database URL is empty".to_owned());
    }
    if files_folder(url).is_some() {
        return Err("`files:` is a folder of files: a move reads from it, and nothing else works \
                    with it"
            .to_owned());
    }
    let scheme = url
        .split_once(':')
        .map(|(scheme, _)| scheme)
        .filter(|scheme| is_scheme(scheme) && (url.contains("://") || known(scheme).is_some()));
    let Some(scheme) = scheme else {
        return Err("the database URL has no scheme: write `sqlite:PATH`, \
                    `postgres://USER@HOST/NAME` or `mysql://USER@HOST/NAME`; in dunlin.toml \
                    `${NAME}` stands for a variable of the environment"
            .to_owned());
    };
    let rest = &url[scheme.len() + 1..];
    let Some((name, dialect)) = known(scheme) else { return Err(unknown(scheme)) };
    if name != scheme {
        return Err(format!("write the URL's scheme in lower case: `{name}`"));
    }
    match dialect {
        Dialect::Sqlite => check_path(rest)?,
        Dialect::Postgres | Dialect::Mysql => check_server(name, rest)?,
    }
    Ok(dialect)
}

/// The folder of a URL such as `files:exports` or `files:///srv/exports`, which moves read; `None`:
/// the URL is a database's.
#[must_use]
pub fn files_folder(url: &str) -> Option<&str> {
    let rest = url.trim().strip_prefix("files:")?;
    Some(rest.strip_prefix("//").unwrap_or(rest))
}

fn known(scheme: &str) -> Option<(&'static str, Dialect)> {
    SCHEMES.iter().copied().find(|(known, _)| known.eq_ignore_ascii_case(scheme))
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c))
}

fn unknown(scheme: &str) -> String {
    let lower = scheme.to_ascii_lowercase();
    if lower == "jdbc" {
        return "the database URL is one for Java: leave `jdbc:` out".to_owned();
    }
    // `postgresql+asyncpg`, `mysql+pymysql`: SQLAlchemy's scheme names its driver, too.
    let base = lower.split('+').next().unwrap_or_default();
    if base != lower && known(base).is_some() {
        return format!("the database URL's scheme names a driver: write `{base}` without it");
    }
    if let Some((_, ours)) = ALIASES.iter().find(|(alias, _)| *alias == base) {
        return format!("the database URL begins with `{scheme}:`; write `{ours}:` here");
    }
    if OTHERS.contains(&base) {
        return format!(
            "`{scheme}` is not a database that Dunlin works with: those are PostgreSQL, \
             MySQL/MariaDB and SQLite"
        );
    }
    let names = SCHEMES.iter().map(|(name, _)| *name);
    format!(
        "the database URL begins with an unknown scheme, `{scheme}:`; {}",
        suggestion::help(scheme, names)
    )
}

fn check_path(rest: &str) -> Result<(), String> {
    let path = rest.strip_prefix("//").unwrap_or(rest).split('?').next().unwrap_or_default();
    if path.is_empty() {
        return Err("the database URL names no file: write `sqlite:PATH`".to_owned());
    }
    if path.contains('\0') {
        return Err("the database URL holds a NUL character".to_owned());
    }
    Ok(())
}

fn check_server(scheme: &str, rest: &str) -> Result<(), String> {
    let Some(rest) = rest.strip_prefix("//") else {
        return Err(format!(
            "after `{scheme}:` two slashes are missing: write `{scheme}://HOST/NAME`"
        ));
    };
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(
            "the database URL holds a space: in a user's name, a password or a database's \
                    name write it as %20"
                .to_owned(),
        );
    }
    if rest.contains('#') {
        return Err("the database URL holds a `#`: in a password write it as %23".to_owned());
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    if login.contains('@') {
        return Err("the database URL holds two `@`: in a password write it as %40".to_owned());
    }
    if hosts.is_empty() && !login.is_empty() && !rest.contains("host=") {
        return Err("the database URL names no host after the `@`".to_owned());
    }
    if login.is_empty() && rest.split('?').next().is_some_and(|path| path.contains('@')) {
        return Err(
            "the database URL has a `/` before its `@`: in a password write it as %2F".to_owned()
        );
    }
    for host in hosts.split(',') {
        check_port(host)?;
    }
    Ok(())
}

fn check_port(host: &str) -> Result<(), String> {
    // An IPv6 address in brackets has colons of its own.
    let after_address = host.rsplit_once(']').map_or(host, |(_, after)| after);
    let Some((_, port)) = after_address.split_once(':') else { return Ok(()) };
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ if port.is_empty() => Ok(()),
        _ => Err("the port in the database URL is not a number from 1 to 65535; if that is part \
                  of a password, write its `:`, `/`, `?` and `@` as %3A, %2F, %3F and %40"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls() {
        for (url, dialect) in [
            ("sqlite:app.db", Dialect::Sqlite),
            ("sqlite:///srv/app.db?mode=ro", Dialect::Sqlite),
            ("sqlite::memory:", Dialect::Sqlite),
            ("postgres://u:p@h:5432/d?sslmode=require", Dialect::Postgres),
            ("postgresql:///d?host=/run/postgresql", Dialect::Postgres),
            ("postgres://u@/d?host=/run/postgresql", Dialect::Postgres),
            ("postgres://a:1,b:2/d", Dialect::Postgres),
            ("postgres://[::1]:5432/d", Dialect::Postgres),
            ("postgres://%2Frun%2Fpostgresql/d", Dialect::Postgres),
            ("mysql://u@h/d", Dialect::Mysql),
            ("mariadb://h", Dialect::Mysql),
        ] {
            assert_eq!(check_url(url), Ok(dialect), "{url}");
        }
    }

    #[test]
    fn folders_of_files() {
        assert_eq!(files_folder("files:exports/old"), Some("exports/old"));
        assert_eq!(files_folder(" files:///srv/exports"), Some("/srv/exports"));
        assert_eq!(files_folder("files://exports"), Some("exports"));
        assert_eq!(files_folder("sqlite:files"), None);
    }

    #[test]
    fn bad_urls_say_what_to_write_and_never_quote_the_secret() {
        for (url, message) in [
            ("", "empty"),
            ("hunter2.db", "no scheme"),
            ("user:hunter2@host/db", "no scheme"),
            ("postgress://u:hunter2@h/d", "did you mean `postgres`?"),
            ("postgersql://u:hunter2@h/d", "did you mean `postgresql`?"),
            ("POSTGRES://u:hunter2@h/d", "lower case: `postgres`"),
            ("postgresql+asyncpg://u:hunter2@h/d", "write `postgresql` without it"),
            ("jdbc:postgresql://h/d?password=hunter2", "leave `jdbc:` out"),
            ("mysql2://u:hunter2@h/d", "write `mysql:`"),
            ("sqlite3:///hunter2", "write `sqlite:`"),
            ("mongodb://u:hunter2@h/d", "works with"),
            ("postgres:/u:hunter2@h/d", "two slashes"),
            ("postgres://u:hunter2#x@h/d", "%23"),
            ("postgres://u:hunter2/x@h/d", "%2F"),
            ("postgres://u:hunter2@x@h/d", "%40"),
            ("postgres://u:hunter2@h:54a/d", "port"),
            ("postgres://u:hunter2@h:99999/d", "port"),
            ("postgres://u:hunter2@/d", "no host"),
            ("postgres://u:hunter2 @h/d", "%20"),
            ("sqlite:", "no file"),
            ("files:hunter2", "a move reads from it"),
        ] {
            let error = check_url(url).expect_err(url);
            assert!(error.contains(message), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
