//! Rows come in the order of their keys, whatever the files' own.

use crate::{Folder, relation, rows, told};
use dunlin_engine::moves::Extract;
use dunlin_model::moves::TableName;

#[tokio::test]
async fn numbers_by_value_and_texts_by_bytes() {
    let folder = Folder::with(&[("t.csv", "id,name\n10,b\n9,é\n-1,a\n2,Z\n".as_bytes())]);
    let first = |rows: Vec<Vec<String>>| -> Vec<String> {
        rows.into_iter().map(|mut row| row.swap_remove(0)).collect()
    };
    let (all, _) = folder.read("t", "[from.t]\nkey = \"id\"\ntypes = { id = \"int64\" }\n").await;
    assert_eq!(first(all), ["-1", "2", "9", "10"]);
    let (all, _) = folder.read("t", "[from.t]\nkey = \"id\"\n").await;
    assert_eq!(first(all), ["-1", "10", "2", "9"]);
    let (all, _) = folder.read("t", "[from.t]\nkey = \"name\"\n").await;
    assert_eq!(first(all), ["2", "-1", "10", "9"]);
    let (all, _) = folder.read("t", "[from.t]\nkey = [\"name\", \"id\"]\n").await;
    assert_eq!(first(all), ["2", "-1", "10", "9"]);
}

#[tokio::test]
async fn files_of_one_folder_are_one_table() {
    let folder = Folder::with(&[
        ("orders/2025.csv", b"id,what\n3,c\n1,a\n"),
        ("orders/2026.csv", b"what,id\nb,2\na again,1\n"),
        ("orders/README.txt", b"not a table"),
        ("orders/.hidden.csv", b"x\n"),
    ]);
    let (rows, unread) = folder.read("orders", "[from.orders]\nkey = \"id\"\n").await;
    assert_eq!(rows, [["1", "a"], ["2", "b"], ["3", "c"]]);
    assert_eq!(told(&unread), ["orders/2026.csv:3 has the key of orders/2025.csv:3"]);
    // Where nothing in them is a key, the place is.
    let (rows, _) = folder.read("orders", "[from.orders]\nkey = \"file, line\"\n").await;
    assert_eq!(rows[0], ["3", "c", "orders/2025.csv", "2"]);
    assert_eq!(rows[3], ["1", "a again", "orders/2026.csv", "3"]);
}

#[tokio::test]
async fn one_row_is_found_by_its_key() {
    let folder = Folder::with(&[("t.csv", b"id,day,name\n1,2026-01-01,a\n2,2026-01-02,b\n")]);
    let says = "[from.t]\nkey = \"id, day\"\ntypes = { id = \"int32\", day = \"date\" }\n";
    let mut source = folder.opened(says).await;
    let relation = relation(source.as_mut(), "t").await;
    let mut extract = Extract {
        table: TableName::of("t"),
        query: None,
        fields: vec![relation.fields[2].clone()],
        order: Vec::new(),
        only: vec![("id".into(), "2".into()), ("day".into(), "2026-01-02".into())],
        batch_bytes: 1 << 20,
    };
    assert_eq!(crate::read(source.as_mut(), &extract).await.expect("rows"), [["b"]]);
    extract.only[0].1 = "two".into();
    assert!(crate::read(source.as_mut(), &extract).await.expect("rows").is_empty());
    // Another reader sees the same.
    let mut other = source.reader().await.expect("a reader").expect("another");
    assert_eq!(rows(other.as_mut(), "t").await.expect("rows").len(), 2);
}

#[tokio::test]
async fn what_does_not_fit_files_is_told_with_its_line() {
    let folder = Folder::with(&[("t.csv", b"id\n1\n")]);
    let query = "[from.t]\nquery = \"SELECT 1\"\nkey = \"id\"\n";
    assert_eq!(folder.mistakes(query).await[0].line, 3);
    let twice = "[from.t]\nkey = \"id\"\n[from.again]\ntable = \"t\"\nkey = \"line\"\n";
    let wrong = folder.mistakes(twice).await;
    assert_eq!(wrong[0].message, "`t` and `again` read the same file, and not in the same way");
}
