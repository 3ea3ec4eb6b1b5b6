//! Every type both ways: read, written, and compared by the server.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Date32Type, TimestampMicrosecondType};
use dunlin_engine::moves::{MoveConnector, arrow_schema};

use super::{begun, extract, keys, read, relation, target_rows, written};
use crate::world::World;

/// Types that travel in their binary form.
const BINARY: &str = r#"
CREATE EXTENSION hstore; CREATE EXTENSION citext;
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', 'ünder');
CREATE DOMAIN positive AS integer NOT NULL CHECK (VALUE > 0);
CREATE DOMAIN words AS text[];
CREATE TABLE a (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b boolean, i2 smallint, i4 integer, i8 bigint,
  o oid, f4 real, f8 double precision, n numeric, n2 numeric(12, 3), t text, v varchar(7),
  c char(5), nm name, ci citext, m mood, j json, jb jsonb, x xml, u uuid, by bytea, d date, ti time,
  ts timestamp, tz timestamptz, h hstore, ip inet, net cidr, p positive, w words,
  ai integer[], at text[], au uuid[], an numeric[], ad date[], am mood[], ah hstore[], ab bytea[],
  double_id bigint GENERATED ALWAYS AS (i8) STORED
);
INSERT INTO a (b, i2, i4, i8, o, f4, f8, n, n2, t, v, c, nm, ci, m, j, jb, x, u, by, d, ti, ts, tz,
  h, ip, net, p, w, ai, at, au, an, ad, am, ah, ab) VALUES
(true, 32767, 2147483647, 9223372036854775807, 4294967295, 1.5e38, 1.7976931348623157e308,
 123456789012345678901234567890.0123456789, 123456789.120, E'tab\t nl\n cr\r bs\\ q'' dq" \u00e4 😀',
 'sevench', 'ab', 'a name', 'CiTeXt', 'it''s "ok"', '{"a" :  1, "a": 2}', '{"b": [1.10, null]}',
 '<a>&amp;</a>', '00112233-4455-6677-8899-aabbccddeeff', '\x0001ff5c', '2024-02-29',
 '23:59:59.999999', '1999-12-31 23:59:59.999999', '2024-03-10 12:00:00.5+02', 'a=>"1, \"2\"", b=>NULL',
 '10.1.2.3/8', '10.0.0.0/8', 1, '{x,NULL,"NULL",""}', '{1,NULL,-3}', '{"a b","c\"d","e\\f",NULL,"{}"}',
 '{00112233-4455-6677-8899-aabbccddeeff,NULL}', '{1.50,NaN,-0.0001}', '{infinity,0044-03-15 BC}',
 '{sad,NULL}', ARRAY['a=>1'::hstore, NULL, ''], '{"\\x00ff",NULL}'),
(false, -32768, -2147483648, -9223372036854775808, 0, 'NaN', '-Infinity', 'NaN', -0.001, '', '', '',
 '', '', 'ünder', 'null', 'null', '', '00000000-0000-0000-0000-000000000000', '', 'infinity',
 '24:00', 'infinity', '-infinity', '', '::1', '2001:db8::/32', 2, '{}', '{}', '{}', '{}', '{}', '{}',
 '{}', '{}', '{}'),
(NULL, 0, 0, 0, 1, '-0', 4.9e-324, 0.00, 0, ' lead and trail ', '   ', '     ', 'x', 'x', 'sad',
 '[]', '{}', 'text', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '\x', '-infinity', '00:00',
 '4713-01-01 00:00 BC', '294246-12-31 23:59:59.999999+00', '""=>""', '192.168.0.1', '0.0.0.0/0', 3,
 NULL, '{0}', '{""}', NULL, '{Infinity,-Infinity}', '{-infinity,5874897-12-31}', NULL, NULL, '{""}'),
(NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1e-20, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
 NULL, NULL, NULL, '4713-01-01 BC', NULL, NULL, NULL, NULL, NULL, NULL, 4, NULL, NULL, NULL, NULL,
 NULL, NULL, NULL, NULL, NULL),
(true, 1, 1, 1, 1, 0.1, 0.1, -99999.99990000, 99999999.999, repeat('x', 100000), 'ä', 'ä', 'ä', 'ä',
 'sad', '"\u00e4"', '"ä"', '<a/>', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\xdeadbeef',
 '0001-01-01', '12:00', '0001-01-01', '2000-01-01 00:00+00', 'k=>v', 'fe80::1/64', '192.168.1.0/24',
 5, '{a}', '{1}', '{a}', NULL, '{10000,100000000}', '{2000-01-01}', '{}', NULL, NULL);
"#;

/// Types that travel as text, behind a serial.
const TEXT: &str = r#"
CREATE TYPE pair AS (a integer, b text);
CREATE DOMAIN spans AS int4range;
CREATE TABLE b (
  id serial PRIMARY KEY, u uuid, i interval, tt timetz, ma macaddr, bi bit(3), vb varbit, mo money,
  po point, r int4range, tr tstzrange, sp spans, ts tsvector, pa pair, ai interval[], t text, by bytea,
  d date, tz timestamptz, f real, h hstore, c char(3)
);
INSERT INTO b (u, i, tt, ma, bi, vb, mo, po, r, tr, sp, ts, pa, ai, t, by, d, tz, f, h, c) VALUES
('00112233-4455-6677-8899-aabbccddeeff', '1 year -2 mons 3 days 04:05:06.789', '12:00:00+05:30',
 '08:00:2b:01:02:03', '101', '10', '-1234.50', '(1.5,-2)', '[1,5)', '[2024-01-01 00:00+02,)',
 'empty', '''a'':1 ''b c''', ROW(1, 'x "y" \ z'), '{1 day,NULL}', E'\\.', '\x00', '0044-03-15 BC',
 '0044-03-15 12:00 BC', 'NaN', 'a=>NULL', 'a'),
(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, E'\\N', NULL,
 'infinity', '-infinity', '-Infinity', '', ''),
(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', E'a\tb\\\n\r', '',
 '10000-01-01', '10000-01-01 00:00:00.000001+00', 0.1, '"q\"\\"=>"\\"', 'äöü');
"#;

/// Copies a table in three ways, and lets the server compare.
async fn there_and_back(world: &World, table: &str) {
    let copy = format!("{table}_copy");
    world.sql(&format!("CREATE TABLE {copy} (LIKE {table} INCLUDING ALL)")).await;
    let compare = format!(
        "SELECT count(*) FROM {table} AS a FULL JOIN {copy} AS b USING (id) \
         WHERE a.*::text IS DISTINCT FROM b.*::text"
    );
    let mut reader = world.connector.move_target().await.expect("a connection");
    let from = relation(&reader.catalogue().await.expect("a catalogue"), table);
    let batches = target_rows(&mut reader, &from).await;
    assert!(batches.len() > 1, "several batches");
    let rows: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
    let (mut target, mut lease) = begun(world).await;
    let mut into = written(&from);
    into.table.name.clone_from(&copy);

    for batch in &batches {
        target.load(&into, batch).await.expect("COPY");
    }
    target.commit(&mut lease).await.expect("a commit");
    assert_eq!(world.sql(&format!("SELECT count(*) FROM {copy}")).await, rows.to_string());
    assert_eq!(world.sql(&compare).await, "0", "by COPY");

    target.begin(&lease, crate::world::LONG).await.expect("a transaction");
    for batch in &batches {
        let same = target.fetch(&into, &keys(&into, batch), true).await.expect("rows").rows;
        assert_eq!(same.num_rows(), batch.num_rows());
        let gone = target.delete(&into, &keys(&into, batch)).await.expect("rows");
        assert_eq!(gone, Default::default());
        let refused = target.insert(&into, batch).await.expect("rows");
        assert_eq!(refused, Default::default());
    }
    target.commit(&mut lease).await.expect("a commit");
    assert_eq!(world.sql(&compare).await, "0", "by INSERT");

    world.sql(&format!("UPDATE {copy} SET t = 'other', d = NULL, u = NULL")).await;
    assert_ne!(world.sql(&compare).await, "0");
    target.begin(&lease, crate::world::LONG).await.expect("a transaction");
    for batch in &batches {
        assert_eq!(target.update(&into, batch).await.expect("rows"), Default::default());
    }
    target.commit(&mut lease).await.expect("a commit");
    assert_eq!(world.sql(&compare).await, "0", "by UPDATE");
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_types_there_and_back() {
    let world = World::new("moves_binary").await;
    world.sql(BINARY).await;
    there_and_back(&world, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_types_there_and_back_through_a_pooler() {
    let world = World::behind_pgbouncer("moves_text").await;
    world.sql("CREATE EXTENSION hstore").await;
    world.sql(TEXT).await;
    there_and_back(&world, "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_has_the_texts_of_the_server() {
    let world = World::new("moves_texts").await;
    world.sql(BINARY).await;
    let database = world.name();
    world.sql(&format!("ALTER DATABASE {database} SET timezone TO 'Asia/Kolkata'")).await;
    world.sql(&format!("ALTER DATABASE {database} SET datestyle TO 'SQL, DMY'")).await;
    let mut source = world.connector.source().await.expect("a snapshot");
    let from = relation(&source.catalogue().await.expect("a catalogue"), "a");
    let extract = extract(&from, &["id"]);
    let batches = read(&mut source, &extract).await;
    let schema = arrow_schema(&extract.fields, false);
    let mut row = 0;
    for batch in &batches {
        assert_eq!(*batch.schema(), schema);
        for at in 0..batch.num_rows() {
            row += 1;
            let told = world
                .sql(&format!(
                    "SELECT concat_ws('|', coalesce(u::text, '-'), coalesce(n::text, '-'), \
                     coalesce(n2::text, '-'), coalesce(m::text, '-'), coalesce(jb::text, '-')) \
                     FROM a WHERE id = {row}"
                ))
                .await;
            let text = |name: &str| {
                let column = batch.column_by_name(name).expect("a column").as_string::<i32>();
                if column.is_null(at) { "-" } else { column.value(at) }.to_owned()
            };
            let ours = ["u", "n", "n2", "m", "jb"].map(text).join("|");
            assert_eq!(ours, told);
        }
    }
    assert_eq!(row, 5);
    let days: Vec<Option<i32>> = batches
        .iter()
        .flat_map(|batch| {
            batch.column_by_name("d").expect("days").as_primitive::<Date32Type>().iter()
        })
        .collect();
    assert_eq!(days[0], Some(19_782));
    assert_eq!((days[1], days[2]), (Some(i32::MAX), Some(i32::MIN)));
    let instants: Vec<Option<i64>> = batches
        .iter()
        .flat_map(|batch| {
            let column = batch.column_by_name("tz").expect("instants");
            assert!(matches!(column.data_type(), DataType::Timestamp(_, Some(_))));
            column.as_primitive::<TimestampMicrosecondType>().iter()
        })
        .collect();
    assert_eq!(instants[0], Some(1_710_064_800_500_000));
    assert_eq!(instants[1], Some(i64::MIN));
    assert_eq!(instants[4], Some(946_684_800_000_000));
}
