"""Selects the slate of every visit from the scores of its items."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def slates(scores: Array, num_items: int, num_slots: int) -> tuple[Array, Array]:
    """The items of every visit with the highest scores.

    Args:
        scores: `[visits * items]` float, visit by visit.
        num_items: number of items to rank in each visit.
        num_slots: number of items that a visit shows.

    Returns:
        Two `[visits * slots]` int64 arrays, visit by visit, the best item first: indices into `scores`, and
        positions from 1.
    """
    by_visit = scores.reshape(-1, num_items)
    best = np.argsort(-by_visit, axis=1, kind="stable")[:, :num_slots]
    shown = best + num_items * np.arange(len(by_visit))[:, None]
    positions = np.broadcast_to(np.arange(1, num_slots + 1), shown.shape)
    return shown.ravel(), positions.ravel()
