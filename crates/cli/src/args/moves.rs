//! What is typed after `move`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use dunlin::project::moves::percent;

use super::{Waiting, YesArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum MoveCommand {
    /// What goes where, in what order; checks the mapping against both databases and writes nothing
    Plan(MoveName),
    /// Move what differs, and prove every row
    Run(MoveRunArgs),
    /// Compare, from the source, what should be there with what is; writes nothing
    Verify(MoveVerifyArgs),
    /// One old row, and each new row that it becomes; writes nothing
    Sample(MoveSampleArgs),
    /// How a move stands
    Status(MoveStatusArgs),
    /// Let a run hold after the chunk under way, and later ones not begin
    Pause(MoveName),
    /// Let it go on
    Resume(MoveName),
    /// Let a run stop after the chunk under way, and later ones not begin; what is written stays
    Cancel(MoveName),
    /// Change how fast it goes, while it goes
    Set(MoveSetArgs),
    /// The rows that the last run left out, nulled, merged or could not move
    Rejects(MoveRejectsArgs),
    /// Which old key became which id
    Ids {
        #[command(subcommand)]
        command: MoveIdsCommand,
    },
    /// The switch: the last run; later ones are refused
    Finish(MoveFinishArgs),
    /// Bring back the indexes and foreign keys that a run that died has left dropped
    Restore(MoveRestoreArgs),
    /// Allow runs of a finished move again
    Reopen(MoveReopenArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MoveName {
    /// The move: the name of a file in moves/
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct MoveRunArgs {
    /// The move: the name of a file in moves/
    pub(crate) name: String,
    /// Write nothing, and count what would be written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With --dry-run: also what some rows have now, and what they would get
    #[arg(long, requires = "dry_run")]
    pub(crate) show_values: bool,
    /// About how much memory the run may take, in MiB: half of it is for sets of keys, which go to
    /// temporary files beyond that
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) memory: u32,
    /// Let this run delete so much of a table, whatever the mapping's `max_deleted` says: 40%
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(crate) max_deleted: Option<u8>,
    /// Don't compare the rows in the end
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Chunks that may be written at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: Option<u32>,
    /// Rows written a second at most: 2000/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) rate: Option<u64>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct MoveFinishArgs {
    #[command(flatten)]
    pub(crate) run: MoveRunArgs,
    /// Drop Dunlin's tables from the new database once the move is finished
    #[arg(long, conflicts_with_all = ["dry_run", "no_verify"])]
    pub(crate) drop_ledger: bool,
    /// Before that, write the ids of each namespace into a file of this folder
    #[arg(long, value_name = "DIR", requires = "drop_ledger")]
    pub(crate) export_ids: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) yes: YesArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MoveVerifyArgs {
    /// The move: the name of a file in moves/
    pub(crate) name: String,
    /// Show so many of the rows of each rule that differ
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) rows: usize,
    /// Show what they have, and what they should have
    #[arg(long)]
    pub(crate) show_values: bool,
}

fn rate(text: &str) -> Result<u64, String> {
    crate::commands::rate(text).ok_or_else(|| "write 2000/s, for 2000 rows a second".to_owned())
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("say why, in a few words".to_owned()) } else { Ok(text.to_owned()) }
}

fn share(text: &str) -> Result<u8, String> {
    percent(text).ok_or_else(|| "write a share of a table's rows, such as 40%".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct MoveStatusArgs {
    /// The move: the name of a file in moves/
    pub(crate) name: String,
    /// Read again every second, from any machine; Ctrl-C ends it
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MoveSetArgs {
    /// The move: the name of a file in moves/
    pub(crate) name: String,
    /// `workers=4`, `rate=2000/s`, `rate=off`
    #[arg(required = true, value_name = "SETTING")]
    pub(crate) settings: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MoveSampleArgs {
    /// The move: the name of a file in moves/
    pub(crate) name: String,
    /// The source, as rules name it
    pub(crate) source: String,
    /// The old row's key; several columns with commas between them, values with a comma in quotes
    pub(crate) key: String,
}

#[derive(Debug, Args)]
pub(crate) struct MoveRejectsArgs {
    /// The move: the name of a file in moves/
    pub(crate) name: String,
    /// As CSV
    #[arg(long)]
    pub(crate) csv: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MoveIdsCommand {
    /// All of a namespace, as CSV: old,new
    Export {
        /// The move: the name of a file in moves/
        name: String,
        /// The namespace
        #[arg(long, value_name = "NAME")]
        namespace: String,
        /// As CSV: what it always is
        #[arg(long)]
        csv: bool,
        /// Into a file instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// One of them, by its old key or its id
    Show {
        /// The move: the name of a file in moves/
        name: String,
        /// The namespace
        namespace: String,
        /// The old key, or the id
        key: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MoveRestoreArgs {
    /// The move: the name of a file in moves/
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct MoveReopenArgs {
    /// The move: the name of a file in moves/
    pub(crate) name: String,
    /// Why, for whoever finds it later: `move status` shows it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) because: String,
}

#[derive(Debug, Args)]
pub(crate) struct NewMoveArgs {
    /// What it is called: the file is moves/NAME.toml
    pub(crate) name: String,
    /// The database that is read, by its name in dunlin.toml
    #[arg(long, value_name = "DATABASE")]
    pub(crate) source: String,
    /// The one that is written, by its name in dunlin.toml
    #[arg(long, value_name = "DATABASE")]
    pub(crate) target: String,
}
