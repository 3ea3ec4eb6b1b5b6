//! What MySQL and MariaDB do otherwise: definitions commit by themselves, one by one.

use super::Folder;

pub(super) fn add(folder: &mut Folder) {
    folder.schema(
        "rows_between_definitions",
        "UPDATE accounts SET balance = balance * 2 + 1;\n\
         ALTER TABLE accounts ADD COLUMN flag integer NOT NULL DEFAULT 0;\n\
         UPDATE accounts SET flag = flag * 2 + id;\n\
         ALTER TABLE accounts ADD INDEX accounts_flag (flag), MODIFY owner varchar(80) NOT NULL;\n\
         INSERT INTO audit SELECT id, flag FROM accounts;\n",
    );
    folder.schema(
        "can_be_repeated",
        "CREATE TABLE IF NOT EXISTS scratch_1 (id integer PRIMARY KEY) ENGINE=InnoDB;\n\
         CREATE TABLE IF NOT EXISTS scratch_2 LIKE scratch_1;\n\
         INSERT INTO scratch_1 SELECT id FROM accounts;\n\
         TRUNCATE TABLE scratch_1;\n\
         CREATE OR REPLACE VIEW poor AS SELECT id FROM accounts WHERE state = 'poor';\n",
    );
    folder.schema(
        "procedure",
        "delimiter $$\nCREATE PROCEDURE raise_all(IN amount integer)\nBEGIN\n  \
         DECLARE done integer DEFAULT 0; -- a; comment\n  \
         UPDATE accounts SET balance = balance + amount;\nEND$$\n\
         CREATE FUNCTION answer() RETURNS integer DETERMINISTIC\nBEGIN\n  RETURN 42;\nEND$$\n\
         delimiter ;\n",
    );
    folder.data(
        "answered",
        "UPDATE accounts SET balance = (balance * 2 + answer()) % 1000000007;\n\
         INSERT INTO entries SELECT id + 2000, id, answer() FROM accounts;\n",
    );
    folder.schema(
        "renames",
        "RENAME TABLE scratch_2 TO scratch_3;\n\
         CREATE TABLE copied AS SELECT id, balance FROM accounts WHERE id < 20;\n\
         ALTER TABLE copied ADD PRIMARY KEY (id);\n",
    );
    folder.data(
        "change_copied",
        "UPDATE copied SET balance = balance * 2 + 1;\nDELETE FROM copied WHERE id % 4 = 1;\n",
    );
    folder.program("tell_outside_of_copies");
    folder.schema(
        "drops",
        "DROP TABLE scratch_1, scratch_3;\nDROP VIEW poor;\n\
         ALTER TABLE entries ADD INDEX entries_account (account_id);\n\
         ALTER TABLE entries ADD CONSTRAINT entries_account_fk FOREIGN KEY (account_id)\n  \
         REFERENCES accounts (id);\n",
    );
    folder.schema(
        "many_statements",
        "CREATE TABLE tags (id integer PRIMARY KEY, tag varchar(40)) DEFAULT CHARSET=utf8mb4;\n\
         INSERT INTO tags SELECT id, 'it\\'s; \"odd\"' FROM accounts;\n\
         ALTER TABLE tags ADD COLUMN length integer;\n\
         UPDATE tags SET length = CHAR_LENGTH(tag) + id;\n\
         CREATE UNIQUE INDEX tags_length ON tags (length);\n\
         UPDATE tags SET length = length * 2 + 1000;\n\
         ALTER TABLE tags DROP COLUMN tag;\n\
         UPDATE tags SET length = length * 2 + 1;\n",
    );
    folder.schema(
        "event_and_trigger",
        "CREATE TRIGGER tags_insert BEFORE INSERT ON tags FOR EACH ROW SET NEW.length = NEW.id;\n\
         DROP TRIGGER audit_balance;\n\
         DELIMITER ;;\nCREATE TRIGGER audit_balance AFTER UPDATE ON accounts FOR EACH ROW\n\
         BEGIN\n  INSERT INTO audit VALUES (NEW.id, NEW.balance);\nEND;;\nDELIMITER ;\n",
    );
}
