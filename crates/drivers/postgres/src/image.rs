//! Definitions as text, read before a statement and again after a crash.

use dunlin_model::{ImageObject, ObjectKind, Restart, Statement};

use crate::quote;
use crate::session::has_words;

/// What to look at for a statement; empty where its outcome does not show in a definition.
pub(crate) fn objects(statement: &Statement) -> Vec<ImageObject> {
    match &statement.facts.restart {
        Restart::ByImage { objects } => objects.clone(),
        // An index that is built beside the application's work may be left INVALID. What was
        // there before tells ours from somebody else's, also where running it again is harmless:
        // IF NOT EXISTS would take the invalid one for done.
        _ if builds_index_concurrently(statement) => {
            let tables = statement.facts.tables.iter().flatten();
            tables.map(|name| ImageObject { kind: ObjectKind::Table, name: name.clone() }).collect()
        }
        _ => Vec::new(),
    }
}

/// CREATE INDEX CONCURRENTLY or REINDEX … CONCURRENTLY: a death leaves an INVALID index.
pub(crate) fn builds_index_concurrently(statement: &Statement) -> bool {
    let text = &statement.text;
    has_words(text, &["INDEX", "CONCURRENTLY"]) && has_words(text, &["CREATE"])
        || has_words(text, &["CREATE", "UNIQUE", "INDEX", "CONCURRENTLY"])
        || statement.facts.verb.starts_with("REINDEX")
            && text.to_ascii_uppercase().contains("CONCURRENTLY")
}

/// A SELECT's expression: the definitions of all objects as one text; NULL where there are none.
pub(crate) fn expression(objects: &[ImageObject]) -> String {
    if objects.is_empty() {
        return "NULL".to_owned();
    }
    let all: Vec<String> = objects
        .iter()
        .map(|object| {
            format!("{} || COALESCE({}, 'absent')", quote::text(&title(object)), definition(object))
        })
        .collect();
    all.join(" || E'\\n' || ")
}

fn title(object: &ImageObject) -> String {
    format!("{:?} {}: ", object.kind, object.name)
}

/// The definition of one object, NULL where there is none.
fn definition(object: &ImageObject) -> String {
    let name = quote::text(&object.name);
    match object.kind {
        ObjectKind::Table => table(&name),
        ObjectKind::Index => index(&name),
        ObjectKind::Type => format!(
            "(SELECT 'type ' || t.oid || COALESCE(' ' || (SELECT pg_catalog.string_agg(\
             pg_catalog.quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) \
             FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid), '') \
             FROM pg_catalog.pg_type t WHERE t.oid = pg_catalog.to_regtype({name}))"
        ),
        // A schema is a "database" elsewhere; the name is looked for as either.
        ObjectKind::Database => format!(
            "(SELECT pg_catalog.string_agg(what, ' ') FROM (\
             SELECT 'database ' || d.oid || ' ' || d.datconnlimit AS what \
             FROM pg_catalog.pg_database d WHERE d.datname = {plain} UNION ALL \
             SELECT 'schema ' || n.oid FROM pg_catalog.pg_namespace n \
             WHERE n.nspname = {plain}) AS both_kinds)",
            plain = quote::text(&unquoted(&object.name))
        ),
        ObjectKind::Function | ObjectKind::Procedure => format!(
            "(SELECT pg_catalog.string_agg(pg_catalog.pg_get_functiondef(p.oid), E'\\n' \
             ORDER BY p.oid) FROM pg_catalog.pg_proc p WHERE p.prokind IN ('f', 'p') AND \
             p.proname = {plain})",
            plain = quote::text(&unquoted(last_part(&object.name)))
        ),
        ObjectKind::Trigger | ObjectKind::Event => format!(
            "(SELECT pg_catalog.string_agg(pg_catalog.pg_get_triggerdef(g.oid), E'\\n' \
             ORDER BY g.oid) FROM pg_catalog.pg_trigger g WHERE g.tgname = {plain})",
            plain = quote::text(&unquoted(last_part(&object.name)))
        ),
        ObjectKind::View | ObjectKind::Sequence => format!(
            "(SELECT 'relation ' || c.oid || ' ' || c.relkind || COALESCE(' ' || \
             pg_catalog.pg_get_viewdef(c.oid), '') FROM pg_catalog.pg_class c \
             WHERE c.oid = pg_catalog.to_regclass({name}))"
        ),
    }
}

/// Columns, indexes with their validity, constraints and partitions, a line each. Lines of indexes
/// begin with their number: see [`mentions_index`].
fn table(name: &str) -> String {
    format!(
        "(SELECT 'table ' || t.oid || E'\\n' || COALESCE((SELECT pg_catalog.string_agg(line, \
         E'\\n' ORDER BY line) FROM (\
         SELECT 'column ' || a.attnum || ' ' || a.attname || ' ' || \
         pg_catalog.format_type(a.atttypid, a.atttypmod) || \
         CASE WHEN a.attnotnull THEN ' not null' ELSE '' END AS line \
         FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped UNION ALL \
         SELECT 'index ' || i.indexrelid || ' ' || pg_catalog.pg_get_indexdef(i.indexrelid) || \
         CASE WHEN i.indisvalid THEN '' ELSE '{INVALID}' END \
         FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid UNION ALL \
         SELECT 'constraint ' || k.conname || ' ' || pg_catalog.pg_get_constraintdef(k.oid) \
         FROM pg_catalog.pg_constraint k WHERE k.conrelid = t.oid UNION ALL \
         SELECT 'partition ' || h.inhrelid FROM pg_catalog.pg_inherits h WHERE h.inhparent = t.oid\
         ) AS lines), '') \
         FROM pg_catalog.pg_class t WHERE t.oid = pg_catalog.to_regclass({name}))"
    )
}

fn index(name: &str) -> String {
    format!(
        "(SELECT 'index ' || i.indexrelid || ' ' || pg_catalog.pg_get_indexdef(i.indexrelid) || \
         CASE WHEN i.indisvalid THEN '' ELSE '{INVALID}' END \
         FROM pg_catalog.pg_index i WHERE i.indexrelid = pg_catalog.to_regclass({name}))"
    )
}

/// Marks an index that no query may use.
const INVALID: &str = " INVALID";

/// Whether an image knows an index by its number.
pub(crate) fn mentions_index(image: &str, number: u32) -> bool {
    let words = format!("index {number} ");
    image.lines().any(|line| line.starts_with(&words) || line.contains(&format!(": {words}")))
}

/// What follows the last dot outside quotes.
pub(crate) fn last_part(name: &str) -> &str {
    let mut quoted = false;
    let mut start = 0;
    for (at, c) in name.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => start = at + 1,
            '(' if !quoted => return &name[start..at],
            _ => {}
        }
    }
    &name[start..]
}

/// A name as the catalog has it: folded unless it is quoted.
fn unquoted(name: &str) -> String {
    let name = name.trim();
    match name.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use dunlin_model::Facts;

    use super::*;

    fn statement(verb: &str, text: &str) -> Statement {
        let facts = Facts::opaque(verb);
        Statement { text: text.into(), line: 1, column: 1, copy_data: None, facts }
    }

    #[test]
    fn concurrent_builds_are_known() {
        for text in [
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "create unique index\n concurrently if not exists i on t (a)",
            "REINDEX (VERBOSE) INDEX CONCURRENTLY i",
        ] {
            let verb = if text.starts_with("REINDEX") { "REINDEX" } else { "CREATE INDEX" };
            assert!(builds_index_concurrently(&statement(verb, text)), "{text}");
        }
        let drop = statement("DROP INDEX", "DROP INDEX CONCURRENTLY i");
        assert!(!builds_index_concurrently(&drop));
    }

    #[test]
    fn indexes_are_known_by_their_numbers() {
        let before = "Index i: index 12 CREATE INDEX i ON public.t";
        assert!(mentions_index(before, 12) && !mentions_index(before, 1));
        assert!(mentions_index("Table t: table 1\nindex 7 CREATE", 7));
    }

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(unquoted(last_part("App.\"My.Fn\"(integer)")), "My.Fn");
        assert_eq!(unquoted(last_part("app.Fn")), "fn");
    }
}
