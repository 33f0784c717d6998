"""Simulates users' visits, each with videos to rank, for experiments that compare ranking policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from eventlog.rows import IMMEDIATE_TASKS
from eventlog.simulator.impressions import Impressions, draw_impressions, draw_videos_shown
from eventlog.simulator.outcomes import (
    Expectations,
    at_positions,
    draw_outcomes,
    logged_outcomes,
    true_expectations,
)
from eventlog.simulator.randomness import RandomStream, generator
from eventlog.simulator.state import WorldState
from eventlog.simulator.tables import entity_indices, fresh_table
from eventlog.simulator.world import World
from eventlog.totals import HistoryTotals

Array = Any


@dataclass(frozen=True)
class Visits:
    """The visits of one span.

    Attributes:
        span: the number of the span.
        table: `[visits x items]` rows of the log's columns, without labels; the rows of a visit are
            consecutive.
        users: `[visits]` int64.
        expectations: true expectations of every row at position 1.
        decay: logits that each doubling of the position takes from the click.
    """

    span: int
    table: pa.Table
    users: Array
    expectations: Expectations
    decay: float

    def outcomes(self, shown: Array, positions: Array, uniforms: Array) -> Mapping[str, Array]:
        """Draws the outcomes of the rows that a policy shows.

        Args:
            shown: `[rows]` int64 indices into `table`.
            positions: `[rows]` int64, 1 is the best position.
            uniforms: `[NUM_UNIFORMS, visits x items]` float32 in [0, 1). With equal numbers two policies
                differ only by the rows that they show.

        Returns:
            Per immediate task `[rows]` float32: 0 or 1, or log1p seconds for watch_time.
        """
        return draw_outcomes(
            at_positions(self.expectations, shown, positions, self.decay), uniforms[:, shown]
        )


def simulated_visits(
    world: World, examples_per_span: int, seed: int, *, visits: int, items: int
) -> Iterator[Visits]:
    """Visits in the world of `simulated_spans` with the same arguments, span by span, without end.

    The visits have no effect on the world or its log.

    Args:
        world: parameters of the world.
        examples_per_span: fresh rows per span of the log.
        seed: seed of the world.
        visits: visits per span.
        items: videos to rank per visit.
    """
    state = WorldState(world, examples_per_span, seed)
    history = HistoryTotals()
    while True:
        yield _visits(state, history, visits, items)
        logged = draw_impressions(state, examples_per_span)
        outcomes = logged_outcomes(state, true_expectations(state, logged))
        history.add_span(state.span, entity_indices(state, logged), outcomes)
        state.advance()


def _visits(state: WorldState, history: HistoryTotals, visits: int, items: int) -> Visits:
    arrivals = draw_impressions(state, visits, RandomStream.VISITS)
    surfaces = np.repeat(arrivals.surfaces, items)
    impressions = Impressions(
        users=np.repeat(arrivals.users, items),
        videos=draw_videos_shown(state, surfaces, generator(state.seed, state.span, RandomStream.ITEMS)),
        surfaces=surfaces,
        positions=np.ones(len(surfaces), np.int64),
        milliseconds=np.repeat(arrivals.milliseconds, items),
    )
    no_labels = dict.fromkeys(IMMEDIATE_TASKS, np.full(len(impressions), np.nan, np.float32))
    table = fresh_table(state, impressions, no_labels, history)
    expectations = true_expectations(state, impressions)
    return Visits(state.span, table, arrivals.users, expectations, state.world.position_decay)
