//! Files whose chunks would leave other rows than one run: refused before a row is changed, by what the
//! catalogue tells of other tables. Those that are nearly the same run, and leave what one run leaves.

use dunlin_testkit::servers::Product;

use super::super::world::{World, on_each};
use super::{IN_CHUNKS, ROWS, accounts};

fn remove(world: &World, version: i64) {
    let file = format!("data_migrations/{version}_change.sql");
    std::fs::remove_file(world.root().join(file)).expect("the file");
}

fn statements(world: &World, version: i64, statements: &str) {
    world.data(version, &format!("{IN_CHUNKS}{statements};\n"));
}

#[track_caller]
fn refused(world: &World, version: i64, text: &str, words: &[&str]) {
    statements(world, version, text);
    let before = world.sql("SELECT count(*), sum(balance), sum(was) FROM accounts");
    let ended = world.run("data run").exits(1);
    words.iter().fold(ended, |ended, word| ended.says(word));
    assert_eq!(world.sql("SELECT count(*), sum(balance), sum(was) FROM accounts"), before);
    remove(world, version);
}

/// A foreign key takes rows along that other chunks read, unless they hang on the chunk's own rows.
fn rows_that_a_foreign_key_takes_along(product: Product) {
    let world = accounts(product, "apart_cascade", ROWS);
    world.sql(
        "CREATE TABLE reviews (id integer NOT NULL PRIMARY KEY, author integer NOT NULL, \
         reviewer integer NOT NULL, FOREIGN KEY (author) REFERENCES accounts (id) ON DELETE CASCADE);
         CREATE TABLE marks (id integer NOT NULL PRIMARY KEY, review integer, owner integer, \
         FOREIGN KEY (review) REFERENCES reviews (id) ON DELETE SET NULL);
         INSERT INTO reviews SELECT id, id, id + 10 FROM accounts WHERE id <= 80;
         INSERT INTO marks SELECT id, id, id + 10 FROM accounts WHERE id <= 80;",
    );
    refused(
        &world,
        1,
        "DELETE FROM accounts WHERE NOT EXISTS (SELECT 1 FROM reviews r WHERE r.reviewer = accounts.id) \
         AND :chunk",
        &["reviews", "foreign key", "in other chunks"],
    );
    refused(
        &world,
        2,
        "DELETE FROM accounts WHERE NOT EXISTS (SELECT 1 FROM marks m WHERE m.owner = accounts.id \
         AND m.review IS NOT NULL) AND :chunk",
        &["marks", "foreign key", "in other chunks"],
    );
    let own = "DELETE FROM accounts WHERE EXISTS (SELECT 1 FROM reviews r WHERE r.author = accounts.id) \
               AND :chunk";
    statements(&world, 3, own);
    world.run("data run").exits(0);
    assert_eq!(world.sql("SELECT count(*) FROM accounts"), "20");
    assert_eq!(world.sql("SELECT count(*) FROM reviews"), "0");
}
on_each!(rows_that_a_foreign_key_takes_along: postgres, mysql);

/// A unique index finds no NULL, so a group of NULLs would be there once for each chunk.
fn groups_of_nulls(product: Product) {
    let world = accounts(product, "apart_nulls", ROWS);
    world.sql(
        "ALTER TABLE accounts ADD COLUMN kind integer;
         UPDATE accounts SET kind = CASE WHEN id % 3 = 0 THEN NULL ELSE id % 3 END;
         CREATE TABLE kinds (kind integer UNIQUE, n bigint NOT NULL);
         CREATE TABLE solid (kind integer NOT NULL PRIMARY KEY, n bigint NOT NULL);",
    );
    let count = |into: &str, more: &str| {
        let query = format!(
            "INSERT INTO {into} (kind, n) SELECT kind, count(*) FROM accounts WHERE {more}:chunk GROUP BY kind"
        );
        match product {
            Product::Mysql => format!("{query} ON DUPLICATE KEY UPDATE n = n + VALUES(n)"),
            _ => format!("{query} ON CONFLICT (kind) DO UPDATE SET n = {into}.n + excluded.n"),
        }
    };
    refused(&world, 1, &count("kinds", ""), &["NULL"]);
    statements(&world, 2, &count("kinds", "kind IS NOT NULL AND "));
    statements(&world, 3, &count("solid", "id % 3 <> 0 AND "));
    world.run("data run").exits(0);
    assert_eq!(world.sql("SELECT count(*), sum(n) FROM kinds"), world.sql("SELECT 2, 67"));
    assert_eq!(world.sql("SELECT count(*), sum(n) FROM solid"), world.sql("SELECT 2, 67"));
}
on_each!(groups_of_nulls: postgres, mysql, sqlite);

/// A text may be the same number as another text.
fn texts_that_are_one_number(product: Product) {
    let world = accounts(product, "apart_types", ROWS);
    world.sql(
        "CREATE TABLE codes (code varchar(20) NOT NULL PRIMARY KEY, n integer);
         INSERT INTO codes VALUES ('1', 1), ('01', 2), ('2', 3);
         CREATE TABLE orders (id integer NOT NULL PRIMARY KEY, code integer, text varchar(20), n integer NOT NULL);
         INSERT INTO orders VALUES (1, 1, '1', 0), (2, 2, '2', 0);",
    );
    let add = |column: &str| {
        let statement = match product {
            Product::Mysql => format!(
                "UPDATE orders o JOIN codes c ON c.code = o.{column} SET o.n = o.n + 1 WHERE :chunk(c)"
            ),
            _ => format!(
                "UPDATE orders SET n = orders.n + 1 FROM codes c WHERE c.code = orders.{column} AND :chunk(c)"
            ),
        };
        format!("-- dunlin: chunk-by codes\n-- dunlin: chunk-rows 1\n{statement};\n")
    };
    world.data(1, &add("code"));
    world.run("data run").exits(1).says("joined with rows of several chunks");
    assert_eq!(world.sql("SELECT sum(n) FROM orders"), "0");
    remove(&world, 1);
    world.data(2, &add("text"));
    world.run("data run").exits(0);
    assert_eq!(world.sql("SELECT sum(n) FROM orders"), "2");
}
on_each!(texts_that_are_one_number: mysql, sqlite);

/// What one partition has is the whole table's as well.
#[test]
fn a_partition_is_its_tables() {
    let world = World::new(Product::Postgres, "apart_partition");
    world.sql(
        "CREATE TABLE accounts (id integer NOT NULL PRIMARY KEY, kind integer, balance bigint NOT NULL, \
         was bigint NOT NULL DEFAULT 0) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF accounts FOR VALUES FROM (0) TO (50);
         CREATE TABLE high PARTITION OF accounts FOR VALUES FROM (50) TO (1000);
         INSERT INTO accounts SELECT n, n % 3, n FROM generate_series(1, 99) AS g(n);",
    );
    refused(
        &world,
        1,
        "UPDATE accounts a SET balance = (SELECT sum(b.balance) FROM low b WHERE b.kind = a.kind) WHERE :chunk(a)",
        &["low", "in other chunks"],
    );
}

/// Of rows of several chunks the first is kept, as one run keeps it, however many workers are asked for.
fn the_first_of_several_rows_is_kept(product: Product) {
    let world = accounts(product, "first_kept", ROWS * 10);
    world.sql(
        "CREATE TABLE firsts (slot integer NOT NULL PRIMARY KEY, account integer NOT NULL); \
         CREATE TABLE slots (slot integer NOT NULL PRIMARY KEY); \
         CREATE TABLE own (account integer NOT NULL PRIMARY KEY, slot integer NOT NULL);",
    );
    let keep = |table: &str, columns: &str, by: &str, values: &str| match product {
        Product::Mysql => {
            format!(
                "INSERT IGNORE INTO {table} ({columns}) SELECT {values} FROM accounts WHERE :chunk"
            )
        }
        _ => format!(
            "INSERT INTO {table} ({columns}) SELECT {values} FROM accounts WHERE :chunk \
             ON CONFLICT ({by}) DO NOTHING"
        ),
    };
    let slot = if product == Product::Mysql { "id MOD 7" } else { "id % 7" };
    let told = "which of several rows";
    let run = |version: i64, text: &str| {
        world.data(version, &format!("-- dunlin: workers 4\n{IN_CHUNKS}{text};\n"));
        let plan = world.run(&format!("data plan {version}")).exits(0);
        let ended = world.run("data run").exits(0);
        assert_eq!(plan.stdout.contains(told), ended.stderr.contains(told));
        plan.stdout.contains(told)
    };
    assert!(run(1, &keep("firsts", "slot, account", "slot", &format!("{slot}, id"))));
    let kept = world.sql("SELECT count(*), sum(account) FROM firsts WHERE account <= 7");
    assert_eq!(kept.replace('\t', "|").trim(), "7|28");
    // Nothing but what they are found by, or rows of one chunk: the order tells nothing.
    let by_itself = run(2, &keep("slots", "slot", "slot", slot));
    let own = run(3, &keep("own", "account, slot", "account", &format!("id, {slot}")));
    // MariaDB's IGNORE doesn't say by which columns rows are found.
    let unsaid = product == Product::Mysql;
    assert_eq!((by_itself, own), (unsaid, unsaid));
    assert_eq!(world.sql("SELECT count(*) FROM own"), (ROWS * 10).to_string());
}
on_each!(the_first_of_several_rows_is_kept: postgres, mysql, sqlite);
