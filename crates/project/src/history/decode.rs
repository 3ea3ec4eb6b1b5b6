//! What the rows of each tool's table say.

use std::collections::HashMap;

use dunlin_model::{ForeignEntry, ForeignHistory, HistoryTool, TableQuery};

/// One row, by column name.
#[derive(Clone, Copy)]
struct Row<'a> {
    query: &'a TableQuery,
    values: &'a [Option<String>],
}

impl<'a> Row<'a> {
    /// The value of a column; `None` for NULL and for a column that is not there.
    fn text(self, column: &str) -> Option<&'a str> {
        let index = self.query.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?;
        self.values.get(index)?.as_deref()
    }

    /// A truth, in any server's words; MySQL's BIT(1) arrives as the character of code 1.
    fn truth(self, column: &str) -> bool {
        self.text(column).is_some_and(|text| {
            matches!(text.to_ascii_lowercase().as_str(), "t" | "true" | "1" | "y" | "yes" | "\u{1}")
        })
    }

    fn number(self, column: &str) -> Option<i64> {
        self.text(column)?.trim().parse().ok()
    }

    /// An applied entry, of the named columns.
    fn entry(self, version: &str, name: &str, at: &str) -> Option<ForeignEntry> {
        Some(ForeignEntry {
            version: self.text(version)?.to_owned(),
            name: self.text(name).map(str::to_owned),
            applied: true,
            at: self.text(at).map(str::to_owned),
        })
    }
}

/// Reads the rows of a tool's table, in the order of its query.
pub(super) fn decode(
    tool: HistoryTool,
    query: &TableQuery,
    rows: &[Vec<Option<String>>],
) -> ForeignHistory {
    let mut history = ForeignHistory {
        tool,
        table: query.table.clone(),
        entries: Vec::new(),
        applied_up_to: None,
        dirty: false,
    };
    let rows: Vec<Row<'_>> = rows.iter().map(|values| Row { query, values }).collect();
    match tool {
        HistoryTool::Rails | HistoryTool::Dbmate => simple(&mut history, &rows, "version", "", ""),
        HistoryTool::Ecto => simple(&mut history, &rows, "version", "", "inserted_at"),
        HistoryTool::Diesel => simple(&mut history, &rows, "version", "", "run_on"),
        HistoryTool::Refinery => simple(&mut history, &rows, "version", "name", "applied_on"),
        HistoryTool::NodePgMigrate => simple(&mut history, &rows, "name", "", "run_on"),
        HistoryTool::SeaOrm => simple(&mut history, &rows, "version", "", "applied_at"),
        HistoryTool::Alembic => simple(&mut history, &rows, "version_num", "", ""),
        HistoryTool::Django => django(&mut history, &rows),
        HistoryTool::Sqlx => sqlx(&mut history, &rows),
        HistoryTool::Flyway => flyway(&mut history, &rows),
        HistoryTool::GolangMigrate => one_number(&mut history, &rows, true),
        HistoryTool::Tern => one_number(&mut history, &rows, false),
        HistoryTool::Goose => goose(&mut history, &rows),
        HistoryTool::Atlas => atlas(&mut history, &rows),
        HistoryTool::Prisma => prisma(&mut history, &rows),
    }
    history
}

/// A row for each applied migration, and nothing else.
fn simple(history: &mut ForeignHistory, rows: &[Row<'_>], version: &str, name: &str, at: &str) {
    history.entries.extend(rows.iter().filter_map(|row| row.entry(version, name, at)));
}

/// Each app has names of its own: `blog.0003_split_names`.
fn django(history: &mut ForeignHistory, rows: &[Row<'_>]) {
    for row in rows {
        if let (Some(app), Some(mut entry)) = (row.text("app"), row.entry("name", "", "applied")) {
            entry.version = format!("{app}.{}", entry.version);
            history.entries.push(entry);
        }
    }
}

/// A row without success is one that MySQL's DDL left half-way.
fn sqlx(history: &mut ForeignHistory, rows: &[Row<'_>]) {
    for row in rows {
        if let Some(mut entry) = row.entry("version", "description", "installed_on") {
            entry.applied = row.truth("success");
            history.dirty |= !entry.applied;
            history.entries.push(entry);
        }
    }
}

/// By rank: applied by success, until undone or deleted; a baseline covers everything up to it; a
/// row without a version is a repeatable migration, named by its script.
fn flyway(history: &mut ForeignHistory, rows: &[Row<'_>]) {
    let mut latest = Latest::default();
    for row in rows {
        let kind = row.text("type").unwrap_or_default();
        let success = row.truth("success");
        let key = if row.text("version").is_some() { "version" } else { "script" };
        // The marker row for a schema that Flyway created is no migration.
        let Some(mut entry) =
            row.entry(key, "description", "installed_on").filter(|_| kind != "SCHEMA")
        else {
            continue;
        };
        let undone = kind == "DELETE" || kind.starts_with("UNDO_");
        entry.applied = success && !undone;
        // A failed row stays until `flyway repair` takes it away.
        history.dirty |= !success;
        if success && kind.contains("BASELINE") {
            // Of `5.2` the whole numbers up to 5 are covered for certain.
            let whole = entry.version.split(['.', '_']).next().and_then(|part| part.parse().ok());
            history.applied_up_to = history.applied_up_to.max(whole);
        }
        if success || latest.get(&entry.version).is_none() {
            latest.put(entry);
        }
    }
    history.entries = latest.entries;
}

/// The latest row of a version counts; version 0 only marks that the table was made.
fn goose(history: &mut ForeignHistory, rows: &[Row<'_>]) {
    let mut latest = Latest::default();
    for row in rows.iter().filter(|row| row.number("version_id") != Some(0)) {
        if let Some(mut entry) = row.entry("version_id", "", "tstamp") {
            entry.applied = row.truth("is_applied");
            latest.put(entry);
        }
    }
    history.entries = latest.entries;
}

/// One number: every migration up to it is applied. golang-migrate sets the number first and marks
/// it dirty meanwhile (-1 on the way down from the first); tern starts at 0.
fn one_number(history: &mut ForeignHistory, rows: &[Row<'_>], has_dirty: bool) {
    let Some(row) = rows.first() else { return };
    history.dirty = has_dirty && row.truth("dirty");
    let Some(number) = row
        .number("version")
        .filter(|number| *number > 0 || has_dirty && *number == 0 || history.dirty)
    else {
        return;
    };
    history.applied_up_to = Some(number);
    history.entries.push(ForeignEntry {
        version: number.to_string(),
        name: None,
        applied: !history.dirty,
        at: None,
    });
}

/// Applied when as many statements ran as the file has. A baseline (bit 1 of its type) covers
/// everything up to it. Names that start with a dot are Atlas' own notes.
fn atlas(history: &mut ForeignHistory, rows: &[Row<'_>]) {
    for row in rows {
        let Some(mut entry) = row.entry("version", "description", "executed_at") else { continue };
        if entry.version.starts_with('.') {
            continue;
        }
        let is_whole =
            row.number("applied").is_some_and(|applied| row.number("total") == Some(applied));
        entry.applied = is_whole && row.text("error").is_none_or(str::is_empty);
        history.dirty |= !entry.applied;
        if entry.applied && row.number("type").is_some_and(|kind| kind & 1 == 1) {
            history.applied_up_to = history.applied_up_to.max(entry.version.parse().ok());
        }
        history.entries.push(entry);
    }
}

/// A name may have several rows, one for each attempt: applied if one is finished and not rolled
/// back; one that is neither failed half-way.
fn prisma(history: &mut ForeignHistory, rows: &[Row<'_>]) {
    let mut latest = Latest::default();
    for row in rows {
        let Some(mut entry) = row.entry("migration_name", "", "finished_at") else { continue };
        let rolled_back = row.text("rolled_back_at").is_some();
        entry.applied = entry.at.is_some() && !rolled_back;
        history.dirty |= entry.at.is_none() && !rolled_back;
        if !latest.get(&entry.version).is_some_and(|known| known.applied) {
            latest.put(entry);
        }
    }
    history.entries = latest.entries;
}

/// Entries of which the latest of a version counts, in the order of their first appearance.
#[derive(Default)]
struct Latest {
    entries: Vec<ForeignEntry>,
    places: HashMap<String, usize>,
}

impl Latest {
    fn get(&self, version: &str) -> Option<&ForeignEntry> {
        self.entries.get(*self.places.get(version)?)
    }

    fn put(&mut self, entry: ForeignEntry) {
        match self.places.get(&entry.version) {
            Some(&place) => self.entries[place] = entry,
            None => {
                self.places.insert(entry.version.clone(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }
}
