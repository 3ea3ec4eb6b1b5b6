//! The query that finds the rows which a chunked statement would take.
//!
//! Read from an UPDATE or a DELETE of one table, with conditions on its own columns alone: then a row
//! is taken exactly where the condition holds for it, whatever the other rows are. Where anything
//! else stands (a join, a sub-query, a WITH) there is no such query, for what it gives could change
//! with what earlier chunks have done. What is left out: what functions do, which only the catalogue
//! knows; their names are handed on.

use std::collections::BTreeSet;
use std::ops::Range;

use dunlin_model::{ChunkPlace, Dialect, Finder, Statement};

use super::chunked::tokens;
use super::facts::source::{NO_ALIAS, Source};

/// What begins a query in a condition.
const QUERIES: [&str; 5] = ["SELECT", "WITH", "VALUES", "TABLE", "EXISTS"];

/// How the rows can be found that one statement of a chunked file would take.
pub(crate) fn of_statement(dialect: Dialect, statement: &Statement) -> Option<Finder> {
    let [place] = statement.facts.chunk_places.as_slice() else { return None };
    let tokens = tokens(dialect, &statement.text).ok()?;
    let source = Source { dialect, text: &statement.text, tokens: &tokens };
    let mut cursor = source.cursor(0);
    let deletes = cursor.eat_all(&["DELETE", "FROM"]);
    if !deletes && !cursor.eat("UPDATE") {
        return None;
    }
    let begin = cursor.at;
    cursor.eat("ONLY");
    let table = cursor.name()?;
    let named = cursor.eat("AS")
        || (source.word(cursor.at).is_some() && !source.is_any(cursor.at, &NO_ALIAS))
        || source.kind(cursor.at) == Some(super::lex::Kind::Quoted);
    let alias = if named { cursor.name()? } else { table.clone() };
    let end = cursor.at;
    let condition = if deletes {
        source.is(end, "WHERE").then_some(end + 1)?
    } else {
        let place = source.is(end, "SET").then(|| clause(source, end, "WHERE"))??;
        reads_one_table(source, end..place).then_some(place + 1)?
    };
    let behind = clause(source, condition, "RETURNING").unwrap_or(tokens.len());
    read(source, condition..behind, place).map(|(condition, place, names)| Finder {
        source: between(source, begin..end).unwrap_or_default().to_owned(),
        alias: alias.last().to_owned(),
        condition,
        place,
        names,
    })
}

/// The same for the rows of a table that a condition takes, as row code has it.
pub(crate) fn of_filter(dialect: Dialect, table: &str, filter: &str) -> Option<Finder> {
    const PLACE: &str = ":chunk";
    let tokens_of_name = tokens(dialect, table).ok()?;
    let name = Source { dialect, text: table, tokens: &tokens_of_name }.cursor(0).name()?;
    let text = format!("({filter}\n) AND {PLACE}");
    let tokens = tokens(dialect, &text).ok()?;
    let source = Source { dialect, text: &text, tokens: &tokens };
    let place = ChunkPlace { start: text.len() - PLACE.len(), end: text.len(), alias: None };
    let (condition, place, names) = read(source, 0..tokens.len(), &place)?;
    Some(Finder {
        source: table.to_owned(),
        alias: name.last().to_owned(),
        condition,
        place,
        names,
    })
}

/// Where a clause begins outside of parentheses. A column may be called like it behind a point.
fn clause(source: Source<'_>, from: usize, word: &str) -> Option<usize> {
    let at = source.find_outside(from, word)?;
    (!source.punct(at.checked_sub(1)?, b'.')).then_some(at)
}

/// Whether no FROM stands there but that of `IS DISTINCT FROM`.
fn reads_one_table(source: Source<'_>, range: Range<usize>) -> bool {
    let mut from = range.start;
    while let Some(at) = source.find_outside(from, "FROM").filter(|at| *at < range.end) {
        if !source.is(at - 1, "DISTINCT") {
            return false;
        }
        from = at + 1;
    }
    true
}

fn between<'a>(source: Source<'a>, range: Range<usize>) -> Option<&'a str> {
    let first = source.tokens.get(range.start)?;
    let last = source.tokens.get(range.end.checked_sub(1)?)?;
    source.text.get(first.start()..last.end())
}

/// A condition with its place and its names, if it is about one row alone.
fn read(
    source: Source<'_>,
    range: Range<usize>,
    place: &ChunkPlace,
) -> Option<(String, ChunkPlace, BTreeSet<String>)> {
    let text = between(source, range.clone())?;
    let begin = source.tokens.get(range.start)?.start();
    let inside = begin <= place.start && place.end <= begin + text.len();
    if !inside || range.clone().any(|at| source.is_any(at, &QUERIES)) {
        return None;
    }
    let names = range.filter_map(|at| source.cursor(at).name()).flat_map(|name| name.parts);
    let place = ChunkPlace { start: place.start - begin, end: place.end - begin, ..place.clone() };
    Some((text.to_owned(), place, names.collect()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::directive::Subject;
    use crate::sql::parse_script;

    fn found(statement: &str) -> Option<Finder> {
        let text = format!("-- dunlin: chunk-by posts\n{statement};");
        let file = Path::new("1_a.sql");
        let script = parse_script(Dialect::Postgres, file, text.as_bytes(), Subject::DataSql);
        let script = script.unwrap_or_else(|errors| panic!("{statement}: {errors:?}"));
        of_statement(Dialect::Postgres, &script.statements[0])
    }

    fn parts(finder: &Finder) -> (&str, &str, String) {
        let condition = finder.within(|alias| format!("{}id <= 7", alias.unwrap_or("-")));
        (&finder.source, &finder.alias, condition)
    }

    #[test]
    fn one_table_with_conditions_of_its_own() {
        for (statement, source, alias, condition) in [
            (
                "UPDATE posts SET a = b WHERE a IS NULL AND :chunk",
                "posts",
                "posts",
                "a IS NULL AND (-id <= 7)",
            ),
            (
                "UPDATE ONLY blog.posts AS p SET a = (SELECT 1), c = d IS DISTINCT FROM e \
                 WHERE :chunk(p) AND (lower(p.a) = 'x' OR p.b IS DISTINCT FROM 2) RETURNING p.id",
                "ONLY blog.posts AS p",
                "p",
                "(pid <= 7) AND (lower(p.a) = 'x' OR p.b IS DISTINCT FROM 2)",
            ),
            (
                "DELETE FROM posts \"P\" WHERE /* old */ kept < now() - interval '1 day' -- so\n \
                 AND :chunk",
                "posts \"P\"",
                "P",
                "kept < now() - interval '1 day' -- so\n AND (-id <= 7)",
            ),
        ] {
            let found = found(statement).unwrap_or_else(|| panic!("{statement}"));
            assert_eq!(parts(&found), (source, alias, condition.to_owned()), "{statement}");
        }
    }

    #[test]
    fn nothing_where_other_rows_have_a_say() {
        for statement in [
            "UPDATE posts p SET a = u.a FROM users u WHERE u.id = p.user_id AND :chunk(p)",
            "UPDATE posts SET a = 1 WHERE b IN (SELECT b FROM old) AND :chunk",
            "UPDATE posts SET a = 1 WHERE NOT EXISTS (TABLE old) AND :chunk",
            "DELETE FROM posts p USING users u WHERE u.id = p.user_id AND :chunk(p)",
            "INSERT INTO other SELECT id FROM posts WHERE :chunk",
            "WITH x AS (SELECT 1) UPDATE posts SET a = 1 WHERE :chunk",
            "SELECT publish(id) FROM posts WHERE :chunk",
            "DELETE FROM posts WHERE id IN (SELECT id FROM posts WHERE :chunk)",
            "UPDATE posts SET a = posts.where WHERE :chunk",
        ] {
            assert_eq!(found(statement), None, "{statement}");
        }
    }

    #[test]
    fn names_are_handed_on() {
        let found = found(
            "UPDATE posts SET a = hidden(b) WHERE Random() < 0.5 AND util.\"Is it\"(a) AND :chunk",
        );
        let names: Vec<String> = found.expect("a finder").names.into_iter().collect();
        assert!(["random", "util", "Is it", "a"].iter().all(|one| names.contains(&(*one).into())));
        assert!(!names.contains(&"hidden".to_owned()));
    }

    #[test]
    fn row_codes_condition() {
        let filter = "published_at IS NULL -- yet";
        let finder = of_filter(Dialect::Postgres, "\"public\".\"posts\"", filter).unwrap();
        let condition = "(published_at IS NULL -- yet\n) AND (-id <= 7)";
        assert_eq!(parts(&finder), ("\"public\".\"posts\"", "posts", condition.to_owned()));
        let filter = "id IN (SELECT id FROM other)";
        assert_eq!(of_filter(Dialect::Postgres, "posts", filter), None);
    }
}
