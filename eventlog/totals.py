"""Running totals behind the history features, by entity index: numpy alone, no strings, no files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eventlog.rows import HISTORY_ENTITIES, IMMEDIATE_TASKS

Array = Any

PRIOR_STRENGTH = 10.0
"""Labels' worth of belief in the global mean, for every entity and task.

The beta-binomial's strength p (1 - p) / variance - 1, by moments over KuaiRand-Pure: for click and long_view
6 between users and 8 to 9 between videos; for like 4 and 49. Half of its users have seven impressions
or fewer over the whole log, so without a prior their rates would be noise.
"""


class EntityTotals:
    """Impressions, label sums and label counts of the entities of one kind.

    Attributes:
        impressions: `[entities]` float64.
        sums: `[tasks, entities]` float64, in the order of IMMEDIATE_TASKS.
        counts: `[tasks, entities]` float64, how many labels were not missing.
    """

    def __init__(self, num_entities: int = 0) -> None:
        self.impressions = np.zeros(num_entities)
        self.sums = np.zeros((len(IMMEDIATE_TASKS), num_entities))
        self.counts = np.zeros((len(IMMEDIATE_TASKS), num_entities))

    def grow(self, num_entities: int) -> None:
        """Makes room for entities up to index `num_entities - 1`; never shrinks."""
        more = num_entities - len(self.impressions)
        if more > 0:
            self.impressions = np.pad(self.impressions, (0, more))
            self.sums = np.pad(self.sums, ((0, 0), (0, more)))
            self.counts = np.pad(self.counts, ((0, 0), (0, more)))

    def add(self, indices: Array, labels: Mapping[str, Array]) -> None:
        """Adds impressions and their labels.

        Args:
            indices: `[rows]` int, the entity of each row, -1 where it is unknown (such a row adds nothing).
            labels: per immediate task `[rows]` float, NaN where the label is missing.
        """
        known = indices >= 0
        everyone = bool(known.all())
        indices = indices if everyone else indices[known]
        size = len(self.impressions)
        impressions = np.bincount(indices, minlength=size)
        self.impressions += impressions
        for task, name in enumerate(IMMEDIATE_TASKS):
            values = labels[name] if everyone else labels[name][known]
            present = ~np.isnan(values)
            if present.all():
                self.sums[task] += np.bincount(indices, weights=values, minlength=size)
                self.counts[task] += impressions
            else:
                self.sums[task] += np.bincount(indices[present], weights=values[present], minlength=size)
                self.counts[task] += np.bincount(indices[present], minlength=size)

    def figures(self, indices: Array, priors: Array) -> Array:
        """The history features of some entities.

        Args:
            indices: `[n]` int; -1 stands for an entity never seen.
            priors: `[tasks]` float, the means to fall back on.

        Returns:
            `[1 + tasks, n]` float32: log1p(impressions), then the smoothed mean per task.
        """
        known = indices >= 0
        places = indices[known]
        out = np.empty((1 + len(IMMEDIATE_TASKS), len(indices)), dtype=np.float32)
        out[:, ~known] = np.append(0.0, priors)[:, None]
        out[:, known] = _figures(
            self.impressions[places], self.sums[:, places], self.counts[:, places], priors
        )
        return out

    def all_figures(self, num_entities: int, priors: Array) -> Array:
        """`figures` of the entities 0 to `num_entities - 1`, without picking them out one by one."""
        seen = len(self.impressions)
        out = np.empty((1 + len(IMMEDIATE_TASKS), num_entities), dtype=np.float32)
        out[:, seen:] = np.append(0.0, priors)[:, None]
        out[:, :seen] = _figures(self.impressions, self.sums, self.counts, priors)
        return out


def _figures(impressions: Array, sums: Array, counts: Array, priors: Array) -> Array:
    """`[1 + tasks, n]`: log1p(impressions), and the means of labels pulled to their priors."""
    means = (sums + PRIOR_STRENGTH * priors[:, None]) / (counts + PRIOR_STRENGTH)
    return np.concatenate([np.log1p(impressions)[None], means])


class HistoryTotals:
    """The totals of all entity kinds, and the global means that serve as priors.

    Attributes:
        span: the last span absorbed, -1 when there is none.
        entities: entity kind (of HISTORY_ENTITIES) to its totals.
        everything: totals over all rows, as one entity.
    """

    def __init__(self) -> None:
        self.span = -1
        self.entities = {entity: EntityTotals() for entity in HISTORY_ENTITIES}
        self.everything = EntityTotals(1)

    def priors(self) -> Array:
        """`[tasks]` float64: each label's mean over every row absorbed, 0 where there was none."""
        sums, counts = self.everything.sums[:, 0], self.everything.counts[:, 0]
        return sums / np.maximum(counts, 1)

    def absorb(self, span: int, indices: Mapping[str, Array], labels: Mapping[str, Array]) -> None:
        """Adds the fresh rows of one whole span.

        Args:
            span: the number of the span, one more than the last.
            indices: per entity kind `[rows]` int, -1 where the row has none.
            labels: per immediate task `[rows]` float, NaN where missing.

        Raises:
            ValueError: if `span` is not the next one: a span absorbed twice would count twice, and one
                left out could never be added in order.
        """
        if span != self.span + 1:
            raise ValueError(
                f"history: span must be {self.span + 1}, the one after the last absorbed, got {span}."
                " Absorb spans in order, each once."
            )
        num_rows = len(indices[HISTORY_ENTITIES[0]])
        self.everything.add(np.zeros(num_rows, dtype=np.int64), labels)
        for entity, totals in self.entities.items():
            totals.grow(int(indices[entity].max(initial=-1)) + 1)
            totals.add(indices[entity], labels)
        self.span = span
