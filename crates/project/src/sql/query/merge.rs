//! MERGE: which of its parts a chunk bounds.

use std::ops::Range;

use super::Reader;
use super::columns::Output;
use super::sources::Rows;
use crate::sql::confinement::Leak;

const UNBOUND: Leak = Leak {
    rule: "chunk-merge",
    message: "`:chunk` does not bound each WHEN of the MERGE: every chunk would also do it for rows \
              of all others",
    help: "put `:chunk` into the source, MERGE INTO t USING (SELECT … FROM posts WHERE :chunk) s ON \
           …, and leave WHEN NOT MATCHED BY SOURCE to a DELETE or an UPDATE of its own",
};

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
            return Output::default();
        };
        let on = flat.iter().copied().find(|at| *at > using && self.source.is(*at, "ON"));
        let on = on.unwrap_or(first).min(first);
        let mut sources = self.sources(at..using, depth);
        let targets: Vec<String> = sources.iter().map(|named| named.called.clone()).collect();
        let read = self.sources(using + 1..on, depth);
        let source_bound =
            read.iter().any(|named| matches!(&named.rows, Rows::Query(output) if output.confined));
        sources.extend(read);
        self.around.push(sources);
        self.check_tables(range.clone());
        self.expressions_in(range.clone(), depth);
        self.around.pop();
        self.sink.writes = true;
        whens.push(range.end);
        let on_bound = !self.places_in(on..first).is_empty();
        for pair in whens.windows(2) {
            if let [begin, end] = pair {
                self.when(*begin..*end, source_bound, on_bound, &targets);
            }
        }
        // What it returns, and for which rows, is not read.
        Output::default()
    }

    /// `WHEN [NOT] MATCHED [BY SOURCE] [AND …] THEN …`
    fn when(
        &mut self,
        range: Range<usize>,
        source_bound: bool,
        on_bound: bool,
        targets: &[String],
    ) {
        let flat = self.flat(range.clone());
        let then = flat.iter().copied().find(|at| self.source.is(*at, "THEN"));
        let then = then.unwrap_or(range.end);
        let negated = self.source.is(range.start + 1, "NOT");
        let by_source = self.source.are(range.start + 2, &["MATCHED", "BY", "SOURCE"]);
        let bound = if by_source {
            // Rows of the target that the chunk's source does not have lie in other chunks.
            false
        } else {
            // What the ON lets not through is not matched.
            source_bound || (on_bound && !negated)
        };
        let nothing = self.source.are(then + 1, &["DO", "NOTHING"]);
        if !bound && !nothing && self.places_in(range.start..then).is_empty() {
            let place = self.places.first().map_or(0, |place| place.start);
            self.leaks.push((UNBOUND, place));
        }
        if self.source.is(then + 1, "INSERT") {
            // It has looked whether the row is there.
            self.sink.skips = true;
        }
        if self.source.are(then + 1, &["UPDATE", "SET"]) {
            self.assignments(then + 3..range.end, targets);
        }
    }
}
