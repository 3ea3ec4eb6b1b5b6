//! What is made of several rows that can lie in several chunks.

use std::collections::BTreeSet;

use dunlin_model::{Dialect, Statement};

use super::columns::Columns;
use super::{Reader, Role};
use crate::sql::lex::Token;

/// What makes one of several rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// `count(*)`, `sum(…)` and the like.
    Aggregate,
    /// `min(…)` and `max(…)` alone.
    Extreme,
    /// A condition on an aggregate.
    Having,
    /// GROUP BY without an aggregate: each of the values once.
    Group,
    /// DISTINCT.
    Distinct,
    /// DISTINCT ON: one of several rows.
    DistinctOn,
    /// UNION, EXCEPT, INTERSECT without ALL.
    Union,
    /// A function over a window.
    Window,
}

/// Rows of a chunk that are taken together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) what: What,
    /// The byte of it.
    pub(super) start: usize,
    /// What is the same in all rows that are taken together.
    pub(super) within: Columns,
    pub(super) role: Role,
}

/// What a statement does with the rows that are there already.
#[derive(Debug, Default)]
pub(super) struct Sink {
    /// It writes at all.
    pub(super) writes: bool,
    /// It adds rows, whatever is there.
    pub(super) inserts: bool,
    /// It looks whether a row is there: ON CONFLICT, IGNORE, a NOT EXISTS.
    pub(super) skips: bool,
    /// A new value is made from the one that is there: `n = t.n + excluded.n`.
    pub(super) combines: bool,
}

/// Something that depends on rows outside of the chunk, unless the columns that the rows share tell
/// them apart.
#[derive(Debug)]
pub(crate) struct Spread {
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// What is wrong, up to the columns of the key.
    pub(crate) message: &'static str,
    /// What to write instead.
    pub(crate) help: &'static str,
    /// The byte of it in the statement.
    pub(crate) start: usize,
    /// Columns of the table that is walked, folded, which all of the rows share.
    pub(crate) within: BTreeSet<String>,
}

/// Which parts of a statement depend on rows outside of the chunk.
pub(in crate::sql) fn spread(
    dialect: Dialect,
    statement: &Statement,
    tokens: &[Token],
    table: &str,
) -> Vec<Spread> {
    let reader = Reader::read(dialect, statement, tokens, table);
    // What a query gives that writes nothing is thrown away.
    let groups = reader.groups.into_iter().filter(|_| reader.sink.writes);
    let spread = groups.filter(|group| !group.within.all && is_wrong(group, &reader.sink));
    spread.map(of).collect()
}

/// Whether what is written is wrong if the rows lie in several chunks.
fn is_wrong(group: &Group, sink: &Sink) -> bool {
    match group.what {
        // How the parts of several chunks come together is said by the statement: whether it says
        // it rightly (a sum of sums, and not of averages) can't be decided here.
        What::Aggregate => !sink.combines,
        // With ascending keys and one worker the first one that comes may be the least.
        What::Extreme => !sink.combines && !sink.skips,
        // Which groups pass is decided before anything is added up.
        What::Having => true,
        // To compare with a value twice, or to assign it twice, changes nothing; and who looks at
        // what is there leaves out what another chunk has added.
        What::Group | What::Distinct | What::Union => {
            group.role != Role::Expression && sink.inserts && !sink.skips
        }
        What::DistinctOn => !sink.skips,
        // A number by which rows are left out, as DISTINCT ON does it, and one that is written.
        What::Window => !(sink.skips && group.role == Role::Derived),
    }
}

fn of(group: Group) -> Spread {
    let (rule, message, help) = match group.what {
        What::Aggregate | What::Extreme | What::Having => (
            "chunk-group",
            "the statement counts or adds up the rows of a chunk alone, and others of the same group \
             can lie in other chunks",
            "walk the table that has one row a group and count in a sub-query: INSERT INTO totals \
             SELECT u.id, (SELECT count(*) FROM posts p WHERE p.user_id = u.id) FROM users u WHERE \
             :chunk(u); or group by the whole key; or add to what is there: ON CONFLICT (…) DO UPDATE \
             SET n = totals.n + excluded.n",
        ),
        What::Group | What::Distinct | What::Union => (
            "chunk-distinct",
            "the same values in another chunk would be inserted once more",
            "leave out what is there: ON CONFLICT DO NOTHING (INSERT IGNORE) or AND NOT EXISTS (…); \
             or have the whole key among the columns; or UNION ALL where it was a UNION",
        ),
        What::DistinctOn => (
            "chunk-distinct",
            "of the rows that DISTINCT ON takes one of, others can lie in other chunks, which would \
             each take one",
            "ask for each row whether there is a better one: WHERE :chunk(a) AND NOT EXISTS (SELECT 1 \
             FROM posts b WHERE b.user_id = a.user_id AND b.id < a.id)",
        ),
        What::Window => (
            "chunk-window",
            "a window function sees the rows of its chunk alone, and others of the same window can \
             lie in other chunks",
            "put the whole key into PARTITION BY, or take the value from a sub-query without `:chunk`: \
             SET rank = (SELECT count(*) FROM posts b WHERE b.user_id = a.user_id AND b.id <= a.id)",
        ),
    };
    Spread { rule, message, help, start: group.start, within: group.within.named }
}
