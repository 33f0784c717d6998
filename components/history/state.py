"""The state of a history: one folder of Parquet files per dyadic run of spans, never changed once written.

FOLDER/<fingerprint>/spans=A-B/<entity>-<shard>.parquet

A run's files are a pure function of the log's span versions and the settings. So it does not matter which
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

from components.history.runs import Run, cover, has_spans, missing_runs, run_name
from components.history.settings import History, HistorySource
from components.history.totals import ALL_ROWS, ID, add_up, count_rows, shards_of_ids
from eventlog.checks import EmptySpan, check_span
from eventlog.columns import LogColumns, convert
from eventlog.errors import BadInput
from eventlog.parquet_files import open_file, read_table, write_table
from eventlog.spans import span_files, span_versions

_LOG = logging.getLogger(__name__)
_ABANDONED_AFTER_SECONDS = 86_400.0
"""An attempt of this age belongs to a killed process; its folder is deleted."""


@dataclasses.dataclass(frozen=True)
class HistoryState:
    """The state of one log.

    Attributes:
        history: the settings.
        log: folder of the event log.
        folder: folder of this state.
        columns: the columns of the log that the state is computed from.
        versions: complete span → version, as the log had them when the state was opened.
    """

    history: History
    log: str
    folder: str
    columns: LogColumns
    versions: Mapping[int, int]

    def runs_before(self, span: int) -> list[Run]:
        """The runs whose totals are the history of the rows of a span, oldest first."""
        window = self.history.window
        first = min(self.versions, default=span)
        if window is not None and window.spans is not None:
            first = max(first, span - window.spans)
        if first >= span:
            return []
        # Without a window of spans, the first run begins at 0, so that later spans use the same runs.
        start = first if window is not None and window.spans is not None else 0
        return [run for run in cover(start, span) if has_spans(run, self.versions)]

    def weight(self, run: Run, span: int) -> float:
        """The factor of a run's numbers in the history of a span: 1 without a half-life."""
        window = self.history.window
        if window is None or window.half_life is None:
            return 1.0
        return float(0.5 ** ((span - run.end) / window.half_life))

    def path(self, run: Run) -> Path:
        """The folder of a run."""
        return Path(self.folder) / run_name(run, self.versions)

    def file(self, run: Run, entity: str, shard: int) -> Path:
        """The file of one shard of a run's totals."""
        return self.path(run) / file_name(entity, shard)

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Entity and shard of every file of a run."""
        shards = range(self.history.shards)
        return [(ALL_ROWS, 0), *((entity, shard) for entity in self.history.entities for shard in shards)]


def open_state(source: HistorySource, columns: LogColumns) -> HistoryState:
    """The state of a log, whether or not it has files yet.

    Args:
        source: settings, log and folder.
        columns: the columns of the deployment, with those of the history.
    """
    history = source.history
    delays = {task: columns.delays[task] for task in history.tasks}
    own = LogColumns(delays, {name: columns.features[name] for name in history.log_columns})
    folder = Path(source.folder) / history.fingerprint(delays)
    return HistoryState(history, source.log, str(folder), own, span_versions(Path(source.log)))


@dataclasses.dataclass(frozen=True)
class Unit:
    """A row group of a span's file: what one worker counts at a time.

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
    """One attempt to compute missing runs. Its files are visible only after `publish`.

    Attributes:
        state: the state.
        runs: the missing runs, each after its halves.
        units: the row groups of the missing single spans.
        attempt: folder of the attempt.
    """

    state: HistoryState
    runs: tuple[Run, ...]
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
        """Writes one shard of every missing run; returns the number of rows of the units.

        Args:
            key: entity and shard.
            counted: what `count_unit` has yielded for the key, in any order.
        """
        entity, shard = key
        history = self.state.history
        parts: dict[int, list[tuple[int, pa.RecordBatch]]] = {}
        for span, number, part in counted:
            parts.setdefault(span, []).append((number, part))
        for run in self.runs:
            if run.halves:
                halves = [half for half in run.halves if has_spans(half, self.state.versions)]
                tables = [self._read(half, entity, shard) for half in halves]
                weights = [self.state.weight(half, run.end) for half in halves]
            else:
                ordered = sorted(parts.get(run.first, []), key=lambda item: item[0])
                tables, weights = [pa.Table.from_batches([part]) for _, part in ordered], None
            path = self._folder(run) / file_name(entity, shard)
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two workers may write the same shard, if Beam repeats one: each replaces the file as a whole.
            partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            write_table(add_up(tables, history, entity, weights), partial)
            partial.replace(path)
        return sum(part.num_rows for items in parts.values() for _, part in items)

    def publish(self) -> None:
        """Makes the runs visible, each in one step; runs that another attempt has published are kept."""
        for run in self.runs:
            num_files = len(list(self._folder(run).glob("*.parquet")))
            if num_files != len(self.state.keys):
                raise RuntimeError(
                    f"history of {run}: expected {len(self.state.keys)} files, got {num_files}. The Beam "
                    "runner has lost work; run the span again."
                )
            try:
                self._folder(run).rename(self.state.path(run))
            except OSError:
                if not self.state.path(run).is_dir():
                    raise
        shutil.rmtree(self.attempt, ignore_errors=True)

    def _folder(self, run: Run) -> Path:
        return Path(self.attempt) / run_name(run, self.state.versions)

    def _read(self, run: Run, entity: str, shard: int) -> pa.Table:
        own = self._folder(run) / file_name(entity, shard)
        return read_table(own if run in self.runs else self.state.file(run, entity, shard))


def plan_build(state: HistoryState, spans: Iterable[int]) -> Build | None:
    """What is missing for the history of the rows of some spans; None if nothing is.

    A span whose columns of the history are faulty adds nothing, since its rows cannot be trusted; a revision
    of the span counts.
    """
    wanted = [run for span in spans for run in state.runs_before(span)]
    runs = missing_runs(wanted, state.versions, lambda run: state.path(run).is_dir())
    if not runs:
        return None
    units = [unit for run in runs if not run.halves for unit in _units(state, run.first)]
    _remove_abandoned(Path(state.folder))
    attempt = Path(state.folder) / f".{uuid.uuid4().hex}"
    attempt.mkdir(parents=True)
    return Build(state, tuple(runs), tuple(units), str(attempt))


def build_here(build: Build) -> None:
    """Computes and publishes the missing runs in this process, without Beam."""
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
