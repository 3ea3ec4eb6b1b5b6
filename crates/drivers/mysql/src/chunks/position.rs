//! Places between two keys, by arithmetic on their texts.
//!
//! Nothing depends on them but how even the parts of a table are: each is looked up on the server,
//! which answers with a key that there is.

use super::kind::Kind;

/// How many bytes of a text or binary key are looked at behind what both ends begin with.
const BYTES: usize = 12;

/// All of the way: fine enough for tables whose keys fill a billionth of their range.
pub(crate) const WHOLE: u64 = 1 << 32;

/// A scale that two values of one column stand on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scale {
    low: i128,
    high: i128,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Number { decimals: usize },
    DateTime,
    Date,
    Bytes { prefix: Vec<u8>, text: bool },
    Uuid,
}

impl Scale {
    /// Between two different texts of a column; `None` where there is no arithmetic for them.
    pub(crate) fn of(kind: &Kind, low: &str, high: &str) -> Option<Self> {
        let shape = match kind {
            Kind::Integer { .. }
            | Kind::Year
            | Kind::Numbered { .. }
            | Kind::Decimal
            | Kind::Moment => {
                Shape::Number { decimals: low.split_once('.').map_or(0, |(_, rest)| rest.len()) }
            }
            Kind::Temporal("DATE") => Shape::Date,
            Kind::Temporal("DATETIME(6)") => Shape::DateTime,
            Kind::Native("UUID") => Shape::Uuid,
            Kind::Bytes => bytes_shape(low, high, false)?,
            Kind::Text { charset, .. }
                if matches!(
                    charset.as_str(),
                    "utf8mb4" | "utf8mb3" | "utf8" | "latin1" | "ascii"
                ) =>
            {
                bytes_shape(low, high, true)?
            }
            _ => return None,
        };
        let (low, high) = (shape.read(low)?, shape.read(high)?);
        (low != high).then_some(Self { low, high, shape })
    }

    /// The text at a fraction of the way, in parts of [`WHOLE`].
    pub(crate) fn at(&self, fraction: u64) -> String {
        let whole = i128::from(WHOLE);
        let (step, rest) = ((self.high - self.low) / whole, (self.high - self.low) % whole);
        let fraction = i128::from(fraction);
        self.shape.write(self.low + step * fraction + rest * fraction / whole)
    }
}

fn bytes_shape(low: &str, high: &str, text: bool) -> Option<Shape> {
    let (low, high) = (unhexed(low)?, unhexed(high)?);
    let mut prefix: Vec<u8> =
        low.iter().zip(&high).take_while(|(a, b)| a == b).map(|(a, _)| *a).collect();
    if text {
        // Not in the middle of a character.
        let plain = prefix.iter().take_while(|byte| byte.is_ascii()).count();
        prefix.truncate(plain);
    }
    Some(Shape::Bytes { prefix, text })
}

impl Shape {
    fn read(&self, text: &str) -> Option<i128> {
        match self {
            Self::Number { decimals } => {
                let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
                format!("{whole}{rest:0<decimals$}").parse().ok()
            }
            Self::DateTime | Self::Date => packed(text),
            // Without its last byte, so that it fits.
            Self::Uuid => i128::from_str_radix(text.replace('-', "").get(..30)?, 16).ok(),
            Self::Bytes { prefix, text: is_text } => {
                let bytes = unhexed(text)?;
                let rest = bytes.get(prefix.len()..).unwrap_or_default();
                let digit = |at: usize| {
                    let byte = rest.get(at).copied().unwrap_or_default();
                    i128::from(if *is_text { byte.clamp(0x20, 0x7e) - 0x20 } else { byte })
                };
                let base = if *is_text { 95 } else { 256 };
                Some((0..BYTES).fold(0, |sum, at| sum * base + digit(at)))
            }
        }
    }

    fn write(&self, value: i128) -> String {
        match self {
            Self::Number { decimals: 0 } => value.to_string(),
            Self::Number { decimals } => {
                let sign = if value < 0 { "-" } else { "" };
                let digits = format!("{:0>width$}", value.unsigned_abs(), width = decimals + 1);
                let (whole, rest) = digits.split_at(digits.len() - decimals);
                format!("{sign}{whole}.{rest}")
            }
            Self::DateTime => unpacked(value),
            Self::Date => unpacked(value).chars().take(10).collect(),
            Self::Uuid => {
                let hex = format!("{value:030x}00");
                let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
                let parts = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)];
                parts.join("-")
            }
            Self::Bytes { prefix, text } => {
                let (base, first) = if *text { (95, 0x20) } else { (256, 0) };
                let mut bytes = [0u8; BYTES];
                let mut value = value;
                for byte in bytes.iter_mut().rev() {
                    *byte = u8::try_from(value % base).unwrap_or_default() + first;
                    value /= base;
                }
                prefix.iter().chain(&bytes).map(|byte| format!("{byte:02X}")).collect()
            }
        }
    }
}

fn unhexed(text: &str) -> Option<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

/// Months of 31 days and years of 12 months: in order, if not even.
fn packed(text: &str) -> Option<i128> {
    let mut numbers = text.split(['-', ' ', ':', '.']).map(|part| part.parse::<i128>().ok());
    let mut next = |base: i128, sum: i128| match numbers.next() {
        Some(number) => Some(sum * base + number?),
        None => Some(sum * base),
    };
    let mut sum = next(1, 0)?;
    for base in [13, 32, 24, 60, 60] {
        sum = next(base, sum)?;
    }
    Some(sum)
}

fn unpacked(value: i128) -> String {
    let mut rest = value;
    let mut take = |base: i128| {
        let digit = rest.rem_euclid(base);
        rest = rest.div_euclid(base);
        digit
    };
    let (second, minute, hour) = (take(60), take(60), take(24));
    let (day, month) = (take(32).clamp(1, 28), take(13).clamp(1, 12));
    let year = rest.clamp(0, 9999);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_lie_between() {
        let half = |kind: &str, low: &str, high: &str| {
            Scale::of(&Kind::of(kind), low, high).map(|scale| scale.at(WHOLE / 2))
        };
        assert_eq!(half("bigint", "-10", "10").as_deref(), Some("0"));
        assert_eq!(
            half("bigint unsigned", "0", "18446744073709551615").as_deref(),
            Some("9223372036854775807")
        );
        assert_eq!(half("decimal", "1.00", "2.50").as_deref(), Some("1.75"));
        assert_eq!(half("decimal", "-1.00", "0.00").as_deref(), Some("-0.50"));
        assert_eq!(half("date", "2026-01-01", "2026-03-01").as_deref(), Some("2026-02-01"));
        assert_eq!(
            half("datetime", "2026-01-01 00:00:00.000000", "2026-01-01 01:00:00.000000").as_deref(),
            Some("2026-01-01 00:30:00")
        );
        assert_eq!(half("varchar", "616161", "616163").as_deref().map(|t| &t[..6]), Some("616162"));
        assert_eq!(half("binary", "00", "FF").as_deref().map(|t| &t[..2]), Some("7F"));
        assert_eq!(
            half(
                "uuid",
                "00000000-0000-0000-0000-000000000000",
                "20000000-0000-0000-0000-000000000000"
            )
            .as_deref(),
            Some("10000000-0000-0000-0000-000000000000")
        );
        assert_eq!(half("int", "5", "5"), None);
        assert_eq!(half("time", "00:00:00", "01:00:00"), None);
    }
}
