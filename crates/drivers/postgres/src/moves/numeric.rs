//! `numeric`: groups of four decimal digits on the wire, exact digits as text.

const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;
const MINUS: u16 = 0x4000;

/// The largest number of groups before the point that the server takes: 131072 digits.
const WEIGHT_MAX: i64 = 32_767;
/// The largest number of digits after the point that the server takes.
const SCALE_MAX: usize = 16_383;

/// The text that the server prints for a value on the wire.
pub(super) fn text(raw: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u16::from_be_bytes(raw.get(at..at + 2)?.try_into().ok()?));
    let groups = usize::from(word(0)?);
    let weight = if groups == 0 { 0 } else { i64::from(word(2)?.cast_signed()) };
    let (sign, scale) = (word(4)?, usize::from(word(6)?));
    match sign {
        NAN => return Some("NaN".to_owned()),
        INFINITY => return Some("Infinity".to_owned()),
        MINUS_INFINITY => return Some("-Infinity".to_owned()),
        0 | MINUS => {}
        _ => return None,
    }
    if raw.len() != 8 + 2 * groups || scale > SCALE_MAX {
        return None;
    }
    let group = |place: i64| -> Option<u16> {
        let index = usize::try_from(weight - place).ok();
        index.filter(|index| *index < groups).map_or(Some(0), |index| word(8 + 2 * index))
    };
    let mut out = String::with_capacity(groups * 4 + scale + 4);
    if sign == MINUS {
        out.push('-');
    }
    if weight < 0 {
        out.push('0');
    }
    for place in (0..=weight).rev() {
        let digits = group(place)?;
        if place == weight {
            out.push_str(&digits.to_string());
        } else {
            out.push_str(&format!("{digits:04}"));
        }
    }
    if scale > 0 {
        out.push('.');
        let end = out.len() + scale;
        let mut place = -1;
        while out.len() < end {
            out.push_str(&format!("{:04}", group(place)?));
            place -= 1;
        }
        out.truncate(end);
    }
    Some(out)
}

/// The value on the wire for a text; `None`: a form that only the server may judge.
pub(super) fn wire(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let special = match text {
        "NaN" => Some(NAN),
        "Infinity" => Some(INFINITY),
        "-Infinity" => Some(MINUS_INFINITY),
        _ => None,
    };
    if let Some(sign) = special {
        push(out, &[0, 0, sign, 0]);
        return Some(());
    }
    let (minus, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let before = whole.len().div_ceil(4);
    if i64::try_from(before).ok()? > WEIGHT_MAX || fraction.len() > SCALE_MAX {
        return None;
    }
    let padding = before * 4 - whole.len();
    let padded: Vec<u8> = std::iter::repeat_n(b'0', padding)
        .chain(whole.bytes())
        .chain(fraction.bytes())
        .chain(std::iter::repeat_n(b'0', fraction.len().div_ceil(4) * 4 - fraction.len()))
        .collect();
    let mut groups: Vec<u16> = padded
        .chunks(4)
        .map(|four| four.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
        .collect();
    let mut weight = i64::try_from(before).ok()? - 1;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= i64::try_from(leading).ok()?;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let zero = groups.is_empty();
    let weight = if zero { 0 } else { i16::try_from(weight).ok()? };
    let sign = if minus && !zero { MINUS } else { 0 };
    let count = u16::try_from(groups.len()).ok()?;
    let scale = u16::try_from(fraction.len()).ok()?;
    push(out, &[count, weight.cast_unsigned(), sign, scale]);
    push(out, &groups);
    Some(())
}

fn push(out: &mut Vec<u8>, words: &[u16]) {
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for value in [
            "0",
            "0.00",
            "1",
            "-1",
            "10000",
            "9999",
            "12345678.9",
            "0.0001",
            "0.00001",
            "-0.50",
            "100000000",
            "1234.5678",
            "0.00012300",
            "NaN",
            "Infinity",
            "-Infinity",
            "99999999999999999999999999999999999999.999999999999",
        ] {
            let mut raw = Vec::new();
            wire(value, &mut raw).expect(value);
            assert_eq!(text(&raw).as_deref(), Some(value));
        }
    }

    #[test]
    fn other_forms() {
        let mut raw = Vec::new();
        for value in ["", "-", ".", "1e5", "+1", " 1", "1_000", "٣"] {
            assert_eq!(wire(value, &mut raw), None, "{value}");
        }
        assert!(raw.is_empty());
        for (value, same) in [("007.10", "7.10"), (".5", "0.5"), ("5.", "5"), ("-0", "0")] {
            let mut raw = Vec::new();
            wire(value, &mut raw).expect(value);
            assert_eq!(text(&raw).as_deref(), Some(same));
        }
        assert_eq!(text(&[0, 1, 0, 0, 0, 0, 0, 0]), None, "too short");
    }
}
