//! Values at the edges: large, exact, not to be stored, very long.

use dunlin_testkit::servers::Product;

use super::super::world::{World, on_each};
use super::{ROWS, accounts, changed, json};

/// A table of three rows with a value of some type, and row code that gives the value back as it got
/// it, in Python.
fn handed_back(world: &World, column: &str, values: &[&str]) {
    let rows: Vec<String> =
        values.iter().enumerate().map(|(n, value)| format!("({}, {value}, NULL)", n + 1)).collect();
    world.sql(&format!(
        "CREATE TABLE accounts (id integer NOT NULL PRIMARY KEY, v {column}, w {column}); \
         INSERT INTO accounts VALUES {}",
        rows.join(", ")
    ));
    gives_back(world, "m['row']['v']");
}

fn gives_back(world: &World, value: &str) {
    world.write(
        "back.py",
        &format!(
            "import json, sys\nsys.stdin.buffer.readline()\nfor line in sys.stdin.buffer:\n    \
             m = json.loads(line)\n    if 'chunk' not in m:\n        \
             m = {{'key': m['key'], 'set': {{'w': {value}}}}}\n    \
             sys.stdout.write(json.dumps(m) + '\\n')\n    sys.stdout.flush()\n"
        ),
    );
}

fn row_code(world: &World, version: usize) {
    world.write(
        &format!("data_migrations/{version}_back.toml"),
        "[rows]\ntable = \"accounts\"\ncolumns = [\"v\"]\n\n\
         [program]\ncommand = [\"python3\", \"back.py\"]\n",
    );
}

/// (46) Numbers that other languages would round go to a program and come back as they were.
fn exact_numbers_stay_exact(product: Product) {
    let world = World::new(product, "chunk_exact");
    let cases: &[(&str, &[&str])] = match product {
        Product::Mysql => &[
            ("bigint unsigned", &["18446744073709551615", "9007199254740993", "0"]),
            (
                "decimal(60, 30)",
                &["0.1", "123456789012345678901234567890.000000000000000000000000000001", "-0.5"],
            ),
            ("double", &["1e300", "0.1", "-1e-300"]),
        ],
        Product::Sqlite => &[
            ("integer", &["9223372036854775807", "-9223372036854775808", "9007199254740993"]),
            ("real", &["1e300", "0.1", "-1e-300"]),
            ("text", &["'9007199254740993.000'", "'0x1'", "''"]),
        ],
        _ => &[
            ("bigint", &["9223372036854775807", "-9223372036854775808", "9007199254740993"]),
            ("numeric", &["0.10", "123456789012345678901234567890.000000000000000000001", "'NaN'"]),
            ("double precision", &["'Infinity'", "0.1", "-1e-300", "'-0'"]),
        ],
    };
    for (number, (column, values)) in cases.iter().enumerate() {
        handed_back(&world, column, values);
        row_code(&world, number + 1);
        world.run("data run").exits(0);
        let same = match product {
            Product::Sqlite => "w IS v AND typeof(w) = typeof(v)",
            Product::Mysql => "w <=> v",
            _ => "w::text = v::text",
        };
        let wrong = format!("SELECT count(*) FROM accounts WHERE NOT ({same})");
        assert_eq!(world.sql(&wrong), "0", "{column}");
        world.sql("DROP TABLE accounts");
    }
}
on_each!(exact_numbers_stay_exact: postgres, mysql, sqlite);

/// SQLite: a column may hold values of any class, whatever its type says. A program that gives all of
/// them back leaves all as they were, and so does one that answers with the columns it got.
#[test]
fn values_of_another_class_than_the_columns_come_back_as_they_were() {
    const TYPES: [&str; 14] = [
        "",
        "integer",
        "bigint",
        "text",
        "varchar(9)",
        "blob",
        "real",
        "double precision",
        "numeric",
        "decimal(10,2)",
        "uuid",
        "datetime",
        "boolean",
        "any",
    ];
    const VALUES: [&str; 20] = [
        "NULL",
        "5",
        "-9223372036854775808",
        "9223372036854775807",
        "1.5",
        "3.0",
        "1e300",
        "0.1 + 0.2",
        "9e999",
        "'text'",
        "'5'",
        "'1.50'",
        "' 7 '",
        "''",
        "'Infinity'",
        "'i' || char(0)",
        "char(0) || 'i5'",
        "CAST(x'ff00' AS TEXT)",
        "x'0f8fad5bd9cb469fa16570867728950e'",
        "x'31313131313131313131313131313131'",
    ];
    let world = World::new(Product::Sqlite, "chunk_classes");
    let columns: Vec<String> = TYPES
        .iter()
        .enumerate()
        .map(|(n, declared)| format!("c{n} {declared}, d{n} {declared}"))
        .collect();
    let names =
        |letter: char| -> String { (0..TYPES.len()).map(|n| format!(", {letter}{n}")).collect() };
    let rows: Vec<String> = VALUES
        .iter()
        .enumerate()
        .map(|(n, value)| format!("({}{})", n + 1, format!(", {value}").repeat(TYPES.len())))
        .collect();
    world.sql(&format!(
        "CREATE TABLE accounts (id integer NOT NULL PRIMARY KEY, {}); \
         INSERT INTO accounts (id{}) VALUES {}; CREATE TABLE kept AS SELECT id{} FROM accounts",
        columns.join(", "),
        names('c'),
        rows.join(", "),
        (0..TYPES.len())
            .map(|n| format!(", typeof(c{n}) AS t{n}, quote(c{n}) AS q{n}"))
            .collect::<String>()
    ));
    world.write(
        "back.py",
        "import json, sys\nsys.stdin.buffer.readline()\nfor line in sys.stdin.buffer:\n    \
         m = json.loads(line)\n    if 'chunk' not in m:\n        \
         row = m['row']\n        row.update({'d' + c[1:]: v for c, v in row.items()})\n        \
         m = {'key': m['key'], 'set': row}\n    \
         sys.stdout.write(json.dumps(m) + '\\n')\n    sys.stdout.flush()\n",
    );
    let quoted: Vec<String> = (0..TYPES.len()).map(|n| format!("\"c{n}\"")).collect();
    world.write(
        "data_migrations/1_back.toml",
        &format!(
            "[rows]\ntable = \"accounts\"\ncolumns = [{}]\n\n\
             [program]\ncommand = [\"python3\", \"back.py\"]\n",
            quoted.join(", ")
        ),
    );
    world.run("data run").exits(0);
    let mut wrong = Vec::new();
    for (n, declared) in TYPES.iter().enumerate() {
        for column in [format!("c{n}"), format!("d{n}")] {
            let rows = world.sql(&format!(
                "SELECT group_concat(id) FROM accounts JOIN kept USING (id) \
                 WHERE typeof({column}) <> t{n} OR quote({column}) <> q{n}"
            ));
            if !rows.is_empty() {
                wrong.push(format!("{declared} {column}: rows {rows}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// MariaDB: minus zero goes to a program, and comes back, with its sign; an undo gives it back too.
#[test]
fn minus_zero_keeps_its_sign() {
    let world = World::new(Product::Mysql, "chunk_minus_zero");
    let sign = "SELECT GROUP_CONCAT(CAST(w AS CHAR) ORDER BY id) FROM accounts";
    for (version, column) in [(1, "double"), (2, "float")] {
        handed_back(&world, column, &["-0e0", "0e0", "-1.5e0"]);
        row_code(&world, version);
        world.run("data run").exits(0);
        assert_eq!(world.sql(sign), "-0,0,-1.5", "{column}");
        world.sql("DROP TABLE accounts");
    }
    handed_back(&world, "double", &["0e0", "0e0", "0e0"]);
    world.sql("UPDATE accounts SET w = -0e0");
    world.data(
        3,
        "-- dunlin: chunk-by accounts\n-- dunlin: undo capture for 1 day\n\
         UPDATE accounts SET w = 7 WHERE :chunk;\n",
    );
    world.run("data run").exits(0);
    world.run("data undo 3 --yes").exits(0);
    assert_eq!(world.sql(sign), "-0,-0,-0");
}

/// (48) A value of 5 MB goes through a program and through a statement.
fn a_long_value_goes_through(product: Product) {
    let world = World::new(product, "chunk_long");
    let (long, column) = match product {
        Product::Mysql => ("REPEAT('ä€', 1000000)", "longtext"),
        Product::Sqlite => ("replace(hex(zeroblob(1250000)), '00', 'ä€')", "text"),
        _ => ("repeat('ä€', 1000000)", "text"),
    };
    handed_back(&world, column, &["'short'", long, "''"]);
    row_code(&world, 1);
    world.run("data run").exits(0);
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE v = w AND length(v) >= 0"), "3");
    world.sql("UPDATE accounts SET w = NULL WHERE id = 1");
    world.data(
        2,
        "-- dunlin: chunk-by accounts\n-- dunlin: chunk-bytes 1MB\n\
         UPDATE accounts SET v = w WHERE :chunk;\n",
    );
    world.run("data run").exits(0);
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE v = w AND length(v) >= 0"), "2");
    world.run("check --data 2").exits(0);
}
on_each!(a_long_value_goes_through: postgres, mysql, sqlite);

/// (48) Rows of 9 MB among small ones: a program gets each of them alone, whatever the chunk was to be.
fn large_rows_go_through_one_at_a_time(product: Product) {
    const LIMIT: u64 = 8 << 20;
    for (name, lock) in [("free", ""), ("locked", "lock = true\n")] {
        let world = World::new(product, &format!("chunk_large_{name}"));
        let (long, column) = match product {
            Product::Mysql => ("REPEAT('x', 9000000)", "longtext"),
            Product::Sqlite => ("replace(hex(zeroblob(4500000)), '00', 'xx')", "text"),
            _ => ("repeat('x', 9000000)", "text"),
        };
        let values: Vec<&str> =
            (1..=60).map(|n| if matches!(n, 10 | 11 | 40) { long } else { "'short'" }).collect();
        handed_back(&world, column, &values);
        world.write(
            "back.py",
            "import json, sys\nsys.stdin.buffer.readline()\nrows, size = 0, 0\n\
             for line in sys.stdin.buffer:\n    \
             m = json.loads(line)\n    if 'chunk' in m:\n        \
             open('chunks', 'a').write(f'{rows} {size}\\n')\n        rows, size = 0, 0\n    \
             else:\n        rows, size = rows + 1, size + len(m['row']['v'])\n        \
             m = {'key': m['key'], 'set': {'w': m['row']['v'][:1000]}}\n    \
             sys.stdout.write(json.dumps(m) + '\\n')\n    sys.stdout.flush()\n",
        );
        world.write(
            "data_migrations/1_back.toml",
            &format!(
                "[rows]\ntable = \"accounts\"\ncolumns = [\"v\"]\n{lock}\n\
                 [program]\ncommand = [\"python3\", \"back.py\"]\n"
            ),
        );
        world.run("data run --no-throttle").exits(0);
        assert_eq!(
            world.sql("SELECT count(*) FROM accounts WHERE substr(v, 1, 1000) = w"),
            "60",
            "{name}"
        );
        let chunks = std::fs::read_to_string(world.root().join("chunks")).expect("chunks");
        let sizes = chunks.lines().map(|line| line.split_once(' ').expect("two numbers"));
        let large: Vec<_> =
            sizes.filter(|(_, size)| size.parse::<u64>().expect("a number") > LIMIT).collect();
        assert_eq!(large, [("1", "9000000"); 3], "{name}: {chunks}");
    }
}
on_each!(large_rows_go_through_one_at_a_time: postgres, mysql, sqlite);

/// A program may set columns that it does not get; bytes of a domain are bytes too.
#[test]
fn bytes_of_a_domain_are_set_as_bytes() {
    let world = World::new(Product::Postgres, "chunk_domain");
    world.sql("CREATE DOMAIN raw AS bytea");
    handed_back(&world, "raw", &["'\\x00ff'", "'\\x'", "NULL"]);
    gives_back(&world, "'AP8='");
    row_code(&world, 1);
    world.run("data run").exits(0);
    assert_eq!(world.sql("SELECT count(*) FROM accounts WHERE w = '\\x00ff'"), "3");
}

/// MariaDB: the year 0 is none, as the number in SQL is, and not 2000, as its text would be.
#[test]
fn a_year_is_set_as_its_number() {
    let world = World::new(Product::Mysql, "chunk_year");
    handed_back(&world, "year", &["0", "2000", "2026"]);
    row_code(&world, 1);
    world.run("data run").exits(0);
    assert_eq!(world.sql("SELECT GROUP_CONCAT(w ORDER BY id) FROM accounts"), "0000,2000,2026");
    gives_back(&world, "0");
    world.run("data rerun 1").exits(0);
    world.run("data run").exits(0);
    assert_eq!(world.sql("SELECT GROUP_CONCAT(w) FROM accounts"), "0000,0000,0000");
}

/// (47) One row's bytes are no text: that row fails, with its key, and the others are done.
fn bytes_that_are_no_text_are_the_rows_fault(product: Product) {
    let world = accounts(product, "chunk_bytes", ROWS);
    let (bytes, bad, text, made) = match product {
        Product::Mysql => ("varbinary(20)", "x'ff00'", "varchar(20) CHARACTER SET utf8mb4", "raw"),
        _ => ("bytea", "'\\xff00'", "text", "convert_from(raw, 'UTF8')"),
    };
    let good = if product == Product::Mysql { "'good'" } else { "'\\x676f6f64'" };
    world.sql(&format!("ALTER TABLE accounts ADD COLUMN raw {bytes}, ADD COLUMN name {text}"));
    world.sql(&format!("UPDATE accounts SET raw = {good}"));
    world.sql(&format!("UPDATE accounts SET raw = {bad} WHERE id IN (13, 77)"));
    world.data(
        1,
        &format!(
            "{}-- dunlin: on-error quarantine\nUPDATE accounts SET name = {made} WHERE :chunk;\n",
            super::IN_CHUNKS
        ),
    );
    world.run("data run").exits(6);
    assert_eq!(
        world.sql("SELECT count(*) FROM accounts WHERE name = 'good'"),
        (ROWS - 2).to_string()
    );
    let listed = json(&world.run("data quarantine list 1 --json").exits(0));
    let keys: Vec<_> =
        listed["rows"].as_array().expect("rows").iter().map(|row| row["key"][0].clone()).collect();
    assert_eq!(keys, ["13", "77"]);
}
on_each!(bytes_that_are_no_text_are_the_rows_fault: postgres, mysql);

/// (47) A program gives a text with NUL in it, which PostgreSQL has no room for: the row's fault.
#[test]
fn a_text_with_nul_is_the_rows_fault() {
    let world = accounts(Product::Postgres, "chunk_nul", ROWS);
    world.sql("ALTER TABLE accounts ADD COLUMN name text");
    super::poison::doubling_program(
        &world,
        "on-error = \"quarantine\"\n",
        "printf '{\"key\":%s,\"set\":{\"name\":\"a\\\\u0000b\"}}\\n' \"$key\"; continue",
    );
    world.run("data run").exits(6);
    assert_eq!(changed(&world), ROWS - 1);
    let listed = json(&world.run("data quarantine list 1 --json").exits(0));
    assert_eq!(listed["rows"][0]["key"][0], "57");
}
