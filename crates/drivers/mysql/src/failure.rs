//! From the client's and the server's errors to [`TargetError`].
//!
//! Invariants: no row value, no password and no packet content gets into a message; every error
//! number that means that the connection is gone has the kind `Lost`.

use dunlin_engine::{ErrorKind, TargetError};
use mysql_async::{DriverError, Error, IoError, ServerError};

use crate::mask::without_values;

/// Numbers that mean that the session has ended: killed, shut down, timed out while idle.
const LOST: &[u16] = &[
    1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2006, 2013, 2055, 3169, 4031,
];
const CONFLICT: &[u16] = &[1020, 1213, 1412];
const LOCK_TIMEOUT: &[u16] = &[1205, 3572];
const STATEMENT_TIMEOUT: &[u16] = &[1969, 3024];
const EXHAUSTED: &[u16] = &[1021, 1037, 1038, 1040, 1041, 1114, 1135, 1203, 1226];
const AUTHENTICATION: &[u16] = &[1045, 1129, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 3118, 4151];
const PERMISSION: &[u16] =
    &[1044, 1095, 1132, 1142, 1143, 1227, 1370, 1410, 1419, 1698, 3530, 4014];
const READ_ONLY: &[u16] = &[1792, 1836, 1874];

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    /// Connecting.
    Connect,
    /// A statement of ours.
    Ours,
    /// A statement of ours that reads or writes rows of the user's.
    Rows,
    /// A statement of the user's, by its index.
    Users(usize),
}

/// The error of a client call.
pub(crate) fn of_client(error: Error, during: During) -> TargetError {
    match error {
        Error::Server(error) => of_server(&error, during),
        Error::Io(error) => of_io(&error, during),
        Error::Driver(error) => of_driver(&error, during),
        Error::Url(_) => TargetError::new(ErrorKind::Bug, "the connection options were refused"),
        // Nothing is known of what it says, so it is not shown.
        Error::Other(_) => TargetError::new(ErrorKind::Bug, "the database client failed"),
    }
}

/// The error that a server sent.
pub(crate) fn of_server(error: &ServerError, during: During) -> TargetError {
    let kind = kind_of(error, during);
    let message = without_values(error.code, error.message.trim_end_matches('.'));
    let mut failure = TargetError::new(kind, message).code(error.code.to_string());
    if let Some(help) = help_for(error, kind) {
        failure = failure.help(help);
    }
    failure.by_row = kind == ErrorKind::Statement && is_by_row(error);
    match during {
        During::Users(index) => failure.in_statement(index),
        During::Connect | During::Ours | During::Rows => failure,
    }
}

fn kind_of(error: &ServerError, during: During) -> ErrorKind {
    let code = error.code;
    let groups = [
        (LOST, ErrorKind::Lost),
        (CONFLICT, ErrorKind::Conflict),
        (LOCK_TIMEOUT, ErrorKind::LockTimeout),
        (STATEMENT_TIMEOUT, ErrorKind::StatementTimeout),
        (EXHAUSTED, ErrorKind::Exhausted),
        (AUTHENTICATION, ErrorKind::Authentication),
        (PERMISSION, ErrorKind::Permission),
        (READ_ONLY, ErrorKind::ReadOnly),
    ];
    if let Some((_, kind)) = groups.into_iter().find(|(codes, _)| codes.contains(&code)) {
        // While connecting, a server that shuts down or drops us is one to try again later.
        return if during == During::Connect && kind == ErrorKind::Lost {
            ErrorKind::Exhausted
        } else {
            kind
        };
    }
    match (code, during) {
        (1049, During::Connect) => ErrorKind::NoSuchDatabase,
        (1290, _) if error.message.contains("read-only") || error.message.contains("read_only") => {
            ErrorKind::ReadOnly
        }
        // 1030 wraps an engine's error: 28 is "no space left on device".
        (1030, _) if error.message.contains("error 28") => ErrorKind::Exhausted,
        (_, During::Users(_) | During::Rows) => ErrorKind::Statement,
        (_, During::Connect) => ErrorKind::Unreachable,
        // A ledger table or column that is not there: dropped, or of another major version.
        (1054 | 1146, During::Ours) => ErrorKind::LedgerFormat,
        (_, During::Ours) => ErrorKind::Bug,
    }
}

/// Numbers of errors of values that have no SQLSTATE of their own.
const BY_ROW: &[u16] =
    &[1242, 1265, 1364, 1366, 1367, 1369, 1411, 1441, 1526, 1918, 1977, 3140, 3141, 3156, 3819];

/// SQLSTATE 22 is about values, 23 about constraints, 45 is what SIGNAL raises. 1052 ("column is
/// ambiguous") has a state of class 23, and is about the statement.
fn is_by_row(error: &ServerError) -> bool {
    let class = error.state.get(..2).unwrap_or_default();
    error.code != 1052
        && (matches!(class, "22" | "23" | "45")
            || error.code == 1644
            || BY_ROW.contains(&error.code))
}

fn help_for(error: &ServerError, kind: ErrorKind) -> Option<String> {
    let help = match (error.code, kind) {
        (1045 | 1698, _) => "check the user and password in the database URL",
        (1130, _) => "the server takes this user from other hosts only: GRANT it for this host",
        (1129, _) => "the server has blocked this host: run FLUSH HOSTS on it",
        (1251 | 1275 | 1524, _) => {
            "give the user one of mysql_native_password, caching_sha2_password or ed25519"
        }
        (1820 | 1862, _) => "the user's password has expired: set a new one on the server",
        (3118 | 4151, _) => "the account is locked: ALTER USER … ACCOUNT UNLOCK",
        (1049, ErrorKind::NoSuchDatabase) => "create it with `dunlin create`, or check the URL",
        (1044, _) => "GRANT the user rights on this database, or check its name",
        (1419, _) => {
            "binary logging is on: an administrator must set log_bin_trust_function_creators = ON"
        }
        (1227, _) => "GRANT the user the privilege that the message names",
        (1370 | 1142 | 1143 | 1132 | 1410, _) => {
            "GRANT the user what the message names on this database"
        }
        (1040 | 1203 | 1226, _) => {
            "wait until other connections are closed, or raise the limit that the message names"
        }
        (1021 | 1030 | 1114, ErrorKind::Exhausted) => "make room on the server's disk",
        (1290 | 1792 | 1836 | 1874, ErrorKind::ReadOnly) => "connect to the primary",
        (1205 | 3572, _) => "see who holds the lock; or raise lock-timeout",
        (1969 | 3024, _) => "raise statement-timeout, or do the work in smaller steps",
        (1153, _) => "raise max_allowed_packet on the server, or split the statement",
        (1146, ErrorKind::LedgerFormat) => {
            "was the ledger dropped with its last move meanwhile? then run this again; if not, \
             restore the dunlin_… table from a backup"
        }
        (1054, ErrorKind::LedgerFormat) => {
            "a dunlin_… table was changed by hand: restore it from a backup"
        }
        (1148 | 3948 | 4166, _) => LOCAL_INFILE_HELP,
        _ => return None,
    };
    Some(help.to_owned())
}

const LOCAL_INFILE_HELP: &str = "use INSERT, or LOAD DATA INFILE with a file that is on the server";

/// `LOAD DATA LOCAL`, asked for by a file or by the server.
pub(crate) fn local_infile() -> TargetError {
    TargetError::new(
        ErrorKind::Refused,
        "LOAD DATA LOCAL INFILE is refused: it lets the server read files of this machine",
    )
    .help(LOCAL_INFILE_HELP)
}

/// The connection is gone.
pub(crate) fn lost(what: impl Into<String>) -> TargetError {
    TargetError::new(ErrorKind::Lost, what)
}

fn of_io(error: &IoError, during: During) -> TargetError {
    match error {
        IoError::Tls(error) => tls_failure(&error.to_string()),
        IoError::Io(error) if during == During::Connect => {
            if is_tls(error) {
                tls_failure(&error.to_string())
            } else {
                TargetError::new(ErrorKind::Unreachable, format!("no server answered: {error}"))
            }
        }
        IoError::Io(error) => lost(format!("the connection to the server broke: {error}")),
    }
}

fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

fn tls_failure(words: &str) -> TargetError {
    TargetError::new(ErrorKind::Tls, format!("no trusted TLS connection was made: {words}")).help(
        "name the authority's certificate with sslrootcert=FILE; sslmode=require encrypts \
         without verifying, for networks that you trust",
    )
}

fn of_driver(error: &DriverError, during: During) -> TargetError {
    match error {
        DriverError::NoClientSslFlagFromServer => {
            TargetError::new(ErrorKind::Tls, "TLS is required, but the server does not offer it")
                .help("turn TLS on in the server; sslmode=disable sends everything in clear")
        }
        DriverError::LocalInfile(_) => match during {
            During::Users(index) => local_infile().in_statement(index),
            During::Connect | During::Ours | During::Rows => local_infile(),
        },
        DriverError::UnknownAuthPlugin { .. }
        | DriverError::MysqlOldPasswordDisabled
        | DriverError::CleartextPluginDisabled
        | DriverError::InvalidParsecSalt => TargetError::new(
            ErrorKind::Authentication,
            "the server asks for a kind of authentication that is not supported",
        )
        .help("give the user one of mysql_native_password, caching_sha2_password or ed25519"),
        DriverError::ConnectionClosed | DriverError::PacketOutOfOrder => {
            lost("the connection to the server is closed")
        }
        // These hold packets or rows, so their own words are not shown.
        _ if during == During::Connect => TargetError::new(
            ErrorKind::Unreachable,
            "what answered is not a MySQL or MariaDB server",
        )
        .help("check host and port in the database URL"),
        _ => lost("the server sent something that is not of its protocol"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> ServerError {
        ServerError { code, message: message.to_owned(), state: "HY000".to_owned() }
    }

    #[test]
    fn a_statements_error_keeps_its_number_and_place() {
        let error = of_server(&server(1062, "Duplicate entry 's' for key 'k'"), During::Users(3));
        assert_eq!((error.kind, error.statement), (ErrorKind::Statement, Some(3)));
        assert_eq!(error.to_string(), "Duplicate entry '…' for key 'k' (1062)");
    }

    #[test]
    fn values_are_told_from_statements() {
        let with = |code, state: &str| {
            let error = ServerError { state: state.to_owned(), ..server(code, "x") };
            of_server(&error, During::Users(0)).by_row
        };
        assert!(with(1062, "23000") && with(1365, "22012") && with(1644, "45000"));
        assert!(with(1366, "HY000") && with(3819, "HY000"));
        assert!(!with(1052, "23000") && !with(1054, "42S22") && !with(1213, "40001"));
    }

    #[test]
    fn the_same_number_means_something_else_elsewhere() {
        let gone = server(1053, "Server shutdown in progress");
        assert_eq!(of_server(&gone, During::Connect).kind, ErrorKind::Exhausted);
        assert_eq!(of_server(&gone, During::Ours).kind, ErrorKind::Lost);
        let missing = server(1146, "Table 'a.dunlin_meta' doesn't exist");
        assert_eq!(of_server(&missing, During::Ours).kind, ErrorKind::LedgerFormat);
        assert_eq!(of_server(&missing, During::Users(0)).kind, ErrorKind::Statement);
        let option = server(1290, "The server is running with the --read-only option");
        assert_eq!(of_server(&option, During::Users(0)).kind, ErrorKind::ReadOnly);
        let other = server(1290, "The server is running with the --secure-file-priv option");
        assert_eq!(of_server(&other, During::Users(0)).kind, ErrorKind::Statement);
    }
}
