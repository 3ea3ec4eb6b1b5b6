//! The tables, and their creation.

use dunlin_model::FORMAT;
use rusqlite::{Connection, params};

use super::{NOW, read};
use crate::fault::Outcome;

const TABLES: &str = "
CREATE TABLE dunlin_meta (
  only_one INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1), -- keeps the table at one row
  id TEXT NOT NULL,             -- a random UUID that names this ledger
  format INTEGER NOT NULL,      -- the format it was last written in
  min_reader INTEGER NOT NULL,  -- the oldest format that may read it
  min_writer INTEGER NOT NULL,  -- the oldest format that may write it
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE dunlin_migrations (
  kind TEXT NOT NULL CHECK (kind IN ('schema', 'data')),
  version INTEGER NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,          -- pending, running, applied, failed, skipped, retired
  pass INTEGER NOT NULL,        -- how many times it was made to run, from 1
  text_checksum TEXT,           -- SHA-256 of the file
  statements_checksum TEXT,     -- SHA-256 of its statements
  baseline INTEGER NOT NULL,    -- 1: declared to be there, not run
  by_environment INTEGER NOT NULL, -- 1: skipped by its environments, not by a person
  reason TEXT,
  error TEXT,
  started_at INTEGER,
  finished_at INTEGER,
  duration_ms INTEGER,
  run TEXT,                     -- dunlin_runs.id of the last change
  output TEXT,                  -- a program's last output, if it is kept
  text TEXT,                    -- the file
  PRIMARY KEY (kind, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE dunlin_history (
  number INTEGER NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  version INTEGER NOT NULL,
  name TEXT NOT NULL,
  event TEXT NOT NULL,          -- start, up, down, fail, skip, retire, accept, baseline, rerun, reset
  pass INTEGER NOT NULL,
  run TEXT,
  reason TEXT,
  error TEXT,
  duration_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE dunlin_steps (
  kind TEXT NOT NULL,
  version INTEGER NOT NULL,
  direction TEXT NOT NULL,      -- up, down
  pass INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,     -- the statement's place in its file, from 0
  checksum TEXT NOT NULL,       -- SHA-256 of the statement
  state TEXT NOT NULL,          -- open, done, failed
  token INTEGER NOT NULL,       -- the fencing token that it was opened under
  connection INTEGER,           -- not used by SQLite
  image TEXT,                   -- not used by SQLite
  opened_at INTEGER NOT NULL,
  closed_at INTEGER,
  PRIMARY KEY (kind, version, direction, pass, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE dunlin_leases (
  resource TEXT NOT NULL PRIMARY KEY, -- schema, data/VERSION
  owner TEXT,                   -- NULL: free
  host TEXT,
  pid INTEGER,
  identity TEXT,
  token INTEGER NOT NULL,       -- grows with every claim
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE dunlin_segments (
  job TEXT NOT NULL,            -- a lease's resource
  seg INTEGER NOT NULL,
  lo TEXT,
  upto TEXT NOT NULL,           -- how far it is done; for migrations: the number of commits
  hi TEXT,
  token INTEGER NOT NULL,       -- commits under another token fail
  rows INTEGER NOT NULL,        -- rows that its statements touched
  attempts INTEGER NOT NULL DEFAULT 0, -- claims since its last chunk
  PRIMARY KEY (job, seg)
) STRICT, WITHOUT ROWID;
CREATE TABLE dunlin_runs (
  id TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  command TEXT NOT NULL,
  program TEXT NOT NULL,        -- the version of Dunlin
  started_at INTEGER NOT NULL,
  finished_at INTEGER,
  outcome TEXT                  -- done, failed, stopped; NULL: at work, or died
) STRICT, WITHOUT ROWID;
CREATE VIEW dunlin_data_migrations AS
  SELECT version, name,
    CASE state WHEN 'applied' THEN 'done' ELSE state END AS state,
    pass, by_environment, reason, error,
    strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000000.0, 'unixepoch') AS started_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', finished_at / 1000000.0, 'unixepoch') AS finished_at,
    duration_ms
  FROM dunlin_migrations WHERE kind = 'data';
";

/// What format 2 has beside: chunked data migrations.
const BACKFILL_TABLES: &str = "
CREATE TABLE IF NOT EXISTS dunlin_backfills (
  job TEXT NOT NULL PRIMARY KEY, -- a lease's resource
  version INTEGER NOT NULL,
  pass INTEGER NOT NULL,
  phase TEXT NOT NULL,          -- forward, undo
  round INTEGER NOT NULL,       -- which walk over the table, from 1
  table_name TEXT NOT NULL,
  key_columns TEXT NOT NULL,    -- JSON
  shape TEXT NOT NULL,          -- a hash of the table's definition
  state TEXT NOT NULL,          -- running, paused, stopped, failed, cancelled, quarantined, done, undone
  reason TEXT,
  row_count_estimate INTEGER,
  rows_before INTEGER NOT NULL, -- rows of earlier walks
  workers INTEGER NOT NULL,
  chunk_rows INTEGER NOT NULL,
  chunk_ms INTEGER NOT NULL,
  rows_per_second INTEGER NOT NULL,
  seconds_left_min INTEGER NOT NULL,
  seconds_left_max INTEGER NOT NULL,
  intent TEXT NOT NULL DEFAULT 'run', -- run, pause, cancel: what people want
  intent_by TEXT,
  intent_workers INTEGER,
  intent_rate INTEGER,
  started_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dunlin_quarantine (
  job TEXT NOT NULL,
  pass INTEGER NOT NULL,
  number INTEGER NOT NULL,      -- the order in which they came
  key TEXT NOT NULL,            -- JSON, each column as an SQL literal
  error TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (job, pass, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dunlin_quarantine_by_number ON dunlin_quarantine (job, pass, number);
CREATE TABLE IF NOT EXISTS dunlin_captured (
  job TEXT NOT NULL,
  pass INTEGER NOT NULL,
  number INTEGER NOT NULL,      -- the order in which they came
  key TEXT NOT NULL,            -- JSON, each column as an SQL literal
  old_values TEXT NOT NULL,     -- JSON: column and SQL literal, before the chunk
  new_values TEXT,              -- the same after it; NULL: the chunk deleted the row
  forget_at INTEGER NOT NULL,
  PRIMARY KEY (job, pass, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dunlin_captured_by_time ON dunlin_captured (forget_at);
";

/// The oldest format whose programs may go on reading and writing: everything since was added.
const FORMAT_MIN: u32 = 1;

/// Creates the ledger in the transaction that is open, or brings one of an older format up to ours.
pub(crate) fn create(connection: &Connection, id: &str) -> Outcome<()> {
    if read::has_ledger(connection)? {
        let format = super::fence::writable(connection)?;
        return if format < i64::from(FORMAT) { upgrade(connection) } else { Ok(()) };
    }
    connection.execute_batch(TABLES)?;
    connection.execute_batch(BACKFILL_TABLES)?;
    let sql = format!("INSERT INTO dunlin_meta VALUES (1, ?1, ?2, ?3, ?3, {NOW})");
    connection.execute(&sql, params![id, FORMAT, FORMAT_MIN])?;
    Ok(())
}

/// Adds what an older ledger lacks, and takes nothing away.
fn upgrade(connection: &Connection) -> Outcome<()> {
    let there = "SELECT 1 FROM pragma_table_info('dunlin_segments') WHERE name = 'attempts'";
    if !connection.prepare(there)?.exists([])? {
        connection.execute_batch(
            "ALTER TABLE dunlin_segments ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0",
        )?;
    }
    connection.execute_batch(BACKFILL_TABLES)?;
    connection.execute("UPDATE dunlin_meta SET format = ?1", [FORMAT])?;
    Ok(())
}

/// Whether the ledger has a place for backfills.
pub(crate) fn has_backfills(connection: &Connection) -> Outcome<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'dunlin_backfills'";
    Ok(connection.prepare_cached(sql)?.exists([])?)
}
