"""A teacher's progressive predictions as soft labels: as they are, permuted, calibrated or biased."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.trials.stream import Stream
from experiments.trials.trial import SoftLabelSource
from models.seeds import path_seed
from models.tasks import Task

Array = Any

_CALIBRATION_SPANS = 3
_ODDS_FLOOR = 1e-6


def soft_labels(stream: Stream, rows: Array, predictions: Array, first_span: int) -> Array:
    """What a teacher predicted of some rows, spread over all rows of the stream.

    Args:
        stream: the rows.
        rows: `[predicted]` int, which ones were predicted.
        predictions: `[predicted, tasks]` float32.
        first_span: rows of earlier spans get no label.

    Returns:
        `[rows, tasks]` float32, NaN where there is no label.
    """
    labels = np.full((len(stream.spans), predictions.shape[1]), np.nan, np.float32)
    late = stream.spans[rows] >= first_span
    labels[rows[late]] = predictions[late]
    return labels


def treated(
    stream: Stream, predictions: Array, tasks: Mapping[str, Task], source: SoftLabelSource, seed: int
) -> Array:
    """The soft labels that a student reads.

    Args:
        stream: the rows.
        predictions: `[rows, tasks]` float32 of the teacher, before it learnt them; NaN where it has none.
        tasks: the columns of the predictions.
        source: what is done to them.
        seed: of the permutation, and of which slices gain.

    Returns:
        `[rows, tasks]` float32; NaN where there is no label.
    """
    if source.treatment == "permuted":
        return permuted(stream, predictions, seed)
    if source.treatment == "calibrated":
        return calibrated(stream, predictions, tasks)
    if source.bias:
        return biased(stream, predictions, tasks, source, seed)
    return predictions


def permuted(stream: Stream, predictions: Array, seed: int) -> Array:
    """Exchanges whole rows of labels within surface and span: every distribution stays, no row's does."""
    random = np.random.default_rng(seed)
    exchanged = np.array(predictions)
    fresh = np.flatnonzero(stream.fresh & ~np.isnan(predictions).all(axis=1))
    group = stream.spans[fresh].astype(np.int64) * len(stream.surface_names) + stream.surfaces[fresh]
    # Sorting by (group, chance) twice over, the pairs of places are a random permutation of each group.
    by_group = fresh[np.lexsort((np.arange(len(fresh)), group))]
    by_chance = fresh[np.lexsort((random.random(len(fresh)), group))]
    exchanged[by_group] = predictions[by_chance]
    return exchanged


def calibrated(stream: Stream, predictions: Array, tasks: Mapping[str, Task]) -> Array:
    """Corrects each surface's mean by what was seen over the spans before, and nothing later.

    A probability's odds are multiplied by one factor, an expected value is shifted.
    """
    corrected = np.array(predictions)
    columns = [stream.tasks.index(name) for name in tasks]
    for span in np.unique(stream.spans[stream.fresh]).tolist():
        now = stream.fresh_rows(range(span, span + 1))
        before = stream.fresh_rows(range(max(0, span - _CALIBRATION_SPANS), span))
        if not len(before):
            continue
        known = stream.known_labels(until=span - 1)[before][:, columns]
        for surface in range(len(stream.surface_names)):
            here, earlier = now[stream.surfaces[now] == surface], stream.surfaces[before] == surface
            for column, task in enumerate(tasks.values()):
                labels, said = known[earlier, column], predictions[before[earlier], column]
                both = ~np.isnan(labels) & ~np.isnan(said)
                if both.any():
                    shift = _shift(labels[both], said[both], task)
                    corrected[here, column] = shifted(predictions[here, column], shift, task)
    return corrected


def biased(
    stream: Stream, predictions: Array, tasks: Mapping[str, Task], source: SoftLabelSource, seed: int
) -> Array:
    """Turns the dial: see `SoftLabelSource.bias`."""
    signs = slice_signs(stream, source.sliced_by, seed)
    changed = np.array(predictions)
    for column, (name, task) in enumerate(tasks.items()):
        unit = 1.0 if task.kind == "binary" else float(np.nanstd(stream.labels[:, stream.tasks.index(name)]))
        changed[:, column] = shifted(predictions[:, column], source.bias * unit * signs, task)
    return changed


def slice_signs(stream: Stream, feature: str, seed: int) -> Array:
    """`[rows]` float32: +1 for half of a feature's values, -1 for the rest.

    Seeds 2k and 2k + 1 draw one half and turn it round: what has nothing to do with the signs cancels out.
    """
    values = np.asarray(stream.features[feature])
    codes, which = np.unique(values if values.ndim == 1 else values[:, 0], return_inverse=True)
    pair, turned = divmod(seed, 2)
    order = np.random.default_rng(path_seed(pair, f"slices/{feature}")).permutation(len(codes))
    return np.where(order % 2 == turned, 1.0, -1.0).astype(np.float32)[which]


def shifted(predictions: Array, shift: Any, task: Task) -> Array:
    """Predictions moved by logits (binary) or by units of the task's scale (regression)."""
    if task.kind != "binary":
        return (predictions + shift).astype(np.float32)
    clipped = np.clip(predictions.astype(np.float64), _ODDS_FLOOR, 1 - _ODDS_FLOOR)
    return (1 / (1 + (1 - clipped) / clipped * np.exp(-shift))).astype(np.float32)


def _shift(labels: Array, said: Array, task: Task) -> float:
    if task.kind != "binary":
        return float(labels.mean() - said.mean())
    # Half a row of either class, so that a surface without positives has a finite shift.
    rate = (labels.sum() + 0.5) / (len(labels) + 1)
    mean = np.clip(said.mean(dtype=np.float64), _ODDS_FLOOR, 1 - _ODDS_FLOOR)
    return float(np.log(rate / (1 - rate)) - np.log(mean / (1 - mean)))
