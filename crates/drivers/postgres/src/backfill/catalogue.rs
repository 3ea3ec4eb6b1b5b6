//! What the catalogue tells of a table.

use dunlin_engine::{ErrorKind, TargetError};
use dunlin_model::{Column, Index, IndexColumn, Table, TableKind, ValueForm};
use tokio_postgres::SimpleQueryRow;

use crate::fence::Limits;
use crate::quote;
use crate::rows::{boolean, field, optional_number, required};
use crate::session::{APPLICATION_NAME, Session};

/// An expression: the shape of the table with that regclass. Columns, types and unique indexes,
/// since one of those is the key; other indexes may come and go while a backfill runs. It is asked
/// in every chunk, so it looks at no more than two catalogues.
pub(super) fn shape(table: &str) -> String {
    format!(
        "pg_catalog.md5(COALESCE((SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', attnum, \
         attname, atttypid, atttypmod, attnotnull, attgenerated, attidentity, attcollation), ',' \
         ORDER BY attnum) FROM pg_catalog.pg_attribute WHERE attrelid = {table} AND attnum > 0 \
         AND NOT attisdropped), '') || COALESCE((SELECT pg_catalog.string_agg(\
         pg_catalog.concat_ws(' ', x.relname, i.indkey, i.indoption, i.indclass, i.indcollation, \
         i.indisvalid), ',' ORDER BY x.relname) FROM pg_catalog.pg_index i JOIN \
         pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = {table} \
         AND i.indisunique AND i.indpred IS NULL), ''))"
    )
}

/// The table that is looked at, kept for the transaction: names of types come out qualified only
/// under an empty search path, and the table is found only under the user's.
const SUBJECT: &str = "pg_catalog.current_setting('dunlin.subject')::pg_catalog.oid";

/// How many rows the planner takes the relation `l` to have: as many on each page as when they were
/// counted last. NULL: never counted.
pub(super) const PLANNED_ROWS: &str = "CASE WHEN l.relpages > 0 AND l.reltuples >= 0 \
     THEN l.reltuples / l.relpages * (pg_catalog.pg_relation_size(l.oid) / \
     pg_catalog.current_setting('block_size')::float8) END";

/// About how many rows the relation `l` has. Its pages also hold what updates left behind; so no
/// more than were counted last, or than the server's activity adds up to, where a table has grown
/// since.
pub(super) fn live_rows() -> String {
    format!(
        "LEAST({PLANNED_ROWS}, NULLIF(GREATEST(l.reltuples, \
         pg_catalog.pg_stat_get_live_tuples(l.oid)), 0))"
    )
}

/// The table at the top of the tree of partitions, or of tables that inherit, that `c` is in.
const FAMILY: &str = "(WITH RECURSIVE up AS (SELECT c.oid AS o UNION SELECT i.inhparent FROM up \
     JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.o) SELECT pg_catalog.min(o::bigint)::text \
     FROM up WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = up.o))";

/// What the generated column `a` is made from.
const COMPUTED: &str = "(SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) \
     FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum \
     AND a.attgenerated <> '')";

/// The least number that the column `a` can get next from its sequence, if that ascends: an identity,
/// or a default that is the sequence's next number and nothing else.
const NEXT_NUMBER: &str = "(SELECT COALESCE(pg_catalog.pg_sequence_last_value(s.seqrelid) + \
     s.seqincrement, s.seqstart) FROM pg_catalog.pg_sequence s WHERE s.seqincrement > 0 \
     AND NOT s.seqcycle AND CASE WHEN s.seqrelid = COALESCE((SELECT e.objid \
     FROM pg_catalog.pg_depend e WHERE a.attidentity <> '' \
     AND e.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.refobjid = a.attrelid \
     AND e.refobjsubid = a.attnum AND e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
     AND e.deptype = 'i'), (SELECT e.refobjid FROM pg_catalog.pg_attrdef d \
     JOIN pg_catalog.pg_depend e ON e.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass \
     AND e.objid = d.oid AND e.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
     JOIN pg_catalog.pg_class q ON q.oid = e.refobjid AND q.relkind = 'S' \
     WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND pg_catalog.pg_get_expr(d.adbin, \
     d.adrelid) ~ '^nextval[(]''[^'']+''::regclass[)]$')) \
     THEN pg_catalog.has_sequence_privilege(s.seqrelid, 'USAGE, SELECT') END)";

fn facts_sql() -> String {
    format!(
        "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), \
         c.relkind, pg_catalog.row_security_active(c.oid), {shape}, \
         s.live::bigint, CASE WHEN s.tuples > 0 THEN (s.bytes / s.tuples)::bigint END, {FAMILY} \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         CROSS JOIN LATERAL (SELECT pg_catalog.sum({PLANNED_ROWS}) AS tuples, \
         pg_catalog.sum({live}) AS live, \
         pg_catalog.sum(pg_catalog.pg_relation_size(l.oid)) AS bytes FROM pg_catalog.pg_class l \
         WHERE l.relkind = 'r' AND (l.oid = c.oid OR c.relkind = 'p' AND l.oid IN (SELECT relid \
         FROM pg_catalog.pg_partition_tree(c.oid)))) AS s \
         WHERE c.oid = {SUBJECT}",
        shape = shape("c.oid"),
        live = live_rows(),
    )
}

/// A collation is part of a key column's type: with another one the bounds of a walk that is half done
/// would mean another order.
fn columns_sql() -> String {
    format!(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, -1) || COALESCE((SELECT ' COLLATE ' || \
         pg_catalog.quote_ident(l.collname) FROM pg_catalog.pg_collation l WHERE \
         l.oid = a.attcollation AND l.collname <> 'default'), ''), b.typname, \
         NOT a.attnotnull, a.attgenerated <> '' OR a.attidentity = 'a', {COMPUTED}, {NEXT_NUMBER}, \
         a.attidentity = 'a' \
         FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL (WITH RECURSIVE base AS (\
         SELECT t.oid, t.typname, t.typtype, t.typbasetype, t.typnamespace \
         FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid UNION ALL \
         SELECT t.oid, t.typname, t.typtype, t.typbasetype, t.typnamespace FROM base \
         JOIN pg_catalog.pg_type t ON t.oid = base.typbasetype WHERE base.typtype = 'd') \
         SELECT CASE WHEN typnamespace = 'pg_catalog'::pg_catalog.regnamespace THEN typname END \
         AS typname FROM base WHERE typtype <> 'd') AS b \
         WHERE a.attrelid = {SUBJECT} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
}

fn indexes_sql() -> String {
    format!(
        "SELECT x.relname, i.indisunique, i.indisprimary, \
         CASE WHEN NOT i.indisvalid OR NOT i.indisready THEN 'it is INVALID' \
         WHEN i.indpred IS NOT NULL THEN 'it is partial' \
         WHEN m.amname <> 'btree' THEN 'it has no order (' || m.amname || ')' \
         WHEN NOT i.indimmediate THEN 'its unique check is deferrable' END, \
         k, a.attname, (i.indoption[k] & 1) = 1 \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid \
         JOIN pg_catalog.pg_am m ON m.oid = x.relam \
         CROSS JOIN LATERAL pg_catalog.generate_series(0, i.indnkeyatts - 1) AS k \
         LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k] \
         AND i.indkey[k] <> 0 \
         WHERE i.indrelid = {SUBJECT} \
         ORDER BY i.indisprimary DESC, i.indisunique DESC, x.relname, k"
    )
}

/// What is known of a table.
pub(super) async fn table(session: &mut Session, name: &str) -> Result<Option<Table>, TargetError> {
    session.clean().await?;
    let sql = format!(
        "BEGIN READ ONLY;{limits};SELECT pg_catalog.set_config('dunlin.subject', \
         COALESCE(pg_catalog.to_regclass({name})::pg_catalog.oid::text, '0'), true);\
         SET LOCAL search_path TO '';{facts};{columns};{indexes};COMMIT",
        limits = Limits::LEDGER.sql(session, APPLICATION_NAME, true),
        name = quote::text(name),
        facts = facts_sql(),
        columns = columns_sql(),
        indexes = indexes_sql(),
    );
    let answers = match session.ask(&sql).await {
        Ok(answers) => answers,
        Err(error) => {
            session.rollback().await;
            return Err(match error.code.as_deref() {
                // A name that is none, such as `a.b.c.d` or an open quotation mark.
                Some("42602" | "42601" | "0A000") => {
                    TargetError { kind: ErrorKind::Refused, ..error }
                }
                _ => error,
            });
        }
    };
    let first = 1 + crate::fence::LOCAL_SETTINGS + 2;
    let rows = |index: usize| answers.get(index).map(|a| a.rows.as_slice()).unwrap_or_default();
    let Some(facts) = rows(first).first() else {
        return Ok(None);
    };
    let kind = match required(facts, 1)? {
        "r" => TableKind::Table,
        "p" => TableKind::Partitioned,
        "v" | "m" => TableKind::View,
        _ => TableKind::Other,
    };
    Ok(Some(Table {
        name: required(facts, 0)?.to_owned(),
        kind,
        columns: rows(first + 1).iter().map(column).collect::<Result<_, _>>()?,
        indexes: indexes(rows(first + 2))?,
        row_count_estimate: optional_number(facts, 4)?,
        row_bytes_estimate: optional_number(facts, 5)?,
        transactional: true,
        hides_rows: boolean(facts, 2)?,
        computed: computed(rows(first + 1))?,
        family: field(facts, 6)?.map(str::to_owned),
        next_number: next_number(rows(first + 1))?,
        shape: required(facts, 3)?.to_owned(),
    }))
}

fn computed(rows: &[SimpleQueryRow]) -> Result<Vec<(String, String)>, TargetError> {
    let mut found = Vec::new();
    for row in rows {
        if let Some(expression) = field(row, 5)? {
            found.push((required(row, 0)?.to_owned(), expression.to_owned()));
        }
    }
    Ok(found)
}

fn next_number(rows: &[SimpleQueryRow]) -> Result<Option<(String, i64)>, TargetError> {
    for row in rows {
        if let Some(next) = optional_number(row, 6)? {
            return Ok(Some((required(row, 0)?.to_owned(), next)));
        }
    }
    Ok(None)
}

fn column(row: &SimpleQueryRow) -> Result<Column, TargetError> {
    Ok(Column {
        name: required(row, 0)?.to_owned(),
        type_name: required(row, 1)?.to_owned(),
        form: match field(row, 2)?.unwrap_or_default() {
            "int2" | "int4" => ValueForm::Integer,
            "float4" | "float8" => ValueForm::Float,
            "bool" => ValueForm::Boolean,
            "bytea" => ValueForm::Bytes,
            _ => ValueForm::Text,
        },
        nullable: boolean(row, 3)?,
        generated: boolean(row, 4)?,
        identity: boolean(row, 7)?,
    })
}

fn indexes(rows: &[SimpleQueryRow]) -> Result<Vec<Index>, TargetError> {
    let mut all: Vec<Index> = Vec::new();
    for row in rows {
        let column = IndexColumn {
            name: field(row, 5)?.map(str::to_owned),
            descending: boolean(row, 6)?,
            prefix: false,
        };
        let name = required(row, 0)?;
        match all.last_mut().filter(|last| last.name == name) {
            Some(last) => last.columns.push(column),
            None => all.push(Index {
                name: name.to_owned(),
                columns: vec![column],
                unique: boolean(row, 1)?,
                primary: boolean(row, 2)?,
                unusable: field(row, 3)?.map(str::to_owned),
            }),
        }
    }
    Ok(all)
}
