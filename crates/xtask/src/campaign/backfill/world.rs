//! A table with a key of some kind, a backfill over it, and what must be true afterwards.

use std::path::Path;

use dunlin_testkit::servers::{Database, Product};

use crate::{Failure, cargo};

/// Rows that the live writer adds have numbers from here on.
pub(super) const ADDED_FROM: u64 = 1_000_000;

/// Original rows that the live writer may delete: one in so many, with this remainder.
pub(super) const DELETED_OF: (u64, u64) = (17, 3);

/// The balance that added rows begin with.
pub(super) const ADDED_BALANCE: u64 = 7;

/// The migration's version.
pub(super) const VERSION: &str = "20260101000000";

/// A kind of key.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    name: &'static str,
    /// The key's columns with their types.
    columns: &'static str,
    /// Their names, for `chunk-key`.
    key: &'static str,
    /// The constraint, after the columns.
    constraint: &'static str,
    /// An index beside the table.
    index: &'static str,
    /// Their values for the row with number `{n}`.
    values: &'static str,
}

const fn shape(
    name: &'static str,
    columns: &'static str,
    key: &'static str,
    constraint: &'static str,
    values: &'static str,
) -> Shape {
    Shape { name, columns, key, constraint, index: "", values }
}

const POSTGRES: &[Shape] = &[
    shape(
        "bigint",
        "k bigint",
        "k",
        ", PRIMARY KEY (k)",
        "({n} % 1000000) * 3 + {n} / 1000000 - 5000",
    ),
    shape("uuid", "k uuid", "k", ", PRIMARY KEY (k)", "md5({n}::text)::uuid"),
    shape(
        "text, ICU",
        "k text COLLATE \"en-x-icu\"",
        "k",
        ", PRIMARY KEY (k)",
        "CASE {n} % 2 WHEN 0 THEN 'É''\\ ' || md5({n}::text) ELSE 'e' || upper(md5({n}::text)) END",
    ),
    shape("bytea", "k bytea", "k", ", PRIMARY KEY (k)", "decode(md5({n}::text), 'hex')"),
    shape(
        "timestamptz",
        "k timestamptz",
        "k",
        ", PRIMARY KEY (k)",
        "timestamptz '0044-03-15 BC' + {n} * interval '12345.678901 seconds'",
    ),
    shape(
        "three texts",
        "a text, b text, c text",
        "a, b, c",
        ", PRIMARY KEY (a, b, c)",
        "({n} % 3)::text, chr(65 + ({n} % 23)::int), {n}::text",
    ),
    Shape {
        name: "mixed directions",
        columns: "a integer NOT NULL, b text NOT NULL",
        key: "a, b",
        constraint: "",
        index: "CREATE UNIQUE INDEX accounts_a_b ON accounts (a DESC, b ASC)",
        values: "({n} % 7)::integer, md5({n}::text)",
    },
    shape("numeric", "k numeric", "k", ", PRIMARY KEY (k)", "{n} * 1.000000000000000001"),
    shape(
        "nullable",
        "k integer",
        "k",
        ", UNIQUE (k)",
        "CASE WHEN {n} % 500 = 7 THEN NULL ELSE {n}::integer END",
    ),
];

const MYSQL: &[Shape] = &[
    shape(
        "bigint",
        "k bigint",
        "k",
        ", PRIMARY KEY (k)",
        "({n} % 1000000) * 3 + {n} DIV 1000000 - 5000",
    ),
    shape(
        "unsigned",
        "k bigint unsigned",
        "k",
        ", PRIMARY KEY (k)",
        "CAST(9223372036854770000 AS UNSIGNED) + {n}",
    ),
    shape(
        "text, case ignored",
        "k varchar(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        "k",
        ", PRIMARY KEY (k)",
        "CONCAT(IF({n} % 2 = 0, 'É''\\\\ ', 'E x'), md5({n}))",
    ),
    shape(
        "text, latin1",
        "k varchar(80) CHARACTER SET latin1",
        "k",
        ", PRIMARY KEY (k)",
        "CONCAT('ü', md5({n}))",
    ),
    shape("binary", "k binary(16)", "k", ", PRIMARY KEY (k)", "UNHEX(md5({n}))"),
    shape(
        "datetime",
        "k datetime(6)",
        "k",
        ", PRIMARY KEY (k)",
        "TIMESTAMPADD(MICROSECOND, {n} * 12345, '2001-02-03 04:05:06')",
    ),
    shape(
        "int and text",
        "a int, b varchar(40)",
        "a, b",
        ", PRIMARY KEY (a, b)",
        "{n} % 7, md5({n})",
    ),
    shape(
        "three texts",
        "a varchar(10), b varchar(10), c varchar(20)",
        "a, b, c",
        ", PRIMARY KEY (a, b, c)",
        "{n} % 3, CHAR(65 + {n} % 23 USING utf8mb4), {n}",
    ),
    shape("decimal", "k decimal(30, 9)", "k", ", PRIMARY KEY (k)", "{n} * 1.000000001"),
    shape("nullable", "k int", "k", ", UNIQUE (k)", "IF({n} % 500 = 7, NULL, {n})"),
];

const SQLITE: &[Shape] = &[
    shape(
        "integer",
        "k integer PRIMARY KEY",
        "k",
        "",
        "({n} % 1000000) * 3 + {n} / 1000000 - 5000",
    ),
    shape(
        "text, case ignored",
        "k text NOT NULL COLLATE NOCASE",
        "k",
        ", PRIMARY KEY (k)",
        "CASE {n} % 2 WHEN 0 THEN 'É''' ELSE 'e' END || hex({n} * 7919)",
    ),
    shape("blob", "k blob NOT NULL", "k", ", PRIMARY KEY (k)", "CAST(hex({n} * 7919) AS BLOB)"),
    shape(
        "three texts",
        "a text NOT NULL, b text NOT NULL, c text NOT NULL",
        "a, b, c",
        ", PRIMARY KEY (a, b, c)",
        "CAST({n} % 3 AS text), char(65 + {n} % 23), CAST({n} AS text)",
    ),
    Shape {
        name: "mixed directions",
        columns: "a integer NOT NULL, b text NOT NULL",
        key: "a, b",
        constraint: "",
        index: "CREATE UNIQUE INDEX accounts_a_b ON accounts (a DESC, b ASC)",
        values: "{n} % 7, hex({n} * 7919)",
    },
    shape(
        "nullable",
        "k text",
        "k",
        ", UNIQUE (k)",
        "CASE WHEN {n} % 500 = 7 THEN NULL ELSE 'k' || {n} END",
    ),
];

impl Shape {
    pub(super) fn of(product: Product) -> &'static [Self] {
        match product {
            Product::Postgres | Product::Pgbouncer => POSTGRES,
            Product::Mysql => MYSQL,
            Product::Sqlite => SQLITE,
        }
    }

    pub(super) fn values(&self, number: &str) -> String {
        self.values.replace("{n}", number)
    }

    pub(super) fn is_nullable(&self) -> bool {
        self.name == "nullable"
    }

    /// The names of the key's columns.
    pub(super) fn names(&self) -> &'static str {
        self.key
    }
}

/// What the migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// One UPDATE that must run once for each row.
    Update,
    /// An UPDATE, and an INSERT … SELECT of what it made.
    Two,
    /// Row code.
    Rows,
    /// An UPDATE of few rows, which are found by a search where there is such a thing.
    Few,
    /// A DELETE of one row in three, only where it is undone.
    Gone,
}

impl Body {
    const ALL: [Self; 4] = [Self::Update, Self::Two, Self::Rows, Self::Few];

    /// The body of a round. No program can name rows without a key. Without a Python there is no row
    /// code at all. An INSERT can't be undone.
    pub(super) fn of_round(shape: &Shape, turn: usize, undo: bool) -> Self {
        match Self::ALL[turn % Self::ALL.len()] {
            Self::Two if undo => Self::Gone,
            Self::Rows if shape.is_nullable() => Self::Two,
            Self::Rows if !cargo::is_there("python3", &["--version"]) => {
                if undo {
                    Self::Update
                } else {
                    Self::Two
                }
            }
            body => body,
        }
    }
}

/// Which rows are those few: one in so many, with this remainder.
const DUE_OF: (u64, u64) = (400, 11);

/// One round's circumstances.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) product: Product,
    pub(super) shape: Shape,
    pub(super) body: Body,
    pub(super) workers: u32,
    pub(super) chunk_rows: u32,
    pub(super) rows: u64,
    /// Old values are kept, and put back in the end.
    pub(super) undo: bool,
}

const PROGRAM: &str = r#"import json, sys
for line in sys.stdin:
    given = json.loads(line)
    if "row" in given:
        row = given["row"]
        changed = {"balance": str(int(row["balance"]) * 2 + 1), "touched": int(row["touched"]) + 1}
        print(json.dumps({"key": given["key"], "set": changed}))
    elif "chunk" in given:
        print(json.dumps(given), flush=True)
"#;

impl World {
    pub(super) fn describe(&self) -> String {
        format!(
            "{} key, {:?}{}, {} workers, {} rows a chunk",
            self.shape.name,
            self.body,
            if self.undo { " and back" } else { "" },
            self.workers,
            self.chunk_rows
        )
    }

    /// Makes the tables and the migration's files.
    pub(super) fn make(&self, database: &Database, project: &Path) -> Result<(), Failure> {
        let sql = self.tables();
        database.sql(&sql).map_err(|error| Failure::because("cannot make the tables", &error))?;
        let failed = |error: std::io::Error| Failure::because("cannot write the files", &error);
        let folder = project.join("data_migrations");
        std::fs::create_dir(&folder).map_err(failed)?;
        std::fs::create_dir(project.join("migrations")).map_err(failed)?;
        match self.body {
            Body::Rows => {
                std::fs::write(project.join("double.py"), PROGRAM).map_err(failed)?;
                std::fs::write(folder.join(format!("{VERSION}_double.toml")), self.toml())
            }
            Body::Update | Body::Two | Body::Few | Body::Gone => {
                std::fs::write(folder.join(format!("{VERSION}_double.sql")), self.sql())
            }
        }
        .map_err(failed)
    }

    fn series(&self) -> String {
        let last = self.rows - 1;
        match self.product {
            Product::Postgres | Product::Pgbouncer => {
                format!("generate_series(0::bigint, {last}) AS s(n)")
            }
            Product::Mysql => {
                format!("(SELECT CAST(seq AS SIGNED) AS n FROM seq_0_to_{last}) AS s")
            }
            Product::Sqlite => format!(
                "(WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < {last}) \
                 SELECT n FROM s) AS s"
            ),
        }
    }

    fn tables(&self) -> String {
        let Shape { columns, constraint, index, key, .. } = &self.shape;
        let series = self.series();
        let (of, rest) = DUE_OF;
        format!(
            "CREATE TABLE accounts (n bigint NOT NULL, {columns}, balance bigint NOT NULL, \
             touched integer NOT NULL DEFAULT 0, other bigint NOT NULL DEFAULT 0, \
             due integer NOT NULL DEFAULT 0{constraint});\n\
             CREATE INDEX accounts_n ON accounts (n);\n{index}{end}\
             CREATE TABLE before_it (n bigint PRIMARY KEY, balance bigint NOT NULL);\n\
             CREATE TABLE writes (n bigint PRIMARY KEY, c bigint NOT NULL);\n\
             CREATE TABLE audit (n bigint NOT NULL, balance bigint NOT NULL);\n\
             INSERT INTO accounts (n, {key}, balance, due) SELECT n, {values}, n % 1000, \
             CASE WHEN n % {of} = {rest} THEN 1 ELSE 0 END FROM {series};\n\
             INSERT INTO before_it SELECT n, balance FROM accounts;\n\
             INSERT INTO writes SELECT n, 0 FROM accounts;\n{analyze}",
            end = if index.is_empty() { "" } else { ";\n" },
            values = self.shape.values("n"),
            analyze = match self.product {
                Product::Mysql => "ANALYZE TABLE accounts;\n",
                _ => "ANALYZE;\n",
            },
        )
    }

    fn sql(&self) -> String {
        let mut text = format!(
            "-- dunlin: chunk-by accounts\n-- dunlin: chunk-key {}\n-- dunlin: chunk-rows {}\n\
             -- dunlin: workers {}\n{}",
            self.shape.key,
            self.chunk_rows,
            self.workers,
            if self.undo { "-- dunlin: undo capture for 1 day\n" } else { "" },
        );
        text.push_str(&match self.body {
            Body::Gone => "DELETE FROM accounts WHERE n % 3 = 0 AND :chunk;\n".to_owned(),
            body => format!(
                "UPDATE accounts SET balance = balance * 2 + 1, touched = touched + 1 \
                 WHERE {}:chunk;\n",
                if body == Body::Few { "due = 1 AND " } else { "" }
            ),
        });
        if self.body == Body::Two {
            text.push_str(
                "INSERT INTO audit SELECT n, balance FROM accounts AS p WHERE :chunk(p);\n",
            );
        }
        text
    }

    fn toml(&self) -> String {
        let key: Vec<String> =
            self.shape.key.split(", ").map(|name| format!("\"{name}\"")).collect();
        format!(
            "[program]\ncommand = [\"python3\", \"double.py\"]\n\n[rows]\ntable = \"accounts\"\n\
             key = [{}]\ncolumns = [\"balance\", \"touched\"]\n\n[migration]\nchunk-rows = {}\n\
             workers = {}\n{}",
            key.join(", "),
            self.chunk_rows,
            self.workers,
            if self.undo { "undo = \"capture for 1 day\"\n" } else { "" },
        )
    }

    /// What is wrong, with how many rows.
    pub(super) fn judge(&self, database: &Database) -> Result<Vec<(&'static str, u64)>, Failure> {
        let ledger = match self.product {
            Product::Postgres | Product::Pgbouncer => "dunlin.",
            Product::Mysql | Product::Sqlite => "dunlin_",
        };
        let questions =
            if self.undo { self.questions_of_undo(ledger) } else { self.questions_of_run(ledger) };
        let mut complaints = Vec::new();
        for (what, query) in questions {
            let answer = database
                .sql(&query)
                .map_err(|error| Failure::because("cannot look at the rows afterwards", &error))?;
            let count = answer.trim().parse().unwrap_or(u64::MAX);
            if count > 0 {
                complaints.push((what, count));
            }
        }
        Ok(complaints)
    }

    fn questions_of_run(&self, ledger: &str) -> Vec<(&'static str, String)> {
        let (of, rest) = DELETED_OF;
        let mut questions = vec![
            (
                "rows were lost or left undone",
                format!(
                    "SELECT count(*) FROM before_it b LEFT JOIN accounts a ON a.n = b.n \
                     WHERE (a.n IS NULL AND b.n % {of} <> {rest}) OR (a.touched = 0 {})",
                    if self.body == Body::Few { "AND a.due = 1" } else { "" }
                ),
            ),
            (
                "rows were done twice, or wrongly",
                "SELECT count(*) FROM before_it b JOIN accounts a ON a.n = b.n \
                 WHERE a.touched > 1 OR (a.touched = 1 AND a.balance <> b.balance * 2 + 1)"
                    .to_owned(),
            ),
            (
                "writes of the application were lost",
                "SELECT count(*) FROM accounts a JOIN writes w ON w.n = a.n WHERE a.other <> w.c"
                    .to_owned(),
            ),
            (
                "rows that were added meanwhile are half done",
                format!(
                    "SELECT count(*) FROM accounts WHERE n >= {ADDED_FROM} AND NOT ((touched = 0 AND \
                     balance = {ADDED_BALANCE}) OR (touched = 1 AND balance = {}))",
                    ADDED_BALANCE * 2 + 1
                ),
            ),
            (
                "migrations are not done",
                format!("SELECT count(*) FROM {ledger}data_migrations WHERE state <> 'done'"),
            ),
            (
                "segments are not done",
                format!("SELECT count(*) FROM {ledger}segments WHERE seg > 0 AND upto <> hi"),
            ),
        ];
        if self.body == Body::Few {
            questions.push((
                "rows were done that nobody asked for",
                "SELECT count(*) FROM accounts WHERE touched > 0 AND due = 0".to_owned(),
            ));
        }
        if self.body == Body::Two {
            questions.push((
                "rows of the audit are missing or doubled",
                format!(
                    "SELECT count(*) FROM before_it b LEFT JOIN (SELECT n, count(*) AS c, \
                     max(balance) AS balance FROM audit GROUP BY n) x ON x.n = b.n WHERE x.c > 1 OR \
                     x.balance <> b.balance * 2 + 1 OR (x.c IS NULL AND b.n % {of} <> {rest})"
                ),
            ));
        }
        questions
    }

    /// Rows that were there before are as they were, but for what the writer did; and so are those that
    /// it added.
    fn questions_of_undo(&self, ledger: &str) -> Vec<(&'static str, String)> {
        let (of, rest) = DELETED_OF;
        // Row code may set any column, so all of them are compared: what the application wrote since
        // keeps such a row from its old values.
        let (but_for, or_changed) = match self.body {
            Body::Rows => (" AND a.other = 0", " OR a.other <> 0"),
            _ => ("", ""),
        };
        vec![
            (
                "rows are gone, or were not put back",
                format!(
                    "SELECT count(*) FROM before_it b LEFT JOIN accounts a ON a.n = b.n \
                     WHERE (a.n IS NULL AND b.n % {of} <> {rest}) OR ((a.touched <> 0 \
                     OR a.balance <> b.balance){but_for})"
                ),
            ),
            (
                "rows are there twice",
                "SELECT count(*) FROM (SELECT n FROM accounts GROUP BY n HAVING count(*) > 1) AS d"
                    .to_owned(),
            ),
            (
                "writes of the application were lost",
                "SELECT count(*) FROM accounts a JOIN writes w ON w.n = a.n WHERE a.other <> w.c"
                    .to_owned(),
            ),
            (
                "rows that were added meanwhile are not as they were",
                format!(
                    "SELECT count(*) FROM accounts WHERE n >= {ADDED_FROM} \
                     AND (touched <> 0 OR balance <> {ADDED_BALANCE})"
                ),
            ),
            (
                "migrations are not undone",
                format!("SELECT count(*) FROM {ledger}backfills WHERE state <> 'undone'"),
            ),
            // Of rows that the application deleted or changed since they are kept.
            (
                "old values are left of rows that could go back",
                format!(
                    "SELECT CASE WHEN c.n > g.n THEN c.n - g.n ELSE 0 END \
                     FROM (SELECT count(*) AS n FROM {ledger}captured) AS c, \
                     (SELECT count(*) AS n FROM before_it b LEFT JOIN accounts a ON a.n = b.n \
                     WHERE a.n IS NULL{or_changed}) AS g"
                ),
            ),
        ]
    }
}
