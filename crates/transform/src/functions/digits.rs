//! `abs`, `sign`, `floor`, `ceil`, `round` and `trunc` of decimals and whole numbers: exact.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal256Array};
use arrow::datatypes::{DataType, Int64Type, i256};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::decimal::{MOST, Number, numbers, of_scale, scale_of, ten_to};
use crate::functions::arithmetic::rounded;
use crate::reason::{Reason, carry};

const OUT: Reason = Reason::Borrowed("is out of range");

/// What becomes of the digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Without its sign.
    Abs,
    /// -1, 0 or 1.
    Sign,
    /// The whole number below.
    Floor,
    /// The one above.
    Ceil,
    /// The nearest number with so many digits after the point; half away from zero.
    Round,
    /// The nearest one towards zero.
    Trunc,
}

impl Kind {
    /// By the name that it is called by.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "abs" => Self::Abs,
            "signum" => Self::Sign,
            "floor" => Self::Floor,
            "ceil" => Self::Ceil,
            "round" => Self::Round,
            "trunc" => Self::Trunc,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Abs => "abs",
            Self::Sign => "signum",
            Self::Floor => "floor",
            Self::Ceil => "ceil",
            Self::Round => "round",
            Self::Trunc => "trunc",
        }
    }
}

/// The function, for decimals of 76 digits.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Digits {
    kind: Kind,
    /// How many digits remain after the point at most; `None`: as many as there were.
    remain: Option<i8>,
    signature: Signature,
}

impl Digits {
    /// `places`: a constant second argument.
    pub(crate) fn new(kind: Kind, places: Option<i64>) -> Self {
        let remain = match kind {
            Kind::Sign | Kind::Floor | Kind::Ceil => Some(0),
            Kind::Abs => None,
            Kind::Round | Kind::Trunc => {
                let most = i64::from(MOST);
                places.map(|places| i8::try_from(places.clamp(0, most)).unwrap_or(MOST))
            }
        };
        Self { kind, remain, signature: Signature::variadic_any(Volatility::Immutable) }
    }

    fn scale(&self, from: i8) -> i8 {
        self.remain.map_or(from, |remain| remain.min(from))
    }

    fn of(&self, number: Number, places: i64, scale: i8) -> Result<i256, Reason> {
        let Number { digits, scale: from } = number;
        match self.kind {
            Kind::Abs => digits.checked_abs().ok_or(OUT),
            Kind::Sign => Ok(digits.signum()),
            Kind::Floor | Kind::Ceil => {
                let whole = cut(number, 0);
                let down = self.kind == Kind::Floor;
                let lost = Number { digits: whole, scale: 0 }.exactly(from)? != digits;
                match (lost && digits.is_negative() == down, down) {
                    (false, _) => Ok(whole),
                    (true, true) => whole.checked_sub(i256::ONE).ok_or(OUT),
                    (true, false) => whole.checked_add(i256::ONE).ok_or(OUT),
                }
            }
            Kind::Round | Kind::Trunc => {
                let places = i8::try_from(places.clamp(-100, i64::from(from))).unwrap_or(from);
                let digits = match self.kind {
                    Kind::Round => rounded(number, places)?,
                    _ => cut(number, places),
                };
                Number { digits, scale: places }.exactly(scale)
            }
        }
    }
}

/// Fewer digits after the point, cut off.
fn cut(number: Number, scale: i8) -> i256 {
    let by = i32::from(number.scale) - i32::from(scale);
    if by <= 0 {
        return number.digits;
    }
    let power = ten_to(by.unsigned_abs());
    power.and_then(|power| number.digits.checked_div(power)).unwrap_or(i256::ZERO)
}

impl ScalarUDFImpl for Digits {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.first().and_then(scale_of) {
            Some(from) => Ok(of_scale(self.scale(from))),
            None => plan_err!("{} takes a number", self.kind.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = args
            .args
            .iter()
            .map(|arg| arg.to_array(args.number_rows))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let values = arrays.first().and_then(|array| Some((array, scale_of(array.data_type())?)));
        let Some((array, from)) = values else { return Err(carry("the expression fails")) };
        let scale = self.scale(from);
        let places = match arrays.get(1) {
            Some(array) => Some(Places::of(array)?),
            None => None,
        };
        let Some(numbers) = numbers(array) else { return Err(carry("the expression fails")) };
        let values: Decimal256Array = numbers
            .enumerate()
            .map(|(row, number)| {
                let places = places.as_ref().map_or(Some(0), |places| places.at(row));
                match (number, places) {
                    (Some(number), Some(places)) => self.of(number, places, scale).map(Some),
                    _ => Ok(None),
                }
            })
            .collect::<Result<_, _>>()
            .map_err(carry)?;
        Ok(ColumnarValue::Array(Arc::new(values.with_data_type(of_scale(scale)))))
    }
}

/// How many places, row by row.
struct Places(arrow::array::Int64Array);

impl Places {
    fn of(array: &ArrayRef) -> Result<Self> {
        match array.as_primitive_opt::<Int64Type>() {
            Some(places) => Ok(Self(places.clone())),
            None => Err(carry("the expression fails")),
        }
    }

    fn at(&self, row: usize) -> Option<i64> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

/// A constant number of places.
pub(crate) fn constant_places(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(places) => places,
        _ => None,
    }
}
