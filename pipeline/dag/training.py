"""Wires the training of one model and its candidate check; the same for teacher, student and control."""

from __future__ import annotations

import dataclasses

from tfx import types
from tfx.components import Trainer
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.proto import trainer_pb2

from components.candidate_check import CandidateCheck
from components.transforms.shards import HELD_OUT_SPLITS, TRAINED_SPLITS
from models import entry_point
from models.job import TrainingJob
from models.settings import to_json
from pipeline.config import Deployment
from pipeline.paths import RunPaths


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """The components that train and check one model on one span, and their outputs.

    Attributes:
        components: In topological order.
        model: Channel of the candidate's Model.
        blessing: Channel of the candidate's ModelBlessing.
        next_base: Channel of the Model from which later spans train: the candidate if blessed, else its
            predecessor.
    """

    components: list[BaseComponent]
    model: types.BaseChannel
    blessing: types.BaseChannel
    next_base: types.BaseChannel


def train_and_check(
    deployment: Deployment,
    paths: RunPaths,
    job: TrainingJob,
    examples: types.BaseChannel,
    transform_graph: types.BaseChannel,
    predecessor: types.BaseChannel,
) -> TrainedModel:
    """Wires a Trainer, warm-started from the predecessor, and its CandidateCheck.

    Args:
        deployment: The configuration.
        paths: The paths of the run.
        job: The training job.
        examples: Channel of the span's Examples. A student's examples are joined with soft labels.
        transform_graph: Channel of the frozen transform graph.
        predecessor: Channel of the last blessed Model, or of an empty marker if there is none.
    """
    name = f"{job.role}_{job.surface}" if job.surface else job.role
    trainer = Trainer(
        run_fn=f"{entry_point.__name__}.run_fn",
        examples=examples,
        transform_graph=transform_graph,
        base_model=predecessor,
        train_args=trainer_pb2.TrainArgs(splits=list(TRAINED_SPLITS)),
        eval_args=trainer_pb2.EvalArgs(splits=list(HELD_OUT_SPLITS)),
        custom_config={"job": to_json(job), "curves": f"{paths.curves}/{name}"},
    ).with_id(f"Trainer_{name}")
    check = CandidateCheck(
        candidate=trainer.outputs["model"],
        predecessor=predecessor,
        examples=examples,
        job=to_json(job),
        margin=deployment.evaluation.margin,
    ).with_id(f"CandidateCheck_{name}")
    return TrainedModel(
        components=[trainer, check],
        model=trainer.outputs["model"],
        blessing=check.outputs["blessing"],
        next_base=check.outputs["next_base"],
    )
