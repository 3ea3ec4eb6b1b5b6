//! What is made of several rows that can lie in several chunks.

use std::collections::{BTreeMap, BTreeSet};

use super::columns::Columns;
use super::{Reader, Role};

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
    /// EXCEPT and INTERSECT of two queries that a chunk bounds.
    Except,
    /// A function over a window.
    Window,
    /// Two sources that a chunk bounds, joined.
    Join,
    /// Rows that are taken since a chunk has something for them.
    Set,
    /// Rows that are changed since they are joined with rows of a chunk.
    Rewrite,
    /// Rows that a MERGE compares with rows of a chunk.
    Merge,
}

/// Rows of a chunk that are taken together.
#[derive(Debug)]
pub(super) struct Group {
    /// The first token of their query.
    pub(super) level: usize,
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
    /// Grouped queries whose parts it puts together, by their first token.
    pub(super) combined: BTreeMap<usize, BTreeSet<String>>,
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
    /// It is nothing of that kind if these columns are never NULL.
    pub(crate) solid: Option<BTreeSet<String>>,
}

/// Which parts of a statement depend on rows outside of the chunk.
pub(in crate::sql) fn spread(reader: Reader<'_>) -> Vec<Spread> {
    let Reader { groups, sink, .. } = reader;
    // What a query gives that writes nothing is thrown away.
    let groups = groups.into_iter().filter(|_| sink.writes);
    let wrong = groups.filter(|group| !group.within.all && is_wrong(group, &sink));
    wrong.filter_map(|group| of(group, &sink)).collect()
}

/// Whether what is written is wrong if the rows lie in several chunks.
fn is_wrong(group: &Group, sink: &Sink) -> bool {
    match group.what {
        // To compare with a value twice changes nothing; and who looks at what is there leaves out
        // what another chunk has added.
        What::Group | What::Distinct | What::Union => {
            group.role != Role::Expression && sink.inserts
        }
        // How the parts of several chunks come together must be said; which groups pass is decided
        // before anything is added up.
        What::Aggregate
        | What::Extreme
        | What::Having
        | What::DistinctOn
        | What::Window
        | What::Except
        | What::Join
        | What::Set
        | What::Rewrite
        | What::Merge => true,
    }
}

fn of(group: Group, sink: &Sink) -> Option<Spread> {
    let summed = matches!(group.what, What::Aggregate | What::Extreme);
    let solid = sink.combined.get(&group.level).filter(|_| summed);
    if solid.is_some_and(BTreeSet::is_empty) {
        return None;
    }
    let (rule, message, help) = match group.what {
        What::Aggregate | What::Extreme if solid.is_some() => (
            "chunk-group",
            "a part of a sum may be NULL where the chunk's rows have no value, and what is added to \
             NULL is lost",
            "write coalesce(…, 0) inside the sum: sum(coalesce(price, 0))",
        ),
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
        What::Except => (
            "chunk-except",
            "`:chunk` stands on both sides of the EXCEPT or INTERSECT, and equal rows may lie in two \
             chunks",
            "leave `:chunk` out of the second query, or have the whole key among the columns of both",
        ),
        What::Join => (
            "chunk-twice",
            "`:chunk` bounds two sources that are joined, and rows that belong together may lie in two \
             chunks",
            "join them by the whole key (s.id = posts.id), or leave one of the `:chunk` out",
        ),
        What::Set => (
            "chunk-overlap",
            "a row that matches rows of several chunks would be taken once for each of them",
            "compare with the whole key of the `chunk-by` table (IN (SELECT id …)); or walk the table \
             whose rows are read, with the sub-query without `:chunk`",
        ),
        What::Rewrite => (
            "chunk-overlap",
            "a row of the table that is changed may be joined with rows of several chunks, and would \
             be changed once for each of them",
            "walk the table that is changed: UPDATE orders o SET … FROM posts p WHERE p.id = o.post_id \
             AND :chunk(o), with `chunk-by orders`; or join it by the whole key of the `chunk-by` \
             table, both sides with their alias; or assign constants alone. On MySQL write the alias before \
             each column that is assigned",
        ),
        What::Merge => (
            "chunk-overlap",
            "rows of several chunks may be for one row of the target: what one chunk inserts, the next \
             one would find",
            "compare by the whole key of the `chunk-by` table in the ON, with aliases: ON t.post_id = \
             s.id; or group the source and add to what is there: UPDATE SET n = t.n + s.n",
        ),
    };
    Some(Spread {
        rule,
        message,
        help,
        start: group.start,
        within: group.within.named,
        solid: solid.cloned(),
    })
}
