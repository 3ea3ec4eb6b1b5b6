//! Days of the Gregorian calendar, over all that 64 bits of microseconds hold.

/// Days from 1970-01-01. `None`: there is no such day.
#[must_use]
pub fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    (1..=length).contains(&day).then(|| counted(year, month, day))
}

/// Days from 1970-01-01 to a day that there is, in the proleptic Gregorian calendar (Howard Hinnant's
/// `days_from_civil`). The year before 1 is 0.
fn counted(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the day that leaps is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The first day of a month.
#[must_use]
pub fn first(year: i64, month: i64) -> i64 {
    counted(year, month, 1)
}

/// Year, month and day of so many days from 1970-01-01 (his `civil_from_days`). The year before 1 is 0.
#[must_use]
pub fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// 1 is Monday, 7 is Sunday.
#[must_use]
pub fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7) + 1
}

/// The year and the number of a day's week, which belong to the year of its Thursday.
#[must_use]
pub fn week(days: i64) -> (i64, i64) {
    let thursday = days - weekday(days) + 4;
    let (year, ..) = date(thursday);
    (year, (thursday - first(year, 1)) / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_one_to_one() {
        let mut last = date(-800_001);
        for count in -800_000..3_000_000 {
            let of = date(count);
            assert!(of > last, "{of:?} comes after {last:?}");
            assert_eq!(days(of.0, of.1, of.2), Some(count), "{of:?}");
            last = of;
        }
    }

    #[test]
    fn known_days() {
        for (count, of, weekday_of, week_of) in [
            (0, (1970, 1, 1), 4, (1970, 1)),
            (-719_162, (1, 1, 1), 1, (1, 1)),
            (2_932_896, (9999, 12, 31), 5, (9999, 52)),
            (18_627, (2020, 12, 31), 4, (2020, 53)),
            (18_628, (2021, 1, 1), 5, (2020, 53)),
            (-135_140, (1600, 1, 1), 6, (1599, 52)),
        ] {
            assert_eq!(date(count), of);
            assert_eq!((weekday(count), week(count)), (weekday_of, week_of), "{of:?}");
        }
        assert_eq!(days(2021, 2, 29), None);
        assert_eq!(days(2000, 13, 1), None);
    }
}
