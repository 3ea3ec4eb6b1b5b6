//! References don't go to rows that were rejected: they count as missing until such a row is taken.

use dunlin_testkit::servers::{self, Product};

use super::KEY;
use super::elsewhere::Pair;
use crate::project::Ran;
use crate::survive::world::on_each;

const OLD: &str = "
CREATE TABLE p (id integer PRIMARY KEY, n varchar(10), age varchar(10));
INSERT INTO p VALUES (1, 'Ann', '30'), (2, 'bad', '40'), (3, 'Carl', 'old');
CREATE TABLE o (id integer PRIMARY KEY, p integer);
INSERT INTO o VALUES (1, 1), (2, 2), (3, 3);
CREATE TABLE l (id integer PRIMARY KEY, o integer);
INSERT INTO l VALUES (1, 1), (2, 2), (3, 3);
";

fn new(references: &str) -> String {
    let key = |column: &str, table: &str| match references {
        "" => String::new(),
        _ => format!(", FOREIGN KEY ({column}) REFERENCES {table} (id)"),
    };
    format!(
        "CREATE TABLE person (id integer PRIMARY KEY, n varchar(10) CHECK (n <> 'bad'), age integer);
         CREATE TABLE o (id integer PRIMARY KEY, person_id integer{});
         CREATE TABLE l (id integer PRIMARY KEY, o_id integer{});",
        key("person_id", "person"),
        key("o_id", "o")
    )
}

fn mapping(missing: &str) -> String {
    format!(
        "source = \"old\"\ntarget = \"app\"\n[ids]\np = \"keep\"\no = \"keep\"
[into.person]\nfrom = \"p\"\nmakes = \"p\"\nset.n = \"n\"\nset.age = \"CAST(age AS INT)\"
[into.o]\nfrom = \"o\"\nmakes = \"o\"
set.person_id = {{ new = \"p\", of = \"p\", missing = \"{missing}\" }}
[into.l]\nfrom = \"l\"\nset.id = \"id\"
set.o_id = {{ new = \"o\", of = \"o\", missing = \"null\" }}\n"
    )
}

fn pair(product: Product, references: &str, missing: &str) -> Pair {
    let name = format!("refused_{}_{}", references.len(), missing.replace(' ', "_"));
    let pair = match product {
        Product::Sqlite => {
            let sqlite = |part: &str| servers::sqlite(&format!("{name}_{part}"));
            Pair::of(sqlite("old"), sqlite("new"), &mapping(missing))
        }
        product => Pair::new(product, &name, &mapping(missing)),
    };
    pair.old(OLD);
    pair.new_one(&new(references));
    pair
}

/// Which order is whose, and which line is of which order.
fn all(pair: &Pair) -> String {
    let both = "SELECT id, person_id FROM o ORDER BY id; SELECT id, o_id FROM l ORDER BY id";
    pair.new_one(both).replace('\n', " ")
}

/// How many rows a run wrote or deleted.
fn written(ran: &Ran) -> u64 {
    let report: serde_json::Value = serde_json::from_str(&ran.stdout()).expect("a report");
    let rules = report["rules"].as_array().expect("rules");
    let counts = ["inserted", "updated", "deleted"];
    rules.iter().flat_map(|rule| counts.map(|what| rule[what].as_u64().expect("a count"))).sum()
}

fn nothing_refers_to_a_rejected_row(product: Product) {
    let cases = [
        ("null", "1|1 2| 3| 1|1 2|2 3|3"),
        ("leave out", "1|1 1|1 2| 3|"),
        ("error", "1|1 1|1 2| 3|"),
    ];
    for references in ["", "with"] {
        let cases = if references.is_empty() { &cases[..] } else { &cases[..1] };
        for &(missing, expected) in cases {
            let pair = pair(product, references, missing);
            let ran = pair.run("move run library").exits(6);
            assert!(ran.all().contains("person: 2 rows rejected"), "{}", ran.all());
            assert_eq!(all(&pair), expected, "{missing} {references}");
            let ran = pair.run("move run library --json").exits(6);
            assert_eq!(written(&ran), 0, "{}", ran.all());
            assert_eq!(all(&pair), expected, "{missing} {references}");
            // Once they are taken, all that was missing comes.
            pair.old("UPDATE p SET n = 'Bob' WHERE id = 2; UPDATE p SET age = '50' WHERE id = 3");
            pair.run("move run library").exits(0);
            assert_eq!(all(&pair), "1|1 2|2 3|3 1|1 2|2 3|3", "{missing} {references}");
            pair.run("move verify library").exits(0);
        }
    }
}

/// A row that is refused as it is now is there as it was, and referred to.
fn a_refused_change_is_referred_to(product: Product) {
    let pair = pair(product, "", "null");
    pair.old("DELETE FROM p WHERE id > 1");
    pair.run("move run library").exits(0);
    pair.old("UPDATE p SET n = 'bad' WHERE id = 1; INSERT INTO p VALUES (4, 'bad', '1')");
    pair.old("UPDATE o SET p = 4 WHERE id = 2");
    let dies = [KEY, ("DUNLIN_FAILPOINT", "move.rejected")];
    pair.project.run_with("move run library", &dies).was_killed();
    for _ in 0..2 {
        pair.run("move run library").exits(6);
        assert_eq!(all(&pair), "1|1 2| 3| 1|1 2|2 3|3");
    }
    pair.old("UPDATE p SET n = 'Dan' WHERE id = 4");
    pair.run("move run library").exits(6);
    assert_eq!(all(&pair), "1|1 2|4 3| 1|1 2|2 3|3");
}

on_each!(nothing_refers_to_a_rejected_row: postgres, mysql, sqlite);
on_each!(a_refused_change_is_referred_to: postgres, mysql, sqlite);
