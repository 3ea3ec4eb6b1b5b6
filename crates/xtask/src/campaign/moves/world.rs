//! Two databases of one round and the files between them.

use std::path::Path;

use dunlin_testkit::servers::{Product, Server, TestDatabase};

use super::super::fresh;
use crate::Failure;

/// The move's name.
pub(super) const NAME: &str = "workshop";

/// A product's own texts of the world.
struct Texts {
    old: &'static str,
    new: &'static str,
    mapping: &'static str,
    expected: &'static str,
    actual: &'static str,
}

const POSTGRES: Texts = Texts {
    old: include_str!("postgres/old.sql"),
    new: include_str!("postgres/new.sql"),
    mapping: include_str!("postgres/mapping.toml"),
    expected: include_str!("postgres/expected.sql"),
    actual: include_str!("postgres/actual.sql"),
};

const MYSQL: Texts = Texts {
    old: include_str!("mysql/old.sql"),
    new: include_str!("mysql/new.sql"),
    // Its columns have the names of SQLite's.
    mapping: include_str!("sqlite/mapping.toml"),
    expected: include_str!("mysql/expected.sql"),
    actual: include_str!("mysql/actual.sql"),
};

const SQLITE: Texts = Texts {
    old: include_str!("sqlite/old.sql"),
    new: include_str!("sqlite/new.sql"),
    mapping: include_str!("sqlite/mapping.toml"),
    expected: include_str!("sqlite/expected.sql"),
    actual: include_str!("sqlite/actual.sql"),
};

/// What a mapping says of tags, by the places where it does.
const TAGS: [(&str, &str); 3] = [
    ("@TAG_IDS@", r#"tag     = { kind = "matched", table = "tags", by = "word" }"#),
    ("@TAG_RULE@", "[into.tags]\nfrom  = \"labels\"\nmakes = \"tag\"\nset.word = \"word\"\n"),
    ("@TAG_SET@", r#"set.tag_id     = { new = "tag", of = "label", missing = "null" }"#),
];

/// One round's databases.
pub(super) struct World {
    pub(super) product: Product,
    pub(super) old: TestDatabase,
    pub(super) new: TestDatabase,
    /// Which edition of the mapping is in force: it stands in texts that rows get.
    pub(super) version: u32,
    /// `mode` of the mapping.
    pub(super) mode: &'static str,
}

impl World {
    /// Makes the databases, with their tables empty, and the project's files.
    pub(super) fn make(
        product: Product,
        server: Option<&Server>,
        project: &Path,
        mode: &'static str,
    ) -> Result<Self, Failure> {
        let world = Self {
            product,
            old: fresh(product, server, "old"),
            new: fresh(product, server, "new"),
            version: 1,
            mode,
        };
        let texts = world.texts();
        for (database, text) in [(&world.old, texts.old), (&world.new, texts.new)] {
            database
                .sql(text)
                .map_err(|error| Failure::because("cannot make the tables", &error))?;
        }
        let failed = |error: std::io::Error| Failure::because("cannot write the files", &error);
        std::fs::create_dir(project.join("moves")).map_err(failed)?;
        let databases = format!(
            "[databases.old]\nurl = \"{}\"\n\n[databases.app]\nurl = \"{}\"\n",
            world.old.url, world.new.url
        );
        std::fs::write(project.join("dunlin.toml"), databases).map_err(failed)?;
        world.write_mapping(project)?;
        Ok(world)
    }

    /// Whether old labels become tags, some of which are there. A rule that makes matched ids wants it.
    pub(super) fn has_tags(&self) -> bool {
        self.mode == "sync"
    }

    /// Whether the tables are kept from the application, since they are being loaded.
    pub(super) fn is_kept(&self) -> Result<bool, Failure> {
        if self.product != Product::Postgres {
            return Ok(false);
        }
        let sql = "SELECT count(*) FROM pg_trigger WHERE tgname = 'dunlin_loading'";
        self.looked(sql).map(|count| count.trim() != "0")
    }

    /// Every index, constraint and trigger of the new database's tables, where any is ever dropped.
    pub(super) fn definitions(&self) -> Result<String, Failure> {
        if self.product != Product::Postgres {
            return Ok(String::new());
        }
        self.looked(
            "SELECT pg_get_indexdef(indexrelid) AS d FROM pg_index JOIN pg_class c ON c.oid = indrelid
               WHERE relnamespace = 'public'::regnamespace
             UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
               FROM pg_constraint WHERE connamespace = 'public'::regnamespace
             UNION ALL SELECT pg_get_triggerdef(t.oid) || tgenabled::text FROM pg_trigger t JOIN pg_class c
               ON c.oid = tgrelid WHERE relnamespace = 'public'::regnamespace AND NOT tgisinternal
             ORDER BY d",
        )
    }

    fn looked(&self, sql: &str) -> Result<String, Failure> {
        self.new
            .sql(sql)
            .map_err(|error| Failure::because("cannot look at the new database", &error))
    }

    /// A person edits the mapping.
    pub(super) fn edit_mapping(&mut self, project: &Path) -> Result<(), Failure> {
        self.version += 1;
        self.write_mapping(project)
    }

    fn write_mapping(&self, project: &Path) -> Result<(), Failure> {
        let file = project.join("moves").join(format!("{NAME}.toml"));
        let mut mapping = self.of_version(self.texts().mapping);
        for (place, text) in TAGS {
            mapping = mapping.replace(place, if self.has_tags() { text } else { "" });
        }
        std::fs::write(file, format!("mode = \"{}\"\n{mapping}", self.mode))
            .map_err(|error| Failure::because("cannot write the mapping", &error))
    }

    /// What the old rows must become, as the database's own client tells it.
    pub(super) fn expected(&self) -> Result<String, Failure> {
        let printed = self
            .old
            .sql(&self.of_version(self.texts().expected))
            .map_err(|error| Failure::because("cannot look at the old database", &error))?;
        self.lines(printed)
    }

    /// What stands in the new database.
    pub(super) fn actual(&self) -> Result<String, Failure> {
        let printed = self
            .new
            .sql(self.texts().actual)
            .map_err(|error| Failure::because("cannot look at the new database", &error))?;
        self.lines(printed)
    }

    /// Old people and their addresses, a line each: number, address.
    pub(super) fn people(&self) -> Result<String, Failure> {
        let line = match self.product {
            Product::Mysql => "concat(id, ' ', lower(mail))",
            _ => "id || ' ' || lower(mail)",
        };
        self.old
            .sql(&format!("SELECT {line} FROM people ORDER BY id"))
            .map_err(|error| Failure::because("cannot look at the old database", &error))
    }

    /// MariaDB's client puts backslashes before what it prints, so its rows come as digits.
    fn lines(&self, printed: String) -> Result<String, Failure> {
        if self.product != Product::Mysql {
            return Ok(printed);
        }
        let bad = || Failure::new("the client printed no line of hexadecimal digits");
        let mut text = Vec::with_capacity(printed.len() / 2);
        for line in printed.lines() {
            let digits: Vec<u8> = line
                .bytes()
                .filter_map(|digit| char::from(digit).to_digit(16))
                .map(|digit| digit as u8)
                .collect();
            if digits.len() != line.len() || !digits.len().is_multiple_of(2) {
                return Err(bad());
            }
            text.extend(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]));
            text.push(b'\n');
        }
        String::from_utf8(text).map_err(|_| bad())
    }

    fn of_version(&self, text: &str) -> String {
        text.replace("@VERSION@", &format!("v{}", self.version))
    }

    fn texts(&self) -> &'static Texts {
        match self.product {
            Product::Sqlite => &SQLITE,
            Product::Mysql => &MYSQL,
            Product::Postgres | Product::Pgbouncer => &POSTGRES,
        }
    }
}
