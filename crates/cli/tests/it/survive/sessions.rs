//! What statements of a file find in their session because others before them left it there: our own
//! rows between them change none of it, and a session that takes over does not make it up.

use dunlin_testkit::servers::Product;

use super::world::{World, on_each};

/// A file that runs statement by statement gets the numbers that its own rows were given.
#[test]
fn the_last_number_is_the_files_own() {
    let world = World::new(Product::Mysql, "last_number");
    world.schema(
        1,
        "CREATE TABLE role (id int AUTO_INCREMENT PRIMARY KEY, n varchar(9)) AUTO_INCREMENT = 41;\n\
         CREATE TABLE perm (role_id int, n varchar(9));\n",
    );
    world.data(
        2,
        "INSERT INTO role (n) VALUES ('admin');\n\
         CREATE TABLE zz (a int);\n\
         INSERT INTO perm VALUES (LAST_INSERT_ID(), 'all');\n\
         INSERT INTO perm VALUES (LAST_INSERT_ID(), 'some');\n\
         INSERT INTO role (n) VALUES ('guest');\n\
         SET @role = LAST_INSERT_ID();\n\
         CREATE TABLE yy (a int);\n\
         INSERT INTO perm VALUES (@role, 'none');\n",
    );
    world.data(
        3,
        "SET @before = LAST_INSERT_ID();\nCREATE TABLE xx (a int);\n\
         INSERT INTO perm VALUES (@before, 'new');\nCREATE TABLE ww (a int);\n",
    );
    world.run("migrate").exits(0);
    let seen = "SELECT GROUP_CONCAT(role_id, n ORDER BY role_id, n) FROM perm";
    assert_eq!(world.sql(seen), "0new,41all,41some,42none");
}

/// Killed behind the row whose number, count or temporary copy the rest wants: it does not go on with
/// another one, and does once the file says what it is.
#[test]
fn what_went_with_its_session_is_not_made_up() {
    let world = World::new(Product::Mysql, "session_gone");
    world.schema(1, "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, n int);\n");
    world.run("migrate").exits(0);
    let counted = "SET @n = (SELECT COUNT(*) FROM t);\nINSERT INTO t (n) VALUES (0);\n\
         CREATE TABLE u2 (a int);\n";
    let used = "UPDATE t SET n = @n;\n";
    world.schema(2, &format!("{counted}{used}"));
    world.die_at("step.executed@2");
    world.sql("INSERT INTO t (n) VALUES (7)");
    let refused = world.run("migrate").exits(1);
    refused.says("takes over @n from statement 1").says("migrations/2_change.sql:4");
    assert_eq!(world.sql("SELECT COUNT(*) FROM t WHERE n = 1"), "0");
    world.schema(2, &format!("{counted}SET @n = 0;\n{used}"));
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT SUM(n) FROM t"), "0");

    let numbered = "INSERT INTO t (n) VALUES (1);\nCREATE TABLE u3 (a int);\n";
    world.schema(3, &format!("{numbered}INSERT INTO t (n) VALUES (LAST_INSERT_ID());\n"));
    world.die_at("step.executed");
    world.run("migrate").exits(1).says("takes over LAST_INSERT_ID() from statement 1");
    world.schema(3, numbered);
    world.run("migrate").exits(0);

    world.schema(
        4,
        "CREATE TEMPORARY TABLE kept AS SELECT * FROM t;\nALTER TABLE t ADD COLUMN m int;\n\
         INSERT INTO t (n) SELECT n FROM kept;\n",
    );
    world.die_at("step.executed");
    world.run("migrate").exits(1).says("takes over the temporary table kept from statement 1");
}

/// What was computed behind the last statement that changed something is computed again, and what is
/// written in the file is set again: it goes on by itself.
#[test]
fn what_can_be_had_again_is() {
    let world = World::new(Product::Mysql, "session_again");
    world.schema(1, "CREATE TABLE t (n int);\n");
    world.run("migrate").exits(0);
    world.schema(
        2,
        "SET @five = 2 + 3;\nSET SESSION sql_mode = (SELECT REPLACE(@@sql_mode, 'ANSI', ''));\n\
         CREATE TABLE u (a int);\n\
         SET @there = (SELECT COUNT(*) FROM information_schema.columns\n\
         WHERE table_schema = DATABASE() AND table_name = 't' AND column_name = 'm');\n\
         SET @text = IF(@there > 0, 'DO 0', 'ALTER TABLE t ADD COLUMN m int');\n\
         PREPARE change_it FROM @text;\nEXECUTE change_it;\nDEALLOCATE PREPARE change_it;\n\
         INSERT INTO t VALUES (@five, 6);\n",
    );
    // Before the text is run, and behind it.
    world.die_at("step.opened@7");
    world.run("migrate").exits(1).says("settle 2 did-not");
    world.run("settle 2 did-not").exits(0);
    world.die_at("commit.begun");
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT CONCAT(n, m) FROM t"), "56");
}

/// A file that copies into a temporary table and back has no definition in it: one transaction.
#[test]
fn temporary_tables_are_part_of_a_transaction() {
    let world = World::new(Product::Mysql, "session_temporary");
    world.schema(1, "CREATE TABLE t (n int);\nINSERT INTO t VALUES (1), (2), (2);\n");
    world.run("migrate").exits(0);
    let file = "CREATE TEMPORARY TABLE kept AS SELECT DISTINCT n FROM t;\nDELETE FROM t;\n\
         INSERT INTO t SELECT n FROM kept;\nDROP TEMPORARY TABLE kept;\n";
    world.data(2, &format!("{file}INSERT INTO nowhere VALUES (1);\n"));
    world.run("migrate").exits(1);
    assert_eq!(world.sql("SELECT COUNT(*) FROM t"), "3");
    world.data(2, file);
    world.die_at("commit.executed");
    assert_eq!(world.sql("SELECT COUNT(*) FROM t"), "3");
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT COUNT(*) FROM t"), "2");
}

/// What tells of the statement right before it can't be had where the journal stands in between.
#[test]
fn counts_of_the_statement_before_are_refused_between_steps() {
    let world = World::new(Product::Mysql, "session_counts");
    world.schema(1, "CREATE TABLE t (n int);\nINSERT INTO t VALUES (1), (2);\n");
    let counts = "UPDATE t SET n = n + 1;\nINSERT INTO t VALUES (ROW_COUNT());\n";
    world.data(2, &format!("CREATE TABLE u (n int);\n{counts}"));
    let refused = world.run("migrate").exits(2);
    refused.says("data_migrations/2_change.sql:3:1: ROW_COUNT() tells of the statement before it");
    world.data(2, counts);
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT MIN(n), MAX(n), COUNT(*) FROM t"), "2\t3\t3");
}

/// A function of somebody's that a SET calls is called once.
#[test]
fn a_function_that_a_setting_calls_is_called_once() {
    let world = World::new(Product::Mysql, "session_function");
    world.schema(
        1,
        "CREATE TABLE t (n int);\nCREATE FUNCTION add_one() RETURNS int MODIFIES SQL DATA\n\
         BEGIN INSERT INTO t VALUES (1); RETURN 1; END;\n",
    );
    world.run("migrate").exits(0);
    world.schema(2, "SET @a = add_one();\nCREATE TABLE u (a int);\nCREATE TABLE v (a int);\n");
    world.die_at("commit.done");
    world.die_at("step.executed@2");
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT COUNT(*) FROM t"), "1");
}

/// `SET ROLE` holds for all that comes after it, also where each statement runs by itself; the
/// ledger's rows are the login's.
#[test]
fn a_role_holds_between_steps() {
    let world = World::new(Product::Postgres, "session_role");
    let role =
        world.sql("SELECT 'owner_' || oid FROM pg_database WHERE datname = current_database()");
    world.sql(&format!("CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}"));
    world.schema(
        1,
        &format!(
            "-- dunlin: no-transaction\nSET ROLE {role};\nCREATE TABLE a (n int);\n\
             CREATE INDEX CONCURRENTLY i ON a (n);\nCREATE TABLE b (n int);\n\
             RESET ROLE;\nCREATE TABLE c (n int);\n"
        ),
    );
    world.die_at("step.opened");
    world.run("migrate").exits(0);
    let owners = "SELECT string_agg((tableowner LIKE 'owner%')::text, ' ' ORDER BY tablename) \
         FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(world.sql(owners), "true true false");
    world.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Half of it is kept: it is neither skipped nor retired as if nothing had run.
fn what_is_half_done_is_not_put_out_of_sight(product: Product) {
    let world = World::new(product, "half_skipped");
    world.schema(1, "CREATE TABLE t (n integer);\nINSERT INTO t VALUES (1);\n");
    let header = "-- dunlin: no-transaction\nUPDATE t SET n = n * 2 + 1;\n";
    world.data(2, &format!("{header}INSERT INTO nowhere VALUES (1);\n"));
    world.run("migrate").exits(1);
    for words in ["data skip 2 --because no", "data retire 2 --because no"] {
        world.run(words).exits(2).says("data 2 stopped half-way: 1 of its statements is kept");
    }
    world.data(2, header);
    world.run("data run 2").exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), "3");
}
on_each!(what_is_half_done_is_not_put_out_of_sight: postgres, mysql, sqlite);

/// Without `chunk-by` the statement of a half-done backfill would run over all rows.
fn rows_that_chunks_did_are_not_done_again(product: Product) {
    let world = World::new(product, "half_chunked");
    let rows: Vec<String> = (1..=40).map(|id| format!("({id}, 0)")).collect();
    world.schema(
        1,
        &format!(
            "CREATE TABLE t (id integer PRIMARY KEY, n integer);\nINSERT INTO t VALUES {};\n",
            rows.join(", ")
        ),
    );
    let header = "-- dunlin: chunk-by t\n-- dunlin: chunk-rows 10\n";
    let chunked = format!("{header}UPDATE t SET n = n + 1 WHERE :chunk;\n");
    world.data(2, &chunked);
    world.die_at("chunk.committed@2");
    world.data(2, "UPDATE t SET n = n + 1;\n");
    world.run("migrate").exits(1).says("they would be done once more");
    world.data(2, &chunked);
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT MIN(n) + MAX(n) * 10 FROM t"), "11");
}
on_each!(rows_that_chunks_did_are_not_done_again: postgres, mysql, sqlite);
