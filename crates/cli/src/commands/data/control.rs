//! `data pause`, `resume`, `cancel`, `set`: what a person wants is written to the ledger, and the
//! worker answers with the fact.

use std::sync::Arc;

use dunlin::engine::backfill::intend;
use dunlin::engine::events::Silent;
use dunlin::engine::standing::look;
use dunlin::model::{BackfillRecord, BackfillState, IntentChange, Version, Wish};
use serde_json::json;

use super::{known, name_of, views};
use crate::args::DataSetArgs;
use crate::commands::tempo::Tempo;
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render::backfill::Worker;
use crate::render::{self, migration};

/// Writes a wish.
pub(super) async fn wish(
    context: &Context,
    version: Version,
    wish: Wish,
) -> Result<Exit, CliError> {
    let command = match wish {
        Wish::Run => "data resume",
        Wish::Pause => "data pause",
        Wish::Cancel => "data cancel",
    };
    change(context, version, command, |record| {
        if wish == Wish::Pause && record.intent.wish == Wish::Cancel {
            return Err(CliError::NoSuch {
                message: format!("data {version} is cancelled: nothing of it is to be paused"),
                help: format!("`data resume {version}` takes the cancelling back"),
            });
        }
        Ok((Some(wish), Tempo::default()))
    })
    .await
}

/// Changes how fast it goes; whether it goes stays as it is.
pub(super) async fn set(context: &Context, args: &DataSetArgs) -> Result<Exit, CliError> {
    let settings = Tempo::parse(&args.settings)?;
    change(context, args.version, "data set", |_| Ok((None, settings))).await
}

async fn change(
    context: &Context,
    version: Version,
    command: &str,
    wanted: impl FnOnce(&BackfillRecord) -> Result<(Option<Wish>, Tempo), CliError>,
) -> Result<Exit, CliError> {
    let database = context.only_database(command)?;
    let job = context.job(database, command, Arc::new(Silent))?;
    let failed = |error| engine_error(&job.database, error);
    let (record, segments) = known(context, &job, version).await?;
    let (wished, settings) = wanted(&record)?;
    let wish = wished.unwrap_or(record.intent.wish);
    let over = matches!(record.state, BackfillState::Done | BackfillState::Undone);
    if over && (wish != Wish::Run || settings != Tempo::default()) {
        return Err(CliError::NoSuch {
            message: format!(
                "{}: data {version} is {}: nothing of it is under way",
                job.database,
                record.state.as_str()
            ),
            help: format!(
                "`{}` runs it once more",
                context.again(&job.database, &format!("data rerun {version}"))
            ),
        });
    }
    let intent = IntentChange {
        wish: wished,
        by: Some(context.person()),
        workers: settings.workers,
        rate: settings.rate,
    };
    if !intend(&job, version, &intent).await.map_err(failed)? {
        // Gone since we looked.
        return Err(known(context, &job, version).await.err().unwrap_or_else(|| {
            CliError::NoSuch {
                message: format!("{}: data {version} changed meanwhile", job.database),
                help: "try again".to_owned(),
            }
        }));
    }
    let leases = look(&job).await.map_err(failed)?.ledger.leases;
    let worker = views::worker(&leases, version);
    if context.global.json {
        let mut view = views::view(&job, record, &segments, &leases, false);
        if wished.is_some() {
            view.record.intent.wish = wish;
            view.record.intent.by.clone_from(&intent.by);
        }
        view.record.intent.workers = intent.workers.or(view.record.intent.workers);
        view.record.intent.rate = intent.rate.or(view.record.intent.rate);
        render::json(&json!({
            "database": job.database,
            "backfill": render::backfill::to_json(&view),
            "exit_code": 0,
        }));
        return Ok(Exit::Done);
    }
    let title = migration(record.id.kind, version, &name_of(&job, version));
    let told = told(command, wish, settings);
    let command = |words: &str| context.again(&job.database, words);
    if over {
        let state = record.state.as_str();
        render::line(&format!("{}: {title} is {state}: nothing is held back", job.database));
        return Ok(Exit::Done);
    }
    render::line(&format!("{}: {title} {told}; {}", job.database, answer(&worker)));
    if worker == Worker::Nobody {
        let run = match record.is_half_undone() {
            true => command(&format!("data undo {version}")),
            false => command(&format!("data run {version}")),
        };
        match wish {
            Wish::Run => render::line(&format!("  `{run}` goes on with it")),
            Wish::Cancel if record.is_half_undone() => {
                render::line(&format!("  it stays so until `{run}`"));
            }
            Wish::Pause | Wish::Cancel => {
                let resume = command(&format!("data resume {version}"));
                render::line(&format!("  it stays so until `{resume}`"));
            }
        }
    }
    Ok(Exit::Done)
}

fn told(command: &str, wish: Wish, settings: Tempo) -> String {
    if command == "data set" {
        return format!("is to run with {}", settings.told());
    }
    match wish {
        Wish::Run => "is to go on",
        Wish::Pause => "is to pause",
        Wish::Cancel => "is to stop for good; what is done stays done",
    }
    .to_owned()
}

fn answer(worker: &Worker) -> String {
    match worker {
        Worker::At { host, pid } => {
            format!("a worker on {host} (process {pid}) takes it within a chunk")
        }
        Worker::Ourselves | Worker::Nobody => "nobody is at work on it".to_owned(),
    }
}
