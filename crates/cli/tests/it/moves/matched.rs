//! Ids of rows that are there already.

use super::Library;
use crate::project::{snapshot, story};

const REFERRING: &str = r#"source = "old"
target = "app"

[ids]
visit   = "keep"
country = { kind = "matched", table = "countries", from = "lands", by = { code = "upper(iso)" } }
place   = { kind = "matched", table = "countries", by = "code" }

[into.visits]
from  = "visits"
makes = "visit"
set.country_id = { new = "country", of = "land_id", missing = "null" }
set.place_id   = { new = "place", of = "place", missing = "null" }
"#;

const LANDS: &str = "
CREATE TABLE lands (id integer PRIMARY KEY, iso text);
INSERT INTO lands VALUES (1, 'de'), (2, 'FR'), (3, 'xx'), (4, NULL), (5, 'dup');
CREATE TABLE visits (id integer PRIMARY KEY, land_id integer, place text);
INSERT INTO visits VALUES (1, 1, 'fr'), (2, 2, 'DE'), (3, 3, 'yy'), (4, 4, NULL), (5, NULL, 'DE'), (6, 9, 'FR');
";

const COUNTRIES: &str = "
CREATE TABLE countries (id integer PRIMARY KEY, code text COLLATE NOCASE);
INSERT INTO countries VALUES (10, 'DE'), (20, 'FR'), (30, 'DUP'), (31, 'DUP'), (40, NULL);
CREATE TABLE visits (id integer PRIMARY KEY, country_id integer REFERENCES countries, place_id integer REFERENCES countries);
";

const VISITS: &str =
    "SELECT id, ifnull(country_id, '-'), ifnull(place_id, '-') FROM visits ORDER BY id";

#[test]
fn references_find_rows_that_are_there() {
    let library = Library::of(LANDS, COUNTRIES, REFERRING);
    let mut runs = vec![
        library.run("move plan library").exits(0),
        library.run("move run library").exits(0),
        library.run("move rejects library --csv").exits(0),
        library.run("move ids export library --namespace country").exits(0),
        library.run("move ids show library place fr").exits(0),
    ];
    // The target compares: by its collation `fr` is `FR`.
    let first = "1|10|20\n2|20|10\n3|-|-\n4|-|-\n5|-|10\n6|-|20";
    assert_eq!(library.new_one(VISITS), first);
    // A later change of the natural key, on either side, moves no id.
    library.old("UPDATE lands SET iso = 'fr' WHERE id = 1");
    library.new_one("UPDATE countries SET code = 'FRA' WHERE id = 20");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one(VISITS), first);
    // A row that is gone is looked for anew.
    library.new_one("DELETE FROM countries WHERE id = 20; INSERT INTO countries VALUES (21, 'FR')");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one(VISITS), "1|10|21\n2|21|10\n3|-|-\n4|-|-\n5|-|10\n6|-|21");
    // Of two that match nobody knows which is meant.
    library.old("INSERT INTO visits VALUES (7, 5, NULL)");
    runs.push(library.run("move run library").exits(6));
    snapshot!("move_matched", library.project, story(&runs));
}

const SIGNED_UP: &str = r#"source = "old"
target = "app"

[ids]
person = { kind = "matched", table = "people", by = "email" }
post   = "assigned"

[into.people]
from  = "members"
makes = "person"
set.email = "email"
set.name  = "name"

[into.posts]
from  = "posts"
makes = "post"
set.person_id = { new = "person", of = "member_id" }
"#;

const MEMBERS: &str = "
CREATE TABLE members (id integer PRIMARY KEY, email text, name text);
INSERT INTO members VALUES (1, 'ada@example.org', 'Ada'), (2, 'alan@example.org', 'Alan'), (3, NULL, 'Nobody');
CREATE TABLE posts (id integer PRIMARY KEY, member_id integer);
INSERT INTO posts VALUES (1, 1), (2, 2), (3, 3);
";

const PEOPLE: &str = "
CREATE TABLE people (id integer PRIMARY KEY AUTOINCREMENT, email text UNIQUE COLLATE NOCASE, name text, own text DEFAULT 'its own');
INSERT INTO people VALUES (100, 'ADA@example.org', 'Ada, who signed up', 'hers');
CREATE TABLE posts (id integer PRIMARY KEY AUTOINCREMENT, person_id integer NOT NULL REFERENCES people);
";

const ALL: &str = "SELECT * FROM people ORDER BY id; SELECT * FROM posts ORDER BY id";

#[test]
fn rows_that_are_there_are_adopted_and_others_made() {
    let library = Library::of(MEMBERS, PEOPLE, SIGNED_UP);
    let mut runs = vec![
        library.run("move run library --dry-run").exits(0),
        library.run("move run library").exits(0),
    ];
    let first = library.new_one(ALL);
    assert_eq!(
        first,
        "100|ADA@example.org|Ada, who signed up|hers\n101|alan@example.org|Alan|its own\n\
         102||Nobody|its own\n1|100\n2|101\n3|102"
    );
    library.run("move run library").exits(0);
    assert_eq!(library.new_one(ALL), first, "a re-run changes nothing");
    // Another address moves no id, and one that is made anew takes its row over.
    library.old(
        "UPDATE members SET email = 'turing@example.org' WHERE id = 2;
         UPDATE members SET name = 'Ada Lovelace' WHERE id = 1;
         DELETE FROM posts WHERE id = 3; DELETE FROM members WHERE id = 3;
         INSERT INTO members VALUES (4, 'new@example.org', 'New')",
    );
    library.run("move run library").exits(0);
    library.old("DELETE FROM members WHERE id = 4; INSERT INTO members VALUES (5, 'new@example.org', 'Newer')");
    runs.push(library.run("move run library").exits(0));
    let people = "SELECT id, email, name FROM people ORDER BY id";
    assert_eq!(
        library.new_one(people),
        "100|ADA@example.org|Ada, who signed up\n101|turing@example.org|Alan\n103|new@example.org|Newer"
    );
    // What the move did not make it does not delete.
    library.old("DELETE FROM posts; DELETE FROM members");
    runs.push(library.run("move run library").exits(0));
    assert_eq!(library.new_one(people), "100|ADA@example.org|Ada, who signed up");
    snapshot!("move_adopted", library.project, story(&runs));
}

#[test]
fn adopted_rows_are_written_over_where_the_mapping_says_so() {
    let mapping = SIGNED_UP.replace("[ids]", "[conflicts]\nchanged_there = \"overwrite\"\n\n[ids]");
    let library = Library::of(MEMBERS, PEOPLE, &mapping);
    library.run("move run library").exits(0);
    let ada = "SELECT * FROM people WHERE id = 100";
    assert_eq!(library.new_one(ada), "100|ada@example.org|Ada|hers");
    library.old("DELETE FROM posts WHERE member_id = 1; DELETE FROM members WHERE id = 1");
    library.run("move run library").exits(0);
    assert_eq!(library.new_one(ada), "100|ada@example.org|Ada|hers", "it stays");
}

/// Two old rows that match one: neither is guessed.
#[test]
fn two_old_rows_do_not_share_one_that_is_there() {
    let library = Library::of(MEMBERS, PEOPLE, SIGNED_UP);
    library.old("INSERT INTO members VALUES (6, 'ada@EXAMPLE.org', 'Ada again')");
    let ran = library.run("move run library").exits(6);
    assert!(ran.stdout().contains("another old row has"), "{}", ran.all());
    assert_eq!(library.new_one("SELECT count(*) FROM people"), "3");
}

/// A table that only `[[leave_out]]` names is read and counted, with a key or without.
#[test]
fn tables_of_which_nothing_is_taken_are_counted() {
    let text = "\n[[leave_out]]\nfrom = \"log\"\nbecause = \"nobody reads it\"\n\
                \n[[leave_out]]\nfrom = \"marks\"\nwhere = \"n > 1\"\nbecause = \"too many\"\n";
    let library = Library::of(MEMBERS, PEOPLE, &format!("{SIGNED_UP}{text}"));
    library.old(
        "CREATE TABLE log (line text); INSERT INTO log VALUES ('a'), ('b'), ('c');
         CREATE TABLE marks (id integer PRIMARY KEY, n integer); INSERT INTO marks VALUES (1, 2), (2, 3);",
    );
    let ran = library.run("move run library").exits(0);
    assert!(ran.stdout().contains("3 rows left out of log: nobody reads it"), "{}", ran.all());
    assert!(ran.stdout().contains("2 rows left out of marks: too many"), "{}", ran.all());
    library.old("INSERT INTO marks VALUES (3, 1)");
    let ran = library.run("move run library").exits(6);
    assert!(ran.all().contains("1 row of marks: no rule takes them"), "{}", ran.all());
}
