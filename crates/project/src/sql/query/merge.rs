//! MERGE: which of its parts a chunk bounds.

use std::collections::BTreeSet;
use std::ops::Range;

use dunlin_model::Verb;

use super::columns::{Output, Scope};
use super::looks::{Added, Deed};
use super::sources::{Joined, Rows};
use super::spread::What;
use super::{Reader, Role};
use crate::sql::confinement::Leak;

const UNBOUND: Leak = Leak {
    rule: "chunk-merge",
    message: "`:chunk` does not bound each WHEN of the MERGE: every chunk would also do it for rows \
              of all others",
    help: "put `:chunk` into the source, MERGE INTO t USING (SELECT … FROM posts WHERE :chunk) s ON \
           …, and leave WHEN NOT MATCHED BY SOURCE to a DELETE or an UPDATE of its own",
};

/// A MERGE as far as it is read.
struct Merge {
    joined: Joined,
    scope: Scope,
    /// What its target is called.
    target: String,
    /// Its ON.
    on: Range<usize>,
    whens: Vec<Range<usize>>,
}

impl Reader<'_> {
    pub(super) fn merge(&mut self, range: Range<usize>, depth: usize) -> Output {
        let (at, _) = self.modifiers(range.start + 1);
        let flat = self.flat(at..range.end);
        let when = |at: &usize| {
            self.source.is(*at, "WHEN")
                && (self.source.is(at + 1, "MATCHED")
                    || self.source.are(at + 1, &["NOT", "MATCHED"]))
        };
        let find = |word| flat.iter().copied().find(|at| self.source.is(*at, word));
        let mut whens: Vec<usize> = flat.iter().copied().filter(when).collect();
        let (Some(using), Some(first)) = (find("USING"), whens.first().copied()) else {
            self.expressions_in(range, depth);
            self.unbound = true;
            return Output::default();
        };
        let returning = find("RETURNING").filter(|at| *at > first);
        let on = flat.iter().copied().find(|at| *at > using && self.source.is(*at, "ON"));
        let on = on.unwrap_or(first).min(first);
        let joined = self.joined(at..using, depth);
        let target = joined.entries.first().map(|named| named.called.clone()).unwrap_or_default();
        let joined = joined.and(self.joined(using + 1..on, depth));
        let source_bound = joined
            .entries
            .iter()
            .any(|named| matches!(&named.rows, Rows::Query(output) if output.confined));
        let on = (on + 1).min(first)..first;
        let scope = self.bounds(&joined, on.clone(), range.clone(), depth);
        self.check_sets(&range, &scope);
        self.sink.writes = true;
        whens.push(returning.unwrap_or(range.end));
        let on_bound = !self.own_places(on.clone()).is_empty();
        let whens: Vec<Range<usize>> =
            whens.windows(2).filter_map(|pair| Some(*pair.first()?..*pair.get(1)?)).collect();
        for one in &whens {
            self.check_when(one, source_bound, on_bound, &joined);
        }
        let merge = Merge { joined, scope, target, on, whens };
        self.matched(&merge, &range);
        self.merged(&merge, &range);
        // What it returns, and for which rows, is not read.
        Output::default()
    }

    /// Where the THEN of a WHEN stands.
    fn then(&self, range: &Range<usize>) -> usize {
        let flat = self.flat(range.clone());
        flat.into_iter().find(|at| self.source.is(*at, "THEN")).unwrap_or(range.end)
    }

    /// `WHEN [NOT] MATCHED [BY SOURCE] [AND …] THEN …`
    fn check_when(
        &mut self,
        range: &Range<usize>,
        source_bound: bool,
        on_bound: bool,
        joined: &Joined,
    ) {
        let then = self.then(range);
        let negated = self.source.is(range.start + 1, "NOT");
        let by_source = self.source.are(range.start + 2, &["MATCHED", "BY", "SOURCE"]);
        // What the ON lets not through is not matched. Rows of the target that the chunk's source
        // does not have lie in other chunks.
        let mut bound = !by_source && (source_bound || (on_bound && !negated));
        let flat = self.flat(range.start..then);
        if let Some(and) = flat.iter().find(|at| self.source.is(**at, "AND")) {
            bound |= self.bind(joined, and + 1..then, by_source);
        }
        let nothing = self.source.are(then + 1, &["DO", "NOTHING"]);
        if !bound && !nothing {
            let place = self.first_place(range);
            self.leak_at(UNBOUND, place);
        }
    }

    /// Whether the condition of a WHEN is bound by a place of its own.
    fn bind(&mut self, joined: &Joined, condition: Range<usize>, by_source: bool) -> bool {
        // Of rows that the source does not have there is only the target.
        let number = if by_source { 1 } else { joined.entries.len() };
        let entries = joined.entries.get(..number).unwrap_or_default().to_vec();
        let parts = self.all_of(condition);
        let mut scope = Scope::of(&entries);
        self.place(&entries, &parts, &mut scope);
        !scope.roots.is_empty()
    }

    /// Rows of several chunks must not be for one row of the target.
    fn matched(&mut self, merge: &Merge, range: &Range<usize>) {
        let Merge { joined, scope, target, .. } = merge;
        let changes =
            |word: &str| merge.whens.iter().any(|one| self.source.is(self.then(one) + 1, word));
        let inserts = changes("INSERT");
        let updates: Vec<Range<usize>> = merge
            .whens
            .iter()
            .filter(|one| self.source.are(self.then(one) + 1, &["UPDATE", "SET"]))
            .map(|one| self.then(one) + 3..one.end)
            .collect();
        let constant = updates
            .iter()
            .all(|one| self.items(one.clone()).iter().all(|item| self.is_constant(item)));
        let changed: BTreeSet<String> = updates
            .iter()
            .flat_map(|one| self.items(one.clone()))
            .flat_map(|item| self.columns_of(&item))
            .collect();
        let is_walked = joined.entries.first().is_some_and(|named| match &named.rows {
            Rows::Table(name) => self.is_walked(name),
            Rows::Query(_) | Rows::Other => true,
        });
        // The chunk's rows are the target's own.
        if scope.roots == [0] {
            return;
        }
        if !inserts && constant && !is_walked {
            return;
        }
        if !is_walked && self.merge_adds(merge, &updates, &changed) {
            return;
        }
        let place = self.first_place(range);
        let start = self.places.get(place).map_or(0, |place| place.start);
        let within = if scope.is_confined() {
            scope.bound_to(target, &changed)
        } else {
            // Bound by its WHENs alone.
            let called = joined.entries.get(1).map(|named| named.called.clone());
            let mut bound = Scope::of(&joined.entries);
            bound.equal.clone_from(&scope.equal);
            bound.add(1, &called.unwrap_or_default(), Output::itself());
            bound.bound_to(target, &changed)
        };
        self.found_at(What::Merge, start, within, Role::Top);
    }

    /// Whether the source's groups are added to what is there, and inserted where nothing is.
    fn merge_adds(
        &mut self,
        merge: &Merge,
        updates: &[Range<usize>],
        changed: &BTreeSet<String>,
    ) -> bool {
        let Merge { scope, target, on, whens, .. } = merge;
        let Some((called, sums)) = self.sums_of(scope) else { return false };
        let targets = [target.clone()];
        let mut added = BTreeSet::new();
        for one in updates {
            match self.all_add(one.clone(), sums, called, &targets) {
                Some(names) => added.extend(names),
                None => return false,
            }
        }
        let plain = |one: &Range<usize>| {
            let then = self.then(one);
            let conditional =
                self.flat(one.start..then).iter().any(|at| self.source.is(*at, "AND"));
            let values = match self.source.is(then + 1, "INSERT") {
                true => self.minds_only(then + 1..one.end, sums, &added),
                false => self.source.are(then + 1, &["UPDATE", "SET"]),
            };
            !conditional && values
        };
        let adds = updates.len() == 1
            && whens.iter().all(plain)
            && self.groups_of(sums, called, target, scope)
            && self.minds_no_part(on.clone(), sums)
            && self.minds_none_of(on.clone(), changed);
        if adds {
            self.sink.combined.insert(sums.start, sums.solid.clone());
        }
        adds
    }

    /// Notes what a MERGE writes and reads.
    fn merged(&mut self, merge: &Merge, range: &Range<usize>) {
        let Some(named) = merge.joined.entries.first() else { return };
        let Rows::Table(name) = &named.rows else { return };
        let (name, called) = (name.clone(), named.called.clone());
        let number = self.deeds.len();
        let own = merge.scope.roots.contains(&0);
        for one in &merge.whens {
            let then = self.then(one);
            let verb = match self.source.word(then + 1).map(str::to_ascii_uppercase).as_deref() {
                Some("INSERT") => Verb::Insert,
                Some("UPDATE") => Verb::Update,
                Some("DELETE") => Verb::Delete,
                _ => continue,
            };
            self.deeds.push(Deed {
                verb,
                table: self.table_parts(&name),
                written: name.written.clone(),
                columns: BTreeSet::new(),
                own: own || verb == Verb::Insert,
                called: called.clone(),
                exists: Vec::new(),
                ties: self.tied(&called, false, &merge.scope.equal, &merge.scope),
                adds: Added::default(),
            });
        }
        // All of its WHENs are about the rows that its ON finds.
        self.look(&merge.joined, &merge.scope, range, &[0], number);
    }
}
