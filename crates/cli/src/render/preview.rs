//! What the chunks of a data migration will look like.

use std::time::Duration;

use dunlin::engine::backfill::Preview;
use dunlin::engine::{Rehearsal, TargetError};
use dunlin::model::{Chunking, ONE_AFTER_THE_OTHER, OnError};
use serde_json::{Value, json};

use super::backfill::{grouped, left};
use super::{BAD, BOLD, FAINT, WAITING, data, duration, styled};

/// The plan, on stdout; `usual` is the time that chunks take where the header does not say.
pub(crate) fn show(title: &str, seen: &Preview, usual: Duration, command: &dyn Fn(&str) -> String) {
    let version = seen.work.id.version;
    data(&styled(BOLD, title));
    let key: Vec<String> = seen
        .work
        .key
        .iter()
        .map(|column| {
            let order = if column.descending { " DESC" } else { "" };
            let nullable = if column.nullable { ", NULLs in a chunk of their own" } else { "" };
            format!("{}{order} ({}{nullable})", column.name, column.type_name)
        })
        .collect();
    field("key", &key.join(", "));
    field("index", &seen.work.index);
    field(
        "rows",
        &match seen.row_count_estimate {
            Some(rows) => format!("about {}", grouped(rows)),
            None => "unknown: the server keeps no statistics of it (ANALYZE makes them)".to_owned(),
        },
    );
    field("chunks", &chunks(seen, usual));
    if let Some(time) = total(seen) {
        field("time", &format!("{time} with one worker and nothing in the way"));
    } else if seen.tried.is_empty() {
        let sample = command(&format!("data plan {version} --sample"));
        field("time", &format!("unknown; `{sample}` tries a few chunks"));
    }
    if seen.work.in_order {
        data(&format!("  {ONE_AFTER_THE_OTHER}"));
    }
    for directive in directives(&seen.chunking) {
        field("header", &directive);
    }
    if let Some(holds) = seen.holds {
        field(
            "done-when",
            if holds { "holds already: nothing would be done" } else { "does not hold yet" },
        );
    }
    for access in &seen.access {
        let index = access.index.as_deref().unwrap_or("no index");
        match &access.complaint {
            None => field("access", &format!("{}: {index}", access.what)),
            Some(complaint) => field(
                "access",
                &format!("{} {}: {index}: {complaint}", styled(WAITING, "!"), access.what),
            ),
        }
    }
    for (number, (rows, outcome)) in seen.tried.iter().enumerate() {
        tried(number + 1, *rows, outcome);
    }
    if !seen.tried.is_empty() {
        data(&styled(FAINT, "  every chunk that was tried was rolled back"));
        let fired =
            seen.tried.iter().flat_map(|(_, one)| one.iter()).any(|one| !one.triggers.is_empty());
        if fired {
            data(&format!(
                "  {} triggers have fired: what they did outside the database (mail, HTTP, files) stays done",
                styled(WAITING, "warning:")
            ));
        }
    }
}

fn field(name: &str, text: &str) {
    data(&format!("  {} {text}", styled(FAINT, &format!("{name:<10}"))));
}

fn chunk_time(seen: &Preview, usual: Duration) -> Duration {
    seen.chunking.time.unwrap_or(usual)
}

fn chunks(seen: &Preview, usual: Duration) -> String {
    let mut text = format!("sized to take {}", duration(chunk_time(seen, usual)));
    if let Some(rows) = seen.chunking.rows {
        text.push_str(&format!(", at most {} rows", grouped(rows)));
    }
    if let (Some(rows), Some(all)) = (chunk_rows(seen, usual), seen.row_count_estimate) {
        let count = all.div_ceil(rows.max(1));
        text.push_str(&format!(": about {} of {} rows", grouped(count.max(1)), grouped(rows)));
    }
    text
}

/// How many rows a chunk would have, by the last that was tried.
fn chunk_rows(seen: &Preview, usual: Duration) -> Option<u64> {
    let (rows, outcome) = seen.tried.last()?;
    let took = outcome.as_ref().ok()?.took.as_secs_f64();
    if took <= 0.0 {
        return None;
    }
    let fitting = (*rows as f64 * chunk_time(seen, usual).as_secs_f64() / took) as u64;
    Some(fitting.clamp(1, seen.chunking.rows.unwrap_or(u64::MAX)))
}

/// How long all of it takes, in seconds, the least and the most, by the chunks that were tried.
fn seconds(seen: &Preview) -> Option<(u64, u64)> {
    let all = seen.row_count_estimate?;
    let mut per_row = seen
        .tried
        .iter()
        .filter_map(|(rows, outcome)| Some((*rows, outcome.as_ref().ok()?.took.as_secs_f64())))
        .filter(|(rows, _)| *rows > 0)
        .map(|(rows, took)| took / rows as f64);
    let first = per_row.next()?;
    let (least, most) =
        per_row.fold((first, first), |(least, most), one| (least.min(one), most.max(one)));
    // The server's estimate of rows is itself good to about a tenth, and no rate is beaten.
    let by_rate = seen.chunking.rate.map_or(0, |rate| all / rate.max(1));
    let soonest = ((all as f64 * 0.9 * least) as u64).max(by_rate);
    let latest = ((all as f64 * 1.1 * most).ceil() as u64).max(by_rate).max(1);
    Some((soonest, latest))
}

fn total(seen: &Preview) -> Option<String> {
    seconds(seen).and_then(left)
}

/// What the header says beside the table.
fn directives(chunking: &Chunking) -> Vec<String> {
    let mut words = Vec::new();
    if !chunking.key.is_empty() {
        words.push(format!("chunk-key {}", chunking.key.join(", ")));
    }
    words.extend(chunking.filter.as_ref().map(|filter| format!("chunk-where {filter}")));
    words.extend(chunking.bytes.map(|bytes| format!("chunk-bytes {bytes}")));
    words.extend(chunking.workers.map(|workers| format!("workers {workers}")));
    words.extend(chunking.rate.map(|rate| format!("rate {rate} rows/s")));
    if chunking.on_error == OnError::Quarantine {
        words.push("on-error quarantine".to_owned());
    }
    if let Some(keep) = chunking.undo {
        words.push(format!("undo capture for {}", duration(keep)));
    }
    if chunking.rounds > 1 {
        words.push(format!("repeat until-done max {}", chunking.rounds));
    }
    words
}

fn tried(number: usize, rows: u64, outcome: &Result<Rehearsal, TargetError>) {
    let title = format!("  chunk {number}: {} rows", grouped(rows));
    let one = match outcome {
        Ok(one) => one,
        Err(error) => {
            data(&format!("{title}: {} {error}", styled(BAD, "failed:")));
            for note in &error.notes {
                data(&format!("    {note}"));
            }
            if let Some(help) = &error.help {
                data(&format!("    {} {help}", styled(BOLD, "help:")));
            }
            return;
        }
    };
    let mut parts = vec![duration(one.took)];
    let touched: Vec<String> = one.rows.iter().flatten().copied().map(grouped).collect();
    if !touched.is_empty() {
        parts.push(format!("{} touched", touched.join(" + ")));
    }
    if let Some(bytes) = per_row(one.log_bytes, rows) {
        parts.push(format!("{bytes} bytes of log a row"));
    }
    if let Some(ratio) = one.hot_ratio {
        parts.push(format!("{:.0}% HOT", ratio * 100.0));
    }
    data(&format!("{title}: {}", parts.join(", ")));
    for lock in &one.locks {
        data(&format!("    {}", styled(FAINT, &format!("lock: {lock}"))));
    }
    for trigger in &one.triggers {
        data(&format!("    {}", styled(FAINT, &format!("trigger: {trigger}"))));
    }
}

fn per_row(bytes: Option<u64>, rows: u64) -> Option<u64> {
    bytes.filter(|_| rows > 0).map(|bytes| bytes / rows)
}

/// The plan as JSON.
pub(crate) fn to_json(database: &str, seen: &Preview, usual: Duration, exit_code: u8) -> Value {
    let tried: Vec<Value> = seen
        .tried
        .iter()
        .map(|(rows, outcome)| match outcome {
            Ok(one) => json!({
                "rows": rows, "touched": one.rows, "duration_ms": one.took.as_millis() as u64,
                "log_bytes": one.log_bytes, "locks": one.locks, "triggers": one.triggers,
                "hot_ratio": one.hot_ratio, "error": null,
            }),
            Err(error) => json!({ "rows": rows, "error": error.to_string() }),
        })
        .collect();
    json!({
        "database": database,
        "version": seen.work.id.version,
        "table": seen.work.table,
        "key": seen.work.key,
        "index": seen.work.index,
        "row_count_estimate": seen.row_count_estimate,
        "chunk_ms": chunk_time(seen, usual).as_millis() as u64,
        "chunk_rows": chunk_rows(seen, usual),
        "seconds": seconds(seen).map(|(least, most)| [least, most]),
        "done_when": seen.holds,
        "header": directives(&seen.chunking),
        "in_order": seen.work.in_order,
        "access": seen.access,
        "tried": tried,
        "exit_code": exit_code,
    })
}
