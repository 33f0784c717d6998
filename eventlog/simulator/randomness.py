"""Random number generators of the simulator: one stream per seed, span and purpose.

The draws of a span depend only on the seed, the span and the purpose, not on other draws.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

Array = Any


class RandomStream(enum.IntEnum):
    """The purpose of random draws; each purpose has its own stream."""

    TASTE_SPACE = 0
    ARRIVALS = 1
    DRIFT = 2
    IMPRESSIONS = 3
    OUTCOMES = 4
    LOGGING = 5
    VISITS = 6
    ITEMS = 7


def generator(seed: int, span: int, stream: RandomStream) -> np.random.Generator:
    """A new generator for one purpose in one span; equal arguments give equal draws."""
    return np.random.default_rng([seed, span, int(stream)])


def random_walk_step(
    state: Array, persistence: float, deviation: float, random: np.random.Generator
) -> Array:
    """Makes one step of a mean-reverting random walk (AR(1)) with a constant standard deviation.

    Args:
        state: float32, any shape. The caller draws the first state from normal(0, deviation).
        persistence: share of the state that remains after the step, in [0, 1].
        deviation: the standard deviation of the walk.
        random: generator for the step.

    Returns:
        The new state, with the shape and dtype of `state`.
    """
    step = np.float32(deviation * np.sqrt(1 - persistence**2))
    return np.float32(persistence) * state + step * normal(random, state.shape)


def normal(random: np.random.Generator, shape: int | tuple[int, ...]) -> Array:
    """Draws standard normal numbers: float32 of the given shape."""
    return random.standard_normal(shape, dtype=np.float32)
