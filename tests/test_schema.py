from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders import example_coder

from components.transforms.shards import encode_examples, example_schema
from eventlog.kuairand.columns import DELAYED_TASKS, HISTORY, IMMEDIATE_TASKS, LOG_SCHEMA
from eventlog.rows import FIXED_COLUMNS, LABEL_PREFIX

SCHEMA = text_format.Parse(
    (Path(__file__).parents[1] / "schema" / "impressions.pbtxt").read_text(), schema_pb2.Schema()
)
FEATURES = {feature.name: feature for feature in SCHEMA.feature}
DELAYED_LABELS = {LABEL_PREFIX + task for task in DELAYED_TASKS}
IMMEDIATE_LABELS = {LABEL_PREFIX + task for task in IMMEDIATE_TASKS}
NUM_ROWS = 200


def fresh_rows() -> list[dict[str, Any]]:
    numbers = {field.name: 0.5 for field in LOG_SCHEMA if field.type == pa.float32()}
    words = {field.name: "a" for field in LOG_SCHEMA if field.type == pa.string()}
    lists = {field.name: ["a", "b"] for field in LOG_SCHEMA if pa.types.is_list(field.type)}
    row = {**numbers, **words, **lists, "hour": 23, "event_time_ms": 1, "impression_span": 0}
    return [{**row, **dict.fromkeys(DELAYED_LABELS)} for _ in range(NUM_ROWS)]


def statistics_of(rows: list[dict[str, Any]]) -> Any:
    records = encode_examples(pa.RecordBatch.from_pylist(rows, schema=LOG_SCHEMA))
    decoder = example_coder.ExamplesToRecordBatchDecoder(example_schema(LOG_SCHEMA).SerializeToString())
    return stats_impl.generate_statistics_in_memory(decoder.DecodeBatch(records), tfdv.StatsOptions())


def anomalies_of(rows: list[dict[str, Any]], environment: str | None = "fresh") -> dict[str, str]:
    anomalies = tfdv.validate_statistics(statistics_of(rows), SCHEMA, environment=environment)
    return {name: info.short_description for name, info in anomalies.anomaly_info.items()}


def test_the_schema_has_the_columns_of_the_log_with_their_types() -> None:
    assert [(feature.name, feature.type) for feature in SCHEMA.feature] == [
        (feature.name, feature.type) for feature in example_schema(LOG_SCHEMA).feature
    ]


def test_fixed_columns_ids_and_history_are_required_in_every_row() -> None:
    required = {name for name, feature in FEATURES.items() if feature.presence.min_fraction == 1.0}
    assert required == {*FIXED_COLUMNS.names, *HISTORY.columns.names, "user_id", "video_id", "hour"}


def test_each_label_belongs_to_the_environment_of_its_rows() -> None:
    assert list(SCHEMA.default_environment) == ["fresh", "matured"]
    excluded = {name: list(feature.not_in_environment) for name, feature in FEATURES.items()}
    assert {
        name for name, environments in excluded.items() if environments == ["matured"]
    } == IMMEDIATE_LABELS
    assert {name for name, environments in excluded.items() if environments == ["fresh"]} == DELAYED_LABELS


def test_delayed_labels_are_optional_with_and_without_an_environment() -> None:
    assert not any(FEATURES[name].HasField("presence") for name in DELAYED_LABELS)
    assert anomalies_of(fresh_rows(), None) == {}


def test_only_lists_may_have_several_values() -> None:
    multivalued = {name for name, feature in FEATURES.items() if feature.value_count.max != 1}
    assert multivalued == {field.name for field in LOG_SCHEMA if pa.types.is_list(field.type)}


def test_comparators_fit_the_type_and_come_in_pairs() -> None:
    compared = [feature for feature in SCHEMA.feature if feature.HasField("drift_comparator")]
    assert {"surface", "user_active_degree", "tag", "label_click", "duration_seconds"} <= {
        feature.name for feature in compared
    }
    for feature in SCHEMA.feature:
        assert feature.skew_comparator == feature.drift_comparator, feature.name
        categorical = feature.drift_comparator.infinity_norm.threshold > 0
        numeric = feature.drift_comparator.jensen_shannon_divergence.threshold > 0
        if feature in compared:
            assert (categorical, numeric) == (
                feature.type == schema_pb2.BYTES,
                feature.type != schema_pb2.BYTES,
            ), feature.name


def test_correct_fresh_and_matured_rows_have_no_anomaly() -> None:
    fresh = fresh_rows()
    assert anomalies_of(fresh) == {}
    swapped = dict.fromkeys(IMMEDIATE_LABELS) | dict.fromkeys(DELAYED_LABELS, 1.5)
    assert anomalies_of([{**row, **swapped} for row in fresh], "matured") == {}


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("label_click", lambda row: {**row, "label_click": 2.0}),
        ("label_click", lambda row: {**row, "label_click": None}),
        ("surface", lambda row: {**row, "surface": None}),
        ("history_user_click", lambda row: {**row, "history_user_click": None}),
        ("hour", lambda row: {**row, "hour": 24}),
        ("duration_seconds", lambda row: {**row, "duration_seconds": -1.0}),
        ("label_ltv", lambda row: {**row, "label_ltv": -1.0}),
    ],
)
def test_a_faulty_column_is_an_anomaly(column: str, change: Callable[[dict[str, Any]], Any]) -> None:
    environment = "matured" if column in DELAYED_LABELS else "fresh"
    rows = fresh_rows()
    if environment == "matured":
        rows = [{**row, **dict.fromkeys(IMMEDIATE_LABELS)} for row in rows]
    assert set(anomalies_of([change(row) for row in rows], environment)) == {column}


def test_a_delayed_label_in_a_fresh_row_is_an_anomaly() -> None:
    rows = [{**row, "label_ltv": 1.0} for row in fresh_rows()]
    assert anomalies_of(rows) == {"label_ltv": "Column missing in environment"}


def test_a_missing_feature_is_not_an_anomaly() -> None:
    missing = dict.fromkeys(("author_id", "tag", "user_traits", "duration_seconds", "register_days"))
    assert (
        anomalies_of(
            [{**row, **(missing if position % 2 else {})} for position, row in enumerate(fresh_rows())]
        )
        == {}
    )


def test_a_jump_of_a_surface_share_is_reported_as_drift() -> None:
    rows = fresh_rows()
    changed_rows = [{**row, "surface": "b" if position % 2 else "a"} for position, row in enumerate(rows)]
    anomalies = tfdv.validate_statistics(
        statistics_of(changed_rows), SCHEMA, environment="fresh", previous_statistics=statistics_of(rows)
    )
    assert set(anomalies.anomaly_info) == {"surface"}
    assert "distance between current and previous is 0.5" in anomalies.anomaly_info["surface"].description
