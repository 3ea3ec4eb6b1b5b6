//! Rows into a table: as a whole by COPY, and one by one where that is needed.

use std::collections::BTreeSet;
use std::pin::pin;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use dunlin_engine::TargetError;
use dunlin_engine::moves::{Refused, Written};
use futures_util::SinkExt;
use tokio_postgres::CopyInSink;
use tokio_postgres::types::{ToSql, Type};

use super::encode;
use super::layout::{Layout, Reference};
use super::refused::{Outcome, blamed, halved};
use super::text_form::texts;
use crate::error::sent_error;
use crate::quote;
use crate::rows::bug;
use crate::session::Session;

/// COPY data goes out in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

/// Rows as texts, with the names of their columns: what stands behind `s` in our statements.
pub(super) struct Given<'a> {
    layout: &'a Layout,
    names: Vec<&'a str>,
    texts: Vec<Vec<Option<String>>>,
}

impl<'a> Given<'a> {
    /// The columns of a batch.
    pub(super) fn new(
        layout: &'a Layout,
        names: Vec<&'a str>,
        rows: &RecordBatch,
    ) -> Result<Self, TargetError> {
        if names.len() != rows.num_columns() || names.is_empty() {
            return Err(bug(&format!("rows for {} have other columns than are told", layout.name)));
        }
        let texts = rows.columns().iter().map(|column| texts(column.as_ref()));
        Ok(Self { layout, names, texts: texts.collect::<Result<_, _>>()? })
    }

    /// The rows `s (o, columns)` with their places from 1, typed, from parameters.
    pub(super) fn sql(&self) -> Result<String, TargetError> {
        let mut columns = Vec::with_capacity(self.names.len());
        for (place, name) in self.names.iter().enumerate() {
            columns.push(format!(
                "u.c{place}::{} AS {}",
                self.layout.cast(name)?,
                quote::name(name)
            ));
        }
        let places = 0..self.names.len();
        let arrays: Vec<String> =
            places.clone().map(|place| format!("pg_catalog.unnest(${})", place + 1)).collect();
        let names: Vec<String> = places.map(|place| format!("c{place}")).collect();
        // The place comes under a name that no column has.
        Ok(format!(
            "s AS MATERIALIZED (SELECT u.dunlin_place, {} FROM ROWS FROM ({}) WITH ORDINALITY \
             AS u({}, dunlin_place))",
            columns.join(", "),
            arrays.join(", "),
            names.join(", ")
        ))
    }

    /// Asks for places of some of the rows.
    pub(super) async fn ask(
        &self,
        session: &Session,
        sql: &str,
        rows: &[u32],
    ) -> Result<Vec<u32>, TargetError> {
        let arrays: Vec<Vec<Option<&str>>> = self
            .texts
            .iter()
            .map(|column| {
                rows.iter()
                    .map(|row| column.get(*row as usize).and_then(Option::as_deref))
                    .collect()
            })
            .collect();
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            arrays.iter().map(|array| (array as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
        let answer = session.client().query_typed(sql, &parameters).await;
        let answer = answer.map_err(|error| sent_error(&error))?;
        answer
            .iter()
            .map(|row| {
                let place: i64 = row.try_get(0).map_err(|_| bug("a row's place is no number"))?;
                let index = usize::try_from(place - 1).ok();
                index
                    .and_then(|index| rows.get(index).copied())
                    .ok_or_else(|| bug("a row's place is outside of the batch"))
            })
            .collect()
    }
}

/// `a.x = b.x AND …`
pub(super) fn same(a: &str, b: &str, names: &[&str]) -> String {
    pairs(a, names, b, names)
}

/// `a.x = b.y AND …`
pub(super) fn pairs<T: AsRef<str>, U: AsRef<str>>(a: &str, xs: &[T], b: &str, ys: &[U]) -> String {
    let all = xs
        .iter()
        .zip(ys)
        .map(|(x, y)| format!("{a}.{} = {b}.{}", quote::name(x.as_ref()), quote::name(y.as_ref())));
    all.collect::<Vec<_>>().join(" AND ")
}

/// `a.x, a.y`
pub(super) fn list(a: &str, names: &[&str]) -> String {
    let all = names.iter().map(|name| format!("{a}.{}", quote::name(name)));
    all.collect::<Vec<_>>().join(", ")
}

/// Names, quoted.
fn bare(names: &[&str]) -> String {
    names.iter().map(|name| quote::name(name)).collect::<Vec<_>>().join(", ")
}

/// The columns that a table is written in.
pub(super) fn names_of(into: &Written) -> Vec<&str> {
    into.fields.iter().map(|field| field.name.as_str()).collect()
}

/// Those of the key.
pub(super) fn key_of(into: &Written) -> Result<Vec<&str>, TargetError> {
    let names: Option<Vec<&str>> = into
        .key
        .iter()
        .map(|place| into.fields.get(*place).map(|field| field.name.as_str()))
        .collect();
    names
        .filter(|names| !names.is_empty())
        .ok_or_else(|| bug(&format!("{} is written without a key among its columns", into.table)))
}

/// What is done with single rows.
pub(super) struct Deed<'a> {
    pub(super) given: Given<'a>,
    /// The statement, which returns the places of rows that are there already, or are not there.
    pub(super) sql: String,
    /// Foreign keys that the server does not look after, as questions for the places of orphans.
    pub(super) unwatched: Vec<(String, String)>,
    /// Questions for the places of rows that refer to what is neither there nor among the rows.
    pub(super) lost: Vec<String>,
}

impl Deed<'_> {
    /// Does it with these rows, all or none.
    pub(super) async fn attempt(
        &self,
        session: &Session,
        rows: &[u32],
    ) -> Result<Outcome, TargetError> {
        let mut outcome = Outcome {
            absent_or_there: self.given.ask(session, &self.sql, rows).await?,
            orphans: Vec::new(),
        };
        let mut found = BTreeSet::new();
        for (name, sql) in &self.unwatched {
            for row in self.given.ask(session, sql, rows).await? {
                if found.insert(row) {
                    outcome.orphans.push((row, orphan(name)));
                }
            }
        }
        Ok(outcome)
    }

    /// Those of some rows that can't go in, even together: what they refer to is nowhere.
    pub(super) async fn orphans(
        &self,
        session: &Session,
        mut rows: Vec<u32>,
    ) -> Result<BTreeSet<u32>, TargetError> {
        let mut all = BTreeSet::new();
        // A row that is left out may be what another one refers to.
        loop {
            let before = all.len();
            for sql in &self.lost {
                if !rows.is_empty() {
                    all.extend(self.given.ask(session, sql, &rows).await?);
                    rows.retain(|row| !all.contains(row));
                }
            }
            if all.len() == before {
                return Ok(all);
            }
        }
    }
}

/// See [`Deed::lost`].
fn lost(given: &Given<'_>) -> Result<Vec<String>, TargetError> {
    let rows = given.sql()?;
    let is_given = |names: &[String]| names.iter().all(|n| given.names.contains(&n.as_str()));
    let readable = given.layout.refers.iter().filter(|known| known.readable);
    let questions = readable.filter(|known| is_given(&known.columns)).map(|known| {
        let whole = known.columns.iter().map(|name| format!("s.{} IS NOT NULL", quote::name(name)));
        let among = if known.itself && is_given(&known.to_columns) {
            let among = pairs("d", &known.to_columns, "s", &known.columns);
            format!(" AND NOT EXISTS (SELECT FROM s AS d WHERE {among})")
        } else {
            String::new()
        };
        format!(
            "WITH {rows} SELECT s.dunlin_place FROM s WHERE {whole} AND NOT EXISTS (SELECT FROM \
             {other} AS p WHERE {there}){among}",
            whole = whole.collect::<Vec<_>>().join(" AND "),
            other = known.other,
            there = pairs("p", &known.to_columns, "s", &known.columns),
        )
    });
    Ok(questions.collect())
}

fn orphan(constraint: &str) -> String {
    format!("refers to a row that is not there: foreign key \"{constraint}\"")
}

/// Questions for the rows that refer to nothing, where triggers are off: the server's own foreign
/// keys are triggers too. The rows referred to are locked as those triggers do.
fn unwatched(given: &Given<'_>, into: &Written) -> Result<Vec<(String, String)>, TargetError> {
    if into.triggers {
        return Ok(Vec::new());
    }
    let written = |reference: &&Reference| {
        reference.columns.iter().all(|name| given.names.contains(&name.as_str()))
    };
    let rows = given.sql()?;
    let questions = given.layout.refers.iter().filter(written).map(|reference| {
        let given_keys: Vec<&str> = reference.columns.iter().map(String::as_str).collect();
        let keys: Vec<&str> = reference.to_columns.iter().map(String::as_str).collect();
        let whole: Vec<String> =
            given_keys.iter().map(|name| format!("s.{} IS NOT NULL", quote::name(name))).collect();
        let sql = format!(
            "WITH {rows}, held AS (SELECT {columns} FROM {other} AS p WHERE EXISTS (SELECT FROM s \
             WHERE {of}) FOR KEY SHARE OF p) SELECT s.dunlin_place FROM s WHERE {whole} \
             AND NOT EXISTS (SELECT FROM held WHERE {held})",
            columns = list("p", &keys),
            other = reference.other,
            of = pairs("p", &keys, "s", &given_keys),
            whole = whole.join(" AND "),
            held = pairs("held", &keys, "s", &given_keys),
        );
        (reference.name.clone(), sql)
    });
    Ok(questions.collect())
}

/// Inserts by COPY.
pub(super) async fn load(
    session: &Session,
    layout: &Layout,
    into: &Written,
    rows: &RecordBatch,
) -> Result<(), TargetError> {
    if rows.num_rows() == 0 {
        return Ok(());
    }
    let names = names_of(into);
    if names.len() != rows.num_columns() {
        return Err(bug(&format!("rows for {} have other columns than are told", layout.name)));
    }
    let wires = layout.wires(&into.fields)?;
    let (data, format) = match wires.and_then(|wires| encode::binary(rows, &wires)) {
        Some(data) => (data, "binary"),
        None => (encode::text(rows)?, "text"),
    };
    let sql = format!("COPY {} ({}) FROM STDIN (FORMAT {format})", layout.sql, bare(&names));
    copy_in(session, &sql, Bytes::from(data)).await.map_err(blamed)?;
    if !into.triggers && !layout.refers.is_empty() {
        let given = Given::new(layout, names, rows)?;
        let all: Vec<u32> = (0..).take(rows.num_rows()).collect();
        for (name, sql) in unwatched(&given, into)? {
            if !given.ask(session, &sql, &all).await.map_err(blamed)?.is_empty() {
                let mut error = TargetError::new(
                    dunlin_engine::ErrorKind::Statement,
                    format!("{}: a row {}", layout.name, orphan(&name)),
                );
                error.by_row = true;
                return Err(error);
            }
        }
    }
    Ok(())
}

async fn copy_in(session: &Session, sql: &str, data: Bytes) -> Result<(), TargetError> {
    let sink: CopyInSink<Bytes> =
        session.client().copy_in(sql).await.map_err(|error| sent_error(&error))?;
    let mut sink = pin!(sink);
    let mut at = 0;
    while at < data.len() {
        let end = data.len().min(at + PIECE_BYTES);
        // A closed sink means that the server refused a row: `finish` says why.
        if sink.send(data.slice(at..end)).await.is_err() {
            break;
        }
        at = end;
    }
    sink.finish().await.map(|_| ()).map_err(|error| sent_error(&error))
}

/// Inserts rows whose keys are not there.
pub(super) async fn insert(
    session: &Session,
    layout: &Layout,
    into: &Written,
    rows: &RecordBatch,
) -> Result<Refused, TargetError> {
    let (names, key) = (names_of(into), key_of(into)?);
    let given = Given::new(layout, names.clone(), rows)?;
    let overriding = if names.iter().any(|name| layout.is_always(name)) {
        " OVERRIDING SYSTEM VALUE"
    } else {
        ""
    };
    // The second of two rows with one key finds the first one there.
    let numbered = format!(
        "SELECT s.*, pg_catalog.row_number() OVER (PARTITION BY {} ORDER BY s.dunlin_place) \
         AS dunlin_number FROM s",
        list("s", &key)
    );
    let (absent, conflict) = if layout.is_unique(&key) {
        (String::new(), format!(" ON CONFLICT ({}) DO NOTHING", bare(&key)))
    } else {
        let is_there = same("t", "n", &key);
        let absent = format!(" AND NOT EXISTS (SELECT FROM {} AS t WHERE {is_there})", layout.sql);
        (absent, String::new())
    };
    let sql = format!(
        "WITH {given}, i AS (INSERT INTO {table} ({columns}){overriding} SELECT {values} \
         FROM ({numbered}) AS n WHERE n.dunlin_number = 1{absent} ORDER BY n.dunlin_place{conflict} \
         RETURNING {keys}) SELECT n.dunlin_place FROM ({numbered}) AS n \
         WHERE n.dunlin_number > 1 OR NOT EXISTS (SELECT FROM i WHERE {inserted})",
        given = given.sql()?,
        table = layout.sql,
        columns = bare(&names),
        values = list("n", &names),
        keys = bare(&key),
        inserted = same("i", "n", &key),
    );
    each(session, into, given, sql, rows).await
}

/// Updates rows by their key.
pub(super) async fn update(
    session: &Session,
    layout: &Layout,
    into: &Written,
    rows: &RecordBatch,
) -> Result<Refused, TargetError> {
    let (names, key) = (names_of(into), key_of(into)?);
    let given = Given::new(layout, names.clone(), rows)?;
    let set: Vec<String> = names
        .iter()
        .filter(|name| !key.contains(name) && !layout.is_always(name))
        .map(|name| format!("{0} = s.{0}", quote::name(name)))
        .collect();
    let found = same("t", "s", &key);
    let done = if set.is_empty() {
        format!("SELECT s.dunlin_place FROM {} AS t JOIN s ON {found}", layout.sql)
    } else {
        format!(
            "UPDATE {} AS t SET {} FROM s WHERE {found} RETURNING s.dunlin_place",
            layout.sql,
            set.join(", ")
        )
    };
    let sql = format!(
        "WITH {}, w AS ({done}) SELECT s.dunlin_place FROM s WHERE NOT EXISTS \
         (SELECT FROM w WHERE w.dunlin_place = s.dunlin_place)",
        given.sql()?,
    );
    each(session, into, given, sql, rows).await
}

async fn each(
    session: &Session,
    into: &Written,
    given: Given<'_>,
    sql: String,
    rows: &RecordBatch,
) -> Result<Refused, TargetError> {
    let unwatched = unwatched(&given, into)?;
    let lost = lost(&given)?;
    let deed = Deed { given, sql, unwatched, lost };
    halved(session, &deed, (0..).take(rows.num_rows()).collect()).await
}
