//! Keys of every type.

use super::super::World;
use super::text_literal;
use super::walk::{KeyedTable, covers_every_row_in_order};
use crate::servers::Product;

/// Texts that differ in case, in spaces at their end, in what must be quoted, and beyond ASCII.
const TEXTS: [&str; 22] = [
    "",
    " ",
    "a",
    "A",
    "a ",
    "a  ",
    "b",
    "B",
    "ab",
    "aB",
    "Ab",
    "it's",
    "\"quoted\"",
    "back\\slash",
    "\\",
    "'; DROP TABLE t; --",
    "%_",
    "é",
    "e\u{301}",
    "ß",
    "鸟 🐦",
    "two\nlines\tand a tab",
];

pub(in super::super) async fn whole_numbers_are_walked(world: World) {
    let rows = [
        "0",
        "1",
        "-1",
        "2",
        "1000",
        "-1000",
        "9007199254740993",
        "9223372036854775807",
        "-9223372036854775807",
        "4611686018427387904",
        "17",
        "18",
        "19",
    ];
    covers_every_row_in_order(
        &world,
        &KeyedTable {
            columns: "id bigint NOT NULL",
            index: "CREATE UNIQUE INDEX by_id ON t (id)",
            key: &["id"],
            order: "id",
            rows: rows.iter().map(|&row| row.to_owned()).collect(),
        },
    )
    .await;
}

pub(in super::super) async fn keys_are_walked_from_high_to_low(world: World) {
    covers_every_row_in_order(
        &world,
        &KeyedTable {
            columns: "id bigint NOT NULL",
            index: "CREATE UNIQUE INDEX by_id ON t (id DESC)",
            key: &["id"],
            order: "id DESC",
            rows: (-8..8).map(|number: i32| (number * 7).to_string()).collect(),
        },
    )
    .await;
}

pub(in super::super) async fn texts_are_walked_in_every_collation(world: World) {
    let types: &[&str] = match world.product {
        Product::Postgres | Product::Pgbouncer => {
            &["text", "text COLLATE \"C\"", "varchar(100)", "char(40)"]
        }
        Product::Mysql => &[
            "varchar(100)",
            "varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            "varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
            "char(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        ],
        Product::Sqlite => {
            &["text", "text COLLATE NOCASE", "varchar(100) COLLATE RTRIM", "char(40)"]
        }
    };
    let rows: Vec<String> = TEXTS.iter().map(|text| text_literal(&world, text)).collect();
    for text in types {
        covers_every_row_in_order(
            &world,
            &KeyedTable {
                columns: &format!("k {text} NOT NULL"),
                index: "CREATE UNIQUE INDEX by_k ON t (k)",
                key: &["k"],
                order: "k",
                rows: rows.clone(),
            },
        )
        .await;
    }
}

pub(in super::super) async fn composite_keys_are_walked_in_mixed_directions(world: World) {
    let mut rows = Vec::new();
    for a in [-1, 0, 7] {
        for b in ["", "x", "X y", "\\'"] {
            for c in [1, 2, 3] {
                rows.push(format!("{a}, {}, {c}", text_literal(&world, b)));
            }
        }
    }
    for directions in [["", "", ""], ["", " DESC", ""], [" DESC", "", " DESC"], [" DESC"; 3]] {
        let [a, b, c] = directions;
        let order = format!("a{a}, b{b}, c{c}");
        covers_every_row_in_order(
            &world,
            &KeyedTable {
                columns: "a integer NOT NULL, b varchar(40) NOT NULL, c smallint NOT NULL",
                index: &format!("CREATE UNIQUE INDEX by_all ON t ({order})"),
                key: &["a", "b", "c"],
                order: &order,
                rows: rows.clone(),
            },
        )
        .await;
    }
}

pub(in super::super) async fn keys_of_four_columns_are_walked(world: World) {
    let bits = |number: u32| (0..4).map(move |bit| (number >> bit & 1).to_string());
    for order in ["a, b, c, d", "a, b DESC, c DESC, d"] {
        covers_every_row_in_order(
            &world,
            &KeyedTable {
                columns: "a integer NOT NULL, b integer NOT NULL, c integer NOT NULL, \
                          d integer NOT NULL",
                index: &format!("CREATE UNIQUE INDEX by_all ON t ({order})"),
                key: &["a", "b", "c", "d"],
                order,
                rows: (0..16).map(|row| bits(row).collect::<Vec<_>>().join(", ")).collect(),
            },
        )
        .await;
    }
}

pub(in super::super) async fn bytes_are_walked(world: World) {
    let (column, literal): (&str, fn(&str) -> String) = match world.product {
        Product::Postgres | Product::Pgbouncer => {
            ("bytea", |hex| format!("decode('{hex}', 'hex')"))
        }
        Product::Mysql => ("varbinary(100)", |hex| format!("X'{hex}'")),
        Product::Sqlite => ("blob", |hex| format!("X'{hex}'")),
    };
    let rows = ["", "00", "0000", "01", "27", "5c", "5c27", "7f", "80", "ff", "ff00", "c3a9"];
    covers_every_row_in_order(
        &world,
        &KeyedTable {
            columns: &format!("k {column} NOT NULL"),
            index: "CREATE UNIQUE INDEX by_k ON t (k)",
            key: &["k"],
            order: "k",
            rows: rows.iter().map(|hex| literal(hex)).collect(),
        },
    )
    .await;
}

pub(in super::super) async fn times_are_walked(world: World) {
    let usual = [
        "'1970-01-01 00:00:00'",
        "'2026-01-10 09:30:00.000001'",
        "'2026-01-10 09:30:00.000002'",
        "'1000-01-01 00:00:00'",
        "'9999-12-31 23:59:59.999999'",
    ];
    let mut rows: Vec<String> = usual.iter().map(|&row| row.to_owned()).collect();
    let types: &[&str] = match world.product {
        Product::Postgres | Product::Pgbouncer => {
            rows.extend(
                ["'infinity'", "'-infinity'", "'0044-03-15 12:00:00 BC'"].map(String::from),
            );
            &["timestamp", "timestamptz"]
        }
        Product::Mysql => &["datetime(6)"],
        Product::Sqlite => &["timestamp"],
    };
    for time in types {
        covers_every_row_in_order(
            &world,
            &KeyedTable {
                columns: &format!("k {time} NOT NULL"),
                index: "CREATE UNIQUE INDEX by_k ON t (k)",
                key: &["k"],
                order: "k",
                rows: rows.clone(),
            },
        )
        .await;
    }
}

pub(in super::super) async fn uuids_are_walked(world: World) {
    if world.product == Product::Sqlite {
        return;
    }
    let mut random = fastrand::Rng::with_seed(7);
    let uuid = |high: u64, low: u64| uuid::Uuid::from_u64_pair(high, low);
    let mut rows: Vec<String> =
        (0..16).map(|_| format!("'{}'", uuid(random.u64(..), random.u64(..)))).collect();
    rows.push(format!("'{}'", uuid(0, 0)));
    rows.push(format!("'{}'", uuid(u64::MAX, u64::MAX)));
    covers_every_row_in_order(
        &world,
        &KeyedTable {
            columns: "k uuid NOT NULL",
            index: "CREATE UNIQUE INDEX by_k ON t (k)",
            key: &["k"],
            order: "k",
            rows,
        },
    )
    .await;
}

pub(in super::super) async fn decimals_are_walked(world: World) {
    let rows = [
        "0",
        "0.1",
        "0.10000000001",
        "-0.1",
        "1",
        "-1",
        "123456789012.5",
        "-123456789012.25",
        "99999999999999999999.5",
        "2",
    ];
    covers_every_row_in_order(
        &world,
        &KeyedTable {
            columns: "k numeric(40, 15) NOT NULL",
            index: "CREATE UNIQUE INDEX by_k ON t (k)",
            key: &["k"],
            order: "k",
            rows: rows.iter().map(|&row| row.to_owned()).collect(),
        },
    )
    .await;
}

pub(in super::super) async fn rows_without_a_key_are_a_chunk_of_their_own(world: World) {
    for direction in ["", " DESC"] {
        covers_every_row_in_order(
            &world,
            &KeyedTable {
                columns: "k integer",
                index: &format!("CREATE UNIQUE INDEX by_k ON t (k{direction})"),
                key: &["k"],
                order: &format!("k{direction}"),
                rows: ["NULL", "3", "1", "NULL", "-7", "NULL", "5"].map(String::from).to_vec(),
            },
        )
        .await;
    }
}

pub(in super::super) async fn an_empty_table_has_no_keys(world: World) {
    world.sql("CREATE TABLE t (id integer NOT NULL PRIMARY KEY)").await;
    let mut target = world.target().await;
    let work = super::planned(&mut target, "t", &["id"], &[]).await;
    let extent = target.extent(&work).await.unwrap();
    assert_eq!((extent.hi, extent.nulls), (None, false));
}
