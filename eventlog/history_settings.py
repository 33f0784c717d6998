"""Declares the history features of an event log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

COUNT = "count"
"""Last part of the name of a feature with the number of impressions. The other names end with a task."""


@dataclass(frozen=True)
class HistorySettings:
    """The entities and tasks whose past becomes the features `history_<entity>_{count,<task>}`.

    Attributes:
        entities: kind of entity, such as users → column with its id.
        tasks: immediate tasks; each gives every entity a feature, the smoothed mean of its labels.
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
