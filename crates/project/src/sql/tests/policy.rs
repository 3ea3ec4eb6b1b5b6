use std::path::Path;

use dunlin_model::Dialect::{Mysql, Postgres, Sqlite};
use dunlin_model::{Diagnostic, Dialect, Directives, Statement};

use super::{parse, refused, texts};
use crate::sql::{policy, read};

/// With directives given here, so that only the policy is tested.
fn with(
    dialect: Dialect,
    text: &str,
    directives: &Directives,
) -> Result<Vec<Statement>, Vec<Diagnostic>> {
    policy::apply(dialect, Path::new("a.sql"), read(dialect, text).unwrap(), directives)
}

#[test]
fn a_transaction_around_everything_is_taken_out() {
    let around = [
        (Postgres, "BEGIN", "COMMIT"),
        (Postgres, "begin work", "END TRANSACTION"),
        (Postgres, "START TRANSACTION", "commit work"),
        (Mysql, "START TRANSACTION", "COMMIT"),
        (Mysql, "BEGIN", "COMMIT"),
        (Sqlite, "BEGIN IMMEDIATE TRANSACTION", "END"),
        (Sqlite, "BEGIN EXCLUSIVE", "COMMIT TRANSACTION"),
    ];
    for (dialect, begin, commit) in around {
        let text = format!("-- a\n{begin};\nSELECT 1;\nSELECT 2;\n{commit};\n-- z");
        assert_eq!(texts(dialect, &text), ["SELECT 1", "SELECT 2"], "{text}");
    }
    assert!(texts(Postgres, "BEGIN; COMMIT;").is_empty());
}

#[test]
fn any_other_control_is_refused() {
    let rule = "transaction-control";
    assert_eq!(refused(Postgres, "SELECT 1;\nCOMMIT;\nSELECT 2;"), [(rule, 2)]);
    assert_eq!(
        refused(Postgres, "BEGIN;\nSELECT 1;\nCOMMIT;\nBEGIN;\nSELECT 2;\nCOMMIT;"),
        [(rule, 1), (rule, 3), (rule, 4), (rule, 6)]
    );
    for text in [
        "SAVEPOINT a",
        "RELEASE a",
        "ROLLBACK TO SAVEPOINT a",
        "ROLLBACK",
        "ABORT",
        "PREPARE TRANSACTION 'x'",
        "COMMIT AND CHAIN",
        "COMMIT PREPARED 'x'",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
    ] {
        assert_eq!(refused(Postgres, text), [(rule, 1)], "{text}");
    }
    assert_eq!(refused(Mysql, "SET autocommit = 0; SELECT 1;"), [(rule, 1)]);
    assert_eq!(refused(Mysql, "XA START 'a';"), [(rule, 1)]);
    assert_eq!(refused(Sqlite, "BEGIN;\nSELECT 1;"), [(rule, 1)]);
    // A routine's own control is none of the file's.
    let body = "CREATE PROCEDURE p() BEGIN START TRANSACTION; COMMIT; END";
    assert_eq!(texts(Mysql, body), [body]);
}

#[test]
fn control_under_no_transaction_is_refused_with_what_to_do() {
    let alone = Directives { no_transaction: true, ..Directives::default() };
    let found = with(Postgres, "BEGIN; SELECT 1; COMMIT;", &alone).unwrap_err();
    assert_eq!(found.len(), 2);
    assert!(found[0].help.as_deref().unwrap().contains("`no-transaction`"), "{}", found[0]);
    assert!(with(Postgres, "VACUUM t; CREATE INDEX CONCURRENTLY i ON t (a);", &alone).is_ok());
    assert!(with(Postgres, "COPY t FROM stdin;\n1\n\\.\n", &alone).is_ok());
}

#[test]
fn what_needs_no_transaction_says_so() {
    let rule = "needs-no-transaction";
    for text in [
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)",
        "DROP INDEX CONCURRENTLY IF EXISTS i",
        "REINDEX TABLE CONCURRENTLY t",
        "REINDEX (CONCURRENTLY) INDEX i",
        "REINDEX DATABASE d",
        "VACUUM (FULL) t",
        "CREATE DATABASE d",
        "DROP DATABASE d",
        "CREATE TABLESPACE t LOCATION '/x'",
        "DROP TABLESPACE t",
        "ALTER SYSTEM SET work_mem = '1MB'",
        "CLUSTER",
        "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
        "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p",
        "DROP SUBSCRIPTION s",
        "ALTER DATABASE d SET TABLESPACE t",
        "DISCARD ALL",
    ] {
        assert_eq!(refused(Postgres, &format!("SELECT 1;\n{text};")), [(rule, 2)], "{text}");
    }
    for text in [
        "CREATE INDEX i ON t (a)",
        "REINDEX TABLE t",
        "CLUSTER t USING i",
        "ALTER TABLE t DETACH PARTITION p",
        "ALTER DATABASE d SET work_mem = '1MB'",
        "ANALYZE t",
        "CREATE TABLE concurrently_made (a int)",
    ] {
        assert!(refused(Postgres, text).is_empty(), "{text}");
    }
    let found = parse(Postgres, "VACUUM").unwrap_err();
    assert_eq!(found[0].message, "VACUUM cannot run inside a transaction");
    assert!(found[0].help.as_deref().unwrap().contains("-- dunlin: no-transaction"));
}

#[test]
fn a_new_enum_value_cannot_be_used_in_its_transaction() {
    let rule = "needs-no-transaction";
    let add = "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'so-so' AFTER 'bad'";
    assert!(refused(Postgres, &format!("{add}; SELECT 1;")).is_empty());
    assert_eq!(refused(Postgres, &format!("{add};\nUPDATE p SET mood = 'so-so';")), [(rule, 1)]);
    let sql = "CREATE FUNCTION f() RETURNS mood LANGUAGE sql AS $$ SELECT 'so-so'::mood $$";
    assert_eq!(refused(Postgres, &format!("{add};\n{sql};")), [(rule, 1)]);
    // A PL/pgSQL body is stored, not run.
    let stored =
        "CREATE FUNCTION f() RETURNS mood LANGUAGE plpgsql AS $$ BEGIN RETURN 'so-so'; END $$";
    assert!(refused(Postgres, &format!("{add};\n{stored};")).is_empty());
    // The type is as new as the value.
    let new = format!("CREATE TYPE mood AS ENUM ('bad');\n{add};\nSELECT 'so-so'::mood;");
    assert!(refused(Postgres, &new).is_empty());
}

#[test]
fn sqlite_pragmas() {
    let rule = "needs-no-transaction";
    assert_eq!(refused(Sqlite, "PRAGMA foreign_keys = OFF;"), [(rule, 1)]);
    assert_eq!(refused(Sqlite, "PRAGMA journal_mode(wal);"), [(rule, 1)]);
    assert_eq!(refused(Sqlite, "VACUUM;"), [(rule, 1)]);
    for text in ["PRAGMA foreign_keys", "PRAGMA user_version = 3", "PRAGMA foreign_key_check(t)"] {
        assert!(refused(Sqlite, text).is_empty(), "{text}");
    }
    let found = parse(Sqlite, "PRAGMA foreign_keys=off").unwrap_err();
    assert!(found[0].help.as_deref().unwrap().contains("-- dunlin: foreign-keys off"));
}

#[test]
fn the_directive_does_what_the_pragmas_ask_for() {
    let off = Directives { foreign_keys_off: true, ..Directives::default() };
    let text = "PRAGMA foreign_keys=off;\nBEGIN;\nDROP TABLE a;\nCOMMIT;\nPRAGMA foreign_keys=on;";
    let statements = with(Sqlite, text, &off).unwrap();
    assert_eq!(statements.len(), 1);
    assert_eq!(statements[0].text, "DROP TABLE a");
    assert!(with(Sqlite, text, &Directives::default()).is_err());
}
