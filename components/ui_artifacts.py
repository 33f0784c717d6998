"""Writes the artifacts that Kubeflow's UI shows: pages, figures and ROC curves."""

from collections.abc import Mapping

from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.artifacts import SystemClassificationMetrics, SystemHtml, SystemMetrics
from components.evaluation.curves import Array


def write_page(artifact: SystemHtml, page: str) -> None:
    """Writes an HTML page to the file at the artifact's URI; the UI reads this file."""
    if fileio.exists(artifact.uri):
        # TFX has created a folder at the URI, but the UI expects a file.
        fileio.rmtree(artifact.uri)
    io_utils.write_string_file(artifact.uri, page)


def set_figures(artifact: SystemMetrics, figures: Mapping[str, float]) -> None:
    """Sets the figures as custom properties; the UI shows one table row for each."""
    for name, value in figures.items():
        artifact.set_float_custom_property(name, value)


def set_curve(
    artifact: SystemClassificationMetrics, thresholds: Array, false_positive_rates: Array, recalls: Array
) -> None:
    """Sets a ROC curve, given as three `[points]` arrays."""
    points = [
        {"confidenceThreshold": float(threshold), "falsePositiveRate": float(rate), "recall": float(recall)}
        for threshold, rate, recall in zip(thresholds, false_positive_rates, recalls, strict=True)
    ]
    artifact.set_json_value_custom_property("confidenceMetrics", points)
