//! A migration's row and its line of history, as SQL.

use dunlin_model::{EntryState, EntryWrite, LedgerEvent};

use crate::quote;

/// The server's clock.
const CLOCK: &str = "pg_catalog.clock_timestamp()";

/// Three columns, as expressions: `started_at`, `finished_at`, `duration_ms`. In an update `m` is
/// the row as it stands.
struct Times {
    insert: [String; 3],
    update: [String; 3],
}

impl Times {
    fn both(started: &str, finished: &str, duration: &str) -> Self {
        let all = [started.to_owned(), finished.to_owned(), duration.to_owned()];
        Self { insert: all.clone(), update: all }
    }

    fn kept() -> Self {
        Self {
            insert: ["NULL", "NULL", "NULL"].map(str::to_owned),
            update: ["m.started_at", "m.finished_at", "m.duration_ms"].map(str::to_owned),
        }
    }
}

/// The row and the history of a whole migration, in one statement behind its own. The fence, which
/// stands before them, is what others wait for and what refuses us; so this need not come twice. It
/// is read in the login's own encoding: what a file may have set is taken back before it.
pub(crate) fn finish_sql(write: &EntryWrite) -> String {
    let began = "pg_catalog.now()";
    let elapsed = elapsed_sql(began);
    let times = match write.state {
        EntryState::Pending => Times::both("NULL", "NULL", "NULL"),
        EntryState::Applied => Times::both(began, CLOCK, &elapsed),
        _ => Times::both(began, "NULL", "NULL"),
    };
    format!(
        "WITH m AS ({upsert} RETURNING m.kind, m.version, m.name, m.pass, m.run, m.reason, \
         m.error) INSERT INTO dunlin.history (kind, version, name, event, pass, run, reason, \
         error, duration_ms) SELECT kind, version, name, '{event}', pass, run, reason, error, \
         {elapsed} FROM m",
        upsert = upsert_sql(write, &times),
        event = write.event.as_str(),
    )
}

/// A row and its history, written without running anything.
pub(crate) fn record_sql(write: &EntryWrite) -> String {
    let times = match (write.state, write.event) {
        (EntryState::Pending, _) => Times::both("NULL", "NULL", "NULL"),
        // Accepting a changed text, or failing to undo, leaves when it was applied.
        (EntryState::Applied, LedgerEvent::Accept | LedgerEvent::Fail) => Times::kept(),
        (EntryState::Applied, LedgerEvent::Up) => return finish_journalled_sql(write),
        (EntryState::Applied, _) => Times::both(CLOCK, CLOCK, "NULL"),
        (EntryState::Failed, _) => {
            let mut times = Times::kept();
            CLOCK.clone_into(&mut times.insert[0]);
            times.update[0] = format!("COALESCE(m.started_at, {CLOCK})");
            times
        }
        (EntryState::Running, _) => Times::both(CLOCK, "NULL", "NULL"),
        (EntryState::Skipped | EntryState::Retired, _) => Times::kept(),
    };
    format!("{};{}", upsert_sql(write, &times), history_sql(write, "NULL"))
}

/// The row of a migration whose steps begin or go on. `write` is the row that will stand in the
/// end. The history tells of the beginning once a pass.
pub(crate) fn running_sql(write: &EntryWrite) -> String {
    let running = EntryWrite {
        state: EntryState::Running,
        event: LedgerEvent::Start,
        error: None,
        output: None,
        ..write.clone()
    };
    let same = "m.state = 'running' AND m.pass = EXCLUDED.pass";
    let times = Times {
        insert: [CLOCK, "NULL", "NULL"].map(str::to_owned),
        update: [
            format!("CASE WHEN {same} THEN m.started_at ELSE {CLOCK} END"),
            "NULL".to_owned(),
            "NULL".to_owned(),
        ],
    };
    format!(
        "INSERT INTO dunlin.history (kind, version, name, event, pass, run) \
         SELECT {values} WHERE NOT EXISTS (SELECT FROM dunlin.migrations WHERE kind = '{kind}' \
         AND version = {version} AND state = 'running' AND pass = {pass});{upsert}",
        values = [
            quote::text(write.id.kind.as_str()),
            write.id.version.to_string(),
            quote::text(&write.name),
            quote::text(LedgerEvent::Start.as_str()),
            write.pass.to_string(),
            quote::text(&write.run),
        ]
        .join(", "),
        kind = write.id.kind,
        version = write.id.version,
        pass = write.pass,
        upsert = upsert_sql(&running, &times),
    )
}

/// The row of a migration whose last step is done, and its history.
pub(crate) fn finish_journalled_sql(write: &EntryWrite) -> String {
    let since_start = format!(
        "(SELECT {} FROM dunlin.migrations WHERE kind = '{}' AND version = {})",
        elapsed_sql("started_at"),
        write.id.kind,
        write.id.version
    );
    let times = match write.state {
        EntryState::Applied => Times {
            insert: [CLOCK, CLOCK, "NULL"].map(str::to_owned),
            update: [
                format!("COALESCE(m.started_at, {CLOCK})"),
                CLOCK.to_owned(),
                elapsed_sql("m.started_at"),
            ],
        },
        EntryState::Pending => Times::both("NULL", "NULL", "NULL"),
        _ => Times::kept(),
    };
    // History first: the duration of an undo is counted from a start that the row then loses.
    format!("{};{}", history_sql(write, &since_start), upsert_sql(write, &times))
}

fn elapsed_sql(since: &str) -> String {
    format!("pg_catalog.round(pg_catalog.date_part('epoch', {CLOCK} - {since}) * 1000)::bigint")
}

fn history_sql(write: &EntryWrite, duration: &str) -> String {
    format!(
        "INSERT INTO dunlin.history (kind, version, name, event, pass, run, reason, error, \
         duration_ms) VALUES ('{}', {}, {}, '{}', {}, {}, {}, {}, {duration})",
        write.id.kind,
        write.id.version,
        quote::text(&write.name),
        write.event.as_str(),
        write.pass,
        quote::text(&write.run),
        quote::optional(write.reason.as_deref()),
        quote::optional(write.error.as_deref()),
    )
}

fn upsert_sql(write: &EntryWrite, times: &Times) -> String {
    let (text_checksum, statements_checksum, text) = match &write.content {
        Some((checksums, text)) => {
            (quote::text(&checksums.text), quote::text(&checksums.statements), quote::text(text))
        }
        None => ("NULL".to_owned(), "NULL".to_owned(), "NULL".to_owned()),
    };
    // A new start forgets the last output; otherwise none given leaves what is stored.
    let output = if write.event == LedgerEvent::Start {
        "NULL"
    } else {
        "COALESCE(EXCLUDED.output, m.output)"
    };
    format!(
        "INSERT INTO dunlin.migrations AS m (kind, version, name, state, pass, text_checksum, \
         statements_checksum, text, baseline, by_environment, reason, error, output, run, \
         started_at, finished_at, duration_ms) VALUES ('{kind}', {version}, {name}, '{state}', \
         {pass}, {text_checksum}, {statements_checksum}, {text}, {baseline}, {by_environment}, \
         {reason}, {error}, {given_output}, {run}, {insert}) ON CONFLICT (kind, version) DO UPDATE \
         SET name = EXCLUDED.name, state = EXCLUDED.state, pass = EXCLUDED.pass, \
         text_checksum = COALESCE(EXCLUDED.text_checksum, m.text_checksum), \
         statements_checksum = COALESCE(EXCLUDED.statements_checksum, m.statements_checksum), \
         text = COALESCE(EXCLUDED.text, m.text), baseline = EXCLUDED.baseline, \
         by_environment = EXCLUDED.by_environment, reason = EXCLUDED.reason, \
         error = EXCLUDED.error, output = {output}, run = EXCLUDED.run, \
         started_at = {started}, finished_at = {finished}, duration_ms = {duration}",
        kind = write.id.kind,
        version = write.id.version,
        name = quote::text(&write.name),
        state = write.state.as_str(),
        pass = write.pass,
        baseline = write.baseline,
        by_environment = write.by_environment,
        reason = quote::optional(write.reason.as_deref()),
        error = quote::optional(write.error.as_deref()),
        given_output = quote::optional(write.output.as_deref()),
        run = quote::text(&write.run),
        insert = times.insert.join(", "),
        started = times.update[0],
        finished = times.update[1],
        duration = times.update[2],
    )
}
