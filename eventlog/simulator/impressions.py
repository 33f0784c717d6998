"""Draws the impressions of one span: user, video, surface, position and time, without outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eventlog.simulator.randomness import RandomStream, generator, normal
from eventlog.simulator.state import WorldState
from eventlog.simulator.world import SURFACES, Surface

Array = Any

FIRST_DAY_MS = 1_650_844_800_000
"""2022-04-25 00:00 UTC, the start of span 0; KuaiRand has impressions of this day too."""
DAY_MS = 86_400_000
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Impressions:
    """Impressions in order of time; every array is `[rows]`.

    Attributes:
        users, videos: int64 indices into the world's users and videos.
        surfaces: int64 indices into SURFACES.
        positions: int64, 1 is the best position.
        milliseconds: int64, time since the start of the day.
    """

    users: Array
    videos: Array
    surfaces: Array
    positions: Array
    milliseconds: Array

    def __len__(self) -> int:
        return len(self.users)


def draw_impressions(
    state: WorldState, num_impressions: int, stream: RandomStream = RandomStream.IMPRESSIONS
) -> Impressions:
    """Draws users by activity, surfaces by share, and videos by their chance of being shown on the surface.

    Args:
        state: the world in the span of the impressions.
        num_impressions: number of impressions.
        stream: the random stream; each stream gives other impressions.
    """
    random = generator(state.seed, state.span, stream)
    milliseconds = _times_of_day(num_impressions, random)
    users = _sample(_activity(state, random), num_impressions, random)
    shares = np.array([surface.share for surface in SURFACES])
    surfaces = _sample(shares, num_impressions, random)
    slots = np.array([surface.slots for surface in SURFACES], dtype=np.float32)
    positions = 1 + (random.random(num_impressions, dtype=np.float32) * slots[surfaces]).astype(np.int64)
    videos = draw_videos_shown(state, surfaces, random)
    return Impressions(users, videos, surfaces, positions, milliseconds)


def draw_videos_shown(state: WorldState, surfaces: Array, random: np.random.Generator) -> Array:
    """`[rows]` int64: for each row a video, drawn by its chance of being shown on the row's surface."""
    videos = np.empty(len(surfaces), dtype=np.int64)
    for index, surface in enumerate(SURFACES):
        rows = np.flatnonzero(surfaces == index)
        videos[rows] = _sample(_chances_of_being_shown(state, surface), len(rows), random)
    return videos


def _activity(state: WorldState, random: np.random.Generator) -> Array:
    """`[users]` relative frequencies, from `log_activity`, noise of the span and the time since arrival."""
    noise = np.float32(state.world.activity_noise) * normal(random, len(state.users))
    # Old users become less active as fast as new users arrive. Total activity then stays about constant.
    decline = state.world.new_users * (state.span - state.users.arrival_span)
    return np.exp(state.users.log_activity + noise - decline)


def _chances_of_being_shown(state: WorldState, surface: Surface) -> Array:
    """`[videos]` relative frequencies of being shown on a surface."""
    age = state.span - state.videos.upload_span
    return np.exp(surface.popularity * state.videos.log_popularity - age / surface.decay_spans)


def _sample(weights: Array, num_draws: int, random: np.random.Generator) -> Array:
    """`[num_draws]` int64 indices, drawn with replacement in proportion to `weights`.

    A draw in [0, 1) selects the first index whose cumulative weight exceeds the draw. A binary search for
    this index needs many steps. So [0, 1) is cut into as many equal cells as there are weights, and
    `first_indices` holds the index for the start of each cell. The search begins at the index of the draw's
    cell and goes up one by one. Most draws need no step.
    """
    edges = np.cumsum(weights, dtype=np.float64)
    edges /= edges[-1]
    num_cells = len(weights)
    first_indices = np.searchsorted(edges, np.arange(num_cells) / num_cells, side="right")
    draws = random.random(num_draws)
    indices = first_indices[(draws * num_cells).astype(np.int64)]
    too_low = np.flatnonzero(edges[indices] <= draws)
    while len(too_low):
        indices[too_low] += 1
        too_low = too_low[edges[indices[too_low]] <= draws[too_low]]
    return indices


def _times_of_day(num_times: int, random: np.random.Generator) -> Array:
    """`[num_times]` int64 milliseconds of the day, ascending, densest at 19:00 and rarest at 7:00."""
    gaps = random.standard_exponential(num_times + 1)
    uniform_times = np.cumsum(gaps)[:-1] / gaps.sum()
    hours = np.arange(25)
    activity = np.cumsum(np.concatenate([[0.0], 1.0 - 0.8 * np.cos(2 * np.pi * (hours[:-1] - 7) / 24)]))
    return (np.interp(uniform_times, activity / activity[-1], hours) * HOUR_MS).astype(np.int64)
