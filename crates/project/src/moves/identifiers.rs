//! The names in an expression, found without parsing it.

/// The names that an expression mentions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mentioned {
    /// Columns and names of the old row.
    pub(super) names: Vec<String>,
    /// What stands behind `new.`.
    pub(super) new: Vec<String>,
}

/// What an expression mentions: every word that isn't a function's name, in a string or a comment.
/// Keywords are among them: nobody's column is called so without quotes.
pub(super) fn mentioned(text: &str) -> Mentioned {
    let mut found = Mentioned::default();
    let words = words(text);
    let mut at = 0;
    while at < words.len() {
        let Word::Name(name) = &words[at] else {
            at += 1;
            continue;
        };
        if name == "new"
            && words.get(at + 1) == Some(&Word::Other('.'))
            && let Some(Word::Name(column)) = words.get(at + 2)
        {
            found.new.push(column.clone());
            at += 3;
            continue;
        }
        if words.get(at + 1) != Some(&Word::Other('(')) {
            found.names.push(name.clone());
        }
        at += 1;
    }
    found
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// A name, quoted or not.
    Name(String),
    /// Anything else that isn't blank.
    Other(char),
}

fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let next = rest[first.len_utf8()..].chars().next();
        let length = match (first, next) {
            ('\'', _) => string_length(rest, '\'', false),
            ('e' | 'E', Some('\'')) => 1 + string_length(&rest[1..], '\'', true),
            ('"', _) => {
                let length = string_length(rest, '"', false);
                let inside = rest[1..length].strip_suffix('"').unwrap_or(&rest[1..length]);
                found.push(Word::Name(inside.replace("\"\"", "\"")));
                length
            }
            ('-', Some('-')) => rest.find('\n').unwrap_or(rest.len()),
            ('/', Some('*')) => comment_length(rest),
            (c, _) if c.is_alphabetic() || c == '_' => {
                let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
                let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
                found.push(Word::Name(rest[..length].to_owned()));
                length
            }
            // A number: the `e` in `1e5` is no name.
            (c, _) if c.is_ascii_digit() => {
                rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())
            }
            (c, _) => {
                if !c.is_whitespace() {
                    found.push(Word::Other(c));
                }
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    found
}

/// How long a quoted text is, its quotes included; a doubled quote is part of it. One that never
/// ends goes to the end.
fn string_length(text: &str, quote: char, backslashes: bool) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c == '\\' && backslashes {
            characters.next();
        } else if c == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

/// How long a comment is, with those inside it.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_all_else() {
        for (text, names, new) in [
            ("lower(email)", &["email"][..], &[][..]),
            ("'it''s mine' || name", &["name"], &[]),
            (r"E'it\'s mine' || name", &["name"], &[]),
            ("\"Last Name\" || \"a\"\"b\"", &["Last Name", "a\"b"], &[]),
            ("a /* b /* c */ d */ - -- e\n f", &["a", "f"], &[]),
            ("'requests/' || new.request_id || id", &["id"], &["request_id"]),
            ("new.\"Id\" + new", &["new"], &["Id"]),
            ("1e5 + x1 * 0x1f", &["x1"], &[]),
            ("event['name']", &["event"], &[]),
            ("größe > 1", &["größe"], &[]),
            ("'never ends", &[], &[]),
            ("\"never ends", &["never ends"], &[]),
            ("/* never ends", &[], &[]),
        ] {
            let found = mentioned(text);
            assert_eq!(
                (&found.names[..], &found.new[..]),
                (
                    &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()[..],
                    &new.iter().map(|name: &&str| (*name).to_owned()).collect::<Vec<_>>()[..],
                ),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(?s)('|\"|E|\\\\|/\\*|\\*/|--|\n|new|\\.|é|a|1|.){0,40}") {
            mentioned(&text);
        }
    }
}
