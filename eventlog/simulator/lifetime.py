"""Computes LTV: a user's watch seconds in the spans after an impression, with or without logging errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eventlog.simulator.impressions import Impressions
from eventlog.simulator.randomness import RandomStream, generator, normal
from eventlog.simulator.state import WorldState

Array = Any


def logging_error(state: WorldState, impressions: Impressions) -> Array:
    """`[rows]` float32: the natural logarithm of (logged LTV seconds / true LTV seconds) of each impression.

    The error is the sum of noise and the current bias of the impression's cell, see `World.logging_bias`.
    """
    random = generator(state.seed, state.span, RandomStream.LOGGING)
    trait = state.users.traits[:, 0][impressions.users]
    tag = state.videos.tags[:, 0][impressions.videos]
    bias = np.where(tag >= 0, state.logging_bias[trait, tag], np.float32(0))
    return bias + np.float32(state.world.logging_noise) * normal(random, len(impressions))


def watch_seconds(impressions: Impressions, watch_time: Array, num_users: int) -> Array:
    """`[num_users]` float64: the seconds that each user watched in the span of `impressions`.

    Args:
        impressions: the impressions of one span.
        watch_time: `[rows]` log1p seconds.
        num_users: number of users in the world.
    """
    return np.bincount(impressions.users, weights=np.expm1(watch_time), minlength=num_users)


def window_seconds(impressions: Impressions, later: Sequence[Array]) -> Array:
    """`[rows]` float64: the seconds that each impression's user watched in the spans of the window.

    Args:
        impressions: the impressions of a span before the window.
        later: `watch_seconds` of each span of the window.
    """
    return sum((seconds[impressions.users] for seconds in later), np.zeros(len(impressions)))


def ltv(seconds: Array, error: Array | None) -> Array:
    """`[rows]` float32: log1p of the logged seconds; with `error` None, log1p of the true seconds.

    Args:
        seconds: `[rows]` true seconds, see `window_seconds`.
        error: `[rows]`, see `logging_error`.
    """
    factor = 1.0 if error is None else np.exp(error)
    return np.log1p(seconds * factor).astype(np.float32)
