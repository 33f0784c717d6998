"""Runs the world span by span and writes what its logger sees."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eventlog.errors import BadInput
from eventlog.rows import MATURITY_SPANS
from eventlog.simulator.impressions import Impressions, draw_impressions
from eventlog.simulator.lifetime import logging_error, ltv, watch_seconds, window_seconds
from eventlog.simulator.outcomes import DRAWS, draw_outcomes, expect
from eventlog.simulator.randomness import Stream, generator
from eventlog.simulator.state import WorldState
from eventlog.simulator.tables import entity_codes, fresh_table, matured_table, truth_table
from eventlog.simulator.world import World
from eventlog.spans import SUCCESS, span_folder, write_span
from eventlog.totals import HistoryTotals

Array = Any

WORLD_FILE = "_world.json"
TRUTH_FOLDER = "_truth"


@dataclass(frozen=True)
class SimulatedSpan:
    """One span of the log and its truth.

    Attributes:
        span: its number.
        matured: rows whose LTV window closed with the span before; None in the first spans.
        fresh: the span's own rows.
        truth: of both, in the same order: probabilities and expectations of the immediate tasks for fresh
            rows; for matured rows the LTV as it was, without the logger's error.
    """

    span: int
    matured: pa.Table | None
    fresh: pa.Table
    truth: pa.Table

    def tables(self) -> list[pa.Table]:
        """The log's rows, in order of time."""
        return [self.fresh] if self.matured is None else [self.matured, self.fresh]


@dataclass(frozen=True)
class _Unripe:
    """What must be kept of a span until its rows mature."""

    fresh: pa.Table
    shown: Impressions
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
    """Writes a simulated event log, or the spans that one begun earlier still lacks.

    The same arguments give the same log, and more spans the same first ones. Spans that are complete are
    kept, so that a killed run can be taken up and a log extended; what came before is simulated again, not
    read back.

    Args:
        out: the log's folder, made if it is missing. Beside the spans it gets `_truth/`, for experiments
            alone, and a note of the world in `_world.json`.
        spans: how many there shall be in all, at least 1.
        examples_per_span: fresh rows in each, at least 1.
        seed: chooses the world and all that happens in it, at least 0.
        on_span: called with (span, rows in it) after each span is written.
        world: its dials; the default world if None.

    Raises:
        BadInput: if a number is too small, or `out` holds a log that was made otherwise.
    """
    _check_at_least("spans", spans, 1)
    _check_at_least("examples_per_span", examples_per_span, 1)
    _check_at_least("seed", seed, 0)
    world = World() if world is None else world
    _claim(out, world, examples_per_span, seed)
    missing = {span for span in range(spans) if not (span_folder(out, span) / SUCCESS).exists()}
    if not missing:
        return
    # Writing takes longer than simulating; one span ahead keeps both busy and memory bounded.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="span-writer") as executor:
        writing: Future[tuple[int, int]] | None = None
        for simulated in simulated_spans(world, examples_per_span, seed):
            if simulated.span in missing:
                _report(writing, on_span)
                writing = executor.submit(_write, out, simulated)
            if simulated.span == max(missing):
                break
        _report(writing, on_span)


def simulated_spans(world: World, examples_per_span: int, seed: int) -> Iterator[SimulatedSpan]:
    """The spans of a world in order, without end."""
    state = WorldState(world, examples_per_span, seed)
    history = HistoryTotals()
    unripe: deque[_Unripe] = deque(maxlen=MATURITY_SPANS)
    while True:
        shown = draw_impressions(state, examples_per_span)
        expectations = expect(state, shown)
        uniforms = generator(seed, state.span, Stream.OUTCOMES)
        outcomes = draw_outcomes(expectations, uniforms.random((DRAWS, len(shown)), dtype=np.float32))
        fresh = fresh_table(state, shown, outcomes, history)
        truth = [truth_table(fresh["example_id"], expectations.by_task())]
        matured = None
        if len(unripe) == MATURITY_SPANS:
            matured, true_ltv = _mature(unripe)
            truth.insert(0, truth_table(matured["example_id"], {"ltv": true_ltv}))
        yield SimulatedSpan(state.span, matured, fresh, pa.concat_tables(truth))
        history.absorb(state.span, entity_codes(state, shown), outcomes)
        seconds = watch_seconds(shown, outcomes["watch_time"], len(state.users))
        unripe.append(_Unripe(fresh, shown, logging_error(state, shown), seconds))
        state.advance()


def _mature(unripe: deque[_Unripe]) -> tuple[pa.Table, Array]:
    """The oldest span's rows with their logged LTV, and their LTV as it was."""
    oldest, *later = unripe
    seconds = window_seconds(oldest.shown, [span.seconds for span in later])
    return matured_table(oldest.fresh, ltv(seconds, oldest.error)), ltv(seconds, None)


def _write(out: Path, simulated: SimulatedSpan) -> tuple[int, int]:
    # The truth first: so a complete span has its truth, whenever this is killed.
    folder = span_folder(out / TRUTH_FOLDER, simulated.span)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".part-00000.parquet"
    pq.write_table(simulated.truth, partial, use_dictionary=False)
    partial.replace(folder / "part-00000.parquet")
    return simulated.span, write_span(out, simulated.span, simulated.tables())


def _report(writing: Future[tuple[int, int]] | None, on_span: Callable[[int, int], None] | None) -> None:
    """Waits for a span to be written, and passes on its failure or tells of its success."""
    if writing is not None:
        written = writing.result()
        if on_span is not None:
            on_span(*written)


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise BadInput(
            f"{name} too small",
            where="events simulate",
            expected=f"at least {least}",
            got=str(value),
            fix=f"Give a larger --{name.replace('_', '-')}.",
        )


def _claim(out: Path, world: World, examples_per_span: int, seed: int) -> None:
    """Notes in the log which world it is of, or checks that it is of this one."""
    claim = {"seed": seed, "examples_per_span": examples_per_span, "world": asdict(world)}
    note = out / WORLD_FILE
    if note.exists():
        found = _read_claim(note)
        if found != claim:
            differing = [key for key in claim if found.get(key) != claim[key]]
            raise BadInput(
                "log of another simulation",
                where=str(out),
                expected=", ".join(f"{key} {claim[key]}" for key in differing),
                got=", ".join(f"{key} {found.get(key)}" for key in differing),
                fix="Give the same arguments as before, or another --out.",
            )
        return
    if out.exists() and any(out.iterdir()):
        raise BadInput(
            "folder in use",
            where=str(out),
            expected="an empty folder or a simulated log",
            got=f"other files and no {WORLD_FILE}",
            fix="Give another --out.",
        )
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f".{WORLD_FILE}"
    partial.write_text(json.dumps(claim, indent=1))
    partial.replace(note)


def _read_claim(note: Path) -> dict[str, Any]:
    try:
        found = json.loads(note.read_text())
    except ValueError as error:
        raise BadInput(
            "unreadable note of the world",
            where=str(note),
            expected="JSON",
            got=str(error),
            fix="Delete the log and simulate it anew.",
        ) from error
    return found if isinstance(found, dict) else {}
