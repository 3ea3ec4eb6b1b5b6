//! Rows that one old row leaves and another comes to, and rows that are gone.

use dunlin_testkit::servers::Product;

use super::elsewhere::Pair;
use super::given::numbered;
use crate::survive::world::on_each;

const ITEMS: &str =
    "CREATE TABLE items (id integer PRIMARY KEY, code varchar(20), words varchar(20))";

/// A natural key, which goes from one old row to another.
const BY_CODE: &str = "CREATE TABLE items (code varchar(20) PRIMARY KEY, \
     words varchar(20) CHECK (words <> 'bad'))";

const MAPPING: &str = r#"source = "old"
target = "app"

[into.items]
from = "items"
set.code  = "code"
set.words = "words"
"#;

const ALL: &str = "SELECT code, words FROM items ORDER BY code";

/// Rows of the old table, each with its number as its code.
fn rows(numbers: impl Iterator<Item = u32>) -> String {
    let rows: Vec<String> = numbers.map(|n| format!("({n}, 'c{n}', 'w{n}')")).collect();
    format!("INSERT INTO items VALUES {};", rows.join(", "))
}

fn items(product: Product, name: &str, mapping: &str, numbers: impl Iterator<Item = u32>) -> Pair {
    let pair = Pair::new(product, name, mapping);
    pair.old(ITEMS);
    pair.new_one(BY_CODE);
    pair.old(&rows(numbers));
    pair.run("move run library").exits(0);
    pair
}

/// So many rows come between those of a pack that it is cut; some of it go, and one gets another
/// place and keeps its key.
fn a_pack_is_cut_as_rows_of_it_go(product: Product) {
    let pair = items(product, "cut", MAPPING, (1..=150).map(|n| n * 100));
    pair.old(&rows((1..=2_100).map(|n| n * 5 + 1)));
    pair.old(
        "UPDATE items SET id = 90000, words = 'moved' WHERE id = 12000; \
         UPDATE items SET id = 90001 WHERE id = 12500; \
         DELETE FROM items WHERE id IN (500, 11000, 13000);",
    );
    let ran = pair.run("move run library").exits(0);
    assert!(!ran.all().contains("there"), "{}", ran.all());
    pair.rests();
    pair.rests();
    assert_eq!(pair.new_one("SELECT count(*) FROM items"), "2247");
    let some = "SELECT code, words FROM items WHERE code IN ('c500', 'c11000', 'c12000', 'c12500', 'c13000') ORDER BY code";
    assert_eq!(pair.new_one(some), "c12000|moved\nc12500|w12500");
}

/// An old row that stands elsewhere comes to a row that the application has changed.
fn what_the_application_made_of_a_row_is_judged_for_its_heir(product: Product) {
    for (word, there) in [("keep theirs", "theirs"), ("overwrite", "heir"), ("stop", "theirs")] {
        let mapping = MAPPING.replace(
            "[into.items]",
            &format!("[conflicts]\nchanged_there = \"{word}\"\n\n[into.items]"),
        );
        let name = format!("heir_{}", &word[..4]);
        // Of several packs.
        let pair = items(product, &name, &mapping, 1..=450);
        pair.new_one("UPDATE items SET words = 'theirs' WHERE code IN ('c7', 'c9')");
        pair.old(
            "DELETE FROM items WHERE id IN (7, 8, 9); \
             INSERT INTO items VALUES (900, 'c7', 'heir'), (901, 'c8', 'heir'), (10000, 'c9', 'theirs')",
        );
        let exit = if word == "stop" { 1 } else { 0 };
        for _ in 0..2 {
            let ran = pair.run("move run library").exits(exit);
            if word == "keep theirs" {
                assert!(ran.all().contains("items: 1 row changed there"), "{}", ran.all());
            }
        }
        let row =
            |code: &str| pair.new_one(&format!("SELECT words FROM items WHERE code = '{code}'"));
        assert_eq!(row("c7"), there, "{word}");
        if word != "stop" {
            assert_eq!((row("c8"), row("c9")), ("heir".to_owned(), "theirs".to_owned()), "{word}");
        }
        // It is the heir's for good.
        pair.old("DELETE FROM items WHERE id IN (901, 10000)");
        pair.run("move run library").exits(exit);
        if word != "stop" {
            assert_eq!(pair.new_one("SELECT count(*) FROM items WHERE code IN ('c8', 'c9')"), "0");
        }
    }
}

/// One row is refused, in whatever mode, and the others come.
fn an_heir_that_is_refused_is_no_others_failure(product: Product) {
    for mode in ["sync", "swap"] {
        let mapping = format!("mode = \"{mode}\"\n{MAPPING}");
        let pair = items(product, &format!("refused_{mode}"), &mapping, 1..=2);
        pair.old(
            "DELETE FROM items WHERE id = 1; \
             INSERT INTO items VALUES (3, 'c1', 'bad'), (4, 'c4', 'new')",
        );
        for _ in 0..2 {
            let ran = pair.run("move run library").exits(6);
            assert!(ran.all().contains("items: 1 row rejected"), "{mode}: {}", ran.all());
            // PostgreSQL refuses it before it sees the key: the row that is gone has no heir there.
            let rest = "SELECT code, words FROM items WHERE code <> 'c1' ORDER BY code";
            assert_eq!(pair.new_one(rest), "c2|w2\nc4|new", "{mode}");
        }
        pair.old("UPDATE items SET words = 'good' WHERE id = 3");
        pair.run("move run library").exits(0);
        assert_eq!(pair.new_one(ALL), "c1|good\nc2|w2\nc4|new", "{mode}");
        pair.rests();
    }
}

/// Of one old row, one new row is done after all, and another is refused for good.
fn a_refused_row_is_told_beside_one_that_is_done(product: Product) {
    let mapping = r#"source = "old"
target = "app"

[into.mails]
from  = "people"
each  = [{ kind = "'first'", mail = "first" }, { kind = "'other'", mail = "other" }]
where = "mail IS NOT NULL"
set.person = "id"
set.kind   = "kind"
set.mail   = "mail"
"#;
    let pair = Pair::new(product, "beside", mapping);
    pair.old(
        "CREATE TABLE people (id integer PRIMARY KEY, first varchar(20), other varchar(20));
         INSERT INTO people VALUES (1, 'a', NULL), (2, 'b', NULL), (3, 'c', NULL);",
    );
    pair.new_one(
        "CREATE TABLE mails (person integer, kind varchar(20), \
           mail varchar(20) UNIQUE CHECK (mail <> 'bad'), PRIMARY KEY (person, kind));",
    );
    pair.run("move run library").exits(0);
    pair.old(
        "UPDATE people SET first = CASE id WHEN 1 THEN 'b' ELSE 'a' END WHERE id < 3; \
         UPDATE people SET other = 'bad' WHERE id = 1;",
    );
    for _ in 0..2 {
        let ran = pair.run("move run library --json").exits(6);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout()).expect("a report");
        let told = report["rules"][0]["notes"]["rejected"].as_object().expect("some were").clone();
        let reasons: Vec<(&String, u64)> =
            told.iter().map(|(reason, count)| (reason, count.as_u64().unwrap_or(0))).collect();
        assert!(
            matches!(&reasons[..], [(reason, 1)] if reason.to_lowercase().contains("check")
                || reason.contains("CONSTRAINT")),
            "{reasons:?}"
        );
        let all = "SELECT person, kind, mail FROM mails ORDER BY person";
        assert_eq!(pair.new_one(all), "1|first|b\n2|first|a\n3|first|c");
    }
}

/// A row is refused until another is deleted, which can only go once others are done.
fn what_waits_for_a_late_deletion_comes(product: Product) {
    let mapping = r#"source = "old"
target = "app"

[conflicts]
max_deleted = "100%"

[into.people]
from = "people"
set.id   = "id"
set.code = "code"

[into.posts]
from = "posts"
set.id     = "id"
set.person = "person"
set.slot   = "slot"
"#;
    let pair = Pair::new(product, "late", mapping);
    pair.old(
        "CREATE TABLE people (id integer PRIMARY KEY, code varchar(9));
         CREATE TABLE posts (id integer PRIMARY KEY, person integer, slot varchar(9));
         INSERT INTO people VALUES (1, 'a'), (2, 'b');
         INSERT INTO posts VALUES (1, 1, 's1'), (2, 2, 's2');",
    );
    pair.new_one(
        "CREATE TABLE people (id integer PRIMARY KEY, code varchar(9) UNIQUE);
         CREATE TABLE posts (id integer PRIMARY KEY, person integer NOT NULL,
           slot varchar(9) NOT NULL UNIQUE, FOREIGN KEY (person) REFERENCES people (id));",
    );
    pair.run("move run library").exits(0);
    pair.old(
        "DELETE FROM people WHERE id = 1; UPDATE people SET code = 'a'; \
         UPDATE posts SET person = 2, slot = CASE id WHEN 1 THEN 's2' ELSE 's1' END;",
    );
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one("SELECT id, code FROM people"), "2|a");
    let posts = "SELECT id, person, slot FROM posts ORDER BY id";
    assert_eq!(pair.new_one(posts), "1|2|s2\n2|2|s1");
    pair.rests();
}

/// The row was there before the move: it is the application's, whichever of the old rows stands for it.
fn a_row_that_was_there_stays_as_its_old_rows_go(product: Product) {
    let mapping = r#"source = "old"
target = "app"

[ids]
person = { kind = "matched", table = "people", by = "mail" }

[into.people]
from    = "people"
makes   = "person"
one_per = "mail"
set.mail = "mail"
set.name = "name"
"#;
    let pair = Pair::new(product, "was_there", mapping);
    let numbered = numbered(product);
    pair.old(
        "CREATE TABLE people (id integer PRIMARY KEY, mail varchar(20), name varchar(20));
         INSERT INTO people VALUES (1, 'a', 'one'), (2, 'a', 'two'), (3, 'a', 'three');",
    );
    pair.new_one(&format!(
        "CREATE TABLE people (id {numbered}, mail varchar(20) UNIQUE, name varchar(20));
         INSERT INTO people VALUES (100, 'a', 'its own');"
    ));
    for gone in 0..=3 {
        pair.old(&format!("DELETE FROM people WHERE id = {gone}"));
        let ran = pair.run("move run library").exits(0);
        assert_eq!(pair.new_one("SELECT * FROM people"), "100|a|its own", "{}", ran.all());
    }
}

/// What an old row became stays while that one can't be read, also where another wants to be it.
#[test]
fn the_row_of_an_unreadable_one_has_no_heir() {
    for (name, gap) in [("near", 1), ("far", 450)] {
        let pair = Pair::new(Product::Sqlite, &format!("unread_{name}"), MAPPING);
        pair.old("CREATE TABLE items (id integer PRIMARY KEY, code text, words date)");
        pair.new_one("CREATE TABLE items (code text PRIMARY KEY, words date)");
        let rows = (1..=gap).map(|n| format!("({n}, 'c{n}', '2024-01-01')"));
        let rows: Vec<String> = rows.collect();
        pair.old(&format!("INSERT INTO items VALUES {}", rows.join(", ")));
        pair.run("move run library").exits(0);
        pair.old(
            "UPDATE items SET words = 'no day' WHERE id = 1; \
             INSERT INTO items VALUES (1000, 'c1', '2024-12-31')",
        );
        let row = "SELECT words FROM items WHERE code = 'c1'";
        for _ in 0..2 {
            pair.run("move run library").exits(6);
            assert_eq!(pair.new_one(row), "2024-01-01", "{name}");
        }
        pair.old(
            "UPDATE items SET words = '2024-02-02' WHERE id = 1; DELETE FROM items WHERE id = 1000",
        );
        pair.run("move run library").exits(0);
        assert_eq!(pair.new_one(row), "2024-02-02", "{name}");
    }
}

/// Of rows that merge one can't be read tonight, by what: no id and no reference moves.
#[test]
fn an_unreadable_row_stays_in_its_merge() {
    let mapping = r#"source = "old"
target = "app"

[ids]
person = "derived"

[into.people]
from    = "people"
makes   = "person"
one_per = "town"
set.town = "town"
set.name = "name"

[into.posts]
from = "posts"
set.id     = "id"
set.person = { new = "person", of = "person" }
"#;
    let change = |id: u32| format!("UPDATE people SET town = 'no number' WHERE id = {id};");
    for (name, changed) in [
        ("first", change(1)),
        ("later", change(2)),
        ("all", change(1) + &change(2) + &change(3)),
        ("of two", change(4)),
        (
            "heir",
            "DELETE FROM posts WHERE person = 1; DELETE FROM people WHERE id = 1;".to_owned()
                + &change(2),
        ),
    ] {
        let pair =
            Pair::new(Product::Sqlite, &format!("merge_{}", name.replace(' ', "_")), mapping);
        pair.old(
            "CREATE TABLE people (id integer PRIMARY KEY, town integer, name text);
             CREATE TABLE posts (id integer PRIMARY KEY, person integer);
             INSERT INTO people VALUES (1, 7, 'a'), (2, 7, 'b'), (3, 7, 'c'), (4, 8, 'd'), (5, 8, 'e'), (6, 9, 'f');
             INSERT INTO posts SELECT id, id FROM people;",
        );
        pair.new_one(
            "CREATE TABLE people (id char(36) PRIMARY KEY, town integer, name text);
             CREATE TABLE posts (id integer PRIMARY KEY, person char(36) NOT NULL);",
        );
        let all = "SELECT id FROM people ORDER BY town; \
             SELECT person FROM posts WHERE id > 1 ORDER BY id";
        pair.run("move run library").exits(0);
        let before = pair.new_one(all);
        pair.old(&changed);
        for _ in 0..2 {
            pair.run("move run library").exits(6);
            assert_eq!(pair.new_one(all), before, "{name}");
        }
        pair.old("UPDATE people SET town = CASE WHEN id < 4 THEN 7 ELSE 8 END WHERE id < 6");
        pair.run("move run library").exits(0);
        assert_eq!(pair.new_one(all), before, "{name}");
        pair.rests();
    }
}

/// Two keys that are one only by the target's collation are both the move's.
fn a_key_that_is_anothers_as_the_target_compares_is_told(product: Product) {
    let mapping = MAPPING.replace("from = ", "duplicates = \"keep the first\"\nfrom = ");
    let pair = Pair::new(product, "collation", &mapping);
    pair.old(ITEMS);
    pair.old("INSERT INTO items VALUES (1, 'k', 'one'), (5, 'K', 'five')");
    let nocase = if product == Product::Sqlite { "COLLATE NOCASE" } else { "" };
    pair.new_one(&format!(
        "CREATE TABLE items (code varchar(20) {nocase} PRIMARY KEY, words varchar(20))"
    ));
    for _ in 0..2 {
        let ran = pair.run("move run library").exits(6);
        assert!(ran.all().contains("another old row became the row"), "{}", ran.all());
        assert_eq!(pair.new_one(ALL), "k|one");
    }
    pair.old("DELETE FROM items WHERE id = 1");
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one(ALL), "K|five");
    pair.rests();
}

/// The heir's rule writes other columns than that of the row's old row.
fn a_row_goes_to_another_rule(product: Product) {
    let mapping = r#"source = "old"
target = "app"

[into.low]
table = "items"
from  = "items"
where = "id < 1000"
set.code  = "code"
set.words = "words"

[into.high]
table = "items"
from  = "items"
where = "id >= 1000"
set.code = "code"
set.note = "words"
"#;
    let pair = Pair::new(product, "rules", mapping);
    pair.old(ITEMS);
    pair.new_one(
        "CREATE TABLE items (code varchar(20) PRIMARY KEY, words varchar(20), note varchar(20))",
    );
    pair.old(&rows([1, 2, 3, 2000].into_iter()));
    pair.run("move run library").exits(0);
    pair.new_one("UPDATE items SET words = 'theirs' WHERE code = 'c2'");
    pair.old("UPDATE items SET id = id + 5000 WHERE id IN (1, 2)");
    let all = "c1|w1|w1\nc2|theirs|\nc2000||w2000\nc3|w3|";
    for _ in 0..2 {
        let ran = pair.run("move run library").exits(0);
        assert!(ran.all().contains("high: 1 row changed there"), "{}", ran.all());
        assert_eq!(pair.new_one("SELECT code, words, note FROM items ORDER BY code"), all);
    }
}

on_each!(a_pack_is_cut_as_rows_of_it_go: postgres, mysql, sqlite);
on_each!(what_the_application_made_of_a_row_is_judged_for_its_heir: postgres, mysql, sqlite);
on_each!(an_heir_that_is_refused_is_no_others_failure: postgres, mysql, sqlite);
on_each!(a_refused_row_is_told_beside_one_that_is_done: postgres, mysql, sqlite);
on_each!(what_waits_for_a_late_deletion_comes: postgres, mysql, sqlite);
on_each!(a_row_that_was_there_stays_as_its_old_rows_go: postgres, mysql, sqlite);
on_each!(a_key_that_is_anothers_as_the_target_compares_is_told: mysql, sqlite);
on_each!(a_row_goes_to_another_rule: postgres, mysql, sqlite);
