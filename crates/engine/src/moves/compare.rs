//! Verifying alone: what should be there, computed from the source, beside what is, row by row.
//!
//! Nothing is written and no lease is taken, so a login that may only read will do. Each source and
//! each table is read once; only the hashes of keys and rows are kept. Rows that differ are computed
//! once more, under the same snapshot, to tell which of their columns do.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use dunlin_model::moves::{Changed, Conflicts, Deleted, Gone};
use tokio::sync::mpsc;

use super::columns::{Columns, bug};
use super::comparison::{Comparison, Difference, DifferenceKind, RuleComparison};
use super::course::KEYS_SHARE;
use super::decide::decide;
use super::differing::{Beside, names};
use super::gate::Gate;
use super::gated::Gated;
use super::ids::IdCipher;
use super::key::{KeyColumns, RowKey};
use super::key_set::key_hash;
use super::look::{never_ran, rejects};
use super::notes::word;
use super::pack::Pack;
use super::pairs::{Pair, Pairs};
use super::plan::MovePlan;
use super::ports::{Extract, Source, Written};
use super::produce::{Decided, Produced, produce};
use super::report::{Note, NoteKind};
use super::row_hash::{RowHash, row_hashes};
use super::run::{MoveJob, estimates, millis, no_lease, planned};
use super::session::Session;
use super::shapes::Shapes;
use super::spill::Room;
use super::state::{AREA, MoveState};
use super::unread::UnreadRows;
use super::verify::NOT_AS_WRITTEN;
use super::writer::pack_area;
use crate::TargetError;
use crate::report::EngineError;

/// Bytes of rows in one batch.
const BATCH_BYTES: usize = 1 << 20;

/// Rows whose columns a run names in its own findings.
const EXPLAINED_MAX: usize = 1_000;

/// Batches that wait to be compared.
const QUEUE: usize = 4;

/// Compares. Of the rows that differ, so many of each rule are shown, and their values where those
/// are asked for.
///
/// # Errors
/// It has never run; what is wrong with the mapping; the databases'.
pub async fn compare(
    move_job: &MoveJob,
    shown_max: usize,
    with_values: bool,
) -> Result<Comparison, EngineError> {
    let began = Instant::now();
    let (job, name) = (&move_job.job, &move_job.mapping.name);
    let mut source = move_job.open_source().await?;
    let mut target = move_job.target.move_target().await?;
    let (plan, warnings) = planned(move_job, source.as_mut(), target.as_mut()).await?;
    let stored = target.stored(name, AREA, 0, 1).await?;
    let Some(stored) = stored.first() else { return Err(never_ran(name).into()) };
    let mut state = MoveState::read(stored)?;
    let secret = state.secret(move_job.secret.as_ref())?;
    state.fix(&move_job.mapping)?;
    for rule in &plan.rules {
        let columns = rule.written.fields.iter().map(|field| field.name.clone()).collect();
        state.shape(&rule.rule.name, columns);
    }
    let gate = Gate::new(job, None);
    let lease = no_lease(job, name);
    let mut session = Session::new(job, target, lease, name, state.runs, true, gate.clone());
    let mut source = Gated::new(source, gate, &estimates(&plan));
    session.gate.phase("deciding", None);
    let cipher = IdCipher::new(&secret, &plan.mapping.id_key.clone().unwrap_or_default());
    let room = Room::new(move_job.memory_bytes / KEYS_SHARE);
    let decided = decide(&plan, &mut source, &mut session, cipher, &room).await?;
    let mut all = Vec::with_capacity(plan.rules.len());
    let mut comparing = Comparing { plan: &plan, decided: &decided, session, state: &state };
    let mut wanted = comparing.wanted(&mut source).await?;
    for rule in 0..plan.rules.len() {
        let wanted = std::mem::take(&mut wanted[rule]);
        all.push(comparing.rule(rule, wanted, shown_max).await?);
    }
    comparing.explain(&mut source, &mut all, shown_max, with_values).await?;
    let rules: Vec<RuleComparison> = all.into_iter().map(|one| one.told).collect();
    let equal = rules.iter().all(RuleComparison::is_equal);
    let name = name.clone();
    Ok(Comparison { name, equal, rules, total_ms: millis(began), warnings })
}

struct Comparing<'a> {
    plan: &'a MovePlan,
    decided: &'a Decided,
    session: Session<'a>,
    state: &'a MoveState,
}

/// One rule, with the rows that are still to be told apart.
struct Compared {
    told: RuleComparison,
    /// Rows that are shown, by the hash of their key.
    shown: HashMap<u128, DifferenceKind>,
    /// Rows whose old rows are gone.
    gone: HashSet<u128>,
    /// Old rows that can't be read now: theirs are left as they are.
    unread: UnreadRows,
}

/// What should be there of one rule.
#[derive(Default)]
struct Wanted {
    pairs: Pairs,
    rows: u64,
    rejected: u64,
    unread: UnreadRows,
}

/// A row as it should be, as the move wrote it, and as it is.
#[derive(Default, Clone, Copy)]
struct Sides {
    wanted: Option<RowHash>,
    /// With whether it was written with the columns of now.
    written: Option<(RowHash, bool)>,
    there: Option<RowHash>,
}

impl Comparing<'_> {
    /// Reads each source once, and computes the rows of all its rules.
    async fn wanted(&mut self, source: &mut dyn Source) -> Result<Vec<Wanted>, TargetError> {
        let mut all: Vec<Wanted> = self.plan.rules.iter().map(|_| Wanted::default()).collect();
        for place in 0..self.plan.sources.len() {
            let rules = &self.plan.sources[place].rules;
            self.session.gate.phase("computing", Some(&self.plan.sources[place].name));
            let plan = self.plan;
            let made = (plan, self.decided);
            each_produced(made, &mut self.session, source, place, rules, |rule, rows, keys| {
                let wanted = &mut all[rule];
                wanted.unread.extend(rows.unread.iter().cloned());
                if rows.is_any_unread {
                    wanted.unread.add_any();
                }
                let rejected = rows.notes.iter().filter(|note| note.kind == NoteKind::Rejected);
                wanted.rejected += rejected.count() as u64;
                wanted.rows += rows.rows.num_rows() as u64;
                let hashes = row_hashes(&plan.rules[rule].written.fields, &rows.rows)?;
                for (key, hash) in keys.iter().zip(hashes) {
                    wanted.pairs.push((key_hash(key), hash, true))?;
                }
                Ok(())
            })
            .await?;
            // A file's records that are no rows may be any of them.
            if source.unread(&plan.sources[place].relation.name).await?.count > 0 {
                all.iter_mut().for_each(|wanted| wanted.unread.add_any());
            }
        }
        Ok(all)
    }

    async fn rule(
        &mut self,
        number: usize,
        mut wanted: Wanted,
        shown_max: usize,
    ) -> Result<Compared, TargetError> {
        let rule = &self.plan.rules[number];
        self.session.gate.phase("comparing", Some(&rule.rule.name));
        let conflicts = self.plan.mapping.conflicts;
        let mut told = RuleComparison {
            rule: rule.rule.name.clone(),
            table: rule.written.table.to_string(),
            rows: wanted.rows,
            rejected: wanted.rejected,
            ..RuleComparison::default()
        };
        let mut written = self.written(number).await?;
        let mut there = self.there(number, wanted.rows).await?;
        let (mut shown, mut gone) = (HashMap::new(), HashSet::new());
        for share in Pairs::shares() {
            let mut rows: HashMap<u128, Sides> = HashMap::new();
            for (key, hash, _) in wanted.pairs.take(share)? {
                let before = rows.entry(key).or_default().wanted.replace(hash);
                // Of two rows with one key only one can be there.
                told.rejected += u64::from(before.is_some());
            }
            for (key, hash, is_current) in written.take(share)? {
                rows.entry(key).or_default().written = Some((hash, is_current));
            }
            for (key, hash, _) in there.take(share)? {
                // What is neither wanted nor written is the application's own.
                if let Some(sides) = rows.get_mut(&key) {
                    sides.there = Some(hash);
                }
            }
            let mut rows: Vec<(u128, Sides)> = rows.into_iter().collect();
            // Which of them are shown must not depend on chance.
            rows.sort_unstable_by_key(|(key, _)| *key);
            for (key, sides) in rows {
                match judge(sides, conflicts) {
                    Verdict::Equal => told.equal += 1,
                    Verdict::Nothing => {}
                    Verdict::Left(kind) => *told.left.entry(kind).or_default() += 1,
                    Verdict::Differs(kind) => {
                        if kind == DifferenceKind::Gone {
                            gone.insert(key);
                            continue;
                        }
                        *told.differences.entry(kind).or_default() += 1;
                        if shown.len() < shown_max {
                            shown.insert(key, kind);
                        }
                    }
                }
            }
        }
        Ok(Compared { told, shown, gone, unread: wanted.unread })
    }

    /// What the move wrote, out of its packs.
    async fn written(&mut self, number: usize) -> Result<Pairs, TargetError> {
        let rule = &self.plan.rules[number];
        let shapes = Shapes::of(rule, self.state);
        let mut pairs = Pairs::default();
        let area = pack_area(&rule.rule.name);
        let mut from = i64::MIN;
        loop {
            let stored = self.session.stored(&area, from).await?;
            let Some(last) = stored.last() else { return Ok(pairs) };
            from = last.number + 1;
            for entry in &stored {
                for entry in Pack::read(entry)?.entries {
                    let is_current = shapes.is_current(&entry);
                    pairs.push((key_hash(&entry.new), entry.hash, is_current))?;
                }
            }
        }
    }

    /// What stands in the target.
    async fn there(&mut self, number: usize, about: u64) -> Result<Pairs, TargetError> {
        let rule = &self.plan.rules[number];
        let extract = Extract {
            table: rule.written.table.clone(),
            query: None,
            fields: rule.written.fields.clone(),
            order: Vec::new(),
            only: Vec::new(),
            batch_bytes: BATCH_BYTES,
        };
        let (gate, table) = (self.session.gate.clone(), rule.written.table.to_string());
        let (batches, mut received) = mpsc::channel(QUEUE);
        let target = &mut self.session.target;
        let reading = async move {
            let read = target.read(&extract, &batches).await;
            drop(batches);
            read
        };
        let taking = async move {
            let mut pairs = Pairs::default();
            while let Some(batch) = received.recv().await {
                let batch = batch?;
                gate.check()?;
                gate.read(&table, batch.count() as u64, Some(about));
                let column = |place: &usize| batch.rows.column(*place).clone();
                let columns: Vec<_> = rule.written.key.iter().map(column).collect();
                let keys = KeyColumns::of(&columns)?;
                let hashes = batch.hashes(&rule.written.fields)?;
                for (row, hash) in hashes.into_iter().enumerate() {
                    let pair: Pair = (key_hash(&keys.key(row)), hash, true);
                    pairs.push(pair)?;
                }
            }
            Ok::<_, TargetError>(pairs)
        };
        let (read, pairs) = tokio::join!(reading, taking);
        let pairs = pairs?;
        read.map(|()| pairs)
    }

    /// Tells which columns of the rows that are shown differ.
    async fn explain(
        &mut self,
        source: &mut dyn Source,
        all: &mut [Compared],
        shown_max: usize,
        with_values: bool,
    ) -> Result<(), TargetError> {
        for place in 0..self.plan.sources.len() {
            let rules: Vec<usize> = self.plan.sources[place]
                .rules
                .iter()
                .copied()
                .filter(|&rule| !all[rule].shown.is_empty())
                .collect();
            if rules.is_empty() {
                continue;
            }
            self.session.gate.phase("looking", Some(&self.plan.sources[place].name));
            let mut found = Vec::new();
            let made = (self.plan, self.decided);
            each_produced(made, &mut self.session, source, place, &rules, |rule, rows, keys| {
                let shown = &all[rule].shown;
                let is_shown: Vec<bool> =
                    keys.iter().map(|key| shown.contains_key(&key_hash(key))).collect();
                if is_shown.iter().any(|shown| *shown) {
                    let places = (0..keys.len()).filter(|place| is_shown[*place]);
                    let old: Vec<String> = places.map(|at| rows.old.key(at).text()).collect();
                    let mask = BooleanArray::from(is_shown);
                    let rows =
                        filter_record_batch(&rows.rows, &mask).map_err(|error| bug(&error))?;
                    found.push((rule, rows, old));
                }
                Ok(())
            })
            .await?;
            for (number, rows, old) in found {
                let written = &self.plan.rules[number].written;
                let beside = Beside::fetch(written, &mut self.session, &rows).await?;
                let keys = keys_of(written, &rows)?;
                let differs = beside.columns(&written.fields, &rows, &keys, with_values)?;
                let Compared { told, shown, .. } = &mut all[number];
                for ((key, old), columns) in keys.iter().zip(old).zip(differs) {
                    let Some(kind) = shown.remove(&key_hash(key)) else { continue };
                    let columns = columns.unwrap_or_default();
                    for column in &columns {
                        *told.columns.entry(column.column.clone()).or_default() += 1;
                    }
                    let (old, new) = (Some(old), key.text());
                    told.shown.push(Difference { old, new, kind, columns });
                }
            }
        }
        for (number, one) in all.iter_mut().enumerate() {
            self.gone(number, one, shown_max).await?;
        }
        Ok(())
    }

    /// Rows whose old rows are gone are known by the packs alone. Those that the last run told of,
    /// since others refer to them or the application has changed them, are left as they are.
    async fn gone(
        &mut self,
        number: usize,
        one: &mut Compared,
        shown_max: usize,
    ) -> Result<(), TargetError> {
        if one.gone.is_empty() {
            return Ok(());
        }
        let name = self.session.name.clone();
        let mut left: HashSet<String> = HashSet::new();
        let words = [NoteKind::StillReferenced, NoteKind::ChangedThere, NoteKind::Kept].map(word);
        rejects(self.session.target.as_mut(), &name, |reject| {
            if reject.rule == one.told.rule && words.contains(&reject.what.as_str()) {
                left.insert(reject.key);
            }
        })
        .await?;
        let area = pack_area(&self.plan.rules[number].rule.name);
        let (told, kind) = (&mut one.told, DifferenceKind::Gone);
        let mut from = i64::MIN;
        loop {
            let stored = self.session.stored(&area, from).await?;
            let Some(last) = stored.last() else { return Ok(()) };
            from = last.number + 1;
            for entry in &stored {
                for entry in Pack::read(entry)?.entries {
                    if !one.gone.remove(&key_hash(&entry.new)) {
                        continue;
                    }
                    // Told of as rejected: whether it is gone can't be known.
                    if one.unread.has(&entry.old) {
                        continue;
                    }
                    let old = entry.old.text();
                    if left.contains(&old) {
                        *told.left.entry(kind).or_default() += 1;
                        continue;
                    }
                    *told.differences.entry(kind).or_default() += 1;
                    if told.shown.len() < shown_max {
                        let (old, new) = (Some(old), entry.new.text());
                        told.shown.push(Difference { old, new, kind, columns: Vec::new() });
                    }
                }
            }
        }
    }
}

/// Reads a source, and gives away the rows of these rules with their keys in the target.
async fn each_produced(
    (plan, decided): (&MovePlan, &Decided),
    session: &mut Session<'_>,
    source: &mut dyn Source,
    place: usize,
    rules: &[usize],
    mut take: impl FnMut(usize, &Produced, &[RowKey]) -> Result<(), TargetError>,
) -> Result<(), TargetError> {
    let from = &plan.sources[place];
    let used = rules.iter().map(|&rule| plan.rules[rule].compiled.used());
    let columns = Columns::of(from, used);
    let extract = columns.extract(from, false);
    let (batches, mut received) = mpsc::channel(QUEUE);
    let reading = async move {
        let read = source.read(&extract, &batches).await;
        drop(batches);
        read
    };
    let taking = async move {
        while let Some(batch) = received.recv().await {
            let (batch, keys, mut nameless) = columns.keyed(batch?)?;
            let is_any_unread = !nameless.is_empty();
            for &rule in rules {
                let planned = &plan.rules[rule];
                let mut produced = produce(planned, decided, rule, &columns, (&batch, &keys))?;
                // They may be rows of any rule, and are told of once.
                produced.is_any_unread = is_any_unread;
                produced.notes.append(&mut nameless);
                let fields = &planned.written.fields;
                produced.rows = session.normalise(fields, produced.rows).await?;
                take(rule, &produced, &keys_of(&planned.written, &produced.rows)?)?;
            }
        }
        Ok::<(), TargetError>(())
    };
    let (read, taken) = tokio::join!(reading, taking);
    taken.and(read)
}

fn keys_of(written: &Written, rows: &RecordBatch) -> Result<Vec<RowKey>, TargetError> {
    let columns: Vec<_> = written.key.iter().map(|place| rows.column(*place).clone()).collect();
    let keys = KeyColumns::of(&columns)?;
    Ok((0..keys.len()).map(|row| keys.key(row)).collect())
}

/// Names the columns in a run's own findings. It reads the source once more, which is rarely needed:
/// what a run writes is what is there, unless somebody or something changes it at once.
pub(super) async fn name_columns(
    (plan, decided): (&MovePlan, &Decided),
    session: &mut Session<'_>,
    source: &mut dyn Source,
    number: usize,
    notes: &mut [Note],
) -> Result<(), TargetError> {
    let is_other = |note: &Note| note.kind == NoteKind::Differs && note.reason == NOT_AS_WRITTEN;
    let others: HashSet<RowKey> = notes
        .iter()
        .filter(|note| is_other(note))
        .take(EXPLAINED_MAX)
        .map(|note| note.old.clone())
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let rule = &plan.rules[number];
    let mut found = Vec::new();
    let made = (plan, decided);
    each_produced(made, session, source, rule.source, &[number], |_, rows, _| {
        let old: Vec<RowKey> = (0..rows.old.len()).map(|place| rows.old.key(place)).collect();
        let mask: Vec<bool> = old.iter().map(|old| others.contains(old)).collect();
        if mask.iter().any(|other| *other) {
            let old = old.into_iter().zip(&mask).filter(|(_, other)| **other);
            let old: Vec<RowKey> = old.map(|(old, _)| old).collect();
            let mask = BooleanArray::from(mask);
            found.push((filter_record_batch(&rows.rows, &mask).map_err(|e| bug(&e))?, old));
        }
        Ok(())
    })
    .await?;
    let mut named: HashMap<RowKey, String> = HashMap::new();
    for (rows, old) in found {
        let beside = Beside::fetch(&rule.written, session, &rows).await?;
        let keys = keys_of(&rule.written, &rows)?;
        let differs = beside.columns(&rule.written.fields, &rows, &keys, false)?;
        for (old, columns) in old.into_iter().zip(differs) {
            let columns = columns.filter(|columns| !columns.is_empty());
            named.extend(columns.map(|columns| (old, names(&columns))));
        }
    }
    for note in notes.iter_mut().filter(|note| is_other(note)) {
        if let Some(names) = named.get(&note.old) {
            note.reason = format!("{NOT_AS_WRITTEN}: {names}");
        }
    }
    Ok(())
}

enum Verdict {
    Equal,
    /// It is neither wanted nor there.
    Nothing,
    /// Not as it should be, and left so.
    Left(DifferenceKind),
    Differs(DifferenceKind),
}

fn judge(sides: Sides, conflicts: Conflicts) -> Verdict {
    let left_if = |left: bool, kind| match left {
        true => Verdict::Left(kind),
        false => Verdict::Differs(kind),
    };
    let keeps_theirs = conflicts.changed_there == Changed::KeepTheirs;
    match (sides.wanted, sides.written, sides.there) {
        (Some(wanted), _, Some(there)) if wanted == there => Verdict::Equal,
        (Some(_), None, None) => Verdict::Differs(DifferenceKind::NotWritten),
        // One that was begun, and whose end was not reached.
        (Some(_), Some((0, _)), None) => Verdict::Differs(DifferenceKind::NotWritten),
        (Some(_), Some(_), None) => {
            left_if(conflicts.deleted_there == Deleted::LeaveDeleted, DifferenceKind::DeletedThere)
        }
        (Some(_), None, Some(_)) => Verdict::Differs(DifferenceKind::AlreadyThere),
        (Some(_), Some((written, is_current)), Some(there)) => {
            // Written with other columns, it can't be told from here who changed it.
            if written == 0 || written == there || !is_current {
                Verdict::Differs(DifferenceKind::OutOfDate)
            } else {
                left_if(keeps_theirs, DifferenceKind::ChangedThere)
            }
        }
        (None, _, None) => Verdict::Nothing,
        (None, None, Some(_)) => Verdict::Nothing,
        (None, Some((written, _)), Some(there)) => {
            let is_theirs = written != there && written != 0 && keeps_theirs;
            left_if(conflicts.gone_here == Gone::Keep || is_theirs, DifferenceKind::Gone)
        }
    }
}
