//! Keys of all kinds, missing ones included.

use dunlin_testkit::servers::Product;

use super::super::world::{World, on_each};
use super::{
    DOUBLE_EACH, IN_CHUNKS, ROWS, accounts, armed, assert_each_once, dies, doubling, numbers, reset,
};

/// A table of accounts with another key: its columns, constraint, index, and the key's values for the
/// number `n`.
struct Keyed {
    name: &'static str,
    columns: &'static str,
    constraint: &'static str,
    index: &'static str,
    values: &'static str,
}

const fn keyed(
    name: &'static str,
    columns: &'static str,
    constraint: &'static str,
    index: &'static str,
    values: &'static str,
) -> Keyed {
    Keyed { name, columns, constraint, index, values }
}

const MIXED: &str = "CREATE UNIQUE INDEX mixed ON accounts (a DESC, b ASC)";

fn cases(product: Product) -> Vec<Keyed> {
    let mut cases = vec![
        keyed(
            "composite",
            "a integer NOT NULL, b integer NOT NULL",
            ", PRIMARY KEY (a, b)",
            "",
            "n % 7, n",
        ),
        keyed("big", "a bigint NOT NULL", ", PRIMARY KEY (a)", "", "9007199254740992 + n"),
        keyed("negative", "a bigint NOT NULL", ", PRIMARY KEY (a)", "", "-9223372036854775807 + n"),
        keyed("NULL", "a integer", ", UNIQUE (a)", "", "CASE WHEN n % 10 = 3 THEN NULL ELSE n END"),
        keyed("only NULL", "a integer", ", UNIQUE (a)", "", "NULL"),
    ];
    cases.extend(match product {
        Product::Postgres | Product::Pgbouncer => vec![
            keyed("mixed", "a integer NOT NULL, b text NOT NULL", "", MIXED, "n % 7, md5(n::text)"),
            keyed(
                "collation", "a text COLLATE \"en-x-icu\" NOT NULL", ", PRIMARY KEY (a)", "",
                "CASE n % 2 WHEN 0 THEN 'É''\\ ' || n ELSE 'e' || n END",
            ),
            keyed("numeric", "a numeric NOT NULL", ", PRIMARY KEY (a)", "", "n * 1.000000000000000000001"),
            keyed("descending", "a integer NOT NULL", "", "CREATE UNIQUE INDEX d ON accounts (a DESC)", "n"),
        ],
        Product::Mysql => vec![
            keyed(
                "collation", "a varchar(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL",
                ", PRIMARY KEY (a)", "", "CONCAT(IF(n % 2 = 0, 'É''\\\\ ', 'e'), n)",
            ),
            keyed("latin1", "a varchar(80) CHARACTER SET latin1 NOT NULL", ", PRIMARY KEY (a)", "", "CONCAT('ü', n)"),
            keyed("unsigned", "a bigint unsigned NOT NULL", ", PRIMARY KEY (a)", "",
                "CAST(18446744073709551000 AS UNSIGNED) + n"),
            keyed("decimal", "a decimal(30, 9) NOT NULL", ", PRIMARY KEY (a)", "", "n * 1.000000001"),
        ],
        Product::Sqlite => vec![
            keyed("mixed", "a integer NOT NULL, b text NOT NULL", "", MIXED, "n % 7, hex(n * 7919)"),
            keyed("collation", "a text NOT NULL COLLATE NOCASE", ", PRIMARY KEY (a)", "",
                "CASE n % 2 WHEN 0 THEN 'É''' ELSE 'e' END || n"),
            keyed("text with NULL", "a text PRIMARY KEY", "", "", "CASE WHEN n % 10 = 3 THEN NULL ELSE 'k' || n END"),
            keyed("classes", "a NOT NULL", ", PRIMARY KEY (a)", "",
                "CASE n % 4 WHEN 0 THEN n WHEN 1 THEN n + 0.5 WHEN 2 THEN 't' || n ELSE CAST('b' || n AS BLOB) END"),
        ],
    });
    cases
}

/// (42, 44, 46) Whatever the key is, the server compares it, and each row is done once, also when a
/// worker died in the middle: composite, from high to low, in any collation, beyond what other
/// languages count to, without a sign, decimal, NULL.
fn every_kind_of_key_is_walked_once(product: Product) {
    let world = World::new(product, "chunk_keys");
    for (case, version) in cases(product).into_iter().zip(1..) {
        world.sql(&format!(
            "CREATE TABLE accounts ({}, balance bigint NOT NULL, was bigint NOT NULL{});\n\
             INSERT INTO accounts SELECT {}, n % 97, n % 97 FROM {};\n{};\n",
            case.columns,
            case.constraint,
            case.values,
            numbers(product, ROWS),
            case.index
        ));
        doubling(&world, version, "");
        if case.name != "only NULL" {
            let start = armed(&world, "chunk.committed@4", "kill");
            dies(start, case.name);
        }
        world.run("data run --lease-wait 60s").exits(0);
        assert_each_once(&world, ROWS, case.name);
        world.sql("DROP TABLE accounts");
    }
}
on_each!(every_kind_of_key_is_walked_once: postgres, mysql, sqlite);

/// (41) A statement that changes a column of the key is refused before anything is done: a row could
/// be met twice, or never.
fn a_statement_that_changes_the_key_is_refused(product: Product) {
    let world = accounts(product, "chunk_key_change", ROWS);
    world.data(
        1,
        &format!("{IN_CHUNKS}UPDATE accounts SET balance = 0, id = id + 1000 WHERE :chunk;\n"),
    );
    let refused = world.run("data run");
    assert!(matches!(refused.code, Some(1 | 2)), "{}", refused.all());
    refused.says("key");
    assert_eq!(super::changed(&world), 0);
    assert_eq!(world.sql("SELECT max(id) FROM accounts"), "100");
}
on_each!(a_statement_that_changes_the_key_is_refused: postgres, mysql, sqlite);

/// (43) A table without a unique key is refused, with the index to create.
fn a_table_without_a_key_is_refused(product: Product) {
    let world = World::new(product, "chunk_no_key");
    world.sql(&format!(
        "CREATE TABLE accounts (a integer NOT NULL, balance bigint NOT NULL, was bigint NOT NULL);\n\
         INSERT INTO accounts SELECT n % 7, n % 97, n % 97 FROM {};\n\
         CREATE INDEX not_unique ON accounts (a);",
        numbers(product, ROWS)
    ));
    doubling(&world, 1, "");
    let ended = world.run("data run");
    assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.all());
    ended.says("CREATE UNIQUE INDEX");
    assert_eq!(super::changed(&world), 0);
    world.data(1, &format!("{IN_CHUNKS}-- dunlin: chunk-key a\n{DOUBLE_EACH}"));
    let ended = world.run("data run");
    assert!(matches!(ended.code, Some(1 | 2)), "not unique\n{}", ended.all());
    assert_eq!(super::changed(&world), 0);
}
on_each!(a_table_without_a_key_is_refused: postgres, mysql, sqlite);

/// (42) An empty table is done at once.
fn an_empty_table_is_done_at_once(product: Product) {
    let world = accounts(product, "chunk_empty", ROWS);
    world.sql("DELETE FROM accounts");
    doubling(&world, 1, "");
    world.run("data run").exits(0);
    world.run("check --data 1").exits(0);
    reset(&world);
}
on_each!(an_empty_table_is_done_at_once: postgres, mysql, sqlite);

/// (42) A program can't name rows whose key is NULL: that is said, and the run ends, with one worker
/// and with several. Without such rows, or with a filter that leaves them out, it goes through.
fn row_code_names_rows_by_keys_without_null(product: Product) {
    let world = World::new(product, "chunk_null_rows");
    world.sql(&format!(
        "CREATE TABLE accounts (a integer, w integer, UNIQUE (a));\n\
         INSERT INTO accounts SELECT CASE WHEN n % 10 = 3 THEN NULL ELSE n END, NULL FROM {};",
        numbers(product, ROWS)
    ));
    world.write(
        "one.py",
        "import json, sys\nsys.stdin.readline()\nfor line in sys.stdin:\n    m = json.loads(line)\n    \
         print(line.strip() if 'chunk' in m else json.dumps({'key': m['key'], 'set': {'w': 1}}))\n    \
         sys.stdout.flush()\n",
    );
    let file = |version: u32, filter: &str, workers: u32| {
        world.write(
            &format!("data_migrations/{version}_one.toml"),
            &format!(
                "[rows]\ntable = \"accounts\"\nkey = [\"a\"]\ncolumns = [\"w\"]\n{filter}\n\
                 [program]\ncommand = [\"python3\", \"one.py\"]\n\
                 [migration]\nchunk-rows = 20\nworkers = {workers}\n"
            ),
        );
    };
    for workers in [1, 4] {
        file(1, "", workers);
        let refused = world.run("data run");
        assert_eq!(refused.code, Some(1), "{}", refused.all());
        refused.says("rows whose key is NULL, which no program can name");
        assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE a IS NULL AND w = 1"), "0");
    }
    file(1, "where = \"a IS NOT NULL\"", 4);
    world.run("data run").exits(0);
    let wrong = "SELECT count(*) FROM accounts WHERE (a IS NULL) <> (w IS NULL)";
    assert_eq!(world.sql(wrong), "0");
    world.sql("DELETE FROM accounts WHERE a IS NULL; UPDATE accounts SET w = NULL");
    file(2, "", 2);
    world.run("data run").exits(0);
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE w IS NULL"), "0");
}
on_each!(row_code_names_rows_by_keys_without_null: postgres, mysql, sqlite);
