"""The names under which Kubeflow Pipelines imports this project's artifact types."""

from components.artifacts import Predictions, ProgressiveFigures, SoftLabels

__all__ = ["Predictions", "ProgressiveFigures", "SoftLabels"]
