//! Which types are moved into which, how the values are compared, and which of them can't be moved.

use dunlin_testkit::servers::Product;

use super::draw::Draw;
use super::look::View;

/// What must become of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives, equal.
    Moved,
    /// Its row is rejected.
    Rejected,
    /// One of the two.
    Either,
}

/// A column of one type that is moved into one of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane {
    /// The old column's type.
    pub(super) from: &'static str,
    /// The new one's.
    pub(super) to: &'static str,
    /// What it is set to, of `v`.
    pub(super) set: &'static str,
    /// The values.
    pub(super) values: Draw,
    /// How the old ones are looked at.
    pub(super) old: View,
    /// How the new ones are.
    pub(super) new: View,
    /// What must become of one, by what it looks like in the old database.
    pub(super) fate: fn(&str) -> Fate,
}

const fn lane(from: &'static str, to: &'static str, values: Draw, view: View) -> Lane {
    Lane { from, to, set: "v", values, old: view, new: view, fate: always }
}

impl Lane {
    const fn set(mut self, set: &'static str) -> Self {
        self.set = set;
        self
    }

    const fn there(mut self, view: View) -> Self {
        self.new = view;
        self
    }

    const fn fate(mut self, fate: fn(&str) -> Fate) -> Self {
        self.fate = fate;
        self
    }
}

fn rejected_if(condition: bool) -> Fate {
    if condition { Fate::Rejected } else { Fate::Moved }
}

fn always(_: &str) -> Fate {
    Fate::Moved
}

fn either(_: &str) -> Fate {
    Fate::Either
}

/// No infinity and no NaN.
fn finite(text: &str) -> Fate {
    rejected_if(["NaN", "inf", "Infinity"].iter().any(|word| text.contains(word)))
}

fn not_nan(text: &str) -> Fate {
    rejected_if(text.contains("NaN"))
}

/// Days from year 1 to 9999.
fn four_digits(text: &str) -> Fate {
    rejected_if(text.contains("BC") || text.contains("infinity") || text.find('-') != Some(4))
}

/// What MariaDB's `timestamp` can hold.
fn until_2038(text: &str) -> Fate {
    let out = !("1970-01-01 00:00:01".."2038-01-19 03:14:08").contains(&text);
    if four_digits(text) == Fate::Rejected { Fate::Rejected } else { rejected_if(out) }
}

fn not_negative(text: &str) -> Fate {
    rejected_if(text.starts_with('-'))
}

fn of_32_bits(text: &str) -> Fate {
    rejected_if(text.parse::<i32>().is_err())
}

fn of_63_bits(text: &str) -> Fate {
    rejected_if(text.parse::<i64>().is_err())
}

/// 35 digits before the point and 30 after it.
fn decimal_65(text: &str) -> Fate {
    let (whole, fraction) = text.trim_start_matches('-').split_once('.').unwrap_or((text, ""));
    rejected_if(
        finite(text) == Fate::Rejected
            || whole.trim_start_matches('-').len() > 35
            || fraction.len() > 30,
    )
}

/// MariaDB refuses UUIDs of version 8 and above without the variant of RFC 9562, and of those with it
/// some.
fn known_uuid(text: &str) -> Fate {
    let at = |place: usize| text.as_bytes().get(place).copied().unwrap_or(b'0');
    let high = at(14) >= b'8';
    let ninth = text.get(19..21).unwrap_or_default();
    rejected_if(high && ninth != "00" && (at(19) < b'8' || ninth == "80"))
}

/// Texts in which no character is U+0000.
fn within_40(text: &str) -> Fate {
    rejected_if(text.chars().count() > 40)
}

const I16: Draw = Draw::Int(i16::MIN as i128, i16::MAX as i128);
const I32: Draw = Draw::Int(i32::MIN as i128, i32::MAX as i128);
const I64: Draw = Draw::Int(i64::MIN as i128, i64::MAX as i128);
const U64: Draw = Draw::Int(0, u64::MAX as i128);
const TEXT: Draw = Draw::Text(60);
const ANY_DAY: Draw = Draw::Day(-4711, 294_000, true);
const ANY_MOMENT: Draw = Draw::Moment(-4711, 294_000, true);
const ANY_INSTANT: Draw = Draw::Instant(-4711, 294_000, true);
const OUR_DAY: Draw = Draw::Day(1000, 9999, false);
const OUR_MOMENT: Draw = Draw::Moment(1000, 9999, false);
/// Days and times of which an expression makes a text, and some of which it can't.
const PRINTED: Draw = Draw::One(&[
    "infinity",
    "-infinity",
    "290000-12-31",
    "2024-02-29 12:34:56",
    "0001-01-01",
    "9999-12-31 23:59:59",
]);
const COLOURS: Draw = Draw::One(&["red", "it's", "grün", "", "two words"]);
const RANGES: Draw = Draw::One(&["empty", "(,)", "[1,5)", "[-2147483648,)", "(,0]", "[7,7]"]);
const SPANS_OF_TIME: Draw = Draw::One(&[
    "empty",
    "[infinity,infinity]",
    "(-infinity,2024-03-31 02:30:00+01]",
    "[\"0044-03-15 00:00:00+00 BC\",)",
]);
const SHAPES: Draw = Draw::Sql(&["'(0,0)'", "'(1e-300,-1.5)'", "'(NaN,Infinity)'"]);
const GEOMETRIES: Draw = Draw::Sql(&[
    "ST_GeomFromText('POINT(1.5 -2)')",
    "ST_GeomFromText('LINESTRING(0 0,1 1,2 1e10)')",
    "ST_GeomFromText('POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))')",
    "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(0 0),LINESTRING(1 1,2 2))')",
]);
const OLD_ENUM: &str = "enum('red','it''s','grün','','two words')";

/// The lanes of a pair of products.
pub(super) fn lanes(from: Product, to: Product) -> &'static [Lane] {
    use Product::{Mysql, Pgbouncer, Postgres, Sqlite};
    match (from, to) {
        (Postgres | Pgbouncer, Postgres | Pgbouncer) => POSTGRES_POSTGRES,
        (Postgres | Pgbouncer, Mysql) => POSTGRES_MYSQL,
        (Postgres | Pgbouncer, Sqlite) => POSTGRES_SQLITE,
        (Mysql, Postgres | Pgbouncer) => MYSQL_POSTGRES,
        (Mysql, Mysql) => MYSQL_MYSQL,
        (Mysql, Sqlite) => MYSQL_SQLITE,
        (Sqlite, Postgres | Pgbouncer) => SQLITE_POSTGRES,
        (Sqlite, Mysql) => SQLITE_MYSQL,
        (Sqlite, Sqlite) => SQLITE_SQLITE,
    }
}

const fn same(of: &'static str, values: Draw) -> Lane {
    lane(of, of, values, View::Text)
}

const POSTGRES_POSTGRES: &[Lane] = &[
    same("boolean", Draw::Truth),
    same("smallint", I16),
    same("integer", I32),
    same("bigint", I64),
    lane("bigint", "integer", I64, View::Text).fate(of_32_bits),
    lane("bigint", "numeric", I64, View::Text),
    same("oid", Draw::Int(0, u32::MAX as i128)),
    same("real", Draw::Real32(true)),
    same("double precision", Draw::Real64(true)),
    lane("real", "double precision", Draw::Real32(true), View::Real32),
    same("numeric", Draw::Decimal(40, 20, true)),
    same("numeric(10,2)", Draw::Decimal(8, 2, false)),
    same("numeric(3,-2)", Draw::One(&["100", "-12300", "0", "99900"])),
    same("numeric(2,5)", Draw::One(&["0.00012", "-0.00099", "0"])),
    same("text", TEXT),
    lane("text", "varchar(40)", TEXT, View::Text).fate(within_40),
    same("char(12)", Draw::Text(12)),
    same("\"char\"", Draw::One(&["a", "", " ", "~"])),
    same("name", Draw::Text(20)),
    same("citext", TEXT),
    same("bytea", Draw::Bytes(50)),
    same("date", ANY_DAY),
    same("time", Draw::Clock),
    same("timetz", Draw::One(&["00:00:00+15:59", "24:00:00-15:59", "12:34:56.789012+00"])),
    same("timestamp", ANY_MOMENT),
    same("timestamp(0)", Draw::Second(1, 9999)),
    same("timestamptz", ANY_INSTANT),
    lane(
        "timestamptz",
        "text",
        PRINTED,
        View::By("coalesce(to_char(v, 'YYYY-MM-DD HH24:MI:SS'), 'infinity')"),
    )
    .set("CAST(v AS VARCHAR)")
    .there(View::By("replace(left(v, 19), 'T', ' ')"))
    .fate(four_digits),
    lane("date", "text", PRINTED, View::Text).set("CAST(v AS VARCHAR)").fate(four_digits),
    lane("time", "text", Draw::Clock, View::Time).set("CAST(v AS VARCHAR)").fate(before_midnight),
    same("interval", Draw::Span),
    same("uuid", Draw::Uuid),
    same("json", Draw::Json),
    same("jsonb", Draw::Json),
    lane("json", "jsonb", Draw::Json, View::By("v::jsonb")),
    same("hstore", Draw::Pairs),
    lane("hstore", "jsonb", Draw::Pairs, View::By("hstore_to_jsonb(v)"))
        .set("to_json(v)")
        .there(View::Text),
    same("inet", Draw::Address),
    same("cidr", Draw::One(&["10.0.0.0/8", "::/0", "192.168.100.128/25", "2001:db8::/32"])),
    same("macaddr", Draw::One(&["08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"])),
    same("macaddr8", Draw::One(&["08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00"])),
    same("colour", COLOURS),
    lane("colour", "text", COLOURS, View::Text),
    same("bit(5)", Draw::Bits(5, 5)),
    same("bit varying(70)", Draw::Bits(0, 70)),
    same(
        "xml",
        Draw::One(&[
            "<a b=\"1\">x</a>",
            "text",
            "",
            "<?xml version=\"1.0\" standalone=\"yes\"?><é/>",
        ]),
    ),
    same("tsvector", Draw::One(&["", "a:1A b:2,3", "'x y'", "'it''s':1"])),
    same("tsquery", Draw::One(&["", "a & !b", "a <2> b:*A"])),
    same("int4range", RANGES),
    same("tstzrange", SPANS_OF_TIME),
    same("nummultirange", Draw::One(&["{}", "{[1,2),(3.5,)}", "{(,)}"])),
    same("integer[]", Draw::Ints),
    same("text[]", Draw::Texts),
    lane("integer[]", "jsonb", Draw::Ints, View::By("to_jsonb(v)"))
        .set("to_json(v)")
        .there(View::Text),
    same("uuid[]", Draw::One(&["{}", "{NULL,00000000-0000-0000-0000-000000000001}"])),
    same("timestamptz[]", Draw::One(&["{infinity,NULL}", "{2024-03-31 02:30:00+02}", "{}"])),
    same("numeric[]", Draw::One(&["{NaN,-Infinity,1.500}", "{}", "{NULL}"])),
    same("jsonb[]", Draw::Sql(&["ARRAY['{\"a\":1}'::jsonb, NULL]", "'{}'"])),
    same("bytea[]", Draw::Sql(&["ARRAY['\\x00ff'::bytea, NULL, '\\x']", "'{}'"])),
    same("colour[]", Draw::Sql(&["ARRAY['it''s', NULL, '']::colour[]", "'{}'"])),
    same("inet[]", Draw::One(&["{10.0.0.1/8,NULL,::1}", "{}"])),
    same("interval[]", Draw::One(&["{1 mon -1 day,NULL}", "{}"])),
    same("point", SHAPES),
    same("circle", Draw::One(&["<(0,0),1>", "<(1.5,-2),0>"])),
    same("path", Draw::One(&["((0,0),(1,1))", "[(0,0),(1,1)]"])),
    same("polygon", Draw::One(&["((0,0),(1,1),(2,0))"])),
    same("money", Draw::One(&["-92233720368547758.08", "0", "1.10"])),
    same("pg_lsn", Draw::One(&["0/0", "FFFFFFFF/FFFFFFFF"])),
    same("positive", Draw::Int(1, i32::MAX as i128)),
];

fn before_midnight(text: &str) -> Fate {
    rejected_if(text == "24:00:00")
}

const POSTGRES_MYSQL: &[Lane] = &[
    lane("boolean", "boolean", Draw::Truth, View::Truth),
    lane("smallint", "smallint", I16, View::Text),
    lane("integer", "integer", I32, View::Text),
    lane("bigint", "bigint", I64, View::Text),
    lane("bigint", "integer", I64, View::Text).fate(of_32_bits),
    lane("bigint", "bigint unsigned", I64, View::Text).fate(not_negative),
    lane("real", "float", Draw::Real32(true), View::Real32).fate(finite),
    lane("real", "double", Draw::Real32(true), View::Real32).fate(finite),
    lane("double precision", "double", Draw::Real64(true), View::Real64).fate(finite),
    lane("numeric", "decimal(65,30)", Draw::Decimal(36, 31, true), View::Number).fate(decimal_65),
    lane("numeric(10,2)", "decimal(10,2)", Draw::Decimal(8, 2, false), View::Number),
    lane("numeric", "text", Draw::Decimal(40, 20, true), View::Text).fate(either),
    lane("text", "longtext", TEXT, View::Text),
    lane("text", "varchar(40)", TEXT, View::Text).fate(within_40),
    lane("text", "varchar(80) character set latin1", TEXT, View::Text).fate(latin),
    lane("char(12)", "char(12)", Draw::Text(12), View::Padded),
    lane("bytea", "longblob", Draw::Bytes(50), View::Bytes),
    lane("bytea", "binary(4)", Draw::Bytes(5), View::Bytes).fate(four_bytes),
    lane("date", "date", ANY_DAY, View::Text).fate(four_digits),
    lane("time", "time(6)", Draw::Clock, View::Time),
    lane("time", "time(3)", Draw::Clock, View::Time).fate(thousandths),
    lane("timestamp", "datetime(6)", ANY_MOMENT, View::Time).fate(four_digits),
    lane("timestamptz", "timestamp(6)", ANY_INSTANT, View::Time).fate(until_2038),
    lane("timestamptz", "timestamp(6)", Draw::Instant(1971, 2037, false), View::Time),
    lane("uuid", "uuid", Draw::Uuid, View::Text).fate(known_uuid),
    lane("uuid", "char(36)", Draw::Uuid, View::Text),
    lane("json", "json", Draw::Json, View::Text),
    lane("jsonb", "json", Draw::Json, View::Json),
    lane("hstore", "json", Draw::Pairs, View::JsonBy("hstore_to_jsonb(v)"))
        .set("to_json(v)")
        .there(View::Json),
    lane("integer[]", "json", Draw::Ints, View::JsonBy("to_jsonb(v)"))
        .set("to_json(v)")
        .there(View::Json),
    lane("text[]", "json", Draw::Texts, View::JsonBy("to_jsonb(v)"))
        .set("to_json(v)")
        .there(View::Json),
    lane("colour", OLD_ENUM, COLOURS, View::Text),
    lane("colour", "varchar(20)", COLOURS, View::Text),
    lane("inet", "varchar(60)", Draw::Address, View::Text),
    lane("inet", "inet6", Draw::Address, View::Text).fate(either),
    lane("interval", "varchar(90)", Draw::Span, View::Text),
    lane("int4range", "varchar(90)", RANGES, View::Text),
    lane("bit(5)", "bit(5)", Draw::Bits(5, 5), View::Text).there(FIVE_BITS),
    lane("bit varying(6)", "bit(5)", Draw::Bits(0, 6), View::Text).there(FIVE_BITS).fate(five_bits),
    lane("xml", "text", Draw::One(&["<a b=\"1\">x</a>", ""]), View::Text),
];

const FIVE_BITS: View = View::By("lpad(bin(v + 0), 5, '0')");

fn five_bits(text: &str) -> Fate {
    rejected_if(text.len() != 5)
}

fn latin(text: &str) -> Fate {
    // MariaDB's latin1 has the letters of Windows' 1252, and all of the first 256.
    let there = |letter: char| u32::from(letter) < 128 || "éÿßÆøþ€ ".contains(letter);
    if text.chars().all(there) { Fate::Moved } else { Fate::Either }
}

fn four_bytes(text: &str) -> Fate {
    rejected_if(text.len() != 8)
}

fn thousandths(text: &str) -> Fate {
    rejected_if(text.split_once('.').is_some_and(|(_, fraction)| fraction.len() > 3))
}

/// Days from year 0 to 9999.
fn of_sqlite(text: &str) -> Fate {
    rejected_if(
        text.contains("infinity")
            || text.find('-') != Some(4)
            || (text.contains("BC") && !text.starts_with("0001-")),
    )
}

/// SQLite makes a number of a text that is nothing else, in a column that is declared `json`.
fn whole_json(text: &str) -> Fate {
    if text.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        Fate::Either
    } else {
        Fate::Moved
    }
}

const POSTGRES_SQLITE: &[Lane] = &[
    lane("boolean", "boolean", Draw::Truth, View::Truth),
    lane("bigint", "integer", I64, View::Text),
    lane("smallint", "integer", I16, View::Text),
    lane("real", "real", Draw::Real32(true), View::Real32).fate(not_nan),
    lane("double precision", "real", Draw::Real64(true), View::Real64).fate(not_nan),
    lane("numeric", "text", Draw::Decimal(40, 20, true), View::Text).fate(either),
    lane("numeric", "numeric", Draw::Decimal(12, 8, true), View::Number).fate(either),
    lane("numeric(10,2)", "decimal(10,2)", Draw::Decimal(8, 2, false), View::Number),
    lane("text", "text", TEXT, View::Text),
    lane("char(12)", "text", Draw::Text(12), View::Padded),
    lane("bytea", "blob", Draw::Bytes(50), View::Bytes),
    lane("date", "date", ANY_DAY, View::Time).fate(of_sqlite),
    lane("time", "time", Draw::Clock, View::Time),
    lane("timestamp", "datetime", ANY_MOMENT, View::Time).fate(of_sqlite),
    lane("timestamptz", "timestamptz", ANY_INSTANT, View::Time).fate(of_sqlite),
    lane("uuid", "uuid", Draw::Uuid, View::Text),
    lane("json", "json", Draw::Json, View::Text).fate(whole_json),
    lane("jsonb", "json", Draw::Json, View::Json).fate(whole_json),
    lane("hstore", "json", Draw::Pairs, View::JsonBy("hstore_to_jsonb(v)"))
        .set("to_json(v)")
        .there(View::Json),
    lane("text[]", "json", Draw::Texts, View::JsonBy("to_jsonb(v)"))
        .set("to_json(v)")
        .there(View::Json),
    lane("colour", "text", COLOURS, View::Text),
    lane("inet", "text", Draw::Address, View::Text),
    lane("interval", "text", Draw::Span, View::Text),
    lane("tstzrange", "text", SPANS_OF_TIME, View::Text),
    lane("bit varying(70)", "text", Draw::Bits(0, 70), View::Text),
];

const MYSQL_POSTGRES: &[Lane] = &[
    lane("boolean", "boolean", Draw::Truth, View::Truth),
    lane("tinyint", "smallint", Draw::Int(-128, 127), View::Text),
    lane("tinyint unsigned", "smallint", Draw::Int(0, 255), View::Text),
    lane("smallint unsigned", "integer", Draw::Int(0, 65_535), View::Text),
    lane("mediumint", "integer", Draw::Int(-8_388_608, 8_388_607), View::Text),
    lane("int unsigned", "bigint", Draw::Int(0, u32::MAX as i128), View::Text),
    lane("int unsigned zerofill", "bigint", Draw::Int(0, u32::MAX as i128), View::Number),
    lane("bigint", "bigint", I64, View::Text),
    lane("bigint unsigned", "numeric", U64, View::Text),
    lane("bigint unsigned", "bigint", U64, View::Text).fate(of_63_bits),
    lane("float", "real", Draw::Real32(false), View::Real32),
    lane("double", "double precision", Draw::Real64(false), View::Real64),
    lane("decimal(65,30)", "numeric", Draw::Decimal(35, 30, false), View::Text),
    lane("decimal(10,2)", "numeric(10,2)", Draw::Decimal(8, 2, false), View::Text),
    lane("longtext", "text", TEXT, View::Text),
    lane("varchar(80)", "varchar(80)", TEXT, View::Text),
    lane("varchar(80) character set latin1", "text", Draw::Latin(60), View::Text),
    lane("varchar(80) character set utf16", "text", TEXT, View::Text),
    lane("char(12)", "char(12)", Draw::Text(12), View::Padded),
    lane("longblob", "bytea", Draw::Bytes(50), View::Bytes),
    lane("binary(16)", "uuid", Draw::BytesOf(16), View::By("lower(hex(v))"))
        .there(View::By("replace(v::text, '-', '')")),
    lane("date", "date", OUR_DAY, View::Text),
    lane("time(6)", "time", Draw::Clock, View::Time),
    lane("datetime(6)", "timestamp", OUR_MOMENT, View::Time),
    lane("datetime(6)", "timestamptz", OUR_MOMENT, View::Time),
    lane("datetime", "timestamp", Draw::Second(1000, 9999), View::Time),
    lane("timestamp(6)", "timestamptz", Draw::Moment(1971, 2037, false), View::Time),
    lane("year", "integer", Draw::Int(1901, 2155), View::Text),
    lane(OLD_ENUM, "colour", COLOURS, View::Text),
    lane(OLD_ENUM, "text", COLOURS, View::Text),
    lane("set('a','b','c d')", "text", Draw::One(&["", "a", "a,c d", "a,b,c d"]), View::Text),
    lane("bit(5)", "bit(5)", Draw::Bits(5, 5), FIVE_BITS).there(View::Text),
    lane("bit(64)", "text", Draw::Bits(64, 64), View::By("lpad(bin(v + 0), 64, '0')"))
        .there(View::Text),
    lane("json", "jsonb", Draw::Json, View::Json),
    lane("json", "json", Draw::Json, View::Text),
    lane(
        "uuid",
        "uuid",
        Draw::Sql(&["'00000000-0000-0000-0000-000000000000'", "uuid()"]),
        View::Text,
    ),
    lane("inet6", "inet", Draw::One(&["::", "2001:db8::1", "fe80::ffff"]), View::Text),
    lane("geometry", "text", GEOMETRIES, View::By("ST_AsText(v)")).there(View::Text),
];

const MYSQL_MYSQL: &[Lane] = &[
    same("boolean", Draw::Truth),
    same("tinyint unsigned", Draw::Int(0, 255)),
    same("smallint", I16),
    same("mediumint unsigned", Draw::Int(0, 16_777_215)),
    same("int unsigned zerofill", Draw::Int(0, u32::MAX as i128)),
    same("bigint", I64),
    same("bigint unsigned", U64),
    lane("bigint unsigned", "bigint", U64, View::Text).fate(of_63_bits),
    lane("float", "float", Draw::Real32(false), View::Real32),
    lane("double", "double", Draw::Real64(false), View::Real64),
    same("decimal(65,30)", Draw::Decimal(35, 30, false)),
    same("decimal(10,0)", Draw::Decimal(10, 0, false)),
    same("longtext", TEXT),
    same("varchar(80) character set latin1", Draw::Latin(60)),
    same("varchar(80) character set utf16", TEXT),
    same("tinytext", Draw::Text(20)),
    same("char(12)", Draw::Text(12)),
    lane("varbinary(60)", "varbinary(60)", Draw::Bytes(50), View::Bytes),
    lane("binary(7)", "binary(7)", Draw::BytesOf(7), View::Bytes),
    same("date", OUR_DAY),
    same("time(6)", Draw::Clock),
    same("datetime(6)", OUR_MOMENT),
    same("timestamp(6)", Draw::Moment(1971, 2037, false)),
    same("year", Draw::Int(1901, 2155)),
    same("year", Draw::Sql(&["'0000'", "1999"])),
    same(OLD_ENUM, COLOURS),
    same("set('a','b','c d')", Draw::One(&["", "a", "a,c d", "a,b,c d"])),
    lane("bit(5)", "bit(5)", Draw::Bits(5, 5), FIVE_BITS),
    lane("bit(64)", "bit(64)", Draw::Bits(64, 64), View::By("v + 0")),
    same("json", Draw::Json),
    same("uuid", Draw::Sql(&["'00000000-0000-0000-0000-000000000000'", "uuid()"])),
    same("inet4", Draw::One(&["0.0.0.0", "255.255.255.255", "10.0.0.1"])),
    same("inet6", Draw::One(&["::", "2001:db8::1", "::ffff:10.0.0.1"])),
    lane("geometry", "geometry", GEOMETRIES, View::By("ST_AsText(v)")),
];

const MYSQL_SQLITE: &[Lane] = &[
    lane("boolean", "boolean", Draw::Truth, View::Text),
    lane("bigint", "integer", I64, View::Text),
    lane("bigint unsigned", "integer", U64, View::Text).fate(of_63_bits),
    lane("bigint unsigned", "text", U64, View::Text).set("CAST(v AS VARCHAR)"),
    lane("float", "real", Draw::Real32(false), View::Real32),
    lane("double", "real", Draw::Real64(false), View::Real64),
    lane("decimal(65,30)", "text", Draw::Decimal(35, 30, false), View::Text),
    lane("decimal(10,2)", "decimal(10,2)", Draw::Decimal(8, 2, false), View::Number),
    lane("longtext", "text", TEXT, View::Text),
    lane("char(12)", "text", Draw::Text(12), View::Text),
    lane("longblob", "blob", Draw::Bytes(50), View::Bytes),
    lane("date", "date", OUR_DAY, View::Text),
    lane("time(6)", "time", Draw::Clock, View::Time),
    lane("datetime(6)", "datetime", OUR_MOMENT, View::Time),
    lane("timestamp(6)", "timestamptz", Draw::Moment(1971, 2037, false), View::Time),
    lane("year", "integer", Draw::Int(1901, 2155), View::Text),
    lane(OLD_ENUM, "text", COLOURS, View::Text),
    lane("set('a','b','c d')", "text", Draw::One(&["", "a", "a,c d"]), View::Text),
    lane("bit(5)", "text", Draw::Bits(5, 5), FIVE_BITS).there(View::Text),
    lane("json", "json", Draw::Json, View::Text).fate(whole_json),
    lane("uuid", "uuid", Draw::Sql(&["uuid()"]), View::Text),
    lane("geometry", "text", GEOMETRIES, View::By("ST_AsText(v)")).there(View::Text),
];

const SQLITE_POSTGRES: &[Lane] = &[
    lane("boolean", "boolean", Draw::Truth, View::Truth),
    lane("integer", "bigint", I64, View::Text),
    lane("integer", "integer", I64, View::Text).fate(of_32_bits),
    lane("real", "double precision", Draw::Real64(true), View::Real64),
    lane("decimal(10,2)", "numeric(10,2)", Draw::Decimal(8, 2, false), View::Number),
    lane("numeric", "numeric", Draw::Decimal(10, 5, false), View::Number),
    lane("text", "text", TEXT, View::Text),
    lane("varchar(80)", "varchar(40)", TEXT, View::Text).fate(within_40),
    lane("blob", "bytea", Draw::Bytes(50), View::Bytes),
    lane("date", "date", OUR_DAY, View::Text),
    lane("time", "time", Draw::Clock, View::Time),
    lane("datetime", "timestamp", OUR_MOMENT, View::Time),
    lane("timestamptz", "timestamptz", Draw::Instant(1000, 9998, false), MILLIS_LITE).there(MILLIS),
    lane("uuid", "uuid", Draw::Uuid, View::Text),
    lane("json", "jsonb", Draw::Json, View::Json),
    lane("json", "json", Draw::Json, View::Text),
    lane("text", "colour", COLOURS, View::Text),
    lane("", "text", Draw::Sql(&["1", "-1.5", "'x'", "''", "9223372036854775807"]), View::Text),
];

/// SQLite's own functions know milliseconds.
const MILLIS_LITE: View =
    View::By("strftime('%Y-%m-%d %H:%M:', v) || CAST(strftime('%S', v) AS text)");
const MILLIS: View = View::By("to_char(v, 'YYYY-MM-DD HH24:MI:SS')");

const SQLITE_MYSQL: &[Lane] = &[
    lane("boolean", "boolean", Draw::Truth, View::Text),
    lane("integer", "bigint", I64, View::Text),
    lane("integer", "integer", I64, View::Text).fate(of_32_bits),
    lane("real", "double", Draw::Real64(true), View::Real64).fate(finite_lite),
    lane("decimal(10,2)", "decimal(10,2)", Draw::Decimal(8, 2, false), View::Number),
    lane("text", "longtext", TEXT, View::Text),
    lane("text", "varchar(40)", TEXT, View::Text).fate(within_40),
    lane("blob", "longblob", Draw::Bytes(50), View::Bytes),
    lane("date", "date", OUR_DAY, View::Text),
    lane("time", "time(6)", Draw::Clock, View::Time),
    lane("datetime", "datetime(6)", OUR_MOMENT, View::Time),
    lane("timestamptz", "timestamp(6)", Draw::Instant(1971, 2037, false), MILLIS_LITE)
        .there(View::By("date_format(v, '%Y-%m-%d %H:%i:%s')")),
    lane("uuid", "uuid", Draw::Uuid, View::Text).fate(known_uuid),
    lane("uuid", "char(36)", Draw::Uuid, View::Text),
    lane("json", "json", Draw::Json, View::Text),
    lane("text", OLD_ENUM, COLOURS, View::Text),
];

fn finite_lite(text: &str) -> Fate {
    rejected_if(
        text.contains("inf")
            || text.contains("7ff0000000000000")
            || text.contains("fff0000000000000"),
    )
}

const SQLITE_SQLITE: &[Lane] = &[
    same("boolean", Draw::Truth),
    same("integer", I64),
    lane("real", "real", Draw::Real64(true), View::Real64),
    lane("decimal(10,2)", "decimal(10,2)", Draw::Decimal(8, 2, false), View::Number),
    lane("numeric", "numeric", Draw::Decimal(10, 5, false), View::Number),
    same("text", TEXT),
    lane("blob", "blob", Draw::Bytes(50), View::Bytes),
    same("date", OUR_DAY),
    lane("time", "time", Draw::Clock, View::Time),
    lane("datetime", "datetime", OUR_MOMENT, View::Time),
    lane("timestamptz", "timestamptz", Draw::Instant(1000, 9998, false), MILLIS_LITE),
    same("uuid", Draw::Uuid),
    same("json", Draw::Json),
    same("", Draw::Sql(&["1", "-1.5", "'x'", "''", "'5'"])),
];
