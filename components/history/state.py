"""The state of a history: for each block of spans a folder of Parquet files with totals, which never change.

FOLDER/<fingerprint>/spans=A-B/<entity>-<shard>.parquet

A block's files are a pure function of the log's span versions and the settings. So it does not matter which
branch, process or attempt writes them, and a folder that is complete is never written again.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.history.blocks import Block, block_name, cover, has_spans, missing_blocks, named_versions
from components.history.settings import History, HistorySource
from components.history.totals import ALL_ROWS, ID, add_up, count_rows, shards_of_ids
from eventlog.checks import EmptySpan, check_span
from eventlog.columns import LogColumns, convert
from eventlog.errors import BadInput
from eventlog.parquet_files import open_file, read_table, write_table
from eventlog.spans import span_files, span_versions

_LOG = logging.getLogger(__name__)
_ABANDONED_AFTER_SECONDS = 86_400.0
"""An attempt that is older belongs to a killed process; its folder is deleted."""


@dataclasses.dataclass(frozen=True)
class HistoryState:
    """The state of one log.

    Attributes:
        history: the settings.
        log: folder of the event log.
        folder: folder of this state.
        columns: the columns of the log that the state is computed from.
        versions: complete span → version, as the log had them when the state was opened. A span that the log
            no longer has keeps the version that the state has of it.
    """

    history: History
    log: str
    folder: str
    columns: LogColumns
    versions: Mapping[int, int]

    def blocks_before(self, span: int) -> list[Block]:
        """The blocks whose totals are the history of the rows of a span, oldest first."""
        limit = self.history.window.spans if self.history.window is not None else None
        start = 0 if limit is None else max(0, span - limit)
        return [block for block in cover(start, span) if has_spans(block, self.versions)]

    def weight(self, block: Block, span: int) -> float:
        """The factor of a block's numbers in the history of a span: 1 without a half-life."""
        window = self.history.window
        if window is None or window.half_life is None:
            return 1.0
        return float(0.5 ** ((span - block.end) / window.half_life))

    def path(self, block: Block) -> Path:
        """The folder of a block."""
        return Path(self.folder) / block_name(block, self.versions)

    def file(self, block: Block, entity: str, shard: int) -> Path:
        """The file of one shard of a block's totals."""
        return self.path(block) / file_name(entity, shard)

    def num_bytes(self, blocks: Iterable[Block]) -> int:
        """The size of the files of published blocks."""
        return sum(file.stat().st_size for block in blocks for file in self.path(block).glob("*.parquet"))

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Entity and shard of every file of a block."""
        shards = range(self.history.shards)
        return [(ALL_ROWS, 0), *((entity, shard) for entity in self.history.entities for shard in shards)]


def open_state(source: HistorySource, columns: LogColumns) -> HistoryState:
    """The state of a log, whether or not it has files yet.

    Spans may be deleted from the log once a later span has been read: their totals stay in the state.

    Args:
        source: settings, log and folder.
        columns: the columns that the deployment reads, including the ids and items of the history.
    """
    history = source.history
    delays = {task: columns.delays[task] for task in history.tasks}
    own = LogColumns(delays, {name: columns.features[name] for name in history.log_columns})
    folder = Path(source.folder) / history.fingerprint(delays)
    versions = named_versions(entry.name for entry in folder.glob("spans=*"))
    versions |= span_versions(Path(source.log))
    return HistoryState(history, source.log, str(folder), own, versions)


@dataclasses.dataclass(frozen=True)
class Unit:
    """A row group of a span's file. A worker counts one unit at a time.

    Attributes:
        span: the span.
        number: position of the row group in the span; totals are added in this order.
        file: the Parquet file.
        row_group: the row group in the file.
    """

    span: int
    number: int
    file: str
    row_group: int


@dataclasses.dataclass(frozen=True)
class Build:
    """One attempt to compute missing blocks. Its files are visible only after `publish`.

    Attributes:
        state: the state.
        blocks: the missing blocks, each after its halves.
        units: the row groups of the missing single spans.
        attempt: folder of the attempt.
    """

    state: HistoryState
    blocks: tuple[Block, ...]
    units: tuple[Unit, ...]
    attempt: str

    def count_unit(self, unit: Unit) -> Iterator[tuple[tuple[str, int], tuple[int, int, pa.RecordBatch]]]:
        """Yields (entity, shard) → (span, number of the unit, its totals) for each shard with ids."""
        state = self.state
        schema = state.columns.schema
        parquet = open_file(unit.file)
        names = [name for name in schema.names if name in parquet.schema_arrow.names]
        rows = convert(parquet.read_row_group(unit.row_group, columns=names), schema)
        for entity in (ALL_ROWS, *state.history.entities):
            totals = count_rows(rows, unit.span, state.history, entity)
            for shard, part in _cut_shards(totals, entity, state.history.shards):
                yield (entity, shard), (unit.span, unit.number, part)

    def write_shard(self, key: tuple[str, int], counted: Iterable[tuple[int, int, pa.RecordBatch]]) -> int:
        """Writes one shard of every missing block; returns the number of rows in `counted`, one for each id.

        Args:
            key: entity and shard.
            counted: the values that `count_unit` has yielded for the key, in any order.
        """
        # Units are added up in the order of the file, not in that of their arrival.
        ordered = sorted(counted, key=lambda part: part[:2])
        for block in self.blocks:
            if block.halves:
                totals = self._add_halves(block, *key)
            else:
                parts = [pa.Table.from_batches([part]) for span, _, part in ordered if span == block.first]
                totals = add_up(parts, self.state.history, key[0])
            path = self._folder(block) / file_name(*key)
            path.parent.mkdir(parents=True, exist_ok=True)
            # If Beam repeats a bundle, two workers write the same shard. Each replaces the file as a whole.
            partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            write_table(totals, partial)
            partial.replace(path)
        return sum(part.num_rows for _, _, part in ordered)

    def num_bytes(self) -> int:
        """The size of the files that the attempt reads."""
        logged = {unit.file for unit in self.units}
        halves = [half for block in self.blocks for half in block.halves if half not in self.blocks]
        return sum(Path(file).stat().st_size for file in logged) + self.state.num_bytes(halves)

    def publish(self) -> None:
        """Makes the blocks visible, each in one step; blocks that another attempt has published are kept.

        Raises:
            RuntimeError: if a block lacks files, because Beam has lost work.
        """
        for block in self.blocks:
            num_files = len(list(self._folder(block).glob("*.parquet")))
            if num_files != len(self.state.keys):
                raise RuntimeError(
                    f"history of spans {block.first} to {block.end - 1}: expected {len(self.state.keys)} "
                    f"files, got {num_files}. The Beam runner has lost work; run the span again."
                )
            try:
                self._folder(block).rename(self.state.path(block))
            except OSError:
                if not self.state.path(block).is_dir():
                    raise
        shutil.rmtree(self.attempt, ignore_errors=True)

    def _folder(self, block: Block) -> Path:
        return Path(self.attempt) / block_name(block, self.state.versions)

    def _add_halves(self, block: Block, entity: str, shard: int) -> pa.Table:
        """The totals of a block from those of its halves, written by this attempt or an earlier one."""
        halves = [half for half in block.halves if has_spans(half, self.state.versions)]
        folders = [self._folder(half) if half in self.blocks else self.state.path(half) for half in halves]
        tables = [read_table(folder / file_name(entity, shard)) for folder in folders]
        weights = [self.state.weight(half, block.end) for half in halves]
        return add_up(tables, self.state.history, entity, weights)


def plan_build(state: HistoryState, spans: Iterable[int]) -> Build | None:
    """Starts an attempt to compute the blocks that the history of some spans lacks; None if it lacks none.

    A span adds nothing to the history if a column that the history reads is faulty. A corrected version of
    the span counts.
    """
    wanted = [block for span in spans for block in state.blocks_before(span)]
    blocks = missing_blocks(wanted, state.versions, lambda block: state.path(block).is_dir())
    if not blocks:
        return None
    units = [unit for block in blocks if not block.halves for unit in _units(state, block.first)]
    _remove_abandoned(Path(state.folder))
    attempt = Path(state.folder) / f".{uuid.uuid4().hex}"
    attempt.mkdir(parents=True)
    return Build(state, tuple(blocks), tuple(units), str(attempt))


def build_here(build: Build) -> None:
    """Computes and publishes the missing blocks in this process, without Beam."""
    counted: dict[tuple[str, int], list[tuple[int, int, pa.RecordBatch]]] = {
        key: [] for key in build.state.keys
    }
    for unit in build.units:
        for key, part in build.count_unit(unit):
            counted[key].append(part)
    for key, parts in counted.items():
        build.write_shard(key, parts)
    build.publish()


def file_name(entity: str, shard: int) -> str:
    """The name of the file of one shard of an entity's totals."""
    return f"{entity}-{shard:05d}.parquet"


def _units(state: HistoryState, span: int) -> list[Unit]:
    log, version = Path(state.log), state.versions[span]
    try:
        check_span(log, span, state.columns, version)
    except EmptySpan:
        # Its matured rows may have labels.
        pass
    except BadInput as error:
        _LOG.warning("span %d adds nothing to the history: %s", span, error)
        return []
    groups = [
        (str(file), group)
        for file in span_files(log, span, version)
        for group in range(open_file(file).num_row_groups)
    ]
    return [Unit(span, number, file, group) for number, (file, group) in enumerate(groups)]


def _cut_shards(totals: pa.Table, entity: str, num_shards: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yields the shards that have ids; ALL_ROWS has one."""
    if not totals.num_rows:
        return
    batch = totals.combine_chunks().to_batches()[0]
    if entity == ALL_ROWS:
        yield 0, batch
        return
    shards = shards_of_ids(batch.column(ID), num_shards)
    for shard in np.unique(shards).tolist():
        yield shard, batch.take(pa.array(np.flatnonzero(shards == shard)))


def _remove_abandoned(folder: Path) -> None:
    for attempt in folder.glob(".*"):
        if time.time() - attempt.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
            shutil.rmtree(attempt, ignore_errors=True)
