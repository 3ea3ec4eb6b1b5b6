//! What the body of a trigger may do, as far as its words tell.
//!
//! Careful in one direction: a body that changes nothing beyond the row in hand may be taken for one
//! that does, never the other way round.

use dunlin_model::Dialect;

use super::lex::{Kind, Lexeme, Lexer, Token};

/// Words of what may change something: other rows, definitions, or whatever a routine does.
const DEEDS: &[&str] = &[
    "INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "TRUNCATE", "COPY", "LOAD", "CALL", "DO",
    "PERFORM", "EXECUTE", "NOTIFY", "CREATE", "ALTER", "DROP", "GRANT", "LOCK", "PREPARE", "GET",
];

/// Words that stand before a parenthesis and call nothing, and functions of the servers' own that do
/// nothing but give a value; those of `NOW` are such too.
const HARMLESS: &[&str] = &[
    "IF",
    "ELSIF",
    "ELSEIF",
    "WHEN",
    "CASE",
    "THEN",
    "ELSE",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS",
    "RETURN",
    "WHILE",
    "SET",
    "EXISTS",
    "FROM",
    "DISTINCT",
    "TIMEZONE",
    "DATE_TRUNC",
    "LOWER",
    "UPPER",
    "TRIM",
    "BTRIM",
    "LTRIM",
    "RTRIM",
    "COALESCE",
    "IFNULL",
    "NULLIF",
    "GREATEST",
    "LEAST",
    "CONCAT",
    "CONCAT_WS",
    "REPLACE",
    "REGEXP_REPLACE",
    "SUBSTRING",
    "LEFT",
    "RIGHT",
    "LENGTH",
    "CHAR_LENGTH",
    "MD5",
    "SHA2",
    "ABS",
    "ROUND",
    "TO_TSVECTOR",
    "SETWEIGHT",
    "RAISE",
];

/// Whether a trigger's body does no more than look at the row in hand, set its columns, or refuse it.
/// What can't be read does more.
pub(crate) fn stays_in_its_row(dialect: Dialect, body: &str) -> bool {
    let Some(tokens) = tokens(dialect, body) else { return false };
    let word = |at: usize| -> Option<String> {
        let token = tokens.get(at).filter(|token| token.kind == Kind::Word)?;
        Some(token.text(body).to_ascii_uppercase())
    };
    let is_call = |at: usize| tokens.get(at + 1).is_some_and(|next| next.kind == Kind::Punct(b'('));
    // SQLite keeps the whole definition, and no routine of anybody's can be called from it.
    let sqlite = dialect == Dialect::Sqlite;
    let first = if sqlite {
        (0..tokens.len()).find(|&at| word(at).as_deref() == Some("BEGIN")).unwrap_or(0)
    } else {
        0
    };
    (first..tokens.len()).all(|at| match (tokens[at].kind, word(at)) {
        (Kind::Quoted, _) => sqlite || !is_call(at),
        (_, Some(word)) if is_call(at) => {
            sqlite || [HARMLESS, NOW].iter().any(|words| words.contains(&word.as_str()))
        }
        (_, Some(word)) if word == "SELECT" => sqlite,
        (_, Some(word)) => !DEEDS.contains(&word.as_str()),
        _ => true,
    })
}

/// Words of an expression that is the time of now.
const NOW: &[&str] = &[
    "NOW",
    "CURRENT_TIMESTAMP",
    "CURRENT_DATE",
    "CLOCK_TIMESTAMP",
    "TRANSACTION_TIMESTAMP",
    "STATEMENT_TIMESTAMP",
    "LOCALTIMESTAMP",
    "UTC_TIMESTAMP",
    "SYSDATE",
];

/// Words that make another form of the time.
const OF_TIME: &[&str] = &[
    "TIMEZONE",
    "DATE_TRUNC",
    "AT",
    "TIME",
    "ZONE",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "WITHOUT",
    "WITH",
];

/// The columns that a trigger's body, which stays in its row, sets to the time of now. `None`: it
/// sets some to what they would not be set to again when the row's old values are put back. What is
/// worked out of the row's new values alone is, since those are its old ones then.
pub(crate) fn stamps(dialect: Dialect, body: &str) -> Option<Vec<String>> {
    if dialect == Dialect::Sqlite {
        // No trigger of it can assign anything to the row in hand.
        return Some(Vec::new());
    }
    let tokens = tokens(dialect, body)?;
    let word = |at: usize| tokens.get(at).map(|token| token.text(body).to_ascii_uppercase());
    let is = |at: usize, text: &str| word(at).as_deref() == Some(text);
    let mut stamps = Vec::new();
    for at in (0..tokens.len()).filter(|&at| is(at, "NEW")) {
        let begins = at == 0
            || [";", "BEGIN", "THEN", "ELSE", "LOOP", "SET", ",", "INTO"]
                .iter()
                .any(|before| is(at - 1, before));
        if !begins || dialect == Dialect::Mysql && is(at + 3, ",") {
            continue;
        }
        let value = match (is(at + 1, "."), is(at + 3, ":"), is(at + 3, "=")) {
            (true, true, _) => at + 5,
            (true, false, true) => at + 4,
            _ => return None,
        };
        let column = name_of(tokens.get(at + 2)?, body);
        let mut depth = 0_i32;
        let mut expression = Vec::new();
        for next in value..tokens.len() {
            match word(next).unwrap_or_default().as_str() {
                ";" => break,
                "," if depth == 0 => break,
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            expression.push(next);
        }
        let words = || expression.iter().filter(|&&at| tokens[at].kind == Kind::Word);
        let says =
            |at: usize, list: &[&str]| word(at).is_some_and(|word| list.contains(&word.as_str()));
        let is_now = words().any(|&at| says(at, NOW))
            && words().all(|&at| says(at, NOW) || says(at, OF_TIME));
        let own = |&at: &usize| {
            is(at, "NEW")
                && tokens
                    .get(at + 2)
                    .is_some_and(|token| name_of(token, body).eq_ignore_ascii_case(&column))
        };
        let of_new = expression.iter().any(|&at| is(at, "NEW"))
            && !expression.iter().any(own)
            && !words().any(|&at| is(at, "OLD") || says(at, NOW));
        if is_now {
            stamps.push(column);
        } else if !of_new {
            return None;
        }
    }
    Some(stamps)
}

fn name_of(token: &Token, body: &str) -> String {
    let text = token.text(body);
    match token.kind {
        Kind::Quoted => text.trim_matches(['"', '`']).to_owned(),
        _ => text.to_owned(),
    }
}

/// Whether a condition stands in a statement as it is, blanks, comments and the case of words aside.
pub(crate) fn repeats(dialect: Dialect, text: &str, condition: &str) -> bool {
    let (Some(said), Some(wanted)) = (tokens(dialect, text), tokens(dialect, condition)) else {
        return false;
    };
    let same = |(a, b): (&Token, &Token)| {
        let (a, b) = ((a.kind, a.text(text)), (b.kind, b.text(condition)));
        a == b || a.0 == Kind::Word && b.0 == Kind::Word && a.1.eq_ignore_ascii_case(b.1)
    };
    said.windows(wanted.len().max(1)).any(|window| window.iter().zip(&wanted).all(same))
}

fn tokens(dialect: Dialect, text: &str) -> Option<Vec<Token>> {
    let mut lexer = Lexer::new(dialect, text);
    let mut tokens = Vec::new();
    loop {
        match lexer.next(false) {
            Ok(Lexeme::End) => return Some(tokens),
            Ok(Lexeme::Token(token)) => tokens.push(token),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{Mysql, Postgres, Sqlite};

    #[test]
    fn what_only_sets_columns_is_told_from_what_writes() {
        for (dialect, body) in [
            (Postgres, "BEGIN NEW.updated_at := now(); RETURN NEW; END"),
            (
                Postgres,
                "begin if (new.a is distinct from old.a) then new.b = lower(new.a); end if; return new; end;",
            ),
            (
                Postgres,
                "BEGIN NEW.v := to_tsvector('english', 'update ' || NEW.t); RETURN NEW; END",
            ),
            (Mysql, "SET NEW.updated_at = UTC_TIMESTAMP(6), NEW.n = REPLACE(NEW.n, 'a', 'b')"),
            (
                Sqlite,
                "CREATE TRIGGER a BEFORE UPDATE ON t BEGIN SELECT raise(ABORT, 'no') WHERE new.a < 0; END",
            ),
        ] {
            assert!(stays_in_its_row(dialect, body), "{body}");
        }
        for (dialect, body) in [
            (Postgres, "BEGIN INSERT INTO log VALUES (OLD.id); RETURN NEW; END"),
            (Postgres, "BEGIN PERFORM log(OLD.id); RETURN NEW; END"),
            (Postgres, "BEGIN NEW.a := next_of_log(); RETURN NEW; END"),
            (Postgres, "BEGIN NEW.a := \"my log\"(1); RETURN NEW; END"),
            (Postgres, "BEGIN NEW.a := (SELECT f FROM g); RETURN NEW; END"),
            (Postgres, "BEGIN NEW.a := 'open; END"),
            (Mysql, "BEGIN UPDATE totals SET n = n - OLD.n; END"),
            (Mysql, "CALL log_it(OLD.id)"),
            (
                Sqlite,
                "CREATE TRIGGER a AFTER UPDATE ON t BEGIN UPDATE t SET u = 1 WHERE id = new.id; END",
            ),
            (Sqlite, "CREATE TRIGGER a AFTER DELETE ON t BEGIN REPLACE INTO log VALUES (1); END"),
        ] {
            assert!(!stays_in_its_row(dialect, body), "{body}");
        }
    }

    #[test]
    fn what_is_set_again_is_told_from_what_is_not() {
        for (dialect, body, columns) in [
            (Postgres, "BEGIN NEW.updated_at := now(); RETURN NEW; END", Some(vec!["updated_at"])),
            (
                Postgres,
                "BEGIN NEW.\"At\" = timezone('utc', now()); NEW.v := lower(NEW.t); RETURN NEW; END",
                Some(vec!["At"]),
            ),
            (
                Postgres,
                "BEGIN IF NEW.a = 1 THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END",
                Some(vec![]),
            ),
            (Mysql, "SET NEW.at = UTC_TIMESTAMP(6), NEW.v = LOWER(NEW.t)", Some(vec!["at"])),
            (
                Mysql,
                "BEGIN IF NEW.a = OLD.a THEN SIGNAL SQLSTATE '45000'; END IF; END",
                Some(vec![]),
            ),
            (Postgres, "BEGIN NEW.email := lower(NEW.email); RETURN NEW; END", None),
            (Postgres, "BEGIN NEW.confirmed := false; RETURN NEW; END", None),
            (Postgres, "BEGIN NEW.version := OLD.version + 1; RETURN NEW; END", None),
            (Postgres, "BEGIN NEW.tags[1] := 'a'; RETURN NEW; END", None),
            (Postgres, "BEGIN NEW := OLD; RETURN NEW; END", None),
            (Mysql, "SET NEW.at = NOW(), NEW.n = NEW.n + 1", None),
        ] {
            let columns = columns.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(stamps(dialect, body), columns, "{body}");
        }
    }

    #[test]
    fn a_condition_is_found_as_it_is() {
        let text = "UPDATE t SET a = 1 WHERE A is  NULL /* so */ AND b = 'X' AND :chunk";
        for (condition, is_there) in
            [("a IS NULL", true), ("a IS NULL AND b = 'X'", true), ("b = 'x'", false), ("c", false)]
        {
            assert_eq!(repeats(Postgres, text, condition), is_there, "{condition}");
        }
    }
}
