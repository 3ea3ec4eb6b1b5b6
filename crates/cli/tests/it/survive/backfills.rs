//! Data migrations in chunks: held, hurried and given up from elsewhere, and killed in their middle.

use dunlin_testkit::servers::Product;

use super::world::{Run, World, on_each};

/// How many rows the table has.
const ROWS: u32 = 4_000;

/// A table, and a migration over it that must meet each row once; slow until somebody hurries it.
fn world(product: Product, name: &str) -> World {
    let world = World::new(product, name);
    world.schema(
        1,
        "CREATE TABLE digits (d integer);\n\
         INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);\n\
         CREATE TABLE numbers (id integer PRIMARY KEY, n integer NOT NULL);\n\
         INSERT INTO numbers SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d, 1\n\
         FROM digits a, digits b, digits c, digits e WHERE e.d < 4;\n",
    );
    world.run("migrate").exits(0);
    world.data(
        2,
        "-- dunlin: chunk-by numbers\n-- dunlin: background\n-- dunlin: rate 400 rows/s\n\
         UPDATE numbers SET n = n * 2 + 1 WHERE :chunk;\n",
    );
    world
}

fn state(world: &World) -> String {
    format!("SELECT state FROM {}", world.ledger("backfills"))
}

/// Starts a run, and returns once some of its chunks are done.
fn started(world: &World, words: &str) -> Run {
    let run = world.command(words).start();
    run.until_says("over ");
    world.until("SELECT n FROM numbers WHERE id = 100", "3");
    run
}

/// Every row once: no more, no less.
#[track_caller]
fn each_row_once(world: &World) {
    assert_eq!(world.sql("SELECT count(*) FROM numbers WHERE n = 3"), ROWS.to_string());
}

/// (24) Pausing, going on and another rate take effect in a worker that runs elsewhere.
fn a_worker_obeys(product: Product) {
    let world = world(product, "backfill_obeys");
    let run = started(&world, "data run --background --until-idle --no-throttle");
    let paused = world.run("data pause 2").exits(0);
    assert!(paused.stderr.contains("takes it within a chunk"), "{}", paused.stderr);
    world.until(&state(&world), "paused");
    let status = world.run("data status 2").exits(0);
    assert!(status.stdout.contains("data 2 change: paused"), "{}", status.stdout);
    world.run("data set 2 rate=off").exits(0);
    world.run("data resume 2").exits(0);
    run.end().exits(0);
    each_row_once(&world);
    assert_eq!(world.sql(&state(&world)), "done");
}
on_each!(a_worker_obeys: postgres, mysql, sqlite);

/// The kill switch in SQL, and giving it up: exit code 7, and what is done stays done.
fn a_worker_is_stopped_by_sql(product: Product) {
    let world = world(product, "backfill_switch");
    let run = started(&world, "data run 2 --no-throttle");
    let intend = |wish: &str| {
        world.sql(&format!("UPDATE {} SET intent = '{wish}'", world.ledger("backfills")));
    };
    intend("pause");
    world.until(&state(&world), "paused");
    intend("cancel");
    let ended = run.end().exits(7);
    assert!(ended.stderr.contains("not run: data 2 change"), "{}", ended.stderr);
    world.run("data run 2").exits(7);
    world.run("data set 2 rate=off").exits(0);
    world.run("data resume 2").exits(0);
    world.run("data run 2 --no-throttle").exits(0);
    each_row_once(&world);
}
on_each!(a_worker_is_stopped_by_sql: postgres, mysql, sqlite);

/// (1) Killed in its middle it is told so, and the next run goes on after the chunks that are done.
fn a_killed_worker_is_seen_to_be_gone(product: Product) {
    let world = world(product, "backfill_gone");
    started(&world, "data run 2 --no-throttle").kill();
    let status = world.run("data status 2").exits(0);
    assert!(status.stdout.contains("data 2 change: its worker is gone"), "{}", status.stdout);
    let watched = world.run("data status 2 --watch").exits(0);
    assert!(watched.stdout.contains("its worker is gone"), "{}", watched.stdout);
    world.run("data set 2 rate=off").exits(0);
    let ended = world.run("data run 2 --no-throttle").exits(0);
    assert!(ended.stderr.contains("goes on after"), "{}", ended.stderr);
    each_row_once(&world);
}
on_each!(a_killed_worker_is_seen_to_be_gone: postgres, mysql, sqlite);

/// What updates leave behind is counted neither as rows nor as progress.
fn dead_rows_are_no_rows(product: Product) {
    let world = world(product, "backfill_dead_rows");
    world.sql("ALTER TABLE numbers SET (autovacuum_enabled = off)");
    world.sql("VACUUM ANALYZE numbers");
    for _ in 0..4 {
        world.sql("UPDATE numbers SET n = n");
    }
    let planned = world.run("data plan 2").exits(0);
    assert!(planned.stdout.contains("about 4,000"), "{}", planned.stdout);
    world.run("data run 2 --workers 1").exits(0).says("about 4,000 rows");
    each_row_once(&world);
}
on_each!(dead_rows_are_no_rows: postgres);

/// Errors of the SQL in a header are its own, before the first chunk.
fn a_header_is_blamed_for_its_own_errors(product: Product) {
    let world = world(product, "backfill_headers");
    for (header, words) in [
        ("done-when SELECT nosuch = 1 FROM numbers", "`done-when` on line 2: "),
        ("done-when SELECT n > 0 FROM numbers", "`done-when` on line 2: "),
        ("done-when SELECT 'x'", "`done-when` on line 2: the query"),
        ("chunk-where nosuch = 1", "`chunk-where` on line 2: "),
    ] {
        let text = "UPDATE numbers SET n = n * 2 + 1 WHERE :chunk;";
        world.data(2, &format!("-- dunlin: chunk-by numbers\n-- dunlin: {header}\n{text}\n"));
        let ended = world.run("data run 2").exits(1).says(words);
        assert!(!ended.stderr.contains("statement 1"), "{}", ended.stderr);
        assert_eq!(world.sql("SELECT count(*) FROM numbers WHERE n = 3"), "0");
    }
}
on_each!(a_header_is_blamed_for_its_own_errors: postgres, mysql, sqlite);

/// A plan without rights on the table says what it asked, and what gives them.
fn missing_rights_are_named(product: Product) {
    let mut world = world(product, "backfill_rights");
    let login = world.database.name.replace("t_backfill_rights_", "guest");
    world.sql(&format!("CREATE ROLE {login} LOGIN PASSWORD 'plain-word'"));
    let (scheme, rest) = world.database.url.split_once("://").expect("a URL");
    let (_, place) = rest.split_once('@').expect("a login");
    world.url = format!("{scheme}://{login}:plain-word@{place}");
    world
        .run("data plan 2")
        .exits(1)
        .says("the keys of public.numbers: permission denied")
        .says("GRANT SELECT, UPDATE ON public.numbers TO");
    world.sql(&format!("DROP ROLE {login}"));
}
on_each!(missing_rights_are_named: postgres);
