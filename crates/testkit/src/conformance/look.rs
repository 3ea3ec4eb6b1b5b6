//! Looking: it reads what is there, and touches nothing.

use dunlin_engine::{Purpose, ReadAnswer, ReadRequest};
use dunlin_model::TableQuery;

use super::World;
use super::world::ledger;
use crate::servers::Product;

/// The tables, and for a file everything beside it.
async fn everything(world: &World) -> (String, Vec<String>) {
    let mut files: Vec<String> = Vec::new();
    if let Some(folder) = world.database().folder() {
        for entry in std::fs::read_dir(folder).unwrap() {
            files.push(entry.unwrap().file_name().to_string_lossy().into_owned());
        }
    }
    files.sort();
    (world.tables().await, files)
}

pub(super) async fn looking_at_an_empty_database_writes_nothing(world: World) {
    world.sql("CREATE TABLE app (id integer)").await;
    let before = everything(&world).await;
    let mut target = world.connector().connect(Purpose::Look).await.unwrap();
    let probe = target.probe(&["schema_migrations", "app"]).await.unwrap();
    assert!(!probe.ledger);
    assert!(!probe.server.product.is_empty());
    assert_eq!(probe.server.read_only, None);
    assert_eq!(probe.server.pooled, world.product == Product::Pgbouncer);
    let answer = target.read(&ReadRequest { ledger: false, foreign: None }).await.unwrap();
    assert_eq!(answer, ReadAnswer::default());
    drop(target);
    assert_eq!(everything(&world).await, before);
}

pub(super) async fn looking_at_a_ledger_writes_nothing(world: World) {
    drop(world.with_ledger().await);
    let before = everything(&world).await;
    let mut target = world.connector().connect(Purpose::Look).await.unwrap();
    assert!(target.probe(&[]).await.unwrap().ledger);
    let view = ledger(&mut target).await;
    assert!(view.exists());
    assert!(view.entries.is_empty() && view.steps.is_empty() && view.leases.is_empty());
    assert_eq!(view.format, dunlin_model::FORMAT);
    assert!(view.min_reader <= view.format && view.min_writer <= view.format);
    drop(target);
    assert_eq!(everything(&world).await, before);
}

pub(super) async fn a_probe_finds_the_tables_asked_for(world: World) {
    world
        .sql(
            "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL);\n\
             CREATE TABLE not_asked_for (id integer);",
        )
        .await;
    let mut target = world.connector().connect(Purpose::Look).await.unwrap();
    let probe = target.probe(&["schema_migrations", "goose_db_version"]).await.unwrap();
    let [table] = &probe.tables[..] else { panic!("{:?}", probe.tables) };
    assert_eq!(table.name, "schema_migrations");
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["version", "dirty"]);
    for (_, kind) in &table.columns {
        assert_eq!(kind, &kind.to_lowercase());
        assert!(!kind.is_empty());
    }
}

pub(super) async fn a_foreign_table_is_read_as_text(world: World) {
    // Written without backslashes in literals: their meaning differs between products.
    world
        .sql(
            "CREATE TABLE goose_db_version (id integer, name varchar(200), note text);\n\
             INSERT INTO goose_db_version VALUES\n\
             (10, 'it''s \"quoted\" `so`; -- not a comment', NULL),\n\
             (9, 'naïve 鸟 🐦', ''),\n\
             (2, '', 'two\nlines\tand a tab');",
        )
        .await;
    let mut target = world.connector().connect(Purpose::Look).await.unwrap();
    let table = target.probe(&["goose_db_version"]).await.unwrap().tables.remove(0).table;
    let columns = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let foreign =
        TableQuery { table, columns: columns(&["id", "note", "name"]), order_by: columns(&["id"]) };
    let request = ReadRequest { ledger: false, foreign: Some(foreign) };
    let answer = target.read(&request).await.unwrap();
    let rows: Vec<Vec<Option<&str>>> =
        answer.rows.iter().map(|row| row.iter().map(Option::as_deref).collect()).collect();
    assert_eq!(
        rows,
        [
            vec![Some("2"), Some("two\nlines\tand a tab"), Some("")],
            vec![Some("9"), Some(""), Some("naïve 鸟 🐦")],
            vec![Some("10"), None, Some("it's \"quoted\" `so`; -- not a comment")],
        ]
    );
}

pub(super) async fn secrets_stay_out_of_descriptions(world: World) {
    let connector = world.connector();
    drop(connector.connect(Purpose::Run).await.unwrap());
    assert!(!connector.describe().is_empty());
    let password = url::Url::parse(&world.database().url).unwrap();
    let Some(password) = password.password() else { return };
    assert!(!connector.describe().contains(password));
    assert!(connector.secrets().iter().any(|secret| secret == password));
    assert!(connector.url().contains(password), "programs need it");
}
