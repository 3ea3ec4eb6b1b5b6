//! What the catalogue tells of triggers, rules and foreign keys that change more than the rows that a
//! backfill changes.

use dunlin_engine::TargetError;
use dunlin_model::{Backfill, Beside, Takes, Verb};
use tokio_postgres::SimpleQueryRow;

use super::walk::regclass;
use crate::rows::{boolean, bug, field, required};
use crate::session::Session;

/// Reads them, of the table and of its partitions.
pub(super) async fn look(
    session: &mut Session,
    work: &Backfill,
) -> Result<Vec<Beside>, TargetError> {
    session.clean().await?;
    let tree = format!(
        "(SELECT {table}::pg_catalog.oid UNION SELECT relid::pg_catalog.oid \
         FROM pg_catalog.pg_partition_tree({table}))",
        table = regclass(work)
    );
    // The regclass is found under the user's search path; names then come out qualified.
    let sql = format!(
        "BEGIN READ ONLY;SELECT pg_catalog.set_config('dunlin.subject', (SELECT \
         pg_catalog.string_agg(oid::text, ',') FROM {tree} AS tree (oid)), true);\
         SET LOCAL search_path TO '';{};{};{};{};COMMIT",
        triggers(),
        keys(),
        rules(),
        heirs()
    );
    let answers = match session.ask(&sql).await {
        Ok(answers) => answers,
        Err(error) => {
            session.rollback().await;
            return Err(error);
        }
    };
    let mut found: Vec<Beside> = Vec::new();
    for row in answers.iter().skip(3).flat_map(|answer| &answer.rows) {
        let one = beside(row)?;
        // A partition has the triggers of its parent, by the same names.
        if !found.contains(&one) {
            found.push(one);
        }
    }
    Ok(found)
}

fn beside(row: &SimpleQueryRow) -> Result<Beside, TargetError> {
    let mut on = Vec::new();
    if boolean(row, 1)? {
        on.push(Verb::Update);
    }
    if boolean(row, 2)? {
        on.push(Verb::Delete);
    }
    if boolean(row, 5)? {
        on.push(Verb::Insert);
    }
    let names = |text: &str| {
        serde_json::from_str(text).map_err(|_| bug("the names of columns can't be read"))
    };
    let columns: Vec<String> = names(field(row, 3)?.unwrap_or("[]"))?;
    let takes = match field(row, 6)? {
        Some(table) => Some(Takes {
            table: table.to_owned(),
            verb: if boolean(row, 7)? { Verb::Delete } else { Verb::Update },
            columns: names(required(row, 8)?)?.into_iter().zip(columns.clone()).collect(),
        }),
        None => None,
    };
    Ok(Beside {
        what: required(row, 0)?.to_owned(),
        on,
        columns,
        body: field(row, 4)?.map(str::to_owned),
        takes,
    })
}

const SUBJECTS: &str = "ANY (pg_catalog.string_to_array(\
     pg_catalog.current_setting('dunlin.subject'), ',')::pg_catalog.oid[])";

/// Triggers that fire for us. Those whose functions are the server's own set columns of the row, or
/// none; `moddatetime` sets the column that it is told. The bits of a trigger's kind: 2 before, 4 of
/// INSERT, 8 of DELETE, 16 of UPDATE.
fn triggers() -> String {
    format!(
        "SELECT 'trigger ' || pg_catalog.quote_ident(t.tgname) || CASE WHEN t.tgtype & 2 <> 0 \
         THEN ' (before ' ELSE ' (after ' END || pg_catalog.concat_ws(' or ', \
         CASE WHEN t.tgtype & 4 <> 0 THEN 'insert' END, \
         CASE WHEN t.tgtype & 16 <> 0 THEN 'update' END, \
         CASE WHEN t.tgtype & 8 <> 0 THEN 'delete' END) || ')', \
         t.tgtype & 16 <> 0, t.tgtype & 8 <> 0, \
         (SELECT pg_catalog.json_agg(a.attname)::text FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr)), \
         CASE WHEN l.lanname = 'plpgsql' THEN p.prosrc \
         WHEN l.lanname = 'c' AND p.proname = 'moddatetime' THEN 'BEGIN NEW.' || \
         pg_catalog.quote_ident(pg_catalog.replace(pg_catalog.encode(t.tgargs, 'escape'), \
         E'\\\\000', '')) || ' := now(); RETURN NEW; END' END, \
         t.tgtype & 4 <> 0, NULL, NULL, NULL \
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid \
         JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
         WHERE t.tgrelid = {SUBJECTS} AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') \
         AND t.tgtype & 28 <> 0 AND l.lanname <> 'internal' ORDER BY 1"
    )
}

/// Foreign keys that change or delete the rows that refer to a row, each as what an UPDATE does and
/// what a DELETE does.
fn keys() -> String {
    format!(
        "SELECT 'foreign key ' || pg_catalog.quote_ident(c.conname) || ' of ' || \
         c.conrelid::pg_catalog.regclass::text || ' (ON ' || d.verb || ' ' || \
         CASE d.does WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' ELSE 'SET DEFAULT' END || ')', \
         d.verb = 'UPDATE', d.verb = 'DELETE', {}, NULL, false, \
         c.conrelid::pg_catalog.regclass::text, d.does = 'c' AND d.verb = 'DELETE', {} \
         FROM pg_catalog.pg_constraint c CROSS JOIN LATERAL (VALUES ('UPDATE', c.confupdtype), \
         ('DELETE', c.confdeltype)) AS d (verb, does) WHERE c.contype = 'f' \
         AND c.confrelid = {SUBJECTS} AND d.does IN ('c', 'n', 'd') ORDER BY 1",
        names_of("c.confrelid", "c.confkey"),
        names_of("c.conrelid", "c.conkey")
    )
}

/// The names of a key's columns, in its order.
fn names_of(table: &str, numbers: &str) -> String {
    format!(
        "(SELECT pg_catalog.json_agg(a.attname ORDER BY k.place)::text \
         FROM pg_catalog.unnest({numbers}) WITH ORDINALITY AS k (attnum, place) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = {table} AND a.attnum = k.attnum)"
    )
}

fn rules() -> String {
    format!(
        "SELECT 'rule ' || pg_catalog.quote_ident(r.rulename), r.ev_type = '2', r.ev_type = '4', \
         NULL, NULL, r.ev_type = '3', NULL, NULL, NULL \
         FROM pg_catalog.pg_rewrite r WHERE r.ev_class = {SUBJECTS} \
         AND r.ev_type IN ('2', '3', '4') AND r.ev_enabled IN ('O', 'A') ORDER BY 1"
    )
}

/// Tables that inherit: their rows are deleted with those of their parent, and would come back in it.
fn heirs() -> String {
    format!(
        "SELECT 'table ' || i.inhrelid::pg_catalog.regclass::text || ' (inherits)', false, true, \
         NULL, NULL, false, NULL, NULL, NULL FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c \
         ON c.oid = i.inhrelid WHERE i.inhparent = {SUBJECTS} AND NOT c.relispartition ORDER BY 1"
    )
}
