"""Wires TFX's own Evaluator, for metrics by slice; off unless `evaluation.tfma` is true.

TFMA evaluates about 900 examples a second; ProgressiveEvaluator is about 100 times as fast. The push gate
and the reports always use ProgressiveEvaluator.
"""

from __future__ import annotations

from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components import Evaluator
from tfx.dsl.components.base.base_component import BaseComponent

from components.transforms.shards import HELD_OUT_SPLITS
from eventlog.rows import LABEL_PREFIX
from models.serving import SIGNATURE
from pipeline.config import Deployment

_METRICS = ("AUC", "BinaryCrossentropy", "Calibration", "ExampleCount")


def evaluator(
    deployment: Deployment, surface: str, examples: types.BaseChannel, model: types.BaseChannel
) -> BaseComponent:
    """Wires TFX's Evaluator for a surface's new student on the span's held-out clusters.

    Args:
        deployment: The configuration.
        surface: The surface.
        examples: Channel of the surface's joined Examples.
        model: Channel of the student's Model.
    """
    return Evaluator(
        examples=examples,
        model=model,
        eval_config=eval_config(deployment, surface),
        example_splits=[HELD_OUT_SPLITS[0]],
    ).with_id(f"Evaluator_{surface}")


def eval_config(deployment: Deployment, surface: str) -> config_pb2.EvalConfig:
    """Returns TFMA's metrics and slices for the immediate binary tasks.

    Delayed tasks are left out: their labels are null in fresh rows, and the split has only fresh rows.
    """
    tasks = deployment.student_job(surface).tasks
    names = [name for name, task in tasks.items() if task.kind == "binary" and not task.delayed]
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name=SIGNATURE, label_keys={name: LABEL_PREFIX + name for name in names}
            )
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(
                config_pb2.SlicingSpec(feature_keys=[feature])
                for feature in deployment.evaluation.tfma_slices
            ),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                output_names=[name],
                metrics=[config_pb2.MetricConfig(class_name=metric) for metric in _METRICS],
            )
            for name in names
        ],
    )
