//! Decimals: 76 digits, exact. What a decimal can't hold fails; nothing is rounded unasked.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, Float32Array, Float64Array,
    StringBuilder,
};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, DecimalType, Float32Type, Float64Type, i256,
};
use arrow::error::ArrowError;

use crate::reason::{Failures, Reason};

/// The most digits that a decimal has.
pub(crate) const DIGITS: u8 = 76;
/// The digits after the point of a decimal whose column fixes none. From so many on, the text of a
/// decimal has no zeros at its end: they would only tell how it is kept.
pub(crate) const OPEN: i8 = 30;
/// The most digits after the point.
pub(crate) const MOST: i8 = 38;

const OUT: &str = "is out of range";
const NO_NUMBER: &str = "is not a number";
/// Why a number can't be a whole one of so many bits.
pub(crate) const NOT_WHOLE: &str = "has a fraction, or is too large";

/// The decimal type of so many digits after the point.
pub(crate) fn of_scale(scale: i8) -> DataType {
    DataType::Decimal256(DIGITS, scale)
}

/// The digits after the point of a decimal type.
pub(crate) fn scale_of(of: &DataType) -> Option<i8> {
    match of {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Some(*scale),
        _ => None,
    }
}

fn parts(of: &DataType) -> Option<(u8, i8)> {
    match of {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            Some((*precision, *scale))
        }
        _ => None,
    }
}

/// A cast from or to a decimal that is ours, and not Arrow's, which rounds.
pub(crate) fn is_ours(from: &DataType, to: &DataType) -> bool {
    let number =
        |of: &DataType| of.is_integer() || *of == DataType::Float32 || *of == DataType::Float64;
    match (parts(from), parts(to)) {
        (Some(_), Some(_)) => true,
        (Some(_), None) => *to == DataType::Utf8 || number(to),
        (None, Some(_)) => *from == DataType::Utf8 || number(from),
        (None, None) => false,
    }
}

/// Ten to a power up to 76.
pub(crate) fn ten_to(power: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(power).filter(|_| power <= u32::from(DIGITS))
}

/// A number as digits before and after the point; so many of them are after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    pub(crate) digits: i256,
    pub(crate) scale: i8,
}

impl Number {
    /// Without zeros at the end, as far as there are digits after the point.
    pub(crate) fn short(mut self) -> Self {
        if self.digits == i256::ZERO {
            return Self { digits: i256::ZERO, scale: self.scale.min(0) };
        }
        for step in [16, 8, 4, 2, 1] {
            let Some(power) = ten_to(step) else { continue };
            let step = i8::try_from(step).unwrap_or(1);
            while self.scale >= step {
                match (self.digits.checked_rem(power), self.digits.checked_div(power)) {
                    (Some(i256::ZERO), Some(fewer)) => {
                        self = Self { digits: fewer, scale: self.scale - step };
                    }
                    _ => break,
                }
            }
        }
        self
    }

    /// With so many digits after the point. The error: why that can't be.
    pub(crate) fn exactly(self, scale: i8) -> Result<i256, Reason> {
        let by = i32::from(scale) - i32::from(self.scale);
        let Some(power) = ten_to(by.unsigned_abs()) else {
            return if self.digits == i256::ZERO { Ok(i256::ZERO) } else { Err(OUT.into()) };
        };
        if by >= 0 {
            return self.digits.checked_mul(power).ok_or(Reason::Borrowed(OUT));
        }
        if self.digits.checked_rem(power) != Some(i256::ZERO) {
            let places = scale.max(0);
            return Err(Reason::Owned(format!("has more than {places} digits after the point")));
        }
        self.digits.checked_div(power).ok_or(Reason::Borrowed(OUT))
    }

    /// Of a text: digits with at most one point, perhaps an exponent.
    pub(crate) fn parse(text: &str) -> Result<Self, Reason> {
        let text = text.trim_ascii();
        let body = text.strip_prefix(['-', '+']).unwrap_or(text);
        if ["nan", "infinity", "inf"].iter().any(|name| body.eq_ignore_ascii_case(name)) {
            return Err(Reason::Borrowed("is not a finite number"));
        }
        let (plain, exponent) = match body.split_once(['e', 'E']) {
            Some((plain, exponent)) => {
                (plain, exponent.parse::<i32>().map_err(|_| Reason::Borrowed(NO_NUMBER))?)
            }
            None => (body, 0),
        };
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(NO_NUMBER.into());
        }
        let all = || whole.bytes().chain(fraction.bytes());
        if !all().all(|byte| byte.is_ascii_digit()) {
            return Err(NO_NUMBER.into());
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = read(whole, fraction).ok_or(Reason::Borrowed(OUT))?;
        let digits = if text.starts_with('-') { digits.wrapping_neg() } else { digits };
        if digits == i256::ZERO {
            return Ok(Self { digits, scale: 0 });
        }
        let scale = i32::try_from(fraction.len()).unwrap_or(i32::MAX).saturating_sub(exponent);
        let scale = i8::try_from(scale).map_err(|_| {
            if scale > 0 {
                Reason::Owned(format!("has more than {MOST} digits after the point"))
            } else {
                Reason::Borrowed(OUT)
            }
        })?;
        Ok(Self { digits, scale })
    }
}

fn read(whole: &str, fraction: &str) -> Option<i256> {
    let short = whole.len() + fraction.len() <= 38;
    let digits = || whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0');
    if short {
        return Some(i256::from_i128(
            digits().fold(0_i128, |number, digit| number * 10 + i128::from(digit)),
        ));
    }
    digits().try_fold(i256::ZERO, |number, digit| {
        number.checked_mul(i256::from_i128(10))?.checked_add(i256::from_i128(digit.into()))
    })
}

/// A decimal's text.
pub(crate) fn text(number: Number) -> String {
    let number = if number.scale >= OPEN { number.short() } else { number };
    Decimal256Type::format_decimal(number.digits, DIGITS, number.scale)
}

/// Decimals row by row.
pub(crate) fn numbers(array: &ArrayRef) -> Option<Box<dyn Iterator<Item = Option<Number>> + '_>> {
    let scale = scale_of(array.data_type())?;
    if let Some(array) = array.as_primitive_opt::<Decimal256Type>() {
        let number = move |digits| Number { digits, scale };
        return Some(Box::new(array.iter().map(move |digits| digits.map(number))));
    }
    let array = array.as_primitive_opt::<Decimal128Type>()?;
    let number = move |digits| Number { digits: i256::from_i128(digits), scale };
    Some(Box::new(array.iter().map(move |digits| digits.map(number))))
}

/// Gathers decimals of one type.
struct Gather {
    digits: Vec<Option<i256>>,
    failures: Failures,
    precision: u8,
    scale: i8,
}

impl Gather {
    fn push(&mut self, number: Option<Result<Number, Reason>>) {
        let fits = |digits: i256| {
            let limit = ten_to(u32::from(self.precision))?;
            let within = digits < limit && digits > limit.wrapping_neg();
            within.then_some(digits)
        };
        let digits = number.map(|number| {
            let digits = number.and_then(|number| number.exactly(self.scale))?;
            fits(digits).ok_or(Reason::Borrowed(OUT))
        });
        match digits.transpose() {
            Ok(digits) => self.digits.push(digits),
            Err(reason) => {
                self.failures.push((self.digits.len(), reason));
                self.digits.push(None);
            }
        }
    }

    fn finish(self, to: &DataType) -> (ArrayRef, Failures) {
        let array: ArrayRef = match to {
            DataType::Decimal128(..) => {
                let digits = self.digits.into_iter().map(|digits| digits.and_then(i256::to_i128));
                Arc::new(digits.collect::<Decimal128Array>().with_data_type(to.clone()))
            }
            _ => {
                let digits = self.digits.into_iter();
                Arc::new(digits.collect::<Decimal256Array>().with_data_type(to.clone()))
            }
        };
        (array, self.failures)
    }
}

/// Casts from or to a decimal; see [`is_ours`].
pub(crate) fn cast(array: &ArrayRef, to: &DataType) -> Result<(ArrayRef, Failures), ArrowError> {
    let wrong = || ArrowError::InvalidArgumentError("not a decimal".to_owned());
    let Some((precision, scale)) = parts(to) else {
        return from_decimals(array, to).ok_or_else(wrong)?;
    };
    let rows = array.len();
    let digits = Vec::with_capacity(rows);
    let mut gather = Gather { digits, failures: Failures::new(), precision, scale };
    if let Some(numbers) = numbers(array) {
        numbers.for_each(|number| gather.push(number.map(Ok)));
    } else if let Some(texts) = array.as_string_opt::<i32>() {
        texts.iter().for_each(|text| gather.push(text.map(Number::parse)));
    } else if let Some(floats) = array.as_primitive_opt::<Float64Type>() {
        // The shortest text that means this number: 0.1 is 0.1.
        floats.iter().for_each(|of| gather.push(of.map(|of| Number::parse(&of.to_string()))));
    } else if let Some(floats) = array.as_primitive_opt::<Float32Type>() {
        floats.iter().for_each(|of| gather.push(of.map(|of| Number::parse(&of.to_string()))));
    } else {
        let widest = arrow::compute::cast(array, &DataType::Decimal128(38, 0))?;
        for number in numbers(&widest).ok_or_else(wrong)? {
            gather.push(number.map(Ok));
        }
    }
    Ok(gather.finish(to))
}

fn from_decimals(
    array: &ArrayRef,
    to: &DataType,
) -> Option<Result<(ArrayRef, Failures), ArrowError>> {
    let numbers = numbers(array)?;
    Some(match to {
        DataType::Utf8 => {
            let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 8);
            numbers.for_each(|number| texts.append_option(number.map(text)));
            Ok((Arc::new(texts.finish()), Failures::new()))
        }
        DataType::Float64 => {
            let floats: Float64Array = numbers.map(|number| number.map(nearest)).collect();
            Ok((Arc::new(floats), Failures::new()))
        }
        DataType::Float32 => {
            let floats: Float32Array =
                numbers.map(|number| number.and_then(|number| text(number).parse().ok())).collect();
            Ok((Arc::new(floats), Failures::new()))
        }
        _ => whole(numbers, to),
    })
}

/// Decimals without a fraction as whole numbers.
fn whole(
    numbers: impl Iterator<Item = Option<Number>>,
    to: &DataType,
) -> Result<(ArrayRef, Failures), ArrowError> {
    let mut failures = Failures::new();
    let mut wide = Vec::new();
    for (row, number) in numbers.enumerate() {
        let of = number.map(|number| number.exactly(0).ok().and_then(i256::to_i128));
        if of == Some(None) {
            failures.push((row, Reason::Borrowed(NOT_WHOLE)));
        }
        wide.push(of.flatten());
    }
    // Whole numbers of 64 bits are within 20 digits.
    let limit = 10_i128.pow(20);
    let short = wide.iter().map(|of| of.filter(|of| of.abs() < limit));
    let array: ArrayRef =
        Arc::new(short.collect::<Decimal128Array>().with_data_type(DataType::Decimal128(38, 0)));
    let options = arrow::compute::CastOptions { safe: true, ..Default::default() };
    let array = arrow::compute::cast_with_options(&array, to, &options)?;
    for (row, of) in wide.iter().enumerate() {
        if of.is_some() && array.is_null(row) {
            failures.push((row, Reason::Borrowed(NOT_WHOLE)));
        }
    }
    failures.sort_by_key(|(row, _)| *row);
    Ok((array, failures))
}

/// The nearest floating-point number.
fn nearest(number: Number) -> f64 {
    // Both are exact up to 2^53 and 10^22, and then a division rounds once.
    let small = number.digits.to_i128().filter(|digits| digits.unsigned_abs() < 1 << 53);
    match (small, u32::try_from(number.scale)) {
        (Some(digits), Ok(scale @ 0..=22)) => {
            #[expect(clippy::cast_precision_loss, reason = "both are exact")]
            let nearest = digits as f64 / 10_u128.pow(scale) as f64;
            nearest
        }
        _ => text(number).parse().unwrap_or(f64::NAN),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    fn shown(texts: &[&str], to: &DataType) -> Vec<String> {
        let array: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let (values, failures) = cast(&array, to).unwrap();
        let (values, _) = cast(&values, &DataType::Utf8).unwrap();
        let mut shown: Vec<String> = values
            .as_string::<i32>()
            .iter()
            .map(|text| text.unwrap_or("NULL").to_owned())
            .collect();
        for (row, reason) in failures {
            shown[row] = reason.into_owned();
        }
        shown
    }

    #[test]
    fn texts_become_decimals_exactly_or_fail() {
        let two = shown(
            &["1.50", "-0.05", "1.505", "1.500", "15e-1", "1e3", "x", "", ".", "NaN", " 7 "],
            &DataType::Decimal128(6, 2),
        );
        let more = "has more than 2 digits after the point";
        let no = "is not a number";
        let not_finite = "is not a finite number";
        assert_eq!(
            two,
            ["1.50", "-0.05", more, "1.50", "1.50", "1000.00", no, no, no, not_finite, "7.00"]
        );
        assert_eq!(shown(&["9999.99", "10000"], &DataType::Decimal128(6, 2))[1], OUT);
        let open =
            shown(&["1.50", "0", "-12e20", "0.000000000000000000000000000001"], &of_scale(OPEN));
        assert_eq!(
            open,
            ["1.5", "0", "-1200000000000000000000", "0.000000000000000000000000000001"]
        );
        let long = "9".repeat(46);
        assert_eq!(shown(&[&long, &"9".repeat(47)], &of_scale(OPEN)), [long.as_str(), OUT]);
        assert_eq!(shown(&["1e-300", "1e300"], &of_scale(OPEN))[1], OUT);
    }

    #[test]
    fn decimals_become_the_nearest_floats() {
        for text in ["0.1", "123456789.123456789", "3.14159265358979323846", "9007199254740993"] {
            let number = Number::parse(text).unwrap();
            assert_eq!(nearest(number).to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
    }
}
