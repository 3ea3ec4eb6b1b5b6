//! Where a database stands, as a table.

use comfy_table::{ContentArrangement, Table, presets};
use dunlin::model::{ForeignHistory, Kind};
use dunlin::project::plan::{Row, Status};

use super::{BAD, FAINT, GOOD, WAITING, data, duration, styled, waits_for};

/// The table of one database's migrations.
pub(crate) fn table(rows: &[Row], command: &dyn Fn(&str) -> String) {
    if rows.is_empty() {
        return data("  no migrations");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for row in rows {
        table.add_row(vec![
            format!(" {}", coloured(row.status)),
            row.kind.to_string(),
            row.version.to_string(),
            row.name.clone(),
            when(row),
            marks(row),
        ]);
    }
    for line in table.lines() {
        data(line.trim_end());
    }
    for row in rows.iter().filter(|row| !row.waits_for.is_empty()) {
        for wait in &row.waits_for {
            data(&format!("  {} {} waits: {}", row.kind, row.version, waits_for(wait, command)));
        }
    }
}

fn coloured(status: Status) -> String {
    let style = match status {
        Status::Up | Status::Done => GOOD,
        Status::Failed | Status::Dirty => BAD,
        Status::Skipped | Status::Retired => FAINT,
        _ => WAITING,
    };
    styled(style, status.as_str())
}

fn when(row: &Row) -> String {
    let mut text = row.finished_at.map(time).unwrap_or_default();
    if let Some(millis) = row.duration_ms.filter(|_| row.finished_at.is_some()) {
        let took = std::time::Duration::from_millis(u64::try_from(millis).unwrap_or_default());
        text.push_str(&styled(FAINT, &format!("  {}", duration(took))));
    }
    text
}

/// A time as UTC, to the second.
pub(crate) fn time(micros: i64) -> String {
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => String::new(),
    }
}

fn marks(row: &Row) -> String {
    let mut marks = Vec::new();
    if row.drifted {
        marks.push(styled(BAD, "DRIFT: edited after it was applied"));
    }
    if row.missing {
        marks.push(styled(WAITING, "missing: no file here"));
    }
    if row.baseline {
        marks.push("baseline".to_owned());
    }
    if row.pass > 1 && row.kind == Kind::Data {
        marks.push(format!("pass {}", row.pass));
    }
    if let Some(note) = &row.note {
        marks.push(note.clone());
    }
    marks.join("; ")
}

/// Another tool's history, in a few lines.
pub(crate) fn foreign(history: &ForeignHistory) {
    let applied = history.entries.iter().filter(|entry| entry.applied).count();
    let newest = history.entries.iter().rev().find(|entry| entry.applied);
    let mut text =
        format!("  schema history of {} in {}: {applied} applied", history.tool, history.table);
    if let Some(limit) = history.applied_up_to {
        text = format!("  schema history of {} in {}: at {limit}", history.tool, history.table);
    } else if let Some(newest) = newest {
        text.push_str(&format!(", newest {}", newest.version));
    }
    if history.dirty {
        text.push_str(&styled(BAD, "; it stopped half-way"));
    }
    data(&text);
}
