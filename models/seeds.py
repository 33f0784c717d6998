"""One seed per variable, so that what two models share starts equal, whatever else they have."""

from __future__ import annotations

import hashlib


def path_seed(seed: int, path: str) -> int:
    """The seed of the initializer or dropout at `path`, in [0, 2**31).

    A global seed will not do: an added head would shift the draws of every variable made after it, and
    the student would no longer start where its control does.
    """
    digest = hashlib.sha256(f"{seed}/{path}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
