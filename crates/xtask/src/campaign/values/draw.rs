//! Values of every kind, as SQL literals: the edges first, then at random.

use std::fmt::Write as _;

use dunlin_testkit::servers::Product;

/// A kind of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Draw {
    /// True and false.
    Truth,
    /// Whole numbers from, to.
    Int(i128, i128),
    /// Floating point of 32 bits; `true`: with NaN and the infinities.
    Real32(bool),
    /// Of 64 bits.
    Real64(bool),
    /// Decimals: digits before and after the point; `true`: with NaN, the infinities and the longest
    /// numbers that there are.
    Decimal(usize, usize, bool),
    /// Texts of at most so many characters.
    Text(usize),
    /// The same, of letters that latin1 has.
    Latin(usize),
    /// Bytes, at most so many.
    Bytes(usize),
    /// Exactly so many.
    BytesOf(usize),
    /// Days of these years; `true`: with PostgreSQL's edges.
    Day(i32, i32, bool),
    /// Times of day.
    Clock,
    /// Days with a time.
    Moment(i32, i32, bool),
    /// The same without a fraction of a second.
    Second(i32, i32),
    /// Instants.
    Instant(i32, i32, bool),
    /// UUIDs of any version.
    Uuid,
    /// JSON with members of one name and blanks.
    Json,
    /// So many bits at least and at most.
    Bits(usize, usize),
    /// Months, days and microseconds.
    Span,
    /// Addresses with a mask.
    Address,
    /// Lists of whole numbers with NULLs.
    Ints,
    /// Lists of texts with NULLs.
    Texts,
    /// Texts by name.
    Pairs,
    /// One of these texts.
    One(&'static [&'static str]),
    /// One of these, which are SQL already.
    Sql(&'static [&'static str]),
}

const WORDS: [&str; 16] = [
    "",
    " ",
    "a",
    "NULL",
    "\\N",
    "\\",
    "'\"`",
    "\t\n\r",
    "Straße",
    "Ærøskøbing ",
    "日本語",
    "👩‍👩‍👧",
    "e\u{301}",
    "\u{feff}x",
    "{\"a\"=>NULL}",
    "; DROP TABLE l0; --",
];

const LETTERS: [char; 14] =
    ['a', 'Z', '0', ' ', '\\', '\'', '"', '\n', 'é', 'ÿ', 'ß', '€', 'न', '🦆'];

impl Draw {
    /// The edges of this kind, as SQL literals of a product.
    pub(super) fn edges(self, product: Product) -> Vec<String> {
        let quoted = |all: &[&str]| all.iter().map(|text| literal(text)).collect();
        match self {
            Self::Truth => vec!["true".to_owned(), "false".to_owned()],
            Self::Int(min, max) => [min, max, 0, 1, -1, min + 1, max - 1]
                .iter()
                .filter(|number| (min..=max).contains(number))
                .map(ToString::to_string)
                .collect(),
            Self::Real32(special) => reals(
                product,
                special,
                &[0.0, -0.0, 1.1_f32.into(), f32::MAX.into(), f32::MIN.into(), 1e-45, 1.2e-38],
            ),
            Self::Real64(special) => reals(
                product,
                special,
                &[0.0, -0.0, 0.1, f64::MAX, f64::MIN, 5e-324, 2.3e-308, 9_007_199_254_740_993.0],
            ),
            Self::Decimal(before, after, special) => decimals(before, after, special),
            Self::Text(max) => WORDS
                .iter()
                .filter(|word| word.chars().count() <= max)
                .map(|word| text(product, word))
                .collect(),
            Self::Latin(_) => vec![text(product, ""), text(product, "€ÿ þ")],
            Self::Bytes(_) => vec![bytes(product, &[]), bytes(product, &[0, 0xff, b'\\', 0])],
            Self::BytesOf(size) => vec![bytes(product, &vec![0; size])],
            Self::Day(_, _, true) => {
                quoted(&["infinity", "-infinity", "4713-01-01 BC", "5874897-12-31"])
            }
            Self::Moment(_, _, true) | Self::Instant(_, _, true) => quoted(&[
                "infinity",
                "-infinity",
                "4713-01-01 00:00:00 BC",
                "0001-12-31 23:59:59.999999 BC",
                "294246-12-31 23:59:59.999999",
                "2024-03-31 02:30:00",
            ]),
            Self::Day(first, last, _) => {
                vec![
                    format!("'{first:04}-01-01'"),
                    format!("'{last:04}-12-31'"),
                    "'2024-02-29'".to_owned(),
                ]
            }
            Self::Clock if product == Product::Postgres => {
                quoted(&["00:00:00", "23:59:59.999999", "24:00:00"])
            }
            Self::Clock => quoted(&["00:00:00", "23:59:59.999999"]),
            Self::Uuid => vec![
                format!("'{}'", uuid(0)),
                format!("'{}'", uuid(u128::MAX)),
                "'12345678-1234-8234-8034-123456789abc'".to_owned(),
            ],
            Self::Json => {
                ["null", "[]", "{}", "\"\"", "0", "[1,2.50,-0.0]", "{\"é\":\"\\u00e9\\n\"}"]
                    .iter()
                    .map(|json| text(product, json))
                    .collect()
            }
            Self::Span => {
                quoted(&["0", "-178000000 years", "1 mon -1 day +00:00:00.000001", "838:59:59"])
            }
            Self::Address => {
                quoted(&["0.0.0.0/0", "255.255.255.255", "::/0", "::ffff:10.0.0.1", "10.1.2.3/8"])
            }
            Self::Ints => quoted(&["{}", "{NULL}", "{-2147483648,2147483647}"]),
            Self::Texts => vec![
                "'{}'".to_owned(),
                "ARRAY['', NULL, 'NULL', 'a,b', '{}', E'\\\\', '\"', E'\\n']".to_owned(),
            ],
            Self::Pairs => quoted(&["", "a=>NULL, \"b c\"=>\"\\\"x\\\\\", \"\"=>\"\""]),
            Self::One(all) => quoted(all),
            Self::Sql(all) => all.iter().map(|sql| (*sql).to_owned()).collect(),
            Self::Bits(..) | Self::Moment(..) | Self::Second(..) | Self::Instant(..) => Vec::new(),
        }
    }

    /// One of this kind.
    pub(super) fn one(self, product: Product, random: &mut fastrand::Rng) -> String {
        match self {
            Self::Truth => random.bool().to_string(),
            Self::Int(min, max) => whole(random, min, max).to_string(),
            Self::Real32(_) => {
                let bits = f32::from_bits(random.u32(..));
                let number = if bits.is_finite() { bits } else { 0.5 };
                real(product, number.into())
            }
            Self::Real64(_) => {
                let bits = f64::from_bits(random.u64(..));
                real(product, if bits.is_finite() { bits } else { 0.25 })
            }
            Self::Decimal(before, after, _) => {
                let sign = if random.bool() { "-" } else { "" };
                let (before, after) = (random.usize(0..=before), random.usize(0..=after));
                let point = if after > 0 { "." } else { "" };
                format!("'{sign}0{}{point}{}'", digits(random, before), digits(random, after))
            }
            Self::Text(max) => text(product, &letters(random, max, &LETTERS)),
            Self::Latin(max) => text(product, &letters(random, max, &LETTERS[..11])),
            Self::Bytes(max) => {
                let size = random.usize(0..=max);
                bytes(product, &some_bytes(random, size))
            }
            Self::BytesOf(size) => bytes(product, &some_bytes(random, size)),
            Self::Day(first, last, _) => {
                let (day, era) = day(random, first, last);
                format!("'{day}{era}'")
            }
            Self::Clock => format!("'{}'", clock(random, true)),
            Self::Moment(first, last, _) => {
                let (day, era) = day(random, first, last);
                format!("'{day} {}{era}'", clock(random, true))
            }
            Self::Second(first, last) => {
                let (day, era) = day(random, first, last);
                format!("'{day} {}{era}'", clock(random, false))
            }
            Self::Instant(first, last, _) => {
                let (day, era) = day(random, first, last);
                let clock = clock(random, true);
                // The client's session is in UTC; MariaDB takes no offset before 10.8.
                match (product, random.u8(0..3)) {
                    (Product::Postgres | Product::Sqlite, 0) => {
                        format!(
                            "'{day} {clock}{:+03}:{:02}{era}'",
                            random.i8(-12..=13),
                            random.u8(0..60)
                        )
                    }
                    (Product::Sqlite, 1) => format!("'{day}T{clock}Z'"),
                    _ => format!("'{day} {clock}{era}'"),
                }
            }
            Self::Uuid => format!("'{}'", uuid(random.u128(..))),
            Self::Json => text(product, &json(random, 3)),
            Self::Bits(min, max) => {
                let count = random.usize(min..=max);
                let bits: String =
                    (0..count).map(|_| if random.bool() { '1' } else { '0' }).collect();
                format!("b'{bits}'")
            }
            Self::Span => format!(
                "'{} years {} mons {} days {}.{:06} seconds'",
                random.i32(-9000..9000),
                random.i32(-30..30),
                random.i32(-40_000..40_000),
                random.i32(-9_000_000..9_000_000),
                random.u32(0..1_000_000)
            ),
            Self::Address if random.bool() => {
                format!("'{}'", std::net::Ipv4Addr::from(random.u32(..)))
            }
            Self::Address => {
                format!("'{}/{}'", std::net::Ipv6Addr::from(random.u128(..)), random.u8(0..=128))
            }
            Self::Ints => format!("'{{{}}}'", list(random, |random| random.i32(..).to_string())),
            Self::Texts => {
                let items = list(random, |random| text(product, &letters(random, 6, &LETTERS)));
                format!("ARRAY[{items}]::text[]")
            }
            Self::Pairs => {
                let items: Vec<String> = (0..random.usize(1..4))
                    .map(|_| {
                        let name = text(product, &letters(random, 5, &LETTERS));
                        format!("hstore({name}, {})", text(product, &letters(random, 8, &LETTERS)))
                    })
                    .collect();
                items.join(" || ")
            }
            Self::One(all) => literal(all[random.usize(0..all.len())]),
            Self::Sql(all) => all[random.usize(0..all.len())].to_owned(),
        }
    }
}

fn list(random: &mut fastrand::Rng, one: impl Fn(&mut fastrand::Rng) -> String) -> String {
    let items: Vec<String> = (0..random.usize(0..5))
        .map(|_| if random.u8(0..5) == 0 { "NULL".to_owned() } else { one(random) })
        .collect();
    items.join(",")
}

fn reals(product: Product, special: bool, all: &[f64]) -> Vec<String> {
    let mut literals: Vec<String> = all.iter().map(|number| real(product, *number)).collect();
    if special && product == Product::Postgres {
        literals.extend(["'NaN'", "'Infinity'", "'-Infinity'"].map(str::to_owned));
    } else if special {
        literals.extend(["9e999", "-9e999"].map(str::to_owned));
    }
    literals
}

fn real(product: Product, number: f64) -> String {
    match product {
        Product::Postgres => format!("'{number:e}'"),
        _ => format!("{number:e}"),
    }
}

fn decimals(before: usize, after: usize, special: bool) -> Vec<String> {
    let longest = |before: usize, after: usize| {
        let point = if after > 0 { "." } else { "" };
        format!("'-{}{point}{}'", "9".repeat(before.max(1)), "9".repeat(after))
    };
    let mut all =
        vec!["'0'".to_owned(), "'-1'".to_owned(), "'1.50'".to_owned(), longest(before, after)];
    if before == 0 || after == 0 {
        all.retain(|literal| !literal.contains('.'));
    }
    if special {
        all.extend(["'NaN'", "'Infinity'", "'-Infinity'", "'0.00010000'"].map(str::to_owned));
        all.push(longest(131_072, 0));
        all.push(longest(1, 16_383));
    }
    all
}

fn whole(random: &mut fastrand::Rng, min: i128, max: i128) -> i128 {
    // As many small ones as large ones.
    let bits = random.u32(0..=64);
    let number = i128::from(random.u64(..) >> (64 - bits.max(1)));
    let number = if random.bool() { number } else { -number };
    if (min..=max).contains(&number) { number } else { min + number.rem_euclid(max - min + 1) }
}

fn digits(random: &mut fastrand::Rng, count: usize) -> String {
    (0..count).map(|_| random.digit(10)).collect()
}

fn letters(random: &mut fastrand::Rng, max: usize, of: &[char]) -> String {
    (0..random.usize(0..=max)).map(|_| of[random.usize(0..of.len())]).collect()
}

fn some_bytes(random: &mut fastrand::Rng, size: usize) -> Vec<u8> {
    (0..size).map(|_| random.u8(..)).collect()
}

fn day(random: &mut fastrand::Rng, first: i32, last: i32) -> (String, &'static str) {
    let year = random.i32(first..=last);
    let (year, era) = if year > 0 || first >= 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{:02}-{:02}", random.u8(1..=12), random.u8(1..=28)), era)
}

fn clock(random: &mut fastrand::Rng, fine: bool) -> String {
    let mut text =
        format!("{:02}:{:02}:{:02}", random.u8(0..24), random.u8(0..60), random.u8(0..60));
    if fine && random.bool() {
        let digits = random.usize(1..=6);
        // Writing to a String cannot fail.
        let _ = write!(text, ".{}", self::digits(random, digits));
    }
    text
}

fn uuid(number: u128) -> String {
    let hex = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn json(random: &mut fastrand::Rng, depth: usize) -> String {
    let blank = |random: &mut fastrand::Rng| if random.bool() { " " } else { "" };
    match random.u8(0..if depth == 0 { 5 } else { 7 }) {
        0 => "null".to_owned(),
        1 => random.bool().to_string(),
        2 => random.i64(..).to_string(),
        3 => format!("{}.{}", random.i32(..), random.u16(..)),
        4 => serde_json::Value::from(letters(random, 8, &LETTERS)).to_string(),
        5 => {
            let items: Vec<String> = (0..random.usize(0..4))
                .map(|_| format!("{}{}", blank(random), json(random, depth - 1)))
                .collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let items: Vec<String> = (0..random.usize(0..4))
                .map(|number| {
                    let name = letters(random, 3, &LETTERS[..3]);
                    // MariaDB keeps members of one name apart, PostgreSQL's jsonb the last one.
                    format!("\"{name}{number}\":{}{}", blank(random), json(random, depth - 1))
                })
                .collect();
            format!("{{{}}}", items.join(","))
        }
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A text as a literal that needs no escapes.
fn text(product: Product, text: &str) -> String {
    let hex = hex(text.as_bytes());
    match product {
        Product::Mysql => format!("CONVERT(x'{hex}' USING utf8mb4)"),
        Product::Sqlite => format!("CAST(x'{hex}' AS TEXT)"),
        Product::Postgres | Product::Pgbouncer => format!("convert_from('\\x{hex}', 'UTF8')"),
    }
}

fn bytes(product: Product, bytes: &[u8]) -> String {
    let hex = hex(bytes);
    match product {
        Product::Mysql | Product::Sqlite => format!("x'{hex}'"),
        Product::Postgres | Product::Pgbouncer => format!("'\\x{hex}'"),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
