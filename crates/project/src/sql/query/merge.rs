//! MERGE: which of its parts a chunk bounds.

use std::collections::BTreeSet;
use std::ops::Range;

use dunlin_model::Verb;

use super::columns::{Output, Scope};
use super::combine::{Part, Sums};
use super::known::Caught;
use super::meet::{Added, Deed};
use super::sources::{Joined, Rows};
use super::spread::{Combined, What};
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
        let mut changed: BTreeSet<String> = updates
            .iter()
            .flat_map(|one| self.items(one.clone()))
            .flat_map(|item| self.columns_of(&item))
            .collect();
        changed.extend(self.inserted_otherwise(merge));
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

    /// Columns of the target that the ON compares with the source, and that an INSERT gives another
    /// value: the next chunk may find such a row.
    fn inserted_otherwise(&self, merge: &Merge) -> BTreeSet<String> {
        let Merge { scope, target, whens, .. } = merge;
        let mut found = BTreeSet::new();
        let inserts = whens.iter().filter(|one| self.source.is(self.then(one) + 1, "INSERT"));
        for one in inserts {
            let open = self.then(one) + 2;
            let named = self.source.punct(open, b'(');
            let columns = if named { self.items(self.inside(open)) } else { Vec::new() };
            let columns: Vec<_> = columns.into_iter().map(|item| self.only_name(item)).collect();
            let flat = self.flat(one.clone());
            let values = flat.into_iter().find(|at| *at > open && self.source.is(*at, "VALUES"));
            let values = values.map(|at| self.items(self.inside(at + 1))).unwrap_or_default();
            for (left, right) in &scope.equal {
                for (mine, theirs) in [(left, right), (right, left)] {
                    let [of, column] = mine.as_slice() else { continue };
                    let is_it = |name: &Option<Vec<String>>| {
                        name.as_ref().and_then(|n| n.last()) == Some(column)
                    };
                    let place = columns.iter().position(is_it);
                    let value = place.and_then(|place| self.only_name(values.get(place)?.clone()));
                    if of == target && value.as_ref() != Some(theirs) {
                        found.insert(column.clone());
                    }
                }
            }
        }
        found
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
            let caught = self.caught_groups(merge, sums).into_iter().collect();
            let combined = Combined { solid: sums.solid.clone(), caught };
            self.sink.combined.insert(sums.start, combined);
        }
        adds
    }

    /// What finds a group that is there, where one that is not is inserted.
    fn caught_groups(&self, merge: &Merge, sums: &Sums) -> Option<Caught> {
        let Merge { joined, scope, target, whens, .. } = merge;
        let inserts = |one: &Range<usize>| self.source.is(self.then(one) + 1, "INSERT");
        let Rows::Table(name) = &joined.entries.first()?.rows else { return None };
        let of_target = |parts: &[String]| match parts {
            [of, column] if of == target => Some(column.clone()),
            _ => None,
        };
        let tied = |name: Option<&String>| {
            scope.equal.iter().find_map(|(one, other)| {
                [(one, other), (other, one)]
                    .into_iter()
                    .find_map(|(mine, theirs)| of_target(theirs).filter(|_| mine.last() == name))
            })
        };
        let shared = sums.columns.iter().zip(&sums.nulls);
        let given = shared
            .filter(|((_, part), _)| *part == Part::Shared)
            .map(|((name, _), nulls)| (tied(name.as_ref()), nulls.clone()))
            .collect();
        let table = self.table_parts(name);
        whens.iter().any(inserts).then_some(Caught { table, by: None, given, index: false })
    }

    /// Notes what a MERGE writes and reads.
    fn merged(&mut self, merge: &Merge, range: &Range<usize>) {
        let Some(named) = merge.joined.entries.first() else { return };
        let Rows::Table(name) = &named.rows else { return };
        let (name, called) = (name.clone(), named.called.clone());
        let number = self.deeds.len();
        let own = merge.scope.roots.contains(&0);
        let mut assigned = BTreeSet::new();
        let mut changed = BTreeSet::new();
        for one in &merge.whens {
            let then = self.then(one);
            if self.source.are(then + 1, &["UPDATE", "SET"]) {
                assigned.extend(self.assigned_tokens(then + 3..one.end));
                let items = self.items(then + 3..one.end);
                changed.extend(items.iter().flat_map(|item| self.columns_of(item)));
            } else if self.source.is(then + 1, "INSERT") && self.source.punct(then + 2, b'(') {
                assigned.extend(self.inside(then + 2));
            }
        }
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
                start: self.source.tokens.get(range.start).map_or(0, |token| token.start()),
                columns: if verb == Verb::Update { changed.clone() } else { BTreeSet::new() },
                own,
                called: called.clone(),
                exists: Vec::new(),
                ties: self
                    .tied(&called, false, &merge.scope.equal, &merge.scope)
                    .into_iter()
                    .filter(|(mine, _)| !changed.contains(mine))
                    .collect(),
                adds: Added::default(),
                merges: true,
                cascade: None,
            });
        }
        // All of its WHENs are about the rows that its ON finds.
        self.look(&merge.joined, &merge.scope, range, &[0], number, &assigned);
    }
}
