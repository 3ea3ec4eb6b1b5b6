//! Moves through their ports.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod read;
mod refused;
mod write;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dunlin_engine::moves::{
    Batches, Extract, MoveConnector as _, MoveTarget, ReadRows, Source, Written, arrow_schema,
};
use dunlin_engine::{Claim, Target, TargetError};
use dunlin_model::moves::{Field, Relation, TableName};
use dunlin_model::{Lease, Resource};
use tokio::sync::mpsc;

use crate::support::{World, owner};

const WAIT: Duration = Duration::from_secs(20);

/// A database with a ledger, and a connection that may write under a lease.
struct Moving {
    world: World,
    run: Box<dyn Target>,
    target: Box<dyn MoveTarget>,
    lease: Lease,
}

impl Moving {
    async fn new(test: &str, sql: &[&str]) -> Self {
        let world = World::new(test).await;
        let mut eyes = world.eyes().await;
        for statement in sql {
            eyes.run(statement).await;
        }
        let mut run = world.with_ledger().await;
        let lease = claimed(&mut run, 1).await;
        let mut target = world.connector().move_target().await.unwrap();
        target.create_store().await.unwrap();
        Self { world, run, target, lease }
    }

    async fn begin(&mut self) {
        self.target.begin(&self.lease, WAIT).await.unwrap();
    }

    async fn commit(&mut self) {
        self.target.commit(&mut self.lease).await.unwrap();
    }

    async fn one(&self, sql: &str) -> String {
        self.world.eyes().await.one(sql).await
    }

    async fn written(&mut self, table: &str) -> Written {
        let catalogue = self.target.catalogue().await.unwrap();
        let relation = catalogue.relation(&TableName::of(table)).unwrap().clone();
        let place = |name: &String| relation.fields.iter().position(|f| f.name == *name).unwrap();
        Written {
            key: relation.key.iter().map(place).collect(),
            table: relation.name.clone(),
            fields: relation.fields,
            triggers: true,
        }
    }
}

/// Claims the lease, from the other one that may have it.
async fn claimed(run: &mut Box<dyn Target>, number: u32) -> Lease {
    let resource = Resource::Move("design_queue".to_owned());
    let displaced = owner(3 - number).id;
    match run.claim(&resource, &owner(number), WAIT, Some(&displaced)).await.unwrap() {
        Claim::Granted(lease) => lease,
        Claim::Held(holder) => panic!("the lease is held: {holder:?}"),
    }
}

async fn relation(source: &mut Box<dyn Source>, name: &str) -> Relation {
    source.catalogue().await.unwrap().relation(&TableName::of(name)).unwrap().clone()
}

fn extract(relation: &Relation, order: &[&str]) -> Extract {
    Extract {
        table: relation.name.clone(),
        query: relation.query.clone(),
        fields: relation.fields.clone(),
        order: order.iter().map(|name| (*name).to_owned()).collect(),
        only: Vec::new(),
        batch_bytes: 1 << 20,
    }
}

/// All batches that a reader puts.
async fn collected<F>(
    fields: &[Field],
    target: bool,
    read: impl FnOnce(Batches) -> F,
) -> Result<RecordBatch, TargetError>
where
    F: Future<Output = Result<(), TargetError>>,
{
    let (batches, mut queue) = mpsc::channel::<Result<ReadRows, TargetError>>(1);
    let gather = async {
        let mut found = Vec::new();
        while let Some(batch) = queue.recv().await {
            found.push(batch.unwrap());
        }
        found
    };
    let (answer, found) = tokio::join!(read(batches), gather);
    answer?;
    let found = found.into_iter().map(|batch: ReadRows| batch.whole("t"));
    let found = found.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&arrow_schema(fields, target).into(), &found).unwrap())
}

async fn read_all(
    source: &mut Box<dyn Source>,
    extract: &Extract,
) -> Result<RecordBatch, TargetError> {
    collected(&extract.fields, false, |batches| async move { source.read(extract, &batches).await })
        .await
}

/// Rows as people read them: `1|a|NULL`.
fn shown(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| {
            // The formatter knows no names of zones.
            let instants = column.as_any().downcast_ref::<TimestampMicrosecondArray>();
            instants.filter(|instants| instants.timezone().is_some()).map_or_else(
                || Arc::clone(column),
                |instants| Arc::new(instants.clone().with_timezone("+00:00")),
            )
        })
        .collect();
    let columns: Vec<_> = columns
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    let row = |at: usize| {
        columns.iter().map(|column| column.value(at).to_string()).collect::<Vec<_>>().join("|")
    };
    (0..batch.num_rows()).map(row).collect()
}

fn batch(written: &Written, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(Arc::new(arrow_schema(&written.fields, true)), columns).unwrap()
}

fn keys(written: &Written, ids: &[i32]) -> RecordBatch {
    let key = [written.fields[written.key[0]].clone()];
    let ids = Arc::new(Int32Array::from(ids.to_vec()));
    RecordBatch::try_new(Arc::new(arrow_schema(&key, true)), vec![ids]).unwrap()
}

type Person<'a> = (Option<i32>, Option<&'a str>, Option<i32>);

/// Rows of a table of a number, a text and a number.
fn people(written: &Written, rows: &[Person<'_>]) -> RecordBatch {
    batch(
        written,
        vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int32Array>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<Int32Array>()),
        ],
    )
}
