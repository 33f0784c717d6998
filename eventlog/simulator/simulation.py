"""Simulates the world span by span and writes its event log."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from eventlog.errors import BadInput
from eventlog.kuairand.columns import HISTORY, LOG_SCHEMA, LTV_DELAY
from eventlog.parquet_files import write_table
from eventlog.simulator.impressions import Impressions, draw_impressions
from eventlog.simulator.lifetime import logging_error, ltv, watch_seconds, window_seconds
from eventlog.simulator.outcomes import logged_outcomes, true_expectations
from eventlog.simulator.state import WorldState
from eventlog.simulator.tables import entity_indices, fresh_table, matured_table, truth_table
from eventlog.simulator.world import World
from eventlog.spans import SUCCESS, span_folder, write_span
from eventlog.totals import HistoryTotals

Array = Any

_WORLD_FILE = "_world.json"
_TRUTH_FOLDER = "_truth"


@dataclass(frozen=True)
class SimulatedSpan:
    """One span of the simulated log and the true values of its rows.

    Attributes:
        span: the number of the span.
        matured: the matured rows; None in the first LTV_DELAY spans.
        fresh: the fresh rows.
        truth: for the rows of `matured` the LTV without logging error, then for the rows of `fresh` the true
            expectations of the immediate tasks; see `truth_table`.
    """

    span: int
    matured: pa.Table | None
    fresh: pa.Table
    truth: pa.Table

    def tables(self) -> list[pa.Table]:
        """The tables of the span's rows, in order of time."""
        return [self.fresh] if self.matured is None else [self.matured, self.fresh]


@dataclass(frozen=True)
class _OpenSpan:
    """A span whose rows have not matured yet.

    `error` is `[rows]`, see `logging_error`. `seconds` is `[users]`, see `watch_seconds`.
    """

    fresh: pa.Table
    impressions: Impressions
    error: Array
    seconds: Array


def simulate(
    out: Path,
    spans: int,
    examples_per_span: int,
    seed: int,
    on_span: Callable[[int, int], None] | None = None,
    *,
    world: World | None = None,
) -> None:
    """Writes a simulated event log, or the missing spans of an existing log.

    Equal arguments give equal logs; a larger `spans` only adds spans. Complete spans are simulated but not
    written again, so a second call resumes a killed run or extends a log.

    Args:
        out: the log's folder, created if it is missing. True expectations are written to `_truth/`, for
            experiments only; the parameters of the simulation are written to `_world.json`.
        spans: number of spans in the finished log, at least 1.
        examples_per_span: fresh rows in each span, at least 1.
        seed: seed of the world and of all events in it, at least 0.
        on_span: called with (span, number of rows) after each span is written.
        world: parameters of the world; None for the default ones.

    Raises:
        BadInput: if a number is too small, or `out` holds a log with other arguments or other files.
    """
    _check_at_least("spans", spans, 1)
    _check_at_least("examples_per_span", examples_per_span, 1)
    _check_at_least("seed", seed, 0)
    world = World() if world is None else world
    _check_or_record_arguments(out, world, examples_per_span, seed)
    missing = {span for span in range(spans) if not (span_folder(out, span) / SUCCESS).exists()}
    if not missing:
        return
    # A thread writes one span while this thread simulates the next. More spans ahead would need more memory.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="span-writer") as executor:
        writing: Future[tuple[int, int]] | None = None
        for simulated in simulated_spans(world, examples_per_span, seed):
            if simulated.span in missing:
                _wait_and_report(writing, on_span)
                writing = executor.submit(_write, out, simulated)
            if simulated.span == max(missing):
                break
        _wait_and_report(writing, on_span)


def simulated_spans(world: World, examples_per_span: int, seed: int) -> Iterator[SimulatedSpan]:
    """Yields span 0, 1, 2 and so on of a world, without end."""
    state = WorldState(world, examples_per_span, seed)
    history = HistoryTotals(HISTORY)
    open_spans: deque[_OpenSpan] = deque(maxlen=LTV_DELAY)
    while True:
        impressions = draw_impressions(state, examples_per_span)
        expectations = true_expectations(state, impressions)
        outcomes = logged_outcomes(state, expectations)
        fresh = fresh_table(state, impressions, outcomes, history)
        truth = [truth_table(fresh["example_id"], expectations.by_task())]
        matured = None
        if len(open_spans) == LTV_DELAY:
            matured, true_ltv = _mature(open_spans)
            truth.insert(0, truth_table(matured["example_id"], {"ltv": true_ltv}))
        yield SimulatedSpan(state.span, matured, fresh, pa.concat_tables(truth))
        history.add_span(state.span, entity_indices(state, impressions), outcomes)
        seconds = watch_seconds(impressions, outcomes["watch_time"], len(state.users))
        open_spans.append(_OpenSpan(fresh, impressions, logging_error(state, impressions), seconds))
        state.advance()


def _mature(open_spans: deque[_OpenSpan]) -> tuple[pa.Table, Array]:
    """The matured rows of the oldest span, with the logged LTV, and `[rows]` float32 their true LTV."""
    oldest, *later = open_spans
    seconds = window_seconds(oldest.impressions, [span.seconds for span in later])
    return matured_table(oldest.fresh, ltv(seconds, oldest.error)), ltv(seconds, None)


def _write(out: Path, simulated: SimulatedSpan) -> tuple[int, int]:
    # The truth is written first, so that every complete span has its truth, even after a kill.
    folder = span_folder(out / _TRUTH_FOLDER, simulated.span)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".part-00000.parquet"
    write_table(simulated.truth, partial, use_dictionary=False)
    partial.replace(folder / "part-00000.parquet")
    return simulated.span, write_span(out, simulated.span, simulated.tables(), schema=LOG_SCHEMA)


def _wait_and_report(
    writing: Future[tuple[int, int]] | None, on_span: Callable[[int, int], None] | None
) -> None:
    """Waits until a span is written, then calls `on_span`; raises the error of the writing thread."""
    if writing is not None:
        span_and_rows = writing.result()
        if on_span is not None:
            on_span(*span_and_rows)


def _check_at_least(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise BadInput(
            f"{name} too small", where="events simulate", expected=f"at least {minimum}", got=str(value),
            fix=f"Give a larger --{name.replace('_', '-')}.",
        )  # fmt: skip


def _check_or_record_arguments(out: Path, world: World, examples_per_span: int, seed: int) -> None:
    """Records the arguments in a new log; raises if an existing log was written with other arguments."""
    arguments = {"seed": seed, "examples_per_span": examples_per_span, "world": asdict(world)}
    record = out / _WORLD_FILE
    if record.exists():
        recorded = _read_arguments(record)
        if recorded != arguments:
            differing = [key for key in arguments if recorded.get(key) != arguments[key]]
            raise BadInput(
                "log of another simulation", where=str(out),
                expected=", ".join(f"{key} {arguments[key]}" for key in differing),
                got=", ".join(f"{key} {recorded.get(key)}" for key in differing),
                fix="Give the arguments of the existing log, or another --out.",
            )  # fmt: skip
        return
    if out.exists() and any(out.iterdir()):
        raise BadInput(
            "folder in use", where=str(out), expected="an empty folder or a simulated log",
            got=f"other files and no {_WORLD_FILE}", fix="Give another --out.",
        )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f".{_WORLD_FILE}"
    partial.write_text(json.dumps(arguments, indent=1))
    partial.replace(record)


def _read_arguments(record: Path) -> dict[str, Any]:
    try:
        arguments = json.loads(record.read_text())
    except ValueError as error:
        raise BadInput(
            "unreadable record of the simulation", where=str(record), expected="JSON", got=str(error),
            fix="Delete the log and simulate it again.",
        ) from error  # fmt: skip
    return arguments if isinstance(arguments, dict) else {}
