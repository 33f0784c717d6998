"""Public Python names of rankdistill, knowledge distillation for online ranking.

Each name is imported on first use, so `import rankdistill` imports neither TensorFlow nor TFX. This package
may import every other package of the repository; no other package imports it.

Example:
    >>> import rankdistill
    >>> store = rankdistill.open_store("delta:runs/demo/root/labels")
    >>> [record.set_id for record in store.list_sets()]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rankdistill.shadowing import refuse_shadowed_packages

if TYPE_CHECKING:
    from components.artifacts import Predictions, ProgressiveFigures, SoftLabels
    from components.candidate_check import CandidateCheck
    from components.label_store.base import LabelSetKey, LabelSetRecord, LabelStore
    from components.label_store.schemes import open_store
    from components.progressive_evaluator import ProgressiveEvaluator
    from components.push_gate import PushGate
    from components.soft_label_bulk_inferrer import SoftLabelBulkInferrer
    from components.soft_label_transform import SoftLabelTransform
    from components.span_example_gen import SpanExampleGen
    from components.span_publisher import SpanPublisher
    from components.span_state import SpanState
    from components.span_validator import SpanValidator
    from eventlog.checks import check_span
    from eventlog.errors import BadInput
    from eventlog.kuairand.adapter import write_kuairand
    from eventlog.simulator import simulate
    from eventlog.spans import complete_spans, span_files, write_span
    from models.architecture import Architecture
    from models.distillation import Distillation
    from models.features import Feature
    from models.job import Optimizer, TrainingJob
    from models.losses import binary_loss, regression_loss, soft_binary_loss, zero_inflated_loss
    from models.objective import Objective
    from models.ranker import Ranker, RankerLogits
    from models.tasks import Task
    from pipeline.config import Deployment
    from pipeline.config_file import load_deployment
    from pipeline.driver.loop import Loop
    from pipeline.paths import RunPaths

__all__ = [
    "Architecture",
    "BadInput",
    "CandidateCheck",
    "Deployment",
    "Distillation",
    "Feature",
    "LabelSetKey",
    "LabelSetRecord",
    "LabelStore",
    "Loop",
    "Objective",
    "Optimizer",
    "Predictions",
    "ProgressiveEvaluator",
    "ProgressiveFigures",
    "PushGate",
    "Ranker",
    "RankerLogits",
    "RunPaths",
    "SoftLabelBulkInferrer",
    "SoftLabelTransform",
    "SoftLabels",
    "SpanExampleGen",
    "SpanPublisher",
    "SpanState",
    "SpanValidator",
    "Task",
    "TrainingJob",
    "binary_loss",
    "check_span",
    "complete_spans",
    "load_deployment",
    "open_store",
    "regression_loss",
    "simulate",
    "soft_binary_loss",
    "span_files",
    "write_kuairand",
    "write_span",
    "zero_inflated_loss",
]

_NAMES_BY_MODULE = {
    "components.artifacts": ("Predictions", "ProgressiveFigures", "SoftLabels"),
    "components.candidate_check": ("CandidateCheck",),
    "components.label_store.base": ("LabelSetKey", "LabelSetRecord", "LabelStore"),
    "components.label_store.schemes": ("open_store",),
    "components.progressive_evaluator": ("ProgressiveEvaluator",),
    "components.push_gate": ("PushGate",),
    "components.soft_label_bulk_inferrer": ("SoftLabelBulkInferrer",),
    "components.soft_label_transform": ("SoftLabelTransform",),
    "components.span_example_gen": ("SpanExampleGen",),
    "components.span_publisher": ("SpanPublisher",),
    "components.span_state": ("SpanState",),
    "components.span_validator": ("SpanValidator",),
    "eventlog.checks": ("check_span",),
    "eventlog.errors": ("BadInput",),
    "eventlog.kuairand.adapter": ("write_kuairand",),
    "eventlog.simulator": ("simulate",),
    "eventlog.spans": ("complete_spans", "span_files", "write_span"),
    "models.architecture": ("Architecture",),
    "models.distillation": ("Distillation",),
    "models.features": ("Feature",),
    "models.job": ("Optimizer", "TrainingJob"),
    "models.losses": ("binary_loss", "regression_loss", "soft_binary_loss", "zero_inflated_loss"),
    "models.objective": ("Objective",),
    "models.ranker": ("Ranker", "RankerLogits"),
    "models.tasks": ("Task",),
    "pipeline.config": ("Deployment",),
    "pipeline.config_file": ("load_deployment",),
    "pipeline.driver.loop": ("Loop",),
    "pipeline.paths": ("RunPaths",),
}
_MODULE_BY_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module 'rankdistill' has no attribute {name!r}; it has {', '.join(__all__)}")
    refuse_shadowed_packages()
    value = getattr(importlib.import_module(_MODULE_BY_NAME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
