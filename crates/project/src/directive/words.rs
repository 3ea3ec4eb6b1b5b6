//! The words that a header may use: the one table behind parsing, messages and the reference.

use super::Subject;

/// What a word sets; parsing is one match over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sets {
    NoTransaction,
    LockTimeout,
    StatementTimeout,
    After,
    Requires,
    IndependentOf,
    Environments,
    Manual,
    Disabled,
    ForeignKeys,
    KeepOutput,
    ChunkBy,
    ChunkKey,
    ChunkWhere,
    ChunkRows,
    ChunkBytes,
    ChunkTime,
    Workers,
    Rate,
    OnError,
    Undo,
    Repeat,
    Background,
    DoneWhen,
}

/// One word of the header's grammar, with its documentation.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// Lower case with hyphens.
    pub name: &'static str,
    /// What is written after it; empty for none.
    pub value: &'static str,
    /// The headers that it may stand in.
    pub subjects: &'static [Subject],
    /// May be written more than once, each adding to the ones before.
    pub repeats: bool,
    /// What it does, in full sentences.
    pub meaning: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// A line that is valid in the first of its subjects.
    pub example: &'static str,
    pub(crate) sets: Sets,
}

impl Word {
    /// It says something about chunks, so it means nothing without `chunk-by` (or `[rows]`).
    #[must_use]
    pub fn needs_chunks(&self) -> bool {
        matches!(
            self.sets,
            Sets::ChunkKey
                | Sets::ChunkWhere
                | Sets::ChunkRows
                | Sets::ChunkBytes
                | Sets::ChunkTime
                | Sets::Workers
                | Sets::Rate
                | Sets::OnError
                | Sets::Undo
                | Sets::Repeat
        )
    }

    /// What follows it is SQL, taken as it is written: no items, no strings of ours.
    #[must_use]
    pub fn takes_sql(&self) -> bool {
        matches!(self.sets, Sets::ChunkBy | Sets::ChunkKey | Sets::ChunkWhere | Sets::DoneWhen)
    }
}

const SQL: &[Subject] = &[Subject::SchemaUp, Subject::SchemaDown, Subject::DataSql];
const LOCKING: &[Subject] =
    &[Subject::SchemaUp, Subject::SchemaDown, Subject::DataSql, Subject::Rows];
const EVERY: &[Subject] =
    &[Subject::SchemaUp, Subject::SchemaDown, Subject::DataSql, Subject::Program, Subject::Rows];
const UPWARD: &[Subject] = &[Subject::SchemaUp, Subject::DataSql, Subject::Program, Subject::Rows];
const SCHEMA: &[Subject] = &[Subject::SchemaUp];
const DESTRUCTIVE: &[Subject] = &[Subject::SchemaUp, Subject::DataSql];
const DATA: &[Subject] = &[Subject::DataSql, Subject::Program, Subject::Rows];
const DATA_SQL: &[Subject] = &[Subject::DataSql];
const CHUNKED: &[Subject] = &[Subject::DataSql, Subject::Rows];
const PROGRAM: &[Subject] = &[Subject::Program];

/// Every word, in the order of the reference.
pub const WORDS: &[Word] = &[
    Word {
        name: "no-transaction",
        value: "",
        subjects: SQL,
        repeats: false,
        meaning: "Each statement is a step of its own: sent alone, outside a transaction, and \
                  journalled before and after. Needed for statements that cannot run in a \
                  transaction, such as `CREATE INDEX CONCURRENTLY`. A later run goes on at the \
                  statement that failed. A file whose very first line is `-- no-transaction` (the \
                  form of sqlx) is treated the same.",
        default: "the file and its ledger row are one transaction, where the database can do that",
        example: "no-transaction",
        sets: Sets::NoTransaction,
    },
    Word {
        name: "lock-timeout",
        value: "DURATION",
        subjects: LOCKING,
        repeats: false,
        meaning: "How long a statement waits for a lock before the attempt is given up and made \
                  again later.",
        default: "`lock_timeout` in `dunlin.toml`, else 5 s",
        example: "lock-timeout 2s",
        sets: Sets::LockTimeout,
    },
    Word {
        name: "statement-timeout",
        value: "DURATION",
        subjects: EVERY,
        repeats: false,
        meaning: "How long one statement may take; for a program, how long the whole program may \
                  take before its process group is ended.",
        default: "`statement_timeout` in `dunlin.toml`, else no limit",
        example: "statement-timeout 10min",
        sets: Sets::StatementTimeout,
    },
    Word {
        name: "after",
        value: "[schema | data] VERSION …",
        subjects: UPWARD,
        repeats: true,
        meaning: "Runs only once all of these are applied. A bare version is one of ours or of the \
                  other tool's history that the database keeps (`blog.0003_split_names`, \
                  `ae1027a6acf`). `schema` or `data` says which kind is meant, for every version \
                  that follows it on this directive.",
        default: "the order of versions alone",
        example: "after 20260110093000",
        sets: Sets::After,
    },
    Word {
        name: "requires",
        value: "data VERSION …",
        subjects: SCHEMA,
        repeats: true,
        meaning: "This schema migration is held until these data migrations are done.",
        default: "held only where it drops, renames, retypes or truncates something while a lower \
                  data migration is pending",
        example: "requires data 20260110094500",
        sets: Sets::Requires,
    },
    Word {
        name: "independent-of",
        value: "data VERSION …",
        subjects: DESTRUCTIVE,
        repeats: true,
        meaning: "This migration is not held by these data migrations, although it takes something \
                  away: they do not need it.",
        default: "every pending data migration of a lower version holds it, if it takes something \
                  away",
        example: "independent-of data 20260110094500",
        sets: Sets::IndependentOf,
    },
    Word {
        name: "environments",
        value: "NAME …",
        subjects: UPWARD,
        repeats: false,
        meaning: "Runs only in these environments (`--env`, `DUNLIN_ENV`), and is recorded as \
                  skipped in others, which opens the gates that wait for it there. An environment \
                  that it names still has to run it, on the same database too. Where no \
                  environment is set it is held: nobody knows.",
        default: "every environment",
        example: "environments production staging",
        sets: Sets::Environments,
    },
    Word {
        name: "manual",
        value: "",
        subjects: DATA,
        repeats: false,
        meaning: "Only ever run by name: `dunlin data run VERSION`.",
        default: "run by whatever runs data migrations",
        example: "manual",
        sets: Sets::Manual,
    },
    Word {
        name: "disabled",
        value: "\"REASON\"",
        subjects: UPWARD,
        repeats: false,
        meaning: "Not run, and said so with the reason. What waits for it goes on waiting.",
        default: "enabled",
        example: "disabled \"waiting for the new billing API\"",
        sets: Sets::Disabled,
    },
    Word {
        name: "foreign-keys",
        value: "off",
        subjects: SQL,
        repeats: false,
        meaning: "SQLite: foreign keys are not enforced while the file runs, and \
                  `foreign_key_check` must pass before the commit. For rebuilding a table that \
                  others refer to.",
        default: "not enforced, as in the sqlite3 program, and not checked",
        example: "foreign-keys off",
        sets: Sets::ForeignKeys,
    },
    Word {
        name: "keep-output",
        value: "",
        subjects: PROGRAM,
        repeats: false,
        meaning: "The last 64 KiB of the program's output go to the ledger, secrets masked.",
        default: "the output goes to stderr only",
        example: "keep-output",
        sets: Sets::KeepOutput,
    },
    Word {
        name: "chunk-by",
        value: "TABLE",
        subjects: DATA_SQL,
        repeats: false,
        meaning: "The migration runs chunk by chunk over this table: each statement of the file has \
                  a `:chunk` in its conditions, which becomes a range of the table's keys \
                  (`:chunk(p)` for an alias). All statements of a chunk, and how far the migration \
                  is, commit in one transaction. The table is written as in SQL, quotes included.",
        default: "the file is one transaction",
        example: "chunk-by posts",
        sets: Sets::ChunkBy,
    },
    Word {
        name: "chunk-key",
        value: "COLUMN, …",
        subjects: DATA_SQL,
        repeats: false,
        meaning: "The columns that the table is walked by, at most four, with commas or spaces \
                  between them: those of a unique index. Rows that share a key could be cut apart, \
                  so a key that is not unique is refused.",
        default: "the primary key, else the best unique index without nullable columns",
        example: "chunk-key tenant_id, id",
        sets: Sets::ChunkKey,
    },
    Word {
        name: "chunk-where",
        value: "SQL",
        subjects: DATA_SQL,
        repeats: false,
        meaning: "Which rows matter, as a condition on the table's columns, for the size of chunks, \
                  for progress, and for what `undo capture` keeps. It does not change what the \
                  statements do.",
        default: "every row of the table",
        example: "chunk-where published_at IS NULL",
        sets: Sets::ChunkWhere,
    },
    Word {
        name: "chunk-rows",
        value: "N",
        subjects: CHUNKED,
        repeats: false,
        meaning: "A chunk has at most so many rows, from 1 to 1000000.",
        default: "as many as fit `chunk-time` and `chunk-bytes`",
        example: "chunk-rows 5000",
        sets: Sets::ChunkRows,
    },
    Word {
        name: "chunk-bytes",
        value: "SIZE",
        subjects: CHUNKED,
        repeats: false,
        meaning: "A chunk has at most about so many bytes of rows, from `1KB` to `1GB`. A SIZE is a \
                  number with its unit: `KB`, `MB` and `GB` count in thousands, `KiB`, `MiB` and \
                  `GiB` in 1024s.",
        default: "a budget by the database",
        example: "chunk-bytes 16MB",
        sets: Sets::ChunkBytes,
    },
    Word {
        name: "chunk-time",
        value: "DURATION",
        subjects: CHUNKED,
        repeats: false,
        meaning: "How long a chunk should take, at most `10min`: its size follows from that, \
                  measured.",
        default: "`chunk_time` under `[backfill]` in `dunlin.toml`",
        example: "chunk-time 500ms",
        sets: Sets::ChunkTime,
    },
    Word {
        name: "workers",
        value: "N",
        subjects: CHUNKED,
        repeats: false,
        meaning: "So many chunks run at once, each on a connection of its own, from 1 to 64. SQLite \
                  has one writer: there it is 1.",
        default: "`workers` under `[backfill]` in `dunlin.toml`, else 1",
        example: "workers 2",
        sets: Sets::Workers,
    },
    Word {
        name: "rate",
        value: "N rows/s",
        subjects: CHUNKED,
        repeats: false,
        meaning: "At most so many rows a second, over all workers.",
        default: "no fixed limit: the database's health sets the pace",
        example: "rate 5000 rows/s",
        sets: Sets::Rate,
    },
    Word {
        name: "on-error",
        value: "stop | quarantine",
        subjects: CHUNKED,
        repeats: false,
        meaning: "What happens when a row fails. `stop`: the run stops, with the row's key and the \
                  error. `quarantine`: the chunk is halved until the row stands alone, its key and \
                  error are noted, and the rest goes on.",
        default: "`stop`",
        example: "on-error quarantine",
        sets: Sets::OnError,
    },
    Word {
        name: "undo",
        value: "capture for DURATION",
        subjects: CHUNKED,
        repeats: false,
        meaning: "Old values are kept in the chunk's transaction for so long (`14 days`, `14d`, \
                  `36h`; at most 3650 days): `dunlin data undo VERSION` puts them back. Every \
                  statement must be an UPDATE or a DELETE of the table that is walked, and say in \
                  its condition what `chunk-where` says. Refused where triggers or foreign keys \
                  would change more, or change what comes back.",
        default: "old values are not kept",
        example: "undo capture for 14 days",
        sets: Sets::Undo,
    },
    Word {
        name: "repeat",
        value: "until-done max N",
        subjects: CHUNKED,
        repeats: false,
        meaning: "The table is walked again while `done-when` does not hold, so often at most in \
                  all, from 2 to 100.",
        default: "the table is walked once",
        example: "repeat until-done max 5",
        sets: Sets::Repeat,
    },
    Word {
        name: "background",
        value: "",
        subjects: DATA,
        repeats: false,
        meaning: "`migrate` names it and does not run it; `dunlin data run --background` does. An \
                  environment with `data = \"auto\"` runs it in its turn all the same.",
        default: "run by whatever runs data migrations",
        example: "background",
        sets: Sets::Background,
    },
    Word {
        name: "done-when",
        value: "SQL",
        subjects: DATA,
        repeats: false,
        meaning: "One query (SELECT, WITH or VALUES) with one value, which is true once all is as it \
                  should be. It is checked in the end, and the migration fails if it does not hold; \
                  if it holds before the start, there is nothing to do.",
        default: "the migration is done when it has run",
        example: "done-when SELECT NOT EXISTS (SELECT 1 FROM posts WHERE published_at IS NULL)",
        sets: Sets::DoneWhen,
    },
];

/// The word of that name.
pub(crate) fn find(name: &str) -> Option<&'static Word> {
    WORDS.iter().find(|word| word.name == name)
}
