use dunlin::model::{Intent, KeyColumn, MigrationId, Version};

use super::*;

fn view() -> View {
    let id_column = KeyColumn {
        name: "id".into(),
        type_name: "bigint".into(),
        descending: false,
        nullable: false,
    };
    let record = BackfillRecord {
        id: MigrationId::data(Version::new(7).expect("a version")),
        pass: 1,
        phase: Phase::Forward,
        round: 1,
        table: "public.posts".into(),
        key: vec![id_column],
        shape: "x".into(),
        state: BackfillState::Running,
        reason: Some("lock waits: 3 (limit 4)".into()),
        row_count_estimate: Some(3_000_000),
        rows_before: 0,
        workers: 2,
        chunk_rows: 12_000,
        chunk_ms: 480,
        rows_per_second: 98_000,
        seconds_left: (185, 230),
        intent: Intent::default(),
        quarantined: 2,
        started_at: None,
        updated_at: None,
    };
    View {
        record,
        name: "fill".into(),
        rows_done: 1_230_000,
        segments: Some((3, 9)),
        worker: Worker::At { host: "db-1".into(), pid: 12 },
        silent: Some(Duration::from_secs(1)),
        skipped: false,
    }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn whole(view: &View) -> String {
    let command = |words: &str| format!("dunlin {words}");
    block(view, &command).iter().map(|line| plain(line) + "\n").collect()
}

#[test]
fn one_line_says_it_all() {
    assert_eq!(
        plain(&line(&view())),
        "41%, 1,230,000 of about 3,000,000 rows, 98,000 rows/s, chunks of 12,000 rows in \
         480 ms, 2 workers, 3 to 4 min left, 2 in quarantine, slowed by lock waits: 3 (limit 4)"
    );
}

#[test]
fn a_block_says_more() {
    insta::assert_snapshot!(whole(&view()), @r"
      data 7 fill: running
        rows       [##########--------------] 41%  1,230,000 of about 3,000,000 rows
        pace       98,000 rows/s, chunks of 12,000 rows in 480 ms
        left       3 to 4 min
        table      public.posts, by id
        segments   3 of 9 done
        workers    2 on db-1 (process 12)
        why        slowed by lock waits: 3 (limit 4)
        quarantine 2 rows: `dunlin data quarantine list 7`
    ");
}

#[test]
fn a_worker_that_died_is_told() {
    let mut gone = view();
    gone.worker = Worker::Nobody;
    gone.silent = Some(Duration::from_secs(300));
    assert!(!gone.is_at_work());
    insta::assert_snapshot!(whole(&gone), @r"
      data 7 fill: its worker is gone
        rows       [##########--------------] 41%  1,230,000 of about 3,000,000 rows
        table      public.posts, by id
        segments   3 of 9 done
        quarantine 2 rows: `dunlin data quarantine list 7`
        go on      dunlin data run 7
    ");
}

#[test]
fn what_people_want_stands_beside_what_is() {
    let mut paused = view();
    paused.record.state = BackfillState::Paused;
    paused.record.reason = Some("paused by ada@db-2".into());
    paused.record.intent.wish = Wish::Pause;
    paused.record.intent.by = Some("ada@db-2".into());
    paused.record.workers = 0;
    paused.record.quarantined = 0;
    insta::assert_snapshot!(whole(&paused), @r"
      data 7 fill: paused
        rows       [##########--------------] 41%  1,230,000 of about 3,000,000 rows
        table      public.posts, by id
        segments   3 of 9 done
        worker     on db-1 (process 12)
        why        paused by ada@db-2
        wanted     pause by ada@db-2
        go on      dunlin data resume 7
    ");
    paused.record.intent.wish = Wish::Run;
    assert!(plain(&line(&paused)).starts_with("paused, and told to go on, 41%"));
}

#[test]
fn an_undo_tells_of_itself_alone() {
    let mut undo = view();
    let record = &mut undo.record;
    record.phase = Phase::Undo;
    record.state = BackfillState::Stopped;
    record.reason = Some("cancelled by ada@db-2".into());
    record.intent.wish = Wish::Cancel;
    record.intent.by = Some("ada@db-2".into());
    (record.rows_before, record.row_count_estimate) = (1_500, Some(1_507));
    (record.workers, record.round, record.quarantined) = (0, 2, 0);
    (undo.rows_done, undo.worker) = (1_500, Worker::Nobody);
    insta::assert_snapshot!(whole(&undo), @r"
      data 7 fill: its undo stopped, and is not done
        rows       1,500 rows put back, 7 left as they changed since
        table      public.posts, by id
        why        cancelled by ada@db-2
        wanted     cancel by ada@db-2
        go on      dunlin data undo 7
    ");
    assert_eq!(to_json(&undo)["changed_since"], 7);
    assert_eq!(to_json(&undo)["row_count_estimate"], Value::Null);
    undo.record.intent.wish = Wish::Pause;
    assert_eq!(next(&undo).as_deref(), Some("data resume 7"));
    undo.record.state = BackfillState::Undone;
    assert_eq!(plain(&undo.state()), "undone");
}

#[test]
fn percents_stay_below_a_hundred_until_it_is_done() {
    let mut one = view();
    one.rows_done = 9_000_000;
    assert_eq!(one.percent(), Some(99));
    assert_eq!(one.rows(), "9,000,000 rows");
    one.record.rows_before = 8_999_999;
    assert_eq!(one.percent(), Some(0));
    one.record.rows_before = 0;
    one.rows_done = 7;
    one.record.seconds_left = (10, 20);
    assert_eq!(one.percent(), Some(51));
    assert_eq!(one.rows(), "7 rows changed, of about 1,530,000 looked at");
    one.record.row_count_estimate = Some(0);
    assert_eq!(one.percent(), None);
    one.record.state = BackfillState::Done;
    assert_eq!(one.percent(), Some(100));
    assert_eq!(bar(100).matches('#').count(), BAR_WIDTH);
    assert_eq!(bar(0).matches('#').count(), 0);
}

#[test]
fn what_is_left_is_an_interval() {
    assert_eq!(left((0, 0)), None);
    assert_eq!(left((0, 1)).as_deref(), Some("up to 1 s"));
    assert_eq!(left((40, 55)).as_deref(), Some("40 to 55 s"));
    assert_eq!(left((185, 230)).as_deref(), Some("3 to 4 min"));
    assert_eq!(left((240, 240)).as_deref(), Some("about 4 min"));
    assert_eq!(left((7_000, 9_000)).as_deref(), Some("1 to 3 h"));
    assert_eq!(left((100_000, 300_000)).as_deref(), Some("1 to 4 days"));
}

#[test]
fn thousands_are_apart() {
    for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(grouped(number), text);
    }
}
