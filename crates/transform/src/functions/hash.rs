//! `md5(x)` and `sha256(x)`, as PostgreSQL gives them: digits of MD5, bytes of SHA-256.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::reason::carry;

/// Which hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// 32 hexadecimal digits.
    Md5,
    /// 32 bytes.
    Sha256,
}

/// The hash of a text or of bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hashed {
    kind: Kind,
    signature: Signature,
}

impl Hashed {
    /// That one.
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Hashed {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Md5 => "md5",
            Kind::Sha256 => "sha256",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [of] if of.is_string() || of.is_null() => Ok(vec![DataType::Utf8]),
            [of] if of.is_binary() => Ok(vec![DataType::Binary]),
            _ => plan_err!("{} takes a text or bytes", self.name()),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Md5 => DataType::Utf8,
            Kind::Sha256 => DataType::Binary,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args.first().map(|arg| arg.to_array(args.number_rows)).transpose()?;
        let Some(array) = array else { return Err(carry("the expression fails")) };
        let (texts, bytes) = (array.as_string_opt::<i32>(), array.as_binary_opt::<i32>());
        let at = |row: usize| match (texts, bytes) {
            (Some(texts), _) if texts.is_valid(row) => Some(texts.value(row).as_bytes()),
            (_, Some(bytes)) if bytes.is_valid(row) => Some(bytes.value(row)),
            _ => None,
        };
        let rows = 0..array.len();
        let hashes: ArrayRef = match self.kind {
            Kind::Md5 => {
                let mut digits = StringBuilder::with_capacity(rows.len(), rows.len() * 32);
                rows.for_each(|row| {
                    digits.append_option(at(row).map(|of| hex(&Md5::digest(of))));
                });
                Arc::new(digits.finish())
            }
            Kind::Sha256 => {
                let mut hashes = BinaryBuilder::with_capacity(rows.len(), rows.len() * 32);
                rows.for_each(|row| hashes.append_option(at(row).map(Sha256::digest)));
                Arc::new(hashes.finish())
            }
        };
        Ok(ColumnarValue::Array(hashes))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
