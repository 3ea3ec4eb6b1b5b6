//! Verifying alone: what should be there, computed from the source, beside what is, row by row.
//!
//! Nothing is written and no lease is taken, so a login that may only read will do. Each source and
//! each table is read once; only the hashes of keys and rows are kept. Rows that differ are computed
//! once more, under the same snapshot, to tell which of their columns do.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use dunlin_model::moves::Field;
use tokio::sync::mpsc;

use super::ahead::Ahead;
use super::chunk::new_keys;
use super::columns::{QUEUE, bug};
use super::comparison::{Comparison, Difference, DifferenceKind, RuleComparison};
use super::course::KEYS_SHARE;
use super::decide::decide;
use super::differing::Beside;
use super::fixed::fix;
use super::gate::Gate;
use super::gated::Gated;
use super::ids::IdCipher;
use super::key_set::{column_key_hash, key_hash, written_key_hash};
use super::look::{never_ran, rejects};
use super::notes::word;
use super::pack::{Pack, each_entry};
use super::pairs::Pairs;
use super::plan::MovePlan;
use super::planned::planned;
use super::ports::{Extract, Source, Written};
use super::produce::Decided;
use super::read_rows::ReadRows;
use super::recompute::{each_produced, keys_of};
use super::report::NoteKind;
use super::row_hash::{RowHash, row_hashes};
use super::run::{MoveJob, estimates, millis, no_lease};
use super::session::Session;
use super::shapes::{Shapes, WrittenAs};
use super::spill::Room;
use super::state::{AREA, MoveState};
use super::unread::UnreadRows;
use super::verdict::{Sides, Verdict, judge};
use super::writer::pack_area;
use crate::TargetError;
use crate::report::EngineError;

/// Bytes of rows in one batch.
const BATCH_BYTES: usize = 1 << 20;

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
    fix(&mut state, &plan, target.as_mut()).await?;
    // What the mapping says now is written by the next run.
    state.shape(&plan, state.runs + 1);
    let gate = Gate::new(job, None);
    let lease = no_lease(job, name);
    let mut session = Session::new(job, target, lease, name, state.runs, true, gate.clone());
    let mut source = Gated::new(source, gate, &estimates(&plan));
    session.gate.phase("deciding", None);
    let cipher = IdCipher::new(&secret, &plan.mapping.id_key.clone().unwrap_or_default());
    let room = Room::new(move_job.memory_bytes / KEYS_SHARE);
    let decided = Arc::new(decide(&plan, &mut source, &mut session, cipher, &room).await?);
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
    decided: &'a Arc<Decided>,
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

/// Some columns of what is read, over which hashes are taken.
struct View {
    mark: u8,
    fields: Vec<Field>,
    /// Where they are in what is read.
    places: Vec<usize>,
}

impl View {
    /// Adds to what is read what it lacks.
    fn of(mark: u8, written: &Written, read: &mut Vec<Field>) -> Self {
        let mut places = Vec::with_capacity(written.fields.len());
        for field in &written.fields {
            let place = read.iter().position(|known| known.name == field.name);
            places.push(place.unwrap_or(read.len()));
            if place.is_none() {
                read.push(field.clone());
            }
        }
        Self { mark, fields: written.fields.clone(), places }
    }
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
                let mut buffer = Vec::new();
                let mut rows = hashes.into_iter().enumerate();
                rows.try_for_each(|(row, hash)| {
                    wanted.pairs.push((column_key_hash(keys, row, &mut buffer), hash, 0))
                })
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
        let (mut written, marks) = self.written(number).await?;
        let mut there = self.there(number, wanted.rows, &marks).await?;
        let (mut shown, mut gone) = (HashMap::new(), HashSet::new());
        for share in Pairs::shares() {
            let mut rows: HashMap<u128, Sides> = HashMap::new();
            let mut twice: HashSet<(u128, RowHash)> = HashSet::new();
            for (key, hash, _) in wanted.pairs.take(share)? {
                let sides = rows.entry(key).or_default();
                // Of two rows with one key only one can be there.
                if sides.wanted.is_some() {
                    told.rejected += 1;
                    twice.insert((key, hash));
                }
                sides.wanted.get_or_insert(hash);
            }
            for (key, hash, mark) in written.take(share)? {
                rows.entry(key).or_default().written = Some((hash, WrittenAs::of(mark)));
            }
            for (key, hash, mark) in there.take(share)? {
                // What is neither wanted nor written is the application's own.
                let Some(sides) = rows.get_mut(&key) else { continue };
                if mark == WrittenAs::Now.mark() {
                    sides.there = Some(hash);
                    if twice.contains(&(key, hash)) {
                        sides.wanted = Some(hash);
                    }
                } else if sides.written.is_some_and(|(_, written_as)| written_as.mark() == mark) {
                    sides.there_as_written = Some(hash);
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

    /// What the move wrote, out of its packs, and what hashes among them are over.
    async fn written(&mut self, number: usize) -> Result<(Pairs, BTreeSet<u8>), TargetError> {
        let rule = &self.plan.rules[number];
        let shapes = Shapes::of(rule, self.state);
        let mut pairs = Pairs::default();
        let mut marks = BTreeSet::new();
        let area = pack_area(&rule.rule.name);
        let mut from = i64::MIN;
        loop {
            let stored = self.session.stored(&area, from).await?;
            let Some(last) = stored.last() else { return Ok((pairs, marks)) };
            from = last.number + 1;
            for entry in &stored {
                let mut buffer = Vec::new();
                let mut done = Ok(());
                each_entry(entry, |entry| {
                    let key = written_key_hash(entry.new, &mut buffer);
                    let mark = shapes.written_as(entry.run).mark();
                    marks.insert(mark);
                    let pair = (key, entry.hash, mark);
                    if done.is_ok() {
                        done = pairs.push(pair);
                    }
                })?;
                done?;
            }
        }
    }

    /// What stands in the target: once over the columns of now, and once over each of the others that
    /// rows were written with.
    async fn there(
        &mut self,
        number: usize,
        about: u64,
        marks: &BTreeSet<u8>,
    ) -> Result<Pairs, TargetError> {
        let rule = &self.plan.rules[number];
        let shapes = Shapes::of(rule, self.state);
        let mut fields = rule.written.fields.clone();
        let mut views = vec![View::of(0, &rule.written, &mut fields)];
        for &mark in marks {
            if let WrittenAs::Before(place) = WrittenAs::of(mark) {
                let written = shapes.before(place);
                views.extend(written.map(|written| View::of(mark, written, &mut fields)));
            }
        }
        let extract = Extract {
            table: rule.written.table.clone(),
            query: None,
            fields,
            order: Vec::new(),
            only: Vec::new(),
            batch_bytes: BATCH_BYTES,
        };
        let (gate, table) = (self.session.gate.clone(), rule.written.table.to_string());
        let hashed = Arc::clone(rule);
        let work = move |read: ReadRows| {
            let hashes = views
                .iter()
                .map(|view| Ok((view.mark, read.project(&view.places)?.hashes(&view.fields)?)));
            let hashes = hashes.collect::<Result<Vec<_>, TargetError>>()?;
            Ok((new_keys(&hashed, &read.rows)?, hashes))
        };
        let (batches, received) = mpsc::channel(QUEUE);
        let target = &mut self.session.target;
        let reading = async move {
            let read = target.read(&extract, &batches).await;
            drop(batches);
            read
        };
        let taking = async move {
            let mut pairs = Pairs::default();
            let mut buffer = Vec::new();
            let mut ahead = Ahead::new(received, work);
            while let Some((keys, views)) = ahead.next().await? {
                gate.check()?;
                gate.read(&table, keys.len() as u64, Some(about));
                for (mark, hashes) in views {
                    for (row, hash) in hashes.into_iter().enumerate() {
                        pairs.push((column_key_hash(&keys, row, &mut buffer), hash, mark))?;
                    }
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
                let mut buffer = Vec::new();
                let is_shown: Vec<bool> = (0..keys.len())
                    .map(|row| shown.contains_key(&column_key_hash(keys, row, &mut buffer)))
                    .collect();
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
