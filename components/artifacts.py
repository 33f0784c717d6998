"""Artifact types of our own.

Kubeflow Pipelines names a type `package.Class`, imports it under that name, and takes no PROPERTIES: what
an artifact has to say travels in custom properties. The module `rankdistill` is that package.
"""

from tfx.types.artifact import Artifact


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
