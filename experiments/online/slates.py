"""From scores to what is shown."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def slates(scores: Array, candidates: int, slots: int) -> tuple[Array, Array]:
    """The best candidates of every visit.

    Args:
        scores: `[visits x candidates]` float, a visit's rows together.
        candidates: of each visit.
        slots: places there are.

    Returns:
        `[visits x slots]` int64 indices into `scores`, visit by visit, best first; and their positions, 1 up.
    """
    by_visit = scores.reshape(-1, candidates)
    best = np.argsort(-by_visit, axis=1, kind="stable")[:, :slots]
    shown = best + candidates * np.arange(len(by_visit))[:, None]
    positions = np.broadcast_to(np.arange(1, slots + 1), shown.shape)
    return shown.ravel(), positions.ravel()
