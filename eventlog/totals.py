"""Running totals per entity, and the history features computed from them; in memory only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eventlog.history_settings import HistorySettings

Array = Any


class EntityTotals:
    """Impressions, label sums and label counts of the entities of one kind.

    Attributes:
        impressions: `[entities]` float64.
        sums: `[tasks, entities]` float64, in the order of the settings' tasks.
        counts: `[tasks, entities]` float64, numbers of known labels.
    """

    def __init__(self, settings: HistorySettings, num_entities: int = 0) -> None:
        self._settings = settings
        num_tasks = len(settings.tasks)
        self.impressions = np.zeros(num_entities)
        self.sums = np.zeros((num_tasks, num_entities))
        self.counts = np.zeros((num_tasks, num_entities))

    def grow(self, num_entities: int) -> None:
        """Extends the arrays to `num_entities` with zeros; longer arrays stay as they are."""
        num_new = num_entities - len(self.impressions)
        if num_new > 0:
            self.impressions = np.pad(self.impressions, (0, num_new))
            self.sums = np.pad(self.sums, ((0, 0), (0, num_new)))
            self.counts = np.pad(self.counts, ((0, 0), (0, num_new)))

    def add(self, indices: Array, labels: Mapping[str, Array]) -> None:
        """Adds impressions and their labels.

        Args:
            indices: `[rows]` int, the entity of each row. A row with -1 has no known entity and adds nothing.
            labels: per task of the settings `[rows]` float, NaN where the label is missing.
        """
        has_entity = indices >= 0
        # Most logs have an entity in every row. Then no array is copied.
        no_row_is_dropped = bool(has_entity.all())
        indices = indices if no_row_is_dropped else indices[has_entity]
        size = len(self.impressions)
        impressions = np.bincount(indices, minlength=size)
        self.impressions += impressions
        for index, task in enumerate(self._settings.tasks):
            values = labels[task] if no_row_is_dropped else labels[task][has_entity]
            where = ~np.isnan(values)
            if where.all():
                self.sums[index] += np.bincount(indices, weights=values, minlength=size)
                self.counts[index] += impressions
            else:
                self.sums[index] += np.bincount(indices[where], weights=values[where], minlength=size)
                self.counts[index] += np.bincount(indices[where], minlength=size)

    def features(self, indices: Array, priors: Array) -> Array:
        """The history features of the given entities.

        Args:
            indices: `[selected]` int; -1 stands for a new entity.
            priors: `[tasks]` float, the values for an entity without labels; the means of other entities are
                smoothed towards them.

        Returns:
            `[1 + tasks, selected]` float32: log1p(impressions), then the smoothed mean of each task.
        """
        has_entity = indices >= 0
        entities = indices[has_entity]
        features = _prior_features(len(indices), priors)
        features[:, has_entity] = self._smoothed(entities, priors)
        return features

    def all_features(self, num_entities: int, priors: Array) -> Array:
        """The features of entities 0 to `num_entities - 1`; faster than `features`.

        Entities that were never added have the features of a new entity. `num_entities` must not be smaller
        than the number of entities in the totals.
        """
        features = _prior_features(num_entities, priors)
        features[:, : len(self.impressions)] = self._smoothed(slice(None), priors)
        return features

    def _smoothed(self, entities: Array | slice, priors: Array) -> Array:
        """`[1 + tasks, selected]`: log1p(impressions), then the mean labels, smoothed towards `priors`."""
        strength = self._settings.prior_strength
        sums = self.sums[:, entities] + strength * priors[:, None]
        return np.concatenate(
            [np.log1p(self.impressions[entities])[None], sums / (self.counts[:, entities] + strength)]
        )


def _prior_features(num_entities: int, priors: Array) -> Array:
    """`[1 + tasks, num_entities]` float32: the features of new entities."""
    return np.repeat(np.append(0.0, priors)[:, None].astype(np.float32), num_entities, axis=1)


class HistoryTotals:
    """The totals of all kinds of entities, and the global means that serve as priors.

    Attributes:
        span: the last span added, -1 if there is none.
        settings: the entities and tasks.
        entities: the totals of each kind of entity.
        all_rows: totals over all rows, as the totals of a single entity.
    """

    def __init__(self, settings: HistorySettings) -> None:
        self.settings = settings
        self.span = -1
        self.entities = {entity: EntityTotals(settings) for entity in settings.entities}
        self.all_rows = EntityTotals(settings, 1)

    def priors(self) -> Array:
        """`[tasks]` float64: each label's mean over all rows added, 0 for a task without labels."""
        sums, counts = self.all_rows.sums[:, 0], self.all_rows.counts[:, 0]
        return sums / np.maximum(counts, 1)

    def add_span(self, span: int, indices: Mapping[str, Array], labels: Mapping[str, Array]) -> None:
        """Adds the fresh rows of one whole span.

        Args:
            span: the number of the span: the last added span plus 1.
            indices: per kind of entity `[rows]` int, -1 where the row has no entity.
            labels: per task of the settings `[rows]` float, NaN where the label is missing.

        Raises:
            ValueError: if `span` is not the next span. A repeated span would be added twice; a skipped span
                could not be added later.
        """
        if span != self.span + 1:
            raise ValueError(
                f"history: span must be {self.span + 1}, one more than the last span added, got {span}."
                " Add spans in order, each once."
            )
        num_rows = len(next(iter(indices.values())))
        self.all_rows.add(np.zeros(num_rows, dtype=np.int64), labels)
        for entity, totals in self.entities.items():
            totals.grow(int(indices[entity].max(initial=-1)) + 1)
            totals.add(indices[entity], labels)
        self.span = span
