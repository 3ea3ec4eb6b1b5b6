//! First contact, reading and writing the ledger.

use dunlin_engine::{ErrorKind, ReadRequest};
use dunlin_model::{EntryState, LedgerEvent, TableQuery};

use crate::support::{LEDGER_ID, World, all, applied, claimed, owner, schema, shared, view};

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_first_contacts_make_one_ledger() {
    let world = shared(World::new("first").await);
    let tries = (0..16).map(|number| {
        let world = world.clone();
        async move {
            let mut target = world.target().await;
            target.create_ledger(&format!("ledger-{number}")).await.expect("a ledger");
            view(&mut target).await.id
        }
    });
    let mut ids = all(tries).await;
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test]
async fn looking_finds_nothing_and_leaves_nothing() {
    let world = World::new("look").await;
    let mut eyes = world.eyes().await;
    eyes.run("CREATE TABLE schema_migrations (version varchar(14) primary key, n bigint unsigned)")
        .await;
    eyes.run("INSERT INTO schema_migrations VALUES ('2', NULL), ('1', 7)").await;
    let mut target = world.target().await;
    let probe = target.probe(&["schema_migrations", "goose_db_version"]).await.expect("probe");
    assert!(!probe.ledger);
    assert!(probe.server.product.contains(' '), "{:?}", probe.server);
    assert_eq!(probe.server.database, world.name);
    let [table] = probe.tables.as_slice() else { panic!("{:?}", probe.tables) };
    assert_eq!(table.name, "schema_migrations");
    assert_eq!(
        table.columns,
        [("version".to_owned(), "varchar".to_owned()), ("n".to_owned(), "bigint".to_owned())]
    );
    let foreign = TableQuery {
        table: table.table.clone(),
        columns: vec!["version".to_owned(), "n".to_owned()],
        order_by: vec!["version".to_owned()],
    };
    let answer =
        target.read(&ReadRequest { ledger: false, foreign: Some(foreign) }).await.expect("read");
    assert_eq!(
        answer.rows,
        [[Some("1".to_owned()), Some("7".to_owned())], [Some("2".to_owned()), None]]
    );
    assert!(!answer.ledger.exists());
    assert_eq!(
        eyes.one("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()")
            .await,
        "1"
    );
}

#[tokio::test]
async fn entries_are_written_and_read_back() {
    let world = World::new("entries").await;
    let mut target = world.with_ledger().await;
    assert!(target.probe(&[]).await.expect("probe").ledger);
    let mut lease = claimed(&mut target, &owner(1)).await;
    let mut write = applied(schema(7));
    write.name = "it's \\ `here` \u{1F426}".to_owned();
    write.reason = Some("because \0 'x'".to_owned());
    write.output = Some("out".to_owned());
    target.record(&mut lease, &[write.clone(), applied(schema(8))]).await.expect("recorded");
    assert_eq!(lease.commits, 1);
    let ledger = view(&mut target).await;
    assert_eq!(ledger.id, LEDGER_ID);
    let entry = &ledger.entries[&schema(7)];
    assert_eq!(
        (&entry.name, entry.state, &entry.reason),
        (&write.name, EntryState::Applied, &write.reason)
    );
    assert!(entry.started_at.is_some() && entry.finished_at.is_some());
    let text = write.content.clone().expect("content").1;
    assert_eq!(target.text(schema(7)).await.expect("text"), Some(text.clone()));
    assert_eq!(target.text(schema(9)).await.expect("text"), None);

    write.content = None;
    write.state = EntryState::Pending;
    write.event = LedgerEvent::Down;
    target.record(&mut lease, &[write]).await.expect("recorded");
    let entry = &view(&mut target).await.entries[&schema(7)];
    assert_eq!(
        (entry.state, entry.started_at, entry.finished_at),
        (EntryState::Pending, None, None)
    );
    assert_eq!(target.text(schema(7)).await.expect("text"), Some(text));
    assert_eq!(world.eyes().await.one("SELECT COUNT(*) FROM dunlin_history").await, "3");
}

#[tokio::test]
async fn newer_ledgers_are_refused() {
    let world = World::new("newer").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    eyes.run("UPDATE dunlin_meta SET min_writer = 99").await;
    let ttl = std::time::Duration::from_secs(60);
    let refused = target.claim(&dunlin_model::Resource::Schema, &owner(1), ttl, None).await;
    assert_eq!(refused.expect_err("refused").kind, ErrorKind::LedgerFormat);
    assert_eq!(view(&mut target).await.min_writer, 99);
    eyes.run("UPDATE dunlin_meta SET min_reader = 99").await;
    let request = ReadRequest { ledger: true, foreign: None };
    assert_eq!(target.read(&request).await.expect_err("refused").kind, ErrorKind::LedgerFormat);
}

#[tokio::test]
async fn a_read_only_login_can_look_and_is_told_that_it_cannot_write() {
    let world = World::new("readonly").await;
    let mut target = world.with_ledger().await;
    let mut eyes = world.eyes().await;
    let user = format!("reader{}", std::process::id());
    eyes.run(&format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'pass-word'")).await;
    eyes.run(&format!("GRANT SELECT ON `{}`.* TO '{user}'@'%'", world.name)).await;
    let mut url = url::Url::parse(&world.url).expect("a URL");
    url.set_username(&user).expect("set");
    url.set_password(Some("pass-word")).expect("set");
    let reader = World { name: world.name.clone(), url: url.into() };
    let mut looking = reader.target().await;
    assert!(looking.probe(&["dunlin_meta"]).await.expect("probe").ledger);
    assert_eq!(view(&mut looking).await.id, view(&mut target).await.id);
    let denied = looking
        .claim(&dunlin_model::Resource::Schema, &owner(1), std::time::Duration::from_secs(60), None)
        .await
        .expect_err("denied");
    assert_eq!(denied.kind, ErrorKind::Permission, "{denied:?}");
    assert!(denied.help.is_some());
    eyes.run(&format!("DROP USER '{user}'@'%'")).await;
}
