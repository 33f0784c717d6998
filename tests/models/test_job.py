from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from models.architecture import Architecture
from models.distillation import Distillation
from models.features import Feature
from models.job import TrainingJob
from models.optimizers import Optimizer
from models.settings import from_json, to_json
from models.tasks import Task
from tests.models.tiny_world import AUXILIARY, job


def test_a_job_equals_its_json_round_trip() -> None:
    original = job("student", distillation=AUXILIARY)
    assert from_json(TrainingJob, to_json(original)) == original


def test_distilled_tasks_are_in_the_order_of_the_tasks() -> None:
    distillation = {
        "like": Distillation(strategy="auxiliary"),
        "click": Distillation(strategy="direct"),
        "watch_time": Distillation(strategy="none"),
    }
    student = job("student", distillation=distillation)
    assert student.distilled_tasks == ("click", "like")
    assert student.auxiliary_tasks == ("like",)


@pytest.mark.parametrize(
    ("role", "changes", "message"),
    [
        (
            "student",
            {"distillation": {"comment": Distillation(strategy="direct")}},
            'task "comment" is unknown',
        ),
        (
            "control",
            {"distillation": {"click": Distillation(strategy="direct")}},
            "a control is not distilled",
        ),
        ("teacher", {"distillation": {"click": Distillation(strategy="none")}}, "a teacher is not distilled"),
        ("student", {"tasks": {}}, "a student needs at least one task, got none"),
        ("teacher", {"features": {}}, "a teacher needs at least one feature, got none"),
        ("teacher", {"batch_size": 0}, "batch_size and passes must be >= 1, got 0 and 1"),
        ("teacher", {"passes": 0}, "batch_size and passes must be >= 1, got 32 and 0"),
        ("teacher", {"features": {"a b": Feature(kind="number")}}, 'feature names .* got "a b"'),
        (
            "student",
            {"distillation": {"watch_time": Distillation(strategy="direct", temperature=2.0)}},
            'temperature of regression task "watch_time" must be 1, got 2.0',
        ),
        (
            "student",
            {
                "distillation": {"click": Distillation(strategy="auxiliary", head="tower")},
                "architecture": Architecture(embedding_size=2, trunk=(4,)),
            },
            'head "tower" of distilled task "click" needs a tower',
        ),
    ],
)
def test_an_inconsistent_job_is_refused(role: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        job(role, **changes)


@pytest.mark.parametrize(
    ("cls", "fields", "message"),
    [
        (
            Distillation,
            {"strategy": "auxiliary", "weight": -1.0},
            'a finite number >= 0, got -1.0. Use strategy "none" to train this task without soft labels',
        ),
        (
            Distillation,
            {"strategy": "auxiliary", "weight": float("nan")},
            "weight must be a finite number >= 0, got nan",
        ),
        (
            Distillation,
            {"strategy": "direct", "temperature": 0.0},
            "temperature must be a finite number > 0, got 0.0",
        ),
        (
            Distillation,
            {"strategy": "auxiliary", "trunk_gradient_scale": -0.5},
            "trunk_gradient_scale must be a finite number >= 0",
        ),
        (
            Distillation,
            {"strategy": "direct", "head": "tower"},
            'strategy "direct" has none, got head "tower"',
        ),
        (
            Task,
            {"kind": "binary", "group": "pet", "weight": -1.0},
            "task weight must be a finite number >= 0, got -1.0",
        ),
        (
            Task,
            {"kind": "binary", "group": "pet", "scale": "log1p"},
            'binary task has scale "identity", got "log1p"',
        ),
        (Feature, {"kind": "id"}, 'kind "id" needs buckets >= 2, got 0'),
        (Feature, {"kind": "number", "buckets": 3}, 'kind "number" has no buckets, got 3'),
        (
            Feature,
            {"kind": "bag", "buckets": 3, "log": True},
            'log is only for kind "number", got it on kind "bag"',
        ),
        (Task, {"kind": "binary", "group": "pet", "loss": "ziln"}, 'got "ziln" on kind "binary"'),
        (Architecture, {"embedding_size": 0, "trunk": ()}, r"widths must be >= 1, got \(0,\)"),
        (Architecture, {"embedding_size": 8, "trunk": (10**12,)}, "widths must be <= 65536"),
        (Feature, {"kind": "id", "buckets": 10**15}, "at most 2147483647 buckets"),
        (
            Architecture,
            {"embedding_size": 1, "trunk": (), "cross_layers": -1},
            "cross_layers must be >= 0, got -1",
        ),
        (
            Architecture,
            {"embedding_size": 1, "trunk": (), "dropout": 1.0},
            r"dropout must be in \[0, 1\), got 1.0",
        ),
        (
            Architecture,
            {"embedding_size": 1, "trunk": (), "input_dropout": -0.1},
            r"input_dropout must be in \[0, 1\), got -0.1",
        ),
        (
            Architecture,
            {"embedding_size": 1, "trunk": (), "activation_clip": 0.0},
            "activation_clip must be > 0",
        ),
        (
            Optimizer,
            {"name": "adam", "learning_rate": 0.0},
            "learning_rate must be a finite number > 0, got 0.0",
        ),
        (
            Optimizer,
            {"name": "adam", "learning_rate": float("inf")},
            "learning_rate must be a finite number > 0, got inf",
        ),
        (
            Optimizer,
            {"name": "adam", "learning_rate": 0.1, "warm_up_steps": -1},
            "warm_up_steps must be >= 0, got -1",
        ),
        (
            Optimizer,
            {"name": "adam", "learning_rate": 0.1, "clippy": True},
            'clippy needs the optimizer "adagrad", got "adam"',
        ),
        (
            Optimizer,
            {"name": "adam", "learning_rate": 0.1, "rate": 2.0},
            "(?s)rate.*Unexpected keyword argument",
        ),
    ],
)
def test_a_setting_out_of_range_is_refused(cls: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**fields)


def test_settings_modules_do_not_import_tensorflow() -> None:
    program = "import models.job, models.shard_names, models.state, sys; print('tensorflow' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "False", run.stderr
