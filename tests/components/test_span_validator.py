import logging
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.types import standard_artifacts

from components.evaluation.severities import Severities, anomaly_lines
from components.span_statistics import SpanStatisticsExecutor
from components.span_validator import SpanValidator, apply_severities, find_anomalies
from components.transforms.encode_events import holdout_mask, split_rows
from components.transforms.shards import write_shard
from eventlog.errors import BadInput
from eventlog.spans import span_files
from models.settings import to_json
from models.shard_names import shard_name
from models.state import EMPTY_MARKER
from tests.conftest import REPOSITORY

WARN = {"schema": "warn", "drift": "warn", "skew": "warn"}


def statistics(values):
    import pandas as pd

    return tfdv.generate_statistics_from_dataframe(
        pd.DataFrame({"hour": values, "degree": ["full"] * len(values)})
    )


@pytest.fixture(scope="module")
def schema():
    rules = tfdv.infer_schema(statistics([1, 2, 3, 4] * 25))
    rules.default_environment.extend(["fresh", "matured"])
    feature = tfdv.get_feature(rules, "hour")
    feature.drift_comparator.jensen_shannon_divergence.threshold = 0.2
    feature.skew_comparator.jensen_shannon_divergence.threshold = 0.2
    feature.int_domain.min, feature.int_domain.max = 0, 23
    matured = rules.feature.add(name="label_ltv", type=schema_pb2.FLOAT, not_in_environment=["fresh"])
    matured.presence.min_fraction = 1.0
    return rules


def test_unchanged_data_has_no_anomaly(schema):
    same = statistics([1, 2, 3, 4] * 25)

    assert anomaly_lines(find_anomalies(same, schema, same, same)) == {"schema": [], "drift": [], "skew": []}


def test_a_shifted_distribution_is_drift_from_the_previous_span_or_skew_from_the_fitted_ones(schema):
    before, after = statistics([1, 2, 3, 4] * 25), statistics([20, 21, 22, 23] * 25)

    drift = anomaly_lines(find_anomalies(after, schema, before, None))
    skew = anomaly_lines(find_anomalies(after, schema, None, before))

    assert [line.split(":")[0] for line in drift["drift"]] == ["hour"]
    assert not drift["schema"] and not drift["skew"]
    assert [line.split(":")[0] for line in skew["skew"]] == ["hour"]
    assert not skew["schema"] and not skew["drift"]


def test_a_value_outside_its_domain_is_a_schema_anomaly(schema):
    lines = anomaly_lines(find_anomalies(statistics([1, 99]), schema, None, None))["schema"]

    assert len(lines) == 1
    assert lines[0].startswith("hour: Out-of-range values")


def test_a_span_without_examples_is_a_schema_anomaly(schema):
    empty = statistics_pb2.DatasetFeatureStatisticsList(datasets=[{"num_examples": 0}])

    assert "the span has no examples" in anomaly_lines(find_anomalies(empty, schema, None, None))["schema"]


def test_severity_stop_raises_with_span_and_feature():
    with pytest.raises(BadInput, match=r"span 7: 2 drift anomalies.*got hour moved.*validation.drift: warn"):
        lines = {"schema": [], "drift": ["hour moved", "tag moved"], "skew": []}
        apply_severities(7, lines, WARN | {"drift": "stop"})


def test_severity_warn_only_logs(caplog):
    with caplog.at_level(logging.WARNING):
        apply_severities(7, {"schema": [], "drift": ["hour moved"], "skew": []}, WARN)

    assert "span 7: drift anomaly: hour moved" in caplog.text


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The shipped schema as a Schema artifact."""
    artifact = standard_artifacts.Schema()
    artifact.uri = str(tmp_path_factory.mktemp("schema"))
    shutil.copy(REPOSITORY / "schema" / "impressions.pbtxt", f"{artifact.uri}/schema.pbtxt")
    return artifact


def validate(tmp_path, small_log, shipped, change=lambda table, rows: table, rows=lambda fresh, held: fresh):
    """Runs SpanStatistics and SpanValidator on span 4, changed on the rows that `rows` selects."""
    span = 4
    table = pa.concat_tables(pq.read_table(file, partitioning=None) for file in span_files(small_log, span))
    fresh = table["impression_span"].to_numpy() == span
    held = holdout_mask(table["cluster_id"].combine_chunks())
    table = change(table, rows(fresh, held))
    examples = standard_artifacts.Examples()
    statistics, none = (standard_artifacts.ExampleStatistics() for _ in range(2))
    examples.uri, statistics.uri, none.uri = (
        str(tmp_path / name) for name in ("examples", "statistics", "none")
    )
    for split, batch in split_rows(table, span).items():
        write_shard(f"{examples.uri}/Split-{split}/{shard_name(span, 0, 1)}", batch)
    examples.split_names = '["train", "holdout", "matured", "matured_holdout"]'
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / EMPTY_MARKER).touch()
    SpanStatisticsExecutor().Do(
        {"examples": [examples], "schema": [shipped]},
        {"statistics": [statistics]},
        {"exclude_splits": "[]", "stats_options_json": None},
    )
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    SpanValidator.test_call(
        statistics=statistics, previous_statistics=none, fitted_statistics=none, schema=shipped,
        anomalies=anomalies, span=span, severities=to_json(Severities()),
    )  # fmt: skip
    return anomalies


def test_a_simulated_span_fits_the_shipped_schema_in_every_split(tmp_path, small_log, shipped):
    anomalies = validate(tmp_path, small_log, shipped)
    assert anomalies.get_json_value_custom_property("anomalies") == {"schema": [], "drift": [], "skew": []}


@pytest.mark.parametrize(
    ("split", "column", "rows"),
    [
        ("holdout", "label_click", lambda fresh, held: fresh & held),
        ("matured", "label_ltv", lambda fresh, held: ~fresh & ~held),
        ("matured_holdout", "label_ltv", lambda fresh, held: ~fresh & held),
        ("", "label_click", lambda fresh, held: fresh & ~held),
    ],
)
def test_a_label_out_of_its_domain_stops_the_span_in_every_split(
    tmp_path, small_log, shipped, split, column, rows
):
    def change(table, where):
        values = np.where(where, -1000.0, table[column].to_numpy().copy())
        return table.set_column(
            table.column_names.index(column), column, pa.array(values, pa.float32(), from_pandas=True)
        )

    named = f"{split}: {column}" if split else column
    with pytest.raises(BadInput, match=rf"span 4: 1 schema anomalies: .* got {named}: Out-of-range values"):
        validate(tmp_path, small_log, shipped, change, rows)
