//! The table that is measured, and the ways to fill its column.

use dunlin_testkit::servers::{self, Durability, Product, Server, TestDatabase};

use super::Way;
use crate::Failure;

/// What the table's rows are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Keys {
    Integer,
    Uuid,
    ThreeTexts,
}

impl Keys {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer key",
            Self::Uuid => "uuid key",
            Self::ThreeTexts => "key of three texts",
        }
    }

    fn columns(self, product: Product) -> (&'static str, &'static str) {
        match (self, product) {
            (Self::Integer, _) => ("id bigint NOT NULL", "id"),
            (Self::Uuid, Product::Postgres | Product::Pgbouncer) => ("id uuid NOT NULL", "id"),
            (Self::Uuid, Product::Mysql) => ("id binary(16) NOT NULL", "id"),
            (Self::Uuid, Product::Sqlite) => ("id blob NOT NULL", "id"),
            (Self::ThreeTexts, Product::Mysql) => (
                "a varchar(20) NOT NULL, b varchar(20) NOT NULL, c varchar(20) NOT NULL",
                "a, b, c",
            ),
            (Self::ThreeTexts, _) => {
                ("a text NOT NULL, b text NOT NULL, c text NOT NULL", "a, b, c")
            }
        }
    }

    fn values(self, product: Product) -> &'static str {
        match (self, product) {
            (Self::Integer, _) => "n",
            (Self::Uuid, Product::Postgres | Product::Pgbouncer) => "md5(n::text)::uuid",
            (Self::Uuid, Product::Mysql) => "UNHEX(md5(n))",
            (Self::Uuid, Product::Sqlite) => "randomblob(16)",
            (Self::ThreeTexts, Product::Postgres | Product::Pgbouncer) => {
                "'tenant ' || n % 100, 'shelf ' || n / 100 % 1000, n::text"
            }
            (Self::ThreeTexts, Product::Mysql) => {
                "CONCAT('tenant ', n % 100), CONCAT('shelf ', n DIV 100 % 1000), n"
            }
            (Self::ThreeTexts, Product::Sqlite) => {
                "'tenant ' || n % 100, 'shelf ' || n / 100 % 1000, CAST(n AS text)"
            }
        }
    }
}

/// A seeded database.
pub(in crate::bench) struct Ground {
    pub(in crate::bench) product: Product,
    pub(super) rows: u64,
    pub(in crate::bench) database: TestDatabase,
    keys: Keys,
    sparse: bool,
    _server: Option<Server>,
}

fn failed(what: &'static str) -> impl Fn(servers::ClientError) -> Failure {
    move |error| Failure::because(what, &error)
}

impl Ground {
    /// Starts a server with its own durability, and seeds. `sparse`: all rows but 300 have their
    /// value already.
    pub(in crate::bench) fn new(
        product: Product,
        keys: Keys,
        rows: u64,
        sparse: bool,
    ) -> Result<Self, Failure> {
        let server = match product {
            Product::Postgres | Product::Pgbouncer => Some(Server::postgres(Durability::Full, &[])),
            Product::Mysql => Some(Server::mysql(Durability::Full, &[])),
            Product::Sqlite => None,
        };
        let server = server.transpose().map_err(|error| Failure::because("no server", &error))?;
        let database = match &server {
            Some(server) => server.database("bench"),
            None => servers::sqlite("bench"),
        };
        let ground = Self { product, rows, database, keys, sparse, _server: server };
        ground.seed()?;
        Ok(ground)
    }

    fn seed(&self) -> Result<(), Failure> {
        let (columns, names) = self.keys.columns(self.product);
        let (series, text, moment, time) = self.parts();
        let every = (self.rows / 300).max(1);
        let published = if self.sparse {
            format!("CASE WHEN n % {every} = 0 THEN NULL ELSE {moment} END")
        } else {
            "NULL".to_owned()
        };
        let sql = format!(
            "CREATE TABLE seed ({columns}, title {text} NOT NULL, inserted_at {time} NOT NULL, \
             published_at {time} NULL, PRIMARY KEY ({names}));\n\
             INSERT INTO seed ({names}, title, inserted_at, published_at) SELECT {values}, \
             {title}, {moment}, {published} FROM {series};",
            values = self.keys.values(self.product),
            title = match self.product {
                Product::Mysql => "CONCAT('a title of forty-five bytes: ', md5(n % 7))",
                Product::Sqlite => "'a title of forty-five bytes: 0123456789abcdef'",
                _ => "left('a title of forty-five bytes: ' || md5(n::text), 45)",
            },
        );
        self.database.sql(&sql).map_err(failed("cannot seed"))?;
        Ok(())
    }

    /// The rows' numbers, the types of text and time, and a moment.
    fn parts(&self) -> (String, &'static str, &'static str, &'static str) {
        let last = self.rows;
        match self.product {
            Product::Postgres | Product::Pgbouncer => (
                format!("generate_series(1::bigint, {last}) AS s(n)"),
                "text",
                "timestamptz '2020-01-01' + n * interval '1 second'",
                "timestamptz",
            ),
            Product::Mysql => (
                format!("(SELECT seq AS n FROM seq_1_to_{last}) AS s"),
                "varchar(80)",
                "TIMESTAMPADD(SECOND, n, '2020-01-01')",
                "datetime(6)",
            ),
            Product::Sqlite => (
                format!(
                    "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE \
                     n < {last}) SELECT n FROM s) AS s"
                ),
                "text",
                "strftime('%Y-%m-%d %H:%M:%S', 1577836800 + n, 'unixepoch')",
                "text",
            ),
        }
    }

    /// Makes the table anew, and makes the server forget what came before.
    pub(in crate::bench) fn reset(&self) -> Result<(), Failure> {
        let (columns, names) = self.keys.columns(self.product);
        let (_, text, _, time) = self.parts();
        let table = format!(
            "CREATE TABLE posts ({columns}, title {text} NOT NULL, inserted_at {time} NOT NULL, \
             published_at {time} NULL, PRIMARY KEY ({names}))"
        );
        let copy = "INSERT INTO posts SELECT * FROM seed";
        let sql = match self.product {
            Product::Postgres | Product::Pgbouncer => format!(
                "DROP SCHEMA IF EXISTS dunlin CASCADE; DROP TABLE IF EXISTS posts; {table}; \
                 {copy};\nVACUUM ANALYZE posts;\nCHECKPOINT;"
            ),
            Product::Mysql => {
                let drop = "SET FOREIGN_KEY_CHECKS = 0; DROP TABLE IF EXISTS posts; \
                            DROP VIEW IF EXISTS dunlin_data_migrations; DROP TABLE IF EXISTS \
                            dunlin_meta, dunlin_migrations, dunlin_history, dunlin_steps, \
                            dunlin_leases, dunlin_segments, dunlin_runs, dunlin_backfills, \
                            dunlin_quarantine, dunlin_captured";
                format!("{drop}; {table}; {copy}; ANALYZE TABLE posts;")
            }
            Product::Sqlite => {
                let tables = self
                    .database
                    .sql(
                        "SELECT 'DROP ' || type || ' ' || name || ';' FROM sqlite_schema WHERE \
                          name LIKE 'dunlin\\_%' ESCAPE '\\' AND type IN ('table', 'view')",
                    )
                    .map_err(failed("cannot look at the tables"))?;
                format!("{tables}\nDROP TABLE IF EXISTS posts; {table}; {copy}; ANALYZE posts;")
            }
        };
        self.database.sql(&sql).map_err(failed("cannot make the table"))?;
        Ok(())
    }

    /// A way that did less than all is no measurement.
    pub(in crate::bench) fn check(&self, way: &str) -> Result<(), Failure> {
        let left = self
            .database
            .sql("SELECT count(*) FROM posts WHERE published_at IS NULL AND title NOT LIKE 'A %'")
            .map_err(failed("cannot look at the rows"))?;
        let all = self
            .database
            .sql("SELECT count(*) FROM posts WHERE title = upper(title)")
            .map_err(failed("cannot look at the rows"))?;
        let scanned = way.starts_with("one scan");
        if left.trim() == "0" || all.trim() == self.rows.to_string() || scanned {
            return Ok(());
        }
        Err(Failure::new(format!("{way} left {} rows", left.trim())))
    }

    pub(super) fn one_update(&self) -> Way {
        Way::Clients {
            name: "one UPDATE".to_owned(),
            sqls: vec![
                "UPDATE posts SET published_at = inserted_at WHERE published_at IS NULL;"
                    .to_owned(),
            ],
        }
    }

    /// What any way must read once, if no index tells where the rows are. `parallel`: by as many
    /// processes as the server takes by itself, else by one.
    pub(super) fn one_scan(&self, parallel: bool) -> Way {
        let scan = "SELECT count(*) FROM posts WHERE published_at IS NULL;";
        let (name, settings) = if parallel {
            ("one scan", "")
        } else {
            ("one scan by one process", "SET max_parallel_workers_per_gather = 0;\n")
        };
        Way::Clients { name: name.to_owned(), sqls: vec![format!("{settings}{scan}")] }
    }

    /// Loops on the server that commit every 10,000 rows, each over a part of the table, side by
    /// side; where there are procedures.
    pub(super) fn procedures(&self, count: u64) -> Option<Way> {
        let mut sqls = Vec::new();
        for number in 0..count {
            let first = self.rows * number / count;
            let last = self.rows * (number + 1) / count;
            let fill = format!(
                "UPDATE posts SET published_at = inserted_at WHERE published_at IS NULL AND id > at \
                 AND id <= LEAST(at + 10000, {last}); COMMIT;"
            );
            sqls.push(match self.product {
                Product::Postgres | Product::Pgbouncer => format!(
                    "CREATE OR REPLACE PROCEDURE fill{number}() LANGUAGE plpgsql AS $$ DECLARE at \
                     bigint := {first}; BEGIN WHILE at < {last} LOOP {fill} at := at + 10000; END \
                     LOOP; END $$;\nCALL fill{number}();"
                ),
                Product::Mysql => format!(
                    "DROP PROCEDURE IF EXISTS fill{number};\nDELIMITER //\nCREATE PROCEDURE \
                     fill{number}() BEGIN DECLARE at bigint DEFAULT {first}; WHILE at < {last} DO \
                     {fill} SET at = at + 10000; END WHILE; END//\nDELIMITER ;\nSET autocommit = \
                     0;\nCALL fill{number}();"
                ),
                Product::Sqlite => return None,
            });
        }
        let name = match count {
            1 => "a procedure, 10,000 rows a chunk".to_owned(),
            _ => format!("{count} such procedures side by side"),
        };
        Some(Way::Clients { name, sqls })
    }

    pub(super) fn ours(&self, workers: u32) -> Way {
        Way::Ours {
            name: format!("dunlin, {workers} worker{}", if workers == 1 { "" } else { "s" }),
            file: "20260101000000_fill.sql".to_owned(),
            text: format!(
                "-- dunlin: chunk-by posts\n-- dunlin: workers {workers}\nUPDATE posts SET \
                 published_at = inserted_at WHERE published_at IS NULL AND :chunk;\n"
            ),
            after_another: false,
        }
    }

    pub(super) fn row_code(&self, workers: u32) -> Way {
        Way::Ours {
            name: format!(
                "dunlin, row code, {workers} worker{}",
                if workers == 1 { "" } else { "s" }
            ),
            file: "20260101000000_fill.toml".to_owned(),
            text: format!(
                "[program]\ncommand = [\"python3\", \"fill.py\"]\n\n[rows]\ntable = \"posts\"\n\
                 columns = [\"title\"]\n\n[migration]\nworkers = {workers}\n"
            ),
            after_another: false,
        }
    }
}
