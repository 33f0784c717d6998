"""Makes soft labels from a teacher's predictions: unchanged, permuted, calibrated or biased."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.trials.stream import ExampleStream
from experiments.trials.trial import SoftLabelSource
from experiments.trials.trial_result import TrialResult
from models.seeds import path_seed
from models.tasks import Task

Array = Any

_CALIBRATION_SPANS = 3
"""Number of earlier spans on which the teacher's mean error is measured."""
_MIN_PROBABILITY = 1e-6
"""Probabilities are clipped to this distance from 0 and 1, so that logits are finite."""


def soft_labels(
    stream: ExampleStream, teacher: TrialResult, tasks: Mapping[str, Task], source: SoftLabelSource, seed: int
) -> Array:
    """The soft labels that a student reads: the teacher's predictions after the treatment.

    Args:
        stream: the rows.
        teacher: result of the teacher's trial.
        tasks: the distilled tasks.
        source: the first labelled span, the treatment and the bias.
        seed: seed of the permutation and of the halves for the bias.

    Returns:
        `[rows, tasks]` float32, probabilities or expected values; NaN where there is no soft label.
    """
    predictions = np.full((len(stream.spans), len(tasks)), np.nan, np.float32)
    predictions[teacher.rows] = teacher.columns(tuple(tasks))
    if source.treatment == "calibrated":
        # Needs the predictions before the first labelled span, which are removed below.
        predictions = calibrate_labels(stream, predictions, tasks)
    predictions[stream.spans < source.first_span] = np.nan
    if source.treatment == "permuted":
        return permute_labels(stream, predictions, seed)
    if source.bias:
        return bias_labels(stream, predictions, tasks, source, seed)
    return predictions


def permute_labels(stream: ExampleStream, predictions: Array, seed: int) -> Array:
    """Permutes predictions at random among the fresh rows of the same surface and span."""
    random = np.random.default_rng(seed)
    permuted = np.array(predictions)
    fresh = np.flatnonzero(stream.fresh & ~np.isnan(predictions).all(axis=1))
    group = stream.spans[fresh].astype(np.int64) * len(stream.surface_names) + stream.surfaces[fresh]
    # Both orders sort rows by group, so each row takes the prediction of a random row of its group.
    by_group = fresh[np.lexsort((np.arange(len(fresh)), group))]
    shuffled_by_group = fresh[np.lexsort((random.random(len(fresh)), group))]
    permuted[by_group] = predictions[shuffled_by_group]
    return permuted


def calibrate_labels(stream: ExampleStream, predictions: Array, tasks: Mapping[str, Task]) -> Array:
    """Corrects each span's predictions by the teacher's mean error on the 3 spans before.

    Each surface and task has a separate correction, computed from the hard labels that are known before the
    span. Probabilities are corrected in logits, expected values on the task's scale. Predictions stay as they
    are if the 3 spans have no row with both a label and a prediction.
    """
    calibrated = np.array(predictions)
    columns = [stream.tasks.index(name) for name in tasks]
    for span in np.unique(stream.spans[stream.fresh]).tolist():
        current = stream.fresh_rows(range(span, span + 1))
        earlier = stream.fresh_rows(range(max(0, span - _CALIBRATION_SPANS), span))
        if not len(earlier):
            continue
        known_labels = stream.known_labels(until=span - 1)[earlier][:, columns]
        for surface in range(len(stream.surface_names)):
            rows = current[stream.surfaces[current] == surface]
            on_surface = stream.surfaces[earlier] == surface
            for column, task in enumerate(tasks.values()):
                hard_labels = known_labels[on_surface, column]
                earlier_predictions = predictions[earlier[on_surface], column]
                where = ~np.isnan(hard_labels) & ~np.isnan(earlier_predictions)
                if where.any():
                    shift = _calibration_shift(hard_labels[where], earlier_predictions[where], task)
                    calibrated[rows, column] = shift_predictions(predictions[rows, column], shift, task)
    return calibrated


def bias_labels(
    stream: ExampleStream, predictions: Array, tasks: Mapping[str, Task], source: SoftLabelSource, seed: int
) -> Array:
    """Adds `source.bias` to the predictions on one half of the slices; subtracts it on the other half."""
    signs = slice_signs(stream, source.sliced_by, seed)
    biased = np.array(predictions)
    for column, (name, task) in enumerate(tasks.items()):
        shift = source.bias * bias_unit(stream, name, task) * signs
        biased[:, column] = shift_predictions(predictions[:, column], shift, task)
    return biased


def bias_unit(stream: ExampleStream, name: str, task: Task) -> float:
    """The unit of `SoftLabelSource.bias`: 1 logit, or a regression task's standard deviation of labels."""
    return 1.0 if task.kind == "binary" else float(np.nanstd(stream.labels[:, stream.tasks.index(name)]))


def slice_signs(stream: ExampleStream, feature: str, seed: int) -> Array:
    """`[rows]` float32: +1 on a random half of the slices, -1 on the other half.

    A slice is all rows with the same value of `feature` (of a bag: the same first value). Seeds 2k and 2k + 1
    have opposite signs, so that errors that do not depend on the signs cancel out.
    """
    values = np.asarray(stream.features[feature])
    codes, code_of_row = np.unique(values if values.ndim == 1 else values[:, 0], return_inverse=True)
    pair, parity = divmod(seed, 2)
    order = np.random.default_rng(path_seed(pair, f"slices/{feature}")).permutation(len(codes))
    return np.where(order % 2 == parity, 1.0, -1.0).astype(np.float32)[code_of_row]


def shift_predictions(predictions: Array, shift: Any, task: Task) -> Array:
    """Adds `shift` to predictions: in logits for a binary task, on the task's scale for a regression task."""
    if task.kind != "binary":
        return (predictions + shift).astype(np.float32)
    clipped = np.clip(predictions.astype(np.float64), _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    return (1 / (1 + (1 - clipped) / clipped * np.exp(-shift))).astype(np.float32)


def _calibration_shift(hard_labels: Array, predictions: Array, task: Task) -> float:
    """Mean label minus mean prediction: in logits for a binary task, on the task's scale otherwise."""
    if task.kind != "binary":
        return float(hard_labels.mean() - predictions.mean())
    # Adds half a row of each class, so that the shift is finite if all labels are equal.
    rate = (hard_labels.sum() + 0.5) / (len(hard_labels) + 1)
    mean = np.clip(predictions.mean(dtype=np.float64), _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    return float(np.log(rate / (1 - rate)) - np.log(mean / (1 - mean)))
