"""Seeds by path: variables with the same path in two models of one seed have equal initial values."""

from __future__ import annotations

import hashlib


def path_seed(seed: int, path: str) -> int:
    """The seed, in [0, 2**31), of the initializer, dropout or shuffle with the name `path`.

    With one seed for the whole model, an added head would change the initial values of every later variable.
    Student and control would then start from different values.
    """
    digest = hashlib.sha256(f"{seed}/{path}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
