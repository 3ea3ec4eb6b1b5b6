//! Moves: what only a real PostgreSQL can tell.

mod catalogue;
mod fence;
mod refused;
mod source;
mod types;

use arrow::record_batch::RecordBatch;
use dunlin_engine::moves::{
    Batches, Extract, MoveConnector, MoveTarget, ReadRows, Source, Written,
};
use dunlin_engine::{Claim, Target, TargetError};
use dunlin_model::moves::{Catalogue, Relation, TableName};
use dunlin_model::{Lease, Resource};
use dunlin_testkit::conformance::owner;
use tokio::sync::mpsc;

use crate::world::{LONG, World};

/// Small, so that a table of a few rows comes in several batches.
const BATCH_BYTES: usize = 200;

fn resource() -> Resource {
    Resource::Move("queue".to_owned())
}

async fn claimed(target: &mut Box<dyn Target>, number: u32) -> Lease {
    let before = format!("00000000-0000-4000-8000-{:012}", number - 1);
    match target.claim(&resource(), &owner(number), LONG, Some(&before)).await {
        Ok(Claim::Granted(lease)) => lease,
        other => panic!("not granted: {other:?}"),
    }
}

/// A target with its store, a lease, and an open transaction.
async fn begun(world: &World) -> (Box<dyn MoveTarget>, Lease) {
    let mut ledger = world.with_ledger().await;
    let lease = claimed(&mut ledger, 1).await;
    let mut target = world.connector.move_target().await.expect("a connection");
    target.create_store().await.expect("a store");
    target.begin(&lease, LONG).await.expect("a transaction");
    (target, lease)
}

fn relation(catalogue: &Catalogue, name: &str) -> Relation {
    let found = catalogue.relation(&TableName::parse(name));
    found.unwrap_or_else(|| panic!("no {name} in the catalogue")).clone()
}

fn extract(relation: &Relation, order: &[&str]) -> Extract {
    Extract {
        table: relation.name.clone(),
        query: relation.query.clone(),
        fields: relation.fields.iter().filter(|field| !field.generated).cloned().collect(),
        order: order.iter().map(|name| (*name).to_owned()).collect(),
        only: Vec::new(),
        batch_bytes: BATCH_BYTES,
    }
}

/// All columns but computed ones, with the relation's own key.
fn written(relation: &Relation) -> Written {
    let fields: Vec<_> = relation.fields.iter().filter(|f| !f.generated).cloned().collect();
    let place = |name: &String| fields.iter().position(|field| field.name == *name);
    let key = relation.key.iter().map(|name| place(name).expect("a key")).collect();
    Written { table: relation.name.clone(), fields, key, triggers: true }
}

/// The columns of a batch that are the key.
fn keys(of: &Written, rows: &RecordBatch) -> RecordBatch {
    rows.project(&of.key).expect("columns")
}

/// Everything that a reader puts into its queue.
async fn all(
    reading: impl AsyncFnOnce(&Batches) -> Result<(), TargetError>,
) -> Result<Vec<RecordBatch>, TargetError> {
    let (sender, mut receiver) = mpsc::channel(1);
    let gather = tokio::spawn(async move {
        let mut batches = Vec::new();
        while let Some(batch) = receiver.recv().await {
            batches.push(batch);
        }
        batches
    });
    reading(&sender).await?;
    drop(sender);
    let batches: Result<Vec<ReadRows>, TargetError> =
        gather.await.expect("a queue").into_iter().collect();
    batches?.into_iter().map(|batch| batch.whole("t")).collect()
}

async fn read(source: &mut Box<dyn Source>, extract: &Extract) -> Vec<RecordBatch> {
    all(async |batches| source.read(extract, batches).await).await.expect("rows")
}

/// A table's rows in the form that rows for a target have.
async fn target_rows(target: &mut Box<dyn MoveTarget>, relation: &Relation) -> Vec<RecordBatch> {
    let extract = extract(relation, &[]);
    all(async |batches| target.read(&extract, batches).await).await.expect("rows")
}
