"""Declares the history features of an event log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

COUNT = "count"
"""Name of the feature with the number of impressions; the other features are named by their tasks."""


@dataclass(frozen=True)
class HistorySettings:
    """The entities and tasks whose past becomes the features `history_<entity>_{count,<task>}`.

    Attributes:
        entities: entity, such as a user → column with its id.
        tasks: tasks with labels in fresh rows; each entity has a smoothed mean of each.
        prior_strength: weight of the global mean, as a number of labels, in the smoothed means.
    """

    entities: Mapping[str, str]
    tasks: tuple[str, ...]
    prior_strength: float = 10.0

    @property
    def columns(self) -> pa.Schema:
        """The features, float32. `count` is log1p of the number of impressions."""
        return pa.schema(
            [
                pa.field(f"history_{entity}_{name}", pa.float32())
                for entity in self.entities
                for name in (COUNT, *self.tasks)
            ]
        )
