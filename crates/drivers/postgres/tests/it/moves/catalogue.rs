//! What the catalogue tells.

use dunlin_engine::moves::MoveConnector;
use dunlin_model::moves::{Limit, TableName, ValueType};

use super::relation;
use crate::world::World;

const SCHEMA: &str = r#"
CREATE SCHEMA side;
CREATE TYPE state AS ENUM ('open', 'closed');
CREATE DOMAIN code AS varchar(9) NOT NULL;
CREATE DOMAIN short_code AS code;
CREATE TABLE teams (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE side.teams (id integer PRIMARY KEY);
CREATE TABLE side.notes (a integer, b integer NOT NULL, c text NOT NULL,
  team_id integer REFERENCES public.teams ON DELETE SET NULL, UNIQUE (b, c), UNIQUE (a),
  UNIQUE (c) DEFERRABLE);
CREATE UNIQUE INDEX ON side.notes (lower(c));
CREATE UNIQUE INDEX ON side.notes (b) WHERE a > 0;
CREATE TABLE members (
  team_id integer NOT NULL REFERENCES teams ON DELETE CASCADE, nr bigint GENERATED ALWAYS AS IDENTITY,
  code short_code, money numeric(10, 2) DEFAULT 0, label char(4), state state, tags varchar(5)[],
  whole numeric, doubled integer GENERATED ALWAYS AS (team_id * 2) STORED, gone integer,
  other_team integer DEFAULT nextval('teams_id_seq'), PRIMARY KEY (team_id, nr));
ALTER TABLE members DROP gone;
CREATE TABLE log (at date NOT NULL, n integer) PARTITION BY RANGE (at);
CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO log SELECT '2024-05-05', g FROM generate_series(1, 50) AS g;
CREATE VIEW open_teams AS SELECT * FROM teams;
CREATE MATERIALIZED VIEW team_count AS SELECT count(*) AS n FROM teams;
ANALYZE
"#;

#[tokio::test(flavor = "multi_thread")]
async fn tables_columns_keys_and_references() {
    let world = World::new("moves_catalogue").await;
    world.sql(SCHEMA).await;
    drop(world.with_ledger().await);
    let mut source = world.connector.source().await.expect("a snapshot");
    let catalogue = source.catalogue().await.expect("a catalogue");
    let names: Vec<String> = catalogue.relations.iter().map(|r| r.name.to_string()).collect();
    let expected =
        ["log", "members", "open_teams", "team_count", "teams", "side.notes", "side.teams"];
    assert_eq!(names, expected);

    let members = relation(&catalogue, "members");
    assert_eq!(members.key, ["team_id", "nr"]);
    let told: Vec<String> = members
        .fields
        .iter()
        .map(|f| {
            let flags = [f.nullable, f.has_default, f.is_numbered(), f.generated];
            let flags: String = flags.iter().map(|flag| if *flag { 'x' } else { '-' }).collect();
            format!("{} {} {flags} {:?}", f.name, f.type_name, f.max_chars)
        })
        .collect();
    assert_eq!(
        told,
        [
            "team_id integer ---- None",
            "nr bigint -xx- None",
            "code short_code ---- Some(9)",
            "money numeric(10,2) xx-- None",
            "label character(4) x--- Some(4)",
            "state state x--- None",
            "tags character varying(5)[] x--- None",
            "whole numeric x--- None",
            "doubled integer xx-x None",
            "other_team integer xxx- None",
        ]
    );
    let held = |name: &str| members.field(name).expect("a column").value_type.clone();
    assert_eq!(held("code"), ValueType::Text { padded: false });
    assert_eq!(held("label"), ValueType::Text { padded: true });
    assert_eq!(held("money"), ValueType::Numeric { scale: Some(2) });
    assert_eq!(held("whole"), ValueType::Numeric { scale: None });
    assert_eq!(held("state"), ValueType::Enum(vec!["open".to_owned(), "closed".to_owned()]));
    assert_eq!(held("tags"), ValueType::List(Box::new(ValueType::Text { padded: false })));
    let key = &members.foreign_keys[0];
    assert_eq!((key.to.to_string().as_str(), key.on_delete.as_str()), ("teams", "CASCADE"));
    assert_eq!(
        (&key.columns[..], &key.to_columns[..]),
        (&["team_id".into()][..], &["id".into()][..])
    );

    let notes = relation(&catalogue, "side.notes");
    assert_eq!(notes.key, ["b", "c"], "neither nullable nor deferrable");
    assert_eq!(notes.unique.len(), 3, "{:?}", notes.unique);
    assert_eq!(notes.unique_in_part, [["c"], ["b"]]);
    assert_eq!(notes.foreign_keys[0].to, TableName::of("teams"));
    assert_eq!(notes.foreign_keys[0].on_delete, "SET NULL");
    let log = relation(&catalogue, "log");
    assert_eq!((log.row_count_estimate, log.is_table), (Some(50), true));
    assert!(!relation(&catalogue, "open_teams").is_table);
    assert!(relation(&catalogue, "teams").fields[0].is_numbered());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_types_take_of_texts() {
    let world = World::new("moves_limits").await;
    world
        .sql(
            "CREATE DOMAIN money_domain AS numeric(8, 1); CREATE TABLE limits (\
             a numeric, b numeric(8, 1), c numeric(3, 5), d numeric(3, -2), e money_domain, f inet, \
             g cidr[], h macaddr, i macaddr8, j bit(3), k varbit(5), l varbit, m bit, \
             n numeric(4, 1)[], o text, p interval)",
        )
        .await;
    let mut source = world.connector.source().await.expect("a snapshot");
    let catalogue = source.catalogue().await.expect("a catalogue");
    let limits: Vec<_> =
        relation(&catalogue, "limits").fields.iter().map(|field| field.limit).collect();
    assert_eq!(
        limits,
        [
            None,
            Some(Limit::Below(7)),
            Some(Limit::Below(-2)),
            Some(Limit::Below(5)),
            Some(Limit::Below(7)),
            Some(Limit::Inet),
            Some(Limit::Cidr),
            Some(Limit::MacAddress),
            Some(Limit::MacAddress8),
            Some(Limit::Bits(Some(3))),
            Some(Limit::BitsUpTo(Some(5))),
            Some(Limit::BitsUpTo(None)),
            Some(Limit::Bits(Some(1))),
            Some(Limit::Below(3)),
            None,
            None,
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_described_and_a_wrong_one_keeps_the_snapshot() {
    let world = World::new("moves_query").await;
    world.sql(SCHEMA).await;
    world.sql("INSERT INTO teams (name) VALUES ('a')").await;
    let mut source = world.connector.source().await.expect("a snapshot");
    let name = TableName::of("wanted");
    for wrong in
        ["SELECT 1 FROM nothing", "SELECT 1 AS a, 2 AS a", "DELETE FROM teams", "SELECT 1 +"]
    {
        let error = source.describe(&name, wrong).await.expect_err(wrong);
        assert!(error.message.contains("wanted"), "{error:?}");
    }
    let query = "SELECT id, name AS \"The Name\", 1.5::numeric AS n, '{}'::state[] AS s \
                 FROM teams -- all of them\n;  ";
    let fields = source.describe(&name, query).await.expect("columns");
    let told: Vec<(&str, &ValueType)> =
        fields.iter().map(|f| (f.name.as_str(), &f.value_type)).collect();
    let labels = ValueType::Enum(vec!["open".to_owned(), "closed".to_owned()]);
    assert_eq!(
        told,
        [
            ("id", &ValueType::Int32),
            ("The Name", &ValueType::Text { padded: false }),
            ("n", &ValueType::Numeric { scale: None }),
            ("s", &ValueType::List(Box::new(labels))),
        ]
    );
    let extract = dunlin_engine::moves::Extract {
        table: name,
        query: Some(query.to_owned()),
        fields,
        order: vec!["The Name".to_owned()],
        only: Vec::new(),
        batch_bytes: 1,
    };
    let rows = super::read(&mut source, &extract).await;
    assert_eq!(rows.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 1);
}
