//! What is taken to run chunk by chunk leaves the rows that it leaves when it runs at once.
//!
//! Statements are made at random, most of them nonsense. Each that is taken runs on a small table with
//! gaps in its keys: at once, with TRUE for `:chunk`, and in chunks of one, two and three rows.
//! `AT_ONCE_STATEMENTS=100000` makes more of them.

mod maker;

use std::fmt::Write as _;
use std::path::Path;

use dunlin_model::{
    Body, Checksums, Column, Diagnostic, Dialect, Index, IndexColumn, Migration, MigrationId,
    Statement, Table, TableKind, ValueForm,
};
use dunlin_project::backfill::{Others, Timeouts, not_apart, plan};
use dunlin_project::directive::Subject;
use dunlin_project::sql::parse_script;
use rusqlite::Connection;

use self::maker::{Dice, Maker};

const SCHEMA: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, b INT, n INT NOT NULL, o INT,
        c INT GENERATED ALWAYS AS (a * 2) STORED, s INT NOT NULL UNIQUE);
    CREATE TABLE o (id INTEGER PRIMARY KEY, t INT, n INT, m INT);
    CREATE TABLE x (k INT, v INT);
    CREATE TABLE u (k INT NOT NULL PRIMARY KEY, v INT, w INT);
    CREATE TABLE g (k INT UNIQUE, v INT, w INT);";

/// A table of columns `name`, with `?` behind it where it may be NULL, and unique columns.
fn table(name: &str, columns: &[&str], unique: &[&str]) -> Table {
    let column = |written: &&str| Column {
        name: written.trim_end_matches('?').to_owned(),
        type_name: "INT".to_owned(),
        form: ValueForm::Text,
        nullable: written.ends_with('?'),
        generated: false,
        identity: false,
    };
    let index = |(number, name): (usize, &&str)| Index {
        name: format!("i{number}"),
        columns: vec![IndexColumn { name: Some((*name).into()), descending: false, prefix: false }],
        unique: true,
        primary: number == 0,
        unusable: None,
    };
    Table {
        name: format!("main.\"{name}\""),
        kind: TableKind::Table,
        columns: columns.iter().map(column).collect(),
        indexes: unique.iter().enumerate().map(index).collect(),
        row_count_estimate: None,
        row_bytes_estimate: None,
        transactional: true,
        hides_rows: false,
        computed: Vec::new(),
        family: None,
        next_number: None,
        shape: "shape".into(),
    }
}

/// The table that is walked, and the others.
fn tables() -> (Table, Others) {
    let walked = table("t", &["id", "a?", "b?", "n", "o?", "c?", "s"], &["id", "s"]);
    let computed = vec![("c".to_owned(), "a * 2".to_owned())];
    let tables = vec![
        table("o", &["id", "t?", "n?", "m?"], &["id"]),
        table("x", &["k?", "v?"], &[]),
        table("u", &["k", "v?", "w?"], &["k"]),
        table("g", &["k?", "v?", "w?"], &["k"]),
    ];
    let next_number = Some(("id".to_owned(), 22));
    (Table { computed, next_number, ..walked }, Others { tables, beside: Vec::new() })
}

/// The statements, if they may run in chunks.
fn taken(text: &str) -> Result<Vec<Statement>, Vec<Diagnostic>> {
    let file = Path::new("d/1_a.sql");
    let text = format!("-- dunlin: chunk-by t\n{text};");
    let script = parse_script(Dialect::Sqlite, file, text.as_bytes(), Subject::DataSql)?;
    let migration = Migration {
        id: MigrationId::data("1".parse().expect("a version")),
        name: "a".into(),
        body: Body::Sql(script),
        down: None,
        checksums: Checksums { text: String::new(), statements: String::new() },
        text: String::new(),
    };
    let timeouts = Timeouts { lock: std::time::Duration::from_secs(5), statement: None };
    let (walked, others) = tables();
    let work = plan(&migration, &walked, Dialect::Sqlite, timeouts, 1)?;
    let found = not_apart(&migration, &walked, &work, Dialect::Sqlite, &others);
    if found.is_empty() { Ok(work.statements) } else { Err(found) }
}

const KEYS: [i64; 8] = [-4, 1, 2, 3, 7, 8, 20, 21];

/// A database with a few rows in each table.
fn database(seed: u64) -> Connection {
    let mut dice = Dice(seed * 7_919 + 11);
    let connection = Connection::open_in_memory().expect("memory");
    let mut sql = SCHEMA.to_owned();
    let small = |dice: &mut Dice| match dice.below(6) {
        0 => "NULL".to_owned(),
        n => n.to_string(),
    };
    for (at, id) in KEYS.into_iter().enumerate() {
        // As unique as the key, and another row's.
        let s = KEYS[(at + 3) % KEYS.len()];
        let (a, b, o) = (small(&mut dice), small(&mut dice), small(&mut dice));
        let n = dice.below(4);
        let _ = write!(
            sql,
            "INSERT INTO t (id, a, b, n, o, s) VALUES ({id}, {a}, {b}, {n}, {o}, {s});"
        );
    }
    for id in [1, 2, 3, 4, 6, 8] {
        let t = KEYS[dice.below(KEYS.len())];
        let (n, m) = (small(&mut dice), small(&mut dice));
        let _ = write!(sql, "INSERT INTO o VALUES ({id}, {t}, {n}, {m});");
    }
    let _ = write!(
        sql,
        "INSERT INTO x VALUES (1, 1), (2, NULL); INSERT INTO u VALUES (1, 1, 0), (3, 2, 0); \
         INSERT INTO g SELECT * FROM u;"
    );
    connection.execute_batch(&sql).expect("rows");
    connection
}

/// Every row of every table, in one text.
fn rows(connection: &Connection) -> String {
    let list = |table: &str, columns: &str| format!("SELECT '{table}', {columns} FROM {table}");
    let sql = format!(
        "SELECT * FROM ({} UNION ALL {} UNION ALL {} UNION ALL {} UNION ALL {}) ORDER BY 1, 2, 3, 4, 5, 6, 7",
        list("t", "id, a, b, n, o, s"),
        list("o", "id, t, n, m, 0, 0"),
        list("x", "k, v, 0, 0, 0, 0"),
        list("u", "k, v, w, 0, 0, 0"),
        list("g", "k, v, w, 0, 0, 0"),
    );
    let mut statement = connection.prepare(&sql).expect("a query");
    let mut found = statement.query([]).expect("rows");
    let mut text = String::new();
    while let Some(row) = found.next().expect("a row") {
        for cell in 0..7 {
            let value: rusqlite::types::Value = row.get(cell).expect("a cell");
            let _ = write!(text, "{value:?} ");
        }
        text.push('\n');
    }
    text
}

/// What is left by statements that run once for each of these ranges.
fn left(
    connection: &Connection,
    statements: &[Statement],
    ranges: &[(i64, i64)],
) -> rusqlite::Result<String> {
    connection.execute_batch("BEGIN")?;
    let run = || -> rusqlite::Result<String> {
        for (after, upto) in ranges {
            for one in statements {
                let sql = one.with_chunk(|alias| match alias {
                    _ if *after == i64::MIN && *upto == i64::MAX => "TRUE".to_owned(),
                    Some(alias) => format!("{alias}.id > {after} AND {alias}.id <= {upto}"),
                    None => format!("id > {after} AND id <= {upto}"),
                });
                connection.execute_batch(&sql)?;
            }
        }
        Ok(rows(connection))
    };
    let found = run();
    connection.execute_batch("ROLLBACK")?;
    found
}

const AT_ONCE: [(i64, i64); 1] = [(i64::MIN, i64::MAX)];

fn chunks(size: usize) -> Vec<(i64, i64)> {
    let mut after = i64::MIN;
    let ends = KEYS.chunks(size).filter_map(<[i64]>::last);
    ends.map(|upto| (std::mem::replace(&mut after, *upto), *upto)).collect()
}

/// With these the server finds rows in another order.
const INDEXES: &str =
    "CREATE INDEX by_n ON t (n DESC); CREATE INDEX by_a ON t (a); CREATE INDEX by_b ON t (b);
    CREATE INDEX by_o ON t (o DESC); CREATE INDEX by_t ON o (t); CREATE INDEX by_m ON o (m, n);";
const NO_INDEXES: &str = "DROP INDEX by_n; DROP INDEX by_a; DROP INDEX by_b; DROP INDEX by_o;
    DROP INDEX by_t; DROP INDEX by_m;";

/// What chunks leave and one run does not; `None`: nothing. Statements whose result depends on the
/// order in which the server finds rows prove nothing.
fn difference(databases: &[Connection], statements: &[Statement]) -> Option<Result<String, ()>> {
    let mut ran = false;
    for connection in databases {
        let Ok(expected) = left(connection, statements, &AT_ONCE) else { continue };
        let otherwise = ["reverse_unordered_selects = true", "automatic_index = false"];
        let back = "PRAGMA reverse_unordered_selects = false; PRAGMA automatic_index = true";
        let mut same = true;
        for pragma in otherwise {
            connection.execute_batch(&format!("PRAGMA {pragma}")).expect("a pragma");
            same &= left(connection, statements, &AT_ONCE).as_ref() == Ok(&expected);
            connection.execute_batch(back).expect("a pragma");
        }
        connection.execute_batch(INDEXES).expect("indexes");
        same &= left(connection, statements, &AT_ONCE).as_ref() == Ok(&expected);
        connection.execute_batch(NO_INDEXES).expect("indexes");
        // Which of several rows such an UPDATE takes depends on which table is read first.
        let takes_any = |one: &Statement| {
            one.text.starts_with("UPDATE")
                && (one.text.contains("RIGHT JOIN") || one.text.contains("FULL JOIN"))
        };
        if statements.iter().any(takes_any) {
            let whole = left(connection, statements, &chunks(KEYS.len()));
            same &= whole.as_ref() == Ok(&expected);
        }
        if !same {
            continue;
        }
        ran = true;
        for size in 1..=3 {
            let found = left(connection, statements, &chunks(size));
            if found.as_ref() != Ok(&expected) {
                return Some(Ok(format!("at once:\n{expected}\nby {size}:\n{found:?}")));
            }
        }
    }
    if ran { None } else { Some(Err(())) }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how many is the developer's to say")]
fn chunks_leave_what_one_run_leaves() {
    let said = std::env::var("AT_ONCE_STATEMENTS").ok();
    let made: u64 = said.map_or(5_000, |text| text.parse().expect("a number"));
    let databases: Vec<Connection> = (1..=4).map(database).collect();
    let (mut ran, mut wrong) = (0, Vec::new());
    let mut rules = std::collections::BTreeMap::<&str, usize>::new();
    for seed in 1..=made {
        let text = Maker::new(Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)).file();
        match taken(&text) {
            Ok(statements) => match difference(&databases, &statements) {
                Some(Ok(difference)) => wrong.push(format!("{seed}: {text}\n{difference}")),
                Some(Err(())) => {}
                None => ran += 1,
            },
            Err(errors) => *rules.entry(errors[0].rule).or_default() += 1,
        }
    }
    println!("{made} made, {ran} taken and run, {rules:?}");
    assert!(
        wrong.is_empty(),
        "{} of {ran}:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(12)].join("\n")
    );
    assert!(ran * 20 > made, "{ran} of {made} were taken and ran: {rules:?}");
}

/// Where an INSERT names no columns, the catalogue says which of them it fills.
#[test]
fn columns_that_are_not_named_are_compared_by_their_place() {
    let insert = |asked: &str| {
        format!(
            "INSERT INTO x SELECT DISTINCT p.n, p.s FROM t p WHERE :chunk(p) AND NOT EXISTS \
             (SELECT 1 FROM x WHERE {asked})"
        )
    };
    assert!(taken(&insert("x.k = p.n AND x.v = p.s")).is_ok());
    assert!(taken(&insert("x.v = p.n AND x.k = p.s")).is_err());
}
