//! Rules of one source whose rows refer to each other's: the source is read once, and what refers is
//! written behind what it refers to, however much of it there is.

use dunlin_testkit::servers::{self, Product};

use super::elsewhere::Pair;
use crate::survive::world::on_each;

const MAPPING: &str = r#"source = "old"
target = "app"

[ids]
paper = "keep"
part  = "keep"

[conflicts]
max_deleted = "100%"

[into.parts]
from  = "papers"
makes = "part"
where = "words IS NOT NULL"
set.paper_id = { new = "paper", of = "id" }
set.words    = "words"

[into.papers]
from  = "papers"
makes = "paper"
set.title = "title"
"#;

const NEW: &str = "
CREATE TABLE papers (id integer PRIMARY KEY, title varchar(40) NOT NULL);
CREATE TABLE parts (id integer PRIMARY KEY, paper_id integer NOT NULL, words varchar(60) NOT NULL,
  FOREIGN KEY (paper_id) REFERENCES papers (id));
";

const OLD_ROWS: &str = "SELECT id, title, words FROM papers ORDER BY id";
const NEW_ROWS: &str = "SELECT p.id, p.title, w.words FROM papers AS p \
     LEFT JOIN parts AS w ON w.paper_id = p.id AND w.id = p.id ORDER BY p.id";

/// So many that parts which have all changed are more than may wait.
const PAPERS: i32 = 900;

fn pair(product: Product) -> Pair {
    let pair = match product {
        Product::Sqlite => {
            let sqlite = |part: &str| servers::sqlite(&format!("behind_{part}"));
            Pair::of(sqlite("old"), sqlite("new"), MAPPING)
        }
        product => Pair::new(product, "behind", MAPPING),
    };
    let paper = |id: i32| format!("({}, 'paper {id}', 'what stands in the paper {id}')", 2 * id);
    let papers: Vec<String> = (1..=PAPERS).map(paper).collect();
    pair.old(&format!(
        "CREATE TABLE papers (id integer PRIMARY KEY, title varchar(40), words varchar(60)); \
         INSERT INTO papers VALUES {}",
        papers.join(", ")
    ));
    pair.new_one(NEW);
    pair
}

/// A night: the rows are the old ones, and `written` of them were written.
#[track_caller]
fn night(pair: &Pair, written: &str) {
    let ran = pair.run("move run library").exits(0);
    assert!(ran.stderr().contains(&format!(" {written} rows written")), "{}", ran.all());
    assert_eq!(pair.new_one(NEW_ROWS), pair.old(OLD_ROWS));
}

fn rows_that_refer_come_behind(product: Product) {
    let pair = pair(product);
    night(&pair, "1,800");
    night(&pair, "0");
    // Few: they wait in memory. New ones stand between the others and behind all of them.
    pair.old(
        "UPDATE papers SET words = 'other words' WHERE id IN (2, 900); \
         UPDATE papers SET title = 'another title' WHERE id = 4; \
         INSERT INTO papers VALUES (7, 'new', 'a new one'), (1801, 'last', 'the last one'), \
         (1803, 'without', NULL); DELETE FROM papers WHERE id IN (10, 1200)",
    );
    night(&pair, "12");
    // Many, from the first on: the source is read for them again.
    pair.old(
        "UPDATE papers SET words = 'all are others' WHERE words IS NOT NULL; \
         INSERT INTO papers VALUES (1, 'first', 'of all'), (1805, 'more', 'at the end')",
    );
    night(&pair, "904");
    // Many that are gone, and many that are new.
    pair.old(
        "DELETE FROM papers WHERE id > 100 AND id < 1700; \
         UPDATE papers SET words = NULL WHERE id <= 50",
    );
    pair.run("move run library").exits(0);
    assert_eq!(pair.new_one(NEW_ROWS), pair.old(OLD_ROWS));
    night(&pair, "0");
    pair.run("move verify library").exits(0);
}

on_each!(rows_that_refer_come_behind: sqlite, postgres, mysql);
