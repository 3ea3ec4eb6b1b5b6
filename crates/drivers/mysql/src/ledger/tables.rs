//! How the ledger's tables come to be: by the first that writes, however many try at once.

use dunlin_model::FORMAT;

use super::Ledger;
use crate::literal;

/// Name and columns of each table, in the order of their creation. `meta` comes last: where it
/// is, all others are.
const TABLES: &[(&str, &str)] = &[
    (
        "runs",
        "id VARCHAR(64) NOT NULL PRIMARY KEY, \
         owner VARCHAR(64) NOT NULL, \
         host VARCHAR(255) NOT NULL, \
         pid BIGINT NOT NULL, \
         command VARCHAR(255) NOT NULL, \
         program VARCHAR(255) NOT NULL, \
         started_at DATETIME(6) NOT NULL COMMENT 'UTC, as all times in these tables', \
         finished_at DATETIME(6) NULL, \
         outcome VARCHAR(64) NULL COMMENT 'done, failed or stopped'",
    ),
    (
        "leases",
        "resource VARCHAR(64) NOT NULL PRIMARY KEY COMMENT 'schema, or data/VERSION', \
         owner VARCHAR(64) NULL COMMENT 'The process that holds it (a random UUID); NULL: nobody', \
         host VARCHAR(255) NOT NULL, \
         pid BIGINT NOT NULL, \
         identity TEXT NOT NULL COMMENT 'Tells on the same machine whether that process lives', \
         token BIGINT NOT NULL COMMENT 'The fencing token: grows with every change of hands', \
         expires_at DATETIME(6) NOT NULL COMMENT 'When others may take it, by this server''s clock'",
    ),
    (
        "segments",
        "job VARCHAR(64) NOT NULL COMMENT 'The resource', \
         seg BIGINT NOT NULL COMMENT 'The worker''s share; 0 for migrations', \
         lo VARBINARY(3072) NULL COMMENT 'Where the share begins', \
         upto VARBINARY(3072) NOT NULL COMMENT 'The checkpoint; for migrations the number of commits', \
         hi VARBINARY(3072) NOT NULL COMMENT 'Where the share ends; empty for migrations', \
         token BIGINT NOT NULL COMMENT 'The token that may commit', \
         rows_done BIGINT NOT NULL DEFAULT 0, \
         connection BIGINT NULL COMMENT 'The connection that wrote this row last, by the server''s number', \
         PRIMARY KEY (job, seg)",
    ),
    (
        "steps",
        "kind VARCHAR(8) NOT NULL, \
         version BIGINT NOT NULL, \
         direction VARCHAR(8) NOT NULL COMMENT 'up or down', \
         pass INT UNSIGNED NOT NULL, \
         ordinal INT UNSIGNED NOT NULL COMMENT 'The statement''s place in its file, from 0', \
         checksum VARCHAR(128) NOT NULL COMMENT 'SHA-256 of the statement''s text', \
         state VARCHAR(16) NOT NULL COMMENT 'open, done or failed', \
         token BIGINT NOT NULL COMMENT 'The fencing token that it was opened under', \
         connection BIGINT NULL COMMENT 'The server''s number for the connection it was sent on', \
         image LONGTEXT NULL COMMENT 'Definitions before it ran; compared after a crash', \
         opened_at DATETIME(6) NOT NULL, \
         closed_at DATETIME(6) NULL, \
         PRIMARY KEY (kind, version, direction, pass, ordinal)",
    ),
    (
        "history",
        "number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
         at DATETIME(6) NOT NULL, \
         kind VARCHAR(8) NOT NULL, \
         version BIGINT NOT NULL, \
         name VARCHAR(255) NOT NULL, \
         event VARCHAR(16) NOT NULL COMMENT 'start, up, down, fail, skip, retire, accept, baseline, rerun or reset', \
         pass INT UNSIGNED NOT NULL, \
         run VARCHAR(64) NULL, \
         reason MEDIUMTEXT NULL, \
         error MEDIUMTEXT NULL, \
         duration_ms BIGINT NULL",
    ),
    (
        "migrations",
        "kind VARCHAR(8) NOT NULL COMMENT 'schema or data', \
         version BIGINT NOT NULL COMMENT 'The number at the front of the file''s name', \
         name VARCHAR(255) NOT NULL COMMENT 'The file''s name after the version', \
         state VARCHAR(16) NOT NULL COMMENT 'pending, running, applied, failed, skipped or retired', \
         pass INT UNSIGNED NOT NULL COMMENT 'How many times it was made to run, from 1', \
         text_checksum VARCHAR(128) NULL COMMENT 'SHA-256 of the file, without BOM and CR', \
         statements_checksum VARCHAR(128) NULL COMMENT 'SHA-256 of its statements'' texts', \
         text LONGTEXT NULL COMMENT 'The file as it was run', \
         baseline TINYINT(1) NOT NULL DEFAULT 0 COMMENT 'Declared to be applied, not run by Dunlin', \
         by_environment TINYINT(1) NOT NULL DEFAULT 0 COMMENT 'Skipped by its environments, not by a person', \
         reason MEDIUMTEXT NULL COMMENT 'Why it was skipped, retired or accepted', \
         error MEDIUMTEXT NULL COMMENT 'The last failure, without row values', \
         output LONGTEXT NULL COMMENT 'A program''s last output, where it is kept', \
         run VARCHAR(64) NULL COMMENT 'The run that wrote this row last', \
         started_at DATETIME(6) NULL COMMENT 'When its last attempt began', \
         finished_at DATETIME(6) NULL COMMENT 'When it was applied', \
         duration_ms BIGINT NULL COMMENT 'How long that took, in milliseconds', \
         PRIMARY KEY (kind, version)",
    ),
    (
        "meta",
        "only_one TINYINT NOT NULL PRIMARY KEY COMMENT 'Keeps the table at one row', \
         id VARCHAR(64) NOT NULL COMMENT 'A random UUID that names this ledger', \
         format INT UNSIGNED NOT NULL COMMENT 'The format the ledger was last written in', \
         min_reader INT UNSIGNED NOT NULL COMMENT 'The oldest format whose programs may read it', \
         min_writer INT UNSIGNED NOT NULL COMMENT 'The oldest format whose programs may write it', \
         created_at DATETIME(6) NOT NULL",
    ),
];

/// The oldest formats that may read and write what this program writes.
const MIN_READER: u32 = 1;
const MIN_WRITER: u32 = 1;

impl Ledger {
    /// The statements that create each table; each can be repeated and raced.
    ///
    /// The collation compares by bytes and is the same on every server; the row format is the
    /// one that InnoDB keys of any length work under.
    pub(crate) fn create_tables(&self) -> Vec<String> {
        TABLES
            .iter()
            .map(|(table, columns)| {
                format!(
                    "CREATE TABLE IF NOT EXISTS {} ({columns}) ENGINE = InnoDB \
                     DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT = DYNAMIC",
                    self.table(table)
                )
            })
            .collect()
    }

    /// The view for other tools.
    pub(crate) fn create_view(&self) -> String {
        format!(
            "CREATE OR REPLACE SQL SECURITY INVOKER VIEW {} AS \
             SELECT version, name, CASE state WHEN 'applied' THEN 'done' ELSE state END AS state, \
             pass, by_environment, reason, error, started_at, finished_at, duration_ms \
             FROM {} WHERE kind = 'data'",
            self.table("data_migrations"),
            self.table("migrations")
        )
    }

    /// Writes the one row of `meta` unless there is one. The assignment changes nothing: unlike
    /// IGNORE it hides no other error.
    pub(crate) fn create_meta(&self, id: &str) -> String {
        format!(
            "INSERT INTO {} (only_one, id, format, min_reader, min_writer, created_at) \
             VALUES (1, {}, {FORMAT}, {MIN_READER}, {MIN_WRITER}, UTC_TIMESTAMP(6)) \
             ON DUPLICATE KEY UPDATE only_one = only_one",
            self.table("meta"),
            literal::text(id)
        )
    }
}
