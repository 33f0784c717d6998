"""Artifact types of this project.

Kubeflow Pipelines names a type `package.Class`, imports it under that name, and accepts no PROPERTIES. So the
types live in the package `rankdistill`, and all properties of an artifact are custom properties.
"""

from typing import TypeAlias

from tfx.dsl.placeholder.placeholder import Placeholder
from tfx.types.artifact import Artifact

IntOrPlaceholder: TypeAlias = int | Placeholder
"""A span or span version: a number, or the placeholder of a value that an earlier step computes."""


class SoftLabels(Artifact):
    """One published label set as `certificate.json`; the label store holds the labels themselves."""

    TYPE_NAME = "rankdistill.SoftLabels"


class Predictions(Artifact):
    """Predictions of recent spans that a surface's models made before training on them.

    One Parquet file a span, kept until its delayed labels mature and while the push gate pools the span.
    """

    TYPE_NAME = "rankdistill.Predictions"


class ProgressiveFigures(Artifact):
    """Progressive figures of a surface's models on one span.

    `fresh.parquet` and `matured.parquet` (predictions beside labels) and `figures.json`.
    """

    TYPE_NAME = "rankdistill.ProgressiveFigures"


class SystemHtml(Artifact):
    """A self-contained HTML page that Kubeflow's UI shows; the artifact's URI is the file."""

    TYPE_NAME = "system.HTML"


class SystemMetrics(Artifact):
    """Figures as custom properties; Kubeflow's UI lists them and compares runs by them."""

    TYPE_NAME = "system.Metrics"


class SystemClassificationMetrics(Artifact):
    """A ROC curve as the custom property `confidenceMetrics`; Kubeflow's UI draws it."""

    TYPE_NAME = "system.ClassificationMetrics"


UI_TYPES = (SystemHtml, SystemMetrics, SystemClassificationMetrics)
"""Types that Kubeflow defines; their type names are not importable Python classes."""
