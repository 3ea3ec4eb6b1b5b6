//! Zones, parts of times and intervals: what PostgreSQL 15 answers to each, with `time_zone` as its
//! session's zone, except where a test says otherwise.

use arrow::array::TimestampMicrosecondArray;
use dunlin_model::moves::ValueType;

use crate::stage::{Stage, told};

const TIMES: [i64; 6] = [
    1_719_876_600_000_000,
    1_635_647_400_000_000,
    -11_676_096_000_000_000,
    253_402_300_799_000_000,
    1_714_903_205_123_456,
    -62_135_596_800_000_000,
];

/// 2024-07-01 23:30, 2021-10-31 02:30, which Berlin had twice, and the years 1600, 9999, 2024 and 1;
/// their instants, except that the second is an hour earlier and the fifth NULL.
fn stage(zone: &str) -> Stage {
    let mut instants = TIMES.map(Some);
    instants[1] = Some(TIMES[1] - 3_600_000_000);
    instants[4] = None;
    let instants = TimestampMicrosecondArray::from(instants.to_vec()).with_timezone("UTC");
    let zones = ["America/New_York", "Europe/Berlin", "UTC", "Asia/Tokyo", "Asia/Tokyo"];
    let mut zones = zones.map(Some).to_vec();
    zones.push(None);
    let intervals = [
        Some("1 mon 2 days 03:00:00"),
        Some("-1 days +02:03:00"),
        Some("00:00:01.75"),
        Some("1 year"),
        None,
        Some("36:00:00"),
    ];
    Stage::new()
        .column("t", ValueType::Timestamp, TimestampMicrosecondArray::from(TIMES.to_vec()))
        .column("z", ValueType::TimestampTz, instants)
        .texts("zone", &zones)
        .texts("v", &intervals)
        .zone(zone)
}

fn given(stage: Stage, text: &str) -> String {
    let stage = stage.any("x", text);
    if stage.compiled().is_err() {
        return stage.refused();
    }
    let mut all = stage.values();
    all.extend(told(&stage.apply()));
    all.join("; ")
}

fn table(zone: &str, rows: &[(&str, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .map(|(text, wanted)| (text, given(stage(zone), text), wanted))
        .filter(|(_, given, wanted)| given != *wanted)
        .map(|(text, given, wanted)| format!("{text}:\n  {given}, and not\n  {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn local_times_and_instants_are_apart() {
    let rows = [
        (
            "z AT TIME ZONE 'Europe/Berlin'",
            "2024-07-02T01:30:00; 2021-10-31T02:30:00; 1600-01-01T00:53:28; \
             +10000-01-01T00:59:59; NULL; 0001-01-01T00:53:28",
        ),
        (
            "t AT TIME ZONE 'Europe/Berlin'",
            "2024-07-01T21:30:00Z; 2021-10-31T01:30:00Z; 1599-12-31T23:06:32Z; \
             9999-12-31T22:59:59Z; 2024-05-05T08:00:05.123456Z; 0000-12-31T23:06:32Z",
        ),
        (
            "t AT TIME ZONE 'America/New_York' AT TIME ZONE 'Europe/Berlin'",
            "2024-07-02T05:30:00; 2021-10-31T07:30:00; 1600-01-01T05:49:30; \
             +10000-01-01T05:59:59; 2024-05-05T16:00:05.123456; 0001-01-01T05:49:30",
        ),
        (
            "timezone('Asia/Tokyo', z)",
            "2024-07-02T08:30:00; 2021-10-31T10:30:00; 1600-01-01T09:18:59; \
             +10000-01-01T08:59:59; NULL; 0001-01-01T09:18:59",
        ),
        (
            "date_trunc('day', z AT TIME ZONE 'Europe/Berlin')",
            "2024-07-02T00:00:00; 2021-10-31T00:00:00; 1600-01-01T00:00:00; \
             +10000-01-01T00:00:00; NULL; 0001-01-01T00:00:00",
        ),
        (
            "date_trunc('day', z AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin'",
            "2024-07-01T22:00:00Z; 2021-10-30T22:00:00Z; 1599-12-31T23:06:32Z; \
             9999-12-31T23:00:00Z; NULL; 0000-12-31T23:06:32Z",
        ),
        (
            "z AT TIME ZONE 'Europe/Berlin' + INTERVAL '1 day'",
            "2024-07-03T01:30:00; 2021-11-01T02:30:00; 1600-01-02T00:53:28; \
             +10000-01-02T00:59:59; NULL; 0001-01-02T00:53:28",
        ),
        (
            "CAST(z AT TIME ZONE 'Europe/Berlin' AS DATE)",
            "2024-07-02; 2021-10-31; 1600-01-01; +10000-01-01; NULL; 0001-01-01",
        ),
        ("extract(hour FROM z AT TIME ZONE 'Europe/Berlin')", "1; 2; 0; 0; NULL; 0"),
        (
            "coalesce(z AT TIME ZONE 'Europe/Berlin', t)",
            "2024-07-02T01:30:00; 2021-10-31T02:30:00; 1600-01-01T00:53:28; \
             +10000-01-01T00:59:59; 2024-05-05T10:00:05.123456; 0001-01-01T00:53:28",
        ),
        (
            "CASE WHEN z IS NULL THEN t ELSE z AT TIME ZONE 'Europe/Berlin' END",
            "2024-07-02T01:30:00; 2021-10-31T02:30:00; 1600-01-01T00:53:28; \
             +10000-01-01T00:59:59; 2024-05-05T10:00:05.123456; 0001-01-01T00:53:28",
        ),
        (
            "coalesce(t AT TIME ZONE 'Europe/Berlin', z)",
            "2024-07-01T21:30:00Z; 2021-10-31T01:30:00Z; 1599-12-31T23:06:32Z; \
             9999-12-31T22:59:59Z; 2024-05-05T08:00:05.123456Z; 0000-12-31T23:06:32Z",
        ),
        (
            "greatest(z AT TIME ZONE 'Europe/Berlin', t)",
            "2024-07-02T01:30:00; 2021-10-31T02:30:00; 1600-01-01T00:53:28; \
             +10000-01-01T00:59:59; 2024-05-05T10:00:05.123456; 0001-01-01T00:53:28",
        ),
        (
            "least(z AT TIME ZONE 'Europe/Berlin', t)",
            "2024-07-01T23:30:00; 2021-10-31T02:30:00; 1600-01-01T00:00:00; 9999-12-31T23:59:59; \
             2024-05-05T10:00:05.123456; 0001-01-01T00:00:00",
        ),
        ("nullif(z AT TIME ZONE 'UTC', t)", "NULL; 2021-10-31T01:30:00; NULL; NULL; NULL; NULL"),
        ("z AT TIME ZONE 'Europe/Berlin' > t", "true; false; true; true; NULL; true"),
        ("z AT TIME ZONE 'UTC' = t", "true; false; true; true; NULL; true"),
        ("t AT TIME ZONE 'Europe/Berlin' < z", "true; false; true; true; NULL; true"),
        ("z > t", "false; false; false; false; NULL; false"),
        (
            "greatest(z, t)",
            "2024-07-01T23:30:00Z; 2021-10-31T02:30:00Z; 1600-01-01T00:00:00Z; \
             9999-12-31T23:59:59Z; 2024-05-05T10:00:05.123456Z; 0001-01-01T00:00:00Z",
        ),
        (
            "coalesce(z, t)",
            "2024-07-01T23:30:00Z; 2021-10-31T01:30:00Z; 1600-01-01T00:00:00Z; \
             9999-12-31T23:59:59Z; 2024-05-05T10:00:05.123456Z; 0001-01-01T00:00:00Z",
        ),
        (
            "CAST(z AT TIME ZONE 'Europe/Berlin' - t AS TEXT)",
            "02:00:00; 00:00:00; 00:53:28; 01:00:00; NULL; 00:53:28",
        ),
        (
            "z AT TIME ZONE zone",
            "2024-07-01T19:30:00; 2021-10-31T02:30:00; 1600-01-01T00:00:00; \
             +10000-01-01T08:59:59; NULL; NULL",
        ),
        (
            "CAST(t AS TIMESTAMPTZ) AT TIME ZONE 'America/New_York'",
            "2024-07-01T19:30:00; 2021-10-30T22:30:00; 1599-12-31T19:03:58; 9999-12-31T18:59:59; \
             2024-05-05T06:00:05.123456; 0000-12-31T19:03:58",
        ),
    ];
    table("UTC", &rows);
}

#[test]
fn parts_and_beginnings() {
    let rows = [
        (
            "extract(epoch FROM t - TIMESTAMP '2000-01-01')",
            "773191800.000000; 688962600.000000; -12622780800.000000; 252455615999.000000; \
             768218405.123456; -63082281600.000000",
        ),
        (
            "extract(epoch FROM z)",
            "1719876600.000000; 1635643800.000000; -11676096000.000000; 253402300799.000000; \
             NULL; -62135596800.000000",
        ),
        (
            "extract(day FROM t - TIMESTAMP '2000-01-01 12:00')",
            "8948; 7973; -146097; 2921939; 8890; -730119",
        ),
        ("extract(hour FROM t - TIMESTAMP '2000-01-01 12:00')", "11; 14; -12; 11; 22; -12"),
        ("extract(second FROM t)", "0.000000; 0.000000; 0.000000; 59.000000; 5.123456; 0.000000"),
        ("extract(milliseconds FROM t)", "0.000; 0.000; 0.000; 59000.000; 5123.456; 0.000"),
        ("extract(microseconds FROM t)", "0; 0; 0; 59000000; 5123456; 0"),
        ("extract(minute FROM t)", "30; 30; 0; 59; 0; 0"),
        ("extract(year FROM t)", "2024; 2021; 1600; 9999; 2024; 1"),
        ("extract(isoyear FROM t)", "2024; 2021; 1599; 9999; 2024; 1"),
        ("extract(week FROM t)", "27; 43; 52; 52; 18; 1"),
        ("extract(quarter FROM t)", "3; 4; 1; 4; 2; 1"),
        ("extract(month FROM t)", "7; 10; 1; 12; 5; 1"),
        ("extract(day FROM t)", "1; 31; 1; 31; 5; 1"),
        ("extract(doy FROM t)", "183; 304; 1; 365; 126; 1"),
        ("extract(dow FROM t)", "1; 0; 6; 5; 0; 1"),
        ("extract(isodow FROM t)", "1; 7; 6; 5; 7; 1"),
        ("extract(century FROM t)", "21; 21; 16; 100; 21; 1"),
        ("extract(millennium FROM t)", "3; 3; 2; 10; 3; 1"),
        ("extract(decade FROM t)", "202; 202; 160; 999; 202; 0"),
        (
            "extract(epoch FROM CAST(t AS DATE))",
            "1719792000; 1635638400; -11676096000; 253402214400; 1714867200; -62135596800",
        ),
        ("extract(year FROM CAST(t AS DATE))", "2024; 2021; 1600; 9999; 2024; 1"),
        (
            "extract(second FROM CAST(t AS TIME))",
            "0.000000; 0.000000; 0.000000; 59.000000; 5.123456; 0.000000",
        ),
        (
            "extract(epoch FROM CAST(t AS TIME))",
            "84600.000000; 9000.000000; 0.000000; 86399.000000; 36005.123456; 0.000000",
        ),
        (
            "date_trunc('millennium', t)",
            "2001-01-01T00:00:00; 2001-01-01T00:00:00; 1001-01-01T00:00:00; 9001-01-01T00:00:00; \
             2001-01-01T00:00:00; 0001-01-01T00:00:00",
        ),
        (
            "date_trunc('century', t)",
            "2001-01-01T00:00:00; 2001-01-01T00:00:00; 1501-01-01T00:00:00; 9901-01-01T00:00:00; \
             2001-01-01T00:00:00; 0001-01-01T00:00:00",
        ),
        (
            "date_trunc('decade', t)",
            "2020-01-01T00:00:00; 2020-01-01T00:00:00; 1600-01-01T00:00:00; 9990-01-01T00:00:00; \
             2020-01-01T00:00:00; 0000-01-01T00:00:00",
        ),
        (
            "date_trunc('year', t)",
            "2024-01-01T00:00:00; 2021-01-01T00:00:00; 1600-01-01T00:00:00; 9999-01-01T00:00:00; \
             2024-01-01T00:00:00; 0001-01-01T00:00:00",
        ),
        (
            "date_trunc('quarter', t)",
            "2024-07-01T00:00:00; 2021-10-01T00:00:00; 1600-01-01T00:00:00; 9999-10-01T00:00:00; \
             2024-04-01T00:00:00; 0001-01-01T00:00:00",
        ),
        (
            "date_trunc('month', t)",
            "2024-07-01T00:00:00; 2021-10-01T00:00:00; 1600-01-01T00:00:00; 9999-12-01T00:00:00; \
             2024-05-01T00:00:00; 0001-01-01T00:00:00",
        ),
        (
            "date_trunc('week', t)",
            "2024-07-01T00:00:00; 2021-10-25T00:00:00; 1599-12-27T00:00:00; 9999-12-27T00:00:00; \
             2024-04-29T00:00:00; 0001-01-01T00:00:00",
        ),
        (
            "date_trunc('day', t)",
            "2024-07-01T00:00:00; 2021-10-31T00:00:00; 1600-01-01T00:00:00; 9999-12-31T00:00:00; \
             2024-05-05T00:00:00; 0001-01-01T00:00:00",
        ),
        (
            "date_trunc('hour', t)",
            "2024-07-01T23:00:00; 2021-10-31T02:00:00; 1600-01-01T00:00:00; 9999-12-31T23:00:00; \
             2024-05-05T10:00:00; 0001-01-01T00:00:00",
        ),
        (
            "date_trunc('minute', z)",
            "2024-07-01T23:30:00Z; 2021-10-31T01:30:00Z; 1600-01-01T00:00:00Z; \
             9999-12-31T23:59:00Z; NULL; 0001-01-01T00:00:00Z",
        ),
        (
            "date_trunc('second', t)",
            "2024-07-01T23:30:00; 2021-10-31T02:30:00; 1600-01-01T00:00:00; 9999-12-31T23:59:59; \
             2024-05-05T10:00:05; 0001-01-01T00:00:00",
        ),
        (
            "date_trunc('milliseconds', t)",
            "2024-07-01T23:30:00; 2021-10-31T02:30:00; 1600-01-01T00:00:00; 9999-12-31T23:59:59; \
             2024-05-05T10:00:05.123; 0001-01-01T00:00:00",
        ),
    ];
    table("UTC", &rows);
}

#[test]
fn intervals() {
    let rows = [
        (
            "CAST(CAST(v AS INTERVAL) AS TEXT)",
            "1 mon 2 days 03:00:00; -1 days +02:03:00; 00:00:01.75; 1 year; NULL; 36:00:00",
        ),
        (
            "t + CAST(v AS INTERVAL)",
            "2024-08-04T02:30:00; 2021-10-30T04:33:00; 1600-01-01T00:00:01.750; \
             +10000-12-31T23:59:59; NULL; 0001-01-02T12:00:00",
        ),
        (
            "t - CAST(v AS INTERVAL)",
            "2024-05-30T20:30:00; 2021-11-01T00:27:00; 1599-12-31T23:59:58.250; \
             9998-12-31T23:59:59; NULL; 0000-12-30T12:00:00",
        ),
        (
            "z + CAST(v AS INTERVAL)",
            "2024-08-04T02:30:00Z; 2021-10-30T03:33:00Z; 1600-01-01T00:00:01.750Z; \
             +10000-12-31T23:59:59Z; NULL; 0001-01-02T12:00:00Z",
        ),
        (
            "extract(epoch FROM CAST(v AS INTERVAL))",
            "2775600.000000; -79020.000000; 1.750000; 31557600.000000; NULL; 129600.000000",
        ),
        ("extract(month FROM CAST(v AS INTERVAL))", "1; 0; 0; 0; NULL; 0"),
        ("extract(day FROM CAST(v AS INTERVAL))", "2; -1; 0; 0; NULL; 0"),
        ("extract(hour FROM CAST(v AS INTERVAL))", "3; 2; 0; 0; NULL; 36"),
        (
            "extract(second FROM CAST(v AS INTERVAL))",
            "0.000000; 0.000000; 1.750000; 0.000000; NULL; 0.000000",
        ),
        ("CAST(v AS INTERVAL) > INTERVAL '30 days'", "true; false; false; true; NULL; false"),
        ("CAST(v AS INTERVAL) = INTERVAL '12 months'", "false; false; false; true; NULL; false"),
        (
            "CAST(v AS INTERVAL) BETWEEN INTERVAL '1 second' AND INTERVAL '2 months'",
            "true; false; true; false; NULL; true",
        ),
        (
            "CAST(CAST(v AS INTERVAL) * 2 AS TEXT)",
            "2 mons 4 days 06:00:00; -2 days +04:06:00; 00:00:03.5; 2 years; NULL; 72:00:00",
        ),
        (
            "CAST(CAST(v AS INTERVAL) + INTERVAL '1 hour' AS TEXT)",
            "1 mon 2 days 04:00:00; -1 days +03:03:00; 01:00:01.75; 1 year 01:00:00; NULL; \
             37:00:00",
        ),
        (
            "CAST(-CAST(v AS INTERVAL) AS TEXT)",
            "-1 mons -2 days -03:00:00; 1 day -02:03:00; -00:00:01.75; -1 years; NULL; -36:00:00",
        ),
        (
            "t - TIMESTAMP '2000-01-01 12:00' > INTERVAL '8000 days'",
            "true; false; false; true; true; false",
        ),
        (
            "CAST(t - TIMESTAMP '2000-01-01 12:00' AS TEXT)",
            "8948 days 11:30:00; 7973 days 14:30:00; -146097 days -12:00:00; \
             2921939 days 11:59:59; 8890 days 22:00:05.123456; -730119 days -12:00:00",
        ),
        (
            "CAST(t AS DATE) + CAST(v AS INTERVAL)",
            "2024-08-03T03:00:00; 2021-10-30T02:03:00; 1600-01-01T00:00:01.750; \
             +10000-12-31T00:00:00; NULL; 0001-01-02T12:00:00",
        ),
        (
            "CAST(t AS DATE) - CAST(v AS INTERVAL)",
            "2024-05-29T21:00:00; 2021-10-31T21:57:00; 1599-12-31T23:59:58.250; \
             9998-12-31T00:00:00; NULL; 0000-12-30T12:00:00",
        ),
        (
            "CAST(t AS TIME) + CAST(v AS INTERVAL)",
            "02:30:00; 04:33:00; 00:00:01.750; 23:59:59; NULL; 12:00:00",
        ),
        (
            "t - INTERVAL '1 month'",
            "2024-06-01T23:30:00; 2021-09-30T02:30:00; 1599-12-01T00:00:00; 9999-11-30T23:59:59; \
             2024-04-05T10:00:05.123456; 0000-12-01T00:00:00",
        ),
    ];
    table("UTC", &rows);
}
#[test]
fn formats_and_mixed_times() {
    let there = "2024-07-02 01:30; 2021-10-31 02:30; 1600-01-01 00:53; +10000-01-01 00:59; NULL; \
                 0001-01-01 00:53";
    for text in [
        "to_char(z AT TIME ZONE 'Europe/Berlin', '%Y-%m-%d %H:%M')",
        "to_char(date_trunc('minute', z AT TIME ZONE 'Europe/Berlin'), '%Y-%m-%d %H:%M')",
        "to_char(z AT TIME ZONE 'Europe/Berlin' + INTERVAL '0 day', '%Y-%m-%d %H:%M')",
        "to_char(CAST(z AT TIME ZONE 'Europe/Berlin' AS TIMESTAMP), '%Y-%m-%d %H:%M')",
    ] {
        assert_eq!(given(stage("UTC"), text), there, "{text}");
        assert_eq!(given(stage("America/New_York"), text), there, "{text}");
    }
    table(
        "Europe/Berlin",
        &[
            (
                "to_char(t AT TIME ZONE 'Europe/Berlin', '%Y-%m-%d %H:%M')",
                "2024-07-01 21:30; 2021-10-31 01:30; 1599-12-31 23:06; 9999-12-31 22:59; \
                 2024-05-05 08:00; 0000-12-31 23:06",
            ),
            // A copy, a cast and a comparison take `time_zone`, for the year 9999 too.
            (
                "CAST(t AS TIMESTAMPTZ)",
                "2024-07-01T21:30:00Z; 2021-10-31T01:30:00Z; 1599-12-31T23:06:32Z; \
                 9999-12-31T22:59:59Z; 2024-05-05T08:00:05.123456Z; 0000-12-31T23:06:32Z",
            ),
            (
                "coalesce(z, t)",
                "2024-07-01T23:30:00Z; 2021-10-31T01:30:00Z; 1600-01-01T00:00:00Z; \
                 9999-12-31T23:59:59Z; 2024-05-05T08:00:05.123456Z; 0001-01-01T00:00:00Z",
            ),
            ("z > t", "true; false; true; true; NULL; true"),
            (
                "extract(epoch FROM z - t)",
                "7200.000000; 0.000000; 3208.000000; 3600.000000; NULL; 3208.000000",
            ),
        ],
    );
}

#[test]
fn clocks_that_change() {
    // Berlin skipped 2021-03-28 02:00 to 03:00, and had 2021-10-31 02:00 to 03:00 twice; Moscow, by
    // standard time both times, 2014-10-26 01:00 to 02:00.
    let locals = [
        Some("2021-03-28 01:59:59"),
        Some("2021-03-28 02:30"),
        Some("2021-03-28 03:00"),
        Some("2021-10-31 01:59:59"),
        Some("2021-10-31 02:30"),
        Some("2021-10-31 03:00"),
    ];
    let stage = || Stage::new().texts("s", &locals);
    assert_eq!(
        given(stage(), "CAST(s AS TIMESTAMP) AT TIME ZONE 'Europe/Berlin'"),
        "2021-03-28T00:59:59Z; 2021-03-28T01:00:00Z; 2021-10-30T23:59:59Z; \
         2021-10-31T01:30:00Z; 2021-10-31T02:00:00Z; 1 x: is a local time that clocks skipped"
    );
    let moscow = "TIMESTAMP '2014-10-26 01:30' AT TIME ZONE 'Europe/Moscow'";
    assert_eq!(given(Stage::new(), moscow), "2014-10-25T22:30:00Z");
    // Both instants of an hour that was there twice.
    let instants =
        [Some("2021-10-31 00:30Z"), Some("2021-10-31 01:30Z"), Some("2021-03-28 01:00Z")];
    let there = "CAST(s AS TIMESTAMPTZ) AT TIME ZONE 'Europe/Berlin'";
    assert_eq!(
        given(Stage::new().texts("s", &instants), there),
        "2021-10-31T02:30:00; 2021-10-31T02:30:00; 2021-03-28T03:00:00"
    );
    let zones = Stage::new().texts("s", &[Some("Europe/Berlin"), Some("secret"), None]);
    assert_eq!(
        given(zones, "TIMESTAMP '2021-07-01' AT TIME ZONE s"),
        "2021-06-30T22:00:00Z; NULL; 1 x: names no time zone"
    );
}

#[test]
fn what_is_no_time_is_refused_with_what_to_write() {
    for (text, wanted) in [
        ("extract(epoch FROM v)", "write CAST(x AS TIMESTAMP), CAST(x AS INTERVAL)"),
        ("date_trunc('month', v)", "write CAST(x AS TIMESTAMP)"),
        ("extract(fortnight FROM t)", "knows no part"),
        ("date_part(v, t)", "the part is a constant"),
        ("extract(week FROM t - t)", "an interval has no such part"),
        ("extract(year FROM CAST(t AS TIME))", "a time of day has no such part"),
        ("date_trunc('doy', t)", "can't be cut off there"),
        ("date_trunc('day', z, 'Europe/Berlin')", "AT TIME ZONE"),
        ("v AT TIME ZONE 'Europe/Berlin'", "CAST(x AS TIMESTAMP) AT TIME ZONE"),
        ("CAST(t AS DATE) AT TIME ZONE 'Europe/Berlin'", "CAST(x AS TIMESTAMPTZ) AT TIME ZONE"),
        ("t AT TIME ZONE 'CET'", "write a place"),
        ("t AT TIME ZONE 'Mars/Base'", "no time zone `Mars/Base`"),
        ("greatest(t - t, INTERVAL '1 day')", "CASE WHEN a > b"),
        ("v * 2", "CAST(x AS TYPE)"),
        ("t + v", "CAST(x AS TYPE)"),
    ] {
        let refused = stage("UTC").any("x", text).refused();
        assert!(refused.contains(wanted), "{text}: {refused}");
    }
    let failed = stage("UTC").texts("no", &[Some("soon"); 6]).any("x", "CAST(no AS INTERVAL)");
    assert_eq!(failed.failures()[0], "0 x: is not an interval");
}

#[test]
fn days_beside_intervals() {
    table(
        "UTC",
        &[
            (
                "CAST(t AS DATE) + 2 * INTERVAL '1 day'",
                "2024-07-03; 2021-11-02; 1600-01-03; +10000-01-02; 2024-05-07; 0001-01-03",
            ),
            (
                "CAST(t AS DATE) - INTERVAL '1 hour'",
                "2024-06-30T23:00:00; 2021-10-30T23:00:00; 1599-12-31T23:00:00; \
                 9999-12-30T23:00:00; 2024-05-04T23:00:00; 0000-12-31T23:00:00",
            ),
            (
                "t + (t - t)",
                "2024-07-01T23:30:00; 2021-10-31T02:30:00; 1600-01-01T00:00:00; \
                 9999-12-31T23:59:59; 2024-05-05T10:00:05.123456; 0001-01-01T00:00:00",
            ),
            ("v > INTERVAL '1 day'", "true; false; false; true; NULL; true"),
        ],
    );
    let infinite = TimestampMicrosecondArray::from(vec![i64::MAX, 0]);
    let stage = Stage::new().column("t", ValueType::Timestamp, infinite);
    assert_eq!(
        given(stage, "t - (TIMESTAMP '2021-01-02' - TIMESTAMP '2021-01-01')"),
        "1969-12-31T00:00:00; 0 x: is infinite"
    );
}
