//! Moves for people.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use dunlin::engine::moves::{
    Dropped, MoveReport, NoteKind, OutlineStep, RuleReport, Sample, SampledValue, TableOutlook,
};
use dunlin::model::{BackfillRecord, BackfillState, LeaseHolder, Wish};
use serde_json::{Value, json};

use super::backfill::{grouped, left};
use super::comparison;
use super::{BAD, BOLD, FAINT, GOOD, WAITING, data, duration, line, styled};

/// Reasons that are listed for one rule: more are in `move rejects`.
const REASONS_MAX: usize = 8;

/// What a run came to.
pub(crate) fn report(report: &MoveReport) {
    table(report);
    for rule in &report.rules {
        changes(rule);
        reasons(rule);
    }
    for source in &report.sources {
        for (because, count) in &source.left_out {
            data(&format!("  {} left out of {}: {because}", rows(*count), source.source));
        }
        if source.unread > 0 {
            let records = if source.unread == 1 { "record" } else { "records" };
            let rejected = styled(BAD, "rejected");
            let count = grouped(source.unread);
            data(&format!("  {}: {count} {records} {rejected}: can't be read", source.source));
        }
        if source.named_and_taken > 0 {
            data(&format!(
                "  {} of {}: a [[leave_out]] names {}, but a rule takes {}",
                rows(source.named_and_taken),
                source.source,
                if source.named_and_taken == 1 { "it" } else { "them" },
                styled(WAITING, if source.named_and_taken == 1 { "it" } else { "them" }),
            ));
        }
        if source.not_taken > 0 {
            data(&format!(
                "  {} of {}: no rule takes them, and no [[leave_out]] says why",
                rows(source.not_taken),
                source.source
            ));
        }
    }
    let time = |millis: u64| duration(Duration::from_millis(millis));
    let times = format!(
        "{} (decide {}, load {}, verify {})",
        time(report.total_ms),
        time(report.decide_ms),
        time(report.load_ms),
        time(report.verify_ms)
    );
    if report.dry_run {
        line(&format!("nothing was written: {} would be; {times}", rows(report.written())));
        if report.written() > 0 {
            line(ONLY_A_RUN);
        }
    } else if report.verified {
        let verified: u64 = report.rules.iter().map(|rule| rule.verified).sum();
        line(&format!(
            "{}: run {}, {} written, {} compared and equal; {times}",
            styled(GOOD, "verified"),
            report.run,
            rows(report.written()),
            rows(verified)
        ));
    } else {
        line(&format!("{}: run {}; {times}", styled(BAD, "not verified"), report.run));
        for problem in &report.problems {
            line(&format!("  {problem}"));
        }
    }
}

/// What a dry run can't tell.
const ONLY_A_RUN: &str = "  what the database refuses, and which rows that are gone are still \
                          referred to, only a run can tell: those it counts as rejected and kept";

/// `1 row`, `2,000 rows`.
pub(super) fn rows(count: u64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{} rows", grouped(count)) }
}

fn table(report: &MoveReport) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let heads = ["rule", "from", "rows", "new", "changed", "deleted", "as before", "left out"];
    table.set_header(heads.iter().enumerate().map(|(place, head)| {
        let side = if place < 2 { CellAlignment::Left } else { CellAlignment::Right };
        Cell::new(styled(BOLD, head)).set_alignment(side)
    }));
    for rule in &report.rules {
        let left_out = rule.count(NoteKind::LeftOut)
            + rule.count(NoteKind::Duplicate)
            + rule.count(NoteKind::Merged)
            + rule.count(NoteKind::Rejected);
        let mut cells = vec![Cell::new(&rule.rule), Cell::new(&rule.from)];
        let counts =
            [rule.rows, rule.inserted, rule.updated, rule.deleted, rule.unchanged, left_out];
        cells.extend(
            counts.map(|count| Cell::new(grouped(count)).set_alignment(CellAlignment::Right)),
        );
        table.add_row(cells);
    }
    for text in table.lines() {
        data(text.trim_end());
    }
}

/// What a dry run would change, column by column, and in some of the rows.
fn changes(rule: &RuleReport) {
    for (column, count) in &rule.columns {
        data(&format!("  {}: {column} would change in {}", rule.rule, rows(*count)));
    }
    for one in &rule.changes {
        data(&format!("    {} -> {}: {}", one.old, one.new, comparison::changes(&one.columns)));
    }
    let more = rule.updated.saturating_sub(rule.changes.len() as u64);
    if more > 0 && !rule.changes.is_empty() {
        data(&styled(FAINT, &format!("    and {} more", grouped(more))));
    }
}

fn reasons(rule: &RuleReport) {
    for (kind, reasons) in &rule.notes {
        let (word, style) = match kind {
            NoteKind::Rejected => ("rejected", BAD),
            NoteKind::Differs => ("differs", BAD),
            NoteKind::AlreadyThere => ("already there", BAD),
            NoteKind::NotTaken => ("not taken", BAD),
            NoteKind::LeftOut => ("left out", WAITING),
            NoteKind::Nulled => ("nulled", WAITING),
            NoteKind::Merged => ("merged", WAITING),
            NoteKind::Duplicate => ("duplicate", WAITING),
            NoteKind::ChangedThere => ("changed there", WAITING),
            NoteKind::DeletedThere => ("deleted there", WAITING),
            NoteKind::StillReferenced => ("still referred to", WAITING),
            NoteKind::Kept => ("kept", WAITING),
        };
        for (reason, count) in reasons.iter().take(REASONS_MAX) {
            data(&format!("  {}: {} {}: {reason}", rule.rule, rows(*count), styled(style, word)));
        }
        if reasons.len() > REASONS_MAX {
            data(&format!("  {}: and {} more reasons", rule.rule, reasons.len() - REASONS_MAX));
        }
    }
}

/// What a run does, in its order.
pub(crate) fn outline(steps: &[OutlineStep]) {
    for step in steps {
        let about = step.rows.map_or_else(String::new, |count| format!(", about {}", rows(count)));
        data(&format!("read {}{about}", step.source));
        for rule in &step.rules {
            let mut text = format!("  {} -> {}", styled(BOLD, &rule.rule), rule.table);
            if let Some(id) = &rule.id {
                text.push_str(&format!("; {id}"));
            }
            if !rule.refers_to.is_empty() {
                text.push_str(&format!("; refers to {}", rule.refers_to.join(", ")));
            }
            if !rule.later.is_empty() {
                text.push_str(&format!("; {} in a second step", rule.later.join(", ")));
            }
            data(&text);
        }
    }
}

/// How tables are loaded: what is dropped meanwhile, what stays, and why.
pub(crate) fn outlook(tables: &[TableOutlook]) {
    let mut alike: Vec<(&str, Vec<&str>)> = Vec::new();
    for table in tables {
        if table.bare {
            let all: Vec<&str> =
                table.indexes.iter().chain(&table.foreign_keys).map(String::as_str).collect();
            let what = if all.is_empty() { "nothing to drop".to_owned() } else { all.join(", ") };
            data(&format!("load {} while nobody else writes it; {REBUILT}: {what}", table.table));
            table.stays.iter().for_each(|stays| data(&format!("  stays: {stays}")));
        } else if let Some(stays) = table.stays.first() {
            match alike.iter_mut().find(|(known, _)| known == stays) {
                Some((_, tables)) => tables.push(&table.table),
                None => alike.push((stays, vec![&table.table])),
            }
        }
    }
    for (stays, tables) in alike {
        data(&format!("write {} in place; stays: {stays}", tables.join(", ")));
    }
}

/// What happens to what is dropped.
const REBUILT: &str = "dropped before and rebuilt after";

/// What a run that did not come to its end has left dropped.
pub(crate) fn dropped(name: &str, dropped: &Dropped) -> Vec<String> {
    let all: Vec<&str> =
        dropped.indexes.iter().chain(&dropped.foreign_keys).map(String::as_str).collect();
    let what = format!(
        "{}: {}; nobody else can write {}",
        styled(WAITING, "dropped for loading"),
        if all.is_empty() { "nothing any more".to_owned() } else { all.join(", ") },
        dropped.tables.join(", ")
    );
    let next =
        format!("  the next run goes on from there; without one: dunlin move restore {name}");
    vec![what, next]
}

/// What a run remembers of keys.
pub(crate) fn key_sets(bytes: u64) {
    let amount = match bytes >> 20 {
        0 => "less than 1 MiB".to_owned(),
        mebibytes => format!("about {} MiB", grouped(mebibytes)),
    };
    data(&format!("key sets take {amount}: up to half of --memory, the rest in temporary files"));
}

/// One old row, and what becomes of it.
pub(crate) fn sample(source: &str, key: &str, sample: &Sample) {
    data(&styled(BOLD, &format!("{source} {key}")));
    values(&sample.old);
    for row in &sample.rows {
        data(&format!("becomes {} by the rule {}", styled(BOLD, &row.table), row.rule));
        values(&row.values);
    }
    if sample.rows.is_empty() {
        data("becomes nothing");
    }
    for (rule, kind, reason) in &sample.notes {
        let what = format!("{kind:?}");
        data(&format!("  {rule}: {}: {reason}", styled(WAITING, &spaced(&what))));
    }
}

/// `LeftOut` as `left out`.
fn spaced(word: &str) -> String {
    let mut text = String::with_capacity(word.len() + 4);
    for (place, letter) in word.char_indices() {
        if place > 0 && letter.is_uppercase() {
            text.push(' ');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

fn values(values: &[SampledValue]) {
    let widest = values.iter().map(|value| value.column.chars().count()).max().unwrap_or(0);
    for one in values {
        let value = match &one.value {
            Some(text) => text.escape_debug().to_string(),
            None => styled(FAINT, "NULL"),
        };
        let from = one.from.split_whitespace().collect::<Vec<_>>().join(" ");
        let from = styled(FAINT, &format!("<- {from}"));
        data(&format!("  {:<widest$}  {value}  {from}", one.column));
    }
}

/// What the ledger says of the latest run, a line each.
pub(crate) fn under_way(record: &BackfillRecord, holder: Option<&LeaseHolder>) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(state(record, holder).map(|state| format!("  {state}")));
    if let Some(holder) = holder {
        let (host, pid) = (&holder.owner.host, holder.owner.pid);
        lines.push(format!("  run {} by process {pid} on {host}", record.pass));
    }
    let intent = &record.intent;
    let by = intent.by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    match (intent.wish, holder) {
        (Wish::Run, _) => {}
        (wish, Some(_)) => lines.push(format!("  told to {}{by}", wish.as_str())),
        (wish, None) => {
            let word = if wish == Wish::Pause { "paused" } else { "cancelled" };
            lines.push(format!("  {word}{by}: it does not run until it is resumed"));
        }
    }
    let rate = intent.rate.filter(|rate| *rate > 0);
    let mut set: Vec<String> =
        rate.map(|rate| format!("at most {} rows/s", grouped(rate))).into_iter().collect();
    set.extend(intent.workers.map(|count| super::count(count as usize, "worker")));
    if !set.is_empty() {
        lines.push(format!("  set: {}", set.join(", ")));
    }
    lines
}

fn state(record: &BackfillRecord, holder: Option<&LeaseHolder>) -> Option<String> {
    let reason = record.reason.as_deref().unwrap_or_default();
    let because = |what: &str| match reason {
        "" => what.to_owned(),
        reason => format!("{what}: {reason}"),
    };
    Some(match (record.state, holder) {
        (BackfillState::Running | BackfillState::Paused, None) => {
            styled(BAD, "its runner is gone; running again finds what was written")
        }
        (BackfillState::Running, Some(_)) => {
            let mut parts = vec![because("running")];
            if record.rows_before > 0 {
                let of = record.row_count_estimate.map_or_else(String::new, |all| {
                    format!(" of about {}", grouped(all.max(record.rows_before)))
                });
                parts.push(format!("{}{of} rows", grouped(record.rows_before)));
            }
            if record.rows_per_second > 0 {
                parts.push(format!("{} rows/s", grouped(record.rows_per_second)));
            }
            parts.extend(left(record.seconds_left).map(|left| format!("{left} left")));
            styled(GOOD, &parts.join(", "))
        }
        (BackfillState::Paused, Some(_)) => styled(WAITING, reason),
        (BackfillState::Done | BackfillState::Undone | BackfillState::Cancelled, _) => return None,
        (BackfillState::Quarantined, _) => reason.to_owned(),
        (BackfillState::Stopped, _) => because("the last run stopped"),
        (BackfillState::Failed, _) => styled(BAD, &because("the last run failed")),
    })
}

/// The same for programs.
pub(crate) fn under_way_json(record: &BackfillRecord, holder: Option<&LeaseHolder>) -> Value {
    let runner = holder.map(|holder| json!({ "host": holder.owner.host, "pid": holder.owner.pid }));
    json!({
        "run": record.pass,
        "state": record.state,
        "doing": record.reason,
        "rows": record.rows_before,
        "row_count_estimate": record.row_count_estimate,
        "rows_per_second": record.rows_per_second,
        "seconds_left": record.seconds_left,
        "intent": record.intent,
        "runner": runner,
    })
}
