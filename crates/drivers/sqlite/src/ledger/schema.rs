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

/// Creates the ledger in the transaction that is open, unless there is one.
pub(crate) fn create(connection: &Connection, id: &str) -> Outcome<()> {
    if read::has_ledger(connection)? {
        return super::fence::writable(connection);
    }
    connection.execute_batch(TABLES)?;
    let sql = format!("INSERT INTO dunlin_meta VALUES (1, ?1, ?2, ?2, ?2, {NOW})");
    connection.execute(&sql, params![id, FORMAT])?;
    Ok(())
}
