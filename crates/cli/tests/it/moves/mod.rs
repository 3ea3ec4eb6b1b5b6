//! Moves, through the program: SQLite to SQLite, and an example on PostgreSQL.

mod bare;
mod behind;
mod conflicts;
mod control;
mod counts;
mod demo;
mod design_queue;
mod elsewhere;
mod exchanged;
mod files;
mod finish;
mod fixed;
mod given;
mod heirs;
mod ids;
mod judged;
mod knots;
mod logins;
mod look_ups;
mod matched;
mod mistakes;
mod modes;
mod nights;
mod on_error;
mod refusals;
mod rejected;
mod rights;
mod samples;
mod scaffold;
mod strangers;
mod survives;
mod taken_over;
mod told;
mod unreadable;
mod verify;

use dunlin_testkit::servers::run_sql;

use crate::project::{Project, Ran};

/// So that derived ids are the same in every test run.
const KEY: (&str, &str) =
    ("DUNLIN_MOVE_KEY", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");

const CONFIGURATION: &str =
    "[databases.old]\nurl = \"sqlite:old.db\"\n\n[databases.app]\nurl = \"sqlite:new.db\"\n";

const OLD: &str = "
CREATE TABLE members (id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL, shoe_size integer);
INSERT INTO members VALUES
  (1, 'Ada Lovelace', 'ada@example.org', 37), (2, 'Alan Turing', 'alan@example.org', 43),
  (3, 'Ada L.', 'ADA@example.org', NULL), (4, 'Grace Hopper', 'grace@example.org', 38);
CREATE TABLE books (id integer PRIMARY KEY, title text);
INSERT INTO books VALUES (10, 'Sketches'), (20, NULL), (30, 'Compilers');
CREATE TABLE loans (id integer PRIMARY KEY, member_id integer, book_id integer, out_on text, back_on text);
INSERT INTO loans VALUES
  (1, 1, 10, '2024-01-01', '2024-01-09'), (2, 3, 30, '2024-02-01', NULL),
  (3, 77, 10, '2024-02-02', NULL), (4, 2, 99, '2024-02-03', '2024-02-30'),
  (5, 4, 30, NULL, NULL);
";

const NEW: &str = "
CREATE TABLE people (id char(36) PRIMARY KEY, email text NOT NULL UNIQUE, given text NOT NULL, family text NOT NULL);
CREATE TABLE books (id integer PRIMARY KEY AUTOINCREMENT, title text NOT NULL);
CREATE TABLE loans (
  id char(36) PRIMARY KEY,
  person_id char(36) NOT NULL REFERENCES people,
  book_id integer REFERENCES books
);
CREATE TABLE loan_days (
  loan_id char(36) NOT NULL REFERENCES loans, what text NOT NULL, day date NOT NULL,
  PRIMARY KEY (loan_id, what)
);
";

const MAPPING: &str = r#"source = "old"
target = "app"
id_key = "library"

[ids]
person = "derived"
book   = { kind = "keep", headroom = 100 }
loan   = "derived"

[from.members]
unused = ["shoe_size"]

[into.people]
from    = "members"
makes   = "person"
one_per = "lower(email)"
set.email  = "lower(email)"
set.given  = "split_part(name, ' ', 1)"
set.family = "split_part(name, ' ', 2)"

[into.books]
from  = "books"
makes = "book"
set.title = "coalesce(title, 'Untitled')"

[into.loans]
from  = "loans"
makes = "loan"
set.person_id = { new = "person", of = "member_id", missing = "leave out" }
set.book_id   = { new = "book", of = "book_id", missing = "null" }

[into.loan_days]
from = "loans"
each = [{ what = "'out'", day = "out_on" }, { what = "'back'", day = "back_on" }]
where = "day IS NOT NULL"
set.loan_id = { new = "loan", of = "id", missing = "leave out" }
set.what    = "what"
set.day     = { value = "CAST(day AS DATE)", on_error = "leave out" }
"#;

/// An old library and a new one, each a SQLite file.
struct Library {
    project: Project,
}

impl Library {
    fn new() -> Self {
        Self::of(OLD, NEW, MAPPING)
    }

    /// Of another shape.
    fn of(old: &str, new: &str, mapping: &str) -> Self {
        let project = Project::empty();
        project.write("dunlin.toml", CONFIGURATION);
        project.write("moves/library.toml", mapping);
        let library = Self { project };
        library.old(old);
        library.new_one(new);
        library
    }

    /// Runs the program with the fixed key.
    fn run(&self, words: &str) -> Ran {
        self.project.run_with(words, &[KEY])
    }

    /// The same, with other variables besides.
    fn run_with(&self, words: &str, variables: &[(&str, &str)]) -> Ran {
        let all: Vec<(&str, &str)> = variables.iter().copied().chain([KEY]).collect();
        self.project.run_with(words, &all)
    }

    #[track_caller]
    fn old(&self, sql: &str) -> String {
        self.sql("old.db", sql)
    }

    #[track_caller]
    fn new_one(&self, sql: &str) -> String {
        self.sql("new.db", sql)
    }

    #[track_caller]
    fn sql(&self, file: &str, sql: &str) -> String {
        let url = format!("sqlite://{}", self.project.path(file).display());
        run_sql(&url, sql).expect("the client can do it").trim_end().to_owned()
    }

    /// Replaces a part of the mapping that is there.
    #[track_caller]
    fn edit(&self, from: &str, to: &str) {
        let text = self.project.read("moves/library.toml");
        assert!(text.contains(from), "the mapping has no {from}");
        self.project.write("moves/library.toml", &text.replace(from, to));
    }

    /// Every row of the new library, with its ids.
    fn everything(&self) -> String {
        self.new_one(
            "SELECT * FROM people ORDER BY id; SELECT * FROM books ORDER BY id;
             SELECT * FROM loans ORDER BY id; SELECT * FROM loan_days ORDER BY loan_id, what;",
        )
    }
}
