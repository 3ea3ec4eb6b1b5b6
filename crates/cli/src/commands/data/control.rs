//! `data pause`, `resume`, `cancel`, `set`: what a person wants is written to the ledger, and the
//! worker answers with the fact.

use std::sync::Arc;

use dunlin::engine::backfill::intend;
use dunlin::engine::events::Silent;
use dunlin::engine::standing::look;
use dunlin::model::{BackfillRecord, BackfillState, Intent, Version, Wish};
use serde_json::json;

use super::{known, name_of, views};
use crate::args::DataSetArgs;
use crate::context::{Context, engine_error};
use crate::exit::{CliError, Exit};
use crate::render::backfill::{Worker, grouped};
use crate::render::{self, migration};

/// More workers than this would be more connections than servers have.
const WORKERS_MAX: u32 = 64;

/// What `set` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Settings {
    workers: Option<u32>,
    /// 0: none.
    rate: Option<u64>,
}

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
        Ok((wish, Settings::default()))
    })
    .await
}

/// Changes how fast it goes; whether it goes stays as it is.
pub(super) async fn set(context: &Context, args: &DataSetArgs) -> Result<Exit, CliError> {
    let settings = parse(&args.settings)?;
    change(context, args.version, "data set", |record| Ok((record.intent.wish, settings))).await
}

async fn change(
    context: &Context,
    version: Version,
    command: &str,
    wanted: impl FnOnce(&BackfillRecord) -> Result<(Wish, Settings), CliError>,
) -> Result<Exit, CliError> {
    let database = context.only_database(command)?;
    let job = context.job(database, command, Arc::new(Silent))?;
    let failed = |error| engine_error(&job.database, error);
    let (record, segments) = known(context, &job, version).await?;
    let (wish, settings) = wanted(&record)?;
    let over = matches!(record.state, BackfillState::Done | BackfillState::Undone);
    if over && (wish != Wish::Run || settings != Settings::default()) {
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
    let intent =
        Intent { wish, by: Some(context.person()), workers: settings.workers, rate: settings.rate };
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
        view.record.intent.wish = wish;
        view.record.intent.by.clone_from(&intent.by);
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
    render::line(&format!("{}: {title} {told}; {}", job.database, answer(&worker)));
    if worker == Worker::Nobody && !over {
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

fn told(command: &str, wish: Wish, settings: Settings) -> String {
    if command == "data set" {
        let mut parts = Vec::new();
        parts.extend(settings.workers.map(|count| render::count(count as usize, "worker")));
        parts.extend(settings.rate.map(|rate| match rate {
            0 => "no fixed rate".to_owned(),
            rate => format!("at most {} rows/s", grouped(rate)),
        }));
        return format!("is to run with {}", parts.join(" and "));
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

/// `workers=4`, `rate=2000/s`; a rate may be written with a space, as in a header.
fn parse(words: &[String]) -> Result<Settings, CliError> {
    let mut settings = Settings::default();
    let joined = words.join(" ");
    let mut written: Vec<(String, String)> = Vec::new();
    for word in joined.split_whitespace() {
        match (word.split_once('='), written.last_mut()) {
            (Some((name, value)), _) => written.push((name.to_owned(), value.to_owned())),
            (None, Some((_, value))) => {
                value.push(' ');
                value.push_str(word);
            }
            (None, None) => return Err(unknown(word)),
        }
    }
    for (name, value) in &written {
        let value = value.trim();
        match name.as_str() {
            "workers" => {
                let count = value.parse().ok().filter(|count| (1..=WORKERS_MAX).contains(count));
                settings.workers = Some(count.ok_or_else(|| {
                    CliError::usage(
                        format!("`{value}` is no number of workers"),
                        format!("write workers=N, with N from 1 to {WORKERS_MAX}"),
                    )
                })?);
            }
            "rate" => {
                settings.rate = Some(rate(value).ok_or_else(|| {
                    CliError::usage(
                        format!("`{value}` is no rate"),
                        "write rate=2000/s, for 2000 rows a second, or rate=off",
                    )
                })?);
            }
            other => return Err(unknown(other)),
        }
    }
    Ok(settings)
}

fn unknown(word: &str) -> CliError {
    CliError::usage(
        format!("`{word}` can't be set"),
        "what can be set: workers=4, rate=2000/s, rate=off",
    )
}

/// `2000`, `2000/s`, `2000 rows/s`; `off` is 0.
fn rate(text: &str) -> Option<u64> {
    if text == "off" {
        return Some(0);
    }
    let number = text.strip_suffix("/s").unwrap_or(text).trim_end();
    let number = number.strip_suffix("rows").unwrap_or(number).trim_end();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|rate| digits && *rate > 0 && i64::try_from(*rate).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Settings> {
        parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>()).ok()
    }

    #[test]
    fn settings_as_they_are_typed() {
        let rate = |rate| Some(Settings { workers: None, rate: Some(rate) });
        for text in ["rate=2000", "rate=2000/s", "rate=2000 rows/s", "rate=2000rows/s"] {
            assert_eq!(parsed(text), rate(2000), "{text}");
        }
        assert_eq!(parsed("rate=off"), rate(0));
        assert_eq!(
            parsed("workers=4 rate=1 rows/s"),
            Some(Settings { workers: Some(4), rate: Some(1) })
        );
        assert_eq!(
            parsed("rate=5 rows/s workers=64"),
            Some(Settings { workers: Some(64), rate: Some(5) })
        );
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "workers=0",
            "workers=65",
            "workers=-1",
            "workers=",
            "workers",
            "rate=0",
            "rate=fast",
            "rate=+5",
            "rate=1.5",
            "rate=99999999999999999999",
            "speed=4",
            "rows/s",
            "rate=5/min",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
