//! The database itself, and being unable to reach it.

use dunlin_engine::{ErrorKind, Purpose, TargetError};

use super::World;
use crate::servers::{Product, free_port};

/// The URL of a sibling that does not exist.
fn sibling(world: &World) -> String {
    let url = &world.database().url;
    match world.product {
        Product::Sqlite => url.replace(".db", "_sibling.db"),
        _ => format!("{url}_sibling"),
    }
}

async fn refused(world: &World, url: String, purpose: Purpose) -> TargetError {
    match world.connector_to(url).connect(purpose).await {
        Ok(_) => panic!("it connected"),
        Err(error) => error,
    }
}

pub(super) async fn a_database_is_created_and_dropped_once(world: World) {
    let connector = world.connector_to(sibling(&world));
    assert!(connector.create_database().await.unwrap());
    assert!(!connector.create_database().await.unwrap());
    let mut target = connector.connect(Purpose::Run).await.unwrap();
    target.create_ledger("11111111-1111-4111-8111-111111111111").await.unwrap();
    drop(target);
    // The server may not have noticed yet that the connection is closed.
    while let Err(error) = connector.drop_database().await {
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    }
    assert!(!connector.drop_database().await.unwrap());
}

pub(super) async fn a_missing_database_is_named_so(world: World) {
    let error = refused(&world, sibling(&world), Purpose::Look).await;
    assert_eq!(error.kind, ErrorKind::NoSuchDatabase, "{error:?}");
    assert!(error.help.is_some(), "{error:?}");
}

pub(super) async fn a_closed_port_is_unreachable(world: World) {
    let mut url = url::Url::parse(&world.database().url).unwrap();
    url.set_port(Some(free_port().unwrap())).unwrap();
    let error = refused(&world, url.into(), Purpose::Look).await;
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error:?}");
}

pub(super) async fn a_wrong_password_is_named_so_and_not_shown(world: World) {
    let mut url = url::Url::parse(&world.database().url).unwrap();
    url.set_password(Some("wrong-and-secret")).unwrap();
    let error = refused(&world, url.into(), Purpose::Look).await;
    assert_eq!(error.kind, ErrorKind::Authentication, "{error:?}");
    assert!(!format!("{error:?}").contains("wrong-and-secret"));
}
