//! `lower` and `upper`, letter by letter as PostgreSQL has them: a letter becomes one letter, whatever
//! stands beside it, so that equal texts stay equal and no text changes its length.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion_common::types::logical_string;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{
    Coercion, ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignatureClass,
    Volatility,
};

use crate::reason::carry;

/// The functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Letters {
    lower: bool,
    signature: Signature,
}

impl Letters {
    /// `lower`.
    pub(crate) fn lower() -> Self {
        Self::new(true)
    }

    /// `upper`.
    pub(crate) fn upper() -> Self {
        Self::new(false)
    }

    fn new(lower: bool) -> Self {
        let text = Coercion::new_exact(TypeSignatureClass::Native(logical_string()));
        Self { lower, signature: Signature::coercible(vec![text], Volatility::Immutable) }
    }

    fn of(&self, text: &str) -> String {
        match (text.is_ascii(), self.lower) {
            (true, true) => text.to_ascii_lowercase(),
            (true, false) => text.to_ascii_uppercase(),
            (false, true) => text.chars().map(small).collect(),
            (false, false) => text.chars().map(large).collect(),
        }
    }
}

fn small(letter: char) -> char {
    match letter {
        // An i with a dot of its own, of Turkish: its other form is two characters.
        'İ' => 'i',
        letter => single(letter, letter.to_lowercase()),
    }
}

fn large(letter: char) -> char {
    single(letter, letter.to_uppercase())
}

/// A letter whose other form is several stays: ß.
fn single(letter: char, mut other: impl Iterator<Item = char>) -> char {
    match (other.next(), other.next()) {
        (Some(other), None) => other,
        _ => letter,
    }
}

impl ScalarUDFImpl for Letters {
    fn name(&self) -> &'static str {
        if self.lower { "lower" } else { "upper" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(arg) = args.args.first() else { return Err(carry("the expression fails")) };
        let is_scalar = matches!(arg, ColumnarValue::Scalar(_));
        let array = arg.to_array(if is_scalar { 1 } else { args.number_rows })?;
        let texts = arrow::compute::cast(&array, &DataType::Utf8)?;
        let texts: StringArray =
            texts.as_string::<i32>().iter().map(|text| text.map(|text| self.of(text))).collect();
        let texts: ArrayRef = Arc::new(texts);
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?));
        }
        Ok(ColumnarValue::Array(texts))
    }
}
