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

const SQL: &[Subject] = &[Subject::SchemaUp, Subject::SchemaDown, Subject::DataSql];
const EVERY: &[Subject] =
    &[Subject::SchemaUp, Subject::SchemaDown, Subject::DataSql, Subject::Program];
const UPWARD: &[Subject] = &[Subject::SchemaUp, Subject::DataSql, Subject::Program];
const SCHEMA: &[Subject] = &[Subject::SchemaUp];
const DATA: &[Subject] = &[Subject::DataSql, Subject::Program];
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
        subjects: SQL,
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
        subjects: SCHEMA,
        repeats: true,
        meaning: "This schema migration is not held by these data migrations, although it takes \
                  something away: they do not need it.",
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
                  skipped in others, which opens the gates that wait for it. Where no \
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
];

/// The word of that name.
pub(crate) fn find(name: &str) -> Option<&'static Word> {
    WORDS.iter().find(|word| word.name == name)
}
