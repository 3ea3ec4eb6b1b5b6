//! Edited after it was applied (failure 55).

use dunlin::engine::amend::Amendment;
use dunlin::engine::report::EngineError;

use crate::world::{World, finished, schema, version};

#[tokio::test]
async fn an_edited_statement_stops_everything_and_can_be_accepted() {
    let world = World::auto();
    world.schema("1_t.sql", "CREATE TABLE t (id INTEGER);");
    world.migrate().await;
    world
        .schema("1_t.sql", "CREATE TABLE t (id BIGINT);")
        .schema("2_u.sql", "CREATE TABLE u (id INTEGER);");
    match world.try_migrate().await.unwrap_err() {
        EngineError::Drift(drift) => assert_eq!(drift[0].id, schema(1)),
        other => panic!("{other}"),
    }
    let accept = Amendment::Accept { version: version(1), because: "same thing".into() };
    world.amend(accept).await.unwrap();
    assert_eq!(finished(&world.migrate().await), ["schema 2"]);
    assert_eq!(world.value("SELECT reason FROM dunlin_migrations WHERE version = 1"), "same thing");
}

#[tokio::test]
async fn comments_and_white_space_and_line_ends_are_no_drift() {
    let world = World::auto();
    world.schema("1_t.sql", "CREATE TABLE t (id INTEGER);\nCREATE TABLE u (id INTEGER);\n");
    world.migrate().await;
    world.schema(
        "1_t.sql",
        "\u{feff}-- why\r\nCREATE TABLE t (id INTEGER);\r\n\r\n/* more */ CREATE TABLE u (id INTEGER);",
    );
    assert!(world.migrate().await.finished.is_empty());
}

#[tokio::test]
async fn accept_without_drift_is_refused() {
    let world = World::auto();
    world.schema("1_t.sql", "CREATE TABLE t (id INTEGER);");
    world.migrate().await;
    let accept = Amendment::Accept { version: version(1), because: "x".into() };
    assert!(matches!(world.amend(accept).await, Err(EngineError::Refused(_))));
}
