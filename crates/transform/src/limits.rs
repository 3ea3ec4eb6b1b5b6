//! Texts that a column's type certainly refuses, though they are text like any other: found before
//! anything is written, so that `on_error` has a say. What is not certain is left to the database.

use std::net::Ipv6Addr;

use dunlin_model::moves::Limit;

const NO_ADDRESS: &str = "is not an address";
const NO_NETWORK: &str = "is not a network";
const NO_BITS: &str = "is not a string of bits";

/// Why the column's type refuses the text.
pub(crate) fn refused(limit: Limit, text: &str) -> Option<String> {
    let wrong = |is_wrong: bool, why: &str| is_wrong.then(|| why.to_owned());
    match limit {
        Limit::Below(power) => wrong(!is_below(text, power), "is out of range"),
        Limit::Inet => wrong(!may_be_network(text, true), NO_ADDRESS),
        Limit::Cidr => wrong(!may_be_network(text, false), NO_NETWORK),
        Limit::MacAddress => wrong(!may_be_mac(text), NO_ADDRESS),
        // Whatever stands behind six pairs is passed over.
        Limit::MacAddress8 => {
            let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
            wrong(digits < 12, NO_ADDRESS)
        }
        Limit::Bits(count) => match (bits(text), count) {
            (None, _) => Some(NO_BITS.to_owned()),
            (Some(found), Some(count)) if found != count as usize => {
                Some(format!("is not {count} bits"))
            }
            _ => None,
        },
        Limit::BitsUpTo(most) => match (bits(text), most) {
            (None, _) => Some(NO_BITS.to_owned()),
            (Some(found), Some(most)) if found > most as usize => {
                Some(format!("is more than {most} bits"))
            }
            _ => None,
        },
    }
}

/// Whether a number is smaller than ten to a power. What is no number isn't judged here.
fn is_below(text: &str, power: i16) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    if body.eq_ignore_ascii_case("infinity") || body.eq_ignore_ascii_case("inf") {
        return false;
    }
    let (digits, exponent) = body.split_once(['e', 'E']).unwrap_or((body, "0"));
    let Ok(exponent) = exponent.parse::<i64>() else { return true };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let before = if whole.is_empty() {
        let zeros = fraction.len() - fraction.trim_start_matches('0').len();
        if zeros == fraction.len() {
            return true;
        }
        -i64::try_from(zeros).unwrap_or(i64::MAX)
    } else {
        i64::try_from(whole.len()).unwrap_or(i64::MAX)
    };
    before.saturating_add(exponent) <= i64::from(power)
}

fn number(text: &str, most: u32) -> Option<u32> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| all && *number <= most)
}

/// An address with or without the length of its network; a network has nothing to the right of it.
fn may_be_network(text: &str, is_address: bool) -> bool {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    if address.contains(':') {
        let length = match length {
            Some("0") => Some(0),
            // No zero stands before others here.
            Some(length) => match number(length, 128).filter(|_| !length.starts_with('0')) {
                Some(length) => Some(length),
                None => return false,
            },
            None => None,
        };
        let Ok(address) = address.parse::<Ipv6Addr>() else {
            // Some more forms with a point are known to PostgreSQL.
            return address.contains('.') && is_of(address, ":.");
        };
        return is_address || nothing_after(address.to_bits(), 128, length);
    }
    if address.starts_with("0x") || address.starts_with("0X") {
        return true;
    }
    let length = match length.map(|length| number(length, 32)) {
        Some(None) => return false,
        known => known.flatten(),
    };
    let mut bits = 0_u128;
    let mut count = 0_u32;
    for part in address.split('.') {
        let Some(part) = number(part, 255) else { return false };
        count += 1;
        if count > 4 {
            return false;
        }
        bits |= u128::from(part) << (32 - 8 * count);
    }
    if is_address {
        return count == 4 || length.is_some();
    }
    length.is_none() || nothing_after(bits, 32, length)
}

fn is_of(text: &str, more: &str) -> bool {
    text.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter))
}

/// Whether all bits behind the first ones are 0.
fn nothing_after(bits: u128, of: u32, length: Option<u32>) -> bool {
    let behind = of - length.unwrap_or(of).min(of);
    bits.trailing_zeros() >= behind
}

/// Six bytes in one of PostgreSQL's forms.
fn may_be_mac(text: &str) -> bool {
    let text = text.trim_matches(|letter: char| letter.is_ascii_whitespace() || letter == '\x0b');
    let plain = |letter: char| letter.is_ascii_hexdigit() || ":-.".contains(letter);
    if !text.chars().all(plain) {
        // It reads blanks, signs and 0x within too.
        let known = |letter: char| plain(letter) || " \t\n\r\x0b\x0c+xX".contains(letter);
        return text.chars().all(known)
            && text.chars().filter(char::is_ascii_hexdigit).count() >= 6;
    }
    let separator = text.chars().find(|letter| !letter.is_ascii_hexdigit());
    let parts: Vec<&str> = match separator {
        Some(separator) => text.split(separator).collect(),
        None => vec![text],
    };
    if parts.iter().any(|part| part.contains([':', '-', '.'])) {
        return false;
    }
    let lengths = |range: std::ops::RangeInclusive<usize>| {
        parts.iter().all(|part| range.contains(&part.len()))
    };
    match (separator, parts.len()) {
        (None, 1) => lengths(11..=12),
        (Some(':' | '-'), 2) => lengths(5..=6),
        (Some('.' | '-'), 3) => lengths(3..=4),
        (Some(':' | '-'), 6) => {
            parts.iter().all(|part| u64::from_str_radix(part, 16).is_ok_and(|byte| byte <= 255))
        }
        _ => false,
    }
}

/// How many bits a text has: `101`, `b101`, `x5`.
fn bits(text: &str) -> Option<usize> {
    if let Some(digits) = text.strip_prefix(['x', 'X']) {
        let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        return all.then_some(digits.len() * 4);
    }
    let digits = text.strip_prefix(['b', 'B']).unwrap_or(text);
    digits.bytes().all(|byte| matches!(byte, b'0' | b'1')).then_some(digits.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(limit: Limit, taken: &[&str], refused_texts: &[&str]) {
        for text in taken {
            assert_eq!(refused(limit, text), None, "{limit:?} {text:?}");
        }
        for text in refused_texts {
            assert!(refused(limit, text).is_some(), "{limit:?} {text:?}");
        }
    }

    #[test]
    fn numbers_are_below_a_power_of_ten() {
        let taken = ["9999999.9", "-9999999.9", "0", "000000000.1", "NaN", "1e6", "99999999e-1"];
        split(Limit::Below(7), &taken, &["10000000", "-1e7", "Infinity", "-Infinity", "1e300"]);
        split(Limit::Below(0), &["0.99", ".5", "-0"], &["1", "1.0", "100e-2"]);
        split(Limit::Below(-2), &["0.00999", "9e-3"], &["0.01", "0.010", "1"]);
    }

    #[test]
    fn addresses_and_networks() {
        let both =
            ["1.2.3.4", "10.1/16", "010.2.3.4", "::1", "FE80::1", "::ffff:1.2.3.4", "1.2.3.0/24"];
        let neither = [
            "nonsense",
            "{}",
            "",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/+4",
            " 1.2.3.4",
            "256.1.1.1",
            "1.2.3.4.5",
            "::1/129",
            "::1/",
            "::1/064",
            "fe80::1%eth0",
            "1::2::3",
            "12345::",
            ":1",
            ":::",
            "1.2.3.4/24 ",
        ];
        split(Limit::Inet, &both, &neither);
        split(Limit::Cidr, &both, &neither);
        let addresses = ["1.2.3.4/24", "1.2.3.4/024", "::1/64", "1.2.3.4/0", "::ffff:1.2.3.4/96"];
        split(Limit::Inet, &addresses, &["1.2.3", "10"]);
        split(Limit::Cidr, &["1.2.3", "10", "0.0.0.0/0", "fe80::/10", "::/0"], &addresses);
    }

    #[test]
    fn hardware_addresses() {
        let taken = [
            "08:00:2b:01:02:03",
            "08-00-2B-01-02-03",
            "08002b:010203",
            "08002b-010203",
            "0800.2b01.0203",
            "0800-2b01-0203",
            "08002b010203",
            "8:0:2b:1:2:3",
            " 08002b010203 ",
            "800.2b01.203",
            "8002b010203",
            "+8:0:2b:1:2:3",
            "08 00 2b 01 02 03",
            "0x8:0:2b:1:2:3",
            "08002b:10203",
        ];
        let refused = [
            "nonsense",
            "{}",
            "",
            "1.2.3.4",
            "08:00-2b:01:02:03",
            "80.2b01.203",
            "08:00:2b:01:02:03:04:05",
            "08:00:2b:01:02:100",
            "08:00:2b:01:02",
            "0800:2b01:0203",
            "08002b010",
        ];
        split(Limit::MacAddress, &taken, &refused);
        let longer = ["08:00:2b:01:02:03:04:05", "08002b010203", "0800.2b01.0203.0405"];
        split(Limit::MacAddress8, &longer, &["nonsense", "", "08:00:2b:01:02", "1.2.3.4"]);
    }

    #[test]
    fn strings_of_bits() {
        let no = ["102", " 101", "xg", "nonsense", "{}"];
        split(Limit::Bits(Some(3)), &["101", "b101", "B000"], &no);
        split(Limit::Bits(Some(3)), &[], &["10", "1010", "", "x5"]);
        split(Limit::BitsUpTo(Some(3)), &["101", "10", "", "b1", "x"], &["1010", "x5"]);
        split(Limit::BitsUpTo(None), &["1010101", "xff"], &no);
    }
}
