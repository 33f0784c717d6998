"""Artifact types of this project.

Kubeflow Pipelines imports an artifact type by its type name, `package.Class`, and accepts no PROPERTIES. So
the type names begin with `rankdistill`, and all properties of an artifact are custom properties.
"""

from typing import TypeAlias

from tfx.dsl.placeholder.placeholder import Placeholder
from tfx.types.artifact import Artifact

IntOrPlaceholder: TypeAlias = int | Placeholder
"""A span or span version: a number, or TFX's placeholder for a value that is known only at run time."""


class SoftLabels(Artifact):
    """The certificate of a published label set, or the reason for none. The labels are in the label store."""

    TYPE_NAME = "rankdistill.SoftLabels"


class Predictions(Artifact):
    """Predictions of a surface's models for recent spans, made before the models trained on these spans.

    One Parquet file per span. A span's file is kept until its delayed labels mature, and while the push gate
    uses it.
    """

    TYPE_NAME = "rankdistill.Predictions"


class ProgressiveFigures(Artifact):
    """Progressive figures of a surface's models on one span.

    Files: `fresh.parquet` and `matured.parquet` with predictions and labels, and `figures.json`.
    """

    TYPE_NAME = "rankdistill.ProgressiveFigures"


class SystemHtml(Artifact):
    """A self-contained HTML page that Kubeflow's UI shows; the artifact's URI is the path of the page."""

    TYPE_NAME = "system.HTML"


class SystemMetrics(Artifact):
    """Figures as custom properties; Kubeflow's UI lists them and compares runs by them."""

    TYPE_NAME = "system.Metrics"


class SystemClassificationMetrics(Artifact):
    """A ROC curve as the custom property `confidenceMetrics`; Kubeflow's UI draws it."""

    TYPE_NAME = "system.ClassificationMetrics"


UI_TYPES = (SystemHtml, SystemMetrics, SystemClassificationMetrics)
"""Types that Kubeflow defines; their type names are not importable Python classes."""
