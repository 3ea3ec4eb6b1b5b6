//! The folder that campaigns run: 40 mixed migrations, most of which do harm when run twice.

mod mysql;
mod postgres;
mod sqlite;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dunlin_testkit::servers::Product;

use crate::Failure;

/// How many migrations a folder has.
pub(super) const MIGRATIONS: usize = 40;

/// Every version is above this: one second of a day each.
const FIRST_VERSION: u64 = 20_260_101_000_000;

/// Where a program writes that it ran; a program runs at least once, so it is judged apart.
pub(super) const EFFECTS: &str = "DUNLIN_CAMPAIGN_EFFECTS";

/// One migration file.
#[derive(Debug, Clone)]
struct File {
    folder: &'static str,
    name: String,
    text: String,
    program: bool,
}

/// Migrations in the order in which they run.
#[derive(Debug, Clone, Default)]
pub(super) struct Folder {
    files: Vec<File>,
}

impl Folder {
    /// The folder for a product.
    pub(super) fn of(product: Product) -> Self {
        let mut folder = Self::default();
        folder.beginning(trigger(product));
        match product {
            Product::Postgres => postgres::add(&mut folder, true),
            // COPY wants a connection of its own, which a pooler doesn't give.
            Product::Pgbouncer => postgres::add(&mut folder, false),
            Product::Mysql => mysql::add(&mut folder),
            Product::Sqlite => sqlite::add(&mut folder),
        }
        folder.fill_up();
        folder
    }

    fn add(&mut self, folder: &'static str, name: &str, ending: &str, text: &str, program: bool) {
        let version = FIRST_VERSION + self.files.len() as u64 + 1;
        let name = format!("{version}_{name}.{ending}");
        self.files.push(File { folder, name, text: text.to_owned(), program });
    }

    fn schema(&mut self, name: &str, text: &str) {
        self.add("migrations", name, "up.sql", text, false);
    }

    fn data(&mut self, name: &str, text: &str) {
        self.add("data_migrations", name, "sql", text, false);
    }

    fn program(&mut self, name: &str) {
        let text = format!(
            "#!/bin/sh\n# dunlin: keep-output\nset -e\n\
             echo \"telling the outside of $DUNLIN_VERSION\"\n\
             printf '%s %s\\n' \"$DUNLIN_VERSION\" \"$DUNLIN_IDEMPOTENCY_KEY\" >> \"${EFFECTS}\"\n"
        );
        self.add("data_migrations", name, "sh", &text, true);
    }

    /// What is alike everywhere.
    fn beginning(&mut self, trigger: &str) {
        self.schema(
            "accounts",
            "CREATE TABLE accounts (\n  id integer PRIMARY KEY,\n  owner varchar(60) NOT NULL,\n  \
             balance bigint NOT NULL\n);\n\
             CREATE TABLE entries (id integer PRIMARY KEY, account_id integer, amount bigint);\n\
             -- Without a key: a row that is written twice stays.\n\
             CREATE TABLE audit (account_id integer, balance bigint);\n",
        );
        let rows: Vec<String> =
            (1..=60).map(|id| format!("  ({id}, 'owner; {id}', {})", id * 17 % 101)).collect();
        self.data("fill", &format!("INSERT INTO accounts VALUES\n{};\n", rows.join(",\n")));
        self.data("double", DOUBLE);
        self.schema("audit_trigger", trigger);
        self.data(
            "double_some_and_enter",
            "UPDATE accounts SET balance = (balance * 2 + 1) % 1000000007 WHERE id % 2 = 0;\n\
             INSERT INTO entries SELECT id, id, balance FROM accounts;\n",
        );
        self.schema("add_state", "ALTER TABLE accounts ADD COLUMN state varchar(20);\n");
        self.data(
            "fill_state",
            "UPDATE accounts SET state = CASE WHEN balance > 90 THEN 'rich' ELSE 'poor' END;\n\
             UPDATE accounts SET balance = balance + 1 WHERE state = 'poor';\n",
        );
        self.program("tell_outside");
        self.schema(
            "rich_view",
            "CREATE VIEW rich AS SELECT id, balance FROM accounts WHERE state = 'rich';\n",
        );
        self.data(
            "split_entries",
            "INSERT INTO entries SELECT id + 1000, account_id, amount * 2 + 1 FROM entries;\n\
             DELETE FROM entries WHERE id % 7 = 3;\n\
             UPDATE entries SET amount = amount * 3 + 1 WHERE id > 1000;\n",
        );
    }

    /// More of the same until there are enough.
    fn fill_up(&mut self) {
        while self.files.len() < MIGRATIONS {
            let number = self.files.len();
            match number % 4 {
                0 => self.schema(
                    &format!("extra_{number}"),
                    &format!(
                        "CREATE TABLE extra_{number} (id integer PRIMARY KEY, balance bigint);\n\
                         CREATE INDEX extra_{number}_balance ON extra_{number} (balance);\n\
                         INSERT INTO extra_{number} SELECT id, balance FROM accounts;\n"
                    ),
                ),
                2 => self.program("tell_outside_again"),
                _ => self.data(
                    "double_again",
                    "UPDATE accounts SET balance = (balance * 2 + 1) % 1000000007;\n\
                     INSERT INTO audit SELECT id, -balance FROM accounts WHERE id % 5 = 0;\n",
                ),
            }
        }
    }

    /// Writes the files into a folder, which is the project's root.
    pub(super) fn write(&self, root: &Path) -> Result<(), Failure> {
        let failed = |path: &Path, error: std::io::Error| {
            Failure::because(format!("cannot write {}", path.display()), &error)
        };
        for folder in ["migrations", "data_migrations"] {
            let path = root.join(folder);
            std::fs::create_dir_all(&path).map_err(|error| failed(&path, error))?;
        }
        for file in &self.files {
            let path: PathBuf = root.join(file.folder).join(&file.name);
            std::fs::write(&path, &file.text).map_err(|error| failed(&path, error))?;
            if file.program {
                let run = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(&path, run).map_err(|error| failed(&path, error))?;
            }
        }
        Ok(())
    }

    /// The SQL of all files in order, for the database's own client.
    pub(super) fn as_one_script(&self) -> String {
        let sql = self.files.iter().filter(|file| !file.program);
        sql.map(|file| format!("{}\n", file.text)).collect()
    }

    /// The versions of the programs.
    pub(super) fn programs(&self) -> Vec<String> {
        let programs = self.files.iter().filter(|file| file.program);
        programs.filter_map(|file| file.name.split('_').next().map(str::to_owned)).collect()
    }
}

const DOUBLE: &str = "UPDATE accounts SET balance = balance * 2 + 1;\n";

/// Every change of a balance leaves a row behind, so that one that is made twice shows.
fn trigger(product: Product) -> &'static str {
    match product {
        Product::Postgres | Product::Pgbouncer => {
            "CREATE FUNCTION audit_balance() RETURNS trigger LANGUAGE plpgsql AS $body$\n\
             BEGIN\n  INSERT INTO audit VALUES (NEW.id, NEW.balance); -- one; row\n  \
             RETURN NEW;\nEND\n$body$;\n\
             CREATE TRIGGER audit_balance AFTER UPDATE OF balance ON accounts\n  \
             FOR EACH ROW EXECUTE FUNCTION audit_balance();\n"
        }
        Product::Mysql => {
            "DELIMITER //\nCREATE TRIGGER audit_balance AFTER UPDATE ON accounts FOR EACH ROW\n\
             BEGIN\n  IF NEW.balance <> OLD.balance THEN\n    \
             INSERT INTO audit VALUES (NEW.id, NEW.balance);\n  END IF;\nEND//\nDELIMITER ;\n"
        }
        Product::Sqlite => {
            "CREATE TRIGGER audit_balance AFTER UPDATE OF balance ON accounts BEGIN\n  \
             INSERT INTO audit VALUES (NEW.id, NEW.balance);\nEND;\n"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_has_forty_and_three_programs_or_more() {
        for product in Product::ALL {
            let folder = Folder::of(product);
            assert_eq!(folder.files.len(), MIGRATIONS, "{product:?}");
            assert!(folder.programs().len() >= 3, "{product:?}");
            let root = tempfile::tempdir().unwrap();
            folder.write(root.path()).unwrap();
            let count = |name| std::fs::read_dir(root.path().join(name)).unwrap().count();
            assert_eq!(count("migrations") + count("data_migrations"), MIGRATIONS);
        }
    }
}
