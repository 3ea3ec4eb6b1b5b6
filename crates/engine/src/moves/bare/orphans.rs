//! Rows that refer to nothing, found when their foreign key comes back: rows that they refer to were
//! rejected, or a run died before it wrote them. They are taken out again, as if they had been
//! refused when they were written.

use std::collections::{BTreeMap, HashSet};

use dunlin_model::moves::TableName;

use super::super::key::{KeyColumns, RowKey, columns_of};
use super::super::key_set::key_hash;
use super::super::pack::{Entry, Pack};
use super::super::ports::Written;
use super::super::produce::batch;
use super::super::report::{Note, NoteKind};
use super::super::session::Session;
use super::super::writer::pack_area;
use super::journal::Journal;
use super::port::Definition;
use super::strip::hands;
use crate::{ErrorKind, TargetError};

/// Keys that are asked for at once.
const AT_ONCE: u32 = 10_000;

/// Takes out every row that a foreign key would refuse.
pub(super) async fn remove(
    session: &mut Session<'_>,
    journal: &Journal,
    key: &Definition,
) -> Result<Vec<(String, Note)>, TargetError> {
    let of = keyed(session, &key.table).await?;
    let mut all = Vec::new();
    loop {
        let found = hands(session)?.orphans(&of, key, AT_ONCE).await?;
        if found.num_rows() == 0 {
            return Ok(all);
        }
        let keys = KeyColumns::of_target(of.key_fields(), found.columns())?;
        let wanted: HashSet<u128> =
            (0..found.num_rows()).map(|row| key_hash(&keys.key(row))).collect();
        let before = all.len();
        for rule in journal.rules(&key.table) {
            take_out(session, &of, rule, &wanted, key, &mut all).await?;
        }
        if all.len() == before {
            return Err(not_ours(session, key, found.num_rows()));
        }
    }
}

/// A table with the columns of its key alone.
pub(super) async fn keyed(
    session: &mut Session<'_>,
    table: &TableName,
) -> Result<Written, TargetError> {
    let catalogue = session.target.catalogue().await?;
    let relation = catalogue.relation(table);
    let fields: Option<Vec<_>> = relation.and_then(|relation| {
        relation.key.iter().map(|name| relation.field(name).cloned()).collect()
    });
    match fields.filter(|fields| !fields.is_empty()) {
        Some(fields) => {
            let key = (0..fields.len()).collect();
            Ok(Written { table: table.clone(), fields, key, triggers: true })
        }
        None => Err(TargetError::new(
            ErrorKind::ShapeChanged,
            format!("{table} has no key any more, and rows of it must be found by it"),
        )),
    }
}

async fn take_out(
    session: &mut Session<'_>,
    of: &Written,
    rule: &str,
    wanted: &HashSet<u128>,
    key: &Definition,
    all: &mut Vec<(String, Note)>,
) -> Result<(), TargetError> {
    let area = pack_area(rule);
    let mut from = i64::MIN;
    loop {
        let stored = session.stored(&area, from).await?;
        let Some(last) = stored.last() else { return Ok(()) };
        from = last.number + 1;
        let mut packs: BTreeMap<i64, Pack> = BTreeMap::new();
        let mut gone: Vec<Entry> = Vec::new();
        for entry in &stored {
            let mut pack = Pack::read(entry)?;
            let (out, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut pack.entries)
                .into_iter()
                .partition(|entry| wanted.contains(&key_hash(&entry.new)));
            if !out.is_empty() {
                pack.entries = stay;
                packs.insert(pack.number, pack);
                gone.extend(out);
            }
        }
        if gone.is_empty() {
            continue;
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            match try_take_out(session, of, &area, &packs, &gone).await {
                Ok(()) => break,
                Err(error) => session.failed(error, attempt).await?,
            }
        }
        let reason = format!("refers to a row that is not there: foreign key \"{}\"", key.name);
        all.extend(gone.into_iter().map(|entry| {
            let note = Note { old: entry.old, kind: NoteKind::Rejected, reason: reason.clone() };
            (rule.to_owned(), note)
        }));
    }
}

async fn try_take_out(
    session: &mut Session<'_>,
    of: &Written,
    area: &str,
    packs: &BTreeMap<i64, Pack>,
    gone: &[Entry],
) -> Result<(), TargetError> {
    session.begin().await?;
    let types: Vec<_> =
        of.fields.iter().map(|field| super::super::arrow_type(&field.value_type, true)).collect();
    let keys: Vec<&RowKey> = gone.iter().map(|entry| &entry.new).collect();
    let columns = columns_of(&types, keys.iter().copied())?;
    let keys = batch(&of.fields, columns, gone.len())?;
    let refused = session.target.delete(of, &keys).await?;
    if let Some((_, reason)) = refused.rejected.first() {
        return Err(TargetError::new(
            ErrorKind::Statement,
            format!("a row of {} refers to nothing and can't be taken out: {reason}", of.table),
        ));
    }
    let stored: Vec<_> = packs.values().map(|pack| pack.store(area)).collect();
    let name = session.name.clone();
    session.target.put(&name, &stored).await?;
    session.commit().await
}

fn not_ours(session: &Session<'_>, key: &Definition, count: usize) -> TargetError {
    let rows = if count == 1 { "1 row".to_owned() } else { format!("{count} rows") };
    TargetError::new(
        ErrorKind::Statement,
        format!(
            "the foreign key {} of {} can't come back: {rows} that the move did not write refer \
             to rows that are not there ({} to {})",
            key.name,
            key.table,
            key.columns.join(", "),
            key.to.as_deref().unwrap_or("another table"),
        ),
    )
    .help(format!(
        "somebody wrote {} although it was kept: correct or delete those rows, and then: dunlin \
         move restore {}",
        key.table, session.name
    ))
}
