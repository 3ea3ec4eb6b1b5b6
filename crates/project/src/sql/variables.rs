//! Variables of MySQL's sessions in a query.

use dunlin_model::Dialect;

use super::lex::{Kind, Lexeme, Lexer};

/// The first user variable in a text of MySQL's, as it is written: `@row`. What a query with one gives
/// depends on what its session did before, and on the order in which rows happen to be read.
#[must_use]
pub fn user_variable(text: &str) -> Option<String> {
    let mut lexer = Lexer::new(Dialect::Mysql, text);
    let mut ats = 0;
    loop {
        // What can't be read is the server's to tell.
        match lexer.next(false).ok()? {
            Lexeme::End => return None,
            Lexeme::Token(token) if token.kind == Kind::Punct(b'@') => ats += 1,
            Lexeme::Token(token) => {
                let is_name = matches!(token.kind, Kind::Word | Kind::Quoted | Kind::Str);
                // `@@sql_mode` is the server's.
                if ats == 1 && is_name {
                    return Some(format!("@{}", token.text(text)));
                }
                ats = 0;
            }
            _ => {}
        }
    }
}
