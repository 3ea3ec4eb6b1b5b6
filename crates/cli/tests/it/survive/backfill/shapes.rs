//! Tables that change while they are walked, and tables that are several, or none.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::super::world::{World, on_each};
use super::{
    DOUBLE_EACH, IN_CHUNKS, ROWS, accounts, assert_each_once, changed, doubling, halted, numbers,
};

/// (53) A column is added in the middle of the walk: the run plans again, and goes on.
fn a_column_that_is_added_meanwhile_is_no_trouble(product: Product) {
    let world = accounts(product, "chunk_column", ROWS);
    doubling(&world, 1, "");
    let run = halted(&world, "chunk.sending@4");
    world.sql("ALTER TABLE accounts ADD COLUMN note text");
    run.signal(Signal::CONT);
    run.end().exits(0);
    assert_each_once(&world, ROWS, "with a column more");
}
on_each!(a_column_that_is_added_meanwhile_is_no_trouble: postgres, mysql, sqlite);

/// (53) The key's type is changed in the middle: the checkpoint may mean something else, so the run
/// stops and says why.
fn a_key_of_another_type_stops_the_run(product: Product) {
    let world = accounts(product, "chunk_key_type", ROWS);
    doubling(&world, 1, "");
    let run = halted(&world, "chunk.sending@4");
    let before = changed(&world);
    world.sql(match product {
        Product::Mysql => "ALTER TABLE accounts MODIFY id varchar(20) NOT NULL",
        _ => "ALTER TABLE accounts ALTER COLUMN id TYPE text",
    });
    run.signal(Signal::CONT);
    let ended = run.end();
    assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.all());
    ended.says("another than when it began").says("data rerun 1");
    assert_eq!(changed(&world), before);
    world.run("check --data 1").exits(3);
}
on_each!(a_key_of_another_type_stops_the_run: postgres, mysql);

/// (53) The table is dropped, or its column that the statement needs.
fn a_column_that_is_dropped_stops_the_run(product: Product) {
    let world = accounts(product, "chunk_dropped", ROWS);
    doubling(&world, 1, "");
    let run = halted(&world, "chunk.sending@4");
    world.sql("ALTER TABLE accounts DROP COLUMN balance");
    run.signal(Signal::CONT);
    run.end().exits(1).says("balance");
    world.run("check --data 1").exits(3);
}
on_each!(a_column_that_is_dropped_stops_the_run: postgres, mysql, sqlite);

/// (51) A partitioned table is walked as one: each row once, in whichever partition it is.
fn a_partitioned_table_is_walked_once(product: Product) {
    let world = World::new(product, "chunk_partitions");
    let (columns, partitions) = match product {
        Product::Mysql => (") PARTITION BY HASH (id) PARTITIONS 4", String::new()),
        _ => (
            ") PARTITION BY RANGE (id)",
            (0..4)
                .map(|n| {
                    format!(
                        "CREATE TABLE part{n} PARTITION OF accounts FOR VALUES FROM ({}) TO ({});\n",
                        n * 30,
                        (n + 1) * 30
                    )
                })
                .collect(),
        ),
    };
    world.sql(&format!(
        "CREATE TABLE accounts (id integer NOT NULL PRIMARY KEY, balance bigint NOT NULL, \
         was bigint NOT NULL{columns};\n{partitions}\
         INSERT INTO accounts SELECT n, n % 97, n % 97 FROM {};\n",
        numbers(product, ROWS)
    ));
    doubling(&world, 1, "");
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "over partitions");
}
on_each!(a_partitioned_table_is_walked_once: postgres, mysql);

/// (51) A view is refused: it has no rows of its own.
fn a_view_is_refused(product: Product) {
    let world = accounts(product, "chunk_view", ROWS);
    world.sql("CREATE VIEW seen AS SELECT * FROM accounts");
    world.data(
        1,
        "-- dunlin: chunk-by seen\nUPDATE seen SET balance = balance * 2 + 1 WHERE :chunk;\n",
    );
    let ended = world.run("data run");
    assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.all());
    assert_eq!(changed(&world), 0);
}
on_each!(a_view_is_refused: postgres, mysql, sqlite);

/// (55) The file is edited while half of it is done: what is left would be done otherwise than what
/// is done, so it is refused.
fn a_file_that_is_edited_meanwhile_is_refused(product: Product) {
    let world = accounts(product, "chunk_edited", ROWS);
    doubling(&world, 1, "");
    super::dies(super::armed(&world, "chunk.committed@3", "kill"), "chunk.committed@3");
    let before = changed(&world);
    world.data(1, &format!("{IN_CHUNKS}UPDATE accounts SET balance = balance * 3 WHERE :chunk;\n"));
    let ended = world.run("data run");
    assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.all());
    ended.says("others than those").says("data rerun 1");
    assert_eq!(changed(&world), before);
    // How it runs may change.
    world.data(1, &format!("{IN_CHUNKS}-- dunlin: chunk-time 1s\n{DOUBLE_EACH}"));
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "as it was");
}
on_each!(a_file_that_is_edited_meanwhile_is_refused: postgres, sqlite);

/// A statement without `:chunk` would run over the whole table for each chunk: refused.
#[test]
fn a_statement_without_its_chunk_is_refused() {
    let world = accounts(Product::Sqlite, "chunk_forgotten", ROWS);
    world.data(1, &format!("{IN_CHUNKS}{DOUBLE_EACH}UPDATE accounts SET was = 0;\n"));
    world.run("data run").exits(2).says(":chunk");
    assert_eq!(changed(&world), 0);
}

/// Rows that a backfill adds to the table that it walks are not its business: their numbers must be
/// above the end of the walk.
fn rows_that_are_added_are_not_done(product: Product) {
    let world = World::new(product, "chunk_added");
    let id = match product {
        Product::Mysql => "bigint NOT NULL AUTO_INCREMENT PRIMARY KEY",
        Product::Sqlite => "INTEGER PRIMARY KEY",
        _ => "bigserial PRIMARY KEY",
    };
    world.sql(&format!(
        "CREATE TABLE numbered (id {id}, n bigint NOT NULL);\n\
         INSERT INTO numbered (id, n) SELECT n, n FROM {};\n",
        numbers(product, ROWS)
    ));
    world.data(
        1,
        "-- dunlin: chunk-by numbered\n-- dunlin: chunk-rows 10\n\
         INSERT INTO numbered (n) SELECT n FROM numbered WHERE :chunk;\n",
    );
    if product == Product::Postgres {
        // The sequence knows nothing of the rows, and would begin at 1.
        world.run("data run").exits(1).says("ahead of the walk").says("setval");
        assert_eq!(world.sql("SELECT count(*) FROM numbered"), ROWS.to_string());
        world.sql(&format!("SELECT setval('numbered_id_seq', {ROWS})"));
    }
    world.run("data run").exits(0);
    let twice = "SELECT count(*) FROM (SELECT n FROM numbered GROUP BY n HAVING count(*) = 2) AS t";
    assert_eq!(world.sql(twice), ROWS.to_string());
}
on_each!(rows_that_are_added_are_not_done: postgres, mysql, sqlite);

/// A key does not move through another name of its rows: a view, or the parent of the partition that
/// is walked.
fn a_key_is_not_moved_through_another_name(product: Product) {
    let world = World::new(product, "chunk_names");
    let (parent, child) = match product {
        Product::Postgres => (
            " PARTITION BY RANGE (id)",
            "CREATE TABLE walked PARTITION OF everything FOR VALUES FROM (0) TO (100000);\n",
        ),
        _ => ("", "CREATE VIEW walked AS SELECT * FROM everything;\n"),
    };
    world.sql(&format!(
        "CREATE TABLE everything (id integer NOT NULL PRIMARY KEY, n integer NOT NULL){parent};\n{child}\
         INSERT INTO everything SELECT n, n FROM {};\n",
        numbers(product, ROWS)
    ));
    // What is walked, and what is written.
    let (walked, written) = match product {
        Product::Postgres => ("walked", "everything"),
        _ => ("everything", "walked"),
    };
    let update = match product {
        Product::Mysql => {
            format!(
                "UPDATE {written} o JOIN {walked} p ON o.id = p.id SET o.id = 7 WHERE :chunk(p)"
            )
        }
        _ => format!(
            "UPDATE {written} AS o SET id = 7 FROM {walked} AS p WHERE o.id = p.id AND :chunk(p)"
        ),
    };
    world.data(1, &format!("-- dunlin: chunk-by {walked}\n{update};\n"));
    world.run("data run").exits(1).says("unnoticed");
    assert_eq!(world.sql("SELECT count(*) FROM everything WHERE id = n"), ROWS.to_string());
}
on_each!(a_key_is_not_moved_through_another_name: postgres, mysql, sqlite);
