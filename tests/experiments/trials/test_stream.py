import dataclasses
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from eventlog.errors import BadInput
from eventlog.spans import span_files
from experiments.trials.stream import read_stream, write_stream


def test_known_labels_copy_a_matured_label_to_its_impression_once_it_is_known(hand_made):
    assert hand_made.known_labels()[1].tolist() == [0.0, 0.5, 4.0]
    assert np.isnan(hand_made.known_labels(until=2)[1, 2])


def test_labels_of_two_matured_rows_of_one_impression_are_both_copied(hand_made):
    hand_made.labels[3] = np.nan
    hand_made.labels[3, 1] = 0.25
    hand_made.fresh_row_indices[3] = 1
    hand_made.spans[3] = 1
    assert hand_made.known_labels()[1].tolist() == [0.0, 0.25, 4.0]


def test_fresh_rows_exclude_matured_rows(hand_made):
    assert hand_made.fresh_rows(range(3, 4)).tolist() == [4, 5, 6]
    assert hand_made.rows(3) == slice(4, 8)


def test_a_written_stream_reads_back_equal(hand_made, tmp_path):
    write_stream(hand_made, tmp_path / "stream")
    stream = read_stream(tmp_path / "stream")
    assert (stream.key, stream.tasks) == ("hand-made", hand_made.tasks)
    assert stream.surface_names == ("tab_1", "tab_0")
    np.testing.assert_array_equal(stream.labels, hand_made.labels)
    np.testing.assert_array_equal(stream.features["hour"], hand_made.features["hour"])


def test_a_stream_holds_all_rows_of_the_log_and_the_fresh_rows_of_matured_rows(small_stream, small_log):
    import pyarrow.parquet as pq

    from eventlog.spans import span_files

    tables = [
        pq.read_table(file, partitioning=None) for span in range(9) for file in span_files(small_log, span)
    ]
    assert len(small_stream.spans) == sum(table.num_rows for table in tables)
    clicks = np.concatenate([table["label_click"].to_numpy() for table in tables])
    np.testing.assert_array_equal(small_stream.labels[:, small_stream.tasks.index("click")], clicks)
    matured = ~small_stream.fresh
    assert matured.any() and (small_stream.fresh_row_indices[matured] >= 0).all()
    fresh_rows = small_stream.fresh_row_indices[matured]
    np.testing.assert_array_equal(small_stream.clusters[fresh_rows], small_stream.clusters[matured])
    assert (small_stream.spans[fresh_rows] == small_stream.spans[matured] - 3).all()


def test_a_stream_has_the_transformed_constants_of_features_that_only_training_reads(
    deployment, small_stream, small_log, tmp_path
):
    from experiments.trials.loading import load_stream

    tags = tuple(f"tag {number}" for number in range(40))
    constants = {"hour": 5, "tag": tags}
    features = {
        name: dataclasses.replace(feature, served_as=constants.get(name))
        for name, feature in deployment.features.items()
    }
    stream = read_stream(load_stream(dataclasses.replace(deployment, features=features), small_log, tmp_path))
    assert set(stream.served_features) == {"hour", "tag"}
    assert stream.features["tag"].shape[1] == stream.served_features["tag"].shape[1] == 40
    assert (stream.served_features["tag"] > 0).all()
    hours = small_stream.features["hour"]
    np.testing.assert_array_equal(stream.features["hour"], hours)
    logged = np.concatenate(
        [
            pq.read_table(file, columns=["hour"], partitioning=None)["hour"].to_numpy()
            for span in range(9)
            for file in span_files(small_log, span)
        ]
    )
    assert stream.served_features["hour"].tolist() == [hours[logged == 5][0]]
    assert stream.scored_column("hour", np.array([3, 4])).tolist() == [hours[logged == 5][0]] * 2


def test_a_second_load_does_not_write_the_stream_again(stream_folder, small_config, small_log):
    from experiments.trials.loading import load_stream
    from pipeline.config_file import load_deployment

    modified = (stream_folder / "labels.npy").stat().st_mtime_ns
    assert load_stream(load_deployment(small_config), small_log, stream_folder.parent) == stream_folder
    assert (stream_folder / "labels.npy").stat().st_mtime_ns == modified


def test_a_faulty_span_is_refused(small_config, small_log, tmp_path):
    from experiments.trials.loading import load_stream
    from pipeline.config_file import load_deployment

    shutil.copytree(small_log, tmp_path / "log")
    (file,) = (tmp_path / "log" / "span=6").glob("part-*.parquet")
    pq.write_table(pq.read_table(file, partitioning=None).drop(["hour"]), file)
    with pytest.raises(BadInput, match="missing column hour"):
        load_stream(load_deployment(small_config), tmp_path / "log", tmp_path / "streams")
    assert not (tmp_path / "streams").exists()


def test_columns_that_the_log_does_not_have_are_left_out(small_log, tmp_path):
    from eventlog.kuairand.columns import LOG_COLUMNS
    from experiments.trials.loading import LogSource

    shutil.copytree(small_log / "span=0", tmp_path / "span=0")
    (file,) = (tmp_path / "span=0").glob("part-*.parquet")
    rows = pq.read_table(file, partitioning=None)
    pq.write_table(rows.append_column("extra", rows["hour"]), file)
    assert LogSource(tmp_path, LOG_COLUMNS).read(0).equals(rows)


def test_a_stream_has_the_features_of_the_history(small_config, small_log, stream_folder, tmp_path):
    """A sequence and a mean that the log does not have."""
    from components.history.settings import History, ItemSequence
    from eventlog.spans import span_files
    from experiments.trials.loading import load_stream
    from models.features import Feature
    from pipeline.config_file import load_deployment

    deployment = load_deployment(small_config)
    history = History(
        entities={"viewer": "user_id"},
        tasks=("click",),
        sequences={"recent": ItemSequence(entity="viewer", column="video_id", length=4)},
    )
    # The log's own column holds the same values.
    names = ("history_user_click", "history_viewer_click")
    features = {name: Feature(kind="number") for name in names}
    with_history = dataclasses.replace(
        deployment,
        features=deployment.features | features | {"sequence_recent": Feature(kind="bag", buckets=50)},
        history=history,
    )
    folder = load_stream(with_history, small_log, tmp_path)
    assert folder.name != stream_folder.name
    stream = read_stream(folder)
    own, added = (stream.features[name] for name in names)
    np.testing.assert_allclose(added, own, rtol=1e-4, atol=1e-5)
    assert added.std() > 0.5
    bags = stream.features["sequence_recent"]
    assert bags.shape == (len(stream.spans), 4)
    assert not bags[stream.spans == 0].any()
    users = [
        user
        for span in range(9)
        for file in span_files(small_log, span)
        for user in pq.read_table(file, partitioning=None)["user_id"].to_pylist()
    ]
    before = set(np.array(users)[(stream.spans < 2) & stream.fresh])
    known = np.array([user in before for user in users])
    in_span_2 = stream.spans == 2
    np.testing.assert_array_equal(bags[in_span_2].any(axis=1), known[in_span_2])
