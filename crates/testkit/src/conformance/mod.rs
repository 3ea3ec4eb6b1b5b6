//! What every driver must do: the meaning of the calls in `dunlin_engine::Target`.
//!
//! A driver's tests call [`run`] with the product and a function that makes a connector. Each
//! case gets a database of its own; what it expects is looked at through the product's own
//! command-line client. The suite knows the ports, and of a ledger only its documented tables.
//! What is left out: what only one database can do (each driver tests that itself), and the run
//! loops above the ports.

#![expect(clippy::unwrap_used, reason = "a case fails by panicking")]

mod backfill;
mod commit;
mod database;
mod lease;
mod ledger;
mod look;
mod network;
mod step;
mod work;
mod world;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dunlin_engine::Connector;
use futures_util::{FutureExt as _, StreamExt as _};

pub use work::{data_version, data_work, owner, statement};
pub use world::World;

use crate::servers::{Database, Product, environment};

/// How a driver makes a connector to a database of the suite's.
pub type Maker = dyn Fn(&Database) -> Arc<dyn Connector> + Send + Sync;

/// One thing that a driver must do.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name: a sentence without spaces.
    pub name: &'static str,
    /// What it needs to make sense.
    pub needs: Needs,
    body: fn(World) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What a case needs to make sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A server, directly or through a pooler.
    Server,
    /// No pooler in between: its pool hides what the server says.
    NoPooler,
    /// A server without a pooler.
    DirectServer,
}

impl Needs {
    fn are_met_by(self, product: Product) -> bool {
        match self {
            Self::Nothing => true,
            Self::Server => product != Product::Sqlite,
            Self::NoPooler => product != Product::Pgbouncer,
            Self::DirectServer => matches!(product, Product::Postgres | Product::Mysql),
        }
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! case {
    ($($module:ident)::+) => {
        case!($($module)::+, Nothing)
    };
    ($($module:ident)::+, $needs:ident) => {
        Case {
            name: name_of(stringify!($($module)::+)),
            needs: Needs::$needs,
            body: |world| Box::pin($($module)::+(world)),
        }
    };
}

/// The last part of a path.
const fn name_of(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut from = bytes.len();
    while from > 0 && bytes[from - 1] != b':' && bytes[from - 1] != b' ' {
        from -= 1;
    }
    path.split_at(from).1
}

/// Every case, in the order in which a new driver had best meet them.
pub const CASES: &[Case] = &[
    case!(look::looking_at_an_empty_database_writes_nothing),
    case!(look::looking_at_a_ledger_writes_nothing),
    case!(look::a_probe_finds_the_tables_asked_for),
    case!(look::a_foreign_table_is_read_as_text),
    case!(look::secrets_stay_out_of_descriptions),
    case!(database::a_database_is_created_and_dropped_once, NoPooler),
    case!(database::a_missing_database_is_named_so, NoPooler),
    case!(database::a_closed_port_is_unreachable, DirectServer),
    case!(database::a_wrong_password_is_named_so_and_not_shown, DirectServer),
    case!(ledger::sixteen_create_one_ledger),
    case!(ledger::every_state_is_read_back),
    case!(ledger::content_stays_where_none_is_written),
    case!(ledger::times_follow_the_state),
    case!(ledger::hostile_texts_are_read_back),
    case!(ledger::large_texts_are_read_back),
    case!(ledger::ten_thousand_entries_are_read),
    case!(ledger::runs_are_noted),
    case!(ledger::history_has_one_row_a_write),
    case!(ledger::a_newer_writer_is_refused),
    case!(ledger::a_newer_reader_is_refused),
    case!(ledger::the_view_of_data_migrations_says_done),
    case!(lease::a_free_lease_is_granted_and_a_held_one_is_not),
    case!(lease::sixteen_claims_have_one_winner),
    case!(lease::resources_are_apart),
    case!(lease::an_owner_claims_again),
    case!(lease::an_expired_lease_changes_hands_and_the_token_grows),
    case!(lease::a_dead_owner_is_displaced),
    case!(lease::a_kept_lease_does_not_expire),
    case!(lease::a_released_lease_is_free),
    case!(lease::a_late_release_takes_nothing_from_the_next_owner),
    case!(lease::hostile_owners_are_read_back),
    case!(commit::rows_and_ledger_commit_together),
    case!(commit::a_failing_statement_leaves_nothing_and_is_named),
    case!(commit::a_failed_commit_can_be_tried_again_on_its_connection),
    case!(commit::errors_quote_no_row_values),
    case!(commit::definitions_are_part_of_the_transaction),
    case!(commit::resets_are_written_with_it),
    case!(commit::commits_after_each_other_count_up),
    case!(commit::a_fenced_owner_writes_nothing),
    case!(commit::sixteen_runners_commit_once),
    case!(commit::a_takeover_ends_the_open_transaction, Server),
    case!(commit::a_stopped_commit_leaves_nothing),
    case!(commit::a_cancelled_commit_leaves_nothing, Server),
    case!(commit::a_commit_dropped_at_any_await_is_made_once),
    case!(commit::a_session_change_does_not_reach_the_next_migration, Server),
    case!(commit::a_rehearsal_counts_rows_and_leaves_nothing),
    case!(commit::a_failing_rehearsal_names_its_statement),
    case!(step::a_program_is_journalled_before_and_after),
    case!(step::steps_are_journalled_one_by_one),
    case!(step::the_next_journal_closes_a_step),
    case!(step::a_failed_step_is_opened_anew),
    case!(step::a_transactional_step_commits_with_its_journal),
    case!(step::a_failing_transactional_step_leaves_nothing),
    case!(step::an_open_step_is_settled, Server),
    case!(step::a_step_that_cannot_be_known_is_said_so, Server),
    case!(step::settling_ends_the_old_statement, Server),
    case!(step::a_repeatable_step_is_settled_as_not_run),
    case!(step::steps_are_fenced),
    case!(step::another_pass_has_steps_of_its_own),
    case!(network::a_commit_whose_reply_is_lost_is_looked_up, Server),
    case!(network::a_commit_that_is_not_delivered_is_redone, Server),
    case!(network::a_cut_at_any_byte_loses_and_doubles_nothing, Server),
    case!(network::slow_and_sliced_bytes_change_nothing, DirectServer),
    case!(backfill::facts::a_table_is_described),
    case!(backfill::facts::a_view_is_no_table),
    case!(backfill::facts::the_shape_follows_the_definition_not_the_rows),
    case!(backfill::facts::access_by_the_key_is_explained),
    case!(backfill::facts::questions_are_answered_without_a_trace),
    case!(backfill::facts::a_rehearsed_chunk_leaves_nothing),
    case!(backfill::facts::health_can_be_read_again_and_again),
    case!(backfill::facts::a_barrier_is_passed_when_nothing_is_under_way),
    case!(backfill::keys::whole_numbers_are_walked),
    case!(backfill::keys::keys_are_walked_from_high_to_low),
    case!(backfill::keys::texts_are_walked_in_every_collation),
    case!(backfill::keys::composite_keys_are_walked_in_mixed_directions),
    case!(backfill::keys::keys_of_four_columns_are_walked),
    case!(backfill::keys::bytes_are_walked),
    case!(backfill::keys::times_are_walked),
    case!(backfill::keys::uuids_are_walked),
    case!(backfill::keys::decimals_are_walked),
    case!(backfill::keys::rows_without_a_key_are_a_chunk_of_their_own),
    case!(backfill::keys::an_empty_table_has_no_keys),
    case!(backfill::chunk::chunks_move_rows_and_checkpoint_together),
    case!(backfill::chunk::a_chunk_through_an_alias_moves_its_rows),
    case!(backfill::chunk::a_chunk_of_listed_keys_moves_no_other_rows),
    case!(backfill::chunk::several_statements_are_one_chunk),
    case!(backfill::chunk::what_is_not_as_thought_is_fenced),
    case!(backfill::chunk::a_takeover_fences_every_segment),
    case!(backfill::chunk::a_takeover_ends_an_open_chunk, Server),
    case!(backfill::chunk::a_failing_row_is_named_so_and_leaves_nothing),
    case!(backfill::chunk::another_shape_stops_the_chunk),
    case!(backfill::chunk::rows_with_a_null_key_are_done_once),
    case!(backfill::chunk::a_row_is_set_aside_released_and_discarded),
    case!(backfill::record::a_backfill_is_read_back),
    case!(backfill::record::a_new_pass_begins_anew),
    case!(backfill::record::a_segment_is_cut_where_it_stands),
    case!(backfill::record::wishes_reach_the_worker),
    case!(backfill::record::a_ledger_of_format_1_has_no_backfills_and_is_upgraded),
    case!(backfill::record::no_ledger_has_no_backfills),
    case!(backfill::rows::values_travel_exactly),
    case!(backfill::rows::changed_rows_are_not_overwritten),
    case!(backfill::rows::rejected_rows_are_set_aside),
    case!(backfill::rows::locked_rows_are_written_or_let_go),
    case!(backfill::rows::a_filter_chooses_the_rows),
    case!(backfill::undo::updates_are_undone_where_nothing_changed_since),
    case!(backfill::undo::deleted_rows_come_back),
    case!(backfill::undo::program_changes_are_undone),
    case!(backfill::undo::captured_values_are_forgotten_in_time),
];

/// How long a case may take. Ending a blocked predecessor has limits of its own, of seconds.
const CASE_TIME_MAX: Duration = Duration::from_secs(180);

/// How many cases run at once: each opens up to sixteen connections.
const CASES_AT_ONCE: usize = 4;

/// Runs every case that applies, each on a database of its own, and fails with all that failed.
///
/// `DUNLIN_CONFORMANCE=part_of_a_name` runs only the cases whose name holds that.
///
/// # Panics
/// If a case fails.
pub async fn run(
    product: Product,
    connector: impl Fn(&Database) -> Arc<dyn Connector> + Send + Sync + 'static,
) {
    let make: Arc<Maker> = Arc::new(connector);
    let only = environment("DUNLIN_CONFORMANCE").unwrap_or_default();
    let cases =
        CASES.iter().filter(|case| case.needs.are_met_by(product) && case.name.contains(&only));
    let outcomes: Vec<(&str, Result<(), String>)> = futures_util::stream::iter(cases)
        .map(|case| {
            let make = Arc::clone(&make);
            async move { (case.name, run_case(*case, product, make).await) }
        })
        .buffer_unordered(CASES_AT_ONCE)
        .collect()
        .await;
    let total = outcomes.len();
    let failed: Vec<String> = outcomes
        .into_iter()
        .filter_map(|(name, outcome)| outcome.err().map(|why| format!("{name}: {why}")))
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {total} cases failed on {}:\n\n{}",
        failed.len(),
        product.as_str(),
        failed.join("\n\n")
    );
}

async fn run_case(case: Case, product: Product, make: Arc<Maker>) -> Result<(), String> {
    let body = async move {
        let world = World::new(product, case.name, make).await;
        (case.body)(world).await;
    };
    // A task of its own, so that cases really run beside each other.
    let task = tokio::spawn(AssertUnwindSafe(body).catch_unwind());
    let abort = task.abort_handle();
    match tokio::time::timeout(CASE_TIME_MAX, task).await {
        Err(_) => {
            abort.abort();
            Err(format!("not done after {} s", CASE_TIME_MAX.as_secs()))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(panic))) => Err(panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_else(|| "panicked".to_owned())),
    }
}
