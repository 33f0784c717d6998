"""Compares the speed of training steps compiled by XLA with that of the plain graph.

Usage: `python -m benchmarks.compiled_steps [--rows 12800] [--batch-size 128] [--rounds 3]`. In each
round the demo's student (with soft heads) and its teacher train on random rows, once plain and once compiled.
Training uses one core, like a worker process of an experiment.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from models.compiled_learner import CompiledLearner
from models.features import Feature
from models.job import TrainingJob
from models.learner import Learner
from models.objective import Targets
from pipeline.config_file import load_deployment

_CONFIG = Path(__file__).parents[1] / "pipeline" / "configs" / "demo.yaml"
_BAG_SIZE = 20
"""Number of ids in a row of a bag feature, padding included."""


def main() -> None:
    """Runs the comparison for student and teacher and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=12_800, help="number of rows of a round")
    parser.add_argument("--batch-size", type=int, default=128, help="rows of a batch")
    parser.add_argument(
        "--rounds", type=int, default=3, help="number of rounds; results are medians over rounds"
    )
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    deployment = load_deployment(_CONFIG)
    jobs = {"student": deployment.student_job("tab_1"), "teacher": deployment.teacher_job()}
    result: dict[str, Any] = {"name": "trials", "rows": arguments.rows, "batch_size": arguments.batch_size}
    for role, job in jobs.items():
        resized = dataclasses.replace(job, batch_size=arguments.batch_size)
        for name, value in compare(resized, arguments.rows, arguments.rounds).items():
            result[f"{role}_{name}"] = round(value, 2)
            print(f"{role}: {name} {value:.2f}")
    print(f"BENCH {json.dumps(result)}")


def compare(job: TrainingJob, rows: int, rounds: int) -> dict[str, float]:
    """Compares a plain and a compiled learner.

    Returns:
        For `plain` and `compiled`: `<learner>_ms_a_step` (median over rounds) and `<learner>_ready_seconds`
        (construction and a first block of two rows). `times_as_fast`: plain time / compiled time, median over
        rounds.
    """
    features, targets = random_rows(job, rows)
    spec = (
        {name: _any_length_spec(column) for name, column in features.items()},
        Targets(*map(_any_length_spec, targets)),
    )
    two_rows = (
        {name: column[:2] for name, column in features.items()},
        Targets(*(column[:2] for column in targets)),
    )
    learners, ready_seconds = {}, {}
    for name, learner_class in (("plain", Learner), ("compiled", CompiledLearner)):
        started = time.perf_counter()
        learners[name] = learner_class(job, spec)
        learners[name].train_block(*two_rows).total.numpy()
        ready_seconds[f"{name}_ready_seconds"] = time.perf_counter() - started
    num_steps = -(-rows // job.batch_size)
    milliseconds: dict[str, list[float]] = {name: [] for name in learners}
    for _ in range(rounds):
        for name, learner in learners.items():
            started = time.perf_counter()
            learner.train_block(features, targets).total.numpy()
            milliseconds[name].append(1000 * (time.perf_counter() - started) / num_steps)
    ratios = [
        plain / compiled
        for plain, compiled in zip(milliseconds["plain"], milliseconds["compiled"], strict=True)
    ]
    medians = {f"{name}_ms_a_step": statistics.median(times) for name, times in milliseconds.items()}
    return {**ready_seconds, **medians, "times_as_fast": statistics.median(ratios)}


def random_rows(job: TrainingJob, rows: int) -> tuple[dict[str, Any], Targets]:
    """Draws random features and targets with the shapes and dtypes of the experiments' streams."""
    generator = np.random.default_rng(0)

    def column(feature: Feature) -> Any:
        if not feature.embedded:
            return generator.normal(size=rows).astype(np.float32)
        shape = (rows, _BAG_SIZE) if feature.kind == "bag" else (rows,)
        return generator.integers(0, feature.buckets + 1, shape).astype(np.int32)

    num_tasks, num_soft = len(job.tasks), len(job.distilled_tasks)
    return {name: column(feature) for name, feature in job.features.items()}, Targets(
        (generator.random((rows, num_tasks)) < 0.4).astype(np.float32),
        generator.random((rows, num_tasks)) < 0.9,
        generator.random((rows, num_soft)).astype(np.float32),
        generator.random((rows, num_soft)) < 0.9,
    )


def _any_length_spec(column: Any) -> tf.TensorSpec:
    return tf.TensorSpec([None, *column.shape[1:]], column.dtype)


if __name__ == "__main__":
    main()
