//! Moves, which must survive the same as backfills and more: they have two databases.
//!
//! Each test has an old shop and a new one on the same product, and nights in which the old one
//! changes. What stands in the new one in the end is compared with the old one by the servers' own
//! client, through names; and ids must be those of the first night.

mod crashes;
mod ends;
mod forgetting;
mod network;
mod room;
mod trouble;

use dunlin_testkit::servers::{Product, Server, TestDatabase};

use super::backfill::numbers;
use super::world::{Ended, Run, Start, World};

/// So that derived ids are the same in every night.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

const MAPPING: &str = r#"source = "old"
target = "app"
id_key = "shop"

[ids]
person = "derived"
post   = "derived"

[into.people]
from  = "people"
makes = "person"
set.name    = "name"
set.boss_id = { new = "person", of = "boss", missing = "null" }

[into.posts]
from  = "posts"
makes = "post"
set.title     = "title"
set.person_id = { new = "person", of = "person" }
"#;

const NEW: &str = "
CREATE TABLE people (id char(36) PRIMARY KEY, name varchar(40) NOT NULL UNIQUE, boss_id char(36),
  CONSTRAINT bosses FOREIGN KEY (boss_id) REFERENCES people (id));
CREATE TABLE posts (id char(36) PRIMARY KEY, title varchar(60) NOT NULL, person_id char(36) NOT NULL,
  CONSTRAINT writers FOREIGN KEY (person_id) REFERENCES people (id));
CREATE INDEX posts_by_title ON posts (title);
";

/// Everything by what it says: of the old shop, and of the new one.
const OLD_PEOPLE: &str = "SELECT p.name, coalesce(b.name, '-') FROM people p LEFT JOIN people b ON b.id = p.boss ORDER BY 1";
const NEW_PEOPLE: &str = "SELECT p.name, coalesce(b.name, '-') FROM people p LEFT JOIN people b ON b.id = p.boss_id ORDER BY 1";
const OLD_POSTS: &str =
    "SELECT title, name FROM posts JOIN people ON people.id = posts.person ORDER BY 1";
const NEW_POSTS: &str =
    "SELECT title, name FROM posts JOIN people ON people.id = posts.person_id ORDER BY 1";

/// Indexes and foreign keys.
const PARTS: [(Product, &str); 2] = [
    (
        Product::Postgres,
        "SELECT (SELECT count(*) FROM pg_constraint WHERE conrelid::regclass::text IN ('people', 'posts') AND convalidated),
           (SELECT count(*) FROM pg_index WHERE indrelid::regclass::text IN ('people', 'posts') AND indisvalid),
           (SELECT count(*) FROM pg_trigger WHERE tgrelid::regclass::text IN ('people', 'posts') AND NOT tgisinternal)",
    ),
    (
        Product::Mysql,
        "SELECT count(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name IN ('people', 'posts')",
    ),
];

/// An old shop and a new one.
struct Shop {
    old: TestDatabase,
    /// What runs read from; another than the database's where something stands in between.
    old_url: String,
    new: World,
    night: u32,
    ids: String,
    parts: String,
}

impl Shop {
    /// On the servers that all tests share.
    fn new(product: Product, name: &str) -> Self {
        let (old, new) = (format!("{name}_old"), format!("{name}_new"));
        Self::of(World::new(product, &old).database, World::new(product, &new))
    }

    /// On a server of the test's own.
    fn on(server: &Server, name: &str) -> Self {
        let old = server.database(&format!("{name}_old"));
        Self::of(old, World::on(server.database(&format!("{name}_new"))))
    }

    fn of(old: TestDatabase, new: World) -> Self {
        new.write(
            "dunlin.toml",
            "[databases.old]\nurl = \"${OLD_URL}\"\nconnect_timeout = \"60s\"\n\n\
             [databases.app]\nurl = \"${DATABASE_URL}\"\nconnect_timeout = \"60s\"\n",
        );
        std::fs::create_dir(new.root().join("moves")).expect("a folder");
        new.write("moves/shop.toml", MAPPING);
        let old_url = old.url.clone();
        let mut shop =
            Self { old, old_url, new, night: 0, ids: String::new(), parts: String::new() };
        shop.old(&format!(
            "CREATE TABLE people (id integer PRIMARY KEY, name varchar(40), boss integer);
             INSERT INTO people SELECT n, concat('Person ', n), CASE WHEN n % 7 > 0 THEN n % 50 + 1 END FROM {};
             CREATE TABLE posts (id integer PRIMARY KEY, title varchar(60), person integer);
             INSERT INTO posts SELECT n, concat('Post ', n), n % 300 + 1 FROM {};",
            numbers(shop.old.product, 300),
            numbers(shop.old.product, 900),
        ));
        shop.new.sql(NEW);
        shop.parts = shop.parts_now();
        shop
    }

    /// With a first night behind it.
    fn at_work(product: Product, name: &str) -> Self {
        Self::new(product, name).after_a_night()
    }

    fn after_a_night(mut self) -> Self {
        self.run().exits(0);
        self.assert_moved("the first night");
        self.ids = self.new.sql("SELECT name, id FROM people ORDER BY 1");
        self
    }

    fn in_mode(self, mode: &str) -> Self {
        self.new.write("moves/shop.toml", &format!("mode = \"{mode}\"\n{MAPPING}"));
        self
    }

    #[track_caller]
    fn old(&self, sql: &str) -> String {
        self.old.sql(sql).expect("the client can do it").trim_end().to_owned()
    }

    /// The old shop is at work: some posts are changed, some are new, some go, bosses change.
    fn a_day_goes_by(&mut self) {
        self.night += 1;
        let night = self.night;
        let new = 10_000 + 30 * night;
        self.old(&format!(
            "UPDATE posts SET title = concat('Night {night}, post ', id) WHERE id % 3 = {night} % 3 AND id <= 900;
             DELETE FROM posts WHERE id >= {before} AND id < {new};
             INSERT INTO posts SELECT n + {new}, concat('New in night {night}: ', n), n FROM {numbers};
             UPDATE people SET boss = (id + {night}) % 50 + 1 WHERE id % 11 = {night} % 11;",
            before = new - 30,
            numbers = numbers(self.old.product, 30),
        ));
    }

    fn command(&self, words: &str) -> Start {
        self.new.command(words).variable("OLD_URL", &self.old_url).variable("DUNLIN_MOVE_KEY", KEY)
    }

    fn move_run(&self) -> Start {
        self.command("move run shop --lease-wait 60s")
    }

    fn run(&self) -> Ended {
        self.move_run().start().end()
    }

    fn armed(&self, failpoint: &str, action: &str) -> Start {
        self.move_run()
            .variable("DUNLIN_FAILPOINT", failpoint)
            .variable("DUNLIN_FAILPOINT_ACTION", action)
    }

    /// A run that has halted at a failpoint.
    #[track_caller]
    fn halted(&self, failpoint: &str) -> Run {
        let run = self.armed(failpoint, "stop").start();
        run.until_stopped();
        run
    }

    fn parts_now(&self) -> String {
        let product = match self.new.product {
            Product::Mysql => Product::Mysql,
            _ => Product::Postgres,
        };
        let sql = PARTS.iter().find(|(of, _)| *of == product).map_or("", |(_, sql)| sql);
        self.new.sql(sql)
    }

    /// Stops the test unless the new shop says what the old one says, and nothing is left over.
    #[track_caller]
    fn assert_moved(&self, when: &str) {
        assert_same(&self.new.sql(NEW_PEOPLE), &self.old(OLD_PEOPLE), when);
        assert_same(&self.new.sql(NEW_POSTS), &self.old(OLD_POSTS), when);
        if !self.ids.is_empty() {
            assert_same(&self.new.sql("SELECT name, id FROM people ORDER BY 1"), &self.ids, when);
        }
        assert_eq!(self.parts_now(), self.parts, "indexes and foreign keys, {when}");
    }
}

#[track_caller]
fn assert_same(new: &str, old: &str, when: &str) {
    let differ = new.lines().zip(old.lines()).find(|(new, old)| new != old);
    assert_eq!(differ, None, "{when}");
    assert_eq!(new.lines().count(), old.lines().count(), "{when}");
}
