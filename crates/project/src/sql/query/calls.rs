//! Calls of functions that make one value of several rows.

use std::ops::Range;

use dunlin_model::Dialect;

use super::Reader;
use crate::sql::lex::Kind;

/// The aggregates of the three servers. What people define themselves is known to the catalogue
/// alone, and passes.
const AGGREGATES: [&str; 54] = [
    "ANY_VALUE",
    "APPROX_COUNT_DISTINCT",
    "ARRAY_AGG",
    "AVG",
    "BIT_AND",
    "BIT_OR",
    "BIT_XOR",
    "BOOL_AND",
    "BOOL_OR",
    "CORR",
    "COUNT",
    "COVAR_POP",
    "COVAR_SAMP",
    "EVERY",
    "GROUP_CONCAT",
    "JSONB_AGG",
    "JSONB_AGG_STRICT",
    "JSONB_GROUP_ARRAY",
    "JSONB_GROUP_OBJECT",
    "JSONB_OBJECT_AGG",
    "JSONB_OBJECT_AGG_STRICT",
    "JSONB_OBJECT_AGG_UNIQUE",
    "JSONB_OBJECT_AGG_UNIQUE_STRICT",
    "JSON_AGG",
    "JSON_AGG_STRICT",
    "JSON_ARRAYAGG",
    "JSON_GROUP_ARRAY",
    "JSON_GROUP_OBJECT",
    "JSON_OBJECTAGG",
    "JSON_OBJECT_AGG",
    "JSON_OBJECT_AGG_STRICT",
    "JSON_OBJECT_AGG_UNIQUE",
    "JSON_OBJECT_AGG_UNIQUE_STRICT",
    "MAX",
    "MEDIAN",
    "MIN",
    "MODE",
    "PERCENTILE_CONT",
    "PERCENTILE_DISC",
    "RANGE_AGG",
    "RANGE_INTERSECT_AGG",
    "REGR_COUNT",
    "REGR_SLOPE",
    "STD",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STRING_AGG",
    "SUM",
    "TOTAL",
    "VARIANCE",
    "VAR_POP",
    "VAR_SAMP",
    "XMLAGG",
];

/// An aggregate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// Its token.
    pub(super) at: usize,
    /// All of them are the least or greatest value.
    pub(super) extreme: bool,
    /// All of them are lists of what they are given.
    pub(super) list: bool,
}

/// Aggregates that are a list of what they are given.
const LISTS: [&str; 9] = [
    "ARRAY_AGG",
    "GROUP_CONCAT",
    "JSONB_AGG",
    "JSONB_GROUP_ARRAY",
    "JSON_AGG",
    "JSON_ARRAYAGG",
    "JSON_GROUP_ARRAY",
    "STRING_AGG",
    "XMLAGG",
];

/// What has parentheses behind it and is no function of anybody's.
const NO_CALL: [&str; 34] = [
    "ALL",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "BY",
    "CASE",
    "CAST",
    "COALESCE",
    "DISTINCT",
    "ELSE",
    "EXCEPT",
    "EXISTS",
    "FILTER",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INTERSECT",
    "IS",
    "JOIN",
    "LATERAL",
    "NOT",
    "NULLIF",
    "ON",
    "OR",
    "OVER",
    "ROW",
    "SELECT",
    "SOME",
    "THEN",
    "UNION",
    "WHEN",
    "WHERE",
];

impl Reader<'_> {
    /// The first aggregate outside of sub-queries.
    pub(super) fn aggregates(&self, range: Range<usize>) -> Option<Call> {
        let mut found: Option<Call> = None;
        for at in self.own_tokens(range.clone()) {
            if !self.is_aggregate(at) {
                continue;
            }
            let extreme = self.source.is_any(at, &["MIN", "MAX"]);
            let list = self.source.is_any(at, &LISTS);
            match &mut found {
                Some(call) => {
                    call.extreme &= extreme;
                    call.list &= list;
                }
                None => found = Some(Call { at, extreme, list }),
            }
        }
        found
    }

    /// Whether something is called that is no aggregate: a function may write.
    pub(super) fn is_other_call(&self, at: usize) -> bool {
        self.source.word(at).is_some()
            && self.source.punct(at + 1, b'(')
            && !(at > 0 && self.source.punct(at - 1, b':'))
            && !self.source.is_any(at, &NO_CALL)
            && !self.source.is_any(at, &AGGREGATES)
    }

    fn is_aggregate(&self, at: usize) -> bool {
        let called =
            self.source.punct(at + 1, b'(') && !(at > 0 && self.source.punct(at - 1, b'.'));
        if !called || !(self.source.is_any(at, &AGGREGATES) || self.is_written_as_one(at)) {
            return false;
        }
        if self.source.is(at, "TOTAL") && self.source.dialect != Dialect::Sqlite {
            return false;
        }
        // SQLite: the greatest of several values of one row.
        let several = self.source.is_any(at, &["MIN", "MAX"])
            && self.flat(self.inside(at + 1)).iter().any(|one| self.source.punct(*one, b','));
        let mut behind = self.behind(at + 1);
        while self.source.is_any(behind, &["FILTER", "WITHIN", "GROUP"]) {
            behind = self.behind(behind);
            if self.source.punct(behind, b'(') {
                behind = self.behind(behind);
            }
        }
        !several && !self.source.is(behind, "OVER")
    }

    /// What only an aggregate can have: FILTER, WITHIN GROUP, `(DISTINCT …)`, `(… ORDER BY …)`.
    fn is_written_as_one(&self, at: usize) -> bool {
        const NO_CALL: [&str; 5] = ["OVER", "AS", "GROUP", "FILTER", "ON"];
        let is_call = self.source.kind(at) == Some(Kind::Word)
            && !self.source.is_any(at, &NO_CALL)
            && !self.is_query(at + 1);
        if !is_call {
            return false;
        }
        let inside = self.inside(at + 1);
        self.source.word(at).is_some_and(|word| word.to_ascii_uppercase().starts_with("REGR_"))
            || self.source.is(inside.start, "DISTINCT")
            || self.flat(inside).iter().any(|at| self.source.are(*at, &["ORDER", "BY"]))
            || (self.source.is(self.behind(at + 1), "FILTER")
                && self.source.punct(self.behind(at + 1) + 1, b'('))
            || self.source.are(self.behind(at + 1), &["WITHIN", "GROUP"])
    }
}
