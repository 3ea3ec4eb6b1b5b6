//! Files as people and programs leave them.

use std::io::Write as _;

use crate::{Folder, read, relation, rows, told};
use dunlin_engine::moves::Extract;
use dunlin_model::moves::TableName;

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

const PEOPLE: &str = "[from.people]\nkey = \"id\"\ntypes = { id = \"int64\", born = \"date %d.%m.%Y\", paid = \"decimal\" }\n";

#[tokio::test]
async fn every_record_is_a_row_or_told_of() {
    let text = "\u{feff}id,name,born,paid\r\n\
        3,\"Grace \"\"G\"\" Hopper\",09.12.1906,1.50\r\n\
        1,\"Ada,\nCountess\",10.12.1815,\r\n\
        \r\n\
        2,\"\",,-0.5\r\n\
        4,Alan,23.06.1912\r\n\
        5,Kurt,28.04.1906,1,2\r\n\
        6,Emmy,31.02.1882,1\r\n\
        x,Nobody,,\r\n\
        ,Nameless,,\r\n\
        3,Again,,7\r\n\
        7,\"Jon\" von Neumann,,\r\n\
        8,Last,,1\r\n\
        9,\"Open,,\r\n\
        10,Swallowed,,\r\n";
    let folder = Folder::with(&[("people.csv", text.as_bytes())]);
    let (rows, unread) = folder.read("people", PEOPLE).await;
    assert_eq!(
        rows,
        [
            ["1", "Ada,\nCountess", "1815-12-10", "NULL"],
            ["2", "", "NULL", "-0.5"],
            ["3", "Grace \"G\" Hopper", "1906-12-09", "1.50"],
            ["6", "Emmy", "(holds no day)", "1"],
            ["8", "Last", "NULL", "1"],
        ]
    );
    assert_eq!(
        told(&unread),
        [
            "people.csv:7 has 3 fields, and there are 4 columns",
            "people.csv:8 has 5 fields, and there are 4 columns",
            "people.csv:10 `id` holds no whole number",
            "people.csv:11 has no key: `id` is NULL",
            "people.csv:13 has text after a closing quote",
            "people.csv:15-17 has a quote that is never closed",
            "people.csv:12 has the key of people.csv:2",
        ]
    );
    assert_eq!(unread.count, 7);
}

/// Values of several columns, of rows that are sorted, merged and read in another order of columns, some
/// twice: each stays with its row.
#[tokio::test]
async fn what_cannot_be_read_stays_with_its_row() {
    let mut text = "id,a,b\n".to_owned();
    for n in (0..9_000).rev() {
        let (a, b) = (if n % 7 == 0 { "x" } else { "1" }, if n % 11 == 0 { "maybe" } else { "1" });
        text.push_str(&format!("{n},{a},{b}\n"));
    }
    let folder = Folder::with(&[("t.csv", text.as_bytes())]);
    let says = "[from.t]\nkey = \"id\"\ntypes = { id = \"int64\", a = \"int32\", b = \"bool\" }\n";
    let mut source = folder.opened(says).await;
    let fields = relation(source.as_mut(), "t").await.fields;
    let extract = Extract {
        table: TableName::parse("t"),
        query: None,
        fields: [2, 0, 1, 2].map(|place: usize| fields[place].clone()).to_vec(),
        order: vec!["id".to_owned()],
        only: Vec::new(),
        batch_bytes: 4_096,
    };
    let rows = read(source.as_mut(), &extract).await.expect("its rows");
    assert_eq!(rows.len(), 9_000);
    for (n, row) in rows.iter().enumerate() {
        let a = if n % 7 == 0 { "(holds no whole number)" } else { "1" };
        let b = if n % 11 == 0 { "(holds neither true nor false)" } else { "true" };
        assert_eq!(*row, [b, &n.to_string(), a, b]);
    }
}

#[tokio::test]
async fn encodings_are_read_and_what_is_none_is_told() {
    let utf16: Vec<u8> = "\u{feff}id;name\r\n1;Zoë\r\n2;Đorđe\r\n"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    let folder = Folder::with(&[
        ("latin.csv", b"id;name\n1;M\xfcller\n2;\x80 5\n"),
        ("wide.csv", &utf16),
        ("bad.csv", b"id;name\n1;M\xfcller\n2;ok\n"),
    ]);
    let files = "[files]\ndelimiter = \";\"\n";
    let latin = format!("{files}encoding = \"latin1\"\n[from.latin]\nkey = \"id\"\n");
    let (rows, _) = folder.read("latin", &latin).await;
    assert_eq!(rows, [["1", "Müller"], ["2", "€ 5"]]);
    // A byte order mark says what the mapping doesn't.
    let says = format!("{files}[from.wide]\nkey = \"id\"\n[from.bad]\nkey = \"id\"\n");
    let (rows, _) = folder.read("wide", &says).await;
    assert_eq!(rows, [["1", "Zoë"], ["2", "Đorđe"]]);
    let (rows, unread) = folder.read("bad", &says).await;
    let why = "(holds bytes that are no text in the file's encoding)";
    assert_eq!((rows, unread.count), (vec![row(["1", why]), row(["2", "ok"])], 0));
}

#[tokio::test]
async fn files_that_are_no_tables_are_refused() {
    let folder = Folder::with(&[
        ("twice.csv", b"id,name, name\n1,a,b\n"),
        ("empty.csv", b""),
        ("semicolons.csv", b"id;name\n1;a\n"),
        ("latin.csv", b"id,stra\xdfe\n"),
        ("open.csv", b"id,\"name\n1,a\n"),
        ("none.ndjson", b"\n\n"),
        ("torn.parquet", b"PAR1"),
        ("a/1.csv", b"id,a\n"),
        ("a/2.csv", b"id,b\n"),
    ]);
    for (table, message, help) in [
        ("twice", "twice.csv has two columns that are called `name`", "skip = 1"),
        ("empty", "empty.csv is empty: it has not even a header", "names = "),
        ("semicolons", "has one column, with `;` in its name", "delimiter = \";\""),
        ("latin", "has a header that is no text in its encoding", "encoding = "),
        ("open", "has a header that has a quote that is never closed", ""),
        ("none", "none.ndjson has no record, so its columns aren't known", "types = "),
        ("torn", "torn.parquet is no whole Parquet file", "copy it again"),
        ("a", "a/1.csv and a/2.csv are not alike: only one has `a`", "same columns"),
    ] {
        let error = folder.refused(&format!("[from.{table}]\nkey = \"id\"\n")).await;
        assert!(error.message.contains(message), "{}", error.message);
        assert!(error.help.unwrap_or_default().contains(help), "{table}");
    }
    let twice = "[from.twice]\nkey = \"id\"\nfile = { skip = 1, names = [\"id\", \"a\", \"b\"] }\n";
    assert_eq!(folder.read("twice", twice).await.0, [["1", "a", "b"]]);
}

#[tokio::test]
async fn two_files_of_one_table_are_refused() {
    for files in [["a.csv", "a.csv.gz"], ["a.csv", "a/1.csv"], ["a/1.csv", "a/2.ndjson"]] {
        let folder = Folder::with(&files.map(|file| (file, &b"id\n1\n"[..])));
        let connector = dunlin_files::FilesConnector::new(".", folder.dir.path());
        let error = dunlin_engine::moves::SourceConnector::open(&connector).await.err();
        let message = error.expect("refused").message;
        assert!(message.contains("both make") || message.contains("not alike"), "{message}");
    }
}

#[tokio::test]
async fn a_compressed_file_that_is_cut_off_gives_no_row() {
    let mut text = String::from("id,name\n");
    for id in 0..5_000 {
        text.push_str(&format!("{id},name {}\n", id * 7_919 % 10_007));
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).expect("packed");
    let gzip = packed.finish().expect("packed");
    let zstd = zstd::encode_all(text.as_bytes(), 1).expect("packed");
    for (name, packed) in [("t.csv.gz", &gzip), ("t.csv.zst", &zstd)] {
        let says = "[from.t]\nkey = \"id\"\ntypes = { id = \"int64\" }\n";
        let whole = Folder::with(&[(name, packed)]);
        assert_eq!(whole.read("t", says).await.0.len(), 5_000);
        let cut = Folder::with(&[(name, &packed[..packed.len() - 100])]);
        let mut source = cut.opened(says).await;
        let error = rows(source.as_mut(), "t").await.expect_err("it is cut off");
        assert!(error.message.contains(&format!("{name} ends in the middle")), "{error:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_changed_meanwhile_gives_no_row() {
    let folder = Folder::with(&[("t.csv", b"id\n1\n"), ("u.csv", b"id\n1\n")]);
    let says = "[from.t]\nkey = \"id\"\n[from.u]\nkey = \"id\"\n";
    let mut source = folder.opened(says).await;
    relation(source.as_mut(), "t").await;
    std::fs::write(folder.path("u.csv"), "id\n1\n2\n").expect("written");
    // All that the mapping reads is looked at before the first row is given away.
    let error = rows(source.as_mut(), "t").await.expect_err("one was changed");
    assert!(error.message.starts_with("u.csv was changed"), "{error:?}");
    // Once it was read, it may change as it likes.
    let mut source = folder.opened(says).await;
    assert_eq!(rows(source.as_mut(), "u").await.expect("rows").len(), 2);
    std::fs::write(folder.path("u.csv"), "gone").expect("written");
    assert_eq!(rows(source.as_mut(), "u").await.expect("rows").len(), 2);
}

#[tokio::test]
async fn nulls_are_as_the_mapping_says() {
    let folder = Folder::with(&[("t.csv", b"id,a,b\n1,,\"\"\n2,NULL,\"NULL\"\n3,\\N,x\n")]);
    let key = "[from.t]\nkey = \"id\"\n";
    let (rows, _) = folder.read("t", key).await;
    assert_eq!(rows, [["1", "NULL", ""], ["2", "NULL", "NULL"], ["3", "\\N", "x"]]);
    let mut source = folder.opened(key).await;
    let texts = Extract {
        table: TableName::of("t"),
        query: None,
        fields: relation(source.as_mut(), "t").await.fields,
        order: Vec::new(),
        only: vec![("a".to_owned(), "NULL".to_owned())],
        batch_bytes: 1,
    };
    assert_eq!(read(source.as_mut(), &texts).await.expect("rows").len(), 1, "one is a text");
    let says = format!("[files]\nnull = [\"NULL\", '\\N']\n{key}");
    let (rows, _) = folder.read("t", &says).await;
    assert_eq!(rows, [["1", "", ""], ["2", "NULL", "NULL"], ["3", "NULL", "x"]]);
}
