//! `*`, `/` and `power` of decimals.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal256Array};
use arrow::datatypes::{DataType, Int64Type, i256};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::decimal::{MOST, Number, OPEN, numbers, of_scale, scale_of, ten_to};
use crate::reason::{Reason, carry};

/// A quotient has at least so many digits after the point, as PostgreSQL's have.
const OF_QUOTIENTS: i8 = 16;

const OUT: Reason = Reason::Borrowed("is out of range");

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// Exact.
    Multiply,
    /// Rounded at its last digit.
    Divide,
    /// A decimal to a whole number; rounded at its last digit.
    Power,
}

/// An operation of two decimals.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Arithmetic {
    operation: Operation,
    signature: Signature,
}

impl Arithmetic {
    /// Takes decimals of 76 digits; of a power, the second is a whole number of 64 bits.
    pub(crate) fn new(operation: Operation) -> Self {
        Self { operation, signature: Signature::any(2, Volatility::Immutable) }
    }

    fn scale(&self, left: i8, right: i8) -> i8 {
        match self.operation {
            Operation::Multiply => left.saturating_add(right).min(MOST),
            Operation::Divide => left.max(right).clamp(OF_QUOTIENTS, MOST),
            Operation::Power => OPEN,
        }
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Multiply => "multiply",
            Operation::Divide => "divide",
            Operation::Power => "power",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let [left, right] = arg_types else { return plan_err!("two numbers are needed") };
        let right = scale_of(right).unwrap_or(0);
        match scale_of(left) {
            Some(left) => Ok(of_scale(self.scale(left, right))),
            None => plan_err!("a decimal is needed"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let [left, right] = arrays.as_slice() else { return Err(carry("the expression fails")) };
        let (from, of) = (scale_of(left.data_type()).unwrap_or(0), right.data_type());
        let scale = self.scale(from, scale_of(of).unwrap_or(0));
        let Some(bases) = numbers(left) else { return Err(carry("the expression fails")) };
        let values: Decimal256Array = match numbers(right) {
            Some(others) => bases
                .zip(others)
                .map(|pair| match pair {
                    (Some(left), Some(right)) => self.of(left, right, scale).map(Some),
                    _ => Ok(None),
                })
                .collect::<Result<_, _>>()
                .map_err(carry)?,
            None => {
                let powers = right.as_primitive_opt::<Int64Type>();
                let Some(powers) = powers else { return Err(carry("the expression fails")) };
                bases
                    .zip(powers)
                    .map(|pair| match pair {
                        (Some(base), Some(to)) => power(base, to, scale).map(Some),
                        _ => Ok(None),
                    })
                    .collect::<Result<_, _>>()
                    .map_err(carry)?
            }
        };
        Ok(ColumnarValue::Array(Arc::new(values.with_data_type(of_scale(scale)))))
    }
}

impl Arithmetic {
    fn of(&self, left: Number, right: Number, scale: i8) -> Result<i256, Reason> {
        match self.operation {
            Operation::Divide => quotient(left, right, scale),
            _ => product(left, right)?.exactly(scale),
        }
    }
}

/// The product, with as many digits after the point as both have.
fn product(left: Number, right: Number) -> Result<Number, Reason> {
    let plain = |left: Number, right: Number| {
        let digits = left.digits.checked_mul(right.digits)?;
        Some(Number { digits, scale: left.scale.checked_add(right.scale)? })
    };
    match plain(left, right) {
        Some(product) if product.scale <= MOST => Ok(product),
        // Zeros at the end take room, and mean nothing.
        _ => plain(left.short(), right.short()).map(Number::short).ok_or(OUT),
    }
}

/// The quotient, rounded half away from zero.
fn quotient(left: Number, right: Number, scale: i8) -> Result<i256, Reason> {
    if right.digits == i256::ZERO {
        return Err(Reason::Borrowed("division by zero"));
    }
    let (left, right) = (left.short(), right.short());
    let by = i32::from(scale) + i32::from(right.scale) - i32::from(left.scale);
    let power = ten_to(by.unsigned_abs()).ok_or(OUT)?;
    let (above, below) = if by >= 0 {
        (left.digits.checked_mul(power), Some(right.digits))
    } else {
        (Some(left.digits), right.digits.checked_mul(power))
    };
    match (above, below) {
        (Some(above), Some(below)) => divided(above, below).ok_or(OUT),
        // Digit by digit, where there is no room for all at once.
        (None, Some(below)) => {
            let mut whole = left.digits.checked_div(below).ok_or(OUT)?;
            let mut rest = left.digits.checked_rem(below).ok_or(OUT)?;
            let ten = i256::from_i128(10);
            for _ in 1..by {
                rest = rest.checked_mul(ten).ok_or(OUT)?;
                let digit = rest.checked_div(below).ok_or(OUT)?;
                whole = whole.checked_mul(ten).and_then(|w| w.checked_add(digit)).ok_or(OUT)?;
                rest = rest.checked_rem(below).ok_or(OUT)?;
            }
            let last = divided(rest.checked_mul(ten).ok_or(OUT)?, below).ok_or(OUT)?;
            whole.checked_mul(ten).and_then(|w| w.checked_add(last)).ok_or(OUT)
        }
        _ => Ok(i256::ZERO),
    }
}

/// Rounded half away from zero.
pub(crate) fn divided(above: i256, below: i256) -> Option<i256> {
    let whole = above.checked_div(below)?;
    let rest = above.checked_rem(below)?;
    let (rest, half) = (rest.checked_abs()?, below.checked_abs()?);
    if rest < half.checked_sub(rest)? {
        return Some(whole);
    }
    let away = if above.is_negative() == below.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    whole.checked_add(away)
}

/// Fewer digits after the point, rounded half away from zero.
pub(crate) fn rounded(number: Number, scale: i8) -> Result<i256, Reason> {
    if scale >= number.scale {
        return number.exactly(scale);
    }
    let by = i32::from(number.scale) - i32::from(scale);
    match ten_to(by.unsigned_abs()) {
        Some(power) => divided(number.digits, power).ok_or(OUT),
        None => Ok(i256::ZERO),
    }
}

fn power(base: Number, to: i64, scale: i8) -> Result<i256, Reason> {
    let one = Number { digits: i256::ONE, scale: 0 };
    if to < 0 {
        let below = raised(base.short(), to.unsigned_abs(), one)?;
        return quotient(one, below, scale);
    }
    rounded(raised(base.short(), to.unsigned_abs(), one)?, scale)
}

fn raised(mut base: Number, mut to: u64, one: Number) -> Result<Number, Reason> {
    let mut value = one;
    while to > 0 {
        if to & 1 == 1 {
            value = shortened(product(value, base)?)?;
        }
        to >>= 1;
        if to > 0 {
            base = shortened(product(base, base)?)?;
        }
    }
    Ok(value)
}

/// No more digits after the point than any decimal has.
fn shortened(number: Number) -> Result<Number, Reason> {
    if number.scale <= MOST {
        return Ok(number);
    }
    Ok(Number { digits: rounded(number, MOST)?, scale: MOST }.short())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::text;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn products_and_quotients() {
        for (left, right, scale, wanted) in [
            ("1", "3", 16, "0.3333333333333333"),
            ("2", "3", 16, "0.6666666666666667"),
            ("-2", "3", 16, "-0.6666666666666667"),
            ("1", "-8", 2, "-0.13"),
            ("1234", "100", 16, "12.3400000000000000"),
            (
                "99999999999999999999999999999999999999999999",
                "7",
                30,
                "14285714285714285714285714285714285714285714.142857142857142857142857142857",
            ),
        ] {
            let digits = quotient(number(left), number(right), scale).unwrap();
            assert_eq!(text(Number { digits, scale }), wanted, "{left} / {right}");
        }
        assert_eq!(quotient(number("1"), number("0"), 16), Err("division by zero".into()));
        let long = number("123456789.123456789123456789");
        let digits = product(long, long).unwrap().exactly(MOST).unwrap();
        assert_eq!(
            text(Number { digits, scale: MOST }),
            "15241578780673678.546105778281054720515622620750190521"
        );
    }

    #[test]
    fn powers() {
        for (base, to, wanted) in [
            ("10", 3, "1000"),
            ("10", -3, "0.001"),
            ("1.05", 10, "1.62889462677744140625"),
            ("1.05", 24, "3.225099943713699825436508253985"),
            ("0", 0, "1"),
            ("-2", 3, "-8"),
        ] {
            let digits = power(number(base), to, OPEN).unwrap();
            assert_eq!(text(Number { digits, scale: OPEN }), wanted, "{base} ^ {to}");
        }
        assert!(power(number("10"), 80, OPEN).is_err());
        assert!(power(number("0"), -1, OPEN).is_err());
    }
}
