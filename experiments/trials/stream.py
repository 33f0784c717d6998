"""A transformed event log as memory-mapped arrays, on which trials train."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Array = Any

DESCRIPTION_FILE = "stream.json"
_ARRAYS = ("labels", "spans", "fresh_row_indices", "clusters", "surfaces", "held_out")


@dataclass(frozen=True)
class ExampleStream:
    """The rows of all spans, in the order of the log. Arrays without a stated shape are `[rows]`.

    Attributes:
        key: hash of the stream's input: log, schema, features, tasks, burn-in and extra rows.
        tasks: names of the tasks, in the order of the columns of `labels`.
        surface_names: names of the surfaces; `surfaces` has their indices.
        features: transformed columns by name; `[rows, longest bag]` int32 for bags.
        labels: `[rows, tasks]` float32 hard labels on the tasks' scales, NaN where null.
        spans: int32, the span of the row; ascending.
        fresh_row_indices: int64, for each row the index of its impression's fresh row. For a fresh row it is
            the row's own index. It is -1 for a matured row if the log lacks the fresh row.
        clusters: int32 codes of the users, from 0.
        surfaces: int32 indices of the surfaces in `surface_names`.
        held_out: bool, True for rows that no model trains on.
        served_features: `[1]` or `[1, longest bag]`, the transformed `served_as` of each feature that only
            training reads.
    """

    key: str
    tasks: tuple[str, ...]
    surface_names: tuple[str, ...]
    features: Mapping[str, Array]
    labels: Array
    spans: Array
    fresh_row_indices: Array
    clusters: Array
    surfaces: Array
    held_out: Array
    served_features: Mapping[str, Array] = field(default_factory=dict)

    @property
    def fresh(self) -> Array:
        """`[rows]` bool: True for fresh rows."""
        return self.fresh_row_indices == np.arange(len(self.fresh_row_indices))

    @property
    def num_clusters(self) -> int:
        """The number of clusters."""
        return int(self.clusters.max()) + 1

    def scored_column(self, name: str, rows: Array) -> Array:
        """A transformed column of some rows as a model sees it outside training; see `Feature.served_as`."""
        if name not in self.served_features:
            return self.features[name][rows]
        return np.repeat(self.served_features[name], len(rows), axis=0)

    def rows(self, span: int) -> slice:
        """The row indices of a span, as a slice."""
        return self._slice(range(span, span + 1))

    def fresh_rows(self, spans: range) -> Array:
        """`[fresh rows]` int64: the indices of the fresh rows of `spans`, ascending."""
        rows = self._slice(spans)
        return rows.start + np.flatnonzero(self.fresh[rows])

    def known_labels(self, until: int | None = None) -> Array:
        """`[rows, tasks]` float32: the hard labels, with the labels of matured rows copied to the fresh rows.

        Args:
            until: the last span whose matured rows are copied; None copies those of all spans.
        """
        end = len(self.spans) if until is None else int(np.searchsorted(self.spans, until + 1))
        labels = np.array(self.labels)
        matured = np.flatnonzero(~self.fresh[:end] & (self.fresh_row_indices[:end] >= 0))
        ages = self.spans[matured] - self.spans[self.fresh_row_indices[matured]]
        # An impression has at most one matured row of each age, so rows of one age have distinct fresh rows.
        for age in np.unique(ages):
            rows = matured[ages == age]
            fresh_rows = self.fresh_row_indices[rows]
            labels[fresh_rows] = np.where(np.isnan(self.labels[rows]), labels[fresh_rows], self.labels[rows])
        return labels

    def _slice(self, spans: range) -> slice:
        first, end = np.searchsorted(self.spans, [spans.start, spans.stop])
        return slice(int(first), int(end))


def write_stream(stream: ExampleStream, folder: Path) -> None:
    """Writes one file for each array, then the description, which marks the stream as complete."""
    (folder / "features").mkdir(parents=True, exist_ok=True)
    for name, column in stream.features.items():
        np.save(folder / "features" / f"{name}.npy", column)
    for name, column in stream.served_features.items():
        np.save(folder / "features" / f"{name}.served.npy", column)
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", getattr(stream, name))
    description = {
        "key": stream.key, "tasks": stream.tasks, "surfaces": stream.surface_names,
        "features": list(stream.features), "served_features": list(stream.served_features),
    }  # fmt: skip
    partial = folder / f".{DESCRIPTION_FILE}"
    partial.write_text(json.dumps(description))
    partial.replace(folder / DESCRIPTION_FILE)


def read_stream(folder: Path) -> ExampleStream:
    """Reads a stream that `write_stream` has written; maps the arrays into memory."""
    description = json.loads((folder / DESCRIPTION_FILE).read_text())

    def mapped(path: str) -> Array:
        return np.load(folder / f"{path}.npy", mmap_mode="r")

    return ExampleStream(
        key=description["key"],
        tasks=tuple(description["tasks"]),
        surface_names=tuple(description["surfaces"]),
        features={name: mapped(f"features/{name}") for name in description["features"]},
        served_features={name: mapped(f"features/{name}.served") for name in description["served_features"]},
        **{name: mapped(name) for name in _ARRAYS},
    )
