//! What the catalogue tells, and what the server would do.

use dunlin_engine::ErrorKind;
use dunlin_model::{TableKind, ValueForm};

use super::super::World;
use super::{POSTS, UnderWay, make_posts, planned};

pub(in super::super) async fn a_table_is_described(world: World) {
    make_posts(&world).await;
    world.sql("CREATE UNIQUE INDEX by_n ON posts (n, title DESC)").await;
    let mut target = world.target().await;
    assert_eq!(target.table("no_such_table").await.unwrap(), None);
    let table = target.table("posts").await.unwrap().unwrap();
    assert_eq!(table.kind, TableKind::Table);
    assert!(table.transactional && !table.hides_rows);
    let columns: Vec<(&str, bool, bool)> = table
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.nullable, column.generated))
        .collect();
    assert_eq!(
        columns,
        [("id", false, false), ("n", false, false), ("title", true, false), ("note", true, false)]
    );
    assert_eq!(table.column("n").unwrap().form.plain(), ValueForm::Text, "8 bytes travel as text");
    let primary = &table.indexes[0];
    assert!(primary.primary && primary.unique && primary.unusable.is_none(), "{primary:?}");
    assert_eq!(primary.columns[0].name.as_deref(), Some("id"));
    let other = table.indexes.iter().find(|index| index.name == "by_n").unwrap();
    assert!(other.unique && !other.primary, "{other:?}");
    let directions: Vec<bool> = other.columns.iter().map(|column| column.descending).collect();
    assert_eq!(directions, [false, true]);
    // What the driver calls it is a name that it knows.
    assert_eq!(target.table(&table.name).await.unwrap().unwrap().shape, table.shape);
}

pub(in super::super) async fn a_view_is_no_table(world: World) {
    make_posts(&world).await;
    world.sql("CREATE VIEW titles AS SELECT id, title FROM posts").await;
    let mut target = world.target().await;
    assert_eq!(target.table("titles").await.unwrap().unwrap().kind, TableKind::View);
}

pub(in super::super) async fn the_shape_follows_the_definition_not_the_rows(world: World) {
    make_posts(&world).await;
    let mut target = world.target().await;
    let before = target.table("posts").await.unwrap().unwrap().shape;
    world.sql("INSERT INTO posts VALUES (100, 1, NULL, NULL)").await;
    world.sql("CREATE TABLE another (id integer)").await;
    assert_eq!(target.table("posts").await.unwrap().unwrap().shape, before);
    world.sql("ALTER TABLE posts ADD COLUMN extra integer").await;
    assert_ne!(target.table("posts").await.unwrap().unwrap().shape, before);
}

pub(in super::super) async fn access_by_the_key_is_explained(world: World) {
    make_posts(&world).await;
    let mut target = world.target().await;
    let statements = [
        "UPDATE posts SET n = n + 1 WHERE n > 0 AND :chunk",
        "DELETE FROM posts WHERE :chunk AND n < 0",
    ];
    let work = planned(&mut target, "posts", &["id"], &statements).await;
    let access = target.explain(&work).await.unwrap();
    assert_eq!(access.len(), 3, "{access:?}");
    assert!(access[0].index.is_some() && access[0].complaint.is_none(), "{access:?}");

    let wrong = ["UPDATE posts SET n = n + 1 WHERE :chunk", "UPDATE posts SET x = 1 WHERE :chunk"];
    let work = planned(&mut target, "posts", &["id"], &wrong).await;
    let error = target.explain(&work).await.unwrap_err();
    assert_eq!((error.kind, error.statement), (ErrorKind::Statement, Some(1)), "{error:?}");
    assert_eq!(world.sql("SELECT sum(n) FROM posts").await, "2100");
}

pub(in super::super) async fn questions_are_answered_without_a_trace(world: World) {
    make_posts(&world).await;
    let mut target = world.target().await;
    let done = "SELECT NOT EXISTS (SELECT 1 FROM posts WHERE note IS NULL)";
    assert!(!target.holds(done).await.unwrap());
    world.sql("UPDATE posts SET note = 'x'").await;
    assert!(target.holds(done).await.unwrap());
    assert!(!target.holds("SELECT NULL").await.unwrap(), "unknown is not true");
    assert!(target.holds("SELECT x FROM posts").await.is_err());
    assert!(target.holds("SELECT count(*) = 20 FROM posts").await.unwrap());
}

pub(in super::super) async fn a_rehearsed_chunk_leaves_nothing(world: World) {
    make_posts(&world).await;
    let before = world.tables().await;
    let mut target = world.target().await;
    let statements =
        ["UPDATE posts SET n = n + 1 WHERE :chunk", "DELETE FROM posts WHERE :chunk AND n < 50"];
    let work = planned(&mut target, "posts", &["id"], &statements).await;
    let hi = target.extent(&work).await.unwrap().hi.unwrap();
    let range = dunlin_model::KeyRange::Between { after: dunlin_model::Bound::Start, upto: hi };
    for _ in 0..2 {
        let rehearsal = target.rehearse_chunk(&work, &range).await.unwrap();
        assert_eq!(rehearsal.rows, [Some(POSTS), Some(4)]);
    }
    assert_eq!(world.sql("SELECT sum(n) FROM posts").await, "2100");
    assert_eq!(world.tables().await, before, "a rehearsal needs no ledger");
}

pub(in super::super) async fn health_can_be_read_again_and_again(world: World) {
    let mut under_way =
        UnderWay::on_posts(&world, &["UPDATE posts SET n = n + 1 WHERE :chunk"]).await;
    for _ in 0..3 {
        let health = under_way.target.health(&under_way.work).await.unwrap();
        for signal in &health.signals {
            assert!(signal.load.is_finite() && signal.load >= 0.0, "{signal:?}");
            assert!(!signal.shown.is_empty(), "{signal:?}");
        }
        for absent in &health.absent {
            assert!(!absent.help.is_empty(), "{absent:?}");
        }
        let chunk = under_way.next(5).await;
        under_way.target.commit_chunk(&under_way.lease, &under_way.work, &chunk).await.unwrap();
    }
}

pub(in super::super) async fn a_barrier_is_passed_when_nothing_is_under_way(world: World) {
    let mut target = world.target().await;
    let Some(barrier) = target.barrier().await.unwrap() else { return };
    // Other cases share the server.
    while !target.behind(&barrier).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}
