//! Rows whose ids are matched, and that pass from one old row to another.

use dunlin_testkit::servers::Product;

use super::elsewhere::Pair;
use super::given::numbered;
use crate::survive::world::on_each;

const OLD: &str = "
CREATE TABLE users (id integer PRIMARY KEY, mail varchar(40), age varchar(10), boss integer);
";

const MAPPING: &str = r#"source = "old"
target = "app"

[ids]
user = { kind = "matched", table = "users", by = "mail" }

[into.users]
from  = "users"
makes = "user"
set.mail = "mail"
set.age  = "CAST(age AS INT)"
set.boss = { new = "user", of = "boss", missing = "null" }
"#;

fn pair(product: Product, name: &str, mapping: &str) -> Pair {
    let pair = Pair::new(product, name, mapping);
    pair.old(OLD);
    pair.new_one(&format!(
        "CREATE TABLE users (id {}, mail varchar(40) UNIQUE, age integer, boss integer,
         FOREIGN KEY (boss) REFERENCES users (id));",
        numbered(product)
    ));
    pair
}

fn users(pair: &Pair) -> String {
    pair.new_one("SELECT mail, age FROM users ORDER BY mail")
}

fn overwriting() -> String {
    MAPPING.replace("[ids]", "[conflicts]\nchanged_there = \"overwrite\"\n\n[ids]")
}

/// Its leader goes first, then the rest of it: the row goes with the last.
fn a_merged_row_goes_with_its_last(product: Product) {
    let mapping = MAPPING.replace("makes = \"user\"", "makes = \"user\"\none_per = \"mail\"");
    let pair = pair(product, "last", &mapping);
    pair.old(
        "INSERT INTO users VALUES (1, 'a', '1', NULL), (2, 'a', '2', NULL), (9, 'z', '9', NULL)",
    );
    for (gone, all) in [("0", "a|1\nz|9"), ("1", "a|2\nz|9"), ("2", "z|9")] {
        pair.old(&format!("DELETE FROM users WHERE id = {gone}"));
        pair.run("move run library").exits(0);
        assert_eq!(users(&pair), all);
        pair.rests();
    }
    pair.old("INSERT INTO users VALUES (5, 'a', '5', NULL)");
    pair.run("move run library").exits(0);
    assert_eq!(users(&pair), "a|5\nz|9");
}

/// An adopted row that merges is the application's, whichever of its old rows is left.
fn a_merged_row_that_was_there_stays_as_it_is(product: Product) {
    let mapping = MAPPING.replace("makes = \"user\"", "makes = \"user\"\none_per = \"mail\"");
    let pair = pair(product, "merged_there", &mapping);
    pair.new_one("INSERT INTO users (mail, age) VALUES ('a', 77)");
    pair.old("INSERT INTO users VALUES (1, 'a', '1', NULL), (2, 'a', '2', NULL)");
    for gone in 0..3 {
        pair.old(&format!("DELETE FROM users WHERE id = {gone}"));
        pair.run("move run library").exits(0);
        assert_eq!(users(&pair), "a|77");
    }
}

/// 8 comes for 7, and is rejected: what 7 became goes, unless it was there before, and comes back with 8.
fn a_row_of_one_that_is_rejected_is_nobodys(product: Product) {
    for (there, between) in
        [("", "z|9"), ("INSERT INTO users (mail, age) VALUES ('a', 1)", "a|1\nz|9")]
    {
        let pair = pair(product, &format!("nobodys{}", there.len()), &overwriting());
        pair.new_one(there);
        pair.old("INSERT INTO users VALUES (7, 'a', '1', NULL), (20, 'z', '9', NULL)");
        pair.run("move run library").exits(0);
        pair.old("DELETE FROM users WHERE id = 7; INSERT INTO users VALUES (8, 'a', 'x', NULL)");
        for _ in 0..2 {
            pair.run("move run library").exits(6);
            assert_eq!(users(&pair), between);
        }
        pair.old("UPDATE users SET age = '5' WHERE id = 8");
        pair.run("move run library").exits(0);
        assert_eq!(users(&pair), "a|5\nz|9");
        pair.rests();
        pair.old("DELETE FROM users WHERE id = 8");
        pair.run("move run library").exits(0);
        assert_eq!(users(&pair), between.replace("a|1", "a|5"));
    }
}

/// 8 has the row that 7 left: when 7 comes back, the row stays that of 8.
fn a_row_stays_with_whom_it_went_to(product: Product) {
    for there in ["", "INSERT INTO users (mail, age) VALUES ('a', 1)"] {
        let pair = pair(product, &format!("stays{}", there.len()), &overwriting());
        pair.new_one(there);
        pair.old("INSERT INTO users VALUES (7, 'a', '7', NULL)");
        pair.run("move run library").exits(0);
        pair.old("DELETE FROM users; INSERT INTO users VALUES (8, 'a', '8', NULL)");
        pair.run("move run library").exits(0);
        pair.old("INSERT INTO users VALUES (7, 'a', '7', NULL)");
        for _ in 0..2 {
            let ran = pair.run("move run library").exits(6);
            assert!(ran.all().contains("another old row has"), "{}", ran.all());
            assert_eq!(users(&pair), "a|8");
        }
        pair.old("UPDATE users SET mail = 'y' WHERE id = 7");
        pair.run("move run library").exits(0);
        assert_eq!(users(&pair), "a|8\ny|7");
        pair.rests();
    }
}

/// A new old row has the natural key that another gives up, which may refer to it: it is a row of its own.
fn a_natural_key_moves_on(product: Product) {
    for boss in ["NULL", "2"] {
        for (there, mapping) in [
            ("", MAPPING.to_owned()),
            ("INSERT INTO users (mail, age) VALUES ('sales', 7)", overwriting()),
        ] {
            let name = format!("moves_on{}{}", boss.len(), there.len());
            let pair = pair(product, &name, &mapping);
            pair.new_one(there);
            pair.old("INSERT INTO users VALUES (1, 'sales', '1', NULL)");
            pair.run("move run library").exits(0);
            let first = pair.new_one("SELECT id FROM users");
            pair.old(&format!(
                "UPDATE users SET mail = 'ann', boss = {boss} WHERE id = 1;
                 INSERT INTO users VALUES (2, 'sales', '2', NULL)"
            ));
            pair.run("move run library").exits(0);
            assert_eq!(users(&pair), "ann|1\nsales|2");
            assert_eq!(pair.new_one("SELECT id FROM users WHERE mail = 'ann'"), first);
            let bosses = "SELECT count(*) FROM users u JOIN users b ON b.id = u.boss \
                          WHERE u.mail = 'ann' AND b.mail = 'sales'";
            assert_eq!(pair.new_one(bosses), if boss == "2" { "1" } else { "0" });
            pair.rests();
        }
    }
}

/// 2 is merged into another row, and 3 comes with what 2 was known by: it takes over what 2 became.
fn a_row_of_one_that_is_merged_is_free(product: Product) {
    let mapping = MAPPING.replace("makes = \"user\"", "makes = \"user\"\none_per = \"mail\"");
    let pair = pair(product, "merged_free", &mapping);
    pair.old("INSERT INTO users VALUES (1, 'b', '1', NULL), (2, 'a', '2', 1)");
    pair.run("move run library").exits(0);
    let row = "SELECT id FROM users WHERE mail = 'a'";
    let first = pair.new_one(row);
    pair.old(
        "UPDATE users SET mail = 'b' WHERE id = 2; INSERT INTO users VALUES (3, 'a', '3', NULL)",
    );
    pair.run("move run library").exits(0);
    pair.rests();
    assert_eq!(pair.new_one(row), first);
    pair.old("UPDATE users SET mail = 'c' WHERE id = 2");
    pair.run("move run library").exits(0);
    assert_eq!(users(&pair), "a|3\nb|1\nc|2");
    pair.rests();
}

on_each!(a_row_of_one_that_is_merged_is_free: postgres, mysql, sqlite);
on_each!(a_merged_row_goes_with_its_last: postgres, mysql, sqlite);
on_each!(a_merged_row_that_was_there_stays_as_it_is: postgres, mysql, sqlite);
on_each!(a_row_of_one_that_is_rejected_is_nobodys: postgres, mysql, sqlite);
on_each!(a_row_stays_with_whom_it_went_to: postgres, mysql, sqlite);
on_each!(a_natural_key_moves_on: postgres, mysql, sqlite);
