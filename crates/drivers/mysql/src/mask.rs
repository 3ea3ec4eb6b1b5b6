//! Takes row values out of server messages.
//!
//! MySQL and MariaDB quote the offending value inside the message of some errors. Each is listed
//! here with what stands before and after the value; where a message does not have that form
//! (another `lc_messages`), none of it is shown. Names of keys, columns and tables are kept.

/// How the message of an error number quotes a value.
struct Quotation {
    code: u16,
    /// What stands right before the value, in every form that the servers use.
    before: &'static [&'static str],
    /// What stands right after it; the last place counts, since the value may hold it too.
    /// Empty: the value goes on to the end of the message.
    after: &'static [&'static str],
}

const fn quotation(
    code: u16,
    before: &'static [&'static str],
    after: &'static [&'static str],
) -> Quotation {
    Quotation { code, before, after }
}

const TO_THE_END: &[&str] = &[];

const QUOTATIONS: &[Quotation] = &[
    quotation(1062, &["Duplicate entry '"], &["' for key "]),
    quotation(1292, &["value: '", "value '"], &["' for column ", "' for function "]),
    quotation(1300, &["string: '"], TO_THE_END),
    quotation(1366, &["value: '", "value '"], &["' for column "]),
    quotation(1367, &["Illegal "], &[" value found during parsing"]),
    quotation(1411, &["value: '", "value '"], &["' for function "]),
    quotation(1416, &["Cannot get geometry object from data"], TO_THE_END),
    quotation(1525, &["value: '"], TO_THE_END),
    quotation(1526, &["partition for value "], TO_THE_END),
    quotation(1557, &["entry '"], &["', key "]),
    quotation(1569, &["duplicate entry '"], &["' for key "]),
    quotation(1586, &["Duplicate entry '"], &["' for key "]),
    quotation(1690, &["is out of range in "], TO_THE_END),
    quotation(1761, &["record '"], &["' would lead to a duplicate entry"]),
    quotation(1762, &["record '"], &["' would lead to a duplicate entry"]),
    quotation(1918, &["illegal value '", "illegal "], &["' when converting", " when converting"]),
    quotation(1977, &["Cannot convert "], &[" to "]),
    quotation(3140, &["Invalid JSON text: "], &[" in value for column "]),
    quotation(3141, &["Invalid JSON text in argument "], TO_THE_END),
    quotation(3156, &["Invalid JSON value for CAST to "], &[" from column "]),
    quotation(3732, &["A parameter of function "], TO_THE_END),
    quotation(3854, &["Cannot convert string '"], &["' from "]),
    quotation(3903, &["Invalid JSON value for CAST for functional index '"], TO_THE_END),
    quotation(3988, &["Conversion from collation "], TO_THE_END),
];

/// The message of that error without row values.
pub(crate) fn without_values(code: u16, message: &str) -> String {
    let Some(quotation) = QUOTATIONS.iter().find(|quotation| quotation.code == code) else {
        return message.to_owned();
    };
    masked(quotation, message).unwrap_or_else(|| {
        "the server refused a value; its message quotes the value and is left out".to_owned()
    })
}

fn masked(quotation: &Quotation, message: &str) -> Option<String> {
    let value_at = quotation
        .before
        .iter()
        .find_map(|before| message.find(before).map(|at| at + before.len()))?;
    let (head, rest) = message.split_at(value_at);
    let tail_at = quotation.after.iter().filter_map(|after| rest.rfind(after)).max();
    match tail_at {
        Some(at) => Some(format!("{head}…{}", &rest[at..])),
        // 1292 has forms with and without a column after the value.
        None if quotation.after.is_empty() || quotation.code == 1292 => {
            Some(format!("{head}…{}", if head.ends_with('\'') { "'" } else { "" }))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_and_names_stay() {
        let cases: &[(u16, &str, &str)] = &[
            (
                1062,
                "Duplicate entry 'x' for key 'y'-secret' for key 'users.email'",
                "Duplicate entry '…' for key 'users.email'",
            ),
            (
                1366,
                "Incorrect integer value: 'secret' for column `d`.`t`.`n` at row 1",
                "Incorrect integer value: '…' for column `d`.`t`.`n` at row 1",
            ),
            (
                1292,
                "Truncated incorrect INTEGER value: 'secret'",
                "Truncated incorrect INTEGER value: '…'",
            ),
            (
                1292,
                "Incorrect datetime value: 'secret' for column `d`.`t`.`at` at row 3",
                "Incorrect datetime value: '…' for column `d`.`t`.`at` at row 3",
            ),
            (1526, "Table has no partition for value secret", "Table has no partition for value …"),
            (
                1690,
                "BIGINT value is out of range in '9 + secret'",
                "BIGINT value is out of range in …",
            ),
            (1146, "Table 'a.b' doesn't exist", "Table 'a.b' doesn't exist"),
        ];
        for (code, message, expected) in cases {
            assert_eq!(without_values(*code, message), *expected);
        }
    }

    #[test]
    fn a_message_in_another_language_is_left_out_whole() {
        let message = without_values(1062, "Doppelter Eintrag 'secret' für Schlüssel 'email'");
        assert!(!message.contains("secret"), "{message}");
    }
}
