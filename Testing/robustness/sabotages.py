"""The promises that tests guard, and for each of them a change of the code that breaks it and must be noticed."""

from __future__ import annotations

from dataclasses import dataclass

ENGINE, SCENE, BENCHMARKS = "DeepRegister/deepregister", "DeepRegister/DeepRegisterLib/scene", "Testing/benchmarks"
TESTS = "Testing/engine"


@dataclass(frozen=True)
class Sabotage:
    """One promise and how it is broken.

    Attributes:
        name: what a user types.
        promise: in one sentence.
        breaks: what is done to it, in a few words.
        file: its path in the checkout.
        old: a text that stands there once.
        new: what takes its place.
        tests: pytest's names of the tests that guard the promise, each of which passes as long as it is kept. At least
            one must fail.
    """

    name: str
    promise: str
    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


SCORING = (
    Sabotage(
        "dice",
        "Dice is Dice: twice what both share over the sum of both.",
        "the Jaccard index instead",
        f"{ENGINE}/quality.py",
        "2 * int(both[place]) / total",
        "int(both[place]) / (total - int(both[place]))",
        (
            f"{TESTS}/test_quality.py::test_dice_agrees_with_simpleitk",
            f"{TESTS}/test_benchmark_scoring.py::test_overlap_agrees_with_simpleitk_and_surfaces_with_monai",
        ),
    ),
    Sabotage(
        "hd95",
        "HD95 is the 95th percentile of the distances between two surfaces.",
        "the 90th percentile",
        f"{ENGINE}/surfaces.py",
        "np.percentile(there, 95), np.percentile(back, 95)",
        "np.percentile(there, 90), np.percentile(back, 90)",
        (
            f"{TESTS}/test_surfaces.py::test_they_agree_with_monai",
            f"{TESTS}/test_benchmark_scoring.py::test_overlap_agrees_with_simpleitk_and_surfaces_with_monai",
        ),
    ),
    Sabotage(
        "tre",
        "Landmark errors are in mm.",
        "in voxels",
        f"{BENCHMARKS}/scoring.py",
        "errors = quality.landmark_errors(landmarks, through)",
        "errors = quality.landmark_errors(landmarks, through) / Volume.read(pair.fixed).geometry.spacing[0]",
        (f"{TESTS}/test_benchmark_scoring.py::test_landmark_errors",),
    ),
    Sabotage(
        "sdlogj",
        "SDlogJ is the spread of the logarithm of the Jacobian determinant.",
        "the spread of the determinant itself",
        f"{BENCHMARKS}/scoring.py",
        "np.log(np.clip(determinant[within], 1e-3, None)).std()",
        "determinant[within].std()",
        (f"{TESTS}/test_benchmark_scoring.py::TestDeformation::test_folds_count_where_it_matters",),
    ),
    Sabotage(
        "folds",
        "A fold of one voxel counts.",
        "central differences alone, which do not see it",
        f"{BENCHMARKS}/scoring.py",
        "(determinant <= 0) | (field.corner_jacobian_determinants() <= 0)",
        "determinant <= 0",
        (
            f"{TESTS}/test_benchmark_scoring.py::TestDeformation::"
            "test_a_lone_voxel_that_central_differences_do_not_see_folds",
        ),
    ),
    Sabotage(
        "ndv",
        "NDV is the volume of space that is turned inside out.",
        "the number of voxels that fold",
        f"{BENCHMARKS}/scoring.py",
        "inverted = non_diffeomorphic_volume(field)",
        "inverted = folded",
        (f"{TESTS}/test_benchmark_scoring.py::TestDeformation",),
    ),
    Sabotage(
        "inverse",
        "The error of an inverse is measured where the user looks, in fixed space: there and back again.",
        "back first, then there",
        f"{BENCHMARKS}/scoring.py",
        "inverse_consistency(transform, points, inverse)",
        "inverse_consistency(inverse, points, transform)",
        (f"{TESTS}/test_benchmark_scoring.py::TestDeformation",),
    ),
    Sabotage(
        "mask",
        "Where there is a mask, folds and inverse are measured within it.",
        "within the labels",
        f"{BENCHMARKS}/scoring.py",
        "pair.mask or pair.fixed_labels",
        "pair.fixed_labels or pair.mask",
        (
            f"{TESTS}/test_benchmark_scoring.py::TestDeformation::"
            "test_where_there_are_a_mask_and_labels_the_mask_says_where_to_look",
        ),
    ),
    Sabotage(
        "bootstrap",
        "Where pairs share images, intervals are drawn over images.",
        "always drawn over pairs",
        f"{BENCHMARKS}/intervals.py",
        "if len(names) == 2 * len(pairs):",
        "if True:",
        (f"{TESTS}/test_benchmark_summary.py::TestIntervals::test_pairs_that_share_an_image_say_less",),
    ),
    Sabotage(
        "interval",
        "Intervals are of 95 %.",
        "of 90 %",
        f"{BENCHMARKS}/intervals.py",
        "LEVEL = 95",
        "LEVEL = 90",
        (f"{TESTS}/test_benchmark_summary.py::TestIntervals::test_pairs_of_their_own_give_the_classical_interval",),
    ),
    Sabotage(
        "failed-peer",
        "A method that failed stands in the table, with its failures counted.",
        "left out",
        f"{BENCHMARKS}/summary.py",
        "by_method = methods(rows)",
        'by_method = methods([row for row in rows if "failed" not in row])',
        (
            f"{TESTS}/test_benchmark_summary.py::TestTable::test_failures_are_counted_and_their_reasons_told",
            f"{TESTS}/test_benchmark_summary.py::TestTable::test_a_method_that_failed_everywhere_has_a_row",
        ),
    ),
    Sabotage(
        "ahead",
        "More is ahead where more is better, less where less is.",
        "the sign of the paired differences turned",
        f"{BENCHMARKS}/summary.py",
        'sign = 1 if figure.better == "high" else -1',
        'sign = -1 if figure.better == "high" else 1',
        (
            f"{TESTS}/test_benchmark_summary.py::TestTable::test_who_is_ahead_is_told_on_the_same_pairs",
            f"{TESTS}/test_benchmark_summary.py::TestTable::test_where_less_is_better",
        ),
    ),
    Sabotage(
        "seconds",
        "Registration seconds run from the files to the transform, imports not counted.",
        "what the process computed before counts too",
        f"{BENCHMARKS}/peers/_jobs.py",
        "started = time.perf_counter()",
        "started = time.perf_counter() - time.process_time()",
        (f"{TESTS}/test_benchmark_compare.py::test_what_a_method_imports_is_in_the_seconds_of_its_process_alone",),
    ),
    Sabotage(
        "memory",
        "Peak memory is that of all processes that a method has running at once.",
        "that of the largest one",
        f"{BENCHMARKS}/measured.py",
        "if len(running) > 1:",
        "if False:",
        (f"{TESTS}/test_benchmark_measured.py::test_the_memory_of_processes_that_run_at_once_is_added_up",),
    ),
    Sabotage(
        "left-behind",
        "CPU seconds are those of all that a method started, also of what it leaves behind, which is ended.",
        "what is left behind runs on, uncounted",
        f"{BENCHMARKS}/measured.py",
        "    _end_all(program)\n",
        "    program.wait()\n",
        (f"{TESTS}/test_benchmark_measured.py::test_the_processor_time_of_grandchildren_counts",),
    ),
    Sabotage(
        "peer-path",
        "A peer runs with its own packages alone.",
        "it sees ours",
        f"{BENCHMARKS}/running.py",
        "None if method.environment else str(ENGINE)",
        "str(ENGINE)",
        (f"{TESTS}/test_benchmark_compare.py::test_a_peer_sees_none_of_our_packages",),
    ),
    Sabotage(
        "ledger",
        "A look at pairs that nothing may be tuned on leaves a line in the ledger.",
        "no line",
        f"{BENCHMARKS}/compare.py",
        "if held_out:\n",
        "if False:\n",
        (f"{TESTS}/test_benchmark_compare.py::test_pairs_that_nothing_may_be_tuned_on_need_a_word_in_the_ledger",),
    ),
    Sabotage(
        "ledger-of-studies",
        "So does a study on the seeds that are held out.",
        "no line",
        f"{BENCHMARKS}/studies.py",
        "        if looked_at:\n",
        "        if False:\n",
        (f"{TESTS}/test_benchmark_studies.py::test_held_out_seeds_need_a_word_in_the_ledger",),
    ),
    Sabotage(
        "ledger-of-landmarks",
        "So does the expected error judged on landmarks that are held out.",
        "no line",
        f"{BENCHMARKS}/expected_error.py",
        '"expected error", looked_at)',
        '"expected error")',
        (f"{TESTS}/test_benchmark_studies.py::test_held_out_landmarks_need_a_word_in_the_ledger",),
    ),
    Sabotage(
        "ledger-of-failures",
        "So does the study of failures on its held-out half.",
        "no line",
        f"{BENCHMARKS}/failures.py",
        "    if held_out:\n",
        "    if False:\n",
        (f"{TESTS}/test_benchmark_failures.py::test_the_held_out_half_needs_a_word_in_the_ledger",),
    ),
    Sabotage(
        "held-out",
        "What networks were not trained on is held out.",
        "the hippocampi that are kept for the end are taken for development",
        f"{BENCHMARKS}/datasets/shared.py",
        "slice(160, None), held_out=True",
        "slice(160, None), held_out=False",
        (f"{TESTS}/test_benchmark_datasets.py::test_what_is_held_out_of_the_shared_data_is_not_for_development",),
    ),
)

CONFIDENCE = (
    Sabotage(
        "bound",
        "Nine points in ten lie within the stated bound.",
        "half as much spread",
        f"{ENGINE}/expectederror.py",
        "ndtri(share) * self.spread",
        "ndtri(share) * self.spread / 2",
        (f"{TESTS}/test_expected_error.py::test_what_is_stated_of_the_whole_agrees_with_the_map",),
    ),
    Sabotage(
        "error-map",
        "The map says where the errors are.",
        "left and right exchanged",
        f"{ENGINE}/expectederror.py",
        "Volume((median * to_mean)",
        "Volume((median * to_mean)[:, :, ::-1]",
        (
            f"{TESTS}/test_expected_error.py::"
            "test_on_a_known_deformation_nine_in_ten_lie_within_the_bound_and_the_map_ranks_the_errors",
        ),
    ),
    Sabotage(
        "error-unit",
        "The expected error is in mm.",
        "in voxels",
        f"{ENGINE}/expectederror.py",
        "LEAST_ERROR) * geometry.spacing[0]",
        "LEAST_ERROR)",
        (f"{TESTS}/test_expected_error.py::test_the_statement_grows_with_the_images",),
    ),
    Sabotage(
        "least-sure",
        "The place that is named as the least sure is where the map is largest.",
        "its coordinates in another order",
        f"{ENGINE}/expectederror.py",
        "index_to_point(worst[::-1])",
        "index_to_point(worst)",
        (f"{TESTS}/test_expected_error.py::test_the_least_sure_place_is_where_the_map_is_largest",),
    ),
    Sabotage(
        "confidence",
        "What speaks against a result lowers its confidence.",
        "it does not",
        f"{ENGINE}/confidence.py",
        "score *= doubt.leaves",
        "score *= 1",
        (f"{TESTS}/test_confidence.py::test_each_piece_of_evidence_makes_it_low_and_is_named",),
    ),
)

GEOMETRY = (
    Sabotage(
        "jacobian",
        "The Jacobian is that of physical space, however the grid is turned.",
        "direction cosines left out",
        f"{ENGINE}/transforms/field.py",
        "edges = self.geometry.matrix[:3, :3]",
        "edges = np.diag(self.geometry.spacing)",
        # Not those of Hypothesis, which would look long for the smallest example of what is plainly wrong.
        (f"{TESTS}/test_field.py::test_itks_jacobian_is_wrong_on_a_flipped_grid_and_ours_is_not",),
    ),
    Sabotage(
        "lps",
        "Landmarks are where their file says, in LPS or in RAS.",
        "the two exchanged",
        f"{ENGINE}/pointfiles.py",
        'if coordinates == "RAS" else np.ones(3)',
        'if coordinates == "LPS" else np.ones(3)',
        (
            f"{TESTS}/test_pointfiles.py::test_markups_say_their_coordinates",
            f"{TESTS}/test_pointfiles.py::test_table_columns_say_their_coordinates",
        ),
    ),
    Sabotage(
        "axes",
        "The order in which voxels are stored changes nothing.",
        "axes left as they are",
        f"{ENGINE}/models/linear.py",
        "Pair(pair.fixed.canonical(), pair.moving.canonical(), pair.landmarks)",
        "Pair(pair.fixed, pair.moving, pair.landmarks)",
        (f"{TESTS}/test_linear_model.py::test_how_the_voxels_are_stored_changes_nothing",),
    ),
    Sabotage(
        "canonical",
        "Voxels that are stored in another order stay at their places.",
        "turned axes not turned back",
        f"{ENGINE}/volume.py",
        "-1 if flip else 1",
        "1",
        (f"{TESTS}/test_volume.py::test_the_canonical_volume_is_the_same_however_the_voxels_are_stored",),
    ),
)

ROBUSTNESS = (
    Sabotage(
        "result-folder",
        "A folder of results holds the old result or the new one, whole, whenever its process is killed.",
        "files moved in one after the other, without saying first that all are there",
        f"{ENGINE}/folders.py",
        "self.aside.rename(complete)\n        _move_in(complete)",
        "_move_in(self.aside)",
        (f"{TESTS}/test_folders.py::test_killed_at_any_step_it_leaves_the_old_files_or_the_new_ones",),
    ),
    Sabotage(
        "file",
        "A file takes its name only when it is whole.",
        "written in place",
        f"{ENGINE}/writing.py",
        "return self.aside / self.path.name",
        "return self.path",
        (
            f"{TESTS}/test_writing.py::test_the_name_appears_only_at_the_end",
            f"{TESTS}/test_writing.py::test_a_failure_leaves_what_was_there",
        ),
    ),
    Sabotage(
        "header",
        "A header never stands there before the data file that it names.",
        "it comes first",
        f"{ENGINE}/writing.py",
        "key=lambda file: file.name == self.path.name)",
        "key=lambda file: file.name != self.path.name)",
        (f"{TESTS}/test_writing.py::test_a_header_never_stands_there_before_its_data",),
    ),
    Sabotage(
        "result-json",
        "Where result.json stands, all other files of the result do.",
        "it comes first",
        f"{ENGINE}/folders.py",
        'path.name == "result.json"',
        'path.name != "result.json"',
        (f"{TESTS}/test_result.py::test_result_json_stands_there_last",),
    ),
    Sabotage(
        "disk-full",
        "A file that did not fit on the disk is an error.",
        "nobody looks",
        f"{ENGINE}/imagefiles.py",
        "        _require_written(image, aside)\n",
        "",
        (f"{TESTS}/test_writing.py::test_what_does_not_fit_on_the_disk_is_refused_whatever_the_format",),
    ),
    Sabotage(
        "crossed-cancel",
        "A result that comes after a cancel is thrown away.",
        "handed out",
        f"{ENGINE}/job.py",
        "if self._cancelled_at is not None:\n            self._finish(Cancelled())",
        "if False:\n            self._finish(Cancelled())",
        (f"{TESTS}/test_client.py::test_a_result_that_crosses_a_cancel_on_its_way_is_none",),
    ),
    Sabotage(
        "other-engine",
        "A worker that would run another copy of the engine is refused.",
        "taken",
        f"{ENGINE}/client.py",
        "if not _same_engine(self._hello):",
        "if False:",
        (f"{TESTS}/test_connection.py::test_another_copy_of_the_engine_is_refused",),
    ),
    Sabotage(
        "replaced-worker",
        "A worker that was killed is replaced.",
        "the client keeps the dead one",
        f"{ENGINE}/client.py",
        "self._connection = self._hello = self._devices = None",
        "self._hello = self._devices = None",
        (f"{TESTS}/test_client.py::test_a_worker_that_dies_between_runs_is_replaced_in_silence",),
    ),
    Sabotage(
        "handed-over",
        "A job that a worker took as it died goes to the next worker.",
        "the user is told of the death",
        f"{ENGINE}/job.py",
        "return self._request is not None and self._cancelled_at is None",
        "return False",
        (f"{TESTS}/test_client.py::test_a_job_that_a_dying_worker_had_not_looked_at_goes_to_the_next",),
    ),
    Sabotage(
        "temporary-folder",
        "No temporary folder is left behind, also where a worker had to be ended.",
        "left to the worker alone",
        f"{ENGINE}/connection.py",
        "        process.wait()\n    shutil.rmtree(folder, ignore_errors=True)",
        "        process.wait()",
        (f"{TESTS}/test_client.py::test_a_worker_that_ignores_a_cancel_is_ended",),
    ),
    Sabotage(
        "orphan",
        "A worker never outlives its program.",
        "the end of its input ignored",
        f"{ENGINE}/worker.py",
        "        finally:\n            self._end()",
        "        finally:\n            pass",
        (f"{TESTS}/test_worker.py::test_the_end_of_the_client_is_the_end_of_the_worker[end of file-False]",),
    ),
    Sabotage(
        "no-json",
        "A line that is no JSON is answered, and the worker lives on.",
        "it ends the worker",
        f"{ENGINE}/worker.py",
        "except (ValueError, TypeError, KeyError, AttributeError, RecursionError):",
        "except (KeyError, AttributeError):",
        (f"{TESTS}/test_worker.py::test_garbage_is_answered_and_the_worker_lives_on",),
    ),
    Sabotage(
        "checksum",
        "Weights that are not those of their card are refused.",
        "the checksum not compared",
        f"{ENGINE}/models/registry.py",
        "if found != self.sha256:",
        "if False:",
        (f"{TESTS}/test_weights.py::test_one_flipped_bit_is_noticed",),
    ),
    Sabotage(
        "card",
        "A card with an entry of the wrong kind is refused.",
        "entries not looked at",
        f"{ENGINE}/models/registry.py",
        "if not fits(value):",
        "if False:",
        (f"{TESTS}/test_registry.py::test_damaged_cards_are_refused_by_file_and_reason",),
    ),
    Sabotage(
        "nan",
        "A volume with more than a few voxels that are no numbers is refused.",
        "taken",
        f"{ENGINE}/preparation.py",
        "if missing > MOST_NOT_FINITE:",
        "if False:",
        (f"{TESTS}/test_preparation.py::test_few_bad_voxels_become_background_and_many_are_refused",),
    ),
    Sabotage(
        "truncated",
        "An image that is cut off is refused.",
        "what is missing read as zeros",
        f"{ENGINE}/imagefiles.py",
        "        require_complete_nifti(path)\n        if",
        "        if",
        (f"{TESTS}/test_imagefiles.py::test_files_cut_off_anywhere_are_refused",),
    ),
    Sabotage(
        "cancel",
        "A cancel is heard in every stage.",
        "ignored",
        f"{ENGINE}/progress.py",
        "if self._cancelled is not None and self._cancelled():",
        "if False:",
        (
            f"{TESTS}/test_progress.py::test_a_cancelled_run_stops_at_the_next_report_or_check",
            f"{TESTS}/test_registration.py::test_cancel_is_heard_in_every_stage[align]",
        ),
    ),
)

REPRODUCIBILITY = (
    Sabotage(
        "reproducible",
        "The same settings give the same bits.",
        "samples drawn anew in each run",
        f"{ENGINE}/models/sampling.py",
        "np.random.default_rng(seed)",
        "np.random.default_rng()",
        (f"{TESTS}/test_linear_model.py::test_the_same_seed_gives_the_same_transform",),
    ),
    Sabotage(
        "seed",
        "The seed says which samples are drawn.",
        "ignored",
        f"{ENGINE}/models/sampling.py",
        "np.random.default_rng(seed)",
        "np.random.default_rng(0)",
        (f"{TESTS}/test_linear_model.py::test_another_seed_draws_other_samples",),
    ),
    Sabotage(
        "bits",
        "A repetition that differs in the last bit of one number is not called identical.",
        "what is nearly the same is",
        f"{ENGINE}/repetition.py",
        "np.array_equal(a.displacement, b.displacement)",
        "np.allclose(a.displacement, b.displacement)",
        (f"{TESTS}/test_repetition.py::test_the_last_bit_of_one_number_makes_two_transforms_different",),
    ),
)

HOUSE = (
    Sabotage(
        "torch",
        "Slicer's process never loads torch.",
        "imported by a module that the scene uses",
        f"{ENGINE}/landmarks.py",
        "import numpy as np\n",
        "import numpy as np\nimport torch  # noqa: F401\n",
        (
            f"{TESTS}/test_floors.py::test_the_engine_outside_its_computing_rooms_loads_neither_torch_nor_slicer",
            "Testing/extension/test_import_rules.py::test_imports_point_down",
        ),
    ),
    Sabotage(
        "floors",
        "Imports point down: the scene knows nothing of the panel.",
        "the scene imports the panel",
        f"{SCENE}/volumes.py",
        "from .frame import (\n",
        "import DeepRegisterLib.panel  # noqa: F401\n\nfrom .frame import (\n",
        ("Testing/extension/test_import_rules.py::test_imports_point_down",),
    ),
)

SABOTAGES = (*SCORING, *CONFIDENCE, *GEOMETRY, *ROBUSTNESS, *REPRODUCIBILITY, *HOUSE)
