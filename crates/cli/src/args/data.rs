//! `data …`, as it is typed.

use clap::{ArgGroup, Args, Subcommand};
use dunlin::model::Version;

use super::{BecauseArgs, Waiting, YesArgs, at_least_one};

/// How many chunks `--sample` tries where it names no number: enough to see sizes settle.
const SAMPLE: &str = "3";

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Run pending data migrations, or these
    Run(DataRunArgs),
    /// Show data migrations, and how far those in chunks are
    Status(DataStatusArgs),
    /// Print what the chunks of a data migration will look like; changes nothing
    Plan(DataPlanArgs),
    /// Let a data migration that runs in chunks hold after the chunk under way
    Pause {
        /// Its version
        version: Version,
    },
    /// Let it go on
    Resume {
        /// Its version
        version: Version,
    },
    /// Let it stop after the chunk under way, for good; what is done stays done
    Cancel {
        /// Its version
        version: Version,
    },
    /// Change how fast it goes, while it goes
    Set(DataSetArgs),
    /// Rows that failed and were set aside
    Quarantine {
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// Put the values back that `undo capture` kept
    Undo(DataUndoArgs),
    /// Record that a data migration will not run here; opens no gate
    Skip(BecauseArgs),
    /// Run a data migration once more
    Rerun {
        /// Its version
        version: Version,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Record that a data migration will never run again anywhere; its file can go
    Retire {
        /// Its version
        version: Version,
        /// Why
        #[arg(long, value_name = "TEXT")]
        because: Option<String>,
    },
}

#[derive(Debug, Default, Args)]
pub(crate) struct DataRunArgs {
    /// Versions; all that are pending if none is named
    pub(crate) versions: Vec<Version>,
    /// Only those whose header says `background`, and go on looking for more until Ctrl-C
    #[arg(long)]
    pub(crate) background: bool,
    /// With --background: end when nothing is left to do
    #[arg(long, requires = "background")]
    pub(crate) until_idle: bool,
    /// Show a live table; without a terminal there is a line every 10 s in any case
    #[arg(long)]
    pub(crate) watch: bool,
    /// Do not slow down for the server's health
    #[arg(long)]
    pub(crate) no_throttle: bool,
    /// Chunks at once, whatever the header says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: Option<u32>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) step: Option<usize>,
    /// Run in transactions that are rolled back, and show the rows touched
    #[arg(long, conflicts_with_all = ["background", "watch"])]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct DataStatusArgs {
    /// Only this one
    pub(crate) version: Option<Version>,
    /// Read again every second, from any machine; Ctrl-C ends it
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DataPlanArgs {
    /// Its version
    pub(crate) version: Version,
    /// Run so many chunks in transactions that are rolled back. Triggers fire: what they do outside
    /// the database stays done
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = SAMPLE,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) sample: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct DataSetArgs {
    /// Its version
    pub(crate) version: Version,
    /// `workers=4`, `rate=2000/s`, `rate=off`
    #[arg(required = true, value_name = "SETTING")]
    pub(crate) settings: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// Show the rows, by key, and why they failed
    List {
        /// The data migration's version
        version: Version,
    },
    /// Try rows again: all of them, or one
    Retry(RetryArgs),
    /// Give rows up: nothing is done to them
    Discard(DiscardArgs),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which")))]
pub(crate) struct RetryArgs {
    /// The data migration's version
    pub(crate) version: Version,
    /// Only the row with this key, as `list` prints it: '["17"]'
    #[arg(long, value_name = "KEY", group = "which")]
    pub(crate) key: Option<String>,
    /// All of them, as without any option
    #[arg(long, group = "which")]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true)))]
pub(crate) struct DiscardArgs {
    /// The data migration's version
    pub(crate) version: Version,
    /// Only the row with this key, as `list` prints it: '["17"]'
    #[arg(long, value_name = "KEY", group = "which")]
    pub(crate) key: Option<String>,
    /// All of them
    #[arg(long, group = "which")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) yes: YesArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DataUndoArgs {
    /// Its version
    pub(crate) version: Version,
    #[command(flatten)]
    pub(crate) yes: YesArgs,
}
