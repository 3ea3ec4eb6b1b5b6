//! Rows of several tables that wait for each other: a new one for the unique value of one that is gone,
//! that one for those that refer to it, and those for the new one.

use dunlin_testkit::servers::Product;

use super::KEY;
use super::elsewhere::Pair;
use crate::survive::world::on_each;

const OLD: &str = "
CREATE TABLE people (id integer PRIMARY KEY, mail varchar(40), seat integer, tag varchar(3), chief integer);
INSERT INTO people VALUES (1, 'a@x.org', 7, 'abc', NULL), (2, 'b@x.org', 8, 'def', 1), (5, 'e@x.org', 9, 'ghi', 2);
CREATE TABLE jobs (id integer PRIMARY KEY, owner integer, words varchar(10));
INSERT INTO jobs VALUES (1, 1, 'one'), (2, 2, 'two');
";

/// What no row may give up as it likes: forms, lengths, numbers, and references that must be there.
const NEW: &str = "
CREATE TABLE accounts (
  id integer PRIMARY KEY, mail varchar(40) NOT NULL CHECK (mail LIKE '%_@_%'),
  seat integer NOT NULL UNIQUE CHECK (seat > 0), tag varchar(3) NOT NULL CHECK (length(tag) = 3),
  standing varchar(10) NOT NULL CHECK (standing IN ('new', 'old')), chief_id integer, own varchar(10),
  UNIQUE (standing, tag), FOREIGN KEY (chief_id) REFERENCES accounts (id)
);
CREATE TABLE tasks (id integer PRIMARY KEY, owner_id integer NOT NULL, words varchar(10),
  FOREIGN KEY (owner_id) REFERENCES accounts (id));
";

const MAPPING: &str = r#"source = "old"
target = "app"

[ids]
account = "keep"
task    = "keep"

[conflicts]
max_deleted = "100%"

[into.accounts]
from  = "people"
makes = "account"
set.mail     = "mail"
set.seat     = "seat"
set.tag      = "tag"
set.standing = "'old'"
set.chief_id = { new = "account", of = "chief", missing = "null" }

[into.tasks]
from  = "jobs"
makes = "task"
set.owner_id = { new = "account", of = "owner", missing = "leave out" }
set.words    = "words"
"#;

/// One person goes, another comes with all that the first had, and their job is the other's.
const SPLIT: &str = "DELETE FROM people WHERE id = 1; \
     INSERT INTO people VALUES (3, 'a@x.org', 7, 'abc', 3); \
     UPDATE people SET chief = 3 WHERE id = 2; UPDATE jobs SET owner = 3, words = 'new' WHERE id = 1;";

const AFTER_SPLIT: &str = "2|b@x.org|8|def|3\n3|a@x.org|7|abc|3\n5|e@x.org|9|ghi|2";

const ACCOUNTS: &str = "SELECT id, mail, seat, tag, chief_id FROM accounts ORDER BY id";
const TASKS: &str = "SELECT id, owner_id, words FROM tasks ORDER BY id";

fn pair(product: Product, name: &str) -> Pair {
    let pair = Pair::new(product, name, MAPPING);
    pair.old(OLD);
    pair.new_one(NEW);
    // MariaDB has no index over an expression.
    let of = if product == Product::Mysql { "mail" } else { "lower(mail)" };
    pair.new_one(&format!("CREATE UNIQUE INDEX accounts_mail ON accounts ({of})"));
    pair.run("move run library").exits(0);
    pair
}

fn a_value_goes_to_a_new_row(product: Product) {
    let pair = pair(product, "knot");
    pair.old(SPLIT);
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one(ACCOUNTS), AFTER_SPLIT);
    assert_eq!(pair.new_one(TASKS), "1|3|new\n2|2|two");
    pair.rests();
    // The new one wants what a changed one has, which is to have what one has that is gone.
    pair.old(
        "DELETE FROM people WHERE id = 3; UPDATE people SET mail = 'a@x.org', seat = 7, tag = 'abc', \
         chief = 6 WHERE id = 2; INSERT INTO people VALUES (6, 'b@x.org', 8, 'def', NULL); \
         UPDATE jobs SET owner = 6 WHERE id = 1;",
    );
    pair.run("move run library").exits(0);
    let accounts = "2|a@x.org|7|abc|6\n5|e@x.org|9|ghi|2\n6|b@x.org|8|def|";
    assert_eq!(pair.new_one(ACCOUNTS), accounts);
    assert_eq!(pair.new_one(TASKS), "1|6|new\n2|2|two");
    pair.rests();
}

/// It comes before those that refer to it, and the source is not read again for it.
fn a_new_row_gets_what_another_gives_up(product: Product) {
    let pair = pair(product, "late");
    pair.old(
        "UPDATE people SET mail = 'z@x.org', seat = 70, tag = 'xyz' WHERE id = 5; \
         INSERT INTO people VALUES (3, 'e@x.org', 9, 'ghi', NULL), (4, 'f@x.org', 8, 'jkl', NULL); \
         INSERT INTO jobs VALUES (3, 3, 'three');",
    );
    // One row stays refused, since nobody gave its value up.
    let ran = pair.run("move run library").exits(6);
    assert!(ran.all().contains("accounts: 1 row rejected"), "{}", ran.all());
    let accounts = "1|a@x.org|7|abc|\n2|b@x.org|8|def|1\n3|e@x.org|9|ghi|\n5|z@x.org|70|xyz|2";
    assert_eq!(pair.new_one(ACCOUNTS), accounts);
    assert_eq!(pair.new_one(TASKS), "1|1|one\n2|2|two\n3|3|three");
    pair.old("UPDATE people SET seat = 10 WHERE id = 4");
    pair.run("move run library").exits(0);
    pair.old(
        "UPDATE people SET mail = 'y@x.org', seat = 71, tag = 'uvw' WHERE id = 5; \
         INSERT INTO people VALUES (6, 'z@x.org', 70, 'xyz', NULL); \
         INSERT INTO jobs VALUES (4, 6, 'four');",
    );
    let ran = pair.run("move run library").exits(0);
    assert!(!ran.stderr().contains("retrying"), "{}", ran.all());
    assert!(ran.stderr().contains("3 rows written"), "{}", ran.all());
    assert_eq!(pair.new_one(TASKS), "1|1|one\n2|2|two\n3|3|three\n4|6|four");
    pair.rests();
}

/// Where the application's rows need the one that is gone, it keeps all that it has. The new one can't
/// come then, and counts as missing.
fn what_others_need_keeps_its_values(product: Product) {
    let pair = pair(product, "needed");
    pair.new_one("INSERT INTO tasks VALUES (99, 1, 'its own')");
    pair.old(SPLIT);
    for _ in 0..2 {
        let ran = pair.run("move run library").exits(6);
        assert!(ran.all().contains("accounts: 1 row rejected"), "{}", ran.all());
        assert_eq!(pair.new_one(ACCOUNTS), "1|a@x.org|7|abc|\n2|b@x.org|8|def|\n5|e@x.org|9|ghi|2");
        assert_eq!(pair.new_one(TASKS), "2|2|two\n99|1|its own");
    }
    pair.new_one("DELETE FROM tasks WHERE id = 99");
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one(ACCOUNTS), AFTER_SPLIT);
    pair.rests();
}

/// One that the application has changed is the application's, with all that it has.
fn what_the_application_changed_keeps_its_values(product: Product) {
    let pair = pair(product, "theirs");
    pair.new_one("UPDATE accounts SET seat = 70 WHERE id = 1");
    pair.old(SPLIT);
    pair.run("move run library").exits(6);
    assert_eq!(pair.new_one("SELECT mail, seat, tag FROM accounts WHERE id = 1"), "a@x.org|70|abc");
    assert_eq!(pair.new_one("SELECT count(*) FROM accounts WHERE id = 3"), "0");
}

/// (1, 2) Whoever dies before the commit has changed nothing, and the next run does it.
fn a_death_in_a_knot_changes_nothing(product: Product) {
    let pair = pair(product, "death");
    pair.old(SPLIT);
    let before = pair.new_one(ACCOUNTS);
    let dies = [KEY, ("DUNLIN_FAILPOINT", "move.untied")];
    pair.project.run_with("move run library", &dies).was_killed();
    assert_eq!(pair.new_one(ACCOUNTS), before);
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one(ACCOUNTS), AFTER_SPLIT);
    pair.rests();
}

on_each!(a_new_row_gets_what_another_gives_up: postgres, mysql, sqlite);
on_each!(a_value_goes_to_a_new_row: postgres, mysql, sqlite);
on_each!(what_others_need_keeps_its_values: postgres, mysql, sqlite);
on_each!(what_the_application_changed_keeps_its_values: postgres, mysql, sqlite);
on_each!(a_death_in_a_knot_changes_nothing: postgres, mysql, sqlite);
