"""E(LTV): each user's watch seconds over the days after an impression, as a faulty logger records them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eventlog.simulator.impressions import Impressions
from eventlog.simulator.randomness import Stream, generator, normal
from eventlog.simulator.state import WorldState

Array = Any


def logging_error(state: WorldState, shown: Impressions) -> Array:
    """`[rows]` float32, added to the log of the seconds of each of the span's impressions.

    It is chance, and the bias of the impression's cell as it stands today.
    """
    random = generator(state.seed, state.span, Stream.LOGGING)
    trait = state.users.traits[:, 0][shown.users]
    tag = state.videos.tags[:, 0][shown.videos]
    bias = np.where(tag >= 0, state.logging_bias[trait, tag], np.float32(0))
    return bias + np.float32(state.world.logging_noise) * normal(random, len(shown))


def watch_seconds(shown: Impressions, watch_time: Array, num_users: int) -> Array:
    """`[users]` float64: what each user watched in the span.

    Args:
        shown: its impressions.
        watch_time: `[rows]` log1p seconds.
        num_users: users there are.
    """
    return np.bincount(shown.users, weights=np.expm1(watch_time), minlength=num_users)


def window_seconds(shown: Impressions, later: Sequence[Array]) -> Array:
    """`[rows]` float64: what each impression's user watched over the window's spans.

    Args:
        shown: the impressions, whose span is not in the window.
        later: `watch_seconds` of each span of the window.
    """
    return sum((seconds[shown.users] for seconds in later), np.zeros(len(shown)))


def ltv(seconds: Array, error: Array | None) -> Array:
    """`[rows]` float32: log1p of the seconds, as they were or (with an error) as they were logged."""
    factor = 1.0 if error is None else np.exp(error)
    return np.log1p(seconds * factor).astype(np.float32)
