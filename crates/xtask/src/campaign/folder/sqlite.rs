//! What SQLite does otherwise: tables are rebuilt, and some things want no transaction.

use super::Folder;

pub(super) fn add(folder: &mut Folder) {
    folder.schema(
        "rebuild_entries",
        "-- dunlin: foreign-keys off\n\
         CREATE TABLE new_entries (\n  id integer PRIMARY KEY,\n  \
         account_id integer REFERENCES accounts (id),\n  amount integer NOT NULL\n);\n\
         INSERT INTO new_entries SELECT id, account_id, amount * 2 + 1 FROM entries;\n\
         DROP TABLE entries;\nALTER TABLE new_entries RENAME TO entries;\n\
         CREATE INDEX entries_account ON entries (account_id) WHERE amount > 0;\n",
    );
    folder.schema("vacuum", "-- dunlin: no-transaction\nVACUUM;\nREINDEX;\n");
    folder.data(
        "double_entries",
        "UPDATE entries SET amount = amount * 2 + 1;\n\
         INSERT INTO audit SELECT account_id, amount FROM entries WHERE id % 9 = 1;\n",
    );
    folder.schema(
        "odd_tables",
        "CREATE TABLE \"odd; name\" (k text PRIMARY KEY, v, w AS (v * 2) STORED) WITHOUT ROWID;\n\
         CREATE TABLE counted (id integer PRIMARY KEY AUTOINCREMENT, n integer);\n\
         CREATE TRIGGER counted_insert AFTER INSERT ON counted WHEN NEW.n IS NULL BEGIN\n  \
         UPDATE counted SET n = NEW.id * 2 WHERE id = NEW.id; -- one; row\nEND;\n",
    );
    folder.data(
        "fill_odd_tables",
        "INSERT INTO \"odd; name\" (k, v) SELECT 'it''s ' || id, balance FROM accounts;\n\
         INSERT INTO counted (n) SELECT NULL FROM accounts;\n\
         UPDATE counted SET n = n * 2 + 1;\n",
    );
    folder.program("tell_outside_of_odd_tables");
    folder.schema(
        "drop_column",
        "ALTER TABLE counted ADD COLUMN m integer DEFAULT 7;\n\
         UPDATE counted SET m = m + id;\n\
         ALTER TABLE counted RENAME COLUMN n TO doubled;\n",
    );
    folder.data("double_counted", "UPDATE counted SET doubled = doubled * 2 + m;\n");
}
