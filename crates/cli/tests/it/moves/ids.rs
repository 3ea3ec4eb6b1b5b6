//! Which old key became which id, as the exports tell it: what references get.

use super::Library;

const OLD: &str = "
CREATE TABLE people (id integer PRIMARY KEY, email text NOT NULL);
INSERT INTO people VALUES (1, 'a@x'), (2, 'b@x');
CREATE TABLE orders (id integer PRIMARY KEY, owner integer);
INSERT INTO orders VALUES (1, 1), (2, 2);
";

const NEW: &str = "
CREATE TABLE users (id text PRIMARY KEY, email text NOT NULL UNIQUE);
CREATE TABLE requests (id integer PRIMARY KEY, owner text REFERENCES users);
CREATE TABLE own (id integer PRIMARY KEY, of text REFERENCES users);
";

const MAPPING: &str = r#"source = "old"
target = "app"
[ids]
user = "derived"
[conflicts]
changed_there = "overwrite"
[into.users]
from = "people"
makes = "user"
one_per = "lower(email)"
set.email = "lower(email)"
[into.requests]
from = "orders"
set.id = "id"
set.owner = { new = "user", of = "owner", missing = "null" }
"#;

fn exported(library: &Library) -> String {
    library.run("move ids export library --namespace user").exits(0).stdout()
}

/// Old keys and ids by what refers to them.
fn referred(library: &Library) -> String {
    let rows = library.new_one("SELECT id || ',' || owner FROM requests ORDER BY id");
    format!("old,new\n{rows}\n")
}

#[test]
fn a_merged_row_that_is_kept_has_the_id_that_references_get() {
    let library = Library::of(OLD, NEW, MAPPING);
    library.run("move run library").exits(0);
    assert_eq!(exported(&library), referred(&library));
    library.new_one("INSERT INTO own SELECT 1, id FROM users WHERE email = 'b@x'");
    library.old("UPDATE people SET email = 'b@X' WHERE id = 1");
    library.run("move run library");
    assert_eq!(library.new_one("SELECT count(DISTINCT owner) FROM requests"), "1");
    assert_eq!(exported(&library), referred(&library));
    let owner = library.new_one("SELECT owner FROM requests WHERE id = 2");
    let shown = library.run("move ids show library user 2").exits(0).stdout();
    assert!(shown.contains(&owner), "{shown} {owner}");
}

#[test]
fn ids_of_merged_rows_that_are_gone_are_not_told() {
    let library = Library::of(OLD, NEW, MAPPING);
    library
        .old("UPDATE people SET email = 'A@x' WHERE id = 2; INSERT INTO people VALUES (3, 'c@x')");
    library.run("move run library").exits(0);
    assert_eq!(exported(&library).lines().count(), 4, "{}", exported(&library));
    library.old("DELETE FROM orders; DELETE FROM people WHERE id = 1");
    library.run("move run library").exits(0);
    library.old("DELETE FROM people WHERE id = 2");
    library.run("move run library").exits(0);
    let (id, told) = (library.new_one("SELECT id FROM users"), exported(&library));
    assert_eq!(told, format!("old,new\n3,{id}\n"));
    library.run("move ids show library user 1").exits(1);
}
