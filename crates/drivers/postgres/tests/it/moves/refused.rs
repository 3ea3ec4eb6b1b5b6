//! Rows that are refused, one by one, and what stays of the rest.

use std::sync::Arc;

use arrow::array::{Int32Array, StringArray};
use arrow::record_batch::RecordBatch;
use dunlin_engine::ErrorKind;
use dunlin_engine::moves::{MoveConnector, MoveTarget, Refused, Written, arrow_schema};
use dunlin_model::moves::{Field, Numbering, TableName, ValueType};

use super::{begun, claimed, relation, written};
use crate::world::{LONG, World, connector, with_login};

const TABLES: &str = "\
CREATE TABLE people (id integer PRIMARY KEY, email text NOT NULL, boss integer REFERENCES people, \
  CHECK (email <> 'bad'));\
CREATE UNIQUE INDEX people_email ON people (lower(email));\
CREATE TABLE posts (id integer PRIMARY KEY, author integer REFERENCES people ON DELETE CASCADE);\
CREATE TABLE likes (id integer PRIMARY KEY, fan integer REFERENCES people DEFERRABLE INITIALLY DEFERRED);\
INSERT INTO people VALUES (1, 'one@x', NULL), (2, 'two@x', 1), (3, 'three@x', NULL), \
  (4, 'four@x', NULL), (5, 'five@x', 4);\
INSERT INTO posts VALUES (1, 3); INSERT INTO likes VALUES (1, 5)";

async fn people(target: &mut Box<dyn MoveTarget>) -> Written {
    written(&relation(&target.catalogue().await.expect("a catalogue"), "people"))
}

type Person = (i32, Option<&'static str>, Option<i32>);

fn rows(into: &Written, people: &[Person]) -> RecordBatch {
    let schema = Arc::new(arrow_schema(&into.fields, true));
    let ids = Int32Array::from_iter_values(people.iter().map(|person| person.0));
    let emails: StringArray = people.iter().map(|person| person.1).collect();
    let bosses: Int32Array = people.iter().map(|person| person.2).collect();
    RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(emails), Arc::new(bosses)])
        .expect("a batch")
}

fn ids(into: &Written, ids: &[i32]) -> RecordBatch {
    let people: Vec<Person> = ids.iter().map(|id| (*id, None, None)).collect();
    super::keys(into, &rows(into, &people))
}

fn reasons(refused: &Refused) -> Vec<(u32, &str)> {
    refused.rejected.iter().map(|(row, why)| (*row, why.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn inserting_tells_what_is_there_and_what_is_refused_and_the_rest_goes_in() {
    let world = World::new("moves_insert").await;
    world.sql(TABLES).await;
    let (mut target, mut lease) = begun(&world).await;
    let into = people(&mut target).await;
    let batch = rows(
        &into,
        &[
            (1, Some("again"), None),
            (10, Some("ten"), Some(13)),
            (11, Some("TWO@x"), None),
            (12, Some("bad"), None),
            (13, Some("thirteen"), Some(10)),
            (14, None, None),
            (15, Some("fifteen"), Some(99)),
            (17, Some("seventeen"), Some(1)),
            (16, Some("a\0b"), None),
            (17, Some("again"), None),
        ],
    );
    let refused = target.insert(&into, &batch).await.expect("the rest");
    assert_eq!(refused.absent_or_there, [0, 9]);
    let told = reasons(&refused);
    assert_eq!(told.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2, 3, 5, 6, 8]);
    for ((_, why), words) in told.iter().zip([
        "\"people_email\"",
        "\"people_email_check\"",
        "\"email\"",
        "\"people_boss_fkey\"",
        "0x00",
    ]) {
        assert!(why.contains(words), "{why}");
        assert!(!why.contains("TWO"), "{why}");
    }
    target.commit(&mut lease).await.expect("a commit");
    assert_eq!(
        world.sql("SELECT string_agg(id || email, ',' ORDER BY id) FROM people WHERE id > 9").await,
        "10ten,13thirteen,17seventeen"
    );
    assert_eq!(world.sql("SELECT email FROM people WHERE id = 1").await, "one@x");
}

#[tokio::test(flavor = "multi_thread")]
async fn updating_tells_what_is_absent_and_what_is_refused() {
    let world = World::new("moves_update").await;
    world.sql(TABLES).await;
    let (mut target, mut lease) = begun(&world).await;
    let into = people(&mut target).await;
    let batch = rows(
        &into,
        &[
            (1, Some("uno"), Some(2)),
            (77, Some("nobody"), None),
            (2, Some("bad"), None),
            (3, Some("FOUR@x"), None),
            (5, Some("cinque"), Some(88)),
        ],
    );
    let refused = target.update(&into, &batch).await.expect("the rest");
    assert_eq!(refused.absent_or_there, [1]);
    assert_eq!(refused.rejected.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2, 3, 4]);
    target.commit(&mut lease).await.expect("a commit");
    let now = "SELECT string_agg(email || coalesce(boss, 0), ',' ORDER BY id) FROM people";
    assert_eq!(world.sql(now).await, "uno2,two@x1,three@x0,four@x0,five@x4");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_never_cascades() {
    let world = World::new("moves_delete").await;
    world.sql(TABLES).await;
    let (mut target, mut lease) = begun(&world).await;
    let into = people(&mut target).await;
    // 1 is the boss of 2, which goes too; 3 has a post; 5 is liked, so 4, its boss, stays too.
    let refused = target.delete(&into, &ids(&into, &[1, 2, 3, 4, 5, 6])).await.expect("the rest");
    assert_eq!(refused.absent_or_there, [5]);
    let told = reasons(&refused);
    assert_eq!(told.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2, 3, 4]);
    for ((_, why), table) in told.iter().zip(["posts", "people", "likes"]) {
        assert!(why.starts_with(&format!("still referenced by {table}")), "{why}");
    }
    target.commit(&mut lease).await.expect("a commit");
    assert_eq!(
        world.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM people").await,
        "3,4,5"
    );
    assert_eq!(world.sql("SELECT count(*) FROM posts").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_is_told_without_its_words_and_can_be_left_out_but_references_hold() {
    let world = World::new("moves_triggers").await;
    world.sql(TABLES).await;
    world
        .sql(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'not %', NEW.email; END $$; \
             CREATE TRIGGER no BEFORE INSERT ON people FOR EACH ROW WHEN (NEW.id > 50) \
             EXECUTE FUNCTION no()",
        )
        .await;
    let (mut target, mut lease) = begun(&world).await;
    let mut into = people(&mut target).await;
    let batch = rows(&into, &[(51, Some("secret"), None), (52, Some("other"), Some(404))]);
    let refused = target.insert(&into, &batch).await.expect("told");
    assert_eq!(refused.rejected.len(), 2);
    assert!(refused.rejected[0].1.contains("trigger") && refused.rejected[0].1.contains("no()"));
    assert!(!refused.rejected[0].1.contains("secret"), "{refused:?}");
    into.triggers = false;
    let refused = target.insert(&into, &batch).await.expect("told");
    assert_eq!(reasons(&refused).len(), 1);
    assert!(refused.rejected[0].1.contains("people_boss_fkey"), "{refused:?}");
    // A batch that has its own references is whole.
    let both = rows(&into, &[(60, Some("sixty"), Some(61)), (61, Some("sixty-one"), Some(60))]);
    target.load(&into, &both).await.expect("COPY");
    target.commit(&mut lease).await.expect("a commit");
    let found = "SELECT string_agg(id::text, ',' ORDER BY id) FROM people WHERE id > 50";
    assert_eq!(world.sql(found).await, "51,60,61");
    target.begin(&lease, LONG).await.expect("a transaction");
    let orphan = rows(&into, &[(62, Some("x"), Some(404))]);
    let error = target.load(&into, &orphan).await.expect_err("it refers to nothing");
    assert!(error.by_row, "{error:?}");
    assert_eq!(world.sql("SELECT count(*) FROM people WHERE id = 62").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn loading_a_row_that_is_refused_leaves_nothing() {
    let world = World::new("moves_load").await;
    world.sql(TABLES).await;
    let (mut target, mut lease) = begun(&world).await;
    let into = people(&mut target).await;
    target.load(&into, &rows(&into, &[(20, Some("twenty"), None)])).await.expect("COPY");
    let error = target.load(&into, &rows(&into, &[(1, Some("x"), None)])).await;
    let error = error.expect_err("it is there");
    assert!(error.by_row && error.message.contains("people_pkey"), "{error:?}");
    let error = target.commit(&mut lease).await.expect_err("nothing is open");
    assert_eq!(error.kind, ErrorKind::Bug);
    assert_eq!(world.sql("SELECT count(*) FROM people").await, "5");
    // The connection goes on.
    target.begin(&lease, LONG).await.expect("a transaction");
    target.load(&into, &rows(&into, &[(20, Some("twenty"), None)])).await.expect("COPY");
    target.commit(&mut lease).await.expect("a commit");
    assert_eq!(world.sql("SELECT count(*) FROM people").await, "6");
}

fn field(type_name: &str, max_chars: Option<u32>) -> Field {
    Field {
        name: "c".to_owned(),
        type_name: type_name.to_owned(),
        value_type: ValueType::Other,
        nullable: true,
        has_default: false,
        numbering: Numbering::None,
        generated: false,
        max_chars,
        limit: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_as_they_will_be_stored() {
    let world = World::behind_pgbouncer("moves_normal").await;
    let mut target = world.connector.move_target().await.expect("a connection");
    for (type_name, given, stored) in [
        ("inet", "10.0.0.1/32", "10.0.0.1"),
        ("numeric(6,2)", "1.005", "1.01"),
        ("jsonb", "{\"b\":1, \"a\":1.0}", "{\"a\": 1.0, \"b\": 1}"),
        ("interval", "90 minutes", "01:30:00"),
        ("timestamp with time zone", "2024-01-01 00:00+02", "2023-12-31 22:00:00+00"),
    ] {
        let values = [Some(given.to_owned()), None];
        let told = target.normalise(&field(type_name, None), &values).await.expect(type_name);
        assert_eq!(told, [Some(stored.to_owned()), None]);
    }
    let long = [Some("too long".to_owned())];
    for field in [field("inet", None), field("character varying(3)", Some(3))] {
        let error = target.normalise(&field, &long).await.expect_err("it is refused");
        assert!(error.by_row && !error.message.contains("too long\""), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_only_grow() {
    let world = World::new("moves_numbers").await;
    world
        .sql(
            "CREATE TABLE a (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY);\
             CREATE TABLE b (id serial PRIMARY KEY);\
             CREATE SEQUENCE s INCREMENT 5; \
             CREATE TABLE \"C d\" (\"I\" integer DEFAULT nextval('s')); CREATE TABLE e (id integer)",
        )
        .await;
    let mut target = world.connector.move_target().await.expect("a connection");
    for (table, column, step) in [("a", "id", 1), ("b", "id", 1), ("C d", "I", 5)] {
        let table = TableName::of(table);
        let first = target.take_numbers(&table, column, 3, 0).await.expect("numbers");
        assert_eq!(first, [1, 1 + step, 1 + 2 * step]);
        for (above, least) in [(0, 1), (20, 21), (100_000, 100_001), (50, 100_001)] {
            target.number_above(&table, column, above).await.expect("a sequence");
            let next = target.take_numbers(&table, column, 1, 0).await.expect("a number")[0];
            assert!(next >= least && next > above && next <= least.max(above) + 20, "{next}");
        }
        let next = target.take_numbers(&table, column, 2, 200_000).await.expect("numbers");
        assert!(next[0] > 200_000 && next[1] == next[0] + step, "{next:?}");
    }
    let error =
        target.take_numbers(&TableName::of("e"), "id", 1, 0).await.expect_err("no sequence");
    assert_eq!(error.kind, ErrorKind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_rights_is_told_which() {
    let world = World::new("moves_rights").await;
    world.sql(TABLES).await;
    let name = world.name().to_owned();
    let mut ledger = world.with_ledger().await;
    let lease = claimed(&mut ledger, 1).await;
    world
        .sql(&format!(
            "CREATE ROLE {name}_w LOGIN PASSWORD 'w'; GRANT USAGE ON SCHEMA dunlin TO {name}_w; \
             GRANT ALL ON ALL TABLES IN SCHEMA dunlin TO {name}_w; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON people TO {name}_w"
        ))
        .await;
    let writer = connector(&with_login(world.url(), &format!("{name}_w"), "w"));
    let mut target = writer.move_target().await.expect("a connection");
    assert!(target.stored("queue", "state", 0, 10).await.expect("no store").is_empty());
    let error = target.create_store().await.expect_err("it may not");
    assert_eq!(error.kind, ErrorKind::Permission);
    let mut into = people(&mut target).await;
    target.begin(&lease, LONG).await.expect("a transaction");
    let error = target.delete(&into, &ids(&into, &[3])).await.expect_err("it may not look");
    assert!(error.help.as_deref().is_some_and(|help| help.contains("posts")), "{error:?}");
    target.begin(&lease, LONG).await.expect("a transaction");
    into.triggers = false;
    let error = target.update(&into, &rows(&into, &[(1, Some("x"), None)])).await;
    let help = error.expect_err("it may not").help.expect("a help");
    assert!(help.contains("session_replication_role"), "{help}");
    drop(target);
    world.sql(&format!("DROP OWNED BY {name}_w; DROP ROLE {name}_w")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_by_what_their_type_takes_for_the_same() {
    let world = World::new("moves_find").await;
    world
        .sql(
            "CREATE TABLE c (id uuid PRIMARY KEY, code char(5), n numeric);\
             INSERT INTO c VALUES ('00000000-0000-0000-0000-000000000001', 'DE', 1.50), \
             ('00000000-0000-0000-0000-000000000002', 'FR', 1), \
             ('00000000-0000-0000-0000-000000000003', 'FR', 1.0), \
             ('00000000-0000-0000-0000-000000000004', NULL, 1)",
        )
        .await;
    let (mut target, _) = begun(&world).await;
    let catalogue = target.catalogue().await.expect("a catalogue");
    let from = Written { key: vec![1, 2], ..written(&relation(&catalogue, "c")) };
    let codes: StringArray =
        [Some("DE "), Some("xx"), Some("FR"), None, Some("F\0")].into_iter().collect();
    let numbers = StringArray::from(vec!["1.5", "1", "1.00", "1", "1"]);
    let schema = Arc::new(arrow_schema(&from.fields[1..], true));
    let values =
        RecordBatch::try_new(schema, vec![Arc::new(codes), Arc::new(numbers)]).expect("a batch");
    let (mut places, rows) = target.find(&from, &values).await.expect("rows");
    assert_eq!(rows.num_rows(), 3);
    places.sort_unstable();
    assert_eq!(places, [0, 2, 2]);
}
