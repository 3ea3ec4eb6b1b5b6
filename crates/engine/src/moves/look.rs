//! What people ask about a move: how it stands, which rows were told of, which id became which.

use std::collections::{BTreeMap, HashMap};

use dunlin_model::moves::{Field, IdKind, ValueType};

use super::assign::ids_area;
use super::ids::IdCipher;
use super::key::{Part, RowKey};
use super::key_set::key_hash;
use super::matching::matched_area;
use super::notes::NOTES_AREA;
use super::pack::{Entry, Pack};
use super::plan::MovePlan;
use super::planned::planned;
use super::ports::{MoveTarget, Stored};
use super::report::Reject;
use super::run::MoveJob;
use super::spill::Room;
use super::state::{AREA, MoveState};
use super::stored_lists::{read_ids, read_matches, read_pairs};
use super::translate::Ids;
use super::writer::pack_area;
use crate::report::EngineError;
use crate::{ErrorKind, TargetError};

/// Entries that are read from the store at once.
const AT_ONCE: u32 = 64;

/// How the move stands; `None`: it has never run.
///
/// # Errors
/// The database's.
pub async fn standing(
    target: &mut dyn MoveTarget,
    name: &str,
) -> Result<Option<MoveState>, TargetError> {
    let stored = target.stored(name, AREA, 0, 1).await?;
    stored.first().map(MoveState::read).transpose()
}

/// The rows that the last run told of, one after the other.
///
/// # Errors
/// The database's.
pub async fn rejects(
    target: &mut dyn MoveTarget,
    name: &str,
    mut each: impl FnMut(Reject),
) -> Result<(), TargetError> {
    let mut from = 0;
    loop {
        let stored = target.stored(name, NOTES_AREA, from, AT_ONCE).await?;
        let Some(last) = stored.last() else { return Ok(()) };
        from = last.number + 1;
        for entry in &stored {
            let rows: Vec<Reject> = serde_json::from_slice(
                entry.value.as_deref().unwrap_or_default(),
            )
            .map_err(|_| {
                TargetError::new(ErrorKind::LedgerFormat, "the list of rows can't be read")
                    .help("a newer version of Dunlin may have written it")
            })?;
            rows.into_iter().for_each(&mut each);
        }
    }
}

/// Every old key of a namespace with its new id, in the order of the old keys; merged ones after
/// those.
///
/// # Errors
/// A namespace that isn't there; the databases'.
pub async fn export_ids(
    move_job: &MoveJob,
    namespace: &str,
    mut each: impl FnMut(&str, &str),
) -> Result<(), EngineError> {
    let mut source = move_job.open_source().await?;
    let mut target = move_job.target.move_target().await?;
    let (plan, _) = planned(move_job, source.as_mut(), target.as_mut()).await?;
    drop(source);
    let name = &move_job.mapping.name;
    let Some(state) = standing(target.as_mut(), name).await? else {
        return Err(never_ran(name).into());
    };
    let secret = state.secret(move_job.secret.as_ref())?;
    let place = namespace_of(&plan, namespace)?;
    let Some(maker) = plan.namespaces[place].maker else {
        let matching = plan.namespaces[place].matching.as_ref();
        let Some(field) = matching.map(|matching| &matching.written.fields[0]) else {
            return Ok(());
        };
        return Ok(export_matches(target.as_mut(), name, namespace, field, each).await?);
    };
    let maker = &plan.rules[maker];
    let Some(field) = maker.id_field.map(|place| &maker.written.fields[place]) else {
        return Ok(());
    };
    let at = maker.written.key.iter().position(|place| Some(*place) == maker.id_field).unwrap_or(0);
    let leaders = read_pairs(&all(target.as_mut(), name, &format!("leaders/{namespace}")).await?)?;
    let room = Room::new(move_job.memory_bytes);
    let ids = stored_ids(&plan, place, target.as_mut(), name, &leaders, &room).await?;
    let cipher = IdCipher::new(&secret, &plan.mapping.id_key.clone().unwrap_or_default());
    let mut members: BTreeMap<&RowKey, Part> = BTreeMap::new();
    for member in leaders.keys() {
        let id = ids.id(&cipher, field, member)?;
        members.extend(id.and_then(|id| id.0.into_iter().next()).map(|id| (member, id)));
    }
    // Members outlive the rows that they became: ids of rows that are gone are nobody's.
    let mut used: HashMap<&Part, bool> = members.values().map(|id| (id, false)).collect();
    let area = pack_area(&maker.rule.name);
    if !used.is_empty() {
        each_pack(target.as_mut(), name, &area, |entry| {
            if let Some(is_used) = entry.new.0.get(at).and_then(|id| used.get_mut(id)) {
                *is_used = true;
            }
        })
        .await?;
    }
    each_pack(target.as_mut(), name, &area, |entry| {
        // What a member became before it was merged may still be there, for the application's rows.
        let is_merged = members.get(&entry.old).is_some_and(|id| used[id]);
        if !is_merged {
            each(&entry.old.text(), &id_text(field, entry.new.0.get(at)));
        }
    })
    .await?;
    for (member, id) in members.iter().filter(|(_, id)| used[id]) {
        each(&member.text(), &id_text(field, Some(id)));
    }
    Ok(())
}

/// Goes through the entries of a rule's packs.
async fn each_pack(
    target: &mut dyn MoveTarget,
    name: &str,
    area: &str,
    mut each: impl FnMut(&Entry),
) -> Result<(), TargetError> {
    let mut from = i64::MIN;
    loop {
        let stored = target.stored(name, area, from, AT_ONCE).await?;
        let Some(last) = stored.last() else { return Ok(()) };
        from = last.number + 1;
        for entry in &stored {
            Pack::read(entry)?.entries.iter().for_each(&mut each);
        }
    }
}

async fn stored_ids(
    plan: &MovePlan,
    place: usize,
    target: &mut dyn MoveTarget,
    name: &str,
    leaders: &BTreeMap<RowKey, RowKey>,
    room: &Room,
) -> Result<Ids, TargetError> {
    let namespace = &plan.namespaces[place];
    let mut ids = Ids::of(namespace, room);
    for (member, leader) in leaders.iter().filter(|(member, leader)| member != leader) {
        ids.leaders.put(key_hash(member), leader)?;
    }
    ids.leaders.settle()?;
    let area = match namespace.spec.kind {
        IdKind::Assigned => ids_area(&namespace.spec.name),
        IdKind::Matched => matched_area(&namespace.spec.name),
        IdKind::Keep | IdKind::Derived => return Ok(ids),
    };
    let mut from = i64::MIN;
    loop {
        let stored = target.stored(name, &area, from, AT_ONCE).await?;
        let Some(last) = stored.last() else { break };
        from = last.number + 1;
        for entry in &stored {
            if namespace.spec.kind == IdKind::Assigned {
                for (old, id) in read_ids(entry)? {
                    ids.assigned.push((key_hash(&old), id as u64))?;
                }
            } else {
                for one in read_matches(entry)? {
                    ids.matched.ids.put(key_hash(&one.old), &one.id)?;
                }
            }
        }
    }
    ids.assigned.settle()?;
    ids.matched.ids.settle()?;
    Ok(ids)
}

/// Ids that no rule makes, as they were stored.
async fn export_matches(
    target: &mut dyn MoveTarget,
    name: &str,
    namespace: &str,
    field: &Field,
    mut each: impl FnMut(&str, &str),
) -> Result<(), TargetError> {
    let area = matched_area(namespace);
    let mut from = i64::MIN;
    loop {
        let stored = target.stored(name, &area, from, AT_ONCE).await?;
        let Some(last) = stored.last() else { return Ok(()) };
        from = last.number + 1;
        for entry in &stored {
            for one in read_matches(entry)? {
                each(&one.old.text(), &id_text(field, one.id.0.first()));
            }
        }
    }
}

async fn all(
    target: &mut dyn MoveTarget,
    name: &str,
    area: &str,
) -> Result<Vec<Stored>, TargetError> {
    let mut all: Vec<Stored> = Vec::new();
    loop {
        let from = all.last().map_or(i64::MIN, |last| last.number + 1);
        let some = target.stored(name, area, from, AT_ONCE).await?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some);
    }
}

fn namespace_of(plan: &MovePlan, namespace: &str) -> Result<usize, TargetError> {
    let found = plan.namespaces.iter().position(|one| one.spec.name == namespace);
    found.ok_or_else(|| {
        let names: Vec<&str> = plan.namespaces.iter().map(|one| one.spec.name.as_str()).collect();
        TargetError::new(ErrorKind::Refused, format!("there is no namespace `{namespace}`"))
            .help(format!("there is: {}", names.join(", ")))
    })
}

fn id_text(field: &Field, part: Option<&Part>) -> String {
    match (part, &field.value_type) {
        (Some(Part::Bytes(bytes)), ValueType::Uuid) => match uuid::Uuid::from_slice(bytes) {
            Ok(id) => id.to_string(),
            Err(_) => hex::encode(bytes),
        },
        (Some(part), _) => RowKey(vec![part.clone()]).text(),
        (None, _) => String::new(),
    }
}

/// A question about a move that has written nothing yet.
pub(super) fn never_ran(name: &str) -> TargetError {
    TargetError::new(ErrorKind::Refused, format!("the move {name} has never run on this target"))
        .help(format!("dunlin move run {name}"))
}
