//! The keys of `dunlin.toml`: the one table behind reading, messages, the JSON schema and the
//! reference.

use dunlin_model::HistoryTool;

/// What a key sets; reading is one match over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sets {
    Url,
    DirectUrl,
    Migrations,
    DataMigrations,
    SchemaHistory,
    Data,
    OutOfOrder,
    LockTimeout,
    StatementTimeout,
    ConnectTimeout,
    Protected,
    ReplicaUrls,
    Throttle,
    ChunkTime,
    Workers,
}

/// The table that a key may stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The top of the file: for every database and environment.
    Top,
    /// `[databases.NAME]`, or `[environments.NAME.databases.NAME]`.
    Database,
    /// `[environments.NAME]`.
    Environment,
    /// `[backfill]`, or that table in a database's or an environment's.
    Backfill,
}

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    /// A URL, with `${VARIABLE}`s.
    Url,
    /// A list of those.
    Urls,
    /// A whole number within these bounds.
    Number(u32, u32),
    /// A folder, relative to the file.
    Folder,
    /// A duration with its unit.
    Duration,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    OneOf(fn() -> Vec<&'static str>),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) scopes: &'static [Scope],
    /// What it does, in full sentences.
    pub(super) meaning: &'static str,
    /// What holds without it.
    pub(super) default: &'static str,
    /// A value as it is written.
    pub(super) example: &'static str,
    pub(super) sets: Sets,
}

const EVERYWHERE: &[Scope] = &[Scope::Top, Scope::Database, Scope::Environment];
const DATABASE: &[Scope] = &[Scope::Database];
const BACKFILL: &[Scope] = &[Scope::Backfill];

/// Every key, in the order of the reference.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "url",
        takes: Takes::Url,
        scopes: DATABASE,
        meaning: "Where the database is: `sqlite:app.db`, `postgres://user@host/name`, \
                  `mysql://user@host/name`; for moves also `files:folder`. `${VARIABLE}` and `${VARIABLE:-default}` stand for \
                  variables of the environment, so that no password is in the file; `$${` stands \
                  for `${` itself.",
        default: "not set: the commands that use this database ask for it",
        example: "\"${DATABASE_URL}\"",
        sets: Sets::Url,
    },
    Key {
        name: "direct_url",
        takes: Takes::Url,
        scopes: DATABASE,
        meaning: "The server itself, where `url` is a pooler's (pgbouncer): steps outside a \
                  transaction go there, so that their timeouts apply.",
        default: "`url` is used for everything",
        example: "\"${DIRECT_DATABASE_URL}\"",
        sets: Sets::DirectUrl,
    },
    Key {
        name: "replica_urls",
        takes: Takes::Urls,
        scopes: DATABASE,
        meaning: "The database's replicas: a backfill slows down where one of them falls behind. An \
                  entry that is one empty variable counts for nothing.",
        default: "replicas are not looked at",
        example: "[\"${REPLICA_URL}\"]",
        sets: Sets::ReplicaUrls,
    },
    Key {
        name: "migrations",
        takes: Takes::Folder,
        scopes: DATABASE,
        meaning: "The folder of schema migrations.",
        default: "`migrations` for a single database, `migrations/NAME` for several; none where \
                  `schema_history` names another tool",
        example: "\"migrations\"",
        sets: Sets::Migrations,
    },
    Key {
        name: "data_migrations",
        takes: Takes::Folder,
        scopes: DATABASE,
        meaning: "The folder of data migrations.",
        default: "`data_migrations` for a single database, `data_migrations/NAME` for several",
        example: "\"data_migrations\"",
        sets: Sets::DataMigrations,
    },
    Key {
        name: "schema_history",
        takes: Takes::OneOf(histories),
        scopes: DATABASE,
        meaning: "The tool that migrates the schema, whose history is read (never written) and \
                  checked by `after` and `requires`; `none` looks for none.",
        default: "found by itself when there is one",
        example: "\"rails\"",
        sets: Sets::SchemaHistory,
    },
    Key {
        name: "data",
        takes: Takes::OneOf(data_modes),
        scopes: EVERYWHERE,
        meaning: "When `migrate` runs data migrations. `auto`: with the schema, in one order; \
                  `manual`: only with `--with-data`, or by `dunlin data run`; `skip`: never, they \
                  are recorded as skipped, which opens gates here, and not for an environment on the \
                  same database that doesn't skip them.",
        default: "`manual`",
        example: "\"auto\"",
        sets: Sets::Data,
    },
    Key {
        name: "out_of_order",
        takes: Takes::OneOf(orders),
        scopes: EVERYWHERE,
        meaning: "What happens to a late-merged file, with a version lower than the newest applied \
                  one. `allow`: it runs, with a notice; `error`: nothing runs.",
        default: "`allow`",
        example: "\"error\"",
        sets: Sets::OutOfOrder,
    },
    Key {
        name: "lock_timeout",
        takes: Takes::Duration,
        scopes: EVERYWHERE,
        meaning: "How long a statement waits for a lock before the attempt is given up and made \
                  again later.",
        default: "`5s`: long enough for ordinary transactions to end, short enough that what \
                  queues behind a waiting DDL statement is not felt as an outage",
        example: "\"2s\"",
        sets: Sets::LockTimeout,
    },
    Key {
        name: "statement_timeout",
        takes: Takes::Duration,
        scopes: EVERYWHERE,
        meaning: "How long one statement may take; for a program, how long the whole program may.",
        default: "no limit: a migration may rightly take hours",
        example: "\"10min\"",
        sets: Sets::StatementTimeout,
    },
    Key {
        name: "connect_timeout",
        takes: Takes::Duration,
        scopes: EVERYWHERE,
        meaning: "How long making a connection may take.",
        default: "`10s`: longer than a lost packet is sent again, shorter than anyone waits",
        example: "\"10s\"",
        sets: Sets::ConnectTimeout,
    },
    Key {
        name: "protected",
        takes: Takes::Flag,
        scopes: &[Scope::Top, Scope::Environment],
        meaning: "`drop` and `reset` are refused.",
        default: "`false`",
        example: "true",
        sets: Sets::Protected,
    },
    Key {
        name: "throttle",
        takes: Takes::OneOf(throttles),
        scopes: BACKFILL,
        meaning: "Whether a backfill slows down for the database's health. `mild`: it gives way \
                  before others feel it; `off`: only the `rate` of a migration's header bounds it.",
        default: "`mild`",
        example: "\"off\"",
        sets: Sets::Throttle,
    },
    Key {
        name: "chunk_time",
        takes: Takes::Duration,
        scopes: BACKFILL,
        meaning: "How long a chunk should take, where the migration's header does not say: its size \
                  follows from that, measured. At most `10min`.",
        default: "`500ms`; `50ms` on SQLite, whose one writer keeps all others out",
        example: "\"500ms\"",
        sets: Sets::ChunkTime,
    },
    Key {
        name: "workers",
        takes: Takes::Number(1, 64),
        scopes: BACKFILL,
        meaning: "So many chunks of a backfill run at once, each on a connection of its own, where \
                  the migration's header does not say.",
        default: "`1`",
        example: "2",
        sets: Sets::Workers,
    },
];

/// The key of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The names of the keys of a table, and of the tables in it.
pub(super) fn names(scope: Scope) -> Vec<&'static str> {
    let keys = KEYS.iter().filter(|key| key.scopes.contains(&scope)).map(|key| key.name);
    keys.chain(tables(scope).iter().copied()).collect()
}

/// The tables that may stand in a table.
pub(super) fn tables(scope: Scope) -> &'static [&'static str] {
    match scope {
        Scope::Top => &["backfill", "databases", "environments"],
        Scope::Database => &["backfill"],
        Scope::Environment => &["backfill", "databases"],
        Scope::Backfill => &[],
    }
}

fn histories() -> Vec<&'static str> {
    HistoryTool::ALL.into_iter().map(HistoryTool::as_str).chain(["none"]).collect()
}

fn data_modes() -> Vec<&'static str> {
    vec!["auto", "manual", "skip"]
}

fn orders() -> Vec<&'static str> {
    vec!["allow", "error"]
}

fn throttles() -> Vec<&'static str> {
    vec!["mild", "off"]
}
