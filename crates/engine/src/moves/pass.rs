//! Reads one source once, in the order of its keys, and feeds all rules of a pass.
//!
//! Rows that refer to rows of the same pass wait until those are committed, from the first that is not
//! as it was: mostly there are few, or none. Where there are many, the source is read for them again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::BooleanArray;
use tokio::sync::mpsc;

use super::ahead::Ahead;
use super::buffer::Piece;
use super::columns::{Columns, QUEUE};
use super::key::{KeyColumns, RowKey};
use super::plan::{MovePlan, Pass, PlannedLeaveOut, PlannedRule, PlannedSource};
use super::ports::Source;
use super::produce::{Decided, produce};
use super::read_rows::ReadRows;
use super::report::{Note, NoteKind, SourceReport};
use super::session::{Session, is_foreign};
use super::told::Told;
use super::writer::{Fresh, RuleWriter, untaken};
use crate::TargetError;

/// What is said of a row that no rule takes.
pub(super) const NOT_TAKEN: &str = "no rule takes it";

/// Rows of a source that no rule takes are looked for while it is read for the first time.
pub(super) struct Coverage<'a> {
    pub(super) report: &'a mut SourceReport,
    pub(super) told: &'a mut Told,
}

/// Runs a pass. `writers` are those of the pass's rules, in its order.
pub(super) async fn run(
    plan: &MovePlan,
    pass: &Pass,
    source: &mut dyn Source,
    session: &mut Session<'_>,
    decided: &Arc<Decided>,
    writers: &mut [&mut RuleWriter<'_>],
    coverage: Option<Coverage<'_>>,
) -> Result<(), TargetError> {
    let making = Arc::new(Making::of(plan, pass, decided, coverage.is_some()));
    read(plan, pass, source, session, &making, writers, coverage).await?;
    let given_up = making.given_up();
    let Some(again) = pass.only(|rule| given_up.contains(&rule)) else { return Ok(()) };
    let mut behind: Vec<&mut RuleWriter<'_>> = Vec::new();
    for (writer, (number, _)) in writers.iter_mut().zip(&making.rules) {
        if given_up.contains(number) {
            writer.begin_again(&decided.room);
            behind.push(writer);
        }
    }
    session.gate.phase("loading", Some(&format!("{}, again", plan.sources[pass.source].name)));
    let making = Arc::new(Making::of(plan, &again, decided, false));
    read(plan, &again, source, session, &making, &mut behind, None).await
}

/// Reads the source once. Of rows that would have to wait, if they are too many, the rule is given up.
async fn read(
    plan: &MovePlan,
    pass: &Pass,
    source: &mut dyn Source,
    session: &mut Session<'_>,
    making: &Arc<Making>,
    writers: &mut [&mut RuleWriter<'_>],
    mut coverage: Option<Coverage<'_>>,
) -> Result<(), TargetError> {
    let extract = making.columns.extract(&plan.sources[pass.source], true);
    let (batches, received) = mpsc::channel(QUEUE);
    let reading = async move {
        let read = source.read(&extract, &batches).await;
        drop(batches);
        read
    };
    let taking = async move {
        let working = Arc::clone(making);
        let mut ahead = Ahead::new(received, move |read| working.make(read));
        while let Some(made) = ahead.next().await? {
            if !made.nameless.is_empty() {
                // Which rows these are nobody can tell.
                writers.iter_mut().for_each(|writer| writer.unread.add_any());
            }
            if let Some(coverage) = &mut coverage {
                coverage.report.unread += made.nameless.len() as u64;
                coverage.told.extend(made.nameless)?;
            }
            let Some(upto) = made.upto else { continue };
            for (place, (writer, new)) in writers.iter_mut().zip(made.rules).enumerate() {
                let Some(new) = new.filter(|_| !making.is_given_up(place)) else { continue };
                writer.told.extend(new.notes)?;
                writer.unread.extend(new.unread);
                let waits = place >= pass.first && !writer.is_free(session);
                if !writer.take(session, new.rows, &upto, waits).await? {
                    making.give_up(place);
                }
            }
            if let (Some(coverage), Some(covered)) = (&mut coverage, made.covered) {
                covered.add_to(coverage)?;
            }
        }
        // In this order: what waits finds all that it refers to.
        for (place, writer) in writers.iter_mut().enumerate() {
            if !making.is_given_up(place) {
                writer.end(session).await?;
            }
        }
        Ok::<(), TargetError>(())
    };
    let (read, taken) = tokio::join!(reading, taking);
    taken.and(read)
}

/// All that it takes to make new rows of a batch, on any thread.
struct Making {
    rules: Vec<(usize, Arc<PlannedRule>)>,
    /// Of each of them, whether no rows of it are wanted any more.
    given_up: Vec<AtomicBool>,
    decided: Arc<Decided>,
    columns: Columns,
    covering: Option<Covering>,
}

/// What a batch becomes.
struct Made {
    /// The last old key of it; `None`: it has no rows.
    upto: Option<RowKey>,
    /// For each rule of the pass, what it becomes; `None`: it was given up.
    rules: Vec<Option<New>>,
    covered: Option<Covered>,
    /// What is to be told of rows whose key can't be read.
    nameless: Vec<Note>,
}

/// New rows of one rule, and what is to be told about them.
struct New {
    rows: Fresh,
    notes: Vec<Note>,
    /// Old rows of which something could not be read.
    unread: Vec<RowKey>,
}

impl Making {
    fn of(plan: &MovePlan, pass: &Pass, decided: &Arc<Decided>, covers: bool) -> Self {
        let from = &plan.sources[pass.source];
        let rule = |rule: &usize| Arc::clone(&plan.rules[*rule]);
        let covering = covers.then(|| Covering::of(plan, pass, from));
        let rules: Vec<(usize, Arc<PlannedRule>)> =
            pass.rules.iter().map(|number| (*number, rule(number))).collect();
        let used = rules.iter().map(|(_, rule)| rule.compiled.used());
        let columns = match &covering {
            Some(covering) => Columns::of(from, used.chain(covering.used())),
            None => Columns::of(from, used),
        };
        let given_up = rules.iter().map(|_| AtomicBool::new(false)).collect();
        Self { rules, given_up, decided: Arc::clone(decided), columns, covering }
    }

    fn give_up(&self, place: usize) {
        self.given_up[place].store(true, Ordering::Relaxed);
    }

    fn is_given_up(&self, place: usize) -> bool {
        self.given_up[place].load(Ordering::Relaxed)
    }

    /// The rules that were given up.
    fn given_up(&self) -> Vec<usize> {
        let places = (0..self.rules.len()).filter(|place| self.is_given_up(*place));
        places.map(|place| self.rules[place].0).collect()
    }

    fn make(&self, read: ReadRows) -> Result<Made, TargetError> {
        let (read, keys, nameless) = self.columns.keyed(read)?;
        let (mut rules, mut taken) = (Vec::new(), Vec::new());
        let Some(last) = read.count().checked_sub(1) else {
            return Ok(Made { upto: None, rules, covered: None, nameless });
        };
        for (place, (number, rule)) in self.rules.iter().enumerate() {
            if self.is_given_up(place) {
                if self.covering.is_some() {
                    let given = self.columns.project(&read, rule.compiled.used())?;
                    taken.push(rule.compiled.apply(&given)?.taken);
                }
                rules.push(None);
                continue;
            }
            let produced = produce(rule, &self.decided, *number, &self.columns, (&read, &keys))?;
            taken.push(produced.taken);
            let rows = if rule.written.fields.iter().any(is_foreign) {
                Fresh::Foreign(produced.rows, produced.old)
            } else {
                Fresh::Whole(Piece::of(rule, produced.rows, produced.old)?)
            };
            rules.push(Some(New { rows, notes: produced.notes, unread: produced.unread }));
        }
        let covering = self.covering.as_ref();
        let covered = covering.map(|covering| covering.cover(&self.columns, (&read, &keys), taken));
        Ok(Made { upto: Some(keys.key(last)), rules, covered: covered.transpose()?, nameless })
    }
}

/// Looks for rows that no rule takes.
struct Covering {
    /// Rules of the source that belong to other passes.
    others: Vec<Arc<PlannedRule>>,
    leave_out: Arc<Vec<PlannedLeaveOut>>,
    /// A table of which nothing is taken may have no key to tell its rows by.
    has_key: bool,
}

/// Rows of a batch that no rule takes.
#[derive(Default)]
struct Covered {
    rows: u64,
    left_out: BTreeMap<String, u64>,
    named_and_taken: u64,
    not_taken: u64,
    notes: Vec<Note>,
}

impl Covering {
    fn of(plan: &MovePlan, pass: &Pass, from: &PlannedSource) -> Self {
        let others = from.rules.iter().filter(|rule| !pass.rules.contains(rule));
        Self {
            others: others.map(|&rule| Arc::clone(&plan.rules[rule])).collect(),
            leave_out: Arc::clone(&from.leave_out),
            has_key: !from.key.is_empty(),
        }
    }

    /// The columns that it looks at.
    fn used(&self) -> impl Iterator<Item = &[usize]> {
        let others = self.others.iter().map(|rule| rule.compiled.used());
        others.chain(self.leave_out.iter().map(|one| one.compiled.used()))
    }

    /// `taken`: what the pass's own rules took.
    fn cover(
        &self,
        columns: &Columns,
        (read, keys): (&ReadRows, &KeyColumns),
        mut taken: Vec<BooleanArray>,
    ) -> Result<Covered, TargetError> {
        for rule in &self.others {
            let given = columns.project(read, rule.compiled.used())?;
            taken.push(rule.compiled.apply(&given)?.taken);
        }
        let mut covered = Covered { rows: read.count() as u64, ..Covered::default() };
        let mut rest = untaken(&taken, read.count());
        let mut is_taken = vec![true; read.count()];
        rest.iter().for_each(|row| is_taken[*row] = false);
        let mut named_and_taken: BTreeSet<usize> = BTreeSet::new();
        for one in self.leave_out.iter() {
            if rest.is_empty() && one.is_rest {
                continue;
            }
            let given = columns.project(read, one.compiled.used())?;
            let named = one.named(&given)?;
            if !one.is_rest {
                named_and_taken
                    .extend((0..is_taken.len()).filter(|&row| is_taken[row] && named[row]));
            }
            let (left_out, stay): (Vec<usize>, Vec<usize>) =
                rest.into_iter().partition(|row| named[*row]);
            rest = stay;
            if left_out.is_empty() {
                continue;
            }
            *covered.left_out.entry(one.because.clone()).or_default() += left_out.len() as u64;
            covered.notes.extend(left_out.into_iter().filter(|_| self.has_key).map(|row| Note {
                old: keys.key(row),
                kind: NoteKind::LeftOut,
                reason: one.because.clone(),
            }));
        }
        covered.named_and_taken = named_and_taken.len() as u64;
        covered.not_taken = rest.len() as u64;
        covered.notes.extend(rest.into_iter().filter(|_| self.has_key).map(|row| Note {
            old: keys.key(row),
            kind: NoteKind::NotTaken,
            reason: NOT_TAKEN.to_owned(),
        }));
        Ok(covered)
    }
}

impl PlannedLeaveOut {
    /// Which rows of a batch it names. Whether it does a row that fails, nobody can tell: so not.
    pub(super) fn named(&self, given: &ReadRows) -> Result<Vec<bool>, TargetError> {
        let applied = self.compiled.apply(given)?;
        let mut named: Vec<bool> = (0..given.count()).map(|row| applied.taken.value(row)).collect();
        for failure in &applied.failures {
            if let Some(named) = named.get_mut(failure.row as usize) {
                *named = false;
            }
        }
        Ok(named)
    }
}

impl Covered {
    fn add_to(self, coverage: &mut Coverage<'_>) -> Result<(), TargetError> {
        coverage.report.rows += self.rows;
        coverage.report.named_and_taken += self.named_and_taken;
        coverage.report.not_taken += self.not_taken;
        for (because, rows) in self.left_out {
            *coverage.report.left_out.entry(because).or_default() += rows;
        }
        coverage.told.extend(self.notes)
    }
}
