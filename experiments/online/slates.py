"""Selects the slate of every visit from the scores of its items."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def slates(scores: Array, items: int, slots: int) -> tuple[Array, Array]:
    """The items with the highest scores of every visit.

    Args:
        scores: `[visits x items]` float, visit by visit.
        items: number of items to rank in each visit.
        slots: number of items that a visit shows.

    Returns:
        `[visits x slots]` int64 indices into `scores`, visit by visit, best first; and positions from 1.
    """
    by_visit = scores.reshape(-1, items)
    best = np.argsort(-by_visit, axis=1, kind="stable")[:, :slots]
    shown = best + items * np.arange(len(by_visit))[:, None]
    positions = np.broadcast_to(np.arange(1, slots + 1), shown.shape)
    return shown.ravel(), positions.ravel()
