"""Where every random number of the simulator comes from: a stream per seed, span and purpose.

So a span's draws depend neither on how many spans are asked for nor on what other purposes drew.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

Array = Any


class Stream(enum.IntEnum):
    """What random numbers are drawn for."""

    GEOGRAPHY = 0
    ARRIVALS = 1
    DRIFT = 2
    IMPRESSIONS = 3
    OUTCOMES = 4
    LOGGING = 5
    VISITS = 6
    CANDIDATES = 7


def generator(seed: int, span: int, stream: Stream) -> np.random.Generator:
    """The generator of one purpose in one span."""
    return np.random.default_rng([seed, span, int(stream)])


def wandered(state: Array, persistence: float, deviation: float, random: np.random.Generator) -> Array:
    """One step of a walk that keeps `persistence` of its place and its standard deviation `deviation`.

    Args:
        state: float32, any shape, drawn from normal(0, deviation) at first.
        persistence: in [0, 1].
        deviation: the walk's standard deviation over long times.
        random: where the step comes from.

    Returns:
        The new state, shape and dtype of `state`.
    """
    step = np.float32(deviation * np.sqrt(1 - persistence**2))
    return np.float32(persistence) * state + step * normal(random, state.shape)


def normal(random: np.random.Generator, shape: int | tuple[int, ...]) -> Array:
    """Standard normal float32."""
    return random.standard_normal(shape, dtype=np.float32)
