from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.architecture import Architecture
from models.compiled_learner import CompiledLearner
from models.features import Feature
from models.job import TrainingJob
from models.learner import Learner
from models.objective import Targets
from models.optimizers import Optimizer
from tests.models.tiny_world import AUXILIARY, job

BATCH = 8
ROWS = 3 * BATCH + 5
FEATURES = {
    "user_id": Feature(kind="id", buckets=6),
    "tag": Feature(kind="bag", buckets=5),
    "duration_seconds": Feature(kind="number"),
}
ARCHITECTURE = Architecture(embedding_size=3, trunk=(8,), tower=(4,), activation_clip=10.0)


def student(**changes: Any) -> TrainingJob:
    settings = {
        "features": FEATURES,
        "architecture": ARCHITECTURE,
        "optimizer": Optimizer(name="adagrad", learning_rate=0.2, warm_up_steps=3, clippy=True),
        "batch_size": BATCH,
        "distillation": AUXILIARY,
    }
    return job("student", **{**settings, **changes})


def spec() -> Any:
    features = {
        "user_id": tf.TensorSpec([None], tf.int32),
        "tag": tf.TensorSpec([None, 2], tf.int32),
        "duration_seconds": tf.TensorSpec([None], tf.float32),
    }
    columns = ((3, tf.float32), (3, tf.bool), (2, tf.float32), (2, tf.bool))
    return features, Targets(*(tf.TensorSpec([None, width], kind) for width, kind in columns))


def block(rows: int = ROWS) -> Any:
    """Every id occurs several times in a batch, so gradients of equal ids are summed."""
    draw = np.random.default_rng(1)
    features = {
        "user_id": draw.integers(0, 7, rows).astype(np.int32),
        "tag": draw.integers(0, 6, (rows, 2)).astype(np.int32),
        "duration_seconds": draw.normal(size=rows).astype(np.float32),
    }
    hard = (draw.random((rows, 3)) < 0.4).astype(np.float32)
    soft = draw.random((rows, 2)).astype(np.float32)
    return features, Targets(hard, draw.random((rows, 3)) < 0.8, soft, draw.random((rows, 2)) < 0.8)


@pytest.fixture(scope="module")
def compiled() -> CompiledLearner:
    return CompiledLearner(student(), spec())


def trained(learner: Learner, training_job: TrainingJob) -> list[Any]:
    learner.restore(Learner(training_job, spec()).values())
    learner.switch_job(training_job)
    sums = learner.train_block(*block())
    assert int(sums.num_steps) == learner.step == 4
    return [sums.total, sums.hard, sums.soft, *learner.values()]


@pytest.mark.parametrize("name", ["adagrad", pytest.param("adam", marks=pytest.mark.slow)])
def test_compiled_training_equals_plain_training(name: str) -> None:
    base = student(optimizer=Optimizer(name=name, learning_rate=0.2, clippy=name == "adagrad"))
    values, expected = trained(CompiledLearner(base, spec()), base), trained(Learner(base, spec()), base)
    for value, plain in zip(values, expected, strict=True):
        np.testing.assert_allclose(value, plain, rtol=2e-4, atol=2e-6)


def test_one_graph_serves_several_learning_rates_soft_weights_and_seeds(compiled: CompiledLearner) -> None:
    base = student()
    other = dataclasses.replace(
        base,
        seed=8,
        optimizer=dataclasses.replace(base.optimizer, learning_rate=0.4),
        distillation={
            name: dataclasses.replace(settings, weight=3.0) for name, settings in base.distillation.items()
        },
    )
    before = trained(compiled, base)
    for value, plain in zip(trained(compiled, other), trained(Learner(other, spec()), other), strict=True):
        np.testing.assert_allclose(value, plain, rtol=2e-4, atol=2e-6)
    for value, again in zip(before, trained(compiled, base), strict=True):
        np.testing.assert_array_equal(value, again)


def test_a_job_with_another_graph_is_refused(compiled: CompiledLearner) -> None:
    wider = dataclasses.replace(ARCHITECTURE, trunk=(16,))
    with pytest.raises(ValueError, match="may differ, got another model"):
        compiled.switch_job(student(architecture=wider))


def test_different_seeds_drop_different_units() -> None:
    dropped = student(architecture=dataclasses.replace(ARCHITECTURE, dropout=0.5))
    learner, initial = Learner(dropped, spec()), Learner(dropped, spec()).values()

    def total(seed: int) -> float:
        learner.restore(initial)
        learner.switch_job(dataclasses.replace(dropped, seed=seed))
        return float(learner.train_block(*block()).total)

    assert total(1) == total(1) != total(2)
