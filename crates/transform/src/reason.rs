//! Why a row failed, in words that hold none of its values.

use std::borrow::Cow;
use std::fmt;

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;

/// Why a row failed.
pub(crate) type Reason = Cow<'static, str>;

/// Rows that failed, by their place.
pub(crate) type Failures = Vec<(usize, Reason)>;

/// A reason on its way through DataFusion, whose own messages quote values.
#[derive(Debug)]
struct Carried(Reason);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Carried {}

/// The reason as an error of DataFusion's.
pub(crate) fn carry(reason: impl Into<Reason>) -> DataFusionError {
    DataFusionError::External(Box::new(Carried(reason.into())))
}

/// Why an evaluation failed.
pub(crate) fn reason_of(error: &DataFusionError) -> Reason {
    match error {
        DataFusionError::External(inner) => inner
            .downcast_ref::<Carried>()
            .map_or(Cow::Borrowed(UNKNOWN), |carried| carried.0.clone()),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            reason_of(inner)
        }
        DataFusionError::Shared(inner) => reason_of(inner),
        DataFusionError::ArrowError(inner, _) => arrow_reason(inner),
        _ => Cow::Borrowed(UNKNOWN),
    }
}

/// Where nothing better is known.
pub(crate) const UNKNOWN: &str = "the expression fails";

fn arrow_reason(error: &ArrowError) -> Reason {
    Cow::Borrowed(match error {
        ArrowError::DivideByZero => "division by zero",
        ArrowError::ArithmeticOverflow(_) => "is out of range",
        ArrowError::CastError(_) | ArrowError::ParseError(_) => "can't be converted",
        ArrowError::ExternalError(inner) => {
            if let Some(inner) = inner.downcast_ref::<DataFusionError>() {
                return reason_of(inner);
            }
            UNKNOWN
        }
        _ => UNKNOWN,
    })
}
