//! The application, as a backfill meets it: it updates, adds and deletes rows all the while, and
//! counts what it has written in the same statement.

#![expect(clippy::disallowed_methods, reason = "an application has gaps between its writes")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dunlin_testkit::servers::{Database, Product};

use super::world::{ADDED_BALANCE, ADDED_FROM, DELETED_OF, World};

/// Statements in one call of the client.
const BATCH: usize = 40;

/// A writer on a thread of its own.
pub(super) struct Writer {
    stop: Arc<AtomicBool>,
    batches: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(world: &World, database: &Database, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let batches = Arc::new(AtomicU64::new(0));
        let (world, database) = (world.clone(), database.clone());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&batches));
        let thread = std::thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut added = 0;
            while !stopped.load(Ordering::Relaxed) {
                let batch = batch(&world, &mut random, &mut added);
                // A statement that loses a deadlock ends its batch: each is whole by itself.
                if database.sql(&batch).is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                // SQLite has one writer: without gaps the other would never be one.
                std::thread::sleep(Duration::from_millis(random.u64(1..20)));
            }
        });
        Self { stop, batches, thread: Some(thread) }
    }

    /// Ends it; how many batches went through.
    pub(super) fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; the oracle looks at what it left.
            let _ = thread.join();
        }
        self.batches.load(Ordering::Relaxed)
    }
}

fn batch(world: &World, random: &mut fastrand::Rng, added: &mut u64) -> String {
    let mut sql = String::new();
    for _ in 0..BATCH {
        let number = random.u64(0..world.rows);
        let statement = match random.u8(0..10) {
            0 => {
                let (of, rest) = DELETED_OF;
                let number = number / of * of + rest;
                format!("DELETE FROM accounts WHERE n = {number};")
            }
            1 | 2 => {
                *added += 1;
                let number = ADDED_FROM + *added;
                format!(
                    "INSERT INTO accounts (n, {}, balance) SELECT {number}, {}, {ADDED_BALANCE};",
                    world.shape.names(),
                    world.shape.values(&number.to_string()),
                )
            }
            _ => update(world.product, number),
        };
        // Writing to a String does not fail.
        let _ = writeln!(sql, "{statement}");
    }
    sql
}

/// Updates a row and counts it, in one statement or one transaction.
fn update(product: Product, n: u64) -> String {
    match product {
        Product::Postgres | Product::Pgbouncer => format!(
            "WITH u AS (UPDATE accounts SET other = other + 1 WHERE n = {n} RETURNING 1) \
             UPDATE writes SET c = c + 1 WHERE n = {n} AND EXISTS (SELECT 1 FROM u);"
        ),
        Product::Mysql => format!(
            "UPDATE accounts a JOIN writes w ON w.n = a.n SET a.other = a.other + 1, w.c = w.c + 1 \
             WHERE a.n = {n};"
        ),
        Product::Sqlite => format!(
            "BEGIN IMMEDIATE; UPDATE accounts SET other = other + 1 WHERE n = {n}; \
             UPDATE writes SET c = c + 1 WHERE n = {n} AND EXISTS (SELECT 1 FROM accounts WHERE \
             n = {n}); COMMIT;"
        ),
    }
}
