//! What a login may not do is told before anything is written; and one that may only look, may look.

use dunlin_testkit::servers::{self, Product, TestDatabase};

use super::KEY;
use crate::project::{Project, Ran};

const MAPPING: &str = r#"source = "old"
target = "app"
id_key = "shop"

[ids]
person = "derived"

[into.people]
from     = "people"
makes    = "person"
set.name = "name"
"#;

/// Two databases of one product on one server.
struct Pair {
    project: Project,
    old: TestDatabase,
    new: TestDatabase,
    login: Option<(String, String)>,
}

impl Pair {
    fn new(product: Product, name: &str) -> Self {
        let server = match product {
            Product::Mysql => servers::mysql(),
            _ => servers::postgres(),
        };
        let pair = Self {
            project: Project::empty(),
            old: server.database(&format!("{name}_old")),
            new: server.database(&format!("{name}_new")),
            login: None,
        };
        pair.old("CREATE TABLE people (id int PRIMARY KEY, name varchar(40)); INSERT INTO people VALUES (1, 'Ada'), (2, 'Alan')");
        pair.new_one("CREATE TABLE people (id char(36) PRIMARY KEY, name varchar(40))");
        pair.project.write(
            "dunlin.toml",
            "[databases.old]\nurl = \"${OLD_URL}\"\n\n[databases.app]\nurl = \"${APP_URL}\"\n",
        );
        pair.project.write("moves/shop.toml", MAPPING);
        pair
    }

    fn old(&self, sql: &str) -> String {
        self.old.sql(sql).expect("the client can do it").trim_end().to_owned()
    }

    fn new_one(&self, sql: &str) -> String {
        self.new.sql(sql).expect("the client can do it").trim_end().to_owned()
    }

    /// From now on with a login that has these rights in both databases.
    fn as_login(&mut self, rights: &str) {
        // A name of its own on a server that others use: MySQL's are short.
        let name = format!("l{}", &self.new.name[self.new.name.len() - 10..]);
        if self.new.product == Product::Mysql {
            self.new_one(&format!("CREATE USER {name}@'%' IDENTIFIED BY 'word'"));
            for database in [&self.old.name, &self.new.name] {
                self.new_one(&format!("GRANT {rights} ON {database}.* TO {name}@'%'"));
            }
        } else {
            self.new_one(&format!("CREATE ROLE {name} LOGIN PASSWORD 'word'"));
            for (database, schemas) in [(&self.old, "public"), (&self.new, "public, dunlin")] {
                database
                    .sql(&format!("GRANT USAGE ON SCHEMA {schemas} TO {name}; GRANT {rights} ON ALL TABLES IN SCHEMA {schemas} TO {name}"))
                    .expect("rights");
            }
        }
        self.login = Some((name, "word".to_owned()));
    }

    fn url(&self, of: &TestDatabase) -> String {
        let Some((name, word)) = &self.login else { return of.url.clone() };
        let (scheme, rest) = of.url.split_once("://").expect("a URL");
        let (_, place) = rest.split_once('@').expect("a login");
        format!("{scheme}://{name}:{word}@{place}")
    }

    fn run(&self, words: &str) -> Ran {
        let (old, new) = (self.url(&self.old), self.url(&self.new));
        self.project.run_with(words, &[("OLD_URL", &old), ("APP_URL", &new), KEY])
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let Some((name, _)) = &self.login else { return };
        // It goes with the server where it can't be dropped.
        if self.new.product == Product::Mysql {
            let _ = self.new.sql(&format!("DROP USER {name}@'%'"));
        } else {
            let _ = self.old.sql(&format!("DROP OWNED BY {name}"));
            let _ = self.new.sql(&format!("DROP OWNED BY {name}; DROP ROLE {name}"));
        }
    }
}

/// Everything that only looks, with a login that may not write a row anywhere.
fn looks_only(product: Product) {
    let mut pair = Pair::new(product, "looks_only");
    pair.run("move run shop").exits(0);
    pair.as_login("SELECT");
    let dump = pair.new.rows_dump().expect("a dump");
    for words in [
        "move sample shop people 2",
        "move status shop",
        "move verify shop",
        "move rejects shop",
        "move ids export shop --namespace person --csv",
        "move run shop --dry-run",
        "status --database app",
    ] {
        let ran = pair.run(words).exits(0);
        assert!(!ran.all().contains("panicked"), "{}", ran.all());
    }
    assert_eq!(pair.new.rows_dump().expect("a dump"), dump, "looking changes nothing");
    // What it lacks for a run is told, beside the plan.
    let plan = pair.run("move plan shop");
    let lacks = product == Product::Postgres;
    assert_eq!(plan.code(), if lacks { 2 } else { 0 }, "{}", plan.all());
    assert!(plan.stdout().contains("read people"), "{}", plan.all());
    let told = ["may not insert into people", "GRANT USAGE ON SCHEMA dunlin TO"];
    assert!(!lacks || told.iter().all(|one| plan.all().contains(one)), "{}", plan.all());
    let refused = pair.run("move run shop");
    assert_ne!(refused.code(), 0);
    assert_eq!(pair.new.rows_dump().expect("a dump"), dump, "{}", refused.all());
}

#[test]
fn a_login_of_postgres_that_only_looks_may_look() {
    looks_only(Product::Postgres);
}

#[test]
fn a_login_of_mysql_that_only_looks_may_look() {
    looks_only(Product::Mysql);
}

/// `triggers = "off"` needs a right: told by the plan, and nothing is written without it, not even a
/// ledger.
#[test]
fn triggers_that_cannot_be_off_are_told_before_anything_is_written() {
    for product in [Product::Postgres, Product::Mysql] {
        let mut pair = Pair::new(product, "triggers_off");
        pair.project.write("moves/shop.toml", &format!("{MAPPING}triggers = \"off\"\n"));
        let word = if product == Product::Mysql {
            // Nobody can switch them off there.
            pair.new_one(
                "CREATE TRIGGER t BEFORE INSERT ON people FOR EACH ROW SET NEW.name = 'x'",
            );
            "without them"
        } else {
            pair.new_one("CREATE SCHEMA dunlin");
            pair.as_login("SELECT, INSERT, UPDATE, DELETE");
            pair.new_one("DROP SCHEMA dunlin");
            "may not switch triggers off"
        };
        let plan = pair.run("move plan shop").exits(2);
        assert!(plan.all().contains("shop.toml:8") && plan.all().contains(word), "{}", plan.all());
        let ran = pair.run("move run shop").exits(2);
        assert!(ran.all().contains("shop.toml:8") && ran.all().contains(word), "{}", ran.all());
        let tables = match product {
            Product::Mysql => {
                "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()"
            }
            _ => {
                "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            }
        };
        assert_eq!(pair.new_one(tables), "1", "no ledger was made");
    }
}

/// Before there is a ledger: each side's login is asked, and the statements that are told help.
#[test]
fn a_login_that_may_not_read_or_make_the_ledger_is_told_by_the_plan() {
    let mut pair = Pair::new(Product::Postgres, "may_nothing");
    for database in [&pair.old, &pair.new] {
        database.sql("CREATE SCHEMA dunlin").expect("a schema");
    }
    pair.as_login("SELECT, INSERT, UPDATE, DELETE");
    pair.run("move plan shop").exits(2);
    for database in [&pair.old, &pair.new] {
        database.sql("DROP SCHEMA dunlin").expect("no schema");
    }
    let (login, _) = pair.login.clone().expect("a login");
    pair.old(&format!("REVOKE SELECT ON people FROM {login}"));
    let plan = pair.run("move plan shop").exits(2).all();
    let create = format!("GRANT CREATE ON DATABASE \"{}\" TO \"{login}\"", pair.new.name);
    assert!(
        plan.contains("may not create the schema `dunlin`") && plan.contains(&create),
        "{plan}"
    );
    assert!(plan.contains("shop.toml:9") && plan.contains("GRANT SELECT ON"), "{plan}");
    pair.old(&format!("GRANT SELECT ON people TO {login}"));
    pair.new_one(&create);
    pair.run("move plan shop").exits(0);
    pair.run("move run shop").exits(0);
    pair.run("move plan shop").exits(0);
}

/// What was never there was not lost: it is an error at once.
#[test]
fn a_source_that_is_not_there_is_told_once() {
    let pair = Pair::new(Product::Postgres, "not_there");
    let url = ("OLD_URL", "postgres://nobody@127.0.0.1:1/nothing");
    let ran = pair.project.run_with("move run shop", &[url, ("APP_URL", &pair.new.url), KEY]);
    let all = ran.exits(1).all();
    assert!(all.contains("the source") || all.contains("old:"), "{all}");
    assert!(!all.contains("beginning again"), "{all}");
}
