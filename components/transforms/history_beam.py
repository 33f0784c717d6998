"""Computes the state of a history, and looks up the history of rows, with Beam.

An element of a PCollection is a row group of the log, or the ids of a row range in one shard of the state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import pyarrow as pa

from components.history.lookup import Answered, Lookup, Question, open_lookup, select_ids
from components.history.state import Build, HistoryState, Unit, build_here, plan_build

SMALL_BYTES = 2**26
"""Work that reads at most so many bytes of files is done in one process. Beam's stages would take longer."""


@dataclasses.dataclass
class BuildHistory(beam.PTransform):
    """Computes the missing blocks of a state.

    Attributes:
        build: the missing blocks and the row groups of their spans.

    Yields (as a PCollection): dicts with a number of ids: `counted` in a row group or `received` by a shard.
    """

    build: Build

    def expand(self, pipeline: Any) -> Any:
        """Adds the transform to a pipeline."""
        counted = (
            pipeline
            | "RowGroups" >> beam.Create(list(self.build.units))
            | "SpreadRowGroups" >> beam.Reshuffle()
            | "Count" >> beam.FlatMap(self._count_unit).with_outputs("counts", main="totals")
        )
        # A shard without rows must also become a file.
        shards = pipeline | "Shards" >> beam.Create([(key, None) for key in self.build.state.keys])
        written = (
            {"totals": counted.totals, "shard": shards}
            | "Meet" >> beam.CoGroupByKey()
            | "Write" >> beam.MapTuple(self._write_shard)
        )
        return (counted.counts, written) | "Counts" >> beam.Flatten()

    def _count_unit(self, unit: Unit) -> Iterator[Any]:
        num_ids = 0
        for key, part in self.build.count_unit(unit):
            num_ids += part[-1].num_rows
            yield key, part
        yield beam.pvalue.TaggedOutput("counts", {"counted": num_ids})

    def _write_shard(self, key: tuple[str, int], sides: Mapping[str, Any]) -> dict[str, int]:
        return {"received": self.build.write_shard(key, sides["totals"])}


def complete_history(
    state: HistoryState, spans: Iterable[int], run: Callable[[beam.PTransform], list[Any]]
) -> Lookup:
    """Computes the missing blocks of the history of these impression spans; returns their lookup.

    Args:
        state: the state.
        spans: impression spans.
        run: runs a transform in a Beam pipeline of its own, and returns its elements.

    Raises:
        RuntimeError: if the Beam runner lost or repeated work.
    """
    spans = list(spans)
    build = plan_build(state, spans)
    if build is not None and build.num_bytes() <= SMALL_BYTES:
        build_here(build)
    elif build is not None:
        counts = run(BuildHistory(build))
        counted, received = (sum(count.get(name, 0) for count in counts) for name in ("counted", "received"))
        if counted != received:
            raise RuntimeError(
                f"history: expected {counted} ids in its shards, got {received}. The Beam runner has lost or "
                "repeated work; run the span again."
            )
        build.publish()
    return open_lookup(state, spans)


@dataclasses.dataclass
class LookUpHistory(beam.PTransform):
    """Looks up the history of the ids of row ranges.

    Attributes:
        lookup: the complete state.
        read: reads the rows of a row range.

    The input is a PCollection of row ranges. Their attribute `shard` is the number of a shard of examples.
    One worker reads a shard of the state for all row ranges.

    Yields (as a dict of PCollections): `answers`: pairs of `shard` and (question, answer); `asked`: pairs of
        `shard` and its number of questions.
    """

    lookup: Lookup
    read: Callable[[Any], pa.Table]

    def expand(self, ranges: Any) -> Any:
        """Adds the transform to a pipeline."""
        questions = ranges | "Ids" >> beam.FlatMap(self._questions).with_outputs("asked", main="ids")
        answers = (
            questions.ids | "GroupIds" >> beam.GroupByKey() | "Answer" >> beam.FlatMapTuple(self._answers)
        )
        return {"answers": answers, "asked": questions.asked}

    def _questions(self, row_range: Any) -> Iterator[Any]:
        num_questions = 0
        for question, ids in self.lookup.questions(self.read(row_range)):
            num_questions += 1
            yield question, (row_range.shard, ids)
        yield beam.pvalue.TaggedOutput("asked", (row_range.shard, num_questions))

    def _answers(
        self, question: Question, asked: Iterable[tuple[int, pa.Array]]
    ) -> Iterator[tuple[int, Answered]]:
        asked = list(asked)
        answer = self.lookup.answer(question, pa.concat_arrays([ids for _, ids in asked]).unique())
        for shard, ids in asked:
            yield shard, (question, select_ids(answer, ids))
