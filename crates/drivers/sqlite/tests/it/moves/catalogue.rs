//! What a file looks like.

use dunlin_model::moves::{Field, ForeignKey, Numbering, Relation, TableName, ValueType};

use super::super::Scratch;

async fn relations(scratch: &Scratch) -> Vec<Relation> {
    scratch.source().await.catalogue().await.unwrap().relations
}

fn of<'a>(relations: &'a [Relation], name: &str) -> &'a Relation {
    relations.iter().find(|relation| relation.name.name == name).unwrap()
}

#[tokio::test]
async fn tables_and_views_with_their_keys() {
    let scratch = Scratch::new();
    scratch.sql(
        "CREATE TABLE Users (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL,
           phone VARCHAR(20) DEFAULT '', upper_email AS (upper(email)));
         CREATE UNIQUE INDEX users_email ON users (email);
         CREATE UNIQUE INDEX users_lower ON users (lower(email));
         CREATE UNIQUE INDEX users_part ON users (phone) WHERE phone <> '';
         CREATE TABLE memberships (user_id INT REFERENCES USERS ON DELETE CASCADE,
           group_id INT, PRIMARY KEY (group_id, user_id)) WITHOUT ROWID;
         CREATE TABLE named (code TEXT PRIMARY KEY, other TEXT NOT NULL UNIQUE);
         CREATE TABLE keyless (a TEXT, b TEXT NOT NULL, c TEXT NOT NULL,
           UNIQUE (a), UNIQUE (b, c));
         CREATE TABLE bare (a);
         CREATE VIEW people AS SELECT id, email FROM users;
         CREATE VIEW broken AS SELECT id FROM nowhere;
         CREATE VIRTUAL TABLE words USING fts5 (word);
         INSERT INTO users (email) VALUES ('a'), ('b'), ('c')",
    );
    drop(scratch.with_ledger().await);
    let found = relations(&scratch).await;
    let names: Vec<&str> = found.iter().map(|relation| relation.name.name.as_str()).collect();
    assert_eq!(names, ["Users", "bare", "keyless", "memberships", "named", "people"]);

    let users = of(&found, "Users");
    assert_eq!((users.key.join(","), users.is_table), ("id".to_owned(), true));
    assert_eq!(users.unique, [["id"], ["email"]]);
    assert_eq!(users.unique_in_part, [["email"], ["phone"]]);
    assert_eq!(users.row_count_estimate, Some(3));
    let id = Field {
        name: "id".to_owned(),
        type_name: "INTEGER".to_owned(),
        value_type: ValueType::Int64,
        nullable: false,
        has_default: true,
        numbering: Numbering::Counter,
        generated: false,
        max_chars: None,
        limit: None,
    };
    assert_eq!(users.field("id"), Some(&id));
    let phone = users.field("phone").unwrap();
    assert!(phone.has_default && phone.nullable && !phone.is_numbered());
    assert!(users.field("upper_email").unwrap().generated);

    let memberships = of(&found, "memberships");
    assert_eq!(memberships.key, ["group_id", "user_id"]);
    assert!(memberships.fields.iter().all(|field| !field.nullable && !field.is_numbered()));
    let expected = ForeignKey {
        name: None,
        columns: vec!["user_id".to_owned()],
        to: TableName::of("Users"),
        to_columns: vec!["id".to_owned()],
        on_delete: "CASCADE".to_owned(),
    };
    assert_eq!(memberships.foreign_keys, [expected]);
    assert_eq!(of(&found, "named").key, ["code"]);
    assert!(of(&found, "named").field("code").unwrap().nullable);
    assert_eq!(of(&found, "keyless").key, ["b", "c"]);
    assert!(of(&found, "bare").key.is_empty());
    assert!(!of(&found, "people").is_table);
    assert_eq!(of(&found, "people").field("id").unwrap().value_type, ValueType::Int64);
}

#[tokio::test]
async fn queries_are_described() {
    let scratch = Scratch::new();
    scratch.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME)");
    let mut source = scratch.source().await;
    let name = TableName::of("q");
    let query = "WITH x AS (SELECT * FROM t) SELECT at, id + 1 AS next FROM x; -- all";
    let fields = source.describe(&name, query).await.unwrap();
    let types: Vec<_> = fields.iter().map(|f| (f.name.as_str(), f.value_type.clone())).collect();
    assert_eq!(types, [("at", ValueType::Timestamp), ("next", ValueType::Other)]);
    for (bad, word) in [
        ("SELECT id, at AS ID FROM t", "two columns"),
        ("DELETE FROM t", "no SELECT"),
        ("ATTACH ':memory:' AS x", "no SELECT"),
        ("SELECT nowhere FROM t", "no such column"),
        ("SELECT 1; SELECT 2", "more than one"),
    ] {
        let error = source.describe(&name, bad).await.unwrap_err();
        assert!(error.message.contains(word), "{bad}: {error}");
    }
}
