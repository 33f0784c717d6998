import logging

import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.evaluation.severities import anomaly_lines
from components.span_validator import apply_severities, find_anomalies
from eventlog.errors import BadInput

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
