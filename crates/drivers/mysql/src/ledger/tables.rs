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
         lo VARBINARY(8192) NULL COMMENT 'Where the share begins', \
         upto VARBINARY(8192) NOT NULL COMMENT 'The checkpoint; for migrations the number of commits', \
         hi VARBINARY(8192) NOT NULL COMMENT 'Where the share ends; empty for migrations', \
         token BIGINT NOT NULL COMMENT 'The token that may commit', \
         rows_done BIGINT NOT NULL DEFAULT 0, \
         connection BIGINT NULL COMMENT 'The connection that wrote this row last, by the server''s number', \
         attempts INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Claims of the lease since its last commit', \
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
        "backfills",
        "job VARCHAR(64) NOT NULL PRIMARY KEY COMMENT 'The resource: data/VERSION', \
         version BIGINT NOT NULL, \
         pass INT UNSIGNED NOT NULL, \
         phase VARCHAR(16) NOT NULL COMMENT 'forward or undo', \
         round INT UNSIGNED NOT NULL COMMENT 'Which walk over the table, from 1', \
         table_name TEXT NOT NULL, \
         key_columns MEDIUMTEXT NOT NULL COMMENT 'What it is walked by, as JSON', \
         shape VARCHAR(128) NOT NULL COMMENT 'The shape of the table that it was planned for', \
         state VARCHAR(16) NOT NULL COMMENT 'What its worker last said', \
         reason MEDIUMTEXT NULL COMMENT 'Why it is so', \
         row_count_estimate BIGINT UNSIGNED NULL, \
         rows_before BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Rows done in earlier walks', \
         workers INT UNSIGNED NOT NULL DEFAULT 0, \
         chunk_rows BIGINT UNSIGNED NOT NULL DEFAULT 0, \
         chunk_ms BIGINT UNSIGNED NOT NULL DEFAULT 0, \
         rows_per_second BIGINT UNSIGNED NOT NULL DEFAULT 0, \
         seconds_left_min BIGINT UNSIGNED NOT NULL DEFAULT 0, \
         seconds_left_max BIGINT UNSIGNED NOT NULL DEFAULT 0, \
         intent VARCHAR(64) NOT NULL DEFAULT 'run' COMMENT 'What people want: run, pause or cancel', \
         intent_by VARCHAR(255) NULL COMMENT 'Who', \
         intent_workers INT UNSIGNED NULL COMMENT 'So many workers instead of the file''s', \
         intent_rate BIGINT UNSIGNED NULL COMMENT 'So many rows a second at most; 0: no limit', \
         started_at DATETIME(6) NULL, \
         updated_at DATETIME(6) NULL COMMENT 'When its worker last said something'",
    ),
    (
        "quarantine",
        "number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
         job VARCHAR(64) NOT NULL, \
         pass INT UNSIGNED NOT NULL, \
         `key` VARBINARY(8192) NOT NULL COMMENT 'Which row, as a JSON list', \
         key_hash BINARY(32) NOT NULL COMMENT 'SHA-256 of the key', \
         error MEDIUMTEXT NOT NULL COMMENT 'Why, without row values', \
         at DATETIME(6) NOT NULL, \
         UNIQUE KEY one_row (job, pass, key_hash)",
    ),
    (
        "captured",
        "number BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
         job VARCHAR(64) NOT NULL, \
         pass INT UNSIGNED NOT NULL, \
         `key` VARBINARY(8192) NOT NULL COMMENT 'Which row, as a JSON list', \
         key_hash BINARY(32) NOT NULL COMMENT 'SHA-256 of the key', \
         old_values LONGTEXT NOT NULL COMMENT 'A JSON list: texts that read back exactly', \
         new_values LONGTEXT NULL COMMENT 'The same after the chunk; NULL: it deleted the row', \
         forget_at DATETIME(6) NOT NULL COMMENT 'How long they are kept', \
         KEY one_row (job, pass, key_hash), \
         KEY forget_at (forget_at)",
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

    /// Whether `segments` has what format 2 added to it: 1 or 0.
    pub(crate) fn select_segments_age(&self) -> String {
        format!(
            "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = {} \
             AND table_name = 'dunlin_segments' AND column_name = 'attempts'",
            literal::text(self.database())
        )
    }

    /// Adds to a `segments` of format 1 what format 2 has: wider bounds, and attempts.
    pub(crate) fn alter_segments(&self) -> String {
        format!(
            "ALTER TABLE {} MODIFY lo VARBINARY(8192) NULL COMMENT 'Where the share begins', \
             MODIFY upto VARBINARY(8192) NOT NULL \
             COMMENT 'The checkpoint; for migrations the number of commits', \
             MODIFY hi VARBINARY(8192) NOT NULL \
             COMMENT 'Where the share ends; empty for migrations', \
             ADD COLUMN attempts INT UNSIGNED NOT NULL DEFAULT 0 \
             COMMENT 'Claims of the lease since its last commit'",
            self.table("segments")
        )
    }

    /// Says that the tables are of this program's format, unless they are of a newer one.
    pub(crate) fn raise_format(&self) -> String {
        format!(
            "UPDATE {} SET format = {FORMAT} WHERE format < {FORMAT} AND min_writer <= {FORMAT}",
            self.table("meta")
        )
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
