//! Which columns look-ups are, by what the source's tables have.

use dunlin_model::moves::{Catalogue, Field, LookUp, Mapping, SourceSpec, TableName};

use super::super::plan::source_spec;
use super::super::ports::ColumnOf;

/// A look-up whose tables and columns are there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Resolved {
    /// The table or query whose rows it belongs to.
    pub(super) table: TableName,
    /// The column that it is there.
    pub(super) value: Field,
    /// Which row it is of: columns of that table, earlier look-ups among them.
    pub(super) of: Vec<Field>,
    /// Where the values of each of them come from: what an earlier look-up has taken comes from there.
    pub(super) origins: Vec<ColumnOf>,
    /// The table or query that is looked in.
    pub(super) within: TableName,
    /// The query, where it is one.
    pub(super) query: Option<String>,
    /// The columns that are equal to those of `of`.
    pub(super) by: Vec<Field>,
    /// The column that is taken.
    pub(super) taken: Field,
    /// No two rows there have the same.
    pub(super) is_unique: bool,
}

/// Makes look-ups columns of the tables that they belong to. Those that name something that isn't
/// there are left out: the mapping's check tells of them.
pub(in crate::moves) fn add_fields(mapping: &Mapping, catalogue: &mut Catalogue) {
    for one in resolve(mapping, catalogue) {
        let named = catalogue.relations.iter_mut().find(|relation| relation.name == one.table);
        if let Some(relation) = named {
            relation.fields.push(one.value);
        }
    }
}

/// All look-ups of a mapping, in its order.
pub(super) fn resolve(mapping: &Mapping, catalogue: &Catalogue) -> Vec<Resolved> {
    let mut found: Vec<Resolved> = Vec::new();
    for spec in &mapping.sources {
        for look_up in &spec.look_ups {
            let one = one(mapping, spec, look_up, catalogue, &found);
            found.extend(one);
        }
    }
    found
}

fn one(
    mapping: &Mapping,
    spec: &SourceSpec,
    look_up: &LookUp,
    catalogue: &Catalogue,
    earlier: &[Resolved],
) -> Option<Resolved> {
    let relation = catalogue.relation(&spec.relation())?;
    let looked_in = source_spec(mapping, &look_up.within);
    let within = catalogue.relation(&looked_in.relation())?;
    let looked_up = |name: &str| {
        let mut own = earlier.iter().filter(|one| one.table == relation.name);
        own.find(|one| one.value.name == name)
    };
    let of =
        |name: &String| relation.field(name).or(looked_up(name).map(|one| &one.value)).cloned();
    let origin = |name: &String| match looked_up(name) {
        Some(one) => ColumnOf {
            table: one.within.clone(),
            query: one.query.clone(),
            column: one.taken.name.clone(),
        },
        None => ColumnOf {
            table: relation.name.clone(),
            query: relation.query.clone(),
            column: name.clone(),
        },
    };
    let by = match (&look_up.by[..], &looked_in.key[..]) {
        ([], []) => &within.key[..],
        ([], key) => key,
        (by, _) => by,
    };
    let taken = within.field(look_up.taken())?.clone();
    let mut unique = within.unique.iter().chain(std::iter::once(&within.key));
    Some(Resolved {
        table: relation.name.clone(),
        value: Field {
            name: look_up.name.clone(),
            nullable: true,
            has_default: false,
            numbering: dunlin_model::moves::Numbering::None,
            generated: false,
            ..taken.clone()
        },
        of: look_up.of.iter().map(of).collect::<Option<_>>()?,
        origins: look_up.of.iter().map(origin).collect(),
        within: within.name.clone(),
        query: within.query.clone(),
        by: by.iter().map(|name| within.field(name).cloned()).collect::<Option<_>>()?,
        taken,
        is_unique: unique.any(|key| !key.is_empty() && key.iter().all(|name| by.contains(name))),
    })
}
