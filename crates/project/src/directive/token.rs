//! A directive's text, cut into words and quoted strings.

/// A word, or a string in double quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// Without its quotes.
    pub(crate) text: String,
    /// It was written in double quotes.
    pub(crate) quoted: bool,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
}

/// Cuts a text at white space. `"` starts a string, in which `\"` and `\\` stand for themselves.
///
/// # Errors
/// The column and a sentence for a person, without a full stop.
pub(crate) fn tokens(
    text: &str,
    line: usize,
    column: usize,
) -> Result<Vec<Token>, (usize, String)> {
    let mut found = Vec::new();
    let mut characters = text.chars().enumerate().peekable();
    while let Some((index, first)) = characters.next() {
        if first.is_whitespace() {
            continue;
        }
        let column = column + index;
        let mut token = Token { text: String::new(), quoted: first == '"', line, column };
        if !token.quoted {
            token.text.push(first);
            while let Some((_, next)) = characters.next_if(|(_, c)| !c.is_whitespace()) {
                token.text.push(next);
            }
        } else {
            loop {
                match characters.next().map(|(_, c)| c) {
                    None => return Err((column, "the string has no closing `\"`".to_owned())),
                    Some('"') => break,
                    Some('\\') => match characters.next() {
                        Some((_, escaped @ ('"' | '\\'))) => token.text.push(escaped),
                        _ => {
                            let message =
                                "in a string, only `\\\"` and `\\\\` may follow a backslash";
                            return Err((column, message.to_owned()));
                        }
                    },
                    Some(c) if c.is_control() && c != '\t' => {
                        return Err((column, "the string holds a control character".to_owned()));
                    }
                    Some(c) => token.text.push(c),
                }
            }
            if characters.peek().is_some_and(|(_, c)| !c.is_whitespace()) {
                return Err((column, "white space is missing after the closing `\"`".to_owned()));
            }
        }
        found.push(token);
    }
    Ok(found)
}

/// A directive whose word takes SQL: the word, and what follows it as it is written.
pub(crate) fn word_and_sql(text: &str, line: usize, column: usize) -> Option<(Token, Token)> {
    let trimmed = text.trim_start();
    let name = trimmed.split(char::is_whitespace).next().unwrap_or_default();
    let known = super::words::find(name).filter(|known| known.takes_sql())?;
    let at = column + text.chars().count() - trimmed.chars().count();
    let rest = trimmed[name.len()..].trim_start();
    let before = trimmed.chars().count() - rest.chars().count();
    let token = |text: &str, column| Token { text: text.to_owned(), quoted: false, line, column };
    Some((token(known.name, at), token(rest.trim_end(), at + before)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_strings() {
        let found = tokens(r#" disabled  "a \"b\" \\ c" "#, 3, 11).expect("well formed");
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].text.as_str(), found[0].quoted, found[0].column),
            ("disabled", false, 12)
        );
        assert_eq!((found[1].text.as_str(), found[1].quoted), (r#"a "b" \ c"#, true));
        assert_eq!(found[1].column, 22);
        for wrong in [r#""a"#, r#""a"b"#, r#""\n""#, "\"a\u{0}\""] {
            assert!(tokens(wrong, 1, 1).is_err(), "{wrong}");
        }
    }
}
