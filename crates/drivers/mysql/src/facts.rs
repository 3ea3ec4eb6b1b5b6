//! What is set and asked on every new connection, in one round trip.

use dunlin_engine::{ErrorKind, ServerFacts, TargetError};

use crate::literal;
use crate::session::{Answer, Session};
use crate::url::ServerUrl;

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Ledger statements, and nothing else: strict, since what does not fit must not be cut off.
    Ledger,
    /// The user's statements, under the server's own `sql_mode`, so that a folder gives the same
    /// schema as the server's own client would make of it.
    Work,
}

/// How long a session of ours may be idle. Programs run for hours beside a run's connection, and
/// a lease is what frees a dead runner's work, so this is the server's own default.
const IDLE_SECONDS_MAX: u32 = 28_800;

/// How long a transaction of ours may be idle on the server (MariaDB). Between two statements of
/// a transaction we do nothing that takes time, so its client is stopped or gone.
const IDLE_IN_TRANSACTION_SECONDS_MAX: u32 = 300;

/// How long a ledger statement waits for a lock: longer than any commit of the ledger's takes,
/// and below the time that a packet of ours may take.
const LEDGER_LOCK_SECONDS_MAX: u32 = 20;

/// A SELECT's rows have no limit: rows that a program gets, or that the ledger has, would be missing
/// where the server sets one. (DEFAULT would be the server's.)
const ROWS_MAX: u64 = u64::MAX;

/// Goes back to that after a wait of another length.
pub(crate) const LEDGER_LOCK_WAIT: &str = "SET SESSION innodb_lock_wait_timeout = 20";

/// The settings of a session; also sent after a reset, which does not go back to the database.
pub(crate) fn settings(role: Role, database: &str) -> String {
    let mut sql = format!(
        "SET NAMES utf8mb4; USE {}; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SET SESSION wait_timeout = {IDLE_SECONDS_MAX}, sql_select_limit = {ROWS_MAX}\
         /*M!100300 , idle_transaction_timeout = {IDLE_IN_TRANSACTION_SECONDS_MAX} */; ",
        literal::name(database)
    );
    if role == Role::Ledger {
        sql.push_str(&format!(
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
             innodb_lock_wait_timeout = {LEDGER_LOCK_SECONDS_MAX}, \
             lock_wait_timeout = {LEDGER_LOCK_SECONDS_MAX}, \
             autocommit = 1, sql_safe_updates = 0\
             /*M!100101 , max_statement_time = 0 */; "
        ));
    }
    sql
}

const QUESTIONS: &str = "SELECT VERSION(), DATABASE(), CURRENT_USER(), CONNECTION_ID(), \
     UNIX_TIMESTAMP(), @@max_allowed_packet; \
     SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'super_read_only', \
     'innodb_read_only', 'log_bin', 'binlog_format', 'sql_mode'); \
     SHOW GLOBAL STATUS LIKE 'Uptime'";

/// What is known of a server.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) server: ServerFacts,
    pub(crate) is_mariadb: bool,
    packet_bytes_max: usize,
    /// When the server was started, in its own seconds since 1970. Connection numbers mean the
    /// same connection only as long as this stays the same.
    pub(crate) started: i64,
    /// `log_bin` is on with `binlog_format = STATEMENT`, which READ COMMITTED cannot write under.
    pub(crate) statement_log: bool,
    /// The modes of new sessions, in upper case.
    pub(crate) sql_mode: String,
}

/// Sets up a new connection and asks what it leads to.
pub(crate) async fn set_up(
    session: &mut Session,
    role: Role,
    url: &ServerUrl,
) -> Result<Facts, TargetError> {
    let handshake_id = session.id;
    let packet = format!("{}{QUESTIONS}", settings(role, &url.database));
    let answers = session.run(&packet).await?;
    let [.., facts, variables, uptime] = answers.as_slice() else {
        return Err(TargetError::new(ErrorKind::Bug, "the server answered too little"));
    };
    let facts = read(facts, variables, uptime, handshake_id)?;
    session.id = facts.connection;
    session.packet_bytes_max = facts.facts.packet_bytes_max;
    supported(&facts.facts)?;
    Ok(facts.facts)
}

struct Connected {
    facts: Facts,
    connection: u64,
}

fn read(
    facts: &Answer,
    variables: &Answer,
    uptime: &Answer,
    handshake_id: u64,
) -> Result<Connected, TargetError> {
    let row = facts
        .rows
        .first()
        .ok_or_else(|| TargetError::new(ErrorKind::Bug, "the server did not say what it is"))?;
    let version = row.text(0);
    let is_mariadb = version.contains("MariaDB");
    let connection = row.number(3).unwrap_or(handshake_id);
    let setting =
        |name: &str| variables.rows.iter().find(|row| row.text(0) == name).map(|row| row.text(1));
    let on = |name: &str| setting(name).is_some_and(|value| value != "OFF" && value != "0");
    let read_only = ["read_only", "super_read_only", "innodb_read_only"]
        .into_iter()
        .find(|name| on(name))
        .map(|name| {
            format!("the server is read-only ({name} is on): a replica, or under maintenance")
        });
    let up: i64 = uptime.rows.first().and_then(|row| row.number(1)).unwrap_or_default();
    let server = ServerFacts {
        product: format!("{} {}", if is_mariadb { "MariaDB" } else { "MySQL" }, number(&version)),
        database: row.text(1),
        user: row.text(2),
        // A proxy hands out numbers of its own.
        pooled: connection != handshake_id,
        read_only,
    };
    let facts = Facts {
        server,
        is_mariadb,
        packet_bytes_max: row.number(5).unwrap_or(16 << 20),
        started: row.number::<i64>(4).unwrap_or_default() - up,
        statement_log: on("log_bin") && setting("binlog_format").as_deref() == Some("STATEMENT"),
        sql_mode: setting("sql_mode").unwrap_or_default().to_ascii_uppercase(),
    };
    Ok(Connected { facts, connection })
}

/// `10.11.19` out of `10.11.19-MariaDB-log`, or of the `5.5.5-10.11.19-MariaDB` of old proxies.
fn number(version: &str) -> &str {
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    version.split(|c: char| !(c.is_ascii_digit() || c == '.')).next().unwrap_or(version)
}

fn supported(facts: &Facts) -> Result<(), TargetError> {
    let product = &facts.server.product;
    let version = product.rsplit(' ').next().unwrap_or_default();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let oldest = if facts.is_mariadb { (10, 6) } else { (8, 0) };
    if version >= oldest {
        return Ok(());
    }
    Err(TargetError::new(ErrorKind::Unsupported, format!("{product} is too old"))
        .help("MariaDB 10.6 and MySQL 8.0 are the oldest that work"))
}

/// Refuses to write where a write cannot succeed or cannot be repeated on the replicas.
pub(crate) fn require_writable(facts: &Facts) -> Result<(), TargetError> {
    if let Some(reason) = &facts.server.read_only {
        return Err(
            TargetError::new(ErrorKind::ReadOnly, reason.clone()).help("connect to the primary")
        );
    }
    if facts.statement_log {
        return Err(TargetError::new(
            ErrorKind::Unsupported,
            "binlog_format is STATEMENT, under which READ COMMITTED transactions cannot write",
        )
        .help("set binlog_format to ROW or MIXED on the server"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_numbers_are_found() {
        assert_eq!(number("10.11.19-MariaDB-0+deb12u1"), "10.11.19");
        assert_eq!(number("5.5.5-10.6.2-MariaDB"), "10.6.2");
        assert_eq!(number("8.0.41"), "8.0.41");
    }

    #[test]
    fn old_servers_and_unsafe_settings_are_refused() {
        let facts = |product: &str, is_mariadb| Facts {
            server: ServerFacts {
                product: product.to_owned(),
                database: String::new(),
                user: String::new(),
                pooled: false,
                read_only: None,
            },
            is_mariadb,
            packet_bytes_max: 0,
            started: 0,
            statement_log: false,
            sql_mode: String::new(),
        };
        assert!(supported(&facts("MariaDB 10.6.0", true)).is_ok());
        assert!(supported(&facts("MySQL 8.0.11", false)).is_ok());
        for (old, is_mariadb) in [("MariaDB 10.5.9", true), ("MySQL 5.7.44", false)] {
            let error = supported(&facts(old, is_mariadb)).expect_err(old);
            assert_eq!(error.kind, ErrorKind::Unsupported);
        }
        let mut statement = facts("MariaDB 11.4.2", true);
        statement.statement_log = true;
        assert_eq!(require_writable(&statement).expect_err("refused").kind, ErrorKind::Unsupported);
    }
}
