//! What a server or a connection reports, as [`TargetError`]: kind, words without row values, and
//! what to do next.
//!
//! Left out on purpose: DETAIL, which quotes rows; CONTEXT beyond a function's or COPY's line;
//! quoted values in the messages of class 22, where a cast shows what it could not read.

use std::error::Error as _;

use dunlin_engine::{ErrorKind, TargetError};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition};

use crate::quote;
use crate::url::{Address, Endpoint};

/// What came back for something that was sent over an open connection.
pub(crate) fn sent_error(error: &Error) -> TargetError {
    if let Some(db) = error.as_db_error() {
        return server_error(db);
    }
    TargetError::new(
        ErrorKind::Lost,
        format!("the connection to the server broke: {}", innermost(error)),
    )
    .help("Dunlin looks up in the ledger what was committed before it goes on")
}

/// An error that the server itself reported.
pub(crate) fn server_error(db: &DbError) -> TargetError {
    let code = db.code().code();
    let mut error = TargetError::new(kind_of(db), message_of(db)).code(code);
    error.help = match (db.hint(), help_for(code)) {
        (Some(hint), Some(help)) => Some(format!("{hint}\n{help}")),
        (Some(hint), None) => Some(hint.to_owned()),
        (None, help) => help.map(str::to_owned),
    };
    if let Some(ErrorPosition::Original(position)) = db.position() {
        error.offset = Some((*position as usize).saturating_sub(1));
    }
    error.notes.extend(db.where_().into_iter().flat_map(context_lines));
    error
}

fn kind_of(db: &DbError) -> ErrorKind {
    let code = db.code().code();
    match code {
        "55P03" => ErrorKind::LockTimeout,
        "40001" | "40P01" => ErrorKind::Conflict,
        "25006" => ErrorKind::ReadOnly,
        "42501" => ErrorKind::Permission,
        // Only our fence writes NULL into this column.
        "23502" if is_fence(db) => ErrorKind::Fenced,
        // pg_cancel_backend gives the same code; only the words tell the two apart.
        "57014" if db.message().contains("user request") => ErrorKind::Statement,
        "57014" => ErrorKind::StatementTimeout,
        "57P03" | "57P05" => ErrorKind::Exhausted,
        // A session that is ended by the server: shut down, crashed, terminated, idle too long.
        "57P01" | "57P02" | "25P03" | "25P04" => ErrorKind::Lost,
        _ if code.starts_with("08") => ErrorKind::Lost,
        _ if code.starts_with("53") => ErrorKind::Exhausted,
        _ if matches!(db.severity(), "FATAL" | "PANIC") => ErrorKind::Lost,
        _ => ErrorKind::Statement,
    }
}

fn is_fence(db: &DbError) -> bool {
    db.schema() == Some("dunlin") && db.table() == Some("segments") && db.column() == Some("upto")
}

fn help_for(code: &str) -> Option<&'static str> {
    Some(match code {
        "55P03" => {
            "it is tried again; to wait longer set `-- dunlin: lock-timeout 30s`, or end the \
             session that blocks"
        }
        "57014" => {
            "if the statement needs longer, raise `-- dunlin: statement-timeout 10min`; if somebody \
             cancelled it, run the same command again"
        }
        "25001" => "put `-- dunlin: no-transaction` at the top of the file",
        "53100" => "the server's disk is full: make room, then run the same command again",
        "53200" => "the server is out of memory: try again later",
        "53300" => {
            "the server has no connection left: try again later, end idle sessions, or raise \
             max_connections"
        }
        "57P03" => "the server is starting up, recovering or shutting down: try again in a moment",
        "25006" => "connect to the primary",
        _ => return None,
    })
}

/// The server's words without the values that some of them quote.
fn message_of(db: &DbError) -> String {
    if db.code().code().starts_with("22") {
        mask_quoted(db.message())
    } else {
        db.message().to_owned()
    }
}

/// Replaces what stands between quotation marks of any language's messages.
fn mask_quoted(message: &str) -> String {
    const PAIRS: [(char, char); 5] = [('"', '"'), ('«', '»'), ('„', '“'), ('“', '”'), ('»', '«')];
    let mut masked = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((start, open)) =
        rest.char_indices().find(|(_, c)| PAIRS.iter().any(|p| p.0 == *c))
    {
        let close = PAIRS.iter().find(|pair| pair.0 == open).map_or('"', |pair| pair.1);
        let inner = &rest[start + open.len_utf8()..];
        masked.push_str(&rest[..start]);
        masked.push(open);
        masked.push('…');
        masked.push(close);
        // A value may itself hold the closing mark: everything up to the last one is masked.
        match inner.rfind(close) {
            Some(end) => rest = &inner[end + close.len_utf8()..],
            None => return masked,
        }
    }
    masked.push_str(rest);
    masked
}

/// The lines of a CONTEXT that cannot hold a value: which line of a function, which line of COPY.
fn context_lines(context: &str) -> Vec<String> {
    context
        .lines()
        .filter_map(|line| {
            if line.starts_with("PL/pgSQL function ") {
                Some(format!("in {line}"))
            } else if line.starts_with("COPY ") {
                line.split(": ").next().map(|place| format!("in {place}"))
            } else {
                None
            }
        })
        .take(4)
        .collect()
}

/// No server answered there.
pub(crate) fn unreachable_error(endpoint: &Endpoint, reason: &str) -> TargetError {
    let at = endpoint.address.describe();
    let help = match &endpoint.address {
        Address::Socket { .. } => {
            "is the server running, and is this the folder of its socket? \
             (unix_socket_directories in postgresql.conf)"
        }
        Address::Tcp { .. } => {
            "is the server running and does a firewall let you through? listen_addresses in \
             postgresql.conf must include this address"
        }
    };
    TargetError::new(ErrorKind::Unreachable, format!("cannot reach PostgreSQL on {at}: {reason}"))
        .help(help)
}

/// What came back while connecting.
pub(crate) fn connect_error(endpoint: &Endpoint, error: &Error) -> TargetError {
    if let Some(db) = error.as_db_error() {
        return refused_by_server(endpoint, db);
    }
    let reason = innermost(error);
    let at = endpoint.address.describe();
    match error.to_string().as_str() {
        text if text.contains("TLS") => tls_error(endpoint, &reason),
        text if text.contains("authentication") => {
            TargetError::new(ErrorKind::Authentication, format!("cannot log in on {at}: {reason}"))
        }
        text if text.contains("configuration") => TargetError::new(
            ErrorKind::Authentication,
            format!("the server on {at} wants a password for {}", endpoint.user_name()),
        )
        .help("put it into the URL: postgres://user:password@host:5432/database"),
        _ if reason.contains("peer") && reason.contains("certificate") => {
            tls_error(endpoint, &reason)
        }
        _ => TargetError::new(
            ErrorKind::Lost,
            format!("the connection to {at} broke while logging in: {reason}"),
        )
        .help("is it a PostgreSQL server that listens there? try again in a moment"),
    }
}

fn refused_by_server(endpoint: &Endpoint, db: &DbError) -> TargetError {
    let at = endpoint.address.describe();
    let (user, database) = (endpoint.user_name(), endpoint.database_name());
    let message = db.message();
    let code = db.code().code();
    let lower = message.to_ascii_lowercase();
    let error = |kind: ErrorKind, text: String| TargetError::new(kind, text).code(code);
    match code {
        "28P01" => error(
            ErrorKind::Authentication,
            format!("the server on {at} refused the password of {user}"),
        )
        .help("check user and password in the URL; special characters are percent-encoded"),
        "28000" => error(ErrorKind::Authentication, format!("cannot log in on {at}: {message}"))
            .help(if lower.contains("no encryption") || lower.contains("ssl off") {
                "the server wants TLS: add sslmode=require (or verify-full) to the URL"
            } else {
                "pg_hba.conf on the server must allow this user, database and address"
            }),
        "3D000" => no_such_database(endpoint).code(code),
        "42501" => error(ErrorKind::Permission, format!("cannot connect to {database}: {message}"))
            .help(format!(
                "as its owner: GRANT CONNECT ON DATABASE {} TO {}",
                quote::name(&database),
                quote::name(&user)
            )),
        // pgbouncer before 1.20 reports everything with one code.
        _ if lower.contains("no such database") => no_such_database(endpoint).code(code),
        _ if lower.contains("unsupported startup parameter") => error(
            ErrorKind::Refused,
            format!("the pooler on {at} refused the connection: {message}"),
        )
        .help("leave `options` out of the URL, or set ignore_startup_parameters in the pooler"),
        _ if lower.contains("authentication") || lower.contains("no such user") => {
            error(ErrorKind::Authentication, format!("cannot log in on {at}: {message}"))
                .help("check user and password in the URL, and the pooler's own list of users")
        }
        "08P01" | "58000" => {
            error(ErrorKind::Exhausted, format!("the pooler on {at} refused: {message}"))
                .help("look at the pooler's log: can it reach the server, are connections left?")
        }
        _ => {
            let mut refused = server_error(db);
            if refused.kind == ErrorKind::Lost || refused.kind == ErrorKind::Statement {
                refused.kind = ErrorKind::Exhausted;
            }
            refused.message = format!("the server on {at} refused the connection: {message}");
            refused
        }
    }
}

/// There is no database of that name.
fn no_such_database(endpoint: &Endpoint) -> TargetError {
    let name = endpoint.database_name();
    let at = endpoint.address.describe();
    TargetError::new(ErrorKind::NoSuchDatabase, format!("there is no database `{name}` on {at}"))
        .help("`dunlin create` makes it, or correct the name in the URL")
}

fn tls_error(endpoint: &Endpoint, reason: &str) -> TargetError {
    let at = endpoint.address.describe();
    let mode = endpoint.ssl_mode.as_str();
    let help = if reason.contains("does not support TLS") {
        "turn `ssl` on in postgresql.conf; only on a network that you trust, sslmode=disable goes \
         without"
    } else if reason.contains("UnknownIssuer") {
        "name the certificate authority with sslrootcert=/path/to/root.crt; sslmode=require \
         encrypts without knowing who answers"
    } else if reason.contains("NotValidForName") || reason.contains("not valid for name") {
        "connect by a name that is in the certificate; sslmode=verify-ca checks all but the name"
    } else if reason.contains("Expired") || reason.contains("expired") {
        "the server's certificate must be renewed"
    } else {
        "check the server's certificate, and sslmode and sslrootcert in the URL"
    };
    TargetError::new(ErrorKind::Tls, format!("no TLS with {at} (sslmode={mode}): {reason}"))
        .help(help)
}

/// The cause that says most.
fn innermost(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if error.source().is_none() { error.to_string() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked() {
        assert_eq!(
            mask_quoted(r#"invalid input syntax for type integer: "my "secret" value""#),
            r#"invalid input syntax for type integer: "…""#
        );
        assert_eq!(
            mask_quoted(r#"value "99999999999" is out of range for type integer"#),
            r#"value "…" is out of range for type integer"#
        );
        assert_eq!(mask_quoted("ungültige Syntax: »geheim«"), "ungültige Syntax: »…«");
        assert_eq!(mask_quoted("division by zero"), "division by zero");
    }

    #[test]
    fn context_shows_places_only() {
        let context = "COPY t, line 3, column a: \"secret\"\nSQL statement \"SELECT 'secret'\"\n\
                       PL/pgSQL function f(integer) line 4 at RAISE";
        assert_eq!(
            context_lines(context),
            ["in COPY t, line 3, column a", "in PL/pgSQL function f(integer) line 4 at RAISE"]
        );
    }
}
