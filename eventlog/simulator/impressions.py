"""Who sees what, when and where: the impressions of one span, without their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eventlog.simulator.randomness import Stream, generator, normal
from eventlog.simulator.state import WorldState
from eventlog.simulator.world import SURFACES, Surface

Array = Any

FIRST_DAY_MS = 1_650_844_800_000
"""2022-04-25 00:00 UTC, the first day of KuaiRand-Pure's second log."""
DAY_MS = 86_400_000
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Impressions:
    """Impressions in order of time; every array is `[rows]`.

    Attributes:
        users, videos: int64 indices into the world's users and videos.
        surfaces: int64 indices into SURFACES.
        positions: int64, 1 is the best place.
        milliseconds: int64, since the beginning of the day.
    """

    users: Array
    videos: Array
    surfaces: Array
    positions: Array
    milliseconds: Array

    def __len__(self) -> int:
        return len(self.users)


def draw_impressions(state: WorldState, number: int, stream: Stream = Stream.IMPRESSIONS) -> Impressions:
    """The span's impressions: users by their activity, surfaces by share, videos by the surface's taste."""
    random = generator(state.seed, state.span, stream)
    milliseconds = _times_of_day(number, random)
    users = _choose(_activity(state, random), number, random)
    shares = np.array([surface.share for surface in SURFACES])
    surfaces = _choose(shares, number, random)
    slots = np.array([surface.slots for surface in SURFACES], dtype=np.float32)
    positions = 1 + (random.random(number, dtype=np.float32) * slots[surfaces]).astype(np.int64)
    videos = exposed_videos(state, surfaces, random)
    return Impressions(users, videos, surfaces, positions, milliseconds)


def exposed_videos(state: WorldState, surfaces: Array, random: np.random.Generator) -> Array:
    """`[rows]` int64: a video for each place, by the taste of its surface."""
    videos = np.empty(len(surfaces), dtype=np.int64)
    for place, surface in enumerate(SURFACES):
        here = np.flatnonzero(surfaces == place)
        videos[here] = _choose(_exposure(state, surface), len(here), random)
    return videos


def _activity(state: WorldState, random: np.random.Generator) -> Array:
    """`[users]` relative frequencies: own level, the span's heavy-tailed chance, and slow leaving."""
    noise = np.float32(state.world.activity_noise) * normal(random, len(state.users))
    # As many leave as come, so that a long log does not thin out.
    leaving = state.world.new_users * (state.span - state.users.arrival)
    return np.exp(state.users.log_activity + noise - leaving)


def _exposure(state: WorldState, surface: Surface) -> Array:
    """`[videos]` relative frequencies of being shown on a surface."""
    age = state.span - state.videos.born
    return np.exp(surface.popularity * state.videos.log_popularity - age / surface.freshness)


def _choose(weights: Array, number: int, random: np.random.Generator) -> Array:
    """`[number]` int64 indices, drawn with replacement in proportion to `weights`.

    A table of equal cells answers most draws at once where a binary search over all weights would
    miss the cache at every step: each cell knows the first and the last index that it touches.
    """
    edges = np.cumsum(weights, dtype=np.float64)
    edges /= edges[-1]
    cells = len(weights)
    first = np.searchsorted(edges, np.arange(cells) / cells, side="right")
    draws = random.random(number)
    chosen = first[(draws * cells).astype(np.int64)]
    behind = np.flatnonzero(edges[chosen] <= draws)
    while len(behind):
        chosen[behind] += 1
        behind = behind[edges[chosen[behind]] <= draws[behind]]
    return chosen


def _times_of_day(number: int, random: np.random.Generator) -> Array:
    """`[number]` int64 milliseconds of the day, ascending; evenings are busiest."""
    gaps = random.standard_exponential(number + 1)
    even = np.cumsum(gaps)[:-1] / gaps.sum()
    hours = np.arange(25)
    busy = np.cumsum(np.concatenate([[0.0], 1.0 - 0.8 * np.cos(2 * np.pi * (hours[:-1] - 7) / 24)]))
    return (np.interp(even, busy / busy[-1], hours) * HOUR_MS).astype(np.int64)
