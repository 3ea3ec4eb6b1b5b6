//! Rows that stand in each other's way.

use super::Library;

const OLD: &str = "
CREATE TABLE doors (id integer PRIMARY KEY, number integer, sign text, next integer);
INSERT INTO doors VALUES (1, 1, 'a', NULL), (2, 2, 'b', NULL), (3, 3, 'c', NULL), (4, 4, NULL, NULL);
";

const NEW: &str = "
CREATE TABLE doors (
  id integer PRIMARY KEY, number integer NOT NULL UNIQUE, sign text UNIQUE,
  next integer REFERENCES doors
);
";

const MAPPING: &str = r#"source = "old"
target = "app"

[ids]
door = "keep"

[into.doors]
from  = "doors"
makes = "door"
set.number = "number"
set.sign   = "sign"
set.next   = { new = "door", of = "next", missing = "null" }
"#;

const ALL: &str = "SELECT id, number, sign FROM doors ORDER BY id";

#[test]
fn rows_swap_unique_values() {
    let library = Library::of(OLD, NEW, MAPPING);
    library.run("move run library").exits(0);
    // Two swap, three go round, and a chain ends in a value of nobody's.
    library.old(
        "UPDATE doors SET number = CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 WHEN 3 THEN 4 ELSE 5 END,
         sign = CASE id WHEN 1 THEN 'b' WHEN 2 THEN 'c' WHEN 3 THEN 'a' END",
    );
    library.run("move run library").exits(0);
    assert_eq!(library.new_one(ALL), "1|2|b\n2|1|c\n3|4|a\n4|5|");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one(ALL), "1|2|b\n2|1|c\n3|4|a\n4|5|");
}

/// As with mail addresses that are one whatever their letters' case.
#[test]
fn rows_swap_what_is_unique_through_an_expression_or_over_some_rows() {
    let new = "
CREATE TABLE doors (
  id integer PRIMARY KEY, number integer NOT NULL, sign text NOT NULL, next integer
);
CREATE UNIQUE INDEX doors_sign ON doors (lower(sign));
CREATE UNIQUE INDEX doors_number ON doors (number) WHERE next IS NULL";
    let mapping = MAPPING.replace("\"sign\"", "\"coalesce(sign, 'none')\"");
    let library = Library::of(OLD, new, &mapping);
    library.run("move run library").exits(0);
    library.old(
        "UPDATE doors SET number = CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 WHEN 3 THEN 4 ELSE 5 END,
         sign = CASE id WHEN 1 THEN 'B' WHEN 2 THEN 'C' WHEN 3 THEN 'A' END",
    );
    library.run("move run library").exits(0);
    assert_eq!(library.new_one(ALL), "1|2|B\n2|1|C\n3|4|A\n4|5|none");
}

/// One of them takes what a row of the application's has: it is refused, and no value is lost.
#[test]
fn a_swap_that_cannot_be_is_taken_back() {
    let library = Library::of(OLD, NEW, MAPPING);
    library.run("move run library").exits(0);
    library.new_one("INSERT INTO doors VALUES (99, 99, 'its own', NULL)");
    library.old(
        "UPDATE doors SET number = CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE 99 END WHERE id < 4",
    );
    let ran = library.run("move run library").exits(6);
    assert!(ran.all().contains("doors: 1 row rejected"), "{}", ran.all());
    assert_eq!(library.new_one(ALL), "1|2|a\n2|1|b\n3|3|c\n4|4|\n99|99|its own");
}

#[test]
fn rows_that_only_refer_to_each_other_go_together() {
    let library = Library::of(OLD, NEW, MAPPING);
    library.old("UPDATE doors SET next = CASE id WHEN 4 THEN 1 ELSE id + 1 END");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT count(*) FROM doors WHERE next IS NOT NULL"), "4");
    library.old("DELETE FROM doors WHERE id <> 4; UPDATE doors SET next = NULL");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one("SELECT count(*) FROM doors"), "1");
}

/// All of it with next to no memory: what is remembered of keys is in files, and the rows are the same.
#[test]
fn rows_are_the_same_with_little_memory() {
    let text = "
CREATE TABLE people (key text PRIMARY KEY, mail text, boss text);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO people SELECT 'k' || i, CASE WHEN i % 10 < 3 THEN 'm' || (i / 10) ELSE 'own' || i END,
  'k' || (i * 7 % 25000) FROM n;
CREATE TABLE tags (id integer PRIMARY KEY, person text, tag text);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO tags SELECT i * 1000003, 'k' || (i % 15000), 't' || (i % 3) FROM n;";
    let new = "
CREATE TABLE people (id integer PRIMARY KEY AUTOINCREMENT, mail text NOT NULL UNIQUE, boss integer REFERENCES people);
CREATE TABLE tags (person integer REFERENCES people, tag text, PRIMARY KEY (person, tag));";
    let mapping = r#"source = "old"
target = "app"

[ids]
person = "assigned"

[from.tags]
key = "id"

[into.people]
from    = "people"
makes   = "person"
one_per = "mail"
set.mail = "mail"
set.boss = { new = "person", of = "boss", missing = "null" }

[into.tags]
from = "tags"
duplicates = "keep the first"
set.person = { new = "person", of = "person" }
set.tag    = "tag"
"#;
    let all = "SELECT * FROM people ORDER BY id; SELECT * FROM tags ORDER BY 1, 2";
    let rows = |memory: &str| {
        let library = Library::of(text, new, mapping);
        let ran = library.run(&format!("move run library --json --memory {memory}")).exits(0);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout()).expect("a report");
        let spilled = report["spilled_bytes"].as_u64().expect("a number");
        (library.new_one(all), spilled)
    };
    let (much, none) = rows("256");
    let (little, some) = rows("1");
    assert!(much == little, "the same rows, whatever the memory");
    assert_eq!(none, 0);
    assert!(some > 0, "it did not fit");
}
