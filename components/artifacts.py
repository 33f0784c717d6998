"""Artifact types of our own.

Kubeflow Pipelines names a type `package.Class`, imports it under that name, and takes no PROPERTIES: what
an artifact has to say travels in custom properties. The module `rankdistill` is that package.
"""

from typing import TypeAlias

from tfx.dsl.placeholder.placeholder import Placeholder
from tfx.types.artifact import Artifact

Found: TypeAlias = int | Placeholder
"""A span or its version: known when a pipeline is built, or found out by a step of it."""


class SoftLabels(Artifact):
    """One published label set: `certificate.json`; the labels themselves lie in the label store."""

    TYPE_NAME = "rankdistill.SoftLabels"


class Predictions(Artifact):
    """What a surface's models predicted of recent spans before learning them, one Parquet file a span.

    Kept until the delayed labels of those spans mature, and for as long as the push gate looks back.
    """

    TYPE_NAME = "rankdistill.Predictions"


class ProgressiveFigures(Artifact):
    """How a surface's models did on one span they had not seen.

    `fresh.parquet` and `matured.parquet` (predictions beside labels) and `figures.json`.
    """

    TYPE_NAME = "rankdistill.ProgressiveFigures"


class SystemHtml(Artifact):
    """One self-contained page, the file at the artifact's URI; Kubeflow's UI shows it."""

    TYPE_NAME = "system.HTML"


class SystemMetrics(Artifact):
    """Figures as custom properties; Kubeflow's UI lists them, and compares runs by them."""

    TYPE_NAME = "system.Metrics"


class SystemClassificationMetrics(Artifact):
    """`confidenceMetrics` as a custom property; Kubeflow's UI draws the ROC curve."""

    TYPE_NAME = "system.ClassificationMetrics"


UI_TYPES = (SystemHtml, SystemMetrics, SystemClassificationMetrics)
"""Types that Kubeflow names, not we: their titles are no Python classes."""
