//! Who stands in the way of a lock, seen from a second connection while the first one waits.

use dunlin_engine::TargetError;

use crate::rows::{field, required};
use crate::session::Session;

/// Sessions that are named in an error; more would hide the rest of it.
const BLOCKERS_MAX: usize = 5;

/// Statements longer than this are cut in a note.
const QUERY_CHARACTERS_MAX: usize = 120;

/// Who blocks a backend now, a line each.
pub(crate) async fn look(session: &Session, pid: i32) -> Result<Vec<String>, TargetError> {
    let sql = format!(
        "SELECT a.pid, a.usename, a.application_name, a.state, a.query, \
         pg_catalog.to_char(COALESCE(a.xact_start, a.query_start, a.backend_start), \
         'YYYY-MM-DD HH24:MI:SS TZ'), \
         (SELECT pg_catalog.max(l.relation::regclass::text) FROM pg_catalog.pg_locks l \
          WHERE l.pid = {pid} AND NOT l.granted), \
         a.backend_type \
         FROM pg_catalog.pg_stat_activity a \
         WHERE a.pid = ANY (pg_catalog.pg_blocking_pids({pid})) \
         ORDER BY a.xact_start NULLS LAST LIMIT {BLOCKERS_MAX}"
    );
    let answers = session.ask(&sql).await?;
    let rows = answers.first().map(|answer| answer.rows.as_slice()).unwrap_or_default();
    rows.iter()
        .map(|row| {
            let mut line = format!("blocked by pid {}", required(row, 0)?);
            if let Some(table) = field(row, 6)? {
                line.push_str(&format!(" on {table}"));
            }
            match field(row, 1)? {
                Some(user) => line.push_str(&format!(", user {user}")),
                None => {
                    line.push_str(&format!(", {}", field(row, 7)?.unwrap_or("a system process")))
                }
            }
            if let Some(name) = field(row, 2)?.filter(|name| !name.is_empty()) {
                line.push_str(&format!(", application {name}"));
            }
            if let Some(since) = field(row, 5)? {
                line.push_str(&format!(", since {since}"));
            }
            if let Some(state) = field(row, 3)? {
                line.push_str(&format!(", {state}"));
            }
            // Another role's query reads "<insufficient privilege>", which says nothing.
            if let Some(query) = field(row, 4)?.filter(|q| !q.is_empty() && !q.starts_with('<')) {
                line.push_str(&format!(": {}", without_literals(query)));
            }
            Ok(line)
        })
        .collect()
}

/// A statement on one line, shortened, with every literal and comment taken out.
fn without_literals(sql: &str) -> String {
    let mut text = String::new();
    let mut rest = sql;
    let mut after_word = false;
    while let Some(c) = rest.chars().next() {
        let skipped = literal_length(rest, after_word);
        if skipped > 0 {
            text.push_str(if rest.starts_with("--") || rest.starts_with("/*") { " " } else { "?" });
            rest = rest.get(skipped..).unwrap_or_default();
            after_word = false;
            continue;
        }
        text.push(c);
        after_word = c.is_alphanumeric() || c == '_' || c == '$';
        rest = &rest[c.len_utf8()..];
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= QUERY_CHARACTERS_MAX {
        return line;
    }
    let mut short: String = line.chars().take(QUERY_CHARACTERS_MAX - 1).collect();
    short.push('…');
    short
}

/// How many bytes of a literal or comment `text` begins with; 0: none. What has no end (the server
/// shows only the first kilobyte of a query) reaches to the end.
fn literal_length(text: &str, after_word: bool) -> usize {
    let bytes = text.as_bytes();
    let until = |start: usize, end: &str| {
        text.get(start..).and_then(|t| t.find(end)).map_or(text.len(), |at| start + at + end.len())
    };
    match bytes.first() {
        Some(b'\'') => string_length(bytes),
        Some(b'-') if text.starts_with("--") => until(2, "\n"),
        Some(b'/') if text.starts_with("/*") => until(2, "*/"),
        Some(b'0'..=b'9') if !after_word => {
            text.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(text.len())
        }
        Some(b'$') if !after_word => {
            let tag = text[1..].find('$').map(|end| &text[..end + 2]);
            match tag {
                Some(tag)
                    if tag[1..tag.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_') =>
                {
                    until(tag.len(), tag)
                }
                _ => 0,
            }
        }
        _ => 0,
    }
}

/// The length of a quoted string; `''` and `\'` do not end it, so that it rather takes too much.
fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_taken_out() {
        assert_eq!(
            without_literals(
                "UPDATE t1 SET a = 'se''cret', b=3.5e7 -- secret\n WHERE c = $$secret$$"
            ),
            "UPDATE t1 SET a = ?, b=? WHERE c = ?"
        );
        assert_eq!(without_literals("SELECT 'cut off here"), "SELECT ?");
        assert_eq!(without_literals("SELECT $1, \"Ä\" /* s */ FROM t"), "SELECT $1, \"Ä\" FROM t");
        assert_eq!(without_literals("SELECT $tag$ secret $tag$, E'\\'secret'"), "SELECT ?, E?");
    }
}
