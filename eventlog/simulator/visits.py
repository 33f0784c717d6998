"""What a live experiment needs: visits of users, each with candidates of which a policy shows a few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from eventlog.rows import IMMEDIATE_TASKS
from eventlog.simulator.impressions import Impressions, draw_impressions, exposed_videos
from eventlog.simulator.outcomes import DRAWS, Expectations, draw_outcomes, examined, expect
from eventlog.simulator.randomness import Stream, generator
from eventlog.simulator.state import WorldState
from eventlog.simulator.tables import entity_codes, fresh_table
from eventlog.simulator.world import World
from eventlog.totals import HistoryTotals

Array = Any


@dataclass(frozen=True)
class Visits:
    """The visits of one span.

    Attributes:
        span: its number.
        table: `[visits x candidates]` rows of the log's columns, without labels; a visit's rows lie together.
        users: `[visits]` int64.
        expectations: the truth about every candidate, were it shown in the first place.
        decay: what each doubling of the position takes from the click's logit.
    """

    span: int
    table: pa.Table
    users: Array
    expectations: Expectations
    decay: float

    def outcomes(self, shown: Array, positions: Array, uniforms: Array) -> Mapping[str, Array]:
        """What follows when some candidates are shown.

        Args:
            shown: `[rows]` int64 indices into the candidates.
            positions: `[rows]` int64, 1 is the best place.
            uniforms: `[DRAWS, visits x candidates]`; policies compared on the same numbers differ by their
                choices alone.

        Returns:
            Per immediate task `[rows]` float32: 0 or 1, or log1p seconds for watch_time.
        """
        return draw_outcomes(examined(self.expectations, shown, positions, self.decay), uniforms[:, shown])


def simulated_visits(
    world: World, examples_per_span: int, seed: int, *, visits: int, candidates: int
) -> Iterator[Visits]:
    """Visits in the world of `simulated_spans` with the same arguments, span by span, without end.

    The world goes on as its own log says: what is shown in a visit is not learnt and moves nobody.
    """
    state = WorldState(world, examples_per_span, seed)
    history = HistoryTotals()
    while True:
        yield _visits(state, history, visits, candidates)
        logged = draw_impressions(state, examples_per_span)
        uniforms = generator(seed, state.span, Stream.OUTCOMES)
        drawn = uniforms.random((DRAWS, len(logged)), dtype=np.float32)
        history.absorb(state.span, entity_codes(state, logged), draw_outcomes(expect(state, logged), drawn))
        state.advance()


def _visits(state: WorldState, history: HistoryTotals, visits: int, candidates: int) -> Visits:
    came = draw_impressions(state, visits, Stream.VISITS)
    surfaces = np.repeat(came.surfaces, candidates)
    offered = Impressions(
        users=np.repeat(came.users, candidates),
        videos=exposed_videos(state, surfaces, generator(state.seed, state.span, Stream.CANDIDATES)),
        surfaces=surfaces,
        positions=np.ones(len(surfaces), np.int64),
        milliseconds=np.repeat(came.milliseconds, candidates),
    )
    unknown = dict.fromkeys(IMMEDIATE_TASKS, np.full(len(offered), np.nan, np.float32))
    table = fresh_table(state, offered, unknown, history)
    return Visits(state.span, table, came.users, expect(state, offered), state.world.position_decay)
