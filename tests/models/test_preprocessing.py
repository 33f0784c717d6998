from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from eventlog.errors import BadInput
from models.features import Feature
from models.preprocessing import features_config, preprocessing_fn
from models.transform_graph import TransformGraph, constant_column, feature_version
from tests.models.tiny_world import FEATURES, TEACHER_ONLY, example, freeze_graph, random_columns

RATE = {TEACHER_ONLY: FEATURES[TEACHER_ONLY]}


def transformed(
    graph_dir: Path, *rows: dict[str, Any], features: dict[str, Feature] = FEATURES
) -> dict[str, np.ndarray]:
    graph = TransformGraph(str(graph_dir), features)
    raw = tf.io.parse_example([example(**row) for row in rows], graph.raw_spec)
    return {name: value.numpy() for name, value in graph(raw).items()}


def test_missing_values_become_bucket_0_an_empty_bag_and_the_mean(graph_dir: Path) -> None:
    values = transformed(graph_dir, {})
    assert {name: value.tolist() for name, value in values.items()} == {
        "user_id": [0],
        "hour": [0],
        "tag": [[]],
        "duration_seconds": [0.0],
        "video_age_days": [0],
        "history_user_click": [0.0],
    }


def test_ids_are_hashed_into_buckets_from_1_and_integers_are_hashed_as_text(graph_dir: Path) -> None:
    values = transformed(graph_dir, {"user_id": "", "hour": 7}, {"user_id": "7"}, {"user_id": "unknown"})
    assert all(1 <= bucket <= 50 for bucket in values["user_id"])
    expected = int(tf.strings.to_hash_bucket_fast("7", 24)) + 1
    assert values["hour"].tolist() == [expected, 0, 0]
    assert values["user_id"][1] == int(tf.strings.to_hash_bucket_fast("7", 50)) + 1


def test_a_vocabulary_numbers_its_values_from_1_and_gives_all_others_the_last_bucket(tmp_path: Path) -> None:
    features = {
        "user_id": Feature(kind="id", vocabulary=("u1", "u2")),
        "hour": Feature(kind="id", vocabulary=("7",)),
        "tag": Feature(kind="bag", vocabulary=("b", "a", "c")),
    }
    graph = freeze_graph(tmp_path, random_columns(10, seed=0), features)
    values = transformed(
        graph,
        {"user_id": "u2", "hour": 7, "tag": ["a", "?", "b"]},
        {"user_id": "u3", "hour": 8},
        {},
        features=features,
    )
    assert values["user_id"].tolist() == [2, 3, 0]
    assert values["hour"].tolist() == [1, 2, 0]
    assert values["tag"].tolist() == [[2, 4, 1], [0, 0, 0], [0, 0, 0]]


def test_another_vocabulary_gives_another_feature_version(tmp_path: Path) -> None:
    versions = set()
    for number, values in enumerate([("u1", "u2"), ("u2", "u1"), ("u1", "u2")]):
        features = {"user_id": Feature(kind="id", vocabulary=values)}
        graph = freeze_graph(tmp_path / str(number), random_columns(10, seed=0), features)
        versions.add(feature_version(str(graph)))
    assert len(versions) == 2


def test_a_bag_is_padded_with_0_to_the_longest_bag_of_the_batch(graph_dir: Path) -> None:
    values = transformed(graph_dir, {"tag": ["a", "b"]}, {"tag": ["b"]})
    (first, second), (third, padding) = values["tag"].tolist()
    assert third == second != first
    assert padding == 0


def test_a_number_is_the_z_score_of_its_logarithm_over_present_values(graph_dir: Path) -> None:
    durations = [row["duration_seconds"] for row in random_columns(200, seed=0)]
    logs = np.log1p([value for value in durations if value is not None])
    values = transformed(graph_dir, {"duration_seconds": 59.0}, {"duration_seconds": -5.0})
    expected = [(math.log(60) - logs.mean()) / logs.std(), -logs.mean() / logs.std()]
    np.testing.assert_allclose(values["duration_seconds"], expected, rtol=1e-3)


def test_quantile_buckets_have_equal_counts_and_start_at_1(graph_dir: Path) -> None:
    ages = [{"video_age_days": row["video_age_days"]} for row in random_columns(200, seed=0)]
    buckets = transformed(graph_dir, *ages)["video_age_days"]
    counts = np.bincount(buckets, minlength=5)
    assert counts[0] == 0
    assert all(45 <= count <= 55 for count in counts[1:])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_counts_as_missing(value: float, graph_dir: Path) -> None:
    values = transformed(graph_dir, {"duration_seconds": value, "video_age_days": value})
    assert (values["duration_seconds"][0], values["video_age_days"][0]) == (0.0, 0)


def test_labels_are_not_transformed(graph_dir: Path) -> None:
    with tf.Graph().as_default():
        column = tf.compat.v1.sparse_placeholder(tf.string, [None, None])
        config = features_config({"user_id": FEATURES["user_id"]})
        outputs = preprocessing_fn({"user_id": column, "label_click": column}, config)
    assert set(outputs) == {"user_id"}


def test_a_dense_column_keeps_its_zeros_and_empty_strings() -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        config = features_config({"user_id": FEATURES["user_id"], "hour": FEATURES["hour"]})
        columns = {"user_id": tf.constant([["a"], [""]]), "hour": tf.constant([0, 1], tf.int64)}
        outputs = session.run(preprocessing_fn(columns, config))
    assert (outputs["user_id"] > 0).all()
    assert (outputs["hour"] > 0).all()


def test_a_feature_that_is_not_in_the_schema_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"features \['user_id'\] are not in the schema: expected some of \['hour'\]"
    ):
        preprocessing_fn({"hour": None}, features_config({"user_id": FEATURES["user_id"]}))


def test_only_features_of_the_model_are_parsed(graph_dir: Path) -> None:
    student = {name: feature for name, feature in FEATURES.items() if name != TEACHER_ONLY}
    graph = TransformGraph(str(graph_dir), student)
    assert set(graph.raw_spec) == set(student)
    assert set(graph(tf.io.parse_example([example(hour=3)], graph.raw_spec))) == set(student)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("user_id", "", [b"", b""]),
        ("hour", 0, [0, 0]),
        ("tag", ("a", "b"), [b"a", b"b", b"a", b"b"]),
        ("duration_seconds", 2.5, [2.5, 2.5]),
    ],
)
def test_a_constant_column_has_its_value_in_every_row(
    name: str, value: Any, expected: list[Any], graph_dir: Path
) -> None:
    spec = TransformGraph(str(graph_dir), FEATURES).raw_spec[name]
    column = constant_column(spec, value, tf.constant(2))
    parsed = tf.io.parse_example(
        [example(**{name: list(value) if name == "tag" else value})] * 2, {name: spec}
    )
    assert column.values.numpy().tolist() == expected == parsed[name].values.numpy().tolist()
    assert column.indices.numpy().tolist() == parsed[name].indices.numpy().tolist()
    assert column.dtype == parsed[name].dtype


def test_a_constant_dense_column_has_the_shape_of_its_specification() -> None:
    spec = tf.io.FixedLenFeature([1], tf.int64)
    assert constant_column(spec, 4, tf.constant(3)).numpy().tolist() == [[4], [4], [4]]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"author_id": Feature(kind="id", buckets=9)}, 'expected feature "author_id", got only'),
        (
            {"user_id": Feature(kind="id", buckets=51)},
            'expected 51 buckets of feature "user_id", got 50 buckets',
        ),
    ],
)
def test_features_missing_from_the_frozen_graph_are_refused(
    features: dict[str, Feature], message: str, graph_dir: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        TransformGraph(str(graph_dir), features)


def test_a_folder_without_a_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"transform graph cannot be used.*expected a readable TransformGraph"):
        TransformGraph(str(tmp_path), FEATURES)
    with pytest.raises(BadInput, match=r"expected a graph with its fingerprint\.pb, got none"):
        feature_version(str(tmp_path))


def test_the_feature_version_does_not_depend_on_the_folder_of_the_graph(
    graph_dir: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(graph_dir, tmp_path / "copy")
    version = feature_version(str(graph_dir))
    assert len(version) == 12
    assert feature_version(str(copy)) == version


def test_other_statistics_give_another_feature_version(graph_dir: Path, tmp_path: Path) -> None:
    other = freeze_graph(tmp_path, random_columns(200, seed=1), FEATURES)
    assert feature_version(str(other)) != feature_version(str(graph_dir))


def test_a_changed_asset_gives_another_feature_version(graph_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(graph_dir, tmp_path / "copy")
    (copy / "transform_fn" / "assets").mkdir(exist_ok=True)
    (copy / "transform_fn" / "assets" / "vocabulary").write_text("a")
    version = feature_version(str(copy))
    (copy / "transform_fn" / "assets" / "vocabulary").write_text("b")
    assert len({version, feature_version(str(copy)), feature_version(str(graph_dir))}) == 3


def test_the_feature_version_does_not_depend_on_the_order_of_rows(graph_dir: Path, tmp_path: Path) -> None:
    """Sums of floats would depend on Beam's order of addition."""
    rows = random_columns(200, seed=0)
    again = freeze_graph(tmp_path, rows[150:] + rows[:150][::-1], FEATURES)
    assert feature_version(str(again)) == feature_version(str(graph_dir))


def test_the_sums_of_many_large_numbers_do_not_overflow(tmp_path: Path) -> None:
    """In fixed point, 12,000 numbers of a million would overflow int64."""
    base = random_columns(1, seed=0)[0]
    rows = [base | {"history_user_click": 9e5 + 1e5 * (index % 2)} for index in range(12_000)]
    graph = freeze_graph(tmp_path, rows, RATE)
    values = transformed(graph, {"history_user_click": 9e5}, {"history_user_click": 1e6}, features=RATE)
    np.testing.assert_allclose(values["history_user_click"], [-1.0, 1.0], atol=1e-3)


def test_a_constant_number_is_0_for_any_later_value(tmp_path: Path) -> None:
    rows = [row | {"history_user_click": 0.7} for row in random_columns(50, seed=0)]
    graph = freeze_graph(tmp_path, rows, RATE)
    values = transformed(graph, {"history_user_click": 0.9}, features=RATE)
    assert values["history_user_click"].tolist() == [0.0]


def test_a_small_rate_has_unit_variance(tmp_path: Path) -> None:
    rates = [0.001 * (index % 5) for index in range(200)]
    columns = zip(random_columns(200, seed=0), rates, strict=True)
    graph = freeze_graph(tmp_path, [row | {"history_user_click": rate} for row, rate in columns], RATE)
    rows = ({"history_user_click": 0.004}, {"history_user_click": 0.002})
    values = transformed(graph, *rows, features=RATE)
    np.testing.assert_allclose(values["history_user_click"], [math.sqrt(2), 0.0], atol=1e-3)
