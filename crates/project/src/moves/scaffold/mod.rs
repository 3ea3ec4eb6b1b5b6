//! A first mapping between two databases: what is plain is written, what isn't is asked.

mod files;
mod lines;
mod pairing;
mod words;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use dunlin_model::moves::{Catalogue, Field, FileOptions, IdKind, Relation, TableName};

use self::lines::Lines;
use self::pairing::Pair;
use self::words::{comment_lines, expression_of, plain, toml_key, toml_string};

/// How far above the highest old number the application's own numbers begin, where nobody said: it
/// leaves the old application some months of new rows, and costs nothing.
const HEADROOM: u64 = 1000;

/// The text of a first mapping for `dunlin new move NAME`. Tables and columns that are named alike
/// are paired; whatever can't be decided stands there as a comment. It parses; whether it is whole,
/// `check_mapping` says.
#[must_use]
pub fn scaffold(
    name: &str,
    source_name: &str,
    target_name: &str,
    source: &Catalogue,
    target: &Catalogue,
) -> String {
    let pairs = pairing::pairs(source, target);
    let mut text = head(name, source_name, target_name);
    ids(&mut text, &pairs);
    text.push_str(CONFLICTS);
    let mut rules = String::new();
    let mut used: Vec<(&Relation, BTreeSet<String>)> = Vec::new();
    for pair in pairs.iter().filter(|pair| pair.old.is_some()) {
        let columns = rule(&mut rules, pair, &pairs);
        used.extend(pair.old.map(|old| (old, columns)));
    }
    files(&mut text, source);
    sources(&mut text, &used, source);
    if !rules.is_empty() {
        text.push_str("\n# --- What goes where\n");
        text.push_str(&rules);
    }
    open_tables(&mut text, &pairs, source);
    left_over(&mut text, source, &used);
    text
}

fn head(name: &str, source_name: &str, target_name: &str) -> String {
    let mut text = String::new();
    comment_lines(
        &mut text,
        &format!(
            "The move `{}`. Tables and columns that are named alike are paired below; what stands \
             behind a `#` with a `?` wants your answer. Values in `set` are SQL expressions over \
             the old row. `dunlin move plan {}` says what is still wrong.",
            plain(name),
            plain(name)
        ),
    );
    let mut lines = Lines::default();
    lines.add("source", toml_string(source_name), Some("databases in dunlin.toml".to_owned()));
    lines.add("target", toml_string(target_name), None);
    lines.add("mode", toml_string("sync"), Some("writes what differs".to_owned()));
    lines.add("time_zone", toml_string("UTC"), Some("of timestamps that carry none".to_owned()));
    let note = "goes into every derived id; fixed by the first run";
    lines.add("id_key", toml_string(name), Some(note.to_owned()));
    lines.write(&mut text);
    text
}

const CONFLICTS: &str = "\n[conflicts]                       # the new application is used meanwhile\n\
changed_there = \"keep theirs\"     # keep theirs | overwrite | stop\n\
deleted_there = \"leave deleted\"   # leave deleted | restore | stop\n\
gone_here     = \"delete\"          # delete | keep\n\
max_deleted   = \"10%\"             # of a table, in one run\n";

fn ids(text: &mut String, pairs: &[Pair<'_>]) {
    let mut lines = Lines::default();
    for ids in pairs.iter().filter_map(|pair| pair.ids.as_ref()) {
        let value = match ids.kind {
            IdKind::Keep if ids.has_counter => {
                format!("{{ kind = \"keep\", headroom = {HEADROOM} }}")
            }
            IdKind::Keep => toml_string("keep"),
            IdKind::Derived => toml_string("derived"),
            IdKind::Assigned | IdKind::Matched => toml_string("assigned"),
        };
        lines.add(&toml_key(&ids.name), value, Some(ids.note.clone()));
    }
    text.push_str("\n[ids]   # how an old key becomes a new id: keep | derived | assigned\n");
    lines.write(text);
}

/// How most files are written.
fn usual_options(source: &Catalogue) -> Option<FileOptions> {
    let all: Vec<&FileOptions> =
        source.files.iter().flatten().map(|guess| &guess.options).collect();
    let count = |one: &FileOptions| all.iter().filter(|other| **other == one).count();
    all.iter().copied().max_by_key(|one| count(one)).cloned()
}

/// `[files]`, where files are not written in the usual way.
fn files(text: &mut String, source: &Catalogue) {
    let Some(usual) = usual_options(source).filter(|usual| *usual != FileOptions::default()) else {
        return;
    };
    text.push_str("\n[files]   # how the files are written, as their beginnings look\n");
    text.push_str(&files::lines(&usual));
}

/// `[from.NAME]` of each old table of which something must be said.
fn sources(text: &mut String, used: &[(&Relation, BTreeSet<String>)], source: &Catalogue) {
    let mut said = String::new();
    for (old, columns) in used {
        let left: Vec<String> = old
            .fields
            .iter()
            .filter(|field| !columns.contains(&field.name) && !old.key.contains(&field.name))
            .map(|field| toml_string(&field.name))
            .collect();
        let guess = source.files.iter().flatten().find(|guess| guess.table == old.name);
        if left.is_empty() && !old.key.is_empty() && guess.is_none() {
            continue;
        }
        let _ = writeln!(said, "\n[from.{}]", toml_key(&old.name.to_string()));
        if let Some(guess) = guess {
            let usual = usual_options(source);
            said.push_str(&files::said(guess, usual.as_ref()));
        }
        if old.key.is_empty() {
            said.push_str(
                "# key = [\"?\"]   # it has no key: which columns tell its rows apart?\n",
            );
        }
        if !left.is_empty() {
            said.push_str("# Nothing below uses these columns. Use them, or say so:\n");
            let list = format!("unused = [{}]", left.join(", "));
            // TOML lets a list go on over several lines.
            comment_lines(&mut said, &list);
        }
    }
    if !said.is_empty() {
        text.push_str("\n# --- What is said about old tables once, for all rules below\n");
        text.push_str(&said);
    }
}

/// A rule. Gives the old columns that it uses.
fn rule(text: &mut String, pair: &Pair<'_>, pairs: &[Pair<'_>]) -> BTreeSet<String> {
    let Some(old) = pair.old else { return BTreeSet::new() };
    let _ = writeln!(text, "\n[into.{}]", toml_key(&pair.new.name.to_string()));
    let mut lines = Lines::default();
    lines.add("from", toml_string(&old.name.to_string()), None);
    makes(&mut lines, pair);
    lines.write(text);
    let mut lines = Lines::default();
    let used = settings(&mut lines, pair.new, Some(old), pairs);
    lines.write(text);
    used
}

/// The columns of a rule. Without an old table, or with one that is only supposed, all want an
/// answer. Gives the old columns that are used.
fn settings(
    lines: &mut Lines,
    new: &Relation,
    old: Option<&Relation>,
    pairs: &[Pair<'_>],
) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let sure = pairs.iter().any(|pair| pair.new.name == new.name && pair.old.is_some());
    for field in fields(new) {
        let key = format!("set.{}", toml_key(&field.name));
        let column = old.and_then(|old| pairing::old_column(old, field));
        if let Some(to) = pairing::reference(new, field) {
            let known = pairing::ids_of(pairs, to).map(|ids| ids.name.clone());
            let open = !sure || known.is_none() || column.is_none();
            let ids = known.unwrap_or_else(|| words::id_name(&to.name));
            let of = column.or_else(|| old.and_then(|old| pairing::guess_reference(old, to)));
            let of = of.map_or_else(|| "?".to_owned(), |of| expression_of(&of.name));
            let note = open.then(|| reference_note(field, to));
            lines.put(open, &key, reference_to(&ids, &of, field), note);
            used.extend(column.filter(|_| !open).map(|column| column.name.clone()));
        } else if let Some(column) = column {
            let (value, note) = pairing::copy(column, field);
            lines.put(!sure, &key, toml_string(&value), note);
            used.insert(column.name.clone());
        } else {
            lines.ask(&key, "?".to_owned(), question(field, old));
        }
    }
    used
}

fn makes(lines: &mut Lines, pair: &Pair<'_>) {
    if let Some(ids) = &pair.ids {
        lines.add("makes", toml_string(&ids.name), None);
    } else if let Some(field) = pairing::id_column(pair.new) {
        let note =
            format!("`{}` is {}: how it comes about?", plain(&field.name), plain(&field.type_name));
        lines.ask("makes", toml_string("?"), note);
    }
}

/// The columns that a rule sets.
fn fields(new: &Relation) -> impl Iterator<Item = &Field> {
    let made = pairing::id_column(new).map(|field| field.name.as_str());
    new.fields.iter().filter(move |field| !field.generated && Some(field.name.as_str()) != made)
}

fn reference_to(ids: &str, of: &str, field: &Field) -> String {
    let missing = if field.nullable { "null" } else { "leave out" };
    format!("{{ new = {}, of = {}, missing = \"{missing}\" }}", toml_string(ids), toml_string(of))
}

fn reference_note(field: &Field, to: &TableName) -> String {
    format!("{}, refers to {}", kind_of(field), plain(&to.to_string()))
}

/// What a column wants, and what the old table has that sounds like it.
fn question(field: &Field, old: Option<&Relation>) -> String {
    let mut note = kind_of(field);
    let near = old.map(|old| pairing::sounding_like(old, field)).unwrap_or_default();
    if !near.is_empty() {
        let names: Vec<String> = near.iter().map(|near| plain(near)).collect();
        let _ = write!(note, "; the old table has {}", names.join(", "));
    }
    note
}

fn kind_of(field: &Field) -> String {
    let mut kind = plain(&field.type_name);
    if !field.nullable {
        kind.push_str(", NOT NULL");
    }
    if field.has_default {
        kind.push_str(", has a default");
    }
    kind
}

/// New tables that no old one is called like.
fn open_tables(text: &mut String, pairs: &[Pair<'_>], source: &Catalogue) {
    if pairs.iter().all(|pair| pair.old.is_some()) {
        return;
    }
    text.push_str(
        "\n# --- New tables that no old one is called like: from where do their rows come?\n",
    );
    for pair in pairs.iter().filter(|pair| pair.old.is_none()) {
        let _ = writeln!(text, "\n# [into.{}]", toml_key(&pair.new.name.to_string()));
        let mut lines = Lines::default();
        let supposed = pairing::supposed(source, pair.new);
        match supposed {
            Some(old) => {
                let note = "a guess: columns are named alike".to_owned();
                lines.ask("from", toml_string(&old.name.to_string()), note);
            }
            None => lines.ask("from", toml_string("?"), String::new()),
        }
        if let Some(field) = pairing::id_column(pair.new) {
            let name = words::id_name(&pair.new.name.name);
            let note = format!("{}, with a line under [ids]", plain(&field.type_name));
            lines.ask("makes", toml_string(&name), note);
        }
        lines.write(text);
        let mut lines = Lines::default();
        settings(&mut lines, pair.new, supposed, pairs);
        lines.write(text);
    }
}

/// Old tables that no rule takes.
fn left_over(text: &mut String, source: &Catalogue, used: &[(&Relation, BTreeSet<String>)]) {
    let left: Vec<&Relation> = source
        .relations
        .iter()
        .filter(|old| old.is_table && !used.iter().any(|(used, _)| used.name == old.name))
        .collect();
    let Some(first) = left.first() else { return };
    text.push_str("\n# --- What goes nowhere, and why\n\n");
    let names: Vec<String> = left.iter().map(|old| plain(&old.name.to_string())).collect();
    comment_lines(
        text,
        &format!(
            "No rule above takes anything from these: {}. Each belongs into a rule, or here:",
            names.join(", ")
        ),
    );
    let mut lines = Lines::default();
    lines.ask("from", toml_string(&first.name.to_string()), String::new());
    lines.ask("because", toml_string("?"), String::new());
    text.push_str("# [[leave_out]]\n");
    lines.write(text);
}
