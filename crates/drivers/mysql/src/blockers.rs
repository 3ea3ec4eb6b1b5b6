//! Who may hold the lock that a statement did not get.

use dunlin_engine::TargetError;

use crate::process::{COLUMNS, Process, process};
use crate::session::Session;

/// How many are named.
const NAMED_MAX: usize = 5;

/// How much of a statement is shown.
const STATEMENT_CHARACTERS_MAX: usize = 120;

/// Adds a line for each transaction that is open besides ours, those of this database first, then
/// by age. Best effort: an
/// error here must not hide the timeout.
pub(crate) async fn noted(error: TargetError, session: &mut Session, ours: &[u64]) -> TargetError {
    let ours = ours.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let transactions = format!(
        "SELECT {COLUMNS}, TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) \
         FROM information_schema.innodb_trx t \
         JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
         WHERE p.id NOT IN ({ours}) \
         ORDER BY p.db <=> DATABASE() DESC, t.trx_started LIMIT {NAMED_MAX}"
    );
    match session.run(&transactions).await {
        Ok(answers) => {
            let rows = answers.iter().flat_map(|answer| &answer.rows);
            rows.fold(error, |error, row| {
                let age = row.number::<i64>(7).unwrap_or_default();
                error.note(line(&process(row), &format!("in a transaction for {age} s")))
            })
        }
        Err(_) => noted_without_rights(error, session, &ours).await,
    }
}

async fn noted_without_rights(
    error: TargetError,
    session: &mut Session,
    ours: &str,
) -> TargetError {
    let processes = format!(
        "SELECT {COLUMNS} FROM information_schema.processlist p \
         WHERE p.id NOT IN ({ours}) AND p.command <> 'Daemon' \
         ORDER BY p.time DESC LIMIT {NAMED_MAX}"
    );
    let error = match session.run(&processes).await {
        Ok(answers) => {
            let rows = answers.iter().flat_map(|answer| &answer.rows);
            rows.fold(error, |error, row| {
                let process = process(row);
                let doing = format!("{} for {} s", process.command, process.seconds);
                error.note(line(&process, &doing))
            })
        }
        Err(_) => error,
    };
    error.note("who holds the lock cannot be told: GRANT PROCESS ON *.* to this user shows it")
}

fn line(process: &Process, doing: &str) -> String {
    let statement = match &process.statement {
        Some(text) => format!(": {}", without_literals(text)),
        None => String::new(),
    };
    format!("connection {} of {}@{} is {doing}{statement}", process.id, process.user, process.host)
}

/// A statement's text with every literal replaced, since literals are row values.
pub(crate) fn without_literals(text: &str) -> String {
    let mut shown = String::new();
    let mut characters = text.chars().peekable();
    let mut previous = ' ';
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' => {
                while let Some(inner) = characters.next() {
                    if inner == '\\' {
                        characters.next();
                    } else if inner == character {
                        break;
                    }
                }
                shown.push('?');
            }
            digit if digit.is_ascii_digit() && !is_word(previous) => {
                while characters.next_if(|next| is_word(*next) || *next == '.').is_some() {}
                shown.push('?');
            }
            space if space.is_whitespace() => {
                if !previous.is_whitespace() {
                    shown.push(' ');
                }
            }
            other => shown.push(other),
        }
        previous = character;
    }
    if shown.chars().count() > STATEMENT_CHARACTERS_MAX {
        shown = shown.chars().take(STATEMENT_CHARACTERS_MAX).collect();
        shown.push('…');
    }
    shown
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_not_shown() {
        assert_eq!(
            without_literals("UPDATE t1 SET a='it''s\\' x', b = 12.5,\n c2=0x1F WHERE `k` = \"s\""),
            "UPDATE t1 SET a=??, b = ?, c2=? WHERE `k` = ?"
        );
    }
}
