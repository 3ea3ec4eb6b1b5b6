//! The ledger: what is written is read back, and who may.

use dunlin_engine::{ErrorKind, ReadRequest, RunRecord};
use dunlin_model::{EntryState, EntryWrite, LedgerEvent, MigrationId, Version};

use super::work::{RUN, applied, content, data_version, data_work, entry, owner};
use super::world::{LONG, World, granted, ledger};

/// Texts that end quotes, statements and patience.
const HOSTILE: [&str; 5] = [
    "a\"b'c`d\\e; DROP TABLE x; --",
    "naïve 鸟 🐦 \u{202e}right to left",
    "$$ $1 ${HOME} %s ? :name {0} /* */",
    "two\nlines\r\nand\ta tab",
    "\\' OR 1=1; \\\"",
];

pub(super) async fn sixteen_create_one_ledger(world: World) {
    let runners: Vec<_> = (0..16)
        .map(|number| {
            let connector = world.connector();
            tokio::spawn(async move {
                let mut target = connector.connect(dunlin_engine::Purpose::Run).await.unwrap();
                let id = format!("{number:08}-1111-4111-8111-111111111111");
                target.create_ledger(&id).await.unwrap();
                ledger(&mut target).await.id
            })
        })
        .collect();
    let mut ids = Vec::new();
    for runner in runners {
        ids.push(runner.await.unwrap());
    }
    assert!(ids.iter().all(|id| *id == ids[0] && !id.is_empty()), "{ids:?}");
}

pub(super) async fn every_state_is_read_back(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let commits = lease.commits;
    let text = |text: &str| Some(text.to_owned());
    let writes = [
        entry(data_version(1), EntryState::Pending, LedgerEvent::Rerun),
        entry(data_version(2), EntryState::Running, LedgerEvent::Start),
        EntryWrite { pass: 3, ..applied(data_version(3)) },
        EntryWrite { baseline: true, content: None, ..applied(data_version(4)) },
        EntryWrite {
            error: text("syntax error at line 3"),
            ..entry(data_version(5), EntryState::Failed, LedgerEvent::Fail)
        },
        EntryWrite {
            by_environment: true,
            reason: text("only for production"),
            ..entry(data_version(6), EntryState::Skipped, LedgerEvent::Skip)
        },
        EntryWrite {
            reason: text("the file is gone"),
            ..entry(data_version(7), EntryState::Retired, LedgerEvent::Retire)
        },
        applied(MigrationId::schema(Version::new(i64::MAX).unwrap())),
        applied(MigrationId::schema(Version::new(0).unwrap())),
    ];
    target.record(&mut lease, &writes).await.unwrap();
    assert_eq!(lease.commits, commits + 1);

    let view = ledger(&mut world.target().await).await;
    assert_eq!(view.entries.len(), writes.len());
    for write in &writes {
        let read = &view.entries[&write.id];
        assert_eq!(read.name, write.name);
        assert_eq!(read.state, write.state);
        assert_eq!(read.pass, write.pass);
        assert_eq!(read.checksums, write.content.clone().map(|(checksums, _)| checksums));
        assert_eq!(read.baseline, write.baseline);
        assert_eq!(read.by_environment, write.by_environment);
        assert_eq!(read.reason, write.reason);
        assert_eq!(read.error, write.error);
    }
}

pub(super) async fn content_stays_where_none_is_written(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let id = data_version(1);
    assert_eq!(target.text(id).await.unwrap(), None);
    let first = applied(id);
    target.record(&mut lease, std::slice::from_ref(&first)).await.unwrap();
    let again =
        EntryWrite { content: None, pass: 2, ..entry(id, EntryState::Pending, LedgerEvent::Rerun) };
    target.record(&mut lease, &[again]).await.unwrap();
    let (checksums, text) = first.content.unwrap();
    let read = ledger(&mut target).await.entries[&id].clone();
    assert_eq!((read.state, read.pass), (EntryState::Pending, 2));
    assert_eq!(read.checksums, Some(checksums));
    assert_eq!(target.text(id).await.unwrap(), Some(text));
    let changed = EntryWrite { content: Some(content("changed")), ..applied(id) };
    target.record(&mut lease, &[changed]).await.unwrap();
    assert_eq!(target.text(id).await.unwrap().as_deref(), Some("changed"));
}

pub(super) async fn times_follow_the_state(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let id = data_version(1);
    let plausible = |micros: i64| (1_700_000_000_000_000..4_200_000_000_000_000).contains(&micros);

    let start = entry(id, EntryState::Running, LedgerEvent::Start);
    target.record(&mut lease, &[start]).await.unwrap();
    let read = ledger(&mut target).await.entries[&id].clone();
    assert!(plausible(read.started_at.unwrap()), "{read:?}");
    assert_eq!(read.finished_at, None);

    target.record(&mut lease, &[applied(id)]).await.unwrap();
    let read = ledger(&mut target).await.entries[&id].clone();
    assert!(plausible(read.finished_at.unwrap()), "{read:?}");
    assert!(read.started_at <= read.finished_at, "{read:?}");

    let reset = entry(id, EntryState::Pending, LedgerEvent::Reset);
    target.record(&mut lease, &[reset]).await.unwrap();
    let read = ledger(&mut target).await.entries[&id].clone();
    assert_eq!((read.started_at, read.finished_at), (None, None));
}

pub(super) async fn hostile_texts_are_read_back(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let writes: Vec<EntryWrite> = HOSTILE
        .iter()
        .zip(1..)
        .map(|(&text, version)| EntryWrite {
            name: text.to_owned(),
            reason: Some(text.to_owned()),
            error: Some(text.to_owned()),
            output: Some(text.to_owned()),
            content: Some(content(text)),
            ..entry(data_version(version), EntryState::Failed, LedgerEvent::Fail)
        })
        .collect();
    target.record(&mut lease, &writes).await.unwrap();
    let run = RunRecord {
        id: RUN.to_owned(),
        owner: owner(1),
        command: HOSTILE[0].to_owned(),
        program: HOSTILE[1].to_owned(),
        passed_over: Vec::new(),
    };
    target.begin_run(&run).await.unwrap();
    target.finish_run(RUN, HOSTILE[4]).await.unwrap();
    let view = ledger(&mut target).await;
    for write in &writes {
        let read = &view.entries[&write.id];
        assert_eq!(read.name, write.name);
        assert_eq!(read.reason, write.reason);
        assert_eq!(read.error, write.error);
        let text = target.text(write.id).await.unwrap();
        assert_eq!(text.as_ref(), Some(&write.name));
    }
}

pub(super) async fn large_texts_are_read_back(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    // A dump that was made a first migration is easily a megabyte.
    let text = "INSERT INTO t VALUES ('é');\n".repeat(50_000);
    let long = "why ".repeat(4_000);
    let write = EntryWrite {
        content: Some(content(&text)),
        error: Some(long.clone()),
        reason: Some(long.clone()),
        output: Some(long.clone()),
        name: "n".repeat(200),
        ..entry(data_version(1), EntryState::Failed, LedgerEvent::Fail)
    };
    target.record(&mut lease, &[write]).await.unwrap();
    assert_eq!(target.text(data_version(1)).await.unwrap(), Some(text));
    let read = ledger(&mut target).await.entries[&data_version(1)].clone();
    assert_eq!(read.name.len(), 200);
    assert_eq!(read.error.as_ref(), Some(&long));
    assert_eq!(read.reason, Some(long));
}

pub(super) async fn ten_thousand_entries_are_read(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let writes: Vec<EntryWrite> = (1..=10_000)
        .map(|version| EntryWrite {
            event: LedgerEvent::Baseline,
            ..applied(data_version(version))
        })
        .collect();
    target.record(&mut lease, &writes).await.unwrap();
    let view = ledger(&mut world.target().await).await;
    assert_eq!(view.entries.len(), 10_000);
    assert!(view.entries.values().all(|entry| entry.state == EntryState::Applied));
}

pub(super) async fn runs_are_noted(world: World) {
    let mut target = world.with_ledger().await;
    let run = RunRecord {
        id: RUN.to_owned(),
        owner: owner(1),
        command: "migrate".to_owned(),
        program: "0.1.0".to_owned(),
        passed_over: Vec::new(),
    };
    target.begin_run(&run).await.unwrap();
    target.finish_run(RUN, "done").await.unwrap();
    let runs = world.ledger_table("runs");
    assert_eq!(world.sql(&format!("SELECT count(*) FROM {runs}")).await, "1");
}

pub(super) async fn history_has_one_row_a_write(world: World) {
    world.sql("CREATE TABLE t (n integer)").await;
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let failed = entry(data_version(7), EntryState::Failed, LedgerEvent::Fail);
    target.record(&mut lease, &[failed]).await.unwrap();
    target.commit(&mut lease, &data_work(7, &["INSERT INTO t VALUES (1)"])).await.unwrap();
    let history = world.ledger_table("history");
    let events =
        format!("SELECT event FROM {history} WHERE kind = 'data' AND version = 7 ORDER BY event");
    assert_eq!(world.sql(&events).await, "fail\nup");
}

pub(super) async fn a_newer_writer_is_refused(world: World) {
    drop(world.with_ledger().await);
    let meta = world.ledger_table("meta");
    world.sql(&format!("UPDATE {meta} SET min_writer = 99")).await;
    let mut target = world.target().await;
    assert_eq!(ledger(&mut target).await.min_writer, 99, "it may still be read");
    let claim = target.claim(&dunlin_model::Resource::Schema, &owner(1), LONG, None).await;
    let error = claim.unwrap_err();
    assert_eq!(error.kind, ErrorKind::LedgerFormat, "{error:?}");
    assert!(error.help.is_some(), "{error:?}");
}

pub(super) async fn a_newer_reader_is_refused(world: World) {
    drop(world.with_ledger().await);
    let meta = world.ledger_table("meta");
    world.sql(&format!("UPDATE {meta} SET min_reader = 99, min_writer = 99")).await;
    let mut target = world.target().await;
    let request = ReadRequest { ledger: true, foreign: None };
    let error = target.read(&request).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::LedgerFormat, "{error:?}");
}

pub(super) async fn the_view_of_data_migrations_says_done(world: World) {
    let mut target = world.with_ledger().await;
    let mut lease = granted(&mut target, &owner(1), LONG).await;
    let writes = [
        applied(data_version(1)),
        entry(data_version(2), EntryState::Failed, LedgerEvent::Fail),
        applied(MigrationId::schema(Version::new(3).unwrap())),
    ];
    target.record(&mut lease, &writes).await.unwrap();
    let view = world.ledger_table("data_migrations");
    let states = format!("SELECT state FROM {view} ORDER BY version");
    assert_eq!(world.sql(&states).await, "done\nfailed");
}
