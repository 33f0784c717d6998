"""Fills the artifacts that Kubeflow's UI shows."""

from collections.abc import Mapping

from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.artifacts import SystemClassificationMetrics, SystemHtml, SystemMetrics
from components.evaluation.curves import Array


def write_page(artifact: SystemHtml, page: str) -> None:
    """Writes an HTML page to the file at the artifact's URI, where the UI reads it."""
    if fileio.exists(artifact.uri):
        # TFX creates a folder for every output; the UI shows a file.
        fileio.rmtree(artifact.uri)
    io_utils.write_string_file(artifact.uri, page)


def set_figures(artifact: SystemMetrics, figures: Mapping[str, float]) -> None:
    """Sets one row of the UI's table per figure."""
    for name, value in figures.items():
        artifact.set_float_custom_property(name, value)


def set_curve(
    artifact: SystemClassificationMetrics, thresholds: Array, false_positive_rates: Array, recalls: Array
) -> None:
    """Sets the points of a ROC curve, three `[points]` arrays."""
    points = [
        {"confidenceThreshold": float(threshold), "falsePositiveRate": float(rate), "recall": float(recall)}
        for threshold, rate, recall in zip(thresholds, false_positive_rates, recalls, strict=True)
    ]
    artifact.set_json_value_custom_property("confidenceMetrics", points)
