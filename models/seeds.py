"""Seeds by variable path: variables that two models share start equal, whatever else the models contain."""

from __future__ import annotations

import hashlib


def path_seed(seed: int, path: str) -> int:
    """The seed of the initializer or dropout at `path`, in [0, 2**31).

    With a global seed, an added head would shift the draws of every later variable. The student would then
    not start from its control's values.
    """
    digest = hashlib.sha256(f"{seed}/{path}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
