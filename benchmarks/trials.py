"""How much faster the experiments' models learn when XLA compiles their steps than in the plain graph.

Usage: `python -m benchmarks.trials [--rows 12800] [--batch-size 128] [--rounds 3]`. The demo's student with
its soft heads and its teacher learn the same random rows, compiled and plain in turn, on one core, as a
worker of an experiment does. What the rows hold does not change how long a step takes.
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
_BAG = 20
"""Items of a bag, padding included."""


def main() -> None:
    """Measures and prints; the last line is for machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=12_800)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    deployment = load_deployment(_CONFIG)
    jobs = {"student": deployment.student_job("tab_1"), "teacher": deployment.teacher_job()}
    result: dict[str, Any] = {"name": "trials", "rows": arguments.rows, "batch_size": arguments.batch_size}
    for role, job in jobs.items():
        sized = dataclasses.replace(job, batch_size=arguments.batch_size)
        for name, value in compared(sized, arguments.rows, arguments.rounds).items():
            result[f"{role}_{name}"] = round(value, 2)
            print(f"{role}: {name} {value:.2f}")
    print(f"BENCH {json.dumps(result)}")


def compared(job: TrainingJob, rows: int, rounds: int) -> dict[str, float]:
    """Milliseconds a step of both, their ratio in the same round, and seconds until each is ready."""
    features, targets = random_rows(job, rows)
    spec = (
        {name: _open(column) for name, column in features.items()},
        Targets(*map(_open, targets)),
    )
    first = {name: column[:2] for name, column in features.items()}, Targets(*(each[:2] for each in targets))
    learners, ready = {}, {}
    for name, kind in (("plain", Learner), ("compiled", CompiledLearner)):
        began = time.perf_counter()
        learners[name] = kind(job, spec)
        learners[name].train_block(*first).total.numpy()
        ready[f"{name}_ready_seconds"] = time.perf_counter() - began
    steps = -(-rows // job.batch_size)
    milliseconds: dict[str, list[float]] = {name: [] for name in learners}
    for _ in range(rounds):
        for name, learner in learners.items():
            began = time.perf_counter()
            learner.train_block(features, targets).total.numpy()
            milliseconds[name].append(1000 * (time.perf_counter() - began) / steps)
    ratios = [plain / own for plain, own in zip(milliseconds["plain"], milliseconds["compiled"], strict=True)]
    medians = {f"{name}_ms_a_step": statistics.median(found) for name, found in milliseconds.items()}
    return {**ready, **medians, "times_as_fast": statistics.median(ratios)}


def random_rows(job: TrainingJob, rows: int) -> tuple[dict[str, Any], Targets]:
    """Features and targets as the experiments' streams have them."""
    draw = np.random.default_rng(0)

    def column(feature: Feature) -> Any:
        if not feature.embedded:
            return draw.normal(size=rows).astype(np.float32)
        shape = (rows, _BAG) if feature.kind == "bag" else (rows,)
        return draw.integers(0, feature.buckets + 1, shape).astype(np.int32)

    tasks, soft = len(job.tasks), len(job.distilled_tasks)
    return {name: column(feature) for name, feature in job.features.items()}, Targets(
        (draw.random((rows, tasks)) < 0.4).astype(np.float32), draw.random((rows, tasks)) < 0.9,
        draw.random((rows, soft)).astype(np.float32), draw.random((rows, soft)) < 0.9,
    )  # fmt: skip


def _open(column: Any) -> tf.TensorSpec:
    return tf.TensorSpec([None, *column.shape[1:]], column.dtype)


if __name__ == "__main__":
    main()
