"""SpanValidator: checks a span's statistics for schema anomalies, drift and skew; stops the span or warns.

TFX's ExampleValidator never stops a pipeline. It also passes no previous statistics to TFDV, so drift
comparators have no effect. SpanValidator passes these statistics. The later steps of the DAG run only after
SpanValidator has succeeded.
"""

import dataclasses
import logging
import os

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import ExampleAnomalies, ExampleStatistics, Schema
from tfx.utils import io_utils

from components.evaluation.severities import Severities, anomaly_lines
from components.output_files import ANOMALIES_FILE, COMPARED_SPLIT
from components.transforms.shards import FRESH_SPLITS, MATURED_SPLITS
from eventlog.errors import BadInput
from models.settings import from_json
from models.state import EMPTY_MARKER

_LOG = logging.getLogger(__name__)
_OTHER_SPLITS = {
    **dict.fromkeys(set(FRESH_SPLITS) - {COMPARED_SPLIT}, "fresh"),
    **dict.fromkeys(MATURED_SPLITS, "matured"),
}
"""Split → environment of the schema, for the splits that are checked only against the schema.

Their labels matter too: held-out labels decide candidate checks, and models train on matured labels.
"""


@component
def SpanValidator(
    statistics: InputArtifact[ExampleStatistics],
    previous_statistics: InputArtifact[ExampleStatistics],
    fitted_statistics: InputArtifact[ExampleStatistics],
    schema: InputArtifact[Schema],
    anomalies: OutputArtifact[ExampleAnomalies],
    span: Parameter[int],
    severities: Parameter[str],
) -> None:
    """Validates every split of a span against the schema, and the split `train` also for drift and skew.

    Args:
        statistics: Statistics of the span, from StatisticsGen.
        previous_statistics: Statistics of the previous span, for the drift check; the empty marker skips it.
        fitted_statistics: Statistics of the spans that the transform graph was fitted on, for the skew check;
            the empty marker skips it.
        schema: Types, domains, presence and comparators.
        anomalies: The anomalies of `train` in the format of TFX's ExampleValidator; also written if there are
            none. The custom property `anomalies` has the lines of all splits.
        span: The span, for messages.
        severities: JSON of the Severities.

    Raises:
        BadInput: if there is an anomaly with severity `stop`.
    """
    schema_proto = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri))
    anomalies_proto = find_anomalies(
        _load_statistics(statistics.uri),
        schema_proto,
        _load_statistics(previous_statistics.uri),
        _load_statistics(fitted_statistics.uri),
    )
    lines_by_kind = anomaly_lines(anomalies_proto)
    for split, environment in _OTHER_SPLITS.items():
        split_statistics = _load_statistics(statistics.uri, split)
        if split_statistics is not None and split_statistics.datasets[0].num_examples:
            schema_lines = anomaly_lines(
                find_anomalies(split_statistics, schema_proto, None, None, environment)
            )["schema"]
            lines_by_kind["schema"] += [f"{split}: {line}" for line in schema_lines]
    folder = os.path.join(anomalies.uri, f"Split-{COMPARED_SPLIT}")
    fileio.makedirs(folder)
    with fileio.open(os.path.join(folder, ANOMALIES_FILE), "wb") as file:
        file.write(anomalies_proto.SerializeToString())
    anomalies.split_names = artifact_utils.encode_split_names([COMPARED_SPLIT])
    anomalies.set_json_value_custom_property("anomalies", lines_by_kind)
    apply_severities(span, lines_by_kind, dataclasses.asdict(from_json(Severities, severities)))


def find_anomalies(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    previous: statistics_pb2.DatasetFeatureStatisticsList | None,
    fitted: statistics_pb2.DatasetFeatureStatisticsList | None,
    environment: str = "fresh",
) -> anomalies_pb2.Anomalies:
    """Finds TFDV's anomalies against the schema, the previous span (drift) and the fitted spans (skew).

    Args:
        statistics: Statistics of one split.
        schema: Types, domains, presence and comparators.
        previous: Statistics of the previous span; None for no drift check.
        fitted: Statistics of the spans that the features were fitted on; None for no skew check.
        environment: Environment of the schema, `fresh` or `matured`; defines which labels rows have.
    """
    return tfdv.validate_statistics(
        statistics, schema, environment=environment, previous_statistics=previous, serving_statistics=fitted
    )


def apply_severities(span: int, lines_by_kind: dict[str, list[str]], severities: dict[str, str]) -> None:
    """Raises on an anomaly of a kind with severity `stop`; logs the anomalies with severity `warn`.

    Args:
        span: The span, for messages.
        lines_by_kind: Kind → one line per anomaly.
        severities: Kind → severity.

    Raises:
        BadInput: with the number of anomalies of that kind, and the first anomaly.
    """
    for kind, lines in lines_by_kind.items():
        if not lines:
            continue
        if severities[kind] == "stop":
            raise BadInput(
                f"{len(lines)} {kind} anomalies", where=f"span {span}", expected="data that fits the schema",
                got=lines[0],
                fix=f"Repair the span or the schema, or set validation.{kind}: warn in the configuration.",
            )  # fmt: skip
        for line in lines:
            _LOG.warning("span %d: %s anomaly: %s", span, kind, line)


def _load_statistics(
    uri: str, split: str = COMPARED_SPLIT
) -> statistics_pb2.DatasetFeatureStatisticsList | None:
    """Reads the statistics of a split; None if the artifact is the empty marker."""
    file = os.path.join(uri, f"Split-{split}", "FeatureStats.pb")
    if fileio.exists(os.path.join(uri, EMPTY_MARKER)):
        return None
    return tfdv.load_stats_binary(file)
