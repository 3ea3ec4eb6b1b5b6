//! The ledger's tables, and how they come to be: by the first that writes, however many try.

/// `pg_advisory_xact_lock` takes one number for the whole database; this one is "dunlin" in ASCII.
/// It is held only while the ledger is created, within that one transaction.
pub(crate) const BOOTSTRAP_LOCK: i64 = 0x64_75_6e_6c_69_6e;

/// Creates everything but the schema. Names in keys that are compared by bytes have COLLATE "C".
pub(crate) const TABLES: &str = r#"
CREATE TABLE dunlin.meta (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    id         text NOT NULL,
    format     integer NOT NULL,
    min_reader integer NOT NULL,
    min_writer integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE TABLE dunlin.migrations (
    kind                text COLLATE "C" NOT NULL CHECK (kind IN ('schema', 'data')),
    version             bigint NOT NULL,
    name                text NOT NULL,
    state               text NOT NULL,
    pass                integer NOT NULL,
    text_checksum       text,
    statements_checksum text,
    text                text,
    baseline            boolean NOT NULL DEFAULT false,
    by_environment      boolean NOT NULL DEFAULT false,
    reason              text,
    error               text,
    output              text,
    run                 text,
    started_at          timestamptz,
    finished_at         timestamptz,
    duration_ms         bigint,
    PRIMARY KEY (kind, version)
);
CREATE TABLE dunlin.history (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    kind        text NOT NULL,
    version     bigint NOT NULL,
    name        text NOT NULL,
    event       text NOT NULL,
    pass        integer NOT NULL,
    run         text,
    reason      text,
    error       text,
    duration_ms bigint
);
CREATE TABLE dunlin.steps (
    kind       text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    direction  text COLLATE "C" NOT NULL,
    pass       integer NOT NULL,
    ordinal    integer NOT NULL,
    checksum   text NOT NULL,
    state      text NOT NULL,
    token      bigint NOT NULL,
    connection bigint,
    image      text,
    opened_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    closed_at  timestamptz,
    PRIMARY KEY (kind, version, direction, pass, ordinal)
);
CREATE TABLE dunlin.leases (
    resource   text COLLATE "C" PRIMARY KEY,
    owner      text,
    host       text NOT NULL,
    pid        bigint NOT NULL,
    identity   text NOT NULL,
    token      bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE TABLE dunlin.segments (
    job   text COLLATE "C" NOT NULL,
    seg   bigint NOT NULL,
    lo    text COLLATE "C",
    upto  text COLLATE "C" NOT NULL,
    hi    text COLLATE "C" NOT NULL,
    token bigint NOT NULL,
    rows  bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (job, seg)
);
CREATE TABLE dunlin.runs (
    id          text PRIMARY KEY,
    owner       text NOT NULL,
    host        text NOT NULL,
    pid         bigint NOT NULL,
    command     text NOT NULL,
    program     text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at timestamptz,
    outcome     text
);
CREATE VIEW dunlin.data_migrations AS
    SELECT version, name, CASE state WHEN 'applied' THEN 'done' ELSE state END AS state,
           pass, by_environment, reason, error, started_at, finished_at, duration_ms
      FROM dunlin.migrations WHERE kind = 'data';
"#;

/// What each table and column is, for whoever meets them in psql.
pub(crate) const COMMENTS: &str = r"
COMMENT ON SCHEMA dunlin IS 'The ledger of Dunlin: which migrations ran here. Do not edit by hand.';
COMMENT ON TABLE dunlin.meta IS 'One row about the ledger itself.';
COMMENT ON COLUMN dunlin.meta.only_one IS 'Keeps the table at one row.';
COMMENT ON COLUMN dunlin.meta.id IS 'A random UUID that names this ledger; part of every idempotency key.';
COMMENT ON COLUMN dunlin.meta.format IS 'The format the ledger was last written in.';
COMMENT ON COLUMN dunlin.meta.min_reader IS 'The oldest format whose programs may read it.';
COMMENT ON COLUMN dunlin.meta.min_writer IS 'The oldest format whose programs may write it.';
COMMENT ON COLUMN dunlin.meta.created_at IS 'When the ledger was created.';
COMMENT ON TABLE dunlin.migrations IS 'One row for each migration: where it stands now.';
COMMENT ON COLUMN dunlin.migrations.kind IS 'schema or data.';
COMMENT ON COLUMN dunlin.migrations.version IS 'The number at the front of the file''s name.';
COMMENT ON COLUMN dunlin.migrations.name IS 'The file''s name after the version.';
COMMENT ON COLUMN dunlin.migrations.state IS 'pending, running, applied, failed, skipped or retired.';
COMMENT ON COLUMN dunlin.migrations.pass IS 'How many times it was made to run, from 1.';
COMMENT ON COLUMN dunlin.migrations.text_checksum IS 'SHA-256 of the file, without BOM and CR.';
COMMENT ON COLUMN dunlin.migrations.statements_checksum IS 'SHA-256 of its statements'' texts.';
COMMENT ON COLUMN dunlin.migrations.text IS 'The file as it was run.';
COMMENT ON COLUMN dunlin.migrations.baseline IS 'Declared to be applied, not run by Dunlin.';
COMMENT ON COLUMN dunlin.migrations.by_environment IS 'Skipped by its environments, not by a person.';
COMMENT ON COLUMN dunlin.migrations.reason IS 'Why it was skipped, retired or accepted.';
COMMENT ON COLUMN dunlin.migrations.error IS 'The last failure, without row values.';
COMMENT ON COLUMN dunlin.migrations.output IS 'A program''s last output, where it is kept.';
COMMENT ON COLUMN dunlin.migrations.run IS 'The run that wrote this row last; see runs.id.';
COMMENT ON COLUMN dunlin.migrations.started_at IS 'When its last attempt began.';
COMMENT ON COLUMN dunlin.migrations.finished_at IS 'When it was applied.';
COMMENT ON COLUMN dunlin.migrations.duration_ms IS 'How long that took, in milliseconds.';
COMMENT ON TABLE dunlin.history IS 'What happened, in order; never changed.';
COMMENT ON COLUMN dunlin.history.number IS 'The order.';
COMMENT ON COLUMN dunlin.history.at IS 'When.';
COMMENT ON COLUMN dunlin.history.kind IS 'schema or data.';
COMMENT ON COLUMN dunlin.history.version IS 'The migration''s version.';
COMMENT ON COLUMN dunlin.history.name IS 'The migration''s name.';
COMMENT ON COLUMN dunlin.history.event IS 'start, up, down, fail, skip, retire, accept, baseline, rerun or reset.';
COMMENT ON COLUMN dunlin.history.pass IS 'The pass it belongs to.';
COMMENT ON COLUMN dunlin.history.run IS 'The run that did it; see runs.id.';
COMMENT ON COLUMN dunlin.history.reason IS 'Why, where a reason was given.';
COMMENT ON COLUMN dunlin.history.error IS 'The failure, without row values.';
COMMENT ON COLUMN dunlin.history.duration_ms IS 'How long it took, in milliseconds.';
COMMENT ON TABLE dunlin.steps IS 'Journal of steps outside transactions, of migrations that are not finished.';
COMMENT ON COLUMN dunlin.steps.kind IS 'schema or data.';
COMMENT ON COLUMN dunlin.steps.version IS 'The migration''s version.';
COMMENT ON COLUMN dunlin.steps.direction IS 'up or down.';
COMMENT ON COLUMN dunlin.steps.pass IS 'The pass it belongs to.';
COMMENT ON COLUMN dunlin.steps.ordinal IS 'The statement''s place in its file, from 0.';
COMMENT ON COLUMN dunlin.steps.checksum IS 'SHA-256 of the statement''s text.';
COMMENT ON COLUMN dunlin.steps.state IS 'open, done or failed.';
COMMENT ON COLUMN dunlin.steps.token IS 'The fencing token that it was opened under.';
COMMENT ON COLUMN dunlin.steps.connection IS 'The backend''s process number that it was sent on.';
COMMENT ON COLUMN dunlin.steps.image IS 'Definitions before it ran; compared after a crash.';
COMMENT ON COLUMN dunlin.steps.opened_at IS 'When it was about to be sent.';
COMMENT ON COLUMN dunlin.steps.closed_at IS 'When its outcome was known.';
COMMENT ON TABLE dunlin.leases IS 'The right to run, one row for each resource.';
COMMENT ON COLUMN dunlin.leases.resource IS 'schema, or data/VERSION.';
COMMENT ON COLUMN dunlin.leases.owner IS 'The process that holds it (a random UUID); NULL: nobody.';
COMMENT ON COLUMN dunlin.leases.host IS 'Its host.';
COMMENT ON COLUMN dunlin.leases.pid IS 'Its process number there.';
COMMENT ON COLUMN dunlin.leases.identity IS 'Tells on the same machine whether that process still lives.';
COMMENT ON COLUMN dunlin.leases.token IS 'The fencing token: grows with every change of hands.';
COMMENT ON COLUMN dunlin.leases.expires_at IS 'When others may take it, by this server''s clock.';
COMMENT ON TABLE dunlin.segments IS 'Fence and checkpoint: every commit compares and changes its row here first.';
COMMENT ON COLUMN dunlin.segments.job IS 'The resource.';
COMMENT ON COLUMN dunlin.segments.seg IS 'The worker''s share; 0 for migrations.';
COMMENT ON COLUMN dunlin.segments.lo IS 'Where the share begins.';
COMMENT ON COLUMN dunlin.segments.upto IS 'The checkpoint; for migrations the number of commits.';
COMMENT ON COLUMN dunlin.segments.hi IS 'Where the share ends; empty for migrations.';
COMMENT ON COLUMN dunlin.segments.token IS 'The token that may commit.';
COMMENT ON COLUMN dunlin.segments.rows IS 'Rows done so far.';
COMMENT ON TABLE dunlin.runs IS 'One row for each attempt to execute a plan.';
COMMENT ON COLUMN dunlin.runs.id IS 'A random UUID.';
COMMENT ON COLUMN dunlin.runs.owner IS 'The process (a random UUID).';
COMMENT ON COLUMN dunlin.runs.host IS 'Its host.';
COMMENT ON COLUMN dunlin.runs.pid IS 'Its process number there.';
COMMENT ON COLUMN dunlin.runs.command IS 'The command that was given.';
COMMENT ON COLUMN dunlin.runs.program IS 'The version of Dunlin.';
COMMENT ON COLUMN dunlin.runs.started_at IS 'When it began.';
COMMENT ON COLUMN dunlin.runs.finished_at IS 'When it ended.';
COMMENT ON COLUMN dunlin.runs.outcome IS 'done, failed or stopped; NULL: still at work, or died.';
COMMENT ON VIEW dunlin.data_migrations IS 'Where each data migration stands: pending, running, done, failed, skipped or retired. For other tools; stable.';
";

/// What formats 2 and 3 added: backfills, and new values beside the old ones that are kept for their
/// undo. It changes a ledger of an older format and leaves one of format 3 as it is. Half of each page
/// of what is kept is left free: new values come a moment later, and a row that finds room beside
/// itself needs no new entries in the indexes.
pub(crate) const BACKFILLS: &str = r#"
ALTER TABLE dunlin.segments ADD COLUMN IF NOT EXISTS attempts integer NOT NULL DEFAULT 0;
CREATE TABLE IF NOT EXISTS dunlin.backfills (
    job                text COLLATE "C" PRIMARY KEY,
    version            bigint NOT NULL,
    pass               integer NOT NULL,
    phase              text NOT NULL,
    round              integer NOT NULL,
    table_name         text NOT NULL,
    key_columns        text NOT NULL,
    shape              text NOT NULL,
    state              text NOT NULL,
    reason             text,
    row_count_estimate bigint,
    rows_before        bigint NOT NULL DEFAULT 0,
    workers            integer NOT NULL DEFAULT 0,
    chunk_rows         bigint NOT NULL DEFAULT 0,
    chunk_ms           bigint NOT NULL DEFAULT 0,
    rows_per_second    bigint NOT NULL DEFAULT 0,
    seconds_left_min   bigint NOT NULL DEFAULT 0,
    seconds_left_max   bigint NOT NULL DEFAULT 0,
    intent             text NOT NULL DEFAULT 'run',
    intent_by          text,
    intent_workers     integer,
    intent_rate        bigint,
    started_at         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated_at         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE TABLE IF NOT EXISTS dunlin.quarantine (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job    text COLLATE "C" NOT NULL,
    pass   integer NOT NULL,
    key    text COLLATE "C" NOT NULL,
    error  text NOT NULL,
    at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    UNIQUE (job, pass, key)
);
CREATE TABLE IF NOT EXISTS dunlin.captured (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job         text COLLATE "C" NOT NULL,
    pass        integer NOT NULL,
    key         text COLLATE "C" NOT NULL,
    old_values  jsonb NOT NULL,
    xmin_before text NOT NULL,
    xmin_after  text NOT NULL,
    forget_at   timestamptz NOT NULL,
    new_values  jsonb
) WITH (fillfactor = 50);
ALTER TABLE dunlin.captured ADD COLUMN IF NOT EXISTS new_values jsonb;
DROP INDEX IF EXISTS dunlin.captured_key;
CREATE INDEX IF NOT EXISTS captured_job ON dunlin.captured (job, pass, number);
CREATE INDEX IF NOT EXISTS captured_forget_at ON dunlin.captured (forget_at);
COMMENT ON COLUMN dunlin.segments.attempts IS 'Claims of the lease since its last commit.';
COMMENT ON TABLE dunlin.backfills IS 'Where each chunked data migration is. UPDATE dunlin.backfills SET intent = ''pause'' holds them all.';
COMMENT ON COLUMN dunlin.backfills.job IS 'The resource.';
COMMENT ON COLUMN dunlin.backfills.version IS 'The migration''s version.';
COMMENT ON COLUMN dunlin.backfills.pass IS 'The pass it belongs to.';
COMMENT ON COLUMN dunlin.backfills.phase IS 'forward, or undo.';
COMMENT ON COLUMN dunlin.backfills.round IS 'Which walk over the table this is, from 1.';
COMMENT ON COLUMN dunlin.backfills.table_name IS 'The table that is walked.';
COMMENT ON COLUMN dunlin.backfills.key_columns IS 'What it is walked by, as JSON.';
COMMENT ON COLUMN dunlin.backfills.shape IS 'The table''s shape that the segments were planned for.';
COMMENT ON COLUMN dunlin.backfills.state IS 'running, paused, stopped, failed, cancelled, quarantined, done or undone: what its worker last said.';
COMMENT ON COLUMN dunlin.backfills.reason IS 'Why it is so: what throttles it, what it waits for.';
COMMENT ON COLUMN dunlin.backfills.row_count_estimate IS 'Rows that were to be done, estimated at the start.';
COMMENT ON COLUMN dunlin.backfills.rows_before IS 'Rows done in earlier walks of this pass.';
COMMENT ON COLUMN dunlin.backfills.workers IS 'Workers at work.';
COMMENT ON COLUMN dunlin.backfills.chunk_rows IS 'Rows of a chunk at present.';
COMMENT ON COLUMN dunlin.backfills.chunk_ms IS 'How long the last chunks took, in milliseconds.';
COMMENT ON COLUMN dunlin.backfills.rows_per_second IS 'Rows a second at present.';
COMMENT ON COLUMN dunlin.backfills.seconds_left_min IS 'The least time that is left, in seconds; 0: unknown.';
COMMENT ON COLUMN dunlin.backfills.seconds_left_max IS 'The most time that is left, in seconds; 0: unknown.';
COMMENT ON COLUMN dunlin.backfills.intent IS 'What people want: run, pause or cancel. May be written by hand.';
COMMENT ON COLUMN dunlin.backfills.intent_by IS 'Who wanted it.';
COMMENT ON COLUMN dunlin.backfills.intent_workers IS 'So many workers instead of those of the file.';
COMMENT ON COLUMN dunlin.backfills.intent_rate IS 'So many rows a second at most; 0: no limit.';
COMMENT ON COLUMN dunlin.backfills.started_at IS 'When this pass and phase began.';
COMMENT ON COLUMN dunlin.backfills.updated_at IS 'When its worker last said something.';
COMMENT ON TABLE dunlin.quarantine IS 'Rows that failed and were set aside. Keys are data.';
COMMENT ON COLUMN dunlin.quarantine.number IS 'The order in which they came.';
COMMENT ON COLUMN dunlin.quarantine.job IS 'The resource.';
COMMENT ON COLUMN dunlin.quarantine.pass IS 'The pass it belongs to.';
COMMENT ON COLUMN dunlin.quarantine.key IS 'The row''s key, as a JSON list of texts.';
COMMENT ON COLUMN dunlin.quarantine.error IS 'Its error, without row values.';
COMMENT ON COLUMN dunlin.quarantine.at IS 'When.';
COMMENT ON TABLE dunlin.captured IS 'Old values of rows that a backfill changed, for its undo.';
COMMENT ON COLUMN dunlin.captured.number IS 'The order in which they were changed.';
COMMENT ON COLUMN dunlin.captured.job IS 'The resource.';
COMMENT ON COLUMN dunlin.captured.pass IS 'The pass it belongs to.';
COMMENT ON COLUMN dunlin.captured.key IS 'The row''s key, as a JSON list of texts.';
COMMENT ON COLUMN dunlin.captured.old_values IS 'The columns'' texts as they were; under the empty name a tag of their types.';
COMMENT ON COLUMN dunlin.captured.new_values IS 'The same after the chunk: other ones mean that the row was changed since. NULL: the chunk deleted it.';
COMMENT ON COLUMN dunlin.captured.xmin_before IS 'The row''s xmin before the chunk.';
COMMENT ON COLUMN dunlin.captured.xmin_after IS 'The row''s xmin after the chunk. `deleted`: the chunk deleted it.';
COMMENT ON COLUMN dunlin.captured.forget_at IS 'When it may be forgotten.';
"#;
