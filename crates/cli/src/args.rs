//! The command line, as it is typed.

mod data;
#[cfg(feature = "move")]
mod moves;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dunlin::model::Version;

pub(crate) use self::data::{
    DataCommand, DataPlanArgs, DataRunArgs, DataSetArgs, DataStatusArgs, DataUndoArgs, DiscardArgs,
    QuarantineCommand, RetryArgs,
};

#[cfg(feature = "move")]
pub(crate) use self::moves::{
    MoveCommand, MoveFinishArgs, MoveIdsCommand, MoveRejectsArgs, MoveReopenArgs, MoveRestoreArgs,
    MoveRunArgs, MoveSampleArgs, MoveSetArgs, MoveStatusArgs, MoveVerifyArgs, NewMoveArgs,
};

/// Changes the shape of the data that applications live on, without losing any.
#[derive(Debug, Parser)]
#[command(name = "dunlin", version, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done; 1 failed; 2 usage or configuration; 3 something is pending; 4 drift;\n5 somebody else holds the lease; 6 rows remain; 7 stopped by a person."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The environment whose settings apply; there is no default
    #[arg(long, global = true, value_name = "NAME", env = "DUNLIN_ENV")]
    pub(crate) env: Option<String>,
    /// The configuration file [default: dunlin.toml here or in a folder above]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One of several databases, by its name in dunlin.toml
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// A database without dunlin.toml: sqlite://…, postgres://…, mysql://… [env: DATABASE_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// The folder of schema migrations
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) migrations: Option<PathBuf>,
    /// The folder of data migrations
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_migrations: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented dunlin.toml and the folders
    Init(InitArgs),
    /// Write a new migration file
    New(NewArgs),
    /// Show where each database stands
    Status,
    /// Print what `migrate` would do, statement by statement; changes nothing
    Plan(MigrateScope),
    /// Exit with 3 if something is pending
    Check(CheckArgs),
    /// Wait until the database answers
    Wait(WaitArgs),
    /// Run pending migrations
    Migrate(MigrateArgs),
    /// Undo schema migrations
    Rollback(RollbackArgs),
    /// Undo the last schema migration and run it again
    Redo(YesArgs),
    /// Data migrations, one by one or all
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// An old application's data into a new application's shape
    #[cfg(feature = "move")]
    Move {
        #[command(subcommand)]
        command: MoveCommand,
    },
    /// Declare that an existing database is at a version
    Baseline(BaselineArgs),
    /// Accept the new text of a migration that was edited after it was applied
    Accept(AcceptArgs),
    /// Tell what became of a statement whose outcome could not be known
    Settle(SettleArgs),
    /// Create the database
    Create,
    /// Drop the database with everything in it
    Drop(YesArgs),
    /// Drop the database, create it, and run all migrations
    Reset(YesArgs),
    /// See it work: an application on SQLite, in seconds, without a server
    Demo(DemoArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the generated reference pages into a folder
    #[command(hide = true)]
    Reference {
        /// The folder
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder to begin in
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    #[command(subcommand)]
    pub(crate) what: NewCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NewCommand {
    /// A schema migration: an up and a down file
    Schema {
        /// What it does, such as add_published_at
        name: String,
    },
    /// A data migration: SQL, or a program
    Data {
        /// What it does, such as backfill_published_at
        name: String,
        /// A program instead of SQL
        #[arg(long, value_enum, value_name = "KIND")]
        program: Option<ProgramKind>,
        /// Over the rows of this table, chunk by chunk, in the background; with --program the
        /// program gets the rows
        #[arg(long, value_name = "TABLE")]
        chunk_by: Option<String>,
    },
    /// A mapping: an old database into a new one; looks at both for what is plain
    #[cfg(feature = "move")]
    Move(NewMoveArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgramKind {
    /// Ruby through bin/rails runner
    Rails,
    /// Elixir through a release's `bin/app eval`
    MixRelease,
    /// Python through manage.py shell
    Django,
    /// Python
    Python,
    /// A shell script
    Sh,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MigrateScope {
    /// Nothing above this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<Version>,
    /// At most so many migrations
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) step: Option<usize>,
    /// Data migrations too, although this environment says manual
    #[arg(long)]
    pub(crate) with_data: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Waiting {
    /// How long to wait for another runner's lease
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = duration)]
    pub(crate) lease_wait: Duration,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { lease_wait: Duration::from_secs(600) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) scope: MigrateScope,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Exit with 3 if a migration is held
    #[arg(long)]
    pub(crate) fail_if_held: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Only schema migrations count
    #[arg(long, conflicts_with = "data")]
    pub(crate) schema_only: bool,
    /// Only this data migration counts: 0 if it is done, 3 if not
    #[arg(long, value_name = "VERSION")]
    pub(crate) data: Option<Version>,
}

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// How long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Until nothing is pending, too
    #[arg(long)]
    pub(crate) migrated: bool,
    /// With --migrated: only schema migrations count
    #[arg(long, requires = "migrated")]
    pub(crate) schema_only: bool,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("far").required(true)))]
pub(crate) struct RollbackArgs {
    /// Down to this version, which stays; 0: down to nothing (but a version 0)
    #[arg(long, value_name = "VERSION", group = "far")]
    pub(crate) to: Option<Version>,
    /// Down to this version, which goes too
    #[arg(long, value_name = "VERSION", group = "far")]
    pub(crate) through: Option<Version>,
    /// So many, newest first
    #[arg(long, value_name = "N", value_parser = at_least_one, group = "far")]
    pub(crate) step: Option<usize>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) yes: YesArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct YesArgs {
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BecauseArgs {
    /// Its version
    pub(crate) version: Version,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: String,
}

#[derive(Debug, Args)]
pub(crate) struct BaselineArgs {
    /// The version
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Version,
    #[command(flatten)]
    pub(crate) yes: YesArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    /// Its version
    pub(crate) version: Version,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: String,
}

#[derive(Debug, Args)]
pub(crate) struct SettleArgs {
    /// The migration's version
    pub(crate) version: Version,
    /// Whether the statement took effect
    #[arg(value_enum)]
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Outcome {
    /// It did: go on with the next
    TookEffect,
    /// It did not: run it again
    DidNot,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DemoArgs {
    /// The folder to make it in
    #[arg(default_value = "demo-app")]
    pub(crate) folder: PathBuf,
    #[command(subcommand)]
    pub(crate) what: Option<DemoCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DemoCommand {
    /// An old shop's database into a new one's shape, three times
    #[cfg(feature = "move")]
    Move {
        /// The folder to make it in
        #[arg(long, value_name = "DIR", default_value = "demo-move")]
        folder: PathBuf,
    },
}

/// A count of migrations: none would be nothing to do, which is not what anybody means.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err(format!("`{text}` is no number: write how many, such as 1")),
    }
}

/// A duration with its unit: `2s`, `10min`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let help = "write a number with its unit, such as 30s or 10min";
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| format!("`{text}` is no duration: {help}"))?;
    Duration::try_from(parsed).map_err(|_| format!("`{text}` is negative: {help}"))
}
