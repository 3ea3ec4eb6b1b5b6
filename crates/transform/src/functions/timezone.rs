//! `x AT TIME ZONE zone`, which is `timezone(zone, x)`: an instant's local time there, which has no
//! zone, or the instant of a local time there.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::reason::carry;
use crate::zone::Zone;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AtTimeZone(Signature);

impl AtTimeZone {
    /// Takes a zone's name, and a time or an instant.
    pub(crate) fn new() -> Self {
        Self(Signature::any(2, Volatility::Immutable))
    }

    /// The zone of that name, or why there is none.
    pub(crate) fn zone(name: &str) -> std::result::Result<Zone, String> {
        // PostgreSQL has these for offsets; in the IANA database they have a summer time.
        if ["CET", "EET", "MET", "WET"].iter().any(|known| name.eq_ignore_ascii_case(known)) {
            return Err(format!(
                "`{name}` has a summer time to some and none to others: write a place, as in \
                 'Europe/Berlin', or 'Etc/GMT-1' for an hour east of UTC all year"
            ));
        }
        Zone::of(name).ok_or_else(|| format!("there is no time zone `{name}`"))
    }
}

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &'static str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let zone = match arg_types {
            [_, DataType::Timestamp(_, Some(_))] => None,
            _ => Some(Arc::from("UTC")),
        };
        Ok(DataType::Timestamp(TimeUnit::Microsecond, zone))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let failed = || carry("the expression fails");
        let [zones, times] = args.args.as_slice() else { return Err(failed()) };
        let times = times.to_array(args.number_rows)?;
        let to = self.return_type(&[DataType::Utf8, times.data_type().clone()])?;
        let from_instant = matches!(to, DataType::Timestamp(_, None));
        let times = times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(failed)?;
        let told = |zone: &Zone, time: i64| {
            if from_instant { zone.local(time) } else { zone.instant(time) }.map_err(carry)
        };
        let there: TimestampMicrosecondArray = match zones {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(name))) => {
                let zone = Self::zone(name).map_err(carry)?;
                let times = times.iter().map(|time| time.map(|time| told(&zone, time)).transpose());
                times.collect::<Result<_>>()?
            }
            zones => {
                let names = zones.to_array(args.number_rows)?;
                let names: &StringArray = names.as_string_opt().ok_or_else(failed)?;
                let mut last: Option<(&str, Zone)> = None;
                let mut there = Vec::with_capacity(times.len());
                for (name, time) in names.iter().zip(times) {
                    let (Some(name), Some(time)) = (name, time) else {
                        there.push(None);
                        continue;
                    };
                    let zone = match last.take().filter(|(of, _)| *of == name) {
                        Some((_, zone)) => zone,
                        // The name is a row's own, and no message holds it.
                        None => Self::zone(name).map_err(|_| carry("names no time zone"))?,
                    };
                    there.push(Some(told(&zone, time)?));
                    last = Some((name, zone));
                }
                there.into()
            }
        };
        Ok(ColumnarValue::Array(Arc::new(there.with_data_type(to))))
    }
}
