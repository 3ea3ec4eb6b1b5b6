//! Moves through their ports.

mod catalogue;
mod read;
mod write;

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dunlin_engine::moves::{
    Batches, Extract, MoveConnector, MoveTarget, ReadRows, Source, arrow_schema,
};
use dunlin_engine::{Claim, Connector, Purpose, Target, TargetError};
use dunlin_model::moves::{Field, Relation, TableName};
use dunlin_model::{Lease, Resource};
use dunlin_testkit::conformance::owner;
use tokio::sync::mpsc;

use super::{LEDGER, LONG, Scratch};

impl Scratch {
    async fn source(&self) -> Box<dyn Source> {
        self.connector().source().await.unwrap()
    }
}

/// A database with a ledger, and a connection that may write under a lease.
struct Moving {
    scratch: Scratch,
    /// Kept: it is what a run claims and keeps its lease by.
    run: Box<dyn Target>,
    target: Box<dyn MoveTarget>,
    lease: Lease,
}

impl Moving {
    async fn new(sql: &str) -> Self {
        let scratch = Scratch::new();
        scratch.sql(sql);
        let connector = scratch.connector();
        let mut run = connector.connect(Purpose::Run).await.unwrap();
        run.create_ledger(LEDGER).await.unwrap();
        let lease = claimed(&mut run, 1).await;
        let mut target = connector.move_target().await.unwrap();
        target.create_store().await.unwrap();
        Self { scratch, run, target, lease }
    }

    async fn begin(&mut self) {
        self.target.begin(&self.lease, LONG).await.unwrap();
    }

    async fn commit(&mut self) {
        self.target.commit(&mut self.lease).await.unwrap();
    }

    async fn relation(&mut self, name: &str) -> Relation {
        let catalogue = self.target.catalogue().await.unwrap();
        catalogue.relation(&TableName::of(name)).unwrap().clone()
    }
}

/// Claims the lease, from the other one that may have it.
async fn claimed(run: &mut Box<dyn Target>, number: u32) -> Lease {
    let resource = Resource::Move("design_queue".to_owned());
    let displaced = owner(3 - number).id;
    match run.claim(&resource, &owner(number), LONG, Some(&displaced)).await.unwrap() {
        Claim::Granted(lease) => lease,
        Claim::Held(holder) => panic!("the lease is held: {holder:?}"),
    }
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
    let schema = arrow_schema(fields, target).into();
    Ok(concat_batches(&schema, &found).unwrap())
}

async fn read_all(
    source: &mut Box<dyn Source>,
    extract: &Extract,
) -> Result<RecordBatch, TargetError> {
    collected(&extract.fields, false, |batches| async move { source.read(extract, &batches).await })
        .await
}

async fn read_target(
    target: &mut Box<dyn MoveTarget>,
    extract: &Extract,
) -> Result<RecordBatch, TargetError> {
    collected(&extract.fields, true, |batches| async move { target.read(extract, &batches).await })
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
