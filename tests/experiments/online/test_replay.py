import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventlog.errors import BadInput
from eventlog.random_exposures import write_random_exposures
from eventlog.rows import EXAMPLE_ID
from eventlog.spans import span_files, write_span
from experiments.online.policies import require_ranking, scores_of
from experiments.online.replay import exposed_rows, run_replay, user_totals
from experiments.trials.trial_result import TrialResult
from tests.experiments.online.test_live import MEASURES

WEIGHTS = {"click": 1.0, "long_view": 1.0, "like": 2.0}


@pytest.fixture
def stream(hand_made):
    labels = np.array(hand_made.labels)
    long_view = np.array([1, 0, 1, 0, 1, 0, 1, np.nan], np.float32)
    return dataclasses.replace(
        hand_made,
        tasks=("click", "watch_time", "ltv", "long_view", "like"),
        labels=np.concatenate([labels, long_view[:, None], np.zeros((8, 1), np.float32)], axis=1),
    )


def outcome(scores):
    """Predictions of rows 4, 5 and 6, the fresh rows of span 3; click's prediction is the score."""
    predictions = np.zeros((3, 3), np.float32)
    predictions[:, 0] = scores
    return TrialResult(np.array([4, 5, 6]), ("click", "long_view", "like"), predictions, "", 1.0, 1, 1.0)


def test_totals_count_the_exposures_with_the_highest_scores(stream):
    exposures = [np.array([4, 5, 6])]
    # Rows of clusters 1, 2 and 0. Half of three rows, rounded up, is two: rows 4 and 6, or rows 5 and 4.
    first, second = (
        user_totals(stream, exposures, scores_of(result, WEIGHTS), result.rows, 0.5, MEASURES)
        for result in (outcome([0.9, 0.1, 0.5]), outcome([0.5, 0.9, 0.1]))
    )
    np.testing.assert_allclose(first["engagement"], [np.expm1(1.0), np.expm1(2.0), 0.0], rtol=1e-6)
    np.testing.assert_array_equal(first["satisfaction"], [1.0, 1.0, 0.0])
    np.testing.assert_allclose(second["engagement"], [0.0, np.expm1(2.0), np.expm1(0.0)], rtol=1e-6)


def test_scores_are_weighted_sums_of_predictions():
    scores = scores_of(outcome([0.9, 0.1, 0.5]), {"click": 2.0, "like": 1.0})
    assert scores.tolist() == pytest.approx([1.8, 0.2, 1.0])


def test_measures_count_seconds_not_their_logarithms():
    outcomes = {"watch_time": np.array([1.0]), "long_view": np.array([1.0]), "like": np.array([1.0])}
    counted = MEASURES.of(outcomes)
    assert counted["engagement"].tolist() == [pytest.approx(np.expm1(1.0))]
    assert counted["satisfaction"].tolist() == [2.0]


def test_a_deployment_without_a_ranking_is_refused(deployment):
    with pytest.raises(BadInput, match=r"deployment .*: no ranking: expected ranking: .* Add `ranking`"):
        require_ranking(dataclasses.replace(deployment, ranking=None))


def some_ids(log, span):
    return pa.concat_tables(map(pq.read_table, span_files(log, span)))[EXAMPLE_ID].combine_chunks()


def test_matured_rows_of_random_exposures_are_left_out(small_stream, small_log):
    # The last span has matured rows with the ids of span 3, which none of its impressions has.
    drawn = pa.concat_arrays([some_ids(small_log, 3), some_ids(small_log, 6)[-7:]])
    rows = exposed_rows(small_stream, small_log, 6, drawn, MEASURES.used_tasks)
    assert len(rows) == 7
    assert (small_stream.fresh_row_indices[rows] == rows).all()


def test_a_stream_may_lack_matured_rows_of_the_log(hand_made, tmp_path):
    # The stream of a deployment without delayed tasks has no row 7, which is in the log.
    stream = dataclasses.replace(
        hand_made,
        **{
            name: getattr(hand_made, name)[:7]
            for name in ("labels", "spans", "fresh_row_indices", "held_out")
        },
    )
    ids = ["1", "4", "5", "6"]
    rows = {"example_id": ids, "event_time_ms": [10**12] * 4, "impression_span": [0, 3, 3, 3]}
    write_span(tmp_path, 3, [pa.table({**rows, "surface": ["tab_1"] * 4, "cluster_id": ids})])
    drawn = pa.array(["1", "5", "6"])
    assert exposed_rows(stream, tmp_path, 3, drawn, ["click"]).tolist() == [5, 6]


@pytest.mark.slow
def test_a_replay_from_the_log_to_totals(small_log, small_stream, stream_folder, deployment, tmp_path):
    from rich.console import Console

    from experiments.trials.progress import ExperimentProgress

    log = tmp_path / "log"
    log.mkdir()
    for folder in small_log.iterdir():
        (log / folder.name).symlink_to(folder)
    (tmp_path / "out" / "streams").mkdir(parents=True)
    options = {"share": 0.3, "seeds": 2, "processes": 2}
    with (tmp_path / "progress.txt").open("w") as file, ExperimentProgress(Console(file=file)) as progress:
        with pytest.raises(BadInput, match="no random exposures"):
            run_replay(deployment, log, ("control",), tmp_path / "out", **options, progress=progress)
        for span in (5, 6, 7, 8):
            write_random_exposures(log, span, some_ids(small_log, span)[-400:])
        (tmp_path / "out" / "streams" / stream_folder.name).symlink_to(stream_folder)
        totals = run_replay(
            deployment, log, ("control", "teacher"), tmp_path / "out", **options, progress=progress
        )
    control, teacher = totals["control"], totals["teacher"]
    assert len(control) == len(teacher) == 2
    assert control[0]["engagement"].shape == teacher[1]["satisfaction"].shape
    watched = small_stream.labels[:, small_stream.tasks.index("watch_time")]
    exposed = [small_stream.fresh_rows(range(span, span + 1))[-400:] for span in (5, 6, 7, 8)]
    by_chance = 0.3 * np.expm1(watched[np.concatenate(exposed)].astype(np.float64)).sum()
    for of_seed in (*control, *teacher):
        assert of_seed["engagement"].sum() > 1.1 * by_chance
