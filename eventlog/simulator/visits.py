"""Simulates visits of users, each with videos to rank, for experiments that compare policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from eventlog.kuairand.columns import HISTORY, IMMEDIATE_TASKS
from eventlog.simulator.impressions import Impressions, draw_impressions, draw_videos_shown
from eventlog.simulator.outcomes import (
    Expectations,
    draw_outcomes,
    logged_outcomes,
    move_to_positions,
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
        table: `[visits x items]` rows with the log's columns. Immediate labels are NaN, delayed labels null.
            The rows of a visit are consecutive.
        users: `[visits]` int64 indices of users in the world.
        expectations: true expectations of every row, as if all were at position 1.
        decay: logits by which each doubling of the position lowers the click.
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
            uniforms: `[NUM_UNIFORMS, visits x items]` float32 in [0, 1). If two policies get equal numbers,
                only their slates make a difference.

        Returns:
            Per immediate task `[rows]` float32: 0 or 1, or log1p seconds for watch_time.
        """
        return draw_outcomes(
            move_to_positions(self.expectations, shown, positions, self.decay), uniforms[:, shown]
        )


def simulated_visits(
    world: World, examples_per_span: int, seed: int, *, visits: int, items: int
) -> Iterator[Visits]:
    """Yields the visits of span 0, 1, 2 and so on, in the world of `simulated_spans` with equal arguments.

    The visits have no effect on the world or its log.

    Args:
        world: parameters of the world.
        examples_per_span: fresh rows per span of the log.
        seed: seed of the world.
        visits: visits per span.
        items: videos to rank per visit.
    """
    state = WorldState(world, examples_per_span, seed)
    history = HistoryTotals(HISTORY)
    while True:
        yield _visits(state, history, visits, items)
        logged = draw_impressions(state, examples_per_span)
        outcomes = logged_outcomes(state, true_expectations(state, logged))
        history.add_span(state.span, entity_indices(state, logged), outcomes)
        state.advance()


def _visits(state: WorldState, history: HistoryTotals, visits: int, items: int) -> Visits:
    """The visits of the current span."""
    # One impression for each visit gives its user, surface and time.
    visitors = draw_impressions(state, visits, RandomStream.VISITS)
    surfaces = np.repeat(visitors.surfaces, items)
    impressions = Impressions(
        users=np.repeat(visitors.users, items),
        videos=draw_videos_shown(state, surfaces, generator(state.seed, state.span, RandomStream.ITEMS)),
        surfaces=surfaces,
        positions=np.ones(len(surfaces), np.int64),
        milliseconds=np.repeat(visitors.milliseconds, items),
    )
    no_labels = dict.fromkeys(IMMEDIATE_TASKS, np.full(len(impressions), np.nan, np.float32))
    table = fresh_table(state, impressions, no_labels, history)
    expectations = true_expectations(state, impressions)
    return Visits(state.span, table, visitors.users, expectations, state.world.position_decay)
