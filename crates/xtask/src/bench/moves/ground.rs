//! The databases that are measured, and the mappings.

use std::path::Path;

use dunlin_testkit::servers::{self, Durability, Product, Server, TestDatabase};

use crate::Failure;

/// The columns of comments besides the key and the references.
const REST: &str =
    "body text NOT NULL, inserted_at timestamp NOT NULL, updated_at timestamp NOT NULL";

/// Where rows come from and go to.
pub(super) struct Ground {
    pub(super) rows: u64,
    pub(super) old: TestDatabase,
    pub(super) app: TestDatabase,
    _servers: Vec<Server>,
}

/// What the target is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// New ids and references; the primary keys, and nothing else.
    Keyed,
    /// The same with three indexes and the foreign keys.
    Whole,
    /// The old numbers, copied.
    Plain,
}

impl Shape {
    /// The target's tables.
    fn tables(self) -> String {
        let comments = |id: &str| {
            format!(
                "CREATE TABLE comments (id {id} PRIMARY KEY, order_id {id} NOT NULL, \
                 user_id {id} NOT NULL, editor_id {id} NOT NULL, {REST});"
            )
        };
        if self == Self::Plain {
            return comments("bigint");
        }
        let mut sql = format!(
            "CREATE TABLE users (id uuid PRIMARY KEY, name text NOT NULL);\
             CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid NOT NULL, title text NOT NULL);{}",
            comments("uuid")
        );
        if self == Self::Whole {
            sql.push_str(
                "ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users (id);\
                 ALTER TABLE comments ADD FOREIGN KEY (order_id) REFERENCES orders (id), \
                 ADD FOREIGN KEY (user_id) REFERENCES users (id), \
                 ADD FOREIGN KEY (editor_id) REFERENCES users (id);\
                 CREATE INDEX comments_order ON comments (order_id);\
                 CREATE INDEX comments_user ON comments (user_id, inserted_at);\
                 CREATE INDEX comments_time ON comments (inserted_at);",
            );
        }
        sql
    }

    /// `moves/bench.toml`
    fn mapping(self) -> &'static str {
        if self == Self::Plain {
            "source = \"old\"\ntarget = \"app\"\n\n[into.comments]\nfrom = \"comments\"\n\
             set.id = \"id\"\nset.order_id = \"order_id\"\nset.user_id = \"user_id\"\n\
             set.editor_id = \"editor_id\"\nset.body = \"body\"\n\
             set.inserted_at = \"inserted_at\"\nset.updated_at = \"updated_at\"\n"
        } else {
            "source = \"old\"\ntarget = \"app\"\n\n[ids]\nuser = \"derived\"\n\
             order = \"derived\"\ncomment = \"derived\"\n\n\
             [into.users]\nfrom = \"users\"\nmakes = \"user\"\nset.name = \"name\"\n\n\
             [into.orders]\nfrom = \"orders\"\nmakes = \"order\"\n\
             set.user_id = { new = \"user\", of = \"user_id\" }\nset.title = \"title\"\n\n\
             [into.comments]\nfrom = \"comments\"\nmakes = \"comment\"\n\
             set.order_id = { new = \"order\", of = \"order_id\" }\n\
             set.user_id = { new = \"user\", of = \"user_id\" }\n\
             set.editor_id = { new = \"user\", of = \"editor_id\" }\nset.body = \"body\"\n\
             set.inserted_at = \"inserted_at\"\nset.updated_at = \"updated_at\"\n"
        }
    }
}

fn failed(what: &'static str) -> impl Fn(servers::ClientError) -> Failure {
    move |error| Failure::because(what, &error)
}

impl Ground {
    /// Starts servers with their own durability and makes the old rows: comments, and where the
    /// source is PostgreSQL a user for each thousand and an order for each thirty of them.
    pub(super) fn new(from: Product, rows: u64) -> Result<Self, Failure> {
        let no_server = |error| Failure::because("no server", &error);
        let mut all = vec![Server::postgres(Durability::Full, &[]).map_err(no_server)?];
        let app = all[0].database("bench_app");
        let old = match from {
            Product::Mysql => {
                let server = Server::mysql(Durability::Full, &[]).map_err(no_server)?;
                let old = server.database("bench_old");
                all.push(server);
                old
            }
            Product::Sqlite => servers::sqlite("bench_old"),
            _ => all[0].database("bench_old"),
        };
        old.sql(&seed(from, rows)).map_err(failed("the old rows can't be made"))?;
        Ok(Self { rows, old, app, _servers: all })
    }

    /// A target without rows, nor anything of ours.
    pub(super) fn empty(&self, shape: Shape) -> Result<(), Failure> {
        let sql = format!(
            "SET client_min_messages TO error; DROP SCHEMA IF EXISTS dunlin CASCADE; \
             DROP TABLE IF EXISTS comments, orders, users CASCADE; {} CHECKPOINT;",
            shape.tables()
        );
        self.app.sql(&sql).map_err(failed("the target can't be emptied")).map(drop)
    }

    /// Keeps a copy of what a move wrote, for the tools that only copy.
    pub(super) fn keep_translated(&self) -> Result<(), Failure> {
        let sql = "DROP TABLE IF EXISTS translated; \
             CREATE TABLE translated AS SELECT * FROM comments; VACUUM ANALYZE translated;";
        self.app.sql(sql).map_err(failed("the translated rows can't be kept")).map(drop)
    }

    /// One old comment in a hundred gets another text.
    pub(super) fn change_one_in_a_hundred(&self) -> Result<(), Failure> {
        let sql = "UPDATE comments SET body = body || '.' WHERE id % 100 = 7;";
        self.old.sql(sql).map_err(failed("the old rows can't be changed")).map(drop)
    }

    /// A measurement that moved other rows than all is none.
    pub(super) fn check(&self, way: &str) -> Result<(), Failure> {
        let sql = "SELECT count(*) FROM comments";
        let count = self.app.sql(sql).map_err(failed("the rows can't be counted"))?;
        if count.trim() == self.rows.to_string() {
            return Ok(());
        }
        Err(Failure::new(format!("{way} moved {} of {} rows", count.trim(), self.rows)))
    }

    /// A folder with `dunlin.toml` and the mapping.
    pub(super) fn project(&self, shape: Shape, folder: &Path) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::because("cannot write the files", &error);
        std::fs::create_dir_all(folder.join("moves")).map_err(failed)?;
        let settings = "[databases.old]\nurl = \"${OLD_URL}\"\n\n[databases.app]\n\
             url = \"${APP_URL}\"\n";
        std::fs::write(folder.join("dunlin.toml"), settings).map_err(failed)?;
        std::fs::write(folder.join("moves/bench.toml"), shape.mapping()).map_err(failed)
    }
}

fn seed(from: Product, rows: u64) -> String {
    let orders = (rows / 30).max(1);
    let users = (rows / 1_000).max(1);
    match from {
        Product::Postgres | Product::Pgbouncer => format!(
            "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);\
             CREATE TABLE orders (id int PRIMARY KEY, user_id int NOT NULL, title text NOT NULL);\
             CREATE TABLE comments (id int PRIMARY KEY, order_id int NOT NULL, user_id int NOT NULL, \
             editor_id int NOT NULL, {REST});\
             INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, {users}) AS g(n);\
             INSERT INTO orders SELECT n, n % {users} + 1, 'order ' || n \
             FROM generate_series(1, {orders}) AS g(n);\
             INSERT INTO comments SELECT n, n % {orders} + 1, n * 7 % {users} + 1, \
             n * 13 % {users} + 1, rpad('comment ' || n, 45, 'x'), \
             timestamp '2020-01-01' + n * interval '1 second', \
             timestamp '2020-01-02' + n * interval '1 second' \
             FROM generate_series(1, {rows}) AS g(n);\
             VACUUM ANALYZE users; VACUUM ANALYZE orders; VACUUM ANALYZE comments; CHECKPOINT;"
        ),
        Product::Mysql => format!(
            "SET SESSION max_recursive_iterations = 4294967295; \
             CREATE TABLE comments (id bigint PRIMARY KEY, order_id bigint NOT NULL, \
             user_id bigint NOT NULL, editor_id bigint NOT NULL, body varchar(100) NOT NULL, \
             inserted_at datetime NOT NULL, updated_at datetime NOT NULL); \
             INSERT INTO comments SELECT seq, seq % {orders} + 1, seq * 7 % {users} + 1, \
             seq * 13 % {users} + 1, rpad(concat('comment ', seq), 45, 'x'), \
             '2020-01-01' + INTERVAL seq SECOND, '2020-01-02' + INTERVAL seq SECOND \
             FROM seq_1_to_{rows};"
        ),
        Product::Sqlite => format!(
            "CREATE TABLE comments (id integer PRIMARY KEY, order_id bigint NOT NULL, \
             user_id bigint NOT NULL, editor_id bigint NOT NULL, body text NOT NULL, \
             inserted_at timestamp NOT NULL, updated_at timestamp NOT NULL); \
             WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {rows}) \
             INSERT INTO comments SELECT n, n % {orders} + 1, n * 7 % {users} + 1, \
             n * 13 % {users} + 1, substr('comment ' || n || '{x}', 1, 45), \
             datetime('2020-01-01', n || ' seconds'), datetime('2020-01-02', n || ' seconds') \
             FROM g;",
            x = "x".repeat(45)
        ),
    }
}
