//! Days and times between the two ways of counting (the server from 2000-01-01, we from
//! 1970-01-01), and as text.

use dunlin_model::calendar;

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;
/// The same in microseconds.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY_MICROS;

/// Our day for the server's; its infinities are the same numbers.
pub(super) fn day_of_server(days: i32) -> Option<i32> {
    if matches!(days, i32::MIN | i32::MAX) {
        return Some(days);
    }
    days.checked_add(EPOCH_DAYS).filter(|days| *days != i32::MAX)
}

/// The server's day for ours.
pub(super) fn day_for_server(days: i32) -> Option<i32> {
    if matches!(days, i32::MIN | i32::MAX) {
        return Some(days);
    }
    days.checked_sub(EPOCH_DAYS).filter(|days| *days != i32::MIN)
}

/// Our microsecond for the server's. The last 29 years of the server's calendar (to 294276) have no
/// number here.
pub(super) fn instant_of_server(micros: i64) -> Option<i64> {
    if matches!(micros, i64::MIN | i64::MAX) {
        return Some(micros);
    }
    micros.checked_add(EPOCH_MICROS).filter(|micros| *micros != i64::MAX)
}

/// The server's microsecond for ours.
pub(super) fn instant_for_server(micros: i64) -> Option<i64> {
    if matches!(micros, i64::MIN | i64::MAX) {
        return Some(micros);
    }
    micros.checked_sub(EPOCH_MICROS).filter(|micros| *micros != i64::MIN)
}

/// The date without its era, and the era.
fn date_and_era(days: i64) -> (String, &'static str) {
    let (year, month, day) = calendar::date(days);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

/// A day as the server reads it.
pub(super) fn date_text(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        _ => {
            let (date, era) = date_and_era(i64::from(days));
            date + era
        }
    }
}

/// A time of day as the server reads it.
pub(super) fn time_text(micros: i64) -> String {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut text = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if fraction > 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text
}

/// A timestamp, or an instant of UTC, as the server reads it.
pub(super) fn timestamp_text(micros: i64, zone: bool) -> String {
    match micros {
        i64::MAX => return "infinity".to_owned(),
        i64::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    let (date, era) = date_and_era(micros.div_euclid(DAY_MICROS));
    let time = time_text(micros.rem_euclid(DAY_MICROS));
    format!("{date} {time}{}{era}", if zone { "+00" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(date_text(0), "1970-01-01");
        assert_eq!(date_text(EPOCH_DAYS), "2000-01-01");
        assert_eq!(date_text(-719_528), "0001-01-01 BC");
        assert_eq!(date_text(-719_162), "0001-01-01");
        assert_eq!(date_text(11_016), "2000-02-29");
        assert_eq!(date_text(i32::MAX), "infinity");
        assert_eq!(time_text(DAY_MICROS), "24:00:00");
        assert_eq!(timestamp_text(-1, true), "1969-12-31 23:59:59.999999+00");
        assert_eq!(timestamp_text(1_500_000, false), "1970-01-01 00:00:01.5");
    }

    #[test]
    fn epochs() {
        assert_eq!(day_of_server(0), Some(EPOCH_DAYS));
        assert_eq!(day_for_server(0), Some(-EPOCH_DAYS));
        assert_eq!(day_of_server(i32::MAX), Some(i32::MAX));
        assert_eq!(day_of_server(i32::MAX - 1), None);
        assert_eq!(instant_of_server(9_223_371_331_199_999_999), None);
        assert_eq!(instant_for_server(i64::MIN + 1), None);
    }
}
