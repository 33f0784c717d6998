"""Drift and calibration checks of a teacher's labels before publication, per task and surface.

Reference: Khani et al., RecSys '24: if the data changes, a teacher's bias leaks to its students.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluation.scales import on_task_scale
from eventlog.rows import LABEL_PREFIX, SOFT_PREFIX, SURFACE
from models.settings import settings
from models.tasks import Task

Statistics = Any
"""A DatasetFeatureStatisticsList with one dataset per surface; the dataset's name is the surface."""
_LABELLED_SOFT_PREFIX = "labelled_soft_"


@settings
class LabelChecks:
    """Limits of the label checks, and whether a label set beyond a limit is published.

    Attributes:
        drift: Maximum Jensen-Shannon divergence, in [0, 1], between a task's soft labels in this set and in
            the last published set.
        calibration: Limit of the calibration ratio, > 1. The ratio is a task's mean soft label divided by its
            mean hard label on the same rows; it must lie between 1 / `calibration` and `calibration`.
        min_rows: Minimum number, per surface and task, of soft labels in both sets for the drift check and of
            hard labels for the calibration check. With fewer, the check is skipped. For a binary task, only
            positives count: the expected positives (the sum of the soft labels) and the positive hard labels.
        on_drift: If a task drifts, `warn` publishes the set, and `stop` does not.
        on_skew: If a calibration ratio is beyond its limit, `warn` publishes the set, and `stop` does not.
    """

    drift: float = 0.3
    calibration: float = 2.0
    min_rows: int = 200
    on_drift: Literal["warn", "stop"] = "warn"
    on_skew: Literal["warn", "stop"] = "warn"

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: if a value is out of its range.
        """
        if not 0.0 <= self.drift <= 1.0:
            raise ValueError(f"label_checks.drift must be 0 to 1, got {self.drift}.")
        if not (math.isfinite(self.calibration) and self.calibration > 1.0):
            raise ValueError(f"label_checks.calibration must be a finite number > 1, got {self.calibration}.")
        if self.min_rows < 1:
            raise ValueError(f"label_checks.min_rows must be >= 1, got {self.min_rows}.")


def label_statistics(rows: pa.Table, tasks: Mapping[str, Task]) -> Statistics:
    """Computes TFDV's statistics of soft and hard labels, one dataset per surface.

    Args:
        rows: table with the columns `surface`, and `soft_<task>` and `label_<task>` float32 of each task.
            Hard labels are in the task's unit, null where masked.
        tasks: name -> labelled task.

    Returns:
        Statistics of three features per task, all on the task's scale. `soft_<task>`: all soft labels, with a
        histogram. `label_<task>`: hard labels of the rows with a soft label. `labelled_soft_<task>`: soft
        labels of the rows with a hard label.
    """
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.statistics import stats_impl
    from tensorflow_data_validation.types import FeaturePath, PerFeatureStatsConfig
    from tensorflow_metadata.proto.v0 import statistics_pb2

    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    # Histograms take nine tenths of the time. Only the drift check needs a histogram, with bins of equal
    # width. TFDV builds these bins from a hundred times as many quantiles as requested, so two are enough.
    with_histogram = [FeaturePath([SOFT_PREFIX + name]) for name in tasks]
    options = tfdv.StatsOptions(
        num_quantiles_histogram_buckets=2,
        per_feature_stats_config=PerFeatureStatsConfig(with_histogram, PerFeatureStatsConfig.INCLUDE),
    )
    for surface in sorted(pc.unique(rows[SURFACE]).to_pylist()):
        surface_rows = rows.filter(pc.equal(rows[SURFACE], surface))
        columns = {}
        for name, task in tasks.items():
            hard = on_task_scale(surface_rows[LABEL_PREFIX + name].to_numpy(), task)
            soft = surface_rows[SOFT_PREFIX + name].to_numpy()
            columns[SOFT_PREFIX + name] = _as_lists(soft)
            columns[LABEL_PREFIX + name] = _as_lists(np.where(np.isnan(soft), np.nan, hard))
            columns[_LABELLED_SOFT_PREFIX + name] = _as_lists(np.where(np.isnan(hard), np.nan, soft))
        batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
        (dataset,) = stats_impl.generate_statistics_in_memory(batch, options).datasets
        dataset.name = surface
        statistics.datasets.append(dataset)
    return statistics


def find_label_anomalies(
    statistics: Statistics, previous: Statistics | None, tasks: Mapping[str, Task], checks: LabelChecks
) -> dict[str, list[str]]:
    """Finds the tasks and surfaces with labels beyond a limit.

    Args:
        statistics: statistics of the set, see `label_statistics`.
        previous: statistics of the last published set; None skips the drift check.
        tasks: name -> labelled task. Delayed tasks have no hard label in a fresh row, so their calibration is
            not checked.
        checks: the limits.

    Returns:
        Kind of anomaly -> one line per task and surface. Kinds: `drift`, and `skew` (calibration).
    """
    previous_datasets = (
        {dataset.name: dataset for dataset in previous.datasets} if previous is not None else {}
    )
    lines: dict[str, list[str]] = {"drift": [], "skew": []}
    for dataset in statistics.datasets:
        previous_dataset = previous_datasets.get(dataset.name)
        if previous_dataset is not None:
            comparable = {
                name: task
                for name, task in tasks.items()
                if min(_num_counted(part, name, task) for part in (dataset, previous_dataset))
                >= checks.min_rows
            }
            lines["drift"] += _find_drifts(dataset, previous_dataset, comparable, checks.drift)
        lines["skew"] += _find_skews(dataset, tasks, checks)
    return lines


def _num_counted(dataset: Any, name: str, task: Task) -> float:
    """Returns the number of soft labels; for a binary task, their sum: the expected number of positives."""
    (soft,) = (part.num_stats for part in dataset.features if part.path.step[0] == SOFT_PREFIX + name)
    num_labels = soft.common_stats.num_non_missing
    return float(num_labels * soft.mean if task.kind == "binary" else num_labels)


def _find_drifts(dataset: Any, previous_dataset: Any, tasks: Mapping[str, Task], limit: float) -> list[str]:
    import tensorflow_data_validation as tfdv
    from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

    schema = schema_pb2.Schema()
    for prefix in (SOFT_PREFIX, LABEL_PREFIX, _LABELLED_SOFT_PREFIX):
        for name in tasks:
            feature = schema.feature.add(name=prefix + name, type=schema_pb2.FLOAT)
            if prefix == SOFT_PREFIX:
                feature.drift_comparator.jensen_shannon_divergence.threshold = limit
    current, previous = (
        statistics_pb2.DatasetFeatureStatisticsList(datasets=[part]) for part in (dataset, previous_dataset)
    )
    for statistics in (current, previous):
        statistics.datasets[0].name = "labels"  # validate_statistics compares datasets of the same name.
    anomalies = tfdv.validate_statistics(current, schema, previous_statistics=previous)
    return [
        f"{dataset.name}, {name}: {' '.join(reason.description.split())}"
        for name, info in sorted(anomalies.anomaly_info.items())
        for reason in info.reason
        if anomalies_pb2.AnomalyInfo.Type.Name(reason.type).startswith("COMPARATOR_")
    ]


def _find_skews(dataset: Any, tasks: Mapping[str, Task], checks: LabelChecks) -> list[str]:
    features = {feature.path.step[0]: feature.num_stats for feature in dataset.features}
    lines = []
    for name, task in tasks.items():
        soft, hard = features[_LABELLED_SOFT_PREFIX + name], features[LABEL_PREFIX + name]
        num_labels = hard.common_stats.num_non_missing
        num_counted = num_labels * hard.mean if task.kind == "binary" else num_labels
        if not hard.mean or num_counted < checks.min_rows:
            continue
        ratio = soft.mean / hard.mean
        if not 1 / checks.calibration <= ratio <= checks.calibration:
            lines.append(
                f"{dataset.name}, {name}: mean soft label over mean hard label is {ratio:.3f}, not between "
                f"{1 / checks.calibration:.3f} and {checks.calibration:.3f}"
            )
    return lines


def _as_lists(column: npt.NDArray) -> pa.Array:
    """Returns lists of one value, null where the value is NaN: the input format of TFDV."""
    values = pa.array(column, pa.float32(), from_pandas=True)
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32), mask=np.append(values.is_null(), False))
    return pa.ListArray.from_arrays(offsets, values)
