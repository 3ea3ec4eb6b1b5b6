use dunlin_model::Dialect;
use proptest::prelude::*;

use super::parse;
use crate::sql::split;

const DIALECTS: [Dialect; 3] = [Dialect::Postgres, Dialect::Mysql, Dialect::Sqlite];

/// Fragments that begin, end or break something in at least one dialect.
const FRAGMENTS: &[&str] = &[
    ";",
    "'",
    "''",
    "\"",
    "`",
    "[",
    "]",
    "\\",
    "\\.",
    "\\.\n",
    "--",
    "-- ",
    "--x",
    "#",
    "/*",
    "*/",
    "/*!",
    "/*!50003 ",
    "/*M!100100 ",
    "/*+",
    "$",
    "$$",
    "$a$",
    "$a",
    "$1",
    "E'",
    "e'",
    "U&'",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "\u{feff}",
    "é",
    "🦆",
    "\u{a0}",
    "(",
    ")",
    ",",
    ".",
    "@",
    ":",
    "=",
    "*",
    "BEGIN",
    " ATOMIC ",
    "END",
    "CASE ",
    " IF ",
    " THEN ",
    "ELSE ",
    "LOOP ",
    "REPEAT ",
    "WHILE ",
    " DO ",
    "FOR ",
    "\nDELIMITER ",
    "DELIMITER //\n",
    "delimiter $$\n",
    "DELIMITER go\n",
    "DELIMITER ;\n",
    "//",
    "CREATE ",
    "OR REPLACE ",
    "FUNCTION f() ",
    "PROCEDURE p() ",
    "TRIGGER t ",
    "EVENT e ",
    "TABLE a ",
    "VIEW v AS ",
    "INDEX i ON a ",
    "TYPE t ",
    "DROP ",
    "ALTER ",
    "RENAME ",
    "COLUMN c ",
    "TO ",
    "ADD VALUE 'x'",
    "COPY t FROM stdin;",
    "COPY ",
    "FROM ",
    "STDIN",
    "SELECT ",
    "INSERT INTO ",
    "UPDATE ",
    "DELETE FROM a ",
    "WITH x AS (",
    "RECURSIVE ",
    "SET ",
    "standard_conforming_strings = off;",
    "DEFINER=",
    "`a`@`b` ",
    "ON ",
    "COMMENT ",
    "GRANT ",
    "TRUNCATE ",
    "PRAGMA foreign_keys=off;",
    "VACUUM;",
    "COMMIT;",
    "DO $$ drop $$",
    "CALL p()",
    "source x",
    "USING ",
    "WHERE ",
    "MERGE ",
    "LOCK ",
    "REFERENCES ",
    "PARTITION ",
    "IF EXISTS ",
    "1",
    "2fa",
    "1.5",
];

fn nasty() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        6 => prop::sample::select(FRAGMENTS).prop_map(str::to_owned),
        1 => "[a-zA-Z0-9_$ ]{0,5}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(fragment, 0..40).prop_map(|fragments| fragments.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_pieces_joined_give_the_file(text in nasty()) {
        for dialect in DIALECTS {
            let Ok(pieces) = split(dialect, &text) else { continue };
            let joined: String = pieces.iter().map(|p| &text[p.range.clone()]).collect();
            prop_assert_eq!(&joined, &text);
            for piece in &pieces {
                prop_assert!(piece.range.start <= piece.body.start && piece.body.end <= piece.range.end);
                let body = &text[piece.body.clone()];
                prop_assert_eq!(body.trim_matches([' ', '\t', '\n', '\r']), body);
                let before = &text[..piece.body.start];
                prop_assert_eq!(piece.line, 1 + before.matches('\n').count());
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in nasty()) {
        for dialect in DIALECTS {
            // Refused or not: only that an answer comes matters here.
            let _ = parse(dialect, &text);
        }
    }

    #[test]
    fn a_statement_splits_into_itself(text in nasty()) {
        for dialect in DIALECTS {
            let Ok(pieces) = split(dialect, &text) else { continue };
            // A statement alone lacks its DELIMITER or setting; at the front U+FEFF is a mark.
            let lower = text.to_ascii_lowercase();
            let differs = ["delimiter", "standard_conforming_strings", "\u{feff}"];
            if differs.iter().any(|word| lower.contains(word)) {
                continue;
            }
            for piece in pieces.iter().filter(|p| !p.body.is_empty()) {
                let body = &text[piece.body.clone()];
                let again = split(dialect, body);
                prop_assert!(again.is_ok(), "{:?} of {:?}: {:?}", body, dialect, again);
                let bodies = again.iter().flatten().filter(|p| !p.body.is_empty()).count();
                prop_assert_eq!(bodies, 1, "{:?} of {:?}", body, dialect);
            }
        }
    }
}

/// Inputs on which a second look at what was read would take hours.
#[test]
fn large_inputs_complete() {
    let repeat = |part: &str| part.repeat(200_000 / part.len());
    let texts = [
        repeat("SELECT 1;"),
        repeat("/* "),
        repeat("$a$ $b$ "),
        repeat("'a' "),
        repeat("E'a'\n"),
        repeat("("),
        format!("SELECT {};", repeat("a = 1 OR ")),
        format!("INSERT INTO t VALUES {};", repeat("(1, 'a'), ")),
        format!("CREATE PROCEDURE p() BEGIN {}", repeat("IF 1 THEN ")),
        format!("SELECT {}", repeat("delimiter x ")),
        format!("COPY t FROM stdin;\n{}\\.\n", repeat("1\t2\n")),
        format!("WITH {} x AS (SELECT 1) SELECT 1", repeat("x AS (SELECT 1 FROM x), ")),
        repeat("DELIMITER //\n"),
    ];
    for text in &texts {
        for dialect in DIALECTS {
            if let Ok(pieces) = split(dialect, text) {
                let length: usize = pieces.iter().map(|p| p.range.len()).sum();
                assert_eq!(length, text.len());
            }
            let _ = parse(dialect, text);
        }
    }
}
