//! What is made of several rows that can lie in several chunks.

use std::collections::{BTreeMap, BTreeSet};

use super::columns::Columns;
use super::known::Caught;
use super::{Reader, Role};

/// What makes one of several rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// `count(*)`, `sum(…)` and the like.
    Aggregate,
    /// A list of all values, of no groups.
    List,
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

impl What {
    /// It gives each of several equal rows once.
    pub(super) fn tells_apart(self) -> bool {
        matches!(self, Self::Group | Self::Distinct | Self::Union)
    }

    /// It matters how often it is given a row.
    pub(super) fn counts(self) -> bool {
        matches!(self, Self::Aggregate | Self::List | Self::Having | Self::Window)
    }
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
    /// What it gives is counted or added up.
    pub(super) counted: bool,
}

/// What a statement does with the rows that are there already.
#[derive(Debug, Default)]
pub(super) struct Sink {
    /// It writes at all.
    pub(super) writes: bool,
    /// It adds rows, whatever is there.
    pub(super) inserts: bool,
    /// Grouped queries whose parts it puts together, by their first token.
    pub(super) combined: BTreeMap<usize, Combined>,
    /// What finds the rows that are there already.
    pub(super) caught: Vec<Caught>,
    /// It calls something that is no aggregate.
    pub(super) calls: bool,
}

/// What makes it right to add up the parts of sums.
#[derive(Debug, Default)]
pub(super) struct Combined {
    /// Columns of the walked table that must not be NULL.
    pub(super) solid: BTreeSet<String>,
    /// What finds a group that is there already.
    pub(super) caught: Vec<Caught>,
}

/// Something that depends on rows outside of the chunk, unless the columns that the rows share tell
/// them apart.
#[derive(Debug)]
pub(crate) struct Spread {
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// What is wrong, up to the columns of the key.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) help: &'static str,
    /// The byte of it in the statement.
    pub(crate) start: usize,
    /// Columns of the table that is walked, folded, which all of the rows share.
    pub(crate) within: BTreeSet<String>,
    /// Each unique index must tell them apart, not only one of them.
    pub(crate) every: bool,
    /// It is nothing of that kind if these columns are never NULL.
    pub(crate) solid: Option<BTreeSet<String>>,
    /// And if these find what is there.
    pub(crate) caught: Vec<Caught>,
}

/// Which parts of a statement depend on rows outside of the chunk.
pub(in crate::sql) fn spread(reader: Reader<'_>) -> Vec<Spread> {
    let Reader { groups, sink, .. } = reader;
    // What a query gives that writes nothing is thrown away.
    let does = |group: &Group| sink.writes || (sink.calls && group.what != What::List);
    let groups = groups.into_iter().filter(does);
    let wrong = groups.filter(|group| !group.within.all && is_wrong(group, &sink));
    wrong.filter_map(|group| of(group, &sink)).collect()
}

/// Whether what is written is wrong if the rows lie in several chunks.
fn is_wrong(group: &Group, sink: &Sink) -> bool {
    match group.what {
        // To compare with a value twice changes nothing; and who looks at what is there leaves out
        // what another chunk has added.
        What::Group | What::Distinct | What::Union => {
            let given = sink.inserts || !sink.caught.is_empty() || !sink.writes;
            group.counted || (group.role != Role::Expression && given)
        }
        // How the parts of several chunks come together must be said; which groups pass is decided
        // before anything is added up.
        What::Aggregate
        | What::List
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
    let told = group.what.tells_apart() && !group.counted && !sink.inserts && sink.writes;
    let combined = sink.combined.get(&group.level).filter(|_| summed);
    let (solid, caught) = match combined {
        Some(combined) => (Some(combined.solid.clone()), combined.caught.clone()),
        None if told => (Some(BTreeSet::new()), sink.caught.clone()),
        None => (None, Vec::new()),
    };
    if solid.as_ref().is_some_and(BTreeSet::is_empty) && caught.is_empty() {
        return None;
    }
    let (rule, message, help) = match group.what {
        What::Aggregate | What::Extreme if combined.is_some() => (
            "chunk-group",
            "a part of a sum, or what it is grouped by, may be NULL: what is added to NULL is lost, and \
             no NULL is found to be there already",
            "write coalesce(…, 0) inside the sum: sum(coalesce(price, 0)); leave NULLs out of the groups \
             (AND user_id IS NOT NULL) or give them a value (coalesce(user_id, 0)); and have a unique \
             index on what is grouped by",
        ),
        What::Aggregate | What::List | What::Extreme | What::Having => (
            "chunk-group",
            "the statement counts or adds up the rows of a chunk alone, and others of the same group \
             can lie in other chunks",
            "walk the table that has one row a group and count in a sub-query: INSERT INTO totals \
             SELECT u.id, (SELECT count(*) FROM posts p WHERE p.user_id = u.id) FROM users u WHERE \
             :chunk(u); or group by the whole key; or add to what is there: ON CONFLICT (…) DO UPDATE \
             SET n = totals.n + excluded.n, where all that is counted is a plain count(…), sum(…), \
             min(…) or max(…) (count(CASE WHEN … THEN 1 END) in place of other forms), and all that \
             it is grouped by is in the list (GROUP BY 1)",
        ),
        What::Group | What::Distinct | What::Union if group.counted => (
            "chunk-distinct",
            "values that are told apart in a chunk are counted or added up, and another chunk may count \
             the same values once more",
            "walk the table that has one row a group and count in a sub-query: UPDATE users u SET kinds = \
             (SELECT count(DISTINCT kind) FROM posts p WHERE p.user_id = u.id) WHERE :chunk(u)",
        ),
        What::Group | What::Distinct | What::Union if told => (
            "chunk-distinct",
            "the same values in another chunk would be inserted once more where nothing finds them: a \
             unique index finds no NULL, and there must be one on the columns that are inserted",
            "leave NULLs out (AND tag IS NOT NULL) or give them a value (coalesce(tag, '')), and insert \
             into a table with a unique index on those columns",
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
             s.id, and name that column in the INSERT with the same value: INSERT (post_id) VALUES (s.id); or group the source and add to what is there: UPDATE SET n = t.n + s.n",
        ),
    };
    Some(Spread {
        rule,
        message: message.to_owned(),
        help,
        start: group.start,
        within: group.within.named,
        every: false,
        solid,
        caught,
    })
}
