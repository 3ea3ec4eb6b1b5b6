//! What commands tell of rows and mappings: to people, and to programs.

use serde_json::Value;

use super::Library;
use crate::project::Ran;

const HEAD: &str = "source = \"old\"\ntarget = \"app\"\n";

fn library(old: &str, new: &str, mapping: &str) -> Library {
    Library::of(old, new, &format!("{HEAD}{mapping}"))
}

#[track_caller]
fn document(run: &Ran) -> Value {
    serde_json::from_str(&run.stdout()).unwrap_or_else(|error| panic!("{error}\n{}", run.all()))
}

#[track_caller]
fn says(run: &Ran, words: &[&str]) {
    for word in words {
        assert!(run.all().contains(word), "{word}\n{}", run.all());
    }
}

const OLD: &str = "
CREATE TABLE a (id integer PRIMARY KEY, s text);
INSERT INTO a VALUES (1, '7'), (2, 'x'), (3, NULL), (4, '3');
";

const NEW: &str = "CREATE TABLE t (id integer PRIMARY KEY, s text);";

const COPY: &str = "[into.t]\nfrom = \"a\"\nset.id = \"id\"\n";

/// A `where` that fails says nothing of its row.
#[test]
fn a_sample_tells_what_the_run_tells() {
    let mapping = r#"[into.t]
from   = "a"
where  = "s = '7'"
set.id = "id"
set.s  = "s"
[[leave_out]]
from    = "a"
where   = "CAST(s AS INT) <= 5"
because = "small"
"#;
    let library = library(OLD, NEW, mapping);
    library.run("move run library").exits(6);
    let run = library.run("move rejects library --csv").exits(0);
    says(&run, &["a,2,not_taken,no rule takes it", "a,3,not_taken", "a,4,left_out,small"]);
    let sampled = |key: &str, words: &[&str]| {
        let run = library.run(&format!("move sample library a {key}")).exits(0);
        says(&run, words);
        run
    };
    let not_taken = "a: not taken: no rule takes it, and no [[leave_out]] says why";
    sampled("1", &["becomes t by the rule t"]);
    let run = sampled("2", &["becomes nothing", not_taken]);
    assert!(!run.all().contains("small"), "{}", run.all());
    sampled("3", &["becomes nothing", not_taken]);
    sampled("4", &["a: left out: small"]);
    // Whose row isn't there is told.
    let run = library.run("move sample library a 9").exits(2);
    says(&run, &["error: old: a has no row with the key 9"]);
}

#[test]
fn keys_of_several_columns_may_hold_commas() {
    let old = "CREATE TABLE a (k text, n integer, s text, PRIMARY KEY (k, n));
               INSERT INTO a VALUES ('a,b', 1, 'one'), ('x', 2, 'two');";
    let new = "CREATE TABLE t (k text, n integer, s text, PRIMARY KEY (k, n));";
    let mapping = "[into.t]\nfrom = \"a\"\nset.k = \"k\"\nset.n = \"n\"\nset.s = \"s\"\n";
    let library = library(old, new, mapping);
    says(&library.run("move sample library a x,2").exits(0), &["two"]);
    says(&library.run("move sample library a \"a,b\",1").exits(0), &["one"]);
    let run = library.run("move sample library a a,b,1").exits(2);
    says(&run, &["error: old: the key of a has 2 columns: k, n", "\"a,b\",1"]);
}

/// A reason to leave a row out that a rule takes is told; one for the rest names nothing of it.
#[test]
fn rows_that_are_left_out_and_taken_are_counted() {
    let left_out = |more: &str| format!("[[leave_out]]\nfrom = \"a\"\n{more}because = \"why\"\n");
    let mapping = format!("{COPY}set.s = \"s\"\n{}", left_out("where = \"id < 3\"\n"));
    let library = library(OLD, NEW, &mapping);
    let run = library.run("move run library").exits(0);
    says(&run, &["2 rows of a: a [[leave_out]] names them, but a rule takes them"]);
    let told = document(&library.run("move run library --json").exits(0));
    assert_eq!(told["sources"][0]["named_and_taken"], 2);
    library.project.write(
        "moves/library.toml",
        &format!("{HEAD}{COPY}set.s = \"s\"\nwhere = \"id > 1\"\n{}", left_out("")),
    );
    let told = document(&library.run("move run library --dry-run --json").exits(0));
    assert_eq!(told["sources"][0]["named_and_taken"], 0);
    assert_eq!(told["sources"][0]["left_out"]["why"], 1);
}

#[test]
fn warnings_reach_programs() {
    let library = library(OLD, NEW, COPY);
    for command in [
        "move plan library",
        "move run library --dry-run",
        "move run library",
        "move verify library",
    ] {
        let told = document(&library.run(&format!("{command} --json")).exits(0));
        let found = &told["diagnostics"][0];
        assert_eq!(found["rule"], "source-column-unused", "{command}: {told}");
        assert_eq!(found["severity"], "warning", "{command}");
        assert_eq!(found["place"]["line"], 4, "{command}");
    }
}

#[test]
fn why_a_move_was_opened_again_is_shown() {
    let library = library(OLD, NEW, &format!("{COPY}set.s = \"s\"\n"));
    library.run("move finish library").exits(0);
    for because in ["", "  "] {
        let words = ["move", "reopen", "library", "--because", because];
        says(&library.project.run_words(&words, &[]).exits(2), &["say why"]);
    }
    library.run("move run library").exits(2);
    let words = ["move", "reopen", "library", "--because", "two orders were late"];
    library.project.run_words(&words, &[]).exits(0);
    says(&library.run("move status library").exits(0), &["reopened: two orders were late"]);
    let told = document(&library.run("move status library --json").exits(0));
    assert_eq!(told["reopened"][0], "two orders were late");
}
