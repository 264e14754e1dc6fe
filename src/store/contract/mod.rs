//! The contract suite: what every engine of the store must do, as functions over the port.
//!
//! An engine joins with a [`Fixture`] and one line, `contract_tests!(ItsFixture);`. `memory` is the
//! naive model that the properties compare with; it goes through the suite like an engine.

mod budgets;
mod costs;
mod lists;
mod memory;
mod properties;
mod samples;
mod values;
mod writes;

use async_trait::async_trait;

use super::Store;

pub(in crate::store) use budgets::*;
pub(in crate::store) use costs::*;
pub(in crate::store) use lists::*;
pub(in crate::store) use properties::*;
pub(in crate::store) use samples::{Samples, attempt_id, build_id, machine_id, pipeline_id};
pub(in crate::store) use values::*;
pub(in crate::store) use writes::*;

/// An empty database of an engine.
#[async_trait]
pub(in crate::store) trait Fixture: Sized + Send {
    /// Makes one.
    async fn new() -> Self;
    /// Its store.
    fn store(&self) -> &dyn Store;
    /// Ends the store without closing it, and opens the database again.
    async fn reopen(&mut self);
}

/// The suite for one engine.
macro_rules! contract_tests {
    ($fixture:ty) => {
        $crate::store::contract::contract_tests! { $fixture:
            every_value_comes_back_as_it_was_written
            what_does_not_exist_is_none
            updates_replace_what_may_change
            everything_survives_a_new_start
            open_work_is_what_is_not_over
            corner_values_come_back

            a_conflict_writes_nothing_of_its_list
            each_kind_of_row_conflicts_by_name
            one_update_of_two_wins
            a_list_may_write_a_row_twice
            a_child_without_its_parent_is_refused
            an_empty_list_is_fine
            commits_take_effect_in_the_order_of_their_polls
            fifty_callers_get_what_they_wrote
            one_callers_conflict_leaves_the_others_alone
            events_are_numbered_without_holes
            a_long_list_is_one_commit
            a_dropped_caller_is_written_whole

            builds_come_in_pages
            builds_are_filtered_by_every_combination
            past_attempts_know_their_build_and_image
            pipelines_come_in_pages_with_tallies
            machines_come_in_pages
            catalogue_reads_give_current_or_all_versions
            extents_are_those_that_overlap
            events_follow_a_number_and_a_subject
            tokens_end_when_they_are_revoked

            costs_add_up_in_every_group
            costs_respect_the_stretch_to_the_microsecond
            the_dearest_groups_come_first

            nothing_is_spent_of_an_empty_ledger
            what_is_spent_is_told_apart_by_whose_it_is
            spending_is_cut_where_a_window_begins
            budget_notes_are_kept_in_the_order_of_their_time

            random_lists_do_what_the_model_does
            random_concurrent_lists_do_what_the_model_does
            random_ledgers_add_up
        }
    };
    ($fixture:ty: $($name:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::store::contract::$name::<$fixture>().await;
            }
        )+
    };
}
pub(in crate::store) use contract_tests;

mod model {
    super::contract_tests!(crate::store::contract::memory::MemoryFixture);
}
