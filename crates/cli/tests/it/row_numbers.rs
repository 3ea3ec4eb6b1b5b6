//! Backfills that must stop rather than go on.

use dunlin_testkit::servers;

use crate::project::Project;

/// SQLite's own row numbers are a key only as long as nobody runs VACUUM.
#[test]
fn a_backfill_by_row_numbers_ends_where_they_may_be_others() {
    let database = servers::sqlite("row_numbers");
    let sql = |text: &str| database.sql(text).expect("run").trim_end().to_owned();
    sql("CREATE TABLE t (name text, n integer NOT NULL CHECK (n <> 171));
         INSERT INTO t SELECT value, value FROM generate_series(1, 100);
         DELETE FROM t WHERE n % 2 = 0;");
    let project = Project::new();
    project.write(
        "dunlin.toml",
        &format!("data = \"auto\"\n\n[databases.app]\nurl = \"{}\"\n", database.url),
    );
    project.write(
        "data_migrations/1_double.sql",
        "-- dunlin: chunk-by t\n-- dunlin: chunk-key rowid\n-- dunlin: chunk-rows 10\n\
         UPDATE t SET n = n * 2 + 1 WHERE :chunk;\n",
    );
    // The row with 85 stands alone in the end; those before it are done.
    project.run("data run").exits(1);
    let (done, undone) = (
        "SELECT count(*) FROM t WHERE n = CAST(name AS integer) * 2 + 1",
        "SELECT count(*) FROM t WHERE n = CAST(name AS integer)",
    );
    assert_eq!((sql(done), sql(undone)), ("42".to_owned(), "8".to_owned()));

    sql("VACUUM");
    let refused = project.run("data run 1").exits(1);
    assert!(refused.all().contains("row numbers"), "{}", refused.all());
    assert_eq!((sql(done), sql(undone)), ("42".to_owned(), "8".to_owned()));
}
