"""An event log in memory: every row transformed once, for hundreds of models to learn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = Any

DESCRIPTION = "stream.json"


@dataclass(frozen=True)
class Stream:
    """The rows of all spans in the order of the log; every array is `[rows]` unless it says otherwise.

    Attributes:
        key: changes with the log, the features and the tasks.
        tasks: the names of the label columns.
        surface_names: by code.
        features: by name, as `TransformGraph` gives them; `[rows, longest bag]` int32 for bags.
        labels: `[rows, tasks]` float32 on the tasks' scales, NaN where masked.
        spans: int32, the span in which the row lies; rising.
        twins: int64, the row's own index if it is fresh; a matured row's is that of its impression, -1 if
            the log does not hold it.
        clusters: int32 codes.
        surfaces: int32 codes.
        held_out: bool, whether the row's cluster is never learnt.
    """

    key: str
    tasks: tuple[str, ...]
    surface_names: tuple[str, ...]
    features: Mapping[str, Array]
    labels: Array
    spans: Array
    twins: Array
    clusters: Array
    surfaces: Array
    held_out: Array

    @property
    def fresh(self) -> Array:
        """`[rows]` bool: impressions of the span in which they lie."""
        return self.twins == np.arange(len(self.twins))

    def rows(self, span: int) -> slice:
        """Where a span's rows lie."""
        first, end = np.searchsorted(self.spans, [span, span + 1])
        return slice(int(first), int(end))

    def fresh_rows(self, spans: range) -> Array:
        """Indices of the impressions of some spans, in the order of the log."""
        first, end = np.searchsorted(self.spans, [spans.start, spans.stop])
        return first + np.flatnonzero(self.fresh[first:end])

    def known_labels(self, until: int | None = None) -> Array:
        """`[rows, tasks]` float32: fresh rows with their delayed labels, as far as these have matured.

        Args:
            until: the span after which nothing is known yet; None knows the whole log.
        """
        end = len(self.spans) if until is None else int(np.searchsorted(self.spans, until + 1))
        labels = np.array(self.labels)
        matured = np.flatnonzero(~self.fresh[:end] & (self.twins[:end] >= 0))
        twins = self.twins[matured]
        labels[twins] = np.where(np.isnan(self.labels[matured]), labels[twins], self.labels[matured])
        return labels


def write_stream(stream: Stream, folder: Path) -> None:
    """Writes the arrays as files that processes map instead of reading; the description comes last."""
    (folder / "features").mkdir(parents=True, exist_ok=True)
    for name, column in stream.features.items():
        np.save(folder / "features" / f"{name}.npy", column)
    for name in ("labels", "spans", "twins", "clusters", "surfaces", "held_out"):
        np.save(folder / f"{name}.npy", getattr(stream, name))
    description = {
        "key": stream.key, "tasks": stream.tasks, "surfaces": stream.surface_names,
        "features": list(stream.features),
    }  # fmt: skip
    partial = folder / f".{DESCRIPTION}"
    partial.write_text(json.dumps(description))
    partial.replace(folder / DESCRIPTION)


def read_stream(folder: Path) -> Stream:
    """The inverse of `write_stream`, the arrays mapped, not read."""
    description = json.loads((folder / DESCRIPTION).read_text())

    def mapped(path: str) -> Array:
        return np.load(folder / f"{path}.npy", mmap_mode="r")

    return Stream(
        key=description["key"],
        tasks=tuple(description["tasks"]),
        surface_names=tuple(description["surfaces"]),
        features={name: mapped(f"features/{name}") for name in description["features"]},
        labels=mapped("labels"),
        spans=mapped("spans"),
        twins=mapped("twins"),
        clusters=mapped("clusters"),
        surfaces=mapped("surfaces"),
        held_out=mapped("held_out"),
    )
