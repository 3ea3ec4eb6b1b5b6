//! Functions that MySQL and MariaDB bring along, as far as it matters whether they act.
//!
//! What is not listed may be somebody's own function, which may change rows. In doubt a function
//! is unknown; what is listed here is known to change nothing that outlasts the session.

use super::source::Source;
use crate::sql::lex::Kind;

/// What calling functions means for a statement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Calls {
    /// One of them is not the server's own, or not known to be.
    pub(super) unknown: bool,
    /// One of them says something else each time, or depends on rows.
    pub(super) varying: bool,
}

/// They depend on their arguments alone, or on what stays the same for a login and a database.
const STEADY: &[&str] = &[
    "ABS",
    "ADDDATE",
    "ADDTIME",
    "ASCII",
    "BIN",
    "BINARY",
    "BIT_LENGTH",
    "CAST",
    "CEIL",
    "CEILING",
    "CHAR",
    "CHARSET",
    "CHAR_LENGTH",
    "CHARACTER_LENGTH",
    "COALESCE",
    "COLLATION",
    "CONCAT",
    "CONCAT_WS",
    "CONV",
    "CONVERT",
    "CRC32",
    "CURRENT_USER",
    "DATABASE",
    "DATE",
    "DATE_ADD",
    "DATE_FORMAT",
    "DATE_SUB",
    "DATEDIFF",
    "DATETIME",
    "DAY",
    "DECIMAL",
    "DEFAULT",
    "ELT",
    "EXP",
    "EXPORT_SET",
    "FIELD",
    "FIND_IN_SET",
    "FLOOR",
    "FORMAT",
    "FROM_BASE64",
    "GREATEST",
    "HEX",
    "HOUR",
    "IF",
    "IFNULL",
    "INSERT",
    "INSTR",
    "INTERVAL",
    "ISNULL",
    "LCASE",
    "LEAST",
    "LEFT",
    "LENGTH",
    "LN",
    "LOCATE",
    "LOG",
    "LOG10",
    "LOG2",
    "LOWER",
    "LPAD",
    "LTRIM",
    "MAKEDATE",
    "MAKETIME",
    "MD5",
    "MID",
    "MINUTE",
    "MOD",
    "MONTH",
    "NULLIF",
    "NVL",
    "OCT",
    "OCTET_LENGTH",
    "ORD",
    "PASSWORD",
    "POSITION",
    "POW",
    "POWER",
    "QUARTER",
    "QUOTE",
    "REGEXP_LIKE",
    "REGEXP_REPLACE",
    "REGEXP_SUBSTR",
    "REGEXP_INSTR",
    "REPEAT",
    "REPLACE",
    "REVERSE",
    "RIGHT",
    "ROUND",
    "RPAD",
    "RTRIM",
    "SCHEMA",
    "SECOND",
    "SEC_TO_TIME",
    "SESSION_USER",
    "SHA",
    "SHA1",
    "SHA2",
    "SIGN",
    "SPACE",
    "SQRT",
    "STR_TO_DATE",
    "STRCMP",
    "SUBDATE",
    "SUBSTR",
    "SUBSTRING",
    "SUBSTRING_INDEX",
    "SUBTIME",
    "SYSTEM_USER",
    "TIME",
    "TIMEDIFF",
    "TIMESTAMP",
    "TIMESTAMPADD",
    "TIMESTAMPDIFF",
    "TO_BASE64",
    "TO_DAYS",
    "TO_SECONDS",
    "TRIM",
    "TRUNCATE",
    "UCASE",
    "UNHEX",
    "UPPER",
    "USER",
    "VARCHAR",
    "VERSION",
    "WEEK",
    "WEEKDAY",
    "YEAR",
];

/// They say something else at another time, of other rows, or in another session.
const VARYING: &[&str] = &[
    "ANY_VALUE",
    "AVG",
    "BENCHMARK",
    "BIT_AND",
    "BIT_OR",
    "BIT_XOR",
    "CONNECTION_ID",
    "COUNT",
    "CURDATE",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURTIME",
    "DENSE_RANK",
    "FIRST_VALUE",
    "FOUND_ROWS",
    "FROM_UNIXTIME",
    "GET_LOCK",
    "GROUP_CONCAT",
    "IS_FREE_LOCK",
    "IS_USED_LOCK",
    "JSON_ARRAYAGG",
    "JSON_OBJECTAGG",
    "LAG",
    "LAST_INSERT_ID",
    "LAST_VALUE",
    "LEAD",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "MAX",
    "MEDIAN",
    "MIN",
    "NOW",
    "NTILE",
    "RAND",
    "RANDOM_BYTES",
    "RANK",
    "RELEASE_ALL_LOCKS",
    "RELEASE_LOCK",
    "ROW_COUNT",
    "ROW_NUMBER",
    "SLEEP",
    "STD",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "SUM",
    "SYSDATE",
    "SYS_GUID",
    "UNIX_TIMESTAMP",
    "UTC_DATE",
    "UTC_TIME",
    "UTC_TIMESTAMP",
    "UUID",
    "UUID_SHORT",
    "VALUES",
    "VAR_POP",
    "VAR_SAMP",
    "VARIANCE",
];

/// Said without parentheses too.
const NILADIC: &[&str] = &[
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "UTC_DATE",
    "UTC_TIME",
    "UTC_TIMESTAMP",
];

/// System variables that are another value in another session, or at another time.
const VARYING_SETTINGS: &[&str] = &[
    "ERROR_COUNT",
    "IDENTITY",
    "INSERT_ID",
    "LAST_INSERT_ID",
    "PSEUDO_THREAD_ID",
    "RAND_SEED1",
    "RAND_SEED2",
    "TIMESTAMP",
    "WARNING_COUNT",
    "GTID_CURRENT_POS",
    "GTID_BINLOG_POS",
    "GTID_EXECUTED",
    "LAST_GTID",
];

/// Words before a parenthesis that call nothing.
const NO_CALL: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "AS",
    "BETWEEN",
    "BY",
    "CASE",
    "DISTINCT",
    "DIV",
    "ELSE",
    "EXCEPT",
    "EXISTS",
    "FROM",
    "HAVING",
    "IN",
    "INDEX",
    "INTERSECT",
    "INTO",
    "JOIN",
    "KEY",
    "LIKE",
    "LIMIT",
    "NOT",
    "ON",
    "OR",
    "OVER",
    "REGEXP",
    "RLIKE",
    "ROW",
    "SELECT",
    "SEPARATOR",
    "SET",
    "SOME",
    "TABLE",
    "THEN",
    "UNION",
    "USING",
    "WHEN",
    "WHERE",
    "WITH",
    "XOR",
    "LATERAL",
    "STATEMENT",
];

/// Families whose members all depend on their arguments alone.
const STEADY_FAMILIES: &[&str] = &["JSON_", "ST_", "INET_", "INET6_", "IS_IPV", "AES_", "UUID_TO_"];

/// Reads the calls of a statement from an index on.
pub(super) fn calls(source: Source<'_>, from: usize) -> Calls {
    let mut calls = Calls::default();
    for at in from..source.len() {
        if let Some(setting) = setting_at(source, at) {
            calls.varying |= VARYING_SETTINGS.contains(&setting.as_str());
        }
        // MariaDB: NEXT VALUE FOR s
        if source.are(at, &["VALUE", "FOR"]) {
            calls.varying = true;
            calls.unknown = true;
        }
        let called = source.punct(at + 1, b'(');
        match source.kind(at) {
            Some(Kind::Word) => {
                let word = source.token_text(at).to_ascii_uppercase();
                let word = word.as_str();
                let qualified = at > from && source.punct(at - 1, b'.');
                calls.varying |= NILADIC.contains(&word);
                // What reads rows reads others later.
                calls.varying |= word == "FROM";
                if !called || NO_CALL.contains(&word) && !qualified {
                    continue;
                }
                let steady = STEADY.contains(&word)
                    || STEADY_FAMILIES.iter().any(|family| word.starts_with(family));
                let varying = VARYING.contains(&word);
                calls.varying |= varying || !steady;
                calls.unknown |= qualified || !steady && !varying;
            }
            Some(Kind::Quoted) if called => {
                calls.varying = true;
                calls.unknown = true;
            }
            Some(_) | None => {}
        }
    }
    calls
}

/// The name of the system variable that is written at an index (`@@x`, `@@session.x`), in upper case.
pub(super) fn setting_at(source: Source<'_>, at: usize) -> Option<String> {
    if !source.punct(at, b'@') || !source.punct(at + 1, b'@') {
        return None;
    }
    let mut cursor = source.cursor(at + 2);
    cursor.name().map(|name| name.last().to_ascii_uppercase())
}
