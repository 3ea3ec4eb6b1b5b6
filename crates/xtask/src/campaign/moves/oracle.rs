//! What must stand in the new database after a night: what the old rows say, by SQL of its own, but
//! for rows that the application has changed, deleted, or needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::application::Theirs;
use crate::Failure;

/// A table and a key in it: a natural one, or the row's own.
pub(super) type At = (String, String);

/// A row of the new database.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// What it says, with rows that it refers to named by what they say.
    pub(super) says: Value,
    /// Its own key.
    pub(super) key: String,
    /// Its columns.
    pub(super) columns: Value,
}

/// The new database, by natural keys.
pub(super) type Snapshot = BTreeMap<At, Row>;

/// What the old rows must become, by natural keys.
pub(super) type Ideal = BTreeMap<At, Value>;

/// Reads what a query printed. Two rows of one natural key are one too many.
pub(super) fn snapshot(text: &str) -> Result<(Snapshot, Vec<String>), Failure> {
    let mut rows = Snapshot::new();
    let mut doubled = Vec::new();
    for line in text.lines() {
        let [table, natural, says, key, columns] = parsed(line)?;
        let at = (plain(&table), plain(&natural));
        let row = Row { says, key: plain(&key), columns };
        if rows.insert(at.clone(), row).is_some() {
            doubled.push(format!("twice there: {} {}", at.0, at.1));
        }
    }
    Ok((rows, doubled))
}

/// Reads what a query printed.
pub(super) fn ideal(text: &str) -> Result<Ideal, Failure> {
    let lines = text.lines().map(|line| {
        let [table, natural, says] = parsed(line)?;
        Ok(((plain(&table), plain(&natural)), says))
    });
    lines.collect()
}

fn parsed<const N: usize>(line: &str) -> Result<[Value; N], Failure> {
    let values: Vec<Value> = serde_json::from_str(line)
        .map_err(|error| Failure::because(format!("cannot read `{line}`"), &error))?;
    values.try_into().map_err(|_| Failure::new(format!("cannot read `{line}`")))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Keys that never change once they are given.
#[derive(Debug, Default)]
pub(super) struct Ids {
    by_code: BTreeMap<At, String>,
    /// The account of each old person.
    accounts: BTreeMap<String, String>,
}

impl Ids {
    /// Learns the keys of new rows, and compares those of others with what they were.
    pub(super) fn see(&mut self, there: &Snapshot) -> Vec<String> {
        let mut complaints = Vec::new();
        for (at, row) in there {
            if matches!(at.0.as_str(), "tasks" | "notes" | "events" | "files" | "notices") {
                let known = self.by_code.entry(at.clone()).or_insert_with(|| row.key.clone());
                if *known != row.key {
                    complaints.push(format!("another id: {} {}", at.0, at.1));
                }
            }
        }
        complaints
    }

    /// Compares each key with that of all nights before. `people`: a line for each old one, its
    /// number and its address.
    pub(super) fn compare(&mut self, there: &Snapshot, people: &str) -> Vec<String> {
        let mut complaints = self.see(there);
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (number, mail) in people.lines().filter_map(|line| line.split_once(' ')) {
            groups.entry(mail).or_default().push(number);
        }
        let account = |mail: &str| there.get(&("accounts".to_owned(), mail.to_owned()));
        let in_use: BTreeSet<&str> =
            groups.keys().filter_map(|mail| account(mail)).map(|row| row.key.as_str()).collect();
        let mut now = BTreeMap::new();
        for (mail, members) in &groups {
            let Some(row) = account(mail) else { continue };
            let before: BTreeSet<&str> = members
                .iter()
                .filter_map(|number| self.accounts.get(*number))
                .map(String::as_str)
                .collect();
            // A group that splits has one id to give: the others get new ones.
            let free = before.iter().any(|id| !in_use.contains(id));
            if !before.is_empty() && !before.contains(row.key.as_str()) && free {
                complaints.push(format!("another id: accounts {mail} (of {members:?})"));
            }
            now.extend(members.iter().map(|number| ((*number).to_owned(), row.key.clone())));
        }
        self.accounts = now;
        complaints
    }

    /// The key that a row has, or would have, in the new database.
    fn key(&self, at: &At, there: &Snapshot) -> Option<String> {
        let of = |table: &str, natural: &str| {
            there.get(&(table.to_owned(), natural.to_owned())).map(|row| row.key.clone())
        };
        match at.0.as_str() {
            "memberships" => {
                let (mail, team) = at.1.rsplit_once(' ')?;
                Some(format!("{} {team}", of("accounts", mail)?))
            }
            "signoffs" => {
                let (code, step) = at.1.split_once(' ')?;
                Some(format!("{} {step}", of("tasks", code)?))
            }
            "watchers" => {
                let (code, mail) = at.1.split_once(' ')?;
                Some(format!("{} {}", of("tasks", code)?, of("accounts", mail)?))
            }
            _ => self.by_code.get(at).cloned().or_else(|| of(&at.0, &at.1)),
        }
    }
}

/// What a night came to.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// What is wrong, a row each.
    pub(super) complaints: Vec<String>,
    /// Natural keys of rows that no old row stands for, and that others need.
    pub(super) kept: BTreeSet<At>,
}

/// Compares both ways. `before`: the new database as the night found it.
pub(super) fn judge(
    ideal: &Ideal,
    there: &Snapshot,
    before: &Snapshot,
    theirs: &mut Theirs,
    ids: &Ids,
) -> Judgement {
    let mut judgement = Judgement::default();
    let mut wanted: BTreeSet<At> = BTreeSet::new();
    for (at, says) in ideal {
        let own = ids.key(at, there).map(|key| (at.0.clone(), key));
        let deleted = own.as_ref().is_some_and(|own| theirs.deleted.contains(own));
        wanted.extend(own.clone());
        match there.get(at) {
            Some(_) if deleted => {
                judgement.complaints.push(format!("deleted by them, and back: {} {}", at.0, at.1));
            }
            Some(row) => {
                let own = (at.0.clone(), row.key.clone());
                if !theirs.changed.contains_key(&own) && row.says != *says {
                    judgement
                        .complaints
                        .push(format!("wrong: {} {}: {says}, found {}", at.0, at.1, row.says));
                }
            }
            None if deleted => {}
            None => judgement.complaints.push(format!("lost: {} {}: {says}", at.0, at.1)),
        }
    }
    // What was deleted there and is gone here is forgotten: it may come back as a new row.
    theirs.deleted.retain(|own| wanted.contains(own));
    theirs_are_as_they_were(there, theirs, &mut judgement);
    rest(ideal, there, before, theirs, &mut judgement);
    judgement
}

fn theirs_are_as_they_were(there: &Snapshot, theirs: &mut Theirs, judgement: &mut Judgement) {
    let by_key: BTreeMap<At, &Row> =
        there.iter().map(|(at, row)| ((at.0.clone(), row.key.clone()), row)).collect();
    for (own, columns) in theirs.changed.iter().chain(&theirs.added) {
        match by_key.get(own) {
            None => judgement.complaints.push(format!("their row is gone: {} {}", own.0, own.1)),
            Some(row) if row.columns != *columns => judgement.complaints.push(format!(
                "their row was changed: {} {}: {columns}, found {}",
                own.0, own.1, row.columns
            )),
            Some(_) => {}
        }
    }
    // A column that the mapping doesn't name goes with its row, and with nothing else.
    theirs.captions.retain(|own, _| by_key.contains_key(own));
    for (own, caption) in &theirs.captions {
        if by_key[own].columns["caption"] != **caption {
            judgement.complaints.push(format!("a column that isn't ours was written: {}", own.1));
        }
    }
}

/// Rows that no old row stands for: they are the application's, or others need them.
fn rest(
    ideal: &Ideal,
    there: &Snapshot,
    before: &Snapshot,
    theirs: &Theirs,
    judgement: &mut Judgement,
) {
    let mut open: BTreeMap<&At, &Row> = BTreeMap::new();
    let mut needed: BTreeSet<At> = BTreeSet::new();
    for (at, row) in there {
        let own = (at.0.clone(), row.key.clone());
        if ideal.contains_key(at)
            || theirs.added.contains_key(&own)
            || theirs.changed.contains_key(&own)
        {
            needed.extend(referred(row));
        } else {
            open.insert(at, row);
        }
    }
    while let Some(at) = open
        .iter()
        .find(|(at, row)| needed.contains(&(at.0.clone(), row.key.clone())))
        .map(|(at, _)| (*at).clone())
    {
        let Some(row) = open.remove(&at) else { break };
        needed.extend(referred(row));
        if before.get(&at).is_some_and(|was| was.columns != row.columns) {
            judgement.complaints.push(format!("kept, and changed: {} {}", at.0, at.1));
        }
        judgement.kept.insert(at);
    }
    for (at, row) in open {
        judgement.complaints.push(format!("left behind: {} {}: {}", at.0, at.1, row.says));
    }
}

/// The rows that a row refers to, by their own keys.
pub(super) fn referred(row: &Row) -> Vec<At> {
    let tables = [
        ("account_id", "accounts"),
        ("owner_id", "accounts"),
        ("taker_id", "accounts"),
        ("author_id", "accounts"),
        ("actor_id", "accounts"),
        ("team_id", "teams"),
        ("task_id", "tasks"),
        ("copy_of_id", "tasks"),
        ("note_id", "notes"),
        ("tag_id", "tags"),
    ];
    tables
        .iter()
        .filter(|(column, _)| !row.columns[*column].is_null())
        .map(|(column, table)| ((*table).to_owned(), plain(&row.columns[*column])))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(table: &str, natural: &str) -> At {
        (table.to_owned(), natural.to_owned())
    }

    fn row(says: &str, key: &str, columns: Value) -> Row {
        Row { says: json!([says]), key: key.to_owned(), columns }
    }

    fn note(says: &str) -> Row {
        row(says, "n-1", json!({"id": "n-1", "body": says, "author_id": "a-1"}))
    }

    fn complaints(ideal: &Ideal, there: &Snapshot, theirs: &mut Theirs) -> Vec<String> {
        let mut ids = Ids::default();
        ids.see(there);
        judge(ideal, there, there, theirs, &ids).complaints
    }

    #[test]
    fn rows_are_compared_both_ways() {
        let ideal = Ideal::from([
            (at("notes", "e1"), json!(["right"])),
            (at("notes", "e2"), json!(["there"])),
        ]);
        let account = row("somebody", "a-2", json!({"id": "a-2"}));
        let there =
            Snapshot::from([(at("notes", "e1"), note("wrong")), (at("accounts", "m"), account)]);
        let found = complaints(&ideal, &there, &mut Theirs::default());
        let kinds: Vec<&str> = found.iter().filter_map(|one| one.split(':').next()).collect();
        assert_eq!(kinds, ["wrong", "lost", "left behind"]);
    }

    #[test]
    fn what_the_application_has_done_stays() {
        let ideal = Ideal::from([
            (at("notes", "e1"), json!(["ours"])),
            (at("events", "e2"), json!(["deleted there"])),
        ]);
        let there = Snapshot::from([
            (at("notes", "e1"), note("theirs")),
            // The note refers to it.
            (at("accounts", "m"), row("gone from the source", "a-1", json!({"id": "a-1"}))),
        ]);
        let theirs = || Theirs {
            changed: [(at("notes", "n-1"), note("theirs").columns)].into(),
            deleted: [at("events", "v-2")].into(),
            ..Theirs::default()
        };
        let mut ids = Ids::default();
        let event = row("deleted there", "v-2", json!({"id": "v-2"}));
        ids.see(&Snapshot::from([(at("events", "e2"), event.clone())]));
        let judgement = judge(&ideal, &there, &there, &mut theirs(), &ids);
        assert_eq!(judgement.complaints, [""; 0]);
        assert_eq!(judgement.kept, [at("accounts", "m")].into());

        let mut written_over = there.clone();
        written_over.insert(at("notes", "e1"), note("ours"));
        written_over.insert(at("events", "e2"), event);
        let judgement = judge(&ideal, &written_over, &there, &mut theirs(), &ids);
        assert_eq!(judgement.complaints.len(), 2, "{:?}", judgement.complaints);
    }

    /// A group that takes in another keeps one of their ids; a group that splits gives it to one.
    #[test]
    fn accounts_keep_their_ids() {
        let accounts = |all: &[(&str, &str)]| -> Snapshot {
            all.iter()
                .map(|(mail, key)| (at("accounts", mail), row(mail, key, json!({}))))
                .collect()
        };
        let seen = || {
            let mut ids = Ids::default();
            let first = accounts(&[("a", "1"), ("b", "3")]);
            assert_eq!(ids.compare(&first, "1 a\n2 a\n3 b"), [""; 0]);
            ids
        };
        assert_eq!(seen().compare(&accounts(&[("b", "3")]), "1 b\n2 b\n3 b"), [""; 0]);
        assert_eq!(
            seen().compare(&accounts(&[("a", "1"), ("c", "2"), ("b", "3")]), "1 a\n2 c\n3 b"),
            [""; 0]
        );
        assert_eq!(seen().compare(&accounts(&[("a", "9"), ("b", "3")]), "1 a\n2 a\n3 b").len(), 1);
    }
}
