"""Beam source that reads published label sets from any label store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from components.label_store.schemes import open_store


@dataclasses.dataclass
class ReadLabels(beam.PTransform):
    """Reads label sets. Beam distributes whole sets; the store reads the parts of a set in parallel.

    Attributes:
        store_uri: URI of the label store, see `open_store`.
        set_ids: ids of the label sets.
        columns: columns to read of each set.
        surfaces: the surfaces whose rows are read; None for all surfaces.

    Yields (as a PCollection): (set id, `pa.RecordBatch`) pairs; each label row is in exactly one batch.
    """

    store_uri: str
    set_ids: Sequence[str]
    columns: Sequence[str]
    surfaces: Sequence[str] | None = None

    def expand(self, pipeline: Any) -> Any:
        """Adds the transform to a pipeline."""
        surfaces = [None] if self.surfaces is None else self.surfaces
        return (
            pipeline
            | "Sets" >> beam.Create([(set_id, surface) for set_id in self.set_ids for surface in surfaces])
            | "SpreadSets" >> beam.Reshuffle()
            | "Scan" >> beam.FlatMapTuple(self._scan)
        )

    def _scan(self, set_id: str, surface: str | None) -> Iterator[tuple[str, pa.RecordBatch]]:
        store = open_store(self.store_uri)
        for batch in store.scan(set_id, list(self.columns), surface=surface):
            yield set_id, batch
