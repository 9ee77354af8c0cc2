//! Lists of the contract tests. A test of the testkit compares them with the modules, so that no
//! test is missing.

/// Contract tests of a journal, in a module per suite. `$setup` (the path of an `async fn() ->
/// Setup`) creates the journal anew for each.
#[macro_export]
macro_rules! journal_contract {
    ($setup:path) => {
        $crate::contract_tests! { $setup, changes;
            shared:
                i8_every_row_of_the_precondition_table_holds,
                r2_what_was_written_is_found_byte_for_byte,
                r3_deleting_what_is_not_there_succeeds,
                writing_the_same_bytes_again_changes_nothing,
                versions_only_grow,
                i9_an_object_must_be_staged_before_it_is_committed,
                i9_a_refused_change_leaves_nothing,
                a_commit_runs_to_its_end_without_its_caller;
        }
        $crate::contract_tests! { $setup, names;
            shared:
                a_name_that_differs_only_by_case_is_refused,
                an_overlay_cannot_take_a_name_of_the_base_in_another_case,
                r5_a_name_in_an_overlay_stands_in_nobody_else_s_way,
                i10_a_set_cannot_bring_two_names_that_differ_only_by_case,
                a_set_can_rename_a_file_to_another_case,
                an_unchanged_change_takes_no_name,
                no_file_lies_under_another,
                no_file_of_an_overlay_lies_under_one_of_the_base,
                a_set_can_turn_a_file_into_a_folder_and_back;
        }
        $crate::contract_tests! { $setup, sets;
            shared:
                i10_a_set_with_one_refused_change_does_nothing,
                i10_a_refused_set_leaves_existing_files_alone,
                a_set_answers_in_the_order_of_its_changes,
                i10_a_set_of_a_thousand_files_is_all_or_nothing;
        }
        $crate::contract_tests! { $setup, versions;
            shared:
                versions_of_a_layer_are_listed_newest_first,
                r6_a_version_and_its_entry_keep_the_reason_of_a_change,
                i8_a_change_made_from_the_base_is_refused_after_the_base_has_changed,
                many_files_are_looked_up_at_once_in_order;
        }
        $crate::contract_tests! { $setup, races;
            shared:
                i8_of_concurrent_creators_exactly_one_wins,
                i8_of_concurrent_updates_exactly_one_wins,
                i8_of_concurrent_creators_of_names_that_differ_only_by_case_one_wins,
                i8_of_concurrent_creators_of_a_file_and_of_what_lies_below_one_wins,
                i10_sets_in_opposite_order_do_not_deadlock,
                writers_of_different_files_do_not_hinder_each_other,
                i8_a_refused_or_failed_set_spoils_no_other,
                concurrent_first_writes_agree_on_one_schema,
                r6_a_crowded_chain_links;
        }
        $crate::contract_tests! { $setup, files;
            shared:
                r5_an_overlay_is_found_by_its_owner_and_nobody_else,
                r5_no_version_of_an_overlay_is_found_by_anybody_else,
                holding_looks_at_one_layer_only,
                every_version_is_found_by_its_hash,
                a_hash_names_a_version_of_its_own_path_only,
                what_was_never_written_is_not_found,
                a_list_is_in_bytewise_order,
                pages_of_a_list_join_to_the_whole,
                a_folder_s_list_holds_exactly_what_lies_below_it,
                paths_are_those_with_the_prefix_each_once,
                r5_paths_are_those_of_the_view,
                r5_assets_are_those_of_the_base_with_who_put_them_there;
        }
        $crate::contract_tests! { $setup, overlays;
            shared:
                a_base_that_changed_below_an_overlay_is_told,
                r5_a_change_of_another_overlay_is_told_to_nobody_else;
            exclusive: a_base_that_is_no_longer_kept_is_told_without_its_hash;
        }
        $crate::contract_tests! { $setup, deltas;
            shared:
                a_delta_names_what_has_changed_and_nothing_else,
                since_is_inclusive,
                r5_a_delta_shows_the_view_s_own_overlay_and_no_other,
                pages_of_a_delta_join_to_the_whole,
                who_goes_on_from_complete_until_misses_nothing;
        }
        $crate::contract_tests! { $setup, feed;
            shared:
                a_change_set_is_told_whole_with_who_made_it_and_why,
                pages_of_the_feed_join_to_the_whole,
                a_set_of_a_thousand_files_is_on_one_page,
                r5_a_feed_shows_the_view_s_own_overlay_and_no_other,
                all_readers_get_all_sets_once_in_the_order_of_each_file,
                a_commit_wakes_the_readers_of_its_book;
        }
        $crate::contract_tests! { $setup, books;
            shared:
                the_first_write_creates_the_book,
                r1_a_set_admitted_by_another_schema_is_refused,
                creating_a_book_is_idempotent,
                a_book_keeps_its_schema_once_it_has_files,
                r1_a_schema_never_changes_under_a_write,
                a_book_is_deleted_only_without_files, a_book_is_never_deleted_under_a_write, of_concurrent_creators_of_a_book_one_made_it,
                books_are_listed_by_id,
                a_book_knows_when_it_last_changed,
                a_book_knows_its_rows_and_when_it_was_written;
        }
        $crate::contract_tests! { $setup, browsing;
            shared:
                the_children_of_a_folder_are_its_files_and_what_has_files_below_it,
                pages_of_children_join_to_the_whole,
                r5_children_are_those_of_the_view,
                files_are_counted_up_to_a_limit,
                changes_are_read_newest_first_and_by_their_set,
                changes_are_counted_by_day;
        }
        $crate::contract_tests! { $setup, audit;
            shared:
                r6_every_chain_links_after_a_random_load,
                r6_an_entry_is_stored_as_it_was_sealed,
                r6_each_change_starts_from_what_the_last_one_left,
                r6_calls_chain_under_what_they_are_about,
                r6_an_entry_s_id_is_used_once,
                r7_every_entry_names_its_agent;
        }
        $crate::contract_tests! { $setup, audit_log;
            shared:
                pages_of_the_log_join_to_the_whole,
                filters_give_exactly_what_matches,
                r5_one_layer_s_log_holds_no_other_s,
                chains_are_listed_by_key,
                the_entries_of_several_chains_are_those_of_each,
                entries_are_counted_by_their_chains,
                chains_are_found_by_their_latest_entry;
        }
        $crate::contract_tests! { $setup, blobs;
            shared:
                known_blobs_are_found_and_unknown_ones_left_out,
                staging_an_object_keeps_the_bytes_that_are_inline,
                a_mark_leaves_a_condemned_blob_condemned,
                a_staged_blob_is_live_whatever_it_was,
                writing_the_bytes_again_heals_an_inline_blob;
            exclusive: damaged_blobs_count_while_a_file_holds_them;
        }
        $crate::contract_tests! { $setup, gc;
            exclusive:
                i9_what_a_version_names_is_never_condemned,
                i9_a_staged_blob_is_left_alone_until_somebody_committed_to_it,
                i9_a_condemned_blob_is_not_staged_until_it_is_buried,
                i9_a_commit_refuses_a_staging_that_ended,
                i9_a_guard_that_has_ended_is_taken_over,
                i9_several_blobs_are_purged_each_by_its_own_guard,
                i9_bytes_that_come_inline_revive_a_condemned_blob,
                i9_an_object_without_a_row_is_guarded_like_any_other,
                only_superseded_versions_are_let_go,
                what_a_manifest_names_is_kept_until_it_is_let_go,
                a_survey_tells_what_would_go;
        }
        $crate::contract_tests! { $setup, uploads;
            shared:
                an_upload_is_found_as_it_was_opened,
                i9_a_commit_completes_its_upload_or_leaves_it_open,
                an_upload_is_completed_once,
                i8_of_concurrent_completions_exactly_one_is_carried_out;
            exclusive: an_upload_that_is_over_is_listed_until_it_is_cleared;
        }
        $crate::contract_tests! { $setup, inventory;
            shared:
                every_file_of_every_layer_is_recorded_once,
                a_path_in_the_way_of_a_new_one_is_told,
                what_is_on_its_way_is_told_from_what_has_arrived,
                objects_are_listed_while_a_version_names_them;
            exclusive: a_file_made_pending_again_is_claimed;
        }
        $crate::contract_tests! { $setup, manifests;
            shared:
                every_change_gives_a_new_stamp,
                r5_an_overlay_leaves_the_stamp_alone,
                r5_an_overlay_has_a_stamp_and_rows_of_its_own,
                many_rows_are_returned_whole,
                rows_above_a_version_are_exactly_the_newer_ones,
                a_kept_manifest_is_given_back_to_its_book,
                a_version_of_the_base_is_outlined_and_nothing_else;
            exclusive: i9_a_version_found_pinned_is_not_let_go;
        }
        $crate::contract_tests! { $setup, publications;
            exclusive:
                the_committer_gets_the_lease_and_nobody_else,
                a_path_that_moved_on_stays_pending,
                a_path_given_back_is_claimed_again,
                a_lost_lease_settles_nothing,
                an_expired_lease_goes_to_another,
                a_path_without_an_answer_waits_for_its_lease,
                a_prolonged_lease_lasts_longer,
                concurrent_claims_never_share_a_path,
                a_claim_takes_no_more_than_its_leases,
                a_published_path_waits_for_a_clean_point,
                i9_what_no_clean_point_covers_is_published_again;
        }
        $crate::contract_tests! { $setup, random;
            shared: r2_a_random_walk_reads_what_a_map_would_hold;
        }
    };
}

/// Contract tests of an object storage. `$setup` (the path of an `async fn() -> ObjectsSetup`)
/// creates it anew for each.
#[macro_export]
macro_rules! objects_contract {
    ($setup:path) => {
        $crate::contract_tests! { $setup, objects;
            shared:
                r2_what_was_put_is_read_back,
                what_was_never_put_is_absent,
                putting_again_is_harmless,
                a_range_gives_the_bytes_there_are,
                r2_what_was_promoted_is_read_back,
                i9_what_was_staged_and_dropped_is_no_object,
                promoting_again_is_harmless,
                deleting_an_object_twice_is_fine,
                every_object_is_listed_once;
        }
    };
}

/// Contract tests of an upload store. `$setup` (the path of an `async fn() -> UploadStoreSetup`) creates
/// it anew for each.
#[macro_export]
macro_rules! upload_store_contract {
    ($setup:path) => {
        $crate::contract_tests! { $setup, upload_store;
            shared:
                an_upload_has_arrived_when_it_is_finished,
                r2_an_upload_is_read_back_byte_for_byte,
                what_was_dropped_has_not_arrived,
                discarding_an_upload_twice_is_fine,
                one_version_is_read_to_its_end,
                what_has_arrived_is_listed_and_swept,
                a_signed_url_takes_its_upload_and_nothing_else;
        }
    };
}

/// Contract tests of a tree. `$setup` (the path of an `async fn() -> TreeSetup`) creates it anew
/// for each.
#[macro_export]
macro_rules! tree_contract {
    ($setup:path) => {
        $crate::contract_tests! { $setup, tree;
            shared:
                r2_a_path_holds_what_was_put_last,
                r2_a_late_removal_of_a_path_that_changed_its_kind_takes_nothing,
                r2_a_file_in_parts_is_put_as_a_whole,
                parts_that_fail_leave_what_was_there,
                r3_removing_twice_is_fine,
                r5_layers_and_books_lie_apart,
                a_name_is_kept_as_it_is,
                neighbours_do_not_hinder_each_other,
                a_clean_point_can_be_made_at_any_time,
                what_was_put_is_read_and_listed,
                what_is_set_aside_is_kept_elsewhere;
        }
    };
}

/// The tests of one suite. `$turn` is the lock that they take: `shared` or `exclusive`.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($setup:path, $suite:ident; $($turn:ident: $($sentence:ident),+;)+) => {
        mod $suite {
            #[allow(unused_imports, reason = "the setup may be named by a path of its own")]
            use super::*;
            $($(
                #[tokio::test(flavor = "multi_thread")]
                async fn $sentence() {
                    let _turn = $crate::contract::$turn().await;
                    let setup = $setup().await;
                    $crate::contract::$suite::$sentence(&setup).await;
                }
            )+)+
        }
    };
}
