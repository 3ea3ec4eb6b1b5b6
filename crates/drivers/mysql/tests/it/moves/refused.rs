//! Rows that are refused, while the others go in.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Int16Array, Int32Array, StringArray, TimestampMicrosecondArray,
};
use dunlin_engine::ErrorKind;
use dunlin_engine::moves::Refused;

use super::write::PEOPLE;
use super::{Moving, batch, keys, people};

#[tokio::test]
async fn single_rows_are_refused_with_their_reason() {
    let mut moving = Moving::new("m_refused", &PEOPLE).await;
    moving.world.eyes().await.run("INSERT INTO people VALUES (5, 'there', NULL)").await;
    let into = moving.written("people").await;
    let rows = people(
        &into,
        &[
            (Some(1), Some("a"), Some(1)),
            (Some(2), Some("secret-and-long"), None),
            (Some(3), None, None),
            (Some(4), Some("d"), Some(9)),
            (Some(5), Some("e"), None),
            (Some(6), Some("bad"), None),
            (Some(7), Some("THERE"), None),
            (Some(8), Some("h"), None),
            (Some(8), Some("again"), None),
            (None, Some("i"), None),
            (Some(10), Some("j    "), Some(2)),
            (Some(11), Some("k     "), Some(2)),
        ],
    );
    moving.begin().await;
    let refused = moving.target.insert(&into, &rows).await.unwrap();
    assert_eq!(refused.absent_or_there, [4, 8]);
    let reasons: Vec<(u32, &str)> =
        refused.rejected.iter().map(|(row, why)| (*row, why.as_str())).collect();
    let places: Vec<u32> = reasons.iter().map(|(row, _)| *row).collect();
    assert_eq!(places, [1, 2, 3, 5, 6, 9, 11], "{reasons:?}");
    let of = |row: u32| reasons.iter().find(|(place, _)| *place == row).unwrap().1;
    assert!(of(1).contains("name") && of(1).contains("longer"), "{reasons:?}");
    assert!(of(2).contains("name") && of(2).contains("NULL"), "{reasons:?}");
    assert!(of(3).contains("foreign key") && of(3).contains("team_id"), "{reasons:?}");
    assert!(of(6).contains("one_name"), "{reasons:?}");
    for (_, reason) in &reasons {
        assert!(!reason.contains("secret") && !reason.contains("THERE"), "{reason}");
        assert!(!reason.contains(" at row "), "{reason}");
    }
    moving.commit().await;
    assert_eq!(
        moving.one("SELECT GROUP_CONCAT(CONCAT(id, name) ORDER BY id) FROM people").await,
        "1a,5there,8h,10j    "
    );
    assert_eq!(moving.one("SELECT COUNT(*) FROM people WHERE name = 'again'").await, "0");
}

#[tokio::test]
async fn what_the_server_would_change_without_a_word_is_refused() {
    let mut moving = Moving::new(
        "m_silent",
        &["CREATE TABLE t (id int PRIMARY KEY, at datetime(3), stamp timestamp NOT NULL, \
           y year, e enum('a','b'), n decimal(5,1), b binary(2), s tinytext)"],
    )
    .await;
    let into = moving.written("t").await;
    let good = 1_420_074_000_000_000;
    let column = |bad_at: usize, good: &str, bad: &str| -> ArrayRef {
        Arc::new(
            (0..9).map(|row| Some(if row == bad_at { bad } else { good })).collect::<StringArray>(),
        )
    };
    let times = |bad_at: usize, bad: Option<i64>| {
        (0..9)
            .map(|row| if row == bad_at { bad } else { Some(good) })
            .collect::<TimestampMicrosecondArray>()
    };
    let long = "x".repeat(250) + "      ";
    let bytes: Vec<&[u8]> =
        (0..9).map(|row| if row == 6 { &b"x"[..] } else { &b"xy"[..] }).collect();
    let rows = batch(
        &into,
        vec![
            Arc::new(Int32Array::from_iter_values(0..9)),
            Arc::new(times(1, Some(good + 1))),
            Arc::new(times(2, None).with_timezone("UTC")),
            Arc::new(
                (0..9).map(|row| Some(if row == 3 { 70 } else { 1970 })).collect::<Int16Array>(),
            ),
            column(4, "a", "2"),
            column(5, "1.50", "1.25"),
            Arc::new(BinaryArray::from(bytes)),
            column(7, "x", &long),
        ],
    );
    moving.begin().await;
    let refused = moving.target.insert(&into, &rows).await.unwrap();
    let places: Vec<u32> = refused.rejected.iter().map(|(row, _)| *row).collect();
    assert_eq!(places, [1, 2, 3, 4, 5, 6, 7], "{refused:?}");
    moving.commit().await;
    assert_eq!(moving.one("SELECT GROUP_CONCAT(id) FROM t").await, "0,8");
}

#[tokio::test]
async fn an_update_that_is_refused_leaves_its_row_as_it_was() {
    let mut moving = Moving::new("m_update", &PEOPLE).await;
    let mut eyes = moving.world.eyes().await;
    eyes.run("INSERT INTO people VALUES (1, 'a', NULL), (2, 'b', NULL), (3, 'c', NULL)").await;
    let into = moving.written("people").await;
    let rows = people(
        &into,
        &[(Some(1), Some("x"), None), (Some(2), Some("bad"), None), (Some(3), Some("z"), Some(7))],
    );
    moving.begin().await;
    let refused = moving.target.update(&into, &rows).await.unwrap();
    let places: Vec<u32> = refused.rejected.iter().map(|(row, _)| *row).collect();
    assert_eq!(places, [1, 2], "{refused:?}");
    moving.commit().await;
    assert_eq!(eyes.one("SELECT GROUP_CONCAT(name ORDER BY id) FROM people").await, "x,b,c");
}

#[tokio::test]
async fn keys_that_only_the_collation_takes_for_one_are_two() {
    let mut moving = Moving::new(
        "m_collation",
        &["CREATE TABLE t (k varchar(9) PRIMARY KEY, n int)", "INSERT INTO t VALUES ('abc', 1)"],
    )
    .await;
    let into = moving.written("t").await;
    let row = |key: &str| {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(vec![key])), Arc::new(Int32Array::from(vec![2]))];
        batch(&into, columns)
    };
    moving.begin().await;
    let other = row("ABC");
    let there = Refused { absent_or_there: vec![0], rejected: Vec::new() };
    assert_eq!(moving.target.insert(&into, &other).await.unwrap(), there);
    assert_eq!(moving.target.update(&into, &other).await.unwrap(), there);
    let key = other.project(&[0]).unwrap();
    assert_eq!(moving.target.fetch(&into, &key, true).await.unwrap().rows.num_rows(), 0);
    assert_eq!(moving.target.delete(&into, &key).await.unwrap(), there);
    assert_eq!(moving.target.update(&into, &row("abc")).await.unwrap(), Refused::default());
    moving.commit().await;
    assert_eq!(moving.one("SELECT CONCAT(k, n) FROM t").await, "abc2");
}

#[tokio::test]
async fn rows_that_others_refer_to_stay() {
    let mut moving = Moving::new("m_delete", &PEOPLE).await;
    let mut eyes = moving.world.eyes().await;
    eyes.run("INSERT INTO people VALUES (1, 'a', 1)").await;
    eyes.run(
        "CREATE TABLE tree (id int PRIMARY KEY, up int, FOREIGN KEY (up) REFERENCES tree (id) \
         ON DELETE SET NULL)",
    )
    .await;
    eyes.run("INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 4), (5, NULL), (6, 5)").await;
    let into = moving.written("teams").await;
    moving.begin().await;
    let refused = moving.target.delete(&into, &keys(&into, &[1, 2])).await.unwrap();
    let [(0, reason)] = refused.rejected.as_slice() else { panic!("{refused:?}") };
    assert!(reason.contains("people"), "{reason}");
    let into = moving.written("tree").await;
    let refused = moving.target.delete(&into, &keys(&into, &[1, 2, 3, 4, 5])).await.unwrap();
    let places: Vec<u32> = refused.rejected.iter().map(|(row, _)| *row).collect();
    assert_eq!(places, [4], "{refused:?}");
    moving.commit().await;
    assert_eq!(eyes.one("SELECT GROUP_CONCAT(id) FROM teams").await, "1");
    assert_eq!(eyes.one("SELECT COUNT(*) FROM people").await, "1");
    assert_eq!(
        eyes.one("SELECT GROUP_CONCAT(CONCAT(id, '-', IFNULL(up, ''))) FROM tree").await,
        "5-,6-5"
    );
}

/// InnoDB looks at each row by itself: it refuses one that refers to itself, and circles.
#[tokio::test]
async fn rows_that_refer_to_themselves_and_each_other_go() {
    let mut moving = Moving::new(
        "m_circle",
        &[
            "CREATE TABLE tree (id int PRIMARY KEY, up int, FOREIGN KEY (up) REFERENCES tree (id))",
            "SET foreign_key_checks = 0",
            "INSERT INTO tree VALUES (1, 1), (2, 3), (3, 2), (4, 5), (5, 6), (6, 4), (7, 4), \
             (8, 8), (9, 8), (10, 11), (11, 10), (12, 11)",
        ],
    )
    .await;
    let into = moving.written("tree").await;
    moving.begin().await;
    let given = keys(&into, &[1, 2, 3, 4, 5, 6, 8, 10, 11, 12]);
    let refused = moving.target.delete(&into, &given).await.unwrap();
    // 7 and 9 are the application's: what they refer to stays, and what that refers to.
    let places: Vec<u32> = refused.rejected.iter().map(|(row, _)| *row).collect();
    assert_eq!(places, [3, 4, 5, 6], "{refused:?}");
    moving.commit().await;
    assert_eq!(moving.one("SELECT GROUP_CONCAT(id ORDER BY id) FROM tree").await, "4,5,6,7,8,9");
    // The server looks at references again.
    moving.begin().await;
    let refused = moving.target.delete(&into, &keys(&into, &[8])).await.unwrap();
    assert_eq!(refused.rejected.len(), 1, "{refused:?}");
    moving.commit().await;
}

#[tokio::test]
async fn rows_that_refer_to_later_ones_go_in() {
    let mut moving = Moving::new(
        "m_later",
        &["CREATE TABLE t (id int PRIMARY KEY, s varchar(9), up int, \
           FOREIGN KEY (up) REFERENCES t (id))"],
    )
    .await;
    let into = moving.written("t").await;
    let rows = people(
        &into,
        &[
            (Some(1), None, Some(2)),
            (Some(2), None, Some(3)),
            (Some(3), None, None),
            (Some(4), None, Some(9)),
        ],
    );
    moving.begin().await;
    let refused = moving.target.insert(&into, &rows).await.unwrap();
    let places: Vec<u32> = refused.rejected.iter().map(|(row, _)| *row).collect();
    assert_eq!(places, [3], "{refused:?}");
    moving.commit().await;
    assert_eq!(moving.one("SELECT COUNT(*) FROM t").await, "3");
}

#[tokio::test]
async fn triggers_fire_or_the_table_is_refused() {
    let mut moving = Moving::new(
        "m_trigger",
        &[
            "CREATE TABLE t (id int PRIMARY KEY, s varchar(9), n int)",
            "CREATE TABLE log (id int)",
            "CREATE TRIGGER seen AFTER INSERT ON t FOR EACH ROW BEGIN INSERT INTO log VALUES \
             (NEW.id); IF NEW.n = 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'secret'; \
             END IF; END",
        ],
    )
    .await;
    let mut into = moving.written("t").await;
    let rows = people(&into, &[(Some(1), None, Some(1)), (Some(2), None, Some(0))]);
    moving.begin().await;
    let refused = moving.target.insert(&into, &rows).await.unwrap();
    assert_eq!(refused.rejected, [(1, "a trigger raised an error".to_owned())]);
    moving.commit().await;
    assert_eq!(moving.one("SELECT GROUP_CONCAT(id) FROM log").await, "1");
    into.triggers = false;
    moving.begin().await;
    let error = moving.target.insert(&into, &rows).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn a_table_without_transactions_is_refused() {
    let mut moving = Moving::new(
        "m_myisam",
        &["CREATE TABLE t (id int PRIMARY KEY, s varchar(9), n int) ENGINE = MyISAM"],
    )
    .await;
    let into = moving.written("t").await;
    moving.begin().await;
    let error =
        moving.target.load(&into, &people(&into, &[(Some(1), None, None)])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("MyISAM"), "{error}");
}
