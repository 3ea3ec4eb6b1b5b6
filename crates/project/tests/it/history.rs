//! Other tools' tables, with rows as those tools write them.

use dunlin_model::{ForeignHistory, HistoryTool, TableShape};
use dunlin_project::history::{candidate_tables, decode, recognise};

fn table(name: &str, columns: &[&str]) -> TableShape {
    TableShape {
        table: format!("\"public\".\"{name}\""),
        name: name.to_owned(),
        columns: columns.iter().map(|column| ((*column).to_owned(), "text".to_owned())).collect(),
    }
}

/// Recognises a table by itself, then reads rows whose columns are in the table's own order.
fn history(tables: &[TableShape], expected: HistoryTool, rows: &[&[&str]]) -> ForeignHistory {
    let (tool, query) = recognise(tables, None).expect("one history").expect("recognised");
    assert_eq!(tool, expected);
    assert!(candidate_tables().contains(&tables[0].name.as_str()));
    assert_eq!(query.table, tables[0].table);
    let own: Vec<&str> = tables[0].columns.iter().map(|(name, _)| name.as_str()).collect();
    let rows: Vec<Vec<Option<String>>> = rows
        .iter()
        .map(|row| {
            query
                .columns
                .iter()
                .map(|column| {
                    let index = own.iter().position(|name| name == column).expect("its own column");
                    Some(row[index].to_owned()).filter(|value| value != "NULL")
                })
                .collect()
        })
        .collect();
    decode(tool, &query, &rows)
}

fn applied(history: &ForeignHistory, versions: &[&str]) {
    for version in versions {
        assert!(history.is_applied(version), "{version} is applied: {history:?}");
    }
}

fn not_applied(history: &ForeignHistory, versions: &[&str]) {
    for version in versions {
        assert!(!history.is_applied(version), "{version} is not applied: {history:?}");
    }
}

#[test]
fn rails_has_a_second_table_and_dbmate_has_not() {
    let migrations = table("schema_migrations", &["version"]);
    let metadata = table("ar_internal_metadata", &["key", "value", "created_at", "updated_at"]);
    let rows: &[&[&str]] = &[&["20260110093000"], &["0007"]];
    let rails = history(&[migrations.clone(), metadata], HistoryTool::Rails, rows);
    applied(&rails, &["20260110093000", "7", "0007"]);
    not_applied(&rails, &["20260110093001"]);
    let dbmate = history(std::slice::from_ref(&migrations), HistoryTool::Dbmate, rows);
    applied(&dbmate, &["20260110093000"]);
    // Named in the settings, an old Rails without its second table is believed.
    let named = recognise(&[migrations], Some(HistoryTool::Rails)).expect("there");
    assert_eq!(named.map(|(tool, _)| tool), Some(HistoryTool::Rails));
}

#[test]
fn ecto() {
    let shape = table("schema_migrations", &["version", "inserted_at"]);
    let found = history(&[shape], HistoryTool::Ecto, &[&["20260110093000", "2026-01-10 09:30:00"]]);
    applied(&found, &["20260110093000"]);
    assert_eq!(found.entries[0].at.as_deref(), Some("2026-01-10 09:30:00"));
}

#[test]
fn golang_migrate_keeps_one_number() {
    let shape = table("schema_migrations", &["version", "dirty"]);
    let clean = history(std::slice::from_ref(&shape), HistoryTool::GolangMigrate, &[&["5", "f"]]);
    applied(&clean, &["1", "5", "0003"]);
    not_applied(&clean, &["6", "x"]);
    let dirty = history(std::slice::from_ref(&shape), HistoryTool::GolangMigrate, &[&["5", "1"]]);
    assert!(dirty.dirty);
    not_applied(&dirty, &["5"]);
    // Its way up to 5 stopped, or its way down from the next above.
    assert!(dirty.may_be_half_way("5") && dirty.may_be_half_way("6"));
    let first = history(std::slice::from_ref(&shape), HistoryTool::GolangMigrate, &[&["-1", "1"]]);
    assert!(first.dirty && first.may_be_half_way("1"));
    assert_eq!(first.half_way(), ["-1"]);
    let none = history(std::slice::from_ref(&shape), HistoryTool::GolangMigrate, &[&["-1", "0"]]);
    assert!(!none.may_be_half_way("1") && none.entries.is_empty());
    let empty = history(&[shape], HistoryTool::GolangMigrate, &[]);
    not_applied(&empty, &["1"]);
}

#[test]
fn tern_keeps_one_number() {
    let shape = table("schema_version", &["version"]);
    let found = history(std::slice::from_ref(&shape), HistoryTool::Tern, &[&["3"]]);
    applied(&found, &["1", "003"]);
    not_applied(&found, &["4"]);
    assert_eq!(history(&[shape], HistoryTool::Tern, &[&["0"]]).applied_up_to, None);
}

#[test]
fn django_names_have_their_app() {
    let shape = table("django_migrations", &["id", "app", "name", "applied"]);
    let rows: &[&[&str]] = &[
        &["1", "auth", "0001_initial", "2026-01-10 09:30:00+00"],
        &["2", "blog", "0003_split_names", "2026-01-10 09:31:00+00"],
    ];
    let found = history(&[shape], HistoryTool::Django, rows);
    applied(&found, &["auth.0001_initial", "blog.0003_split_names"]);
    not_applied(&found, &["0003_split_names", "auth.0003_split_names"]);
}

#[test]
fn sqlx_rows_may_be_half_way() {
    let columns =
        ["version", "description", "installed_on", "success", "checksum", "execution_time"];
    let rows: &[&[&str]] = &[
        &["1", "users", "2026-01-10", "true", "x", "9"],
        &["2", "posts", "2026-01-10", "0", "x", "-1"],
    ];
    let found = history(&[table("_sqlx_migrations", &columns)], HistoryTool::Sqlx, rows);
    applied(&found, &["1", "0001"]);
    not_applied(&found, &["2"]);
    assert!(found.dirty);
    assert_eq!(found.entries[0].name.as_deref(), Some("users"));
}

#[test]
fn diesel_and_refinery_and_sea_orm_and_node() {
    let shape = table("__diesel_schema_migrations", &["version", "run_on"]);
    let found = history(&[shape], HistoryTool::Diesel, &[&["20260110093000", "2026-01-10"]]);
    applied(&found, &["20260110093000"]);
    let shape = table("refinery_schema_history", &["version", "name", "applied_on", "checksum"]);
    let found =
        history(&[shape], HistoryTool::Refinery, &[&["3", "users", "2026-01-10T00:00:00Z", "1"]]);
    applied(&found, &["3"]);
    let shape = table("seaql_migrations", &["version", "applied_at"]);
    let found =
        history(&[shape], HistoryTool::SeaOrm, &[&["m20220101_000001_create_table", "1641038400"]]);
    applied(&found, &["m20220101_000001_create_table"]);
    let shape = table("pgmigrations", &["id", "name", "run_on"]);
    let found = history(
        &[shape],
        HistoryTool::NodePgMigrate,
        &[&["1", "1700000000000_users", "2026-01-10"]],
    );
    applied(&found, &["1700000000000_users"]);
}

const FLYWAY: [&str; 10] = [
    "installed_rank",
    "version",
    "description",
    "type",
    "script",
    "checksum",
    "installed_by",
    "installed_on",
    "execution_time",
    "success",
];

fn flyway(rows: &[(&str, &str, &str, &str)]) -> ForeignHistory {
    let rows: Vec<Vec<&str>> = rows
        .iter()
        .map(|(version, kind, script, success)| {
            vec!["1", *version, "d", *kind, *script, "0", "me", "2026-01-10", "5", *success]
        })
        .collect();
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    history(&[table("flyway_schema_history", &FLYWAY)], HistoryTool::Flyway, &rows)
}

#[test]
fn flyway_goes_by_rank() {
    let found = flyway(&[
        ("NULL", "SCHEMA", "\"app\"", "1"),
        ("5", "BASELINE", "<< Flyway Baseline >>", "1"),
        ("6", "SQL", "V6__a.sql", "t"),
        ("6.1", "SQL", "V6.1__b.sql", "t"),
        ("7", "SQL", "V7__c.sql", "t"),
        ("7", "UNDO_SQL", "U7__c.sql", "t"),
        ("8", "SQL", "V8__d.sql", "t"),
        ("8", "DELETE", "V8__d.sql", "t"),
        ("NULL", "SQL", "R__views.sql", "t"),
        ("NULL", "SQL", "R__views.sql", "t"),
    ]);
    applied(&found, &["1", "5", "6", "6.1", "R__views.sql"]);
    not_applied(&found, &["7", "8", "9"]);
    assert!(!found.dirty);
    assert_eq!(found.entries.len(), 6);
    let again =
        flyway(&[("7", "SQL", "a", "t"), ("7", "UNDO_SQL", "a", "t"), ("7", "SQL", "a", "t")]);
    applied(&again, &["7"]);
    let failed = flyway(&[("1", "SQL", "a", "t"), ("2", "SQL", "b", "f")]);
    applied(&failed, &["1"]);
    not_applied(&failed, &["2"]);
    assert!(failed.dirty);
}

#[test]
fn old_flyway_and_tern_share_a_name() {
    let shape = table("schema_version", &FLYWAY);
    let found = recognise(&[shape], None).expect("one").expect("recognised");
    assert_eq!(found.0, HistoryTool::Flyway);
}

#[test]
fn goose_takes_the_latest_row() {
    let shape = table("goose_db_version", &["id", "version_id", "is_applied", "tstamp"]);
    let rows: &[&[&str]] = &[
        &["1", "0", "t", "x"],
        &["2", "1", "t", "x"],
        &["3", "2", "t", "x"],
        &["4", "2", "f", "x"],
        &["5", "3", "f", "x"],
        &["6", "3", "t", "x"],
    ];
    let found = history(&[shape], HistoryTool::Goose, rows);
    applied(&found, &["1", "00003"]);
    not_applied(&found, &["0", "2"]);
}

#[test]
fn alembic_shows_its_heads() {
    let shape = table("alembic_version", &["version_num"]);
    let found = history(&[shape], HistoryTool::Alembic, &[&["ae1027a6acf"], &["1975ea83b712"]]);
    applied(&found, &["ae1027a6acf", "1975ea83b712"]);
    assert_eq!(found.applied_up_to, None);
}

#[test]
fn atlas_counts_statements() {
    let columns = [
        "version",
        "description",
        "type",
        "applied",
        "total",
        "executed_at",
        "execution_time",
        "error",
        "error_stmt",
        "hash",
        "partial_hashes",
        "operator_version",
    ];
    let row =
        |version: &'static str, kind: &'static str, applied: &'static str, total: &'static str| {
            [version, "d", kind, applied, total, "2026", "1", "NULL", "NULL", "h", "NULL", "v"]
        };
    let rows = [
        row(".atlas_cloud_identifier", "8", "0", "0"),
        row("20260101000000", "1", "0", "0"),
        row("20260201000000", "2", "3", "3"),
        row("20260301000000", "2", "1", "2"),
    ];
    let rows: Vec<&[&str]> = rows.iter().map(|row| row.as_slice()).collect();
    let found = history(&[table("atlas_schema_revisions", &columns)], HistoryTool::Atlas, &rows);
    assert_eq!(found.applied_up_to, Some(20_260_101_000_000));
    applied(&found, &["20260201000000"]);
    not_applied(&found, &["20260301000000", ".atlas_cloud_identifier"]);
    assert!(found.dirty);
}

#[test]
fn prisma_may_try_twice() {
    let columns = [
        "id",
        "checksum",
        "finished_at",
        "migration_name",
        "logs",
        "rolled_back_at",
        "started_at",
        "applied_steps_count",
    ];
    let row = |name: &'static str, finished: &'static str, rolled_back: &'static str| {
        ["i", "c", finished, name, "NULL", rolled_back, "2026", "1"]
    };
    let rows = [
        row("20260101_init", "2026", "NULL"),
        row("20260201_posts", "NULL", "2026"),
        row("20260201_posts", "2026", "NULL"),
        row("20260301_tags", "NULL", "2026"),
    ];
    let shape = table("_prisma_migrations", &columns);
    let slices: Vec<&[&str]> = rows.iter().map(|row| row.as_slice()).collect();
    let found = history(std::slice::from_ref(&shape), HistoryTool::Prisma, &slices);
    applied(&found, &["20260101_init", "20260201_posts"]);
    not_applied(&found, &["20260301_tags"]);
    assert!(!found.dirty);
    let failed = [row("20260101_init", "NULL", "NULL")];
    let slices: Vec<&[&str]> = failed.iter().map(|row| row.as_slice()).collect();
    assert!(history(&[shape], HistoryTool::Prisma, &slices).dirty);
}

#[test]
fn refusals_say_what_to_do() {
    let goose = table("goose_db_version", &["id", "version_id", "is_applied"]);
    let alembic = table("alembic_version", &["version_num"]);
    let error = recognise(&[goose.clone(), alembic], None).expect_err("two");
    assert!(
        error.contains("goose") && error.contains("alembic") && error.contains("schema_history")
    );
    let error = recognise(&[goose], Some(HistoryTool::Rails)).expect_err("not there");
    assert!(error.contains("schema_migrations"), "{error}");
    let migrate = table("schema_migrations", &["version", "dirty"]);
    let error = recognise(&[migrate], Some(HistoryTool::Ecto)).expect_err("another's");
    assert!(error.contains("golang-migrate"), "{error}");
    assert_eq!(recognise(&[], None), Ok(None));
    assert_eq!(recognise(&[table("schema_migrations", &["name"])], None), Ok(None));
    let error = recognise(&[table("schema_migrations", &["name"])], Some(HistoryTool::Rails));
    assert!(error.is_err_and(|error| error.contains("(version)")));
}

#[test]
fn column_names_count_in_any_case_and_rows_may_be_short() {
    let shape = table("SCHEMA_MIGRATIONS", &["VERSION"]);
    let (tool, query) = recognise(&[shape], None).expect("one").expect("recognised");
    assert_eq!(query.columns, ["VERSION"]);
    let found = decode(tool, &query, &[vec![], vec![None], vec![Some("3".to_owned())]]);
    assert_eq!(found.entries.len(), 1);
}
