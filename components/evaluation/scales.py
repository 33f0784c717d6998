"""Converts hard labels from their unit in the event log to the scale of the models' predictions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.tasks import Task, to_task_scale


def on_task_scale(labels: npt.ArrayLike, task: Task) -> npt.NDArray[np.float64]:
    """Converts `[rows]` labels in the task's unit to `[rows]` float64 on the task's scale; NaN stays NaN."""
    return to_task_scale(np.asarray(labels, dtype=np.float64), task, np.log1p)
